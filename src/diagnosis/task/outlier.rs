//! The effect of leaving out a few samples, far larger than the others, on the gradient.

use super::Rows;
use crate::{
    dataset::Dataset,
    diagnosis::Thresholds,
    error::Error,
    loss::Target,
    scalar::{Scalar, to_f64},
};
use alloc::{vec, vec::Vec};

/// The ratio of the root mean square of a sample to that of the median sample, above which a report names the sample
/// even if it does not change the gradient. The value is a convention.
const FAR: f64 = 100.0;

/// The few samples, at most an eighth of all or one, with a far larger root mean square than the others.
#[derive(Clone, Debug)]
pub(in crate::diagnosis) struct Outliers {
    /// The indices of the samples, in increasing order: in the data, or in the batch if only a batch was examined.
    pub samples: Vec<usize>,
    /// The root mean square of the inputs or targets of the largest sample, and that of the median sample.
    pub size: [f64; 2],
    /// Whether the targets of the samples are large; otherwise their inputs are.
    pub of_targets: bool,
    /// The norm of the gradient of all parameters with the samples and without them.
    pub gradient: [f64; 2],
}

impl Outliers {
    /// Whether the gradient with the samples has more than [`outweighs`](Thresholds::outweighs) times the norm of that
    /// without them.
    pub fn harms(&self, thresholds: &Thresholds) -> bool {
        let [with, without] = self.gradient;
        with > thresholds.outweighs * without
    }

    /// Whether a report names the samples: the largest exceeds [`FAR`] times the median one, or most of the gradient is
    /// due to them ([`harms`](Self::harms)).
    pub fn is_told(&self, thresholds: &Thresholds) -> bool {
        self.size[0] > FAR * self.size[1] || self.harms(thresholds)
    }
}

/// Returns the indices of the samples far larger than the others, in increasing order, with the largest and the median
/// of `sizes`, the root mean squares of all samples. `None` if there are none.
///
/// At most an eighth of the samples, or one, are returned: in decreasing order of size, those before the largest ratio
/// of two consecutive sizes. The smallest of them must exceed `factor` times the median.
pub(in crate::diagnosis) fn larger(sizes: &[f64], factor: f64) -> Option<(Vec<usize>, [f64; 2])> {
    let mut sorted = sizes.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let (most, median) = (*sorted.first()?, sorted[(sorted.len() - 1) / 2]);
    let step = |&few: &usize| sorted[few - 1] / sorted[few];
    let few = (1..=(sizes.len() / 8).max(1)).filter(|&few| few < sizes.len());
    let few = few.max_by(|a, b| step(a).total_cmp(&step(b)).then(b.cmp(a)))?;
    let least = sorted[few - 1];
    let found = (0..sizes.len()).filter(|&sample| sizes[sample] >= least).collect();
    (median > 0.0 && least > factor * median && sorted[few] < least).then_some((found, [most, median]))
}

/// Returns the root mean squares of rows of `width` values.
fn sizes<T: Scalar>(width: usize, rows: &[T]) -> Vec<f64> {
    let size = |row: &[T]| libm::sqrt(row.iter().map(|&x| to_f64(x) * to_f64(x)).sum::<f64>() / width as f64);
    rows.chunks(width.max(1)).map(size).collect()
}

/// Returns the few samples of `data` whose inputs or targets are far larger than those of the others, with the norms of
/// the gradient on `samples` with and without them. In the first norm they replace as many of `samples` as is their
/// fraction of all data, at least one. `per_step` states whether outputs have a row for each step. `None` if there are
/// none, or if samples have different lengths.
pub(super) fn find<T: Scalar>(
    data: &Dataset<'_, T>,
    samples: &[usize],
    per_step: bool,
    rows: &mut Rows<'_, T>,
    thresholds: &Thresholds,
) -> Result<Option<Outliers>, Error> {
    let (ragged, factor) = ((0..data.samples()).any(|it| data.length(it) != data.steps()), thresholds.input[0]);
    // A large index does not count as a large value.
    let of_inputs = match rows.workspace.rules().vocabulary() {
        Some(_) => None,
        None => larger(&sizes(data.inputs().len() / data.samples(), data.inputs()), factor).map(|found| (found, false)),
    };
    let of_targets = match data.targets() {
        Some(Target::Values(values)) => {
            larger(&sizes(values.len() / data.samples(), values), factor).map(|found| (found, true))
        }
        _ => None,
    };
    let Some(((found, size), of_targets)) = of_inputs.or(of_targets).filter(|_| !ragged) else { return Ok(None) };
    let mut gradient = [0.0; 2];
    // The share that they have of all samples, and at least one.
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
        rows.passes += 1;
        let Rows { workspace, w, batch, mode, .. } = &mut *rows;
        workspace.forward_with(w, batch.x(), batch.shape(), *mode, &mut ())?.dy.copy_from_slice(&dy);
        let square = workspace.backward(w)?.iter().map(|&g| to_f64(g) * to_f64(g)).sum::<f64>();
        *norm = libm::sqrt(square);
    }
    Ok(Some(Outliers { samples: found, size, of_targets, gradient }))
}
