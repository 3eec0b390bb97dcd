//! The configuration of a trainer.

#[cfg(doc)]
use super::Trainer;
#[cfg(doc)]
use crate::workspace::Workspace;

/// The configuration of a [`Trainer`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TrainConfig {
    /// The number of samples in a batch. The last batch of an epoch may have fewer.
    ///
    /// `usize::MAX` makes one batch of all samples.
    pub batch_size: usize,
    /// The number of batches whose gradients make one update.
    ///
    /// With a mean loss the update is that of one batch of all their samples.
    pub accumulation_steps: usize,
    /// The number of passes over the data in a run: see [`Trainer::fit`].
    pub epochs: usize,
    /// The seed of initial weights, sample order and dropout masks.
    pub seed: u64,
    /// Whether each epoch shuffles the samples.
    pub shuffle: bool,
    /// The number of epochs without a lower validation loss after which training stops; `None` disables early stopping.
    ///
    /// With patience, every run ends with the parameters of its lowest validation loss.
    pub patience: Option<usize>,
    /// The number of threads of a step, including the calling thread: see [`Workspace::set_threads`].
    ///
    /// Without the standard library it is 1.
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
