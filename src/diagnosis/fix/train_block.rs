//! Training of a block that does not change.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::error::Error;
use alloc::format;

/// Trains the layer that the finding names at the rate of the other layers: without a rate of 0 or a freeze of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct TrainBlock;

impl FixStrategy for TrainBlock {
    fn name(&self) -> &'static str {
        "the same rate for all"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        cause == Cause::FrozenBlock
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let layer = context.finding.layer.clone();
        let why = format!("layer {layer} is trained at the rate of the others");
        Ok(Some(context.fix(self.name(), Effort::Training, Change::TrainBlock(layer), why).preferred()))
    }
}
