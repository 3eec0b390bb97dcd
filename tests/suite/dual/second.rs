//! Second derivatives of the activations, by nested dual numbers.

use chainrule::{activation::*, testing::Dual};
use std::f64::consts::{FRAC_2_SQRT_PI, PI};

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// Compares φ″ as second derivative of the value, as first derivative of `derivative`, and with a closed form if
/// given.
fn check<A: Activation>(a: A, closed: Option<fn(f64) -> f64>) {
    let kinks = [a.kinks(), a.jumps()].concat();
    for i in -240..=240 {
        let z = f64::from(i) * 0.05 + 0.0125;
        assert!(kinks.iter().all(|kink| (kink - z).abs() > 1e-9));
        let slope = a.derivative(z, a.value(z));
        let twice = a.value(Dual::new(Dual::variable(z), Dual::constant(1.0)));
        let once = a.derivative(Dual::variable(z), a.value(Dual::variable(z)));
        let close = |found: f64, expected: f64| (found - expected).abs() <= 1e-13 + 1e-11 * expected.abs();
        assert!(close(twice.value.tangent, slope) && close(twice.tangent.value, slope), "{a:?}′({z}): {twice}");
        assert!(close(once.value, slope), "{a:?}′({z}): {once} for {slope}");
        let second = twice.tangent.tangent;
        assert!(close(second, once.tangent), "{a:?}″({z}): {second} for {}", once.tangent);
        if let Some(closed) = closed {
            assert!(close(second, closed(z)), "{a:?}″({z}): {second} for {}", closed(z));
        }
    }
}

#[test]
fn second_derivative_of_every_activation_agrees() {
    check(Identity, Some(|_| 0.0));
    check(Sigmoid, Some(|z| sigmoid(z) * sigmoid(-z) * (sigmoid(-z) - sigmoid(z))));
    check(Tanh, Some(|z| -2.0 * z.tanh() / z.cosh().powi(2)));
    check(Relu, Some(|_| 0.0));
    check(LeakyRelu::default(), Some(|_| 0.0));
    check(Relu6, Some(|_| 0.0));
    check(Elu::new(0.5).unwrap(), Some(|z| if z > 0.0 { 0.0 } else { 0.5 * z.exp() }));
    check(Celu::new(0.5).unwrap(), Some(|z| if z > 0.0 { 0.0 } else { 2.0 * (2.0 * z).exp() }));
    check(Selu, Some(|z| if z > 0.0 { 0.0 } else { Selu::LAMBDA * Selu::ALPHA * z.exp() }));
    check(Gelu, Some(|z| (2.0 - z * z) * (-z * z / 2.0).exp() / (2.0 * PI).sqrt()));
    check(GeluTanh, None);
    check(Swish::SILU, Some(|z| sigmoid(z) * sigmoid(-z) * (2.0 + z * (sigmoid(-z) - sigmoid(z)))));
    check(Swish::new(-2.0).unwrap(), None);
    check(Swish::new(0.0).unwrap(), Some(|_| 0.0));
    check(Mish, None);
    check(Softplus::new(2.0).unwrap(), Some(|z| 2.0 * sigmoid(2.0 * z) * sigmoid(-2.0 * z)));
    check(Softsign, Some(|z| -2.0 * z.signum() / (1.0 + z.abs()).powi(3)));
    check(LogSigmoid, Some(|z| -sigmoid(z) * sigmoid(-z)));
    check(HardTanh::default(), Some(|_| 0.0));
    check(HardSigmoid, Some(|_| 0.0));
    check(HardSwish, Some(|z| if z.abs() < 3.0 { 1.0 / 3.0 } else { 0.0 }));
    check(HardShrink::default(), Some(|_| 0.0));
    check(SoftShrink::default(), Some(|_| 0.0));
    check(TanhShrink, Some(|z| 2.0 * z.tanh() / z.cosh().powi(2)));
    check(Threshold::new(0.1, 20.0).unwrap(), Some(|_| 0.0));
    check(Erf, Some(|z| -2.0 * z * FRAC_2_SQRT_PI * (-z * z).exp()));
}

/// φ″ in the tails is finite and has the right sign.
#[test]
fn second_derivative_in_the_tails_is_finite() {
    fn check<A: Activation>(a: A) {
        for z in [-1e300f64, -1e4, -700.0, -100.0, 100.0, 700.0, 1e4, 1e300] {
            let twice = a.value(Dual::new(Dual::variable(z), Dual::constant(1.0)));
            let numbers = [twice.value.value, twice.value.tangent, twice.tangent.value, twice.tangent.tangent];
            assert!(numbers.iter().all(|number| number.is_finite()), "{a:?}({z}): {numbers:?}");
            let slope = a.derivative(z, a.value(z));
            let close = (twice.tangent.value - slope).abs() <= 1e-11 * slope.abs();
            assert!(close, "{a:?}′({z}): {} for {slope}", twice.tangent.value);
        }
    }
    check(Sigmoid);
    check(Tanh);
    check(Elu::default());
    check(Celu::default());
    check(Selu);
    check(Gelu);
    check(GeluTanh);
    check(Swish::SILU);
    check(Mish);
    check(Softplus::default());
    check(Softsign);
    check(LogSigmoid);
    check(Erf);
}
