//! What a verdict rests on: the parameters that are given, a consequence for the gradient or the loss, and one change.

use crate::fixtures::{normal, root};
use chainrule::{
    BatchShape, Blocks, DataRule, Error, Layer,
    activation::{Identity, Relu, Sigmoid, Tanh},
    dataset::{Batch, Dataset, Standardize},
    diagnosis::{
        Alteration, Cause, Change, Diagnosis, FixContext, Report, Severity, check_parameters, first_check,
        fix::{CriticalInitialization, FixStrategy},
        suggest_fixes,
    },
    initializer::{ByGate, Constant, He, LeCun, Orthogonal, Zeros},
    layer::{BranchScale, LayerSpec, Linear, PRelu, Residual, Sequential, initialize},
    loss::{CrossEntropy, Target},
    monitor::{Event, GradientMonitor, Statistics},
    random::{Normals, generator},
    recurrent::{Bidirectional, Elman, Gru, Lstm, Recurrent},
    theory::{InputStatistics, Prediction},
    trainer::{TrainConfig, Trainer},
    transform::{Adam, GradientTransform, ParameterGroups},
};

const WIDTH: usize = 16;
const ROWS: usize = 64;

fn he() -> Linear {
    Linear::new(WIDTH, WIDTH).weights(He::normal())
}

/// Initial parameters, with every value of the named blocks multiplied by a factor.
fn times(network: &Sequential<f32>, changes: &[(&str, f32)]) -> Result<Vec<f32>, Error> {
    let (blocks, mut w) = (Blocks::collect(|visit| Layer::<f32>::blocks(network, visit)), initialize(network, 1)?);
    for (block, factor) in changes {
        w[blocks.get(block)?.range.clone()].iter_mut().for_each(|w| *w *= factor);
    }
    Ok(w)
}

/// As [`times`], with every value of the blocks set.
fn set(network: &Sequential<f32>, changes: &[(&str, f32)]) -> Result<Vec<f32>, Error> {
    let (blocks, mut w) = (Blocks::collect(|visit| Layer::<f32>::blocks(network, visit)), initialize(network, 1)?);
    for (block, value) in changes {
        w[blocks.get(block)?.range.clone()].fill(*value);
    }
    Ok(w)
}

fn check(network: &Sequential<f32>, w: &[f32]) -> Result<Report, Error> {
    check_parameters(network, w, &normal(ROWS * Layer::<f32>::dims(network).input, 11), BatchShape::batch(ROWS), None)
}

/// The report on parameters by interventions alone, without a monitored pass.
fn examine(network: &Sequential<f32>, w: &[f32], steps: usize) -> Result<Report, Error> {
    let x = normal(ROWS * steps * Layer::<f32>::dims(network).input, 11);
    let diagnosis = Diagnosis::new(network, InputStatistics::new(1.0)?.steps(steps)?)?.span(steps - 1);
    Ok(diagnosis.interventions(w, &x, BatchShape::sequences(ROWS, steps))?.report())
}

fn found(report: &Report, cause: Cause) -> Option<Severity> {
    report.findings.iter().find(|finding| finding.cause == cause).map(|finding| finding.severity)
}

/// A norm makes up for small weights before it: the gradient is as large as it was, and nothing is wrong.
#[test]
fn small_weights_that_a_norm_makes_up_for_are_no_bottleneck() -> Result<(), Error> {
    let layers = |norm: bool| -> Result<Sequential<f32>, Error> {
        let mut network = Sequential::<f32>::input(WIDTH);
        for _ in 0..5 {
            network = network.layer(he());
            network = if norm { network.layer_norm() } else { network.layer(he()) };
            network = network.activation(Relu);
        }
        network.linear(4).build()
    };
    for factor in [0.1, 0.05, 0.01] {
        let network = layers(true)?;
        let report = check(&network, &times(&network, &[("6.weight", factor)])?)?;
        let gain = report.rows.iter().find(|row| row.name == "6").and_then(|row| row.measured);
        assert!(gain < Some(-0.9) && report.decades[0].unwrap().abs() < 1.0, "the premise: {report}");
        assert!(report.is_healthy() && found(&report, Cause::Bottleneck).is_none(), "{report}");
    }
    let network = layers(false)?;
    let report = check(&network, &times(&network, &[("6.weight", 1e-4)])?)?;
    assert_eq!(root(&report), (Cause::Bottleneck, "6"), "{report}");
    Ok(())
}

/// Loaded parameters are judged without a monitored pass as with one.
#[test]
fn interventions_alone_judge_the_given_parameters() -> Result<(), Error> {
    let mut plain = Sequential::<f32>::input(WIDTH);
    for _ in 0..8 {
        plain = plain.layer(he()).activation(Relu);
    }
    let plain = plain.linear(4).build()?;
    for (block, factor, cause) in [("4.weight", 1e-5, Cause::Bottleneck), ("6.weight", 1e4, Cause::LargeWeights)] {
        let w = times(&plain, &[(block, factor)])?;
        let (report, watched) = (examine(&plain, &w, 1)?, check(&plain, &w)?);
        assert_eq!(root(&report), (cause, &block[..1]), "{report}");
        assert_eq!(root(&report), root(&watched), "{watched}");
        // No pass of a run has shown it.
        assert_eq!(report.root().unwrap().since, None, "{report}");
        assert_eq!(watched.root().unwrap().since, Some(0), "{watched}");
        let [alone, with] = [&report, &watched].map(|report| report.decades[0].unwrap());
        assert!((alone - with).abs() < 0.3, "{report}");
    }
    assert!(examine(&plain, &initialize(&plain, 1)?, 1)?.is_healthy());
    let dead = examine(&plain, &set(&plain, &[("4.bias", -100.0)])?, 1)?;
    assert_eq!(root(&dead).0, Cause::DeadUnits, "{dead}");
    // The description draws biases of 0.
    let gated = Sequential::<f32>::input(1).recurrent(8, Lstm::new()).last_step().linear(2).build()?;
    let blocks = Blocks::collect(|visit| Layer::<f32>::blocks(&gated, visit));
    for (gate, cause) in [(0, Cause::ClosedInputGate), (1, Cause::ClosedForgetGate), (3, Cause::ClosedOutputGate)] {
        let mut w = initialize(&gated, 1)?;
        w[blocks.get("0.bias")?.range.clone()][8 * gate..8 * (gate + 1)].fill(-8.0);
        let report = examine(&gated, &w, 12)?;
        assert_eq!(root(&report), (cause, "0"), "{report}");
    }
    Ok(())
}

fn learned_branches(described: f64) -> Result<Sequential<f32>, Error> {
    let mut network = Sequential::<f32>::input(WIDTH).layer(Linear::new(WIDTH, WIDTH).weights(LeCun::normal()));
    for _ in 0..12 {
        let branch = Sequential::<f32>::input(WIDTH).layer(he()).activation(Relu);
        let branch = branch.layer(Linear::new(WIDTH, WIDTH).weights(LeCun::normal())).build()?;
        network = network.layer(Residual::new(branch)?.scale(BranchScale::Learned(described))?);
    }
    network.linear(4).build()
}

/// Learned scales are those of the parameters, whatever the description draws.
#[test]
fn learned_branch_scale_is_read_from_the_parameters() -> Result<(), Error> {
    let scales: Vec<String> = (1..13).map(|layer| format!("{layer}.scale")).collect();
    for described in [0.0, 0.1, 5.0] {
        let network = learned_branches(described)?;
        let loud = set(&network, &scales.iter().map(|name| (&**name, 5.0)).collect::<Vec<_>>())?;
        let report = check(&network, &loud)?;
        assert_eq!(root(&report).0, Cause::LoudBranches, "{described}: {report}");
        let (spec, inputs) = (network.spec(), InputStatistics::new(1.0)?);
        let fixes = suggest_fixes(&FixContext::new(&spec, inputs, report.root().unwrap()))?;
        assert!(!fixes.is_empty() && fixes[0].name == "scaled branches", "{described}: {fixes:?}");
        for fix in fixes.iter().filter(|fix| fix.name == "scaled branches") {
            let fixed = fix.apply(&spec, &loud, 2)?.unwrap();
            let after = fixed.check(&normal(ROWS * WIDTH, 11), BatchShape::batch(ROWS), None)?;
            assert!(after.is_healthy(), "{described}: {after}");
            // Weights are not accused.
            assert!(fixed.survivors.iter().any(|it| it.name == "3.branch.0.weight"), "{described}");
        }
        // Scales that are quiet in fact are not accused.
        let quiet = set(&network, &scales.iter().map(|name| (&**name, 0.1)).collect::<Vec<_>>())?;
        let report = check(&network, &quiet)?;
        assert!(report.is_healthy(), "{described}: {report}");
    }
    Ok(())
}

/// A gradient that enters at the last step reaches no state of a layer that reads backwards but its first.
#[test]
fn backward_half_before_the_last_step_has_no_budget_over_time() -> Result<(), Error> {
    let steps = 60;
    let both = || {
        let forward = Recurrent::new(2, 12, Elman::new(Identity)).recurrent(Orthogonal { gain: 1.0 });
        let backward = Recurrent::new(2, 12, Elman::new(Tanh)).recurrent(Orthogonal { gain: 0.3 });
        Bidirectional::new::<f32>(forward, backward)
    };
    let x = normal(8 * steps * 2, 11);
    let shape = BatchShape::sequences(8, steps);
    let last = Sequential::<f32>::input(2).layer(both()?).last_step().linear(2).build()?;
    let report = first_check(&last, &x, shape, Some(steps - 1), 1)?;
    assert!(report.is_healthy(), "{report}");
    assert!(report.states.iter().all(|state| !state.name.contains("backward") || state.per_step.is_none()), "{report}");
    // With an output at each step the same half has a budget, and it is bad.
    let mean = Sequential::<f32>::input(2).layer(both()?).mean_over_steps().linear(2).build()?;
    let report = first_check(&mean, &x, shape, Some(steps - 1), 1)?;
    assert_eq!(root(&report), (Cause::VanishingRecurrence, "0.backward"), "{report}");
    Ok(())
}

/// Checks take data in the layout of a data set: sample after sample.
#[test]
fn checks_read_the_layout_of_a_dataset() -> Result<(), Error> {
    let (samples, steps, width) = (6, 9, 3);
    let network = Sequential::<f32>::input(width).recurrent(8, Gru::new()).last_step().linear(2).build()?;
    // Each sequence has a scale of its own, so that a row in a wrong place changes the result.
    let mut x = normal(samples * steps * width, 11);
    x.chunks_mut(steps * width).enumerate().for_each(|(i, x)| x.iter_mut().for_each(|x| *x *= i as f32));
    let w = initialize(&network, 3)?;
    let budget = |data: &Dataset<'_, f32>| -> Result<f64, Error> {
        let mut batch = Batch::new(data, samples);
        batch.gather(data, &(0..samples).collect::<Vec<_>>(), false)?;
        let mut seen = Statistics::new();
        let mut workspace = chainrule::workspace::Workspace::new(&network, batch.shape())?;
        let (mut rng, mut normals) = (generator(!3), Normals::new());
        let output = workspace.forward_with(&w, batch.x(), batch.shape(), chainrule::Mode::Evaluate, &mut seen)?;
        output.dy.iter_mut().for_each(|dy| *dy = normals.next(&mut rng) as f32);
        workspace.backward_with(&w, &mut seen)?;
        Ok(seen.states()[0].per_step().mean())
    };
    let state = |report: Report| report.states[0].per_step.unwrap()[0];
    let equal = budget(&Dataset::sequences(width, steps, &x, None)?)?;
    let found = first_check(&network, &x, BatchShape::sequences(samples, steps), None, 3)?;
    assert_eq!(state(found), equal);
    let lengths = [9, 9, 7, 4, 4, 1];
    let ragged = &x[..lengths.iter().sum::<usize>() * width];
    let unequal = budget(&Dataset::ragged(width, &lengths, ragged, None)?)?;
    assert_eq!(state(first_check(&network, ragged, BatchShape::ragged(&lengths), None, 3)?), unequal);
    // The place of a bad value is that of the data set, too.
    let bad = (4 * steps + 2) * width + 1;
    x[bad] = f32::NAN;
    let refused = first_check(&network, &x, BatchShape::sequences(samples, steps), None, 3).unwrap_err();
    assert!(matches!(refused, Error::DataValue { sample: 4, step: Some(2), column: Some(1), .. }), "{refused}");
    Ok(())
}

/// All layers with weights are redrawn in interventions, and accused ones in fixes.
#[test]
fn layers_of_every_kind_are_redrawn() -> Result<(), Error> {
    let gated = {
        let mut network = Sequential::<f32>::input(WIDTH);
        for _ in 0..5 {
            network = network.gated_linear(WIDTH, Sigmoid);
        }
        network.linear(4).build()?
    };
    let rectified = {
        let mut network = Sequential::<f32>::input(WIDTH);
        for _ in 0..5 {
            network = network.layer(he()).prelu();
        }
        network.linear(4).build()?
    };
    let slopes = |network: &Sequential<f32>| times(network, &[("3.slope", 1e4)]);
    use Cause::{Bottleneck, LargeWeights};
    for (network, w, layer, cause) in [
        (&gated, times(&gated, &[("2.weight", 1e3)])?, "2", LargeWeights),
        (&gated, times(&gated, &[("2.weight", 1e-4)])?, "2", Bottleneck),
        (&rectified, times(&rectified, &[("4.weight", 1e4)])?, "4", LargeWeights),
        (&rectified, slopes(&rectified)?, "3", LargeWeights),
    ] {
        let report = check(network, &w)?;
        let fault = report.root().unwrap_or_else(|| panic!("{report}"));
        assert_eq!(root(&report), (cause, layer), "{report}");
        let told = fault.intervention.as_ref().unwrap_or_else(|| panic!("{report}"));
        // The fault of a layer of slopes is told as one of slopes.
        let (expected, words) = match layer {
            "3" => (Alteration::UsualSlopes(layer.into()), "these slopes"),
            _ => (Alteration::CriticalLayer(layer.into()), "these weights"),
        };
        assert_eq!(told.alteration, expected, "{report}");
        assert!(fault.refuted_by.contains(words), "{report}");
        let (spec, inputs, mut tried) = (network.spec(), InputStatistics::new(1.0)?, 0);
        for fix in suggest_fixes(&FixContext::new(&spec, inputs, fault))? {
            let Some(fixed) = fix.apply(&spec, &w, 2)? else { continue };
            assert!(fixed.survivors.iter().all(|it| it.name != format!("{layer}.weight")), "{fix}");
            assert!(fixed.survivors.iter().all(|it| it.name != format!("{layer}.slope")), "{fix}");
            let after = fixed.check(&normal(ROWS * WIDTH, 11), BatchShape::batch(ROWS), None)?;
            assert!(after.is_healthy(), "{fix}: {after}");
            tried += 1;
        }
        assert!(tried > 0, "{report}");
    }
    // Input weights of a recurrence that shut all of its units.
    let network = Sequential::<f32>::input(4).linear(8).recurrent(8, Elman::new(Tanh)).last_step().linear(2).build()?;
    let w = times(&network, &[("1.weight", 1e4)])?;
    let report = check_parameters(&network, &w, &normal(ROWS * 6 * 4, 11), BatchShape::sequences(ROWS, 6), Some(1))?;
    let fault = report.root().unwrap_or_else(|| panic!("{report}"));
    let told = fault.intervention.as_ref().unwrap_or_else(|| panic!("{report}"));
    assert_eq!(told.alteration, Alteration::CriticalLayer("1".into()), "{report}");
    assert_eq!(root(&report), (Cause::LargeWeights, "1"), "{report}");
    let (spec, inputs) = (network.spec(), InputStatistics::new(1.0)?.steps(6)?);
    let fixes = suggest_fixes(&FixContext::new(&spec, inputs, fault).span(1))?;
    let fixed = fixes.iter().find_map(|fix| fix.apply(&spec, &w, 2).transpose()).expect("a fix")?;
    let after = fixed.check(&normal(ROWS * 6 * 4, 11), BatchShape::sequences(ROWS, 6), Some(1))?;
    assert!(after.is_healthy(), "{after}");
    // Decades over time are no forecast over depth, even if the numbers agree.
    let mut alike = fault.clone();
    alike.decades = Prediction::of(&network, inputs)?.decades_to_first_weights();
    assert!(alike.decades.is_some());
    let fixes = suggest_fixes(&FixContext::new(&spec, inputs, &alike).span(1))?;
    assert!(fixes.iter().any(|fix| fix.name == "parameters drawn again"), "{fixes:?}");
    Ok(())
}

fn trained(
    network: &Sequential<f32>,
    transform: impl GradientTransform<f32>,
    steps: usize,
    change: impl FnOnce(&mut [f32], &Blocks),
) -> Result<Report, Error> {
    let x = normal(512 * WIDTH, 11);
    let y: Vec<usize> = x.chunks(WIDTH).map(|row| usize::from(row[0] > 0.0)).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let mut trainer = Trainer::new(network, CrossEntropy::new(), transform, TrainConfig::default())?;
    let blocks = trainer.workspace().blocks().clone();
    change(trainer.parameters_mut(), &blocks);
    let (mut seen, mut batch) = (Statistics::new(), Batch::new(&data, 32));
    for step in 0..steps {
        let samples: Vec<usize> = (0..32).map(|i| (step * 32 + i) % 512).collect();
        trainer.step(&data, &mut batch, &samples, &mut seen)?;
    }
    Ok(Diagnosis::new(network, InputStatistics::of_rows(&x)?)?.statistics(&seen).report())
}

fn two_layers() -> Result<Sequential<f32>, Error> {
    let tanh = || Linear::new(WIDTH, WIDTH).weights(LeCun::normal());
    Sequential::<f32>::input(WIDTH).layer(tanh()).activation(Tanh).layer(tanh()).activation(Tanh).linear(2).build()
}

/// A fault that is no proof weighs less if the loss falls, whatever its cause.
#[test]
fn fault_beside_a_loss_that_falls_far_is_a_note() -> Result<(), Error> {
    let network = two_layers()?;
    let copies = |w: &mut [f32], blocks: &Blocks| {
        let (into, out) = (blocks.get("2.weight").unwrap().range.start, blocks.get("4.weight").unwrap().range.clone());
        for unit in 1..6 {
            w.copy_within(into..into + WIDTH, into + unit * WIDTH);
            for row in w[out.clone()].chunks_mut(WIDTH) {
                row[unit] = row[0];
            }
        }
    };
    let still = || (Adam::new(0.01), ParameterGroups::new().rate("0.weight", 0.0));
    let duplicated = |steps| trained(&network, Adam::new(0.01), steps, copies);
    let frozen = |steps| trained(&network, still(), steps, |_, _| {});
    for (cause, early, late) in
        [(Cause::DuplicatedUnits, duplicated(5)?, duplicated(300)?), (Cause::FrozenBlock, frozen(5)?, frozen(300)?)]
    {
        assert!(found(&early, cause) > Some(Severity::Note), "{early}");
        let [first, last] = late.loss.unwrap();
        assert!(last < first / 3.0, "the premise: {late}");
        assert_eq!(found(&late, cause), Some(Severity::Note), "{late}");
    }
    Ok(())
}

/// A rate that rises undoes what was learned, by steps that are not long by themselves: a twentieth of the parameters.
#[test]
fn relapse_under_a_rising_rate_is_a_long_step() -> Result<(), Error> {
    let network = two_layers()?;
    let blocks = Blocks::collect(|visit| Layer::<f32>::blocks(&network, visit));
    let w = initialize(&network, 1)?;
    let run = |losses: &dyn Fn(usize) -> f64, ratio: &dyn Fn(usize) -> f32| -> Result<Report, Error> {
        let mut seen = Statistics::new();
        for step in 0..400 {
            GradientMonitor::<f32>::begin_pass(&mut seen);
            GradientMonitor::<f32>::event(&mut seen, &Event::Loss(losses(step)));
            seen.event(&Event::Gradient { blocks: &blocks, w: &w, dw: &w });
            let update: Vec<f32> = w.iter().map(|w| -ratio(step) * w).collect();
            seen.event(&Event::Update { blocks: &blocks, w: &w, update: &update });
        }
        Ok(Diagnosis::new(&network, InputStatistics::new(1.0)?)?.statistics(&seen).report())
    };
    let falls = |step: usize| 2.3 - 2.2 * (step.min(150) as f64 / 150.0);
    // It falls to 0.1 and rises to 1.3, which is below two thirds of the first.
    let relapses = |step: usize| falls(step) + 1.2 * (step.saturating_sub(200).min(50) as f64 / 50.0);
    let ramp = |step: usize| if step < 200 { 0.003 } else { 0.05 };
    let report = run(&relapses, &ramp)?;
    assert_eq!(root(&report).0, Cause::LearningRateTooHigh, "{report}");
    assert!(report.root().unwrap().severity >= Severity::Warning, "{report}");
    // The same steps without a relapse, and a relapse of short steps, are no long steps.
    assert!(found(&run(&falls, &ramp)?, Cause::LearningRateTooHigh).is_none());
    assert!(found(&run(&relapses, &|_| 0.003)?, Cause::LearningRateTooHigh).is_none());
    Ok(())
}

/// A relapse that unmixed batches or a cliff explain does not make steps of a twentieth of the parameters long.
#[test]
fn relapse_that_is_explained_is_no_long_step() -> Result<(), Error> {
    let network = two_layers()?;
    let blocks = Blocks::collect(|visit| Layer::<f32>::blocks(&network, visit));
    let (w, x, shape) = (initialize(&network, 1)?, normal(8 * WIDTH, 11), BatchShape::batch(8));
    let (mut rng, mut normals) = (generator(7), Normals::new());
    let mut run = |is_sorted: bool, jump: f32| -> Result<Report, Error> {
        let (mut seen, mut workspace) = (Statistics::new(), chainrule::workspace::Workspace::new(&network, shape)?);
        for step in 0..400 {
            let output = workspace.forward_with(&w, &x, shape, chainrule::Mode::Evaluate, &mut seen)?;
            // Sorted samples have one class for many batches.
            let class = if step / 4 % 2 == 0 { 0.1 } else { -0.1 };
            output.dy.iter_mut().for_each(|dy| *dy = if is_sorted { class } else { normals.next(&mut rng) as f32 });
            if step == 200 {
                output.dy.iter_mut().for_each(|dy| *dy *= jump);
            }
            let loss = if step < 200 { 2.3 - 2.2 * (step.min(150) as f64 / 150.0) } else { 1.3 };
            GradientMonitor::<f32>::event(&mut seen, &Event::Loss(loss));
            workspace.backward_with(&w, &mut seen)?;
            let update: Vec<f32> = w.iter().map(|w| -0.05 * w).collect();
            seen.event(&Event::Update { blocks: &blocks, w: &w, update: &update });
        }
        Ok(Diagnosis::new(&network, InputStatistics::new(1.0)?)?.statistics(&seen).report())
    };
    let mixed = run(false, 1.0)?;
    assert_eq!(root(&mixed).0, Cause::LearningRateTooHigh, "the premise: {mixed}");
    let sorted = run(true, 1.0)?;
    assert!(found(&sorted, Cause::UnmixedBatches).is_some(), "{sorted}");
    assert!(found(&sorted, Cause::LearningRateTooHigh).is_none(), "{sorted}");
    let cliff = run(false, 1e3)?;
    assert_eq!(root(&cliff).0, Cause::Cliff, "{cliff}");
    assert!(found(&cliff, Cause::LearningRateTooHigh).is_none(), "{cliff}");
    Ok(())
}

/// A share of a loss below 0 is higher than the loss: rises of it are no falls, and falls no relapses.
#[test]
fn loss_below_zero_falls_by_its_magnitude() {
    let run = |losses: &[f64]| {
        let mut seen = Statistics::new();
        for &loss in losses {
            GradientMonitor::<f32>::begin_pass(&mut seen);
            GradientMonitor::<f32>::event(&mut seen, &Event::Loss(loss));
        }
        let run = seen.run();
        (run.has_fallen(), run.has_relapsed(), run.stagnates())
    };
    let then = |loss: f64| -> Vec<f64> { core::iter::once(-1.0).chain([loss; 60]).collect() };
    assert_eq!(run(&then(-0.9)), (false, false, true));
    assert_eq!(run(&then(-1.0)), (false, false, true));
    assert_eq!(run(&then(-1.2)), (false, false, true));
    assert_eq!(run(&then(-1.5)), (true, false, true));
    // A fall by less than a third that goes on.
    let slow: Vec<f64> = (0..60).map(|step| -1.0 - 0.2 * f64::from(step) / 60.0).collect();
    assert_eq!(run(&slow), (false, false, false));
    // From above 0 to below it, and back.
    let back: Vec<f64> = [1.0].into_iter().chain([-2.0; 60]).chain([0.8; 60]).collect();
    assert_eq!(run(&back[..61]), (true, false, false));
    assert!(run(&back).1);
}

/// A low clip is a note beside a loss that falls in spite of it.
#[test]
fn low_clip_beside_a_falling_loss_weighs_less() -> Result<(), Error> {
    let network = two_layers()?;
    let (blocks, w) = (Blocks::collect(|visit| Layer::<f32>::blocks(&network, visit)), initialize(&network, 1)?);
    let update: Vec<f32> = w.iter().map(|w| -1e-6 * w).collect();
    for (last, severity) in [(2.2, Severity::Critical), (1.1, Severity::Note), (0.1, Severity::Note)] {
        let mut seen = Statistics::new();
        for step in 0..100 {
            GradientMonitor::<f32>::begin_pass(&mut seen);
            let loss = 2.3 + (last - 2.3) * (step.min(50) as f64 / 50.0);
            GradientMonitor::<f32>::event(&mut seen, &Event::Loss(loss));
            seen.event(&Event::Gradient { blocks: &blocks, w: &w, dw: &w });
            GradientMonitor::<f32>::event(&mut seen, &Event::Clip(0.005));
            seen.event(&Event::Update { blocks: &blocks, w: &w, update: &update });
        }
        let report = Diagnosis::new(&network, InputStatistics::new(1.0)?)?.statistics(&seen).report();
        assert_eq!(found(&report, Cause::ClipThresholdTooLow), Some(severity), "{last}: {report}");
    }
    Ok(())
}

/// Losses that only scatter are no relapse, however low the lowest of them is.
#[test]
fn noise_of_a_loss_is_no_relapse() {
    let (mut rng, mut normals) = (generator(4), Normals::new());
    for spread in [0.2, 0.4, 0.6] {
        let mut seen = Statistics::new();
        for step in 0..400 {
            let usual = if step < 10 { 1.0 } else { 0.45 };
            GradientMonitor::<f32>::begin_pass(&mut seen);
            let loss = usual * (spread * normals.next(&mut rng)).exp();
            GradientMonitor::<f32>::event(&mut seen, &Event::Loss(if step == 0 { 1.0 } else { loss }));
            assert!(!seen.run().has_relapsed(), "{spread} {step}");
        }
    }
    let mut seen = Statistics::new();
    for step in 0..250 {
        GradientMonitor::<f32>::begin_pass(&mut seen);
        let loss = if step < 120 { 2.3 - 0.07 * f64::from(step.min(30)) } else { 1.5 };
        GradientMonitor::<f32>::event(&mut seen, &Event::Loss(loss));
    }
    assert!(seen.run().has_relapsed());
}

/// The gate that is accused is shown with its mean, also where it is mostly open and forgets within the span.
#[test]
fn accused_gate_is_shown_with_its_mean() -> Result<(), Error> {
    let steps = 100;
    let (x, shape) = (normal(4 * steps, 11), BatchShape::sequences(4, steps));
    for bias in [-3.0, -0.25, 0.4] {
        let cell = Recurrent::new(1, 8, Lstm::new()).bias(ByGate::new(Zeros).gate("forget", Constant(bias)));
        let network = Sequential::<f32>::input(1).layer(cell).last_step().linear(2).build()?;
        let diagnosis = Diagnosis::new(&network, InputStatistics::new(1.0)?.steps(steps)?)?.span(steps - 1);
        let w = initialize(&network, 1)?;
        let along = diagnosis.clone().trajectory(&network, &w, &x[..steps])?.report();
        let watched = first_check(&network, &x, shape, Some(steps - 1), 1)?;
        for report in [watched, along] {
            let root = report.root().unwrap_or_else(|| panic!("{bias}: {report}"));
            assert_eq!(root.cause, Cause::ClosedForgetGate, "{bias}: {report}");
            // An open gate that forgets within the span is refuted by no mean above one half.
            assert!(!root.refuted_by.contains("half"), "{bias}: {report}");
            assert!(root.text.contains("gate forget has a mean of 0."), "{bias}: {report}");
        }
    }
    Ok(())
}

/// The mean of a gate is that of the given parameters, whatever the description draws.
#[test]
fn loaded_forget_gate_is_shown_with_the_mean_of_its_biases() -> Result<(), Error> {
    let (steps, network) = (40, Sequential::<f32>::input(1).recurrent(8, Lstm::new()).last_step().linear(2).build()?);
    let blocks = Blocks::collect(|visit| Layer::<f32>::blocks(&network, visit));
    let mut w = initialize(&network, 1)?;
    w[blocks.get("0.bias")?.range.clone()][8..16].fill(-8.0);
    let diagnosis = Diagnosis::new(&network, InputStatistics::new(1.0)?.steps(steps)?)?.span(steps - 1);
    let report = diagnosis.trajectory(&network, &w, &normal(steps, 11))?.report();
    assert_eq!(root(&report), (Cause::ClosedForgetGate, "0"), "{report}");
    let text = &report.root().unwrap().text;
    assert!(text.contains("gate forget has a mean of 3.35e−4, so it forgets"), "{text}");
    // A shut input gate is told by bounds alone.
    let mut w = initialize(&network, 1)?;
    w[blocks.get("0.bias")?.range.clone()][..8].fill(-8.0);
    let diagnosis = Diagnosis::new(&network, InputStatistics::new(1.0)?.steps(steps)?)?;
    assert!(diagnosis.report().is_healthy());
    let report = diagnosis.parameters(&network, &w, BatchShape::sequences(1, steps))?.report();
    assert_eq!(root(&report), (Cause::ClosedInputGate, "0"), "{report}");
    Ok(())
}

/// Bounds and exponents reach over the span, and the batch of interventions need not.
#[test]
fn interventions_on_a_short_batch_keep_what_is_proven_of_the_span() -> Result<(), Error> {
    let (steps, short) = (100, 4);
    let cell = Recurrent::new(2, 8, Elman::new(Tanh)).recurrent(Orthogonal { gain: 0.7 });
    let network = Sequential::<f32>::input(2).layer(cell).last_step().linear(2).build()?;
    let (w, x) = (initialize(&network, 1)?, normal(ROWS * short * 2, 11));
    let diagnosis = Diagnosis::new(&network, InputStatistics::new(1.0)?.steps(steps)?)?.span(steps - 1);
    let examined = |of: Diagnosis<'static>| of.interventions(&w, &x, BatchShape::sequences(ROWS, short));
    assert!(examined(diagnosis.clone())?.report().is_healthy(), "the premise");
    let proven = examined(diagnosis.clone().parameters(&network, &w, BatchShape::sequences(1, steps))?)?.report();
    assert_eq!(root(&proven), (Cause::VanishingRecurrence, "0"), "{proven}");
    assert!(proven.root().unwrap().is_proof, "{proven}");
    let along = examined(diagnosis.trajectory(&network, &w, &normal(steps * 2, 11))?)?.report();
    assert_eq!(root(&along), (Cause::VanishingRecurrence, "0"), "{along}");
    assert!(along.root().unwrap().text.contains("99 steps of the span"), "{along}");
    Ok(())
}

/// Values that are not finite are findings, also where a description is made of them.
#[test]
fn learned_scale_that_is_not_finite_is_a_finding() -> Result<(), Error> {
    let network = learned_branches(0.1)?;
    for value in [f32::NAN, f32::INFINITY] {
        let w = set(&network, &[("3.scale", value)])?;
        for report in [check(&network, &w)?, examine(&network, &w, 1)?] {
            assert!(matches!(root(&report).0, Cause::Overflow | Cause::NotANumber), "{report}");
            assert!(report.root().unwrap().is_proof, "{report}");
        }
    }
    Ok(())
}

/// First weights that make up for large inputs leave nothing to accuse, in a gated layer too.
#[test]
fn gated_first_weights_make_up_for_the_scale_of_inputs() -> Result<(), Error> {
    let network = Sequential::<f32>::input(WIDTH).gated_linear(WIDTH, Sigmoid).linear(WIDTH).activation(Tanh);
    let network = network.linear(4).build()?;
    let x: Vec<f32> = normal(ROWS * WIDTH, 11).iter().map(|x| 30.0 * x).collect();
    let shape = BatchShape::batch(ROWS);
    let report = check_parameters(&network, &times(&network, &[("0.weight", 1.0 / 30.0)])?, &x, shape, None)?;
    assert!(report.is_healthy(), "{report}");
    let report = check_parameters(&network, &initialize(&network, 1)?, &x, shape, None)?;
    assert_eq!(root(&report).0, Cause::UnscaledInput, "{report}");
    Ok(())
}

/// The gain of weights is that of the activation that their output enters: of slopes that are redrawn with them, and of
/// none before a recurrence.
#[test]
fn critical_gain_is_that_of_what_follows() -> Result<(), Error> {
    let mut steep = Sequential::<f32>::input(WIDTH);
    for _ in 0..10 {
        steep = steep.layer(he()).layer(PRelu::new(WIDTH).initial(5.0)?);
    }
    let steep = steep.linear(4).build()?;
    let report = check(&steep, &initialize(&steep, 1)?)?;
    let fault = report.root().unwrap_or_else(|| panic!("{report}"));
    let tried = fault.intervention.as_ref().unwrap_or_else(|| panic!("{report}"));
    assert!(fault.cause == Cause::LargeWeights && tried.before > 4.0 && tried.after.abs() < 1.5, "{report}");
    let (spec, inputs) = (steep.spec(), InputStatistics::new(1.0)?);
    let critical = CriticalInitialization { orthogonal: false };
    let fix = critical.propose(&FixContext::new(&spec, inputs, fault))?.expect("a fix");
    assert!(fix.after.unwrap().abs() < 0.3, "{fix}");
    let half = || Recurrent::new(WIDTH, WIDTH, Elman::new(Tanh));
    let both = Bidirectional::new::<f32>(half(), half())?;
    let network = Sequential::<f32>::input(WIDTH).linear(WIDTH).layer(both).activation(Relu);
    let spec = network.linear(WIDTH).activation(Relu).linear(4).build()?.spec();
    let fix = critical.propose(&FixContext::new(&spec, inputs, fault))?.expect("a fix");
    let Change::Network(LayerSpec::Sequential { layers, .. }) = &fix.change else { panic!("{fix}") };
    let drawn = |inputs| LayerSpec::Linear(Linear::new(inputs, WIDTH).weights(LeCun::normal()).bias(Zeros));
    assert_eq!(layers[0], drawn(WIDTH));
    assert!(layers[3] != drawn(2 * WIDTH), "{:?}", layers[3]);
    Ok(())
}

/// Layers whose input weights are redrawn in one pass are told together.
#[test]
fn halves_that_saturate_are_redrawn_together() -> Result<(), Error> {
    let half = || Recurrent::new(8, 8, Elman::new(Tanh));
    let both = Bidirectional::new::<f32>(half(), half())?;
    let network = Sequential::<f32>::input(4).linear(8).layer(both).mean_over_steps().linear(2).build()?;
    let w = times(&network, &[("1.forward.weight", 1e4), ("1.backward.weight", 1e4)])?;
    let report = check_parameters(&network, &w, &normal(ROWS * 6 * 4, 11), BatchShape::sequences(ROWS, 6), Some(1))?;
    for layer in ["1.forward", "1.backward"] {
        let fault = report.faults().find(|fault| fault.layer == layer).unwrap_or_else(|| panic!("{layer}: {report}"));
        assert_eq!(fault.cause, Cause::LargeWeights, "{report}");
        let told = fault.intervention.as_ref().unwrap_or_else(|| panic!("{report}"));
        assert!(told.alteration.to_string().contains("layers 1.forward and 1.backward"), "{report}");
    }
    Ok(())
}

/// A note that names something to change says how.
#[test]
fn note_of_a_sensitive_memory_prints_its_fix() -> Result<(), Error> {
    let network =
        Sequential::<f64>::input(1).layer(Recurrent::new(1, 2, Elman::new(Identity)).without_bias()).build()?;
    let mut w = initialize(&network, 1)?;
    let blocks = Blocks::collect(|visit| Layer::<f64>::blocks(&network, visit));
    w[blocks.get("0.recurrent")?.range.clone()].copy_from_slice(&[0.999, 0.0, 0.0, 0.3]);
    let x: Vec<f64> = normal(4000, 11).into_iter().map(f64::from).collect();
    let diagnosis = Diagnosis::new(&network, InputStatistics::new(1.0)?.steps(4000)?)?.span(10);
    let report = diagnosis.trajectory(&network, &w, &x)?.report();
    assert_eq!(found(&report, Cause::SensitiveMemory), Some(Severity::Note), "{report}");
    let text = format!("{report}");
    assert!(text.contains("\n  fix: inputs of the unit scaled by √(1 − λ²)"), "{text}");
    // Rates over time are in decades, as everything in a report.
    let [first, last] = [0.999_f64, 0.3].map(f64::log10);
    let exponents = &report.states[0].lyapunov;
    assert!((exponents[0] - first).abs() < 1e-6 && (exponents[1] - last).abs() < 1e-6, "{exponents:?}");
    Ok(())
}

/// Errors about rows name row and column where the width is known.
#[test]
fn values_that_are_not_finite_are_named_by_row_and_column() {
    let mut x = normal(5 * 4, 11);
    x[4 * 3 + 2] = f32::INFINITY;
    let of_samples = InputStatistics::of_samples(4, &x).unwrap_err();
    let standardized = Standardize::of(4, &x).unwrap_err();
    for refused in [of_samples, standardized] {
        assert!(
            matches!(refused, Error::InvalidData(DataRule::RowValue { row: 3, column: 2, found: f64::INFINITY })),
            "{refused}"
        );
        assert!(refused.to_string().contains("row 3, column 2"), "{refused}");
    }
}

/// Labels that were learned by heart carry no information all the same.
#[test]
fn memorized_random_labels_are_noted() -> Result<(), Error> {
    let x = normal(64 * WIDTH, 11);
    let y: Vec<usize> = (0..64).map(|sample| (sample * 37 / 5) % 2).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let network = Sequential::<f32>::input(WIDTH).linear(64).activation(Tanh).linear(2).build()?;
    let mut trainer = Trainer::new(&network, CrossEntropy::new(), Adam::new(0.02), TrainConfig::default())?;
    let (mut seen, mut batch) = (Statistics::new(), Batch::new(&data, 64));
    for _ in 0..150 {
        trainer.step(&data, &mut batch, &(0..64).collect::<Vec<_>>(), &mut seen)?;
    }
    assert!(seen.run().recent_loss().mean() < 0.2, "the premise: {}", seen.run().recent_loss().mean());
    let diagnosis = Diagnosis::new(&network, InputStatistics::of_rows(&x)?)?.statistics(&seen);
    let report = diagnosis.task(trainer.parameters(), &data, &CrossEntropy::new())?.report();
    assert_eq!(found(&report, Cause::NoInformation), Some(Severity::Note), "{report}");
    Ok(())
}

/// Only shut gates are opened, and the one that brings the gradient back is named.
#[test]
fn intervention_opens_the_shut_gate_alone() -> Result<(), Error> {
    for (gate, cause) in [("output", Cause::ClosedOutputGate), ("input", Cause::ClosedInputGate)] {
        let gates = ByGate::new(Zeros).gate(gate, Constant(-9.0)).gate("forget", Constant(4.0));
        let mut network = Sequential::<f32>::input(2).linear(4);
        for _ in 0..3 {
            network = network.layer(Recurrent::new(4, 4, Lstm::new()).bias(gates.clone()));
        }
        let network = network.last_step().linear(2).build()?;
        let w = initialize(&network, 1)?;
        let report = check_parameters(&network, &w, &normal(32 * 12 * 2, 11), BatchShape::sequences(32, 12), Some(1))?;
        assert_eq!(root(&report).0, cause, "{report}");
        let told = report.findings.iter().filter_map(|finding| finding.intervention.as_ref());
        let opens = format!("gate {gate} half open");
        assert!(told.clone().any(|it| it.alteration.to_string() == opens), "{report}");
    }
    Ok(())
}
