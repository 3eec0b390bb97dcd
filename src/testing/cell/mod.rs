//! The laws of recurrent cells.

mod shown;

use super::{
    Dual, Evidence, Law, Layers, Violations,
    law::{Trial, beyond, subject},
    layer::{Asked, Given, Results, draw, run, try_adjoint, try_layer, unequal},
};
use crate::{
    batch_shape::BatchShape,
    kernel::reduce::norm,
    layer::Layer,
    recurrent::{Cell, Operand, Recurrent},
    scalar::{Scalar, scalar, to_f64},
};
use alloc::{format, string::String, vec, vec::Vec};

/// A `#[test]` that a cell keeps its laws: [`cell_laws`](crate::testing::cell_laws).
///
/// ```
/// chainrule::cell_laws!(lstm, chainrule::recurrent::Lstm::new());
/// ```
#[macro_export]
macro_rules! cell_laws {
    ($(#[$attribute:meta])* $name:ident, $cell:expr $(,)?) => {
        $(#[$attribute])*
        #[test]
        fn $name() {
            $crate::testing::expect_lawful($crate::testing::cell_laws(&$cell, $crate::testing::seed()));
        }
    };
}

/// Numbers of inputs and units: one, several, and more than a register holds.
const WIDTHS: [(usize, usize); 4] = [(1, 1), (3, 2), (2, 5), (4, 17)];
/// Numbers of inputs and units at which only the adjoint is tested, around the widths of registers.
const WIDE: [(usize, usize); 4] = [(3, 8), (2, 9), (1, 33), (34, 2)];
/// Samples and steps of the sequences that run in windows, and the windows.
const SAMPLES: usize = 3;
const CUTS: [&[usize]; 2] = [&[1, 1, 1, 1, 1], &[2, 3]];
const STEPS: usize = 5;

/// Tests the laws of a cell, unrolled by [`Recurrent`] at several widths, with and without biases.
///
/// All laws of [layers](super::layer_laws), and:
///
/// * Gates, products and stages fit together. Each gate has an effect.
/// * Monitors get the pre-activations that the cell uses: with the previous state they determine the new state. Where a
///   declared activation saturates, so does the effect of its gate.
/// * A sequence in windows of any length, with the state and its gradient passed from window to window, gives the same
///   outputs to the bit, and the same gradient.
///
/// # Errors
/// [`Violations`] with the laws that are broken, each with its smallest example. Here the backward stage of
/// `h_t = f ⊙ h_{t−1} + (1 − f) ⊙ n` has `dh * n` in place of `dh * (h - n)`:
///
/// ```text
/// Minimal (CHAINRULE_SEED=0)
/// law broken: backward is the transpose of the derivative of forward: ⟨c, J v⟩ = ⟨Jᵀ c, v⟩
///   where     inputs: 1, units: 1, f64, 1 sample: the gradient of block `bias`, gate `forget`, [0, 0] of [2, 1]
///   expected  0.04505882767461589, by dual numbers through forward
///   found     -0.01309801712328666, by backward
///   input     x = [0.0]; parameters of seed 0
/// ```
///
/// The gradient of a bias is that of its pre-activation: the mistake is in the line that writes the forget gate's `z`.
pub fn cell_laws<C: Cell>(cell: &C, seed: u64) -> Result<Evidence, Violations> {
    let mut trial = Trial::new(subject(cell), seed);
    facts(cell, &mut trial);
    if !trial.broken(Law::CellFacts) {
        shown::shown(cell, seed, &mut trial);
        for (inputs, hidden) in WIDTHS {
            let with = Recurrent::new(inputs, hidden, cell.clone());
            let without = with.clone().without_bias();
            for (layer, bias) in [(with, ""), (without, " without biases")] {
                let label = format!("inputs: {inputs}, units: {hidden}{bias}, ");
                try_layer(Layers::of(&layer), &[], seed, &label, &mut trial);
                if [Law::NoPanic, Law::StaysInside, Law::Repeatable].into_iter().any(|law| trial.broken(law)) {
                    return trial.verdict();
                }
                stepped::<f32>(&layer, "f32", seed, &label, &mut trial);
                stepped::<f64>(&layer, "f64", seed, &label, &mut trial);
            }
        }
        for (inputs, hidden) in WIDE {
            let layer = Recurrent::new(inputs, hidden, cell.clone());
            try_adjoint(Layers::of(&layer), seed, &format!("inputs: {inputs}, units: {hidden}, "), &mut trial);
        }
    }
    trial.verdict()
}

fn facts<C: Cell>(cell: &C, trial: &mut Trial) {
    let (gates, products) = (cell.gates(), cell.products());
    let mut wrong = |place: String, expected: &str, found: String| {
        trial.breaks(Law::CellFacts, place, expected, found, "");
    };
    if gates.is_empty() {
        wrong("gates()".into(), "at least one gate", "none".into());
    }
    for (i, gate) in gates.iter().enumerate() {
        if gates[..i].iter().any(|other| other.name == gate.name) {
            wrong(format!("gates()[{i}]"), "a name of its own", format!("{:?} again", gate.name));
        }
    }
    let mut stage = 0;
    for (i, product) in products.iter().enumerate() {
        let place = || format!("products()[{i}]");
        if product.gates.is_empty() || product.gates.end > gates.len() {
            wrong(place(), "some of the gates", format!("{:?} of {}", product.gates, gates.len()));
        }
        if product.stage < stage || product.stage > stage + 1 {
            wrong(place(), "stages in order, from 0", format!("stage {} after {stage}", product.stage));
        }
        if product.stage == 0 && product.operand == Operand::StageOutput {
            wrong(
                place(),
                "Operand::Hidden at stage 0, before which no stage writes one",
                "Operand::StageOutput".into(),
            );
        }
        stage = product.stage;
    }
}

/// One window of a sequence.
struct Window {
    start: usize,
    steps: usize,
}

impl Window {
    fn of(&self, width: usize, values: &[f64]) -> Vec<f64> {
        values[self.start * SAMPLES * width..][..self.steps * SAMPLES * width].to_vec()
    }
}

/// A sequence in windows: the state is passed from window to window, and its gradient backward.
fn stepped<T: Scalar>(
    layer: &(impl Layer<T> + Layer<f64> + Layer<Dual<f64>>),
    name: &str,
    seed: u64,
    label: &str,
    trial: &mut Trial,
) {
    let shape = BatchShape::sequences(SAMPLES, STEPS);
    let Some(given) = draw(layer, shape, seed, 6).ok() else { return };
    let layer: &dyn Layer<T> = layer;
    let dims = layer.dims();
    let pass = |given: &Given<f64>, steps: usize| -> Option<Results<T>> {
        run(layer, &given.map(scalar), &Asked::new(BatchShape::sequences(SAMPLES, steps))).ok()
    };
    let Some(whole) = pass(&given, STEPS) else { return };
    let wide = |values: &[T]| values.iter().map(|&value| to_f64(value)).collect::<Vec<f64>>();
    for cuts in CUTS {
        let mut windows = Vec::new();
        let mut start = 0;
        for &steps in cuts {
            windows.push(Window { start, steps });
            start += steps;
        }
        let (mut states, mut y) = (vec![given.state.clone()], Vec::new());
        for window in &windows {
            let part = Given {
                x: window.of(dims.input, &given.x),
                dy: window.of(dims.output, &given.dy),
                state: states.last().cloned().flatten(),
                ..given.clone()
            };
            let Some(results) = pass(&part, window.steps) else { return };
            y.extend_from_slice(&results.y);
            states.push(given.state.as_ref().map(|_| wide(&results.state)));
        }
        let place = |what: &str| format!("{label}{name}, {SAMPLES} samples in windows of {cuts:?} steps: {what}");
        if let Some(i) = unequal(&whole.y, &y) {
            trial.breaks(Law::Stepped, place("y"), format!("{:?}", whole.y[i]), format!("{:?}", y[i]), "");
        }
        let end = states.last().cloned().flatten().unwrap_or_default();
        if let Some(i) = unequal(&wide(&whole.state), &end) {
            trial.breaks(
                Law::Stepped,
                place("final_state"),
                format!("{:?}", whole.state[i]),
                format!("{:?}", end[i]),
                "",
            );
        }

        let (mut dx, mut dw) = (vec![0.0; given.x.len()], vec![0.0; given.w.len()]);
        let mut d_state = given.d_state.clone();
        for (window, state) in windows.iter().zip(states).rev() {
            let part = Given {
                x: window.of(dims.input, &given.x),
                dy: window.of(dims.output, &given.dy),
                state,
                d_state: d_state.take(),
                w: given.w.clone(),
            };
            let Some(results) = pass(&part, window.steps) else { return };
            dx[window.start * SAMPLES * dims.input..][..results.dx.len()].copy_from_slice(&wide(&results.dx));
            dw.iter_mut().zip(&results.dw).for_each(|(sum, &dw)| *sum += to_f64(dw));
            d_state = given.state.as_ref().map(|_| wide(&results.d_state));
        }
        // Sums over time run in another order, so they are equal to rounding.
        let allowed = 1e4 * to_f64(T::epsilon());
        let d_state = d_state.unwrap_or_default();
        for (what, whole, parts) in
            [("dx", &whole.dx, &dx), ("dw", &whole.dw, &dw), ("d_initial_state", &whole.d_state, &d_state)]
        {
            let difference: Vec<f64> = wide(whole).iter().zip(parts).map(|(whole, part)| whole - part).collect();
            let error = norm(&difference);
            if beyond(error, allowed * norm(whole)) {
                let expected = format!("the gradient of the whole, of length {:e}", norm(whole));
                trial.breaks(Law::Stepped, place(what), expected, format!("one that is {error:e} away"), "");
            }
        }
    }
}
