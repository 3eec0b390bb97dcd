//! The laws of activations.
//!
//! For example, a derivative of tanh computed as `1 − y²` has the rounding error of 1. It is 0 for a saturated unit,
//! which then cannot recover:
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
//! To find the fault, evaluate φ and φ′ at the `z` of `input`, in the scalar of `where`, and compare with
//! `expected`. The fix here is to compute φ′ from `z` (as 4e/(1 + e)² with `e = e^(−2|z|)`). The seed reproduces
//! the case.

mod bounds;
mod continuity;
mod derivative;
mod extremes;
mod told;

use super::{
    Evidence, Law, Violations, answers,
    argument::{dense, simplest},
    caught, ignored, judged,
    law::{Trial, beyond, subject},
    probe::Probe,
    search::{Extreme, Search, central, magnitudes},
    steady,
};
use crate::activation::{Activation, AnyActivation};
use alloc::{format, string::String, vec, vec::Vec};

/// The allowed error of φ or φ′, in units of ε times the magnitude of its terms, such as S + |φ′| + |z φ″|
/// for φ′(z). S is the largest |φ′| on the smallest interval that holds −1, 1 and z.
const ROUNDINGS: f64 = 64.0;

/// The allowed excess of a derivative over its bounds, in units of ε times the larger magnitude of the bounds.
const SLACK: f64 = 4.0;

/// The allowed distance of the extremes of a derivative from its bounds, in units of the larger magnitude of the
/// bounds.
const TIGHT: f64 = 1e-6;

/// One of the two number formats in which an activation is tested: its limits, and functions that round to it and write
/// it as text.
struct Format {
    name: &'static str,
    epsilon: f64,
    least_normal: f64,
    max: f64,
    value: fn(f64) -> f64,
    text: fn(f64) -> String,
}

impl Format {
    /// Whether `z + z` overflows. An elementary function may be infinite there although its true value is not.
    fn doubles_overflow(&self, z: f64) -> bool {
        z.abs() > 0.5 * self.max
    }
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

/// The expected and the found value that a law compares at one argument, and their difference (`error`) in the unit in
/// which the law states what is allowed.
struct Reading {
    expected: f64,
    found: f64,
    error: f64,
}

/// Returns φ′(z) and φ″(z) of `activation`, computed by dual numbers, which the laws take as exact. A φ″ that is
/// not finite is replaced by 0.
#[inline]
fn truth(activation: &dyn Probe, z: f64) -> (f64, f64) {
    let (slope, curvature) = activation.dual(z);
    (slope, if curvature.is_finite() { curvature } else { 0.0 })
}

struct Suite<'a, 't> {
    activation: &'a dyn Probe,
    trial: &'t mut Trial,
    /// The test arguments, in increasing order.
    points: Vec<f64>,
    kinks: Vec<f64>,
    jumps: Vec<f64>,
    /// The declared kinks and jumps, and undeclared kinks that a test has found, in increasing order.
    breaks: Vec<f64>,
    /// φ′ (first) and φ″ (second) at each test argument, from dual numbers.
    truths: Vec<(f64, f64)>,
    /// For each test argument z, the largest |φ′| at the test arguments in the smallest interval that holds \[−1, 1\]
    /// and z. Arguments beside a pole of φ′ are left out.
    sizes: Vec<f64>,
}

impl Suite<'_, '_> {
    #[inline]
    fn truth(&self, z: f64) -> (f64, f64) {
        match self.points.binary_search_by(|point| point.total_cmp(&z)) {
            Ok(i) => self.truths[i],
            Err(_) => truth(self.activation, z),
        }
    }

    /// Returns the largest |φ′| at the sampled points from −1 to 1 and on to `z`: the unit of rounding errors.
    #[inline]
    fn size(&self, z: f64) -> f64 {
        let outside = self.points.partition_point(|&point| point < z);
        let i = if z < 0.0 && self.points.get(outside) != Some(&z) { outside.saturating_sub(1) } else { outside };
        self.sizes[i.min(self.sizes.len() - 1)]
    }

    /// Whether `z` is within 8 ε |z| of one of `self.breaks`, the known kinks and jumps, ε being the machine epsilon
    /// of `format`, so that rounding may move it to the other side.
    #[inline]
    fn beside_break(&self, z: f64, format: &Format) -> bool {
        let margin = 8.0 * format.epsilon * z.abs();
        meets(&self.breaks, z - margin, z + margin)
    }

    /// Whether a declared jump of φ lies between `a` and `b`, or within 8 ε max(|a|, |b|) of one, ε being the
    /// machine epsilon of `format`.
    #[inline]
    fn across_jump(&self, a: f64, b: f64, format: &Format) -> bool {
        let margin = 8.0 * format.epsilon * a.abs().max(b.abs());
        meets(&self.jumps, a - margin, b + margin)
    }

    /// Calls `reading` at every test argument that `format` represents, and notes the errors; `None` skips an argument.
    /// The first argument with an error above `allowed` is simplified, and noted as a violation of `law`, with `what`
    /// as the name of the quantity.
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
            // Errors are recorded only as long as the law holds.
            if self.trial.broken(law) {
                return;
            }
            if (format.value)(z) != z {
                continue;
            }
            let Some(read) = reading(self, z) else { continue };
            // Values that are not finite have been tested before, by [`Law::Extremes`].
            let strange =
                |suite: &Self, found: f64| found.is_nan() || (found.is_infinite() && suite.trial.broken(Law::Extremes));
            if strange(self, read.found) {
                continue;
            }
            if !self.trial.measures(law, format.name, read.error, allowed) {
                let again = |z: f64| reading(self, (format.value)(z));
                let fails = |read: Reading| !strange(self, read.found) && beyond(read.error, allowed);
                let z = simplest(z, |z| again(z).is_some_and(fails));
                let z = (format.value)(z);
                let read = reading(self, z).unwrap_or(read);
                self.report(law, format, what, &read, z);
            }
        }
    }

    /// Tests that φ and φ′ have no state. A copy is asked for φ at all test arguments in reverse order, and then for φ′
    /// at all of them, which must give the bits of φ and φ′ read together. Returns whether it does.
    #[inline]
    fn repeats(&mut self) -> bool {
        let first: Vec<[f64; 4]> = self
            .points
            .iter()
            .map(|&z| {
                let ([a, b], [c, d]) = (self.activation.single(z), self.activation.double(z));
                [a, b, c, d]
            })
            .collect();
        let copy = self.activation.copied();
        let mut values: Vec<(f32, f64)> = self.points.iter().rev().map(|&z| copy.values(z)).collect();
        values.reverse();
        for ((&z, &y), first) in self.points.iter().zip(&values).zip(&first) {
            let [single, double] = copy.slopes(z, y);
            let again = [y.0.into(), single, y.1, double];
            let same = |i: &usize| {
                let (a, b) = (first[*i], again[*i]);
                a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
            };
            if let Some(i) = (0..4).find(|i| !same(i)) {
                let what = ["f32, φ(z)", "f32, φ′(z)", "f64, φ(z)", "f64, φ′(z)"][i];
                let place = format!("{what} of a copy: φ of all arguments, and then φ′ of all");
                let [expected, found] = [first[i], again[i]].map(|value| format!("{value:?}"));
                let expected = format!("{expected}, as right after φ(z)");
                self.trial.breaks(Law::Repeatable, place, expected, found, format!("z = {z:?}"));
                return false;
            }
        }
        true
    }

    #[inline]
    fn report(&mut self, law: Law, format: &Format, what: &str, read: &Reading, z: f64) {
        if law == Law::Derivative && read.expected == 0.0 && self.rises_by(read.found, z) {
            return self.no_tangent(read.found, "0.0, though φ changes: computed through f64 there", z);
        }
        let (place, input) = (format!("{}, {what}", format.name), format!("z = {}", (format.text)(z)));
        self.trial.breaks(law, place, (format.text)(read.expected), (format.text)(read.found), input);
    }
}

/// Whether a value of `sorted`, which is in increasing order, lies from `a` to `b`, ends included.
#[inline]
fn meets(sorted: &[f64], a: f64, b: f64) -> bool {
    sorted.get(sorted.partition_point(|&x| x < a)).is_some_and(|&x| x <= b)
}

/// Tests all laws of an activation, in `f32` and `f64`, at some 43,000 arguments that `seed` jitters. They are a
/// grid, with 1,024 arguments per unit up to ±10 and one per unit up to ±10⁴, and numbers of all magnitudes. Every
/// second argument of the grid within ±10, and each one beyond, is exact in `f32`.
///
/// | law | what is asked |
/// | --- | --- |
/// | [`NoPanic`](Law::NoPanic) | no argument makes it panic, infinities and NaN among them |
/// | [`Repeatable`](Law::Repeatable) | a copy that is asked for φ of all arguments, and then for φ′ of all, gives the bits of φ and φ′ together; where not, nothing else is tried. Two calls of `settings` agree, and `kind` has the bits of φ |
/// | [`Derivative`](Law::Derivative) | φ′ is the dual number's tangent to 64 ε (S + \|φ′\| + \|z φ″\|), S being sup \|φ′\| from −1 to 1 and on to `z`, without poles of φ′: what 64 roundings of result and argument do, and what the dual number itself may lose. In `f64` φ(b) − φ(a) = ∫ φ′, too. On dual numbers φ″ of this crate's activations is the derivative of φ′ |
/// | [`Saturation`](Law::Saturation) | beyond ±1, a smooth, normal φ′ below S/1000 is right to a tenth of it |
/// | [`Kinks`](Law::Kinks) | φ′ jumps at each declared kink, and by more than 1e-9 S nowhere else as far as ±10⁴ but at declared jumps; at a kink or a jump it has the value of one of its sides |
/// | [`Continuity`](Law::Continuity) | φ jumps at each declared jump; elsewhere, as far as ±10⁴, it rises by ∫ φ′ between neighbouring floats, to 64 ε (\|φ\| + S (1 + \|z\|)) |
/// | [`BoundsHold`](Law::BoundsHold) | the extremes found by search lie within the bounds and 4 ε sup \|φ′\| |
/// | [`BoundsTight`](Law::BoundsTight) | the extremes of φ′ come within 1e-6 sup \|φ′\| of finite bounds, and φ′ is unbounded where a bound is ∞ |
/// | [`Extremes`](Law::Extremes) | φ and φ′ are not NaN, and infinite only if this is their limit; at ±∞ this is tested where they have a limit |
/// | [`Precision`](Law::Precision) | φ and φ′ in `f32` are those of `f64` at the same argument, to 64 roundings as above |
/// | [`NotANumber`](Law::NotANumber) | φ(NaN) and φ′(NaN) are NaN |
/// | [`Monotone`](Law::Monotone) | where inf φ′ ≥ 0 is declared, φ never falls by more than 4 ε (2 \|φ\| + S) between its jumps |
/// | [`Odd`](Law::Odd) | where [`is_odd`](Activation::is_odd) is declared, φ(−z) has the bits of −φ(z) |
///
/// A law that assumes others is tested only if these hold: if φ′ is wrong, its tails, bounds and `f32` values are
/// not tested. An undeclared jump of φ is not reported as a kink as well. Beyond half the largest number an infinity
/// is allowed if it is the limit at ±∞, since a sum `z + z` overflows there.
///
/// If an activation declares no bounds, none are tested. The printed report states this, and the bounds that were
/// found. [`measure_derivative`](super::measure_derivative) prints the declaration.
///
/// # Errors
/// [`Violations`] with the laws that are broken, each once, at the simplest argument found.
pub fn activation_laws<A: Activation>(activation: &A, seed: u64) -> Result<Evidence, Violations> {
    activation_laws_with(activation, ActivationCases::default(), seed)
}

/// Options of [`activation_laws_with`]: the laws that are not tested. The default tests all laws.
#[derive(Clone, Copy, Debug, Default)]
pub struct ActivationCases<'a> {
    /// The laws that are not tested, such as [`Law::Derivative`] for a surrogate of the derivative of a step
    /// function. The printed report names them.
    pub except: &'a [Law],
}

/// Tests the laws of [`activation_laws`] except those of `cases`, for an activation that deliberately breaks a law.
///
/// # Errors
/// As [`activation_laws`].
pub fn activation_laws_with<A: Activation>(
    activation: &A,
    cases: ActivationCases<'_>,
    seed: u64,
) -> Result<Evidence, Violations> {
    let told = || vec![("settings", activation.saved_settings())];
    judged(Trial::new(subject(activation), seed).except(cases.except), |trial| {
        steady(trial, &told, |trial| tried(activation, seed, trial))
    })
}

#[inline]
fn tried(activation: &dyn Probe, seed: u64, trial: &mut Trial) {
    let questions: [(&str, &dyn Fn()); 4] = [
        ("kinks", &|| ignored(activation.kink_points())),
        ("jumps", &|| ignored(activation.jump_points())),
        ("derivative_bounds", &|| ignored(activation.bounds())),
        ("is_odd", &|| ignored(activation.odd())),
    ];
    if !answers(trial, "", &questions) {
        return;
    }
    let (kinks, jumps) = (activation.kink_points(), activation.jump_points());
    let mut breaks = [kinks.as_slice(), &jumps].concat();
    breaks.sort_unstable_by(f64::total_cmp);
    let points = dense(&breaks, seed);
    let (mut truths, mut at) = (Vec::with_capacity(points.len()), f64::NAN);
    let read = caught(|| {
        for &z in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].iter().chain(&points) {
            at = z;
            let (_, _, truth) = (activation.single(z), activation.double(z), truth(activation, z));
            truths.push(truth);
        }
    });
    if let Err(panic) = read {
        return trial.breaks(Law::NoPanic, "φ(z), φ′(z)", "a number", panic, format!("z = {at:?}"));
    }
    truths.drain(..truths.len() - points.len());
    let slopes: Vec<f64> = truths.iter().map(|truth| truth.0).collect();
    let mut sizes = magnitudes(&|z| truth(activation, z).0, &slopes, &points, &breaks);
    let centre = central(&sizes, &points);
    sizes.iter_mut().for_each(|size| *size = size.max(centre));
    let zero = points.partition_point(|&z| z < 0.0);
    (0..zero.saturating_sub(1)).rev().for_each(|i| sizes[i] = sizes[i].max(sizes[i + 1]));
    (zero + 1..points.len()).for_each(|i| sizes[i] = sizes[i].max(sizes[i - 1]));
    let mut suite = Suite { activation, trial, points, kinks, jumps, breaks, truths, sizes };
    // The tests below assume that φ and φ′ depend on z alone.
    if !suite.repeats() {
        return;
    }
    let declared = activation.bounds();
    let search = Search::new(activation, &suite.points);
    let extremes = [1.0, -1.0].map(|sign| search.supremum(sign));
    if declared.is_none() {
        let [sup, inf] = extremes.map(|Extreme { value, unbounded, .. }| if unbounded { f64::INFINITY } else { value });
        suite.trial.notes(&format!("declares no bounds; φ′ from {:?} to {sup:?} was found", 0.0 - inf));
    }
    suite.not_a_number::<f32>(&SINGLE);
    suite.not_a_number::<f64>(&DOUBLE);
    suite.extremes::<f64>(&DOUBLE);
    suite.extremes::<f32>(&SINGLE);
    // The units of errors in the tests below are computed from tangents of dual numbers.
    if !suite.tangents() {
        return;
    }
    let slanted = suite.continuity();
    let undeclared = suite.kinks();
    suite.values();
    suite.saturation::<f64>(&DOUBLE);
    suite.derivative::<f64>(&DOUBLE);
    // If φ differs between `f32` and `f64`, so does φ′.
    if !suite.trial.broken(Law::Precision) {
        suite.saturation::<f32>(&SINGLE);
        suite.derivative::<f32>(&SINGLE);
    }
    // A φ′ that is wrong elsewhere may be so in its tails, too.
    if suite.trial.broken(Law::Derivative) {
        suite.trial.drops(|law| law == Law::Saturation);
    }
    suite.later(slanted, undeclared);
    // A φ′ that is wrong somewhere may be so in `f32`, and beyond its bounds.
    if !suite.trial.broken(Law::Derivative) && !suite.trial.broken(Law::Saturation) {
        if let Some(bounds) = declared {
            suite.bounds::<f64>(bounds, &DOUBLE, extremes);
            if !suite.trial.broken(Law::Precision) {
                suite.bounds::<f32>(bounds, &SINGLE, extremes);
            }
        }
        suite.slopes();
        if declared.is_some_and(|bounds| bounds.inf >= 0.0) && !suite.trial.broken(Law::BoundsHold) {
            suite.monotone::<f64>(&DOUBLE);
            suite.monotone::<f32>(&SINGLE);
        }
    }
    suite.as_data();
    suite.curvatures();
    if activation.odd() {
        suite.odd::<f64>(&DOUBLE);
        suite.odd::<f32>(&SINGLE);
    }
}

/// Defines a test of the laws of an activation: `activation_laws!(name, activation);`.
///
/// `except:` leaves out laws that an activation deliberately breaks, and the printed report names them:
/// `activation_laws!(spike, Spike, except: [Derivative]);`.
#[macro_export]
macro_rules! activation_laws {
    ($(#[$attribute:meta])* $name:ident, $activation:expr $(, except: [$($law:ident),* $(,)?])? $(,)?) => {
        $(#[$attribute])*
        #[test]
        fn $name() {
            let cases = $crate::testing::ActivationCases { except: &[$($($crate::testing::Law::$law),*)?] };
            let seed = $crate::testing::seed();
            $crate::testing::expect_lawful($crate::testing::activation_laws_with(&$activation, cases, seed))
        }
    };
}
