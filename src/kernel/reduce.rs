//! Norms, accumulated in `f64` and safe from overflow.

use super::{
    Kernel, Level, dispatch,
    team::{Shared, divide},
};
use crate::scalar::{Scalar, to_f64};
use num_traits::Float;

/// Into how many stretches a long slice is cut, each summed by itself: the order of a sum is that of its slice, however
/// many threads there are.
const STRETCHES: usize = 32;

/// ‖x‖₂; NaN where a value is, infinite where one is and none is NaN.
pub(crate) fn norm<T: Scalar>(x: &[T]) -> f64 {
    let mut sums = [0.0; STRETCHES];
    let (stretch, shared) = (x.len().div_ceil(STRETCHES).max(1), Shared::new(&mut sums));
    divide(STRETCHES, 1, x.len() / 2, &|own| {
        // SAFETY: each sum is one thread's.
        for (i, sum) in own.clone().zip(unsafe { shared.take(own) }) {
            let cut = |i: usize| (i * stretch).min(x.len());
            *sum = sum_of_squares(&x[cut(i)..cut(i + 1)]);
        }
    });
    let sum: f64 = sums.iter().sum();
    // Within this range no square that matters has overflowed or fallen below the normal numbers.
    if sum.is_nan() || (1e-280..1e300).contains(&sum) { Float::sqrt(sum) } else { p_norm(x, 2.0) }
}

/// Eight sums, for the additions to overlap.
fn sum_of_squares<T: Scalar>(x: &[T]) -> f64 {
    struct Sum<'a, T>(&'a [T], &'a mut f64);
    impl<T: Scalar> Kernel for Sum<'_, T> {
        #[inline(always)]
        fn run<const LEVEL: Level>(self) {
            let (chunks, rest) = self.0.as_chunks::<8>();
            let mut sums = [0.0; 8];
            for chunk in chunks {
                for (sum, &x) in sums.iter_mut().zip(chunk) {
                    *sum += to_f64(x) * to_f64(x);
                }
            }
            let rest: f64 = rest.iter().map(|&x| to_f64(x) * to_f64(x)).sum();
            *self.1 = sums.iter().sum::<f64>() + rest;
        }
    }
    let mut sum = 0.0;
    dispatch(Sum(x, &mut sum));
    sum
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
