//! Compares the gradient of a loss with dual numbers.

use super::{ALLOWED, Case, Outputs, Suite, Targets};
use crate::{
    kernel::reduce::norm,
    random::{Normals, generator},
    testing::{
        Dual, Law,
        law::{beyond, number},
    },
};
use alloc::{format, vec, vec::Vec};

/// The number of random cases in which a value must differ before it counts as wrong.
pub(super) const DRAWS: u64 = 3;

/// The number of random changes of the last digits of the outputs. An error is due to rounding, not to a mistake, if
/// such changes alter both the error and the derivative by more than a quarter of the error.
const NUDGES: usize = 4;

/// The standard deviation of a random change of the last digits of an output, in units of the last place.
const NUDGE: f64 = 32.0;

/// The allowed error of a derivative whose terms cancel, in units of ε times the largest row weight times the
/// magnitude of the loss and its derivatives.
pub(super) const ROUNDINGS: f64 = 64.0;

/// The magnitude of a loss or derivative beyond which its terms may overflow `f32`, so that it is not tested.
pub(super) const LARGEST_SINGLE: f64 = 1e30;

/// The distance from 0, in both scalars, at which the derivatives on both sides of a kink are computed.
pub(super) const BESIDE_ZERO: f64 = 1e-30;

impl Suite<'_, '_> {
    /// Returns the loss L as value and ∂L/∂y_i as tangent of a dual number. `None` if the evaluation fails.
    #[inline]
    fn slope(&self, case: &Case, i: usize) -> Option<Dual<f64>> {
        let y: Vec<Dual<f64>> =
            case.y.iter().enumerate().map(|(j, &y)| Dual::new(y, if i == j { 1.0 } else { 0.0 })).collect();
        case.lifted(self.losses.dual, &y, &mut vec![Dual::constant(0.0); y.len()]).ok()?.ok()
    }

    /// Raises `self.unit` to the magnitude of the loss and its derivatives at usual outputs, if it is larger; `size` is
    /// the number of rows and the width.
    #[inline]
    pub(super) fn measure(&mut self, size: [usize; 2]) {
        // The targets of stream 0 are known to be accepted; the loss may refuse those of stream 1.
        for stream in [0, 1] {
            let case = self.draw(size, Outputs::Usual, false, stream);
            let largest = case.y.iter().fold(1.0, |most: f64, y| most.max(y.abs()));
            for i in 0..case.y.len().min(4) {
                if let Some(Dual { value, tangent }) = self.slope(&case, i) {
                    let unit = tangent.abs().max(value.abs() / largest);
                    self.unit = if unit.is_finite() { self.unit.max(unit) } else { self.unit };
                }
            }
        }
    }

    /// Compares `dy` in both scalars with the derivative of the loss, which must be finite at usual outputs. `size` is
    /// the number of rows and the width.
    #[inline]
    pub(super) fn derivative(&mut self, size: [usize; 2], outputs: Outputs, weighted: bool) {
        for (scalar, (name, _)) in ALLOWED.iter().enumerate() {
            if self.trial.broken(Law::Derivative) {
                return;
            }
            let mut case = self.draw(size, outputs, weighted, 1);
            let Some((i, expected, found)) = self.wrong(&case, scalar, outputs) else { continue };
            if self.is_rounding(&case, scalar, i, [expected, found]) {
                continue;
            }
            let zero_is_valid = (self.admit)(0.0) == 0.0;
            for i in (0..case.y.len()).filter(|_| zero_is_valid) {
                let before = core::mem::replace(&mut case.y[i], 0.0);
                if self.wrong(&case, scalar, outputs).is_none() {
                    case.y[i] = before;
                }
            }
            if let Some((i, expected, found)) = self.wrong(&case, scalar, outputs) {
                let place = format!("{}: dy[{i}]", self.at(name, &case));
                let (expected, found) = if expected == 0.0 && self.rises_by(found, &case, i) {
                    let expected = format!("{}, by dual numbers: the value computed in its own scalar", number(found));
                    (expected, "0: the value carries no tangent, as through f64".into())
                } else {
                    let expected = format!("{}, by dual numbers through the value", number(expected));
                    (expected, format!("{}, by dy", number(found)))
                };
                self.trial.breaks(Law::Derivative, place, expected, found, case.described());
            }
        }
    }

    /// Whether the error of element `i` of `dy`, between its expected and its found value, is due to rounding. It is
    /// if changes of the last digits of the outputs alter both the error and the expected value by more than a
    /// quarter of the error. `scalar` is 0 for `f64` and 1 for `f32`.
    #[inline]
    fn is_rounding(&mut self, case: &Case, scalar: usize, i: usize, [expected, found]: [f64; 2]) -> bool {
        let (mut rng, mut normals) = (generator(self.seed), Normals::new());
        let epsilon = [f64::EPSILON, f32::EPSILON.into()][scalar];
        let (off, mut moved) = (expected - found, [0.0; 2]);
        for _ in 0..NUDGES {
            let mut nudged = case.clone();
            for y in &mut nudged.y {
                let moved = *y * (1.0 + NUDGE * epsilon * normals.next(&mut rng));
                // The conversion to a valid output is used only if it moves the output no farther than the random
                // change.
                let valid = (self.admit)(moved);
                let moved = if (valid - moved).abs() <= (moved - *y).abs() { valid } else { moved };
                *y = if scalar == 1 { f64::from(moved as f32) } else { moved };
            }
            let evaluated = match scalar {
                0 => self.evaluated(self.losses.double, ALLOWED[0].0, &nudged, 0.0),
                _ => self.evaluated(self.losses.single, ALLOWED[1].0, &nudged, 0.0),
            };
            let (Some((_, dy)), Some(slope)) = (evaluated, self.slope(&nudged, i)) else { continue };
            let by = [slope.tangent - dy[i] - off, slope.tangent - expected];
            moved.iter_mut().zip(by).for_each(|(most, by)| *most = by.abs().max(*most));
        }
        moved.iter().all(|by| 4.0 * by > off.abs())
    }

    /// Whether the central difference quotient of the loss along output `i` is `slope` within half of `slope`. It is
    /// false for a `slope` of 0.
    #[inline]
    fn rises_by(&mut self, slope: f64, case: &Case, i: usize) -> bool {
        let by = libm::exp2(-20.0);
        let [Some(before), Some(after)] = [-by, by].map(|by| {
            let mut beside = case.clone();
            beside.y[i] += by;
            self.evaluated(self.losses.double, "f64", &beside, 0.0).map(|(value, _)| value)
        }) else {
            return false;
        };
        slope != 0.0 && (after - before - 2.0 * by * slope).abs() <= (by * slope).abs()
    }

    /// Returns the index of the first element of `dy` with too large an error, its expected and its found value. `None`
    /// if there is none, or if the expected value is unknown. `scalar` is 0 for `f64` and 1 for `f32`.
    #[inline]
    fn wrong(&mut self, case: &Case, scalar: usize, outputs: Outputs) -> Option<(usize, f64, f64)> {
        let (name, allowed) = ALLOWED[scalar];
        let epsilon = [f64::EPSILON, f32::EPSILON.into()][scalar];
        let (value, dy) = match scalar {
            0 => self.evaluated(self.losses.double, name, case, 0.0)?,
            _ => self.evaluated(self.losses.single, name, case, 0.0)?,
        };
        if !matches!(outputs, Outputs::Large | Outputs::Mixed) && self.targets != Targets::Large {
            self.finite(name, case, value, &dy);
        }
        let mut slopes = Vec::new();
        for i in 0..dy.len() {
            let Dual { value, tangent } = self.slope(case, i)?;
            slopes.push(tangent);
            let beyond = |x: f64| !x.is_finite() || (scalar == 1 && x.abs() > LARGEST_SINGLE);
            // The expected value overflows the format, or is unknown.
            if beyond(value) || beyond(tangent) {
                return None;
            }
        }
        let least = [f64::MIN_POSITIVE, f32::MIN_POSITIVE.into()][scalar];
        let size = norm(&slopes).max(norm(&dy)).max(f64::MIN_POSITIVE);
        for (i, (&slope, &found)) in slopes.iter().zip(&dy).enumerate() {
            let off = (slope - found).abs();
            // Near 0 a derivative may be as large as the value divided by the output, with rounding errors of that
            // size.
            let y = case.y[i].abs();
            let beside_zero = if y > 0.0 && y < 1.0 { self.unit.max(value.abs()) / y } else { 0.0 };
            let floor = ROUNDINGS * epsilon * self.unit.max(beside_zero) * case.weight() + least;
            if off / size <= allowed {
                self.trial.measures(Law::Derivative, name, off / size, allowed);
            } else if !(off <= floor || self.at_kink(case, i, found, epsilon, allowed * size + floor)) {
                return Some((i, slope, found));
            }
        }
        None
    }

    /// Whether `found` lies between the derivatives on both sides of output `i`, up to `allowed`, as it may at a kink.
    /// `epsilon` is that of the scalar.
    #[inline]
    pub(super) fn at_kink(&self, case: &Case, i: usize, found: f64, epsilon: f64, allowed: f64) -> bool {
        let y = case.y[i];
        let step = if y == 0.0 { BESIDE_ZERO } else { y.abs() * 32.0 * epsilon };
        let mut beside = case.clone();
        let sides = [-step, step].map(|step| {
            beside.y[i] = y + step;
            self.slope(&beside, i).map_or(f64::NAN, |slope| slope.tangent)
        });
        (sides[0].min(sides[1]) - allowed..=sides[0].max(sides[1]) + allowed).contains(&found)
    }

    /// Tests that `value`, the loss of `case`, and `dy`, its gradient, are finite, as they must be for usual outputs.
    /// `name` is that of the scalar.
    #[inline]
    fn finite(&mut self, name: &str, case: &Case, value: f64, dy: &[f64]) {
        let strange = core::iter::once(&value).chain(dy).enumerate().find(|(_, found)| !found.is_finite());
        if let Some((i, &found)) = strange {
            let what = if i == 0 { "the loss".into() } else { format!("dy[{}]", i - 1) };
            let place = format!("{}: {what}", self.at(name, case));
            self.trial.breaks(Law::Extremes, place, "a finite value", number(found), case.described());
        }
    }

    /// Compares the value in `f64` with that on dual numbers, and the value in `f32` with that in `f64`, in cases of
    /// this size: the number of rows and the width. A difference counts if all of [`DRAWS`] cases show it. Values that
    /// may overflow `f32` are not compared.
    #[inline]
    pub(super) fn values(&mut self, size: [usize; 2], outputs: Outputs, weighted: bool) {
        for (scalar, law) in [(0, Law::GenericBody), (1, Law::Precision)] {
            let mut first = None;
            let fails = (0..DRAWS).all(|draw| {
                let case = self.draw(size, outputs, weighted, 1 + 100 * draw);
                let found = self.value_off(&case, scalar);
                let wrong = found.is_some();
                first = first.take().or(found.map(|found| (case, found)));
                wrong
            });
            if let (true, Some((case, [expected, found]))) = (fails, first) {
                let place = format!("{}: the loss", self.at(ALLOWED[scalar].0, &case));
                let other = ["on dual numbers", "in f64"][scalar];
                let expected = format!("{}, as {other}", number(expected));
                self.trial.breaks(law, place, expected, number(found), case.described());
            }
        }
    }

    /// Returns the expected and the found loss of `case`, if they differ by more than rounding. `scalar` is 0 for `f64`
    /// and 1 for `f32`.
    #[inline]
    fn value_off(&mut self, case: &Case, scalar: usize) -> Option<[f64; 2]> {
        let (name, allowed) = ALLOWED[scalar];
        let (double, _) = self.evaluated(self.losses.double, "f64", case, 0.0)?;
        let [expected, found] = match scalar {
            0 => [self.slope(case, 0)?.value, double],
            _ => [double, self.evaluated(self.losses.single, name, case, 0.0)?.0],
        };
        let size = expected.abs() + self.unit * case.weight();
        let comparable = expected.is_finite() && expected.abs() < LARGEST_SINGLE && found.is_finite();
        (comparable && beyond((expected - found).abs(), allowed * size)).then_some([expected, found])
    }
}
