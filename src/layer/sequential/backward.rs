//! The backward pass through the layers of a network.
//!
//! From the last layer to the first: `dx_i = f_i′ᵀ dy_i`, `dw_i` from the layer's own pass, and
//! `dy_{i−1} = dx_i`. Two buffers alternate as `dy_i` and `dx_i`. The forward pass stored the x_i and saved values in
//! order, so each layer takes its values from the end of the remaining memory.

use super::{Entry, SAVED, SCRATCH, STATE, Sequential};
use crate::layer::{Backward, BackwardState, Collected, Context, Parameters, check::check_output_shape};
use crate::slices::{cut, cut_end, cut_end_shared, hold};
use crate::{kernel::prefetch::request, scalar::Scalar};

impl<T: Scalar> Sequential<T> {
    /// Runs the layers in reverse order. The parameters `w` are updated in place, or their gradient is computed into
    /// `pass.dw`: added, or overwritten if `pass.overwrite_dw` is set. Layers before the first with a trainable block
    /// are skipped, unless the pass asks for the gradient of the input or of the initial state.
    ///
    /// # Shapes
    /// Of layer i: x_i, dx_i \[rows i, width i\]; y_i = x_{i+1}, dy_i \[rows i + 1, width i + 1\]. `pass.saved`: the
    /// kept x_i in the order of the layers, then the saved values of the layers in order. `pass.scratch`: buffers for
    /// dx_i and dy_i, then the scratch of a layer.
    pub(super) fn backward_links(&self, w: Parameters<'_, T>, mut pass: Backward<'_, T>) {
        let ctx = &mut pass.ctx;
        let Backward { x, y, dy, dx: mut first_dx, dw, saved, scratch, state, overwrite_dw, trainable, .. } = pass;
        let BackwardState { mut initial_state, mut d_final_state, mut d_initial_state } = state;
        let (shape, mode) = (ctx.shape, ctx.mode.saving());
        if self.layers.is_empty() {
            if let Some(dx) = first_dx {
                dx.copy_from_slice(dy);
            }
            return;
        }
        // Layers before the first with a trainable block need no gradient.
        let (wants_input, in_place) =
            (first_dx.is_some() || d_initial_state.is_some(), matches!(w, Parameters::Update(..)));
        let trains = |link: &Entry<T>| match in_place {
            true => link.kept.blocks > 0,
            false => trainable.part(link.first_block).any(link.kept.blocks),
        };
        let Some(first) = self.layers.iter().position(|link| wants_input || trains(link)) else { return };
        let overwrite_dw = overwrite_dw || in_place;
        let mut all = Collected::new(w, dw);
        let mut saved = saved;
        let mut kept_rows = cut(SAVED, &mut saved, self.kept_in_all(shape));
        let mut scratch = scratch;
        let [of_dx, of_dy] = self.buffers_between(shape);
        let mut dx_buffer = cut(SCRATCH, &mut scratch, of_dx);
        let mut dy_buffer = cut(SCRATCH, &mut scratch, of_dy);
        let in_spans = self.has_parallel_spans(shape, mode, scratch.len()) && !ctx.monitor.is_active();
        // A span (layers that each thread runs for some samples) would share the shards' memory between threads.
        let in_spans = in_spans && ctx.shards().is_none();
        let far = self.is_far();
        let mut count = shape.rows();
        let (mut y, mut dy_len, mut end) = (y, dy.len(), self.layers.len());
        while end > first {
            let i = end - 1;
            let rows = if self.changing.is_empty() { shape } else { self.shape_before(i, shape) };
            if !self.changing.is_empty() {
                check_output_shape(shape, rows)
                    .unwrap_or_else(|rule| panic!("a layer before layer {i} of a Sequential: {rule}"));
                count = rows.rows();
            }
            if in_spans && let Some(span) = self.span_before(first..end, count) {
                end = span.layers.start;
                let inner = self.kept(end.max(1)..i + 1, count);
                let inner = &*cut_end(SAVED, &mut kept_rows, inner);
                let own = cut_end(SAVED, &mut saved, self.saved(end..i + 1, count));
                let (input, inner) = if end == 0 { (x, inner) } else { inner.split_at(self.kept(end..end + 1, count)) };
                let values = self.values(end..end + 1, count);
                let dx = match end {
                    0 => first_dx.take(),
                    _ if end == first => None,
                    _ => Some(&mut dx_buffer[..values]),
                };
                let of_span = self.starts[end]..self.starts[i + 1];
                let place = all.place(&of_span);
                let ctx = Context { shape: rows, ..ctx.part(0) };
                let pass = Backward::new(input, y, &dy_buffer[..dy_len], dx, &mut all.dw[place], own, scratch, ctx);
                let pass = Backward { overwrite_dw, trainable, ..pass };
                self.backward_parallel(&mut all.w, &span, inner, pass);
                all.complete_together(of_span);
                (y, dy_len) = (input, values);
                core::mem::swap(&mut dy_buffer, &mut dx_buffer);
                continue;
            }
            end = i;
            let link = &self.layers[i];
            let [saves, states] = Self::own(link, rows, count, mode);
            let kept = cut_end(SAVED, &mut saved, saves);
            // Omit leading zero rows unless a monitor is active: a monitor must see the whole gradient.
            let skips = i > first && self.layers[i - 1].kept.hints.accepts_short_dy && !ctx.monitor.is_active();
            let skipped = if skips { link.kept.hints.zero_rows(rows) * link.width } else { 0 };
            let values = count.saturating_mul(link.width) - skipped;
            let input = match i {
                0 => x,
                _ => cut_end(SAVED, &mut kept_rows, count.saturating_mul(link.kept_width)),
            };
            let dx = match i {
                0 => first_dx.take(),
                _ if i == first => None,
                _ => Some(&mut dx_buffer[..values]),
            };
            let own = link.parameters.clone();
            if far && self.multiplies(i) {
                let below = self.below(i);
                let (kept, saves) = (self.kept(below.start.max(1).min(i)..i, count), self.saved(below.clone(), count));
                request([
                    &all.w.read()[self.starts[below.start]..self.starts[i]],
                    &kept_rows[kept_rows.len() - kept.min(kept_rows.len())..],
                    &saved[saved.len() - saves.min(saved.len())..],
                ]);
            }
            let state = match states {
                0 => BackwardState::default(),
                _ => BackwardState {
                    initial_state: initial_state.as_mut().map(|state| cut_end_shared(STATE, state, states)),
                    d_final_state: d_final_state.as_mut().map(|state| cut_end_shared(STATE, state, states)),
                    d_initial_state: d_initial_state.as_mut().map(|state| cut_end(STATE, state, states)),
                },
            };
            let (of_link, own_dw) = all.layer(own.clone());
            of_link.backward(
                &*link.layer,
                Backward {
                    x: input,
                    y,
                    dy: if i + 1 == self.layers.len() { dy } else { &dy_buffer[..dy_len] },
                    dx,
                    dw: own_dw,
                    saved: kept,
                    scratch,
                    state,
                    overwrite_dw,
                    trainable: trainable.part(link.first_block),
                    ctx: Context {
                        shape: rows,
                        is_cut: link.is_own && self.changing.is_empty(),
                        ..ctx.part(link.first_link)
                    },
                },
            );
            all.complete(own);
            (y, dy_len) = (input, values);
            core::mem::swap(&mut dy_buffer, &mut dx_buffer);
        }
        all.update_from(self.starts[first]);
        if first == 0 {
            hold(SAVED, 0, kept_rows.len() + saved.len());
            hold(STATE, 0, initial_state.map_or(0, <[T]>::len) + d_final_state.map_or(0, <[T]>::len));
            hold(STATE, 0, d_initial_state.map_or(0, |state| state.len()));
        }
    }
}
