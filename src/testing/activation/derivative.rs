//! Laws of the derivative φ′ of an activation: compared with dual numbers, at saturation, and in single precision.

use super::{Format, ROUNDINGS, Reading, SINGLE, Suite, continuity::Slanted, truth};
use crate::testing::{
    Law,
    argument::simplest,
    probe::{Precision, slope, value},
};
use alloc::{format, string::String};

/// The allowed relative error of a derivative φ′ that is small because the unit is saturated.
const TENTH: f64 = 0.1;

impl Suite<'_, '_> {
    /// Converts `error`, the absolute error of φ′(z), to multiples of the unit `ε (S + |φ′(z)| + |z φ″(z)|)`.
    /// S is the supremum of `|φ′|` over the interval that holds \[−1, 1\] and `z`. If the result exceeds
    /// [`ROUNDINGS`], the largest unit at points near `z` is used instead. `None` if the unit is not finite.
    #[inline]
    pub(super) fn roundings(&self, z: f64, format: &Format, error: f64) -> Option<f64> {
        let (tangent, curvature) = self.truth(z);
        let unit = |curvature: f64| {
            format.epsilon * (self.size(z) + tangent.abs() + (z * curvature).abs()) + format.least_normal
        };
        // The unit may not be finite, whether the dual number is or not.
        if unit(curvature).is_nan() || unit(curvature) > format.max {
            return None;
        }
        let plain = error / unit(curvature);
        if plain <= ROUNDINGS {
            return Some(plain);
        }
        // At a large argument of a sine, a rounding of z may span a whole period, although φ″ is 0 at z.
        let near = [-64.0, -37.0, -8.0, 8.0, 37.0, 64.0].map(|steps| z * (1.0 + steps * format.epsilon));
        Some(near.into_iter().map(|z| error / unit(truth(self.activation, z).1)).fold(plain, f64::min))
    }

    pub(super) fn derivative<T: Precision>(&mut self, format: &Format) {
        let what = "φ′(z) against the dual number's";
        self.everywhere(Law::Derivative, format, what, ROUNDINGS, |suite, z| {
            let tangent = suite.truth(z).0;
            // Where a product with z may underflow, φ of a dual number may take a different branch.
            if z != 0.0 && z.abs() < f64::MIN_POSITIVE / f64::EPSILON {
                return None;
            }
            // Near the end of the range, the dual number or the derivative may overflow.
            if suite.beside_break(z, format) || tangent.is_nan() || tangent.abs() > 1e-3 * format.max {
                return None;
            }
            let [y, found] = T::read(suite.activation, z);
            // Where φ is not finite, φ′ is not tested.
            if !y.is_finite() && suite.trial.broken(Law::Extremes) {
                return None;
            }
            // At a vertical tangent, φ may take a branch whose dual number has a different tangent.
            if found.is_infinite() && suite.is_pole(1, found, z) {
                return None;
            }
            let mut error = suite.roundings(z, format, (found - tangent).abs())?;
            // If terms of the dual number cancel, its tangent is only known to this accuracy.
            if error > ROUNDINGS {
                let told = ((found - tangent).abs() - suite.activation.noise(z)).max(0.0);
                error = suite.roundings(z, format, told)?;
            }
            // A wrong φ′ in a saturated tail is reported as a violation of saturation.
            let saturates = suite.trial.broken(Law::Saturation);
            if error > ROUNDINGS && saturates && suite.tail::<T>(z, format).is_some() {
                return None;
            }
            Some(Reading { expected: tangent, found, error })
        });
    }

    /// Whether φ of a dual number has a tangent other than 0 at some test argument, or φ′ is 0 at all of them. An
    /// activation computed through `f64` loses the tangent, which is noted as a violation.
    #[inline]
    pub(super) fn tangents(&mut self) -> bool {
        let flat = self.truths.iter().all(|truth| truth.0 == 0.0);
        let steep = self.points.iter().copied().find(|&z| {
            let slope = slope::<f64>(self.activation, z);
            slope.is_finite() && slope != 0.0
        });
        let (true, Some(z)) = (flat, steep) else { return true };
        let z = simplest(z, |z| ![0.0, f64::INFINITY].contains(&slope::<f64>(self.activation, z).abs()));
        self.no_tangent(slope::<f64>(self.activation, z), "0.0 at every z, as through f64", z);
        false
    }

    /// Notes a violation: the tangent of φ at `z` is 0 although the derivative is `slope`. `found` describes the
    /// tangent.
    #[inline]
    pub(super) fn no_tangent(&mut self, slope: f64, found: &str, z: f64) {
        let place = "dual numbers: the value carries no tangent";
        let expected = format!("{slope:?}, the derivative: φ computed in its own scalar");
        self.trial.breaks(Law::Derivative, place, expected, found, format!("z = {z:?}"));
    }

    /// Whether the central difference quotient of φ at `z`, over a distance of 2⁻²⁰ |z| to each side, is `slope`
    /// within half of `slope`.
    #[inline]
    pub(super) fn rises_by(&self, slope: f64, z: f64) -> bool {
        let by = libm::exp2(-20.0) * if z == 0.0 { 1.0 } else { z.abs() };
        let [left, right] = [z - by, z + by].map(|z| value::<f64>(self.activation, z));
        let expected = 2.0 * by * slope;
        (right - left - expected).abs() <= 0.5 * expected.abs()
    }

    /// Returns φ′(z), its true value, and the error as a fraction of the true value, where that value is small, a
    /// normal number, and changes slowly. `None` elsewhere.
    #[inline]
    fn tail<T: Precision>(&self, z: f64, format: &Format) -> Option<Reading> {
        let (expected, curvature) = self.truth(z);
        // At a large argument of a sine, rounding errors of z alone change φ′.
        let decided = 10.0 * ROUNDINGS * format.epsilon * (z * curvature).abs() <= expected.abs();
        // A factor of φ′ may underflow before φ′ does.
        let small = 16.0 * format.least_normal * self.size(z).max(1.0)..=1e-3 * self.size(z);
        if !decided || z.abs() < 1.0 || !small.contains(&expected.abs()) || self.beside_break(z, format) {
            return None;
        }
        let found = slope::<T>(self.activation, z);
        let error = (found / expected - 1.0).abs();
        if error <= TENTH || self.activation.noise(z) > 1e-2 * expected.abs() {
            return Some(Reading { expected, found, error: error.min(TENTH) });
        }
        // Near a zero of φ′ the magnitude changes quickly, which is not saturation.
        let smooth = [-3e-3, -2e-3, -1e-3, 1e-3, 2e-3, 3e-3].iter().all(|step| {
            let ratio = truth(self.activation, z * (1.0 + step)).0 / expected;
            (0.125..=8.0).contains(&ratio)
        });
        smooth.then_some(Reading { expected, found, error })
    }

    /// Tests that φ′ is within a tenth of its true value where the true value is small.
    pub(super) fn saturation<T: Precision>(&mut self, format: &Format) {
        // If φ overflows at large arguments, terms of its dual numbers overflow, too.
        if self.trial.broken(Law::Extremes) {
            return;
        }
        self.everywhere(Law::Saturation, format, "φ′(z) of a saturated unit", TENTH, |suite, z| {
            suite.tail::<T>(z, format)
        });
    }

    /// Tests that φ′ in `f32` agrees with φ′ in `f64`, to rounding, at all test arguments.
    #[inline]
    pub(super) fn slopes(&mut self) {
        // If φ overflows at large arguments, the unit of errors overflows, too.
        if self.trial.broken(Law::Extremes) {
            return;
        }
        self.everywhere(Law::Precision, &SINGLE, "φ′(z) against f64", ROUNDINGS, |suite, z| {
            let expected = slope::<f64>(suite.activation, z);
            if suite.beside_break(z, &SINGLE) || expected.is_nan() || expected.abs() > 1e-3 * SINGLE.max {
                return None;
            }
            let found = slope::<f32>(suite.activation, z);
            let error = suite.roundings(z, &SINGLE, (found - expected).abs())?;
            Some(Reading { expected, found, error })
        });
    }

    /// Tests that φ in `f32` agrees with φ in `f64`, to rounding, at all test arguments.
    #[inline]
    pub(super) fn values(&mut self) {
        self.everywhere(Law::Precision, &SINGLE, "φ(z) against f64", ROUNDINGS, |suite, z| {
            let expected = value::<f64>(suite.activation, z);
            let unit = SINGLE.epsilon * (expected.abs() + suite.size(z) * z.abs().max(1.0));
            if suite.across_jump(z, z, &SINGLE) || expected.is_nan() || expected.abs() > 1e-3 * SINGLE.max {
                return None;
            }
            let found = value::<f32>(suite.activation, z);
            if found.is_infinite() && SINGLE.doubles_overflow(z) {
                return None;
            }
            let error = (found - expected).abs() / (unit + SINGLE.least_normal);
            // The error is ∞/∞ if only the unit overflows.
            Some(Reading { expected, found, error: if found.is_finite() && error.is_nan() { 0.0 } else { error } })
        });
    }

    /// Notes a violation for `slanted`, an interval over which the integral of φ′ is not the rise of φ. If there is
    /// none, notes one for `undeclared`, an argument at which φ′ jumps and the derivative of φ by dual numbers does
    /// not, with its description. Does nothing if φ′ was found wrong at a test argument.
    #[inline]
    pub(super) fn later(&mut self, slanted: Option<Slanted>, undeclared: Option<(f64, String)>) {
        if self.trial.broken(Law::Derivative) || self.trial.broken(Law::Saturation) {
            return;
        }
        if let Some(Slanted { a, b, rise, whole }) = slanted {
            let place = "f64, ∫ φ′ against φ(b) − φ(a)";
            let input = format!("z from {a:?} to {b:?}");
            self.trial.breaks(Law::Derivative, place, format!("{rise:?}"), format!("{whole:?}"), input);
        } else if let Some((z, found)) = undeclared {
            let expected = "no jump, as of the dual number's";
            self.trial.breaks(Law::Derivative, "f64, φ′ beside z", expected, found, format!("z = {z:?}"));
        }
    }
}
