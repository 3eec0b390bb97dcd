//! Reports and requests of a rank to the other ranks: a loss that is not finite, a spike of the gradient, the end of
//! a fit.

use super::{agreement::gather_results, channel::Channel};
use crate::{error::Error, monitor::progress::Spike, scalar::Scalar};
use alloc::{format, string::String, vec::Vec};

/// The report of a rank to the other ranks about an update whose loss is not finite: the first shard and sample with
/// such a loss, the rank's error, or nothing.
pub(crate) enum Report {
    Nothing,
    /// This rank's first shard whose loss is not finite, and the index in the data set of the first sample with such
    /// a loss. The sample is `None` if no single sample has such a loss.
    NonFinite {
        shard: usize,
        sample: Option<usize>,
    },
    Failed(Error),
}

impl Report {
    /// Exchanges the reports of all ranks, which must all call it. Returns the first rank that reports a loss that is
    /// not finite, with its shard and sample; `None` if no rank does.
    ///
    /// # Errors
    /// The errors of [`gather_results`].
    pub(super) fn exchange<T: Scalar>(self, ranks: &mut Channel<T>) -> Result<Option<Spike>, Error> {
        let own = match self {
            Report::Nothing => Ok(String::new()),
            Report::NonFinite { shard, sample } => {
                Ok(sample.map_or_else(|| format!("{shard}"), |sample| format!("{shard} {sample}")))
            }
            Report::Failed(error) => Err(error),
        };
        let reports = gather_results(ranks, own)?;
        Ok(reports.iter().enumerate().find_map(|(rank, text)| {
            let (shard, sample) = text.split_once(' ').unwrap_or((text, ""));
            Some(Spike::non_finite(rank, shard.parse().ok()?, sample.parse().ok()))
        }))
    }
}

/// The requests of a rank to all ranks: to end the updates of a fit, as a callback or a monitor asks, or to compare
/// the states of the ranks or their data.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Requests {
    /// Whether a callback of this rank requests the end of the fit.
    pub ends: bool,
    /// Whether a monitor of this rank requests the end of the run.
    pub stops: bool,
    /// Whether parameters, transforms or workspace of this rank may have been changed, so that the ranks must compare
    /// their states.
    pub compares: bool,
    /// Whether the update uses a data set that the ranks have not compared yet.
    pub other_data: bool,
}

impl Requests {
    /// Whether the ranks are to make no further update of this fit.
    pub fn halts(self) -> bool {
        self.ends || self.stops
    }

    /// Returns the requests (such as to end the fit) that at least one rank makes; `self` are those of this rank. All
    /// ranks must call it.
    pub(super) fn of_any<T: Scalar>(self, ranks: &mut Channel<T>) -> Result<Self, Error> {
        let digit = |set| if set { '1' } else { '0' };
        let own = [self.ends, self.stops, self.compares, self.other_data].map(digit).iter().collect();
        let texts = gather_results(ranks, Ok(own))?;
        let any: Vec<bool> = (0..4).map(|i| texts.iter().any(|text| text.as_bytes().get(i) == Some(&b'1'))).collect();
        Ok(Requests { ends: any[0], stops: any[1], compares: any[2], other_data: any[3] })
    }
}

/// Returns the largest contribution of a shard to the gradient, among those that the ranks found; `own` is the one
/// that this rank found. `None` if no rank found one. Among equal contributions it is that of the lowest rank, so
/// that the number of ranks does not matter. All ranks must call it.
pub(super) fn largest_of_ranks<T: Scalar>(ranks: &mut Channel<T>, own: Option<Spike>) -> Result<Option<Spike>, Error> {
    let texts = gather_results(ranks, Ok(own.map_or_else(String::new, write)))?;
    let found = texts.iter().enumerate().filter_map(|(rank, text)| read(rank, text));
    Ok(found.reduce(|most, spike| if spike.shard_fraction > most.shard_fraction { spike } else { most }))
}

/// Returns the values of `spike` except its rank as text, separated by spaces: shard, its fraction and, if known,
/// sample and its fraction. Each `f64` has enough digits to be read back exactly.
fn write(spike: Spike) -> String {
    let Spike { shard, shard_fraction, sample, sample_fraction, .. } = spike;
    match sample.zip(sample_fraction) {
        Some((sample, fraction)) => format!("{shard} {shard_fraction:?} {sample} {fraction:?}"),
        None => format!("{shard} {shard_fraction:?}"),
    }
}

/// Parses the text that [`write`] returned on rank `rank`; `None` for an empty text.
fn read(rank: usize, text: &str) -> Option<Spike> {
    let mut values = text.split(' ');
    let (shard, shard_fraction) = (values.next()?.parse().ok()?, values.next()?.parse().ok()?);
    let mut next = || values.next();
    let (sample, sample_fraction) =
        (next().and_then(|text| text.parse().ok()), next().and_then(|text| text.parse().ok()));
    Some(Spike { rank, shard, shard_fraction, sample, sample_fraction })
}
