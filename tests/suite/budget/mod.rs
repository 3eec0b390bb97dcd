//! The gradient budget: each share is the factor it names, and the product of the factors is the gradient.

mod network;
mod promises;
mod state;
mod watching;
mod witness;
