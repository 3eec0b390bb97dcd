//! The time loop: what runs step by step, forward and backward, and what backward adds to a gradient.

use super::{
    cell::{Cell, CellBackward, CellForward, Operand},
    layer::Recurrent,
    trail::{ACTIVATION_PLACE, INJECTION_PLACE, RECURRENT_PLACE, Trail},
};
use crate::{
    extent::Extent,
    kernel::{
        Kernel,
        ahead::ask,
        chain::GRAIN,
        dispatch,
        elementwise::map2,
        fused::fuses,
        product::{Columns, Matrix, PER_NANOSECOND, Right, STRIP, Start, multiply, outer, outer_len, packed_len},
        slab::{Slab, divide_rows},
        sums::add_column_sums,
        team::parts,
    },
    layer::{Place, Trained},
    monitor::{Factor, GradientMonitor},
    scalar::Scalar,
    size::{saturating_product, saturating_sum},
};
use core::ops::Range;

/// Values per row of everything a step works on.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) hidden: usize,
    pub(super) z: usize,
    pub(super) u: usize,
    pub(super) memory: usize,
    pub(super) held: usize,
    /// The operands of all stages but the first.
    pub(super) operands: usize,
    pub(super) stages: usize,
}

impl Sizes {
    /// Values per row kept from the forward to the backward pass.
    pub(super) fn kept(&self) -> usize {
        saturating_sum([self.z, self.u, self.operands, self.memory])
    }

    /// Values per row of the longest gradient between two links of a step.
    pub(super) fn live(&self) -> usize {
        saturating_sum([self.z, self.u, self.held, self.memory, self.hidden, self.hidden])
    }
}

/// What forward keeps for backward, or in [`Mode::Infer`] for one step: slabs of `rows` rows.
pub(super) struct Slabs<'a, T> {
    pub(super) z: &'a mut [T],
    pub(super) u: &'a mut [T],
    pub(super) operands: &'a mut [T],
    pub(super) memory: &'a mut [T],
}

impl<'a, T> Slabs<'a, T> {
    pub(super) fn new(sizes: Sizes, rows: usize, memory_rows: usize, values: &'a mut [T]) -> Self {
        let (z, rest) = values.split_at_mut(rows * sizes.z);
        let (u, rest) = rest.split_at_mut(rows * sizes.u);
        let (operands, rest) = rest.split_at_mut(rows * sizes.operands);
        Slabs { z, u, operands, memory: &mut rest[..memory_rows * sizes.memory] }
    }
}

/// The rows of some steps.
pub(super) fn rows_of(extent: Extent<'_>, steps: Range<usize>) -> Range<usize> {
    extent.step(steps.start).start..extent.step(steps.end - 1).end
}

/// `count` rows of `width` values from row `first`.
pub(super) fn rows<T>(values: &[T], first: usize, count: usize, width: usize) -> &[T] {
    &values[first * width..][..count * width]
}

pub(super) fn rows_mut<T>(values: &mut [T], first: usize, count: usize, width: usize) -> &mut [T] {
    &mut values[first * width..][..count * width]
}

struct ForwardStage<'a, T, C> {
    cell: &'a C,
    sizes: Sizes,
    stage: usize,
    active: usize,
    keeps: bool,
    z: &'a mut [T],
    shown: &'a mut [T],
    u: &'a [T],
    h: &'a [T],
    memory: &'a [T],
    operand: &'a mut [T],
    h_next: &'a mut [T],
    memory_next: &'a mut [T],
}

impl<T: Scalar, C: Cell> Kernel for ForwardStage<'_, T, C> {
    type Element = T;

    #[inline(always)]
    fn run<const LEVEL: u8>(self) {
        let Sizes { hidden, z, u, memory, operands, .. } = self.sizes;
        for s in 0..self.active {
            let operand = rows_mut(self.operand, s, 1, operands).get_mut(self.stage * hidden..).unwrap_or_default();
            let unit = CellForward {
                z: rows_mut(self.z, s, 1, z),
                keeps: self.keeps,
                shown: self.shown.get_mut(s * z..(s + 1) * z).unwrap_or_default(),
                u: rows(self.u, s, 1, u),
                h: rows(self.h, s, 1, hidden),
                memory: rows(self.memory, s, 1, memory),
                operand: operand.get_mut(..hidden).unwrap_or_default(),
                h_next: rows_mut(self.h_next, s, 1, hidden),
                memory_next: rows_mut(self.memory_next, s, 1, memory),
            };
            if fuses::<LEVEL, T>() {
                self.cell.forward(self.stage, unit.fused());
            } else {
                self.cell.forward(self.stage, unit);
            }
        }
    }
}

struct BackwardStage<'a, T, C> {
    cell: &'a C,
    sizes: Sizes,
    stage: usize,
    active: usize,
    z: &'a mut [T],
    u: &'a mut [T],
    h: &'a [T],
    memory: &'a [T],
    h_next: &'a [T],
    memory_next: &'a [T],
    d_h_next: &'a [T],
    d_memory: &'a mut [T],
    d_operand: &'a [T],
    d_h: &'a mut [T],
    held: &'a mut [T],
}

impl<T: Scalar, C: Cell> Kernel for BackwardStage<'_, T, C> {
    type Element = T;

    #[inline(always)]
    fn run<const LEVEL: u8>(self) {
        let Sizes { hidden, z, u, memory, held, .. } = self.sizes;
        let operand = if self.d_operand.is_empty() { 0 } else { hidden };
        for s in 0..self.active {
            let unit = CellBackward {
                z: rows_mut(self.z, s, 1, z),
                u: rows_mut(self.u, s, 1, u),
                h: rows(self.h, s, 1, hidden),
                memory: rows(self.memory, s, 1, memory),
                h_next: rows(self.h_next, s, 1, hidden),
                memory_next: rows(self.memory_next, s, 1, memory),
                d_h_next: rows(self.d_h_next, s, 1, hidden),
                d_memory: rows_mut(self.d_memory, s, 1, memory),
                d_operand: rows(self.d_operand, s, 1, operand),
                d_h: rows_mut(self.d_h, s, 1, hidden),
                held: rows_mut(self.held, s, 1, held),
            };
            if fuses::<LEVEL, T>() {
                self.cell.backward(self.stage, unit.fused());
            } else {
                self.cell.backward(self.stage, unit);
            }
        }
    }
}
/// What the steps of a forward pass read.
pub(super) struct ForwardSteps<'a, T> {
    pub(super) extent: Extent<'a>,
    /// Whether a backward pass can follow.
    pub(super) keeps: bool,
    pub(super) at: Place<'a>,
    pub(super) packed_products: &'a [T],
    pub(super) recurrent_bias: &'a [T],
    pub(super) h_start: &'a [T],
    pub(super) memory_start: &'a [T],
}

/// What the steps of a backward pass read.
pub(super) struct BackwardSteps<'a, T> {
    pub(super) extent: Extent<'a>,
    pub(super) at: Place<'a>,
    pub(super) packed_products: &'a [T],
    pub(super) h_start: &'a [T],
    pub(super) memory_start: &'a [T],
    pub(super) memories: &'a [T],
    pub(super) y: &'a [T],
    pub(super) dy: &'a [T],
    /// The first rows, which `dy` lacks.
    pub(super) zero_rows: usize,
    pub(super) wants_start: bool,
}

/// The least and the most rows whose input projections are one product.
const TOGETHER: [usize; 2] = [128, 256];

/// A quarter of a level-2 cache of 1 MiB, in bytes.
const NEAR: usize = 256 * 1024;

impl<C: Cell> Recurrent<C> {
    /// How many steps' input projections are one product, and so their parts of dW and dU: enough rows for a large one, few
    /// enough for what it writes to be in the cache when the steps read it. Where the parameters are in no cache, each product goes
    /// through them once more, and should be as large as it can.
    pub(super) fn steps_together<T>(&self, batch: usize) -> usize {
        (self.rows_together::<T>() / batch.max(1)).max(1)
    }

    /// How many rows those steps have, unless one step alone has more.
    pub(super) fn rows_together<T>(&self) -> usize {
        let ([least, most], row) = (TOGETHER, self.sizes().z.saturating_mul(size_of::<T>()));
        let far = row.saturating_mul(self.inputs.saturating_add(self.hidden)) > 4 * NEAR;
        if far { most } else { (NEAR / row.max(1)).clamp(least, most) }
    }

    /// In how many parts of the samples some steps run: one for each thread, whose cache keeps their state, and which goes through U
    /// once a step. A monitor sees whole slices, from the thread that it is on.
    pub(super) fn parts(&self, batch: usize, steps: usize, watched: bool) -> usize {
        // Some 50 multiplications of a product in a nanosecond, and 4 nanoseconds for a gate's activation.
        let nanoseconds = saturating_product(&[steps, batch, self.sizes().z, self.hidden / 50 + 4]);
        if watched { 1 } else { parts(batch.div_ceil(GRAIN), nanoseconds, 1) }
    }

    /// Runs some steps for the samples of the slabs: z, u, operands, memory, y, and the state at the end.
    pub(super) fn forward_steps<T: Scalar>(
        &self,
        given: &ForwardSteps<'_, T>,
        steps: Range<usize>,
        slabs: [Slab<'_, T>; 7],
        monitor: &mut dyn GradientMonitor<T>,
        live: &mut [T],
    ) {
        let sizes = self.sizes();
        let Sizes { hidden, z: gates, u: apart, memory, operands: own, stages, .. } = sizes;
        let [mut z, mut u, mut operands, mut memories, mut y, mut h_end, mut memory_end] = slabs;
        let first = y.samples().start;
        let (shown, live) = live.split_at_mut(if monitor.listens() { y.samples().len() * gates } else { 0 });
        for step in steps {
            let (active, after) = (y.active(step), y.active(step + 1));
            if active == 0 {
                break;
            }
            let (z, u, operand) = (z.now(step), u.now(step), operands.now(step));
            let (h, h_next) = match step {
                0 => (rows(given.h_start, first, active, hidden), y.now(step)),
                _ => y.before_and_now(step),
            };
            let (memory_past, memory_next) = match step {
                0 => (rows(given.memory_start, first, active, memory), memories.now(step)),
                _ => memories.before_and_now(step),
            };
            for stage in 0..stages {
                let mut offset = 0;
                for (product, column) in self.products() {
                    let outputs = product.gates.len() * hidden;
                    let right = Right::packed(&given.packed_products[offset..], outputs, hidden);
                    offset += packed_len::<T>(outputs, hidden);
                    if product.stage != stage {
                        continue;
                    }
                    let operand = match product.operand {
                        Operand::Hidden => Matrix::new(h, hidden),
                        Operand::Own => Matrix::new(&operand[(stage - 1) * hidden..], own),
                    };
                    if product.separate {
                        let bias = given.recurrent_bias.get(column..).filter(|bias| !bias.is_empty());
                        let start = bias.map_or(Start::Zero, Start::Bias);
                        multiply(operand, right, active, &mut u[column..], apart, start);
                    } else {
                        multiply(operand, right, active, &mut z[column..], gates, Start::Accumulate);
                    }
                }
                let shown = shown.get_mut(..active * gates).unwrap_or_default();
                self.show_products(stage, z, shown);
                dispatch(ForwardStage {
                    cell: &self.cell,
                    sizes,
                    stage,
                    active,
                    keeps: given.keeps,
                    z,
                    shown,
                    u,
                    h,
                    memory: memory_past,
                    operand,
                    h_next,
                    memory_next,
                });
            }
            for sample in after..active {
                h_end.row(sample).copy_from_slice(rows(h_next, sample, 1, hidden));
                memory_end.row(sample).copy_from_slice(rows(memory_next, sample, 1, memory));
            }
            if !shown.is_empty() {
                self.show_gates(monitor, given.at, given.extent, step, &shown[..active * gates], active, live);
            }
        }
    }

    /// Runs some steps backward for the samples of the slabs: z, u, and the gradients dL/dh_t, of the state before,
    /// of an operand, of the rest of the state, and held between stages.
    pub(super) fn backward_steps<T: Scalar>(
        &self,
        given: &BackwardSteps<'_, T>,
        steps: Range<usize>,
        slabs: [Slab<'_, T>; 7],
        monitor: &mut dyn GradientMonitor<T>,
        live: &mut [T],
    ) {
        let sizes = self.sizes();
        let Sizes { hidden, z: gates, u: apart, memory, held, stages, .. } = sizes;
        let [mut z, mut u, mut total, mut d_h, mut d_operand, mut d_memory, mut held_rows] = slabs;
        let (first, extent) = (z.samples().start, given.extent);
        for step in steps.rev() {
            let active = z.active(step);
            if active == 0 {
                continue;
            }
            let now = extent.step(step).start + first;
            if step > 1 {
                let before = extent.step(step - 2).start + first;
                let n = z.active(step - 1);
                ask([&*z.now(step - 1), rows(given.y, before, n, hidden), rows(given.memories, before, n, memory)]);
            }
            let (z, u, total) = (z.now(step), u.now(step), total.now(step));
            let (d_h, d_memory) = (d_h.now(step), d_memory.now(step));
            let (d_operand, held_rows) = (d_operand.now(step), held_rows.now(step));
            let (h, memory_past) = if step == 0 {
                (rows(given.h_start, first, active, hidden), rows(given.memory_start, first, active, memory))
            } else {
                let before = extent.step(step - 1).start + first;
                (rows(given.y, before, active, hidden), rows(given.memories, before, active, memory))
            };
            let zeros = given.zero_rows.saturating_sub(now).min(active);
            let (state, rest) = d_h.split_at(zeros * hidden);
            let (total_of_zeros, total_of_rest) = total.split_at_mut(zeros * hidden);
            total_of_zeros.copy_from_slice(state);
            if zeros < active {
                let dy = rows(given.dy, now + zeros - given.zero_rows, active - zeros, hidden);
                map2(rest, dy, total_of_rest, |state, loss| state + loss);
            }
            let mut trail = Trail::new(monitor.listens(), live, given.at, extent, step);
            trail.gather(&[d_h, d_memory]);
            trail.turn();
            trail.gather(&[total, d_memory]);
            trail.show(monitor, INJECTION_PLACE, Factor::Injection, None);
            d_h.fill(T::zero());
            for stage in (0..stages).rev() {
                dispatch(BackwardStage {
                    cell: &self.cell,
                    sizes,
                    stage,
                    active,
                    z,
                    u,
                    h,
                    memory: memory_past,
                    h_next: rows(given.y, now, active, hidden),
                    memory_next: rows(given.memories, now, active, memory),
                    d_h_next: total,
                    d_memory,
                    d_operand: if stage + 1 < stages { d_operand } else { &[] },
                    d_h,
                    held: held_rows,
                });
                let keeps = if stage > 0 { held } else { 0 };
                trail.gather(&[rows(held_rows, 0, active, keeps), d_memory, d_h]);
                for (product, column) in self.products().filter(|(product, _)| product.stage == stage) {
                    let (slab, stride): (&[T], _) = if product.separate { (u, apart) } else { (z, gates) };
                    trail.gather_columns(slab, stride, column, product.gates.len() * hidden);
                }
                trail.show(monitor, ACTIVATION_PLACE, Factor::Activation, self.sole_activation());
                let wants_state = step > 0 || given.wants_start;
                let (mut own, mut offset) = (false, 0);
                for (product, column) in self.products() {
                    let outputs = product.gates.len() * hidden;
                    let right = Right::packed(&given.packed_products[offset..], hidden, outputs);
                    offset += packed_len::<T>(hidden, outputs);
                    let skipped = product.operand == Operand::Hidden && !wants_state;
                    if product.stage != stage || skipped {
                        continue;
                    }
                    let (slab, stride): (&[T], _) = if product.separate { (u, apart) } else { (z, gates) };
                    let d = Matrix::new(&slab[column..], stride);
                    if product.operand == Operand::Hidden {
                        multiply(d, right, active, d_h, hidden, Start::Accumulate);
                    } else {
                        let start = if own { Start::Accumulate } else { Start::Zero };
                        multiply(d, right, active, d_operand, hidden, start);
                        own = true;
                    }
                }
                if wants_state {
                    let operand: &[T] = if own { d_operand } else { &[] };
                    trail.gather(&[rows(held_rows, 0, active, keeps), d_memory, d_h, operand]);
                    trail.show(monitor, RECURRENT_PLACE, Factor::Weights, None);
                }
            }
        }
    }

    /// Adds what some steps give to dW, dU and the biases' gradients, from the gradients of their pre-activations.
    /// `operands` are x, y and the h to start from, empty where it is zero.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn add_gradient<T: Scalar>(
        &self,
        extent: Extent<'_>,
        steps: Range<usize>,
        trained: Trained<'_>,
        operands: [&[T]; 3],
        slabs: &Slabs<'_, T>,
        dw: &mut [T],
        scratch: &mut [T],
    ) {
        let Sizes { hidden, z: gates, u: apart, .. } = self.sizes();
        let of = rows_of(extent, steps.clone());
        let [d_weight, d_recurrent, d_bias, d_recurrent_bias] = self.split_mut(dw);
        if trained.block(3) && !d_recurrent_bias.is_empty() {
            add_column_sums(rows(slabs.u, of.start, of.len(), apart), apart, d_recurrent_bias);
        }
        let bias = usize::from(!d_bias.is_empty());
        let parameters = [(d_weight, self.inputs), (d_recurrent, hidden), (d_bias, bias)];
        // Whoever made the scratch may not have known of the threads.
        let parts = self.gradient_parts(of.len());
        let parts = if self.gradient_scratch::<T>(of.len(), parts) > scratch.len() { 1 } else { parts };
        divide_rows([parts, gates, STRIP], parameters, scratch, |own, parameters, scratch| {
            self.add_rows(extent, steps.clone(), trained, operands, slabs, own, parameters, scratch);
        });
    }

    /// In how many parts of the rows of W and U the gradient of `rows` rows is made, each with the columns of dL/dz that are
    /// its own: what they have to be packed from lies in the caches of all threads, and who packs does not multiply.
    pub(super) fn gradient_parts(&self, rows: usize) -> usize {
        let gates = self.sizes().z;
        let multiplications = rows.saturating_mul(gates).saturating_mul(self.inputs.saturating_add(self.hidden));
        parts(gates.div_ceil(STRIP), multiplications / PER_NANOSECOND, 1)
    }

    /// Values of scratch for so many parts, or fewer of fewer rows.
    pub(super) fn gradient_scratch<T: Scalar>(&self, rows: usize, parts: usize) -> usize {
        let (gates, inputs) = (self.sizes().z, self.inputs.max(self.hidden));
        let others = (parts - 1).saturating_mul(outer_len::<T>([STRIP, inputs, rows]));
        outer_len::<T>([gates, inputs, rows]).saturating_add(others)
    }

    /// [`add_gradient`](Self::add_gradient) for the rows `own` of W and U, which are given, with those of the bias.
    #[allow(clippy::too_many_arguments)]
    fn add_rows<T: Scalar>(
        &self,
        extent: Extent<'_>,
        steps: Range<usize>,
        trained: Trained<'_>,
        [x, y, h_start]: [&[T]; 3],
        slabs: &Slabs<'_, T>,
        own: Range<usize>,
        [d_weight, d_recurrent, d_bias]: [&mut [T]; 3],
        scratch: &mut [T],
    ) {
        let Sizes { hidden, z: gates, u: apart, operands, .. } = self.sizes();
        let of = rows_of(extent, steps.clone());
        let z = &rows(slabs.z, of.start, of.len(), gates)[own.start..];
        // While it is in the cache.
        if trained.block(2) && !d_bias.is_empty() {
            add_column_sums(z, gates, d_bias);
        }
        for separate in [false, true] {
            let (z, u) = (Matrix::new(z, gates), rows(slabs.u, of.start, of.len(), apart));
            // dW and dU are products with the same columns: packed once, if each gate begins with a whole strip of them.
            let shared = !separate && trained.block(0) && trained.block(1) && hidden.is_multiple_of(STRIP);
            let (d, spare) = match shared {
                true => Columns::pack(z, [of.len(), own.len()], &mut *scratch),
                false => (z.into(), &mut *scratch),
            };
            if !separate && trained.block(0) {
                let x = Matrix::new(rows(x, of.start, of.len(), self.inputs), self.inputs);
                outer(d, x, [own.len(), self.inputs, of.len()], d_weight, Start::Accumulate, spare);
            }
            let products = self.products().filter(|(product, _)| product.separate == separate);
            for (product, column) in products.filter(|_| trained.block(1)) {
                let start = product.gates.start * hidden;
                let mine = own.start.max(start)..own.end.min(product.gates.end * hidden);
                if mine.is_empty() {
                    continue;
                }
                let (outputs, first) = (mine.len(), mine.start - own.start);
                let into = &mut d_recurrent[first * hidden..][..outputs * hidden];
                let d: Columns<'_, T> = match separate {
                    true => Matrix::new(&u[column + mine.start - start..], apart).into(),
                    false => d.part(0, first),
                };
                let mut add = |first: usize, count: usize, operand: Matrix<'_, T>| {
                    if count > 0 {
                        let d = d.part(first - of.start, 0);
                        outer(d, operand, [outputs, hidden, count], into, Start::Accumulate, spare);
                    }
                };
                if product.operand == Operand::Own {
                    let from = &slabs.operands[of.start * operands + (product.stage - 1) * hidden..];
                    add(of.start, of.len(), Matrix::new(from, operands));
                    continue;
                }
                if steps.start == 0 && !h_start.is_empty() {
                    add(0, extent.batch, Matrix::new(h_start, hidden));
                }
                // Consecutive steps with the same samples as the step before them are one product.
                let mut step = steps.start.max(1);
                while step < steps.end {
                    let (before, count) = (extent.step(step - 1), extent.active(step));
                    let next = |step: usize| step < steps.end && before.len() == count && extent.active(step) == count;
                    let end = (step + 1..steps.end).find(|&step| !next(step)).unwrap_or(steps.end);
                    let count = (end - step) * count;
                    add(before.end, count, Matrix::new(rows(y, before.start, count, hidden), hidden));
                    step = end;
                }
            }
        }
    }
}
