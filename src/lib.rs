#![doc = include_str!("../README.md")]
//! ## The map
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`activation`] | φ and φ′, with bounds and kinks |
//! | [`initializer`] | first values of parameters |
//! | [`layer`] | the contract of a layer, and the layers; networks as data |
//! | [`recurrent`] | cells, and what unrolls them over time |
//! | [`loss`] | how wrong an output is, and in which direction |
//! | [`transform`] | from gradient to update: clipping, penalties, optimisers, schedules |
//! | [`monitor`] | what watches every factor of the chain rule |
//! | [`workspace`] | all memory of a pass |
//! | [`trainer`], [`dataset`] | the common loop, and what it runs on |
//! | [`theory`] | what can be said about a gradient before it is measured |
//! | [`diagnosis`] | what is wrong, where, why, and what would cure it |
//! | [`testing`] | dual numbers, and the laws that implementations of your own are tested by |
//! | [`math`] | exp, tanh, erf and others that vectorise, for activations of your own |
#![cfg_attr(feature = "safetensors", doc = "| [`checkpoint`] | saving and resuming a run |")]
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod activation;
mod arc;
mod batch_shape;
mod block;
#[cfg(feature = "safetensors")]
pub mod checkpoint;
mod cpu;
pub mod dataset;
pub mod diagnosis;
mod error;
pub mod initializer;
mod kernel;
pub mod layer;
pub mod linalg;
pub mod loss;
pub mod math;
pub mod mean_field;
pub mod monitor;
pub mod network;
#[cfg(feature = "serde")]
mod number;
pub mod random;
pub mod recurrent;
mod scalar;
mod size;
pub mod testing;
pub mod theory;
pub mod trainer;
pub mod transform;
pub mod workspace;

pub use activation::{Activation, Bounds};
/// Comparison to a tolerance, re-exported so that versions agree.
#[cfg(feature = "approx")]
pub use approx;
pub use batch_shape::BatchShape;
pub use block::{Block, Blocks, Role};
pub use cpu::CpuLevel;
pub use error::{Error, LayerRule};
pub use layer::{Layer, Mode};
pub use monitor::GradientMonitor;
pub use network::Builder;
/// Property tests, re-exported so that versions agree.
#[cfg(feature = "proptest")]
pub use proptest;
/// The random generators' traits, re-exported so that versions agree.
pub use rand_core;
pub use scalar::{Scalar, scalar, to_f64};
