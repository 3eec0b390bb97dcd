//! Gradient descent, with momentum.

use super::{Descent, GradientTransform, Outcome, Stage, TransformSpec, Update, check_decay, check_rate, stretches};
use crate::{
    block::Blocks,
    error::{Error, require},
    kernel::elementwise::{descend, scale},
    scalar::{Scalar, scalar},
};
use alloc::{vec, vec::Vec};

/// Gradient descent: `w ← w − η m`, with `m ← μ m + (1 − τ) g`, and `m = g` at the first step.
///
/// With Nesterov's momentum the step is `g + μ m`. Source: Polyak 1964; Sutskever et al. 2013; as in PyTorch.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Sgd {
    rate: f64,
    momentum: f64,
    dampening: f64,
    nesterov: bool,
}

impl Sgd {
    /// Plain gradient descent at the rate η.
    pub fn new(rate: f64) -> Self {
        Sgd { rate, momentum: 0.0, dampening: 0.0, nesterov: false }
    }

    /// Sets the momentum μ, at least 0 and below 1.
    #[must_use]
    pub fn momentum(self, momentum: f64) -> Self {
        Sgd { momentum, ..self }
    }

    /// Sets the dampening τ, at least 0 and below 1.
    #[must_use]
    pub fn dampening(self, dampening: f64) -> Self {
        Sgd { dampening, ..self }
    }

    /// Makes the momentum Nesterov's; it needs momentum, and no dampening.
    #[must_use]
    pub fn nesterov(self) -> Self {
        Sgd { nesterov: true, ..self }
    }
}

impl<T: Scalar> GradientTransform<T> for Sgd {
    fn prepare(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        check_rate::<T>(self.rate)?;
        check_decay("momentum", self.momentum)?;
        check_decay("dampening", self.dampening)?;
        require(!self.nesterov || self.momentum > 0.0, "momentum under Nesterov", "positive", self.momentum)?;
        require(!self.nesterov || self.dampening == 0.0, "dampening under Nesterov", "0", self.dampening)
    }

    fn stage(&self) -> Stage {
        Stage::Optimizer
    }

    fn needs(&self, blocks: &Blocks) -> usize {
        if self.momentum > 0.0 { blocks.parameters() } else { 0 }
    }

    fn apply(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let (rate, momentum) = (scalar::<T>(self.rate), scalar::<T>(self.momentum));
        let fresh = if update.step == 0 { T::one() } else { scalar(1.0 - self.dampening) };
        for range in stretches(update.blocks) {
            let gradient = &mut update.gradient[range.clone()];
            if update.state.is_empty() {
                scale(gradient, -rate);
                continue;
            }
            for (g, m) in gradient.iter_mut().zip(&mut update.state[range]) {
                *m = momentum * *m + fresh * *g;
                *g = -rate * if self.nesterov { *g + momentum * *m } else { *m };
            }
        }
        Ok(Outcome::Apply)
    }
    /// Without momentum, one pass: `w ← w + (−η) g`.
    fn descend(&mut self, step: Descent<'_, T>) -> Result<Outcome, Error> {
        if !step.state.is_empty() {
            return step.by(|update| self.apply(update));
        }
        let rate = scalar::<T>(self.rate);
        for range in stretches(step.blocks) {
            descend(&mut step.w[range.clone()], rate, &step.gradient[range]);
        }
        Ok(Outcome::Apply)
    }
    fn plain_rate(&self) -> Option<f64> {
        (self.momentum == 0.0).then_some(self.rate)
    }

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let layout = if self.momentum > 0.0 { "momentum" } else { "" };
        let spec = TransformSpec::new("Sgd", GradientTransform::<T>::needs(self, blocks))
            .layout(layout)
            .setting("rate", self.rate);
        let spec = spec.setting("momentum", self.momentum).setting("dampening", self.dampening);
        vec![spec.setting("nesterov", self.nesterov)]
    }
}
