//! Dual numbers, suites of laws, strategies.

use super::entry;
use crate::{
    Entry,
    case::{Fault, ensure},
};
use chainrule::{
    activation::Tanh,
    initializer::Normal,
    layer::Linear,
    loss::{GaussianNll, MeanSquaredError},
    monitor::GradientBudget,
    proptest::{
        strategy::{Strategy, ValueTree},
        test_runner::TestRunner,
    },
    recurrent::Lstm,
    testing::{
        ActivationCases, Dual, Law, LayerCases, Layers, LossCases, Losses, Transforms, activation_laws,
        activation_laws_with, cell_laws, expect_lawful, initializer_laws, layer_laws, layer_laws_at, layer_laws_with,
        loss_laws, loss_laws_with, measure_derivative, monitor_laws,
        strategies::{
            Limits, OwnedBatchShape, TargetKind, around, batch_shapes, cases, cases_around, chains_around, lengths,
            loss_cases, loss_cases_of_width, losses, networks, optimizers, transforms, values, widths,
        },
        transform_laws,
    },
    transform::{GradientTransform, Sgd},
};

pub fn entries() -> Vec<Entry> {
    vec![
        entry(
            3,
            &[
                "testing::Dual::new",
                "testing::Dual::constant",
                "testing::Dual::variable",
                "testing::Dual {}",
                "testing::Dual: From",
                "testing::Dual: Arbitrary",
            ],
            &[],
            |c| {
                let (a, b) = (Dual::new(c.real(), c.real()), Dual { value: c.real(), tangent: c.real() });
                let all = [
                    a + b,
                    a * b,
                    a / b,
                    a - b,
                    a.tanh_like(b),
                    Dual::constant(c.real()),
                    Dual::variable(c.real()),
                    Dual::from(c.real()),
                ];
                let _ = format!("{all:?}");
                Ok(())
            },
        ),
        entry(
            0,
            &[
                "testing::activation_laws",
                "testing::activation_laws_with",
                "testing::ActivationCases {}",
                "testing::measure_derivative",
                "testing::expect_lawful",
                "testing::Evidence::worst",
                "testing::Violations::of",
            ],
            &[],
            |c| {
                let seed = c.word();
                let found = activation_laws(&Tanh, seed);
                if let Ok(evidence) = &found {
                    let _ = evidence.worst(Law::Odd, "f32");
                }
                if let Err(violations) = &found {
                    let _ = violations.of(Law::Odd);
                }
                let without = ActivationCases { except: &[Law::Odd] };
                ensure(activation_laws_with(&Tanh, without, seed).is_ok(), || {
                    format!("a lawful activation is accused with seed {seed}")
                })?;
                let _ = measure_derivative(&Tanh, seed);
                ensure(found.is_ok(), || format!("a lawful activation is accused with seed {seed}"))?;
                expect_lawful(found);
                Ok(())
            },
        ),
        entry(
            0,
            &[
                "testing::cell_laws",
                "testing::layer_laws",
                "testing::layer_laws_at",
                "testing::layer_laws_with",
                "testing::LayerCases {}",
                "testing::Layers {}",
                "testing::Layers::of",
            ],
            &[],
            |c| {
                let seed = c.word();
                if c.flag() {
                    ensure(cell_laws(&Lstm::new(), seed).is_ok(), || {
                        format!("a lawful cell is accused with seed {seed}")
                    })
                } else {
                    let linear = Linear::new(3, 2);
                    let layers = Layers::of(&linear);
                    let shape = [chainrule::BatchShape::sequences(2, 5)];
                    let kept = layer_laws(layers, seed).is_ok()
                        && layer_laws_at(layers, &shape, seed).is_ok()
                        && layer_laws_with(
                            layers,
                            LayerCases { shapes: &shape, inputs: &|z| z.floor(), ..LayerCases::default() },
                            seed,
                        )
                        .is_ok();
                    ensure(kept, || format!("a lawful layer is accused with seed {seed}"))
                }
            },
        ),
        entry(
            0,
            &[
                "testing::initializer_laws",
                "testing::loss_laws",
                "testing::loss_laws_with",
                "testing::LossCases {}",
                "testing::Losses {}",
                "testing::monitor_laws",
                "testing::transform_laws",
                "testing::Transforms {}",
            ],
            &[],
            |c| {
                let seed = c.word();
                let loss = MeanSquaredError::new();
                let done = match c.below(4) {
                    0 => initializer_laws(&Normal { mean: 0.0, std: 1.0 }, seed).is_ok(),
                    1 => {
                        let losses = Losses { single: &loss, double: &loss, dual: &loss };
                        loss_laws(losses, seed).is_ok() && loss_laws_with(losses, LossCases::default(), seed).is_ok()
                    }
                    2 => monitor_laws(GradientBudget::new, seed).is_ok(),
                    _ => {
                        let (single, double) = (
                            || Box::new(Sgd::new(0.1)) as Box<dyn GradientTransform<f32>>,
                            || Box::new(Sgd::new(0.1)) as Box<dyn GradientTransform<f64>>,
                        );
                        transform_laws(Transforms { single: &single, double: &double, like: None }, &[], seed).is_ok()
                    }
                };
                ensure(done, || format!("lawful code is accused with seed {seed}"))
            },
        ),
        entry(1, &["testing::strategies::arguments_of"], &[], |c| {
            let kind = c.activation();
            let drawn = chainrule::testing::strategies::arguments_of::<f32>(&kind);
            let drawn = drawn.new_tree(&mut TestRunner::deterministic());
            let z = drawn.map_err(|reason| Fault::Refused(reason.to_string()))?.current();
            ensure(z.is_finite(), || format!("{kind:?}: {z:e}"))
        }),
        entry(
            3,
            &[
                "testing::strategies::batch_shapes",
                "testing::strategies::lengths",
                "testing::strategies::widths",
                "testing::strategies::values",
                "testing::strategies::networks",
                "testing::strategies::cases",
                "testing::strategies::Limits {}",
                "testing::strategies::Case {}",
                "testing::strategies::Case: Arbitrary",
                "testing::strategies::OwnedBatchShape {}",
                "BatchShape: From",
            ],
            &[],
            |c| {
                let mut runner = TestRunner::deterministic();
                let most = c.few();
                let refused = |reason: chainrule::proptest::test_runner::Reason| Fault::Refused(reason.to_string());
                match c.below(6) {
                    0 => {
                        let shape = batch_shapes(c.size(), most).new_tree(&mut runner).map_err(refused)?.current();
                        let _ = (
                            chainrule::BatchShape::from(&shape).check(),
                            OwnedBatchShape::Batch(c.size()).shape().check(),
                        );
                    }
                    1 => drop(lengths(most, c.size()).new_tree(&mut runner).map_err(refused)?.current()),
                    2 => drop(widths(c.size()).new_tree(&mut runner).map_err(refused)?.current()),
                    3 => drop(values::<f32>(most).new_tree(&mut runner).map_err(refused)?.current()),
                    4 => {
                        let node =
                            networks(Limits { ..Limits::default() }).new_tree(&mut runner).map_err(refused)?.current();
                        node.build::<f32>()?;
                    }
                    _ => drop(cases::<f32>(Limits::default()).new_tree(&mut runner).map_err(refused)?.current()),
                }
                Ok(())
            },
        ),
        entry(
            3,
            &[
                "testing::strategies::loss_cases",
                "testing::strategies::loss_cases_of_width",
                "testing::strategies::losses",
                "testing::strategies::LossCase {}",
                "testing::strategies::LossCase::evaluate",
                "testing::strategies::OwnedTarget {}",
                "testing::strategies::OwnedTarget::target",
                "testing::strategies::optimizers",
                "testing::strategies::transforms",
                "testing::strategies::chains_around",
                "testing::strategies::around",
                "testing::strategies::cases_around",
                "testing::strategies::Around::build",
            ],
            &[],
            |c| {
                let mut runner = TestRunner::deterministic();
                let refused = |reason: chainrule::proptest::test_runner::Reason| Fault::Refused(reason.to_string());
                let limits = Limits { width: c.size(), depth: 1, batch: c.size(), ..Limits::default() };
                match c.below(5) {
                    0 => {
                        let (loss, case) = losses::<f64>().new_tree(&mut runner).map_err(refused)?.current();
                        let _ = case.target.target();
                        case.evaluate(&*loss)?;
                    }
                    1 => {
                        let kinds = [TargetKind::Classes, TargetKind::Signs, TargetKind::Shares, TargetKind::OneHot];
                        let kind = kinds[c.below(4)];
                        let case = loss_cases::<f32>(kind).new_tree(&mut runner).map_err(refused)?.current();
                        let _ = case.evaluate(&MeanSquaredError::new());
                        let cases = loss_cases_of_width::<f32>(kind, |width| 2 * width);
                        let _ = cases.new_tree(&mut runner).map_err(refused)?.current().evaluate(&GaussianNll::new());
                    }
                    2 => drop(transforms::<f32>().new_tree(&mut runner).map_err(refused)?.current()),
                    3 => drop(chains_around(optimizers::<f64>()).new_tree(&mut runner).map_err(refused)?.current()),
                    _ => {
                        let network = around(limits, [c.few(), c.few()]).new_tree(&mut runner).map_err(refused)?;
                        let _ = network.current().build::<f64>(Linear::new(3, 2));
                        let cases = cases_around::<f64, _>(limits, || Linear::new(3, 2));
                        drop(cases.new_tree(&mut runner).map_err(refused)?.current());
                    }
                }
                Ok(())
            },
        ),
    ]
}

trait Like {
    fn tanh_like(self, other: Self) -> Self;
}

impl Like for Dual<f64> {
    fn tanh_like(self, other: Self) -> Self {
        chainrule::math::tanh(self) + other
    }
}
