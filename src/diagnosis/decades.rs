//! Numbers of decades as text.

use alloc::{format, string::String};
use num_traits::Float;

/// A number of decades with its sign, to a tenth: `−6.3`, `+∞`.
pub(super) fn signed(decades: f64) -> String {
    figure(decades, 1)
}

/// A number of decades with its sign and so many digits after the point; 0 has no sign.
pub(super) fn figure(decades: f64, digits: usize) -> String {
    if decades.is_nan() {
        return String::from("unknown");
    }
    if decades.is_infinite() {
        return String::from(if decades > 0.0 { "+∞" } else { "−∞" });
    }
    let text = format!("{:.digits$}", Float::abs(decades));
    if text.chars().all(|digit| matches!(digit, '0' | '.')) {
        return text;
    }
    format!("{}{text}", if decades < 0.0 { '−' } else { '+' })
}

/// `1 layer`, `2 layers`.
pub(super) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
