//! Layer normalization before each activation.

use super::{Cause, Effort, Fix, FixContext, FixStrategy};
use crate::{
    error::Error,
    layer::{LayerNorm, LayerSpec},
};
use alloc::{boxed::Box, string::String, vec::Vec};

/// Adds a [`LayerNorm`](crate::layer::LayerNorm) before each activation that has no norm before it (Ba, Kiros & Hinton
/// 2016). Pre-activations then have variance 1 for weights of any scale.
#[derive(Clone, Copy, Debug, Default)]
pub struct NormalizeLayers;

/// Returns the network with a `LayerNorm` before each activation that directly follows a layer other than a norm in the
/// same `Sequential`. Sets `added` if there is such an activation, and otherwise leaves it.
fn normalized(spec: &LayerSpec, added: &mut bool) -> LayerSpec {
    match spec {
        LayerSpec::Sequential { input, layers } => {
            let mut after: Vec<LayerSpec> = Vec::new();
            for layer in layers {
                if let (LayerSpec::ActivationLayer { width, .. }, Some(before)) = (layer, after.last())
                    && !before.is_norm()
                {
                    after.push(LayerSpec::LayerNorm(LayerNorm::new(*width)));
                    *added = true;
                }
                after.push(normalized(layer, added));
            }
            LayerSpec::Sequential { input: *input, layers: after }
        }
        LayerSpec::Parallel { branches, merge } => {
            let branches = branches.iter().map(|branch| normalized(branch, added)).collect();
            LayerSpec::Parallel { branches, merge: *merge }
        }
        LayerSpec::Residual { branch, scale } => {
            LayerSpec::Residual { branch: Box::new(normalized(branch, added)), scale: *scale }
        }
        other => other.clone(),
    }
}

impl FixStrategy for NormalizeLayers {
    fn name(&self) -> &'static str {
        "layer normalization"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        use Cause::*;
        matches!(cause, SmallWeights | LargeWeights | Bottleneck | SaturatingActivation | UnscaledInput | Overflow)
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let mut added = false;
        let after = normalized(context.network, &mut added);
        if !added {
            return Ok(None);
        }
        let why = String::from("pre-activations have variance 1 for weights of any scale");
        context.network_becomes(self.name(), Effort::Structure, after, why).map(Some)
    }
}
