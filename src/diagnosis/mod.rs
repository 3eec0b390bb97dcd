//! Diagnosis of a network's gradients: each fault with its layer, beginning, size and factor of the chain rule, and
//! fixes for it.

mod cause;
mod columns;
mod curvature;
mod difference;
mod examine;
mod figures;
mod finding;
pub mod fix;
mod health;
mod html;
mod intervention;
mod place;
#[cfg(feature = "plot")]
mod plot;
mod report;
mod report_text;
mod rules;
mod setup;
mod task;
mod thresholds;
#[cfg(feature = "tracing")]
mod trace;
mod words;

pub use cause::Cause;
pub use examine::Diagnosis;
pub use finding::{Finding, Severity};
pub use fix::{
    Behind, Change, Fix, FixContext, FixedNetwork, FixedRun, Healed, Trial, TrialOutcome, TrialReport, suggest_fixes,
};
#[doc(hidden)]
pub use health::input_width;
pub use health::{check_parameters, expect_healthy, first_check};
pub use intervention::{Alteration, Intervention};
pub use place::LayerRange;
pub use report::{Report, ReportRow, ReportState};
pub use thresholds::Thresholds;

use crate::{
    layer::LayerSpec,
    monitor::{Factor, Statistics},
};
use alloc::string::String;

/// Returns the path of the activation that computes the network's outputs, if there is one.
fn outputs(node: &LayerSpec) -> Option<String> {
    let (path, last) = node.last_layer();
    matches!(last, LayerSpec::ActivationLayer { .. }).then_some(path)
}

/// Whether a layer has weights: parameters that map its inputs to its outputs, other than the gains of a norm.
fn has_weights(part: &LayerSpec) -> bool {
    use LayerSpec::{Custom, Embedding, GatedLinear, Linear, Recurrent};
    matches!(part, Linear(_) | GatedLinear(_) | Embedding(_) | Recurrent { .. } | Custom { .. })
}

/// Returns the path of the first layer with weights if it is [`Linear`](crate::layer::Linear) or
/// [`GatedLinear`](crate::layer::GatedLinear), otherwise `None`: the output of other layers with weights does not
/// reveal the scale of their inputs.
fn first_linear(node: &LayerSpec) -> Option<String> {
    let (layer, part) = node.parts().into_iter().find(|(_, part)| has_weights(part))?;
    matches!(part, LayerSpec::Linear(_) | LayerSpec::GatedLinear(_)).then_some(layer)
}

/// Returns the mean over passes, in `seen`, of the root mean square of the output of the [first layer with
/// weights](first_linear). `None` if it is neither `Linear` nor `GatedLinear`, or was not monitored.
fn first_output(node: &LayerSpec, seen: &Statistics) -> Option<f64> {
    let layer = first_linear(node)?;
    let first = |link: &&crate::monitor::LinkStatistics| link.factor() == Factor::Weights && link.name() == layer;
    seen.links().iter().find(first).map(|link| link.output().mean())
}
