//! The total loss weight of the target rows of an update, by which a mean loss is divided.

use super::{Run, parts::Reader};
#[cfg(doc)]
use crate::loss::Loss;
use crate::{
    dataset::{Batch, Source},
    error::{Error, require},
    scalar::Scalar,
};

impl<T: Scalar> Run<'_, T> {
    /// Returns the total loss weight of the target rows of `samples`: 0 if all rows are masked or of an ignored
    /// class. It reads the samples in groups of `size` into the batch of `reader`, which holds the last group on
    /// return.
    #[inline]
    pub(super) fn total_weight(
        &self,
        reader: &mut Reader<'_, T>,
        samples: &[usize],
        size: usize,
    ) -> Result<f64, Error> {
        let mut whole = 0.0;
        for part in samples.chunks(size) {
            reader.batch.choose(reader.data, part, self.workspace.per_step())?;
            whole = self.add_weight(whole, reader.batch)?;
        }
        Ok(whole)
    }

    /// Returns the total weight of the rows of `samples` if each row has weight 1, so that they can be counted
    /// without reading targets; otherwise `None`. See [`Loss::weighs_target_values`].
    pub(super) fn counted_weight(&self, data: &dyn Source<T>, samples: &[usize]) -> Option<f64> {
        if self.loss.weighs_target_values() {
            return None;
        }
        data.layout().rows_of_weight_1(samples, self.workspace.per_step()).map(|rows| rows as f64)
    }

    /// Returns `whole` plus the total loss weight of the target rows of `batch`, or an error if this weight is
    /// negative or not finite.
    #[inline]
    pub(super) fn add_weight(&self, whole: f64, batch: &Batch<T>) -> Result<f64, Error> {
        // A custom loss may return any weight; with a negative one, the update would increase the loss.
        let weight = self.batch_weight(batch);
        let valid = weight >= 0.0 && (whole + weight).is_finite();
        require(valid, "the total weight of the rows in a loss", "finite and not negative", weight)?;
        Ok(whole + weight)
    }

    /// Returns the total loss weight of the target rows of `batch`, by which a mean loss is divided.
    #[inline]
    pub(super) fn batch_weight(&self, batch: &Batch<T>) -> f64 {
        if let Some(rows) = batch.rows_of_weight_1().filter(|_| !self.loss.weighs_target_values()) {
            return rows as f64;
        }
        self.loss.total_weight(self.workspace.dims().output, batch.target(), batch.row_weights())
    }
}
