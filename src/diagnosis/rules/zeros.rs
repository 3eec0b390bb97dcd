//! Rules about weights and gains that are all 0, by design or permanently.

use super::{layer_of, layer_of_block};
use crate::{
    block::Role,
    diagnosis::{
        Cause, Diagnosis, Finding, Severity,
        place::{LayerRange, place},
    },
    monitor::{BlockStatistics, Factor, LinkStatistics},
};
use alloc::{format, string::String, vec::Vec};

/// Reports parameters that are all 0, so that their layer passes a gradient of 0 to the layers before it. The finding
/// is a note if the gradient with respect to these parameters is not 0: they then change with the first update.
/// Otherwise it is a fault, since they never change.
pub(super) fn zeros(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(statistics) = diagnosis.statistics else { return forecast(diagnosis, findings) };
    let zero: Vec<&BlockStatistics> = statistics.blocks().iter().filter(|block| is_zero(block)).collect();
    let ends = |link: &&LinkStatistics| {
        link.on_main_path() && link.norm_in() > 0.0 && link.norm_out() == 0.0 && !link.underflowed()
    };
    // The links (factors of the chain rule) are in forward order: the backward pass reaches the last link first.
    let links = statistics.links();
    let Some(link) = links.iter().filter(ends).max_by_key(|link| link.index()) else { return };
    let layer = layer_of(link.name());
    let own = zero.iter().find(|block| layer_of_block(block.name()) == layer);
    if let Some(block) = own.filter(|block| block.gradient_norm() > 0.0) {
        return findings.push(opens(diagnosis, layer_of_block(block.name())));
    }
    // An activation can make the gradient 0 because the weights before it are 0.
    let without_input = link.factor() == Factor::Activation && link.input().last() == 0.0;
    let before = || {
        let at = statistics.blocks().iter().position(|block| follows(block.name(), layer));
        let until = at.unwrap_or(statistics.blocks().len());
        statistics.blocks()[..until].iter().rfind(|block| is_zero(block))
    };
    let Some(block) = own.copied().or_else(|| if without_input { before() } else { None }) else { return };
    let (cause, what, refuted_by) = match block.role() {
        Role::Gain => (Cause::Bottleneck, "gains", "a step after which one of these gains is not 0"),
        _ => (Cause::ConstantWeights, "weights", "a step after which one of these weights is not 0"),
    };
    let layers = fixed(statistics.blocks(), block);
    let text = format!("the gradient vanishes: all {what} of {} are 0, and no update moves them", place(&layers));
    let because = String::from("their own gradient is 0 too, exactly");
    let finding = diagnosis.finding(cause, Severity::Critical, "", text, because).in_layers(layers);
    let finding = finding.told_by(diagnosis.mends_an_end());
    findings.push(Finding { decades: Some(f64::NEG_INFINITY), is_proof: true, refuted_by, ..finding });
}

/// Returns the layers whose parameter blocks with the role of `block` are all 0 and have no gradient; neighbouring
/// layers are one range. If there are none, returns the layer of `block`.
fn fixed(blocks: &[BlockStatistics], block: &BlockStatistics) -> Vec<LayerRange> {
    let alike = blocks.iter().filter(|other| other.role() == block.role());
    let found = LayerRange::runs(
        alike.map(|other| (layer_of_block(other.name()), is_zero(other) && other.gradient_norm() == 0.0)),
    );
    if found.is_empty() { LayerRange::single(layer_of_block(block.name())) } else { found }
}

fn is_zero(block: &BlockStatistics) -> bool {
    let multiplies = matches!(block.role(), Role::Weight | Role::Recurrent | Role::Gain);
    multiplies && !block.frozen() && block.first_parameters().is_some() && block.parameters() == 0.0
}

/// Whether the block named `block` belongs to a layer after the one at the path `layer` in the forward pass: compares
/// the indices in both paths, the outermost first.
fn follows(block: &str, layer: &str) -> bool {
    let numbers = |path: &str| -> Vec<usize> { path.split('.').filter_map(|part| part.parse().ok()).collect() };
    numbers(block) > numbers(layer)
}

fn opens(diagnosis: &Diagnosis<'_>, layer: &str) -> Finding {
    let text = format!("the weights of layer {layer} are 0: no gradient passes them until the first step moves them");
    let because = String::from("they have a gradient of their own");
    let finding = diagnosis.finding(Cause::ConstantWeights, Severity::Note, layer, text, because);
    Finding { decades: Some(f64::NEG_INFINITY), ..finding }
}

/// Reports, before training, the first link of the backward pass that makes the gradient 0 by theory, if it is a
/// product with weights, which are then all 0. The finding is a note if the input of their layer is not 0, so that
/// they can change; otherwise it is a fault.
fn forecast(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let path = diagnosis.prediction.links().iter().filter(|link| link.on_main_path && !link.name.contains("branch"));
    let Some(link) = path.into_iter().find(|link| link.decades == Some(f64::NEG_INFINITY)) else { return };
    if link.factor != Factor::Weights {
        return;
    }
    let layer = layer_of(&link.name);
    if link.second_moment > Some(0.0) {
        return findings.push(opens(diagnosis, layer));
    }
    let text = format!("the gradient vanishes: the weights of layer {layer} are 0, and no update moves them");
    let because = String::from("their input is 0 as well, so their own gradient is 0 (by theory)");
    let finding = diagnosis.finding(Cause::ConstantWeights, Severity::Critical, layer, text, because);
    findings.push(Finding { predicted: Some(f64::NEG_INFINITY), decades: Some(f64::NEG_INFINITY), ..finding });
}
