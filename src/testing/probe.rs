//! An activation as a trait object, in every scalar that its laws use: the suite is compiled once, not for each
//! activation.

use super::{Dual, rounded::noise};
use crate::{
    activation::{Activation, ActivationKind, AnyActivation},
    scalar::{Scalar, scalar, to_f64},
};
use alloc::boxed::Box;

/// The values and derivatives of an activation that the laws read.
pub(super) trait Probe: AnyActivation {
    /// Returns φ(z) and φ′(z), computed in `f32` from `z` rounded to it.
    fn single(&self, z: f64) -> [f64; 2];
    /// Returns φ(z) and φ′(z), computed in `f64`.
    fn double(&self, z: f64) -> [f64; 2];
    /// Returns φ′(z) and φ″(z) from dual numbers: the tangents of the value and of the derivative.
    fn dual(&self, z: f64) -> (f64, f64);
    /// Returns a bound on the rounding error of the φ′(z) of [`dual`](Self::dual); 0 if the bound is not finite.
    fn noise(&self, z: f64) -> f64;
    /// Returns φ(z) in `f32`, from `z` rounded to it, and in `f64`.
    fn values(&self, z: f64) -> (f32, f64);
    /// Returns φ′(z) in `f32` and in `f64`, from `y`, the values of φ that [`values`](Self::values) returned for `z`.
    fn slopes(&self, z: f64, y: (f32, f64)) -> [f64; 2];
    /// Returns a copy of the activation.
    fn copied(&self) -> Box<dyn Probe>;
    /// Returns the activation as data, its [`ActivationKind`].
    fn as_data(&self) -> ActivationKind;
}

impl<A: Activation> Probe for A {
    fn single(&self, z: f64) -> [f64; 2] {
        both::<f32>(self, z)
    }
    fn double(&self, z: f64) -> [f64; 2] {
        both::<f64>(self, z)
    }
    fn dual(&self, z: f64) -> (f64, f64) {
        let z = Dual::variable(z);
        let y = self.value(z);
        (y.tangent, self.derivative(z, y).tangent)
    }
    fn noise(&self, z: f64) -> f64 {
        noise(|z| self.value(z), z)
    }
    fn values(&self, z: f64) -> (f32, f64) {
        (self.value(z as f32), self.value(z))
    }
    fn slopes(&self, z: f64, y: (f32, f64)) -> [f64; 2] {
        [self.derivative(z as f32, y.0).into(), self.derivative(z, y.1)]
    }
    fn copied(&self) -> Box<dyn Probe> {
        Box::new(self.cloned())
    }
    fn as_data(&self) -> ActivationKind {
        self.kind()
    }
}

fn both<T: Scalar>(activation: &impl Activation, z: f64) -> [f64; 2] {
    let z: T = scalar(z);
    let y = activation.value(z);
    [y, activation.derivative(z, y)].map(to_f64)
}

/// One of the two number formats in which an activation is tested.
pub(super) trait Precision: Scalar {
    /// Returns φ(z) and φ′(z), computed in this format from `z` rounded to it.
    fn read(activation: &dyn Probe, z: f64) -> [f64; 2];
}

impl Precision for f32 {
    fn read(activation: &dyn Probe, z: f64) -> [f64; 2] {
        activation.single(z)
    }
}

impl Precision for f64 {
    fn read(activation: &dyn Probe, z: f64) -> [f64; 2] {
        activation.double(z)
    }
}

/// Returns φ(z), computed in the scalar `T`.
pub(super) fn value<T: Precision>(activation: &dyn Probe, z: f64) -> f64 {
    T::read(activation, z)[0]
}

/// Returns φ′(z), computed in the scalar `T`.
pub(super) fn slope<T: Precision>(activation: &dyn Probe, z: f64) -> f64 {
    T::read(activation, z)[1]
}
