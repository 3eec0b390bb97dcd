//! `Statistics`, compared with the same figures computed by hand from the values of a pass.

use crate::numbers::normals;
use chainrule::{
    BatchShape, Error, Layer,
    activation::{Activation, Relu, Tanh},
    dataset::{Batch, Dataset},
    initializer::Normal,
    layer::{ActivationLayer, Linear, Mode, Sequential, initialize},
    loss::{Loss, MeanSquaredError, Target},
    monitor::{Event, Factor, GradientMonitor, Statistics},
    recurrent::Elman,
    trainer::{TrainConfig, Trainer},
    transform::Sgd,
    workspace::Workspace,
};
use proptest::prelude::*;

const IN: usize = 5;
const HIDDEN: usize = 7;
const OUT: usize = 3;

fn length(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

fn network(activation: impl Activation, gain: f64) -> Sequential<f64> {
    let weights = Normal { mean: 0.0, std: gain };
    let mut network = Sequential::new(IN);
    network.push(Linear::new(IN, HIDDEN).weights(weights)).unwrap();
    network.push(ActivationLayer::new(HIDDEN, activation)).unwrap();
    network.push(Linear::new(HIDDEN, OUT).weights(weights)).unwrap();
    network
}

/// z = W₁x, φ′(z) and the gradients before and after the activation, from loops over the parameters.
struct ByHand {
    slopes: Vec<f64>,
    before: Vec<f64>,
    after: Vec<f64>,
}

fn by_hand(activation: &impl Activation, w: &[f64], x: &[f64], dy: &[f64]) -> ByHand {
    let second = IN * HIDDEN + HIDDEN;
    let mut found = ByHand { slopes: Vec::new(), before: Vec::new(), after: Vec::new() };
    for (x, dy) in x.chunks(IN).zip(dy.chunks(OUT)) {
        for unit in 0..HIDDEN {
            let bias = w[IN * HIDDEN + unit];
            let z = bias + x.iter().enumerate().map(|(i, x)| w[unit * IN + i] * x).sum::<f64>();
            let slope = activation.derivative(z, activation.value(z));
            let before = dy.iter().enumerate().map(|(o, dy)| w[second + o * HIDDEN + unit] * dy).sum::<f64>();
            found.slopes.push(slope);
            found.before.push(before);
            found.after.push(before * slope);
        }
    }
    found
}

/// The fractions of units whose mean |φ′| is below 0.05, and of units whose φ′ is 0 for all rows.
fn shares(slopes: &[f64], rows: usize) -> [f64; 2] {
    let of_unit = |unit: usize| slopes.iter().skip(unit).step_by(HIDDEN).map(|slope| slope.abs());
    let share = |test: &dyn Fn(usize) -> bool| (0..HIDDEN).filter(|&unit| test(unit)).count() as f64 / HIDDEN as f64;
    [share(&|unit| of_unit(unit).sum::<f64>() / (rows as f64) < 0.05), share(&|unit| of_unit(unit).all(|s| s == 0.0))]
}

fn check(activation: impl Activation + Copy, gain: f64, rows: usize, seed: u64) -> Result<(), TestCaseError> {
    let network = network(activation, gain);
    let (w, x, dy) = (initialize(&network, seed).unwrap(), normals(rows * IN, seed + 1), normals(rows * OUT, seed + 2));
    let (mut workspace, mut seen) = (Workspace::new(&network, BatchShape::batch(rows)).unwrap(), Statistics::new());
    let output =
        workspace.forward_with(&w, &x, BatchShape::batch(rows), chainrule::layer::Mode::Train, &mut seen).unwrap();
    output.dy.copy_from_slice(&dy);
    workspace.backward_with(&w, &mut seen).unwrap();
    let link = seen.links().iter().find(|link| link.factor() == Factor::Activation).unwrap();
    let hand = by_hand(&activation, &w, &x, &dy);
    let near = |said: f64, right: f64| (said - right).abs() <= 1e-9 * (1.0 + right.abs());
    let slope = hand.slopes.iter().map(|slope| slope.abs()).sum::<f64>() / hand.slopes.len() as f64;
    prop_assert!(near(link.mean_slope(), slope), "mean |φ′| {} is {slope}", link.mean_slope());
    prop_assert!(near(link.norm_in(), length(&hand.before)), "before {} is {}", link.norm_in(), length(&hand.before));
    prop_assert!(near(link.norm_out(), length(&hand.after)), "after {} is {}", link.norm_out(), length(&hand.after));
    let decades = (length(&hand.after) / length(&hand.before)).log10();
    if decades.is_finite() {
        prop_assert!(near(link.decades().mean(), decades), "{} decades are {decades}", link.decades().mean());
    }
    let [saturated, off] = shares(&hand.slopes, rows);
    prop_assert_eq!((link.saturated(), link.inactive_fraction()), (saturated, off));
    Ok(())
}

proptest! {
    #[test]
    fn statistics_of_an_activation_agree_with_a_direct_computation(rows in 1usize..9, gain in 0.1f64..6.0, seed in 0u64..1 << 40) {
        check(Tanh, gain, rows, seed)?;
        check(Relu, gain, rows, seed)?;
    }

    /// An SGD update is rate · gradient. The ratio of its norm to that of the parameters, and the gradient's norm, are
    /// exact.
    #[test]
    fn statistics_of_an_update_agree_with_a_direct_computation(rate in 1e-6f64..1.0, seed in 0u64..1 << 40) {
        step(rate, seed).map_err(|error| TestCaseError::fail(error.to_string()))??;
    }
}

fn step(rate: f64, seed: u64) -> Result<Result<(), TestCaseError>, Error> {
    let (network, rows) = (network(Tanh, 0.5), 6);
    let (x, y) = (normals(rows * IN, seed), normals(rows * OUT, seed + 1));
    let data = Dataset::rows(IN, &x, Target::Values(&y))?;
    let settings = TrainConfig { batch_size: rows, seed, ..TrainConfig::default() };
    let mut trainer = Trainer::new(&network, MeanSquaredError::new(), Sgd::new(rate), settings)?;
    let w = trainer.parameters().to_vec();
    let mut workspace = Workspace::new(&network, BatchShape::batch(rows))?;
    let output = workspace.forward(&w, &x, BatchShape::batch(rows))?;
    MeanSquaredError::new().evaluate(OUT, output.y, Target::Values(&y), None, output.dy)?;
    let gradient = workspace.backward(&w)?.to_vec();
    let (mut seen, mut batch) = (Statistics::new(), Batch::new(&data, rows));
    trainer.step(&data, &mut batch, &[0, 1, 2, 3, 4, 5], &mut seen)?;
    let near = |said: f64, right: f64| (said - right).abs() <= 1e-9 * (1.0 + right.abs());
    let blocks = trainer.workspace().blocks().iter();
    for (block, said) in blocks.zip(seen.blocks()) {
        let (g, w) = (length(&gradient[block.range.clone()]), length(&w[block.range.clone()]));
        if !near(said.gradient_norm(), g) {
            return Ok(Err(TestCaseError::fail(format!("{}: ‖g‖ {} is {g}", block.name, said.gradient_norm()))));
        }
        let ratio = said.update_ratio();
        if w > 0.0 && !near(ratio.mean(), (rate * g / w).log10()) {
            return Ok(Err(TestCaseError::fail(format!("{}: {} is {}", block.name, ratio.mean(), rate * g / w))));
        }
    }
    Ok(Ok(()))
}

/// Statistics of passes given as (loss, norm of the gradient).
fn told(passes: impl IntoIterator<Item = (f64, f64)>) -> Statistics {
    let network = Sequential::<f64>::input(1).linear(1).build().unwrap();
    let blocks = chainrule::Blocks::collect(|visit| network.blocks(visit));
    let mut seen = Statistics::new();
    for (loss, norm) in passes {
        GradientMonitor::<f64>::begin_pass(&mut seen);
        GradientMonitor::<f64>::event(&mut seen, &Event::Loss(loss));
        seen.event(&Event::Gradient { blocks: &blocks, w: &[1.0, 1.0], dw: &[norm, 0.0] });
    }
    seen
}

#[test]
fn typical_norm_after_one_jump_moves_by_a_bounded_factor() {
    let calm = (0..60).map(|_| (1.0, 0.5));
    assert_eq!(told(calm.clone()).run().typical_norm(), 0.5);
    // The mean of ln ‖g‖ moves by 0.03 · ln 10, for any jump of a factor above 10.
    let expected = 0.5 * (0.03 * 10f64.ln()).exp();
    for jump in [50.0, 1e30] {
        let seen = told(calm.clone().chain([(1.0, jump)]));
        assert!((seen.run().typical_norm() - expected).abs() < 1e-9, "{jump}: {}", seen.run().typical_norm());
        assert_eq!(seen.run().jumps(), 1);
    }
}

#[test]
fn harmful_jump_is_counted_if_the_loss_stays_higher() {
    // The loss falls from 2 to 0.1; then one gradient has 100 times its usual norm.
    let learning = |step: u32| 0.1 + 1.9 * 0.9f64.powi(step as i32);
    let before = (0..300).map(|step| (learning(step), 1.0));
    let harmful = |after: &[f64]| {
        let after = after.iter().map(|&loss| (loss, 1.0));
        told(before.clone().chain([(0.2, 100.0)]).chain(after)).run().harmful_jumps()
    };
    assert_eq!(harmful(&[1.5, 1.4, 1.3, 1.2]), 1);
    // A hard batch: the loss of the next batches is as low as before.
    assert_eq!(harmful(&[0.1, 1.5, 0.1, 1.5]), 0);
    assert_eq!(harmful(&[1.5, 0.1, 0.1, 0.1]), 0);
    // Above the usual loss, but by much less than the 1.9 that training has gained.
    assert_eq!(harmful(&[0.25, 0.25, 0.25, 0.25]), 0);
}

#[test]
fn last_pass_without_a_gradient_keeps_the_steps_of_the_one_before() -> Result<(), Error> {
    let (steps, batch) = (9, 2);
    let network = Sequential::<f64>::input(1).recurrent(3, Elman::new(Tanh)).last_step().linear(1).build()?;
    let (w, x, shape) = (initialize(&network, 1)?, vec![0.5; steps * batch], BatchShape::sequences(batch, steps));
    let (mut workspace, mut seen) = (Workspace::new(&network, shape)?, Statistics::new());
    let mut per_step = f64::NAN;
    for dy in [1.0, 0.0] {
        workspace.forward_with(&w, &x, shape, Mode::Evaluate, &mut seen)?.dy.fill(dy);
        workspace.backward_with(&w, &mut seen)?;
        let state = &seen.states()[0];
        assert_eq!((state.reach(), state.sequence()), (steps - 1, steps), "{dy}");
        per_step = if dy == 0.0 { per_step } else { state.per_step().mean() };
    }
    assert_eq!(seen.states()[0].per_step().mean(), per_step);
    // Ten times fewer after that many steps.
    let horizon = seen.states()[0].horizon();
    assert!((per_step * horizon + 1.0).abs() < 1e-12 && horizon > 0.0, "{horizon}");
    Ok(())
}
