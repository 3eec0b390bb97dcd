//! Normalisation of each row: LayerNorm and RMSNorm.

use super::{
    Backward, Dims, Forward, Hints, Layer, LayerSpec, MemorySizes, Mode,
    list::{Fact, ListedLayer, fact},
};
use crate::{
    batch_shape::BatchShape,
    block::{Block, Role},
    error::{Error, require},
    kernel::{
        register_block::{LANES, load_block},
        sums::{add_column_sums, add_sums},
    },
    linalg::Upper,
    monitor::Factor,
    scalar::{Scalar, is_narrow, scalar, to_f64},
};
use alloc::{vec, vec::Vec};
use num_traits::Float;
use rand_core::Rng;

/// Each row shifted to mean 0 and scaled to variance 1: `y = γ ⊙ (x − μ)/√(σ² + ε) + β`.
///
/// σ² is the mean of (x − μ)². Source: Ba, Kiros & Hinton 2016, eq. 4; ε = 1e-5 as in PyTorch.
///
/// # Shapes
/// x, y: \[rows, width\]; blocks `gain` and `bias`, both \[width, 1\], unless left out.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LayerNorm {
    pub(crate) width: usize,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub(crate) epsilon: f64,
    affine: bool,
}

/// Each row scaled to root mean square 1: `y = γ ⊙ x/√(mean(x²) + ε)`.
///
/// Source: Zhang & Sennrich 2019, eq. 4; ε = 1e-6.
///
/// # Shapes
/// x, y: \[rows, width\]; block `gain` \[width, 1\], unless left out.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RmsNorm {
    pub(crate) width: usize,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub(crate) epsilon: f64,
    affine: bool,
}

/// Either norm: with `centred` LayerNorm, without it RMSNorm.
#[derive(Clone, Copy)]
struct Norm {
    width: usize,
    epsilon: f64,
    affine: bool,
    centred: bool,
}

/// Values saved a row: the scale, the mean in two parts, and 1/σ. In narrow formats they are computed again.
const STATISTICS: usize = 4;

macro_rules! norm {
    ($name:ident, $centred:literal, $epsilon:literal) => {
        impl $name {
            /// The norm of rows of `width` values.
            pub fn new(width: usize) -> Self {
                $name { width, epsilon: $epsilon, affine: true }
            }

            /// Sets ε, which is added to the mean square. A network refuses a layer whose ε is below the normal
            /// numbers of its format.
            ///
            /// # Errors
            /// [`Error::Parameter`] unless `epsilon` is a positive normal number.
            pub fn epsilon(self, epsilon: f64) -> Result<Self, Error> {
                let changed = $name { epsilon, ..self };
                changed.check().map(|()| changed)
            }

            /// Leaves the learned gain and bias out.
            #[must_use]
            pub fn without_affine(self) -> Self {
                $name { affine: false, ..self }
            }

            fn norm(&self) -> Norm {
                Norm { width: self.width, epsilon: self.epsilon, affine: self.affine, centred: $centred }
            }
        }

        impl ListedLayer for $name {
            fn facts(&self) -> Vec<Fact> {
                vec![fact("width", self.width), fact("epsilon", self.epsilon), fact("affine", self.affine)]
            }

            fn check(&self) -> Result<(), Error> {
                let valid = self.epsilon > 0.0 && self.epsilon.is_normal();
                require(valid, "epsilon of a norm", "a positive normal number", self.epsilon)
            }

            #[cfg(feature = "proptest")]
            fn examples(width: usize) -> Vec<Self> {
                let of = |epsilon, affine| $name { width, epsilon, affine };
                vec![of(1e-5, true), of(1e-5, false), of(0.1, true)]
            }
        }

        impl<T: Scalar> Layer<T> for $name {
            fn dims(&self) -> Dims {
                Dims::new(self.width, self.width, self.norm().parameters())
            }

            fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
                let saved = if mode.saves() && !is_narrow::<T>() { shape.rows().saturating_mul(STATISTICS) } else { 0 };
                MemorySizes::new(saved, 0, 0)
            }

            fn initialize(&self, w: &mut [T], _rng: &mut dyn Rng) -> Result<(), Error> {
                w.fill(T::zero());
                if self.affine {
                    w[..self.width].fill(T::one());
                }
                Ok(())
            }

            fn hints(&self) -> Hints {
                Hints::NONE.ignores_y()
            }

            fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
                if self.affine {
                    visit(Block::new("gain", 0, [self.width, 1], Role::Gain));
                    if $centred {
                        visit(Block::new("bias", self.width, [self.width, 1], Role::Bias));
                    }
                }
            }

            /// `max |γ|/√ε`, which a row of equal values (LayerNorm) or zeros (RmsNorm) attains where all gains are
            /// equal.
            ///
            /// With u = (x − μ)/σ and σ² = mean((x − μ)²) + ε, `∂y/∂x = diag(γ) (I − 11ᵀ/n − uuᵀ/n)/σ`; without
            /// centring, no 11ᵀ/n. As ‖u‖² < n and u is orthogonal to 1, the matrix between γ and σ has eigenvalues
            /// 0 and 1 and one between, and σ ≥ √ε. A centred row of one value is always 0.
            fn gain_bound(&self, w: &[T], _shape: BatchShape<'_>) -> Option<f64> {
                Some(self.norm().gain_bound(w).get())
            }

            fn spec(&self) -> LayerSpec {
                LayerSpec::$name(self.clone())
            }

            fn forward(&self, w: &[T], pass: Forward<'_, T>) {
                pass.check(stringify!($name), self, w);
                self.norm().forward(w, pass);
            }

            fn backward(&self, w: &[T], pass: Backward<'_, T>) {
                pass.check(stringify!($name), self, w);
                self.norm().backward(w, pass);
            }
        }
    };
}

norm!(LayerNorm, true, 1e-5);
norm!(RmsNorm, false, 1e-6);

impl Norm {
    fn parameters(&self) -> usize {
        match (self.affine, self.centred) {
            (false, _) => 0,
            (true, false) => self.width,
            (true, true) => self.width.saturating_mul(2),
        }
    }

    fn gain_bound<T: Scalar>(&self, w: &[T]) -> Upper {
        if self.centred && self.width == 1 {
            return Upper::ZERO;
        }
        let gain = match self.affine {
            true => w.iter().take(self.width).fold(Upper::ZERO, |most, &gain| most.max(Upper::of(to_f64(gain)))),
            false => Upper::ONE,
        };
        let rounded = to_f64(scalar::<T>(self.epsilon));
        let epsilon = if rounded < self.epsilon { rounded } else { self.epsilon };
        // A root is off by half a unit in its last place: the float below it is below the true one.
        gain.over(Float::sqrt(epsilon).next_down())
    }

    fn forward<T: Scalar>(&self, w: &[T], pass: Forward<'_, T>) {
        if is_narrow::<T>() {
            self.forward_in(w, pass, to_f64::<T>, scalar::<T>);
        } else {
            self.forward_in(w, pass, |x| x, |x| x);
        }
    }

    fn backward<T: Scalar>(&self, w: &[T], pass: Backward<'_, T>) {
        if is_narrow::<T>() {
            self.backward_in(w, pass, to_f64::<T>, scalar::<T>);
        } else {
            self.backward_in(w, pass, |x| x, |x| x);
        }
    }

    /// The forward pass with the arithmetic of `W`; `wide` and `round` convert.
    fn forward_in<T: Scalar, W: Scalar>(
        &self,
        w: &[T],
        pass: Forward<'_, T>,
        wide: impl Fn(T) -> W + Copy + Sync,
        round: impl Fn(W) -> T + Copy + Sync,
    ) {
        let (gain, bias) = w.split_at(if self.affine { self.width } else { 0 });
        let rows = pass.x.chunks(self.width).zip(pass.y.chunks_mut(self.width));
        for (row, (x, y)) in rows.enumerate() {
            let statistics = Statistics::of(self, x, wide);
            for (i, (&x, y)) in x.iter().zip(y).enumerate() {
                let unit = statistics.unit(wide(x));
                let scaled = gain.get(i).map_or(unit, |&gain| wide(gain) * unit);
                *y = round(bias.get(i).map_or(scaled, |&bias| scaled + wide(bias)));
            }
            if pass.ctx.mode.saves() && !is_narrow::<T>() {
                pass.saved[STATISTICS * row..][..STATISTICS].copy_from_slice(&statistics.0.map(round));
            }
        }
        pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
    }

    /// With u = (x − μ)/σ and d = γ ⊙ dy: `dx = (d − mean(d) − u mean(d ⊙ u))/σ`; without centring, no mean(d).
    fn backward_in<T: Scalar, W: Scalar>(
        &self,
        w: &[T],
        pass: Backward<'_, T>,
        wide: impl Fn(T) -> W + Copy + Sync,
        round: impl Fn(W) -> T + Copy + Sync,
    ) {
        let n = scalar::<W>(self.width as f64);
        let affine = if self.affine { self.width } else { 0 };
        let (gain, (d_gain, d_bias)) = (&w[..affine], pass.dw.split_at_mut(affine));
        // A row as numbers of T, with its statistics: saved, but in narrow formats.
        let saved = &*pass.saved;
        let statistics_of = |row: usize, x: &[T]| {
            if is_narrow::<T>() {
                Statistics::of(self, x, wide)
            } else {
                Statistics(core::array::from_fn(|i| wide(saved[STATISTICS * row + i])))
            }
        };
        let rows = || pass.x.chunks(self.width).zip(pass.dy.chunks(self.width)).enumerate();
        if pass.trainable.block(0) {
            add_sums(pass.ctx.shape.rows(), d_gain, |j| {
                rows().map(move |(row, (x, dy))| {
                    let statistics = statistics_of(row, x);
                    let (x, dy) = (load_block::<_, LANES>(x, j), load_block::<_, LANES>(dy, j));
                    core::array::from_fn(|i| round(wide(dy[i]) * statistics.unit(wide(x[i]))))
                })
            });
        }
        if pass.trainable.block(1) {
            add_column_sums(pass.dy, self.width, d_bias);
        }
        let mut dx = pass.dx;
        for (row, (x, dy)) in pass.x.chunks(self.width).zip(pass.dy.chunks(self.width)).enumerate() {
            let statistics = statistics_of(row, x);
            let (mut sum_d, mut sum_du) = (W::zero(), W::zero());
            for (i, (&x, &dy)) in x.iter().zip(dy).enumerate() {
                let unit = statistics.unit(wide(x));
                let d = gain.get(i).map_or(wide(dy), |&gain| wide(gain) * wide(dy));
                sum_d += d;
                sum_du += d * unit;
            }
            let Some(dx) = dx.as_deref_mut() else { continue };
            // Where a sum overflows, of shares of the gradient that cannot.
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
            for (i, (dx, (&x, &dy))) in dx[row * self.width..].iter_mut().zip(x.iter().zip(dy)).enumerate() {
                let unit = statistics.unit(wide(x));
                let d = gain.get(i).map_or(wide(dy), |&gain| wide(gain) * wide(dy));
                let d = if share == W::one() { d } else { d * share };
                let dx_of_share = statistics.over_deviation(d - mean_d - unit * mean_du);
                *dx = round(if share == W::one() { dx_of_share } else { dx_of_share / share });
            }
        }
        if let Some(dx) = dx {
            pass.ctx.report_backward(Factor::Other, pass.dy, dx);
        }
    }
}

/// The statistics of a row x, as it is saved: the scale s, the mean of s x in two parts, and 1/σ of s x.
///
/// s is 1, but for rows whose squares overflow or vanish. Where the mean is far larger than the spread, its first part
/// alone would be off by a visible share of the spread.
struct Statistics<W>([W; STATISTICS]);

impl<W: Scalar> Statistics<W> {
    fn of<T: Scalar>(norm: &Norm, x: &[T], wide: impl Fn(T) -> W + Copy + Sync) -> Self {
        let (statistics, square) = Self::scaled(norm, x, W::one(), wide);
        // Squares that vanish are nothing beside this much. An ε beyond the format leaves an inverse of 0.
        if square.is_finite() && !statistics.0[3].is_zero() && square >= W::min_positive_value() / W::epsilon() {
            return statistics;
        }
        let most = x.iter().fold(W::zero(), |most, &x| if wide(x).abs() > most { wide(x).abs() } else { most });
        // A row of zeros, or of what is not finite, stays so.
        if most.is_zero() || most.is_infinite() || x.iter().any(|x| x.is_nan()) {
            return statistics;
        }
        // A power of two, so that only what matters is rounded: ε times its square is at most about 2⁸⁰.
        let size = Float::max(to_f64(most), Float::sqrt(norm.epsilon) * SMALL);
        let power = libm::ilogb(size).clamp(-exponent::<W>(), exponent::<W>());
        Self::scaled(norm, x, scalar(libm::ldexp(1.0, -power)), wide).0
    }

    /// The statistics of `scale · x`, and its mean square without ε.
    fn scaled<T: Scalar>(norm: &Norm, x: &[T], scale: W, wide: impl Fn(T) -> W + Copy + Sync) -> (Self, W) {
        let n = scalar::<W>(norm.width as f64);
        let (mut mean, mut rest) = (W::zero(), W::zero());
        if norm.centred {
            mean = x.iter().fold(W::zero(), |sum, &x| sum + wide(x) * scale) / n;
            rest = x.iter().fold(W::zero(), |sum, &x| sum + (wide(x) * scale - mean)) / n;
        }
        let distance = |x: T| (wide(x) * scale - mean) - rest;
        let square = x.iter().fold(W::zero(), |sum, &x| sum + distance(x) * distance(x)) / n;
        let epsilon = scalar::<W>(norm.epsilon * to_f64(scale) * to_f64(scale));
        let most = square + epsilon;
        // A row of equal values, where ε is below the format.
        let most = if most.is_zero() { W::min_positive_value() } else { most };
        (Statistics([scale, mean, rest, most.sqrt().recip()]), square)
    }

    /// `(x − μ)/σ`.
    fn unit(&self, x: W) -> W {
        let [scale, mean, rest, inverse] = self.0;
        ((x * scale - mean) - rest) * inverse
    }

    /// `d/σ`.
    fn over_deviation(&self, d: W) -> W {
        let [scale, _, _, inverse] = self.0;
        d * inverse * scale
    }
}

/// Rows smaller than this share of √ε are as good as zero beside it.
const SMALL: f64 = 1.0 / (1u64 << 40) as f64;

/// The k for which 2⁻ᵏ is the least normal number of the format.
fn exponent<W: Scalar>() -> i32 {
    -libm::ilogb(to_f64(W::min_positive_value()))
}
