//! The records of a run: one per update, one per epoch.

#[cfg(doc)]
use crate::{loss::Reduction, monitor::Event};
use core::fmt;

/// The result of one update, for [`FitOptions::on_step`](crate::trainer::FitOptions::on_step) and, as [`Event::Step`],
/// for an active monitor. An update without a row of nonzero weight has no record.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Step {
    /// The number of updates since the start of training, including this one if it was applied.
    pub step: u64,
    /// The number of the epoch, from 1.
    pub epoch: usize,
    /// The loss on the samples of the update, their mean or sum by the loss's [`Reduction`], from the parameters before
    /// it.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub loss: f64,
    /// Whether the update was applied; otherwise a transform skipped it.
    pub applied: bool,
    /// The learning rate of the update, with the factors of schedules; `None` if the transform states none.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub learning_rate: Option<f64>,
    /// The norm of the gradient of all parameters, before any transform.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub gradient_norm: f64,
    /// The norm of the gradient after the last clip of the chain; `None` if the chain does not clip, or the update was
    /// skipped.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub clipped_norm: Option<f64>,
    /// The number of samples of the update. With truncated backpropagation, each window of time steps is one update,
    /// and counts all samples of the batch.
    pub samples: usize,
    /// The time of the update in seconds; `None` without a clock (`no_std`, bare wasm32), and in a
    /// [`Trainer::step`](crate::trainer::Trainer::step) that begins with an inactive monitor.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub seconds: Option<f64>,
    /// The messages between ranks in this update; `None` without other ranks.
    #[cfg_attr(feature = "serde", serde(default))]
    pub communication: Option<Communication>,
    /// The origin of a spike of the gradient, in [data-parallel](crate::distributed) training; otherwise `None`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub spike: Option<Spike>,
}

/// One line: `update 12 of epoch 3: loss 0.5000, gradient norm 1.2000, clipped to 1.0000`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "update {} of epoch {}: loss {:.4}", self.step, self.epoch, self.loss)?;
        write!(f, ", gradient norm {:.4}", self.gradient_norm)?;
        if let Some(norm) = self.clipped_norm {
            write!(f, ", clipped to {norm:.4}")?;
        }
        f.write_str(if self.applied { "" } else { ", skipped" })
    }
}

/// The shard and the sample that contribute most to the gradient of an update, if that gradient is a spike or not
/// finite.
///
/// A spike is a gradient g with ln ‖g‖ more than 2.5 standard deviations above its mean, after the first 25 updates
/// that a monitor or a callback on any rank records. The contribution of a shard, whose gradient is g_s, is
/// `⟨g_s, g⟩/‖g‖²`. The contributions of all shards add up to 1, as do those of all samples; some may be negative. They
/// are computed by further passes over the samples of such an update. All ranks get the same record.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Spike {
    /// The rank that has the shard that contributes most to the gradient.
    pub rank: usize,
    /// The number of the shard that contributes most to the gradient, counted from 0 among the shards of all ranks.
    pub shard: usize,
    /// The contribution of the shard [`shard`](Self::shard) to the gradient; infinite if the gradient or the loss of
    /// the shard is not finite.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub shard_fraction: f64,
    /// The index in the data set of the sample with the largest contribution to the gradient, among the samples of
    /// the shard [`shard`](Self::shard). `None` if a layer couples samples, such as
    /// [`BatchNorm`](crate::layer::BatchNorm): then samples have no gradients of their own.
    pub sample: Option<usize>,
    /// The contribution of the sample [`sample`](Self::sample) to the gradient; infinite if its gradient or loss is
    /// not finite, `None` if [`sample`](Self::sample) is `None`.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub sample_fraction: Option<f64>,
}

impl Spike {
    /// Returns the record of a shard whose loss is not finite, with infinite contributions. `sample` is the first
    /// sample of the shard whose loss, computed for this sample alone, is not finite; `None` if all these losses are
    /// finite.
    pub(crate) fn non_finite(rank: usize, shard: usize, sample: Option<usize>) -> Self {
        let infinite = f64::INFINITY;
        Spike { rank, shard, shard_fraction: infinite, sample, sample_fraction: sample.map(|_| infinite) }
    }
}

/// One phrase: `sample 22 on rank 3 (87 % of the gradient)`; without a sample it names the shard.
impl fmt::Display for Spike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sample {
            Some(sample) => write!(f, "sample {sample} on rank {}", self.rank)?,
            None => write!(f, "shard {} on rank {}", self.shard, self.rank)?,
        }
        match self.sample_fraction.unwrap_or(self.shard_fraction) {
            fraction if fraction.is_finite() => write!(f, " ({:.0} % of the gradient)", 100.0 * fraction),
            _ => f.write_str(" (not finite)"),
        }
    }
}

/// The messages between [ranks](crate::distributed) in one update, as counted on one rank.
///
/// A broadcast counts once: as sent at its root, as received elsewhere. Only the bytes of the values count, not those
/// that the [`Communicator`](crate::distributed::Communicator) adds for its own use.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Communication {
    /// The number of bytes that the rank sent.
    pub sent: u64,
    /// The number of bytes that the rank received.
    pub received: u64,
    /// The time in calls of the [`Communicator`](crate::distributed::Communicator), in seconds; 0 without a clock. It
    /// includes the time in which the rank waits for a slower rank, and the time of messages
    /// [during](crate::distributed::DataParallel::overlap) a backward pass.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub seconds: f64,
}

impl Step {
    /// Returns the number of samples of the update divided by its seconds; `None` if [`seconds`](Self::seconds) is
    /// `None` or 0.
    pub fn samples_per_second(&self) -> Option<f64> {
        rate(self.samples, self.seconds)
    }
}

/// The result of one epoch.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Epoch {
    /// The number of the epoch, from 1.
    pub epoch: usize,
    /// The training loss over the applied updates; NaN if none was applied.
    ///
    /// The loss is the weighted mean over the rows of these updates, or their sum with [`Reduction::Sum`].
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub loss: f64,
    /// The loss and accuracy on the validation data; `None` without validation data.
    pub validation: Option<Evaluation>,
    /// The number of applied updates since the start of training, at the end of the epoch.
    pub steps: u64,
    /// The number of updates of this epoch that were skipped, by a transform or because all rows have weight 0.
    pub skipped: u64,
    /// The learning rate of the first update of this epoch; `None` if the transform states none.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub learning_rate: Option<f64>,
    /// The mean of [`Step::gradient_norm`] over the applied updates of this epoch that have a record; `None` if none
    /// has. With a callback or a monitor all updates have a record; with a monitor in an
    /// [`Every`](struct@crate::monitor::Every) some have one. Without callback and monitor the norm is not computed,
    /// to save time.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub gradient_norm: Option<f64>,
    /// The mean of [`Step::clipped_norm`] over the updates of this epoch that have it; `None` if none has.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub clipped_norm: Option<f64>,
    /// The number of samples of the epoch's updates: fewer than those of the data if a monitor stopped the epoch.
    #[cfg_attr(feature = "serde", serde(default))]
    pub samples: usize,
    /// The time of the updates in seconds, without the validation; `None` without a clock (`no_std`, bare wasm32).
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub seconds: Option<f64>,
}

impl Epoch {
    /// Returns the number of samples of the epoch divided by its seconds; `None` if [`seconds`](Self::seconds) is
    /// `None` or 0.
    pub fn samples_per_second(&self) -> Option<f64> {
        rate(self.samples, self.seconds)
    }
}

/// One line: `epoch 3: loss 0.5000, validation loss 0.6000, accuracy 91.0 %`.
impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {}: loss {:.4}", self.epoch, self.loss)?;
        if let Some(validation) = &self.validation {
            write!(f, ", validation {validation}")?;
        }
        Ok(())
    }
}

/// Two epochs are equal if all values but their times and gradient norms are equal. All other values depend only on
/// data, settings and seed, but norms are present only with a monitor or a callback.
impl PartialEq for Epoch {
    fn eq(&self, other: &Self) -> bool {
        let results = |epoch: &Epoch| {
            let Epoch { epoch, loss, validation, steps, skipped, learning_rate, samples, .. } = *epoch;
            (epoch, loss, validation, steps, skipped, learning_rate, samples)
        };
        results(self) == results(other)
    }
}

fn rate(samples: usize, seconds: Option<f64>) -> Option<f64> {
    seconds.filter(|&seconds| seconds > 0.0).map(|seconds| samples as f64 / seconds)
}

/// Loss and accuracy of a network on some data.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Evaluation {
    /// The loss over all rows: their weighted mean, or their sum with [`Reduction::Sum`].
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub loss: f64,
    /// The fraction of rows whose largest output is in the column of their class, among the rows that count in the
    /// loss. `None` unless targets are classes.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub accuracy: Option<f64>,
}

/// One line: `loss 0.6000, accuracy 91.0 %`.
impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "loss {:.4}", self.loss)?;
        self.accuracy.map_or(Ok(()), |accuracy| write!(f, ", accuracy {:.1} %", 100.0 * accuracy))
    }
}
