//! Loops whose parts run on the threads of a pass, and the slices that those parts write.
//!
//! The division of a loop into parts does not change results: they have the same bits for any number of threads.

use super::thread_pool::{self, threads};
use core::{marker::PhantomData, ops::Range};

/// Runs `run(i)` for each i below `count`, on the threads of the current pass of a network. Returns when all calls
/// have ended.
pub(crate) fn parallel_for(count: usize, run: &(dyn Fn(usize) + Sync)) {
    if count > 1 { thread_pool::run_parts(count, run) } else { (0..count).for_each(run) }
}

/// Calls `run` with disjoint ranges that cover `0..units`, on the threads of the current pass. They are cut at
/// multiples of `grain`. A loop is one range if `nanoseconds`, its estimated time on one thread, is too short to divide
/// it.
#[inline(always)]
pub(crate) fn parallel_ranges(units: usize, grain: usize, nanoseconds: usize, run: impl Fn(Range<usize>) + Sync) {
    if is_short(nanoseconds) { run(0..units) } else { run_ranges(units, grain, nanoseconds, &run) }
}

/// Whether a loop that takes `nanoseconds` on one thread is too short to divide between two. Callers test this first,
/// to avoid the call of [`part_count`].
#[inline(always)]
pub(crate) const fn is_short(nanoseconds: usize) -> bool {
    nanoseconds < 2 * MIN_PART_NANOSECONDS
}

fn run_ranges(units: usize, grain: usize, nanoseconds: usize, run: &(dyn Fn(Range<usize>) + Sync)) {
    let count = part_count(units.div_ceil(grain), nanoseconds, PARTS_PER_THREAD);
    if count == 1 {
        return run(0..units);
    }
    parallel_for(count, &|i| {
        let own = part_range(i, count, units, grain);
        if !own.is_empty() {
            run(own);
        }
    });
}

/// The number of parts per thread into which most loops are divided, unless the parts would be too short.
pub(crate) const PARTS_PER_THREAD: usize = 4;

/// The shortest time of a part, in nanoseconds: ten times the cost of handing it to a thread that is awake.
const MIN_PART_NANOSECONDS: usize = 10_000;

/// The number of parts into which a loop over `units` units, that takes `nanoseconds` on one thread, is divided.
///
/// It is 1 on a single thread. Otherwise there are `per_thread` parts for each thread, or fewer if a part would be
/// shorter than [`MIN_PART_NANOSECONDS`] or have less than one unit; at least 1.
///
/// Several parts per thread let idle threads take over the work of delayed ones.
pub(crate) fn part_count(units: usize, nanoseconds: usize, per_thread: usize) -> usize {
    let worth = (nanoseconds / MIN_PART_NANOSECONDS).min(units);
    // A short loop does not read the number of threads: in a tiny network the read would cost more than the loop.
    match if worth > 1 { threads() } else { 1 } {
        1 => 1,
        threads => (per_thread * threads).min(worth),
    }
}

/// Returns the range of part `i` when `0..units` is cut into `count` parts of about equal length at multiples of
/// `grain`. It can be empty.
pub(crate) fn part_range(i: usize, count: usize, units: usize, grain: usize) -> Range<usize> {
    let grains = units.div_ceil(grain);
    // `grains · i / count` without the product, which can overflow. The boundaries of parts never decrease.
    let (each, rest) = (grains / count, grains % count);
    let cut = |i: usize| (each * i + rest * i / count).saturating_mul(grain).min(units);
    cut(i)..cut(i + 1)
}

/// A mutable slice of which several threads write disjoint ranges.
pub(crate) struct SharedSlice<'a, T> {
    data: *mut T,
    len: usize,
    borrowed: PhantomData<&'a mut [T]>,
}

// SAFETY: it is a `&mut [T]`, which can be sent where `T` can.
unsafe impl<T: Send> Send for SharedSlice<'_, T> {}
// SAFETY: a reference to it gives mutable access by `slice_mut` alone, whose contract keeps the ranges disjoint. So
// sharing it is like sending the values.
unsafe impl<T: Send> Sync for SharedSlice<'_, T> {}

impl<'a, T> SharedSlice<'a, T> {
    pub fn new(data: &'a mut [T]) -> Self {
        SharedSlice { data: data.as_mut_ptr(), len: data.len(), borrowed: PhantomData }
    }

    /// A slice without values.
    pub(super) const EMPTY: Self =
        SharedSlice { data: core::ptr::NonNull::dangling().as_ptr(), len: 0, borrowed: PhantomData };

    /// Returns a second handle to this slice.
    pub(super) fn duplicate(&self) -> Self {
        SharedSlice { ..*self }
    }

    /// Returns the address of value `i` of the slice, for access to values that are not contiguous.
    ///
    /// # Panics
    /// If the slice has no value `i`.
    pub fn at(&self, i: usize) -> *mut T {
        assert!(i < self.len, "a thread's values must lie within the slice that is shared");
        self.data.wrapping_add(i)
    }

    /// Returns the values of the slice in `range`.
    ///
    /// # Panics
    /// If the range does not lie within the slice.
    ///
    /// # Safety
    /// During the use of the result, no other reference to any of these values is used.
    pub unsafe fn slice_mut(&self, range: Range<usize>) -> &'a mut [T] {
        let within = range.start <= range.end && range.end <= self.len;
        assert!(within, "a thread's values must lie within the slice that is shared");
        // SAFETY: the range lies within the slice, as asserted above, and the slice is borrowed for 'a. The rest is the
        // contract of this function.
        unsafe { core::slice::from_raw_parts_mut(self.data.add(range.start), range.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "std")]
    #[test]
    fn parallel_for_any_thread_count_runs_each_part_once() {
        for threads in 1..5 {
            let mut pool = thread_pool::ThreadPool::new(threads).unwrap();
            for count in 0..40 {
                let mut seen = std::vec![0u32; count * 3];
                let shared = SharedSlice::new(&mut seen);
                // SAFETY: the ranges of the parts are disjoint.
                let part = |i: usize| unsafe { shared.slice_mut(i * 3..i * 3 + 3) };
                pool.install(|| parallel_for(count, &|i| part(i).iter_mut().for_each(|n| *n += 1)));
                assert!(seen.iter().all(|&n| n == 1), "{threads} threads, {count} parts");
            }
        }
    }

    #[test]
    fn part_range_any_count_tiles_the_units_at_the_grain() {
        for (units, grain) in [(0, 8), (1, 8), (37, 8), (64, 16), (5, 1)] {
            for count in 1..6 {
                let mut next = 0;
                for i in 0..count {
                    let part = part_range(i, count, units, grain);
                    assert_eq!((part.start, part.start.is_multiple_of(grain) || part.start == units), (next, true));
                    next = part.end;
                }
                assert_eq!(next, units);
            }
        }
    }
}
