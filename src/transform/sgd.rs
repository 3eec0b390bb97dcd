//! Gradient descent, with momentum.

use super::{
    GradientTransform, InPlace, Member, Outcome, Stage, TransformSpec, Update, check_decay, check_own_rate, own_rate,
    wide::state_of_parameters,
};
use crate::{
    block::Blocks,
    error::{Error, require},
    kernel::elementwise::scale,
    math::wide::{Wide, slots},
    scalar::{Scalar, is_narrow, scalar, scaled, to_f64},
};
use alloc::{vec, vec::Vec};

/// Gradient descent with learning rate η, momentum μ and dampening τ: `w ← w − η m`, with `m ← μ m + (1 − τ) g`; at
/// the first update `m = g`.
///
/// With Nesterov's momentum the update is `−η (g + μ m)`. Source: Polyak 1964; Sutskever et al. 2013; as in
/// PyTorch.
///
/// ```
/// use chainrule::{Block, Blocks, Role, transform::{Optimizer, Sgd}};
/// let blocks = Blocks::collect(|visit| visit(Block::new("w", 0, [1, 1], Role::Weight)));
/// let mut w = [1.0_f64];
/// let mut optimizer = Optimizer::new(Sgd::new(0.1).momentum(0.9), &blocks, &w)?;
/// for _ in 0..2 {
///     optimizer.step(&blocks, &mut w, &mut [1.0], &mut ())?;
/// }
/// assert!((w[0] - (1.0 - 0.1 - 0.1 * 1.9)).abs() < 1e-15);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Sgd {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    rate: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    momentum: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    dampening: f64,
    nesterov: bool,
}

impl Sgd {
    /// Creates gradient descent with the learning rate η, without momentum.
    pub fn new(rate: f64) -> Self {
        Sgd { rate, momentum: 0.0, dampening: 0.0, nesterov: false }
    }

    /// Sets the momentum μ, at least 0 and below 1. The default is 0, which is no momentum.
    #[must_use]
    pub fn momentum(self, momentum: f64) -> Self {
        Sgd { momentum, ..self }
    }

    /// Sets the dampening τ, at least 0 and below 1: after the first update, a gradient enters the momentum with the
    /// weight `1 − τ`. The default is 0.
    #[must_use]
    pub fn dampening(self, dampening: f64) -> Self {
        Sgd { dampening, ..self }
    }

    /// Uses Nesterov's momentum. It needs a positive momentum and no dampening.
    #[must_use]
    pub fn nesterov(self) -> Self {
        Sgd { nesterov: true, ..self }
    }
}

impl Sgd {
    /// Implements [`GradientTransform::update`] for any scalar type.
    pub(crate) fn update_generic<T: Scalar>(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        if update.state.is_empty() {
            for range in update.stretches() {
                let gradient = &mut update.gradient[range];
                if is_narrow::<T>() {
                    gradient.iter_mut().for_each(|g| *g = scaled(-self.rate, *g));
                } else {
                    scale(gradient, -scalar::<T>(self.rate));
                }
            }
            return Ok(Outcome::Apply);
        }
        if slots::<T>() > 1 {
            let (rule, n) = (self.rule::<f64>(update.step), update.blocks.parameters());
            // The state keeps (1 − μ) m, which is at most the largest gradient; m itself may be beyond the format.
            let (all, share) = (update.stretches().flatten(), 1.0 - self.momentum);
            let mut mean = Wide::new(update.state, n);
            for i in all {
                let of = update.start + i;
                let (m, step) = rule(to_f64(update.gradient[i]), mean.get(of) / share);
                mean.set(of, m * share);
                update.gradient[i] = scalar(step);
            }
            return Ok(Outcome::Apply);
        }
        let rule = self.rule::<T>(update.step);
        update.map_with_state(rule);
        Ok(Outcome::Apply)
    }
}

impl<T: Scalar> GradientTransform<T> for Sgd {
    fn validate(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        check_own_rate::<T>(self.rate)?;
        check_decay("momentum", self.momentum)?;
        check_decay("dampening", self.dampening)?;
        require(!self.nesterov || self.momentum > 0.0, "momentum under Nesterov", "positive", self.momentum)?;
        require(!self.nesterov || self.dampening == 0.0, "dampening under Nesterov", "0", self.dampening)
    }

    fn stage(&self) -> Stage {
        Stage::Optimizer
    }

    /// The length of the state: with momentum, one value for each parameter, the momentum buffer m. In `f16` and
    /// `bf16` the state holds `(1 − μ) m`, as three values. Without momentum there is no state.
    fn state_len(&self, blocks: &Blocks) -> usize {
        if self.momentum > 0.0 { state_of_parameters::<T>(1, blocks) } else { 0 }
    }

    fn update(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        T::Sgd(self, update)
    }

    own_rate!(self => self.rate);

    fn members(&self, visit: &mut dyn FnMut(Member)) {
        let plain = self.momentum == 0.0 && !is_narrow::<T>();
        let in_place = if plain { InPlace::Plain(self.rate) } else { InPlace::Elementwise };
        visit(Member { in_place, ..Member::applied::<Self>(Stage::Optimizer) });
    }

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let layout = if self.momentum > 0.0 { "momentum" } else { "" };
        let spec = TransformSpec::new("Sgd", GradientTransform::<T>::state_len(self, blocks))
            .layout(layout)
            .setting("rate", self.rate);
        let spec = spec.setting("momentum", self.momentum).setting("dampening", self.dampening);
        vec![spec.setting("nesterov", self.nesterov)]
    }
}

impl Sgd {
    /// Returns the function from `(g, m)` to the new m and the update. Here g is the gradient, and m the momentum
    /// buffer. `step` is the number of earlier updates.
    fn rule<T: Scalar>(&self, step: u64) -> impl Fn(T, T) -> (T, T) + use<T> {
        let (rate, momentum, nesterov) = (scalar::<T>(self.rate), scalar::<T>(self.momentum), self.nesterov);
        let fresh = if step == 0 { T::one() } else { scalar(1.0 - self.dampening) };
        move |g, m| {
            let m = momentum * m + fresh * g;
            (m, -rate * if nesterov { g + momentum * m } else { m })
        }
    }
}
