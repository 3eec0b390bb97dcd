//! Clipping at the length that gradients typically have.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::error::Error;
use alloc::format;

/// The global norm clipped at its typical value, from the norms recorded before clipping: half to ten times of that
/// works (Pascanu, Mikolov & Bengio 2013).
#[derive(Clone, Copy, Debug, Default)]
pub struct ClipAtTypicalNorm;

impl FixStrategy for ClipAtTypicalNorm {
    fn name(&self) -> &'static str {
        "clipping at the typical norm"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        use Cause::*;
        matches!(cause, Cliff | ClipThresholdTooLow | ExplodingRecurrence | LearningRateTooHigh | Overflow)
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let Some(norm) = context.typical_norm.filter(|norm| *norm > 0.0 && norm.is_finite()) else { return Ok(None) };
        let why = format!("a global norm of at most {norm:.2e}, which gradients typically have");
        let fix = context.fix(self.name(), Effort::Training, Change::ClipNorm(norm), why);
        let removes = match context.finding.cause {
            Cause::Cliff | Cause::ClipThresholdTooLow => true,
            Cause::ExplodingRecurrence => context.finding.came_with_training(),
            _ => false,
        };
        Ok(Some(if removes { fix.preferred() } else { fix }))
    }
}
