//! Long short-term memory.

use super::cell::{Cell, CellBackward, CellForward, GateBounds, Operand, Product, StepBounds};
use crate::{
    activation::{Activation, AnyActivation, Sigmoid, Tanh},
    kernel::lane::{by_blocks, put, take},
    layer::CellKind,
    math::mul_add,
    scalar::Scalar,
    theory::Upper,
};

/// Long short-term memory, with a path for the gradient that no weight touches: `∂c_t/∂c_{t−1} ∋ f_t`.
///
/// `i, f, o = σ(z_i), σ(z_f), σ(z_o)`, `g = tanh(z_g)`, `c_t = f ⊙ c_{t−1} + i ⊙ g`, `h_t = o ⊙ tanh(c_t)`, with
/// `z = W x_t + U h_{t−1} + b`. Gates are stacked i, f, g, o as in PyTorch; the one bias is the sum of its two.
/// Pre-activations are kept, not gate values: a saturated gate's derivative is 2e-22 where it is, not 0.
///
/// Source: Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Lstm;

impl Cell for Lstm {
    fn gates(&self) -> &'static [&'static str] {
        &["input", "forget", "candidate", "output"]
    }

    fn products(&self) -> &'static [Product] {
        &[Product { gates: 0..4, stage: 0, operand: Operand::Hidden, separate: false }]
    }

    fn memory(&self) -> usize {
        1
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
        let n = unit.h_next.len();
        let (zi, zf, zg, zo) = quarters(unit.z, n);
        let (c, c_next, h_next) = (&unit.memory[..n], &mut unit.memory_next[..n], &mut unit.h_next[..n]);
        by_blocks!(T, LANES, at in n, {
            let (zi, zf) = (take::<T, LANES>(zi, at), take::<T, LANES>(zf, at));
            let (zg, zo) = (take::<T, LANES>(zg, at), take::<T, LANES>(zo, at));
            let (mut c, mut h) = (take::<T, LANES>(c, at), [T::zero(); LANES]);
            for j in 0..LANES {
                let (i, f, o) = (Sigmoid.value(zi[j]), Sigmoid.value(zf[j]), Sigmoid.value(zo[j]));
                c[j] = mul_add(f, c[j], i * Tanh.value(zg[j]));
                h[j] = o * Tanh.value(c[j]);
            }
            put(c_next, at, c);
            put(h_next, at, h);
        });
    }

    #[inline(always)]
    fn backward<T: Scalar>(&self, _stage: usize, unit: CellBackward<'_, T>) {
        let n = unit.h_next.len();
        let (zi, zf, zg, zo) = quarters(unit.z, n);
        let (c, c_next) = (&unit.memory[..n], &unit.memory_next[..n]);
        let (dh, dc) = (&unit.d_h_next[..n], &mut unit.d_memory[..n]);
        by_blocks!(T, LANES, at in n, {
            // Not by `map`: the arrays would then live in memory, and all of W4 take a tenth longer.
            let mut z: [[T; LANES]; 4] = [take(zi, at), take(zf, at), take(zg, at), take(zo, at)];
            let (c, c_next) = (take::<T, LANES>(c, at), take::<T, LANES>(c_next, at));
            let (dh, mut d) = (take::<T, LANES>(dh, at), take::<T, LANES>(dc, at));
            for j in 0..LANES {
                let (i, f, o) = (Sigmoid.value(z[0][j]), Sigmoid.value(z[1][j]), Sigmoid.value(z[3][j]));
                let (g, t) = (Tanh.value(z[2][j]), Tanh.value(c_next[j]));
                let total = mul_add(dh[j] * o, Tanh.derivative(c_next[j], t), d[j]);
                z[0][j] = total * g * Sigmoid.derivative(z[0][j], i);
                z[1][j] = total * c[j] * Sigmoid.derivative(z[1][j], f);
                z[2][j] = total * i * Tanh.derivative(z[2][j], g);
                z[3][j] = dh[j] * t * Sigmoid.derivative(z[3][j], o);
                d[j] = total * f;
            }
            for (to, z) in [&mut *zi, &mut *zf, &mut *zg, &mut *zo].into_iter().zip(z) {
                put(to, at, z);
            }
            put(dc, at, d);
        });
    }

    fn kind(&self) -> CellKind {
        CellKind::Lstm
    }
}

#[inline(always)]
fn quarters<T>(z: &mut [T], n: usize) -> (&mut [T], &mut [T], &mut [T], &mut [T]) {
    let (i, rest) = z.split_at_mut(n);
    let (f, rest) = rest.split_at_mut(n);
    let (g, o) = rest.split_at_mut(n);
    (i, f, g, &mut o[..n])
}
