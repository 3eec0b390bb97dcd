//! A constant learning rate in place of a schedule.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy, LongerStep};
use crate::{diagnosis::figures::number, error::Error};
use alloc::format;

/// Replaces schedules that vary by a constant factor, if the rate of the run was clearly above or below it.
///
/// The first proposal is the factor 1: the optimizer's own rate, which a decaying schedule has left, and a warm-up
/// has not reached. The second is for a rate that is too high: a tenth of the rate at which the mean loss was lowest,
/// if the rate rose clearly after that. It needs the optimizer's own rate, which
/// [`Trial::apply_best`](super::Trial::apply_best) knows. A rate that rises until the loss does is a range test
/// (Smith 2017). The loss is lowest near the edge of stability, and a tenth of the rate at that edge is the usual
/// choice.
#[derive(Clone, Copy, Debug, Default)]
pub struct HoldRate {
    /// Whether the held rate is a tenth of that at which the loss was lowest; otherwise it is the optimizer's own.
    pub(super) of_loss: bool,
}

/// The constant rate as a fraction of the learning rate at which the loss was lowest.
const BELOW_EDGE: f64 = 0.1;
/// The ratio of two learning rates above which they differ enough for a trial to show an effect.
const STEP: f64 = LongerStep::LEAST;

impl FixStrategy for HoldRate {
    fn name(&self) -> &'static str {
        "held rate"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        matches!(cause, Cause::LearningRateTooHigh | Cause::LearningRateTooLow)
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let too_high = context.finding.cause == Cause::LearningRateTooHigh;
        let Some((run, highest)) = context.run.and_then(|run| Some((run, run.highest_rate()?))) else {
            return Ok(None);
        };
        let own = context.own_rate.filter(|own| *own > 0.0);
        let (factor, why) = if self.of_loss {
            let rates = run.rates_since_lowest_loss().filter(|[rate, since]| *rate > 0.0 && since / rate > STEP);
            let Some(([rate, _], own)) = rates.zip(own).filter(|_| too_high) else { return Ok(None) };
            let why = format!("a tenth of {}, at which the loss was lowest, as a constant rate", number(rate));
            (BELOW_EDGE * rate / own, why)
        } else {
            let is_left = |own: f64| if too_high { highest / own > STEP } else { own / highest > STEP };
            // Without a known rate of the optimizer, a rate that rose shows a schedule; a warm-up that has ended is no
            // reason of a rate that is too low.
            let rises = || run.rate_rise() > 1.0 && (too_high || run.rate_grows() == Some(true));
            if !own.map_or_else(rises, is_left) {
                return Ok(None);
            }
            (1.0, format!("the optimizer's own rate without a schedule, which went to {}", number(highest)))
        };
        let fix = context.fix(self.name(), Effort::Training, Change::HoldRate(factor), why);
        Ok(Some(fix.preferred()))
    }
}
