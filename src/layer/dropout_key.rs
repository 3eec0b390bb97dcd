//! The key of dropout masks.

use core::fmt::Debug;

/// The key of dropout masks: a counter-based generator is keyed by seed, step, layer and sample.
///
/// So a part of a batch, a resumed run and a repeated pass draw the same masks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DropoutKey {
    /// Seed of the run.
    pub seed: u64,
    /// The training step.
    pub step: u64,
    /// The number of the sample in row 0 of the pass.
    pub first_sample: u64,
    /// The number of the time step in row 0 of the pass.
    pub first_step: u64,
}

impl DropoutKey {
    /// The key of training step `step` in a run with seed `seed`.
    pub const fn new(seed: u64, step: u64) -> Self {
        DropoutKey { seed, step, first_sample: 0, first_step: 0 }
    }

    /// The same key for a pass whose first sample is `sample`: a part of a batch.
    #[must_use]
    pub const fn from_sample(self, sample: usize) -> Self {
        DropoutKey { first_sample: sample as u64, ..self }
    }

    /// The same key for a pass whose first time step is `steps` later: a segment of a sequence.
    pub(crate) const fn at_later_step(self, steps: usize) -> Self {
        DropoutKey { first_step: self.first_step.wrapping_add(steps as u64), ..self }
    }

    /// The same key for the samples of a pass from number `sample` on.
    pub(crate) const fn later(self, sample: usize) -> Self {
        DropoutKey { first_sample: self.first_sample.wrapping_add(sample as u64), ..self }
    }
}
