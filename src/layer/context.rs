//! The context of a pass: the layer's path, the mode of the pass, and the monitor that receives its events.

use super::{Buffers, DropoutKey, LinkPath, Mode};
use crate::{
    activation::AnyActivation,
    batch_shape::BatchShape,
    monitor::{Factor, GradientMonitor, Link},
    scalar::Scalar,
};
use alloc::vec::Vec;

/// The arguments common to both passes of a layer: rows, mode, dropout key, path and monitor.
///
/// A layer reports each of its links by [`report_forward`](Self::report_forward) and
/// [`report_backward`](Self::report_backward); without an active monitor they do nothing. A container passes
/// [`part`](Self::part) or [`branch`](Self::branch) to the layers inside.
#[non_exhaustive]
pub struct Context<'a, T: Scalar> {
    /// The batch shape of `x`.
    pub shape: BatchShape<'a>,
    /// The purpose of the forward pass.
    pub mode: Mode,
    /// The key of dropout masks: the same in the forward and the backward pass.
    pub dropout: DropoutKey,
    /// The layer's path in the network; it names the links.
    pub path: LinkPath<'a>,
    /// The monitor that receives this layer's events.
    pub monitor: &'a mut dyn GradientMonitor<T>,
    pub(crate) buffers: Option<&'a mut Buffers<T>>,
    /// Whether a network divided the slices of the pass by the answers of the layer. The layer is then one of this
    /// crate without parts, and checks only its scratch again.
    pub(crate) is_cut: bool,
}

impl<'a, T: Scalar> Context<'a, T> {
    /// Creates the context of a layer that is run on its own as a network, without link names.
    pub fn new(shape: BatchShape<'a>, mode: Mode, monitor: &'a mut dyn GradientMonitor<T>) -> Self {
        let (dropout, path) = (DropoutKey::default(), LinkPath::new(&[]));
        Context { shape, mode, dropout, path, monitor, buffers: None, is_cut: false }
    }

    /// Whether the pass draws masks: it is one of training, and its key is not [off](DropoutKey::off).
    pub fn draws_masks(&self) -> bool {
        self.mode == Mode::Train && !self.dropout.off
    }

    /// Takes the memory for the lengths of a segment's samples from the workspace. Without a workspace it is a new
    /// vector.
    pub(crate) fn take_lengths(&mut self) -> Vec<usize> {
        self.buffers.as_deref_mut().map(|buffers| core::mem::take(&mut buffers.lengths)).unwrap_or_default()
    }

    /// Returns the memory of [`take_lengths`](Self::take_lengths) to the workspace.
    pub(crate) fn keep_lengths(&mut self, lengths: Vec<usize>) {
        if let Some(buffers) = self.buffers.as_deref_mut() {
            buffers.lengths = lengths;
        }
    }

    /// Returns the context of a part whose links begin `offset` names after the layer's first.
    pub fn part(&mut self, offset: usize) -> Context<'_, T> {
        let Context { shape, mode, dropout, path, .. } = *self;
        let buffers = self.buffers.as_deref_mut();
        Context { shape, mode, dropout, path: path.part(offset), monitor: self.monitor, buffers, is_cut: false }
    }

    /// Returns the context of a part that is one of several parallel branches.
    pub fn branch(&mut self, offset: usize) -> Context<'_, T> {
        let part = self.part(offset);
        Context { path: part.path.branch(), ..part }
    }

    /// Returns the layer's buffers: as many values as its [`memory`](super::Layer::memory) asks for.
    pub fn buffers(&self) -> &[T] {
        self.buffers.as_ref().map_or(&[], |buffers| buffers.of_link(self.path.index()))
    }

    /// Returns the layer's buffers, to be updated, in a forward pass of training. `None` in every other pass, such as
    /// an evaluation or a pass on a copy of the run.
    pub fn buffers_to_update(&mut self) -> Option<&mut [T]> {
        let link = self.path.index();
        self.buffers.as_mut().filter(|buffers| buffers.updates).map(|buffers| buffers.of_link_mut(link))
    }

    /// Reports input and output of the layer's first link in a forward pass.
    pub fn report_forward(self, factor: Factor, x: &[T], y: &[T]) {
        if self.monitor.is_active() {
            self.monitor.forward(&self.link(factor, None), x, y);
        }
    }

    /// Reports the gradients with respect to output and input of the layer's first link.
    pub fn report_backward(self, factor: Factor, dy: &[T], dx: &[T]) {
        if self.monitor.is_active() {
            self.monitor.backward(&self.link(factor, None), dy, dx);
        }
    }

    /// Reports pre-activations and values of an activation in a forward pass.
    pub fn report_activation(self, activation: Option<&dyn AnyActivation>, z: &[T], y: &[T]) {
        if self.monitor.is_active() {
            self.monitor.forward(&self.link(Factor::Activation, activation), z, y);
        }
    }

    /// Reports the gradients with respect to values and pre-activations of an activation.
    pub fn report_activation_gradient(self, activation: Option<&dyn AnyActivation>, dy: &[T], dz: &[T]) {
        if self.monitor.is_active() {
            self.monitor.backward(&self.link(Factor::Activation, activation), dy, dz);
        }
    }

    /// The layer's first link.
    fn link<'b>(&self, factor: Factor, activation: Option<&'b dyn AnyActivation>) -> Link<'b>
    where
        'a: 'b,
    {
        Link { activation, ..self.path.link(factor, self.shape) }
    }
}
