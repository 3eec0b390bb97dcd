//! The element type: any `num_traits::Float`, a user's own included.

use core::fmt::Debug;
use num_traits::{Float, NumAssign, NumCast};

/// Something that can be an element of a network: a real number with the usual operations.
///
/// The implementation is blanket. `f32`, `f64`, dual numbers and a float type of your own are all
/// scalars with nothing to register.
pub trait Scalar: Float + NumAssign + Debug + Send + Sync + 'static {}

impl<T: Float + NumAssign + Debug + Send + Sync + 'static> Scalar for T {}

/// The constant `x` in the scalar type `T`, rounded to it; NaN where `T` cannot hold it.
#[inline(always)]
pub fn scalar<T: Scalar>(x: f64) -> T {
    <T as NumCast>::from(x).unwrap_or_else(T::nan)
}

/// The parameter `x` in the scalar type `T`: the nearest number that is finite, and not 0 unless `x` is.
#[inline(always)]
pub(crate) fn parameter<T: Scalar>(x: f64) -> T {
    let nearest = scalar::<T>(x);
    let least = if nearest.is_zero() && x != 0.0 { T::min_positive_value() } else { nearest.abs() };
    let size = if least > T::max_value() { T::max_value() } else { least };
    if nearest.is_sign_negative() { -size } else { size }
}

/// The scalar `x` as an `f64`; NaN where it has no such value.
#[inline(always)]
pub fn to_f64<T: Scalar>(x: T) -> f64 {
    x.to_f64().unwrap_or(f64::NAN)
}

/// Whether `T` holds fewer digits than `f32`, such as `f16`: such numbers are computed with in `f64`, and rounded once.
///
/// A dual number of two such numbers is not narrow, so that no tangent is lost.
#[inline(always)]
pub(crate) const fn is_narrow<T>() -> bool {
    size_of::<T>() < size_of::<f32>()
}

/// `factor · x`; in `f64` where `T` is narrow, which may not hold `factor`.
#[inline(always)]
pub(crate) fn scaled<T: Scalar>(factor: f64, x: T) -> T {
    if is_narrow::<T>() { scalar(factor * to_f64(x)) } else { scalar::<T>(factor) * x }
}
