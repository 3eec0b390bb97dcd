//! The values of one sample in a time step of a cell, and their lengths.

#[cfg(doc)]
use super::{CellSizes, Product};
use crate::{
    kernel::fused::{Fused, fused, fused_mut},
    slices::hold,
};
use core::fmt;

/// The values of one sample at one stage (element-wise part) of a forward time step. Separate gates are those whose
/// product with the recurrent weights is [kept separate](Product::keep_separate), in `u`.
///
/// # Shapes
/// `z`: \[gates · hidden\]; `u`: \[separate gates · hidden\]; `h_prev`, `h`, `operand`: \[hidden\];
/// `cell_state_prev`, `cell_state`: \[[`cell_state`](CellSizes::cell_state) · hidden\].
#[non_exhaustive]
pub struct CellForward<'a, T> {
    /// In: pre-activations `W x + b` plus the products added to them, gate after gate. Out, for the gates this stage
    /// used: the values from which `backward` recovers the gates and their derivatives.
    pub z: &'a mut [T],
    /// Whether a backward pass can follow. If not, the content of `z` on return is arbitrary.
    pub saves: bool,
    /// A copy of the pre-activations for the monitor, laid out as `z`; empty if no monitor is active. A stage that
    /// itself adds to a pre-activation must write the sum here, too.
    pub monitored_z: &'a mut [T],
    /// Results, with their biases, of the products with [`keep_separate`](Product::keep_separate) for this sample, in
    /// the order of the products.
    pub u: &'a [T],
    /// Hidden state of the previous time step.
    pub h_prev: &'a [T],
    /// Cell state of the previous time step: the c of an LSTM.
    pub cell_state_prev: &'a [T],
    /// Out, from every stage except the last: the vector that the next stage's product multiplies by the recurrent
    /// weights U. Empty at the last stage.
    pub operand: &'a mut [T],
    /// Out, from the last stage: the hidden state, which is the output of the cell at this time step.
    pub h: &'a mut [T],
    /// Out, from the last stage: the cell state of this time step.
    pub cell_state: &'a mut [T],
}

impl<'a, T> CellForward<'a, T> {
    /// Panics unless each slice has the length that follows from `sizes`, the values per unit, and the number of
    /// units, the length of `h`. `cell` is the name of the cell in the message.
    #[inline(always)]
    pub(super) fn check(&self, cell: &'static str, sizes: UnitSizes) {
        let (n, operand, monitored) = (self.h.len(), self.operand.len(), self.monitored_z.len());
        let found = [self.z.len(), self.u.len(), self.h_prev.len(), self.cell_state_prev.len(), self.cell_state.len()];
        sizes.require(cell, n, found);
        require(
            cell,
            [
                ("operand", n, if sizes.operand { operand } else { n }),
                ("monitored_z", if monitored == 0 { 0 } else { sizes.gates * n }, monitored),
            ],
        );
    }

    #[inline(always)]
    pub(crate) fn fused(self) -> CellForward<'a, Fused<T>> {
        CellForward {
            z: fused_mut(self.z),
            saves: self.saves,
            monitored_z: fused_mut(self.monitored_z),
            u: fused(self.u),
            h_prev: fused(self.h_prev),
            cell_state_prev: fused(self.cell_state_prev),
            operand: fused_mut(self.operand),
            h: fused_mut(self.h),
            cell_state: fused_mut(self.cell_state),
        }
    }
}

/// The values of one sample at one stage (element-wise part) of a backward time step.
///
/// # Shapes
/// As in [`CellForward`]; `between_stages`: \[[`between_stages`](CellSizes::between_stages) · hidden\].
#[non_exhaustive]
pub struct CellBackward<'a, T> {
    /// In: the values that the forward stages saved. Out, for the gates this stage used: the gradient with respect to
    /// the pre-activations.
    pub z: &'a mut [T],
    /// In: results of the products that are [kept separate](Product::keep_separate). Out: the gradient with respect to
    /// these results.
    pub u: &'a mut [T],
    /// Hidden state of the previous time step.
    pub h_prev: &'a [T],
    /// Cell state of the previous time step.
    pub cell_state_prev: &'a [T],
    /// Hidden state of this time step as the cell computed it, before zoneout, which may keep the previous value.
    pub h: &'a [T],
    /// Cell state of this time step as the cell computed it, before zoneout, which may keep the previous value.
    pub cell_state: &'a [T],
    /// Gradient with respect to the hidden state `h` of this time step.
    pub d_h: &'a [T],
    /// In: gradient with respect to `cell_state`. Out: gradient with respect to `cell_state_prev`, written by the
    /// last stage, which runs first in the backward pass.
    pub d_cell_state: &'a mut [T],
    /// Gradient with respect to `operand`, the vector that this stage wrote in the forward pass for the next stage's
    /// product with U. Empty at the last stage.
    pub d_operand: &'a [T],
    /// Gradient with respect to `h_prev`. A stage adds its element-wise part, such as `z ⊙ d_h` of a GRU with the
    /// update gate z; the layer adds the part that passes through the products.
    pub d_h_prev: &'a mut [T],
    /// Gradients that the backward pass of a later stage writes for an earlier stage, whose backward pass runs next.
    pub between_stages: &'a mut [T],
}

macro_rules! debug_lengths {
    ($name:ident: $($slice:ident)+) => {
        /// Formats the values of the sample by the length of each slice.
        impl<T> fmt::Debug for $name<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))$(.field(stringify!($slice), &self.$slice.len()))+.finish()
            }
        }
    };
}
debug_lengths!(CellForward: z monitored_z u h_prev cell_state_prev operand h cell_state);
debug_lengths!(
    CellBackward: z u h_prev cell_state_prev h cell_state d_h d_cell_state d_operand d_h_prev between_stages
);

/// Values per unit in the slices of [`CellForward`] and [`CellBackward`], at one stage (element-wise part of a time
/// step) of a cell of this crate.
#[derive(Clone, Copy)]
pub(super) struct UnitSizes {
    /// The number of gates.
    pub(super) gates: usize,
    /// The number of gates whose recurrent product `U h` is kept apart from `W x`, in `u`, because the cell first
    /// multiplies it by a gate, as a GRU does for its candidate.
    pub(super) separate: usize,
    /// The number of values of the cell state, such as c of an LSTM, per unit.
    pub(super) cell_state: usize,
    /// The number of gradients per unit that the backward pass of a stage leaves for the backward pass of an earlier
    /// stage.
    pub(super) between_stages: usize,
    /// Whether the stage writes an operand, the vector that the products of the next stage multiply by U.
    pub(super) operand: bool,
}

impl UnitSizes {
    /// Panics unless the slices that both passes read have their lengths for `n` units: `found` are those of z, u,
    /// h_prev, cell_state_prev and cell_state. `cell` is the name of the cell in the message.
    #[inline(always)]
    fn require(&self, cell: &str, n: usize, found: [usize; 5]) {
        let [z, u, h_prev, cell_state_prev, cell_state] = found;
        require(
            cell,
            [
                ("z", self.gates * n, z),
                ("u", self.separate * n, u),
                ("h_prev", n, h_prev),
                ("cell_state_prev", self.cell_state * n, cell_state_prev),
                ("cell_state", self.cell_state * n, cell_state),
            ],
        );
    }
}

/// Panics unless each slice has its length. `slices` holds names, expected lengths and found lengths; `cell` is the
/// name of the cell in the message.
#[inline(always)]
fn require<const N: usize>(cell: &str, slices: [(&str, usize, usize); N]) {
    if slices.iter().any(|&(_, expected, found)| expected != found) {
        refuse(cell, &slices);
    }
}

#[cold]
#[inline(never)]
fn refuse(cell: &str, slices: &[(&str, usize, usize)]) -> ! {
    for (slice, expected, found) in slices {
        hold(&alloc::format!("`{slice}` of {cell}"), *expected, *found);
    }
    unreachable!("a slice has another length");
}

impl<'a, T> CellBackward<'a, T> {
    /// Panics unless each slice has the length that follows from `sizes`, the values per unit, and the number of
    /// units, the length of `h`. `cell` is the name of the cell in the message.
    #[inline(always)]
    pub(super) fn check(&self, cell: &'static str, sizes: UnitSizes) {
        let n = self.h.len();
        let found = [self.z.len(), self.u.len(), self.h_prev.len(), self.cell_state_prev.len(), self.cell_state.len()];
        sizes.require(cell, n, found);
        require(
            cell,
            [
                ("d_h", n, self.d_h.len()),
                ("d_cell_state", sizes.cell_state * n, self.d_cell_state.len()),
                ("d_operand", n, if sizes.operand { self.d_operand.len() } else { n }),
                ("d_h_prev", n, self.d_h_prev.len()),
                ("between_stages", sizes.between_stages * n, self.between_stages.len()),
            ],
        );
    }

    #[inline(always)]
    pub(crate) fn fused(self) -> CellBackward<'a, Fused<T>> {
        CellBackward {
            z: fused_mut(self.z),
            u: fused_mut(self.u),
            h_prev: fused(self.h_prev),
            cell_state_prev: fused(self.cell_state_prev),
            h: fused(self.h),
            cell_state: fused(self.cell_state),
            d_h: fused(self.d_h),
            d_cell_state: fused_mut(self.d_cell_state),
            d_operand: fused(self.d_operand),
            d_h_prev: fused_mut(self.d_h_prev),
            between_stages: fused_mut(self.between_stages),
        }
    }
}
