//! The strategies draw what they say, networks of every kind that build and run for every scalar, and shrink it.

use chainrule::{
    Activation, BatchShape, Bounds, Error, Scalar,
    activation::{ActivationKind, Identity},
    initializer::{Initializer, InitializerKind, Shape, Zeros},
    layer::{BranchScale, LayerSpec, Linear, Mode, initialize},
    loss::{GaussianNll, MeanSquaredError},
    proptest::{
        prelude::*,
        strategy::ValueTree,
        test_runner::{RngAlgorithm, TestCaseResult, TestError, TestRng, TestRunner},
    },
    random::generator,
    recurrent::{CellKind, GruVariant},
    testing::{
        Dual, Law, Layers, Violations, layer_laws,
        strategies::{
            Around, Case, Limits, OwnedBatchShape, OwnedTarget, TargetKind, activations, arguments_of, batch_shapes,
            cases, cases_around, cells, chains_around, finite, float, initializers, lengths, loss_cases,
            loss_cases_of_width, losses, networks, transforms, values, widths,
        },
    },
    transform::{GradientTransform, Optimizer, Sgd},
    workspace::Workspace,
};
use std::collections::BTreeSet;

/// The smallest value for which `holds` is false, the same in every run.
fn smallest<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>, holds: impl Fn(&T) -> bool) -> T {
    let config = ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    match runner.run(&strategy, |value| -> TestCaseResult {
        prop_assert!(holds(&value));
        Ok(())
    }) {
        Err(TestError::Fail(_, value)) => value,
        other => panic!("nothing found that breaks it: {other:?}"),
    }
}

/// Some values of a strategy, the same in every run.
fn drawn<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>, count: usize) -> Vec<T> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Forward and backward, with the workspace's lengths; the gradient.
fn runs<T: Scalar>(case: &Case<T>) -> Result<Vec<T>, Error> {
    let network = case.network.build::<T>()?;
    assert_eq!(network.spec(), case.network);
    let shape = BatchShape::from(&case.shape);
    shape.check()?;
    let mut workspace = Workspace::new(&network, shape)?;
    workspace.compute_input_gradient(true);
    for mode in [Mode::Train, Mode::Evaluate] {
        let output = workspace.forward_with(&case.w, &case.x, shape, mode, &mut ())?;
        output.dy.fill(T::one());
        workspace.backward(&case.w)?;
    }
    let initial: Vec<T> = initialize(&network, 1)?;
    assert!(initial.iter().all(|w| w.is_finite()));
    Ok([workspace.infer(&case.w, &case.x, shape)?.to_vec(), workspace.gradient().to_vec()].concat())
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn networks_run_in_f64(case in cases::<f64>(Limits::default())) {
        prop_assert!(runs(&case)?.iter().all(|number| number.is_finite()));
    }

    #[test]
    fn networks_run_in_f32(case: Case<f32>) {
        runs(&case)?;
    }

    #[test]
    fn networks_run_on_duals(case: Case<Dual<f64>>) {
        runs(&case)?;
    }

    #[test]
    fn networks_without_recurrence_have_no_timed_layer(case in cases::<f64>(Limits { recurrent: false, ..Limits::default() })) {
        let text = format!("{:?}", case.network);
        let timed = ["Recurrent", "Reversed", "Bidirectional", "LastStep", "MeanOverSteps"];
        prop_assert!(timed.iter().all(|name| !text.contains(name)), "{text}");
        runs(&case)?;
    }

    #[test]
    fn networks_within_limits_hold_them(node in networks(Limits { layers: 3, width: 4, depth: 1, recurrent: true, batch: 1, steps: 1 })) {
        let LayerSpec::Sequential { input, layers } = &node else {
            return Err(TestCaseError::fail("no row of layers"));
        };
        prop_assert!((1..=4).contains(input) && (1..=3).contains(&layers.len()));
        prop_assert!(depth(&node) <= 2, "{node:?}");
    }

    #[test]
    fn batch_shapes_drawn_are_valid(shape in batch_shapes(3, 4), lengths in lengths(5, 6), width in widths(7)) {
        BatchShape::from(&shape).check()?;
        BatchShape::ragged(&lengths).check()?;
        prop_assert!(shape.shape().batch <= 3 && shape.shape().steps <= 4);
        prop_assert!(lengths.len() <= 5 && lengths[0] <= 6 && (1..=7).contains(&width));
    }

    #[test]
    fn initializers_drawn_fill_any_shape(initializer: InitializerKind, rows in widths(5), columns in widths(5)) {
        let shape = Shape::new(rows, columns, chainrule::Role::Weight);
        let mut values = vec![f64::NAN; rows * columns];
        initializer.fill(shape, &mut generator(3), &mut values)?;
        prop_assert!(values.iter().all(|value| value.is_finite()));
    }

    #[test]
    fn finite_numbers_drawn_are_finite(single in finite::<f32>(), double in finite::<f64>(), dual: Dual<f64>, row in values::<f32>(4)) {
        prop_assert!(single.is_finite() && double.is_finite());
        prop_assert!(dual.value.is_finite() && dual.tangent.is_finite());
        prop_assert!(row.len() == 4 && row.iter().all(|value| value.abs() <= 2.0));
    }

    #[test]
    fn arbitrary_values_are_in_range(
        _: ActivationKind,
        _: CellKind,
        _: LayerSpec,
        _: OwnedBatchShape,
        _: GruVariant,
        scale: BranchScale,
    ) {
        let (BranchScale::Fixed(value) | BranchScale::Learned(value)) = scale;
        prop_assert!(value.abs() <= 2.0);
    }
}

/// Branches within branches.
fn depth(node: &LayerSpec) -> usize {
    match node {
        LayerSpec::Sequential { layers, .. } => 1 + layers.iter().map(depth).max().unwrap_or(0),
        LayerSpec::Residual { branch: layer, .. } | LayerSpec::Reversed(layer) => depth(layer),
        LayerSpec::Bidirectional { forward, backward } => depth(forward).max(depth(backward)),
        LayerSpec::Parallel { branches, .. } => branches.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// The words of a value's text that begin with a capital.
fn names<T: std::fmt::Debug>(values: &[T]) -> BTreeSet<String> {
    let text = format!("{values:?}");
    let words = text.split(|c: char| !c.is_alphanumeric());
    words.filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase())).map(String::from).collect()
}

#[test]
fn networks_drawn_leave_no_layer_out() {
    let drawn_names = names(&drawn(networks(Limits::default()), 2000));
    for name in [
        "Linear",
        "ActivationLayer",
        "PRelu",
        "LayerNorm",
        "RmsNorm",
        "GroupNorm",
        "Dropout",
        "Softmax",
        "LogSoftmax",
        "GatedLinear",
        "Residual",
        "Sequential",
        "LastStep",
        "MeanOverSteps",
        "Recurrent",
        "Reversed",
        "Bidirectional",
        "Parallel",
        "Concatenate",
        "Sum",
        "Fixed",
        "Learned",
        "Elman",
        "Lstm",
        "Gru",
        "Mgu",
        "ResetAfter",
        "ResetBefore",
        "Zeros",
        "Constant",
        "Uniform",
        "Normal",
        "TruncatedNormal",
        "VarianceScaling",
        "Orthogonal",
        "Sparse",
        "ByGate",
        "None",
        "Some",
    ] {
        assert!(drawn_names.contains(name), "no {name}");
    }
    let kinds: BTreeSet<_> = drawn(activations(), 1000).iter().map(|kind| kind.name()).collect();
    let all: BTreeSet<_> = ActivationKind::examples().iter().map(|kind| kind.name()).collect();
    assert_eq!(kinds, all);
    assert_eq!(names(&drawn(batch_shapes(3, 3), 200)).len(), 3);
}

#[test]
fn floats_have_their_edges() {
    fn check<T: Scalar>() {
        let numbers = drawn(float::<T>(), 4000);
        let has = |test: &dyn Fn(T) -> bool| numbers.iter().any(|&number| test(number));
        assert!(has(&|x| x.is_zero() && x.is_sign_negative()) && has(&|x| x.is_zero() && x.is_sign_positive()));
        assert!(has(&|x| x == T::max_value()) && has(&|x| x == T::min_value()));
        assert!(has(&|x| x == T::min_positive_value()) && has(&|x| x.is_subnormal()));
        assert!(
            has(&|x| x == T::one() + T::epsilon()) && has(&|x| x == T::one() - T::epsilon() / (T::one() + T::one()))
        );
        assert!(has(&|x| x.is_nan()) && has(&|x| x == T::infinity()) && has(&|x| x == T::neg_infinity()));
        let large = T::max_value().sqrt();
        assert!(has(&|x| x.is_finite() && x > large && x < T::max_value()));
        assert!(has(&|x| x != T::zero() && x.abs() < T::one() / large));
    }
    check::<f32>();
    check::<f64>();
    check::<Dual<f64>>();
}

/// A layer in a network that is one layer.
fn alone(node: &LayerSpec) -> &LayerSpec {
    match node {
        LayerSpec::Sequential { layers, .. } if layers.len() == 1 => &layers[0],
        other => panic!("not one layer: {other:?}"),
    }
}

#[test]
fn everything_shrinks() {
    assert_eq!(smallest(finite::<f64>(), |_| false), 0.0);
    assert_eq!(smallest(float::<f32>(), |_| false), 0.0);
    assert_eq!(smallest(values::<f64>(3), |_| false), [0.0; 3]);
    // From a number of ordinary size: to the bound itself. From any other: no further than to one of ordinary size.
    assert_eq!(smallest(values::<f64>(1), |x| x[0].abs() < 1.25)[0].abs(), 1.25);
    let above = smallest(finite::<f64>(), |&x| x.abs() < 3.0).abs();
    assert!((3.0..=4.0).contains(&above), "{above}");
    assert_eq!(smallest(lengths(5, 6), |_| false), [1]);
    let unequal = smallest(lengths(5, 6), |lengths| lengths.len() < 2 || lengths[0] == lengths[1]);
    assert_eq!(unequal, [2, 1]);
    assert_eq!(smallest(batch_shapes(5, 6), |_| false), OwnedBatchShape::Batch(1));
    assert_eq!(smallest(batch_shapes(5, 6), |shape| shape.shape().lengths.is_none()), OwnedBatchShape::Ragged(vec![1]));
    assert_eq!(smallest(activations(), |_| false), ActivationKind::Identity(Identity));
    assert_eq!(smallest(initializers(), |_| false), InitializerKind::Zeros(Zeros));
    assert_eq!(smallest(cells(), |_| false), CellKind::Elman(ActivationKind::Identity(Identity)));
}

#[test]
fn networks_shrink_to_one_layer() {
    let identity = ActivationKind::Identity(Identity);
    let Case { network, w, x, shape } = smallest(cases::<f64>(Limits::default()), |_| false);
    assert_eq!(alone(&network), &LayerSpec::ActivationLayer { width: 1, activation: identity.clone() });
    assert_eq!((w.as_slice(), x.as_slice(), shape), (&[][..], &[1.0 / 128.0][..], OwnedBatchShape::Batch(1)));

    let recurrent = |node: &LayerSpec| names(std::slice::from_ref(node)).contains("Recurrent");
    let found = smallest(networks(Limits::default()), |node| !recurrent(node));
    let LayerSpec::Recurrent { cell, inputs: 1, hidden: 1, bias: None, .. } = alone(&found) else {
        panic!("{found:?}")
    };
    assert_eq!(cell, &CellKind::Elman(identity.clone()));

    // Within a branch, too.
    let within = |node: &LayerSpec| matches!(node, LayerSpec::Residual { branch, .. } if recurrent(branch));
    let bad = |node: &LayerSpec| matches!(node, LayerSpec::Sequential { layers, .. } if layers.iter().any(within));
    let found = smallest(networks(Limits::default()), |node| !bad(node));
    let LayerSpec::Residual { branch, scale: BranchScale::Fixed(0.0) } = alone(&found) else { panic!("{found:?}") };
    assert!(matches!(**branch, LayerSpec::Recurrent { inputs: 1, hidden: 1, .. }), "{found:?}");
}

/// A bound that is too narrow by 1e-6 of its size is found in 256 arguments, for every activation of the crate.
#[test]
fn arguments_of_an_activation_find_a_bound_wrong_by_a_millionth() {
    for kind in ActivationKind::examples() {
        let Bounds { inf, sup } = kind.derivative_bounds().unwrap();
        let off = 1e-6 * inf.abs().max(sup.abs());
        let (low, high) = (Bounds::new(inf + off, sup), Bounds::new(inf, sup - off));
        let strategy = arguments_of::<f64>(&kind);
        let mut runner = TestRunner::deterministic();
        for run in 0..3 {
            let drawn: Vec<f64> = (0..256).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();
            let slopes: Vec<f64> = drawn.iter().map(|&z| kind.derivative(z, kind.value(z))).collect();
            assert!(slopes.iter().all(|&slope| Bounds::new(inf, sup).contains(slope)), "{kind:?}");
            for wrong in [low, high] {
                assert!(slopes.iter().any(|&slope| !wrong.contains(slope)), "{kind:?}, {wrong:?}, run {run}");
            }
        }
    }
}

/// Whole networks of every kind keep the laws of layers: no right layer is accused.
#[test]
fn networks_drawn_keep_the_laws() {
    let cases = std::env::var("CHAINRULE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(60);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let accused = runner.run(&(networks(Limits::default()), any::<u64>()), |(node, seed)| {
        let built = (node.build::<f32>(), node.build::<f64>(), node.build::<Dual<f64>>());
        let (Ok(single), Ok(double), Ok(dual)) = built else { return Err(TestCaseError::fail("does not build")) };
        let layers = Layers { single: &*single, double: &*double, dual: &*dual };
        // The gain of a norm of width 1 has no effect, nor has what stands behind a scale of 0: that is said rightly.
        let accused =
            |violations: &Violations| violations.violations.iter().any(|other| other.law != Law::BlocksMatter);
        match layer_laws(layers, seed) {
            Err(violations) if accused(&violations) => Err(TestCaseError::fail(format!("{violations}"))),
            _ => Ok(()),
        }
    });
    accused.unwrap_or_else(|error| panic!("{error}"));
}

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn losses_on_their_targets_are_finite((loss, case) in losses::<f64>()) {
        let (value, dy) = case.evaluate(&*loss)?;
        prop_assert!(value.is_finite() && dy.iter().all(|dy| dy.is_finite()), "{value} {dy:?}");
    }

    #[test]
    fn loss_cases_of_a_kind_have_such_targets(
        classes in loss_cases::<f64>(TargetKind::Classes),
        signs in loss_cases::<f32>(TargetKind::Signs),
        shares in loss_cases::<f64>(TargetKind::Shares),
    ) {
        let OwnedTarget::Classes(labels) = &classes.target else { return Err(TestCaseError::fail("values")) };
        prop_assert!(labels.iter().all(|&label| label < classes.width));
        let OwnedTarget::Values(signs) = &signs.target else { return Err(TestCaseError::fail("classes")) };
        prop_assert!(signs.iter().all(|sign| sign.abs() == 1.0));
        let OwnedTarget::Values(values) = &shares.target else { return Err(TestCaseError::fail("classes")) };
        prop_assert!(values.chunks(shares.width).all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-12));
    }

    #[test]
    fn loss_cases_hold_counts_ones_and_rows_of_another_width(
        counts in loss_cases::<f64>(TargetKind::Counts),
        binary in loss_cases::<f64>(TargetKind::Binary),
        hot in loss_cases::<f32>(TargetKind::OneHot),
        pairs in loss_cases_of_width::<f64>(TargetKind::Values, |targets| 2 * targets),
    ) {
        let OwnedTarget::Values(values) = &counts.target else { return Err(TestCaseError::fail("classes")) };
        prop_assert!(values.iter().all(|count| (0.0..=20.0).contains(count) && *count == count.floor()));
        let OwnedTarget::Values(values) = &binary.target else { return Err(TestCaseError::fail("classes")) };
        prop_assert!(values.iter().all(|&one| one == 0.0 || one == 1.0));
        let OwnedTarget::Values(values) = &hot.target else { return Err(TestCaseError::fail("classes")) };
        prop_assert!(values.iter().all(|&one| one == 0.0 || one == 1.0));
        prop_assert!(values.chunks(hot.width).all(|row| row.iter().sum::<f32>() == 1.0));
        let OwnedTarget::Values(values) = &pairs.target else { return Err(TestCaseError::fail("classes")) };
        prop_assert_eq!(2 * values.len(), pairs.y.len());
        prop_assert!(pairs.evaluate(&GaussianNll::new()).is_ok());
    }

    #[test]
    fn transforms_drawn_make_an_optimizer(chain in transforms::<f32>(), gradient in values::<f32>(4)) {
        let blocks = chainrule::Blocks::collect(|visit| {
            visit(chainrule::Block::new("w", 0, [2, 2], chainrule::Role::Weight));
        });
        let mut w = [0.5; 4];
        let mut optimizer = Optimizer::new(chain, &blocks, &w)?;
        for _ in 0..3 {
            optimizer.step(&blocks, &mut w, &mut gradient.clone(), &mut ())?;
        }
        prop_assert!(w.iter().all(|w| w.is_finite()));
    }

    #[test]
    fn layers_of_ones_own_run_inside_networks(case in cases_around::<f64, _>(Limits::default(), || Linear::new(3, 2))) {
        let Case { network, w, x, shape } = &case;
        let network = network.build(Linear::new(3, 2))?;
        let mut workspace = Workspace::new(&network, shape.into())?;
        let output = workspace.forward(w, x, shape.into())?;
        output.dy.fill(1.0);
        prop_assert!(workspace.backward(w)?.len() == w.len());
    }
}

#[test]
fn losses_and_chains_shrink_to_the_simplest() {
    let case = smallest(loss_cases::<f64>(TargetKind::Values), |_| false);
    assert_eq!((case.width, case.y, case.target), (1, vec![0.0], OwnedTarget::Values(vec![0.0])));
    // A sign that is wrong for large outputs alone.
    let large = |case: &chainrule::testing::strategies::LossCase<f64>| {
        case.evaluate(&MeanSquaredError::new()).is_ok_and(|(value, _)| value < 20.0)
    };
    let case = smallest(loss_cases::<f64>(TargetKind::Values), large);
    assert_eq!(case.y.len(), 1, "{case:?}");
    let own = (1..=9u8).prop_map(|rate| Box::new(Sgd::new(f64::from(rate))) as Box<dyn GradientTransform<f64>>);
    let chain = format!("{:?}", smallest(chains_around(own), |_| false));
    assert_eq!(chain, format!("((), (), {:?}, (), ())", Sgd::new(1.0)));
}

/// Faults that need one thing each: the smallest case has it, and nothing else.
#[test]
fn faults_around_a_layer_shrink_to_two_units_and_two_steps() {
    type Faulty = fn(&Case<f64, Around>) -> bool;
    let faults: [(&str, Faulty); 10] = [
        ("always", |_| true),
        ("of two steps", |case| case.shape.shape().steps > 1),
        ("of two samples", |case| case.shape.shape().batch > 1),
        (
            "of ragged sequences",
            |case| matches!(&case.shape, OwnedBatchShape::Ragged(all) if all[0] != all[all.len() - 1]),
        ),
        // At another place than the first, the values before it would keep their steps.
        ("of a large first input", |case| case.x.first().is_some_and(|x| x.abs() > 1.5)),
        ("behind a layer", |case| case.network.before.is_some()),
        ("before a layer", |case| case.network.after.is_some()),
        ("beside a skip", |case| case.network.skip.is_some()),
        ("behind an activation", |case| format!("{:?}", case.network.before).contains("ActivationLayer")),
        ("before a recurrent layer", |case| format!("{:?}", case.network.after).contains("Recurrent")),
    ];
    for (name, faulty) in faults {
        let case = smallest(cases_around::<f64, _>(Limits::default(), || Linear::new(1, 1)), |case| !faulty(case));
        let Case { network, w, shape, .. } = &case;
        let shape = shape.shape();
        let widest = [&network.before, &network.after].into_iter().flatten().map(|spec| spec.widths()).max();
        let (units, most) = (widest.map_or(1, |(a, b)| a.max(b)), if name.starts_with("of") { 2 } else { 1 });
        assert!(units <= 2 && shape.batch <= most && shape.steps <= most && w.len() <= 12, "{name}: {case:?}");
    }
}
