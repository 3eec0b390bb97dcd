//! Recurrent layers: cells, and what unrolls them over time.

mod bidirectional;
mod cell;
mod elman;
mod gate;
mod gru;
mod layer;
mod lstm;
mod plan;
mod steps;
mod trail;

pub use bidirectional::{Bidirectional, Reversed};
pub use cell::{Cell, CellBackward, CellForward, GateBounds, Operand, Product, StepBounds};
pub use elman::Elman;
pub use gru::Gru;
pub(crate) use layer::MOST_BOUNDED_STEPS;
pub use layer::Recurrent;
pub use lstm::Lstm;
