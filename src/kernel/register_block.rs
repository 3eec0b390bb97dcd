//! Chunks of a slice in local arrays, called blocks here. A loop over such blocks vectorizes for any number of slices.
//!
//! A loop over many slices directly does not: the compiler cannot prove that they do not overlap.

use crate::scalar::Scalar;

/// The number of values in a block: an AVX-512 register of `f32`.
pub(crate) const LANES: usize = 16;

/// Runs `$body` for the values `0..$count`, of type `$number`, in blocks of `$lanes` values from index `$at`. The last
/// block may extend beyond `$count`. A block is one AVX-512 register, so that the values of a long body stay in
/// registers.
///
/// With two registers for a block of `f64`, values spill to memory, and an LSTM takes 7 % longer. With `$times`, a
/// block of `f32` has that many registers, except for blocks of one register at the end. This is for bodies of
/// several short loops, whose iterations the CPU overlaps.
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
            // The tail is processed register by register: a padded block would cost as much as a whole one.
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

/// The N values of `from` from index `at` on, with zeros past the end. Panics if `at` is above the length.
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

/// Writes `block` to `to` from index `at` on, up to the end of the slice. Panics if `at` is above the length.
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
