//! Feedforward and recurrent networks that report every factor of the chain rule.
//!
//! A gradient is a product: each layer multiplies it by weights and by the derivative of an activation. When a network
//! does not train, this crate shows the effect of each single factor, in decades (powers of ten).
//!
//! ```
//! use chainrule::{BatchShape, activation::Sigmoid, layer::{Mode, Sequential, initialize}};
//! use chainrule::{monitor::GradientBudget, workspace::Workspace};
//!
//! let mut builder = Sequential::<f64>::input(8);
//! for _ in 0..10 {
//!     builder = builder.linear(32).activation(Sigmoid);
//! }
//! let network = builder.linear(1).build()?;
//! let (w, x) = (initialize(&network, 1)?, [0.5; 8]); // all parameters, one flat buffer
//! let (mut workspace, mut budget) = (Workspace::new(&network, BatchShape::batch(1))?, GradientBudget::new());
//! let output = workspace.forward_with(&w, &x, BatchShape::batch(1), Mode::Train, &mut budget)?;
//! output.dy[0] = 1.0; // the gradient of a loss; here the loss is the output
//! workspace.backward_with(&w, &mut budget)?;
//! assert!(budget.shares().activation < -5.0); // ten sigmoids take more than five decades
//! # Ok::<(), chainrule::Error>(())
//! ```
//!
//! Start with [`dataset`] and [`trainer`] to train, [`model`] to predict and to save (feature `safetensors`),
//! [`metrics`] to judge predictions. [`monitor`] measures gradients, [`diagnosis`] finds a fault and its fix,
//! [`testing`] tests a custom part. [`guide`] has a page for each common task. `docs/architecture.md` has the map,
//! `docs/glossary.md` the words, README.md longer examples.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

// Basics: types that every module uses.
mod arc;
mod batch_shape;
mod block;
mod clock;
mod compiled;
mod cpu;
mod error;
#[cfg(feature = "serde")]
mod number;
pub mod random;
mod scalar;
mod size;
mod slices;
mod type_name;

// Numerics: matrix products, loops and threads; matrix norms; elementary functions.
mod kernel;
pub mod linalg;
pub mod math;

// Parts of networks and training: one trait per module, with its implementations; mean-field theory; data sets,
// metrics.
pub mod activation;
mod cell;
pub mod dataset;
pub mod initializer;
pub mod loss;
pub mod mean_field;
pub mod metrics;
pub mod monitor;
pub mod transform;

// Layers: the trait `Layer`, its implementations, networks as data; the unrolling of recurrent cells over time.
pub mod layer;
pub mod recurrent;

// Training: building a network, memory of a pass, the loop, several ranks, saved runs, trained models.
#[cfg(feature = "safetensors")]
pub mod checkpoint;
pub mod distributed;
pub mod model;
pub mod network;
pub mod trainer;
pub mod workspace;

// Analysis: theory before training; faults and their fixes; laws, properties that tests check in every
// implementation.
pub mod diagnosis;
pub mod testing;
pub mod theory;

// Pages for readers, without code.
pub mod guide;

pub use activation::{Activation, Bounds};
pub use batch_shape::BatchShape;
pub use block::{Block, Blocks, Gate, Role};
pub use cpu::CpuLevel;
pub use error::{DataRule, Error, LayerRule, RankRule, RegistryRule};
pub use layer::{Layer, Mode};
pub use monitor::GradientMonitor;
pub use network::Builder;
pub use scalar::{Scalar, scalar, to_f64};

/// The crate `approx`: comparison within a tolerance. Re-exported so that its version agrees with that used here.
#[cfg(feature = "approx")]
pub use approx;
/// The crate `ndarray`: arrays. Re-exported so that its version agrees with that used here.
#[cfg(feature = "ndarray")]
pub use ndarray;
/// The crate `proptest`: property tests. Re-exported so that its version agrees with that used here.
#[cfg(feature = "proptest")]
pub use proptest;
/// The crate `rand_core`: traits of random generators. Re-exported so that its version agrees with that used here.
pub use rand_core;

/// The examples of README.md, as tests.
#[cfg(all(doctest, feature = "approx", feature = "proptest", feature = "safetensors"))]
#[doc = include_str!("../README.md")]
struct Readme;
