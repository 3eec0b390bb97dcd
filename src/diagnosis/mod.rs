//! What is wrong with a gradient, where, since when, by how much, and from which factor of the chain rule.

mod cause;
mod examination;
mod finding;
pub mod fix;
mod health;
#[cfg(feature = "plot")]
mod plot;
mod report;
mod rules;
mod thresholds;

pub use cause::Cause;
pub use examination::Examination;
pub use finding::{Finding, Severity};
pub use fix::{Change, Mended, Patient, Treatment, prescribe};
#[doc(hidden)]
pub use health::input_width;
pub use health::{expect_healthy, first_check};
pub use report::{Report, ReportRow, ReportState};
pub use thresholds::Thresholds;
