//! Recurrent layers: cells, and what unrolls them over time.

mod backward;
mod bidirectional;
mod bounds;
mod cell;
mod elman;
mod forward;
mod gru;
mod layer;
mod lstm;
mod monitoring;
mod plan;
mod reversed;
mod saved_gate;
mod stage;
mod weight_gradient;

pub use bidirectional::Bidirectional;
pub(crate) use bounds::MOST_BOUNDED_STEPS;
pub use cell::{Cell, CellBackward, CellForward, CellSizes, GateBounds, Operand, Product, StepBounds};
pub use elman::Elman;
pub use gru::Gru;
pub use layer::Recurrent;
pub use lstm::Lstm;
pub use reversed::Reversed;
