//! Passes of a norm over the values of a row, or over each group of them.

use super::{
    Backward, Forward,
    norm_statistics::{STATISTICS, Statistics, gain_over_epsilon, in_wide_format},
};
use crate::{
    kernel::{
        register_block::{LANES, load_block},
        sums::{add_column_sums, add_sums},
    },
    linalg::Upper,
    monitor::Factor,
    scalar::{Scalar, is_narrow, scalar, to_f64},
    size::saturating_product,
};
use core::ops::Range;

/// A norm of each group of consecutive values of a row: with `centred` as in LayerNorm, without it as in RMSNorm.
#[derive(Clone, Copy)]
pub(super) struct RowNorm {
    /// The number of values in a row.
    pub(super) width: usize,
    /// The number of groups in a row, which divides the width.
    pub(super) groups: usize,
    /// The number that is added to the mean square of a group.
    pub(super) epsilon: f64,
    /// Whether the norm has learned gains and, if `centred` is set, learned biases.
    pub(super) affine: bool,
    /// Whether the mean of a group is subtracted.
    pub(super) centred: bool,
}

impl RowNorm {
    pub(super) fn parameters(&self) -> usize {
        match (self.affine, self.centred) {
            (false, _) => 0,
            (true, false) => self.width,
            (true, true) => self.width.saturating_mul(2),
        }
    }

    /// Returns the number of values in a group.
    pub(super) fn size(&self) -> usize {
        self.width / self.groups.max(1)
    }

    /// Returns the number of values saved for `rows` rows: the statistics of each group. For formats narrower than
    /// `f32` it is 0, and the backward pass computes the statistics again.
    pub(super) fn saved<T: Scalar>(&self, rows: usize) -> usize {
        if is_narrow::<T>() { 0 } else { saturating_product(&[rows, self.groups, STATISTICS]) }
    }

    pub(super) fn gain_bound<T: Scalar>(&self, w: &[T]) -> Upper {
        if self.centred && self.size() == 1 {
            return Upper::ZERO;
        }
        gain_over_epsilon(self.affine.then(|| &w[..self.width.min(w.len())]), self.epsilon)
    }

    pub(super) fn forward<T: Scalar>(&self, w: &[T], pass: Forward<'_, T>) {
        in_wide_format!(self.forward_in(w, pass));
    }

    pub(super) fn backward<T: Scalar>(&self, w: &[T], pass: Backward<'_, T>) {
        in_wide_format!(self.backward_in(w, pass));
    }

    /// Runs the forward pass with the parameters `w` and the arithmetic of `W`; `wide` converts from `T` to `W`, and
    /// `round` back.
    fn forward_in<T: Scalar, W: Scalar>(
        &self,
        w: &[T],
        pass: Forward<'_, T>,
        wide: impl Fn(T) -> W + Copy + Sync,
        round: impl Fn(W) -> T + Copy + Sync,
    ) {
        let (gain, bias) = w.split_at(if self.affine { self.width } else { 0 });
        let groups = pass.x.chunks(self.size()).zip(pass.y.chunks_mut(self.size()));
        for (group, (x, y)) in groups.enumerate() {
            let [gain, bias] = [gain, bias].map(|w| self.of_group(group, w));
            let statistics = Statistics::of(x, self.epsilon, self.centred, wide);
            for (i, (&x, y)) in x.iter().zip(y).enumerate() {
                let unit = statistics.unit(wide(x));
                let scaled = gain.get(i).map_or(unit, |&gain| wide(gain) * unit);
                *y = round(bias.get(i).map_or(scaled, |&bias| scaled + wide(bias)));
            }
            if pass.ctx.mode.saves() && !is_narrow::<T>() {
                pass.saved[STATISTICS * group..][..STATISTICS].copy_from_slice(&statistics.0.map(round));
            }
        }
        pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
    }

    /// Returns the slice of `w`, the gains or biases of a row, that begins with those of the group with the index
    /// `group`. `group` is counted over all groups of all rows of a pass. An empty `w` gives an empty slice.
    fn of_group<'w, T>(&self, group: usize, w: &'w [T]) -> &'w [T] {
        w.get(group % self.groups * self.size()..).unwrap_or_default()
    }

    /// Runs the backward pass with the parameters `w` and the arithmetic of `W`; `wide` converts from `T` to `W`, and
    /// `round` back. The gradients of gain and bias are added to `pass.dw`.
    ///
    /// For each group, with u = (x − μ)/σ, γ the gain and d = γ ⊙ dy:
    /// `dx = (d − mean(d) − u mean(d ⊙ u))/σ`; without centring, no mean(d).
    fn backward_in<T: Scalar, W: Scalar>(
        &self,
        w: &[T],
        mut pass: Backward<'_, T>,
        wide: impl Fn(T) -> W + Copy + Sync,
        round: impl Fn(W) -> T + Copy + Sync,
    ) {
        let (size, n) = (self.size(), scalar::<W>(self.size() as f64));
        let affine = if self.affine { self.width } else { 0 };
        let gain = &w[..affine];
        // The statistics of a group: computed again in formats narrower than `f32`, otherwise read from `saved`.
        let saved = &*pass.saved;
        let statistics_of = |group: usize, x: &[T]| {
            if is_narrow::<T>() {
                Statistics::of(x, self.epsilon, self.centred, wide)
            } else {
                Statistics(core::array::from_fn(|i| wide(saved[STATISTICS * group + i])))
            }
        };
        let groups = || pass.x.chunks(size).zip(pass.dy.chunks(size)).enumerate();
        let of_rows = |rows: &Range<usize>| {
            let values = rows.start * self.width..rows.end * self.width;
            let groups = pass.x[values.clone()].chunks(size).zip(pass.dy[values].chunks(size));
            (rows.start * self.groups..).zip(groups)
        };
        pass.ctx.add_by_shard(pass.dw, |rows, dw| {
            let (d_gain, d_bias) = dw.split_at_mut(affine);
            let gains = if pass.trainable.block(0) { d_gain } else { &mut [] };
            for (first, d_gain) in gains.chunks_mut(size).enumerate() {
                add_sums(rows.len(), d_gain, |j| {
                    of_rows(&rows).skip(first).step_by(self.groups).map(move |(group, (x, dy))| {
                        let statistics = statistics_of(group, x);
                        let (x, dy) = (load_block::<_, LANES>(x, j), load_block::<_, LANES>(dy, j));
                        core::array::from_fn(|i| round(wide(dy[i]) * statistics.unit(wide(x[i]))))
                    })
                });
            }
            if pass.trainable.block(1) {
                add_column_sums(&pass.dy[rows.start * self.width..rows.end * self.width], self.width, d_bias);
            }
        });
        let Some(dx) = pass.dx else { return };
        for (group, (x, dy)) in groups() {
            let (gain, statistics) = (self.of_group(group, gain), statistics_of(group, x));
            let (mut sum_d, mut sum_du) = (W::zero(), W::zero());
            for (i, (&x, &dy)) in x.iter().zip(dy).enumerate() {
                let unit = statistics.unit(wide(x));
                let d = gain.get(i).map_or(wide(dy), |&gain| wide(gain) * wide(dy));
                sum_d += d;
                sum_du += d * unit;
            }
            // If a sum overflows, it is computed again from a fraction of the gradient, which cannot overflow.
            let share = if (sum_d + sum_du).is_finite() { W::one() } else { (n * n).recip() };
            if share != W::one() {
                (sum_d, sum_du) = (W::zero(), W::zero());
                for (i, (&x, &dy)) in x.iter().zip(dy).enumerate() {
                    let d = gain.get(i).map_or(wide(dy), |&gain| wide(gain) * wide(dy)) * share;
                    sum_d += d;
                    sum_du += d * statistics.unit(wide(x));
                }
            }
            let (mean_d, mean_du) = (if self.centred { sum_d / n } else { W::zero() }, sum_du / n);
            for (i, (dx, (&x, &dy))) in dx[group * size..].iter_mut().zip(x.iter().zip(dy)).enumerate() {
                let unit = statistics.unit(wide(x));
                let d = gain.get(i).map_or(wide(dy), |&gain| wide(gain) * wide(dy));
                let d = if share == W::one() { d } else { d * share };
                let dx_of_share = statistics.over_deviation(d - mean_d - unit * mean_du);
                *dx = round(if share == W::one() { dx_of_share } else { dx_of_share / share });
            }
        }
        pass.ctx.report_backward(Factor::Other, pass.dy, dx);
    }
}
