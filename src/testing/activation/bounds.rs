//! Laws of activations that declare bounds on φ′, of those that never fall, and of odd ones.

use super::{DOUBLE, Format, Reading, SLACK, Suite, TIGHT};
use crate::{
    activation::Bounds,
    testing::{
        Law,
        argument::simplest,
        bounds::greatest,
        probe::{Precision, slope, value},
        search::Extreme,
    },
};
use alloc::{format, vec::Vec};

impl Suite<'_, '_> {
    /// Tests in `T` that φ′ stays within `bounds` at all test arguments and at `extremes`: the maxima of φ′
    /// (first) and of −φ′ (second) that a search in `f64` found. In `f64` it also tests that φ′ approaches the
    /// bounds.
    #[inline]
    pub(super) fn bounds<T: Precision>(&mut self, bounds: Bounds, format: &Format, extremes: [Extreme; 2]) {
        let activation = self.activation;
        let inside: Vec<f64> = self.points.iter().copied().filter(|z| z.abs() <= format.max).collect();
        let double = format.name == DOUBLE.name;
        let finite = |x: f64| if x.is_finite() { x.abs() } else { 0.0 };
        let size = finite(bounds.inf).max(finite(bounds.sup));
        let sides = [("sup", bounds.sup, 1.0), ("inf", bounds.inf, -1.0)];
        for ((name, bound, sign), extreme) in sides.into_iter().zip(extremes) {
            let f = |z: f64| sign * slope::<T>(activation, (format.value)(z));
            let Extreme { at: peak, unbounded, value } = extreme;
            let (mut best, mut at) = if double { (value, peak) } else { greatest(&f, &inside) };
            if f(peak) > best {
                (best, at) = (f(peak), peak);
            }
            for end in [f64::INFINITY, f64::NEG_INFINITY] {
                if f(end) > best {
                    (best, at) = (f(end), end);
                }
            }
            // An infinite φ′ was reported before as a wrong derivative.
            if best.is_infinite() && self.trial.broken(Law::Extremes) {
                continue;
            }
            let place = format!("{}, {name} φ′", format.name);
            let beyond = (best - sign * bound) / (format.epsilon * size + format.least_normal);
            let over = |z: f64| f(z) > sign * bound + SLACK * format.epsilon * size;
            if bound.is_nan() || over(at) {
                let z = (format.value)(simplest(at, over));
                let (found, input) = ((format.text)(sign * f(z)), format!("z = {}", (format.text)(z)));
                let side = if sign > 0.0 { "at most" } else { "at least" };
                self.trial.breaks(Law::BoundsHold, place.clone(), format!("{side} {bound:?}"), found, input);
            }
            if !bound.is_infinite() {
                self.trial.measures(Law::BoundsHold, format.name, beyond.max(0.0), SLACK);
                let short = (sign * bound - best).max(0.0) / (size + f64::MIN_POSITIVE);
                if double && !self.trial.measures(Law::BoundsTight, "f64", short, TIGHT) {
                    let found = format!("{:?}, no nearer", sign * best);
                    self.trial.breaks(
                        Law::BoundsTight,
                        place,
                        format!("{bound:?} approached"),
                        found,
                        format!("z = {at:?}"),
                    );
                }
            } else if double && !(sign * bound > 0.0 && unbounded) {
                let expected = format!("{bound:?}: φ′ beyond any number");
                self.trial.breaks(
                    Law::BoundsTight,
                    place,
                    expected,
                    format!("{:?} at most", sign * best),
                    format!("z = {at:?}"),
                );
            }
        }
    }

    pub(super) fn monotone<T: Precision>(&mut self, format: &Format) {
        let points: Vec<f64> = self.points.iter().copied().filter(|&z| (format.value)(z) == z).collect();
        for pair in points.windows(2) {
            if self.across_jump(pair[0], pair[1], format) {
                continue;
            }
            let (from, to) = (value::<T>(self.activation, pair[0]), value::<T>(self.activation, pair[1]));
            let lean = self.size(pair[0]).max(self.size(pair[1])) + (pair[0] * self.truth(pair[0]).0).abs();
            let fall = (from - to) / (format.epsilon * (from.abs() + to.abs() + lean) + format.least_normal);
            // ∞ − ∞ does not count as a fall, and other laws test for NaN.
            if !fall.is_nan() && !self.trial.measures(Law::Monotone, format.name, fall.max(0.0), SLACK) {
                let input = format!("z from {} to {}", (format.text)(pair[0]), (format.text)(pair[1]));
                let found = format!("{} after it", (format.text)(to));
                self.trial.breaks(
                    Law::Monotone,
                    format!("{}, φ(z)", format.name),
                    format!("{} or more", (format.text)(from)),
                    found,
                    input,
                );
            }
        }
    }

    pub(super) fn odd<T: Precision>(&mut self, format: &Format) {
        self.everywhere(Law::Odd, format, "φ(−z)", 0.0, |suite, z| {
            let (expected, found) = (-value::<T>(suite.activation, z), value::<T>(suite.activation, -z));
            let same = expected.to_bits() == found.to_bits() || (expected.is_nan() && found.is_nan());
            Some(Reading { expected, found, error: if same { 0.0 } else { 1.0 } })
        });
    }
}
