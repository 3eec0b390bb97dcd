//! Runs whose parameters are still the initial ones: they convict what kept the updates small, and nothing else.

use crate::{
    harmless::{WIDTH, above_a_note, normal, run_with, signs},
    wrecks::Reversed,
};
use chainrule::{
    Error, Layer,
    activation::{Sigmoid, Tanh},
    dataset::{Dataset, Windows},
    diagnosis::{Cause, Report},
    initializer::{ByGate, Constant, He, Zeros},
    layer::{Linear, Sequential},
    loss::{CrossEntropy, Loss, MeanSquaredError, Target},
    recurrent::{Elman, Gru, Recurrent},
    transform::{Adam, ClipNorm, GradientTransform, ParameterGroups, Schedule, Sgd},
};

fn told<L: Layer<f32>>(
    network: &L,
    data: &Dataset<'_, f32>,
    loss: &dyn Loss<f32>,
    chain: impl GradientTransform<f32> + Clone,
    steps: usize,
) -> Result<Report, Error> {
    run_with(network, data, loss, chain.clone(), steps, |_, _| {}, |diagnosis| diagnosis.transform(&chain))
}

fn faults(report: &Report) -> Vec<Cause> {
    report.faults().map(|it| it.cause).collect()
}

fn wave() -> Vec<f32> {
    (0..2000).map(|t| t as f32).map(|t| (t * 0.2).sin() + (t * 0.031).sin()).collect()
}

/// A rate at which nothing moves says nothing of gates, whose means are those of the description.
#[test]
fn tiny_rate_of_a_default_gru_is_the_rate() -> Result<(), Error> {
    let wave = wave();
    let data = Windows::new(24).stride(8).every_step().of(1, &wave)?;
    let (network, loss) = (Sequential::<f32>::input(1).gru(16).linear(1).build()?, MeanSquaredError::new());
    let sgd = told(&network, &data, &loss, Sgd::new(1e-6), 300)?;
    assert_eq!(faults(&sgd), [Cause::LearningRateTooLow], "{sgd}");
    let adam = told(&network, &data, &loss, Adam::new(1e-7), 300)?;
    assert_eq!(faults(&adam), [Cause::LearningRateTooLow], "{adam}");
    let usual = told(&network, &data, &loss, Adam::new(0.01), 300)?;
    assert!(usual.is_healthy(), "{usual}");
    Ok(())
}

/// A warm-up of a million steps moves nothing in the whole run, nor does a schedule whose rate is spent after five.
#[test]
fn schedule_that_never_moves_the_parameters_is_a_fault() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y = signs(&x);
    let (data, loss) = (Dataset::rows(WIDTH, &x, Target::Classes(&y))?, CrossEntropy::new());
    let network = Sequential::<f32>::input(WIDTH).linear(32).activation(Tanh).linear(2).build()?;
    let begins = told(&network, &data, &loss, (Adam::new(0.01), Schedule::warm_up(1e-6, 1_000_000)), 320)?;
    assert_eq!(faults(&begins), [Cause::LearningRateTooLow], "{begins}");
    let spent = told(&network, &data, &loss, (Adam::new(0.002), Schedule::multi_step(&[5], 1e-4)), 320)?;
    assert_eq!(faults(&spent), [Cause::LearningRateTooLow], "{spent}");
    assert!(spent.root().is_some_and(|root| root.schedule.is_some()), "{spent}");
    let whole = told(&network, &data, &loss, (Adam::new(0.01), Schedule::warm_up(0.01, 100)), 320)?;
    assert!(whole.is_healthy(), "{whole}");
    Ok(())
}

/// A clip to a hundred-thousandth holds the parameters, whether the loss creeps or not. The rate is sound.
#[test]
fn clip_that_holds_the_parameters_is_the_root() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y: Vec<f32> = x.chunks(WIDTH).map(|row| row[0] * row[1] + row[2]).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Values(&y))?;
    // Outputs that begin large have a loss far above that of constant outputs, which falls at any rate.
    let first = Linear::new(WIDTH, 40).weights(He::normal().gain(3.0));
    let network = Sequential::<f32>::input(WIDTH).layer(first).activation(Tanh).linear(1).build()?;
    let chain = |norm: f64| (ClipNorm::new(norm), Sgd::new(0.02).momentum(0.9));
    let held = told(&network, &data, &MeanSquaredError::new(), chain(5e-5), 400)?;
    assert_eq!(faults(&held), [Cause::ClipThresholdTooLow], "{held}");
    let free = told(&network, &data, &MeanSquaredError::new(), chain(5.0), 400)?;
    assert!(!above_a_note(&free, Cause::ClipThresholdTooLow), "{free}");
    Ok(())
}

/// Behind output weights of 0 no other block has a gradient: a group that holds them holds the run.
#[test]
fn zero_outputs_at_a_tiny_group_rate_are_a_frozen_block() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y = signs(&x);
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let network = Sequential::<f32>::input(WIDTH).linear(48).activation(Tanh);
    let network = network.layer(Linear::new(48, 2).weights(Zeros)).build()?;
    let chain = |rate: f64| (Sgd::new(0.02).momentum(0.9), ParameterGroups::new().rate("2", rate));
    let held = told(&network, &data, &CrossEntropy::new(), chain(1e-9), 320)?;
    let root = held.root().map(|root| (root.cause, &*root.layer));
    assert_eq!(root, Some((Cause::FrozenBlock, "2")), "{held}");
    let free = told(&network, &data, &CrossEntropy::new(), chain(1.0), 320)?;
    assert!(free.is_healthy(), "{free}");
    Ok(())
}

/// The sign of the first value, told after noise: a state that forgets within two steps cannot tell it, whatever a
/// permutation test finds.
#[test]
fn fast_forgetting_is_a_fault_of_a_run_that_is_held_up() -> Result<(), Error> {
    const STEPS: usize = 16;
    let x = normal(1024 * STEPS);
    let y: Vec<usize> = x.chunks(STEPS).map(|x| usize::from(x[0] > 0.0)).collect();
    let data = Dataset::sequences(1, STEPS, &x, Target::Classes(&y))?;
    let sigmoid = Sequential::<f32>::input(1).recurrent(16, Elman::new(Sigmoid)).last_step().linear(2).build()?;
    let report = told(&sigmoid, &data, &CrossEntropy::new(), Adam::new(0.003), 200)?;
    assert!(above_a_note(&report, Cause::VanishingRecurrence), "{report}");
    let bias = ByGate::new(Zeros).gate("update", Constant(-9.0));
    let layer = Recurrent::new(1, 16, Gru::new()).bias(bias);
    let shut = Sequential::<f32>::input(1).layer(layer).last_step().linear(2).build()?;
    let report = told(&shut, &data, &CrossEntropy::new(), Adam::new(0.003), 200)?;
    assert!(above_a_note(&report, Cause::ClosedForgetGate), "{report}");
    // A default gate keeps half of the state, and is not closed.
    let usual = Sequential::<f32>::input(1).gru(16).last_step().linear(2).build()?;
    let report = told(&usual, &data, &CrossEntropy::new(), Adam::new(0.003), 40)?;
    assert!(!report.findings.iter().any(|it| it.cause == Cause::ClosedForgetGate), "{report}");
    assert!(report.is_healthy(), "{report}");
    Ok(())
}

/// What the climb left in a recurrent state is no cause of it.
#[test]
fn reversed_gradient_precedes_what_it_leaves_behind() -> Result<(), Error> {
    const STEPS: usize = 24;
    let x = normal(256 * STEPS);
    let lag = x.chunks(STEPS).flat_map(|x| (0..STEPS).map(|t| if t > 1 { x[t - 2] } else { 0.0 }));
    let y: Vec<f32> = lag.collect();
    let data = Dataset::sequences(1, STEPS, &x, Target::Values(&y))?;
    let network = Sequential::<f32>::input(1).recurrent(24, Elman::new(Tanh)).linear(1).build()?;
    let report = told(&network, &data, &Reversed, Adam::new(0.005), 300)?;
    assert_eq!(faults(&report), [Cause::NoCauseFound], "{report}");
    assert!(report.root().is_some_and(|root| root.because.contains("wrong sign")), "{report}");
    Ok(())
}

/// A weight vector of 4096 equal inputs follows its target by a thousandth of its size: the loss falls by a third, all
/// the way and by no noise, and does not stand still.
#[test]
fn small_moves_of_a_falling_loss_are_no_low_rate() -> Result<(), Error> {
    const WIDE: usize = 4096;
    let y = normal(64);
    let x: Vec<f32> = y.iter().flat_map(|&y| [y; WIDE]).collect();
    let (data, loss) = (Dataset::rows(WIDE, &x, Target::Values(&y))?, MeanSquaredError::new());
    let network = Sequential::<f32>::input(WIDE).linear(1).build()?;
    // The weights' sum goes to 1 by the factor (1 − 2 n η) a step.
    let report = told(&network, &data, &loss, Sgd::new(0.002 / (2.0 * WIDE as f64)), 150)?;
    assert!(report.faults().all(|it| it.cause != Cause::LearningRateTooLow), "{report}");
    assert!(!format!("{report}").contains("stands still"), "{report}");
    Ok(())
}
