//! Accuracy over the whole range of a format, and in formats narrower than `f32`.

use crate::fixtures::Squared;
use chainrule::{
    Activation, BatchShape, Block, Blocks, Error, Layer, Role, Scalar,
    activation::ActivationKind,
    dataset::{Batch, Dataset},
    distributed::{DataParallel, Local},
    initializer::{Constant, He, Initializer, Normal, Shape, Sparse, TruncatedNormal, Uniform},
    layer::{LayerNorm, LayerSpec, Linear, MeanOverSteps, RmsNorm, Sequential, initialize},
    loss::{DualLoss, Huber, Loss, MeanSquaredError, Reduction, Target, ValueWeights},
    random::generator,
    scalar, to_f64,
    trainer::{FitOptions, TrainConfig, Trainer},
    transform::{
        Adadelta, Adagrad, Adam, AdamW, Adamax, ClipBlockNorm, ClipNorm, GradientTransform, Lion, Muon, NAdam,
        Optimizer, Penalty, RAdam, RmsProp, Schedule, Sgd, SkipNonFinite, WeightAverage,
    },
    workspace::Workspace,
};
use half::{bf16, f16};

/// A number in (−1, 1), a function of seed and index (splitmix64).
fn number(seed: u64, i: usize) -> f64 {
    let mut z = (seed << 32).wrapping_add(i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// y, dx and dγ of one row of a norm with gain 1, in `f64` on values divided by their magnitude.
fn truth(centred: bool, epsilon: f64, x: &[f64], dy: &[f64]) -> [Vec<f64>; 3] {
    let n = x.len() as f64;
    let size = x.iter().fold(epsilon.sqrt(), |most: f64, x| most.max(x.abs()));
    let z: Vec<f64> = x.iter().map(|x| x / size).collect();
    let mean = if centred { z.iter().sum::<f64>() / n } else { 0.0 };
    let square = z.iter().map(|z| (z - mean) * (z - mean)).sum::<f64>() / n;
    let deviation = (square + epsilon / size / size).sqrt();
    let unit: Vec<f64> = z.iter().map(|z| (z - mean) / deviation).collect();
    let mean_d = if centred { dy.iter().sum::<f64>() / n } else { 0.0 };
    let mean_du = dy.iter().zip(&unit).map(|(d, u)| d * u).sum::<f64>() / n;
    let dx = dy.iter().zip(&unit).map(|(d, u)| (d - mean_d - u * mean_du) / deviation / size).collect();
    let d_gain = dy.iter().zip(&unit).map(|(d, u)| d * u).collect();
    [unit, dx, d_gain]
}

fn norm_is_right_at<T: Scalar>(layer: &dyn Layer<T>, centred: bool, epsilon: f64, size: f64, gradient: f64) {
    let width = layer.dims().input;
    let x: Vec<T> = (0..width).map(|i| scalar(size * (1.0 + 0.5 * number(1, i)) * number(2, i).signum())).collect();
    let dy: Vec<T> = (0..width).map(|i| scalar(gradient * number(3, i))).collect();
    let wide = |x: &[T]| x.iter().map(|&x| to_f64(x)).collect::<Vec<f64>>();
    let times = |x: &[f64], by: f64| x.iter().map(|x| x * by).collect::<Vec<f64>>();
    let [y, dx, d_gain] = truth(centred, epsilon, &wide(&x), &times(&wide(&dy), 1.0 / gradient));
    let expected = [y, times(&dx, gradient), times(&d_gain, gradient)];

    let w = initialize(layer, 1).unwrap();
    let mut workspace = Workspace::new(layer, BatchShape::batch(1)).unwrap();
    workspace.compute_input_gradient(true);
    let y = {
        let output = workspace.forward(&w, &x, BatchShape::batch(1)).unwrap();
        output.dy.copy_from_slice(&dy);
        wide(output.y)
    };
    let d_gain = wide(&workspace.backward(&w).unwrap()[..width]);
    let dx = wide(workspace.input_gradient());
    let unit = to_f64(T::epsilon());
    for (what, found, expected) in [("y", y, &expected[0]), ("dx", dx, &expected[1]), ("dγ", d_gain, &expected[2])] {
        let most = expected.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        // A subnormal gradient has fewer correct digits.
        let least = 2.0 * to_f64(T::min_positive_value()) * unit;
        for (found, expected) in found.iter().zip(expected) {
            let bound = 8.0 * unit * most + least;
            let overflow = expected.abs() > to_f64(T::max_value()) && found.is_infinite();
            assert!(
                overflow || (found - expected).abs() <= bound,
                "{layer:?} at {size:e}, gradients of {gradient:e}: {what} {found} for {expected}"
            );
        }
    }
}

fn norms_are_right_over_the_range<T: Scalar>(sizes: &[f64]) {
    // The sums over a row of the second gradients are beyond the format.
    for gradient in [1.0, to_f64(T::max_value()) / 4.0] {
        for &size in sizes {
            norm_is_right_at::<T>(&LayerNorm::new(12), true, 1e-5, size, gradient);
            norm_is_right_at::<T>(&RmsNorm::new(12), false, 1e-6, size, gradient);
            norm_is_right_at::<T>(&LayerNorm::new(12).epsilon(1e-300).unwrap(), true, 1e-300, size, gradient);
            norm_is_right_at::<T>(&RmsNorm::new(12).epsilon(1e-300).unwrap(), false, 1e-300, size, gradient);
        }
    }
}

#[test]
fn layer_norm_of_huge_and_tiny_rows_is_exact() {
    norms_are_right_over_the_range::<f32>(&[1e-40, 1e-30, 1e-20, 1e-3, 1.0, 1e10, 1e19, 1e25, 2e38]);
    norms_are_right_over_the_range::<f64>(&[1e-310, 1e-200, 1e-100, 1.0, 1e100, 1e154, 1e200, 1e308]);
    norms_are_right_over_the_range::<f16>(&[1e-5, 1e-3, 0.1, 1.0, 30.0, 200.0, 4e4]);
    norms_are_right_over_the_range::<bf16>(&[1e-30, 1e-20, 1e-3, 1.0, 1e19, 2e38]);
}

#[test]
fn layer_norm_of_a_row_of_zeros_is_zero() {
    for epsilon in [1e-300, 1e-5] {
        let layer = RmsNorm::new(3).epsilon(epsilon).unwrap();
        let w: Vec<f32> = initialize(&layer, 1).unwrap();
        let mut workspace = Workspace::new(&layer, BatchShape::batch(1)).unwrap();
        assert_eq!(workspace.infer(&w, &[0.0; 3], BatchShape::batch(1)).unwrap(), [0.0; 3]);
    }
}

fn one_block(n: usize) -> Blocks {
    Blocks::collect(|visit| visit(Block::new("weight", 0, [1, n], Role::Weight)))
}

/// The gradient after one step of a clip, and the clip factor.
fn clipped<T: Scalar>(clip: impl GradientTransform<T>, gradient: &[f64]) -> (Vec<f64>, Option<f64>) {
    let blocks = one_block(gradient.len());
    let mut w = vec![T::zero(); gradient.len()];
    let mut g: Vec<T> = gradient.iter().map(|&g| scalar(g)).collect();
    let mut optimizer = Optimizer::new((clip, Sgd::new(1.0)), &blocks, &w).unwrap();
    optimizer.step(&blocks, &mut w, &mut g, &mut ()).unwrap();
    (w.iter().map(|&w| -to_f64(w)).collect(), optimizer.transform().0.clip_factor())
}

fn clips_hold_at<T: Scalar>(sizes: &[f64], limits: &[f64]) {
    for (&size, &limit) in sizes.iter().flat_map(|size| limits.iter().map(move |limit| (size, limit))) {
        let gradient = [size, -size, 0.5 * size, size, 0.0].map(|g| to_f64(scalar::<T>(g)));
        let size = gradient[0];
        let root = gradient.iter().map(|g| (g / size) * (g / size)).sum::<f64>().sqrt();
        // (limit/size)/root, because size · root can overflow.
        let factor = |g: f64| if limit / size >= root { g } else { g / size / root * limit };
        // Of a subnormal gradient in f64, the quotient has few digits.
        if size > 1e-300 {
            let (found, expected) = (clipped::<T>(ClipNorm::new(limit), &gradient).1, (limit / size / root).min(1.0));
            let (off, allowed) = ((found.unwrap() - expected).abs(), 1e-12 * expected + 1e-323);
            assert!(off <= allowed, "{size:e} to {limit:e}: {found:?} for {expected:e}");
        }
        for found in [clipped::<T>(ClipNorm::new(limit), &gradient), clipped::<T>(ClipBlockNorm::new(limit), &gradient)]
        {
            for (found, g) in found.0.iter().zip(gradient) {
                let bound = 4.0 * to_f64(T::epsilon()) * factor(g).abs()
                    + 4.0 * to_f64(T::min_positive_value()) * to_f64(T::epsilon());
                assert!((found - factor(g)).abs() <= bound, "{size:e} to {limit:e}: {found} for {}", factor(g));
            }
        }
    }
}

#[test]
fn clip_by_norm_over_the_range_has_the_exact_factor() {
    clips_hold_at::<f64>(&[1e-320, 1e-300, 1e-3, 1.0, 1e200, 1.7e308], &[1e-322, 1e-310, 1e-3, 1.0, 1e300]);
    clips_hold_at::<f32>(&[1e-40, 1e-30, 1.0, 1e19, 3e38], &[1e-44, 1e-20, 1.0, 1e20]);
    clips_hold_at::<f16>(&[1e-6, 1e-3, 1.0, 200.0, 6e4], &[1e-7, 1e-3, 1.0, 1e3]);
    clips_hold_at::<bf16>(&[1e-30, 1.0, 1e30], &[1e-20, 1.0]);
    // ε is part of a norm that f32 does not hold, too: 1e-21/(2e19 + 1e19) has few digits there.
    let (found, factor) = clipped::<f32>(ClipNorm::new(1e-21).epsilon(1e19), &[1e19, 1e19, -1e19, 1e19]);
    assert!((factor.unwrap() * 3e40 - 1.0).abs() < 1e-6, "{factor:?}");
    assert!((found[0] * 3e21 - 1.0).abs() < 1e-6 && found[2] == -found[0], "{found:?}");
    // Six equal values g have the norm 6⁵⁰ g for p = 1/50: f32 holds the clipped values, and not the norm.
    let (found, _) = clipped::<f32>(ClipNorm::new(1e10).p(0.02), &[1e15; 6]);
    assert!(found.iter().all(|g| (g * 6f64.powi(50) / 1e10 - 1.0).abs() < 1e-5), "{found:?}");
    // The clip does not change a gradient with an infinite value, and reports the factor 1.
    assert_eq!(clipped::<f64>(ClipNorm::new(1.0), &[1.0, f64::INFINITY]).1, Some(1.0));
}

fn optimizers<T: Scalar>() -> Vec<Box<dyn GradientTransform<T>>> {
    vec![
        Box::new(Adam::new(1e-3)),
        Box::new(Adam::new(1e-3).amsgrad()),
        Box::new(AdamW::new(1e-3, 1e-2)),
        // Weight decay and gradient term are of similar size, and have opposite signs for some values.
        Box::new(AdamW::new(1e-3, 1.0)),
        Box::new(RmsProp::new(1e-3)),
        Box::new(RmsProp::new(1e-3).momentum(0.9)),
        Box::new(RmsProp::new(1e-5).alpha(0.9999).momentum(0.999)),
        Box::new(RmsProp::new(1e-3).centred().momentum(0.9)),
        Box::new(Adagrad::new(1e-2)),
        Box::new(Adadelta::new(1.0)),
        Box::new(Adamax::new(1e-3)),
        Box::new(NAdam::new(1e-3)),
        Box::new(RAdam::new(1e-3)),
        Box::new(Lion::new(1e-4)),
        Box::new(Lion::new(1e-4).decay(0.1)),
        Box::new(Muon::new(1e-3, AdamW::new(1e-3, 0.0)).decay(0.1)),
        Box::new(Sgd::new(1e-3).momentum(0.9)),
        Box::new(Sgd::new(1e-3).momentum(0.99).nesterov()),
        Box::new(Sgd::new(1e-3).momentum(0.9).dampening(0.5)),
        Box::new((Sgd::new(0.5), Schedule::constant(1e-6))),
        Box::new((Penalty::l2(1e-7), Sgd::new(1.0))),
    ]
}

/// Asserts that each update of an optimizer in `T` agrees with that in `f64` from the same parameters and gradients.
fn updates_agree_with_double<T: Scalar>(sizes: &[f64]) {
    const STEPS: u64 = 1000;
    for (mut narrow, mut wide) in optimizers::<T>().into_iter().zip(optimizers::<f64>()) {
        let blocks = one_block(sizes.len());
        narrow.validate(&blocks).unwrap();
        wide.validate(&blocks).unwrap();
        let mut w: Vec<T> = vec![scalar(0.25); sizes.len()];
        let (mut state, mut wide_state) =
            (vec![T::zero(); narrow.state_len(&blocks)], vec![0.0; wide.state_len(&blocks)]);
        narrow.init_state(&blocks, &w, &mut state);
        wide.init_state(&blocks, &vec![0.25; sizes.len()], &mut wide_state);
        for step in 0..STEPS {
            let mut g: Vec<T> = sizes
                .iter()
                .enumerate()
                .map(|(i, &size)| {
                    scalar(size * (1.0 + 0.3 * number(step, i)) * (0.5 + number(step + 5000, i)).signum())
                })
                .collect();
            let mut exact: Vec<f64> = g.iter().map(|&g| to_f64(g)).collect();
            let before: Vec<f64> = w.iter().map(|&w| to_f64(w)).collect();
            narrow.update(chainrule::transform::Update::new(&blocks, &w, &mut g, &mut state, step)).unwrap();
            wide.update(chainrule::transform::Update::new(&blocks, &before, &mut exact, &mut wide_state, step))
                .unwrap();
            // A parameter that has overflowed has no update to compare.
            for ((g, exact), size) in g.iter().zip(&exact).zip(sizes).filter(|((_, exact), _)| exact.is_finite()) {
                let (epsilon, least) = (to_f64(T::epsilon()), to_f64(T::min_positive_value()));
                let unit = epsilon * 2f64.powf(exact.abs().max(least).log2().floor());
                let off = (to_f64(*g) - exact).abs() / unit;
                assert!(off <= 2.0, "{narrow:?}, gradient of {size:e}, step {step}: {g:?} for {exact:e}, {off} units");
            }
            w.iter_mut().zip(&g).for_each(|(w, &g)| *w += g);
        }
    }
}

#[test]
fn update_in_narrow_formats_is_within_two_units_of_f64() {
    updates_agree_with_double::<f16>(&[6e-8, 1e-6, 1e-5, 1e-4, 1.5e-3, 0.1, 10.0, 300.0, 4e4]);
    updates_agree_with_double::<bf16>(&[1e-30, 1e-12, 1e-5, 1.5e-3, 1.0, 1e5, 1e12]);
}

/// The average of a weight that is 0 at first and then 1 for `steps` steps.
fn average_of_ones<T: Scalar>(decay: f64, steps: i32) -> f64 {
    let blocks = one_block(1);
    let mut w = [T::zero()];
    let mut optimizer = Optimizer::new((Sgd::new(1.0), WeightAverage::new(decay)), &blocks, &w).unwrap();
    for step in 0..steps {
        let gradient = if step == 0 { -T::one() } else { T::zero() };
        optimizer.step(&blocks, &mut w, &mut [gradient], &mut ()).unwrap();
    }
    to_f64(optimizer.averaged_weights(&blocks).unwrap()[0])
}

#[test]
fn weight_average_with_a_decay_near_one_does_not_stall() {
    let (decay, steps) = (0.9999999f64, 2_000_000);
    let expected = 1.0 - decay.powi(steps);
    assert!((expected - 0.18127).abs() < 1e-5);
    for (found, unit) in [
        (average_of_ones::<f64>(decay, steps), f64::EPSILON * 1e3),
        (average_of_ones::<f32>(decay, steps), f64::from(f32::EPSILON) / 4.0),
        (average_of_ones::<f16>(decay, steps), 2f64.powi(-14) + 1e-6),
    ] {
        assert!((found - expected).abs() <= unit, "{found} for {expected}");
    }
    // The average reaches 1 with a decay of ½.
    assert!(average_of_ones::<f32>(0.5, 30) > 0.99);
}

fn overflow<T: Scalar>(weights: impl Initializer + 'static, bias: impl Initializer + 'static) -> Result<Vec<T>, Error> {
    initialize::<T>(&Linear::new(64, 64).weights(weights).bias(bias), 1)
}

#[test]
fn initial_value_beyond_the_format_is_an_error_with_the_block() {
    fn names<T: Scalar>(result: Result<Vec<T>, Error>, expected: &str) {
        match result {
            Err(Error::InitialValue { block, index, .. }) => {
                assert!(block == expected && index < 64 * 64, "{block}, {index}")
            }
            other => panic!("{:?}", other.map(|_| ())),
        }
    }
    names(overflow::<f64>(Normal { mean: 0.0, std: 1e308 }, Constant(0.0)), "weight");
    names(overflow::<f64>(TruncatedNormal::new(1e308, 1e308), Constant(0.0)), "weight");
    names(overflow::<f64>(Sparse::std(1e308), Constant(0.0)), "weight");
    names(overflow::<f32>(Uniform::within(1e39), Constant(0.0)), "weight");
    names(overflow::<f32>(He::normal(), Constant(1e39)), "bias");
    names(overflow::<f16>(Uniform::within(1e6), Constant(0.0)), "weight");
    names(overflow::<f16>(He::normal(), Constant(7e4)), "bias");
    assert!(overflow::<f16>(He::normal(), Constant(6e4)).is_ok());
    assert!(overflow::<bf16>(Uniform::within(1e38), Constant(0.0)).is_ok());
    // `fill` called directly returns an error, too.
    let filled =
        Normal { mean: 0.0, std: 1e308 }.fill(Shape::new(9, 9, Role::Weight), &mut generator(1), &mut [0.0; 81]);
    assert!(matches!(filled, Err(Error::NonFinite { .. })), "{filled:?}");
}

#[test]
fn finite_guard_in_f16_counts_beyond_2048() {
    let blocks = one_block(1);
    let (mut w, limit) = ([f16::from_f64(0.0)], 5000);
    let mut optimizer = Optimizer::new((SkipNonFinite::new().limit(limit), Sgd::new(1.0)), &blocks, &w).unwrap();
    for step in 1..=limit {
        let result = optimizer.step(&blocks, &mut w, &mut [f16::NAN], &mut ());
        match result {
            Err(Error::NonFiniteGradient { steps, .. }) => return assert_eq!((steps, step), (limit, limit)),
            other => assert!(step < limit && other.is_ok(), "{step}: {other:?}"),
        }
    }
}

#[test]
fn mean_of_losses_near_the_limit_of_the_format_is_finite() {
    fn mean<T: Scalar>(loss: &dyn Loss<T>, d: f64, rows: usize) -> f64 {
        let (y, t) = (vec![scalar(d); rows], vec![T::zero(); rows]);
        to_f64(loss.evaluate(1, &y, Target::Values(&t), None, &mut vec![T::zero(); rows]).unwrap())
    }
    for (found, expected) in [
        (mean::<f16>(&MeanSquaredError::new(), 200.0, 64), 4e4),
        (mean::<f32>(&MeanSquaredError::new(), 1.5e19, 64), 2.25e38),
        (mean::<f64>(&MeanSquaredError::new(), 1e154, 64), 1e308),
        (mean::<f32>(&Huber::new(1e20).unwrap(), 2e19, 64), 2e38),
        (mean::<f16>(&MeanSquaredError::new(), 1.0, 100_000), 1.0),
    ] {
        assert!((found - expected).abs() <= 1e-3 * expected, "{found:e} for {expected:e}");
    }
}

/// Asserts that `(φ, φ′)`, computed in `T` by `check`, is at its limits at the ends of the range of `T`.
fn activation_has_limits<T: Scalar>(kind: &ActivationKind, check: impl Fn(f64) -> (f64, f64)) {
    let (name, widest) = (kind.name(), to_f64(T::max_value()));
    let place = |at: f64| format!("{name} at {at:e} in {}", std::any::type_name::<T>());
    assert!(check(f64::NAN).0.is_nan() && check(f64::NAN).1.is_nan(), "{}: {:?}", place(f64::NAN), check(f64::NAN));
    let bounds = kind.derivative_bounds().unwrap();
    let margin = 1e-6 + 4.0 * to_f64(T::epsilon());
    let least = to_f64(T::min_positive_value());
    for at in [f64::INFINITY, f64::NEG_INFINITY, widest, -widest, 0.0, -0.0, least, -least] {
        let (y, slope) = check(at);
        assert!(!y.is_nan(), "{} is NaN", place(at));
        assert!(slope >= bounds.inf - margin && slope <= bounds.sup + margin, "{} has slope {slope}", place(at));
    }
    // In `f64`, every activation has reached its limit at ±1e4.
    for (end, far) in [(f64::INFINITY, 1e4), (f64::NEG_INFINITY, -1e4), (widest, 1e4), (-widest, -1e4)] {
        let ((y, slope), limit, value) = (check(end), kind.derivative(far, kind.value(far)), kind.value(far));
        assert!((slope - limit).abs() <= margin, "{} has slope {slope} for {limit}", place(end));
        if value.abs() < 50.0 {
            assert!((y - value).abs() <= 1e-2, "{} is {y} for {value}", place(end));
        } else if end.is_infinite() {
            assert_eq!(y, value.signum() * f64::INFINITY, "{}", place(end));
        }
    }
}

/// `(φ, φ′)` computed by an activation layer, hence by its kernels.
fn by_layer<T: Scalar>(kind: &ActivationKind, z: f64) -> (f64, f64) {
    let layer = LayerSpec::ActivationLayer { width: 1, activation: kind.clone() }.build::<T>().unwrap();
    let mut workspace = Workspace::new(layer, BatchShape::batch(1)).unwrap();
    workspace.compute_input_gradient(true);
    let output = workspace.forward(&[], &[scalar::<T>(z)], BatchShape::batch(1)).unwrap();
    let y = to_f64(output.y[0]);
    output.dy[0] = T::one();
    workspace.backward(&[]).unwrap();
    (y, to_f64(workspace.input_gradient()[0]))
}

macro_rules! at_the_edges {
    ($($activation:expr),* $(,)?) => {
        $({
            let (activation, kind) = ($activation, $activation.kind());
            activation_has_limits::<f32>(&kind, |z| by_layer::<f32>(&kind, z));
            activation_has_limits::<f64>(&kind, |z| by_layer::<f64>(&kind, z));
            activation_has_limits::<f16>(&kind, |z| by_function::<f16>(&activation, z));
            activation_has_limits::<bf16>(&kind, |z| by_function::<bf16>(&activation, z));
        })*
    };
}

fn by_function<T: Scalar>(activation: &impl Activation, z: f64) -> (f64, f64) {
    let z = scalar::<T>(z);
    let y = activation.value(z);
    (to_f64(y), to_f64(activation.derivative(z, y)))
}

#[test]
fn activation_at_the_ends_of_a_format_is_at_its_limits() {
    use chainrule::activation::*;
    at_the_edges!(
        Identity,
        Sigmoid,
        Tanh,
        Softsign,
        Erf,
        Relu,
        Relu6,
        LeakyRelu::default(),
        Elu::default(),
        Celu::default(),
        Selu,
        Gelu,
        GeluTanh,
        HardSigmoid,
        HardSwish,
        HardTanh::default(),
        HardShrink::default(),
        SoftShrink::default(),
        TanhShrink,
        Threshold::new(0.1, 20.0).unwrap(),
        Swish::default(),
        Mish,
        Softplus::default(),
        LogSigmoid,
    );
}

/// Asserts that no value and no derivative of `a` in `T` is NaN.
fn has_no_nan<T: Scalar>(a: &impl Activation) {
    for z in
        [0.0, -0.0, 1.0, -1.0, 1e-30, -1e30, 1e30, f64::INFINITY, f64::NEG_INFINITY, 65504.0, -65504.0, 3.4e38, -3.4e38]
    {
        let z = scalar::<T>(z);
        let y = a.value(z);
        assert!(!y.is_nan(), "{a:?} {z:?}");
        assert!(!a.derivative(z, y).is_nan(), "{a:?}' {z:?}");
    }
}
#[test]
fn activation_with_parameters_beyond_a_format_is_never_nan() {
    use chainrule::activation::*;
    for p in [1e308, 1e39, 7e4, 1e-8, 1e-39, 1e-46, 1e-308, 5e-324] {
        fn all<T: Scalar>(p: f64) {
            has_no_nan::<T>(&Elu::new(p).unwrap());
            has_no_nan::<T>(&Celu::new(p).unwrap());
            has_no_nan::<T>(&Softplus::new(p).unwrap());
            has_no_nan::<T>(&HardShrink::new(p).unwrap());
            has_no_nan::<T>(&SoftShrink::new(p).unwrap());
            for p in [p, -p] {
                has_no_nan::<T>(&LeakyRelu::new(p).unwrap());
                has_no_nan::<T>(&Swish::new(p).unwrap());
                has_no_nan::<T>(&Threshold::new(p, -p).unwrap());
                has_no_nan::<T>(&HardTanh::new(-p, p * 1.5 + 1.0).unwrap_or_default());
            }
        }
        all::<f32>(p);
        all::<f64>(p);
        all::<f16>(p);
        all::<bf16>(p);
    }
}

/// A trainer of one weight and one bias, both 0, by descent at `rate`.
fn trainer<T: Scalar, C: Loss<T>>(loss: C, rate: f64, settings: TrainConfig) -> Trainer<T, Sequential<T>, C, Sgd> {
    let network = Sequential::input(1).layer(Linear::new(1, 1).weights(Constant(0.0))).build().unwrap();
    Trainer::new(network, loss, Sgd::new(rate), settings).unwrap()
}

/// Losses are reported as they are, whatever the format: beyond its range, and between its numbers.
#[test]
fn reported_loss_is_not_rounded_to_the_format() {
    fn report<T: Scalar>(loss: &dyn Loss<T>, weighted: bool, targets: &[T], accumulation_steps: usize) -> [f64; 2] {
        let x = vec![T::zero(); targets.len()];
        let weights: Vec<T> = targets.iter().flat_map(|&target| [target, T::one()]).collect();
        let targets = if weighted { &weights[..] } else { targets };
        let data = Dataset::rows(1, &x, Target::Values(targets)).unwrap();
        let batch_size = x.len() / accumulation_steps;
        let settings = TrainConfig { epochs: 1, batch_size, accumulation_steps, ..TrainConfig::default() };
        let mut run = trainer(loss, 0.0, settings);
        let fit = run.fit_with(&data, FitOptions::new().validation(&data)).unwrap();
        assert_eq!(fit[0].validation.unwrap().loss, run.evaluate(&data).unwrap().loss);
        [fit[0].loss, fit[0].validation.unwrap().loss]
    }
    fn in_format<T: Scalar>(targets: &[f64], reduction: Reduction) {
        let targets: Vec<T> = targets.iter().map(|&target| scalar(target)).collect();
        let sum: f64 = targets.iter().map(|&target| to_f64(target) * to_f64(target)).sum();
        let truth = if reduction == Reduction::Mean { sum / targets.len() as f64 } else { sum };
        let losses: [(bool, Box<dyn Loss<T>>); 3] = [
            (false, Box::new(MeanSquaredError::new().reduction(reduction))),
            (true, Box::new(ValueWeights::new(MeanSquaredError::new().reduction(reduction)))),
            (false, Box::new(DualLoss::new(Squared).reduction(reduction))),
        ];
        for (weighted, loss) in losses {
            for parts in [1, 4] {
                for found in report(&*loss, weighted, &targets, parts) {
                    assert!((found - truth).abs() <= 1e-12 * truth, "{loss:?}, {parts} parts: {found} for {truth}");
                }
            }
        }
    }
    in_format::<f16>(&[30.0; 100], Reduction::Sum);
    in_format::<bf16>(&[30.0; 100], Reduction::Sum);
    for few in [0, 4, 8] {
        let near_one: Vec<f64> = (0..100).map(|i| if i < few { 0.99609375 } else { 1.0 }).collect();
        in_format::<f16>(&near_one, Reduction::Mean);
        in_format::<bf16>(&near_one, Reduction::Mean);
    }
}

/// A validation loss beyond the format falls, so patience does not run out.
#[test]
fn patience_sees_losses_beyond_the_format() {
    let (x, y) = ([f16::ZERO; 100], [f16::from_f32(30.0); 100]);
    let data = Dataset::rows(1, &x, Target::Values(&y)).unwrap();
    let settings = TrainConfig { epochs: 5, batch_size: 100, patience: Some(1), ..TrainConfig::default() };
    let mut run = trainer(MeanSquaredError::new().reduction(Reduction::Sum), 1e-5, settings);
    let epochs = run.fit_with(&data, FitOptions::new().validation(&data)).unwrap();
    let losses: Vec<f64> = epochs.iter().map(|epoch| epoch.validation.unwrap().loss).collect();
    assert!(losses.len() == 5 && losses.is_sorted_by(|a, b| a > b) && losses[4] > 65_504.0, "{losses:?}");
}

/// The sum of the steps, or their number, is above the largest number of the format; the mean is not.
#[test]
fn mean_over_steps_holds_where_the_sum_overflows() {
    fn mean<T: Scalar>(steps: usize, value: f64, gradient: f64) {
        let (layer, shape) = (MeanOverSteps::new(1), BatchShape::sequences(2, steps));
        let value = to_f64(scalar::<T>(value));
        let mut workspace = Workspace::<T, _>::new(&layer, shape).unwrap();
        workspace.compute_input_gradient(true);
        let x: Vec<T> = (0..2 * steps).map(|i| scalar(if i % 2 == 0 { value } else { -value })).collect();
        let output = workspace.forward(&[], &x, shape).unwrap();
        assert_eq!(output.y.iter().map(|&y| to_f64(y)).collect::<Vec<_>>(), [value, -value], "{steps} steps");
        output.dy.fill(scalar(gradient));
        workspace.backward(&[]).unwrap();
        let expected = scalar::<T>(gradient / steps as f64);
        assert!(workspace.input_gradient().iter().all(|dx| *dx == expected), "{steps} steps");
        // Step by step it has the same bits.
        let model = chainrule::model::Model::new(layer.clone(), Vec::<T>::new()).unwrap();
        let mut stream = model.stream().unwrap();
        let mut last = T::zero();
        for _ in 0..steps {
            last = stream.step(&[scalar(value)]).unwrap()[0];
        }
        assert_eq!(to_f64(last), value);
    }
    mean::<f16>(1_000, 100.0, 1.0);
    mean::<f16>(70_000, 0.5, 2.0);
    mean::<bf16>(1_000, 3e38, 1.0);
}

/// One process reports the same losses, of a mean over 8 rows and of one over 16 steps, without shards.
#[test]
fn losses_of_shards_and_ranks_exceed_16_bits() {
    fn check<T: Scalar>() {
        for (steps, loss) in [(1, 1e6), (2, 1e6)] {
            let (x, y) = (vec![T::one(); 8 * steps], vec![T::zero(); 8 * steps]);
            let data = Dataset::sequences(1, steps, &x, Target::Values(&y)).unwrap();
            let of = |parallel: Option<DataParallel<T>>| {
                let network = Sequential::<T>::input(1).linear(1).build().unwrap();
                let settings = TrainConfig { batch_size: 8, ..TrainConfig::default() };
                let mut run = Trainer::new(network, MeanSquaredError::new(), Sgd::new(1e-3), settings).unwrap();
                run.parameters_mut().copy_from_slice(&[scalar(1000.0), T::zero()]);
                parallel.into_iter().for_each(|parallel| run.set_data_parallel(parallel).unwrap());
                run.step(&data, &mut Batch::new(&data, 8), &[0, 1, 2, 3, 4, 5, 6, 7], &mut ()).unwrap().0
            };
            let expected = of(None);
            assert!((expected / loss - 1.0).abs() < 0.01, "{expected}");
            for shards in [1, 2, 8] {
                assert_eq!(of(Some(DataParallel::new(()).shards(shards))), expected, "{shards} shards, {steps} steps");
            }
            for ranks in [2, 3] {
                let found: Vec<f64> = std::thread::scope(|scope| {
                    let of = |rank| of(Some(DataParallel::new(rank).shards(4)));
                    let ranks = Local::new(ranks).unwrap().into_iter();
                    let threads: Vec<_> = ranks.map(|rank| scope.spawn(move || of(rank))).collect();
                    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
                });
                assert!(found.iter().all(|&found| found == expected), "{ranks} ranks: {found:?}");
            }
        }
    }
    check::<f16>();
    check::<bf16>();
}
