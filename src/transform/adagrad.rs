//! Adagrad.

use super::{GradientTransform, Outcome, Stage, TransformSpec, Update, check_amount, check_rate, ratio, stretches};
use crate::{
    block::Blocks,
    error::Error,
    scalar::{Scalar, scalar},
};
use alloc::{vec, vec::Vec};

/// Adagrad: `w ← w − η_t g/(√s + ε)`, with `s ← s + g²` and `η_t = η/(1 + t δ)`, t from 0.
///
/// Source: Duchi, Hazan & Singer 2011; as in PyTorch.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Adagrad {
    rate: f64,
    decay: f64,
    initial: f64,
    epsilon: f64,
}

impl Adagrad {
    /// Adagrad at the rate η, with ε = 1e-10.
    pub fn new(rate: f64) -> Self {
        Adagrad { rate, decay: 0.0, initial: 0.0, epsilon: 1e-10 }
    }

    /// Sets the decay δ of the rate, not negative.
    #[must_use]
    pub fn rate_decay(self, decay: f64) -> Self {
        Adagrad { decay, ..self }
    }

    /// Sets what the sum of squares begins at, not negative.
    #[must_use]
    pub fn initial(self, initial: f64) -> Self {
        Adagrad { initial, ..self }
    }

    /// Sets ε, not negative.
    #[must_use]
    pub fn epsilon(self, epsilon: f64) -> Self {
        Adagrad { epsilon, ..self }
    }
}

impl<T: Scalar> GradientTransform<T> for Adagrad {
    fn prepare(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        check_rate::<T>(self.rate)?;
        check_amount::<T>("the rate decay of Adagrad", self.decay)?;
        check_amount::<T>("the initial sum of Adagrad", self.initial)?;
        check_amount::<T>("epsilon of Adagrad", self.epsilon)
    }

    fn stage(&self) -> Stage {
        Stage::Optimizer
    }

    fn needs(&self, blocks: &Blocks) -> usize {
        blocks.parameters()
    }

    fn start(&self, _blocks: &Blocks, _w: &[T], state: &mut [T]) {
        state.fill(scalar(self.initial));
    }

    fn apply(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let rate = scalar::<T>(-self.rate / (1.0 + update.step as f64 * self.decay));
        let epsilon = scalar::<T>(self.epsilon);
        for range in stretches(update.blocks) {
            for (g, s) in update.gradient[range.clone()].iter_mut().zip(&mut update.state[range]) {
                *s += *g * *g;
                *g = ratio(rate * *g, s.sqrt() + epsilon);
            }
        }
        Ok(Outcome::Apply)
    }

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let spec = TransformSpec::new("Adagrad", GradientTransform::<T>::needs(self, blocks))
            .layout("s")
            .setting("rate", self.rate);
        let spec = spec.setting("rate decay", self.decay).setting("initial sum", self.initial);
        vec![spec.setting("epsilon", self.epsilon)]
    }
}
