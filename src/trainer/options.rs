//! Validation data, monitor and callbacks of a fit.

use super::{Epoch, Step};
use crate::{dataset::Source, monitor::GradientMonitor, scalar::Scalar};
use core::ops::ControlFlow;

/// Validation data, monitor and callbacks of a fit.
#[derive(Default)]
pub struct FitOptions<'a, T: Scalar> {
    pub(super) validation: Option<&'a dyn Source<T>>,
    pub(super) monitor: Option<&'a mut dyn GradientMonitor<T>>,
    pub(super) progress: Option<&'a mut OnEpoch<'a>>,
    pub(super) on_step: Option<&'a mut OnStep<'a>>,
}

/// A callback after each epoch; its `Break` ends the fit.
pub(super) type OnEpoch<'a> = dyn FnMut(&Epoch) -> ControlFlow<()> + 'a;

/// A callback after each update; its `Break` ends the fit after the current samples.
pub(super) type OnStep<'a> = dyn FnMut(&Step) -> ControlFlow<()> + 'a;

impl<'a, T: Scalar> FitOptions<'a, T> {
    /// Creates options without validation data, monitor and callbacks.
    pub fn new() -> Self {
        FitOptions { validation: None, monitor: None, progress: None, on_step: None }
    }

    /// Sets the data for validation after each epoch.
    #[must_use]
    pub fn validation(self, data: &'a dyn Source<T>) -> Self {
        FitOptions { validation: Some(data), ..self }
    }

    /// Sets the monitor of the training passes.
    #[must_use]
    pub fn monitor(self, monitor: &'a mut dyn GradientMonitor<T>) -> Self {
        FitOptions { monitor: Some(monitor), ..self }
    }

    /// Sets the callback after each epoch. Its `Break` ends the fit.
    #[must_use]
    pub fn progress(self, progress: &'a mut (dyn FnMut(&Epoch) -> ControlFlow<()> + 'a)) -> Self {
        FitOptions { progress: Some(progress), ..self }
    }

    /// Sets the callback after each update. Its `Break` ends the fit after the current samples. The epoch is then
    /// unfinished, and the next fit starts it again.
    ///
    /// ```
    /// use chainrule::{dataset::Dataset, layer::Sequential, loss::{MeanSquaredError, Target}};
    /// use chainrule::{trainer::{FitOptions, Step, TrainConfig, Trainer}, transform::{ClipNorm, Sgd}};
    /// use std::ops::ControlFlow;
    ///
    /// let network = Sequential::<f64>::input(1).linear(1).build()?;
    /// let chain = (ClipNorm::new(0.5), Sgd::new(0.1));
    /// let mut trainer = Trainer::new(network, MeanSquaredError::new(), chain, TrainConfig::default())?;
    /// let data = Dataset::rows(1, &[0.0, 1.0, 2.0], Target::Values(&[1.0, 3.0, 5.0]))?;
    /// let mut norms = Vec::new();
    /// let mut on_step = |step: &Step| {
    ///     norms.extend(step.clipped_norm.map(|clipped| (step.gradient_norm, clipped)));
    ///     if step.loss < 1e-3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    /// };
    /// trainer.fit_with(&data, FitOptions::new().on_step(&mut on_step))?;
    /// assert!(norms.iter().all(|&(before, after)| after <= before.min(0.5 + 1e-9)));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[must_use]
    pub fn on_step(self, on_step: &'a mut (dyn FnMut(&Step) -> ControlFlow<()> + 'a)) -> Self {
        FitOptions { on_step: Some(on_step), ..self }
    }
}
