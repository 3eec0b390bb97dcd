//! Law suites for implementations of the crate's traits.
//!
//! Each trait has laws. A suite searches for a case that breaks one, and returns what it found: which law, where,
//! what was expected, what came, the seed, the smallest input. One line makes a suite a test:
//!
//! | | one line | plain function |
//! | --- | --- | --- |
//! | an activation | `activation_laws!(sine, Sine);` | [`activation_laws`] |
//! | a layer, a cell inside one, a whole network | `layer_laws!(mine, Mine::new(3, 2));` | [`layer_laws`] |
//! | a cell | `cell_laws!(mine, Mine);` | [`cell_laws`] |
//! | an initializer | `initializer_laws!(mine, Mine::new(2.0));` | [`initializer_laws`] |
//! | a loss | `loss_laws!(mine, Mine);` | [`loss_laws`] |
//! | a transform | `transform_laws!(mine, Mine::new(0.1), like: \|g, _m, _t\| -0.1 * g);` | [`transform_laws`] |
//! | a monitor | `monitor_laws!(mine, Mine::new());` | [`monitor_laws`] |
//!
//! Gradients are checked with [`Dual`] numbers, not with finite differences: to rounding, however small they are.
//!
//! With the feature `proptest` the module `strategies` draws floats, batch shapes, activations, cells and whole
//! networks for property tests of your own; with the feature `approx` dual numbers compare to a tolerance.
//!
//! # What a green line means
//!
//! | line | the part is held to | it is not promised that |
//! | --- | --- | --- |
//! | every line | the laws at one seed: a rare fault needs `CHAINRULE_SEED` | a fault at single floats is seen: no search meets one of 2⁶⁴ |
//! | [`activation_laws`] | φ′ is the derivative of φ, its bounds and kinks, over all floats of usual size | a peak narrower than the search is found |
//! | [`loss_laws`] | the gradient in `f64` to 1e-11, masks, weights, parts, errors of bad calls | a gradient is right to more than 1e-3 in `f32`: rounding of the loss's own sums is as large |
//! | [`initializer_laws`] | stated mean and variance to 2 %, range, no correlations, gates | a moment that a few entries decide is right (heavy tails); that a fact which is not stated holds |
//! | [`transform_laws`] | memory, frozen blocks, both formats, downhill steps, the formula given | without a formula: that the update is the one of a paper; that it converges |
//! | [`monitor_laws`] | no event stops it, and it sees the same alone and composed | what it reports is right: that is the monitor's own meaning |
//! | [`cell_laws`] | the laws of layers at 8 sizes, stepped by hand, what monitors are shown | a declared activation that grows is the one used: a factor of the cell can hide it |
//! | [`layer_laws`] | the gradients in `f64` to 1e-11 of ‖c‖‖J v‖, in `f32` to 1e-3, memory, rows, modes | forward is the formula of a paper: the laws compare a layer with itself; that sizes beyond those tried behave alike, unless given as `shapes:`; that a mask differs from step to step of a sequence, which may share it |
//!
//! Where a gradient is less than rounding beside the usual one, as of a saturated activation, it may be anything so
//! small: 1e-13 of the usual gain in `f64`, 1e-5 in `f32`. Which typed error refuses a bad call is not judged.
//!
//! The seed is 0, or what the environment variable `CHAINRULE_SEED` says.
//!
#![doc = include_str!("messages.md")]

// `#[inline]` on non-generic functions of the larger suites: only crates that call them compile them.

mod activation;
#[cfg(feature = "approx")]
mod approximate;
mod argument;
mod bounds;
mod caught;
mod cell;
mod dual;
mod initializer;
mod law;
mod layer;
mod loss;
mod monitor;
mod probe;
mod rounded;
mod search;
#[cfg(feature = "proptest")]
pub mod strategies;
mod transform;

pub use activation::activation_laws;
pub use bounds::{Measured, measure_derivative};
use caught::caught;
pub use cell::cell_laws;
pub use dual::Dual;
pub use initializer::initializer_laws;
pub use law::{Evidence, Law, Violation, Violations};
pub use layer::{Layers, layer_laws, layer_laws_at, layer_laws_with};
pub use loss::{Losses, loss_laws};
pub use monitor::monitor_laws;
pub use transform::{Formula, Transforms, transform_laws};

/// The seed of the suites: 0, or what the environment variable `CHAINRULE_SEED` says.
#[cfg(feature = "std")]
pub fn seed() -> u64 {
    std::env::var("CHAINRULE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0)
}

/// The seed of the suites.
#[cfg(not(feature = "std"))]
pub fn seed() -> u64 {
    0
}

/// Prints the evidence of a suite, or panics with what is broken: how the macros end.
///
/// # Panics
/// Where a law is broken.
#[track_caller]
pub fn expect_lawful(verdict: Result<Evidence, Violations>) {
    match verdict {
        #[cfg(feature = "std")]
        Ok(evidence) => std::println!("{evidence}"),
        #[cfg(not(feature = "std"))]
        Ok(_) => {}
        Err(violations) => panic!("{violations}"),
    }
}
