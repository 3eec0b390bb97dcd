//! ±∞, NaN, tiny, large and huge arguments, in both formats.

use super::*;
use chainrule::Scalar;

/// An activation with its limits at −∞ and ∞: of φ, and of φ′.
fn check<A: Activation>(activation: A, values: (f64, f64), derivatives: (f64, f64)) {
    check_in::<f64, A>(&activation, values, derivatives);
    check_in::<f32, A>(&activation, values, derivatives);
}

fn check_in<T: Scalar, A: Activation>(a: &A, values: (f64, f64), derivatives: (f64, f64)) {
    let at = |z: f64| {
        let z: T = chainrule::scalar(z);
        let y = a.value(z);
        (chainrule::to_f64(y), chainrule::to_f64(a.derivative(z, y)))
    };
    let close = |found: f64, expected: f64| found == expected || (found - expected).abs() <= 1e-6 * expected.abs();
    let infinity = f64::INFINITY;
    let (left, right) = (at(-infinity), at(infinity));
    assert!(close(left.0, values.0) && close(right.0, values.1), "{a:?}(±∞) = {}, {}", left.0, right.0);
    assert!(close(left.1, derivatives.0) && close(right.1, derivatives.1), "{a:?}′(±∞) = {}, {}", left.1, right.1);
    assert!(at(f64::NAN).0.is_nan() && at(f64::NAN).1.is_nan(), "{a:?}(NaN) = {:?}", at(f64::NAN));
    let bounds = a.derivative_bounds().unwrap();
    for z in [0.0, 1e-300, 1e-40, 1e-8, 20.0, 100.0, 700.0, 1e30, 3e38] {
        for z in [z, -z] {
            let (y, dy) = at(z);
            assert!(y.is_finite() || z.abs() > 1e38, "{a:?}({z}) = {y}");
            assert!((bounds.inf - 1e-6..=bounds.sup + 1e-6).contains(&dy), "{a:?}′({z}) = {dy}");
            // Near 0, a straight line: nothing is lost to cancellation.
            if z.abs() <= 1e-8 && z != 0.0 && at(0.0).0 == 0.0 && a.kind() != TanhShrink.kind() {
                let z = chainrule::to_f64(chainrule::scalar::<T>(z));
                let line = z * dy;
                assert!((y - line).abs() <= 2e-7 * line.abs() + 1e-44, "{a:?}({z}) = {y}, line {line}");
            }
        }
    }
}

#[test]
fn limits_and_tiny_arguments() {
    let inf = f64::INFINITY;
    check(Identity, (-inf, inf), (1.0, 1.0));
    check(Sigmoid, (0.0, 1.0), (0.0, 0.0));
    check(Tanh, (-1.0, 1.0), (0.0, 0.0));
    check(Relu, (0.0, inf), (0.0, 1.0));
    check(LeakyRelu::default(), (-inf, inf), (0.01, 1.0));
    check(LeakyRelu::new(0.0).unwrap(), (0.0, inf), (0.0, 1.0));
    check(Relu6, (0.0, 6.0), (0.0, 0.0));
    check(Elu::new(2.0).unwrap(), (-2.0, inf), (0.0, 1.0));
    check(Celu::new(2.0).unwrap(), (-2.0, inf), (0.0, 1.0));
    check(Selu, (-Selu::LAMBDA * Selu::ALPHA, inf), (0.0, Selu::LAMBDA));
    check(Gelu, (0.0, inf), (0.0, 1.0));
    check(GeluTanh, (0.0, inf), (0.0, 1.0));
    check(Swish::SILU, (0.0, inf), (0.0, 1.0));
    check(Swish::new(0.0).unwrap(), (-inf, inf), (0.5, 0.5));
    check(Swish::new(-3.0).unwrap(), (-inf, 0.0), (1.0, 0.0));
    check(Mish, (0.0, inf), (0.0, 1.0));
    check(Softplus::new(2.0).unwrap(), (0.0, inf), (0.0, 1.0));
    check(Softsign, (-1.0, 1.0), (0.0, 0.0));
    check(LogSigmoid, (-inf, 0.0), (1.0, 0.0));
    check(HardTanh::new(-2.0, 0.5).unwrap(), (-2.0, 0.5), (0.0, 0.0));
    check(HardSigmoid, (0.0, 1.0), (0.0, 0.0));
    check(HardSwish, (0.0, inf), (0.0, 1.0));
    check(Erf, (-1.0, 1.0), (0.0, 0.0));
    check(HardShrink::default(), (-inf, inf), (1.0, 1.0));
    check(SoftShrink::default(), (-inf, inf), (1.0, 1.0));
    check(TanhShrink, (-inf, inf), (1.0, 1.0));
    check(Threshold::new(1.0, -2.0).unwrap(), (-2.0, inf), (0.0, 1.0));
}

/// From `y` alone these would be 0.
#[test]
fn saturated_derivatives_keep_their_size() {
    let near = |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 1e-13, "{found:e}, {expected:e}");
    near(Sigmoid.derivative(50.0, Sigmoid.value(50.0)), 1.928_749_847_963_918e-22);
    near(Sigmoid.value(-700.0), 9.859_676_543_759_77e-305);
    near(Tanh.derivative(30.0, Tanh.value(30.0)), 4.0 * (-60.0f64).exp());
    assert!(Sigmoid.derivative(50.0f32, 1.0) > 1.9e-22 && Tanh.derivative(30.0f32, 1.0) > 3.5e-26);
    assert!(Sigmoid.derivative(-100.0f32, 0.0) > 0.0, "a subnormal, not 0");
}

#[test]
fn senseless_parameters_are_refused() {
    let nan = f64::NAN;
    for bad in [nan, f64::INFINITY] {
        assert!(LeakyRelu::new(bad).is_err() && Swish::new(bad).is_err());
        assert!(Threshold::new(bad, 0.0).is_err() && Threshold::new(0.0, bad).is_err());
    }
    for bad in [nan, f64::INFINITY, 0.0, -1.0] {
        assert!(Celu::new(bad).is_err() && Softplus::new(bad).is_err());
    }
    for bad in [nan, f64::INFINITY, -1.0] {
        assert!(Elu::new(bad).is_err() && HardShrink::new(bad).is_err() && SoftShrink::new(bad).is_err());
    }
    for (min, max) in [(nan, 1.0), (0.0, nan), (1.0, 1.0), (2.0, 1.0), (-f64::INFINITY, 0.0)] {
        assert!(HardTanh::new(min, max).is_err());
    }
    let error = Celu::new(-1.0).unwrap_err();
    assert_eq!(error.to_string(), "Celu alpha must be finite and greater than 0, found -1");
}
