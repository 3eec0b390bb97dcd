//! A finding: one fault, its severity and its evidence.

use super::{
    Cause, Intervention,
    place::{LayerRange, place},
};
use alloc::{string::String, vec::Vec};

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Severity {
    /// An observation that is not a fault.
    Note,
    /// Training is slower or worse than it could be.
    Warning,
    /// Training cannot succeed.
    Critical,
}

/// One fault: its cause, its place and the evidence.
///
/// ```
/// use chainrule::{BatchShape, diagnosis::{Cause, first_check}, layer::Sequential};
/// let mut network = Sequential::<f64>::input(8);
/// for _ in 0..20 {
///     network = network.linear(8).sigmoid();
/// }
/// let x: Vec<f64> = (0..64 * 8).map(|i| (i as f64).sin()).collect();
/// let report = first_check(&network.build()?, &x, BatchShape::batch(64), None, 1)?;
/// let root = report.root().expect("20 sigmoids: each factor is at most ¼");
/// assert_eq!(root.cause, Cause::SaturatingActivation);
/// println!("{}: {}", root.place(), root.text);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Finding {
    /// The cause of the fault.
    pub cause: Cause,
    /// The severity of the fault.
    pub severity: Severity,
    /// The path of the layer that has the fault, as in a [`summary`](crate::network::summary), such as `2` or
    /// `3.branch.0`. It is the first of [`layers`](Self::layers), and empty if the whole network has the fault.
    pub layer: String,
    /// All layers that have the fault, as ranges in the order of the forward pass; empty if the whole network has the
    /// fault.
    pub layers: Vec<LayerRange>,
    /// The index of the first sample of the data that should be left out, for [`Cause::BadData`] found by
    /// [`task`](super::Diagnosis::task); otherwise `None`.
    pub sample: Option<usize>,
    /// All samples at fault: samples that are far larger than the others, of which [`sample`](Self::sample) is the
    /// first, or samples whose inputs are identical. Empty for other findings.
    pub samples: Vec<usize>,
    /// The index, from 0, of the monitored pass in which the fault was seen: the last one before the report. For a
    /// value that is NaN or infinite it is the first pass that had one. It is 0 for a gradient that vanished or
    /// exploded over depth already in the first pass. `None` before training.
    /// [`Report::following`](super::Report::following) takes it from an earlier report that has the finding.
    pub since: Option<u64>,
    /// The measured size of the fault in decades (log10); `None` if it was not measured. For most causes it is the
    /// change of the gradient's norm. For [`Cause::LearningRateTooHigh`] and [`Cause::LearningRateTooLow`] it is log10
    /// of the ratio of an update's norm to that of its parameters. For [`Cause::DecayTooStrong`] it is log10 of the
    /// ratio of the weights' norm to that in the first pass. For changed or loaded weights that saturate units it is
    /// log10 of the ratio of their root mean square to the standard deviation of their initializer.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub decades: Option<f64>,
    /// The size of the fault in decades (log10) by theory, by a certified bound or along a given
    /// [trajectory](super::Diagnosis::trajectory); `None` if it is unknown.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub predicted: Option<f64>,
    /// The finding as a sentence: the fault, its layer and its size.
    pub text: String,
    /// Why this is the cause, as a sentence: the intervention (one change of the network or its inputs) and its
    /// effect, or else the evidence.
    pub because: String,
    /// The smallest of the tried changes that removes the fault, with its effect; `None` if none is known.
    pub intervention: Option<Intervention>,
    /// An observation that would refute the finding.
    pub refuted_by: &'static str,
    /// The usual fix. For the root cause, after [`Report::tried`](super::Report::tried), it names the best fix and its
    /// effect, or says that none helped.
    pub fix: String,
    /// Whether the finding is a proof: a bound, a value that is not finite, zeros that stay zeros, or weights
    /// measured to be far larger than their initializer draws them. Otherwise it rests on thresholds.
    pub is_proof: bool,
    /// Whether updates that were too large have erased from the parameters all that was learned: the loss is no better
    /// than at first. A fix then starts from initial values.
    pub needs_restart: bool,
    /// Whether the fault was measured on the [first parameters](crate::monitor::Statistics::first_parameters) of a
    /// run whose loss did not clearly fall. Otherwise the fault was measured in the monitored passes, or on the
    /// parameters that were given.
    pub of_first_parameters: bool,
    /// The number of updates after which the learning-rate schedule ended, for a schedule that is too short;
    /// otherwise `None`.
    pub schedule: Option<u64>,
    /// The name of the fix after which a [trial](super::Trial::behind), short trainings with and without fixes, found
    /// the fault in the fixed network. `None` for a fault of the network as it is.
    pub behind: Option<&'static str>,
}

impl Finding {
    /// Returns the layers that have the fault, as text, such as `layer 4` or `layers 2 to 78`; empty if the whole
    /// network has the fault.
    pub fn place(&self) -> String {
        place(&self.layers)
    }

    /// Whether the fault was first seen after the first monitored pass. A fault that arose in training is fixed by the
    /// training settings; an earlier one by initialization or data.
    pub fn came_with_training(&self) -> bool {
        self.since > Some(0)
    }
}
