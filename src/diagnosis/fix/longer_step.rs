//! A larger learning rate.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::error::Error;
use alloc::format;

/// Multiplies the learning rate so that the norm of the largest update becomes a given fraction of the norm of its
/// parameters. The factor, from 10^¼ to 10⁸, is the given fraction over the measured one. Without a measured
/// fraction the factors are 10 to 10⁵.
///
/// The best rate depends on the curvature of the loss, which the ratio does not contain: a rate above 2/λ is too
/// large, with λ the largest eigenvalue of the Hessian. So each ratio of [`LADDER`](Self::LADDER) is proposed, and a
/// trial finds the best one.
#[derive(Clone, Copy, Debug)]
pub struct LongerStep {
    /// The target: log10 of the ratio of an update's norm to the norm of its parameters.
    pub(super) ratio: f64,
}

impl LongerStep {
    /// log10 of the ratios that are proposed: updates from 1/300 to 1/3 of the parameters, half a decade apart. Larger
    /// updates erase all that was learned. The middle is first, then the longer ones: a trial may have no steps for
    /// all, and the longer ones lower the loss in fewer steps.
    pub const LADDER: [f64; 5] = [-1.5, -1.0, -0.5, -2.0, -2.5];

    /// The least factor that is proposed, half the distance of two ratios of the ladder: smaller ones change nothing
    /// that a trial could show.
    pub(super) const LEAST: f64 = 1.778;
}

/// Returns the strategy with the first ratio of [`LADDER`](LongerStep::LADDER): updates of about 1/32 of the
/// parameters, by their norms.
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
        // A schedule that ended says nothing against the rate that it began with.
        if context.finding.schedule.is_some() {
            return Ok(None);
        }
        // Updates that do not shrink with the gradient keep this length for the whole run, which a trial of few steps
        // does not show.
        if context.divides && self.ratio > Self::LADDER[0] {
            return Ok(None);
        }
        // For this cause, the decades of a finding are log10 of update over parameter.
        let (factor, why) = match context.finding.decades {
            Some(ratio) if ratio.is_finite() => {
                let factor = libm::exp10(self.ratio - ratio).min(1e8);
                let share = libm::round(libm::exp10(-self.ratio));
                (factor, format!("{factor:.0} times the rate: steps of about 1/{share} of the parameters"))
            }
            // No multiple of a rate of 0 moves anything.
            Some(_) => return Ok(None),
            None => {
                let factor = libm::exp10(3.0 + 2.0 * (self.ratio - Self::LADDER[0]));
                (factor, format!("{factor:.0} times the rate"))
            }
        };
        if factor < Self::LEAST {
            return Ok(None);
        }
        let fix = context.fix(self.name(), Effort::Training, Change::LearningRate(factor), why);
        Ok(Some(fix.preferred()))
    }
}
