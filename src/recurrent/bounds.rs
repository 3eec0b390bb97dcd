//! Bounds on the Jacobians of a recurrent layer.

use super::{plan::Unrolled, stage::Stages};
use crate::{
    batch_shape::BatchShape,
    cell::{GateBounds, StepBounds},
    linalg::{Upper, spectral_norm_bound},
    scalar::{Scalar, to_f64},
};
use alloc::vec::Vec;

/// The number of time steps beyond which a recurrent layer states no bounds on its Jacobians: they are a table with
/// an entry per step.
pub(crate) const MOST_BOUNDED_STEPS: usize = 1 << 22;

impl Unrolled {
    /// Returns, for each of the first `steps` time steps, bounds on the Jacobians of the new state with respect to
    /// the previous state and to the input. They hold for the layer with this `cell` and the parameters `w`, with
    /// its recurrent dropout and zoneout. `None` if the cell states none, `w` is too short, or there are more than
    /// [`MOST_BOUNDED_STEPS`] steps.
    fn step_bounds<T: Scalar>(&self, cell: &dyn Stages<T>, w: &[T], steps: usize) -> Option<Vec<StepBounds>> {
        if w.len() < self.dims().parameters || steps > MOST_BOUNDED_STEPS {
            return None;
        }
        let [weight, recurrent, _, recurrent_bias] = self.split(w);
        let (inputs, hidden) = (self.inputs, self.hidden);
        let size = |value: &T| Upper::of(to_f64(*value));
        let mask = self.noise.largest_factor();
        let gate = |gate: usize| {
            let recurrent = &recurrent[gate * hidden * hidden..][..hidden * hidden];
            let apart = self.separate_gates().position(|separate| separate == gate);
            let bias = apart.and_then(|apart| recurrent_bias.get(apart * hidden..)).unwrap_or(&[]);
            let sum = |(j, row): (usize, &[T])| {
                row.iter().fold(bias.get(j).map_or(Upper::ZERO, size), |sum, value| sum + mask * size(value))
            };
            let sums = recurrent.chunks(hidden.max(1)).enumerate().map(sum);
            GateBounds {
                weight: spectral_norm_bound(&weight[gate * hidden * inputs..], hidden, inputs),
                recurrent: (mask * Upper::of(spectral_norm_bound(recurrent, hidden, hidden))).get(),
                product: sums.fold(Upper::ZERO, Upper::max).get(),
            }
        };
        let gates: Vec<GateBounds> = (0..self.plan.gates.len()).map(gate).collect();
        (0..steps).map(|step| cell.step_bounds(&gates, step).map(|bounds| self.zoned_out(bounds))).collect()
    }

    /// Returns the bounds of a time step with zoneout, given the `bounds` of the cell; without zoneout, `bounds`
    /// unchanged.
    ///
    /// With `J = ∂s̃_t/∂s_{t−1}`, s̃ the state that the cell computes, and d the kept fraction of the previous
    /// one, s = h and s = c each have `∂s_t/∂s_{t−1} = diag(d) + diag(1 − d) J`, of norm at most
    /// `√(1 + ‖J‖²)`. The other blocks of the Jacobian are no larger than without zoneout. The bounds that cells
    /// assume for the values of states hold too: each value lies between the previous and the computed one.
    fn zoned_out(&self, mut bounds: StepBounds) -> StepBounds {
        if self.noise.zones_out() {
            let with_kept = |norm: f64| (Upper::ONE + Upper::of(norm) * Upper::of(norm)).sqrt().get();
            let [[h, _], [_, cell]] = &mut bounds.state;
            (*h, *cell) = (with_kept(*h), with_kept(*cell));
        }
        bounds
    }

    /// Returns an upper bound on the 2-norm of the Jacobian of all outputs by all inputs of a pass over `shape`, for
    /// one sample. `None` if the `cell` states no bounds, `w` is too short, or there are more than
    /// [`MOST_BOUNDED_STEPS`] steps.
    ///
    /// The bound is `√(‖A‖₁ ‖A‖_∞)` of the matrix A of bounds `A_tk ≥ ‖∂h_t/∂x_k‖₂`, k ≤ t,
    /// for which `∂h_t/∂x_k = ∂h_t/∂s_{t−1} … ∂s_{k+1}/∂s_k ∂s_k/∂x_k` with s the state. The norm
    /// of a matrix of blocks is at most that of the matrix of the norms of its blocks. Sums of its rows and columns are
    /// recurrences over the time steps.
    pub(super) fn gain_bound<T: Scalar>(&self, cell: &dyn Stages<T>, w: &[T], shape: BatchShape<'_>) -> Option<f64> {
        let steps = self.step_bounds(cell, w, shape.steps)?;
        let (mut row, mut longest_row) = ([Upper::ZERO; 2], Upper::ZERO);
        for step in &steps {
            let (state, input) = (step.state.map(|row| row.map(Upper::of)), step.input.map(Upper::of));
            row = [0, 1].map(|i| input[i] + state[i][0] * row[0] + state[i][1] * row[1]);
            longest_row = longest_row.max(row[0]);
        }
        let (mut column, mut longest_column) = ([Upper::ZERO; 2], Upper::ZERO);
        for step in steps.iter().rev() {
            let (state, input) = (step.state.map(|row| row.map(Upper::of)), step.input.map(Upper::of));
            column[0] = Upper::ONE + column[0];
            longest_column = longest_column.max(column[0] * input[0] + column[1] * input[1]);
            column = [0, 1].map(|j| column[0] * state[0][j] + column[1] * state[1][j]);
        }
        Some((longest_row.sqrt() * longest_column.sqrt()).get())
    }

    pub(super) fn state_gain_bounds<T: Scalar>(
        &self,
        cell: &dyn Stages<T>,
        w: &[T],
        shape: BatchShape<'_>,
    ) -> Option<Vec<f64>> {
        let steps = self.step_bounds(cell, w, shape.steps)?;
        // Each step's bounds are replaced by the largest up to that step. Then the product over any k consecutive
        // time steps is at most that over the last k.
        let mut highest = [[Upper::ZERO; 2]; 2];
        let rising = steps.iter().map(|step| {
            highest = [0, 1].map(|i| [0, 1].map(|j| highest[i][j].max(Upper::of(step.state[i][j]))));
            highest
        });
        let rising: Vec<_> = rising.collect();
        let mut product = [[Upper::ONE, Upper::ZERO], [Upper::ZERO, Upper::ONE]];
        let mut bounds = Vec::with_capacity(steps.len() + 1);
        bounds.push(1.0);
        for state in rising.iter().rev() {
            product = product.map(|row| [0, 1].map(|j| row[0] * state[0][j] + row[1] * state[1][j]));
            bounds.push(spectral_norm_bound(product.map(|row| row.map(Upper::get)).as_flattened(), 2, 2));
        }
        Some(bounds)
    }
}
