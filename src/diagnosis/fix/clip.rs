//! Gradient clipping at the typical norm.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::{diagnosis::figures::number, error::Error};
use alloc::{format, string::String, vec::Vec};

/// Clips the norm of the gradient of all parameters at its [typical value](crate::monitor::RunStatistics::typical_norm)
/// before clipping. Thresholds from half to ten times the typical norm work (Pascanu, Mikolov & Bengio 2013).
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
        let (change, why) = match context.typical_norm.filter(|norm| *norm > 0.0 && norm.is_finite()) {
            Some(norm) => {
                let why = format!("the global norm is clipped at {}, the typical norm of the gradient", number(norm));
                (Change::ClipNorm(norm), why)
            }
            // Parameters that a low clip has kept where they were have the gradient of the run.
            None if context.finding.cause == Cause::ClipThresholdTooLow => (
                Change::FitClip,
                String::from("the global norm is clipped at the typical norm, which a trial measures"),
            ),
            None => return Ok(None),
        };
        let fix = context.fix(self.name(), Effort::Training, change, why);
        // A clip keeps the parameters, unless too long steps have spoiled them.
        let accused = if context.finding.needs_restart { fix.accused } else { Vec::new() };
        let fix = Fix { accused, ..fix };
        let removes = match context.finding.cause {
            Cause::Cliff | Cause::ClipThresholdTooLow => true,
            Cause::ExplodingRecurrence => context.finding.came_with_training(),
            _ => false,
        };
        Ok(Some(if removes { fix.preferred() } else { fix }))
    }
}
