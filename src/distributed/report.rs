//! What a rank tells the others of an update whose loss is not finite.

use super::{agreement::gather, channel::Channel};
use crate::{
    error::{Error, RankRule},
    scalar::Scalar,
};
use alloc::{format, string::String};

/// The report of a rank to the others on an update whose loss is not finite: its first sample at fault, its error, or
/// nothing.
pub(crate) enum Report {
    Nothing,
    /// The index in the data set of this rank's first sample whose loss is not finite.
    Sample(usize),
    Failed(Error),
}

impl Report {
    /// Exchanges the reports of all ranks, which must all call it. Returns the first rank that reports a loss that is
    /// not finite, and the index in the data set of the sample with that loss.
    ///
    /// # Errors
    /// The error of this rank, or [`RankRule::Failed`] with that of the first rank that failed.
    pub(super) fn exchange<T: Scalar>(self, ranks: &mut Channel<T>) -> Result<Option<(usize, usize)>, Error> {
        let text = match &self {
            Report::Nothing => String::new(),
            Report::Sample(sample) => format!("{sample}"),
            Report::Failed(error) => format!("!{error}"),
        };
        let reports = gather(ranks, &text)?;
        if let Report::Failed(error) = self {
            return Err(error);
        }
        let failed = reports.iter().enumerate().find_map(|(rank, text)| Some((rank, text.strip_prefix('!')?)));
        if let Some((rank, reason)) = failed {
            return Err(RankRule::Failed { rank, reason: reason.into() }.into());
        }
        Ok(reports.iter().enumerate().find_map(|(rank, text)| Some((rank, text.parse().ok()?))))
    }
}
