use super::{BlockSum, FAN};
use crate::{error::Error, kernel::elementwise::update, scalar::Scalar, size::filled};
use alloc::vec::Vec;

/// The sum of many vectors of equal length (parts), in levels: the caller adds the parts of a group, [`FAN`] of them,
/// in sequence, and this type adds the groups. A sum of one group needs no memory here.
#[derive(Debug)]
pub(crate) struct PartSums<T> {
    /// The sum of the groups, then the buffer of its [`BlockSum`].
    sums: Vec<T>,
}

impl<T: Scalar> PartSums<T> {
    pub const fn new() -> Self {
        PartSums { sums: Vec::new() }
    }

    /// Whether the part with the number `part`, counted from 0, is the first of a group of [`FAN`] consecutive parts.
    pub const fn begins_group(part: usize) -> bool {
        part.is_multiple_of(FAN)
    }

    /// Reserves the memory for a sum of at most `parts` parts of `len` values.
    pub fn reserve(&mut self, len: usize, parts: usize) -> Result<(), Error> {
        let groups = parts.div_ceil(FAN);
        let values = if groups > 1 { len.saturating_add(BlockSum::<T>::buffer_len(len, groups)) } else { 0 };
        if self.sums.len() < values {
            self.sums = filled("the sums of the parts of an update", values, T::zero())?;
        }
        Ok(())
    }

    /// Adds `sum`, the sum of the group of [`FAN`] parts that ends before part `part`. The groups must come in order.
    pub fn end_group(&mut self, part: usize, sum: &[T]) {
        let (total, buffer) = self.sums.split_at_mut(sum.len());
        let group = (part - 1) / FAN;
        if group == 0 {
            return total.copy_from_slice(sum);
        }
        BlockSum::after(group, total, buffer).add(|total| update(total, sum, |total, sum| total + sum));
    }

    /// Replaces `sum`, the sum of the last group, by the sum of all `parts` parts.
    pub fn finish(&mut self, parts: usize, sum: &mut [T]) {
        if parts <= FAN {
            return;
        }
        self.end_group(parts, sum);
        let (total, buffer) = self.sums.split_at_mut(sum.len());
        BlockSum::after(parts.div_ceil(FAN), total, buffer).finish();
        sum.copy_from_slice(&self.sums[..sum.len()]);
    }

    /// The number of values of the reserved memory.
    pub const fn len(&self) -> usize {
        self.sums.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_sums_any_count_adds_every_part_once() {
        for parts in [1, 31, 32, 33, 64, 65, 1024, 1025, 2100, 32_768, 32_769, 70_000] {
            let (mut sums, mut gradient) = (PartSums::<f64>::new(), [f64::NAN; 2]);
            sums.reserve(2, parts).unwrap();
            for part in 0..parts {
                if PartSums::<f64>::begins_group(part) {
                    if part > 0 {
                        sums.end_group(part, &gradient);
                    }
                    gradient = [0.0; 2];
                }
                gradient.iter_mut().for_each(|value| *value += part as f64);
            }
            sums.finish(parts, &mut gradient);
            assert_eq!(gradient, [(parts * (parts - 1) / 2) as f64; 2], "{parts} parts");
            assert_eq!(sums.len() > 0, parts > FAN);
        }
    }
}
