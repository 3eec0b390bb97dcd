//! Values with more digits than their format. In formats narrower than `f32`, such a value is stored as several
//! numbers of that format: the rounded value, and its rounding errors.

use crate::scalar::{Scalar, is_narrow, scalar, to_f64};

/// The least number of binary digits of a wide value: that of `f32`.
const DIGITS: u32 = 24;

/// Returns the number of values of `T` that hold one wide value: 1, or in formats narrower than `f32` as many as are
/// needed for the digits of `f32`.
///
/// This is 3 in `f16` and in `bf16`.
pub(crate) fn slots<T: Scalar>() -> usize {
    if is_narrow::<T>() { DIGITS.div_ceil(digits::<T>()) as usize } else { 1 }
}

/// Returns the number of binary digits of the significand of `T`.
fn digits<T: Scalar>() -> u32 {
    1 + libm::ilogb(to_f64(T::epsilon())).unsigned_abs()
}

/// A view of a state, such as that of an optimizer, in a format narrower than `f32`: value i of n is `Σ_k 2^(−k d)
/// state[k n + i]`. Term k is the rounding error of the sum of the terms before it, times 2^(k d), with d the number
/// of binary digits of the format's significand.
///
/// The first n are the values rounded to the format. The scale keeps the errors from underflow.
pub(crate) struct Wide<'a, T> {
    state: &'a mut [T],
    values: usize,
    next: f64,
}

impl<'a, T: Scalar> Wide<'a, T> {
    /// Creates a view of `state` as `values` values, each of which takes [`slots`] entries.
    pub(crate) fn new(state: &'a mut [T], values: usize) -> Self {
        Wide { state, values, next: libm::ldexp(1.0, digits::<T>() as i32) }
    }

    pub(crate) fn get(&self, i: usize) -> f64 {
        wide_value(self.state, self.values, i)
    }

    pub(crate) fn set(&mut self, i: usize, value: f64) {
        let mut rest = value;
        for part in self.state.iter_mut().skip(i).step_by(self.values) {
            *part = scalar(rest);
            // A value that is not finite has no rounding error to store.
            rest = if part.is_finite() { (rest - to_f64(*part)) * self.next } else { 0.0 };
        }
    }
}

/// Returns value `i` of the `values` values that `state` holds: see [`Wide`].
pub(crate) fn wide_value<T: Scalar>(state: &[T], values: usize, i: usize) -> f64 {
    let (mut unit, next) = (1.0, libm::ldexp(1.0, digits::<T>() as i32));
    state.iter().skip(i).step_by(values).fold(0.0, |sum, &part| {
        let sum = sum + to_f64(part) * unit;
        unit /= next;
        sum
    })
}

#[cfg(all(test, feature = "half"))]
mod tests {
    use super::*;
    use half::{bf16, f16};

    fn wide_state_keeps_the_digits_of_single<T: Scalar>(values: &[f64]) {
        let mut state = [T::zero(); 6];
        let mut wide = Wide::new(&mut state[..2 * slots::<T>()], 2);
        for &value in values {
            wide.set(1, value);
            let error = (wide.get(1) - value).abs();
            assert!(error <= value.abs() * 2f64.powi(-24), "{value}: off by {error}");
            assert_eq!(wide.get(0), 0.0);
        }
        wide.set(0, f64::INFINITY);
        assert_eq!(wide.get(0), f64::INFINITY);
    }

    #[test]
    fn wide_state_of_narrow_formats_keeps_the_digits_of_single() {
        assert_eq!((slots::<f32>(), slots::<f64>(), slots::<f16>(), slots::<bf16>()), (1, 1, 3, 3));
        wide_state_keeps_the_digits_of_single::<f16>(&[0.1, -1.0 / 3.0, 65503.7, 1e-4, -7.123456e-6]);
        wide_state_keeps_the_digits_of_single::<bf16>(&[0.1, -1.0 / 3.0, 3.3e38, 1e-20, -7.123456e-30]);
    }
}
