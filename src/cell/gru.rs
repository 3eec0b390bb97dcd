//! The gated recurrent unit, in both reset conventions.

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

/// Where the reset gate of a GRU acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum GruVariant {
    /// In the candidate n, the reset gate r multiplies the product of U_n and the state, with its bias:
    /// `n = tanh(W_n x + b_n + r ⊙ (U_n h + b_u))`. This is the variant of PyTorch and cuDNN.
    #[default]
    ResetAfter,
    /// In the candidate n, the reset gate r multiplies the state before the product with U_n:
    /// `n = tanh(W_n x + b_n + U_n (r ⊙ h))`. This is the variant of Cho et al. 2014.
    ResetBefore,
}

/// The gated recurrent unit: `h_t = (1 − z) ⊙ n + z ⊙ h_{t−1}`, with the candidate n and the update gate z.
///
/// `r, z = σ(z_r), σ(z_z)`; [`GruVariant`] defines n. Gates are stacked r, z, n as in PyTorch. The two biases that
/// PyTorch adds for r, and for z, are one bias here, their sum; b_u is the block `recurrent_bias`.
///
/// Source: Cho et al. 2014, eq. 5–8.
///
/// ```
/// use chainrule::{layer::Sequential, recurrent::{Gru, GruVariant}};
/// let cell = Gru::new().variant(GruVariant::ResetBefore); // that of the paper; `.gru(8)` is PyTorch's
/// let network = Sequential::<f32>::input(2).recurrent(8, cell).last_step().linear(3).build()?;
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Gru {
    variant: GruVariant,
}

impl Gru {
    /// Creates a GRU cell with [`GruVariant::ResetAfter`], as in PyTorch. The layer of the cell sets its widths and
    /// owns its weights.
    pub const fn new() -> Self {
        Gru { variant: GruVariant::ResetAfter }
    }

    /// Sets where the reset gate acts: on the product of U_n with the state, or on the state before this product.
    #[must_use]
    pub const fn variant(self, variant: GruVariant) -> Self {
        Gru { variant }
    }

    /// Returns the numbers of values per unit that the slices of a forward or backward pass through `stage` must
    /// have.
    #[inline(always)]
    fn unit_sizes(&self, stage: usize) -> UnitSizes {
        let before = self.variant == GruVariant::ResetBefore;
        let (separate, between_stages) = (usize::from(!before), usize::from(before));
        UnitSizes { gates: 3, separate, cell_state: 0, between_stages, operand: before && stage == 0 }
    }

    /// Runs stage 0 (the first element-wise part) of [`GruVariant::ResetBefore`]: the reset gate is `r = σ(z_r)`, and
    /// the operand of `U_n` is `r ⊙ h_{t−1}`. If `SAVES`, z_r is overwritten by the number from which the backward
    /// pass recovers r.
    #[inline(always)]
    fn forward_reset<T: Scalar, const SAVES: bool>(unit: CellForward<'_, T>) {
        let hidden = unit.h_prev.len();
        let [z_r, ..] = thirds(unit.z, hidden);
        by_blocks!(T, LANES, at in hidden, {
            let (mut r, h_prev) = (load_block::<T, LANES>(z_r, at), load_block::<T, LANES>(unit.h_prev, at));
            let mut operand = [T::zero(); LANES];
            for j in 0..LANES {
                let ([reset, _], saved) = saved_gate::sigmoid(r[j]);
                (operand[j], r[j]) = (reset * h_prev[j], saved);
            }
            if SAVES {
                store_block(z_r, at, r);
            }
            store_block(unit.operand, at, operand);
        });
    }

    /// Runs the last stage (element-wise part of the time step): `n = tanh(z_n)` and
    /// `h_t = (1 − z) ⊙ n + z ⊙ h_{t−1}`, with n the candidate and z the update gate. With
    /// [`GruVariant::ResetAfter`], `r ⊙ u` is first added to z_n, with `u = U_n h_{t−1} + b_u`. If `SAVES`,
    /// pre-activations are overwritten by the numbers from which the backward pass recovers the gates.
    #[inline(always)]
    fn forward_update<T: Scalar, const SAVES: bool>(&self, unit: CellForward<'_, T>) {
        let hidden = unit.h_prev.len();
        let [z_r, z_z, z_n] = thirds(unit.z, hidden);
        by_blocks!(T, LANES, at in hidden, {
            let (mut z, mut n) = (load_block::<T, LANES>(z_z, at), load_block::<T, LANES>(z_n, at));
            let (h_prev, mut h) = (load_block::<T, LANES>(unit.h_prev, at), [T::zero(); LANES]);
            if self.variant == GruVariant::ResetAfter {
                let (mut r, u) = (load_block::<T, LANES>(z_r, at), load_block::<T, LANES>(unit.u, at));
                for j in 0..LANES {
                    let ([reset, _], saved) = saved_gate::sigmoid(r[j]);
                    n[j] += reset * u[j];
                    r[j] = saved;
                }
                if SAVES {
                    store_block(z_r, at, r);
                }
                if !unit.monitored_z.is_empty() {
                    store_block(&mut unit.monitored_z[2 * hidden..], at, n);
                }
            }
            for j in 0..LANES {
                // 1 − σ(z) is σ(−z), without cancellation.
                let ([update, complement], saved_z) = saved_gate::sigmoid(z[j]);
                let (candidate, saved_n) = saved_gate::tanh(n[j]);
                h[j] = complement * candidate + update * h_prev[j];
                (z[j], n[j]) = (saved_z, saved_n);
            }
            if SAVES {
                store_block(z_z, at, z);
                store_block(z_n, at, n);
            }
            store_block(unit.h, at, h);
        });
    }

    /// Runs the last stage (element-wise part of the time step) backward, given dh, the gradient with respect to
    /// h_t. ∂n, ∂z and ∂r are gradients with respect to the sums that go into tanh and σ:
    /// `∂n = dh ⊙ (1 − z) ⊙ tanh′`, `∂z = dh ⊙ (h_{t−1} − n) ⊙ σ′`, `dh_{t−1} += dh ⊙ z`.
    /// With the reset after the product `u = U_n h_{t−1} + b_u`, also `∂r = ∂n ⊙ u ⊙ σ′` and
    /// `∂u = ∂n ⊙ r`. With the reset before it, `dh ⊙ (h_{t−1} − n)`, which is `∂z` without the factor
    /// σ′, is left in `between_stages` for stage 0.
    #[inline(always)]
    fn backward_update<T: Scalar>(&self, unit: CellBackward<'_, T>) {
        let hidden = unit.h_prev.len();
        let [z_r, z_z, z_n] = thirds(unit.z, hidden);
        by_blocks!(T, LANES, at in hidden, {
            let (mut z, mut n) = (load_block::<T, LANES>(z_z, at), load_block::<T, LANES>(z_n, at));
            let (h_prev, dh) = (load_block::<T, LANES>(unit.h_prev, at), load_block::<T, LANES>(unit.d_h, at));
            let (mut dh_prev, mut d_update) = (load_block::<T, LANES>(unit.d_h_prev, at), [T::zero(); LANES]);
            for j in 0..LANES {
                let ([update, complement, _], [candidate, slope]) = (sigmoid_from_saved(z[j]), tanh_from_saved(n[j]));
                d_update[j] = dh[j] * (h_prev[j] - candidate);
                n[j] = dh[j] * complement * slope;
                dh_prev[j] += dh[j] * update;
            }
            store_block(z_n, at, n);
            store_block(unit.d_h_prev, at, dh_prev);
            if self.variant == GruVariant::ResetBefore {
                store_block(unit.between_stages, at, d_update);
                continue;
            }
            let (mut r, mut u) = (load_block::<T, LANES>(z_r, at), load_block::<T, LANES>(unit.u, at));
            for j in 0..LANES {
                let ([reset, _, d_reset], [.., slope]) = (sigmoid_from_saved(r[j]), sigmoid_from_saved(z[j]));
                r[j] = n[j] * u[j] * d_reset;
                z[j] = d_update[j] * slope;
                u[j] = n[j] * reset;
            }
            store_block(z_r, at, r);
            store_block(z_z, at, z);
            store_block(unit.u, at, u);
        });
    }

    /// Runs stage 0 (the first element-wise part) of [`GruVariant::ResetBefore`] backward: with d the gradient with
    /// respect to the operand `r ⊙ h_{t−1}`, `∂r = d ⊙ h_{t−1} ⊙ σ′` and `dh_{t−1} += d ⊙ r`. The
    /// update gate's gradient, which the last stage left in `between_stages`, is multiplied by its σ′ here.
    #[inline(always)]
    fn backward_reset<T: Scalar>(unit: CellBackward<'_, T>) {
        let hidden = unit.h_prev.len();
        let [z_r, z_z, _] = thirds(unit.z, hidden);
        by_blocks!(T, LANES, at in hidden, {
            let (mut r, mut z) = (load_block::<T, LANES>(z_r, at), load_block::<T, LANES>(z_z, at));
            let (h_prev, d) = (load_block::<T, LANES>(unit.h_prev, at), load_block::<T, LANES>(unit.d_operand, at));
            let mut dh_prev = load_block::<T, LANES>(unit.d_h_prev, at);
            let d_update = load_block::<T, LANES>(unit.between_stages, at);
            for j in 0..LANES {
                let ([reset, _, d_reset], [.., slope]) = (sigmoid_from_saved(r[j]), sigmoid_from_saved(z[j]));
                dh_prev[j] += d[j] * reset;
                r[j] = d[j] * h_prev[j] * d_reset;
                z[j] = d_update[j] * slope;
            }
            store_block(z_r, at, r);
            store_block(z_z, at, z);
            store_block(unit.d_h_prev, at, dh_prev);
        });
    }

    /// Whether `stage` computes `r ⊙ h_{t−1}`, with r the reset gate: the operand that the candidate's recurrent
    /// weights multiply.
    const fn resets(&self, stage: usize) -> bool {
        matches!(self.variant, GruVariant::ResetBefore) && stage == 0
    }
}

impl Cell for Gru {
    own_box!(Gru);

    fn gates(&self) -> &'static [Gate] {
        const { &[Gate::new("reset"), Gate::carrying_state("update"), Gate::new("candidate")] }
    }

    fn products(&self) -> Vec<Product> {
        let gates = Product { gates: 0..2, stage: 0, operand: Operand::Hidden, keep_separate: false };
        let candidate = match self.variant {
            GruVariant::ResetAfter => Product { gates: 2..3, keep_separate: true, ..gates.clone() },
            GruVariant::ResetBefore => {
                Product { gates: 2..3, stage: 1, operand: Operand::StageOutput, ..gates.clone() }
            }
        };
        vec![gates, candidate]
    }

    fn sizes(&self) -> CellSizes {
        // The gradient of the update gate, which the backward pass of the last stage leaves for stage 0.
        CellSizes { cell_state: 0, between_stages: (self.variant == GruVariant::ResetBefore) as usize }
    }

    fn activation(&self, gate: usize) -> Option<&dyn AnyActivation> {
        if gate == 2 { Some(&Tanh) } else { Some(&Sigmoid) }
    }

    /// Returns upper bounds on the 2-norms of two Jacobians: `√(1 + ‖M‖²) + ½‖U_z‖` for `∂h_t/∂h_{t−1}`, and
    /// `‖∂n/∂x‖ + ½‖W_z‖` for `∂h_t/∂x`. W_g and U_g are the input and the recurrent weights of the gate g: reset
    /// gate r, update gate z or candidate n. M is `∂n/∂h_{t−1}`, and h below is `h_{t−1}`.
    ///
    /// From a state of zero `|h| ≤ 1`, as `h_t` lies between n and h. So `|h − n| ≤ 2`, and with `σ′ ≤ ¼`,
    /// `tanh′ ≤ 1`:
    ///
    /// `∂h_t/∂h = diag(z) + diag(1 − z) M + diag((h − n) σ′_z) U_z`. Unit by unit
    /// `z v + (1 − z) (M v) ≤ √(v² + (M v)²)`, so that the first two terms have norm ≤ `√(1 + ‖M‖²)`, and the last
    /// `½‖U_z‖`. For x: `‖∂n/∂x‖ + ½‖W_z‖`.
    ///
    /// With [`GruVariant::ResetAfter`],
    /// `∂n = diag(tanh′) (∂(W_n x) + diag(r) ∂(U_n h) + diag((U_n h + b_u) σ′_r) ∂z_r)`. With p the bound on
    /// `U_n h + b_u`, `‖M‖ ≤ ‖U_n‖ + ¼p‖U_r‖` and `‖∂n/∂x‖ ≤ ‖W_n‖ + ¼p‖W_r‖`. With [`GruVariant::ResetBefore`],
    /// `∂n = diag(tanh′) (∂(W_n x) + U_n (diag(r) ∂h + diag(h σ′_r) ∂z_r))`, so that `‖M‖ ≤ ‖U_n‖ (1 + ¼‖U_r‖)` and
    /// `‖∂n/∂x‖ ≤ ‖W_n‖ + ¼‖U_n‖‖W_r‖`.
    fn step_bounds(&self, gates: &[GateBounds], _step: usize) -> Option<StepBounds> {
        let [reset, update, candidate] = gates else { return None };
        let (quarter, half, upper) = (Upper::of(0.25), Upper::of(0.5), Upper::of);
        let through_reset = match self.variant {
            GruVariant::ResetAfter => quarter * upper(candidate.product),
            GruVariant::ResetBefore => quarter * upper(candidate.recurrent),
        };
        let m = upper(candidate.recurrent) + through_reset * upper(reset.recurrent);
        let state = (Upper::ONE + m * m).sqrt() + half * upper(update.recurrent);
        let n = upper(candidate.weight) + through_reset * upper(reset.weight);
        let input = n + half * upper(update.weight);
        Some(StepBounds { state: [[state.get(), 0.0], [0.0, 0.0]], input: [input.get(), 0.0] })
    }

    #[inline(always)]
    fn forward<T: Scalar>(&self, stage: usize, unit: CellForward<'_, T>) {
        unit.check("Gru", self.unit_sizes(stage));
        match (self.resets(stage), unit.saves) {
            (true, true) => Self::forward_reset::<T, true>(unit),
            (true, false) => Self::forward_reset::<T, false>(unit),
            (false, true) => self.forward_update::<T, true>(unit),
            (false, false) => self.forward_update::<T, false>(unit),
        }
    }

    #[inline(always)]
    fn backward<T: Scalar>(&self, stage: usize, unit: CellBackward<'_, T>) {
        unit.check("Gru", self.unit_sizes(stage));
        if self.resets(stage) { Self::backward_reset(unit) } else { self.backward_update(unit) }
    }

    fn kind(&self) -> CellKind {
        CellKind::Gru(*self)
    }
}

/// Splits the values `z` of all gates of a sample into `hidden` values for each gate: reset gate, update gate and
/// candidate.
#[inline(always)]
fn thirds<T>(z: &mut [T], hidden: usize) -> [&mut [T]; 3] {
    let (r, rest) = z.split_at_mut(hidden);
    let (z, n) = rest.split_at_mut(hidden);
    [r, z, &mut n[..hidden]]
}
