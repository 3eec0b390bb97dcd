//! Inputs brought to mean 0 and variance 1.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::{dataset::Standardize, error::Error, layer::LayerSpec};
use alloc::string::String;

impl FixStrategy for Standardize {
    fn name(&self) -> &'static str {
        "standardized inputs"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        matches!(cause, Cause::UnscaledInput | Cause::Overflow)
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let mut why = String::from("inputs of mean 0 and variance 1 in every column");
        let change = match context.columns.clone() {
            Some(columns) => Change::Standardize(columns),
            // Indices are no quantities.
            None if context.network.parts().iter().any(|(_, part)| matches!(part, LayerSpec::Embedding(_))) => {
                return Ok(None);
            }
            None => {
                why.push_str(", by `Standardize::fit` on the training data");
                Change::FitInputs
            }
        };
        let fix = context.fix(self.name(), Effort::Training, change, why);
        let removes = context.finding.cause == Cause::UnscaledInput;
        Ok(Some(if removes { fix.preferred() } else { fix }))
    }
}
