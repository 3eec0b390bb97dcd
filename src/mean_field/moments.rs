//! Moments of an activation of normal pre-activations, E φ, E φ², E φ′² and others: the integrals of mean-field
//! theory.

use super::quadrature::{expectation, expectation_of_pair};
use crate::activation::AnyActivation;
use alloc::vec::Vec;

/// The smallest variance used for the limit q → 0, where φ is linear on each side of 0.
const LEAST: f64 = 1e-30;

/// The moments of φ(u) and φ′(u) for u normal with mean 0 and variance q.
#[derive(Clone, Debug)]
pub(crate) struct Moments<'a> {
    activation: &'a dyn AnyActivation,
    kinks: Vec<f64>,
}

impl<'a> Moments<'a> {
    pub fn new(activation: &'a dyn AnyActivation) -> Self {
        Moments { activation, kinks: activation.kink_points() }
    }

    /// `E φ`.
    pub fn mean(&self, q: f64) -> f64 {
        if self.activation.odd() { 0.0 } else { expectation(q, &self.kinks, |u, _| [self.activation.value_at(u), 1.0]) }
    }

    /// `E φ²`.
    pub fn square(&self, q: f64) -> f64 {
        expectation(q, &self.kinks, |u, _| [self.activation.value_at(u); 2])
    }

    /// `E φ′²`; for q = 0 the limit q → 0.
    pub fn derivative_square(&self, q: f64) -> f64 {
        expectation(q.max(LEAST), &self.kinks, |u, _| [self.activation.derivative_at(u); 2])
    }

    /// `E φ′⁴`; for q = 0 the limit q → 0.
    pub fn derivative_fourth(&self, q: f64) -> f64 {
        expectation(q.max(LEAST), &self.kinks, |u, _| [libm::pow(self.activation.derivative_at(u), 2.0); 2])
    }

    /// `d/dq E φ² = E φ(u) φ′(u) z / √q`, with u = √q z.
    ///
    /// It equals `E (φ′² + φ φ″)` by Stein's lemma, but needs no φ″, so it is also right if φ′ is
    /// discontinuous.
    pub fn square_slope(&self, q: f64) -> f64 {
        let q = q.max(LEAST);
        let root = libm::sqrt(q);
        expectation(q, &self.kinks, |u, z| [self.activation.value_at(u) / root, self.activation.derivative_at(u) * z])
    }

    /// `E φ(u₁) φ(u₂)` for u₁, u₂ with variance q and correlation c.
    pub fn pair(&self, q: f64, c: f64) -> f64 {
        expectation_of_pair(q.max(LEAST), c, &self.kinks, |u| self.activation.value_at(u))
    }

    /// `E φ′(u₁) φ′(u₂)` for u₁, u₂ with variance q and correlation c.
    pub fn derivative_pair(&self, q: f64, c: f64) -> f64 {
        expectation_of_pair(q.max(LEAST), c, &self.kinks, |u| self.activation.derivative_at(u))
    }
}
