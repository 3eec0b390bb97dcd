//! Loops over slices of equal length.

use super::{
    Kernel, Level, dispatch,
    fused::{fused, fused_mut, fuses},
    lane::{LANES, put, take},
};
use crate::scalar::Scalar;

/// `y = f(x)`.
pub(crate) fn map<T: Scalar, F: Fn(T) -> T>(x: &[T], y: &mut [T], f: F) {
    struct Map<'a, T, F>(&'a [T], &'a mut [T], F);
    impl<T: Scalar, F: Fn(T) -> T> Kernel for Map<'_, T, F> {
        #[inline(always)]
        fn run<const LEVEL: Level>(self) {
            for (y, &x) in self.1.iter_mut().zip(self.0) {
                *y = (self.2)(x);
            }
        }
    }
    dispatch(Map(x, y, f));
}

/// `out = f(a, b)`.
pub(crate) fn map2<T: Scalar, F: Fn(T, T) -> T>(a: &[T], b: &[T], out: &mut [T], f: F) {
    struct Map2<'a, T, F>([&'a [T]; 2], &'a mut [T], F);
    impl<T: Scalar, F: Fn(T, T) -> T> Kernel for Map2<'_, T, F> {
        #[inline(always)]
        fn run<const LEVEL: Level>(self) {
            let [a, b] = self.0;
            for ((out, &a), &b) in self.1.iter_mut().zip(a).zip(b) {
                *out = (self.2)(a, b);
            }
        }
    }
    dispatch(Map2([a, b], out, f));
}

/// Something that can be computed from N values in any scalar: what a closure, which knows one type, cannot.
pub(crate) trait Formula<const N: usize> {
    fn at<T: Scalar>(&self, values: [T; N]) -> T;
}

/// `out = formula(a, b, …)`, with fused steps where the CPU has them.
pub(crate) fn apply<T: Scalar, F: Formula<N>, const N: usize>(inputs: [&[T]; N], out: &mut [T], formula: F) {
    struct Apply<'a, T, F, const N: usize>([&'a [T]; N], &'a mut [T], F);
    impl<T: Scalar, F: Formula<N>, const N: usize> Kernel for Apply<'_, T, F, N> {
        #[inline(always)]
        fn run<const LEVEL: Level>(self) {
            #[inline(always)]
            fn each<T: Scalar, F: Formula<N>, const N: usize>(inputs: [&[T]; N], out: &mut [T], formula: &F) {
                let inputs = inputs.map(|input| &input[..out.len()]);
                for (i, out) in out.iter_mut().enumerate() {
                    *out = formula.at(inputs.map(|input| input[i]));
                }
            }
            if fuses::<LEVEL, T>() {
                each(self.0.map(fused), fused_mut(self.1), &self.2);
            } else {
                each(self.0, self.1, &self.2);
            }
        }
    }
    dispatch(Apply(inputs, out, formula));
}

/// `y = f(y, x)`.
pub(crate) fn update<T: Scalar, F: Fn(T, T) -> T>(y: &mut [T], x: &[T], f: F) {
    struct Update<'a, T, F>(&'a mut [T], &'a [T], F);
    impl<T: Scalar, F: Fn(T, T) -> T> Kernel for Update<'_, T, F> {
        #[inline(always)]
        fn run<const LEVEL: Level>(self) {
            for (y, &x) in self.0.iter_mut().zip(self.1) {
                *y = (self.2)(*y, x);
            }
        }
    }
    dispatch(Update(y, x, f));
}

/// `(a, b, c) = f(a, b, c)`, block by block.
pub(crate) fn update3<T: Scalar, F: Fn(T, T, T) -> (T, T, T)>(a: &mut [T], b: &mut [T], c: &mut [T], f: F) {
    struct Update3<'a, T, F>([&'a mut [T]; 3], F);
    impl<T: Scalar, F: Fn(T, T, T) -> (T, T, T)> Kernel for Update3<'_, T, F> {
        #[inline(always)]
        fn run<const LEVEL: Level>(self) {
            let [a, b, c] = self.0;
            for at in (0..a.len()).step_by(LANES) {
                let (mut x, mut y, mut z) = (take(a, at), take(b, at), take(c, at));
                for j in 0..LANES {
                    (x[j], y[j], z[j]) = (self.1)(x[j], y[j], z[j]);
                }
                put(a, at, x);
                put(b, at, y);
                put(c, at, z);
            }
        }
    }
    dispatch(Update3([a, b, c], f));
}

/// Adds the sum of each column of `d`, \[rows, columns\], to `sums`, row after row.
pub(crate) fn add_column_sums<T: Scalar>(d: &[T], stride: usize, sums: &mut [T]) {
    struct Sums<'a, T>(&'a [T], usize, &'a mut [T]);
    impl<T: Scalar> Kernel for Sums<'_, T> {
        #[inline(always)]
        fn run<const LEVEL: Level>(self) {
            for row in self.0.chunks(self.1) {
                for (sum, &d) in self.2.iter_mut().zip(row) {
                    *sum += d;
                }
            }
        }
    }
    if !sums.is_empty() {
        dispatch(Sums(d, stride, sums));
    }
}
