//! Eigenvalues and spectral radii, compared with matrices of known eigenvalues.

use chainrule::{
    Role,
    initializer::{Initializer, Normal, Orthogonal, Shape},
    linalg,
    random::{generator, uniform},
};

fn spectral_radius(matrix: &[f64], n: usize) -> f64 {
    linalg::spectral_radius(matrix, n).unwrap()
}

#[track_caller]
fn assert_radius(matrix: &[f64], n: usize, expected: f64, tolerance: f64) {
    let found = spectral_radius(matrix, n);
    assert!((found - expected).abs() <= tolerance * expected, "found {found:e}, expected {expected:e}");
}

/// The companion matrix of the polynomial with these real roots and complex pairs.
fn companion(real: &[f64], pairs: &[(f64, f64)]) -> (Vec<f64>, usize) {
    let mut polynomial = vec![1.0]; // highest power first
    let mut times = |factor: &[f64]| {
        let mut product = vec![0.0; polynomial.len() + factor.len() - 1];
        for (i, a) in polynomial.iter().enumerate() {
            for (j, b) in factor.iter().enumerate() {
                product[i + j] += a * b;
            }
        }
        polynomial = product;
    };
    real.iter().for_each(|root| times(&[1.0, -root]));
    pairs.iter().for_each(|(re, im)| times(&[1.0, -2.0 * re, re * re + im * im]));
    let n = polynomial.len() - 1;
    let mut matrix = vec![0.0; n * n];
    for j in 0..n {
        matrix[j] = -polynomial[j + 1];
    }
    for i in 1..n {
        matrix[i * n + i - 1] = 1.0;
    }
    (matrix, n)
}

#[test]
fn spectral_radius_of_small_and_degenerate_matrices_is_exact() {
    assert_eq!(spectral_radius(&[], 0), 0.0);
    assert_eq!(spectral_radius(&[-3.0], 1), 3.0);
    assert_eq!(spectral_radius(&[0.0; 9], 3), 0.0);
    assert_eq!(spectral_radius(&[0.0, 5.0, 7.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0], 3), 0.0, "nilpotent");
    assert!(spectral_radius(&[1.0, f64::NAN, 0.0, 1.0], 2).is_nan());
    assert!(spectral_radius(&[1.0, f64::INFINITY, 0.0, 1.0], 2).is_nan());
    assert_radius(&[2.0, 1e3, 0.0, 2.0], 2, 2.0, 1e-12); // a Jordan block
    assert_radius(&[0.0, 1e300, 1e300, 0.0], 2, 1e300, 1e-14);
    assert_radius(&[0.0, 1e-300, -1e-300, 0.0], 2, 1e-300, 1e-14);
    assert_radius(&[0.0, 1e150, 1e-150, 0.0], 2, 1.0, 1e-14);
}

#[test]
fn spectral_radius_of_scaled_rotations_is_the_largest_scale() {
    // Blocks r (cos, −sin; sin, cos), and the same matrix transformed by an orthogonal similarity.
    for (seed, pairs) in [1usize, 2, 5, 20].into_iter().enumerate() {
        let n = 2 * pairs;
        let mut rng = generator(seed as u64);
        let mut blocks = vec![0.0; n * n];
        let mut largest = 0.0f64;
        for b in 0..pairs {
            let (r, angle) = (0.5 + uniform(&mut rng), 6.0 * uniform(&mut rng));
            largest = largest.max(r);
            let (c, s) = (r * angle.cos(), r * angle.sin());
            let at = 2 * b * n + 2 * b;
            (blocks[at], blocks[at + 1], blocks[at + n], blocks[at + n + 1]) = (c, -s, s, c);
        }
        assert_radius(&blocks, n, largest, 1e-13);
        let mut q = vec![0.0; n * n];
        Orthogonal::default().fill(Shape::new(n, n, Role::Recurrent), &mut rng, &mut q).unwrap();
        let mut hidden = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..n {
                for k in 0..n {
                    for l in 0..n {
                        hidden[i * n + j] += q[i * n + k] * blocks[k * n + l] * q[j * n + l];
                    }
                }
            }
        }
        assert_radius(&hidden, n, largest, 1e-12);
    }
}

#[test]
fn spectral_radius_of_companion_matrices_is_the_largest_root() {
    for (real, pairs, radius) in [
        (&[1.0, -2.0, 3.0][..], &[][..], 3.0),
        (&[0.5], &[(3.0, 4.0), (1.0, 1.0)], 5.0),
        (&[], &[(-0.6, 0.8), (0.0, 0.5), (0.3, 0.1)], 1.0),
        (&[1e-3, 10.0], &[(0.0, 12.0)], 12.0),
    ] {
        let (matrix, n) = companion(real, pairs);
        assert_radius(&matrix, n, radius, 1e-12);
    }
    for n in [3, 4, 7, 16, 33] {
        // zⁿ = −2: a cyclic permutation except for one entry, on which unshifted QR steps do not converge.
        let mut matrix = vec![0.0; n * n];
        matrix[n - 1] = -2.0;
        for i in 1..n {
            matrix[i * n + i - 1] = 1.0;
        }
        assert_radius(&matrix, n, 2f64.powf(1.0 / n as f64), 1e-12);
    }
}

#[test]
fn spectral_radius_of_random_matrices_agrees_with_matrix_powers() {
    for n in [2, 3, 4, 5, 10, 40, 100] {
        let mut matrix = vec![0.0; n * n];
        let normal = Normal { mean: 0.0, std: 1.0 };
        normal.fill(Shape::new(n, n, Role::Recurrent), &mut generator(n as u64), &mut matrix).unwrap();
        assert_radius(&matrix, n, radius_by_powers(&matrix, n), 1e-8);
    }
}

/// lim ‖Aᵐ‖^(1/m) by 30 squarings with normalization, independent of the crate's eigenvalues.
pub(crate) fn radius_by_powers(matrix: &[f64], n: usize) -> f64 {
    let (mut power, mut log, mut exponent) = (matrix.to_vec(), 0.0, 1.0);
    for _ in 0..30 {
        let norm = power.iter().map(|a| a * a).sum::<f64>().sqrt();
        log += norm.ln() / exponent;
        power.iter_mut().for_each(|a| *a /= norm);
        let mut square = vec![0.0; n * n];
        for i in 0..n {
            for k in 0..n {
                for j in 0..n {
                    square[i * n + j] += power[i * n + k] * power[k * n + j];
                }
            }
        }
        (power, exponent) = (square, 2.0 * exponent);
    }
    log.exp()
}
