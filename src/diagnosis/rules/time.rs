//! Rules about the change of a state's gradient over time, and the gates that determine it.

use super::{
    above,
    gates::{carrying, forgets_fast, of_span},
    links::is_bounded,
};
use crate::{
    activation::Activation,
    diagnosis::{
        Alteration, Cause, Diagnosis, Finding, Intervention, Severity,
        figures::{count, figure, number, signed},
    },
    layer::LayerSpec,
    theory::Certificate,
};
use alloc::{format, string::String, vec::Vec};

/// Returns the cause of a gradient of a layer's state that vanishes over time, and a clause about it, which may be
/// empty. In a cell with a gate that carries the state, only this gate can cause it; the clause states its mean
/// value. A gate above the threshold [`shut_gate`](crate::diagnosis::Thresholds::shut_gate) counts as closed only if
/// the span, the number of time steps that the task must remember, is given.
fn forgets(diagnosis: &Diagnosis<'_>, layer: &str) -> (Cause, String) {
    if !diagnosis.carries_state.iter().any(|carries| carries == layer) {
        return (Cause::VanishingRecurrence, String::new());
    }
    match carrying(diagnosis, layer) {
        Some((gate, open)) => {
            let is_shut = open < diagnosis.thresholds.shut_gate;
            let text =
                format!("; gate {gate} has a mean of {}{}", number(open), if is_shut { ", so it forgets" } else { "" });
            let is_open = !is_shut && diagnosis.span.is_none();
            (if is_open { Cause::VanishingRecurrence } else { Cause::ClosedForgetGate }, text)
        }
        None => (Cause::ClosedForgetGate, String::new()),
    }
}

/// Whether one of the findings has the layer at the path `layer` as its first layer.
fn is_told(findings: &[Finding], layer: &str) -> bool {
    findings.iter().any(|finding| finding.layer == layer)
}

/// Reports a state gradient that vanishes or explodes over the span (the time steps that the task must remember). It
/// is predicted by the first Lyapunov exponent λ₁: over t steps the gradient changes by the factor e^(λ₁ t) in
/// almost all directions. Layers with a finding from index `first` on are left out.
fn predicted(diagnosis: &Diagnosis<'_>, first: usize, findings: &mut Vec<Finding>) {
    for trajectory in &diagnosis.trajectories {
        let layer = &*trajectory.layer;
        let Some(&exponent) = trajectory.exponents.first() else { continue };
        let span = diagnosis.span.unwrap_or(trajectory.steps.saturating_sub(1));
        let decades = exponent * span as f64 * core::f64::consts::LOG10_E;
        let lines = diagnosis.thresholds.over_time;
        let ((cause, gate), how, severity) = match (above(-decades, lines), above(decades, lines)) {
            (Some(severity), _) => {
                let is_fast = forgets_fast(diagnosis, layer, decades / span.max(1) as f64);
                let severity = diagnosis.of_open_gate(layer, of_span(diagnosis, severity, is_fast));
                (forgets(diagnosis, layer), "vanishes", severity)
            }
            (_, Some(severity)) => ((Cause::ExplodingRecurrence, String::new()), "explodes", severity),
            _ => continue,
        };
        if is_told(&findings[first..], layer) {
            continue;
        }
        let text = format!(
            "the gradient {how} over time: {} decades over the {} of the span{gate}",
            signed(decades),
            count(span, "step")
        );
        let because = format!(
            "along a sequence of the data, the first Lyapunov exponent is {} decades a step: so much almost every \
             gradient changes",
            figure(exponent * core::f64::consts::LOG10_E, 3)
        );
        let finding = diagnosis.finding(cause, severity, layer, text, because);
        findings.push(Finding { predicted: Some(decades), ..finding });
    }
}

/// Reports a state gradient that vanishes over the span (the time steps that the task must remember), as an upper
/// bound proves without any measurement. Layers with a finding from index `first` on are left out.
fn certified(diagnosis: &Diagnosis<'_>, first: usize, findings: &mut Vec<Finding>) {
    let horizons = diagnosis.certificate.iter().flat_map(Certificate::horizons);
    for horizon in horizons {
        let Some((last, bounds)) =
            horizon.bounds.as_ref().and_then(|bounds| Some((bounds.len().checked_sub(2)?, bounds)))
        else {
            continue;
        };
        let span = diagnosis.span.unwrap_or(last).min(last);
        let decades = libm::log10(bounds[span]);
        let Some(severity) = above(-decades, diagnosis.thresholds.over_time) else { continue };
        if is_told(&findings[first..], &horizon.name) {
            continue;
        }
        let (cause, gate) = forgets(diagnosis, &horizon.name);
        let text = format!(
            "the gradient vanishes over time: certified to lose at least {} decades over the {} of the span, whatever \
             the input{gate}",
            signed(decades).trim_start_matches('−'),
            count(span, "step")
        );
        let because = format!(
            "a proof: one step back keeps at most {} of the gradient of the state",
            number(libm::exp10(decades / span.max(1) as f64))
        );
        let is_fast = forgets_fast(diagnosis, &horizon.name, decades / span.max(1) as f64);
        let severity = of_span(diagnosis, severity, is_fast);
        let finding = diagnosis.finding(cause, severity, &horizon.name, text, because);
        findings.push(Finding { predicted: Some(decades), is_proof: true, ..finding });
    }
}

/// Reports a state gradient that vanishes or explodes over the span (the time steps that the task must remember), as
/// measured. Before training, layers without such a finding are also judged by an upper bound and a prediction.
pub(super) fn over_time(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let first = findings.len();
    measured(diagnosis, findings);
    // The sequences of the batch for interventions can be shorter than the span; bounds and exponents cover all of
    // it.
    if diagnosis.statistics.is_none() || diagnosis.is_examined_alone {
        certified(diagnosis, first, findings);
        predicted(diagnosis, first, findings);
    }
}

/// Reports a gradient that vanishes or explodes over time, by the measured mean change per time step. The change is
/// extrapolated to the span, the time steps that the task must remember, or to the time steps over which the gradient
/// was measured if these are fewer.
fn measured(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let lines = &diagnosis.thresholds;
    let Some(statistics) = diagnosis.statistics else { return };
    for state in statistics.states().iter().filter(|state| state.per_step().count() > 0) {
        let within = state.reach();
        let span = diagnosis.span.unwrap_or(within).min(within);
        if span == 0 {
            continue;
        }
        let (layer, each) = (state.name(), state.per_step().mean());
        let total = each * span as f64;
        let size = format!("{} decades over the {} of the span", signed(total), count(span, "step"));
        let [weights, rest] = [state.weights().mean(), state.activation().mean()].map(|decades| figure(decades, 3));
        let parts =
            format!("a step back in time is {} decades: weights {weights}, φ′ and gates {rest}", figure(each, 3));
        let gate = statistics.gates().iter().find(|gate| gate.layer() == layer && gate.gate().carries_state);
        let mends = mends(diagnosis, layer, span);
        // Input weights that are too large for the units of a state are at fault, and not the recurrence.
        let by_weights = mends.and_then(|it| has_large_weights(diagnosis, layer, it).then_some(Cause::LargeWeights));
        let mut say = |cause, severity, text, because| {
            let finding = diagnosis.finding(cause, severity, layer, text, because);
            findings.push(Finding { decades: Some(total), ..finding.told_by(mends) });
        };
        let lengthens = state.weights().mean() > 0.1 && state.weights().mean() * span as f64 > lines.over_time[1];
        let bound = bound(diagnosis, layer).filter(|_| lengthens && gate.is_none());
        // If recurrent weights saturate the units, they and not the cell are the cause of a gradient that vanishes.
        let slope = libm::exp10(state.activation().mean());
        let is_saturated = bound.is_some_and(|bound| slope < lines.slope[0] * bound);
        let is_effect = is_saturated && diagnosis.span.is_none();
        if let Some(severity) = above(-total, lines.over_time).filter(|_| !is_effect) {
            let severity = of_span(diagnosis, severity, forgets_fast(diagnosis, layer, each));
            let severity = diagnosis.of_open_gate(layer, severity);
            let (cause, gate) = by_weights.map_or_else(|| forgets(diagnosis, layer), |cause| (cause, String::new()));
            say(cause, severity, format!("the gradient vanishes over time: {size}{gate}"), parts);
        } else if let Some(severity) = above(total, lines.over_time) {
            let cause = by_weights.unwrap_or(Cause::ExplodingRecurrence);
            say(cause, severity, format!("the gradient explodes over time: {size}"), parts);
        } else if is_saturated {
            let text = format!(
                "recurrent weights lengthen the state until its units saturate: {} decades by the weights over the {} \
                 of the span, of which φ′ leaves {}",
                signed(state.weights().mean() * span as f64),
                count(span, "step"),
                signed(total)
            );
            // The gradient itself is within the thresholds, so the finding is a warning only if the run is stuck.
            say(Cause::ExplodingRecurrence, of_span(diagnosis, Severity::Warning, true), text, parts);
        }
    }
}

/// Returns the bound of |φ′| of the recurrent layer if its units can saturate; `None` for a rectifier, and for a
/// custom cell, of which nothing is known.
fn bound(diagnosis: &Diagnosis<'_>, layer: &str) -> Option<f64> {
    let parts = diagnosis.spec.parts();
    let (_, part) = parts.iter().find(|(path, _)| path == layer)?;
    let LayerSpec::Recurrent { cell, .. } = part else { return None };
    let activation = cell.activation().filter(|activation| is_bounded(activation))?;
    activation.derivative_bounds().map(|bounds| bounds.magnitude())
}

/// Returns the intervention with which the gradient of the state of `layer`, a path, changes by fewer decades (log10)
/// over `span` time steps than the threshold of a warning. `None` if none was found.
fn mends<'a>(diagnosis: &'a Diagnosis<'_>, layer: &str, span: usize) -> Option<&'a Intervention> {
    let tried = diagnosis.experiments.as_ref()?.over_time.iter();
    let keeps = |tried: &&Intervention| (tried.after * span as f64).abs() < diagnosis.thresholds.over_time[0];
    tried.filter(|(name, _)| name == layer).map(|(_, tried)| tried).find(keeps)
}

/// Whether `tried`, a change that was tried, redraws the input weights of a layer, and makes them smaller.
fn has_large_weights(diagnosis: &Diagnosis<'_>, layer: &str, tried: &Intervention) -> bool {
    let redraws = matches!(tried.alteration, Alteration::CriticalLayer(_) | Alteration::CriticalLayers(_));
    redraws && diagnosis.experiments.as_ref().is_some_and(|it| it.large.iter().any(|large| large == layer))
}

/// A unit is reported if its sensitivity to the parameter that carries its state, divided by the gain of the state,
/// is above 10 to this power: a factor of a hundred, by convention. The gain is the size of the state over that of
/// the inputs.
const SENSITIVE: f64 = 2.0;
/// The largest number of units that a finding names; further units are counted.
const NAMED: usize = 8;

/// Reports units whose state is far more sensitive to the parameter that carries it than to the inputs of the layer.
pub(super) fn sensitive(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    for trajectory in &diagnosis.trajectories {
        let units = trajectory.units.iter().enumerate().filter(|(_, unit)| unit.decades() > SENSITIVE);
        let named: Vec<String> = units.clone().take(NAMED).map(|(unit, _)| format!("{unit}")).collect();
        let most = units.clone().map(|(_, unit)| unit.decades()).fold(0.0, f64::max);
        let (all, some) = (units.count(), named.len());
        if all == 0 {
            continue;
        }
        let rest = if all > some { format!(" and {} more", all - some) } else { String::new() };
        let text = format!(
            "the state of {} ({}{rest}) is far more sensitive to the parameter that carries it than to the inputs",
            count(all, "unit"),
            named.join(", ")
        );
        let because = format!(
            "along a sequence of the data its derivative with respect to that parameter is up to {} decades above the \
             gain of the state, its size over that of the inputs",
            signed(most)
        );
        let finding = diagnosis.finding(Cause::SensitiveMemory, Severity::Note, &trajectory.layer, text, because);
        findings.push(Finding { predicted: Some(most), ..finding });
    }
}
