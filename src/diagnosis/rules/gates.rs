//! Rules about closed gates, which block the input or the output of a state.

use super::above;
use crate::{
    block::{Blocks, Gate},
    diagnosis::{
        Cause, Diagnosis, Finding, Severity,
        figures::{count, number},
    },
    layer::{LayerSpec, initialize},
};
use alloc::{format, string::String, vec::Vec};

/// The gates of a layer, each with its mean value from 0 (shut) to 1 (open), and the steps of a sequence.
struct Openings {
    layer: String,
    gates: Vec<(Gate, f64)>,
    steps: usize,
}

impl Openings {
    fn of(&self, gate: &str) -> Option<f64> {
        self.gates.iter().find(|(known, _)| known.name == gate).map(|(_, opening)| *opening)
    }

    /// Returns the gate that carries the state, and its mean value.
    fn keeps(&self) -> Option<(&'static str, f64)> {
        self.gates.iter().find(|(gate, _)| gate.carries_state).map(|(gate, opening)| (gate.name, *opening))
    }

    /// Returns the fraction of the input that a state holds after T steps: `i (1 − fᵀ)/(1 − f)`, where f is the
    /// mean value of the gate that carries the state, and i that of the input gate. `None` without a gate that carries
    /// the state.
    ///
    /// Without an input gate i is 1 − f, as in a GRU.
    fn admitted(&self) -> Option<f64> {
        let (_, keeps) = self.keeps()?;
        Some(held(self.of("input").unwrap_or(1.0 - keeps), keeps, self.steps))
    }

    /// Returns [`admitted`](Self::admitted) with the gate that admits the input half open.
    fn admitted_half_open(&self) -> f64 {
        let keeps = self.keeps().map_or(0.5, |(_, keeps)| keeps);
        held(0.5, if self.of("input").is_some() { keeps } else { 0.5 }, self.steps)
    }
}

/// Returns `i (1 − fᵀ)/(1 − f)`, the sum of i fᵏ over T steps.
fn held(admits: f64, keeps: f64, steps: usize) -> f64 {
    let steps = steps.max(1) as f64;
    admits * if keeps < 1.0 { (1.0 - libm::pow(keeps, steps)) / (1.0 - keeps) } else { steps }
}

/// Returns a fraction as text. A fraction near 1 is written as its distance from 1.
fn near_one(share: f64) -> String {
    if share > 0.99 && share < 1.0 { format!("1 − {}", number(1.0 - share)) } else { number(share) }
}

/// Returns the measured mean values of the gates, or without measurements the values for the initial biases.
fn openings(diagnosis: &Diagnosis<'_>) -> Vec<Openings> {
    let mut found: Vec<Openings> = Vec::new();
    for (path, part) in diagnosis.node.parts() {
        if !matches!(part, LayerSpec::Recurrent { .. }) {
            continue;
        }
        let (gates, steps) = match diagnosis.statistics {
            Some(statistics) => {
                let seen = statistics.gates().iter().filter(|gate| gate.layer() == path);
                let gates = seen.map(|gate| (gate.gate(), gate.opening().mean())).collect();
                let state = statistics.states().iter().find(|state| state.name() == path);
                (gates, state.map_or(0, |state| state.sequence()))
            }
            None => (by_biases(part).unwrap_or_default(), diagnosis.inputs.sequence_steps()),
        };
        found.push(Openings { layer: path, gates, steps });
    }
    found
}

/// Returns the gate that carries the state of a layer, and its mean value: measured, or from the first biases. `None`
/// for a layer without such a gate, or one whose gates are not known.
pub(super) fn carrying(diagnosis: &Diagnosis<'_>, layer: &str) -> Option<(&'static str, f64)> {
    openings(diagnosis).into_iter().find(|openings| openings.layer == layer)?.keeps()
}

/// Returns the mean of σ(b) over the units of each gate, for one draw of the biases b.
fn by_biases(part: &LayerSpec) -> Option<Vec<(Gate, f64)>> {
    let layer = part.build_to_look_at().ok()?;
    let w = initialize(&*layer, 0).ok()?;
    let blocks = Blocks::collect(|visit| layer.blocks(visit));
    let bias = blocks.get("bias").ok()?;
    let each = bias.range.len() / bias.gates.len().max(1);
    let mean = |values: &[f64]| values.iter().map(|&b| 1.0 / (1.0 + libm::exp(-b))).sum::<f64>();
    let values = w[bias.range.clone()].chunks(each.max(1));
    Some(bias.gates.iter().copied().zip(values.map(|values| mean(values) / each.max(1) as f64)).collect())
}

/// Reports gates through which almost nothing enters or leaves the state.
pub(super) fn shut(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let lines = diagnosis.thresholds.admitted.map(|line| -line);
    for layer in openings(diagnosis) {
        let source = if diagnosis.statistics.is_some() { "measured" } else { "from the first biases" };
        let mut say = |cause, severity: Severity, text, because| {
            findings.push(diagnosis.finding(cause, severity, &layer.layer, text, because));
        };
        if let Some(admitted) = layer.admitted()
            && let Some(severity) = above(-admitted, lines)
        {
            let keeps = layer.keeps().unwrap_or_default();
            let (gate, open) = layer.of("input").map_or(keeps, |open| ("input", open));
            let text = format!(
                "hardly any input enters the state: {} of it in {}; gate {gate} has a mean of {}{}, {source}",
                number(admitted),
                count(layer.steps, "step"),
                near_one(open),
                if gate == "input" { "" } else { ", where 1 keeps the old state" }
            );
            let because = format!(
                "with gate {gate} half open: {} of the input instead of {} (computed)",
                number(layer.admitted_half_open()),
                number(admitted)
            );
            say(Cause::ClosedInputGate, severity, text, because);
        }
        if let Some(open) = layer.of("output")
            && let Some(severity) = above(-open, lines)
        {
            let text =
                format!("the layer outputs {} of its state: gate output has a mean of that, {source}", number(open));
            let because =
                format!("with gate output half open: 0.5 of the state instead of {} (computed)", number(open));
            say(Cause::ClosedOutputGate, severity, text, because);
        }
    }
}
