//! The positions in the input of a pass at which each index of an embedding occurs.

use crate::{
    kernel::{register_block::load_block, sums::add_sums},
    scalar::{Scalar, scalar, to_f64},
    size::saturating_product,
};

/// For each index (a row of an embedding's table), the list of the positions among the input values of a pass at
/// which the index occurs, in increasing order. The lists are kept in scratch memory of the pass.
///
/// Position n is stored as n + 1, and 0 ends a list. A number takes one value of `T`; in a format such as f16, which
/// holds only small whole numbers exactly, it takes several values, one per digit.
pub(super) struct Occurrences<'a, T> {
    /// For each index of the table, 1 plus the first input position at which it occurs; 0 if it does not occur.
    first: &'a mut [T],
    /// For each input position, 1 plus the next position with the same index; 0 if there is none.
    next: &'a mut [T],
    digits: usize,
    /// The number of bits of a digit. A stored number is split into digits, each of which one value of `T` holds
    /// exactly.
    bits: u32,
}

/// Returns the number of bits b, at most 53, up to which `T` represents every b-bit whole number exactly.
fn bits<T: Scalar>() -> u32 {
    (1 + libm::ilogb(to_f64(T::epsilon())).unsigned_abs()).min(f64::MANTISSA_DIGITS)
}

/// Returns the number of values of `T`, one per digit, that are needed to store a whole number from 0 to `places`.
fn digits<T: Scalar>(places: usize) -> usize {
    (usize::BITS - places.leading_zeros()).div_ceil(bits::<T>()).max(1) as usize
}

impl<'a, T: Scalar> Occurrences<'a, T> {
    /// Returns the length, in values, of the scratch memory for the lists of the positions of `indices` different
    /// indices among `places` input values.
    pub(super) fn scratch(indices: usize, places: usize) -> usize {
        saturating_product(&[indices.saturating_add(places), digits::<T>(places)])
    }

    /// Collects the input positions of each index. `at` yields the index at each position, in order; all are below
    /// `indices`. `scratch` has at least the length that the function [`scratch`](Self::scratch) returns.
    pub(super) fn new(
        scratch: &'a mut [T],
        indices: usize,
        at: impl DoubleEndedIterator<Item = usize> + ExactSizeIterator,
    ) -> Self {
        let (places, digits) = (at.len(), digits::<T>(at.len()));
        let (first, rest) = scratch.split_at_mut(indices * digits);
        first.fill(T::zero());
        let lists = Occurrences { first, next: &mut rest[..places * digits], digits, bits: bits::<T>() };
        // From the last place to the first, so that each list is in order.
        for (place, index) in at.enumerate().rev() {
            let (own, head) = (place * digits..(place + 1) * digits, index * digits..(index + 1) * digits);
            lists.next[own].copy_from_slice(&lists.first[head.clone()]);
            write(&mut lists.first[head], place + 1, lists.bits);
        }
        lists
    }

    /// Returns the input positions at which `index` occurs, in increasing order.
    fn of(&self, index: usize) -> impl Iterator<Item = usize> {
        let read = |list: &[T], at: usize| read(&list[at * self.digits..][..self.digits], self.bits).checked_sub(1);
        core::iter::successors(read(self.first, index), move |&place| read(self.next, place))
    }

    /// Whether the input position `place` is the first at which `index` occurs.
    pub(super) fn is_first(&self, place: usize, index: usize) -> bool {
        self.of(index).next() == Some(place)
    }

    /// Adds those rows of `d` to `sum` whose input position has the index `index`. The order of summation is that of
    /// [`add_sums`].
    ///
    /// # Shapes
    /// d: \[input positions, columns\]; sum: \[columns\].
    pub(super) fn add_rows(&self, index: usize, d: &[T], sum: &mut [T]) {
        let (columns, mut places) = (sum.len(), self.of(index));
        let row = |place: usize| &d[place * columns..][..columns];
        let Some(first) = places.next() else { return };
        match 1 + places.count() {
            1 => sum.iter_mut().zip(row(first)).for_each(|(sum, &d)| *sum += d),
            count => add_sums(count, sum, |j| self.of(index).map(move |place| load_block(row(place), j))),
        }
    }
}

fn write<T: Scalar>(digits: &mut [T], number: usize, bits: u32) {
    let mut rest = number as u64;
    for digit in digits {
        *digit = scalar((rest & ((1 << bits) - 1)) as f64);
        rest >>= bits;
    }
}

fn read<T: Scalar>(digits: &[T], bits: u32) -> usize {
    digits.iter().rev().fold(0u64, |number, &digit| (number << bits) | to_f64(digit) as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{vec, vec::Vec};

    fn numbers_of_any_size_are_read_as_written<T: Scalar>(expected: usize) {
        assert_eq!(digits::<T>(200_000), expected);
        for number in [0, 1, 255, 256, 2047, 2048, 65_535, 199_999, 200_000] {
            let mut at = vec![T::nan(); expected];
            write(&mut at, number, bits::<T>());
            assert_eq!(read(&at, bits::<T>()), number);
        }
        let most = usize::MAX >> 1;
        let mut at = vec![T::nan(); digits::<T>(most)];
        write(&mut at, most, bits::<T>());
        assert_eq!(read(&at, bits::<T>()), most);
    }

    #[test]
    fn places_in_every_format_are_read_as_written() {
        numbers_of_any_size_are_read_as_written::<f32>(1);
        numbers_of_any_size_are_read_as_written::<f64>(1);
        #[cfg(feature = "half")]
        numbers_of_any_size_are_read_as_written::<half::f16>(2);
        #[cfg(feature = "half")]
        numbers_of_any_size_are_read_as_written::<half::bf16>(3);
    }

    #[test]
    fn occurrences_are_the_places_of_each_index_in_order() {
        let at = [2usize, 0, 2, 2, 4, 0];
        let mut scratch = vec![f32::NAN; Occurrences::<f32>::scratch(5, at.len())];
        let lists = Occurrences::new(&mut scratch, 5, at.iter().copied());
        for (index, expected) in [vec![1, 5], vec![], vec![0, 2, 3], vec![], vec![4]].into_iter().enumerate() {
            assert_eq!(lists.of(index).collect::<Vec<_>>(), expected);
        }
    }
}
