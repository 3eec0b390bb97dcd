//! Training of a block that is frozen.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::error::Error;
use alloc::format;

/// Unfreezes the layer, with the learning rate of the other layers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unfreeze;

impl FixStrategy for Unfreeze {
    fn name(&self) -> &'static str {
        "unfreezing"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        cause == Cause::FrozenBlock
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let layer = context.finding.layer.clone();
        let why = format!("layer {layer} is trained like the others");
        Ok(Some(context.fix(self.name(), Effort::Training, Change::Unfreeze(layer), why).preferred()))
    }
}
