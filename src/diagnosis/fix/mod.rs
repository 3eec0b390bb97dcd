//! Fixes for a finding, one strategy a file: the causes it applies to, the budget it promises, and its application.

mod clip;
mod critical;
mod exchange;
mod forget;
mod gates;
mod layer_norm;
mod lsuv;
mod orthogonal;
mod redraw;
mod residual;
mod shorter_step;
mod standardise;
mod survivors;
mod unfreeze;

pub use clip::ClipAtTypicalNorm;
pub use critical::CriticalInitialization;
pub use exchange::ExchangeActivation;
pub use forget::ForgetBias;
pub use gates::GatesInsteadOfTanh;
pub use layer_norm::NormalizeLayers;
pub use lsuv::Lsuv;
pub use orthogonal::OrthogonalRecurrence;
pub use redraw::Redraw;
pub use residual::ResidualBranches;
pub use shorter_step::ShorterStep;
pub use standardise::Standardise;
pub use survivors::{Survivor, survivors, transplant};
pub use unfreeze::Unfreeze;

use super::{Cause, Finding, Report, Thresholds, health};
use crate::{
    activation::ActivationKind,
    batch_shape::BatchShape,
    error::Error,
    layer::{Layer, LayerSpec, initialize},
    scalar::Scalar,
    theory::{InputStatistics, Prediction},
};
use alloc::{boxed::Box, format, string::String, vec::Vec};
use core::fmt::{self, Debug};

/// Context for proposing a fix: network, inputs, finding, span.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FixContext<'a> {
    /// The network's description.
    pub network: &'a LayerSpec,
    /// The statistics of its inputs.
    pub inputs: InputStatistics,
    /// The finding to fix.
    pub finding: &'a Finding,
    /// The number of steps that the task must remember.
    pub span: Option<usize>,
    /// The typical norm of the gradient before clipping:
    /// [`RunStatistics::typical_norm`](crate::monitor::RunStatistics::typical_norm).
    pub typical_norm: Option<f64>,
    /// Shift and scale of the columns of the data, from [`Standardise::of`].
    pub columns: Option<Standardise>,
    /// The thresholds that a promised budget is judged by.
    pub thresholds: Thresholds,
}

impl<'a> FixContext<'a> {
    /// A context with only network, inputs and finding known.
    pub fn new(network: &'a LayerSpec, inputs: InputStatistics, finding: &'a Finding) -> Self {
        FixContext {
            network,
            inputs,
            finding,
            span: None,
            typical_norm: None,
            columns: None,
            thresholds: Thresholds::default(),
        }
    }

    /// Sets the number of steps that the task must remember.
    #[must_use]
    pub fn span(self, steps: usize) -> Self {
        FixContext { span: Some(steps), ..self }
    }

    /// Sets the typical norm of the gradient before clipping.
    #[must_use]
    pub fn typical_norm(self, norm: f64) -> Self {
        FixContext { typical_norm: Some(norm), ..self }
    }

    /// Sets the standardisation of the columns of the data.
    #[must_use]
    pub fn columns(self, columns: Standardise) -> Self {
        FixContext { columns: Some(columns), ..self }
    }

    /// Sets the thresholds that a promised budget is judged by.
    #[must_use]
    pub fn thresholds(self, thresholds: Thresholds) -> Self {
        FixContext { thresholds, ..self }
    }

    /// The predicted budget of a network in decades to the first weights; `None` where it is not known.
    fn budget(&self, network: &LayerSpec) -> Result<Option<f64>, Error> {
        match Prediction::of_node(network, self.inputs) {
            Ok(prediction) => Ok(prediction.decades_to_first_weights()),
            Err(Error::CustomPart { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A change of the description, with the budgets before and after.
    fn network_becomes(&self, name: &'static str, effort: Effort, after: LayerSpec, why: String) -> Result<Fix, Error> {
        let [before, promised] = [self.network, &after].map(|network| self.budget(network));
        let (before, promised) = (before?, promised?);
        let Thresholds { vanishing: [low, _], exploding: [high, _], .. } = self.thresholds;
        Ok(Fix {
            before,
            after: promised,
            enough: promised.is_none_or(|decades| (low..high).contains(&decades)),
            ..self.fix(name, effort, Change::Network(after), why)
        })
    }

    /// A change that leaves the description as it is.
    fn fix(&self, name: &'static str, effort: Effort, change: Change, why: String) -> Fix {
        Fix { name, effort, change, before: None, after: None, why, enough: true, preferred: false }
    }
}

/// A strategy that proposes a fix for some causes, with the budget that the fix promises.
pub trait FixStrategy: Debug + Send + Sync {
    /// The name of the strategy, in a few words.
    fn name(&self) -> &'static str;
    /// Whether the strategy proposes fixes for `cause`.
    fn applies_to(&self, cause: Cause) -> bool;
    /// What it would change for this context, with the budget that it promises; `None` where it does not apply.
    ///
    /// # Errors
    /// The errors of [`Prediction::of_node`] for the description before or after the change; a layer of your own is
    /// none.
    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error>;
}

/// The shape of the change that a fix makes, from the smallest to the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effort {
    /// First values of parameters.
    Initialization,
    /// The training procedure or its data.
    Training,
    /// Its activations.
    Activation,
    /// Its layers.
    Structure,
}

/// The change that a fix makes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// The description, which [`Fix::apply`] builds: to be trained anew but for what [`survivors`] keeps.
    Network(LayerSpec),
    /// The parameters, by a batch: [`Lsuv::apply`].
    Lsuv(Lsuv),
    /// All parameters, drawn again from the network's own initializers: [`Fix::apply`].
    Redraw,
    /// The gradient, clipped at this global norm: [`ClipNorm`](crate::transform::ClipNorm).
    ClipNorm(f64),
    /// The learning rate, multiplied by this.
    LearningRate(f64),
    /// The data: [`Standardise::apply`].
    Standardise(Standardise),
    /// The block or layer of this name, to be trained again.
    Unfreeze(String),
}

/// A proposed fix: its change and the budget that it promises.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Fix {
    /// The name of the strategy that proposes it.
    pub name: &'static str,
    /// The shape of the change.
    pub effort: Effort,
    /// The change.
    pub change: Change,
    /// The predicted budget without it, in decades to the first weights.
    pub before: Option<f64>,
    /// The predicted budget with it.
    pub after: Option<f64>,
    /// Why it helps.
    pub why: String,
    enough: bool,
    /// Whether it removes the cause itself.
    preferred: bool,
}

impl Fix {
    fn preferred(self) -> Self {
        Fix { preferred: true, ..self }
    }

    /// Whether the budget it promises neither vanishes nor explodes by the [`Thresholds`] of the context;
    /// true if it promises none.
    pub fn is_enough(&self) -> bool {
        self.enough
    }
}

/// A network with a fix applied.
#[derive(Debug)]
#[non_exhaustive]
pub struct FixedNetwork<T> {
    /// The network, built.
    pub network: Box<dyn Layer<T>>,
    /// Its parameters: drawn anew, except those of the survivors.
    pub parameters: Vec<T>,
    /// The blocks whose parameters were carried over.
    pub survivors: Vec<Survivor>,
}

impl<T: Scalar> FixedNetwork<T> {
    /// The report on the untrained network and one batch.
    ///
    /// Its [`decades`](Report::decades) are the measured budget and the predicted one.
    ///
    /// # Shapes
    /// x: \[rows, input\], time-major.
    ///
    /// # Errors
    /// Those of [`first_check`](super::first_check).
    ///
    /// # Panics
    /// As [`first_check`](super::first_check).
    pub fn check(&self, x: &[T], shape: BatchShape<'_>, span: Option<usize>) -> Result<Report, Error> {
        health::check(&*self.network, &self.parameters, x, shape, span, 0)
    }
}

impl Fix {
    /// Applies a change of the network that `network` describes, with the parameters `parameters`.
    ///
    /// Builds the fixed network, draws its parameters from `seed`, and carries over the parameters of the survivors.
    /// `None` for a change of the training or of the data: [`Change`] describes it.
    ///
    /// ```
    /// use chainrule::{BatchShape, Layer, activation::Sigmoid, diagnosis::{Diagnosis, FixContext, suggest_fixes}};
    /// use chainrule::{layer::{Sequential, initialize}, theory::InputStatistics};
    /// let mut builder = Sequential::<f32>::input(16);
    /// for _ in 0..10 {
    ///     builder = builder.linear(16).activation(Sigmoid);
    /// }
    /// let network = builder.linear(4).build()?;
    /// let (w, described) = (initialize(&network, 1)?, Layer::<f32>::spec(&network));
    /// let x: Vec<f32> = (0..32 * 16).map(|i| 1.4 * (i as f32).sin()).collect();
    /// let inputs = InputStatistics::of_rows(&x)?;
    /// let report = Diagnosis::new(&network, inputs)?.report();
    /// let fixes = suggest_fixes(&FixContext::new(&described, inputs, report.root().unwrap()))?;
    /// let fixed = fixes[0].apply(&described, &w, 2)?.unwrap();
    /// let [measured, promised] = fixed.check(&x, BatchShape::batch(32), None)?.decades;
    /// assert!((measured.unwrap() - promised.unwrap()).abs() < 0.5); // before: −6
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::CustomPart`] where a part is of your own; [`Error::Length`] where `parameters` are too few for the
    /// survivors. Those of [`LayerSpec::build`] and [`initialize`].
    pub fn apply<T: Scalar>(
        &self,
        network: &LayerSpec,
        parameters: &[T],
        seed: u64,
    ) -> Result<Option<FixedNetwork<T>>, Error> {
        let after = match &self.change {
            Change::Network(after) => after,
            Change::Redraw => network,
            _ => return Ok(None),
        };
        let fixed = after.build::<T>()?;
        let mut drawn = initialize(&*fixed, seed)?;
        let survivors = if self.change == Change::Redraw { Vec::new() } else { survivors(network, after)? };
        transplant(&survivors, parameters, &mut drawn)?;
        Ok(Some(FixedNetwork { network: fixed, parameters: drawn, survivors }))
    }
}

/// One line: what, what for, and the budget before and after.
impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.why)?;
        match (self.before, self.after) {
            (Some(before), Some(after)) => {
                write!(f, " ({})", format!("{before:+.2} → {after:+.2} decades").replace('-', "−"))
            }
            _ => Ok(()),
        }
    }
}

/// All strategies of the crate.
pub fn strategies() -> Vec<Box<dyn FixStrategy>> {
    Vec::from([
        Box::new(CriticalInitialization { orthogonal: false }) as Box<dyn FixStrategy>,
        Box::new(CriticalInitialization { orthogonal: true }),
        Box::new(Lsuv::default()),
        Box::new(Redraw),
        Box::new(OrthogonalRecurrence),
        Box::new(ForgetBias),
        Box::new(Standardise::default()),
        Box::new(ClipAtTypicalNorm),
        Box::new(ShorterStep),
        Box::new(Unfreeze),
        Box::new(ExchangeActivation),
        Box::new(GatesInsteadOfTanh),
        Box::new(NormalizeLayers),
        Box::new(ResidualBranches),
    ])
}

/// The fixes for `context`, the best first.
///
/// Fixes that remove the cause come first, then fixes whose budget is within the thresholds, then the smallest changes.
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
/// Those of [`FixStrategy::propose`].
pub fn suggest_fixes(context: &FixContext<'_>) -> Result<Vec<Fix>, Error> {
    let mut fixes = Vec::new();
    for strategy in strategies() {
        if strategy.applies_to(context.finding.cause) {
            fixes.extend(strategy.propose(context)?);
        }
    }
    fixes.sort_by_key(|fix| (!fix.preferred, !fix.is_enough(), fix.effort));
    Ok(fixes)
}

/// The network with some parts changed; `None` if none was. `change` is shown every part that has no parts of its own,
/// with the activation that follows it, and tells whether it changed it.
fn rewrite(
    network: &LayerSpec,
    change: &mut dyn FnMut(&mut LayerSpec, Option<&ActivationKind>) -> bool,
) -> Option<LayerSpec> {
    fn walk(
        node: &mut LayerSpec,
        next: Option<&ActivationKind>,
        change: &mut dyn FnMut(&mut LayerSpec, Option<&ActivationKind>) -> bool,
    ) -> bool {
        match node {
            LayerSpec::Sequential { layers, .. } => {
                let mut changed = false;
                let mut rest = &mut layers[..];
                while let Some((layer, after)) = rest.split_first_mut() {
                    changed |= walk(layer, after.iter().find_map(first_activation).or(next), change);
                    rest = after;
                }
                changed
            }
            LayerSpec::Residual { branch, .. } => walk(branch, None, change),
            LayerSpec::Reversed(layer) => walk(layer, next, change),
            LayerSpec::Bidirectional { forward, backward } => {
                walk(forward, next, change) | walk(backward, next, change)
            }
            leaf => change(leaf, next),
        }
    }
    let mut after = network.clone();
    walk(&mut after, None, change).then_some(after)
}

/// The activation that values meet first in this part.
fn first_activation(node: &LayerSpec) -> Option<&ActivationKind> {
    match node {
        LayerSpec::ActivationLayer { activation, .. } => Some(activation),
        LayerSpec::Sequential { layers, .. } => layers.iter().find_map(first_activation),
        _ => None,
    }
}
