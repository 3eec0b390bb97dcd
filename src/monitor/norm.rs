//! The norm of a gradient, and its numbers of zero and non-finite values.

use crate::{
    kernel::reduce::{Survey, survey},
    scalar::Scalar,
};

/// The norm of a slice, and its counts of zero and non-finite values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct NormStats {
    /// The 2-norm; infinite or NaN if a value is infinite or NaN.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub norm: f64,
    /// The number of values that are exactly zero.
    pub zeros: usize,
    /// The number of values that are infinite or NaN.
    pub non_finite: usize,
    /// The number of values.
    pub values: usize,
}

impl NormStats {
    /// Returns the norm and the counts of the concatenation of two slices, from those of each slice.
    pub(super) fn and(self, other: Self) -> Self {
        NormStats {
            norm: libm::hypot(self.norm, other.norm),
            zeros: self.zeros + other.zeros,
            non_finite: self.non_finite + other.non_finite,
            values: self.values + other.values,
        }
    }

    /// Returns the norm of `gradient`, and its numbers of zero values, of non-finite values, and of all values.
    pub fn of<T: Scalar>(gradient: &[T]) -> Self {
        let Survey { norm, zeros, non_finite, .. } = survey(gradient);
        NormStats { norm, zeros, non_finite, values: gradient.len() }
    }
}
