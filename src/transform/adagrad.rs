//! Adagrad.

use super::{
    GradientTransform, Outcome, TransformSpec, Update, check_amount, check_epsilon, check_own_rate, own_elementwise,
    ratio,
    wide::{range_of, state_of_parameters},
};
use crate::{
    block::Blocks,
    error::Error,
    math::wide::{Wide, slots},
    scalar::{Scalar, scalar, to_f64},
};
use alloc::{vec, vec::Vec};
use num_traits::Float;

/// Adagrad with learning rate η and learning-rate decay δ: `w ← w − η_t g/(√s + ε)`, with `s ← s + g²` and
/// `η_t = η/(1 + t δ)`, t the number of earlier updates.
///
/// If g² overflows the number format (|g| above about 2e19 in `f32`), the parameter never changes again: clip the
/// gradient first. Source: Duchi, Hazan & Singer 2011; as in PyTorch.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Adagrad {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    rate: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    decay: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    initial: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    epsilon: f64,
}

impl Adagrad {
    /// Creates Adagrad with the learning rate η, δ = 0, an initial s of 0 and ε = 1e-10.
    pub fn new(rate: f64) -> Self {
        Adagrad { rate, decay: 0.0, initial: 0.0, epsilon: 1e-10 }
    }

    /// Sets the decay δ of the learning rate, which is `η/(1 + t δ)` after t updates; not negative, by default 0.
    #[must_use]
    pub fn rate_decay(self, decay: f64) -> Self {
        Adagrad { decay, ..self }
    }

    /// Sets the initial value of s, the sum of squared gradients, not negative. The default is 0.
    #[must_use]
    pub fn initial(self, initial: f64) -> Self {
        Adagrad { initial, ..self }
    }

    /// Sets ε, which is added to the root of the sum of squares; not negative. The default is 1e-10.
    #[must_use]
    pub fn epsilon(self, epsilon: f64) -> Self {
        Adagrad { epsilon, ..self }
    }
}

impl Adagrad {
    /// Implements [`GradientTransform::update`] for any scalar type.
    pub(crate) fn update_generic<T: Scalar>(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let (n, start) = (update.blocks.parameters(), update.start);
        if slots::<T>() > 1 {
            let rule = self.rule::<f64>(update.step);
            let all = update.stretches().flatten();
            let mut root = Wide::new(update.state, n);
            for i in all {
                let (sum, step) = rule(to_f64(update.gradient[i]), Float::powi(root.get(start + i), 4));
                root.set(start + i, fourth_root(sum));
                update.gradient[i] = scalar(step);
            }
            return Ok(Outcome::Apply);
        }
        let rule = self.rule::<T>(update.step);
        update.map_with_state(rule);
        Ok(Outcome::Apply)
    }
}

impl<T: Scalar> GradientTransform<T> for Adagrad {
    own_elementwise!(Adagrad, Optimizer);

    fn validate(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        check_own_rate::<T>(self.rate)?;
        check_amount::<T>("the rate decay of Adagrad", self.decay)?;
        check_amount::<T>("the initial sum of Adagrad", self.initial)?;
        check_epsilon::<T>("epsilon of Adagrad", self.epsilon)
    }

    /// The length of the state, one value for each parameter: s, the sum of squared gradients. In `f16` and `bf16`,
    /// where s would overflow, the state holds the fourth root of s, as three values.
    fn state_len(&self, blocks: &Blocks) -> usize {
        state_of_parameters::<T>(1, blocks)
    }

    fn init_state(&self, blocks: &Blocks, _w: &[T], state: &mut [T]) {
        if slots::<T>() > 1 {
            let mut root = Wide::new(state, blocks.parameters());
            (0..blocks.parameters()).for_each(|i| root.set(i, fourth_root(self.initial)));
        } else {
            state.fill(scalar(self.initial));
        }
    }

    fn learning_rate(&self, _blocks: &Blocks, _state: &[T], step: u64) -> Option<f64> {
        Some(self.rate / (1.0 + step as f64 * self.decay))
    }

    fn rate_mut(&mut self) -> Option<&mut f64> {
        Some(&mut self.rate)
    }

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let spec = TransformSpec::new("Adagrad", GradientTransform::<T>::state_len(self, blocks))
            .layout("s")
            .non_negative(range_of::<T>(0, blocks))
            .setting("rate", self.rate);
        let spec = spec.setting("rate decay", self.decay).setting("initial sum", self.initial);
        vec![spec.setting("epsilon", self.epsilon)]
    }
}

fn fourth_root(x: f64) -> f64 {
    Float::sqrt(Float::sqrt(x))
}

impl Adagrad {
    /// Returns the function from `(g, s)` to the new s and the update. Here g is the gradient, and s the sum of
    /// squared gradients. `step` is the number of earlier updates.
    fn rule<T: Scalar>(&self, step: u64) -> impl Fn(T, T) -> (T, T) + use<T> {
        let rate = scalar::<T>(-self.rate / (1.0 + step as f64 * self.decay));
        let epsilon = scalar::<T>(self.epsilon);
        move |g, s| {
            let s = s + g * g;
            (s, ratio(rate * g, s.sqrt() + epsilon))
        }
    }
}
