//! The shards of a backward pass: ranges of samples of which each gives a gradient of its own.

use super::Context;
use crate::{
    error::Error,
    kernel::elementwise::update,
    scalar::Scalar,
    size::{filled, grow, saturating_product},
};
use alloc::vec::Vec;
use core::ops::Range;

/// Whether a layer can sum the gradient of its parameters separately for each shard, a range of samples, in passes of
/// one shape. Sealed: custom layers cannot.
#[derive(Clone, Copy, Debug)]
pub struct AddsByShard(pub(crate) bool);

/// The shards of a backward pass, consecutive ranges of its samples. The gradient of a parameter is summed over each
/// shard by itself, and these sums are added along a binary tree: `((g₀ + g₁) + (g₂ + g₃)) + …`. The gradient
/// of the input does not depend on the shards.
#[derive(Clone, Debug)]
pub(crate) struct Shards<T> {
    /// The end of each shard (range of samples) among the samples of the pass, in order. Their number is a power of
    /// two, or 0 for a pass without shards.
    ends: Vec<usize>,
    /// Memory for gradient sums that are computed but not yet added up. It has room, on each level of the binary
    /// tree, for the sum over one subtree (some consecutive shards).
    waiting: Vec<T>,
}

/// Some consecutive shards of a pass, whose sums are added along one part of the binary tree.
pub(crate) struct Subtree<'a> {
    /// The index of the first sample of the subtree among all samples of the pass.
    pub(crate) first: usize,
    /// The end of each shard (range of samples) of the subtree, counted among all samples of the pass.
    pub(crate) ends: &'a [usize],
}

impl Subtree<'_> {
    /// Returns the range of the samples of all shards of the subtree.
    pub(crate) fn samples(&self) -> Range<usize> {
        self.first..self.ends.last().copied().unwrap_or(self.first)
    }
}

impl<T: Scalar> Shards<T> {
    pub(super) const fn new() -> Self {
        Shards { ends: Vec::new(), waiting: Vec::new() }
    }

    /// Returns the length, in values, of the memory for pending gradient sums of the binary tree.
    pub(super) fn values(&self) -> usize {
        self.waiting.len()
    }

    /// Sets the ends of the shards, as sample indices, for the next backward pass. No pass has more than `most` shards,
    /// a power of two, and no layer more than `parameters` parameters. Only the first `most` ends are used.
    ///
    /// # Errors
    /// [`Error::TooLarge`] where memory cannot hold the sums of the subtrees.
    pub(crate) fn set(
        &mut self,
        ends: impl Iterator<Item = usize>,
        most: usize,
        parameters: usize,
    ) -> Result<(), Error> {
        self.ends.clear();
        grow("the shards of a pass", &mut self.ends, most)?;
        let values = saturating_product(&[most.trailing_zeros() as usize, parameters]);
        if self.waiting.len() < values {
            self.waiting = filled("the sums of shards", values, T::zero())?;
        }
        self.ends.extend(ends.take(most));
        Ok(())
    }

    /// The number of shards.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Removes the shards, so that the next pass has none.
    pub(crate) fn clear(&mut self) {
        self.ends.clear();
    }

    /// Adds the sums of all shards to `sum`, along the binary tree. `add(subtree, sum, is_new)` adds the sum of a
    /// subtree to its argument `sum`, or overwrites it if `is_new`. The subtree is a single shard, or a larger one for
    /// which `fits` is true.
    pub(crate) fn sum(
        &mut self,
        sum: &mut [T],
        fits: impl Fn(&Subtree<'_>) -> bool,
        mut add: impl FnMut(Subtree<'_>, &mut [T], bool),
    ) {
        add_subtree(Subtree { first: 0, ends: &self.ends }, sum, &mut self.waiting, false, &fits, &mut add);
    }
}

fn add_subtree<T: Scalar>(
    subtree: Subtree<'_>,
    sum: &mut [T],
    waiting: &mut [T],
    is_new: bool,
    fits: &dyn Fn(&Subtree<'_>) -> bool,
    add: &mut dyn FnMut(Subtree<'_>, &mut [T], bool),
) {
    if subtree.ends.len() <= 1 || fits(&subtree) {
        return add(subtree, sum, is_new);
    }
    let (left, right) = subtree.ends.split_at(subtree.ends.len() / 2);
    add_subtree(Subtree { first: subtree.first, ends: left }, sum, waiting, is_new, fits, add);
    let (of_right, waiting) = waiting.split_at_mut(sum.len());
    add_subtree(Subtree { first: left[left.len() - 1], ends: right }, of_right, waiting, true, fits, add);
    update(sum, of_right, |left, right| left + right);
}

impl<T: Scalar> Context<'_, T> {
    /// Returns the shards of a backward pass, ranges of samples with a gradient sum of their own; `None` for a pass
    /// without shards, and without a workspace.
    #[inline(always)]
    pub(crate) fn shards(&mut self) -> Option<&mut Shards<T>> {
        self.buffers.as_deref_mut().map(|buffers| &mut buffers.shards).filter(|shards| !shards.ends.is_empty())
    }

    /// Calls `add(rows, sum)`, which adds a sum over `rows` to its argument `sum`, for the rows of each shard (range of
    /// samples with a gradient sum of its own). The results are added to `sum` along the binary tree of the shards.
    /// Without shards it calls `add` once, for all rows. With shards, the pass through the layer must have one time
    /// step, so that rows are samples.
    pub(super) fn add_by_shard(&mut self, sum: &mut [T], mut add: impl FnMut(Range<usize>, &mut [T])) {
        let rows = self.shape.rows();
        let Some(shards) = self.shards() else { return add(0..rows, sum) };
        shards.sum(
            sum,
            |_| false,
            |shard, sum, is_new| {
                if is_new {
                    sum.fill(T::zero());
                }
                add(shard.samples(), sum);
            },
        );
    }
}
