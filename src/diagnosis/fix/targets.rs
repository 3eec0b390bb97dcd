//! Targets brought to mean 0 and variance 1.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::error::Error;
use alloc::string::String;

/// Standardizes the targets of a regression to mean 0 and variance 1 in every column. The caller must convert
/// predictions back, by [`Standardize::invert`](crate::dataset::Standardize::invert).
#[derive(Clone, Copy, Debug, Default)]
pub struct StandardizeTargets;

impl FixStrategy for StandardizeTargets {
    fn name(&self) -> &'static str {
        "standardized targets"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        cause == Cause::UnscaledTarget
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let Some(columns) = context.targets.clone() else { return Ok(None) };
        let why = String::from("targets of mean 0 and variance 1, which updates of the usual size reach");
        let fix = context.fix(self.name(), Effort::Training, Change::StandardizeTargets(columns), why);
        Ok(Some(fix.preferred()))
    }
}
