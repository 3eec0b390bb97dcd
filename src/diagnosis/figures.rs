//! Numbers as text: one minus sign, one form of infinity.

use alloc::{
    format,
    string::{String, ToString},
};
use num_traits::Float;

/// Returns a number of decades (log10 of a factor) as text, with its sign, to a tenth: `−6.3`, `+∞`.
pub(super) fn signed(decades: f64) -> String {
    figure(decades, 1)
}

/// Returns a number of decades (log10 of a factor) as text, with its sign and `digits` digits after the point. 0 has
/// no sign, and NaN is `unknown`.
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

/// Returns a number as text, to three significant digits: `0.0125`, `3.1e6`, `2e−5`, `∞`; NaN is `unknown`.
pub(super) fn number(value: f64) -> String {
    let size = Float::abs(value);
    if value.is_nan() {
        return String::from("unknown");
    }
    let sign = if value < 0.0 { "−" } else { "" };
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text.to_string(),
    };
    let text = match size {
        _ if size == 0.0 => String::from("0"),
        _ if size.is_infinite() => String::from("∞"),
        // `place` is the power of ten of the first of the three digits.
        _ if (1e-3..1e4).contains(&size) => {
            let place = Float::floor(libm::log10(size)) as i32;
            trim(&format!("{size:.*}", usize::try_from(2 - place).unwrap_or(0)))
        }
        _ => match format!("{size:.2e}").split_once('e') {
            Some((digits, power)) => format!("{}e{}", trim(digits), power.replace('-', "−")),
            None => size.to_string(),
        },
    };
    format!("{sign}{text}")
}

/// Returns a number with its noun, in the plural unless the number is 1: `1 layer`, `2 layers`, `3 batches`.
pub(super) fn count(number: usize, noun: &str) -> String {
    let ending = match noun {
        _ if number == 1 => "",
        _ if noun.ends_with('s') || noun.ends_with("ch") => "es",
        _ => "s",
    };
    format!("{number} {noun}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_any_size_has_three_digits_and_one_minus_sign() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (-0.012_54, "−0.0125"),
            (123.4, "123"),
            (9999.0, "9999"),
            (1.6e6, "1.6e6"),
            (-2e-5, "−2e−5"),
            (f64::INFINITY, "∞"),
            (f64::NAN, "unknown"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(
            [count(1, "pass"), count(2, "pass"), count(3, "batch"), count(0, "layer")].join(" "),
            "1 pass 2 passes 3 batches 0 layers"
        );
    }
}
