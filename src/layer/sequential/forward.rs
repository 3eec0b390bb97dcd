//! The forward pass through the layers of a network: `x_{i+1} = f_i(x_i)`.
//!
//! An x_i that the backward pass reads is kept in `saved`, in order. The others alternate between two buffers.

use super::{SAVED, SCRATCH, STATE, Sequential};
use crate::layer::{Context, Forward, ForwardState, Layer};
use crate::slices::{cut, cut_shared, hold};
use crate::{kernel::prefetch::request, scalar::Scalar};

impl<T: Scalar> Sequential<T> {
    /// Runs the layers in order, with the parameters `w`.
    ///
    /// # Shapes
    /// Of layer i: x_i \[rows before i, width before i\]; y_i \[rows after i, width after i\].
    pub(super) fn forward_links(&self, w: &[T], mut pass: Forward<'_, T>) {
        let ctx = &mut pass.ctx;
        let Forward { x, y, saved, scratch, state, .. } = pass;
        let (shape, mode, mut y) = (ctx.shape, ctx.mode, Some(y));
        let ForwardState { mut initial_state, mut final_state } = state;
        if self.layers.is_empty() {
            return y.unwrap_or_default().copy_from_slice(x);
        }
        // `between` is memory for the layer inputs that the backward pass reads, in order.
        let mut saved = saved;
        let mut between = cut(SAVED, &mut saved, if mode.saves() { self.kept_in_all(shape) } else { 0 });
        let mut scratch = scratch;
        let [of_output, of_input] = self.buffers_between(shape);
        let mut output = cut(SCRATCH, &mut scratch, of_output);
        let mut input = cut(SCRATCH, &mut scratch, of_input);
        let together = mode.saves() && self.has_parallel_spans(shape, mode, scratch.len()) && !ctx.monitor.is_active();
        let far = self.is_far();
        let (mut x, mut rows, mut count, mut next) = (Some(x), shape, shape.rows(), 0);
        while let Some(link) = self.layers.get(next) {
            let i = next;
            if together
                && let Some(rows_now) = x
                && let Some(span) = self.span_from(i, count)
            {
                next = span.layers.end;
                let kept = cut(SAVED, &mut between, self.kept(i + 1..next + 1, count));
                let own = cut(SAVED, &mut saved, self.saved(i..next, count));
                let ctx = Context { shape: rows, ..ctx.part(0) };
                let pass = Forward::new(rows_now, kept, own, scratch, ctx);
                self.forward_parallel(w, &span, [&mut *input, &mut *output], pass);
                x = Some(&kept[self.kept(i + 1..next, count)..]);
                continue;
            }
            next += 1;
            let [saves, states] = Self::own(link, rows, count, mode);
            let came = count.saturating_mul(link.width);
            // Most layers do not change the rows, and then the shape is not copied.
            let after = self.changing.contains(&i).then(|| self.change(i, rows));
            if let Some(after) = &after {
                count = after.rows();
            }
            let values = count.saturating_mul(link.kept.dims.output);
            let own = cut(SAVED, &mut saved, saves);
            let last = y.take_if(|_| next == self.layers.len());
            let keeps = mode.saves() && self.layers.get(next).is_some_and(|after| after.kept_width > 0);
            let kept = if keeps { Some(cut(SAVED, &mut between, values)) } else { last };
            let layer_input = x.unwrap_or(&input[..came.min(input.len())]);
            let state = match states {
                0 => ForwardState::default(),
                _ => ForwardState {
                    initial_state: initial_state.as_mut().map(|state| cut_shared(STATE, state, states)),
                    final_state: cut(STATE, &mut final_state, states),
                },
            };
            let parameters = &w[link.parameters.clone()];
            if far && self.multiplies(i) {
                let above = self.above(i);
                // Prefetched: the parameters of the layers `above`, and the memory that they write, except for the
                // network's output.
                let last = (above.end + 1).min(self.layers.len());
                let kept = self.kept((next + 1).min(last)..last, count);
                let saves = self.saved(above.clone(), count);
                request([
                    &w[self.starts[above.start]..self.starts[above.end]],
                    &between[..kept.min(between.len())],
                    &saved[..saves.min(saved.len())],
                ]);
            }
            // The pass is built where it runs. A copy would load values in wider words than they were stored, which
            // is slow.
            let run = |y: &mut [T]| {
                let is_cut = link.is_own && self.changing.is_empty();
                let ctx = Context { shape: rows, is_cut, ..ctx.part(link.first_link) };
                link.layer.forward(parameters, Forward { x: layer_input, y, saved: own, scratch, state, ctx });
            };
            x = match kept {
                Some(kept) => {
                    run(kept);
                    Some(kept)
                }
                None => {
                    run(&mut output[..values]);
                    core::mem::swap(&mut input, &mut output);
                    None
                }
            };
            if let Some(after) = after {
                rows = after;
            }
        }
        hold(SAVED, 0, between.len() + saved.len());
        hold(STATE, 0, final_state.len() + initial_state.map_or(0, <[T]>::len));
    }
}
