//! chainrule: feedforward and recurrent networks with every factor of the chain rule in view.
#![no_std]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod activation;
mod block;
#[cfg(feature = "safetensors")]
pub mod checkpoint;
pub mod data;
mod error;
mod extent;
pub mod initializer;
pub mod kernel;
pub mod layer;
pub mod loss;
pub mod math;
pub mod monitor;
mod network;
mod node;
pub mod recurrent;
mod scalar;
pub mod tape;
pub mod trainer;
pub mod transform;

pub use activation::{Activation, Bounds};
pub use block::{Block, Blocks, Role};
pub use error::Error;
pub use extent::Extent;
pub use layer::{Layer, Mode};
pub use monitor::GradientMonitor;
pub use network::Builder;
/// The random generators' trait, re-exported so that versions agree.
pub use rand_core;
pub use scalar::{Scalar, scalar, to_f64};
