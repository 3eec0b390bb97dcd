//! Checkpoints of a trainer's run.

use super::{Checkpoint, Difference, Values, mismatch, part, refused, require_sound};
use crate::{
    error::Error,
    layer::Layer,
    loss::Loss,
    scalar::Scalar,
    trainer::{Progress, Trainer},
    transform::{GradientTransform, MOST_STEPS},
};
use alloc::{collections::BTreeMap, format, string::String, vec::Vec};
use std::path::Path;

/// Names of slices.
const STATE: &str = "optimizer.state";
const CARRIED: &str = "carried";
const BEST: &str = "best";

/// Names of numbers.
const STEPS: &str = "steps";
const EPOCHS: &str = "epochs";
const SEED: &str = "seed";
const WAITED: &str = "waited";
const BEST_LOSS: &str = "best loss";
const BEGAN: &str = "epochs before the run";
const STOPPED: &str = "stopped early";
const RESTORED: &str = "best restored";

/// The state of a run in a checkpoint, checked.
struct Run<'a, T> {
    state: &'a [T],
    carried: &'a [T],
    best: &'a [T],
    steps: u64,
    seed: u64,
    progress: Progress,
}

impl<T: Scalar, L: Layer<T>, C: Loss<T>, G: GradientTransform<T>> Trainer<T, L, C, G> {
    /// The run as it stands: parameters, optimiser state, carried state, and the place in the run.
    ///
    /// The order of samples and the masks are functions of seed, epoch and step, so there is no other random state.
    pub fn checkpoint(&self) -> Checkpoint<T> {
        let Progress { epochs, began, waited, best, stopped, restored } = self.progress;
        let mut run = Checkpoint::new(self.parameters().to_vec());
        let slices = [(STATE, self.optimizer().state()), (CARRIED, self.workspace().state()), (BEST, &self.best)];
        run.slices = slices.into_iter().map(|(name, values)| (name.into(), values.to_vec())).collect();
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
        run.numbers = numbers.into_iter().map(|(name, value)| (name.into(), value)).collect();
        run.about.transforms = part::transforms(&self.optimizer().spec(self.workspace().blocks()));
        run.about.settings = self.described_settings();
        run
    }

    /// Goes on from a checkpoint, and returns what may differ from the saved run and does.
    ///
    /// On an error nothing has changed.
    ///
    /// # Errors
    /// [`Error::Checkpoint`], naming the layer or transform, for another network or chain of transforms, and for a
    /// checkpoint of parameters alone. [`Error::CheckpointValue`] for numbers outside their range, and for values that
    /// are not finite unless the checkpoint was read with [`Values::Any`].
    pub fn restore(&mut self, checkpoint: &Checkpoint<T>) -> Result<Vec<Difference>, Error> {
        let mut differences = self.compare_network(checkpoint)?;
        let run = self.saved_run(checkpoint)?;
        let transforms = part::transforms(&self.optimizer().spec(self.workspace().blocks()));
        let settings = self.described_settings();
        differences.extend(part::compare(&transforms, &checkpoint.about.transforms)?);
        differences.extend(part::differences("", &settings, &checkpoint.about.settings));
        self.check_state(checkpoint.values, run.state)?;
        if run.carried.is_empty() {
            self.workspace_mut().clear_state();
        } else {
            let fits = self.workspace_mut().set_state(run.carried);
            fits.map_err(|error| mismatch(CARRIED, "a state of this network", error))?;
        }
        self.parameters_mut().copy_from_slice(&checkpoint.parameters);
        self.optimizer_mut().restore(run.state, run.steps)?;
        self.best = run.best.to_vec();
        self.settings.seed = run.seed;
        self.progress = run.progress;
        Ok(differences)
    }

    /// Takes the parameters alone from a checkpoint, of a whole run or not, and returns the differences of the network
    /// that may be, such as a dropout rate. The rest of the run stays.
    ///
    /// # Errors
    /// [`Error::Checkpoint`], naming the layer, for the parameters of another network.
    pub fn restore_parameters(&mut self, checkpoint: &Checkpoint<T>) -> Result<Vec<Difference>, Error> {
        let differences = self.compare_network(checkpoint)?;
        self.parameters_mut().copy_from_slice(&checkpoint.parameters);
        Ok(differences)
    }

    /// Saves [`checkpoint`](Self::checkpoint) in a file.
    ///
    /// # Errors
    /// Those of [`Checkpoint::save`]; [`Error::CheckpointValue`] for values of the run that [`load`](Self::load) would
    /// refuse, such as NaN. None touches the file.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let checkpoint = self.checkpoint();
        self.check(&checkpoint)?;
        checkpoint.save(self.network(), path)
    }

    /// Saves [`checkpoint`](Self::checkpoint) in memory.
    ///
    /// # Errors
    /// Those of [`Checkpoint::to_bytes`]; [`Error::CheckpointValue`] for values of the run that
    /// [`load_bytes`](Self::load_bytes) would refuse, such as NaN.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let checkpoint = self.checkpoint();
        self.check(&checkpoint)?;
        checkpoint.to_bytes(self.network())
    }

    /// Goes on from a file that [`save`](Self::save) wrote, and returns what may differ from the saved run and does.
    ///
    /// The settings of this trainer hold, the seed apart, which is the saved one. On an error nothing has changed.
    ///
    /// # Errors
    /// Those of [`Checkpoint::load`] and [`restore`](Self::restore).
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<Vec<Difference>, Error> {
        self.restore(&Checkpoint::load(self.network(), path, Values::Finite)?)
    }

    /// Goes on from the bytes of [`to_bytes`](Self::to_bytes) or of a file.
    ///
    /// # Errors
    /// Those of [`Checkpoint::from_bytes`] and [`restore`](Self::restore).
    pub fn load_bytes(&mut self, bytes: &[u8]) -> Result<Vec<Difference>, Error> {
        self.restore(&Checkpoint::from_bytes(self.network(), bytes, Values::Finite)?)
    }

    /// Takes the parameters alone from a file, of a whole run or not: for inference, or to train another way.
    ///
    /// # Errors
    /// Those of [`Checkpoint::load`] and [`restore_parameters`](Self::restore_parameters).
    pub fn load_parameters(&mut self, path: impl AsRef<Path>) -> Result<Vec<Difference>, Error> {
        self.restore_parameters(&Checkpoint::load(self.network(), path, Values::Finite)?)
    }

    /// Refuses a checkpoint that [`restore`](Self::restore) would refuse for its values.
    fn check(&self, checkpoint: &Checkpoint<T>) -> Result<(), Error> {
        let run = self.saved_run(checkpoint)?;
        self.check_state(checkpoint.values, run.state)
    }

    fn compare_network(&self, checkpoint: &Checkpoint<T>) -> Result<Vec<Difference>, Error> {
        if checkpoint.parameters.len() != self.parameters().len() {
            return Err(mismatch("parameters", self.parameters().len(), checkpoint.parameters.len()));
        }
        // A checkpoint that was never written has no description.
        match &checkpoint.about.network[..] {
            [] => Ok(Vec::new()),
            saved => part::compare(&part::layers(&self.network().spec()), saved),
        }
    }

    /// The state of the run in `checkpoint`.
    fn saved_run<'a>(&self, checkpoint: &'a Checkpoint<T>) -> Result<Run<'a, T>, Error> {
        let alone = || mismatch("the run", "a whole run", "parameters alone, which `load_parameters` takes");
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
        if !best.is_empty() && best.len() != self.parameters().len() {
            return Err(mismatch(BEST, self.parameters().len(), best.len()));
        }
        if checkpoint.values == Values::Finite {
            require_sound(CARRIED, carried, false)?;
            require_sound(BEST, best, false)?;
        }
        let (stopped, restored) = (flag(STOPPED)?, flag(RESTORED)?);
        if restored && best.is_empty() {
            return Err(refused(RESTORED, "0 without best parameters", 1));
        }
        let [epochs, began, waited] = [epochs, began, waited].map(|number| number as usize);
        let progress = Progress { epochs, began, waited, best: best_loss, stopped, restored };
        Ok(Run { state, carried, best, steps, seed: number(SEED)?, progress })
    }

    /// Refuses a state of another length, and values in it that the transforms do not allow.
    fn check_state(&self, values: Values, state: &[T]) -> Result<(), Error> {
        let expected = self.optimizer().state().len();
        if state.len() != expected {
            return Err(mismatch(STATE, expected, state.len()));
        }
        let mut rest = state;
        for (i, spec) in self.optimizer().spec(self.workspace().blocks()).iter().enumerate() {
            // A specification by hand may state any length.
            let (own, after) = rest.split_at(spec.state_len.min(rest.len()));
            rest = after;
            if values == Values::Finite {
                let name = format!("state of transform {} ({})", i + 1, spec.kind);
                require_sound(&name, own, spec.infinite_state)?;
            }
        }
        Ok(())
    }

    /// The settings that decide what an epoch does, as text.
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
            ("patience", format!("{:?}", settings.patience)),
            ("loss", format!("{:?}", self.loss)),
            ("frozen blocks", format!("{frozen:?}")),
        ];
        settings.into_iter().map(|(name, value)| (name.into(), value)).collect()
    }
}

/// The largest number of epochs that a saved run may have, which fits a `usize` everywhere.
const MOST_EPOCHS: u64 = 1 << 31;
