//! Adadelta.

use super::{
    GradientTransform, Outcome, TransformSpec, Update, check_decay, check_epsilon, check_own_rate,
    each_parameter::update_each,
    own_elementwise, own_rate, ratio,
    wide::{range_of, state_of_parameters},
};
use crate::{
    block::Blocks,
    error::Error,
    scalar::{Scalar, scalar},
};
use alloc::{vec, vec::Vec};

/// Adadelta with learning rate η and decay ρ: `w ← w − η Δ`, `Δ = √(u + ε)/√(v + ε) g`, with `v ← ρ v + (1 − ρ) g²`
/// and then `u ← ρ u + (1 − ρ) Δ²`.
///
/// If g² overflows the number format (|g| above about 1e20 in `f32`), the parameter never changes again: clip the
/// gradient first. Source: Zeiler 2012, algorithm 1; as in PyTorch.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Adadelta {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    rate: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    rho: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    epsilon: f64,
}

impl Adadelta {
    /// Creates Adadelta with the learning rate η (1 in the paper), ρ = 0.9 and ε = 1e-6.
    pub fn new(rate: f64) -> Self {
        Adadelta { rate, rho: 0.9, epsilon: 1e-6 }
    }

    /// Sets the decay ρ of the moving averages of squared gradients and of squared updates, at least 0 and below 1.
    /// The default is 0.9.
    #[must_use]
    pub fn rho(self, rho: f64) -> Self {
        Adadelta { rho, ..self }
    }

    /// Sets ε, which is added to both moving averages before their square roots are taken; not negative. With 0 the
    /// parameters never change. The default is 1e-6.
    #[must_use]
    pub fn epsilon(self, epsilon: f64) -> Self {
        Adadelta { epsilon, ..self }
    }

    /// Returns the function from `(w, g, [v, u])` to the update and the new `[v, u]`. These are the moving averages
    /// of squared gradients, and of squared updates before the learning rate is applied. The parameter w is not used.
    fn rule<T: Scalar>(&self) -> impl Fn(T, T, [T; 2]) -> (T, [T; 2]) + use<T> {
        let [rate, rho, fresh, epsilon] = [-self.rate, self.rho, 1.0 - self.rho, self.epsilon].map(scalar::<T>);
        move |_, g, [v, u]| {
            let v = rho * v + fresh * g * g;
            let delta = ratio((u + epsilon).sqrt() * g, (v + epsilon).sqrt());
            (rate * delta, [v, rho * u + fresh * delta * delta])
        }
    }
}

impl Adadelta {
    /// Implements [`GradientTransform::update`] for any scalar type.
    pub(crate) fn update_generic<T: Scalar>(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        update_each(update, [true; 2], |_| Some(false), self.rule::<f64>(), self.rule::<T>());
        Ok(Outcome::Apply)
    }
}

impl<T: Scalar> GradientTransform<T> for Adadelta {
    own_elementwise!(Adadelta, Optimizer);

    fn validate(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        check_own_rate::<T>(self.rate)?;
        check_decay("rho of Adadelta", self.rho)?;
        check_epsilon::<T>("epsilon of Adadelta", self.epsilon)
    }

    /// The length of the state, two values for each parameter: all v, the averages of squared gradients, then all u,
    /// the averages of squared updates. In `f16` and `bf16` the state holds √v and √u instead, each as three values.
    fn state_len(&self, blocks: &Blocks) -> usize {
        state_of_parameters::<T>(2, blocks)
    }

    own_rate!(self => self.rate);

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let spec = TransformSpec::new("Adadelta", GradientTransform::<T>::state_len(self, blocks)).layout("v, u");
        let spec = spec.non_negative(range_of::<T>(0, blocks)).non_negative(range_of::<T>(1, blocks));
        vec![spec.setting("rate", self.rate).setting("rho", self.rho).setting("epsilon", self.epsilon)]
    }
}
