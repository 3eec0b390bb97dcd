//! Diagnosis of a gradient: fault, layer, start, size, and factor of the chain rule; and fixes for it.

mod cause;
mod decades;
mod examine;
mod finding;
pub mod fix;
mod health;
mod html;
mod intervention;
#[cfg(feature = "plot")]
mod plot;
mod report;
mod report_text;
mod rules;
mod task;
mod thresholds;

pub use cause::Cause;
pub use examine::Diagnosis;
pub use finding::{Finding, Severity};
pub use fix::{Change, Fix, FixContext, FixedNetwork, Trial, TrialOutcome, TrialReport, suggest_fixes};
#[doc(hidden)]
pub use health::input_width;
pub use health::{check_parameters, expect_healthy, first_check};
pub use intervention::{Alteration, Intervention};
pub use report::{Report, ReportRow, ReportState};
pub use thresholds::Thresholds;

use crate::layer::{LayerSpec, join};
use alloc::string::{String, ToString};

/// The layer that gives the network's outputs, with its path: the last of a chain, and not a part of branches.
fn output_layer(node: &LayerSpec) -> Option<(String, &LayerSpec)> {
    let (mut path, mut last) = (String::new(), node);
    while let LayerSpec::Sequential { layers, .. } = last {
        path = join(&path, &layers.len().checked_sub(1)?.to_string());
        last = layers.last()?;
    }
    Some((path, last))
}

/// The path of the activation that gives the network's outputs, where one does.
fn outputs(node: &LayerSpec) -> Option<String> {
    output_layer(node).filter(|(_, last)| matches!(last, LayerSpec::ActivationLayer { .. })).map(|(path, _)| path)
}
