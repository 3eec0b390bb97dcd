//! The generic bodies carry a value with its derivative right.

use super::*;
use chainrule::{Scalar, math, testing::Dual};

/// Value and derivative of `a` at `z` from duals, against the `f64` bodies.
fn check<A: Activation>(a: A) {
    let kinks = [a.kinks(), a.jumps()].concat();
    for z in (-300..=300).map(|i| i as f64 * 0.05).filter(|z| kinks.iter().all(|k| (k - z).abs() > 1e-9)) {
        let y = a.value(Dual::variable(z));
        let (expected, slope) = (a.value(z), a.derivative(z, a.value(z)));
        let close = |found: f64, expected: f64| (found - expected).abs() <= 4e-15 + 1e-12 * expected.abs();
        assert!(close(y.value, expected), "{a:?}({z}): {} for {expected}", y.value);
        assert!(close(y.tangent, slope), "{a:?}′({z}): {} for {slope}", y.tangent);
        let second = a.derivative(Dual::variable(z), y);
        assert!(close(second.value, slope), "{a:?}′({z}) of a dual: {} for {slope}", second.value);
    }
}

#[test]
fn activations_of_duals() {
    check(Identity);
    check(Sigmoid);
    check(Tanh);
    check(Relu);
    check(LeakyRelu::default());
    check(Relu6);
    check(Elu::new(0.5).unwrap());
    check(Celu::new(0.5).unwrap());
    check(Selu);
    check(Gelu);
    check(GeluTanh);
    check(Swish::SILU);
    check(Swish::new(-2.0).unwrap());
    check(Mish);
    check(Softplus::new(2.0).unwrap());
    check(Softsign);
    check(LogSigmoid);
    check(HardTanh::default());
    check(HardSigmoid);
    check(HardSwish);
    check(Erf);
    check(HardShrink::default());
    check(SoftShrink::default());
    check(TanhShrink);
    check(Threshold::new(0.1, 20.0).unwrap());
}

/// The series and the fraction to 2e-15 of each value, tails included, and their slopes.
#[test]
fn erf_of_duals() {
    fn relative(found: f64, expected: f64) -> f64 {
        (found / expected - 1.0).abs()
    }
    fn of<T: Scalar>(x: T) -> (T, T) {
        (math::erf(x), math::erfc(x))
    }
    let (mut worst, mut worst_slope) = (0.0f64, 0.0f64);
    for x in (-240..=240).map(|i| i as f64 * 0.025).filter(|x| *x != 0.0) {
        let (erf, erfc) = of(Dual::variable(x));
        let slope = math::gaussian(x) * core::f64::consts::FRAC_2_SQRT_PI;
        worst = worst.max(relative(erf.value, libm::erf(x))).max(relative(erfc.value, libm::erfc(x)));
        worst_slope = worst_slope.max((erf.tangent - slope).abs()).max((erfc.tangent + slope).abs());
        if x > 1.0 {
            worst_slope = worst_slope.max(1e-2 * relative(-erfc.tangent, slope));
        }
    }
    println!("generic erf, erfc: {worst:.1e} of each value, slopes {worst_slope:.1e}");
    assert!(worst < 1e-14 && worst_slope < 3e-15);
    assert!(of(Dual::variable(f64::NAN)).0.value.is_nan());
    assert_eq!(of(Dual::constant(f64::INFINITY)).0.value, 1.0);
    assert_eq!(of(Dual::constant(f64::NEG_INFINITY)).1.value, 2.0);
}
