//! Healthy networks and runs in which a measurement alone looks like a fault.

use crate::harmless::{WIDTH, above_a_note, checked, normal, run, run_with, signs};
use chainrule::{
    BatchShape, Error,
    activation::{Gelu, Relu, Sigmoid, Tanh},
    dataset::{Batch, Dataset},
    diagnosis::{Cause, Diagnosis, Report, Severity, first_check},
    initializer::{ByGate, Constant, He, LeCun, Normal, Orthogonal, Zeros},
    layer::{Dropout, Embedding, LayerNorm, Linear, Merge, Residual, Sequential},
    loss::{CrossEntropy, MeanSquaredError, Target},
    monitor::Statistics,
    recurrent::{Lstm, Recurrent},
    theory::InputStatistics,
    trainer::{TrainConfig, Trainer},
    transform::{Adam, ClipNorm, Lion, ParameterGroups, Schedule, Sgd},
};

fn check(network: &Sequential<f32>, x: &[f32]) -> Result<Report, Error> {
    checked(network, x, BatchShape::batch(x.len() / WIDTH))
}

fn noise(count: usize) -> Vec<f32> {
    crate::numbers::normals(count, 3)
}

fn has_note(report: &Report) -> bool {
    report.findings.iter().any(|it| it.severity == Severity::Note)
}

/// A head that begins small on purpose scales the gradients of all layers below alike, and grows by its own.
#[test]
fn small_head_is_a_note() -> Result<(), Error> {
    let x = normal(64 * WIDTH);
    let tanh = |inputs, outputs| Linear::new(inputs, outputs).weights(LeCun::normal());
    let network = |gains: [f64; 2]| {
        let first = Sequential::<f32>::input(WIDTH).layer(tanh(WIDTH, 64)).activation(Tanh);
        let hidden = Linear::new(64, 64).weights(LeCun::normal().gain(gains[0]));
        let head = Linear::new(64, 4).weights(Orthogonal { gain: gains[1] });
        first.layer(hidden).activation(Tanh).layer(head).build()
    };
    let small = check(&network([1.0, 1e-3])?, &x)?;
    assert!(small.is_healthy() && has_note(&small), "{small}");
    let narrow = check(&network([1e-3, 1.0])?, &x)?;
    assert!(above_a_note(&narrow, Cause::Bottleneck), "{narrow}");
    let both = check(&network([1e-3, 1e-3])?, &x)?;
    assert!(!both.is_healthy(), "{both}");
    Ok(())
}

/// A norm divides by the scale of the weights before it, of a table too, and behind dropout or in a container.
#[test]
fn norm_behind_the_first_weights_takes_their_scale() -> Result<(), Error> {
    let words: Vec<f32> = (0..64).map(|word| (word * 7 % 50) as f32).collect();
    let table = Embedding::new(50, 32).weights(Normal { mean: 0.0, std: 1e-4 });
    let network = Sequential::<f32>::input(1).layer(table).layer_norm().linear(2).build()?;
    let report = first_check(&network, &words, BatchShape::batch(64), None, 0)?;
    assert!(report.is_healthy(), "{report}");
    let x: Vec<f32> = normal(64 * WIDTH).iter().map(|x| 100.0 * x).collect();
    let inner = || Sequential::<f32>::input(32).layer(LayerNorm::new(32)).activation(Relu).build();
    for dropout in [0.0, 0.1] {
        let first = Sequential::<f32>::input(WIDTH).linear(32).layer(Dropout::new(32, dropout)?);
        let report = check(&first.layer(inner()?).linear(2).build()?, &x)?;
        assert!(report.is_healthy(), "{report}");
    }
    let plain = Sequential::<f32>::input(WIDTH).linear(32).layer(Dropout::new(32, 0.1)?).activation(Relu).linear(2);
    assert!(above_a_note(&check(&plain.build()?, &x)?, Cause::UnscaledInput));
    Ok(())
}

/// GELU and its like are 0 at 0, where their slope is ½.
#[test]
fn activation_of_zeros_is_not_dead() -> Result<(), Error> {
    let x = normal(64 * WIDTH);
    let mut network = Sequential::<f32>::input(WIDTH).linear(WIDTH);
    for _ in 0..2 {
        let zero = Linear::new(WIDTH, WIDTH).weights(Zeros);
        let branch = Sequential::<f32>::input(WIDTH).layer_norm().layer(zero).activation(Gelu).linear(WIDTH);
        network = network.layer(Residual::new(branch.build()?)?);
    }
    let report = check(&network.linear(2).build()?, &x)?;
    assert!(!above_a_note(&report, Cause::DeadUnits), "{report}");
    Ok(())
}

/// The size of inputs is judged by the first pre-activations, also those of a recurrent layer.
#[test]
fn scaled_down_weights_of_a_recurrent_layer_scale_its_inputs() -> Result<(), Error> {
    let x: Vec<f32> = normal(64 * WIDTH).iter().map(|x| 30.0 * x).collect();
    let of = |gain| {
        let layer = Recurrent::new(4, 12, Lstm::new()).weights(LeCun::normal().gain(gain));
        Sequential::<f32>::input(4).layer(layer).last_step().linear(2).build()
    };
    let shape = BatchShape::sequences(64, 4);
    let scaled = checked(&of(0.1)?, &x, shape)?;
    assert!(!above_a_note(&scaled, Cause::UnscaledInput), "{scaled}");
    assert!(above_a_note(&checked(&of(1.0)?, &x, shape)?, Cause::UnscaledInput));
    Ok(())
}

/// Random features that are frozen need no gradient.
#[test]
fn frozen_random_features_may_saturate() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y = signs(&x);
    let features = Linear::new(WIDTH, 200).weights(LeCun::normal().gain(8.0));
    let network = Sequential::<f32>::input(WIDTH).layer(features).activation(Tanh).linear(2).build()?;
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    for frozen in [true, false] {
        let mut trainer = Trainer::new(&network, CrossEntropy::new(), Sgd::new(1e-4), TrainConfig::default())?;
        if frozen {
            trainer.workspace_mut().freeze("0")?;
        }
        let (mut seen, mut batch) = (Statistics::new(), Batch::new(&data, 32));
        for _ in 0..5 {
            trainer.step(&data, &mut batch, &(0..32).collect::<Vec<_>>(), &mut seen)?;
        }
        let report = Diagnosis::new(&network, InputStatistics::new(1.0)?)?.statistics(&seen).report();
        assert_eq!(above_a_note(&report, Cause::LargeWeights), !frozen, "{report}");
    }
    Ok(())
}

/// A gradient that shrinks weights to a small optimum is no decay.
#[test]
fn weights_that_the_gradient_shrinks_are_not_decayed() -> Result<(), Error> {
    let (x, noise) = (normal(512 * 20), noise(512));
    let y: Vec<f32> = x.chunks(20).zip(&noise).map(|(x, noise)| 0.1 * x[0] + noise).collect();
    let data = Dataset::rows(20, &x, Target::Values(&y))?;
    let network = Sequential::<f32>::input(20).layer(Linear::new(20, 1).weights(LeCun::normal())).build()?;
    for steps in [20, 40, 60, 80, 100] {
        let report = run(&network, &data, &MeanSquaredError::new(), Sgd::new(0.02), steps, |_, _| {})?;
        assert!(!above_a_note(&report, Cause::DecayTooStrong), "{steps}: {report}");
    }
    Ok(())
}

/// The loss of constant outputs is that of all targets: of a rare class a few samples tell little.
#[test]
fn chance_is_that_of_all_targets() -> Result<(), Error> {
    let x = normal(4096 * WIDTH);
    // No sample of every sixteenth has the rare class.
    let y: Vec<usize> = (0..4096).map(|sample| usize::from(sample % 128 == 1)).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let network = Sequential::<f32>::input(WIDTH).linear(2).build()?;
    let report = run(&network, &data, &CrossEntropy::new(), Sgd::new(0.1), 2, |_, _| {})?;
    let rare = 1.0_f64 / 128.0;
    let entropy = -rare * rare.ln() - (1.0 - rare) * (1.0 - rare).ln();
    let chance = report.chance.unwrap_or_else(|| panic!("{report}"));
    assert!((chance / entropy - 1.0).abs() < 0.02, "{chance} {entropy}");
    Ok(())
}

/// A run that has reached what its noise allows stands still, and is not held up. What it learned counts, also where
/// the first watched loss is that of a trained network.
#[test]
fn converged_run_does_not_need_its_state() -> Result<(), Error> {
    const STEPS: usize = 24;
    let (x, noise) = (normal(256 * STEPS), noise(256));
    let told = |of: usize, before: usize| -> Result<Report, Error> {
        let y = x.chunks(STEPS).zip(&noise).map(|(x, noise)| 0.6 * x[of] + 0.8 * noise);
        let y: Vec<f32> = y.collect();
        let data = Dataset::sequences(1, STEPS, &x, Target::Values(&y))?;
        let bias = ByGate::new(Zeros).gate("forget", Constant(-3.0));
        let layer = Recurrent::new(1, 8, Lstm::new()).bias(bias);
        let network = Sequential::<f32>::input(1).layer(layer).last_step().linear(1).build()?;
        let mut trainer = Trainer::new(&network, MeanSquaredError::new(), Adam::new(0.02), TrainConfig::default())?;
        let (mut seen, mut batch) = (Statistics::new(), Batch::new(&data, 64));
        for step in 0..before + 60 {
            let samples: Vec<usize> = (0..64).map(|i| (step * 64 + i) % 256).collect();
            match step < before {
                true => trainer.step(&data, &mut batch, &samples, &mut ()).map(drop)?,
                false => trainer.step(&data, &mut batch, &samples, &mut seen).map(drop)?,
            }
        }
        let inputs = InputStatistics::of_rows(&x)?.steps(STEPS)?;
        let diagnosis =
            Diagnosis::new(&network, inputs)?.task(trainer.parameters(), &data, &MeanSquaredError::new())?;
        Ok(diagnosis.statistics(&seen).report())
    };
    // The answer is in the last step, or in the first.
    for before in [0, 100] {
        let report = told(STEPS - 1, before)?;
        assert!(report.is_healthy() && has_note(&report), "{before}: {report}");
    }
    assert!(above_a_note(&told(0, 0)?, Cause::ClosedForgetGate));
    Ok(())
}

/// A step at the end of a schedule is short; the mean of the run shows whether the rate was too low.
#[test]
fn ended_schedule_is_no_low_rate() -> Result<(), Error> {
    let (x, noise) = (normal(256 * WIDTH), noise(256));
    let y: Vec<f32> = x.chunks(WIDTH).zip(&noise).map(|(x, noise)| 0.6 * x[0] + 0.8 * noise).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Values(&y))?;
    let network =
        Sequential::<f32>::input(WIDTH).layer(Linear::new(WIDTH, 1).weights(He::normal().gain(0.1))).build()?;
    let cosine = Schedule::cosine(120, 1e-6);
    // A rate that dies at once was large for one step only.
    for (rate, schedule, low) in
        [(0.2, cosine.clone(), false), (1e-8, cosine, true), (5e-5, Schedule::exponential(0.7), true)]
    {
        let chain = (Sgd::new(rate), schedule);
        let mut trainer = Trainer::new(&network, MeanSquaredError::new(), chain, TrainConfig::default())?;
        let (mut seen, mut batch) = (Statistics::new(), Batch::new(&data, 64));
        for step in 0..140 {
            let samples: Vec<usize> = (0..64).map(|i| (step * 64 + i) % 256).collect();
            trainer.step(&data, &mut batch, &samples, &mut seen)?;
        }
        let report = Diagnosis::new(&network, InputStatistics::of_rows(&x)?)?.statistics(&seen).report();
        assert_eq!(above_a_note(&report, Cause::LearningRateTooLow), low, "{report}");
    }
    Ok(())
}

/// Three sigmoid layers have like pre-activations; a loss that has begun to fall tells inputs apart.
#[test]
fn like_pre_activations_are_no_collapse_where_something_is_learned() -> Result<(), Error> {
    let (x, noise) = (normal(512 * WIDTH), noise(512));
    let y: Vec<f32> = x.chunks(WIDTH).zip(&noise).map(|(x, noise)| 0.6 * x[0] + 0.8 * noise).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Values(&y))?;
    let mut network = Sequential::<f32>::input(WIDTH);
    for _ in 0..3 {
        network = network.linear(32).activation(Sigmoid);
    }
    let network = network.linear(1).build()?;
    let report = run(&network, &data, &MeanSquaredError::new(), Adam::new(3e-3), 300, |_, _| {})?;
    assert!(!above_a_note(&report, Cause::CollapsedRepresentation), "{report}");
    Ok(())
}

/// A loss on its way down to constant outputs has shown nothing of its inputs yet, and is not held up.
#[test]
fn falling_loss_is_not_called_stalled() -> Result<(), Error> {
    const STEPS: usize = 24;
    let x = normal(256 * STEPS);
    let bias = ByGate::new(Zeros).gate("forget", Constant(-3.0));
    let layer = Recurrent::new(1, 8, Lstm::new()).bias(bias);
    let network = Sequential::<f32>::input(1).layer(layer).last_step().linear(1).build()?;
    // Long after it has arrived there, it is. Parameters that have hardly moved show nothing of the state.
    for (mean, rate, updates, held_up) in
        [(5.0, 0.01, 40, false), (0.0, 1e-4, 40, false), (0.0, 0.1, 40, true), (5.0, 0.01, 1000, true)]
    {
        let y: Vec<f32> = x.chunks(STEPS).map(|x| mean + x[0]).collect();
        let data = Dataset::sequences(1, STEPS, &x, Target::Values(&y))?;
        let report = run(&network, &data, &MeanSquaredError::new(), Sgd::new(rate), updates, |_, _| {})?;
        assert_eq!(above_a_note(&report, Cause::ClosedForgetGate), held_up, "{mean}, {rate}, {updates}: {report}");
    }
    Ok(())
}

/// A network of two branches of outputs. The first has hidden weights and a head of these gains.
pub(crate) fn heads([hidden, head]: [f64; 2]) -> Result<Sequential<f32>, Error> {
    let tanh = |inputs, outputs, gain| Linear::new(inputs, outputs).weights(LeCun::normal().gain(gain));
    let first = Sequential::<f32>::input(WIDTH).layer(tanh(WIDTH, 64, 1.0)).activation(Tanh);
    let policy = Linear::new(64, 4).weights(Orthogonal { gain: head });
    let both = first.parallel(Merge::Concatenate, |all| {
        all.branch(|actor| {
            let first = actor.layer(tanh(64, 64, 1.0)).activation(Tanh);
            first.layer(tanh(64, 64, hidden)).activation(Tanh).layer(policy)
        })
        .branch(|value| value.layer(tanh(64, 64, 1.0)).activation(Tanh).layer(tanh(64, 1, 1.0)))
    });
    both.build()
}

/// The head of a policy begins small on purpose, beside that of a value.
#[test]
fn small_head_of_a_branch_is_a_note() -> Result<(), Error> {
    let small = check(&heads([1.0, 1e-3])?, &normal(64 * WIDTH))?;
    assert!(small.is_healthy() && has_note(&small), "{small}");
    Ok(())
}

/// A norm behind the first weights of each branch divides by the size of the inputs.
#[test]
fn norm_in_each_branch_takes_the_scale_of_its_weights() -> Result<(), Error> {
    let x: Vec<f32> = normal(64 * WIDTH).iter().map(|x| 1000.0 * x).collect();
    let both = || {
        Sequential::<f32>::input(WIDTH).parallel(Merge::Concatenate, |all| {
            all.branch(|it| it.linear(32).layer(LayerNorm::new(32)).activation(Relu).linear(8))
                .branch(|it| it.linear(32).layer(LayerNorm::new(32)).activation(Relu).linear(8))
        })
    };
    for network in [both().build()?, both().activation(Relu).linear(2).build()?] {
        let report = check(&network, &x)?;
        assert!(report.is_healthy(), "{report}");
    }
    Ok(())
}

/// A group at a larger rate makes the others slow beside it, as their rates say.
#[test]
fn blocks_beside_a_group_at_a_larger_rate_are_not_frozen() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y = signs(&x);
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let network = Sequential::<f32>::input(WIDTH).linear(32).activation(Tanh).linear(32).activation(Tanh);
    let network = network.linear(2).build()?;
    let (chain, loss) = ((Sgd::new(1e-5), ParameterGroups::new().rate("4", 1000.0)), CrossEntropy::new());
    let untold = run(&network, &data, &loss, chain.clone(), 12, |_, _| {})?;
    assert!(above_a_note(&untold, Cause::FrozenBlock), "{untold}");
    let told = run_with(&network, &data, &loss, chain.clone(), 12, |_, _| {}, |it| it.transform::<f32>(&chain))?;
    assert!(!above_a_note(&told, Cause::FrozenBlock), "{told}");
    Ok(())
}

/// Where nothing can be learned, a clip that the optimizer divides out is not at fault.
#[test]
fn clip_before_lion_changes_nothing() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y: Vec<usize> = noise(256).iter().map(|noise| usize::from(*noise > 0.0)).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let network = Sequential::<f32>::input(WIDTH).linear(8).activation(Tanh).linear(2).build()?;
    let (chain, loss) = ((ClipNorm::new(1e-2), Lion::new(1e-4)), CrossEntropy::new());
    let untold = run(&network, &data, &loss, chain.clone(), 40, |_, _| {})?;
    let told = run_with(&network, &data, &loss, chain.clone(), 40, |_, _| {}, |it| it.transform::<f32>(&chain))?;
    for report in [untold, told] {
        assert!(!above_a_note(&report, Cause::ClipThresholdTooLow), "{report}");
    }
    Ok(())
}

/// A bounded activation does not pass the size of the first weights on.
#[test]
fn large_first_weights_end_at_a_bounded_activation() -> Result<(), Error> {
    let x = normal(64 * WIDTH);
    let of = |bounded: bool| {
        let loud = Linear::new(WIDTH, 32).weights(He::normal().gain(100.0));
        let first = Sequential::<f32>::input(WIDTH).layer(loud).activation(Relu).linear(32);
        if bounded { first.activation(Tanh).linear(2).build() } else { first.activation(Relu).linear(2).build() }
    };
    let says = |report: &Report| report.findings.iter().any(|it| it.text.contains("passes their size on"));
    let [bounded, plain] = [check(&of(true)?, &x)?, check(&of(false)?, &x)?];
    assert!(!says(&bounded), "{bounded}");
    assert!(says(&plain), "{plain}");
    Ok(())
}

/// The evenly spaced samples whose outputs are examined may have larger targets than the others.
#[test]
fn outputs_are_squashed_by_the_samples_examined() -> Result<(), Error> {
    let (x, noise) = (normal(4096 * WIDTH), noise(4096));
    let y: Vec<f32> =
        noise.iter().enumerate().map(|(at, noise)| if at % 16 == 0 { *noise } else { 0.01 * noise }).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Values(&y))?;
    let network = Sequential::<f32>::input(WIDTH).linear(1).activation(Tanh).build()?;
    let report = run(&network, &data, &MeanSquaredError::new(), Sgd::new(1e-3), 2, |_, _| {})?;
    assert!(!above_a_note(&report, Cause::SquashedOutputs), "{report}");
    Ok(())
}
