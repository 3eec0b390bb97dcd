//! The budget over depth, measured or predicted, and which factor makes it.

use super::{above, layer_of};
use crate::{
    activation::ActivationKind,
    diagnosis::{Cause, Diagnosis, Finding, Severity},
    layer::LayerSpec,
    monitor::Factor,
    theory::Certificate,
};
use alloc::{format, string::String, vec::Vec};
use num_traits::Float;

/// One link on the path from loss to first weights.
struct Row {
    layer: String,
    factor: Factor,
    decades: f64,
    /// Of an activation: the mean of |φ′|, where measured, its least upper bound, and the share of units that saturate.
    slope: Option<f64>,
    sup: Option<f64>,
    saturated: f64,
}

/// The measured links, or the predicted ones; without the weights that the input meets.
fn rows(diagnosis: &Diagnosis<'_>) -> Vec<Row> {
    let kinds = activations(&diagnosis.node);
    let sup = |layer: &str| {
        let kind = kinds.iter().find(|(path, _)| path == layer).map(|(_, kind)| kind);
        kind.and_then(|kind| kind.derivative_bounds()).map(|bounds| bounds.magnitude())
    };
    if let Some(statistics) = diagnosis.statistics {
        let seen = statistics
            .links()
            .iter()
            .filter(|link| link.on_main_path() && link.decades().count() + link.vanished_passes() > 0);
        return seen
            .map(|link| Row {
                layer: layer_of(link.name()).into(),
                factor: link.factor(),
                decades: if link.norm_out() == 0.0 && link.norm_in() > 0.0 {
                    f64::NEG_INFINITY
                } else {
                    link.decades().mean()
                },
                slope: (link.factor() == Factor::Activation).then(|| link.mean_slope()),
                sup: link.sup_slope(),
                saturated: link.saturated(),
            })
            .collect();
    }
    let path: Vec<_> = diagnosis.prediction.links().iter().filter(|link| link.on_main_path).collect();
    let last = path.len().saturating_sub(usize::from(path.last().is_some_and(|link| link.factor == Factor::Weights)));
    path[..last]
        .iter()
        .filter_map(|link| {
            let sup = sup(layer_of(&link.name));
            Some(Row {
                layer: layer_of(&link.name).into(),
                factor: link.factor,
                decades: link.decades?,
                slope: None,
                sup,
                // Three standard deviations of what goes in: most units are where a bounded φ is flat.
                saturated: if link.factor == Factor::Activation && link.second_moment > Some(9.0) && sup <= Some(1.0) {
                    0.5
                } else {
                    0.0
                },
            })
        })
        .collect()
}

/// The activations of a network with their paths.
pub(super) fn activations(node: &LayerSpec) -> Vec<(String, &ActivationKind)> {
    let parts = node.parts().into_iter();
    parts
        .filter_map(|(path, part)| match part {
            LayerSpec::ActivationLayer { activation, .. } => Some((path, activation)),
            _ => None,
        })
        .collect()
}

/// The path of the activation that gives the network's outputs, where one does.
fn outputs(node: &LayerSpec) -> Option<String> {
    let last = node.parts().pop()?;
    matches!(last.1, LayerSpec::ActivationLayer { .. }).then_some(last.0).filter(|path| !path.contains("branch"))
}

/// Vanishing and exploding over depth, with the factor and the layers that make it.
pub(super) fn over_depth(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let (mut rows, lines) = (rows(diagnosis), &diagnosis.thresholds);
    let predicted = diagnosis.prediction.decades_to_first_weights();
    let Some(mut total) = diagnosis.measured().or(predicted) else { return };
    // Outputs that saturate are a success; no weights come before their activation on the way back.
    let outputs = outputs(&diagnosis.node);
    if let Some(place) = rows.iter().position(|row| Some(&row.layer) == outputs.as_ref()) {
        total -= rows.remove(place).decades;
    }
    if rows.is_empty() || total.is_nan() {
        return;
    }
    let measured = diagnosis.statistics.is_some();
    // What one layer does: its weights and the activation before them on the way back.
    let mut layers: Vec<(&str, f64)> = Vec::new();
    for row in &rows {
        // What a branch shortens goes on beside it, through the skip.
        if row.factor == Factor::Weights && !row.layer.contains("branch") {
            layers.push((&row.layer, row.decades))
        }
    }
    let mut gains: Vec<f64> = layers.iter().map(|layer| layer.1).collect();
    gains.sort_unstable_by(f64::total_cmp);
    let median = gains.get(gains.len() / 2).copied().unwrap_or(0.0);
    let lowest = layers.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
    let highest = layers.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
    let sum = |factor: Factor| rows.iter().filter(|row| row.factor == factor).map(|row| row.decades).sum::<f64>();
    let (of_weights, of_activations) = (sum(Factor::Weights), sum(Factor::Activation));
    let slopes: Vec<&Row> = rows.iter().filter(|row| row.factor == Factor::Activation).collect();
    let each = of_activations / slopes.len().max(1) as f64;
    let depth = slopes.len();
    let mut say = |cause, severity, layer: &str, text: String| {
        let finding = diagnosis.finding(cause, severity, layer, text);
        findings.push(Finding { decades: measured.then_some(total), predicted, ..finding });
    };
    let certified = match diagnosis.certificate.as_ref().and_then(Certificate::decades) {
        Some(bound) if bound < lines.certificate => {
            format!("; certified to shrink at least {}-fold on its way to the input", fold(bound))
        }
        _ => String::new(),
    };
    let before = match (measured, predicted) {
        (true, Some(predicted)) => format!("; predicted {} before training", signed(predicted)),
        _ => String::new(),
    };
    let percent = |part: f64| 100.0 * part / total;
    if let (Some((layer, gain)), true) = (lowest, gains.len() >= 3)
        && gain < lines.bottleneck[0]
        && median > lines.bottleneck[1]
        && gain.is_finite()
    {
        let severity = if gain < 2.0 * lines.bottleneck[0] { Severity::Critical } else { Severity::Warning };
        let text = format!(
            "bottleneck: the weights of layer {layer} shorten the gradient by {} decades; those of the others by {} in \
             the median{before}",
            signed(gain),
            signed(median)
        );
        return say(Cause::Bottleneck, severity, layer, text);
    }
    // A recurrent layer seen over depth: what its steps do together.
    let whole = rows.iter().find(|row| row.factor == Factor::Other && row.decades / total >= lines.share);
    if let Some(row) = whole.filter(|row| is_recurrent(&diagnosis.node, &row.layer))
        && let Some(severity) = above(total, lines.exploding)
    {
        let text = format!(
            "explodes: {} decades, {} of them in the steps of recurrent layer {}{before}",
            signed(total),
            signed(row.decades),
            row.layer
        );
        return say(Cause::ExplodingRecurrence, severity, &row.layer, text);
    }
    if let Some(severity) = above(-total, lines.vanishing.map(|line| -line)) {
        let worst = slopes.iter().min_by(|a, b| a.decades.total_cmp(&b.decades));
        let sup = worst.and_then(|row| row.sup).unwrap_or(1.0);
        if total == f64::NEG_INFINITY {
            // Which link ended it is for the rule of dead units to say, where that is why.
            let ended = rows.iter().rev().find(|row| row.decades == f64::NEG_INFINITY);
            let layer = ended.map_or("", |row| &row.layer);
            if !findings.iter().any(|finding| matches!(finding.cause, Cause::DeadUnits | Cause::ConstantWeights)) {
                let text = format!("vanishes: no gradient passes layer {layer}{before}");
                let cause = match ended.map(|row| row.factor) {
                    Some(Factor::Activation) => Cause::DeadUnits,
                    _ => Cause::SmallWeights,
                };
                let finding = diagnosis.finding(cause, Severity::Critical, layer, text);
                findings.push(Finding { decades: Some(total), predicted, ..finding });
            }
            return;
        }
        if each < lines.activation && sup <= 0.5 {
            let slope = slopes.iter().filter_map(|row| row.slope).sum::<f64>() / depth as f64;
            let average = if measured {
                format!(": {depth} layers average {slope:.2} of the {sup:.2} that φ′ can give")
            } else {
                format!(": φ′ never exceeds {sup:.2}")
            };
            let text = format!(
                "vanishes: {} decades over {depth} layers; {:.0} % from φ′{average}{before}{certified}",
                signed(total),
                percent(of_activations)
            );
            let layer = worst.map_or("", |row| &row.layer);
            return say(Cause::SaturatingActivation, severity, layer, text);
        }
        if let Some(flat) = slopes.iter().rev().find(|row| row.saturated >= lines.saturated[0]) {
            let text = format!(
                "vanishes: {} decades over {depth} layers; {:.0} % from φ′: the weights drive the units of layer {} \
                 where it is flat{before}{certified}",
                signed(total),
                percent(of_activations),
                flat.layer
            );
            return say(Cause::LargeWeights, severity, &flat.layer, text);
        }
        let text = format!(
            "vanishes: {} decades over {} layers; weights {}, φ′ {}: the weights do not make up for \
             φ′{before}{certified}",
            signed(total),
            layers.len(),
            signed(of_weights),
            signed(of_activations)
        );
        say(Cause::SmallWeights, severity, lowest.map_or("", |layer| layer.0), text);
    } else if let Some(severity) = above(total, lines.exploding) {
        let text = format!(
            "explodes: {} decades over {} layers; weights {}, φ′ {}: the weights more than make up for φ′{before}",
            signed(total),
            layers.len(),
            signed(of_weights),
            signed(of_activations)
        );
        say(Cause::LargeWeights, severity, highest.map_or("", |layer| layer.0), text);
    }
}

/// How many times a gradient shrinks at least that is certain to lose these decades: a power of ten.
fn fold(decades: f64) -> String {
    match libm::floor(-decades) {
        power if power.is_infinite() => String::from("∞"),
        power if power <= 3.0 => format!("{}", libm::exp10(power)),
        power => format!("10^{power}"),
    }
}

/// Whether the layer at this path has a state.
fn is_recurrent(node: &LayerSpec, path: &str) -> bool {
    match (node, path.split_once('.')) {
        (LayerSpec::Sequential { layers, .. }, None) => {
            let layer = path.parse::<usize>().ok().and_then(|place| layers.get(place));
            layer.is_some_and(|layer| is_recurrent(layer, ""))
        }
        (LayerSpec::Sequential { layers, .. }, Some((place, rest))) => {
            let layer = place.parse::<usize>().ok().and_then(|place| layers.get(place));
            layer.is_some_and(|layer| is_recurrent(layer, rest))
        }
        (LayerSpec::Recurrent { .. } | LayerSpec::Reversed(_) | LayerSpec::Bidirectional { .. }, _) => true,
        _ => false,
    }
}

/// A number of decades with its sign.
pub(super) fn signed(decades: f64) -> String {
    if decades.is_infinite() {
        return String::from(if decades > 0.0 { "+∞" } else { "−∞" });
    }
    let sign = if decades < 0.0 { '−' } else { '+' };
    format!("{sign}{:.1}", Float::abs(decades))
}

/// Inputs that look alike to the last hidden layers, while the loss stands still.
pub(super) fn angles(diagnosis: &Diagnosis<'_>, findings: &mut Vec<Finding>) {
    let Some(statistics) = diagnosis.statistics else { return };
    let collapsed = |link: &&crate::monitor::LinkStatistics| link.collapsed_passes() >= diagnosis.thresholds.checks;
    let Some(link) = statistics.links().iter().find(collapsed) else { return };
    let text = format!(
        "angles are lost: from layer {} on the pre-activations of different inputs have a cosine of {:.3} on average",
        link.name(),
        link.cosine().unwrap_or(1.0)
    );
    findings.push(diagnosis.finding(Cause::CollapsedRepresentation, Severity::Note, layer_of(link.name()), text));
}
