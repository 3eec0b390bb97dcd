//! Shrinkage activations: 0 in an interval about 0, near the identity outside.

use super::{Activation, Bounds, checked_when_read, own_kind};
use crate::{
    error::{Error, require},
    math::magnitude,
    scalar::{Scalar, parameter},
};
use alloc::{vec, vec::Vec};

/// Defines a shrinkage activation with the parameter λ. `$lambda` is the name of λ in an error. `$outside` is the
/// value of the activation at a `$z` outside the interval from −λ to λ. `$places` is the method of [`Activation`],
/// `kinks` or `jumps`, that returns −λ and λ.
macro_rules! shrinkage {
    ($(#[$doc:meta])* $name:ident, $lambda:literal, $z:ident, $of:ident => $outside:expr, $places:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize))]
        pub struct $name {
            #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
            lambda: f64,
        }
        checked_when_read!($name { lambda });

        impl $name {
            /// Creates the function that is 0 from −`lambda` to `lambda`. If a number format cannot represent λ, the
            /// nearest number that is finite and not 0 is used.
            ///
            /// # Errors
            /// [`Error::Parameter`] unless `lambda` is finite and at least 0.
            pub fn new(lambda: f64) -> Result<Self, Error> {
                require(lambda.is_finite() && lambda >= 0.0, $lambda, "finite and at least 0", lambda)?;
                Ok($name { lambda })
            }

            /// Returns λ: φ is 0 from −λ to λ.
            pub const fn lambda(&self) -> f64 {
                self.lambda
            }

            /// Whether z lies in the interval from −λ to λ, where φ is 0; false for λ = 0, where φ is the
            /// identity.
            #[inline(always)]
            fn inside<T: Scalar>(&self, z: T) -> bool {
                self.lambda > 0.0 && magnitude(z) <= parameter(self.lambda)
            }
        }

        /// Returns the shrinkage with λ = 0.5, which is 0 from −0.5 to 0.5.
        impl Default for $name {
            fn default() -> Self {
                $name { lambda: 0.5 }
            }
        }

        impl Activation for $name {
            #[inline(always)]
            fn value<T: Scalar>(&self, $z: T) -> T {
                let $of = parameter::<T>(self.lambda);
                // A zero of the sign of z, so that φ is odd to the bit.
                if self.inside($z) { $z * T::zero() } else { $outside }
            }
            #[inline(always)]
            fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
                let outside = if z.is_nan() { z } else { T::one() };
                if self.inside(z) { T::zero() } else { outside }
            }
            fn derivative_bounds(&self) -> Option<Bounds> {
                Some(Bounds::new(if self.lambda > 0.0 { 0.0 } else { 1.0 }, 1.0))
            }
            fn $places(&self) -> Vec<f64> {
                if self.lambda > 0.0 { vec![-self.lambda, self.lambda] } else { Vec::new() }
            }
            fn is_odd(&self) -> bool {
                true
            }
            own_kind!($name);
        }
    };
}

shrinkage! {
    /// Hard shrinkage: `φ(z) = z` for `|z| > λ`, else 0; φ jumps at ±λ, where `φ′ = 0`.
    ///
    /// With λ = 0 it is the identity. Donoho & Johnstone, *Ideal spatial adaptation by wavelet shrinkage* (1994).
    HardShrink, "HardShrink lambda", z, _lambda => z, jumps
}

shrinkage! {
    /// Soft shrinkage: `φ(z) = z − λ` for `z > λ`, `z + λ` for `z < −λ`, else 0; φ′ is 0 at both kinks.
    ///
    /// With λ = 0 it is the identity. Donoho & Johnstone, *Ideal spatial adaptation by wavelet shrinkage* (1994).
    SoftShrink, "SoftShrink lambda", z, lambda => z - if z < T::zero() { -lambda } else { lambda }, kinks
}
