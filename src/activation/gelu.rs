//! GELU: the input z times the probability that a standard normal variable is smaller than z.

use super::{Activation, Bounds, own_box, own_kind};
use crate::{
    kernel::fused::{is_fused, is_single},
    math::{self, mul_add, product},
    scalar::{Scalar, scalar, to_f64},
};

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
        math::gelu(z)
    }
    #[inline(always)]
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        math::gelu_slope(z)
    }
    /// The extremes of φ′ are at ±√2, where `φ″(z) = (2 − z²) e^(−z²/2)/√(2π)` vanishes: sup = ½(1 +
    /// erf 1) + 1/(e √π), and inf = 1 − sup.
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(-0.128_904_145_185_154_8, 1.128_904_145_185_154_8))
    }
    own_kind!(Gelu);
    own_box!(Gelu);
}

/// GELU with a tanh in place of Φ: `φ(z) = z σ(v)`, `v = 2 √(2/π) (z + 0.044715 z³)`, where
/// `σ(v) = ½ (1 + tanh(v/2))`.
///
/// Hendrycks & Gimpel, *Gaussian error linear units* (2016).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GeluTanh;

/// The `f64` nearest to `2 √(2/π)`, the factor of z in the argument v of the gate of [`GeluTanh`].
const LINEAR: f64 = 1.595_769_121_605_730_8;
/// The rounding error of [`LINEAR`]: the exact value of `2 √(2/π)` minus the constant.
const LINEAR_LOST: f64 = -9.969_308_809_110_92e-17;
/// The `f64` nearest to `0.044715 · 2 √(2/π)`, the factor of z³ in the argument v of the gate of [`GeluTanh`].
const CUBIC: f64 = 0.071_354_816_272_600_25;
/// The rounding error of [`CUBIC`]: the exact value of `0.044715 · 2 √(2/π)` minus the constant.
const CUBIC_LOST: f64 = -6.175_149_918_155_315e-19;

/// `|z|` is clamped to this limit, beyond which the gate σ(v) of `z σ(v)` is 0 or 1 in any format, so that `z³`
/// cannot overflow.
const SATURATED: f64 = 100.0;

impl GeluTanh {
    /// Returns three numbers: `v = 2 √(2/π) (z + 0.044715 z³)` rounded to `T`, the exact `v` minus the rounded one,
    /// and `z v′`. The difference is computed for `f32`, and for other formats with fused multiply-add; otherwise it
    /// is 0. `|z|` is clamped first, so that nothing overflows.
    ///
    /// `eᵛ` turns an absolute error of `v` into a relative one: at `v = −87` an `f32` loses two decimal digits. For
    /// `f32` `v` is therefore computed in `f64` (a vector conversion, not a call).
    #[inline(always)]
    fn gate<T: Scalar>(z: T) -> (T, T, T) {
        let limit = scalar::<T>(SATURATED);
        let z = if z > limit { limit } else { z };
        let z = if z < -limit { -limit } else { z };
        if is_single::<T>() {
            let z = to_f64(z);
            let cube = CUBIC * z * z * z;
            let exact = LINEAR * z + cube;
            let rounded = scalar::<T>(exact);
            return (rounded, scalar(exact - to_f64(rounded)), scalar(exact + 2.0 * cube));
        }
        let (linear, cubic) = (scalar::<T>(LINEAR), scalar::<T>(CUBIC));
        let (square, square_lost) = product(z, z);
        let (grown, grown_lost) = product(cubic, square);
        let slope = linear + grown;
        let (v, v_lost) = product(z, slope);
        let steep = mul_add(z + z, grown, v);
        if !is_fused::<T>() {
            return (v, T::zero(), steep);
        }
        let back = slope - linear;
        let slope_lost = (linear - (slope - back)) + (grown - back);
        let slope_lost = slope_lost + grown_lost + mul_add(cubic, square_lost, scalar::<T>(CUBIC_LOST) * square);
        (v, mul_add(z, slope_lost + scalar(LINEAR_LOST), v_lost), steep)
    }
}

impl Activation for GeluTanh {
    #[inline(always)]
    fn value<T: Scalar>(&self, z: T) -> T {
        let (v, lost, _) = GeluTanh::gate(z);
        math::gated(z, v, lost)
    }
    #[inline(always)]
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        let (v, lost, steep) = GeluTanh::gate(z);
        math::gated_slope(steep, v, lost)
    }
    /// The extremes of φ′ are where φ″ = 0, at z = ±1.41850400879… (mpmath, 40 digits). Since `φ′(z) +
    /// φ′(−z) = 1`, inf = 1 − sup.
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(-0.128_993_068_658_771_77, 1.128_993_068_658_771_8))
    }
    own_kind!(GeluTanh);
}
