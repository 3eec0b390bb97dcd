//! The rules of a diagnosis: each reads the measurements and predictions, and adds its findings.

mod angles;
mod climb;
mod data;
mod depth;
mod edge;
mod first;
mod format;
mod gates;
mod links;
mod progress;
mod short;
mod steps;
mod still;
mod task;
mod time;
mod tower;
mod units;
mod zeros;

pub(super) use depth::{counted, uncounted};
pub(super) use gates::by_biases;

use super::{Alteration, Cause, Diagnosis, Finding, Intervention, Severity, place::LayerRange};
use crate::monitor::RunStatistics;
use alloc::{format, string::String, vec::Vec};

/// A rule: adds its findings to those of earlier rules.
type Rule = fn(&Diagnosis<'_>, &mut Vec<Finding>);

/// All rules in order. A rule can read the findings of earlier rules.
pub(super) const ALL: &[Rule] = &[
    format::not_finite,
    zeros::zeros,
    units::duplicated,
    data::input,
    data::targets,
    task::outliers,
    task::identical,
    task::squashed,
    task::unbounded,
    task::decay,
    gates::shut,
    units::dead,
    first::off,
    first::loud,
    first::loaded,
    units::saturated,
    time::over_time,
    time::sensitive,
    depth::over_depth,
    tower::towers_over_depth,
    angles::angles,
    steps::long,
    edge::unstable,
    steps::cliff,
    steps::clipping,
    still::frozen,
    still::slow,
    format::subnormal,
    task::unmixed,
    task::dropout,
    data::columns,
    short::short,
    climb::climb,
    climb::idle,
    task::information,
];

/// Lowers the severity of findings if the loss falls: by one degree, or by two where it
/// [fell](super::Thresholds::fallen) far from its [start](Diagnosis::start). Findings that are certain, or harmful
/// although the loss falls, keep their severity; so do all if the loss has risen again.
pub(super) fn temper(diagnosis: &Diagnosis<'_>, findings: &mut [Finding]) {
    let run = diagnosis.statistics.map(|statistics| statistics.run());
    let rises = |run: &&RunStatistics| diagnosis.has_relapsed() || steps::diverges(diagnosis, run);
    // Of a loss without its data and targets nothing is known: that of a game or of a critic may rise by design.
    let is_bare = diagnosis.task.is_none() && run.is_some_and(|run| run.non_finite().is_none() && run.updates() > 0);
    // A measured curvature is evidence of a rate by itself.
    let is_measured = |cause| {
        matches!(cause, Cause::LearningRateTooHigh | Cause::LearningRateTooLow) && edge::measured(diagnosis).is_some()
    };
    let rests = |it: &&mut Finding| !it.is_proof && rests_on_loss(it.cause) && !is_measured(it.cause);
    for finding in findings.iter_mut().filter(|it| is_bare && rests(it)) {
        finding.severity = finding.severity.min(Severity::Warning);
    }
    let Some(run) = run.filter(|run| diagnosis.has_fallen() && !rises(run)) else { return };
    let [_, far] = diagnosis.thresholds.fallen;
    let far = diagnosis.start().is_some_and(|start| run.recent_loss().mean() < diagnosis.part(start, far));
    // A loss can fall while single samples, or equal ones, spoil the rest of it.
    let weighs = |cause| is_tempered(cause) && (far || cause != Cause::BadData);
    for finding in findings.iter_mut().filter(|finding| !finding.is_proof && weighs(finding.cause)) {
        finding.severity = match finding.severity {
            Severity::Critical if !far => Severity::Warning,
            _ => Severity::Note,
        };
    }
}

/// Whether the course of the loss is most of the evidence for the cause.
fn rests_on_loss(cause: Cause) -> bool {
    use Cause::*;
    matches!(cause, LearningRateTooHigh | LearningRateTooLow | CollapsedRepresentation | UnscaledTarget | Cliff)
}

/// Whether a falling loss is evidence against the cause.
fn is_tempered(cause: Cause) -> bool {
    use Cause::*;
    !matches!(cause, UnmixedBatches | Overflow | NotANumber | Cliff)
}

/// Sorts the findings, likeliest root cause first and notes last: causes before their effects, then by decreasing
/// severity.
pub(super) fn order(diagnosis: &Diagnosis<'_>, findings: &mut [Finding]) {
    let has = |cause| findings.iter().any(|finding| finding.cause == cause && finding.severity > Severity::Note);
    let long = has(Cause::LearningRateTooHigh);
    let (grows, shrinks) = (has(Cause::ExplodingRecurrence), has(Cause::DecayTooStrong));
    // What too long steps left behind in the parameters is no cause of them. Gates, and gradients over time, may have
    // been at fault before, beside a sound budget over depth.
    let overgrown = long && steps::overgrown(diagnosis).is_some();
    let exploded_at_first = steps::exploded_at_first(diagnosis).is_some()
        && findings.iter().any(|it| it.severity > Severity::Note && of_parameters(it.cause));
    let made_by_steps = (long || has(Cause::UnmixedBatches)) && steps::began_sound(diagnosis);
    // Weights that were large before the first step are no effect of steps.
    let is_loud = |it: &Finding| {
        let began = it.cause == Cause::LargeWeights && it.since == Some(0) && it.predicted == Some(0.0);
        began && it.decades >= Some(first::LOADED)
    };
    let loud = findings.iter().any(|it| is_loud(it) && it.severity > Severity::Note);
    let scale = diagnosis.thresholds.small_input[0]..diagnosis.thresholds.input[0];
    let scaled = diagnosis.statistics.is_some_and(|statistics| scale.contains(&statistics.run().input().mean()));
    let unscaled = has(Cause::UnscaledInput) && !(made_by_steps && scaled);
    // What came with training from a sound first pass is the wreck of something else, wherever that was found.
    let is_wreck = |it: &Finding| left_behind(diagnosis, it) && !is_loud(it) && !climb::is_climb(it);
    let is_root = |it: &&Finding| it.severity > Severity::Note && !is_wreck(it) && it.cause != Cause::Overflow;
    let has_root = findings.iter().any(|it| is_root(&it));
    let made = |cause| {
        use Cause::*;
        match cause {
            cause if of_parameters(cause) => made_by_steps,
            UnscaledInput => made_by_steps && scaled,
            VanishingRecurrence | ExplodingRecurrence | ClosedForgetGate | ClosedInputGate | ClosedOutputGate => {
                overgrown
            }
            _ => false,
        }
    };
    // The root of a run whose parameters are still the initial ones is what kept its updates small.
    let unmoved = diagnosis.has_hardly_moved();
    let rank = |finding: &Finding| -> u8 {
        let made_by_another = match finding.cause {
            Cause::Overflow => long || unscaled || grows || loud,
            Cause::DeadUnits => unscaled,
            Cause::LearningRateTooHigh => unscaled || exploded_at_first || loud,
            Cause::LargeWeights => unscaled || long && !exploded_at_first && !is_loud(finding),
            Cause::Cliff => long || grows || loud,
            Cause::SmallWeights | Cause::Bottleneck | Cause::UnscaledInput => shrinks && finding.came_with_training(),
            // The weights became large by an update, not by the initializer.
            Cause::ExplodingRecurrence => long && finding.came_with_training(),
            _ => false,
        };
        let first = match finding.cause {
            Cause::LearningRateTooLow | Cause::ClipThresholdTooLow | Cause::FrozenBlock if unmoved => 0,
            Cause::BadData | Cause::NotANumber | Cause::ConstantWeights | Cause::DuplicatedUnits => 0,
            Cause::SquashedOutputs | Cause::UnboundedLoss | Cause::DecayTooStrong => 1,
            Cause::UnscaledTarget | Cause::ClosedInputGate | Cause::ClosedOutputGate => 1,
            Cause::UnscaledInput | Cause::ExplodingRecurrence => 1,
            Cause::Overflow => 2,
            Cause::DeadUnits | Cause::Bottleneck => 3,
            _ => 4,
        };
        let is_effect = made(finding.cause) && !is_loud(finding) || has_root && is_wreck(finding);
        if made_by_another || is_effect { 9 } else { first }
    };
    findings.sort_by_key(|finding| {
        (finding.severity == Severity::Note, rank(finding), core::cmp::Reverse(finding.severity))
    });
}

/// Whether a finding is about a state of the parameters that came with training, from a first pass whose budget was
/// sound: an effect of what the training did.
fn left_behind(diagnosis: &Diagnosis<'_>, finding: &Finding) -> bool {
    of_parameters(finding.cause) && finding.came_with_training() && steps::began_sound(diagnosis)
}

/// Whether the fault is one of the parameters, which training may have left behind.
fn of_parameters(cause: Cause) -> bool {
    use Cause::*;
    matches!(
        cause,
        SaturatingActivation
            | SmallWeights
            | LargeWeights
            | Bottleneck
            | DeadUnits
            | LoudBranches
            | NoCauseFound
            | CollapsedRepresentation
    )
}

/// Returns the severity of a value: none up to `lines[0]`, a warning up to `lines[1]`, critical above.
fn above(value: f64, lines: [f64; 2]) -> Option<Severity> {
    match value {
        _ if value > lines[1] => Some(Severity::Critical),
        _ if value > lines[0] => Some(Severity::Warning),
        _ => None,
    }
}

/// Returns the path of the layer that a link (factor of the chain rule) belongs to: `0` of `0.input`, `3` of `3.scale`.
pub(super) fn layer_of(link: &str) -> &str {
    link.strip_suffix(".input").or_else(|| link.strip_suffix(".scale")).unwrap_or(link)
}

/// Returns the path of the layer that a block belongs to: `0` of `0.weight`.
pub(super) fn layer_of_block(block: &str) -> &str {
    block.rsplit_once('.').map_or("", |(layer, _)| layer)
}

impl Diagnosis<'_> {
    /// Whether a consequence of a finding is seen: the run is held up and does not fall, diverged, has risen again, or
    /// the budget is outside the thresholds.
    pub(super) fn is_harmed(&self) -> bool {
        let lines = &self.thresholds;
        let sound = lines.vanishing[0]..lines.exploding[0];
        let budget = self.measured().or(self.prediction.decades_to_first_weights());
        let run = self.statistics.map(|statistics| statistics.run()).filter(|run| run.updates() > 0);
        let fell_ill = run.is_some_and(|run| self.has_relapsed() || steps::diverges(self, run));
        let stands = self.is_stuck() && !self.has_hardly_moved() && run.is_none_or(|run| !self.falls(run));
        stands || fell_ill || budget.is_some_and(|budget| !sound.contains(&budget))
    }

    /// Whether the targets may not depend on the inputs, as far as a permutation test shows.
    fn has_no_information(&self) -> bool {
        let p = self.task.as_ref().and_then(|task| task.independent);
        p.is_some_and(|p| p > self.thresholds.independent)
    }

    /// Returns the index, from 0, of the last monitored pass; `None` before training, and for the pass of the
    /// interventions.
    fn now(&self) -> Option<u64> {
        self.seen_at(self.statistics?.run().passes().saturating_sub(1))
    }

    /// Returns the index of a monitored pass; `None` for the pass of the interventions, which no run has.
    fn seen_at(&self, pass: u64) -> Option<u64> {
        (!self.is_examined_alone).then_some(pass)
    }

    /// Returns the measured decades from loss to first weights: the mean, or −∞ if the gradient of the last pass
    /// became 0. `None` without measurements.
    pub(super) fn measured(&self) -> Option<f64> {
        let decades = self.statistics?.run().decades();
        match decades.last() {
            ended if ended == f64::NEG_INFINITY => Some(ended),
            _ => (decades.count() > 0).then(|| decades.mean()),
        }
    }

    /// Returns the measured intervention after which a gradient that became 0 reaches the first weights again; `None`
    /// if there is none.
    fn mends_an_end(&self) -> Option<&Intervention> {
        let experiments = self.experiments.as_ref()?;
        experiments.verdict.mends.as_ref().filter(|_| experiments.before == f64::NEG_INFINITY)
    }

    /// Returns the measured intervention on weights that brings the decades from loss to first weights between the
    /// thresholds; `None` if there is none.
    fn mends_weights(&self) -> Option<&Intervention> {
        let weighs = |it: &&Intervention| {
            matches!(
                it.alteration,
                Alteration::CriticalWeights
                    | Alteration::CriticalLayer(_)
                    | Alteration::UsualSlopes(_)
                    | Alteration::CriticalLayers(_)
            )
        };
        self.experiments.as_ref()?.verdict.mends.as_ref().filter(weighs)
    }

    /// Creates a finding about the layer at the path `layer`, empty for all of the network. `text` is the sentence that
    /// describes the fault, and `because` its evidence.
    fn finding(&self, cause: Cause, severity: Severity, layer: &str, text: String, because: String) -> Finding {
        Finding {
            cause,
            severity,
            layer: layer.into(),
            layers: LayerRange::single(layer),
            since: self.now(),
            decades: None,
            predicted: None,
            text,
            because,
            sample: None,
            samples: Vec::new(),
            intervention: None,
            refuted_by: refuted_by(cause),
            fix: cause.fix().into(),
            is_proof: false,
            needs_restart: false,
            schedule: None,
            behind: None,
        }
    }
}

impl Finding {
    /// Sets the layers of the fault, and `layer` to the first of them. Without ranges the finding stays as it is.
    fn in_layers(self, layers: Vec<LayerRange>) -> Finding {
        let Some(first) = layers.first() else { return self };
        Finding { layer: first.first.clone(), layers, ..self }
    }

    /// Adds an intervention, if one is given, to the finding, and its effect to `because`, before the evidence.
    fn told_by(self, intervention: Option<&Intervention>) -> Finding {
        let Some(intervention) = intervention else { return self };
        let because = format!("{intervention}; {}", self.because);
        Finding { because, intervention: Some(intervention.clone()), ..self }
    }
}

/// Returns an observation that would refute a finding of this cause.
const fn refuted_by(cause: Cause) -> &'static str {
    match cause {
        Cause::SaturatingActivation => "a gradient that vanishes as much with tanh in place of the activation",
        Cause::SmallWeights | Cause::LargeWeights | Cause::Bottleneck => {
            "a gradient that changes as much with these weights at their critical gain"
        }
        Cause::ConstantWeights | Cause::DuplicatedUnits => "two of these units that differ after some steps",
        Cause::DeadUnits => "a sample of the data for which one of these units is not 0",
        Cause::UnscaledInput => "the same course of the loss on standardized inputs",
        Cause::VanishingRecurrence => "a loss that falls although its answer lies as many steps back",
        Cause::ExplodingRecurrence => "a gradient of the state that does not grow from the last step to the first",
        Cause::ClosedForgetGate => "a gradient of the state that shrinks as much with this gate kept open",
        Cause::LearningRateTooHigh => "a loss that falls no faster with a tenth of the learning rate",
        Cause::Cliff => "jumps of the gradient that leave the loss where it was",
        Cause::ClipThresholdTooLow => "a loss that falls no faster without clipping",
        Cause::Overflow => "the same outcome in a format of larger range",
        Cause::NotANumber => "a finite result of this operation for these inputs",
        Cause::FrozenBlock => "a step that moves the block",
        Cause::CollapsedRepresentation => "pre-activations of different samples that are far from parallel",
        Cause::Underflow => "as many values lost in a format of larger range",
        Cause::BadData => "a finite value in that row and column",
        Cause::UnscaledTarget => "the same course of the loss on standardized targets",
        Cause::LoudBranches => "a gradient that grows as much with branches scaled by 1/√L",
        Cause::ClosedInputGate | Cause::ClosedOutputGate => "a loss that falls no faster with this gate half open",
        Cause::LearningRateTooLow => "a loss that falls no faster with ten times the learning rate",
        Cause::SensitiveMemory => "a gradient of these parameters that is no larger than that of others",
        Cause::DecayTooStrong => "a loss that falls no faster without weight decay",
        Cause::DropoutTooHeavy => "a loss that falls no faster with dropout, recurrent dropout and zoneout disabled",
        Cause::SquashedOutputs => "a loss below that bound",
        Cause::UnboundedLoss => "constant outputs at which the loss is lowest",
        Cause::UnmixedBatches => "the same course of the loss on samples in random order",
        Cause::NoInformation => "a network that predicts targets of samples that it was not trained on",
        Cause::NoCauseFound => "one change that brings the gradient between the thresholds",
    }
}
