//! Dropout, with masks from a counter-based generator.

use super::{
    AddsByShard, Backward, Context, Dims, Forward, Hints, Layer, LayerSpec,
    dropout_key::{drop_threshold, kept_factor},
    list::{Fact, ListedLayer, fact},
};
use crate::{
    batch_shape::BatchShape,
    error::{Error, require},
    linalg::Upper,
    monitor::Factor,
    scalar::Scalar,
};
use alloc::{vec, vec::Vec};

/// In training, each value is set to zero with probability `rate`, the others are divided by `1 − rate`;
/// otherwise `y = x`.
///
/// The mask is a function of seed, training step, layer, sample, time step and unit alone: a batch split in two, a
/// resumed run and the backward pass use the same mask. Source: Srivastava et al. 2014.
///
/// ```
/// use chainrule::{BatchShape, layer::Dropout, workspace::Workspace};
/// let (x, shape) = ([3.0_f64; 8], BatchShape::batch(2));
/// let mut workspace = Workspace::new(Dropout::new(4, 0.5)?, shape)?;
/// assert_eq!(workspace.infer(&[], &x, shape)?, x); // off
/// let y = workspace.forward(&[], &x, shape)?.y; // in training: 0, or x/(1 − rate)
/// assert!(y.iter().all(|&y| y == 0.0 || y == 6.0));
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Shapes
/// x, y: \[rows, width\].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Dropout {
    width: usize,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub(crate) rate: f64,
    /// Whether a sample has one mask for all its time steps.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "core::ops::Not::not"))]
    locked: bool,
}

impl Dropout {
    /// Creates dropout of the probability `rate` for rows of `width` values.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless 0 ≤ `rate` < 1.
    pub fn new(width: usize, rate: f64) -> Result<Self, Error> {
        let dropout = Dropout { width, rate, locked: false };
        dropout.check().map(|()| dropout)
    }

    /// Uses one mask for all time steps of a sample. In a recurrent network this prevents the noise of the steps
    /// from averaging out (variational dropout: Gal & Ghahramani 2016, §4).
    #[must_use]
    pub fn locked(self) -> Self {
        Dropout { locked: true, ..self }
    }

    fn apply<T: Scalar>(&self, ctx: &Context<'_, T>, from: &[T], to: &mut [T]) {
        let Context { shape, dropout, path, .. } = *ctx;
        if !ctx.draws_masks() || self.rate == 0.0 {
            return to.copy_from_slice(from);
        }
        let (keep, threshold) = (kept_factor::<T>(self.rate), drop_threshold(self.rate));
        let dropout = if self.locked { dropout.without_step() } else { dropout };
        let mut rows = from.chunks(self.width).zip(to.chunks_mut(self.width));
        for step in 0..shape.steps {
            for (sample, (from, to)) in rows.by_ref().take(shape.active(step)).enumerate() {
                let key = dropout.row(path.index(), sample, if self.locked { 0 } else { step });
                for (unit, (&from, to)) in from.iter().zip(to).enumerate() {
                    *to = if key.is_dropped(unit, threshold) { T::zero() } else { from * keep };
                }
            }
        }
    }
}

impl ListedLayer for Dropout {
    fn facts(&self) -> Vec<Fact> {
        vec![fact("width", self.width)]
    }

    fn training_facts(&self) -> Vec<Fact> {
        let locked = self.locked.then(|| fact("locked", format_args!("locked")));
        [fact("rate", self.rate)].into_iter().chain(locked).collect()
    }

    fn check(&self) -> Result<(), Error> {
        require((0.0..1.0).contains(&self.rate), "dropout rate", "at least 0 and below 1", self.rate)
    }

    #[cfg(feature = "proptest")]
    fn examples(width: usize) -> Vec<Self> {
        [0.0, 0.2, 0.5].map(|rate| Dropout { width, rate, locked: rate > 0.3 }).into()
    }
}

impl<T: Scalar> Layer<T> for Dropout {
    crate::layer::own_box!(Dropout);

    fn dims(&self) -> Dims {
        Dims::new(self.width, self.width, 0)
    }

    fn hints(&self) -> Hints {
        Hints::NONE.ignores_x().ignores_y().saved_per_row()
    }

    /// Returns `1/(1 − rate)`, the largest 2-norm of the Jacobian: it is diagonal, with the values 0 and
    /// `1/(1 − rate)`.
    fn gain_bound(&self, _w: &[T], _shape: BatchShape<'_>) -> Option<f64> {
        // 1 − rate is rounded: the next float below it is at most the exact difference.
        Some(Upper::ONE.over((1.0 - self.rate).next_down()).get())
    }

    fn adds_by_shard(&self, _shape: BatchShape<'_>) -> AddsByShard {
        AddsByShard(true)
    }

    fn spec(&self) -> LayerSpec {
        LayerSpec::Dropout(self.clone())
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        pass.check("Dropout", self, w);
        self.apply(&pass.ctx, pass.x, pass.y);
        pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        pass.check("Dropout", self, w);
        let Some(dx) = pass.dx else { return };
        self.apply(&pass.ctx, pass.dy, dx);
        pass.ctx.report_backward(Factor::Other, pass.dy, dx);
    }
}
