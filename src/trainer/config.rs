//! The configuration of a trainer.

#[cfg(doc)]
use super::Trainer;
#[cfg(doc)]
use crate::workspace::Workspace;

/// The configuration of a [`Trainer`].
///
/// ```
/// use chainrule::trainer::TrainConfig;
/// let settings = TrainConfig { epochs: 50, batch_size: 64, patience: Some(5), ..TrainConfig::default() };
/// assert_eq!((settings.seed, settings.accumulation_steps), (0, 1)); // the others have their defaults
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TrainConfig {
    /// The number of samples in a batch. The last batch of an epoch may have fewer.
    ///
    /// `usize::MAX` makes one batch of all samples.
    pub batch_size: usize,
    /// The number of batches whose gradients are accumulated for one update.
    ///
    /// With a mean loss the update equals that of one batch that has all their samples.
    pub accumulation_steps: usize,
    /// The number of passes over the data in a run: see [`Trainer::fit`].
    pub epochs: usize,
    /// The seed of initial weights, sample order and dropout masks.
    pub seed: u64,
    /// Whether each epoch shuffles the samples.
    pub shuffle: bool,
    /// The number of consecutive samples that a shuffle keeps together as a group; `None` shuffles all samples.
    ///
    /// The groups are shuffled, and so are the samples within each group, by [`shuffle`](crate::random::shuffle) with
    /// the number of the epoch. The order of the groups has the seed `!seed`; the order of the samples of group k has
    /// the seed `seed + k · φ`, φ = 9E3779B97F4A7C15 in hexadecimal. A batch may have samples of two groups. For data
    /// in a file, samples that are near each other in the file are then read together. Memory is needed for the list
    /// of groups and for the order of one group. A group of all samples has the same effect as `None`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub shuffle_block: Option<usize>,
    /// The number of consecutive epochs without a lower validation loss after which a run ends; `None` for no early
    /// stopping.
    ///
    /// With patience, every fit ends with the parameters of the lowest validation loss of its run, even if a callback
    /// or an error ends the fit within an epoch.
    pub patience: Option<usize>,
    /// The least improvement for early stopping: an epoch counts as better, and its parameters are kept, only if its
    /// validation loss is below the lowest one so far by more than this value. The default is 0.
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    pub min_delta: f64,
    /// The windows of time steps of truncated backpropagation through time, with an update for each window. `None`
    /// trains on whole sequences.
    #[cfg_attr(feature = "serde", serde(default))]
    pub truncation: Option<Truncation>,
    /// The number of threads of an update, including the calling thread: see [`Workspace::set_threads`].
    ///
    /// Without the standard library it is 1.
    pub threads: usize,
}

/// Truncated backpropagation through time: sequences are cut into windows of time steps, with an update for each.
///
/// The memory and the time of a pass depend on the length of a window, not on the length of a sequence; a batch still
/// holds the targets of whole sequences. With `carry` a window starts from the final state of the window before it,
/// which is a constant: no gradient flows between windows. Without `carry` each window starts from the initial state
/// of the sequence.
///
/// The first window of a sequence starts from the workspace's initial state, which is zero unless it was set. This
/// state is restored after the last window, so a checkpoint holds no state between windows. In a ragged batch later
/// windows have fewer samples. A window whose rows are all masked carries the state and makes no update. Dropout
/// draws new masks in each window. Validation, metrics and predictions are also computed window by window, and give
/// the same values as for whole sequences.
///
/// The network must have an output for each time step, and no layer may read later time steps. [`Trainer::new`]
/// returns an error that names the layer for other networks.
///
/// Source: Williams & Peng 1990, with equal numbers of forward and backward time steps.
///
/// ```
/// use chainrule::{dataset::Dataset, layer::Sequential, loss::{MeanSquaredError, Target}};
/// use chainrule::{trainer::{TrainConfig, Trainer, Truncation}, transform::Adam};
/// let network = Sequential::<f32>::input(1).lstm(8).linear(1).build()?;
/// let series: Vec<f32> = (0..1001).map(|t| (0.1 * t as f32).sin()).collect();
/// let data = Dataset::sequences(1, 1000, &series[..1000], Target::Values(&series[1..]))?;
/// let settings = TrainConfig { epochs: 1, truncation: Some(Truncation::new(50)), ..TrainConfig::default() };
/// let epochs = Trainer::new(network, MeanSquaredError::new(), Adam::new(1e-2), settings)?.fit(&data)?;
/// assert_eq!(epochs[0].steps, 1000 / 50);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Truncation {
    /// The number of consecutive time steps in a window. The last window of a sequence may have fewer.
    pub window: usize,
    /// Whether a window starts from the final recurrent state of the window before it, instead of the initial state
    /// of the sequence.
    pub carry: bool,
}

impl Truncation {
    /// Creates windows of `window` time steps, with the state carried from window to window.
    pub const fn new(window: usize) -> Self {
        Truncation { window, carry: true }
    }

    /// Sets [`carry`](Self::carry) to false: each window starts from the initial state of its sequence, not from the
    /// final state of the window before it.
    #[must_use]
    pub const fn without_carry(self) -> Self {
        Truncation { carry: false, ..self }
    }
}

impl Default for TrainConfig {
    /// Returns the default settings: batches of 32 samples, an update for each batch, 10 epochs, seed 0, shuffled
    /// samples, no early stopping, no truncation and one thread.
    fn default() -> Self {
        TrainConfig {
            batch_size: 32,
            accumulation_steps: 1,
            epochs: 10,
            seed: 0,
            shuffle: true,
            shuffle_block: None,
            patience: None,
            min_delta: 0.0,
            truncation: None,
            threads: 1,
        }
    }
}
