//! Loops over slices of equal length.

use super::{
    Kernel, Level, dispatch,
    fused::{fused, fused_each, fuses},
    require_equal,
};
use super::{
    parallel::{SharedSlice, parallel_ranges},
    register_block::{LANES, load_block, store_block},
};
use crate::scalar::Scalar;

/// Computes `y = f(x)`, value by value. Panics on slices of unequal length.
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
    require_equal("y = f(x)", [x.len(), y.len()]);
    dispatch(Map(x, y, f));
}

/// A loop is divided among threads at multiples of this number of values: several cache lines.
const GRAIN: usize = 256;

/// Computes `out = f(a, b)`, value by value. Panics on slices of unequal length.
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
    require_equal("out = f(a, b)", [a.len(), b.len(), out.len()]);
    let (len, out) = (out.len(), SharedSlice::new(out));
    parallel_ranges(len, GRAIN, len / 2, |own| {
        // SAFETY: `parallel_ranges` gives each value to one call.
        let out = unsafe { out.slice_mut(own.clone()) };
        dispatch(Map2([&a[own.clone()], &b[own]], out, &f));
    });
}

/// A function that computes N values from one number of any scalar type. A closure has one argument type, so it cannot
/// replace this trait.
pub(crate) trait Formula<const N: usize>: Sync {
    fn at<T: Scalar>(&self, x: T) -> [T; N];
}

/// Computes `(a, b, …) = formula(x)` for each value of `x`, with fused multiply-adds if the CPU has them. `outs[k]`
/// receives result k of every value. Panics unless each has the length of `x`.
///
/// The loop owns its formula. Through a reference, the parameters would be read again after each write, and the loop
/// would not vectorize.
pub(crate) fn apply<T: Scalar, F: Formula<N> + Clone, const N: usize>(x: &[T], mut outs: [&mut [T]; N], formula: F) {
    struct Apply<'a, T, F, const N: usize>(&'a [T], [&'a mut [T]; N], F);
    impl<T: Scalar, F: Formula<N>, const N: usize> Kernel for Apply<'_, T, F, N> {
        type Element = T;

        #[inline(always)]
        fn run<const LEVEL: Level>(self) {
            #[inline(always)]
            fn each<T: Scalar, F: Formula<N>, const N: usize>(x: &[T], mut outs: [&mut [T]; N], formula: F) {
                // The loop below processes four registers at a time, and would process its remainder value by value.
                let whole = x.len() - x.len() % (4 * LANES);
                for at in (whole..x.len()).step_by(LANES) {
                    let (block, mut results) = (load_block::<_, LANES>(x, at), [[T::zero(); LANES]; N]);
                    for j in 0..LANES {
                        let values = formula.at(block[j]);
                        for k in 0..N {
                            results[k][j] = values[k];
                        }
                    }
                    for k in 0..N {
                        store_block(outs[k], at, results[k]);
                    }
                }
                for out in &mut outs {
                    *out = &mut core::mem::take(out)[..whole];
                }
                for (i, &x) in x[..whole].iter().enumerate() {
                    let results = formula.at(x);
                    for k in 0..N {
                        outs[k][i] = results[k];
                    }
                }
            }
            if fuses::<LEVEL, T>() {
                each(fused(self.0), fused_each(self.1), self.2);
            } else {
                each(self.0, self.1, self.2);
            }
        }
    }
    const fn none<'a, T>() -> &'a mut [T] {
        &mut []
    }
    // `for` loops instead of `map`, which is compiled again for each formula.
    let mut shared = [const { SharedSlice::EMPTY }; N];
    for k in 0..N {
        require_equal("out = f(x)", [x.len(), outs[k].len()]);
        shared[k] = SharedSlice::new(core::mem::take(&mut outs[k]));
    }
    parallel_ranges(x.len(), GRAIN, x.len(), |own| {
        let mut outs = [const { none() }; N];
        for k in 0..N {
            // SAFETY: `parallel_ranges` gives each value to one call.
            outs[k] = unsafe { shared[k].slice_mut(own.clone()) };
        }
        dispatch(Apply(&x[own], outs, formula.clone()));
    });
}

/// Computes `y = f(y, x)`, value by value. Panics on slices of unequal length. `f` should own its parameters: through a
/// reference, they are read again after each write.
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
    require_equal("y = f(y, x)", [x.len(), y.len()]);
    let (len, y) = (y.len(), SharedSlice::new(y));
    parallel_ranges(len, GRAIN, len / 2, |own| {
        // SAFETY: `parallel_ranges` gives each value to one call.
        let y = unsafe { y.slice_mut(own.clone()) };
        dispatch(Update(y, &x[own], f));
    });
}

/// Computes `w ← w − η g` with η = `rate`, an update by plain gradient descent, as `w + (−η) g`. Panics on
/// slices of unequal length.
pub(crate) fn descend<T: Scalar>(w: &mut [T], rate: T, g: &[T]) {
    update(w, g, move |w, g| w + -rate * g);
}

/// Multiplies each value of `y` by `factor`, in place.
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
    let (len, y) = (y.len(), SharedSlice::new(y));
    parallel_ranges(len, GRAIN, len / 4, |own| {
        // SAFETY: `parallel_ranges` gives each value to one call.
        dispatch(Scale(unsafe { y.slice_mut(own) }, factor));
    });
}

/// Computes `(a, b, c) = f(a, b, c)`, value by value, on chunks of [`LANES`] values in local arrays. Panics on slices
/// of unequal length.
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
                let (mut x, mut y, mut z) =
                    (load_block::<_, LANES>(a, at), load_block::<_, LANES>(b, at), load_block::<_, LANES>(c, at));
                for j in 0..LANES {
                    (x[j], y[j], z[j]) = (self.1)(x[j], y[j], z[j]);
                }
                store_block(a, at, x);
                store_block(b, at, y);
                store_block(c, at, z);
            }
        }
    }
    require_equal("(a, b, c) = f(a, b, c)", [a.len(), b.len(), c.len()]);
    let (len, abc) = (a.len(), [a, b, c].map(SharedSlice::new));
    parallel_ranges(len, GRAIN, len, |own| {
        // SAFETY: `parallel_ranges` gives each value of each slice to one call.
        dispatch(Update3(abc.each_ref().map(|slice| unsafe { slice.slice_mut(own.clone()) }), f));
    });
}
