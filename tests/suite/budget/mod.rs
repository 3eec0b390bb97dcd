//! The gradient budget keeps its promises: each share is the factor it names, their product is the gradient.

mod network;
mod promises;
mod state;
mod watching;
mod witness;
