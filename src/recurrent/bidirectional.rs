//! Sequences read from the end, and from both ends.

use crate::{
    block::Block,
    error::{Error, require},
    extent::Extent,
    layer::{Backward, Dims, Forward, Layer, Mode, Needs, Node, Reads, Rows},
    monitor::Factor,
    scalar::Scalar,
    size::{saturating_product, saturating_sum},
    theory::Upper,
};
use alloc::{boxed::Box, format, string::String};
use rand_core::Rng;

/// A layer that reads each sequence from its own end: step t of `x` is step T − 1 − t of the layer within.
///
/// # Shapes
/// Those of the layer within.
#[derive(Clone, Debug, PartialEq)]
pub struct Reversed<L> {
    layer: L,
}

impl<L> Reversed<L> {
    /// `layer`, reading from the end.
    pub fn new(layer: L) -> Self {
        Reversed { layer }
    }
}

/// Copies each row to the row of the same sample as many steps from the other end.
fn reverse<T: Copy>(extent: Extent<'_>, width: usize, from: &[T], to: &mut [T]) {
    let mut rows = from.chunks(width);
    for step in 0..extent.steps {
        for (sample, row) in rows.by_ref().take(extent.active(step)).enumerate() {
            let other = extent.row(extent.length(sample) - 1 - step, sample);
            to[other * width..][..width].copy_from_slice(row);
        }
    }
}

impl<T: Scalar, L: Layer<T>> Layer<T> for Reversed<L> {
    fn dims(&self) -> Dims {
        self.layer.dims()
    }

    fn extent<'a>(&self, extent: Extent<'a>) -> Extent<'a> {
        self.layer.extent(extent)
    }

    /// Saved: what the layer saves, its reversed input and its output. Scratch: the layer's, and the same for gradients.
    fn needs(&self, extent: Extent<'_>, mode: Mode) -> Needs {
        let (needs, Dims { input, output, .. }) = (self.layer.needs(extent, mode), self.dims());
        let outs = self.layer.extent(extent).rows().saturating_mul(output);
        let values = extent.rows().saturating_mul(input).saturating_add(outs);
        let saved = if mode.saves() { needs.saved.saturating_add(values) } else { 0 };
        Needs::new(saved, needs.scratch.saturating_add(values), needs.carried)
    }

    fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
        self.layer.initialize(w, rng)
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        self.layer.blocks(visit);
    }

    fn places(&self, path: &str, visit: &mut dyn FnMut(String)) {
        self.layer.places(path, visit);
    }

    fn reads(&self) -> Reads {
        Reads::NEITHER
    }

    fn rows(&self) -> Rows {
        self.layer.rows()
    }

    /// That of the layer within: rows in another order are as long.
    fn gain_bound(&self, w: &[T], extent: Extent<'_>) -> Option<f64> {
        self.layer.gain_bound(w, extent)
    }

    fn gain_bounds(&self, w: &[T], extent: Extent<'_>, path: &str, visit: &mut dyn FnMut(&str, Option<f64>)) {
        self.layer.gain_bounds(w, extent, path, visit);
    }

    fn state_bounds(&self, w: &[T], extent: Extent<'_>, path: &str, visit: &mut dyn FnMut(&str, Option<&[f64]>)) {
        self.layer.state_bounds(w, extent, path, visit);
    }

    fn describe(&self) -> Node {
        Node::Reversed(Box::new(self.layer.describe()))
    }

    fn forward(&self, w: &[T], mut pass: Forward<'_, T>) {
        let Dims { input, output, .. } = self.dims();
        let after = self.layer.extent(pass.extent);
        let (ins, outs) = (pass.extent.rows() * input, after.rows() * output);
        let keep = if pass.mode.saves() { ins + outs } else { 0 };
        let saved = core::mem::take(&mut pass.saved);
        let (saved, kept) = saved.split_at_mut(saved.len() - keep);
        let (spare, scratch) = core::mem::take(&mut pass.scratch).split_at_mut(ins + outs);
        let (x, y) = if pass.mode.saves() { kept } else { spare }.split_at_mut(ins);
        reverse(pass.extent, input, pass.x, x);
        self.layer.forward(w, Forward { x, y, saved, scratch, ..pass.reborrow() });
        reverse(after, output, y, pass.y);
    }

    fn backward(&self, w: &[T], mut pass: Backward<'_, T>) {
        let Dims { input, output, .. } = self.dims();
        let after = self.layer.extent(pass.extent);
        let (ins, outs) = (pass.extent.rows() * input, after.rows() * output);
        let saved = core::mem::take(&mut pass.saved);
        let (saved, kept) = saved.split_at_mut(saved.len() - ins - outs);
        let (x, y) = kept.split_at_mut(ins);
        let (dy, scratch) = core::mem::take(&mut pass.scratch).split_at_mut(outs);
        let (d_input, scratch) = scratch.split_at_mut(ins);
        reverse(after, output, pass.dy, dy);
        let dx = pass.dx.is_some().then_some(&mut *d_input);
        self.layer.backward(w, Backward { x, y, dy, dx, saved, scratch, ..pass.reborrow() });
        if let Some(dx) = pass.dx {
            reverse(pass.extent, input, d_input, dx);
        }
    }
}

/// Two layers on the same sequence, one reading from each end, their outputs side by side.
///
/// `y_t = [forward(x)_t, reversed backward(x)_t]`. Source: Schuster & Paliwal 1997.
///
/// # Shapes
/// x: \[rows, input\]; y: \[rows, forward's output + backward's output\]; carried: forward's, then backward's.
#[derive(Clone, Debug, PartialEq)]
pub struct Bidirectional<F, B> {
    forward: F,
    backward: Reversed<B>,
    /// Places and blocks of the forward layer, counted once.
    places: usize,
    blocks: usize,
}

impl<F, B> Bidirectional<F, B> {
    /// `forward` from the start and `backward` from the end.
    ///
    /// # Errors
    /// [`Error::WidthMismatch`] where they take different widths; [`Error::Parameter`] where one gives none;
    /// [`Error::Order`] where they give different rows.
    pub fn new<T: Scalar>(forward: F, backward: B) -> Result<Self, Error>
    where
        F: Layer<T>,
        B: Layer<T>,
    {
        let (expected, found) = (forward.dims().input, backward.dims().input);
        if expected != found {
            return Err(Error::WidthMismatch { layer: "backward".into(), expected, found });
        }
        let narrowest = forward.dims().output.min(backward.dims().output);
        require(narrowest > 0, "the width of a direction", "at least 1", 0.0)?;
        let probe = Extent::sequences(2, 3);
        if forward.extent(probe) != backward.extent(probe) {
            return Err(Error::Order { what: "a bidirectional layer", needs: "two layers that give the same rows" });
        }
        let (mut places, mut blocks) = (0, 0);
        forward.places("", &mut |_| places += 1);
        forward.blocks(&mut |_| blocks += 1);
        Ok(Bidirectional { forward, backward: Reversed::new(backward), places, blocks })
    }
}

/// Sizes of the two parts, in values of one pass.
struct Parts {
    widths: [usize; 2],
    outs: [usize; 2],
    saved: [usize; 2],
    states: [usize; 2],
    parameters: usize,
}

impl<F, B> Bidirectional<F, B> {
    fn parts<T: Scalar>(&self, extent: Extent<'_>, mode: Mode) -> Parts
    where
        F: Layer<T>,
        B: Layer<T>,
    {
        let (first, second) = (self.forward.dims(), self.backward.dims());
        let (needs, others) = (self.forward.needs(extent, mode), self.backward.needs(extent, mode));
        let rows = self.forward.extent(extent).rows();
        Parts {
            widths: [first.output, second.output],
            outs: [rows.saturating_mul(first.output), rows.saturating_mul(second.output)],
            saved: [needs.saved, others.saved],
            states: [needs, others].map(|needs| saturating_product(&[needs.carried, extent.batch])),
            parameters: first.parameters,
        }
    }
}

impl<T: Scalar, F: Layer<T>, B: Layer<T>> Layer<T> for Bidirectional<F, B> {
    fn dims(&self) -> Dims {
        let (first, second) = (self.forward.dims(), self.backward.dims());
        let output = first.output.saturating_add(second.output);
        Dims::new(first.input, output, first.parameters.saturating_add(second.parameters))
    }

    fn extent<'a>(&self, extent: Extent<'a>) -> Extent<'a> {
        self.forward.extent(extent)
    }

    /// Saved: what the two save, and their outputs. Scratch: the larger of theirs, their outputs (or the
    /// gradients of these), and one gradient of the input.
    fn needs(&self, extent: Extent<'_>, mode: Mode) -> Needs {
        let (first, second) = (self.forward.needs(extent, mode), self.backward.needs(extent, mode));
        let Parts { outs: [a, b], .. } = self.parts(extent, mode);
        let saved = if mode.saves() { saturating_sum([first.saved, second.saved, a, b]) } else { 0 };
        let of_input = extent.rows().saturating_mul(self.dims().input);
        let scratch = saturating_sum([first.scratch.max(second.scratch), a, b, of_input]);
        Needs::new(saved, scratch, first.carried.saturating_add(second.carried))
    }

    fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
        let (first, second) = w.split_at_mut(self.forward.dims().parameters);
        self.forward.initialize(first, rng)?;
        self.backward.initialize(second, rng)
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        self.forward.blocks(&mut |block| visit(block.within("forward", 0)));
        let offset = self.forward.dims().parameters;
        self.backward.blocks(&mut |block| visit(block.within("backward", offset)));
    }

    fn places(&self, path: &str, visit: &mut dyn FnMut(String)) {
        visit(path.into());
        self.forward.places(&format!("{path}.forward"), visit);
        self.backward.places(&format!("{path}.backward"), visit);
    }

    fn reads(&self) -> Reads {
        Reads::INPUT
    }

    fn rows(&self) -> Rows {
        self.forward.rows().and(self.backward.rows())
    }

    /// `√(f² + b²)` of the bounds of the two: their outputs stand side by side.
    fn gain_bound(&self, w: &[T], extent: Extent<'_>) -> Option<f64> {
        let (first, second) = w.split_at_checked(self.forward.dims().parameters)?;
        let first = Upper::of(self.forward.gain_bound(first, extent)?);
        let second = Upper::of(self.backward.gain_bound(second, extent)?);
        Some((first * first + second * second).sqrt().get())
    }

    fn gain_bounds(&self, w: &[T], extent: Extent<'_>, path: &str, visit: &mut dyn FnMut(&str, Option<f64>)) {
        let bound = self.gain_bound(w, extent);
        if bound.is_some() {
            return visit(path, bound);
        }
        let (first, second) = w.split_at(self.forward.dims().parameters);
        let mut missing = |name: &str, bound: Option<f64>| {
            if bound.is_none() {
                visit(name, None);
            }
        };
        self.forward.gain_bounds(first, extent, &format!("{path}.forward"), &mut missing);
        self.backward.gain_bounds(second, extent, &format!("{path}.backward"), &mut missing);
    }

    fn state_bounds(&self, w: &[T], extent: Extent<'_>, path: &str, visit: &mut dyn FnMut(&str, Option<&[f64]>)) {
        let (first, second) = w.split_at(self.forward.dims().parameters);
        self.forward.state_bounds(first, extent, &format!("{path}.forward"), visit);
        self.backward.state_bounds(second, extent, &format!("{path}.backward"), visit);
    }

    fn describe(&self) -> Node {
        let Node::Reversed(backward) = self.backward.describe() else {
            return Node::Opaque { kind: "Bidirectional".into(), dims: Layer::<T>::dims(self) };
        };
        Node::Bidirectional { forward: Box::new(self.forward.describe()), backward }
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        let Parts { widths, outs, saved: sizes, states, parameters } = self.parts(pass.extent, pass.mode);
        let (first_w, second_w) = w.split_at(parameters);
        let (first_state, second_state) = split_option(pass.carried_in, states[0]);
        let (first_end, second_end) = pass.carried_out.split_at_mut(states[0]);
        let (first_saved, rest) = pass.saved.split_at_mut(sizes[0]);
        let (second_saved, kept) = rest.split_at_mut(sizes[1]);
        let (spare, scratch) = pass.scratch.split_at_mut(outs[0] + outs[1]);
        let both = if pass.mode.saves() { kept } else { spare };
        let (first, second) = both.split_at_mut(outs[0]);
        let (extent, mode, noise, x, monitor) = (pass.extent, pass.mode, pass.noise, pass.x, pass.monitor);
        let at = pass.at.branch();
        self.forward.forward(
            first_w,
            Forward {
                extent,
                mode,
                noise,
                x,
                y: first,
                saved: first_saved,
                carried_in: first_state,
                carried_out: first_end,
                scratch,
                monitor,
                at: at.part(1),
            },
        );
        self.backward.forward(
            second_w,
            Forward {
                extent,
                mode,
                noise,
                x,
                y: second,
                saved: second_saved,
                carried_in: second_state,
                carried_out: second_end,
                scratch,
                monitor,
                at: at.part(1 + self.places),
            },
        );
        let parts = first.chunks(widths[0]).zip(second.chunks(widths[1]));
        for (y, (first, second)) in pass.y.chunks_mut(widths[0] + widths[1]).zip(parts) {
            y[..widths[0]].copy_from_slice(first);
            y[widths[0]..].copy_from_slice(second);
        }
        if monitor.listens() {
            monitor.forward(&pass.at.link(Factor::Other, extent), x, pass.y);
        }
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        let Parts { widths, outs, saved: sizes, states, parameters } = self.parts(pass.extent, pass.mode);
        let (first_w, second_w) = w.split_at(parameters);
        let (first_dw, second_dw) = pass.dw.split_at_mut(parameters);
        let (first_state, second_state) = split_option(pass.carried_in, states[0]);
        let (first_end, second_end) = split_option(pass.d_carried_out, states[0]);
        let (first_start, second_start) = match pass.d_carried_in {
            Some(gradient) => {
                let (first, second) = gradient.split_at_mut(states[0]);
                (Some(first), Some(second))
            }
            None => (None, None),
        };
        let (first_saved, rest) = pass.saved.split_at_mut(sizes[0]);
        let (second_saved, kept) = rest.split_at_mut(sizes[1]);
        let (first_y, second_y) = kept.split_at_mut(outs[0]);
        let (first_dy, scratch) = pass.scratch.split_at_mut(outs[0]);
        let (second_dy, scratch) = scratch.split_at_mut(outs[1]);
        let (other_dx, scratch) = scratch.split_at_mut(pass.x.len());
        let parts = first_dy.chunks_mut(widths[0]).zip(second_dy.chunks_mut(widths[1]));
        for (dy, (first, second)) in pass.dy.chunks(widths[0] + widths[1]).zip(parts) {
            first.copy_from_slice(&dy[..widths[0]]);
            second.copy_from_slice(&dy[widths[0]..]);
        }
        let (extent, mode, noise, x, monitor) = (pass.extent, pass.mode, pass.noise, pass.x, pass.monitor);
        let at = pass.at.branch();
        let mut dx = pass.dx;
        self.forward.backward(
            first_w,
            Backward {
                extent,
                mode,
                noise,
                x,
                y: first_y,
                saved: first_saved,
                carried_in: first_state,
                dy: first_dy,
                d_carried_out: first_end,
                dx: dx.as_deref_mut(),
                d_carried_in: first_start,
                dw: first_dw,
                fresh: false,
                trained: pass.trained,
                scratch,
                monitor,
                at: at.part(1),
            },
        );
        self.backward.backward(
            second_w,
            Backward {
                extent,
                mode,
                noise,
                x,
                y: second_y,
                saved: second_saved,
                carried_in: second_state,
                dy: second_dy,
                d_carried_out: second_end,
                dx: dx.is_some().then_some(&mut *other_dx),
                d_carried_in: second_start,
                dw: second_dw,
                fresh: false,
                trained: pass.trained.part(self.blocks),
                scratch,
                monitor,
                at: at.part(1 + self.places),
            },
        );
        if let Some(dx) = dx {
            dx.iter_mut().zip(&*other_dx).for_each(|(dx, &other)| *dx += other);
            if monitor.listens() {
                monitor.backward(&pass.at.link(Factor::Other, extent), pass.dy, dx);
            }
        }
    }
}

fn split_option<T>(state: Option<&[T]>, at: usize) -> (Option<&[T]>, Option<&[T]>) {
    match state.map(|state| state.split_at(at)) {
        Some((first, second)) => (Some(first), Some(second)),
        None => (None, None),
    }
}
