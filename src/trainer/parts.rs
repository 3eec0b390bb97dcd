//! The groups of samples of an update that runs several passes, one for each group.

use crate::{
    dataset::{Batch, Source},
    monitor::{Event, GradientMonitor, Link},
    scalar::Scalar,
};

/// The monitor of one pass of an update that runs several passes. It passes the values of the links (factors of the
/// chain rule) on to `monitor`, but not the parameter gradient: the trainer reports that of the whole update.
pub(super) struct Part<'a, T: Scalar> {
    pub monitor: &'a mut dyn GradientMonitor<T>,
    /// Whether the pass is the first of the update.
    pub first: bool,
}

/// The data of an update, and the batch into which its samples are read.
pub(super) struct Reader<'a, T: Scalar> {
    pub data: &'a dyn Source<T>,
    pub batch: &'a mut Batch<T>,
}

/// Samples of an update that are processed in groups of up to `size`, with a pass for each group.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub samples: &'a [usize],
    /// The position of the first of these samples among all samples of the update. It keys the dropout masks.
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
