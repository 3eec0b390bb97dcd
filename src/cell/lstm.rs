//! Long short-term memory.

use super::{
    Cell, CellBackward, CellForward, CellKind, CellSizes, GateBounds, StepBounds, UnitSizes, own_box,
    saved_gate::{self, sigmoid_from_saved, tanh_from_saved},
};
use crate::{
    activation::{Activation, AnyActivation, Sigmoid, Tanh},
    block::Gate,
    kernel::register_block::{by_blocks, load_block, store_block},
    linalg::Upper,
    math::mul_add,
    scalar::Scalar,
};

/// Long short-term memory. Along c, the gradient has a path without weights: the term `diag(f_t)` of
/// `∂c_t/∂c_{t−1}`.
///
/// `i, f, o = σ(z_i), σ(z_f), σ(z_o)`, `g = tanh(z_g)`, `c_t = f ⊙ c_{t−1} + i ⊙ g`, `h_t = o ⊙ tanh(c_t)`,
/// with `z = W x_t + U h_{t−1} + b`. Gates are stacked i, f, g, o as in PyTorch; the one bias b is the sum of the
/// two that PyTorch adds. The backward pass receives σ(−|z|) of a gate, not σ(z), so that the derivative of a
/// saturated gate is tiny, not 0.
///
/// Source: Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000.
///
/// ```
/// use chainrule::{dataset::Dataset, layer::{Sequential, initialize}, model::Model, recurrent::Lstm};
/// let network = Sequential::<f64>::input(1).recurrent(4, Lstm::new()).linear(1).build()?; // or `.lstm(4)`
/// let parameters = initialize(&network, 1)?;
/// let model = Model::new(network, parameters)?;
/// let two = Dataset::sequences(1, 3, &[0.1, 0.2, 0.3, 1.0, 2.0, 3.0], None)?; // 2 sequences of 3 steps
/// assert_eq!(model.predict(&two)?.len(), 2 * 3); // an output for each step
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Lstm;

impl Lstm {
    /// Creates an LSTM cell, which has no settings. The layer of the cell sets its widths and owns its weights.
    pub const fn new() -> Self {
        Lstm
    }
}

/// The numbers of values per unit in the slices of [`CellForward`] and [`CellBackward`]: four gates in the
/// pre-activations `z`, and one value of the cell state c.
const SIZES: UnitSizes = UnitSizes { gates: 4, separate: 0, cell_state: 1, between_stages: 0, operand: false };

impl Cell for Lstm {
    own_box!(Lstm);

    fn gates(&self) -> &'static [Gate] {
        const { &[Gate::new("input"), Gate::carrying_state("forget"), Gate::new("candidate"), Gate::new("output")] }
    }

    fn sizes(&self) -> CellSizes {
        CellSizes { cell_state: 1, between_stages: 0 }
    }

    fn activation(&self, gate: usize) -> Option<&dyn AnyActivation> {
        if gate == 2 { Some(&Tanh) } else { Some(&Sigmoid) }
    }

    /// Returns upper bounds on the 2-norms of the Jacobians of the state (h_t, c_t). By blocks, they are
    /// `[[a + ¼‖U_o‖, 1], [a, 1]]` with respect to the previous state, with a as below. With respect to the input
    /// they are `[a + ¼‖W_o‖, a]`, with W in place of U in a.
    ///
    /// Here t = `step` + 1, and i, f, g, o are the gates with their rows of the weights, such as U_f. From a state of
    /// zero `|c_t| ≤ t`, as `|c_t| ≤ |c_{t−1}| + 1`. With `σ′ ≤ ¼`, `tanh′ ≤ 1`, and gates and tanh
    /// within ±1,
    ///
    /// `∂c_t/∂c_{t−1} = diag(f)`, norm ≤ 1;
    /// `∂c_t/∂h_{t−1} = diag(c_{t−1} σ′_f) U_f + diag(g σ′_i) U_i + diag(i tanh′_g) U_g`, norm ≤
    /// `a = (t − 1)/4 ‖U_f‖ + ¼‖U_i‖ + ‖U_g‖`, and the same with W for x;
    /// `∂h_t = diag(o tanh′) ∂c_t + diag(tanh(c_t) σ′_o) ∂z_o`, so that `∂h_t/∂c_{t−1}` has norm ≤ 1
    /// and `∂h_t/∂h_{t−1}` norm ≤ `a + ¼‖U_o‖`.
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

    /// Computes the gradients with respect to the pre-activations z of the gates i, f, g, o and to c_{t−1}, given dh
    /// and dc_t, the gradients with respect to h_t and c_t. With `dc = dc_t + dh ⊙ o ⊙ tanh′(c_t)`:
    /// `∂z_i = dc ⊙ g ⊙ σ′_i`, `∂z_f = dc ⊙ c_{t−1} ⊙ σ′_f`, `∂z_g = dc ⊙ i ⊙ tanh′_g`,
    /// `∂z_o = dh ⊙ tanh(c_t) ⊙ σ′_o`, and `dc_{t−1} = dc ⊙ f`.
    #[inline(always)]
    fn backward<T: Scalar>(&self, _stage: usize, unit: CellBackward<'_, T>) {
        unit.check("Lstm", SIZES);
        let hidden = unit.h.len();
        let [z_i, z_f, z_g, z_o] = quarters(unit.z, hidden);
        let (c_prev, c) = (&unit.cell_state_prev[..hidden], &unit.cell_state[..hidden]);
        let (d_h, d_c) = (&unit.d_h[..hidden], &mut unit.d_cell_state[..hidden]);
        by_blocks!(T, 2, LANES, at in hidden, {
            let (mut i, mut f) = (load_block::<T, LANES>(z_i, at), load_block::<T, LANES>(z_f, at));
            let (mut g, mut o) = (load_block::<T, LANES>(z_g, at), load_block::<T, LANES>(z_o, at));
            let (c_prev, mut tanh_c) = (load_block::<T, LANES>(c_prev, at), load_block::<T, LANES>(c, at));
            let mut slope = [T::zero(); LANES];
            let (dh, mut dc) = (load_block::<T, LANES>(d_h, at), load_block::<T, LANES>(d_c, at));
            for j in 0..LANES {
                let c = tanh_c[j];
                tanh_c[j] = Tanh.value(c);
                slope[j] = Tanh.derivative(c, tanh_c[j]);
            }
            for j in 0..LANES {
                let ([input, _, d_i], [forget, _, d_f]) = (sigmoid_from_saved(i[j]), sigmoid_from_saved(f[j]));
                let ([candidate, d_g], [output, _, d_o]) = (tanh_from_saved(g[j]), sigmoid_from_saved(o[j]));
                let total = mul_add(dh[j] * output, slope[j], dc[j]);
                i[j] = total * candidate * d_i;
                f[j] = total * c_prev[j] * d_f;
                g[j] = total * input * d_g;
                o[j] = dh[j] * tanh_c[j] * d_o;
                dc[j] = total * forget;
            }
            store_block(z_i, at, i);
            store_block(z_f, at, f);
            store_block(z_g, at, g);
            store_block(z_o, at, o);
            store_block(d_c, at, dc);
        });
    }

    fn kind(&self) -> CellKind {
        CellKind::Lstm(*self)
    }
}

/// Computes `c_t = f ⊙ c_{t−1} + i ⊙ g` and `h_t = o ⊙ tanh(c_t)` from the pre-activations of the gates i, f,
/// g, o. If `SAVES`, each pre-activation is overwritten by a number from which the backward pass recovers the gate.
#[inline(always)]
fn forward<T: Scalar, const SAVES: bool>(unit: CellForward<'_, T>) {
    let hidden = unit.h.len();
    let [z_i, z_f, z_g, z_o] = quarters(unit.z, hidden);
    let (c_prev, c_next) = (&unit.cell_state_prev[..hidden], &mut unit.cell_state[..hidden]);
    let h_next = &mut unit.h[..hidden];
    by_blocks!(T, 2, LANES, at in hidden, {
        let (i, f) = (load_block::<T, LANES>(z_i, at), load_block::<T, LANES>(z_f, at));
        let (g, o) = (load_block::<T, LANES>(z_g, at), load_block::<T, LANES>(z_o, at));
        let mut c = load_block::<T, LANES>(c_prev, at);
        // There is a loop for each gate. One loop for all gates would fill the CPU's reorder window, and wait for the
        // longest dependency chain.
        let (i, f) = (open::<T, LANES, SAVES>(i, sigmoid, z_i, at), open::<T, LANES, SAVES>(f, sigmoid, z_f, at));
        let g = open::<T, LANES, SAVES>(g, saved_gate::tanh, z_g, at);
        for j in 0..LANES {
            c[j] = mul_add(f[j], c[j], i[j] * g[j]);
        }
        store_block(c_next, at, c);
        let mut h = open::<T, LANES, SAVES>(o, sigmoid, z_o, at);
        for j in 0..LANES {
            h[j] *= Tanh.value(c[j]);
        }
        store_block(h_next, at, h);
    });
}

/// Returns the values of one gate for `block`, `N` pre-activations. `gate` maps a pre-activation to the value of the
/// gate and to the number that is saved for the backward pass. If `SAVES`, these numbers are written to `place`, from
/// index `at` on.
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

/// Splits the values `z` of all gates of a sample into `hidden` values for each gate: input gate i, forget gate f,
/// candidate g and output gate o.
#[inline(always)]
fn quarters<T>(z: &mut [T], hidden: usize) -> [&mut [T]; 4] {
    let (i, rest) = z.split_at_mut(hidden);
    let (f, rest) = rest.split_at_mut(hidden);
    let (g, o) = rest.split_at_mut(hidden);
    [i, f, g, &mut o[..hidden]]
}
