//! The generic bodies carry a value with its derivative right.

use super::*;
use crate::dual::dual;
use chainrule::{Scalar, math};

/// Value and derivative of `a` at `z` from duals, against the `f64` bodies.
fn check<A: Activation>(a: A) {
    let kinks = a.kinks();
    for z in (-300..=300).map(|i| i as f64 * 0.05).filter(|z| kinks.iter().all(|k| (k - z).abs() > 1e-9)) {
        let y = a.value(dual(z, 1.0));
        let (expected, slope) = (a.value(z), a.derivative(z, a.value(z)));
        let close = |found: f64, expected: f64| (found - expected).abs() <= 4e-15 + 1e-12 * expected.abs();
        assert!(close(y.v, expected), "{a:?}({z}): {} for {expected}", y.v);
        assert!(close(y.d, slope), "{a:?}′({z}): {} for {slope}", y.d);
        let second = a.derivative(dual(z, 1.0), y);
        assert!(close(second.v, slope), "{a:?}′({z}) of a dual: {} for {slope}", second.v);
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
        let (erf, erfc) = of(dual(x, 1.0));
        let slope = math::gaussian(x) * core::f64::consts::FRAC_2_SQRT_PI;
        worst = worst.max(relative(erf.v, libm::erf(x))).max(relative(erfc.v, libm::erfc(x)));
        worst_slope = worst_slope.max((erf.d - slope).abs()).max((erfc.d + slope).abs());
        if x > 1.0 {
            worst_slope = worst_slope.max(1e-2 * relative(-erfc.d, slope));
        }
    }
    println!("generic erf, erfc: {worst:.1e} of each value, slopes {worst_slope:.1e}");
    assert!(worst < 1e-14 && worst_slope < 3e-15);
    assert!(of(dual(f64::NAN, 1.0)).0.v.is_nan());
    assert_eq!(of(dual(f64::INFINITY, 0.0)).0.v, 1.0);
    assert_eq!(of(dual(f64::NEG_INFINITY, 0.0)).1.v, 2.0);
}
