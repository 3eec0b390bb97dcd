//! Learning-rate schedules.

use super::{GradientTransform, Outcome, TransformSpec, Update, check_decay, check_rate, own_elementwise};
use crate::{
    arc::Arc,
    block::Blocks,
    error::{Error, require},
    scalar::{Scalar, scalar, scaled, to_f64},
};
use alloc::{boxed::Box, vec, vec::Vec};
use core::{f64::consts::PI, fmt};

/// A factor on the learning rate that depends on the step: it stands after the optimizer and multiplies its update.
///
/// `(Sgd::new(0.8), Schedule::step(30, 0.5))` begins at 0.8 and halves the rate every 30 updates. Two schedules in a
/// chain multiply, such as a warm-up and a cosine.
///
/// ```
/// use chainrule::{layer::Linear, loss::MeanSquaredError};
/// use chainrule::{trainer::{TrainConfig, Trainer}, transform::{Adam, Schedule}};
/// // Ten updates of warm-up from a tenth of the rate, and a cosine over 1000 updates down to 0.
/// let chain = (Adam::new(1e-3), Schedule::warm_up(0.1, 10), Schedule::cosine(1000, 0.0));
/// let (layer, settings) = (Linear::new(2, 1), TrainConfig::default());
/// let trainer = Trainer::<f32, _, _, _>::new(layer, MeanSquaredError::new(), chain, settings)?;
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Constant(f64),
    Step { every: u64, factor: f64 },
    MultiStep { at: Vec<u64>, factor: f64 },
    Exponential { factor: f64 },
    Cosine { steps: u64, least: f64, restart: Option<u64> },
    Linear { from: f64, to: f64, steps: u64 },
    Polynomial { steps: u64, power: f64 },
    OneCycle { most: f64, steps: u64, warm: f64, first: f64, last: f64 },
    Custom(Custom),
}

/// A factor as a custom function of the update, counted from 0.
#[derive(Clone)]
struct Custom(Arc<dyn Fn(u64) -> f64 + Send + Sync>);

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a function of the step")
    }
}

impl PartialEq for Custom {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Schedule {
    /// Creates a schedule with the constant factor `factor`.
    pub fn constant(factor: f64) -> Self {
        Schedule { kind: Kind::Constant(factor) }
    }

    /// Creates a schedule with the factor `factor^⌊t/every⌋` at update t, counted from 0.
    pub fn step(every: u64, factor: f64) -> Self {
        Schedule { kind: Kind::Step { every, factor } }
    }

    /// Creates a schedule with the factor `factorᵏ` at update t, counted from 0, where k is the number of entries of
    /// `at` that are at most t.
    pub fn multi_step(at: &[u64], factor: f64) -> Self {
        Schedule { kind: Kind::MultiStep { at: at.to_vec(), factor } }
    }

    /// Creates a schedule with the factor `factorᵗ` at update t, counted from 0.
    pub fn exponential(factor: f64) -> Self {
        Schedule { kind: Kind::Exponential { factor } }
    }

    /// Creates a schedule that falls from 1 to `least` at update `steps` along a cosine. After that update the cosine
    /// rises again, as in PyTorch. Source: Loshchilov & Hutter 2017, eq. 5.
    pub fn cosine(steps: u64, least: f64) -> Self {
        Schedule { kind: Kind::Cosine { steps, least, restart: None } }
    }

    /// Creates a [`cosine`](Self::cosine) schedule that restarts at 1 after `steps` updates. Each period is `times` as
    /// long as the one before.
    pub fn cosine_with_restarts(steps: u64, times: u64, least: f64) -> Self {
        Schedule { kind: Kind::Cosine { steps, least, restart: Some(times) } }
    }

    /// Creates a schedule that rises linearly from `from` to 1 at update `steps`, and stays 1.
    pub fn warm_up(from: f64, steps: u64) -> Self {
        Self::linear(from, 1.0, steps)
    }

    /// Creates a schedule that goes linearly from `from` to `to` at update `steps`, and stays `to`.
    pub fn linear(from: f64, to: f64, steps: u64) -> Self {
        Schedule { kind: Kind::Linear { from, to, steps } }
    }

    /// Creates a schedule with the factor `(1 − t/steps)^power` at update t, counted from 0. From `steps` on it is 0,
    /// or 1 for a power of 0.
    pub fn polynomial(steps: u64, power: f64) -> Self {
        Schedule { kind: Kind::Polynomial { steps, power } }
    }

    /// Creates a schedule that rises from `most`/25 to `most` over the first 30 % of `steps`, then falls to
    /// `most`/25e4, along cosines. Source: Smith & Topin 2019; the figures are PyTorch's.
    pub fn one_cycle(most: f64, steps: u64) -> Self {
        Schedule { kind: Kind::OneCycle { most, steps, warm: 0.3, first: 25.0, last: 1e4 } }
    }

    /// Creates a schedule from a function of the update, counted from 0. A factor that is negative or not finite ends
    /// training with an error.
    pub fn custom(factor: impl Fn(u64) -> f64 + Send + Sync + 'static) -> Self {
        Schedule { kind: Kind::Custom(Custom(Arc::from(Box::new(factor) as Box<dyn Fn(u64) -> f64 + Send + Sync>))) }
    }

    /// Returns the factor at update `step`, counted from 0. A schedule over 0 updates, which an optimizer refuses, does
    /// not panic.
    pub fn factor(&self, step: u64) -> f64 {
        let t = step as f64;
        match &self.kind {
            Kind::Constant(factor) => *factor,
            Kind::Step { every, factor } => libm::pow(*factor, step.checked_div(*every).unwrap_or(0) as f64),
            Kind::MultiStep { at, factor } => libm::pow(*factor, at.iter().filter(|&&at| step >= at).count() as f64),
            Kind::Exponential { factor } => libm::pow(*factor, t),
            Kind::Cosine { steps, least, restart: None } => cosine(1.0, *least, part(t, *steps as f64)),
            Kind::Cosine { steps, least, restart: Some(times) } => {
                let (mut begun, mut length) = (0, *steps);
                if *times <= 1 {
                    begun = step - step.checked_rem(length).unwrap_or(0);
                }
                // The difference does not overflow: `begun` is at most `step`.
                while step - begun >= length.max(1) {
                    begun += length.max(1);
                    length = length.saturating_mul(*times).max(1);
                }
                cosine(1.0, *least, part((step - begun) as f64, length as f64))
            }
            Kind::Linear { from, to, steps } => from + (to - from) * part(t, *steps as f64).min(1.0),
            Kind::Polynomial { steps, power } => libm::pow(1.0 - part(t, *steps as f64).min(1.0), *power),
            Kind::OneCycle { most, steps, warm, first, last } => {
                // The peak and the end are factors of whole updates: as in PyTorch, the last update is total − 1.
                let (peak, end) = (warm * *steps as f64 - 1.0, *steps as f64 - 1.0);
                let (low, bottom) = (most / first, most / first / last);
                if t <= peak {
                    cosine(low, *most, part(t, peak))
                } else {
                    cosine(*most, bottom, part(t.min(end) - peak, end - peak))
                }
            }
            Kind::Custom(Custom(factor)) => factor(step),
        }
    }

    fn check<T: Scalar>(&self) -> Result<(), Error> {
        let at_least_one = |what, steps: u64| require(steps > 0, what, "at least 1", steps as f64);
        match &self.kind {
            Kind::Constant(factor) | Kind::Exponential { factor } => check_rate::<T>(*factor),
            Kind::Step { every, factor } => {
                at_least_one("the steps of a schedule", *every).and(check_rate::<T>(*factor))
            }
            Kind::MultiStep { factor, .. } => check_rate::<T>(*factor),
            Kind::Cosine { steps, least, restart } => {
                at_least_one("the restart factor of a schedule", restart.unwrap_or(1))?;
                at_least_one("the steps of a schedule", *steps).and(check_rate::<T>(*least))
            }
            Kind::Linear { from, to, steps } => {
                at_least_one("the steps of a schedule", *steps).and(check_rate::<T>(*from)).and(check_rate::<T>(*to))
            }
            Kind::Polynomial { steps, power } => {
                at_least_one("the steps of a schedule", *steps).and(check_rate::<T>(*power))
            }
            Kind::OneCycle { most, steps, .. } => {
                require(*steps >= 4, "the steps of one cycle", "at least 4", *steps as f64).and(check_rate::<T>(*most))
            }
            Kind::Custom(_) => Ok(()),
        }
    }
}

/// Returns `t/span`, or 1 if `span` is not positive.
fn part(t: f64, span: f64) -> f64 {
    if span > 0.0 { t / span } else { 1.0 }
}

/// Returns the value between `from` and `to` along half a cosine: `from` at `part` 0, `to` at 1.
fn cosine(from: f64, to: f64, part: f64) -> f64 {
    to + (from - to) * 0.5 * (1.0 + libm::cos(PI * part))
}

impl Schedule {
    /// Implements [`GradientTransform::update`] for any scalar type.
    pub(crate) fn update_generic<T: Scalar>(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let factor = self.factor(update.step);
        check_rate::<T>(factor)?;
        update.gradient.iter_mut().for_each(|g| *g = scaled(factor, *g));
        Ok(Outcome::Apply)
    }
}

impl<T: Scalar> GradientTransform<T> for Schedule {
    own_elementwise!(Schedule, Schedule);

    fn validate(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        self.check::<T>()
    }

    fn learning_rate(&self, _blocks: &Blocks, _state: &[T], step: u64) -> Option<f64> {
        Some(self.factor(step))
    }

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let kind = match &self.kind {
            Kind::Constant(_) => "Schedule (constant)",
            Kind::Step { .. } => "Schedule (step)",
            Kind::MultiStep { .. } => "Schedule (multi-step)",
            Kind::Exponential { .. } => "Schedule (exponential)",
            Kind::Cosine { restart: None, .. } => "Schedule (cosine)",
            Kind::Cosine { restart: Some(_), .. } => "Schedule (cosine with restarts)",
            Kind::Linear { .. } => "Schedule (linear)",
            Kind::Polynomial { .. } => "Schedule (polynomial)",
            Kind::OneCycle { .. } => "Schedule (one cycle)",
            Kind::Custom(_) => "Schedule (custom)",
        };
        let spec = TransformSpec::new(kind, GradientTransform::<T>::state_len(self, blocks));
        vec![spec.setting("settings", &self.kind)]
    }
}

/// Lowers the learning rate when a metric has not fallen for some epochs. It stands after the optimizer.
///
/// [`on_metric`](GradientTransform::on_metric) receives the metric once an epoch: a trainer's validation loss. The
/// metric has fallen when it is below `best − threshold · |best|`, also where both are below zero. A metric that is
/// not finite changes nothing. As PyTorch's `ReduceLROnPlateau` with a relative threshold, whose margin has the wrong
/// sign below zero.
///
/// ```
/// use chainrule::{layer::Linear, loss::MeanSquaredError};
/// use chainrule::{trainer::{TrainConfig, Trainer}, transform::{Adam, ReduceOnPlateau}};
/// // A tenth of the rate after more than 5 epochs without a lower validation loss; fit with `FitOptions::validation`.
/// let chain = (Adam::new(1e-2), ReduceOnPlateau::new(0.1, 5).least(1e-3));
/// let (layer, settings) = (Linear::new(2, 1), TrainConfig::default());
/// let trainer = Trainer::<f32, _, _, _>::new(layer, MeanSquaredError::new(), chain, settings)?;
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ReduceOnPlateau {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    factor: f64,
    patience: u64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    threshold: f64,
    cooldown: u64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    least: f64,
}

impl ReduceOnPlateau {
    /// Creates a transform that multiplies the rate by `factor`, above 0 and below 1, after more than `patience` epochs
    /// in a row without a fall of the metric. A fall is by more than 1e-4 of the best; there is no cooldown and no
    /// lower limit.
    pub fn new(factor: f64, patience: u64) -> Self {
        ReduceOnPlateau { factor, patience, threshold: 1e-4, cooldown: 0, least: 0.0 }
    }

    /// Sets the relative amount by which the metric must fall, at least 0 and below 1. The default is 1e-4.
    #[must_use]
    pub fn threshold(self, threshold: f64) -> Self {
        ReduceOnPlateau { threshold, ..self }
    }

    /// Sets the number of epochs after a reduction during which epochs without a fall are not counted; the default is
    /// 0.
    #[must_use]
    pub fn cooldown(self, epochs: u64) -> Self {
        ReduceOnPlateau { cooldown: epochs, ..self }
    }

    /// Sets the lower limit of the product of all reductions, between 0 and 1; the default is 0.
    #[must_use]
    pub fn least(self, least: f64) -> Self {
        ReduceOnPlateau { least, ..self }
    }
}

/// The index, in the state of a `ReduceOnPlateau`, of the product of all reductions so far.
const FACTOR: usize = 0;
/// The index, in the state of a `ReduceOnPlateau`, of the lowest metric so far.
const BEST: usize = 1;
/// The index, in the state of a `ReduceOnPlateau`, of the number of epochs in a row without a fall.
const BAD: usize = 2;
/// The index, in the state of a `ReduceOnPlateau`, of the number of epochs that are left of the cooldown.
const COOLING: usize = 3;

impl ReduceOnPlateau {
    /// Implements [`GradientTransform::update`] for any scalar type.
    pub(crate) fn update_generic<T: Scalar>(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let factor = update.state[FACTOR];
        update.gradient.iter_mut().for_each(|g| *g *= factor);
        Ok(Outcome::Apply)
    }
}

impl<T: Scalar> GradientTransform<T> for ReduceOnPlateau {
    own_elementwise!(ReduceOnPlateau, Schedule);

    fn validate(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        require(self.factor > 0.0 && self.factor < 1.0, "the factor of a plateau", "above 0 and below 1", self.factor)?;
        check_decay("the threshold of a plateau", self.threshold)?;
        require((0.0..=1.0).contains(&self.least), "the least factor of a plateau", "between 0 and 1", self.least)
    }

    fn state_len(&self, _blocks: &Blocks) -> usize {
        4
    }

    fn init_state(&self, _blocks: &Blocks, _w: &[T], state: &mut [T]) {
        state[FACTOR] = T::one();
        state[BEST] = T::infinity();
    }

    fn on_metric(&mut self, _blocks: &Blocks, metric: f64, state: &mut [T]) {
        // The metric is rounded to `T` like the stored best, so that an equal metric does not count as a fall.
        let metric = scalar::<T>(metric);
        if !metric.is_finite() {
            return;
        }
        let best = to_f64(state[BEST]);
        if best.is_infinite() || to_f64(metric) < best * (1.0 - self.threshold * best.signum()) {
            state[BEST] = metric;
            state[BAD] = T::zero();
        } else {
            state[BAD] += T::one();
        }
        if state[COOLING] > T::zero() {
            state[COOLING] -= T::one();
            state[BAD] = T::zero();
        }
        if state[BAD] > scalar(self.patience as f64) {
            state[FACTOR] = scalar((to_f64(state[FACTOR]) * self.factor).max(self.least));
            state[COOLING] = scalar(self.cooldown as f64);
            state[BAD] = T::zero();
        }
    }

    fn learning_rate(&self, _blocks: &Blocks, state: &[T], _step: u64) -> Option<f64> {
        Some(to_f64(state[FACTOR]))
    }

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        // The best metric is ∞ until the first metric arrives.
        let spec =
            TransformSpec::new("ReduceOnPlateau", GradientTransform::<T>::state_len(self, blocks)).infinite_state();
        let spec = spec.layout("factor, best, bad epochs, cooldown").setting("factor", self.factor);
        let spec = spec.setting("patience", self.patience).setting("threshold", self.threshold);
        vec![spec.setting("cooldown", self.cooldown).setting("least", self.least)]
    }
}
