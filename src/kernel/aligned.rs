//! Buffers aligned to cache lines.

use super::LINE;
use crate::{error::Error, scalar::Scalar, size::filled};
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

/// A buffer whose first value begins a cache line, so no register load crosses a line.
///
/// An allocator often places large buffers 16 bytes into a line. There, each load of a register as wide as a line would
/// cross a line.
pub(crate) struct Aligned<T> {
    /// The values, with padding of up to a cache line before and after them.
    all: Vec<T>,
    first: usize,
    len: usize,
}

impl<T: Scalar> Aligned<T> {
    /// Allocates a buffer of `len` zeros. `what` names the buffer in an error.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the allocation fails.
    pub fn zeros(what: &str, len: usize) -> Result<Self, Error> {
        let spare = if len > 0 { LINE.checked_div(size_of::<T>()).unwrap_or(0) } else { 0 };
        let all = filled(what, len.saturating_add(spare), T::zero())?;
        // If the size of a number does not divide a line, perhaps no number begins one.
        let first = all.as_ptr().align_offset(LINE);
        Ok(Aligned { first: if first <= spare { first } else { 0 }, all, len })
    }

    /// Allocates a buffer with a copy of `values`. `what` names the buffer in an error.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the allocation fails.
    pub fn copy_of(what: &str, values: &[T]) -> Result<Self, Error> {
        let mut copy = Self::zeros(what, values.len())?;
        copy.copy_from_slice(values);
        Ok(copy)
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        &self.all[self.first..self.first + self.len]
    }
}

impl<T> DerefMut for Aligned<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.all[self.first..self.first + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins_a_line<T: Scalar>() {
        // Miri interprets the code, some thousand times slower.
        let large = if cfg!(miri) { 100 } else { 100_000 };
        for len in [1, 2, 15, 64, 1000, large] {
            let mut values = Aligned::<T>::zeros("test", len).unwrap();
            assert!(values.as_ptr().addr().is_multiple_of(LINE), "{len}");
            assert_eq!(values.len(), len);
            values.fill(T::one());
            assert!(Aligned::copy_of("test", &values).unwrap().iter().all(|&v| v == T::one()));
        }
        assert!(Aligned::<T>::zeros("test", 0).unwrap().is_empty());
    }

    #[test]
    fn aligned_first_value_begins_a_cache_line() {
        begins_a_line::<f32>();
        begins_a_line::<f64>();
    }
}
