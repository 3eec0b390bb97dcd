//! Tests of the matrix products.

use super::*;
use crate::kernel::sums::add_matrix_sums;
use alloc::{vec, vec::Vec};

fn entries(n: usize, seed: u64) -> Vec<f64> {
    (0..n as u64)
        .map(|i| ((i + 1) * (seed + 7)).wrapping_mul(0x9E37_79B9_7F4A_7C15) as f64 / u64::MAX as f64 - 0.5)
        .collect()
}

fn close(found: &[f64], expected: &[f64]) {
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() < 1e-12, "{f} is not {e}");
    }
}

/// Sizes of products, \[rows, columns, inner indices\], with tiles of every size and more inner indices than are summed
/// at once. The largest are left out under Miri, which interprets.
fn sizes() -> &'static [[usize; 3]] {
    const SIZES: &[[usize; 3]] = &[
        [1, 1, 1],
        [3, 5, 7],
        [8, 16, 4],
        [7, 15, 1],
        [2, 31, 3],
        [5, 33, 2],
        [9, 17, 33],
        [16, 32, 64],
        [4, 48, 1030],
        [11, 10, 2050],
    ];
    &SIZES[..if cfg!(miri) { 7 } else { 10 }]
}

#[test]
fn products_any_size_equal_the_triple_sum() {
    for &[m, n, k] in sizes() {
        let (x, w, mut scratch) =
            (entries(m * k, 1), entries(n * k, 2), vec![f64::NAN; gemm_tn_scratch_len::<f64>([m, n, k])]);
        let mut packed = vec![f64::NAN; packed_b_len::<f64>(n, k)];
        pack_transposed(&w, n, k, &mut packed);
        let mut c = vec![f64::NAN; m * n];
        let bias = entries(n, 3);
        gemm(Matrix::new(&x, k), PackedB::packed(&packed, n, k), m, &mut c, n, Epilogue::Bias(&bias));
        let expected: Vec<f64> = (0..m * n)
            .map(|e| bias[e % n] + (0..k).map(|p| x[e / n * k + p] * w[e % n * k + p]).sum::<f64>())
            .collect();
        close(&c, &expected);

        let d = entries(m * k, 4);
        let w = entries(k * n, 5);
        gemm_nn(Matrix::new(&d, k), &w, [m, k, n], &mut c, &mut packed);
        let expected: Vec<f64> =
            (0..m * n).map(|e| (0..k).map(|p| d[e / n * k + p] * w[p * n + e % n]).sum::<f64>()).collect();
        close(&c, &expected);

        let (d, x) = (entries(k * m, 6), entries(k * n, 7));
        let before = c.clone();
        gemm_tn(Matrix::new(&d, m), Matrix::new(&x, n), [m, n, k], &mut c, Epilogue::Accumulate, &mut scratch);
        let expected: Vec<f64> =
            (0..m * n).map(|e| before[e] + (0..k).map(|p| d[p * m + e / n] * x[p * n + e % n]).sum::<f64>()).collect();
        close(&c, &expected);
    }
}

fn panelwise<T: Scalar>() {
    let entries = |n, seed| entries(n, seed).into_iter().map(crate::scalar::scalar::<T>).collect::<Vec<T>>();
    let sizes = [[1, 264, 300], [37, 301, 263], [9, 31, 2050]];
    for [rows, outputs, inputs] in sizes.into_iter().take(if cfg!(miri) { 1 } else { 3 }) {
        let (x, w, bias) = (entries(rows * inputs, 1), entries(outputs * inputs, 2), entries(outputs, 3));
        let d = entries(rows * outputs, 4);
        let mut packed = vec![T::nan(); packed_b_len::<T>(outputs, inputs).max(packed_b_len::<T>(inputs, outputs))];
        let (mut whole, mut d_whole) = (vec![T::nan(); rows * outputs], vec![T::nan(); rows * inputs]);
        let right = pack_transposed(&w, outputs, inputs, &mut packed);
        gemm(Matrix::new(&x, inputs), right, rows, &mut whole, outputs, Epilogue::Bias(&bias));
        let right = pack(&w, outputs, inputs, &mut packed);
        gemm(Matrix::new(&d, outputs), right, rows, &mut d_whole, inputs, Epilogue::Overwrite);
        assert!(packs_panelwise::<T>(outputs, inputs) || outputs < 100);
        assert!(packs_panelwise::<T>(inputs, outputs));
        let mut by_panel = || {
            let (mut c, mut dx) = (vec![T::nan(); rows * outputs], vec![T::nan(); rows * inputs]);
            let (size, bias) = ([rows, outputs, inputs], Epilogue::Bias(&bias));
            packed.fill(T::nan());
            gemm_nt(Matrix::new(&x, inputs), &w, size, &mut c, bias, &mut packed);
            packed.fill(T::nan());
            gemm_nn(Matrix::new(&d, outputs), &w, size, &mut dx, &mut packed);
            assert!(c == whole && dx == d_whole, "{size:?}");
        };
        by_panel();
        #[cfg(feature = "std")]
        for threads in 2..4 {
            crate::kernel::thread_pool::ThreadPool::new(threads).unwrap().install(&mut by_panel);
        }
    }
}

#[test]
fn panelwise_products_have_the_bits_of_packed_products() {
    panelwise::<f32>();
    panelwise::<f64>();
}

#[test]
fn transposed_a_packed_once_has_the_same_bits_in_parts() {
    let (all, width, inputs) = (70, 90, 37);
    let (d, x) = (entries(all * width, 1), entries(all * inputs, 2));
    let mut scratch = vec![f64::NAN; 2 * gemm_tn_scratch_len::<f64>([width, inputs, all])];
    let mut product = |row: usize, column: usize, packs: bool| {
        let [rows, outputs] = [all - row, width - column];
        let (matrix, mut c) = (Matrix::new(&d[..], width), vec![f64::NAN; outputs * inputs]);
        let (columns, spare) = match packs {
            true => TransposedA::pack(matrix, [all, width], &mut scratch),
            false => (matrix.into(), &mut scratch[..]),
        };
        assert_eq!(columns.packed.is_some(), packs);
        let x = Matrix::new(&x[row * inputs..], inputs);
        gemm_tn(columns.part(row, column), x, [outputs, inputs, rows], &mut c, Epilogue::Overwrite, spare);
        c
    };
    let parts = [(40, 88), (69, 80), (0, 0), (1, 0), (0, 8), (13, 16)];
    for (row, column) in parts.into_iter().take(if cfg!(miri) { 2 } else { 6 }) {
        assert_eq!(product(row, column, true), product(row, column, false), "from {row}, {column}");
    }
}

#[test]
fn gemm_row_has_the_same_bits_in_any_batch() {
    for &[m, n, k] in sizes() {
        let (x, w) = (entries(m * k, 1), entries(n * k, 2));
        let x: Vec<f32> = x.iter().map(|&v| v as f32).collect();
        let w: Vec<f32> = w.iter().map(|&v| v as f32).collect();
        let mut packed = vec![0f32; packed_b_len::<f32>(n, k)];
        pack_transposed(&w, n, k, &mut packed);
        let (mut all, mut one) = (vec![0f32; m * n], vec![0f32; n]);
        gemm(Matrix::new(&x, k), PackedB::packed(&packed, n, k), m, &mut all, n, Epilogue::Overwrite);
        for i in 0..m {
            let row = Matrix::new(&x[i * k..][..k], k);
            gemm(row, PackedB::packed(&packed, n, k), 1, &mut one, n, Epilogue::Overwrite);
            assert_eq!(one, all[i * n..][..n], "row {i} of {m}");
        }
    }
}

fn single_row<T: Scalar>() {
    let entries = |n, seed| entries(n, seed).into_iter().map(crate::scalar::scalar::<T>).collect::<Vec<T>>();
    // Sizes around the limit of a tiny matrix, and one of more than KC inputs.
    let sizes = [[1, 1], [7, 3], [16, 16], [9, 40], [1, 300], [25, 25], [27, 30], [2, 256], [40, 60]];
    for [n, k] in sizes.into_iter().take(if cfg!(miri) { 5 } else { 9 }) {
        let (rows, x, w, bias) = (3, entries(3 * k, 1), entries(n * k, 2), entries(n, 3));
        let mut scratch = vec![T::nan(); packed_b_len::<T>(n, k)];
        for epilogue in [Epilogue::Overwrite, Epilogue::Bias(&bias)] {
            let (mut all, mut one) = (vec![T::nan(); rows * n], vec![T::nan(); n]);
            gemm_nt(Matrix::new(&x, k), &w, [rows, n, k], &mut all, epilogue, &mut scratch);
            for i in 0..rows {
                let row = Matrix::new(&x[i * k..], k);
                gemm_nt(row, &w, [1, n, k], &mut one, epilogue, &mut scratch);
                assert!(one == all[i * n..][..n], "row {i} of {n} × {k}");
            }
        }
        let w = entries(k * n, 4);
        let (mut all, mut one) = (vec![T::nan(); rows * n], vec![T::nan(); n]);
        gemm_nn(Matrix::new(&x, k), &w, [rows, k, n], &mut all, &mut scratch);
        for i in 0..rows {
            gemm_nn(Matrix::new(&x[i * k..], k), &w, [1, k, n], &mut one, &mut scratch);
            assert!(one == all[i * n..][..n], "row {i} of a transposed {k} × {n}");
        }
    }
}

#[test]
fn gemv_row_has_the_bits_of_a_batch() {
    single_row::<f32>();
    single_row::<f64>();
}

/// Returns `dᵀ x` over the rows from `first` to before the last of `ends`: the product of each shard by itself, added
/// along the binary tree of the shards. Shard s ends before row `ends[s]`.
fn tree_of_products(d: &[f64], x: &[f64], [m, n]: [usize; 2], first: usize, ends: &[usize]) -> Vec<f64> {
    if let [end] = *ends {
        let (rows, mut c) = (end - first, vec![f64::NAN; m * n]);
        let mut scratch = vec![f64::NAN; gemm_tn_scratch_len::<f64>([m, n, rows])];
        let [d, x] = [Matrix::new(&d[first * m..], m), Matrix::new(&x[first * n..], n)];
        gemm_tn(d, x, [m, n, rows], &mut c, Epilogue::Overwrite, &mut scratch);
        return c;
    }
    let (left, right) = ends.split_at(ends.len() / 2);
    let middle = left[left.len() - 1];
    let [left, right] =
        [(first, left), (middle, right)].map(|(first, ends)| tree_of_products(d, x, [m, n], first, ends));
    left.iter().zip(right).map(|(left, right)| left + right).collect()
}

#[test]
fn product_of_shards_has_the_bits_of_products_added_along_the_tree() {
    for size @ [m, n] in [[1, 1], [9, 17], [70, 264], [64, 24]].into_iter().take(if cfg!(miri) { 2 } else { 4 }) {
        for shards in [1, 2, 4, 8, 32] {
            // Some shards are empty.
            let ends: Vec<usize> = (0..shards).map(|i| 3 + (0..=i).map(|i| i * 7 % 11).sum::<usize>()).collect();
            let rows = ends[shards - 1];
            let (d, x, before) = (entries(rows * m, 1), entries(rows * n, 2), entries(m * n, 3));
            let mut scratch = vec![f64::NAN; gemm_tn_scratch_len::<f64>([m, n, rows])];
            let [left, right] = [Matrix::new(&d, m), Matrix::new(&x, n)];
            let tree = tree_of_products(&d, &x, size, 3, &ends);
            let mut c = before.clone();
            gemm_tn_of_shards([left, right], size, (3, &ends), &mut c, Epilogue::Overwrite, &mut scratch);
            assert_eq!(c, tree, "{size:?}, {shards} shards");
            c.copy_from_slice(&before);
            gemm_tn_of_shards([left, right], size, (3, &ends), &mut c, Epilogue::AddScaled(-0.5), &mut scratch);
            let expected: Vec<f64> = before.iter().zip(&tree).map(|(before, sum)| before + -0.5 * sum).collect();
            assert_eq!(c, expected, "{size:?}, {shards} shards");
        }
    }
}

#[test]
fn product_of_grouped_rows_has_the_bits_of_the_gathered_rows() {
    let sizes = [[9, 17, 3, 4], [3, 2, 4, 1], [70, 264, 5, 60], [64, 24, 1, 300]];
    for [m, n, group, groups] in sizes.into_iter().take(if cfg!(miri) { 2 } else { 4 }) {
        let (apart, rows) = (group + 2, group * groups);
        let gathered = |values: &[f64], width: usize| -> Vec<f64> {
            let row = |r: usize| &values[(r / group * apart + r % group) * width..][..width];
            (0..rows).flat_map(row).copied().collect()
        };
        let (d, x) = (entries(apart * groups * m, 1), entries(apart * groups * n, 2));
        let mut scratch = vec![f64::NAN; gemm_tn_scratch_len::<f64>([m, n, rows])];
        let [left, right] = [Matrix::grouped(&d, m, group, apart * m), Matrix::grouped(&x, n, group, apart * n)];
        let [mut c, mut expected] = [(); 2].map(|()| vec![f64::NAN; m * n]);
        gemm_tn(left, right, [m, n, rows], &mut c, Epilogue::Overwrite, &mut scratch);
        let (d, x) = (gathered(&d, m), gathered(&x, n));
        let [plain, other] = [Matrix::new(&d, m), Matrix::new(&x, n)];
        gemm_tn(plain, other, [m, n, rows], &mut expected, Epilogue::Overwrite, &mut scratch);
        assert_eq!(c, expected, "{rows} rows in groups of {group}");
        let [mut sums, mut expected] = [(); 2].map(|()| vec![0.0; m]);
        add_matrix_sums(left, rows, &mut sums);
        add_matrix_sums(plain, rows, &mut expected);
        assert_eq!(sums, expected, "{rows} rows in groups of {group}");
        // The last row would end beyond the values.
        assert!(left.holds([rows, m]) && !left.holds([rows + 1, m]) && !left.holds([rows, m + 1]));
    }
}
