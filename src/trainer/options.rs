//! Validation data, monitor and callback of a fit.

use super::Epoch;
use crate::{dataset::Dataset, monitor::GradientMonitor, scalar::Scalar};
use core::ops::ControlFlow;

/// Who looks on while a trainer fits, and on what it is validated.
#[derive(Default)]
pub struct FitOptions<'a, T: Scalar> {
    pub(super) validation: Option<&'a Dataset<'a, T>>,
    pub(super) monitor: Option<&'a mut dyn GradientMonitor<T>>,
    pub(super) progress: Option<&'a mut OnEpoch<'a>>,
}

/// What is called after each epoch.
pub(super) type OnEpoch<'a> = dyn FnMut(&Epoch) -> ControlFlow<()> + 'a;

impl<'a, T: Scalar> FitOptions<'a, T> {
    /// Nobody.
    pub fn new() -> Self {
        FitOptions { validation: None, monitor: None, progress: None }
    }

    /// Data for validation after each epoch.
    #[must_use]
    pub fn validation(self, data: &'a Dataset<'a, T>) -> Self {
        FitOptions { validation: Some(data), ..self }
    }

    /// Who watches the gradients.
    #[must_use]
    pub fn monitor(self, monitor: &'a mut dyn GradientMonitor<T>) -> Self {
        FitOptions { monitor: Some(monitor), ..self }
    }

    /// What is called after each epoch; `Break` stops.
    #[must_use]
    pub fn progress(self, progress: &'a mut (dyn FnMut(&Epoch) -> ControlFlow<()> + 'a)) -> Self {
        FitOptions { progress: Some(progress), ..self }
    }
}
