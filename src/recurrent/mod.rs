//! Recurrent layers: cells, and the layers that unroll them over time.
//!
//! For sequences too long for memory [`Checkpointed`] keeps the saved values of √T time steps instead of T, with the
//! same gradient. `TrainConfig::truncation` updates the parameters after each window of time steps.

mod backward;
mod bidirectional;
mod blocks;
mod bounds;
mod checkpointed;
mod forward;
mod layer;
mod monitoring;
mod noise;
mod plan;
mod reversed;
mod saved_values;
mod segment_passes;
mod segments;
mod stage;
mod weight_gradient;

pub use crate::cell::{
    Cell, CellBackward, CellForward, CellKind, CellSizes, Elman, GateBounds, Gru, GruVariant, Lstm, Mgu, Operand,
    Product, StateNoise, StepBounds,
};
pub use crate::layer::checkpoint_interval::CheckpointInterval;
pub use bidirectional::Bidirectional;
pub(crate) use bounds::MOST_BOUNDED_STEPS;
pub use checkpointed::Checkpointed;
pub use layer::Recurrent;
pub use reversed::Reversed;
