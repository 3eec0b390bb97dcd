//! Memory that begins where a line of the cache does.

use super::LINE;
use crate::scalar::Scalar;
use alloc::{vec, vec::Vec};
use core::ops::{Deref, DerefMut};

/// Values the first of which begins a line: a register of them never lies in two, where an allocator's place, 16 bytes
/// into a line for whatever is large, makes each of the widest lie in two.
pub(crate) struct Aligned<T> {
    /// The values, before and after them what is left of a line.
    all: Vec<T>,
    first: usize,
    len: usize,
}

impl<T: Scalar> Aligned<T> {
    /// So many zeros.
    pub fn zeros(len: usize) -> Self {
        let spare = if len > 0 { LINE.checked_div(size_of::<T>()).unwrap_or(0) } else { 0 };
        let all = vec![T::zero(); len + spare];
        // Of numbers that do not fill a line, none may begin one.
        let first = all.as_ptr().align_offset(LINE);
        Aligned { first: if first <= spare { first } else { 0 }, all, len }
    }
}

impl<T: Scalar> From<&[T]> for Aligned<T> {
    fn from(values: &[T]) -> Self {
        let mut copy = Self::zeros(values.len());
        copy.copy_from_slice(values);
        copy
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.all[self.first..self.first + self.len]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.all[self.first..self.first + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins_a_line<T: Scalar>() {
        for len in [1, 2, 15, 64, 1000, 100_000] {
            let mut values = Aligned::<T>::zeros(len);
            assert!(values.as_ptr().addr().is_multiple_of(LINE), "{len}");
            assert_eq!(values.len(), len);
            values.fill(T::one());
            assert!(Aligned::from(&values[..]).iter().all(|&v| v == T::one()));
        }
        assert!(Aligned::<T>::zeros(0).is_empty());
    }

    #[test]
    fn the_first_value_begins_a_line() {
        begins_a_line::<f32>();
        begins_a_line::<f64>();
    }
}
