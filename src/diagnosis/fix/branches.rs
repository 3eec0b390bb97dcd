//! Residual branches scaled by 1/√L.

use super::{Cause, Effort, Fix, FixContext, FixStrategy};
use crate::{
    diagnosis::intervention::{residual_blocks, scaled_branches},
    error::Error,
};
use alloc::format;

/// Scales the branches of L residual layers by 1/√L. The variance that they add to signal and gradient is then
/// bounded at any depth (Hayou et al. 2021).
#[derive(Clone, Copy, Debug, Default)]
pub struct ScaleBranches;

impl FixStrategy for ScaleBranches {
    fn name(&self) -> &'static str {
        "scaled branches"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        matches!(cause, Cause::LoudBranches | Cause::LargeWeights | Cause::Overflow)
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let Some(after) = scaled_branches(context.network) else { return Ok(None) };
        let blocks = residual_blocks(context.network);
        let why =
            format!("branches scaled by 1/√{blocks}, so that {blocks} of them add no more than their skips carry");
        let fix = context.network_becomes(self.name(), Effort::Initialization, after, why)?;
        let removes = context.finding.cause == Cause::LoudBranches && fix.is_enough();
        Ok(Some(if removes { fix.preferred() } else { fix }))
    }
}
