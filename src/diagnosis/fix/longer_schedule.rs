//! A schedule that does not end before the run.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::error::Error;
use alloc::{format, string::String};

/// Stretches a schedule that ended before anything was learned.
///
/// How many updates learning takes is not known, so the first proposal keeps the rate near its start for the whole
/// run: the schedule becomes ten times as long as the run. The second proposal makes the schedule as long as the run,
/// so that a warm-up, too, ends within the run.
#[derive(Clone, Copy, Debug)]
pub struct LongerSchedule {
    /// The new length of the schedule as a multiple of the length of the run.
    pub(super) runs: u64,
}

impl LongerSchedule {
    /// The proposed lengths of the schedule, as multiples of the length of the run.
    pub(super) const RUNS: [u64; 2] = [10, 1];
}

/// Returns the strategy that keeps the rate near its start: a schedule of ten times the length of the run.
impl Default for LongerSchedule {
    fn default() -> Self {
        LongerSchedule { runs: Self::RUNS[0] }
    }
}

impl FixStrategy for LongerSchedule {
    fn name(&self) -> &'static str {
        "longer schedule"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        cause == Cause::LearningRateTooLow
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let (Some(ended), runs) = (context.finding.schedule, self.runs) else { return Ok(None) };
        let length = if runs == 1 { String::from("as long as the run") } else { format!("{runs} times the run") };
        let why = format!("the schedule stretched to {length}: it ended after {ended} updates");
        let change = Change::LongerSchedule { ended, runs };
        Ok(Some(context.fix(self.name(), Effort::Training, change, why).preferred()))
    }
}
