//! Data-parallel training: the settings of a trainer's ranks and shards, and the state of the current update.

mod update;

use super::{Communicator, Requests, channel::Channel, reduce::shards_of, shard_sums::ShardSums};
#[cfg(doc)]
use crate::trainer::Trainer;
use crate::{
    error::{Error, LayerRule, RankRule, require},
    monitor::LogNorm,
    scalar::Scalar,
    size::{at_most, grow},
};
use alloc::{format, string::String, vec::Vec};
use core::{fmt, ops::Range};

/// Settings and state of training on several ranks, for [`Trainer::set_data_parallel`]. See the [module](super).
///
/// ```
/// use chainrule::distributed::DataParallel;
/// // One process, with the bits of 2 or 4 ranks.
/// let parallel = DataParallel::<f32>::new(()).shards(4);
/// ```
pub struct DataParallel<T> {
    ranks: Channel<T>,
    shards: usize,
    mean_of_means: bool,
    overlap: bool,
    /// The sums over shards (consecutive parts of an update's samples) of gradient, buffers and losses.
    sums: ShardSums<T>,
    received: Vec<T>,
    /// The ranges of the sum vector of an update that are added over the ranks one after the other, from the end of
    /// the vector to its start. The vector holds the losses of the shards, a mark of each shard's samples, two
    /// counts, the changes of the buffers and the gradient, in this order.
    parts: Vec<Range<usize>>,
    /// The number of ranges in `parts` that another thread has added over the ranks during the current backward pass.
    /// [`add_ranks`](Self::add_ranks) adds the remaining ones.
    added: usize,
    /// The error of the messages between ranks during the last backward pass, until [`add_ranks`](Self::add_ranks)
    /// returns it; `None` without an error.
    failed: Option<Error>,
    /// The total loss weight of the rows of each shard, for all shards of all ranks, in the current update.
    pub(crate) weights: Vec<f64>,
    /// The buffers of the network, such as running statistics, before the current update.
    pub(crate) buffers: Vec<T>,
    /// The loss of each shard, indexed by the number of the shard; 0 for shards that are not in the current pass.
    losses: Vec<f64>,
    /// The start of the sum vector of an update, the vector that is added over all ranks. The losses of the shards
    /// come first, each as [`PER_LOSS`](Self::PER_LOSS) values, then a mark for each shard, by which the ranks
    /// compare the samples of the update. Two counts follow: of the ranks that record the update, and of the ranks
    /// with requests.
    head: Vec<T>,
    /// The mark of the current update, by which ranks compare its samples and row weights: a hash of them, reduced to
    /// a whole number that `T` holds exactly.
    mark: T,
    /// Statistics of the gradient norms of recorded updates. They determine whether a norm is a spike, that is,
    /// unusually large.
    norms: LogNorm,
    /// The ranges of shard numbers that each pass of this rank processes, in order.
    pub(crate) passes: Vec<Range<usize>>,
    /// Whether the ranks have compared their runs and found no difference.
    pub(crate) agreed: bool,
    /// The identity of each data set that the ranks have compared: \[address, samples, time steps, width, input rows,
    /// targets\].
    pub(crate) known_data: Vec<[usize; 6]>,
    /// The requests of this rank to all ranks, such as to end the fit, sent with the sums of the next update.
    pub(crate) requests: Requests,
    /// The requests because of which the ranks cancelled the last update and end the fit; `None` if there are none.
    pub(crate) halted: Option<Requests>,
    /// The buffer of a message with the weights of all shards; each value of type `T` holds one byte.
    bytes: Vec<T>,
}

/// Writes the settings and the connection to the ranks, without the sums.
impl<T: Scalar> fmt::Debug for DataParallel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parallel = f.debug_struct("DataParallel");
        parallel.field("ranks", &self.ranks.size()).field("shards", &self.shards);
        parallel.field("mean_of_means", &self.mean_of_means).field("overlap", &self.overlap);
        parallel.finish_non_exhaustive()
    }
}

/// The largest accepted number of shards, the parts of an update's samples.
const MOST: usize = 1 << 12;

/// The least number of gradient values in a range that is summed over ranks separately, during the backward pass.
/// Only the range with the first parameters may be smaller.
const LEAST: usize = 1 << 16;

impl<T: Scalar> DataParallel<T> {
    /// Creates the settings of data-parallel training with `rank`, this rank's communicator. By default there are 8
    /// shards, and the update is that of one process on the whole batch.
    pub fn new(rank: impl Communicator<T> + 'static) -> Self {
        DataParallel {
            ranks: Channel::new(rank),
            shards: 8,
            mean_of_means: false,
            overlap: false,
            sums: ShardSums::new(),
            received: Vec::new(),
            parts: Vec::new(),
            added: 0,
            failed: None,
            weights: Vec::new(),
            buffers: Vec::new(),
            losses: Vec::new(),
            head: Vec::new(),
            mark: T::zero(),
            norms: LogNorm::default(),
            passes: Vec::new(),
            agreed: false,
            known_data: Vec::new(),
            requests: Requests::default(),
            halted: None,
            bytes: Vec::new(),
        }
    }

    /// Sets the number of shards (the parts of an update's samples), a power of two from the number of ranks to
    /// 4,096. It determines the order of all sums over samples.
    #[must_use]
    pub fn shards(self, shards: usize) -> Self {
        DataParallel { shards, ..self }
    }

    /// Averages the mean losses of the shards: the loss of an update is the mean over the S shards of nonzero weight.
    /// For rows of weight w and loss ℓ the gradient is `1/S Σ_s (Σ w ∇ℓ / Σ w)_s`, with the inner sums over the rows
    /// of shard s.
    ///
    /// With one shard for each process this is the update of PyTorch's `DistributedDataParallel`. It differs from the
    /// update of the whole batch if shards differ in weight, because of a mask, an ignored class or an uneven batch.
    #[must_use]
    pub fn mean_of_means(self) -> Self {
        DataParallel { mean_of_means: true, ..self }
    }

    /// Sums parts of the gradient over all ranks during the backward pass, while the backward pass computes the rest.
    /// All results keep the same bits.
    ///
    /// A part consists of whole parameter blocks and has at least 65,536 values, except for the part with the first
    /// parameters. A second thread of the rank sends it, which saves time if a core or a network card is idle: see
    /// docs/scale.md.
    ///
    /// All parts are sent after the pass instead if a monitor is active, blocks are frozen, a rank runs several
    /// passes, or the feature `std` is off. A rank runs several passes, for example, if each shard needs its own:
    /// with a `BatchNorm`, a layer of another crate, ragged data, an output for each time step, or a shard of weight
    /// 0. Unless the number of ranks is a power of two, the gradient is one part.
    #[must_use]
    pub fn overlap(self) -> Self {
        DataParallel { overlap: true, ..self }
    }

    /// Returns the number of this rank, counted from 0.
    pub fn rank(&self) -> usize {
        self.ranks.rank()
    }

    /// Returns the number of ranks.
    pub fn ranks(&self) -> usize {
        self.ranks.size()
    }

    /// Returns an error if the number of shards is not a power of two or exceeds 4,096, or if there are more ranks
    /// than shards.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let (rank, ranks, shards) = (self.rank(), self.ranks(), self.shards);
        require(shards.is_power_of_two(), "the number of shards", "a power of two", shards as f64)?;
        at_most("the number of shards", shards, MOST)?;
        require(ranks > 0, "the number of ranks", "at least 1", 0.0)?;
        require(rank < ranks, "the number of this rank", "below the number of ranks", rank as f64)?;
        if ranks > shards {
            return Err(RankRule::TooMany { ranks, shards }.into());
        }
        Ok(())
    }

    /// Returns (name, value as text) of each setting that affects the bits of the result or the messages: shards,
    /// mean of means, overlap.
    pub(crate) fn settings(&self) -> [(&'static str, String); 3] {
        let DataParallel { shards, mean_of_means, overlap, .. } = self;
        [
            ("shards", format!("{shards}")),
            ("mean of means", format!("{mean_of_means}")),
            ("overlap", format!("{overlap}")),
        ]
    }

    /// Returns the range of the numbers of this rank's shards.
    pub(crate) fn own_shards(&self) -> Range<usize> {
        shards_of(self.rank(), self.ranks(), self.shards)
    }

    /// Returns the range of the numbers of all shards, over all ranks.
    pub(crate) fn all_shards(&self) -> Range<usize> {
        0..self.shards
    }

    /// Returns the range of the positions that the samples of shard `shard` have among the `samples` samples of an
    /// update. The sample counts of two shards differ by at most one.
    pub(crate) fn samples_of(&self, shard: usize, samples: usize) -> Range<usize> {
        // This avoids the product `shard · samples`, which may overflow.
        let (each, more) = (samples / self.shards, samples % self.shards);
        let start = |shard: usize| shard * each + shard * more / self.shards;
        start(shard)..start(shard + 1)
    }

    /// If `error` states that a layer that normalizes over rows has too few of them, returns [`RankRule::ShardRows`],
    /// which names `shard` and its number of `samples`. Other errors are returned unchanged.
    pub(crate) fn in_shard(&self, error: Error, shard: usize, samples: usize) -> Error {
        match error {
            Error::InvalidLayer { layer, rule: LayerRule::TooFewRows { .. } } => {
                RankRule::ShardRows { layer, shard, shards: self.shards, samples }.into()
            }
            other => other,
        }
    }

    /// Returns the largest number of samples that a shard has in an update from `samples` samples.
    pub(crate) fn most_samples(&self, samples: usize) -> usize {
        samples.div_ceil(self.shards)
    }

    /// Divides this rank's shards into passes, for an update from `samples` samples: sets [`passes`](Self::passes).
    /// If `by_subtree` is `None`, each pass processes one shard. Otherwise each pass processes the largest subtree
    /// (an aligned range of shards) that has at most `by_subtree` samples, but at least one shard.
    pub(crate) fn plan(&mut self, samples: usize, by_subtree: Option<usize>) -> Result<(), Error> {
        let own = self.own_shards();
        let mut passes = core::mem::take(&mut self.passes);
        passes.clear();
        grow("the passes of a rank", &mut passes, own.len())?;
        let mut first = own.start;
        while first < own.end {
            // A subtree begins at a multiple of its length.
            let fits = |&len: &usize| {
                let range = self.samples_of(first, samples).start..self.samples_of(first + len - 1, samples).end;
                first.is_multiple_of(len)
                    && first + len <= own.end
                    && by_subtree.is_some_and(|most| range.len() <= most)
            };
            let lengths = (0..usize::BITS).map(|level| 1 << level).take_while(|&len| len <= own.len());
            let len = lengths.filter(fits).last().unwrap_or(1);
            passes.push(first..first + len);
            first += len;
        }
        self.passes = passes;
        Ok(())
    }

    /// Returns (total loss weight of the rows of all shards, number of shards of nonzero weight).
    pub(crate) fn weight(&self) -> (f64, usize) {
        (self.weights.iter().sum(), self.weights.iter().filter(|&&weight| weight > 0.0).count())
    }

    /// Returns the fraction of the update that is due to the rows of `shards`: their weight divided by the weight of
    /// all rows. For a `mean` loss with [`mean_of_means`](Self::mean_of_means), it is the number of `shards` divided
    /// by the number of all shards; shards of weight 0 are not counted.
    pub(crate) fn fraction(&self, shards: Range<usize>, mean: bool) -> f64 {
        let (own, (whole, count)) = (&self.weights[shards], self.weight());
        match mean && self.mean_of_means {
            true => own.iter().filter(|&&weight| weight > 0.0).count() as f64 / count as f64,
            false => own.iter().sum::<f64>() / whole,
        }
    }

    /// Returns the factor that makes the row weights of `shard` comparable with those of other shards: 1 / (total
    /// weight of the shard) for a `mean` loss with [`mean_of_means`](Self::mean_of_means), otherwise 1.
    pub(crate) fn factor_of_rows(&self, shard: usize, mean: bool) -> f64 {
        if mean && self.mean_of_means { 1.0 / self.weights[shard] } else { 1.0 }
    }

    /// Returns the factor by which the loss of a group of rows of `shard`, of total weight `weight`, enters the loss
    /// of the update. For a `mean` loss it is `weight / W`, W the weight of all shards; for a summed loss 1. With
    /// [`mean_of_means`](Self::mean_of_means) it is `weight / (S V)` for a `mean` loss and `1/S` for a summed one,
    /// with S shards of nonzero weight and V the weight of this shard.
    pub(crate) fn share(&self, shard: usize, weight: f64, mean: bool) -> f64 {
        match (mean, self.weight()) {
            (true, (whole, _)) if !self.mean_of_means => weight / whole,
            (true, (_, shards)) => weight / self.weights[shard] / shards as f64,
            (false, (_, shards)) if self.mean_of_means => 1.0 / shards as f64,
            (false, _) => 1.0,
        }
    }
}
