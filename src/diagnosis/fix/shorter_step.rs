//! A smaller learning rate.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::{diagnosis::figures::number, error::Error};
use alloc::{format, string::String};

/// Multiplies the learning rate so that the norm of an update becomes 10^−1.5, a thirtieth, of that of its
/// parameters. Two further proposals make it a tenth and a hundredth of this target. Without a measured ratio of
/// update to parameters the factors are a hundredth, a tenth and a thousandth: the middle first.
///
/// A tenth of the parameters is too large, and a hundredth learns slowly; 10^−1.5 is their geometric mean. The
/// measured update is the first, before momentum β has made steps up to 1/(1 − β) times as long. The target allows for
/// the tenfold length with the usual β of 0.9; a larger β shortens the proposed steps.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShorterStep {
    /// The index of the proposed rate, an element of [`LADDER`](Self::LADDER): 0 for the target ratio of update to
    /// parameters, 1 for a tenth of it and 2 for a hundredth.
    pub(super) rung: u8,
}

impl ShorterStep {
    /// The indices of the rates that are proposed if the rate is too high, in the order of the proposals.
    pub(super) const LADDER: [u8; 3] = [0, 1, 2];
}

impl FixStrategy for ShorterStep {
    fn name(&self) -> &'static str {
        "shorter steps"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        matches!(cause, Cause::LearningRateTooHigh | Cause::DeadUnits | Cause::Cliff | Cause::Overflow)
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let too_high = context.finding.cause == Cause::LearningRateTooHigh;
        // For this cause, `decades` is log10 of the ratio of update to parameters.
        let measured = context.finding.decades.filter(|decades| too_high && decades.is_finite());
        let rung = f64::from(self.rung);
        let (factor, why) = match measured {
            Some(ratio) => {
                let longer = 0.1 / (1.0 - context.momentum.clamp(0.0, 1.0 - 1e-9));
                let share = libm::exp10(1.5 + rung);
                let shortened = if longer > 1.001 {
                    format!(", {} times shorter for a momentum of {}", number(longer), context.momentum)
                } else {
                    String::new()
                };
                let why = match self.rung {
                    0 => format!("updates of a thirtieth of the weights{shortened}"),
                    _ => format!("updates of about 1/{share:.0} of the weights{shortened}"),
                };
                (libm::exp10(-1.5 - ratio).clamp(1e-4, 0.1) * libm::exp10(-rung) / longer.max(1.0), why)
            }
            // For other causes the rate is one possible reason of several: only its first shortening is proposed.
            None if !too_high && self.rung > 0 => return Ok(None),
            None if too_high && self.rung != 1 => match self.rung {
                0 => (1e-2, String::from("a hundredth of the rate")),
                _ => (1e-3, String::from("a thousandth of the rate")),
            },
            None => (0.1, String::from("a tenth of the rate")),
        };
        let fix = context.fix(self.name(), Effort::Training, Change::LearningRate(factor), why);
        // Units that were dead before the first update did not die because of an update.
        let killed = context.finding.cause == Cause::DeadUnits && context.finding.came_with_training();
        Ok(Some(if too_high || killed { fix.preferred() } else { fix }))
    }
}
