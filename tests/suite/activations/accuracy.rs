//! How far values and derivatives are from the truth, through the layer that users run: `f64` by a table of 400-digit
//! values (`truth.py`), `f32` by `f64`.

use super::*;
use chainrule::{BatchShape, Scalar, layer::ActivationLayer, scalar, to_f64, workspace::Workspace};

/// φ and φ′ at each of `z`, by the passes of a layer.
fn through_a_layer<T: Scalar, A: Activation + Clone>(activation: &A, z: &[f64]) -> Vec<[f64; 2]> {
    let z: Vec<T> = z.iter().map(|&z| scalar(z)).collect();
    let mut workspace =
        Workspace::new(ActivationLayer::new(z.len(), activation.clone()), BatchShape::batch(1)).unwrap();
    workspace.compute_input_gradient(true);
    let output = workspace.forward(&[], &z, BatchShape::batch(1)).unwrap();
    output.dy.fill(T::one());
    let y = output.y.to_vec();
    workspace.backward(&[]).unwrap();
    y.iter().zip(workspace.input_gradient()).map(|(&y, &dy)| [to_f64(y), to_f64(dy)]).collect()
}

/// A format: its distance of neighbours at 1, its least normal number, and the units in the last place allowed.
struct Format {
    name: &'static str,
    epsilon: f64,
    least: f64,
    allowed: f64,
}

const SINGLE: Format =
    Format { name: "f32", epsilon: f32::EPSILON as f64, least: f32::MIN_POSITIVE as f64, allowed: 4.0 };
const DOUBLE: Format = Format { name: "f64", epsilon: f64::EPSILON, least: f64::MIN_POSITIVE, allowed: 2.0 };

/// A true number, rounded to f64, and what that lost in units in the last place of f64.
type Truth = (f64, f64);

impl Format {
    fn ulps(&self, found: f64, (expected, lost): Truth) -> f64 {
        let unit = |epsilon: f64, least: f64| expected.abs().max(least).log2().floor().exp2() * epsilon;
        let lost = lost * expected.signum() * unit(f64::EPSILON, f64::MIN_POSITIVE);
        ((found - expected) - lost).abs() / unit(self.epsilon, self.least)
    }

    /// Holds the errors of `activation` to what is allowed: near a zero of φ′ in units of its largest value.
    fn check(&self, activation: &impl Activation, z: &[f64], found: &[[f64; 2]], truth: &[[Truth; 2]]) {
        let bounds = activation.derivative_bounds().unwrap();
        let zero = zero_of_derivative(&activation.kind());
        let mut worst = [(0.0, 0.0); 2];
        for ((&z, found), truth) in z.iter().zip(found).zip(truth) {
            for i in 0..2 {
                let mut error = self.ulps(found[i], truth[i]);
                if i == 1 && zero.is_some_and(|zero| (z - zero).abs() < 0.5 * zero.abs()) {
                    error = error.min((found[1] - truth[1].0).abs() / (self.epsilon * bounds.magnitude()));
                }
                // Without FMA the roundings of an exponent show, two for a product of three, and others add up.
                if !has_fma() {
                    error -= self.allowed + 2.0 * truth[i].0.abs().max(self.least * self.epsilon).ln().abs();
                }
                assert!(error.is_finite(), "{activation:?} in {}: {found:?} at {z:e}, not {truth:?}", self.name);
                if error > worst[i].0 {
                    worst[i] = (error, z);
                }
            }
        }
        let [(value, at), (derivative, derivative_at)] = worst;
        println!(
            "{} {activation:?}: value {value:.2} ulp at {at:e}, derivative {derivative:.2} ulp at {derivative_at:e}",
            self.name
        );
        // The square of tanh has twice its relative error.
        let squared = if activation.kind() == TanhShrink.kind() { 2.0 } else { 1.0 };
        assert!(value <= self.allowed && derivative <= squared * self.allowed, "{activation:?} in {}", self.name);
    }
}

/// Whether the kernels multiply and add at once here.
fn has_fma() -> bool {
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    return std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma");
    #[cfg(not(all(target_arch = "x86_64", feature = "std")))]
    false
}

/// Where φ′ changes its sign.
fn zero_of_derivative(kind: &ActivationKind) -> Option<f64> {
    Some(match kind {
        ActivationKind::Gelu(_) => -0.7518,
        ActivationKind::GeluTanh(_) => -0.7525,
        ActivationKind::Swish(swish) => -1.2785 / swish.beta(),
        ActivationKind::Mish(_) => -1.1925,
        ActivationKind::HardSwish(_) => -1.5,
        _ => return None,
    })
}

/// Every activation that is more than comparisons and one product, with the name of its lines in the table.
macro_rules! for_each_activation {
    ($check:ident) => {
        $check("Sigmoid", Sigmoid);
        $check("Tanh", Tanh);
        $check("Softsign", Softsign);
        $check("Erf", Erf);
        $check("Elu(1)", Elu::default());
        $check("Celu(3)", Celu::new(3.0).unwrap());
        $check("Selu", Selu);
        $check("Gelu", Gelu);
        $check("GeluTanh", GeluTanh);
        $check("Swish(1)", Swish::SILU);
        $check("Swish(-2)", Swish::new(-2.0).unwrap());
        $check("Swish(0.3)", Swish::new(0.3f32.into()).unwrap());
        $check("Mish", Mish);
        $check("Softplus(1)", Softplus::default());
        $check("Softplus(3)", Softplus::new(3.0).unwrap());
        $check("LogSigmoid", LogSigmoid);
        $check("TanhShrink", TanhShrink);
    };
}

#[test]
fn f64_against_400_digits() {
    fn check(name: &str, activation: impl Activation + Clone) {
        let lines = include_str!("truth.csv").lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(','));
        let numbers =
            |line: &str| <[f64; 5]>::try_from(line.split(',').map(|n| n.parse().unwrap()).collect::<Vec<_>>());
        let lines: Vec<[f64; 5]> = lines.map(|line| numbers(line).unwrap()).collect();
        assert_eq!(lines.len(), 220, "{name}");
        let z: Vec<f64> = lines.iter().map(|line| line[0]).collect();
        let truth: Vec<_> = lines.iter().map(|line| [(line[1], line[2]), (line[3], line[4])]).collect();
        DOUBLE.check(&activation, &z, &through_a_layer::<f64, _>(&activation, &z), &truth);
    }
    for_each_activation!(check);
}

/// Numbers over the whole range of f32, more of them where functions bend; and the activations made of straight lines.
#[test]
fn f32_against_f64() {
    fn check(_name: &str, activation: impl Activation + Clone) {
        let mut z: Vec<f64> = (0..=u32::MAX).step_by(1 << 17).map(|bits| f32::from_bits(bits).into()).collect();
        z.retain(|z| z.abs() <= 1e38);
        z.extend((-60_000..60_000).map(|i| f64::from(i as f32 * 0.001_7)));
        let truth: Vec<_> =
            through_a_layer::<f64, _>(&activation, &z).iter().map(|&truth| truth.map(|y| (y, 0.0))).collect();
        SINGLE.check(&activation, &z, &through_a_layer::<f32, _>(&activation, &z), &truth);
    }
    for_each_activation!(check);
    check("Identity", Identity);
    check("Relu", Relu);
    check("LeakyRelu", LeakyRelu::new(0.3f32.into()).unwrap());
    check("Relu6", Relu6);
    check("HardTanh", HardTanh::default());
    check("HardSigmoid", HardSigmoid);
    check("HardSwish", HardSwish);
    check("HardShrink", HardShrink::default());
    check("SoftShrink", SoftShrink::default());
    check("Threshold", Threshold::new(0.125, 20.0).unwrap());
}
