//! All activations keep the laws of activations.

use chainrule::{
    Activation, Bounds, Scalar,
    activation::*,
    math,
    random::{generator, uniform},
    scalar,
    testing::{Evidence, Law, Violations, activation_laws, measure_derivative},
};

/// Seeds to try: `CHAINRULE_SEEDS`, or three.
fn seeds() -> u64 {
    std::env::var("CHAINRULE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(3)
}

/// Bounds never passed by more than 4 ulp and approached within 1e-6, at every seed; the worst of each law is printed.
fn lawful<A: Activation>(activation: A) {
    let laws = [Law::Derivative, Law::Precision, Law::BoundsHold, Law::BoundsTight, Law::Continuity, Law::Monotone];
    let mut worst = [[0.0f64; 2]; 6];
    let start = std::time::Instant::now();
    for seed in 0..seeds() {
        let evidence = activation_laws(&activation, seed).unwrap_or_else(|violations| panic!("{violations}"));
        for (law, worst) in laws.iter().zip(&mut worst) {
            for (scalar, worst) in ["f64", "f32"].iter().zip(worst) {
                *worst = worst.max(evidence.worst(*law, scalar).unwrap_or(0.0));
            }
        }
        for scalar in ["f64", "f32"] {
            assert!(evidence.worst(Law::BoundsHold, scalar).unwrap() <= 4.0);
        }
        assert!(evidence.worst(Law::BoundsTight, "f64").unwrap() <= 1e-6);
    }
    let each = start.elapsed() / seeds() as u32;
    print!("{activation:?}: {each:.1?} a seed");
    for (law, [double, single]) in laws.iter().zip(worst) {
        print!("; {law:?} {double:.1e} {single:.1e}");
    }
    println!();
}

/// Every fourth activation of the crate, so that they are tried side by side.
fn every_fourth(first: usize) {
    ActivationKind::examples().into_iter().skip(first).step_by(4).for_each(lawful);
}

#[test]
fn activations_of_the_crate_are_lawful_1() {
    every_fourth(0);
}

#[test]
fn activations_of_the_crate_are_lawful_2() {
    every_fourth(1);
}

#[test]
fn activations_of_the_crate_are_lawful_3() {
    every_fourth(2);
}

#[test]
fn activations_of_the_crate_are_lawful_4() {
    every_fourth(3);
}

/// A network of odd activations needs no bias in its mean field, so an odd function that is not stated costs a search.
#[test]
fn activation_states_that_it_is_odd_if_and_only_if_its_values_are() {
    for activation in ActivationKind::examples() {
        let odd = (1..400).all(|i| {
            let z = 0.05 * f64::from(i);
            activation.value(-z) == -activation.value(z)
        });
        assert_eq!(activation.is_odd(), odd, "{activation:?}");
    }
}

/// Right activations as users write them, in one line each: none may be accused.
macro_rules! custom {
    ($($test:ident $name:ident: |$z:ident| $value:expr, |$at:ident, $y:ident| $derivative:expr,
        $bounds:expr, [$($kink:expr),*];)+) => {$(
        #[derive(Clone, Debug)]
        struct $name;
        impl Activation for $name {
            fn value<T: Scalar>(&self, $z: T) -> T {
                $value
            }
            fn derivative<T: Scalar>(&self, $at: T, $y: T) -> T {
                let _ = ($at, $y);
                $derivative
            }
            fn derivative_bounds(&self) -> Option<Bounds> {
                $bounds.map(|(inf, sup)| Bounds::new(inf, sup))
            }
            fn kinks(&self) -> Vec<f64> {
                vec![$($kink),*]
            }
        }
        #[test]
        fn $test() {
            for seed in 0..seeds() {
                activation_laws(&$name, seed).unwrap_or_else(|violations| panic!("{violations}"));
            }
            println!("{}\n{}", activation_laws(&$name, 0).unwrap(), measure_derivative(&$name, 0));
        }
    )+};
}

const INFINITY: f64 = f64::INFINITY;

fn one<T: Scalar>() -> T {
    T::one()
}

custom! {
    sine Sine: |z| z.sin(), |z, y| z.cos(), Some((-1.0, 1.0)), [];
    cosine Cosine: |z| z.cos(), |z, y| -z.sin(), Some((-1.0, 1.0)), [];
    growing_cosine GrowingCosine: |z| z * z.cos(), |z, y| z.cos() - z * z.sin(), Some((-INFINITY, INFINITY)), [];
    snake Snake: |z| { let s = (z * scalar(0.1)).sin(); z + s * s * scalar(10.0) },
        |z, y| one::<T>() + (z * scalar(0.2)).sin(), None::<(f64, f64)>, [];
    square Square: |z| z * z, |z, y| z + z, Some((-INFINITY, INFINITY)), [];
    cube Cube: |z| z * z * z, |z, y| (z + z + z) * z, Some((0.0, INFINITY)), [];
    exponential Exponential: |z| z.exp(), |z, y| y, Some((0.0, INFINITY)), [];
    hyperbolic Hyperbolic: |z| math::exp(z) - math::exp(-z), |z, y| math::exp(z) + math::exp(-z), Some((2.0, INFINITY)), [];
    absolute Absolute: |z| z.abs(), |z, y| if z.is_nan() { z } else { z.signum() }, Some((-1.0, 1.0)), [0.0];
    arc_tangent ArcTangent: |z| z.atan(), |z, y| (one::<T>() + z * z).recip(), None::<(f64, f64)>, [];
    bump Bump: |z| math::gaussian(z), |z, y| if y == T::zero() { y } else { -(z + z) * y },
        Some((-0.857_763_884_960_706_8, 0.857_763_884_960_706_8)), [];
    shifted_softplus ShiftedSoftplus: |z| math::softplus(z) - scalar(core::f64::consts::LN_2), |z, y| math::sigmoid(z),
        Some((0.0, 1.0)), [];
    library_softplus LibrarySoftplus: |z| if z > T::zero() { z + (-z).exp().ln_1p() } else { z.exp().ln_1p() },
        |z, y| (one::<T>() + (-z).exp()).recip(), Some((0.0, 1.0)), [];
    sigmoid_by_tanh SigmoidByTanh: |z| (one::<T>() + (z * scalar(0.5)).tanh()) * scalar(0.5),
        |z, y| { let c = (z * scalar(0.5)).cosh().recip(); c * c * scalar(0.25) }, Some((0.0, 0.25)), [];
    narrow_tanh NarrowTanh: |z| math::tanh((z - scalar(0.75)) * scalar(1024.0)),
        |z, y| Tanh.derivative((z - scalar(0.75)) * scalar(1024.0), y) * scalar(1024.0), Some((0.0, 1024.0)), [];
    far_tanh FarTanh: |z| math::tanh(z - scalar(5e3)), |z, y| Tanh.derivative(z - scalar(5e3), y), Some((0.0, 1.0)), [];
    fast_sine FastSine: |z| (z * scalar(100.0)).sin(), |z, y| (z * scalar(100.0)).cos() * scalar(100.0),
        Some((-100.0, 100.0)), [];
    sinc Sinc: |z| {
            let series = one::<T>() - z * z / scalar(6.0);
            if z.abs() < scalar(1e-5) { series } else if z.is_infinite() { T::zero() } else { z.sin() / z }
        }, |z, y| {
            let terms = [-1.0 / 3.0, 1.0 / 30.0, -1.0 / 840.0, 1.0 / 45360.0, -1.0 / 3991680.0, 1.0 / 518918400.0];
            let series = z * terms.iter().rev().fold(T::zero(), |sum, &term| sum * z * z + scalar(term));
            let quotient = (z.cos() - z.sin() / z) / z;
            if z.abs() < scalar(0.5) { series } else if z.is_infinite() { T::zero() } else { quotient }
        }, Some((-0.436_181_817_271_458_5, 0.436_181_817_271_458_5)), [];
    quick_gelu QuickGelu: |z| Swish::new(1.702).unwrap().value(z), |z, y| Swish::new(1.702).unwrap().derivative(z, y),
        Some((-0.099_839_33, 1.099_839_33)), [];
    symmetric_logarithm SymmetricLogarithm: |z| z.signum() * z.abs().ln_1p(), |z, y| (one::<T>() + z.abs()).recip(),
        Some((0.0, 1.0)), [];
    third Third: |z| if z * scalar(3.0) > one() { z + z - scalar(1.0 / 3.0) } else { z },
        |z, y| if z.is_nan() { z } else if z * scalar(3.0) > one() { scalar(2.0) } else { one() }, Some((1.0, 2.0)), [1.0 / 3.0];
    naive_tanh NaiveTanh: |z| { let e = math::exp_m1(-(z.abs() + z.abs())); -e / (e + scalar(2.0)) * z.signum() },
        |z, y| { let e = math::exp(-(z.abs() + z.abs())); scalar::<T>(4.0) * e / ((one::<T>() + e) * (one::<T>() + e)) },
        Some((0.0, 1.0)), [];
}

#[test]
fn violation_of_a_measured_law_states_the_declaration() {
    let text = measure_derivative(&Gelu, 0).to_string();
    let declared = "fn derivative_bounds(&self) -> Option<Bounds> { Some(Bounds::new(-0.128904146, 1.12890415)) }";
    assert!(text.contains(declared), "{text}");
    let text = measure_derivative(&Relu6, 0).to_string();
    assert!(
        text.contains("Bounds::new(0.0, 1.0)") && text.contains("fn kinks(&self) -> Vec<f64> { vec![0.0, 6.0] }"),
        "{text}"
    );
    assert!(measure_derivative(&Cube, 0).to_string().contains("Bounds::new(0.0, f64::INFINITY)"));
    assert!(measure_derivative(&Tanh, 0).to_string().contains("least towards"));
    let undeclared = activation_laws(&Snake, 0).unwrap();
    assert!(undeclared.subject.contains("declares no bounds; φ′ from"), "{undeclared}");
}

/// Bounds, kinks and tails follow the parameter.
#[test]
fn any_parameter() {
    for seed in 0..seeds() {
        let mut rng = generator(seed);
        let (p, q) = (10f64.powf(3.0 * uniform(&mut rng) - 2.0), 4.0 * uniform(&mut rng) - 2.0);
        let lawful = |verdict: Result<Evidence, Violations>| verdict.map_err(|violations| panic!("{violations}"));
        _ = lawful(activation_laws(&LeakyRelu::new(q).unwrap(), seed));
        _ = lawful(activation_laws(&Elu::new(p).unwrap(), seed));
        _ = lawful(activation_laws(&Celu::new(p).unwrap(), seed));
        _ = lawful(activation_laws(&Swish::new(q * p).unwrap(), seed));
        _ = lawful(activation_laws(&Softplus::new(p).unwrap(), seed));
        _ = lawful(activation_laws(&HardTanh::new(q, q + p).unwrap(), seed));
    }
}

chainrule::activation_laws!(by_one_line, Mish);

/// Peaks that a coarse grid misses, and growth of every rate: `tests/law_catalogue` has 109 of them at 200 seeds.
#[test]
fn measured_bounds_of_peaks_and_of_growth_are_the_analytic_ones() {
    fn check<A: Activation>(activation: A, inf: f64, sup: f64) {
        for seed in 0..seeds() {
            let found = measure_derivative(&activation, seed).bounds;
            let near = |found: f64, bound: f64| {
                found == bound || (found - bound).abs() <= 1e-8 * if sup.is_finite() { sup } else { 1.0 }
            };
            assert!(near(found.inf, inf) && near(found.sup, sup), "{activation:?}, seed {seed}: {found:?}");
        }
    }
    check(NarrowTanh, 0.0, 1024.0);
    check(FarTanh, 0.0, 1.0);
    check(FastSine, -100.0, 100.0);
    check(Swish::new(50.0).unwrap(), -0.099_839_320_128_866_92, 1.099_839_320_128_867);
    check(Exponential, 0.0, INFINITY);
    check(GrowingCosine, -INFINITY, INFINITY);
    check(Hyperbolic, 2.0, INFINITY);
}

/// `e^(−u²)` with u = 256 (z − 2): its tails are values below the normal numbers, which have few digits.
#[derive(Clone, Copy, Debug)]
struct NarrowBell;

impl Activation for NarrowBell {
    fn value<T: Scalar>(&self, z: T) -> T {
        math::gaussian((z - scalar(2.0)) * scalar(256.0))
    }

    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        let u = (z - scalar(2.0)) * scalar(256.0);
        // Far out the product with e^(−u²) is 0 · ∞.
        match u.abs() > scalar(1e3) {
            true => T::zero(),
            false => -(u + u) * math::gaussian(u) * scalar(256.0),
        }
    }

    fn derivative_bounds(&self) -> Option<Bounds> {
        // |φ′| is largest at u² = ½.
        let most = 256.0 * (2.0 / core::f64::consts::E).sqrt();
        Some(Bounds::new(-most, most))
    }
}

#[test]
fn tail_below_the_normal_numbers_is_continuous() {
    for seed in [41, 51, 74, 86] {
        _ = activation_laws(&NarrowBell, seed).unwrap_or_else(|violations| panic!("{violations}"));
    }
}
