//! Healthy runs that look like sick ones, each beside the sick one that it must not hide.

use crate::numbers::normals;
use chainrule::{
    BatchShape, Blocks, Error, Layer,
    activation::{HardTanh, Relu, Sigmoid, Tanh},
    dataset::{Batch, Dataset},
    diagnosis::{
        Cause, Diagnosis, FixContext, Report, Severity, Trial, check_parameters,
        fix::{CriticalInitialization, FixStrategy},
        suggest_fixes,
    },
    initializer::{Constant, He, LeCun, Zeros},
    layer::{BranchScale, Embedding, LayerNorm, Linear, Residual, Sequential, initialize},
    loss::{CrossEntropy, Loss, MeanSquaredError, PoissonNll, Target},
    monitor::{Event, GradientMonitor, Statistics},
    recurrent::{Lstm, Recurrent},
    theory::InputStatistics,
    trainer::{TrainConfig, Trainer},
    transform::{Adam, GradientTransform, Sgd},
};

pub(crate) const WIDTH: usize = 16;

pub(crate) fn normal(count: usize) -> Vec<f32> {
    normals(count, 11)
}

pub(crate) fn above_a_note(report: &Report, cause: Cause) -> bool {
    report.findings.iter().any(|it| it.cause == cause && it.severity > Severity::Note)
}

/// A run of `steps` steps on 256 samples, then the report with all measurements.
pub(crate) fn run<L: Layer<f32>>(
    network: &L,
    data: &Dataset<'_, f32>,
    loss: &dyn Loss<f32>,
    transform: impl GradientTransform<f32>,
    steps: usize,
    change: impl FnOnce(&mut [f32], &Blocks),
) -> Result<Report, Error> {
    run_with(network, data, loss, transform, steps, change, |diagnosis| diagnosis)
}

/// A [`run`] whose diagnosis knows what `add` adds to it.
pub(crate) fn run_with<L: Layer<f32>>(
    network: &L,
    data: &Dataset<'_, f32>,
    loss: &dyn Loss<f32>,
    transform: impl GradientTransform<f32>,
    steps: usize,
    change: impl FnOnce(&mut [f32], &Blocks),
    add: impl for<'a> FnOnce(Diagnosis<'a>) -> Diagnosis<'a>,
) -> Result<Report, Error> {
    let mut trainer = Trainer::new(network, loss, transform, TrainConfig::default())?;
    let blocks = trainer.workspace().blocks().clone();
    change(trainer.parameters_mut(), &blocks);
    let (mut seen, mut batch) = (Statistics::new(), Batch::new(data, 32));
    for step in 0..steps {
        let samples: Vec<usize> = (0..32).map(|i| (step * 32 + i) % data.samples()).collect();
        match trainer.step(data, &mut batch, &samples, &mut seen) {
            Err(_) if step > 0 => break,
            other => other.map(drop)?,
        }
    }
    let inputs = InputStatistics::of_rows(data.inputs())?.steps(data.steps())?;
    let w = trainer.parameters();
    let diagnosis = add(Diagnosis::new(network, inputs)?).task(w, data, loss)?;
    let shape = BatchShape::sequences(32, data.steps());
    let diagnosis = diagnosis.interventions(w, &data.inputs()[..shape.rows() * data.width()], shape)?;
    Ok(diagnosis.statistics(&seen).report())
}

pub(crate) fn signs(x: &[f32]) -> Vec<usize> {
    x.chunks(WIDTH).map(|row| usize::from(row[0] > 0.0)).collect()
}

pub(crate) fn checked(network: &Sequential<f32>, x: &[f32], shape: BatchShape<'_>) -> Result<Report, Error> {
    check_parameters(network, &initialize(network, 1)?, x, shape, None)
}

/// A norm after the first weights, or before a recurrent layer, divides by the size of the inputs: weights and course
/// are those of inputs of size 1.
#[test]
fn norm_makes_the_size_of_inputs_harmless() -> Result<(), Error> {
    let x: Vec<f32> = normal(64 * WIDTH).iter().map(|x| 100.0 * x).collect();
    let layers = |norm: bool| {
        let first = Sequential::<f32>::input(WIDTH).linear(32);
        let first = if norm { first.layer(LayerNorm::new(32)) } else { first };
        first.activation(Relu).linear(2).build()
    };
    let [plain, normed] = [layers(false)?, layers(true)?];
    let [plain, normed] = [&plain, &normed].map(|network| checked(network, &x, BatchShape::batch(64)));
    assert!(above_a_note(&plain?, Cause::UnscaledInput));
    let normed = normed?;
    assert!(normed.is_healthy(), "{normed}");
    let cells = |norm: bool| {
        let first = Sequential::<f32>::input(4);
        let first = if norm { first.layer(LayerNorm::new(4)) } else { first };
        first.lstm(8).last_step().linear(2).build()
    };
    let [plain, normed] = [cells(false)?, cells(true)?];
    let shape = BatchShape::sequences(16, 16);
    let [plain, normed] = [&plain, &normed].map(|network| checked(network, &x, shape));
    assert!(above_a_note(&plain?, Cause::UnscaledInput));
    let normed = normed?;
    assert!(!above_a_note(&normed, Cause::UnscaledInput), "{normed}");
    Ok(())
}

/// Sparse inputs have the size of the values that are there.
#[test]
fn sparse_inputs_are_not_small() -> Result<(), Error> {
    let (columns, rows) = (20_000, 16);
    let mut x = vec![0.0_f32; columns * rows];
    (0..rows).for_each(|row| x[row * columns + 37 * row] = 1.0);
    let network = Sequential::<f32>::input(columns).layer(Linear::new(columns, 4).weights(LeCun::normal())).build()?;
    let report = checked(&network, &x, BatchShape::batch(rows))?;
    assert!(!above_a_note(&report, Cause::UnscaledInput), "{report}");
    let small: Vec<f32> = normal(64 * WIDTH).iter().map(|x| 1e-3 * x).collect();
    let network = Sequential::<f32>::input(WIDTH).linear(8).activation(Relu).linear(2).build()?;
    assert!(above_a_note(&checked(&network, &small, BatchShape::batch(64))?, Cause::UnscaledInput));
    Ok(())
}

/// Equal rows of outputs of classes not seen yet are no copies, nor are rows of a table for words not seen yet. Equal
/// units of a hidden layer or of a cell are.
#[test]
fn rows_without_an_example_are_no_copies() -> Result<(), Error> {
    let (x, classes) = (normal(64 * WIDTH), 200);
    let y: Vec<usize> = (0..64).map(|sample| sample % 5).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let network = |hidden: Linear| {
        let first = Sequential::<f32>::input(WIDTH).layer(hidden).activation(Tanh);
        first.layer(Linear::new(32, classes).weights(Zeros)).build()
    };
    let copies = |report: &Report| [Cause::DuplicatedUnits, Cause::ConstantWeights].map(|it| above_a_note(report, it));
    let healthy = network(Linear::new(WIDTH, 32))?;
    let report = run(&healthy, &data, &CrossEntropy::new(), Sgd::new(0.1), 6, |_, _| {})?;
    assert_eq!(copies(&report), [false; 2], "{report}");
    let constant = network(Linear::new(WIDTH, 32).weights(Constant(0.05)))?;
    let report = run(&constant, &data, &CrossEntropy::new(), Sgd::new(0.1), 6, |_, _| {})?;
    assert_eq!(copies(&report), [false, true], "{report}");
    let words: Vec<f32> = (0..64).map(|word| (word % 7) as f32).collect();
    let data = Dataset::rows(1, &words, Target::Classes(&y))?;
    let table = Embedding::new(1000, 8).weights(Zeros);
    let network = Sequential::<f32>::input(1).layer(table).linear(5).build()?;
    let report = run(&network, &data, &CrossEntropy::new(), Sgd::new(0.1), 6, |_, _| {})?;
    assert_eq!(copies(&report), [false; 2], "{report}");
    let sequences = Dataset::sequences(4, 4, &x, Target::Classes(&y))?;
    let cell = Recurrent::new(4, 12, Lstm::default()).weights(Constant(0.1)).recurrent(Constant(0.1));
    let network = Sequential::<f32>::input(4).layer(cell).last_step().layer(Linear::new(12, 5).weights(Constant(0.1)));
    let report = run(&network.build()?, &sequences, &CrossEntropy::new(), Sgd::new(0.1), 6, |_, _| {})?;
    assert!(copies(&report).contains(&true), "{report}");
    Ok(())
}

/// One example whose units are all off is no dead layer; many are.
#[test]
fn one_example_does_not_show_a_dead_layer() -> Result<(), Error> {
    let narrow = |rows: usize| -> Result<bool, Error> {
        let network = Sequential::<f32>::input(2).linear(2).activation(Relu).linear(1).build()?;
        let mut w = initialize(&network, 1)?;
        w[..4].copy_from_slice(&[1.0, 0.0, 0.0, 1.0]);
        let x = vec![-1.0; 2 * rows];
        let report = check_parameters(&network, &w, &x, BatchShape::batch(rows), None)?;
        Ok(above_a_note(&report, Cause::DeadUnits))
    };
    assert_eq!([narrow(1)?, narrow(32)?], [false, true]);
    Ok(())
}

/// A loss with a floor, as of smoothed labels, falls from there: bounds of the outputs and the course are measured from
/// it. Outputs that reach the floor are not squashed.
#[test]
fn loss_is_measured_from_its_floor() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let largest = |row: &[f32]| (0..10).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
    let y: Vec<usize> = x.chunks(WIDTH).map(largest).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let network = |limit: f64| {
        let layers = Sequential::<f32>::input(WIDTH).linear(32).activation(Tanh).linear(10);
        layers.activation(HardTanh::new(-limit, limit)?).build()
    };
    let loss = CrossEntropy::new().label_smoothing(0.3)?;
    let squashed = |limit| -> Result<bool, Error> {
        let network = network(limit)?;
        let w = initialize(&network, 1)?;
        let inputs = InputStatistics::of_rows(&x)?;
        Ok(above_a_note(&Diagnosis::new(&network, inputs)?.task(&w, &data, &loss)?.report(), Cause::SquashedOutputs))
    };
    assert_eq!([squashed(8.0)?, squashed(0.2)?], [false, true]);
    Ok(())
}

/// A loss below 0 has a scale too: that between constant outputs and the best of all.
#[test]
fn loss_below_zero_can_show_that_nothing_is_learned() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let counts: Vec<f32> = x.chunks(WIDTH).map(|row| (5.0 * (0.8 * row[0]).exp()).round()).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Values(&counts))?;
    let network = Sequential::<f32>::input(WIDTH).linear(32).activation(Tanh).linear(1).build()?;
    let bias = |w: &mut [f32], blocks: &Blocks| w[blocks.get("2.bias").unwrap().range.clone()].fill(1.8);
    let report = |rate| run(&network, &data, &PoissonNll::new(), Adam::new(rate), 200, bias);
    let [slow, usual] = [report(1e-8)?, report(3e-3)?];
    assert!(above_a_note(&slow, Cause::LearningRateTooLow), "{slow}");
    assert!(usual.is_healthy(), "{usual}");
    Ok(())
}

/// Outputs that have learned the mean of their targets are near each of them, and have learned nothing.
#[test]
fn outputs_near_a_common_mean_are_not_fitted() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let far: Vec<f32> = x.chunks(WIDTH).map(|row| 290.0 + 10.0 * row[0]).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Values(&far))?;
    let network = Sequential::<f32>::input(WIDTH).linear(16).activation(Tanh).linear(1).build()?;
    let bias = |w: &mut [f32], blocks: &Blocks| w[blocks.get("2.bias").unwrap().range.clone()].fill(290.0);
    let report = run(&network, &data, &MeanSquaredError::new(), Sgd::new(1e-9), 60, bias)?;
    assert!(!report.is_healthy(), "{report}");
    Ok(())
}

/// Outputs with a bound on one side are squashed if the targets lie beyond it.
#[test]
fn outputs_can_be_squashed_on_one_side() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let network = Sequential::<f32>::input(WIDTH).linear(16).activation(Tanh).linear(1).activation(Relu).build()?;
    let (w, inputs) = (initialize(&network, 1)?, InputStatistics::of_rows(&x)?);
    for (shift, expected) in [(0.0, true), (6.0, false)] {
        let y: Vec<f32> = x.chunks(WIDTH).map(|row| row[0] + shift).collect();
        let data = Dataset::rows(WIDTH, &x, Target::Values(&y))?;
        let report = Diagnosis::new(&network, inputs)?.task(&w, &data, &MeanSquaredError::new())?.report();
        assert_eq!(above_a_note(&report, Cause::SquashedOutputs), expected, "{report}");
    }
    Ok(())
}

/// A large input that does no harm does not hide a wild target.
#[test]
fn harmless_large_input_does_not_hide_a_wild_target() -> Result<(), Error> {
    let mut x = normal(256 * WIDTH);
    x[7 * WIDTH..8 * WIDTH].iter_mut().for_each(|x| *x *= 10.0);
    let mut y: Vec<f32> = x.chunks(WIDTH).map(|row| row[0].clamp(-3.0, 3.0)).collect();
    y[40] = 1e5;
    let data = Dataset::rows(WIDTH, &x, Target::Values(&y))?;
    let network = Sequential::<f32>::input(WIDTH).linear(16).activation(Tanh).linear(1).build()?;
    let (w, inputs) = (initialize(&network, 1)?, InputStatistics::of_rows(&x)?);
    let report = Diagnosis::new(&network, inputs)?.task(&w, &data, &MeanSquaredError::new())?.report();
    let bad = report.findings.iter().find(|it| it.cause == Cause::BadData && it.severity > Severity::Note);
    assert_eq!(bad.map(|it| &it.samples[..]), Some(&[40][..]), "{report}");
    Ok(())
}

/// Inputs of few values repeat: then noise of the targets sets the lowest loss. One row that replaces most others is
/// bad data.
#[test]
fn repeated_settings_are_not_bad_data() -> Result<(), Error> {
    let noise = normal(256);
    for discrete in [true, false] {
        let flags = |sample: usize| if sample % 10 < 6 { 0 } else { 1 + sample % 7 };
        let fresh = normal(256 * 3);
        let x: Vec<f32> = (0..256)
            .flat_map(|sample| match flags(sample) {
                // A row of zeros may be an empty one of a sparse table.
                0 => [if discrete { 0.0 } else { 0.4 }; 3],
                _ if !discrete => [0, 1, 2].map(|bit| fresh[3 * sample + bit]),
                flags => [0, 1, 2].map(|bit| (flags >> bit & 1) as f32),
            })
            .collect();
        let y: Vec<f32> = x.chunks(3).zip(&noise).map(|(row, noise)| 0.5 * row.iter().sum::<f32>() + noise).collect();
        let data = Dataset::rows(3, &x, Target::Values(&y))?;
        let network = Sequential::<f32>::input(3).linear(16).activation(Tanh).linear(1).build()?;
        let (w, inputs) = (initialize(&network, 1)?, InputStatistics::of_rows(&x)?);
        let report = Diagnosis::new(&network, inputs)?.task(&w, &data, &MeanSquaredError::new())?.report();
        assert_eq!(above_a_note(&report, Cause::BadData), !discrete, "{report}");
    }
    Ok(())
}

/// A value that was not finite, and that a guard skipped, is a note once the run has gone on.
#[test]
fn skipped_overflow_is_a_note() {
    let network = Sequential::<f32>::input(2).linear(2).build().unwrap();
    let blocks = Blocks::collect(|visit| Layer::<f32>::blocks(&network, visit));
    let w = initialize(&network, 1).unwrap();
    let mut severities = Vec::new();
    for recovers in [true, false] {
        let mut seen = Statistics::new();
        for step in 0..30 {
            let value = if step == 3 || step > 3 && !recovers { f32::INFINITY } else { 0.1 };
            GradientMonitor::<f32>::begin_pass(&mut seen);
            seen.event(&Event::Gradient { blocks: &blocks, w: &w, dw: &vec![value; w.len()] });
            GradientMonitor::<f32>::event(&mut seen, &Event::Loss(if value.is_finite() { 1.0 } else { f64::INFINITY }));
            if value.is_finite() {
                seen.event(&Event::Update { blocks: &blocks, w: &w, update: &vec![-0.01; w.len()] });
            }
        }
        let report = Diagnosis::new(&network, InputStatistics::new(1.0).unwrap()).unwrap().statistics(&seen).report();
        severities.extend(report.findings.iter().find(|it| it.cause == Cause::Overflow).map(|it| it.severity));
    }
    assert_eq!(severities, [Severity::Note, Severity::Critical]);
}

/// What stood before the first step is not made by the steps: of a run that diverged the first pass shows the cause.
/// Initial values take the place of parameters that are not finite, in examinations and in trials.
#[test]
fn diverged_run_is_diagnosed_by_its_first_pass() -> Result<(), Error> {
    let (x, mut builder) = (normal(256 * WIDTH), Sequential::<f32>::input(WIDTH));
    for _ in 0..16 {
        let first = Linear::new(WIDTH, WIDTH).weights(He::normal());
        let branch = Sequential::<f32>::input(WIDTH).layer(first).activation(Relu);
        let branch = branch.layer(Linear::new(WIDTH, WIDTH).weights(LeCun::normal())).build()?;
        builder = builder.layer(Residual::new(branch)?.scale(BranchScale::Fixed(3.0))?);
    }
    let network = builder.linear(2).build()?;
    let y = signs(&x);
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let report = run(&network, &data, &CrossEntropy::new(), Sgd::new(0.05), 40, |_, _| {})?;
    let root = report.root().unwrap();
    assert_eq!(root.cause, Cause::LoudBranches, "{report}");
    let (spec, loss) = (Layer::<f32>::spec(&network), CrossEntropy::new());
    let fixes = suggest_fixes(&FixContext::new(&spec, InputStatistics::of_rows(&x)?, root))?;
    let transform = || Box::new(Sgd::new(0.05)) as Box<dyn GradientTransform<f32>>;
    let broken = vec![f32::NAN; Layer::<f32>::dims(&network).parameters];
    let tried = Trial::new(&data, &loss, &transform, 400).run(&spec, &broken, &fixes)?;
    assert!(tried.best().is_some(), "{tried}");
    assert!(tried.outcomes.iter().any(|it| it.losses.iter().all(|loss| loss.is_finite())), "{tried}");
    Ok(())
}

/// Weights of sigmoid outputs do not keep the hidden layers from critical initial weights.
#[test]
fn activation_of_outputs_does_not_forbid_critical_weights() -> Result<(), Error> {
    let of = |hidden: bool| {
        let first = Sequential::<f32>::input(WIDTH).linear(WIDTH);
        let first = if hidden { first.activation(Sigmoid) } else { first.activation(Tanh) };
        first.linear(4).activation(Sigmoid).build()
    };
    let x = normal(64 * WIDTH);
    let (network, zero) = (of(false)?, |network: &Sequential<f32>| vec![0.0; Layer::<f32>::dims(network).parameters]);
    let report = check_parameters(&network, &zero(&network), &x, BatchShape::batch(64), None)?;
    let finding = report.root().unwrap();
    assert_eq!(finding.cause, Cause::ConstantWeights, "{report}");
    for (hidden, expected) in [(false, true), (true, false)] {
        let spec = Layer::<f32>::spec(&of(hidden)?);
        let context = FixContext::new(&spec, InputStatistics::new(1.0)?, finding);
        let fix = CriticalInitialization { orthogonal: true }.propose(&context)?;
        assert_eq!(fix.is_some(), expected, "{hidden}");
    }
    Ok(())
}

/// A rate of 0 for all blocks is no frozen block.
#[test]
fn rate_of_zero_for_all_blocks_is_a_rate() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y = signs(&x);
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let network = Sequential::<f32>::input(WIDTH).linear(16).activation(Tanh).linear(2).build()?;
    let report = run(&network, &data, &CrossEntropy::new(), Sgd::new(1e-30), 40, |_, _| {})?;
    assert_eq!(report.root().map(|it| it.cause), Some(Cause::LearningRateTooLow), "{report}");
    Ok(())
}

/// A fix for steps that left nothing learned starts from initial values, in `Fix::apply` and in a trial.
#[test]
fn shorter_steps_do_not_go_on_from_wrecked_parameters() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y = signs(&x);
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let tanh = || Linear::new(WIDTH, WIDTH).weights(LeCun::normal());
    let network = Sequential::<f32>::input(WIDTH).layer(tanh()).activation(Tanh).layer(tanh()).activation(Tanh);
    let network = network.linear(2).build()?;
    let report = run(&network, &data, &CrossEntropy::new(), Sgd::new(100.0), 60, |_, _| {})?;
    let root = report.root().unwrap();
    assert_eq!(root.cause, Cause::LearningRateTooHigh, "{report}");
    assert!(root.needs_restart, "{report}");
    let spec = Layer::<f32>::spec(&network);
    let fixes = suggest_fixes(&FixContext::new(&spec, InputStatistics::of_rows(&x)?, root))?;
    let shorter = fixes.iter().find(|fix| fix.name == "shorter steps").unwrap();
    let wrecked = vec![1e4_f32; Layer::<f32>::dims(&network).parameters];
    let fixed = shorter.apply(&spec, &wrecked, 1)?.unwrap();
    assert_eq!(fixed.parameters, initialize(&network, 1)?);
    assert!(fixed.survivors.is_empty());
    Ok(())
}
