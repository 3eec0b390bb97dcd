//! Clipping at the length that gradients typically have.

use super::{Cause, Change, Effort, Fix, FixContext, Remedy};
use crate::error::Error;
use alloc::format;

/// The global norm clipped at its typical value, from the norms recorded before clipping: half to ten times of that works
/// (Pascanu, Mikolov & Bengio 2013).
#[derive(Clone, Copy, Debug, Default)]
pub struct ClipAtTypicalNorm;

impl Remedy for ClipAtTypicalNorm {
    fn name(&self) -> &'static str {
        "clipping at the typical norm"
    }

    fn cures(&self, cause: Cause) -> bool {
        use Cause::*;
        matches!(cause, Cliff | ClipThresholdTooLow | ExplodingRecurrence | LearningRateTooHigh | Overflow)
    }

    fn treat(&self, patient: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let Some(norm) = patient.typical_norm.filter(|norm| *norm > 0.0 && norm.is_finite()) else { return Ok(None) };
        let why = format!("a global norm of at most {norm:.2e}, which gradients typically have");
        let fix = patient.fix(self.name(), Effort::Training, Change::ClipNorm(norm), why);
        let removes = match patient.finding.cause {
            Cause::Cliff | Cause::ClipThresholdTooLow => true,
            Cause::ExplodingRecurrence => patient.finding.came_with_training(),
            _ => false,
        };
        Ok(Some(if removes { fix.preferred() } else { fix }))
    }
}
