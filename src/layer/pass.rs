//! The arguments of a forward and of a backward pass through one layer.

use super::{DropoutKey, LinkPath, TrainableMask};
use crate::{batch_shape::BatchShape, monitor::GradientMonitor, scalar::Scalar};
use core::fmt::Debug;

/// What a pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// DropoutKey on; what the backward pass needs is saved.
    Train,
    /// DropoutKey off; what the backward pass needs is saved.
    Evaluate,
    /// DropoutKey off; nothing is saved, no backward pass can follow.
    Infer,
}

impl Mode {
    /// Whether a backward pass can follow.
    pub const fn saves(self) -> bool {
        !matches!(self, Mode::Infer)
    }

    /// The mode of a pass that can go back, noise off where it was off.
    pub(crate) const fn saving(self) -> Self {
        if self.saves() { self } else { Mode::Evaluate }
    }
}

/// Everything of a forward pass through one layer.
///
/// # Shapes
/// `x`: \[rows, input\]; `y`: \[rows of the layer's own [`output_shape`](Layer::output_shape), output\];
/// `initial_state`, `final_state`: `state × batch` values, laid out as the layer likes.
#[non_exhaustive]
pub struct Forward<'a, T: Scalar> {
    /// Rows of `x`.
    pub shape: BatchShape<'a>,
    /// What the pass is for.
    pub mode: Mode,
    /// Where masks come from.
    pub dropout: DropoutKey,
    /// Input.
    pub x: &'a [T],
    /// Output; all of it is to be written.
    pub y: &'a mut [T],
    /// What the backward pass will find again.
    pub saved: &'a mut [T],
    /// State at the start; `None` is zero.
    pub initial_state: Option<&'a [T]>,
    /// State at the end; all of it is to be written.
    pub final_state: &'a mut [T],
    /// Memory for this call; its content is arbitrary.
    pub scratch: &'a mut [T],
    /// Who watches.
    pub monitor: &'a mut dyn GradientMonitor<T>,
    /// Where the layer stands.
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

    /// The same pass for a shorter time.
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

/// Everything of a backward pass through one layer.
///
/// # Shapes
/// Those of [`Forward`]; `dw` has the layer's parameters.
#[non_exhaustive]
pub struct Backward<'a, T: Scalar> {
    /// Rows of `x`.
    pub shape: BatchShape<'a>,
    /// What the forward pass was for.
    pub mode: Mode,
    /// Where the masks came from.
    pub dropout: DropoutKey,
    /// Input of the forward pass; may be empty for a layer that does not [read](Layer::reads) it.
    pub x: &'a [T],
    /// Its output; so may this.
    pub y: &'a [T],
    /// What it saved; may be consumed.
    pub saved: &'a mut [T],
    /// State it started from; `None` is zero.
    pub initial_state: Option<&'a [T]>,
    /// Gradient with respect to `y`; for a layer that [skips](Layer::skips_zero_rows) zeros perhaps without some of its first rows,
    /// which are zero then.
    pub dy: &'a [T],
    /// Gradient with respect to the state at the end; `None` is zero.
    pub d_final_state: Option<&'a [T]>,
    /// Gradient with respect to `x`, to be overwritten; `None` where nobody asked for it. Of a layer with
    /// [`zero_rows`](Layer::zero_rows) perhaps without them.
    pub dx: Option<&'a mut [T]>,
    /// Gradient with respect to the state at the start, to be overwritten; `None` where nobody asked.
    pub d_initial_state: Option<&'a mut [T]>,
    /// Gradient with respect to the parameters, to be added to.
    pub dw: &'a mut [T],
    /// Whether nothing is in `dw` yet and its content is arbitrary, so that it is to be overwritten: only ever for a layer
    /// that [`overwrites`](Layer::overwrites).
    pub overwrite_dw: bool,
    /// Which blocks of it are wanted; the others may be left out, to save time.
    pub trainable: TrainableMask<'a>,
    /// Memory for this call; its content is arbitrary.
    pub scratch: &'a mut [T],
    /// Who watches.
    pub monitor: &'a mut dyn GradientMonitor<T>,
    /// Where the layer stands.
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

    /// The same pass for a shorter time.
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
