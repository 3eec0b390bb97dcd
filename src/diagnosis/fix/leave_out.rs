//! Data without the samples that outweigh all others.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::error::Error;
use alloc::{format, vec::Vec};

/// Leaves out of the data the samples that the finding names.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeaveOut;

impl FixStrategy for LeaveOut {
    fn name(&self) -> &'static str {
        "samples left out"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        cause == Cause::BadData
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let Some(first) = context.finding.sample else { return Ok(None) };
        let others = context.finding.samples.iter().copied().filter(|&sample| sample != first);
        let samples: Vec<usize> = core::iter::once(first).chain(others).collect();
        let why = match samples.len() {
            1 => format!("the data without sample {first}"),
            count => format!("the data without the {count} samples that are far larger than the others"),
        };
        let fix = context.fix(self.name(), Effort::Training, Change::LeaveOut(samples), why);
        Ok(Some(fix.preferred()))
    }
}
