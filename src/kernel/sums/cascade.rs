use super::FAN;
use crate::kernel::simd::Lanes;

/// Partial sums of R registers of columns, by level: blocks of [`ROWS`](super::ROWS) rows, groups of [`FAN`] blocks,
/// and groups of [`FAN`] groups.
#[derive(Clone, Copy)]
pub(super) struct Cascade<V, const R: usize> {
    levels: [[V; R]; 3],
    blocks: usize,
}

impl<V: Copy, const R: usize> Cascade<V, R> {
    /// Creates a sum of no blocks.
    ///
    /// # Safety
    /// The CPU has the instructions of `V`, and `V` holds values of `T`. The same applies to all methods.
    #[inline(always)]
    pub(super) unsafe fn new<T>() -> Self
    where
        V: Lanes<T>,
    {
        // SAFETY: by the contract of this function.
        Cascade { levels: [[unsafe { V::zero() }; R]; 3], blocks: 0 }
    }

    /// Adds `block`, the sum of the next block of rows in each column.
    ///
    /// # Safety
    /// The same as for [`new`](Self::new).
    #[inline(always)]
    pub(super) unsafe fn add<T>(&mut self, block: &[V; R])
    where
        V: Lanes<T>,
    {
        self.blocks += 1;
        // SAFETY: by the contract of this function.
        unsafe {
            add_registers::<T, V, R>(&mut self.levels[0], block);
            if self.blocks.is_multiple_of(FAN) {
                let [blocks, groups, rest] = &mut self.levels;
                add_registers::<T, V, R>(groups, blocks);
                *blocks = [V::zero(); R];
                if self.blocks.is_multiple_of(FAN * FAN) {
                    add_registers::<T, V, R>(rest, groups);
                    *groups = [V::zero(); R];
                }
            }
        }
    }

    /// Returns the sum of all blocks.
    ///
    /// # Safety
    /// The same as for [`new`](Self::new).
    #[inline(always)]
    pub(super) unsafe fn total<T>(self) -> [V; R]
    where
        V: Lanes<T>,
    {
        let [blocks, mut groups, mut rest] = self.levels;
        // SAFETY: by the contract of this function.
        unsafe {
            add_registers::<T, V, R>(&mut groups, &blocks);
            add_registers::<T, V, R>(&mut rest, &groups);
        }
        rest
    }
}

/// Adds `from` to `to`, register by register.
///
/// # Safety
/// The CPU has the instructions of `V`, and `V` holds values of `T`.
#[inline(always)]
unsafe fn add_registers<T, V: Lanes<T>, const R: usize>(to: &mut [V; R], from: &[V; R]) {
    for (to, &from) in to.iter_mut().zip(from) {
        // SAFETY: by the contract of this function.
        *to = unsafe { to.add(from) };
    }
}
