//! Numbers with a bound on their rounding error. They show whether the tangent of a dual number is accurate.

use super::Dual;
use crate::scalar::Scalar;
use core::{
    cmp::Ordering,
    num::FpCategory,
    ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Rem, RemAssign, Sub, SubAssign},
};
use num_traits::{Float, Num, NumCast, One, ToPrimitive, Zero};

/// An `f64` with a bound on the rounding error of the operations that gave it, to first order in ε.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rounded {
    pub value: f64,
    pub error: f64,
}

/// The relative error of one rounding.
const ROUNDING: f64 = 0.5 * f64::EPSILON;

impl Rounded {
    const fn exact(value: f64) -> Self {
        Rounded { value, error: 0.0 }
    }

    /// Applies a function of one number. The error is scaled by the slope of the function, and the rounding of the
    /// result is added.
    fn one(self, f: impl Fn(Dual<f64>) -> Dual<f64>) -> Self {
        let y = f(Dual::variable(self.value));
        Rounded { value: y.value, error: carried(self.error, y.tangent) + ROUNDING * y.value.abs() }
    }

    /// Applies a function of two numbers. Each error is scaled by the slope along its number, and the rounding of the
    /// result is added.
    fn two(self, other: Self, f: impl Fn(Dual<f64>, Dual<f64>) -> Dual<f64>) -> Self {
        let (a, b) = (Dual::constant(self.value), Dual::constant(other.value));
        let (y, right) = (f(Dual::variable(self.value), b), f(a, Dual::variable(other.value)));
        let error = carried(self.error, y.tangent) + carried(other.error, right.tangent);
        Rounded { value: y.value, error: error + ROUNDING * y.value.abs() }
    }
}

/// Returns `error · |slope|`; an error of 0 stays 0, even if the slope is infinite.
fn carried(error: f64, slope: f64) -> f64 {
    if error == 0.0 { 0.0 } else { error * slope.abs() }
}

impl PartialEq for Rounded {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl PartialOrd for Rounded {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.value.partial_cmp(&other.value)
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident, $assign:ident $assign_method:ident;)+) => {$(
        impl $trait for Rounded {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                self.two(other, $trait::$method)
            }
        }
        impl $assign for Rounded {
            fn $assign_method(&mut self, other: Self) {
                *self = $trait::$method(*self, other);
            }
        }
    )+};
}
operators! {
    Add add, AddAssign add_assign;
    Sub sub, SubAssign sub_assign;
    Mul mul, MulAssign mul_assign;
    Div div, DivAssign div_assign;
    Rem rem, RemAssign rem_assign;
}

impl Neg for Rounded {
    type Output = Self;
    fn neg(self) -> Self {
        Rounded { value: -self.value, error: self.error }
    }
}

impl Zero for Rounded {
    fn zero() -> Self {
        Rounded::exact(0.0)
    }
    fn is_zero(&self) -> bool {
        self.value == 0.0
    }
}

impl One for Rounded {
    fn one() -> Self {
        Rounded::exact(1.0)
    }
}

impl Num for Rounded {
    type FromStrRadixErr = <f64 as Num>::FromStrRadixErr;
    fn from_str_radix(text: &str, radix: u32) -> Result<Self, Self::FromStrRadixErr> {
        f64::from_str_radix(text, radix).map(Rounded::exact)
    }
}

impl ToPrimitive for Rounded {
    fn to_i64(&self) -> Option<i64> {
        self.value.to_i64()
    }
    fn to_u64(&self) -> Option<u64> {
        self.value.to_u64()
    }
    fn to_f64(&self) -> Option<f64> {
        Some(self.value)
    }
}

impl Scalar for Rounded {}

impl NumCast for Rounded {
    fn from<N: ToPrimitive>(n: N) -> Option<Self> {
        <f64 as NumCast>::from(n).map(Rounded::exact)
    }
}

macro_rules! float {
    (constants: $($constant:ident)+; tests: $($test:ident)+; exact: $($exact:ident)+; one: $($one:ident)+;
     two: $($two:ident)+;) => {
        impl Float for Rounded {
            $(fn $constant() -> Self { Rounded::exact(f64::$constant()) })+
            $(fn $test(self) -> bool { Float::$test(self.value) })+
            $(fn $exact(self) -> Self { Rounded { value: Float::$exact(self.value), error: self.error } })+
            $(fn $one(self) -> Self { Rounded::one(self, Float::$one) })+
            $(fn $two(self, other: Self) -> Self { self.two(other, Float::$two) })+
            fn classify(self) -> FpCategory {
                Float::classify(self.value)
            }
            fn integer_decode(self) -> (u64, i16, i8) {
                Float::integer_decode(self.value)
            }
            fn mul_add(self, a: Self, b: Self) -> Self {
                self * a + b
            }
            fn powi(self, n: i32) -> Self {
                Rounded::one(self, |x| x.powi(n))
            }
            fn sin_cos(self) -> (Self, Self) {
                (self.sin(), self.cos())
            }
        }
    };
}
float! {
    constants: nan infinity neg_infinity neg_zero min_value min_positive_value max_value epsilon;
    tests: is_nan is_infinite is_finite is_normal is_subnormal is_sign_positive is_sign_negative;
    exact: abs floor ceil round trunc signum;
    one: fract recip sqrt cbrt exp exp2 exp_m1 ln log2 log10 ln_1p sin cos tan asin acos atan sinh cosh tanh asinh acosh
        atanh to_degrees to_radians;
    two: copysign powf log max min abs_sub hypot atan2;
}

/// Returns a bound on the rounding error of φ′(z), the tangent that the function φ, given as `value`, has for a
/// dual number at `z`. Returns 0 if the bound is not finite.
pub(super) fn noise(value: impl Fn(Dual<Rounded>) -> Dual<Rounded>, z: f64) -> f64 {
    let error = value(Dual::variable(Rounded::exact(z))).tangent.error;
    if error.is_finite() { error } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For a quotient that cancels near 0, the bound covers the error, and is small where nothing cancels.
    #[test]
    fn error_of_a_cancelling_tangent_is_bounded() {
        let sinc = |z: Dual<Rounded>| z.sin() / z;
        for z in [1e-10, 1e-8, 1e-5, 1e-3, 0.1] {
            let tangent = sinc(Dual::variable(Rounded::exact(z))).tangent.value;
            let truth = -z / 3.0 + z * z * z / 30.0 - z.powi(5) / 840.0 + z.powi(7) / 45360.0 - z.powi(9) / 3_991_680.0;
            assert!((tangent - truth).abs() <= noise(sinc, z), "{z}: {tangent} for {truth}");
        }
        assert!(noise(sinc, 1e-10) > 1e-8 && noise(sinc, 2.0) < 1e-15);
    }
}
