//! The training loop: shuffle, batch, forward, loss, backward, update, validate.
//!
//! A [`Trainer`] has a network, a loss, a chain of transforms that ends in an optimizer, and a [`TrainConfig`].
//! [`FitOptions`] add validation data, a monitor and callbacks to a fit; [`Epoch`] and [`Step`] are the records that
//! callbacks receive.
//!
//! ```
//! use chainrule::{dataset::Dataset, layer::Sequential, loss::{MeanSquaredError, Target}};
//! use chainrule::{trainer::{TrainConfig, Trainer}, transform::Sgd};
//! let data = Dataset::rows(1, &[0.0, 1.0, 2.0], Target::Values(&[1.0, 3.0, 5.0]))?;
//! let network = Sequential::<f64>::input(1).linear(1).build()?;
//! let settings = TrainConfig { epochs: 200, ..TrainConfig::default() };
//! let mut trainer = Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), settings)?;
//! trainer.fit(&data)?;
//! let [w, b] = trainer.parameters() else { unreachable!("a weight and a bias") };
//! assert!((w - 2.0).abs() < 0.01 && (b - 1.0).abs() < 0.01); // y = 2 x + 1
//! # Ok::<(), chainrule::Error>(())
//! ```

mod agreement;
mod check;
mod config;
mod data_parallel;
mod epoch;
mod evaluate;
mod kept;
mod options;
mod order;
mod parts;
mod rank_faults;
mod spike;
mod step;
mod trace;
mod truncation;
mod updated;
mod watch;
mod weight;

pub use crate::monitor::progress::{Communication, Epoch, Evaluation, Spike, Step};
pub use config::{TrainConfig, Truncation};
pub(crate) use evaluate::EachBatch;
#[cfg(feature = "safetensors")]
pub(crate) use kept::Kept;
pub use options::FitOptions;

#[cfg(doc)]
use crate::dataset::Batch;
use crate::{
    batch_shape::BatchShape,
    dataset::Interface,
    distributed::DataParallel,
    error::{Error, require},
    kernel::aligned::Aligned,
    layer::Layer,
    loss::Loss,
    scalar::Scalar,
    transform::{GradientTransform, Optimizer},
    workspace::{StepWindows, Workspace, per_step},
};
use alloc::boxed::Box;
#[cfg(not(feature = "safetensors"))]
use kept::Kept;
use order::Order;
use watch::Watch;

/// A network with its parameters, a loss, a gradient transform (the optimizer) and a workspace. A trainer runs the
/// usual training loop.
///
/// The same loop can be written by hand with [`Workspace`], [`Batch`] and [`Optimizer`]. A run is a function of data,
/// settings and seed. At one [`CpuLevel`](crate::CpuLevel) two runs agree to the last bit, and so does a resumed run.
///
/// ```
/// use chainrule::{dataset::Dataset, layer::Sequential, loss::{CrossEntropy, Target}};
/// use chainrule::{trainer::{TrainConfig, Trainer}, transform::{Adam, ClipNorm}};
/// let x: Vec<f32> = (0..80).map(|i| (i * 7 % 40) as f32 / 20.0 - 1.0).collect(); // 40 rows of 2 values
/// let labels: Vec<usize> = x.chunks(2).map(|row| usize::from(row[0] > row[1])).collect();
/// let data = Dataset::rows(2, &x, Target::Classes(&labels))?;
/// let network = Sequential::<f32>::input(2).linear(8).tanh().linear(2).build()?;
/// let chain = (ClipNorm::new(1.0), Adam::new(0.05)); // clips, then computes the update
/// let settings = TrainConfig { epochs: 50, ..TrainConfig::default() };
/// let mut trainer = Trainer::new(network, CrossEntropy::new(), chain, settings)?;
/// let epochs = trainer.fit(&data)?;
/// assert!(epochs[49].loss < 0.5 * epochs[0].loss);
/// assert!(trainer.evaluate(&data)?.accuracy > Some(0.9));
/// # Ok::<(), chainrule::Error>(())
/// ```
pub struct Trainer<T, L, C, G> {
    workspace: Workspace<T, L>,
    parameters: Aligned<T>,
    pub(crate) loss: C,
    optimizer: Optimizer<T, G>,
    pub(crate) settings: TrainConfig,
    /// The windows of time steps of truncated backpropagation through time; `None` to train on whole sequences.
    windows: Option<StepWindows<T>>,
    /// Whether and since when the current updates are recorded, and the record of the last update.
    watch: Watch,
    order: Order,
    pub(crate) progress: Progress,
    /// With early stopping: the parameters, buffers and optimizer state at the lowest validation loss.
    pub(crate) best: Kept<T>,
    /// Whether the caller may have replaced the workspace or the optimizer since they were last checked.
    lent: bool,
    parallel: Option<Box<DataParallel<T>>>,
    /// Scales of input and output, column and class names of the model that the trainer starts from; empty without
    /// one.
    pub(crate) interface: Interface,
}

/// Writes workspace, loss, optimizer, settings and progress of the trainer, without the parameter values.
impl<T, L, C, G> core::fmt::Debug for Trainer<T, L, C, G>
where
    L: core::fmt::Debug,
    C: core::fmt::Debug,
    G: core::fmt::Debug,
{
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Trainer")
            .field("workspace", &self.workspace)
            .field("loss", &self.loss)
            .field("optimizer", &self.optimizer)
            .field("settings", &self.settings)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

/// A borrowed trainer whose network, loss and transform are trait objects: its methods are the training loop.
pub(crate) struct Run<'a, T: Scalar> {
    workspace: &'a mut Workspace<T, dyn Layer<T> + 'a>,
    parameters: &'a mut Aligned<T>,
    loss: &'a dyn Loss<T>,
    optimizer: &'a mut Optimizer<T, dyn GradientTransform<T> + 'a>,
    settings: &'a TrainConfig,
    windows: &'a mut Option<StepWindows<T>>,
    watch: &'a mut Watch,
    order: &'a mut Order,
    progress: &'a mut Progress,
    best: &'a mut Kept<T>,
    parallel: &'a mut Option<Box<DataParallel<T>>>,
}

impl<T: Scalar> Run<'_, T> {
    /// Returns the largest number of time steps of one pass over sequences of `steps` time steps: `steps`, or in
    /// truncated backpropagation through time at most the length of a window.
    fn pass_steps(&self, steps: usize) -> usize {
        self.windows.as_ref().map_or(steps, |windows| windows.steps.min(steps))
    }
}

/// The position of a trainer in its training run: finished epochs, early stopping, and the lowest validation loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Progress {
    /// The number of finished epochs since the trainer was created, over all runs.
    pub epochs: usize,
    /// The number of epochs that were finished before this run.
    pub began: usize,
    /// The number of consecutive epochs since a validation loss was below the lowest one by more than `min_delta`.
    pub waited: usize,
    /// The lowest validation loss of the run; infinite before the first validation.
    pub best: f64,
    /// Whether early stopping or a monitor ended the run.
    pub stopped: bool,
    /// Whether the trainer holds the parameters of the lowest validation loss, while [`Trainer::best`] holds those of
    /// the last epoch.
    pub restored: bool,
}

impl Progress {
    /// Returns the progress at the start of a run, after `epochs` epochs of earlier runs.
    fn after(epochs: usize) -> Self {
        Progress { epochs, began: epochs, waited: 0, best: f64::INFINITY, stopped: false, restored: false }
    }
}

/// The largest batch size, in samples, for which a new trainer allocates the memory of a pass before it has data.
/// With a larger batch size, it at first allocates memory for a pass over one sample.
const AT_ONCE: usize = 4096;

impl<T: Scalar, L: Layer<T>, C: Loss<T>, G: GradientTransform<T>> Trainer<T, L, C, G> {
    /// Creates a trainer of `network` with initial weights drawn by the settings' seed.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a `batch_size`, `accumulation_steps`, `patience`, `shuffle_block` or window of 0, or
    /// a `min_delta` that is negative or not finite. With a [`Truncation`]:
    /// [`LayerRule::NotInWindows`](crate::LayerRule::NotInWindows), with the layer, if a layer reads later time steps
    /// or changes their number; [`Error::InvalidState`] if `accumulation_steps` exceeds 1.
    /// [`LayerRule::OutputSteps`](crate::LayerRule::OutputSteps) if the number of output time steps is neither that
    /// of the input nor 1. The errors of [`Loss::check_width`], as for `CrossEntropy` with one output; of
    /// [`initialize`](crate::layer::initialize), [`Workspace::new`], [`Workspace::set_threads`], [`Optimizer::new`].
    pub fn new(network: L, loss: C, transform: G, settings: TrainConfig) -> Result<Self, Error> {
        let parameters = Aligned::copy_of("the parameters", &T::initialize(&network, settings.seed)?)?;
        Self::with_parameters(network, parameters, loss, transform, settings)
    }

    /// Creates a trainer that starts from `parameters`.
    pub(crate) fn with_parameters(
        network: L,
        parameters: Aligned<T>,
        loss: C,
        transform: G,
        settings: TrainConfig,
    ) -> Result<Self, Error> {
        for (what, value) in [
            ("batch_size", settings.batch_size),
            ("accumulation_steps", settings.accumulation_steps),
            ("patience", settings.patience.unwrap_or(1)),
            ("shuffle_block", settings.shuffle_block.unwrap_or(1)),
            ("the window of a truncation", settings.truncation.map_or(1, |truncation| truncation.window)),
        ] {
            require(value > 0, what, "at least 1", value as f64)?;
        }
        let min_delta = settings.min_delta;
        require(min_delta >= 0.0 && min_delta.is_finite(), "min_delta", "finite and not negative", min_delta)?;
        if settings.truncation.is_some() && settings.accumulation_steps > 1 {
            return Err(Error::InvalidState {
                what: "an update for each window of steps (`TrainConfig::truncation`)",
                needs: "`accumulation_steps` of 1",
            });
        }
        let windows =
            settings.truncation.map(|truncation| StepWindows::new(&network, truncation.window)).transpose()?;
        // Memory for larger batches is allocated once the data is known: it may have few samples, or more time steps.
        let batch = if settings.batch_size <= AT_ONCE { settings.batch_size } else { 1 };
        #[cfg_attr(not(feature = "std"), expect(unused_mut))]
        let mut workspace = Workspace::new(network, BatchShape::batch(batch))?;
        per_step(workspace.network())?;
        loss.check_width(workspace.dims().output)?;
        #[cfg(feature = "std")]
        workspace.set_threads(settings.threads)?;
        let optimizer = Optimizer::new(transform, workspace.blocks(), &parameters)?;
        let (order, best, parallel) = (Order::default(), Kept::new(), None);
        Ok(Trainer {
            workspace,
            parameters,
            loss,
            optimizer,
            settings,
            windows,
            watch: Watch::default(),
            order,
            progress: Progress::after(0),
            best,
            lent: false,
            parallel,
            interface: Interface::default(),
        })
    }

    /// Returns the network.
    pub fn network(&self) -> &L {
        self.workspace.network()
    }

    /// Borrows the trainer, with its network, loss and transform as trait objects.
    pub(crate) fn run(&mut self) -> Run<'_, T> {
        Run {
            workspace: L::unsize(&mut self.workspace),
            parameters: &mut self.parameters,
            loss: &self.loss,
            optimizer: &mut self.optimizer,
            settings: &self.settings,
            windows: &mut self.windows,
            watch: &mut self.watch,
            order: &mut self.order,
            progress: &mut self.progress,
            best: &mut self.best,
            parallel: &mut self.parallel,
        }
    }

    /// Returns the network, and drops parameters, optimizer and workspace.
    pub(crate) fn into_network(self) -> L {
        self.workspace.into_network()
    }

    /// Returns the training configuration: batch size, epochs, seed and the other settings.
    pub fn settings(&self) -> &TrainConfig {
        &self.settings
    }

    /// Sets the number of epochs of a run. If it is raised after a run, [`fit`](Self::fit) continues that run.
    pub fn set_epochs(&mut self, epochs: usize) {
        self.settings.epochs = epochs;
    }

    /// Sets the learning rate of the chain's optimizer, before the factors of schedules, from the next update on: see
    /// [`Optimizer::set_learning_rate`]. A checkpoint keeps the rate. On several ranks, all must set the same rate:
    /// the next update fails if their rates differ.
    ///
    /// # Errors
    /// The errors of [`Optimizer::set_learning_rate`].
    pub fn set_learning_rate(&mut self, rate: f64) -> Result<(), Error> {
        self.optimizer.set_learning_rate(rate)?;
        self.compare_ranks_again();
        Ok(())
    }

    /// Makes the next update compare the states of all ranks again, since the state of this rank may have changed.
    fn compare_ranks_again(&mut self) {
        if let Some(parallel) = &mut self.parallel {
            parallel.requests.compares = true;
        }
    }

    /// Returns the parameters, in the layout of [`Workspace::blocks`].
    pub fn parameters(&self) -> &[T] {
        &self.parameters
    }

    /// Whether the last run ended before all its epochs: its patience ran out, or a monitor asked to
    /// [stop](crate::GradientMonitor::should_stop). A checkpoint stores this flag, and the next fit is another run.
    pub fn stopped_early(&self) -> bool {
        self.progress.stopped
    }

    /// Returns the parameters, mutable. Training continues from them. If early stopping has restored the parameters
    /// of the best epoch, it also continues from the buffers and averages of that epoch. On several ranks the next
    /// update fails if the parameters of the ranks differ.
    pub fn parameters_mut(&mut self) -> &mut [T] {
        self.leave_best();
        &mut self.parameters
    }

    /// Prepares a change by the caller, for example of parameters: the next update compares the ranks again. If early
    /// stopping has restored the values of the best epoch, training continues from them, not from the last epoch.
    fn leave_best(&mut self) {
        self.compare_ranks_again();
        self.run().leave_best();
    }

    /// Returns the parameters of the block (a named range of the parameters) with this name, such as `0.weight`.
    ///
    /// # Errors
    /// [`Error::UnknownBlock`] if no block has exactly this name; [`Error::Length`] if the workspace was replaced by
    /// that of a larger network.
    pub fn block(&self, name: &str) -> Result<&[T], Error> {
        let range = self.workspace.blocks().get(name)?.range.clone();
        let (expected, found) = (range.end, self.parameters.len());
        self.parameters.get(range).ok_or(Error::Length { what: "parameters of the trainer", expected, found })
    }

    /// Returns the moving averages that a transform keeps of all parameters, one for each; `None` if none are kept.
    pub fn averaged_parameters(&self) -> Option<&[T]> {
        self.optimizer.averaged_weights(self.workspace.blocks())
    }

    /// Returns the weights that are the result of training. They are [`parameters`](Self::parameters), unless the
    /// transform provides other weights, as do [`ScheduleFreeAdamW`](crate::transform::ScheduleFreeAdamW) and a
    /// [`WeightAverage`](crate::transform::WeightAverage::as_result). Evaluation, prediction and models use them.
    /// Parameters written by hand affect them from the next update on, parameters loaded from a file at once.
    pub fn result(&self) -> &[T] {
        self.optimizer.result(self.workspace.blocks()).unwrap_or(&self.parameters)
    }

    /// Returns the workspace, with the network, its parameter blocks, the last gradient and the memory of passes.
    pub fn workspace(&self) -> &Workspace<T, L> {
        &self.workspace
    }

    /// Returns the workspace, mutable, for example to freeze blocks. Training continues from the current values of
    /// the trainer, as after [`parameters_mut`](Self::parameters_mut). On several ranks the next update fails if
    /// frozen blocks or buffers of the ranks differ. Methods that run the network return [`Error::Length`] if its
    /// number of parameters no longer is that of the trainer.
    pub fn workspace_mut(&mut self) -> &mut Workspace<T, L> {
        self.leave_best();
        self.lent = true;
        if let Some(windows) = &mut self.windows {
            self.workspace.close_windows(windows);
        }
        &mut self.workspace
    }

    /// Returns (workspace, optimizer), mutable; the progress of an interrupted run does not change.
    #[cfg(feature = "safetensors")]
    pub(crate) fn parts_mut(&mut self) -> (&mut Workspace<T, L>, &mut Optimizer<T, G>) {
        self.compare_ranks_again();
        (&mut self.workspace, &mut self.optimizer)
    }

    /// Sets the weight averages in the state of the transforms to the current parameters.
    #[cfg(feature = "safetensors")]
    pub(crate) fn begin_at_parameters(&mut self) {
        self.optimizer.begin_at(self.workspace.blocks(), &self.parameters);
    }

    /// Returns the optimizer: the chain of gradient transforms and its state.
    pub fn optimizer(&self) -> &Optimizer<T, G> {
        &self.optimizer
    }

    /// Returns the optimizer, mutable. Training continues from the values of the trainer, as after
    /// [`parameters_mut`](Self::parameters_mut). On several ranks the next update fails if the optimizers of the
    /// ranks differ. The best values of the run are discarded if the optimizer's state then holds the [resulting
    /// weights](Self::result) and did not before, or the reverse.
    pub fn optimizer_mut(&mut self) -> &mut Optimizer<T, G> {
        self.leave_best();
        self.lent = true;
        &mut self.optimizer
    }
}
