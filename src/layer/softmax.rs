//! Softmax over the values of a row.

use super::{
    AddsByShard, Backward, Dims, Forward, Hints, Layer, LayerSpec,
    list::{Fact, ListedLayer, fact},
};
use crate::{batch_shape::BatchShape, loss::softmax, monitor::Factor, scalar::Scalar};
use alloc::{vec, vec::Vec};

/// Softmax over the values of each row: `y_k = exp(x_k)/Σ_j exp(x_j)`.
///
/// Backward: `dx_k = y_k (dy_k − Σ_j y_j dy_j)`. The function is computed from differences to the largest value, so
/// neither large values nor nearly certain rows lose digits. [`CrossEntropy`](crate::loss::CrossEntropy) contains it:
/// this layer is for probabilities inside a network, such as attention weights.
///
/// # Shapes
/// x, y: \[rows, width\].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Softmax {
    width: usize,
}

impl Softmax {
    /// Creates softmax for rows of `width` values.
    pub const fn new(width: usize) -> Self {
        Softmax { width }
    }
}

impl ListedLayer for Softmax {
    fn facts(&self) -> Vec<Fact> {
        vec![fact("width", self.width)]
    }

    #[cfg(feature = "proptest")]
    fn examples(width: usize) -> Vec<Self> {
        vec![Softmax::new(width)]
    }
}

impl<T: Scalar> Layer<T> for Softmax {
    crate::layer::own_box!(Softmax);

    fn dims(&self) -> Dims {
        Dims::new(self.width, self.width, 0)
    }

    fn hints(&self) -> Hints {
        Hints::NONE.ignores_x().saved_per_row()
    }

    /// Returns ½, an upper bound on the 2-norm of the Jacobian `diag(p) − p pᵀ`, with p the output. The norm is ½ if
    /// two values have probability ½, and smaller otherwise.
    fn gain_bound(&self, _w: &[T], _shape: BatchShape<'_>) -> Option<f64> {
        Some(0.5)
    }

    fn adds_by_shard(&self, _shape: BatchShape<'_>) -> AddsByShard {
        AddsByShard(true)
    }

    fn spec(&self) -> LayerSpec {
        LayerSpec::Softmax(*self)
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        pass.check("Softmax", self, w);
        if let Err(error) = softmax(self.width, pass.x, pass.y) {
            panic!("a pass of Softmax must have rows: {error}");
        }
        pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        pass.check("Softmax", self, w);
        let (Some(dx), width) = (pass.dx, self.width) else { return };
        for (p, (dy, dx)) in pass.y.chunks(width).zip(pass.dy.chunks(width).zip(dx.chunks_mut(width))) {
            // Gradients are taken relative to that of the largest probability, which removes a common offset.
            let larger = |best: usize, k: usize| if p[k] > p[best] { k } else { best };
            let base = dy[(0..p.len()).fold(0, larger)];
            let mean = p.iter().zip(dy).fold(T::zero(), |sum, (&p, &dy)| sum + p * (dy - base));
            for ((dx, &p), &dy) in dx.iter_mut().zip(p).zip(dy) {
                *dx = p * ((dy - base) - mean);
            }
        }
        pass.ctx.report_backward(Factor::Other, pass.dy, dx);
    }
}
