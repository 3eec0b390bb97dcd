//! What is wrong with a gradient, where, since when, by how much, and from which factor of the chain rule.

mod cause;
mod finding;

pub use cause::Cause;
pub use finding::{Finding, Severity};
