//! The recurrent state of a workspace: initial state, final state, and their gradients.

use super::{Memory, Workspace};
use crate::{error::Error, layer::Layer, scalar::Scalar, size::saturating_product};

impl<T: Scalar, L: Layer<T> + ?Sized> Workspace<T, L> {
    /// Sets the initial recurrent state of passes. `state` has, for each recurrent layer in order, the hidden state h
    /// of all samples, followed by the cell state of all samples if the layer has one. The next backward pass
    /// requires a forward pass after this call.
    ///
    /// # Errors
    /// [`Error::Length`] for a network without state, or if the length of `state` is not that of the states of a
    /// whole number of samples, from 1 to the capacity.
    pub fn set_state(&mut self, state: &[T]) -> Result<(), Error> {
        let most = self.memory.capacities.iter().map(|capacity| capacity.batch).max().unwrap_or_default();
        self.memory.set_state_of(most, state)
    }

    /// Sets the initial state of passes as [`set_state`](Self::set_state) does, but accepts more samples than the
    /// capacity. A pass over these samples then needs more memory first; a pass over another number of samples
    /// returns an error.
    #[cfg(feature = "safetensors")]
    pub(crate) fn restore_state(&mut self, state: &[T]) -> Result<(), Error> {
        let each = self.memory.state_values;
        self.memory.set_state_of(state.len() / each.max(1), state)
    }

    /// Returns the initial recurrent state of passes, in the layout of [`set_state`](Self::set_state); empty if it is
    /// zero.
    pub fn state(&self) -> &[T] {
        if self.memory.starts_from_state { &self.memory.state } else { &[] }
    }

    /// Resets the initial recurrent state of passes to zero.
    pub fn clear_state(&mut self) {
        self.memory.starts_from_state = false;
    }

    /// Makes the final recurrent state of the last pass the initial state of the next pass, for truncated
    /// backpropagation through time. No gradient flows between the two passes, so the backward pass of the last one
    /// must precede this call. If there was no pass, or the last one panicked, the initial state is unchanged.
    ///
    /// ```
    /// use chainrule::{BatchShape, layer::{Sequential, initialize}, recurrent::Lstm, workspace::Workspace};
    /// let network = Sequential::<f64>::input(1).recurrent(4, Lstm::new()).build()?;
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
        let memory = &mut self.memory;
        if !memory.last.ended {
            return;
        }
        let states = memory.last.values[2];
        memory.state.clear();
        memory.state.extend_from_slice(&memory.state_end[..states]);
        memory.starts_from_state = states > 0;
        // A backward pass reads the state from which its forward pass started, and this is now overwritten.
        memory.ready = false;
    }

    /// Returns the final recurrent state of the last pass, in the layout of [`set_state`](Self::set_state); empty
    /// before the first pass.
    pub fn final_state(&self) -> &[T] {
        &self.memory.state_end[..self.memory.last_values()[2]]
    }

    /// Returns the buffer for the gradient of the loss with respect to the final recurrent state. A forward pass sets
    /// it to zeros; write the gradient to it before the backward pass. Empty for a workspace made for inference.
    pub fn final_state_gradient_mut(&mut self) -> &mut [T] {
        let states = self.memory.last_values()[2];
        self.memory.d_state_end.get_mut(..states).unwrap_or(&mut [])
    }

    /// Returns the gradient of the loss with respect to the initial recurrent state, from the last backward pass;
    /// empty unless [`compute_state_gradient`](Self::compute_state_gradient) has enabled it.
    pub fn state_gradient(&self) -> &[T] {
        let len = if self.memory.wants_state { self.memory.last_values()[2] } else { 0 };
        self.memory.d_state.get(..len).unwrap_or(&[])
    }

    /// Sets whether backward passes compute the gradient of the loss with respect to the initial recurrent state. The
    /// default is false.
    pub fn compute_state_gradient(&mut self, wanted: bool) {
        self.memory.wants_state = wanted;
    }
}

impl<T: Scalar> Memory<T> {
    /// Sets the initial recurrent state of passes to `state`, that of at most `most` samples: see
    /// [`Workspace::set_state`].
    fn set_state_of(&mut self, most: usize, state: &[T]) -> Result<(), Error> {
        let each = self.state_values;
        if each == 0 || state.is_empty() || !state.len().is_multiple_of(each) || state.len() / each > most {
            let expected = saturating_product(&[each, most]);
            return Err(Error::Length { what: "state", expected, found: state.len() });
        }
        self.state.clear();
        self.state.extend_from_slice(state);
        (self.starts_from_state, self.ready) = (true, false);
        Ok(())
    }

    pub(super) fn last_values(&self) -> [usize; 3] {
        if self.last.ended { self.last.values } else { [0; 3] }
    }
}
