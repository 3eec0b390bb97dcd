//! Numbers whose `a · b + c` is one instruction, for elementwise loops on a CPU with FMA.
//!
//! Without FMA, `mul_add` is a library call. Generic code does not know the CPU level for which it is compiled, so
//! the type carries this information.

use super::{Level, PLAIN};
use crate::scalar::Scalar;
use core::{
    cmp::Ordering,
    num::FpCategory,
    ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Rem, RemAssign, Sub, SubAssign},
};
use num_traits::{Float, Num, NumCast, One, ToPrimitive, Zero};

/// A number for which [`math`](crate::math) uses fused multiply-adds.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(crate) struct Fused<T>(pub T);

/// Whether elementwise loops over `T` run on [`Fused`] numbers at the CPU level `LEVEL`: loops over `f32` and `f64`
/// do at every level above [`PLAIN`].
#[inline(always)]
pub(crate) fn fuses<const LEVEL: Level, T: 'static>() -> bool {
    LEVEL != PLAIN && (super::is::<T, f32>() || super::is::<T, f64>())
}

/// Whether `T` is [`Fused`] of `f32` or of `f64`.
#[inline(always)]
pub(crate) fn is_fused<T: 'static>() -> bool {
    super::is::<T, Fused<f32>>() || super::is::<T, Fused<f64>>()
}

/// Whether `T` is `f32` or [`Fused`] of `f32`.
#[inline(always)]
pub(crate) fn is_single<T: 'static>() -> bool {
    super::is::<T, f32>() || super::is::<T, Fused<f32>>()
}

#[inline(always)]
pub(crate) fn fused<T>(x: &[T]) -> &[Fused<T>] {
    // SAFETY: `Fused<T>` is a transparent wrapper of `T`: the same layout, and every value is valid.
    unsafe { core::slice::from_raw_parts(x.as_ptr().cast(), x.len()) }
}

#[inline(always)]
pub(crate) fn fused_mut<T>(x: &mut [T]) -> &mut [Fused<T>] {
    // SAFETY: as for `fused`, and the borrow is passed on whole.
    unsafe { core::slice::from_raw_parts_mut(x.as_mut_ptr().cast(), x.len()) }
}

#[inline(always)]
pub(crate) fn fused_each<'a, T, const N: usize>(outs: [&'a mut [T]; N]) -> [&'a mut [Fused<T>]; N] {
    // SAFETY: as for `fused`: a reference to a slice is an address and a length, and neither changes. `outs` is not
    // used again, and a reference has no destructor.
    unsafe { (&raw const outs).cast::<[&'a mut [Fused<T>]; N]>().read() }
}

impl<T: Scalar> Scalar for Fused<T> {}

impl<T: Scalar> PartialEq for Fused<T> {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

/// Compares by the operators of the wrapped number: loops over `partial_cmp` would not vectorize.
impl<T: Scalar> PartialOrd for Fused<T> {
    #[inline(always)]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.0.partial_cmp(&other.0)
    }
    #[inline(always)]
    fn lt(&self, other: &Self) -> bool {
        self.0 < other.0
    }
    #[inline(always)]
    fn le(&self, other: &Self) -> bool {
        self.0 <= other.0
    }
    #[inline(always)]
    fn gt(&self, other: &Self) -> bool {
        self.0 > other.0
    }
    #[inline(always)]
    fn ge(&self, other: &Self) -> bool {
        self.0 >= other.0
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident $assign:ident $assign_method:ident;)+) => {$(
        impl<T: Scalar> $trait for Fused<T> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                Fused(self.0.$method(other.0))
            }
        }
        impl<T: Scalar> $assign for Fused<T> {
            #[inline(always)]
            fn $assign_method(&mut self, other: Self) {
                self.0.$assign_method(other.0);
            }
        }
    )+};
}
operators! {
    Add add AddAssign add_assign;
    Sub sub SubAssign sub_assign;
    Mul mul MulAssign mul_assign;
    Div div DivAssign div_assign;
    Rem rem RemAssign rem_assign;
}

impl<T: Scalar> Neg for Fused<T> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Fused(-self.0)
    }
}

impl<T: Scalar> Zero for Fused<T> {
    #[inline(always)]
    fn zero() -> Self {
        Fused(T::zero())
    }
    #[inline(always)]
    fn is_zero(&self) -> bool {
        self.0.is_zero()
    }
}

impl<T: Scalar> One for Fused<T> {
    #[inline(always)]
    fn one() -> Self {
        Fused(T::one())
    }
}

impl<T: Scalar> Num for Fused<T> {
    type FromStrRadixErr = T::FromStrRadixErr;
    fn from_str_radix(text: &str, radix: u32) -> Result<Self, Self::FromStrRadixErr> {
        T::from_str_radix(text, radix).map(Fused)
    }
}

impl<T: Scalar> NumCast for Fused<T> {
    #[inline(always)]
    fn from<N: ToPrimitive>(n: N) -> Option<Self> {
        <T as NumCast>::from(n).map(Fused)
    }
}

macro_rules! to_primitive {
    ($($method:ident $number:ident)+) => {
        impl<T: Scalar> ToPrimitive for Fused<T> {$(
            #[inline(always)]
            fn $method(&self) -> Option<$number> {
                self.0.$method()
            }
        )+}
    };
}
crate::scalar::primitives!(to_primitive);

macro_rules! float {
    (constants: $($constant:ident)+; tests: $($test:ident)+; of_one: $($one:ident)+; of_two: $($two:ident)+;
     $($rest:tt)*) => {
        impl<T: Scalar> Float for Fused<T> {
            $(#[inline(always)] fn $constant() -> Self { Fused(T::$constant()) })+
            $(#[inline(always)] fn $test(self) -> bool { self.0.$test() })+
            $(#[inline(always)] fn $one(self) -> Self { Fused(self.0.$one()) })+
            $(#[inline(always)] fn $two(self, other: Self) -> Self { Fused(self.0.$two(other.0)) })+
            $($rest)*
        }
    };
}
float! {
    constants: nan infinity neg_infinity neg_zero min_value min_positive_value max_value epsilon;
    tests: is_nan is_infinite is_finite is_normal is_subnormal is_sign_positive is_sign_negative;
    of_one: floor ceil round trunc fract abs signum recip sqrt cbrt exp exp2 exp_m1 ln log2 log10 ln_1p
        sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh to_degrees to_radians;
    of_two: powf log max min abs_sub hypot atan2 copysign;
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self { Fused(self.0.mul_add(a.0, b.0)) }
    #[inline(always)]
    fn clamp(self, min: Self, max: Self) -> Self { Fused(self.0.clamp(min.0, max.0)) }
    #[inline(always)]
    fn powi(self, n: i32) -> Self { Fused(self.0.powi(n)) }
    #[inline(always)]
    fn sin_cos(self) -> (Self, Self) { let (sin, cos) = self.0.sin_cos(); (Fused(sin), Fused(cos)) }
    #[inline(always)]
    fn classify(self) -> FpCategory { self.0.classify() }
    #[inline(always)]
    fn integer_decode(self) -> (u64, i16, i8) { self.0.integer_decode() }
}
