//! Samples in random order.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::error::Error;
use alloc::string::String;

/// Shuffles the samples before each epoch: the gradient of a batch then has the mean of that of all data.
#[derive(Clone, Copy, Debug, Default)]
pub struct MixBatches;

impl FixStrategy for MixBatches {
    fn name(&self) -> &'static str {
        "mixed batches"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        cause == Cause::UnmixedBatches
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let why = String::from("samples in random order, another in each epoch");
        Ok(Some(context.fix(self.name(), Effort::Training, Change::Shuffle, why).preferred()))
    }
}
