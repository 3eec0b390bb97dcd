//! Construction of networks: the builder, building from a description, the summary table.

mod build;
mod builder;
mod summary;

pub use builder::{Branches, Builder};
pub use summary::{Summary, SummaryRow, summary};
