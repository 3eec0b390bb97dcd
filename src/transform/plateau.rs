//! A learning rate that falls when a metric does not.

use super::{GradientTransform, Outcome, TransformSpec, Update, check_decay, own_elementwise};
use crate::{
    block::Blocks,
    error::{Error, require},
    math::wide::{Wide, slots, wide_value},
    scalar::{Scalar, scaled},
};
use alloc::{vec, vec::Vec};

/// Lowers the learning rate when a metric has not fallen for some epochs. It stands after the optimizer.
///
/// [`on_metric`](GradientTransform::on_metric) receives the metric once an epoch: a trainer's validation loss, or its
/// training loss without validation data. The metric has fallen when it is below `best − threshold · |best|`, where
/// `best` is the metric when it last fell; both may be below zero. A metric that is not finite changes nothing. In all
/// else it is PyTorch's `ReduceLROnPlateau` with a relative threshold, where the margin has the wrong sign for a
/// metric below zero. Metric and counts are kept with the digits of `f32` or more, in every format, the metric with
/// the range of `f64`.
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

    /// Sets the threshold, at least 0 and below 1: a metric has fallen if it is below the one of the last fall by more
    /// than this fraction of the latter's magnitude. The default is 1e-4.
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

/// The number of values in the state of a `ReduceOnPlateau`; in `f16` and `bf16` each takes three entries.
const VALUES: usize = 5;
/// The index, in the state of a `ReduceOnPlateau`, of the product of all reductions so far.
const FACTOR: usize = 0;
/// The index, in the state of a `ReduceOnPlateau`, of the fraction f of the metric at its last fall, f · 2ᵉ. It is
/// between ½ and 1 in magnitude, or 0 for a metric of 0; infinite before the first metric. e is at [`EXPONENT`].
const BEST: usize = 1;
/// The index, in the state of a `ReduceOnPlateau`, of the number of epochs in a row without a fall.
const BAD: usize = 2;
/// The index, in the state of a `ReduceOnPlateau`, of the number of epochs that are left of the cooldown.
const COOLING: usize = 3;
/// The index, in the state of a `ReduceOnPlateau`, of the exponent e in f · 2ᵉ, the metric at its last fall. The
/// metric itself may be beyond the format, such as a sum in `f16`.
const EXPONENT: usize = 4;

/// Writes the metric `best`, which is finite, to `state`, and returns it as it is kept.
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
        // A file may hold any number; one below 0 would ascend.
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
        // The metric is rounded like the stored best, so that an equal metric does not count as a fall.
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
