//! One thing that is wrong.

use super::Cause;
use alloc::string::String;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Note,
    /// Training suffers.
    Warning,
    /// Training cannot work.
    Critical,
}

/// One thing that is wrong: its cause, its place, and the evidence.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Finding {
    /// What is at the root.
    pub cause: Cause,
    /// How bad it is.
    pub severity: Severity,
    /// The path of the layer, as in a [`summary`](crate::network::summary): `2`, `3.branch.0`; empty for all of the
    /// network.
    pub layer: String,
    /// The watched pass, from 0, in which it was first seen; `None` before training.
    pub since: Option<u64>,
    /// How much was measured, where it is a matter of decades: of the gradient; of [`Cause::LearningRateTooHigh`], of
    /// update over parameter.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub decades: Option<f64>,
    /// What the theory predicted for the same.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub predicted: Option<f64>,
    /// The sentence: what, where, by how much, from which factor.
    pub text: String,
    /// What observation would refute it.
    pub refuted_by: &'static str,
    /// The probability, roughly, that it is right.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub confidence: f64,
}

impl Finding {
    /// Whether it was first seen after the first watched pass: what training brought is fixed by its settings, what was
    /// there before by where it begins.
    pub fn came_with_training(&self) -> bool {
        self.since > Some(0)
    }
}
