//! Samples in random order.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::error::Error;
use alloc::string::String;

/// Shuffles the samples before each epoch, so that the expected gradient of a batch is the gradient of all data.
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
