//! What data, loss and regularization do to a run: each cause with its fault, and with a run that only looks like it.

use crate::fixtures::normal;
use chainrule::{
    BatchShape, DataRule, Error, Layer,
    activation::{Relu, Sigmoid, Tanh},
    dataset::{Batch, Dataset},
    diagnosis::{
        Cause, Change, Diagnosis, FixContext, Report, Severity, Trial, first_check, fix::shaped_slope, suggest_fixes,
    },
    initializer::{ByGate, Constant, Zeros},
    layer::{Dropout, LayerSpec, Merge, Sequential, Softmax, initialize},
    loss::{
        BinaryCrossEntropy, CrossEntropy, GaussianNll, KlDivergence, Loss, MeanSquaredError, NegativeLogLikelihood,
        PoissonNll, Reduction, Target, ValueWeights,
    },
    monitor::Statistics,
    random::{Normals, generator, shuffle},
    recurrent::{Gru, Lstm, Recurrent},
    theory::InputStatistics,
    trainer::{FitOptions, TrainConfig, Trainer},
    transform::{AdamW, GradientTransform, Schedule, Sgd},
};

const WIDTH: usize = 8;
const SAMPLES: usize = 256;

/// Normal rows; the class is told by two signs.
fn data() -> (Vec<f32>, Vec<usize>) {
    let (mut rng, mut normals) = (generator(3), Normals::new());
    let x: Vec<f32> = (0..SAMPLES * WIDTH).map(|_| normals.next(&mut rng) as f32).collect();
    let y = x.chunks(WIDTH).map(|r| usize::from(r[0] + r[1] > 0.0) + 2 * usize::from(r[2] - r[3] > 0.0)).collect();
    (x, y)
}

fn network() -> Result<Sequential<f32>, Error> {
    Sequential::<f32>::input(WIDTH).linear(24).activation(Tanh).linear(4).build()
}

/// The report after some steps with batches of `rows`, with the samples in order or shuffled.
fn after(
    network: &Sequential<f32>,
    data: &Dataset<'_, f32>,
    loss: &dyn Loss<f32>,
    transform: impl GradientTransform<f32>,
    [steps, rows]: [usize; 2],
    in_order: bool,
) -> Result<Report, Error> {
    let mut seen = Statistics::new();
    let mut trainer = Trainer::new(network, loss, transform, TrainConfig::default())?;
    let (mut batch, mut order) = (Batch::new(data, rows), Vec::new());
    for step in 0..steps {
        if order.is_empty() {
            order = (0..data.samples()).rev().collect();
            if !in_order {
                shuffle(&mut order, 1, step as u64);
            }
        }
        let samples = order.split_off(order.len().saturating_sub(rows));
        trainer.step(data, &mut batch, &samples, &mut seen)?;
    }
    let diagnosis = Diagnosis::new(network, InputStatistics::of_rows(data.inputs())?)?.statistics(&seen);
    Ok(diagnosis.task(trainer.parameters(), data, loss)?.report())
}

fn before(network: &Sequential<f32>, data: &Dataset<'_, f32>, loss: &dyn Loss<f32>) -> Result<Report, Error> {
    let diagnosis = Diagnosis::new(network, InputStatistics::of_rows(data.inputs())?)?;
    Ok(diagnosis.task(&initialize(network, 0)?, data, loss)?.report())
}

fn root(report: &Report) -> (Cause, &str) {
    let root = report.root().unwrap_or_else(|| panic!("nothing found: {report}"));
    assert!(!root.because.is_empty(), "{report}");
    (root.cause, &root.layer)
}

/// A likelihood of outputs that are not logarithms of probabilities falls without end; constant rates and densities
/// have a best value.
#[test]
fn likelihood_of_raw_outputs_is_an_unbounded_loss() -> Result<(), Error> {
    let (x, y) = data();
    let (counts, shares): (Vec<f32>, Vec<f32>) =
        (y.iter().map(|&y| 1e5 * y as f32).collect(), y.iter().flat_map(|&y| [0.1 * y as f32, 1.0]).collect());
    let classes = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let network = |outputs| Sequential::<f32>::input(WIDTH).linear(24).activation(Tanh).linear(outputs);
    let raw = network(4).build()?;
    let report = before(&raw, &classes, &NegativeLogLikelihood::new())?;
    assert_eq!(root(&report), (Cause::UnboundedLoss, "2"), "{report}");
    assert_eq!(report.chance, None, "{report}");
    let (described, inputs) = (raw.spec(), InputStatistics::of_rows(&x)?);
    let fixes = suggest_fixes(&FixContext::new(&described, inputs, report.root().unwrap()))?;
    let logs = network(4).log_softmax().build()?;
    assert_eq!(fixes[0].change, Change::Network(logs.spec()));
    let shares = Dataset::rows(WIDTH, &x, Target::Values(&shares))?;
    let report = before(&network(2).build()?, &shares, &KlDivergence::new())?;
    assert_eq!(root(&report), (Cause::UnboundedLoss, "2"), "{report}");
    let counts = Dataset::rows(WIDTH, &x, Target::Values(&counts))?;
    for report in [
        before(&logs, &classes, &NegativeLogLikelihood::new())?,
        before(&network(1).build()?, &counts, &PoissonNll::new())?,
        before(&network(2).build()?, &counts, &GaussianNll::new())?,
    ] {
        assert!(report.findings.iter().all(|finding| finding.cause != Cause::UnboundedLoss), "{report}");
    }
    Ok(())
}

/// Softmax outputs lie in [0, 1], where a cross-entropy of four classes is at least ln(1 + 3/e).
#[test]
fn softmax_before_a_cross_entropy_is_squashed_outputs() -> Result<(), Error> {
    let (x, y) = data();
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let plain = network()?;
    let squashed = Sequential::<f32>::input(WIDTH).linear(24).activation(Tanh).linear(4).layer(Softmax::new(4));
    let squashed = squashed.build()?;
    let report = before(&squashed, &data, &CrossEntropy::new())?;
    assert_eq!(root(&report), (Cause::SquashedOutputs, "3"), "{report}");
    let least = (3.0 * (-1.0_f64).exp()).ln_1p();
    assert!(report.root().unwrap().text.contains(&format!("below {least:.3}")), "{report}");
    let (described, inputs) = (squashed.spec(), InputStatistics::of_rows(&x)?);
    let fixes = suggest_fixes(&FixContext::new(&described, inputs, report.root().unwrap()))?;
    assert_eq!(fixes[0].change, Change::Network(plain.spec()));
    // Outputs that squash for a loss that is 0 within their range, and plain ones, are healthy.
    let targets: Vec<f32> = y.iter().map(|&y| y as f32 / 3.0).collect();
    let data = [Dataset::rows(WIDTH, &x, Target::Values(&targets))?, data];
    let sigmoid = Sequential::<f32>::input(WIDTH).linear(24).activation(Tanh).linear(1).activation(Sigmoid).build()?;
    let reports =
        [before(&sigmoid, &data[0], &MeanSquaredError::new())?, before(&plain, &data[1], &CrossEntropy::new())?];
    assert!(reports.iter().all(Report::is_healthy), "{reports:?}");
    // A branch that squashes does not bound the sum of branches.
    let far: Vec<f32> = targets.iter().map(|target| 30.0 * target).collect();
    let sum = Sequential::<f32>::input(WIDTH)
        .parallel(Merge::Sum, |all| all.branch(|branch| branch.linear(1)).branch(|branch| branch.linear(1).tanh()));
    let report = before(&sum.build()?, &Dataset::rows(WIDTH, &x, Target::Values(&far))?, &MeanSquaredError::new())?;
    assert!(report.findings.iter().all(|finding| finding.cause != Cause::SquashedOutputs), "{report}");
    Ok(())
}

#[test]
fn decay_that_outweighs_the_gradient_is_strong_decay() -> Result<(), Error> {
    let (x, y) = data();
    let (data, loss, network) = (Dataset::rows(WIDTH, &x, Target::Classes(&y))?, CrossEntropy::new(), network()?);
    let sick = after(&network, &data, &loss, AdamW::new(5e-3, 30.0), [40, 32], false)?;
    assert_eq!(root(&sick).0, Cause::DecayTooStrong, "{sick}");
    let healthy = after(&network, &data, &loss, AdamW::new(5e-3, 0.1), [40, 32], false)?;
    assert!(healthy.is_healthy(), "{healthy}");
    // A trial without decay needs to be told how.
    let (described, inputs, w) = (network.spec(), InputStatistics::of_rows(&x)?, initialize(&network, 0)?);
    let fixes = suggest_fixes(&FixContext::new(&described, inputs, sick.root().unwrap()))?;
    let decayed = || Box::new(AdamW::new(5e-3, 30.0)) as Box<dyn GradientTransform<f32>>;
    let settings = |change: &Change| match change {
        Change::WithoutDecay => Some(Box::new(AdamW::new(5e-3, 0.0)) as Box<dyn GradientTransform<f32>>),
        _ => None,
    };
    let trial = Trial::new(&data, &loss, &decayed, 1000);
    let untold = trial.run(&described, &w, &fixes)?;
    assert!(untold.outcomes.is_empty() && untold.untried.len() == 1, "{untold}");
    let told = Trial::new(&data, &loss, &decayed, 1000).settings(&settings).run(&described, &w, &fixes)?;
    assert_eq!(told.best(), Some(0), "{told}");
    Ok(())
}

/// At the end of a long run the weights are near 0, and no update points anywhere.
#[test]
fn decay_that_has_won_is_strong_decay() -> Result<(), Error> {
    let (x, y) = data();
    let (data, loss) = (Dataset::rows(WIDTH, &x, Target::Classes(&y))?, CrossEntropy::new());
    let mut builder = Sequential::<f32>::input(WIDTH);
    for _ in 0..3 {
        builder = builder.linear(24).activation(Relu);
    }
    let network = builder.linear(4).build()?;
    let sick = after(&network, &data, &loss, AdamW::new(2e-3, 60.0), [300, 32], false)?;
    assert_eq!(root(&sick).0, Cause::DecayTooStrong, "{sick}");
    let healthy = after(&network, &data, &loss, AdamW::new(2e-3, 0.1), [300, 32], false)?;
    assert!(healthy.is_healthy(), "{healthy}");
    Ok(())
}

/// Dead units, large weights and squashed states that too long steps left behind are not their cause.
#[test]
fn damage_of_long_steps_is_no_cause() -> Result<(), Error> {
    let (x, y) = data();
    let (data, loss) = (Dataset::rows(WIDTH, &x, Target::Classes(&y))?, CrossEntropy::new());
    let rectified = Sequential::<f32>::input(WIDTH).linear(24).relu().linear(24).relu().linear(4).build()?;
    let squashed = Sequential::<f32>::input(WIDTH).linear(24).tanh().linear(24).tanh().linear(4).build()?;
    for network in [rectified, squashed] {
        let plain = after(&network, &data, &loss, Sgd::new(30.0), [200, 32], false)?;
        assert_eq!(root(&plain).0, Cause::LearningRateTooHigh, "{plain}");
        let adam = after(&network, &data, &loss, AdamW::new(2.0, 0.0), [200, 32], false)?;
        assert_eq!(root(&adam).0, Cause::LearningRateTooHigh, "{adam}");
        let healthy = after(&network, &data, &loss, AdamW::new(5e-3, 0.0), [200, 32], false)?;
        assert!(healthy.is_healthy(), "{healthy}");
    }
    Ok(())
}

/// A squared error with a constant part, as a loss with a term that no output changes.
#[derive(Debug)]
struct WithFloor(MeanSquaredError, f32);

impl Loss<f32> for WithFloor {
    fn evaluate(
        &self,
        width: usize,
        y: &[f32],
        target: Target<'_, f32>,
        row_weights: Option<&[f32]>,
        dy: &mut [f32],
    ) -> Result<f32, Error> {
        Ok(self.1 + self.0.evaluate(width, y, target, row_weights, dy)?)
    }

    fn reduction(&self) -> Reduction {
        Loss::<f32>::reduction(&self.0)
    }
}

#[test]
fn constant_part_of_a_loss_is_no_distance() -> Result<(), Error> {
    let (x, _) = data();
    let y: Vec<f32> = x.chunks(WIDTH).map(|row| (row[0] - row[1]).tanh()).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Values(&y))?;
    let network = Sequential::<f32>::input(WIDTH).linear(24).activation(Tanh).linear(1).build()?;
    let run = |floor, data: &Dataset<'_, f32>| {
        let loss = WithFloor(MeanSquaredError::new(), floor);
        after(&network, data, &loss, AdamW::new(5e-3, 0.0), [300, 32], false)
    };
    let (plain, constant) = (run(0.0, &data)?, run(50.0, &data)?);
    assert!(plain.is_healthy() && constant.is_healthy(), "{plain} {constant}");
    let far: Vec<f32> = y.iter().map(|y| 1e4 * y).collect();
    let sick = run(0.0, &Dataset::rows(WIDTH, &x, Target::Values(&far))?)?;
    assert_eq!(root(&sick).0, Cause::UnscaledTarget, "{sick}");
    Ok(())
}

/// A converged run that goes on at a low rate stands still as one that never learned.
#[test]
fn converged_run_is_not_slow() -> Result<(), Error> {
    let (x, y) = data();
    let (data, loss, network) = (Dataset::rows(WIDTH, &x, Target::Classes(&y))?, CrossEntropy::new(), network()?);
    let mut first = Trainer::new(&network, &loss, AdamW::new(1e-2, 0.0), TrainConfig::default())?;
    first.fit(&data)?;
    let report = |w: Vec<f32>| -> Result<Report, Error> {
        let (mut seen, chain) = (Statistics::new(), AdamW::new(1e-8, 0.0));
        let mut trainer = Trainer::new(&network, &loss, chain, TrainConfig::default())?;
        trainer.parameters_mut().copy_from_slice(&w);
        trainer.fit_with(&data, FitOptions::new().monitor(&mut seen))?;
        let diagnosis = Diagnosis::new(&network, InputStatistics::of_rows(data.inputs())?)?.statistics(&seen);
        Ok(diagnosis.task(trainer.parameters(), &data, &loss)?.report())
    };
    let (converged, fresh) = (report(first.parameters().to_vec())?, report(initialize(&network, 1)?)?);
    assert!(converged.is_healthy(), "{converged}");
    assert_eq!(root(&fresh).0, Cause::LearningRateTooLow, "{fresh}");
    Ok(())
}

/// A schedule that ends before the loss has fallen is too short.
#[test]
fn schedule_that_ends_before_anything_is_learned_is_too_short() -> Result<(), Error> {
    let (x, y) = data();
    let (data, loss, network) = (Dataset::rows(WIDTH, &x, Target::Classes(&y))?, CrossEntropy::new(), network()?);
    let run = |schedule, steps| after(&network, &data, &loss, (Sgd::new(0.1), schedule), [steps, 32], false);
    let cut = |end: u64| Schedule::custom(move |step| if step < end { 1.0 } else { 0.0 });
    let sick = run(cut(3), 100)?;
    assert_eq!(root(&sick).0, Cause::LearningRateTooLow, "{sick}");
    assert!(sick.root().unwrap().text.contains("schedule ended after 3 steps"), "{sick}");
    let ended = run(cut(300), 400)?;
    assert!(ended.is_healthy(), "{ended}");
    Ok(())
}

#[test]
fn masks_that_drown_the_signal_are_heavy_dropout() -> Result<(), Error> {
    let (x, y) = data();
    let (data, loss) = (Dataset::rows(WIDTH, &x, Target::Classes(&y))?, CrossEntropy::new());
    let of_rate = |rate: f64| -> Result<Report, Error> {
        let network = Sequential::<f32>::input(WIDTH).linear(32).activation(Relu).layer(Dropout::new(32, rate)?);
        let network = network.linear(32).activation(Relu).layer(Dropout::new(32, rate)?).linear(4).build()?;
        after(&network, &data, &loss, AdamW::new(2e-3, 0.0), [100, 32], false)
    };
    let (sick, healthy) = (of_rate(0.97)?, of_rate(0.3)?);
    assert_eq!(root(&sick).0, Cause::DropoutTooHeavy, "{sick}");
    assert!(matches!(root(&sick).1, "2" | "5") && healthy.is_healthy(), "{sick} {healthy}");
    Ok(())
}

/// The state of a recurrence that is masked, or kept, nearly always.
#[test]
fn masks_of_a_recurrence_that_drown_the_signal_are_heavy_dropout() -> Result<(), Error> {
    let (x, y) = data();
    let (data, loss) = (Dataset::sequences(1, WIDTH, &x, Target::Classes(&y))?, CrossEntropy::new());
    let of_rates = |dropout: f64, zoneout: f64| -> Result<(Report, Sequential<f32>), Error> {
        let noisy = |layer: Recurrent<Gru>| layer.recurrent_dropout(dropout)?.zoneout(zoneout, 0.0);
        let network =
            Sequential::<f32>::input(1).recurrent_with(16, Gru::new(), noisy).last_step().linear(4).build()?;
        Ok((after(&network, &data, &loss, AdamW::new(2e-3, 0.0), [100, 32], false)?, network))
    };
    for (dropout, zoneout, said) in
        [(0.98, 0.0, "recurrent dropout of rate 0.98"), (0.0, 0.97, "zoneout of h of rate 0.97")]
    {
        let (sick, network) = of_rates(dropout, zoneout)?;
        assert_eq!(root(&sick), (Cause::DropoutTooHeavy, "0"), "{sick}");
        assert!(sick.root().unwrap().text.starts_with(said), "{sick}");
        let (described, inputs) = (network.spec(), InputStatistics::of_rows(&x)?.steps(WIDTH)?);
        let fixes = suggest_fixes(&FixContext::new(&described, inputs, sick.root().unwrap()))?;
        let Change::Network(lighter) = &fixes[0].change else { panic!("{fixes:?}") };
        let LayerSpec::Sequential { layers, .. } = lighter else { panic!("{lighter:?}") };
        let LayerSpec::Recurrent { noise, .. } = &layers[0] else { panic!("{lighter:?}") };
        // A mask of rate p multiplies the second moment by 1/(1 − p): it adds a tenth.
        let rate = noise.dropout.max(noise.zoneout_hidden);
        assert!((1.0 / (1.0 - rate) - 1.1).abs() < 1e-12, "{rate}");
    }
    // Light masks, and a quiet pass has none: the same bits for any of them.
    let (light, network) = of_rates(0.2, 0.1)?;
    assert!(light.findings.iter().all(|finding| finding.cause != Cause::DropoutTooHeavy), "{light}");
    let task = |network: &Sequential<f32>| -> Result<String, Error> {
        Ok(before(network, &data, &loss)?.findings.iter().map(|finding| format!("{finding}")).collect())
    };
    assert_eq!(task(&network)?, task(&of_rates(0.0, 0.0)?.1)?);
    Ok(())
}

#[test]
fn samples_in_the_order_of_their_classes_are_unmixed_batches() -> Result<(), Error> {
    // Whether two signs agree: what is learned first is which class is frequent.
    let (x, _) = data();
    let y: Vec<usize> = x.chunks(WIDTH).map(|r| usize::from(r[0] * r[1] > 0.0)).collect();
    let mut order: Vec<usize> = (0..SAMPLES).collect();
    order.sort_by_key(|&sample| y[sample]);
    let sorted_x: Vec<f32> = order.iter().flat_map(|&sample| x[sample * WIDTH..][..WIDTH].to_vec()).collect();
    let sorted_y: Vec<usize> = order.iter().map(|&sample| y[sample]).collect();
    let (loss, network) = (CrossEntropy::new(), network()?);
    let sorted = Dataset::rows(WIDTH, &sorted_x, Target::Classes(&sorted_y))?;
    let sick = after(&network, &sorted, &loss, Sgd::new(0.3), [60, 8], true)?;
    assert_eq!(root(&sick).0, Cause::UnmixedBatches, "{sick}");
    let mixed = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    for (data, in_order) in [(&mixed, true), (&sorted, false)] {
        let healthy = after(&network, data, &loss, Sgd::new(0.3), [60, 8], in_order)?;
        assert!(healthy.is_healthy(), "{healthy}");
    }
    let (described, inputs, w) = (network.spec(), InputStatistics::of_rows(&x)?, initialize(&network, 0)?);
    let fixes = suggest_fixes(&FixContext::new(&described, inputs, sick.root().unwrap()))?;
    let transform = || Box::new(Sgd::new(0.3)) as Box<dyn GradientTransform<f32>>;
    let tried = Trial::new(&sorted, &loss, &transform, 1200).batch_size(8).in_order().run(&described, &w, &fixes)?;
    assert_eq!((tried.best(), &fixes[0].change), (Some(0), &Change::Shuffle), "{tried}");
    Ok(())
}

#[test]
fn sample_that_outweighs_all_others_is_bad_data() -> Result<(), Error> {
    let (mut x, y) = data();
    let network = Sequential::<f32>::input(WIDTH).linear(24).activation(Relu).linear(4).build()?;
    let times = |x: &mut [f32], by: f32| x[40 * WIDTH..][..WIDTH].iter_mut().for_each(|x| *x *= by);
    times(&mut x, 10.0);
    let healthy = before(&network, &Dataset::rows(WIDTH, &x, Target::Classes(&y))?, &CrossEntropy::new())?;
    assert!(healthy.is_healthy(), "{healthy}");
    times(&mut x, 1e4);
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let sick = before(&network, &data, &CrossEntropy::new())?;
    assert_eq!(root(&sick).0, Cause::BadData, "{sick}");
    assert_eq!(sick.root().unwrap().sample, Some(40));
    // A target that no other is near.
    let (x, _) = self::data();
    let mut y: Vec<f32> = x.chunks(WIDTH).map(|row| row[0]).collect();
    y[40] = 1e5;
    let (data, loss) = (Dataset::rows(WIDTH, &x, Target::Values(&y))?, MeanSquaredError::new());
    let network = Sequential::<f32>::input(WIDTH).linear(24).activation(Relu).linear(1).build()?;
    let sick = before(&network, &data, &loss)?;
    assert_eq!((root(&sick).0, sick.root().unwrap().sample), (Cause::BadData, Some(40)), "{sick}");
    let (described, w) = (network.spec(), initialize(&network, 0)?);
    let fixes = suggest_fixes(&FixContext::new(&described, InputStatistics::of_rows(&x)?, sick.root().unwrap()))?;
    let transform = || Box::new(Sgd::new(0.05)) as Box<dyn GradientTransform<f32>>;
    let tried = Trial::new(&data, &loss, &transform, 800).run(&described, &w, &fixes)?;
    assert_eq!((tried.best(), &fixes[0].change), (Some(0), &Change::LeaveOut(vec![40])), "{tried}");
    Ok(())
}

#[test]
fn labels_in_random_order_carry_no_information() -> Result<(), Error> {
    let (x, y) = data();
    let (network, loss) = (network()?, CrossEntropy::new());
    let noted = |y: &[usize]| -> Result<bool, Error> {
        let report = before(&network, &Dataset::rows(WIDTH, &x, Target::Classes(y))?, &loss)?;
        assert!(report.is_healthy(), "{report}");
        let of_labels = |finding: &chainrule::diagnosis::Finding| finding.cause == Cause::NoInformation;
        Ok(report.findings.iter().any(|finding| of_labels(finding) && finding.severity == Severity::Note))
    };
    assert!(!noted(&y)?);
    // Classes of equal means: whether two signs agree.
    let agree: Vec<usize> = x.chunks(WIDTH).map(|r| usize::from(r[0] * r[1] > 0.0)).collect();
    let two = Sequential::<f32>::input(2).linear(8).activation(Tanh).linear(2).build()?;
    let pairs: Vec<f32> = x.chunks(WIDTH).flat_map(|r| [r[0], r[1]]).collect();
    let report = before(&two, &Dataset::rows(2, &pairs, Target::Classes(&agree))?, &loss)?;
    assert!(report.findings.iter().all(|finding| finding.cause != Cause::NoInformation), "{report}");
    // By chance one permutation in twenty has a p-value below 0.05.
    let mut found = 0;
    for seed in 0..8 {
        let mut order: Vec<usize> = (0..SAMPLES).collect();
        shuffle(&mut order, seed, 0);
        found += usize::from(noted(&order.iter().map(|&sample| y[sample]).collect::<Vec<_>>())?);
    }
    assert!(found >= 6, "{found}");
    Ok(())
}

/// The slopes of Zhang, Botev & Martens 2022 for an η of 0.9.
#[test]
fn shaped_slope_is_that_of_the_paper() {
    for (depth, slope) in [(1, 0.0), (5, 0.0), (20, 0.181_380), (50, 0.430_523), (100, 0.570_440)] {
        assert!((shaped_slope(depth) - slope).abs() < 1e-6, "{depth}: {}", shaped_slope(depth));
    }
}

/// Of a shut gate the bias alone is accused: all weights live on.
#[test]
fn opened_gate_keeps_all_weights() -> Result<(), Error> {
    let bias = ByGate::new(Zeros).gate("output", Constant(-8.0));
    let network = Sequential::<f32>::input(2).layer(Recurrent::new(2, 6, Lstm::new()).bias(bias)).linear(2).build()?;
    let inputs = InputStatistics::new(1.0)?.steps(8)?;
    let report = Diagnosis::new(&network, inputs)?.span(2).report();
    assert_eq!(report.root().map(|root| root.cause), Some(Cause::ClosedOutputGate), "{report}");
    let (described, w) = (network.spec(), initialize(&network, 1)?);
    let fixes = suggest_fixes(&FixContext::new(&described, inputs, report.root().unwrap()).span(2))?;
    let fixed = fixes[0].apply(&described, &w, 2)?.expect("a change of the network");
    let open = Sequential::<f32>::input(2).layer(Recurrent::new(2, 6, Lstm::new()).bias(ByGate::new(Zeros)));
    assert!(fixed.parameters == initialize(&open.linear(2).build()?, 1)?, "{}", fixes[0]);
    Ok(())
}

/// No function of identical inputs beats a constant; one of which few are identical does.
#[test]
fn identical_inputs_with_other_targets_are_bad_data() -> Result<(), Error> {
    let (x, y) = data();
    let (network, loss) = (network()?, CrossEntropy::new());
    // The first rows are copies of row 0. The classes are those of the rows before.
    for (copies, severity) in [
        (SAMPLES, Some(Severity::Critical)),
        (SAMPLES - 4, Some(Severity::Critical)),
        (180, Some(Severity::Warning)),
        (100, Some(Severity::Warning)),
        (60, None),
    ] {
        let mut same = x.clone();
        (1..copies).for_each(|row| same.copy_within(0..WIDTH, row * WIDTH));
        let data = Dataset::rows(WIDTH, &same, Target::Classes(&y))?;
        let report = before(&network, &data, &loss)?;
        let found = report.findings.iter().find(|finding| finding.cause == Cause::BadData);
        assert_eq!(found.map(|found| found.severity), severity, "{copies}: {report}");
        let Some(found) = found else { continue };
        assert_eq!(found.samples, (0..copies).collect::<Vec<_>>(), "{report}");
        assert!(found.text.contains("samples 0, 1, 2") && found.sample.is_none(), "{report}");
        // The loss of each group at its best: the entropy of the classes of the copies; the other rows have none.
        let mut classes = [0.0; 4];
        y[..copies].iter().for_each(|&class| classes[class] += 1.0);
        let entropy = classes.map(|count: f64| -count / SAMPLES as f64 * (count / copies as f64).ln());
        let least: f64 = entropy.iter().sum();
        let told = found.because.rsplit(' ').nth(2).unwrap_or_default().parse::<f64>();
        assert!(told.is_ok_and(|told| (told - least).abs() < 0.02), "{least}: {found}");
    }
    // Identical inputs whose targets are equal tell them.
    let (mut same, mut classes) = (x.clone(), y.clone());
    (1..200).for_each(|row| same.copy_within(0..WIDTH, row * WIDTH));
    classes[..200].fill(y[0]);
    let report = before(&network, &Dataset::rows(WIDTH, &same, Target::Classes(&classes))?, &loss)?;
    assert!(report.is_healthy(), "{report}");
    Ok(())
}

/// Several rows far larger than the others, in the data and in a batch.
#[test]
fn several_wild_rows_are_named_and_left_out() -> Result<(), Error> {
    let (x, _) = data();
    let y: Vec<f32> = x.chunks(WIDTH).map(|row| row[0]).collect();
    let network = Sequential::<f32>::input(WIDTH).linear(24).activation(Relu).linear(1).build()?;
    let wild = |samples: &[usize], by: f32| {
        let mut x = x.clone();
        samples.iter().for_each(|&it| x[it * WIDTH..][..WIDTH].iter_mut().for_each(|x| *x *= by));
        x
    };
    let one = [17];
    let many: Vec<usize> = (3..SAMPLES).step_by(9).collect();
    for samples in [&one[..], &[5, 40, 200], &many] {
        let inputs = wild(samples, 3e4);
        let data = Dataset::rows(WIDTH, &inputs, Target::Values(&y))?;
        let report = before(&network, &data, &MeanSquaredError::new())?;
        let root = report.root().unwrap_or_else(|| panic!("{report}"));
        assert_eq!((root.cause, root.sample, &root.samples[..]), (Cause::BadData, samples.first().copied(), samples));
        let (described, of) = (network.spec(), InputStatistics::of_rows(&inputs)?);
        let fixes = suggest_fixes(&FixContext::new(&described, of, root))?;
        assert_eq!(fixes[0].change, Change::LeaveOut(samples.to_vec()), "{report}");
        // A check knows the batch alone.
        let check = first_check(&network, &inputs, BatchShape::batch(SAMPLES), None, 0)?;
        let root = check.root().unwrap_or_else(|| panic!("{check}"));
        assert!(root.cause == Cause::BadData && root.samples.is_empty(), "{check}");
        assert!(root.text.starts_with(if samples.len() == 1 { "row 17 is far" } else { "rows " }), "{check}");
        assert!(samples.iter().take(2).all(|it| root.text.contains(&format!("{it}"))), "{check}");
        // A trial finds the samples in its own data.
        let fixes = suggest_fixes(&FixContext::new(&described, of, root))?;
        assert_eq!(fixes[0].change, Change::FitLeaveOut, "{check}");
        let (loss, w) = (MeanSquaredError::new(), initialize(&network, 0)?);
        let transform = || Box::new(Sgd::new(0.05)) as Box<dyn GradientTransform<f32>>;
        let trial = Trial::new(&data, &loss, &transform, 400);
        let tried = trial.run(&described, &w, &fixes)?;
        assert_eq!(tried.best(), Some(0), "{tried}");
        let run = trial.apply(&described, &w, &fixes[0], TrainConfig::default())?;
        assert_eq!(run.data.samples(), SAMPLES - samples.len());
    }
    // Rows that are larger, but not so that the gradient is theirs, and many rows, are none of it.
    let half: Vec<usize> = (0..SAMPLES / 2).collect();
    for (samples, by) in [(&[5, 40, 200][..], 8.0), (&half, 30.0)] {
        let inputs = wild(samples, by);
        let check = first_check(&network, &inputs, BatchShape::batch(SAMPLES), None, 0)?;
        let data = Dataset::rows(WIDTH, &inputs, Target::Values(&y))?;
        for report in [check, before(&network, &data, &MeanSquaredError::new())?] {
            assert!(report.faults().all(|fault| fault.cause != Cause::BadData), "{report}");
        }
    }
    Ok(())
}

/// Targets of a range, or with weights, are not standardized.
#[test]
fn targets_that_a_loss_takes_in_a_range_are_examined() -> Result<(), Error> {
    let (x, y) = data();
    let network = Sequential::<f32>::input(WIDTH).linear(8).activation(Tanh).linear(1).build()?;
    let of_two: Vec<f32> = y.iter().map(|&class| (class % 2) as f32).collect();
    let weighted: Vec<f32> = of_two.iter().enumerate().flat_map(|(i, &y)| [y, (i % 3) as f32]).collect();
    let (entropy, squares) = (BinaryCrossEntropy::new(), ValueWeights::new(MeanSquaredError::new()));
    for (loss, targets) in [(&entropy as &dyn Loss<f32>, &of_two), (&squares, &weighted)] {
        let data = Dataset::rows(WIDTH, &x, Target::Values(targets))?;
        let w = initialize(&network, 1)?;
        Diagnosis::new(&network, InputStatistics::of_rows(&x)?)?.task(&w, &data, loss)?;
    }
    Ok(())
}

/// Normal rows of `width` columns.
fn normal_rows(seed: u64, width: usize) -> Vec<f32> {
    let (mut rng, mut normals) = (generator(seed), Normals::new());
    (0..SAMPLES * width).map(|_| normals.next(&mut rng) as f32).collect()
}

/// One value in a wide row hardly changes the size of the row. Row and column are named nevertheless, in data and in a
/// batch.
#[test]
fn wild_value_of_a_wide_row_is_found_with_its_column() -> Result<(), Error> {
    let width = 512;
    let network = Sequential::<f32>::input(width).linear(8).activation(Tanh).linear(1).build()?;
    for (seed, sample, column, value) in [(1, 17, 300, 150.0), (2, 0, 0, -1e4), (3, 255, 511, 1e7)] {
        let mut x = normal_rows(seed, width);
        let y: Vec<f32> = x.chunks(width).map(|row| row[1]).collect();
        x[sample * width + column] = value;
        let report = before(&network, &Dataset::rows(width, &x, Target::Values(&y))?, &MeanSquaredError::new())?;
        let found = report.findings.iter().find(|finding| finding.cause == Cause::BadData);
        let found = found.unwrap_or_else(|| panic!("{report}"));
        assert_eq!(found.samples, [sample], "{report}");
        let told = format!("sample {sample} has a value far larger than the others: ");
        assert!(found.text.starts_with(&told) && found.text.contains(&format!(" in column {column} of ")), "{report}");
        let check = first_check(&network, &x, BatchShape::batch(SAMPLES), None, 0)?;
        assert!(format!("{check}").contains(&format!(" in column {column} of the inputs")), "{check}");
        // A value of the size of its neighbours, or a row that is larger as a whole, is none.
        x[sample * width + column] = 3.0;
        x[sample * width..][..width].iter_mut().for_each(|x| *x *= 200.0);
        let report = before(&network, &Dataset::rows(width, &x, Target::Values(&y))?, &MeanSquaredError::new())?;
        assert!(format!("{report}").contains(&format!("sample {sample} is far larger")), "{report}");
    }
    let x = normal_rows(4, width);
    let y: Vec<f32> = x.chunks(width).map(|row| row[1]).collect();
    let report = before(&network, &Dataset::rows(width, &x, Target::Values(&y))?, &MeanSquaredError::new())?;
    assert!(report.findings.is_empty(), "{report}");
    Ok(())
}

/// Inputs that are accused are told by column: the large ones by name, with their size.
#[test]
fn inputs_out_of_scale_name_their_columns() -> Result<(), Error> {
    let (mut x, y) = data();
    x.chunks_mut(WIDTH).for_each(|row| row[5] *= 1e3);
    let size = (x.iter().skip(5).step_by(WIDTH).map(|x| x * x).sum::<f32>() / SAMPLES as f32).sqrt();
    let (data, network) = (Dataset::rows(WIDTH, &x, Target::Classes(&y))?, network()?);
    let report = before(&network, &data, &CrossEntropy::new())?;
    assert_eq!(root(&report), (Cause::UnscaledInput, "0"), "{report}");
    let text = &report.root().unwrap().text;
    assert!(text.contains(&format!("column 5 has a root mean square of {size:.0}, and the median column ")), "{text}");
    x.iter_mut().enumerate().for_each(|(i, x)| *x *= if i % WIDTH == 5 { 0.1 } else { 100.0 });
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let report = before(&network, &data, &CrossEntropy::new())?;
    assert!(
        report.root().is_some_and(|root| root.text.contains("the 8 columns have root mean squares from ")),
        "{report}"
    );
    // The columns of a batch, and others of several.
    x.chunks_mut(WIDTH).for_each(|row| (row[1], row[6]) = (50.0 * row[1], 50.0 * row[6]));
    let check = first_check(&network, &x, BatchShape::batch(SAMPLES), None, 0)?;
    let text = &check.root().unwrap_or_else(|| panic!("{check}")).text;
    assert!(text.contains("columns 1 and 6 have root mean squares of up to "), "{check}");
    Ok(())
}

/// Columns of which few make the first pre-activations: a note, and a fault where the answer lies in the others.
#[test]
fn few_columns_that_hide_the_others_are_unscaled_input() -> Result<(), Error> {
    let small = |x: &mut [f32], by: f32| {
        x.iter_mut().enumerate().for_each(|(i, x)| *x *= if i % WIDTH == 6 { 1.0 } else { by });
    };
    let ((mut x, y), loss) = (data(), CrossEntropy::new());
    small(&mut x, 1e-3);
    let (data, plain) = (Dataset::rows(WIDTH, &x, Target::Classes(&y))?, network()?);
    let of = |report: &Report| report.findings.iter().find(|it| it.cause == Cause::UnscaledInput).map(|it| it.severity);
    let forecast = before(&plain, &data, &loss)?;
    assert!(forecast.is_healthy() && of(&forecast) == Some(Severity::Note), "{forecast}");
    let sick = after(&plain, &data, &loss, Sgd::new(0.1), [60, 32], false)?;
    assert_eq!(root(&sick), (Cause::UnscaledInput, "0"), "{sick}");
    assert!(sick.root().unwrap().text.starts_with("column 6 of the inputs makes all but "), "{sick}");
    let (described, inputs) = (plain.spec(), InputStatistics::of_rows(&x)?);
    let context = FixContext::new(&described, inputs, sick.root().unwrap());
    let fixes = suggest_fixes(&context.columns(chainrule::dataset::Standardize::fit(&data)?))?;
    assert!(matches!(fixes[0].change, Change::Standardize(_)), "{fixes:?}");
    // An answer that lies in the one column is learned.
    let of_one: Vec<usize> = x.chunks(WIDTH).map(|row| usize::from(row[6] > 0.0)).collect();
    let learned = Dataset::rows(WIDTH, &x, Target::Classes(&of_one))?;
    let healthy = after(&plain, &learned, &loss, Sgd::new(0.3), [100, 32], false)?;
    assert!(healthy.is_healthy(), "{healthy}");
    // A norm over the batch makes up for it, and so do the first weights.
    let normed = Sequential::<f32>::input(WIDTH).batch_norm().linear(24).activation(Tanh).linear(4).build()?;
    let report = before(&normed, &data, &loss)?;
    assert!(of(&report).is_none(), "{report}");
    let mut w: Vec<f32> = initialize(&plain, 0)?;
    w[..24 * WIDTH].iter_mut().enumerate().for_each(|(i, w)| *w *= if i % WIDTH == 6 { 1.0 } else { 1e3 });
    let given = Diagnosis::new(&plain, inputs)?.task(&w, &data, &loss)?.report();
    assert!(of(&given).is_none(), "{given}");
    Ok(())
}

/// A class of all samples is a fact of the data: a contrastive loss has it by design, so it is a note.
#[test]
fn equal_targets_are_a_note() -> Result<(), Error> {
    let network = Sequential::<f32>::input(2).linear(4).tanh().linear(2).build()?;
    let x = normal(80, 3);
    let note = |data: &Dataset<'_, f32>, loss: &dyn Loss<f32>| -> Result<Option<String>, Error> {
        let report = before(&network, data, loss)?;
        let mut found = report.findings.iter().filter(|finding| finding.cause == Cause::NoInformation);
        Ok(found.next().filter(|note| note.severity == Severity::Note).map(|note| note.text.clone()))
    };
    let same = note(&Dataset::rows(2, &x, Target::Classes(&[1; 40]))?, &CrossEntropy::new())?;
    assert!(same.is_some_and(|text| text.contains("all targets are the same")));
    let same = note(&Dataset::rows(2, &x, Target::Values(&[0.5; 80]))?, &MeanSquaredError::new())?;
    assert!(same.is_some_and(|text| text.contains("all targets are the same")));
    let mut classes = [1; 40];
    classes[39] = 0;
    let other = note(&Dataset::rows(2, &x, Target::Classes(&classes))?, &CrossEntropy::new())?;
    assert!(other.is_none_or(|text| !text.contains("all targets are the same")));
    Ok(())
}

/// The gradient of weights is a product with their inputs: of inputs of 0 nothing is learned but biases.
#[test]
fn inputs_of_zero_are_named() -> Result<(), Error> {
    let network = Sequential::<f64>::input(2).linear(4).tanh().linear(2).build()?;
    let named = |report: &Report, severity| {
        report.findings.iter().any(|it| it.severity == severity && it.text.contains("all inputs are 0"))
    };
    let report = first_check(&network, &[0.0; 8], BatchShape::batch(4), None, 1)?;
    assert!(named(&report, Severity::Warning) && !report.is_healthy(), "{report}");
    let report = Diagnosis::new(&network, InputStatistics::new(0.0)?)?.report();
    assert!(named(&report, Severity::Warning), "{report}");
    let mut one = [0.0; 8];
    one[7] = 1.0;
    let report = first_check(&network, &one, BatchShape::batch(4), None, 1)?;
    assert!(!report.findings.iter().any(|it| it.text.contains("all inputs are 0")), "{report}");
    // A recurrent network may run by itself.
    let recurrent = Sequential::<f64>::input(2).lstm(4).linear(2).build()?;
    let report = Diagnosis::new(&recurrent, InputStatistics::new(0.0)?.steps(4)?)?.report();
    assert!(named(&report, Severity::Note), "{report}");
    Ok(())
}

/// The error is that of a trainer, which names both widths.
#[test]
fn data_of_another_width_than_the_network_is_named() -> Result<(), Error> {
    let network = Sequential::<f32>::input(2).linear(2).build()?;
    let x = normal(12, 3);
    let error = before(&network, &Dataset::rows(1, &x, Target::Classes(&[1; 12]))?, &CrossEntropy::new()).unwrap_err();
    assert!(matches!(error, Error::InvalidData(DataRule::Width { expected: 2, found: 1 })), "{error}");
    assert!(matches!(InputStatistics::of_samples(0, &[1.0]), Err(Error::Parameter { .. })));
    Ok(())
}
