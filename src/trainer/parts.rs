//! The parts of an update that runs several passes.

use crate::{
    monitor::{Event, GradientMonitor, Link},
    scalar::Scalar,
};

/// The monitor of one part of an accumulated update, without its gradient: the trainer reports the whole one.
pub(super) struct Part<'a, T: Scalar> {
    pub monitor: &'a mut dyn GradientMonitor<T>,
    /// Whether it is the first part of the update.
    pub first: bool,
}

/// Samples of an update that are processed in parts of `size`.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub samples: &'a [usize],
    /// The position of the first sample in the update, by which dropout draws its masks.
    pub first: usize,
    pub size: usize,
}

impl<T: Scalar> GradientMonitor<T> for Part<'_, T> {
    fn begin_pass(&mut self) {
        if !self.first {
            self.monitor.event(&Event::NextPart);
        }
        self.monitor.begin_pass();
    }
    fn is_active(&self) -> bool {
        self.monitor.is_active()
    }
    fn forward(&mut self, at: &Link<'_>, x: &[T], y: &[T]) {
        self.monitor.forward(at, x, y);
    }
    fn backward(&mut self, at: &Link<'_>, dy: &[T], dx: &[T]) {
        self.monitor.backward(at, dy, dx);
    }
}
