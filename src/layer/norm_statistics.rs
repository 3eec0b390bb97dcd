//! Mean and deviation of the values that a norm scales, over the whole range of the number format.

use crate::{
    kernel::register_block::LANES,
    linalg::Upper,
    scalar::{Scalar, scalar, to_f64},
};
use num_traits::Float;

/// Writes a gain of 1 for each of `gains` columns to the start of `w`, and 0 to the rest, the biases.
pub(super) fn initialize_affine<T: Scalar>(w: &mut [T], gains: usize) {
    w.fill(T::zero());
    w[..gains].fill(T::one());
}

/// Calls a pass of a norm with two conversions: from `T` to the format in which it computes, and back. That format is
/// `f64` if `T` is narrower than `f32`, otherwise `T`.
macro_rules! in_wide_format {
    ($norm:ident.$pass:ident($($argument:ident),+)) => {
        if is_narrow::<T>() {
            $norm.$pass($($argument,)+ to_f64::<T>, scalar::<T>);
        } else {
            $norm.$pass($($argument,)+ |x| x, |x| x);
        }
    };
}
pub(super) use in_wide_format;

/// The number of values in [`Statistics`].
pub(super) const STATISTICS: usize = 4;

/// One number for each of `LANES` adjacent columns; numbers past the last column are ignored.
pub(super) type Columns<W> = [W; LANES];

/// The statistics of `LANES` adjacent columns, in the order of [`Statistics`]: a
/// scale, the mean, a correction to be added to the mean, and 1/σ. Mean, correction and σ are those of the values
/// times the scale.
pub(super) type ColumnStatistics<W> = [Columns<W>; STATISTICS];

/// Statistics of values x, as they are saved: a scale s, the mean of s x, a correction to be added to this mean, and
/// 1/σ, with σ² the variance of s x plus `s² ε`.
///
/// s is 1 unless the squares of the values overflow or underflow. The correction is for values whose mean is far
/// larger than their spread: without it the rounding error of the mean would be visible beside the spread.
#[derive(Clone, Copy)]
pub(super) struct Statistics<W>(pub(super) [W; STATISTICS]);

impl<W: Scalar> Statistics<W> {
    /// Returns the [`Statistics`] of the values `x`, converted by `wide` to the format `W`, with a scale that keeps
    /// their squares in its range. `epsilon` is added to the variance. The mean counts as 0 unless `centred`.
    pub(super) fn of<T: Scalar>(x: &[T], epsilon: f64, centred: bool, wide: impl Fn(T) -> W + Copy + Sync) -> Self {
        let (statistics, square) = Self::scaled(x, W::one(), epsilon, centred, wide);
        if !loses_squares(square, statistics.0[3]) {
            return statistics;
        }
        let most = x.iter().fold(W::zero(), |most, &x| if wide(x).abs() > most { wide(x).abs() } else { most });
        // Rows of zeros, and rows with values that are not finite, are not scaled.
        if most.is_zero() || most.is_infinite() || x.iter().any(|x| x.is_nan()) {
            return statistics;
        }
        Self::scaled(x, scale_of(most, epsilon), epsilon, centred, wide).0
    }

    /// Returns (1) the statistics of `x` with s = `scale`, whose mean and σ are those of `scale · x`, and (2) the
    /// mean square deviation of `scale · x`, without ε. The other arguments are those of [`of`](Self::of).
    fn scaled<T: Scalar>(
        x: &[T],
        scale: W,
        epsilon: f64,
        centred: bool,
        wide: impl Fn(T) -> W + Copy + Sync,
    ) -> (Self, W) {
        let n = scalar::<W>(x.len() as f64);
        let (mut mean, mut rest) = (W::zero(), W::zero());
        if centred {
            mean = x.iter().fold(W::zero(), |sum, &x| sum + wide(x) * scale) / n;
            rest = x.iter().fold(W::zero(), |sum, &x| sum + (wide(x) * scale - mean)) / n;
        }
        let distance = |x: T| (wide(x) * scale - mean) - rest;
        let square = x.iter().fold(W::zero(), |sum, &x| sum + distance(x) * distance(x)) / n;
        (Statistics([scale, mean, rest, inverse_deviation(square, epsilon, scale)]), square)
    }

    /// Returns `(x − μ)/σ` for an unscaled value `x`, with μ the mean of the unscaled values and σ² their
    /// variance plus ε.
    pub(super) fn unit(&self, x: W) -> W {
        let [scale, mean, rest, inverse] = self.0;
        ((x * scale - mean) - rest) * inverse
    }

    /// Returns `d/σ`, with σ² the variance of the unscaled values plus ε.
    pub(super) fn over_deviation(&self, d: W) -> W {
        let [scale, _, _, inverse] = self.0;
        d * inverse * scale
    }
}

/// Returns `1/√(σ² + s²ε)` for the `scale` s, where `square` is σ², the mean square deviation of values times
/// s. If the sum is 0 in the format, the smallest positive normal number takes its place.
pub(super) fn inverse_deviation<W: Scalar>(square: W, epsilon: f64, scale: W) -> W {
    let epsilon = scalar::<W>(epsilon * to_f64(scale) * to_f64(scale));
    let most = square + epsilon;
    // The values are equal, and ε underflows the format.
    let most = if most.is_zero() { W::min_positive_value() } else { most };
    most.sqrt().recip()
}

/// Whether the squares of deviations from a mean overflowed or underflowed, given their mean `square` and `inverse`,
/// the result of [`inverse_deviation`] for it. Single squares that underflow are negligible beside a larger mean
/// square. An ε that overflows the format makes the inverse 0.
pub(super) fn loses_squares<W: Scalar>(square: W, inverse: W) -> bool {
    !(square.is_finite() && !inverse.is_zero() && square >= W::min_positive_value() / W::epsilon())
}

/// Returns the scale by which a norm multiplies values of magnitude up to `most`, so that their squares stay in range.
/// It is a power of two, so that scaling rounds nothing but negligible values. ε times the square of the scale is at
/// most about 2⁸⁰.
pub(super) fn scale_of<W: Scalar>(most: W, epsilon: f64) -> W {
    let size = Float::max(to_f64(most), Float::sqrt(epsilon) * SMALL);
    let power = libm::ilogb(size).clamp(-exponent::<W>(), exponent::<W>());
    scalar(libm::ldexp(1.0, -power))
}

/// Returns an upper bound on `max |γ|/√ε` for the gains γ of a norm, which are 1 if `gains` is `None`.
pub(super) fn gain_over_epsilon<T: Scalar>(gains: Option<&[T]>, epsilon: f64) -> Upper {
    let gain = match gains {
        Some(gains) => gains.iter().fold(Upper::ZERO, |most, &gain| most.max(Upper::of(to_f64(gain)))),
        None => Upper::ONE,
    };
    let rounded = to_f64(scalar::<T>(epsilon));
    let epsilon = if rounded < epsilon { rounded } else { epsilon };
    // A computed root is off by at most half a unit in its last place: the next float below it is below the exact
    // root.
    gain.over(Float::sqrt(epsilon).next_down())
}

/// Values smaller than this fraction of √ε, the root of the number added to their variance, are negligible beside
/// it.
const SMALL: f64 = 1.0 / (1u64 << 40) as f64;

/// Returns the k for which 2⁻ᵏ is the smallest positive normal number of the format `W`.
fn exponent<W: Scalar>() -> i32 {
    -libm::ilogb(to_f64(W::min_positive_value()))
}
