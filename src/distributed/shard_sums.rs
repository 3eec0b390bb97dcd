//! The sums over the shards of one rank, added along the binary tree of all shards as far as the shards of one rank
//! allow.

use crate::{error::Error, kernel::elementwise::update, scalar::Scalar, size::filled};
use alloc::vec::Vec;
use core::ops::Range;

/// Sums of vectors over aligned subtrees of the shards of one rank. Such a subtree is a range of shards whose length
/// is a power of two that divides its start.
///
/// Shards are added in increasing order. Two subtrees with the same parent are merged as soon as both are complete.
/// At the end the largest subtrees within the shards of the rank remain. That is one subtree if the number of ranks
/// is a power of two, otherwise at most twice the binary logarithm of the number of shards.
#[derive(Clone, Debug)]
pub(super) struct ShardSums<T> {
    /// The range of shards of each subtree that has a sum, in the order of the shards.
    subtrees: Vec<Range<usize>>,
    /// The sum of each subtree in `subtrees`, followed by unused memory for further sums.
    sums: Vec<Vec<T>>,
}

impl<T: Scalar> ShardSums<T> {
    pub(super) const fn new() -> Self {
        ShardSums { subtrees: Vec::new(), sums: Vec::new() }
    }

    /// Removes all sums, before a new update, but keeps their memory.
    pub(super) fn clear(&mut self) {
        self.subtrees.clear();
    }

    /// Whether there is no sum, that is, none was added after the last [`clear`](Self::clear).
    pub(super) fn is_empty(&self) -> bool {
        self.subtrees.is_empty()
    }

    /// Adds the sum over the range `shards`, which must be a subtree and follow the shards added before. The sum is
    /// the concatenation of the vectors in `parts`.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if memory cannot hold the sum.
    pub(super) fn push(&mut self, shards: Range<usize>, parts: &[&[T]]) -> Result<(), Error> {
        if self.subtrees.last().is_some_and(|last| are_siblings(last, &shards)) {
            let last = self.subtrees.len() - 1;
            each_part(&mut self.sums[last], parts, |sum, part| update(sum, part, |sum, part| sum + part));
            self.subtrees[last].end = shards.end;
        } else {
            each_part(self.memory(parts.iter().map(|part| part.len()).sum())?, parts, |sum, part| {
                sum.copy_from_slice(part);
            });
            self.subtrees.push(shards);
        }
        self.merge();
        Ok(())
    }

    /// Removes all sums, and allocates the sum of the subtree `shards`, a vector of `len` values with arbitrary
    /// content.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if memory cannot hold the sum.
    pub(super) fn begin(&mut self, shards: Range<usize>, len: usize) -> Result<(), Error> {
        self.clear();
        self.memory(len)?;
        self.subtrees.push(shards);
        Ok(())
    }

    /// Returns memory for the sum of one more subtree: `len` values with arbitrary content.
    fn memory(&mut self, len: usize) -> Result<&mut [T], Error> {
        let next = self.subtrees.len();
        if self.sums.get(next).is_none_or(|sum| sum.len() != len) {
            let sum = filled("the sums of the shards", len, T::zero())?;
            self.sums.truncate(next);
            self.sums.push(sum);
        }
        Ok(&mut self.sums[next])
    }

    /// Merges the last two subtrees, by adding their sums, as long as they have the same parent in the binary tree of
    /// the shards.
    fn merge(&mut self) {
        while let [.., left, right] = &self.subtrees[..] {
            if !are_siblings(left, right) {
                return;
            }
            let merged = left.start..right.end;
            let last = self.subtrees.len() - 1;
            let (before, after) = self.sums.split_at_mut(last);
            update(&mut before[last - 1], &after[0], |left, right| left + right);
            self.subtrees.truncate(last);
            self.subtrees[last - 1] = merged;
        }
    }

    /// Returns the sum of the subtree whose first shard is `shard`. The caller guarantees that there is such a
    /// subtree.
    pub(super) fn beginning_with(&mut self, shard: usize) -> &mut [T] {
        let place = self.subtrees.iter().position(|subtree| subtree.start == shard).unwrap_or_default();
        &mut self.sums[place]
    }

    /// Returns the sums of two subtrees, \[the one whose first shard is `left`, the one whose first shard is
    /// `right`\], with `left` < `right`. The caller guarantees that there are such subtrees.
    pub(super) fn two_beginning_with(&mut self, [left, right]: [usize; 2]) -> [&mut [T]; 2] {
        let place = |shard| self.subtrees.iter().position(|subtree| subtree.start == shard).unwrap_or_default();
        let (left, right) = (place(left), place(right));
        let (before, after) = self.sums.split_at_mut(right);
        [&mut before[left], &mut after[0]]
    }

    /// Returns the sum of this rank's first subtree. After the sum over all ranks it is the total of all shards.
    pub(super) fn first(&mut self) -> &mut [T] {
        &mut self.sums[0]
    }
}

/// Whether the subtrees with the shards `left` and `right`, where `right` begins at the end of `left`, have the same
/// parent in the binary tree of the shards.
fn are_siblings(left: &Range<usize>, right: &Range<usize>) -> bool {
    left.len() == right.len() && left.start.is_multiple_of(2 * left.len())
}

/// Calls `apply` with each vector of `parts` and the range of `sum` that corresponds to it. The ranges are
/// consecutive.
fn each_part<T>(sum: &mut [T], parts: &[&[T]], mut apply: impl FnMut(&mut [T], &[T])) {
    let mut rest = sum;
    for part in parts {
        let (own, after) = rest.split_at_mut(part.len());
        apply(own, part);
        rest = after;
    }
}
