//! The laws of recurrent cells.

mod shown;

use super::{
    Evidence, Law, Layers, Violations, answers, ignored, judged,
    law::{Trial, subject},
    layer::{BASIC, Rows, try_adjoint, try_layer},
    steady,
};
use crate::{
    layer::Layer,
    recurrent::{Cell, Operand, Recurrent},
};
use alloc::{format, string::String, vec};

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

/// Pairs of the numbers of inputs and units: one, several, and more than a SIMD register holds.
const WIDTHS: [(usize, usize); 4] = [(1, 1), (3, 2), (2, 5), (4, 17)];
/// Pairs of the numbers of inputs and units at which only the adjoint is tested, around the widths of registers.
const WIDE: [(usize, usize); 4] = [(3, 8), (2, 9), (1, 33), (34, 2)];
/// The numbers of inputs and units at which the adjoint is tested with zoneout.
const ZONED: (usize, usize) = (3, 8);

/// Tests the laws of a cell, unrolled by [`Recurrent`] at several widths. The gradients are also tested without
/// biases and with zoneout.
///
/// All laws of [layers](super::layer_laws), and:
///
/// * The declarations of the cell are consistent: gates have different names; each of its products with weights covers
///   existing gates; its stages (groups of products that run one after the other) are in order. Each gate has an
///   effect.
/// * Monitors receive the pre-activations that the cell uses: with the previous state they determine the new state. A
///   value of the new state that is linear in a gate's φ(z) follows φ at this z. If a declared activation saturates,
///   the effect of its gate saturates, too. A gate that carries the state leaves more of it where its value is larger.
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
///   where     inputs: 1, units: 1, f64, 1 sample: the gradient of block `bias`, gate `forget`,
///             element [0, 0] of [2, 1]
///   expected  0.04505882767461589, by dual numbers through forward
///   found     -0.01309801712328666, by backward
///   input     x = [0.0]; parameters of seed 0
/// ```
///
/// The gradient of a bias is that of its pre-activation. So the mistake is in the line that writes the forget gate's
/// `z`.
pub fn cell_laws<C: Cell>(cell: &C, seed: u64) -> Result<Evidence, Violations> {
    let told = || {
        let layer = Recurrent::new(1, 1, cell.cloned());
        vec![("spec", format!("{:?}", Layer::<f64>::spec(&layer)))]
    };
    judged(Trial::new(subject(cell), seed), |trial| steady(trial, &told, |trial| cell_suite(cell, seed, trial)))
}

fn cell_suite<C: Cell>(cell: &C, seed: u64, trial: &mut Trial) {
    let questions: [(&str, &dyn Fn()); 4] = [
        ("gates", &|| ignored(cell.gates())),
        ("products", &|| ignored(cell.products())),
        ("sizes", &|| ignored(cell.sizes())),
        ("activation", &|| (0..cell.gates().len()).for_each(|gate| ignored(cell.activation(gate)))),
    ];
    if !answers(trial, "", &questions) {
        return;
    }
    facts(cell, trial);
    if !trial.broken(Law::CellFacts) {
        shown::shown(cell, seed, trial);
        for (i, (inputs, hidden)) in WIDTHS.into_iter().enumerate() {
            let layer = Recurrent::new(inputs, hidden, cell.cloned());
            let label = format!("inputs: {inputs}, units: {hidden}, ");
            // A cell does not depend on the number of rows, so batch sizes around register widths are tested at one
            // width only.
            let rows = if i == 0 { Rows::Many } else { Rows::Few };
            try_layer(Layers::of(&layer), &[], rows, seed, &label, trial);
            if BASIC.into_iter().any(|law| trial.broken(law)) {
                return;
            }
        }
        // Zoneout writes its part of the gradient of the state before the cell adds its own.
        if let Ok(layer) = Recurrent::new(ZONED.0, ZONED.1, cell.cloned()).zoneout(0.3, 0.0) {
            let label = format!("inputs: {}, units: {} with zoneout, ", ZONED.0, ZONED.1);
            try_adjoint(Layers::of(&layer), seed, &label, trial);
        }
        // A cell does not depend on whether there are biases.
        for (inputs, hidden) in WIDTHS.into_iter().chain(WIDE) {
            let with = || Recurrent::new(inputs, hidden, cell.cloned());
            for (layer, bias) in [(with(), ""), (with().without_bias(), " without biases")] {
                let label = format!("inputs: {inputs}, units: {hidden}{bias}, ");
                try_adjoint(Layers::of(&layer), seed, &label, trial);
            }
        }
    }
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
