//! Everything against independent values: PyTorch in f64, and 700-digit arithmetic where PyTorch itself is wrong.

mod activations;
mod reference;
