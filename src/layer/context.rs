//! The context of a pass: where a layer stands, how the pass runs, and which monitor receives its events.

use super::{Buffers, DropoutKey, LinkPath, Mode};
use crate::{
    activation::AnyActivation,
    batch_shape::BatchShape,
    monitor::{Factor, GradientMonitor, Link},
    scalar::Scalar,
};
use alloc::vec::Vec;

/// What both passes of a layer have in common: rows, mode, dropout masks, path and monitor.
///
/// A layer reports each of its links by [`report_forward`](Self::report_forward) and
/// [`report_backward`](Self::report_backward); without an active monitor they do nothing. A container passes
/// [`part`](Self::part) or [`branch`](Self::branch) to the layers inside.
#[non_exhaustive]
pub struct Context<'a, T: Scalar> {
    /// Rows of `x`.
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
    /// Whether a network cut the slices of the pass by the answers of the layer, which is one of this crate and without
    /// parts: only the scratch is checked again.
    pub(crate) is_cut: bool,
}

impl<'a, T: Scalar> Context<'a, T> {
    /// The context of a layer that is a network by itself, without names of links.
    pub fn new(shape: BatchShape<'a>, mode: Mode, monitor: &'a mut dyn GradientMonitor<T>) -> Self {
        let (dropout, path) = (DropoutKey::default(), LinkPath::new(&[]));
        Context { shape, mode, dropout, path, monitor, buffers: None, is_cut: false }
    }

    /// Memory for the lengths of a segment's samples: that of the workspace, if the pass has one.
    pub(crate) fn take_lengths(&mut self) -> Vec<usize> {
        self.buffers.as_deref_mut().map(|buffers| core::mem::take(&mut buffers.lengths)).unwrap_or_default()
    }

    /// Gives that memory back.
    pub(crate) fn keep_lengths(&mut self, lengths: Vec<usize>) {
        if let Some(buffers) = self.buffers.as_deref_mut() {
            buffers.lengths = lengths;
        }
    }

    /// The context of a part whose links begin `offset` names after the layer's first.
    pub fn part(&mut self, offset: usize) -> Context<'_, T> {
        let Context { shape, mode, dropout, path, .. } = *self;
        let buffers = self.buffers.as_deref_mut();
        Context { shape, mode, dropout, path: path.part(offset), monitor: self.monitor, buffers, is_cut: false }
    }

    /// The context of a part that is one of several parallel branches.
    pub fn branch(&mut self, offset: usize) -> Context<'_, T> {
        let part = self.part(offset);
        Context { path: part.path.branch(), ..part }
    }

    /// The layer's buffers: as many values as its [`memory`](super::Layer::memory) asks for.
    pub fn buffers(&self) -> &[T] {
        self.buffers.as_ref().map_or(&[], |buffers| buffers.of_link(self.path.index()))
    }

    /// The layer's buffers in a forward pass that is to update them: one of training. `None` in every other pass, such
    /// as an evaluation, or one on a copy of the run.
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
