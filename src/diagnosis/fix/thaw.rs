//! A block that moves again.

use super::{Cause, Change, Effort, Patient, Remedy, Treatment};
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

    fn treat(&self, patient: &Patient<'_>) -> Result<Option<Treatment>, Error> {
        let layer = patient.finding.layer.clone();
        let why = format!("layer {layer} trained like the others");
        Ok(Some(patient.treatment(self.name(), Effort::Training, Change::Thaw(layer), why).preferred()))
    }
}
