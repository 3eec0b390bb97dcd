//! The layer that unrolls a cell over time: backpropagation through time.

use super::{
    cell::Cell,
    plan::{Plan, Unrolled},
};
use crate::{
    batch_shape::BatchShape,
    block::Block,
    error::Error,
    initializer::{ByGate, Constant, Glorot, Initializer, InitializerKind, Orthogonal, Zeros},
    layer::{Backward, Dims, Forward, Hints, Layer, LayerSpec, MemorySizes, Mode, Recorded, Segment, Structure},
    scalar::Scalar,
};
use alloc::vec::Vec;
use rand_core::Rng;

/// A cell unrolled over time: it owns W, U and the biases, and its output is the hidden state of each step.
///
/// The input projection of all steps is one matrix product, and so are dW and dU; only the products with
/// the state run step by step. Backward is the sum over time of the immediate gradients:
/// `dL/dθ = Σ_t ∂⁺h_t/∂θ · dL/dh_t` (Pascanu, Mikolov & Bengio 2013, eq. 3–5).
///
/// By default W is initialized by [`Glorot::uniform`], U orthogonal gate by gate, and the biases with zeros, except for
/// ones of a forget gate (Jozefowicz et al. 2015).
///
/// # Shapes
/// x: \[rows, inputs\]; y: \[rows, hidden\]; state: h \[batch, hidden\], then the rest of the state, \[batch,
/// cell_state · hidden\]. Blocks `weight` \[gates · hidden, inputs\], `recurrent` \[gates · hidden, hidden\], `bias`
/// \[gates · hidden, 1\], and `recurrent_bias` for products that are kept apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Recurrent<C> {
    cell: C,
    unrolled: Unrolled,
}

impl<C: Cell> Recurrent<C> {
    /// `cell` with `hidden` units, reading rows of `inputs` values.
    ///
    /// A cell that breaks a rule of its contract is refused where the layer becomes part of a network, and by
    /// [`Workspace::new`](crate::workspace::Workspace::new); until then the layer describes itself as one without
    /// gates.
    pub fn new(inputs: usize, hidden: usize, cell: C) -> Self {
        let bias = ByGate::new(Zeros).gate("forget", Constant(1.0));
        Self::from_parts(
            [inputs, hidden],
            cell,
            Glorot::uniform().kind(),
            Orthogonal::default().kind(),
            Some(bias.kind()),
        )
    }

    /// Sets the initializer of W.
    #[must_use]
    pub fn weights(self, initializer: impl Initializer + 'static) -> Self {
        self.with(|layer| layer.weights = initializer.kind())
    }

    /// Sets the initializer of U.
    #[must_use]
    pub fn recurrent(self, initializer: impl Initializer + 'static) -> Self {
        self.with(|layer| layer.recurrent = initializer.kind())
    }

    /// Sets the initializer of the biases.
    #[must_use]
    pub fn bias(self, initializer: impl Initializer + 'static) -> Self {
        self.with(|layer| layer.bias = Some(initializer.kind()))
    }

    /// Leaves the biases out.
    #[must_use]
    pub fn without_bias(self) -> Self {
        self.with(|layer| layer.bias = None)
    }

    pub(crate) fn from_parts(
        [inputs, hidden]: [usize; 2],
        cell: C,
        weights: InitializerKind,
        recurrent: InitializerKind,
        bias: Option<InitializerKind>,
    ) -> Self {
        Recurrent { unrolled: Unrolled { plan: Plan::of(&cell), inputs, hidden, weights, recurrent, bias }, cell }
    }

    fn with(mut self, change: impl FnOnce(&mut Unrolled)) -> Self {
        change(&mut self.unrolled);
        self
    }
}

impl<T: Scalar, C: Cell> Layer<T> for Recurrent<C> {
    fn dims(&self) -> Dims {
        self.unrolled.dims()
    }

    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        self.unrolled.memory::<T>(shape, mode)
    }

    fn hints(&self) -> Hints {
        Hints::NONE.accepts_short_dy()
    }

    fn initialize(&self, w: &mut [T], rng: &mut dyn Rng) -> Result<(), Error> {
        self.unrolled.initialize(w, rng)
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        self.unrolled.blocks(visit);
    }

    /// The structure of a leaf, with the rule that its cell breaks, if any.
    fn structure(&self) -> Structure<'_, T> {
        let leaf = Structure::LEAF.links(&["", "input", "injection", "activation", "recurrent"]);
        let broken = self.unrolled.plan.broken.clone();
        leaf.recorded(broken.map_or(Recorded::No, |rule| Recorded::Checked(Err(rule))))
    }

    /// `√(‖A‖₁ ‖A‖_∞)` of the matrix A of bounds on the Jacobians from step to step.
    fn gain_bound(&self, w: &[T], shape: BatchShape<'_>) -> Option<f64> {
        self.unrolled.gain_bound(&self.cell, w, shape)
    }

    fn state_gain_bounds(&self, w: &[T], shape: BatchShape<'_>) -> Option<Vec<f64>> {
        self.unrolled.state_gain_bounds(&self.cell, w, shape)
    }

    fn spec(&self) -> LayerSpec {
        let Unrolled { inputs, hidden, weights, recurrent, bias, .. } = self.unrolled.clone();
        LayerSpec::Recurrent { cell: self.cell.kind(), inputs, hidden, weights, recurrent, bias }
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        self.unrolled.forward(&self.cell, w, pass);
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        self.unrolled.backward(&self.cell, Layer::<T>::hints(self), w, None, pass);
    }

    fn segment_rows(&self) -> Option<usize> {
        Some(self.unrolled.rows_together::<T>())
    }

    fn backward_segment(&self, w: &[T], segment: Segment<'_, T>, pass: Backward<'_, T>) {
        self.unrolled.backward(&self.cell, Layer::<T>::hints(self), w, Some(segment), pass);
    }
}
