//! Data without the samples that outweigh all others.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::error::Error;
use alloc::{format, string::String, vec::Vec};

/// Leaves the samples that the finding names out of the data. If it names only rows of a batch, the samples with
/// inputs far larger than those of the others are left out.
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
        let finding = context.finding;
        let Some(first) = finding.sample else {
            // Rows of a batch that are far larger than the others; other bad data has another usual fix, or is a proof.
            let is_by_row = finding.samples.is_empty() && !finding.is_proof && finding.fix == finding.cause.fix();
            let why = String::from("the data without the samples that are far larger than the others");
            let fix = || context.fix(self.name(), Effort::Training, Change::FitLeaveOut, why).preferred();
            return Ok(is_by_row.then(fix));
        };
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
