//! What the ranks of a training compare before an update.

use super::Run;
#[cfg(doc)]
use crate::error::RankRule;
use crate::{
    cpu::CpuLevel,
    dataset::{Layout, Source},
    distributed::{DataParallel, Fingerprint},
    error::Error,
    scalar::Scalar,
};
use alloc::{format, vec::Vec};

impl<T: Scalar> Run<'_, T> {
    /// Compares version, network, settings, data, parameters and state of this rank with those of the other ranks, and
    /// refuses a difference. Without other ranks it does nothing.
    pub(super) fn agree(&mut self, data: &dyn Source<T>, validation: Option<&dyn Source<T>>) -> Result<(), Error> {
        let Some(parallel) = self.parallel.as_ref().filter(|parallel| parallel.ranks() > 1) else { return Ok(()) };
        let own = self.description(parallel, data, validation);
        if let Some(parallel) = self.parallel.as_mut() {
            parallel.agreed = false;
            parallel.compare(own)?;
            parallel.agreed = true;
        }
        Ok(())
    }

    /// Returns the description of this rank's run, for the comparison with the others.
    fn description(
        &self,
        parallel: &DataParallel<T>,
        data: &dyn Source<T>,
        validation: Option<&dyn Source<T>>,
    ) -> Result<Fingerprint, Error> {
        let (blocks, settings) = (self.workspace.blocks(), self.settings);
        let mut run = Fingerprint::default();
        run.add("the version of chainrule", env!("CARGO_PKG_VERSION"));
        run.add("the CPU level", format_args!("{:?}", CpuLevel::current()?));
        run.add("the scalar type", core::any::type_name::<T>());
        for (name, value) in parallel.settings() {
            run.add(name, value);
        }
        run.add("the number of parameters", self.parameters.len());
        run.add_text("the network", &format!("{:?}", self.workspace.network().spec()));
        run.add_text(
            "the frozen blocks",
            &format!("{:?}", blocks.iter().map(|block| block.frozen).collect::<Vec<_>>()),
        );
        run.add_text("the loss", &format!("{:?}", self.loss));
        run.add_text("the chain of transforms", &format!("{:?}", self.optimizer.spec(blocks)));
        run.add("batch_size", settings.batch_size);
        run.add("accumulation_steps", settings.accumulation_steps);
        run.add("epochs", settings.epochs);
        run.add("seed", settings.seed);
        run.add("shuffle", settings.shuffle);
        run.add("shuffle_block", format_args!("{:?}", settings.shuffle_block));
        run.add("patience", format_args!("{:?}", settings.patience));
        run.add("min_delta", settings.min_delta);
        for (name, values, data) in
            [("the data", "the values of the data", Some(data)), ("the validation data", "its values", validation)]
        {
            let sizes = |data: &dyn Source<T>| {
                let Layout { samples, steps, width, .. } = data.layout();
                format!("{samples} samples of up to {steps} steps of {width} values")
            };
            run.add(name, data.map_or_else(|| "none".into(), sizes));
            run.add_hash(values, data.into_iter().flat_map(|data| data.words()));
        }
        run.add("the position in the run", format_args!("{:?}", self.progress));
        run.add("the number of updates", self.optimizer.steps());
        run.add_numbers("the parameters", self.parameters);
        run.add_numbers("the state of the transforms", self.optimizer.state());
        run.add_numbers("the buffers of the network", self.workspace.buffers());
        run.add("the typical norm of the gradient", parallel.typical_norm());
        Ok(run)
    }

    /// Returns `own`, the result of work that each rank does by itself, if it failed on no rank. `describe` gives the
    /// values of the result that must be equal on all ranks. All ranks must call it. Without other ranks it returns
    /// `own`.
    ///
    /// # Errors
    /// The error of this rank; [`RankRule::Failed`] with that of another; [`RankRule::Differs`] for other values.
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

    /// Whether `own` is true on any rank. All ranks must call it: it waits for the values of the others. Without
    /// data-parallel training it returns `own`.
    pub(super) fn any_rank(&mut self, own: bool) -> Result<bool, Error> {
        self.parallel.as_mut().map_or(Ok(own), |parallel| parallel.any(own))
    }
}
