//! The few samples that are far larger than the others, and the effect on the gradient of leaving them out.

use super::Rows;
use crate::{
    dataset::Dataset,
    diagnosis::Thresholds,
    error::Error,
    loss::Target,
    scalar::{Scalar, scalar, to_f64},
};
use alloc::{vec, vec::Vec};

/// A report always names a sample whose size, its root mean square or its largest value, is above this multiple of
/// the root mean square of the median sample. The value is a convention.
const FAR: f64 = 100.0;

/// The few samples, at most an eighth of all or one, that are far larger than the others: by their root mean square,
/// or by a single value.
#[derive(Clone, Debug)]
pub(in crate::diagnosis) struct Outliers {
    /// The indices of the samples, in increasing order: in the data, or in the batch if only a batch was examined.
    pub samples: Vec<usize>,
    /// The root mean square of the inputs or targets of the largest sample, or its largest value; then the root mean
    /// square of the median sample.
    pub size: [f64; 2],
    /// The column of the largest value, if the samples are large by single values and not as a whole; otherwise
    /// `None`.
    pub place: Option<usize>,
    /// Whether the targets of the samples are large; otherwise their inputs are.
    pub of_targets: bool,
    /// The norm of the gradient of all parameters with the samples and without them. If their targets are large, it
    /// is the gradient of the loss. If their inputs are large, it is the gradient for errors of norm 1 in each row of
    /// the outputs.
    pub gradient: [f64; 2],
    /// The two norms of `gradient` with initial parameters. `None` if the samples [harm](Self::harms) with the given
    /// parameters, or if these norms are not known.
    pub at_first: Option<[f64; 2]>,
}

impl Outliers {
    /// Whether the gradient with the samples has more than [`outweighs`](Thresholds::outweighs) times the norm of the
    /// gradient without them.
    pub fn harms(&self, thresholds: &Thresholds) -> bool {
        self.gradient[0] > thresholds.outweighs * self.gradient[1]
    }

    /// Whether, with initial parameters, the gradient with the samples has more than
    /// [`outweighs`](Thresholds::outweighs) times the norm of the gradient without them. False if it was not
    /// measured.
    pub fn harmed(&self, thresholds: &Thresholds) -> bool {
        self.at_first.is_some_and(|[with, without]| with > thresholds.outweighs * without)
    }

    /// Whether a report names the samples: the largest exceeds [`FAR`] times the median one, or most of the gradient
    /// is due to them ([`harms`](Self::harms)).
    pub fn is_told(&self, thresholds: &Thresholds) -> bool {
        self.size[0] > FAR * self.size[1] || self.harms(thresholds)
    }
}

/// Returns the indices of the samples that are far larger than the others, and the largest of all `sizes`, which has
/// one entry per sample. `None` if there are none, or if they are more than an eighth of all samples.
///
/// Sizes are sorted. Among the largest eighth, the cut is where a size exceeds the next smaller one by the largest
/// ratio. The samples above the cut must each exceed the median by `factor`.
fn larger(sizes: &[f64], factor: f64) -> Option<(Vec<usize>, f64)> {
    let mut sorted = sizes.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let (most, median) = (*sorted.first()?, sorted[(sorted.len() - 1) / 2]);
    let step = |&few: &usize| sorted[few - 1] / sorted[few];
    let few = (1..=(sizes.len() / 8).max(1)).filter(|&few| few < sizes.len());
    let few = few.max_by(|a, b| step(a).total_cmp(&step(b)).then(b.cmp(a)))?;
    let least = sorted[few - 1];
    let found = (0..sizes.len()).filter(|&sample| sizes[sample] >= least).collect();
    (median > 0.0 && least > factor * median && sorted[few] < least).then_some((found, most))
}

/// The sizes of samples: for each sample its root mean square, and the magnitude and index of its largest value.
pub(in crate::diagnosis) struct Sizes {
    width: usize,
    whole: Vec<f64>,
    values: Vec<(f64, usize)>,
    counts: Vec<usize>,
}

impl Sizes {
    /// Measures the root mean square and the largest value of each of `samples`, slices of rows of `width` values.
    pub fn of<'s, T: Scalar>(width: usize, samples: impl Iterator<Item = &'s [T]>) -> Self {
        let mut sizes = Sizes { width, whole: Vec::new(), values: Vec::new(), counts: Vec::new() };
        for sample in samples {
            let values = || sample.iter().map(|&x| to_f64(x).abs());
            let square = values().map(|x| x * x).sum::<f64>() / sample.len().max(1) as f64;
            let largest = values().enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
            sizes.whole.push(libm::sqrt(square));
            sizes.values.push(largest.map_or((0.0, 0), |(place, value)| (value, place)));
            sizes.counts.push(sample.len());
        }
        sizes
    }

    /// Returns the samples that are [larger](larger) than the others by `factor`, without their effect on the
    /// gradient. A sample is larger by its root mean square, or by a single value, which in a wide sample hardly
    /// changes the root mean square. `of_targets` states whether the samples are targets.
    pub fn larger(&self, of_targets: bool, factor: f64) -> Option<Outliers> {
        let mut sizes = self.whole.clone();
        sizes.sort_by(f64::total_cmp);
        let median = sizes[sizes.len().checked_sub(1)? / 2];
        let largest =
            |samples: &[usize]| samples.iter().copied().max_by(|&a, &b| self.values[a].0.total_cmp(&self.values[b].0));
        // Whether the sample, without its largest value, is as small as the others.
        let is_one = |sample: usize| {
            let (whole, (value, _), count) = (self.whole[sample], self.values[sample], self.counts[sample] as f64);
            let rest = f64::max(whole * whole * count - value * value, 0.0) / (count - 1.0);
            count > 1.0 && libm::sqrt(rest) <= factor * median
        };
        let (samples, gradient) = (Vec::new(), [0.0; 2]);
        let outliers = Outliers { samples, size: [0.0, median], place: None, of_targets, gradient, at_first: None };
        if let Some((samples, most)) = larger(&self.whole, factor)
            && !largest(&samples).is_some_and(is_one)
        {
            return Some(Outliers { samples, size: [most, median], ..outliers });
        }
        let of_values: Vec<f64> = self.values.iter().map(|&(value, _)| value).collect();
        let (samples, value) = larger(&of_values, factor)?;
        let column = self.values[largest(&samples)?].1 % self.width.max(1);
        Some(Outliers { samples, size: [value, median], place: Some(column), ..outliers })
    }
}

/// Measures the sizes of samples of equal length, `samples` in number, whose rows of `width` values are in `values`.
fn sizes<T: Scalar>(width: usize, samples: usize, values: &[T]) -> Sizes {
    Sizes::of(width, values.chunks((values.len() / samples.max(1)).max(1)))
}

/// Returns the indices of the few samples of `data` whose inputs exceed those of the median sample by `factor`; `None`
/// if there are none, or if samples have different lengths.
pub(in crate::diagnosis) fn large_inputs<T: Scalar>(data: &Dataset<'_, T>, factor: f64) -> Option<Vec<usize>> {
    let is_ragged = (0..data.samples()).any(|it| data.length(it) != data.steps());
    let found = sizes(data.width(), data.samples(), data.inputs()).larger(false, factor).filter(|_| !is_ragged);
    found.map(|outliers| outliers.samples)
}

/// Returns the few samples of `data` whose inputs or targets are far larger than those of the others, with the norms
/// of the [gradients] on `samples` with and without them. If inputs and targets both have such samples, those of the
/// targets are returned only if these alone [harm](Outliers::harms). For the first norm, large samples replace some
/// of `samples`: the fraction that they have in all data, but at least one. `per_step` states whether outputs have a
/// row for each time step. `None` if there are none, or if samples have different lengths.
pub(super) fn find<T: Scalar>(
    data: &Dataset<'_, T>,
    samples: &[usize],
    per_step: bool,
    rows: &mut Rows<'_, T>,
    thresholds: &Thresholds,
) -> Result<Option<Outliers>, Error> {
    let (ragged, factor) = ((0..data.samples()).any(|it| data.length(it) != data.steps()), thresholds.input[0]);
    // Inputs that are indices have no size.
    let of_inputs = match rows.workspace.rules().vocabulary() {
        Some(_) => None,
        None => sizes(data.width(), data.samples(), data.inputs()).larger(false, factor),
    };
    let of_targets = match data.targets() {
        Some(Target::Values(values)) => {
            let width = rows.loss.target_width(rows.width);
            sizes(width, data.samples(), values).larger(true, factor)
        }
        _ => None,
    };
    if ragged {
        return Ok(None);
    }
    let mut told: Option<Outliers> = None;
    for outliers in of_inputs.into_iter().chain(of_targets) {
        let Some(gradient) = gradients(data, samples, per_step, rows, &outliers)? else { continue };
        let outliers = Outliers { gradient, ..outliers };
        if told.as_ref().is_none_or(|told| !told.harms(thresholds) && outliers.harms(thresholds)) {
            told = Some(outliers);
        }
    }
    Ok(told)
}

/// Scales a row of the gradient at the outputs to the norm 1, unless it is 0.
fn to_unit<T: Scalar>(row: &mut [T]) {
    let norm = libm::sqrt(row.iter().map(|&dy| to_f64(dy) * to_f64(dy)).sum::<f64>());
    if norm > 0.0 && norm.is_finite() {
        row.iter_mut().for_each(|dy| *dy = scalar(to_f64(*dy) / norm));
    }
}

/// Returns the norms of the gradient on `samples` with the samples `outliers` and without them, with errors of norm 1
/// in all rows unless the targets are large. `None` if no sample is left.
pub(super) fn gradients<T: Scalar>(
    data: &Dataset<'_, T>,
    samples: &[usize],
    per_step: bool,
    rows: &mut Rows<'_, T>,
    outliers: &Outliers,
) -> Result<Option<[f64; 2]>, Error> {
    let (mut gradient, found) = ([0.0; 2], &outliers.samples[..]);
    // The number of large samples: the fraction that they have in all data, but at least one.
    let count = (found.len() * samples.len() / data.samples()).max(1);
    let others = samples.iter().copied().filter(|sample| found.binary_search(sample).is_err());
    let others: Vec<usize> = others.take(samples.len() - count).collect();
    let chosen = found.iter().copied().step_by((found.len() / count).max(1)).take(count);
    let with: Vec<usize> = others.iter().copied().chain(chosen).collect();
    for (norm, chosen) in gradient.iter_mut().zip([with, others]) {
        if chosen.is_empty() {
            return Ok(None);
        }
        rows.batch.gather(data, &chosen, per_step)?;
        let y = rows.outputs(rows.mode)?;
        let mut dy = vec![T::zero(); y.len()];
        rows.loss_of(&y, &mut dy)?;
        if !outliers.of_targets {
            // The error at a large input may be large because the output is wrong, and not because the input is
            // large.
            dy.chunks_mut(rows.width.max(1)).for_each(to_unit);
        }
        rows.passes += 1;
        let Rows { workspace, w, batch, mode, .. } = &mut *rows;
        workspace.forward_with(w, batch.x(), batch.shape(), *mode, &mut ())?.dy.copy_from_slice(&dy);
        let square = workspace.backward(w)?.iter().map(|&g| to_f64(g) * to_f64(g)).sum::<f64>();
        *norm = libm::sqrt(square);
    }
    Ok(Some(gradient))
}
