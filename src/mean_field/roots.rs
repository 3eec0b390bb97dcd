//! Fixed points as sign changes of a difference that is known up to quadrature errors.

use alloc::{vec, vec::Vec};
use core::iter;

/// Relative differences of two integrals up to this size can be quadrature errors, and count as 0.
pub(super) const CERTAIN: f64 = 1e-12;

/// Returns the relative difference `(a − b)/max(a, b)` of non-negative a and b; 0 if it can be a quadrature error.
pub(super) fn difference(a: f64, b: f64) -> f64 {
    let relative = if a > b { 1.0 - b / a } else { a / b - 1.0 };
    if relative.abs() <= CERTAIN || a == b { 0.0 } else { relative }
}

/// Returns the values q at which `a(q) − b(q)` changes sign, `sides(q) = (a, b)`, in increasing order; `None` if the
/// difference is 0 everywhere. The grid has 0, ten points per decade from 10⁻¹⁶ to 1, and above 1 ten per decade
/// up to 10¹⁶ · `highest`.
pub(super) fn crossings(highest: f64, sides: impl Fn(f64) -> (f64, f64)) -> Option<Vec<f64>> {
    const PER_DECADE: i32 = 10;
    let apart = |q: f64| {
        let (a, b) = sides(q);
        difference(a, b)
    };
    let grid = (-16 * PER_DECADE..=16 * PER_DECADE).map(|i| libm::exp10(f64::from(i) / f64::from(PER_DECADE)));
    let grid = grid.map(|q| if q > 1.0 { q * highest } else { q });
    let mut found = vec![];
    let mut before: Option<(f64, f64)> = None;
    for q in iter::once(0.0).chain(grid).filter(|q| q.is_finite()) {
        let now = apart(q);
        if now == 0.0 || now.is_nan() {
            continue;
        }
        if let Some((low, _)) = before.filter(|(_, sign)| sign * now < 0.0) {
            found.push(bisect(low, q, |q| {
                let (a, b) = sides(q);
                (a - b) * now >= 0.0
            }));
        }
        before = Some((q, now));
    }
    before.map(|_| found)
}

/// The smallest float in (`low`, `high`\] for which `beyond` is true, by bisection. `beyond` is monotonic and true at
/// `high`.
fn bisect(mut low: f64, mut high: f64, beyond: impl Fn(f64) -> bool) -> f64 {
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            return high;
        }
        *(if beyond(middle) { &mut high } else { &mut low }) = middle;
    }
}
