//! Validation data, monitor and callback of a fit.

use super::Epoch;
use crate::{dataset::Source, monitor::GradientMonitor, scalar::Scalar};
use core::ops::ControlFlow;

/// Validation data, monitor and callback of a fit.
#[derive(Default)]
pub struct FitOptions<'a, T: Scalar> {
    pub(super) validation: Option<&'a dyn Source<T>>,
    pub(super) monitor: Option<&'a mut dyn GradientMonitor<T>>,
    pub(super) progress: Option<&'a mut OnEpoch<'a>>,
}

/// A callback after each epoch.
pub(super) type OnEpoch<'a> = dyn FnMut(&Epoch) -> ControlFlow<()> + 'a;

impl<'a, T: Scalar> FitOptions<'a, T> {
    /// No validation data, no monitor, no callback.
    pub fn new() -> Self {
        FitOptions { validation: None, monitor: None, progress: None }
    }

    /// Sets the data for validation after each epoch.
    #[must_use]
    pub fn validation(self, data: &'a dyn Source<T>) -> Self {
        FitOptions { validation: Some(data), ..self }
    }

    /// Sets the monitor of the passes.
    #[must_use]
    pub fn monitor(self, monitor: &'a mut dyn GradientMonitor<T>) -> Self {
        FitOptions { monitor: Some(monitor), ..self }
    }

    /// Sets the callback after each epoch. Its `Break` ends the fit.
    #[must_use]
    pub fn progress(self, progress: &'a mut (dyn FnMut(&Epoch) -> ControlFlow<()> + 'a)) -> Self {
        FitOptions { progress: Some(progress), ..self }
    }
}
