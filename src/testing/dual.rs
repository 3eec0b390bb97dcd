//! Dual numbers: a value with its derivative in one direction.

use crate::scalar::{Scalar, scalar};
use core::{
    cmp::Ordering,
    num::FpCategory,
    ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Rem, RemAssign, Sub, SubAssign},
};
use num_traits::{Float, Num, NumCast, One, ToPrimitive, Zero};

/// A value with its derivative in one direction: `value + tangent ε`, where `ε² = 0`.
///
/// It is a [`Scalar`](crate::Scalar): a network run on dual numbers gives its output and J v at once, exact to
/// rounding, without a step size. `Dual<Dual<f64>>` gives second derivatives.
///
/// Comparisons look at the value alone, so that a branch goes where it goes for plain numbers.
///
/// ```
/// use chainrule::{Activation, activation::Tanh, testing::Dual};
/// let y = Tanh.value(Dual::variable(0.5f64));
/// assert!((y.tangent - Tanh.derivative(0.5, y.value)).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Dual<T> {
    /// The value.
    pub value: T,
    /// Its derivative.
    pub tangent: T,
}

impl<T: Scalar> Dual<T> {
    /// `value + tangent ε`.
    pub const fn new(value: T, tangent: T) -> Self {
        Dual { value, tangent }
    }

    /// A number that does not depend on the direction: tangent 0.
    pub fn constant(value: T) -> Self {
        Dual { value, tangent: T::zero() }
    }

    /// The number that the derivative is taken by: tangent 1.
    pub fn variable(value: T) -> Self {
        Dual { value, tangent: T::one() }
    }

    /// The chain rule: `f(value)` with slope `f′(value)`. A constant stays one, also where the slope is infinite.
    fn chain(self, value: T, slope: T) -> Self {
        Dual { value, tangent: if self.tangent.is_zero() { self.tangent } else { self.tangent * slope } }
    }
}

impl<T: PartialEq> PartialEq for Dual<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: PartialOrd> PartialOrd for Dual<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.value.partial_cmp(&other.value)
    }
}

macro_rules! operator {
    ($trait:ident $method:ident, $assign:ident $assign_method:ident, |$a:ident, $b:ident| $body:expr) => {
        impl<T: Scalar> $trait for Dual<T> {
            type Output = Self;
            #[inline]
            fn $method(self, other: Self) -> Self {
                let ($a, $b) = (self, other);
                $body
            }
        }
        impl<T: Scalar> $assign for Dual<T> {
            #[inline]
            fn $assign_method(&mut self, other: Self) {
                *self = $trait::$method(*self, other);
            }
        }
    };
}
operator!(Add add, AddAssign add_assign, |a, b| Dual::new(a.value + b.value, a.tangent + b.tangent));
operator!(Sub sub, SubAssign sub_assign, |a, b| Dual::new(a.value - b.value, a.tangent - b.tangent));
operator!(Mul mul, MulAssign mul_assign, |a, b| {
    Dual::new(a.value * b.value, a.tangent * b.value + a.value * b.tangent)
});
operator!(Div div, DivAssign div_assign, |a, b| {
    let value = a.value / b.value;
    Dual::new(value, (a.tangent - value * b.tangent) / b.value)
});
operator!(Rem rem, RemAssign rem_assign, |a, b| {
    Dual::new(a.value % b.value, a.tangent - (a.value / b.value).trunc() * b.tangent)
});

impl<T: Scalar> Neg for Dual<T> {
    type Output = Self;
    fn neg(self) -> Self {
        Dual::new(-self.value, -self.tangent)
    }
}

impl<T: Scalar> Zero for Dual<T> {
    fn zero() -> Self {
        Dual::constant(T::zero())
    }
    fn is_zero(&self) -> bool {
        self.value.is_zero()
    }
}

impl<T: Scalar> One for Dual<T> {
    fn one() -> Self {
        Dual::constant(T::one())
    }
}

impl<T: Scalar> Num for Dual<T> {
    type FromStrRadixErr = T::FromStrRadixErr;
    fn from_str_radix(text: &str, radix: u32) -> Result<Self, Self::FromStrRadixErr> {
        T::from_str_radix(text, radix).map(Dual::constant)
    }
}

impl<T: Scalar> ToPrimitive for Dual<T> {
    fn to_i64(&self) -> Option<i64> {
        self.value.to_i64()
    }
    fn to_u64(&self) -> Option<u64> {
        self.value.to_u64()
    }
    fn to_f64(&self) -> Option<f64> {
        self.value.to_f64()
    }
}

impl<T: Scalar> NumCast for Dual<T> {
    fn from<N: ToPrimitive>(n: N) -> Option<Self> {
        <T as NumCast>::from(n).map(Dual::constant)
    }
}

macro_rules! float {
    (constants: $($constant:ident)+; tests: $($test:ident)+; steps: $($step:ident)+;
     chain: $($method:ident($x:ident, $y:ident) = $slope:expr,)+; $($rest:tt)*) => {
        impl<T: Scalar> Float for Dual<T> {
            $(fn $constant() -> Self { Dual::constant(T::$constant()) })+
            $(fn $test(self) -> bool { self.value.$test() })+
            $(fn $step(self) -> Self { self.chain(self.value.$step(), T::zero()) })+
            $(fn $method(self) -> Self {
                let ($x, $y) = (self.value, self.value.$method());
                let _ = ($x, $y);
                self.chain($y, $slope)
            })+
            $($rest)*
        }
    };
}

float! {
    constants: nan infinity neg_infinity neg_zero min_value min_positive_value max_value epsilon;
    tests: is_nan is_infinite is_finite is_normal is_subnormal is_sign_positive is_sign_negative;
    steps: floor ceil round trunc signum;
    chain:
        fract(x, y) = T::one(),
        recip(x, y) = -(y * y),
        sqrt(x, y) = (y + y).recip(),
        cbrt(x, y) = (scalar::<T>(3.0) * y * y).recip(),
        exp(x, y) = y,
        exp2(x, y) = y * scalar(core::f64::consts::LN_2),
        exp_m1(x, y) = x.exp(),
        ln(x, y) = x.recip(),
        log2(x, y) = (x * scalar(core::f64::consts::LN_2)).recip(),
        log10(x, y) = (x * scalar(core::f64::consts::LN_10)).recip(),
        ln_1p(x, y) = (T::one() + x).recip(),
        sin(x, y) = x.cos(),
        cos(x, y) = -x.sin(),
        tan(x, y) = T::one() + y * y,
        asin(x, y) = ((T::one() - x) * (T::one() + x)).sqrt().recip(),
        acos(x, y) = -((T::one() - x) * (T::one() + x)).sqrt().recip(),
        atan(x, y) = (T::one() + x * x).recip(),
        sinh(x, y) = x.cosh(),
        cosh(x, y) = x.sinh(),
        tanh(x, y) = { let s = x.cosh().recip(); s * s },
        asinh(x, y) = x.hypot(T::one()).recip(),
        acosh(x, y) = ((x - T::one()).sqrt() * (x + T::one()).sqrt()).recip(),
        atanh(x, y) = ((T::one() - x) * (T::one() + x)).recip(),
        to_degrees(x, y) = T::one().to_degrees(),
        to_radians(x, y) = T::one().to_radians(),;
    fn classify(self) -> FpCategory { self.value.classify() }
    fn integer_decode(self) -> (u64, i16, i8) { self.value.integer_decode() }
    fn abs(self) -> Self { self.chain(self.value.abs(), self.value.signum()) }
    fn mul_add(self, a: Self, b: Self) -> Self { self * a + b }
    fn powi(self, n: i32) -> Self {
        let slope = if n == 0 { T::zero() } else { scalar::<T>(n.into()) * self.value.powi(n - 1) };
        self.chain(self.value.powi(n), slope)
    }
    fn powf(self, n: Self) -> Self {
        let value = self.value.powf(n.value);
        let by_base = if n.value.is_zero() { T::zero() } else { n.value * self.value.powf(n.value - T::one()) };
        let base = self.chain(value, by_base);
        Dual::new(value, base.tangent + n.chain(value, value * self.value.ln()).tangent)
    }
    fn log(self, base: Self) -> Self { self.ln() / base.ln() }
    fn max(self, other: Self) -> Self { if self.value.is_nan() || other.value > self.value { other } else { self } }
    fn min(self, other: Self) -> Self { if self.value.is_nan() || other.value < self.value { other } else { self } }
    fn abs_sub(self, other: Self) -> Self { if self.value <= other.value { Self::zero() } else { self - other } }
    fn hypot(self, other: Self) -> Self {
        let value = self.value.hypot(other.value);
        Dual::new(value, self.chain(value, self.value / value).tangent + other.chain(value, other.value / value).tangent)
    }
    fn atan2(self, other: Self) -> Self {
        let square = self.value * self.value + other.value * other.value;
        let value = self.value.atan2(other.value);
        Dual::new(value, (self.tangent * other.value - self.value * other.tangent) / square)
    }
    fn sin_cos(self) -> (Self, Self) { (self.sin(), self.cos()) }
}
