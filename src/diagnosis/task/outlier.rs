//! The effect of leaving out one sample on the gradient.

use super::Rows;
use crate::{
    dataset::Dataset,
    error::Error,
    loss::Target,
    scalar::{Scalar, to_f64},
};
use alloc::{vec, vec::Vec};

/// The ratio of the size of a sample to that of the median sample, above which the sample is far larger. Convention.
const FAR: f64 = 100.0;

/// A sample far larger than the others.
#[derive(Clone, Copy, Debug)]
pub(in crate::diagnosis) struct Outlier {
    pub sample: usize,
    /// The root mean square of the sample's inputs or targets, and the median over all samples.
    pub size: [f64; 2],
    /// Whether the targets of the sample are large; otherwise its inputs are.
    pub of_targets: bool,
    /// The norm of the gradient with the sample and without it.
    pub gradient: [f64; 2],
}

/// Returns the index of the row with the largest root mean square, with this value and the median of all rows. `None`
/// if the largest is not far above the median.
fn largest<T: Scalar>(width: usize, rows: &[T]) -> Option<(usize, [f64; 2])> {
    let size = |row: &[T]| libm::sqrt(row.iter().map(|&x| to_f64(x) * to_f64(x)).sum::<f64>() / width as f64);
    let sizes: Vec<f64> = rows.chunks(width.max(1)).map(size).collect();
    let mut sorted = sizes.clone();
    sorted.sort_by(f64::total_cmp);
    let median = sorted.get(sorted.len() / 2).copied()?;
    let (sample, &size) = sizes.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    (median > 0.0 && size > FAR * median).then_some((sample, [size, median]))
}

/// Returns the sample whose inputs or targets are far larger than those of the others, with the gradients with and
/// without it. `None` if there is none, or if samples have different lengths.
pub(super) fn find<T: Scalar>(
    data: &Dataset<'_, T>,
    samples: &[usize],
    per_step: bool,
    rows: &mut Rows<'_, T>,
) -> Result<Option<Outlier>, Error> {
    let ragged = (0..data.samples()).any(|sample| data.length(sample) != data.steps());
    // A large index does not count as a large value.
    let of_inputs = match rows.workspace.rules().vocabulary() {
        Some(_) => None,
        None => largest(data.inputs().len() / data.samples(), data.inputs()).map(|found| (found, false)),
    };
    let of_targets = match data.targets() {
        Some(Target::Values(values)) => largest(values.len() / data.samples(), values).map(|found| (found, true)),
        _ => None,
    };
    let Some(((sample, size), of_targets)) = of_inputs.or(of_targets).filter(|_| !ragged) else { return Ok(None) };
    let mut gradient = [0.0; 2];
    let others: Vec<usize> = samples.iter().copied().filter(|&other| other != sample).take(samples.len() - 1).collect();
    let with: Vec<usize> = others.iter().copied().chain([sample]).collect();
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
    Ok(Some(Outlier { sample, size, of_targets, gradient }))
}
