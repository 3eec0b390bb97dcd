//! Elementary functions of any scalar, in bodies that vectorise for `f32` and `f64`.
//!
//! For `f32` and `f64` every function here is straight-line arithmetic with selects: no table, no
//! branch, no library call. A loop over it compiled for a CPU with wide registers uses them. Any
//! other scalar goes through its own `Float` methods, so derivatives carried by dual numbers are
//! right. NaN gives NaN.

use crate::scalar::{Scalar, scalar};
use castaway::cast;

mod bodies;
mod double;
mod series;
mod single;

/// `single` or `double` of `x` where `T` is `f32` or `f64`, else `other`. Decided at compile time.
macro_rules! by_format {
    ($x:ident, $function:ident, $other:expr) => {
        if let Ok(x) = cast!($x, f32) {
            cast!(single::$function(x), T).unwrap_or_else(|_| T::nan())
        } else if let Ok(x) = cast!($x, f64) {
            cast!(double::$function(x), T).unwrap_or_else(|_| T::nan())
        } else {
            $other
        }
    };
}

/// `eˣ`.
#[inline(always)]
pub fn exp<T: Scalar>(x: T) -> T {
    by_format!(x, exp, x.exp())
}

/// `eˣ − 1`, accurate near 0.
#[inline(always)]
pub fn exp_m1<T: Scalar>(x: T) -> T {
    by_format!(x, exp_m1, x.exp_m1())
}

/// `ln x`; −∞ at 0, NaN below.
#[inline(always)]
pub fn ln<T: Scalar>(x: T) -> T {
    by_format!(x, ln, x.ln())
}

/// `ln(1 + x)`, accurate near 0; −∞ at −1, NaN below.
#[inline(always)]
pub fn ln_1p<T: Scalar>(x: T) -> T {
    by_format!(x, ln_1p, x.ln_1p())
}

/// `tanh x = (1 − e⁻²ˣ) / (1 + e⁻²ˣ)`.
#[inline(always)]
pub fn tanh<T: Scalar>(x: T) -> T {
    by_format!(x, tanh, x.tanh())
}

/// The logistic function `1 / (1 + e⁻ˣ)`, accurate in both tails.
#[inline(always)]
pub fn sigmoid<T: Scalar>(x: T) -> T {
    let e = exp(-magnitude(x));
    quotient(if x < T::zero() { e } else { T::one() }, T::one() + e)
}

/// `ln(1 + eˣ)`, accurate in both tails.
#[inline(always)]
pub fn softplus<T: Scalar>(x: T) -> T {
    let positive = if x < T::zero() { T::zero() } else { x };
    positive + ln_1p(exp(-magnitude(x)))
}

/// The error function, `2/√π ∫₀ˣ e^(−t²) dt`.
#[inline(always)]
pub fn erf<T: Scalar>(x: T) -> T {
    by_format!(x, erf, series::erf(x))
}

/// `1 − erf x`, accurate where it is small.
#[inline(always)]
pub fn erfc<T: Scalar>(x: T) -> T {
    by_format!(x, erfc, series::erfc(x))
}

/// `e^(−x²)`, accurate in the tails, where rounding `x²` first would not be.
#[inline(always)]
pub fn gaussian<T: Scalar>(x: T) -> T {
    by_format!(x, gaussian, exp(-x * x))
}

/// The normal distribution function, `Φ(x) = ½ erfc(−x/√2)`, accurate in the lower tail.
#[inline(always)]
pub fn normal_cdf<T: Scalar>(x: T) -> T {
    by_format!(x, normal_cdf, series::erfc(-x * scalar(core::f64::consts::FRAC_1_SQRT_2)) * scalar(0.5))
}

/// The normal density, `φ(x) = e^(−x²/2) / √(2π)`, accurate in the tails.
#[inline(always)]
pub fn normal_density<T: Scalar>(x: T) -> T {
    by_format!(x, normal_density, exp(-x * x * scalar(0.5)) * scalar(FRAC_1_SQRT_2PI))
}

/// `1/√(2π)`.
pub(crate) const FRAC_1_SQRT_2PI: f64 = 0.398_942_280_401_432_7;

/// `a / b`; in `f32` by way of `1/b`, which in one loop is computed once for all that is divided by `b`.
#[inline(always)]
pub(crate) fn quotient<T: Scalar>(a: T, b: T) -> T {
    if let (Ok(a), Ok(b)) = (cast!(a, f32), cast!(b, f32)) {
        cast!(single::quotient(a, b), T).unwrap_or_else(|_| T::nan())
    } else {
        a / b
    }
}

/// `|x|` by a select: right for dual numbers too, at 0 from the right.
#[inline(always)]
pub(crate) fn magnitude<T: Scalar>(x: T) -> T {
    if x < T::zero() { -x } else { x }
}
