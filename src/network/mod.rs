//! Construction of networks: the builder, building from a layer specification, the summary table.

mod build;
mod builder;
mod registry;
mod summary;

pub use builder::{Branches, Builder};
pub use registry::Registry;
pub use summary::{Summary, SummaryRow, summary};
