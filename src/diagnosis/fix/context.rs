//! The facts from which fixes are proposed.

use super::{Change, Effort, Fix, survivors};
use crate::{
    block::{Blocks, Role},
    dataset::Standardize,
    diagnosis::{
        Cause, Finding, Thresholds, left_out,
        rules::{SMALLER_EPSILON, layer_of},
    },
    error::Error,
    initializer::{Initializer, InitializerKind, Normal, Shape, Zeros},
    layer::{LayerNorm, LayerSpec, Linear, RmsNorm},
    monitor::{RunStatistics, Statistics},
    theory::{InputStatistics, PredictedLink, Prediction},
};
use alloc::{string::String, vec::Vec};

/// The facts from which fixes are proposed: network, inputs, finding, the number of time steps to remember, and facts
/// of the run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FixContext<'a> {
    /// The layer specification of the network.
    pub network: &'a LayerSpec,
    /// The statistics of the network's inputs.
    pub inputs: InputStatistics,
    /// The finding to fix.
    pub finding: &'a Finding,
    /// The number of time steps that the task must remember; `None` if it is unknown.
    pub span: Option<usize>,
    /// The typical norm of the gradient before clipping,
    /// [`RunStatistics::typical_norm`](crate::monitor::RunStatistics::typical_norm). With `None` a clip is proposed
    /// only in place of a clip that is too low, as [`Change::FitClip`].
    pub typical_norm: Option<f64>,
    /// The first parameters of the run, [`Statistics::first_parameters`]. [`Trial::apply_best`] also tries fixes from
    /// these parameters. With `None` it tries them from values that the initializers draw.
    ///
    /// [`Trial::apply_best`]: super::Trial::apply_best
    pub first_parameters: Option<&'a [f64]>,
    /// The momentum β of the optimizer: gradients add up to updates 1/(1 − β) times as large. [`Trial::apply_best`]
    /// reads it from its optimizer if it is 0.
    ///
    /// [`Trial::apply_best`]: super::Trial::apply_best
    pub momentum: f64,
    /// Shift and scale of the columns of the data, from [`Standardize::fit`]. With `None` standardized inputs are
    /// proposed as [`Change::FitInputs`]: a trial, or the caller, computes them from the data.
    pub columns: Option<Standardize>,
    /// Shift and scale of the columns of the targets, from [`Standardize::fit_targets`]. With `None` standardized
    /// targets are proposed as [`Change::FitTargets`].
    pub targets: Option<Standardize>,
    /// The thresholds. The predicted decades to the first weights with a fix should lie between those for a vanishing
    /// and for an exploding gradient.
    pub thresholds: Thresholds,
    /// The statistics of the run, which include its learning rates.
    pub(super) run: Option<&'a RunStatistics>,
    /// The learning rate of the optimizer where no schedule varies it. [`Trial::apply_best`] reads it from its
    /// optimizer.
    ///
    /// [`Trial::apply_best`]: super::Trial::apply_best
    pub(super) own_rate: Option<f64>,
    /// Whether the optimizer divides by the size of the gradient, so that its updates do not shrink as the loss falls.
    pub(super) divides: bool,
}

impl<'a> FixContext<'a> {
    /// Creates a context with only network, inputs and finding.
    pub fn new(network: &'a LayerSpec, inputs: InputStatistics, finding: &'a Finding) -> Self {
        FixContext {
            network,
            inputs,
            finding,
            span: None,
            typical_norm: None,
            first_parameters: None,
            momentum: 0.0,
            columns: None,
            targets: None,
            thresholds: Thresholds::default(),
            run: None,
            own_rate: None,
            divides: false,
        }
    }

    /// Sets the facts that the statistics of a monitored run hold: the typical norm of the gradient, the first
    /// parameters of the run and its learning rates.
    #[must_use]
    pub fn statistics(self, statistics: &'a Statistics) -> Self {
        let norm = Some(statistics.run().typical_norm()).filter(|norm| norm.is_finite() && *norm > 0.0);
        let (run, first_parameters) = (Some(statistics.run()), statistics.first_parameters());
        FixContext { typical_norm: norm, first_parameters, run, ..self }
    }
    /// Sets the number of time steps that the task must remember.
    #[must_use]
    pub fn span(self, steps: usize) -> Self {
        FixContext { span: Some(steps), ..self }
    }
    /// Sets the typical norm of the gradient before clipping.
    #[must_use]
    pub fn typical_norm(self, norm: f64) -> Self {
        FixContext { typical_norm: Some(norm), ..self }
    }
    /// Sets the [`momentum`](Self::momentum) of the optimizer.
    #[must_use]
    pub fn momentum(self, momentum: f64) -> Self {
        FixContext { momentum, ..self }
    }
    /// Sets the standardization of the columns of the data.
    #[must_use]
    pub fn columns(self, columns: Standardize) -> Self {
        FixContext { columns: Some(columns), ..self }
    }
    /// Sets the standardization of the columns of the targets.
    #[must_use]
    pub fn targets(self, columns: Standardize) -> Self {
        FixContext { targets: Some(columns), ..self }
    }

    /// Sets the [`thresholds`](Self::thresholds).
    #[must_use]
    pub fn thresholds(self, thresholds: Thresholds) -> Self {
        FixContext { thresholds, ..self }
    }

    /// Returns an error for a finding about another network: one that names a path that is no layer or block of this
    /// network, nor above or below one of them.
    pub(super) fn check_finding(&self) -> Result<(), Error> {
        let ranges = self.finding.layers.iter().flat_map(|range| [&range.first, &range.last]);
        let mut named: Vec<&str> = ranges.chain([&self.finding.layer]).map(|path| &**path).collect();
        named.retain(|path| !path.is_empty());
        if named.is_empty() {
            return Ok(());
        }
        let network = self.network.build_to_look_at()?;
        let blocks = Blocks::collect(|visit| network.blocks(visit));
        let mut known: Vec<String> = self.network.parts().into_iter().map(|(path, _)| path).collect();
        known.extend(blocks.iter().map(|block| block.name.clone().into()));
        known.retain(|path| !path.is_empty());
        let is_below = |path: &str, of: &str| path.strip_prefix(of).is_some_and(|rest| rest.starts_with('.'));
        let is_known = |path: &str| known.iter().any(|of| of == path || is_below(path, of) || is_below(of, path));
        // The layers of a network that is itself a single layer have no path.
        if known.is_empty() || named.into_iter().all(is_known) {
            return Ok(());
        }
        let needs = "the layer specification of its network: it names a layer that this one does not have";
        Err(Error::InvalidState { what: "a finding", needs })
    }

    /// Returns the predicted change of the gradient's norm from loss to first weights of `network`, in decades,
    /// without the links that are [`left_out`], as a report counts it. `None` if it is unknown, as for a custom
    /// layer.
    pub(super) fn budget(&self, network: &LayerSpec) -> Result<Option<f64>, Error> {
        match Prediction::of_node(network, self.inputs) {
            Ok(prediction) => {
                let without = left_out(network);
                let is_out = |link: &&PredictedLink| without.iter().any(|layer| layer == layer_of(&link.name));
                let out = prediction.links().iter().filter(|link| link.on_main_path).filter(is_out);
                let of_out: f64 = out.filter_map(|link| link.decades).filter(|decades| decades.is_finite()).sum();
                Ok(prediction.decades_to_first_weights().map(|decades| decades - of_out))
            }
            Err(Error::CustomPart { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns `network`, a changed layer specification, with sound initial values in the layers that the finding
    /// accuses, and a phrase for these values. A draw from the same initializers would bring the fault back. Biases
    /// of a mean other than 0 become 0. Embedding tables at fault with a variance above 1 get a variance of 1, and
    /// norms whose ε is at fault the usual ε. Other layers with an equal layer specification change, too. `None` if
    /// no layer changes.
    pub(super) fn with_sound_draws(&self, network: &LayerSpec) -> Option<(LayerSpec, &'static str)> {
        let accused = survivors::accused(self.network, self.finding);
        let parts = self.network.parts();
        let accused: Vec<&LayerSpec> =
            parts.iter().filter(|(path, _)| accused.contains(path)).map(|(_, part)| *part).collect();
        let mut drawn = "";
        let sound = super::rewrite(network, &mut |leaf, _| {
            let is_accused = accused.iter().any(|part| match (part, &*leaf) {
                // Other weights, such as critical ones, are drawn with the biases of the old layer.
                (LayerSpec::Linear(old), LayerSpec::Linear(new)) => {
                    (old.inputs, old.outputs, &old.bias) == (new.inputs, new.outputs, &new.bias)
                }
                (part, leaf) => *part == leaf,
            });
            let sound = if is_accused { self.draw_soundly(leaf) } else { None };
            drawn = sound.unwrap_or(drawn);
            sound.is_some()
        });
        Some((sound?, drawn))
    }

    /// Replaces the initializer or the ε of an accused leaf (a layer without inner layers) if it makes the fault.
    /// Returns a phrase for the new values; `None` if nothing changes.
    fn draw_soundly(&self, leaf: &mut LayerSpec) -> Option<&'static str> {
        // Biases of mean 0, such as those of a critical initialization, hold no layer off.
        let has_mean = |bias: &InitializerKind, units: usize| {
            bias.mean(Shape::new(units, 1, Role::Bias)).is_some_and(|it| it != 0.0)
        };
        let of_one = Shape::new(1, 1, Role::Weight);
        let is_large = |rows: &InitializerKind| rows.variance(of_one).is_none_or(|variance| variance > 1.0);
        let [small, _] = self.thresholds.small_input;
        let is_small = |rows: &InitializerKind| rows.variance(of_one).is_some_and(|it| it < small * small);
        match leaf {
            LayerSpec::Linear(Linear { outputs, bias: Some(bias), .. }) if has_mean(bias, *outputs) => {
                *bias = Zeros.kind();
                Some("biases of 0")
            }
            LayerSpec::Embedding(table)
                if self.finding.cause == Cause::LargeWeights && is_large(&table.weights)
                    || self.finding.cause == Cause::SmallWeights && is_small(&table.weights) =>
            {
                table.weights = Normal { mean: 0.0, std: 1.0 }.kind();
                Some("rows of a standard deviation of 1")
            }
            LayerSpec::LayerNorm(norm) if self.finding.fix == SMALLER_EPSILON => {
                norm.epsilon = LayerNorm::new(1).epsilon;
                Some("the usual ε")
            }
            LayerSpec::RmsNorm(norm) if self.finding.fix == SMALLER_EPSILON => {
                norm.epsilon = RmsNorm::new(1).epsilon;
                Some("the usual ε")
            }
            _ => None,
        }
    }

    /// Returns a fix that changes the layer specification to `after`, with the predicted decades to the first weights
    /// before and after. `why` is its reason as a sentence.
    pub(super) fn network_becomes(
        &self,
        name: &'static str,
        effort: Effort,
        after: LayerSpec,
        why: String,
    ) -> Result<Fix, Error> {
        let after = self.with_sound_draws(&after).map_or(after, |(sound, _)| sound);
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

    /// Returns a fix that does not change the layer specification, without predicted decades. `why` is its reason as a
    /// sentence.
    pub(super) fn fix(&self, name: &'static str, effort: Effort, change: Change, why: String) -> Fix {
        Fix {
            name,
            effort,
            change,
            before: None,
            after: None,
            why,
            accused: survivors::accused(self.network, self.finding),
            enough: true,
            of: self.network.clone(),
            spoiled: self.finding.needs_restart,
            preferred: false,
        }
    }
}
