//! Critical initialization for the activation after each weight matrix.

use super::{Cause, Effort, Fix, FixContext, FixStrategy, rewrite};
use crate::{
    diagnosis::{
        intervention::{make_critical, twice},
        outputs,
    },
    error::Error,
    layer::LayerSpec,
};
use alloc::{string::String, vec::Vec};

/// Initializes every weight matrix by [`CriticalGain`](crate::initializer::CriticalGain) for the activation that
/// follows it, so that each layer keeps the mean squared norm of a gradient (χ₁ = 1).
///
/// A matrix without a following activation gets LeCun's initialization. The matrices of a gated layer keep the variance
/// of the signal. The fix does not apply if a hidden activation has no critical point, such as sigmoid.
#[derive(Clone, Copy, Debug, Default)]
pub struct CriticalInitialization {
    /// Whether matrices are also orthogonal, which is preferred. Then all singular values are equal, so no single
    /// direction vanishes, and random networks differ less from draw to draw (Saxe et al. 2014; Pennington et al.
    /// 2017).
    pub orthogonal: bool,
}

/// Returns the network with critical initialization of all `Linear`, `GatedLinear` and `PRelu` layers, with orthogonal
/// matrices if `orthogonal` is set. `None` if nothing changes, or if an activation other than that of the outputs has
/// no critical point.
pub(super) fn initialized(network: &LayerSpec, orthogonal: bool) -> Option<LayerSpec> {
    let mut are_critical = Vec::new();
    let after = twice(network, &mut |network| {
        are_critical.clear();
        rewrite(network, &mut |leaf, next| {
            let is_critical = make_critical(leaf, next, orthogonal);
            are_critical.extend(is_critical);
            is_critical.is_some()
        })
    });
    // The weights before the activation of the outputs.
    if outputs(network).is_some() {
        are_critical.pop();
    }
    after.filter(|_| are_critical.iter().all(|&is_critical| is_critical))
}

impl FixStrategy for CriticalInitialization {
    fn name(&self) -> &'static str {
        if self.orthogonal { "orthogonal critical initialization" } else { "critical initialization" }
    }

    fn applies_to(&self, cause: Cause) -> bool {
        use Cause::*;
        matches!(cause, SmallWeights | LargeWeights | Bottleneck | ConstantWeights | Overflow | DeadUnits)
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let Some(after) = initialized(context.network, self.orthogonal) else { return Ok(None) };
        let why = String::from(
            "weights of the size at which each layer keeps the gradient's norm \
             (χ₁ = 1, `initializer::CriticalGain`)",
        );
        let fix = context.network_becomes(self.name(), Effort::Initialization, after, why)?;
        // Units that died during training died because of the updates.
        let killed = context.finding.cause == Cause::DeadUnits && context.finding.came_with_training();
        let removes = self.orthogonal && !killed;
        Ok(Some(if removes && fix.is_enough() { fix.preferred() } else { fix }))
    }
}
