//! The minimal gated unit.

use super::{
    Cell, CellBackward, CellForward, CellKind, CellSizes, GateBounds, Operand, Product, StepBounds, UnitSizes, own_box,
    saved_gate::{self, sigmoid_from_saved, tanh_from_saved},
};
use crate::{
    activation::{AnyActivation, Sigmoid, Tanh},
    block::Gate,
    kernel::register_block::{by_blocks, load_block, store_block},
    linalg::Upper,
    scalar::Scalar,
};
use alloc::{vec, vec::Vec};

/// The minimal gated unit, with one gate f and the candidate n: `h_t = (1 − f) ⊙ h_{t−1} + f ⊙ n`.
///
/// `f = σ(W_f x + U_f h_{t−1} + b_f)`, `n = tanh(W_n x + U_n (f ⊙ h_{t−1}) + b_n)`. It is a GRU whose reset gate and
/// update gate are one gate, with two thirds of the parameters. The gates are stacked f, n. The paper calls f the
/// forget gate; its name here is `update`, since the state is kept where f is 0, unlike with the forget gate of an
/// LSTM.
///
/// Source: Zhou, Wu, Zhang & Zhou 2016, "Minimal gated unit for recurrent neural networks", eq. 6.
///
/// ```
/// use chainrule::{layer::Sequential, recurrent::Mgu};
/// let network = Sequential::<f32>::input(2).recurrent(8, Mgu::new()).last_step().linear(3).build()?;
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Mgu;

impl Mgu {
    /// Creates an MGU cell, which has no settings. The layer of the cell sets its widths and owns its weights.
    pub const fn new() -> Self {
        Mgu
    }
}

/// Returns the numbers of values per unit in the slices of `stage`: gate f and candidate n in `z`, and `f ⊙ h_{t−1}`,
/// the operand that stage 0 writes.
#[inline(always)]
const fn sizes(stage: usize) -> UnitSizes {
    UnitSizes { gates: 2, separate: 0, cell_state: 0, between_stages: 1, operand: stage == 0 }
}

/// Runs stage 0 (the first element-wise part of a time step): the gate `f = σ(z_f)`, and the operand `f ⊙ h_{t−1}`.
/// The number from which f is recovered overwrites z_f, even if no backward pass follows, since stage 1 reads it.
#[inline(always)]
fn forward_gate<T: Scalar>(unit: CellForward<'_, T>) {
    let hidden = unit.h_prev.len();
    let z_f = &mut unit.z[..hidden];
    by_blocks!(T, LANES, at in hidden, {
        let (mut z, h_prev) = (load_block::<T, LANES>(z_f, at), load_block::<T, LANES>(unit.h_prev, at));
        let mut operand = [T::zero(); LANES];
        for j in 0..LANES {
            let ([f, _], saved) = saved_gate::sigmoid(z[j]);
            (operand[j], z[j]) = (f * h_prev[j], saved);
        }
        store_block(z_f, at, z);
        store_block(unit.operand, at, operand);
    });
}

/// Runs stage 1 (the last element-wise part of a time step), with f the gate: the candidate `n = tanh(z_n)` and
/// `h_t = (1 − f) ⊙ h_{t−1} + f ⊙ n`. If `SAVES`, the number from which the backward pass recovers n overwrites z_n.
#[inline(always)]
fn forward_state<T: Scalar, const SAVES: bool>(unit: CellForward<'_, T>) {
    let hidden = unit.h_prev.len();
    let (z_f, z_n) = unit.z.split_at_mut(hidden);
    by_blocks!(T, LANES, at in hidden, {
        let (gate, mut z) = (load_block::<T, LANES>(z_f, at), load_block::<T, LANES>(z_n, at));
        let (h_prev, mut h) = (load_block::<T, LANES>(unit.h_prev, at), [T::zero(); LANES]);
        for j in 0..LANES {
            let [f, complement, _] = sigmoid_from_saved(gate[j]);
            let (n, saved) = saved_gate::tanh(z[j]);
            (h[j], z[j]) = (complement * h_prev[j] + f * n, saved);
        }
        if SAVES {
            store_block(z_n, at, z);
        }
        store_block(unit.h, at, h);
    });
}

/// Runs stage 1 (the last element-wise part of a time step) backward, with f the gate, n the candidate and dh the
/// gradient with respect to h_t. `∂n = dh ⊙ f ⊙ tanh′` overwrites the saved number of n, and
/// `dh_{t−1} += dh ⊙ (1 − f)`. The part of ∂f from h_t, `dh ⊙ (n − h_{t−1})`, is left in `between_stages` for stage
/// 0.
#[inline(always)]
fn backward_state<T: Scalar>(unit: CellBackward<'_, T>) {
    let hidden = unit.h_prev.len();
    let (z_f, z_n) = unit.z.split_at_mut(hidden);
    by_blocks!(T, LANES, at in hidden, {
        let (gate, mut z) = (load_block::<T, LANES>(z_f, at), load_block::<T, LANES>(z_n, at));
        let (h_prev, dh) = (load_block::<T, LANES>(unit.h_prev, at), load_block::<T, LANES>(unit.d_h, at));
        let (mut dh_prev, mut d_gate) = (load_block::<T, LANES>(unit.d_h_prev, at), [T::zero(); LANES]);
        for j in 0..LANES {
            let ([f, complement, _], [n, slope]) = (sigmoid_from_saved(gate[j]), tanh_from_saved(z[j]));
            d_gate[j] = dh[j] * (n - h_prev[j]);
            z[j] = dh[j] * f * slope;
            dh_prev[j] += dh[j] * complement;
        }
        store_block(z_n, at, z);
        store_block(unit.d_h_prev, at, dh_prev);
        store_block(unit.between_stages, at, d_gate);
    });
}

/// Runs stage 0 (the first element-wise part of a time step) backward, with f the gate and d the gradient with
/// respect to the operand `f ⊙ h_{t−1}`. `∂z_f = (e + d ⊙ h_{t−1}) ⊙ σ′` overwrites the saved number of f, with e the
/// part of ∂f that stage 1 left in `between_stages`. `dh_{t−1} += d ⊙ f`.
#[inline(always)]
fn backward_gate<T: Scalar>(unit: CellBackward<'_, T>) {
    let hidden = unit.h_prev.len();
    let z_f = &mut unit.z[..hidden];
    by_blocks!(T, LANES, at in hidden, {
        let (mut z, h_prev) = (load_block::<T, LANES>(z_f, at), load_block::<T, LANES>(unit.h_prev, at));
        let d = load_block::<T, LANES>(unit.d_operand, at);
        let (mut dh_prev, e) =
            (load_block::<T, LANES>(unit.d_h_prev, at), load_block::<T, LANES>(unit.between_stages, at));
        for j in 0..LANES {
            let [f, _, slope] = sigmoid_from_saved(z[j]);
            z[j] = (e[j] + d[j] * h_prev[j]) * slope;
            dh_prev[j] += d[j] * f;
        }
        store_block(z_f, at, z);
        store_block(unit.d_h_prev, at, dh_prev);
    });
}

impl Cell for Mgu {
    own_box!(Mgu);

    fn gates(&self) -> &'static [Gate] {
        const { &[Gate::new("update"), Gate::new("candidate")] }
    }

    fn products(&self) -> Vec<Product> {
        let gate = Product { gates: 0..1, stage: 0, operand: Operand::Hidden, keep_separate: false };
        vec![gate.clone(), Product { gates: 1..2, stage: 1, operand: Operand::StageOutput, ..gate }]
    }

    fn sizes(&self) -> CellSizes {
        CellSizes { cell_state: 0, between_stages: 1 }
    }

    fn activation(&self, gate: usize) -> Option<&dyn AnyActivation> {
        if gate == 0 { Some(&Sigmoid) } else { Some(&Tanh) }
    }

    /// Returns upper bounds on the 2-norms of two Jacobians: `√(1 + ‖M‖²) + ½‖U_f‖` for `∂h_t/∂h_{t−1}`, and
    /// `‖∂n/∂x‖ + ½‖W_f‖` for `∂h_t/∂x`, with `‖M‖ ≤ ‖U_n‖ (1 + ¼‖U_f‖)` and `‖∂n/∂x‖ ≤ ‖W_n‖ + ¼‖U_n‖‖W_f‖`. W_g and
    /// U_g are the input and the recurrent weights of g, the gate f or the candidate n. M is `∂n/∂h_{t−1}`, and h
    /// below is `h_{t−1}`.
    ///
    /// From a state of zero `|h| ≤ 1`, as `h_t` lies between n and h. So `|n − h| ≤ 2`, and `σ′ ≤ ¼`, `tanh′ ≤ 1`.
    ///
    /// `∂h_t/∂h = diag(1 − f) + diag(f) M + diag((n − h) σ′_f) U_f` with
    /// `M = diag(tanh′) U_n (diag(f) + diag(h σ′_f) U_f)`. Unit by unit `(1 − f) v + f (M v) ≤ √(v² + (M v)²)`, so
    /// that the first two terms have norm ≤ `√(1 + ‖M‖²)`, and the last `½‖U_f‖`.
    fn step_bounds(&self, gates: &[GateBounds], _step: usize) -> Option<StepBounds> {
        let [gate, candidate] = gates else { return None };
        let (half, upper) = (Upper::of(0.5), Upper::of);
        let through_gate = Upper::of(0.25) * upper(candidate.recurrent);
        let m = upper(candidate.recurrent) + through_gate * upper(gate.recurrent);
        let state = (Upper::ONE + m * m).sqrt() + half * upper(gate.recurrent);
        let input = upper(candidate.weight) + through_gate * upper(gate.weight) + half * upper(gate.weight);
        Some(StepBounds { state: [[state.get(), 0.0], [0.0, 0.0]], input: [input.get(), 0.0] })
    }

    #[inline(always)]
    fn forward<T: Scalar>(&self, stage: usize, unit: CellForward<'_, T>) {
        unit.check("Mgu", sizes(stage));
        match (stage, unit.saves) {
            (0, _) => forward_gate(unit),
            (_, true) => forward_state::<T, true>(unit),
            (_, false) => forward_state::<T, false>(unit),
        }
    }

    #[inline(always)]
    fn backward<T: Scalar>(&self, stage: usize, unit: CellBackward<'_, T>) {
        unit.check("Mgu", sizes(stage));
        if stage == 0 { backward_gate(unit) } else { backward_state(unit) }
    }

    fn kind(&self) -> CellKind {
        CellKind::Mgu(*self)
    }
}
