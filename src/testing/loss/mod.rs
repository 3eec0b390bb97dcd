//! The laws of losses.

mod accepts;
mod case;
mod continuity;
mod derivative;
mod minimum;
mod refuses;
mod repeat;
mod rows;

use case::{Case, Outputs, Targets};
use derivative::{BESIDE_ZERO, DRAWS, LARGEST_SINGLE, ROUNDINGS};
use repeat::{Call, repeat};

use super::{
    Dual, Evidence, Law, Violations, answers, caught, ignored, judged,
    law::{Trial, number, subject},
};
use crate::{
    loss::Loss,
    scalar::{Scalar, scalar, to_f64},
};
use alloc::{format, string::String, vec, vec::Vec};
use core::{convert::identity, fmt::Debug};

/// One loss in the three scalars that its laws need. [`loss_laws!`](crate::loss_laws) creates it from one expression.
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
/// `outputs:` and `except:`, in this order, are the fields of [`LossCases`](crate::testing::LossCases): a conversion of
/// numbers to valid outputs, such as probabilities, and laws that are not tested.
///
/// ```
/// use chainrule::loss::{Huber, MeanSquaredError};
/// chainrule::loss_laws!(huber, Huber::new(0.7).unwrap());
/// chainrule::loss_laws!(of_probabilities, MeanSquaredError::new(), outputs: |y: f64| 1.0 / (1.0 + (-y).exp()));
/// ```
#[macro_export]
macro_rules! loss_laws {
    ($(#[$attribute:meta])* $name:ident, $loss:expr $(, outputs: $outputs:expr)?
        $(, except: [$($law:ident),* $(,)?])? $(,)?) => {
        $(#[$attribute])*
        #[test]
        fn $name() {
            let losses = $crate::testing::Losses { single: &$loss, double: &$loss, dual: &$loss };
            let outputs: &dyn Fn(f64) -> f64 = &::core::convert::identity;
            $(let outputs: &dyn Fn(f64) -> f64 = &$outputs;)?
            let cases = $crate::testing::LossCases { outputs, except: &[$($($crate::testing::Law::$law),*)?] };
            $crate::testing::expect_lawful($crate::testing::loss_laws_with(losses, cases, $crate::testing::seed()));
        }
    };
}

/// Options of [`loss_laws_with`]. The default accepts all numbers as outputs, and tests all laws.
#[derive(Clone, Copy)]
pub struct LossCases<'a> {
    /// Converts a number to a valid output, such as a probability.
    pub outputs: &'a dyn Fn(f64) -> f64,
    /// The laws that are not tested. The printed report names them.
    pub except: &'a [Law],
}

impl Default for LossCases<'_> {
    fn default() -> Self {
        LossCases { outputs: &identity, except: &[] }
    }
}

impl Debug for LossCases<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("LossCases").field("except", &self.except).finish_non_exhaustive()
    }
}

/// The names of the scalars, each with the allowed error. For a derivative, the unit of the error is the norm of the
/// whole gradient `dy`. For a loss, it is the magnitude of this loss plus that of a usual one.
const ALLOWED: [(&str, f64); 2] = [("f64", 1e-11), ("f32", 1e-3)];

/// The numbers of rows and widths, as pairs, at which a loss is tested, in about increasing order.
const SIZES: [[usize; 2]; 14] = [
    [1, 1],
    [1, 3],
    [2, 2],
    [4, 3],
    [3, 4],
    [7, 5],
    [3, 8],
    [2, 10],
    [2, 16],
    [2, 17],
    [32, 2],
    [33, 2],
    [2, 32],
    [2, 33],
];
/// The largest width that is tried for a loss that takes none of [`SIZES`]. Each width is tried with each number of
/// `ROWS`.
const WIDEST: usize = 33;
const ROWS: [usize; 3] = [1, 3, 7];

/// Tests the laws of a loss with every kind of target that it accepts: classes, probabilities, signed numbers, ±1, 0
/// and 1, one 1 in a row, counts, large numbers and zeros. Sizes are up to 33 rows and 33 columns, and 130 rows and
/// 129 columns in random directions, with and without row weights. Outputs are normal numbers, 30 times such
/// numbers, such numbers of all magnitudes from 0.01 to 10⁴, and zeros.
///
/// * `dy` is the derivative of the value, compared with dual numbers, and overwrites the former content. At a kink it
///   lies between the derivatives on both sides. On dual numbers `dy` has its own derivative as tangent: products
///   with a Hessian are computed from it. This is tested at one size, if all numbers are valid outputs.
/// * The value has no jump: along segments it rises by the integral of the gradient.
/// * The value in `f32` is that in `f64`, and that on dual numbers, to rounding.
/// * The same call gives the same bits, also after other calls. If it does not, no other law is tested.
/// * A row of weight zero is not read: it holds NaN, or a class that does not exist. Its gradient is exactly zero.
/// * The losses of two parts of a batch combine to the loss of the batch, by [`reduction`](Loss::reduction) and
///   [`total_weight`](Loss::total_weight). A row of weight 2 counts as two equal rows.
/// * If [`minimum_at_target`](Loss::minimum_at_target), the loss is lowest at the target, and its gradient there is
///   zero.
/// * Usual outputs give a finite loss. Large outputs give no NaN, and infinity only if the true value overflows the
///   format. NaN in one output with a gradient gives a loss that is not finite.
/// * Targets that the loss takes with some outputs it takes with all, also on dual numbers and in `f32`. Of outputs
///   that `outputs:` converts, only those in the range of usual ones are tested. In `f32` the loss may refuse targets
///   by [`Error::Parameter`](crate::Error::Parameter), which the evidence names.
/// * Invalid calls return errors: no rows, slices of the wrong length, labels out of range, targets or weights that are
///   not finite. A mean without any weight is an error, too.
///
/// # Errors
/// [`Violations`] with the laws that are broken, each with its smallest example. This loss divides its value by the
/// number of values, but its gradient by the number of rows:
///
/// ```text
/// PerRow (CHAINRULE_SEED=0)
/// law broken: the derivative is that of the value
///   where     f64, 1 × 3 outputs, Shares targets: dy[0]
///   expected  -0.09203822414080301, by dual numbers through the value
///   found     -0.27611467242240906, by dy
///   input     y = [0.0, 0.0, 0.0], targets [0.13805733621120453, 0.3348537087440491, 0.52708899974823]
/// ```
///
/// `found` is three times `expected`, and the width is 3. The fix: divide `dy` by the number of values, too.
#[inline]
pub fn loss_laws(losses: Losses<'_>, seed: u64) -> Result<Evidence, Violations> {
    loss_laws_with(losses, LossCases::default(), seed)
}

/// Tests the laws of [`loss_laws`] with the options `cases`, for a loss that does not accept all numbers as outputs,
/// or that deliberately breaks a law.
///
/// # Errors
/// As [`loss_laws`].
#[inline]
pub fn loss_laws_with(losses: Losses<'_>, cases: LossCases<'_>, seed: u64) -> Result<Evidence, Violations> {
    judged(Trial::new(subject(losses.double), seed).except(cases.except), |trial| {
        let loss = losses.double;
        let questions: [(&str, &dyn Fn()); 3] = [
            ("reduction", &|| ignored(loss.reduction())),
            ("minimum_at_target", &|| ignored(loss.minimum_at_target())),
            ("target_width", &|| ignored(loss.target_width(3))),
        ];
        if answers(trial, "", &questions) {
            every_target(losses, cases.outputs, seed, trial);
        }
    })
}

/// Tests all laws of a loss with every kind of target that it accepts. `admit` converts numbers to valid outputs.
#[inline]
fn every_target(losses: Losses<'_>, admit: &dyn Fn(f64) -> f64, seed: u64, trial: &mut Trial) {
    let (mut kinds, mut calls) = (Vec::new(), Vec::new());
    for targets in Targets::ALL {
        let sizes = Suite { losses, targets, admit, unit: 0.0, seed, trial: &mut *trial }.sizes(&mut calls);
        if !sizes.is_empty() {
            kinds.push((targets, sizes));
        }
    }
    // The tests below assume that the loss depends on outputs and targets alone.
    if !repeat(losses.double, &calls, trial) {
        return;
    }
    for (targets, sizes) in &kinds {
        Suite { losses, targets: *targets, admit, unit: 0.0, seed, trial: &mut *trial }.run(sizes);
    }
    repeat(losses.double, &calls, trial);
    if trial.broken(Law::Repeatable) {
        trial.drops(|law| law != Law::Repeatable);
    }
    if kinds.is_empty() && !trial.broken(Law::NoPanic) {
        let place = "classes and values, of widths from 1 to 33";
        trial.breaks(Law::Refuses, place, "at least one that it takes", "it refuses all", "");
    }
}

struct Suite<'a, 't> {
    losses: Losses<'a>,
    targets: Targets,
    /// Converts a number to a valid output.
    admit: &'a dyn Fn(f64) -> f64,
    /// The magnitude of the loss and of its derivatives at usual outputs: the unit of rounding errors.
    unit: f64,
    seed: u64,
    trial: &'t mut Trial,
}

impl Suite<'_, '_> {
    /// Returns the sizes that the loss takes, each as the number of rows and the width. Notes each call in `calls`.
    #[inline]
    fn sizes(&mut self, calls: &mut Vec<Call>) -> Vec<[usize; 2]> {
        let mut sizes: Vec<_> = SIZES.into_iter().filter(|&size| self.takes(size, calls)).collect();
        // A loss may support only one width.
        if sizes.is_empty() {
            let each = (1..=WIDEST).flat_map(|width| ROWS.map(|rows| [rows, width]));
            sizes = each.filter(|&size| self.takes(size, calls)).collect();
        }
        sizes
    }

    /// Tests all laws at `sizes`, pairs of the number of rows and the width. Each law is tested after the laws that
    /// it assumes.
    #[inline]
    fn run(&mut self, sizes: &[[usize; 2]]) {
        let (single, double) = (self.losses.single, self.losses.double);
        let each = || sizes.iter().flat_map(|&size| [false, true].map(|weighted| (size, weighted)));
        let widest = sizes.last().map_or(1, |size| size[1]);
        for &size in sizes {
            self.measure(size);
        }
        for (size, weighted) in each() {
            for outputs in [Outputs::Usual, Outputs::Large, Outputs::Zeros, Outputs::Mixed] {
                self.accepts(size, outputs, weighted);
                self.derivative(size, outputs, weighted);
                self.values(size, outputs, weighted);
            }
        }
        self.continuity(sizes);
        for (size, weighted) in each() {
            self.whole(single, 1, size, weighted);
            self.whole(double, 0, size, weighted);
        }
        for (size, weighted) in each() {
            self.apart(single, 1, size, weighted);
            self.apart(double, 0, size, weighted);
        }
        self.large();
        self.curvature(sizes.get(3).copied().unwrap_or([1, widest]));
        self.extremes(single, "f32", widest, 100.0, 1e9);
        self.extremes(double, "f64", widest, 800.0, 1e77);
        self.refuses(widest);
    }

    #[inline]
    fn at(&self, scalar: &str, case: &Case) -> String {
        let Case { rows, width, .. } = case;
        format!("{scalar}, {rows} × {width} outputs, {:?} targets", self.targets).replace("Classes targets", "classes")
    }

    #[inline]
    fn draw(&self, size: [usize; 2], outputs: Outputs, weighted: bool, stream: u64) -> Case {
        let seed = self.seed.wrapping_mul(1_000_003).wrapping_add(stream);
        let target_width = self.losses.double.target_width(size[1]);
        let mut case = Case::draw(size, target_width, self.targets, outputs, weighted, seed);
        self.admit(&mut case.y);
        case
    }

    /// Replaces numbers by valid outputs that `f32` can represent, by the function `outputs` of [`LossCases`].
    #[inline]
    fn admit(&self, y: &mut [f64]) {
        y.iter_mut().for_each(|y| *y = f64::from((self.admit)(*y) as f32));
    }

    /// Whether every number is a valid output, judged by five numbers from −700 to 700.
    #[inline]
    fn admits_all(&self) -> bool {
        [-700.0, -1.5, 0.25, 3.0, 700.0].into_iter().all(|y| (self.admit)(y) == y)
    }

    /// Whether the loss, in `f64`, accepts targets of the kind `self.targets` in this size: the number of rows and the
    /// width. Notes the call in `calls`, and a panic as a violation.
    #[inline]
    fn takes(&mut self, size: [usize; 2], calls: &mut Vec<Call>) -> bool {
        let case = self.draw(size, Outputs::Usual, false, 0);
        let mut dy = vec![0.0; case.y.len()];
        match case.of(self.losses.double, &mut dy) {
            Ok(Err(_)) => false,
            Ok(Ok(value)) => {
                self.accepts_width(&case);
                calls.push(Call { place: self.at("f64", &case), case, value, dy });
                true
            }
            Err(panic) => {
                self.trial.breaks(Law::NoPanic, self.at("f64", &case), "a loss, or an error", panic, case.described());
                false
            }
        }
    }

    /// Tests that `check_width`, which a trainer calls, accepts the width of a case that `evaluate` takes.
    #[inline]
    fn accepts_width(&mut self, case: &Case) {
        let (law, found) = match caught(|| self.losses.double.check_width(case.width)) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => (Law::Refuses, format!("{error}")),
            Err(panic) => (Law::NoPanic, panic),
        };
        let place = format!("{}: check_width({})", self.at("f64", case), case.width);
        self.trial.breaks(law, place, "Ok, as evaluate takes it", found, "");
    }

    /// Computes the loss of `case` in the scalar type `T`, called `name`, and its gradient in a slice that held
    /// `before` everywhere, both converted to `f64`. `None` after a panic, which is noted, or an error, which is not:
    /// all rows may have an ignored class.
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
                self.trial.breaks(Law::NoPanic, self.at(name, case), "a loss", panic, case.described());
                None
            }
        }
    }

    /// Computes the loss of `case` and its gradient, as [`evaluated`](Self::evaluated), and tests that neither depends
    /// on what the slice held before.
    fn overwritten<T: Scalar>(&mut self, loss: &dyn Loss<T>, name: &str, case: &Case) -> Option<(f64, Vec<f64>)> {
        let (value, dy) = self.evaluated(loss, name, case, 0.0)?;
        for before in [f64::NAN, 7.25] {
            let (again, other) = self.evaluated(loss, name, case, before)?;
            let same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan());
            if !same(value, again) {
                let place = format!("{}, twice", self.at(name, case));
                self.trial.breaks(Law::Repeatable, place, number(value), number(again), case.described());
                return None;
            }
            if let Some(i) = (0..dy.len()).find(|&i| !same(dy[i], other[i])) {
                let place = format!("{}: dy[{i}], where there was {before}", self.at(name, case));
                self.trial.breaks(Law::Overwrites, place, number(dy[i]), number(other[i]), case.described());
            }
        }
        Some((value, dy))
    }

    /// Tests that results overwrite the old content of the slice, are the same when computed again, and equal the
    /// combined results of two parts of the batch. `scalar` is the index of the scalar type in [`ALLOWED`].
    fn whole<T: Scalar>(&mut self, loss: &dyn Loss<T>, scalar: usize, size: [usize; 2], weighted: bool) {
        let (name, allowed) = ALLOWED[scalar];
        let case = self.draw(size, Outputs::Usual, weighted, 2);
        let Some((value, dy)) = self.overwritten(loss, name, &case) else { return };
        // Where an output equals its target, a term and its derivative are 0, and a loss may forget to write the
        // derivative.
        let mut at_targets = case.with_outputs_at_targets();
        self.admit(&mut at_targets.y);
        let _ = self.overwritten(loss, name, &at_targets);
        // A loss that overflows is not compared with the losses of two parts of the batch.
        if value.is_finite() && case.rows > 1 {
            self.reduction(loss, name, allowed, &case, value, &dy);
        }
    }

    /// Tests that rows of weight zero are not read, and that the loss is lowest where outputs equal the targets.
    fn apart<T: Scalar>(&mut self, loss: &dyn Loss<T>, scalar: usize, size: [usize; 2], weighted: bool) {
        let (name, allowed) = ALLOWED[scalar];
        let case = self.draw(size, Outputs::Usual, weighted, 2);
        let Some((value, _)) = self.evaluated(loss, name, &case, 0.0) else { return };
        // A loss with a wrong reduction, or that does not overwrite `dy`, also fails with added rows of weight zero.
        if value.is_finite() && !self.trial.broken(Law::Reduction) && !self.trial.broken(Law::Overwrites) {
            self.masked(loss, name, allowed, &case);
        }
        if loss.minimum_at_target() && self.targets != Targets::Classes {
            self.minimum(loss, name, &case);
        }
    }
}
