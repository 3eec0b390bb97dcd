//! Replacement of an activation through which the gradient vanishes.

use super::{Cause, Effort, Fix, FixContext, FixStrategy, critical, rewrite};
use crate::{
    activation::{Activation, ActivationKind, LeakyRelu, Tanh},
    diagnosis::{Finding, intervention::has_no_critical_point},
    error::Error,
    layer::LayerSpec,
};
use alloc::{format, string::String, vec::Vec};
use core::f64::consts::PI;

/// Replaces activations through which the gradient or the angles between inputs vanish, and draws weights at the
/// critical gain of the new ones.
///
/// Activations that saturate, or have no critical point, become tanh, which has mean 0 and slope 1 at 0. Dead units
/// that the finding names get a leaky rectifier of slope 0.1 in place of their activation. Rectifiers that make all
/// inputs alike become leaky rectifiers of the [`shaped_slope`] for their number. A custom activation that returns NaN
/// for some inputs becomes tanh.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExchangeActivation;

/// The correlation that [`shaped_slope`] gives the outputs of a deep network for two uncorrelated inputs. Source: the
/// η of TAT (Zhang, Botev & Martens 2022, "Deep learning without shortcuts").
const CORRELATED: f64 = 0.9;

/// The slope below 0 of `depth` leaky rectifiers in a row with critical weights, for which uncorrelated inputs reach a
/// correlation of 0.9; 0 if plain rectifiers stay below that. Source: TAT.
///
/// One layer of slope a below 0 maps a correlation c to
/// `c + (1 − a)²/(π (1 + a²)) · (√(1 − c²) − c arccos c)`. For a = 0, a rectifier, 20 layers bring 0 to
/// 0.95; for a = 1, the identity, c does not change. A depth above 2¹² counts as 2¹².
pub fn shaped_slope(depth: usize) -> f64 {
    let depth = depth.min(1 << 12);
    let reached = |a: f64| {
        let share = (1.0 - a) * (1.0 - a) / (PI * (1.0 + a * a));
        let next = |c: f64, _| c + share * (libm::sqrt((1.0 - c * c).max(0.0)) - c * libm::acos(c.min(1.0)));
        (0..depth).fold(0.0, next)
    };
    let [mut low, mut high] = [0.0, 1.0];
    if reached(low) <= CORRELATED {
        return low;
    }
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        *(if reached(middle) > CORRELATED { &mut low } else { &mut high }) = middle;
    }
    high
}

/// Returns the activation to take in place of `activation`; `None` if it stays. `accused` is whether the finding names
/// a layer of this activation.
fn instead(activation: &ActivationKind, cause: Cause, depth: usize, accused: bool) -> Option<ActivationKind> {
    let bounds = activation.derivative_bounds();
    let low = bounds.is_some_and(|bounds| bounds.magnitude() <= 0.5);
    let off = bounds.is_some_and(|bounds| bounds.inf == 0.0 && bounds.sup == 1.0) && activation.kinks().len() == 1;
    let own = matches!(activation, ActivationKind::Custom(_));
    let leaky = |slope| LeakyRelu::new(slope).ok().map(|leaky| leaky.kind());
    match cause {
        Cause::NotANumber => own.then(|| Tanh.kind()),
        // Any slope of 0 can hold an accused unit off, wherever its kink is.
        Cause::DeadUnits => {
            let has_ends = !activation.kinks().is_empty() || !activation.jumps().is_empty();
            let flat = bounds.is_some_and(|bounds| bounds.inf <= 0.0) && has_ends;
            (accused && flat).then(|| leaky(0.1)).flatten()
        }
        Cause::CollapsedRepresentation if off => Some(shaped_slope(depth)).filter(|&slope| slope > 0.0).and_then(leaky),
        _ => (low || has_no_critical_point(activation)).then(|| Tanh.kind()),
    }
}

/// Returns the activations of the layers that the finding names; of all if it names none. An activation at fault in
/// one layer is at fault wherever the network has it, except at the outputs, whose range it may set.
fn named<'a>(parts: &[(String, &'a LayerSpec)], finding: &Finding) -> Vec<&'a ActivationKind> {
    let place = |path: &str| parts.iter().rposition(|(at, _)| at == path);
    let ranges = finding.layers.iter().filter_map(|range| Some(place(&range.first)?..=place(&range.last)?));
    let ranges: Vec<_> = ranges.collect();
    let is_named = |at: usize| ranges.is_empty() || ranges.iter().any(|range| range.contains(&at));
    let named = parts.iter().enumerate().filter(|(at, _)| is_named(*at)).map(|(_, (_, part))| *part);
    named.filter_map(activation).collect()
}

/// Returns the activation of a layer without inner layers; `None` if it has none.
fn activation(leaf: &LayerSpec) -> Option<&ActivationKind> {
    match leaf {
        LayerSpec::ActivationLayer { activation, .. } => Some(activation),
        LayerSpec::Recurrent { cell, .. } => cell.activation(),
        _ => None,
    }
}

impl FixStrategy for ExchangeActivation {
    fn name(&self) -> &'static str {
        "another activation"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        use Cause::*;
        matches!(cause, SaturatingActivation | CollapsedRepresentation | DeadUnits | NotANumber)
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let (mut names, cause) = (None, context.finding.cause);
        let hidden = |part: &&(_, &LayerSpec)| matches!(part.1, LayerSpec::ActivationLayer { .. });
        let parts = context.network.parts();
        let depth = parts.iter().filter(hidden).count();
        let accused = named(&parts, context.finding);
        let ends = |path: &str| context.finding.layers.iter().any(|range| range.last == path);
        // Units of an output activation that no finding names are not dead.
        let outputs = parts.last().filter(|last| hidden(last) && cause == Cause::DeadUnits);
        let keeps_outputs = outputs.is_some_and(|(path, _)| !ends(path));
        let mut place = 0;
        let exchanged = rewrite(context.network, &mut |leaf, _| {
            let is_activation = matches!(leaf, LayerSpec::ActivationLayer { .. });
            place += usize::from(is_activation);
            if keeps_outputs && is_activation && place == depth {
                return false;
            }
            let activation = match leaf {
                LayerSpec::ActivationLayer { activation, .. } => Some(activation),
                LayerSpec::Recurrent { cell, .. } => cell.activation_mut(),
                _ => None,
            };
            let Some(activation) = activation else { return false };
            let Some(new) = instead(activation, cause, depth, accused.contains(&&*activation)) else { return false };
            names = Some((activation.name(), new.name()));
            *activation = new;
            true
        });
        let Some((exchanged, (old, new))) = exchanged.zip(names) else { return Ok(None) };
        let after = critical::initialized(&exchanged, true).unwrap_or(exchanged);
        let why = format!("{new} replaces {old}, with critical weights for {new}");
        let fix = context.network_becomes(self.name(), Effort::Activation, after, why)?;
        // Shaped rectifiers leave a correlation of 0.9; skip connections, if the network takes them, leave less.
        let lessens = matches!(cause, Cause::DeadUnits | Cause::CollapsedRepresentation);
        let removes = !lessens && fix.is_enough();
        Ok(Some(if removes { fix.preferred() } else { fix }))
    }
}
