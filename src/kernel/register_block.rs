//! Blocks of a slice held in local arrays: a loop over several of them vectorises, however many slices there are.
//! Over the slices themselves it would not: the compiler gives up on proving that so many do not overlap.

use crate::scalar::Scalar;

/// Values in a block: an AVX-512 register of `f32`.
pub(crate) const LANES: usize = 16;

/// Runs a body for each block of so many values: as many as fill an AVX-512 register, so that all that a long body holds
/// stays in registers. With two for each block of `f64` it does not, and an LSTM takes 7 % longer. `times` as many of `f32` are
/// for a body of several loops: each is short enough for the CPU to have many of its rounds on their way at once.
macro_rules! by_blocks {
    ($number:ty, $lanes:ident, $at:ident in $count:expr, $body:block) => {
        if const { size_of::<$number>() > size_of::<f32>() } {
            const $lanes: usize = $crate::kernel::register_block::LANES / 2;
            for $at in (0..$count).step_by($lanes) $body
        } else {
            const $lanes: usize = $crate::kernel::register_block::LANES;
            for $at in (0..$count).step_by($lanes) $body
        }
    };
    ($number:ty, $times:literal, $lanes:ident, $at:ident in $count:expr, $body:block) => {
        if const { size_of::<$number>() > size_of::<f32>() } {
            const $lanes: usize = $crate::kernel::register_block::LANES / 2;
            for $at in (0..$count).step_by($lanes) $body
        } else {
            // What no whole block is left of goes by registers: a block that is filled up costs as much as a whole one.
            let whole = $count - $count % ($times * $crate::kernel::register_block::LANES);
            {
                const $lanes: usize = $times * $crate::kernel::register_block::LANES;
                for $at in (0..whole).step_by($lanes) $body
            }
            const $lanes: usize = $crate::kernel::register_block::LANES;
            for $at in (whole..$count).step_by($lanes) $body
        }
    };
}
pub(crate) use by_blocks;

/// The block of `from` at `at`, with zeros past its end.
#[inline(always)]
pub(crate) fn load_block<T: Scalar, const N: usize>(from: &[T], at: usize) -> [T; N] {
    let mut block = [T::zero(); N];
    match from[at..].first_chunk::<N>() {
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
pub(crate) fn store_block<T: Scalar, const N: usize>(to: &mut [T], at: usize, block: [T; N]) {
    match to[at..].first_chunk_mut::<N>() {
        Some(whole) => *whole = block,
        None => {
            for (to, block) in to[at..].iter_mut().zip(block) {
                *to = block;
            }
        }
    }
}
