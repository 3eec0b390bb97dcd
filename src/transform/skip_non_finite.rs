//! A guard that skips updates whose gradient is not finite.

use super::{GradientTransform, Outcome, Stage, TransformSpec, Update};
use crate::{
    block::Blocks,
    error::{Error, require},
    math::wide::{Wide, slots},
    scalar::Scalar,
};
use alloc::{string::String, vec, vec::Vec};

/// Skips an update whose gradient is not finite, and returns an error after too many consecutive skipped updates.
///
/// The guard must be the first transform of a chain, so that later transforms never receive such a gradient. The
/// count is part of the optimizer's state, so that a resumed run continues it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SkipNonFinite {
    limit: u64,
    skipped: u64,
}

impl Default for SkipNonFinite {
    fn default() -> Self {
        Self::new()
    }
}

impl SkipNonFinite {
    /// Creates a guard that skips up to 9 consecutive updates, and returns an error at the tenth.
    pub fn new() -> Self {
        SkipNonFinite { limit: 10, skipped: 0 }
    }

    /// Sets the number of consecutive non-finite gradients at which the guard returns an error; at least 1, by
    /// default 10. The guard counts up to 2²⁴ in `f32` and to 65,504 in `f16`, and never reaches a larger limit.
    #[must_use]
    pub fn limit(self, limit: u64) -> Self {
        SkipNonFinite { limit, ..self }
    }

    /// Returns the number of non-finite gradients since this guard was created, whether consecutive or not.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

impl SkipNonFinite {
    /// Implements [`GradientTransform::update`] for any scalar type.
    pub(crate) fn update_generic<T: Scalar>(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let mut row = Wide::new(update.state, 1);
        let Some(bad) = update.gradient.iter().position(|g| !g.is_finite()) else {
            row.set(0, 0.0);
            return Ok(Outcome::Apply);
        };
        let count = row.get(0) + 1.0;
        row.set(0, count);
        self.skipped += 1;
        if count >= self.limit as f64 {
            let block = update.blocks.at(bad).map_or_else(String::new, |block| block.name.clone().into_owned());
            return Err(Error::NonFiniteGradient { steps: count as u64, block });
        }
        Ok(Outcome::Skip)
    }
}

impl<T: Scalar> GradientTransform<T> for SkipNonFinite {
    fn validate(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        require(self.limit > 0, "the limit of a guard", "at least 1", self.limit as f64)
    }

    fn stage(&self) -> Stage {
        Stage::SkipNonFinite
    }

    /// The length of the state: one value, or three in `f16` and `bf16`, for the number of consecutive skipped
    /// updates.
    fn state_len(&self, _blocks: &Blocks) -> usize {
        slots::<T>()
    }

    fn update(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        T::SkipNonFinite(self, update)
    }

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let spec = TransformSpec::new("SkipNonFinite", GradientTransform::<T>::state_len(self, blocks));
        vec![spec.layout("skipped in a row").non_negative(0..1).setting("limit", self.limit)]
    }
}
