//! The error function of any scalar except `f32` and `f64`, by plain arithmetic, so that the derivatives of dual
//! numbers are right.

use super::{exp, magnitude};
use crate::scalar::{Scalar, scalar};

/// The value of `|x|` from which erf and erfc are computed by a continued fraction of erfc, and below which by a
/// power series of erf. For larger `|x|` erfc is small, and `1 − erf` would lose digits.
const CHANGE: f64 = 1.0;
/// The number of terms of the power series of erf; at `|x| = CHANGE` the next term is below 1e-18 of the sum.
const TERMS: usize = 24;
/// The number of levels of the continued fraction of erfc; at `x = CHANGE` its error is below 1e-16.
const LEVELS: usize = 220;

/// `erf x = 2/√π e^(−x²) Σ 2ⁿ x²ⁿ⁺¹ / (1·3·5 … (2n + 1))` for `|x| < 1`. All terms have the sign of
/// `x`, so none cancel.
fn near<T: Scalar>(x: T) -> T {
    let square = x * x;
    let (mut term, mut sum) = (x, x);
    for n in 1..TERMS {
        term *= square * scalar(2.0 / (2 * n + 1) as f64);
        sum += term;
    }
    sum * exp(-square) * scalar(core::f64::consts::FRAC_2_SQRT_PI)
}

/// `erfc x = e^(−x²)/√π / (x + ½/(x + 1/(x + 1½/(x + …))))` for `x ≥ 1`.
fn far<T: Scalar>(x: T) -> T {
    let mut fraction = x;
    for level in (1..=LEVELS).rev() {
        fraction = x + scalar::<T>(level as f64 * 0.5) / fraction;
    }
    exp(-x * x) * scalar(core::f64::consts::FRAC_2_SQRT_PI * 0.5) / fraction
}

pub(super) fn erf<T: Scalar>(x: T) -> T {
    if magnitude(x) < scalar(CHANGE) {
        near(x)
    } else if x > T::zero() {
        T::one() - far(x)
    } else {
        far(-x) - T::one()
    }
}

pub(super) fn erfc<T: Scalar>(x: T) -> T {
    if magnitude(x) < scalar(CHANGE) {
        T::one() - near(x)
    } else if x > T::zero() {
        far(x)
    } else {
        T::one() + T::one() - far(-x)
    }
}
