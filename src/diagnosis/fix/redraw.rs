//! New random initial values for all parameters.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::error::Error;
use alloc::string::String;

/// Draws all parameters again from the network's initializers, for units with equal weights. Independent draws make
/// them different.
#[derive(Clone, Copy, Debug, Default)]
pub struct Redraw;

impl FixStrategy for Redraw {
    fn name(&self) -> &'static str {
        "parameters drawn again"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        matches!(cause, Cause::DuplicatedUnits)
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let why = String::from("independent random weights make the units different");
        let fix = context.fix(self.name(), Effort::Initialization, Change::Redraw, why);
        Ok(Some(fix.preferred()))
    }
}
