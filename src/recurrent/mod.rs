//! Recurrent layers: cells, and the layers that unroll them over time.
//!
//! Out of memory over long sequences: [`Checkpointed`] keeps the saved values of √T steps instead of T, with the same
//! gradient. `TrainConfig::truncation` makes an update for each window of steps.

mod backward;
mod bidirectional;
mod blocks;
mod bounds;
mod cell;
mod checkpointed;
mod forward;
pub(crate) mod kind;
mod layer;
mod list;
mod monitoring;
mod noise;
mod plan;
mod reversed;
mod saved_gate;
mod saved_values;
mod segment_passes;
mod segments;
mod stage;
mod weight_gradient;

pub use bidirectional::Bidirectional;
pub(crate) use bounds::MOST_BOUNDED_STEPS;
pub use cell::{Cell, CellBackward, CellForward, CellSizes, GateBounds, Operand, Product, StepBounds};
pub use checkpointed::{CheckpointInterval, Checkpointed};
pub use gru::GruVariant;
pub use kind::CellKind;
pub use layer::Recurrent;
pub use noise::StateNoise;
pub use reversed::Reversed;

macro_rules! files {
    (
        with_activation { $($generic_file:ident: $generic:ident;)* }
        plain { $($file:ident: $name:ident [$($example:expr),+];)* }
    ) => {
        $(
            mod $generic_file;
            pub use $generic_file::$generic;
        )*
        $(
            mod $file;
            pub use $file::$name;
        )*
    };
}
pub(crate) use list::cells;
cells!(files);
