//! The reports of a rank to the others, of an update whose loss is not finite.

use super::{agreement::gather_results, channel::Channel};
use crate::{error::Error, scalar::Scalar};
use alloc::{format, string::String};

/// The report of a rank to the others if the loss is not finite.
pub(crate) enum Report {
    Nothing,
    /// The index in the data set of this rank's first sample whose loss is not finite.
    Sample(usize),
    Failed(Error),
}

impl Report {
    /// Exchanges the reports of all ranks. Returns the first rank that reports a loss that is not finite, and its
    /// sample. All ranks must call it.
    ///
    /// # Errors
    /// Those of [`gather_results`].
    pub(super) fn exchange<T: Scalar>(self, ranks: &mut Channel<T>) -> Result<Option<(usize, usize)>, Error> {
        let own = match self {
            Report::Nothing => Ok(String::new()),
            Report::Sample(sample) => Ok(format!("{sample}")),
            Report::Failed(error) => Err(error),
        };
        let reports = gather_results(ranks, own)?;
        Ok(reports.iter().enumerate().find_map(|(rank, text)| Some((rank, text.parse().ok()?))))
    }
}
