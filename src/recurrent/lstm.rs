//! Long short-term memory.

use super::{
    cell::{Cell, CellBackward, CellForward, CellSizes, GateBounds, StepBounds, UnitSizes},
    saved_gate::{self, sigmoid_from_saved, tanh_from_saved},
};
use crate::{
    activation::{Activation, AnyActivation, Sigmoid, Tanh},
    block::Gate,
    kernel::register_block::{by_blocks, load_block, store_block},
    layer::CellKind,
    linalg::Upper,
    math::mul_add,
    scalar::Scalar,
};

/// Long short-term memory, with a path for the gradient that no weight touches: `∂c_t/∂c_{t−1} ∋ f_t`.
///
/// `i, f, o = σ(z_i), σ(z_f), σ(z_o)`, `g = tanh(z_g)`, `c_t = f ⊙ c_{t−1} + i ⊙ g`, `h_t = o ⊙ tanh(c_t)`, with
/// `z = W x_t + U h_{t−1} + b`. Gates are stacked i, f, g, o as in PyTorch; the one bias is the sum of its two.
/// A saturated gate's derivative is 2e-22 where it is, not 0: of a gate σ(−|z|) is kept for the way back, not σ(z).
///
/// Source: Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Lstm;

impl Lstm {
    /// An LSTM.
    pub const fn new() -> Self {
        Lstm
    }
}

/// z of four gates, and c.
const SIZES: UnitSizes = UnitSizes { gates: 4, separate: 0, cell_state: 1, between_stages: 0, operand: false };

impl Cell for Lstm {
    fn gates(&self) -> &'static [Gate] {
        const { &[Gate::new("input"), Gate::carrying_state("forget"), Gate::new("candidate"), Gate::new("output")] }
    }

    fn sizes(&self) -> CellSizes {
        CellSizes { cell_state: 1, between_stages: 0 }
    }

    fn activation(&self, gate: usize) -> Option<&dyn AnyActivation> {
        if gate == 2 { Some(&Tanh) } else { Some(&Sigmoid) }
    }

    /// From zero `|c_t| ≤ t`, as `|c_t| ≤ |c_{t−1}| + 1`. With `σ′ ≤ ¼`, `tanh′ ≤ 1` and gates and tanh within ±1,
    ///
    /// `∂c_t/∂c_{t−1} = diag(f)`, norm ≤ 1;
    /// `∂c_t/∂h_{t−1} = diag(c_{t−1} σ′_f) U_f + diag(g σ′_i) U_i + diag(i tanh′_g) U_g`, norm ≤
    /// `a = (t − 1)/4 ‖U_f‖ + ¼‖U_i‖ + ‖U_g‖`, and the same with W for x;
    /// `∂h_t = diag(o tanh′) ∂c_t + diag(tanh(c_t) σ′_o) ∂z_o`, so that `∂h_t/∂c_{t−1}` has norm ≤ 1 and
    /// `∂h_t/∂h_{t−1}` norm ≤ `a + ¼‖U_o‖`.
    fn step_bounds(&self, gates: &[GateBounds], step: usize) -> Option<StepBounds> {
        let [input, forget, candidate, output] = gates else { return None };
        let through = |weights: fn(&GateBounds) -> f64| {
            let [input, forget, candidate, output] =
                [input, forget, candidate, output].map(|gate| Upper::of(weights(gate)));
            let (quarter, memory) = (Upper::of(0.25), Upper::of(step as f64 * 0.25));
            let c = memory * forget + quarter * input + candidate;
            [(c + quarter * output).get(), c.get()]
        };
        let ([h, c], input) = (through(|gate| gate.recurrent), through(|gate| gate.weight));
        Some(StepBounds { state: [[h, 1.0], [c, 1.0]], input })
    }

    #[inline(always)]
    fn forward<T: Scalar>(&self, _stage: usize, unit: CellForward<'_, T>) {
        unit.check("Lstm", SIZES);
        if unit.saves { forward::<T, true>(unit) } else { forward::<T, false>(unit) }
    }

    #[inline(always)]
    fn backward<T: Scalar>(&self, _stage: usize, unit: CellBackward<'_, T>) {
        unit.check("Lstm", SIZES);
        let n = unit.h.len();
        let (zi, zf, zg, zo) = quarters(unit.z, n);
        let (c, c_next) = (&unit.cell_state_prev[..n], &unit.cell_state[..n]);
        let (dh, dc) = (&unit.d_h[..n], &mut unit.d_cell_state[..n]);
        by_blocks!(T, 2, LANES, at in n, {
            // Not by `map`: the arrays would then live in memory, and all of W4 take a tenth longer.
            let mut z: [[T; LANES]; 4] =
                [load_block(zi, at), load_block(zf, at), load_block(zg, at), load_block(zo, at)];
            let (c, mut t) = (load_block::<T, LANES>(c, at), load_block::<T, LANES>(c_next, at));
            let mut slope = [T::zero(); LANES];
            let (dh, mut d) = (load_block::<T, LANES>(dh, at), load_block::<T, LANES>(dc, at));
            for j in 0..LANES {
                let c_next = t[j];
                t[j] = Tanh.value(c_next);
                slope[j] = Tanh.derivative(c_next, t[j]);
            }
            for j in 0..LANES {
                let [[i, _, di], [f, _, df]] = [sigmoid_from_saved(z[0][j]), sigmoid_from_saved(z[1][j])];
                let ([g, dg], [o, _, d_o]) = (tanh_from_saved(z[2][j]), sigmoid_from_saved(z[3][j]));
                let total = mul_add(dh[j] * o, slope[j], d[j]);
                z[0][j] = total * g * di;
                z[1][j] = total * c[j] * df;
                z[2][j] = total * i * dg;
                z[3][j] = dh[j] * t[j] * d_o;
                d[j] = total * f;
            }
            for (to, z) in [&mut *zi, &mut *zf, &mut *zg, &mut *zo].into_iter().zip(z) {
                store_block(to, at, z);
            }
            store_block(dc, at, d);
        });
    }

    fn kind(&self) -> CellKind {
        CellKind::Lstm(*self)
    }
}

#[inline(always)]
fn forward<T: Scalar, const SAVES: bool>(unit: CellForward<'_, T>) {
    let n = unit.h.len();
    let (zi, zf, zg, zo) = quarters(unit.z, n);
    let (c, c_next, h_next) = (&unit.cell_state_prev[..n], &mut unit.cell_state[..n], &mut unit.h[..n]);
    by_blocks!(T, 2, LANES, at in n, {
        let (i, f) = (load_block::<T, LANES>(zi, at), load_block::<T, LANES>(zf, at));
        let (g, o) = (load_block::<T, LANES>(zg, at), load_block::<T, LANES>(zo, at));
        let mut c = load_block::<T, LANES>(c, at);
        // A loop for each gate: one for all would fill the CPU's window, and wait for the length of its chain.
        let (i, f) = (open::<T, LANES, SAVES>(i, sigmoid, zi, at), open::<T, LANES, SAVES>(f, sigmoid, zf, at));
        let g = open::<T, LANES, SAVES>(g, saved_gate::tanh, zg, at);
        for j in 0..LANES {
            c[j] = mul_add(f[j], c[j], i[j] * g[j]);
        }
        store_block(c_next, at, c);
        let mut h = open::<T, LANES, SAVES>(o, sigmoid, zo, at);
        for j in 0..LANES {
            h[j] *= Tanh.value(c[j]);
        }
        store_block(h_next, at, h);
    });
}

/// Computes a block of gate values; writes the values saved for the backward pass over the pre-activations.
#[inline(always)]
fn open<T: Scalar, const N: usize, const SAVES: bool>(
    mut block: [T; N],
    gate: impl Fn(T) -> (T, T),
    place: &mut [T],
    at: usize,
) -> [T; N] {
    let mut kept = [T::zero(); N];
    for j in 0..N {
        (block[j], kept[j]) = gate(block[j]);
    }
    if SAVES {
        store_block(place, at, kept);
    }
    block
}

#[inline(always)]
fn sigmoid<T: Scalar>(z: T) -> (T, T) {
    let ([value, _], kept) = saved_gate::sigmoid(z);
    (value, kept)
}

#[inline(always)]
fn quarters<T>(z: &mut [T], n: usize) -> (&mut [T], &mut [T], &mut [T], &mut [T]) {
    let (i, rest) = z.split_at_mut(n);
    let (f, rest) = rest.split_at_mut(n);
    let (g, o) = rest.split_at_mut(n);
    (i, f, g, &mut o[..n])
}
