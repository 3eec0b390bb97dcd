//! Mean-field theory of wide networks: variance maps, gradient gains, depth scales and critical initialization.

mod critical;
pub(crate) mod moments;
pub(crate) mod quadrature;
mod recursion;
mod roots;

pub use critical::{CriticalPoint, backward_gain, critical_weight_variance, forward_gain};
pub use recursion::{DepthScales, FixedPoint, MeanField, PredictedLayer, Stability};
