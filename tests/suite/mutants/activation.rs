//! Wrong activations.

use chainrule::{
    Activation, Bounds, Scalar,
    activation::*,
    math, scalar,
    testing::{Law, activation_laws},
};

const INFINITY: f64 = f64::INFINITY;

/// Activations of one line each, with the law that each breaks.
macro_rules! mutants {
    ($($name:ident breaks $law:ident: |$z:ident| $value:expr, |$at:ident, $y:ident| $derivative:expr,
        ($inf:expr, $sup:expr), [$($kink:expr),*] $(, odd = $odd:expr)?;)+) => {
        $(
            #[derive(Clone, Debug)]
            struct $name;
            impl Activation for $name {
                fn value<T: Scalar>(&self, $z: T) -> T {
                    $value
                }
                fn derivative<T: Scalar>(&self, $at: T, $y: T) -> T {
                    let _ = $y;
                    $derivative
                }
                fn derivative_bounds(&self) -> Option<Bounds> {
                    Some(Bounds::new($inf, $sup))
                }
                fn kinks(&self) -> Vec<f64> {
                    vec![$($kink),*]
                }
                $(fn is_odd(&self) -> bool {
                    $odd
                })?
            }
        )+

        #[test]
        fn wrong_activations_are_accused_of_their_law() {
            let mut caught = 0;
            let mut escaped = Vec::new();
            $(
                for seed in 0..3 {
                    match activation_laws(&$name, seed).err().and_then(|found| found.of(Law::$law).cloned()) {
                        Some(violation) => {
                            caught += 1;
                            if seed == 0 {
                                println!("{}\n{violation}\n", stringify!($name));
                            }
                        }
                        None => escaped.push((stringify!($name), seed, activation_laws(&$name, seed))),
                    }
                }
            )+
            println!("{caught} wrong activations caught, {} escaped, at three seeds each", escaped.len());
            assert!(escaped.is_empty(), "{escaped:#?}");
        }
    };
}

fn square<T: Scalar>(x: T) -> T {
    x * x
}

fn one<T: Scalar>() -> T {
    T::one()
}

/// 1, but NaN for NaN.
fn one_or_nan<T: Scalar>(z: T) -> T {
    if z.is_nan() { z } else { T::one() }
}

fn step<T: Scalar>(z: T, left: f64, right: f64) -> T {
    if z.is_nan() {
        z
    } else if z > T::zero() {
        scalar(right)
    } else {
        scalar(left)
    }
}

/// Fewer digits of `x` in `f32` than it has.
fn truncated<T: Scalar>(x: f64, short: f64) -> T {
    scalar(if T::epsilon() > scalar(1e-10) { short } else { x })
}

mutants! {
    WrongSign breaks Derivative: |z| math::tanh(z), |z, y| -Tanh.derivative(z, y), (-1.0, 0.0), [];
    FromYForZ breaks Derivative: |z| math::tanh(z), |z, _y| one::<T>() - square(z), (-INFINITY, 1.0), [];
    AtY breaks Derivative: |z| math::sigmoid(z), |_z, y| Sigmoid.derivative(y, y), (0.0, 0.25), [];
    MissingFactor breaks Derivative: |z| math::erf(z), |z, _y| math::gaussian(z), (0.0, 1.0), [];
    OffByANanopart breaks Derivative: |z| math::tanh(z), |z, y| Tanh.derivative(z, y) * scalar(1.0 + 1e-9), (0.0, 1.0), [];
    WrongLeakySlope breaks Derivative: |z| LeakyRelu::default().value(z), |z, _y| step(z, 0.02, 1.0), (0.02, 1.0), [0.0];
    GeluMissingTerm breaks Derivative: |z| Gelu.value(z), |z, _y| math::normal_cdf(z), (0.0, 1.0), [];
    SwishWithoutBeta breaks Derivative: |z| z * math::sigmoid(z + z), |z, y| Swish::SILU.derivative(z, y),
        (-0.099_839_320_128_866_92, 1.099_839_320_128_867), [];
    WrongHarmonic breaks Derivative: |z| z.sin(), |z, _y| (z + z).cos(), (-1.0, 1.0), [];
    TanhFromY breaks Saturation: |z| math::tanh(z), |_z, y| one::<T>() - y * y, (0.0, 1.0), [];
    SigmoidFromY breaks Saturation: |z| math::sigmoid(z), |_z, y| y * (one::<T>() - y), (0.0, 0.25), [];
    TailCutOff breaks Saturation: |z| math::sigmoid(z),
        |z, y| if z.abs() > scalar(20.0) { T::zero() } else { Sigmoid.derivative(z, y) }, (0.0, 0.25), [];
    SingleTailCutOff breaks Saturation: |z| math::tanh(z),
        |z, y| if T::epsilon() > scalar(1e-10) && z > scalar(9.0) { T::zero() } else { Tanh.derivative(z, y) }, (0.0, 1.0), [];
    UndeclaredKink breaks Kinks: |z| Relu.value(z), |z, y| Relu.derivative(z, y), (0.0, 1.0), [];
    UndeclaredSmallKink breaks Kinks: |z| LeakyRelu::new(1.0 - 1e-6).unwrap().value(z),
        |z, y| LeakyRelu::new(1.0 - 1e-6).unwrap().derivative(z, y), (1.0 - 1e-6, 1.0), [];
    NoKinkThere breaks Kinks: |z| math::tanh(z), |z, y| Tanh.derivative(z, y), (0.0, 1.0), [0.0];
    KinkElsewhere breaks Kinks: |z| Relu6.value(z), |z, y| Relu6.derivative(z, y), (0.0, 1.0), [0.0, 5.0];
    KinksOutOfOrder breaks Kinks: |z| Relu6.value(z), |z, y| Relu6.derivative(z, y), (0.0, 1.0), [6.0, 0.0];
    HalfAtTheKink breaks Kinks: |z| Relu.value(z),
        |z, y| if z == T::zero() { scalar(0.5) } else { Relu.derivative(z, y) }, (0.0, 1.0), [0.0];
    KinkFarOut breaks Kinks: |z| HardTanh::new(-300.0, 700.0).unwrap().value(z),
        |z, y| HardTanh::new(-300.0, 700.0).unwrap().derivative(z, y), (0.0, 1.0), [-300.0];
    ValueJumps breaks Continuity: |z| if z > scalar(1.0) { Softplus::default().value(z) + scalar(0.001) } else { math::softplus(z) },
        |z, _y| math::sigmoid(z), (0.0, 1.0), [];
    ThresholdOfTwenty breaks Continuity: |z| if z > scalar(20.0) { z } else { math::softplus(z) },
        |z, _y| if z > scalar(20.0) { one() } else { math::sigmoid(z) }, (0.0, 1.0), [];
    ThresholdOnTheLeft breaks Continuity: |z| if z < scalar(-8.0) { T::zero() } else { Elu::default().value(z) },
        |z, y| Elu::default().derivative(z, y), (0.0, 1.0), [];
    SupTooWide breaks BoundsTight: |z| Gelu.value(z), |z, y| Gelu.derivative(z, y), (-0.128_904_145_185_154_8, 1.14), [];
    InfTooWide breaks BoundsTight: |z| Gelu.value(z), |z, y| Gelu.derivative(z, y), (-0.130_2, 1.128_904_145_185_154_8), [];
    SupTooNarrow breaks BoundsHold: |z| Gelu.value(z), |z, y| Gelu.derivative(z, y), (-0.128_904_145_185_154_8, 1.118), [];
    InfTooNarrow breaks BoundsHold: |z| Gelu.value(z), |z, y| Gelu.derivative(z, y), (-0.127_6, 1.128_904_145_185_154_8), [];
    NarrowByADigit breaks BoundsHold: |z| Mish.value(z), |z, y| Mish.derivative(z, y),
        (-0.112_526_122_389, 1.088_498_161_251), [];
    BoundsSwapped breaks BoundsHold: |z| math::tanh(z), |z, y| Tanh.derivative(z, y), (1.0, 0.0), [];
    BoundsOfSwish breaks BoundsHold: |z| Gelu.value(z), |z, y| Gelu.derivative(z, y), (-0.099_839_320_128_866_92, 1.099_839_320_128_867), [];
    BoundNotANumber breaks BoundsHold: |z| math::tanh(z), |z, y| Tanh.derivative(z, y), (0.0, f64::NAN), [];
    EvenNotOdd breaks Odd: |z| z * z, |z, _y| z + z, (-INFINITY, INFINITY), [], odd = true;
    SupInfinite breaks BoundsTight: |z| math::softplus(z), |z, _y| math::sigmoid(z), (0.0, INFINITY), [];
    SupInfiniteOfAPeak breaks BoundsTight: |z| math::tanh((z - scalar(0.7)) * scalar(1e3)),
        |z, y| Tanh.derivative((z - scalar(0.7)) * scalar(1e3), y) * scalar(1e3), (0.0, INFINITY), [];
    WrongAtIntegers breaks Derivative: |z| z.sin(),
        |z, _y| if z == z.floor() { z.cos() * scalar(1.001) } else { z.cos() }, (-1.001, 1.001), [];
    ThroughDouble breaks Derivative: |z| scalar(Tanh.value(chainrule::to_f64(z))), |z, y| Tanh.derivative(z, y), (0.0, 1.0), [];
    TailOffByATenth breaks Saturation: |z| math::tanh(z),
        |z, y| if z > scalar(5.0) { Tanh.derivative(z, y) * scalar(1.2) } else { Tanh.derivative(z, y) }, (0.0, 1.0), [];
    JumpUndeclared breaks Continuity: |z| HardShrink::default().value(z), |z, y| HardShrink::default().derivative(z, y),
        (0.0, 1.0), [];
    GrowsPastItsBound breaks BoundsHold: |z| z * z * z, |z, _y| (z + z + z) * z, (0.0, 100.0), [];
    MaxSwallowsNan breaks NotANumber: |z| z.max(T::zero()), |z, _y| step(z, 0.0, 1.0), (0.0, 1.0), [0.0];
    DerivativeSwallowsNan breaks NotANumber: |z| z, |_z, _y| one::<T>(), (1.0, 1.0), [];
    InfinityMinusInfinity breaks Extremes: |z| z - (math::exp(z) - math::exp(z)), |z, _y| one_or_nan(z), (1.0, 1.0), [];
    ZeroTimesInfinity breaks Extremes: |z| z * math::sigmoid(z), |z, y| Swish::SILU.derivative(z, y),
        (-0.099_839_320_128_866_92, 1.099_839_320_128_867), [];
    OverflowsEarly breaks Extremes: |z| z * square(z) / (one::<T>() + square(z)), |z, _y| {
            let s = square(z);
            (square(s) + scalar::<T>(3.0) * s) / square(one::<T>() + s)
        }, (0.0, 1.125), [];
    TruncatedInSingle breaks Precision: |z| z * truncated(1.702_345_6, 1.7023),
        |z, _y| one_or_nan(z) * truncated(1.702_345_6, 1.7023), (1.702_345_6, 1.702_345_6), [];
    CancelsInSingle breaks Precision: |z| z + (scalar::<T>(1e5) - scalar::<T>(1e5) * (one::<T>() + scalar(1e-7))),
        |z, _y| one_or_nan(z), (1.0, 1.0), [];
    Falls breaks Continuity: |z| if z > scalar(2.0) && z < scalar(3.0) { -z } else { z }, |z, _y| one_or_nan(z), (1.0, 1.0), [];
    OddButShifted breaks Odd: |z| math::softplus(z), |z, _y| math::sigmoid(z), (0.0, 1.0), [], odd = true;
    OddButForABit breaks Odd: |z| (math::exp(z) - math::exp(-z)) / (math::exp(z) + math::exp(-z)) + scalar(1e-17),
        |z, y| Tanh.derivative(z, y), (0.0, 1.0), [], odd = true;
}

/// The slope depends on how often `value` was called.
#[derive(Clone, Debug)]
struct Counts(std::sync::Arc<std::sync::atomic::AtomicU32>);

impl Activation for Counts {
    fn value<T: Scalar>(&self, z: T) -> T {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        z
    }
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        one_or_nan(z) + scalar(1e-9 * f64::from(self.0.load(std::sync::atomic::Ordering::Relaxed)))
    }
}

#[test]
fn activation_with_state_is_accused_of_it_alone() {
    let found = activation_laws(&Counts(Default::default()), 0).unwrap_err();
    assert_eq!(found.violations.len(), 1, "{found}");
    assert!(found.of(Law::Repeatable).is_some(), "{found}");
}

#[test]
fn activation_computed_through_f64_is_told_that_its_value_carries_no_tangent() {
    let found = activation_laws(&ThroughDouble, 0).unwrap_err().to_string();
    assert!(found.contains("the value carries no tangent"), "{found}");
}
