//! Layers that reduce a sequence to one row: its last time step, or the mean over its time steps.

use super::{
    AddsByShard, Backward, Dims, Forward, Hints, Layer, LayerSpec,
    list::{Fact, ListedLayer, fact},
};
use crate::{
    batch_shape::BatchShape,
    kernel::{register_block::load_block, sums::add_sums},
    linalg::Upper,
    monitor::Factor,
    scalar::{Scalar, is_narrow, scalar, scaled, to_f64},
};
use alloc::{vec, vec::Vec};
use num_traits::Float;

/// The last time step of each sequence, which may differ in length: `y_s = x_{T_s, s}` for sample s with steps 1 to
/// T_s.
///
/// At the last time step of a [`Bidirectional`](crate::recurrent::Bidirectional) layer the backward direction has
/// read only one input: [`bidirectional_summary`](crate::Builder::bidirectional_summary) takes the last step of each
/// direction.
///
/// ```
/// use chainrule::{BatchShape, layer::LastStep, workspace::Workspace};
/// let shape = BatchShape::ragged(&[3, 2]); // time-major: both samples at step 0, at step 1, the first at step 2
/// let mut workspace = Workspace::new(LastStep::new(1), shape)?;
/// assert_eq!(workspace.infer(&[], &[1.0, 10.0, 2.0, 20.0, 6.0], shape)?, [6.0, 20.0]);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Shapes
/// x: \[rows, width\]; y: \[batch, width\].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LastStep {
    width: usize,
}

/// The mean over the time steps of each sequence, which may differ in length: `y_s = 1/T_s Σ_t x_{t, s}` for sample
/// s with T_s steps.
///
/// ```
/// use chainrule::{BatchShape, layer::MeanOverSteps, workspace::Workspace};
/// let shape = BatchShape::ragged(&[3, 2]); // time-major: both samples at step 0, at step 1, the first at step 2
/// let mut workspace = Workspace::new(MeanOverSteps::new(1), shape)?;
/// assert_eq!(workspace.infer(&[], &[1.0, 10.0, 2.0, 20.0, 6.0], shape)?, [3.0, 15.0]);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Shapes
/// x: \[rows, width\]; y: \[batch, width\].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MeanOverSteps {
    width: usize,
}

impl LastStep {
    /// Creates the layer for rows of `width` values.
    pub const fn new(width: usize) -> Self {
        LastStep { width }
    }
}

impl MeanOverSteps {
    /// Creates the layer for rows of `width` values.
    pub const fn new(width: usize) -> Self {
        MeanOverSteps { width }
    }
}

macro_rules! pool {
    ($name:ident) => {
        impl ListedLayer for $name {
            fn facts(&self) -> Vec<Fact> {
                vec![fact("width", self.width)]
            }
        }

        impl<T: Scalar> Layer<T> for $name {
            crate::layer::own_box!($name);

            fn dims(&self) -> Dims {
                Dims::new(self.width, self.width, 0)
            }

            fn output_shape<'a>(&self, shape: BatchShape<'a>) -> BatchShape<'a> {
                shape.collapsed()
            }

            fn hints(&self) -> Hints {
                Self::HINTS
            }

            fn gain_bound(&self, _w: &[T], shape: BatchShape<'_>) -> Option<f64> {
                Some(self.gain(shape).get())
            }

            fn adds_by_shard(&self, _shape: BatchShape<'_>) -> AddsByShard {
                AddsByShard(true)
            }

            fn spec(&self) -> LayerSpec {
                LayerSpec::$name(self.clone())
            }

            fn forward(&self, w: &[T], pass: Forward<'_, T>) {
                pass.check(stringify!($name), self, w);
                self.pool(pass.ctx.shape, pass.x, pass.y);
                pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
            }

            fn backward(&self, w: &[T], pass: Backward<'_, T>) {
                pass.check(stringify!($name), self, w);
                let Some(dx) = pass.dx else { return };
                self.spread(pass.ctx.shape, pass.dy, dx);
                pass.ctx.report_backward(Factor::Other, pass.dy, dx);
            }
        }
    };
}

pool!(LastStep);
pool!(MeanOverSteps);

impl LastStep {
    const HINTS: Hints = MeanOverSteps::HINTS.dx_zero_before_last_step();

    /// Returns 1, an upper bound on the 2-norm of the Jacobian: the output is a copy of one time step.
    fn gain(&self, _shape: BatchShape<'_>) -> Upper {
        Upper::ONE
    }

    fn pool<T: Scalar>(&self, shape: BatchShape<'_>, x: &[T], y: &mut [T]) {
        for (sample, y) in y.chunks_mut(self.width).enumerate() {
            let row = shape.row(shape.length(sample) - 1, sample);
            y.copy_from_slice(&x[row * self.width..][..self.width]);
        }
    }

    /// Overwrites `dx` with `dy` at the last time step of each sample, and zeros at all other steps. `dx` may omit
    /// leading rows of zeros.
    fn spread<T: Scalar>(&self, shape: BatchShape<'_>, dy: &[T], dx: &mut [T]) {
        let missing = shape.rows() - dx.len() / self.width;
        dx.fill(T::zero());
        for (sample, dy) in dy.chunks(self.width).enumerate() {
            let row = shape.row(shape.length(sample) - 1, sample) - missing;
            dx[row * self.width..][..self.width].copy_from_slice(dy);
        }
    }
}

impl MeanOverSteps {
    const HINTS: Hints = Hints::NONE.ignores_x().ignores_y().saved_per_row();

    /// Returns `1/√T`, an upper bound on the 2-norm of the Jacobian, for the length T of the shortest sequence:
    /// `‖1/T Σ_t x_t‖ ≤ 1/T Σ_t ‖x_t‖ ≤ 1/√T ‖x‖`, attained where all time steps are equal.
    fn gain(&self, shape: BatchShape<'_>) -> Upper {
        let shortest = shape.lengths.and_then(|lengths| lengths.last()).unwrap_or(&shape.steps);
        Upper::ONE.over(Float::sqrt((*shortest).max(1) as f64).next_down())
    }

    fn pool<T: Scalar>(&self, shape: BatchShape<'_>, x: &[T], y: &mut [T]) {
        y.fill(T::zero());
        for (sample, y) in y.chunks_mut(self.width).enumerate() {
            let length = shape.length(sample);
            if is_narrow::<T>() {
                // The sum, or the number of time steps, may be above the largest number of the format.
                for (column, y) in y.iter_mut().enumerate() {
                    let (mut row, mut sum) = (sample, 0.0);
                    for step in 0..length {
                        sum += to_f64(x[row * self.width + column]);
                        row += shape.active(step);
                    }
                    *y = scalar(sum / length as f64);
                }
                continue;
            }
            add_sums(length, y, |j| {
                let mut row = sample;
                (0..length).map(move |step| {
                    let own = &x[row * self.width..][..self.width];
                    row += shape.active(step);
                    load_block(own, j)
                })
            });
            let steps = scalar::<T>(length as f64);
            y.iter_mut().for_each(|y| *y /= steps);
        }
    }

    fn spread<T: Scalar>(&self, shape: BatchShape<'_>, dy: &[T], dx: &mut [T]) {
        let mut rows = dx.chunks_mut(self.width);
        for step in 0..shape.steps {
            let active = rows.by_ref().take(shape.active(step)).zip(dy.chunks(self.width));
            for (sample, (dx, dy)) in active.enumerate() {
                let part = 1.0 / shape.length(sample) as f64;
                let steps = scalar::<T>(shape.length(sample) as f64);
                for (dx, &dy) in dx.iter_mut().zip(dy) {
                    *dx = if is_narrow::<T>() { scaled(part, dy) } else { dy / steps };
                }
            }
        }
    }
}
