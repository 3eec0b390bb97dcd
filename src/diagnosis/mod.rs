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

use crate::layer::LayerSpec;
use alloc::string::String;

/// The path of the activation that gives the network's outputs, where one does.
fn outputs(node: &LayerSpec) -> Option<String> {
    let (path, last) = node.last_layer();
    matches!(last, LayerSpec::ActivationLayer { .. }).then_some(path)
}
