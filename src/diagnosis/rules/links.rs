//! The links (factors of the chain rule) on the main path with their decades (log10 change of the gradient's norm),
//! measured or predicted.

use super::{layer_of, layer_of_block};
use crate::{
    activation::{Activation, ActivationKind},
    diagnosis::Diagnosis,
    layer::LayerSpec,
    monitor::{BlockStatistics, Factor, LinkStatistics, Statistics},
};
use alloc::{string::String, vec::Vec};

/// One link (factor of the chain rule) on the path from loss to first weights.
pub(super) struct Row {
    pub layer: String,
    pub factor: Factor,
    pub decades: f64,
    /// The measured mean of |φ′|; `None` for links that are not activations, and without measurements.
    pub slope: Option<f64>,
    /// The largest |φ′| of the activation over all inputs; `None` if it is unknown, and for links that are not
    /// activations.
    pub sup: Option<f64>,
    /// The fraction of units of a bounded activation that are saturated; 0 for links that are not activations. In a
    /// prediction it is 0.5 for inputs with a root mean square above 3, otherwise 0.
    pub saturated: f64,
}

/// Whether |φ| is below 100 at ±1000. The slope φ′ of such an activation goes to 0 on both sides.
pub(super) fn is_bounded(activation: &ActivationKind) -> bool {
    [1e3_f64, -1e3].into_iter().all(|z| activation.value(z).abs() < 100.0)
}

/// Returns the activations of a network with their paths.
pub(super) fn activations(spec: &LayerSpec) -> Vec<(String, &ActivationKind)> {
    let parts = spec.parts().into_iter();
    parts
        .filter_map(|(path, part)| match part {
            LayerSpec::ActivationLayer { activation, .. } => Some((path, activation)),
            _ => None,
        })
        .collect()
}

/// Whether a parameter block of the layer, other than its biases, was 0 in the first pass.
pub(super) fn from_zero(statistics: &Statistics, layer: &str) -> bool {
    let own = |block: &&BlockStatistics| !block.name().ends_with("bias") && layer_of_block(block.name()) == layer;
    statistics.blocks().iter().filter(own).any(BlockStatistics::began_at_zero)
}

/// Returns the path of the first layer with a trained parameter, if all parameters of an earlier layer are frozen. No
/// gradient is needed between the input and that layer.
pub(super) fn first_trained(diagnosis: &Diagnosis<'_>) -> Option<String> {
    let blocks = diagnosis.statistics.map_or(&[][..], |statistics| statistics.blocks());
    let trained = blocks.iter().find(|block| !block.frozen())?;
    let layer = layer_of_block(trained.name());
    (layer_of_block(blocks.first()?.name()) != layer).then(|| layer.into())
}

/// Returns the index of the layer with path `layer` among all layers, in the order of the forward pass from 0; `None`
/// if there is none.
pub(super) fn place(diagnosis: &Diagnosis<'_>, layer: &str) -> Option<usize> {
    diagnosis.spec.parts().iter().position(|(path, _)| path == layer)
}

/// Returns the measured links (factors of the chain rule) on the main path in the order of the forward pass, without
/// weights that were 0 in the first pass. Their decades (log10) are means over the passes, or those of the first pass
/// if the gradient [exploded](super::steps::exploded_at_first) in it. `None` without measurements.
pub(super) fn measured_rows(diagnosis: &Diagnosis<'_>) -> Option<Vec<Row>> {
    let statistics = diagnosis.statistics?;
    let counts = |link: &&LinkStatistics| {
        let counts = link.on_main_path() && link.decades().count() + link.vanished_passes() > 0;
        counts && !(link.factor() == Factor::Weights && from_zero(statistics, layer_of(link.name())))
    };
    let mut seen: Vec<&LinkStatistics> = statistics.links().iter().filter(counts).collect();
    // Links (factors of the chain rule) that report in the backward pass only come last in the statistics.
    seen.sort_by_key(|link| link.index());
    let exploded_at_first = super::steps::exploded_at_first(diagnosis).is_some();
    let at_first = |link: &LinkStatistics| {
        let mut links = statistics.history().links.iter().filter(|_| exploded_at_first);
        links.find(|of| of.name == link.name() && of.factor == link.factor())?.decades.first().copied().flatten()
    };
    let row = |link| {
        let row = row(diagnosis, link);
        Row { decades: at_first(link).unwrap_or(row.decades), ..row }
    };
    Some(seen.into_iter().map(row).collect())
}

/// Returns a measured link (factor of the chain rule). Its decades are the mean over the passes, or −∞ if it made
/// the gradient of the last pass 0.
pub(super) fn row(diagnosis: &Diagnosis<'_>, link: &LinkStatistics) -> Row {
    let layer = layer_of(link.name());
    let flat = activations(&diagnosis.spec).iter().any(|(path, kind)| path == layer && is_bounded(kind));
    let ended = link.norm_out() == 0.0 && link.norm_in() > 0.0 && !link.underflowed();
    Row {
        layer: layer.into(),
        factor: link.factor(),
        decades: if ended { f64::NEG_INFINITY } else { link.decades().mean() },
        slope: (link.factor() == Factor::Activation).then(|| link.mean_slope()),
        sup: link.sup_slope(),
        // A rectifier's inactive units are not saturated.
        saturated: if flat { link.saturated() } else { 0.0 },
    }
}

/// Returns the predicted links (factors of the chain rule) on the main path in the order of the forward pass, without
/// the first weights.
pub(super) fn predicted_rows(diagnosis: &Diagnosis<'_>) -> Vec<Row> {
    let path: Vec<_> = diagnosis.prediction.links().iter().filter(|link| link.on_main_path).collect();
    let last = path.len().saturating_sub(usize::from(path.last().is_some_and(|link| link.factor == Factor::Weights)));
    predicted(diagnosis, path[..last].iter().rev().copied())
}

/// Returns predicted links (factors of the chain rule) as rows; links whose decades are unknown are left out.
pub(super) fn predicted<'a>(
    diagnosis: &Diagnosis<'_>,
    links: impl Iterator<Item = &'a crate::theory::PredictedLink>,
) -> Vec<Row> {
    let kinds = activations(&diagnosis.spec);
    let kind = |layer: &str| kinds.iter().find(|(path, _)| path == layer).map(|(_, kind)| *kind);
    let row = |link: &crate::theory::PredictedLink| {
        let layer = layer_of(&link.name);
        let sup = kind(layer).and_then(|kind| kind.as_any().bounds()).map(|bounds| bounds.magnitude());
        // For inputs with a root mean square above 3, a bounded φ is flat for most units.
        let saturated = kind(layer).is_some_and(is_bounded) && link.second_moment > Some(9.0);
        Some(Row {
            layer: layer.into(),
            factor: link.factor,
            decades: link.decades?,
            slope: None,
            sup,
            saturated: if saturated { 0.5 } else { 0.0 },
        })
    };
    links.filter_map(row).collect()
}
