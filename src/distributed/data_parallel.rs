//! The data-parallel part of a trainer: ranks and shards.

use super::{
    Communicator, Fingerprint,
    agreement::{gather, hash},
    channel::Channel,
    reduce::{add_any, add_power_of_two, owner, shards_of},
    report::Report,
    shard_sums::ShardSums,
};
#[cfg(doc)]
use crate::trainer::Trainer;
use crate::{
    block::Blocks,
    error::{Error, RankRule, require},
    monitor::progress::Communication,
    scalar::{Scalar, scalar, to_f64},
    size::{at_most, filled, grow},
};
use alloc::{format, string::String, vec::Vec};
use core::{fmt, ops::Range};
#[cfg(feature = "std")]
use std::{sync::mpsc, thread};

/// Training on several ranks, for [`Trainer::set_data_parallel`]. See the [module](super).
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
    /// The sums over shards of gradient, buffers and losses.
    sums: ShardSums<T>,
    received: Vec<T>,
    /// The ranges of a sum (losses, marks, buffers, then gradient) that are added over the ranks, the last one first.
    parts: Vec<Range<usize>>,
    /// The number of `parts` of the current update that were given to a sum over the ranks beside the pass.
    added: usize,
    /// The error of the sum over the ranks beside the last pass, until [`add_ranks`](Self::add_ranks) returns it.
    failed: Option<Error>,
    /// The total row weight of each shard of all ranks, for the current update.
    pub(crate) weights: Vec<f64>,
    /// The buffers of the network, such as running statistics, before the current update.
    pub(crate) buffers: Vec<T>,
    /// Each shard's loss times its [`share`](Self::share), 0 outside the current pass; then each shard's sample hash.
    pub(crate) losses: Vec<T>,
    /// A hash of the samples of the current update, by which the ranks find that theirs differ.
    mark: T,
    /// The range of shards of each pass of this rank in the current update, in order.
    pub(crate) passes: Vec<Range<usize>>,
    /// Whether the ranks have compared their runs and found no difference.
    pub(crate) agreed: bool,
}

/// Writes the settings and the ranks, without the sums.
impl<T: Scalar> fmt::Debug for DataParallel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parallel = f.debug_struct("DataParallel");
        parallel.field("ranks", &self.ranks.size()).field("shards", &self.shards);
        parallel.field("mean_of_means", &self.mean_of_means).field("overlap", &self.overlap);
        parallel.finish_non_exhaustive()
    }
}

/// The largest number of shards.
const MOST: usize = 1 << 12;

/// The least number of values of one of the `parts` of a sum, but for the first, which may be smaller.
const LEAST: usize = 1 << 16;

impl<T: Scalar> DataParallel<T> {
    /// Creates training on the ranks of `rank`, this rank's communicator: 8 shards, the update of the whole batch.
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
            mark: T::zero(),
            passes: Vec::new(),
            agreed: false,
        }
    }

    /// Sets the number of shards, a power of two from the number of ranks to 4,096. It fixes the order of all sums.
    #[must_use]
    pub fn shards(self, shards: usize) -> Self {
        DataParallel { shards, ..self }
    }

    /// Uses the mean, over the S shards of nonzero weight, of each shard's mean loss. For rows of weight w and loss ℓ
    /// the gradient is `1/S Σ_s (Σ w ∇ℓ / Σ w)_s`.
    ///
    /// With as many shards as processes this is the update of PyTorch's `DistributedDataParallel`. It differs from the
    /// update of the whole batch if shards differ in weight: a mask, an ignored class, an uneven batch.
    #[must_use]
    pub fn mean_of_means(self) -> Self {
        DataParallel { mean_of_means: true, ..self }
    }

    /// Adds the gradient over all ranks in parts, each during the backward pass of earlier layers. No bit changes.
    ///
    /// A part has whole parameter blocks and, but for the first, at least 65,536 values. A second thread of the rank
    /// sends it, which pays if a core or a network card is idle: see docs/scale.md. Parts are sent after the pass with
    /// an active monitor, frozen blocks, several passes of a rank, or without `std`. So they are if each shard needs
    /// its own pass: a `BatchNorm`, a layer of another crate, ragged data, an output for each step, a shard without
    /// weight. A number of ranks that is not a power of two takes one message.
    #[must_use]
    pub fn overlap(self) -> Self {
        DataParallel { overlap: true, ..self }
    }

    /// Returns the number of this rank, from 0.
    pub fn rank(&self) -> usize {
        self.ranks.rank()
    }

    /// Returns the number of ranks.
    pub fn ranks(&self) -> usize {
        self.ranks.size()
    }

    /// Refuses a number of shards that is not a power of two or is above 4,096, and more ranks than shards.
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

    /// Returns the names and values of the settings that determine the bits of the result or the messages, as text.
    pub(crate) fn settings(&self) -> [(&'static str, String); 3] {
        let DataParallel { shards, mean_of_means, overlap, .. } = self;
        [
            ("shards", format!("{shards}")),
            ("mean of means", format!("{mean_of_means}")),
            ("overlap", format!("{overlap}")),
        ]
    }

    /// Compares `run`, the description of this rank's run, with those of all other ranks. All ranks must call it.
    pub(crate) fn agree(&mut self, run: &Fingerprint) -> Result<(), Error> {
        self.agreed = false;
        run.compare(&mut self.ranks)?;
        self.agreed = true;
        Ok(())
    }

    /// Returns the range of the numbers of this rank's shards.
    pub(crate) fn own_shards(&self) -> Range<usize> {
        shards_of(self.rank(), self.ranks(), self.shards)
    }

    /// Returns the range of all shards.
    pub(crate) fn all_shards(&self) -> Range<usize> {
        0..self.shards
    }

    /// Returns the positions of shard `shard` among the `samples` samples of an update. Sizes differ by at most one.
    pub(crate) fn samples_of(&self, shard: usize, samples: usize) -> Range<usize> {
        // This avoids the product `shard · samples`, which may overflow.
        let (each, more) = (samples / self.shards, samples % self.shards);
        let start = |shard: usize| shard * each + shard * more / self.shards;
        start(shard)..start(shard + 1)
    }

    /// Returns the largest number of samples in a shard, for an update from `samples` samples.
    pub(crate) fn most_samples(&self, samples: usize) -> usize {
        samples.div_ceil(self.shards)
    }

    /// Sets [`passes`](Self::passes) for an update from `samples` samples: each over the largest subtree (an aligned
    /// range of shards) of at most `by_subtree` samples; over one shard if none is so small, and with `None`.
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

    /// Returns the total weight of the rows of all shards, and the number of shards of nonzero weight.
    fn weight(&self) -> (f64, usize) {
        (self.weights.iter().sum(), self.weights.iter().filter(|&&weight| weight > 0.0).count())
    }

    /// Returns the factor, in the loss of the update, of the loss of rows of `shard`, of total weight `weight`. For
    /// a `mean` loss it is `weight / W`, W the weight of all shards; for a sum 1. By the mean of means it is
    /// `weight / (S V)` for a mean and `1/S` for a sum: S shards of nonzero weight, V the weight of this one.
    pub(crate) fn share(&self, shard: usize, weight: f64, mean: bool) -> f64 {
        match (mean, self.weight()) {
            (true, (whole, _)) if !self.mean_of_means => weight / whole,
            (true, (_, shards)) => weight / self.weights[shard] / shards as f64,
            (false, (_, shards)) if self.mean_of_means => 1.0 / shards as f64,
            (false, _) => 1.0,
        }
    }

    /// Clears the sums for an update of `blocks` from the samples with the indices `samples`, and stores `buffers`.
    pub(crate) fn begin(&mut self, blocks: &Blocks, buffers: &[T], samples: &[usize]) -> Result<(), Error> {
        self.sums.clear();
        // Whole numbers up to 2/ε are exact.
        let most = 2.0 / to_f64(T::epsilon());
        self.mark = scalar((hash(samples.iter().map(|&sample| sample as u64)) % most as u64) as f64);
        if self.losses.len() != 2 * self.shards {
            self.losses = filled("the losses of the shards", 2 * self.shards, T::zero())?;
        }
        self.losses.fill(T::zero());
        self.buffers.clear();
        grow("the buffers of the network", &mut self.buffers, buffers.len())?;
        self.buffers.extend_from_slice(buffers);
        self.parts.clear();
        self.added = 0;
        if self.ranks() == 1 {
            return Ok(());
        }
        let first = self.before_gradient();
        let len = first + blocks.parameters();
        let mut end = len;
        if self.overlap && self.ranks().is_power_of_two() {
            for start in blocks.iter().rev().map(|block| first + block.range.start).filter(|&start| start > first) {
                if end - start >= LEAST {
                    self.parts.push(start..end);
                    end = start;
                }
            }
        }
        self.parts.push(0..end);
        if self.received.len() != len {
            self.received = filled("the sums of another rank", len, T::zero())?;
        }
        Ok(())
    }

    /// Returns the number of values before the gradient in a sum: losses, marks and buffers.
    fn before_gradient(&self) -> usize {
        2 * self.shards + self.buffers.len()
    }

    /// Sets the mark of each of `shards`: the hash of the samples of the update.
    fn mark(&mut self, shards: Range<usize>) {
        self.losses[self.shards..][shards].fill(self.mark);
    }

    /// After [`add_ranks`](Self::add_ranks), refuses an update whose samples differ between ranks, on all of them.
    pub(crate) fn check_samples(&mut self) -> Result<(), Error> {
        let (shards, ranks) = (self.shards, self.ranks());
        let marks = &self.sums.first()[shards..2 * shards];
        let Some(shard) = marks.iter().position(|mark| *mark != marks[0]) else { return Ok(()) };
        let [expected, found] = [marks[0], marks[shard]].map(|mark| format!("hash {}", to_f64(mark)));
        let (what, rank) = ("the samples of the update".into(), owner(shard, ranks, shards));
        Err(RankRule::Differs { what, rank, expected, found }.into())
    }

    /// Adds the sums of the next pass, over the next shards `shards`: `gradient`, [`losses`](Self::losses), which it
    /// then sets to 0, and `buffers`, the changes of the network's buffers times the shards' fraction of the samples.
    pub(crate) fn push(&mut self, shards: Range<usize>, gradient: &[T], buffers: &[T]) -> Result<(), Error> {
        self.mark(shards.clone());
        let pushed = self.sums.push(shards, &[&self.losses, buffers, gradient]);
        self.losses.fill(T::zero());
        pushed
    }

    /// Whether this rank may add parts of the gradient over all ranks beside its pass. Ranks may differ in it.
    pub(crate) fn overlaps(&self) -> bool {
        cfg!(feature = "std") && self.parts.len() > 1 && self.passes.len() == 1
    }

    /// Allocates the sum of all shards of this rank, for [`add_beside`](Self::add_beside).
    pub(crate) fn begin_beside(&mut self) -> Result<(), Error> {
        self.sums.begin(self.own_shards(), self.received.len())
    }

    /// Returns the result of `pass`, the only one of this rank, and lets a thread add parts of its gradient over all
    /// ranks. `pass` calls its argument with consecutive slices of the gradient, the last one first, each with the
    /// index of its first value. [`add_losses`](Self::add_losses) and [`add_ranks`](Self::add_ranks) must follow.
    #[cfg(feature = "std")]
    pub(crate) fn add_beside<R>(&mut self, pass: impl FnOnce(&mut dyn FnMut(usize, &[T])) -> R) -> R {
        let first = self.before_gradient();
        let DataParallel { ranks, sums, received, parts, added, failed, .. } = self;
        let (mut sums, waiting) = (sums.first(), &parts[..parts.len() - 1]);
        let (sender, receiver) = mpsc::channel::<&mut [T]>();
        thread::scope(|scope| {
            let sum = move || receiver.into_iter().try_for_each(|part| add_power_of_two(ranks, part, received));
            // Without a thread the parts are added after the pass.
            let sum = thread::Builder::new().spawn_scoped(scope, sum).ok();
            let done = pass(&mut |start, gradient| {
                sums[first + start..][..gradient.len()].copy_from_slice(gradient);
                while let Some(part) = waiting.get(*added).filter(|part| sum.is_some() && first + start <= part.start) {
                    let (before, part) = core::mem::take(&mut sums).split_at_mut(part.start);
                    sums = before;
                    *added += 1;
                    // After an error the thread has ended.
                    let _ = sender.send(part);
                }
            });
            drop(sender);
            if let Some(sum) = sum {
                *failed = sum.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).err();
            }
            done
        })
    }

    /// Writes [`losses`](Self::losses) to the sums, after [`add_beside`](Self::add_beside).
    pub(crate) fn add_losses(&mut self) {
        self.mark(self.own_shards());
        self.sums.first()[..2 * self.shards].copy_from_slice(&self.losses);
        self.losses.fill(T::zero());
    }

    /// Adds the sums over all ranks. All ranks must call it, and each gets the total.
    pub(crate) fn add_ranks(&mut self) -> Result<(), Error> {
        let DataParallel { ranks, sums, received, parts, added, failed, .. } = self;
        if let Some(error) = failed.take() {
            return Err(error);
        }
        if !ranks.size().is_power_of_two() {
            return add_any(ranks, self.shards, sums, received);
        }
        parts[*added..].iter().try_for_each(|part| add_power_of_two(ranks, &mut sums.first()[part.clone()], received))
    }

    /// Returns the losses of all shards, the samples' mean change of the buffers and the gradient, after `add_ranks`.
    pub(crate) fn totals(&mut self) -> [&[T]; 3] {
        let (losses, rest) = self.sums.first().split_at(2 * self.shards);
        let losses = &losses[..self.shards];
        let (buffers, gradient) = rest.split_at(self.buffers.len());
        [losses, buffers, gradient]
    }

    /// Returns the bytes and seconds of the messages since the last call; `None` without other ranks.
    pub(crate) fn take_counts(&mut self) -> Option<Communication> {
        let counted = self.ranks.take_counts();
        (self.ranks() > 1).then_some(counted)
    }

    /// Whether `own` is true on any rank. All ranks must call it: it waits for the values of the others.
    pub(crate) fn any(&mut self, own: bool) -> Result<bool, Error> {
        if self.ranks() == 1 {
            return Ok(own);
        }
        Ok(gather(&mut self.ranks, if own { "yes" } else { "" })?.iter().any(|text| !text.is_empty()))
    }

    /// Exchanges the reports of all ranks, which must all call it. Returns the first rank with a loss that is not
    /// finite, if any, and its sample; the error of this rank, or [`RankRule::Failed`] for the first one that failed.
    pub(crate) fn exchange_reports(&mut self, own: Report) -> Result<Option<(usize, usize)>, Error> {
        own.exchange(&mut self.ranks)
    }
}
