//! Gradient clipping: by value, by norm per block, by global norm.

use super::{GradientTransform, Outcome, Stage, TransformSpec, Update, check_amount, trained};
use crate::{
    block::Blocks,
    error::{Error, require},
    kernel::{
        elementwise::scale,
        reduce::{norm, p_norm},
    },
    scalar::{Scalar, scalar},
};
use alloc::{vec, vec::Vec};
use num_traits::Float;

/// Each value brought to within ±c. NaN stays NaN.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ClipValue {
    limit: f64,
}

impl ClipValue {
    /// Clips at ±`limit`, which must be positive.
    pub fn new(limit: f64) -> Self {
        ClipValue { limit }
    }
}

impl<T: Scalar> GradientTransform<T> for ClipValue {
    fn prepare(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        require(self.limit > 0.0, "the limit of clipping by value", "positive", self.limit)
    }

    fn stage(&self) -> Stage {
        Stage::Clip
    }

    fn apply(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let limit = scalar::<T>(self.limit);
        for g in update.gradient {
            *g = if *g > limit {
                limit
            } else if *g < -limit {
                -limit
            } else {
                *g
            };
        }
        Ok(Outcome::Apply)
    }

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        vec![TransformSpec::new("ClipValue", GradientTransform::<T>::needs(self, blocks)).setting("limit", self.limit)]
    }
}

/// The gradient of all parameters together shortened to norm c: `g ← g · min(1, c/(‖g‖_p + ε))`.
///
/// ‖g‖ is over all trained parameters, and without overflow. A norm that is not finite leaves the gradient as it is:
/// scaling by it would write NaN everywhere; see [`Guard`](super::Guard). ε is 0 unless told otherwise; PyTorch has 1e-6.
/// Source: Pascanu, Mikolov & Bengio 2013, algorithm 1.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ClipNorm {
    most: f64,
    p: f64,
    epsilon: f64,
    norm: Option<f64>,
}

impl ClipNorm {
    /// Clips at a 2-norm of `most`, which must be positive.
    pub fn new(most: f64) -> Self {
        ClipNorm { most, p: 2.0, epsilon: 0.0, norm: None }
    }

    /// Sets the p of the norm: positive, perhaps infinite.
    #[must_use]
    pub fn p(self, p: f64) -> Self {
        ClipNorm { p, ..self }
    }

    /// Sets what is added to the norm it divides by.
    #[must_use]
    pub fn epsilon(self, epsilon: f64) -> Self {
        ClipNorm { epsilon, ..self }
    }

    /// The norm before clipping, at the last step.
    pub fn norm(&self) -> Option<f64> {
        self.norm
    }
}

impl<T: Scalar> GradientTransform<T> for ClipNorm {
    fn prepare(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        require(self.most > 0.0, "the norm to clip at", "positive", self.most)?;
        require(self.p > 0.0, "the p of a norm", "positive", self.p)?;
        check_amount::<T>("epsilon of clipping", self.epsilon)
    }

    fn stage(&self) -> Stage {
        Stage::Clip
    }

    fn apply(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        // Frozen blocks hold zeros, which add nothing to any norm.
        let length = if self.p == 2.0 { norm(update.gradient) } else { p_norm(update.gradient, self.p) };
        self.norm = Some(length);
        shorten(update.gradient, length, self.most, self.epsilon);
        Ok(Outcome::Apply)
    }

    fn clip_factor(&self) -> Option<f64> {
        let factor = self.most / (self.norm? + self.epsilon);
        Some(if factor < 1.0 { factor } else { 1.0 })
    }

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let spec = TransformSpec::new("ClipNorm", GradientTransform::<T>::needs(self, blocks));
        vec![spec.setting("norm", self.most).setting("p", self.p).setting("epsilon", self.epsilon)]
    }
}

/// Each block's gradient shortened to 2-norm c.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ClipBlockNorm {
    most: f64,
}

impl ClipBlockNorm {
    /// Clips each block at a 2-norm of `most`, which must be positive.
    pub fn new(most: f64) -> Self {
        ClipBlockNorm { most }
    }
}

impl<T: Scalar> GradientTransform<T> for ClipBlockNorm {
    fn prepare(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        require(self.most > 0.0, "the norm to clip at", "positive", self.most)
    }

    fn stage(&self) -> Stage {
        Stage::Clip
    }

    fn apply(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        for block in trained(update.blocks) {
            let gradient = &mut update.gradient[block.range.clone()];
            let length = norm(gradient);
            shorten(gradient, length, self.most, 0.0);
        }
        Ok(Outcome::Apply)
    }

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        vec![
            TransformSpec::new("ClipBlockNorm", GradientTransform::<T>::needs(self, blocks)).setting("norm", self.most),
        ]
    }
}

/// Scales a gradient of norm `length` down to `most`.
fn shorten<T: Scalar>(gradient: &mut [T], length: f64, most: f64, epsilon: f64) {
    let factor = most / (length + epsilon);
    if factor < 1.0 && length.is_finite() {
        let (whole, root) = (scalar::<T>(factor), scalar::<T>(Float::sqrt(factor)));
        if whole < T::min_positive_value() {
            // It has few digits left in this format; its root has all of them.
            gradient.iter_mut().for_each(|g| *g = *g * root * root);
        } else {
            scale(gradient, whole);
        }
    }
}
