//! The laws of gradient monitors.

mod events;

use super::{
    Evidence, Law, Violations, caught,
    law::{Trial, subject},
};
use crate::{
    activation::Tanh,
    batch_shape::BatchShape,
    dataset::Dataset,
    error::Error,
    layer::{LastStep, Linear, Mode, Residual, Sequential, initialize},
    loss::{MeanSquaredError, Target},
    monitor::{Event, Every, GradientMonitor, Link},
    recurrent::Lstm,
    scalar::{Scalar, scalar},
    trainer::{FitOptions, TrainConfig, Trainer},
    transform::{Optimizer, Sgd},
    workspace::Workspace,
};
use alloc::{format, string::String, vec, vec::Vec};
use core::fmt::Debug;

/// A `#[test]` that a monitor keeps its laws: [`monitor_laws`](crate::testing::monitor_laws).
///
/// ```
/// chainrule::monitor_laws!(budget, chainrule::monitor::GradientBudget::new());
/// ```
#[macro_export]
macro_rules! monitor_laws {
    ($(#[$attribute:meta])* $name:ident, $monitor:expr $(,)?) => {
        $(#[$attribute])*
        #[test]
        fn $name() {
            $crate::testing::expect_lawful($crate::testing::monitor_laws(|| $monitor, $crate::testing::seed()));
        }
    };
}

/// The number of passes of a training run with the monitor.
const PASSES: usize = 3;

/// Tests the laws of a monitor. `make` constructs a new one for each run.
///
/// * Outputs, gradients and parameters of a training run are the same bits with and without the monitor.
/// * Two epochs of a trainer, which asks whether to stop, give the same parameters, too, with validation and without.
/// * No event makes it panic: events of each kind in any order, nested names, 1,000 links (factors of the chain
///   rule), time steps and passes, slices of any length, with NaN, infinity and zero.
/// * `is_active` does not change within a forward or backward pass, before its last report.
/// * Inside a tuple, an `Option`, a `Vec`, a reference or an [`Every`](struct@Every) with `n` = 1, the monitor
///   receives the same events as alone, judged by its `Debug` text.
///
/// # Errors
/// [`Violations`] with the laws that are broken, each with its first example.
pub fn monitor_laws<M>(make: impl Fn() -> M, seed: u64) -> Result<Evidence, Violations>
where
    M: GradientMonitor<f32> + GradientMonitor<f64> + Debug,
{
    let mut trial = Trial::new(subject(&make()), seed);
    one_scalar::<f32, M>(&make, "f32", seed, &mut trial);
    one_scalar::<f64, M>(&make, "f64", seed, &mut trial);
    trial.verdict()
}

fn one_scalar<T: Scalar, M: GradientMonitor<T> + Debug>(
    make: &impl Fn() -> M,
    name: &str,
    seed: u64,
    trial: &mut Trial,
) {
    for (which, network, shape) in [("a feedforward network", feedforward::<T>(), BatchShape::batch(3)), {
        ("a recurrent network", recurrent::<T>(), BatchShape { batch: 3, steps: 4, lengths: Some(&[4, 2, 1]) })
    }] {
        let Ok(network) = network else { continue };
        let place = format!("{name}, {which}");
        let mut alone = make();
        let watched = match caught(|| train(&network, shape, seed, 1.0, &mut alone)) {
            Ok(Ok(watched)) => watched,
            Ok(Err(error)) => {
                trial.breaks(Law::SurvivesAnything, place, "a training", format!("{error}"), "");
                continue;
            }
            Err(panic) => {
                trial.breaks(Law::SurvivesAnything, place, "a training", panic, "");
                continue;
            }
        };
        if let Ok(plain) = train(&network, shape, seed, 1.0, &mut ()) {
            let same = |(a, b): (&T, &T)| a == b || (a.is_nan() && b.is_nan());
            if let Some(i) = plain.iter().zip(&watched).position(|pair| !same(pair)) {
                let found = format!("{:?}", watched[i]);
                trial.breaks(Law::ChangesNothing, format!("{place}: value {i}"), format!("{:?}", plain[i]), found, "");
            }
        }
        if let Err(panic) = caught(|| events::usual(&mut alone)) {
            trial.breaks(Law::SurvivesAnything, format!("{name}, events by hand"), "no panic", panic, "");
            continue;
        }
        let mut steady = Steady { inner: &mut make(), ended: [false; 2], changed: false };
        let _ = caught(|| train(&network, shape, seed, 1.0, &mut steady));
        if steady.changed {
            let (what, expected) = ("is_active() within a pass", "the answer at the start of the pass");
            trial.breaks(Law::Composes, format!("{place}: {what}"), expected, "another one", "");
        }
        let expected = format!("{alone:?}");
        let mut composed = |how: &str, found: String| {
            if found != expected {
                trial.breaks(Law::Composes, format!("{place}, {how}"), expected.clone(), found, "");
            }
        };
        let watch = |monitor: &mut dyn GradientMonitor<T>| {
            // Errors were reported when the monitor ran alone.
            let _ = train(&network, shape, seed, 1.0, monitor);
            events::usual(monitor);
        };
        let mut pair = (make(), make());
        watch(&mut pair);
        composed("first of two", format!("{:?}", pair.0));
        composed("second of two", format!("{:?}", pair.1));
        let mut with_none = ((), make(), ());
        watch(&mut with_none);
        composed("between monitors that do not listen", format!("{:?}", with_none.1));
        let mut some = Some(make());
        watch(&mut some);
        composed("in an Option", some.map_or_else(String::new, |monitor| format!("{monitor:?}")));
        let mut list = vec![make()];
        watch(&mut list);
        composed("in a Vec", list.pop().map_or_else(String::new, |monitor| format!("{monitor:?}")));
        let mut every = Every(1, make());
        watch(&mut every);
        composed("in Every(1, …)", format!("{:?}", every.monitor));
        let mut borrowed = make();
        watch(&mut &mut borrowed);
        composed("behind a reference", format!("{borrowed:?}"));

        for size in [0.0, f64::NAN, f64::INFINITY, 1e-42, 1e30] {
            let mut monitor = make();
            if let Err(panic) = caught(|| train(&network, shape, seed, size, &mut monitor)) {
                let place = format!("{place}, inputs of size {size}");
                trial.breaks(Law::SurvivesAnything, place, "no panic", panic, "");
            }
        }
    }
    fits(make, name, trial);
    let mut monitor = make();
    if let Err(panic) = caught(|| events::strange::<T>(&mut monitor)) {
        trial.breaks(Law::SurvivesAnything, format!("{name}, strange events by hand"), "no panic", panic, "");
    }
}

/// A monitor that notes whether the monitor inside it changes its `is_active` within a pass: before the last report
/// of the pass, whose end it may take as its own.
struct Steady<'a, T> {
    inner: &'a mut dyn GradientMonitor<T>,
    /// Whether a report of the forward (first) or the backward pass (second) made the monitor inside inactive.
    ended: [bool; 2],
    changed: bool,
}

impl<T: Scalar> GradientMonitor<T> for Steady<'_, T> {
    fn begin_pass(&mut self) {
        self.inner.begin_pass();
        self.ended = [false; 2];
    }

    // Reports go on within a pass, so that one after the end shows.
    fn is_active(&self) -> bool {
        self.ended[0] || self.ended[1] || self.inner.is_active()
    }

    fn forward(&mut self, at: &Link<'_>, x: &[T], y: &[T]) {
        self.changed |= self.ended[0];
        if self.inner.is_active() {
            self.inner.forward(at, x, y);
            self.ended[0] = !self.inner.is_active();
        }
    }

    fn backward(&mut self, at: &Link<'_>, dy: &[T], dx: &[T]) {
        self.changed |= self.ended[1];
        if self.inner.is_active() {
            self.inner.backward(at, dy, dx);
            self.ended[1] = !self.inner.is_active();
        }
    }

    fn event(&mut self, event: &Event<'_, T>) {
        self.inner.event(event);
    }
}

/// Tests that two epochs of a [`Trainer`], which asks for `is_active` and `should_stop`, do not make the monitor panic,
/// and give the same parameters with and without it, unless it stops the run.
fn fits<T: Scalar, M: GradientMonitor<T>>(make: &impl Fn() -> M, name: &str, trial: &mut Trial) {
    for validates in [true, false] {
        fits_with::<T, M>(make, validates, &format!("{name}, two epochs of a trainer"), trial);
    }
}

/// Tests the laws of [`fits`] with or without validation data. Faults are reported at `place`.
fn fits_with<T: Scalar, M: GradientMonitor<T>>(make: &impl Fn() -> M, validates: bool, place: &str, trial: &mut Trial) {
    let mut monitor = make();
    let fitted = caught(|| fit::<T>(validates, &mut monitor));
    match fitted {
        Ok(Ok((found, false))) => {
            let Ok((expected, _)) = fit::<T>(validates, &mut ()) else { return };
            if let Some(i) = (0..expected.len()).find(|&i| expected[i] != found[i]) {
                let (expected, found) = (format!("{:?}", expected[i]), format!("{:?}", found[i]));
                trial.breaks(Law::ChangesNothing, format!("{place}: parameter {i}"), expected, found, "");
            }
        }
        Ok(Ok(_)) => {}
        Ok(Err(error)) => trial.breaks(Law::SurvivesAnything, place, "a fit", format!("{error}"), ""),
        Err(panic) => trial.breaks(Law::SurvivesAnything, place, "a fit", panic, ""),
    }
}

/// Trains a network for two epochs, with validation if `validates`. Returns its parameters, and whether the monitor
/// stopped the run.
fn fit<T: Scalar>(validates: bool, monitor: &mut dyn GradientMonitor<T>) -> Result<(Vec<T>, bool), Error> {
    let settings = TrainConfig { epochs: 2, batch_size: 2, ..TrainConfig::default() };
    let mut trainer = Trainer::new(feedforward::<T>()?, MeanSquaredError::new(), Sgd::new(0.01), settings)?;
    let values = |count: usize| (0..count).map(|i| scalar(0.3 * (i % 5) as f64 - 0.5)).collect::<Vec<T>>();
    let (x, y) = (values(12), values(6));
    let data = Dataset::rows(2, &x, Target::Values(&y))?;
    let options = FitOptions::new().monitor(monitor);
    trainer.fit_with(&data, if validates { options.validation(&data) } else { options })?;
    Ok((trainer.parameters().to_vec(), trainer.stopped_early()))
}

fn feedforward<T: Scalar>() -> Result<Sequential<T>, Error> {
    let residual = Residual::new(Linear::new(4, 4))?;
    Sequential::input(2).linear(4).activation(Tanh).layer(residual).linear(1).build()
}

fn recurrent<T: Scalar>() -> Result<Sequential<T>, Error> {
    Sequential::input(2).recurrent(3, Lstm::new()).layer(LastStep::new(3)).linear(1).build()
}

/// Trains the network for [`PASSES`] updates on inputs times `size`. Returns the outputs and the parameter gradients of
/// each update, one after the other, and then the parameters.
fn train<T: Scalar>(
    network: &Sequential<T>,
    shape: BatchShape<'_>,
    seed: u64,
    size: f64,
    monitor: &mut dyn GradientMonitor<T>,
) -> Result<Vec<T>, Error> {
    let mut w = initialize(network, seed)?;
    let mut workspace = Workspace::new(network, shape)?;
    let mut optimizer = Optimizer::new(Sgd::new(0.1), workspace.blocks(), &w)?;
    let x: Vec<T> = (0..shape.rows() * 2).map(|i| scalar(size * (0.3 * (i % 5) as f64 - 0.5))).collect();
    let mut seen = Vec::new();
    for _ in 0..PASSES {
        let output = workspace.forward_with(&w, &x, shape, Mode::Train, monitor)?;
        seen.extend_from_slice(output.y);
        output.dy.copy_from_slice(output.y);
        seen.extend_from_slice(workspace.backward_with(&w, monitor)?);
        let (blocks, gradient) = workspace.blocks_and_gradient();
        optimizer.step(blocks, &mut w, gradient, monitor)?;
    }
    seen.extend(w);
    Ok(seen)
}
