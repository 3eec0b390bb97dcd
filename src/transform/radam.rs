//! RAdam.

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

/// RAdam: Adam whose second moment is used once its variance is bounded, from about the sixth step on.
///
/// `w ← w − η r m̂ √(1 − β₂ᵗ)/(√v + ε)` with m and v as in [`Adam`](super::Adam),
/// `m̂ = m/(1 − β₁ᵗ)` and `r = √((ρ − 4)(ρ − 2) ρ_∞/((ρ_∞ − 4)(ρ_∞ − 2) ρ))`, where
/// `ρ_∞ = 2/(1 − β₂) − 1` and `ρ = ρ_∞ − 2 t β₂ᵗ/(1 − β₂ᵗ)`. While `ρ ≤ 5`,
/// `w ← w − η m̂`. Source: Liu et al. 2020, algorithm 2; the threshold is PyTorch's.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RAdam {
    #[cfg_attr(feature = "serde", serde(flatten))]
    settings: AdamSettings,
}

adam_setters!(RAdam);

impl RAdam {
    /// Creates RAdam with the learning rate η, β = 0.9, 0.999 and ε = 1e-8.
    pub fn new(rate: f64) -> Self {
        RAdam { settings: AdamSettings::new(rate) }
    }

    /// Returns the function from `(w, g, [m, v])` to the update and the new `[m, v]`: the moving averages of the
    /// gradient g and of g². The parameter w is not read. `step` is the number of updates before this one.
    fn rule<T: Scalar>(&self, step: u64) -> impl Fn(T, T, [T; 2]) -> (T, [T; 2]) + use<T> {
        let ([first, second], t) = (self.settings.betas, step as f64 + 1.0);
        let (power, longest) = (remainder(second, t), 2.0 / (1.0 - second) - 1.0);
        let length = longest - 2.0 * t * power / (1.0 - power);
        let momentum = -self.settings.rate / (1.0 - remainder(first, t));
        // √(1 − β₂ᵗ) r; `None` while the variance is not bounded.
        let rectified = (length > 5.0).then(|| {
            let r = (length - 4.0) * (length - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * length);
            scalar::<T>(momentum * libm::sqrt(r * (1.0 - power)))
        });
        let [b1, a1, b2, a2] = [first, 1.0 - first, second, 1.0 - second].map(scalar::<T>);
        let (momentum, epsilon) = (scalar::<T>(momentum), scalar::<T>(self.settings.epsilon));
        move |_, g, [m, v]| {
            let (m, v) = (b1 * m + a1 * g, b2 * v + a2 * g * g);
            let step = match rectified {
                Some(factor) => ratio(factor * m, v.sqrt() + epsilon),
                None => momentum * m,
            };
            (step, [m, v])
        }
    }
}

impl RAdam {
    /// Implements [`GradientTransform::update`] for any scalar type.
    pub(crate) fn update_generic<T: Scalar>(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let (wide, rule) = (self.rule::<f64>(update.step), self.rule::<T>(update.step));
        update_each(update, [false, true], |_| Some(false), wide, rule);
        Ok(Outcome::Apply)
    }
}

impl<T: Scalar> GradientTransform<T> for RAdam {
    own_elementwise!(RAdam, Optimizer);

    fn validate(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        self.check_settings::<T>()
    }

    /// Two values for each parameter: all m, then all v. In `f16` and `bf16` three values each hold m and √v.
    fn state_len(&self, blocks: &Blocks) -> usize {
        2 * slots::<T>() * blocks.parameters()
    }

    own_rate!(self => self.settings.rate);

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let spec = TransformSpec::new("RAdam", GradientTransform::<T>::state_len(self, blocks)).layout("m, v");
        vec![self.settings.describe(spec)]
    }
}
