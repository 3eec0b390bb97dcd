//! Faults that a single step, layer or branch does not show: each beside a healthy twin.

use crate::harmless::{WIDTH, above_a_note, normal, run, run_with, signs};
use chainrule::{
    BatchShape, Blocks, Error, Layer,
    activation::{Identity, Relu, Tanh},
    dataset::Dataset,
    diagnosis::{Cause, Diagnosis, Report, Severity, check_parameters, first_check},
    initializer::{Constant, He, LeCun},
    layer::{Dropout, Linear, Merge, Sequential, initialize},
    loss::{CrossEntropy, Loss, MeanSquaredError, Target},
    monitor::{Event, GradientMonitor, Statistics},
    recurrent::{Elman, Recurrent},
    theory::{Hessian, InputStatistics, unit_sensitivities},
    transform::{Adam, GradientTransform, Outcome, ParameterGroups, Schedule, Sgd, Update},
};

fn he(inputs: usize, outputs: usize) -> Linear {
    Linear::new(inputs, outputs).weights(He::normal())
}

fn rectifiers(hidden: &[usize], outputs: usize) -> Result<Sequential<f32>, Error> {
    let (mut network, mut before) = (Sequential::<f32>::input(WIDTH), WIDTH);
    for &width in hidden {
        (network, before) = (network.layer(he(before, width)).activation(Relu), width);
    }
    network.linear(outputs).build()
}

/// The four classes of the signs of two columns.
fn quarters(x: &[f32]) -> Vec<usize> {
    x.chunks(WIDTH).map(|row| usize::from(row[0] > 0.0) + 2 * usize::from(row[1] > 0.0)).collect()
}

fn scaled(network: &Sequential<f32>, block: &str, factor: f32) -> Result<Vec<f32>, Error> {
    let (mut w, blocks) = (initialize(network, 1)?, Blocks::collect(|visit| Layer::<f32>::blocks(network, visit)));
    w[blocks.get(block)?.range.clone()].iter_mut().for_each(|w| *w *= factor);
    Ok(w)
}

fn faults(report: &Report) -> Vec<(Cause, String)> {
    report.faults().map(|it| (it.cause, it.place())).collect()
}

fn severity(report: &Report, cause: Cause) -> Option<Severity> {
    report.findings.iter().find(|it| it.cause == cause).map(|it| it.severity)
}

/// All steps together, not each alone, are beside the weights what a rate does.
#[test]
fn thousandth_of_the_rate_is_too_low() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y = quarters(&x);
    let (network, data) = (rectifiers(&[32], 4)?, Dataset::rows(WIDTH, &x, Target::Classes(&y))?);
    let of_rate = |rate: f64| run(&network, &data, &CrossEntropy::new(), Adam::new(rate), 240, |_, _| {});
    let slow = of_rate(1e-5)?;
    assert_eq!(faults(&slow), [(Cause::LearningRateTooLow, String::new())], "{slow}");
    let usual = of_rate(1e-2)?;
    assert!(usual.is_healthy(), "{usual}");
    // While the rate grows, the steps that count are to come.
    let warm_up = Schedule::custom(|step| (step + 1) as f64 / 1e4);
    let begins = run(&network, &data, &CrossEntropy::new(), (Adam::new(1e-2), warm_up), 60, |_, _| {})?;
    assert!(begins.is_healthy(), "{begins}");
    Ok(())
}

/// What was learned counts from the loss of constant outputs, to which a loss falls without a look at the inputs.
#[test]
fn relapse_counts_from_the_loss_of_constant_outputs() -> Result<(), Error> {
    let (x, y) = (normal(256 * WIDTH), crate::numbers::normals(256, 5));
    let network = Sequential::<f32>::input(WIDTH).linear(8).activation(Tanh).linear(1).build()?;
    let (data, w, loss) =
        (Dataset::rows(WIDTH, &x, Target::Values(&y))?, initialize(&network, 1)?, MeanSquaredError::new());
    let blocks = Blocks::collect(|visit| Layer::<f32>::blocks(&network, visit));
    let diagnosis = Diagnosis::new(&network, InputStatistics::new(1.0)?)?.task(&w, &data, &loss)?;
    let chance = diagnosis.report().chance.unwrap();
    let after = |course: &[(f64, usize)]| {
        let mut seen = Statistics::new();
        for &(loss, steps) in course {
            for _ in 0..steps {
                GradientMonitor::<f32>::begin_pass(&mut seen);
                GradientMonitor::<f32>::event(&mut seen, &Event::Loss(loss * chance));
                seen.event(&Event::Gradient { blocks: &blocks, w: &w, dw: &w });
                let update: Vec<f32> = w.iter().map(|w| -0.05 * w).collect();
                seen.event(&Event::Update { blocks: &blocks, w: &w, update: &update });
            }
        }
        diagnosis.clone().statistics(&seen).report()
    };
    for (course, relapsed) in [
        ([(3.0, 5), (0.2, 200), (1.0, 60)], true),
        ([(1.0, 20), (0.62, 200), (1.0, 60)], true),
        ([(3.0, 5), (0.2, 200), (0.3, 60)], false),
        ([(3.0, 5), (0.9, 200), (1.0, 60)], false),
    ] {
        let report = after(&course);
        let told = report.faults().any(|it| it.cause == Cause::LearningRateTooHigh && it.text.contains("risen again"));
        assert_eq!(told, relapsed, "{course:?} {report}");
    }
    Ok(())
}

/// A layer times 50 in a network of rectifiers leaves the budget below the threshold of an explosion.
#[test]
fn large_weights_of_any_layer_are_found() -> Result<(), Error> {
    let (x, shape) = (normal(64 * WIDTH), BatchShape::batch(64));
    let network = rectifiers(&[32, 32, 32], 4)?;
    for (block, layer) in [("0.weight", "0"), ("2.weight", "2"), ("4.weight", "4"), ("6.weight", "6")] {
        let report = check_parameters(&network, &scaled(&network, block, 50.0)?, &x, shape, None)?;
        // Of outputs without targets nothing is known.
        let expected = (Cause::LargeWeights, format!("layer {layer}"));
        let is_last = layer == "6";
        assert_eq!(faults(&report), if is_last { vec![] } else { vec![expected.clone()] }, "{report}");
        assert!(report.findings.iter().any(|it| (it.cause, it.place()) == expected), "{report}");
        let sound = check_parameters(&network, &scaled(&network, block, 3.0)?, &x, shape, None)?;
        assert!(sound.is_healthy(), "{sound}");
    }
    // Outputs as large as their targets are right.
    let w = scaled(&network, "6.weight", 50.0)?;
    let mut workspace = chainrule::workspace::Workspace::new(&network, shape)?;
    let y = workspace.forward(&w, &x, shape)?.y.to_vec();
    let (data, loss) = (Dataset::rows(WIDTH, &x, Target::Values(&y))?, MeanSquaredError::new());
    let diagnosis = Diagnosis::new(&network, InputStatistics::new(1.0)?)?.interventions(&w, &x, shape)?;
    let fits = diagnosis.task(&w, &data, &loss)?.report();
    assert!(fits.is_healthy(), "{fits}");
    Ok(())
}

/// Weights that one long step made are not those that the run began with.
#[test]
fn weights_after_a_long_step_are_no_first_weights() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y = signs(&x);
    let (network, data) = (rectifiers(&[32, 32, 32], 2)?, Dataset::rows(WIDTH, &x, Target::Classes(&y))?);
    for rate in [1.0, 3.0, 10.0] {
        for steps in 1..4 {
            let chain = Sgd::new(rate).momentum(0.9);
            let report = run(&network, &data, &CrossEntropy::new(), chain, steps, |_, _| {})?;
            let root = report.root().map(|root| root.cause);
            assert_ne!(root, Some(Cause::LargeWeights), "{rate} {steps} {report}");
        }
    }
    Ok(())
}

/// Beside loaded small weights every step is long.
#[test]
fn step_beside_loaded_small_weights_is_not_long() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y = signs(&x);
    let (network, data) = (rectifiers(&[32, 32, 32], 2)?, Dataset::rows(WIDTH, &x, Target::Classes(&y))?);
    let report = run(&network, &data, &CrossEntropy::new(), Sgd::new(0.05), 4, |w, blocks| {
        w[blocks.get("4.weight").unwrap().range.clone()].iter_mut().for_each(|w| *w *= 0.02);
    })?;
    assert!(!above_a_note(&report, Cause::LearningRateTooHigh), "{report}");
    Ok(())
}

/// Outputs of size 1 are farther from tiny targets than these differ.
#[test]
fn targets_that_hardly_differ_are_unscaled_targets() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let network = rectifiers(&[32], 1)?;
    let after = |size: f32, steps: usize| {
        let y: Vec<f32> = x.chunks(WIDTH).map(|row| size * (row[0] * row[1] + 1.0)).collect();
        let data = Dataset::rows(WIDTH, &x, Target::Values(&y))?;
        run(&network, &data, &MeanSquaredError::new(), Adam::new(5e-3), steps, |_, _| {})
    };
    let tiny = after(1e-4, 160)?;
    assert_eq!(faults(&tiny), [(Cause::UnscaledTarget, String::new())], "{tiny}");
    for (size, steps) in [(1.0, 160), (0.05, 30)] {
        let healthy = after(size, steps)?;
        assert!(!above_a_note(&healthy, Cause::UnscaledTarget), "{size} {healthy}");
    }
    Ok(())
}

/// The edge of stability limits descent, and not an optimizer that scales each gradient.
#[test]
fn curvature_does_not_judge_the_rate_of_adam() -> Result<(), Error> {
    let network = Sequential::<f64>::input(4).layer(Linear::new(4, 1).without_bias()).build()?;
    let (mut x, t, rate) = (vec![0.0; 16], [1.0, -2.0, 3.0, -4.0], 0.375);
    (0..4).for_each(|i| x[5 * i] = 2.0_f64.sqrt() * (i + 1) as f64);
    let (loss, w) = (MeanSquaredError::new(), vec![0.0; 4]);
    let mut hessian = Hessian::new(&network, &w, &x, BatchShape::batch(4), &loss, Target::Values(&t))?;
    let diagnosis = Diagnosis::new(&network, InputStatistics::of_rows(&x)?)?.curvature(&mut hessian, rate, 0.0)?;
    let told = |report: Report| severity(&report, Cause::LearningRateTooHigh);
    assert_eq!(told(diagnosis.clone().transform::<f64>(&Sgd::new(rate)).report()), Some(Severity::Note));
    assert_eq!(told(diagnosis.transform::<f64>(&Adam::new(rate)).report()), None);
    Ok(())
}

/// Six branches of eight layers, in each of which the layer that `place` returns was made smaller by a thousand.
fn branches(place: impl Fn(usize) -> usize) -> Result<(Sequential<f32>, Vec<f32>), Error> {
    let tower = |mut tower: chainrule::network::Builder<f32>| {
        for _ in 0..8 {
            tower = tower.layer(Linear::new(WIDTH, WIDTH).weights(LeCun::normal())).activation(Tanh);
        }
        tower
    };
    let first = Sequential::<f32>::input(WIDTH).linear(WIDTH).activation(Tanh);
    let network = first
        .parallel(Merge::Concatenate, |mut all| {
            for _ in 0..6 {
                all = all.branch(tower);
            }
            // The main path is that of the sound branch.
            all.branch(|branch| branch.linear(WIDTH))
        })
        .linear(2)
        .build()?;
    let (mut w, blocks) = (initialize(&network, 1)?, Blocks::collect(|visit| Layer::<f32>::blocks(&network, visit)));
    for branch in 0..6 {
        let block = blocks.get(&format!("2.{branch}.{}.weight", 2 * place(branch)))?;
        w[block.range.clone()].iter_mut().for_each(|w| *w *= 1e-3);
    }
    Ok((network, w))
}

/// Branches do not depend on each other: one pass changes all of them.
#[test]
fn branches_with_the_same_fault_share_their_passes() -> Result<(), Error> {
    let (x, shape) = (normal(32 * WIDTH), BatchShape::batch(32));
    for (same, most) in [(true, 30), (false, 60)] {
        let place = |branch: usize| if same { 4 } else { 1 + branch };
        let (network, w) = branches(place)?;
        let report = check_parameters(&network, &w, &x, shape, None)?;
        let expected = |branch: usize| (Cause::Bottleneck, format!("layer 2.{branch}.{}", 2 * place(branch)));
        let mut found = faults(&report);
        found.sort();
        assert_eq!(found, (0..6).map(expected).collect::<Vec<_>>(), "{report}");
        assert!(report.passes_on_copies <= most, "{} {report}", report.passes_on_copies);
    }
    Ok(())
}

/// Few different rows bound the loss, however many samples share each.
#[test]
fn few_different_rows_are_bad_data() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let (y, network) = (quarters(&x), rectifiers(&[32], 4)?);
    let of = |kind: &dyn Fn(usize) -> usize| -> Result<Report, Error> {
        let rows: Vec<f32> = (0..256).flat_map(|at| x[kind(at) * WIDTH..][..WIDTH].to_vec()).collect();
        let (data, inputs) = (Dataset::rows(WIDTH, &rows, Target::Classes(&y))?, InputStatistics::of_rows(&rows)?);
        let w = initialize(&network, 1)?;
        Ok(Diagnosis::new(&network, inputs)?.task(&w, &data, &CrossEntropy::new())?.report())
    };
    for kind in [&(|at: usize| at % 2) as &dyn Fn(usize) -> usize, &|at| [0, 0, 0, 1, 2][at % 5]] {
        let report = of(kind)?;
        assert_eq!(severity(&report, Cause::BadData), Some(Severity::Critical), "{report}");
        assert!(report.findings[0].text.contains("different inputs, fewer than their 4 classes"), "{report}");
    }
    let sound = of(&|at| at)?;
    assert!(sound.is_healthy(), "{sound}");
    // A batch alone: equal rows tell nothing apart.
    let equal = x[..WIDTH].repeat(64);
    for (rows, told) in [(&equal[..], Some(Severity::Note)), (&x[..64 * WIDTH], None), (&equal[..4 * WIDTH], None)] {
        let report = first_check(&network, rows, BatchShape::batch(rows.len() / WIDTH), None, 0)?;
        assert_eq!(severity(&report, Cause::BadData), told, "{report}");
    }
    Ok(())
}

/// Equal units can do the work: then the loss falls, and only a proof is not tempered.
#[test]
fn equal_units_beside_a_loss_that_falls_far_are_a_note() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y: Vec<f32> = x.chunks(WIDTH).map(|row| row.iter().sum::<f32>().signum()).collect();
    let layer = |inputs, outputs| Linear::new(inputs, outputs).weights(Constant(0.1));
    let network = Sequential::<f32>::input(WIDTH).layer(layer(WIDTH, 8)).activation(Tanh).layer(layer(8, 1)).build()?;
    let data = Dataset::rows(WIDTH, &x, Target::Values(&y))?;
    for (steps, expected) in [(3, Severity::Critical), (400, Severity::Note)] {
        let report = run(&network, &data, &MeanSquaredError::new(), Adam::new(0.03), steps, |_, _| {})?;
        assert_eq!(severity(&report, Cause::ConstantWeights), Some(expected), "{report}");
    }
    Ok(())
}

/// Masks that outweigh the inputs hold a loss up above constant outputs, too.
#[test]
fn masks_that_outweigh_the_inputs_are_heavy_where_the_loss_has_not_fallen() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let (y, loss) = (quarters(&x), CrossEntropy::new());
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    for (rate, heavy) in [(0.9, true), (0.5, false), (0.3, false)] {
        for steps in if heavy { &[300][..] } else { &[40, 100, 300] } {
            let network = Sequential::<f32>::input(WIDTH).layer(he(WIDTH, 64)).activation(Relu);
            let network = network.layer(Dropout::new(64, rate)?).layer(he(64, 64)).activation(Relu);
            let network = network.layer(Dropout::new(64, rate)?).linear(4).build()?;
            let report = run(&network, &data, &loss, Adam::new(3e-3), *steps, |_, _| {})?;
            let told = report.root().map(|root| root.cause);
            assert_eq!(told, heavy.then_some(Cause::DropoutTooHeavy), "{rate} {steps} {report}");
        }
    }
    Ok(())
}

/// A schedule can end beside a block that its group's rate holds.
#[test]
fn schedule_ends_for_the_blocks_that_moved() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y = signs(&x);
    let network = Sequential::<f32>::input(WIDTH).linear(32).activation(Tanh).linear(2).build()?;
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    for (held, told) in [(None, false), (Some("0"), true), (Some("0"), false)] {
        let groups = held.map_or(ParameterGroups::new(), |block| ParameterGroups::new().rate(block, 0.0));
        let chain = (Adam::new(0.02), Schedule::polynomial(60, 1.0), groups);
        let mut trainer = chainrule::trainer::Trainer::new(
            &network,
            CrossEntropy::new(),
            chain.clone(),
            chainrule::trainer::TrainConfig::default(),
        )?;
        let (mut seen, mut batch) = (Statistics::new(), chainrule::dataset::Batch::new(&data, 32));
        for step in 0..90 {
            let samples: Vec<usize> = (0..32).map(|i| (step * 32 + i) % 256).collect();
            trainer.step(&data, &mut batch, &samples, &mut seen)?;
        }
        let diagnosis = Diagnosis::new(&network, InputStatistics::new(1.0)?)?.statistics(&seen);
        let diagnosis = diagnosis.task(trainer.parameters(), &data, &CrossEntropy::new())?;
        let report = if told { diagnosis.transform::<f32>(&chain).report() } else { diagnosis.report() };
        assert!(report.findings.iter().any(|it| it.text.contains("the schedule has ended")), "{report}");
        let blocks = report.findings.iter().find(|it| it.text.contains("does not move"));
        assert_eq!(blocks.map(|it| it.place()), held.map(|block| format!("layer {block}")), "{report}");
        assert!(report.is_healthy(), "{report}");
    }
    Ok(())
}

/// The fix of the curse of memory, inputs scaled by √(1 − λ²), takes the note away.
#[test]
fn scaled_input_is_no_sensitive_memory() -> Result<(), Error> {
    let layer = Recurrent::new(1, 1, Elman::new(Identity)).without_bias();
    let decades = |keep: f64, scale: f64| -> Result<f64, Error> {
        // The response to an impulse: its squares add up to what white input has on average.
        let mut impulse = vec![0.0; 20_000];
        impulse[0] = scale * (20_000_f64).sqrt();
        Ok(unit_sensitivities::<f64>(&layer, &[1.0, keep], &impulse)?.unwrap()[0].decades())
    };
    for keep in [0.9, 0.99, 0.999] {
        let rest: f64 = 1.0 - keep * keep;
        let expected = 0.5 * ((1.0 + keep * keep) / (rest * rest)).log10();
        assert!((decades(keep, 1.0)? - expected).abs() < 1e-3, "{keep}");
        assert!((decades(keep, rest.sqrt())? - expected - 0.5 * rest.log10()).abs() < 1e-3, "{keep}");
    }
    let network = Sequential::<f64>::input(1).layer(layer).build()?;
    let x: Vec<f64> = normal(4000).into_iter().map(f64::from).collect();
    for (scale, expected) in [(1.0, Some(Severity::Note)), ((1.0_f64 - 0.999 * 0.999).sqrt(), None)] {
        let x: Vec<f64> = x.iter().map(|x| scale * x).collect();
        let diagnosis = Diagnosis::new(&network, InputStatistics::new(1.0)?.steps(4000)?)?.span(10);
        let report = diagnosis.trajectory(&network, &[1.0, 0.999], &x)?.report();
        assert_eq!(severity(&report, Cause::SensitiveMemory), expected, "{report}");
    }
    Ok(())
}

/// A change that only moves a budget across the threshold is not the cause where another repairs all of it.
#[test]
fn change_needs_most_of_the_effect_of_the_best() -> Result<(), Error> {
    let x: Vec<f32> = normal(64 * WIDTH).into_iter().map(|x| 2.1 * x).collect();
    let mut crossed = 0;
    for step in 0..60 {
        let weights = LeCun::normal().gain(0.60 + 0.005 * f64::from(step));
        let mut network = Sequential::<f32>::input(WIDTH);
        for _ in 0..10 {
            network = network.layer(Linear::new(WIDTH, WIDTH).weights(weights)).activation(Tanh);
        }
        let network = network.linear(2).build()?;
        let report = first_check(&network, &x, BatchShape::batch(64), None, 0)?;
        let Some(root) = report.root() else { continue };
        assert_ne!(root.cause, Cause::UnscaledInput, "{report}");
        crossed += usize::from(root.decades.is_some_and(|decades| decades > -2.1));
    }
    assert!(crossed > 1, "the premise: {crossed}");
    Ok(())
}

/// Reverses the sign of all updates.
#[derive(Debug)]
struct Climbs;

impl GradientTransform<f32> for Climbs {
    fn update(&mut self, update: Update<'_, f32>) -> Result<Outcome, Error> {
        update.gradient.iter_mut().for_each(|change| *change = -*change);
        Ok(Outcome::Apply)
    }
}

/// Steps up the gradient are not too long, whatever the loss does.
#[test]
fn updates_up_the_gradient_are_no_high_rate() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y = signs(&x);
    let network = Sequential::<f32>::input(WIDTH).linear(32).activation(Tanh).linear(2).build()?;
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let loss: &dyn Loss<f32> = &CrossEntropy::new();
    for chain in
        [Box::new((Sgd::new(0.05), Climbs)) as Box<dyn GradientTransform<f32>>, Box::new((Adam::new(1e-3), Climbs))]
    {
        let report = run_with(&network, &data, loss, chain, 120, |_, _| {}, |it| it)?;
        assert_eq!(faults(&report), [(Cause::NoCauseFound, String::new())], "{report}");
        assert!(report.findings[0].because.contains("updates point up the gradient"), "{report}");
    }
    Ok(())
}
