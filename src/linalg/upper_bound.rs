//! Arithmetic of upper bounds, rounded up.

use core::ops::{Add, Mul};
use num_traits::Float;

/// An upper bound on a non-negative number. Every operation rounds up, and NaN becomes ∞.
///
/// Sums, products, quotients and square roots are correctly rounded (IEEE 754), so the next float up is at least the
/// exact result. A product with an exact zero is zero, unless the other factor is ∞.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Upper(f64);

impl Upper {
    pub const ZERO: Upper = Upper(0.0);
    pub const ONE: Upper = Upper(1.0);

    /// The bound `|x|`; ∞ for NaN.
    pub fn of(x: f64) -> Self {
        Upper(if x.is_nan() { f64::INFINITY } else { x.abs() })
    }

    pub const fn get(self) -> f64 {
        self.0
    }

    /// The bound `self / x`; ∞ unless x > 0.
    pub fn over(self, x: f64) -> Self {
        match x > 0.0 {
            false => Upper(f64::INFINITY),
            true if self.0 == 0.0 => self,
            true => Upper((self.0 / x).next_up()),
        }
    }

    pub fn sqrt(self) -> Self {
        if self.0 == 0.0 { self } else { Upper(Float::sqrt(self.0).next_up()) }
    }

    pub fn min(self, other: Self) -> Self {
        Upper(self.0.min(other.0))
    }

    pub fn max(self, other: Self) -> Self {
        Upper(self.0.max(other.0))
    }

    /// The bound `self · 2^power`.
    pub fn scaled(self, power: i32) -> Self {
        // Exact unless the result is subnormal.
        let scaled = libm::ldexp(self.0, power);
        Upper(if scaled < f64::MIN_POSITIVE && self.0 > 0.0 { scaled.next_up() } else { scaled })
    }
}

impl Add for Upper {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        match (self.0, other.0) {
            (0.0, _) => other,
            (_, 0.0) => self,
            (a, b) => Upper((a + b).next_up()),
        }
    }
}

impl Mul for Upper {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        match (self.0, other.0) {
            (f64::INFINITY, _) | (_, f64::INFINITY) => Upper(f64::INFINITY),
            (0.0, _) | (_, 0.0) => Upper::ZERO,
            (1.0, _) => other,
            (_, 1.0) => self,
            (a, b) => Upper((a * b).next_up()),
        }
    }
}
