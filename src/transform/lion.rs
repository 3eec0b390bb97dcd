//! Lion.

use super::{
    GradientTransform, Outcome, TransformSpec, Update, check_amount, check_decay, check_own_rate,
    each_parameter::update_each, matrices, own_elementwise, own_rate, wide::state_of_parameters,
};
use crate::{
    block::{Block, Blocks, Role},
    error::Error,
    scalar::{Scalar, scalar},
};
use alloc::{vec, vec::Vec};

/// Lion: `w ← w − η (sign(β₁ m + (1 − β₁) g) + λ w)`, then `m ← β₂ m + (1 − β₂) g`, with sign(0) = 0.
///
/// Before weight decay, each update moves a parameter by η or not at all. So η should be smaller than for Adam: in
/// the paper it is 3 to 10 times smaller. Unless [`decay`](Self::decay) is called, λ is 0. By default only matrices
/// decay, not biases and gains. Source: Chen et al. 2023, algorithm 2.
///
/// ```
/// use chainrule::{Block, Blocks, Role, transform::{Lion, Optimizer}};
/// let blocks = Blocks::collect(|visit| visit(Block::new("w", 0, [1, 1], Role::Weight)));
/// let mut w = [1.0_f64];
/// let mut optimizer = Optimizer::new(Lion::new(0.1), &blocks, &w)?;
/// optimizer.step(&blocks, &mut w, &mut [3.0], &mut ())?; // a gradient of 3
/// assert_eq!(w, [1.0 - 0.1]); // η sign(g)
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Lion {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    rate: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    betas: [f64; 2],
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    decay: f64,
    roles: Vec<Role>,
}

impl Lion {
    /// Creates Lion with the learning rate η, β = 0.9, 0.99 and no weight decay.
    pub fn new(rate: f64) -> Self {
        Lion { rate, betas: [0.9, 0.99], decay: 0.0, roles: matrices() }
    }

    /// Sets β₁, the weight of the moving average m in the direction of an update, and β₂, the decay of m. Both must
    /// be at least 0 and below 1; the defaults are 0.9 and 0.99.
    #[must_use]
    pub fn betas(self, first: f64, second: f64) -> Self {
        Lion { betas: [first, second], ..self }
    }

    /// Sets the decoupled weight decay λ: an update also subtracts `rate · λ · w`. The default is 0. A negative λ is
    /// an error when training begins.
    #[must_use]
    pub fn decay(self, decay: f64) -> Self {
        Lion { decay, ..self }
    }

    /// Sets the roles of the blocks with weight decay; by default weights and recurrent weights.
    #[must_use]
    pub fn roles(self, roles: &[Role]) -> Self {
        Lion { roles: roles.to_vec(), ..self }
    }

    /// Returns the function from `(w, g, [m])` to the update and the new `[m]`, the moving average of the gradient g.
    /// The weight decay acts on the parameter w.
    fn rule<T: Scalar>(&self) -> impl Fn(T, T, [T; 1]) -> (T, [T; 1]) + use<T> {
        let ([first, second], decay) = (self.betas, scalar::<T>(self.decay));
        let [b1, a1, b2, a2] = [first, 1.0 - first, second, 1.0 - second].map(scalar::<T>);
        let rate = scalar::<T>(-self.rate);
        move |w, g, [m]| {
            let direction = b1 * m + a1 * g;
            let sign = if direction.is_zero() { direction } else { direction.signum() };
            (rate * (sign + decay * w), [b2 * m + a2 * g])
        }
    }
}

impl Lion {
    /// Implements [`GradientTransform::update`] for any scalar type.
    pub(crate) fn update_generic<T: Scalar>(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let decays = |block: &Block| Some(self.decay > 0.0 && self.roles.contains(&block.role));
        update_each(update, [false], decays, self.rule::<f64>(), self.rule::<T>());
        Ok(Outcome::Apply)
    }
}

impl<T: Scalar> GradientTransform<T> for Lion {
    own_elementwise!(Lion, Optimizer);

    fn validate(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        check_own_rate::<T>(self.rate)?;
        check_decay("the first beta of Lion", self.betas[0])?;
        check_decay("the second beta of Lion", self.betas[1])?;
        check_amount::<T>("the weight decay of Lion", self.decay)
    }

    /// The length of the state, one value for each parameter: m, the moving average of gradients. In `f16` and `bf16`
    /// each m takes three values.
    fn state_len(&self, blocks: &Blocks) -> usize {
        state_of_parameters::<T>(1, blocks)
    }

    own_rate!(self => self.rate);

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let spec = TransformSpec::new("Lion", GradientTransform::<T>::state_len(self, blocks)).layout("m");
        let spec = spec.setting("rate", self.rate).setting("betas", self.betas);
        vec![spec.setting("decay", self.decay).setting("roles", &self.roles)]
    }
}
