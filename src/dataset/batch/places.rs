//! The positions of a batch's rows in its data set.

use super::Batch;
use crate::{
    dataset::Source,
    error::{DataRule, Error},
    scalar::Scalar,
};
use alloc::vec::Vec;

impl<T: Scalar> Batch<T> {
    /// Replaces `order` by a pair of indices for each output row whose weight is not 0: its index among the output
    /// rows of all samples of the data set, and its index in the batch. The pairs are sorted by the first index.
    /// Outputs have one row per time step if `per_step`, otherwise one per sample.
    pub(crate) fn counted_rows(&self, per_step: bool, order: &mut Vec<(usize, usize)>) {
        let mut rows = 0..;
        let weights = self.row_weights();
        order.clear();
        self.chosen_rows().each_target(per_step, |place| {
            let row = rows.next().unwrap_or_default();
            if weights.is_none_or(|weights| !weights[row].is_zero()) {
                order.push((place, row));
            }
        });
        order.sort_unstable();
    }

    /// Translates an error about a row, a sample or the targets of the batch to an error about `data`. Targets have
    /// one row per time step if `per_step`, otherwise one per sample. Other errors are returned unchanged.
    pub(crate) fn in_data(&self, data: &dyn Source<T>, per_step: bool, mut error: Error) -> Error {
        if let Error::InvalidData(DataRule::Index { sample, step, .. }) = &mut error {
            *sample = self.samples.get(*sample).copied().unwrap_or(*sample);
            *step = step.map(|step| step + self.window.start);
        }
        if let Error::Length { what: "targets", expected, found } = error {
            let (width, per_step) = (self.target_width.max(1), per_step && data.layout().steps > 1);
            let rows = (found / width).max(1);
            // Outputs of another number of rows, not of another width.
            if expected % rows != 0 {
                return error;
            }
            return DataRule::TargetWidth { expected: expected / rows, found: width, per_step }.into();
        }
        let Error::ClassOutOfRange { row, label, classes } = error else { return error };
        let (sample, step) = self.target_place(data, per_step, row);
        DataRule::LabelOutOfRange { sample, step, label, classes }.into()
    }

    /// Returns (sample, time step) of the target row with index `row` in the batch: the index of the sample in
    /// `data`, and the index of the time step in the sample. Targets have one row per time step if `per_step`.
    /// Otherwise they have one row per sample, and the time step is `None`.
    pub(crate) fn target_place(&self, data: &dyn Source<T>, per_step: bool, row: usize) -> (usize, Option<usize>) {
        let mut found = self.samples.get(row).copied();
        if per_step {
            let mut rows = 0..=row;
            self.chosen_rows().each(|place| {
                if rows.next() == Some(row) {
                    found = Some(place);
                }
            });
        }
        let layout = data.layout();
        let count = if per_step { layout.rows } else { layout.samples };
        let (sample, step, _) = layout.place(count, found.unwrap_or(row), per_step);
        (sample, step)
    }
}
