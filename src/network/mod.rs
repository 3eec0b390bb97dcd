//! Construction of networks: the builder, building from a description, the summary table.

mod build;
mod builder;
mod registry;
mod summary;

pub use builder::{Branches, Builder};
pub use registry::Registry;
pub use summary::{Summary, SummaryRow, summary};
