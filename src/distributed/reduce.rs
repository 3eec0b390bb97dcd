//! The sum of vectors over all ranks, along the binary tree of the shards (fixed consecutive parts of the samples of
//! an update).

use super::{channel::Channel, shard_sums::ShardSums};
use crate::{error::Error, kernel::elementwise::update, scalar::Scalar};
use core::ops::Range;

/// Returns the range of consecutive shards that rank `rank` owns if `ranks` ranks divide `shards` shards among them.
/// The shard counts of two ranks differ by at most one.
pub(super) fn shards_of(rank: usize, ranks: usize, shards: usize) -> Range<usize> {
    rank * shards / ranks..(rank + 1) * shards / ranks
}

/// Returns the rank that owns shard `shard` if `ranks` ranks divide `shards` shards among them.
pub(super) fn owner(shard: usize, ranks: usize, shards: usize) -> usize {
    // The owner is the last rank whose first shard is not after `shard`.
    (0..ranks).rfind(|&rank| shards_of(rank, ranks, shards).start <= shard).unwrap_or(0)
}

/// Adds the vectors `sum` of all ranks, whose number is a power of two. All ranks must call it; on return `sum` is
/// the total on each rank. `received` is memory of half the length of `sum`, rounded up; its content is arbitrary.
pub(super) fn add_power_of_two<T: Scalar>(
    ranks: &mut Channel<T>,
    sum: &mut [T],
    received: &mut [T],
) -> Result<(), Error> {
    halve(ranks, 1, sum, received)
}

/// Adds the sums of all ranks along the binary tree of the shards, for any number of ranks; `shards` is the number of
/// all shards. On return [`ShardSums::first`] is the total on each rank. `received` is memory for a message from
/// another rank, as long as one sum. All ranks must call it.
pub(super) fn add_any<T: Scalar>(
    ranks: &mut Channel<T>,
    shards: usize,
    sums: &mut ShardSums<T>,
    received: &mut [T],
) -> Result<(), Error> {
    Tree { ranks: &mut *ranks, shards, sums, received }.add(0..shards)?;
    ranks.broadcast(0, sums.first())
}

/// Adds the vectors `sum` of the ranks whose numbers agree in all binary digits below `bit`, a power of two. The
/// number of ranks is a power of two. On return `sum` is the total on each of these ranks. `received` is memory of
/// half the length of `sum`, rounded up.
///
/// Rank r and rank r XOR `bit` exchange halves, and each adds one half. The next bits divide that half further. Then
/// the summed halves are exchanged in reverse order (Rabenseifner 2004). Each element is added along the tree of the
/// ranks, nearest ranks first. Time: `2 log₂ p · α + 2 (p − 1)/p · n β` for p ranks and n values, if a message has
/// the latency α and takes the time β per value.
fn halve<T: Scalar>(ranks: &mut Channel<T>, bit: usize, sum: &mut [T], received: &mut [T]) -> Result<(), Error> {
    if bit >= ranks.size() {
        return Ok(());
    }
    let (rank, peer) = (ranks.rank(), ranks.rank() ^ bit);
    let (low, high) = sum.split_at_mut(sum.len() / 2);
    let (own, other) = if rank & bit == 0 { (low, high) } else { (high, low) };
    ranks.exchange(peer, other, &mut received[..own.len()])?;
    update(own, &received[..own.len()], |own, received| own + received);
    halve(ranks, 2 * bit, own, received)?;
    ranks.exchange(peer, own, other)
}

/// The sum of vectors over any number of ranks: whole vectors are sent up the binary tree of the shards (the parts of
/// an update's samples).
///
/// Time: about `2 log₂ p · (α + n β)` for p ranks and n values, half of it for the broadcast of the total. A message
/// has the latency α and takes the time β per value.
struct Tree<'a, T> {
    ranks: &'a mut Channel<T>,
    shards: usize,
    sums: &'a mut ShardSums<T>,
    received: &'a mut [T],
}

impl<T: Scalar> Tree<'_, T> {
    /// Adds the sums of all shards in `node`, the range of shards of a subtree. All ranks must call it. On return the
    /// rank that owns the first of these shards has their sum.
    fn add(&mut self, node: Range<usize>) -> Result<(), Error> {
        let (size, shards) = (self.ranks.size(), self.shards);
        let owner = |shard| owner(shard, size, shards);
        if owner(node.start) == owner(node.end - 1) {
            return Ok(()); // It was added on its rank.
        }
        let middle = node.start + node.len() / 2;
        let (left, right) = (owner(node.start), owner(middle));
        self.add(node.start..middle)?;
        self.add(middle..node.end)?;
        let rank = self.ranks.rank();
        if left == right && rank == left {
            let [sum, of_right] = self.sums.two_beginning_with([node.start, middle]);
            update(sum, of_right, |sum, right| sum + right);
        } else if rank == left {
            self.ranks.exchange(right, &[], self.received)?;
            update(self.sums.beginning_with(node.start), self.received, |sum, right| sum + right);
        } else if rank == right {
            self.ranks.exchange(left, self.sums.beginning_with(middle), &mut [])?;
        }
        Ok(())
    }
}
