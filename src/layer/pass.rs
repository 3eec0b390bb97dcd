//! The arguments of a forward and of a backward pass through one layer.

use super::{Context, Layer, Samples, TrainableMask};
use crate::scalar::Scalar;
use core::fmt;

/// The purpose of a pass. It selects whether dropout is on, which statistics batch normalization uses, and whether
/// values are saved for the backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Dropout is on, and batch normalization uses the statistics of the batch. The forward pass saves the values that
    /// the backward pass reads.
    Train,
    /// Dropout is off, and batch normalization uses its running statistics. The forward pass saves the values that the
    /// backward pass reads.
    Evaluate,
    /// Like [`Mode::Evaluate`], but nothing is saved: no backward pass can follow.
    Infer,
}

impl Mode {
    /// Whether a backward pass can follow.
    pub const fn saves(self) -> bool {
        !matches!(self, Mode::Infer)
    }

    /// Returns the mode in which an analysis runs `network` on a batch: evaluation, or training if samples are
    /// coupled in training only. In evaluation a layer such as batch normalization would use running statistics,
    /// which an analysis does not have. With the key [`DropoutKey::off`](super::DropoutKey::off) no masks are drawn.
    pub(crate) fn to_examine<T: Scalar>(network: &(impl Layer<T> + ?Sized)) -> Self {
        if network.samples() == Samples::CoupledInTraining { Mode::Train } else { Mode::Evaluate }
    }

    /// Returns the mode, or [`Mode::Evaluate`] in place of [`Mode::Infer`], which saves nothing for a backward pass.
    pub(crate) const fn saving(self) -> Self {
        if self.saves() { self } else { Mode::Evaluate }
    }
}

/// The states before and after a forward pass. Each has [`MemorySizes::state`](super::MemorySizes) values for every
/// sample, in a layout that the layer chooses.
#[non_exhaustive]
pub struct ForwardState<'a, T> {
    /// Initial state; `None` means zero.
    pub initial_state: Option<&'a [T]>,
    /// Out: the final state. The layer writes all of it.
    pub final_state: &'a mut [T],
}

impl<T> Default for ForwardState<'_, T> {
    /// Returns the state of a layer without state: no initial state, and an empty final state.
    fn default() -> Self {
        ForwardState { initial_state: None, final_state: &mut [] }
    }
}

/// The arguments of a forward pass through one layer.
///
/// # Shapes
/// `x`: \[rows, input\]; `y`: \[rows of the layer's own [`output_shape`](super::Layer::output_shape), output\].
#[non_exhaustive]
pub struct Forward<'a, T: Scalar> {
    /// The input of the layer: \[rows, input\].
    pub x: &'a [T],
    /// Out: the output. The layer writes all of it.
    pub y: &'a mut [T],
    /// Out: the values that the backward pass reads; empty in [`Mode::Infer`].
    pub saved: &'a mut [T],
    /// Scratch memory for this call; its content is arbitrary.
    pub scratch: &'a mut [T],
    /// Initial and final state.
    pub state: ForwardState<'a, T>,
    /// Batch shape, mode, dropout key, path and monitor.
    pub ctx: Context<'a, T>,
}

impl<'a, T: Scalar> Forward<'a, T> {
    /// Creates the forward pass of a layer without state: `y` from `x`.
    pub fn new(x: &'a [T], y: &'a mut [T], saved: &'a mut [T], scratch: &'a mut [T], ctx: Context<'a, T>) -> Self {
        Forward { x, y, saved, scratch, state: ForwardState::default(), ctx }
    }

    /// Reborrows the pass for a shorter lifetime.
    pub fn reborrow(&mut self) -> Forward<'_, T> {
        let ForwardState { initial_state, final_state } = &mut self.state;
        Forward {
            x: self.x,
            y: self.y,
            saved: self.saved,
            scratch: self.scratch,
            state: ForwardState { initial_state: *initial_state, final_state },
            ctx: self.ctx.part(0),
        }
    }
}

/// The initial state of a pass, and the gradients with respect to the initial and the final state: `state × batch`
/// values each, with `state` values per sample.
#[non_exhaustive]
pub struct BackwardState<'a, T> {
    /// Initial state of the forward pass; `None` means zero.
    pub initial_state: Option<&'a [T]>,
    /// Gradient with respect to the final state; `None` means zero.
    pub d_final_state: Option<&'a [T]>,
    /// Out: gradient with respect to the initial state. `None` if it is not needed.
    pub d_initial_state: Option<&'a mut [T]>,
}

impl<T> Default for BackwardState<'_, T> {
    /// Returns the state of a layer without state: no initial state, and no gradients.
    fn default() -> Self {
        BackwardState { initial_state: None, d_final_state: None, d_initial_state: None }
    }
}

/// The arguments of a backward pass through one layer.
///
/// # Shapes
/// The slices of [`Forward`] have the same shapes here; `dw` has one value for each parameter of the layer.
#[non_exhaustive]
pub struct Backward<'a, T: Scalar> {
    /// Input of the forward pass. It may be empty for a layer with the hint
    /// [`ignores_x`](super::Hints#structfield.ignores_x).
    pub x: &'a [T],
    /// Output of the forward pass. It may be empty for a layer with the hint
    /// [`ignores_y`](super::Hints#structfield.ignores_y).
    pub y: &'a [T],
    /// Gradient with respect to `y`. A layer that [`accepts_short_dy`](super::Hints#structfield.accepts_short_dy) may
    /// receive a `dy` without its leading zero rows.
    pub dy: &'a [T],
    /// Out: gradient with respect to `x`, overwritten. `None` if it is not needed. A layer with the hint
    /// [`dx_zero_before_last_step`](super::Hints#structfield.dx_zero_before_last_step) may receive a `dx` without the
    /// rows that are zero by this hint.
    pub dx: Option<&'a mut [T]>,
    /// Out: gradient with respect to the parameters. The layer adds to `dw`, or overwrites it if `overwrite_dw` is set.
    pub dw: &'a mut [T],
    /// Values that the forward pass saved. The layer may overwrite them.
    pub saved: &'a mut [T],
    /// Scratch memory for this call; its content is arbitrary.
    pub scratch: &'a mut [T],
    /// Initial state, and the gradients with respect to the initial and the final state.
    pub state: BackwardState<'a, T>,
    /// Whether the layer overwrites `dw` instead of adding to it. If so, the content of `dw` on entry is arbitrary.
    /// True only for a layer that [`overwrites_dw`](super::Hints#structfield.overwrites_dw).
    pub overwrite_dw: bool,
    /// The parameter blocks whose gradients are needed. A layer may skip the gradients of other blocks to save time.
    pub trainable: TrainableMask<'a>,
    /// Batch shape, mode, dropout key, path and monitor.
    pub ctx: Context<'a, T>,
}

impl<'a, T: Scalar> Backward<'a, T> {
    /// Creates the backward pass of a layer without state: `dx` and `dw` from `dy`, with all blocks trainable.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        x: &'a [T],
        y: &'a [T],
        dy: &'a [T],
        dx: Option<&'a mut [T]>,
        dw: &'a mut [T],
        saved: &'a mut [T],
        scratch: &'a mut [T],
        ctx: Context<'a, T>,
    ) -> Self {
        Backward {
            x,
            y,
            dy,
            dx,
            dw,
            saved,
            scratch,
            state: BackwardState::default(),
            overwrite_dw: false,
            trainable: TrainableMask::ALL,
            ctx,
        }
    }

    /// Reborrows the pass for a shorter lifetime.
    pub fn reborrow(&mut self) -> Backward<'_, T> {
        let BackwardState { initial_state, d_final_state, d_initial_state } = &mut self.state;
        Backward {
            x: self.x,
            y: self.y,
            dy: self.dy,
            dx: self.dx.as_deref_mut(),
            dw: self.dw,
            saved: self.saved,
            scratch: self.scratch,
            state: BackwardState {
                initial_state: *initial_state,
                d_final_state: *d_final_state,
                d_initial_state: d_initial_state.as_deref_mut(),
            },
            overwrite_dw: self.overwrite_dw,
            trainable: self.trainable,
            ctx: self.ctx.part(0),
        }
    }
}

/// Formats the initial and the final state by their numbers of values.
impl<T> fmt::Debug for ForwardState<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let initial = self.initial_state.map(<[T]>::len);
        f.debug_struct("ForwardState")
            .field("initial_state", &initial)
            .field("final_state", &self.final_state.len())
            .finish()
    }
}

/// Formats the context, and each slice of the pass by its length.
impl<T: Scalar> fmt::Debug for Forward<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pass = f.debug_struct("Forward");
        pass.field("ctx", &self.ctx).field("x", &self.x.len()).field("y", &self.y.len());
        pass.field("saved", &self.saved.len())
            .field("scratch", &self.scratch.len())
            .field("state", &self.state)
            .finish()
    }
}

/// Formats the initial state and the gradients of the states by their numbers of values.
impl<T> fmt::Debug for BackwardState<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut state = f.debug_struct("BackwardState");
        state.field("initial_state", &self.initial_state.map(<[T]>::len));
        state.field("d_final_state", &self.d_final_state.map(<[T]>::len));
        state.field("d_initial_state", &self.d_initial_state.as_ref().map(|state| state.len())).finish()
    }
}

/// Formats the context, and each slice of the pass by its length.
impl<T: Scalar> fmt::Debug for Backward<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pass = f.debug_struct("Backward");
        pass.field("ctx", &self.ctx).field("x", &self.x.len()).field("y", &self.y.len()).field("dy", &self.dy.len());
        pass.field("dx", &self.dx.as_ref().map(|dx| dx.len())).field("dw", &self.dw.len());
        pass.field("overwrite_dw", &self.overwrite_dw).field("saved", &self.saved.len());
        pass.field("scratch", &self.scratch.len()).field("state", &self.state).finish_non_exhaustive()
    }
}
