//! The layer that reads each sequence from its end.

use crate::{
    batch_shape::BatchShape,
    error::{Error, LayerRule},
    layer::{
        Answers, Backward, Dims, Forward, Hints, Layer, LayerSpec, MemorySizes, Mode, PassLengths, Recorded, Structure,
        check_output_shape,
    },
    scalar::Scalar,
    slices::{cut, cut_end},
};
use alloc::boxed::Box;
use core::fmt;

/// A layer that reads each sequence from its end: time step t of `x` is step T − 1 − t of the inner layer, where T
/// is the number of steps of that sequence. The output is reversed back: step t of `y` belongs to step t of `x`.
///
/// ```
/// use chainrule::{BatchShape, layer::LastStep, recurrent::Reversed, workspace::Workspace};
/// let (first, shape) = (Reversed::new::<f64>(LastStep::new(1))?, BatchShape::sequences(1, 3));
/// assert_eq!(Workspace::new(first, shape)?.infer(&[], &[1.0, 2.0, 6.0], shape)?, [1.0]);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Shapes
/// The shapes of x, y and the parameters are those of the inner layer.
#[derive(Clone, PartialEq)]
pub struct Reversed<L> {
    pub(super) layer: L,
    /// The results of the descriptive methods, such as [`Layer::hints`], of the inner layer, cached at construction.
    kept: Answers,
}

/// Formats the layer as the name `Reversed` around the inner layer.
impl<L: fmt::Debug> fmt::Debug for Reversed<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reversed").field(&self.layer).finish()
    }
}

impl<L> Reversed<L> {
    /// Creates a layer that runs `layer` on each sequence from its end.
    ///
    /// # Errors
    /// [`Error::InvalidLayer`] where `layer` breaks a rule, or is nested more than
    /// [`MAX_DEPTH`](crate::layer::MAX_DEPTH) deep.
    pub fn new<T: Scalar>(layer: L) -> Result<Self, Error>
    where
        L: Layer<T>,
    {
        let checked = Answers::of(&layer).and_then(|kept| reversed(kept).map(|_| kept));
        Ok(Reversed { kept: checked.map_err(|rule| rule.at(""))?, layer })
    }

    /// Wraps `layer` in a reversed layer. `kept` holds the checked results of the descriptive methods, such as
    /// [`Layer::hints`], of `layer`.
    pub(super) fn of(layer: L, kept: Answers) -> Self {
        Reversed { layer, kept }
    }
}

/// Returns the hints of a reversed layer, given the hints of the inner layer. A reversed layer saves its rows itself,
/// so it reads neither x nor y. It overwrites `dw` exactly if the inner layer does.
fn hints(layer: Hints) -> Hints {
    Hints { overwrites_dw: layer.overwrites_dw, ..Hints::NONE.ignores_x().ignores_y() }
}

/// Returns the results of the descriptive methods, such as [`Layer::hints`], of a reversed layer, given those of the
/// inner layer, `kept`. Refuses a reversed layer that is nested too deep.
pub(super) fn reversed(kept: Answers) -> Result<Answers, LayerRule> {
    Ok(Answers {
        depth: Answers::above(kept.depth)?,
        hints: hints(kept.hints),
        reads_later_steps: true,
        saved: 0,
        by_row: false,
        plain: false,
        ..kept
    })
}

/// The name of the saved values, which are shared with the inner layer, in the message of a panic.
const SAVED: &str = "`saved` of Reversed";
/// The name of the scratch, which is shared with the inner layer, in the message of a panic.
const SCRATCH: &str = "`scratch` of Reversed";

/// Panics if `after`, the output shape of an inner layer, is not valid in a pass over `shape`. `layer` names the
/// inner layer in the message.
pub(super) fn check_shape_after(layer: &str, shape: BatchShape<'_>, after: BatchShape<'_>) {
    check_output_shape(shape, after).unwrap_or_else(|rule| panic!("{layer}: {rule}"));
}

/// Copies the rows of `width` values of a pass over `shape` from `from` to `to`, with the time steps of each sample
/// in reverse order. Samples may have different numbers of steps.
fn reverse<T: Copy>(shape: BatchShape<'_>, width: usize, from: &[T], to: &mut [T]) {
    let mut rows = from.chunks(width);
    for step in 0..shape.steps {
        for (sample, row) in rows.by_ref().take(shape.active(step)).enumerate() {
            let other = shape.row(shape.length(sample) - 1 - step, sample);
            to[other * width..][..width].copy_from_slice(row);
        }
    }
}

impl<T: Scalar, L: Layer<T>> Layer<T> for Reversed<L> {
    fn dims(&self) -> Dims {
        self.kept.dims
    }

    fn output_shape<'a>(&self, shape: BatchShape<'a>) -> BatchShape<'a> {
        if self.kept.keeps_rows { shape } else { self.layer.output_shape(shape) }
    }

    /// Saved: the saved values of the inner layer, its reversed input and its output. Scratch: the scratch of the inner
    /// layer, and the gradients of its input and output.
    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        let (memory, Dims { input, output, .. }) = (self.layer.memory(shape, mode), self.kept.dims);
        let outs = Layer::<T>::output_shape(self, shape).rows().saturating_mul(output);
        let values = shape.rows().saturating_mul(input).saturating_add(outs);
        let saved = if mode.saves() { memory.saved.saturating_add(values) } else { 0 };
        MemorySizes::new(saved, memory.scratch.saturating_add(values), memory.state)
    }

    fn hints(&self) -> Hints {
        hints(self.kept.hints)
    }

    fn reads_later_steps(&self) -> bool {
        true
    }

    fn structure(&self) -> Structure<'_, T> {
        Structure::chain().recorded(Recorded::Checked(reversed(self.kept))).kept_part("", &self.layer, self.kept)
    }

    /// Returns the bound on the 2-norm of the Jacobian of the inner layer, `None` if it has none: the order of rows
    /// does not change a norm.
    fn gain_bound(&self, w: &[T], shape: BatchShape<'_>) -> Option<f64> {
        self.layer.gain_bound(w, shape)
    }

    fn spec(&self) -> LayerSpec {
        LayerSpec::Reversed(Box::new(self.layer.spec()))
    }

    fn forward(&self, w: &[T], mut pass: Forward<'_, T>) {
        let (dims, shape) = (self.kept.dims, pass.ctx.shape);
        let after = self.layer.output_shape(shape);
        let lengths = PassLengths::new("Reversed", dims, &shape, &after);
        lengths.forward(w, &pass);
        check_shape_after("the layer in Reversed", shape, after);
        let (Dims { input, output, .. }, PassLengths { x: ins, y: outs, .. }) = (dims, lengths);
        let keep = if pass.ctx.mode.saves() { ins + outs } else { 0 };
        let (mut saved, mut scratch) = (core::mem::take(&mut pass.saved), core::mem::take(&mut pass.scratch));
        let kept = cut_end(SAVED, &mut saved, keep);
        let spare = cut(SCRATCH, &mut scratch, ins + outs);
        let (x, y) = if pass.ctx.mode.saves() { kept } else { spare }.split_at_mut(ins);
        reverse(shape, input, pass.x, x);
        self.layer.forward(w, Forward { x, y, saved, scratch, ..pass.reborrow() });
        reverse(after, output, y, pass.y);
    }

    fn backward(&self, w: &[T], mut pass: Backward<'_, T>) {
        let (dims, shape) = (self.kept.dims, pass.ctx.shape);
        let after = self.layer.output_shape(shape);
        let lengths = PassLengths::new("Reversed", dims, &shape, &after);
        lengths.backward(|| hints(self.kept.hints), w, &pass);
        check_shape_after("the layer in Reversed", shape, after);
        let (Dims { input, output, .. }, PassLengths { x: ins, y: outs, .. }) = (dims, lengths);
        let (mut saved, mut scratch) = (core::mem::take(&mut pass.saved), core::mem::take(&mut pass.scratch));
        let (x, y) = cut_end(SAVED, &mut saved, ins.saturating_add(outs)).split_at_mut(ins);
        let dy = cut(SCRATCH, &mut scratch, outs);
        let d_input = cut(SCRATCH, &mut scratch, ins);
        reverse(after, output, pass.dy, dy);
        let dx = pass.dx.is_some().then_some(&mut *d_input);
        self.layer.backward(w, Backward { x, y, dy, dx, saved, scratch, ..pass.reborrow() });
        if let Some(dx) = pass.dx {
            reverse(shape, input, d_input, dx);
        }
    }
}
