use alloc::{format, string::String, vec::Vec};

/// A rule of training on several ranks (trainers that train one network together) that is broken, with the rank at
/// fault. It is the content of [`Error::Ranks`](crate::Error::Ranks).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RankRule {
    /// More ranks than shards (the parts of a batch), so that some rank would have no samples.
    #[error("a batch of {shards} shards cannot be divided among {ranks} ranks; use more shards, or fewer ranks")]
    TooMany {
        /// The number of ranks that train together.
        ranks: usize,
        /// The number of shards, the parts into which each batch is divided.
        shards: usize,
    },
    /// A rank that ended while other ranks waited for its messages.
    #[error("rank {rank} {}; the cause is in its own result", if *panicked { "panicked" } else { "ended" })]
    Ended {
        /// The number of the rank that ended.
        rank: usize,
        /// Whether the rank ended because of a panic.
        panicked: bool,
    },
    /// A rank that did not send a message before the deadline.
    #[error("rank {rank} did not answer within {seconds} s; set a later deadline if it computes for longer")]
    Deadline {
        /// The number of the rank that did not answer.
        rank: usize,
        /// The deadline, in seconds from the start of the wait for a message.
        seconds: f64,
    },
    /// A message of unexpected length: the sender and the receiver are not at the same training step of the same run.
    #[error("rank {rank} sent {found} values, but {expected} were expected; all ranks must make the same calls")]
    Message {
        /// The number of the rank that sent the message of unexpected length.
        rank: usize,
        /// The number of values that the receiver expected in the message.
        expected: usize,
        /// The number of values that the message has.
        found: usize,
    },
    /// A rank whose settings, data, network or state differ from those of rank 0.
    #[error("{what} differs: rank {rank} has {found}, rank 0 has {expected}; start all ranks with the same run")]
    Differs {
        /// The name of the setting or array that differs between ranks: `batch_size`, `the parameters`.
        what: String,
        /// The first rank whose setting or array differs from that of rank 0.
        rank: usize,
        /// The value of the setting on rank 0; for an array, the hash of its values.
        expected: String,
        /// The value of the setting on rank `rank`; for an array, the hash of its values.
        found: String,
    },
    /// An error on another rank, which ends the training on all ranks.
    #[error("rank {rank} failed: {reason}")]
    Failed {
        /// The rank on which the error occurred.
        rank: usize,
        /// The error of that rank, as text.
        reason: String,
    },
    /// A shard (a part of a batch) that leaves a pass of one row for a layer that normalizes over the rows of a pass.
    #[error(
        "layer {layer} normalizes over the rows of a shard: shard {shard} of {shards} has {samples} samples, and a \
         pass of one row; use fewer shards or a larger batch, or another norm"
    )]
    ShardRows {
        /// The path of the layer that normalizes over rows.
        layer: String,
        /// The number of the shard that leaves a pass of one row, counted from 0.
        shard: usize,
        /// The number of shards into which each batch is divided.
        shards: usize,
        /// The number of samples in the shard.
        samples: usize,
    },
    /// A loss or gradient of one sample that is not finite, because of which the parameters have become not finite.
    #[error(
        "the loss of sample {sample} on rank {rank}, or its gradient, is not finite in update {step}; lower the \
         learning rate, or guard the chain with SkipNonFinite"
    )]
    NonFinite {
        /// The number of the rank that processes the sample.
        rank: usize,
        /// The index, in the data set, of the sample whose loss or gradient is not finite.
        sample: usize,
        /// The number of the update whose loss or gradient is not finite, from 0.
        step: u64,
    },
    /// A shard (a part of a batch) with a loss or gradient that is not finite, although no sample alone has one: the
    /// layers couple the samples, or the sum overflows.
    #[error(
        "the loss of shard {shard} on rank {rank} (sample{}), or its gradient, is not finite in update {step}, and no \
         sample alone shows it; lower the learning rate, or guard the chain with SkipNonFinite",
        listed(samples)
    )]
    NonFiniteShard {
        /// The number of the rank that processes the shard.
        rank: usize,
        /// The number of the shard whose loss or gradient is not finite, from 0.
        shard: usize,
        /// The indices, in the data set, of the samples of the shard.
        samples: Vec<usize>,
        /// The number of the update whose loss or gradient is not finite, from 0.
        step: u64,
    },
}

/// Returns the rest of an error message that lists `samples` after the word `sample`: up to 8 indices, then the
/// number of the others. It is `s 3, 5, 7` for three samples and ` 3` for one.
fn listed(samples: &[usize]) -> String {
    const SHOWN: usize = 8;
    let mut text = String::from(if samples.len() == 1 { "" } else { "s" });
    for (i, sample) in samples.iter().take(SHOWN).enumerate() {
        text += &format!("{} {sample}", if i == 0 { "" } else { "," });
    }
    if samples.len() > SHOWN {
        text += &format!(" and {} more", samples.len() - SHOWN);
    }
    text
}
