//! Interventions: the gradient budget, the change of the gradient's norm from loss to first weights in decades
//! (log10), of the same network with one thing changed, on a copy.

mod bench;
mod change;
mod experiments;
mod forecast;
mod over_time;
mod redrawn;
mod tower;

use crate::{layer::LayerSpec, monitor::Factor};
pub(super) use change::{
    FLAT, has_no_critical_point, learned_scales, make_critical, residual_blocks, scaled_branches, twice, unit_slope,
};
use change::{changed_layers, has_slopes};
pub(super) use experiments::Experiments;
pub(super) use forecast::forecast;
pub(super) use redrawn::{Loud, Off, is_homogeneous, rectifies};
pub(super) use tower::{Tower, towers};

use super::{
    Cause,
    place::{LayerRange, MOST, Station, place, stretches},
    rules::layer_of,
};
use alloc::{format, string::String, vec::Vec};
use core::fmt;

/// One change of a network or of its inputs, whose effect on the gradient an [`Intervention`] measures or predicts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum Alteration {
    /// The inputs are standardized to mean 0 and variance 1.
    StandardizedInputs,
    /// The weights of the layer at this path are redrawn at the [critical gain](crate::initializer::CriticalGain) of
    /// the activation that follows, which keeps the norm of a gradient.
    CriticalLayer(String),
    /// The slopes of the [`PRelu`](crate::layer::PRelu) at this path are set to their usual value, 0.25.
    UsualSlopes(String),
    /// The weights of the layers in these ranges are redrawn at the critical gains of the activations that follow.
    CriticalLayers(Vec<LayerRange>),
    /// The weights of all layers are redrawn at the critical gain of the activation that follows, and the input
    /// weights of recurrent layers at the variance 1/inputs. The slopes of a [`PRelu`](crate::layer::PRelu) are set to
    /// 0.25.
    CriticalWeights,
    /// The gains of normalization layers are set to 1, and their biases to 0.
    UnitGains,
    /// The biases of the gates of this name that are nearly always shut are set to 0, so that these gates are half
    /// open. In a cell without an input gate, such as a GRU, the gate that carries the state counts as shut if it
    /// nearly always keeps the old state.
    OpenGate(String),
    /// The biases of all gates that are nearly always shut are set to 0, so that these gates are half open.
    OpenGates,
    /// The branches of L residual layers are scaled by 1/√L, if their scale is larger.
    ScaledBranches,
    /// The activations without a critical point, such as sigmoid, are replaced by tanh, except that of the outputs.
    ExchangedActivations,
    /// Dropout, recurrent dropout and zoneout are disabled.
    WithoutDropout,
    /// The recurrent matrices are redrawn as orthogonal matrices.
    OrthogonalRecurrence,
    /// The biases of the gates that carry the state are set so that a fraction 1/e of the state is left after the
    /// sequence.
    RememberingGates,
    /// Two alterations at once.
    Both(Vec<Alteration>),
}

impl Alteration {
    /// Returns the cause of a vanishing or exploding gradient that the alteration repairs; for `Both`, the cause that
    /// its second alteration repairs. `before` is log10 of the factor by which the gradient's norm changes without
    /// the alteration, negative if it vanishes.
    fn cause(&self, before: f64) -> Cause {
        match self {
            Alteration::StandardizedInputs => Cause::UnscaledInput,
            Alteration::CriticalLayer(_) | Alteration::UsualSlopes(_) if before < 0.0 => Cause::Bottleneck,
            Alteration::CriticalWeights | Alteration::CriticalLayers(_) if before < 0.0 => Cause::SmallWeights,
            Alteration::CriticalLayer(_)
            | Alteration::UsualSlopes(_)
            | Alteration::CriticalLayers(_)
            | Alteration::CriticalWeights => Cause::LargeWeights,
            Alteration::UnitGains if before < 0.0 => Cause::Bottleneck,
            Alteration::UnitGains => Cause::LargeWeights,
            Alteration::OpenGate(gate) if before < 0.0 && gate == "output" => Cause::ClosedOutputGate,
            Alteration::OpenGate(gate) if before < 0.0 && gate == "forget" => Cause::ClosedForgetGate,
            Alteration::OpenGate(_) | Alteration::OpenGates if before < 0.0 => Cause::ClosedInputGate,
            Alteration::OpenGate(_) | Alteration::OpenGates => Cause::ExplodingRecurrence,
            Alteration::ScaledBranches => Cause::LoudBranches,
            Alteration::ExchangedActivations => Cause::SaturatingActivation,
            Alteration::WithoutDropout => Cause::DropoutTooHeavy,
            Alteration::OrthogonalRecurrence if before < 0.0 => Cause::VanishingRecurrence,
            Alteration::OrthogonalRecurrence => Cause::ExplodingRecurrence,
            Alteration::RememberingGates => Cause::ClosedForgetGate,
            Alteration::Both(parts) => parts.last().map_or(Cause::NoCauseFound, |last| last.cause(before)),
        }
    }
}

/// Writes the changed part as a noun phrase: `all weights at their critical gain`.
impl fmt::Display for Alteration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Alteration::StandardizedInputs => f.write_str("standardized inputs"),
            Alteration::CriticalLayer(layer) => write!(f, "the weights of layer {layer} at their critical gain"),
            Alteration::UsualSlopes(layer) => write!(f, "the slopes of layer {layer} at their usual value"),
            Alteration::CriticalLayers(layers) => write!(f, "the weights of {} at their critical gain", place(layers)),
            Alteration::CriticalWeights => f.write_str("all weights at their critical gain"),
            Alteration::UnitGains => f.write_str("the gains of norms at 1"),
            Alteration::OpenGate(gate) => write!(f, "gate {gate} half open"),
            Alteration::OpenGates => f.write_str("shut gates half open"),
            Alteration::ScaledBranches => f.write_str("branches scaled by 1/√L"),
            Alteration::ExchangedActivations => f.write_str("tanh for activations without a critical point"),
            Alteration::WithoutDropout => f.write_str("all masks disabled"),
            Alteration::OrthogonalRecurrence => f.write_str("orthogonal recurrent matrices"),
            Alteration::RememberingGates => f.write_str("gates that keep the state over the sequence"),
            Alteration::Both(parts) => {
                for (i, part) in parts.iter().enumerate() {
                    write!(f, "{}{part}", if i > 0 { " and " } else { "" })?;
                }
                Ok(())
            }
        }
    }
}

/// The effect of one change of a network or its inputs on the gradient's norm. The change is tried on a copy; the run
/// is not changed.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Intervention {
    /// The change of the network or of its inputs.
    pub alteration: Alteration,
    /// The decades (powers of ten of the gradient's norm) without the change: from loss to first weights, or over one
    /// time step of the backward pass.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub before: f64,
    /// The decades (log10 change of the gradient's norm) with the change: from loss to first weights, or over one
    /// time step of the backward pass.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub after: f64,
    /// Whether `before` and `after` are the decades over one time step of the backward pass, instead of those from
    /// loss to first weights.
    pub each_step: bool,
    /// Whether the decades were measured in passes of the network; otherwise theory predicts them from its layer
    /// specification.
    pub measured: bool,
}

impl Intervention {
    pub(super) fn cause(&self) -> Cause {
        self.alteration.cause(self.before)
    }
}

/// Writes `with branches scaled by 1/√L: −0.1 instead of +5.1 decades (measured)`.
impl fmt::Display for Intervention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = if self.measured { "measured" } else { "by theory" };
        let (digits, each) = if self.each_step { (3, " a step back in time") } else { (1, "") };
        let [before, after] = [self.before, self.after].map(|decades| super::figures::figure(decades, digits));
        write!(f, "with {}: {after} instead of {before} decades{each} ({source})", self.alteration)
    }
}

/// The outcome of all interventions on one budget, the decades (log10 change of the gradient's norm) from loss to
/// first weights.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    /// The smallest change of those tried after which the gradient neither vanishes nor explodes, by the thresholds;
    /// `None` if there is none.
    pub mends: Option<Intervention>,
    /// The layers at fault: those that cause most of the change of the gradient's norm that the repairing change
    /// removes. For a repair by a pair of changes, the layers of the second one. Empty if they are not known.
    pub layers: Vec<LayerRange>,
    /// For a repair by a pair of changes, the layers that cause most of the change of the gradient's norm that the
    /// first one removes; otherwise empty.
    pub layers_of_first: Vec<LayerRange>,
    /// Whether `mends` redraws weights, and the redrawn ones are smaller.
    pub shrinks: bool,
    /// The changes that were tried and after which the gradient still vanishes or explodes.
    pub ruled_out: Vec<Intervention>,
}

impl Verdict {
    /// Returns, as one sentence, the change that repairs the gradient, or the changes that were ruled out.
    pub fn sentence(&self) -> String {
        match (&self.mends, &self.ruled_out[..]) {
            (Some(mends), _) => format!("{mends}"),
            (None, []) => String::from("nothing was tried"),
            (None, ruled_out) => {
                let list: Vec<String> = ruled_out.iter().map(|tried| format!("{tried}")).collect();
                format!("ruled out: {}", list.join("; "))
            }
        }
    }
}

/// The budget of one pass, or of one prediction: the decades (powers of ten) by which the gradient's norm changes from
/// loss to first weights.
#[derive(Clone, Debug, Default)]
pub(super) struct Budget {
    /// The decades (log10) by which the gradient's norm changes from loss to first weights.
    pub total: f64,
    /// The factors of the chain rule on the main path, in the order of the forward pass. Each has the path of its
    /// link, its kind, and its decades (log10 of its effect on the gradient's norm).
    pub links: Vec<(String, Factor, f64)>,
}

/// A function that returns the budget, the decades (log10 change of the gradient's norm) from loss to first weights,
/// after the given alterations. Alterations of weights apply to the layers of the given paths. `None` if the budget
/// is unknown or nothing changes.
type BudgetOf<'a, E> = dyn FnMut(&[Alteration], &[String]) -> Result<Option<Budget>, E> + 'a;

/// Tries changes from the smallest to the largest. A change repairs the budget, the decades (log10) from loss to
/// first weights, if it brings the budget between `low` and `high` and has most of the effect of the best change. The
/// first such change is returned.
///
/// `budget` returns `None` for a change that does not apply to the network, or whose budget is unknown. The search
/// ends early at a change with most of the largest possible effect, that of a budget midway between `low` and `high`.
/// If redrawing all weights repairs the budget, a bisection looks for a single layer whose redrawn weights do so,
/// too. If there is no such layer, the difference of the budgets before and after shows which layers have the fault.
/// If no single change repairs the budget, it tries pairs of the five changes whose budgets are nearest to the middle
/// of `low` and `high`. `layers` are the paths of the layers that may be redrawn, `gates` the names of gates that are
/// nearly always shut, and `budget_before` is the budget without a change. `measured` states whether budgets are
/// measured or predicted.
fn search<E>(
    network: &LayerSpec,
    layers: &[String],
    gates: &[&str],
    budget_before: &Budget,
    measured: bool,
    [low, high]: [f64; 2],
    budget: &mut BudgetOf<'_, E>,
) -> Result<Verdict, E> {
    let before = budget_before.total;
    let good = |after: f64| (low..high).contains(&after);
    let off = |decades: f64| (decades - 0.5 * (low + high)).abs();
    let effect = |tried: &Intervention| off(before) - off(tried.after);
    let mut singles: Vec<(Intervention, Budget)> = Vec::new();
    let each_gate = gates.iter().map(|&gate| Alteration::OpenGate(gate.into()));
    let all_gates = (gates.len() > 1).then_some(Alteration::OpenGates);
    let all = [Alteration::StandardizedInputs, Alteration::CriticalWeights, Alteration::UnitGains].into_iter();
    let all = all.chain(each_gate).chain(all_gates);
    let all = all.chain([Alteration::ScaledBranches, Alteration::ExchangedActivations, Alteration::WithoutDropout]);
    for alteration in all {
        let Some(after) = budget(core::slice::from_ref(&alteration), layers)? else { continue };
        let tried = Intervention { alteration, before, after: after.total, each_step: false, measured };
        let is_enough = good(tried.after) && (before.is_infinite() || effect(&tried) >= MOST * off(before));
        singles.push((tried, after));
        if is_enough {
            break;
        }
    }
    let best = singles.iter().map(|(tried, _)| tried).filter(|it| good(it.after)).map(effect).fold(0.0, f64::max);
    let repairs = |tried: &Intervention| good(tried.after) && (before.is_infinite() || effect(tried) >= MOST * best);
    let mut verdict = Verdict::default();
    if let Some((tried, after)) = singles.iter().find(|(tried, _)| repairs(tried)) {
        let stations = differences(network, &tried.alteration, budget_before, after);
        verdict.layers = stretches(&stations);
        verdict.mends = Some(tried.clone());
        if tried.alteration == Alteration::CriticalWeights {
            // Redrawing some layers must have most of the effect of redrawing all. A change that only moves a budget
            // across the threshold does not count.
            let whole = tried.after - before;
            let most = |part: f64| good(part) && (whole.is_infinite() || (part - before) / whole >= MOST);
            if let Some((layer, after)) = halves(&most, layers, budget)? {
                verdict.layers = LayerRange::single(&layer);
                let alteration = match has_slopes(network, &layer) {
                    true => Alteration::UsualSlopes(layer),
                    false => Alteration::CriticalLayer(layer),
                };
                verdict.mends = Some(Intervention { alteration, after, ..tried.clone() });
                return Ok(verdict);
            }
            // A range over all layers was tried already.
            let all: Vec<String> = stations.into_iter().map(|station| station.layer).collect();
            if (1..all.len()).contains(&within(&verdict.layers, &all).len()) {
                let part = within(&verdict.layers, layers);
                if let Some(after) = budget(&[Alteration::CriticalWeights], &part)?.filter(|after| most(after.total)) {
                    let alteration = Alteration::CriticalLayers(verdict.layers.clone());
                    verdict.mends = Some(Intervention { alteration, after: after.total, ..tried.clone() });
                    return Ok(verdict);
                }
                verdict.layers = LayerRange::over(&all);
            }
        }
        return Ok(verdict);
    }
    verdict.ruled_out = singles.iter().map(|(tried, _)| tried.clone()).collect();
    singles.sort_by(|(a, _), (b, _)| off(a.after).total_cmp(&off(b.after)));
    singles.truncate(5);
    for (i, (first, with_first)) in singles.iter().enumerate() {
        for (second, with_second) in &singles[i + 1..] {
            let pair = [first.alteration.clone(), second.alteration.clone()];
            if let Some(after) = budget(&pair, layers)?.filter(|after| good(after.total)) {
                // The effect of each change is measured with the other change made.
                let of = |change: &Intervention, other| {
                    let found = stretches(&differences(network, &change.alteration, other, &after));
                    let changed = || LayerRange::over(&changed_layers(network, &change.alteration));
                    if found.is_empty() { changed() } else { found }
                };
                (verdict.layers_of_first, verdict.layers) = (of(first, with_second), of(second, with_first));
                let alteration = Alteration::Both(pair.into());
                verdict.mends =
                    Some(Intervention { alteration, before, after: after.total, each_step: false, measured });
                return Ok(verdict);
            }
        }
    }
    Ok(verdict)
}

/// Returns, for each layer that an alteration changes, the decades (log10 change of the gradient's norm) that it
/// repairs: those of `before` minus those of `after`. A link (factor of the chain rule) of an unchanged layer counts
/// to the changed layer before it in the forward pass.
fn differences(network: &LayerSpec, alteration: &Alteration, before: &Budget, after: &Budget) -> Vec<Station> {
    let changed = changed_layers(network, alteration);
    let mut found: Vec<Station> = Vec::new();
    for (link, factor, decades) in &before.links {
        let same = after.links.iter().find(|(name, of, _)| name == link && of == factor);
        let (Some((.., repaired)), path) = (same, layer_of(link)) else { continue };
        let has =
            |layer: &String| layer.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        if changed.iter().any(has) && found.last().is_none_or(|station| station.layer != path) {
            found.push(Station::new(path, 0.0));
        }
        if let Some(station) = found.last_mut().filter(|_| decades != repaired) {
            station.decades += decades - repaired;
        }
    }
    found
}

/// Returns the paths in `layers` that lie within one of the ranges.
fn within(ranges: &[LayerRange], layers: &[String]) -> Vec<String> {
    let place = |path: &String| path.split('.').filter_map(|part| part.parse().ok()).collect::<Vec<usize>>();
    let inside = |layer: &&String| {
        ranges.iter().any(|range| {
            let below = layer.strip_prefix(&*range.last).is_some_and(|rest| rest.starts_with('.'));
            place(layer) >= place(&range.first) && (place(layer) <= place(&range.last) || below)
        })
    };
    layers.iter().filter(inside).cloned().collect()
}

/// Returns, by bisection, the one of `layers` whose redrawn weights alone repair the gradient, and the decades (log10
/// change of its norm from loss to first weights) after this change. `good` states whether given decades count as
/// repaired. `None` if several layers are needed.
fn halves<E>(
    good: &dyn Fn(f64) -> bool,
    layers: &[String],
    budget: &mut BudgetOf<'_, E>,
) -> Result<Option<(String, f64)>, E> {
    let mut rest = layers;
    let mut found = None;
    while rest.len() > 1 {
        let (first, second) = rest.split_at(rest.len() / 2);
        let mut half = None;
        for part in [first, second] {
            if let Some(after) = budget(&[Alteration::CriticalWeights], part)?.filter(|after| good(after.total)) {
                half = Some((part, after.total));
                break;
            }
        }
        let Some((part, after)) = half else { return Ok(None) };
        (rest, found) = (part, Some(after));
    }
    Ok(rest.first().cloned().zip(found))
}
