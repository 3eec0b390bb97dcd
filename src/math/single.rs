//! The constants and polynomials of `f32`.

use super::bodies::{bodies, polynomial};
use core::f32::consts::FRAC_2_SQRT_PI;

/// The number 1.5 · 2²³. Adding and subtracting it rounds to an integer.
const ROUND: f32 = 12_582_912.0;
/// Whether functions compensate the rounding errors of divisions and sums; if not, errors are at most four units in
/// the last place.
const KEEPS_LOSSES: bool = false;
/// The bias of the binary exponent.
const BIAS: u32 = 127;
/// The number of stored bits of the mantissa.
const MANTISSA: u32 = 23;
/// The bits of the lower half of the mantissa.
const HALF_MASK: u32 = (1 << 12) - 1;
/// The first 16 bits of ln 2, so that its product with an integer exponent is exact.
const LN2_HIGH: f32 = 0.693_145_75;
/// ln 2 minus `LN2_HIGH`.
const LN2_LOW: f32 = 1.428_606_8e-6;
/// The lower limit of the argument x of eˣ: there eˣ rounds to 0, and so does 120 eˣ.
const EXP_LEAST: f32 = -120.0;
/// The upper limit of the argument x of eˣ: there eˣ is ∞.
const EXP_MOST: f32 = 89.0;
/// Added to the binary exponent of eˣ, for x from `EXP_LEAST` to 0, it gives the exponent of a normal number.
const RAISED: u32 = 64;
/// The power of two that undoes `RAISED`.
const LOWERED: f32 = f32::from_bits((BIAS - RAISED) << MANTISSA);
/// The lower limit of the argument x of eˣ − 1: there it is −1.
const EXP_M1_LEAST: f32 = -20.0;
/// The upper limit of |x| in `e^(−x²)`: there even `e^(−x²/2)` is 0.
const GAUSSIAN_MOST: f32 = 15.0;
/// The number k in `(x − k)/(x + k)`, the argument of `erfc_polynomial`.
const ERFC_CENTRE: f32 = 2.0;
/// The largest x for which `erfc_polynomial` is accurate; erfc is 0 there.
const ERFC_MOST: f32 = 11.0;
const FRAC_1_SQRT_2PI: f32 = super::FRAC_1_SQRT_2PI as f32;
/// 2/√π in `f64` minus its value in `f32`.
const FRAC_2_SQRT_PI_LOST: f32 = (core::f64::consts::FRAC_2_SQRT_PI - FRAC_2_SQRT_PI as f64) as f32;
/// 1/√2 in `f64` minus its value in `f32`.
const FRAC_1_SQRT_2_LOST: f32 = (core::f64::consts::FRAC_1_SQRT_2 - core::f32::consts::FRAC_1_SQRT_2 as f64) as f32;
/// 1/√(2π) in `f64` minus its value in `f32`.
const FRAC_1_SQRT_2PI_LOST: f32 = (super::FRAC_1_SQRT_2PI - FRAC_1_SQRT_2PI as f64) as f32;

/// `(eʳ − 1 − r) / r²` for `|r| ≤ ½ ln 2`.
#[inline(always)]
fn exp_tail<const FUSED: bool>(r: f32) -> f32 {
    polynomial!(r; 0.5, 1.6666667e-1, 4.1666463e-2, 8.3333105e-3, 1.3933686e-3, 1.989103e-4)
}

/// `(ln((1 + s)/(1 − s))/s − 2)/z` with `z = s²`, for `z` up to 0.0295.
#[inline(always)]
fn ln_tail<const FUSED: bool>(z: f32) -> f32 {
    polynomial!(z; 6.666667e-1, 4.0000123e-1, 2.855078e-1, 2.3331614e-1)
}

/// `erf(x)/x` with `z = x²`, for `z` up to ¼.
#[inline(always)]
fn erf_polynomial<const FUSED: bool>(z: f32) -> f32 {
    polynomial!(z; FRAC_2_SQRT_PI, -3.7612608e-1, 1.12828314e-1, -2.6757732e-2, 4.7190827e-3)
}

/// `(1 + 2x) e^(x²) erfc x` with `t = (x − 2)/(x + 2)`, for `x` from 0 to 11.
#[inline(always)]
fn erfc_polynomial<const FUSED: bool>(t: f32) -> f32 {
    polynomial!(t; 1.2769784, -9.27639e-2, -1.6603152e-1, 1.640531e-1, -5.420321e-2, -8.042482e-3, 8.631818e-3,
        1.2626634e-3, -1.2490767e-3, -3.5006198e-4, 3.2929787e-5)
}

bodies!(f32, u32);

/// `a / b` to 1.5 units in the last place.
#[inline(always)]
fn quotient(a: f32, b: f32) -> f32 {
    a * (1.0 / b)
}
