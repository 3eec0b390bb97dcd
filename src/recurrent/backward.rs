//! The backward pass of a recurrent layer: backpropagation through time (Werbos 1990).
//!
//! With g_t = ∂L/∂h_t and δ_t = ∂L/∂z_t, for the time steps t from last to first:
//!
//! 1. `g_t = dy_t + d_h_prev`, where `d_h_prev` is the gradient that step t + 1 passed back.
//! 2. The cell's stages, from last to first: δ_t from g_t, in place of the saved values.
//! 3. `d_h_prev = δ_t U`, added to the gradient that the cell itself passes to h_{t−1}.
//!
//! Then, for many time steps at once: `dW += δᵀ x`, `dU += δᵀ h_{t−1}`, `db += Σ δ`. At the end, for all rows:
//! `dx = δ W`.

use super::{
    monitoring::{ACTIVATION_LINK, ADDITION_LINK, INPUT_LINK, RECURRENT_LINK, StepGradient},
    noise::{CELL, HIDDEN, Zoneout, multiply},
    plan::{SCRATCH, Sizes, Unrolled, rows},
    saved_values::SavedValues,
    stage::{BackwardStage, Stages},
    weight_gradient::{Operands, SampleRows},
};
use crate::{
    batch_shape::BatchShape,
    cell::Operand,
    kernel::{
        elementwise::map2,
        gemm::{Epilogue, Matrix, gemm, gemm_nn, pack, packed_b_len},
        prefetch::request,
        row_chain::GRAIN,
        step_rows::{StepRows, StepStorage, Steps, parallel_samples},
        sums::BlockSum,
    },
    layer::{Backward, BackwardState, Context, Hints, Segment, Subtree},
    monitor::Factor,
    scalar::Scalar,
    size::saturating_product,
    slices::cut,
};
use core::ops::Range;

/// The values of a recurrent layer that all time steps of a backward pass read.
struct BackwardSteps<'a, T> {
    packed_products: &'a [T],
    h_start: &'a [T],
    cell_state_start: &'a [T],
    cell_states: &'a [T],
    /// h and cell state of all rows as the cell computed them, before zoneout. Without zoneout they are `y` and
    /// `cell_states`.
    computed: [&'a [T]; 2],
    mask: &'a [T],
    zoneout: Option<Zoneout>,
    y: &'a [T],
    dy: &'a [T],
    /// The number of leading zero rows that `dy` omits.
    zero_rows: usize,
    wants_start: bool,
}

impl<T: Scalar> BackwardSteps<'_, T> {
    /// Overwrites `d_h` with `g_t = d_h_prev + dy_t`, the gradient with respect to h_t. `rows` are the rows of y at
    /// time step t; `d_h_prev` and `d_h` hold these rows alone. Leading rows that `self.dy` omits count as 0.
    fn add_dy(&self, rows: Range<usize>, d_h_prev: &[T], d_h: &mut [T]) {
        let hidden = d_h.len() / rows.len();
        let zeros = self.zero_rows.saturating_sub(rows.start).min(rows.len());
        let (without_dy, with_dy) = d_h_prev.split_at(zeros * hidden);
        let (start, rest) = d_h.split_at_mut(zeros * hidden);
        start.copy_from_slice(without_dy);
        if zeros < rows.len() {
            let first = rows.start + zeros - self.zero_rows;
            map2(with_dy, &self.dy[first * hidden..][..rest.len()], rest, |state, dy| state + dy);
        }
    }
}

/// The values and gradients of one thread's samples that the time steps of a backward pass write.
struct StepValues<'a, T> {
    /// The pre-activations, overwritten by their gradient δ: at each time step \[samples, gates · hidden\].
    z: StepRows<'a, T>,
    /// The results of the products that are kept separate from z, then their gradients: \[samples, separate gates ·
    /// hidden\].
    u: StepRows<'a, T>,
    /// The gradient with respect to h_t: \[samples, hidden\].
    d_h: StepRows<'a, T>,
    /// The gradient with respect to h_{t−1}: \[samples, hidden\].
    d_h_prev: StepRows<'a, T>,
    /// The gradient with respect to the operand, the vector that a stage writes for the next product with U.
    d_operand: StepRows<'a, T>,
    /// The gradient with respect to the cell state: \[samples, cell state · hidden\].
    d_cell_state: StepRows<'a, T>,
    /// Gradients that the backward pass of a stage (part of a time step) leaves for that of an earlier stage.
    between_stages: StepRows<'a, T>,
    /// The gradient with respect to `h_{t−1}` through the mask of recurrent dropout: \[samples, hidden\].
    d_masked: StepRows<'a, T>,
    /// The part of the gradient of the cell state that zoneout passes to the previous cell state.
    cell_kept: StepRows<'a, T>,
}

impl<'a, T> StepValues<'a, T> {
    fn into_array(self) -> [StepRows<'a, T>; 9] {
        let StepValues { z, u, d_h, d_h_prev, d_operand, d_cell_state, between_stages, d_masked, cell_kept } = self;
        [z, u, d_h, d_h_prev, d_operand, d_cell_state, between_stages, d_masked, cell_kept]
    }

    fn from_array(all: [StepRows<'a, T>; 9]) -> Self {
        let [z, u, d_h, d_h_prev, d_operand, d_cell_state, between_stages, d_masked, cell_kept] = all;
        StepValues { z, u, d_h, d_h_prev, d_operand, d_cell_state, between_stages, d_masked, cell_kept }
    }
}

impl Unrolled {
    /// Runs the backward pass of the layer with this `cell` and the parameters `w`, and adds the gradient of the
    /// parameters to `pass.dw`. `hints` are the layer's promises, by which `pass.dy` may omit leading zero rows.
    ///
    /// With a `segment` of a longer pass, the slices of `pass` hold the rows of the segment alone, and `segment` gives
    /// its position. Segments run from the last in time to the first, after which `pass.dw` is complete. Without a
    /// `segment` all time steps run.
    ///
    /// # Shapes
    /// x, dx: \[rows, inputs\]; y, dy: \[rows, hidden\]; `w`, `pass.dw`: W \[gates · hidden, inputs\], U \[gates ·
    /// hidden, hidden\], biases. `pass.saved`: the slices of [`SavedValues`] in order; δ, the gradient with respect to
    /// the pre-activations, overwrites z \[rows, gates · hidden\]. States: h \[batch, hidden\], then the cell state
    /// \[batch, cell state · hidden\].
    ///
    /// # Panics
    /// If a slice has the wrong length, or the cell breaks a rule.
    pub(super) fn backward<T: Scalar>(
        &self,
        cell: &dyn Stages<T>,
        hints: Hints,
        w: &[T],
        segment: Option<Segment<'_, T>>,
        pass: Backward<'_, T>,
    ) {
        self.lengths(&pass.ctx.shape, true).backward(|| hints, w, &pass);
        let Backward { x, y, dy, dx, dw, saved, mut scratch, state, trainable, mut ctx, .. } = pass;
        let BackwardState { initial_state, d_final_state, d_initial_state } = state;
        let shape = ctx.shape;
        let sizes = self.sizes();
        let Sizes { hidden, z: gates, u: apart, cell_state: cell_width, between_stages: between_width, .. } = sizes;
        let (batch, all, time) = (shape.batch, shape.rows(), Steps::new(shape));
        let [weight, recurrent, ..] = self.split(w);
        let slabs = SavedValues::new(sizes, all, all, saved);

        let zeros = cut(SCRATCH, &mut scratch, batch * hidden.max(cell_width));
        let live = cut(SCRATCH, &mut scratch, saturating_product(&[2, batch, sizes.live()]));
        let d_h_prev = cut(SCRATCH, &mut scratch, batch * hidden);
        let d_h = cut(SCRATCH, &mut scratch, batch * hidden);
        let d_operand = cut(SCRATCH, &mut scratch, batch * hidden);
        let d_cell_state = cut(SCRATCH, &mut scratch, batch * cell_width);
        let between_stages = cut(SCRATCH, &mut scratch, batch.saturating_mul(between_width));
        let mask = cut(SCRATCH, &mut scratch, batch * sizes.masked);
        let d_masked = cut(SCRATCH, &mut scratch, batch * sizes.masked);
        let cell_kept = cut(SCRATCH, &mut scratch, batch * sizes.computed[CELL]);
        self.noise.write_mask(&ctx.part(RECURRENT_LINK), hidden, mask);
        let zoneout = self.noise.zones_out().then(|| self.noise.zoneout(&ctx));
        let sums = if segment.is_some() { 0 } else { self.sum_buffer::<T>(shape) };
        self.check_product_scratch::<T>(shape, sums, scratch.len());
        let (packed_products, outer) = scratch.split_at_mut(self.packed_products::<T>()[1]);
        let (outer, buffer) = outer.split_at_mut(outer.len() - sums);
        let whole = Segment {
            block_steps: self.steps_together::<T>(batch),
            blocks_after: 0,
            is_first: true,
            sum_buffer: buffer,
            samples_before: 0,
            outputs: y,
        };
        let segment = segment.unwrap_or(whole);
        let (by_shard, sum_buffer) = (ctx.shards().is_some(), segment.sum_buffer);
        let mut sum = BlockSum::after(segment.blocks_after, &mut *dw, &mut *sum_buffer);
        zeros.fill(T::zero());
        let mut offset = 0;
        for (product, _) in self.products() {
            let outputs = product.gates.len() * hidden;
            pack(&recurrent[product.gates.start * hidden * hidden..], outputs, hidden, &mut packed_products[offset..]);
            offset += packed_b_len::<T>(hidden, outputs);
        }
        let (h_start, cell_state_start) = match initial_state {
            Some(state) => state.split_at(batch * hidden),
            None => (&zeros[..batch * hidden], &zeros[..batch * cell_width]),
        };
        // Holds the gradient of each sample's final state until the pass reaches that sample's last time step.
        match d_final_state {
            Some(gradient) => {
                d_h_prev.copy_from_slice(&gradient[..batch * hidden]);
                d_cell_state.copy_from_slice(&gradient[batch * hidden..]);
            }
            None => {
                d_h_prev.fill(T::zero());
                d_cell_state.fill(T::zero());
            }
        }

        // The gradient of the initial state is computed only if the caller gives a slice for it.
        let wants_start = d_initial_state.is_some();
        let together = segment.block_steps;
        for first in (0..shape.steps).step_by(together).rev() {
            let steps = first..(first + together).min(shape.steps);
            let count = self.parts(batch, steps.len(), ctx.monitor.is_active());
            let given = BackwardSteps {
                packed_products,
                h_start,
                cell_state_start,
                cell_states: slabs.cell_state,
                computed: match zoneout {
                    Some(_) => [&*slabs.computed[HIDDEN], &*slabs.computed[CELL]],
                    None => [y, &*slabs.cell_state],
                },
                mask,
                zoneout,
                y,
                dy,
                zero_rows: all - dy.len() / hidden.max(1),
                wants_start,
            };
            let values = StepValues {
                z: StepRows::new(slabs.z, gates, time, StepStorage::EveryStep),
                u: StepRows::new(slabs.u, apart, time, StepStorage::EveryStep),
                d_h: StepRows::per_sample(d_h, hidden, time),
                d_h_prev: StepRows::per_sample(d_h_prev, hidden, time),
                d_operand: StepRows::per_sample(d_operand, hidden, time),
                d_cell_state: StepRows::per_sample(d_cell_state, cell_width, time),
                between_stages: StepRows::per_sample(between_stages, between_width, time),
                d_masked: StepRows::per_sample(d_masked, sizes.masked, time),
                cell_kept: StepRows::per_sample(cell_kept, sizes.computed[CELL], time),
            };
            if count == 1 {
                self.backward_steps(cell, &given, steps.clone(), values, ctx.part(0), live);
            } else {
                let (mode, path) = (ctx.mode, ctx.path);
                let run = |parts| {
                    let (mut no_monitor, mut live) = ((), []);
                    let ctx = Context { path, ..Context::new(shape, mode, &mut no_monitor) };
                    let values = StepValues::from_array(parts);
                    self.backward_steps(cell, &given, steps.clone(), values, ctx, &mut live);
                };
                parallel_samples([count, GRAIN], values.into_array(), &run);
            }
            if by_shard {
                continue;
            }
            let operands = Operands {
                samples: SampleRows::all(batch),
                x,
                outputs: segment.outputs,
                samples_before: segment.samples_before,
                masked: slabs.masked,
                h_start: if initial_state.is_some() { h_start } else { &[] },
            };
            sum.add(|dw| self.add_gradient(shape, steps, trainable, &operands, &slabs, dw, outer));
        }
        if let Some(shards) = ctx.shards() {
            let add = |shard: Subtree<'_>, dw: &mut [T], is_new: bool| {
                if is_new {
                    dw.fill(T::zero());
                }
                let samples = SampleRows { first: shard.first, count: shard.samples().len(), batch };
                let h_start = if initial_state.is_some() { h_start } else { &[] };
                let operands = Operands { samples, x, outputs: y, samples_before: 0, masked: slabs.masked, h_start };
                let shape = BatchShape::sequences(samples.count, shape.steps);
                let (together, mut sum) = (self.steps_together::<T>(shape.batch), BlockSum::new(dw, &mut *sum_buffer));
                for first in (0..shape.steps).step_by(together).rev() {
                    let steps = first..(first + together).min(shape.steps);
                    sum.add(|dw| self.add_gradient(shape, steps, trainable, &operands, &slabs, dw, outer));
                }
                sum.finish();
            };
            shards.sum(dw, |_| false, add);
        } else if segment.is_first {
            sum.finish();
        }
        if let Some(d_initial_state) = d_initial_state {
            d_initial_state[..batch * hidden].copy_from_slice(d_h_prev);
            d_initial_state[batch * hidden..].copy_from_slice(d_cell_state);
        }
        ctx.part(0).report_backward(Factor::Other, dy, slabs.z);
        if let Some(dx) = dx {
            gemm_nn(Matrix::new(slabs.z, gates), weight, [all, gates, self.inputs], dx, scratch);
            ctx.part(INPUT_LINK).report_backward(Factor::Weights, slabs.z, dx);
        }
    }

    /// Runs the time steps `steps` backward, from last to first, for the samples of `values`. `given` holds values
    /// for all steps. `live` is memory for the gradients that the monitor of `ctx` receives; empty without one.
    fn backward_steps<T: Scalar>(
        &self,
        cell: &dyn Stages<T>,
        given: &BackwardSteps<'_, T>,
        steps: Range<usize>,
        values: StepValues<'_, T>,
        mut ctx: Context<'_, T>,
        live: &mut [T],
    ) {
        let sizes = self.sizes();
        let Sizes { hidden, z: gates, u: apart, cell_state: cell_width, between_stages: between_width, stages, .. } =
            sizes;
        let StepValues { mut z, mut u, mut d_h, mut d_h_prev, mut d_operand, mut d_cell_state, .. } = values;
        let StepValues { mut between_stages, mut d_masked, mut cell_kept, .. } = values;
        let (first, shape) = (z.samples().start, ctx.shape);
        for step in steps.rev() {
            let active = z.active(step);
            if active == 0 {
                continue;
            }
            let now = shape.step(step).start + first;
            if step > 1 {
                let before = shape.step(step - 2).start + first;
                let n = z.active(step - 1);
                request([
                    &*z.step_mut(step - 1),
                    rows(given.y, before, n, hidden),
                    rows(given.cell_states, before, n, cell_width),
                ]);
            }
            let (z, u, d_h) = (z.step_mut(step), u.step_mut(step), d_h.step_mut(step));
            let (d_h_prev, d_cell_state) = (d_h_prev.step_mut(step), d_cell_state.step_mut(step));
            let (d_operand, between_stages) = (d_operand.step_mut(step), between_stages.step_mut(step));
            let (d_masked, cell_kept) = (d_masked.step_mut(step), cell_kept.step_mut(step));
            let mask = if given.mask.is_empty() { &[] } else { rows(given.mask, first, active, hidden) };
            let (h_prev, cell_state_prev) = if step == 0 {
                (rows(given.h_start, first, active, hidden), rows(given.cell_state_start, first, active, cell_width))
            } else {
                let before = shape.step(step - 1).start + first;
                (rows(given.y, before, active, hidden), rows(given.cell_states, before, active, cell_width))
            };
            // STEP 1: g_t = dy_t + d_h_prev.
            given.add_dy(now..now + active, d_h_prev, d_h);
            let mut gradient = StepGradient::new(live, ctx.part(0), step);
            gradient.gather(&[d_h_prev, d_cell_state]);
            gradient.advance();
            gradient.gather(&[d_h, d_cell_state]);
            gradient.report(ADDITION_LINK, Factor::Addition, None);
            match &given.zoneout {
                Some(zoneout) => {
                    zoneout.divide(HIDDEN, step, first, hidden, [&mut *d_h, &mut *d_h_prev]);
                    zoneout.divide(CELL, step, first, cell_width, [&mut *d_cell_state, &mut *cell_kept]);
                }
                None => d_h_prev.fill(T::zero()),
            }
            for stage in (0..stages).rev() {
                // STEP 2: δ of the gates of this stage, in z and u.
                cell.backward(BackwardStage {
                    sizes,
                    stage,
                    active,
                    z,
                    u,
                    h_prev,
                    cell_state_prev,
                    h: rows(given.computed[HIDDEN], now, active, hidden),
                    cell_state: rows(given.computed[CELL], now, active, cell_width),
                    d_h,
                    d_cell_state,
                    d_operand: if stage + 1 < stages { d_operand } else { &[] },
                    d_h_prev,
                    between_stages,
                });
                if stage + 1 == stages {
                    d_cell_state.iter_mut().zip(&*cell_kept).for_each(|(d, &kept)| *d += kept);
                }
                let width = if stage > 0 { between_width } else { 0 };
                gradient.gather(&[rows(between_stages, 0, active, width), d_cell_state, d_h_prev]);
                for (product, column) in self.products().filter(|(product, _)| product.stage == stage) {
                    let (slab, stride): (&[T], _) = if product.keep_separate { (u, apart) } else { (z, gates) };
                    gradient.gather_columns(slab, stride, column, product.gates.len() * hidden);
                }
                gradient.report(ACTIVATION_LINK, Factor::Activation, self.sole_activation(cell));
                let wants_state = step > 0 || given.wants_start;
                // STEP 3: d_h_prev += δ U; d_operand = δ U for products that read a stage's operand.
                let mut has_operand = false;
                for (product, column, weights) in self.packed_of_stage(stage, given.packed_products, true) {
                    let (slab, stride): (&[T], _) = if product.keep_separate { (u, apart) } else { (z, gates) };
                    let delta = Matrix::new(&slab[column..], stride);
                    match product.operand {
                        Operand::Hidden if !wants_state => {}
                        Operand::Hidden if mask.is_empty() => {
                            gemm(delta, weights, active, d_h_prev, hidden, Epilogue::Accumulate);
                        }
                        Operand::Hidden => {
                            gemm(delta, weights, active, d_masked, hidden, Epilogue::Overwrite);
                            multiply(d_masked, mask);
                            d_h_prev.iter_mut().zip(&*d_masked).for_each(|(d, &masked)| *d += masked);
                        }
                        Operand::StageOutput => {
                            let epilogue = if has_operand { Epilogue::Accumulate } else { Epilogue::Overwrite };
                            gemm(delta, weights, active, d_operand, hidden, epilogue);
                            has_operand = true;
                        }
                    }
                }
                if has_operand {
                    multiply(d_operand, mask);
                }
                if wants_state {
                    let operand: &[T] = if has_operand { d_operand } else { &[] };
                    gradient.gather(&[rows(between_stages, 0, active, width), d_cell_state, d_h_prev, operand]);
                    gradient.report(RECURRENT_LINK, Factor::Weights, None);
                }
            }
        }
    }
}
