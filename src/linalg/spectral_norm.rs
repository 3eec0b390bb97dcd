//! An upper bound on the spectral norm (largest singular value) of a matrix.

use super::Upper;
use crate::{
    kernel::gemm::{Epilogue, Matrix, gemm, gemm_tn, gemm_tn_scratch_len, pack, pack_transposed, packed_b_len},
    scalar::{Scalar, to_f64},
};
use alloc::{vec, vec::Vec};
use num_traits::Float;

/// Maximum number of squarings of the Gram matrix; after them the bound is returned as it is. Each squaring halves
/// the logarithm of the ratio of bound and norm. For a thousand equal singular values, 24 squarings leave a relative
/// excess of 1e-7.
const SQUARINGS: usize = 24;

/// The squarings end when one of them lowers the bound by less than this fraction of the bound. They also end when
/// the bound on the norm of the last matrix exceeds a lower bound on it by at most this fraction.
const WORTH: f64 = 1e-9;

/// An upper bound on the spectral norm of a matrix, `‖W‖₂ ≤ bound`, that accounts for every rounding error.
///
/// Gram iteration: `G_0 = WᵀW` (or `WWᵀ`, if that is smaller), `G_{k+1} = G_k²`. The bound
/// `‖W‖₂ = ‖G_k‖₂^(1/2^(k+1)) ≤ ‖G_k‖_F^(1/2^(k+1))` falls towards `‖W‖₂` with each squaring.
///
/// The error of an entry of a computed product is at most `γ_n |A||B|`, `γ_n = nε/(1 − nε)`, for any order of
/// summation (Higham 2002, §3.5). Hence `‖G_k‖₂² ≤ ‖fl(G_k²)‖₂ + γ_n ‖G_k‖_F²`. These
/// inequalities are applied from the last matrix to the first, each operation rounded up. The relative excess over
/// `‖W‖₂` is about 1e-9 if the iteration converges, and below 1e-6 otherwise, for up to some thousands of
/// columns.
///
/// Entries are converted to `f64`. The bound is 0 for a matrix without nonzero entries. It is infinite if an entry is
/// not finite or `values` has fewer than rows × columns entries.
///
/// Source: Delattre, Barthélemy, Araujo & Allauzen, ICML 2023 (Gram iteration). The rounding analysis is this crate's.
///
/// # Shapes
/// values: \[rows, columns\].
///
/// ```
/// use chainrule::linalg::spectral_norm_bound;
/// let bound = spectral_norm_bound(&[3.0f32, 0.0, 4.0, 5.0], 2, 2); // singular values √45 and √5
/// assert!(bound >= 45f64.sqrt() && bound < 45f64.sqrt() * (1.0 + 1e-9));
/// ```
pub fn spectral_norm_bound<T: Scalar>(values: &[T], rows: usize, columns: usize) -> f64 {
    if rows == 0 || columns == 0 {
        return 0.0;
    }
    let Some(values) = rows.checked_mul(columns).and_then(|count| values.get(..count)) else { return f64::INFINITY };
    let mut w: Vec<f64> = values.iter().map(|&value| to_f64(value)).collect();
    if w.iter().any(|value| !value.is_finite()) {
        return f64::INFINITY;
    }
    let Some(scale) = normalize(&mut w) else { return 0.0 };
    let (n, inner) = (rows.min(columns), rows.max(columns));
    let square = frobenius_square(&w);
    let mut levels = vec![Level { square, norm: square.sqrt(), power: 0, slack: slack(inner) }];
    let (mut gram, mut next, mut packed) =
        (vec![0.0; n * n], vec![0.0; n * n], vec![0.0; packed_b_len::<f64>(n, inner)]);
    if columns <= rows {
        let w = Matrix::new(&w, columns);
        gemm_tn(
            w,
            w,
            [n, n, rows],
            &mut gram,
            Epilogue::Accumulate,
            &mut vec![0.0; gemm_tn_scratch_len::<f64>([n, n, rows])],
        );
    } else {
        let right = pack_transposed(&w, n, columns, &mut packed);
        gemm(Matrix::new(&w, columns), right, n, &mut gram, n, Epilogue::Overwrite);
    }
    let mut before = f64::INFINITY;
    for _ in 0..=SQUARINGS {
        mirror(&mut gram, n);
        let Some(power) = normalize(&mut gram) else { break };
        let level = Level::of(&gram, n, power);
        // Each squaring at least halves the logarithm of the excess of the bound, so what is left of the excess is
        // at most the last decrease. The largest row norm of G_k is a lower bound on ‖G_k‖₂.
        let frobenius = bound(&levels, Level { norm: level.square.sqrt(), ..level }).get();
        let exact = level.norm.get() <= longest_row(&gram, n) * (1.0 + WORTH);
        levels.push(level);
        if exact || before - frobenius < WORTH * frobenius {
            break;
        }
        before = frobenius;
        let right = pack(&gram, n, n, &mut packed);
        gemm(Matrix::new(&gram, n), right, n, &mut next, n, Epilogue::Overwrite);
        core::mem::swap(&mut gram, &mut next);
    }
    let last = levels.pop();
    last.map_or(f64::INFINITY, |last| bound(&levels, last).scaled(scale).get())
}

/// Upper bounds on the norms of a matrix A of the Gram iteration: W, its Gram matrix `WᵀW` or `WWᵀ`, or the square
/// of the matrix before. Each is divided by the power of two that brings its largest |entry| into \[1, 2).
#[derive(Clone, Copy)]
struct Level {
    /// Upper bound on `‖A‖_F²`, the squared Frobenius norm of this level's matrix A.
    square: Upper,
    /// Upper bound on the spectral norm `‖A‖₂` of this level's matrix A: the smaller of the Frobenius norm and the
    /// largest sum of |entries| of a row.
    norm: Upper,
    /// Binary exponent of the divisor of this level's matrix A: `A · 2^power` is the computed product of the previous
    /// level's matrix with itself. 0 for W, the matrix whose norm is bounded.
    power: i32,
    /// Upper bound on the relative rounding error of an entry of the matrix of the next level. That matrix is the
    /// square of this level's matrix, or the Gram matrix of W, whose norm is bounded.
    slack: Upper,
}

impl Level {
    fn of(gram: &[f64], n: usize, power: i32) -> Self {
        let (square, slack) = (frobenius_square(gram), slack(n));
        let sums = gram.chunks(n).map(|row| row.iter().fold(0.0, |sum, g| sum + g.abs()));
        let row_sum = Upper::of(sums.fold(0.0, f64::max)) * (Upper::ONE + slack);
        Level { square, norm: square.sqrt().min(row_sum), power, slack }
    }
}

/// Upper bound on the spectral norm of the first matrix of `levels`, divided by its power of two. Each matrix is
/// followed by its square (W by its Gram matrix). `last` bounds the matrix after the last of `levels`.
fn bound(levels: &[Level], last: Level) -> Upper {
    let back = |after: Level, level: &Level| {
        let norm = (after.norm.scaled(after.power) + level.slack * level.square).sqrt();
        Level { norm: norm.min(level.norm), ..*level }
    };
    levels.iter().rev().fold(last, back).norm
}

/// Upper bound on the relative rounding error of a sum of `n` products: `γ = (n + 2)ε / (1 − (n + 2)ε)` with ε =
/// 2⁻⁵², twice the unit roundoff.
///
/// The largest entry of a normalized matrix is in \[1, 2), so the two extra terms also cover underflow.
fn slack(n: usize) -> Upper {
    let share = (n + 2) as f64 * f64::EPSILON;
    // From 2⁵¹ terms on, the formula is not a bound.
    Upper::of(if share < 0.5 { share } else { f64::INFINITY }).over(1.0 - share)
}

/// Upper bound on the sum of the squares of `values`.
fn frobenius_square(values: &[f64]) -> Upper {
    let sum = values.iter().fold(0.0, |sum, value| sum + value * value);
    Upper::of(sum) * (Upper::ONE + slack(values.len()))
}

/// Divides `values` by the power of two that brings the largest |value| into \[1, 2), and returns the exponent. `None`
/// if all are zero.
fn normalize(values: &mut [f64]) -> Option<i32> {
    let largest = values.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    if largest == 0.0 {
        return None;
    }
    let power = libm::frexp(largest).1 - 1;
    // The power is applied as two factors, because 2^−power can overflow.
    let (half, rest) = (libm::ldexp(1.0, -power / 2), libm::ldexp(1.0, -power - -power / 2));
    values.iter_mut().for_each(|value| *value = *value * half * rest);
    Some(power)
}

/// Copies the entries of the `n` × `n` `matrix` below the diagonal to the places above it: a computed Gram matrix
/// may be asymmetric, the exact one is not.
fn mirror(matrix: &mut [f64], n: usize) {
    for i in 0..n {
        for j in 0..i {
            matrix[j * n + i] = matrix[i * n + j];
        }
    }
}

/// The largest 2-norm of the rows of `matrix`, each of `n` values.
fn longest_row(matrix: &[f64], n: usize) -> f64 {
    let square = |row: &[f64]| row.iter().fold(0.0, |sum, value| sum + value * value);
    Float::sqrt(matrix.chunks(n).map(square).fold(0.0, f64::max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns `count` pseudo-random values in [−1, 1), each a function of `seed` and its index (splitmix64).
    fn random(count: usize, seed: u64) -> Vec<f64> {
        let value = |i: usize| {
            let mut z = (seed << 20).wrapping_add(i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        };
        (0..count).map(value).collect()
    }

    /// A lower bound on the largest singular value, by power iteration on WᵀW.
    fn from_below(w: &[f64], columns: usize, iterations: usize) -> f64 {
        let mut v = random(columns, 99);
        let mut sigma = 0.0;
        for _ in 0..iterations {
            let length = v.iter().map(|v| v * v).sum::<f64>().sqrt();
            let u: Vec<f64> =
                w.chunks(columns).map(|row| row.iter().zip(&v).map(|(w, v)| w * v).sum::<f64>() / length).collect();
            sigma = u.iter().map(|u| u * u).sum::<f64>().sqrt();
            v.fill(0.0);
            for (row, u) in w.chunks(columns).zip(u) {
                v.iter_mut().zip(row).for_each(|(v, w)| *v += u * w);
            }
        }
        sigma
    }

    /// A random orthogonal matrix: rows orthonormalized by two rounds of Gram–Schmidt.
    fn orthogonal(n: usize, seed: u64) -> Vec<f64> {
        let mut q = random(n * n, seed);
        for i in 0..n {
            for _ in 0..2 {
                for j in 0..i {
                    let dot: f64 = (0..n).map(|k| q[i * n + k] * q[j * n + k]).sum();
                    (0..n).for_each(|k| q[i * n + k] -= dot * q[j * n + k]);
                }
                let length = (0..n).map(|k| q[i * n + k].powi(2)).sum::<f64>().sqrt();
                (0..n).for_each(|k| q[i * n + k] /= length);
            }
        }
        q
    }

    /// The matrix `Q diag(values) P` with random orthogonal Q and P: its singular values are `values`.
    fn with_values(values: &[f64], seed: u64) -> Vec<f64> {
        let n = values.len();
        let (q, p) = (orthogonal(n, seed), orthogonal(n, seed + 1));
        (0..n * n).map(|e| (0..n).map(|k| q[e / n * n + k] * values[k] * p[k * n + e % n]).sum()).collect()
    }

    fn assert_tight(w: &[f64], rows: usize, columns: usize, sigma: f64, below: f64, above: f64) -> f64 {
        let bound = spectral_norm_bound(w, rows, columns);
        assert!(bound >= sigma * (1.0 - below), "{bound:e} < {sigma:e}");
        assert!(bound <= sigma * (1.0 + above), "{bound:e} exceeds {sigma:e} by {:e}", bound / sigma - 1.0);
        bound / sigma - 1.0
    }

    #[test]
    fn spectral_norm_bound_of_diagonal_and_rank_1_matrices_is_tight() {
        for scale in [1.0, 1e300, 1e-300, 5e-324 * 4096.0] {
            // Exact: a diagonal; the factors of a rank-1 matrix are small integers.
            let diagonal: Vec<f64> = (0..25).map(|e| if e % 6 == 0 { (e / 6) as f64 * scale } else { 0.0 }).collect();
            assert_tight(&diagonal, 5, 5, 4.0 * scale, 0.0, if scale > 1e-310 { 1e-12 } else { 1e-3 });
            let rank_1: Vec<f64> =
                (0..12).map(|e| ((e / 4) as f64 + 1.0) * (2.0 * (e % 4) as f64 - 3.0) * scale).collect();
            let sigma = 280f64.sqrt() * scale; // (1 + 4 + 9)(9 + 1 + 1 + 9)
            assert_tight(&rank_1, 3, 4, sigma, 1e-15, if scale > 1e-310 { 1e-9 } else { 1e-3 });
            assert_tight(
                &rank_1,
                4,
                3,
                from_below(&rank_1.iter().map(|w| w / scale).collect::<Vec<_>>(), 3, 999) * scale,
                if scale > 1e-310 { 1e-15 } else { 1e-3 },
                if scale > 1e-310 { 1e-9 } else { 1e-3 },
            );
        }
        assert_tight(&[1e300, 1e-300, -1e-300, 1e-5], 2, 2, 1e300, 0.0, 1e-12);
        assert_eq!(spectral_norm_bound(&[f64::MAX; 4], 2, 2), f64::INFINITY);
    }

    #[test]
    fn spectral_norm_bound_with_rounding_errors_stays_above() {
        // Rank 1 with integer factors: σ² = ‖u‖²‖v‖² is an integer, and compared without rounding.
        for (rows, columns, bits) in [(1, 30, 45), (30, 1, 45), (6, 5, 22), (5, 9, 22)] {
            for seed in 0..100 {
                let integers = |count: usize, seed| -> Vec<i64> {
                    random(count, seed).iter().map(|value| (value * (1u64 << bits) as f64) as i64).collect()
                };
                let (u, v) = (integers(rows, 2 * seed), integers(columns, 2 * seed + 1));
                let (u, v) = (if rows == 1 { vec![1] } else { u }, if columns == 1 { vec![1] } else { v });
                let w: Vec<f64> = u.iter().flat_map(|u| v.iter().map(move |v| (u * v) as f64)).collect();
                let square = |x: &[i64]| x.iter().map(|x| u128::from(x.unsigned_abs()).pow(2)).sum::<u128>();
                let bound = (spectral_norm_bound(&w, rows, columns) * 256.0).floor() as u128;
                assert!(
                    bound.pow(2) + 2 * bound + 1 >= (square(&u) * square(&v)) << 16,
                    "{rows} × {columns}, seed {seed}"
                );
            }
        }
    }

    #[test]
    fn spectral_norm_bound_of_equal_singular_values_is_tight() {
        for n in [1, 2, 7, 64] {
            assert_tight(&orthogonal(n, 3), n, n, 1.0, 1e-15, 1e-12);
            assert_tight(&orthogonal(n, 3)[..n * n.div_ceil(2)], n.div_ceil(2), n, 1.0, 1e-15, 1e-12);
        }
        for gap in [0.0, 1e-12, 1e-9, 1e-7, 1e-5, 1e-3, 0.1] {
            let values: Vec<f64> = (0..20).map(|i| if i < 10 { 3.0 * (1.0 - gap * i as f64) } else { 1.0 }).collect();
            assert_tight(&with_values(&values, 8), 20, 20, 3.0, 1e-14, 1e-6);
        }
    }

    #[test]
    fn spectral_norm_bound_of_random_matrices_is_tight() {
        for (rows, columns) in [(1, 1), (1, 9), (9, 1), (3, 5), (33, 17), (17, 33), (65, 64), (5, 1100), (1100, 5)] {
            let w = random(rows * columns, (rows * columns) as u64);
            assert_tight(&w, rows, columns, from_below(&w, columns, 20_000), 1e-14, 1e-9);
        }
    }

    #[test]
    fn spectral_norm_bound_without_finite_entries_is_zero_or_infinite() {
        assert_eq!(spectral_norm_bound(&[0.0f32; 6], 2, 3), 0.0);
        assert_eq!(spectral_norm_bound::<f64>(&[], 0, 3), 0.0);
        assert_eq!(spectral_norm_bound::<f64>(&[], 3, 0), 0.0);
        for strange in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(spectral_norm_bound(&[1.0, strange], 1, 2), f64::INFINITY);
        }
        assert_eq!(spectral_norm_bound(&[1.0], 1, 2), f64::INFINITY);
        assert_eq!(spectral_norm_bound(&[1.0], usize::MAX, 2), f64::INFINITY);
    }

    #[test]
    fn spectral_norm_bound_of_a_large_matrix_is_tight() {
        let w = random(512 * 512, 5);
        let (bound, sigma) = (spectral_norm_bound(&w, 512, 512), from_below(&w, 512, 3000));
        assert!(bound >= sigma * (1.0 - 1e-14) && bound <= sigma * (1.0 + 1e-6));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn spectral_norm_bound_is_at_least_the_power_iteration(
            rows in 1..12usize, columns in 1..12usize, seed: u64, decades in prop::collection::vec(-8..9i32, 12),
        ) {
            let mut w = random(rows * columns, seed);
            for (e, w) in w.iter_mut().enumerate() {
                *w *= 10f64.powi(decades[e / columns] + decades[11 - e % columns]);
            }
            let sigma = from_below(&w, columns, 2000);
            let bound = spectral_norm_bound(&w, rows, columns);
            prop_assert!(bound >= sigma * (1.0 - 1e-14), "{bound:e} < {sigma:e}");
            prop_assert!(bound <= sigma * (1.0 + 1e-6), "{bound:e} > {sigma:e}");
            let single: Vec<f32> = w.iter().map(|&w| w as f32).collect();
            let read: Vec<f64> = single.iter().map(|&w| f64::from(w)).collect();
            prop_assert_eq!(spectral_norm_bound(&single, rows, columns), spectral_norm_bound(&read, rows, columns));
        }
    }
}
