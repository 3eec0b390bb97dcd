//! Checkpoints of a trainer: saving and restoring the state of its training run.

use super::{Checkpoint, Difference, Differences, Values, mismatch, part, refused, require_blocks, require_sound};
use crate::{
    distributed::DataParallel,
    error::{Error, Figure},
    layer::{Layer, check_buffers},
    loss::Loss,
    scalar::{Scalar, to_f64},
    trainer::{Kept, Progress, Trainer},
    transform::{GradientTransform, MOST_STEPS, check_rate},
};
use alloc::{collections::BTreeMap, format, string::String, vec::Vec};
#[cfg(feature = "std")]
use std::path::Path;

/// The name under which [`Checkpoint::slices`] holds the optimizer's state.
const STATE: &str = "optimizer.state";
/// The name under which [`Checkpoint::slices`] holds the recurrent state from which the next pass starts.
const CARRIED: &str = "carried";
/// The name under which [`Checkpoint::slices`] holds the values at the lowest validation loss, kept for early
/// stopping. They are parameters, buffers and, if it holds the weights that are evaluated (such as an average), the
/// optimizer state.
const BEST: &str = "best";
/// The name under which [`Checkpoint::slices`] holds the buffers of the network, such as running statistics.
const BUFFERS: &str = "buffers";

/// The name under which [`Checkpoint::numbers`] holds the number of updates.
const STEPS: &str = "steps";
/// The name under which [`Checkpoint::numbers`] holds the number of finished epochs, over all runs.
const EPOCHS: &str = "epochs";
/// The name under which [`Checkpoint::numbers`] holds the seed.
const SEED: &str = "seed";
/// The name under which [`Checkpoint::numbers`] holds the learning rate that was set by a call, as the bits of an
/// `f64`. The number is absent if the optimizer's own rate is in use.
const RATE: &str = "learning rate";
/// The name under which [`Checkpoint::numbers`] holds the number of epochs since the lowest validation loss. Early
/// stopping compares it with the patience.
const WAITED: &str = "waited";
/// The name under which [`Checkpoint::numbers`] holds the lowest validation loss, as the bits of an `f64`.
const BEST_LOSS: &str = "best loss";
/// The name under which [`Checkpoint::numbers`] holds the number of epochs that were finished before this run.
const BEGAN: &str = "epochs before the run";
/// The name under which [`Checkpoint::numbers`] holds 1 if early stopping or a monitor has ended the run, otherwise
/// 0.
const STOPPED: &str = "stopped early";
/// The name under which [`Checkpoint::numbers`] holds 1 if the parameters are those of the lowest validation loss,
/// otherwise 0.
const RESTORED: &str = "best restored";

/// The state of a training run, borrowed from a checkpoint, with its numbers checked to be within their ranges.
struct Run<'a, T> {
    state: &'a [T],
    carried: &'a [T],
    best: &'a [T],
    steps: u64,
    seed: u64,
    rate: Option<f64>,
    progress: Progress,
}

impl<T: Scalar, L: Layer<T>, C: Loss<T>, G: GradientTransform<T>> Trainer<T, L, C, G> {
    /// Returns a checkpoint with the current state of the training run: parameters, optimizer state, buffers, a
    /// learning rate that was set, recurrent state, and the position in the run (updates, epochs, early stopping).
    ///
    /// The order of samples and the dropout masks are functions of the seed, the epoch and the number of updates, so
    /// there is no other random state.
    pub fn checkpoint(&self) -> Checkpoint<T> {
        let Progress { epochs, began, waited, best, stopped, restored } = self.progress;
        // If the caller has replaced the workspace or the optimizer, the kept best values do not fit and are left
        // out.
        let (kept, waited, best) = match self.best.is_empty() || self.best.fits(self.kept()) {
            true => (self.best.to_vec(), waited, best),
            false => (Vec::new(), 0, f64::INFINITY),
        };
        let mut run = Checkpoint::new(self.parameters().to_vec());
        let slices = [(STATE, self.optimizer().state()), (CARRIED, self.workspace().state()), (BEST, &kept)];
        let buffers = Some((BUFFERS, self.workspace().buffers())).filter(|(_, buffers)| !buffers.is_empty());
        let slices = slices.into_iter().chain(buffers);
        run.slices = slices.map(|(name, values)| (name.into(), values.to_vec())).collect();
        let numbers = [
            (STEPS, self.optimizer().steps()),
            (EPOCHS, epochs as u64),
            (SEED, self.settings().seed),
            (WAITED, waited as u64),
            (BEST_LOSS, best.to_bits()),
            (BEGAN, began as u64),
            (STOPPED, u64::from(stopped)),
            (RESTORED, u64::from(restored)),
        ];
        let rate = self.optimizer().rate_set().map(|rate| (RATE, rate.to_bits()));
        run.numbers = numbers.into_iter().chain(rate).map(|(name, value)| (name.into(), value)).collect();
        run.about.network = part::layers(&self.network().spec());
        run.about.transforms = part::transforms(&self.optimizer().spec(self.workspace().blocks()));
        run.about.settings = self.described_settings();
        run
    }

    /// Restores the state of the training run that a checkpoint holds. Returns the differences between this run and
    /// the saved one that do not prevent restoring, such as another batch size; the list is empty if there are none.
    ///
    /// On an error the trainer is unchanged.
    ///
    /// # Errors
    /// [`Error::Checkpoint`], naming the layer or transform, for another network or chain of transforms, and for a
    /// checkpoint of parameters alone. [`Error::CheckpointValue`] for numbers outside their range, and for values
    /// that are not finite unless the checkpoint was read with [`Values::Any`].
    pub fn restore(&mut self, checkpoint: &Checkpoint<T>) -> Result<Differences, Error> {
        let mut differences = self.compare_network(checkpoint)?;
        let run = self.saved_run(checkpoint)?;
        let transforms = |trainer: &Self| {
            let transforms = part::transforms(&trainer.optimizer().spec(trainer.workspace().blocks()));
            part::compare(&transforms, &checkpoint.about.transforms)
        };
        let settings = self.described_settings();
        transforms(self)?;
        self.check_state(checkpoint.values, run.state)?;
        // `parts_mut` keeps the position in an interrupted run, so that a failed check below changes nothing.
        let (workspace, optimizer) = self.parts_mut();
        if let Some(rate) = run.rate.filter(|_| !optimizer.has_rate()) {
            return Err(mismatch(RATE, "none, for a chain without a rate that can be set", rate));
        }
        if run.carried.is_empty() {
            workspace.clear_state();
        } else {
            let fits = workspace.restore_state(run.carried);
            fits.map_err(|error| mismatch(CARRIED, "a state of this network", error))?;
        }
        self.restore_network(checkpoint);
        self.optimizer_mut().restore(run.state, run.steps)?;
        self.optimizer_mut().restore_rate(run.rate)?;
        // The saved learning rate has been restored, so it is not a difference.
        differences.extend(transforms(self)?);
        differences.extend(part::differences("", &settings, &checkpoint.about.settings));
        self.best = Kept::of(run.best, self.kept());
        self.settings.seed = run.seed;
        self.progress = run.progress;
        Ok(Differences(differences))
    }

    /// Restores only the parameters and buffers of a checkpoint, and keeps the optimizer state and the position of
    /// this run. Averages of parameters, as a [`WeightAverage`](crate::transform::WeightAverage) computes them, start
    /// again at the restored parameters. The values kept at the lowest validation loss are discarded. Returns the
    /// differences between the networks that do not prevent restoring, such as another dropout rate.
    ///
    /// # Errors
    /// [`Error::Checkpoint`], naming the layer, for the parameters of another network. [`Error::CheckpointValue`] for
    /// buffers that are not finite and variances below 0, unless the checkpoint was read with [`Values::Any`].
    pub fn restore_parameters(&mut self, checkpoint: &Checkpoint<T>) -> Result<Differences, Error> {
        let differences = self.compare_network(checkpoint)?;
        self.restore_network(checkpoint);
        self.forget_best();
        self.begin_at_parameters();
        Ok(Differences(differences))
    }

    /// Copies the parameters and the buffers of `checkpoint` to the trainer. The caller must have checked their
    /// lengths.
    fn restore_network(&mut self, checkpoint: &Checkpoint<T>) {
        self.parameters_mut().copy_from_slice(&checkpoint.parameters);
        if let Some(buffers) = checkpoint.slices.get(BUFFERS) {
            self.workspace_mut().replace_buffers(buffers);
        }
    }

    /// Saves a [`checkpoint`](Self::checkpoint), the state of the training run, in a file.
    ///
    /// # Errors
    /// The errors of [`Checkpoint::save`]; [`Error::CheckpointValue`] for values of the run, such as NaN, for which
    /// [`load`](Self::load) would return an error. On an error an existing file is unchanged, unless the new file had
    /// already replaced it and only its folder could not be flushed.
    #[cfg(feature = "std")]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let checkpoint = self.checkpoint();
        self.check(&checkpoint)?;
        checkpoint.save(self.network(), path)
    }

    /// Returns a [`checkpoint`](Self::checkpoint), the state of the training run, as the bytes of a file.
    ///
    /// # Errors
    /// The errors of [`Checkpoint::to_bytes`]; [`Error::CheckpointValue`] for values of the run, such as NaN, for
    /// which [`load_bytes`](Self::load_bytes) would return an error.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let checkpoint = self.checkpoint();
        self.check(&checkpoint)?;
        checkpoint.to_bytes(self.network())
    }

    /// Restores the state of the run that [`save`](Self::save) wrote to the file at `path`. Returns the differences
    /// between this run and the saved one that do not prevent restoring, such as another batch size. The run
    /// continues with the bits of an uninterrupted one only if there are no differences.
    ///
    /// The settings of this trainer are kept, except for the seed, which becomes the saved one. On an error the
    /// trainer is unchanged.
    ///
    /// # Errors
    /// The errors of [`Checkpoint::load`] and [`restore`](Self::restore).
    #[cfg(feature = "std")]
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<Differences, Error> {
        self.restore(&Checkpoint::load(self.network(), path, Values::Finite)?)
    }

    /// Restores the state of a run from `bytes`: the result of [`to_bytes`](Self::to_bytes), or the content of a file
    /// that [`save`](Self::save) wrote. As with [`load`](Self::load), the settings of this trainer except the seed
    /// are kept, and the differences between the runs that do not prevent restoring are returned.
    ///
    /// # Errors
    /// The errors of [`Checkpoint::from_bytes`] and [`restore`](Self::restore).
    pub fn load_bytes(&mut self, bytes: &[u8]) -> Result<Differences, Error> {
        self.restore(&Checkpoint::from_bytes(self.network(), bytes, Values::Finite)?)
    }

    /// Restores only the parameters and buffers in the file at `path`, for inference or another training run. Returns
    /// the differences between the networks that do not prevent restoring, such as another dropout rate.
    ///
    /// # Errors
    /// The errors of [`Checkpoint::load`] and [`restore_parameters`](Self::restore_parameters).
    #[cfg(feature = "std")]
    pub fn load_parameters(&mut self, path: impl AsRef<Path>) -> Result<Differences, Error> {
        self.restore_parameters(&Checkpoint::load(self.network(), path, Values::Finite)?)
    }

    /// Returns an error if [`restore`](Self::restore) would return one for the numbers, the slices or the optimizer
    /// state of `checkpoint`, which was made from this trainer. The networks are not compared.
    fn check(&self, checkpoint: &Checkpoint<T>) -> Result<(), Error> {
        let run = self.saved_run(checkpoint)?;
        self.check_buffers(checkpoint, BUFFERS, self.workspace().buffers())?;
        self.check_state(checkpoint.values, run.state)
    }

    fn compare_network(&self, checkpoint: &Checkpoint<T>) -> Result<Vec<Difference>, Error> {
        let differences = checkpoint.compare_network(self.network())?;
        require_blocks(self.workspace().blocks(), self.parameters().len())?;
        if checkpoint.parameters.len() != self.parameters().len() {
            return Err(mismatch("parameters", self.parameters().len(), checkpoint.parameters.len()));
        }
        let (expected, buffers) = (self.workspace().buffers().len(), checkpoint.slices.get(BUFFERS));
        // A checkpoint of parameters alone has no slices.
        let found = buffers.map_or(if checkpoint.slices.is_empty() { expected } else { 0 }, Vec::len);
        if found != expected {
            return Err(mismatch(BUFFERS, expected, found));
        }
        if let Some(buffers) = buffers {
            self.check_buffers(checkpoint, BUFFERS, buffers)?;
        }
        checkpoint.check_values(self.workspace().blocks())?;
        Ok(differences)
    }

    /// Returns an error if `values`, the slice of the checkpoint with the name `name`, are not valid buffers of the
    /// network: a value is not finite, or a variance is below 0. With [`Values::Any`] all values are accepted.
    fn check_buffers(&self, checkpoint: &Checkpoint<T>, name: &str, values: &[T]) -> Result<(), Error> {
        if checkpoint.values == Values::Any {
            return Ok(());
        }
        let rule = "buffers of the network, finite and with variances of at least 0, unless `Values::Any` is asked for";
        check_buffers(self.workspace().network().as_layer(), values).map_err(|error| refused(name, rule, error))
    }

    /// Returns the state of the run in `checkpoint`. Returns an error for a checkpoint of parameters alone, for
    /// numbers outside their range, and with [`Values::Finite`] for values that are not finite.
    fn saved_run<'a>(&self, checkpoint: &'a Checkpoint<T>) -> Result<Run<'a, T>, Error> {
        let alone = || mismatch("the run", "a whole run", "parameters alone, which `Trainer::load_parameters` takes");
        let slice = |name: &str| checkpoint.slices.get(name).map(Vec::as_slice).ok_or_else(alone);
        let number = |name: &str| checkpoint.numbers.get(name).copied().ok_or_else(alone);
        let (state, carried, best) = (slice(STATE)?, slice(CARRIED)?, slice(BEST)?);
        let (steps, epochs, began, waited) = (number(STEPS)?, number(EPOCHS)?, number(BEGAN)?, number(WAITED)?);
        let flag = |name: &str| match number(name)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(refused(name, "0 or 1", other)),
        };
        let best_loss = f64::from_bits(number(BEST_LOSS)?);
        let rate = checkpoint.numbers.get(RATE).map(|&bits| f64::from_bits(bits));
        if let Some(rate) = rate.filter(|&rate| check_rate::<T>(rate).is_err()) {
            return Err(refused(RATE, "finite and not negative", rate));
        }
        if steps > MOST_STEPS {
            return Err(refused(STEPS, "at most 2^53", steps));
        }
        if epochs > MOST_EPOCHS {
            return Err(refused(EPOCHS, "at most 2^31", epochs));
        }
        if began > epochs {
            return Err(refused(BEGAN, "at most the number of epochs", began));
        }
        if waited > epochs - began {
            return Err(refused(WAITED, "at most the number of epochs of the run", waited));
        }
        if best_loss.is_nan() || best_loss == f64::NEG_INFINITY {
            return Err(refused(BEST_LOSS, "a number above -∞", best_loss));
        }
        if best.is_empty() != (best_loss == f64::INFINITY) {
            return Err(refused(BEST_LOSS, "a number with best parameters, and ∞ without", best_loss));
        }
        let [parameters, buffers, of_state] = self.kept();
        let whole = parameters + buffers + of_state;
        if !best.is_empty() && best.len() != whole {
            return Err(mismatch(BEST, whole, best.len()));
        }
        if checkpoint.values == Values::Finite {
            require_sound(CARRIED, carried, false)?;
            let (kept, state) = best.split_at(best.len().min(parameters + buffers));
            require_sound(BEST, kept, false)?;
            require_sound(BEST, state, true)?;
            self.check_buffers(checkpoint, BEST, kept.get(parameters..).unwrap_or_default())?;
        }
        let (stopped, restored) = (flag(STOPPED)?, flag(RESTORED)?);
        if restored && best.is_empty() {
            return Err(refused(RESTORED, "0 without best parameters", 1));
        }
        let [epochs, began, waited] = [epochs, began, waited].map(|number| number as usize);
        let progress = Progress { epochs, began, waited, best: best_loss, stopped, restored };
        Ok(Run { state, carried, best, steps, seed: number(SEED)?, rate, progress })
    }

    /// Returns an error if `state` does not have the length of this trainer's optimizer state. With
    /// [`Values::Finite`] it also returns an error for NaN, for ±∞ unless the transform allows it, and for values
    /// below 0 that a transform excludes.
    fn check_state(&self, values: Values, state: &[T]) -> Result<(), Error> {
        let expected = self.optimizer().state().len();
        if state.len() != expected {
            return Err(mismatch(STATE, expected, state.len()));
        }
        let mut rest = state;
        for (i, spec) in self.optimizer().spec(self.workspace().blocks()).iter().enumerate() {
            // The specification of a custom transform may state any length, even a wrong one.
            let (own, after) = rest.split_at(spec.state_len.min(rest.len()));
            rest = after;
            if values == Values::Finite {
                let name = format!("state of transform {} ({})", i + 1, spec.kind);
                require_sound(&name, own, spec.infinite_state)?;
                for range in &spec.non_negative {
                    // The specification of a custom transform may state any range, even one beyond its state.
                    let values = own.get(range.clone()).unwrap_or_default();
                    if let Some(i) = values.iter().position(|value| *value < T::zero()) {
                        let found = format!("{} at place {}", Figure(to_f64(values[i])), range.start + i);
                        return Err(refused(&name, "at least 0, unless `Values::Any` is asked for", found));
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns the values, as text and keyed by name, of the training settings that are compared when a checkpoint is
    /// loaded.
    fn described_settings(&self) -> BTreeMap<String, String> {
        let settings = self.settings();
        let blocks = self.workspace().blocks().iter();
        let frozen: Vec<&str> = blocks.filter(|block| block.frozen).map(|block| &*block.name).collect();
        let settings = [
            ("batch_size", format!("{:?}", settings.batch_size)),
            ("accumulation_steps", format!("{:?}", settings.accumulation_steps)),
            ("epochs", format!("{:?}", settings.epochs)),
            ("seed", format!("{:?}", settings.seed)),
            ("shuffle", format!("{:?}", settings.shuffle)),
            ("shuffle_block", format!("{:?}", settings.shuffle_block)),
            ("patience", format!("{:?}", settings.patience)),
            ("min_delta", format!("{:?}", settings.min_delta)),
            ("truncation", format!("{:?}", settings.truncation)),
            ("loss", format!("{:?}", self.loss)),
            ("frozen blocks", format!("{frozen:?}")),
        ];
        let ranks = self.data_parallel().into_iter().flat_map(DataParallel::settings);
        settings.into_iter().chain(ranks).map(|(name, value)| (name.into(), value)).collect()
    }
}

/// The largest number of epochs that is accepted from a checkpoint. It fits a `usize` on every target.
const MOST_EPOCHS: u64 = 1 << 31;
