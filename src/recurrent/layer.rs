//! What unrolls a cell over time: backpropagation through time.

use super::{
    cell::{Cell, GateBounds, Product, StepBounds},
    plan::Plan,
    steps::{BackwardSteps, ForwardSteps, Sizes, Slabs, rows, rows_mut, rows_of},
    trail::INPUT_PLACE,
};
use crate::{
    block::{Block, Role},
    error::{Error, LayerRule},
    extent::Extent,
    initializer::{ByGate, Constant, Glorot, Initializer, InitializerKind, Orthogonal, Zeros, fill_gates},
    kernel::{
        chain::GRAIN,
        product::{Matrix, Right, Start, multiply, multiply_by, pack, pack_transposed, packed_len},
        slab::{Kept, Slab, Steps, by_samples},
        sums::Levels,
    },
    layer::{Answers, Backward, Dims, Forward, Layer, Mode, Needs, Node, hold},
    monitor::Factor,
    scalar::{Scalar, to_f64},
    size::{saturating_product, saturating_sum},
    theory::{Upper, spectral_norm_bound},
};
use alloc::{format, string::String, vec::Vec};
use rand_core::Rng;

/// Steps beyond which a recurrent layer states no bounds, which are a table of its steps.
pub(crate) const MOST_BOUNDED_STEPS: usize = 1 << 22;

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
    pub(super) cell: C,
    pub(super) plan: Plan,
    pub(super) inputs: usize,
    pub(super) hidden: usize,
    weights: InitializerKind,
    recurrent: InitializerKind,
    pub(super) bias: Option<InitializerKind>,
}
impl<C: Cell> Recurrent<C> {
    /// `cell` with `hidden` units, reading rows of `inputs` values.
    ///
    /// A cell that breaks a rule of its contract is refused where the layer becomes part of a network, and by
    /// [`Tape::new`](crate::tape::Tape::new); until then the layer describes itself as one without gates.
    pub fn new(inputs: usize, hidden: usize, cell: C) -> Self {
        let bias = ByGate::new(Zeros).gate("forget", Constant(1.0));
        Recurrent {
            plan: Plan::of(&cell),
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
        Recurrent { plan: Plan::of(&cell), cell, inputs, hidden, weights, recurrent, bias }
    }

    /// Refuses a pass over rows that are none, or with slices that are not as long as the contract of a layer says: x, y, and
    /// the state at both ends.
    fn check_pass(&self, extent: Extent<'_>, [x, y, end, start]: [usize; 4]) {
        if let Some(rule) = &self.plan.broken {
            panic!("a Recurrent with a cell that breaks a rule: {rule}");
        }
        if let Err(error) = extent.check() {
            panic!("a pass of a Recurrent: {error}");
        }
        let rows = extent.rows();
        hold("x of a Recurrent", rows * self.inputs, x);
        hold("y of a Recurrent", rows * self.hidden, y);
        let states = extent.batch * (self.hidden + self.plan.memory * self.hidden);
        hold("the state of a Recurrent", states, end);
        hold("the state of a Recurrent", states, start);
    }

    pub(super) fn sizes(&self) -> Sizes {
        let products = self.plan.products;
        let apart = products.iter().filter(|product| product.separate);
        let separate = saturating_sum(apart.map(|product| product.gates.len()));
        let stages = products.iter().map(|product| product.stage.saturating_add(1)).max().unwrap_or(1);
        let units = |each: usize| each.saturating_mul(self.hidden);
        Sizes {
            hidden: self.hidden,
            z: units(self.plan.gates.len()),
            u: units(separate),
            memory: units(self.plan.memory),
            held: units(self.plan.held),
            operands: units(stages - 1),
            stages,
        }
    }

    /// W, U, b, b_u.
    pub(super) fn split<'w, T>(&self, w: &'w [T]) -> [&'w [T]; 4] {
        let Sizes { z, .. } = self.sizes();
        let (weight, rest) = w.split_at(z.saturating_mul(self.inputs));
        let (recurrent, rest) = rest.split_at(z.saturating_mul(self.hidden));
        let (bias, recurrent_bias) = rest.split_at(if self.bias.is_some() { z } else { 0 });
        [weight, recurrent, bias, recurrent_bias]
    }

    pub(super) fn split_mut<'w, T>(&self, w: &'w mut [T]) -> [&'w mut [T]; 4] {
        let Sizes { z, .. } = self.sizes();
        let (weight, rest) = w.split_at_mut(z.saturating_mul(self.inputs));
        let (recurrent, rest) = rest.split_at_mut(z.saturating_mul(self.hidden));
        let (bias, recurrent_bias) = rest.split_at_mut(if self.bias.is_some() { z } else { 0 });
        [weight, recurrent, bias, recurrent_bias]
    }

    /// The gates of the products that are kept apart, in order.
    fn separate_gates(&self) -> impl Iterator<Item = usize> {
        self.plan.products.iter().filter(|product| product.separate).flat_map(|product| product.gates.clone())
    }

    /// Values of all packed recurrent products, forward and backward.
    fn packed_products<T: Scalar>(&self) -> [usize; 2] {
        let hidden = self.hidden;
        let outputs = || self.plan.products.iter().map(|product: &Product| product.gates.len().saturating_mul(hidden));
        let forward = saturating_sum(outputs().map(|outputs| packed_len::<T>(outputs, hidden)));
        [forward, saturating_sum(outputs().map(|outputs| packed_len::<T>(hidden, outputs)))]
    }

    /// Length of the buffer of the gradient's sum over blocks of steps.
    fn sum_buffer<T: Scalar>(&self, extent: Extent<'_>) -> usize {
        let blocks = extent.steps.div_ceil(self.steps_together::<T>(extent.batch.max(1)));
        Levels::<T>::buffer_len(Layer::<T>::dims(self).parameters, blocks)
    }

    /// The cell's bounds for each of the first `steps` steps; `None` where the cell has none, the parameters are fewer than
    /// the layer's, or there are more than [`MOST_BOUNDED_STEPS`].
    fn step_bounds<T: Scalar>(&self, w: &[T], steps: usize) -> Option<Vec<StepBounds>> {
        if w.len() < Layer::<T>::dims(self).parameters || steps > MOST_BOUNDED_STEPS {
            return None;
        }
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
        let gates: Vec<GateBounds> = (0..self.plan.gates.len()).map(gate).collect();
        (0..steps).map(|step| self.cell.step_bounds(&gates, step)).collect()
    }

    /// Each product with where its result begins in a row of `u` (if separate) or `z`.
    pub(super) fn products(&self) -> impl Iterator<Item = (&'static Product, usize)> {
        let mut apart = 0;
        let hidden = self.hidden;
        self.plan.products.iter().map(move |product| {
            let column = if product.separate { apart } else { product.gates.start.saturating_mul(hidden) };
            let own = if product.separate { product.gates.len().saturating_mul(hidden) } else { 0 };
            apart = apart.saturating_add(own);
            (product, column)
        })
    }
}
impl<T: Scalar, C: Cell> Layer<T> for Recurrent<C> {
    fn dims(&self) -> Dims {
        let Sizes { z, u, .. } = self.sizes();
        let biases = if self.bias.is_some() { z.saturating_add(u) } else { 0 };
        let weights = z.saturating_mul(self.inputs.saturating_add(self.hidden));
        Dims::new(self.inputs, self.hidden, weights.saturating_add(biases))
    }

    fn needs(&self, extent: Extent<'_>, mode: Mode) -> Needs {
        let (sizes, batch, all) = (self.sizes(), extent.batch, extent.rows());
        let Sizes { hidden, z, memory, .. } = sizes;
        let zeros = batch.saturating_mul(hidden.max(memory));
        let [forward_products, backward_products] = self.packed_products::<T>();
        let forward = saturating_sum([zeros, packed_len::<T>(z, self.inputs), forward_products]);
        let monitored = saturating_product(&[2, batch, sizes.live()]);
        let step = batch.saturating_mul(sizes.kept().saturating_add(memory));
        // Of a smaller batch more steps, and perhaps more rows, are one product.
        let rows = all.min(self.rows_together::<T>().max(batch));
        let outer = self.gradient_scratch::<T>(rows, self.gradient_parts(rows));
        let products = saturating_sum([backward_products, outer, self.sum_buffer::<T>(extent)]);
        let products = products.max(packed_len::<T>(self.inputs, z));
        let gradients = batch.saturating_mul(saturating_sum([hidden, hidden, hidden, memory, sizes.held]));
        let backward = saturating_sum([zeros, gradients, products]);
        let (saved, scratch) = if mode.saves() {
            (all.saturating_mul(sizes.kept()), forward.max(backward).saturating_add(monitored))
        } else {
            (0, saturating_sum([forward, step, monitored]))
        };
        Needs::new(saved, scratch, hidden.saturating_add(memory))
    }

    fn skips_zero_rows(&self) -> bool {
        true
    }

    /// Without parts, but with a cell that may break a rule.
    fn kept(&self) -> Option<Result<Answers, LayerRule>> {
        self.plan.broken.clone().map(Err)
    }

    fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
        let (Sizes { hidden, z, u, .. }, gates) = (self.sizes(), self.plan.gates);
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
        let (Sizes { hidden, z, u, .. }, gates) = (self.sizes(), self.plan.gates);
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
        self.check_pass(
            extent,
            [x.len(), y.len(), carried_out.len(), carried_in.map_or(carried_out.len(), <[T]>::len)],
        );
        let (batch, all, keep, time) = (extent.batch, extent.rows(), mode.saves(), Steps::new(extent));
        hold("`saved` of a Recurrent", if keep { all * sizes.kept() } else { 0 }, saved.len());
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
        let given = ForwardSteps { extent, keeps: keep, at, packed_products, recurrent_bias, h_start, memory_start };
        let together = if keep { self.steps_together::<T>(batch) } else { 1 };
        for first in (0..extent.steps).step_by(together) {
            let steps = first..(first + together).min(extent.steps);
            let (of, count) = (rows_of(extent, steps.clone()), self.parts(batch, steps.len(), monitor.listens()));
            let to = rows_mut(z, if keep { of.start } else { 0 }, of.len(), gates);
            let start = if self.bias.is_some() { Start::Bias(bias) } else { Start::Zero };
            let x = Matrix::new(rows(x, of.start, of.len(), self.inputs), self.inputs);
            multiply(x, Right::packed(packed_weight, gates, self.inputs), of.len(), to, gates, start);
            let slabs = [
                Slab::new(z, gates, time, kept(1)),
                Slab::new(u, apart, time, kept(1)),
                Slab::new(operands, sizes.operands, time, kept(1)),
                Slab::new(memories, memory, time, kept(2)),
                Slab::new(y, hidden, time, Kept::Every),
                Slab::of_samples(h_end, hidden, time),
                Slab::of_samples(memory_end, memory, time),
            ];
            if count == 1 {
                self.forward_steps(&given, steps, slabs, monitor, live);
            } else {
                let run = |slabs: [_; 7]| self.forward_steps(&given, steps.clone(), slabs, &mut (), &mut []);
                by_samples([count, GRAIN], slabs, &run);
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
        let states = extent.batch * (hidden + memory);
        let given =
            [carried_in.map(<[T]>::len), d_carried_out.map(<[T]>::len), d_carried_in.as_deref().map(<[T]>::len)];
        given.into_iter().flatten().for_each(|found| hold("the state of a Recurrent", states, found));
        self.check_pass(extent, [x.len(), y.len(), states, states]);
        let (batch, all, time) = (extent.batch, extent.rows(), Steps::new(extent));
        hold("`saved` of a Recurrent", all * sizes.kept(), saved.len());
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
        let (outer, buffer) = outer.split_at_mut(outer.len() - self.sum_buffer::<T>(extent));
        let mut levels = Levels::new(dw, buffer);
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
        let together = self.steps_together::<T>(batch);
        for first in (0..extent.steps).step_by(together).rev() {
            let steps = first..(first + together).min(extent.steps);
            let count = self.parts(batch, steps.len(), monitor.listens());
            let given = BackwardSteps {
                extent,
                at,
                packed_products,
                h_start,
                memory_start,
                memories: slabs.memory,
                y,
                dy,
                zero_rows: all - dy.len() / hidden.max(1),
                wants_start,
            };
            let parts = [
                Slab::new(slabs.z, gates, time, Kept::Every),
                Slab::new(slabs.u, apart, time, Kept::Every),
                Slab::of_samples(total, hidden, time),
                Slab::of_samples(d_h, hidden, time),
                Slab::of_samples(d_operand, hidden, time),
                Slab::of_samples(d_memory, memory, time),
                Slab::of_samples(held_rows, held, time),
            ];
            if count == 1 {
                self.backward_steps(&given, steps.clone(), parts, monitor, live);
            } else {
                let run = |parts: [_; 7]| self.backward_steps(&given, steps.clone(), parts, &mut (), &mut []);
                by_samples([count, GRAIN], parts, &run);
            }
            let operands = [x, y, if carried_in.is_some() { h_start } else { &[] }];
            levels.add(|dw| self.add_gradient(extent, steps, trained, operands, &slabs, dw, outer));
        }
        levels.finish();
        if let Some(d_carried_in) = d_carried_in {
            d_carried_in[..batch * hidden].copy_from_slice(d_h);
            d_carried_in[batch * hidden..].copy_from_slice(d_memory);
        }
        if monitor.listens() {
            monitor.backward(&at.link(Factor::Other, extent), dy, slabs.z);
        }
        if let Some(dx) = dx {
            multiply_by(Matrix::new(slabs.z, gates), weight, [all, gates, self.inputs], dx, scratch);
            if monitor.listens() {
                monitor.backward(&at.part(INPUT_PLACE).link(Factor::Weights, extent), slabs.z, dx);
            }
        }
    }
}
