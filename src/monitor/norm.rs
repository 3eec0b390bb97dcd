//! The norm of a gradient and its values that are zero or not finite.

use crate::{
    kernel::reduce::{Survey, survey},
    scalar::Scalar,
};

/// A gradient at one place: its length and what is wrong with it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct NormStats {
    /// Its 2-norm; infinite or NaN where a value is.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub norm: f64,
    /// How many values are exactly zero.
    pub zeros: usize,
    /// How many are infinite or NaN.
    pub non_finite: usize,
    /// How many there are.
    pub values: usize,
}

impl NormStats {
    /// The length of a gradient.
    pub fn of<T: Scalar>(gradient: &[T]) -> Self {
        let Survey { norm, zeros, non_finite, .. } = survey(gradient);
        NormStats { norm, zeros, non_finite, values: gradient.len() }
    }
}
