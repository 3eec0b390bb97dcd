//! Vector registers, from which the micro-kernel builds its tiles.

use super::is;
#[cfg(all(target_arch = "x86_64", feature = "std"))]
use super::{AVX2, AVX512, level};
use crate::scalar::Scalar;

/// The number of values of `T` in a vector register at the CPU level of this process. Without registers for `T` it is
/// 4, the length of the array used instead.
#[inline]
pub(super) fn lanes<T: Scalar>() -> usize {
    let bytes = if is::<T, f32>() || is::<T, f64>() { register() } else { 0 };
    if bytes > 0 { bytes / size_of::<T>() } else { 4 }
}

/// Returns the number of bytes of a vector register at the CPU level of this process; 0 at the baseline.
#[inline]
fn register() -> usize {
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    match level() {
        AVX512 => return 64,
        AVX2 => return 32,
        _ => {}
    }
    0
}

/// A register that holds [`LANES`](Self::LANES) values of `T`.
pub(super) trait Lanes<T>: Copy {
    /// The number of values in the register.
    const LANES: usize;

    /// Returns a register of zeros.
    ///
    /// # Safety
    /// The CPU has the instructions of the register, which holds values of `T`. The same applies to all methods.
    unsafe fn zero() -> Self;

    /// Loads the values at `from`.
    ///
    /// # Safety
    /// [`LANES`](Self::LANES) values can be read at `from`.
    unsafe fn load(from: *const T) -> Self;

    /// Loads the value at `from` into every lane.
    ///
    /// # Safety
    /// One value can be read at `from`.
    unsafe fn splat(from: *const T) -> Self;

    /// Computes `self · b + c`, fused unless the register is an array.
    ///
    /// # Safety
    /// The same as for [`zero`](Self::zero).
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;

    /// Computes `self + b`.
    ///
    /// # Safety
    /// The same as for [`zero`](Self::zero).
    unsafe fn add(self, b: Self) -> Self;

    /// Prefetches the cache line at `at`, which may be invalid, into the level-1 cache.
    ///
    /// # Safety
    /// The same as for [`zero`](Self::zero).
    unsafe fn prefetch(_at: *const T) {}

    /// Prefetches the cache line at `at`, which may be invalid, into the level-2 cache, for later use.
    ///
    /// # Safety
    /// The same as for [`zero`](Self::zero).
    unsafe fn prefetch_far(_at: *const T) {}

    /// Writes the values to `to`.
    ///
    /// # Safety
    /// [`LANES`](Self::LANES) values can be written at `to`.
    unsafe fn store(self, to: *mut T);
}

impl<T: Scalar, const N: usize> Lanes<T> for [T; N] {
    const LANES: usize = N;

    #[inline(always)]
    unsafe fn zero() -> Self {
        [T::zero(); N]
    }
    #[inline(always)]
    unsafe fn load(from: *const T) -> Self {
        // SAFETY: N values can be read at `from`; an array of `T` has the alignment of `T`.
        unsafe { from.cast::<Self>().read() }
    }
    #[inline(always)]
    unsafe fn splat(from: *const T) -> Self {
        // SAFETY: one value can be read at `from`.
        [unsafe { *from }; N]
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        core::array::from_fn(|i| self[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        core::array::from_fn(|i| self[i] + b[i])
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut T) {
        // SAFETY: N values can be written at `to`; an array of `T` has the alignment of `T`.
        unsafe { to.cast::<Self>().write(self) }
    }
}

#[cfg(all(target_arch = "x86_64", feature = "std"))]
macro_rules! register {
    ($register:ident, $element:ty, $lanes:literal, $zero:ident, $load:ident, $splat:ident, $fma:ident, $add:ident, $store:ident) => {
        impl<T: Scalar> Lanes<T> for core::arch::x86_64::$register {
            const LANES: usize = $lanes;

            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: the register exists.
                unsafe { core::arch::x86_64::$zero() }
            }
            #[inline(always)]
            unsafe fn load(from: *const T) -> Self {
                // SAFETY: the register exists, `T` is its element, and `$lanes` values can be read, at any alignment.
                unsafe { core::arch::x86_64::$load(from.cast::<$element>()) }
            }
            #[inline(always)]
            unsafe fn splat(from: *const T) -> Self {
                // SAFETY: the register exists, `T` is its element, and one can be read.
                unsafe { core::arch::x86_64::$splat(*from.cast::<$element>()) }
            }
            #[inline(always)]
            unsafe fn mul_add(self, b: Self, c: Self) -> Self {
                // SAFETY: the register and its FMA instruction exist.
                unsafe { core::arch::x86_64::$fma(self, b, c) }
            }
            #[inline(always)]
            unsafe fn add(self, b: Self) -> Self {
                // SAFETY: the register exists.
                unsafe { core::arch::x86_64::$add(self, b) }
            }
            #[inline(always)]
            unsafe fn prefetch(at: *const T) {
                use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
                // SAFETY: a prefetch reads nothing and may have any address.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
            }
            #[inline(always)]
            unsafe fn prefetch_far(at: *const T) {
                use core::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
                // SAFETY: as in `prefetch`.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut T) {
                // SAFETY: the register exists, `T` is its element, and `$lanes` values can be written, at any
                // alignment.
                unsafe { core::arch::x86_64::$store(to.cast::<$element>(), self) }
            }
        }
    };
}

#[cfg(all(target_arch = "x86_64", feature = "std"))]
mod machine {
    use super::{Lanes, Scalar};
    register!(
        __m512,
        f32,
        16,
        _mm512_setzero_ps,
        _mm512_loadu_ps,
        _mm512_set1_ps,
        _mm512_fmadd_ps,
        _mm512_add_ps,
        _mm512_storeu_ps
    );
    register!(
        __m512d,
        f64,
        8,
        _mm512_setzero_pd,
        _mm512_loadu_pd,
        _mm512_set1_pd,
        _mm512_fmadd_pd,
        _mm512_add_pd,
        _mm512_storeu_pd
    );
    register!(
        __m256,
        f32,
        8,
        _mm256_setzero_ps,
        _mm256_loadu_ps,
        _mm256_set1_ps,
        _mm256_fmadd_ps,
        _mm256_add_ps,
        _mm256_storeu_ps
    );
    register!(
        __m256d,
        f64,
        4,
        _mm256_setzero_pd,
        _mm256_loadu_pd,
        _mm256_set1_pd,
        _mm256_fmadd_pd,
        _mm256_add_pd,
        _mm256_storeu_pd
    );
}
