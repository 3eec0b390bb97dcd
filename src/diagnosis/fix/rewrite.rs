//! Changes of the layers in a layer specification.

use crate::{
    activation::{Activation, ActivationKind, LeakyRelu},
    diagnosis::has_weights,
    layer::LayerSpec,
};

/// Returns `network` after `change` of its leaves, the layers without inner layers; `None` if none changed. `change`
/// receives each leaf and the activation that follows it, `None` without one. It returns whether it changed the leaf.
pub(in crate::diagnosis) fn rewrite(
    network: &LayerSpec,
    change: &mut dyn FnMut(&mut LayerSpec, Option<&ActivationKind>) -> bool,
) -> Option<LayerSpec> {
    fn walk(
        spec: &mut LayerSpec,
        next: Option<&ActivationKind>,
        change: &mut dyn FnMut(&mut LayerSpec, Option<&ActivationKind>) -> bool,
    ) -> bool {
        match spec {
            LayerSpec::Sequential { layers, .. } | LayerSpec::Checkpointed { layers, .. } => {
                let mut changed = false;
                let mut rest = &mut layers[..];
                while let Some((layer, after)) = rest.split_first_mut() {
                    let follows = first_activation(after);
                    changed |= walk(layer, follows.as_ref().map_or(next, Option::as_ref), change);
                    rest = after;
                }
                changed
            }
            LayerSpec::Residual { branch, .. } => walk(branch, None, change),
            LayerSpec::Parallel { branches, .. } => {
                branches.iter_mut().fold(false, |changed, branch| walk(branch, next, change) | changed)
            }
            LayerSpec::Reversed(layer) => walk(layer, next, change),
            LayerSpec::Bidirectional { forward, backward } => {
                walk(forward, next, change) | walk(backward, next, change)
            }
            leaf => change(leaf, next),
        }
    }
    let mut after = network.clone();
    walk(&mut after, None, change).then_some(after)
}

/// Returns the first activation in `layers`, not counting those within branches. It is `Some(None)` if a layer with
/// weights is before it, and `None` if `layers` have neither.
fn first_activation(layers: &[LayerSpec]) -> Option<Option<ActivationKind>> {
    layers.iter().find_map(|layer| match layer {
        LayerSpec::ActivationLayer { activation, .. } => Some(Some(activation.clone())),
        LayerSpec::PRelu(slopes) => Some(LeakyRelu::new(slopes.initial).ok().map(|leaky| leaky.kind())),
        LayerSpec::Sequential { layers, .. } | LayerSpec::Checkpointed { layers, .. } => first_activation(layers),
        LayerSpec::Reversed(_) | LayerSpec::Bidirectional { .. } => Some(None),
        part => has_weights(part).then_some(None),
    })
}
