//! The initializer of matrices with orthogonal rows or columns of equal norm.

use super::{Initializer, InitializerKind, Shape, check_finite};
use crate::random::Normals;
use crate::{
    error::{Error, require},
    size::filled,
};
use alloc::vec::Vec;
use rand_core::Rng;

/// A multiple of a random orthogonal matrix: W Wᵀ = gain² I if rows ≤ columns, Wᵀ W = gain² I if columns ≤
/// rows.
///
/// The distribution is uniform over orthogonal matrices (Haar measure): Q of the Householder QR of a normal matrix,
/// with the signs of the diagonal of R. Mezzadri 2007, "How to generate random matrices from the classical compact
/// groups".
///
/// A square matrix of gain 1 keeps the norm of every vector, so depth alone changes no gradient (Saxe, McClelland and
/// Ganguli 2014). An entry has mean 0 and variance gain²/max(rows, columns).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Orthogonal {
    /// The finite factor of the orthogonal matrix. All singular values are its absolute value.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub gain: f64,
}

impl Orthogonal {
    /// Creates the initializer with the gain `gain`.
    pub const fn new(gain: f64) -> Self {
        Orthogonal { gain }
    }
}

impl Default for Orthogonal {
    /// Returns the initializer with gain 1, which keeps norms.
    fn default() -> Self {
        Orthogonal { gain: 1.0 }
    }
}

impl Initializer for Orthogonal {
    fn fill(&self, shape: Shape, rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        require(self.gain.is_finite(), "orthogonal initializer: gain", "finite", self.gain)?;
        shape.holds(values)?;
        if values.is_empty() {
            return Ok(());
        }
        let (rows, columns) = (shape.rows, shape.columns);
        if rows <= columns {
            orthonormal(columns, rng, values);
        } else {
            let mut transposed = filled("orthogonal initializer: the transposed matrix", values.len(), 0.0)?;
            orthonormal(rows, rng, &mut transposed);
            for (i, row) in values.chunks_exact_mut(columns).enumerate() {
                for (j, value) in row.iter_mut().enumerate() {
                    *value = transposed[j * rows + i];
                }
            }
        }
        values.iter_mut().for_each(|value| *value *= self.gain);
        check_finite("orthogonal initializer", values)
    }

    fn variance(&self, shape: Shape) -> Option<f64> {
        let longest = shape.rows.max(shape.columns);
        let valid = self.gain.is_finite() && shape.rows.min(shape.columns) > 0;
        valid.then(|| self.gain * self.gain / longest as f64)
    }

    /// Returns 0, the mean of an entry: a drawn matrix W is as likely as −W.
    fn mean(&self, shape: Shape) -> Option<f64> {
        self.variance(shape).map(|_| 0.0)
    }

    fn range(&self, shape: Shape) -> Option<[f64; 2]> {
        let most = self.orthogonal_gain(shape)? * (1.0 + 16.0 * f64::EPSILON);
        Some([-most, most])
    }

    fn orthogonal_gain(&self, shape: Shape) -> Option<f64> {
        self.variance(shape).map(|_| libm::fabs(self.gain))
    }

    fn kind(self) -> InitializerKind {
        InitializerKind::Orthogonal(self)
    }
}

/// Fills `vectors` with random orthonormal vectors of `long` values, one after another: at most `long` of them.
fn orthonormal(long: usize, rng: &mut dyn Rng, vectors: &mut [f64]) {
    let short = vectors.len() / long;
    let mut normals = Normals::new();
    vectors.fill_with(|| normals.next(rng));

    // Reflection k is I − τ v vᵀ, with v in the tail [k..] of vector k. It maps that tail to diagonal · e₀.
    let mut reflections: Vec<(f64, f64)> = Vec::with_capacity(short);
    for k in 0..short {
        let (done, rest) = vectors.split_at_mut((k + 1) * long);
        let v = &mut done[k * long + k..];
        let length = libm::sqrt(dot(v, v));
        if length == 0.0 {
            reflections.push((0.0, 1.0));
            continue;
        }
        let diagonal = if v[0] > 0.0 { -length } else { length };
        v[0] -= diagonal;
        let tau = 2.0 / dot(v, v);
        for other in rest.chunks_exact_mut(long) {
            reflect(v, tau, &mut other[k..]);
        }
        reflections.push((tau, if diagonal < 0.0 { -1.0 } else { 1.0 }));
    }

    // Vector k of Q is the product of reflections 0..=k applied to eₖ, with the sign of the diagonal. It is computed
    // from the last to the first, each in place of its v.
    for k in (0..short).rev() {
        let (tau, sign) = reflections[k];
        let (done, rest) = vectors.split_at_mut((k + 1) * long);
        let vector = &mut done[k * long..];
        for other in rest.chunks_exact_mut(long) {
            reflect(&vector[k..], tau, &mut other[k..]);
        }
        let first = vector[k];
        for value in &mut vector[k..] {
            *value *= -tau * first * sign;
        }
        vector[k] += sign;
        vector[..k].fill(0.0);
    }
}

/// Computes `y ← y − τ v (vᵀ y)` in place: a Householder reflection of `y`, with `tau` as τ.
fn reflect(v: &[f64], tau: f64, y: &mut [f64]) {
    let along = tau * dot(v, y);
    for (y, v) in y.iter_mut().zip(v) {
        *y -= along * v;
    }
}

/// Returns the inner product of `a` and `b`, by eight interleaved sums, in an order that does not depend on the
/// machine.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a_blocks, b_blocks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a_blocks.remainder().iter().zip(b_blocks.remainder()).fold(0.0, |sum, (a, b)| sum + a * b);
    for (a, b) in a_blocks.zip(b_blocks) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7])) + rest
}
