//! Normalization of each column over the rows of a batch.

use super::{
    Backward, Dims, Forward, Hints, Layer, LayerSpec, MemorySizes, Mode, Samples,
    list::{Fact, ListedLayer, fact},
    norm::check_epsilon,
    norm_statistics::{
        ColumnStatistics, Columns, STATISTICS, gain_over_epsilon, in_wide_format, initialize_affine, inverse_deviation,
        loses_squares, scale_of,
    },
    running_statistics::{buffers_of, initial},
};
use crate::{
    batch_shape::BatchShape,
    block::{Block, Role},
    error::{Error, require},
    kernel::{
        register_block::{LANES, load_block, store_block},
        sums::add_sums,
    },
    monitor::Factor,
    scalar::{Scalar, is_narrow, scalar, to_f64},
};
use alloc::{vec, vec::Vec};
use rand_core::Rng;

/// Each column shifted to mean 0 and scaled to variance 1 over the rows of the batch:
/// `y = γ ⊙ (x − μ)/√(σ² + ε) + β`.
///
/// In training, μ and σ² are mean and mean square deviation of the N rows of the pass: all time steps of all
/// samples, at their own lengths. Each pass of training updates the running statistics,
/// `m ← (1 − momentum) m + momentum μ`, and `v ← (1 − momentum) v + momentum σ² N/(N − 1)`. Their initial values are
/// 0 and 1. In the other modes, μ = m and σ² = v. Backward in training, with s = √(σ² + ε) and u = (x − μ)/s:
/// `dx = γ/s ⊙ (dy − mean(dy) − u ⊙ mean(dy ⊙ u))`.
///
/// One row has no variance: `y = β`, `dx = 0`, and the running statistics do not change. A workspace refuses such a
/// training pass ([`LayerRule::TooFewRows`](crate::LayerRule)). A batch that is split, by
/// [`accumulation_steps`](crate::trainer::TrainConfig::accumulation_steps) or into the shards (ranges of samples) of
/// [`distributed`](crate::distributed), is normalized piece by piece. Statistics of a column that are not finite do
/// not enter the running statistics.
///
/// Source: Ioffe & Szegedy 2015, algorithms 1 and 2; ε = 1e-5 and momentum 0.1 as in PyTorch.
///
/// # Shapes
/// x, y: \[rows, width\]; blocks `gain` and `bias`, both \[width, 1\], unless left out; buffers: m, then v. In
/// formats narrower than `f32`, the rounding errors of m and v follow as further buffers: with them, m and v are as
/// precise as in `f32`.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BatchNorm {
    pub(crate) width: usize,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub(crate) epsilon: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub(super) momentum: f64,
    affine: bool,
}

impl BatchNorm {
    /// Creates the norm for rows of `width` values, with ε = 1e-5, momentum 0.1, and a learned gain and bias.
    pub const fn new(width: usize) -> Self {
        BatchNorm { width, epsilon: 1e-5, momentum: 0.1, affine: true }
    }

    /// Sets ε, which is added to the variance.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `epsilon` is a positive normal number.
    pub fn epsilon(self, epsilon: f64) -> Result<Self, Error> {
        check_epsilon(epsilon).map(|()| BatchNorm { epsilon, ..self })
    }

    /// Sets the weight of a new batch in the running statistics, `m ← (1 − momentum) m + momentum μ`, like the
    /// `momentum` of PyTorch.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `momentum` is from 0 to 1.
    pub fn momentum(self, momentum: f64) -> Result<Self, Error> {
        check_momentum(momentum).map(|()| BatchNorm { momentum, ..self })
    }

    /// Removes the learned gain and bias.
    #[must_use]
    pub fn without_affine(self) -> Self {
        BatchNorm { affine: false, ..self }
    }

    /// The number of parameters: a gain and a bias for each column, or 0 without them.
    fn parameters(&self) -> usize {
        if self.affine { self.width.saturating_mul(2) } else { 0 }
    }

    /// Returns the gains, then the biases, of the `LANES` columns from `j` on, converted by `wide`; gains of 1 and
    /// biases of 0 if none are learned. `w` holds the layer's parameters.
    fn affine_of<T: Scalar, W: Scalar>(&self, w: &[T], j: usize, wide: impl Fn(T) -> W) -> [Columns<W>; 2] {
        if !self.affine {
            return [[W::one(); LANES], [W::zero(); LANES]];
        }
        let (gain, bias) = w.split_at(self.width);
        [gain, bias].map(|w| load_block::<_, LANES>(w, j).map(&wide))
    }

    /// Returns the statistics, over the rows of `x`, of the `LANES` columns from `j` on, and the mean square deviation
    /// of each column. All are computed in the format `W`, to which `wide` converts. A column whose squares would
    /// leave the range of `W` is first multiplied by a scale; the scale of every other column is 1. The mean square
    /// deviation is that of the scaled column, without ε.
    fn of_batch<T: Scalar, W: Scalar>(
        &self,
        x: &[T],
        j: usize,
        wide: impl Fn(T) -> W + Copy + Sync,
    ) -> (ColumnStatistics<W>, Columns<W>) {
        let mut scale = [W::one(); LANES];
        let (statistics, square) = self.of_scaled(x, j, scale, wide);
        for i in 0..LANES.min(self.width - j) {
            if loses_squares(square[i], statistics[3][i]) {
                let column = x.iter().skip(j + i).step_by(self.width).map(|&x| wide(x).abs());
                let most = column.fold(W::zero(), |most, x| if x > most || x.is_nan() { x } else { most });
                // Columns of zeros, and columns with values that are not finite, are not scaled.
                if most.is_finite() && !most.is_zero() {
                    scale[i] = scale_of(most, self.epsilon);
                }
            }
        }
        if scale.iter().all(|scale| scale.is_one()) { (statistics, square) } else { self.of_scaled(x, j, scale, wide) }
    }

    /// Computes the results of [`of_batch`](Self::of_batch), for the `LANES` columns from `j` on, after each column of
    /// `x` was multiplied by its factor in `scale`. Mean and mean square are those of the multiplied columns.
    fn of_scaled<T: Scalar, W: Scalar>(
        &self,
        x: &[T],
        j: usize,
        scale: Columns<W>,
        wide: impl Fn(T) -> W + Copy + Sync,
    ) -> (ColumnStatistics<W>, Columns<W>) {
        let rows = x.len() / self.width;
        let n = scalar::<W>(rows as f64);
        let scaled = move |row: &[T]| -> Columns<W> {
            let x = load_block::<_, LANES>(row, j);
            core::array::from_fn(|i| wide(x[i]) * scale[i])
        };
        let all = || x.chunks(self.width).map(scaled);
        let mean = sum(rows, all).map(|sum| sum / n);
        let rest = sum(rows, || all().map(|x| core::array::from_fn(|i| x[i] - mean[i]))).map(|sum| sum / n);
        let squares = || {
            all().map(|x| {
                let distance: Columns<W> = core::array::from_fn(|i| (x[i] - mean[i]) - rest[i]);
                distance.map(|distance| distance * distance)
            })
        };
        let square = sum(rows, squares).map(|sum| sum / n);
        let inverse = core::array::from_fn(|i| inverse_deviation(square[i], self.epsilon, scale[i]));
        ([scale, mean, rest, inverse], square)
    }

    /// Runs the forward pass with the parameters `w` and the arithmetic of `W`; `wide` converts from `T` to `W`, and
    /// `round` back.
    fn forward_in<T: Scalar, W: Scalar>(
        &self,
        w: &[T],
        mut pass: Forward<'_, T>,
        wide: impl Fn(T) -> W + Copy + Sync,
        round: impl Fn(W) -> T + Copy + Sync,
    ) {
        let (rows, mode, width) = (pass.ctx.shape.rows(), pass.ctx.mode, self.width);
        for j in (0..width).step_by(LANES) {
            let statistics = match mode {
                Mode::Train => {
                    let (statistics, square) = self.of_batch(pass.x, j, wide);
                    if let Some(buffers) = pass.ctx.buffers_to_update().filter(|_| rows > 1) {
                        self.run(buffers, j, (&statistics, &square), rows, wide, round);
                    }
                    statistics
                }
                Mode::Evaluate | Mode::Infer => self.running(pass.ctx.buffers(), j, wide),
            };
            let [gain, bias] = self.affine_of(w, j, wide);
            for (x, y) in pass.x.chunks(width).zip(pass.y.chunks_mut(width)) {
                let unit = unit(&statistics, load_block(x, j).map(wide));
                store_block::<_, LANES>(y, j, core::array::from_fn(|i| round(gain[i] * unit[i] + bias[i])));
            }
            // `saved` is empty in narrow formats, and in a mode that saves nothing.
            for (saved, of) in pass.saved.chunks_mut(width).zip(statistics) {
                store_block(saved, j, of.map(round));
            }
        }
        pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
    }

    /// Runs the backward pass with the parameters `w` and the arithmetic of `W`; `wide` converts from `T` to `W`, and
    /// `round` back.
    ///
    /// With γ the gain and u = (x − μ)/σ: in training `dx = γ/σ ⊙ (dy − mean(dy) − u ⊙ mean(dy ⊙ u))`;
    /// else `dx = γ/σ ⊙ dy`. `Σ dy ⊙ u` is added to dγ, and `Σ dy` to dβ, the gradient of the bias.
    fn backward_in<T: Scalar, W: Scalar>(
        &self,
        w: &[T],
        pass: Backward<'_, T>,
        wide: impl Fn(T) -> W + Copy + Sync,
        round: impl Fn(W) -> T + Copy + Sync,
    ) {
        let (rows, mode, width) = (pass.ctx.shape.rows(), pass.ctx.mode, self.width);
        let n = scalar::<W>(rows as f64);
        let (d_gain, d_bias) = pass.dw.split_at_mut(if self.affine { width } else { 0 });
        let mut dx = pass.dx;
        for j in (0..width).step_by(LANES) {
            let statistics = match mode {
                _ if !is_narrow::<T>() => {
                    core::array::from_fn(|k| load_block(&pass.saved[k * width..][..width], j).map(wide))
                }
                Mode::Train => self.of_batch(pass.x, j, wide).0,
                Mode::Evaluate | Mode::Infer => self.running(pass.ctx.buffers(), j, wide),
            };
            let each = || {
                let rows = pass.x.chunks(width).zip(pass.dy.chunks(width));
                rows.map(|(x, dy)| (unit(&statistics, load_block(x, j).map(wide)), load_block(dy, j).map(wide)))
            };
            // STEP 1: Σ dy and Σ dy ⊙ u. In training Σ u = 0, so Σ dy ⊙ u = Σ (dy − mean(dy)) ⊙ u. The latter is
            // computed: without the mean, roundings of u in one direction would add up over all rows. If a sum
            // overflows, it is computed again from a fraction of the gradient, which cannot overflow.
            let sums = |share: W| {
                let of_dy = sum(rows, || each().map(|(_, dy)| dy.map(|dy| dy * share)));
                let mean = of_dy.map(|sum| if mode == Mode::Train { sum / n } else { W::zero() });
                let of_dyu = || each().map(|(u, dy)| core::array::from_fn(|i| (dy[i] * share - mean[i]) * u[i]));
                [of_dy, sum(rows, of_dyu)]
            };
            let (mut share, mut totals) = (W::one(), sums(W::one()));
            if !totals.iter().flatten().all(|sum| sum.is_finite()) {
                share = (n * n).recip();
                totals = sums(share);
            }
            // STEP 2: dβ and dγ.
            for (block, sums) in totals.iter().enumerate() {
                let d = if block == 0 { &mut *d_bias } else { &mut *d_gain };
                if self.affine && pass.trainable.block(1 - block) {
                    d[j..].iter_mut().zip(sums).for_each(|(d, &sum)| *d += round(sum / share));
                }
            }
            // STEP 3: dx.
            let Some(dx) = dx.as_deref_mut() else { continue };
            let [gain, _] = self.affine_of(w, j, wide);
            let [scale, _, _, inverse] = statistics;
            let means =
                if mode == Mode::Train { totals.map(|of| of.map(|sum| sum / n)) } else { [[W::zero(); LANES]; 2] };
            for (dx, (u, dy)) in dx.chunks_mut(width).zip(each()) {
                let of = |i: usize| {
                    let d = dy[i] * share - means[0][i] - u[i] * means[1][i];
                    round(gain[i] * d * inverse[i] * scale[i] / share)
                };
                store_block::<_, LANES>(dx, j, core::array::from_fn(of));
            }
        }
        if let Some(dx) = dx {
            pass.ctx.report_backward(Factor::Other, pass.dy, dx);
        }
    }
}

/// Returns the sums of `LANES` adjacent columns over `rows` rows. Each call of `terms` returns an iterator over the
/// values of all rows, from the first.
fn sum<W: Scalar, I: Iterator<Item = Columns<W>>>(rows: usize, terms: impl Fn() -> I + Sync) -> Columns<W> {
    let mut sums = [W::zero(); LANES];
    add_sums(rows, &mut sums, |_| terms());
    sums
}

/// Returns `u = (x − μ)/σ` for unscaled values `x` of one row, given the statistics of their columns.
fn unit<W: Scalar>([scale, mean, rest, inverse]: &ColumnStatistics<W>, x: Columns<W>) -> Columns<W> {
    core::array::from_fn(|i| ((x[i] * scale[i] - mean[i]) - rest[i]) * inverse[i])
}

fn check_momentum(momentum: f64) -> Result<(), Error> {
    require((0.0..=1.0).contains(&momentum), "momentum of a batch norm", "from 0 to 1", momentum)
}

impl ListedLayer for BatchNorm {
    fn facts(&self) -> Vec<Fact> {
        vec![fact("width", self.width), fact("epsilon", self.epsilon), fact("affine", self.affine)]
    }

    fn training_facts(&self) -> Vec<Fact> {
        vec![fact("momentum", self.momentum)]
    }

    fn check(&self) -> Result<(), Error> {
        check_epsilon(self.epsilon)?;
        check_momentum(self.momentum)
    }
}

impl<T: Scalar> Layer<T> for BatchNorm {
    crate::layer::own_box!(BatchNorm);

    fn dims(&self) -> Dims {
        Dims::new(self.width, self.width, self.parameters())
    }

    /// Saved: four statistics of each column; nothing for formats narrower than `f32`, whose backward pass computes
    /// them again. Buffers: the running mean and variance of each column, and their rounding errors in such formats.
    fn memory(&self, _shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        let saved = if mode.saves() && !is_narrow::<T>() { self.width.saturating_mul(STATISTICS) } else { 0 };
        MemorySizes::new(saved, 0, 0).buffers(buffers_of::<T>(self.width))
    }

    fn initialize(&self, w: &mut [T], _rng: &mut dyn Rng) -> Result<(), Error> {
        initialize_affine(w, if self.affine { self.width } else { 0 });
        Ok(())
    }

    fn initialize_buffers(&self, buffers: &mut [T]) {
        initial(buffers, self.width);
    }

    fn samples(&self) -> Samples {
        Samples::CoupledInTraining
    }

    fn hints(&self) -> Hints {
        Hints::NONE.ignores_y()
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        if self.affine {
            visit(Block::new("gain", 0, [self.width, 1], Role::Gain));
            visit(Block::new("bias", self.width, [self.width, 1], Role::Bias));
        }
    }

    /// Returns an upper bound on `max |γ|/√ε`, a bound on the 2-norm of the Jacobian for the whole batch, with γ the
    /// gains.
    ///
    /// In training, the Jacobian of a column x over N rows is `γ (I − 11ᵀ/N − uuᵀ/N)/σ`, with u = (x −
    /// μ)/σ. The matrix in parentheses has eigenvalues between 0 and 1, and σ ≥ √ε. In the other modes the
    /// Jacobian is `γ/σ`.
    fn gain_bound(&self, w: &[T], _shape: BatchShape<'_>) -> Option<f64> {
        let gains = self.affine.then(|| &w[..self.width.min(w.len())]);
        Some(gain_over_epsilon(gains, self.epsilon).get())
    }

    fn spec(&self) -> LayerSpec {
        LayerSpec::BatchNorm(self.clone())
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        pass.check("BatchNorm", self, w);
        in_wide_format!(self.forward_in(w, pass));
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        pass.check("BatchNorm", self, w);
        in_wide_format!(self.backward_in(w, pass));
    }
}
