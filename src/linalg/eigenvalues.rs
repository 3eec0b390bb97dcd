//! Eigenvalues of a general real matrix, and its spectral radius.

use crate::{
    error::{Error, require_length},
    scalar::{Scalar, to_f64},
};
use alloc::{vec, vec::Vec};

/// The eigenvalues of the row-major `n` × `n` matrix `values`, each as \[real part, imaginary part\], in no particular
/// order; complex conjugates are adjacent.
///
/// `None` if an entry is not finite or the iteration does not converge.
///
/// The matrix is balanced, reduced to upper Hessenberg form and iterated by Francis' double-shift QR (Wilkinson and
/// Reinsch 1971; EISPACK's `balanc`, `elmhes` and `hqr`). This finds complex pairs in real arithmetic. Power iteration
/// would not converge on complex pairs.
///
/// ```
/// use chainrule::linalg::eigenvalues;
/// let rotation = [0.0, -2.0, 2.0, 0.0]; // rotates by 90° and doubles the norm
/// assert_eq!(eigenvalues(&rotation, 2)?, Some(vec![[0.0, 2.0], [0.0, -2.0]]));
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if `values` does not have `n × n` entries.
pub fn eigenvalues<T: Scalar>(values: &[T], n: usize) -> Result<Option<Vec<[f64; 2]>>, Error> {
    require_length("the entries of a square matrix", n.saturating_mul(n), values.len())?;
    let matrix: Vec<f64> = values.iter().map(|&value| to_f64(value)).collect();
    if !matrix.iter().all(|entry| entry.is_finite()) {
        return Ok(None);
    }
    let scale = matrix.iter().fold(0.0f64, |largest, entry| largest.max(entry.abs()));
    if scale == 0.0 {
        return Ok(Some(vec![[0.0; 2]; n]));
    }
    let mut square = Square { a: matrix.iter().map(|entry| entry / scale).collect(), n };
    square.balance();
    square.reduce();
    let Some(found) = square.eigenvalues() else { return Ok(None) };
    let finite = found.iter().all(|(re, im)| re.is_finite() && im.is_finite());
    Ok(finite.then(|| found.into_iter().map(|(re, im)| [scale * re, scale * im]).collect()))
}

/// The spectral radius, the largest |eigenvalue|, of the row-major `n` × `n` matrix `values`.
///
/// It is 0 for an empty matrix, and NaN if an entry is not finite or the iteration does not converge.
///
/// For recurrent weights it is the growth of the state per time step, over many time steps of a network without
/// activations: below 1 the state decays. It can still grow over a few steps. An upper bound on the growth in one
/// time step is [`spectral_norm_bound`](super::spectral_norm_bound).
///
/// # Errors
/// [`Error::Length`] if `values` does not have `n × n` entries.
pub fn spectral_radius<T: Scalar>(values: &[T], n: usize) -> Result<f64, Error> {
    let largest = |found: Vec<[f64; 2]>| found.iter().fold(0.0f64, |most, [re, im]| most.max(libm::hypot(*re, *im)));
    Ok(eigenvalues(values, n)?.map_or(f64::NAN, largest))
}

/// A row-major `n` × `n` matrix, transformed in place.
struct Square {
    a: Vec<f64>,
    n: usize,
}

impl Square {
    fn at(&self, i: usize, j: usize) -> f64 {
        self.a[i * self.n + j]
    }

    fn at_mut(&mut self, i: usize, j: usize) -> &mut f64 {
        &mut self.a[i * self.n + j]
    }

    /// Balances the matrix: scales row i and column i by reciprocal powers of two (exactly) until their norms differ by
    /// less than about a factor of 2.
    fn balance(&mut self) {
        let n = self.n;
        let mut changed = true;
        while changed {
            changed = false;
            for i in 0..n {
                let (mut column, mut row) = (0.0, 0.0);
                for j in (0..n).filter(|&j| j != i) {
                    column += self.at(j, i).abs();
                    row += self.at(i, j).abs();
                }
                if column == 0.0 || row == 0.0 {
                    continue;
                }
                let (sum, mut factor) = (column + row, 1.0);
                while column < row / 2.0 {
                    factor *= 2.0;
                    column *= 4.0;
                }
                while column >= row * 2.0 {
                    factor /= 2.0;
                    column /= 4.0;
                }
                if (column + row) / factor < 0.95 * sum {
                    changed = true;
                    for j in 0..n {
                        *self.at_mut(i, j) /= factor;
                        *self.at_mut(j, i) *= factor;
                    }
                }
            }
        }
    }

    /// Reduces the matrix to upper Hessenberg form, a similarity transform, by Gaussian elimination with partial
    /// pivoting.
    fn reduce(&mut self) {
        let n = self.n;
        let mut factors = vec![0.0; n];
        for m in 1..n.saturating_sub(1) {
            let mut pivot = m;
            for i in m..n {
                if self.at(i, m - 1).abs() > self.at(pivot, m - 1).abs() {
                    pivot = i;
                }
            }
            if self.at(pivot, m - 1) == 0.0 {
                continue;
            }
            if pivot != m {
                for j in m - 1..n {
                    self.a.swap(pivot * n + j, m * n + j);
                }
                for i in 0..n {
                    self.a.swap(i * n + pivot, i * n + m);
                }
            }
            let (above, below) = self.a.split_at_mut((m + 1) * n);
            let pivot_row = &above[m * n..];
            for (row, factor) in below.chunks_exact_mut(n).zip(&mut factors[m + 1..]) {
                *factor = row[m - 1] / pivot_row[m - 1];
                row[m - 1] = 0.0;
                if *factor != 0.0 {
                    for (entry, pivot) in row[m..].iter_mut().zip(&pivot_row[m..]) {
                        *entry -= *factor * pivot;
                    }
                }
            }
            for row in self.a.chunks_exact_mut(n) {
                row[m] +=
                    row[m + 1..].iter().zip(&factors[m + 1..]).fold(0.0, |sum, (entry, factor)| sum + entry * factor);
            }
        }
    }

    /// The eigenvalues (real part, imaginary part) of a matrix in upper Hessenberg form. `None` if one of them needs
    /// more than 300 iterations.
    fn eigenvalues(mut self) -> Option<Vec<(f64, f64)>> {
        const MOST: usize = 300;
        let mut found = Vec::with_capacity(self.n);
        let norm: f64 = self.a.iter().fold(0.0, |sum, entry| sum + entry.abs());
        let mut shifted = 0.0; // sum of the exceptional shifts, already subtracted from the diagonal
        let mut end = self.n; // the eigenvalues of rows `end..` are found
        let mut iterations = 0;
        while end > 0 {
            let last = end - 1;
            let low = self.split(last, norm);
            let x = self.at(last, last);
            if low == last {
                found.push((x + shifted, 0.0));
                (end, iterations) = (end - 1, 0);
                continue;
            }
            let y = self.at(last - 1, last - 1);
            let w = self.at(last, last - 1) * self.at(last - 1, last);
            if low == last - 1 {
                found.extend(pair(x, y, w, shifted));
                (end, iterations) = (end - 2, 0);
                continue;
            }
            if iterations == MOST {
                return None;
            }
            let mut shift = (x, y, w);
            if iterations % 10 == 9 {
                // Wilkinson's exceptional shift: without it some matrices, such as a cyclic permutation, do not
                // converge.
                shifted += x;
                for i in 0..=last {
                    *self.at_mut(i, i) -= x;
                }
                let s = self.at(last, last - 1).abs() + self.at(last - 1, last - 2).abs();
                shift = (0.75 * s, 0.75 * s, -0.4375 * s * s);
            }
            iterations += 1;
            self.sweep(low, last, shift);
        }
        Some(found)
    }

    /// Returns the first row of the unreduced diagonal block that ends at row `last`. `norm` is the sum of all
    /// |entries|. Sets the negligible subdiagonal entry before the block to zero.
    fn split(&mut self, last: usize, norm: f64) -> usize {
        for low in (1..=last).rev() {
            let around = self.at(low - 1, low - 1).abs() + self.at(low, low).abs();
            let around = if around == 0.0 { norm } else { around };
            if self.at(low, low - 1).abs() <= f64::EPSILON * around {
                *self.at_mut(low, low - 1) = 0.0;
                return low;
            }
        }
        0
    }

    /// Does one double-shift QR step on rows and columns `low..=last`. The two shifts are the eigenvalues of a 2 × 2
    /// matrix with the diagonal `y`, `x` and the product `w` of the other two entries.
    fn sweep(&mut self, low: usize, last: usize, (x, y, w): (f64, f64, f64)) {
        let n = self.n;
        // Two consecutive small subdiagonal entries let the QR step begin at row `start`.
        let mut start = last - 2;
        let (mut p, mut q, mut r);
        loop {
            let z = self.at(start, start);
            let (from_x, from_y) = (x - z, y - z);
            p = (from_x * from_y - w) / self.at(start + 1, start) + self.at(start, start + 1);
            q = self.at(start + 1, start + 1) - z - from_x - from_y;
            r = self.at(start + 2, start + 1);
            let s = p.abs() + q.abs() + r.abs();
            (p, q, r) = (p / s, q / s, r / s);
            if start == low {
                break;
            }
            let u = self.at(start, start - 1).abs() * (q.abs() + r.abs());
            let v = p.abs() * (self.at(start - 1, start - 1).abs() + z.abs() + self.at(start + 1, start + 1).abs());
            if u <= f64::EPSILON * v {
                break;
            }
            start -= 1;
        }
        for i in start + 2..=last {
            *self.at_mut(i, i - 2) = 0.0;
            if i > start + 2 {
                *self.at_mut(i, i - 3) = 0.0;
            }
        }
        for k in start..last {
            let three = k + 1 < last;
            let mut scale = 1.0;
            if k > start {
                (p, q) = (self.at(k, k - 1), self.at(k + 1, k - 1));
                r = if three { self.at(k + 2, k - 1) } else { 0.0 };
                scale = p.abs() + q.abs() + r.abs();
                if scale == 0.0 {
                    continue;
                }
                (p, q, r) = (p / scale, q / scale, r / scale);
            }
            let length = libm::sqrt(p * p + q * q + r * r);
            if length == 0.0 {
                continue;
            }
            let s = if p < 0.0 { -length } else { length };
            if k > start {
                *self.at_mut(k, k - 1) = -s * scale;
            } else if low != start {
                *self.at_mut(k, k - 1) = -self.at(k, k - 1);
            }
            p += s;
            let (x, y, z) = (p / s, q / s, r / s);
            (q, r) = (q / p, r / p);
            let (first, rest) = self.a[k * n..].split_at_mut(n);
            let (second, third) = rest.split_at_mut(n);
            let (first, second) = (&mut first[k..=last], &mut second[k..=last]);
            if three {
                let third = &mut third[k..=last];
                for ((a, b), c) in first.iter_mut().zip(second).zip(third) {
                    let sum = *a + q * *b + r * *c;
                    *c -= sum * z;
                    *b -= sum * y;
                    *a -= sum * x;
                }
            } else {
                for (a, b) in first.iter_mut().zip(second) {
                    let sum = *a + q * *b;
                    *b -= sum * y;
                    *a -= sum * x;
                }
            }
            for row in self.a[low * n..(last.min(k + 3) + 1) * n].chunks_exact_mut(n) {
                let row = &mut row[k..(k + 3).min(n)];
                let mut sum = x * row[0] + y * row[1];
                if three {
                    sum += z * row[2];
                    row[2] -= sum * r;
                }
                row[1] -= sum * q;
                row[0] -= sum;
            }
        }
    }
}

/// The eigenvalues of a trailing 2 × 2 block: `y` and `x` are its diagonal, `w` is the product of its off-diagonal
/// entries, and `shifted` is added to both eigenvalues. Each is (real part, imaginary part).
fn pair(x: f64, y: f64, w: f64, shifted: f64) -> [(f64, f64); 2] {
    let p = 0.5 * (y - x);
    let q = p * p + w;
    let root = libm::sqrt(q.abs());
    let x = x + shifted;
    if q < 0.0 {
        return [(x + p, root), (x + p, -root)];
    }
    let z = if p < 0.0 { p - root } else { p + root };
    if z == 0.0 { [(x, 0.0), (x, 0.0)] } else { [(x + z, 0.0), (x - w / z, 0.0)] }
}
