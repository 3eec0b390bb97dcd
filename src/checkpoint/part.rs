//! The description of the layers and transforms of a run in a checkpoint, and its comparison with the current run.

use super::mismatch;
use crate::{
    error::Error,
    layer::{BranchScale, Fact, LayerSpec},
    recurrent::CellKind,
    transform::TransformSpec,
    type_name::without_paths,
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, ops::Deref};
use serde::{Deserialize, Serialize};

/// A difference between a checkpoint and the run that loads it, for example in a dropout rate, that does not prevent
/// loading.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The name of the setting that differs, for example `transform 2 (Adam), rate`.
    pub name: String,
    /// The value of the setting in the checkpoint; empty if the checkpoint has no such setting.
    pub saved: String,
    /// The value of the setting in the current run; empty if the run has no such setting.
    pub current: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { name, saved, current } = self;
        write!(f, "{name}: {saved} in the checkpoint, {current} in this run")
    }
}

/// The differences between a checkpoint and the run that loaded it. It is empty if the run continues as it was saved.
///
/// It is a list of [`Difference`]s that must be used: if a setting differs, the run continues with its current value,
/// and its bits are not those of an uninterrupted run.
///
/// ```
/// use chainrule::{layer::Sequential, loss::MeanSquaredError, trainer::{TrainConfig, Trainer}, transform::Sgd};
/// let run = |rate| {
///     let network = Sequential::<f64>::input(1).linear(1).build()?;
///     Trainer::new(network, MeanSquaredError::new(), Sgd::new(rate), TrainConfig::default())
/// };
/// let differences = run(0.2)?.load_bytes(&run(0.1)?.to_bytes()?)?;
/// assert_eq!(differences.len(), 1);
/// assert_eq!(differences.to_string(), "transform 1 (Sgd), rate: 0.1 in the checkpoint, 0.2 in this run");
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// The compiler warns of a call whose differences are discarded; in this example the warning is an error:
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// # use chainrule::{layer::Sequential, loss::MeanSquaredError, trainer::Trainer, transform::Sgd};
/// fn resume(trainer: &mut Trainer<f64, Sequential<f64>, MeanSquaredError, Sgd>) -> Result<(), chainrule::Error> {
///     trainer.load("run.safetensors")?;
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "where a setting differs, the run continues with the present one"]
pub struct Differences(pub(super) Vec<Difference>);

impl Deref for Differences {
    type Target = [Difference];
    fn deref(&self) -> &[Difference] {
        &self.0
    }
}

impl IntoIterator for Differences {
    type Item = Difference;
    type IntoIter = alloc::vec::IntoIter<Difference>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Differences {
    type Item = &'a Difference;
    type IntoIter = core::slice::Iter<'a, Difference>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Writes one line for each difference.
impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(i, difference)| {
            let line_break = if i > 0 { "\n" } else { "" };
            write!(f, "{line_break}{difference}")
        })
    }
}

/// Returns a [`Difference`] for each setting whose value differs between `current` and `saved`, both keyed by name,
/// with `prefix` before the name. A missing value counts as empty.
pub(super) fn differences(
    prefix: &str,
    current: &BTreeMap<String, String>,
    saved: &BTreeMap<String, String>,
) -> Vec<Difference> {
    let names: BTreeSet<&String> = current.keys().chain(saved.keys()).collect();
    let value = |of: &BTreeMap<String, String>, name: &String| of.get(name).cloned().unwrap_or_default();
    let pairs = names.into_iter().map(|name| Difference {
        name: format!("{prefix}{name}"),
        saved: value(saved, name),
        current: value(current, name),
    });
    pairs.filter(|pair| pair.saved != pair.current).collect()
}

/// The description of a layer or a transform in a checkpoint: its path, its kind, the settings that must agree with
/// the run that loads it, and the settings that may differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    at: String,
    kind: String,
    must_match: BTreeMap<String, String>,
    may_differ: BTreeMap<String, String>,
}

impl Part {
    fn new(at: String, kind: impl ToString) -> Self {
        Part { at, kind: kind.to_string(), must_match: BTreeMap::new(), may_differ: BTreeMap::new() }
    }

    fn with(mut self, name: &str, value: impl fmt::Debug) -> Self {
        self.must_match.insert(name.into(), format!("{value:?}"));
        self
    }

    /// Adds the `settings` of a custom layer or cell, unless they are empty, to the settings that must agree.
    fn with_settings(mut self, settings: &str) -> Self {
        if !settings.is_empty() {
            self.must_match.insert("settings".into(), settings.into());
        }
        self
    }

    /// Returns the kind of the layer or transform, and its settings that must agree, as text, for example `Linear,
    /// bias true, inputs 3, outputs 2`.
    fn in_full(&self) -> String {
        let facts = self.must_match.iter().map(|(name, value)| format!(", {name} {value}"));
        core::iter::once(self.kind.clone()).chain(facts).collect()
    }

    /// Compares this layer or transform of the current run with `saved` from a checkpoint. Returns the differences in
    /// the settings that may differ; an error if the path, the kind or a setting that must agree differs.
    fn differences(&self, saved: &Part) -> Result<Vec<Difference>, Error> {
        if self.at != saved.at {
            return Err(mismatch(&self.at, &self.kind, format!("{} at {}", saved.kind, saved.at)));
        }
        if self.kind != saved.kind {
            return Err(mismatch(&self.at, &self.kind, &saved.kind));
        }
        if self.must_match != saved.must_match {
            return Err(mismatch(&self.at, self.in_full(), saved.in_full()));
        }
        let prefix = format!("{} ({}), ", self.at, self.kind);
        Ok(differences(&prefix, &self.may_differ, &saved.may_differ))
    }
}

/// Compares all layers, or all transforms, of the current run (`current`) with those of a checkpoint (`saved`), in
/// order. Returns the differences that do not prevent loading.
///
/// # Errors
/// [`Error::Checkpoint`] for the first layer or transform that does not agree.
pub(super) fn compare(current: &[Part], saved: &[Part]) -> Result<Vec<Difference>, Error> {
    let mut found = Vec::new();
    for i in 0..current.len().max(saved.len()) {
        match (current.get(i), saved.get(i)) {
            (Some(current), Some(saved)) => found.extend(current.differences(saved)?),
            (Some(current), None) => return Err(mismatch(&current.at, &current.kind, "nothing")),
            (None, Some(saved)) => return Err(mismatch(&saved.at, "nothing", &saved.kind)),
            (None, None) => {}
        }
    }
    Ok(found)
}

/// Returns the descriptions of the transforms of a chain for a checkpoint, in order: their kinds and settings.
/// Loading requires that the kinds agree and that each transform has a state of the saved length; settings may
/// differ.
pub(super) fn transforms(specs: &[TransformSpec]) -> Vec<Part> {
    let part = |(i, spec): (usize, &TransformSpec)| Part {
        at: format!("transform {}", i + 1),
        kind: spec.title(),
        must_match: BTreeMap::from([("values of state".into(), spec.state_len.to_string())]),
        may_differ: spec.settings.iter().cloned().collect(),
    };
    specs.iter().enumerate().map(part).collect()
}

/// Returns the descriptions of the layers of a network for a checkpoint: paths, kinds and settings. Each layer
/// precedes the layers inside it.
///
/// Initializers are left out: they have no effect after initialization.
pub(super) fn layers(network: &LayerSpec) -> Vec<Part> {
    network.parts().into_iter().map(|(path, spec)| layer(path, spec)).collect()
}

fn layer(path: String, spec: &LayerSpec) -> Part {
    let part = |kind: &str| Part::new(if path.is_empty() { "network".into() } else { format!("layer {path}") }, kind);
    match spec {
        LayerSpec::ActivationLayer { width, activation } => part(&activation.in_full()).with("width", width),
        LayerSpec::Residual { scale: BranchScale::Fixed(scale), .. } => part("Residual").with("scale", scale),
        LayerSpec::Residual { scale: BranchScale::Learned(_), .. } => part("Residual, learned scale"),
        LayerSpec::Sequential { input, layers } => part("Sequential").with("input", input).with("layers", layers.len()),
        LayerSpec::Parallel { branches, merge } => {
            part("Parallel").with("branches", branches.len()).with("merge", merge)
        }
        // The interval of checkpoints does not affect results.
        LayerSpec::Checkpointed { layers, .. } => part("Checkpointed").with("layers", layers.len()),
        LayerSpec::Recurrent { cell, inputs, hidden, bias, noise, .. } => {
            let may_differ = noise.facts().map(|(name, rate)| (name.into(), format!("{rate:?}"))).collect();
            let part = Part { may_differ, ..part(&cell.to_string()) };
            let part = part.with("inputs", inputs).with("hidden", hidden).with("bias", bias.is_some());
            match cell {
                CellKind::Custom { settings, .. } => part.with_settings(settings),
                _ => part,
            }
        }
        LayerSpec::Reversed(_) => part("Reversed"),
        LayerSpec::Bidirectional { .. } => part("Bidirectional"),
        LayerSpec::Custom { kind, dims, settings } => {
            part(&without_paths(kind)).with("dims", dims).with_settings(settings)
        }
        listed => {
            let Some((name, layer)) = listed.listed() else { return part("") };
            let named = |facts: Vec<Fact>| facts.into_iter().map(|(name, value)| (name.into(), value)).collect();
            Part { must_match: named(layer.facts()), may_differ: named(layer.training_facts()), ..part(name) }
        }
    }
}
