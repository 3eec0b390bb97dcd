//! Something that can be applied to each pre-activation: the factor φ′ of the chain rule.

use crate::scalar::Scalar;
use alloc::vec::Vec;
use core::fmt::Debug;

/// The range of a derivative: `[inf φ′, sup φ′]` over all real numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Greatest lower bound of φ′.
    pub inf: f64,
    /// Least upper bound of φ′.
    pub sup: f64,
}

impl Bounds {
    /// The bounds `[inf, sup]`.
    pub const fn new(inf: f64, sup: f64) -> Self {
        Bounds { inf, sup }
    }

    /// `sup |φ′|`: the most by which one pass through the activation can lengthen a gradient.
    pub fn magnitude(&self) -> f64 {
        self.inf.abs().max(self.sup.abs())
    }
}

/// Something that can be applied to each pre-activation: `y = φ(z)`, with its derivative.
///
/// One implementation serves every [`Scalar`]: the `f32` of training, the `f64` of theory, dual
/// numbers. Write it with [`math`](crate::math) and the loops over it vectorise as ours do.
///
/// ```
/// use chainrule::{Activation, Bounds, Scalar};
/// #[derive(Clone, Debug)]
/// struct Cube;
/// impl Activation for Cube {
///     fn value<T: Scalar>(&self, z: T) -> T { z * z * z }
///     fn derivative<T: Scalar>(&self, z: T, _y: T) -> T { (z + z + z) * z }
///     fn derivative_bounds(&self) -> Option<Bounds> { Some(Bounds::new(0.0, f64::INFINITY)) }
/// }
/// ```
pub trait Activation: Clone + Debug + Send + Sync + 'static {
    /// `φ(z)`.
    fn value<T: Scalar>(&self, z: T) -> T;

    /// `φ′(z)`, given `y = φ(z)` too; at a kink, one of the one-sided derivatives.
    fn derivative<T: Scalar>(&self, z: T, y: T) -> T;

    /// `[inf φ′, sup φ′]` over all real `z`, or `None` where it is not known.
    fn derivative_bounds(&self) -> Option<Bounds> {
        None
    }

    /// Where φ′ jumps, in increasing order.
    fn kinks(&self) -> Vec<f64> {
        Vec::new()
    }
}
