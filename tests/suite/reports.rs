//! Reports as text: each cause with what is wrong, why, what would refute it, and the fix, in words that are explained.

use crate::{diagnosis::Root, fixtures::normal};
use chainrule::{
    Activation, BatchShape, Blocks, Error, Layer,
    activation::{Relu, Sigmoid, Tanh},
    dataset::{Batch, Dataset},
    diagnosis::{Alteration, Cause, Diagnosis, FixContext, Report, Severity, Trial, fix, suggest_fixes},
    initializer::{ByGate, Constant, He, LeCun, Orthogonal, Zeros},
    layer::{BranchScale, Dropout, Linear, Residual, Sequential, Softmax, initialize},
    loss::{CrossEntropy, Loss, MeanSquaredError, NegativeLogLikelihood, Target},
    monitor::{Event, GradientMonitor, Statistics},
    recurrent::{Elman, Gru, Lstm, Recurrent},
    theory::InputStatistics,
    trainer::{FitOptions, TrainConfig, Trainer},
    transform::{AdamW, ClipNorm, GradientTransform, Outcome, ParameterGroups, Sgd, SkipNonFinite, Update},
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

const WIDTH: usize = 8;
const SAMPLES: usize = 128;

type Builder = chainrule::network::Builder<f32>;
/// The value of a parameter, by its place in its block and its value before.
type Changed = fn(usize, f32) -> f32;

/// A run with one fault.
struct Run {
    network: Sequential<f32>,
    x: Vec<f32>,
    /// Classes, or one value for each sample.
    classes: Vec<usize>,
    values: Option<Vec<f32>>,
    /// A squared error of values, a cross-entropy of classes, if it is `None`.
    loss: Option<Box<dyn Loss<f32>>>,
    sequence: usize,
    span: usize,
    transform: Box<dyn GradientTransform<f32>>,
    steps: usize,
    /// Blocks, and what their values become.
    changes: Vec<(&'static str, Changed)>,
}

impl Run {
    fn of(network: Result<Sequential<f32>, Error>) -> Self {
        let x = normal(SAMPLES * WIDTH, 5);
        let sign = |row: &[f32]| usize::from(row[0] + row[1] > 0.0);
        Run {
            network: network.unwrap(),
            classes: x.chunks(WIDTH).map(sign).collect(),
            x,
            values: None,
            loss: None,
            sequence: 1,
            span: 1,
            transform: Box::new(Sgd::new(0.01)),
            steps: 1,
            changes: Vec::new(),
        }
    }

    fn by(self, transform: impl GradientTransform<f32> + 'static, steps: usize) -> Self {
        Run { transform: Box::new(transform), steps, ..self }
    }

    fn with(mut self, block: &'static str, change: Changed) -> Self {
        self.changes.push((block, change));
        self
    }

    fn over_time(self, span: usize) -> Self {
        Run { sequence: WIDTH, span, ..self }
    }

    /// The report at the end, with everything that can be known; at the first parameters for no steps.
    fn report(self) -> Result<Report, Error> {
        let target = self.values.as_ref().map_or(Target::Classes(&self.classes), |values| Target::Values(values));
        let data = Dataset::sequences(WIDTH / self.sequence, self.sequence, &self.x, target)?;
        let loss: Box<dyn Loss<f32>> = match (self.loss, &self.values) {
            (Some(loss), _) => loss,
            (None, Some(_)) => Box::new(MeanSquaredError::new()),
            (None, None) => Box::new(CrossEntropy::new()),
        };
        let mut trainer = Trainer::new(&self.network, &*loss, self.transform, TrainConfig::default())?;
        let blocks = trainer.workspace().blocks().clone();
        for (name, change) in self.changes {
            let block = &mut trainer.parameters_mut()[blocks.get(name)?.range.clone()];
            block.iter_mut().enumerate().for_each(|(i, w)| *w = change(i, *w));
        }
        let (mut seen, mut batch) = (Statistics::new(), Batch::new(&data, 32));
        for step in 0..self.steps {
            let samples: Vec<usize> = (0..32).map(|i| (step * 32 + i) % SAMPLES).collect();
            match trainer.step(&data, &mut batch, &samples, &mut seen) {
                Err(Error::NonFiniteParameters { .. }) => break,
                done => _ = done?,
            }
        }
        batch.gather(&data, &(0..32).collect::<Vec<_>>(), false)?;
        let inputs = InputStatistics::of_rows(&self.x)?.steps(self.sequence)?;
        let mut diagnosis = Diagnosis::new(&self.network, inputs)?.span(self.span);
        if trainer.parameters().iter().all(|w| w.is_finite()) {
            diagnosis = diagnosis.interventions(trainer.parameters(), batch.x(), batch.shape())?;
            diagnosis = diagnosis.task(trainer.parameters(), &data, &*loss)?;
        }
        Ok(if self.steps == 0 { diagnosis.report() } else { diagnosis.statistics(&seen).report() })
    }
}

fn stack(depth: usize, activation: impl Activation + Copy, linear: impl Fn(usize) -> Linear) -> Run {
    let mut builder = Sequential::<f32>::input(WIDTH);
    for layer in 0..depth {
        builder = builder.layer(linear(layer)).activation(activation);
    }
    Run::of(builder.linear(2).build())
}

fn he(_: usize) -> Linear {
    Linear::new(WIDTH, WIDTH).weights(He::normal())
}

fn lecun(_: usize) -> Linear {
    Linear::new(WIDTH, WIDTH).weights(LeCun::normal())
}

fn recurrent(layer: impl Layer<f32> + 'static) -> Run {
    Run::of(Sequential::<f32>::input(1).layer(layer).last_step().linear(2).build())
}

fn lstm(gate: &'static str, bias: f64) -> Run {
    recurrent(Recurrent::new(1, 8, Lstm::new()).bias(ByGate::new(Zeros).gate(gate, Constant(bias))))
}

/// A run whose gradient jumps a thousandfold, after which the loss stays high.
fn cliff() -> Result<Report, Error> {
    let (network, mut seen) = (stack(2, Relu, he).network, Statistics::new());
    let blocks = Blocks::collect(|visit| Layer::<f32>::blocks(&network, visit));
    let w = initialize(&network, 1)?;
    for step in 0..60 {
        let loss = if (40..50).contains(&step) { 3.0 } else { 1.0 - 0.01 * f64::from(step) };
        let dw = vec![if step == 40 { 1e3 } else { 1.0_f32 }; w.len()];
        GradientMonitor::<f32>::begin_pass(&mut seen);
        GradientMonitor::<f32>::event(&mut seen, &Event::Loss(loss));
        seen.event(&Event::Gradient { blocks: &blocks, w: &w, dw: &dw });
    }
    Ok(Diagnosis::new(&network, InputStatistics::new(1.0)?)?.statistics(&seen).report())
}

/// Each cause with a run that has it.
fn runs() -> Vec<(Cause, Run)> {
    let elman = |gain| recurrent(Recurrent::new(1, 8, Elman::new(Tanh)).recurrent(Orthogonal { gain }));
    let skips = || Box::new(SkipNonFinite::new().limit(100)) as Box<dyn GradientTransform<f32>>;
    let regression = |far: f32| {
        let run = Run::of(Sequential::<f32>::input(WIDTH).linear(16).activation(Tanh).linear(1).build());
        let values = run.x.chunks(WIDTH).map(|row| far * (row[0] + 1.0)).collect();
        Run { values: Some(values), ..run }
    };
    let loud = {
        let mut builder = Sequential::<f32>::input(WIDTH).linear(WIDTH);
        for _ in 0..12 {
            let branch = Sequential::<f32>::input(WIDTH).layer(he(0)).activation(Relu).layer(lecun(0)).build().unwrap();
            builder = builder.layer(Residual::new(branch).unwrap().scale(BranchScale::Fixed(2.0)).unwrap());
        }
        Run::of(builder.linear(2).build())
    };
    let collapsed = {
        let wide = |net: Builder, _| {
            let inputs = net.width();
            net.layer(Linear::new(inputs, 32).weights(He::normal())).activation(Relu)
        };
        Run::of((0..45).fold(Sequential::<f32>::input(WIDTH), wide).linear(2).build()).by(Sgd::new(1e-5), 30)
    };
    let drowned = {
        let builder = Sequential::<f32>::input(WIDTH).linear(16).activation(Relu);
        Run::of(builder.layer(Dropout::new(16, 0.98).unwrap()).linear(2).build()).by(AdamW::new(1e-3, 0.0), 60)
    };
    let mut sorted = stack(1, Tanh, lecun).by(Sgd::new(0.3), 24);
    sorted.x.sort_by(f32::total_cmp);
    sorted.classes = (0..SAMPLES).map(|sample| usize::from(sample >= SAMPLES / 2)).collect();
    let mut shuffled = stack(1, Tanh, lecun).by(Sgd::new(0.0), 0);
    shuffled.classes = (0..SAMPLES).map(|sample| (sample * 37 / 5) % 2).collect();
    let mut raw = stack(2, Tanh, lecun);
    raw.x.iter_mut().for_each(|x| *x *= 1e3);
    let mut wild = stack(2, Relu, he).by(Sgd::new(0.0), 0);
    wild.x[17 * WIDTH..18 * WIDTH].iter_mut().for_each(|x| *x *= 1e5);
    let softmax = Sequential::<f32>::input(WIDTH).linear(16).activation(Tanh).linear(2).layer(Softmax::new(2));
    let unscaled = regression(1e5).by(Sgd::new(1e-9), 40);
    vec![
        (Cause::SaturatingActivation, stack(10, Sigmoid, |_| Linear::new(WIDTH, WIDTH))),
        (Cause::SmallWeights, stack(8, Relu, |_| Linear::new(WIDTH, WIDTH).weights(He::normal().gain(0.3)))),
        (Cause::LargeWeights, stack(8, Relu, |_| Linear::new(WIDTH, WIDTH).weights(He::normal().gain(4.0)))),
        (Cause::LargeWeights, stack(3, Tanh, |_| Linear::new(WIDTH, WIDTH).weights(He::normal().gain(12.0)))),
        (Cause::ConstantWeights, stack(2, Tanh, lecun).with("2.weight", |_, _| 0.0).with("4.weight", |_, _| 0.0)),
        (Cause::DuplicatedUnits, copies()),
        (Cause::DeadUnits, stack(4, Relu, he).with("4.bias", |_, _| -100.0)),
        (Cause::Bottleneck, stack(6, Relu, he).with("6.weight", |_, w| 0.01 * w)),
        (Cause::UnscaledInput, raw),
        (Cause::VanishingRecurrence, elman(0.1).over_time(WIDTH - 1)),
        (Cause::ExplodingRecurrence, recurrent(growing()).over_time(WIDTH - 1)),
        (Cause::ClosedForgetGate, lstm("forget", -6.0).over_time(WIDTH - 1)),
        (Cause::ClosedInputGate, lstm("input", -8.0).over_time(1)),
        (Cause::ClosedOutputGate, lstm("output", -8.0).over_time(1)),
        (Cause::ClosedInputGate, {
            let bias = ByGate::new(Zeros).gate("update", Constant(8.0));
            recurrent(Recurrent::new(1, 8, Gru::new()).bias(bias)).over_time(1)
        }),
        (Cause::LearningRateTooHigh, stack(3, Relu, he).by(Sgd::new(30.0), 12)),
        (Cause::LearningRateTooLow, stack(3, Relu, he).by(Sgd::new(1e-6), 60)),
        (Cause::ClipThresholdTooLow, stack(3, Relu, he).by((ClipNorm::new(1e-4), Sgd::new(0.05)), 40)),
        (Cause::FrozenBlock, stack(3, Relu, he).by((Sgd::new(0.05), ParameterGroups::new().rate("2.weight", 0.0)), 10)),
        (Cause::Overflow, stack(4, Relu, he).by((skips(), Sgd::new(0.1)), 2).with("4.weight", |_, w| w * 1e38)),
        (Cause::NotANumber, stack(2, Root, he).by((skips(), Sgd::new(0.1)), 2)),
        (Cause::Underflow, stack(2, Tanh, lecun).with("4.weight", |_, w| w * 1e-38)),
        (Cause::CollapsedRepresentation, collapsed),
        (Cause::UnscaledTarget, unscaled),
        (Cause::LoudBranches, loud),
        (Cause::DecayTooStrong, stack(2, Tanh, lecun).by(AdamW::new(5e-3, 30.0), 40)),
        (Cause::DropoutTooHeavy, drowned),
        (Cause::SquashedOutputs, Run::of(softmax.build()).by(Sgd::new(0.0), 0)),
        (Cause::UnboundedLoss, {
            let raw = stack(1, Tanh, lecun).by(Sgd::new(0.0), 0);
            Run { loss: Some(Box::new(NegativeLogLikelihood::new())), ..raw }
        }),
        (Cause::UnmixedBatches, sorted),
        (Cause::NoInformation, shuffled),
        (Cause::BadData, wild),
    ]
}

fn growing() -> Recurrent<Elman<chainrule::activation::Identity>> {
    Recurrent::new(1, 8, Elman::new(chainrule::activation::Identity)).recurrent(Orthogonal { gain: 4.0 })
}

/// The first six units of layer 2 are copies of each other, and feed the next layer alike.
fn copies() -> Run {
    let run = stack(3, Tanh, lecun).by(Sgd::new(0.1), 5);
    let run = run.with("2.weight", |i, w| if i / WIDTH < 6 { 0.1 * (i % WIDTH) as f32 - 0.3 } else { w });
    run.with("4.weight", |i, w| if i % WIDTH < 6 { 0.1 * (i / WIDTH) as f32 - 0.2 } else { w })
}

/// What must be true of the text of every report.
fn check_text(report: &Report) {
    let text = format!("{report:#}");
    for finding in &report.findings {
        let parts = [&finding.text, &finding.because, finding.refuted_by, &finding.fix];
        assert!(parts.iter().all(|part| part.len() > 8 && !part.contains('\n')), "{finding:?}");
        assert!(finding.text != finding.because && finding.because.contains(' '), "{finding}");
        if finding.severity > Severity::Note {
            let lines: Vec<String> = format!("{finding}").lines().map(String::from).collect();
            assert_eq!(lines.len(), 4, "{finding}");
            assert!(lines[0].contains(finding.cause.name()) && lines[1].starts_with("  fix: "), "{finding}");
        }
    }
    // One minus sign before numbers, one form of infinity.
    let wrong =
        text.char_indices().find(|&(at, sign)| sign == '-' && text[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
    assert!(wrong.is_none() && !text.contains("inf ") && !text.contains("NaN)"), "{text}");
    for plural in [" 1 layers", " 1 steps", " 1 passes", " 1 rows", " 1 batches", "(1 units"] {
        assert!(!text.contains(plural), "{text}");
    }
    // Words of the inside of this crate, for which there are others.
    let words = text.split(|c: char| !c.is_alphanumeric()).collect::<Vec<_>>();
    for word in ["link", "links", "budget", "unfreezing", "twin"] {
        assert!(!words.contains(&word), "{word}: {text}");
    }
    for (word, meaning) in
        [("decades", "decades: powers of ten"), ("φ′", "φ′: the slope"), ("critical gain", "critical gain: ")]
    {
        assert!(!text.contains(word) || text.contains(meaning), "{word}: {text}");
    }
    assert!(text.contains("examined: "), "{text}");
}

#[test]
fn report_of_each_cause_says_what_why_and_how_to_refute_and_fix_it() -> Result<(), Error> {
    let mut all: Vec<(Cause, Report)> = Vec::new();
    for (cause, run) in runs() {
        all.push((cause, run.report()?));
    }
    all.push((Cause::Cliff, cliff()?));
    for (cause, report) in &all {
        assert!(report.findings.iter().any(|finding| finding.cause == *cause), "{cause}: {report}");
        check_text(report);
    }
    // Of these there are tests elsewhere: of no cause in `wild`, of the memory of a recurrence in `curvature`.
    let elsewhere = [Cause::NoCauseFound, Cause::SensitiveMemory];
    let missing =
        Cause::ALL.iter().filter(|cause| !all.iter().any(|(of, _)| of == *cause) && !elsewhere.contains(cause));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&Cause>::new());
    // Where an intervention exists, it tells why.
    for (cause, said) in [
        (Cause::SmallWeights, "with all weights at their critical gain: "),
        (Cause::DeadUnits, "with the weights of layer 4 at their critical gain: "),
        (Cause::Bottleneck, "with the weights of layer 6 at their critical gain: "),
        (Cause::UnscaledInput, "with standardized inputs: first pre-activations of size "),
        (Cause::UnscaledTarget, "with standardized targets: a distance of "),
        (Cause::VanishingRecurrence, "with orthogonal recurrent matrices: "),
        (Cause::ExplodingRecurrence, "with orthogonal recurrent matrices: "),
        (Cause::ClosedForgetGate, "with gates that keep the state over the sequence: "),
        (Cause::ClosedInputGate, "with gate input half open: "),
        (Cause::ClosedOutputGate, "with gate output half open: "),
        (Cause::LoudBranches, "branches scaled by 1/√L: "),
        (Cause::DropoutTooHeavy, "with all masks disabled: "),
        (Cause::BadData, "with sample 17 left out: "),
    ] {
        let told = all.iter().flat_map(|(_, report)| &report.findings);
        let told: Vec<_> = told.filter(|finding| finding.cause == cause).collect();
        assert!(told.iter().any(|finding| finding.because.contains(said)), "{said} {told:#?}");
    }
    Ok(())
}

#[test]
fn usual_fix_of_each_cause_is_one_that_a_strategy_proposes() {
    for cause in Cause::ALL {
        let applies = fix::strategies().into_iter().filter(|strategy| strategy.applies_to(cause));
        let names: Vec<&str> = applies.map(|strategy| strategy.name()).collect();
        let named = names.iter().any(|name| cause.fix().starts_with(name));
        assert!(named || names.is_empty(), "{cause}: {} of {names:?}", cause.fix());
    }
}

#[test]
fn healthy_report_says_what_was_examined_and_both_losses() -> Result<(), Error> {
    let report = stack(2, Tanh, lecun).by(Sgd::new(0.3), 60).report()?;
    assert!(report.is_healthy(), "{report}");
    let text = format!("{report}");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("after 60 watched passes: nothing wrong"));
    let [first, last] = report.loss.expect("losses");
    assert!(first > 0.5 && last < first, "{report}");
    assert!(text.lines().any(|line| line.starts_with("loss: ") && line.contains("at first")), "{text}");
    assert!(text.lines().any(|line| line.starts_with("examined: ") && line.contains("60 watched passes")), "{text}");
    check_text(&report);
    // The statistics of a norm over the batch are those of the samples.
    let network =
        Sequential::<f32>::input(WIDTH).linear(16).batch_norm().activation(Relu).linear(2).layer(Softmax::new(2));
    let squashed = Run::of(network.build()).by(Sgd::new(0.0), 0).report()?;
    assert_eq!(squashed.root().map(|root| root.cause), Some(Cause::SquashedOutputs), "{squashed}");
    Ok(())
}

/// Deep and long networks, sick and healthy, each with the steps of its sequences.
fn networks() -> Result<Vec<(String, Sequential<f32>, usize)>, Error> {
    let mut all = Vec::new();
    for depth in [4, 60] {
        for gain in [0.2, 4.0] {
            let linear = |_| Linear::new(WIDTH, WIDTH).weights(He::normal().gain(1.414 * gain));
            all.push((format!("ReLU × {gain}, {depth}"), stack(depth, Relu, linear).network, 1));
        }
        let uniform = |_| Linear::new(WIDTH, WIDTH);
        all.push((format!("sigmoid, {depth}"), stack(depth, Sigmoid, uniform).network, 1));
        let mut normed = Sequential::<f32>::input(WIDTH);
        for _ in 0..depth / 4 {
            normed = normed.layer(Linear::new(WIDTH, WIDTH).weights(LeCun::normal().gain(0.1))).layer_norm();
            normed = normed.activation(Sigmoid);
        }
        all.push((format!("norms, {depth}"), normed.linear(2).build()?, 1));
        let mut loud = Sequential::<f32>::input(WIDTH).linear(WIDTH);
        for _ in 0..depth / 4 {
            loud = loud.residual(|branch| branch.layer(he(0)).activation(Sigmoid).linear(WIDTH));
        }
        all.push((format!("residual, {depth}"), loud.linear(2).build()?, 1));
    }
    for steps in [10, 300] {
        for gain in [0.3, 1.5].into_iter().take(if steps > 100 { 1 } else { 2 }) {
            let elman = Recurrent::new(1, WIDTH, Elman::new(Tanh)).recurrent(Orthogonal { gain });
            all.push((format!("Elman × {gain}, {steps}"), recurrent(elman).network, steps));
        }
        let gates = [("forget", -6.0), ("input", -9.0), ("output", -9.0)];
        // Theory samples a long sequence at length.
        for (gate, bias) in gates.into_iter().take(if steps > 100 { 0 } else { 3 }) {
            let mut network = Sequential::<f32>::input(1).linear(4);
            for _ in 0..3 {
                let gates = ByGate::new(Zeros).gate(gate, Constant(bias));
                network = network.layer(Recurrent::new(4, 4, Lstm::new()).bias(gates));
            }
            all.push((format!("LSTM, {gate}, {steps}"), network.last_step().linear(2).build()?, steps));
        }
    }
    Ok(all)
}

/// Standardized inputs, columns of one wild scale, and raw ones.
#[test]
fn diagnosis_of_any_depth_takes_few_passes() -> Result<(), Error> {
    let (mut single, mut paired, mut sick) = (0, 0, 0);
    for (name, network, steps) in networks()? {
        let (width, inputs) = (Layer::<f32>::dims(&network).input, InputStatistics::new(1.0)?.steps(steps)?);
        let diagnosis = Diagnosis::new(&network, inputs)?;
        // One column is wild in the second batch, and one layer in the third.
        for (scale, factor) in [(1.0, 1.0), (1e4, 1.0), (1.0, 1e5)] {
            let mut x = normal(4 * steps * width, 5);
            x.chunks_mut(width).for_each(|row| row[0] *= scale);
            let (mut w, shape) = (initialize(&network, 1)?, BatchShape::sequences(4, steps));
            let blocks = Blocks::collect(|visit| Layer::<f32>::blocks(&network, visit));
            if let Ok(block) = blocks.get("6.weight") {
                w[block.range.clone()].iter_mut().for_each(|w| *w *= factor);
            }
            let (loss, data) =
                (CrossEntropy::new(), Dataset::sequences(width, steps, &x, Target::Classes(&[0, 1, 1, 0]))?);
            let report = diagnosis.clone().task(&w, &data, &loss)?.interventions(&w, &x, shape)?.report();
            let text = format!("{report}");
            sick += usize::from(!report.is_healthy());
            // Pairs are tried where no single change mends the gradient.
            let mut told = report.findings.iter().filter_map(|finding| finding.intervention.as_ref());
            let both = told.any(|it| matches!(it.alteration, Alteration::Both(_)));
            let most = if both || text.contains("ruled out") { &mut paired } else { &mut single };
            *most = (*most).max(report.passes_on_copies);
            assert!(report.passes_on_copies > 0, "{name}: {report}");
        }
    }
    assert!(single <= 30 && paired <= 100 && sick > 20, "{single} {paired} {sick}");
    println!("at most {single} passes for single changes, {paired} with pairs");
    Ok(())
}

/// Counts the updates of all trainings.
#[derive(Clone, Debug, Default)]
struct Counted(Arc<AtomicUsize>);

impl GradientTransform<f32> for Counted {
    fn update(&mut self, _update: Update<'_, f32>) -> Result<Outcome, Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Outcome::Apply)
    }
}

#[test]
fn trials_stay_within_half_of_the_run() -> Result<(), Error> {
    let run = stack(8, Relu, |_| Linear::new(WIDTH, WIDTH).weights(He::normal().gain(0.3)));
    let (described, w) = (Layer::<f32>::spec(&run.network), initialize(&run.network, 1)?);
    let data = Dataset::rows(WIDTH, &run.x, Target::Classes(&run.classes))?;
    let inputs = InputStatistics::of_rows(&run.x)?;
    let report = Diagnosis::new(&run.network, inputs)?.report();
    let fixes = suggest_fixes(&FixContext::new(&described, inputs, report.root().unwrap()))?;
    for steps in [10, 50, 100, 300, 1000, 2000] {
        let counted = Counted::default();
        let transform = || Box::new((counted.clone(), Sgd::new(0.01))) as Box<dyn GradientTransform<f32>>;
        let tried = Trial::new(&data, &CrossEntropy::new(), &transform, steps).run(&described, &w, &fixes)?;
        let each = tried.baseline.curve.len();
        let trainings: usize =
            tried.outcomes.iter().chain([&tried.baseline]).chain(&tried.restarted).map(|it| it.losses.len()).sum();
        let all = counted.0.load(Ordering::Relaxed);
        assert_eq!(all, each * trainings, "{tried}");
        assert!(each <= (steps / 20).max(20) && all <= steps / 2 && !tried.outcomes.is_empty(), "{steps} {tried}");
    }
    Ok(())
}

/// Loud branches before weights that are too large: neither change alone mends the gradient.
#[test]
fn two_faults_of_one_budget_are_told_with_their_layers() -> Result<(), Error> {
    let mut builder = Sequential::<f32>::input(WIDTH).linear(WIDTH);
    for _ in 0..12 {
        let branch = Sequential::<f32>::input(WIDTH).layer(he(0)).activation(Relu).layer(lecun(0)).build()?;
        builder = builder.layer(Residual::new(branch)?.scale(BranchScale::Fixed(2.0))?);
    }
    for _ in 0..4 {
        builder = builder.layer(Linear::new(WIDTH, WIDTH).weights(He::normal().gain(40.0))).activation(Relu);
    }
    let network = builder.linear(2).build()?;
    let (w, x) = (initialize(&network, 1)?, normal(32 * WIDTH, 5));
    let diagnosis = Diagnosis::new(&network, InputStatistics::new(1.0)?)?;
    let report = diagnosis.interventions(&w, &x, BatchShape::batch(32))?.report();
    let faults: Vec<_> = report.faults().collect();
    let told = |cause| faults.iter().find(|fault| fault.cause == cause).unwrap_or_else(|| panic!("{report}"));
    let (loud, large) = (told(Cause::LoudBranches), told(Cause::LargeWeights));
    assert!(faults.len() == 2 && faults.iter().all(|it| !it.layers.is_empty()), "{report}");
    let number = |path: &str| path.split('.').next().and_then(|first| first.parse::<usize>().ok());
    assert!(loud.layers.iter().all(|range| number(&range.last) <= Some(12)), "{report}");
    assert!(large.layers.iter().all(|range| number(&range.first) >= Some(13)), "{report}");
    let both = faults.iter().filter(|it| it.text.contains("none alone brings the gradient back, but two together do"));
    assert_eq!(both.count(), 1, "{report}");
    Ok(())
}

/// A report says why forecast and measurement differ where, and only where, they differ by more than both two standard
/// deviations of the prediction and a factor of two.
#[test]
fn report_says_why_measurement_and_theory_differ_only_where_they_do() -> Result<(), Error> {
    let mut seen = [0, 0];
    for (cause, run) in runs() {
        let report = run.report()?;
        let differ = match report.decades {
            [Some(measured), Some(predicted)] if measured == predicted => false,
            [Some(measured), Some(predicted)] => {
                let apart = (measured - predicted).abs();
                apart > 0.3 && apart > 2.0 * report.predicted_spread
            }
            _ => false,
        };
        seen[usize::from(differ)] += 1;
        assert_eq!(!report.difference.is_empty(), differ, "{cause}: {report}");
        assert_eq!(format!("{report}").contains("measured and predicted differ: "), differ, "{cause}: {report}");
    }
    assert!(seen.iter().all(|&count| count > 3), "{seen:?}");
    Ok(())
}

/// What was changed is what the report says: loaded parameters by their layer and size, weights that are drawn as 0,
/// training, and otherwise none of these.
#[test]
fn difference_from_theory_names_what_was_changed() -> Result<(), Error> {
    let says = |report: &Report, phrase: &str| report.difference.iter().any(|reason| reason.contains(phrase));
    let loaded = |report: &Report| says(report, "were changed or loaded");
    let trained = |report: &Report| says(report, ", as theory predicts: the rest came with ");
    let zero = |report: &Report| says(report, "begin at 0 by their description, and are no longer 0");
    // Parameters as they are, without a training, and in its first pass.
    for steps in [0, 1] {
        let run = stack(3, Tanh, lecun).by(Sgd::new(0.0), steps).with("4.weight", |_, w| 0.02 * w);
        let report = run.report()?;
        assert!(loaded(&report) && !trained(&report) && !zero(&report), "{report}");
        assert!(says(&report, "parameters of layer 4 were") && says(&report, "4.weight has"), "{report}");
        assert!(says(&report, "most of it is in layer 4: "), "{report}");
        #[cfg(feature = "serde")]
        assert!(report.to_json().is_ok_and(|json| json.contains("parameters of layer 4 were changed")), "{report}");
    }
    // A layer that its description begins at 0: theory has no gradient behind it, the trained one has.
    let zeros = |layer: usize| if layer == 2 { lecun(layer).weights(Zeros) } else { lecun(layer) };
    let begun = stack(3, Tanh, zeros).by(Sgd::new(0.3), 40).report()?;
    assert!(zero(&begun) && trained(&begun) && !loaded(&begun) && says(&begun, "weights of layer 4 begin"), "{begun}");
    // Weights of the description that a training has made larger.
    let grown = stack(3, Tanh, lecun).by(Sgd::new(0.5), 400).report()?;
    assert!(trained(&grown) && !loaded(&grown) && !zero(&grown), "{grown}");
    Ok(())
}

/// Measurements belong to the network with their blocks: those of another one are left out, and the report says so.
#[test]
fn statistics_of_another_network_are_left_out() -> Result<(), Error> {
    let build = |hidden: usize| Sequential::<f32>::input(WIDTH).linear(hidden).tanh().linear(2).build();
    let (x, classes) = (normal(SAMPLES * WIDTH, 5), [0, 1].repeat(SAMPLES / 2));
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&classes))?;
    let mut seen = Statistics::new();
    let mut trainer = Trainer::new(build(4)?, CrossEntropy::new(), Sgd::new(0.1), TrainConfig::default())?;
    trainer.fit_with(&data, FitOptions::new().monitor(&mut seen))?;
    let report = |network: &Sequential<f32>| -> Result<Report, Error> {
        Ok(Diagnosis::new(network, InputStatistics::new(1.0)?)?.statistics(&seen).report())
    };
    let own = report(&build(4)?)?;
    assert!(own.passes > 0 && own.rows.iter().any(|row| row.measured.is_some()), "{own}");
    // The names of the links are the same; the shapes of the blocks are not.
    for other in [build(5)?, Sequential::<f32>::input(WIDTH).lstm(3).linear(1).build()?] {
        let report = report(&other)?;
        let text = report.to_string();
        assert!(report.passes == 0 && report.rows.iter().all(|row| row.measured.is_none()), "{report}");
        assert!(
            text.contains("not the given statistics, which are of a network with other parameter blocks"),
            "{text}"
        );
    }
    Ok(())
}
