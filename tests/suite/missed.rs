//! Faults beside the main path and before the first step, each beside its healthy twin.

use crate::harmless::{WIDTH, above_a_note, checked, normal, run, run_with, signs};
use chainrule::{
    BatchShape, Blocks, Error, Layer,
    activation::{Relu, Sigmoid, Tanh},
    dataset::{Batch, Dataset},
    diagnosis::{Cause, Change, Diagnosis, FixContext, Report, Severity, check_parameters, suggest_fixes},
    initializer::{Constant, He, LeCun},
    layer::{LayerNorm, Linear, Merge, Sequential, initialize},
    loss::{CrossEntropy, MeanSquaredError, Reduction, Target},
    monitor::{Event, GradientMonitor, Statistics},
    recurrent::{Elman, Recurrent},
    theory::{Hessian, InputStatistics},
    trainer::{TrainConfig, Trainer},
    transform::{
        Adam, ClipBlockNorm, ClipNorm, ClipValue, GradientTransform, Outcome, ParameterGroups, PerGroup, Sgd, Stage,
        Update,
    },
};

/// Two towers of six layers each, side by side.
fn towers(merge: Merge) -> Result<Sequential<f32>, Error> {
    let tower = |mut tower: chainrule::network::Builder<f32>| {
        for _ in 0..6 {
            tower = tower.layer(Linear::new(WIDTH, WIDTH).weights(LeCun::normal())).activation(Tanh);
        }
        tower
    };
    let first = Sequential::<f32>::input(WIDTH).linear(WIDTH).activation(Tanh);
    first.parallel(merge, |all| all.branch(tower).branch(tower)).linear(2).build()
}

/// The initial parameters with a change of the blocks whose names `is` accepts.
fn changed(
    network: &dyn Layer<f32>,
    is: impl Fn(&str) -> bool,
    change: impl Fn(&mut [f32]),
) -> Result<Vec<f32>, Error> {
    let (mut w, blocks) = (initialize(network, 1)?, Blocks::collect(|visit| network.blocks(visit)));
    blocks.iter().filter(|block| is(&block.name)).for_each(|block| change(&mut w[block.range.clone()]));
    Ok(w)
}

fn scale(factor: f32) -> impl Fn(&mut [f32]) {
    move |w| w.iter_mut().for_each(|w| *w *= factor)
}

fn causes(report: &Report) -> Vec<(Cause, String)> {
    report.faults().map(|it| (it.cause, it.place())).collect()
}

fn data<'a>(x: &'a [f32], y: &'a [usize]) -> Result<Dataset<'a, f32>, Error> {
    Dataset::rows(WIDTH, x, Target::Classes(y))
}

/// The gradient that enters a parallel layer is that of its sound branch, so each branch has a budget of its own.
#[test]
fn vanishing_branch_is_found_beside_a_sound_one() -> Result<(), Error> {
    let x = normal(64 * WIDTH);
    for merge in [Merge::Concatenate, Merge::Sum] {
        let network = towers(merge)?;
        let sound = checked(&network, &x, BatchShape::batch(64))?;
        assert!(sound.is_healthy(), "{sound}");
        let check = |is: &dyn Fn(&str) -> bool, factor| {
            let w = changed(&network, is, scale(factor))?;
            check_parameters(&network, &w, &x, BatchShape::batch(64), None)
        };
        let all = check(&|name| name.starts_with("2.1.") && name.ends_with("weight"), 0.2)?;
        let [(Cause::SmallWeights, place)] = &causes(&all)[..] else { panic!("{all}") };
        assert!(place.starts_with("layers 2.1.") && place.contains(" to 2.1."), "{all}");
        let one = check(&|name| name == "2.0.4.weight", 1e-5)?;
        assert_eq!(causes(&one), [(Cause::Bottleneck, "layer 2.0.4".into())], "{one}");
        let loud = check(&|name| name == "2.0.10.weight", 1e-7)?;
        assert_eq!(causes(&loud), [(Cause::Bottleneck, "layer 2.0.10".into())], "{loud}");
    }
    Ok(())
}

/// Biases far below 0 leave most units of a rectifier off for every row.
#[test]
fn units_that_biases_hold_off_are_dead_before_the_run() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y = signs(&x);
    let he = |inputs, outputs| Linear::new(inputs, outputs).weights(He::normal());
    let network = Sequential::<f32>::input(WIDTH).layer(he(WIDTH, 32)).activation(Relu).layer(he(32, 32));
    let network = network.activation(Relu).layer(he(32, 2)).build()?;
    let hold = |w: &mut [f32]| w[3..].fill(-30.0);
    let w = changed(&network, |name| name == "2.bias", hold)?;
    let report = check_parameters(&network, &w, &x[..64 * WIDTH], BatchShape::batch(64), None)?;
    assert_eq!(causes(&report), [(Cause::DeadUnits, "layer 3".into())], "{report}");
    // The layer is drawn again, its biases too; the others stay. Biases that begin at -30 would do so again.
    let (described, inputs, root) = (network.spec(), InputStatistics::of_rows(&x)?, report.root().unwrap());
    let fixes = suggest_fixes(&FixContext::new(&described, inputs, root))?;
    assert_eq!(fixes[0].change, Change::RedrawLayers(vec!["2".into()]));
    let fixed = fixes[0].apply(&described, &w, 5)?.unwrap();
    let blocks = Blocks::collect(|visit| Layer::<f32>::blocks(&network, visit));
    for block in blocks.iter() {
        let [before, after] = [&w, &fixed.parameters].map(|w| &w[block.range.clone()]);
        let is_redrawn = block.name.starts_with("2.");
        assert!((before != after) == is_redrawn && (block.name != "2.bias" || after.iter().all(|&b| b == 0.0)));
    }
    let held = Sequential::<f32>::input(WIDTH).layer(he(WIDTH, 32)).activation(Relu);
    let held = held.layer(he(32, 32).bias(Constant(-30.0))).activation(Relu).layer(he(32, 2)).build()?;
    let fixes = suggest_fixes(&FixContext::new(&held.spec(), inputs, root))?;
    assert!(!fixes.is_empty() && fixes.iter().all(|fix| !matches!(fix.change, Change::RedrawLayers(_))));
    let sound = checked(&network, &x[..64 * WIDTH], BatchShape::batch(64))?;
    assert!(sound.is_healthy(), "{sound}");
    // A run that learns little with the units that are left, and one that learns.
    let told = |change: &dyn Fn(&mut [f32], &Blocks)| {
        run(&network, &data(&x, &y)?, &CrossEntropy::new(), Sgd::new(1e-3), 60, |w, blocks| change(w, blocks))
    };
    let report = told(&|w, blocks| hold(&mut w[blocks.get("2.bias").unwrap().range.clone()]))?;
    let root = report.root().unwrap_or_else(|| panic!("{report}"));
    assert_eq!((root.cause, root.place(), root.since), (Cause::DeadUnits, "layer 3".into(), Some(0)), "{report}");
    let report = run(&network, &data(&x, &y)?, &CrossEntropy::new(), Adam::new(1e-2), 120, |w, blocks| {
        hold(&mut w[blocks.get("2.bias").unwrap().range.clone()]);
    })?;
    assert!(!above_a_note(&report, Cause::DeadUnits), "{report}");
    Ok(())
}

/// A recurrent layer of rectifiers whose biases are far below 0 outputs 0 at every step.
#[test]
fn recurrent_rectifier_that_outputs_zero_is_dead() -> Result<(), Error> {
    let x = normal(64 * WIDTH);
    let layer = Recurrent::new(4, 12, Elman::new(Relu));
    let network = Sequential::<f32>::input(4).layer(layer).last_step().linear(2).build()?;
    let shape = BatchShape::sequences(64, 4);
    let sound = checked(&network, &x, shape)?;
    assert!(!above_a_note(&sound, Cause::DeadUnits), "{sound}");
    let w = changed(&network, |name| name == "0.bias", |w| w.fill(-40.0))?;
    let report = check_parameters(&network, &w, &x, shape, None)?;
    assert_eq!(causes(&report), [(Cause::DeadUnits, "layer 0".into())], "{report}");
    // Seen in a run, without a pass of interventions.
    let y: Vec<usize> = (0..64).map(|sample| sample % 2).collect();
    let sequences = Dataset::sequences(4, 4, &x, Target::Classes(&y))?;
    let mut trainer = Trainer::new(&network, CrossEntropy::new(), Sgd::new(0.1), TrainConfig::default())?;
    trainer.parameters_mut().copy_from_slice(&w);
    let mut seen = Statistics::new();
    trainer.fit_with(&sequences, chainrule::trainer::FitOptions::new().monitor(&mut seen))?;
    let report = Diagnosis::new(&network, InputStatistics::new(1.0)?.steps(4)?)?.statistics(&seen).report();
    let root = report.root().unwrap_or_else(|| panic!("{report}"));
    assert_eq!((root.cause, root.place()), (Cause::DeadUnits, "layer 0".into()), "{report}");
    Ok(())
}

/// A rectifier passes the size of the first weights on, and the budget ends at these weights.
#[test]
fn large_first_weights_before_a_rectifier_are_found() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y = signs(&x);
    let he = |inputs, outputs| Linear::new(inputs, outputs).weights(He::normal());
    let network = Sequential::<f32>::input(WIDTH).layer(he(WIDTH, 32)).activation(Relu).layer(he(32, 32));
    let network = network.activation(Relu).layer(he(32, 2)).build()?;
    let w = changed(&network, |name| name == "0.weight", scale(100.0))?;
    let report = check_parameters(&network, &w, &x[..64 * WIDTH], BatchShape::batch(64), None)?;
    assert_eq!(causes(&report), [(Cause::LargeWeights, "layer 0".into())], "{report}");
    let spec = Layer::<f32>::spec(&network);
    let fixes = suggest_fixes(&FixContext::new(&spec, InputStatistics::new(1.0)?, report.root().unwrap()))?;
    let fixed = fixes[0].apply::<f32>(&spec, &w, 1)?.expect("a changed network");
    let layer = Blocks::collect(|visit| Layer::<f32>::blocks(&network, visit)).get("0.weight")?.range.clone();
    let norm = |w: &[f32]| w.iter().map(|w| w * w).sum::<f32>().sqrt();
    assert!(norm(&fixed.parameters[layer.clone()]) < 0.02 * norm(&w[layer]), "{:?}", fixes[0]);
    let report = run(&network, &data(&x, &y)?, &CrossEntropy::new(), Sgd::new(0.1), 40, |w, blocks| {
        w[blocks.get("0.weight").unwrap().range.clone()].iter_mut().for_each(|w| *w *= 100.0);
    })?;
    assert_eq!(report.root().map(|root| root.cause), Some(Cause::LargeWeights), "{report}");
    Ok(())
}

/// The factor that a monitor receives of each update.
#[derive(Default)]
struct Factors(Vec<f64>);

impl GradientMonitor<f32> for Factors {
    fn event(&mut self, event: &Event<'_, f32>) {
        if let Event::Clip(factor) = event {
            self.0.push(*factor);
        }
    }
}

/// Leaves a tenth of the gradient, and says nothing of it.
#[derive(Debug)]
struct Tenth;

impl GradientTransform<f32> for Tenth {
    fn stage(&self) -> Stage {
        Stage::Clip
    }
    fn update(&mut self, update: Update<'_, f32>) -> Result<Outcome, Error> {
        update.gradient.iter_mut().for_each(|g| *g *= 0.1);
        Ok(Outcome::Apply)
    }
}

/// Any transform of the stage of clips has a factor: the norm after it over the norm before.
#[test]
fn clips_report_the_factor_on_the_norm() -> Result<(), Error> {
    let x = normal(32 * WIDTH);
    let y = signs(&x);
    let network = Sequential::<f32>::input(WIDTH).linear(8).activation(Tanh).linear(2).build()?;
    let factor = |chain: &dyn Fn() -> Box<dyn GradientTransform<f32>>| -> Result<Vec<f64>, Error> {
        let mut trainer = Trainer::new(&network, CrossEntropy::new(), chain(), TrainConfig::default())?;
        let (mut factors, mut batch) = (Factors::default(), Batch::new(&data(&x, &y)?, 32));
        trainer.step(&data(&x, &y)?, &mut batch, &(0..32).collect::<Vec<_>>(), &mut factors)?;
        Ok(factors.0)
    };
    let near = |found: Vec<f64>, expected: f64| {
        let [found] = found[..] else { panic!("{found:?}") };
        assert!((found - expected).abs() < 1e-5 * expected.max(1e-3), "{found}: {expected}");
    };
    near(factor(&|| Box::new((Tenth, Sgd::new(0.1))))?, 0.1);
    near(factor(&|| Box::new(((Tenth, Tenth), Sgd::new(0.1))))?, 0.01);
    near(factor(&|| Box::new((ClipValue::new(1e9), Sgd::new(0.1))))?, 1.0);
    near(factor(&|| Box::new((ClipBlockNorm::new(1e9), Sgd::new(0.1))))?, 1.0);
    near(factor(&|| Box::new(PerGroup::new((Tenth, Sgd::new(0.1)))))?, 0.1);
    near(factor(&|| Box::new((Tenth, PerGroup::new((Tenth, Sgd::new(0.1))))))?, 0.01);
    assert!(factor(&|| Box::new(Sgd::new(0.1)))?.is_empty());
    let [by_norm] = factor(&|| Box::new((ClipNorm::new(1e-3), Sgd::new(0.1))))?[..] else { panic!() };
    // The norm that is left is that of 4 blocks at the limit, or of 178 values at it, most of them clipped.
    let by_block = factor(&|| Box::new((ClipBlockNorm::new(1e-3), Sgd::new(0.1))))?[0];
    assert!((by_block / by_norm - 2.0).abs() < 1e-5, "{by_block} {by_norm}");
    let by_value = factor(&|| Box::new((ClipValue::new(1e-9), Sgd::new(0.1))))?[0];
    assert!((by_value / by_norm - 1e-6 * 178.0_f64.sqrt()).abs() < 1e-6, "{by_value} {by_norm}");
    // A run that a clip by value holds back is told so.
    let x = normal(256 * WIDTH);
    let y = signs(&x);
    for chain in [
        Box::new((ClipValue::new(1e-6), Sgd::new(0.1))) as Box<dyn GradientTransform<f32>>,
        Box::new((ClipBlockNorm::new(1e-4), Sgd::new(0.1))),
    ] {
        let report = run(&network, &data(&x, &y)?, &CrossEntropy::new(), chain, 40, |_, _| {})?;
        assert_eq!(report.root().map(|root| root.cause), Some(Cause::ClipThresholdTooLow), "{report}");
    }
    // So is one whose steps are not small, if the optimizer is known to keep the factor.
    let (chain, loss) = ((ClipBlockNorm::new(2e-3), Sgd::new(0.1)), CrossEntropy::new());
    let told =
        run_with(&network, &data(&x, &y)?, &loss, chain.clone(), 40, |_, _| {}, |it| it.transform::<f32>(&chain))?;
    assert_eq!(told.root().map(|root| root.cause), Some(Cause::ClipThresholdTooLow), "{told}");
    let report =
        run(&network, &data(&x, &y)?, &CrossEntropy::new(), (ClipValue::new(0.1), Sgd::new(0.3)), 80, |_, _| {})?;
    assert!(report.is_healthy(), "{report}");
    Ok(())
}

/// A block that moves far less than others, by every measure that an optimizer keeps equal, has a rate of its own.
#[test]
fn block_at_a_millionth_of_the_rate_is_found() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y = signs(&x);
    let network = Sequential::<f32>::input(WIDTH).linear(32).activation(Tanh).linear(32).activation(Tanh);
    let network = network.linear(2).build()?;
    let groups = |factor| ParameterGroups::new().rate("2", factor);
    let slow = |report: &Report| {
        report.findings.iter().find(|it| it.cause == Cause::FrozenBlock).map(|it| (it.severity, it.place()))
    };
    let chains = |factor: f64| -> [Box<dyn GradientTransform<f32>>; 2] {
        [Box::new((Sgd::new(1e-3), groups(factor))), Box::new((Adam::new(1e-5), groups(factor)))]
    };
    for (one, (factor, expected)) in [(1e-6, Some("layer 2")), (0.1, None)].into_iter().enumerate() {
        for chain in chains(factor) {
            let report = run(&network, &data(&x, &y)?, &CrossEntropy::new(), chain, 12, |_, _| {})?;
            let expected = expected.map(|place| (Severity::Critical, place.into()));
            assert_eq!(slow(&report), expected, "{one}: {report}");
        }
    }
    // The rate of a group that the transforms tell is a note, as is one of 0.
    for factor in [1e-6, 0.0] {
        let chain = (Sgd::new(1e-3), groups(factor));
        let settings = TrainConfig { epochs: 1, ..TrainConfig::default() };
        let mut trainer = Trainer::new(&network, CrossEntropy::new(), chain.clone(), settings)?;
        let mut seen = Statistics::new();
        trainer.fit_with(&data(&x, &y)?, chainrule::trainer::FitOptions::new().monitor(&mut seen))?;
        let untold = Diagnosis::new(&network, InputStatistics::new(1.0)?)?.statistics(&seen);
        assert!(above_a_note(&untold.report(), Cause::FrozenBlock));
        let told = untold.transform::<f32>(&chain).report();
        assert_eq!(slow(&told), Some((Severity::Note, "layer 2".into())), "{told}");
    }
    // A told rate explains no more than itself.
    let report = run_with(
        &network,
        &data(&x, &y)?,
        &CrossEntropy::new(),
        (Sgd::new(1e-3), groups(1e-6)),
        12,
        |_, _| {},
        |it| it.transform::<f32>(&(Sgd::new(1e-3), groups(0.5))),
    )?;
    assert_eq!(slow(&report), Some((Severity::Critical, "layer 2".into())), "{report}");
    Ok(())
}

/// A few wild targets raise the loss of constant outputs above the first loss: a run that stands there has not fallen.
#[test]
fn start_below_wild_targets_is_no_fall() -> Result<(), Error> {
    let (count, x) = (2048, normal(2048 * WIDTH));
    let mut y: Vec<f32> = crate::numbers::normals(count, 3);
    for (place, wild) in [(1801, 40.0), (1901, -40.0), (2001, 40.0), (2041, -40.0)] {
        y[place] = wild;
    }
    let data = Dataset::rows(WIDTH, &x, Target::Values(&y))?;
    let mut network = Sequential::<f32>::input(WIDTH);
    for _ in 0..8 {
        network = network.layer(Linear::new(WIDTH, WIDTH).weights(LeCun::normal().gain(0.15))).activation(Tanh);
    }
    let network = network.linear(1).build()?;
    let report = run(&network, &data, &MeanSquaredError::new(), Sgd::new(1e-3), 40, |_, _| {})?;
    assert!(report.chance.is_some_and(|chance| chance > 3.0), "{report}");
    let root = report.root().unwrap_or_else(|| panic!("{report}"));
    assert_eq!((root.cause, root.severity), (Cause::SmallWeights, Severity::Critical), "{report}");
    Ok(())
}

/// The losses of constant outputs, and of outputs in a range, are those of the same samples.
#[test]
fn sum_over_rows_hides_no_squashed_outputs() -> Result<(), Error> {
    let (x, y) = (normal(4096 * WIDTH), crate::numbers::normals::<f32>(4096, 3));
    let data = Dataset::rows(WIDTH, &x, Target::Values(&y))?;
    let network = Sequential::<f32>::input(WIDTH).linear(1).activation(Sigmoid).build()?;
    let told =
        |reduction| run(&network, &data, &MeanSquaredError::new().reduction(reduction), Sgd::new(1e-6), 2, |_, _| {});
    let [mean, sum] = [told(Reduction::Mean)?, told(Reduction::Sum)?];
    assert!(above_a_note(&mean, Cause::SquashedOutputs), "{mean}");
    assert!(above_a_note(&sum, Cause::SquashedOutputs), "{sum}");
    // The sum over a batch has another scale than that over all data.
    assert!(mean.chance.is_some() && sum.chance.is_none(), "{sum}");
    Ok(())
}

/// A norm at the beginning of a branch does not follow the weights of the branch before it.
#[test]
fn norm_in_another_branch_takes_no_scale() -> Result<(), Error> {
    let x: Vec<f32> = normal(64 * WIDTH).iter().map(|x| 100.0 * x).collect();
    let first = Sequential::<f32>::input(WIDTH).parallel(Merge::Concatenate, |all| {
        all.branch(|plain| plain.linear(8)).branch(|normed| normed.layer(LayerNorm::new(WIDTH)).linear(8))
    });
    let report = checked(&first.activation(Relu).linear(2).build()?, &x, BatchShape::batch(64))?;
    assert!(above_a_note(&report, Cause::UnscaledInput), "{report}");
    Ok(())
}

/// Hidden weights of a branch that shrink the gradient are found also in a branch that ends with outputs.
#[test]
fn bottleneck_of_a_branch_of_outputs_is_found() -> Result<(), Error> {
    let report = checked(&crate::innocent::heads([1e-4, 1.0])?, &normal(64 * WIDTH), BatchShape::batch(64))?;
    assert_eq!(causes(&report), [(Cause::Bottleneck, "layer 2.0.2".into())], "{report}");
    Ok(())
}

/// A rate above the edge of stability is measured by the curvature, whatever the loss is.
#[test]
fn measured_rate_above_the_edge_is_critical_without_data() -> Result<(), Error> {
    let network = Sequential::<f64>::input(4).layer(Linear::new(4, 1).without_bias()).build()?;
    // The Hessian is diag(1, 4, 9, 16): descent is stable up to a rate of 1/8.
    let (mut x, t, rate) = (vec![0.0; 16], [1.0, -2.0, 3.0, -4.0], 0.375);
    (0..4).for_each(|i| x[5 * i] = 2.0_f64.sqrt() * (i + 1) as f64);
    let (loss, data) = (MeanSquaredError::new(), Dataset::rows(4, &x, Target::Values(&t))?);
    let mut trainer = Trainer::new(&network, loss, Sgd::new(rate), TrainConfig::default())?;
    let (mut seen, mut batch, first) = (Statistics::new(), Batch::new(&data, 4), trainer.parameters().to_vec());
    for _ in 0..30 {
        trainer.step(&data, &mut batch, &[0, 1, 2, 3], &mut seen)?;
    }
    let mut hessian = Hessian::new(&network, &first, &x, BatchShape::batch(4), &loss, Target::Values(&t))?;
    let report = Diagnosis::new(&network, InputStatistics::of_rows(&x)?)?.statistics(&seen);
    let report = report.curvature(&mut hessian, rate, 0.0)?.report();
    let found = report.findings.iter().find(|it| it.cause == Cause::LearningRateTooHigh);
    assert_eq!(found.map(|it| it.severity), Some(Severity::Critical), "{report}");
    Ok(())
}
