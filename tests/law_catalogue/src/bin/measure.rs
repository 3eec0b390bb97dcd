//! Measured bounds of derivatives against analytic ones, at many seeds: `measure [SEEDS]`.

use chainrule::{Activation, Bounds, Scalar, activation::ActivationKind, scalar, testing::measure_derivative, to_f64};
use std::f64::consts::FRAC_2_SQRT_PI;

/// φ and φ′ in `f64`, with what is known of φ′.
#[derive(Clone, Debug)]
struct Form {
    name: &'static str,
    value: fn(f64) -> f64,
    slope: fn(f64) -> f64,
    bounds: (f64, f64),
}

impl Activation for Form {
    fn value<T: Scalar>(&self, z: T) -> T {
        scalar((self.value)(to_f64(z)))
    }
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        scalar((self.slope)(to_f64(z)))
    }
}

fn sech2(z: f64) -> f64 {
    let e = (-2.0 * z.abs()).exp();
    4.0 * e / (1.0 + e).powi(2)
}

fn bell(z: f64) -> f64 {
    FRAC_2_SQRT_PI * (-z * z).exp()
}

/// sup of −d/dz exp(−z²).
const BELL_SLOPE: f64 = 0.857_763_884_960_706_8;
const INF: f64 = f64::INFINITY;

macro_rules! forms {
    ($($name:literal: |$z:ident| $value:expr, $slope:expr, $inf:expr, $sup:expr;)+) => {
        fn forms() -> Vec<Form> {
            vec![$(Form { name: $name, value: |$z: f64| $value, slope: |$z: f64| $slope, bounds: ($inf, $sup) }),+]
        }
    };
}

forms! {
    "tanh(z - 50)": |z| (z - 50.0).tanh(), sech2(z - 50.0), 0.0, 1.0;
    "tanh(100 (z - 0.7))": |z| (100.0 * (z - 0.7)).tanh(), 100.0 * sech2(100.0 * (z - 0.7)), 0.0, 100.0;
    "tanh(1000 (z - 0.7))": |z| (1e3 * (z - 0.7)).tanh(), 1e3 * sech2(1e3 * (z - 0.7)), 0.0, 1e3;
    "tanh(1000 (z + 9.9))": |z| (1e3 * (z + 9.9)).tanh(), 1e3 * sech2(1e3 * (z + 9.9)), 0.0, 1e3;
    "tanh(z - 5000)": |z| (z - 5e3).tanh(), sech2(z - 5e3), 0.0, 1.0;
    "tanh(z + 9990)": |z| (z + 9990.0).tanh(), sech2(z + 9990.0), 0.0, 1.0;
    "erf(z - 9000)": |z| libm::erf(z - 9e3), bell(z - 9e3), 0.0, FRAC_2_SQRT_PI;
    "erf(800 (z - 8.5))": |z| libm::erf(800.0 * (z - 8.5)), 800.0 * bell(800.0 * (z - 8.5)), 0.0, 800.0 * FRAC_2_SQRT_PI;
    "exp(-(500 (z - 2))^2)": |z| (-(500.0 * (z - 2.0)).powi(2)).exp(),
        -1e3 * (500.0 * (z - 2.0)) * (-(500.0 * (z - 2.0)).powi(2)).exp(), -500.0 * BELL_SLOPE, 500.0 * BELL_SLOPE;
    "exp(-z^2)": |z| (-z * z).exp(), if z.abs() > 1e3 { 0.0 } else { -2.0 * z * (-z * z).exp() }, -BELL_SLOPE, BELL_SLOPE;
    "atan(z)": |z| z.atan(), (1.0 + z * z).recip(), 0.0, 1.0;
    "atan(1000 (z + 3.3))": |z| (1e3 * (z + 3.3)).atan(), 1e3 / (1.0 + (1e3 * (z + 3.3)).powi(2)), 0.0, 1e3;
    "atan(2 (z - 300))": |z| (2.0 * (z - 300.0)).atan(), 2.0 / (1.0 + (2.0 * (z - 300.0)).powi(2)), 0.0, 2.0;
    "sin z": |z| z.sin(), z.cos(), -1.0, 1.0;
    "sin 100z": |z| (100.0 * z).sin(), 100.0 * (100.0 * z).cos(), -100.0, 100.0;
    "sin 1000z": |z| (1e3 * z).sin(), 1e3 * (1e3 * z).cos(), -1e3, 1e3;
    "cos(30 z)/30": |z| (30.0 * z).cos() / 30.0, -(30.0 * z).sin(), -1.0, 1.0;
    "z + sin^2 z": |z| z + z.sin().powi(2), 1.0 + (2.0 * z).sin(), 0.0, 2.0;
    "z + sin^2(10 z)/10": |z| z + (10.0 * z).sin().powi(2) / 10.0, 1.0 + (20.0 * z).sin(), 0.0, 2.0;
    "z - sin z": |z| z - z.sin(), 1.0 - z.cos(), 0.0, 2.0;
    "sin z / z": |z| if z == 0.0 { 1.0 } else { z.sin() / z },
        if z.abs() < 1e-2 { -z / 3.0 + z.powi(3) / 30.0 } else { (z * z.cos() - z.sin()) / z / z },
        -0.436_181_817_271_458_5, 0.436_181_817_271_458_5;
    "asin(sin z)": |z| z.sin().asin(), if z.cos() >= 0.0 { 1.0 } else { -1.0 }, -1.0, 1.0;
    "|z|": |z| z.abs(), z.signum(), -1.0, 1.0;
    "|z - 0.123|": |z| (z - 0.123).abs(), (z - 0.123).signum(), -1.0, 1.0;
    "max(z, 0) at 77.7": |z| (z - 77.7).max(0.0), if z > 77.7 { 1.0 } else { 0.0 }, 0.0, 1.0;
    "z exp(-|z|)": |z| z * (-z.abs()).exp(), (1.0 - z.abs().min(1e3)) * (-z.abs()).exp(), -(-2.0f64).exp(), 1.0;
    "exp(-|z|)": |z| (-z.abs()).exp(), -z.signum() * (-z.abs()).exp(), -1.0, 1.0;
    "1/cosh z": |z| z.cosh().recip(), -z.tanh() / z.cosh(), -0.5, 0.5;
    "z^2/(1 + z^2)": |z| 1.0 - (1.0 + z * z).recip(), 2.0 * z / (1.0 + z * z) / (1.0 + z * z), -0.649_519_052_838_329, 0.649_519_052_838_329;
    "ln(1 + z^2)": |z| (z * z).ln_1p(), if z.abs() > 1e100 { 2.0 / z } else { 2.0 * z / (1.0 + z * z) }, -1.0, 1.0;
    "ln cosh z": |z| z.abs() + (-2.0 * z.abs()).exp().ln_1p(), z.tanh(), -1.0, 1.0;
    "asinh z": |z| z.asinh(), z.hypot(1.0).recip(), 0.0, 1.0;
    "sqrt(1 + z^2)": |z| z.hypot(1.0), z / z.hypot(1.0), -1.0, 1.0;
    "bent identity": |z| 0.5 * (z.hypot(1.0) - 1.0) + z, 0.5 * z / z.hypot(1.0) + 1.0, 0.5, 1.5;
    "softsign(500 (z - 0.77))": |z| { let u = 500.0 * (z - 0.77); u / (1.0 + u.abs()) },
        500.0 / (1.0 + (500.0 * (z - 0.77)).abs()).powi(2), 0.0, 500.0;
    "softplus(20 (z - 4))": |z| { let u = 20.0 * (z - 4.0); u.max(0.0) + (-u.abs()).exp().ln_1p() },
        20.0 / (1.0 + (-20.0 * (z - 4.0)).exp()), 0.0, 20.0;
    "sigmoid(z - 700)": |z| (1.0 + (700.0 - z).exp()).recip(), 0.25 * sech2(0.5 * (z - 700.0)), 0.0, 0.25;
    "sigmoid, NaN beyond 709": |z| (1.0 + (-z).exp()).recip(), z.exp() / (1.0 + z.exp()) / (1.0 + z.exp()), 0.0, 0.25;
    "tanh(z) + 0.3 tanh(1000 (z - 2))": |z| z.tanh() + 0.3 * (1e3 * (z - 2.0)).tanh(),
        sech2(z) + 300.0 * sech2(1e3 * (z - 2.0)), 0.0, 300.070_650_832_869_8;
    "tanh(z - 3) + 1.0001 tanh(z + 30)": |z| (z - 3.0).tanh() + 1.0001 * (z + 30.0).tanh(),
        sech2(z - 3.0) + 1.0001 * sech2(z + 30.0), 0.0, 1.0001;
    "sin z exp(-z^2/50)": |z| z.sin() * (-z * z / 50.0).exp(),
        if z.abs() > 1e3 { 0.0 } else { (z.cos() - z / 25.0 * z.sin()) * (-z * z / 50.0).exp() }, -0.844_249_667_654_529_4, 1.0;
    "1000 tanh(z/1000)": |z| 1e3 * (1e-3 * z).tanh(), sech2(1e-3 * z), 0.0, 1.0;
    "1e6 tanh(z/1e6)": |z| 1e6 * (1e-6 * z).tanh(), sech2(1e-6 * z), 0.0, 1.0;
    "1e40 tanh z": |z| 1e40 * z.tanh(), 1e40 * sech2(z), 0.0, 1e40;
    "1e-40 sin z": |z| 1e-40 * z.sin(), 1e-40 * z.cos(), -1e-40, 1e-40;
    "z^2": |z| z * z, 2.0 * z, -INF, INF;
    "z^3": |z| z * z * z, 3.0 * z * z, 0.0, INF;
    "exp z": |z| z.exp(), z.exp(), 0.0, INF;
    "exp exp z": |z| z.exp().exp(), (z + z.exp()).exp(), 0.0, INF;
    "sinh z": |z| z.sinh(), z.cosh(), 1.0, INF;
    "z cos z": |z| z * z.cos(), z.cos() - z * z.sin(), -INF, INF;
    "z ln(1 + |z|)": |z| z * z.abs().ln_1p(), z.abs().ln_1p() + (1.0 - (1.0 + z.abs()).recip()), 0.0, INF;
    "z ln ln(e^2 + |z|)": |z| z * (7.4 + z.abs()).ln().ln(), { let s = 7.4 + z.abs(); s.ln().ln() + z.abs() / s / s.ln() }, 7.4f64.ln().ln(), INF;
    "sign z sqrt |z|": |z| z.signum() * z.abs().sqrt(), 0.5 / z.abs().sqrt(), 0.0, INF;
    "cbrt z": |z| z.cbrt(), (z.cbrt() * z.cbrt() * 3.0).recip(), 0.0, INF;
    "z ln |z|": |z| if z == 0.0 { 0.0 } else { z * z.abs().ln() }, z.abs().ln() + 1.0, -INF, INF;
    "sqrt at 0.7": |z| (z - 0.7).abs().sqrt() * (z - 0.7).signum(), 0.5 / (z - 0.7).abs().sqrt(), 0.0, INF;
    "tan z": |z| z.tan(), 1.0 + z.tan().powi(2), 1.0, INF;
}

fn main() {
    let seeds: u64 = std::env::args().nth(1).and_then(|seeds| seeds.parse().ok()).unwrap_or(200);
    let start = std::time::Instant::now();
    let (mut wrong, mut worst, mut tried) = (0, 0.0f64, 0);
    let mut judge = |name: &str, bounds: Bounds, measure: &dyn Fn(u64) -> Bounds| {
        let (mut bad, mut example, mut error) = (0, None, 0.0f64);
        let size = [bounds.inf, bounds.sup].iter().filter(|x| x.is_finite()).fold(0.0, |a: f64, x| a.max(x.abs()));
        for seed in 0..seeds {
            let found = measure(seed);
            let off = [(found.inf, bounds.inf), (found.sup, bounds.sup)].map(|(found, expected)| {
                if found == expected { 0.0 } else { (found - expected).abs() / if size > 0.0 { size } else { 1.0 } }
            });
            let off = off[0].max(off[1]);
            if off > 1e-8 || off.is_nan() {
                bad += 1;
                example = Some((seed, found));
            } else {
                error = error.max(off);
            }
        }
        if bad > 0 {
            println!("{name}: wrong at {bad} of {seeds} seeds, {example:?}");
        }
        wrong += bad;
        worst = worst.max(error);
        tried += 1;
    };
    for form in forms() {
        judge(form.name, Bounds::new(form.bounds.0, form.bounds.1), &|seed| measure_derivative(&form, seed).bounds);
    }
    for kind in ActivationKind::examples() {
        judge(&format!("{kind:?}"), kind.derivative_bounds().unwrap(), &|seed| measure_derivative(&kind, seed).bounds);
    }
    println!("{tried} activations at {seeds} seeds: {wrong} wrong, the others within {worst:.1e} of the bound's size");
    println!("{:.1?} each", start.elapsed() / (tried * seeds as u32));
    assert_eq!(wrong, 0);
}
