//! L1, L2 and elastic-net penalties.

use super::{GradientTransform, Outcome, TransformSpec, Update, check_amount, matrices, own_elementwise};
use crate::{
    block::{Blocks, Role},
    error::Error,
    scalar::{Scalar, is_narrow, scalar, to_f64},
};
use alloc::{vec, vec::Vec};

/// Adds the gradient of the penalty `λ₁ ‖w‖₁ + ½ λ₂ ‖w‖₂²` to that of the loss: `g ← g + λ₁ sign(w) + λ₂ w`.
///
/// By default only matrices are penalized, not biases and gains. λ₂ equals the `weight_decay` of SGD and Adam in
/// PyTorch.
/// Source: Zou & Hastie 2005.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Penalty {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    l1: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    l2: f64,
    roles: Vec<Role>,
}

impl Penalty {
    /// Creates the L1 penalty `lambda · ‖w‖₁`, with `lambda` not negative.
    pub fn l1(lambda: f64) -> Self {
        Self::elastic_net(lambda, 0.0)
    }

    /// Creates the L2 penalty `½ lambda · ‖w‖₂²`, with `lambda` not negative.
    pub fn l2(lambda: f64) -> Self {
        Self::elastic_net(0.0, lambda)
    }

    /// Creates the penalty `l1 · ‖w‖₁ + ½ l2 · ‖w‖₂²`, with both factors not negative.
    pub fn elastic_net(l1: f64, l2: f64) -> Self {
        Penalty { l1, l2, roles: matrices() }
    }

    /// Sets the roles of the blocks that are penalized; by default weights and recurrent weights.
    #[must_use]
    pub fn roles(self, roles: &[Role]) -> Self {
        Penalty { roles: roles.to_vec(), ..self }
    }
}

impl Penalty {
    /// Returns `g` plus the gradient of the penalty at the parameter `w`.
    #[inline(always)]
    fn gradient<T: Scalar>(&self, g: T, w: T) -> T {
        let sign = if w.is_zero() { T::zero() } else { w.signum() };
        g + (scalar::<T>(self.l1) * sign + scalar::<T>(self.l2) * w)
    }
}

impl Penalty {
    /// Implements [`GradientTransform::update`] for any scalar type.
    pub(crate) fn update_generic<T: Scalar>(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let rule = |g: T, w: T| {
            if is_narrow::<T>() { scalar(self.gradient(to_f64(g), to_f64(w))) } else { self.gradient(g, w) }
        };
        for (_, range) in update.trained().filter(|(block, _)| self.roles.contains(&block.role)) {
            for (g, &w) in update.gradient[range.clone()].iter_mut().zip(&update.w[range]) {
                *g = rule(*g, w);
            }
        }
        Ok(Outcome::Apply)
    }
}

impl<T: Scalar> GradientTransform<T> for Penalty {
    own_elementwise!(Penalty, Regularization);

    fn validate(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        check_amount::<T>("the factor of an L1 penalty", self.l1)?;
        check_amount::<T>("the factor of an L2 penalty", self.l2)
    }

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let spec = TransformSpec::new("Penalty", GradientTransform::<T>::state_len(self, blocks));
        vec![spec.setting("l1", self.l1).setting("l2", self.l2).setting("roles", &self.roles)]
    }
}
