//! Accuracy of `math`: `f64` against a table of 800-digit values, `f32` against `f64`.

use chainrule::math;

#[allow(clippy::approx_constant)]
mod table;

/// The distance between adjacent floats at `y`, normal or subnormal.
fn ulp(y: f64, epsilon: f64, least_normal: f64) -> f64 {
    let exponent = y.abs().max(least_normal).log2().floor();
    exponent.exp2() * epsilon
}

fn check_f64(name: &str, function: fn(f64) -> f64, table: table::Table, tolerance: f64) {
    let (mut worst, mut at) = (0.0, 0.0);
    for &(x, expected) in table {
        let found = function(x);
        assert!(found.is_finite(), "{name}({x:e}) = {found}");
        let error = (found - expected).abs() / ulp(expected, f64::EPSILON, f64::MIN_POSITIVE);
        if error > worst {
            (worst, at) = (error, x);
        }
    }
    println!("{name:15} f64: {worst:.2} ulp at {at:e}");
    assert!(worst <= tolerance, "{name}({at:e}): {worst} ulp");
}

/// Largest errors measured on 2500 random arguments each, in ulp: exp, ln, ln_1p < 0.75, exp_m1 and softplus 1.3, tanh
/// 1.9, sigmoid 1.6, erf 1.7, erfc and normal_cdf 2.5, normal_density 1.8.
#[test]
fn math_in_f64_is_within_ulps_of_800_digit_values() {
    check_f64("exp", math::exp, table::EXP, 1.0);
    check_f64("exp_m1", math::exp_m1, table::EXP_M1, 2.0);
    check_f64("ln", math::ln, table::LN, 1.0);
    check_f64("ln_1p", math::ln_1p, table::LN_1P, 1.0);
    check_f64("tanh", math::tanh, table::TANH, 2.0);
    check_f64("sigmoid", math::sigmoid, table::SIGMOID, 2.0);
    check_f64("softplus", math::softplus, table::SOFTPLUS, 2.0);
    check_f64("erf", math::erf, table::ERF, 2.0);
    check_f64("erfc", math::erfc, table::ERFC, 3.0);
    check_f64("normal_cdf", math::normal_cdf, table::NORMAL_CDF, 3.0);
    check_f64("normal_density", math::normal_density, table::NORMAL_DENSITY, 2.0);
}

/// Checks every 4099th `f32` of either sign.
fn check_f32(name: &str, function: fn(f32) -> f32, truth: fn(f64) -> f64, tolerance: f64) {
    let (mut worst, mut at) = (0.0, 0.0);
    for x in (0..=u32::MAX).step_by(4099).map(f32::from_bits) {
        let (found, expected) = (function(x), truth(x.into()));
        if expected.is_nan() {
            assert!(found.is_nan(), "{name}({x:e}) = {found}, not NaN");
            continue;
        }
        if found == expected as f32 {
            continue;
        }
        let error = (f64::from(found) - expected).abs() / ulp(expected, f32::EPSILON.into(), f32::MIN_POSITIVE.into());
        assert!(!error.is_nan(), "{name}({x:e}) = {found}");
        if error > worst {
            (worst, at) = (error, x);
        }
    }
    println!("{name:15} f32: {worst:.2} ulp at {at:e}");
    assert!(worst <= tolerance, "{name}({at:e}): {worst} ulp");
}

#[test]
fn math_in_f32_over_the_whole_range_is_within_ulps_of_f64() {
    fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + libm::exp(-x))
    }
    fn softplus(x: f64) -> f64 {
        if x <= 0.0 { libm::log1p(libm::exp(x)) } else { x + libm::log1p(libm::exp(-x)) }
    }
    fn normal_cdf(x: f64) -> f64 {
        0.5 * libm::erfc(-x * core::f64::consts::FRAC_1_SQRT_2)
    }
    check_f32("exp", math::exp, libm::exp, 1.0);
    check_f32("exp_m1", math::exp_m1, libm::expm1, 2.0);
    check_f32("ln", math::ln, libm::log, 1.0);
    check_f32("ln_1p", math::ln_1p, libm::log1p, 1.0);
    check_f32("tanh", math::tanh, libm::tanh, 3.0);
    check_f32("sigmoid", math::sigmoid, sigmoid, 3.0);
    check_f32("softplus", math::softplus, softplus, 2.0);
    check_f32("erf", math::erf, libm::erf, 3.0);
    check_f32("erfc", math::erfc, libm::erfc, 4.0);
    check_f32("gaussian", math::gaussian, |x| libm::exp(-x * x), 1.0);
    check_f32("normal_cdf", math::normal_cdf, normal_cdf, 4.0);
}

macro_rules! limits {
    ($float:ident) => {{
        const INF: $float = $float::INFINITY;
        type Limits = (fn($float) -> $float, [$float; 4]);
        // Values at −∞, −0, 0 and ∞.
        let functions: [Limits; 10] = [
            (math::exp, [0.0, 1.0, 1.0, INF]),
            (math::exp_m1, [-1.0, -0.0, 0.0, INF]),
            (math::ln, [$float::NAN, -INF, -INF, INF]),
            (math::ln_1p, [$float::NAN, -0.0, 0.0, INF]),
            (math::tanh, [-1.0, -0.0, 0.0, 1.0]),
            (math::sigmoid, [0.0, 0.5, 0.5, 1.0]),
            (math::erf, [-1.0, -0.0, 0.0, 1.0]),
            (math::erfc, [2.0, 1.0, 1.0, 0.0]),
            (math::gaussian, [0.0, 1.0, 1.0, 0.0]),
            (math::normal_cdf, [0.0, 0.5, 0.5, 1.0]),
        ];
        for (i, (function, expected)) in functions.iter().enumerate() {
            let found = [-INF, -0.0, 0.0, INF].map(function);
            for (f, e) in found.iter().zip(expected) {
                assert!(f.to_bits() == e.to_bits() || (f.is_nan() && e.is_nan()), "{i}: {found:?} for {expected:?}");
            }
            for nan in [$float::NAN, -$float::NAN, $float::from_bits($float::INFINITY.to_bits() + 1)] {
                assert!(function(nan).is_nan(), "{i}");
            }
        }
        let beyond: [$float; 4] = [math::exp(710.0), math::exp_m1(710.0), math::ln_1p(-1.0), math::ln_1p(-1.5)];
        assert!(beyond[0] == INF && beyond[1] == INF && beyond[2] == -INF && beyond[3].is_nan());
        assert_eq!((math::softplus(-INF), math::softplus(INF)), (0.0, INF));
        assert!(math::softplus($float::NAN).is_nan() && math::normal_density($float::NAN).is_nan());
    }};
}

#[test]
fn math_at_infinities_zeros_and_nan_has_the_exact_values() {
    limits!(f32);
    limits!(f64);
}

#[test]
fn math_with_subnormal_results_does_not_flush_to_zero() {
    assert_eq!(math::exp(-745.0), 5e-324);
    assert_eq!(math::exp(-746.0), 0.0);
    assert_eq!(math::exp(-103.0f32), libm::exp(-103.0) as f32);
    assert_eq!(math::exp_m1(5e-324), 5e-324);
    assert_eq!(math::tanh(5e-324), 5e-324);
    assert_eq!(math::tanh(-f32::MIN_POSITIVE), -f32::MIN_POSITIVE);
    assert!(math::sigmoid(-103.0f32) > 0.0 && math::sigmoid(-745.0f64) > 0.0);
}
