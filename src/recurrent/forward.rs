//! The forward pass of a recurrent layer.

use super::{
    monitoring::{ACTIVATION_LINK, RECURRENT_LINK},
    noise::{CELL, HIDDEN, Zoneout, multiply},
    plan::{SCRATCH, Sizes, Unrolled, rows, rows_mut, rows_of},
    saved_values::SavedValues,
    stage::{ForwardStage, Stages},
};
use crate::{
    cell::Operand,
    kernel::{
        gemm::{Epilogue, Matrix, PackedB, gemm, pack_transposed, packed_b_len},
        row_chain::GRAIN,
        step_rows::{StepRows, StepStorage, Steps, parallel_samples},
    },
    layer::{Context, Forward, ForwardState},
    monitor::Factor,
    scalar::Scalar,
    size::saturating_product,
    slices::cut,
};
use core::ops::Range;

/// The values of a recurrent layer that all time steps of a forward pass read.
struct ForwardSteps<'a, T> {
    /// Whether the pass saves values for a backward pass.
    saves: bool,
    packed_products: &'a [T],
    recurrent_bias: &'a [T],
    h_start: &'a [T],
    cell_state_start: &'a [T],
    /// The mask of recurrent dropout, \[all samples, hidden\]; empty if there is none.
    mask: &'a [T],
    zoneout: Option<Zoneout>,
}

impl Unrolled {
    pub(super) fn forward<T: Scalar>(&self, cell: &dyn Stages<T>, w: &[T], pass: Forward<'_, T>) {
        self.lengths(&pass.ctx.shape, pass.ctx.mode.saves()).forward(w, &pass);
        let Forward { x, y, saved, mut scratch, state: ForwardState { initial_state, final_state }, mut ctx } = pass;
        let shape = ctx.shape;
        let sizes = self.sizes();
        let Sizes { hidden, z: gates, u: apart, cell_state: cell_width, .. } = sizes;
        let (batch, all, keep, time) = (shape.batch, shape.rows(), ctx.mode.saves(), Steps::new(shape));
        let [weight, recurrent, bias, recurrent_bias] = self.split(w);

        let zeros = cut(SCRATCH, &mut scratch, batch * hidden.max(cell_width));
        let live = cut(SCRATCH, &mut scratch, saturating_product(&[2, batch, sizes.live()]));
        let mask = cut(SCRATCH, &mut scratch, batch * sizes.masked);
        self.noise.write_mask(&ctx.part(RECURRENT_LINK), hidden, mask);
        let zoneout = self.noise.zones_out().then(|| self.noise.zoneout(&ctx));
        let packed_weight = cut(SCRATCH, &mut scratch, packed_b_len::<T>(gates, self.inputs));
        zeros.fill(T::zero());
        let (h_start, cell_state_start) = match initial_state {
            Some(state) => state.split_at(batch * hidden),
            None => (&zeros[..batch * hidden], &zeros[..batch * cell_width]),
        };
        let (h_end, cell_state_end) = final_state.split_at_mut(batch * hidden);

        pack_transposed(weight, gates, self.inputs, packed_weight);
        let packed_products = cut(SCRATCH, &mut scratch, self.packed_products::<T>()[0]);
        let mut offset = 0;
        for (product, _) in self.products() {
            let outputs = product.gates.len() * hidden;
            let rows = &recurrent[product.gates.start * hidden * hidden..];
            pack_transposed(rows, outputs, hidden, &mut packed_products[offset..]);
            offset += packed_b_len::<T>(outputs, hidden);
        }

        let SavedValues { z, u, operands, masked, computed, cell_state: cell_states } = if keep {
            SavedValues::new(sizes, all, all, saved)
        } else {
            let step = batch.saturating_mul(sizes.kept().saturating_add(cell_width));
            SavedValues::new(sizes, batch, 2 * batch, cut(SCRATCH, &mut scratch, step))
        };
        let [h_computed, cell_computed] = computed;
        // If nothing is saved, two buffers hold the cell states of even and of odd time steps.
        let kept = |steps: usize| if keep { StepStorage::EveryStep } else { StepStorage::Ring(steps) };
        let given =
            ForwardSteps { saves: keep, packed_products, recurrent_bias, h_start, cell_state_start, mask, zoneout };
        let together = if keep { self.steps_together::<T>(batch) } else { 1 };
        for first in (0..shape.steps).step_by(together) {
            let steps = first..(first + together).min(shape.steps);
            let (of, count) = (rows_of(shape, steps.clone()), self.parts(batch, steps.len(), ctx.monitor.is_active()));
            let to = rows_mut(z, if keep { of.start } else { 0 }, of.len(), gates);
            let epilogue = if self.bias.is_some() { Epilogue::Bias(bias) } else { Epilogue::Overwrite };
            let x = Matrix::new(rows(x, of.start, of.len(), self.inputs), self.inputs);
            gemm(x, PackedB::packed(packed_weight, gates, self.inputs), of.len(), to, gates, epilogue);
            let slabs = [
                StepRows::new(z, gates, time, kept(1)),
                StepRows::new(u, apart, time, kept(1)),
                StepRows::new(operands, sizes.operands, time, kept(1)),
                StepRows::new(cell_states, cell_width, time, kept(2)),
                StepRows::new(y, hidden, time, StepStorage::EveryStep),
                StepRows::per_sample(h_end, hidden, time),
                StepRows::per_sample(cell_state_end, cell_width, time),
                StepRows::new(masked, sizes.masked, time, kept(1)),
                StepRows::new(h_computed, sizes.computed[HIDDEN], time, kept(1)),
                StepRows::new(cell_computed, sizes.computed[CELL], time, kept(1)),
            ];
            if count == 1 {
                self.forward_steps(cell, &given, steps, slabs, ctx.part(0), live);
            } else {
                let (mode, path) = (ctx.mode, ctx.path);
                let run = |slabs: [_; 10]| {
                    let (mut no_monitor, mut live) = ((), []);
                    let ctx = Context { path, ..Context::new(shape, mode, &mut no_monitor) };
                    self.forward_steps(cell, &given, steps.clone(), slabs, ctx, &mut live);
                };
                parallel_samples([count, GRAIN], slabs, &run);
            }
        }
        ctx.report_forward(Factor::Other, x, y);
    }

    /// Runs the time steps `steps` in order for the samples of `slabs`. `given` holds the values that all steps
    /// read. `live` is memory for the values that the monitor of `ctx` receives; empty without a monitor.
    ///
    /// `slabs` are, in this order: the pre-activations z, the results u of products that are kept separate, the
    /// operands (vectors that a stage writes for the next product), cell states, and y. Then follow final h, final
    /// cell state, masked h, and h and cell state before zoneout. z holds `W x + b` on entry. For each stage
    /// (element-wise part) of the cell:
    ///
    /// 1. `z += h_{t−1} Uᵀ`, or `u = h_{t−1} Uᵀ + b_u` for a separate product, or one of these with the cell's
    ///    own operand in place of `h_{t−1}`;
    /// 2. the stage itself: `h_t` and the cell state from z, u and the state before.
    ///
    /// # Shapes
    /// Of a time step: z \[samples, gates · hidden\], u \[samples, gates with a separate product · hidden\], y
    /// \[samples, hidden\].
    fn forward_steps<T: Scalar>(
        &self,
        cell: &dyn Stages<T>,
        given: &ForwardSteps<'_, T>,
        steps: Range<usize>,
        slabs: [StepRows<'_, T>; 10],
        mut ctx: Context<'_, T>,
        live: &mut [T],
    ) {
        let sizes = self.sizes();
        let Sizes { hidden, z: gates, u: apart, cell_state: cell_width, operands: own, stages, .. } = sizes;
        let [mut z, mut u, mut operands, mut cell_states, mut y, mut h_end, mut cell_state_end, rest @ ..] = slabs;
        let [mut masked, mut h_computed, mut cell_computed] = rest;
        let first = y.samples().start;
        let (monitored_z, live) =
            live.split_at_mut(if ctx.monitor.is_active() { y.samples().len() * gates } else { 0 });
        for step in steps {
            let (active, after) = (y.active(step), y.active(step + 1));
            if active == 0 {
                break;
            }
            let (z, u, operand) = (z.step_mut(step), u.step_mut(step), operands.step_mut(step));
            let (h_prev, h) = match step {
                0 => (rows(given.h_start, first, active, hidden), y.step_mut(step)),
                _ => y.previous_and_current(step),
            };
            let (cell_state_prev, cell_state) = match step {
                0 => (rows(given.cell_state_start, first, active, cell_width), cell_states.step_mut(step)),
                _ => cell_states.previous_and_current(step),
            };
            // With recurrent dropout, products read m ⊙ h_{t−1}, and m ⊙ the operand of a stage.
            let mask = if given.mask.is_empty() { &[] } else { rows(given.mask, first, active, hidden) };
            let masked = masked.step_mut(step);
            masked.copy_from_slice(&h_prev[..masked.len()]);
            multiply(masked, mask);
            let h_operand = if mask.is_empty() { h_prev } else { &*masked };
            for stage in 0..stages {
                for (product, column, weights) in self.packed_of_stage(stage, given.packed_products, false) {
                    let operand = match product.operand {
                        Operand::Hidden => Matrix::new(h_operand, hidden),
                        Operand::StageOutput => Matrix::new(&operand[(stage - 1) * hidden..], own),
                    };
                    if product.keep_separate {
                        let bias = given.recurrent_bias.get(column..).filter(|bias| !bias.is_empty());
                        let epilogue = bias.map_or(Epilogue::Overwrite, Epilogue::Bias);
                        gemm(operand, weights, active, &mut u[column..], apart, epilogue);
                    } else {
                        gemm(operand, weights, active, &mut z[column..], gates, Epilogue::Accumulate);
                    }
                }
                let monitored_z = monitored_z.get_mut(..active * gates).unwrap_or_default();
                self.record_pre_activations(stage, z, monitored_z);
                cell.forward(ForwardStage {
                    sizes,
                    stage,
                    active,
                    saves: given.saves,
                    z,
                    monitored_z,
                    u,
                    h_prev,
                    cell_state_prev,
                    operand,
                    h,
                    cell_state,
                });
                if !mask.is_empty() && stage + 1 < stages {
                    let operands = operand.chunks_mut(own).zip(mask.chunks(hidden));
                    operands.for_each(|(row, mask)| multiply(&mut row[stage * hidden..][..hidden], mask));
                }
            }
            if let Some(zoneout) = &given.zoneout {
                let [h_computed, cell_computed] = [h_computed.step_mut(step), cell_computed.step_mut(step)];
                zoneout.blend(HIDDEN, step, first, hidden, h_prev, [h_computed, h]);
                zoneout.blend(CELL, step, first, cell_width, cell_state_prev, [cell_computed, cell_state]);
            }
            for sample in after..active {
                h_end.row(sample).copy_from_slice(rows(h, sample, 1, hidden));
                cell_state_end.row(sample).copy_from_slice(rows(cell_state, sample, 1, cell_width));
            }
            if !monitored_z.is_empty() {
                self.report_gates(cell, ctx.part(ACTIVATION_LINK), step, &monitored_z[..active * gates], active, live);
            }
        }
    }
}
