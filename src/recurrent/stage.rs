//! The stages of a cell, for all samples of a step: the only code of a recurrent layer that is compiled for each cell.

use super::{
    cell::{Cell, CellBackward, CellForward, GateBounds, StepBounds},
    plan::{Sizes, rows, rows_mut},
};
use crate::{
    activation::AnyActivation,
    kernel::{Kernel, dispatch, fused::fuses},
    scalar::Scalar,
};

/// A cell behind a pointer.
pub(super) trait Stages<T>: Sync {
    /// Runs one stage for all samples of a step.
    fn forward(&self, step: ForwardStage<'_, T>);

    /// Runs one stage backward for all samples of a step.
    fn backward(&self, step: BackwardStage<'_, T>);

    /// The activation of a gate.
    fn activation(&self, gate: usize) -> Option<&dyn AnyActivation>;

    /// Bounds on the Jacobian of a step.
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

/// A stage of a cell.
struct OfCell<'a, C, S>(&'a C, S);

/// A stage of a forward step, for all samples that are active.
pub(super) struct ForwardStage<'a, T> {
    pub(super) sizes: Sizes,
    pub(super) stage: usize,
    pub(super) active: usize,
    pub(super) keeps: bool,
    pub(super) z: &'a mut [T],
    pub(super) shown: &'a mut [T],
    pub(super) u: &'a [T],
    pub(super) h: &'a [T],
    pub(super) memory: &'a [T],
    pub(super) operand: &'a mut [T],
    pub(super) h_next: &'a mut [T],
    pub(super) memory_next: &'a mut [T],
}

impl<T: Scalar, C: Cell> Kernel for OfCell<'_, C, ForwardStage<'_, T>> {
    type Element = T;

    #[inline(always)]
    fn run<const LEVEL: u8>(self) {
        let OfCell(cell, step) = self;
        let Sizes { hidden, z, u, memory, operands, .. } = step.sizes;
        for s in 0..step.active {
            let operand = rows_mut(step.operand, s, 1, operands).get_mut(step.stage * hidden..).unwrap_or_default();
            let unit = CellForward {
                z: rows_mut(step.z, s, 1, z),
                keeps: step.keeps,
                shown: step.shown.get_mut(s * z..(s + 1) * z).unwrap_or_default(),
                u: rows(step.u, s, 1, u),
                h: rows(step.h, s, 1, hidden),
                memory: rows(step.memory, s, 1, memory),
                operand: operand.get_mut(..hidden).unwrap_or_default(),
                h_next: rows_mut(step.h_next, s, 1, hidden),
                memory_next: rows_mut(step.memory_next, s, 1, memory),
            };
            if fuses::<LEVEL, T>() {
                cell.forward(step.stage, unit.fused());
            } else {
                cell.forward(step.stage, unit);
            }
        }
    }
}

/// A stage of a backward step, for all samples that are active.
pub(super) struct BackwardStage<'a, T> {
    pub(super) sizes: Sizes,
    pub(super) stage: usize,
    pub(super) active: usize,
    pub(super) z: &'a mut [T],
    pub(super) u: &'a mut [T],
    pub(super) h: &'a [T],
    pub(super) memory: &'a [T],
    pub(super) h_next: &'a [T],
    pub(super) memory_next: &'a [T],
    pub(super) d_h_next: &'a [T],
    pub(super) d_memory: &'a mut [T],
    pub(super) d_operand: &'a [T],
    pub(super) d_h: &'a mut [T],
    pub(super) held: &'a mut [T],
}

impl<T: Scalar, C: Cell> Kernel for OfCell<'_, C, BackwardStage<'_, T>> {
    type Element = T;

    #[inline(always)]
    fn run<const LEVEL: u8>(self) {
        let OfCell(cell, step) = self;
        let Sizes { hidden, z, u, memory, held, .. } = step.sizes;
        let operand = if step.d_operand.is_empty() { 0 } else { hidden };
        for s in 0..step.active {
            let unit = CellBackward {
                z: rows_mut(step.z, s, 1, z),
                u: rows_mut(step.u, s, 1, u),
                h: rows(step.h, s, 1, hidden),
                memory: rows(step.memory, s, 1, memory),
                h_next: rows(step.h_next, s, 1, hidden),
                memory_next: rows(step.memory_next, s, 1, memory),
                d_h_next: rows(step.d_h_next, s, 1, hidden),
                d_memory: rows_mut(step.d_memory, s, 1, memory),
                d_operand: rows(step.d_operand, s, 1, operand),
                d_h: rows_mut(step.d_h, s, 1, hidden),
                held: rows_mut(step.held, s, 1, held),
            };
            if fuses::<LEVEL, T>() {
                cell.backward(step.stage, unit.fused());
            } else {
                cell.backward(step.stage, unit);
            }
        }
    }
}
