//! The activations' own promises: accuracy, extremes, other scalars, and themselves as data. Their laws are in
//! `activation_laws`.

use chainrule::activation::*;

mod accuracy;
mod duals;
mod extremes;
mod kind;

/// An activation of a user's own.
#[derive(Clone, Debug)]
struct Cube {
    scale: f64,
}

impl Activation for Cube {
    fn value<T: chainrule::Scalar>(&self, z: T) -> T {
        z * z * z * chainrule::scalar(self.scale)
    }
    fn derivative<T: chainrule::Scalar>(&self, z: T, _y: T) -> T {
        (z + z + z) * z * chainrule::scalar(self.scale)
    }
}
