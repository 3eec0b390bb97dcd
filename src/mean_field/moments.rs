//! Moments of an activation of normal pre-activations, E φ, E φ², E φ′² and others: the integrals of mean-field
//! theory.

use super::quadrature::{expectation, expectation_of_pair};
use crate::activation::AnyActivation;
use alloc::vec::Vec;

/// The variance that is used in place of smaller ones, such as q = 0. It represents the limit q → 0, where the
/// activation is linear on each side of 0.
const LEAST: f64 = 1e-30;

/// The moments of φ(u) and φ′(u) for an activation φ and u normal with mean 0 and variance q.
#[derive(Clone, Debug)]
pub(crate) struct Moments<'a> {
    activation: &'a dyn AnyActivation,
    /// The pre-activations at which the activation has a kink or a jump. The integrals are split there.
    kinks: Vec<f64>,
    /// The jumps of the activation; `kinks` has their positions too.
    jumps: Vec<Jump>,
}

/// A jump of an activation φ.
#[derive(Clone, Copy, Debug)]
struct Jump {
    /// The pre-activation at which the activation φ jumps.
    at: f64,
    /// The values of the activation just below and just above the jump.
    sides: [f64; 2],
}

impl Jump {
    /// Creates the jump of an activation φ at the pre-activation `at`. Its values are φ at the distance 10⁻¹³
    /// max(1, |at|) on both sides, more than the rounding error of `at`.
    fn new(activation: &dyn AnyActivation, at: f64) -> Self {
        let near = 1e-13 * at.abs().max(1.0);
        Jump { at, sides: [at - near, at + near].map(|z| activation.value_at(z)) }
    }

    /// Returns the density at the jump of a normal u with mean 0 and variance q.
    fn density(&self, q: f64) -> f64 {
        crate::math::FRAC_1_SQRT_2PI * libm::exp(-0.5 * self.at * self.at / q) / libm::sqrt(q)
    }

    /// Returns the height of the jump: the activation just above the jump minus the activation just below it.
    fn rise(&self) -> f64 {
        self.sides[1] - self.sides[0]
    }
}

impl<'a> Moments<'a> {
    pub fn new(activation: &'a dyn AnyActivation) -> Self {
        let jumps: Vec<Jump> = activation.jump_points().into_iter().map(|at| Jump::new(activation, at)).collect();
        let kinks = activation.kink_points().into_iter().chain(jumps.iter().map(|jump| jump.at)).collect();
        Moments { activation, kinks, jumps }
    }

    /// Whether the activation has a jump.
    pub fn jumps(&self) -> bool {
        self.jumps.iter().any(|jump| jump.rise() != 0.0)
    }

    /// Returns `E φ(u)`, φ the activation, u normal with mean 0 and variance q.
    pub fn mean(&self, q: f64) -> f64 {
        if self.activation.odd() { 0.0 } else { expectation(q, &self.kinks, |u, _| [self.activation.value_at(u), 1.0]) }
    }

    /// Returns `E φ(u)²`, φ the activation, u normal with mean 0 and variance q.
    pub fn square(&self, q: f64) -> f64 {
        expectation(q, &self.kinks, |u, _| [self.activation.value_at(u); 2])
    }

    /// Returns `E φ′(u)²`, φ the activation, u normal with mean 0 and variance q; for q = 0 the limit q → 0.
    pub fn derivative_square(&self, q: f64) -> f64 {
        expectation(q.max(LEAST), &self.kinks, |u, _| [self.activation.derivative_at(u); 2])
    }

    /// Returns `E φ′(u)⁴`, φ the activation, u normal with mean 0 and variance q; for q = 0 the limit q → 0.
    pub fn derivative_fourth(&self, q: f64) -> f64 {
        expectation(q.max(LEAST), &self.kinks, |u, _| [libm::pow(self.activation.derivative_at(u), 2.0); 2])
    }

    /// Returns `d/dq E φ(u)² = E φ(u) φ′(u) z / √q`, φ the activation, with u = √q z and z standard normal.
    ///
    /// It equals `E (φ′² + φ φ″)` by Stein's lemma, but needs no φ″, so it is also right if φ′ is
    /// discontinuous. A jump of φ at a adds `Δ(φ²) p(a) a/2q`, with Δ(φ²) the change of φ² at the jump and p
    /// the density of u.
    pub fn square_slope(&self, q: f64) -> f64 {
        let q = q.max(LEAST);
        let root = libm::sqrt(q);
        let between = expectation(q, &self.kinks, |u, z| {
            [self.activation.value_at(u) / root, self.activation.derivative_at(u) * z]
        });
        let of_jump = |jump: &Jump| {
            let [left, right] = jump.sides;
            0.5 * (right * right - left * left) * jump.density(q) * jump.at / q
        };
        between + self.jumps.iter().map(of_jump).sum::<f64>()
    }

    /// Returns `E φ(u₁) φ(u₂)`, φ the activation, for normal u₁, u₂ with mean 0, variance q and correlation c.
    pub fn pair(&self, q: f64, c: f64) -> f64 {
        expectation_of_pair(q.max(LEAST), c, &self.kinks, |u| self.activation.value_at(u))
    }

    /// Returns `E φ′(u₁) φ′(u₂)`, φ the activation, for normal u₁, u₂ with mean 0, variance q and correlation c. It
    /// equals `d/dc E φ(u₁) φ(u₂)` divided by q.
    ///
    /// A jump of φ at a is a delta function of weight Δφ in φ′. Its product with φ′ outside of jumps adds
    /// `2 Δφ p(a) E[φ′(u₂) | u₁ = a]`, p the density of u₁. Each ordered pair of jumps at a and b adds
    /// `Δφ_a Δφ_b p(a, b)`, p the density of u₁ and u₂. At c = 1 the term of a jump with itself, a = b, is
    /// infinite.
    pub fn pair_slope(&self, q: f64, c: f64) -> f64 {
        let q = q.max(LEAST);
        let slope = |u: f64| self.activation.derivative_at(u);
        let between = expectation_of_pair(q, c, &self.kinks, slope);
        // Given u₁ = a, u₂ is normal with mean c a and this variance.
        let rest = q * (1.0 - c) * (1.0 + c);
        let of_jump = |jump: &Jump| {
            let centre = c * jump.at;
            let edges: Vec<f64> = self.kinks.iter().map(|kink| kink - centre).collect();
            let meets = match rest {
                0.0 => slope(centre),
                _ => expectation(rest, &edges, |u, _| [slope(centre + u), 1.0]),
            };
            let jumps = self.jumps.iter().filter(|other| other.rise() != 0.0).map(|other| {
                let away = other.at - centre;
                let density = match rest {
                    0.0 if away == 0.0 => f64::INFINITY,
                    0.0 => 0.0,
                    _ => crate::math::FRAC_1_SQRT_2PI * libm::exp(-0.5 * away * away / rest) / libm::sqrt(rest),
                };
                other.rise() * density
            });
            jump.rise() * jump.density(q) * (2.0 * meets + jumps.sum::<f64>())
        };
        between + self.jumps.iter().filter(|jump| jump.rise() != 0.0).map(of_jump).sum::<f64>()
    }
}
