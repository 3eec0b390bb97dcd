//! A fix applied: the network built, its parameters drawn or carried over, and a trainer of both.

use super::{
    Change, Fix, Survivor,
    survivors::{survivors, transplant, without},
};
use crate::{
    batch_shape::BatchShape,
    diagnosis::{Report, health},
    error::{Error, require_length},
    layer::{Layer, LayerSpec, initialize},
    loss::Loss,
    scalar::Scalar,
    trainer::{TrainConfig, Trainer},
    transform::GradientTransform,
};
use alloc::{boxed::Box, vec::Vec};
use core::fmt;

/// A network with a fix applied.
#[non_exhaustive]
pub struct FixedNetwork<T> {
    /// The built network.
    pub network: Box<dyn Layer<T>>,
    /// The parameters: copied from the old network for the blocks of [`survivors`](Self::survivors), drawn anew for all
    /// others. Blocks that the finding names as the cause do not survive, nor those with a value that is not finite.
    pub parameters: Vec<T>,
    /// The blocks whose parameters were copied from the old network.
    pub survivors: Vec<Survivor>,
}

/// Writes the network, the number of parameters and the survivors.
impl<T: Scalar> fmt::Debug for FixedNetwork<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fixed = f.debug_struct("FixedNetwork");
        fixed.field("network", &self.network).field("parameters", &self.parameters.len());
        fixed.field("survivors", &self.survivors).finish()
    }
}

/// The trainer of a fixed network.
pub type FixedTrainer<T, C, G> = Trainer<T, Box<dyn Layer<T>>, C, G>;

impl<T: Scalar> FixedNetwork<T> {
    /// Reports on the fixed network before training, from one batch.
    ///
    /// The [`decades`](Report::decades) of the report are those from loss to first weights: measured on the batch,
    /// and predicted. `span` is the number of time steps that the task must remember; `None` means the whole
    /// sequence.
    ///
    /// # Shapes
    /// x: \[rows, input\], sample after sample, as in a [`Dataset`](crate::dataset::Dataset).
    ///
    /// # Errors
    /// Those of [`first_check`](crate::diagnosis::first_check).
    ///
    /// # Panics
    /// As [`first_check`](crate::diagnosis::first_check).
    pub fn check(&self, x: &[T], shape: BatchShape<'_>, span: Option<usize>) -> Result<Report, Error> {
        health::check(&*self.network, &self.parameters, x, shape, span, 0)
    }

    /// Creates a trainer of the fixed network that starts from its parameters.
    ///
    /// # Errors
    /// [`Error::Length`] if [`parameters`](Self::parameters) were given another length; those of [`Trainer::new`].
    pub fn trainer<C: Loss<T>, G: GradientTransform<T>>(
        self,
        loss: C,
        transform: G,
        config: TrainConfig,
    ) -> Result<FixedTrainer<T, C, G>, Error> {
        let mut trainer = Trainer::new(self.network, loss, transform, config)?;
        require_length("parameters", trainer.parameters().len(), self.parameters.len())?;
        trainer.parameters_mut().copy_from_slice(&self.parameters);
        Ok(trainer)
    }
}

impl Fix {
    /// Applies a fix that changes the network. `network` is the layer specification without the fix, and `parameters`
    /// are its parameters.
    ///
    /// Builds the fixed network, draws its parameters from `seed`, and copies the parameters of the survivors. `None`
    /// unless the change is `Network`, `Redraw`, `RedrawLayers` or `WithoutDecay`, or it changes the rate, clipping or
    /// targets of a fix with [`accused`](Self::accused) parameters. Of `WithoutDecay`, and of such a rate, clipping or
    /// targets, it only redraws the parameters. For the rest [`Change`] names the function that applies it.
    /// [`Trial::apply`](super::Trial::apply) applies all changes.
    ///
    /// ```
    /// use chainrule::{BatchShape, Layer, activation::Sigmoid, diagnosis::{Diagnosis, FixContext, suggest_fixes}};
    /// use chainrule::{layer::{Sequential, initialize}, theory::InputStatistics};
    /// let mut builder = Sequential::<f32>::input(16);
    /// for _ in 0..10 {
    ///     builder = builder.linear(16).activation(Sigmoid);
    /// }
    /// let network = builder.linear(4).build()?;
    /// let (w, described) = (initialize(&network, 1)?, Layer::<f32>::spec(&network));
    /// let x: Vec<f32> = (0..32 * 16).map(|i| 1.4 * (i as f32).sin()).collect();
    /// let inputs = InputStatistics::of_rows(&x)?;
    /// let report = Diagnosis::new(&network, inputs)?.report();
    /// let fixes = suggest_fixes(&FixContext::new(&described, inputs, report.root().unwrap()))?;
    /// let fixed = fixes[0].apply(&described, &w, 2)?.unwrap();
    /// let [measured, promised] = fixed.check(&x, BatchShape::batch(32), None)?.decades;
    /// assert!((measured.unwrap() - promised.unwrap()).abs() < 0.5); // before: −6
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidState`] if `network` is not the layer specification that the fix was made from.
    /// [`Error::CustomPart`] if the network has a custom part. [`Error::Length`] if `parameters` are too few for the
    /// survivors. Those of [`LayerSpec::build`] and [`initialize`].
    pub fn apply<T: Scalar>(
        &self,
        network: &LayerSpec,
        parameters: &[T],
        seed: u64,
    ) -> Result<Option<FixedNetwork<T>>, Error> {
        self.check_network(network)?;
        let (after, redrawn) = match &self.change {
            Change::Network(after) => (after, &self.accused),
            Change::RedrawLayers(layers) => (network, layers),
            Change::Redraw | Change::WithoutDecay => (network, &self.accused),
            // The parameters that too long steps have spoiled stay so at any rate; last weights fit the old targets.
            Change::LearningRate(_)
            | Change::HoldRate(_)
            | Change::ClipNorm(_)
            | Change::FitClip
            | Change::StandardizeTargets(_)
            | Change::FitTargets
                if !self.accused.is_empty() =>
            {
                (network, &self.accused)
            }
            _ => return Ok(None),
        };
        let fixed = after.build::<T>()?;
        let mut drawn = initialize(&*fixed, seed)?;
        let mut survivors = match self.change {
            Change::Redraw | Change::WithoutDecay => Vec::new(),
            _ => without(survivors(network, after)?, network, redrawn)?,
        };
        let is_finite =
            |of: &Survivor| parameters.get(of.before.clone()).is_none_or(|w| w.iter().all(|w| w.is_finite()));
        survivors.retain(is_finite);
        transplant(&survivors, parameters, &mut drawn)?;
        Ok(Some(FixedNetwork { network: fixed, parameters: drawn, survivors }))
    }
}
