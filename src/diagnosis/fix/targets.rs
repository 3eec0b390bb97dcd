//! Targets brought to mean 0 and variance 1.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::{diagnosis::has_weights, error::Error};
use alloc::string::String;

/// Standardizes the targets of a regression to mean 0 and variance 1 in every column. The caller must convert
/// predictions back, by [`Standardize::invert`](crate::dataset::Standardize::invert). The parameters of the last layer
/// with weights are drawn again.
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
        let mut why = String::from("targets of mean 0 and variance 1, which updates of the usual size reach");
        let change = context.targets.clone().map_or(Change::FitTargets, Change::StandardizeTargets);
        if change == Change::FitTargets {
            why.push_str(", by `Standardize::fit_targets` on the training data");
        }
        let fix = context.fix(self.name(), Effort::Training, change, why);
        // The last weights fit targets of the old scale.
        let last = context.network.parts().into_iter().rev().find(|(_, part)| has_weights(part));
        let accused = last.into_iter().map(|(path, _)| path).chain(fix.accused.clone()).collect();
        Ok(Some(Fix { accused, ..fix }.preferred()))
    }
}
