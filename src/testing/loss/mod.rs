//! The laws of losses.

mod case;
mod rows;

use case::Case;

use super::{
    Dual, Evidence, Law, Violations,
    law::{Trial, beyond, number, subject},
};
use crate::{
    kernel::reduce::norm,
    loss::Loss,
    scalar::{Scalar, scalar, to_f64},
};
use alloc::{format, string::String, vec, vec::Vec};

/// One loss in the three scalars its laws need. [`loss_laws!`](crate::loss_laws) makes it of one expression.
#[derive(Clone, Copy, Debug)]
pub struct Losses<'a> {
    /// The loss in `f32`.
    pub single: &'a dyn Loss<f32>,
    /// The loss in `f64`.
    pub double: &'a dyn Loss<f64>,
    /// The loss on dual numbers.
    pub dual: &'a dyn Loss<Dual<f64>>,
}

/// A `#[test]` that a loss keeps its laws: [`loss_laws`](crate::testing::loss_laws).
///
/// ```
/// chainrule::loss_laws!(huber, chainrule::loss::Huber::new(0.7).unwrap());
/// ```
#[macro_export]
macro_rules! loss_laws {
    ($(#[$attribute:meta])* $name:ident, $loss:expr $(,)?) => {
        $(#[$attribute])*
        #[test]
        fn $name() {
            let losses = $crate::testing::Losses { single: &$loss, double: &$loss, dual: &$loss };
            $crate::testing::expect_lawful($crate::testing::loss_laws(losses, $crate::testing::seed()));
        }
    };
}

/// The error of a derivative that is allowed, in units of ‖dy‖‖v‖, and of sums taken in another order.
const ALLOWED: [(&str, f64); 2] = [("f64", 1e-11), ("f32", 1e-3)];

/// Rows and width, from the smallest on.
const SIZES: [(usize, usize); 5] = [(1, 1), (1, 3), (2, 2), (4, 3), (7, 5)];

/// Draws that must all fail before a derivative counts as wrong: one may lie at a kink.
const DRAWS: u64 = 3;

/// Tries the laws of a loss, with every kind of target that it takes, at those of the widths 1, 2, 3 and 5 that it
/// takes, with and without row weights.
///
/// * `dy` is the derivative of the value, against dual numbers, and overwrites what was there.
/// * A row of weight zero is not read: it holds NaN, or a class that does not exist. Its gradient is exactly zero.
/// * The losses of parts make that of the whole, by [`reduction`](Loss::reduction) and
///   [`total_weight`](Loss::total_weight). A row of weight 2 is the row twice.
/// * Where [`minimum_at_target`](Loss::minimum_at_target), the loss is least there and its gradient zero.
/// * Large outputs give no NaN, and infinity only where the truth is beyond the format.
/// * Slices that do not fit and labels out of range come back as errors.
///
/// # Errors
/// [`Violations`] with the laws that are broken, each with its smallest example. Here the mean divided the value by the
/// values, and the gradient by the rows:
///
/// ```text
/// PerRow (CHAINRULE_SEED=0)
/// law broken: the derivative is that of the value
///   where     f64, rows: 1, width: 3, values: dy[0]
///   expected  -0.09203822414080301, by dual numbers through the value
///   found     -0.27611467242240906, by dy
///   input     y = [0.0, 0.0, 0.0], targets [0.13805733621120453, 0.3348537087440491, 0.52708899974823]
/// ```
///
/// `found` is three times `expected`, and the width is 3: divide `dy` by the number of values, too.
#[inline]
pub fn loss_laws(losses: Losses<'_>, seed: u64) -> Result<Evidence, Violations> {
    let mut trial = Trial::new(subject(losses.double), seed);
    let mut kinds = 0;
    for classes in [false, true] {
        let takes = |&(rows, width): &(usize, usize)| {
            let case = Case::draw(rows, width, classes, false, seed);
            !matches!(case.of(losses.double, &mut vec![0.0; rows * width]), Ok(Err(_)))
        };
        // A loss may be made for one kind of target, or for one width.
        let sizes: Vec<_> = SIZES.into_iter().filter(takes).collect();
        let Some(&largest) = sizes.last() else { continue };
        kinds += 1;
        let mut suite = Suite { losses, classes, seed, trial: &mut trial };
        for (rows, width) in sizes {
            for weighted in [false, true] {
                suite.derivative(rows, width, weighted);
                suite.one_scalar(losses.single, 1, rows, width, weighted);
                suite.one_scalar(losses.double, 0, rows, width, weighted);
            }
        }
        suite.extremes(losses.single, "f32", largest.1, 100.0, 1e9);
        suite.extremes(losses.double, "f64", largest.1, 800.0, 1e77);
        suite.refuses(largest.1);
    }
    if kinds == 0 {
        trial.breaks(
            Law::Refuses,
            "classes and values, of widths 1, 2, 3 and 5",
            "at least one that it takes",
            "it refuses all",
            "",
        );
    }
    trial.verdict()
}

struct Suite<'a, 't> {
    losses: Losses<'a>,
    classes: bool,
    seed: u64,
    trial: &'t mut Trial,
}

impl Suite<'_, '_> {
    #[inline]
    fn at(&self, scalar: &str, case: &Case) -> String {
        let kind = if self.classes { "classes" } else { "values" };
        format!("{scalar}, rows: {}, width: {}, {kind}", case.rows, case.width)
    }

    #[inline]
    fn draw(&self, rows: usize, width: usize, weighted: bool, stream: u64) -> Case {
        Case::draw(rows, width, self.classes, weighted, self.seed.wrapping_mul(1_000_003).wrapping_add(stream))
    }

    /// A loss and its gradient in `f64`. A panic is noted; an error is not: rows may all be of a class that is ignored.
    fn evaluated<T: Scalar>(
        &mut self,
        loss: &dyn Loss<T>,
        name: &str,
        case: &Case,
        before: f64,
    ) -> Option<(f64, Vec<f64>)> {
        let mut dy = vec![scalar::<T>(before); case.y.len()];
        match case.of(loss, &mut dy) {
            Ok(Ok(value)) => Some((to_f64(value), dy.into_iter().map(to_f64).collect())),
            Ok(Err(_)) => None,
            Err(panic) => {
                self.trial.breaks(Law::StaysInside, self.at(name, case), "a loss", panic, case.described());
                None
            }
        }
    }

    /// ∂L/∂y_i by dual numbers.
    #[inline]
    fn slope(&self, case: &Case, i: usize) -> Option<f64> {
        let y: Vec<Dual<f64>> =
            case.y.iter().enumerate().map(|(j, &y)| Dual::new(y, if i == j { 1.0 } else { 0.0 })).collect();
        let value = case.lifted(self.losses.dual, &y, &mut vec![Dual::constant(0.0); y.len()]).ok()?.ok()?;
        Some(value.tangent)
    }

    /// The element of `dy` that is off by more than is allowed, with what it should be and what it is.
    #[inline]
    fn wrong(&mut self, case: &Case, scalar: usize) -> Option<(usize, f64, f64)> {
        let (_, dy) = match scalar {
            0 => self.evaluated(self.losses.double, "f64", case, 0.0)?,
            _ => self.evaluated(self.losses.single, "f32", case, 0.0)?,
        };
        let (name, allowed) = ALLOWED[scalar];
        let slopes = (0..dy.len()).map(|i| self.slope(case, i)).collect::<Option<Vec<f64>>>()?;
        let size = norm(&slopes).max(norm(&dy)).max(1e-30);
        let mut wrong = None;
        for (i, (&slope, &found)) in slopes.iter().zip(&dy).enumerate() {
            let error = (slope - found).abs() / size;
            if error <= allowed {
                self.trial.measures(Law::Derivative, name, error, allowed);
            } else {
                wrong = wrong.or(Some((i, slope, found)));
            }
        }
        wrong
    }

    #[inline]
    fn derivative(&mut self, rows: usize, width: usize, weighted: bool) {
        for (scalar, (name, _)) in ALLOWED.iter().enumerate() {
            if self.trial.broken(Law::Derivative) {
                return;
            }
            let mut case = self.draw(rows, width, weighted, 1);
            let fails = (0..DRAWS).all(|draw| {
                let case = self.draw(rows, width, weighted, 1 + 100 * draw);
                self.wrong(&case, scalar).is_some()
            });
            if !fails {
                continue;
            }
            for i in 0..case.y.len() {
                let before = core::mem::replace(&mut case.y[i], 0.0);
                if self.wrong(&case, scalar).is_none() {
                    case.y[i] = before;
                }
            }
            if let Some((i, expected, found)) = self.wrong(&case, scalar) {
                let place = format!("{}: dy[{i}]", self.at(name, &case));
                let expected = format!("{}, by dual numbers through the value", number(expected));
                self.trial.breaks(
                    Law::Derivative,
                    place,
                    expected,
                    format!("{}, by dy", number(found)),
                    case.described(),
                );
            }
        }
    }

    fn one_scalar<T: Scalar>(&mut self, loss: &dyn Loss<T>, scalar: usize, rows: usize, width: usize, weighted: bool) {
        let (name, allowed) = ALLOWED[scalar];
        let case = self.draw(rows, width, weighted, 2);
        let Some((value, dy)) = self.evaluated(loss, name, &case, 0.0) else { return };
        for before in [f64::NAN, 7.25] {
            let Some((again, other)) = self.evaluated(loss, name, &case, before) else { return };
            let same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan());
            if let Some(i) = (0..dy.len()).find(|&i| !same(dy[i], other[i])) {
                let place = format!("{}: dy[{i}], where there was {before}", self.at(name, &case));
                self.trial.breaks(Law::Overwrites, place, number(dy[i]), number(other[i]), case.described());
            }
            if !same(value, again) {
                let place = format!("{}, twice", self.at(name, &case));
                self.trial.breaks(Law::Repeatable, place, number(value), number(again), case.described());
            }
        }
        self.masked(loss, name, allowed, &case);
        if rows > 1 {
            self.reduction(loss, name, allowed, &case, value, &dy);
        }
        if loss.minimum_at_target() && !self.classes {
            self.minimum(loss, name, &case);
        }
    }

    fn minimum<T: Scalar>(&mut self, loss: &dyn Loss<T>, name: &str, case: &Case) {
        let at = Case { y: case.values.clone(), ..case.clone() };
        let Some((least, dy)) = self.evaluated(loss, name, &at, 0.0) else { return };
        if let Some(i) = dy.iter().position(|&dy| dy != 0.0) {
            let place = format!("{}, y = target: dy[{i}]", self.at(name, case));
            self.trial.breaks(Law::Minimum, place, "0", number(dy[i]), at.described());
        }
        for i in 0..at.y.len() {
            for by in [-1.0, -0.125, 0.125, 1.0] {
                let mut beside = at.clone();
                beside.y[i] += by;
                let Some((value, _)) = self.evaluated(loss, name, &beside, 0.0) else { return };
                if beyond(least, value) {
                    let place = format!("{}, y[{i}] {by} from its target", self.at(name, case));
                    let expected = format!("at least {}, the loss at the target", number(least));
                    self.trial.breaks(Law::Minimum, place, expected, number(value), beside.described());
                }
            }
        }
    }

    /// Large outputs. `huge` at half of them excuses infinity.
    fn extremes<T: Scalar>(&mut self, loss: &dyn Loss<T>, name: &str, width: usize, size: f64, huge: f64) {
        for pattern in [[1.0, -1.0, 0.0], [1.0, 1.0, 1.0], [-1.0, -1.0, -1.0], [-1.0, 1.0, 1.0]] {
            let mut case = self.draw(1, width, false, 3);
            case.y = pattern.iter().cycle().take(width).map(|sign| sign * size).collect();
            let Some((value, dy)) = self.evaluated(loss, name, &case, 0.0) else { return };
            let half = Case { y: case.y.iter().map(|y| 0.5 * y).collect(), ..case.clone() };
            let Some((half, _)) = self.evaluated(loss, name, &half, 0.0) else { return };
            let values = core::iter::once(value).chain(dy);
            for (i, found) in values.enumerate().filter(|(_, found)| !found.is_finite()) {
                if found.is_nan() || !beyond(half.abs(), huge) {
                    let what = if i == 0 { "the loss".into() } else { format!("dy[{}]", i - 1) };
                    let expected = format!("a finite value, as the loss at half of these outputs is {}", number(half));
                    let place = format!("{}: {what}", self.at(name, &case));
                    self.trial.breaks(Law::Extremes, place, expected, number(found), case.described());
                }
            }
        }
    }

    #[inline]
    fn refuses(&mut self, width: usize) {
        let case = self.draw(2, width, true, 4);
        let whole = case.y.len();
        let mut wrong = Vec::new();
        for (length, rows) in [(whole - 1, 1), (whole + 1, 3)] {
            // Of one value a row, one value more is one row more.
            wrong.push((format!("{length} outputs"), Case { y: vec![0.5; length], ..case.clone() }, length));
            wrong.push((format!("a gradient of {length}"), case.clone(), length));
            wrong.push((format!("{rows} row weights"), Case { weights: Some(vec![1.0; rows]), ..case.clone() }, whole));
            if self.classes {
                wrong.push((format!("{rows} classes"), Case { labels: Some(vec![0; rows]), ..case.clone() }, whole));
            } else {
                wrong.push((format!("{length} targets"), Case { values: vec![0.5; length], ..case.clone() }, whole));
            }
        }
        if self.classes {
            let labels = Some(vec![0, width]);
            wrong.push((format!("class {width} of {width}"), Case { labels, ..case.clone() }, whole));
        }
        for (what, case, length) in wrong {
            let found = match case.of(self.losses.double, &mut vec![0.0; length]) {
                Ok(Err(_)) => continue,
                Ok(Ok(value)) => number(value),
                Err(panic) => panic,
            };
            let place = format!("{}, but {what}", self.at("f64", &case));
            self.trial.breaks(Law::Refuses, place, "an error", found, "");
        }
    }
}
