//! Layer-sequential unit variance.

use super::{Cause, Change, Effort, Fix, FixContext, FixStrategy};
use crate::{
    batch_shape::BatchShape,
    block::Role,
    error::{Error, require},
    layer::{Layer, Mode},
    monitor::{Factor, GradientMonitor, Link},
    scalar::{Scalar, scalar, to_f64},
    workspace::Workspace,
};
use alloc::{string::String, vec::Vec};

/// Weights rescaled, layer after layer, until what they give has variance 1 on a batch. Source: Mishkin & Matas 2016,
/// "All you need is a good init", algorithm 1, on the network's own first values.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Lsuv {
    /// How far from 1 a variance may stay; 0.1 in the paper.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub tolerance: f64,
    /// How often a layer is rescaled at most; 10 in the paper.
    pub trials: usize,
}

impl Default for Lsuv {
    fn default() -> Self {
        Lsuv { tolerance: 0.1, trials: 10 }
    }
}

/// The mean square about the mean of what the weights of one name give.
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
    /// Rescales the weights `w` of all [`Linear`](crate::layer::Linear) layers but the last, on this batch; returns how
    /// many there were.
    ///
    /// # Shapes
    /// x: \[rows, input\], time-major.
    ///
    /// # Errors
    /// [`Error::Parameter`] where a layer gives the same value everywhere, which no factor changes, or its variance is
    /// not finite. Those of [`Workspace::new`] and [`Workspace::forward`]. Weights before that layer stay rescaled.
    ///
    /// # Panics
    /// As [`Workspace::forward`].
    pub fn apply<T: Scalar>(
        &self,
        network: &(impl Layer<T> + ?Sized),
        w: &mut [T],
        x: &[T],
        shape: BatchShape<'_>,
    ) -> Result<usize, Error> {
        let mut workspace = Workspace::new(network, shape)?;
        let weights: Vec<_> = workspace.blocks().iter().filter(|block| block.role == Role::Weight).cloned().collect();
        let hidden = &weights[..weights.len().saturating_sub(1)];
        let mut rescaled = 0;
        for block in hidden {
            let mut shown = false;
            let name = block.name.strip_suffix(".weight").unwrap_or(&block.name);
            for _ in 0..self.trials {
                let mut seen = Variance { name, found: None };
                workspace.forward_with(w, x, shape, Mode::Evaluate, &mut seen)?;
                // A layer that shows no product of its own has none to rescale.
                let Some(variance) = seen.found else { break };
                shown = true;
                let valid = variance > 0.0 && variance.is_finite();
                require(valid, "the variance of a layer's output", "positive and finite", variance)?;
                if (variance - 1.0).abs() <= self.tolerance {
                    break;
                }
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
        let why = String::from("weights rescaled, layer after layer, until a batch has variance 1 behind each");
        Ok(Some(context.fix(self.name(), Effort::Initialization, Change::Lsuv(*self), why)))
    }
}
