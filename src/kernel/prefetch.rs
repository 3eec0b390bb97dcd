//! Memory that is asked for ahead of who needs it.
//!
//! Asked for at once, hundreds of lines stop the core as reading them would: it can wait for some two dozen at a time. The loop
//! of a tile has time for one at each inner index.

/// Pieces that can be asked for together.
const PIECES: usize = 3;

/// Asks for memory to be brought near while the next products are made on this thread, and no longer for what was asked for
/// before. A piece so large that others would have to go is not asked for.
#[inline]
pub(crate) fn ask<T>(pieces: [&[T]; PIECES]) {
    #[cfg(feature = "std")]
    asked::set(pieces.map(|x| (x.as_ptr().addr(), size_of_val(x))));
    #[cfg(not(feature = "std"))]
    let _ = pieces;
}

/// The address from which the next `lines` lines are to be prefetched, be there so many left of their piece or not; `None` where
/// nothing is asked for.
#[inline(always)]
pub(super) fn take(lines: usize) -> Option<usize> {
    #[cfg(feature = "std")]
    return asked::take(lines);
    #[cfg(not(feature = "std"))]
    {
        let _ = lines;
        None
    }
}

/// Asks at once for the few lines of so many values at `at`, wherever that is.
#[inline(always)]
pub(super) fn bring<T>(at: *const T, values: usize) {
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
mod asked {
    use super::PIECES;
    use crate::kernel::LINE;
    use core::cell::Cell;

    /// The most bytes that are asked for in one piece: a sixteenth of a level-2 cache of 1 MiB.
    pub(super) const MOST: usize = 64 * 1024;

    struct Asked {
        /// Where each piece goes on, and how many lines are left of it. Nobody reads by these addresses.
        pieces: [Cell<(usize, usize)>; PIECES],
        /// The first piece that is not done with.
        now: Cell<usize>,
    }

    std::thread_local! {
        static ASKED: Asked = const { Asked { pieces: [const { Cell::new((0, 0)) }; PIECES], now: Cell::new(PIECES) } };
    }

    pub(super) fn set(pieces: [(usize, usize); PIECES]) {
        ASKED.with(|asked| {
            for (piece, (at, bytes)) in asked.pieces.iter().zip(pieces) {
                piece.set((at, if bytes > MOST { 0 } else { bytes.div_ceil(LINE) }));
            }
            asked.now.set(0);
        });
    }

    #[inline(always)]
    pub(super) fn take(lines: usize) -> Option<usize> {
        ASKED.with(|asked| if asked.now.get() < PIECES { asked.next(lines) } else { None })
    }

    impl Asked {
        #[inline(never)]
        fn next(&self, lines: usize) -> Option<usize> {
            while let Some(piece) = self.pieces.get(self.now.get()) {
                let (at, left) = piece.get();
                if left > 0 {
                    piece.set((at.wrapping_add(lines * LINE), left.saturating_sub(lines)));
                    return Some(at);
                }
                self.now.set(self.now.get() + 1);
            }
            None
        }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::{super::LINE, asked::MOST, *};

    #[test]
    fn what_was_asked_for_is_given_piece_by_piece_once() {
        let (a, b, large) = ([0f64; 40], [0f64; 8], [0f64; MOST / 8 + 1]);
        let [at, bt] = [&a[..], &b].map(|x| x.as_ptr().addr());
        assert_eq!(take(4), None);
        ask([&a, &[], &b]);
        assert_eq!([take(2), take(2), take(2)], [Some(at), Some(at + 2 * LINE), Some(at + 4 * LINE)]);
        assert_eq!([take(7), take(1)], [Some(bt), None]);
        ask([&a, &a, &a]);
        ask([&large, &b, &[]]);
        assert_eq!([take(1), take(1)], [Some(bt), None]);
    }
}
