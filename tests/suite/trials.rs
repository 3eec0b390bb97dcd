//! Fixes that are tried: on the same batches, ranked by what they did, with none that helps as an answer.

use crate::fixtures::normal;
use chainrule::{
    BatchShape, Error, Layer,
    activation::{Relu, Sigmoid},
    dataset::{Dataset, Standardize},
    diagnosis::{
        Cause, Change, Diagnosis, Finding, Fix, FixContext, Report, Severity, Trial, TrialOutcome, first_check,
        fix::Lsuv, suggest_fixes,
    },
    initializer::{ByGate, Constant, He, Zeros},
    layer::{LayerSpec, Linear, Sequential, initialize},
    loss::{CrossEntropy, GaussianNll, MeanSquaredError, Target},
    monitor::Statistics,
    recurrent::{Lstm, Recurrent},
    theory::InputStatistics,
    trainer::{FitOptions, TrainConfig, Trainer},
    transform::{Adam, AdamW, ClipNorm, GradientTransform, Schedule, Sgd, Unordered},
};

const WIDTH: usize = 8;

fn deep(gain: f64) -> Result<Sequential<f32>, Error> {
    let mut builder = Sequential::<f32>::input(WIDTH);
    for _ in 0..8 {
        builder = builder.layer(Linear::new(WIDTH, WIDTH).weights(He::normal().gain(gain))).activation(Relu);
    }
    builder.linear(2).build()
}

/// The fixes of a network that is sick, or those of a sick one for a network that is not.
fn fixes(x: &[f32]) -> Result<(LayerSpec, Vec<f32>, Vec<Fix>), Error> {
    let network = deep(0.3)?;
    let (described, w) = (Layer::<f32>::spec(&network), initialize(&network, 1)?);
    let report = first_check(&network, x, BatchShape::batch(x.len() / WIDTH), None, 1)?;
    let root = report.root().expect("a fault");
    assert_eq!(root.cause, Cause::SmallWeights, "{report}");
    // The intervention and its effect are part of the finding.
    let intervention = root.intervention.as_ref().expect("an intervention");
    assert!(intervention.measured && intervention.before < -4.0 && intervention.after > -2.0, "{intervention}");
    let fixes = suggest_fixes(&FixContext::new(&described, InputStatistics::of_rows(x)?, root))?;
    Ok((described, w, fixes))
}

#[test]
fn trial_ranks_fixes_by_their_loss_and_hands_back_a_trainer() -> Result<(), Error> {
    let x = normal(128 * WIDTH, 11);
    let y: Vec<usize> = x.chunks(WIDTH).map(|row| usize::from(row[0] + row[1] > 0.0)).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let (described, w, fixes) = fixes(&x)?;
    let (loss, transform) = (CrossEntropy::new(), || Box::new(Adam::new(5e-3)) as Box<dyn GradientTransform<f32>>);
    let trial = Trial::new(&data, &loss, &transform, 1000).steps(60, 60 * 3 * 5);
    let report = trial.run(&described, &w, &fixes)?;
    let best = report.best().unwrap_or_else(|| panic!("{report}"));
    // All are tried from one seed, and the better ones from more, as often as the network as it is.
    assert!(report.outcomes.len() == fixes.len() && report.untried.is_empty(), "{report}");
    let seeds: Vec<usize> = report.outcomes.iter().map(|outcome| outcome.losses.len()).collect();
    assert!(seeds.is_sorted_by(|a, b| a >= b) && seeds[0] == 3 && seeds[seeds.len() - 1] == 1, "{report}");
    let of_all = report.outcomes.iter().filter(|outcome| outcome.losses.len() == 3);
    assert!(of_all.is_sorted_by(|a, b| a.median() <= b.median()), "{report}");
    assert_eq!(report.outcomes[0].fix, Some(best), "{report}");
    assert!(report.baseline.curve.len() == 60 && report.baseline.losses.len() == 3);
    // One is left behind only with a higher loss than those that are kept.
    let first = trial.seeds(1).run(&described, &w, &fixes)?;
    let kept =
        |outcome: &&TrialOutcome| report.outcomes.iter().any(|all| all.fix == outcome.fix && all.losses.len() > 1);
    let (of_kept, of_others): (Vec<_>, Vec<_>) = first.outcomes.iter().partition(kept);
    let [worst, best_left] = [of_kept.iter().map(|it| it.median()).fold(0.0, f64::max), of_others[0].median()];
    assert!(of_kept.len() == fixes.len().div_ceil(2) && worst <= best_left, "{first} {report}");
    let page =
        first_check(&described.build::<f32>()?, &x, BatchShape::batch(128), None, 1)?.tried(report.clone()).to_html();
    assert!(page.contains("<svg") && page.contains("small weights") && page.contains("as it is"), "{page}");
    assert!(!page.contains("http") && !page.contains("<script"), "{page}");
    assert_eq!(page.matches("<svg").count(), 2);
    // The same trial gives the same bits.
    assert_eq!(trial.run(&described, &w, &fixes)?, report);
    // The best of those that build a network.
    let mut built = report.outcomes.iter().filter_map(|outcome| fixes[outcome.fix?].apply(&described, &w, 0).ok()?);
    let fixed = built.next().expect("a change of the network");
    let config = TrainConfig { epochs: 15, ..TrainConfig::default() };
    let mut trainer = fixed.trainer(CrossEntropy::new(), Adam::new(5e-3), config)?;
    trainer.fit(&data)?;
    assert!(trainer.evaluate(&data)?.loss < report.baseline.median(), "{report}");
    Ok(())
}

/// A fix that starts a trained network anew is behind it for some steps: it is compared with the network started anew.
#[test]
fn fixes_that_restart_are_compared_with_a_restart() -> Result<(), Error> {
    let x = normal(256 * WIDTH, 11);
    let y: Vec<usize> = x.chunks(WIDTH).map(|row| usize::from(row[0] + row[1] > 0.0)).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let mut builder = Sequential::<f32>::input(WIDTH);
    for _ in 0..5 {
        builder = builder.linear(WIDTH).activation(Sigmoid);
    }
    let network = builder.linear(2).build()?;
    let (spec, inputs) = (Layer::<f32>::spec(&network), InputStatistics::of_rows(&x)?);
    let report = Diagnosis::new(&network, inputs)?.report();
    let mut fixes = suggest_fixes(&FixContext::new(&spec, inputs, report.root().expect("sigmoid vanishes")))?;
    fixes.retain(|fix| fix.name == "another activation");
    let config = TrainConfig { epochs: 200, ..TrainConfig::default() };
    let mut trainer = Trainer::new(&network, CrossEntropy::new(), Adam::new(1e-2), config)?;
    trainer.fit(&data)?;
    let loss = CrossEntropy::new();
    let transform = || Box::new(Adam::new(5e-3)) as Box<dyn GradientTransform<f32>>;
    let trial = |w: &[f32]| Trial::new(&data, &loss, &transform, 1000).steps(40, 400).run(&spec, w, &fixes);
    let trained = trial(trainer.parameters())?;
    let restarted = trained.restarted.as_ref().unwrap_or_else(|| panic!("{trained}"));
    let fixed = &trained.outcomes[0];
    assert!(
        trained.baseline.median() < fixed.median() && fixed.median() < restarted.median(),
        "the premise: {trained}"
    );
    assert_eq!(trained.best(), Some(0), "{trained}");
    // Initial values have no training behind them.
    let initial = trial(&initialize(&network, 3)?)?;
    assert!(initial.restarted.is_none() && initial.outcomes.iter().all(|it| !it.is_restarted), "{initial}");
    Ok(())
}

#[test]
fn trial_says_where_none_helps() -> Result<(), Error> {
    let x = normal(64 * WIDTH, 11);
    // Classes that the inputs tell nothing of.
    let y: Vec<usize> = (0..64).map(|i| (i * 7 / 3) % 2).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let healthy = deep(std::f64::consts::SQRT_2)?;
    let (described, w) = (Layer::<f32>::spec(&healthy), initialize(&healthy, 1)?);
    let small = finding(Cause::SmallWeights)?;
    let fixes = suggest_fixes(&FixContext::new(&described, InputStatistics::of_rows(&x)?, &small))?;
    let mut same = fixes[0].clone();
    same.change = Change::Network(described.clone());
    let (loss, transform) = (CrossEntropy::new(), || Box::new(Sgd::new(1e-3)) as Box<dyn GradientTransform<f32>>);
    let trial = Trial::new(&data, &loss, &transform, 100);
    let report = same.trial(&described, &w, &trial)?;
    assert!(report.best().is_none() && format!("{report}").contains("none helped"), "{report}");
    assert!(matches!(trial.seeds(0).run(&described, &w, &fixes), Err(Error::Parameter { .. })));
    let many = trial.steps(usize::MAX, usize::MAX);
    assert!(matches!(many.run(&described, &w, &fixes), Err(Error::TooLarge { .. })));
    let none = Trial::new(&data, &loss, &transform, 0).run(&described, &w, &fixes);
    assert!(matches!(none, Err(Error::Parameter { .. })), "{none:?}");
    for others in [&w[1..], &[&w[..], &[0.0]].concat()] {
        assert!(matches!(trial.run(&described, others, &fixes), Err(Error::Length { .. })));
    }
    Ok(())
}

/// The trial of a fix that rescales weights on the data trains from the weights that the fix gives on these data. A
/// batch has the steps of sequences in another order than the data.
#[test]
fn weights_are_rescaled_on_sequences_as_they_are() -> Result<(), Error> {
    let (samples, steps) = (16, 5);
    let x: Vec<f32> = normal(samples * steps, 11).iter().enumerate().map(|(i, x)| x * (1 + i % steps) as f32).collect();
    let y: Vec<f32> = x.chunks(steps).map(|row| row[0]).collect();
    let data = Dataset::sequences(1, steps, &x, Target::Values(&y))?;
    let network = Sequential::<f32>::input(1).lstm(6).last_step().linear(6).tanh().linear(1).build()?;
    let (described, w) = (Layer::<f32>::spec(&network), initialize(&network, 1)?);
    let small = finding(Cause::SmallWeights)?;
    let fixes = suggest_fixes(&FixContext::new(&described, InputStatistics::of_rows(&x)?, &small))?;
    let lsuv = Lsuv::default();
    let mut fix = fixes[0].clone();
    fix.change = Change::Lsuv(lsuv);
    let fix = [fix];
    let (loss, transform) = (MeanSquaredError::new(), || Box::new(Sgd::new(1e-2)) as Box<dyn GradientTransform<f32>>);
    let trial = Trial::new(&data, &loss, &transform, 1000).batch_size(samples).seeds(1);
    let tried = trial.run(&described, &w, &fix)?;
    let mut rescaled = w.clone();
    lsuv.apply(&network, &mut rescaled, &x, BatchShape::sequences(samples, steps))?;
    let expected = trial.run(&described, &rescaled, &fix)?;
    assert!(w != rescaled, "nothing was rescaled");
    assert_eq!(tried.outcomes[0].losses, expected.baseline.losses);
    Ok(())
}

/// Losses are compared on the scale of the given targets.
#[test]
fn standardized_targets_are_tried_on_the_scale_of_the_data() -> Result<(), Error> {
    let x = normal(128 * WIDTH, 11);
    let y: Vec<f32> = x.chunks(WIDTH).map(|row| 1e4 * (row[0] + 1.0)).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Values(&y))?;
    let network = Sequential::<f32>::input(WIDTH).linear(16).activation(Relu).linear(1).build()?;
    let (described, w) = (Layer::<f32>::spec(&network), initialize(&network, 1)?);
    let (finding, columns) = (finding(Cause::UnscaledTarget)?, Standardize::of(1, &y)?);
    let context = FixContext::new(&described, InputStatistics::of_rows(&x)?, &finding).targets(columns.clone());
    let fixes = suggest_fixes(&context)?;
    let (loss, transform) = (MeanSquaredError::new(), || Box::new(Adam::new(5e-3)) as Box<dyn GradientTransform<f32>>);
    let report = Trial::new(&data, &loss, &transform, 4000).run(&described, &w, &fixes)?;
    assert_eq!((report.best(), fixes[0].name), (Some(0), "standardized targets"), "{report}");
    // Better than the mean, whose loss is the variance of 10⁸.
    assert!(report.outcomes[0].median() < 0.5e8 && report.baseline.median() > 1e8, "{report}");
    let mut back = y.clone();
    columns.apply(&mut back)?;
    columns.invert(&mut back)?;
    assert!(back.iter().zip(&y).all(|(a, b)| (a - b).abs() < 1e-2), "round trip");
    Ok(())
}

/// A run of small weights, and of a second fault by the transform: the report with the trial, its limit of steps, and
/// the passes of the report without the trial.
fn behind(transform: fn() -> Box<dyn GradientTransform<f32>>, steps: usize) -> Result<(Report, [usize; 2]), Error> {
    let x = normal(128 * WIDTH, 11);
    let y: Vec<usize> = x.chunks(WIDTH).map(|row| usize::from(row[0] + row[1] > 0.0)).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let network = deep(0.3)?;
    let (described, w) = (Layer::<f32>::spec(&network), initialize(&network, 1)?);
    let report = first_check(&network, &x, BatchShape::batch(128), None, 1)?;
    let root = report.root().expect("a fault").clone();
    let context = FixContext::new(&described, InputStatistics::of_rows(&x)?, &root);
    let fixes = suggest_fixes(&context)?;
    let loss = CrossEntropy::new();
    let limit = steps / 2;
    let alone = Trial::new(&data, &loss, &transform, steps).seeds(2).steps((steps / 20).max(20), limit);
    let trial = alone.behind(&context).run(&described, &w, &fixes)?;
    assert!(trial.steps <= limit, "{} of {limit} steps", trial.steps);
    // The same trial without the look gives the same losses, of one fix more at most.
    let alone = alone.run(&described, &w, &fixes)?;
    assert!(alone.outcomes.len() >= trial.outcomes.len() && alone.behind.is_none());
    let checked = report.passes_on_copies;
    Ok((report.tried(trial), [limit, checked]))
}

#[test]
fn trial_finds_the_fault_behind_the_first() -> Result<(), Error> {
    let clipped = || Box::new((ClipNorm::new(1e-6), Sgd::new(0.1))) as Box<dyn GradientTransform<f32>>;
    let slow = || Box::new(Sgd::new(1e-8)) as Box<dyn GradientTransform<f32>>;
    let sound = || Box::new(Adam::new(5e-3)) as Box<dyn GradientTransform<f32>>;
    for (transform, second, optimizer) in [
        (clipped as fn() -> _, Some(Cause::ClipThresholdTooLow), "ClipNorm (norm 1e−6), Sgd (rate 0.1)"),
        (slow, Some(Cause::LearningRateTooLow), "Sgd (rate 1e−8)"),
        (sound, None, "Adam (rate 0.005)"),
    ] {
        let (report, [_, checked]) = behind(transform, 1000)?;
        let causes: Vec<Cause> = report.faults().map(|fault| fault.cause).collect();
        assert_eq!(causes, [Some(Cause::SmallWeights), second].into_iter().flatten().collect::<Vec<_>>(), "{report}");
        let (text, page) = (format!("{report}"), report.to_html());
        for told in [&text, &page] {
            assert_eq!(told.contains("behind it: "), second.is_some(), "{told}");
            assert!(told.contains(&format!("optimizer: {optimizer}")), "{told}");
        }
        let trial = &report.trials[0];
        let looked = trial.behind.as_ref().expect("a look at a fixed network");
        assert!(looked.removed && looked.watched == 50, "{looked:?}");
        // The trainings of each network, and the look: its training, a pass on the data and one on a batch, or more.
        let outcomes = trial.outcomes.iter().chain([&trial.baseline]);
        let trainings = 50 * outcomes.map(|outcome| outcome.losses.len()).sum::<usize>();
        assert!(looked.steps % 50 == 0 && looked.passes >= 2, "{looked:?}");
        assert_eq!(trial.steps, trainings + looked.steps + looked.passes, "{trial}");
        assert_eq!(report.passes_on_copies, checked + looked.passes);
        // Told a second time, the fault is one that the report names.
        let again = format!("{}", report.clone().tried(trial.clone()).trials[1]);
        assert_eq!(again.contains("which the report names, remains"), second.is_some(), "{again}");
        assert!(!again.contains("another is behind it"), "{again}");
        for fault in &looked.findings {
            assert!(fault.behind == Some(looked.name) && fault.fix.contains(": "), "{fault}");
        }
        assert_eq!(looked.findings.is_empty(), text.contains("the first fault is gone, no other was found"), "{text}");
    }
    Ok(())
}

/// Too few steps for two trainings and a look: there is none.
#[test]
fn short_trial_does_not_look_behind() -> Result<(), Error> {
    let (report, [limit, _]) = behind(|| Box::new(Adam::new(5e-3)), 100)?;
    assert!(report.trials[0].behind.is_none() && report.trials[0].steps <= limit, "{report}");
    Ok(())
}

/// A fault that was seen late is neither gone nor left after a look of fewer passes.
#[test]
fn look_too_short_for_the_first_fault_says_so() -> Result<(), Error> {
    let x = normal(128 * WIDTH, 11);
    let y: Vec<usize> = x.chunks(WIDTH).map(|row| usize::from(row[0] + row[1] > 0.0)).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let network = deep(0.3)?;
    let (described, w) = (Layer::<f32>::spec(&network), initialize(&network, 1)?);
    let mut root = first_check(&network, &x, BatchShape::batch(128), None, 1)?.root().expect("a fault").clone();
    let (loss, transform) = (CrossEntropy::new(), || Box::new(Adam::new(5e-3)) as Box<dyn GradientTransform<f32>>);
    for (since, told) in [(0, "the first fault is gone"), (60, "too short to see the first fault")] {
        root.since = Some(since);
        let context = FixContext::new(&described, InputStatistics::of_rows(&x)?, &root);
        let trial = Trial::new(&data, &loss, &transform, 1000).behind(&context);
        let report = trial.run(&described, &w, &suggest_fixes(&context)?)?;
        let behind = report.behind.as_ref().expect("a look");
        assert_eq!((behind.removed, behind.judged), (since == 0, since == 0), "{report}");
        assert!(format!("{report}").contains(told), "{report}");
    }
    Ok(())
}

/// A forecast names the weights after a shut gate, too: their budget vanishes by the gate.
#[test]
fn fault_that_is_gone_with_the_first_becomes_a_note() -> Result<(), Error> {
    let bias = ByGate::new(Zeros).gate("forget", Constant(1.0)).gate("input", Constant(-8.0));
    let layer = Recurrent::new(1, 8, Lstm::new()).bias(bias);
    let network = Sequential::<f32>::input(1).layer(layer).last_step().linear(2).build()?;
    let (described, w) = (Layer::<f32>::spec(&network), initialize(&network, 1)?);
    let x = normal(96 * 8, 11);
    let y: Vec<usize> = x.chunks(8).map(|row| usize::from(row[7] > 0.0)).collect();
    let data = Dataset::sequences(1, 8, &x, Target::Classes(&y))?;
    let inputs = InputStatistics::of_rows(&x)?.steps(8)?;
    let report = Diagnosis::new(&network, inputs)?.span(1).report();
    let causes: Vec<Cause> = report.faults().map(|fault| fault.cause).collect();
    assert_eq!(causes, [Cause::ClosedInputGate, Cause::SmallWeights], "{report}");
    let root = report.root().expect("a fault").clone();
    let context = FixContext::new(&described, inputs, &root).span(1);
    let (loss, transform) = (CrossEntropy::new(), || Box::new(Adam::new(1e-2)) as Box<dyn GradientTransform<f32>>);
    let trial = Trial::new(&data, &loss, &transform, 1000).behind(&context);
    let tried = trial.run(&described, &w, &suggest_fixes(&context)?)?;
    // A proof after the fault that becomes a note stays a fault, and comes before it.
    let mut proven = report.clone();
    let proof = report.findings[1].clone();
    proven.findings.push(proof);
    proven.findings[2].is_proof = true;
    let severities: Vec<Severity> = proven.tried(tried.clone()).findings.iter().map(|it| it.severity).collect();
    assert!(severities.iter().filter(|it| **it > Severity::Note).count() == 2, "{severities:?}");
    assert!(severities.is_sorted_by_key(|severity| *severity == Severity::Note), "{severities:?}");
    let report = report.tried(tried);
    assert_eq!(report.faults().count(), 1, "{report}");
    let weights = report.findings.iter().find(|finding| finding.cause == Cause::SmallWeights).expect("the note");
    assert!(weights.severity == Severity::Note && weights.because.starts_with("gone with "), "{report}");
    Ok(())
}

/// Inputs of very different columns, and targets that need the small ones.
fn unscaled() -> (Vec<f32>, Vec<f32>) {
    let x = normal(256 * WIDTH, 11);
    let raw = x.iter().enumerate().map(|(i, x)| 40.0 + x * [1.0, 300.0, 0.1, 5.0][i % 4]).collect();
    (raw, x.chunks(WIDTH).map(|x| x[0] + (2.0 * x[2]).sin()).collect())
}

/// A finding of that cause, in no layer: the rest of it does not matter here.
pub fn finding(cause: Cause) -> Result<Finding, Error> {
    let x = normal(64 * WIDTH, 11);
    let report = first_check(&deep(0.3)?, &x, BatchShape::batch(64), None, 1)?;
    let mut finding = report.root().expect("a fault").clone();
    (finding.cause, finding.layer, finding.layers) = (cause, String::new(), Vec::new());
    Ok(finding)
}

/// Without columns the fix is offered all the same, and fitted on the data of the trial. The run is that of a hand
/// that standardizes, to the bit, and its model takes the data as it was.
#[test]
fn fixed_run_of_unscaled_inputs_is_the_one_by_hand() -> Result<(), Error> {
    let (raw, y) = unscaled();
    let data = Dataset::rows(WIDTH, &raw, Target::Values(&y))?;
    let network = Sequential::<f32>::input(WIDTH).linear(16).tanh().linear(16).tanh().linear(1).build()?;
    let (described, w) = (Layer::<f32>::spec(&network), initialize(&network, 3)?);
    let finding = finding(Cause::UnscaledInput)?;
    let inputs = InputStatistics::of_samples(WIDTH, &raw)?;
    let context = FixContext::new(&described, inputs, &finding);
    let (loss, transform) = (MeanSquaredError::new(), || Box::new(Sgd::new(0.03)) as Box<dyn GradientTransform<f32>>);
    let trial = Trial::new(&data, &loss, &transform, 2000);
    let settings = TrainConfig { epochs: 3, seed: 5, ..TrainConfig::default() };
    let applied = trial.apply_best(&context, &w, settings)?;
    assert_eq!(applied.fixes[0].change, Change::FitInputs, "{:?}", applied.fixes);
    assert!(applied.fixes[0].why.contains("`Standardize::fit`"), "{}", applied.fixes[0]);
    assert_eq!(applied.trial.best(), Some(0), "{applied}");
    let mut run = applied.run.expect("a fix that helped");
    run.trainer.fit(&run.data)?;

    let scale = Standardize::fit(&data)?;
    let scaled = scale.inputs(&data)?;
    assert_eq!(run.data.inputs(), scaled.inputs());
    let mut by_hand = Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.03), settings)?;
    by_hand.parameters_mut().copy_from_slice(&w);
    by_hand.fit(&scaled)?;
    assert_eq!(run.trainer.parameters(), by_hand.parameters());
    // Other data in the scale of the run, and predictions of data as it was.
    let held_out = Dataset::rows(WIDTH, &raw[..2 * WIDTH], Target::Values(&y[..2]))?;
    assert_eq!(run.standardized(&held_out)?.inputs(), &scaled.inputs()[..2 * WIDTH]);
    assert_eq!(run.standardized(&held_out)?.targets(), held_out.targets());
    let model = run.trainer.into_model()?;
    assert_eq!(model.predict(&held_out)?, &by_hand.predict(&scaled)?[..2]);
    Ok(())
}

/// Targets of mean 1000: the fix is fitted on the data, and the model predicts in their scale.
#[test]
fn fixed_run_of_unscaled_targets_predicts_in_their_scale() -> Result<(), Error> {
    let x = normal(256 * WIDTH, 11);
    let y: Vec<f32> = x.chunks(WIDTH).map(|x| 1000.0 + 50.0 * x[0]).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Values(&y))?;
    let network = Sequential::<f32>::input(WIDTH).linear(16).tanh().linear(1).build()?;
    let (described, w) = (Layer::<f32>::spec(&network), initialize(&network, 3)?);
    let finding = finding(Cause::UnscaledTarget)?;
    let context = FixContext::new(&described, InputStatistics::of_rows(&x)?, &finding);
    let (loss, transform) = (MeanSquaredError::new(), || Box::new(Sgd::new(0.05)) as Box<dyn GradientTransform<f32>>);
    let fixes = suggest_fixes(&context)?;
    assert_eq!(fixes[0].change, Change::FitTargets, "{fixes:?}");
    let settings = TrainConfig { epochs: 40, ..TrainConfig::default() };
    let mut run = Trial::new(&data, &loss, &transform, 2000).apply(&described, &w, &fixes[0], settings)?;
    run.trainer.fit(&run.data)?;
    let predicted = run.trainer.into_model()?.predict(&data)?;
    let error = predicted.iter().zip(&y).map(|(p, y)| (p - y).powi(2)).sum::<f32>() / 256.0;
    assert!(error.sqrt() < 25.0, "a root mean square error of {}", error.sqrt());
    // A loss whose outputs are no targets: means and variances.
    let gaussian = GaussianNll::new();
    let two = Sequential::<f32>::input(WIDTH).linear(2).build()?;
    let refused = Trial::new(&data, &gaussian, &transform, 2000).apply(
        &Layer::<f32>::spec(&two),
        &initialize(&two, 1)?,
        &fixes[0],
        settings,
    );
    assert!(matches!(refused, Err(Error::InvalidState { .. })), "{refused:?}");
    Ok(())
}

/// Each change of training is that of a hand, to the bit; one inside the optimizer needs `Trial::settings`.
#[test]
fn applied_changes_of_training_are_those_by_hand() -> Result<(), Error> {
    let x = normal(96 * WIDTH, 11);
    let y: Vec<f32> = x.chunks(WIDTH).map(|x| x[0] - x[1]).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Values(&y))?;
    let network = Sequential::<f32>::input(WIDTH).linear(4).tanh().linear(1).build()?;
    let (described, w) = (Layer::<f32>::spec(&network), initialize(&network, 3)?);
    let finding = finding(Cause::UnscaledInput)?;
    let context = FixContext::new(&described, InputStatistics::of_rows(&x)?, &finding);
    let plain = suggest_fixes(&context)?.swap_remove(0);
    let with = |change| {
        let mut fix = plain.clone();
        fix.change = change;
        fix
    };
    let (loss, transform) =
        (MeanSquaredError::new(), || Box::new(AdamW::new(0.01, 0.3)) as Box<dyn GradientTransform<f32>>);
    let trial = Trial::new(&data, &loss, &transform, 2000).in_order();
    let settings = TrainConfig { epochs: 2, seed: 5, shuffle: false, ..TrainConfig::default() };
    let trained = |transform: Box<dyn GradientTransform<f32>>, data: &Dataset<'_, f32>, settings, w: &[f32]| {
        let network = described.build::<f32>()?;
        let mut trainer = Trainer::new(network, MeanSquaredError::new(), transform, settings)?;
        trainer.parameters_mut().copy_from_slice(w);
        trainer.fit(data)?;
        Ok::<_, Error>(trainer.parameters().to_vec())
    };
    let applied = |trial: &Trial<'_, f32>, change| {
        let mut run = trial.apply(&described, &w, &with(change), settings)?;
        run.trainer.fit(&run.data)?;
        Ok::<_, Error>(run.trainer.parameters().to_vec())
    };
    let unlike = trained(transform(), &data, settings, &w)?;
    let mixed = TrainConfig { shuffle: true, ..settings };
    let fewer = data.select(&(0..96).filter(|i| ![3, 50].contains(i)).collect::<Vec<_>>())?;
    let undecayed = || Box::new(AdamW::new(0.01, 0.0)) as Box<dyn GradientTransform<f32>>;
    let told = |change: &Change| (*change == Change::WithoutDecay).then(undecayed);
    let cases = [
        (Change::ClipNorm(0.01), trained(Box::new((ClipNorm::new(0.01), AdamW::new(0.01, 0.3))), &data, settings, &w)?),
        (Change::LearningRate(0.5), {
            let half = Unordered((AdamW::new(0.01, 0.3), Schedule::constant(0.5)));
            trained(Box::new(half), &data, settings, &w)?
        }),
        (Change::Shuffle, trained(transform(), &data, mixed, &w)?),
        (Change::LeaveOut(vec![3, 50]), trained(transform(), &fewer, settings, &w)?),
        (Change::Redraw, trained(transform(), &data, settings, &initialize(&network, 5)?)?),
        (Change::WithoutDecay, trained(undecayed(), &data, settings, &initialize(&network, 5)?)?),
    ];
    for (change, expected) in cases {
        assert_ne!(expected, unlike, "{change:?} changes nothing");
        assert_eq!(applied(&trial.settings(&told), change.clone())?, expected, "{change:?}");
    }
    for change in [Change::WithoutDecay, Change::TrainBlock("0".into())] {
        let refused = applied(&trial, change);
        assert!(matches!(&refused, Err(Error::InvalidState { needs, .. }) if needs.contains("`Trial::settings`")));
    }
    let none = applied(&trial, Change::LeaveOut((0..96).collect()));
    assert!(matches!(none, Err(Error::InvalidState { .. })), "{none:?}");
    Ok(())
}

/// A schedule that ended before anything was learned no longer ends within the run, also inside wrappers of the chain.
#[test]
fn schedule_that_ended_early_is_stretched_beyond_the_run() -> Result<(), Error> {
    let x = normal(256 * WIDTH, 11);
    let y: Vec<f32> = x.chunks(WIDTH).map(|row| row[0] - row[1]).collect();
    let (data, loss) = (Dataset::rows(WIDTH, &x, Target::Values(&y))?, MeanSquaredError::new());
    let network = Sequential::<f32>::input(WIDTH).linear(16).tanh().linear(1).build()?;
    let (described, w) = (Layer::<f32>::spec(&network), initialize(&network, 0)?);
    let transform =
        || Box::new(Unordered((Adam::new(3e-3), Schedule::polynomial(4, 1.0)))) as Box<dyn GradientTransform<f32>>;
    let (mut seen, settings) = (Statistics::new(), TrainConfig { epochs: 20, ..TrainConfig::default() });
    let mut trainer = Trainer::new(&network, &loss, transform(), settings)?;
    let sick = trainer.fit_with(&data, FitOptions::new().monitor(&mut seen))?;
    let inputs = InputStatistics::of_rows(&x)?;
    let report = Diagnosis::new(&network, inputs)?.task(trainer.parameters(), &data, &loss)?.statistics(&seen).report();
    let root = report.root().unwrap_or_else(|| panic!("{report}"));
    assert_eq!((root.cause, root.schedule), (Cause::LearningRateTooLow, Some(4)), "{report}");
    let context = FixContext::new(&described, inputs, root);
    let applied = Trial::new(&data, &loss, &transform, 160).apply_best(&context, &w, settings)?;
    assert_eq!(applied.fixes[0].change, Change::LongerSchedule { ended: 4, runs: 10 }, "{applied}");
    let mut run = applied.run.unwrap_or_else(|| panic!("{}", applied.trial));
    let healthy = run.trainer.fit(&run.data)?;
    assert!(healthy[19].loss < 0.2 * sick[19].loss, "{} {} {}", healthy[19].loss, sick[19].loss, applied.trial);
    // 4 updates become 1600, and the loss falls to the end.
    assert!(healthy[15].loss < 0.8 * healthy[5].loss, "{healthy:?}");
    // Without a schedule in the chain there is none to stretch.
    let plain = || Box::new(Adam::new(3e-3)) as Box<dyn GradientTransform<f32>>;
    let trial = Trial::new(&data, &loss, &plain, 160);
    assert_eq!(trial.run(&described, &w, &applied.fixes)?.untried.len(), 2);
    let refused = trial.apply(&described, &w, &applied.fixes[0], settings);
    assert!(matches!(refused, Err(Error::InvalidState { needs, .. }) if needs.contains("`Schedule`")));
    Ok(())
}

#[test]
fn rate_of_the_middle_is_tried_first() -> Result<(), Error> {
    let (network, mut finding) = (deep(1.0)?, finding(Cause::LearningRateTooLow)?);
    finding.decades = Some(-4.5);
    let described = Layer::<f32>::spec(&network);
    let fixes = suggest_fixes(&FixContext::new(&described, InputStatistics::new(1.0)?, &finding))?;
    let factors = fixes.iter().map(|fix| match fix.change {
        Change::LearningRate(factor) => factor.log10(),
        _ => f64::NAN,
    });
    let factors: Vec<f64> = factors.map(|decades| (100.0 * decades).round() / 100.0).collect();
    assert_eq!(factors, [3.0, 3.5, 4.0, 2.5, 2.0]);
    Ok(())
}

/// Parameters that a fault has spoiled hide what a fix does: it is tried from where the run began, too, and the fixed
/// run starts there.
#[test]
fn fix_of_a_spoiled_network_starts_where_the_run_began() -> Result<(), Error> {
    let x = normal(256 * WIDTH, 11);
    let y: Vec<f32> = x.chunks(WIDTH).map(|x| x[0] - x[1]).collect();
    let (data, loss) = (Dataset::rows(WIDTH, &x, Target::Values(&y))?, MeanSquaredError::new());
    let network = Sequential::<f32>::input(WIDTH).linear(16).tanh().linear(1).activation(Relu).build()?;
    let (described, first) = (Layer::<f32>::spec(&network), initialize(&network, 3)?);
    // Outputs far below a rectifier that holds them at 0.
    let mut spoiled = first.clone();
    *spoiled.last_mut().expect("a bias") = -1e4;
    let (mut finding, inputs) = (finding(Cause::SquashedOutputs)?, InputStatistics::of_rows(&x)?);
    finding.layer = "3".into();
    let began: Vec<f64> = first.iter().map(|&w| f64::from(w)).collect();
    let context = FixContext::new(&described, inputs, &finding);
    let transform = || Box::new(Sgd::new(0.05)) as Box<dyn GradientTransform<f32>>;
    let trial = Trial::new(&data, &loss, &transform, 800).first_parameters(&began);
    let settings = TrainConfig { epochs: 30, ..TrainConfig::default() };
    let applied = trial.apply_best(&context, &spoiled, settings)?;
    let best = applied.trial.best_outcome().unwrap_or_else(|| panic!("{applied}"));
    assert!(best.from_beginning && applied.fixes[best.fix.expect("a fix")].name == "outputs of any size", "{applied}");
    let mut run = applied.run.expect("a fix that helped");
    assert_eq!(run.trainer.parameters(), first);
    let epochs = run.trainer.fit(&run.data)?;
    assert!(epochs[29].loss < 0.2, "{}", epochs[29].loss);
    // Of parameters where the run began there is one start.
    let once = trial.apply_best(&context, &first, settings)?;
    assert!(once.trial.outcomes.iter().all(|it| !it.from_beginning), "{once}");
    let wrong = trial.first_parameters(&began[1..]).apply_best(&context, &spoiled, settings);
    assert!(matches!(wrong, Err(Error::Length { .. })), "{wrong:?}");
    Ok(())
}

/// Blocks of samples that stay together are mixed, too.
#[test]
fn mixed_batches_have_no_blocks() -> Result<(), Error> {
    let x = normal(96 * WIDTH, 11);
    let y: Vec<f32> = x.chunks(WIDTH).map(|x| x[0]).collect();
    let (data, loss) = (Dataset::rows(WIDTH, &x, Target::Values(&y))?, MeanSquaredError::new());
    let network = Sequential::<f32>::input(WIDTH).linear(1).build()?;
    let (described, w) = (Layer::<f32>::spec(&network), initialize(&network, 3)?);
    let finding = finding(Cause::UnmixedBatches)?;
    let fixes = suggest_fixes(&FixContext::new(&described, InputStatistics::of_rows(&x)?, &finding))?;
    let transform = || Box::new(Sgd::new(0.05)) as Box<dyn GradientTransform<f32>>;
    let settings = TrainConfig { shuffle_block: Some(32), ..TrainConfig::default() };
    let run = Trial::new(&data, &loss, &transform, 100).apply(&described, &w, &fixes[0], settings)?;
    assert_eq!((fixes[0].change.clone(), run.trainer.settings().shuffle_block), (Change::Shuffle, None));
    Ok(())
}

/// Of fixes whose losses are near each other, a second seed says most of the one with the lowest: here the second, as
/// the first changes nothing. Targets that are mostly noise keep both near.
#[test]
fn further_seeds_go_to_the_lowest_loss() -> Result<(), Error> {
    let (x, noise) = (normal(256 * WIDTH, 11), normal(256, 12));
    let y: Vec<f32> = x.chunks(WIDTH).zip(&noise).map(|(x, noise)| 0.4 * x[0] + noise).collect();
    let (data, loss) = (Dataset::rows(WIDTH, &x, Target::Values(&y))?, MeanSquaredError::new());
    let network = Sequential::<f32>::input(WIDTH).layer(Linear::new(WIDTH, 1).weights(Zeros)).build()?;
    let (described, w) = (Layer::<f32>::spec(&network), initialize(&network, 3)?);
    let finding = finding(Cause::LearningRateTooLow)?;
    let context = FixContext::new(&described, InputStatistics::of_rows(&x)?, &finding);
    let mut fixes = suggest_fixes(&context)?;
    fixes.truncate(2);
    (fixes[0].change, fixes[1].change) = (Change::LearningRate(1.0), Change::LearningRate(1e5));
    let transform = || Box::new(Sgd::new(1e-6)) as Box<dyn GradientTransform<f32>>;
    // One training without a fix and one with each; then one more of each seed for a single fix.
    let trial = Trial::new(&data, &loss, &transform, 200).steps(20, 100).run(&described, &w, &fixes)?;
    let seeds = |fix| trial.outcomes.iter().find(|it| it.fix == Some(fix)).map(|it| it.losses.len());
    assert_eq!((seeds(0), seeds(1)), (Some(1), Some(2)), "{trial}");
    Ok(())
}

/// A clip without a norm is fitted on the data: the gradient of plain descent is known from the trial's own steps.
#[test]
fn low_clip_is_raised_without_a_known_norm() -> Result<(), Error> {
    let x = normal(256 * WIDTH, 11);
    let y: Vec<f32> = x.chunks(WIDTH).map(|x| x[0] - x[1]).collect();
    let (data, loss) = (Dataset::rows(WIDTH, &x, Target::Values(&y))?, MeanSquaredError::new());
    let network = Sequential::<f32>::input(WIDTH).linear(16).tanh().linear(1).build()?;
    let (described, w) = (Layer::<f32>::spec(&network), initialize(&network, 3)?);
    let finding = finding(Cause::ClipThresholdTooLow)?;
    let clipped = |norm| Box::new((ClipNorm::new(norm), Sgd::new(0.05))) as Box<dyn GradientTransform<f32>>;
    let transform = || clipped(1e-6);
    let raised = |change: &Change| match change {
        Change::ClipNorm(norm) => Some(clipped(*norm)),
        _ => None,
    };
    let trial = Trial::new(&data, &loss, &transform, 800).settings(&raised);
    let context = FixContext::new(&described, InputStatistics::of_rows(&x)?, &finding);
    let applied = trial.apply_best(&context, &w, TrainConfig::default())?;
    // The steps that measure the norm count.
    let is_measured = matches!(applied.fixes[0].change, Change::ClipNorm(norm) if norm > 0.0);
    assert!(is_measured && applied.trial.best() == Some(0) && applied.trial.steps % 20 == 5, "{applied}");
    Ok(())
}
