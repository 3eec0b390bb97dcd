//! The passes of a custom layer through its parts.

use super::{Backward, BackwardState, Context, Forward, ForwardState, Layer, TrainableMask, parts::SCRATCH};
use crate::slices::cut;
use crate::{batch_shape::BatchShape, scalar::Scalar};
use core::fmt;

/// The forward pass of a layer with [`Parts`](super::Parts): the input, output and saved values of the layer itself,
/// and the scratch memory and context that its parts share.
#[non_exhaustive]
pub struct ForwardParts<'a, T: Scalar> {
    /// Input of the layer.
    pub x: &'a [T],
    /// Out: the output of the layer, which writes all of it. Empty in a chain, whose last part writes it.
    pub y: &'a mut [T],
    /// Out: the saved values that the layer's `memory` states beyond those of [`Parts::memory`](super::Parts::memory).
    pub saved: &'a mut [T],
    pub(super) scratch: &'a mut [T],
    /// Batch shape, mode, dropout key, path and monitor.
    pub ctx: Context<'a, T>,
}

/// The forward pass of one part of [`Parts`](super::Parts).
#[must_use = "a part does nothing until it is run"]
pub struct ForwardPart<'w, 'a, T: Scalar> {
    pub(super) layer: &'w dyn Layer<T>,
    pub(super) w: &'w [T],
    pub(super) y: &'a mut [T],
    pub(super) saved: &'a mut [T],
    pub(super) state: ForwardState<'a, T>,
    pub(super) shape: BatchShape<'a>,
    pub(super) link: usize,
    pub(super) is_branch: bool,
}

impl<'a, T: Scalar> ForwardPart<'_, 'a, T> {
    /// Runs the part on the rows `x`, the input of the layer or the output of another part. Returns the output of the
    /// part; the backward pass has it as [`BackwardPart::y`]. `pass` holds the scratch memory and the context that the
    /// parts share.
    ///
    /// # Panics
    /// Like [`Layer::forward`], if the length of `x` is not that of the part's input.
    pub fn run(self, x: &[T], pass: &mut ForwardParts<'_, T>) -> &'a [T] {
        let ForwardPart { layer, w, y, saved, state, shape, link, is_branch } = self;
        let ctx = if is_branch { pass.ctx.branch(link) } else { pass.ctx.part(link) };
        let ForwardState { initial_state, final_state } = state;
        let state = ForwardState { initial_state, final_state };
        let (y_of_part, scratch) = (&mut *y, &mut *pass.scratch);
        layer.forward(w, Forward { x, y: y_of_part, saved, scratch, state, ctx: Context { shape, ..ctx } });
        y
    }
}

/// The backward pass of a layer with [`Parts`](super::Parts): the rows, gradients and saved values of the layer
/// itself, and the scratch memory and context that its parts share.
#[non_exhaustive]
pub struct BackwardParts<'a, T: Scalar> {
    /// Input of the layer.
    pub x: &'a [T],
    /// Output of the layer.
    pub y: &'a [T],
    /// Gradient with respect to the output of the layer.
    pub dy: &'a [T],
    /// Out: gradient with respect to the input, which the layer overwrites. `None` if it is not needed, and in a
    /// chain, whose first part writes it.
    pub dx: Option<&'a mut [T]>,
    /// The saved values that the layer's `memory` states beyond those of [`Parts::memory`](super::Parts::memory).
    pub saved: &'a mut [T],
    pub(super) scratch: &'a mut [T],
    /// Whether the gradient with respect to the input of the layer is needed.
    pub(super) needs_dx: bool,
    /// Batch shape, mode, dropout key, path and monitor.
    pub ctx: Context<'a, T>,
}

impl<'a, T: Scalar> BackwardParts<'a, T> {
    /// Returns memory for `values` values, of arbitrary content, such as the gradient of a part's output. All calls
    /// in one pass may take as many values as the outputs of all parts have, plus the scratch that the layer's
    /// `memory` states beyond [`Parts::memory`](super::Parts::memory).
    ///
    /// # Panics
    /// If the scratch of the pass has fewer values left. Calls that take more values than stated above use up the
    /// scratch of the parts, which then panic.
    pub fn buffer(&mut self, values: usize) -> &'a mut [T] {
        cut(SCRATCH, &mut self.scratch, values)
    }
}

/// The backward pass of one part of [`Parts`](super::Parts).
#[must_use = "a part does nothing until it is run"]
#[non_exhaustive]
pub struct BackwardPart<'w, 'a, T: Scalar> {
    pub(super) layer: &'w dyn Layer<T>,
    pub(super) w: &'w [T],
    /// The output of the part in the forward pass.
    pub y: &'a [T],
    pub(super) dx: Option<&'a mut [T]>,
    pub(super) dw: &'a mut [T],
    pub(super) saved: &'a mut [T],
    pub(super) state: BackwardState<'a, T>,
    pub(super) trainable: TrainableMask<'a>,
    pub(super) shape: BatchShape<'a>,
    pub(super) link: usize,
    pub(super) is_branch: bool,
}

impl<'a, T: Scalar> BackwardPart<'_, 'a, T> {
    /// Runs the backward pass of the part: `x` is its input in the forward pass, `dy` the gradient with respect to its
    /// output. Returns the gradient with respect to `x`. It is empty if `x` is the input of the layer, whose gradient
    /// is not needed.
    ///
    /// # Panics
    /// Like [`Layer::backward`], if the length of `x` or `dy` is not that of the part's input or output.
    pub fn run(self, x: &[T], dy: &[T], pass: &mut BackwardParts<'_, T>) -> &'a [T] {
        let BackwardPart { layer, w, y, dx, dw, saved, state, trainable, shape, link, is_branch } = self;
        let is_needed = !is_branch || pass.needs_dx || !core::ptr::eq(x, pass.x);
        let mut dx = dx.filter(|_| is_needed);
        let ctx = if is_branch { pass.ctx.branch(link) } else { pass.ctx.part(link) };
        let BackwardState { initial_state, d_final_state, d_initial_state } = state;
        let state = BackwardState { initial_state, d_final_state, d_initial_state };
        let pass = Backward {
            x,
            y,
            dy,
            dx: dx.as_deref_mut(),
            dw,
            saved,
            scratch: &mut *pass.scratch,
            state,
            overwrite_dw: false,
            trainable,
            ctx: Context { shape, ..ctx },
        };
        layer.backward(w, pass);
        dx.unwrap_or_default()
    }
}

/// Formats the context, and each slice of the pass by its length.
impl<T: Scalar> fmt::Debug for ForwardParts<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pass = f.debug_struct("ForwardParts");
        pass.field("ctx", &self.ctx).field("x", &self.x.len()).field("y", &self.y.len()).finish_non_exhaustive()
    }
}

/// Formats the context, and each slice of the pass by its length.
impl<T: Scalar> fmt::Debug for BackwardParts<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pass = f.debug_struct("BackwardParts");
        pass.field("ctx", &self.ctx).field("x", &self.x.len()).field("y", &self.y.len());
        pass.field("dy", &self.dy.len()).field("dx", &self.dx.as_ref().map(|dx| dx.len())).finish_non_exhaustive()
    }
}

/// Formats the layer of the part, and the length of its output.
impl<T: Scalar> fmt::Debug for ForwardPart<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardPart").field("layer", &self.layer).field("y", &self.y.len()).finish_non_exhaustive()
    }
}

/// Formats the layer of the part, and the length of its output.
impl<T: Scalar> fmt::Debug for BackwardPart<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackwardPart").field("layer", &self.layer).field("y", &self.y.len()).finish_non_exhaustive()
    }
}
