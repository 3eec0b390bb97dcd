//! Normalisation of each row: LayerNorm and RMSNorm.

use super::{Backward, Dims, Forward, Layer, Mode, Needs, Node, Reads};
use crate::{
    block::{Block, Role},
    error::{Error, require},
    extent::Extent,
    kernel::{
        lane::{LANES, take},
        sums::{add_column_sums, add_sums},
    },
    monitor::Factor,
    scalar::{Scalar, scalar, to_f64},
    theory::Upper,
};
use num_traits::Float;
use rand_core::Rng;

/// Each row shifted to mean 0 and scaled to variance 1: `y = γ ⊙ (x − μ)/√(σ² + ε) + β`.
///
/// σ² is the mean of (x − μ)². Source: Ba, Kiros & Hinton 2016, eq. 4; ε = 1e-5 as in PyTorch.
///
/// # Shapes
/// x, y: \[rows, width\]; blocks `gain` and `bias`, both \[width, 1\], unless left out.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNorm(Norm);

/// Each row scaled to root mean square 1: `y = γ ⊙ x/√(mean(x²) + ε)`.
///
/// Source: Zhang & Sennrich 2019, eq. 4; ε = 1e-6.
///
/// # Shapes
/// x, y: \[rows, width\]; block `gain` \[width, 1\], unless left out.
#[derive(Clone, Debug, PartialEq)]
pub struct RmsNorm(Norm);

#[derive(Clone, Debug, PartialEq)]
struct Norm {
    width: usize,
    epsilon: f64,
    affine: bool,
    centred: bool,
}

/// Values saved a row: the mean in two parts, and 1/σ.
const STATISTICS: usize = 3;

macro_rules! norm {
    ($name:ident, $centred:literal, $epsilon:literal, $node:ident) => {
        impl $name {
            /// The norm of rows of `width` values.
            pub fn new(width: usize) -> Self {
                $name(Norm { width, epsilon: $epsilon, affine: true, centred: $centred })
            }

            /// Sets ε, which is added to the mean square.
            ///
            /// # Errors
            /// [`Error::Parameter`] unless it is positive and finite.
            pub fn epsilon(self, epsilon: f64) -> Result<Self, Error> {
                require(epsilon > 0.0 && epsilon.is_finite(), "epsilon of a norm", "positive and finite", epsilon)?;
                Ok($name(Norm { epsilon, ..self.0 }))
            }

            /// Leaves the learned gain and bias out.
            #[must_use]
            pub fn without_affine(self) -> Self {
                $name(Norm { affine: false, ..self.0 })
            }
        }

        impl<T: Scalar> Layer<T> for $name {
            fn dims(&self) -> Dims {
                Dims::new(self.0.width, self.0.width, self.0.parameters())
            }

            fn needs(&self, extent: Extent<'_>, mode: Mode) -> Needs {
                Needs::new(if mode.saves() { extent.rows().saturating_mul(STATISTICS) } else { 0 }, 0, 0)
            }

            fn initialize(&self, w: &mut [T], _rng: &mut dyn Rng) -> Result<(), Error> {
                w.fill(T::zero());
                if self.0.affine {
                    w[..self.0.width].fill(T::one());
                }
                Ok(())
            }

            fn reads(&self) -> Reads {
                Reads::INPUT
            }

            fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
                if self.0.affine {
                    visit(Block::new("gain", 0, [self.0.width, 1], Role::Gain));
                    if $centred {
                        visit(Block::new("bias", self.0.width, [self.0.width, 1], Role::Bias));
                    }
                }
            }

            /// `max |γ|/√ε`, which a row of equal values (LayerNorm) or zeros (RmsNorm) attains where all gains are
            /// equal.
            ///
            /// With u = (x − μ)/σ and σ² = mean((x − μ)²) + ε, `∂y/∂x = diag(γ) (I − 11ᵀ/n − uuᵀ/n)/σ`; without
            /// centring, no 11ᵀ/n. As ‖u‖² < n and u is orthogonal to 1, the matrix between γ and σ has eigenvalues
            /// 0 and 1 and one between, and σ ≥ √ε. A centred row of one value is always 0.
            fn gain_bound(&self, w: &[T], _extent: Extent<'_>) -> Option<f64> {
                Some(self.0.gain_bound(w).get())
            }

            fn describe(&self) -> Node {
                Node::$node { width: self.0.width, epsilon: self.0.epsilon, affine: self.0.affine }
            }

            fn forward(&self, w: &[T], pass: Forward<'_, T>) {
                self.0.forward(w, pass);
            }

            fn backward(&self, w: &[T], pass: Backward<'_, T>) {
                self.0.backward(w, pass);
            }
        }
    };
}

norm!(LayerNorm, true, 1e-5, LayerNorm);
norm!(RmsNorm, false, 1e-6, RmsNorm);

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
        // A root is off by half a unit in its last place: the float below it is below the true one.
        gain.over(Float::sqrt(to_f64(scalar::<T>(self.epsilon))).next_down())
    }

    fn forward<T: Scalar>(&self, w: &[T], pass: Forward<'_, T>) {
        let n = scalar::<T>(self.width as f64);
        let (gain, bias) = w.split_at(if self.affine { self.width } else { 0 });
        let rows = pass.x.chunks(self.width).zip(pass.y.chunks_mut(self.width));
        for (row, (x, y)) in rows.enumerate() {
            let centre = if self.centred { Centre::of(x) } else { Centre::zero() };
            let square = x.iter().fold(T::zero(), |sum, &x| sum + centre.distance(x) * centre.distance(x)) / n;
            let inverse = (square + scalar(self.epsilon)).sqrt().recip();
            for (i, (&x, y)) in x.iter().zip(y).enumerate() {
                let unit = centre.distance(x) * inverse;
                let scaled = gain.get(i).map_or(unit, |&gain| gain * unit);
                *y = bias.get(i).map_or(scaled, |&bias| scaled + bias);
            }
            if pass.mode.saves() {
                pass.saved[STATISTICS * row..][..STATISTICS].copy_from_slice(&[centre.mean, centre.rest, inverse]);
            }
        }
        if pass.monitor.listens() {
            pass.monitor.forward(&pass.at.link(Factor::Other, pass.extent), pass.x, pass.y);
        }
    }

    /// With u = (x − μ)/σ and d = γ ⊙ dy: `dx = (d − mean(d) − u mean(d ⊙ u))/σ`; without centring, no mean(d).
    fn backward<T: Scalar>(&self, w: &[T], pass: Backward<'_, T>) {
        let n = scalar::<T>(self.width as f64);
        let affine = if self.affine { self.width } else { 0 };
        let (gain, (d_gain, d_bias)) = (&w[..affine], pass.dw.split_at_mut(affine));
        let rows = || pass.x.chunks(self.width).zip(pass.dy.chunks(self.width)).zip(pass.saved.chunks(STATISTICS));
        if pass.trained.block(0) {
            add_sums(pass.extent.rows(), d_gain, |j| {
                rows().map(move |((x, dy), statistics)| {
                    let (x, dy) = (take::<_, LANES>(x, j), take::<_, LANES>(dy, j));
                    let (centre, inverse) = (Centre { mean: statistics[0], rest: statistics[1] }, statistics[2]);
                    core::array::from_fn(|i| dy[i] * (centre.distance(x[i]) * inverse))
                })
            });
        }
        if pass.trained.block(1) {
            add_column_sums(pass.dy, self.width, d_bias);
        }
        let mut dx = pass.dx;
        for (row, (x, dy)) in pass.x.chunks(self.width).zip(pass.dy.chunks(self.width)).enumerate() {
            let statistics = &pass.saved[STATISTICS * row..][..STATISTICS];
            let (centre, inverse) = (Centre { mean: statistics[0], rest: statistics[1] }, statistics[2]);
            let (mut sum_d, mut sum_du) = (T::zero(), T::zero());
            for (i, (&x, &dy)) in x.iter().zip(dy).enumerate() {
                let unit = centre.distance(x) * inverse;
                let d = gain.get(i).map_or(dy, |&gain| gain * dy);
                sum_d += d;
                sum_du += d * unit;
            }
            if let Some(dx) = dx.as_deref_mut() {
                let (mean_d, mean_du) = (if self.centred { sum_d / n } else { T::zero() }, sum_du / n);
                for (i, (dx, (&x, &dy))) in dx[row * self.width..].iter_mut().zip(x.iter().zip(dy)).enumerate() {
                    let unit = centre.distance(x) * inverse;
                    let d = gain.get(i).map_or(dy, |&gain| gain * dy);
                    *dx = (d - mean_d - unit * mean_du) * inverse;
                }
            }
        }
        if let (Some(dx), true) = (dx, pass.monitor.listens()) {
            pass.monitor.backward(&pass.at.link(Factor::Other, pass.extent), pass.dy, dx);
        }
    }
}

/// The mean of a row in two parts: the mean as rounded, and the mean of what is left. Where it is far larger
/// than the spread, the first alone would be off by a visible share of the spread.
struct Centre<T> {
    mean: T,
    rest: T,
}

impl<T: Scalar> Centre<T> {
    fn zero() -> Self {
        Centre { mean: T::zero(), rest: T::zero() }
    }

    fn of(x: &[T]) -> Self {
        let n = scalar::<T>(x.len() as f64);
        let mean = x.iter().fold(T::zero(), |sum, &x| sum + x) / n;
        Centre { mean, rest: x.iter().fold(T::zero(), |sum, &x| sum + (x - mean)) / n }
    }

    fn distance(&self, x: T) -> T {
        (x - self.mean) - self.rest
    }
}
