//! The descriptions that interventions build.

use super::Alteration;
use crate::{
    activation::{Activation, ActivationKind, Tanh},
    diagnosis::fix::rewrite,
    initializer::{CriticalGain, Initializer, LeCun, Zeros},
    layer::{BranchScale, LayerSpec, Linear},
};
use alloc::{boxed::Box, string::String, vec::Vec};

/// Returns the paths of the `Linear` layers, whose weights an intervention redraws, in the order of the forward pass.
pub(super) fn weight_layers(network: &LayerSpec) -> Vec<String> {
    let parts = network.parts().into_iter();
    parts.filter(|(_, part)| matches!(part, LayerSpec::Linear(_))).map(|(path, _)| path).collect()
}

/// Returns the paths of the layers that an alteration changes, in the order of the forward pass.
pub(super) fn changed_layers(network: &LayerSpec, alteration: &Alteration) -> Vec<String> {
    let outputs = crate::diagnosis::outputs(network);
    let changes = |(path, part): &(String, &LayerSpec)| match (alteration, part) {
        (Alteration::UnitGains, part) => part.is_norm(),
        (Alteration::ScaledBranches, LayerSpec::Residual { .. }) => true,
        (Alteration::OpenGates, LayerSpec::Recurrent { .. }) => true,
        (Alteration::ExchangedActivations, LayerSpec::ActivationLayer { activation, .. }) => {
            Some(path) != outputs.as_ref() && has_no_critical_point(activation)
        }
        (Alteration::CriticalWeights, LayerSpec::Linear(_)) => true,
        _ => false,
    };
    network.parts().into_iter().filter(changes).map(|(path, _)| path).collect()
}

/// Returns the network with the weights of `layers` initialized at the critical gain of the activation that follows.
/// `layers` are some of [`weight_layers`]; `None` if they are empty.
///
/// Weights without a following activation, or with one that has no critical point, get LeCun's initialization.
pub(super) fn critical(network: &LayerSpec, layers: &[String]) -> Option<LayerSpec> {
    let (all, mut place) = (weight_layers(network), 0);
    rewrite(network, &mut |leaf, next| {
        let LayerSpec::Linear(Linear { weights, bias, .. }) = leaf else { return false };
        let chosen = all.get(place).is_some_and(|path| layers.contains(path));
        place += 1;
        if chosen {
            let gain = next.and_then(|next| CriticalGain::new(next.as_any()).ok());
            *weights = gain.map_or_else(|| LeCun::normal().kind(), Initializer::kind);
            *bias = bias.as_ref().map(|_| gain.map_or_else(|| Zeros.kind(), Initializer::kind));
        }
        chosen
    })
}

/// Whether the activation has no critical point: no initial weights keep both the signal and the gradient.
pub(in crate::diagnosis) fn has_no_critical_point(activation: &ActivationKind) -> bool {
    CriticalGain::new(activation.as_any()).is_err()
}

/// Returns the network with tanh in place of activations without a critical point. The activation of the outputs is
/// kept. `None` if nothing changes.
fn exchanged(network: &LayerSpec) -> Option<LayerSpec> {
    let last =
        network.parts().into_iter().filter(|(_, part)| matches!(part, LayerSpec::ActivationLayer { .. })).count();
    let outputs = matches!(network.parts().last(), Some((_, LayerSpec::ActivationLayer { .. })));
    let mut place = 0;
    rewrite(network, &mut |leaf, _| {
        let LayerSpec::ActivationLayer { activation, .. } = leaf else { return false };
        place += 1;
        let hidden = !(outputs && place == last);
        let change = hidden && has_no_critical_point(activation);
        if change {
            *activation = Tanh.kind();
        }
        change
    })
}

/// Returns the number of residual layers in the network, nested ones included.
pub(in crate::diagnosis) fn residual_blocks(network: &LayerSpec) -> usize {
    network.parts().iter().filter(|(_, part)| matches!(part, LayerSpec::Residual { .. })).count()
}

/// Returns the network with the branches of its L residual layers scaled by 1/√L, if their scale was larger; `None`
/// if none was.
pub(in crate::diagnosis) fn scaled_branches(network: &LayerSpec) -> Option<LayerSpec> {
    let blocks = residual_blocks(network);
    let most = 1.0 / libm::sqrt(blocks.max(1) as f64);
    let mut changed = false;
    let after = scale(network, most, &mut changed);
    changed.then_some(after)
}

fn scale(node: &LayerSpec, most: f64, changed: &mut bool) -> LayerSpec {
    match node {
        LayerSpec::Sequential { input, layers } => {
            let layers = layers.iter().map(|layer| scale(layer, most, changed)).collect();
            LayerSpec::Sequential { input: *input, layers }
        }
        LayerSpec::Parallel { branches, merge } => {
            let branches = branches.iter().map(|branch| scale(branch, most, changed)).collect();
            LayerSpec::Parallel { branches, merge: *merge }
        }
        LayerSpec::Residual { branch, scale: old } => {
            let (BranchScale::Fixed(value) | BranchScale::Learned(value)) = *old;
            let louder = value.abs() > most;
            *changed |= louder;
            let to = if louder { most.copysign(value) } else { value };
            let new = match old {
                BranchScale::Fixed(_) => BranchScale::Fixed(to),
                BranchScale::Learned(_) => BranchScale::Learned(to),
            };
            LayerSpec::Residual { branch: Box::new(scale(branch, most, changed)), scale: new }
        }
        other => other.clone(),
    }
}

/// Returns the layer spec after the alterations; `None` if one of them changes nothing. [`Alteration::CriticalWeights`]
/// applies to `layers` alone.
///
/// Standardized inputs, unit gains and open gates do not change a layer spec.
pub(super) fn altered(network: &LayerSpec, alterations: &[Alteration], layers: &[String]) -> Option<LayerSpec> {
    let mut after = network.clone();
    for alteration in alterations {
        after = match alteration {
            Alteration::CriticalWeights => critical(&after, layers)?,
            Alteration::ScaledBranches => scaled_branches(&after)?,
            Alteration::ExchangedActivations => exchanged(&after)?,
            _ => after,
        };
    }
    Some(after)
}
