//! All memory of a pass, allocated once.

use crate::{
    batch_shape::BatchShape,
    block::Blocks,
    cpu::CpuLevel,
    error::{Error, LayerRule, require, require_length},
    kernel::{
        aligned::Aligned,
        elementwise::descend,
        thread_pool::{ThreadPool, install, threads},
    },
    layer::{
        Backward, Dims, DropoutKey, Forward, Layer, LinkPath, MemorySizes, Mode, Parameters, Question, TrainableMask,
        check_blocks, check_output_shape, hold,
    },
    monitor::GradientMonitor,
    scalar::{Scalar, to_f64},
    size::{filled, reserve, room, saturating_product},
    transform::check_rate,
};
use alloc::{string::String, vec::Vec};

/// All memory of a pass through a network, for any shape up to the capacity it was made for.
///
/// After construction no pass allocates. The network may be owned, or borrowed, or behind an `Arc`.
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
pub struct Workspace<T, L> {
    network: L,
    memory: Memory<T>,
}

/// The memory of a workspace, for any network: compiled once a scalar.
struct Memory<T> {
    dims: Dims,
    blocks: Blocks,
    names: Vec<String>,
    capacity: BatchShape<'static>,
    x: Aligned<T>,
    y: Aligned<T>,
    dy: Aligned<T>,
    dx: Aligned<T>,
    saved: Aligned<T>,
    scratch: Aligned<T>,
    state: Vec<T>,
    state_end: Aligned<T>,
    d_state: Aligned<T>,
    d_state_end: Aligned<T>,
    gradient: Aligned<T>,
    /// Whether the memory of the gradient holds what is left of a step, or of a pass that panicked.
    spent: bool,
    trainable: Vec<bool>,
    lengths: Vec<usize>,
    last: Option<Pass>,
    /// Whether a backward pass can follow the last pass.
    ready: bool,
    starts_from_state: bool,
    wants_input: bool,
    wants_state: bool,
    dropout: DropoutKey,
    pool: Option<ThreadPool>,
}

/// The network and the sizes; not the memory itself.
impl<T, L: core::fmt::Debug> core::fmt::Debug for Workspace<T, L> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Workspace")
            .field("network", &self.network)
            .field("capacity", &self.memory.capacity)
            .field("parameters", &self.memory.dims.parameters)
            .finish_non_exhaustive()
    }
}

/// What the last forward pass was.
#[derive(Clone, Copy, Debug)]
struct Pass {
    batch: usize,
    steps: usize,
    ragged: bool,
    mode: Mode,
    with_state: bool,
    /// Values of input, output and state.
    values: [usize; 3],
    /// Values kept for the backward pass.
    saved: usize,
}

/// What a forward pass gives: the output, and the place for the loss's gradient.
#[derive(Debug)]
#[non_exhaustive]
pub struct Output<'a, T> {
    /// The output, \[rows, output\].
    pub y: &'a [T],
    /// To be filled with the gradient of the loss with respect to `y`; it comes zeroed.
    pub dy: &'a mut [T],
    /// Rows of the output.
    pub shape: BatchShape<'a>,
}

/// The most threads of a workspace: a guard against a number that is no number of threads.
#[cfg(feature = "std")]
const THREADS: usize = 4096;

impl<T: Scalar, L: Layer<T>> Workspace<T, L> {
    /// A workspace for passes through `network` of up to `capacity`.
    ///
    /// # Errors
    /// [`Error::EmptyBatch`] or [`Error::NoSteps`] for a `capacity` without samples or steps; any other error of
    /// [`BatchShape::check`]. [`Error::CpuLevel`] where `CHAINRULE_LEVEL` names a level that this machine lacks.
    /// [`Error::Parameter`] for a network with a width of 0. [`Error::TooLarge`] for sizes that memory cannot hold.
    /// [`Error::InvalidLayer`] where a layer breaks a rule, or answers otherwise than when the network was put
    /// together.
    pub fn new(network: L, capacity: BatchShape<'_>) -> Result<Self, Error> {
        Self::with_mode(network, capacity, Mode::Train)
    }

    /// A smaller workspace, for [`infer`](Self::infer) alone: nothing is kept for a backward pass.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn for_inference(network: L, capacity: BatchShape<'_>) -> Result<Self, Error> {
        Self::with_mode(network, capacity, Mode::Infer)
    }

    fn with_mode(network: L, capacity: BatchShape<'_>, mode: Mode) -> Result<Self, Error> {
        let memory = Memory::new(&network, capacity, mode)?;
        Ok(Workspace { network, memory })
    }
    /// Makes the workspace large enough for passes of up to `batch` samples. What it holds of the last pass is lost where it
    /// grows; gradient, frozen blocks, state and threads stay.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for what memory cannot hold; the workspace stays as it was.
    pub(crate) fn reserve_batch(&mut self, batch: usize) -> Result<(), Error> {
        self.memory.reserve_batch(&self.network, batch)
    }

    /// The network.
    pub fn network(&self) -> &L {
        &self.network
    }

    /// The network's widths and number of parameters, asked for once.
    pub(crate) fn dims(&self) -> Dims {
        self.memory.dims
    }

    /// The parameter blocks, with their names and ranges.
    pub fn blocks(&self) -> &Blocks {
        &self.memory.blocks
    }

    /// Freezes the blocks named `prefix` or under it: their gradient is not computed and stays zero.
    ///
    /// # Errors
    /// [`Error::UnknownBlock`] where no block is named `prefix` or lies under it.
    pub fn freeze(&mut self, prefix: &str) -> Result<(), Error> {
        self.memory.blocks.freeze(prefix)?;
        self.memory.note_frozen();
        Ok(())
    }

    /// Takes [`freeze`](Self::freeze) back.
    ///
    /// # Errors
    /// [`Error::UnknownBlock`] where no block is named `prefix` or lies under it.
    pub fn unfreeze(&mut self, prefix: &str) -> Result<(), Error> {
        self.memory.blocks.unfreeze(prefix)?;
        self.memory.note_frozen();
        Ok(())
    }

    /// Sets whether backward passes compute the gradient of the input. They do not, unless asked: it is the
    /// largest product of many networks. Where there is no memory for it, the next backward pass says so.
    pub fn compute_input_gradient(&mut self, wanted: bool) {
        let memory = &mut self.memory;
        memory.wants_input = wanted;
        let values = if wanted { memory.x.len() } else { 0 };
        if memory.dx.len() != values
            && let Ok(dx) = Aligned::zeros("the gradient of an input", values)
        {
            memory.dx = dx;
        }
    }

    /// Sets whether backward passes compute the gradient of the initial state.
    pub fn compute_state_gradient(&mut self, wanted: bool) {
        self.memory.wants_state = wanted;
    }

    /// Sets how many threads run a pass, the calling one counted; 1 unless told otherwise.
    ///
    /// Results are the same bits for any number: rows of samples and of parameters are divided, never a sum. Through layers
    /// too small for that each thread takes some of the samples, as long as nobody watches; what is too short to be worth
    /// it stays on one thread. The others are made here, with the memory they need, stay awake during a pass and sleep between.
    ///
    /// # Errors
    /// [`Error::Parameter`] for 0 threads; [`Error::TooLarge`] for more than 4,096, or where memory cannot hold their
    /// scratch; [`Error::Threads`] where the system refuses to start one. The workspace stays as it was.
    #[cfg(feature = "std")]
    pub fn set_threads(&mut self, threads: usize) -> Result<(), Error> {
        self.memory.set_threads(&self.network, threads)
    }

    /// The threads, for a caller that has more for them than one pass; to be put back.
    pub(crate) fn pool(&mut self) -> &mut Option<ThreadPool> {
        &mut self.memory.pool
    }

    /// Sets where the masks of the next training pass come from: the run's seed and the training step.
    pub fn set_dropout_key(&mut self, dropout: DropoutKey) {
        self.memory.dropout = dropout;
    }

    /// Runs `network(x)` as in training: noise on, ready for [`backward`](Self::backward).
    ///
    /// # Shapes
    /// x: \[rows, input\], time-major; the output has rows of the shape that the network makes of `shape`.
    ///
    /// # Errors
    /// [`Error::InvalidState`] on a workspace made by [`for_inference`](Self::for_inference). [`Error::BeyondCapacity`] for an
    /// `shape` beyond the workspace's capacity, and the errors of [`BatchShape::check`]. [`Error::Length`] where `w`, `x` or
    /// the [state](Self::set_state) does not have the length of this pass. [`Error::InvalidLayer`] where the network
    /// gives a shape, or needs memory, other than for the workspace's capacity.
    ///
    /// # Panics
    /// Where a layer of your own breaks a law of [`Layer`] in the pass: it gives other answers than before. The message
    /// names the law.
    pub fn forward(&mut self, w: &[T], x: &[T], shape: BatchShape<'_>) -> Result<Output<'_, T>, Error> {
        self.forward_with(w, x, shape, Mode::Train, &mut ())
    }

    /// [`forward`](Self::forward) in any saving mode, with somebody watching.
    ///
    /// # Errors
    /// Those of [`forward`](Self::forward).
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn forward_with(
        &mut self,
        w: &[T],
        x: &[T],
        shape: BatchShape<'_>,
        mode: Mode,
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<Output<'_, T>, Error> {
        self.memory.forward(&self.network, w, Some(x), shape, mode, monitor)
    }

    /// The buffer that a pass over `shape` reads: whoever makes its input can write it there, instead of having it
    /// copied by [`forward`](Self::forward), and run [`forward_filled`](Self::forward_filled). Writing it ends the pass
    /// before: no backward pass of it can follow.
    ///
    /// # Shapes
    /// \[rows, input\], time-major.
    ///
    /// # Errors
    /// [`Error::InvalidState`] on a workspace made by [`for_inference`](Self::for_inference). [`Error::BeyondCapacity`] for an
    /// `shape` beyond the workspace's capacity, and the errors of [`BatchShape::check`].
    ///
    /// ```
    /// use chainrule::{BatchShape, layer::{Mode, Sequential, initialize}, workspace::Workspace};
    /// let network = Sequential::<f32>::input(3).linear(2).build()?;
    /// let (w, shape) = (initialize(&network, 1)?, BatchShape::batch(4));
    /// let mut workspace = Workspace::new(&network, shape)?;
    /// for (i, x) in workspace.input_mut(shape)?.iter_mut().enumerate() {
    ///     *x = i as f32 / 12.0;
    /// }
    /// let output = workspace.forward_filled(&w, shape, Mode::Train, &mut ())?;
    /// assert_eq!(output.y.len(), 4 * 2);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn input_mut(&mut self, shape: BatchShape<'_>) -> Result<&mut [T], Error> {
        let memory = &mut self.memory;
        memory.check_saves()?;
        memory.check_shape(shape)?;
        memory.ready = false;
        Ok(&mut memory.x[..shape.rows() * memory.dims.input])
    }

    /// [`forward_with`](Self::forward_with) on the input that [`input_mut`](Self::input_mut) was filled with; where it was
    /// not, on what is there.
    ///
    /// # Errors
    /// Those of [`forward`](Self::forward), but for the length of the input.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn forward_filled(
        &mut self,
        w: &[T],
        shape: BatchShape<'_>,
        mode: Mode,
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<Output<'_, T>, Error> {
        self.memory.forward(&self.network, w, None, shape, mode, monitor)
    }

    /// Runs `network(x)` without noise and without keeping anything.
    ///
    /// # Errors
    /// Those of [`forward`](Self::forward), but for [`Error::InvalidState`]: any workspace infers.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn infer(&mut self, w: &[T], x: &[T], shape: BatchShape<'_>) -> Result<&[T], Error> {
        self.memory.infer(&self.network, w, x, shape)
    }

    /// Computes the gradient of all parameters from the `dy` of the last [`forward`](Self::forward).
    ///
    /// # Errors
    /// [`Error::Length`] where `w` does not have the network's parameters. [`Error::InvalidState`] without a
    /// [`forward`](Self::forward) since the last backward pass. [`Error::TooLarge`] where memory cannot hold the
    /// gradient of the input.
    ///
    /// # Panics
    /// Where a layer of your own breaks a law of [`Layer`] in the pass: it gives other answers than before. The message
    /// names the law.
    pub fn backward(&mut self, w: &[T]) -> Result<&mut [T], Error> {
        self.backward_with(w, &mut ())
    }

    /// [`backward`](Self::backward), with somebody watching.
    ///
    /// # Errors
    /// Those of [`backward`](Self::backward).
    ///
    /// # Panics
    /// As [`backward`](Self::backward).
    pub fn backward_with(&mut self, w: &[T], monitor: &mut dyn GradientMonitor<T>) -> Result<&mut [T], Error> {
        self.memory.go_back(&self.network, Parameters::Stay(w), true, monitor)?;
        Ok(&mut self.memory.gradient)
    }

    /// Adds the gradient of the last [`forward`](Self::forward) to the one that is there: several small batches
    /// make a large one.
    ///
    /// # Errors
    /// Those of [`backward`](Self::backward).
    ///
    /// # Panics
    /// As [`backward`](Self::backward).
    pub fn accumulate(&mut self, w: &[T]) -> Result<&mut [T], Error> {
        self.accumulate_with(w, &mut ())
    }

    /// [`accumulate`](Self::accumulate), with somebody watching.
    ///
    /// # Errors
    /// Those of [`backward`](Self::backward).
    ///
    /// # Panics
    /// As [`backward`](Self::backward).
    pub fn accumulate_with(&mut self, w: &[T], monitor: &mut dyn GradientMonitor<T>) -> Result<&mut [T], Error> {
        self.memory.go_back(&self.network, Parameters::Stay(w), false, monitor)?;
        Ok(&mut self.memory.gradient)
    }

    /// [`backward`](Self::backward) and a step of plain gradient descent at once: `w ← w − η g`.
    ///
    /// Afterwards [`gradient`](Self::gradient) is empty: in a [`Sequential`](crate::layer::Sequential) with nothing frozen the
    /// step is taken layer by layer, and the gradient is nowhere as a whole. Frozen blocks stay.
    ///
    /// # Errors
    /// Those of [`backward`](Self::backward); [`Error::Parameter`] for a `rate` that is negative or not finite. None
    /// changes `w`.
    ///
    /// # Panics
    /// As [`backward`](Self::backward).
    ///
    /// ```
    /// use chainrule::{BatchShape, layer::{Linear, initialize}, workspace::Workspace};
    /// let network = Linear::new(2, 1).without_bias();
    /// let mut w = vec![3.0, 5.0];
    /// let mut workspace = Workspace::new(&network, BatchShape::batch(1))?;
    /// workspace.forward(&w, &[1.0, 2.0], BatchShape::batch(1))?.dy.copy_from_slice(&[1.0]);
    /// workspace.descend(&mut w, 0.5)?;
    /// assert_eq!(w, [3.0 - 0.5 * 1.0, 5.0 - 0.5 * 2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn descend(&mut self, w: &mut [T], rate: T) -> Result<(), Error> {
        self.memory.descend(&self.network, w, rate)
    }

    /// The gradient of all parameters, in the layout of the parameters; empty after [`descend`](Self::descend).
    pub fn gradient(&self) -> &[T] {
        if self.memory.spent { &[] } else { &self.memory.gradient }
    }

    /// The same, to be changed; zero after [`descend`](Self::descend).
    pub fn gradient_mut(&mut self) -> &mut [T] {
        self.blocks_and_gradient().1
    }

    /// The blocks and the gradient together, as a transform wants them.
    pub fn blocks_and_gradient(&mut self) -> (&Blocks, &mut [T]) {
        let memory = &mut self.memory;
        if core::mem::take(&mut memory.spent) {
            memory.gradient.fill(T::zero());
        }
        (&memory.blocks, &mut memory.gradient)
    }

    /// The gradient of the input, if it was [wanted](Self::compute_input_gradient); empty on a workspace for inference.
    pub fn input_gradient(&self) -> &[T] {
        let len = if self.memory.wants_input { self.memory.last_values()[0] } else { 0 };
        self.memory.dx.get(..len).unwrap_or(&[])
    }

    /// Sets the state that passes start from, h and then the rest of it, layer after layer.
    ///
    /// # Errors
    /// [`Error::Length`] for a network without state, or unless `state` is that of 1 sample to the capacity's samples.
    pub fn set_state(&mut self, state: &[T]) -> Result<(), Error> {
        self.memory.set_state(state)
    }

    /// The state that passes start from; empty where it is zero.
    pub fn state(&self) -> &[T] {
        if self.memory.starts_from_state { &self.memory.state } else { &[] }
    }

    /// Passes start from a state of zero again.
    pub fn clear_state(&mut self) {
        self.memory.starts_from_state = false;
    }

    /// Makes the state at the end of the last pass the start of the next: truncated backpropagation through
    /// time. No gradient goes from window to window.
    ///
    /// ```
    /// use chainrule::{BatchShape, layer::{Sequential, initialize}, recurrent::Lstm, workspace::Workspace};
    /// let network = Sequential::<f64>::input(1).recurrent(4, Lstm).build()?;
    /// let w = initialize(&network, 1)?;
    /// let window = BatchShape::sequences(2, 5); // 2 sequences, 5 steps at a time
    /// let mut workspace = Workspace::new(&network, window)?;
    /// let series = [0.1; 2 * 20]; // time-major: both samples of step 0, then of step 1, …
    /// for steps in series.chunks(2 * 5) {
    ///     let output = workspace.forward(&w, steps, window)?;
    ///     output.dy.copy_from_slice(output.y); // of the loss ½‖y‖²
    ///     workspace.accumulate(&w)?; // adds to the gradient of the windows before
    ///     workspace.carry_state();
    /// }
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn carry_state(&mut self) {
        let (states, memory) = (self.memory.last_values()[2], &mut self.memory);
        memory.state.clear();
        memory.state.extend_from_slice(&memory.state_end[..states]);
        memory.starts_from_state = states > 0;
    }

    /// The state at the end of the last pass.
    pub fn final_state(&self) -> &[T] {
        &self.memory.state_end[..self.memory.last_values()[2]]
    }

    /// The gradient of the loss with respect to the final state, to be filled between forward and backward; empty for a workspace
    /// that only infers.
    pub fn final_state_gradient_mut(&mut self) -> &mut [T] {
        let states = self.memory.last_values()[2];
        self.memory.d_state_end.get_mut(..states).unwrap_or(&mut [])
    }

    /// The gradient of the initial state, if it was [wanted](Self::compute_state_gradient).
    pub fn state_gradient(&self) -> &[T] {
        let len = if self.memory.wants_state { self.memory.last_values()[2] } else { 0 };
        self.memory.d_state.get(..len).unwrap_or(&[])
    }
}

impl<T: Scalar> Memory<T> {
    fn new(network: &dyn Layer<T>, capacity: BatchShape<'_>, mode: Mode) -> Result<Self, Error> {
        capacity.check()?;
        CpuLevel::current()?;
        let capacity = BatchShape::sequences(capacity.batch, capacity.steps);
        let answers = Question { shape: capacity, path: "" }.answers(network)?;
        let dims = answers.dims;
        require(dims.input > 0 && dims.output > 0, "the width of a network", "at least 1", 0.0)?;
        room::<T>("the parameters of the network", &[dims.parameters])?;
        room::<T>("a row of the network", &[dims.input.max(dims.output)])?;
        check_output_shape(capacity, network.output_shape(capacity)).map_err(|rule| rule.at(""))?;
        let blocks = Blocks::collect(|visit| network.blocks(visit));
        check_blocks(blocks.iter(), dims.parameters).map_err(|rule| rule.at(""))?;
        let mut names = Vec::new();
        network.places("", &mut |name| names.push(name));
        if names.len() != answers.places {
            return Err(LayerRule::Changed { method: "places" }.at(""));
        }
        let none = || Aligned::zeros("nothing", 0);
        let mut memory = Memory {
            dims,
            names,
            capacity: BatchShape::batch(0),
            x: none()?,
            y: none()?,
            dy: none()?,
            dx: none()?,
            saved: none()?,
            scratch: none()?,
            state: Vec::new(),
            state_end: none()?,
            d_state: none()?,
            d_state_end: none()?,
            gradient: Aligned::zeros("the gradient", if mode.saves() { dims.parameters } else { 0 })?,
            spent: false,
            trainable: filled("the blocks", blocks.len(), true)?,
            lengths: Vec::new(),
            blocks,
            last: None,
            ready: false,
            starts_from_state: false,
            wants_input: false,
            wants_state: false,
            dropout: DropoutKey::default(),
            pool: None,
        };
        memory.make_room(network, capacity, mode.saves())?;
        Ok(memory)
    }

    /// Makes the memory of passes of up to `capacity`.
    fn make_room(&mut self, network: &dyn Layer<T>, capacity: BatchShape<'_>, trains: bool) -> Result<(), Error> {
        let (capacity, dims) = (BatchShape::sequences(capacity.batch, capacity.steps), self.dims);
        let after = network.output_shape(capacity);
        let [infer, train] = self.memory_sizes(network, capacity, trains);
        // What inference does not keep has to fit as well: a pass computes with these numbers.
        let ins = room::<T>("the input of a pass (rows × width)", &[capacity.rows(), dims.input])?;
        let outs = room::<T>("the output of a pass (rows × width)", &[after.rows(), dims.output])?;
        let states = room::<T>("the state of a pass (values of a sample × samples)", &[infer.state, capacity.batch])?;
        let keep = |what, values: usize| Aligned::zeros(what, if trains { values } else { 0 });
        // Nothing changes before all of it is there.
        let (x, y, dy) = (
            keep("the input of a pass", ins)?,
            Aligned::zeros("the output of a pass", outs)?,
            keep("the gradient of an output", outs)?,
        );
        let dx = Aligned::zeros("the gradient of an input", if self.wants_input { x.len() } else { 0 })?;
        let saved = keep("the values kept for a backward pass", train.saved)?;
        let scratch = Aligned::zeros("the scratch of a pass", infer.scratch.max(train.scratch))?;
        let what = "the state of a pass";
        let mut state = filled(what, states, T::zero())?;
        if self.starts_from_state {
            state.clear();
            state.extend_from_slice(&self.state);
        }
        let (state_end, d_state, d_state_end) =
            (Aligned::zeros(what, states)?, keep(what, states)?, keep(what, states)?);
        self.lengths = reserve("the lengths of a pass", capacity.batch)?;
        (self.x, self.y, self.dy, self.dx, self.saved, self.scratch) = (x, y, dy, dx, saved, scratch);
        (self.state, self.state_end, self.d_state, self.d_state_end) = (state, state_end, d_state, d_state_end);
        (self.capacity, self.last, self.ready) = (capacity, None, false);
        Ok(())
    }

    fn reserve_batch(&mut self, network: &dyn Layer<T>, batch: usize) -> Result<(), Error> {
        if batch <= self.capacity.batch {
            return Ok(());
        }
        let capacity = BatchShape::sequences(batch, self.capacity.steps);
        capacity.check()?;
        let trains = self.check_saves().is_ok();
        self.make_room(network, capacity, trains)
    }

    /// Memory to infer, and to train if that is wanted, with the threads there are.
    fn memory_sizes(&mut self, network: &dyn Layer<T>, capacity: BatchShape<'_>, trains: bool) -> [MemorySizes; 2] {
        install(self.pool.as_mut(), || {
            let train = if trains { network.memory(capacity, Mode::Train) } else { MemorySizes::default() };
            [network.memory(capacity, Mode::Infer), train]
        })
    }

    fn note_frozen(&mut self) {
        for (trainable, block) in self.trainable.iter_mut().zip(&self.blocks) {
            *trainable = !block.frozen;
        }
    }

    #[cfg(feature = "std")]
    fn set_threads(&mut self, network: &dyn Layer<T>, threads: usize) -> Result<(), Error> {
        require(threads > 0, "the number of threads", "at least 1", threads as f64)?;
        crate::size::at_most("the number of threads", threads, THREADS)?;
        let pool = (threads > 1).then(|| ThreadPool::new(threads)).transpose();
        let pool = pool.map_err(|error| Error::Threads { threads, reason: alloc::format!("{error}") })?;
        // Layers that threads go through together need memory for each.
        let (before, trains) = (core::mem::replace(&mut self.pool, pool), self.check_saves().is_ok());
        let [infer, train] = self.memory_sizes(network, self.capacity, trains);
        match Aligned::zeros("the scratch of a pass", infer.scratch.max(train.scratch)) {
            Ok(scratch) => self.scratch = scratch,
            Err(error) => {
                self.pool = before;
                return Err(error);
            }
        }
        Ok(())
    }

    /// A forward pass on `x`, or on the input that is there.
    fn forward(
        &mut self,
        network: &dyn Layer<T>,
        w: &[T],
        x: Option<&[T]>,
        shape: BatchShape<'_>,
        mode: Mode,
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<Output<'_, T>, Error> {
        // What is refused leaves the last pass as it was.
        self.check_saves()?;
        let values = x.map_or(shape.rows().saturating_mul(self.dims.input), <[T]>::len);
        let pass = self.check(network, w, values, shape, mode.saving())?;
        if let Some(x) = x {
            self.x[..x.len()].copy_from_slice(x);
        }
        monitor.begin_pass();
        self.lengths.clear();
        self.lengths.extend_from_slice(shape.lengths.unwrap_or(&[]));
        self.run(network, w, None, shape, pass, monitor);
        self.ready = true;
        let [_, outs, states] = pass.values;
        self.dy[..outs].fill(T::zero());
        self.d_state_end[..states].fill(T::zero());
        let before = pass.shape(&self.lengths);
        let shape = network.output_shape(before);
        check_output_shape(before, shape).unwrap_or_else(|rule| panic!("the network: {rule}"));
        hold("the output of the network", saturating_product(&[shape.rows(), self.dims.output]), outs);
        Ok(Output { y: &self.y[..outs], dy: &mut self.dy[..outs], shape })
    }

    fn infer(&mut self, network: &dyn Layer<T>, w: &[T], x: &[T], shape: BatchShape<'_>) -> Result<&[T], Error> {
        let pass = self.check(network, w, x.len(), shape, Mode::Infer)?;
        self.run(network, w, Some(x), shape, pass, &mut ());
        Ok(&self.y[..pass.values[1]])
    }

    /// Refuses what needs a backward pass on a workspace that keeps nothing.
    fn check_saves(&self) -> Result<(), Error> {
        if self.gradient.len() < self.dims.parameters || self.x.is_empty() {
            return Err(Error::InvalidState {
                what: "a forward pass that can go back",
                needs: "a workspace made by Workspace::new",
            });
        }
        Ok(())
    }

    fn check_shape(&self, shape: BatchShape<'_>) -> Result<(), Error> {
        shape.check()?;
        let BatchShape { batch: max_batch, steps: max_steps, .. } = self.capacity;
        if shape.batch > max_batch || shape.steps > max_steps {
            return Err(Error::BeyondCapacity { batch: shape.batch, steps: shape.steps, max_batch, max_steps });
        }
        Ok(())
    }

    /// Checks a pass over `inputs` values.
    fn check(
        &self,
        network: &dyn Layer<T>,
        w: &[T],
        inputs: usize,
        shape: BatchShape<'_>,
        mode: Mode,
    ) -> Result<Pass, Error> {
        self.check_shape(shape)?;
        require_length("parameters", self.dims.parameters, w.len())?;
        require_length("input", saturating_product(&[shape.rows(), self.dims.input]), inputs)?;
        let pass = match self.last.filter(|last| last.is_over(shape, mode)) {
            Some(last) => last,
            None => self.size(network, shape, mode)?,
        };
        if self.starts_from_state {
            require_length("state", pass.values[2], self.state.len())?;
        }
        Ok(Pass { with_state: self.starts_from_state, ..pass })
    }

    /// The sizes of a pass, for which the workspace has the memory.
    fn size(&self, network: &dyn Layer<T>, shape: BatchShape<'_>, mode: Mode) -> Result<Pass, Error> {
        let (memory, after) = (network.memory(shape, mode), network.output_shape(shape));
        check_output_shape(shape, after).map_err(|rule| rule.at(""))?;
        let outs = saturating_product(&[after.rows(), self.dims.output]);
        let states = saturating_product(&[memory.state, shape.batch]);
        let sizes = [
            ("output", outs, self.y.len()),
            ("state", states, self.state_end.len()),
            // Threads of a step around this one raise the scratch that is asked for, not the scratch that is needed.
            ("scratch", if threads() > 1 { 0 } else { memory.scratch }, self.scratch.len()),
            ("saved values", memory.saved, self.saved.len()),
        ];
        if let Some((what, smaller, larger)) = sizes.into_iter().find(|(_, smaller, larger)| smaller > larger) {
            return Err(LayerRule::MemoryShrinks { what, smaller, larger }.at(""));
        }
        Ok(Pass {
            batch: shape.batch,
            steps: shape.steps,
            ragged: shape.lengths.is_some(),
            mode,
            with_state: false,
            values: [shape.rows() * self.dims.input, outs, states],
            saved: memory.saved,
        })
    }

    fn run(
        &mut self,
        network: &dyn Layer<T>,
        w: &[T],
        x: Option<&[T]>,
        shape: BatchShape<'_>,
        pass: Pass,
        monitor: &mut dyn GradientMonitor<T>,
    ) {
        // Nothing is left of the pass before, nor of this one where it panics.
        (self.last, self.ready) = (None, false);
        let [ins, outs, states] = pass.values;
        let forward = Forward {
            shape,
            mode: pass.mode,
            dropout: self.dropout,
            x: x.unwrap_or(&self.x[..ins.min(self.x.len())]),
            y: &mut self.y[..outs],
            saved: &mut self.saved[..pass.saved],
            initial_state: if pass.with_state { Some(&self.state[..states]) } else { None },
            final_state: &mut self.state_end[..states],
            scratch: &mut self.scratch,
            monitor,
            at: LinkPath::new(&self.names),
        };
        install(self.pool.as_mut(), || network.forward(w, forward));
        self.last = Some(pass);
    }

    fn descend(&mut self, network: &dyn Layer<T>, w: &mut [T], rate: T) -> Result<(), Error> {
        check_rate::<T>(to_f64(rate))?;
        if self.trainable.contains(&false) {
            self.go_back(network, Parameters::Stay(w), true, &mut ())?;
            descend(w, rate, &self.gradient);
        } else {
            self.go_back(network, Parameters::Descend(w, rate), true, &mut ())?;
        }
        self.spent = true;
        Ok(())
    }

    /// Adds to the gradient that is there, or begins it.
    fn go_back(
        &mut self,
        network: &dyn Layer<T>,
        mut w: Parameters<'_, T>,
        begins: bool,
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<(), Error> {
        require_length("parameters", self.dims.parameters, w.read().len())?;
        // The saved values are consumed: one forward pass, one backward pass.
        let pass = self.last.filter(|_| self.ready);
        let pass = pass.ok_or(Error::InvalidState { what: "a backward pass", needs: "a forward pass" })?;
        if self.wants_input && self.dx.len() < self.x.len() {
            self.dx = Aligned::zeros("the gradient of an input", self.x.len())?;
        }
        self.ready = false;
        let [ins, outs, states] = pass.values;
        let begins = core::mem::replace(&mut self.spent, true) || begins;
        let shape = pass.shape(&self.lengths);
        let backward = Backward {
            shape,
            mode: pass.mode,
            dropout: self.dropout,
            x: &self.x[..ins],
            y: &self.y[..outs],
            saved: &mut self.saved[..pass.saved],
            initial_state: if pass.with_state { Some(&self.state[..states]) } else { None },
            dy: &self.dy[..outs],
            d_final_state: if states > 0 { Some(&self.d_state_end[..states]) } else { None },
            dx: if self.wants_input { Some(&mut self.dx[..ins]) } else { None },
            d_initial_state: if self.wants_state { Some(&mut self.d_state[..states]) } else { None },
            dw: &mut self.gradient,
            overwrite_dw: begins,
            trainable: TrainableMask::new(&self.trainable),
            scratch: &mut self.scratch,
            monitor,
            at: LinkPath::new(&self.names),
        };
        let whole = w.part(0..self.dims.parameters);
        install(self.pool.as_mut(), || whole.down(network, backward));
        self.spent = false;
        // A layer may leave unwanted gradients out; one that does not is as right.
        for block in self.blocks.iter().filter(|block| block.frozen) {
            self.gradient[block.range.clone()].fill(T::zero());
        }
        if monitor.is_active() {
            monitor.gradient(&self.blocks, w.read(), &self.gradient);
        }
        Ok(())
    }

    fn set_state(&mut self, state: &[T]) -> Result<(), Error> {
        let each = self.state_end.len() / self.capacity.batch;
        if each == 0
            || state.is_empty()
            || !state.len().is_multiple_of(each)
            || state.len() / each > self.capacity.batch
        {
            let expected = saturating_product(&[each, self.capacity.batch]);
            return Err(Error::Length { what: "state", expected, found: state.len() });
        }
        self.state.clear();
        self.state.extend_from_slice(state);
        self.starts_from_state = true;
        Ok(())
    }

    fn last_values(&self) -> [usize; 3] {
        self.last.map_or([0; 3], |pass| pass.values)
    }
}

impl Pass {
    /// Whether it was over such rows in that mode, so that its sizes are those of the next.
    fn is_over(&self, shape: BatchShape<'_>, mode: Mode) -> bool {
        let ragged = self.ragged || shape.lengths.is_some();
        !ragged && (self.batch, self.steps, self.mode) == (shape.batch, shape.steps, mode)
    }

    fn shape<'a>(&self, lengths: &'a [usize]) -> BatchShape<'a> {
        BatchShape { batch: self.batch, steps: self.steps, lengths: self.ragged.then_some(lengths) }
    }
}
