//! A scalar of a user's own, a value with its derivative: the generic bodies carry it right.

use super::*;
use chainrule::{Scalar, math};
use num_traits::{Float, Num, NumCast, One, ToPrimitive, Zero};
use std::{
    num::FpCategory,
    ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Rem, RemAssign, Sub, SubAssign},
};

/// `v + d ε` with `ε² = 0`.
#[derive(Clone, Copy, Debug)]
struct Dual {
    v: f64,
    d: f64,
}

const fn dual(v: f64, d: f64) -> Dual {
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

/// Value and derivative of `a` at `z` from duals, against the `f64` bodies.
fn check<A: Activation>(a: A) {
    let kinks = a.kinks();
    for z in (-300..=300).map(|i| i as f64 * 0.05).filter(|z| kinks.iter().all(|k| (k - z).abs() > 1e-9)) {
        let y = a.value(dual(z, 1.0));
        let (expected, slope) = (a.value(z), a.derivative(z, a.value(z)));
        let close = |found: f64, expected: f64| (found - expected).abs() <= 4e-15 + 1e-12 * expected.abs();
        assert!(close(y.v, expected), "{a:?}({z}): {} for {expected}", y.v);
        assert!(close(y.d, slope), "{a:?}′({z}): {} for {slope}", y.d);
        let second = a.derivative(dual(z, 1.0), y);
        assert!(close(second.v, slope), "{a:?}′({z}) of a dual: {} for {slope}", second.v);
    }
}

#[test]
fn activations_of_duals() {
    check(Identity);
    check(Sigmoid);
    check(Tanh);
    check(Relu);
    check(LeakyRelu::default());
    check(Relu6);
    check(Elu::new(0.5).unwrap());
    check(Celu::new(0.5).unwrap());
    check(Selu);
    check(Gelu);
    check(GeluTanh);
    check(Swish::SILU);
    check(Swish::new(-2.0).unwrap());
    check(Mish);
    check(Softplus::new(2.0).unwrap());
    check(Softsign);
    check(LogSigmoid);
    check(HardTanh::default());
    check(HardSigmoid);
    check(HardSwish);
    check(Erf);
}

/// The series and the fraction to 2e-15 of each value, tails included, and their slopes.
#[test]
fn erf_of_duals() {
    fn relative(found: f64, expected: f64) -> f64 {
        (found / expected - 1.0).abs()
    }
    fn of<T: Scalar>(x: T) -> (T, T) {
        (math::erf(x), math::erfc(x))
    }
    let (mut worst, mut worst_slope) = (0.0f64, 0.0f64);
    for x in (-240..=240).map(|i| i as f64 * 0.025).filter(|x| *x != 0.0) {
        let (erf, erfc) = of(dual(x, 1.0));
        let slope = math::gaussian(x) * core::f64::consts::FRAC_2_SQRT_PI;
        worst = worst.max(relative(erf.v, libm::erf(x))).max(relative(erfc.v, libm::erfc(x)));
        worst_slope = worst_slope.max((erf.d - slope).abs()).max((erfc.d + slope).abs());
        if x > 1.0 {
            worst_slope = worst_slope.max(1e-2 * relative(-erfc.d, slope));
        }
    }
    println!("generic erf, erfc: {worst:.1e} of each value, slopes {worst_slope:.1e}");
    assert!(worst < 1e-14 && worst_slope < 3e-15);
    assert!(of(dual(f64::NAN, 1.0)).0.v.is_nan());
    assert_eq!(of(dual(f64::INFINITY, 0.0)).0.v, 1.0);
    assert_eq!(of(dual(f64::NEG_INFINITY, 0.0)).1.v, 2.0);
}
