//! The identity as an activation.

use super::{Activation, Bounds, own_kind};
use crate::scalar::Scalar;

/// The identity: `φ(z) = z`, `φ′(z) = 1`. The initializer of this name is
/// [`initializer::Identity`](crate::initializer::Identity): where both are needed, write `activation::Identity`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Identity;

impl Activation for Identity {
    #[inline(always)]
    fn value<T: Scalar>(&self, z: T) -> T {
        z
    }
    #[inline(always)]
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        if z.is_nan() { z } else { T::one() }
    }
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(1.0, 1.0))
    }
    fn is_odd(&self) -> bool {
        true
    }
    own_kind!(Identity);
}
