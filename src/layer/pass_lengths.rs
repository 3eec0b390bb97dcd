//! The lengths that the slices of a pass must have, which each layer of this crate checks at the start of its passes.

use super::{Backward, Dims, Forward, Hints, Layer, MemorySizes};
use crate::slices::broken;
use crate::{batch_shape::BatchShape, scalar::Scalar};

/// The lengths that the slices of a pass through one layer must have.
///
/// A pass with slices of other lengths panics with the names of the slice and the layer. If the lengths agree, sizes
/// computed in the pass do not overflow, and there is at least one row of at least one value.
///
/// The functions that panic take the lengths by value, so that a valid pass keeps them in registers.
#[derive(Clone, Copy)]
pub(crate) struct PassLengths {
    layer: &'static str,
    dims: Dims,
    /// The number of values of x; `usize::MAX` if it overflows.
    pub(crate) x: usize,
    /// The number of values of y; `usize::MAX` if it overflows.
    pub(crate) y: usize,
    /// The numbers of saved values, of values of scratch (at least), and of state values of all samples, in this order;
    /// `None` if the layer divides them among its parts, which check them.
    memory: Option<[usize; 3]>,
}

/// The name of a slice, its expected length and its actual length.
type Slice = (&'static str, usize, usize);

/// Defines `is_cut` and `check` for `$pass`, [`Forward`] or [`Backward`]. The layer states its memory for the mode
/// `$mode`; `$compare` compares the lengths of the slices with `$lengths`.
macro_rules! own_check {
    ($pass:ident, $self:ident => $mode:expr, |$lengths:ident, $layer:ident, $w:ident| $compare:expr) => {
        impl<T: Scalar> $pass<'_, T> {
            /// Whether a container cut the slices to the lengths that this layer states, and there are at least
            /// `scratch` values of scratch. If so, no length needs a check.
            #[inline(always)]
            pub(crate) fn is_cut(&self, scratch: usize) -> bool {
                self.ctx.is_cut && self.scratch.len() >= scratch
            }

            /// Checks the lengths of `w` and of the slices of the pass against the methods of `layer`, which has no
            /// parts. `name` is its name in the message.
            ///
            /// # Panics
            /// If the length of a slice differs from the one that the layer states.
            #[inline(always)]
            #[track_caller]
            pub(crate) fn check(&$self, name: &'static str, $layer: &impl Layer<T>, w: &[T]) {
                if !$self.is_cut($layer.memory($self.ctx.shape, $mode).scratch) {
                    $self.check_each(name, $layer, w);
                }
            }

            #[cold]
            #[inline(never)]
            #[track_caller]
            fn check_each(&$self, name: &'static str, $layer: &impl Layer<T>, $w: &[T]) {
                let shape = $self.ctx.shape;
                let lengths = PassLengths::new(name, $layer.dims(), &shape, &$layer.output_shape(shape));
                let $lengths = lengths.memory($layer.memory(shape, $mode), shape.batch);
                $compare;
            }
        }
    };
}

own_check!(Forward, self => self.ctx.mode, |lengths, layer, w| lengths.forward(w, self));
own_check!(Backward, self => self.ctx.mode.saving(), |lengths, layer, w| lengths.backward(|| layer.hints(), w, self));

impl PassLengths {
    /// Creates the lengths for a pass over `shape` through the layer named `layer`, with the sizes `dims` and an output
    /// of the shape `after`. Saved values, scratch and state are not checked, as for a layer with parts, unless
    /// [`memory`](Self::memory) sets them.
    #[inline(always)]
    pub(crate) fn new(layer: &'static str, dims: Dims, shape: &BatchShape<'_>, after: &BatchShape<'_>) -> Self {
        let [x, y] = [shape.rows().saturating_mul(dims.input), after.rows().saturating_mul(dims.output)];
        PassLengths { layer, dims, x, y, memory: None }
    }

    /// Sets the lengths of saved values, scratch and state, for a pass over `batch` samples through a layer that does
    /// not divide them among parts.
    #[inline(always)]
    pub(crate) fn memory(self, memory: MemorySizes, batch: usize) -> Self {
        let MemorySizes { saved, scratch, state, .. } = memory;
        PassLengths { memory: Some([saved, scratch, state.saturating_mul(batch)]), ..self }
    }

    /// Whether `shape` is valid for a pass with these lengths: it has rows, and each input and output row has values.
    #[inline(always)]
    fn is_valid(self, shape: &BatchShape<'_>) -> bool {
        self.x > 0 && self.y > 0 && (shape.lengths.is_none() || shape.check().is_ok())
    }

    /// Checks the lengths of the slices of a forward pass, and of the parameters `w`.
    ///
    /// # Panics
    /// If the length of a slice is not the expected one.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn forward<T: Scalar>(self, w: &[T], pass: &Forward<'_, T>) {
        let state = &pass.state;
        let right = self.is_valid(&pass.ctx.shape)
            && w.len() == self.dims.parameters
            && pass.x.len() == self.x
            && pass.y.len() == self.y
            && match self.memory {
                None => true,
                Some([saved, scratch, values]) => {
                    pass.saved.len() == saved
                        && pass.scratch.len() >= scratch
                        && state.final_state.len() == values
                        && state.initial_state.is_none_or(|state| state.len() == values)
                }
            };
        if !right {
            self.refuse_forward(w, pass);
        }
    }

    /// Checks the lengths of the slices of a backward pass, and of the parameters `w`. `hints` returns the hints of
    /// the layer, by which some slices may be empty or without their leading zero rows.
    ///
    /// # Panics
    /// If the length of a slice is not the expected one.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn backward<T: Scalar>(self, hints: impl Fn() -> Hints, w: &[T], pass: &Backward<'_, T>) {
        let state = &pass.state;
        let right = self.is_valid(&pass.ctx.shape)
            && w.len() == self.dims.parameters
            && pass.dw.len() == self.dims.parameters
            && (pass.x.len() == self.x || pass.x.is_empty() && hints().ignores_x)
            && (pass.y.len() == self.y || pass.y.is_empty() && hints().ignores_y)
            && (pass.dy.len() == self.y || self.is_short_dy(hints(), pass.dy.len()))
            && pass
                .dx
                .as_deref()
                .is_none_or(|dx| dx.len() == self.x || self.is_short_dx(hints(), &pass.ctx.shape, dx.len()))
            && match self.memory {
                None => true,
                Some([saved, scratch, values]) => {
                    pass.saved.len() == saved
                        && pass.scratch.len() >= scratch
                        && state.initial_state.is_none_or(|state| state.len() == values)
                        && state.d_final_state.is_none_or(|state| state.len() == values)
                        && state.d_initial_state.as_deref().is_none_or(|state| state.len() == values)
                }
            };
        if !right {
            self.refuse_backward(hints(), w, pass);
        }
    }

    /// Whether a `dy` of `values` values omits whole rows, and `hints` allow it to omit leading zero rows.
    #[inline(never)]
    fn is_short_dy(self, hints: Hints, values: usize) -> bool {
        hints.accepts_short_dy && values < self.y && values.is_multiple_of(self.dims.output.max(1))
    }

    /// Whether a `dx` of `values` values omits whole rows, at most the leading ones that `hints` promise to be zero in
    /// a pass over `shape`.
    #[inline(never)]
    fn is_short_dx(self, hints: Hints, shape: &BatchShape<'_>, values: usize) -> bool {
        let width = self.dims.input.max(1);
        let missing = self.x.saturating_sub(values) / width;
        values < self.x && values.is_multiple_of(width) && missing <= hints.zero_rows(*shape)
    }

    /// Panics, naming the first slice of a forward pass whose length is not the expected one.
    #[cold]
    #[inline(never)]
    #[track_caller]
    fn refuse_forward<T: Scalar>(self, w: &[T], pass: &Forward<'_, T>) -> ! {
        let final_state = pass.state.final_state.len();
        let [saved, scratch, state] = self.memory.unwrap_or([pass.saved.len(), 0, final_state]);
        let initial_state = pass.state.initial_state.filter(|_| self.memory.is_some()).map_or(state, <[T]>::len);
        let slices = [
            ("w", self.dims.parameters, w.len()),
            ("x", self.x, pass.x.len()),
            ("y", self.y, pass.y.len()),
            ("saved", saved, pass.saved.len()),
            ("scratch", scratch, pass.scratch.len().min(scratch)),
            ("final_state", state, final_state),
            ("initial_state", state, initial_state),
        ];
        self.refuse(&pass.ctx.shape, &slices)
    }

    /// Panics, naming the first slice of a backward pass whose length is not the expected one.
    #[cold]
    #[inline(never)]
    #[track_caller]
    fn refuse_backward<T: Scalar>(self, hints: Hints, w: &[T], pass: &Backward<'_, T>) -> ! {
        let [saved, scratch, state] = self.memory.unwrap_or([pass.saved.len(), 0, 0]);
        let of_state = |given: Option<usize>| given.filter(|_| self.memory.is_some()).unwrap_or(state);
        let (dy, dx) = (pass.dy.len(), pass.dx.as_deref().map_or(self.x, <[T]>::len));
        let slices = [
            ("w", self.dims.parameters, w.len()),
            ("dw", self.dims.parameters, pass.dw.len()),
            ("x", self.x, if hints.ignores_x && pass.x.is_empty() { self.x } else { pass.x.len() }),
            ("y", self.y, if hints.ignores_y && pass.y.is_empty() { self.y } else { pass.y.len() }),
            ("dy", self.y, if self.is_short_dy(hints, dy) { self.y } else { dy }),
            ("dx", self.x, if self.is_short_dx(hints, &pass.ctx.shape, dx) { self.x } else { dx }),
            ("saved", saved, pass.saved.len()),
            ("scratch", scratch, pass.scratch.len().min(scratch)),
            ("initial_state", state, of_state(pass.state.initial_state.map(<[T]>::len))),
            ("d_final_state", state, of_state(pass.state.d_final_state.map(<[T]>::len))),
            ("d_initial_state", state, of_state(pass.state.d_initial_state.as_deref().map(<[T]>::len))),
        ];
        self.refuse(&pass.ctx.shape, &slices)
    }

    /// Panics, naming the first of `slices` whose length is not the expected one; before that, for an invalid `shape`
    /// or a width of 0.
    #[track_caller]
    fn refuse(self, shape: &BatchShape<'_>, slices: &[Slice]) -> ! {
        let PassLengths { layer, dims: Dims { input, output, .. }, .. } = self;
        if let Err(error) = shape.check() {
            panic!("a pass of {layer} must have rows: {error}");
        }
        if input == 0 || output == 0 {
            panic!("the widths of {layer} must be at least 1, found {input} and {output}");
        }
        match slices.iter().find(|(_, expected, found)| expected != found) {
            Some((slice, expected, found)) => broken(&alloc::format!("`{slice}` of {layer}"), *expected, *found),
            None => panic!("`output_shape` of {layer} must give rows"),
        }
    }
}
