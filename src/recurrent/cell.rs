//! Something that can be one step of a recurrent layer: pointwise stages between matrix products that
//! it names but does not own.

use crate::{
    activation::AnyActivation,
    kernel::fused::{Fused, fused, fused_mut},
    layer::CellKind,
    scalar::Scalar,
};
use core::{fmt::Debug, ops::Range};

/// What a recurrent product is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// The hidden state of the step before.
    Hidden,
    /// What the stage before the product wrote to `operand`, such as r ⊙ h.
    StageOutput,
}

/// One product with recurrent weights: the rows of `U` that belong to some gates, times an operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// The gates whose rows of U it takes.
    pub gates: Range<usize>,
    /// The stage it is done for, just before it.
    pub stage: usize,
    /// What it is applied to.
    pub operand: Operand,
    /// Whether the result is kept apart in `u`, with a bias of its own, or added to `z`.
    pub separate: bool,
}

/// One sample at one stage of a forward step. Every slice holds `hidden` values a unit named.
#[non_exhaustive]
pub struct CellForward<'a, T> {
    /// Pre-activations, gate after gate: `W x + b`, plus the products that are added to it. On return what `backward` is to
    /// find of the gates this stage used: the same, or whatever else their values and derivatives are sooner made of.
    pub z: &'a mut [T],
    /// Whether a backward pass can follow; where none can, nothing needs to be left in `z`.
    pub keeps: bool,
    /// The same for whoever watches; empty where nobody does. Where a stage adds to a pre-activation, it is to do so here too.
    pub shown: &'a mut [T],
    /// Results of separate products, one after the other.
    pub u: &'a [T],
    /// Hidden state of the step before.
    pub h: &'a [T],
    /// The rest of the state of the step before (the c of an LSTM).
    pub memory: &'a [T],
    /// To be written by any stage but the last: the operand of the next stage's product.
    pub operand: &'a mut [T],
    /// To be written by the last stage: the hidden state, which is the step's output.
    pub h_next: &'a mut [T],
    /// To be written by the last stage: the rest of the state.
    pub memory_next: &'a mut [T],
}

impl<'a, T> CellForward<'a, T> {
    #[inline(always)]
    pub(super) fn fused(self) -> CellForward<'a, Fused<T>> {
        CellForward {
            z: fused_mut(self.z),
            keeps: self.keeps,
            shown: fused_mut(self.shown),
            u: fused(self.u),
            h: fused(self.h),
            memory: fused(self.memory),
            operand: fused_mut(self.operand),
            h_next: fused_mut(self.h_next),
            memory_next: fused_mut(self.memory_next),
        }
    }
}

/// One sample at one stage of a backward step.
#[non_exhaustive]
pub struct CellBackward<'a, T> {
    /// In: what the forward stages left there. Out: the gradient of the pre-activations, for the gates this stage used.
    pub z: &'a mut [T],
    /// In: results of separate products. Out: their gradient.
    pub u: &'a mut [T],
    /// Hidden state of the step before.
    pub h: &'a [T],
    /// The rest of the state of the step before.
    pub memory: &'a [T],
    /// Hidden state of this step.
    pub h_next: &'a [T],
    /// The rest of the state of this step.
    pub memory_next: &'a [T],
    /// Gradient with respect to `h_next`.
    pub d_h_next: &'a [T],
    /// In: gradient with respect to `memory_next`. Out, by the last stage: with respect to `memory`.
    pub d_memory: &'a mut [T],
    /// Gradient with respect to the operand this stage wrote; empty at the last stage.
    pub d_operand: &'a [T],
    /// Gradient with respect to `h` by ways that are no product; to be added to.
    pub d_h: &'a mut [T],
    /// Gradients the cell keeps from a later stage for an earlier one.
    pub held: &'a mut [T],
}

impl<'a, T> CellBackward<'a, T> {
    #[inline(always)]
    pub(super) fn fused(self) -> CellBackward<'a, Fused<T>> {
        CellBackward {
            z: fused_mut(self.z),
            u: fused_mut(self.u),
            h: fused(self.h),
            memory: fused(self.memory),
            h_next: fused(self.h_next),
            memory_next: fused(self.memory_next),
            d_h_next: fused(self.d_h_next),
            d_memory: fused_mut(self.d_memory),
            d_operand: fused(self.d_operand),
            d_h: fused_mut(self.d_h),
            held: fused_mut(self.held),
        }
    }
}

/// Upper bounds on the weights of one gate.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct GateBounds {
    /// On `‖W_g‖₂`.
    pub weight: f64,
    /// On `‖U_g‖₂`.
    pub recurrent: f64,
    /// On the entries of `U_g h + b_u` where those of h lie in [−1, 1]: `max_j (Σ_k |U_g,jk| + |b_u,j|)`.
    pub product: f64,
}

/// Upper bounds on the Jacobian of one step, block by block of the state s = (h, rest).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepBounds {
    /// On `‖∂s_t/∂s_{t−1}‖₂`: \[\[∂h/∂h, ∂h/∂rest\], \[∂rest/∂h, ∂rest/∂rest\]\]; 0 where there is no rest.
    pub state: [[f64; 2]; 2],
    /// On `‖∂s_t/∂x_t‖₂`: \[∂h/∂x, ∂rest/∂x\].
    pub input: [f64; 2],
}

/// Something that can be one step of a recurrent layer.
///
/// A cell with S + 1 stages runs: the products of stage 0, stage 0, the products of stage 1, … stage S.
/// Backward goes the other way. A stage sees one sample at a time, and all its slices hold the gates or
/// units of that sample side by side. The recurrent layer owns the weights: `W` \[gates · hidden, inputs\],
/// `U` \[gates · hidden, hidden\], the biases.
///
/// Its rules: there is at least one gate, and each has a name of its own; a product has gates that there are; separate products
/// have theirs in order, without gaps; each stage after the first has a product, and no product of stage 0 is applied to
/// [`Operand::StageOutput`]; every method gives the same answer each time. [`Error::InvalidLayer`](crate::Error::InvalidLayer) names
/// the layer of a cell that breaks one, where it becomes part of a network and where a workspace is made.
pub trait Cell: Clone + Debug + Send + Sync + 'static {
    /// Names of the gates, in the order of the rows of W and U.
    fn gates(&self) -> &'static [&'static str];

    /// Products with the recurrent weights; one for all gates unless the cell says otherwise.
    fn products(&self) -> &'static [Product];

    /// State per unit beyond h (1 for an LSTM).
    fn memory(&self) -> usize {
        0
    }

    /// Gradients per unit held between backward stages.
    fn held(&self) -> usize {
        0
    }

    /// The activation of a gate, for monitors.
    fn activation(&self, _gate: usize) -> Option<&dyn AnyActivation> {
        None
    }

    /// Upper bounds on the Jacobian of the step after `step` others from a state of zero, for any inputs; `None`
    /// where none are known.
    fn step_bounds(&self, _gates: &[GateBounds], _step: usize) -> Option<StepBounds> {
        None
    }

    /// One stage of a step.
    ///
    /// # Panics
    /// A cell may panic for a `stage` that it does not have, and for slices shorter than its methods say. A
    /// [`Recurrent`](super::Recurrent) layer passes neither.
    fn forward<T: Scalar>(&self, stage: usize, unit: CellForward<'_, T>);

    /// One stage backward.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    fn backward<T: Scalar>(&self, stage: usize, unit: CellBackward<'_, T>);

    /// The cell as data; a cell of your own is opaque.
    fn kind(&self) -> CellKind {
        CellKind::Custom(core::any::type_name::<Self>().into())
    }
}
