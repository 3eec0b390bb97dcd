//! The values at the lowest validation loss, which early stopping keeps; and checks after a caller has replaced the
//! workspace or the optimizer of a trainer.

use super::{Progress, Run, Trainer};
use crate::{
    error::{Error, require_length},
    layer::Layer,
    loss::Loss,
    scalar::Scalar,
    transform::{GradientTransform, Optimizer},
    workspace::{StepWindows, Workspace, per_step},
};
use alloc::vec::Vec;

/// The parameters and buffers at the lowest validation loss, and also the optimizer state if that holds the weights
/// of [`Trainer::result`]. The three vectors are parameters, buffers and optimizer state, all empty before the first
/// validation. While [`Progress::restored`] is set, the trainer holds these values, and `Kept` holds the values at
/// the end of the last epoch.
#[derive(Clone, Debug)]
pub(crate) struct Kept<T>([Vec<T>; 3]);

impl<T> Kept<T> {
    pub(super) const fn new() -> Self {
        Kept([const { Vec::new() }; 3])
    }
}

impl<T: Scalar> Kept<T> {
    /// Creates the kept values from `values`, the concatenation of three vectors with the given `lengths`:
    /// parameters, buffers and optimizer state. If `values` ends before a vector is complete, that vector is empty.
    #[cfg(feature = "safetensors")]
    pub(crate) fn of(values: &[T], lengths: [usize; 3]) -> Self {
        let mut rest = values;
        Kept(lengths.map(|length| rest.split_off(..length).unwrap_or_default().to_vec()))
    }

    /// Returns all kept values as one vector: parameters, then buffers, then optimizer state.
    #[cfg(feature = "safetensors")]
    pub(crate) fn to_vec(&self) -> Vec<T> {
        self.0.concat()
    }

    /// Whether the kept vectors have the given `lengths`: the numbers of parameters, buffers and values of optimizer
    /// state, in this order.
    pub(crate) fn fits(&self, lengths: [usize; 3]) -> bool {
        self.0.each_ref().map(Vec::len) == lengths
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fits([0; 3])
    }

    fn clear(&mut self) {
        self.0.iter_mut().for_each(Vec::clear);
    }
}

/// Returns the lengths of the three vectors of [`Kept`]: the numbers of parameters, buffers and values of optimizer
/// state that early stopping copies. The last number is 0 unless the optimizer state holds the weights of
/// [`Trainer::result`].
fn kept<T: Scalar, L: Layer<T> + ?Sized, G: GradientTransform<T> + ?Sized>(
    workspace: &Workspace<T, L>,
    optimizer: &Optimizer<T, G>,
) -> [usize; 3] {
    let state = if optimizer.has_result(workspace.blocks()) { optimizer.state().len() } else { 0 };
    [workspace.dims().parameters, workspace.buffers().len(), state]
}

impl<T: Scalar, L: Layer<T>, C: Loss<T>, G: GradientTransform<T>> Trainer<T, L, C, G> {
    /// Returns the numbers of parameters, buffers and values of optimizer state that [`Self::best`], the copy for
    /// early stopping, holds of this trainer. The last number is 0 unless the optimizer state holds the weights of
    /// [`result`](Self::result).
    #[cfg(feature = "safetensors")]
    pub(crate) fn kept(&self) -> [usize; 3] {
        kept(&self.workspace, &self.optimizer)
    }

    /// Discards the lowest validation loss and the values kept at it, for example because the parameters were
    /// replaced.
    pub(crate) fn forget_best(&mut self) {
        self.run().forget_best();
    }

    /// Checks the trainer and borrows it as a [`Run`], at the start of a public call. The check is made only if the
    /// caller may have replaced workspace, optimizer or parameters since the last call: it tests that they still
    /// belong together.
    ///
    /// # Errors
    /// [`Error::Length`] if the network in the workspace has another number of parameters than the trainer, or the
    /// optimizer's state another length than that network needs; the errors of [`per_step`], [`Loss::check_width`]
    /// and [`StepWindows::new`].
    pub(super) fn settled(&mut self) -> Result<Run<'_, T>, Error> {
        self.settle()?;
        Ok(self.run())
    }

    /// Makes the check that [`settled`](Self::settled) describes, with its errors: that workspace, optimizer and
    /// parameters belong together. The values kept at the lowest validation loss are discarded if their lengths no
    /// longer agree with the trainer.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        if !self.lent {
            return Ok(());
        }
        let dims = self.workspace.dims();
        require_length("parameters of the trainer", dims.parameters, self.parameters.len())?;
        per_step(self.workspace.network())?;
        self.optimizer.check_state(self.workspace.blocks())?;
        self.loss.check_width(dims.output)?;
        if let Some(truncation) = self.settings.truncation {
            self.windows = Some(StepWindows::new(self.workspace.network(), truncation.window)?);
        }
        if !self.best.is_empty() && !self.best.fits(kept(&self.workspace, &self.optimizer)) {
            self.forget_best();
        }
        self.lent = false;
        Ok(())
    }
}

impl<T: Scalar> Run<'_, T> {
    /// If early stopping has restored the values of the lowest validation loss, lets training continue from them:
    /// `best` becomes a copy of them, and the values of the last epoch are lost.
    pub(super) fn leave_best(&mut self) {
        if core::mem::take(&mut self.progress.restored) {
            self.keep_best();
            self.progress.waited = 0;
        }
    }

    /// Copies the current parameters and buffers to `best`, which early stopping restores. Also copies the optimizer
    /// state if it holds the weights of [`Trainer::result`].
    pub(super) fn keep_best(&mut self) {
        let [_, _, state] = kept(self.workspace, self.optimizer);
        self.best.clear();
        let Kept([parameters, buffers, of_state]) = &mut *self.best;
        parameters.extend_from_slice(self.parameters);
        buffers.extend_from_slice(self.workspace.buffers());
        of_state.extend_from_slice(&self.optimizer.state()[..state]);
    }

    /// Swaps the current parameters and buffers with the copies in `best`, and also the optimizer state if that holds
    /// the weights of [`Trainer::result`]. The copies are the values at the lowest validation loss or, after an
    /// earlier swap, the values of the last epoch.
    pub(super) fn exchange_best(&mut self) {
        let Kept([parameters, buffers, state]) = &mut *self.best;
        self.parameters.swap_with_slice(parameters);
        self.workspace.buffers_mut().swap_with_slice(buffers);
        self.optimizer.state_mut()[..state.len()].swap_with_slice(state);
        self.progress.restored = !self.progress.restored;
    }

    /// After an error, replaces the current values, which may be NaN, by those of the lowest validation loss, from
    /// which the run continues. The optimizer is reset, with its schedules, if its state holds a value that a
    /// transform does not allow, such as NaN.
    pub(super) fn return_to_best(&mut self) {
        self.exchange_best();
        self.leave_best();
        self.progress.waited = 0;
        self.optimizer.reset_unless_sound(self.workspace.blocks(), self.parameters);
    }

    /// Whether the trainer keeps a copy of the values at the lowest validation loss.
    pub(super) fn has_best(&self) -> bool {
        !self.best.is_empty()
    }

    /// Discards the copy of the values at the lowest validation loss, that loss, and the number of epochs since it.
    pub(super) fn forget_best(&mut self) {
        self.best.clear();
        *self.progress = Progress { best: f64::INFINITY, waited: 0, restored: false, ..*self.progress };
    }
}
