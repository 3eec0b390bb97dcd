//! Backward passes of a workspace, and the gradient of the parameters.

use super::{Memory, Workspace};
use crate::{
    block::Blocks,
    error::{Error, require_length},
    kernel::{aligned::Aligned, elementwise::descend, sums::PartSums, thread_pool::install},
    layer::{Backward, BackwardState, Chain, Context, InPlaceStep, Layer, LinkPath, Parameters, TrainableMask},
    monitor::{Event, GradientMonitor},
    scalar::{Scalar, to_f64},
    transform::check_rate,
};

impl<T: Scalar, L: Layer<T> + ?Sized> Workspace<T, L> {
    /// Runs the backward pass: computes the gradient of the loss with respect to all parameters `w`, and returns it.
    /// The gradient `dy` of the output must have been written after the last [`forward`](Self::forward). An earlier
    /// parameter gradient is overwritten.
    ///
    /// # Errors
    /// [`Error::Length`] if `w` does not have the length of the network's parameters. [`Error::InvalidState`] without
    /// a [`forward`](Self::forward) since the last backward pass. [`Error::TooLarge`] if memory cannot hold the
    /// gradient of the input.
    ///
    /// # Panics
    /// If a custom layer breaks a law of [`Layer`] in the pass, for example has other memory sizes than before. The
    /// message names the law.
    pub fn backward(&mut self, w: &[T]) -> Result<&mut [T], Error> {
        self.backward_with(w, &mut ())
    }

    /// Computes the gradient as [`backward`](Self::backward) does, and reports events of the pass to `monitor`.
    ///
    /// # Errors
    /// The errors of [`backward`](Self::backward).
    ///
    /// # Panics
    /// As [`backward`](Self::backward).
    pub fn backward_with(&mut self, w: &[T], monitor: &mut dyn GradientMonitor<T>) -> Result<&mut [T], Error> {
        T::workspace_backward(&mut self.memory, self.network.as_layer(), Given::Stay(w), true, monitor)?;
        Ok(&mut self.memory.gradient)
    }

    /// Runs the backward pass of the last [`forward`](Self::forward), adds its gradient to the current gradient, and
    /// returns the sum. So several small batches give the gradient of a large one. The gradient is zero after
    /// construction and after [`descend`](Self::descend).
    ///
    /// # Errors
    /// The errors of [`backward`](Self::backward).
    ///
    /// # Panics
    /// As [`backward`](Self::backward).
    pub fn accumulate(&mut self, w: &[T]) -> Result<&mut [T], Error> {
        self.accumulate_with(w, &mut ())
    }

    /// Runs the backward pass and adds to the gradient, as [`accumulate`](Self::accumulate) does, and reports events
    /// of the pass to `monitor`.
    ///
    /// # Errors
    /// The errors of [`backward`](Self::backward).
    ///
    /// # Panics
    /// As [`backward`](Self::backward).
    pub fn accumulate_with(&mut self, w: &[T], monitor: &mut dyn GradientMonitor<T>) -> Result<&mut [T], Error> {
        T::workspace_backward(&mut self.memory, self.network.as_layer(), Given::Stay(w), false, monitor)?;
        Ok(&mut self.memory.gradient)
    }

    /// Reserves the memory in which [`add_part`](Self::add_part) sums the gradients of the `parts` passes of an
    /// update.
    pub(crate) fn reserve_parts(&mut self, parts: usize) -> Result<(), Error> {
        let memory = &mut self.memory;
        memory.part_sums.reserve(memory.gradient.len(), parts)
    }

    /// Runs the backward pass of the last [`forward`](Self::forward), and adds its gradient to the sum over the
    /// earlier passes of an update. `part` is the index of the pass in the update; pass 0 overwrites the sum.
    /// [`finish_parts`](Self::finish_parts) completes the sum.
    ///
    /// Unlike [`accumulate_with`](Self::accumulate_with) it adds groups of passes in a tree, so that a sum of many
    /// terms loses fewer digits to rounding.
    pub(crate) fn add_part(&mut self, w: &[T], part: usize, monitor: &mut dyn GradientMonitor<T>) -> Result<(), Error> {
        if !PartSums::<T>::begins_group(part) {
            return self.accumulate_with(w, monitor).map(drop);
        }
        if part > 0 {
            self.memory.part_sums.end_group(part, &self.memory.gradient);
        }
        self.backward_with(w, monitor).map(drop)
    }

    /// Completes the sum over all `parts` passes of an update: replaces the gradient, which is the sum over the last
    /// group of passes, by this sum.
    pub(crate) fn finish_parts(&mut self, parts: usize) {
        self.memory.part_sums.finish(parts, &mut self.memory.gradient);
    }

    /// Runs [`backward`](Self::backward) and an update by plain gradient descent, `w ← w − rate · gradient`, in one
    /// call.
    ///
    /// Afterwards [`gradient`](Self::gradient) is empty: a [`Sequential`](crate::layer::Sequential) without frozen
    /// blocks updates layer by layer, and never stores the whole gradient. Frozen blocks keep their values.
    ///
    /// # Errors
    /// The errors of [`backward`](Self::backward); [`Error::Parameter`] for a `rate` that is negative or not finite.
    /// On an error `w` is unchanged.
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
        check_rate::<T>(to_f64(rate))?;
        T::workspace_descend(&mut self.memory, self.network.as_layer(), w, rate)
    }

    /// Runs [`descend`](Self::descend) without a check of `rate`, which the caller has made.
    #[inline]
    pub(crate) fn descend_checked(&mut self, w: &mut [T], rate: T) -> Result<(), Error> {
        T::workspace_descend(&mut self.memory, self.network.as_layer(), w, rate)
    }

    /// Runs [`backward`](Self::backward) and an update of `w` by `chain`, a chain of element-wise transforms, in one
    /// call. Afterwards [`gradient`](Self::gradient) is empty. The caller ensures that no block is frozen.
    pub(crate) fn backward_in_place(&mut self, w: &mut [T], chain: &mut Chain<'_, T>) -> Result<(), Error> {
        T::workspace_backward(&mut self.memory, self.network.as_layer(), Given::Chain(w, chain), true, &mut ())?;
        self.memory.spent = true;
        Ok(())
    }

    /// Runs a backward pass without a monitor, and calls `each` for consecutive ranges of its gradient, from the last
    /// parameter to the first. The arguments are the index of the range's first value among the parameters, and the
    /// values of the gradient. `w` does not change. Afterwards the content of [`gradient`](Self::gradient) is
    /// arbitrary. The caller ensures that no block is frozen.
    #[cfg(feature = "std")]
    pub(crate) fn backward_in_parts(&mut self, w: &mut [T], each: &mut dyn FnMut(usize, &[T])) -> Result<(), Error> {
        let mut chain = |_: &Blocks, start: usize, _: &mut [T], gradient: &mut [T]| each(start, gradient);
        T::workspace_backward(&mut self.memory, self.network.as_layer(), Given::Chain(w, &mut chain), true, &mut ())
    }

    /// Whether any parameter block (a named range of the parameters) is frozen.
    pub(crate) fn has_frozen(&self) -> bool {
        self.memory.has_frozen
    }

    /// Returns the gradient of all parameters, in the layout of the parameters; empty after
    /// [`descend`](Self::descend).
    pub fn gradient(&self) -> &[T] {
        if self.memory.spent { &[] } else { &self.memory.gradient }
    }

    /// Returns the gradient of all parameters, mutable; zero after [`descend`](Self::descend).
    pub fn gradient_mut(&mut self) -> &mut [T] {
        self.blocks_and_gradient().1
    }

    /// Returns (parameter blocks, gradient of all parameters, mutable), for a gradient transform. The gradient is
    /// zero after [`descend`](Self::descend).
    pub fn blocks_and_gradient(&mut self) -> (&Blocks, &mut [T]) {
        let memory = &mut self.memory;
        if core::mem::take(&mut memory.spent) {
            memory.gradient.fill(T::zero());
        }
        (&memory.blocks, &mut memory.gradient)
    }

    /// Returns the gradient of the loss with respect to the input, from the last backward pass. Empty unless
    /// [`compute_input_gradient`](Self::compute_input_gradient) has enabled it, and on a workspace for inference.
    pub fn input_gradient(&self) -> &[T] {
        let len = if self.memory.wants_input { self.memory.last_values()[0] } else { 0 };
        self.memory.dx.get(..len).unwrap_or(&[])
    }

    /// Sets whether backward passes compute the gradient with respect to the input. The default is false, since in
    /// many networks this would be the largest matrix product of the pass. If memory for it cannot be allocated here,
    /// the next backward pass tries again and returns the error.
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
}

/// The parameters of a backward pass, which either leaves them unchanged or updates them in place. The caller updates
/// in place only if no monitor is active.
pub(crate) enum Given<'a, T> {
    /// The pass leaves the parameters unchanged, and computes their gradient.
    Stay(&'a [T]),
    /// The pass updates the parameters by plain gradient descent, `w ← w − rate · gradient`: (parameters, rate).
    Plain(&'a mut [T], T),
    /// The pass updates the parameters by a chain of element-wise transforms: (parameters, chain).
    Chain(&'a mut [T], &'a mut Chain<'a, T>),
}

impl<T> Given<'_, T> {
    fn len(&self) -> usize {
        match self {
            Given::Stay(w) => w.len(),
            Given::Plain(w, _) | Given::Chain(w, _) => w.len(),
        }
    }
}

impl<T: Scalar> Memory<T> {
    pub(crate) fn descend(&mut self, network: &dyn Layer<T>, w: &mut [T], rate: T) -> Result<(), Error> {
        if self.has_frozen {
            self.run_backward(network, Given::Stay(w), true, &mut ())?;
            descend(w, rate, &self.gradient);
        } else {
            self.run_backward(network, Given::Plain(w, rate), true, &mut ())?;
        }
        self.spent = true;
        Ok(())
    }

    /// Runs the backward pass with the parameters `w`. It overwrites the gradient if `begins` is true, and otherwise
    /// adds to it. A gradient that is invalid after an update in place or a panic is always overwritten.
    ///
    /// Returns an error if `w` has the wrong length, or without a forward pass since the last backward pass.
    #[inline]
    pub(crate) fn run_backward(
        &mut self,
        network: &dyn Layer<T>,
        w: Given<'_, T>,
        begins: bool,
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<(), Error> {
        require_length("parameters", self.dims.parameters, w.len())?;
        // The backward pass consumes the saved values, so each forward pass permits only one backward pass.
        if !self.ready {
            let needs = "a forward pass before it: call `Workspace::forward` (or `forward_with`) once for each \
                         backward pass";
            return Err(Error::InvalidState { what: "a backward pass", needs });
        }
        let pass = self.last;
        if self.wants_input && self.dx.len() < self.x.len() {
            self.dx = Aligned::zeros("the gradient of an input", self.x.len())?;
        }
        self.ready = false;
        let [ins, outs, states] = pass.values;
        let begins = core::mem::replace(&mut self.spent, true) || begins;
        let shape = pass.shape(&self.lengths);
        let backward = Backward {
            x: &self.x[..ins],
            y: &self.y[..outs],
            dy: &self.dy[..outs],
            dx: if self.wants_input { Some(&mut self.dx[..ins]) } else { None },
            dw: &mut self.gradient,
            saved: &mut self.saved[..pass.saved],
            scratch: &mut self.scratch,
            state: BackwardState {
                initial_state: if pass.with_state { Some(&self.state[..states]) } else { None },
                d_final_state: if states > 0 { Some(&self.d_state_end[..states]) } else { None },
                d_initial_state: if self.wants_state { Some(&mut self.d_state[..states]) } else { None },
            },
            overwrite_dw: begins,
            trainable: TrainableMask::new(&self.trainable),
            ctx: Context {
                dropout: pass.dropout,
                path: LinkPath::new(&self.names),
                buffers: self.buffers.for_pass(false),
                ..Context::new(shape, pass.mode, monitor)
            },
        };
        let (w, whole) = match w {
            Given::Stay(w) => (w, Parameters::Stay(w)),
            Given::Plain(w, rate) => (&[][..], Parameters::Update(w, InPlaceStep::plain(rate))),
            Given::Chain(w, chain) => (&[][..], Parameters::Update(w, InPlaceStep::chain(&self.blocks, chain))),
        };
        install(self.pool.as_mut(), || whole.backward(network, backward));
        self.spent = false;
        // Layers are free to compute gradients of frozen blocks, so these are set to zero here.
        if self.has_frozen {
            let frozen = self.blocks.iter().filter(|block| block.frozen);
            frozen.for_each(|block| self.gradient[block.range.clone()].fill(T::zero()));
        }
        if monitor.is_active() {
            monitor.event(&Event::Gradient { blocks: &self.blocks, w, dw: &self.gradient });
        }
        Ok(())
    }
}
