//! Interventions: the gradient budget of the same network with one thing changed, on a copy.

mod change;
mod forecast;
mod passes;

pub(super) use change::{has_no_critical_point, residual_blocks, scaled_branches};
pub(super) use forecast::forecast;
pub(super) use passes::Experiments;

use super::Cause;
use alloc::{format, string::String, vec::Vec};
use core::fmt;

/// One thing that an intervention changes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum Alteration {
    /// The inputs are standardized to mean 0 and variance 1.
    StandardizedInputs,
    /// The weights of the layer at this path are redrawn at the critical gain of the activation that follows.
    CriticalLayer(String),
    /// The weights of all layers are redrawn at their critical gain.
    CriticalWeights,
    /// The gains of norms are set to 1, and their biases to 0.
    UnitGains,
    /// The biases of shut gates are set to 0.
    OpenGates,
    /// The branches of L residual layers are scaled by 1/√L.
    ScaledBranches,
    /// The activations without a critical point are replaced by tanh.
    ExchangedActivations,
    /// The recurrent matrices are redrawn as orthogonal matrices.
    OrthogonalRecurrence,
    /// The biases of the gates that carry the state are set so that the state is kept over the sequence.
    RememberingGates,
    /// Two alterations at once.
    Both(Vec<Alteration>),
}

impl Alteration {
    /// Returns the cause of a budget of `before` decades that the alteration repairs.
    fn cause(&self, before: f64) -> Cause {
        match self {
            Alteration::StandardizedInputs => Cause::UnscaledInput,
            Alteration::CriticalLayer(_) if before < 0.0 => Cause::Bottleneck,
            Alteration::CriticalWeights if before < 0.0 => Cause::SmallWeights,
            Alteration::CriticalLayer(_) | Alteration::CriticalWeights => Cause::LargeWeights,
            Alteration::UnitGains if before < 0.0 => Cause::Bottleneck,
            Alteration::UnitGains => Cause::LargeWeights,
            Alteration::OpenGates if before < 0.0 => Cause::ClosedInputGate,
            Alteration::OpenGates => Cause::ExplodingRecurrence,
            Alteration::ScaledBranches => Cause::LoudBranches,
            Alteration::ExchangedActivations => Cause::SaturatingActivation,
            Alteration::OrthogonalRecurrence if before < 0.0 => Cause::VanishingRecurrence,
            Alteration::OrthogonalRecurrence => Cause::ExplodingRecurrence,
            Alteration::RememberingGates => Cause::ClosedForgetGate,
            Alteration::Both(parts) => parts.last().map_or(Cause::NoCauseFound, |last| last.cause(before)),
        }
    }
}

/// Writes the changed thing, as the subject of a sentence.
impl fmt::Display for Alteration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Alteration::StandardizedInputs => f.write_str("standardized inputs"),
            Alteration::CriticalLayer(layer) => write!(f, "the weights of layer {layer} at their critical gain"),
            Alteration::CriticalWeights => f.write_str("all weights at their critical gain"),
            Alteration::UnitGains => f.write_str("the gains of norms at 1"),
            Alteration::OpenGates => f.write_str("shut gates half open"),
            Alteration::ScaledBranches => f.write_str("branches scaled by 1/√L"),
            Alteration::ExchangedActivations => f.write_str("tanh for activations without a critical point"),
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

/// The effect of one change on the gradient budget. The change is tried on a copy; the run is not changed.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Intervention {
    /// The change.
    pub alteration: Alteration,
    /// The decades without the change: from loss to first weights, or of one step back in time.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub before: f64,
    /// The decades with the change.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub after: f64,
    /// Whether `before` and `after` are the decades of one step back in time, not from loss to first weights.
    pub each_step: bool,
    /// Whether the decades were measured in passes of the network; otherwise theory predicts them from its description.
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

/// The outcome of all interventions on one budget.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    /// The smallest change that repairs the budget.
    pub mends: Option<Intervention>,
    /// The changes that do not repair the budget.
    pub ruled_out: Vec<Intervention>,
}

impl Verdict {
    /// Returns the verdict as one sentence.
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

/// Returns the budget after the given alterations; alterations of weights apply to the given layers. `None` if the
/// budget is unknown or nothing changes.
type BudgetOf<'a, E> = dyn FnMut(&[Alteration], &[String]) -> Result<Option<f64>, E> + 'a;

/// The fraction of the repaired decades that a single layer must account for.
const MOST: f64 = 0.7;

/// Tries changes from the smallest to the largest; the first whose budget lies within `lines` ends the search.
///
/// `budget` returns `None` for a change that does not apply to the network, or whose budget is unknown. If redrawing
/// all weights repairs the budget, a bisection looks for a single layer that does so, too. If no change repairs the
/// budget, pairs of the nearest five are tried.
fn search<E>(
    before: f64,
    measured: bool,
    [low, high]: [f64; 2],
    layers: &[String],
    budget: &mut BudgetOf<'_, E>,
) -> Result<Verdict, E> {
    let good = |after: f64| (low..high).contains(&after);
    let mut verdict = Verdict::default();
    let singles = [
        Alteration::StandardizedInputs,
        Alteration::CriticalWeights,
        Alteration::UnitGains,
        Alteration::OpenGates,
        Alteration::ScaledBranches,
        Alteration::ExchangedActivations,
    ];
    for alteration in singles {
        let Some(after) = budget(core::slice::from_ref(&alteration), layers)? else { continue };
        let tried = Intervention { alteration, before, after, each_step: false, measured };
        if !good(after) {
            verdict.ruled_out.push(tried);
            continue;
        }
        let single = match tried.alteration {
            Alteration::CriticalWeights => {
                // The part must have most of the effect of all weights. A part that only moves a budget across the
                // threshold does not count.
                let whole = after - before;
                let most = |part: f64| good(part) && (whole.is_infinite() || (part - before) / whole >= MOST);
                halves(&most, layers, budget)?
            }
            _ => None,
        };
        verdict.mends = Some(match single {
            Some((layer, after)) => Intervention { alteration: Alteration::CriticalLayer(layer), after, ..tried },
            None => tried,
        });
        return Ok(verdict);
    }
    let mut near = verdict.ruled_out.clone();
    let middle = 0.5 * (low + high);
    near.sort_by(|a, b| (a.after - middle).abs().total_cmp(&(b.after - middle).abs()));
    near.truncate(5);
    for (i, first) in near.iter().enumerate() {
        for second in &near[i + 1..] {
            let pair = [first.alteration.clone(), second.alteration.clone()];
            if let Some(after) = budget(&pair, layers)?.filter(|&after| good(after)) {
                let alteration = Alteration::Both(pair.into());
                verdict.mends = Some(Intervention { alteration, before, after, each_step: false, measured });
                return Ok(verdict);
            }
        }
    }
    Ok(verdict)
}

/// Returns the one layer whose weights alone repair the budget, by bisection of the layers; `None` if several are
/// needed.
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
            if let Some(after) = budget(&[Alteration::CriticalWeights], part)?.filter(|&after| good(after)) {
                half = Some((part, after));
                break;
            }
        }
        let Some((part, after)) = half else { return Ok(None) };
        (rest, found) = (part, Some(after));
    }
    Ok(rest.first().cloned().zip(found))
}
