//! The running statistics of a batch norm, which are its buffers.

use super::{
    BatchNorm,
    norm_statistics::{ColumnStatistics, Columns, inverse_deviation},
};
use crate::{
    kernel::register_block::{LANES, load_block},
    math::wide::{Wide, slots, wide_value},
    scalar::{Scalar, is_narrow, scalar, to_f64},
};

/// Returns the number of running statistics of `width` columns: a mean of each, then a variance of each.
pub(crate) const fn count(width: usize) -> usize {
    width.saturating_mul(2)
}

/// Returns the number of buffer values of a batch norm of `width` columns. In formats narrower than `f32` the
/// statistics are stored as [`Wide`] numbers: first their values rounded to the format, then the rounding errors.
pub(super) fn buffers_of<T: Scalar>(width: usize) -> usize {
    count(width).saturating_mul(slots::<T>())
}

/// Sets `buffers`, the running statistics of a batch norm of `width` columns, to their initial values: mean 0 and
/// variance 1.
pub(super) fn initial<T: Scalar>(buffers: &mut [T], width: usize) {
    buffers.fill(T::zero());
    buffers[width..count(width)].fill(T::one());
}

impl BatchNorm {
    /// Returns the running mean and variance, as statistics of scale 1, of the `LANES` columns from `j` on, converted
    /// by `wide`. They are rounded to `T` as in a model file, so that a model read from a file gives the same
    /// predictions. Without `buffers` (an empty slice) these are the initial ones, mean 0 and variance 1.
    pub(super) fn running<T: Scalar, W: Scalar>(
        &self,
        buffers: &[T],
        j: usize,
        wide: impl Fn(T) -> W,
    ) -> ColumnStatistics<W> {
        let rounded = buffers.get(..count(self.width)).map(|rounded| rounded.split_at(self.width));
        let [mean, variance] = match rounded {
            Some((mean, variance)) => [mean, variance].map(|of| load_block::<_, LANES>(of, j).map(&wide)),
            None => [[W::zero(); LANES], [W::one(); LANES]],
        };
        let inverse = variance.map(|variance| inverse_deviation(variance, self.epsilon, W::one()));
        [[W::one(); LANES], mean, [W::zero(); LANES], inverse]
    }

    /// Moves the running statistics in `buffers` of the `LANES` columns from `j` on by the fraction `momentum` towards
    /// those of a batch, which `of_batch` returned. `wide` converts to the format `W`, and `round` back. `rows` must be
    /// at least 2. A column whose new statistics are not finite keeps the old ones.
    pub(super) fn run<T: Scalar, W: Scalar>(
        &self,
        buffers: &mut [T],
        j: usize,
        (statistics, square): (&ColumnStatistics<W>, &Columns<W>),
        rows: usize,
        wide: impl Fn(T) -> W,
        round: impl Fn(W) -> T,
    ) {
        let (width, values) = (self.width, count(self.width));
        if buffers.len() < values {
            return;
        }
        let share = scalar::<W>(self.momentum);
        let unbiased = scalar::<W>(rows as f64 / (rows - 1) as f64);
        let [scale, mean, rest, _] = statistics;
        for (i, column) in (j..width).take(LANES).enumerate() {
            let mean = (mean[i] + rest[i]) / scale[i];
            let variance = square[i] * unbiased / scale[i] / scale[i];
            let next = [(column, mean), (width + column, variance)].map(|(place, to)| {
                let from =
                    if is_narrow::<T>() { scalar(wide_value(buffers, values, place)) } else { wide(buffers[place]) };
                (place, (W::one() - share) * from + share * to)
            });
            if next.iter().all(|&(_, next)| round(next).is_finite()) {
                for (place, next) in next {
                    if is_narrow::<T>() {
                        Wide::new(buffers, values).set(place, to_f64(next));
                    } else {
                        buffers[place] = round(next);
                    }
                }
            }
        }
    }
}
