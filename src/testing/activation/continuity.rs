//! Laws of continuity: jumps of φ, and kinks where φ′ jumps.

use super::{DOUBLE, ROUNDINGS, SINGLE, Suite, meets, truth};
use crate::testing::{
    Law,
    argument::{REACH, between, distance},
    bounds::jumps,
    probe::{Probe, slope, value},
};
use alloc::{format, string::String, vec, vec::Vec};

/// Whether all points are finite, and each is larger than the one before.
#[inline]
fn increasing(points: &[f64]) -> bool {
    points.iter().all(|point| point.is_finite()) && points.windows(2).all(|pair| pair[0] < pair[1])
}

/// Returns ∫ φ′ from `a` to `b`, as a sum of `integral`, a quadrature of φ′ over one interval given by its
/// ends. An interval is halved until its integral differs from the rise of φ over it by at most `allowed`. After 4096
/// intervals no more are halved.
#[inline]
fn in_parts(activation: &dyn Probe, integral: &dyn Fn(f64, f64) -> f64, a: f64, b: f64, allowed: f64) -> f64 {
    const MOST: usize = 4096;
    let (mut open, mut sum, mut seen) = (vec![(a, b)], 0.0, 0);
    while let Some((a, b)) = open.pop() {
        let whole = integral(a, b);
        let error = value::<f64>(activation, b) - value::<f64>(activation, a) - whole;
        let middle = 0.5 * a + 0.5 * b;
        seen += 1;
        if error.abs() <= allowed || middle <= a || middle >= b || seen > MOST {
            sum += whole;
        } else {
            open.extend([(a, middle), (middle, b)]);
        }
    }
    sum
}

/// An interval over which the integral of φ′ is not the rise of φ, though φ has no jump in it.
pub(super) struct Slanted {
    pub a: f64,
    pub b: f64,
    /// The rise of φ over the interval from a to b: φ(b) − φ(a).
    pub rise: f64,
    /// The integral of φ′ over the interval from a to b.
    pub whole: f64,
}

impl Suite<'_, '_> {
    /// Tests φ(b) − φ(a) = ∫ φ′, by quadrature, between neighbouring test arguments a and b within ±10⁴. A
    /// difference that remains between two adjacent floats is a jump of φ, which is a violation unless it is
    /// declared. Other laws treat a jump that was found as declared. Returns an interval in which φ has no jump and
    /// φ′ is wrong.
    #[inline]
    pub(super) fn continuity(&mut self) -> Option<Slanted> {
        let activation = self.activation;
        let integral = |a: f64, b: f64| {
            // The five points of Gauss–Legendre quadrature.
            let nodes = [
                (0.0, 0.568_888_888_888_888_9),
                (0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
                (0.906_179_845_938_664, 0.236_926_885_056_189_08),
            ];
            let (middle, half) = (0.5 * a + 0.5 * b, 0.5 * (b - a));
            let pair = |(x, weight): (f64, f64)| {
                let left = slope::<f64>(activation, middle - half * x);
                if x == 0.0 { weight * left } else { weight * (left + slope::<f64>(activation, middle + half * x)) }
            };
            half * nodes.into_iter().map(pair).sum::<f64>()
        };
        let allowed_at = |suite: &Self, [a, b]: [f64; 2], [from, to]: [f64; 2]| {
            let size = suite.size(a).max(suite.size(b));
            let unit = f64::EPSILON * (from.abs() + to.abs() + size * (1.0 + a.abs().max(b.abs())));
            // Subnormal values have few digits.
            ROUNDINGS * (unit + DOUBLE.least_normal)
        };
        let inside: Vec<f64> = self.points.iter().copied().filter(|z| z.abs() <= REACH).collect();
        let read: Vec<[f64; 2]> = inside.iter().map(|&z| activation.double(z)).collect();
        let (mut wrong, mut found_jumps) = (None, Vec::new());
        for (pair, read) in inside.windows(2).zip(read.windows(2)) {
            let (mut a, mut b) = (pair[0], pair[1]);
            if self.across_jump(a, b, &DOUBLE) {
                continue;
            }
            // Where Simpson's rule is exact to rounding, no more is computed.
            let ([[from, left], [to, right]], middle) =
                ([read[0], read[1]], slope::<f64>(activation, 0.5 * a + 0.5 * b));
            let off = (to - from - (b - a) * (left + 4.0 * middle + right) / 6.0).abs();
            let allowed = allowed_at(self, [a, b], [from, to]);
            if off <= allowed {
                self.trial.measures(Law::Continuity, "f64", off / allowed * ROUNDINGS, ROUNDINGS);
                continue;
            }
            let mut slanted = None;
            loop {
                let ends = [a, b].map(|z| value::<f64>(activation, z));
                let (rise, whole) = (ends[1] - ends[0], integral(a, b));
                let allowed = allowed_at(self, [a, b], ends);
                let error = rise - whole;
                if !rise.is_finite() && self.trial.broken(Law::Extremes) {
                    break;
                }
                if error.is_nan() || error.abs() <= allowed {
                    self.trial.measures(Law::Continuity, "f64", error.abs() / allowed * ROUNDINGS, ROUNDINGS);
                    break;
                }
                let middle = 0.5 * a + 0.5 * b;
                if middle <= a || middle >= b || b - a < 1e-280 {
                    slanted = None;
                    // φ has no jump; φ′ is wrong, or infinite beside a pole.
                    if rise.abs() <= allowed {
                        if whole.is_finite() {
                            wrong = wrong.or(Some(Slanted { a, b, rise, whole }));
                        }
                        break;
                    }
                    found_jumps.push(between(a, b));
                    let (from, to) = (value::<f64>(activation, a), value::<f64>(activation, b));
                    let (expected, found) = (format!("a rise of {whole:?}"), format!("from {from:?} to {to:?}"));
                    let input = format!("z from {a:?} to {b:?}");
                    self.trial.breaks(Law::Continuity, "f64, φ between neighbouring floats", expected, found, input);
                    break;
                }
                let parts = (integral(a, middle), integral(middle, b));
                // The integral has converged, so φ′ is wrong, unless the difference is found to be a jump.
                if slanted.is_none() && (whole - parts.0 - parts.1).abs() <= 0.25 * allowed {
                    slanted = Some((a, b, rise, whole));
                }
                let left = value::<f64>(activation, middle) - value::<f64>(activation, a) - parts.0;
                // A jump lies in one of the halves. If both halves have an error, φ′ is wrong.
                if slanted.is_some() && left.abs().min((error - left).abs()) > 0.25 * error.abs() {
                    break;
                }
                if left.abs() >= (error - left).abs() { b = middle } else { a = middle }
            }
            // Nodes may miss a peak; the integral over smaller intervals finds it.
            let missed = |&(a, b, rise, _): &(f64, f64, f64, f64)| {
                let allowed = allowed_at(self, [a, b], [a, b].map(|z| value::<f64>(activation, z)));
                (rise - in_parts(activation, &integral, a, b, allowed / 64.0)).abs() <= allowed
            };
            if let Some((a, b, rise, whole)) = slanted.filter(|slanted| wrong.is_none() && !missed(slanted)) {
                wrong = Some(Slanted { a, b, rise, whole });
            }
        }
        self.declared_jumps();
        self.jumps.extend(&found_jumps);
        self.breaks.extend(&found_jumps);
        self.jumps.sort_unstable_by(f64::total_cmp);
        self.breaks.sort_unstable_by(f64::total_cmp);
        wrong
    }

    /// Tests that φ jumps at each declared jump, by more than φ′ and rounding can explain.
    #[inline]
    fn declared_jumps(&mut self) {
        let jumps = self.jumps.clone();
        if !increasing(&jumps) {
            let found = format!("{jumps:?}");
            self.trial.breaks(Law::Continuity, "jumps()", "finite numbers in increasing order", found, "");
            return;
        }
        for jump in jumps {
            let near = distance(jump, 8.0, f64::EPSILON);
            let [left, right] = [jump - near, jump + near].map(|z| value::<f64>(self.activation, z));
            let steepest = self.size(jump) * (1.0 + jump.abs());
            let noise = ROUNDINGS * f64::EPSILON * (left.abs() + right.abs() + steepest);
            let rise = (right - left).abs();
            if rise.is_nan() || rise <= noise {
                let found = format!("{left:?} on the left, {right:?} on the right");
                let place = "f64, φ beside a declared jump";
                self.trial.breaks(Law::Continuity, place, "a jump", found, format!("z = {jump:?}"));
            }
        }
    }

    /// Tests that φ′ jumps at the declared kinks and nowhere else. Returns an undeclared jump of φ′, with its
    /// description, at which the derivative of φ by dual numbers does not jump: there φ′ is wrong.
    #[inline]
    pub(super) fn kinks(&mut self) -> Option<(f64, String)> {
        let activation = self.activation;
        let f = |z: f64| slope::<f64>(activation, z);
        let kinks = self.kinks.clone();
        if !increasing(&kinks) {
            self.trial.breaks(Law::Kinks, "kinks()", "finite numbers in increasing order", format!("{kinks:?}"), "");
            return None;
        }
        let (mut undeclared, mut wrong) = (Vec::new(), None);
        for (z, jump) in jumps(&f, &self.points, &self.breaks) {
            let margin = distance(z, 16.0, f64::EPSILON);
            if !meets(&self.breaks, z - margin, z + margin) {
                let found = format!("φ′ jumps by {jump:?} at z = {z:?}");
                let of_value = truth(activation, z + margin).0 - truth(activation, z - margin).0;
                if of_value.abs() < 0.5 * jump.abs() {
                    wrong = wrong.or(Some((z, found)));
                    continue;
                }
                let expected = format!("the kinks {kinks:?} and no others, or {z:?} declared");
                self.trial.breaks(Law::Kinks, "f64, φ′ beside z", expected, found, format!("z = {z:?}"));
                // The declared point is a kink nevertheless: the derivative there is one of two.
                if (f(z + margin) - f(z - margin)).abs() > 0.5 * jump.abs() {
                    undeclared.push(z);
                }
            }
        }
        for kink in self.breaks.clone() {
            let near = distance(kink, 8.0, f64::EPSILON);
            let sides = [f(kink - near), f(kink + near)];
            // Beside a pole, of one side or both, φ′ itself changes from float to float.
            let beside = (f(kink - 2.0 * near) - sides[0]).abs() + (f(kink + 2.0 * near) - sides[1]).abs();
            let pole = sides.iter().any(|&side| self.is_pole(1, side, kink));
            let noise = 4.0 * beside + ROUNDINGS / 4.0 * f64::EPSILON * self.size(kink);
            let input = format!("z = {kink:?}");
            let jump = (sides[1] - sides[0]).abs();
            if !pole
                && (jump.is_nan() || jump <= noise)
                && kinks.binary_search_by(|other| other.total_cmp(&kink)).is_ok()
            {
                let found = format!("{:?} on the left, {:?} on the right", sides[0], sides[1]);
                self.trial.breaks(Law::Kinks, "f64, φ′ beside a declared kink", "a jump", found, input);
                continue;
            }
            for (format, at) in [(DOUBLE, f(kink)), (SINGLE, slope::<f32>(activation, kink))] {
                let allowed = noise + ROUNDINGS * format.epsilon * self.size(kink);
                let fits = pole && at.is_infinite();
                if !fits && !sides.iter().any(|side| (side - at).abs() <= allowed) {
                    let expected = format!("{:?} as on the left, or {:?} as on the right", sides[0], sides[1]);
                    let place = format!("{}, φ′ at a declared kink", format.name);
                    self.trial.breaks(Law::Kinks, place, expected, (format.text)(at), input.clone());
                }
            }
        }
        self.breaks.extend(undeclared);
        self.breaks.sort_unstable_by(f64::total_cmp);
        wrong
    }
}
