//! Clips and schedules over random parameters, losses at huge logits, and a float type of a user's own.

use chainrule::{
    BatchShape, Block, Blocks, Layer, Role, Scalar,
    activation::Tanh,
    layer::Sequential,
    loss::{
        BinaryCrossEntropy, CrossEntropy, Huber, Loss, MeanAbsoluteError, MeanSquaredError, Reduction, SmoothL1, Target,
    },
    recurrent::Lstm,
    scalar, to_f64,
    transform::{
        Adagrad, Adam, AdamW, ClipBlockNorm, ClipNorm, ClipValue, GradientTransform, Optimizer, ParameterGroups,
        Penalty, ReduceOnPlateau, RmsProp, Schedule, Sgd, SkipNonFinite, Update, WeightAverage,
    },
    workspace::Workspace,
};
use proptest::prelude::*;

/// Each loss, and whether it takes classes.
fn losses<T: Scalar>(reduction: Reduction) -> Vec<(Box<dyn Loss<T>>, bool)> {
    let full = CrossEntropy::new().reduction(reduction).class_weights(&[0.5, 2.0, 1.5]).unwrap();
    let full = full.label_smoothing(0.2).unwrap();
    let positive = BinaryCrossEntropy::new().positive_weights(&[2.0, 0.5, 1.0]).unwrap();
    vec![
        (Box::new(MeanSquaredError::new().reduction(reduction)), false),
        (Box::new(MeanAbsoluteError::new().reduction(reduction)), false),
        (Box::new(Huber::new(0.7).unwrap().reduction(reduction)), false),
        (Box::new(SmoothL1::new(0.7).unwrap().reduction(reduction)), false),
        (Box::new(BinaryCrossEntropy::new().reduction(reduction)), false),
        (Box::new(positive.reduction(reduction)), false),
        (Box::new(CrossEntropy::new().reduction(reduction)), false),
        (Box::new(full.clone()), false),
        (Box::new(CrossEntropy::new().reduction(reduction)), true),
        (Box::new(full.clone()), true),
        (Box::new(full.ignore_class(1)), true),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn clipping_by_norm(g in prop::collection::vec(-1e3f64..1e3, 6), most in 1e-3f64..1e3, p in 0.5f64..20.0) {
        for p in [p, 1.0, 2.0, f64::INFINITY] {
            let clip = |g: &[f64]| transformed(ClipNorm::new(most).p(p), g);
            let norm = |g: &[f64]| {
                let largest = g.iter().fold(0.0f64, |m, g| m.max(g.abs()));
                if p.is_infinite() || largest == 0.0 { return largest; }
                largest * g.iter().map(|g| (g.abs() / largest).powf(p)).sum::<f64>().powf(1.0 / p)
            };
            let once = clip(&g);
            let (before, after) = (norm(&g), norm(&once));
            prop_assert!(after <= most * (1.0 + 1e-12) || after <= before, "{after} > {most}");
            prop_assert!(after <= before && (after - before.min(most)).abs() <= 1e-12 * most.max(after));
            for (&g, &c) in g.iter().zip(&once) {
                prop_assert!((c - g * (after / before.max(1e-300))).abs() <= 1e-12 * g.abs());
            }
            let twice = clip(&once);
            prop_assert!(once.iter().zip(&twice).all(|(a, b)| (a - b).abs() <= 4.0 * f64::EPSILON * a.abs()));
        }
    }

    #[test]
    fn schedules_are_never_negative(step: u64, small in 0u64..500, steps in 4u64..200, times: u64, least in 0.0f64..2.0) {
        for step in [step, small, u64::MAX] {
            for schedule in [
                Schedule::constant(least),
                Schedule::step(steps, 0.5),
                Schedule::multi_step(&[3, steps], 0.1),
                Schedule::exponential(0.99),
                Schedule::cosine(steps, least),
                Schedule::cosine_with_restarts(steps, times.max(1), least),
                Schedule::cosine_with_restarts(steps, 1, least),
                Schedule::cosine_with_restarts(steps, 2, least),
                Schedule::warm_up(least, steps),
                Schedule::linear(1.0, least, steps),
                Schedule::polynomial(steps, least),
                Schedule::one_cycle(least, steps),
            ] {
                let factor = schedule.factor(step);
                prop_assert!(factor >= 0.0 && factor.is_finite(), "{schedule:?} at {step}: {factor}");
            }
        }
    }
}

fn network<T: Scalar>() -> Sequential<T> {
    Sequential::input(1).linear(1).activation(Tanh).linear(1).linear(1).build().unwrap()
}

fn blocks() -> Blocks {
    Blocks::collect(|visit| network::<f64>().blocks(visit))
}

fn transformed<T: Scalar>(mut transform: impl GradientTransform<T>, g: &[T]) -> Vec<T> {
    let blocks = blocks();
    transform.validate(&blocks).unwrap();
    let (mut g, w) = (g.to_vec(), [T::zero(); 6]);
    let mut state = vec![T::zero(); transform.state_len(&blocks)];
    transform.init_state(&blocks, &w, &mut state);
    transform.update(Update::new(&blocks, &w, &mut g, &mut state, 0)).unwrap();
    g
}

fn huge_logits<T: Scalar>() {
    for reduction in [Reduction::Mean, Reduction::Sum] {
        for (loss, of_classes) in losses::<T>(reduction) {
            for [a, b, c] in [[1e4, -1e4, 0.0], [1e4; 3], [-1e4; 3], [-1e4, 1e4, 1e4]] {
                let y = [a, b, c].map(scalar::<T>);
                let values = [0.0, 1.0, 0.0].map(scalar::<T>);
                let target = if of_classes { Target::Classes(&[2]) } else { Target::Values(&values) };
                let mut dy = [T::nan(); 3];
                let value = loss.evaluate(3, &y, target, None, &mut dy).unwrap();
                assert!(value.is_finite() && dy.iter().all(|d| d.is_finite()), "{loss:?} {y:?}: {value:?} {dy:?}");
            }
        }
    }
}

#[test]
fn losses_are_finite_at_huge_logits() {
    huge_logits::<f32>();
    huge_logits::<f64>();
}

#[test]
fn clipping_at_the_ends_of_the_range() {
    for p in [1.0, 2.0, 3.0, f64::INFINITY] {
        let found = transformed(ClipNorm::new(1.0).p(p), &[1e30f32, -1e30, 0.0, 0.0, 0.0, 0.0]);
        let each = if p.is_infinite() { 1.0 } else { 2.0f64.powf(-1.0 / p) };
        assert!((f64::from(found[0]) - each).abs() < 1e-6 && found[1] == -found[0], "{p}: {found:?}");
        assert_eq!(found[2..], [0.0; 4]);
        for bad in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let g = [1.0, bad, -2.0, 0.0, 3.0, 4.0];
            let found = transformed(ClipNorm::new(0.5).p(p), &g);
            assert_eq!(found.map_bits(), g.map_bits(), "{p}");
        }
    }
    // A large p comes to the largest value.
    let g = [3.0f64, -4.0, 1.0, 0.0, 0.0, 0.0];
    let [large, infinite] = [1e4, f64::INFINITY].map(|p| transformed(ClipNorm::new(1.0).p(p), &g));
    assert!(large.iter().zip(&infinite).all(|(a, b)| (a - b).abs() < 1e-3));
    assert_eq!(infinite[1], -1.0);
}

trait Bits {
    fn map_bits(&self) -> Vec<u32>;
}
impl Bits for [f32] {
    fn map_bits(&self) -> Vec<u32> {
        self.iter().map(|v| v.to_bits()).collect()
    }
}

/// Transforms that move whatever has a gradient.
fn transforms() -> Vec<Box<dyn GradientTransform<f64>>> {
    vec![
        Box::new(Sgd::new(0.1).momentum(0.9).nesterov()),
        Box::new(Adam::new(0.1)),
        Box::new(Adam::new(0.1).amsgrad()),
        Box::new(RmsProp::new(0.1).momentum(0.5).centred()),
        Box::new(Adagrad::new(0.1)),
        Box::new((SkipNonFinite::new(), ClipNorm::new(1.0), Sgd::new(0.1))),
        Box::new((ClipValue::new(1.0), ClipBlockNorm::new(1.0), Sgd::new(0.1), Schedule::step(2, 0.5))),
        Box::new((Sgd::new(0.1), ParameterGroups::new().rate("0", 3.0).rate("2", 0.5), WeightAverage::new(0.9))),
        Box::new((Adam::new(0.1), ReduceOnPlateau::new(0.5, 0))),
        Box::new((Penalty::elastic_net(0.1, 0.1), Sgd::new(0.1))),
        Box::new(AdamW::new(0.1, 0.1)),
    ]
}

#[test]
fn frozen_blocks_stay() {
    for transform in transforms() {
        let mut blocks = blocks();
        blocks.freeze("2").unwrap();
        let frozen = blocks.get("2.weight").unwrap().range.start..blocks.get("2.bias").unwrap().range.end;
        let start = [1.0, -2.0, 3.0, 0.5, 0.0, 7.0];
        let mut w = start;
        let mut optimizer = Optimizer::new(transform, &blocks, &w).unwrap();
        for step in 0..5 {
            // Even a gradient that the caller wrote there.
            optimizer.step(&blocks, &mut w, &mut [1.0 + step as f64; 6], &mut ()).unwrap();
            optimizer.on_metric(&blocks, 1.0).unwrap();
        }
        assert_eq!(w[frozen.clone()], start[frozen.clone()], "{optimizer:?}");
        assert!((0..6).filter(|i| !frozen.contains(i)).all(|i| w[i] != start[i]), "{optimizer:?}: {w:?}");
    }
}

mod own {
    //! A float of one's own: an `f64` in a coat.
    use num_traits::{Float, Num, NumCast, One, ToPrimitive, Zero};
    use std::{num::FpCategory, ops::*};

    #[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
    pub struct Own(pub f64);

    macro_rules! operators {
        ($($trait:ident $method:ident $assign:ident $assigned:ident;)+) => {$(
            impl $trait for Own {
                type Output = Own;
                fn $method(self, other: Own) -> Own { Own($trait::$method(self.0, other.0)) }
            }
            impl $assign for Own {
                fn $assigned(&mut self, other: Own) { $assign::$assigned(&mut self.0, other.0) }
            }
        )+};
    }
    operators! {
        Add add AddAssign add_assign; Sub sub SubAssign sub_assign; Mul mul MulAssign mul_assign;
        Div div DivAssign div_assign; Rem rem RemAssign rem_assign;
    }
    impl Neg for Own {
        type Output = Own;
        fn neg(self) -> Own {
            Own(-self.0)
        }
    }
    impl Zero for Own {
        fn zero() -> Self {
            Own(0.0)
        }
        fn is_zero(&self) -> bool {
            self.0 == 0.0
        }
    }
    impl One for Own {
        fn one() -> Self {
            Own(1.0)
        }
    }
    impl Num for Own {
        type FromStrRadixErr = <f64 as Num>::FromStrRadixErr;
        fn from_str_radix(text: &str, radix: u32) -> Result<Self, Self::FromStrRadixErr> {
            <f64 as Num>::from_str_radix(text, radix).map(Own)
        }
    }
    impl ToPrimitive for Own {
        fn to_i64(&self) -> Option<i64> {
            self.0.to_i64()
        }
        fn to_u64(&self) -> Option<u64> {
            self.0.to_u64()
        }
        fn to_f64(&self) -> Option<f64> {
            Some(self.0)
        }
    }
    impl NumCast for Own {
        fn from<N: ToPrimitive>(n: N) -> Option<Self> {
            n.to_f64().map(Own)
        }
    }
    macro_rules! float {
        (constants: $($constant:ident)+; tests: $($test:ident)+; unary: $($unary:ident)+; binary: $($binary:ident)+) => {
            impl Float for Own {
                $(fn $constant() -> Self { Own(<f64 as Float>::$constant()) })+
                $(fn $test(self) -> bool { Float::$test(self.0) })+
                $(fn $unary(self) -> Self { Own(Float::$unary(self.0)) })+
                $(fn $binary(self, other: Self) -> Self { Own(Float::$binary(self.0, other.0)) })+
                fn classify(self) -> FpCategory { self.0.classify() }
                fn powi(self, n: i32) -> Self { Own(self.0.powi(n)) }
                fn mul_add(self, a: Self, b: Self) -> Self { Own(self.0.mul_add(a.0, b.0)) }
                fn abs_sub(self, other: Self) -> Self { Own((self.0 - other.0).max(0.0)) }
                fn sin_cos(self) -> (Self, Self) { (self.sin(), self.cos()) }
                fn integer_decode(self) -> (u64, i16, i8) { Float::integer_decode(self.0) }
            }
        };
    }
    float! {
        constants: nan infinity neg_infinity neg_zero min_value min_positive_value max_value epsilon;
        tests: is_nan is_infinite is_finite is_normal is_sign_positive is_sign_negative;
        unary: floor ceil round trunc fract abs signum recip sqrt exp exp2 ln log2 log10 cbrt sin cos tan asin acos atan
            exp_m1 ln_1p sinh cosh tanh asinh acosh atanh;
        binary: powf log max min hypot atan2
    }
}

/// Five steps of a generic network, and the parameters after them.
fn trained<T: Scalar>() -> Vec<f64> {
    let network =
        Sequential::<T>::input(2).linear(5).layer_norm().activation(Tanh).recurrent(4, Lstm::new()).last_step();
    let network = network.dropout(0.2).linear(3).build().unwrap();
    let mut w: Vec<T> = chainrule::layer::initialize(&network, 3).unwrap();
    let lengths = [3, 2, 2, 1];
    let shape = BatchShape::ragged(&lengths);
    let x: Vec<T> = (0..shape.rows() * 2).map(|i| scalar((i as f64 * 0.7).sin())).collect();
    let mut workspace = Workspace::new(&network, BatchShape::sequences(4, 3)).unwrap();
    let transform = (SkipNonFinite::new(), ClipNorm::new(0.5), AdamW::new(0.01, 0.1), Schedule::cosine(10, 0.0));
    let mut optimizer = Optimizer::new(transform, workspace.blocks(), &w).unwrap();
    let mut out = Vec::new();
    for _ in 0..5 {
        let output = workspace.forward(&w, &x, shape).unwrap();
        let target = Target::Classes(&[0, 1, 2, 0]);
        out.push(to_f64(CrossEntropy::new().evaluate(3, output.y, target, None, output.dy).unwrap()));
        workspace.backward(&w).unwrap();
        let (blocks, gradient) = workspace.blocks_and_gradient();
        optimizer.step(blocks, &mut w, gradient, &mut ()).unwrap();
    }
    out.extend(w.iter().map(|&w| to_f64(w)));
    out
}

#[test]
fn a_float_of_ones_own() {
    let (own, plain) = (trained::<own::Own>(), trained::<f64>());
    assert_eq!(own.len(), plain.len());
    for (i, (own, plain)) in own.iter().zip(&plain).enumerate() {
        assert!((own - plain).abs() <= 1e-12 * plain.abs().max(1.0), "{i}: {own} is not {plain}");
    }
}

fn blocks_of_six() -> Blocks {
    Blocks::collect(|visit| visit(Block::new("weight", 0, [6, 1], Role::Weight)))
}

/// PyTorch's `ReduceLROnPlateau` by hand: patience 1, factor ½, cooldown 1, threshold 10 %.
#[test]
fn a_plateau_halves_the_rate_after_the_patience() {
    let blocks = blocks_of_six();
    let chain = (Sgd::new(1.0), ReduceOnPlateau::new(0.5, 1).threshold(0.1).cooldown(1).least(0.2));
    let mut optimizer = Optimizer::new(chain, &blocks, &[0.0; 6]).unwrap();
    let mut rate = |metric: f64| {
        optimizer.on_metric(&blocks, metric).unwrap();
        let mut w = [0.0; 6];
        optimizer.step(&blocks, &mut w, &mut [1.0; 6], &mut ()).unwrap();
        -w[0]
    };
    // Falls; does not fall by 10 %; a second time: halved; cooling; bad; bad: halved; cooling; bad; bad: the least.
    let found: Vec<f64> = [1.0, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95].into_iter().map(&mut rate).collect();
    assert_eq!(found, [1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2]);
}

#[test]
fn a_weight_average_follows_the_weights() {
    let blocks = blocks_of_six();
    let mut w = [1.0; 6];
    let mut optimizer = Optimizer::new((Sgd::new(1.0), WeightAverage::new(0.75)), &blocks, &w).unwrap();
    let mut expected = 1.0;
    for _ in 0..4 {
        optimizer.step(&blocks, &mut w, &mut [0.5; 6], &mut ()).unwrap();
        expected = 0.75 * expected + 0.25 * w[0];
        assert_eq!(optimizer.averaged_weights(&blocks).unwrap(), [expected; 6]);
    }
}
