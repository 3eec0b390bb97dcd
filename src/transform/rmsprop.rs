//! RMSprop.

use super::{
    GradientTransform, Outcome, Stage, TransformSpec, Update, check_amount, check_decay, check_rate, ratio, stretches,
};
use crate::{
    block::Blocks,
    error::Error,
    scalar::{Scalar, scalar},
};
use alloc::{vec, vec::Vec};

/// RMSprop: `w ← w − η g/(√v + ε)`, with `v ← α v + (1 − α) g²`.
///
/// Centred, the root is of `v − ḡ²`, with ḡ the same moving average of g. With momentum the step is
/// `b ← μ b + g/(√v + ε)`. Source: Tieleman & Hinton 2012; Graves 2013 (centred); as in PyTorch.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RmsProp {
    rate: f64,
    alpha: f64,
    epsilon: f64,
    momentum: f64,
    centred: bool,
}

impl RmsProp {
    /// RMSprop at the rate η, with α = 0.99 and ε = 1e-8.
    pub fn new(rate: f64) -> Self {
        RmsProp { rate, alpha: 0.99, epsilon: 1e-8, momentum: 0.0, centred: false }
    }

    /// Sets α, at least 0 and below 1.
    #[must_use]
    pub fn alpha(self, alpha: f64) -> Self {
        RmsProp { alpha, ..self }
    }

    /// Sets ε, not negative.
    #[must_use]
    pub fn epsilon(self, epsilon: f64) -> Self {
        RmsProp { epsilon, ..self }
    }

    /// Sets the momentum μ, at least 0 and below 1.
    #[must_use]
    pub fn momentum(self, momentum: f64) -> Self {
        RmsProp { momentum, ..self }
    }

    /// Divides by the standard deviation of the gradient instead of its root mean square.
    #[must_use]
    pub fn centred(self) -> Self {
        RmsProp { centred: true, ..self }
    }
}

impl<T: Scalar> GradientTransform<T> for RmsProp {
    fn prepare(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        check_rate::<T>(self.rate)?;
        check_decay("alpha of RMSprop", self.alpha)?;
        check_decay("momentum", self.momentum)?;
        check_amount::<T>("epsilon of RMSprop", self.epsilon)
    }

    fn stage(&self) -> Stage {
        Stage::Optimizer
    }

    /// v, then ḡ if centred, then b with momentum.
    fn needs(&self, blocks: &Blocks) -> usize {
        (1 + usize::from(self.centred) + usize::from(self.momentum > 0.0)) * blocks.parameters()
    }

    fn apply(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let [rate, alpha, fresh, epsilon, momentum] =
            [self.rate, self.alpha, 1.0 - self.alpha, self.epsilon, self.momentum].map(scalar::<T>);
        let n = update.gradient.len();
        let (v, rest) = update.state.split_at_mut(n);
        let (mean, buffer) = rest.split_at_mut(if self.centred { n } else { 0 });
        for i in stretches(update.blocks).flatten() {
            let g = update.gradient[i];
            v[i] = alpha * v[i] + fresh * g * g;
            let mut square = v[i];
            if self.centred {
                mean[i] += fresh * (g - mean[i]);
                square -= mean[i] * mean[i];
                // A variance is not negative, but rounding may take it there.
                square = if square < T::zero() { T::zero() } else { square };
            }
            let mut step = ratio(g, square.sqrt() + epsilon);
            if let Some(b) = buffer.get_mut(i) {
                *b = momentum * *b + step;
                step = *b;
            }
            update.gradient[i] = -rate * step;
        }
        Ok(Outcome::Apply)
    }

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let layout = match (self.centred, self.momentum > 0.0) {
            (false, false) => "v",
            (true, false) => "v, mean",
            (false, true) => "v, momentum",
            (true, true) => "v, mean, momentum",
        };
        let spec = TransformSpec::new("RmsProp", GradientTransform::<T>::needs(self, blocks))
            .layout(layout)
            .setting("rate", self.rate);
        let spec = spec.setting("alpha", self.alpha).setting("epsilon", self.epsilon);
        vec![spec.setting("momentum", self.momentum)]
    }
}
