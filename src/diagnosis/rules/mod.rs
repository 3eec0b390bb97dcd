//! The rules of a diagnosis: each reads the measurements and predictions, and adds its findings.

mod angles;
mod biases;
mod climb;
mod data;
mod depth;
mod edge;
mod first;
mod format;
mod gates;
mod held;
mod links;
mod made_up;
mod order;
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
pub(super) use first::SMALLER_EPSILON;
pub(super) use gates::by_biases;
use order::left_behind;
pub(super) use order::{begin, merge, of_first_parameters, order, temper};

use super::{Alteration, Cause, Diagnosis, Finding, Intervention, Severity, place::LayerRange};
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
    held::held,
    biases::biases,
    gates::shut,
    units::dead,
    first::off,
    first::loud,
    first::loaded,
    first::loaded_outputs,
    first::norms,
    first::table,
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

/// Returns the severity of a value: `None` up to `lines[0]`, a warning up to `lines[1]`, critical above `lines[1]`.
fn above(value: f64, lines: [f64; 2]) -> Option<Severity> {
    match value {
        _ if value > lines[1] => Some(Severity::Critical),
        _ if value > lines[0] => Some(Severity::Warning),
        _ => None,
    }
}

/// Returns the path of the layer that a link (factor of the chain rule) belongs to, for example `0` for the link
/// `0.input`, and `3` for `3.scale`.
pub(super) fn layer_of(link: &str) -> &str {
    link.strip_suffix(".input").or_else(|| link.strip_suffix(".scale")).unwrap_or(link)
}

/// Returns the path of the layer that a parameter block belongs to, for example `0` for the block `0.weight`.
pub(super) fn layer_of_block(block: &str) -> &str {
    block.rsplit_once('.').map_or("", |(layer, _)| layer)
}

impl Diagnosis<'_> {
    /// Whether the network or the run shows harm: the gradient vanishes or explodes from loss to first weights, or
    /// the run diverged, or its loss has risen again. A run that is [stuck](Self::is_stuck) shows harm, too, unless
    /// its loss is falling or its parameters have hardly moved.
    pub(super) fn is_harmed(&self) -> bool {
        let lines = &self.thresholds;
        let sound = lines.vanishing[0]..lines.exploding[0];
        let budget = self.measured().or(self.prediction.decades_to_first_weights());
        let run = self.statistics.map(|statistics| statistics.run()).filter(|run| run.updates() > 0);
        let fell_ill = run.is_some_and(|run| self.has_relapsed() || steps::diverges(self, run));
        let stands = self.is_stuck() && !self.has_hardly_moved() && run.is_none_or(|run| !self.falls(run));
        stands || fell_ill || budget.is_some_and(|budget| !sound.contains(&budget))
    }

    /// Whether the run has updates and learned nothing: it is [stuck](Self::is_stuck), or diverged.
    pub(super) fn is_held_up(&self) -> bool {
        let run = self.statistics.map(|statistics| statistics.run()).filter(|run| run.updates() > 0);
        run.is_some_and(|run| self.is_stuck() || steps::diverges(self, run))
    }

    /// Whether the run has updates and enough losses to be judged, and has neither a loss that has clearly fallen nor
    /// outputs near their targets.
    pub(super) fn stays_up(&self) -> bool {
        let is_run = self.statistics.is_some_and(|statistics| statistics.run().updates() > 0);
        is_run && self.has_patience() && !self.has_fallen() && !self.has_fitted()
    }

    /// Whether a permutation test found no dependence of the targets on the inputs. False without a test.
    fn has_no_information(&self) -> bool {
        let p = self.task.as_ref().and_then(|task| task.independent);
        p.is_some_and(|p| p > self.thresholds.independent)
    }

    /// Returns the index, from 0, of the last monitored pass. `None` before training, and if the statistics are those
    /// of the single pass that interventions start from, which belongs to no run.
    fn now(&self) -> Option<u64> {
        self.seen_at(self.statistics?.run().passes().saturating_sub(1))
    }

    /// Returns `pass`, the index of a monitored pass; `None` if the statistics are those of the single pass that
    /// interventions start from, which belongs to no run.
    fn seen_at(&self, pass: u64) -> Option<u64> {
        (!self.is_examined_alone).then_some(pass)
    }

    /// Returns the measured change of the gradient's norm from loss to first weights, in decades (log10): the mean
    /// over passes, or −∞ if the gradient of the last pass became 0. `None` without measurements.
    pub(super) fn measured(&self) -> Option<f64> {
        let decades = self.statistics?.run().decades();
        match decades.last() {
            ended if ended == f64::NEG_INFINITY => Some(ended),
            _ => (decades.count() > 0).then(|| decades.mean()),
        }
    }

    /// If the gradient became 0, returns the measured intervention (one change of the network or its inputs) after
    /// which it reaches the first weights again; `None` if there is none.
    fn mends_an_end(&self) -> Option<&Intervention> {
        let experiments = self.experiments.as_ref()?;
        experiments.verdict.mends.as_ref().filter(|_| experiments.before == f64::NEG_INFINITY)
    }

    /// Returns the measured intervention, a change of weights, after which the gradient neither vanishes nor explodes
    /// from loss to first weights; `None` if there is none.
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

    /// Creates a finding about the layer at the path `layer`, or about all of the network if it is empty. `text` is
    /// the sentence that describes the fault, and `because` its evidence.
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
            of_first_parameters: false,
            schedule: None,
            behind: None,
        }
    }
}

impl Finding {
    /// Sets the layers of the fault, and `layer` to the first layer in these ranges. Without ranges the finding stays
    /// as it is.
    fn in_layers(self, layers: Vec<LayerRange>) -> Finding {
        let Some(first) = layers.first() else { return self };
        Finding { layer: first.first.clone(), layers, ..self }
    }

    /// Adds `intervention` to the finding, and puts its effect before the evidence in `because`. Without an
    /// intervention the finding stays as it is.
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
