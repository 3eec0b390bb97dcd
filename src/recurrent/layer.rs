//! What unrolls a cell over time: backpropagation through time.

use super::cell::{Cell, CellBackward, CellForward, GateBounds, Operand, Product, StepBounds};
use crate::{
    activation::AnyActivation,
    block::{Block, Role},
    error::Error,
    extent::Extent,
    initializer::{ByGate, Constant, Glorot, Initializer, InitializerKind, Orthogonal, Zeros, fill_gates},
    kernel::{
        Kernel, dispatch,
        elementwise::{add_column_sums, map2},
        fused::fuses,
        product::{Matrix, Right, Start, add_outer, multiply, outer_len, pack, pack_transposed, packed_len},
        slab::{Kept, Slab, by_samples},
        team::parts,
    },
    layer::{Backward, Dims, Forward, Layer, Mode, Needs, Node, Place, Trained},
    monitor::{Factor, GradientMonitor, Link},
    scalar::{Scalar, scalar, to_f64},
    theory::{Upper, spectral_norm_bound},
};
use alloc::{format, string::String, vec::Vec};
use core::ops::Range;
use rand_core::Rng;

/// A cell unrolled over time: it owns W, U and the biases, and its output is the hidden state of each step.
///
/// The input projection of all steps is one matrix product, and so are dW and dU; only the products with
/// the state run step by step. Backward is the sum over time of the immediate gradients:
/// `dL/dθ = Σ_t ∂⁺h_t/∂θ · dL/dh_t` (Pascanu, Mikolov & Bengio 2013, eq. 3–5).
///
/// Unless told otherwise W begins by [`Glorot::uniform`], U orthogonal gate by gate, and the biases at zero but for
/// a forget gate's, which is 1 (Jozefowicz et al. 2015).
///
/// # Shapes
/// x: \[rows, inputs\]; y: \[rows, hidden\]; carried: h \[batch, hidden\], then the rest of the state, \[batch, memory · hidden\].
/// Blocks `weight` \[gates · hidden, inputs\], `recurrent` \[gates · hidden, hidden\], `bias` \[gates · hidden, 1\], and
/// `recurrent_bias` for products that are kept apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Recurrent<C> {
    cell: C,
    inputs: usize,
    hidden: usize,
    weights: InitializerKind,
    recurrent: InitializerKind,
    bias: Option<InitializerKind>,
}

/// Places of a recurrent layer: the layer seen over depth, its input product, and the links over time.
const INPUT_PLACE: usize = 1;
const INJECTION_PLACE: usize = 2;
const ACTIVATION_PLACE: usize = 3;
const RECURRENT_PLACE: usize = 4;

impl<C: Cell> Recurrent<C> {
    /// `cell` with `hidden` units, reading rows of `inputs` values.
    pub fn new(inputs: usize, hidden: usize, cell: C) -> Self {
        let bias = ByGate::new(Zeros).gate("forget", Constant(1.0));
        Recurrent {
            cell,
            inputs,
            hidden,
            weights: Glorot::uniform().kind(),
            recurrent: Orthogonal::default().kind(),
            bias: Some(bias.kind()),
        }
    }

    /// Sets the initializer of W.
    #[must_use]
    pub fn weights(self, initializer: impl Initializer + 'static) -> Self {
        Recurrent { weights: initializer.kind(), ..self }
    }

    /// Sets the initializer of U.
    #[must_use]
    pub fn recurrent(self, initializer: impl Initializer + 'static) -> Self {
        Recurrent { recurrent: initializer.kind(), ..self }
    }

    /// Sets the initializer of the biases.
    #[must_use]
    pub fn bias(self, initializer: impl Initializer + 'static) -> Self {
        Recurrent { bias: Some(initializer.kind()), ..self }
    }

    /// Leaves the biases out.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Recurrent { bias: None, ..self }
    }

    pub(crate) fn from_parts(
        [inputs, hidden]: [usize; 2],
        cell: C,
        weights: InitializerKind,
        recurrent: InitializerKind,
        bias: Option<InitializerKind>,
    ) -> Self {
        Recurrent { cell, inputs, hidden, weights, recurrent, bias }
    }

    fn sizes(&self) -> Sizes {
        let products = self.cell.products();
        let separate: usize =
            products.iter().filter(|product| product.separate).map(|product| product.gates.len()).sum();
        let stages = products.iter().map(|product| product.stage + 1).max().unwrap_or(1);
        Sizes {
            hidden: self.hidden,
            z: self.cell.gates().len() * self.hidden,
            u: separate * self.hidden,
            memory: self.cell.memory() * self.hidden,
            held: self.cell.held() * self.hidden,
            operands: (stages - 1) * self.hidden,
            stages,
        }
    }

    /// W, U, b, b_u.
    fn split<'w, T>(&self, w: &'w [T]) -> [&'w [T]; 4] {
        let Sizes { z, .. } = self.sizes();
        let (weight, rest) = w.split_at(z * self.inputs);
        let (recurrent, rest) = rest.split_at(z * self.hidden);
        let (bias, recurrent_bias) = rest.split_at(if self.bias.is_some() { z } else { 0 });
        [weight, recurrent, bias, recurrent_bias]
    }

    fn split_mut<'w, T>(&self, w: &'w mut [T]) -> [&'w mut [T]; 4] {
        let Sizes { z, .. } = self.sizes();
        let (weight, rest) = w.split_at_mut(z * self.inputs);
        let (recurrent, rest) = rest.split_at_mut(z * self.hidden);
        let (bias, recurrent_bias) = rest.split_at_mut(if self.bias.is_some() { z } else { 0 });
        [weight, recurrent, bias, recurrent_bias]
    }

    /// The gates of the products that are kept apart, in order.
    fn separate_gates(&self) -> impl Iterator<Item = usize> {
        self.cell.products().iter().filter(|product| product.separate).flat_map(|product| product.gates.clone())
    }

    /// Values of all packed recurrent products, forward and backward.
    fn packed_products<T>(&self) -> [usize; 2] {
        let hidden = self.hidden;
        let outputs = || self.cell.products().iter().map(|product| product.gates.len() * hidden);
        let forward = outputs().map(|outputs| packed_len::<T>(outputs, hidden)).sum();
        [forward, outputs().map(|outputs| packed_len::<T>(hidden, outputs)).sum()]
    }

    /// The cell's bounds for each of the first `steps` steps.
    fn step_bounds<T: Scalar>(&self, w: &[T], steps: usize) -> Option<Vec<StepBounds>> {
        let [weight, recurrent, _, recurrent_bias] = self.split(w);
        let (inputs, hidden) = (self.inputs, self.hidden);
        let size = |value: &T| Upper::of(to_f64(*value));
        let gate = |gate: usize| {
            let recurrent = &recurrent[gate * hidden * hidden..][..hidden * hidden];
            let apart = self.separate_gates().position(|separate| separate == gate);
            let bias = apart.and_then(|apart| recurrent_bias.get(apart * hidden..)).unwrap_or(&[]);
            let sum = |(j, row): (usize, &[T])| {
                row.iter().fold(bias.get(j).map_or(Upper::ZERO, size), |sum, value| sum + size(value))
            };
            let sums = recurrent.chunks(hidden.max(1)).enumerate().map(sum);
            GateBounds {
                weight: spectral_norm_bound(&weight[gate * hidden * inputs..], hidden, inputs),
                recurrent: spectral_norm_bound(recurrent, hidden, hidden),
                product: sums.fold(Upper::ZERO, Upper::max).get(),
            }
        };
        let gates: Vec<GateBounds> = (0..self.cell.gates().len()).map(gate).collect();
        (0..steps).map(|step| self.cell.step_bounds(&gates, step)).collect()
    }

    /// Each product with where its result begins in a row of `u` (if separate) or `z`.
    fn products(&self) -> impl Iterator<Item = (&'static Product, usize)> {
        let mut apart = 0;
        let hidden = self.hidden;
        self.cell.products().iter().map(move |product| {
            let column = if product.separate { apart } else { product.gates.start * hidden };
            apart += if product.separate { product.gates.len() * hidden } else { 0 };
            (product, column)
        })
    }
}

/// Values per row of everything a step works on.
#[derive(Clone, Copy)]
struct Sizes {
    hidden: usize,
    z: usize,
    u: usize,
    memory: usize,
    held: usize,
    /// The operands of all stages but the first.
    operands: usize,
    stages: usize,
}

impl Sizes {
    /// Values per row kept from the forward to the backward pass.
    fn kept(&self) -> usize {
        self.z + self.u + self.operands + self.memory
    }

    /// Values per row of the longest gradient between two links of a step.
    fn live(&self) -> usize {
        self.z + self.u + self.held + self.memory + 2 * self.hidden
    }
}

/// What forward keeps for backward, or in [`Mode::Infer`] for one step: slabs of `rows` rows.
struct Slabs<'a, T> {
    z: &'a mut [T],
    u: &'a mut [T],
    operands: &'a mut [T],
    memory: &'a mut [T],
}

impl<'a, T> Slabs<'a, T> {
    fn new(sizes: Sizes, rows: usize, memory_rows: usize, values: &'a mut [T]) -> Self {
        let (z, rest) = values.split_at_mut(rows * sizes.z);
        let (u, rest) = rest.split_at_mut(rows * sizes.u);
        let (operands, rest) = rest.split_at_mut(rows * sizes.operands);
        Slabs { z, u, operands, memory: &mut rest[..memory_rows * sizes.memory] }
    }
}

/// How many steps' input projections are one product, and so their parts of dW and dU: with some 256 rows the product is
/// a large one, and what it writes is in the cache when the steps read it.
fn steps_together(batch: usize) -> usize {
    (256 / batch).max(1)
}

/// The rows of some steps.
fn rows_of(extent: Extent<'_>, steps: Range<usize>) -> Range<usize> {
    extent.step(steps.start).start..extent.step(steps.end - 1).end
}

/// `count` rows of `width` values from row `first`.
fn rows<T>(values: &[T], first: usize, count: usize, width: usize) -> &[T] {
    &values[first * width..][..count * width]
}

fn rows_mut<T>(values: &mut [T], first: usize, count: usize, width: usize) -> &mut [T] {
    &mut values[first * width..][..count * width]
}

struct ForwardStage<'a, T, C> {
    cell: &'a C,
    sizes: Sizes,
    stage: usize,
    active: usize,
    z: &'a mut [T],
    u: &'a [T],
    h: &'a [T],
    memory: &'a [T],
    operand: &'a mut [T],
    h_next: &'a mut [T],
    memory_next: &'a mut [T],
}

impl<T: Scalar, C: Cell> Kernel for ForwardStage<'_, T, C> {
    #[inline(always)]
    fn run<const LEVEL: u8>(self) {
        let Sizes { hidden, z, u, memory, operands, .. } = self.sizes;
        for s in 0..self.active {
            let operand = rows_mut(self.operand, s, 1, operands).get_mut(self.stage * hidden..).unwrap_or_default();
            let unit = CellForward {
                z: rows_mut(self.z, s, 1, z),
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

impl<T: Scalar, C: Cell> Layer<T> for Recurrent<C> {
    fn dims(&self) -> Dims {
        let Sizes { z, u, .. } = self.sizes();
        let biases = if self.bias.is_some() { z + u } else { 0 };
        Dims::new(self.inputs, self.hidden, z * (self.inputs + self.hidden) + biases)
    }

    fn needs(&self, extent: Extent<'_>, mode: Mode) -> Needs {
        let (sizes, batch, all) = (self.sizes(), extent.batch, extent.rows());
        let Sizes { hidden, z, memory, .. } = sizes;
        let zeros = batch * hidden.max(memory);
        let [forward_products, backward_products] = self.packed_products::<T>();
        let forward = zeros + packed_len::<T>(z, self.inputs) + forward_products;
        let monitored = 2 * batch * sizes.live();
        let step = batch * (sizes.kept() + memory);
        let outer = outer_len::<T>(z, all.min(batch * steps_together(batch)));
        let products = (backward_products + outer).max(packed_len::<T>(self.inputs, z));
        let backward = zeros + batch * (3 * hidden + memory + sizes.held) + products;
        let (saved, scratch) = if mode.saves() {
            (all * sizes.kept(), forward.max(backward) + monitored)
        } else {
            (0, forward + step + monitored)
        };
        Needs::new(saved, scratch, hidden + memory)
    }

    fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
        let (Sizes { hidden, z, u, .. }, gates) = (self.sizes(), self.cell.gates());
        let [weight, recurrent, bias, recurrent_bias] = self.split_mut(w);
        fill_gates(&self.weights, z, self.inputs, Role::Weight, gates, rng, weight)?;
        fill_gates(&self.recurrent, z, hidden, Role::Recurrent, gates, rng, recurrent)?;
        if let Some(initializer) = &self.bias {
            fill_gates(initializer, z, 1, Role::Bias, gates, rng, bias)?;
            for (gate, bias) in self.separate_gates().zip(recurrent_bias[..u].chunks_mut(hidden.max(1))) {
                fill_gates(initializer, hidden, 1, Role::Bias, &gates[gate..=gate], rng, bias)?;
            }
        }
        Ok(())
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        let (Sizes { hidden, z, u, .. }, gates) = (self.sizes(), self.cell.gates());
        let mut start = 0;
        let mut next = |block: Block<'_>| {
            start = block.range.end;
            visit(block);
            start
        };
        let start = next(Block::new("weight", 0, [z, self.inputs], Role::Weight).gates(gates));
        let start = next(Block::new("recurrent", start, [z, hidden], Role::Recurrent).gates(gates));
        if self.bias.is_some() {
            let start = next(Block::new("bias", start, [z, 1], Role::Bias).gates(gates));
            if u > 0 {
                let first = self.separate_gates().next().unwrap_or(0);
                let named = &gates[first..first + u / hidden.max(1)];
                next(Block::new("recurrent_bias", start, [u, 1], Role::Bias).gates(named));
            }
        }
    }

    fn places(&self, path: &str, visit: &mut dyn FnMut(String)) {
        visit(path.into());
        for part in ["input", "injection", "activation", "recurrent"] {
            visit(format!("{path}.{part}"));
        }
    }

    /// `√(‖A‖₁ ‖A‖_∞)` of the matrix A of bounds `A_tk ≥ ‖∂h_t/∂x_k‖₂`, k ≤ t, for which
    /// `∂h_t/∂x_k = ∂h_t/∂s_{t−1} … ∂s_{k+1}/∂s_k ∂s_k/∂x_k`: the norm of a matrix of blocks is at most that of the
    /// matrix of the norms of its blocks. Sums of its rows and columns are recurrences over the steps.
    fn gain_bound(&self, w: &[T], extent: Extent<'_>) -> Option<f64> {
        let steps = self.step_bounds(w, extent.steps)?;
        let (mut row, mut longest_row) = ([Upper::ZERO; 2], Upper::ZERO);
        for step in &steps {
            let (state, input) = (step.state.map(|row| row.map(Upper::of)), step.input.map(Upper::of));
            row = [0, 1].map(|i| input[i] + state[i][0] * row[0] + state[i][1] * row[1]);
            longest_row = longest_row.max(row[0]);
        }
        let (mut column, mut longest_column) = ([Upper::ZERO; 2], Upper::ZERO);
        for step in steps.iter().rev() {
            let (state, input) = (step.state.map(|row| row.map(Upper::of)), step.input.map(Upper::of));
            column[0] = Upper::ONE + column[0];
            longest_column = longest_column.max(column[0] * input[0] + column[1] * input[1]);
            column = [0, 1].map(|j| column[0] * state[0][j] + column[1] * state[1][j]);
        }
        Some((longest_row.sqrt() * longest_column.sqrt()).get())
    }

    fn state_bounds(&self, w: &[T], extent: Extent<'_>, path: &str, visit: &mut dyn FnMut(&str, Option<&[f64]>)) {
        let Some(steps) = self.step_bounds(w, extent.steps) else { return visit(path, None) };
        // No step's bounds below those of the steps before: then none of k steps in a row exceeds the last k.
        let mut highest = [[Upper::ZERO; 2]; 2];
        let rising = steps.iter().map(|step| {
            highest = [0, 1].map(|i| [0, 1].map(|j| highest[i][j].max(Upper::of(step.state[i][j]))));
            highest
        });
        let rising: Vec<_> = rising.collect();
        let mut product = [[Upper::ONE, Upper::ZERO], [Upper::ZERO, Upper::ONE]];
        let mut bounds = Vec::with_capacity(steps.len() + 1);
        bounds.push(1.0);
        for state in rising.iter().rev() {
            product = product.map(|row| [0, 1].map(|j| row[0] * state[0][j] + row[1] * state[1][j]));
            bounds.push(spectral_norm_bound(product.map(|row| row.map(Upper::get)).as_flattened(), 2, 2));
        }
        visit(path, Some(&bounds));
    }

    fn describe(&self) -> Node {
        Node::Recurrent {
            cell: self.cell.kind(),
            inputs: self.inputs,
            hidden: self.hidden,
            weights: self.weights.clone(),
            recurrent: self.recurrent.clone(),
            bias: self.bias.clone(),
        }
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        let Forward { extent, mode, x, y, saved, carried_in, carried_out, scratch, monitor, at, .. } = pass;
        let sizes = self.sizes();
        let Sizes { hidden, z: gates, u: apart, memory, .. } = sizes;
        let (batch, all, keep) = (extent.batch, extent.rows(), mode.saves());
        let [weight, recurrent, bias, recurrent_bias] = self.split(w);

        let (zeros, scratch) = scratch.split_at_mut(batch * hidden.max(memory));
        let (live, scratch) = scratch.split_at_mut(2 * batch * sizes.live());
        let (packed_weight, scratch) = scratch.split_at_mut(packed_len::<T>(gates, self.inputs));
        zeros.fill(T::zero());
        let (h_start, memory_start) = match carried_in {
            Some(state) => state.split_at(batch * hidden),
            None => (&zeros[..batch * hidden], &zeros[..batch * memory]),
        };
        let (h_end, memory_end) = carried_out.split_at_mut(batch * hidden);

        pack_transposed(weight, gates, self.inputs, packed_weight);
        let (packed_products, scratch) = scratch.split_at_mut(self.packed_products::<T>()[0]);
        let mut offset = 0;
        for (product, _) in self.products() {
            let outputs = product.gates.len() * hidden;
            let rows = &recurrent[product.gates.start * hidden * hidden..];
            pack_transposed(rows, outputs, hidden, &mut packed_products[offset..]);
            offset += packed_len::<T>(outputs, hidden);
        }

        let Slabs { z, u, operands, memory: memories } =
            if keep { Slabs::new(sizes, all, all, saved) } else { Slabs::new(sizes, batch, 2 * batch, scratch) };
        // Without saving, the memory of two steps takes turns.
        let kept = |steps: usize| if keep { Kept::Every } else { Kept::Last(steps) };
        let given = ForwardSteps { extent, at, packed_products, recurrent_bias, h_start, memory_start };
        let together = if keep { steps_together(batch) } else { 1 };
        for first in (0..extent.steps).step_by(together) {
            let steps = first..(first + together).min(extent.steps);
            let (of, count) = (rows_of(extent, steps.clone()), self.threads(batch, steps.len(), monitor.listens()));
            let to = rows_mut(z, if keep { of.start } else { 0 }, of.len(), gates);
            let start = if self.bias.is_some() { Start::Bias(bias) } else { Start::Zero };
            let x = Matrix::new(rows(x, of.start, of.len(), self.inputs), self.inputs);
            multiply(x, Right::packed(packed_weight, gates, self.inputs), of.len(), to, gates, start);
            let slabs = [
                Slab::new(z, gates, extent, kept(1)),
                Slab::new(u, apart, extent, kept(1)),
                Slab::new(operands, sizes.operands, extent, kept(1)),
                Slab::new(memories, memory, extent, kept(2)),
                Slab::new(y, hidden, extent, Kept::Every),
                Slab::of_samples(h_end, hidden, extent),
                Slab::of_samples(memory_end, memory, extent),
            ];
            if count == 1 {
                self.forward_steps(&given, steps, slabs, monitor, live);
            } else {
                let run = |slabs: [_; 7]| self.forward_steps(&given, steps.clone(), slabs, &mut (), &mut []);
                by_samples([batch, count, GRAIN], slabs, &run);
            }
        }
        if monitor.listens() {
            monitor.forward(&at.link(Factor::Other, extent), x, y);
        }
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        let Backward { extent, x, y, saved, carried_in, dy, d_carried_out, dx, d_carried_in, dw, .. } = pass;
        let Backward { trained, scratch, monitor, at, .. } = pass;
        let sizes = self.sizes();
        let Sizes { hidden, z: gates, u: apart, memory, held, .. } = sizes;
        let (batch, all) = (extent.batch, extent.rows());
        let [weight, recurrent, ..] = self.split(w);
        let slabs = Slabs::new(sizes, all, all, saved);

        let (zeros, scratch) = scratch.split_at_mut(batch * hidden.max(memory));
        let (live, scratch) = scratch.split_at_mut(2 * batch * sizes.live());
        let (d_h, scratch) = scratch.split_at_mut(batch * hidden);
        let (total, scratch) = scratch.split_at_mut(batch * hidden);
        let (d_operand, scratch) = scratch.split_at_mut(batch * hidden);
        let (d_memory, scratch) = scratch.split_at_mut(batch * memory);
        let (held_rows, scratch) = scratch.split_at_mut(batch * held);
        let (packed_products, outer) = scratch.split_at_mut(self.packed_products::<T>()[1]);
        zeros.fill(T::zero());
        let mut offset = 0;
        for (product, _) in self.products() {
            let outputs = product.gates.len() * hidden;
            pack(&recurrent[product.gates.start * hidden * hidden..], outputs, hidden, &mut packed_products[offset..]);
            offset += packed_len::<T>(hidden, outputs);
        }
        let (h_start, memory_start) = match carried_in {
            Some(state) => state.split_at(batch * hidden),
            None => (&zeros[..batch * hidden], &zeros[..batch * memory]),
        };
        // A sample's gradient from its final state waits here until the pass reaches its last step.
        match d_carried_out {
            Some(gradient) => {
                d_h.copy_from_slice(&gradient[..batch * hidden]);
                d_memory.copy_from_slice(&gradient[batch * hidden..]);
            }
            None => {
                d_h.fill(T::zero());
                d_memory.fill(T::zero());
            }
        }

        // The state at the very start has a gradient only if somebody asks.
        let wants_start = d_carried_in.is_some();
        let together = steps_together(batch);
        for first in (0..extent.steps).step_by(together).rev() {
            let steps = first..(first + together).min(extent.steps);
            let count = self.threads(batch, steps.len(), monitor.listens());
            let given = BackwardSteps {
                extent,
                at,
                packed_products,
                h_start,
                memory_start,
                memories: slabs.memory,
                y,
                dy,
                wants_start,
            };
            let parts = [
                Slab::new(slabs.z, gates, extent, Kept::Every),
                Slab::new(slabs.u, apart, extent, Kept::Every),
                Slab::of_samples(total, hidden, extent),
                Slab::of_samples(d_h, hidden, extent),
                Slab::of_samples(d_operand, hidden, extent),
                Slab::of_samples(d_memory, memory, extent),
                Slab::of_samples(held_rows, held, extent),
            ];
            if count == 1 {
                self.backward_steps(&given, steps.clone(), parts, monitor, live);
            } else {
                let run = |parts: [_; 7]| self.backward_steps(&given, steps.clone(), parts, &mut (), &mut []);
                by_samples([batch, count, GRAIN], parts, &run);
            }
            let operands = [x, y, if carried_in.is_some() { h_start } else { &[] }];
            self.add_gradient(extent, steps, trained, operands, &slabs, dw, outer);
        }
        if let Some(d_carried_in) = d_carried_in {
            d_carried_in[..batch * hidden].copy_from_slice(d_h);
            d_carried_in[batch * hidden..].copy_from_slice(d_memory);
        }
        if monitor.listens() {
            monitor.backward(&at.link(Factor::Other, extent), dy, slabs.z);
        }
        if let Some(dx) = dx {
            let right = Right::of(weight, gates, self.inputs, scratch);
            multiply(Matrix::new(slabs.z, gates), right, all, dx, self.inputs, Start::Zero);
            if monitor.listens() {
                monitor.backward(&at.part(INPUT_PLACE).link(Factor::Weights, extent), slabs.z, dx);
            }
        }
    }
}

/// What the steps of a forward pass read.
struct ForwardSteps<'a, T> {
    extent: Extent<'a>,
    at: Place<'a>,
    packed_products: &'a [T],
    recurrent_bias: &'a [T],
    h_start: &'a [T],
    memory_start: &'a [T],
}

/// What the steps of a backward pass read.
struct BackwardSteps<'a, T> {
    extent: Extent<'a>,
    at: Place<'a>,
    packed_products: &'a [T],
    h_start: &'a [T],
    memory_start: &'a [T],
    memories: &'a [T],
    y: &'a [T],
    dy: &'a [T],
    wants_start: bool,
}

/// Samples that stay on one thread: the rows of a product's tile.
const GRAIN: usize = 8;

impl<C: Cell> Recurrent<C> {
    /// On how many threads some steps run. A monitor sees whole slices, from the thread that it is on.
    fn threads(&self, batch: usize, steps: usize, watched: bool) -> usize {
        // Some 50 multiplications of a product in a nanosecond, and 4 nanoseconds for a gate's activation.
        let nanoseconds = steps * batch * self.sizes().z * (self.hidden / 50 + 4);
        if watched { 1 } else { parts(batch.div_ceil(GRAIN), nanoseconds) }
    }

    /// Runs some steps for the samples of the slabs: z, u, operands, memory, y, and the state at the end.
    fn forward_steps<T: Scalar>(
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
                dispatch(ForwardStage {
                    cell: &self.cell,
                    sizes,
                    stage,
                    active,
                    z,
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
            if monitor.listens() {
                self.show_gates(monitor, given.at, given.extent, step, z, active, live);
            }
        }
    }

    /// Runs some steps backward for the samples of the slabs: z, u, and the gradients dL/dh_t, of the state before,
    /// of an operand, of the rest of the state, and held between stages.
    fn backward_steps<T: Scalar>(
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
            let (z, u, total) = (z.now(step), u.now(step), total.now(step));
            let (d_h, d_memory) = (d_h.now(step), d_memory.now(step));
            let (d_operand, held_rows) = (d_operand.now(step), held_rows.now(step));
            let (h, memory_past) = if step == 0 {
                (rows(given.h_start, first, active, hidden), rows(given.memory_start, first, active, memory))
            } else {
                let before = extent.step(step - 1).start + first;
                (rows(given.y, before, active, hidden), rows(given.memories, before, active, memory))
            };
            map2(d_h, rows(given.dy, now, active, hidden), total, |state, loss| state + loss);
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
    fn add_gradient<T: Scalar>(
        &self,
        extent: Extent<'_>,
        steps: Range<usize>,
        trained: Trained<'_>,
        operands: [&[T]; 3],
        slabs: &Slabs<'_, T>,
        dw: &mut [T],
        scratch: &mut [T],
    ) {
        let Sizes { hidden, z: gates, u: apart, operands: own, .. } = self.sizes();
        let ([x, y, h_start], of) = (operands, rows_of(extent, steps.clone()));
        let [d_weight, d_recurrent, d_bias, d_recurrent_bias] = self.split_mut(dw);
        let z = rows(slabs.z, of.start, of.len(), gates);
        if trained.block(0) {
            let x = Matrix::new(rows(x, of.start, of.len(), self.inputs), self.inputs);
            add_outer(Matrix::new(z, gates), x, [gates, self.inputs, of.len()], d_weight, scratch);
        }
        for (product, column) in self.products().filter(|_| trained.block(1)) {
            let outputs = product.gates.len() * hidden;
            let (slab, stride): (&[T], _) = if product.separate { (slabs.u, apart) } else { (slabs.z, gates) };
            let into = &mut d_recurrent[product.gates.start * hidden * hidden..][..outputs * hidden];
            let mut add = |first: usize, count: usize, operand: Matrix<'_, T>| {
                if count > 0 {
                    let d = Matrix::new(&slab[first * stride + column..], stride);
                    add_outer(d, operand, [outputs, hidden, count], into, scratch);
                }
            };
            if product.operand == Operand::Own {
                let from = &slabs.operands[of.start * own + (product.stage - 1) * hidden..];
                add(of.start, of.len(), Matrix::new(from, own));
                continue;
            }
            let mut after = of.start;
            if steps.start == 0 {
                after = extent.batch;
                if !h_start.is_empty() {
                    add(0, extent.batch, Matrix::new(h_start, hidden));
                }
            }
            if extent.lengths.is_none() {
                add(after, of.end - after, Matrix::new(&y[(after - extent.batch) * hidden..], hidden));
            } else {
                for step in steps.start.max(1)..steps.end {
                    let (now, before) = (extent.step(step), extent.step(step - 1));
                    add(now.start, now.len(), Matrix::new(rows(y, before.start, now.len(), hidden), hidden));
                }
            }
        }
        if self.bias.is_some() && trained.block(2) {
            add_column_sums(z, gates, d_bias);
        }
        if self.bias.is_some() && apart > 0 && trained.block(3) {
            add_column_sums(rows(slabs.u, of.start, of.len(), apart), apart, d_recurrent_bias);
        }
    }

    /// The activation of a cell that has just one.
    fn sole_activation(&self) -> Option<&dyn AnyActivation> {
        if self.cell.gates().len() == 1 { self.cell.activation(0) } else { None }
    }

    /// Shows each gate's pre-activation and value at a step to a monitor.
    #[allow(clippy::too_many_arguments)]
    fn show_gates<T: Scalar>(
        &self,
        monitor: &mut dyn GradientMonitor<T>,
        at: Place<'_>,
        extent: Extent<'_>,
        step: usize,
        z: &[T],
        active: usize,
        live: &mut [T],
    ) {
        let (hidden, width) = (self.hidden, z.len() / active);
        for (gate, name) in self.cell.gates().iter().enumerate() {
            let Some(activation) = self.cell.activation(gate) else { continue };
            let (before, after) = live.split_at_mut(active * hidden);
            let after = &mut after[..active * hidden];
            for (row, z) in before.chunks_mut(hidden).zip(z.chunks(width)) {
                row.copy_from_slice(&z[gate * hidden..][..hidden]);
            }
            for (y, &z) in after.iter_mut().zip(&*before) {
                *y = scalar(activation.value_at(to_f64(z)));
            }
            let link = at.part(ACTIVATION_PLACE).link(Factor::Activation, extent).at_step(step).gate(name);
            monitor.forward(&link.activation(activation), before, after);
        }
    }
}

/// The gradient on its way back through one step, put together for a monitor. What lies in several
/// slabs is gathered into one of two buffers; the other has the gradient before.
struct Trail<'a, T> {
    buffers: Option<[&'a mut [T]; 2]>,
    before: usize,
    gathered: usize,
    at: Place<'a>,
    extent: Extent<'a>,
    step: usize,
}

impl<'a, T: Scalar> Trail<'a, T> {
    fn new(listens: bool, live: &'a mut [T], at: Place<'a>, extent: Extent<'a>, step: usize) -> Self {
        let (before, after) = live.split_at_mut(live.len() / 2);
        Trail { buffers: listens.then_some([before, after]), before: 0, gathered: 0, at, extent, step }
    }

    /// Adds whole slabs to what is being gathered.
    fn gather(&mut self, parts: &[&[T]]) {
        let Some([_, after]) = &mut self.buffers else { return };
        for part in parts {
            after[self.gathered..][..part.len()].copy_from_slice(part);
            self.gathered += part.len();
        }
    }

    /// Adds some columns of a slab to what is being gathered.
    fn gather_columns(&mut self, slab: &[T], stride: usize, first: usize, count: usize) {
        if self.buffers.is_some() {
            slab.chunks(stride).for_each(|row| self.gather(&[&row[first..][..count]]));
        }
    }

    /// Makes what was gathered the gradient before the next link.
    fn turn(&mut self) {
        if let Some(buffers) = &mut self.buffers {
            buffers.swap(0, 1);
        }
        (self.before, self.gathered) = (self.gathered, 0);
    }

    /// Shows the link from the gradient before to what was gathered.
    fn show(
        &mut self,
        monitor: &mut dyn GradientMonitor<T>,
        place: usize,
        factor: Factor,
        activation: Option<&dyn AnyActivation>,
    ) {
        if let Some([before, after]) = &self.buffers {
            let link = self.at.part(place).link(factor, self.extent).at_step(self.step);
            let link = Link { activation, ..link };
            monitor.backward(&link, &before[..self.before], &after[..self.gathered]);
        }
        self.turn();
    }
}
