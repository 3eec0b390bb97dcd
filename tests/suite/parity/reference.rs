//! Reads the reference values, and defines the error measure.

use chainrule::{Scalar, scalar, to_f64};
use serde_json::Value;

/// The cases of a file in `tests/reference`.
pub fn cases(file: &str) -> Vec<Value> {
    let path = format!("{}/tests/reference/{file}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let mut document: Value = serde_json::from_str(&text).unwrap();
    match document["cases"].take() {
        Value::Array(cases) => cases,
        _ => panic!("{path}: no cases"),
    }
}

/// The name of a case.
pub fn name(case: &Value) -> &str {
    case["name"].as_str().unwrap()
}

/// A number. NaN and infinities are strings in the file.
pub fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| value.as_str().unwrap_or_else(|| panic!("not a number: {value}")).parse().unwrap())
}

/// The flat row-major values of a tensor.
pub fn values(tensor: &Value) -> Vec<f64> {
    tensor["data"].as_array().unwrap_or_else(|| panic!("not a tensor: {tensor}")).iter().map(number).collect()
}

/// The shape of a tensor.
pub fn shape(tensor: &Value) -> Vec<usize> {
    tensor["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
}

/// The largest difference relative to the largest expected entry. Equal non-finite values agree.
pub fn error(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len(), "lengths differ");
    let scale = expected.iter().filter(|v| v.is_finite()).fold(0.0f64, |m, v| m.max(v.abs())).max(f64::MIN_POSITIVE);
    found.iter().zip(expected).fold(0.0f64, |worst, (f, e)| {
        if f == e || (f.is_nan() && e.is_nan()) {
            worst
        } else if f.is_finite() && e.is_finite() {
            worst.max((f - e).abs() / scale)
        } else {
            f64::INFINITY
        }
    })
}

/// `f64` values rounded to the tested scalar.
pub fn rounded<T: Scalar>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&v| scalar(v)).collect()
}

/// Values of the tested scalar as `f64`.
pub fn widened<T: Scalar>(values: &[T]) -> Vec<f64> {
    values.iter().map(|&v| to_f64(v)).collect()
}
