//! The input times the probability that a normal variable is smaller.

use super::{Activation, Bounds, own_kind, vanishing};
use crate::{
    math::{self, magnitude},
    scalar::{Scalar, scalar},
};
use castaway::cast;

/// The Gaussian error linear unit: `φ(z) = z Φ(z)`, `φ′(z) = Φ(z) + z e^(−z²/2)/√(2π)`, with Φ the
/// normal distribution function.
///
/// Hendrycks & Gimpel, *Gaussian error linear units* (2016).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Gelu;

impl Activation for Gelu {
    #[inline(always)]
    fn value<T: Scalar>(&self, z: T) -> T {
        vanishing(z, math::normal_cdf(z))
    }
    #[inline(always)]
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        math::normal_cdf(z) + vanishing(z, math::normal_density(z))
    }
    /// `φ″(z) = (2 − z²) e^(−z²/2)/√(2π)` vanishes at ±√2: sup = ½(1 + erf 1) + 1/(e √π), and
    /// inf = 1 − sup.
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(-0.128_904_145_185_154_8, 1.128_904_145_185_154_8))
    }
    own_kind!(Gelu);
}

/// GELU with a tanh in place of Φ: `φ(z) = z σ(v)`, `v = 2 √(2/π) (z + 0.044715 z³)`, where
/// `σ(v) = ½ (1 + tanh(v/2))`.
///
/// Hendrycks & Gimpel, *Gaussian error linear units* (2016).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GeluTanh;

/// `2 √(2/π)`, and 0.044715 times it.
const LINEAR: f64 = 1.595_769_121_605_730_7;
const CUBIC: f64 = 0.071_354_816_272_600_25;

/// `z` and `v` are cut off where the gate is 0 or 1 in any format, so that `z³` cannot overflow.
const SATURATED: f64 = 100.0;

impl GeluTanh {
    /// `v`, as a rounded value and what rounding lost.
    ///
    /// `eᵛ` turns an absolute error of `v` into a relative one: at `v = −87` an `f32` loses two
    /// decimals. So there `v` is computed in `f64` (a vector conversion, not a call).
    #[inline(always)]
    fn gate<T: Scalar>(z: T) -> (T, T) {
        if let Ok(z) = cast!(z, f32) {
            let z = f64::from(z);
            let exact = z * (LINEAR + CUBIC * z * z);
            let rounded = exact as f32;
            let lost = (exact - f64::from(rounded)) as f32;
            return (cast!(rounded, T).unwrap_or_else(|_| T::nan()), cast!(lost, T).unwrap_or_else(|_| T::nan()));
        }
        (z * (scalar::<T>(LINEAR) + scalar::<T>(CUBIC) * z * z), T::zero())
    }

    /// `σ(v)`, `σ′(v)`, and `z` within the cut-off.
    #[inline(always)]
    fn parts<T: Scalar>(z: T) -> (T, T, T) {
        let limit = scalar::<T>(SATURATED);
        let held = if z > limit { limit } else { z };
        let held = if held < -limit { -limit } else { held };
        let (v, lost) = GeluTanh::gate(held);
        let left = v < T::zero();
        let e = math::exp(-magnitude(v));
        let e = e + e * if left { lost } else { -lost };
        let one_plus = T::one() + e;
        ((if left { e } else { T::one() }) / one_plus, e / (one_plus * one_plus), held)
    }
}

impl Activation for GeluTanh {
    #[inline(always)]
    fn value<T: Scalar>(&self, z: T) -> T {
        vanishing(z, GeluTanh::parts(z).0)
    }
    #[inline(always)]
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        let (sigmoid, slope, held) = GeluTanh::parts(z);
        let inner = scalar::<T>(LINEAR) + scalar::<T>(3.0 * CUBIC) * held * held;
        sigmoid + held * slope * inner
    }
    /// Where φ″ = 0, at z = ±1.41850400879…; `φ′(z) + φ′(−z) = 1`, hence inf = 1 − sup
    /// (mpmath, 40 digits).
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(-0.128_993_068_658_771_77, 1.128_993_068_658_771_8))
    }
    own_kind!(GeluTanh);
}
