//! Mean-field theory, compared with published values, closed forms and brute-force quadrature.

use chainrule::{
    Activation, Bounds, Error, Scalar,
    activation::*,
    math,
    mean_field::{
        CriticalPoint, DepthScales, MeanField, Stability, backward_gain, critical_weight_variance, forward_gain,
    },
};
use proptest::prelude::*;
use std::f64::consts::{FRAC_2_SQRT_PI, FRAC_PI_4, PI, SQRT_2};

/// The error function as a custom activation.
#[derive(Clone, Debug)]
struct OwnErf;

impl Activation for OwnErf {
    fn value<T: Scalar>(&self, z: T) -> T {
        math::erf(z)
    }
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        math::gaussian(z) * T::from(FRAC_2_SQRT_PI).unwrap()
    }
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, FRAC_2_SQRT_PI))
    }
}

/// `φ(z) = zⁿ`.
#[derive(Clone, Debug)]
struct Power(i32);

impl Activation for Power {
    fn value<T: Scalar>(&self, z: T) -> T {
        z.powi(self.0)
    }
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        T::from(self.0).unwrap() * z.powi(self.0 - 1)
    }
}

macro_rules! own {
    ($name:ident, $z:ident, $value:expr, $derivative:expr) => {
        #[derive(Clone, Debug)]
        struct $name;
        impl Activation for $name {
            fn value<T: Scalar>(&self, $z: T) -> T {
                $value
            }
            fn derivative<T: Scalar>(&self, $z: T, _y: T) -> T {
                $derivative
            }
        }
    };
}
own!(Sine, z, z.sin(), z.cos());
own!(Exponential, z, z.exp(), z.exp());
own!(Steep, z, Tanh.value(steep(z)), steep(Tanh.derivative(steep(z), T::zero())));
own!(Shifted, z, Relu.value(z - third()), Relu.derivative(z - third(), T::zero()));
own!(Broken, z, z * T::nan(), z);

fn steep<T: Scalar>(z: T) -> T {
    z * T::from(50.0).unwrap()
}

fn third<T: Scalar>() -> T {
    T::from(1.0 / 3.0).unwrap()
}

fn field(activation: &dyn AnyActivation, weight_variance: f64, bias_variance: f64) -> MeanField<'_> {
    MeanField::new(activation, weight_variance, bias_variance).unwrap()
}

fn square(activation: &dyn AnyActivation, q: f64) -> f64 {
    field(activation, 1.0, 0.0).variance_map(q).unwrap()
}

fn derivative_square(activation: &dyn AnyActivation, q: f64) -> f64 {
    field(activation, 1.0, 0.0).chi(q).unwrap()
}

fn scales(field: &MeanField<'_>) -> DepthScales {
    field.depth_scales().unwrap()
}

/// Asserts that `found` equals `published` to the printed digits.
#[track_caller]
fn agrees(found: f64, published: &str) {
    let digits = published.split('.').nth(1).map_or(0, str::len);
    let expected: f64 = published.parse().unwrap();
    let off = (found - expected).abs();
    assert!(off <= 0.5001 * 10f64.powi(-(digits as i32)), "found {found}, published {published}");
}

#[track_caller]
fn near(found: f64, expected: f64) {
    let off = (found / expected - 1.0).abs();
    assert!(found == expected || off <= 1e-10, "found {found:e}, expected {expected:e}: off by {off:e}");
}

// ---------------------------------------------------------------------------------------------- check values

#[test]
fn critical_point_of_tanh_and_erf_has_the_published_values() {
    for (activation, bias_variance, weight_variance, q) in [
        // 1.760954639606…, confirmed with 25-digit arithmetic.
        (&Tanh as &dyn AnyActivation, 0.05, "1.76095", "0.57005"),
        (&Tanh, 0.01, "1.4242", "0.2733"),
        (&Tanh, 1.0, "3.4432", "3.0364"),
        (&OwnErf, 0.05, "1.37584", "0.51718"),
    ] {
        let points = CriticalPoint::all(activation, bias_variance).unwrap();
        assert_eq!(points.len(), 1);
        agrees(points[0].weight_variance, weight_variance);
        agrees(points[0].fixed_point.variance, q);
        assert!(points[0].is_usable());
        let found = critical_weight_variance(activation, bias_variance).unwrap().unwrap();
        assert_eq!(found, points[0].weight_variance);
        // At criticality the gradient and the correlation neither grow nor decay.
        let edge = field(activation, found, bias_variance);
        let scales = scales(&edge);
        assert_eq!((scales.gradient, scales.correlation), (f64::INFINITY, f64::INFINITY));
        near(edge.fixed_point().unwrap().variance, points[0].fixed_point.variance);
    }
    near(critical_weight_variance(&OwnErf, 0.0).unwrap().unwrap(), FRAC_PI_4);
    near(critical_weight_variance(&Tanh, 0.0).unwrap().unwrap(), 1.0);
}

#[test]
fn critical_weight_variance_of_piecewise_linear_activations_exists_without_bias_only() {
    for (activation, expected) in [
        (&Relu as &dyn AnyActivation, 2.0),
        (&LeakyRelu::new(0.3).unwrap(), 2.0 / 1.09),
        (&LeakyRelu::new(-0.2).unwrap(), 2.0 / 1.04),
        (&Identity, 1.0),
    ] {
        near(critical_weight_variance(activation, 0.0).unwrap().unwrap(), expected);
        assert_eq!(critical_weight_variance(activation, 1e-3).unwrap(), None);
        let kept = field(activation, expected, 0.0).fixed_points();
        assert_eq!(kept.len(), 1);
        assert_eq!((kept[0].variance, kept[0].stability), (1.0, Stability::Neutral));
        assert_eq!(scales(&field(activation, expected, 0.0)).trainable_depth(), f64::INFINITY);
        assert_eq!(field(activation, expected, 1e-3).fixed_points(), []);
        assert_eq!(field(activation, 1.1 * expected, 1e-3).depth_scales(), None);
    }
}

#[test]
fn mean_field_of_tanh_in_the_ordered_phase_has_the_published_scales() {
    let field = field(&Tanh, 1.3, 0.05);
    let point = field.fixed_point().unwrap();
    assert_eq!((field.fixed_points().len(), point.stability), (1, Stability::Stable));
    agrees(point.variance, "0.31532");
    agrees(field.chi(point.variance).unwrap(), "0.88016");
    assert_eq!(field.fixed_correlation(), Some(1.0));
    let scales = scales(&field);
    agrees(scales.correlation, "7.83");
    agrees(scales.gradient, "7.83");
    agrees(scales.variance, "1.785");
    near(scales.trainable_depth(), 6.0 * scales.correlation);
}

#[test]
fn mean_field_of_tanh_in_the_chaotic_phase_has_the_published_scales() {
    let field = field(&Tanh, 4.0, 0.05);
    let point = field.fixed_point().unwrap();
    agrees(point.variance, "2.19549");
    agrees(field.chi(point.variance).unwrap(), "1.34240");
    agrees(field.fixed_correlation().unwrap(), "0.16506");
    agrees(scales(&field).correlation, "6.98");
    assert!(scales(&field).gradient < 0.0);
}

#[test]
fn mean_field_of_tanh_with_gain_five_thirds_is_chaotic() {
    let field = field(&Tanh, 25.0 / 9.0, 0.0);
    let points = field.fixed_points();
    assert_eq!(
        points.iter().map(|point| point.stability).collect::<Vec<_>>(),
        [Stability::Unstable, Stability::Stable]
    );
    agrees(field.chi(field.fixed_point().unwrap().variance).unwrap(), "1.210");
    agrees(6.0 * scales(&field).gradient.abs(), "31");
    assert!(field.fixed_correlation().unwrap() < 1e-12);
}

#[test]
fn critical_point_of_gelu_needs_a_bias() {
    let point = CriticalPoint::at(&Gelu, 1.0).unwrap().unwrap();
    agrees(point.weight_variance, "2.19370");
    agrees(point.bias_variance, "0.06719");
    let he = field(&Gelu, 2.0, 0.0);
    agrees(he.decades(1.0, 20).unwrap(), "-2.11");
    agrees(he.decades(1.0, 50).unwrap(), "-6.63");
    // Without bias only σw² = 4 is critical, where the fixed point is unstable.
    let unbiased = CriticalPoint::all(&Gelu, 0.0).unwrap();
    near(unbiased[0].weight_variance, 4.0);
    assert_eq!(unbiased[0].fixed_point.stability, Stability::Unstable);
    assert_eq!(critical_weight_variance(&Gelu, 0.0).unwrap(), None);
    agrees(critical_weight_variance(&Gelu, point.bias_variance).unwrap().unwrap(), "2.19370");
}

#[test]
fn chi_of_selu_is_slightly_above_one() {
    let (lambda, alpha) = (1.0507009873554805f64, 1.6732632423543772f64);
    let below = 0.5 * libm::erfc(SQRT_2);
    let chi = derivative_square(&Selu, 1.0);
    near(chi, lambda * lambda * (0.5 + alpha * alpha * 2f64.exp() * below));
    agrees(chi, "1.0715749925");
    near(square(&Selu, 1.0), 1.0);
}

#[test]
fn critical_point_of_sigmoid_is_not_usable() {
    let points = CriticalPoint::all(&Sigmoid, 0.0).unwrap();
    assert_eq!(points.len(), 1);
    agrees(points[0].weight_variance, "103");
    assert!(!points[0].is_usable());
    assert_eq!(critical_weight_variance(&Sigmoid, 0.0).unwrap(), None);
    assert_eq!(CriticalPoint::at(&Sigmoid, 1.0).unwrap(), None);
    agrees(field(&Sigmoid, 1.0, 0.0).decades(1.0, 10).unwrap(), "-6.32");
}

#[test]
fn correlation_map_of_relu_iterated_approaches_one() {
    let field = field(&Relu, 2.0, 0.0);
    let mut c = 0.0;
    for layer in 1..=50 {
        c = field.correlation_map(1.0, c).unwrap();
        match layer {
            1 => agrees(c, ".31831"),
            10 => agrees(c, ".87154"),
            50 => agrees(c, ".98786"),
            _ => {}
        }
    }
}

#[test]
fn gains_of_activations_have_the_published_values() {
    for (activation, forward, backward) in [
        (&Tanh as &dyn AnyActivation, "1.59254", "1.46741"),
        (&Swish::default(), "1.67653", "1.62332"),
        (&Relu, "1.41421", "1.41421"),
    ] {
        agrees(forward_gain(activation, 1.0).unwrap(), forward);
        agrees(backward_gain(activation, 1.0).unwrap(), backward);
    }
    for q in [1e-9, 0.3, 1e9] {
        near(forward_gain(&Relu, q).unwrap(), SQRT_2);
        near(backward_gain(&Relu, q).unwrap(), SQRT_2);
    }
}

#[test]
fn lottery_of_relu_and_identity_is_the_closed_form() {
    near(field(&Relu, 2.0, 0.0).lottery(1.0, &[64; 10]).unwrap(), 50.0 / 64.0);
    near(field(&Identity, 1.0, 0.0).lottery(1.0, &[10, 20, 40]).unwrap(), 0.35);
    assert!(field(&Relu, 2.0, 0.0).lottery(1.0, &[3, 0]).is_err());
}

#[test]
fn layers_of_relu_have_the_closed_form_shares() {
    let field = field(&Relu, 1.0, 0.5);
    let layers: Vec<_> = field.layers(3.0).unwrap().take(3).collect();
    assert_eq!(layers.iter().map(|layer| layer.variance).collect::<Vec<_>>().len(), 3);
    for (layer, q) in layers.iter().zip([3.0, 2.0, 1.5]) {
        near(layer.variance, q);
        near(layer.activation, 0.5 * 0.5f64.log10());
        assert_eq!(layer.weights, 0.0);
        near(layer.decades(), layer.activation);
    }
    near(field.decades(3.0, 3).unwrap(), layers.iter().map(|layer| layer.decades()).sum());
}

// ---------------------------------------------------------------------------------------------- closed forms

fn erf_square(q: f64, c: f64) -> f64 {
    2.0 / PI * (2.0 * q * c / (1.0 + 2.0 * q)).asin()
}

fn erf_derivative_square(q: f64, c: f64) -> f64 {
    4.0 / PI / ((1.0 + 2.0 * q).powi(2) - (2.0 * q * c).powi(2)).sqrt()
}

/// Cho & Saul 2009, arc-cosine kernels of order 1, over its value at c = 1.
fn relu_angle(c: f64) -> f64 {
    ((1.0 - c * c).sqrt() + c * (PI - c.acos())) / PI
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn moments_of_erf_at_any_variance_are_the_closed_form(decades in -8.0..8.0f64) {
        let q = 10f64.powf(decades);
        // asin near 1 loses digits: 1 − (2/π)asin(1 − x) is computed as (2/π)acos(1 − x).
        let found = square(&OwnErf, q);
        prop_assert!((found / erf_square(q, 1.0) - 1.0).abs() <= 1e-10, "{found}");
        near(derivative_square(&OwnErf, q), 4.0 / PI / (1.0 + 4.0 * q).sqrt());
    }

    #[test]
    fn moments_of_piecewise_linear_activations_are_the_closed_form(decades in -200.0..200.0f64, slope in -2.0..2.0f64) {
        let (q, leaky) = (10f64.powf(decades), LeakyRelu::new(slope).unwrap());
        near(square(&Relu, q), 0.5 * q);
        near(derivative_square(&Relu, q), 0.5);
        near(square(&leaky, q), 0.5 * (1.0 + slope * slope) * q);
        near(derivative_square(&leaky, q), 0.5 * (1.0 + slope * slope));
    }

    #[test]
    fn correlation_map_of_erf_is_the_closed_form(decades in -3.0..3.0f64, c in -1.0..=1.0f64) {
        let q = 10f64.powf(decades);
        let found = field(&OwnErf, 1.0, 0.0).correlation_map(q, c).unwrap();
        let expected = erf_square(q, c) / erf_square(q, 1.0);
        prop_assert!((found - expected).abs() <= 1e-10, "q {q}, c {c}: {found}, expected {expected}");
    }

}

proptest! {
    #![proptest_config(cases(6))]

    #[test]
    fn depth_scales_of_erf_are_the_closed_form(weight_variance in 1.5..20.0f64, bias_variance in 0.0..0.5f64) {
        let field = field(&OwnErf, weight_variance, bias_variance);
        let q = field.fixed_point().unwrap().variance;
        near(weight_variance * erf_square(q, 1.0) + bias_variance, q);
        let c = field.fixed_correlation().unwrap();
        let off = (weight_variance * erf_square(q, c) + bias_variance) / q - c;
        prop_assert!(off.abs() <= 1e-10, "c* {c}: off by {off:e}");
        let rate = weight_variance * erf_derivative_square(q, c);
        if (rate - 1.0).abs() > 1e-3 {
            near(scales(&field).correlation, -1.0 / rate.ln());
        }
        // d/dq of (2/π)asin(2q/(1 + 2q)).
        let slope = weight_variance * 4.0 / PI / ((1.0 + 2.0 * q) * (1.0 + 4.0 * q).sqrt());
        near(scales(&field).variance, -1.0 / slope.ln());
    }
}

#[test]
fn correlation_map_of_relu_up_to_one_is_the_arc_cosine_kernel() {
    let field = field(&Relu, 2.0, 0.0);
    for near_one in [1.0, 0.5, 0.1, 1e-2, 1e-4, 1e-7, 1e-10, 1e-14, 0.0] {
        for c in [1.0 - near_one, near_one - 1.0, near_one] {
            for q in [1e-3, 1.0, 1e6] {
                let found = field.correlation_map(q, c).unwrap();
                assert!((found - relu_angle(c)).abs() <= 1e-10, "c {c}, q {q}: {found}, expected {}", relu_angle(c));
            }
        }
    }
}

#[test]
fn moments_of_powers_are_those_of_the_normal_distribution() {
    for (n, moment) in [(1, 1.0), (2, 3.0), (3, 15.0), (5, 945.0), (8, 2_027_025.0)] {
        for q in [0.01, 1.0, 7.0] {
            near(square(&Power(n), q), moment * q.powi(n));
        }
    }
}

#[test]
fn moments_of_growing_oscillating_or_jumping_activations_are_exact() {
    // E e^(2√q z) = e^(2q): φ² overflows long before the expectation does.
    for q in [0.1, 1.0, 30.0, 150.0] {
        near(square(&Exponential, q), (2.0 * q).exp());
    }
    assert_eq!(square(&Exponential, 1e6), f64::INFINITY);
    near(square(&Relu, 1e307), 5e306);
    for q in [1e-6, 0.5, 10.0, 1e4] {
        near(square(&Sine, q), -0.5 * (-2.0 * q).exp_m1());
        near(square(&Steep, q), square(&Tanh, 2500.0 * q));
        near(derivative_square(&Steep, q), 2500.0 * derivative_square(&Tanh, 2500.0 * q));
    }
    // A kink that is not declared: E (u − a)₊² = (q + a²)Φ(−a/√q) − a√q D(a/√q), D the normal density,
    // and E φ′² = Φ(−a/√q).
    for q in [0.01f64, 1.0, 100.0] {
        let (a, root) = (1.0 / 3.0, q.sqrt());
        let above = 0.5 * libm::erfc(a / root / SQRT_2);
        let density = (-0.5 * a * a / q).exp() / (2.0 * PI).sqrt();
        near(derivative_square(&Shifted, q), above);
        let expected = (q + a * a) * above - a * root * density;
        assert!((square(&Shifted, q) / expected - 1.0).abs() < 1e-9);
    }
    assert!(square(&Broken, 1.0).is_nan());
    assert_eq!(field(&Broken, 1.0, 0.0).depth_scales(), None);
    assert_eq!(critical_weight_variance(&Broken, 0.0).unwrap(), None);
}

// ---------------------------------------------------------------------------------------------- brute force

/// Simpson's rule on 60,000 intervals between consecutive kinks and 0, in z from −13 to 13.
fn simpson(q: f64, kinks: &[f64], f: impl Fn(f64) -> f64) -> f64 {
    const INTERVALS: usize = 60_000;
    let mut edges: Vec<f64> = kinks.iter().map(|kink| kink / q.sqrt()).chain([-13.0, 0.0, 13.0]).collect();
    edges.retain(|edge| edge.abs() <= 13.0);
    edges.sort_by(f64::total_cmp);
    let segment = |from: f64, to: f64| {
        let step = (to - from) / INTERVALS as f64;
        let at = |i: usize| {
            // Slightly inside the interval: φ′ may jump at its ends.
            let z = (from + step * i as f64).clamp(from + 1e-13 * step, to - 1e-13 * step);
            // By more than √q z is rounded.
            let inward = 1e-15 * z.abs().max(1e-2);
            let z = match i {
                0 => z + inward,
                INTERVALS => z - inward,
                _ => z,
            };
            f(q.sqrt() * z) * (-0.5 * z * z).exp()
        };
        let inner: f64 = (1..INTERVALS).map(|i| at(i) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
        (at(0) + inner + at(INTERVALS)) * step / 3.0
    };
    edges.windows(2).map(|pair| segment(pair[0], pair[1])).sum::<f64>() / (2.0 * PI).sqrt()
}

/// One activation of each type.
fn every() -> Vec<ActivationKind> {
    let mut all = ActivationKind::examples();
    all.dedup_by_key(|kind| kind.name());
    all
}

#[test]
fn moments_of_all_activations_agree_with_simpson() {
    let mut worst = 0.0f64;
    for kind in every() {
        let (activation, kinks) = (kind.as_any(), [kind.kinks(), kind.jumps()].concat());
        for q in [0.04, 1.0, 30.0] {
            let pairs = [
                (square(activation, q), simpson(q, &kinks, |u| activation.value_at(u).powi(2))),
                (derivative_square(activation, q), simpson(q, &kinks, |u| activation.derivative_at(u).powi(2))),
            ];
            for (found, expected) in pairs {
                worst = worst.max((found / expected - 1.0).abs());
                assert!((found / expected - 1.0).abs() <= 1e-10, "{kind:?}, q {q}: {found}, expected {expected}");
            }
        }
    }
    println!("brute force: off by {worst:e} at most");
}

#[test]
fn fixed_point_slope_agrees_with_finite_differences() {
    for kind in every() {
        // dV/dq by a five-point difference. V is smooth in q even if φ′ has jumps.
        let field = field(kind.as_any(), 1.0, 0.3);
        for point in field.fixed_points() {
            let (q, h) = (point.variance, 1e-3 * point.variance);
            let v = |q: f64| field.variance_map(q).unwrap();
            let slope = (8.0 * (v(q + h) - v(q - h)) - (v(q + 2.0 * h) - v(q - 2.0 * h))) / (12.0 * h);
            assert!((slope - point.slope).abs() < 1e-8, "{kind:?}: {slope}, said {}", point.slope);
        }
    }
}

// ---------------------------------------------------------------------------------------------- refusals

#[test]
fn mean_field_with_an_invalid_variance_is_an_error() {
    let field = field(&Tanh, 1.0, 0.0);
    for wrong in [-1.0, f64::NAN, f64::INFINITY, -f64::MIN_POSITIVE] {
        let refused: Vec<Error> = vec![
            MeanField::new(&Tanh, wrong, 0.0).unwrap_err(),
            MeanField::new(&Tanh, 1.0, wrong).unwrap_err(),
            field.variance_map(wrong).unwrap_err(),
            field.chi(wrong).unwrap_err(),
            field.correlation_map(wrong, 0.0).unwrap_err(),
            field.layers(wrong).err().unwrap(),
            field.decades(wrong, 3).unwrap_err(),
            field.lottery(wrong, &[3]).unwrap_err(),
            CriticalPoint::at(&Tanh, wrong).unwrap_err(),
            CriticalPoint::all(&Tanh, wrong).unwrap_err(),
            critical_weight_variance(&Tanh, wrong).unwrap_err(),
            forward_gain(&Tanh, wrong).unwrap_err(),
            backward_gain(&Tanh, wrong).unwrap_err(),
        ];
        assert!(refused.iter().all(|error| matches!(error, Error::Parameter { .. })), "{refused:?}");
    }
    assert!(field.correlation_map(1.0, 1.0 + 1e-15).is_err() && field.correlation_map(1.0, f64::NAN).is_err());
    assert!(forward_gain(&Tanh, 0.0).is_err());
}

#[test]
fn fixed_points_at_the_ends_of_the_range_are_kept() {
    for kind in every() {
        for (weight_variance, bias_variance) in
            [(0.0, 0.0), (0.0, 1.0), (1e-300, 1e-300), (1e300, 0.0), (1e300, 1e300), (1e-20, 3.0), (f64::MAX, f64::MAX)]
        {
            let field = field(kind.as_any(), weight_variance, bias_variance);
            for point in field.fixed_points() {
                let q = field.variance_map(point.variance).unwrap();
                let same = q == point.variance || (q / point.variance - 1.0).abs() < 1e-9;
                assert!(same, "{kind:?} ({weight_variance:e}, {bias_variance:e}): {point:?} goes to {q:e}");
            }
            assert!(field.layers(1.0).unwrap().take(3).all(|layer| layer.variance.is_finite()));
        }
    }
}

#[test]
fn correlation_under_a_jump_never_reaches_one() {
    // χ₁ < 1, and yet inputs are parted: the slope of the map is infinite at c = 1.
    for (activation, weights, bias) in
        [(HardShrink::default().kind(), 0.9, 0.3), (Threshold::new(0.5, -1.0).unwrap().kind(), 0.8, 0.1)]
    {
        let field = field(activation.as_any(), weights, bias);
        let q = field.fixed_point().unwrap().variance;
        let (chi, c) = (field.chi(q).unwrap(), field.fixed_correlation().unwrap());
        assert!(chi < 1.0 && c < 1.0, "{activation:?}: χ₁ {chi}, c* {c}");
        let map = |c: f64| field.correlation_map(q, c).unwrap();
        assert!((map(c) - c).abs() < 1e-10, "{activation:?}: c* {c}, mapped to {}", map(c));
        let above = 0.5 * (1.0 + c);
        assert!(map(above) < above, "{activation:?}: {above} mapped to {}", map(above));
        // The rate at which a departure from c* decays is the slope of the map.
        let h = 1e-4 * (1.0 - c);
        let slope = (8.0 * (map(c + h) - map(c - h)) - (map(c + 2.0 * h) - map(c - 2.0 * h))) / (12.0 * h);
        let rate = (-1.0 / field.depth_scales().unwrap().correlation).exp();
        assert!((slope / rate - 1.0).abs() < 1e-6, "{activation:?}: slope {slope}, rate {rate}");
    }
}
