//! Whether the outputs of a network predict the targets better than constant outputs do, which are the same for every
//! row.

use super::{MOST, Rows, SAMPLES};
use crate::{
    batch_shape::BatchShape,
    dataset::{Batch, Dataset},
    error::Error,
    loss::{Reduction, Target},
    scalar::{Scalar, scalar, to_f64},
};
use alloc::{vec, vec::Vec};

/// The largest number of samples that are compared: with four times [`SAMPLES`], a loss 5 % below that of constant
/// outputs is about three standard errors below it for a squared error.
const COMPARED: usize = 4 * SAMPLES;
/// The smallest number of samples for which a standard error is computed.
const FEW: usize = 10;

/// A batch of samples with its outputs.
struct Part<T> {
    batch: Batch<T>,
    y: Vec<T>,
}

/// Returns by how many standard errors over samples the loss is below that of constant outputs, which are the same
/// for every row. It is the lower of two numbers: for `best`, the best constant outputs, and for the mean of the
/// outputs themselves. Losses are compared sample by sample, so the noise of the targets is in both. `None` for fewer
/// than [`FEW`] samples with a weight above 0, for differences that are all equal, and if the loss of a sample is not
/// finite or not defined.
///
/// It takes up to four passes, over up to [`COMPARED`] samples.
pub(super) fn errors_below_constant<T: Scalar>(
    data: &Dataset<'_, T>,
    per_step: bool,
    best: &[f64],
    rows: &mut Rows<'_, T>,
) -> Result<Option<f64>, Error> {
    let each = data.width().max(rows.width.saturating_mul(8)).saturating_mul(data.steps()).max(1);
    let count = data.samples().min((MOST / each).clamp(SAMPLES, COMPARED));
    if count < FEW || rows.width == 0 {
        return Ok(None);
    }
    let samples: Vec<usize> = (0..count).map(|i| i * data.samples() / count).collect();
    let mut parts = Vec::new();
    // Parts of nearly equal numbers of samples: one sample left over would be no batch for a norm over the batch.
    for chosen in samples.chunks(count.div_ceil(count.div_ceil(SAMPLES))) {
        let mut batch = Batch::new(data, chosen.len());
        batch.gather(data, chosen, per_step)?;
        let kept = core::mem::replace(&mut rows.batch, batch);
        let y = rows.outputs(rows.mode);
        let batch = core::mem::replace(&mut rows.batch, kept);
        parts.push(Part { batch, y: y? });
    }
    let best: Vec<T> = best.iter().map(|&y| scalar(y)).collect();
    let (mut mean, mut all) = (vec![0.0; rows.width], 0.0);
    for row in parts.iter().flat_map(|part| part.y.chunks_exact(rows.width)) {
        all += 1.0;
        mean.iter_mut().zip(row).for_each(|(mean, &y)| *mean += (to_f64(y) - *mean) / all);
    }
    let mean: Vec<T> = mean.into_iter().map(scalar).collect();
    let mut least = f64::INFINITY;
    for constant in [&best, &mean] {
        let mut below = Vec::new();
        for part in &parts {
            let Some(of_part) = differences(part, constant, rows) else { return Ok(None) };
            below.extend(of_part);
        }
        let errors = standard_errors(&below);
        if below.len() < FEW || !errors.is_finite() {
            return Ok(None);
        }
        least = least.min(errors);
    }
    Ok(Some(least))
}

/// Returns the mean of `values` over its standard error; 0 for a mean of 0.
fn standard_errors(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let square = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>();
    let error = libm::sqrt(square / (count - 1.0) / count);
    if mean == 0.0 { 0.0 } else { mean / error }
}

/// Returns, for each sample of `part` with a weight above 0, the loss of the outputs `constant` minus that of its own
/// outputs, times the weight of the sample in a mean. `None` if a loss is not finite or not defined.
fn differences<T: Scalar>(part: &Part<T>, constant: &[T], rows: &Rows<'_, T>) -> Option<Vec<f64>> {
    let (width, shape, own) = (rows.width, part.batch.shape(), rows.loss.target_width(rows.width));
    let per_step = part.y.len() == shape.rows() * width;
    let mut found = Vec::new();
    for sample in 0..shape.batch {
        let chosen = rows_of(shape, sample, per_step);
        let pick = |values: &[T], width: usize| -> Vec<T> {
            chosen.iter().filter_map(|row| values.get(row * width..(row + 1) * width)).flatten().copied().collect()
        };
        let weights = part.batch.row_weights().map(|weights| pick(weights, 1));
        if weights.as_ref().is_some_and(|weights| weights.iter().all(|&weight| weight == T::zero())) {
            continue;
        }
        let (classes, values): (Vec<usize>, Vec<T>);
        let target = match part.batch.target() {
            Target::Classes(all) => {
                classes = chosen.iter().filter_map(|&row| all.get(row).copied()).collect();
                Target::Classes(&classes)
            }
            Target::Values(all) => {
                values = pick(all, own);
                Target::Values(&values)
            }
        };
        let weight = match rows.loss.reduction() {
            Reduction::Mean => rows.loss.total_weight(width, target, weights.as_deref()),
            Reduction::Sum => 1.0,
        };
        // A sample that no mean counts, such as one of an ignored class.
        if weight == 0.0 {
            continue;
        }
        let mut dy = vec![T::zero(); chosen.len() * width];
        let mut loss = |y: &[T]| rows.loss.evaluate_wide(width, y, target, weights.as_deref(), &mut dy).ok();
        let apart = loss(&constant.repeat(chosen.len()))? - loss(&pick(&part.y, width))?;
        found.push(weight * apart);
    }
    Some(found).filter(|found| found.iter().all(|value| value.is_finite()))
}

/// Returns the rows of the outputs of a sample: one, or one for each of its steps.
fn rows_of(shape: BatchShape<'_>, sample: usize, per_step: bool) -> Vec<usize> {
    match per_step && shape.steps > 1 {
        true => (0..shape.length(sample)).map(|step| shape.row(step, sample)).collect(),
        false => vec![sample],
    }
}
