//! Validation data, monitor and callbacks of a fit.

use super::{Epoch, Step};
use crate::{dataset::Source, monitor::GradientMonitor, scalar::Scalar};
use alloc::boxed::Box;
use core::{fmt, ops::ControlFlow};

/// Validation data, monitor and callbacks of a fit.
///
/// ```
/// use chainrule::{dataset::Dataset, layer::Sequential, loss::{MeanSquaredError, Target}, monitor::GradientBudget};
/// use chainrule::{trainer::{FitOptions, TrainConfig, Trainer}, transform::Adam};
/// use std::ops::ControlFlow;
/// let (x, y) = ([0.0, 0.5, 1.0, 1.5, 2.0], [1.0, 2.0, 3.0, 4.0, 5.0]);
/// let (train, held_out) = Dataset::rows(1, &x, Target::Values(&y))?.split(0.8, 1)?;
/// let network = Sequential::<f64>::input(1).linear(1).build()?;
/// let settings = TrainConfig { epochs: 100, ..TrainConfig::default() };
/// let mut trainer = Trainer::new(network, MeanSquaredError::new(), Adam::new(0.1), settings)?;
/// let mut budget = GradientBudget::new();
/// let options = FitOptions::new().validation(&held_out).monitor(&mut budget).on_epoch(|epoch| match epoch.validation {
///     Some(validation) if validation.loss < 0.01 => ControlFlow::Break(()), // ends the fit
///     _ => ControlFlow::Continue(()),
/// });
/// let epochs = trainer.fit_with(&train, options)?;
/// assert!(epochs.iter().all(|epoch| epoch.validation.is_some()));
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Default)]
pub struct FitOptions<'a, T: Scalar> {
    pub(super) validation: Option<&'a dyn Source<T>>,
    pub(super) monitor: Option<&'a mut dyn GradientMonitor<T>>,
    pub(super) on_epoch: Option<Box<OnEpoch<'a>>>,
    pub(super) on_step: Option<Box<OnStep<'a>>>,
}

/// A callback after each epoch. If it returns `Break`, the fit ends.
pub(super) type OnEpoch<'a> = dyn FnMut(&Epoch) -> ControlFlow<()> + 'a;

/// A callback after each update. If it returns `Break`, the fit ends. Under truncated backpropagation through time,
/// the fit ends only after all windows of the current samples.
pub(super) type OnStep<'a> = dyn FnMut(&Step) -> ControlFlow<()> + 'a;

/// Writes which of the options (validation data, monitor, callbacks) are set.
impl<T: Scalar> fmt::Debug for FitOptions<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut options = f.debug_struct("FitOptions");
        options.field("validation", &self.validation).field("monitor", &self.monitor.is_some());
        options.field("on_epoch", &self.on_epoch.is_some()).field("on_step", &self.on_step.is_some()).finish()
    }
}

impl<'a, T: Scalar> FitOptions<'a, T> {
    /// Creates options without validation data, monitor and callbacks.
    pub fn new() -> Self {
        FitOptions { validation: None, monitor: None, on_epoch: None, on_step: None }
    }

    /// Sets the data on which the loss is computed after each epoch. A fit checks this data before the first update.
    #[must_use]
    pub fn validation(self, data: &'a dyn Source<T>) -> Self {
        FitOptions { validation: Some(data), ..self }
    }

    /// Sets the monitor that observes activations and gradients in the training passes.
    #[must_use]
    pub fn monitor(self, monitor: &'a mut dyn GradientMonitor<T>) -> Self {
        FitOptions { monitor: Some(monitor), ..self }
    }

    /// Sets the callback after each epoch. If it returns `Break`, the fit ends; the next fit continues the run.
    #[must_use]
    pub fn on_epoch(self, on_epoch: impl FnMut(&Epoch) -> ControlFlow<()> + 'a) -> Self {
        FitOptions { on_epoch: Some(Box::new(on_epoch)), ..self }
    }

    /// Sets the callback after each update. If it returns `Break`, the fit ends. Under truncated backpropagation
    /// through time, the fit ends only after all windows of the current samples. The epoch is then unfinished, and
    /// the next fit repeats it from the parameters at the break. With [patience](super::TrainConfig::patience) the
    /// trainer holds the best parameters in between.
    ///
    /// ```
    /// use chainrule::{dataset::Dataset, layer::Sequential, loss::{MeanSquaredError, Target}};
    /// use chainrule::{trainer::{FitOptions, TrainConfig, Trainer}, transform::{ClipNorm, Sgd}};
    /// use std::ops::ControlFlow;
    ///
    /// let network = Sequential::<f64>::input(1).linear(1).build()?;
    /// let chain = (ClipNorm::new(0.5), Sgd::new(0.1));
    /// let mut trainer = Trainer::new(network, MeanSquaredError::new(), chain, TrainConfig::default())?;
    /// let data = Dataset::rows(1, &[0.0, 1.0, 2.0], Target::Values(&[1.0, 3.0, 5.0]))?;
    /// let mut norms = Vec::new();
    /// trainer.fit_with(&data, FitOptions::new().on_step(|step| {
    ///     norms.extend(step.clipped_norm.map(|clipped| (step.gradient_norm, clipped)));
    ///     if step.loss < 1e-3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    /// }))?;
    /// assert!(norms.iter().all(|&(before, after)| after <= before.min(0.5 + 1e-9)));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[must_use]
    pub fn on_step(self, on_step: impl FnMut(&Step) -> ControlFlow<()> + 'a) -> Self {
        FitOptions { on_step: Some(Box::new(on_step)), ..self }
    }
}
