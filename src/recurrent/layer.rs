//! The layer that unrolls a cell over time: backpropagation through time.

use super::plan::{Plan, Unrolled};
use crate::{
    batch_shape::BatchShape,
    block::Block,
    cell::{Cell, StateNoise},
    error::{Error, require},
    initializer::{ByGate, Constant, Glorot, Initializer, InitializerKind, Orthogonal, Zeros},
    layer::{
        AddsByShard, Backward, Dims, Forward, Hints, InSegments, Layer, LayerSpec, MemorySizes, Mode, Recorded,
        Segment, SegmentPass, Structure,
    },
    scalar::Scalar,
};
use alloc::{boxed::Box, vec::Vec};
use rand_core::Rng;

/// A cell unrolled over time: it owns W, U and the biases, and its output is the hidden state of each time step.
///
/// The input projection of all time steps is one matrix product, and so are dW and dU; only the products with the
/// state run step by step. The gradient of a parameter θ is a sum over time: `dL/dθ = Σ_t ∂⁺h_t/∂θ · dL/dh_t`, where
/// ∂⁺ holds h_{t−1} constant (Pascanu, Mikolov & Bengio 2013, eq. 3–5).
///
/// By default W is initialized by [`Glorot::uniform`], U orthogonal gate by gate, and the biases with zeros, except for
/// ones of a forget gate (Jozefowicz et al. 2015).
///
/// ```
/// use chainrule::{activation::Tanh, layer::Sequential, recurrent::{Elman, Gru, Recurrent}};
/// let layer = Recurrent::new(3, 8, Elman::new(Tanh)).without_bias();
/// let network = Sequential::<f32>::input(3).layer(layer).recurrent(8, Gru::new()).last_step().linear(1).build()?;
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Shapes
/// x: \[rows, inputs\]; y: \[rows, hidden\]; state: h \[batch, hidden\], then the rest of the state, \[batch,
/// cell_state · hidden\]. Blocks `weight` \[gates · hidden, inputs\], `recurrent` \[gates · hidden, hidden\], `bias`
/// \[gates · hidden, 1\], and `recurrent_bias` for products with [`keep_separate`](super::Product::keep_separate).
#[derive(Clone, Debug, PartialEq)]
pub struct Recurrent<C> {
    cell: C,
    unrolled: Unrolled,
}

impl<C: Cell> Recurrent<C> {
    /// Creates a layer that unrolls `cell` with `hidden` units over rows of `inputs` values.
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
            StateNoise::default(),
        )
    }

    /// Sets the initializer of W, the input weights.
    #[must_use]
    pub fn weights(self, initializer: impl Initializer + 'static) -> Self {
        self.with(|layer| layer.weights = initializer.kind())
    }

    /// Sets the initializer of U, the recurrent weights.
    #[must_use]
    pub fn recurrent(self, initializer: impl Initializer + 'static) -> Self {
        self.with(|layer| layer.recurrent = initializer.kind())
    }

    /// Sets the initializer of all biases, including those of products with
    /// [`keep_separate`](super::Product::keep_separate).
    #[must_use]
    pub fn bias(self, initializer: impl Initializer + 'static) -> Self {
        self.with(|layer| layer.bias = Some(initializer.kind()))
    }

    /// Removes all biases, including those of products with [`keep_separate`](super::Product::keep_separate).
    #[must_use]
    pub fn without_bias(self) -> Self {
        self.with(|layer| layer.bias = None)
    }

    /// Sets the rate of recurrent dropout: in training each product with U reads `m ⊙ h_{t−1}` in place of
    /// `h_{t−1}`. The mask m is 0 with probability `rate`, otherwise `1/(1 − rate)`, and the same for all time steps
    /// of a sample in a pass. In truncated backpropagation each window of steps has a mask of its own.
    ///
    /// Source: Gal & Ghahramani 2016, §4, with one mask for all gates (tied weights). The mask acts on the products
    /// alone, so it works for every [`Cell`]. Paths without weights are not masked: the c of an LSTM, and
    /// `z ⊙ h_{t−1}` of a GRU. Semeniuta et al. 2016 mask the candidate instead, which a plain cell does not have.
    /// For a GRU with the reset gate before the product, U reads `m ⊙ r ⊙ h_{t−1}`. For dropout of x, as in the
    /// paper, put a [`Dropout`](crate::layer::Dropout) layer with [`locked`](crate::layer::Dropout::locked) masks
    /// before this one.
    ///
    /// Masks are keyed like those of [`Dropout`](crate::layer::Dropout): by seed, training step, layer and sample.
    /// The backward pass and segments of [`Checkpointed`](super::Checkpointed) draw the same masks; threads and the
    /// division of a batch change no bit. The bounds of a [`Certificate`](crate::theory::Certificate) hold for every
    /// mask: U enters them times `1/(1 − rate)`. The module [`theory`](crate::theory) predicts the gradients of such
    /// a layer from samples that draw masks.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless 0 ≤ `rate` < 1.
    pub fn recurrent_dropout(mut self, rate: f64) -> Result<Self, Error> {
        self.unrolled.noise.dropout = rate;
        self.unrolled.noise.check().map(|()| self)
    }

    /// Sets the rates of zoneout, `hidden` for h and `cell` for the cell state: in training a unit keeps its previous
    /// value with the given probability, drawn for each unit of each time step. Outside training the new value is
    /// the expectation.
    ///
    /// `h_t = d ⊙ h_{t−1} + (1 − d) ⊙ h̃_t`, where `h̃_t` is the state that the cell computes from the previous state.
    /// The cell state has the same equation with a mask of its own; d is 1 or 0 in training, otherwise the rate.
    /// Masks are keyed like those of [`recurrent_dropout`](Self::recurrent_dropout), and by the time step. A
    /// [`Certificate`](crate::theory::Certificate) uses the bounds of the cell; from state to state it uses
    /// `√(1 + ‖J‖²)`, with `J = ∂h̃_t/∂h_{t−1}`, and the same for the cell state.
    ///
    /// Source: Krueger et al. 2017, §3.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless 0 ≤ rate < 1 for both, and `cell` is 0 for a cell without cell state.
    pub fn zoneout(mut self, hidden: f64, cell: f64) -> Result<Self, Error> {
        let is_read = cell == 0.0 || self.unrolled.plan.sizes.cell_state > 0;
        require(is_read, "zoneout of the cell", "0 for a cell without cell state", cell)?;
        (self.unrolled.noise.zoneout_hidden, self.unrolled.noise.zoneout_cell) = (hidden, cell);
        self.unrolled.noise.check().map(|()| self)
    }

    pub(crate) fn from_parts(
        [inputs, hidden]: [usize; 2],
        cell: C,
        weights: InitializerKind,
        recurrent: InitializerKind,
        bias: Option<InitializerKind>,
        noise: StateNoise,
    ) -> Self {
        Recurrent {
            unrolled: Unrolled { plan: Plan::of(&cell), inputs, hidden, weights, recurrent, bias, noise },
            cell,
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Unrolled)) -> Self {
        change(&mut self.unrolled);
        self
    }
}

impl<T: Scalar, C: Cell> Layer<T> for Recurrent<C> {
    fn boxed(self) -> Box<dyn Layer<T>> {
        C::boxed_layer(self)
    }

    fn dims(&self) -> Dims {
        self.unrolled.dims()
    }

    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        self.unrolled.memory::<T>(shape, mode, self.unrolled.sum_buffer::<T>(shape))
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

    /// Returns the structure of a layer without parts. If the cell breaks a rule of [`Cell`], the structure holds
    /// this rule.
    fn structure(&self) -> Structure<'_, T> {
        let leaf = Structure::LEAF.links(&["", "input", "addition", "activation", "recurrent"]);
        let broken = self.unrolled.plan.broken.clone();
        leaf.recorded(broken.map_or(Recorded::No, |rule| Recorded::Checked(Err(rule))))
    }

    /// Returns `√(‖A‖₁ ‖A‖_∞)`, where `A_tk` is a bound on `‖∂h_t/∂x_k‖₂`, from the input of
    /// time step k to the output of time step t. `None` if the cell states no bounds, `w` is too short, or there are
    /// too many steps for a table of bounds.
    fn gain_bound(&self, w: &[T], shape: BatchShape<'_>) -> Option<f64> {
        self.unrolled.gain_bound(&self.cell, w, shape)
    }

    fn state_gain_bounds(&self, w: &[T], shape: BatchShape<'_>) -> Option<Vec<f64>> {
        self.unrolled.state_gain_bounds(&self.cell, w, shape)
    }

    fn adds_by_shard(&self, shape: BatchShape<'_>) -> AddsByShard {
        AddsByShard(shape.lengths.is_none())
    }

    fn spec(&self) -> LayerSpec {
        let Unrolled { inputs, hidden, weights, recurrent, bias, noise, .. } = self.unrolled.clone();
        LayerSpec::Recurrent { cell: self.cell.kind(), inputs, hidden, weights, recurrent, bias, noise }
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        self.unrolled.forward(&self.cell, w, pass);
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        self.unrolled.backward(&self.cell, Layer::<T>::hints(self), w, None, pass);
    }

    fn in_segments(&self) -> Option<InSegments<'_, T>> {
        Some(InSegments(self))
    }
}

impl<T: Scalar, C: Cell> SegmentPass<T> for Recurrent<C> {
    fn block_rows(&self) -> usize {
        self.unrolled.rows_together::<T>()
    }

    fn scratch(&self, shape: BatchShape<'_>, mode: Mode) -> usize {
        self.unrolled.memory::<T>(shape, mode, 0).scratch
    }

    fn backward_segment(&self, w: &[T], segment: Segment<'_, T>, pass: Backward<'_, T>) {
        self.unrolled.backward(&self.cell, Layer::<T>::hints(self), w, Some(segment), pass);
    }
}
