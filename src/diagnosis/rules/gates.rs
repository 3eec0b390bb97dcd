//! Rules about closed gates, which block the input or the output of a state.

use super::{above, climb, layer_of_block};
use crate::{
    block::{Block, Blocks, Gate, Role},
    diagnosis::{
        Cause, Diagnosis, Finding, Severity,
        figures::{count, number},
    },
    layer::{Layer, LayerSpec, initialize},
    scalar::{Scalar, to_f64},
};
use alloc::{format, string::String, vec::Vec};

/// The gates of a layer, each with its mean value from 0 (shut) to 1 (open), and the number of time steps of a
/// sequence.
struct Openings {
    layer: String,
    gates: Vec<(Gate, f64)>,
    steps: usize,
}

impl Openings {
    fn of(&self, gate: &str) -> Option<f64> {
        self.gates.iter().find(|(known, _)| known.name == gate).map(|(_, opening)| *opening)
    }

    /// Returns the name of the gate that carries the state, and its mean value; `None` for a cell without one.
    fn keeps(&self) -> Option<(&'static str, f64)> {
        self.gates.iter().find(|(gate, _)| gate.carries_state).map(|(gate, opening)| (gate.name, *opening))
    }

    /// Returns the fraction of the input that a state holds after T time steps: `i (1 − fᵀ)/(1 − f)`, where f is the
    /// mean value of the gate that carries the state, and i that of the input gate. `None` without a gate that
    /// carries the state.
    ///
    /// Without an input gate i is 1 − f, as in a GRU.
    fn admitted(&self) -> Option<f64> {
        let (_, keeps) = self.keeps()?;
        Some(held(self.of("input").unwrap_or(1.0 - keeps), keeps, self.steps))
    }

    /// Returns the fraction [`admitted`](Self::admitted) of the input if the gate that admits the input were half
    /// open.
    fn admitted_half_open(&self) -> f64 {
        let keeps = self.keeps().map_or(0.5, |(_, keeps)| keeps);
        held(0.5, if self.of("input").is_some() { keeps } else { 0.5 }, self.steps)
    }
}

/// Returns `i (1 − fᵀ)/(1 − f)`, the sum of i fᵏ over T time steps, with i = `admits`, f = `keeps` and T = `steps`.
fn held(admits: f64, keeps: f64, steps: usize) -> f64 {
    let steps = steps.max(1) as f64;
    admits * if keeps < 1.0 { (1.0 - libm::pow(keeps, steps)) / (1.0 - keeps) } else { steps }
}

/// Returns a fraction as text. If it is between 0.99 and 1, the text is for example `1 − 0.002`.
fn near_one(share: f64) -> String {
    if share > 0.99 && share < 1.0 { format!("1 − {}", number(1.0 - share)) } else { number(share) }
}

/// Returns, for each recurrent layer, the measured mean values of its gates. Without measurements, these are the
/// values for the given biases, or else for initial biases.
fn openings(diagnosis: &Diagnosis<'_>) -> Vec<Openings> {
    let mut found: Vec<Openings> = Vec::new();
    for (path, part) in diagnosis.spec.parts() {
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
            None => {
                let given = diagnosis.gates.iter().find(|(layer, _)| *layer == path);
                let gates = given.map_or_else(|| by_first_biases(part), |(_, gates)| gates.clone());
                (gates, diagnosis.inputs.sequence_steps())
            }
        };
        found.push(Openings { layer: path, gates, steps });
    }
    found
}

/// Returns the severity of a fault of a state over the span, the number of time steps that the task must remember. It
/// is `severity` if a span was given. Otherwise it is unknown whether the task needs the whole sequence. The fault is
/// then a note, or a warning if it `is_unusual` and the run is held up. A run is held up here if it [stands at
/// chance](Diagnosis::stands_at_chance), its parameters have [moved](Diagnosis::has_hardly_moved), and its gradient
/// has no wrong sign.
pub(super) fn of_span(diagnosis: &Diagnosis<'_>, severity: Severity, is_unusual: bool) -> Severity {
    let is_held_up = || diagnosis.stands_at_chance() && !diagnosis.has_hardly_moved() && !climb::is_reversed(diagnosis);
    match diagnosis.span {
        Some(_) => severity,
        None if is_unusual && is_held_up() => Severity::Warning,
        None => Severity::Note,
    }
}

/// Whether the fraction of its state, or of the state's gradient, that a layer keeps from one time step to the next
/// is below [`shut_gate`](crate::diagnosis::Thresholds::shut_gate). Then 99 % is lost within about five time steps:
/// no usual memory forgets so fast. In a layer with a gate that carries the state, the fraction is the mean value of
/// this gate. In other layers it is 10 to the power `each`, the log10 of the gradient's change over one time step.
pub(super) fn forgets_fast(diagnosis: &Diagnosis<'_>, layer: &str, each: f64) -> bool {
    let kept = carrying(diagnosis, layer).map_or_else(|| libm::exp10(each), |(_, open)| open);
    kept < diagnosis.thresholds.shut_gate
}

/// Returns the gate that carries the state of a layer, and its mean value: measured, or computed from its biases.
/// `None` for a layer without such a gate, or whose gates are not known.
pub(super) fn carrying(diagnosis: &Diagnosis<'_>, layer: &str) -> Option<(&'static str, f64)> {
    openings(diagnosis).into_iter().find(|openings| openings.layer == layer)?.keeps()
}

/// Returns the mean of σ(b) over the units of each gate of each layer, b being the biases in `w`.
pub(in crate::diagnosis) fn by_biases<T: Scalar>(blocks: &Blocks, w: &[T]) -> Vec<(String, Vec<(Gate, f64)>)> {
    let mean = |values: &[T]| {
        let sum: f64 = values.iter().map(|&b| 1.0 / (1.0 + libm::exp(-to_f64(b)))).sum();
        sum / values.len().max(1) as f64
    };
    let of = |bias: &Block<'_>| {
        let each = bias.range.len() / bias.gates.len().max(1);
        let values = w.get(bias.range.clone()).unwrap_or(&[]).chunks(each.max(1));
        let gates = bias.gates.iter().copied().zip(values.map(mean)).collect();
        (layer_of_block(&bias.name).into(), gates)
    };
    blocks.iter().filter(|block| block.role == Role::Bias && !block.gates.is_empty()).map(of).collect()
}

/// Returns the mean of σ(b) over the units of each gate of a layer, for one draw of the biases b; empty if the layer
/// cannot be built.
fn by_first_biases(part: &LayerSpec) -> Vec<(Gate, f64)> {
    let drawn = |layer: &dyn Layer<f64>| initialize(layer, 0).ok();
    let Ok(layer) = part.build_to_look_at() else { return Vec::new() };
    let Some(w) = drawn(&*layer) else { return Vec::new() };
    let found = by_biases(&Blocks::collect(|visit| layer.blocks(visit)), &w);
    found.into_iter().next().map(|(_, gates)| gates).unwrap_or_default()
}

/// Reports gates that let almost nothing of the input into the state, or almost nothing of the state to the output,
/// by the threshold [`admitted`](crate::diagnosis::Thresholds::admitted).
pub(super) fn shut(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let lines = diagnosis.thresholds.admitted.map(|line| -line);
    for layer in openings(diagnosis) {
        let is_given = diagnosis.gates.iter().any(|(path, _)| *path == layer.layer);
        let source = match diagnosis.statistics {
            Some(_) => "measured",
            None if is_given => "from the biases",
            None => "from the first biases",
        };
        let mut say = |cause, severity: Severity, text, because| {
            findings.push(diagnosis.finding(cause, severity, &layer.layer, text, because));
        };
        if let Some(admitted) = layer.admitted()
            && let Some(severity) = above(-admitted, lines)
        {
            let keeps = layer.keeps().unwrap_or_default();
            // A state that fills up over longer sequences is slow, but not shut off.
            let fills = match layer.of("input") {
                Some(open) => above(-held(open, keeps.1, usize::MAX), lines).is_none(),
                // A cell without an input gate fills up in any case; only a run shows whether it does so too slowly.
                None => diagnosis.has_patience(),
            };
            let severity = if fills { of_span(diagnosis, severity, true) } else { severity };
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
