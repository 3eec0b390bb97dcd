//! A trained network as one object, for prediction, saving and deployment.
//!
//! ```
//! use chainrule::{dataset::{Dataset, Standardize}, layer::Sequential, loss::{CrossEntropy, Target}};
//! use chainrule::{trainer::{TrainConfig, Trainer}, transform::Adam};
//! let x: Vec<f32> = (0..80).map(|i| (i * 7 % 40) as f32).collect(); // 40 rows of 2 values
//! let labels: Vec<usize> = x.chunks(2).map(|row| usize::from(row[0] > row[1])).collect();
//! let data = Dataset::rows(2, &x, Target::Classes(&labels))?;
//! let scale = Standardize::fit(&data)?;
//! let network = Sequential::<f32>::input(2).linear(8).tanh().linear(2).build()?;
//! let settings = TrainConfig { epochs: 50, ..TrainConfig::default() };
//! let mut trainer = Trainer::new(network, CrossEntropy::new(), Adam::new(0.05), settings)?;
//! trainer.fit(&scale.inputs(&data)?)?;
//!
//! let model = trainer.into_model()?.scale_inputs(scale)?.name_classes(["below", "above"])?;
//! let class = model.predict_classes(&Dataset::rows(2, &[30.0, 2.0], None)?)?[0]; // unscaled values
//! assert_eq!(model.classes()[class], "above");
//! # Ok::<(), chainrule::Error>(())
//! ```

#[cfg(feature = "safetensors")]
mod description;
#[cfg(feature = "safetensors")]
mod file;
#[cfg(feature = "safetensors")]
mod module_names;
mod predictor;
#[cfg(feature = "safetensors")]
mod pytorch;
#[cfg(feature = "safetensors")]
mod state_dict;
mod stream;

#[cfg(feature = "safetensors")]
pub use crate::checkpoint::Precision;
#[cfg(feature = "safetensors")]
pub use module_names::ModuleNames;
pub use predictor::Predictor;
#[cfg(feature = "safetensors")]
pub use pytorch::{export_state_dict, import_state_dict};
#[cfg(feature = "safetensors")]
pub use state_dict::{StateDict, Tensor};
pub use stream::Stream;

#[cfg(doc)]
use crate::error::DataRule;
use crate::{
    batch_shape::BatchShape,
    block::Blocks,
    dataset::{Dataset, Interface, Standardize, first_non_finite},
    error::{Error, require_length},
    kernel::aligned::Aligned,
    layer::{Buffers, InputRules, Layer, LayerSpec, check_buffers, check_depth},
    loss::{Loss, softmax},
    metrics::predicted_classes,
    network::{Registry, summary},
    scalar::{Scalar, to_f64},
    size::filled,
    trainer::{TrainConfig, Trainer},
    transform::GradientTransform,
    workspace::{Workspace, per_step},
};
use alloc::{boxed::Box, string::String, vec::Vec};
use core::fmt;

/// A network with its parameters, the scales of inputs and outputs, and the names of columns and classes.
///
/// Predictions take `&self`: threads can share a model, and each call allocates its own memory. A [`Predictor`] keeps
/// its memory from call to call, and a [`Stream`] keeps the state of a sequence from time step to time step. With the
/// feature `safetensors`, a model can be saved to a single file.
///
/// ```
/// use chainrule::{dataset::Dataset, layer::Linear, model::Model};
/// let model = Model::new(Linear::new(1, 1), vec![2.0, 0.5])?.name_columns(["x"])?; // y = 2 x + ½
/// assert_eq!(model.predict(&Dataset::rows(1, &[1.0, 3.0], None)?)?, [2.5, 6.5]);
/// # Ok::<(), chainrule::Error>(())
/// ```
pub struct Model<T: Scalar> {
    network: Box<dyn Layer<T>>,
    parameters: Vec<T>,
    buffers: Vec<T>,
    interface: Interface,
}

impl<T: Scalar> Model<T> {
    /// Creates a model of `network` with the given parameters and the initial buffers of its layers. It has no scales
    /// and no names. A trained network with a batch norm needs [`with_buffers`](Self::with_buffers), too.
    ///
    /// # Errors
    /// [`Error::Length`] unless `parameters` has the number of parameters of the network;
    /// [`Error::NonFiniteParameters`] for a parameter that is NaN or infinite; [`Error::InvalidLayer`] for layers
    /// nested more than [`MAX_DEPTH`](crate::layer::MAX_DEPTH) deep.
    /// [`LayerRule::OutputSteps`](crate::LayerRule::OutputSteps) if the number of output time steps is neither that
    /// of the input nor 1.
    pub fn new(network: impl Layer<T> + 'static, parameters: Vec<T>) -> Result<Self, Error> {
        Self::of_boxed(network.boxed(), parameters)
    }

    fn of_boxed(network: Box<dyn Layer<T>>, parameters: Vec<T>) -> Result<Self, Error> {
        check_depth(&*network)?;
        require_length("parameters", network.dims().parameters, parameters.len())?;
        per_step(&*network)?;
        if let Some(bad) = first_non_finite(&parameters) {
            let blocks = Blocks::collect(|visit| network.blocks(visit));
            let block = blocks.at(bad).map(|block| block.name.clone().into_owned()).unwrap_or_default();
            return Err(Error::NonFiniteParameters { block, since: 0, step: 0 });
        }
        let buffers = Buffers::of(&*network)?.values().to_vec();
        Ok(Model { network, parameters, buffers, interface: Interface::default() })
    }

    /// Sets the buffers, values that layers keep beside their parameters, such as running statistics of a batch norm.
    ///
    /// # Errors
    /// [`Error::Length`] unless `buffers` has the length of the buffers of a
    /// [workspace](crate::workspace::Workspace::buffers) for the network; [`Error::NonFinite`] for a value that is
    /// not finite; [`Error::Parameter`] for a running variance of a batch norm below 0.
    pub fn with_buffers(self, buffers: &[T]) -> Result<Self, Error> {
        require_length("buffers", self.buffers.len(), buffers.len())?;
        check_buffers(self.network(), buffers)?;
        Ok(Model { buffers: buffers.to_vec(), ..self })
    }

    /// Creates a workspace for inference with the buffers of the model, for passes of at most the samples and time
    /// steps of `capacity`.
    fn workspace(&self, capacity: BatchShape<'_>) -> Result<Workspace<T, &dyn Layer<T>>, Error> {
        let mut workspace = Workspace::for_inference(self.network(), capacity)?;
        workspace.set_buffers(&self.buffers).map(|()| workspace)
    }

    /// Sets the standardization of the training inputs. Predictions apply it to their inputs before the network runs.
    ///
    /// # Errors
    /// [`Error::Length`] unless `scale` has one column for each input of the network. [`Error::IncompatibleLayer`]
    /// for a network whose inputs are the indices of an [`Embedding`](crate::layer::Embedding).
    pub fn scale_inputs(self, scale: Standardize) -> Result<Self, Error> {
        if InputRules::of(self.network())?.takes_indices() {
            let needs = "a network without an `Embedding` of its inputs: indices are not scaled";
            return Err(Error::IncompatibleLayer { what: "the scale of the inputs", needs });
        }
        require_length("columns of the input scale", self.network.dims().input, scale.width())?;
        Ok(Model { interface: Interface { inputs: Some(scale), ..self.interface }, ..self })
    }

    /// Sets the standardization of the training targets. Predictions invert it on the outputs of the network.
    ///
    /// # Errors
    /// [`Error::Length`] unless `scale` has one column for each output of the network.
    pub fn scale_outputs(self, scale: Standardize) -> Result<Self, Error> {
        require_length("columns of the output scale", self.network.dims().output, scale.width())?;
        Ok(Model { interface: Interface { outputs: Some(scale), ..self.interface }, ..self })
    }

    /// Sets the names of the input columns, in order.
    ///
    /// # Errors
    /// [`Error::Length`] unless there is one name for each input of the network.
    pub fn name_columns(self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, Error> {
        let columns: Vec<String> = names.into_iter().map(|name| name.as_ref().into()).collect();
        require_length("names of columns", self.network.dims().input, columns.len())?;
        Ok(Model { interface: Interface { columns, ..self.interface }, ..self })
    }

    /// Sets the names of the classes, in the order of the network's outputs.
    ///
    /// # Errors
    /// [`Error::Length`] unless there is one name for each output of the network.
    pub fn name_classes(self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, Error> {
        let classes: Vec<String> = names.into_iter().map(|name| name.as_ref().into()).collect();
        require_length("names of classes", self.network.dims().output, classes.len())?;
        Ok(Model { interface: Interface { classes, ..self.interface }, ..self })
    }

    /// Returns the network, which does not hold its parameters.
    pub fn network(&self) -> &dyn Layer<T> {
        &*self.network
    }

    /// Returns all parameters, in the order of the network's parameter blocks.
    pub fn parameters(&self) -> &[T] {
        &self.parameters
    }

    /// Returns the buffers, values that layers keep beside their parameters, such as running statistics of a batch
    /// norm, in the order of [`Workspace::buffers`](crate::workspace::Workspace::buffers).
    pub fn buffers(&self) -> &[T] {
        &self.buffers
    }

    /// Returns (network, parameters), and drops buffers, scales and names.
    pub fn into_parts(self) -> (Box<dyn Layer<T>>, Vec<T>) {
        (self.network, self.parameters)
    }

    /// Returns the standardization that predictions apply to inputs; `None` if inputs are used as given.
    pub fn input_scale(&self) -> Option<&Standardize> {
        self.interface.inputs.as_ref()
    }

    /// Returns the standardization that predictions invert on outputs; `None` if outputs are returned as computed.
    pub fn output_scale(&self) -> Option<&Standardize> {
        self.interface.outputs.as_ref()
    }

    /// Returns the names of the input columns; empty if they were not set.
    pub fn columns(&self) -> &[String] {
        &self.interface.columns
    }

    /// Returns the names of the classes; empty if they were not set.
    pub fn classes(&self) -> &[String] {
        &self.interface.classes
    }

    /// Creates a predictor: this model with memory for predictions that is reused from call to call. Each thread
    /// needs its own.
    ///
    /// # Errors
    /// The errors of [`Workspace::for_inference`](crate::workspace::Workspace::for_inference).
    pub fn predictor(&self) -> Result<Predictor<'_, T>, Error> {
        Predictor::new(self)
    }

    /// Returns the outputs of the network for the samples of `data`, in their order.
    ///
    /// # Shapes
    /// Sample after sample, each \[its output steps, output width\]. If the network outputs one row for a whole
    /// sequence, for example through [`LastStep`](crate::layer::LastStep), each sample has one output row.
    ///
    /// # Errors
    /// [`DataRule::Width`] if the width of the data is not that of the network's input; [`DataRule::ScaledValue`] for
    /// a scaled input or output that overflows the number format; [`Error::TooLarge`] if memory cannot hold the
    /// outputs. The errors of [`predictor`](Self::predictor) and of
    /// [`Workspace::infer`](crate::workspace::Workspace::infer).
    ///
    /// # Panics
    /// As [`Workspace::infer`](crate::workspace::Workspace::infer).
    pub fn predict(&self, data: &Dataset<'_, T>) -> Result<Vec<T>, Error> {
        self.predictor()?.predict(data)
    }

    /// Returns the predicted class of each output row for the samples of `data`: the index of the largest output. If
    /// several outputs are equally large, it is the first of them.
    ///
    /// # Errors
    /// The errors of [`predict`](Self::predict); [`Error::IncompatibleLayer`] for a network of one output;
    /// [`Error::NonFinite`] for an output that is NaN.
    ///
    /// # Panics
    /// As [`predict`](Self::predict).
    pub fn predict_classes(&self, data: &Dataset<'_, T>) -> Result<Vec<usize>, Error> {
        predicted_classes(self.classified("predict_classes")?, &self.predict(data)?)
    }

    /// Returns the probabilities of the classes for each output row y: `softmax(y)`, or y itself if the network ends
    /// in [`Softmax`](crate::layer::Softmax). It suits networks that were trained with
    /// [`CrossEntropy`](crate::loss::CrossEntropy), or that end in [`LogSoftmax`](crate::layer::LogSoftmax). If
    /// several labels may be true at once, as with [`BinaryCrossEntropy`](crate::loss::BinaryCrossEntropy), apply a
    /// sigmoid to [`predict`](Self::predict) instead.
    ///
    /// # Errors
    /// The errors of [`predict`](Self::predict); [`Error::IncompatibleLayer`] for a network of one output;
    /// [`Error::NonFinite`] for an output row without probabilities: it has a NaN, or ∞ more than once.
    ///
    /// # Panics
    /// As [`predict`](Self::predict).
    pub fn probabilities(&self, data: &Dataset<'_, T>) -> Result<Vec<T>, Error> {
        let (width, y) = (self.classified("probabilities")?, self.predict(data)?);
        if matches!(self.network.spec().last_layer().1, LayerSpec::Softmax(_)) {
            return Ok(y);
        }
        let mut probabilities = filled("the probabilities", y.len(), T::zero())?;
        softmax(width, &y, &mut probabilities)?;
        match probabilities.iter().position(|p| p.is_nan()) {
            Some(index) => Err(Error::NonFinite { what: "outputs of the network", index, found: to_f64(y[index]) }),
            None => Ok(probabilities),
        }
    }

    /// Returns the number of classes: the output width. For a network of one output, returns an error that names
    /// `what`, the method that needs classes.
    fn classified(&self, what: &'static str) -> Result<usize, Error> {
        match self.network.dims().output {
            1 => Err(Error::IncompatibleLayer {
                what,
                needs: "a network with an output for each class; compare one output of `predict` with a threshold",
            }),
            width => Ok(width),
        }
    }

    /// Creates a stream, which runs the network on one sequence, time step by time step, and keeps its state.
    ///
    /// # Errors
    /// [`Error::InvalidLayer`], with the layer and [`LayerRule::NotStreamable`](crate::LayerRule::NotStreamable), for
    /// a layer that reads later time steps or needs all time steps at once. The same error is returned for a custom
    /// layer whose outputs for 4 random time steps, computed one by one, differ from those of one pass over all 4.
    /// The errors of [`Workspace::for_inference`](crate::workspace::Workspace::for_inference).
    pub fn stream(&self) -> Result<Stream<'_, T>, Error> {
        Stream::new(self)
    }
}

/// Writes the summary of the network, whether inputs and outputs are scaled, and the names of columns and classes.
impl<T: Scalar> fmt::Debug for Model<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", summary(&*self.network))?;
        let scaled = |scale: &Option<Standardize>| if scale.is_some() { "standardized" } else { "as given" };
        let Interface { inputs, outputs, columns, classes } = &self.interface;
        writeln!(f, "inputs {}, outputs {}", scaled(inputs), scaled(outputs))?;
        write!(f, "columns {columns:?}, classes {classes:?}")
    }
}

impl<T: Scalar, L: Layer<T>, C: Loss<T>, G: GradientTransform<T>> Trainer<T, L, C, G> {
    /// Returns the trained model: the network with the [weights that are the result of training](Trainer::result). If
    /// the trainer was [made from a model](Trainer::from_model), the new model has the scales and names of that
    /// model.
    ///
    /// # Errors
    /// The errors of [`Model::new`].
    pub fn into_model(self) -> Result<Model<T>, Error>
    where
        L: 'static,
    {
        let (parameters, buffers) = (self.result().to_vec(), self.workspace().buffers().to_vec());
        let interface = self.interface.clone();
        let model = Model::new(self.into_network(), parameters)?.with_buffers(&buffers)?;
        Ok(Model { interface, ..model })
    }

    /// Returns a model with a copy of the [weights that are the result of training](Trainer::result) so far, and with
    /// the scales and names that [`into_model`](Self::into_model) describes. Training can continue. The network of
    /// the model is built from the layer specification of the trainer's network.
    ///
    /// # Errors
    /// [`Error::CustomPart`] for a network with a custom part, for which there is
    /// [`model_registered`](Self::model_registered); the errors of [`Model::new`].
    pub fn model(&self) -> Result<Model<T>, Error> {
        self.model_of(self.network().spec().build()?)
    }

    /// Returns a model as [`model`](Self::model) does. The network may have custom parts, which are built by
    /// `registry`.
    ///
    /// # Errors
    /// The errors of [`LayerSpec::build_with`](crate::layer::LayerSpec::build_with) and [`Model::new`].
    pub fn model_registered(&self, registry: &Registry<T>) -> Result<Model<T>, Error> {
        self.model_of(self.network().spec().build_with(registry)?)
    }

    fn model_of(&self, network: Box<dyn Layer<T>>) -> Result<Model<T>, Error> {
        let model = Model::of_boxed(network, self.result().to_vec())?.with_buffers(self.workspace().buffers())?;
        Ok(Model { interface: self.interface.clone(), ..model })
    }
}

impl<T: Scalar, C: Loss<T>, G: GradientTransform<T>> Trainer<T, Box<dyn Layer<T>>, C, G> {
    /// Creates a trainer that starts from the parameters of a model. It does not standardize: its data must already
    /// have the model's [input scale](Model::input_scale) and [output scale](Model::output_scale). The trainer passes
    /// scales and names on to the model that [`into_model`](Self::into_model) returns.
    ///
    /// ```
    /// use chainrule::{dataset::{Dataset, Standardize}, layer::{Sequential, initialize}, model::Model};
    /// use chainrule::{loss::{MeanSquaredError, Target}, trainer::{TrainConfig, Trainer}, transform::Sgd};
    /// let network = Sequential::<f64>::input(1).linear(1).build()?;
    /// let parameters = initialize(&network, 1)?;
    /// let data = Dataset::rows(1, &[10.0, 20.0, 30.0], Target::Values(&[1.0, 2.0, 3.0]))?;
    /// let model = Model::new(network, parameters)?.scale_inputs(Standardize::fit(&data)?)?;
    ///
    /// let scaled = model.input_scale().expect("it was set").inputs(&data)?;
    /// let settings = TrainConfig { epochs: 100, ..TrainConfig::default() };
    /// let mut trainer = Trainer::from_model(model, MeanSquaredError::new(), Sgd::new(0.1), settings)?;
    /// trainer.fit(&scaled)?;
    /// let tuned = trainer.into_model()?;
    /// assert!((tuned.predict(&data)?[2] - 3.0).abs() < 0.1); // of unscaled values
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`Trainer::new`], except for errors of initialization.
    pub fn from_model(model: Model<T>, loss: C, transform: G, settings: TrainConfig) -> Result<Self, Error> {
        let Model { network, parameters, buffers, interface } = model;
        let parameters = Aligned::copy_of("the parameters", &parameters)?;
        let mut trainer = Trainer::with_parameters(network, parameters, loss, transform, settings)?;
        trainer.interface = interface;
        trainer.workspace_mut().set_buffers(&buffers).map(|()| trainer)
    }
}
