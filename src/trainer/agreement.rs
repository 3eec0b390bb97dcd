//! The comparison of ranks (trainers that train one network together) before an update: their runs, settings, data
//! and states must agree.

use super::{Progress, Run};
#[cfg(doc)]
use crate::error::RankRule;
use crate::{
    cpu::CpuLevel,
    dataset::{Layout, Source},
    distributed::{DataParallel, Fingerprint, Requests},
    error::Error,
    scalar::Scalar,
};
use alloc::{format, vec::Vec};

/// The version of the numerical results of training and of the messages between ranks (trainers that train one
/// network together). Ranks compare it in addition to the version of the crate, since two builds of one crate version
/// may differ. A change of the expected result bits in `tests/suite/golden_bits.txt`, or of the messages, increases
/// it by 1.
const RESULTS: u32 = 2;

/// The maximum length of the list of data sets that a rank has already compared with the other ranks.
const KNOWN: usize = 8;

/// Adds `data` to `known`, the list of data sets that the ranks have compared, unless it is already in the list. A
/// data set is identified by its address and five sizes (`Source::identity`). Removes the oldest entry if there would
/// be more than [`KNOWN`].
fn note_data(known: &mut Vec<[usize; 6]>, data: [usize; 6]) {
    if !known.contains(&data) {
        if known.len() >= KNOWN {
            known.remove(0);
        }
        known.push(data);
    }
}

/// Adds two entries to the fingerprint `run`, under the two given names: the sizes of `data`, or "none", and the hash
/// of its values.
fn describe_data<T: Scalar>(run: &mut Fingerprint, data: Option<&dyn Source<T>>, [sizes, values]: [&str; 2]) {
    let described = |data: &dyn Source<T>| {
        let Layout { samples, steps, width, .. } = data.layout();
        format!("{samples} samples of up to {steps} steps of {width} values")
    };
    run.add(sizes, data.map_or_else(|| "none".into(), described));
    run.add_hash(values, data.into_iter().flat_map(|data| data.words()));
}

impl<T: Scalar> Run<'_, T> {
    /// Compares version, network, settings, `data`, `validation` data, parameters and training state of this rank
    /// with those of the other ranks. All ranks must call it. If a rank differs, the error is [`RankRule::Differs`].
    /// Without other ranks it does nothing.
    pub(super) fn agree(&mut self, data: &dyn Source<T>, validation: Option<&dyn Source<T>>) -> Result<(), Error> {
        let Some(parallel) = self.parallel.as_ref().filter(|parallel| parallel.ranks() > 1) else { return Ok(()) };
        let mut own = Fingerprint::default();
        let described = self.describe_run(&mut own, parallel, data, validation);
        self.describe_state(&mut own, parallel);
        if let Some(parallel) = self.parallel.as_mut() {
            (parallel.agreed, parallel.requests) = (false, Requests::default());
            parallel.compare(described.map(|()| own))?;
            parallel.agreed = true;
            parallel.known_data.clear();
            parallel.known_data.push(data.identity());
        }
        Ok(())
    }

    /// Collects the requests that ranks make in an update from `data`: a callback ends the fit, a monitor stops the
    /// run, or the states of the ranks or `data` must be compared. Makes the requested comparisons. All ranks must
    /// call it in an update in which any rank has a request. Returns whether the ranks are to make no further update;
    /// if so, stores the requests in [`halted`](DataParallel::halted).
    pub(super) fn answer_requests(&self, parallel: &mut DataParallel<T>, data: &dyn Source<T>) -> Result<bool, Error> {
        let requests = parallel.requests_of_any()?;
        if requests.compares || requests.other_data {
            let mut own = Fingerprint::default();
            if requests.other_data {
                describe_data(&mut own, Some(data), ["the data", "the values of the data"]);
                note_data(&mut parallel.known_data, data.identity());
            }
            self.describe_state(&mut own, parallel);
            let compared = parallel.compare(Ok(own));
            // Ranks that differ are compared again before the next update.
            parallel.agreed &= compared.is_ok();
            compared?;
        }
        parallel.halted = requests.halts().then_some(requests);
        Ok(requests.halts())
    }

    /// Returns the requests that end the fit, so that it makes no further update; `None` if it continues. On one rank
    /// they are `own`, the requests of this rank. On several ranks `own` is stored and sent with the gradient sum of
    /// the next update. The result is then the requests that were sent with the previous sum, if they cancelled its
    /// update.
    pub(super) fn halts(&mut self, own: Requests) -> Option<Requests> {
        match self.parallel.as_mut().filter(|parallel| parallel.ranks() > 1) {
            Some(parallel) => {
                let compares = parallel.requests.compares;
                let own = if parallel.halted.is_some() { Requests::default() } else { own };
                parallel.requests = Requests { compares, ..own };
                parallel.halted.take()
            }
            None => own.halts().then_some(own),
        }
    }

    /// Adds to `run`, the description of this rank, everything that cannot change after the start of a run: version,
    /// network, loss, settings, `data` and `validation` data.
    fn describe_run(
        &self,
        run: &mut Fingerprint,
        parallel: &DataParallel<T>,
        data: &dyn Source<T>,
        validation: Option<&dyn Source<T>>,
    ) -> Result<(), Error> {
        let settings = self.settings;
        run.add("the version of chainrule", format_args!("{} (results {RESULTS})", env!("CARGO_PKG_VERSION")));
        run.add("the CPU level (CHAINRULE_LEVEL sets it)", format_args!("{:?}", CpuLevel::current()?));
        run.add("the scalar type", core::any::type_name::<T>());
        for (name, value) in parallel.settings() {
            run.add(name, value);
        }
        run.add("the number of parameters", self.parameters.len());
        run.add_text("the network", &format!("{:?}", self.workspace.network().spec()));
        run.add_text("the loss", &format!("{:?}", self.loss));
        run.add("batch_size", settings.batch_size);
        run.add("accumulation_steps", settings.accumulation_steps);
        run.add("epochs", settings.epochs);
        run.add("seed", settings.seed);
        run.add("shuffle", settings.shuffle);
        run.add("shuffle_block", format_args!("{:?}", settings.shuffle_block));
        run.add("patience", format_args!("{:?}", settings.patience));
        run.add("min_delta", settings.min_delta);
        describe_data(run, Some(data), ["the data", "the values of the data"]);
        describe_data(run, validation, ["the validation data", "its values"]);
        Ok(())
    }

    /// Adds to `run`, the description of this rank, everything that a caller may change during a run: frozen blocks,
    /// transforms, parameters, buffers, and the position in the run.
    fn describe_state(&self, run: &mut Fingerprint, parallel: &DataParallel<T>) {
        let blocks = self.workspace.blocks();
        let frozen: Vec<bool> = blocks.iter().map(|block| block.frozen).collect();
        run.add_text("the frozen blocks", &format!("{frozen:?}"));
        run.add_text("the chain of transforms", &format!("{:?}", self.optimizer.spec(blocks)));
        // The run after a finished one takes over only its number of epochs.
        let progress = if self.is_finished() { Progress::after(self.progress.epochs) } else { *self.progress };
        run.add("the position in the run", format_args!("{progress:?}"));
        run.add("the number of updates", self.optimizer.steps());
        run.add_numbers("the parameters", self.parameters);
        run.add_numbers("the state of the transforms", self.optimizer.state());
        run.add_numbers("the buffers of the network", self.workspace.buffers());
        run.add("the typical norm of the gradient", parallel.typical_norm());
    }

    /// Combines the results of work that each rank has done by itself: returns `own`, the result of this rank, if no
    /// rank failed. `describe` gives the values of a result that must be equal on all ranks. All ranks must call it.
    /// Without other ranks it returns `own`.
    ///
    /// # Errors
    /// The error of this rank; [`RankRule::Failed`] with the error of another rank; [`RankRule::Differs`] if values
    /// differ.
    pub(super) fn settle<R>(
        &mut self,
        own: Result<R, Error>,
        describe: impl FnOnce(&R) -> Fingerprint,
    ) -> Result<R, Error> {
        if let Some(parallel) = self.parallel.as_mut().filter(|parallel| parallel.ranks() > 1) {
            parallel.compare(own.as_ref().map(describe).map_err(Error::clone))?;
        }
        own
    }

    /// Whether `own` is true on any rank. All ranks must call it, because it exchanges the values of all ranks.
    /// Without data-parallel training it returns `own`.
    pub(super) fn any_rank(&mut self, own: bool) -> Result<bool, Error> {
        self.parallel.as_mut().map_or(Ok(own), |parallel| parallel.any(own))
    }
}
