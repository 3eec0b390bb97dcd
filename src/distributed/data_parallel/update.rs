//! The sums of an update over shards and ranks, and the exchange of reports and requests between ranks.

use super::{
    super::{
        Fingerprint, Requests,
        agreement::{gather, hash},
        reduce::{add_any, add_power_of_two, owner, shards_of},
        report::{Report, largest_of_ranks},
    },
    DataParallel, LEAST,
};
use crate::{
    block::Blocks,
    dataset::first_non_finite,
    error::{Error, RankRule},
    monitor::progress::{Communication, Spike},
    scalar::{Scalar, is_narrow, scalar, to_f64},
    size::{filled, grow},
};
use alloc::{format, string::String};
use core::ops::Range;
#[cfg(feature = "std")]
use std::{sync::mpsc, thread};

impl<T: Scalar> DataParallel<T> {
    /// Clears the sums for a new update of the parameters in `blocks`. `samples` are the samples of the update, over
    /// all ranks, and `buffers` the buffers of the network before it. [`weights`](Self::weights) must be set before
    /// this call.
    pub(crate) fn begin(&mut self, blocks: &Blocks, buffers: &[T], samples: &[usize]) -> Result<(), Error> {
        self.sums.clear();
        // `T` represents all whole numbers up to 2/ε exactly.
        let most = 2.0 / to_f64(T::epsilon());
        let words =
            samples.iter().map(|&sample| sample as u64).chain(self.weights.iter().map(|weight| weight.to_bits()));
        self.mark = scalar((hash(words) % most as u64) as f64);
        if self.head.len() != self.before_buffers() {
            self.losses = filled("the losses of the shards", self.shards, 0.0)?;
            self.head = filled("the losses of the shards", self.before_buffers(), T::zero())?;
        }
        self.clear_head();
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

    /// Sets the mark of this rank's samples to NaN, because the rank cannot make the update: then the ranks do not
    /// compare samples and weights.
    pub(crate) fn begin_failed(&mut self) {
        self.mark = T::nan();
    }

    /// The number of values in the sum vector that hold one loss: 1, or in a 16-bit format, whose range a loss may
    /// exceed, one value for each byte of an `f64`. Each loss is computed by one rank and is 0 on the others, so the
    /// sum over ranks is exact.
    const PER_LOSS: usize = if is_narrow::<T>() { 8 } else { 1 };

    /// Returns the number of values before the buffers in the sum vector: losses, marks of the samples and two
    /// counts.
    fn before_buffers(&self) -> usize {
        (Self::PER_LOSS + 1) * self.shards + 2
    }

    /// Sets the loss of `shard`, one of the shards of the current pass, to `loss`. Returns the loss that all ranks
    /// receive: `loss` rounded to `T`, or unchanged if `T` is a 16-bit format.
    pub(crate) fn set_loss(&mut self, shard: usize, loss: f64) -> f64 {
        self.losses[shard] = if is_narrow::<T>() { loss } else { to_f64(scalar::<T>(loss)) };
        self.losses[shard]
    }

    /// Returns the number of the first of `shards`, the shards of the current pass, whose loss is not finite; `None`
    /// if all losses are finite.
    pub(crate) fn non_finite_loss(&self, mut shards: Range<usize>) -> Option<usize> {
        shards.find(|&shard| !self.losses[shard].is_finite())
    }

    /// Writes the losses of all shards, and the mark of the update's samples for each of `shards`, to `head`, the
    /// start of the sum vector.
    fn fill_head(&mut self, shards: Range<usize>) {
        let (losses, marks) = self.head.split_at_mut(Self::PER_LOSS * self.shards);
        for (to, &loss) in losses.chunks_exact_mut(Self::PER_LOSS).zip(&self.losses) {
            match to {
                [to] => *to = scalar(loss),
                bytes => write_bytes(loss, bytes),
            }
        }
        marks[shards].fill(self.mark);
    }

    /// Sets the losses of all shards and `head`, the start of the sum vector, to 0.
    fn clear_head(&mut self) {
        self.losses.fill(0.0);
        self.head.fill(T::zero());
    }

    /// Returns the sum of the losses of all shards of all ranks. It must be called after
    /// [`add_ranks`](Self::add_ranks).
    pub(crate) fn total_loss(&mut self) -> f64 {
        let losses = &self.sums.first()[..Self::PER_LOSS * self.shards];
        let loss = |of: &[T]| if let [loss] = of { to_f64(*loss) } else { from_bytes(of) };
        losses.chunks_exact(Self::PER_LOSS).map(loss).sum()
    }

    /// Returns the number of values before the gradient in the sum vector: losses, marks of the samples, two counts,
    /// and buffers.
    fn before_gradient(&self) -> usize {
        self.before_buffers() + self.buffers.len()
    }

    /// Sends the weights of this rank's shards to the other ranks, and replaces the weights of their shards by those
    /// that they computed, or by NaN for a rank that `failed`. All ranks must call it, with
    /// [`weights`](Self::weights) set for their own shards.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if memory cannot hold the message; the errors of
    /// [`exchange`](crate::distributed::Communicator::exchange).
    pub(crate) fn share_weights(&mut self, failed: bool) -> Result<(), Error> {
        let (shards, ranks) = (self.own_shards(), self.ranks());
        if self.bytes.len() != 12 * self.shards {
            self.bytes = filled("the weights of the shards", 12 * self.shards, T::zero())?;
        }
        self.bytes.fill(T::zero());
        if failed {
            self.weights[shards.clone()].fill(f64::NAN);
        }
        let (bytes, received) = self.bytes.split_at_mut(8 * self.shards);
        for shard in shards {
            write_bytes(self.weights[shard], &mut bytes[8 * shard..][..8]);
        }
        if ranks.is_power_of_two() {
            add_power_of_two(&mut self.ranks, bytes, received)?;
        } else {
            for rank in 0..ranks {
                let of_rank = shards_of(rank, ranks, self.shards);
                self.ranks.broadcast(rank, &mut bytes[8 * of_rank.start..8 * of_rank.end])?;
            }
        }
        for (weight, bytes) in self.weights.iter_mut().zip(bytes.chunks_exact(8)) {
            *weight = from_bytes(bytes);
        }
        Ok(())
    }

    /// Whether another rank, but not this one, failed to compute the weights of its shards.
    pub(crate) fn failed_elsewhere(&self) -> bool {
        let failed = |weights: &[f64]| weights.iter().any(|weight| weight.is_nan());
        failed(&self.weights) && !failed(&self.weights[self.own_shards()])
    }

    /// Returns an error if ranks differ in the samples of the update or in the weights of the shards, unless a rank
    /// failed. It must be called after [`add_ranks`](Self::add_ranks). All ranks get the same result.
    pub(crate) fn check_samples(&mut self) -> Result<(), Error> {
        let (shards, ranks) = (self.shards, self.ranks());
        let marks = &self.sums.first()[Self::PER_LOSS * shards..][..shards];
        if marks.iter().any(|mark| mark.is_nan()) {
            return Ok(());
        }
        let Some(shard) = marks.iter().position(|mark| *mark != marks[0]) else { return Ok(()) };
        let [expected, found] = [marks[0], marks[shard]].map(|mark| format!("hash {}", to_f64(mark)));
        let (what, rank) = ("the samples or weights of the update".into(), owner(shard, ranks, shards));
        Err(RankRule::Differs { what, rank, expected, found }.into())
    }

    /// Adds the results of a pass over `shards` to the sums of this rank: its gradient, its changes of the `buffers`,
    /// and the losses that [`set_loss`](Self::set_loss) stored. Then sets the losses to 0. Passes must be added in
    /// the order of their shards.
    pub(crate) fn push(&mut self, shards: Range<usize>, gradient: &[T], buffers: &[T]) -> Result<(), Error> {
        self.fill_head(shards.clone());
        let pushed = self.sums.push(shards, &[&self.head, buffers, gradient]);
        self.clear_head();
        pushed
    }

    /// Whether finished parts of the gradient can be added over all ranks while the pass computes the rest. The
    /// answer may differ between ranks: all exchange the same parts in the same order.
    pub(crate) fn overlaps(&self) -> bool {
        cfg!(feature = "std") && self.parts.len() > 1 && self.passes.len() == 1
    }

    /// Allocates the sum vector of this rank's shards, into which [`add_beside`](Self::add_beside) writes.
    pub(crate) fn begin_beside(&mut self) -> Result<(), Error> {
        self.sums.begin(self.own_shards(), self.received.len())
    }

    /// Runs `pass`, the only backward pass of this rank, and returns its result. Meanwhile, another thread adds
    /// finished parts of the gradient over all ranks. The pass must call its argument for consecutive ranges of the
    /// gradient, from the last parameter to the first, with two arguments: the index of the range's first value, and
    /// its values. [`add_losses`](Self::add_losses) and [`add_ranks`](Self::add_ranks) must be called afterwards.
    #[cfg(feature = "std")]
    pub(crate) fn add_beside<R>(&mut self, pass: impl FnOnce(&mut dyn FnMut(usize, &[T])) -> R) -> R {
        let first = self.before_gradient();
        let DataParallel { ranks, sums, received, parts, added, failed, .. } = self;
        let (mut sums, waiting) = (sums.first(), &parts[..parts.len() - 1]);
        let (sender, receiver) = mpsc::channel::<&mut [T]>();
        thread::scope(|scope| {
            let sum = move || receiver.into_iter().try_for_each(|part| add_power_of_two(ranks, part, received));
            // If no thread can be started, the parts are added after the pass.
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

    /// Writes the losses that [`set_loss`](Self::set_loss) stored, and the marks of this rank's shards, to the sum
    /// vector that [`add_beside`](Self::add_beside) has filled. Then sets the losses to 0.
    pub(crate) fn add_losses(&mut self) {
        self.fill_head(self.own_shards());
        self.sums.first()[..self.head.len()].copy_from_slice(&self.head);
        self.clear_head();
    }

    /// Adds the sum vectors of all ranks (losses, buffers and gradient). All ranks must call it, and each gets the
    /// total. `recorded` states whether this rank makes a record of the update. Returns \[whether any rank makes a
    /// record, whether any rank has requests, such as to end the fit\].
    pub(crate) fn add_ranks(&mut self, recorded: bool) -> Result<[bool; 2], Error> {
        let flags = [recorded, self.ranks() > 1 && self.requests != Requests::default()];
        let places = [self.before_buffers() - 2, self.before_buffers() - 1];
        let DataParallel { ranks, shards, sums, received, parts, added, failed, .. } = &mut *self;
        if let Some(error) = failed.take() {
            return Err(error);
        }
        for (place, flag) in places.into_iter().zip(flags) {
            sums.first()[place] = if flag { T::one() } else { T::zero() };
        }
        if ranks.size().is_power_of_two() {
            let rest = &parts[*added..];
            rest.iter().try_for_each(|part| add_power_of_two(ranks, &mut sums.first()[part.clone()], received))?;
        } else {
            add_any(ranks, *shards, sums, received)?;
        }
        Ok(places.map(|place| self.sums.first()[place] > T::zero()))
    }

    /// Returns \[mean change of the buffers, gradient of the update\]. It must be called after
    /// [`add_ranks`](Self::add_ranks).
    pub(crate) fn totals(&mut self) -> [&[T]; 2] {
        let before = self.before_buffers();
        let (buffers, gradient) = self.sums.first()[before..].split_at(self.buffers.len());
        [buffers, gradient]
    }

    /// Copies the gradient of the update, summed over all ranks, to `gradient`. Returns whether all its values are
    /// finite, which is the same on all ranks. It must be called after [`add_ranks`](Self::add_ranks).
    pub(crate) fn copy_gradient(&mut self, gradient: &mut [T]) -> bool {
        // Each piece is tested while it is in the cache.
        let [_, total] = self.totals();
        let pieces = gradient.chunks_mut(1024).zip(total.chunks(1024));
        pieces.fold(true, |is_finite, (to, from)| {
            to.copy_from_slice(from);
            is_finite & first_non_finite(from).is_none()
        })
    }

    /// Stores `gradient`, the gradient of the whole update, so that [`totals`](Self::totals) returns it. It does
    /// nothing if sums over shards were made, that is, unless one rank made the update in one pass.
    pub(crate) fn keep(&mut self, gradient: &[T]) -> Result<(), Error> {
        if self.sums.is_empty() {
            let first = self.before_gradient();
            self.sums.begin(self.own_shards(), first + gradient.len())?;
            self.sums.first()[first..].copy_from_slice(gradient);
        }
        Ok(())
    }

    /// Whether `norm`, the norm of an update's gradient, is not finite or far above the norms of earlier updates (a
    /// spike). It must be called once for each recorded update, in order; all ranks get the same result.
    pub(crate) fn is_spike(&mut self, norm: f64) -> bool {
        self.norms.push(norm).spike || !norm.is_finite()
    }

    /// Returns the largest contribution of a shard to the gradient, among those that the ranks found; `own` is the
    /// one that this rank found. `None` if no rank found one. All ranks must call it.
    pub(crate) fn largest(&mut self, own: Option<Spike>) -> Result<Option<Spike>, Error> {
        if self.ranks() == 1 {
            return Ok(own);
        }
        largest_of_ranks(&mut self.ranks, own)
    }

    /// Returns the number of bytes and the seconds of the messages between ranks since the last call; `None` if there
    /// is only one rank.
    pub(crate) fn take_counts(&mut self) -> Option<Communication> {
        let counted = self.ranks.take_counts();
        (self.ranks() > 1).then_some(counted)
    }

    /// Returns the requests (such as to end the fit) that at least one rank makes, and clears those of this rank. All
    /// ranks must call it.
    pub(crate) fn requests_of_any(&mut self) -> Result<Requests, Error> {
        core::mem::take(&mut self.requests).of_any(&mut self.ranks)
    }

    /// Whether `own` is true on any rank. All ranks must call it, because it exchanges the values of all ranks.
    pub(crate) fn any(&mut self, own: bool) -> Result<bool, Error> {
        if self.ranks() == 1 {
            return Ok(own);
        }
        Ok(gather(&mut self.ranks, if own { "yes" } else { "" })?.iter().any(|text| !text.is_empty()))
    }

    /// Returns an error if `own`, the description of this rank's run or of a result, is not the same on all ranks.
    /// All ranks must call it. See [`Fingerprint::compare`].
    pub(crate) fn compare(&mut self, own: Result<Fingerprint, Error>) -> Result<(), Error> {
        Fingerprint::compare(own, &mut self.ranks)
    }

    /// Returns, as text that ranks compare, the moving average of the logarithm of the gradient norms, and the number
    /// of norms in it.
    pub(crate) fn typical_norm(&self) -> String {
        let norms = self.norms.moments();
        format!("{:?} over {} updates", norms.mean(), norms.count())
    }

    /// Exchanges the reports of all ranks about losses that are not finite. Returns the first rank with such a loss,
    /// with its shard and sample; `None` if all losses are finite. All ranks must call it.
    ///
    /// # Errors
    /// The error of this rank, or [`RankRule::Failed`] with that of the first rank that failed.
    pub(crate) fn exchange_reports(&mut self, own: Report) -> Result<Option<Spike>, Error> {
        own.exchange(&mut self.ranks)
    }
}

/// Writes the 8 bytes of `value` to the 8 numbers of `bytes`, as whole numbers up to 255, which every scalar type
/// holds exactly.
fn write_bytes<T: Scalar>(value: f64, bytes: &mut [T]) {
    bytes.iter_mut().zip(value.to_le_bytes()).for_each(|(to, byte)| *to = scalar(f64::from(byte)));
}

/// Returns the `f64` whose 8 bytes are the 8 numbers of `bytes`: the inverse of [`write_bytes`].
fn from_bytes<T: Scalar>(bytes: &[T]) -> f64 {
    f64::from_le_bytes(core::array::from_fn(|i| to_f64(bytes[i]) as u8))
}
