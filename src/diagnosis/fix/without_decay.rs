//! Training without weight decay.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::error::Error;
use alloc::string::String;

/// Disables weight decay, and draws all parameters again, since decay has shrunk them.
#[derive(Clone, Copy, Debug, Default)]
pub struct WithoutDecay;

impl FixStrategy for WithoutDecay {
    fn name(&self) -> &'static str {
        "no weight decay"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        cause == Cause::DecayTooStrong
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let why = String::from("updates that follow the gradient alone, from weights drawn again");
        Ok(Some(context.fix(self.name(), Effort::Training, Change::WithoutDecay, why).preferred()))
    }
}
