//! The passes of a checkpointed layer, segment by segment.
//!
//! Forward: the state before each segment is kept. Backward, from the last segment: the segment runs forward again from
//! its state, then backward. The gradient of its initial state is that of the final state of the segment before it.

use super::{
    checkpointed::Checkpointed,
    segments::{OfSegment, Plan, gather, scatter},
};
use crate::{
    batch_shape::BatchShape,
    layer::{Backward, Context, Dims, Forward, Layer, Segment},
    monitor::Factor,
    scalar::Scalar,
    slices::{cut, hold},
};
use core::ops::Range;

/// The name of the saved values, which the layers share, in the message of a panic.
const SAVED: &str = "`saved` of Checkpointed";
/// The name of the scratch, which the layers share, in the message of a panic.
const SCRATCH: &str = "`scratch` of Checkpointed";

impl<T: Scalar> Checkpointed<T> {
    /// Runs the layers over one segment of a pass divided by `plan`; `ctx` has the segment's shape. `x` holds the
    /// input rows of the segment. `initial_state` is the state before the segment (`None` means zero), and
    /// `final_state` receives the state after it.
    ///
    /// `buffers` receives the saved values and the outputs of each layer, in order. In front of each layer's outputs
    /// there is room for the outputs of one earlier time step.
    #[allow(clippy::too_many_arguments)]
    fn forward_segment(
        &self,
        w: &[T],
        plan: &Plan,
        x: &[T],
        mut initial_state: Option<&[T]>,
        mut final_state: &mut [T],
        mut buffers: &mut [T],
        scratch: &mut [T],
        mut ctx: Context<'_, T>,
    ) {
        let (rows, mode) = (ctx.shape, ctx.mode);
        let count = rows.rows();
        let mut input = x;
        for entry in &self.layers {
            let [saved, outputs] = Self::segment_sizes(entry, plan, mode);
            let own = cut(SAVED, &mut buffers, saved);
            let outputs = cut(SAVED, &mut buffers, outputs);
            let (width, [h, rest]) = (entry.kept.dims.output, entry.states);
            let states = rows.batch * (h + rest);
            let y = &mut outputs[plan.batch * width..][..count * width];
            let saves = entry.layer.memory(rows, mode).saved;
            let mut pass = Forward::new(input, y, &mut own[..saves], scratch, ctx.part(entry.first_link));
            pass.state.initial_state =
                initial_state.as_mut().map(|state| state.split_off(..states).unwrap_or_default());
            pass.state.final_state = cut(SCRATCH, &mut final_state, states);
            entry.layer.forward(&w[entry.parameters.clone()], pass);
            input = &outputs[plan.batch * width..][..count * width];
        }
    }

    /// Overwrites the start of `dy` with the gradient with respect to the last layer's output over the time steps
    /// `steps` of a pass over `shape`, and returns its length, in values. `from` is the gradient with respect to the
    /// output of the whole pass: of the last time step of each sample if there is a `LastStep`.
    ///
    /// With a `LastStep`, leading zero rows are omitted if the last layer allows it and the pass is not `monitored`.
    fn spread(&self, shape: BatchShape<'_>, steps: Range<usize>, monitored: bool, from: &[T], dy: &mut [T]) -> usize {
        let width = Layer::<T>::dims(self).output;
        let all = shape.step(steps.start).start..shape.step(steps.end - 1).end;
        let values = all.len() * width;
        if self.last_step.is_none() {
            dy[..values].copy_from_slice(&from[all.start * width..][..values]);
            return values;
        }
        let shortens = self.layers.last().is_some_and(|last| last.kept.hints.accepts_short_dy);
        let is_short = shortens && shape.lengths.is_none() && !monitored;
        let rows = if !is_short {
            all.len()
        } else if steps.end == shape.steps {
            shape.batch
        } else {
            0
        };
        let dy = &mut dy[..rows * width];
        dy.fill(T::zero());
        for (sample, from) in from.chunks(width).enumerate() {
            let last = shape.length(sample) - 1;
            if steps.contains(&last) {
                let row = shape.row(last, sample) - (all.end - rows);
                dy[row * width..][..width].copy_from_slice(from);
            }
        }
        dy.len()
    }

    /// Runs the forward pass of the layer, segment by segment from first to last, and keeps the state before each
    /// segment.
    pub(super) fn forward_segments(&self, w: &[T], pass: Forward<'_, T>) {
        let (shape, mode) = (pass.ctx.shape, pass.ctx.mode);
        self.lengths(shape, mode).forward(w, &pass);
        let Forward { x, y, saved, mut scratch, state, mut ctx } = pass;
        let (plan, Dims { input, output, .. }) = (self.plan(shape, mode), self.dims());
        let [states, segment, _] = self.lengths_of(&plan, mode);
        let mut rest = saved;
        let mut kept = cut(SAVED, if mode.saves() { &mut rest } else { &mut scratch }, states + segment);
        let states = cut(SAVED, &mut kept, states);
        let own = if self.has_scratch_in_saved(mode) { &mut rest } else { &mut scratch };
        let end = cut(SCRATCH, own, plan.batch * self.state());
        let current = state.final_state;
        match state.initial_state {
            Some(state) => current.copy_from_slice(state),
            None => current.fill(T::zero()),
        }
        let (dropout, path, mut lengths) = (ctx.dropout, ctx.path, ctx.take_lengths());
        let count = shape.steps.div_ceil(plan.steps);
        for (k, first) in (0..shape.steps).step_by(plan.steps).enumerate() {
            let rows = shape.window(first, plan.steps, &mut lengths);
            let slot = plan.slot(if mode.saves() { k } else { 0 }, rows.batch, self.state());
            gather(&self.layers, current, plan.batch, &mut states[slot.clone()], rows.batch);
            let initial_state = (first > 0 || state.initial_state.is_some()).then_some(&states[slot.clone()]);
            let (from, end) = (shape.step(first).start, &mut end[..slot.len()]);
            let x = &x[from * input..][..rows.rows() * input];
            let mut monitor = OfSegment { monitor: &mut *ctx.monitor, first, shape, parts: [k, count - 1 - k] };
            let dropout = dropout.at_later_step(first);
            let ctx = Context { dropout, path, ..Context::new(rows, mode, &mut monitor) };
            self.forward_segment(w, &plan, x, initial_state, end, kept, scratch, ctx);
            scatter(&self.layers, end, rows.batch, current, plan.batch);
            let outputs = &kept[segment - plan.rows * output..][..rows.rows() * output];
            if self.last_step.is_none() {
                y[from * output..][..outputs.len()].copy_from_slice(outputs);
                continue;
            }
            for sample in 0..rows.batch {
                let last = shape.length(sample) - 1 - first;
                if last < rows.steps {
                    let row = rows.row(last, sample);
                    y[sample * output..][..output].copy_from_slice(&outputs[row * output..][..output]);
                }
            }
        }
        ctx.keep_lengths(lengths);
        if let Some(entry) = &self.last_step {
            let ctx = Context { shape: shape.collapsed(), ..ctx.part(entry.first_link) };
            ctx.report_forward(Factor::Other, y, y);
        }
    }

    /// Runs the backward pass of the layer, segment by segment from last to first. Each segment except the last, whose
    /// values are still saved, first runs forward again.
    pub(super) fn backward_segments(&self, w: &[T], pass: Backward<'_, T>) {
        let (shape, mode) = (pass.ctx.shape, pass.ctx.mode.saving());
        self.lengths(shape, mode).backward(|| self.hints(), w, &pass);
        let Backward { x, dy, mut dx, dw, saved, mut scratch, state, trainable, mut ctx, .. } = pass;
        if let Some(entry) = &self.last_step {
            let ctx = Context { shape: shape.collapsed(), ..ctx.part(entry.first_link) };
            ctx.report_backward(Factor::Other, dy, dy);
        }
        let (plan, Dims { input, .. }) = (self.plan(shape, mode), self.dims());
        let [states, segment, sums] = self.lengths_of(&plan, mode);
        let mut rest = saved;
        let (states, buffers) = (cut(SAVED, &mut rest, states), cut(SAVED, &mut rest, segment));
        let own = if self.has_scratch_in_saved(mode) { &mut rest } else { &mut scratch };
        let all_states = plan.batch * self.state();
        let [d_state, d_end, d_start] = [(); 3].map(|()| cut(SCRATCH, own, all_states));
        let sums = cut(SCRATCH, own, sums);
        let [mut dy_buffer, mut dx_buffer] = [(); 2].map(|()| cut(SCRATCH, own, plan.rows * self.widest()));
        match state.d_final_state {
            Some(gradient) => d_state.copy_from_slice(gradient),
            None => d_state.fill(T::zero()),
        }
        let (key, path, mut lengths) = (ctx.dropout, ctx.path, ctx.take_lengths());
        let count = shape.steps.div_ceil(plan.steps);
        for k in (0..count).rev() {
            let first = k * plan.steps;
            let rows = shape.window(first, plan.steps, &mut lengths);
            let slot = plan.slot(k, rows.batch, self.state());
            let initial_state = (k > 0 || state.initial_state.is_some()).then_some(&states[slot.clone()]);
            let (from, values, dropout) = (shape.step(first).start, rows.rows(), key.at_later_step(first));
            let x = &x[from * input..][..values * input];
            let [d_end, d_start] = [&mut *d_end, &mut *d_start].map(|state| &mut state[..slot.len()]);
            // The values that the forward pass saved for the last segment are still in the buffers.
            if k + 1 < count {
                let mut no_monitor = ();
                let ctx = Context { dropout, path, ..Context::new(rows, mode, &mut no_monitor) };
                self.forward_segment(w, &plan, x, initial_state, d_start, buffers, scratch, ctx);
            }
            gather(&self.layers, d_state, plan.batch, d_end, rows.batch);
            let monitored = ctx.monitor.is_active();
            let mut dy_len = self.spread(shape, first..first + rows.steps, monitored, dy, dy_buffer);
            let wants_start = k > 0 || state.d_initial_state.is_some();
            let mut monitor = OfSegment { monitor: &mut *ctx.monitor, first, shape, parts: [count - 1 - k, k] };
            let mut ctx = Context { dropout, path, ..Context::new(rows, mode, &mut monitor) };
            let (mut rest, mut sums_end, mut state_end) = (&mut *buffers, sums.len(), self.state());
            for (i, entry) in self.layers.iter().enumerate().rev() {
                let (Dims { input: width, output, .. }, [h, more]) = (entry.kept.dims, entry.states);
                let [saved_len, outputs_len] = Self::segment_sizes(entry, &plan, mode);
                let outputs = rest.split_off_mut(rest.len() - outputs_len..).unwrap_or_default();
                let own = rest.split_off_mut(rest.len() - saved_len..).unwrap_or_default();
                state_end -= h + more;
                let of_state = state_end * rows.batch..(state_end + h + more) * rows.batch;
                let initial_state = initial_state.map(|state| &state[of_state.clone()]);
                let before = if k > 0 && entry.is_recurrent() { rows.batch } else { 0 };
                let lead = plan.batch - before;
                if let Some(state) = initial_state.filter(|_| before > 0) {
                    outputs[lead * output..][..before * output].copy_from_slice(&state[..before * output]);
                }
                let buffer = Self::sum_buffer(entry, &plan);
                sums_end -= buffer;
                let block = entry.block_steps(plan.batch);
                let segment = Segment {
                    block_steps: block,
                    blocks_after: shape.steps.div_ceil(block) - (first + rows.steps).div_ceil(block),
                    is_first: k == 0,
                    sum_buffer: &mut sums[sums_end..][..buffer],
                    samples_before: if before > 0 { shape.active(first - 1) } else { 0 },
                    outputs: &outputs[lead * output..][..(before + values) * output],
                };
                let y = &outputs[plan.batch * output..][..values * output];
                let x = if i == 0 { x } else { &rest[rest.len() - plan.rows * width..][..values * width] };
                let dx = match i {
                    0 => dx.as_deref_mut().map(|dx| &mut dx[from * input..][..values * input]),
                    _ => Some(&mut dx_buffer[..values * width]),
                };
                let own = &mut own[..entry.layer.memory(rows, mode).saved];
                let (dy, dw) = (&dy_buffer[..dy_len], &mut dw[entry.parameters.clone()]);
                let mut pass = Backward::new(x, y, dy, dx, dw, own, scratch, ctx.part(entry.first_link));
                pass.trainable = trainable.part(entry.first_block);
                pass.state.initial_state = initial_state;
                pass.state.d_final_state = Some(&d_end[of_state.clone()]);
                pass.state.d_initial_state = wants_start.then_some(&mut d_start[of_state]);
                let w = &w[entry.parameters.clone()];
                match entry.layer.in_segments() {
                    Some(layer) => layer.0.backward_segment(w, segment, pass),
                    None => entry.layer.backward(w, pass),
                }
                dy_len = values * width;
                core::mem::swap(&mut dy_buffer, &mut dx_buffer);
            }
            hold(SAVED, 0, rest.len());
            if wants_start {
                scatter(&self.layers, d_start, rows.batch, d_state, plan.batch);
            }
        }
        ctx.keep_lengths(lengths);
        if let Some(gradient) = state.d_initial_state {
            gradient.copy_from_slice(d_state);
        }
    }
}
