//! The stages (element-wise parts of a time step) of a cell, for all samples of the step. Only this code of a
//! recurrent layer is compiled for each cell.

use super::plan::{Sizes, rows, rows_mut};
use crate::{
    activation::AnyActivation,
    cell::{Cell, CellBackward, CellForward, GateBounds, StepBounds},
    kernel::{Kernel, dispatch, fused::fuses},
    scalar::Scalar,
};

/// The methods of a cell that a recurrent layer calls in its passes, for a trait object.
pub(super) trait Stages<T>: Sync {
    /// Runs one stage (element-wise part) of a time step, for all samples that reach the step.
    fn forward(&self, step: ForwardStage<'_, T>);

    /// Runs one stage (element-wise part) of a time step backward, for all samples that reach the step.
    fn backward(&self, step: BackwardStage<'_, T>);

    /// Returns the activation of gate number `gate` of the cell; `None` if the cell states none.
    fn activation(&self, gate: usize) -> Option<&dyn AnyActivation>;

    /// Returns [`Cell::step_bounds`]: bounds on the Jacobian of the state after time step number `step`, counted
    /// from 0, with respect to the previous state and the input, given bounds on the weights of each gate. `None` if
    /// the cell states none.
    fn step_bounds(&self, gates: &[GateBounds], step: usize) -> Option<StepBounds>;
}

impl<T: Scalar, C: Cell> Stages<T> for C {
    fn forward(&self, step: ForwardStage<'_, T>) {
        dispatch(OfCell(self, step));
    }

    fn backward(&self, step: BackwardStage<'_, T>) {
        dispatch(OfCell(self, step));
    }

    fn activation(&self, gate: usize) -> Option<&dyn AnyActivation> {
        Cell::activation(self, gate)
    }

    fn step_bounds(&self, gates: &[GateBounds], step: usize) -> Option<StepBounds> {
        Cell::step_bounds(self, gates, step)
    }
}

/// The kernel that runs a stage (element-wise part of a time step): a cell, and the arguments `S`, [`ForwardStage`]
/// or [`BackwardStage`].
struct OfCell<'a, C, S>(&'a C, S);

/// The arguments of a stage (element-wise part) of a forward time step, for all active samples: the samples whose
/// sequences reach the step. The slices have one row for each active sample, and the names of [`CellForward`].
pub(super) struct ForwardStage<'a, T> {
    pub(super) sizes: Sizes,
    pub(super) stage: usize,
    pub(super) active: usize,
    pub(super) saves: bool,
    pub(super) z: &'a mut [T],
    pub(super) monitored_z: &'a mut [T],
    pub(super) u: &'a [T],
    pub(super) h_prev: &'a [T],
    pub(super) cell_state_prev: &'a [T],
    pub(super) operand: &'a mut [T],
    pub(super) h: &'a mut [T],
    pub(super) cell_state: &'a mut [T],
}

impl<T: Scalar, C: Cell> Kernel for OfCell<'_, C, ForwardStage<'_, T>> {
    type Element = T;

    #[inline(always)]
    fn run<const LEVEL: u8>(self) {
        let OfCell(cell, step) = self;
        let Sizes { hidden, z, u, cell_state, operands, .. } = step.sizes;
        for s in 0..step.active {
            let operand = rows_mut(step.operand, s, 1, operands).get_mut(step.stage * hidden..).unwrap_or_default();
            let unit = CellForward {
                z: rows_mut(step.z, s, 1, z),
                saves: step.saves,
                monitored_z: step.monitored_z.get_mut(s * z..(s + 1) * z).unwrap_or_default(),
                u: rows(step.u, s, 1, u),
                h_prev: rows(step.h_prev, s, 1, hidden),
                cell_state_prev: rows(step.cell_state_prev, s, 1, cell_state),
                operand: operand.get_mut(..hidden).unwrap_or_default(),
                h: rows_mut(step.h, s, 1, hidden),
                cell_state: rows_mut(step.cell_state, s, 1, cell_state),
            };
            if fuses::<LEVEL, T>() {
                cell.forward(step.stage, unit.fused());
            } else {
                cell.forward(step.stage, unit);
            }
        }
    }
}

/// The arguments of a stage (element-wise part) of a backward time step, for all active samples: the samples whose
/// sequences reach the step. The slices have one row for each active sample, and the names of [`CellBackward`].
pub(super) struct BackwardStage<'a, T> {
    pub(super) sizes: Sizes,
    pub(super) stage: usize,
    pub(super) active: usize,
    pub(super) z: &'a mut [T],
    pub(super) u: &'a mut [T],
    pub(super) h_prev: &'a [T],
    pub(super) cell_state_prev: &'a [T],
    pub(super) h: &'a [T],
    pub(super) cell_state: &'a [T],
    pub(super) d_h: &'a [T],
    pub(super) d_cell_state: &'a mut [T],
    pub(super) d_operand: &'a [T],
    pub(super) d_h_prev: &'a mut [T],
    pub(super) between_stages: &'a mut [T],
}

impl<T: Scalar, C: Cell> Kernel for OfCell<'_, C, BackwardStage<'_, T>> {
    type Element = T;

    #[inline(always)]
    fn run<const LEVEL: u8>(self) {
        let OfCell(cell, step) = self;
        let Sizes { hidden, z, u, cell_state, between_stages, .. } = step.sizes;
        let operand = if step.d_operand.is_empty() { 0 } else { hidden };
        for s in 0..step.active {
            let unit = CellBackward {
                z: rows_mut(step.z, s, 1, z),
                u: rows_mut(step.u, s, 1, u),
                h_prev: rows(step.h_prev, s, 1, hidden),
                cell_state_prev: rows(step.cell_state_prev, s, 1, cell_state),
                h: rows(step.h, s, 1, hidden),
                cell_state: rows(step.cell_state, s, 1, cell_state),
                d_h: rows(step.d_h, s, 1, hidden),
                d_cell_state: rows_mut(step.d_cell_state, s, 1, cell_state),
                d_operand: rows(step.d_operand, s, 1, operand),
                d_h_prev: rows_mut(step.d_h_prev, s, 1, hidden),
                between_stages: rows_mut(step.between_stages, s, 1, between_stages),
            };
            if fuses::<LEVEL, T>() {
                cell.backward(step.stage, unit.fused());
            } else {
                cell.backward(step.stage, unit);
            }
        }
    }
}
