//! The configuration of a trainer.

#[cfg(doc)]
use super::Trainer;
#[cfg(doc)]
use crate::workspace::Workspace;

/// How a [`Trainer`] runs.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TrainConfig {
    /// Samples in a batch; the last one of an epoch may have fewer. A batch larger than the data is the data:
    /// `usize::MAX` makes one batch of all samples.
    pub batch_size: usize,
    /// Batches whose gradients make one update. With a mean loss the update is that of one batch of them all.
    pub accumulation_steps: usize,
    /// Passes over the data in a run: see [`Trainer::fit`].
    pub epochs: usize,
    /// What initial weights, order and masks are drawn from.
    pub seed: u64,
    /// Whether the order of the samples is drawn anew each epoch.
    pub shuffle: bool,
    /// Epochs without a lower validation loss after which training stops; `None` never stops early. With patience, every
    /// run ends with the parameters of its lowest validation loss.
    pub patience: Option<usize>,
    /// Threads that run a step, the calling one counted: see [`Workspace::set_threads`]. Without the standard library, 1.
    pub threads: usize,
}

impl Default for TrainConfig {
    /// Batches of 32, 10 epochs, seed 0, shuffled, one thread.
    fn default() -> Self {
        TrainConfig {
            batch_size: 32,
            accumulation_steps: 1,
            epochs: 10,
            seed: 0,
            shuffle: true,
            patience: None,
            threads: 1,
        }
    }
}
