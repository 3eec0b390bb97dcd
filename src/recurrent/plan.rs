//! The sizes, products and buffers of a recurrent layer: its code that does not depend on the type of the cell.

use super::noise::CELL;
use crate::{
    batch_shape::BatchShape,
    block::{Block, Gate, Role},
    cell::{Cell, CellSizes, Operand, Product, StateNoise},
    error::{Error, LayerRule},
    initializer::{InitializerKind, fill_gates},
    kernel::{
        gemm::{MR, MULTIPLICATIONS_PER_NANOSECOND, PackedB, gemm_tn_least_scratch, gemm_tn_scratch_len, packed_b_len},
        parallel::part_count,
        row_chain::GRAIN,
        sums::BlockSum,
    },
    layer::{Dims, MemorySizes, Mode, PassLengths},
    scalar::Scalar,
    size::{saturating_product, saturating_sum},
    slices::hold,
};
use alloc::{string::ToString, vec::Vec};
use core::ops::Range;
use rand_core::Rng;

/// The gates, products and sizes that a cell states, checked. If they break a rule of [`Cell`], gates and products
/// are empty here, and sizes are 0.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) gates: &'static [Gate],
    pub(super) products: Vec<Product>,
    pub(super) sizes: CellSizes,
    /// The first rule that the gates, products or sizes of the cell break; `None` if they break none.
    pub(super) broken: Option<LayerRule>,
}

/// The largest allowed number of gates, of products, and of values per unit in each field of [`CellSizes`]. A cell with
/// more breaks a rule.
const MOST: usize = 1 << 16;

impl Plan {
    /// Calls `gates`, `products` and `sizes` of `cell`, each twice, and checks the values against the rules of
    /// [`Cell`]. The first broken rule is stored in `broken`.
    pub(super) fn of(cell: &impl Cell) -> Self {
        let plan = || Plan { gates: cell.gates(), products: cell.products(), sizes: cell.sizes(), broken: None };
        let (first, again) = (plan(), plan());
        let same = [
            ("gates", first.gates == again.gates),
            ("products", first.products == again.products),
            ("sizes", first.sizes == again.sizes),
        ];
        let changed = same.into_iter().find(|(_, same)| !same).map(|(method, _)| LayerRule::Changed { method });
        match changed.map_or_else(|| again.check(), Err) {
            Ok(()) => again,
            Err(rule) => Plan { gates: &[], products: Vec::new(), sizes: CellSizes::default(), broken: Some(rule) },
        }
    }

    fn check(&self) -> Result<(), LayerRule> {
        let gates = self.gates.len();
        if gates == 0 {
            return Err(LayerRule::NoGates);
        }
        let mut names: Vec<&str> = self.gates.iter().map(|gate| gate.name).collect();
        names.sort_unstable();
        if names[0].is_empty() {
            return Err(LayerRule::NoName { what: "gate" });
        }
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(LayerRule::NameTwice { what: "gate", name: pair[0].to_string() });
        }
        for (method, found) in [
            ("gates", gates),
            ("products", self.products.len()),
            ("sizes", self.sizes.cell_state),
            ("sizes", self.sizes.between_stages),
        ] {
            if found > MOST {
                return Err(LayerRule::CellSize { method, found, limit: MOST });
            }
        }
        let mut separate = None;
        for (product, Product { gates: of, stage, operand, keep_separate: apart }) in self.products.iter().enumerate() {
            if of.is_empty() || of.end > gates {
                return Err(LayerRule::ProductGates { product, start: of.start, end: of.end, gates });
            }
            if (*operand, *stage) == (Operand::StageOutput, 0) {
                return Err(LayerRule::StageOutputAtStart { product });
            }
            if *apart {
                let expected = separate.unwrap_or(of.start);
                if of.start != expected {
                    return Err(LayerRule::SeparateGates { product, expected, found: of.start });
                }
                separate = Some(of.end);
            }
        }
        let mut stages: Vec<usize> = self.products.iter().map(|product| product.stage).collect();
        stages.push(0);
        stages.sort_unstable();
        match stages.windows(2).find(|pair| pair[1] - pair[0] > 1) {
            Some(pair) => Err(LayerRule::StageWithoutProduct { stage: pair[0] + 1 }),
            None => Ok(()),
        }
    }
}

/// Values per row in the buffers of a recurrent layer; a row is one sample at one time step.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) hidden: usize,
    pub(super) z: usize,
    pub(super) u: usize,
    pub(super) cell_state: usize,
    pub(super) between_stages: usize,
    /// The number of values of the operands: the vectors that all stages but the last write for the products of the
    /// next stage.
    pub(super) operands: usize,
    /// The number of values of `m ⊙ h`, with m the mask of recurrent dropout; 0 without recurrent dropout.
    pub(super) masked: usize,
    /// The numbers of values of h and of the cell state, in this order, as the cell computed them, before zoneout;
    /// both 0 without zoneout.
    pub(super) computed: [usize; 2],
    /// The number of stages (element-wise parts of a time step) of the cell.
    pub(super) stages: usize,
}

impl Sizes {
    /// Returns the number of values per row that the forward pass saves for the backward pass.
    pub(super) fn kept(&self) -> usize {
        let [h, cell] = self.computed;
        saturating_sum([self.z, self.u, self.operands, self.cell_state, self.masked, h, cell])
    }

    /// Returns an upper bound on the number of values, per row, of the gradient that a monitor receives for one link
    /// (factor of the chain rule) within a time step.
    pub(super) fn live(&self) -> usize {
        saturating_sum([self.z, self.u, self.between_stages, self.cell_state, self.hidden, self.hidden])
    }
}

/// Returns the range of the rows that the time steps `steps` have in a pass over `shape`. `steps` must not be empty.
pub(super) fn rows_of(shape: BatchShape<'_>, steps: Range<usize>) -> Range<usize> {
    shape.step(steps.start).start..shape.step(steps.end - 1).end
}

/// Returns `count` rows of `width` values each, starting at row `first` of `values`.
pub(super) fn rows<T>(values: &[T], first: usize, count: usize, width: usize) -> &[T] {
    &values[first * width..][..count * width]
}

pub(super) fn rows_mut<T>(values: &mut [T], first: usize, count: usize, width: usize) -> &mut [T] {
    &mut values[first * width..][..count * width]
}

/// The name of the scratch of a recurrent layer in the message of a panic.
pub(super) const SCRATCH: &str = "`scratch` of Recurrent";

/// The part of a recurrent layer that does not depend on the type of its cell: sizes, products, initializers and
/// noise.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Unrolled {
    pub(super) plan: Plan,
    pub(super) inputs: usize,
    pub(super) hidden: usize,
    pub(super) weights: InitializerKind,
    pub(super) recurrent: InitializerKind,
    pub(super) bias: Option<InitializerKind>,
    pub(super) noise: StateNoise,
}

impl Unrolled {
    pub(super) fn dims(&self) -> Dims {
        let Sizes { z, u, .. } = self.sizes();
        let biases = if self.bias.is_some() { z.saturating_add(u) } else { 0 };
        let weights = z.saturating_mul(self.inputs.saturating_add(self.hidden));
        Dims::new(self.inputs, self.hidden, weights.saturating_add(biases))
    }

    /// Returns the memory of a pass over `shape` in `mode`. `sums` is the length, in values, of the buffer of
    /// partial sums within the scratch: [`sum_buffer`](Self::sum_buffer), or 0 for a segment of a longer pass, which
    /// has a buffer elsewhere.
    pub(super) fn memory<T: Scalar>(&self, shape: BatchShape<'_>, mode: Mode, sums: usize) -> MemorySizes {
        let (sizes, batch, all) = (self.sizes(), shape.batch, shape.rows());
        let Sizes { hidden, z, cell_state, .. } = sizes;
        let zeros = batch.saturating_mul(hidden.max(cell_state).saturating_add(sizes.masked));
        let [forward_products, backward_products] = self.packed_products::<T>();
        let forward = saturating_sum([zeros, packed_b_len::<T>(z, self.inputs), forward_products]);
        let monitored = saturating_product(&[2, batch, sizes.live()]);
        let step = batch.saturating_mul(sizes.kept().saturating_add(cell_state));
        // A smaller batch runs more time steps per product, and perhaps more rows: this is the largest number of
        // rows.
        let rows = all.min(self.rows_together::<T>().max(batch));
        let outer = self.gradient_scratch::<T>(rows, self.gradient_parts(rows));
        let products = saturating_sum([backward_products, outer, sums]);
        let products = products.max(packed_b_len::<T>(self.inputs, z));
        let each = [hidden, hidden, hidden, cell_state, sizes.between_stages, sizes.masked, sizes.computed[CELL]];
        let gradients = batch.saturating_mul(saturating_sum(each));
        let backward = saturating_sum([zeros, gradients, products]);
        let (saved, scratch) = if mode.saves() {
            (all.saturating_mul(sizes.kept()), forward.max(backward).saturating_add(monitored))
        } else {
            (0, saturating_sum([forward, step, monitored]))
        };
        MemorySizes::new(saved, scratch, hidden.saturating_add(cell_state))
    }

    pub(super) fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
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

    pub(super) fn initialize<T: Scalar>(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
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

    /// Returns the lengths that the slices of a pass over `shape` must have, except for the scratch, whose length is
    /// checked where it is divided. `saves` states whether a backward pass can follow. Panics if the cell breaks a
    /// rule.
    pub(super) fn lengths(&self, shape: &BatchShape<'_>, saves: bool) -> PassLengths {
        if let Some(rule) = &self.plan.broken {
            panic!("Recurrent with a cell that breaks a rule: {rule}");
        }
        let sizes = self.sizes();
        let saved = if saves { shape.rows().saturating_mul(sizes.kept()) } else { 0 };
        let memory = MemorySizes::new(saved, 0, sizes.hidden.saturating_add(sizes.cell_state));
        PassLengths::new("Recurrent", self.dims(), shape, shape).memory(memory, shape.batch)
    }

    /// Panics if scratch of `found` values is too short for the matrix products of a backward pass over `shape` on one
    /// thread and a buffer of `sums` values for partial sums.
    pub(super) fn check_product_scratch<T: Scalar>(&self, shape: BatchShape<'_>, sums: usize, found: usize) {
        let z = self.sizes().z;
        let rows = shape.rows().min(self.rows_together::<T>().max(shape.batch));
        let gradient = gemm_tn_least_scratch::<T>([z, self.inputs.max(self.hidden), rows]);
        let [_, packed] = self.packed_products::<T>();
        let least = saturating_sum([packed, gradient, sums]);
        let least = least.max(packed_b_len::<T>(self.inputs, z));
        hold(SCRATCH, least, found.min(least));
    }

    pub(super) fn sizes(&self) -> Sizes {
        let products = &self.plan.products;
        let apart = products.iter().filter(|product| product.keep_separate);
        let separate = saturating_sum(apart.map(|product| product.gates.len()));
        let stages = products.iter().map(|product| product.stage.saturating_add(1)).max().unwrap_or(1);
        let units = |each: usize| each.saturating_mul(self.hidden);
        Sizes {
            hidden: self.hidden,
            z: units(self.plan.gates.len()),
            u: units(separate),
            cell_state: units(self.plan.sizes.cell_state),
            between_stages: units(self.plan.sizes.between_stages),
            operands: units(stages - 1),
            masked: if self.noise.masks() { self.hidden } else { 0 },
            computed: if self.noise.zones_out() { [self.hidden, units(self.plan.sizes.cell_state)] } else { [0, 0] },
            stages,
        }
    }

    /// Splits the parameters of the layer into the input weights W, the recurrent weights U, the bias b, and b_u, the
    /// bias of the separate products. Without biases the last two are empty.
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

    /// Returns the indices of the gates whose products are kept separate, in `u` instead of `z`, in the order of the
    /// products.
    pub(super) fn separate_gates(&self) -> impl Iterator<Item = usize> {
        self.plan.products.iter().filter(|product| product.keep_separate).flat_map(|product| product.gates.clone())
    }

    /// Returns two lengths, in values: of the packed matrices U_g of all recurrent products for the forward pass, and
    /// of those for the backward pass. U_g holds the rows of U of the gates of a product.
    pub(super) fn packed_products<T: Scalar>(&self) -> [usize; 2] {
        let hidden = self.hidden;
        let outputs = || self.plan.products.iter().map(|product: &Product| product.gates.len().saturating_mul(hidden));
        let forward = saturating_sum(outputs().map(|outputs| packed_b_len::<T>(outputs, hidden)));
        [forward, saturating_sum(outputs().map(|outputs| packed_b_len::<T>(hidden, outputs)))]
    }

    /// Returns the length, in values, of the buffer for the partial sums, over blocks of time steps, of the gradient
    /// of the parameters in a pass over `shape`.
    pub(super) fn sum_buffer<T: Scalar>(&self, shape: BatchShape<'_>) -> usize {
        let blocks = shape.steps.div_ceil(self.steps_together::<T>(shape.batch.max(1)));
        BlockSum::<T>::buffer_len(self.dims().parameters, blocks)
    }

    /// Returns each recurrent product with the column at which its result begins: in `u` for a product that is kept
    /// separate, otherwise in `z`.
    pub(super) fn products(&self) -> impl Iterator<Item = (&Product, usize)> {
        let mut apart = 0;
        let hidden = self.hidden;
        self.plan.products.iter().map(move |product| {
            let column = if product.keep_separate { apart } else { product.gates.start.saturating_mul(hidden) };
            let own = if product.keep_separate { product.gates.len().saturating_mul(hidden) } else { 0 };
            apart = apart.saturating_add(own);
            (product, column)
        })
    }

    /// Returns the products with U that run just before `stage`. Each has the column at which its result begins in a
    /// row of u (if it is kept separate) or z, and its packed factor: `U_gᵀ` \[hidden, outputs\], or if `backward`
    /// `U_g` \[outputs, hidden\]. `packed` holds the packed factors of all products, in order.
    pub(super) fn packed_of_stage<'a, T: Scalar>(
        &'a self,
        stage: usize,
        packed: &'a [T],
        backward: bool,
    ) -> impl Iterator<Item = (&'a Product, usize, PackedB<'a, T>)> {
        let mut offset = 0;
        self.products().filter_map(move |(product, column)| {
            let outputs = product.gates.len() * self.hidden;
            let [columns, inner] = if backward { [self.hidden, outputs] } else { [outputs, self.hidden] };
            let own = &packed[offset..];
            offset += packed_b_len::<T>(columns, inner);
            (product.stage == stage).then(|| (product, column, PackedB::packed(own, columns, inner)))
        })
    }

    /// Returns the number of parts into which `batch` samples are divided for `steps` time steps: one per thread, or
    /// 1 if the work is too little for threads. Each thread keeps the state of its part in its cache and reads U
    /// once per step. If a monitor is active (`watched`) there is one part: a monitor receives whole slices, on its
    /// own thread.
    pub(super) fn parts(&self, batch: usize, steps: usize, watched: bool) -> usize {
        // A product does about 50 multiplications per nanosecond; an activation takes about 4 nanoseconds.
        let nanoseconds = saturating_product(&[steps, batch, self.sizes().z, self.hidden / 50 + 4]);
        if watched { 1 } else { part_count(batch.div_ceil(GRAIN), nanoseconds, 1) }
    }

    /// Returns the number of parts into which the rows of W and U are divided among threads for their gradient over
    /// `rows` rows of a pass. Each part packs its own columns of dL/dz, which lie in the caches of all threads.
    pub(super) fn gradient_parts(&self, rows: usize) -> usize {
        let gates = self.sizes().z;
        let multiplications = rows.saturating_mul(gates).saturating_mul(self.inputs.saturating_add(self.hidden));
        part_count(gates.div_ceil(MR), multiplications / MULTIPLICATIONS_PER_NANOSECOND, 1)
    }

    /// Returns the length, in values, of the scratch for the products dW and dU over `rows` rows of a pass, divided
    /// into `parts` parts. It is enough for fewer parts and fewer rows, too.
    pub(super) fn gradient_scratch<T: Scalar>(&self, rows: usize, parts: usize) -> usize {
        let (gates, inputs) = (self.sizes().z, self.inputs.max(self.hidden));
        let others = (parts - 1).saturating_mul(gemm_tn_scratch_len::<T>([MR, inputs, rows]));
        gemm_tn_scratch_len::<T>([gates, inputs, rows]).saturating_add(others)
    }
}
