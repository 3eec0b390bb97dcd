//! Comparison with independent values: PyTorch in `f64`, and 700-digit arithmetic where PyTorch is inaccurate.

mod activations;
mod layers;
mod losses;
mod recurrent;
pub mod reference;
mod transforms;
