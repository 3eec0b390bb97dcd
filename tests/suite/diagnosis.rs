//! The diagnosis of small networks whose one fault is known.

use crate::fixtures::root;
use chainrule::{
    Activation, BatchShape, Error, Gate, Layer, Role, Scalar,
    activation::{AnyActivation, Identity, Relu, Sigmoid, Tanh},
    assert_gradient_healthy,
    dataset::{Batch, Dataset},
    diagnosis::{Cause, Diagnosis, Finding, Report, Severity, expect_healthy, first_check},
    initializer::{Constant, CriticalGain, He, Orthogonal, Zeros},
    layer::{ActivationLayer, LastStep, LayerNorm, Linear, Sequential},
    loss::{CrossEntropy, MeanSquaredError, Target},
    monitor::{Every, Statistics},
    recurrent::{Cell, CellBackward, CellForward, Elman, Lstm, Recurrent},
    theory::InputStatistics,
    trainer::{TrainConfig, Trainer},
    transform::{Adam, ClipNorm, GradientTransform, ParameterGroups, Sgd},
};

const WIDTH: usize = 32;

/// Gaussian rows, the class told by the sign of two of their values.
fn data(rows: usize) -> (Vec<f32>, Vec<usize>) {
    use chainrule::random::{Normals, generator};
    let (mut rng, mut normals) = (generator(7), Normals::new());
    let x: Vec<f32> = (0..rows * WIDTH).map(|_| normals.next(&mut rng) as f32).collect();
    let y = x.chunks(WIDTH).map(|row| usize::from(row[0] > 0.0) + 2 * usize::from(row[1] > 0.0)).collect();
    (x, y)
}

fn plain(depth: usize, activation: impl Activation + Copy, linear: impl Fn(usize) -> Linear) -> Sequential<f32> {
    let mut network = Sequential::new(WIDTH);
    for layer in 0..depth {
        network.push(linear(layer)).unwrap();
        network.push(ActivationLayer::new(WIDTH, activation)).unwrap();
    }
    network.push(Linear::new(WIDTH, 4)).unwrap();
    network
}

fn he(_: usize) -> Linear {
    Linear::new(WIDTH, WIDTH).weights(He::normal())
}

/// The report after some training steps, with the parameters changed first.
fn train(
    network: &Sequential<f32>,
    transform: impl GradientTransform<f32>,
    steps: usize,
    change: impl FnOnce(&mut [f32], &chainrule::Blocks),
) -> Report {
    let (x, y) = data(512);
    train_on(network, transform, steps, change, &x, &y)
}

fn train_on(
    network: &Sequential<f32>,
    transform: impl GradientTransform<f32>,
    steps: usize,
    change: impl FnOnce(&mut [f32], &chainrule::Blocks),
    x: &[f32],
    y: &[usize],
) -> Report {
    let data = Dataset::rows(WIDTH, x, Target::Classes(y)).unwrap();
    let mut trainer = Trainer::new(network, CrossEntropy::new(), transform, TrainConfig::default()).unwrap();
    let blocks = trainer.workspace().blocks().clone();
    change(trainer.parameters_mut(), &blocks);
    let (mut seen, mut batch) = (Statistics::new(), Batch::new(&data, 32));
    for step in 0..steps {
        let samples: Vec<usize> = (0..32).map(|i| (step * 32 + i) % y.len()).collect();
        // Parameters that leave the range end a run, and the report tells why.
        match trainer.step(&data, &mut batch, &samples, &mut seen) {
            Err(chainrule::Error::NonFiniteParameters { .. }) => break,
            done => _ = done.unwrap(),
        }
    }
    Diagnosis::new(network, InputStatistics::of_rows(x).unwrap()).unwrap().statistics(&seen).report()
}

fn unchanged(_: &mut [f32], _: &chainrule::Blocks) {}

#[test]
fn healthy_networks_are_not_accused() {
    let critical = |_| Linear::new(WIDTH, WIDTH).weights(CriticalGain::new(&Tanh).unwrap());
    for report in [
        train(&plain(6, Relu, he), Sgd::new(0.05), 100, unchanged),
        train(&plain(8, Tanh, critical), Adam::new(1e-3), 100, unchanged),
        train(&plain(2, Sigmoid, |_| Linear::new(WIDTH, WIDTH)), Adam::new(1e-3), 100, unchanged),
    ] {
        assert!(report.is_healthy(), "{report}");
    }
}

#[test]
fn sigmoid_vanishes_by_its_derivative_and_theory_says_so_before() -> Result<(), Error> {
    let network = plain(10, Sigmoid, |_| Linear::new(WIDTH, WIDTH));
    let forecast = Diagnosis::new(&network, InputStatistics::new(1.0)?)?.report();
    assert_eq!(root(&forecast).0, Cause::SaturatingActivation);
    assert_eq!(forecast.findings[0].since, None);
    let measured = train(&network, Sgd::new(0.1), 10, unchanged);
    assert_eq!(root(&measured).0, Cause::SaturatingActivation);
    // The two agree, and both are what ten quarters and less must give.
    let [seen, predicted] = measured.decades.map(|decades| decades.unwrap());
    assert!(seen < 10.0 * 0.25f64.log10() + 1.0 && (seen - predicted).abs() < 1.0, "{seen} {predicted}");
    Ok(())
}

#[test]
fn weights_too_small_and_too_large_are_named() {
    let small = |_| Linear::new(WIDTH, WIDTH).weights(He::normal().gain(0.4));
    assert_eq!(root(&train(&plain(8, Relu, small), Sgd::new(0.01), 5, unchanged)).0, Cause::SmallWeights);
    let large = |_| Linear::new(WIDTH, WIDTH).weights(He::normal().gain(4.0));
    assert_eq!(root(&train(&plain(8, Relu, large), Sgd::new(1e-9), 5, unchanged)).0, Cause::LargeWeights);
    let saturating = |_| Linear::new(WIDTH, WIDTH).weights(He::normal().gain(12.0));
    assert_eq!(root(&train(&plain(3, Tanh, saturating), Sgd::new(1e-6), 5, unchanged)).0, Cause::LargeWeights);
}

#[test]
fn one_bottleneck_is_found_where_it_is() {
    let network = plain(6, Relu, he);
    let narrow = |w: &mut [f32], blocks: &chainrule::Blocks| {
        w[blocks.get("6.weight").unwrap().range.clone()].iter_mut().for_each(|w| *w *= 1e-3);
    };
    assert_eq!(root(&train(&network, Sgd::new(1e-3), 5, narrow)), (Cause::Bottleneck, "6"));
}

#[test]
fn units_that_are_alike_are_found() {
    let network = plain(3, Tanh, |_| Linear::new(WIDTH, WIDTH));
    let constant = plain(3, Tanh, |layer| match layer {
        1 => Linear::new(WIDTH, WIDTH).weights(Constant(0.1)),
        _ => Linear::new(WIDTH, WIDTH),
    });
    // Rows alike are not copies yet: the units still feed different weights, and part.
    assert_ne!(
        train(&constant, Sgd::new(0.1), 20, unchanged).root().map(|root| root.cause),
        Some(Cause::ConstantWeights)
    );
    let mut all_constant = Sequential::new(WIDTH);
    for _ in 0..3 {
        all_constant.push(Linear::new(WIDTH, WIDTH).weights(Constant(0.05))).unwrap();
        all_constant.push(ActivationLayer::new(WIDTH, Tanh)).unwrap();
    }
    all_constant.push(Linear::new(WIDTH, 4).weights(Constant(0.05))).unwrap();
    assert_eq!(root(&train(&all_constant, Sgd::new(0.1), 5, unchanged)).0, Cause::ConstantWeights);
    let copies = |w: &mut [f32], blocks: &chainrule::Blocks| {
        let (into, out) = (blocks.get("2.weight").unwrap().range.start, blocks.get("4.weight").unwrap().range.start);
        for unit in 1..8 {
            w.copy_within(into..into + WIDTH, into + unit * WIDTH);
            for row in 0..WIDTH {
                w[out + row * WIDTH + unit] = w[out + row * WIDTH];
            }
        }
    };
    assert_eq!(root(&train(&network, Sgd::new(0.1), 5, copies)), (Cause::DuplicatedUnits, "2"));
}

#[test]
fn dead_units_are_found_in_their_layer() {
    let kill = |w: &mut [f32], blocks: &chainrule::Blocks| w[blocks.get("4.bias").unwrap().range.clone()].fill(-100.0);
    assert_eq!(root(&train(&plain(4, Relu, he), Sgd::new(0.01), 3, kill)), (Cause::DeadUnits, "5"));
}

#[test]
fn steps_clipping_and_frozen_blocks_are_told_apart() {
    let network = plain(3, Relu, he);
    assert_eq!(root(&train(&network, Sgd::new(30.0), 12, unchanged)).0, Cause::LearningRateTooHigh);
    assert_eq!(root(&train(&network, Sgd::new(1e-6), 60, unchanged)).0, Cause::LearningRateTooLow);
    let clipped = (ClipNorm::new(1e-4), Sgd::new(0.05));
    assert_eq!(root(&train(&network, clipped, 60, unchanged)).0, Cause::ClipThresholdTooLow);
    let still = (Sgd::new(0.05), ParameterGroups::new().rate("2.weight", 0.0));
    assert_eq!(root(&train(&network, still, 10, unchanged)), (Cause::FrozenBlock, "2"));
}

#[test]
fn inputs_out_of_scale_are_found_before_training() -> Result<(), Error> {
    let (x, y) = data(512);
    let raw: Vec<f32> = x.iter().map(|x| 100.0 * x).collect();
    let network = plain(3, Tanh, |_| Linear::new(WIDTH, WIDTH));
    let forecast = Diagnosis::new(&network, InputStatistics::of_rows(&raw)?)?.report();
    assert_eq!(root(&forecast).0, Cause::UnscaledInput);
    assert_eq!(root(&train_on(&network, Sgd::new(0.01), 20, unchanged, &raw, &y)).0, Cause::UnscaledInput);
    Ok(())
}

/// √z, which is not a number below 0.
#[derive(Clone, Copy, Debug)]
pub struct Root;

impl Activation for Root {
    fn value<T: Scalar>(&self, z: T) -> T {
        z.sqrt()
    }
    fn derivative<T: Scalar>(&self, _z: T, y: T) -> T {
        (y + y).recip()
    }
}

#[test]
fn value_that_is_not_finite_is_traced_to_its_layer() {
    let mut network = Sequential::new(WIDTH);
    network.push(he(0)).unwrap();
    network.push(ActivationLayer::new(WIDTH, Tanh)).unwrap();
    network.push(he(0)).unwrap();
    network.push(ActivationLayer::new(WIDTH, Root)).unwrap();
    network.push(Linear::new(WIDTH, 4)).unwrap();
    let guarded = || (chainrule::transform::SkipNonFinite::new().limit(100), Sgd::new(0.1));
    assert_eq!(root(&train(&network, guarded(), 5, unchanged)), (Cause::NotANumber, "3"));
    let huge = |w: &mut [f32], blocks: &chainrule::Blocks| {
        w[blocks.get("4.weight").unwrap().range.clone()].iter_mut().for_each(|w| *w *= 1e38);
    };
    assert_eq!(root(&train(&plain(4, Relu, he), guarded(), 3, huge)), (Cause::Overflow, "4"));
}

#[test]
fn time_is_judged_by_the_span_of_the_task() -> Result<(), Error> {
    let (x, _) = data(128);
    let network = |scale: f64| -> Result<Sequential<f32>, Error> {
        let mut network = Sequential::new(1);
        let recurrent = chainrule::initializer::Orthogonal { gain: scale };
        network.push(Recurrent::new(1, WIDTH, Elman::new(Tanh)).recurrent(recurrent))?;
        network.push(chainrule::layer::LastStep::new(WIDTH))?;
        network.push(Linear::new(WIDTH, 2))?;
        Ok(network)
    };
    let check = |network: &Sequential<f32>, span| first_check(network, &x, BatchShape::sequences(32, 128), span, 1);
    let small = network(0.5)?;
    assert_eq!(root(&check(&small, Some(127))?), (Cause::VanishingRecurrence, "0"));
    // What an untold span might need is a note.
    let untold = check(&small, None)?;
    assert!(untold.is_healthy() && untold.findings[0].cause == Cause::VanishingRecurrence, "{untold}");
    let short = check(&small, Some(3))?;
    assert!(short.is_healthy(), "{short}");
    // 0.5 a step and |φ′| ≤ 1: at least 0.3 decades a step.
    assert!(check(&small, Some(50))?.root().unwrap().decades.unwrap() <= 50.0 * 0.5f64.log10() + 1e-9);
    let shut = Sequential::<f32>::input(1)
        .layer(
            Recurrent::new(1, WIDTH, Lstm::new())
                .bias(chainrule::initializer::ByGate::new(Zeros).gate("forget", Constant(-5.0))),
        )
        .last_step()
        .linear(2)
        .build()?;
    assert_eq!(root(&check(&shut, Some(60))?), (Cause::ClosedForgetGate, "0"));
    Ok(())
}

/// `h_t = k ⊙ h_{t−1} + (1 − k) ⊙ n`, `k = σ(z_k)`, `n = tanh(z_n)`. Gate k may state that it carries the
/// state.
#[derive(Clone, Debug)]
struct Keeper {
    says_so: bool,
}

impl Cell for Keeper {
    fn gates(&self) -> &'static [Gate] {
        match self.says_so {
            true => const { &[Gate::carrying_state("keep"), Gate::new("candidate")] },
            false => const { &[Gate::new("keep"), Gate::new("candidate")] },
        }
    }
    fn activation(&self, gate: usize) -> Option<&dyn AnyActivation> {
        if gate == 0 { Some(&Sigmoid) } else { Some(&Tanh) }
    }
    fn forward<T: Scalar>(&self, _stage: usize, unit: CellForward<'_, T>) {
        let n = unit.h.len();
        for j in 0..n {
            let keep = Sigmoid.value(unit.z[j]);
            unit.h[j] = keep * unit.h_prev[j] + (T::one() - keep) * Tanh.value(unit.z[n + j]);
        }
    }
    fn backward<T: Scalar>(&self, _stage: usize, unit: CellBackward<'_, T>) {
        let n = unit.h.len();
        for j in 0..n {
            let (keep, candidate, dh) = (Sigmoid.value(unit.z[j]), Tanh.value(unit.z[n + j]), unit.d_h[j]);
            unit.d_h_prev[j] += dh * keep;
            unit.z[n + j] = dh * (T::one() - keep) * Tanh.derivative(unit.z[n + j], candidate);
            unit.z[j] = dh * (unit.h_prev[j] - candidate) * Sigmoid.derivative(unit.z[j], keep);
        }
    }
}

#[test]
fn closed_gate_of_a_custom_cell_is_found_by_what_the_gate_states() -> Result<(), Error> {
    let (x, _) = data(128);
    for (says_so, cause) in [(true, Cause::ClosedForgetGate), (false, Cause::VanishingRecurrence)] {
        let bias = chainrule::initializer::ByGate::new(Zeros).gate("keep", Constant(-5.0));
        let layer = Recurrent::new(1, WIDTH, Keeper { says_so }).recurrent(Zeros).bias(bias);
        let network = Sequential::<f32>::input(1).layer(layer).last_step().linear(2).build()?;
        let report = first_check(&network, &x, BatchShape::sequences(32, 128), Some(60), 1)?;
        assert!(report.findings.iter().any(|finding| finding.cause == cause && finding.layer == "0"), "{report}");
    }
    Ok(())
}

#[test]
fn health_is_a_unit_test() {
    let (x, _) = data(64);
    assert_gradient_healthy!(plain(6, Relu, he), x);
    let sick = plain(10, Sigmoid, |_| Linear::new(WIDTH, WIDTH));
    let report = first_check(&sick, &x, BatchShape::batch(64), None, 0);
    let said = std::panic::catch_unwind(|| expect_healthy(report)).unwrap_err();
    assert!(said.downcast_ref::<String>().unwrap().contains("vanishes"));
    let wrong = first_check(&sick, &x[..5], BatchShape::batch(64), None, 0);
    assert!(matches!(wrong, Err(Error::Length { .. })));
    // 25 rows in sequences of 8 steps, and a row that ends early.
    let said = |rows: usize, beside: usize| {
        let batch = &x[..rows * WIDTH + beside];
        let check = std::panic::AssertUnwindSafe(|| assert_gradient_healthy!(sick, batch, steps = 8));
        let said = std::panic::catch_unwind(check).unwrap_err();
        said.downcast_ref::<String>().unwrap().clone()
    };
    assert!(said(25, 0).contains("rows of the batch: 25 values are not a multiple of steps 8"), "{}", said(25, 0));
    assert!(said(8, 1).contains(&format!("not a multiple of width {WIDTH}")), "{}", said(8, 1));
}

#[test]
fn finding_keeps_the_first_pass_that_showed_it() {
    let network = plain(10, Sigmoid, |_| Linear::new(WIDTH, WIDTH));
    let (early, late) = (train(&network, Sgd::new(0.1), 2, unchanged), train(&network, Sgd::new(0.1), 9, unchanged));
    // What the first pass shows did not come with training.
    assert_eq!([&early, &late].map(|report| report.findings[0].since), [Some(0); 2]);
    let network = plain(2, Tanh, |_| Linear::new(WIDTH, WIDTH));
    let still = || (Sgd::new(0.1), ParameterGroups::new().rate("0.weight", 0.0));
    let (early, late) = (train(&network, still(), 5, unchanged), train(&network, still(), 9, unchanged));
    assert_eq!(late.findings[0].since, Some(8), "{late}");
    assert_eq!(late.following(&early).findings[0].since, Some(4));
}

/// Outputs that saturate after long training, and hidden units that follow them, are a success.
#[test]
fn run_monitored_late_has_no_finding() -> Result<(), Error> {
    let (x, y) = data(64);
    let targets: Vec<f32> =
        y.iter().flat_map(|&y| [0, 1, 2, 3].map(|class| if class == y { 1.0 } else { -1.0 })).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Values(&targets))?;
    let mut network = plain(4, Tanh, |_| Linear::new(WIDTH, WIDTH).weights(CriticalGain::new(&Tanh).unwrap()));
    network.push(ActivationLayer::new(4, Tanh))?;
    let mut trainer = Trainer::new(&network, MeanSquaredError::new(), Adam::new(0.02), TrainConfig::default())?;
    let (mut seen, mut batch) = (Statistics::new(), Batch::new(&data, 32));
    let samples = |step: usize| -> Vec<usize> { (0..32).map(|i| (step * 32 + i) % 64).collect() };
    for step in 0..1500 {
        trainer.step(&data, &mut batch, &samples(step), &mut ())?;
    }
    for step in 0..60 {
        trainer.step(&data, &mut batch, &samples(step), &mut seen)?;
    }
    let outputs = seen.links().iter().find(|link| link.name() == "9").unwrap();
    let hidden = seen.links().iter().find(|link| link.name() == "7").unwrap();
    assert!(outputs.decades().mean() < -2.0 && hidden.first_slope() < Some(0.35), "the premise");
    let report = Diagnosis::new(&network, InputStatistics::of_rows(&x)?)?.statistics(&seen).report();
    assert!(report.is_healthy(), "{report}");
    Ok(())
}

#[test]
fn norms_and_skips_are_no_reason_to_accuse() {
    let mut builder = Sequential::<f32>::input(WIDTH);
    for _ in 0..8 {
        builder = builder.residual(|branch| {
            branch
                .layer(LayerNorm::new(WIDTH))
                .linear(WIDTH)
                .activation(Relu)
                .layer(Linear::new(WIDTH, WIDTH).weights(Zeros))
        });
    }
    let network = builder.linear(4).build().unwrap();
    let report = train(&network, Adam::new(1e-3), 60, unchanged);
    assert!(report.is_healthy(), "{report}");
}

#[test]
fn frozen_by_wish_is_no_fault() {
    let network = plain(3, Relu, he);
    let (x, y) = data(256);
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y)).unwrap();
    let mut trainer = Trainer::new(&network, CrossEntropy::new(), Sgd::new(0.05), TrainConfig::default()).unwrap();
    trainer.workspace_mut().freeze("0").unwrap();
    let (mut seen, mut batch) = (Every(2, Statistics::new()), Batch::new(&data, 32));
    for step in 0..40 {
        let samples: Vec<usize> = (0..32).map(|i| (step * 32 + i) % 256).collect();
        trainer.step(&data, &mut batch, &samples, &mut seen).unwrap();
    }
    let report =
        Diagnosis::new(&network, InputStatistics::of_rows(&x).unwrap()).unwrap().statistics(&seen.monitor).report();
    assert!(report.is_healthy() && report.passes == 20, "{report}");
    assert!(report.findings.iter().all(|finding| finding.severity == Severity::Note));
}

#[cfg(feature = "serde")]
#[test]
fn report_is_written_as_json() {
    let network = plain(10, Sigmoid, |_| Linear::new(WIDTH, WIDTH));
    let json: serde_json::Value = serde_json::from_str(
        &Diagnosis::new(&network, InputStatistics::new(1.0).unwrap()).unwrap().report().to_json().unwrap(),
    )
    .unwrap();
    assert_eq!(json["findings"][0]["cause"], "SaturatingActivation");
    assert_eq!(json["rows"].as_array().unwrap().len(), 2 * 10 + 1);
}

#[cfg(feature = "plot")]
#[test]
fn report_is_drawn_as_svg() {
    let network = plain(10, Sigmoid, |_| Linear::new(WIDTH, WIDTH));
    let svg = Diagnosis::new(&network, InputStatistics::new(1.0).unwrap()).unwrap().report().to_svg().unwrap();
    // The frame, and for each of the 21 links a bar of what was measured and one of what was predicted.
    assert_eq!(svg.matches("<rect").count(), 1 + 2 * 21);
    assert!(svg.contains("saturating activation") && svg.trim_end().ends_with("</svg>"));
}

fn tanh_over_time(gain: f64) -> Result<Sequential<f64>, Error> {
    let mut network = Sequential::new(2);
    network.push(Recurrent::new(2, 16, Elman::new(Tanh)).recurrent(Orthogonal { gain }))?;
    network.push(LastStep::new(16))?;
    network.push(Linear::new(16, 2))?;
    Ok(network)
}

/// U is gain · Q: ρ(U) and ‖U‖₂ are the gain, and 29 steps back are at most gain²⁹, whatever the input.
#[test]
fn certificate_over_time_is_reported_before_the_first_step() -> Result<(), Error> {
    let shape = BatchShape::sequences(4, 30);
    for gain in [0.5, 0.3, 1.0] {
        let network = tanh_over_time(gain)?;
        let w = chainrule::layer::initialize(&network, 1)?;
        let diagnosis = Diagnosis::new(&network, InputStatistics::new(1.0)?.steps(30)?)?;
        let report = diagnosis.clone().parameters(&network, &w, shape)?.report();
        let [state] = &report.states[..] else { panic!("{report}") };
        assert!((state.spectral_radius.unwrap() - gain).abs() < 1e-10, "{state}");
        assert!((0.0..1e-6).contains(&(state.spectral_norm.unwrap() - gain)), "{state}");
        let found = report.findings.iter().find(|finding| finding.cause == Cause::VanishingRecurrence);
        if gain == 1.0 {
            assert!(found.is_none() && state.certified_horizon.is_none(), "{report}");
            continue;
        }
        let (found, decades) = (found.unwrap(), 29.0 * gain.log10());
        assert!((0.0..1e-4).contains(&(found.predicted.unwrap() - decades)), "{found}, not {decades}");
        assert_eq!((found.layer.as_str(), found.is_proof), ("0", true));
        // The least k with gainᵏ below 10⁻⁴ is one beyond the horizon.
        assert_eq!(state.certified_horizon, Some((-4.0 / gain.log10()).ceil() as usize - 1), "{state}");
        // A task that asks for two steps loses little.
        let brief = diagnosis.span(2).parameters(&network, &w, shape)?.report();
        let vanishes = |finding: &Finding| finding.cause == Cause::VanishingRecurrence;
        assert!(!brief.findings.iter().any(vanishes), "{brief}");
    }
    // Of open gates nothing is certain, and nothing is said.
    let gated = Sequential::<f64>::input(2).recurrent(4, Lstm::new()).linear(2).build()?;
    let w = chainrule::layer::initialize(&gated, 1)?;
    let report = Diagnosis::new(&gated, InputStatistics::new(1.0)?.steps(30)?)?.parameters(&gated, &w, shape)?.report();
    assert!(report.states.is_empty() && report.is_healthy(), "{report}");
    Ok(())
}

/// Weights are a tenth of an orthogonal matrix and σ′ at most ¼: each layer takes 40-fold, for certain.
/// Parameters of one recurrent layer: all 0 but what is given of U, row by row, and of the forget gate's bias.
fn only(network: &Sequential<f64>, recurrent: &[f64], forget: f64) -> Vec<f64> {
    let mut w = vec![0.0; network.dims().parameters];
    for block in chainrule::Blocks::collect(|visit| network.blocks(visit)).iter() {
        match block.role {
            Role::Recurrent => w[block.range.clone()][..recurrent.len()].copy_from_slice(recurrent),
            Role::Bias => {
                // Gates in order: input, forget, candidate, output.
                let hidden = block.range.len() / 4;
                w[block.range.clone()][hidden..2 * hidden].fill(forget);
            }
            _ => {}
        }
    }
    w
}

/// A linear recurrence has λ_i = ln |eig_i(U)|; a cell of an LSTM whose weights are 0 keeps σ(b) of its state at each
/// step.
#[test]
fn lyapunov_exponents_along_the_data_are_told_before_the_first_step() -> Result<(), Error> {
    let x: Vec<f64> = (0..400).map(|t| f64::from(t % 7) - 3.0).collect();
    let linear = |u: [f64; 4], span| {
        let mut network = Sequential::<f64>::new(1);
        network.push(Recurrent::new(1, 2, Elman::new(Identity)).without_bias())?;
        let diagnosis = Diagnosis::new(&network, InputStatistics::new(1.0)?.steps(400)?)?.span(span);
        diagnosis.trajectory(&network, &only(&network, &u, 0.0), &x)
    };
    let report = linear([0.5, 1.0, 0.0, 0.8], 40)?.report();
    let found = &report.states[0].lyapunov;
    let rates = [0.8f64.log10(), 0.5f64.log10()];
    assert!((found[0] - rates[0]).abs() < 1e-9 && (found[1] - rates[1]).abs() < 1e-9, "{found:?}");
    let root = report.root().expect("0.8 to the 40 is below 0.01");
    let decades = root.predicted.unwrap_or(f64::NAN);
    assert_eq!((root.cause, root.severity, root.since), (Cause::VanishingRecurrence, Severity::Warning, None));
    assert!((decades - 40.0 * 0.8f64.log10()).abs() < 1e-6, "{decades}");
    assert!(
        format!("{report}").contains("exponents −0.097 to −0.301 decades a step: tenfold in 10.3 steps"),
        "{report}"
    );
    // Within a span of 10 steps nothing is wrong with it.
    assert!(linear([0.5, 1.0, 0.0, 0.8], 10)?.report().is_healthy());
    let report = linear([1.1, 0.3, 0.0, 0.2], 100)?.report();
    assert_eq!(root_of(&report), (Cause::ExplodingRecurrence, Severity::Critical));

    let mut lstm = Sequential::<f64>::new(1);
    lstm.push(Recurrent::new(1, 3, Lstm::new()))?;
    let diagnosis = Diagnosis::new(&lstm, InputStatistics::new(1.0)?.steps(400)?)?.span(20);
    let report = diagnosis.clone().trajectory(&lstm, &only(&lstm, &[], -2.0), &x)?.report();
    let found = &report.states[0].lyapunov;
    let kept = -2.0f64.exp().ln_1p() * std::f64::consts::LOG10_E;
    assert!(found.len() == 6 && found[..3].iter().all(|exponent| (exponent - kept).abs() < 1e-9), "{found:?}");
    assert_eq!(root_of(&report), (Cause::ClosedForgetGate, Severity::Critical));
    let open = diagnosis.clone().trajectory(&lstm, &only(&lstm, &[], 4.0), &x)?.report();
    assert!(open.is_healthy(), "{open}");
    let w = only(&lstm, &[], 0.0);
    assert!(matches!(diagnosis.clone().trajectory(&lstm, &w, &[]), Err(Error::Length { .. })));
    assert!(matches!(diagnosis.trajectory(&lstm, &w[1..], &x), Err(Error::Length { .. })));
    Ok(())
}

fn root_of(report: &Report) -> (Cause, Severity) {
    let root = report.root().unwrap_or_else(|| panic!("nothing found: {report}"));
    (root.cause, root.severity)
}

#[test]
fn certificate_is_part_of_the_sentence() -> Result<(), Error> {
    let mut network = Sequential::<f64>::new(16);
    for _ in 0..5 {
        network.push(Linear::new(16, 16).weights(Orthogonal { gain: 0.1 }))?;
        network.push(ActivationLayer::new(16, Sigmoid))?;
    }
    let w = chainrule::layer::initialize(&network, 1)?;
    let diagnosis = Diagnosis::new(&network, InputStatistics::new(1.0)?)?;
    let certain = |report: &Report| report.root().unwrap().text.contains("certified to lose at least 8.");
    // 5 log10 40 = 8.01.
    assert!(certain(&diagnosis.clone().parameters(&network, &w, BatchShape::batch(1))?.report()));
    assert!(!certain(&diagnosis.report()));
    Ok(())
}

/// Powers of U that grow because a step threw it there are that step's doing; those of the first U are its own.
#[test]
fn explosion_after_a_long_step_is_blamed_on_the_step() -> Result<(), Error> {
    let (x, y) = data(512);
    let data = Dataset::sequences(1, WIDTH, &x, Target::Classes(&y))?;
    for (gain, rate, cause) in [(1.0, 0.5, Cause::LearningRateTooHigh), (1.5, 1e-9, Cause::ExplodingRecurrence)] {
        let mut network = Sequential::<f32>::new(1);
        network.push(Recurrent::new(1, 16, Elman::new(Identity)).recurrent(Orthogonal { gain }))?;
        network.push(LastStep::new(16))?;
        network.push(Linear::new(16, 4))?;
        let settings = TrainConfig::default();
        let mut trainer = Trainer::new(&network, CrossEntropy::new(), Sgd::new(rate), settings)?;
        let (mut seen, mut batch) = (Statistics::new(), Batch::new(&data, 32));
        let samples: Vec<usize> = (0..32).collect();
        for _ in 0..2 {
            trainer.step(&data, &mut batch, &samples, &mut seen)?;
        }
        let inputs = InputStatistics::of_rows(&x)?.steps(WIDTH)?;
        let report = Diagnosis::new(&network, inputs)?.statistics(&seen).report();
        assert!(report.findings.iter().any(|finding| finding.cause == Cause::ExplodingRecurrence), "{report}");
        assert_eq!(root(&report).0, cause, "{report}");
    }
    Ok(())
}

/// Two to four decades over the span are a warning, which a loss that falls refutes.
#[test]
fn falling_loss_refutes_a_mild_vanishing_over_time() -> Result<(), Error> {
    let x: Vec<f32> = data(512).0;
    // What the last step says.
    let y: Vec<usize> = x.chunks(WIDTH).map(|row| usize::from(row[WIDTH - 1] > 0.0)).collect();
    let data = Dataset::sequences(1, WIDTH, &x, Target::Classes(&y))?;
    let mut network = Sequential::<f32>::new(1);
    network.push(Recurrent::new(1, 16, Elman::new(Tanh)).recurrent(Orthogonal { gain: 0.93 }))?;
    network.push(LastStep::new(16))?;
    network.push(Linear::new(16, 2))?;
    let chain = (ClipNorm::new(1.0), Sgd::new(0.1));
    let mut trainer = Trainer::new(&network, CrossEntropy::new(), chain, TrainConfig::default())?;
    let (mut seen, mut batch) = (Statistics::new(), Batch::new(&data, 32));
    let mut severities = Vec::new();
    for step in 0..150 {
        let samples: Vec<usize> = (0..32).map(|i| (step * 32 + i) % y.len()).collect();
        trainer.step(&data, &mut batch, &samples, &mut seen)?;
        let inputs = InputStatistics::of_rows(&x)?.steps(WIDTH)?;
        let report = Diagnosis::new(&network, inputs)?.span(WIDTH - 1).statistics(&seen).report();
        let found = report.findings.iter().find(|finding| finding.cause == Cause::VanishingRecurrence);
        if let Some(found) = found.filter(|found| found.decades > Some(-4.0)) {
            severities.push((seen.run().has_fallen(), found.severity));
        }
    }
    let expected =
        |&(fallen, severity): &(bool, Severity)| severity == if fallen { Severity::Note } else { Severity::Warning };
    assert!(severities.iter().all(expected), "{severities:?}");
    assert!(severities.iter().any(|at| at.0) && severities.iter().any(|at| !at.0));
    Ok(())
}
