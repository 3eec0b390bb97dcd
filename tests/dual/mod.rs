//! A scalar of a user's own, a value with its derivative: the generic bodies carry it, and so it gives any
//! gradient by other means.

use num_traits::{Float, Num, NumCast, One, ToPrimitive, Zero};
use std::{
    num::FpCategory,
    ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Rem, RemAssign, Sub, SubAssign},
};

/// `v + d ε` with `ε² = 0`.
#[derive(Clone, Copy, Debug)]
pub struct Dual {
    pub v: f64,
    pub d: f64,
}

pub const fn dual(v: f64, d: f64) -> Dual {
    Dual { v, d }
}

impl PartialEq for Dual {
    fn eq(&self, other: &Self) -> bool {
        self.v == other.v
    }
}
impl PartialOrd for Dual {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.v.partial_cmp(&other.v)
    }
}

macro_rules! operator {
    ($trait:ident $method:ident, $assign:ident $assign_method:ident, |$a:ident, $b:ident| $body:expr) => {
        impl $trait for Dual {
            type Output = Dual;
            fn $method(self, other: Dual) -> Dual {
                let ($a, $b) = (self, other);
                $body
            }
        }
        impl $assign for Dual {
            fn $assign_method(&mut self, other: Dual) {
                *self = $trait::$method(*self, other);
            }
        }
    };
}
operator!(Add add, AddAssign add_assign, |a, b| dual(a.v + b.v, a.d + b.d));
operator!(Sub sub, SubAssign sub_assign, |a, b| dual(a.v - b.v, a.d - b.d));
operator!(Mul mul, MulAssign mul_assign, |a, b| dual(a.v * b.v, a.d * b.v + a.v * b.d));
operator!(Div div, DivAssign div_assign, |a, b| dual(a.v / b.v, (a.d - a.v / b.v * b.d) / b.v));
operator!(Rem rem, RemAssign rem_assign, |a, b| dual(a.v % b.v, a.d));

impl Neg for Dual {
    type Output = Dual;
    fn neg(self) -> Dual {
        dual(-self.v, -self.d)
    }
}
impl Zero for Dual {
    fn zero() -> Self {
        dual(0.0, 0.0)
    }
    fn is_zero(&self) -> bool {
        self.v == 0.0
    }
}
impl One for Dual {
    fn one() -> Self {
        dual(1.0, 0.0)
    }
}
impl Num for Dual {
    type FromStrRadixErr = ();
    fn from_str_radix(_: &str, _: u32) -> Result<Self, ()> {
        Err(())
    }
}
impl ToPrimitive for Dual {
    fn to_i64(&self) -> Option<i64> {
        self.v.to_i64()
    }
    fn to_u64(&self) -> Option<u64> {
        self.v.to_u64()
    }
    fn to_f64(&self) -> Option<f64> {
        Some(self.v)
    }
}
impl NumCast for Dual {
    fn from<N: ToPrimitive>(n: N) -> Option<Self> {
        n.to_f64().map(|v| dual(v, 0.0))
    }
}

macro_rules! float {
    (constants: $($constant:ident)+; tests: $($test:ident)+; unused: $($unused:ident)+; binary: $($binary:ident)+; $($rest:tt)*) => {
        impl Float for Dual {
            $(fn $constant() -> Self { dual(<f64 as Float>::$constant(), 0.0) })+
            $(fn $test(self) -> bool { self.v.$test() })+
            $(fn $unused(self) -> Self { unimplemented!(stringify!($unused)) })+
            $(fn $binary(self, _: Self) -> Self { unimplemented!(stringify!($binary)) })+
            $($rest)*
        }
    };
}
float! {
    constants: nan infinity neg_infinity neg_zero min_value min_positive_value max_value epsilon;
    tests: is_nan is_infinite is_finite is_normal is_sign_positive is_sign_negative;
    unused: floor ceil round trunc fract signum exp2 log2 log10 cbrt sin cos tan asin acos atan sinh cosh asinh acosh atanh;
    binary: powf log max min abs_sub hypot atan2;
    fn classify(self) -> FpCategory { self.v.classify() }
    fn abs(self) -> Self { if self.v < 0.0 { -self } else { self } }
    fn recip(self) -> Self { Dual::one() / self }
    fn powi(self, _: i32) -> Self { unimplemented!() }
    fn mul_add(self, a: Self, b: Self) -> Self { self * a + b }
    fn sqrt(self) -> Self { dual(self.v.sqrt(), self.d * 0.5 / self.v.sqrt()) }
    fn exp(self) -> Self { dual(self.v.exp(), self.d * self.v.exp()) }
    fn exp_m1(self) -> Self { dual(self.v.exp_m1(), self.d * self.v.exp()) }
    fn ln(self) -> Self { dual(self.v.ln(), self.d / self.v) }
    fn ln_1p(self) -> Self { dual(self.v.ln_1p(), self.d / (1.0 + self.v)) }
    fn tanh(self) -> Self { dual(self.v.tanh(), self.d / self.v.cosh().powi(2)) }
    fn sin_cos(self) -> (Self, Self) { unimplemented!() }
    fn integer_decode(self) -> (u64, i16, i8) { self.v.integer_decode() }
}
