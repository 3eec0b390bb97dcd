//! The sum over all ranks, along the tree of the shards.

use super::{channel::Channel, shard_sums::ShardSums};
use crate::{error::Error, kernel::elementwise::update, scalar::Scalar};
use core::ops::Range;

/// Returns the range of consecutive shards that rank `rank` has if `ranks` ranks divide `shards` shards. The numbers of
/// shards of two ranks differ by at most one.
pub(super) fn shards_of(rank: usize, ranks: usize, shards: usize) -> Range<usize> {
    rank * shards / ranks..(rank + 1) * shards / ranks
}

/// Returns the rank that has shard `shard` if `ranks` ranks divide `shards` shards.
pub(super) fn owner(shard: usize, ranks: usize, shards: usize) -> usize {
    // The owner is the last rank whose first shard is not after `shard`.
    (0..ranks).rfind(|&rank| shards_of(rank, ranks, shards).start <= shard).unwrap_or(0)
}

/// Adds the vectors `sum` of all ranks, whose number is a power of two. All ranks must call it; on return `sum` is the
/// total on each. `received` is memory for half of a vector, rounded up; its content is arbitrary.
pub(super) fn add_power_of_two<T: Scalar>(
    ranks: &mut Channel<T>,
    sum: &mut [T],
    received: &mut [T],
) -> Result<(), Error> {
    halve(ranks, 1, sum, received)
}

/// Adds the sums of all ranks, any number of them, which have `shards` shards together. On return each rank has the
/// total, in [`ShardSums::first`]. `received` is memory for a message of another rank, of the length of a sum. All
/// ranks must call it.
pub(super) fn add_any<T: Scalar>(
    ranks: &mut Channel<T>,
    shards: usize,
    sums: &mut ShardSums<T>,
    received: &mut [T],
) -> Result<(), Error> {
    Tree { ranks: &mut *ranks, shards, sums, received }.add(0..shards)?;
    ranks.broadcast(0, sums.first())
}

/// Adds the vectors `sum` of all ranks whose numbers differ only in the bits from `bit` (1, 2, 4, …) on. The number
/// of ranks is a power of two. On return `sum` is the total on each of these ranks. `received` is memory for half of
/// `sum`, rounded up.
///
/// Rank r and rank r XOR `bit` exchange halves, each adds one half, and the next bits divide that half further. Then
/// the summed halves are exchanged in reverse order (Rabenseifner 2004). Each element is added along the tree of the
/// ranks, nearest first. Time: `2 log₂ p · α + 2 (p − 1)/p · n β` for p ranks and n values, with latency α of
/// a message and time β per value.
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

/// The sum for any number of ranks: whole vectors are sent up the tree of the shards.
///
/// Time: about `2 log₂ p · (α + n β)`, half of it for the broadcast of the total. There are p ranks and n values;
/// a message has the latency α and takes β per value.
struct Tree<'a, T> {
    ranks: &'a mut Channel<T>,
    shards: usize,
    sums: &'a mut ShardSums<T>,
    received: &'a mut [T],
}

impl<T: Scalar> Tree<'_, T> {
    /// Adds the sums of all shards in `node`, the range of shards of a subtree. All ranks must call it; on return the
    /// rank that has the first of these shards has the sum.
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
