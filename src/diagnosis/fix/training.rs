//! The trainings of a trial: each from its own parameters, on the same batches.

use super::{Change, Fix, FixedTrainer, Trial, TrialOutcome};
use crate::{
    dataset::{Batch, Dataset, Standardize},
    error::Error,
    layer::{Layer, LayerSpec},
    loss::{Loss, Reduction},
    monitor::GradientMonitor,
    random::shuffle,
    scalar::{Scalar, scalar},
    size::filled,
    trainer::{TrainConfig, Trainer},
    transform::GradientTransform,
};
use alloc::{boxed::Box, vec, vec::Vec};

/// The largest number of samples on which the losses of candidates are evaluated.
const COMPARED: usize = 512;

/// The trainer of a [`Candidate`], after the steps of its training.
type Trained<'a, T> = FixedTrainer<T, &'a dyn Loss<T>, Box<dyn GradientTransform<T>>>;

/// A candidate of a trial: network, parameters, data and optimizer of one training, with or without a fix.
pub(super) struct Candidate<'a, T: Scalar> {
    pub network: Box<dyn Layer<T>>,
    pub parameters: Vec<T>,
    pub data: &'a Dataset<'a, T>,
    /// The samples on which the final losses of trainings are compared, with inputs changed as those of `data` are.
    pub compared: &'a Dataset<'a, T>,
    pub transform: Box<dyn GradientTransform<T>>,
    pub in_order: bool,
    /// The standardization that is inverted to bring outputs back to the scale of the targets.
    pub targets: Option<&'a Standardize>,
}

impl<'a, T: Scalar> Trial<'a, T> {
    /// Returns the candidate without a fix: the network with the parameters `w`, and the data and optimizer of the
    /// trial.
    pub(super) fn as_it_is(&self, network: &LayerSpec, w: &[T]) -> Result<Candidate<'a, T>, Error> {
        let (network, parameters, transform) = (network.build::<T>()?, w.to_vec(), (self.transform)());
        let (data, in_order) = (self.data, self.in_order);
        Ok(Candidate { network, parameters, data, compared: data, transform, in_order, targets: None })
    }

    /// Trains the network, from `w`, with a fix and the seed `seed`, and adds the loss on samples other than
    /// `left_out` to `outcome`. Returns whether the fix could be tried.
    pub(super) fn tries(
        &self,
        fix: &Fix,
        outcome: &mut TrialOutcome,
        seed: u64,
        left_out: &[usize],
        (network, w): (&LayerSpec, &[T]),
    ) -> Result<bool, Error> {
        // A clip that was not measured within the limit.
        if fix.change == Change::FitClip {
            return Ok(false);
        }
        let Ok(fix) = self.fitted(network, w, fix) else { return Ok(false) };
        let changed = self.changed_data(&fix)?;
        let (data, is_restarted) = (changed.as_ref().unwrap_or(self.data), outcome.is_restarted);
        let begun = |candidate| self.begun(candidate, is_restarted);
        let make = |seed| Ok::<_, Error>(self.candidate(network, w, &fix, data, seed)?.map(begun));
        self.adds(outcome, seed, left_out, &make)
    }

    /// Trains the candidate that `make` returns for `seed`, and adds its loss on samples other than `left_out` to
    /// `outcome`. Returns false if `make` returns `None`, or the optimizer names a block that the candidate does not
    /// have.
    pub(super) fn adds<'c>(
        &self,
        outcome: &mut TrialOutcome,
        seed: u64,
        left_out: &[usize],
        make: &dyn Fn(u64) -> Result<Option<Candidate<'c, T>>, Error>,
    ) -> Result<bool, Error> {
        let (Some(candidate), mut curve) = (make(seed)?, filled("steps of a trial", self.steps, 0.0)?) else {
            return Ok(false);
        };
        match self.train(candidate, seed, left_out, &mut curve) {
            Ok(loss) => outcome.add(loss, &curve),
            // The transform names a block that the fixed network has under another name.
            Err(Error::UnknownBlock { .. }) if outcome.fix.is_some() => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Trains a candidate for as many steps as `curve` has values, on samples that are in the order of the data or
    /// shuffled by `seed`, as the candidate states. Adds the loss of each step to `curve`. Returns the loss after the
    /// last step on samples other than `left_out`; ∞ if it or a parameter is not finite.
    pub(super) fn train(
        &self,
        candidate: Candidate<'_, T>,
        seed: u64,
        left_out: &[usize],
        curve: &mut [f64],
    ) -> Result<f64, Error> {
        let Candidate { compared, targets, .. } = candidate;
        let Some(mut trainer) = self.trained(candidate, seed, curve, &mut ())? else { return Ok(f64::INFINITY) };
        let loss = self.compare(&mut trainer, compared, targets, left_out)?;
        Ok(if loss.is_nan() { f64::INFINITY } else { loss })
    }

    /// Trains a candidate with `monitor` for as many steps as `curve` has values, on samples that are in the order of
    /// the data or shuffled by `seed`, as the candidate states. Adds the loss of each step to `curve`. Returns its
    /// trainer; `None` if a gradient or parameter became NaN or infinite.
    pub(super) fn trained<M: GradientMonitor<T>>(
        &self,
        candidate: Candidate<'_, T>,
        seed: u64,
        curve: &mut [f64],
        monitor: &mut M,
    ) -> Result<Option<Trained<'a, T>>, Error> {
        let Candidate { network, parameters, data, transform, in_order, .. } = candidate;
        let config = TrainConfig { batch_size: self.batch_size, seed, ..TrainConfig::default() };
        let mut trainer = Trainer::new(network, self.loss, transform, config)?;
        trainer.parameters_mut().copy_from_slice(&parameters);
        let (mut batch, mut order) = (Batch::new(data, self.batch_size), Vec::new());
        let mut epoch = 0;
        for loss in curve.iter_mut() {
            if order.len() < self.batch_size.min(data.samples()) {
                order = (0..data.samples()).collect();
                match in_order {
                    // Batches are taken from the end.
                    true => order.reverse(),
                    false => shuffle(&mut order, seed, epoch),
                }
                epoch += 1;
            }
            let rest = order.split_off(order.len().saturating_sub(self.batch_size));
            match trainer.step(data, &mut batch, &rest, monitor) {
                Ok((step, _)) => *loss += step,
                Err(Error::NonFiniteParameters { .. } | Error::NonFiniteGradient { .. }) => {
                    *loss = f64::INFINITY;
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Some(trainer))
    }

    /// Returns the samples of `data` on which losses are compared: up to 512, evenly spaced, other than `left_out`.
    pub(super) fn compared(&self, data: &Dataset<'_, T>, left_out: &[usize]) -> Vec<usize> {
        let count = data.samples().min(COMPARED);
        let spread = (0..count).map(|i| i * data.samples() / count);
        spread.filter(|sample| !left_out.contains(sample)).collect()
    }

    /// Returns the loss of a trained network on the samples that [`compared`](Self::compared) returns: their inputs
    /// are those of `data`, their targets those of the trial's own data. If `targets`, the standardization in
    /// training, is given, the outputs are first converted back to the scale of the targets. NaN if no row counts.
    fn compare<L: Layer<T>, C: Loss<T>, G: GradientTransform<T>>(
        &self,
        trainer: &mut Trainer<T, L, C, G>,
        data: &Dataset<'_, T>,
        targets: Option<&Standardize>,
        left_out: &[usize],
    ) -> Result<f64, Error> {
        let per_step = crate::workspace::per_step(trainer.network())?;
        let width = trainer.network().dims().output;
        let (mut sum, mut total) = (0.0, 0.0);
        let (mut of, mut given) = (Batch::new(data, self.batch_size), Batch::new(self.data, self.batch_size));
        let samples = self.compared(data, left_out);
        let w = trainer.parameters().to_vec();
        let at_once = samples.len().min(self.batch_size);
        trainer.workspace_mut().reserve(at_once, data.steps(), data.layout().most_rows(at_once))?;
        for samples in samples.chunks(self.batch_size) {
            of.gather(data, samples, per_step)?;
            given.gather(self.data, samples, per_step)?;
            let mut y = trainer.workspace_mut().infer(&w, of.x(), of.shape())?.to_vec();
            if let Some(columns) = targets {
                columns.invert(&mut y)?;
            }
            let mut dy = vec![scalar(0.0); y.len()];
            let weight = self.loss.total_weight(width, given.target(), given.row_weights());
            if weight > 0.0 {
                let loss = self.loss.evaluate_wide(width, &y, given.target(), given.row_weights(), &mut dy)?;
                sum += if self.loss.reduction() == Reduction::Mean { loss * weight } else { loss };
                total += weight;
            }
        }
        Ok(if total > 0.0 { sum / total } else { f64::NAN })
    }
}
