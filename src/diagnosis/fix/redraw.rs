//! All first values drawn again.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::error::Error;
use alloc::string::String;

/// Parameters drawn again from the network's own initializers, for units that were made alike by hand: independent
/// draws part them.
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
        let why = String::from("independent draws make every unit its own");
        let fix = context.fix(self.name(), Effort::Initialization, Change::Redraw, why);
        Ok(Some(fix.preferred()))
    }
}
