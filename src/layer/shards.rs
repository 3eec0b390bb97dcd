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

/// Whether a layer adds the gradient of its parameters shard by shard, in passes of one shape. Sealed: no layer of your
/// own does.
pub struct AddsByShard(pub(crate) bool);

/// The shards of a backward pass. The gradient of a parameter is a sum over each shard by itself, and these are added
/// along a binary tree: `((g₀ + g₁) + (g₂ + g₃)) + …`. The gradient of the input does not depend on them.
#[derive(Clone, Debug)]
pub(crate) struct Shards<T> {
    /// Where each shard ends among the samples, a power of two of ends; none for a pass without shards.
    ends: Vec<usize>,
    /// Memory for the sum of one subtree on each level.
    waiting: Vec<T>,
}

/// Shards of a subtree: the first sample, and where each ends.
pub(crate) struct Subtree<'a> {
    pub(crate) first: usize,
    pub(crate) ends: &'a [usize],
}

impl Subtree<'_> {
    /// The samples of all.
    pub(crate) fn samples(&self) -> Range<usize> {
        self.first..self.ends.last().copied().unwrap_or(self.first)
    }
}

impl<T: Scalar> Shards<T> {
    pub(super) const fn new() -> Self {
        Shards { ends: Vec::new(), waiting: Vec::new() }
    }

    /// Sets the shards of the next backward pass, of up to `most` shards, in which a layer has up to `parameters`.
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

    /// Leaves the next pass without shards.
    pub(crate) fn clear(&mut self) {
        self.ends.clear();
    }

    /// Adds the sums of the shards to `sum`, along the tree. `add(subtree, sum, is_new)` adds that of a subtree, or
    /// overwrites `sum` with it if that is new. The subtree is a single shard, or one that `fits`.
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
    /// The shards of a backward pass; `None` if it has none.
    #[inline(always)]
    pub(crate) fn shards(&mut self) -> Option<&mut Shards<T>> {
        self.buffers.as_deref_mut().map(|buffers| &mut buffers.shards).filter(|shards| !shards.ends.is_empty())
    }

    /// Adds to `sum` what `add(rows, sum)` adds for the rows of each shard, along the tree of the shards; of a pass
    /// without shards, for all rows. A pass with shards has one step.
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
