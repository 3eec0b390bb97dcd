//! A larger learning rate.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::error::Error;
use alloc::format;

/// Multiplies the learning rate so that the norm of the largest update becomes a given fraction of that of its
/// parameters, from the measured fraction. The factor is from 1 to 10⁸.
///
/// The best rate depends on the curvature of the loss, which the ratio does not contain: a rate above 2/λ is too
/// large, with λ the largest eigenvalue of the Hessian. So each ratio of [`LADDER`](Self::LADDER) is proposed, and a
/// trial finds the best one.
#[derive(Clone, Copy, Debug)]
pub struct LongerStep {
    /// The target: log10 of the norm of an update over that of its parameters.
    pub(super) ratio: f64,
}

impl LongerStep {
    /// log10 of the ratios that are proposed: updates from 1/300 to 1/3 of the parameters, half a decade apart. Larger
    /// updates erase all that was learned. The middle is first, then the longer ones: a trial may have no steps for
    /// all, and the longer ones lower the loss in fewer steps.
    pub const LADDER: [f64; 5] = [-1.5, -1.0, -0.5, -2.0, -2.5];
}

/// Returns the fix with the first ratio of the ladder.
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
        // For this cause, the decades of a finding are log10 of update over parameter.
        let Some(ratio) = context.finding.decades else { return Ok(None) };
        let factor = libm::exp10(self.ratio - ratio).clamp(1.0, 1e8);
        let share = libm::round(libm::exp10(-self.ratio));
        let why = format!("{factor:.0} times the rate: steps of about 1/{share} of the parameters");
        let fix = context.fix(self.name(), Effort::Training, Change::LearningRate(factor), why);
        Ok(Some(fix.preferred()))
    }
}
