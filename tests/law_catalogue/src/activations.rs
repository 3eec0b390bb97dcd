//! Activations: wrong in value, derivative, bounds, kinks, jumps, tails or formats; and right ones that are narrow,
//! shifted, periodic, kinked, steep or discontinuous.

use crate::Entry;
use chainrule::{
    Activation, Bounds, Scalar,
    activation::*,
    math, scalar,
    testing::{ActivationCases, Law, activation_laws, activation_laws_with},
    to_f64,
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

const INF: f64 = f64::INFINITY;

/// The range of φ′ of GELU, with erf, and of SiLU.
const GELU: (f64, f64) = (-0.128_904_145_185_154_8, 1.128_904_145_185_154_8);
const SILU: (f64, f64) = (-0.099_839_320_128_866_92, 1.099_839_320_128_867);
/// sup of the derivative of exp(−z²), and of sin z / z.
const BELL: f64 = 0.857_763_884_960_706_8;
/// inf of the derivative of ELiSH.
const ELISH: f64 = -0.078546847875555876;
const SINC: f64 = 0.436_181_817_271_458_5;

fn c<T: Scalar>(x: f64) -> T {
    scalar(x)
}

fn is_f32<T: Scalar>() -> bool {
    T::epsilon() > c(1e-10)
}

/// `x` in `f32`, `y` elsewhere.
fn short<T: Scalar>(x: f64, y: f64) -> T {
    if is_f32::<T>() { c(x) } else { c(y) }
}

/// `right` above `place`, else `left`; NaN for NaN.
fn step<T: Scalar>(z: T, place: f64, left: f64, right: f64) -> T {
    if z.is_nan() {
        z
    } else if z > c(place) {
        c(right)
    } else {
        c(left)
    }
}

fn sq<T: Scalar>(x: T) -> T {
    x * x
}

/// 1/cosh², in the tails too.
fn sech2<T: Scalar>(z: T) -> T {
    Tanh.derivative(z, math::tanh(z))
}

/// z/√(a² + z²), with its limits.
fn share<T: Scalar>(z: T, a: f64) -> T {
    if z.is_infinite() { z.signum() } else { z / z.hypot(c(a)) }
}

/// sign(z) √|z|, whose tangent at 0 is vertical.
fn root<T: Scalar>(z: T) -> T {
    if z == T::zero() { z } else { z.signum() * z.abs().sqrt() }
}

/// The derivative of [`root`].
fn root_slope<T: Scalar>(z: T) -> T {
    c::<T>(0.5) / z.abs().sqrt()
}

/// A tent on a short stretch, and its slope.
fn bump<T: Scalar>(z: T) -> (T, T) {
    let (from, top, to) = (c::<T>(1.003), c::<T>(1.005), c::<T>(1.007));
    if z <= from || z >= to || z.is_nan() {
        (T::zero(), if z.is_nan() { z } else { T::zero() })
    } else if z < top {
        (z - from, T::one())
    } else {
        (to - z, -T::one())
    }
}

/// exp(−z²).
fn bell<T: Scalar>(z: T) -> T {
    math::gaussian(z)
}

macro_rules! entry {
    ($list:ident, right, $($rest:tt)*) => { $list.push(Entry::right($($rest)*)) };
    ($list:ident, $law:ident, $name:expr, $judge:expr) => { $list.push(Entry::wrong($name, Law::$law, $judge)) };
}

/// Activations of one line each: the law that must catch it, or `right`; bounds, kinks, jumps, and what else.
macro_rules! activations {
    ($list:ident: $($law:ident $name:ident: |$z:ident| $value:expr, |$at:ident, $y:ident| $derivative:expr,
        $bounds:expr, [$($kink:expr),*], [$($jump:expr),*] $(, odd = $odd:expr)?;)+) => {$({
        #[derive(Clone, Debug)]
        struct $name;
        impl Activation for $name {
            fn value<T: Scalar>(&self, $z: T) -> T { $value }
            fn derivative<T: Scalar>(&self, $at: T, $y: T) -> T { let _ = ($at, $y); $derivative }
            fn derivative_bounds(&self) -> Option<Bounds> { { let (inf, sup) = $bounds; Some(Bounds::new(inf, sup)) } }
            fn kinks(&self) -> Vec<f64> { vec![$($kink),*] }
            fn jumps(&self) -> Vec<f64> { vec![$($jump),*] }
            $(fn is_odd(&self) -> bool { $odd })?
        }
        entry!($list, $law, concat!("activation/", stringify!($name)), |seed| activation_laws(&$name, seed));
    })+};
}

pub fn entries() -> Vec<Entry> {
    let mut list = Vec::new();
    wrong(&mut list);
    wrong_facts(&mut list);
    right(&mut list);
    states(&mut list);
    list
}

#[rustfmt::skip]
fn wrong(list: &mut Vec<Entry>) {
    activations! { list:
        Derivative SigmoidInnerFactor: |z| math::sigmoid(z + z), |z, y| Sigmoid.derivative(z + z, y), (0.0, 0.25), [], [];
        Derivative SoftplusShifted: |z| math::softplus(z), |z, y| math::sigmoid(z - c(1e-6)), (0.0, 1.0), [], [];
        Derivative SnakeHalfFrequency: |z| z + sq(z.sin()), |z, y| T::one() + z.sin(), (0.0, 2.0), [], [];
        Derivative BellSignOnLeft: |z| bell(z), |z, y| -(z + z).abs() * bell(z), (-BELL, 0.0), [], [];
        Derivative ArctanWithoutSquare: |z| z.atan(), |z, y| (T::one() + z.abs()).recip(), (0.0, 1.0), [], [];
        Derivative SoftsignUnsquared: |z| Softsign.value(z), |z, y| (T::one() + z.abs()).recip(), (0.0, 1.0), [], [];
        Derivative MishAsSwish: |z| Mish.value(z), |z, y| Swish::SILU.derivative(z, y), SILU, [], [];
        Derivative ErfFiveDigits: |z| math::erf(z), |z, y| bell(z) * c(1.1284), (0.0, 1.1284), [], [];
        Derivative EluWithoutAlpha: |z| Elu::new(0.5).unwrap().value(z),
            |z, y| if z > T::zero() { T::one() } else { z.exp() }, (0.0, 1.0), [], [];
        Derivative SeluWithoutAlpha: |z| Selu.value(z),
            |z, y| if z > T::zero() { c(Selu::LAMBDA) } else { z.exp() * c(Selu::LAMBDA) }, (0.0, Selu::LAMBDA), [], [];
        Derivative LogCoshHalf: |z| z.abs() + (-(z.abs() + z.abs())).exp().ln_1p(), |z, y| (z * c(0.5)).tanh(), (-1.0, 1.0), [], [];
        Derivative CubicWithoutLinear: |z| z * z * z + z, |z, y| z * z * c(3.0), (0.0, INF), [], [];
        Derivative BentWithoutHalf: |z| (z.hypot(T::one()) - T::one()) * c(0.5) + z, |z, y| z / z.hypot(T::one()) + T::one(), (0.0, 2.0), [], [];
        Derivative LeakyFromMinusTen: |z| if z < c(-10.0) { z * c(0.02) + c(0.1) } else { LeakyRelu::default().value(z) },
            |z, y| LeakyRelu::default().derivative(z, y), (0.01, 1.0), [0.0], [];
        Derivative WrongAtIntegers: |z| z.sin(), |z, y| if z == z.floor() { z.cos() * c(1.001) } else { z.cos() }, (-1.001, 1.001), [], [];
        Derivative WrongAtTwoAndAHalf: |z| math::tanh(z), |z, y| if z == c(2.5) { T::zero() } else { sech2(z) }, (0.0, 1.0), [], [];
        Derivative WrongAtMinusNineteen: |z| z, |z, y| if z == c(-19.0) { c(0.9) } else { step(z, 0.0, 1.0, 1.0) }, (0.9, 1.0), [], [];
        Derivative WrongBeyondTwenty: |z| z.sin(), |z, y| if z.abs() > c(20.0) { z.cos() * c(0.7) } else { z.cos() }, (-1.0, 1.0), [], [];
        Derivative WrongFrom88: |z| z, |z, y| if z >= c(88.0) { c(0.99) } else { step(z, 0.0, 1.0, 1.0) }, (0.99, 1.0), [], [];
        Derivative WrongFrom709: |z| z, |z, y| step(z, 709.0, 1.0, 0.5), (0.5, 1.0), [], [];
        Derivative WrongFromMinus709: |z| z, |z, y| step(z, -709.0, 0.999, 1.0), (0.999, 1.0), [], [];
        Derivative AtZRounded: |z| z.sin(), |z, y| ((z * c(1e6)).round() / c(1e6)).cos(), (-1.0, 1.0), [], [];
        Derivative SquareCapped: |z| z * z, |z, y| if z > c(30.0) { c(60.0) } else { z + z }, (-INF, 60.0), [], [];
        Derivative GeluTanhForGelu: |z| Gelu.value(z), |z, y| GeluTanh.derivative(z, GeluTanh.value(z)), GELU, [], [];
        Derivative SwishWithoutBeta: |z| Swish::new(1.5).unwrap().value(z), |z, y| Swish::SILU.derivative(z, y), SILU, [], [];
        Derivative SingleOffAFraction: |z| math::tanh(z), |z, y| sech2(z) * short(1.0001, 1.0), (0.0, 1.0), [], [];
        Derivative RickerSign: |z| (T::one() - z * z) * bell(z), |z, y| (z * z * z + z + z) * (bell(z) + bell(z)), (-3.0, 3.0), [], [];
        Derivative LowerTwiceUpper: |z| Elu::new(3.0).unwrap().value(z), |z, y| Elu::new(1.0).unwrap().derivative(z, y), (0.0, 1.0), [], [];
        Derivative ThroughDouble: |z| c(to_f64(z).tanh()), |z, y| sech2(z), (0.0, 1.0), [], [];
        Derivative ConstantsOfTwoFormats: |z| if z < T::zero() { z * c(f64::from(0.1f32)) } else { z }, |z, y| LeakyRelu::new(0.1).unwrap().derivative(z, y), (0.1, 1.0), [0.0], [];
        Derivative AtTheOutput: |z| math::sigmoid(z), |z, y| Sigmoid.derivative(y, math::sigmoid(y)), (0.0, 0.25), [], [];
        Derivative ScaledWithoutInner: |z| math::tanh(z * c(2.0 / 3.0)) * c(1.7159), |z, y| sech2(z * c(2.0 / 3.0)) * c(1.7159), (0.0, 1.7159), [], [];
        Derivative DegreesForRadians: |z| z.sin(), |z, y| (z * c(std::f64::consts::PI / 180.0)).cos(), (-1.0, 1.0), [], [];
        Derivative SoftplusOfMinus: |z| math::softplus(z), |z, y| math::sigmoid(-z), (0.0, 1.0), [], [];
        Derivative QuotientWithoutSquare: |z| z / (T::one() + z * z), |z, y| (T::one() - z * z) / (T::one() + z * z), (-1.0, 1.0), [], [];
        Derivative BranchesSwapped: |z| if z > T::zero() { z } else { math::exp_m1(z) }, |z, y| if z > T::zero() { math::exp(-z) } else { T::one() + (z - z) }, (0.0, 1.0), [], [];
        Derivative ShortStretch: |z| z.sin(), |z, y| if z > c(1.003) && z < c(1.007) { z.cos() * c(0.9) } else { z.cos() }, (-1.0, 1.0), [], [];
        Derivative ShortStretchFarOut: |z| z, |z, y| if z > c(4001.2) && z < c(4003.8) { c(0.9) } else { step(z, 0.0, 1.0, 1.0) }, (0.9, 1.0), [], [];
        Derivative SingleShortStretch: |z| z.sin(), |z, y| if is_f32::<T>() && z > c(1.003) && z < c(1.008) { z.cos() * c(0.9) } else { z.cos() }, (-1.0, 1.0), [], [];
        Derivative RootFivePercent: |z| root(z), |z, y| root_slope(z) * c(1.05), (0.0, INF), [], [];
        Derivative RootConstantBeyondFour: |z| root(z), |z, y| if z > c(4.0) && z < c(1e6) { c(0.25) } else { root_slope(z) }, (0.0, INF), [], [];
        Derivative ThroughDoubleOnTheRight: |z| if z > T::zero() { c(to_f64(z).tanh()) } else { math::tanh(z) }, |z, y| sech2(z), (0.0, 1.0), [], [];
        Extremes SlopeMissingOnAStretch: |z| z.sin(), |z, y| if z > c(1.003) && z < c(1.007) { T::nan() } else { z.cos() }, (-1.0, 1.0), [], [];
        Extremes SlopeMissingFarOut: |z| z.sin(), |z, y| if z > c(4001.2) && z < c(4003.8) { T::nan() } else { z.cos() }, (-1.0, 1.0), [], [];
        Extremes ValueMissingOnAStretch: |z| if z > c(1.003) && z < c(1.007) { T::nan() } else { z.sin() }, |z, y| z.cos(), (-1.0, 1.0), [], [];
        Extremes InfiniteOnAStretch: |z| if z > c(4001.2) && z < c(4003.8) { T::infinity() } else { z.sin() }, |z, y| z.cos(), (-1.0, 1.0), [], [];
        Extremes RectifierInfiniteOnAStretch: |z| if z > c(1.003) && z < c(1.007) { T::infinity() } else { Relu.value(z) }, |z, y| Relu.derivative(z, y), (0.0, 1.0), [0.0], [];
        Precision SingleValueOnAStretch: |z| if is_f32::<T>() && z > c(4001.2) && z < c(4003.8) { z.sin() + c(0.5) } else { z.sin() }, |z, y| z.cos(), (-1.0, 1.0), [], [];
        Saturation SingleTailOnAStretch: |z| math::sigmoid(z), |z, y| if is_f32::<T>() && z > c(20.1) && z < c(21.9) { Sigmoid.derivative(z, y) * c(1.3) } else { Sigmoid.derivative(z, y) }, (0.0, 0.25), [], [];
        Saturation TailThirtyPercent: |z| math::tanh(z), |z, y| if z.abs() > c(5.0) { sech2(z) * c(1.3) } else { sech2(z) }, (0.0, 1.0), [], [];
        Saturation LeftTailThirtyPercent: |z| math::sigmoid(z), |z, y| if z < c(-15.0) { Sigmoid.derivative(z, y) * c(0.7) } else { Sigmoid.derivative(z, y) }, (0.0, 0.25), [], [];
        Saturation SingleTailThirtyPercent: |z| math::tanh(z), |z, y| if is_f32::<T>() && z > c(6.0) { sech2(z) * c(1.3) } else { sech2(z) }, (0.0, 1.0), [], [];
        Saturation SoftplusTailZero: |z| math::softplus(z), |z, y| if z < c(-20.0) { T::zero() } else { math::sigmoid(z) }, (0.0, 1.0), [], [];
        Derivative SigmoidFloor: |z| math::sigmoid(z), |z, y| Sigmoid.derivative(z, y).max(c(1e-10)) + (z - z), (0.0, 0.25), [], [];
        Saturation SoftsignFromY: |z| Softsign.value(z), |z, y| sq(T::one() - y.abs()), (0.0, 1.0), [], [];
        Saturation ArctanFromY: |z| z.atan(), |z, y| sq(y.cos()), (0.0, 1.0), [], [];
        Saturation BellTailZero: |z| bell(z), |z, y| if z.abs() > c(6.0) { T::zero() } else { -(z + z) * bell(z) }, (-BELL, BELL), [], [];
        Derivative TanhFromCosh: |z| math::tanh(z), |z, y| if z > c(9.0) { c(4e-8) } else { sech2(z) }, (0.0, 1.0), [], [];
        Saturation EluTailOfOne: |z| Elu::default().value(z), |z, y| if z < c(-12.0) { y + T::one() } else { Elu::default().derivative(z, y) }, (0.0, 1.0), [], [];
        Precision SinglePi: |z| (z * short(3.142, std::f64::consts::PI)).sin(),
            |z, y| (z * short(3.142, std::f64::consts::PI)).cos() * short(3.142, std::f64::consts::PI), (-std::f64::consts::PI, std::f64::consts::PI), [], [];
        Precision SingleBeta: |z| Swish::new(if is_f32::<T>() { 1.7 } else { 1.702 }).unwrap().value(z),
            |z, y| Swish::new(if is_f32::<T>() { 1.7 } else { 1.702 }).unwrap().derivative(z, y), SILU, [], [];
        Precision SingleOffset: |z| math::tanh(z) + short(1e-4, 0.0), |z, y| sech2(z), (0.0, 1.0), [], [];
        Precision SingleSlope: |z| z * short(1.0001, 1.0), |z, y| step(z, 0.0, 1.0, 1.0) * short(1.0001, 1.0), (1.0, 1.0), [], [];
        Extremes NaiveSilu: |z| z / (T::one() + (-z).exp()), |z, y| Swish::SILU.derivative(z, y), SILU, [], [];
        Extremes ZeroTimesInfinity: |z| math::sigmoid(z), |z, y| (-z).exp() * sq(math::sigmoid(z)), (0.0, 0.25), [], [];
        Extremes NaiveLogCosh: |z| z.cosh().ln(), |z, y| math::tanh(z), (-1.0, 1.0), [], [];
        Extremes NaiveSoftplus: |z| z.exp().ln_1p(), |z, y| math::sigmoid(z), (0.0, 1.0), [], [];
        Extremes NaiveHypot: |z| (T::one() + z * z).sqrt(), |z, y| z / z.hypot(T::one()), (-1.0, 1.0), [], [];
        Extremes NaiveTanh: |z| (z.exp() - (-z).exp()) / (z.exp() + (-z).exp()), |z, y| sech2(z), (0.0, 1.0), [], [];
        Extremes SlopeOfHugeIsNaN: |z| math::tanh(z), |z, y| sech2(z) + (z * c(1e30) - z * c(1e30)), (0.0, 1.0), [], [];
        Extremes PowerOfNegative: |z| z.powf(c(1.5)), |z, y| z.sqrt() * c(1.5), (0.0, INF), [], [];
        Extremes LogarithmOfNegative: |z| z.ln_1p(), |z, y| (T::one() + z).recip(), (0.0, INF), [], [];
        NoPanic PanicsAtNaN: |z| if z.partial_cmp(&T::zero()).unwrap() == std::cmp::Ordering::Greater { z } else { T::zero() }, |z, y| step(z, 0.0, 0.0, 1.0), (0.0, 1.0), [0.0], [];
        NoPanic PanicsFarOut: |z| { assert!(z.is_nan() || z.abs() < c(1e6), "out of the table"); math::tanh(z) }, |z, y| sech2(z), (0.0, 1.0), [], [];
        NotANumber ClampSwallows: |z| z.max(c(-1.0)).min(c(1.0)), |z, y| HardTanh::default().derivative(z, y), (0.0, 1.0), [-1.0, 1.0], [];
        NotANumber SlopeOne: |z| z, |z, y| T::one(), (1.0, 1.0), [], [];
        NotANumber ComparesToZero: |z| if z > T::zero() { z } else { T::zero() }, |z, y| step(z, 0.0, 0.0, 1.0), (0.0, 1.0), [0.0], [];
        Continuity FallsBehind: |z| if z > c(5.0) && z < c(6.0) { c(4.0) } else { z }, |z, y| step(z, 0.0, 1.0, 1.0), (1.0, 1.0), [], [];
        Odd SoftplusCentred: |z| math::softplus(z) - c(std::f64::consts::LN_2), |z, y| math::sigmoid(z), (0.0, 1.0), [], [], odd = true;
        Odd PositiveZeros: |z| if z.abs() <= c(0.5) { z - z } else { z - c::<T>(0.5) * z.signum() },
            |z, y| if z.abs() <= c(0.5) { z - z } else { step(z, 0.0, 1.0, 1.0) }, (0.0, 1.0), [-0.5, 0.5], [], odd = true;
        Odd OffAtom: |z| z + c(1e-9), |z, y| step(z, 0.0, 1.0, 1.0), (1.0, 1.0), [], [], odd = true;
    }
}

#[rustfmt::skip]
fn wrong_facts(list: &mut Vec<Entry>) {
    activations! { list:
        Kinks HardSigmoidUndeclared: |z| HardSigmoid.value(z), |z, y| HardSigmoid.derivative(z, y), (0.0, 1.0 / 6.0), [-3.0], [];
        Kinks KinkOffAThousandth: |z| Relu.value(z - c(0.5)), |z, y| Relu.derivative(z - c(0.5), y), (0.0, 1.0), [0.501], [];
        Kinks FarKinksUndeclared: |z| HardTanh::new(-700.0, 9000.0).unwrap().value(z), |z, y| HardTanh::new(-700.0, 9000.0).unwrap().derivative(z, y), (0.0, 1.0), [-700.0], [];
        Kinks NotInOrder: |z| HardTanh::default().value(z), |z, y| HardTanh::default().derivative(z, y), (0.0, 1.0), [1.0, -1.0], [];
        Kinks NotANumberDeclared: |z| math::tanh(z), |z, y| sech2(z), (0.0, 1.0), [f64::NAN], [];
        Kinks InfiniteDeclared: |z| Relu.value(z), |z, y| Relu.derivative(z, y), (0.0, 1.0), [0.0, INF], [];
        Kinks ReluSquaredHasNone: |z| sq(Relu.value(z)), |z, y| Relu.value(z) + Relu.value(z), (0.0, INF), [0.0], [];
        Kinks Doubled: |z| Relu.value(z), |z, y| Relu.derivative(z, y), (0.0, 1.0), [0.0, 0.0], [];
        Kinks QuarterAtTheKink: |z| LeakyRelu::new(0.5).unwrap().value(z), |z, y| if z == T::zero() { c(0.25) } else { LeakyRelu::new(0.5).unwrap().derivative(z, y) }, (0.25, 1.0), [0.0], [];
        Kinks FourOfFive: |z| [-2.0, -1.0, 0.25, 1.0, 2.0].iter().fold(T::zero(), |sum, &k| sum + Relu.value(z - c(k))),
            |z, y| [-2.0, -1.0, 0.25, 1.0, 2.0].iter().fold(T::zero(), |sum, &k| sum + Relu.derivative(z - c(k), y)), (0.0, 5.0), [-2.0, -1.0, 1.0, 2.0], [];
        Kinks SmallKink: |z| LeakyRelu::new(1.0 - 1e-5).unwrap().value(z), |z, y| LeakyRelu::new(1.0 - 1e-5).unwrap().derivative(z, y), (1.0 - 1e-5, 1.0), [], [];
        Kinks SlopeJumpsAtAJumpUndeclaredNear: |z| HardShrink::default().value(z), |z, y| HardShrink::default().derivative(z, y), (0.0, 1.0), [-0.25], [-0.5, 0.5];
        Kinks BumpBetweenKinks: |z| z + bump(z).0, |z, y| step(z, 0.0, 1.0, 1.0) + bump(z).1, (0.0, 2.0), [], [];
        Kinks BumpOfARoot: |z| root(z) + bump(z).0, |z, y| root_slope(z) + bump(z).1, (-0.6, INF), [], [];
        Continuity RaisedBetweenJumps: |z| if z > c(1.003) && z < c(1.007) { z + c(0.5) } else { z }, |z, y| step(z, 0.0, 1.0, 1.0), (1.0, 1.0), [], [];
        Kinks ScaledKinks: |z| HardTanh::default().value(z * c(2.0)), |z, y| HardTanh::default().derivative(z * c(2.0), y) * c(2.0), (0.0, 2.0), [-1.0, 1.0], [];
        Kinks KinkOfTheValue: |z| Softplus::new(1.0).unwrap().value(z), |z, y| math::sigmoid(z), (0.0, 1.0), [0.0], [];
        Continuity StepUndeclared: |z| step(z, 0.0, 0.0, 1.0), |z, y| step(z, 0.0, 0.0, 0.0), (0.0, 0.0), [], [];
        Continuity JumpDeclaredNowhere: |z| math::tanh(z), |z, y| sech2(z), (0.0, 1.0), [], [0.3];
        Continuity SmallJump: |z| if z > c(1.0) { z + c(1e-6) } else { z }, |z, y| step(z, 0.0, 1.0, 1.0), (1.0, 1.0), [], [];
        Continuity JumpAtHundred: |z| if z > c(100.0) { z + c(0.5) } else { z }, |z, y| step(z, 0.0, 1.0, 1.0), (1.0, 1.0), [], [];
        Continuity ShrinksElsewhere: |z| HardShrink::default().value(z), |z, y| HardShrink::default().derivative(z, y), (0.0, 1.0), [], [-0.4, 0.4];
        Continuity JumpsNotInOrder: |z| HardShrink::default().value(z), |z, y| HardShrink::default().derivative(z, y), (0.0, 1.0), [], [0.5, -0.5];
        Continuity SoftplusThresholdFifteen: |z| if z > c(15.0) { z } else { math::softplus(z) }, |z, y| if z > c(15.0) { T::one() } else { math::sigmoid(z) }, (0.0, 1.0), [], [];
        Continuity OneOfTwoJumps: |z| HardShrink::default().value(z), |z, y| HardShrink::default().derivative(z, y), (0.0, 1.0), [], [0.5];
        Continuity KinkForJump: |z| HardShrink::default().value(z), |z, y| HardShrink::default().derivative(z, y), (0.0, 1.0), [-0.5, 0.5], [];
        BoundsHold SupLowByAMillionth: |z| Gelu.value(z), |z, y| Gelu.derivative(z, y), (GELU.0, GELU.1 - 1e-6), [], [];
        BoundsHold InfZeroOfSwish: |z| Swish::SILU.value(z), |z, y| Swish::SILU.derivative(z, y), (0.0, SILU.1), [], [];
        BoundsHold SnakeTooNarrow: |z| z + sq(z.sin()), |z, y| T::one() + (z + z).sin(), (0.0, 1.9), [], [];
        BoundsHold NarrowPeakCut: |z| math::tanh((z - c(0.7)) * c(1e3)), |z, y| sech2((z - c(0.7)) * c(1e3)) * c(1e3), (0.0, 999.0), [], [];
        BoundsHold FarPeakCut: |z| math::tanh(z - c(3000.0)) * c(1.0001), |z, y| sech2(z - c(3000.0)) * c(1.0001), (0.0, 1.0), [], [];
        BoundsHold CubeAtMostAMillion: |z| z * z * z, |z, y| z * z * c(3.0), (0.0, 1e6), [], [];
        BoundsHold ParabolaFromBelow: |z| z * z, |z, y| z + z, (-1e9, INF), [], [];
        BoundsHold InfNotANumber: |z| math::tanh(z), |z, y| sech2(z), (f64::NAN, 1.0), [], [];
        BoundsHold OfTheOtherSide: |z| -math::softplus(z), |z, y| -math::sigmoid(z), (0.0, 1.0), [], [];
        BoundsHold ThreeDigits: |z| Mish.value(z), |z, y| Mish.derivative(z, y), (-0.113, 1.088), [], [];
        BoundsHold SlopeAtZeroForgotten: |z| z.signum() * (z.abs() + c(0.25)).sqrt() - z.signum() * c(0.5), |z, y| (z.abs() + c(0.25)).sqrt().recip() * c(0.5), (0.0, 0.5), [], [];
        BoundsTight OfTheValue: |z| math::tanh(z), |z, y| sech2(z), (-1.0, 1.0), [], [];
        BoundsTight SupInfiniteOfTanh: |z| math::tanh(z), |z, y| sech2(z), (0.0, INF), [], [];
        BoundsTight InfInfiniteOfSine: |z| z.sin(), |z, y| z.cos(), (-INF, 1.0), [], [];
        BoundsTight SupInfiniteOfPeak: |z| math::tanh((z - c(0.7)) * c(1e3)), |z, y| sech2((z - c(0.7)) * c(1e3)) * c(1e3), (0.0, INF), [], [];
        BoundsTight SupInfiniteFarOut: |z| math::tanh(z - c(5e3)), |z, y| sech2(z - c(5e3)), (0.0, INF), [], [];
        BoundsTight SigmoidWideByATenThousandth: |z| math::sigmoid(z), |z, y| Sigmoid.derivative(z, y), (0.0, 0.25001), [], [];
        BoundsTight InfTooLow: |z| math::tanh(z), |z, y| sech2(z), (-0.1, 1.0), [], [];
        BoundsTight ReluAnything: |z| Relu.value(z), |z, y| Relu.derivative(z, y), (-INF, INF), [0.0], [];
        BoundsTight IdentityFromZero: |z| z, |z, y| step(z, 0.0, 1.0, 1.0), (0.0, 1.0), [], [];
        BoundsTight InfiniteTheWrongWay: |z| z * z, |z, y| z + z, (INF, INF), [], [];
    }
}

/// A slope for each piece between equally spaced kinks.
#[derive(Clone, Debug)]
struct Zigzag {
    kinks: usize,
    gap: f64,
}

impl Activation for Zigzag {
    /// Slope 1 outside and in every second piece, −1 in the others.
    fn value<T: Scalar>(&self, z: T) -> T {
        let (gap, last) = (c::<T>(self.gap), c::<T>(self.gap * (self.kinks - 1) as f64));
        if z.is_nan() || z <= T::zero() {
            return z;
        }
        if z > last {
            return z - last - gap;
        }
        let piece = (z / gap).floor();
        let inside = z - piece * gap;
        if to_f64(piece) as u64 % 2 == 0 { -inside } else { inside - gap }
    }
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        let (gap, last) = (c::<T>(self.gap), c::<T>(self.gap * (self.kinks - 1) as f64));
        if z.is_nan() {
            return z;
        }
        if z <= T::zero() || z > last {
            return T::one();
        }
        if to_f64((z / gap).floor()) as u64 % 2 == 0 { -T::one() } else { T::one() }
    }
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(-1.0, 1.0))
    }
    /// An even number: the last piece has slope −1.
    fn kinks(&self) -> Vec<f64> {
        (0..self.kinks).map(|i| i as f64 * self.gap).collect()
    }
}

/// Rounds to quarters within ±1: eight jumps.
#[derive(Clone, Debug)]
struct Quarters;

impl Activation for Quarters {
    fn value<T: Scalar>(&self, z: T) -> T {
        let inside = z.max(c(-1.0)).min(c(1.0));
        if z.is_nan() { z } else { (inside * c(4.0) + c(0.5)).floor() / c(4.0) }
    }
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        step(z, 0.0, 0.0, 0.0)
    }
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, 0.0))
    }
    fn jumps(&self) -> Vec<f64> {
        (-4..4).map(|i| (f64::from(i) + 0.5) / 4.0).collect()
    }
}

#[rustfmt::skip]
fn right(list: &mut Vec<Entry>) {
    activations! { list:
        right Sinc: |z| if z.abs() < c(1e-5) { T::one() - z * z / c(6.0) } else if z.is_infinite() { T::zero() } else { z.sin() / z },
            |z, y| if z.abs() < c(0.5) {
                let t = z * z;
                let terms = [-1.0 / 3.0, 1.0 / 30.0, -1.0 / 840.0, 1.0 / 45360.0, -1.0 / 3991680.0, 1.0 / 518918400.0];
                z * terms.iter().rev().fold(T::zero(), |sum, &term| sum * t + c(term))
            } else if z.is_infinite() { T::zero() } else { (z.cos() - z.sin() / z) / z }, (-SINC, SINC), [], [];
        right NarrowTanh: |z| math::tanh((z - c(0.75)) * c(1024.0)), |z, y| sech2((z - c(0.75)) * c(1024.0)) * c(1024.0), (0.0, 1024.0), [], [];
        right NarrowBell: |z| bell((z - c(2.0)) * c(256.0)), |z, y| { let u = (z - c(2.0)) * c(256.0); if u.abs() > c(1e3) { step(z, 0.0, 0.0, 0.0) } else { -(u + u) * bell(u) * c(256.0) } }, (-256.0 * BELL, 256.0 * BELL), [], [];
        right FastSine: |z| (z * c(100.0)).sin(), |z, y| (z * c(100.0)).cos() * c(100.0), (-100.0, 100.0), [], [];
        right FastSnake: |z| z + sq((z * c(5.0)).sin()) / c(5.0), |z, y| T::one() + (z * c(10.0)).sin(), (0.0, 2.0), [], [];
        right ShiftedTanh: |z| math::tanh(z - c(50.0)), |z, y| sech2(z - c(50.0)), (0.0, 1.0), [], [];
        right FarTanh: |z| math::tanh(z - c(5e3)), |z, y| sech2(z - c(5e3)), (0.0, 1.0), [], [];
        right Cosine: |z| z.cos(), |z, y| -z.sin(), (-1.0, 1.0), [], [];
        right Squareplus: |z| { let root = z.hypot(c(2.0)); if z < T::zero() { c::<T>(2.0) / (root - z) } else { z * c(0.5) + root * c(0.5) } },
            |z, y| if z < T::zero() { y / z.hypot(c(2.0)) } else { (T::one() + share(z, 2.0)) * c(0.5) }, (0.0, 1.0), [], [];
        right BentIdentity: |z| if z.is_infinite() { z } else { (z.hypot(T::one()) - T::one()) * c(0.5) + z }, |z, y| share(z, 1.0) * c(0.5) + T::one(), (0.5, 1.5), [], [];
        right SignedRoot: |z| root(z), |z, y| root_slope(z), (0.0, INF), [], [];
        right SignedRootOfAThird: |z| root(z - c(1.0 / 3.0)), |z, y| root_slope(z - c(1.0 / 3.0)), (0.0, INF), [], [];
        right CubeRoot: |z| if z == T::zero() { z } else { z.cbrt() }, |z, y| (y * y * c(3.0)).recip(), (0.0, INF), [], [];
        right RootBesideSlope: |z| root(z) + z * c(3.0), |z, y| root_slope(z) + c(3.0), (3.0, INF), [], [];
        right SteepTanh: |z| math::tanh(z * c(1e6)), |z, y| sech2(z * c(1e6)) * c(1e6), (0.0, 1e6), [], [];
        right LogCosh: |z| z.abs() + ((-(z.abs() + z.abs())).exp() - T::one()) * c(0.5) - T::zero() + { let e = (-(z.abs() + z.abs())).exp(); (e.ln_1p() - c(std::f64::consts::LN_2)) - (e - T::one()) * c(0.5) },
            |z, y| math::tanh(z), (-1.0, 1.0), [], [];
        right Symlog: |z| z.signum() * z.abs().ln_1p(), |z, y| (T::one() + z.abs()).recip(), (0.0, 1.0), [], [];
        right Arctan: |z| z.atan(), |z, y| { let r = z.hypot(T::one()).recip(); r * r }, (0.0, 1.0), [], [], odd = true;
        right Arsinh: |z| if z.abs() > c(1e6) { z.signum() * (z.abs().ln() + c(std::f64::consts::LN_2)) } else { z.asinh() }, |z, y| z.hypot(T::one()).recip(), (0.0, 1.0), [], [];
        right Elish: |z| if z > T::zero() { Swish::SILU.value(z) } else { math::exp_m1(z) * math::sigmoid(z) },
            |z, y| if z > T::zero() { Swish::SILU.derivative(z, y) } else { math::exp(z) * math::sigmoid(z) + math::exp_m1(z) * Sigmoid.derivative(z, y) }, (ELISH, SILU.1), [], [];
        right Sech: |z| { let e = (-z.abs()).exp(); (e + e) / (T::one() + e * e) }, |z, y| -y * math::tanh(z), (-0.5, 0.5), [], [];
        right SharpSoftplus: |z| Softplus::new(200.0).unwrap().value(z), |z, y| Softplus::new(200.0).unwrap().derivative(z, y), (0.0, 1.0), [], [];
        right ReluSquared: |z| sq(Relu.value(z)), |z, y| Relu.value(z) + Relu.value(z), (0.0, INF), [], [];
        right Maxout: |z| if z.is_nan() { z } else { z.max(z * c(0.5) + c(1.0)).max(c(-1.0)) },
            |z, y| if z.is_nan() { z } else if z > c(2.0) { T::one() } else if z > c(-4.0) { c(0.5) } else { T::zero() }, (0.0, 1.0), [-4.0, 2.0], [];
        right Heaviside: |z| step(z, 0.0, 0.0, 1.0), |z, y| step(z, 0.0, 0.0, 0.0), (0.0, 0.0), [], [0.0];
        right Sign: |z| if z == T::zero() { z } else { z.signum() }, |z, y| step(z, 0.0, 0.0, 0.0), (0.0, 0.0), [], [0.0];
        right StepAtAThird: |z| if z * c(3.0) > T::one() { z + z } else { z }, |z, y| if z.is_nan() { z } else if z * c(3.0) > T::one() { c(2.0) } else { T::one() }, (1.0, 2.0), [], [1.0 / 3.0];
        right HugeTanh: |z| math::tanh(z) * c(1e30), |z, y| sech2(z) * c(1e30), (0.0, 1e30), [], [];
        right TinySine: |z| z.sin() * c(1e-20), |z, y| z.cos() * c(1e-20), (-1e-20, 1e-20), [], [];
        right WideTanh: |z| math::tanh(z * c(1e-3)) * c(1e3), |z, y| sech2(z * c(1e-3)), (0.0, 1.0), [], [];
        right RootOfRectified: |z| if z.is_nan() { z } else { z.max(T::zero()).sqrt() }, |z, y| if z > T::zero() { c::<T>(0.5) / z.sqrt() } else { step(z, 0.0, 0.0, 0.0) }, (0.0, INF), [0.0], [];
        right CubeRootOfRectified: |z| if z.is_nan() { z } else { z.max(T::zero()).cbrt() }, |z, y| if z > T::zero() { (y * y * c(3.0)).recip() } else { step(z, 0.0, 0.0, 0.0) }, (0.0, INF), [0.0], [];
        right GrowingSine: |z| if z.is_infinite() { z } else { z.sinh() * c(1e-3) + z.sin() }, |z, y| if z.is_infinite() { z.abs() } else { z.cosh() * c(1e-3) + z.cos() }, (-0.9884739728081637, INF), [], [];
        right Exponential: |z| z.exp(), |z, y| y, (0.0, INF), [], [];
        right SignedSquare: |z| z * z.abs(), |z, y| z.abs() + z.abs(), (0.0, INF), [], [];
        right LogarithmicGrowth: |z| z * z.abs().ln_1p(), |z, y| z.abs().ln_1p() + if z.is_infinite() { T::one() } else { z.abs() / (T::one() + z.abs()) }, (0.0, INF), [], [];
        right PiSine: |z| (z * c(std::f64::consts::PI)).sin(), |z, y| (z * c(std::f64::consts::PI)).cos() * c(std::f64::consts::PI), (-std::f64::consts::PI, std::f64::consts::PI), [], [];
        right AlmostLinear: |z| z + z.sin() * c(1e-6), |z, y| T::one() + z.cos() * c(1e-6), (1.0 - 1e-6, 1.0 + 1e-6), [], [];
        right KinkAtEleven: |z| LeakyRelu::new(0.9).unwrap().value(z - c(11.0)), |z, y| LeakyRelu::new(0.9).unwrap().derivative(z - c(11.0), y), (0.9, 1.0), [11.0], [];
        right Constant: |z| step(z, 0.0, 3.0, 3.0), |z, y| step(z, 0.0, 0.0, 0.0), (0.0, 0.0), [], [];
    }
    for (name, zigzag) in [("Zigzag100", Zigzag { kinks: 100, gap: 0.125 }), ("Zigzag10000", Zigzag { kinks: 10_000, gap: 0.5 })] {
        list.push(Entry::right(format!("activation/{name}"), move |seed| activation_laws(&zigzag, seed)));
    }
    list.push(Entry::right("activation/Quarters", |seed| activation_laws(&Quarters, seed)));
    list.push(Entry::right("activation/CustomKind", |seed| activation_laws(&ActivationKind::Custom(Arc::new(Tanh)), seed)));
    for kind in ActivationKind::examples() {
        list.push(Entry::right(format!("activation/{kind:?}"), move |seed| activation_laws(&kind, seed)));
    }
}

/// A number that changes with every call, or with the last argument.
#[derive(Clone, Debug)]
struct Remembers {
    last: Arc<AtomicU64>,
    counts: bool,
}

impl Activation for Remembers {
    fn value<T: Scalar>(&self, z: T) -> T {
        match self.counts {
            true => _ = self.last.fetch_add(1, Ordering::Relaxed),
            false => self.last.store(to_f64(z).to_bits(), Ordering::Relaxed),
        }
        math::tanh(z)
    }
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        let last = self.last.load(Ordering::Relaxed);
        match self.counts {
            true => sech2(z) * c(1.0 + last as f64 * 1e-9),
            // As if z had been kept by `value`, of whatever call was last.
            false => sech2(if self.last.swap(0, Ordering::Relaxed) == 0 { T::zero() } else { c(f64::from_bits(last)) }),
        }
    }
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, 1.0))
    }
}

/// A step with the derivative of a hard sigmoid, as spiking networks have it.
#[derive(Clone, Debug)]
struct Spike;

impl Activation for Spike {
    fn value<T: Scalar>(&self, z: T) -> T {
        step(z, 0.0, 0.0, 1.0)
    }
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        HardSigmoid.derivative(z, HardSigmoid.value(z))
    }
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, 1.0 / 6.0))
    }
    fn kinks(&self) -> Vec<f64> {
        vec![-3.0, 3.0]
    }
    fn jumps(&self) -> Vec<f64> {
        vec![0.0]
    }
}

#[derive(Clone, Debug)]
struct PanicsInBounds;

impl Activation for PanicsInBounds {
    fn value<T: Scalar>(&self, z: T) -> T {
        z
    }
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        step(z, 0.0, 1.0, 1.0)
    }
    fn derivative_bounds(&self) -> Option<Bounds> {
        panic!("no bounds")
    }
}

fn states(list: &mut Vec<Entry>) {
    let entry = |name: &str, counts: bool| {
        Entry::wrong(format!("activation/{name}"), Law::Repeatable, move |seed| {
            activation_laws(&Remembers { last: Arc::new(AtomicU64::new(0)), counts }, seed)
        })
    };
    list.push(entry("CountsItsCalls", true));
    list.push(Entry::right("activation/Spike_except", |seed| {
        activation_laws_with(&Spike, ActivationCases { except: &[Law::Derivative, Law::Continuity] }, seed)
    }));
    list.push(Entry::wrong("activation/Spike", Law::Derivative, |seed| activation_laws(&Spike, seed)));
    list.push(Entry::wrong("activation/PanicsInBounds", Law::NoPanic, |seed| activation_laws(&PanicsInBounds, seed)));
}
