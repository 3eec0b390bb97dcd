//! The changed layer specifications for interventions, which measure or predict the gradient with one thing changed.

use super::Alteration;
use crate::{
    activation::{Activation, ActivationKind, Tanh},
    diagnosis::{fix::rewrite, task::heaviest_masks},
    initializer::{ByGate, CriticalGain, Initializer, LeCun, Zeros},
    layer::{BranchScale, LayerSpec, Linear, PRelu, join},
    mean_field::forward_gain,
};
use alloc::{string::String, vec::Vec};

/// Whether an [`Alteration`] of weights redraws parameters of the layer: weights and biases, the slopes of a
/// [`PRelu`], the input weights of a recurrent layer.
fn is_redrawn(part: &LayerSpec) -> bool {
    use LayerSpec::{GatedLinear, Linear, PRelu, Recurrent};
    matches!(part, Linear(_) | GatedLinear(_) | PRelu(_) | Recurrent { .. })
}

/// Returns the paths of the layers whose parameters an [`Alteration`] of weights redraws, in the order of the forward
/// pass.
pub(super) fn weight_layers(network: &LayerSpec) -> Vec<String> {
    network.parts().into_iter().filter(|(_, part)| is_redrawn(part)).map(|(path, _)| path).collect()
}

/// Whether the layer at `path` is a [`PRelu`].
pub(super) fn has_slopes(network: &LayerSpec, path: &str) -> bool {
    network.parts().iter().any(|(at, part)| at == path && matches!(part, LayerSpec::PRelu(_)))
}

/// Returns the paths of the layers that an alteration of all weights, gains, branches, activations or dropout
/// changes. For an alteration of gates these are the paths of all recurrent layers. The order is that of the forward
/// pass. Empty for other alterations.
pub(super) fn changed_layers(network: &LayerSpec, alteration: &Alteration) -> Vec<String> {
    let outputs = crate::diagnosis::outputs(network);
    let changes = |(path, part): &(String, &LayerSpec)| match (alteration, part) {
        (Alteration::UnitGains, part) => part.is_norm(),
        (Alteration::ScaledBranches, LayerSpec::Residual { .. }) => true,
        (Alteration::OpenGate(_) | Alteration::OpenGates, LayerSpec::Recurrent { .. }) => true,
        (Alteration::ExchangedActivations, LayerSpec::ActivationLayer { activation, .. }) => {
            Some(path) != outputs.as_ref() && has_no_critical_point(activation)
        }
        (Alteration::CriticalWeights, part) => is_redrawn(part),
        (Alteration::WithoutDropout, part) => heaviest_masks(part).is_some(),
        _ => false,
    };
    network.parts().into_iter().filter(changes).map(|(path, _)| path).collect()
}

/// Returns the network with the weights of `layers` initialized at the critical gain of the activation that follows
/// each. Recurrent layers get LeCun's input weights. `layers` are some of the paths that [`weight_layers`] returns.
/// `None` if there are none.
pub(super) fn critical(network: &LayerSpec, layers: &[String]) -> Option<LayerSpec> {
    let all = weight_layers(network);
    twice(network, &mut |network| {
        let mut place = 0;
        rewrite(network, &mut |leaf, next| {
            if !is_redrawn(leaf) {
                return false;
            }
            let chosen = all.get(place).is_some_and(|path| layers.contains(path));
            place += 1;
            if let (true, LayerSpec::Recurrent { weights, .. }) = (chosen, &mut *leaf) {
                *weights = LeCun::normal().kind();
            } else if chosen {
                make_critical(leaf, next, false);
            }
            chosen
        })
    })
}

/// Returns `network` after `change` applied twice; `None` if the first time changes nothing. `change` sets the slopes
/// of [`PRelu`] and the gains of the weights before them: when it is applied again, it computes the gains for the new
/// slopes.
pub(in crate::diagnosis) fn twice(
    network: &LayerSpec,
    change: &mut dyn FnMut(&LayerSpec) -> Option<LayerSpec>,
) -> Option<LayerSpec> {
    let once = change(network)?;
    change(&once)
}

/// Sets the initializers of a layer at the critical gain of the activation `next` that follows it, with orthogonal
/// weights if `orthogonal` is set. Returns `false` if that activation has no critical point, and `None` for a layer
/// that has no weights of this kind.
///
/// Weights without a following activation, or with one that has no critical point, get LeCun's initialization. In a
/// gated linear layer, the weights of the values are drawn so that the product of values and gates has the variance
/// of the input. The slopes of a [`PRelu`] get their usual value, 0.25.
pub(in crate::diagnosis) fn make_critical(
    leaf: &mut LayerSpec,
    next: Option<&ActivationKind>,
    orthogonal: bool,
) -> Option<bool> {
    match leaf {
        LayerSpec::Linear(Linear { weights, bias, .. }) => {
            let gain = next.and_then(|next| CriticalGain::new(next.as_any()).ok());
            let gain = gain.map(|gain| if orthogonal { gain.orthogonal() } else { gain });
            *weights = gain.map_or_else(|| LeCun::normal().kind(), Initializer::kind);
            *bias = bias.as_ref().map(|_| gain.map_or_else(|| Zeros.kind(), Initializer::kind));
            Some(next.is_none() || gain.is_some())
        }
        LayerSpec::GatedLinear(gated) => {
            let gain = forward_gain(gated.activation.as_any(), 1.0).ok().filter(|gain| gain.is_finite());
            let values = LeCun::normal().gain(gain.unwrap_or(1.0));
            gated.weights = ByGate::new(LeCun::normal()).gate("value", values).kind();
            gated.bias = gated.bias.as_ref().map(|_| Zeros.kind());
            Some(gain.is_some())
        }
        LayerSpec::PRelu(slopes) => {
            slopes.initial = PRelu::new(slopes.width).initial;
            Some(true)
        }
        _ => None,
    }
}

/// Whether the activation has no critical point at variance 1: no initial weights and biases keep both the variance
/// of the signal and the norm of the gradient. Also true for an activation that is [flat](unit_slope) at that
/// variance.
pub(in crate::diagnosis) fn has_no_critical_point(activation: &ActivationKind) -> bool {
    CriticalGain::new(activation.as_any()).is_err() || unit_slope(activation).is_some_and(|slope| slope < FLAT)
}

/// An activation is flat if the mean of |φ′| for standard normal inputs is below this fraction of the bound of
/// |φ′|. A unit is saturated if its mean of |φ′| is below the same fraction.
pub(in crate::diagnosis) const FLAT: f64 = 0.05;

/// Returns the mean of |φ′| for standard normal inputs, divided by the bound of |φ′|; `None` without a bound
/// above 0. A ratio near 0 shows that the activation itself saturates, whatever the weights before it.
pub(in crate::diagnosis) fn unit_slope(activation: &ActivationKind) -> Option<f64> {
    let bound = activation.derivative_bounds()?.magnitude();
    let grid = (-1000..=1000).map(|i| 4e-3 * f64::from(i));
    let weight = |z: f64| libm::exp(-0.5 * z * z);
    let [slopes, weights] = grid.fold([0.0, 0.0], |[slopes, weights], z| {
        [slopes + weight(z) * activation.derivative(z, activation.value(z)).abs(), weights + weight(z)]
    });
    (bound > 0.0 && bound.is_finite()).then(|| slopes / weights / bound)
}

/// Returns the network with tanh in place of activations without a critical point. An activation that is the last
/// layer of the network is kept. `None` if nothing changes.
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
    let most = 1.0 / libm::sqrt(residual_blocks(network).max(1) as f64);
    let quiet = |value: f64| if value.abs() > most { most.copysign(value) } else { value };
    let after = each_scale(network, &|_, scale| match scale {
        BranchScale::Fixed(value) => BranchScale::Fixed(quiet(value)),
        BranchScale::Learned(value) => BranchScale::Learned(quiet(value)),
    });
    (after != *network).then_some(after)
}

/// Returns the network with the initial value of each learned branch scale replaced by the result of `value`, which
/// receives the name of the scale's block. Where `value` returns `None`, the initial value stays.
pub(super) fn with_scales(network: &LayerSpec, value: &dyn Fn(&str) -> Option<f64>) -> LayerSpec {
    each_scale(network, &|path, scale| match scale {
        BranchScale::Learned(initial) => BranchScale::Learned(value(&join(path, "scale")).unwrap_or(initial)),
        fixed => fixed,
    })
}

/// Returns the names of the blocks of learned branch scales.
pub(in crate::diagnosis) fn learned_scales(network: &LayerSpec) -> Vec<String> {
    let is_learned = |part: &LayerSpec| matches!(part, LayerSpec::Residual { scale: BranchScale::Learned(_), .. });
    let parts = network.parts().into_iter().filter(|(_, part)| is_learned(part));
    parts.map(|(path, _)| join(&path, "scale")).collect()
}

/// Returns the network with each branch scale replaced by the result of `change`, which receives the path of its
/// layer.
fn each_scale(network: &LayerSpec, change: &dyn Fn(&str, BranchScale) -> BranchScale) -> LayerSpec {
    fn walk(
        spec: &mut LayerSpec,
        paths: &mut dyn Iterator<Item = String>,
        change: &dyn Fn(&str, BranchScale) -> BranchScale,
    ) {
        let path = paths.next().unwrap_or_default();
        if let LayerSpec::Residual { scale, .. } = spec {
            *scale = change(&path, *scale);
        }
        spec.children_mut().for_each(|part| walk(part, paths, change));
    }
    let mut after = network.clone();
    walk(&mut after, &mut network.parts().into_iter().map(|(path, _)| path), change);
    after
}

/// Returns the network with all rates of dropout, recurrent dropout and zoneout at 0; `None` if all are 0 already.
fn without_masks(network: &LayerSpec) -> Option<LayerSpec> {
    rewrite(network, &mut |leaf, _| {
        let has_masks = heaviest_masks(leaf).is_some();
        match leaf {
            LayerSpec::Dropout(dropout) => dropout.rate = 0.0,
            LayerSpec::Recurrent { noise, .. } => {
                (noise.dropout, noise.zoneout_hidden, noise.zoneout_cell) = (0.0, 0.0, 0.0);
            }
            _ => {}
        }
        has_masks
    })
}

/// Returns the layer specification after the alterations; `None` if an alteration of weights, branches, activations or
/// dropout changes nothing. [`Alteration::CriticalWeights`] applies to `layers` alone.
///
/// All other alterations, such as standardized inputs, unit gains and open gates, leave the specification as it is.
pub(super) fn altered(network: &LayerSpec, alterations: &[Alteration], layers: &[String]) -> Option<LayerSpec> {
    let mut after = network.clone();
    for alteration in alterations {
        after = match alteration {
            Alteration::CriticalWeights => critical(&after, layers)?,
            Alteration::ScaledBranches => scaled_branches(&after)?,
            Alteration::ExchangedActivations => exchanged(&after)?,
            Alteration::WithoutDropout => without_masks(&after)?,
            _ => after,
        };
    }
    Some(after)
}
