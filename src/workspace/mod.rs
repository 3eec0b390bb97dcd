//! The workspace: all memory of the passes through a network, allocated once.

mod backward;
mod bytes;
mod capacity;
mod forward;
mod predict;
mod state;
mod windows;

pub(crate) use backward::Given;
pub(crate) use capacity::Capacity;
pub use forward::Output;
pub(crate) use predict::{check_inputs, check_width, per_step, predict, predict_into};
pub(crate) use windows::StepWindows;

use crate::{
    batch_shape::BatchShape,
    block::Blocks,
    cpu::CpuLevel,
    error::{Error, LayerRule, require, require_length},
    kernel::{aligned::Aligned, sums::PartSums, thread_pool::ThreadPool},
    layer::{
        Buffers, Dims, DropoutKey, InputRules, Layer, Mode, Question, check_buffers, check_depth, check_output_shape,
    },
    scalar::Scalar,
    size::{filled, room},
};
use alloc::{string::String, vec::Vec};
use forward::Pass;

/// A workspace: all memory of a pass through a network, for any number of samples and time steps up to a capacity.
///
/// After construction no pass allocates. The network may be owned, borrowed, or in an `Arc`.
///
/// ```
/// use chainrule::{BatchShape, layer::{Linear, initialize}, workspace::Workspace};
/// let network = Linear::new(3, 2);
/// let w: Vec<f64> = initialize(&network, 1)?;
/// let mut workspace = Workspace::new(&network, BatchShape::batch(8))?;
/// let output = workspace.forward(&w, &[1.0, 2.0, 3.0], BatchShape::batch(1))?;
/// output.dy.copy_from_slice(&[1.0, 0.0]); // of a loss that is the first output
/// let gradient = workspace.backward(&w)?;
/// assert_eq!(gradient[..6], [1.0, 2.0, 3.0, 0.0, 0.0, 0.0]);
/// # Ok::<(), chainrule::Error>(())
/// ```
pub struct Workspace<T, L: ?Sized> {
    memory: Memory<T>,
    /// The network. It is the last field, so that a workspace can be coerced to one of a `dyn Layer`.
    network: L,
}

/// The memory of a workspace. It has no network type, so that its code is compiled once for each scalar.
pub(crate) struct Memory<T> {
    dims: Dims,
    blocks: Blocks,
    names: Vec<String>,
    /// The capacities of the workspace: a pass must lie within at least one of them, otherwise it returns an error.
    capacities: Vec<Capacity>,
    /// The number of values of the recurrent state of one sample, over all layers.
    state_values: usize,
    x: Aligned<T>,
    y: Aligned<T>,
    dy: Aligned<T>,
    dx: Aligned<T>,
    saved: Aligned<T>,
    scratch: Aligned<T>,
    /// The number of threads for which the memory `scratch` was sized.
    scratch_threads: usize,
    state: Vec<T>,
    state_end: Aligned<T>,
    d_state: Aligned<T>,
    d_state_end: Aligned<T>,
    gradient: Aligned<T>,
    /// The sums over earlier groups of passes, for an update that adds the gradients of many passes.
    part_sums: PartSums<T>,
    buffers: Buffers<T>,
    rules: InputRules,
    /// Whether the network outputs a row for each time step of a sample, rather than one row for the whole sample.
    per_step: bool,
    /// Whether the gradient is invalid, because of an in-place update of the parameters or a pass that panicked.
    spent: bool,
    trainable: Vec<bool>,
    /// Whether any parameter block (a named range of the parameters) is frozen.
    has_frozen: bool,
    lengths: Vec<usize>,
    last: Pass,
    /// Whether a backward pass can follow the last forward pass.
    ready: bool,
    starts_from_state: bool,
    wants_input: bool,
    wants_state: bool,
    dropout: DropoutKey,
    pool: Option<ThreadPool>,
}

/// Writes the network, the capacities and the number of parameters, without the values.
impl<T, L: core::fmt::Debug + ?Sized> core::fmt::Debug for Workspace<T, L> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Workspace")
            .field("network", &&self.network)
            .field("capacity", &self.memory.capacities)
            .field("parameters", &self.memory.dims.parameters)
            .finish_non_exhaustive()
    }
}

impl<T: Scalar, L: Layer<T>> Workspace<T, L> {
    /// Creates a workspace for passes through `network` that have at most the samples and time steps of `capacity`.
    /// Passes run on one thread and start from a state of zero; no block is frozen.
    ///
    /// # Errors
    /// [`Error::EmptyBatch`] or [`Error::NoSteps`] for a `capacity` without samples or time steps; any other error of
    /// [`BatchShape::check`]. [`Error::CpuLevel`] if `CHAINRULE_LEVEL` names a level that this machine lacks.
    /// [`Error::Parameter`] for a network with a width of 0. [`Error::TooLarge`] for sizes that memory cannot hold.
    /// [`Error::InvalidLayer`] if a layer breaks a rule, or its methods return other values than when the network was
    /// built.
    pub fn new(network: L, capacity: BatchShape<'_>) -> Result<Self, Error> {
        Self::with_mode(network, capacity, Mode::Train)
    }

    /// Creates a workspace that can only [`infer`](Self::infer), for at most the samples and time steps of
    /// `capacity`. It has no memory for a backward pass, and so is smaller than one made by [`new`](Self::new).
    ///
    /// # Errors
    /// The errors of [`new`](Self::new).
    pub fn for_inference(network: L, capacity: BatchShape<'_>) -> Result<Self, Error> {
        Self::with_mode(network, capacity, Mode::Infer)
    }

    fn with_mode(network: L, capacity: BatchShape<'_>, mode: Mode) -> Result<Self, Error> {
        let memory = T::workspace_memory(&network, capacity, mode)?;
        Ok(Workspace { memory, network })
    }

    /// Returns the network, and drops the memory of the workspace.
    pub(crate) fn into_network(self) -> L {
        self.network
    }
}

impl<T: Scalar, L: Layer<T> + ?Sized> Workspace<T, L> {
    /// Enlarges the workspace, unless it is large enough, for passes of at most `batch` samples, `steps` time steps
    /// per sample and `rows` time steps in total. Passes for which it was large enough before remain possible.
    ///
    /// If it grows, input and output of the last pass are lost; gradient, frozen blocks, state and threads are kept.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if memory cannot hold the workspace; it is then unchanged.
    pub(crate) fn reserve(&mut self, batch: usize, steps: usize, rows: usize) -> Result<(), Error> {
        let rows = rows.min(batch.saturating_mul(steps));
        let capacity = Capacity { batch, steps, rows };
        T::workspace_reserve(&mut self.memory, self.network.as_layer(), capacity)
    }

    /// Returns the network.
    pub fn network(&self) -> &L {
        &self.network
    }

    /// Returns the widths of input and output and the number of parameters of the network.
    pub(crate) fn dims(&self) -> Dims {
        self.memory.dims
    }

    /// Whether the network outputs a row for each time step of a sample, rather than one row for the whole sample.
    pub(crate) fn per_step(&self) -> bool {
        self.memory.per_step
    }

    /// Returns the output of the last pass; empty before the first, and after a pass that panicked.
    pub(crate) fn output(&self) -> &[T] {
        &self.memory.y[..self.memory.last_values()[1]]
    }

    /// Whether the workspace has memory for training: [`for_inference`](Self::for_inference) omits it.
    pub(crate) fn can_train(&self) -> bool {
        self.memory.check_saves().is_ok()
    }

    /// Returns the parameter blocks of the network: named ranges of the parameters, such as `0.weight`.
    pub fn blocks(&self) -> &Blocks {
        &self.memory.blocks
    }

    /// Freezes the parameter blocks whose name is `prefix` or begins with `prefix` and a dot, for example `2.weight`
    /// for `2`. Backward passes set the gradient of frozen blocks to zero.
    ///
    /// # Errors
    /// [`Error::UnknownBlock`] if there is no such block.
    pub fn freeze(&mut self, prefix: &str) -> Result<(), Error> {
        self.memory.blocks.freeze(prefix)?;
        self.memory.note_frozen();
        Ok(())
    }

    /// Unfreezes the parameter blocks whose name is `prefix` or begins with `prefix` and a dot, for example
    /// `2.weight` for `2`.
    ///
    /// # Errors
    /// [`Error::UnknownBlock`] if there is no such block.
    pub fn unfreeze(&mut self, prefix: &str) -> Result<(), Error> {
        self.memory.blocks.unfreeze(prefix)?;
        self.memory.note_frozen();
        Ok(())
    }

    /// Returns the buffers: values that layers keep from pass to pass beside their parameters, such as running
    /// statistics. A forward pass in [`Mode::Train`] updates them.
    pub fn buffers(&self) -> &[T] {
        self.memory.buffers.values()
    }

    /// Sets the buffers (such as running statistics), for example to those of another workspace of the same network.
    /// The next backward pass requires a forward pass after this call.
    ///
    /// # Errors
    /// [`Error::Length`] unless `buffers` has the length of [`buffers`](Self::buffers); [`Error::NonFinite`] for a
    /// value that is not finite; [`Error::Parameter`] for a running variance of a batch norm below 0.
    pub fn set_buffers(&mut self, buffers: &[T]) -> Result<(), Error> {
        require_length("buffers", self.buffers().len(), buffers.len())?;
        check_buffers(self.network.as_layer(), buffers)?;
        self.replace_buffers(buffers);
        Ok(())
    }

    /// Sets the buffers to finite values of their number. The next backward pass requires a forward pass after this
    /// call.
    pub(crate) fn replace_buffers(&mut self, buffers: &[T]) {
        self.buffers_mut().copy_from_slice(buffers);
        self.memory.ready = false;
    }

    pub(crate) fn buffers_mut(&mut self) -> &mut [T] {
        self.memory.buffers.values_mut()
    }

    /// Replaces each buffer value v by `of(v, o)`, with o the value of `others` at the same index. `of_wide` is the
    /// same function in `f64`, for running statistics that are kept with more digits than `T` has.
    pub(crate) fn combine_buffers(&mut self, others: &[T], of: impl Fn(T, T) -> T, of_wide: impl Fn(f64, f64) -> f64) {
        self.memory.buffers.combine(others, of, of_wide);
    }

    /// Sets the number of threads of a pass, including the calling thread. The default is 1.
    ///
    /// Results have the same bits for any number of threads: threads divide the rows of a batch or of a parameter
    /// block among them, and no sum is split. In layers too small for this division, each thread processes some of
    /// the samples, unless a monitor is active. Passes too short to gain from threads run on one thread. The other
    /// threads are created here, with the memory they need. They stay awake during a pass and sleep between passes.
    ///
    /// # Errors
    /// [`Error::Parameter`] for 0 threads; [`Error::TooLarge`] for more than 4,096, or if memory cannot hold the
    /// scratch of all threads; [`Error::Threads`] if the operating system cannot start a thread. On an error the
    /// workspace is unchanged.
    #[cfg(feature = "std")]
    pub fn set_threads(&mut self, threads: usize) -> Result<(), Error> {
        self.memory.set_threads(self.network.as_layer(), threads)
    }

    /// Returns an error that names the layer if a training pass over `shape` would give a layer that normalizes over
    /// rows a single row.
    pub(crate) fn check_rows(&self, shape: BatchShape<'_>) -> Result<(), Error> {
        self.memory.rules.check_rows(self.network.as_layer(), shape, Mode::Train)
    }

    /// Returns the requirements of the network's layers on the input of a pass beyond its shape: enough rows to
    /// normalize over, and inputs that are valid indices.
    pub(crate) fn rules(&self) -> InputRules {
        self.memory.rules
    }

    /// Divides the samples of the next backward pass into shards, ranges of samples for which the gradient is summed
    /// separately. `ends` has the end of each shard, as an index among the samples of the pass, in increasing order.
    /// `most`, a power of two, is the largest number of shards in any pass; memory is allocated for so many.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if memory cannot hold the sums of the shards.
    pub(crate) fn set_shards(&mut self, ends: impl Iterator<Item = usize>, most: usize) -> Result<(), Error> {
        self.memory.buffers.shards.set(ends, most, self.memory.dims.parameters)
    }

    /// Returns the thread pool of the passes, `None` with one thread, for callers that keep its threads awake from
    /// pass to pass.
    pub(crate) fn pool(&mut self) -> &mut Option<ThreadPool> {
        &mut self.memory.pool
    }

    /// Sets the key of the dropout masks of the next training passes: a function of the seed of the run and the
    /// number of updates. A backward pass draws the masks of its forward pass again.
    pub fn set_dropout_key(&mut self, dropout: DropoutKey) {
        self.memory.dropout = dropout;
    }
}

impl<T: Scalar> Memory<T> {
    pub(crate) fn new(network: &dyn Layer<T>, capacity: BatchShape<'_>, mode: Mode) -> Result<Self, Error> {
        capacity.check()?;
        CpuLevel::current()?;
        check_depth(network)?;
        let capacity = BatchShape::sequences(capacity.batch, capacity.steps);
        let answers = Question { shape: capacity, path: "" }.answers(network)?;
        let dims = answers.dims;
        require(dims.input > 0 && dims.output > 0, "the width of a network", "at least 1", 0.0)?;
        room::<T>("the parameters of the network", &[dims.parameters])?;
        room::<T>("a row of the network", &[dims.input.max(dims.output)])?;
        check_output_shape(capacity, network.output_shape(capacity)).map_err(|rule| rule.at(""))?;
        let blocks = Blocks::collect(|visit| network.blocks(visit));
        blocks.check(dims.parameters).map_err(|rule| rule.at(""))?;
        let names = network.structure().link_names("");
        if names.len() != answers.links {
            return Err(LayerRule::Changed { method: "structure" }.at(""));
        }
        let none = || Aligned::zeros("nothing", 0);
        let mut memory = Memory {
            dims,
            names,
            capacities: Vec::new(),
            state_values: 0,
            x: none()?,
            y: none()?,
            dy: none()?,
            dx: none()?,
            saved: none()?,
            scratch: none()?,
            scratch_threads: 1,
            state: Vec::new(),
            state_end: none()?,
            d_state: none()?,
            d_state_end: none()?,
            gradient: Aligned::zeros("the gradient", if mode.saves() { dims.parameters } else { 0 })?,
            part_sums: PartSums::new(),
            buffers: Buffers::of(network)?,
            rules: InputRules::of(network)?,
            // A network with other rows runs in a workspace alone.
            per_step: per_step(network).unwrap_or(false),
            spent: false,
            trainable: filled("the blocks", blocks.len(), true)?,
            has_frozen: false,
            lengths: Vec::new(),
            blocks,
            last: Pass::NONE,
            ready: false,
            starts_from_state: false,
            wants_input: false,
            wants_state: false,
            dropout: DropoutKey::default(),
            pool: None,
        };
        memory.make_room(network, Capacity::of(&capacity), mode.saves())?;
        Ok(memory)
    }

    fn note_frozen(&mut self) {
        for (trainable, block) in self.trainable.iter_mut().zip(&self.blocks) {
            *trainable = !block.frozen;
        }
        self.has_frozen = self.trainable.contains(&false);
    }
}
