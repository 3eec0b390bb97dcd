//! Tanh shrinkage: the difference of the argument and its tanh.

use super::{Activation, Bounds, own_kind};
use crate::{
    math::{self, magnitude, mul_add},
    scalar::{Scalar, scalar},
};

/// Tanh shrinkage: `φ(z) = z − tanh z`, `φ′(z) = tanh² z`.
///
/// Near 0, where φ is about z³/3, the difference would cancel, so another formula is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TanhShrink;

/// Returns `z − tanh z` for `|z| ≤ 1`, with an error of at most 2e-19: `z t/(3 + t + t R(t))` with t = z². Here R
/// = 1/(5 + t/(7 + …)) comes from Lambert's continued fraction `tanh z = z/(1 + t/(3 + t R(t)))`. It is cut off after
/// the term 19 and computed as one fraction.
#[inline(always)]
fn near_zero<T: Scalar>(z: T) -> T {
    let t = z * z;
    let polynomial = |coefficients: &[f64]| {
        coefficients.iter().fold(T::zero(), |sum, &coefficient| mul_add(sum, t, scalar(coefficient / 218_243_025.0)))
    };
    let above = polynomial(&[52.0, 21_450.0, 1_969_110.0, 43_648_605.0]);
    let below = polynomial(&[1.0, 1_430.0, 289_575.0, 16_081_065.0, 218_243_025.0]);
    z * t / (scalar::<T>(3.0) + mul_add(t, above / below, t))
}

impl Activation for TanhShrink {
    /// For `|z| ≥ 1`, `|φ(z)| = (|z| − 1) + 2 σ(−2|z|)`, with σ the sigmoid; otherwise a continued fraction.
    #[inline(always)]
    fn value<T: Scalar>(&self, z: T) -> T {
        let size = magnitude(z);
        let beyond = (size - T::one()) + scalar::<T>(2.0) * math::sigmoid(-(size + size));
        let beyond = if z < T::zero() { -beyond } else { beyond };
        if size < T::one() { near_zero(z) } else { beyond }
    }
    #[inline(always)]
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        let tanh = math::tanh(z);
        tanh * tanh
    }
    /// The infimum of φ′ is 0, at 0; the supremum 1 is the limit at ±∞.
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, 1.0))
    }
    fn is_odd(&self) -> bool {
        true
    }
    own_kind!(TanhShrink);
}
