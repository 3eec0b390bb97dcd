//! Sequences read from the end.

use crate::{
    batch_shape::BatchShape,
    error::LayerRule,
    layer::{
        Answers, Backward, Dims, Forward, Hints, Layer, LayerSpec, MemorySizes, Mode, Recorded, Structure,
        check_output_shape, cut_end, hold,
    },
    scalar::Scalar,
    size::saturating_product,
};
use alloc::boxed::Box;

/// A layer that reads each sequence from its own end: step t of `x` is step T − 1 − t of the layer within.
///
/// # Shapes
/// Those of the layer within.
#[derive(Clone, Debug, PartialEq)]
pub struct Reversed<L> {
    pub(super) layer: L,
}

impl<L> Reversed<L> {
    /// `layer`, reading from the end. It is checked where it becomes part of a network, and when a workspace is made.
    pub fn new(layer: L) -> Self {
        Reversed { layer }
    }
}

/// The hints of a reversed layer, given those of the layer within: it saves rows of its own, and hands `dw` on.
fn hints(layer: Hints) -> Hints {
    Hints { overwrites_dw: layer.overwrites_dw, ..Hints::NONE.ignores_x().ignores_y() }
}

/// The answers of a reversed layer, given those of the layer within.
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

/// The rows that `layer` makes of `shape` in a pass.
pub(super) fn shape_after<'a, T: Scalar>(layer: &impl Layer<T>, shape: BatchShape<'a>) -> BatchShape<'a> {
    let after = layer.output_shape(shape);
    check_output_shape(shape, after).unwrap_or_else(|rule| panic!("the layer in a Reversed: {rule}"));
    after
}

/// Copies each row to the row of the same sample as many steps from the other end.
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
        self.layer.dims()
    }

    fn output_shape<'a>(&self, shape: BatchShape<'a>) -> BatchShape<'a> {
        self.layer.output_shape(shape)
    }

    /// Saved: what the layer saves, its reversed input and its output. Scratch: the layer's, and the same for
    /// gradients.
    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        let (memory, Dims { input, output, .. }) = (self.layer.memory(shape, mode), self.dims());
        let outs = self.layer.output_shape(shape).rows().saturating_mul(output);
        let values = shape.rows().saturating_mul(input).saturating_add(outs);
        let saved = if mode.saves() { memory.saved.saturating_add(values) } else { 0 };
        MemorySizes::new(saved, memory.scratch.saturating_add(values), memory.state)
    }

    fn hints(&self) -> Hints {
        hints(self.layer.hints())
    }

    fn reads_later_steps(&self) -> bool {
        true
    }

    fn structure(&self) -> Structure<'_, T> {
        Structure::chain().recorded(Recorded::OfPart(reversed)).part("", &self.layer)
    }

    /// That of the layer within: rows in another order are as long.
    fn gain_bound(&self, w: &[T], shape: BatchShape<'_>) -> Option<f64> {
        self.layer.gain_bound(w, shape)
    }

    fn spec(&self) -> LayerSpec {
        LayerSpec::Reversed(Box::new(self.layer.spec()))
    }

    fn forward(&self, w: &[T], mut pass: Forward<'_, T>) {
        let Dims { input, output, .. } = self.dims();
        let after = shape_after(&self.layer, pass.ctx.shape);
        let ins = saturating_product(&[pass.ctx.shape.rows(), input]);
        let outs = saturating_product(&[after.rows(), output]);
        hold("x of a Reversed", ins, pass.x.len());
        hold("y of a Reversed", outs, pass.y.len());
        let keep = if pass.ctx.mode.saves() { ins + outs } else { 0 };
        let mut saved = core::mem::take(&mut pass.saved);
        let kept = cut_end("`saved` of a Reversed", &mut saved, keep);
        let (spare, scratch) = core::mem::take(&mut pass.scratch).split_at_mut(ins + outs);
        let (x, y) = if pass.ctx.mode.saves() { kept } else { spare }.split_at_mut(ins);
        reverse(pass.ctx.shape, input, pass.x, x);
        self.layer.forward(w, Forward { x, y, saved, scratch, ..pass.reborrow() });
        reverse(after, output, y, pass.y);
    }

    fn backward(&self, w: &[T], mut pass: Backward<'_, T>) {
        let Dims { input, output, .. } = self.dims();
        let after = shape_after(&self.layer, pass.ctx.shape);
        let ins = saturating_product(&[pass.ctx.shape.rows(), input]);
        let outs = saturating_product(&[after.rows(), output]);
        hold("dy of a Reversed", outs, pass.dy.len());
        hold("dx of a Reversed", ins, pass.dx.as_deref().map_or(ins, <[T]>::len));
        let mut saved = core::mem::take(&mut pass.saved);
        let kept = cut_end("`saved` of a Reversed", &mut saved, ins + outs);
        let (x, y) = kept.split_at_mut(ins);
        let (dy, scratch) = core::mem::take(&mut pass.scratch).split_at_mut(outs);
        let (d_input, scratch) = scratch.split_at_mut(ins);
        reverse(after, output, pass.dy, dy);
        let dx = pass.dx.is_some().then_some(&mut *d_input);
        self.layer.backward(w, Backward { x, y, dy, dx, saved, scratch, ..pass.reborrow() });
        if let Some(dx) = pass.dx {
            reverse(pass.ctx.shape, input, d_input, dx);
        }
    }
}
