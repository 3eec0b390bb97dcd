//! The element type of networks: `f32`, `f64`, dual numbers, and registered types of other crates.

use crate::compiled::*;
use core::fmt::Debug;
use num_traits::{Float, NumAssign, NumCast};

/// An element type of networks: a real number with the usual operations.
///
/// Scalars are `f32`, `f64` and [`Dual`](crate::testing::Dual) numbers; `half::f16` and `half::bf16` with the feature
/// `half`. A float type of your own is registered by one line, since the trait has no required methods:
///
/// ```ignore
/// impl chainrule::Scalar for MyFloat {}
/// ```
///
/// Layers, losses, transforms and the training loop are compiled in this crate for `f32` and `f64`, and in yours for
/// other scalars.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a scalar",
    label = "not a scalar",
    note = "a float type of your own is registered by one line, which the page of `chainrule::Scalar` shows",
    note = "`half::f16` and `half::bf16` are scalars with the feature `half`",
    note = "where flat values `&[T]` are expected, give rows of their own, `Vec<Vec<T>>`, by `Dataset::from_rows`"
)]
#[allow(non_snake_case)]
pub trait Scalar: Float + NumAssign + Debug + Send + Sync + 'static {
    hidden_methods!();
}

impl Scalar for f32 {
    hidden_methods!();
}

impl Scalar for f64 {
    hidden_methods!();
}

#[cfg(feature = "half")]
impl Scalar for half::f16 {}

#[cfg(feature = "half")]
impl Scalar for half::bf16 {}

/// Calls the macro `$then` with the methods of `ToPrimitive`, each followed by the type that it converts to.
macro_rules! primitives {
    ($then:ident) => {
        $then! {
            to_isize isize to_i8 i8 to_i16 i16 to_i32 i32 to_i64 i64 to_i128 i128
            to_usize usize to_u8 u8 to_u16 u16 to_u32 u32 to_u64 u64 to_u128 u128
            to_f32 f32 to_f64 f64
        }
    };
}
pub(crate) use primitives;

/// Converts the constant `x` to `T`, rounded; beyond the range of a float type it becomes ±∞. NaN if `T` has no
/// conversion for it.
#[inline(always)]
pub fn scalar<T: Scalar>(x: f64) -> T {
    <T as NumCast>::from(x).unwrap_or_else(T::nan)
}

/// Converts `x`, a setting such as the slope of a leaky ReLU, to `T`: the nearest finite number, and not 0 unless `x`
/// is 0.
#[inline(always)]
pub(crate) fn parameter<T: Scalar>(x: f64) -> T {
    let nearest = scalar::<T>(x);
    let least = if nearest.is_zero() && x != 0.0 { T::min_positive_value() } else { nearest.abs() };
    let size = if least > T::max_value() { T::max_value() } else { least };
    if nearest.is_sign_negative() { -size } else { size }
}

/// Converts `x` to `f64`; NaN if it has no `f64` value.
#[inline(always)]
pub fn to_f64<T: Scalar>(x: T) -> f64 {
    x.to_f64().unwrap_or(f64::NAN)
}

/// Whether `T` has less precision than `f32`, as `f16` has. Such numbers are computed in `f64` and rounded once.
///
/// A dual number of two 16-bit numbers is not narrow: its conversion to `f64` would lose the tangent.
#[inline(always)]
pub(crate) const fn is_narrow<T>() -> bool {
    size_of::<T>() < size_of::<f32>()
}

/// Returns the smallest positive normal number of the format in which numbers of type `T` are computed: `f64` if `T` is
/// narrower than `f32`, otherwise `T`.
pub(crate) fn least_normal<T: Scalar>() -> f64 {
    if is_narrow::<T>() { f64::MIN_POSITIVE } else { to_f64(T::min_positive_value()) }
}

/// Returns `factor · x`. It is computed in `f64` if `T` is narrower than `f32`, since `T` may be unable to represent
/// `factor`.
#[inline(always)]
pub(crate) fn scaled<T: Scalar>(factor: f64, x: T) -> T {
    if is_narrow::<T>() { scalar(factor * to_f64(x)) } else { scalar::<T>(factor) * x }
}
