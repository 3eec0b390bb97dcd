//! Diagnosis of a gradient: fault, layer, start, size, and factor of the chain rule; and fixes for it.

mod cause;
mod examine;
mod finding;
pub mod fix;
mod health;
#[cfg(feature = "plot")]
mod plot;
mod report;
mod rules;
mod thresholds;

pub use cause::Cause;
pub use examine::Diagnosis;
pub use finding::{Finding, Severity};
pub use fix::{Change, Fix, FixContext, FixedNetwork, suggest_fixes};
#[doc(hidden)]
pub use health::input_width;
pub use health::{expect_healthy, first_check};
pub use report::{Report, ReportRow, ReportState};
pub use thresholds::Thresholds;
