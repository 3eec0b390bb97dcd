//! Norms, accumulated in `f64` and safe from overflow.

use super::parallel::{SharedSlice, parallel_ranges};
use super::{Kernel, Level, dispatch};
use crate::scalar::{Scalar, to_f64};
use num_traits::Float;

/// The number of segments of a slice that are summed separately. The segments depend on the length of the slice alone,
/// so the order of a sum does not depend on the number of threads.
const SEGMENTS: usize = 32;

/// Returns the 2-norm ‖x‖₂. NaN if a value is NaN; otherwise infinite if a value is infinite.
pub(crate) fn norm<T: Scalar>(x: &[T]) -> f64 {
    let mut sums = [0.0; SEGMENTS];
    let (segment, shared) = (x.len().div_ceil(SEGMENTS).max(1), SharedSlice::new(&mut sums));
    parallel_ranges(SEGMENTS, 1, x.len() / 2, |own| {
        // SAFETY: `parallel_ranges` gives each sum to one call.
        for (i, sum) in own.clone().zip(unsafe { shared.slice_mut(own) }) {
            let cut = |i: usize| (i * segment).min(x.len());
            *sum = sum_of_squares(&x[cut(i)..cut(i + 1)]);
        }
    });
    let sum: f64 = sums.iter().sum();
    // Within this range no square has overflowed, and no significant square is subnormal.
    if sum.is_nan() || (1e-280..1e300).contains(&sum) { Float::sqrt(sum) } else { p_norm(x, 2.0) }
}

/// Returns Σ x², added in eight interleaved sums, so that additions overlap in the CPU.
fn sum_of_squares<T: Scalar>(x: &[T]) -> f64 {
    struct Sum<'a, T>(&'a [T], &'a mut f64);
    impl<T: Scalar> Kernel for Sum<'_, T> {
        type Element = T;

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

/// The 2-norm of a slice, and the numbers of its zeros and of its subnormal and non-finite values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Survey {
    /// ‖x‖₂, equal to [`norm`] up to rounding.
    pub norm: f64,
    pub zeros: usize,
    /// The number of subnormal values: nonzero, with a magnitude below the normal numbers of the format.
    pub subnormal: usize,
    pub non_finite: usize,
}

impl Survey {
    /// Combines the surveys of two slices to the survey of all their values.
    pub fn and(self, other: Survey) -> Survey {
        Survey {
            norm: libm::hypot(self.norm, other.norm),
            zeros: self.zeros + other.zeros,
            subnormal: self.subnormal + other.subnormal,
            non_finite: self.non_finite + other.non_finite,
        }
    }
}

/// The number of interleaved sums of a survey: four registers of eight, whose additions overlap.
const LANES: usize = 32;

/// Returns the 2-norm of `x` and the numbers of its zeros and of its subnormal and non-finite values. It reads `x`
/// again only if `Σ x²` is near the limits of `f64` or not finite.
pub(crate) fn survey<T: Scalar>(x: &[T]) -> Survey {
    struct Pass<'a, T>(&'a [T], &'a mut (f64, f64, f64));
    impl<T: Scalar> Kernel for Pass<'_, T> {
        type Element = T;

        #[inline(always)]
        fn run<const LEVEL: Level>(self) {
            // A lane counts at most 1024 values of a chunk: exact in any format with 11 significant bits.
            let (least, one) = (T::min_positive_value(), |yes: bool| if yes { T::one() } else { T::zero() });
            for segment in self.0.chunks(LANES * 1024) {
                let (chunks, rest) = segment.as_chunks::<LANES>();
                let (mut sums, mut zeros, mut small) = ([0.0; LANES], [T::zero(); LANES], [T::zero(); LANES]);
                for chunk in chunks {
                    for i in 0..LANES {
                        let x = chunk[i];
                        sums[i] += to_f64(x) * to_f64(x);
                        zeros[i] += one(x == T::zero());
                        small[i] += one(x < least && x > -least);
                    }
                }
                for &x in rest {
                    sums[0] += to_f64(x) * to_f64(x);
                    zeros[0] += one(x == T::zero());
                    small[0] += one(x < least && x > -least);
                }
                let (sum, zero, tiny) = &mut *self.1;
                *sum += sums.iter().sum::<f64>();
                *zero += zeros.iter().map(|&n| to_f64(n)).sum::<f64>();
                *tiny += small.iter().map(|&n| to_f64(n)).sum::<f64>();
            }
        }
    }
    let mut found = (0.0, 0.0, 0.0);
    dispatch(Pass(x, &mut found));
    let (sum, zeros, small) = found;
    let non_finite = if sum.is_finite() { 0 } else { x.iter().filter(|x| !x.is_finite()).count() };
    let norm = if sum.is_nan() || (1e-280..1e300).contains(&sum) { Float::sqrt(sum) } else { p_norm(x, 2.0) };
    Survey { norm, zeros: zeros as usize, subnormal: (small - zeros) as usize, non_finite }
}

/// Estimates the slopes φ′ of an activation from the gradients `before`, with respect to its output, and
/// `after = φ′ ⊙ before`, with respect to its input.
///
/// For each column it adds `|after / before|` to `sums`, and 1 to `counts`, in every row where `|before|` is above
/// the least normal number of `T` divided by its machine epsilon, so that no digits are lost. It adds 1 to `alive`
/// in every row where `after` is not 0.
///
/// # Shapes
/// before, after: \[rows, columns\]; sums, counts, alive: \[columns\].
pub(crate) fn add_slopes<T: Scalar>(before: &[T], after: &[T], [sums, counts, alive]: [&mut [f64]; 3]) {
    struct Pass<'a, T>(&'a [T], &'a [T], [&'a mut [f64]; 3]);
    impl<T: Scalar> Kernel for Pass<'_, T> {
        type Element = T;

        #[inline(always)]
        fn run<const LEVEL: Level>(self) {
            let Pass(before, after, [sums, counts, alive]) = self;
            // The product of φ′ and a smaller gradient may have lost digits.
            let (width, least) = (sums.len(), to_f64(T::min_positive_value() / T::epsilon()));
            for (before, after) in before.chunks_exact(width).zip(after.chunks_exact(width)) {
                for i in 0..width {
                    let (before, after) = (to_f64(before[i]), to_f64(after[i]));
                    let is_exact = Float::abs(before) > least;
                    sums[i] += if is_exact { Float::abs(after / before) } else { 0.0 };
                    counts[i] += if is_exact { 1.0 } else { 0.0 };
                    alive[i] += if after != 0.0 { 1.0 } else { 0.0 };
                }
            }
        }
    }
    let width = sums.len();
    if width > 0 {
        dispatch(Pass(before, after, [sums, &mut counts[..width], &mut alive[..width]]));
    }
}

/// ‖x‖_p = (Σ |x|ᵖ)^(1/p) for 0 < p ≤ ∞; infinite beyond the range of `f64`, NaN if a value is NaN. The values are
/// divided by the largest first, so that no power overflows.
pub(crate) fn p_norm<T: Scalar>(x: &[T], p: f64) -> f64 {
    let (largest, rest) = norm_parts(x, p);
    largest * rest
}

/// Returns ‖x‖_∞ and the ratio ‖x‖_p/‖x‖_∞ for 0 < p ≤ ∞. The ratio is 1 if p is infinite, or ‖x‖_∞ is 0 or not
/// finite. ‖x‖_∞ is NaN if a value is NaN.
pub(crate) fn norm_parts<T: Scalar>(x: &[T], p: f64) -> (f64, f64) {
    let most = x
        .iter()
        .map(|&x| Float::abs(to_f64(x)))
        .fold(0.0, |most: f64, x| if x > most || x.is_nan() { x } else { most });
    if most == 0.0 || !most.is_finite() || p.is_infinite() {
        return (if x.iter().any(|x| x.is_nan()) { f64::NAN } else { most }, 1.0);
    }
    let sum: f64 = x.iter().map(|&x| libm::pow(Float::abs(to_f64(x)) / most, p)).sum();
    (most, libm::pow(sum, 1.0 / p))
}
