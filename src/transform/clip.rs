//! Gradient clipping: by value, by norm per block, by global norm.

use super::{GradientTransform, Outcome, TransformSpec, Update, check_amount, own_applied, own_elementwise};
use crate::{
    block::Blocks,
    error::{Error, require},
    kernel::{
        elementwise::scale,
        reduce::{norm, norm_parts, p_norm},
    },
    scalar::{Scalar, is_narrow, scalar, scaled},
};
use alloc::{vec, vec::Vec};

/// Clips each value of the gradient to the range from −c to c, where c is the argument of [`new`](Self::new). NaN
/// stays NaN.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ClipValue {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    limit: f64,
    #[cfg_attr(feature = "serde", serde(skip))]
    clipped: Option<f64>,
}

impl ClipValue {
    /// Creates the transform that clips at ±`limit`, which must be positive.
    pub fn new(limit: f64) -> Self {
        ClipValue { limit, clipped: None }
    }
}

impl ClipValue {
    /// Implements [`GradientTransform::update`] for any scalar type.
    pub(crate) fn update_generic<T: Scalar>(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let limit = scalar::<T>(self.limit);
        for g in &mut *update.gradient {
            *g = if *g > limit {
                limit
            } else if *g < -limit {
                -limit
            } else {
                *g
            };
        }
        self.clipped = update.recorded.then(|| norm(update.gradient));
        Ok(Outcome::Apply)
    }
}

impl<T: Scalar> GradientTransform<T> for ClipValue {
    own_elementwise!(ClipValue, Clip);

    fn validate(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        check_limit::<T>("the limit of clipping by value", self.limit)
    }

    fn clipped_norm(&self) -> Option<f64> {
        self.clipped
    }

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        vec![
            TransformSpec::new("ClipValue", GradientTransform::<T>::state_len(self, blocks))
                .setting("limit", self.limit),
        ]
    }
}

/// Clips the gradient of all parameters to a norm of at most c, the argument of [`new`](Self::new):
/// `g ← g · min(1, c/(‖g‖_p + ε))`.
///
/// The p-norm, by default the 2-norm, is that of the gradient of all trained parameters, computed without overflow. A
/// gradient with a value that is not finite is left unchanged, since scaling by its norm would make all values NaN;
/// see [`SkipNonFinite`](super::SkipNonFinite). By default ε is 0, while PyTorch uses 1e-6. Source: Pascanu, Mikolov
/// & Bengio 2013, algorithm 1.
///
/// ```
/// use chainrule::{Blocks, layer::{Layer, Linear}, transform::{ClipNorm, Optimizer, Sgd}};
/// let layer = Linear::new(1, 1);
/// let blocks = Blocks::collect(|visit| Layer::<f64>::blocks(&layer, visit));
/// let mut w = [0.0_f64, 0.0];
/// let mut optimizer = Optimizer::new((ClipNorm::new(1.0), Sgd::new(1.0)), &blocks, &w)?;
/// optimizer.step(&blocks, &mut w, &mut [30.0, 40.0], &mut ())?; // of norm 50
/// assert!((w[0] + 0.6).abs() < 1e-12 && (w[1] + 0.8).abs() < 1e-12); // of norm 1, in the same direction
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ClipNorm {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    most: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    p: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    epsilon: f64,
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    norm: Option<f64>,
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    factor: Option<f64>,
    #[cfg_attr(feature = "serde", serde(skip))]
    clipped: Option<f64>,
}

impl ClipNorm {
    /// Creates the transform that clips the gradient at a 2-norm of `most`, which must be positive.
    pub fn new(most: f64) -> Self {
        ClipNorm { most, p: 2.0, epsilon: 0.0, norm: None, factor: None, clipped: None }
    }

    /// Sets the p of the p-norm: positive, possibly infinite. The default is 2.
    #[must_use]
    pub fn p(self, p: f64) -> Self {
        ClipNorm { p, ..self }
    }

    /// Sets ε, which is added to the norm in the denominator; not negative. The default is 0.
    #[must_use]
    pub fn epsilon(self, epsilon: f64) -> Self {
        ClipNorm { epsilon, ..self }
    }

    /// Returns the p-norm of the gradient before clipping, at the last update; `None` before the first update.
    pub fn norm(&self) -> Option<f64> {
        self.norm
    }
}

impl ClipNorm {
    /// Implements [`GradientTransform::update`] for any scalar type.
    pub(crate) fn update_generic<T: Scalar>(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        // The gradient of frozen blocks is 0, which adds nothing to any norm.
        let length = if self.p == 2.0 { norm(update.gradient) } else { p_norm(update.gradient, self.p) };
        self.norm = Some(length);
        self.factor = Some(shorten(update.gradient, self.p, length, self.most, self.epsilon));
        self.clipped = update.recorded.then(|| norm(update.gradient));
        Ok(Outcome::Apply)
    }
}

impl<T: Scalar> GradientTransform<T> for ClipNorm {
    fn validate(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        check_limit::<T>("the norm to clip at", self.most)?;
        require(self.p > 0.0, "the p of a norm", "positive", self.p)?;
        check_amount::<T>("epsilon of clipping", self.epsilon)
    }

    own_applied!(Clip);

    fn update(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        T::ClipNorm(self, update)
    }

    fn clip_factor(&self) -> Option<f64> {
        self.factor
    }

    fn clipped_norm(&self) -> Option<f64> {
        self.clipped
    }

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let spec = TransformSpec::new("ClipNorm", GradientTransform::<T>::state_len(self, blocks));
        vec![spec.setting("norm", self.most).setting("p", self.p).setting("epsilon", self.epsilon)]
    }
}

/// Clips the gradient of each block separately: if its 2-norm exceeds the argument of [`new`](Self::new), the block's
/// gradient is scaled down to that norm.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ClipBlockNorm {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    most: f64,
    #[cfg_attr(feature = "serde", serde(skip))]
    clipped: Option<f64>,
}

impl ClipBlockNorm {
    /// Creates the transform that clips each block at a 2-norm of `most`, which must be positive.
    pub fn new(most: f64) -> Self {
        ClipBlockNorm { most, clipped: None }
    }
}

impl ClipBlockNorm {
    /// Implements [`GradientTransform::update`] for any scalar type.
    pub(crate) fn update_generic<T: Scalar>(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        for (_, range) in update.trained() {
            let gradient = &mut update.gradient[range];
            let length = norm(gradient);
            shorten(gradient, 2.0, length, self.most, 0.0);
        }
        self.clipped = update.recorded.then(|| norm(update.gradient));
        Ok(Outcome::Apply)
    }
}

impl<T: Scalar> GradientTransform<T> for ClipBlockNorm {
    fn validate(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        check_limit::<T>("the norm to clip at", self.most)
    }

    own_applied!(Clip);

    fn update(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        T::ClipBlockNorm(self, update)
    }

    fn clipped_norm(&self) -> Option<f64> {
        self.clipped
    }

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        vec![
            TransformSpec::new("ClipBlockNorm", GradientTransform::<T>::state_len(self, blocks))
                .setting("norm", self.most),
        ]
    }
}

/// Returns an error for a limit that is not positive, or that rounds to 0 in the format `T`, so that it would clip
/// every gradient to 0. The error calls it `what`.
fn check_limit<T: Scalar>(what: &'static str, limit: f64) -> Result<(), Error> {
    require(limit > 0.0, what, "positive", limit)?;
    require(scalar::<T>(limit) > T::zero(), what, "positive in the number format of the network", limit)
}

/// Multiplies a gradient of p-norm `length` by `most/(length + epsilon)` if this factor is below 1, and returns the
/// factor. Otherwise, or if a value of the gradient is not finite, the gradient is unchanged and the result is 1.
fn shorten<T: Scalar>(gradient: &mut [T], p: f64, length: f64, most: f64, epsilon: f64) -> f64 {
    let factor = most / (length + epsilon);
    if factor.is_nan() || factor >= 1.0 {
        return 1.0;
    }
    let whole = scalar::<T>(factor);
    if length.is_finite() && whole >= T::min_positive_value() {
        if is_narrow::<T>() {
            gradient.iter_mut().for_each(|g| *g = scaled(factor, *g));
        } else {
            scale(gradient, whole);
        }
        return factor;
    }
    // The norm or the factor is out of range, but each intermediate result of `g/largest/(norm/largest) · most` is in
    // range.
    let (largest, rest) = norm_parts(gradient, p);
    if largest == 0.0 || !largest.is_finite() {
        return 1.0;
    }
    let rest = if length.is_finite() { (length + epsilon) / largest } else { rest };
    let [by, and_by, times, both] = [largest, rest, most, most / rest].map(scalar::<T>);
    if and_by.is_finite() && times.is_finite() {
        gradient.iter_mut().for_each(|g| *g = *g / by / and_by * times);
    } else {
        // `most/rest` is below `largest`, so this quotient does not overflow.
        gradient.iter_mut().for_each(|g| *g = *g / by * both);
    }
    most / largest / rest
}
