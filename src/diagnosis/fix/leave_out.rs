//! Data without a sample that outweighs all others.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::error::Error;
use alloc::{format, vec::Vec};

/// Leaves out of the data the sample that the finding names.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeaveOut;

impl FixStrategy for LeaveOut {
    fn name(&self) -> &'static str {
        "a sample left out"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        cause == Cause::BadData
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let Some(sample) = context.finding.sample else { return Ok(None) };
        let why = format!("the data without sample {sample}");
        let fix = context.fix(self.name(), Effort::Training, Change::LeaveOut(Vec::from([sample])), why);
        Ok(Some(fix.preferred()))
    }
}
