//! The logarithm of softmax over the values of a row.

use super::{
    AddsByShard, Backward, Dims, Forward, Hints, Layer, LayerSpec,
    list::{Fact, ListedLayer, fact},
};
use crate::{batch_shape::BatchShape, loss::log_softmax, math, monitor::Factor, scalar::Scalar};
use alloc::{vec, vec::Vec};

/// The logarithm of softmax over the values of each row: `y_k = x_k − ln Σ_j exp(x_j)`.
///
/// Backward: `dx_k = dy_k − p_k Σ_j dy_j` with the probabilities `p = exp(y)`. It is the last layer for
/// [`NegativeLogLikelihood`](crate::loss::NegativeLogLikelihood) and [`KlDivergence`](crate::loss::KlDivergence), whose
/// outputs are log-probabilities; [`CrossEntropy`](crate::loss::CrossEntropy) contains it.
///
/// # Shapes
/// x, y: \[rows, width\].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LogSoftmax {
    width: usize,
}

impl LogSoftmax {
    /// Creates the logarithm of softmax for rows of `width` values.
    pub const fn new(width: usize) -> Self {
        LogSoftmax { width }
    }
}

impl ListedLayer for LogSoftmax {
    fn facts(&self) -> Vec<Fact> {
        vec![fact("width", self.width)]
    }

    #[cfg(feature = "proptest")]
    fn examples(width: usize) -> Vec<Self> {
        vec![LogSoftmax::new(width)]
    }
}

impl<T: Scalar> Layer<T> for LogSoftmax {
    crate::layer::own_box!(LogSoftmax);

    fn dims(&self) -> Dims {
        Dims::new(self.width, self.width, 0)
    }

    fn hints(&self) -> Hints {
        Hints::NONE.ignores_x()
    }

    /// Returns √width, an upper bound on the 2-norm of the Jacobian `I − 1 pᵀ`, with 1 = (1, …, 1) and p the
    /// probabilities. The Jacobian projects along 1, so its norm is `√width ‖p‖`, which is largest where one
    /// probability is 1. For a width of 1 the bound is 0.
    fn gain_bound(&self, _w: &[T], _shape: BatchShape<'_>) -> Option<f64> {
        Some(if self.width > 1 { libm::sqrt(self.width as f64) } else { 0.0 })
    }

    fn adds_by_shard(&self, _shape: BatchShape<'_>) -> AddsByShard {
        AddsByShard(true)
    }

    fn spec(&self) -> LayerSpec {
        LayerSpec::LogSoftmax(*self)
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        pass.check("LogSoftmax", self, w);
        if let Err(error) = log_softmax(self.width, pass.x, pass.y) {
            panic!("a pass of LogSoftmax must have rows: {error}");
        }
        pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        pass.check("LogSoftmax", self, w);
        let (Some(dx), width) = (pass.dx, self.width) else { return };
        for (y, (dy, dx)) in pass.y.chunks(width).zip(pass.dy.chunks(width).zip(dx.chunks_mut(width))) {
            let all = dy.iter().fold(T::zero(), |sum, &dy| sum + dy);
            for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
                // dx_k = (1 − p_k) dy_k − p_k Σ_{j≠k} dy_j. exp_m1 gives p_k − 1 without cancellation.
                *dx = -math::exp_m1(y) * dy - math::exp(y) * (all - dy);
            }
        }
        pass.ctx.report_backward(Factor::Other, pass.dy, dx);
    }
}
