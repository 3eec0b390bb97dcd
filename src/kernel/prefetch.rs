//! Software prefetch of memory that later kernels read.
//!
//! Hundreds of prefetches at once stall the core as reads do: it can have about two dozen cache lines in flight. So the
//! micro-kernel prefetches one line of the requested ranges at each inner index.

/// The number of ranges in one request.
const RANGES: usize = 3;

/// Requests that the next products on this thread prefetch the memory of `ranges`. The call replaces the previous
/// request.
///
/// A range of more than 64 KiB is skipped: it would evict other data.
#[inline]
pub(crate) fn request<T>(ranges: [&[T]; RANGES]) {
    #[cfg(feature = "std")]
    requested::set(ranges.map(|x| (x.as_ptr().addr(), size_of_val(x))));
    #[cfg(not(feature = "std"))]
    let _ = ranges;
}

/// Removes the next `lines` cache lines of a range from the request of this thread, and returns the address of the
/// first. Ranges are taken in order; `None` if no line is left.
///
/// The requested range may end before the last of these lines.
#[inline(always)]
pub(super) fn next(lines: usize) -> Option<usize> {
    #[cfg(feature = "std")]
    return requested::next(lines);
    #[cfg(not(feature = "std"))]
    {
        let _ = lines;
        None
    }
}

/// Immediately prefetches the cache lines of `values` values from `at` on into the level-2 cache. The address may be
/// invalid.
#[inline(always)]
pub(super) fn prefetch_lines<T>(at: *const T, values: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..values * size_of::<T>()).step_by(super::LINE) {
        use core::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a prefetch reads nothing and may have any address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast::<i8>().wrapping_add(line)) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (at, values);
}

#[cfg(feature = "std")]
mod requested {
    use super::RANGES;
    use crate::kernel::LINE;
    use core::cell::Cell;

    /// The largest range that is prefetched, in bytes: a sixteenth of a level-2 cache of 1 MiB.
    pub(super) const MAX_BYTES: usize = 64 * 1024;

    struct Requested {
        /// For each requested range, the next address to prefetch, and the number of its remaining cache lines. The
        /// addresses are never dereferenced.
        ranges: [Cell<(usize, usize)>; RANGES],
        /// The index of the first range that may have cache lines left to prefetch; [`RANGES`] if none has.
        current: Cell<usize>,
    }

    std::thread_local! {
        static REQUESTED: Requested =
            const { Requested { ranges: [const { Cell::new((0, 0)) }; RANGES], current: Cell::new(RANGES) } };
    }

    pub(super) fn set(ranges: [(usize, usize); RANGES]) {
        REQUESTED.with(|requested| {
            for (range, (at, bytes)) in requested.ranges.iter().zip(ranges) {
                range.set((at, if bytes > MAX_BYTES { 0 } else { bytes.div_ceil(LINE) }));
            }
            requested.current.set(0);
        });
    }

    #[inline(always)]
    pub(super) fn next(lines: usize) -> Option<usize> {
        REQUESTED.with(|requested| if requested.current.get() < RANGES { requested.next(lines) } else { None })
    }

    impl Requested {
        #[inline(never)]
        fn next(&self, lines: usize) -> Option<usize> {
            while let Some(range) = self.ranges.get(self.current.get()) {
                let (at, left) = range.get();
                if left > 0 {
                    range.set((at.wrapping_add(lines * LINE), left.saturating_sub(lines)));
                    return Some(at);
                }
                self.current.set(self.current.get() + 1);
            }
            None
        }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::{super::LINE, requested::MAX_BYTES, *};

    #[test]
    fn request_of_several_ranges_yields_each_line_once_in_order() {
        let (a, b, large) = ([0f64; 40], [0f64; 8], [0f64; MAX_BYTES / 8 + 1]);
        let [at, bt] = [&a[..], &b].map(|x| x.as_ptr().addr());
        assert_eq!(next(4), None);
        request([&a, &[], &b]);
        assert_eq!([next(2), next(2), next(2)], [Some(at), Some(at + 2 * LINE), Some(at + 4 * LINE)]);
        assert_eq!([next(7), next(1)], [Some(bt), None]);
        request([&a, &a, &a]);
        request([&large, &b, &[]]);
        assert_eq!([next(1), next(1)], [Some(bt), None]);
    }
}
