//! Blocks of a slice held in local arrays: a loop over several of them vectorises, however many slices there are.
//! Over the slices themselves it would not: the compiler gives up on proving that so many do not overlap.

use crate::scalar::Scalar;

/// Values in a block: an AVX-512 register of `f32`.
pub(crate) const LANES: usize = 16;

/// The block of `from` at `at`, with zeros past its end.
#[inline(always)]
pub(crate) fn take<T: Scalar>(from: &[T], at: usize) -> [T; LANES] {
    let mut block = [T::zero(); LANES];
    match from[at..].first_chunk::<LANES>() {
        Some(whole) => block = *whole,
        None => {
            for (block, &from) in block.iter_mut().zip(&from[at..]) {
                *block = from;
            }
        }
    }
    block
}

/// Writes a block to `to` at `at`, up to its end.
#[inline(always)]
pub(crate) fn put<T: Scalar>(to: &mut [T], at: usize, block: [T; LANES]) {
    match to[at..].first_chunk_mut::<LANES>() {
        Some(whole) => *whole = block,
        None => {
            for (to, block) in to[at..].iter_mut().zip(block) {
                *to = block;
            }
        }
    }
}
