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
//! | a transform | `transform_laws!(mine, Mine::new(0.1));` | [`transform_laws`] |
//! | a monitor | `monitor_laws!(mine, Mine::new());` | [`monitor_laws`] |
//!
//! Gradients are checked with [`Dual`] numbers, not with finite differences: to rounding, however small they are.
//!
//! With the feature `proptest` the module `strategies` draws floats, batch shapes, activations, cells and whole
//! networks for property tests of your own; with the feature `approx` dual numbers compare to a tolerance.
//!
//! The seed is 0, or what the environment variable `CHAINRULE_SEED` says.

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
pub use layer::{Layers, layer_laws};
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
