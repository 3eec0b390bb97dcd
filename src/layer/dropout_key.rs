//! The key of dropout masks.

use core::fmt::Debug;

/// Where random masks come from: a counter-based generator keyed by layer, step and sample, so that
/// splitting a batch, resuming, or running a pass again sees the same mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DropoutKey {
    /// The run's seed.
    pub seed: u64,
    /// The training step.
    pub step: u64,
    /// The sample that row 0 of the pass is.
    pub first_sample: u64,
}

impl DropoutKey {
    /// DropoutKey of training step `step` in a run with that seed.
    pub const fn new(seed: u64, step: u64) -> Self {
        DropoutKey { seed, step, first_sample: 0 }
    }

    /// The same noise for a pass that begins at another sample: a part of a batch.
    #[must_use]
    pub const fn from_sample(self, sample: usize) -> Self {
        DropoutKey { first_sample: sample as u64, ..self }
    }

    /// The same noise for the samples of a pass from its `sample`th on.
    pub(crate) const fn later(self, sample: usize) -> Self {
        DropoutKey { first_sample: self.first_sample.wrapping_add(sample as u64), ..self }
    }
}
