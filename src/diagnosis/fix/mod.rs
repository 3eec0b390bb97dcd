//! Fixes for a finding, one strategy per file: its causes, its predicted budget, and its application.

mod apply;
mod behind;
mod branches;
mod clip;
mod context;
mod critical;
mod exchange;
mod fixed;
mod forget;
mod gates;
mod hold_rate;
mod layer_norm;
mod leave_out;
mod lighter_dropout;
mod log_probabilities;
mod longer_schedule;
mod longer_step;
mod lsuv;
mod mix;
mod open_gate;
mod orthogonal;
mod peak;
mod redraw;
mod residual;
mod rewrite;
mod seeds;
mod shorter_step;
mod standardize;
mod starts;
mod strategy;
mod survivors;
mod targets;
mod train_block;
mod training;
mod trial;
mod trial_report;
mod unsquash;
mod without_decay;

pub use apply::{AppliedTrial, FixedRun};
pub use behind::Behind;
pub(super) use behind::is_seen_within;
pub use branches::ScaleBranches;
pub use clip::ClipAtTypicalNorm;
pub use context::FixContext;
pub use critical::CriticalInitialization;
pub use exchange::{ExchangeActivation, shaped_slope};
pub use fixed::{FixedNetwork, FixedTrainer};
pub use forget::ForgetBias;
pub use gates::GatesInsteadOfTanh;
pub use hold_rate::HoldRate;
pub use layer_norm::NormalizeLayers;
pub use leave_out::LeaveOut;
pub use lighter_dropout::LighterDropout;
pub use log_probabilities::LogProbabilities;
pub use longer_schedule::LongerSchedule;
pub use longer_step::LongerStep;
pub use lsuv::Lsuv;
pub use mix::MixBatches;
pub use open_gate::OpenGate;
pub use orthogonal::OrthogonalRecurrence;
pub use redraw::Redraw;
pub use residual::ResidualBranches;
pub(super) use rewrite::rewrite;
pub use shorter_step::ShorterStep;
pub use strategy::FixStrategy;
pub use survivors::{Survivor, survivors, transplant};
pub use targets::StandardizeTargets;
pub use train_block::TrainBlock;
pub use trial::Trial;
pub use trial_report::{TrialOutcome, TrialReport};
pub use unsquash::UnsquashOutputs;
pub use without_decay::WithoutDecay;

use super::{Cause, figures::figure};
use crate::{dataset::Standardize, error::Error, layer::LayerSpec};
use alloc::{boxed::Box, string::String, vec::Vec};
use core::fmt;

/// The part of a setup that a fix changes, in order of increasing effort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effort {
    /// The initial values of parameters.
    Initialization,
    /// The training procedure or its data.
    Training,
    /// The activations.
    Activation,
    /// The structure of the network: its layers.
    Structure,
}

/// The change of network, parameters, data, optimizer or training settings that a fix makes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// Replaces the layer specification. [`Fix::apply`] builds the new network; [`survivors`] keep their parameters,
    /// all others are trained from the start.
    Network(LayerSpec),
    /// Rescales the parameters on a batch, by [`Lsuv::apply`].
    Lsuv(Lsuv),
    /// Draws all parameters again from the network's initializers, by [`Fix::apply`].
    Redraw,
    /// Draws the parameters of the layers at these paths again, by [`Fix::apply`]; other parameters are kept.
    RedrawLayers(Vec<String>),
    /// Clips the gradient of all parameters together at its typical norm. The context does not know this norm:
    /// [`Trial`] measures it before any clipping, on its own data.
    FitClip,
    /// Clips the gradient of all parameters together at this norm, by [`ClipNorm`](crate::transform::ClipNorm).
    /// [`Fix::apply`] re-initializes parameters that were ruined by overly large updates.
    ClipNorm(f64),
    /// Multiplies the learning rate by this factor. [`Fix::apply`] re-initializes parameters that were ruined by
    /// overly large updates.
    LearningRate(f64),
    /// Makes the learning rate constant: schedules that vary are replaced by this constant factor on the optimizer's
    /// own rate. [`Fix::apply`] re-initializes parameters that were ruined by overly large updates.
    HoldRate(f64),
    /// Standardizes the data, by [`Standardize::apply`].
    Standardize(Standardize),
    /// Standardizes the targets, by [`Standardize::apply`], and converts predictions back, by
    /// [`Standardize::invert`]. The parameters of the last layer with weights fit the old targets, so [`Fix::apply`]
    /// re-initializes them.
    StandardizeTargets(Standardize),
    /// Standardizes the inputs. The context has no data from which to compute the scales: call [`Standardize::fit`] on
    /// the training data, and apply the result. [`Trial`] does this with its own data.
    FitInputs,
    /// Standardizes the targets. As for [`FitInputs`](Self::FitInputs) the context has no data: call
    /// [`Standardize::fit_targets`] on the training data, and apply the result.
    FitTargets,
    /// Trains the block of this name, or the blocks below it, at the learning rate of the other blocks; all blocks
    /// for an empty name.
    TrainBlock(String),
    /// Disables weight decay, and draws all parameters again, since decay has shrunk them.
    WithoutDecay,
    /// Takes the samples in a new random order in each epoch:
    /// [`TrainConfig::shuffle`](crate::trainer::TrainConfig::shuffle).
    Shuffle,
    /// Stretches a schedule that ended after `ended` updates to the length of `runs` runs.
    LongerSchedule {
        /// The number of updates after which the schedule ended.
        ended: u64,
        /// The new length of the schedule as a multiple of the length of the run.
        runs: u64,
    },
    /// Leaves out the samples whose inputs are far larger than those of the others. A check of a batch knows rows, not
    /// samples: [`Trial`] finds the samples in its own data.
    FitLeaveOut,
    /// Leaves the samples with these indices out of the data, by [`Dataset::select`](crate::dataset::Dataset::select).
    LeaveOut(Vec<usize>),
}

/// A proposed fix: its change, and the predicted budget (the decades from loss to first weights) with and without it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Fix {
    /// The name of the strategy that proposed the fix.
    pub name: &'static str,
    /// The part of the setup that the fix changes, ordered by the effort of a change: of fixes that are equal otherwise
    /// the least effort is first.
    pub effort: Effort,
    /// The change that the fix makes.
    pub change: Change,
    /// The predicted change of the gradient's norm from loss to first weights without the fix, in decades; `None` if it
    /// is unknown.
    pub before: Option<f64>,
    /// The predicted change of the gradient's norm from loss to first weights with the fix, in decades; `None` if it is
    /// unknown.
    pub after: Option<f64>,
    /// One sentence: how the fix removes the cause.
    pub why: String,
    /// The layers or blocks whose parameters the finding names as the cause. Their parameters are not copied to the
    /// fixed network.
    pub accused: Vec<String>,
    enough: bool,
    /// The layer specification that the fix was made from.
    of: LayerSpec,
    /// Whether the accused parameters were sound at the start of the run, and only overly large updates have ruined
    /// them.
    spoiled: bool,
    /// Whether the fix removes the cause itself, not only its effect; such fixes are ranked first.
    preferred: bool,
}

impl Fix {
    fn preferred(self) -> Self {
        Fix { preferred: true, ..self }
    }

    /// Refuses a layer specification other than the one that the fix was made from.
    fn check_network(&self, network: &LayerSpec) -> Result<(), Error> {
        let needs = "the layer specification that it was made from; propose fixes for this network";
        if self.of == *network { Ok(()) } else { Err(Error::InvalidState { what: "a fix", needs }) }
    }

    /// Whether the predicted decades to the first weights with the fix lie between the
    /// [thresholds](FixContext::thresholds) of the context for a vanishing and for an exploding gradient. True if
    /// nothing is predicted.
    pub fn is_enough(&self) -> bool {
        self.enough
    }
}

/// Writes one line: the strategy, the reason and, if both are known, the predicted decades to the first weights before
/// and after.
impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.why)?;
        match (self.before, self.after) {
            (Some(before), Some(after)) => {
                write!(f, " ({} → {} decades)", figure(before, 2), figure(after, 2))
            }
            _ => Ok(()),
        }
    }
}

/// Returns all strategies of this crate, in the order in which equal fixes are ranked.
pub fn strategies() -> Vec<Box<dyn FixStrategy>> {
    let longer = LongerStep::LADDER.map(|ratio| Box::new(LongerStep { ratio }) as Box<dyn FixStrategy>);
    let shorter = ShorterStep::LADDER.map(|rung| Box::new(ShorterStep { rung }) as Box<dyn FixStrategy>);
    let all = Vec::from([
        Box::new(Redraw) as Box<dyn FixStrategy>,
        Box::new(CriticalInitialization { orthogonal: false }),
        Box::new(CriticalInitialization { orthogonal: true }),
        Box::new(Lsuv::default()),
        Box::new(ScaleBranches),
        Box::new(OrthogonalRecurrence),
        Box::new(OpenGate),
        Box::new(ForgetBias),
        Box::new(Standardize::default()),
        Box::new(ClipAtTypicalNorm),
        Box::new(StandardizeTargets),
        Box::new(TrainBlock),
        Box::new(LeaveOut),
        Box::new(MixBatches),
        Box::new(WithoutDecay),
        Box::new(LighterDropout::default()),
        Box::new(LighterDropout { share: 1.0 }),
        Box::new(UnsquashOutputs),
        Box::new(LogProbabilities),
        Box::new(ExchangeActivation),
        Box::new(GatesInsteadOfTanh),
        Box::new(NormalizeLayers),
        Box::new(ResidualBranches),
    ]);
    let schedules = LongerSchedule::RUNS.map(|runs| Box::new(LongerSchedule { runs }) as Box<dyn FixStrategy>);
    let held = [false, true].map(|of_loss| Box::new(HoldRate { of_loss }) as Box<dyn FixStrategy>);
    all.into_iter().chain(held).chain(shorter).chain(schedules).chain(longer).collect()
}

/// Returns the fixes that all strategies propose for `context`, best first.
///
/// Fixes that remove the cause itself come first, then those whose predicted decades to the first weights are within
/// the thresholds, then those of least effort. Among equal fixes the one that redraws only the layers named by the
/// finding comes first.
///
/// ```
/// use chainrule::{activation::Sigmoid, diagnosis::{Diagnosis, FixContext, suggest_fixes}};
/// use chainrule::{layer::Sequential, theory::InputStatistics};
/// let mut builder = Sequential::<f32>::input(64);
/// for _ in 0..10 {
///     builder = builder.linear(64).activation(Sigmoid);
/// }
/// let network = builder.linear(10).build()?;
/// let inputs = InputStatistics::new(1.0)?;
/// let report = Diagnosis::new(&network, inputs)?.report();
/// let described = chainrule::Layer::<f32>::spec(&network);
/// let fixes = suggest_fixes(&FixContext::new(&described, inputs, report.root().unwrap()))?;
/// assert!(fixes[0].after.unwrap().abs() < 0.5); // a budget near 0 instead of −6
/// println!("{}", fixes[0]);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Errors
/// [`Error::InvalidState`] if the finding names a layer that the network of the context does not have. The errors of
/// [`FixStrategy::propose`].
pub fn suggest_fixes(context: &FixContext<'_>) -> Result<Vec<Fix>, Error> {
    context.check_finding()?;
    let mut fixes = Vec::new();
    for strategy in strategies() {
        if strategy.applies_to(context.finding.cause) {
            fixes.extend(strategy.propose(context)?);
        }
    }
    fixes.sort_by_key(|fix| (!fix.preferred, !fix.is_enough(), fix.effort));
    Ok(fixes)
}
