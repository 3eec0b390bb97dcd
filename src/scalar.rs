//! The element type of networks: `f32`, `f64`, dual numbers, and registered types of other crates.

use crate::compiled::*;
use core::fmt::Debug;
use num_traits::{Float, NumAssign, NumCast};

/// An element type of networks: a real number with the usual operations.
///
/// Scalars are `f32`, `f64` and [`Dual`](crate::testing::Dual) numbers (a value with a derivative), and with the
/// feature `half` also `half::f16` and `half::bf16`. A custom float type needs one line, since the trait has no
/// required methods:
///
/// ```
/// use chainrule::{layer::{Sequential, initialize}, model::Model, dataset::Dataset};
/// # // A float of one's own, with the traits of the crates `num_traits` and `std`.
/// # mod own {
/// #     use num_traits::{Float, Num, NumCast, One, ToPrimitive, Zero};
/// #     use std::{num::FpCategory, ops::*};
/// #     #[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
/// #     pub struct MyFloat(pub f64);
/// #     macro_rules! operators {
/// #         ($($name:ident $method:ident $assign:ident $assigned:ident;)+) => {$(
/// #             impl $name for MyFloat {
/// #                 type Output = Self;
/// #                 fn $method(self, other: Self) -> Self { MyFloat($name::$method(self.0, other.0)) }
/// #             }
/// #             impl $assign for MyFloat {
/// #                 fn $assigned(&mut self, other: Self) { $assign::$assigned(&mut self.0, other.0) }
/// #             }
/// #         )+};
/// #     }
/// #     operators! {
/// #         Add add AddAssign add_assign; Sub sub SubAssign sub_assign; Mul mul MulAssign mul_assign;
/// #         Div div DivAssign div_assign; Rem rem RemAssign rem_assign;
/// #     }
/// #     impl Neg for MyFloat { type Output = Self; fn neg(self) -> Self { MyFloat(-self.0) } }
/// #     impl Zero for MyFloat {
/// #         fn zero() -> Self { MyFloat(0.0) }
/// #         fn is_zero(&self) -> bool { self.0 == 0.0 }
/// #     }
/// #     impl One for MyFloat { fn one() -> Self { MyFloat(1.0) } }
/// #     impl Num for MyFloat {
/// #         type FromStrRadixErr = <f64 as Num>::FromStrRadixErr;
/// #         fn from_str_radix(text: &str, radix: u32) -> Result<Self, Self::FromStrRadixErr> {
/// #             <f64 as Num>::from_str_radix(text, radix).map(MyFloat)
/// #         }
/// #     }
/// #     impl ToPrimitive for MyFloat {
/// #         fn to_i64(&self) -> Option<i64> { self.0.to_i64() }
/// #         fn to_u64(&self) -> Option<u64> { self.0.to_u64() }
/// #         fn to_f64(&self) -> Option<f64> { Some(self.0) }
/// #     }
/// #     impl NumCast for MyFloat {
/// #         fn from<N: ToPrimitive>(n: N) -> Option<Self> { n.to_f64().map(MyFloat) }
/// #     }
/// #     macro_rules! float {
/// #         ($($constant:ident)+; $($test:ident)+; $($unary:ident)+; $($binary:ident)+) => {
/// #             impl Float for MyFloat {
/// #                 $(fn $constant() -> Self { MyFloat(<f64 as Float>::$constant()) })+
/// #                 $(fn $test(self) -> bool { Float::$test(self.0) })+
/// #                 $(fn $unary(self) -> Self { MyFloat(Float::$unary(self.0)) })+
/// #                 $(fn $binary(self, other: Self) -> Self { MyFloat(Float::$binary(self.0, other.0)) })+
/// #                 fn classify(self) -> FpCategory { self.0.classify() }
/// #                 fn powi(self, n: i32) -> Self { MyFloat(self.0.powi(n)) }
/// #                 fn mul_add(self, a: Self, b: Self) -> Self { MyFloat(self.0.mul_add(a.0, b.0)) }
/// #                 fn abs_sub(self, other: Self) -> Self { MyFloat((self.0 - other.0).max(0.0)) }
/// #                 fn sin_cos(self) -> (Self, Self) { (self.sin(), self.cos()) }
/// #                 fn integer_decode(self) -> (u64, i16, i8) { Float::integer_decode(self.0) }
/// #             }
/// #         };
/// #     }
/// #     float! {
/// #         nan infinity neg_infinity neg_zero min_value min_positive_value max_value epsilon;
/// #         is_nan is_infinite is_finite is_normal is_sign_positive is_sign_negative;
/// #         floor ceil round trunc fract abs signum recip sqrt exp exp2 ln log2 log10 cbrt sin cos tan asin acos atan
/// #             exp_m1 ln_1p sinh cosh tanh asinh acosh atanh;
/// #         powf log max min hypot atan2
/// #     }
/// # }
/// use own::MyFloat; // has `num_traits::Float` and `num_traits::NumAssign`
/// impl chainrule::Scalar for MyFloat {}
///
/// let network = Sequential::<MyFloat>::input(1).linear(1).build()?;
/// let model = Model::new(network, vec![MyFloat(2.0), MyFloat(0.5)])?; // a weight and a bias
/// assert_eq!(model.predict(&Dataset::rows(1, &[MyFloat(3.0)], None)?)?, [MyFloat(6.5)]);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Required
/// Nothing.
///
/// Layers, losses, transforms and the training loop are compiled in this crate for `f32` and `f64`, and for another
/// scalar in the crate that uses it.
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

/// Converts `x`, usually a constant, to `T`, with rounding; a value beyond the range of `T` becomes ±∞. The result is
/// NaN if `T` has no conversion for it.
#[inline(always)]
pub fn scalar<T: Scalar>(x: f64) -> T {
    <T as NumCast>::from(x).unwrap_or_else(T::nan)
}

/// Converts `x`, a setting such as the slope of a leaky ReLU, to the nearest finite number of type `T`. A nonzero `x`
/// that would round to 0 becomes the smallest positive normal number, with the sign of `x`.
#[inline(always)]
pub(crate) fn parameter<T: Scalar>(x: f64) -> T {
    let nearest = scalar::<T>(x);
    let least = if nearest.is_zero() && x != 0.0 { T::min_positive_value() } else { nearest.abs() };
    let size = if least > T::max_value() { T::max_value() } else { least };
    if nearest.is_sign_negative() { -size } else { size }
}

/// Converts `x` to `f64`; NaN if its type has no conversion for it.
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
