//! A moving average of the weights.

use super::{GradientTransform, Outcome, Stage, TransformSpec, Update, check_decay};
use crate::{
    block::Blocks,
    error::Error,
    scalar::{Scalar, scalar},
};
use alloc::{vec, vec::Vec};

/// Keeps `a ← d a + (1 − d) w` of the weights after each update, beginning at the initial weights.
///
/// It stands last in a chain, for it takes what comes to it as the update. Source: Polyak & Juditsky 1992.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct WeightAverage {
    decay: f64,
}

impl WeightAverage {
    /// The average with decay d, at least 0 and below 1.
    pub fn new(decay: f64) -> Self {
        WeightAverage { decay }
    }
}

impl<T: Scalar> GradientTransform<T> for WeightAverage {
    fn prepare(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        check_decay("the decay of a weight average", self.decay)
    }

    fn stage(&self) -> Stage {
        Stage::Average
    }

    fn needs(&self, blocks: &Blocks) -> usize {
        blocks.parameters()
    }

    fn start(&self, _blocks: &Blocks, w: &[T], state: &mut [T]) {
        state.copy_from_slice(w);
    }

    fn apply(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let fresh = scalar::<T>(1.0 - self.decay);
        for (a, (&w, &step)) in update.state.iter_mut().zip(update.w.iter().zip(&*update.gradient)) {
            *a += fresh * (w + step - *a);
        }
        Ok(Outcome::Apply)
    }

    fn averaged<'a>(&self, _blocks: &Blocks, state: &'a [T]) -> Option<&'a [T]> {
        Some(state)
    }

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let spec = TransformSpec::new("WeightAverage", GradientTransform::<T>::needs(self, blocks));
        vec![spec.layout("average").setting("decay", self.decay)]
    }
}
