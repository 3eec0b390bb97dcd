//! Inputs brought to mean 0 and variance 1.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::{dataset::Standardize, error::Error};
use alloc::string::String;

impl FixStrategy for Standardize {
    fn name(&self) -> &'static str {
        "standardized inputs"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        matches!(cause, Cause::UnscaledInput | Cause::Overflow)
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let Some(columns) = context.columns.clone() else { return Ok(None) };
        let why = String::from("inputs of mean 0 and variance 1 in every column");
        let fix = context.fix(self.name(), Effort::Training, Change::Standardize(columns), why);
        let removes = context.finding.cause == Cause::UnscaledInput;
        Ok(Some(if removes { fix.preferred() } else { fix }))
    }
}
