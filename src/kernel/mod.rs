//! Products, reductions and elementwise loops: the only place for `unsafe`.
//!
//! A kernel is written once, for any scalar. It is compiled for each CPU level, where its numbers are single words, and run
//! at the best one the machine has. Within a level an element of a result depends on nothing but its own row and
//! column, never on the tile it fell into: a batch gives the same bits however it is split.
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

/// Bytes of a line of the cache, and of the widest register.
const LINE: usize = 64;

/// A CPU level: 0 is what the target guarantees, 1 is AVX2 with FMA, 2 is AVX-512.
type Level = u8;
const PLAIN: Level = 0;
#[cfg(all(target_arch = "x86_64", feature = "std"))]
const AVX2: Level = 1;
#[cfg(all(target_arch = "x86_64", feature = "std"))]
const AVX512: Level = 2;

/// A loop that is compiled for each CPU level; `run` and all it calls are to be inlined.
///
/// The levels are methods, not functions: so they are compiled beside the type they are of, several modules at once.
pub(crate) trait Kernel: Sized {
    /// What its loops are over.
    type Element;

    fn run<const LEVEL: Level>(self);

    fn plain(self) {
        self.run::<PLAIN>();
    }

    /// # Safety
    /// The CPU has AVX2 and FMA.
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(self) {
        self.run::<AVX2>();
    }

    /// # Safety
    /// The CPU has what [`avx2`](Self::avx2) asks for, and AVX-512 F, DQ, VL and BW.
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")]
    unsafe fn avx512(self) {
        self.run::<AVX512>();
    }
}

/// Runs `kernel` at the level of this process.
#[inline]
pub(crate) fn dispatch<K: Kernel>(kernel: K) {
    // Numbers of several words, such as dual ones, and those computed in software, of 16 bits, gain nothing from wider
    // registers and are not compiled for them.
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    if const { size_of::<K::Element>() == align_of::<K::Element>() && size_of::<K::Element>() >= 4 } {
        match level() {
            // SAFETY: `level` is AVX512 only where every feature that `avx512` asks for was detected.
            AVX512 => return unsafe { kernel.avx512() },
            // SAFETY: `level` is AVX2 only where both features that `avx2` asks for were detected.
            AVX2 => return unsafe { kernel.avx2() },
            _ => {}
        }
    }
    kernel.plain();
}

/// The level of this process. It never changes, and is one that the machine has.
#[cfg(all(target_arch = "x86_64", feature = "std"))]
#[inline(always)]
fn level() -> Level {
    use crate::cpu::CpuLevel;
    use core::sync::atomic::{AtomicU8, Ordering::Relaxed};
    const UNKNOWN: Level = u8::MAX;
    static FOUND: AtomicU8 = AtomicU8::new(UNKNOWN);
    #[cold]
    fn read() -> Level {
        let level = match crate::cpu::level() {
            CpuLevel::Plain => PLAIN,
            CpuLevel::Avx2 => AVX2,
            CpuLevel::Avx512 => AVX512,
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
/// Nothing wraps: where it holds, `row · stride + column` is below `len` for every row and column.
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

/// Panics with the law that `what` breaks.
#[cold]
#[inline(never)]
fn refuse(what: &'static str, [rows, columns]: [usize; 2], stride: usize, len: usize) -> ! {
    panic!("{what} must hold {rows} × {columns} values in rows {stride} apart, but has {len} values");
}

/// Panics unless all lengths are the same.
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

/// Whether `T` is `U`.
#[inline(always)]
fn is<T: 'static, U: 'static>() -> bool {
    TypeId::of::<T>() == TypeId::of::<U>()
}
