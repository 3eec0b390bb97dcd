//! The activations' own promises: accuracy, extremes, other scalars, and themselves as data. Their laws are in
//! `activation_laws`.

use chainrule::activation::*;

mod accuracy;
mod duals;
mod extremes;
mod kind;

/// Every activation, with parameters on both sides of the usual.
fn all() -> Vec<ActivationKind> {
    let mut all = vec![
        Identity.kind(),
        Sigmoid.kind(),
        Tanh.kind(),
        Relu.kind(),
        Relu6.kind(),
        Selu.kind(),
        Gelu.kind(),
        GeluTanh.kind(),
        Mish.kind(),
        Softsign.kind(),
        LogSigmoid.kind(),
        HardTanh::default().kind(),
        HardTanh::new(-0.25, 3.0).unwrap().kind(),
        HardSigmoid.kind(),
        HardSwish.kind(),
        Erf.kind(),
    ];
    all.extend([0.01, 0.0, 1.0, 2.5, -0.5].map(|slope| LeakyRelu::new(slope).unwrap().kind()));
    all.extend([1.0, 0.0, 0.5, 3.0].map(|alpha| Elu::new(alpha).unwrap().kind()));
    all.extend([1.0, 0.5, 3.0].map(|alpha| Celu::new(alpha).unwrap().kind()));
    all.extend([1.0, 0.0, 0.3, 4.0, -2.0].map(|beta| Swish::new(beta).unwrap().kind()));
    all.extend([1.0, 0.2, 2.0].map(|beta| Softplus::new(beta).unwrap().kind()));
    all
}

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
