//! The context of a pass: the layer's path, the mode of the pass, and the monitor that receives its events.

use super::{Buffers, DropoutKey, LinkPath, Mode};
use crate::{
    activation::AnyActivation,
    batch_shape::BatchShape,
    monitor::{Factor, GradientMonitor, Link},
    scalar::Scalar,
};
use alloc::vec::Vec;
use core::fmt;

/// The arguments common to both passes of a layer: batch shape, mode, dropout key, path and monitor.
///
/// A layer reports each of its links (one factor of the chain rule each) by [`report_forward`](Self::report_forward)
/// and [`report_backward`](Self::report_backward); without an active monitor they do nothing. A layer made of other
/// layers passes [`part`](Self::part) or [`branch`](Self::branch) to each of them.
#[non_exhaustive]
pub struct Context<'a, T: Scalar> {
    /// The batch shape of the layer's input.
    pub shape: BatchShape<'a>,
    /// The purpose of the forward pass: training, evaluation or inference.
    pub mode: Mode,
    /// The key of dropout masks: the same in the forward and the backward pass.
    pub dropout: DropoutKey,
    /// The layer's path in the network. It names the links (factors of the chain rule) that the layer reports to the
    /// monitor.
    pub path: LinkPath<'a>,
    /// The monitor that receives this layer's events.
    pub monitor: &'a mut dyn GradientMonitor<T>,
    pub(crate) buffers: Option<&'a mut Buffers<T>>,
    /// Whether a [`Sequential`](super::Sequential) cut the slices of the pass to the lengths that the layer states. The
    /// layer is then one of this crate without parts, and checks only the length of its scratch.
    pub(crate) is_cut: bool,
}

/// Formats batch shape, mode and path, and whether a monitor is active.
impl<T: Scalar> fmt::Debug for Context<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut context = f.debug_struct("Context");
        context.field("shape", &self.shape).field("mode", &self.mode).field("path", &self.path);
        context.field("monitored", &self.monitor.is_active()).finish_non_exhaustive()
    }
}

impl<'a, T: Scalar> Context<'a, T> {
    /// Creates the context of a layer that is run on its own as a network. It has no buffers and the default dropout
    /// key, and the links (factors of the chain rule) that the layer reports have no names.
    pub fn new(shape: BatchShape<'a>, mode: Mode, monitor: &'a mut dyn GradientMonitor<T>) -> Self {
        let (dropout, path) = (DropoutKey::default(), LinkPath::new(&[]));
        Context { shape, mode, dropout, path, monitor, buffers: None, is_cut: false }
    }

    /// Whether the pass draws dropout masks: its mode is [`Mode::Train`], and its dropout key is not
    /// [off](DropoutKey::off).
    pub fn draws_masks(&self) -> bool {
        self.mode == Mode::Train && !self.dropout.off
    }

    /// Takes from the workspace its vector for the lengths of the samples within a segment of time steps. The
    /// content of the vector is arbitrary. Without a workspace the method returns a new one.
    pub(crate) fn take_lengths(&mut self) -> Vec<usize> {
        self.buffers.as_deref_mut().map(|buffers| core::mem::take(&mut buffers.lengths)).unwrap_or_default()
    }

    /// Gives the vector of [`take_lengths`](Self::take_lengths) back to the workspace, which keeps it for the next
    /// segment.
    pub(crate) fn keep_lengths(&mut self, lengths: Vec<usize>) {
        if let Some(buffers) = self.buffers.as_deref_mut() {
            buffers.lengths = lengths;
        }
    }

    /// Returns the context of a layer inside this one. Its first link (factor of the chain rule) comes `offset` links
    /// after the first link of this layer.
    pub fn part(&mut self, offset: usize) -> Context<'_, T> {
        let Context { shape, mode, dropout, path, .. } = *self;
        let buffers = self.buffers.as_deref_mut();
        Context { shape, mode, dropout, path: path.part(offset), monitor: self.monitor, buffers, is_cut: false }
    }

    /// Returns the context of a layer inside this one, as [`part`](Self::part) does, for one of several parallel
    /// branches: its links (factors of the chain rule) are not on the main path from loss to input.
    pub fn branch(&mut self, offset: usize) -> Context<'_, T> {
        let part = self.part(offset);
        Context { path: part.path.branch(), ..part }
    }

    /// Returns the layer's buffers (values that persist from pass to pass), as many as its
    /// [`memory`](super::Layer::memory) asks for. Without a workspace they are empty.
    pub fn buffers(&self) -> &[T] {
        self.buffers.as_ref().map_or(&[], |buffers| buffers.of_link(self.path.index()))
    }

    /// Returns the layer's buffers, to be updated, in a forward pass of training. `None` in every other pass, such as
    /// an evaluation or a pass without a workspace.
    pub fn buffers_to_update(&mut self) -> Option<&mut [T]> {
        let link = self.path.index();
        self.buffers.as_mut().filter(|buffers| buffers.updates).map(|buffers| buffers.of_link_mut(link))
    }

    /// Reports a forward pass through the layer's first link (factor of the chain rule), of the kind `factor`, to the
    /// monitor: its input `x` and its output `y`.
    pub fn report_forward(self, factor: Factor, x: &[T], y: &[T]) {
        if self.monitor.is_active() {
            self.monitor.forward(&self.link(factor, None), x, y);
        }
    }

    /// Reports a backward pass through the layer's first link (factor of the chain rule), of the kind `factor`, to the
    /// monitor: the gradients `dy` and `dx` with respect to its output and its input.
    pub fn report_backward(self, factor: Factor, dy: &[T], dx: &[T]) {
        if self.monitor.is_active() {
            self.monitor.backward(&self.link(factor, None), dy, dx);
        }
    }

    /// Reports the pre-activations `z` and the values `y` of an activation to the monitor, in a forward pass.
    /// `activation` is the φ of y = φ(z), to rounding. It is `None` if no single function describes the layer, as
    /// where noise is added: a monitor then has neither its name nor its largest slope.
    pub fn report_activation(self, activation: Option<&dyn AnyActivation>, z: &[T], y: &[T]) {
        if self.monitor.is_active() {
            self.monitor.forward(&self.link(Factor::Activation, activation), z, y);
        }
    }

    /// Reports two gradients of an activation to the monitor, in a backward pass: `dy` with respect to its values,
    /// and `dz` with respect to its pre-activations. `activation` is `None` if no single function describes the
    /// layer: the monitor then knows neither the name nor the largest slope of the function.
    pub fn report_activation_gradient(self, activation: Option<&dyn AnyActivation>, dy: &[T], dz: &[T]) {
        if self.monitor.is_active() {
            self.monitor.backward(&self.link(Factor::Activation, activation), dy, dz);
        }
    }

    /// Returns the layer's first link (factor of the chain rule) for a report to the monitor: of the kind `factor`,
    /// with the `activation` that it applies, if any.
    fn link<'b>(&self, factor: Factor, activation: Option<&'b dyn AnyActivation>) -> Link<'b>
    where
        'a: 'b,
    {
        Link { activation, ..self.path.link(factor, self.shape) }
    }
}
