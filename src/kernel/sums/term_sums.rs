use super::{GRAIN, ROWS, cascade::Cascade};
use crate::{
    kernel::{
        Kernel, Level, dispatch,
        parallel::{SharedSlice, parallel_ranges},
        register_block::{LANES, load_block, store_block},
        simd::Lanes,
    },
    scalar::Scalar,
};

/// Adds the sum of each column of a matrix of terms to `sums`. `terms(j)` yields, row by row, the values of the columns
/// `j..j + LANES`; those past the last column are ignored. `rows`, the number of rows, only serves to divide the work.
///
/// # Shapes
/// terms: \[rows, columns\]; sums: \[columns\].
pub(crate) fn add_sums<T, F, I>(rows: usize, sums: &mut [T], terms: F)
where
    T: Scalar,
    F: Fn(usize) -> I + Sync,
    I: Iterator<Item = [T; LANES]>,
{
    struct Sums<'a, T, F>(usize, &'a mut [T], &'a F);
    impl<T: Scalar, F: Fn(usize) -> I, I: Iterator<Item = [T; LANES]>> Kernel for Sums<'_, T, F> {
        type Element = T;

        #[inline(always)]
        fn run<const LEVEL: Level>(self) {
            let Sums(start, sums, terms) = self;
            for j in (0..sums.len()).step_by(LANES) {
                let mut terms = terms(start + j);
                // SAFETY: arrays exist at every level and hold any scalar.
                let sum = unsafe {
                    let (mut cascade, mut count) = (Cascade::<[T; LANES], 1>::new::<T>(), ROWS);
                    while count == ROWS {
                        let mut block = [T::zero(); LANES];
                        count = 0;
                        for term in terms.by_ref().take(ROWS) {
                            block = block.add(term);
                            count += 1;
                        }
                        cascade.add::<T>(&[block]);
                    }
                    cascade.total::<T>()[0].add(load_block(sums, j))
                };
                store_block(sums, j, sum);
            }
        }
    }
    let (len, sums) = (sums.len(), SharedSlice::new(sums));
    parallel_ranges(len, GRAIN, rows.saturating_mul(len) / 2, |own| {
        // SAFETY: `parallel_ranges` gives each sum to one call.
        dispatch(Sums(own.start, unsafe { sums.slice_mut(own) }, &terms));
    });
}

/// `Σ f(a, b)` over two slices of equal length, which are padded with zeros: `f(0, 0)` must be 0.
pub(crate) fn sum_of<T: Scalar>(a: &[T], b: &[T], f: impl Fn(T, T) -> T + Sync) -> T {
    let mut sums = [T::zero(); LANES];
    let rows = a.len().div_ceil(LANES);
    add_sums(rows, &mut sums, |_| {
        (0..rows).map(|row| {
            let (a, b) = (load_block::<_, LANES>(a, row * LANES), load_block::<_, LANES>(b, row * LANES));
            core::array::from_fn(|i| f(a[i], b[i]))
        })
    });
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            let upper = sums[i + half];
            sums[i] += upper;
        }
        half /= 2;
    }
    sums[0]
}
