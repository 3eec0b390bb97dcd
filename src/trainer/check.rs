//! The check of all data before the first update of a fit.

use super::Run;
use crate::{
    dataset::{Batch, Source},
    error::{DataRule, Error},
    scalar::Scalar,
    size::filled,
    workspace::check_inputs,
};
use alloc::{boxed::Box, vec::Vec};

/// Returns [`DataRule::Validation`] with `error` as its reason, to say that the validation data caused it.
/// [`Error::NothingCounts`], which already names its data, is returned unchanged.
pub(super) fn of_validation(error: Error) -> Error {
    match error {
        Error::NothingCounts { .. } => error,
        reason => DataRule::Validation { reason: Box::new(reason) }.into(),
    }
}

/// Whether `error`, returned by a loss function, is about the value of a target.
fn is_about_a_target(error: &Error) -> bool {
    matches!(error, Error::Parameter { what, .. } | Error::NonFinite { what, .. } if what.contains("target"))
}

impl<T: Scalar> Run<'_, T> {
    /// Before the first update, returns an error if training data (`data`) or `validation` data does not fit the
    /// network or the loss, or if all rows of the validation data have weight 0. For training data in files only the
    /// sizes are checked, since each rank reads its own part of the data; the pass that later reads a target checks
    /// it.
    pub(super) fn check_all(&mut self, data: &dyn Source<T>, validation: Option<&dyn Source<T>>) -> Result<(), Error> {
        match data.inputs_in_memory().is_some() {
            true => self.check_samples(data).map(drop)?,
            false => self.check_data(&data.layout()).and_then(|()| check_inputs(self.workspace, data))?,
        }
        let Some(data) = validation else { return Ok(()) };
        match self.check_samples(data).map_err(of_validation)? {
            0.0 => Err(Error::NothingCounts { data: "validation" }),
            _ => Ok(()),
        }
    }

    /// Returns an error if data does not fit the network or the loss: the width, indices of embeddings, and the
    /// target of each sample. Returns the total weight in the loss of all target rows, which is 0 if all are masked
    /// or of an ignored class.
    ///
    /// The targets are checked by computing the loss for outputs of 0, with weight 1 for each row whose weight is not
    /// 0. Inputs in files are checked by the pass that reads them.
    fn check_samples(&mut self, data: &dyn Source<T>) -> Result<f64, Error> {
        let layout = data.layout();
        self.check_data(&layout)?;
        check_inputs(self.workspace, data)?;
        let (width, per_step) = (self.workspace.dims().output, self.workspace.per_step());
        // As many samples as a pass of the run has, and no more rows than such a pass.
        let at_once = self.settings.batch_size.clamp(1, layout.samples);
        let most = layout.most_rows(at_once).min(at_once.saturating_mul(self.pass_steps(layout.steps)));
        let rows = if per_step { most } else { at_once };
        let zeros = filled("the outputs of a check", rows.saturating_mul(width), T::zero())?;
        let (mut dy, mut ones, mut part) = (zeros.clone(), Vec::new(), Vec::new());
        let (mut batch, mut total) = (Batch::new(data, at_once), 0.0);
        for first in (0..layout.samples).step_by(at_once) {
            part.clear();
            part.extend(first..layout.samples.min(first + at_once));
            batch.choose(data, &part, per_step)?;
            let all = if per_step { batch.shape().rows() } else { part.len() };
            for first in (0..all).step_by(rows) {
                let (target, weights) = batch.part(first..all.min(first + rows));
                let count = rows.min(all - first);
                let weights = weights.map(|weights| {
                    ones.clear();
                    ones.extend(weights.iter().map(|weight| if weight.is_zero() { T::zero() } else { T::one() }));
                    &ones[..]
                });
                // If all rows are masked or of an ignored class, they have no mean loss, and their targets are not
                // read.
                let weight = self.loss.total_weight(width, target, weights);
                if weight == 0.0 {
                    continue;
                }
                total += weight;
                let (y, dy) = (&zeros[..count * width], &mut dy[..count * width]);
                let Err(mut error) = self.loss.evaluate(width, y, target, weights, dy) else { continue };
                if let Error::ClassOutOfRange { row, .. } = &mut error {
                    *row += first;
                }
                if !is_about_a_target(&error) {
                    return Err(batch.in_data(data, per_step, error));
                }
                // Finds the first row that counts and for which the loss, computed for it alone, returns an error.
                for row in first..first + count {
                    let (target, weights) = batch.part(row..row + 1);
                    let counts = weights.is_none_or(|weights| !weights[0].is_zero());
                    let alone = self.loss.evaluate(width, &zeros[..width], target, None, &mut dy[..width]);
                    if let (true, Err(reason)) = (counts, alone) {
                        let (sample, step) = batch.target_place(data, per_step, row);
                        return Err(DataRule::Target { sample, step, reason: Box::new(reason) }.into());
                    }
                }
                return Err(error);
            }
        }
        Ok(total)
    }
}
