//! A larger learning rate.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::error::Error;
use alloc::format;

/// The learning rate raised until the largest step is a given share of its parameters, by the ratio that was measured.
///
/// Where the loss falls fastest is a matter of its curvature, which the ratio does not tell: a step is too long above
/// 2/λ, λ the largest eigenvalue of the loss. So the steps of [`LADDER`](Self::LADDER) are proposed, and a trial
/// tells the longest that the loss bears.
#[derive(Clone, Copy, Debug)]
pub struct LongerStep {
    /// log10 of update over parameter.
    pub(super) ratio: f64,
}

impl LongerStep {
    /// Steps from a three-hundredth to a third of the parameters, each half a decade longer. Longer steps leave nothing
    /// of what was learned.
    pub const LADDER: [f64; 5] = [-2.5, -2.0, -1.5, -1.0, -0.5];
}

/// The first step of the ladder.
impl Default for LongerStep {
    fn default() -> Self {
        LongerStep { ratio: Self::LADDER[0] }
    }
}

impl FixStrategy for LongerStep {
    fn name(&self) -> &'static str {
        "longer steps"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        cause == Cause::LearningRateTooLow
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        // Of this finding the decades are log10 of update over parameter.
        let Some(ratio) = context.finding.decades else { return Ok(None) };
        let factor = libm::exp10(self.ratio - ratio).clamp(1.0, 1e8);
        let share = libm::round(libm::exp10(-self.ratio));
        let why = format!("{factor:.0} times the rate: steps of about 1/{share} of the parameters");
        let fix = context.fix(self.name(), Effort::Training, Change::LearningRate(factor), why);
        Ok(Some(fix.preferred()))
    }
}
