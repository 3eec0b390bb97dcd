//! Dual numbers: a value with its derivative in one direction.

use crate::scalar::{Scalar, scalar};
use core::{
    cmp::Ordering,
    f64::consts::{LN_2, LN_10},
    fmt,
    num::FpCategory,
    ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Rem, RemAssign, Sub, SubAssign},
};
use num_traits::{Float, Num, NumCast, One, ToPrimitive, Zero};

/// A value with its derivative in one direction: `value + tangent ε`, where `ε² = 0`.
///
/// `Dual` is a [`Scalar`](crate::Scalar): a pass on dual numbers computes the output and its derivative J v at once,
/// exact to rounding, without a step size. J is the Jacobian of the output with respect to the numbers that have a
/// tangent, and v holds these tangents. `Dual<Dual<f64>>` gives second derivatives.
///
/// ```
/// use chainrule::{Activation, activation::Tanh, testing::Dual};
/// let y = Tanh.value(Dual::variable(0.5f64));
/// assert!((y.tangent - Tanh.derivative(0.5, y.value)).abs() < 1e-15);
///
/// // The second derivative: a variable in both directions.
/// let z = Dual::new(Dual::variable(0.5f64), Dual::constant(1.0));
/// assert!((Tanh.value(z).tangent.tangent + 2.0 * y.value * y.tangent).abs() < 1e-15);
/// ```
///
/// Values have the bits of plain numbers, except for the last place of a function that the scalar implements itself.
/// At kinks, jumps and poles, and for zeros and NaN:
///
/// - Comparisons, and tests such as `is_nan` and `is_zero`, read the value alone, so a branch is taken as for plain
///   numbers.
/// - A kink gives the slope of one side. For `abs` the sign of the zero selects it; `max` and `min` take the slope
///   of the first argument at a tie. On its limits `clamp` has slope 1; `abs_sub` has slope 0 for equal arguments.
///   `hypot(0, 0)` gives slope 0, the middle of its slopes. `atan2(0, 0)` has no slope: NaN.
/// - A jump gives slope 0, as beside it: `floor`, `ceil`, `round`, `trunc`, `signum`; `fract` gives slope 1.
/// - A vertical slope is infinite: `sqrt(0)`, `cbrt(0)`, `ln(0)`, `asin(1)`, `1/0`.
/// - If the value of a function is NaN, so is its slope.
/// - A tangent of 0 stays 0, even times an infinite slope or factor: a constant stays a constant. A value of 0 times an
///   infinite tangent is NaN.
/// - A cast to another type ([`ToPrimitive`], [`NumCast`]) keeps the value alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dual<T> {
    /// The value of the number.
    pub value: T,
    /// The derivative of `value` in the direction that the tangents of the inputs define.
    pub tangent: T,
}

impl<T> Dual<T> {
    /// Creates `value + tangent ε`.
    #[inline]
    pub const fn new(value: T, tangent: T) -> Self {
        Dual { value, tangent }
    }
}

impl<T: Scalar> Dual<T> {
    /// Creates a number that does not depend on the direction: its tangent is 0.
    #[inline]
    pub fn constant(value: T) -> Self {
        Dual { value, tangent: T::zero() }
    }

    /// Creates the number with respect to which the derivative is taken: its tangent is 1.
    #[inline]
    pub fn variable(value: T) -> Self {
        Dual { value, tangent: T::one() }
    }

    /// Applies the chain rule: `value` is `f(self.value)`, and `slope` is `f′(self.value)`.
    #[inline]
    fn chain(self, value: T, slope: T) -> Self {
        Dual { value, tangent: along(self.tangent, if value.is_nan() { value } else { slope }) }
    }

    /// Applies the chain rule to a function f of two arguments: `value` is `f(self.value, other.value)`, and `slope`
    /// and `other_slope` are its partial derivatives there.
    #[inline]
    fn chain2(self, other: Self, value: T, slope: T, other_slope: T) -> Self {
        Dual { value, tangent: self.chain(value, slope).tangent + other.chain(value, other_slope).tangent }
    }
}

/// Returns `tangent · slope`; 0 if the tangent is 0, even if `slope` is infinite or NaN.
#[inline]
fn along<T: Scalar>(tangent: T, slope: T) -> T {
    let product = tangent * slope;
    if product.is_nan() { settled(tangent, slope, product) } else { product }
}

/// Given that `product = tangent · slope` is NaN, returns `product`, unless the value of `tangent` is 0. Then it
/// returns `tangent` times the largest finite number, with the sign of `slope`. Plain 0 would be wrong for nested
/// dual numbers: their `tangent` has a tangent itself.
#[cold]
fn settled<T: Scalar>(tangent: T, slope: T, product: T) -> T {
    if !tangent.is_zero() {
        return product;
    }
    tangent * if slope < T::zero() { T::min_value() } else { T::max_value() }
}

/// Returns the slope of √(x² + y²) with respect to `x`, given the value `length` of the root; 0 if `length` is 0.
#[inline]
fn share<T: Scalar>(x: T, length: T) -> T {
    if length.is_zero() {
        T::zero()
    } else if x.is_infinite() {
        x.signum()
    } else {
        x / length
    }
}

/// Converts a value to a dual number with a tangent of 0.
impl<T: Scalar> From<T> for Dual<T> {
    #[inline]
    fn from(value: T) -> Self {
        Dual::constant(value)
    }
}

/// Writes `(value + tangentε)`; both numbers use the given format, such as a precision.
impl<T: fmt::Display> fmt::Display for Dual<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        self.value.fmt(f)?;
        f.write_str(" + ")?;
        self.tangent.fmt(f)?;
        f.write_str("ε)")
    }
}

/// Compares the values; tangents are ignored.
impl<T: PartialEq> PartialEq for Dual<T> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// Compares the values; tangents are ignored.
impl<T: PartialOrd> PartialOrd for Dual<T> {
    #[inline]
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
    Dual::new(a.value * b.value, along(a.tangent, b.value) + along(b.tangent, a.value))
});
operator!(Div div, DivAssign div_assign, |a, b| {
    let value = a.value / b.value;
    let slope = -(value / b.value);
    // A slope below the normal numbers loses its digits, though its product with a large tangent is in range.
    if slope.abs() < T::min_positive_value() && b.value.abs() > T::one() && !value.is_zero() {
        Dual::new(value, along(a.tangent, b.value.recip()) - value * (b.tangent / b.value))
    } else {
        a.chain2(b, value, b.value.recip(), slope)
    }
});
// The remainder is a − n b. The integer n is computed from the remainder: the quotient a/b itself can round up to
// the next integer.
operator!(Rem rem, RemAssign rem_assign, |a, b| {
    let value = a.value % b.value;
    let times = if b.value.is_infinite() { T::zero() } else { ((a.value - value) / b.value).round() };
    a.chain2(b, value, T::one(), -times)
});

impl<T: Scalar> Neg for Dual<T> {
    type Output = Self;
    #[inline]
    fn neg(self) -> Self {
        Dual::new(-self.value, -self.tangent)
    }
}

impl<T: Scalar> Zero for Dual<T> {
    #[inline]
    fn zero() -> Self {
        Dual::constant(T::zero())
    }
    #[inline]
    fn is_zero(&self) -> bool {
        self.value.is_zero()
    }
}

impl<T: Scalar> One for Dual<T> {
    #[inline]
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

macro_rules! to_primitive {
    ($($method:ident $number:ident)+) => {
        /// Converts the value to a primitive number; the tangent is lost. All methods are implemented, since the
        /// defaults convert through `i64` and `f64`.
        impl<T: Scalar> ToPrimitive for Dual<T> {
            $(
                #[inline]
                fn $method(&self) -> Option<$number> {
                    self.value.$method()
                }
            )+
        }
    };
}
crate::scalar::primitives!(to_primitive);

impl<T: Scalar> Scalar for Dual<T> {}

/// Converts a number to a dual number with a tangent of 0.
impl<T: Scalar> NumCast for Dual<T> {
    #[inline]
    fn from<N: ToPrimitive>(n: N) -> Option<Self> {
        <T as NumCast>::from(n).map(Dual::constant)
    }
}

macro_rules! float {
    (constants: $($constant:ident)+; tests: $($test:ident)+; steps: $($step:ident)+;
     chain: $($method:ident($x:ident, $y:ident) = $slope:expr,)+; $($rest:tt)*) => {
        impl<T: Scalar> Float for Dual<T> {
            $(#[inline] fn $constant() -> Self { Dual::constant(T::$constant()) })+
            $(#[inline] fn $test(self) -> bool { self.value.$test() })+
            $(#[inline] fn $step(self) -> Self { Dual::constant(self.value.$step()) })+
            $(#[inline] fn $method(self) -> Self {
                let ($x, $y) = (self.value, self.value.$method());
                self.chain($y, $slope)
            })+
            $($rest)*
        }
    };
}

// `+ T::zero()` turns −0 into +0, whose reciprocal is the limit from inside the domain.
float! {
    constants: nan infinity neg_infinity neg_zero min_value min_positive_value max_value epsilon;
    tests: is_nan is_infinite is_finite is_normal is_subnormal is_sign_positive is_sign_negative;
    steps: floor ceil round trunc signum;
    chain:
        abs(x, y) = x.signum(),
        fract(_x, y) = T::one(),
        sqrt(_x, y) = (y + y + T::zero()).recip(),
        cbrt(_x, y) = (scalar::<T>(3.0) * y * y).recip(),
        exp(_x, y) = y,
        exp2(_x, y) = y * scalar(LN_2),
        exp_m1(x, y) = x.exp(),
        ln(x, y) = (x + T::zero()).recip(),
        log2(x, y) = (x * scalar(LN_2) + T::zero()).recip(),
        log10(x, y) = (x * scalar(LN_10) + T::zero()).recip(),
        ln_1p(x, y) = (T::one() + x).recip(),
        sin(x, y) = x.cos(),
        cos(x, y) = -x.sin(),
        tan(_x, y) = T::one() + y * y,
        asin(x, y) = ((T::one() - x) * (T::one() + x)).sqrt().recip(),
        acos(x, y) = -((T::one() - x) * (T::one() + x)).sqrt().recip(),
        // Not 1/(1 + x²), which underflows long before the slope does.
        atan(x, y) = { let r = x.hypot(T::one()).recip(); r * r },
        sinh(x, y) = x.cosh(),
        cosh(x, y) = x.sinh(),
        // Not 1/cosh², since nested dual numbers would compute ∞/∞.
        tanh(x, y) = {
            let e = (-(x.abs() + x.abs())).exp();
            let one_plus = T::one() + e;
            scalar::<T>(4.0) * e / (one_plus * one_plus)
        },
        asinh(x, y) = x.hypot(T::one()).recip(),
        acosh(x, y) = ((x - T::one()).sqrt() * (x + T::one()).sqrt()).recip(),
        atanh(x, y) = ((T::one() - x) * (T::one() + x)).recip(),
        to_degrees(_x, y) = T::one().to_degrees(),
        to_radians(_x, y) = T::one().to_radians(),;
    #[inline]
    fn recip(self) -> Self { Dual::constant(T::one()) / self }
    #[inline]
    fn classify(self) -> FpCategory { self.value.classify() }
    #[inline]
    fn integer_decode(self) -> (u64, i16, i8) { self.value.integer_decode() }
    #[inline]
    fn copysign(self, sign: Self) -> Self {
        // The value is computed by the scalar's own `copysign`, for the sign of a NaN. If the sign changes, the tangent
        // changes its sign, too.
        let turned = self.is_sign_negative() != sign.is_sign_negative();
        Dual::new(self.value.copysign(sign.value), if turned { -self.tangent } else { self.tangent })
    }
    #[inline]
    fn mul_add(self, a: Self, b: Self) -> Self {
        let product = self * a;
        Dual::new(self.value.mul_add(a.value, b.value), product.tangent + b.tangent)
    }
    fn powi(self, n: i32) -> Self {
        let (x, y) = (self.value, self.value.powi(n));
        // The exponent `i32::MIN` − 1 does not exist: its power is computed as y/x.
        let before = n.checked_sub(1).map_or(y / x, |before| x.powi(before));
        self.chain(y, if n == 0 { T::zero() } else { scalar::<T>(n.into()) * before })
    }
    fn powf(self, n: Self) -> Self {
        let (x, y) = (self.value, self.value.powf(n.value));
        let by_base = along(n.value, x.powf(n.value - T::one()));
        self.chain2(n, y, by_base, if y.is_zero() { y } else { y * x.ln() })
    }
    fn log(self, base: Self) -> Self {
        let (y, unit) = (self.value.log(base.value), base.value.ln());
        self.chain2(base, y, (self.value + T::zero()).recip() / unit, -(y / unit) / base.value)
    }
    #[inline]
    fn max(self, other: Self) -> Self { if self.value.is_nan() || other.value > self.value { other } else { self } }
    #[inline]
    fn min(self, other: Self) -> Self { if self.value.is_nan() || other.value < self.value { other } else { self } }
    #[inline]
    fn clamp(self, min: Self, max: Self) -> Self {
        let held = if self.value > max.value { max } else { self };
        if held.value < min.value { min } else { held }
    }
    #[inline]
    fn abs_sub(self, other: Self) -> Self { if self.value <= other.value { Self::zero() } else { self - other } }
    fn hypot(self, other: Self) -> Self {
        let y = self.value.hypot(other.value);
        self.chain2(other, y, share(self.value, y), share(other.value, y))
    }
    fn atan2(self, other: Self) -> Self {
        let length = self.value.hypot(other.value);
        let y = self.value.atan2(other.value);
        self.chain2(other, y, share(other.value, length) / length, -share(self.value, length) / length)
    }
    #[inline]
    fn sin_cos(self) -> (Self, Self) {
        let (sin, cos) = self.value.sin_cos();
        (self.chain(sin, cos), self.chain(cos, -sin))
    }
}
