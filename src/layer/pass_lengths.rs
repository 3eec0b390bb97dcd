//! The lengths of the slices of a pass: what each layer of this crate checks at the head of its passes.

use super::{Backward, Dims, Forward, Hints, Layer, MemorySizes, check::broken};
use crate::{batch_shape::BatchShape, scalar::Scalar};

/// The lengths of the slices of a pass through one layer.
///
/// A pass with other slices is a panic that names the slice and the layer. With them, sizes computed in the pass do not
/// overflow, and there is at least one row of at least one value.
#[derive(Clone, Copy)]
pub(crate) struct PassLengths<'a> {
    layer: &'static str,
    dims: Dims,
    shape: BatchShape<'a>,
    /// Values of x; `usize::MAX` if they overflow.
    pub(crate) x: usize,
    /// Values of y; `usize::MAX` if they overflow.
    pub(crate) y: usize,
    /// Saved values, the least scratch, and the state of all samples; `None` if the layer divides them among its parts.
    memory: Option<[usize; 3]>,
}

impl<T: Scalar> Forward<'_, T> {
    /// Checks the pass for a layer without parts, by its own description.
    ///
    /// # Panics
    /// Where a slice has another length.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn check(&self, name: &'static str, layer: &impl Layer<T>, w: &[T]) {
        let (shape, mode) = (self.ctx.shape, self.ctx.mode);
        let lengths = PassLengths::new(name, layer.dims(), shape, layer.output_shape(shape));
        lengths.memory(layer.memory(shape, mode)).forward(w, self);
    }
}

impl<T: Scalar> Backward<'_, T> {
    /// Checks the pass for a layer without parts, by its own description.
    ///
    /// # Panics
    /// Where a slice has another length.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn check(&self, name: &'static str, layer: &impl Layer<T>, w: &[T]) {
        let (shape, mode) = (self.ctx.shape, self.ctx.mode.saving());
        let lengths = PassLengths::new(name, layer.dims(), shape, layer.output_shape(shape));
        lengths.memory(layer.memory(shape, mode)).backward(layer.hints(), w, self);
    }
}

impl<'a> PassLengths<'a> {
    /// Those of a layer of layers, whose output has the shape `after`.
    #[inline(always)]
    pub(crate) fn new(layer: &'static str, dims: Dims, shape: BatchShape<'a>, after: BatchShape<'_>) -> Self {
        let x = shape.rows().saturating_mul(dims.input);
        PassLengths { layer, dims, shape, x, y: after.rows().saturating_mul(dims.output), memory: None }
    }

    /// Sets the memory of a layer without parts.
    #[inline(always)]
    pub(crate) fn memory(self, memory: MemorySizes) -> Self {
        let MemorySizes { saved, scratch, state } = memory;
        PassLengths { memory: Some([saved, scratch, state.saturating_mul(self.shape.batch)]), ..self }
    }

    /// Whether a pass has the shape: rows, and values in each.
    #[inline(always)]
    fn is_valid(&self) -> bool {
        self.x > 0 && self.y > 0 && (self.shape.lengths.is_none() || self.shape.check().is_ok())
    }

    /// Checks a forward pass.
    ///
    /// # Panics
    /// Where a slice has another length.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn forward<T: Scalar>(&self, w: &[T], pass: &Forward<'_, T>) {
        let [saved, scratch, state] = self.memory.unwrap_or([pass.saved.len(), 0, pass.state.final_state.len()]);
        let initial_state = pass.state.initial_state.filter(|_| self.memory.is_some()).map_or(state, <[T]>::len);
        let right = self.is_valid()
            && w.len() == self.dims.parameters
            && pass.x.len() == self.x
            && pass.y.len() == self.y
            && pass.saved.len() == saved
            && pass.scratch.len() >= scratch
            && pass.state.final_state.len() == state
            && initial_state == state;
        if !right {
            self.refuse(&[
                ("w", self.dims.parameters, w.len()),
                ("x", self.x, pass.x.len()),
                ("y", self.y, pass.y.len()),
                ("saved", saved, pass.saved.len()),
                ("scratch", scratch, pass.scratch.len().min(scratch)),
                ("final_state", state, pass.state.final_state.len()),
                ("initial_state", state, initial_state),
            ]);
        }
    }

    /// Checks a backward pass of a layer with `hints`.
    ///
    /// # Panics
    /// Where a slice has another length.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn backward<T: Scalar>(&self, hints: Hints, w: &[T], pass: &Backward<'_, T>) {
        let [saved, scratch, state] = self.memory.unwrap_or([pass.saved.len(), 0, 0]);
        let len = |given: Option<usize>| given.filter(|_| self.memory.is_some()).unwrap_or(state);
        let states = [
            len(pass.state.initial_state.map(<[T]>::len)),
            len(pass.state.d_final_state.map(<[T]>::len)),
            len(pass.state.d_initial_state.as_deref().map(<[T]>::len)),
        ];
        let dx = pass.dx.as_deref().map_or(self.x, <[T]>::len);
        let is_x = pass.x.len() == self.x || hints.ignores_x && pass.x.is_empty();
        let is_y = pass.y.len() == self.y || hints.ignores_y && pass.y.is_empty();
        let is_dy = pass.dy.len() == self.y || hints.accepts_short_dy && self.is_end(pass.dy.len());
        let is_dx = dx == self.x || hints.dx_zero_before_last_step && self.is_short_dx(hints, dx);
        let right = self.is_valid()
            && w.len() == self.dims.parameters
            && pass.dw.len() == self.dims.parameters
            && is_x
            && is_y
            && is_dy
            && is_dx
            && pass.saved.len() == saved
            && pass.scratch.len() >= scratch
            && states == [state; 3];
        if !right {
            self.refuse(&[
                ("w", self.dims.parameters, w.len()),
                ("dw", self.dims.parameters, pass.dw.len()),
                ("x", self.x, if is_x { self.x } else { pass.x.len() }),
                ("y", self.y, if is_y { self.y } else { pass.y.len() }),
                ("dy", self.y, if is_dy { self.y } else { pass.dy.len() }),
                ("dx", self.x, if is_dx { self.x } else { dx }),
                ("saved", saved, pass.saved.len()),
                ("scratch", scratch, pass.scratch.len().min(scratch)),
                ("initial_state", state, states[0]),
                ("d_final_state", state, states[1]),
                ("d_initial_state", state, states[2]),
            ]);
        }
    }

    /// Whether `dy` of so many values lacks whole rows.
    #[inline(never)]
    fn is_end(&self, values: usize) -> bool {
        values < self.y && values.is_multiple_of(self.dims.output.max(1))
    }

    /// Whether `dx` of so many values lacks rows that are zero.
    #[inline(never)]
    fn is_short_dx(&self, hints: Hints, values: usize) -> bool {
        let missing = self.x.saturating_sub(values) / self.dims.input.max(1);
        values < self.x && values.is_multiple_of(self.dims.input.max(1)) && missing <= hints.zero_rows(self.shape)
    }

    /// Panics with the first slice that has another length than expected.
    #[cold]
    #[inline(never)]
    #[track_caller]
    fn refuse(&self, slices: &[(&str, usize, usize)]) -> ! {
        let PassLengths { layer, dims: Dims { input, output, .. }, .. } = self;
        if let Err(error) = self.shape.check() {
            panic!("a pass of {layer} must have rows: {error}");
        }
        if *input == 0 || *output == 0 {
            panic!("the widths of {layer} must be at least 1, found {input} and {output}");
        }
        match slices.iter().find(|(_, expected, found)| expected != found) {
            Some((slice, expected, found)) => broken(&alloc::format!("`{slice}` of {layer}"), *expected, *found),
            None => panic!("`output_shape` of {layer} must give rows"),
        }
    }
}
