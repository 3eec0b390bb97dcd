//! Elementary functions of any scalar, in bodies that vectorize for `f32` and `f64`.
//!
//! For `f32` and `f64` every function is straight-line arithmetic with selects, without tables, branches or library
//! calls. So loops over them vectorize. Any other scalar uses its own `Float` methods, so the derivatives of dual
//! numbers are right. NaN gives NaN.
//!
//! On a CPU with FMA, layers run activations and cells on the wrapper `Fused` of their numbers. For this wrapper,
//! the same bodies use fused multiply-adds and compensate rounding errors.

use crate::{
    kernel::fused::{Fused, is_fused},
    scalar::{Scalar, scalar},
};
use castaway::cast;

mod bodies;
mod double;
pub(crate) mod dual;
mod series;
mod single;
pub(crate) mod wide;

/// Calls `$function` of the module `single` if `T` is `f32`, of `double` if it is `f64`; with fused multiply-adds if
/// `T` is one of these in the wrapper `Fused`. For another `T` the result is `$other`. The choice is made at compile
/// time.
macro_rules! by_format {
    ($function:ident($($x:ident),+), $other:expr) => {
        if let ($(Ok($x),)+) = ($(cast!($x, f32),)+) {
            cast!(single::$function::<false>($($x),+), T).unwrap_or_else(|_| T::nan())
        } else if let ($(Ok($x),)+) = ($(cast!($x, f64),)+) {
            cast!(double::$function::<false>($($x),+), T).unwrap_or_else(|_| T::nan())
        } else if let ($(Ok($x),)+) = ($(cast!($x, Fused<f32>),)+) {
            cast!(Fused(single::$function::<true>($($x.0),+)), T).unwrap_or_else(|_| T::nan())
        } else if let ($(Ok($x),)+) = ($(cast!($x, Fused<f64>),)+) {
            cast!(Fused(double::$function::<true>($($x.0),+)), T).unwrap_or_else(|_| T::nan())
        } else {
            $other
        }
    };
}

/// `eˣ`.
#[inline(always)]
pub fn exp<T: Scalar>(x: T) -> T {
    by_format!(exp(x), x.exp())
}

/// `eˣ − 1`, accurate near 0.
#[inline(always)]
pub fn exp_m1<T: Scalar>(x: T) -> T {
    by_format!(exp_m1(x), x.exp_m1())
}

/// `ln x`; −∞ at 0, NaN below.
#[inline(always)]
pub fn ln<T: Scalar>(x: T) -> T {
    by_format!(ln(x), x.ln())
}

/// `ln(1 + x)`, accurate near 0; −∞ at −1, NaN below.
#[inline(always)]
pub fn ln_1p<T: Scalar>(x: T) -> T {
    by_format!(ln_1p(x), x.ln_1p())
}

/// `tanh x = (1 − e⁻²ˣ) / (1 + e⁻²ˣ)`.
#[inline(always)]
pub fn tanh<T: Scalar>(x: T) -> T {
    by_format!(tanh(x), x.tanh())
}

/// `1 − |tanh x|`, accurate for large `|x|`.
#[inline(always)]
pub(crate) fn tanh_complement<T: Scalar>(x: T) -> T {
    by_format!(tanh_complement(x), {
        let e = exp(-(magnitude(x) + magnitude(x)));
        (e + e) / (T::one() + e)
    })
}

/// The slope of tanh, `1 / cosh² x`.
#[inline(always)]
pub(crate) fn tanh_slope<T: Scalar>(x: T) -> T {
    by_format!(tanh_slope(x), {
        let e = exp(-(magnitude(x) + magnitude(x)));
        let one_plus = T::one() + e;
        scalar::<T>(4.0) * e / one_plus / one_plus
    })
}

/// The logistic function `1 / (1 + e⁻ˣ)`, accurate in both tails.
#[inline(always)]
pub fn sigmoid<T: Scalar>(x: T) -> T {
    sigmoid_of_sum(x, T::zero())
}

/// The logistic function of `x + low`, where `low` is a rounding error of `x`.
#[inline(always)]
pub(crate) fn sigmoid_of_sum<T: Scalar>(x: T, low: T) -> T {
    by_format!(sigmoid_of_sum(x, low), {
        let e = exp(-magnitude(x + low));
        (if x < T::zero() { e } else { T::one() }) / (T::one() + e)
    })
}

/// `z σ(x + low)` with the logistic function σ; 0 if σ is 0, even for infinite `z`. `low` is a rounding error of
/// `x`.
#[inline(always)]
pub(crate) fn gated<T: Scalar>(z: T, x: T, low: T) -> T {
    by_format!(gated(z, x, low), {
        let sigmoid = sigmoid_of_sum(x, low);
        if sigmoid == T::zero() { sigmoid } else { z * sigmoid }
    })
}

/// `σ(v) + w σ′(v)` with the logistic function σ at `v = x + low`. `low` is a rounding error of `x`, and `|w|` is
/// at most a small multiple of `|v|`.
#[inline(always)]
pub(crate) fn gated_slope<T: Scalar>(w: T, x: T, low: T) -> T {
    by_format!(gated_slope(w, x, low), {
        let slope = sigmoid_slope_of_sum(x, low);
        sigmoid_of_sum(x, low) + if slope == T::zero() { slope } else { w * slope }
    })
}

/// The slope of the logistic function at `v = x + low`, `e⁻ᵛ / (1 + e⁻ᵛ)²`. `low` is a rounding error of `x`.
#[inline(always)]
pub(crate) fn sigmoid_slope_of_sum<T: Scalar>(x: T, low: T) -> T {
    by_format!(sigmoid_slope_of_sum(x, low), {
        let e = exp(-magnitude(x + low));
        let one_plus = T::one() + e;
        e / one_plus / one_plus
    })
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
    by_format!(erf(x), series::erf(x))
}

/// The slope of [`erf`], `2/√π e^(−x²)`.
#[inline(always)]
pub(crate) fn erf_slope<T: Scalar>(x: T) -> T {
    by_format!(erf_slope(x), exp(-x * x) * scalar(core::f64::consts::FRAC_2_SQRT_PI))
}

/// `1 − erf x`, accurate for large `x`.
#[inline(always)]
pub fn erfc<T: Scalar>(x: T) -> T {
    by_format!(erfc(x), series::erfc(x))
}

/// `e^(−x²)`, accurate in the tails, unlike an exponential of the rounded `x²`.
#[inline(always)]
pub fn gaussian<T: Scalar>(x: T) -> T {
    by_format!(gaussian(x), exp(-x * x))
}

/// The normal distribution function, `Φ(x) = ½ erfc(−x/√2)`, accurate in the lower tail.
#[inline(always)]
pub fn normal_cdf<T: Scalar>(x: T) -> T {
    by_format!(normal_cdf(x), series::erfc(-x * scalar(core::f64::consts::FRAC_1_SQRT_2)) * scalar(0.5))
}

/// The normal density, `φ(x) = e^(−x²/2) / √(2π)`, accurate in the tails.
#[inline(always)]
pub fn normal_density<T: Scalar>(x: T) -> T {
    by_format!(normal_density(x), exp(-x * x * scalar(0.5)) * scalar(FRAC_1_SQRT_2PI))
}

/// `x Φ(x)` with the normal distribution function Φ; 0 if Φ is 0, even for infinite `x`.
#[inline(always)]
pub(crate) fn gelu<T: Scalar>(x: T) -> T {
    by_format!(gelu(x), vanishing(x, normal_cdf(x)))
}

/// The slope of [`gelu`], `Φ(x) + x φ(x)`, with the normal distribution function Φ and density φ.
#[inline(always)]
pub(crate) fn gelu_slope<T: Scalar>(x: T) -> T {
    by_format!(gelu_slope(x), normal_cdf(x) + vanishing(x, normal_density(x)))
}

/// The activation Mish, `x tanh(ln(1 + eˣ))`.
#[inline(always)]
pub(crate) fn mish<T: Scalar>(x: T) -> T {
    by_format!(mish(x), {
        let (a, _, d) = mish_parts(x);
        vanishing(x, a / d)
    })
}

/// The slope of [`mish`], the derivative of `x tanh(ln(1 + eˣ))`.
#[inline(always)]
pub(crate) fn mish_slope<T: Scalar>(x: T) -> T {
    by_format!(mish_slope(x), {
        let (a, b, d) = mish_parts(x);
        a / d + vanishing(x, scalar::<T>(4.0) * b / (d * d))
    })
}

/// Returns `a`, `b`, `d` with `tanh(ln(1 + eˣ)) = a/d` and its derivative `4b/d²`. They are computed from
/// `e^(−|x|)`, which does not overflow.
#[inline(always)]
fn mish_parts<T: Scalar>(x: T) -> (T, T, T) {
    let e = exp(-magnitude(x));
    let (one, two) = (T::one(), T::one() + T::one());
    let left = x < T::zero();
    let a = if left { e * (e + two) } else { one + two * e };
    let b = if left { e } else { e * e };
    let d = if left { two } else { two * e * e };
    (a, b * (one + e), a + d)
}

/// The slope of the activation softsign, `1/(1 + |x|)²`.
#[inline(always)]
pub(crate) fn softsign_slope<T: Scalar>(x: T) -> T {
    by_format!(softsign_slope(x), {
        let factor = T::one() / (T::one() + magnitude(x));
        factor * factor
    })
}

/// `e^(x + low)`, where `low` is a rounding error of `x`.
#[inline(always)]
pub(crate) fn exp_of_sum<T: Scalar>(x: T, low: T) -> T {
    by_format!(exp_of_sum(x, low), (x + low).exp())
}

/// `1/√(2π)`.
pub(crate) const FRAC_1_SQRT_2PI: f64 = 0.398_942_280_401_432_7;

/// `a · b + c`; rounded once if `T` is a `Fused` number, for CPUs with FMA, otherwise twice.
#[inline(always)]
pub(crate) fn mul_add<T: Scalar>(a: T, b: T, c: T) -> T {
    if is_fused::<T>() { a.mul_add(b, c) } else { a * b + c }
}

/// A magnitude of x above which eˣ is 0 or ∞ in `f32` and `f64`, so that the rounding error of x has no effect.
const EXPONENTS: f64 = 1e3;

/// `a · b`, and its rounding error (the exact value minus the rounded one), with which a caller corrects the exponent
/// of an exponential. The error is only computed for a `Fused` number, on a CPU with FMA, and `|a · b|` below 1000;
/// otherwise 0 is returned.
#[inline(always)]
pub(crate) fn product<T: Scalar>(a: T, b: T) -> (T, T) {
    let product = a * b;
    let lost =
        if is_fused::<T>() && magnitude(product) < scalar(EXPONENTS) { a.mul_add(b, -product) } else { T::zero() };
    (product, lost)
}

/// `a / b`, and its rounding error (the exact value minus the rounded one), with which a caller corrects the exponent
/// of an exponential. The error is only computed for a `Fused` number, on a CPU with FMA, and `|a / b|` below 1000;
/// otherwise 0 is returned.
#[inline(always)]
pub(crate) fn quotient<T: Scalar>(a: T, b: T) -> (T, T) {
    let quotient = a / b;
    let lost = if is_fused::<T>() && magnitude(quotient) < scalar(EXPONENTS) {
        (-quotient).mul_add(b, a) / b
    } else {
        T::zero()
    };
    (quotient, lost)
}

/// `z · factor`; 0 if `factor` is 0, even for infinite `z`.
#[inline(always)]
pub(crate) fn vanishing<T: Scalar>(z: T, factor: T) -> T {
    let product = z * factor;
    if factor == T::zero() { factor } else { product }
}

/// `|x|` by a select, which is right for dual numbers too. The derivative at 0 is the one from the right.
#[inline(always)]
pub(crate) fn magnitude<T: Scalar>(x: T) -> T {
    if x < T::zero() { -x } else { x }
}
