//! Layer-sequential unit variance.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::{
    batch_shape::BatchShape,
    block::Role,
    diagnosis::health::time_major,
    error::{Error, require},
    layer::{DropoutKey, Layer, Mode},
    monitor::{Factor, GradientMonitor, Link},
    scalar::{Scalar, scalar, to_f64},
    workspace::Workspace,
};
use alloc::{string::String, vec::Vec};

/// Layer-sequential unit variance: rescales the weights of each layer, in order, until its output on a batch has
/// variance 1. Source: Mishkin & Matas 2016, "All you need is a good init", algorithm 1, starting from the given
/// weights.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Lsuv {
    /// The largest allowed |variance − 1|; 0.1 in the paper.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub tolerance: f64,
    /// The maximum number of times that a layer is rescaled; 10 in the paper. A variance that is then still outside the
    /// tolerance is no error. Rescaling stops earlier if the variance does not come nearer to 1, for example if the
    /// biases alone give a larger variance.
    pub trials: usize,
}

impl Default for Lsuv {
    fn default() -> Self {
        Lsuv { tolerance: 0.1, trials: 10 }
    }
}

/// A monitor that measures the variance of the output of the layer at the path `name`, after the product with its
/// weights.
struct Variance<'a> {
    name: &'a str,
    found: Option<f64>,
}

impl<T: Scalar> GradientMonitor<T> for Variance<'_> {
    fn forward(&mut self, at: &Link<'_>, _x: &[T], y: &[T]) {
        if at.factor == Factor::Weights && at.name == self.name {
            let count = y.len() as f64;
            let mean = y.iter().map(|&y| to_f64(y)).sum::<f64>() / count;
            self.found = Some(y.iter().map(|&y| (to_f64(y) - mean) * (to_f64(y) - mean)).sum::<f64>() / count);
        }
    }
}

impl Lsuv {
    /// Rescales the weights `w` of all [`Linear`](crate::layer::Linear) layers except the last, on one batch. Returns
    /// the number of these layers whose variance was measured, including those that needed no rescaling.
    ///
    /// # Shapes
    /// x: \[rows, input\], sample after sample, as [`Dataset::inputs`](crate::dataset::Dataset::inputs) has them.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a tolerance that is NaN or below 0, and if the variance of a layer's output is not
    /// finite, or 0, which no factor changes. Those of [`Workspace::new`] and [`Workspace::forward`]. On an error, the
    /// weights of earlier layers stay rescaled.
    ///
    /// # Panics
    /// Those of [`Workspace::forward`].
    pub fn apply<T: Scalar>(
        &self,
        network: &(impl Layer<T> + ?Sized),
        w: &mut [T],
        x: &[T],
        shape: BatchShape<'_>,
    ) -> Result<usize, Error> {
        self.apply_time_major(network, w, &time_major(network.dims().input, x, shape), shape)
    }

    /// Implements [`apply`](Self::apply) for rows `x` that are time-major, as a [`Batch`](crate::dataset::Batch) has
    /// them.
    pub(super) fn apply_time_major<T: Scalar>(
        &self,
        network: &(impl Layer<T> + ?Sized),
        w: &mut [T],
        x: &[T],
        shape: BatchShape<'_>,
    ) -> Result<usize, Error> {
        require(self.tolerance >= 0.0, "the tolerance of a variance", "at least 0", self.tolerance)?;
        let mut workspace = Workspace::new(network, shape)?;
        workspace.set_dropout_key(DropoutKey::off());
        let weights: Vec<_> = workspace.blocks().iter().filter(|block| block.role == Role::Weight).cloned().collect();
        let hidden = &weights[..weights.len().saturating_sub(1)];
        let mut rescaled = 0;
        for block in hidden {
            let (mut shown, mut nearest) = (false, f64::INFINITY);
            let name = block.name.strip_suffix(".weight").unwrap_or(&block.name);
            for _ in 0..self.trials {
                let mut seen = Variance { name, found: None };
                workspace.forward_with(w, x, shape, Mode::to_examine(network), &mut seen)?;
                // A layer that reports no weights link cannot be rescaled.
                let Some(variance) = seen.found else { break };
                shown = true;
                let valid = variance > 0.0 && variance.is_finite();
                require(valid, "the variance of a layer's output", "positive and finite", variance)?;
                let distance = (variance - 1.0).abs();
                if distance <= self.tolerance || distance >= nearest {
                    break;
                }
                nearest = distance;
                let factor = scalar::<T>(1.0 / libm::sqrt(variance));
                w[block.range.clone()].iter_mut().for_each(|w| *w *= factor);
            }
            rescaled += usize::from(shown);
        }
        Ok(rescaled)
    }
}

impl FixStrategy for Lsuv {
    fn name(&self) -> &'static str {
        "layer-sequential unit variance"
    }

    fn applies_to(&self, cause: Cause) -> bool {
        matches!(cause, Cause::SmallWeights | Cause::LargeWeights | Cause::Bottleneck)
    }

    fn propose(&self, context: &FixContext<'_>) -> Result<Option<Fix>, Error> {
        let why = String::from("weights rescaled layer by layer, until each output has variance 1 on a batch");
        Ok(Some(context.fix(self.name(), Effort::Initialization, Change::Lsuv(*self), why)))
    }
}
