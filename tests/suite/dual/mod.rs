//! Dual numbers against closed forms: at random arguments, at the edges of domains, second derivatives, whole networks.

mod edges;
mod network;
mod second;
mod slopes;

/// Whether two numbers agree to a relative error; NaN agrees with NaN, an infinity with itself.
fn close(found: f64, expected: f64, tolerance: f64) -> bool {
    found == expected
        || found.is_nan() && expected.is_nan()
        || (found - expected).abs() <= tolerance * expected.abs().max(1e-3)
}
