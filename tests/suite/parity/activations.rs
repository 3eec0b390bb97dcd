//! Every activation at 69 points from −700 to 700, against PyTorch and 700-digit values.

use super::reference::{cases, error, name, values};
use chainrule::{Scalar, activation::*};
use serde_json::Value;

/// The activation a case is about; `None` for a layer or a loss.
fn subject(case: &str) -> Option<ActivationKind> {
    Some(match case {
        "identity" => Identity.kind(),
        "sigmoid" => Sigmoid.kind(),
        "tanh" => Tanh.kind(),
        "relu" => Relu.kind(),
        "leaky_relu_0.01" => LeakyRelu::default().kind(),
        "elu_1.0" => Elu::default().kind(),
        "elu_0.5" => Elu::new(0.5).unwrap().kind(),
        "selu" => Selu.kind(),
        "gelu_exact" => Gelu.kind(),
        "gelu_tanh" => GeluTanh.kind(),
        "silu" => Swish::SILU.kind(),
        "mish" => Mish.kind(),
        "softplus_b1_t20" => Softplus::default().kind(),
        "softplus_b2_t20" => Softplus::new(2.0).unwrap().kind(),
        "softsign" => Softsign.kind(),
        "hardtanh" => HardTanh::default().kind(),
        "hardsigmoid" => HardSigmoid.kind(),
        "hardswish" => HardSwish.kind(),
        "logsigmoid" => LogSigmoid.kind(),
        "relu6" => Relu6.kind(),
        "celu_1.0" => Celu::default().kind(),
        "celu_0.5" => Celu::new(0.5).unwrap().kind(),
        "tanhshrink" => TanhShrink.kind(),
        "softshrink_0.5" => SoftShrink::default().kind(),
        "hardshrink_0.5" => HardShrink::default().kind(),
        "threshold_0.1_20" => Threshold::new(0.1, 20.0).unwrap().kind(),
        // Layers and losses tested elsewhere.
        "prelu" | "prelu_per_channel" | "softmax" | "log_softmax" | "softmin" | "glu" => return None,
        other => panic!("no activation for the case {other}"),
    })
}

/// Every case with its activation.
fn subjects() -> Vec<(Value, ActivationKind)> {
    let found: Vec<_> =
        cases("activations").into_iter().filter_map(|case| subject(name(&case)).map(|s| (case, s))).collect();
    assert_eq!(found.len(), 26);
    found
}

/// Value and derivative at `z`.
fn at<T: Scalar>(kind: &ActivationKind, z: T) -> (T, T) {
    let y = kind.value(z);
    (y, kind.derivative(z, y))
}

/// The error of `found` relative to `expected`, or to `floor` if `expected` is smaller.
fn relative(found: f64, expected: f64, floor: f64) -> f64 {
    let difference = if found == expected { 0.0 } else { (found - expected).abs() / expected.abs().max(floor) };
    assert!(!difference.is_nan(), "{found} for {expected}");
    difference
}

/// Below what a derivative at `z` counts as a zero crossing. In the tails nothing does.
fn crossing(subject: &ActivationKind, z: f64, share: f64) -> f64 {
    if z.abs() < 3.0 { subject.derivative_bounds().unwrap().magnitude() * share } else { 0.0 }
}

#[test]
fn activations_agree_with_pytorch() {
    for (case, subject) in subjects() {
        let (y, dy): (Vec<f64>, Vec<f64>) = values(&case["x"]).iter().map(|&z| at(&subject, z)).unzip();
        let tolerance = match name(&case) {
            // PyTorch rounds 1/6 to f32.
            "hardsigmoid" => 4e-8,
            _ => 1e-12,
        };
        let (mut ey, mut edy) = (error(&y, &values(&case["y"])), error(&dy, &values(&case["dy"])));
        if name(&case) == "softplus_b1_t20" {
            // PyTorch returns z for z above 20.
            (ey, edy) = (error(&y, &values(&case["true_y"])), error(&dy, &values(&case["true_dy"])));
        }
        println!("{:16} y {ey:.1e}  dy {edy:.1e}  of the largest entry", name(&case));
        assert!(ey <= 1e-12 && edy <= tolerance, "{}: y {ey:e}, dy {edy:e}", name(&case));
    }
}

/// Relative error at most 1e-13, also in the tails, where PyTorch is off by 1 % and more. Near a zero of the
/// derivative, the error is at most 1e-15 of sup |φ′|.
#[test]
fn activations_agree_with_700_digit_values() {
    let mut checked = 0;
    for (case, subject) in subjects().iter().filter(|(case, _)| !case["true_y"].is_null()) {
        let x = values(&case["x"]);
        let (y, dy): (Vec<f64>, Vec<f64>) = x.iter().map(|&z| at(subject, z)).unzip();
        let (true_y, true_dy) = (values(&case["true_y"]), values(&case["true_dy"]));
        let (mut worst_y, mut worst_dy) = (0.0f64, 0.0f64);
        for (i, &z) in x.iter().enumerate() {
            worst_y = worst_y.max(relative(y[i], true_y[i], f64::MIN_POSITIVE));
            worst_dy = worst_dy.max(relative(dy[i], true_dy[i], crossing(subject, z, 0.01).max(f64::MIN_POSITIVE)));
        }
        println!("{:16} y {worst_y:.1e}  dy {worst_dy:.1e}  of each entry", name(case));
        assert!(worst_y <= 1e-13 && worst_dy <= 1e-13, "{}: y {worst_y:e}, dy {worst_dy:e}", name(case));
        checked += 1;
    }
    assert_eq!(checked, 11);
}

/// Relative error at most 6 ε at the same points rounded to `f32`. For a subnormal gate the unit is the smallest
/// subnormal, times `z` if `z` multiplies it. Near a zero of the derivative, the error is at most 6 ε of sup |φ′|.
#[test]
fn activations_in_f32_agree_with_f64() {
    let epsilon = f64::from(f32::EPSILON);
    for (case, subject) in subjects() {
        let (mut worst_y, mut worst_dy) = (0.0f64, 0.0f64);
        for z in values(&case["x"]) {
            let z = z as f32;
            // Where f32 rounds the place of a jump, z may be on its other side.
            if subject.jumps().iter().any(|jump| (jump - f64::from(z)).abs() <= epsilon * jump.abs()) {
                continue;
            }
            let (y, dy) = at(&subject, z);
            let (true_y, true_dy) = at::<f64>(&subject, z.into());
            let multiplied = ["gelu_exact", "gelu_tanh", "silu", "mish"].contains(&name(&case));
            let floor = f64::from(f32::MIN_POSITIVE) * if multiplied { f64::from(z).abs().max(1.0) } else { 1.0 };
            worst_y = worst_y.max(relative(y.into(), true_y, floor) / epsilon);
            worst_dy =
                worst_dy.max(relative(dy.into(), true_dy, crossing(&subject, z.into(), 1.0).max(floor)) / epsilon);
        }
        println!("{:16} y {worst_y:.2} ε  dy {worst_dy:.2} ε  of each entry, f32", name(&case));
        assert!(worst_y <= 6.0 && worst_dy <= 6.0, "{}: y {worst_y} ε, dy {worst_dy} ε", name(&case));
    }
}
