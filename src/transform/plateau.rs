//! A learning rate that is reduced when a metric has stopped decreasing.

use super::{GradientTransform, Outcome, TransformSpec, Update, check_decay, own_elementwise};
use crate::{
    block::Blocks,
    error::{Error, require},
    math::wide::{Wide, slots, wide_value},
    scalar::{Scalar, scaled},
};
use alloc::{vec, vec::Vec};

/// Reduces the learning rate if a metric has not fallen for some epochs. In a chain it follows the optimizer.
///
/// [`on_metric`](GradientTransform::on_metric) receives the metric after each epoch: a trainer's validation loss, or
/// its training loss if there is no validation data. The metric has fallen if it is below
/// `best − threshold · |best|`, where `best` is the metric when it last fell; both may be negative. A metric that is
/// not finite has no effect.
///
/// Otherwise this is PyTorch's `ReduceLROnPlateau` with a relative threshold, except that PyTorch's margin has the
/// wrong sign for negative metrics. In every format the metric and the counts are kept with at least the digits of
/// `f32`, and the metric with the range of `f64`.
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
    /// Creates a transform that multiplies the learning rate by `factor`, above 0 and below 1, after more than
    /// `patience` consecutive epochs in which the metric has not fallen. A fall is by more than 1e-4 of the best
    /// value. There is no cooldown and no lower limit.
    pub fn new(factor: f64, patience: u64) -> Self {
        ReduceOnPlateau { factor, patience, threshold: 1e-4, cooldown: 0, least: 0.0 }
    }

    /// Sets the threshold, at least 0 and below 1. The metric has fallen if it is below the metric at its last fall
    /// by more than this fraction of the magnitude of the latter. The default is 1e-4.
    #[must_use]
    pub fn threshold(self, threshold: f64) -> Self {
        ReduceOnPlateau { threshold, ..self }
    }

    /// Sets the cooldown: the number of epochs after a reduction in which epochs without a fall of the metric are not
    /// counted. The default is 0.
    #[must_use]
    pub fn cooldown(self, epochs: u64) -> Self {
        ReduceOnPlateau { cooldown: epochs, ..self }
    }

    /// Sets the lower limit of the product of all reduction factors, between 0 and 1; the default is 0.
    #[must_use]
    pub fn least(self, least: f64) -> Self {
        ReduceOnPlateau { least, ..self }
    }
}

/// The number of values in the state of a `ReduceOnPlateau`; in `f16` and `bf16` each takes three entries.
const VALUES: usize = 5;
/// The index, in the state of a `ReduceOnPlateau`, of the product of all reductions so far.
const FACTOR: usize = 0;
/// The index, in the state of a `ReduceOnPlateau`, of the fraction f of the metric f · 2ᵉ at its last fall;
/// [`EXPONENT`] is the index of e. |f| is from ½ to 1, or 0 for a metric of 0. Before the first metric f is infinite.
const BEST: usize = 1;
/// The index, in the state of a `ReduceOnPlateau`, of the number of consecutive epochs without a fall of the metric.
const BAD: usize = 2;
/// The index, in the state of a `ReduceOnPlateau`, of the number of remaining epochs of the cooldown.
const COOLING: usize = 3;
/// The index, in the state of a `ReduceOnPlateau`, of the exponent e of the metric f · 2ᵉ at its last fall. With e
/// stored apart, the metric may exceed the range of the format, for example a sum in `f16`.
const EXPONENT: usize = 4;

/// Writes the finite metric `best` to `state`. Returns it as it is stored, which may be rounded.
fn keep_best<T: Scalar>(state: &mut Wide<'_, T>, best: f64) -> f64 {
    let (fraction, exponent) = libm::frexp(best);
    state.set(BEST, fraction);
    state.set(EXPONENT, f64::from(exponent));
    libm::ldexp(state.get(BEST), exponent)
}

impl ReduceOnPlateau {
    /// Implements [`GradientTransform::update`] for any scalar type.
    pub(crate) fn update_generic<T: Scalar>(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let factor = wide_value(update.state, VALUES, FACTOR);
        // A loaded state may hold any number; a negative factor would ascend the loss.
        require((0.0..=1.0).contains(&factor), "the factor in the state of a plateau", "between 0 and 1", factor)?;
        update.gradient.iter_mut().for_each(|g| *g = scaled(factor, *g));
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
        VALUES * slots::<T>()
    }

    fn init_state(&self, _blocks: &Blocks, _w: &[T], state: &mut [T]) {
        state[FACTOR] = T::one();
        state[BEST] = T::infinity();
    }

    fn on_metric(&mut self, _blocks: &Blocks, metric: f64, state: &mut [T]) {
        if !metric.is_finite() {
            return;
        }
        let mut state = Wide::new(state, VALUES);
        let kept = [FACTOR, BEST, BAD, COOLING, EXPONENT].map(|i| state.get(i));
        let [factor, fraction, mut bad, mut cooling, exponent] = kept;
        let best = libm::ldexp(fraction, exponent as i32);
        // The metric is rounded like the stored best metric, so that an equal metric does not count as a fall.
        let metric = keep_best(&mut state, metric);
        let falls = best == f64::INFINITY || metric < best * (1.0 - self.threshold * best.signum());
        if !falls {
            keep_best(&mut state, best);
        }
        bad = if falls { 0.0 } else { bad + 1.0 };
        if cooling > 0.0 {
            (bad, cooling) = (0.0, cooling - 1.0);
        }
        if bad > self.patience as f64 {
            state.set(FACTOR, (factor * self.factor).max(self.least));
            (bad, cooling) = (0.0, self.cooldown as f64);
        }
        state.set(BAD, bad);
        state.set(COOLING, cooling);
    }

    fn learning_rate(&self, _blocks: &Blocks, state: &[T], _step: u64) -> Option<f64> {
        Some(wide_value(state, VALUES, FACTOR))
    }

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        // The best metric is ∞ until the first metric arrives.
        let spec =
            TransformSpec::new("ReduceOnPlateau", GradientTransform::<T>::state_len(self, blocks)).infinite_state();
        let spec = spec.non_negative(FACTOR..FACTOR + 1).non_negative(BAD..COOLING + 1);
        let spec = spec.layout("factor, best, bad epochs, cooldown, exponent of best").setting("factor", self.factor);
        let spec = spec.setting("patience", self.patience).setting("threshold", self.threshold);
        vec![spec.setting("cooldown", self.cooldown).setting("least", self.least)]
    }
}
