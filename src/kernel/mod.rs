//! Products, reductions and elementwise loops: the only place for `unsafe`.
//!
//! A kernel is written once, for any scalar. For scalars of one word it is compiled for each CPU level (baseline,
//! AVX2, AVX-512), and runs at the best level of the machine. Within a level, an element of a result depends on its
//! row and column alone, not on the tile that computes it. So a batch gives the same bits for any division of its
//! rows.
#![allow(unsafe_code)]

use core::any::TypeId;

pub(crate) mod aligned;
pub(crate) mod elementwise;
pub(crate) mod fused;
pub(crate) mod gemm;
#[cfg(all(test, feature = "std"))]
mod hostile;
pub(crate) mod parallel;
pub(crate) mod prefetch;
pub(crate) mod reduce;
pub(crate) mod register_block;
pub(crate) mod row_chain;
mod simd;
pub(crate) mod step_rows;
pub(crate) mod sums;
pub(crate) mod thread_pool;
#[cfg(feature = "std")]
mod ticket;

/// The number of bytes of a cache line, and of the widest register.
const LINE: usize = 64;

/// A CPU level: 0 is the baseline of the target, 1 is AVX2 with FMA, 2 is AVX-512.
type Level = u8;
const PLAIN: Level = 0;
#[cfg(all(target_arch = "x86_64", feature = "std"))]
const AVX2: Level = 1;
#[cfg(all(target_arch = "x86_64", feature = "std"))]
const AVX512: Level = 2;

/// A loop that is compiled for each CPU level. `run` and all functions that it calls must be inlined.
///
/// Each level is compiled by a trait method (`plain`, `avx2`, `avx512`), not by a free function. So the compiler puts
/// the machine code into the codegen unit of the implementing type, and codegen units compile in parallel.
pub(crate) trait Kernel: Sized {
    /// The type of the numbers in the slices of the kernel.
    type Element;

    fn run<const LEVEL: Level>(self);

    fn plain(self) {
        self.run::<PLAIN>();
    }

    /// Runs the kernel with AVX2 and FMA.
    ///
    /// # Safety
    /// The CPU has AVX2 and FMA.
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(self) {
        self.run::<AVX2>();
    }

    /// Runs the kernel with AVX-512.
    ///
    /// # Safety
    /// The CPU has AVX2, FMA, and AVX-512 F, DQ, VL and BW.
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")]
    unsafe fn avx512(self) {
        self.run::<AVX512>();
    }
}

/// Runs `kernel` at the CPU level of this process. Kernels over dual and 16-bit numbers run at the baseline of the
/// target.
#[inline]
pub(crate) fn dispatch<K: Kernel>(kernel: K) {
    // Dual numbers have several words and 16-bit numbers are computed in software. Both gain nothing from wider
    // registers, so no code is compiled for them.
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    if const { size_of::<K::Element>() == align_of::<K::Element>() && size_of::<K::Element>() >= 4 } {
        match level() {
            // SAFETY: `read` below sets AVX512 only where it detects every feature in the contract of `avx512`.
            AVX512 => return unsafe { kernel.avx512() },
            // SAFETY: `read` below sets AVX2 only where it detects both features in the contract of `avx2`.
            AVX2 => return unsafe { kernel.avx2() },
            _ => {}
        }
    }
    kernel.plain();
}

/// The CPU level at which the kernels of this process run. The first call fixes it, and the machine supports it.
#[cfg(all(target_arch = "x86_64", feature = "std"))]
#[inline(always)]
fn level() -> Level {
    use crate::cpu::CpuLevel;
    use core::sync::atomic::{AtomicU8, Ordering::Relaxed};
    const UNKNOWN: Level = u8::MAX;
    static FOUND: AtomicU8 = AtomicU8::new(UNKNOWN);
    #[cold]
    fn read() -> Level {
        use std::is_x86_feature_detected as has;
        // The unsafe calls of `dispatch` rely on this test, not on that of the level's own module.
        let narrow = has!("avx2") && has!("fma");
        let wide = narrow && has!("avx512f") && has!("avx512dq") && has!("avx512vl") && has!("avx512bw");
        let level = match crate::cpu::level() {
            CpuLevel::Avx512 if wide => AVX512,
            CpuLevel::Avx2 | CpuLevel::Avx512 if narrow => AVX2,
            _ => PLAIN,
        };
        FOUND.store(level, Relaxed);
        level
    }
    match FOUND.load(Relaxed) {
        UNKNOWN => read(),
        level => level,
    }
}

/// Whether rows × columns values, in rows `stride` values apart, lie within `len` values and do not overlap.
///
/// The computation does not overflow. If the result is true, `row · stride + column` is below `len` for every row and
/// column.
#[inline(always)]
const fn fits([rows, columns]: [usize; 2], stride: usize, len: usize) -> bool {
    if rows == 0 || columns == 0 {
        return true;
    }
    match (rows - 1).checked_mul(stride) {
        Some(last) => columns <= stride && last <= len && columns <= len - last,
        None => false,
    }
}

/// Panics unless rows × columns values of `what`, in rows `stride` values apart, [fit](fits) into its `len` values.
#[inline(always)]
fn require(what: &'static str, size: [usize; 2], stride: usize, len: usize) {
    if !fits(size, stride, len) {
        refuse(what, size, stride, len);
    }
}

/// Panics with a message that the `len` values of `what` do not hold rows × columns values, in rows `stride` values
/// apart.
#[cold]
#[inline(never)]
fn refuse(what: &'static str, [rows, columns]: [usize; 2], stride: usize, len: usize) -> ! {
    panic!("{what} must hold {rows} × {columns} values in rows {stride} apart, but has {len} values");
}

/// Panics unless all `lengths` are equal. `what` is the formula that the message names.
#[inline(always)]
fn require_equal<const N: usize>(what: &'static str, lengths: [usize; N]) {
    #[cold]
    #[inline(never)]
    fn refuse(what: &'static str, lengths: &[usize]) -> ! {
        panic!("{what} must have slices of equal length, but they have {lengths:?} values");
    }
    if lengths.iter().any(|&length| length != lengths[0]) {
        refuse(what, &lengths);
    }
}

/// Whether `T` and `U` are the same type.
#[inline(always)]
fn is<T: 'static, U: 'static>() -> bool {
    TypeId::of::<T>() == TypeId::of::<U>()
}
