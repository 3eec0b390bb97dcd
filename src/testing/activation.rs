//! The laws of activations.
//!
//! The derivative of tanh written as `1 − y²` is right to rounding, and yet a saturated unit never learns again:
//!
//! ```text
//! TanhFromY (CHAINRULE_SEED=0)
//! law broken: a saturated derivative is small, not zero
//!   where     f64, φ′(z) of a saturated unit
//!   expected  1.6993417021166355e-17
//!   found     0.0
//!   input     z = 20.0
//! ```
//!
//! What to do: evaluate φ and φ′ at the `z` of `input`, in the scalar of `where`, and mend what differs from
//! `expected`; here, compute φ′ from `z` (as 4e/(1 + e)² with `e = e^(−2|z|)`). The seed shows the same case again.

use super::{
    Evidence, Law, Violations,
    argument::{REACH, arguments, distance, simplest},
    bounds::{greatest, jumps, measured, unbounded},
    law::Trial,
    probe::{Precision, Probe, slope, value},
};
use crate::{
    activation::{Activation, Bounds},
    scalar::to_f64,
};
use alloc::{format, string::String, vec::Vec};

/// A derivative may err by 64 roundings of what goes into it.
const ROUNDINGS: f64 = 64.0;
/// How far a derivative may pass its bounds, in roundings of sup |φ′|.
const SLACK: f64 = 4.0;
/// How near to its bounds a derivative must come, in units of sup |φ′|.
const TIGHT: f64 = 1e-6;

/// One of the two formats that an activation is tested in.
struct Format {
    name: &'static str,
    epsilon: f64,
    least_normal: f64,
    max: f64,
    value: fn(f64) -> f64,
    text: fn(f64) -> String,
}

const SINGLE: Format = Format {
    name: "f32",
    epsilon: f32::EPSILON as f64,
    least_normal: f32::MIN_POSITIVE as f64,
    max: f32::MAX as f64,
    value: |z| f64::from(z as f32),
    text: |x| format!("{:?}", x as f32),
};
const DOUBLE: Format = Format {
    name: "f64",
    epsilon: f64::EPSILON,
    least_normal: f64::MIN_POSITIVE,
    max: f64::MAX,
    value: |z| z,
    text: |x| format!("{x:?}"),
};

/// What a law reads at one argument. The error is in the law's unit.
struct Reading {
    expected: f64,
    found: f64,
    error: f64,
}

/// The truth: φ′ and φ″ from dual numbers. What is not finite is nothing they can tell.
#[inline]
fn truth(activation: &dyn Probe, z: f64) -> (f64, f64) {
    let (slope, curvature) = activation.dual(z);
    (slope, if curvature.is_finite() { curvature } else { 0.0 })
}

struct Suite<'a> {
    activation: &'a dyn Probe,
    trial: Trial,
    points: Vec<f64>,
    kinks: Vec<f64>,
    /// φ′ and φ″ at each of the points.
    truths: Vec<(f64, f64)>,
    /// sup |φ′| between 0 (and ±1) and each of the points.
    sizes: Vec<f64>,
}

impl Suite<'_> {
    #[inline]
    fn truth(&self, z: f64) -> (f64, f64) {
        match self.points.binary_search_by(|point| point.total_cmp(&z)) {
            Ok(i) => self.truths[i],
            Err(_) => truth(self.activation, z),
        }
    }

    /// sup |φ′| from −1 to 1 and on to `z`: what rounding is measured by.
    #[inline]
    fn size(&self, z: f64) -> f64 {
        let outside = self.points.partition_point(|&point| point < z);
        let i = if z < 0.0 && self.points.get(outside) != Some(&z) { outside.saturating_sub(1) } else { outside };
        self.sizes[i.min(self.sizes.len() - 1)]
    }

    #[inline]
    fn beside_kink(&self, z: f64, format: &Format) -> bool {
        self.kinks.iter().any(|&kink| (z - kink).abs() <= 8.0 * format.epsilon * kink.abs())
    }

    /// Tries `reading` at every argument; the first that errs by more than `allowed` is made simple and reported.
    #[inline]
    fn everywhere(
        &mut self,
        law: Law,
        format: &Format,
        what: &str,
        allowed: f64,
        reading: impl Fn(&Self, f64) -> Option<Reading>,
    ) {
        for i in 0..self.points.len() {
            let z = self.points[i];
            if (format.value)(z) != z {
                continue;
            }
            let Some(read) = reading(self, z) else { continue };
            if !self.trial.measures(law, format.name, read.error, allowed) && !self.trial.broken(law) {
                let again = |z: f64| reading(self, (format.value)(z));
                let z = simplest(z, |z| again(z).is_some_and(|read| read.error.is_nan() || read.error > allowed));
                let z = (format.value)(z);
                let read = reading(self, z).unwrap_or(read);
                self.report(law, format, what, &read, z);
            }
        }
    }

    #[inline]
    fn report(&mut self, law: Law, format: &Format, what: &str, read: &Reading, z: f64) {
        let place = format!("{}, {what}", format.name);
        let input = format!("z = {}", (format.text)(z));
        self.trial.breaks(law, place, (format.text)(read.expected), (format.text)(read.found), input);
    }

    /// An error of φ′ in roundings of sup |φ′| and of what a rounding of z does; `None` where that overflows.
    #[inline]
    fn roundings(&self, z: f64, format: &Format, error: f64) -> Option<f64> {
        let (tangent, curvature) = self.truth(z);
        let unit = |curvature: f64| {
            format.epsilon * (self.size(z) + tangent.abs() + (z * curvature).abs()) + format.least_normal
        };
        if unit(curvature) > format.max {
            return None;
        }
        let plain = error / unit(curvature);
        if plain <= ROUNDINGS {
            return Some(plain);
        }
        // Far out on a sine, a rounding of z may pass over the whole bend although φ″ is 0 at z itself.
        let near = [-64.0, -37.0, -8.0, 8.0, 37.0, 64.0].map(|steps| z * (1.0 + steps * format.epsilon));
        Some(near.into_iter().map(|z| error / unit(truth(self.activation, z).1)).fold(plain, f64::min))
    }

    fn derivative<T: Precision>(&mut self, format: &Format) {
        let what = "φ′(z) against the dual number's";
        self.everywhere(Law::Derivative, format, what, ROUNDINGS, |suite, z| {
            let tangent = suite.truth(z).0;
            // Where a product with z may underflow, the dual number may take the branch of the other side.
            if z != 0.0 && z.abs() < f64::MIN_POSITIVE / f64::EPSILON {
                return None;
            }
            // Near the end of the range the dual number may overflow first, or the derivative.
            if suite.beside_kink(z, format) || tangent.is_nan() || tangent.abs() > 1e-3 * format.max {
                return None;
            }
            let found = slope::<T>(suite.activation, z);
            let error = suite.roundings(z, format, (found - tangent).abs())?;
            Some(Reading { expected: tangent, found, error })
        });
    }

    /// φ′ is 0, or off by a factor of two in `f32`, where it is small, normal, and varies smoothly.
    fn saturation<T: Precision>(&mut self, format: &Format) {
        self.everywhere(Law::Saturation, format, "φ′(z) of a saturated unit", 0.5, |suite, z| {
            let (expected, curvature) = suite.truth(z);
            // Far out on a sine, roundings of z alone change the size of φ′.
            let decided = ROUNDINGS * format.epsilon * (z * curvature).abs() <= expected.abs();
            let small = 16.0 * format.least_normal..=1e-3 * suite.size(z);
            if !decided || z.abs() < 1.0 || !small.contains(&expected.abs()) || suite.beside_kink(z, format) {
                return None;
            }
            let found = slope::<T>(suite.activation, z);
            let double = slope::<f64>(suite.activation, z);
            let agrees = (double - expected).abs() <= 1e-3 * expected.abs();
            if found != 0.0 && !(agrees && (found / expected - 1.0).abs() > 0.5) {
                return Some(Reading { expected, found, error: 0.0 });
            }
            // A zero crossed or touched is no saturation: near by, φ′ has another size there.
            let smooth = [-3e-3, -2e-3, -1e-3, 1e-3, 2e-3, 3e-3].iter().all(|step| {
                let ratio = truth(suite.activation, z * (1.0 + step)).0 / expected;
                (0.125..=8.0).contains(&ratio)
            });
            smooth.then(|| Reading { expected, found, error: (found / expected - 1.0).abs() })
        });
    }

    #[inline]
    fn precision(&mut self) {
        self.everywhere(Law::Precision, &SINGLE, "φ′(z) against f64", ROUNDINGS, |suite, z| {
            let expected = slope::<f64>(suite.activation, z);
            if suite.beside_kink(z, &SINGLE) || expected.is_nan() || expected.abs() > 1e-3 * SINGLE.max {
                return None;
            }
            let found = slope::<f32>(suite.activation, z);
            let error = suite.roundings(z, &SINGLE, (found - expected).abs())?;
            Some(Reading { expected, found, error })
        });
        self.everywhere(Law::Precision, &SINGLE, "φ(z) against f64", ROUNDINGS, |suite, z| {
            let expected = value::<f64>(suite.activation, z);
            let unit = SINGLE.epsilon * (expected.abs() + suite.size(z) * z.abs().max(1.0));
            if expected.is_nan() || expected.abs() > 1e-3 * SINGLE.max {
                return None;
            }
            let found = value::<f32>(suite.activation, z);
            let error = (found - expected).abs() / (unit + SINGLE.least_normal);
            // ∞/∞ where only the unit overflows.
            Some(Reading { expected, found, error: if found.is_finite() && error.is_nan() { 0.0 } else { error } })
        });
    }

    /// φ(b) − φ(a) = ∫ φ′, interval by interval. What is left when an interval shrinks to two floats is a jump of φ.
    #[inline]
    fn continuity(&mut self) {
        let activation = self.activation;
        let integral = |a: f64, b: f64| {
            // Gauss and Legendre's five points.
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
        let inside: Vec<f64> = self.points.iter().copied().filter(|z| z.abs() <= REACH).collect();
        for pair in inside.windows(2) {
            let (mut a, mut b) = (pair[0], pair[1]);
            let mut slanted = None;
            loop {
                let rise = value::<f64>(activation, b) - value::<f64>(activation, a);
                let whole = integral(a, b);
                let ends = value::<f64>(activation, a).abs() + value::<f64>(activation, b).abs();
                let size = self.size(a).max(self.size(b));
                let allowed = ROUNDINGS * f64::EPSILON * (ends + size * (1.0 + a.abs().max(b.abs())));
                let error = rise - whole;
                if error.is_nan() || error.abs() <= allowed {
                    self.trial.measures(Law::Continuity, "f64", error.abs() / allowed * ROUNDINGS, ROUNDINGS);
                    break;
                }
                let middle = 0.5 * a + 0.5 * b;
                if middle <= a || middle >= b || b - a < 1e-280 {
                    let (from, to) = (value::<f64>(activation, a), value::<f64>(activation, b));
                    let (expected, found) = (format!("a rise of {whole:?}"), format!("from {from:?} to {to:?}"));
                    let input = format!("z from {a:?} to {b:?}");
                    self.trial.breaks(Law::Continuity, "f64, φ between neighbouring floats", expected, found, input);
                    slanted = None;
                    break;
                }
                let parts = (integral(a, middle), integral(middle, b));
                // The integral is right, so φ′ is wrong, unless the rest turns out to be a jump.
                if slanted.is_none() && (whole - parts.0 - parts.1).abs() <= 0.25 * allowed {
                    slanted = Some((a, b, rise, whole));
                }
                let left = value::<f64>(activation, middle) - value::<f64>(activation, a) - parts.0;
                if left.abs() >= (error - left).abs() { b = middle } else { a = middle }
            }
            if let Some((a, b, rise, whole)) = slanted {
                let input = format!("z from {a:?} to {b:?}");
                self.trial.breaks(
                    Law::Derivative,
                    "f64, ∫ φ′ against φ(b) − φ(a)",
                    format!("{rise:?}"),
                    format!("{whole:?}"),
                    input,
                );
            }
        }
    }

    #[inline]
    fn kinks(&mut self) {
        let activation = self.activation;
        let f = |z: f64| slope::<f64>(activation, z);
        let kinks = self.kinks.clone();
        if !(kinks.iter().all(|kink| kink.is_finite()) && kinks.windows(2).all(|pair| pair[0] < pair[1])) {
            self.trial.breaks(Law::Kinks, "kinks()", "finite numbers in increasing order", format!("{kinks:?}"), "");
            return;
        }
        for (z, jump) in jumps(&f, &self.points) {
            if !kinks.iter().any(|&kink| (kink - z).abs() <= distance(kink, 16.0, f64::EPSILON)) {
                let found = format!("φ′ jumps by {jump:?} at z = {z:?}");
                let expected = format!("the kinks {kinks:?} and no others, or {z:?} declared");
                self.trial.breaks(Law::Kinks, "f64, φ′ beside z", expected, found, format!("z = {z:?}"));
            }
        }
        for kink in kinks {
            let near = distance(kink, 8.0, f64::EPSILON);
            let sides = [f(kink - near), f(kink + near)];
            let beside = (f(kink - 2.0 * near) - sides[0]).abs() + (f(kink + 2.0 * near) - sides[1]).abs();
            let noise = 4.0 * beside + ROUNDINGS / 4.0 * f64::EPSILON * self.size(kink);
            let input = format!("z = {kink:?}");
            let jump = (sides[1] - sides[0]).abs();
            if jump.is_nan() || jump <= noise {
                let found = format!("{:?} on the left, {:?} on the right", sides[0], sides[1]);
                self.trial.breaks(Law::Kinks, "f64, φ′ beside a declared kink", "a jump", found, input);
                continue;
            }
            for (format, at) in [(DOUBLE, f(kink)), (SINGLE, slope::<f32>(activation, kink))] {
                let allowed = noise + ROUNDINGS * format.epsilon * self.size(kink);
                if !sides.iter().any(|side| (side - at).abs() <= allowed) {
                    let expected = format!("{:?} as on the left, or {:?} as on the right", sides[0], sides[1]);
                    let place = format!("{}, φ′ at a declared kink", format.name);
                    self.trial.breaks(Law::Kinks, place, expected, (format.text)(at), input.clone());
                }
            }
        }
    }

    fn bounds<T: Precision>(&mut self, bounds: Bounds, format: &Format) {
        let activation = self.activation;
        let inside: Vec<f64> = self.points.iter().copied().filter(|z| z.abs() <= format.max).collect();
        let finite = |x: f64| if x.is_finite() { x.abs() } else { 0.0 };
        let size = finite(bounds.inf).max(finite(bounds.sup));
        for (name, bound, sign) in [("sup", bounds.sup, 1.0), ("inf", bounds.inf, -1.0)] {
            let f = |z: f64| sign * slope::<T>(activation, (format.value)(z));
            let (mut best, mut at) = greatest(&f, &inside);
            for end in [f64::INFINITY, f64::NEG_INFINITY] {
                if f(end) > best {
                    (best, at) = (f(end), end);
                }
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
                if format.name == "f64" && !self.trial.measures(Law::BoundsTight, "f64", short, TIGHT) {
                    let found = format!("{:?}, no nearer", sign * best);
                    self.trial.breaks(
                        Law::BoundsTight,
                        place,
                        format!("{bound:?} approached"),
                        found,
                        format!("z = {at:?}"),
                    );
                }
            } else if format.name == "f64" && !(sign * bound > 0.0 && unbounded(&f, &inside, best)) {
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

    /// Whether φ and φ′ have a limit: far out a sine rises and falls, and so has none.
    fn has_limit<T: Precision>(&self, sign: f64, format: &Format) -> bool {
        let far = (2..26).map(|i| sign * format.max / f64::from(i));
        let settles = |ys: Vec<f64>| {
            let size = ys.iter().fold(0.0, |size: f64, y| size.max(y.abs()));
            let steps = || ys.windows(2).map(|pair| pair[1] - pair[0]);
            !(steps().any(|step| step > 1e-3 * size) && steps().any(|step| step < -1e-3 * size))
        };
        settles(far.clone().map(|z| value::<T>(self.activation, z)).collect())
            && settles(far.map(|z| slope::<T>(self.activation, z)).collect())
    }

    fn extremes<T: Precision>(&mut self, format: &Format) {
        let ends = [f64::NEG_INFINITY, f64::INFINITY]
            .map(|end| (value::<T>(self.activation, end), slope::<T>(self.activation, end)));
        let limits = [-1.0, 1.0].map(|sign| self.has_limit::<T>(sign, format));
        let tiny = to_f64(T::min_positive_value() * T::epsilon());
        let mut points = self.points.clone();
        points.retain(|&z| (format.value)(z) == z);
        points.extend([tiny, -tiny, f64::INFINITY, f64::NEG_INFINITY, format.max, -format.max]);
        for z in points {
            let side = usize::from(z > 0.0);
            let (end, has_limit) = (ends[side], limits[side]);
            if z.is_infinite() && !has_limit {
                continue;
            }
            let read = [value::<T>(self.activation, z), slope::<T>(self.activation, z)];
            let double = [value::<f64>(self.activation, z), slope::<f64>(self.activation, z)];
            for (i, what) in ["φ(z)", "φ′(z)"].into_iter().enumerate() {
                let (found, limit) = (read[i], [end.0, end.1][i]);
                let fits = double[i].abs() <= 1e-3 * format.max && z.is_finite();
                let bad = found.is_nan() || (found.is_infinite() && (fits || (has_limit && found != limit)));
                if bad && !self.trial.broken(Law::Extremes) {
                    let expected = match limit {
                        _ if fits => (format.text)(double[i]),
                        limit if limit.is_nan() => String::from("a number"),
                        limit => format!("{limit:?}, or a finite number"),
                    };
                    let place = format!("{}, {what}", format.name);
                    let z = simplest(z, |z| {
                        let z = (format.value)(z);
                        let again =
                            if i == 0 { value::<T>(self.activation, z) } else { slope::<T>(self.activation, z) };
                        again.is_nan() && found.is_nan()
                    });
                    let input = format!("z = {}", (format.text)(z));
                    self.trial.breaks(Law::Extremes, place, expected, (format.text)(found), input);
                }
            }
        }
    }

    fn not_a_number<T: Precision>(&mut self, format: &Format) {
        for (what, found) in
            [("φ(NaN)", value::<T>(self.activation, f64::NAN)), ("φ′(NaN)", slope::<T>(self.activation, f64::NAN))]
        {
            if !found.is_nan() {
                self.trial.breaks(
                    Law::NotANumber,
                    format!("{}, {what}", format.name),
                    "NaN",
                    (format.text)(found),
                    "z = NaN",
                );
            }
        }
    }

    fn monotone<T: Precision>(&mut self, format: &Format) {
        let points: Vec<f64> = self.points.iter().copied().filter(|&z| (format.value)(z) == z).collect();
        for pair in points.windows(2) {
            let (from, to) = (value::<T>(self.activation, pair[0]), value::<T>(self.activation, pair[1]));
            let lean = self.size(pair[0]).max(self.size(pair[1])) + (pair[0] * self.truth(pair[0]).0).abs();
            let fall = (from - to) / (format.epsilon * (from.abs() + to.abs() + lean) + format.least_normal);
            // ∞ − ∞ is no fall, and NaN is for other laws.
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

    fn odd<T: Precision>(&mut self, format: &Format) {
        self.everywhere(Law::Odd, format, "φ(−z)", 0.0, |suite, z| {
            let (expected, found) = (-value::<T>(suite.activation, z), value::<T>(suite.activation, -z));
            let same = expected.to_bits() == found.to_bits() || (expected.is_nan() && found.is_nan());
            Some(Reading { expected, found, error: if same { 0.0 } else { 1.0 } })
        });
    }
}

/// Tries all laws of an activation, in `f32` and `f64`, at some 2000 arguments that `seed` moves about.
///
/// | law | what is asked |
/// | --- | --- |
/// | [`Derivative`](Law::Derivative) | φ′ is the dual number's tangent to 64 ε (S + \|φ′\| + \|z φ″\|), S being sup \|φ′\| from −1 to 1 and on to `z`: what 64 roundings of result and argument do. In `f64` φ(b) − φ(a) = ∫ φ′, too |
/// | [`Saturation`](Law::Saturation) | beyond ±1, where φ′ is below S/1000, a normal number and smooth, it is not 0, and in `f32` within a half of it |
/// | [`Kinks`](Law::Kinks) | φ′ jumps at each declared kink, and by more than 1e-9 S nowhere else as far as ±10⁴; at a kink it has the value of a side |
/// | [`Continuity`](Law::Continuity) | as far as ±10⁴ φ rises by ∫ φ′ between neighbouring floats, to 64 ε (\|φ\| + S (1 + \|z\|)) |
/// | [`BoundsHold`](Law::BoundsHold) | the extremes found by search lie within the bounds and 4 ε sup \|φ′\| |
/// | [`BoundsTight`](Law::BoundsTight) | they come within 1e-6 sup \|φ′\|; where a bound is infinite, φ′ passes 1e30 or still grows at the end of the range |
/// | [`Extremes`](Law::Extremes) | no NaN, no infinity that is not the limit; at ±∞ where φ and φ′ have a limit |
/// | [`Precision`](Law::Precision) | φ and φ′ in `f32` are those of `f64` at the same argument, to 64 roundings as above |
/// | [`NotANumber`](Law::NotANumber) | φ(NaN) and φ′(NaN) are NaN |
/// | [`Monotone`](Law::Monotone) | where inf φ′ ≥ 0 is declared, φ never falls by more than 4 ε (2 \|φ\| + S) |
/// | [`Odd`](Law::Odd) | where [`is_odd`](Activation::is_odd) is declared, φ(−z) has the bits of −φ(z) |
///
/// An activation that declares no bounds is not held to any: the evidence says so, and what was found.
/// [`measure_derivative`](super::measure_derivative) says what to declare.
///
/// # Errors
/// [`Violations`] with the laws that are broken, each once, at the simplest argument found.
pub fn activation_laws<A: Activation>(activation: &A, seed: u64) -> Result<Evidence, Violations> {
    tried(activation, seed)
}

#[inline]
fn tried(activation: &dyn Probe, seed: u64) -> Result<Evidence, Violations> {
    let kinks = activation.kink_points();
    let points = arguments(&kinks, seed);
    let truths: Vec<(f64, f64)> = points.iter().map(|&z| truth(activation, z)).collect();
    let size = |i: usize| if truths[i].0.is_finite() { truths[i].0.abs() } else { 0.0 };
    let centre = (0..points.len()).filter(|&i| points[i].abs() <= 1.0).map(size).fold(0.0, f64::max);
    let mut sizes: Vec<f64> = (0..points.len()).map(|i| size(i).max(centre)).collect();
    let zero = points.partition_point(|&z| z < 0.0);
    (0..zero.saturating_sub(1)).rev().for_each(|i| sizes[i] = sizes[i].max(sizes[i + 1]));
    (zero + 1..points.len()).for_each(|i| sizes[i] = sizes[i].max(sizes[i - 1]));
    let declared = activation.bounds();
    let mut subject = format!("{activation:?}");
    if declared.is_none() {
        let Bounds { inf, sup } = measured(activation, seed).bounds;
        subject = format!("{subject} (declares no bounds; φ′ from {inf:?} to {sup:?} was found)");
    }
    let mut suite = Suite { activation, trial: Trial::new(subject, seed), points, kinks, truths, sizes };
    suite.not_a_number::<f32>(&SINGLE);
    suite.not_a_number::<f64>(&DOUBLE);
    suite.extremes::<f64>(&DOUBLE);
    suite.extremes::<f32>(&SINGLE);
    suite.derivative::<f64>(&DOUBLE);
    suite.derivative::<f32>(&SINGLE);
    suite.saturation::<f64>(&DOUBLE);
    suite.saturation::<f32>(&SINGLE);
    suite.kinks();
    suite.continuity();
    if let Some(bounds) = declared {
        suite.bounds::<f64>(bounds, &DOUBLE);
        suite.bounds::<f32>(bounds, &SINGLE);
        if bounds.inf >= 0.0 {
            suite.monotone::<f64>(&DOUBLE);
            suite.monotone::<f32>(&SINGLE);
        }
    }
    suite.precision();
    if activation.odd() {
        suite.odd::<f64>(&DOUBLE);
        suite.odd::<f32>(&SINGLE);
    }
    suite.trial.verdict()
}

/// Makes a test of the laws of an activation: `activation_laws!(name, activation);`.
#[macro_export]
macro_rules! activation_laws {
    ($(#[$attribute:meta])* $name:ident, $activation:expr $(,)?) => {
        $(#[$attribute])*
        #[test]
        fn $name() {
            $crate::testing::expect_lawful($crate::testing::activation_laws(&$activation, $crate::testing::seed()))
        }
    };
}
