//! Tests every kernel with sizes that its slices do not hold, including sizes whose product overflows. Each call must
//! panic before any access.

use super::{
    elementwise::{descend, map, map2, update3},
    fused::Fused,
    sums::add_column_sums,
};
use super::{
    gemm::{
        Epilogue, Matrix, PackedB, TransposedA, gemm, gemm_nn, gemm_nt, gemm_tn, gemm_tn_of_shards,
        gemm_tn_scratch_len, pack, pack_transposed, packed_b_len, transpose::transpose,
    },
    parallel::{SharedSlice, parallel_for, part_range},
    row_chain::{ChainBuffers, Direction, Widths, parallel_chain, parallel_segments},
    step_rows::{StepRows, StepStorage, Steps, parallel_rows},
    thread_pool::ThreadPool,
};
use crate::{batch_shape::BatchShape, scalar::Scalar};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    string::String,
    vec,
    vec::Vec,
};

const MAX: usize = usize::MAX;
const HIGH: usize = 1 << (usize::BITS - 1);
/// A number whose product with 3 wraps to 32.
const THIRD: usize = MAX / 3 + 11;

const SIZES: [usize; 12] = [0, 1, 2, 3, 9, HIGH, HIGH + 1, HIGH / 2, MAX, MAX - 7, MAX / 2, THIRD];

/// The length of each slice that a kernel receives.
const LEN: usize = 32;

/// Whether `len` values hold rows × columns values.
fn within(len: usize, rows: usize, columns: usize) -> bool {
    (rows as u128) * (columns as u128) <= len as u128
}

/// The message of the panic of `call`; `None` if it returns.
fn message(call: impl FnOnce()) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(call)).err()?;
    let text = panic.downcast_ref::<&str>().map(|&text| text.into());
    Some(text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default())
}

/// Asserts that a `legal` call returns, and that any other panics with a message that states the broken rule. `what`
/// and `size` name the call in a failed assertion.
fn check(legal: bool, what: &str, size: &[usize], call: impl FnOnce()) {
    match message(call) {
        None => assert!(legal, "{what} of {size:?} returns"),
        Some(message) => {
            assert!(!legal, "{what} of {size:?}: {message}");
            assert!(message.contains("must"), "{what} of {size:?} names no rule: {message}");
        }
    }
}

fn sizes() -> impl Iterator<Item = [usize; 3]> {
    SIZES.into_iter().flat_map(|a| SIZES.into_iter().flat_map(move |b| SIZES.map(|c| [a, b, c])))
}

fn products<T: Scalar>() {
    assert_eq!(THIRD.wrapping_mul(3), LEN);
    let (a, b) = (vec![T::one(); LEN], vec![T::one(); LEN]);
    let (mut c, mut scratch) = (vec![T::zero(); LEN], vec![T::zero(); 4096]);
    for size @ [rows, outputs, inputs] in sizes() {
        let [x, w, y] = [within(LEN, rows, inputs), within(LEN, outputs, inputs), within(LEN, rows, outputs)];
        // A product without rows or columns reads no value.
        let legal = |columns| w && (rows == 0 || columns == 0 || x && y);
        check(legal(outputs), "x W\u{1d40}", &size, || {
            gemm_nt(Matrix::new(&a, inputs), &b, size, &mut c, Epilogue::Overwrite, &mut scratch);
        });
        check(legal(inputs), "d W", &size, || {
            gemm_nn(Matrix::new(&a, outputs), &b, size, &mut c, &mut scratch);
        });
        let empty = outputs == 0 || inputs == 0;
        // Two shards, of which the second has no rows. A call with more than 256 rows, those of one block, panics.
        check(x && y && (empty || w) && rows <= 256, "d\u{1d40} x of shards", &size, || {
            let both = [Matrix::new(&a, outputs), Matrix::new(&b, inputs)];
            let ends = (0, &[rows, rows][..]);
            gemm_tn_of_shards(both, [outputs, inputs], ends, &mut c, Epilogue::Accumulate, &mut scratch);
        });
        check(x && y && (empty || w), "d\u{1d40} x", &size, || {
            let (d, x) = (Matrix::new(&a, outputs), Matrix::new(&b, inputs));
            gemm_tn(d, x, [outputs, inputs, rows], &mut c, Epilogue::Accumulate, &mut scratch);
        });
        let panels = packed_b_len::<T>(outputs, inputs);
        assert!(panels as u128 >= outputs as u128 * inputs as u128 || panels > MAX / 2, "{size:?}");
        let values = gemm_tn_scratch_len::<T>(size);
        assert!(values > MAX / 2 || values as u128 >= inputs.min(256) as u128 * rows as u128, "{size:?}");
        check(panels <= 4096, "a packed factor", &size, || {
            _ = PackedB::packed(&scratch, outputs, inputs);
        });
        check(w && panels <= 4096, "packing", &size, || {
            pack_transposed(&b, outputs, inputs, &mut scratch);
        });
        if inputs > 0 && outputs > 0 {
            check(w, "packing as it is", &size, || {
                pack(&b, outputs, inputs, &mut scratch);
            });
        }
        let last = inputs.saturating_sub(1) as u128 * rows as u128;
        let legal = w && outputs <= rows && last + outputs as u128 <= LEN as u128;
        check(outputs == 0 || inputs == 0 || legal, "transposition", &size, || {
            transpose(Matrix::new(&a, inputs), [outputs, inputs], &mut c, rows);
        });
    }
    // A factor and a result whose stride makes an index wrap.
    for size @ [rows, inner, stride] in sizes() {
        let columns = 3;
        let packed = packed_b_len::<T>(columns, inner);
        if packed > scratch.len() {
            continue;
        }
        let spans = |columns: usize| {
            rows == 0 || columns == 0 || { (rows - 1) as u128 * stride as u128 + columns as u128 <= LEN as u128 }
        };
        check(rows == 0 || spans(inner) && spans(columns) && columns <= stride, "rows far apart", &size, || {
            let right = PackedB::packed(&scratch, columns, inner);
            gemm(Matrix::new(&a, stride), right, rows, &mut c, stride, Epilogue::Overwrite);
        });
    }
    for [row, column, _] in sizes() {
        let (columns, rest) = TransposedA::pack(Matrix::new(&a, 4), [8, 4], &mut scratch);
        assert!(!rest.is_empty());
        let legal = row as u128 * 4 + column as u128 + 16 <= LEN as u128;
        let mut spare = vec![T::zero(); 4096];
        let found = message(|| {
            let x = Matrix::new(&b, 4);
            gemm_tn(columns.part(row, column), x, [4, 4, 4], &mut c, Epilogue::Overwrite, &mut spare);
        });
        assert_eq!(found.is_none(), legal, "{row} rows and {column} columns skipped");
    }
    for size @ [stride, len, _] in sizes().filter(|size| size[1] <= LEN && size[2] == 0) {
        check(len <= stride.max(1), "sums of columns", &size, || add_column_sums(&a, stride, &mut c[..len]));
    }
}

#[test]
fn products_with_slices_too_short_panic() {
    products::<f32>();
    products::<f64>();
    products::<Fused<f64>>();
}

#[test]
fn elementwise_slices_of_unequal_length_panic() {
    let x = [1.0; 5];
    for len in [0, 4, 6] {
        let (mut y, mut z) = (vec![0.0; len], [0.0; 5]);
        check(false, "map", &[len], || map(&x, &mut y, |x| x));
        check(false, "map2", &[len], || map2(&x, &x, &mut y, |x, _| x));
        check(false, "descend", &[len], || descend(&mut y, 1.0, &x));
        check(false, "update3", &[len], || update3(&mut z, &mut x.clone(), &mut y, |a, b, c| (a, b, c)));
    }
}

#[test]
fn steps_of_contradictory_shape_panics() {
    let of = |batch: usize, steps: usize, lengths: Option<&'static [usize]>| BatchShape { batch, steps, lengths };
    for (legal, shape) in [
        (true, of(3, 5, Some(&[5, 2, 2]))),
        (true, of(3, 5, None)),
        (false, of(0, 5, None)),
        (false, of(3, 2, Some(&[2, 5, 2]))),
        (false, of(2, 5, Some(&[5, 2, 2]))),
        (false, of(4, 5, Some(&[5, 2, 2]))),
        (false, of(3, 4, Some(&[5, 2, 2]))),
        (false, of(0, 0, Some(&[]))),
        (false, of(2, HIGH, None)),
        (false, of(2, MAX, Some(&[MAX, 1]))),
    ] {
        let found = message(|| _ = Steps::new(shape));
        assert_eq!(found.is_none(), legal, "{shape:?}: {found:?}");
    }
}

#[test]
fn step_rows_with_too_few_values_panics() {
    for size @ [batch, steps, width] in sizes().filter(|&[batch, steps, _]| batch > 0 && within(MAX, batch, steps)) {
        let (mut data, time) = (vec![0; LEN], Steps::new(BatchShape::sequences(batch, steps)));
        check(within(LEN, batch * steps, width), "every step", &size, || {
            StepRows::new(&mut data, width, time, StepStorage::EveryStep);
        });
        check(within(LEN, batch, width), "a row a sample", &size, || {
            StepRows::per_sample(&mut data, width, time);
        });
    }
}

#[test]
fn parallel_rows_with_matrix_too_short_panics() {
    for [rows, width, _] in sizes().filter(|size| size[2] == 0) {
        let mut data = [0; LEN];
        check(within(LEN, rows, width), "rows", &[rows, width], || {
            parallel_rows([3, rows, 8], [(&mut data[..], width)], &mut [], |_, _, _: &mut [i32]| ());
        });
    }
}

#[test]
fn parallel_chain_with_sizes_that_wrap_panics() {
    for [width, rows, beside] in sizes().filter(|size| size[1] > 0) {
        let Some(end) = width.checked_add(2) else { continue };
        let (all, beside) = ([0, 2, end], [0, beside]);
        let widths = Widths { all: &all, stored: &all, saved: &beside };
        let (given, mut kept, mut seen) = (vec![0; LEN], vec![0; LEN], vec![0; LEN]);
        let legal = within(LEN, rows, 2) && within(LEN, rows, width) && within(LEN, rows, beside[1]);
        let found = message(|| {
            let made = ChainBuffers { stored: &mut kept, temporary: [&mut [], &mut []], saved: &mut seen };
            parallel_chain([3, rows], widths, Direction::Forward, &given, made, &mut [], |_, _| ());
        });
        assert_eq!(
            found.is_none(),
            legal || width == 0 && beside[1] == 0 && within(LEN, rows, 2),
            "{all:?} {beside:?}"
        );
    }
    for starts in [&[][..], &[3, 1], &[0, MAX], &[0, HIGH, MAX]] {
        assert!(message(|| parallel_segments(2, starts, &mut [0; 9], &mut [], |_, _, _| ())).is_some(), "{starts:?}");
    }
}

#[test]
fn part_range_up_to_usize_max_tiles_the_units() {
    for units in SIZES {
        for (count, grain) in [(1, 1), (3, 8), (7, 1), (64, 256)] {
            let mut next = 0;
            for i in 0..count {
                let part = part_range(i, count, units, grain);
                assert!(part.start == next && part.end >= next, "{part:?} of {units}");
                next = part.end;
            }
            assert_eq!(next, units);
        }
    }
}

#[test]
fn shared_slice_range_out_of_bounds_panics() {
    let mut data = [0; 4];
    let shared = SharedSlice::new(&mut data);
    for (start, end) in [(0, 5), (5, 5), (3, 2), (MAX, 1), (0, MAX)] {
        // SAFETY: no reference exists, as each range is refused.
        assert!(message(|| _ = unsafe { shared.slice_mut(start..end) }).is_some(), "{start}..{end}");
    }
    assert!(message(|| _ = shared.at(4)).is_some());
}

/// A value whose `Drop` panics, unless the thread is already panicking.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped");
        }
    }
}

#[test]
fn pool_after_a_panic_with_a_payload_that_panics_on_drop_runs_the_next_job() {
    for threads in [1, 4] {
        let mut pool = ThreadPool::new(threads).unwrap();
        for bad in 0..8 {
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.install(|| {
                    parallel_for(8, &|i| {
                        if i >= bad {
                            std::panic::panic_any(Bomb)
                        }
                    })
                });
            }));
            let panic = result.expect_err("a part panicked");
            assert!(panic.is::<Bomb>());
            core::mem::forget(panic);
            let seen: Vec<_> = (0..8).map(|_| core::sync::atomic::AtomicBool::new(false)).collect();
            pool.install(|| parallel_for(8, &|i| seen[i].store(true, core::sync::atomic::Ordering::Relaxed)));
            assert!(seen.into_iter().all(|seen| seen.into_inner()));
        }
    }
}
