//! Property tests for implementations of the crate's traits.
//!
//! Each trait has laws: properties that every implementation must have. A suite of tests searches for a case that
//! breaks a law. It reports the law, where it is broken, the expected and the found value, the seed and the smallest
//! input. One line makes a suite a test:
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
//! Gradients are checked with [`Dual`] numbers, not with finite differences. So small gradients are checked to
//! rounding, too.
//!
//! With the feature `proptest` the module `strategies` draws floats, batch shapes, activations, cells and whole
//! networks for your own property tests. With the feature `approx` dual numbers can be compared to a tolerance.
//!
//! # What a passing test means
//!
//! | test | tested | not promised: that |
//! | --- | --- | --- |
//! | every test | the laws at one seed; rare faults need other values of `CHAINRULE_SEED` | a fault at single floats is found: a search cannot try all 2⁶⁴; that settings stay the same in a run, as those with a counter do not, or leave no parameter out; `f16` and `bf16`: parts are given in `f32`, `f64` and dual numbers, and in 8 to 11 bits rounding hides most faults |
//! | [`activation_laws`] | φ′ is the derivative of φ, its bounds and kinks, over all floats of usual size | a peak, or a wrong stretch, narrower than 1/1024 up to ±10 and than 1 up to ±10⁴ is found; that φ″ on dual numbers is right: of a custom activation, beyond ±20, below 1e-4 of the largest φ′, or to better than a half |
//! | [`loss_laws`] | the value in both formats, the gradient in `f64` to 1e-11, masks, weights, parts, errors of invalid calls | a gradient is more accurate than 1e-3 in `f32`: rounding errors of the loss's own sums are as large; that it is the formula of a paper, or that every output is read; each element beyond 33 rows or columns: there one direction of 130 rows and of 129 columns is tested; its curvature beyond one size and 10 %, or with `outputs:`; in `f32`, where it refuses a parameter or target there |
//! | [`initializer_laws`] | stated mean and variance to 2 %, range, no correlations of neighbours, rows, columns and transposes, no shared magnitudes, gates | a moment that depends on a few entries is right (heavy tails); that a fact holds that is not stated; the moments of blocks of more than 130 rows or 64 columns, beyond a hundredth of the variance, or of other numbers of gates than 1 to 4, if it refuses those; correlations of other places |
//! | [`transform_laws`] | memory, frozen blocks, both formats, skipped and downhill steps, reported rates and factors, averages within past values, a given formula | the update is that of a paper, without a given formula; that every parameter moves; that it converges; that a formula holds beyond 260 parameters, or that blocks of more than 80 are updated alike, without one; that invalid hyper-parameters are refused; a reported rate, unless each update is the gradient or its sign times the rate; that an average moves, or how fast; in which direction a metric acts; late steps, if they loop over steps |
//! | [`monitor_laws`] | no event and no fit makes it panic, and it receives the same alone and composed | its report is right, since its meaning is not known; that it stays active in runs of other networks |
//! | [`cell_laws`] | the laws of layers at 4 sizes and the gradients at 4 more, single steps, the values that monitors receive, gates that carry the state | a declared activation that grows is the one used: a factor of the cell can hide it; that a pre-activation is shown with its sign, where φ′ is even; that a gate that is not marked carries no state, or how much one carries whose activation is not declared |
//! | [`layer_laws`] | the gradients in `f64` to 1e-11 of ‖c‖‖J v‖, in `f32` to 1e-3, memory, rows, states, modes, links, bounds, two threads | forward is the formula of a paper: the laws compare a layer with itself; that larger sizes behave alike, unless given as `shapes:`; that a mask differs from step to step of a sequence, which may share it; that first values are drawn at random, as a constant may be meant, or differ from part to part; that bounds hold at every buffer, such as a running variance, or at every input; that roles, gates, names and shapes of blocks (a square one may be transposed), or a spec read back, are those meant; that batches of more than 200,000 parameters times rows behave alike; that masks of layers with coupled samples differ; that a NaN of the input reaches the output; more than one scalar at sizes beyond 35 rows, but memory up to 1,025; the values in reports of a leaf with more than two links, as their meaning is the layer's; masks that repeat after other numbers of seeds, steps and samples than powers of 2, or their rate and factor; the momentum of running statistics; derivatives of gradients on dual numbers to better than 10 %, or with a custom part; coupled samples at other batch shapes |
//!
//! Some gradients are smaller than the rounding errors of usual ones, for example those of a saturated activation.
//! Such gradients may have any value up to that error: 1e-13 of the usual gain in `f64`, 1e-5 in `f32`. The type of
//! the error for an invalid call is not tested.
//!
//! An activation, layer or loss that deliberately breaks a law, such as a straight-through estimator, leaves it out
//! by `except: [Adjoint]`. The printed report names such laws. Panics, writes outside the slices, blocks that do not
//! tile the parameters, and passes that do not repeat cannot be left out. For an implementation that accepts only
//! some numbers, such as probabilities or positive numbers, `outputs:`, `inputs:` or `parameters:` give a function
//! that converts any number to a valid one.
//!
//! The seed is 0, or the value of the environment variable `CHAINRULE_SEED`.
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

pub use crate::math::dual::Dual;
pub use activation::{ActivationCases, activation_laws, activation_laws_with};
pub use bounds::{Measured, measure_derivative};
use caught::{answers, caught, ignored, judged, steady};
pub use cell::cell_laws;
pub use initializer::initializer_laws;
pub use law::{Evidence, Law, Violation, Violations};
pub use layer::{LayerCases, Layers, layer_laws, layer_laws_at, layer_laws_with};
pub use loss::{LossCases, Losses, loss_laws, loss_laws_with};
pub use monitor::monitor_laws;
pub use transform::{Formula, Transforms, transform_laws};

/// Returns the seed of the suites: the value of the environment variable `CHAINRULE_SEED`; 0 if it is not set or not a
/// whole number.
#[cfg(feature = "std")]
pub fn seed() -> u64 {
    std::env::var("CHAINRULE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0)
}

/// Returns the seed of the suites: 0, since without `std` there are no environment variables.
#[cfg(not(feature = "std"))]
pub fn seed() -> u64 {
    0
}

/// Prints the evidence of a suite (nothing without `std`), or panics with the broken laws. The macros end with this
/// call.
///
/// # Panics
/// If a law is broken.
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
