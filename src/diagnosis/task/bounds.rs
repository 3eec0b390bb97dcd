//! The loss of the best constant outputs, the lowest loss of any outputs, and that of outputs within a range.

use super::{Rows, Task, squares};
use crate::{
    batch_shape::BatchShape,
    dataset::{Batch, Dataset},
    error::Error,
    layer::{Layer, Mode},
    loss::{Loss, Reduction},
    monitor::part_of,
    scalar::{Scalar, scalar, to_f64},
    workspace::{Workspace, per_step},
};
use alloc::{boxed::Box, vec, vec::Vec};

/// The number of steps of a gradient descent on the outputs, towards the best constant outputs, rejected steps
/// included.
pub(in crate::diagnosis) const STEPS: usize = 120;
/// The largest number of output values that a gradient descent varies one by one; it takes 32 bytes for each.
const FREE: usize = 1 << 21;
/// The number of bisections of the range of each output, by which [`least`] finds the outputs of lowest loss.
const HALVINGS: usize = 40;

/// The lowest losses that some outputs can reach on a batch. They are computed from the targets alone, not from the
/// inputs.
#[derive(Clone, Copy, Debug)]
pub(in crate::diagnosis) struct LossBounds {
    /// The lowest loss of outputs that are the same for every row.
    pub constant: f64,
    /// The lowest loss of any outputs. `None` for a loss without a lowest value, for a loss whose lowest value
    /// gradient descent does not reach in [`STEPS`] steps, and for more outputs than [`FREE`].
    pub floor: Option<f64>,
    /// Whether outputs that are the same for every row have no lowest loss. It is assumed if, at the end of a
    /// gradient descent on the outputs, the loss is below −1000 and more than a thousand times as far below 0 as
    /// after half of the steps.
    pub is_unbounded: bool,
}

/// The ratio of the loss at the end of a gradient descent to the lower of −1 and the loss after half of the steps,
/// above which the loss counts as falling without end.
const WITHOUT_END: f64 = 1e3;

impl LossBounds {
    /// Measures the lowest loss of constant outputs and that of any outputs, for the targets of the batch `rows`.
    pub(super) fn of<T: Scalar>(rows: &Rows<'_, T>) -> Result<Self, Error> {
        Self::with_outputs(rows).map(|(bounds, _)| bounds)
    }

    /// Measures the lowest losses of a batch, as [`of`](Self::of) does, and returns with them the best constant
    /// outputs: one value for each output column.
    pub(super) fn with_outputs<T: Scalar>(rows: &Rows<'_, T>) -> Result<(Self, Vec<f64>), Error> {
        let ([halfway, constant], outputs) = descend(rows, None)?;
        let is_unbounded = constant < WITHOUT_END * f64::min(halfway, -1.0);
        Ok((LossBounds { constant, floor: free(rows, constant)?, is_unbounded }, outputs))
    }

    /// Returns the loss of the best constant outputs. `None` if this loss is not above the lowest loss of any outputs
    /// (not above 0 if the lowest loss is not known), so that no other loss can be placed between the two.
    pub fn chance(&self) -> Option<f64> {
        (self.constant > self.floor.unwrap_or(0.0)).then_some(self.constant)
    }

    /// Returns `floor + share · (loss − floor)`, with floor the lowest loss of any outputs. If floor is not known or
    /// not below `loss`, returns the fraction `share` of `loss` itself.
    pub fn part(&self, loss: f64, share: f64) -> f64 {
        match self.floor.filter(|&floor| floor < loss) {
            Some(floor) => floor + share * (loss - floor),
            None => part_of(loss, share),
        }
    }
}

/// Returns the lowest loss of outputs that are the same for every row, or for every row of a group, by gradient
/// descent from 0. A step that lowers the loss is taken, and the step length is doubled; otherwise the step is
/// rejected, and the length halved. `groups` has the group of each row; with `None` all rows are one group.
pub(super) fn constant<T: Scalar>(rows: &Rows<'_, T>, groups: Option<&[usize]>) -> Result<f64, Error> {
    descend(rows, groups).map(|([_, lowest], _)| lowest)
}

/// The largest number of outputs of the samples whose [`floor`] is measured.
const FLOOR: usize = 1_000_000;

/// Returns the lowest loss of any outputs for the targets of `samples`, or of as many of them, evenly spaced, as have
/// at most [`FLOOR`] outputs. `None` if it is not known, for a loss that is a sum over rows, and for data without
/// targets.
pub(in crate::diagnosis) fn floor<T: Scalar>(
    network: Box<dyn Layer<T>>,
    data: &Dataset<'_, T>,
    loss: &dyn Loss<T>,
    samples: &[usize],
) -> Result<Option<f64>, Error> {
    if data.targets().is_none() || samples.is_empty() || loss.reduction() == Reduction::Sum {
        return Ok(None);
    }
    let (width, steps, mode) = (network.dims().output, per_step(&*network)?, Mode::to_examine(&*network));
    let each = if steps { width.saturating_mul(data.steps()) } else { width };
    let most = (FLOOR / each.max(1)).max(1);
    let samples: Vec<usize> = samples.iter().copied().step_by(samples.len().div_ceil(most)).collect();
    let mut batch = Batch::new(data, samples.len());
    batch.gather(data, &samples, steps)?;
    let count = network.output_shape(batch.shape()).rows();
    // No pass is made.
    let workspace = Workspace::new(network, BatchShape::batch(1))?;
    let rows = Rows { workspace, w: &[], loss, batch, width, count, mode, passes: 0 };
    Ok(LossBounds::of(&rows)?.floor)
}

/// Returns the lowest loss of any outputs for the batch `rows`, by the descent of [`constant`] with a group for each
/// row. `None` for a loss that still falls at the end. It does if more than a twentieth of its fall, from `constant`,
/// the loss of the best constant outputs, is in the second half of the steps. `None` also for more outputs than
/// [`FREE`].
fn free<T: Scalar>(rows: &Rows<'_, T>, constant: f64) -> Result<Option<f64>, Error> {
    if rows.count.saturating_mul(rows.width) > FREE {
        return Ok(None);
    }
    let each: Vec<usize> = (0..rows.count).collect();
    let ([halfway, lowest], _) = descend(rows, Some(&each))?;
    Ok((halfway - lowest <= 0.05 * (constant - lowest)).then_some(lowest))
}

/// The outputs, by turns, at which a descent begins if the loss has no gradient at outputs of 0, such as the cosine
/// distance.
const NEAR_ZERO: [f64; 2] = [1e-2, -3e-2];

/// Runs the gradient descent of [`constant`]. Returns its loss after half of the steps (first) and after all
/// (second), and the outputs with the latter: one row of outputs for each group of rows.
fn descend<T: Scalar>(rows: &Rows<'_, T>, groups: Option<&[usize]>) -> Result<([f64; 2], Vec<f64>), Error> {
    let (width, count) = (rows.width, rows.count);
    let group = |row: usize| groups.map_or(0, |groups| groups[row]);
    let mut sizes = vec![0.0; 1 + (0..count).map(group).max().unwrap_or(0)];
    (0..count).for_each(|row| sizes[group(row)] += 1.0);
    let mut dy = vec![T::zero(); count * width];
    let mut at = |row: &[f64]| -> Result<(f64, Vec<f64>), Error> {
        let y = (0..count).flat_map(|at| &row[group(at) * width..][..width]);
        let y: Vec<T> = y.map(|&y| scalar(y)).collect();
        let (loss, mut sums) = (rows.loss_of(&y, &mut dy)?, vec![0.0; row.len()]);
        for (at, dy) in dy.chunks(width.max(1)).enumerate() {
            // All groups of rows take equally long steps, whatever their numbers of rows.
            let weight = count as f64 / sizes[group(at)];
            let sums = &mut sums[group(at) * width..][..width];
            sums.iter_mut().zip(dy).for_each(|(sum, &dy)| *sum += weight * to_f64(dy));
        }
        Ok((loss, sums))
    };
    let (mut row, mut step) = (vec![0.0; width * sizes.len()], 1.0);
    let (mut lowest, mut gradient) = at(&row)?;
    let at_zero = lowest;
    if gradient.iter().all(|&slope| slope == 0.0) {
        row.iter_mut().enumerate().for_each(|(at, y)| *y = NEAR_ZERO[at % NEAR_ZERO.len()]);
        (lowest, gradient) = at(&row)?;
    }
    let mut halfway = lowest;
    for at_step in 0..STEPS {
        if at_step == STEPS / 2 {
            halfway = lowest;
        }
        let next: Vec<f64> = row.iter().zip(&gradient).map(|(y, dy)| y - step * dy).collect();
        let (loss, slope) = at(&next)?;
        if loss < lowest {
            (row, lowest, gradient, step) = (next, loss, slope, 2.0 * step);
        } else {
            step *= 0.5;
        }
    }
    if !(lowest < at_zero || row.iter().all(|&y| y == 0.0)) {
        return Ok(([at_zero; 2], vec![0.0; row.len()]));
    }
    Ok(([halfway, lowest], row))
}

/// Returns the lowest loss of outputs within `[low, high]`, by bisection with the sign of each value's derivative.
///
/// The result is exact for a loss that is convex in each value, if the sign of a derivative does not depend on other
/// values.
pub(super) fn least<T: Scalar>(rows: &Rows<'_, T>, [low, high]: [f64; 2]) -> Result<f64, Error> {
    let values = rows.count * rows.width;
    let (mut range, mut dy) = (vec![[low, high]; values], vec![T::zero(); values]);
    let middle = |range: &[[f64; 2]]| range.iter().map(|[low, high]| scalar(0.5 * (low + high))).collect::<Vec<T>>();
    for _ in 0..HALVINGS {
        let y = middle(&range);
        rows.loss_of(&y, &mut dy)?;
        for (([low, high], &dy), &y) in range.iter_mut().zip(&dy).zip(&y) {
            *(if to_f64(dy) > 0.0 { high } else { low }) = to_f64(y);
        }
    }
    rows.loss_of(&middle(&range), &mut dy)
}

/// Returns the lowest loss of the outputs `y` with their distances from the means of their columns multiplied by a
/// power of two, from 2 to 4096.
pub(super) fn rescaled<T: Scalar>(rows: &Rows<'_, T>, y: &[T]) -> Result<f64, Error> {
    let (width, mut dy, mut least) = (rows.width.max(1), vec![T::zero(); y.len()], f64::INFINITY);
    let count = (y.len() / width).max(1) as f64;
    let means: Vec<f64> =
        (0..width).map(|at| y.iter().skip(at).step_by(width).map(|&y| to_f64(y)).sum::<f64>() / count).collect();
    for factor in (1..=12).map(|power| f64::from(1 << power)) {
        let of = |(at, &y): (usize, &T)| means[at % width] + factor * (to_f64(y) - means[at % width]);
        let scaled: Vec<T> = y.iter().enumerate().map(of).map(scalar).collect();
        least = least.min(rows.loss_of(&scaled, &mut dy)?);
    }
    Ok(least)
}

/// Returns three numbers of `dy`, the gradient of the loss at outputs of `width` columns: its variance over rows and
/// the square of its mean, both summed over columns, and the number of rows.
pub(super) fn row_gradients<T: Scalar>(width: usize, dy: &[T]) -> [f64; 3] {
    let rows = dy.len() as f64 / width.max(1) as f64;
    let [apart, square] = squares(width, dy);
    [apart / f64::max(rows - 1.0, 1.0), (square - apart) / f64::max(rows, 1.0), rows]
}

/// The sign of a gradient is tested by changes of the outputs `y` of these sizes, relative to the larger of 1 and the
/// root mean square of `y`.
const NEARBY: [f64; 3] = [1e-1, 1e-2, 1e-3];

/// Whether `dy`, the gradient of the loss at the outputs `y`, has the wrong sign. The sign is wrong if, for each size
/// of [`NEARBY`], a change of `y` against `dy` raises the loss above `now`, its value at `y`, and a change along `dy`
/// lowers it.
pub(super) fn is_reversed<T: Scalar>(rows: &Rows<'_, T>, y: &[T], dy: &[T], now: f64) -> Result<bool, Error> {
    let norm = |values: &[T]| libm::sqrt(values.iter().map(|&value| to_f64(value) * to_f64(value)).sum::<f64>());
    let (size, slope) = (f64::max(norm(y), libm::sqrt(y.len() as f64)), norm(dy));
    if !(size.is_finite() && slope.is_finite() && slope > 0.0 && now.is_finite()) {
        return Ok(false);
    }
    let mut scratch = vec![T::zero(); y.len()];
    let mut at = |step: f64| {
        let moved: Vec<T> =
            y.iter().zip(dy).map(|(&y, &dy)| scalar(to_f64(y) + step * size / slope * to_f64(dy))).collect();
        rows.loss_of(&moved, &mut scratch)
    };
    for step in NEARBY {
        if !(at(-step)? > now && at(step)? < now) {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Task {
    /// Whether rescaled outputs have a loss that is lower by more than training has gained: the loss minus that of
    /// rescaled outputs exceeds the loss of the best constant outputs minus the loss.
    pub fn hides_more(&self) -> bool {
        self.measured.chance().is_some_and(|chance| self.loss - self.rescaled > chance - self.loss)
    }

    /// Whether dropout masks alone cost more than half of all that can be learned: of the difference between the loss
    /// of constant outputs and the lowest loss of any outputs.
    pub fn is_drowned(&self) -> bool {
        let bounds = &self.measured;
        let both = bounds.chance().zip(self.masked);
        both.is_some_and(|(chance, [masked, _])| masked - self.loss > chance - bounds.part(chance, 0.5))
    }
}
