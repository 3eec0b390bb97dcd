//! The affine map `y = W x + b`: the factor `Wᵀ` of the chain rule.

use super::{
    AddsByShard, Backward, Context, Dims, Forward, Hints, InPlaceStep, Layer, LayerSpec, MemorySizes, Mode,
    PassLengths, Shards, backward_and_update,
    list::{Fact, Kind, ListedLayer, fact},
};
use crate::{
    batch_shape::BatchShape,
    block::{Block, Role},
    error::Error,
    initializer::{Glorot, Initializer, InitializerKind, Zeros, fill_gates},
    kernel::{
        elementwise::descend,
        gemm::{
            Epilogue, Matrix, fits_registers, gemm_nn, gemm_nt, gemm_tn, gemm_tn_least_scratch, gemm_tn_of_shards,
            gemm_tn_scratch_len, packed_b_len,
        },
        sums::add_column_sums,
    },
    linalg::spectral_norm_bound,
    monitor::Factor,
    scalar::Scalar,
};
use alloc::{vec, vec::Vec};
use rand_core::Rng;

/// The affine map `y = W x + b`.
///
/// Backward: `dx = Wᵀ dy`, `dW = Σ dy xᵀ`, `db = Σ dy` over rows.
///
/// By default weights are initialized by [`Glorot::uniform`] and biases are zero.
///
/// ```
/// use chainrule::{initializer::{Constant, Orthogonal}, layer::{Linear, Sequential}};
/// let layer = Linear::new(4, 2).weights(Orthogonal { gain: 1.0 }).bias(Constant(0.1));
/// let network = Sequential::<f32>::input(4).layer(layer).build()?; // `.linear(2)` for the defaults
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Shapes
/// x: \[rows, inputs\]; y: \[rows, outputs\]; blocks `weight` \[outputs, inputs\] and `bias` \[outputs, 1\].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Linear {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) weights: InitializerKind,
    pub(crate) bias: Option<InitializerKind>,
}

impl Linear {
    /// Creates a map from `inputs` to `outputs` values. Weights are initialized by [`Glorot::uniform`]; biases are
    /// zero.
    pub fn new(inputs: usize, outputs: usize) -> Self {
        Linear { inputs, outputs, weights: Glorot::uniform().kind(), bias: Some(Zeros.kind()) }
    }

    /// Sets the initializer of the weights W.
    #[must_use]
    pub fn weights(self, initializer: impl Initializer + 'static) -> Self {
        Linear { weights: initializer.kind(), ..self }
    }

    /// Sets the initializer of the bias b.
    #[must_use]
    pub fn bias(self, initializer: impl Initializer + 'static) -> Self {
        Linear { bias: Some(initializer.kind()), ..self }
    }

    /// Removes the bias b: `y = W x`.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Linear { bias: None, ..self }
    }

    /// Returns the number of weights, the values of W.
    fn entries(&self) -> usize {
        self.inputs.saturating_mul(self.outputs)
    }

    /// Returns the number of parameters: the weights W, and the bias b if there is one.
    fn parameters(&self) -> usize {
        self.entries().saturating_add(if self.bias.is_some() { self.outputs } else { 0 })
    }

    /// Returns the lengths that the slices must have in a pass over `shape` that needs `scratch` values of scratch
    /// memory.
    #[inline(always)]
    fn lengths<T: Scalar>(&self, shape: &BatchShape<'_>, scratch: usize) -> PassLengths {
        PassLengths::new("Linear", Layer::<T>::dims(self), shape, shape).memory(MemorySizes::new(0, scratch, 0), 1)
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    fn check_forward_slices<T: Scalar>(&self, w: &[T], pass: &Forward<'_, T>, scratch: usize) {
        self.lengths::<T>(&pass.ctx.shape, scratch).forward(w, pass);
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    fn check_backward_slices<T: Scalar>(&self, w: &[T], pass: &Backward<'_, T>, scratch: usize) {
        self.lengths::<T>(&pass.ctx.shape, scratch).backward(|| Layer::<T>::hints(self), w, pass);
    }

    #[inline(always)]
    fn check_backward<T: Scalar>(&self, w: &[T], pass: &Backward<'_, T>, rows: usize) {
        // The gradient of one row needs no scratch.
        let scratch = match (rows, &pass.dx) {
            (1, None) => 0,
            (1, Some(_)) => packed_b_len::<T>(self.inputs, self.outputs),
            (rows, _) => self.least_scratch::<T>(rows),
        };
        if !pass.is_cut(scratch) {
            self.check_backward_slices(w, pass, scratch);
        }
    }

    /// Returns the number of values of scratch that a backward pass over `rows` rows, at least 2, needs on one thread.
    #[inline(never)]
    fn least_scratch<T: Scalar>(&self, rows: usize) -> usize {
        let gradient = gemm_tn_least_scratch::<T>([self.outputs, self.inputs, rows]);
        packed_b_len::<T>(self.inputs, self.outputs).max(gradient)
    }

    /// Adds `dyᵀ x`, the gradient of the weights W, to `c`. By `epilogue` it may instead overwrite `c`, or add the
    /// product times a factor. The sum is over all rows or, in a pass with shards (ranges of samples with a sum of
    /// their own), shard by shard.
    #[inline(always)]
    fn add_products<T: Scalar>(
        &self,
        [dy, x]: [&[T]; 2],
        c: &mut [T],
        epilogue: Epilogue<'_, T>,
        scratch: &mut [T],
        ctx: &mut Context<'_, T>,
    ) {
        let (rows, [dy, x]) = (ctx.shape.rows(), [Matrix::new(dy, self.outputs), Matrix::new(x, self.inputs)]);
        match ctx.shards() {
            None => gemm_tn(dy, x, [self.outputs, self.inputs, rows], c, epilogue, scratch),
            Some(shards) => self.add_products_of_shards(shards, [dy, x], c, epilogue, scratch),
        }
    }

    #[cold]
    #[inline(never)]
    fn add_products_of_shards<T: Scalar>(
        &self,
        shards: &mut Shards<T>,
        [dy, x]: [Matrix<'_, T>; 2],
        c: &mut [T],
        epilogue: Epilogue<'_, T>,
        scratch: &mut [T],
    ) {
        let size = [self.outputs, self.inputs];
        shards.sum(
            c,
            |subtree| fits_registers(subtree.ends.len(), subtree.samples().len()),
            |subtree, c, is_new| {
                let epilogue = if is_new { Epilogue::Overwrite } else { epilogue };
                gemm_tn_of_shards([dy, x], size, (subtree.first, subtree.ends), c, epilogue, scratch);
            },
        );
    }

    /// Adds `Σ dy` over all rows, the gradient of the bias, to `sums`. In a pass with shards (ranges of samples), each
    /// shard's rows are added to the sum of that shard, for which [`Context::add_by_shard`] has the memory.
    fn add_bias_sums<T: Scalar>(&self, dy: &[T], sums: &mut [T], ctx: &mut Context<'_, T>) {
        let outputs = self.outputs;
        ctx.add_by_shard(sums, |rows, sums| {
            add_column_sums(&dy[rows.start * outputs..rows.end * outputs], outputs, sums);
        });
    }

    /// Overwrites `dx` with `Wᵀ dy` for each of the `rows` rows, with `weight` as W.
    #[inline(always)]
    fn input_gradient<T: Scalar>(&self, weight: &[T], dy: &[T], dx: &mut [T], scratch: &mut [T], rows: usize) {
        gemm_nn(Matrix::new(dy, self.outputs), weight, [rows, self.outputs, self.inputs], dx, scratch);
    }
}

impl ListedLayer for Linear {
    fn facts(&self) -> Vec<Fact> {
        vec![fact("inputs", self.inputs), fact("outputs", self.outputs), fact("bias", self.bias.is_some())]
    }

    fn kinds_mut(&mut self) -> Vec<Kind<'_>> {
        let initializers = [&mut self.weights].into_iter().chain(&mut self.bias);
        initializers.map(Kind::Initializer).collect()
    }
}

impl<T: Scalar> Layer<T> for Linear {
    crate::layer::own_box!(Linear);

    fn dims(&self) -> Dims {
        Dims::new(self.inputs, self.outputs, self.parameters())
    }

    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        let forward = packed_b_len::<T>(self.outputs, self.inputs);
        let gradient = gemm_tn_scratch_len::<T>([self.outputs, self.inputs, shape.rows()]);
        let backward = packed_b_len::<T>(self.inputs, self.outputs).max(gradient);
        MemorySizes::new(0, if mode.saves() { forward.max(backward) } else { forward }, 0)
    }

    fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
        let (weight, bias) = w.split_at_mut(self.entries());
        fill_gates(&self.weights, self.outputs, self.inputs, Role::Weight, &[], rng, weight)?;
        match &self.bias {
            Some(initializer) => fill_gates(initializer, self.outputs, 1, Role::Bias, &[], rng, bias),
            None => Ok(()),
        }
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        visit(Block::new("weight", 0, [self.outputs, self.inputs], Role::Weight));
        if self.bias.is_some() {
            visit(Block::new("bias", self.entries(), [self.outputs, 1], Role::Bias));
        }
    }

    fn hints(&self) -> Hints {
        Hints::NONE.ignores_y().saved_per_row().overwrites_dw()
    }

    /// Returns an upper bound on `‖W‖₂`, since `∂y/∂x = W`.
    fn gain_bound(&self, w: &[T], _shape: BatchShape<'_>) -> Option<f64> {
        Some(spectral_norm_bound(w, self.outputs, self.inputs))
    }

    fn adds_by_shard(&self, shape: BatchShape<'_>) -> AddsByShard {
        AddsByShard(shape.steps == 1)
    }

    fn spec(&self) -> LayerSpec {
        LayerSpec::Linear(self.clone())
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        let scratch = packed_b_len::<T>(self.outputs, self.inputs);
        if !pass.is_cut(scratch) {
            self.check_forward_slices(w, &pass, scratch);
        }
        let (weight, bias) = w.split_at(self.entries());
        let epilogue = if self.bias.is_some() { Epilogue::Bias(bias) } else { Epilogue::Overwrite };
        let x = Matrix::new(pass.x, self.inputs);
        gemm_nt(x, weight, [pass.ctx.shape.rows(), self.outputs, self.inputs], pass.y, epilogue, pass.scratch);
        pass.ctx.report_forward(Factor::Weights, pass.x, pass.y);
    }

    fn backward(&self, w: &[T], mut pass: Backward<'_, T>) {
        self.check_backward(w, &pass, pass.ctx.shape.rows());
        let (d_weight, d_bias) = pass.dw.split_at_mut(self.entries());
        if pass.trainable.block(0) {
            let epilogue = if pass.overwrite_dw { Epilogue::Overwrite } else { Epilogue::Accumulate };
            self.add_products([pass.dy, pass.x], d_weight, epilogue, pass.scratch, &mut pass.ctx);
        }
        if pass.trainable.block(1) {
            if pass.overwrite_dw {
                d_bias.fill(T::zero());
            }
            self.add_bias_sums(pass.dy, d_bias, &mut pass.ctx);
        }
        if let Some(dx) = pass.dx {
            self.input_gradient(&w[..self.entries()], pass.dy, dx, pass.scratch, pass.ctx.shape.rows());
            pass.ctx.report_backward(Factor::Weights, pass.dy, dx);
        }
    }

    /// Updates the weights by plain gradient descent without storing their gradient, if the rows are so few that the
    /// product `dyᵀ x` sums them in one block: computes `dx`, then adds `−rate · dyᵀ x` to the weights. In every
    /// other case it runs [`backward`](Layer::backward), then the update.
    fn backward_in_place(&self, w: &mut [T], step: InPlaceStep<'_, T>, mut pass: Backward<'_, T>) {
        let rows = pass.ctx.shape.rows();
        // With more rows the product is summed block by block, and the update needs the sum of all blocks.
        let shards = pass.ctx.shards().map_or(1, |shards| shards.len());
        let Some(rate) = step.plain_rate().filter(|_| fits_registers(shards, rows)) else {
            return backward_and_update(self, w, step, pass);
        };
        self.check_backward(w, &pass, rows);
        // The context is used in place: a copy would load values in wider words than they were stored, which is
        // slow.
        let Backward { x, dy, dx, dw, scratch, ref mut ctx, .. } = pass;
        let (weight, bias) = w.split_at_mut(self.entries());
        if let Some(dx) = dx {
            self.input_gradient(weight, dy, dx, scratch, rows);
            if ctx.monitor.is_active() {
                ctx.part(0).report_backward(Factor::Weights, dy, dx);
            }
        }
        self.add_products([dy, x], weight, Epilogue::AddScaled(-rate), scratch, ctx);
        if rows == 1 {
            // The bias is too short for a vectorized kernel to pay off.
            return bias.iter_mut().zip(dy).for_each(|(b, &g)| *b += -rate * g);
        }
        let (_, sums) = dw.split_at_mut(self.entries());
        sums.fill(T::zero());
        self.add_bias_sums(dy, sums, ctx);
        descend(bias, rate, sums);
    }
}
