//! The order of a sum over inner indices: one sum, or sums of shards (consecutive indices) added along a binary
//! tree.

use crate::kernel::simd::Lanes;
use core::mem::MaybeUninit;

/// The largest number of shards (consecutive rows with a sum of their own) whose sums are added along their binary tree
/// within one tile of the result. For each level of the tree, the sum of one subtree is stored in memory.
pub(crate) const MOST_SHARDS: usize = 1 << LEVELS;
const LEVELS: usize = 5;

/// A division of the inner indices of a product into parts, each of which is summed in increasing order.
///
/// # Safety
/// There are 1 to [`MOST_SHARDS`] parts. Their ends do not decrease, and none is beyond the inner indices.
pub(super) unsafe trait InnerSum: Copy + Send + Sync {
    /// The number of parts into which the inner indices are divided, a power of two.
    fn count(self) -> usize;

    /// The inner index before which part `i` ends, at most `inner`, the number of inner indices.
    fn end(self, i: usize, inner: usize) -> usize;
}

/// One sum over all inner indices.
#[derive(Clone, Copy)]
pub(super) struct OneSum;

// SAFETY: the only part ends with the inner indices.
unsafe impl InnerSum for OneSum {
    #[inline(always)]
    fn count(self) -> usize {
        1
    }

    #[inline(always)]
    fn end(self, _i: usize, inner: usize) -> usize {
        inner
    }
}

/// One sum for each shard (consecutive inner indices), added along a binary tree. Shard s has the inner indices from
/// `ends[s − 1]` (`first` for s = 0) to before `ends[s]`, each minus `first`.
#[derive(Clone, Copy)]
pub(super) struct ShardTree<'a> {
    first: usize,
    ends: &'a [usize],
}

impl<'a> ShardTree<'a> {
    /// Creates the tree of shards over `inner` indices. `None` unless the number of shards is a power of two up to
    /// [`MOST_SHARDS`], and `ends` do not decrease, from `first` to `first + inner`.
    pub(super) fn new(first: usize, ends: &'a [usize], inner: usize) -> Option<Self> {
        let valid = ends.len().is_power_of_two() && ends.len() <= MOST_SHARDS && ends.is_sorted();
        let holds = ends.first() >= Some(&first) && ends.last().map(|end| end - first) == Some(inner);
        (valid && holds).then_some(ShardTree { first, ends })
    }
}

// SAFETY: `new` has checked the ends; none is returned beyond the inner indices of this product.
unsafe impl InnerSum for ShardTree<'_> {
    #[inline(always)]
    fn count(self) -> usize {
        self.ends.len()
    }

    #[inline(always)]
    fn end(self, i: usize, inner: usize) -> usize {
        (self.ends[i] - self.first).min(inner)
    }
}

/// The sums of a tile over the left halves of those subtrees of the binary tree of parts that are not yet complete: at
/// most one for each level.
pub(super) struct Subtrees<V, const M: usize, const R: usize> {
    waiting: [MaybeUninit<[[V; R]; M]>; LEVELS],
}

impl<V: Copy, const M: usize, const R: usize> Subtrees<V, M, R> {
    #[inline(always)]
    pub(super) fn new() -> Self {
        Subtrees { waiting: [const { MaybeUninit::uninit() }; LEVELS] }
    }

    /// Adds `sums`, the tile's sums over part `i` of `count` parts, to the tree. For each subtree that ends with this
    /// part, from the smallest to the largest, the stored sums of its left half are added to `sums`. After the last
    /// part, `sums` is the total.
    #[inline(always)]
    pub(super) unsafe fn add<T>(&mut self, i: usize, count: usize, sums: &mut [[V; R]; M])
    where
        V: Lanes<T>,
    {
        let complete = ((i + 1).trailing_zeros() as usize).min(LEVELS);
        for left in &self.waiting[..complete] {
            // SAFETY: the lowest bits of i are `complete` ones. Level l below that was written by part i − 2^l, which
            // has l ones at its end. The registers exist.
            unsafe {
                let left = left.assume_init_ref();
                for (sums, left) in sums.iter_mut().zip(left) {
                    for (sum, &left) in sums.iter_mut().zip(left) {
                        *sum = left.add(*sum);
                    }
                }
            }
        }
        if i + 1 < count {
            self.waiting[complete].write(*sums);
        }
    }
}
