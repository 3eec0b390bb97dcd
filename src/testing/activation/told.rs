//! Laws of two values that other code computes from an activation φ: φ(z) of the activation as data, and φ″(z) as the
//! tangent of φ′ on dual numbers.

use super::{Suite, meets, truth};
use crate::{
    activation::ActivationKind,
    testing::{
        Law,
        probe::{slope, value},
    },
};
use alloc::format;

/// Every `APART`-th test argument is tried, starting with the first.
const APART: usize = 7;

/// The number of consecutive test arguments at which φ″ must be wrong before a violation is noted.
const ROW: usize = 3;

impl Suite<'_, '_> {
    /// Tests that the activation as data, which saved networks hold, has the values of the activation, to the bit.
    #[inline]
    pub(super) fn as_data(&mut self) {
        let data = self.activation.as_data();
        for &z in self.points.iter().step_by(APART) {
            let (expected, found) = (value::<f64>(self.activation, z), data.as_any().value_at(z));
            if expected.to_bits() != found.to_bits() && !(expected.is_nan() && found.is_nan()) {
                let place = "f64, φ(z) of kind()";
                let expected = format!("{expected:?}, as of the activation");
                return self.trial.breaks(Law::Repeatable, place, expected, format!("{found:?}"), format!("z = {z:?}"));
            }
        }
    }

    /// Tests that the tangent of φ′ on dual numbers, by which curvatures are computed, is the derivative of φ′. It is
    /// compared with difference quotients where these have converged. A custom activation is not tested: it may
    /// compute φ′ in `f64`, and the curvature of a network with it is not computed on dual numbers.
    #[inline]
    pub(super) fn curvatures(&mut self) {
        /// Half the distance between the two arguments of a difference quotient of φ′. The tried arguments z have |z|
        /// in the range `TRIED`.
        const STEP: f64 = 1.0 / 65_536.0;
        const TRIED: [f64; 2] = [0.01, 20.0];
        /// The smallest tested difference quotient of φ′, as a fraction of the largest |φ′|. A smaller one may
        /// consist of rounding errors.
        const LEAST: f64 = 1e-4;
        let is_custom = matches!(self.activation.as_data(), ActivationKind::Custom(_));
        if is_custom || self.trial.excepts(Law::Derivative) || self.trial.broken(Law::Derivative) {
            return;
        }
        let (mut row, mut first) = (0, None);
        for &z in self.points.iter().step_by(APART).filter(|z| (TRIED[0]..=TRIED[1]).contains(&z.abs())) {
            let quotient =
                |by: f64| (slope::<f64>(self.activation, z + by) - slope::<f64>(self.activation, z - by)) / (2.0 * by);
            let [wide, narrow] = [quotient(STEP), quotient(0.5 * STEP)];
            let known = !meets(&self.breaks, z - 4.0 * STEP, z + 4.0 * STEP)
                && (wide - narrow).abs() <= 0.01 * narrow.abs()
                && narrow.abs() >= LEAST * self.size(z);
            let found = truth(self.activation, z).1;
            if known && (found - narrow).abs() > 0.5 * narrow.abs() {
                first = first.or(Some((z, narrow, found)));
                row += 1;
            } else if known {
                (row, first) = (0, None);
            }
            if let (ROW.., Some((z, expected, found))) = (row, first) {
                let place = "dual numbers: the tangent of φ′(z)";
                let expected = format!("{expected:?}, by the difference quotient of φ′");
                return self.trial.breaks(Law::Derivative, place, expected, format!("{found:?}"), format!("z = {z:?}"));
            }
        }
    }
}
