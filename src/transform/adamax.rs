//! Adamax.

use super::{
    GradientTransform, Outcome, TransformSpec, Update,
    adam_settings::{AdamSettings, adam_setters},
    each_parameter::{remainder, update_each},
    own_elementwise, own_rate, ratio,
    wide::slots,
};
use crate::{
    block::Blocks,
    error::Error,
    scalar::{Scalar, scalar},
};
use alloc::{vec, vec::Vec};

/// Adamax: Adam with the largest gradient in place of the second moment.
///
/// `w ← w − η m̂/u` with `m ← β₁ m + (1 − β₁) g`, `m̂ = m/(1 − β₁ᵗ)` and
/// `u ← max(β₂ u, |g| + ε)`. Source: Kingma & Ba 2015, algorithm 2; ε as in PyTorch.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Adamax {
    #[cfg_attr(feature = "serde", serde(flatten))]
    settings: AdamSettings,
}

adam_setters!(Adamax);

impl Adamax {
    /// Creates Adamax with the learning rate η, and β = 0.9, 0.999 and ε = 1e-8.
    pub fn new(rate: f64) -> Self {
        Adamax { settings: AdamSettings::new(rate) }
    }

    /// Returns the function from `(w, g, [m, u])` to the update and the new `[m, u]`: the moving average of the
    /// gradient g and the decayed maximum of |g|. The parameter w is not read. `step` is the number of updates before
    /// this one.
    fn rule<T: Scalar>(&self, step: u64) -> impl Fn(T, T, [T; 2]) -> (T, [T; 2]) + use<T> {
        let [first, second] = self.settings.betas;
        let rate = scalar::<T>(-self.settings.rate / (1.0 - remainder(first, step as f64 + 1.0)));
        let [b1, a1, b2, epsilon] = [first, 1.0 - first, second, self.settings.epsilon].map(scalar::<T>);
        move |_, g, [m, u]| {
            let (m, faded, new) = (b1 * m + a1 * g, b2 * u, g.abs() + epsilon);
            let u = if new > faded || new.is_nan() { new } else { faded };
            (ratio(rate * m, u), [m, u])
        }
    }
}

impl Adamax {
    /// Implements [`GradientTransform::update`] for any scalar type.
    pub(crate) fn update_generic<T: Scalar>(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let (wide, rule) = (self.rule::<f64>(update.step), self.rule::<T>(update.step));
        update_each(update, [false; 2], |_| Some(false), wide, rule);
        Ok(Outcome::Apply)
    }
}

impl<T: Scalar> GradientTransform<T> for Adamax {
    own_elementwise!(Adamax, Optimizer);

    fn validate(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        self.check_settings::<T>()
    }

    /// Two values for each parameter: all m, then all u. In `f16` and `bf16` each takes three values.
    fn state_len(&self, blocks: &Blocks) -> usize {
        2 * slots::<T>() * blocks.parameters()
    }

    own_rate!(self => self.settings.rate);

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let spec = TransformSpec::new("Adamax", GradientTransform::<T>::state_len(self, blocks)).layout("m, u");
        vec![self.settings.describe(spec)]
    }
}
