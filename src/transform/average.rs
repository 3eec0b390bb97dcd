//! A moving average of the weights.

use super::{
    GradientTransform, Outcome, Stage, TransformSpec, Update, check_decay,
    wide::{Wide, slots},
};
use crate::{
    block::Blocks,
    error::Error,
    scalar::{Scalar, scalar, to_f64},
};
use alloc::{vec, vec::Vec};

/// Keeps `a ← d a + (1 − d) w` of the weights after each update, beginning at the initial weights.
///
/// The state holds two values for each parameter, three in `f16` and `bf16`: the average and its rounding error.
/// Without the error, a decay near 1 would round each step to nothing. `WeightAverage` stands last in a chain, since it
/// treats its input as the final update. Source: Polyak & Juditsky 1992.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct WeightAverage {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    decay: f64,
}

impl WeightAverage {
    /// Creates the average with the decay d, at least 0 and below 1.
    pub fn new(decay: f64) -> Self {
        WeightAverage { decay }
    }
}

/// Moves the average `a + rest` towards `new` by the fraction `fresh`. `rest` is the rounding error of `a`: it collects
/// changes that are too small for `a`.
#[inline(always)]
pub(super) fn move_average<T: Scalar>(a: &mut T, rest: &mut T, new: T, fresh: T) {
    let step = fresh * ((new - *a) - *rest) + *rest;
    let sum = *a + step;
    // The rounding error of the sum (Knuth's two-sum), exact for operands of any order. It is 0 for values that are not
    // finite.
    let of_step = sum - *a;
    let lost = (*a - (sum - of_step)) + (step - of_step);
    (*a, *rest) = (sum, if lost.is_finite() { lost } else { T::zero() });
}

impl WeightAverage {
    /// Implements [`GradientTransform::update`] for any scalar type.
    pub(crate) fn update_generic<T: Scalar>(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let (fresh, n) = (1.0 - self.decay, update.w.len());
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

    fn stage(&self) -> Stage {
        Stage::Average
    }

    /// Two values for each parameter: its average, and the rounding error of that average. In `f16` and `bf16` three
    /// values hold the average.
    fn state_len(&self, blocks: &Blocks) -> usize {
        slots::<T>().max(2) * blocks.parameters()
    }

    fn init_state(&self, _blocks: &Blocks, w: &[T], state: &mut [T]) {
        state[..w.len()].copy_from_slice(w);
    }

    fn update(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        T::WeightAverage(self, update)
    }

    fn averaged_weights<'a>(&self, blocks: &Blocks, state: &'a [T]) -> Option<&'a [T]> {
        state.get(..blocks.parameters())
    }

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let spec = TransformSpec::new("WeightAverage", GradientTransform::<T>::state_len(self, blocks));
        vec![spec.layout("average").setting("decay", self.decay)]
    }
}
