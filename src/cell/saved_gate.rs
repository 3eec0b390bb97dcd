//! The number that a gate saves for the backward pass, in place of its pre-activation. The gate's value y and
//! derivative follow from it without an exponential, and without the cancellation of `1 − y²` or `y (1 − y)` near
//! saturation.

use crate::{
    activation::{Activation, Sigmoid, Tanh},
    math::{magnitude, mul_add, tanh_complement},
    scalar::{Scalar, scalar},
};

/// Returns `[σ(z), σ(−z)]`, and the number that a sigmoid gate saves for the backward pass: `σ(−|z|)` with the sign
/// of z.
#[inline(always)]
pub(super) fn sigmoid<T: Scalar>(z: T) -> ([T; 2], T) {
    let least = Sigmoid.value(-magnitude(z));
    (both_sides(least, z < T::zero()), least.copysign(z))
}

/// Returns `[σ(z), σ(−z), σ′(z)]`, with `σ′(z) = σ(z) σ(−z)`, from `kept`, the number that a gate saved:
/// `σ(−|z|)` with the sign of z.
#[inline(always)]
pub(super) fn sigmoid_from_saved<T: Scalar>(kept: T) -> [T; 3] {
    let [value, complement] = both_sides(kept.abs(), kept.is_sign_negative());
    [value, complement, value * complement]
}

#[inline(always)]
fn both_sides<T: Scalar>(least: T, negative: bool) -> [T; 2] {
    let most = T::one() - least;
    if negative { [least, most] } else { [most, least] }
}

/// Returns `tanh z`, and the number that a tanh gate saves for the backward pass: `tanh z` if it is within ±½,
/// otherwise `1/(1 − |tanh z|)` with the sign of z, of magnitude at least 2.
#[inline(always)]
pub(super) fn tanh<T: Scalar>(z: T) -> (T, T) {
    let value = Tanh.value(z);
    let far = (T::one() / tanh_complement(z)).copysign(z);
    (value, if magnitude(value) > scalar(0.5) { far } else { value })
}

/// Returns `[tanh z, tanh′ z]`, with `tanh′ z = (1 − |y|) (1 + |y|)` and `y = tanh z`. `kept` is the number that
/// a gate saved: y if it is within ±½, otherwise `1/(1 − |y|)` with the sign of z.
#[inline(always)]
pub(super) fn tanh_from_saved<T: Scalar>(kept: T) -> [T; 2] {
    let complement = T::one() / magnitude(kept);
    let far = [(T::one() - complement).copysign(kept), complement * (scalar::<T>(2.0) - complement)];
    let near = [kept, mul_add(-kept, kept, T::one())];
    if magnitude(kept) > T::one() { far } else { near }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kernel::fused::Fused, scalar::to_f64};

    /// Returns the largest error, in units of the last place, of σ, tanh and their derivatives as [`sigmoid`],
    /// [`tanh`] and the functions that read their saved numbers return them. The reference is [`Sigmoid`] and
    /// [`Tanh`], for z from −402 to 402.
    fn worst<T: Scalar>() -> f64 {
        let mut worst = 0f64;
        for i in -3_000..=3_000i32 {
            // Beyond saturation on both sides, and near 0.
            let z = f64::from(i).powi(3) * 2f64.powi(-26);
            let given = scalar::<T>(z);
            let (([value, other], kept), (tanh_first, tanh_kept)) = (sigmoid(given), tanh(given));
            let [again, complement, slope] = sigmoid_from_saved(kept);
            let [tanh_value, tanh_slope] = tanh_from_saved(tanh_kept);
            let z = to_f64(given);
            let sigmoid = |z: f64| Sigmoid.value(z);
            for (found, expected) in [
                (value, sigmoid(z)),
                (other, sigmoid(-z)),
                (tanh_first, Tanh.value(z)),
                (again, sigmoid(z)),
                (complement, sigmoid(-z)),
                (slope, Sigmoid.derivative(z, sigmoid(z))),
                (tanh_value, Tanh.value(z)),
                (tanh_slope, Tanh.derivative(z, Tanh.value(z))),
            ] {
                // Subnormal numbers have fewer digits, and their inverse overflows.
                let unit = expected.abs().max(to_f64(T::min_positive_value()) * 4.0) * to_f64(T::epsilon());
                let off = (to_f64(found) - expected).abs();
                if expected.abs() >= to_f64(T::min_positive_value()) * 4.0 {
                    worst = worst.max(off / unit);
                } else {
                    assert!(off <= to_f64(T::min_positive_value()) * 4.0, "{found:?} is not {expected} at {z}");
                }
            }
        }
        worst
    }

    #[test]
    fn saved_number_gives_value_and_derivative() {
        let [single, fused] = [worst::<f32>(), worst::<Fused<f32>>()];
        let [double, double_fused] = [worst::<f64>(), worst::<Fused<f64>>()];
        // The activations' own error bounds: 4 units in f32; 2 in f64, plus 2 of the reference.
        let all = [single, fused, double, double_fused];
        assert!(all.iter().all(|&worst| worst <= 4.0), "{all:?}");
    }

    #[test]
    fn saved_number_of_nan_is_nan_and_of_infinity_reaches_the_limit() {
        for sign in [1.0, -1.0] {
            let (gate, candidate) = (sigmoid(sign * f64::INFINITY).1, tanh(sign * f64::INFINITY).1);
            let [value, complement, slope] = sigmoid_from_saved(gate);
            assert_eq!([value, complement, slope], [(1.0 + sign) / 2.0, (1.0 - sign) / 2.0, 0.0]);
            assert_eq!(tanh_from_saved(candidate), [sign, 0.0]);
        }
        let (gate, candidate) = (sigmoid(f64::NAN), tanh(f64::NAN));
        assert!(gate.0.iter().chain(&sigmoid_from_saved(gate.1)).all(|number| number.is_nan()));
        assert!(candidate.0.is_nan() && tanh_from_saved(candidate.1).iter().all(|number| number.is_nan()));
    }
}
