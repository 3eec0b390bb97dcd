use super::FAN;
use crate::{kernel::elementwise::update, scalar::Scalar};

/// A sum of equally sized terms (matrices, called blocks here), in levels: the sum of [`FAN`] terms of one level, a
/// group, is a term of the next.
///
/// The first group of each level is added to the total directly. So a sum of at most [`FAN`] blocks needs no buffer.
pub(crate) struct BlockSum<'a, T> {
    total: &'a mut [T],
    buffer: &'a mut [T],
    blocks: usize,
}

impl<'a, T: Scalar> BlockSum<'a, T> {
    /// Returns the length, in values, of the buffer for a sum of `blocks` blocks of `len` values.
    pub fn buffer_len(len: usize, blocks: usize) -> usize {
        len.saturating_mul(usize::from(blocks > FAN) + usize::from(blocks > FAN * FAN))
    }

    /// Creates a sum without blocks, which adds them to `total`. `buffer` must have [`buffer_len`](Self::buffer_len)
    /// values for the number of blocks to come; its content is arbitrary.
    pub fn new(total: &'a mut [T], buffer: &'a mut [T]) -> Self {
        Self::after(0, total, buffer)
    }

    /// Continues a sum after its first `blocks` blocks. `total` and `buffer` hold their sums from an earlier part of
    /// the sum, which ended without [`finish`](Self::finish).
    pub fn after(blocks: usize, total: &'a mut [T], buffer: &'a mut [T]) -> Self {
        BlockSum { total, buffer, blocks }
    }

    /// Adds the next block. `add` must add the block to its argument, a slice of the length of a block.
    pub fn add(&mut self, add: impl FnOnce(&mut [T])) {
        if self.blocks < FAN {
            add(self.total);
        } else {
            let group = &mut self.buffer[..self.total.len()];
            if self.blocks.is_multiple_of(FAN) {
                group.fill(T::zero());
            }
            add(group);
        }
        self.blocks += 1;
        if self.blocks.is_multiple_of(FAN) {
            self.end_group();
        }
    }

    /// Adds the buffered sums of incomplete groups to `total`, which is then the sum of all blocks.
    pub fn finish(mut self) {
        if !self.blocks.is_multiple_of(FAN) {
            self.end_group();
        }
        if self.blocks > FAN * FAN && !self.blocks.is_multiple_of(FAN * FAN) {
            let groups = &self.buffer[self.total.len()..];
            update(self.total, &groups[..self.total.len()], |total, groups| total + groups);
        }
    }

    /// Adds the sum of the group that ends with the last added block to the level above, unless it is the first group,
    /// which was added to the total directly.
    fn end_group(&mut self) {
        let (len, group) = (self.total.len(), self.blocks.saturating_sub(1) / FAN);
        if group == 0 {
            return;
        }
        if group < FAN {
            return update(self.total, &self.buffer[..len], |total, group| total + group);
        }
        let (group_sum, groups) = self.buffer.split_at_mut(len);
        let groups = &mut groups[..len];
        if group.is_multiple_of(FAN) {
            groups.copy_from_slice(group_sum);
        } else {
            update(groups, group_sum, |groups, group| groups + group);
        }
        if (group + 1).is_multiple_of(FAN) && self.blocks.is_multiple_of(FAN) {
            update(self.total, groups, |total, groups| total + groups);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn block_sum_any_count_adds_every_block_once() {
        for blocks in [0, 1, 31, 32, 33, 64, 65, 1023, 1024, 1025, 1056, 1057, 2048, 2049, 5000] {
            for part in [usize::MAX, 7] {
                let (mut total, mut buffer) = (vec![3.0; 2], vec![f64::NAN; BlockSum::<f64>::buffer_len(2, blocks)]);
                let mut sum = BlockSum::new(&mut total, &mut buffer);
                for block in 0..blocks {
                    if block % part == 0 {
                        sum = BlockSum::after(block, &mut total, &mut buffer);
                    }
                    sum.add(|total| total.iter_mut().for_each(|value| *value += block as f64));
                }
                sum.finish();
                let expected = 3.0 + (blocks * blocks.saturating_sub(1) / 2) as f64;
                assert_eq!(total, [expected; 2], "{blocks} blocks");
            }
        }
    }
}
