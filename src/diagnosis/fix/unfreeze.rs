//! A block that moves again.

use super::{Cause, Change, Effort, Fix, FixContext, Remedy};
use crate::error::Error;
use alloc::format;

/// The layer that stands still gets the learning rate of the others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Thaw;

impl Remedy for Thaw {
    fn name(&self) -> &'static str {
        "thawing"
    }

    fn cures(&self, cause: Cause) -> bool {
        cause == Cause::FrozenBlock
    }

    fn treat(&self, patient: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let layer = patient.finding.layer.clone();
        let why = format!("layer {layer} trained like the others");
        Ok(Some(patient.fix(self.name(), Effort::Training, Change::Thaw(layer), why).preferred()))
    }
}
