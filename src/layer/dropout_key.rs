//! The key from which the masks of dropout are drawn.

use crate::scalar::{Scalar, scalar};
use core::fmt::Debug;

/// The key of dropout masks: a counter-based generator is keyed by seed, training step, layer, sample and time step.
///
/// So a part of a batch, a resumed run and a repeated pass draw the same masks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DropoutKey {
    /// The seed of the training run.
    pub seed: u64,
    /// The training step: in a trainer, the number of updates made before.
    pub step: u64,
    /// The index, in the whole batch, of the first sample of the pass.
    pub first_sample: u64,
    /// The index, in the whole sequence, of the first time step of the pass.
    pub first_step: u64,
    /// Whether no masks are drawn: a pass in training mode then disables dropout and replaces zoneout by its mean.
    /// Batch norms still use the statistics of the batch.
    pub off: bool,
}

impl DropoutKey {
    /// Creates the key of training step `step` in a run with seed `seed`.
    pub const fn new(seed: u64, step: u64) -> Self {
        DropoutKey { seed, step, first_sample: 0, first_step: 0, off: false }
    }

    /// Creates the key of a pass that draws no masks, even in training mode.
    pub const fn off() -> Self {
        DropoutKey { off: true, ..DropoutKey::new(0, 0) }
    }

    /// Returns the key for a part of the batch of this key: the first sample of the part has the index `sample` in
    /// the whole batch.
    #[must_use]
    pub const fn from_sample(self, sample: usize) -> Self {
        DropoutKey { first_sample: sample as u64, ..self }
    }

    /// Returns the key for a segment of a sequence, whose first time step is `steps` after that of this key.
    pub(crate) const fn at_later_step(self, steps: usize) -> Self {
        DropoutKey { first_step: self.first_step.wrapping_add(steps as u64), ..self }
    }

    /// Returns the key of the masks of one row: of `sample` at time `step`, both counted within the pass, in the link
    /// (factor of the chain rule) with the index `link` in the network.
    pub(crate) fn row(self, link: usize, sample: usize, step: usize) -> RowKey {
        let (sample, step) = (self.later(sample).first_sample, self.at_later_step(step).first_step);
        let key = [self.step, link as u64, sample, step].into_iter();
        RowKey(key.fold(mix(self.seed), |key, part| mix(key ^ mix(part))))
    }

    /// Returns a key whose first time step is 0, so that masks do not depend on the position of a segment in its
    /// sequence.
    pub(crate) const fn without_step(self) -> Self {
        DropoutKey { first_step: 0, ..self }
    }

    /// Returns the key for the part of this pass that begins with its sample `sample`, counted from 0 within the
    /// pass.
    pub(crate) const fn later(self, sample: usize) -> Self {
        DropoutKey { first_sample: self.first_sample.wrapping_add(sample as u64), ..self }
    }
}

/// The key of the masks of one row: one sample at one time step, in one link (factor of the chain rule).
#[derive(Clone, Copy)]
pub(crate) struct RowKey(u64);

impl RowKey {
    /// Whether the value with index `unit` in the row is dropped. The probability is `threshold`/2⁶⁴; the answer is
    /// the same in each call.
    #[inline]
    pub(crate) fn is_dropped(self, unit: usize, threshold: u64) -> bool {
        mix(self.0.wrapping_add(unit as u64)) < threshold
    }
}

/// Returns `rate · 2⁶⁴`, rounded down, as the threshold for [`RowKey::is_dropped`].
pub(crate) fn drop_threshold(rate: f64) -> u64 {
    (rate * 18_446_744_073_709_551_616.0) as u64
}

/// Returns the factor of kept values, `1/(1 − rate)`. It is at most the largest number of the format: an infinite
/// factor would turn 0 into NaN.
pub(crate) fn kept_factor<T: Scalar>(rate: f64) -> T {
    scalar::<T>(1.0 / (1.0 - rate)).min(T::max_value())
}

/// The output function of SplitMix64 (Steele, Lea & Flood 2014): a bijection that mixes all bits.
fn mix(z: u64) -> u64 {
    let z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
