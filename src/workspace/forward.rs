//! Forward passes of a workspace.

use super::{Capacity, Memory, Workspace};
use crate::{
    batch_shape::BatchShape,
    error::{Error, LayerRule, require_length},
    kernel::thread_pool::{install, threads},
    layer::{Context, DropoutKey, Forward, ForwardState, Layer, LinkPath, Mode, check_output_shape, twice},
    monitor::GradientMonitor,
    scalar::Scalar,
    size::saturating_product,
    slices::hold,
};
use core::fmt;

/// The settings of the last forward pass, and the lengths of its input, output, state and saved values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    /// The number of samples of the pass.
    pub(super) batch: usize,
    /// The number of time steps of the longest sample of the pass.
    pub(super) steps: usize,
    /// Whether the lengths of the samples were given one by one, so that they may differ.
    pub(super) ragged: bool,
    pub(super) mode: Mode,
    /// Whether the pass started from a recurrent state that was set, not from zero.
    pub(super) with_state: bool,
    /// The key of the dropout masks of the pass, which the backward pass draws again.
    pub(super) dropout: DropoutKey,
    /// \[batch size, number of time steps\] of the output. `None` if the lengths of its samples may differ: then
    /// [`Layer::output_shape`] computes the shape again after the pass.
    pub(super) after: Option<[usize; 2]>,
    /// The numbers of values of \[input, output, recurrent state\], each for the whole batch.
    pub(super) values: [usize; 3],
    /// The number of values that the layers keep for the backward pass, beside input and output.
    pub(super) saved: usize,
    /// Whether the pass has ended; false if it has panicked, or is still running.
    pub(super) ended: bool,
}

/// The result of a forward pass: the output of the network, and a buffer for the gradient of the loss.
#[non_exhaustive]
pub struct Output<'a, T> {
    /// The output of the network, \[rows, output width\], time-major.
    pub y: &'a [T],
    /// The gradient of the loss with respect to `y`, which the caller writes here. A forward pass sets it to zeros.
    pub dy: &'a mut [T],
    /// The batch shape of the output: samples and time steps.
    pub shape: BatchShape<'a>,
}

/// Writes the lengths of output and gradient, and the shape, not the values.
impl<T> fmt::Debug for Output<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (y, dy) = (self.y.len(), self.dy.len());
        f.debug_struct("Output").field("y", &y).field("dy", &dy).field("shape", &self.shape).finish()
    }
}

impl<T: Scalar, L: Layer<T> + ?Sized> Workspace<T, L> {
    /// Runs the network on `x` as in training: with dropout, and ready for [`backward`](Self::backward).
    ///
    /// # Shapes
    /// x: \[rows, input width\], time-major; the output has the rows of the network's output shape for `shape`.
    ///
    /// # Errors
    /// [`Error::InvalidState`] on a workspace made by [`for_inference`](Self::for_inference).
    /// [`Error::BeyondCapacity`] for a `shape` beyond the workspace's capacity, and the errors of
    /// [`BatchShape::check`]. [`Error::Length`] if `w`, `x` or the [state](Self::set_state) does not have the length
    /// of this pass. [`Error::InvalidLayer`] if the network's output shape or memory for `shape` contradicts those
    /// for the workspace's capacity, or if a [`BatchNorm`](crate::layer::BatchNorm) has one row in training.
    /// [`DataRule::Index`](crate::DataRule::Index) for an input that is not a valid index for an
    /// [`Embedding`](crate::layer::Embedding).
    ///
    /// # Panics
    /// If a custom layer breaks a law of [`Layer`] in the pass, for example has other memory sizes than before; the
    /// message names the law. If it passes a value that is not a valid index to an
    /// [`Embedding`](crate::layer::Embedding): only indices among the inputs of the network are checked before a
    /// pass.
    pub fn forward(&mut self, w: &[T], x: &[T], shape: BatchShape<'_>) -> Result<Output<'_, T>, Error> {
        self.forward_with(w, x, shape, Mode::Train, &mut ())
    }

    /// Runs [`forward`](Self::forward) with a chosen `mode` and a monitor.
    ///
    /// # Errors
    /// The errors of [`forward`](Self::forward).
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
        T::workspace_forward(&mut self.memory, self.network.as_layer(), w, Some(x), shape, mode, monitor)
    }

    /// Returns the input buffer of a pass over `shape`. Write the input to it and run
    /// [`forward_filled`](Self::forward_filled), to avoid the copy that [`forward`](Self::forward) makes. After this
    /// call, no backward pass of an earlier forward pass is possible.
    ///
    /// # Shapes
    /// \[rows, input width\], time-major.
    ///
    /// # Errors
    /// [`Error::InvalidState`] on a workspace made by [`for_inference`](Self::for_inference).
    /// [`Error::BeyondCapacity`] for a `shape` beyond the workspace's capacity, and the errors of
    /// [`BatchShape::check`].
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
    #[inline]
    pub fn input_mut(&mut self, shape: BatchShape<'_>) -> Result<&mut [T], Error> {
        let memory = &mut self.memory;
        memory.check_saves()?;
        memory.check_shape(&shape)?;
        memory.ready = false;
        Ok(&mut memory.x[..shape.rows() * memory.dims.input])
    }

    /// Runs [`forward_with`](Self::forward_with) on the current content of the input buffer,
    /// [`input_mut`](Self::input_mut).
    ///
    /// # Errors
    /// The errors of [`forward`](Self::forward), except for the length of the input.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    #[inline]
    pub fn forward_filled(
        &mut self,
        w: &[T],
        shape: BatchShape<'_>,
        mode: Mode,
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<Output<'_, T>, Error> {
        T::workspace_forward(&mut self.memory, self.network.as_layer(), w, None, shape, mode, monitor)
    }

    /// Returns the output of the network for `x`, without dropout, and saves nothing for a backward pass. After this
    /// call, no backward pass of an earlier forward pass is possible.
    ///
    /// # Errors
    /// The errors of [`forward`](Self::forward), except [`Error::InvalidState`]: every workspace can run inference.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn infer(&mut self, w: &[T], x: &[T], shape: BatchShape<'_>) -> Result<&[T], Error> {
        T::workspace_infer(&mut self.memory, self.network.as_layer(), w, Some(x), shape)
    }
}

impl<T: Scalar> Memory<T> {
    /// Returns [`Error::InvalidState`] on a workspace for inference: it has no memory for a forward pass that saves
    /// values for a backward pass.
    #[inline]
    pub(super) fn check_saves(&self) -> Result<(), Error> {
        if self.gradient.len() < self.dims.parameters || self.x.is_empty() {
            return Err(Error::InvalidState {
                what: "a forward pass that can go back",
                needs: "a workspace made by `Workspace::new`, not by `for_inference`",
            });
        }
        Ok(())
    }

    #[inline]
    pub(super) fn check_shape(&self, shape: &BatchShape<'_>) -> Result<(), Error> {
        // The last pass had this shape, so the shape is valid and within a capacity.
        if self.last.has_shape(shape) {
            return Ok(());
        }
        shape.check()?;
        let needed = Capacity::of(shape);
        match self.capacities.iter().any(|capacity| capacity.holds(needed)) {
            true => Ok(()),
            false => Err(self.beyond_capacity(shape)),
        }
    }

    /// Returns [`Error::BeyondCapacity`] for a pass of `batch` samples and `steps` time steps that is within no
    /// capacity. The error states one capacity: of those with enough time steps the one with the most samples, or, if
    /// none has enough, the one with the most time steps.
    #[cold]
    fn beyond_capacity(&self, &BatchShape { batch, steps, .. }: &BatchShape<'_>) -> Error {
        let enough = self.capacities.iter().filter(|capacity| capacity.steps >= steps);
        let nearest = enough.max_by_key(|capacity| capacity.batch);
        let nearest = nearest.or_else(|| self.capacities.iter().max_by_key(|capacity| capacity.steps));
        let [max_batch, max_steps] = nearest.map_or([0; 2], |capacity| [capacity.batch, capacity.steps]);
        Error::BeyondCapacity { batch, steps, max_batch, max_steps }
    }

    /// Runs a forward pass on `x`, or, if that is `None`, on the content of the input buffer. A backward pass may
    /// follow, so `Mode::Infer` is replaced by the mode of evaluation, which saves the values for it.
    pub(crate) fn forward(
        &mut self,
        network: &dyn Layer<T>,
        w: &[T],
        x: Option<&[T]>,
        shape: BatchShape<'_>,
        mode: Mode,
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<Output<'_, T>, Error> {
        // If a check fails, the last pass remains as it was.
        self.check_saves()?;
        self.check(network, w, x, &shape, mode.saving())?;
        // If the monitor panics, the input buffer is overwritten but no pass has run on it.
        self.ready = false;
        if let Some(x) = x {
            self.x[..x.len()].copy_from_slice(x);
        }
        monitor.begin_pass();
        self.buffers.shards.clear();
        self.lengths.clear();
        self.lengths.extend_from_slice(shape.lengths.unwrap_or_default());
        self.run(network, w, None, shape, monitor);
        self.ready = true;
        let Pass { values: [_, outs, states], after, .. } = self.last;
        self.dy[..outs].fill(T::zero());
        self.d_state_end[..states].fill(T::zero());
        let BatchShape { batch, steps, lengths } = match after {
            Some([batch, steps]) => BatchShape::sequences(batch, steps),
            None => {
                let before = self.last.shape(&self.lengths);
                let after = network.output_shape(before);
                check_output_shape(before, after).unwrap_or_else(|rule| panic!("the network: {rule}"));
                hold("the output of the network", saturating_product(&[after.rows(), self.dims.output]), outs);
                after
            }
        };
        let shape = BatchShape { batch, steps, lengths };
        Ok(Output { y: &self.y[..outs], dy: &mut self.dy[..outs], shape })
    }

    /// Runs a pass in inference mode, which no backward pass can follow, on `x` or the content of the input buffer.
    pub(crate) fn infer(
        &mut self,
        network: &dyn Layer<T>,
        w: &[T],
        x: Option<&[T]>,
        shape: BatchShape<'_>,
    ) -> Result<&[T], Error> {
        self.check(network, w, x, &shape, Mode::Infer)?;
        self.run(network, w, x, shape, &mut ());
        Ok(&self.y[..self.last.values[1]])
    }

    /// Checks `shape`, the parameters `w`, the input (`x`, or the content of the input buffer) and the state that was
    /// set, for a pass in `mode`. If the buffers of this pass have other lengths than those of the last pass, stores
    /// the new lengths. On an error the last pass is unchanged.
    #[inline]
    fn check(
        &mut self,
        network: &dyn Layer<T>,
        w: &[T],
        x: Option<&[T]>,
        shape: &BatchShape<'_>,
        mode: Mode,
    ) -> Result<(), Error> {
        self.check_shape(shape)?;
        require_length("parameters", self.dims.parameters, w.len())?;
        let values = shape.rows().saturating_mul(self.dims.input);
        require_length("input", values, x.map_or(values, <[T]>::len))?;
        let sizes = if self.last.is_over(shape, mode) {
            None
        } else {
            self.rules.check_rows(network, *shape, mode)?;
            Some(self.size(network, *shape, mode)?)
        };
        if self.starts_from_state {
            require_length("state", sizes.as_ref().unwrap_or(&self.last).values[2], self.state.len())?;
        }
        let x = match x {
            Some(x) => x,
            None => &self.x[..values],
        };
        self.rules.check_indices(x, *shape, self.dims.input)?;
        if let Some(sizes) = sizes {
            (self.last, self.ready) = (sizes, false);
        }
        Ok(())
    }

    /// Returns the lengths of the buffers that a pass over `shape` in `mode` uses, or an error if they exceed those
    /// of the workspace, or if the output shape is invalid.
    pub(super) fn size(&self, network: &dyn Layer<T>, shape: BatchShape<'_>, mode: Mode) -> Result<Pass, Error> {
        let memory = network.memory(shape, mode);
        let after = twice("output_shape", || network.output_shape(shape)).map_err(|rule| rule.at(""))?;
        check_output_shape(shape, after).map_err(|rule| rule.at(""))?;
        let outs = saturating_product(&[after.rows(), self.dims.output]);
        let states = saturating_product(&[memory.state, shape.batch]);
        let sizes = [
            ("output", outs, self.y.len()),
            ("state", states, self.state_end.len()),
            // With more threads than at allocation, a network requests more scratch, but can run with less.
            ("scratch", if threads() > self.scratch_threads { 0 } else { memory.scratch }, self.scratch.len()),
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
            dropout: self.dropout,
            after: after.lengths.is_none().then_some([after.batch, after.steps]),
            values: [shape.rows() * self.dims.input, outs, states],
            saved: memory.saved,
            ended: false,
        })
    }

    /// Runs a forward pass over `shape` after [`check`](Self::check), on `x` or on the content of the input buffer.
    #[inline]
    fn run(
        &mut self,
        network: &dyn Layer<T>,
        w: &[T],
        x: Option<&[T]>,
        shape: BatchShape<'_>,
        monitor: &mut dyn GradientMonitor<T>,
    ) {
        // If this pass panics, no backward pass is possible.
        (self.last.ended, self.ready) = (false, false);
        (self.last.with_state, self.last.dropout) = (self.starts_from_state, self.dropout);
        let pass = &self.last;
        let [ins, outs, states] = pass.values;
        let forward = Forward {
            x: x.unwrap_or(&self.x[..ins.min(self.x.len())]),
            y: &mut self.y[..outs],
            saved: &mut self.saved[..pass.saved],
            scratch: &mut self.scratch,
            state: ForwardState {
                initial_state: if pass.with_state { Some(&self.state[..states]) } else { None },
                final_state: &mut self.state_end[..states],
            },
            ctx: Context {
                dropout: pass.dropout,
                path: LinkPath::new(&self.names),
                buffers: self.buffers.for_pass(pass.mode == Mode::Train),
                ..Context::new(shape, pass.mode, monitor)
            },
        };
        install(self.pool.as_mut(), || network.forward(w, forward));
        self.last.ended = true;
    }
}

impl Pass {
    /// The value for "no pass yet". It is ragged, so that no pass compares equal to it in shape.
    pub(super) const NONE: Pass = Pass {
        batch: 0,
        steps: 0,
        ragged: true,
        mode: Mode::Infer,
        with_state: false,
        dropout: DropoutKey::new(0, 0),
        after: None,
        values: [0; 3],
        saved: 0,
        ended: false,
    };

    /// Whether a pass over `shape` in `mode` has buffers of the same lengths as this pass. It is false if the lengths
    /// of the samples were given for either pass.
    #[inline]
    fn is_over(&self, shape: &BatchShape<'_>, mode: Mode) -> bool {
        self.mode == mode && self.has_shape(shape)
    }

    /// Whether a pass over `shape` has as many samples and time steps as this pass. It is false if the lengths of the
    /// samples were given for either pass.
    #[inline]
    fn has_shape(&self, shape: &BatchShape<'_>) -> bool {
        let ragged = self.ragged || shape.lengths.is_some();
        !ragged && (self.batch, self.steps) == (shape.batch, shape.steps)
    }

    #[inline]
    pub(super) fn shape<'a>(&self, lengths: &'a [usize]) -> BatchShape<'a> {
        BatchShape { batch: self.batch, steps: self.steps, lengths: self.ragged.then_some(lengths) }
    }
}
