//! Layer normalisation before each activation.

use super::{Cause, Effort, Patient, Remedy, Treatment};
use crate::{error::Error, layer::Node};
use alloc::{string::String, vec::Vec};

/// A [`LayerNorm`](crate::layer::LayerNorm) before each activation (Ba, Kiros & Hinton 2016): whatever the weights' size, the
/// pre-activations have variance 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct NormalizeLayers;

impl Remedy for NormalizeLayers {
    fn name(&self) -> &'static str {
        "layer normalisation"
    }

    fn cures(&self, cause: Cause) -> bool {
        use Cause::*;
        matches!(cause, SmallWeights | LargeWeights | Bottleneck | SaturatingActivation | UnscaledInput | Overflow)
    }

    fn treat(&self, patient: &Patient<'_>) -> Result<Option<Treatment>, Error> {
        let Node::Sequential { input, layers } = patient.network else { return Ok(None) };
        let mut after = Vec::new();
        for (i, layer) in layers.iter().enumerate() {
            if let (Node::Pointwise { width, .. }, true) = (layer, i > 0)
                && !matches!(layers[i - 1], Node::LayerNorm { .. } | Node::RmsNorm { .. })
            {
                // The layer's own ε: as small as its default.
                after.push(Node::LayerNorm { width: *width, epsilon: 1e-5, affine: true });
            }
            after.push(layer.clone());
        }
        if after.len() == layers.len() {
            return Ok(None);
        }
        let why = String::from("pre-activations of variance 1, whatever the size of the weights");
        let after = Node::Sequential { input: *input, layers: after };
        patient.network_becomes(self.name(), Effort::Structure, after, why).map(Some)
    }
}
