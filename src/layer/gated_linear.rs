//! A linear map times a gate of the same input.

use super::{
    Backward, Dims, Forward, Hints, Layer, LayerSpec, MemorySizes, Mode, PassLengths, Structure,
    list::{Fact, Kind, ListedLayer, fact},
};
use crate::{
    activation::{Activation, ActivationKind, ActivationVisitor},
    batch_shape::BatchShape,
    block::{Block, Gate, Role},
    error::Error,
    initializer::{Glorot, Initializer, InitializerKind, Zeros, fill_gates},
    kernel::{
        Kernel, dispatch,
        fused::{fused, fused_mut, fuses},
        gemm::{Epilogue, Matrix, gemm_nn, gemm_nt, gemm_tn, gemm_tn_least_scratch, gemm_tn_scratch_len, packed_b_len},
        sums::add_column_sums,
    },
    monitor::Factor,
    scalar::Scalar,
    size::{saturating_product, saturating_sum},
};
use alloc::vec::Vec;
use rand_core::Rng;

/// A linear map times a gate of the same input: `y = a ⊙ φ(g)`, `a = W₁ x + b₁`, `g = W₂ x + b₂`.
///
/// Backward: `da = φ(g) ⊙ dy`, `dg = a ⊙ φ′(g) ⊙ dy`, `dx = W₁ᵀ da + W₂ᵀ dg`. With φ the sigmoid it
/// is GLU, with Swish SwiGLU, with Gelu GeGLU. Both maps are one product: their rows are stacked, `value` before
/// `gate`, and initialized separately. Source: Dauphin et al. 2017; Shazeer 2020.
///
/// ```
/// use chainrule::{BatchShape, activation::Sigmoid, layer::GatedLinear, workspace::Workspace};
/// let mut workspace = Workspace::new(GatedLinear::new(1, 1, Sigmoid).without_bias(), BatchShape::batch(1))?;
/// // y = 2 x σ(0 x): weights of the value, then of the gate.
/// assert_eq!(workspace.infer(&[2.0, 0.0], &[3.0], BatchShape::batch(1))?, [6.0 * 0.5]);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Shapes
/// x: \[rows, inputs\]; y: \[rows, outputs\]; blocks `weight` \[2 · outputs, inputs\] and `bias` \[2 · outputs, 1\],
/// each with the gates `value` and `gate`.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GatedLinear {
    inputs: usize,
    outputs: usize,
    pub(crate) activation: ActivationKind,
    pub(crate) weights: InitializerKind,
    pub(crate) bias: Option<InitializerKind>,
}

/// The two maps whose rows are stacked in each parameter block, in order.
const GATES: &[Gate] = &[Gate::new("value"), Gate::new("gate")];
/// The index, within the layer, of the link (factor of the chain rule) from the pre-activations to the output.
const GATING: usize = 1;

impl GatedLinear {
    /// Creates a map from `inputs` to `outputs` values whose gate is `activation` of a second map, both with biases.
    /// Weights are initialized by [`Glorot::uniform`]; biases are zero.
    pub fn new(inputs: usize, outputs: usize, activation: impl Activation) -> Self {
        let (weights, bias) = (Glorot::uniform().kind(), Some(Zeros.kind()));
        GatedLinear { inputs, outputs, activation: activation.kind(), weights, bias }
    }

    /// Sets the initializer of the weights W₁ of the values and W₂ of the gate.
    #[must_use]
    pub fn weights(self, initializer: impl Initializer + 'static) -> Self {
        GatedLinear { weights: initializer.kind(), ..self }
    }

    /// Sets the initializer of the biases b₁ of the values and b₂ of the gate.
    #[must_use]
    pub fn bias(self, initializer: impl Initializer + 'static) -> Self {
        GatedLinear { bias: Some(initializer.kind()), ..self }
    }

    /// Removes the biases b₁ of the values and b₂ of the gate.
    #[must_use]
    pub fn without_bias(self) -> Self {
        GatedLinear { bias: None, ..self }
    }

    /// Returns the number of pre-activations per row: those of the values a and of the gate g.
    fn stacked(&self) -> usize {
        self.outputs.saturating_mul(2)
    }

    /// Returns the number of weights: those of W₁ and W₂ together.
    fn entries(&self) -> usize {
        saturating_product(&[2, self.inputs, self.outputs])
    }

    /// Returns the lengths that the slices of a pass over `shape` must have. `saves` states whether the pre-activations
    /// are saved; otherwise they are part of the scratch, in addition to `scratch` values.
    #[inline(always)]
    fn lengths<T: Scalar>(&self, shape: &BatchShape<'_>, saves: bool, scratch: usize) -> PassLengths {
        let z = shape.rows().saturating_mul(self.stacked());
        let (saved, z) = if saves { (z, 0) } else { (0, z) };
        let memory = MemorySizes::new(saved, scratch.saturating_add(z), 0);
        PassLengths::new("GatedLinear", Layer::<T>::dims(self), shape, shape).memory(memory, 1)
    }

    fn with_activation<V: ActivationVisitor>(&self, visitor: V) -> V::Output {
        if matches!(self.activation, ActivationKind::Custom(_)) {
            return visitor.visit(self.activation.clone());
        }
        self.activation.visit(visitor).unwrap_or_else(|| unreachable!("each activation but a custom one is known"))
    }
}

/// Computes `y = a ⊙ φ(g)` for all rows, where z = (a, g) are the pre-activations of a row and φ is the activation.
struct ForwardGate<'a, T> {
    outputs: usize,
    z: &'a [T],
    y: &'a mut [T],
}

/// Replaces the pre-activations z = (a, g) of all rows by the gradient with respect to them, given `dy`, the
/// gradient with respect to `y = a ⊙ φ(g)`.
struct BackwardGate<'a, T> {
    outputs: usize,
    z: &'a mut [T],
    dy: &'a [T],
}

/// A kernel: the loop over rows `L`, [`ForwardGate`] or [`BackwardGate`], with an activation of the known type `A`.
struct WithActivation<L, A>(L, A);

impl<T: Scalar> ActivationVisitor for ForwardGate<'_, T> {
    type Output = ();
    fn visit(self, activation: impl Activation) {
        dispatch(WithActivation(self, activation));
    }
}

impl<T: Scalar> ActivationVisitor for BackwardGate<'_, T> {
    type Output = ();
    fn visit(self, activation: impl Activation) {
        dispatch(WithActivation(self, activation));
    }
}

impl<T: Scalar, A: Activation> Kernel for WithActivation<ForwardGate<'_, T>, A> {
    type Element = T;

    #[inline(always)]
    fn run<const LEVEL: u8>(self) {
        #[inline(always)]
        fn row<T: Scalar>(z: &[T], y: &mut [T], activation: &impl Activation) {
            let (a, g) = z.split_at(y.len());
            for ((y, &a), &g) in y.iter_mut().zip(a).zip(g) {
                *y = a * activation.value(g);
            }
        }
        let WithActivation(ForwardGate { outputs, z, y }, activation) = self;
        let outputs = outputs.max(1);
        for (z, y) in z.chunks_exact(outputs.saturating_mul(2)).zip(y.chunks_exact_mut(outputs)) {
            if fuses::<LEVEL, T>() {
                row(fused(z), fused_mut(y), &activation);
            } else {
                row(z, y, &activation);
            }
        }
    }
}

impl<T: Scalar, A: Activation> Kernel for WithActivation<BackwardGate<'_, T>, A> {
    type Element = T;

    #[inline(always)]
    fn run<const LEVEL: u8>(self) {
        #[inline(always)]
        fn row<T: Scalar>(z: &mut [T], dy: &[T], activation: &impl Activation) {
            let (a, g) = z.split_at_mut(dy.len());
            for ((a, g), &dy) in a.iter_mut().zip(g).zip(dy) {
                let gate = activation.value(*g);
                let slope = activation.derivative(*g, gate);
                (*a, *g) = (gate * dy, *a * slope * dy);
            }
        }
        let WithActivation(BackwardGate { outputs, z, dy }, activation) = self;
        let outputs = outputs.max(1);
        for (z, dy) in z.chunks_exact_mut(outputs.saturating_mul(2)).zip(dy.chunks_exact(outputs)) {
            if fuses::<LEVEL, T>() {
                row(fused_mut(z), fused(dy), &activation);
            } else {
                row(z, dy, &activation);
            }
        }
    }
}

impl ListedLayer for GatedLinear {
    fn facts(&self) -> Vec<Fact> {
        let widths = [fact("inputs", self.inputs), fact("outputs", self.outputs)];
        let parts = [("activation", self.activation.in_full()), fact("bias", self.bias.is_some())];
        [widths, parts].concat()
    }

    #[cfg(feature = "proptest")]
    fn examples(width: usize) -> Vec<Self> {
        use crate::activation::{Sigmoid, Swish};
        [GatedLinear::new(width, 3, Sigmoid), GatedLinear::new(width, 2, Swish::default()).without_bias()].into()
    }

    fn kinds_mut(&mut self) -> Vec<Kind<'_>> {
        let initializers = [&mut self.weights].into_iter().chain(&mut self.bias).map(Kind::Initializer);
        [Kind::Activation(&mut self.activation)].into_iter().chain(initializers).collect()
    }
}

impl<T: Scalar> Layer<T> for GatedLinear {
    crate::layer::own_box!(GatedLinear);

    fn dims(&self) -> Dims {
        let bias = if self.bias.is_some() { self.stacked() } else { 0 };
        Dims::new(self.inputs, self.outputs, self.entries().saturating_add(bias))
    }

    /// Saved: the pre-activations a of the values and g of the gate.
    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        let (stacked, rows) = (self.stacked(), shape.rows());
        let (z, forward) = (rows.saturating_mul(stacked), packed_b_len::<T>(stacked, self.inputs));
        if !mode.saves() {
            return MemorySizes::new(0, saturating_sum([z, forward]), 0);
        }
        let gradient = gemm_tn_scratch_len::<T>([stacked, self.inputs, rows]);
        let backward = packed_b_len::<T>(self.inputs, stacked).max(gradient);
        MemorySizes::new(z, forward.max(backward), 0)
    }

    fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
        let (weight, bias) = w.split_at_mut(self.entries());
        fill_gates(&self.weights, self.stacked(), self.inputs, Role::Weight, GATES, rng, weight)?;
        match &self.bias {
            Some(initializer) => fill_gates(initializer, self.stacked(), 1, Role::Bias, GATES, rng, bias),
            None => Ok(()),
        }
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        visit(Block::new("weight", 0, [self.stacked(), self.inputs], Role::Weight).gates(GATES));
        if self.bias.is_some() {
            visit(Block::new("bias", self.entries(), [self.stacked(), 1], Role::Bias).gates(GATES));
        }
    }

    fn structure(&self) -> Structure<'_, T> {
        Structure::LEAF.links(&["", "gating"])
    }

    fn hints(&self) -> Hints {
        Hints::NONE.ignores_y().saved_per_row().overwrites_dw()
    }

    fn spec(&self) -> LayerSpec {
        LayerSpec::GatedLinear(self.clone())
    }

    fn forward(&self, w: &[T], mut pass: Forward<'_, T>) {
        let scratch = packed_b_len::<T>(self.stacked(), self.inputs);
        self.lengths::<T>(&pass.ctx.shape, pass.ctx.mode.saves(), scratch).forward(w, &pass);
        let (weight, bias) = w.split_at(self.entries());
        let (rows, stacked) = (pass.ctx.shape.rows(), self.stacked());
        // STEP 1: z = W x + b, into the values that the backward pass reads.
        let (z, packed) = match pass.ctx.mode.saves() {
            true => (&mut *pass.saved, pass.scratch),
            false => pass.scratch.split_at_mut(rows.saturating_mul(stacked)),
        };
        let epilogue = if self.bias.is_some() { Epilogue::Bias(bias) } else { Epilogue::Overwrite };
        gemm_nt(Matrix::new(pass.x, self.inputs), weight, [rows, stacked, self.inputs], z, epilogue, packed);
        // STEP 2: y = a ⊙ φ(g).
        self.with_activation(ForwardGate { outputs: self.outputs, z, y: pass.y });
        pass.ctx.part(0).report_forward(Factor::Weights, pass.x, z);
        pass.ctx.part(GATING).report_forward(Factor::Other, z, pass.y);
    }

    fn backward(&self, w: &[T], mut pass: Backward<'_, T>) {
        let (rows, stacked) = (pass.ctx.shape.rows(), self.stacked());
        let gradient = gemm_tn_least_scratch::<T>([stacked, self.inputs, rows]);
        let scratch = packed_b_len::<T>(self.inputs, stacked).max(gradient);
        self.lengths::<T>(&pass.ctx.shape, true, scratch).backward(|| Layer::<T>::hints(self), w, &pass);
        let (d_weight, d_bias) = pass.dw.split_at_mut(self.entries());
        // STEP 1: dz = (φ(g) ⊙ dy, a ⊙ φ′(g) ⊙ dy), in place of z.
        let dz = &mut *pass.saved;
        self.with_activation(BackwardGate { outputs: self.outputs, z: dz, dy: pass.dy });
        pass.ctx.part(GATING).report_backward(Factor::Other, pass.dy, dz);
        // STEP 2: dW = dzᵀ x, db = Σ dz, dx = dz W.
        let d = Matrix::new(dz, stacked);
        if pass.trainable.block(0) {
            let epilogue = if pass.overwrite_dw { Epilogue::Overwrite } else { Epilogue::Accumulate };
            let x = Matrix::new(pass.x, self.inputs);
            gemm_tn(d, x, [stacked, self.inputs, rows], d_weight, epilogue, pass.scratch);
        }
        if pass.trainable.block(1) {
            if pass.overwrite_dw {
                d_bias.fill(T::zero());
            }
            add_column_sums(dz, stacked, d_bias);
        }
        let Some(dx) = pass.dx else { return };
        gemm_nn(d, &w[..self.entries()], [rows, stacked, self.inputs], dx, pass.scratch);
        pass.ctx.report_backward(Factor::Weights, dz, dx);
    }
}
