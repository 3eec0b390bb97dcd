//! Norms, accumulated in `f64` and safe from overflow.

use crate::scalar::{Scalar, to_f64};
use num_traits::Float;

/// ‖x‖₂; NaN where a value is, infinite where one is and none is NaN.
pub(crate) fn norm<T: Scalar>(x: &[T]) -> f64 {
    // Four sums, for the additions to overlap; their order is fixed.
    let square = |x: &T| {
        let x = to_f64(*x);
        x * x
    };
    let (chunks, rest) = x.as_chunks::<4>();
    let mut sums = [0.0; 4];
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += square(x);
        }
    }
    let sum = (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest.iter().map(square).sum::<f64>();
    // Within this range no square that matters has overflowed or fallen below the normal numbers.
    if sum.is_nan() || (1e-280..1e300).contains(&sum) { Float::sqrt(sum) } else { p_norm(x, 2.0) }
}

/// ‖x‖_p = (Σ |x|ᵖ)^(1/p) for 0 < p ≤ ∞, scaled by the largest value.
pub(crate) fn p_norm<T: Scalar>(x: &[T], p: f64) -> f64 {
    let most = x
        .iter()
        .map(|&x| Float::abs(to_f64(x)))
        .fold(0.0, |most: f64, x| if x > most || x.is_nan() { x } else { most });
    if most == 0.0 || !most.is_finite() || p.is_infinite() {
        return if x.iter().any(|x| x.is_nan()) { f64::NAN } else { most };
    }
    let sum: f64 = x.iter().map(|&x| Float::powf(Float::abs(to_f64(x)) / most, p)).sum();
    most * Float::powf(sum, 1.0 / p)
}
