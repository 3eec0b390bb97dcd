//! Weights on the critical line of the activation that follows them.

use super::{Cause, Effort, Patient, Remedy, Treatment, rewrite};
use crate::{
    activation::ActivationKind,
    error::Error,
    initializer::{CriticalGain, Initializer, InitializerKind, LeCun, Zeros},
    layer::Node,
};
use alloc::string::String;

/// Every weight matrix drawn by [`CriticalGain`] for the activation that follows it, so that χ₁ = 1 where it works; one that
/// no activation follows, by LeCun's. It does not apply where an activation has no critical point, as sigmoid.
#[derive(Clone, Copy, Debug, Default)]
pub struct CriticalInitialization {
    /// Whether matrices are orthogonal too: singular values all alike.
    pub orthogonal: bool,
}

/// The critical initializer of what follows; `None` where there is no critical point.
pub(super) fn critical(next: Option<&ActivationKind>, orthogonal: bool) -> Option<[InitializerKind; 2]> {
    let Some(next) = next else { return Some([LeCun::normal().kind(), Zeros.kind()]) };
    let gain = CriticalGain::new(next.as_any()).ok()?;
    let gain = if orthogonal { gain.orthogonal() } else { gain };
    Some([gain.kind(), gain.kind()])
}

/// The network with all its [`Linear`](crate::layer::Linear) layers drawn so; `None` where one cannot be.
pub(super) fn initialized(network: &Node, orthogonal: bool) -> Option<Node> {
    let mut every = true;
    let after = rewrite(network, None, &mut |leaf, next| {
        let Node::Linear { inputs, outputs, bias, .. } = leaf else { return None };
        let Some([weights, of_bias]) = critical(next, orthogonal) else {
            every = false;
            return None;
        };
        Some(Node::Linear { inputs: *inputs, outputs: *outputs, weights, bias: bias.as_ref().map(|_| of_bias) })
    });
    every.then_some(after)
}

impl Remedy for CriticalInitialization {
    fn name(&self) -> &'static str {
        if self.orthogonal { "orthogonal critical initialisation" } else { "critical initialisation" }
    }

    fn cures(&self, cause: Cause) -> bool {
        use Cause::*;
        matches!(cause, SmallWeights | LargeWeights | Bottleneck | ConstantWeights | Overflow | DeadUnits)
    }

    fn treat(&self, patient: &Patient<'_>) -> Result<Option<Treatment>, Error> {
        let Some(after) = initialized(patient.network, self.orthogonal) else { return Ok(None) };
        let why = String::from("weights that give back just what φ′ takes, layer by layer");
        let treatment = patient.network_becomes(self.name(), Effort::Initialization, after, why)?;
        // Units that died in training were killed by its steps.
        let killed = patient.finding.cause == Cause::DeadUnits && patient.finding.since > Some(0);
        let removes = !self.orthogonal && !killed;
        Ok(Some(if removes && treatment.is_enough() { treatment.preferred() } else { treatment }))
    }
}
