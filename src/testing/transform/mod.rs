//! The laws of gradient transforms.

mod descent;
mod formula;
mod frozen;
mod promises;
mod reports;
mod run;
mod strange;
mod told;

use formula::precision;
use run::{Run, blocks, differ, metric};

use super::{
    Evidence, Law, Violations, caught, judged,
    law::{Trial, listed, subject},
};
use crate::{
    block::Blocks,
    random::{Normals, generator},
    scalar::{Scalar, scalar, to_f64},
    transform::{GradientTransform, InPlace, in_place},
};
use alloc::{boxed::Box, format, vec, vec::Vec};
use core::cell::Cell;

/// The update of one parameter in `f64`, from its gradient, its memory, the number of earlier optimizer steps and its
/// value. The formula may change the memory, which is 0 at first.
pub type Formula<'a> = &'a dyn Fn(f64, &mut [f64; 4], u64, f64) -> f64;

/// Constructors of one transform in the two scalars that its laws need. [`transform_laws!`](crate::transform_laws)
/// makes them from one expression.
#[derive(Clone, Copy)]
pub struct Transforms<'a> {
    /// Constructs the transform in `f32`.
    pub single: &'a dyn Fn() -> Box<dyn GradientTransform<f32>>,
    /// Constructs the transform in `f64`.
    pub double: &'a dyn Fn() -> Box<dyn GradientTransform<f64>>,
    /// The formula that each update of the transform must equal; `None` if no formula is given.
    pub like: Option<Formula<'a>>,
}

impl core::fmt::Debug for Transforms<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        (self.double)().fmt(f)
    }
}

/// A `#[test]` that a transform keeps its laws and promises: [`transform_laws`](crate::testing::transform_laws).
///
/// The promises are a list of [`Law`](crate::testing::Law)s: `ReducesNorm`, `KeepsDirection` and `Idempotent` of clips,
/// `RestsAtZero` and `Downhill` of optimizers, `Scales` of schedules. `like:` gives the formula of the update of one
/// parameter, a [`Formula`](crate::testing::Formula), with or without the parameter as its last argument.
///
/// ```
/// use chainrule::transform::{Adam, ClipNorm, Schedule, Sgd};
/// chainrule::transform_laws!(clip, ClipNorm::new(1.0), [ReducesNorm, KeepsDirection, Idempotent]);
/// chainrule::transform_laws!(adam, Adam::new(1e-3), [RestsAtZero]);
/// chainrule::transform_laws!(schedule, Schedule::cosine(100, 0.0), [Scales]);
/// chainrule::transform_laws!(chain, (ClipNorm::new(1.0), Adam::new(1e-3)));
/// chainrule::transform_laws!(momentum, Sgd::new(0.1).momentum(0.9), [RestsAtZero], like: |g, m, _t| {
///     m[0] = 0.9 * m[0] + g;
///     -0.1 * m[0]
/// });
/// ```
#[macro_export]
macro_rules! transform_laws {
    (@like) => { ::core::option::Option::None };
    (@like |$g:pat_param, $m:pat_param, $t:pat_param| $update:expr) => {
        $crate::transform_laws!(@like |$g, $m, $t, _| $update)
    };
    (@like |$g:pat_param, $m:pat_param, $t:pat_param, $w:pat_param| $update:expr) => {
        ::core::option::Option::Some(&|$g: f64, $m: &mut [f64; 4], $t: u64, $w: f64| -> f64 { $update })
    };
    ($(#[$attribute:meta])* $name:ident, $transform:expr $(, [$($promise:ident),* $(,)?])?
        $(, like: |$($argument:pat_param),+ $(,)?| $update:expr)? $(,)?) => {
        $(#[$attribute])*
        #[test]
        fn $name() {
            let transforms = $crate::testing::Transforms {
                single: &|| ::std::boxed::Box::new($transform),
                double: &|| ::std::boxed::Box::new($transform),
                like: $crate::transform_laws!(@like $(|$($argument),+| $update)?),
            };
            let promises = [$($($crate::testing::Law::$promise),*)?];
            let verdict = $crate::testing::transform_laws(transforms, &promises, $crate::testing::seed());
            $crate::testing::expect_lawful(verdict);
        }
    };
}

/// The number of optimizer steps of a long run.
const STEPS: u64 = 1000;
/// The numbers of optimizer steps after which a long run is interrupted and continued by a new transform.
const INTERRUPTED: [u64; 2] = [3, 503];
/// The number of optimizer steps of a short run, and of different gradients, which longer runs repeat.
const FEW: u64 = 40;
/// The number of optimizer steps from one metric, such as a validation loss, to the next; `on_metric` receives it.
const EPOCH: u64 = 10;
/// The standard deviations of the test gradients, one per update, repeated from the start: some below and some above
/// common thresholds of clipping.
const SIZES: [f64; 8] = [1.0, 0.01, 1.0, 100.0, 0.3, 1e-3, 1.0, 10.0];

/// One in `OFF` consecutive values of a gradient is 0.
const OFF: usize = 7;

/// Tests the laws of a transform, and those in `promises`, on 80 parameters in the blocks `0.weight`, `0.bias`,
/// `1.gain`, `2.weight`, `2.recurrent`, `2.bias` and `3.gain`, which is one parameter.
///
/// Runs take 1,000 optimizer steps, with a metric every tenth step. Gradients have norms from about 0.01 to 1,000,
/// and some of their values are 0.
///
/// * The same steps give the same bits. A new transform continues, to the bit, from the state slice of another.
/// * Gradient descent in the backward pass gives the parameters plus the update. Frozen blocks keep their bits, also
///   blocks that are frozen after ten steps. All other blocks have the updates of a run in which parameters and
///   gradients of the frozen ones are 0, times one number.
/// * Updates in `f32` equal those in `f64` to rounding, except for one in 100, whose sign rounding may decide.
/// * NaN and infinity cause no panic. After a metric that is not finite, updates are still finite. Finite gradients,
///   those of 0 among them, give finite updates, to step 2³². A run changes neither `spec` nor `state_len`.
/// * A transform of [`Stage::Optimizer`](crate::transform::Stage), or a chain with one, steps downhill. From the same
///   parameters, a constant gradient g gives the updates u, and −g gives v. The sum of ⟨u − v, g⟩ over a run is
///   negative. If the gradient has the opposite sign in one block alone, the sum over this block is not positive. The
///   update of a skipped step is 0. A transform of another stage can promise to step downhill by [`Law::Downhill`].
/// * Without a gradient an optimizer does not make the parameters grow, as weight decay of the wrong sign does.
/// * Not all steps of finite gradients are skipped.
/// * Reports are true ([`Law::TrueReports`]). `rate_mut` is the rate in use, and `learning_rate` follows it. It is
///   this rate if each update is the gradient, or its sign, times the rate.
///   `averaged_weights` and `result` hold one value for each parameter, none outside its past values, and begin where
///   `begin_at` says. The `clip_factor` and `clipped_norm` of a clip, and the `learning_rate` of a promised
///   schedule, are those of the update.
/// * With a formula, each update is that of the formula, also on one block of 260 parameters: to 1e-9 in `f64`, to
///   1e-3 in `f32`.
/// * Laws that hold if promised: [`Law::ReducesNorm`], [`Law::KeepsDirection`], [`Law::Idempotent`],
///   [`Law::RestsAtZero`], [`Law::Scales`].
///
/// # Errors
/// [`Violations`] with the laws that are broken, each with its first example.
#[inline]
pub fn transform_laws(transforms: Transforms<'_>, promises: &[Law], seed: u64) -> Result<Evidence, Violations> {
    judged(Trial::new(subject(&transforms), seed), |trial| {
        Suite::new(transforms.single, "f32", seed, trial).run(promises, transforms.like);
        Suite::new(transforms.double, "f64", seed, trial).run(promises, transforms.like);
        if !trial.broken(Law::Extremes) {
            precision(&transforms, seed, trial);
        }
    })
}

struct Suite<'a, 't, T: Scalar> {
    make: &'a dyn Fn() -> Box<dyn GradientTransform<T>>,
    name: &'static str,
    seed: u64,
    gradients: Vec<Vec<T>>,
    trial: &'t mut Trial,
}

impl<'a, 't, T: Scalar> Suite<'a, 't, T> {
    fn new(
        make: &'a dyn Fn() -> Box<dyn GradientTransform<T>>,
        name: &'static str,
        seed: u64,
        trial: &'t mut Trial,
    ) -> Self {
        let mut suite = Suite { make, name, seed, gradients: Vec::new(), trial };
        let sizes = SIZES.into_iter().cycle().zip(10..10 + FEW);
        suite.gradients = sizes.map(|(size, stream)| suite.random(stream, size)).collect();
        // Some values of each gradient are 0, like those of inactive units.
        for (step, gradient) in suite.gradients.iter_mut().enumerate() {
            gradient.iter_mut().skip(step % OFF).step_by(OFF).for_each(|g| *g = T::zero());
        }
        suite
    }
}

impl<T: Scalar> Suite<'_, '_, T> {
    fn run(&mut self, promises: &[Law], like: Option<Formula<'_>>) {
        let all = self.updates(STEPS);
        if [Law::NoPanic, Law::Refuses, Law::Extremes].into_iter().any(|law| self.trial.broken(law)) {
            return;
        }
        INTERRUPTED.into_iter().for_each(|after| self.resumes(&all, after));
        // A transform that keeps values outside its state may break any other law as a consequence.
        if self.trial.broken(Law::Repeatable) {
            return;
        }
        let promised = promises.contains(&Law::Downhill);
        let tests: [&dyn Fn(&mut Self); 11] = [
            &|suite| suite.frozen(),
            &|suite| suite.descends(),
            &|suite| suite.strange(),
            &|suite| suite.metrics(),
            &|suite| suite.downhill(promised),
            &|suite| suite.downhill_by_block(promised),
            &|suite| suite.shrinks(),
            &|suite| suite.rates(),
            &|suite| suite.averages(),
            &|suite| suite.begins(),
            &|suite| suite.told(),
        ];
        for test in tests {
            // Updates that are not finite break every law.
            if self.trial.broken(Law::Extremes) {
                return;
            }
            test(self);
        }
        if let Some(formula) = like.filter(|_| !self.trial.broken(Law::Extremes)) {
            self.formula(formula);
        }
        for promise in promises {
            if self.trial.broken(Law::Extremes) {
                return;
            }
            match promise {
                Law::ReducesNorm | Law::KeepsDirection | Law::Idempotent => self.clips(*promise),
                Law::RestsAtZero => self.rests(),
                Law::Scales => self.scales(),
                Law::Downhill => {}
                other => {
                    self.trial.breaks(*other, "the list of promises", "one that transforms make", "another law", "")
                }
            }
        }
    }

    /// Draws a normal number of standard deviation `size` for each parameter, representable in `f32`. `stream`
    /// distinguishes the draws of one seed.
    fn random(&self, stream: u64, size: f64) -> Vec<T> {
        self.numbers(blocks().parameters(), stream, size)
    }

    /// Draws `count` numbers as [`random`](Self::random) does.
    fn numbers(&self, count: usize, stream: u64, size: f64) -> Vec<T> {
        let (mut rng, mut normals) =
            (generator(self.seed.wrapping_mul(1_000_003).wrapping_add(stream)), Normals::new());
        (0..count).map(|_| scalar(f64::from((size * normals.next(&mut rng)) as f32))).collect()
    }

    /// Returns the gradient of an optimizer step: the [`FEW`] gradients of the suite, repeated.
    fn gradient(&self, step: u64) -> Vec<T> {
        self.gradients[(step % FEW) as usize].clone()
    }

    /// Creates a run with a new transform, state and parameters, and the blocks named `frozen` or below it frozen.
    /// `None` if the transform refuses the blocks or panics, which is noted as a violation.
    fn fresh(&mut self, frozen: Option<&str>) -> Option<Run<T>> {
        self.begun(frozen, self.random(1, 1.0))
    }

    /// Creates a run as [`fresh`](Self::fresh) does, from the parameters `w`.
    fn begun(&mut self, frozen: Option<&str>, w: Vec<T>) -> Option<Run<T>> {
        let mut blocks = blocks();
        if let Some(name) = frozen {
            blocks.freeze(name).ok()?;
        }
        self.begun_with(blocks, w)
    }

    /// Creates a run as [`begun`](Self::begun) does, with the parameter blocks `blocks`.
    fn begun_with(&mut self, blocks: Blocks, w: Vec<T>) -> Option<Run<T>> {
        let (make, method) = (self.make, Cell::new("the constructor"));
        let made = caught(|| {
            let mut transform = make();
            method.set("validate()");
            transform.validate(&blocks).map_err(|error| format!("{error}"))?;
            method.set("state_len()");
            let mut state = vec![T::zero(); transform.state_len(&blocks)];
            method.set("init_state()");
            transform.init_state(&blocks, &w, &mut state);
            Ok((transform, state))
        });
        match made.and_then(|made| made) {
            Ok((transform, state)) => Some(Run { transform, blocks, state, w, recorded: false, applied: false }),
            Err(found) => {
                let place = format!("{}, {}", self.name, method.get());
                let law = if found.starts_with("a panic") { Law::NoPanic } else { Law::Refuses };
                self.trial.breaks(law, place, "a transform for these blocks", found, "");
                None
            }
        }
    }

    /// Runs optimizer step number `step`, and returns its update, which is 0 if the step is skipped. `None` after a
    /// panic or an error, which is noted as a violation. Before the last step of every [`EPOCH`] steps the transform
    /// receives a metric, such as a validation loss.
    fn step(&mut self, run: &mut Run<T>, gradient: &[T], step: u64) -> Option<Vec<T>> {
        let (method, before) = (Cell::new("update()"), run.w.clone());
        let (law, found) = match caught(|| {
            if step % EPOCH == EPOCH - 1 {
                method.set("on_metric()");
                run.transform.on_metric(&run.blocks, metric(step), &mut run.state);
                method.set("update()");
            }
            run.step(gradient, step)
        }) {
            Ok(Ok(update)) => {
                // Parameters that a run has made huge may overflow.
                let usual = |values: &[T]| values.iter().all(|&value| to_f64(value).abs() < 1e18);
                let strange = (0..update.len()).find(|&i| !update[i].is_finite());
                if let Some(i) = strange.filter(|_| usual(&before) && gradient.iter().all(|g| g.is_finite())) {
                    let place = format!("{}, step {step}: [{i}] of the update", self.name);
                    let input = format!("gradient {}", listed(gradient));
                    self.trial.breaks(Law::Extremes, place, "a finite number", format!("{:?}", update[i]), input);
                }
                return Some(update);
            }
            Ok(Err(error)) => (Law::Refuses, format!("{error}")),
            Err(panic) => (Law::NoPanic, panic),
        };
        let place = format!("{}, {}, step {step}", self.name, method.get());
        self.trial.breaks(law, place, "an update", found, format!("gradient {}", listed(gradient)));
        None
    }

    /// Returns the result of `answer`, a call of the method `name`; `None` if it panics, which is noted as a
    /// violation.
    fn ask<R>(&mut self, name: &str, answer: impl FnOnce() -> R) -> Option<R> {
        match caught(answer) {
            Ok(answer) => Some(answer),
            Err(panic) => {
                let place = format!("{}, {name}()", self.name);
                self.trial.breaks(Law::NoPanic, place, "an answer", panic, "");
                None
            }
        }
    }

    /// Returns the updates of a run of `steps` optimizer steps; after a failure, those before it.
    fn updates(&mut self, steps: u64) -> Vec<Vec<T>> {
        let Some(mut run) = self.fresh(None) else { return Vec::new() };
        let all: Vec<Vec<T>> = (0..steps).map_while(|step| self.step(&mut run, &self.gradient(step), step)).collect();
        if !run.applied && !all.is_empty() {
            let (expected, found) =
                ("one that is applied", "`Outcome::Skip` for each, though all gradients are finite");
            self.trial.breaks(Law::Applies, format!("{}, {} steps", self.name, all.len()), expected, found, "");
        }
        all
    }

    fn resumes(&mut self, all: &[Vec<T>], after: u64) {
        let place = |name: &str, step: u64, i: usize| format!("{name}, step {step}: [{i}]");
        let Some(mut first) = self.fresh(None) else { return };
        for step in 0..after {
            let Some(update) = self.step(&mut first, &self.gradient(step), step) else { return };
            if let Some(i) = differ(&update, &all[step as usize]) {
                let (expected, found) = (format!("{:?}", all[step as usize][i]), format!("{:?}", update[i]));
                self.trial.breaks(Law::Repeatable, place(self.name, step, i), expected, found, "");
            }
        }
        let Some(second) = self.fresh(None) else { return };
        let mut second = Run { state: first.state, w: first.w, ..second };
        for step in after..STEPS {
            let Some(update) = self.step(&mut second, &self.gradient(step), step) else { return };
            if let Some(i) = differ(&update, &all[step as usize]) {
                let place = format!("{}, after an interruption at {after}", place(self.name, step, i));
                let (expected, found) = (format!("{:?}", all[step as usize][i]), format!("{:?}", update[i]));
                self.trial.breaks(Law::Resumes, place, expected, found, "");
                return;
            }
        }
    }

    /// Tests updates in place: optimizer steps on pieces of 5 parameters, one after the other, give the same bits as
    /// a step on all of them. So does plain gradient descent, for a transform that is equal to it. Transforms without
    /// updates in place are not tested.
    fn descends(&mut self) {
        const PIECE: usize = 5;
        let (Some(mut run), Some(mut pieces)) = (self.fresh(None), self.fresh(None)) else { return };
        let in_place = in_place(&*run.transform);
        if in_place == InPlace::No {
            return;
        }
        for step in 0..FEW {
            let gradient = self.gradient(step);
            let before = run.w.clone();
            if self.step(&mut run, &gradient, step).is_none() {
                return;
            }
            let stepped = caught(|| pieces.step_in_pieces(&gradient, step, PIECE));
            let mut found = vec![("in pieces", pieces.w.clone())];
            if let Err(panic) = stepped {
                self.trial.breaks(Law::Descends, format!("{}, in pieces, step {step}", self.name), "a step", panic, "");
                return;
            }
            if let InPlace::Plain(rate) = in_place {
                let plain = |(&w, &g): (&T, &T)| w + -scalar::<T>(rate) * g;
                found.push(("at the plain rate", before.iter().zip(&gradient).map(plain).collect()));
            }
            for (how, found) in found {
                if let Some(i) = differ(&found, &run.w) {
                    let place = format!("{}, {how}, step {step}: w[{i}]", self.name);
                    let (expected, found) = (format!("{:?}", run.w[i]), format!("{:?}", found[i]));
                    self.trial.breaks(Law::Descends, place, expected, found, "");
                    return;
                }
            }
        }
    }
}
