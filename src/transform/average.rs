//! A moving average of the weights.

use super::{GradientTransform, Outcome, TransformSpec, Update, check_decay, each_parameter::complement, own_applied};
use crate::{
    block::Blocks,
    error::Error,
    math::wide::{Wide, slots},
    scalar::{Scalar, scalar, to_f64},
};
use alloc::{vec, vec::Vec};
use core::ops::Range;

/// Keeps a moving average a of the weights w, `a ← d a + (1 − d) w` after each update, starting at the initial
/// weights.
///
/// The average of a frozen block is the block itself. With [`warm_up`](Self::warm_up) or [`debias`](Self::debias) the
/// average forgets the initial weights sooner. By default training and its results do not use the average, which
/// [`Optimizer::averaged_weights`](super::Optimizer::averaged_weights) returns. With [`as_result`](Self::as_result) a
/// trainer uses it for evaluation, predictions and models.
///
/// The state holds two values for each parameter, the average and its rounding error (in `f16` and `bf16` three
/// values). Without the error, each change would round to nothing for a decay near 1. `WeightAverage` must be last in
/// a chain, since it treats its input as the final update. Source: Polyak & Juditsky 1992.
///
/// ```
/// use chainrule::{dataset::Dataset, layer::Sequential, loss::{MeanSquaredError, Target}};
/// use chainrule::{trainer::{TrainConfig, Trainer}, transform::{Sgd, WeightAverage}};
/// let network = Sequential::<f64>::input(1).linear(1).build()?;
/// let chain = (Sgd::new(0.1), WeightAverage::new(0.9).debias().as_result());
/// let mut trainer = Trainer::new(network, MeanSquaredError::new(), chain, TrainConfig::default())?;
/// trainer.fit(&Dataset::rows(1, &[0.0, 1.0], Some(Target::Values(&[1.0, 3.0])))?)?;
/// assert_eq!(trainer.averaged_parameters(), Some(trainer.result()));
/// assert_ne!(trainer.result(), trainer.parameters());
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct WeightAverage {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    decay: f64,
    #[cfg_attr(feature = "serde", serde(default))]
    start: Start,
    #[cfg_attr(feature = "serde", serde(default))]
    result: bool,
}

/// How a moving average of the parameters, with decay d, treats the initial parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
enum Start {
    /// The average starts at the initial parameters, which have the weight `d^t` after t updates.
    #[default]
    Initial,
    WarmUp,
    Debias,
}

impl WeightAverage {
    /// Creates the average with the decay d, at least 0 and below 1.
    pub fn new(decay: f64) -> Self {
        WeightAverage { decay, start: Start::Initial, result: false }
    }

    /// Uses the decay `min(d, (1 + t)/(10 + t))` after t earlier updates, that is 0.1, 0.18, 0.25 and so on up to d.
    /// It replaces [`debias`](Self::debias). Source: TensorFlow's `ExponentialMovingAverage`.
    #[must_use]
    pub fn warm_up(self) -> Self {
        WeightAverage { start: Start::WarmUp, ..self }
    }

    /// Keeps `a/(1 − dᵗ)` after t updates, with an average a that starts at 0, as Adam does; so the initial weights
    /// have no effect. It replaces [`warm_up`](Self::warm_up). Source: Kingma & Ba 2015, section 3.
    #[must_use]
    pub fn debias(self) -> Self {
        WeightAverage { start: Start::Debias, ..self }
    }

    /// Makes the average the [result](crate::trainer::Trainer::result) of the training: evaluation, predictions, early
    /// stopping and models use it in place of the parameters.
    ///
    /// The running statistics of a [`BatchNorm`](crate::layer::BatchNorm) are those at the parameters.
    #[must_use]
    pub fn as_result(self) -> Self {
        WeightAverage { result: true, ..self }
    }

    /// Returns the weight of the newest parameters in the average; `step` is the number of earlier updates.
    fn fresh(&self, step: u64) -> f64 {
        let t = step as f64;
        match self.start {
            Start::Initial => 1.0 - self.decay,
            Start::WarmUp => 1.0 - self.decay.min((1.0 + t) / (10.0 + t)),
            // For b = a/(1 − dᵗ): b ← b + (1 − d)/(1 − dᵗ) (w − b).
            Start::Debias => (1.0 - self.decay) / complement(self.decay, t + 1.0),
        }
    }
}

/// Sets the averages of the parameters with indices `range` to their values in `w`. `state` consists of slots, each
/// with one value for each of n parameters. In the first slot, the averages rounded to `T`, the values become those
/// of `w`; in all other slots, which hold rounding errors, they become 0.
pub(super) fn begin_at<T: Scalar>(range: Range<usize>, w: &[T], state: &mut [T], n: usize) {
    for (slot, values) in state.chunks_mut(n.max(1)).enumerate() {
        match slot {
            0 => values[range.clone()].copy_from_slice(&w[range.clone()]),
            _ => values[range.clone()].fill(T::zero()),
        }
    }
}

/// Moves the average `a + rest` towards `new` by the fraction `fresh` of the distance. `rest`, the rounding error of
/// `a`, collects changes that are too small for `a`.
#[inline(always)]
pub(super) fn move_average<T: Scalar>(a: &mut T, rest: &mut T, new: T, fresh: T) {
    let step = fresh * ((new - *a) - *rest) + *rest;
    let sum = *a + step;
    // The rounding error of the sum (Knuth's two-sum), exact for any order of the operands. It is 0 if values are not
    // finite.
    let of_step = sum - *a;
    let lost = (*a - (sum - of_step)) + (step - of_step);
    (*a, *rest) = (sum, if lost.is_finite() { lost } else { T::zero() });
}

impl WeightAverage {
    /// Implements [`GradientTransform::update`] for any scalar type.
    pub(crate) fn update_generic<T: Scalar>(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let (fresh, n) = (self.fresh(update.step), update.w.len());
        if update.step == 0 {
            // The parameters may have been set since the transform was created.
            update.state.fill(T::zero());
            update.state[..n].copy_from_slice(update.w);
        }
        let blocks = update.blocks.iter().filter(|block| block.frozen);
        blocks.for_each(|block| begin_at(block.range.clone(), update.w, update.state, n));
        let new = update.w.iter().zip(&*update.gradient).map(|(&w, &step)| w + step);
        if slots::<T>() > 1 {
            let mut average = Wide::new(update.state, n);
            for (i, new) in new.enumerate() {
                let a = average.get(i);
                average.set(i, a + fresh * (to_f64(new) - a));
            }
            return Ok(Outcome::Apply);
        }
        let (fresh, (average, rest)) = (scalar::<T>(fresh), update.state.split_at_mut(n));
        for (new, (a, rest)) in new.zip(average.iter_mut().zip(rest)) {
            move_average(a, rest, new, fresh);
        }
        Ok(Outcome::Apply)
    }
}

impl<T: Scalar> GradientTransform<T> for WeightAverage {
    fn validate(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        check_decay("the decay of a weight average", self.decay)
    }

    own_applied!(Average);

    /// The length of the state, two values for each parameter: all averages, then all rounding errors of the
    /// averages. In `f16` and `bf16` each average takes three values.
    fn state_len(&self, blocks: &Blocks) -> usize {
        slots::<T>().max(2).saturating_mul(blocks.parameters())
    }

    fn init_state(&self, _blocks: &Blocks, w: &[T], state: &mut [T]) {
        state[..w.len()].copy_from_slice(w);
    }

    fn begin_at(&self, _blocks: &Blocks, w: &[T], state: &mut [T]) {
        begin_at(0..w.len(), w, state, w.len());
    }

    fn update(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        T::WeightAverage(self, update)
    }

    fn averaged_weights<'a>(&self, blocks: &Blocks, state: &'a [T]) -> Option<&'a [T]> {
        state.get(..blocks.parameters())
    }

    fn result<'a>(&self, blocks: &Blocks, state: &'a [T]) -> Option<&'a [T]> {
        if self.result { self.averaged_weights(blocks, state) } else { None }
    }

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let spec = TransformSpec::new("WeightAverage", GradientTransform::<T>::state_len(self, blocks));
        // Averages that start at the weights and averages that start at 0 are different sums, so their layouts must
        // differ.
        let spec = spec.layout(if self.start == Start::Debias { "average without start" } else { "average" });
        vec![spec.setting("decay", self.decay).setting("start", self.start).setting("result", self.result)]
    }
}
