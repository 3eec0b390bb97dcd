use alloc::{format, string::String, vec::Vec};

/// A rule of training on several ranks (trainers that train one network together), with the rank that breaks it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RankRule {
    /// More ranks than shards (the parts of a batch), so that a rank would have nothing to do.
    #[error("a batch of {shards} shards cannot be divided among {ranks} ranks; use more shards, or fewer ranks")]
    TooMany {
        /// The number of ranks that train together.
        ranks: usize,
        /// The number of shards, the parts into which each batch is divided.
        shards: usize,
    },
    /// A rank that ended while other ranks needed it.
    #[error("rank {rank} {}; the cause is in its own result", if *panicked { "panicked" } else { "ended" })]
    Ended {
        /// The rank that ended.
        rank: usize,
        /// Whether the rank ended by a panic.
        panicked: bool,
    },
    /// A rank that did not answer before the deadline.
    #[error("rank {rank} did not answer within {seconds} s; set a later deadline if it computes for longer")]
    Deadline {
        /// The rank that did not answer.
        rank: usize,
        /// The deadline, in seconds.
        seconds: f64,
    },
    /// A message of unexpected length: the sender and the receiver are not at the same training step of the same run.
    #[error("rank {rank} sent {found} values, but {expected} were expected; all ranks must make the same calls")]
    Message {
        /// The rank that sent the message.
        rank: usize,
        /// The expected number of values.
        expected: usize,
        /// The number of values of the message.
        found: usize,
    },
    /// A rank whose run differs from that of rank 0.
    #[error("{what} differs: rank {rank} has {found}, rank 0 has {expected}; start all ranks with the same run")]
    Differs {
        /// The name of the setting or array that differs: `batch_size`, `the parameters`.
        what: String,
        /// The first rank whose value differs from that of rank 0.
        rank: usize,
        /// The value on rank 0; for an array, the hash of its values.
        expected: String,
        /// The value on `rank`; for an array, the hash of its values.
        found: String,
    },
    /// An error on another rank.
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
        /// The path of the layer.
        layer: String,
        /// The number of the shard, from 0.
        shard: usize,
        /// The number of shards.
        shards: usize,
        /// The number of samples in the shard.
        samples: usize,
    },
    /// A loss or gradient that is not finite, after which the parameters are not finite either.
    #[error(
        "the loss of sample {sample} on rank {rank}, or its gradient, is not finite in update {step}; lower the \
         learning rate, or guard the chain with SkipNonFinite"
    )]
    NonFinite {
        /// The rank that holds the sample.
        rank: usize,
        /// The index of the sample whose loss or gradient is not finite.
        sample: usize,
        /// The number of the update, from 0.
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
        /// The rank that has the shard.
        rank: usize,
        /// The number of the shard, from 0.
        shard: usize,
        /// The indices of the samples of the shard.
        samples: Vec<usize>,
        /// The number of the update, from 0.
        step: u64,
    },
}

/// Returns the rest of a message after the word `sample`: up to 8 of `samples`, then the number of the others. It is
/// `s 3, 5, 7` for three samples and ` 3` for one.
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
