//! Memory that is asked for while a product is made, for who comes after it.
//!
//! Asked for at once, hundreds of lines stop the core as reading them would: it can wait for some two dozen at a time. The loop
//! of a tile has time for one at each inner index.

use super::LINE;

/// The most that is asked for in one piece: a sixteenth of a level-2 cache of 1 MiB.
const MOST: usize = 64 * 1024;

/// Pieces that can be asked for together.
const PIECES: usize = 3;

/// Lines of memory from an address, which nobody reads by.
#[derive(Clone, Copy)]
struct Piece {
    at: usize,
    lines: usize,
}

impl Piece {
    const NONE: Self = Piece { at: 0, lines: 0 };
}

/// Asks for memory to be brought near while the next products are made on this thread, and no longer for what was asked for
/// before. A piece so large that others would have to go is not asked for.
#[inline]
pub(crate) fn ask<T>(pieces: [&[T]; PIECES]) {
    let pieces = pieces.map(|x| match (x.as_ptr().addr(), size_of_val(x)) {
        (_, bytes) if bytes > MOST => Piece::NONE,
        (at, bytes) => Piece { at, lines: bytes.div_ceil(LINE) },
    });
    #[cfg(feature = "std")]
    asked::set(pieces);
    #[cfg(not(feature = "std"))]
    let _ = pieces;
}

/// The address from which the next `lines` lines are to be prefetched; `None` where nothing is asked for.
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

#[cfg(feature = "std")]
mod asked {
    use super::{LINE, PIECES, Piece};
    use core::cell::Cell;

    struct Asked {
        pieces: [Cell<Piece>; PIECES],
        /// The first piece that is not done with.
        now: Cell<usize>,
    }

    std::thread_local! {
        static ASKED: Asked =
            const { Asked { pieces: [const { Cell::new(Piece::NONE) }; PIECES], now: Cell::new(PIECES) } };
    }

    pub(super) fn set(pieces: [Piece; PIECES]) {
        ASKED.with(|asked| {
            for (to, piece) in asked.pieces.iter().zip(pieces) {
                to.set(piece);
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
                let Piece { at, lines: left } = piece.get();
                if left > 0 {
                    piece.set(Piece { at: at + lines * LINE, lines: left.saturating_sub(lines) });
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
    use super::*;

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
