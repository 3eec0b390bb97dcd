//! The reports of a rank to the others: of an update whose loss is not finite, and of a spike of the gradient.

use super::{agreement::gather_results, channel::Channel};
use crate::{error::Error, monitor::progress::Spike, scalar::Scalar};
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

/// Returns the largest contribution to a gradient among those that the ranks found, `own` on this rank. Of equal ones
/// it is the first, so that the number of ranks does not matter. All ranks must call it.
pub(super) fn largest_of_ranks<T: Scalar>(ranks: &mut Channel<T>, own: Option<Spike>) -> Result<Option<Spike>, Error> {
    let texts = gather_results(ranks, Ok(own.map_or_else(String::new, write)))?;
    let found = texts.iter().enumerate().filter_map(|(rank, text)| read(rank, text));
    Ok(found.reduce(|most, spike| if spike.shard_fraction > most.shard_fraction { spike } else { most }))
}

/// Writes the values of `spike` but its rank, each `f64` with the digits that identify it.
fn write(spike: Spike) -> String {
    let Spike { shard, shard_fraction, sample, sample_fraction, .. } = spike;
    match sample.zip(sample_fraction) {
        Some((sample, fraction)) => format!("{shard} {shard_fraction:?} {sample} {fraction:?}"),
        None => format!("{shard} {shard_fraction:?}"),
    }
}

/// Reads the text of [`write`] from rank `rank`; `None` for an empty text.
fn read(rank: usize, text: &str) -> Option<Spike> {
    let mut values = text.split(' ');
    let (shard, shard_fraction) = (values.next()?.parse().ok()?, values.next()?.parse().ok()?);
    let mut next = || values.next();
    let (sample, sample_fraction) =
        (next().and_then(|text| text.parse().ok()), next().and_then(|text| text.parse().ok()));
    Some(Spike { rank, shard, shard_fraction, sample, sample_fraction })
}
