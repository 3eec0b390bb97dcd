//! Layer normalisation before each activation.

use super::{Cause, Effort, Patient, Remedy, Treatment};
use crate::{error::Error, layer::Node};
use alloc::{boxed::Box, string::String, vec::Vec};

/// A [`LayerNorm`](crate::layer::LayerNorm) before each activation (Ba, Kiros & Hinton 2016): whatever the weights' size, the
/// pre-activations have variance 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct NormalizeLayers;

/// The network with a norm before each activation that has none.
fn normalized(node: &Node, added: &mut bool) -> Node {
    match node {
        Node::Sequential { input, layers } => {
            let mut after: Vec<Node> = Vec::new();
            for layer in layers {
                if let (Node::Pointwise { width, .. }, Some(before)) = (layer, after.last())
                    && !matches!(before, Node::LayerNorm { .. } | Node::RmsNorm { .. })
                {
                    // The layer's own ε: as small as its default.
                    after.push(Node::LayerNorm { width: *width, epsilon: 1e-5, affine: true });
                    *added = true;
                }
                after.push(normalized(layer, added));
            }
            Node::Sequential { input: *input, layers: after }
        }
        Node::Residual { branch, scale } => {
            Node::Residual { branch: Box::new(normalized(branch, added)), scale: *scale }
        }
        other => other.clone(),
    }
}

impl Remedy for NormalizeLayers {
    fn name(&self) -> &'static str {
        "layer normalisation"
    }

    fn cures(&self, cause: Cause) -> bool {
        use Cause::*;
        matches!(cause, SmallWeights | LargeWeights | Bottleneck | SaturatingActivation | UnscaledInput | Overflow)
    }

    fn treat(&self, patient: &Patient<'_>) -> Result<Option<Treatment>, Error> {
        let mut added = false;
        let after = normalized(patient.network, &mut added);
        if !added {
            return Ok(None);
        }
        let why = String::from("pre-activations of variance 1, whatever the size of the weights");
        patient.network_becomes(self.name(), Effort::Structure, after, why).map(Some)
    }
}
