//! The arguments of a forward and of a backward pass through one layer.

use super::{DropoutKey, LinkPath, TrainableMask};
use crate::{batch_shape::BatchShape, monitor::GradientMonitor, scalar::Scalar};
use core::fmt::Debug;

/// The purpose of a pass: it decides on dropout and on saving for the backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Dropout is on. The forward pass saves what the backward pass reads.
    Train,
    /// Dropout is off. The forward pass saves what the backward pass reads.
    Evaluate,
    /// Dropout is off, and nothing is saved: no backward pass can follow.
    Infer,
}

impl Mode {
    /// Whether a backward pass can follow.
    pub const fn saves(self) -> bool {
        !matches!(self, Mode::Infer)
    }

    /// The same mode, or [`Mode::Evaluate`] instead of [`Mode::Infer`]: a backward pass can follow.
    pub(crate) const fn saving(self) -> Self {
        if self.saves() { self } else { Mode::Evaluate }
    }
}

/// The arguments of a forward pass through one layer.
///
/// # Shapes
/// `x`: \[rows, input\]; `y`: \[rows of the layer's own [`output_shape`](super::Layer::output_shape), output\];
/// `initial_state`, `final_state`: `state × batch` values, laid out as the layer likes.
#[non_exhaustive]
pub struct Forward<'a, T: Scalar> {
    /// Rows of `x`.
    pub shape: BatchShape<'a>,
    /// The purpose of the pass.
    pub mode: Mode,
    /// The key of dropout masks.
    pub dropout: DropoutKey,
    /// Input.
    pub x: &'a [T],
    /// Out: the output. The layer writes all of it.
    pub y: &'a mut [T],
    /// Out: the values that the backward pass reads.
    pub saved: &'a mut [T],
    /// Initial state; `None` is zero.
    pub initial_state: Option<&'a [T]>,
    /// Out: the final state. The layer writes all of it.
    pub final_state: &'a mut [T],
    /// Scratch memory for this call; its content is arbitrary.
    pub scratch: &'a mut [T],
    /// The monitor that receives this layer's events.
    pub monitor: &'a mut dyn GradientMonitor<T>,
    /// The layer's path in the network; it names the links.
    pub at: LinkPath<'a>,
}

impl<'a, T: Scalar> Forward<'a, T> {
    /// A forward pass of a layer without state: `y` from `x`.
    pub fn new(
        shape: BatchShape<'a>,
        mode: Mode,
        x: &'a [T],
        y: &'a mut [T],
        saved: &'a mut [T],
        scratch: &'a mut [T],
        monitor: &'a mut dyn GradientMonitor<T>,
    ) -> Self {
        Forward {
            shape,
            mode,
            dropout: DropoutKey::default(),
            x,
            y,
            saved,
            initial_state: None,
            final_state: &mut [],
            scratch,
            monitor,
            at: LinkPath::new(&[]),
        }
    }

    /// Reborrows the pass for a shorter lifetime.
    pub fn reborrow(&mut self) -> Forward<'_, T> {
        Forward {
            shape: self.shape,
            mode: self.mode,
            dropout: self.dropout,
            x: self.x,
            y: self.y,
            saved: self.saved,
            initial_state: self.initial_state,
            final_state: self.final_state,
            scratch: self.scratch,
            monitor: self.monitor,
            at: self.at,
        }
    }
}

/// The arguments of a backward pass through one layer.
///
/// # Shapes
/// Those of [`Forward`]; `dw` has the layer's parameters.
#[non_exhaustive]
pub struct Backward<'a, T: Scalar> {
    /// Rows of `x`.
    pub shape: BatchShape<'a>,
    /// The purpose of the forward pass.
    pub mode: Mode,
    /// The key of dropout masks, as in the forward pass.
    pub dropout: DropoutKey,
    /// Input of the forward pass. Empty, perhaps, for a layer that does not [read](super::Layer::reads) it.
    pub x: &'a [T],
    /// Output of the forward pass. Empty, perhaps, for a layer that does not read it.
    pub y: &'a [T],
    /// Values that the forward pass saved. The layer may overwrite them.
    pub saved: &'a mut [T],
    /// Initial state of the forward pass; `None` is zero.
    pub initial_state: Option<&'a [T]>,
    /// Gradient with respect to `y`. A layer that [skips](super::Layer::skips_zero_rows) zero rows may get it without
    /// some of its first rows, which are zero then.
    pub dy: &'a [T],
    /// Gradient with respect to the final state; `None` is zero.
    pub d_final_state: Option<&'a [T]>,
    /// Out: gradient with respect to `x`, overwritten. `None` if it is not wanted. A layer with
    /// [`zero_rows`](super::Layer::zero_rows) may get it without them.
    pub dx: Option<&'a mut [T]>,
    /// Out: gradient with respect to the initial state. `None` if it is not wanted.
    pub d_initial_state: Option<&'a mut [T]>,
    /// Out: gradient with respect to the parameters. The layer adds to it, or overwrites it as `overwrite_dw` says.
    pub dw: &'a mut [T],
    /// Whether `dw` is overwritten instead of added to; its content is arbitrary then. Only ever true for a layer that
    /// [`overwrites`](super::Layer::overwrites).
    pub overwrite_dw: bool,
    /// The blocks of `dw` that are wanted. A layer may leave out the others, which saves time.
    pub trainable: TrainableMask<'a>,
    /// Scratch memory for this call; its content is arbitrary.
    pub scratch: &'a mut [T],
    /// The monitor that receives this layer's events.
    pub monitor: &'a mut dyn GradientMonitor<T>,
    /// The layer's path in the network; it names the links.
    pub at: LinkPath<'a>,
}

impl<'a, T: Scalar> Backward<'a, T> {
    /// A backward pass of a layer without state: `dx` and `dw` from `dy`.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        shape: BatchShape<'a>,
        mode: Mode,
        x: &'a [T],
        y: &'a [T],
        saved: &'a mut [T],
        dy: &'a [T],
        dx: Option<&'a mut [T]>,
        dw: &'a mut [T],
        scratch: &'a mut [T],
        monitor: &'a mut dyn GradientMonitor<T>,
    ) -> Self {
        Backward {
            shape,
            mode,
            dropout: DropoutKey::default(),
            x,
            y,
            saved,
            initial_state: None,
            dy,
            d_final_state: None,
            dx,
            d_initial_state: None,
            dw,
            overwrite_dw: false,
            trainable: TrainableMask::ALL,
            scratch,
            monitor,
            at: LinkPath::new(&[]),
        }
    }

    /// Reborrows the pass for a shorter lifetime.
    pub fn reborrow(&mut self) -> Backward<'_, T> {
        Backward {
            shape: self.shape,
            mode: self.mode,
            dropout: self.dropout,
            x: self.x,
            y: self.y,
            saved: self.saved,
            initial_state: self.initial_state,
            dy: self.dy,
            d_final_state: self.d_final_state,
            dx: self.dx.as_deref_mut(),
            d_initial_state: self.d_initial_state.as_deref_mut(),
            dw: self.dw,
            overwrite_dw: self.overwrite_dw,
            trainable: self.trainable,
            scratch: self.scratch,
            monitor: self.monitor,
            at: self.at,
        }
    }
}
