//! Adamax.

use super::{
    adam_settings::{AdamSettings, adam_setters, two_moments},
    each_parameter::complement,
    ratio,
};
use crate::scalar::{Scalar, scalar};

/// Adamax: Adam with a decayed maximum of |g| in place of the root of the second moment.
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
    /// gradient g, and the decayed maximum of |g|. The parameter w is not used. `step` is the number of earlier
    /// updates.
    fn rule<T: Scalar>(&self, step: u64) -> impl Fn(T, T, [T; 2]) -> (T, [T; 2]) + use<T> {
        let [first, second] = self.settings.betas;
        let rate = scalar::<T>(-self.settings.rate / complement(first, step as f64 + 1.0));
        let [b1, a1, b2, epsilon] = [first, 1.0 - first, second, self.settings.epsilon].map(scalar::<T>);
        move |_, g, [m, u]| {
            let (m, faded, new) = (b1 * m + a1 * g, b2 * u, g.abs() + epsilon);
            let u = if new > faded || new.is_nan() { new } else { faded };
            (ratio(rate * m, u), [m, u])
        }
    }
}

two_moments!(
    Adamax,
    "m, u",
    [false; 2],
    "Two values for each parameter: all m, then all u. In `f16` and `bf16` each takes three values."
);
