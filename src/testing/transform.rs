//! The laws of gradient transforms.

use super::{
    Evidence, Law, Violations, caught,
    law::{Trial, beyond, listed, subject},
};
use crate::{
    block::{Block, Blocks, Role},
    error::Error,
    kernel::reduce::norm,
    random::{Normals, generator},
    scalar::{Scalar, scalar, to_f64},
    transform::{GradientTransform, Outcome, Update, plain_rate},
};
use alloc::{boxed::Box, format, string::String, vec, vec::Vec};

/// How to make one transform anew in the two scalars its laws need. [`transform_laws!`](crate::transform_laws) makes it
/// of one expression.
#[derive(Clone, Copy)]
pub struct Transforms<'a> {
    /// Makes the transform in `f32`.
    pub single: &'a dyn Fn() -> Box<dyn GradientTransform<f32>>,
    /// Makes the transform in `f64`.
    pub double: &'a dyn Fn() -> Box<dyn GradientTransform<f64>>,
}

impl core::fmt::Debug for Transforms<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        (self.double)().fmt(f)
    }
}

/// A `#[test]` that a transform keeps its laws, and what it promises:
/// [`transform_laws`](crate::testing::transform_laws).
///
/// The promises are a list of [`Law`](crate::testing::Law)s: `Shortens`, `KeepsDirection` and `Idempotent` of clips,
/// `RestsAtZero` of optimisers, `Scales` of schedules.
///
/// ```
/// use chainrule::transform::{Adam, ClipNorm, Schedule};
/// chainrule::transform_laws!(clip, ClipNorm::new(1.0), [Shortens, KeepsDirection, Idempotent]);
/// chainrule::transform_laws!(adam, Adam::new(1e-3), [RestsAtZero]);
/// chainrule::transform_laws!(schedule, Schedule::cosine(100, 0.0), [Scales]);
/// chainrule::transform_laws!(chain, (ClipNorm::new(1.0), Adam::new(1e-3)));
/// ```
#[macro_export]
macro_rules! transform_laws {
    ($(#[$attribute:meta])* $name:ident, $transform:expr $(, [$($promise:ident),* $(,)?])? $(,)?) => {
        $(#[$attribute])*
        #[test]
        fn $name() {
            let transforms = $crate::testing::Transforms {
                single: &|| ::std::boxed::Box::new($transform),
                double: &|| ::std::boxed::Box::new($transform),
            };
            let promises = [$($($crate::testing::Law::$promise),*)?];
            let verdict = $crate::testing::transform_laws(transforms, &promises, $crate::testing::seed());
            $crate::testing::expect_lawful(verdict);
        }
    };
}

/// Steps of a run, and where it is interrupted.
const STEPS: u64 = 8;
const INTERRUPTED: u64 = 3;
/// Steps at which a schedule is asked for its factor, from first to last.
const SCHEDULED: [u64; 8] = [0, 1, 2, 10, 99, 100, 1000, 1 << 40];

/// The blocks that transforms are tried on.
fn blocks() -> Blocks {
    Blocks::collect(|visit| {
        visit(Block::new("0.weight", 0, [3, 2], Role::Weight));
        visit(Block::new("0.bias", 6, [3, 1], Role::Bias));
        visit(Block::new("2.weight", 9, [2, 3], Role::Weight));
        visit(Block::new("2.bias", 15, [2, 1], Role::Bias));
    })
}

/// Tries the laws of a transform, on blocks `0.weight`, `0.bias`, `2.weight` and `2.bias`, and those among `promises`.
///
/// The same steps give the same bits. A new transform continues, to the bit, from the state slice of another. A step in
/// one pass is the update, added. Frozen blocks stay. NaN and infinity stop nothing. Promised:
/// [`Law::Shortens`], [`Law::KeepsDirection`], [`Law::Idempotent`], [`Law::RestsAtZero`], [`Law::Scales`].
///
/// # Errors
/// [`Violations`] with the laws that are broken, each with its first example.
#[inline]
pub fn transform_laws(transforms: Transforms<'_>, promises: &[Law], seed: u64) -> Result<Evidence, Violations> {
    let mut trial = Trial::new(subject(&transforms), seed);
    Suite { make: transforms.single, name: "f32", seed, trial: &mut trial }.run(promises);
    Suite { make: transforms.double, name: "f64", seed, trial: &mut trial }.run(promises);
    trial.verdict()
}

/// A transform with its state, and the parameters it steps.
struct Run<T: Scalar> {
    transform: Box<dyn GradientTransform<T>>,
    blocks: Blocks,
    state: Vec<T>,
    w: Vec<T>,
}

impl<T: Scalar> Run<T> {
    /// One step; the update, or what the transform returned.
    fn step(&mut self, gradient: &[T], step: u64) -> Result<(Vec<T>, Outcome), Error> {
        let mut gradient = gradient.to_vec();
        for block in self.blocks.iter().filter(|block| block.frozen) {
            gradient[block.range.clone()].fill(T::zero());
        }
        let update = Update::new(&self.blocks, &self.w, &mut gradient, &mut self.state, step);
        let outcome = self.transform.update(update)?;
        if outcome == Outcome::Apply {
            self.w.iter_mut().zip(&gradient).for_each(|(w, &update)| *w += update);
        }
        Ok((gradient, outcome))
    }
}

struct Suite<'a, 't, T: Scalar> {
    make: &'a dyn Fn() -> Box<dyn GradientTransform<T>>,
    name: &'static str,
    seed: u64,
    trial: &'t mut Trial,
}

impl<T: Scalar> Suite<'_, '_, T> {
    fn run(&mut self, promises: &[Law]) {
        let all = self.all();
        if self.trial.broken(Law::StaysInside) || self.trial.broken(Law::Refuses) {
            return;
        }
        self.resumes(&all);
        self.frozen();
        self.descends();
        self.strange();
        for promise in promises {
            match promise {
                Law::Shortens | Law::KeepsDirection | Law::Idempotent => self.clips(*promise),
                Law::RestsAtZero => self.rests(),
                Law::Scales => self.scales(),
                other => {
                    self.trial.breaks(*other, "the list of promises", "one that transforms make", "another law", "")
                }
            }
        }
    }

    /// Numbers that are representable in `f32`.
    fn random(&self, stream: u64, size: f64) -> Vec<T> {
        let (mut rng, mut normals) =
            (generator(self.seed.wrapping_mul(1_000_003).wrapping_add(stream)), Normals::new());
        (0..blocks().parameters()).map(|_| scalar(f64::from((size * normals.next(&mut rng)) as f32))).collect()
    }

    /// The transform anew, with some blocks frozen.
    fn fresh(&mut self, frozen: Option<&str>) -> Option<Run<T>> {
        let mut blocks = blocks();
        if let Some(name) = frozen {
            blocks.freeze(name).ok()?;
        }
        let w = self.random(1, 1.0);
        let make = self.make;
        let made = caught(|| {
            let mut transform = make();
            transform.validate(&blocks).map_err(|error| format!("{error}"))?;
            let mut state = vec![T::zero(); transform.state_len(&blocks)];
            transform.init_state(&blocks, &w, &mut state);
            Ok((transform, state))
        });
        match made.and_then(|made| made) {
            Ok((transform, state)) => Some(Run { transform, blocks, state, w }),
            Err(found) => {
                let place = format!("{}, validate and init_state", self.name);
                self.trial.breaks(Law::Refuses, place, "a transform for these blocks", found, "");
                None
            }
        }
    }

    /// A step whose panic or error is noted.
    fn step(&mut self, run: &mut Run<T>, gradient: &[T], step: u64) -> Option<Vec<T>> {
        let found = match caught(|| run.step(gradient, step)) {
            Ok(Ok((update, _))) => return Some(update),
            Ok(Err(error)) => format!("{error}"),
            Err(panic) => panic,
        };
        let place = format!("{}, step {step}", self.name);
        self.trial.breaks(Law::StaysInside, place, "an update", found, format!("gradient {}", listed(gradient)));
        None
    }

    /// The updates of a whole run.
    fn all(&mut self) -> Vec<Vec<T>> {
        let Some(mut run) = self.fresh(None) else { return Vec::new() };
        (0..STEPS).map_while(|step| self.step(&mut run, &self.random(10 + step, 1.0), step)).collect()
    }

    fn resumes(&mut self, all: &[Vec<T>]) {
        let place = |name: &str, step: u64, i: usize| format!("{name}, step {step}: [{i}]");
        let Some(mut first) = self.fresh(None) else { return };
        for step in 0..INTERRUPTED {
            let Some(update) = self.step(&mut first, &self.random(10 + step, 1.0), step) else { return };
            if let Some(i) = differ(&update, &all[step as usize]) {
                let (expected, found) = (format!("{:?}", all[step as usize][i]), format!("{:?}", update[i]));
                self.trial.breaks(Law::Repeatable, place(self.name, step, i), expected, found, "");
            }
        }
        let Some(second) = self.fresh(None) else { return };
        let mut second = Run { state: first.state, w: first.w, ..second };
        for step in INTERRUPTED..STEPS {
            let Some(update) = self.step(&mut second, &self.random(10 + step, 1.0), step) else { return };
            if let Some(i) = differ(&update, &all[step as usize]) {
                let place = format!("{}, after an interruption at {INTERRUPTED}", place(self.name, step, i));
                let (expected, found) = (format!("{:?}", all[step as usize][i]), format!("{:?}", update[i]));
                self.trial.breaks(Law::Resumes, place, expected, found, "");
                return;
            }
        }
    }

    fn frozen(&mut self) {
        for name in ["0", "2.bias"] {
            let Some(mut run) = self.fresh(Some(name)) else { return };
            for step in 0..STEPS {
                let Some(update) = self.step(&mut run, &self.random(10 + step, 1.0), step) else { return };
                let moved = run.blocks.iter().filter(|block| block.frozen).flat_map(|block| block.range.clone());
                if let Some(i) = moved.clone().find(|&i| !update[i].is_zero()) {
                    let place = format!("{}, `{name}` frozen, step {step}: [{i}]", self.name);
                    self.trial.breaks(Law::FrozenBlocks, place, "0", format!("{:?}", update[i]), "");
                }
            }
        }
    }

    fn descends(&mut self) {
        let Some(mut run) = self.fresh(None) else { return };
        for step in 0..STEPS {
            let gradient = self.random(10 + step, 1.0);
            let before = run.w.clone();
            if self.step(&mut run, &gradient, step).is_none() {
                return;
            }
            let Some(rate) = plain_rate(&*run.transform) else { return };
            let plain = |(&w, &g): (&T, &T)| w + -scalar::<T>(rate) * g;
            let expected: Vec<T> = before.iter().zip(&gradient).map(plain).collect();
            if let Some(i) = differ(&expected, &run.w) {
                let place = format!("{}, the plain rate {rate}, step {step}: w[{i}]", self.name);
                let (expected, found) = (format!("{:?}", run.w[i]), format!("{:?}", expected[i]));
                self.trial.breaks(Law::Descends, place, expected, found, "");
                return;
            }
        }
    }

    /// NaN, infinity, zero and the ends of the range stop nothing; an error is a way to answer.
    fn strange(&mut self) {
        for value in
            [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, f64::from(f32::MAX), f64::from(f32::MIN_POSITIVE)]
        {
            let Some(mut run) = self.fresh(None) else { return };
            let mut gradient = self.random(2, 1.0);
            gradient[1] = scalar(value);
            for step in 0..3 {
                if let Err(panic) = caught(|| run.step(&gradient, step)) {
                    let place = format!("{}, a gradient with {value}", self.name);
                    self.trial.breaks(Law::SurvivesAnything, place, "an update, or an error", panic, "");
                    return;
                }
            }
        }
    }

    fn clips(&mut self, law: Law) {
        let ulp = to_f64(T::epsilon());
        for size in [1e-6, 0.01, 0.3, 1.0, 30.0, 1e6, 1e30] {
            let Some(mut run) = self.fresh(None) else { return };
            let gradient = self.random(3, size);
            let Some(once) = self.step(&mut run, &gradient, 0) else { return };
            let wide = |values: &[T]| values.iter().map(|&value| to_f64(value)).collect::<Vec<f64>>();
            let (before, after) = (wide(&gradient), wide(&once));
            let broken = match law {
                Law::Shortens => (0..before.len())
                    .find(|&i| beyond(after[i].abs(), before[i].abs() * (1.0 + 4.0 * ulp)))
                    .map(|i| (format!("[{i}]"), format!("at most {:e}", before[i].abs()), format!("{:e}", after[i]))),
                Law::KeepsDirection => {
                    let factor = norm(&after) / norm(&before);
                    (0..before.len())
                        .find(|&i| {
                            beyond((after[i] - factor * before[i]).abs(), 16.0 * ulp * (factor * before[i]).abs())
                        })
                        .map(|i| {
                            (
                                format!("[{i}]"),
                                format!("{:e}, as the others", factor * before[i]),
                                format!("{:e}", after[i]),
                            )
                        })
                }
                _ => {
                    let Some(mut run) = self.fresh(None) else { return };
                    let Some(twice) = self.step(&mut run, &once, 0) else { return };
                    let twice = wide(&twice);
                    (0..before.len())
                        .find(|&i| beyond((twice[i] - after[i]).abs(), 4.0 * ulp * after[i].abs()))
                        .map(|i| (format!("[{i}], twice"), format!("{:e}", after[i]), format!("{:e}", twice[i])))
                }
            };
            if let Some((what, expected, found)) = broken {
                let place = format!("{}, a gradient of length {:e}: {what}", self.name, norm(&before));
                self.trial.breaks(law, place, expected, found, format!("gradient {}", listed(&before)));
                return;
            }
        }
    }

    fn rests(&mut self) {
        let Some(mut run) = self.fresh(None) else { return };
        let zero = vec![T::zero(); run.w.len()];
        for step in 0..STEPS {
            let Some(update) = self.step(&mut run, &zero, step) else { return };
            if let Some(i) = update.iter().position(|update| !update.is_zero()) {
                let place = format!("{}, step {step}: [{i}]", self.name);
                self.trial.breaks(Law::RestsAtZero, place, "0", format!("{:?}", update[i]), "a gradient of zero");
                return;
            }
        }
    }

    fn scales(&mut self) {
        let Some(mut run) = self.fresh(None) else { return };
        let ulp = to_f64(T::epsilon());
        for step in (0..300).chain(SCHEDULED) {
            let gradient = self.random(4, 1.0);
            let Some(update) = self.step(&mut run, &gradient, step) else { return };
            let factor = to_f64(update[0]) / to_f64(gradient[0]);
            let off = |i: usize| (to_f64(update[i]) - factor * to_f64(gradient[i])).abs();
            let allowed = |i: usize| 8.0 * ulp * (factor * to_f64(gradient[i])).abs() + 1e-37;
            let broken = if !(factor >= 0.0 && factor.is_finite()) {
                Some((String::from("a factor that is finite and not negative"), format!("{factor}")))
            } else {
                let i = (0..update.len()).find(|&i| beyond(off(i), allowed(i)));
                i.map(|i| {
                    (format!("{factor} times each value"), format!("[{i}] {:?} from {:?}", update[i], gradient[i]))
                })
            };
            if let Some((expected, found)) = broken {
                self.trial.breaks(Law::Scales, format!("{}, step {step}", self.name), expected, found, "");
                return;
            }
        }
    }
}

/// Where two updates first differ; all NaN are alike.
fn differ<T: Scalar>(a: &[T], b: &[T]) -> Option<usize> {
    a.iter().zip(b).position(|(a, b)| a != b && !(a.is_nan() && b.is_nan()))
}
