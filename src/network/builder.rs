//! The builder: construction of a network by a chain of method calls.

use crate::{
    activation::{Activation, Relu, Sigmoid, Tanh},
    error::Error,
    layer::{
        ActivationLayer, BatchNorm, Dropout, Embedding, GatedLinear, GroupNorm, LastStep, Layer, LayerNorm, Linear,
        LogSoftmax, MeanOverSteps, Merge, PRelu, Parallel, Residual, RmsNorm, Sequential, Softmax,
    },
    recurrent::{Bidirectional, Cell, CheckpointInterval, Checkpointed, Gru, Lstm, Recurrent},
    scalar::Scalar,
};
use alloc::{boxed::Box, string::ToString, vec::Vec};
use core::fmt;

/// A builder of networks: each method adds a layer whose input is the output of the layer before.
///
/// A method that fails stores the error, later methods do nothing, and [`build`](Self::build) returns the first
/// error.
///
/// ```
/// use chainrule::{activation::Relu, layer::Sequential};
/// let network = Sequential::<f32>::input(64).linear(32).activation(Relu).linear(10).build()?;
/// assert_eq!(network.width(), 10);
/// # Ok::<(), chainrule::Error>(())
/// ```
pub struct Builder<T> {
    network: Sequential<T>,
    failed: Option<Error>,
}

/// Writes the layers added so far, or the first error.
impl<T: Scalar> fmt::Debug for Builder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failed {
            Some(error) => write!(f, "Builder: {error}"),
            None => fmt::Debug::fmt(&self.network, f),
        }
    }
}

impl<T: Scalar> Sequential<T> {
    /// Starts the builder of a network whose input rows have `width` values.
    pub fn input(width: usize) -> Builder<T> {
        Builder { network: Sequential::new(width), failed: None }
    }
}

impl<T: Scalar> Builder<T> {
    /// Returns the output width of the layers added so far.
    pub fn width(&self) -> usize {
        self.network.width()
    }

    /// Adds `layer`, which may be a layer of this crate or a custom one.
    #[must_use]
    pub fn layer(self, layer: impl Layer<T> + 'static) -> Self {
        self.add_made(|_| Ok(layer), false)
    }

    /// Adds a [`Linear`] layer of `outputs` units with its default initializers.
    #[must_use]
    pub fn linear(self, outputs: usize) -> Self {
        self.add(|width| Ok(Linear::new(width, outputs)))
    }

    /// Adds a [`GatedLinear`] layer of `outputs` units, which multiplies one linear map of the input by `activation`
    /// of another, with the default initializers.
    #[must_use]
    pub fn gated_linear(self, outputs: usize, activation: impl Activation) -> Self {
        self.add(|width| Ok(GatedLinear::new(width, outputs, activation)))
    }

    /// Adds an [`Embedding`], which replaces each value of a row by a vector of `dimension` values. The value is an
    /// index into one table of `vocabulary` vectors.
    #[must_use]
    pub fn embedding(self, vocabulary: usize, dimension: usize) -> Self {
        self.add(|width| Ok(Embedding::new(vocabulary, dimension).columns(width)))
    }

    /// Adds a layer that applies `activation` to every value.
    #[must_use]
    pub fn activation(self, activation: impl Activation) -> Self {
        self.add(|width| Ok(ActivationLayer::new(width, activation)))
    }

    /// Adds a layer that applies [`Relu`] to every value.
    #[must_use]
    pub fn relu(self) -> Self {
        self.activation(Relu)
    }

    /// Adds a layer that applies [`Sigmoid`] to every value.
    #[must_use]
    pub fn sigmoid(self) -> Self {
        self.activation(Sigmoid)
    }

    /// Adds a layer that applies [`Tanh`] to every value.
    #[must_use]
    pub fn tanh(self) -> Self {
        self.activation(Tanh)
    }

    /// Adds a [`PRelu`] with one slope for all units.
    #[must_use]
    pub fn prelu(self) -> Self {
        self.add(|width| Ok(PRelu::new(width)))
    }

    /// Adds a [`LayerNorm`] over all values of a row, with its default settings.
    #[must_use]
    pub fn layer_norm(self) -> Self {
        self.add(|width| Ok(LayerNorm::new(width)))
    }

    /// Adds an [`RmsNorm`] over all values of a row, with its default settings.
    #[must_use]
    pub fn rms_norm(self) -> Self {
        self.add(|width| Ok(RmsNorm::new(width)))
    }

    /// Adds a [`GroupNorm`], which divides each row into `groups` groups of equally many adjacent values and
    /// normalizes each group. `groups` must divide the width.
    #[must_use]
    pub fn group_norm(self, groups: usize) -> Self {
        self.add(|width| GroupNorm::new(width, groups))
    }

    /// Adds a [`BatchNorm`] of each column over the rows of the batch, with its default settings.
    ///
    /// ```
    /// use chainrule::layer::{BatchNorm, Sequential};
    /// let network = Sequential::<f32>::input(4).linear(8).batch_norm().relu().linear(2).build()?;
    /// let slower = Sequential::<f32>::input(4).linear(8).layer(BatchNorm::new(8).momentum(0.01)?).build()?;
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[must_use]
    pub fn batch_norm(self) -> Self {
        self.add(|width| Ok(BatchNorm::new(width)))
    }

    /// Adds a [`Softmax`] over the values of each row.
    #[must_use]
    pub fn softmax(self) -> Self {
        self.add(|width| Ok(Softmax::new(width)))
    }

    /// Adds a [`LogSoftmax`] over the values of each row.
    #[must_use]
    pub fn log_softmax(self) -> Self {
        self.add(|width| Ok(LogSoftmax::new(width)))
    }

    /// Adds [`Dropout`]: in training each value is set to 0 with probability `rate`, from 0 to below 1.
    #[must_use]
    pub fn dropout(self, rate: f64) -> Self {
        self.add(|width| Dropout::new(width, rate))
    }

    /// Adds [`Dropout`] in which all time steps of a sample share one mask. In training each value is set to 0 with
    /// probability `rate`, from 0 to below 1.
    #[must_use]
    pub fn locked_dropout(self, rate: f64) -> Self {
        self.add(|width| Ok(Dropout::new(width, rate)?.locked()))
    }

    /// Adds a [`Residual`] layer, `y = x + f(x)`, where f is the chain of layers that `branch` adds to an empty
    /// builder.
    #[must_use]
    pub fn residual(self, branch: impl FnOnce(Builder<T>) -> Builder<T>) -> Self {
        self.add(|width| {
            let branch = branch(Sequential::input(width)).build().map_err(|error| error.within("branch"))?;
            Residual::new(branch)
        })
    }

    /// Adds a [`Parallel`] layer with the branches that the function `branches` adds to its argument. `merge` states
    /// whether the outputs of the branches are concatenated or summed.
    #[must_use]
    pub fn parallel(self, merge: Merge, branches: impl FnOnce(Branches<T>) -> Branches<T>) -> Self {
        self.add(|width| {
            let Branches { layers, failed, .. } = branches(Branches { width, layers: Vec::new(), failed: None });
            failed.map_or_else(|| Parallel::new(merge, layers), Err)
        })
    }

    /// Adds a [`Recurrent`] layer of `hidden` units of `cell`, with the default initializers of the layer.
    #[must_use]
    pub fn recurrent(self, hidden: usize, cell: impl Cell) -> Self {
        self.add(|width| Ok(Recurrent::new(width, hidden, cell)))
    }

    /// Adds a [`Recurrent`] layer of `hidden` units of `cell`, with the settings that `set` applies: initializers,
    /// recurrent dropout, zoneout.
    ///
    /// ```
    /// use chainrule::{layer::Sequential, recurrent::Lstm};
    /// let network = Sequential::<f32>::input(4)
    ///     .recurrent_with(8, Lstm::new(), |layer| layer.recurrent_dropout(0.25)?.zoneout(0.05, 0.1))
    ///     .linear(1)
    ///     .build()?;
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[must_use]
    pub fn recurrent_with<C: Cell>(
        self,
        hidden: usize,
        cell: C,
        set: impl FnOnce(Recurrent<C>) -> Result<Recurrent<C>, Error>,
    ) -> Self {
        self.add(|width| set(Recurrent::new(width, hidden, cell)))
    }

    /// Adds a [`Recurrent`] layer of `hidden` [`Lstm`] units.
    #[must_use]
    pub fn lstm(self, hidden: usize) -> Self {
        self.recurrent(hidden, Lstm::new())
    }

    /// Adds a [`Recurrent`] layer of `hidden` [`Gru`] units. As in PyTorch, the reset gate multiplies the product of
    /// the recurrent matrix and the state, not the state before the product.
    #[must_use]
    pub fn gru(self, hidden: usize) -> Self {
        self.recurrent(hidden, Gru::default())
    }

    /// Adds a [`Bidirectional`] layer of two [`Recurrent`] layers of `hidden` units of `cell` each. Its output has 2
    /// · `hidden` values per row.
    #[must_use]
    pub fn bidirectional(self, hidden: usize, cell: impl Cell) -> Self {
        self.add(|width| {
            let backward = Recurrent::new(width, hidden, cell.cloned());
            Bidirectional::new::<T>(Recurrent::new(width, hidden, cell), backward)
        })
    }

    /// Adds a [`Bidirectional`] layer of `hidden` units of `cell` for each direction, which outputs one row per
    /// sequence. The row has the state of the forward direction after the last time step, and the state of the
    /// backward direction after the first time step. So each state has read the whole sequence.
    ///
    /// [`bidirectional`](Self::bidirectional) and [`last_step`](Self::last_step) would instead output the state of
    /// the backward direction after it has read one time step only.
    #[must_use]
    pub fn bidirectional_summary(self, hidden: usize, cell: impl Cell) -> Self {
        self.add(|width| {
            let direction = |cell| Sequential::input(width).recurrent(hidden, cell).last_step().build();
            let (forward, backward) = (direction(cell.cloned()), direction(cell));
            let forward = forward.map_err(|error| error.within("forward"))?;
            Bidirectional::new::<T>(forward, backward.map_err(|error| error.within("backward"))?)
        })
    }

    /// Adds the layers that `layers` adds to an empty builder, as one [`Checkpointed`] layer. In the forward pass it
    /// keeps the values of few of the T time steps, about √T with [`CheckpointInterval::SquareRoot`]. It recomputes
    /// those of the other steps in the backward pass.
    #[must_use]
    pub fn checkpointed(self, interval: CheckpointInterval, layers: impl FnOnce(Builder<T>) -> Builder<T>) -> Self {
        self.add(|width| Checkpointed::new(interval, layers(Sequential::input(width)).build()?.into_layers()))
    }

    /// Adds [`LastStep`], which outputs only the last time step of each sample.
    #[must_use]
    pub fn last_step(self) -> Self {
        self.add(|width| Ok(LastStep::new(width)))
    }

    /// Adds [`MeanOverSteps`], which outputs the mean over the time steps of each sample.
    #[must_use]
    pub fn mean_over_steps(self) -> Self {
        self.add(|width| Ok(MeanOverSteps::new(width)))
    }

    fn add<L: Layer<T> + 'static>(self, layer: impl FnOnce(usize) -> Result<L, Error>) -> Self {
        self.add_made(layer, true)
    }

    /// Adds the layer that `layer` creates from its argument, the output width of the layers added so far; stores the
    /// first error. `own` states whether it is a layer of this crate, whose slices need no further check in each
    /// pass.
    fn add_made<L: Layer<T> + 'static>(mut self, layer: impl FnOnce(usize) -> Result<L, Error>, own: bool) -> Self {
        if self.failed.is_none() {
            let place = self.network.len().to_string();
            let layer = layer(self.network.width()).map_err(|error| error.within(&place));
            self.failed = layer.and_then(|layer| T::sequential_push(&mut self.network, layer.boxed(), own)).err();
        }
        self
    }

    /// Returns the network that the builder has built.
    ///
    /// # Errors
    /// [`Error::Empty`] for a network without layers. Otherwise the error of the first layer that could not be added.
    /// It is an error of the layer's constructor, such as [`Error::Parameter`] for a dropout rate, or of
    /// [`Sequential::push`].
    pub fn build(self) -> Result<Sequential<T>, Error> {
        match self.failed {
            Some(error) => Err(error),
            None if self.network.is_empty() => Err(Error::no_layers()),
            None => Ok(self.network),
        }
    }
}

/// A builder of the branches of a [`Parallel`] layer, for [`Builder::parallel`].
#[derive(Debug)]
pub struct Branches<T> {
    width: usize,
    layers: Vec<Box<dyn Layer<T>>>,
    failed: Option<Error>,
}

impl<T: Scalar> Branches<T> {
    /// Adds a branch to the [`Parallel`] layer: the chain of layers that `branch` adds to an empty builder.
    #[must_use]
    pub fn branch(mut self, branch: impl FnOnce(Builder<T>) -> Builder<T>) -> Self {
        if self.failed.is_none() {
            let place = self.layers.len().to_string();
            match branch(Sequential::input(self.width)).build() {
                Ok(layer) => self.layers.push(layer.boxed()),
                Err(error) => self.failed = Some(error.within(&place)),
            }
        }
        self
    }
}
