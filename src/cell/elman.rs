//! The Elman cell, a plain recurrent cell without gates.

use super::{Cell, CellBackward, CellForward, CellKind, GateBounds, Layer, RecurrentLayer, StepBounds, UnitSizes};
use crate::{
    activation::{Activation, AnyActivation, Tanh},
    block::Gate,
    kernel::register_block::{by_blocks, load_block, store_block},
    linalg::Upper,
    scalar::Scalar,
};
use alloc::boxed::Box;

/// The plain recurrent cell: `h_t = φ(W x_t + U h_{t−1} + b)`.
///
/// Backward: `δ_t = φ′(z_t) ⊙ dh_t`, `dh_{t−1} = Uᵀ δ_t`. Source: Elman 1990; Pascanu et al. 2013, eq. 2.
#[derive(Debug, PartialEq, Default)]
pub struct Elman<A = Tanh> {
    activation: A,
}

impl<A: Activation> Clone for Elman<A> {
    fn clone(&self) -> Self {
        Elman { activation: self.activation.cloned() }
    }
}

impl<A: Activation> Elman<A> {
    /// Creates the cell `h_t = φ(W x_t + U h_{t−1} + b)` with `activation` as φ. The
    /// [`Recurrent`](crate::recurrent::Recurrent) layer of the cell sets its widths and owns its weights.
    pub const fn new(activation: A) -> Self {
        Elman { activation }
    }
}

/// The numbers of values per unit in the slices of [`CellForward`] and [`CellBackward`]: one gate in the
/// pre-activations `z`, and no cell state.
const SIZES: UnitSizes = UnitSizes { gates: 1, separate: 0, cell_state: 0, between_stages: 0, operand: false };

impl<A: Activation> Cell for Elman<A> {
    fn gates(&self) -> &'static [Gate] {
        const { &[Gate::new("hidden")] }
    }

    fn activation(&self, _gate: usize) -> Option<&dyn AnyActivation> {
        Some(&self.activation)
    }

    /// Returns upper bounds on the 2-norms of two Jacobians: `γ‖U‖₂` for `∂h_t/∂h_{t−1} = diag(φ′) U`, and `γ‖W‖₂`
    /// for `∂h_t/∂x = diag(φ′) W`. W and U are the input and recurrent weights, and `γ = sup |φ′|`, or ∞ where φ
    /// jumps.
    ///
    /// Source: Pascanu, Mikolov & Bengio 2013, §2.2.
    fn step_bounds(&self, gates: &[GateBounds], _step: usize) -> Option<StepBounds> {
        let steepest = Upper::of(self.activation.lipschitz()?);
        let [gate] = gates else { return None };
        let through = |weights: f64| (steepest * Upper::of(weights)).get();
        Some(StepBounds { state: [[through(gate.recurrent), 0.0], [0.0, 0.0]], input: [through(gate.weight), 0.0] })
    }

    #[inline(always)]
    fn forward<T: Scalar>(&self, _stage: usize, unit: CellForward<'_, T>) {
        unit.check("Elman", SIZES);
        by_blocks!(T, LANES, at in unit.h.len(), {
            let (mut z, mut h) = (load_block::<T, LANES>(unit.z, at), [T::zero(); LANES]);
            for j in 0..LANES {
                h[j] = self.activation.value(z[j]);
            }
            store_block(unit.h, at, h);
            if unit.saves {
                // The values that the backward pass needs are computed here from the same exponential.
                for j in 0..LANES {
                    z[j] = self.activation.derivative(z[j], h[j]);
                }
                store_block(unit.z, at, z);
            }
        });
    }

    #[inline(always)]
    fn backward<T: Scalar>(&self, _stage: usize, unit: CellBackward<'_, T>) {
        unit.check("Elman", SIZES);
        by_blocks!(T, LANES, at in unit.h.len(), {
            let (mut z, dh) = (load_block::<T, LANES>(unit.z, at), load_block::<T, LANES>(unit.d_h, at));
            for j in 0..LANES {
                z[j] *= dh[j];
            }
            store_block(unit.z, at, z);
        });
    }

    fn kind(&self) -> CellKind {
        CellKind::Elman(self.activation.kind())
    }

    fn boxed_layer<T: Scalar>(layer: RecurrentLayer<Self>) -> Box<dyn Layer<T>> {
        A::boxed_elman(layer)
    }
}
