//! Weights on the critical line of the activation that follows them.

use super::{Cause, Effort, Fix, FixContext, FixStrategy, rewrite};
use crate::{
    error::Error,
    initializer::{CriticalGain, Initializer, LeCun, Zeros},
    layer::LayerSpec,
};
use alloc::string::String;

/// Every weight matrix drawn by [`CriticalGain`] for the activation that follows it, so that χ₁ = 1 where it works; one
/// that no activation follows, by LeCun's. It does not apply where an activation has no critical point, as sigmoid.
#[derive(Clone, Copy, Debug, Default)]
pub struct CriticalInitialization {
    /// Whether matrices are orthogonal too: singular values all alike, so that no direction vanishes on its own and
    /// nets of one description differ less from draw to draw (Saxe et al. 2014; Pennington et al. 2017). The first
    /// choice.
    pub orthogonal: bool,
}

/// The network with all its [`Linear`](crate::layer::Linear) layers drawn so; `None` where one cannot be.
pub(super) fn initialized(network: &LayerSpec, orthogonal: bool) -> Option<LayerSpec> {
    let mut every = true;
    let after = rewrite(network, &mut |leaf, next| {
        let LayerSpec::Linear { weights, bias, .. } = leaf else { return false };
        let Some(next) = next else {
            (*weights, *bias) = (LeCun::normal().kind(), bias.as_ref().map(|_| Zeros.kind()));
            return true;
        };
        let Ok(gain) = CriticalGain::new(next.as_any()) else {
            every = false;
            return false;
        };
        let gain = if orthogonal { gain.orthogonal() } else { gain };
        (*weights, *bias) = (gain.kind(), bias.as_ref().map(|_| gain.kind()));
        true
    });
    after.filter(|_| every)
}

impl FixStrategy for CriticalInitialization {
    fn name(&self) -> &'static str {
        if self.orthogonal { "orthogonal critical initialisation" } else { "critical initialisation" }
    }

    fn applies_to(&self, cause: Cause) -> bool {
        use Cause::*;
        matches!(cause, SmallWeights | LargeWeights | Bottleneck | ConstantWeights | Overflow | DeadUnits)
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let Some(after) = initialized(context.network, self.orthogonal) else { return Ok(None) };
        let why = String::from("weights that give back just what φ′ takes, layer by layer");
        let fix = context.network_becomes(self.name(), Effort::Initialization, after, why)?;
        // Units that died in training were killed by its steps.
        let killed = context.finding.cause == Cause::DeadUnits && context.finding.came_with_training();
        let removes = self.orthogonal && !killed;
        Ok(Some(if removes && fix.is_enough() { fix.preferred() } else { fix }))
    }
}
