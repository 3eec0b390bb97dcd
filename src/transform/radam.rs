//! RAdam.

use super::{
    adam_settings::{AdamSettings, adam_setters, two_moments},
    each_parameter::complement,
    ratio,
};
use crate::scalar::{Scalar, scalar};

/// RAdam: Adam, but without the second moment until the variance of the update is bounded, at about the sixth update.
///
/// `w ← w − η r m̂ √(1 − β₂ᵗ)/(√v + ε)` with m and v as in [`Adam`](super::Adam),
/// `m̂ = m/(1 − β₁ᵗ)` and `r = √((ρ − 4)(ρ − 2) ρ_∞/((ρ_∞ − 4)(ρ_∞ − 2) ρ))`, where
/// `ρ_∞ = 2/(1 − β₂) − 1` and `ρ = ρ_∞ − 2 t β₂ᵗ/(1 − β₂ᵗ)` at update t. While `ρ ≤ 5`, `w ← w − η m̂`. If g²
/// overflows the number format (|g| above about 1e20 in `f32`), the parameter never changes again from the sixth
/// update on: clip the gradient first. Source: Liu et al. 2020, algorithm 2; the threshold is PyTorch's.
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

    /// Returns `ρ = ρ_∞ − 2 t β₂ᵗ/(1 − β₂ᵗ)` after t updates, with `ρ_∞ = 2/(1 − β₂) − 1`. It is the number of
    /// gradients over which the moving average of squared gradients effectively averages. With `u = −ln β₂`,
    /// `ρ_∞ = coth(u/2)` and `2 t β₂ᵗ/(1 − β₂ᵗ) = t (coth(t u/2) − 1)`. Each of the two contains the term 2/u, which
    /// is large for β₂ near 1; the difference is computed without it.
    fn length(&self, t: f64) -> f64 {
        let half = -0.5 * libm::log1p(-(1.0 - self.settings.betas[1]));
        t + langevin(half) - t * langevin(t * half)
    }

    /// Returns the function from `(w, g, [m, v])` to the update and the new `[m, v]`: the moving averages of the
    /// gradient g and of g². The parameter w is not used. `step` is the number of earlier updates.
    fn rule<T: Scalar>(&self, step: u64) -> impl Fn(T, T, [T; 2]) -> (T, [T; 2]) + use<T> {
        let ([first, second], t) = (self.settings.betas, step as f64 + 1.0);
        let (length, longest) = (self.length(t), 2.0 / (1.0 - second) - 1.0);
        let momentum = -self.settings.rate / complement(first, t);
        // −η √(1 − β₂ᵗ) r/(1 − β₁ᵗ), the factor of m; `None` while the variance is not bounded.
        let rectified = (length > 5.0).then(|| {
            let r = (length - 4.0) * (length - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * length);
            scalar::<T>(momentum * libm::sqrt(r * complement(second, t)))
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

/// Returns `coth x − 1/x` for x ≥ 0.
fn langevin(x: f64) -> f64 {
    if x > 0.1 {
        return 1.0 / libm::tanh(x) - 1.0 / x;
    }
    // The Taylor series up to the term in x⁹.
    let square = x * x;
    let terms = [2.0 / 93555.0, -1.0 / 4725.0, 2.0 / 945.0, -1.0 / 45.0, 1.0 / 3.0];
    x * terms.into_iter().fold(0.0, |sum, term| sum * square + term)
}

two_moments!(
    RAdam,
    "m, v",
    [false, true],
    "Two values for each parameter: all m, then all v. In `f16` and `bf16` three values each hold m and √v."
);
