//! Residual branches scaled by 1/√L.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy, critical};
use crate::{
    diagnosis::intervention::{learned_scales, residual_blocks, scaled_branches},
    error::Error,
};
use alloc::{format, string::String};

/// Scales the branches of L residual layers by 1/√L. The variance that they add to signal and gradient is then
/// bounded at any depth (Hayou et al. 2021).
#[derive(Clone, Copy, Debug, Default)]
pub struct ScaleBranches;

impl ScaleBranches {
    /// Proposes redrawing the learned branch scales, for a network whose initial scales are at most 1/√L already,
    /// with L residual layers. `None` if the finding is not about loud branches, or no scale is learned.
    fn scales_drawn_again(self, context: &FixContext<'_>) -> Option<Fix> {
        let scales = learned_scales(context.network);
        if context.finding.cause != Cause::LoudBranches || scales.is_empty() {
            return None;
        }
        let why = String::from("the learned scales of branches as the description draws them");
        Some(context.fix(self.name(), Effort::Initialization, Change::RedrawLayers(scales), why).preferred())
    }
}

impl FixStrategy for ScaleBranches {
    fn name(&self) -> &'static str {
        "scaled branches"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        matches!(cause, Cause::LoudBranches | Cause::LargeWeights | Cause::Overflow)
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let Some(after) = scaled_branches(context.network) else { return Ok(self.scales_drawn_again(context)) };
        let blocks = residual_blocks(context.network);
        let why =
            format!("branches scaled by 1/√{blocks}, so that {blocks} of them add no more than their skips carry");
        let mut fix = context.network_becomes(self.name(), Effort::Initialization, after.clone(), why)?;
        // Branches that are loud by their weights, too.
        if let Some(critical) = critical::initialized(&after, false).filter(|_| !fix.is_enough()) {
            let why = format!("branches scaled by 1/√{blocks}, with critical weights");
            fix = context.network_becomes(self.name(), Effort::Initialization, critical, why)?;
        }
        let removes = context.finding.cause == Cause::LoudBranches && fix.is_enough();
        Ok(Some(if removes { fix.preferred() } else { fix }))
    }
}
