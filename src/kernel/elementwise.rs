//! Loops over slices of equal length.

use super::{
    Kernel, Level, dispatch,
    fused::{fused, fused_mut, fuses},
    lane::{LANES, put, take},
    team::{Shared, divide},
};
use crate::scalar::Scalar;

/// `y = f(x)`.
pub(crate) fn map<T: Scalar, F: Fn(T) -> T>(x: &[T], y: &mut [T], f: F) {
    struct Map<'a, T, F>(&'a [T], &'a mut [T], F);
    impl<T: Scalar, F: Fn(T) -> T> Kernel for Map<'_, T, F> {
        type Element = T;

        #[inline(always)]
        fn run<const LEVEL: Level>(self) {
            for (y, &x) in self.1.iter_mut().zip(self.0) {
                *y = (self.2)(x);
            }
        }
    }
    dispatch(Map(x, y, f));
}

/// Values that stay on one thread: some lines of memory.
const GRAIN: usize = 256;

/// `out = f(a, b)`.
pub(crate) fn map2<T: Scalar, F: Fn(T, T) -> T + Sync>(a: &[T], b: &[T], out: &mut [T], f: F) {
    struct Map2<'a, T, F>([&'a [T]; 2], &'a mut [T], &'a F);
    impl<T: Scalar, F: Fn(T, T) -> T> Kernel for Map2<'_, T, F> {
        type Element = T;

        #[inline(always)]
        fn run<const LEVEL: Level>(self) {
            let [a, b] = self.0;
            for ((out, &a), &b) in self.1.iter_mut().zip(a).zip(b) {
                *out = (self.2)(a, b);
            }
        }
    }
    let (len, out) = (out.len(), Shared::new(out));
    divide(len, GRAIN, len / 4, |own| {
        // SAFETY: each value is one thread's.
        let out = unsafe { out.take(own.clone()) };
        dispatch(Map2([&a[own.clone()], &b[own]], out, &f));
    });
}

/// Something that can be computed from N values in any scalar: what a closure, which knows one type, cannot.
pub(crate) trait Formula<const N: usize>: Sync {
    fn at<T: Scalar>(&self, values: [T; N]) -> T;
}

/// `out = formula(a, b, …)`, with fused steps where the CPU has them. The loop owns its formula: what it knows would be read
/// again after each value that is written, if it were behind a reference, and no loop with a parameter would vectorise.
pub(crate) fn apply<T: Scalar, F: Formula<N> + Clone, const N: usize>(inputs: [&[T]; N], out: &mut [T], formula: F) {
    struct Apply<'a, T, F, const N: usize>([&'a [T]; N], &'a mut [T], F);
    impl<T: Scalar, F: Formula<N>, const N: usize> Kernel for Apply<'_, T, F, N> {
        type Element = T;

        #[inline(always)]
        fn run<const LEVEL: Level>(self) {
            #[inline(always)]
            fn each<T: Scalar, F: Formula<N>, const N: usize>(inputs: [&[T]; N], out: &mut [T], formula: F) {
                let whole = out.len() - out.len() % (4 * LANES);
                let inputs_of_whole = inputs.map(|input| &input[..whole]);
                for (i, out) in out[..whole].iter_mut().enumerate() {
                    *out = formula.at(inputs_of_whole.map(|input| input[i]));
                }
                // That loop takes four registers at a time, and would run what is left value by value.
                for at in (whole..out.len()).step_by(LANES) {
                    let blocks: [[T; LANES]; N] = core::array::from_fn(|k| take(inputs[k], at));
                    let mut results = [T::zero(); LANES];
                    for j in 0..LANES {
                        results[j] = formula.at(core::array::from_fn(|k| blocks[k][j]));
                    }
                    put(out, at, results);
                }
            }
            if fuses::<LEVEL, T>() {
                each(self.0.map(fused), fused_mut(self.1), self.2);
            } else {
                each(self.0, self.1, self.2);
            }
        }
    }
    let (len, out) = (out.len(), Shared::new(out));
    divide(len, GRAIN, len, |own| {
        // SAFETY: each value is one thread's.
        let out = unsafe { out.take(own.clone()) };
        dispatch(Apply(inputs.map(|input| &input[own.clone()]), out, formula.clone()));
    });
}

/// `y = f(y, x)`. What `f` knows it should own: behind a reference it would be read again after each value that is written.
pub(crate) fn update<T: Scalar, F: Fn(T, T) -> T + Copy + Sync>(y: &mut [T], x: &[T], f: F) {
    struct Update<'a, T, F>(&'a mut [T], &'a [T], F);
    impl<T: Scalar, F: Fn(T, T) -> T> Kernel for Update<'_, T, F> {
        type Element = T;

        #[inline(always)]
        fn run<const LEVEL: Level>(self) {
            for (y, &x) in self.0.iter_mut().zip(self.1) {
                *y = (self.2)(*y, x);
            }
        }
    }
    let (len, y) = (y.len(), Shared::new(y));
    divide(len, GRAIN, len / 4, |own| {
        // SAFETY: each value is one thread's.
        let y = unsafe { y.take(own.clone()) };
        dispatch(Update(y, &x[own], f));
    });
}

/// `y = factor · y`.
pub(crate) fn scale<T: Scalar>(y: &mut [T], factor: T) {
    struct Scale<'a, T>(&'a mut [T], T);
    impl<T: Scalar> Kernel for Scale<'_, T> {
        type Element = T;

        #[inline(always)]
        fn run<const LEVEL: Level>(self) {
            for y in self.0 {
                *y = self.1 * *y;
            }
        }
    }
    let (len, y) = (y.len(), Shared::new(y));
    divide(len, GRAIN, len / 4, |own| {
        // SAFETY: each value is one thread's.
        dispatch(Scale(unsafe { y.take(own) }, factor));
    });
}

/// `(a, b, c) = f(a, b, c)`, block by block.
pub(crate) fn update3<T: Scalar, F: Fn(T, T, T) -> (T, T, T) + Copy + Sync>(
    a: &mut [T],
    b: &mut [T],
    c: &mut [T],
    f: F,
) {
    struct Update3<'a, T, F>([&'a mut [T]; 3], F);
    impl<T: Scalar, F: Fn(T, T, T) -> (T, T, T)> Kernel for Update3<'_, T, F> {
        type Element = T;

        #[inline(always)]
        fn run<const LEVEL: Level>(self) {
            let [a, b, c] = self.0;
            for at in (0..a.len()).step_by(LANES) {
                let (mut x, mut y, mut z) = (take::<_, LANES>(a, at), take::<_, LANES>(b, at), take::<_, LANES>(c, at));
                for j in 0..LANES {
                    (x[j], y[j], z[j]) = (self.1)(x[j], y[j], z[j]);
                }
                put(a, at, x);
                put(b, at, y);
                put(c, at, z);
            }
        }
    }
    let (len, abc) = (a.len(), [a, b, c].map(Shared::new));
    divide(len, GRAIN, len, |own| {
        // SAFETY: each value is one thread's.
        dispatch(Update3(abc.each_ref().map(|slice| unsafe { slice.take(own.clone()) }), f));
    });
}

/// Adds the sum of each column of `d`, \[rows, columns\], to `sums`, row after row.
pub(crate) fn add_column_sums<T: Scalar>(d: &[T], stride: usize, sums: &mut [T]) {
    /// Rows at a stride, of which the first values are summed.
    struct Sums<'a, T>(&'a [T], usize, &'a mut [T]);
    impl<T: Scalar> Kernel for Sums<'_, T> {
        type Element = T;

        #[inline(always)]
        fn run<const LEVEL: Level>(self) {
            for row in self.0.chunks(self.1) {
                for (sum, &d) in self.2.iter_mut().zip(row) {
                    *sum += d;
                }
            }
        }
    }
    let (rows, len, sums) = (d.len() / stride.max(1), sums.len(), Shared::new(sums));
    divide(len, GRAIN, rows * len / 8, |own| {
        // SAFETY: each column is one thread's.
        let sums = unsafe { sums.take(own.clone()) };
        dispatch(Sums(&d[own.start..], stride, sums));
    });
}
