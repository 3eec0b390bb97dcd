//! The gated recurrent unit, in both reset conventions.

use super::{
    cell::{Cell, CellBackward, CellForward, CellSizes, GateBounds, Operand, Product, StepBounds, UnitSizes},
    saved_gate::{self, sigmoid_from_saved, tanh_from_saved},
};
use crate::{
    activation::{AnyActivation, Sigmoid, Tanh},
    block::Gate,
    kernel::register_block::{by_blocks, load_block, store_block},
    layer::{CellKind, GruVariant},
    linalg::Upper,
    scalar::Scalar,
};
use alloc::{vec, vec::Vec};

/// The gated recurrent unit: `h_t = (1 − z) ⊙ n + z ⊙ h_{t−1}`.
///
/// `r, z = σ(z_r), σ(z_z)`; n as [`GruVariant`] says. Gates are stacked r, z, n as in PyTorch; the biases of r and z
/// are the sums of its two, and b_u stands in block `recurrent_bias`.
///
/// Source: Cho et al. 2014, eq. 5–8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Gru {
    variant: GruVariant,
}

impl Gru {
    /// A GRU with [`GruVariant::ResetAfter`].
    pub const fn new() -> Self {
        Gru { variant: GruVariant::ResetAfter }
    }

    /// Sets where the reset gate acts.
    #[must_use]
    pub const fn variant(self, variant: GruVariant) -> Self {
        Gru { variant }
    }

    /// Values per unit at a stage.
    #[inline(always)]
    fn unit_sizes(&self, stage: usize) -> UnitSizes {
        let before = self.variant == GruVariant::ResetBefore;
        let (separate, between_stages) = (usize::from(!before), usize::from(before));
        UnitSizes { gates: 3, separate, cell_state: 0, between_stages, operand: before && stage == 0 }
    }

    #[inline(always)]
    fn step<T: Scalar, const SAVES: bool>(&self, stage: usize, unit: CellForward<'_, T>) {
        let n = unit.h_prev.len();
        let (zr, zz, zn) = thirds(unit.z, n);
        by_blocks!(T, LANES, at in n, {
            let (mut r, mut z) = (load_block::<T, LANES>(zr, at), load_block::<T, LANES>(zz, at));
            let (h, mut out) = (load_block::<T, LANES>(unit.h_prev, at), [T::zero(); LANES]);
            if self.variant == GruVariant::ResetBefore && stage == 0 {
                for j in 0..LANES {
                    let ([reset, _], kept) = saved_gate::sigmoid(r[j]);
                    (out[j], r[j]) = (reset * h[j], kept);
                }
                if SAVES {
                    store_block(zr, at, r);
                }
                store_block(unit.operand, at, out);
                continue;
            }
            let mut candidate = load_block::<T, LANES>(zn, at);
            if self.variant == GruVariant::ResetAfter {
                let u = load_block::<T, LANES>(unit.u, at);
                for j in 0..LANES {
                    let ([reset, _], kept) = saved_gate::sigmoid(r[j]);
                    candidate[j] += reset * u[j];
                    r[j] = kept;
                }
                if SAVES {
                    store_block(zr, at, r);
                }
                if !unit.monitored_z.is_empty() {
                    store_block(&mut unit.monitored_z[2 * n..], at, candidate);
                }
            }
            for j in 0..LANES {
                // 1 − σ(z) is σ(−z), without cancellation.
                let (([update, rest], kept), (n, n_kept)) = (saved_gate::sigmoid(z[j]), saved_gate::tanh(candidate[j]));
                out[j] = rest * n + update * h[j];
                (z[j], candidate[j]) = (kept, n_kept);
            }
            if SAVES {
                store_block(zz, at, z);
                store_block(zn, at, candidate);
            }
            store_block(unit.h, at, out);
        });
    }
}

impl Cell for Gru {
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
        // dL/dz of the update gate's value, between the two stages.
        CellSizes { cell_state: 0, between_stages: (self.variant == GruVariant::ResetBefore) as usize }
    }

    fn activation(&self, gate: usize) -> Option<&dyn AnyActivation> {
        if gate == 2 { Some(&Tanh) } else { Some(&Sigmoid) }
    }

    /// From zero `|h| ≤ 1`, as `h_t` lies between n and `h_{t−1}`. So `|h − n| ≤ 2`, and with `σ′ ≤ ¼`, `tanh′ ≤ 1`:
    ///
    /// `∂h_t/∂h_{t−1} = diag(z) + diag(1 − z) M + diag((h − n) σ′_z) U_z` with `M = ∂n/∂h`. Unit by unit
    /// `z v + (1 − z) (M v) ≤ √(v² + (M v)²)`, so that the first two have norm ≤ `√(1 + ‖M‖²)`, and the last `½‖U_z‖`.
    /// For x: `‖∂n/∂x‖ + ½‖W_z‖`.
    ///
    /// Reset after the product: `∂n = diag(tanh′) (∂(W_n x) + diag(r) ∂(U_n h) + diag((U_n h + b_u) σ′_r) ∂z_r)`, and
    /// with p the bound on `U_n h + b_u`, `‖M‖ ≤ ‖U_n‖ + ¼p‖U_r‖` and `‖∂n/∂x‖ ≤ ‖W_n‖ + ¼p‖W_r‖`.
    /// Reset before it: `∂n = diag(tanh′) (∂(W_n x) + U_n (diag(r) ∂h + diag(h σ′_r) ∂z_r))`, so that
    /// `‖M‖ ≤ ‖U_n‖ (1 + ¼‖U_r‖)` and `‖∂n/∂x‖ ≤ ‖W_n‖ + ¼‖U_n‖‖W_r‖`.
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
        if unit.saves { self.step::<T, true>(stage, unit) } else { self.step::<T, false>(stage, unit) }
    }

    #[inline(always)]
    fn backward<T: Scalar>(&self, stage: usize, unit: CellBackward<'_, T>) {
        unit.check("Gru", self.unit_sizes(stage));
        let n = unit.h_prev.len();
        let (zr, zz, zn) = thirds(unit.z, n);
        by_blocks!(T, LANES, at in n, {
            let (mut r, mut z) = (load_block::<T, LANES>(zr, at), load_block::<T, LANES>(zz, at));
            let (mut d_h, h) = (load_block::<T, LANES>(unit.d_h_prev, at), load_block::<T, LANES>(unit.h_prev, at));
            if self.variant == GruVariant::ResetBefore && stage == 0 {
                let d_operand = load_block::<T, LANES>(unit.d_operand, at);
                let held = load_block::<T, LANES>(unit.between_stages, at);
                for j in 0..LANES {
                    let ([reset, _, d_reset], [.., d_update]) = (sigmoid_from_saved(r[j]), sigmoid_from_saved(z[j]));
                    d_h[j] += d_operand[j] * reset;
                    r[j] = d_operand[j] * h[j] * d_reset;
                    z[j] = held[j] * d_update;
                }
                store_block(zr, at, r);
                store_block(zz, at, z);
                store_block(unit.d_h_prev, at, d_h);
                continue;
            }
            let (mut candidate, dh) = (load_block::<T, LANES>(zn, at), load_block::<T, LANES>(unit.d_h, at));
            let mut d_update = [T::zero(); LANES];
            for j in 0..LANES {
                let ([update, rest, _], [n, slope]) = (sigmoid_from_saved(z[j]), tanh_from_saved(candidate[j]));
                d_update[j] = dh[j] * (h[j] - n);
                candidate[j] = dh[j] * rest * slope;
                d_h[j] += dh[j] * update;
            }
            store_block(zn, at, candidate);
            store_block(unit.d_h_prev, at, d_h);
            if self.variant == GruVariant::ResetBefore {
                store_block(unit.between_stages, at, d_update);
                continue;
            }
            let mut u = load_block::<T, LANES>(unit.u, at);
            for j in 0..LANES {
                let ([reset, _, d_reset], [.., slope]) = (sigmoid_from_saved(r[j]), sigmoid_from_saved(z[j]));
                r[j] = candidate[j] * u[j] * d_reset;
                z[j] = d_update[j] * slope;
                u[j] = candidate[j] * reset;
            }
            store_block(zr, at, r);
            store_block(zz, at, z);
            store_block(unit.u, at, u);
        });
    }

    fn kind(&self) -> CellKind {
        CellKind::Gru(*self)
    }
}

#[inline(always)]
fn thirds<T>(z: &mut [T], n: usize) -> (&mut [T], &mut [T], &mut [T]) {
    let (r, rest) = z.split_at_mut(n);
    let (z, candidate) = rest.split_at_mut(n);
    (r, z, &mut candidate[..n])
}
