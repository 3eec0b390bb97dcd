//! The constants and polynomials of `f64`.

use super::bodies::{bodies, polynomial};
use core::f64::consts::FRAC_2_SQRT_PI;

/// The number 1.5 · 2⁵². Adding and subtracting it rounds to an integer.
const ROUND: f64 = 6_755_399_441_055_744.0;
/// Whether functions compensate the rounding errors of divisions and sums, which is cheap with a fused multiply-add.
const KEEPS_LOSSES: bool = true;
/// The bias of the binary exponent.
const BIAS: u64 = 1023;
/// The number of stored bits of the mantissa.
const MANTISSA: u32 = 52;
/// The bits of the lower half of the mantissa.
const HALF_MASK: u64 = (1 << 27) - 1;
/// The first 32 bits of ln 2, so that its product with an integer exponent is exact.
const LN2_HIGH: f64 = 0.693_147_180_369_123_8;
/// ln 2 minus `LN2_HIGH`.
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// The lower limit of the argument x of eˣ: there eˣ rounds to 0, and so does 800 eˣ.
const EXP_LEAST: f64 = -800.0;
/// The upper limit of the argument x of eˣ: there eˣ is ∞.
const EXP_MOST: f64 = 710.0;
/// The number that is added to the binary exponent of eˣ, for x from `EXP_LEAST` to 0, to give the exponent of a
/// normal number.
const RAISED: u64 = 192;
/// The power of two that undoes `RAISED`.
const LOWERED: f64 = f64::from_bits((BIAS - RAISED) << MANTISSA);
/// The lower limit of the argument x of eˣ − 1: there eˣ − 1 rounds to −1.
const EXP_M1_LEAST: f64 = -40.0;
/// The upper limit of |x| in `e^(−x²)`: there even `e^(−x²/2)` is 0.
const GAUSSIAN_MOST: f64 = 39.0;
/// The number k in `(x − k)/(x + k)`, the argument of `erfc_polynomial`.
const ERFC_CENTRE: f64 = 4.0;
/// The largest x for which `erfc_polynomial` is accurate; erfc is 0 there.
const ERFC_MOST: f64 = 28.0;
const FRAC_1_SQRT_2PI: f64 = super::FRAC_1_SQRT_2PI;
/// The exact 2/√π minus its value in `f64`, computed with mpmath.
const FRAC_2_SQRT_PI_LOST: f64 = 1.533545961316588e-17;
/// The exact 1/√2 minus its value in `f64`, computed with mpmath.
const FRAC_1_SQRT_2_LOST: f64 = -4.833646656726457e-17;
/// The exact 1/√(2π) minus its value in `f64`, computed with mpmath.
const FRAC_1_SQRT_2PI_LOST: f64 = -2.49232720227773e-17;

/// `(eʳ − 1 − r) / r²` for `|r| ≤ ½ ln 2`.
#[inline(always)]
fn exp_tail<const FUSED: bool>(r: f64) -> f64 {
    polynomial!(r; 0.5, 0.1666666666666667, 0.04166666666666667, 0.008333333333326112, 0.001388888888888373,
        0.0001984126987490126, 2.4801587325605324e-05, 2.7557255297969643e-06, 2.755727357010214e-07,
        2.5105259538448494e-08, 2.0914717341716378e-09)
}

/// `(ln((1 + s)/(1 − s))/s − 2)/z` with `z = s²`, for `z` up to 0.0295.
#[inline(always)]
fn ln_tail<const FUSED: bool>(z: f64) -> f64 {
    polynomial!(z; 0.666666666666667, 0.3999999999989889, 0.28571428626253836, 0.22222211089379496,
        0.1818289243253687, 0.15331611722055008, 0.14617807153417325)
}

/// `erf(x)/x` with `z = x²`, for `z` up to ¼.
#[inline(always)]
fn erf_polynomial<const FUSED: bool>(z: f64) -> f64 {
    polynomial!(z; FRAC_2_SQRT_PI, -0.37612638903183476, 0.11283791670925353, -0.026866170632887928,
        0.00522397737302147, -0.0008548297753674966, 0.00012053335124353741, -1.4845849259707869e-05,
        1.4725865480556744e-06)
}

/// `(1 + 2x) e^(x²) erfc x` with `t = (x − 4)/(x + 4)`, for `x` from 0 to 28.
#[inline(always)]
fn erfc_polynomial<const FUSED: bool>(t: f64) -> f64 {
    polynomial!(t; 1.2329951186255526, -0.1396211168405629, 0.01537965210262074, 0.06809705425473732,
        -0.10103906603635213, 0.09373283499679412, -0.06633036581152939, 0.03716751556249286,
        -0.016197734059115006, 0.005031969755895426, -0.00075777334141333, -0.00019925550755614952,
        0.000150622243948303, -2.4403169244974074e-05, -1.1224789135154701e-05, 5.7178872846321855e-06,
        3.0135049944875397e-07, -8.351619688696847e-07, 6.270727157198311e-08, 1.1534943745754157e-07,
        -7.71541861441783e-09, -1.3670989863347383e-08, -1.8206098680308682e-09)
}

bodies!(f64, u64);

/// Returns `a / b` with an error of at most half a unit in the last place (ulp). With `a · (1/b)` tanh would have an
/// error of 2 ulp.
#[inline(always)]
fn quotient(a: f64, b: f64) -> f64 {
    a / b
}
