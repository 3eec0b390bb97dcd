//! The weights with which a run ends and goes on: after an error, a callback, a change by hand, with frozen blocks.

use crate::numbers::{bits, seeded_numbers};
use chainrule::{
    Block, Blocks, Error, GradientMonitor, Layer, Role,
    activation::Tanh,
    checkpoint::{Checkpoint, Values},
    dataset::{Batch, Dataset},
    layer::Sequential,
    loss::{MeanSquaredError, Target},
    monitor::Event,
    recurrent::Elman,
    trainer::{Epoch, FitOptions, Step, TrainConfig, Trainer, Truncation},
    transform::{
        Adam, GradientTransform, Optimizer, Outcome, ScheduleFreeAdamW, Sgd, SkipNonFinite, Update, WeightAverage,
    },
};
use std::ops::ControlFlow;

/// Makes the gradient of one update NaN, counted over the life of the transform.
#[derive(Debug)]
struct Burst {
    at: u64,
    seen: u64,
}

impl Burst {
    fn at(at: u64) -> Self {
        Burst { at, seen: 0 }
    }
}

impl GradientTransform<f64> for Burst {
    fn update(&mut self, update: Update<'_, f64>) -> Result<Outcome, Error> {
        self.seen += 1;
        if self.seen == self.at {
            update.gradient.fill(f64::NAN);
        }
        Ok(Outcome::Apply)
    }
}

/// Keeps the parameters of the first pass, and the losses of all updates.
#[derive(Debug, Default)]
struct Seen {
    first: Vec<f64>,
    losses: Vec<f64>,
}

impl GradientMonitor<f64> for Seen {
    fn event(&mut self, event: &Event<'_, f64>) {
        match event {
            Event::Gradient { w, .. } if self.first.is_empty() => self.first = w.to_vec(),
            Event::Loss(loss) => self.losses.push(*loss),
            _ => {}
        }
    }
}

type Run<G> = Trainer<f64, Sequential<f64>, MeanSquaredError, G>;

const SETTINGS: TrainConfig = TrainConfig {
    epochs: 5,
    batch_size: 8,
    accumulation_steps: 1,
    seed: 0,
    shuffle: true,
    shuffle_block: None,
    patience: Some(100),
    min_delta: 0.0,
    truncation: None,
    threads: 1,
};

fn trainer<G: GradientTransform<f64>>(transform: G, settings: TrainConfig) -> Run<G> {
    let network = Sequential::<f64>::input(3).linear(8).batch_norm().tanh().linear(1).build().unwrap();
    Trainer::new(network, MeanSquaredError::new(), transform, settings).unwrap()
}

/// Inputs, targets, and the outputs at first, from which training leads away.
fn numbers() -> [Vec<f64>; 3] {
    let (x, y) = (seeded_numbers::<f64>(1, 22 * 3), seeded_numbers::<f64>(2, 22));
    let first = trainer(Sgd::new(0.1), SETTINGS).predict(&Dataset::rows(3, &x, None).unwrap()).unwrap();
    [x, y, first]
}

fn losses(epochs: &[Epoch]) -> Vec<f64> {
    epochs.iter().filter_map(|epoch| epoch.validation).map(|validation| validation.loss).collect()
}

/// A diverged epoch leaves NaN in the parameters and in the averages of Adam. The run goes on from the best epoch.
#[test]
fn run_that_diverged_under_patience_goes_on_from_its_best_epoch() -> Result<(), Error> {
    let [x, y, _] = numbers();
    let data = Dataset::rows(3, &x, Target::Values(&y))?;
    // The seventh update is the first of the third epoch.
    let mut run = trainer((Burst::at(7), Adam::new(0.01)), SETTINGS);
    let mut seen = Vec::new();
    let mut keep = |epoch: &Epoch| {
        seen.push(*epoch);
        ControlFlow::Continue(())
    };
    let error = run.fit_with(&data, FitOptions::new().validation(&data).on_epoch(&mut keep));
    assert!(matches!(error, Err(Error::NonFiniteParameters { .. })), "{error:?}");
    let best = losses(&seen).into_iter().fold(f64::INFINITY, f64::min);
    assert_eq!((seen.len(), run.evaluate(&data)?.loss), (2, best));
    assert!(run.optimizer().state().iter().all(|value| value.is_finite()));
    // It can be saved, and the epochs that are left are made from there.
    let restored = Checkpoint::from_bytes(run.network(), &run.to_bytes()?, Values::Finite)?;
    assert_eq!(bits(&restored.parameters), bits(run.parameters()));
    let (start, mut first) = (bits(run.parameters()), Seen::default());
    let rest = run.fit_with(&data, FitOptions::new().validation(&data).monitor(&mut first))?;
    assert_eq!(rest.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(bits(&first.first), start);
    assert!(losses(&rest).iter().all(|loss| loss.is_finite()));
    Ok(())
}

/// A run that a callback ended after a worse epoch: it has the best values, and keeps the last ones.
fn interrupted(data: &Dataset<'_, f64>, worse: &Dataset<'_, f64>) -> Run<Adam> {
    let mut run = trainer(Adam::new(0.05), SETTINGS);
    let mut end = |epoch: &Epoch| if epoch.epoch < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
    let epochs = run.fit_with(data, FitOptions::new().validation(worse).on_epoch(&mut end)).unwrap();
    let losses = losses(&epochs);
    assert!(losses[1] > losses[0] && run.checkpoint().numbers["best restored"] == 1, "{losses:?}");
    run
}

/// A change of a trainer from outside.
type Change<'a> = &'a dyn Fn(&mut Run<Adam>);

/// Whatever changes the trainer from outside, training continues from it, and the best values stay whole.
#[test]
fn change_of_an_interrupted_run_is_kept_by_the_next_fit() -> Result<(), Error> {
    let [x, y, first] = numbers();
    let (data, worse) = (Dataset::rows(3, &x, Target::Values(&y))?, Dataset::rows(3, &x, Target::Values(&first))?);
    let nothing = |run: &mut Run<Adam>| drop(run.evaluate(&data));
    let changes: [(&str, bool, Change<'_>); 6] = [
        ("nothing", false, &nothing),
        ("rate", false, &|run| run.set_learning_rate(0.01).unwrap()),
        ("parameters", true, &|run| run.parameters_mut()[0] += 0.5),
        ("buffers", true, &|run| run.workspace_mut().set_buffers(&[0.5; 16]).unwrap()),
        ("optimizer", true, &|run| _ = run.optimizer_mut()),
        ("step", true, &|run| {
            let mut batch = Batch::new(&data, 8);
            run.step(&data, &mut batch, &[0, 1, 2], &mut ()).unwrap();
        }),
    ];
    for (name, changes, change) in changes {
        let mut run = interrupted(&data, &worse);
        let [best, buffers] = [run.parameters(), run.workspace().buffers()].map(bits);
        change(&mut run);
        let saved = run.checkpoint();
        let (kept, kept_buffers) = saved.slices["best"].split_at(best.len());
        assert_eq!(saved.numbers["best restored"] == 0, changes, "{name}");
        assert_eq!(bits(kept) == best, changes, "{name}");
        assert_eq!(bits(kept_buffers) == buffers, changes, "{name}");
        let (now, mut seen) = (bits(run.parameters()), Seen::default());
        run.fit_with(&data, FitOptions::new().validation(&worse).monitor(&mut seen))?;
        assert_eq!(bits(&seen.first) == now, changes, "{name}");
    }
    Ok(())
}

/// Whether the epoch before was the best makes no difference.
#[test]
fn fit_that_a_callback_ends_within_an_epoch_has_the_best_weights() -> Result<(), Error> {
    let [x, y, first] = numbers();
    let (data, worse) = (Dataset::rows(3, &x, Target::Values(&y))?, Dataset::rows(3, &x, Target::Values(&first))?);
    for validation in [&data, &worse] {
        let end = |step: &Step| if step.step < 8 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
        let mut without = trainer(Adam::new(0.01), TrainConfig { patience: None, ..SETTINGS });
        without.fit_with(&data, FitOptions::new().validation(validation).on_step(end))?;
        let mut run = trainer(Adam::new(0.01), SETTINGS);
        let epochs = run.fit_with(&data, FitOptions::new().validation(validation).on_step(end))?;
        let best = losses(&epochs).into_iter().fold(f64::INFINITY, f64::min);
        assert_eq!((epochs.len(), run.evaluate(validation)?.loss), (2, best));
        // The next fit continues from the parameters within the epoch.
        let mut seen = Seen::default();
        run.fit_with(&data, FitOptions::new().validation(validation).monitor(&mut seen))?;
        assert_eq!(bits(&seen.first), bits(without.parameters()));
    }
    Ok(())
}

#[test]
fn loss_of_a_step_in_windows_is_that_of_the_applied_ones() -> Result<(), Error> {
    let (x, y) = (seeded_numbers::<f64>(1, 2 * 4), seeded_numbers::<f64>(2, 2 * 4));
    let data = Dataset::sequences(1, 4, &x, Target::Values(&y))?;
    for at in 1..4 {
        let network = Sequential::<f64>::input(1).lstm(3).linear(1).build()?;
        let truncation = Some(Truncation { window: 2, carry: true });
        let settings = TrainConfig { truncation, ..TrainConfig::default() };
        let chain = (Burst::at(at), SkipNonFinite::new(), Sgd::new(0.1));
        let mut run = Trainer::new(network, MeanSquaredError::new(), chain, settings)?;
        let (mut batch, mut seen) = (Batch::new(&data, 2), Seen::default());
        let (loss, outcome) = run.step(&data, &mut batch, &[0, 1], &mut seen)?;
        let [first, second] = seen.losses[..] else { panic!("{seen:?}") };
        let expected = [second, first, 0.5 * (first + second)][at as usize - 1];
        assert_eq!((loss, outcome), (expected, Outcome::Apply), "update {at} skipped");
    }
    Ok(())
}

/// Writes weights, freezes one block, trains, and compares the result in the block with the weights.
fn frozen_block_is_its_own_result<G: GradientTransform<f64>>(transform: G, before: bool) -> Result<(), Error> {
    let [x, y, _] = numbers();
    let data = Dataset::rows(3, &x, Target::Values(&y))?;
    let mut run = trainer(transform, TrainConfig { epochs: 1, patience: None, ..SETTINGS });
    if before {
        run.fit(&data)?;
    }
    let written = seeded_numbers::<f64>(3, run.parameters().len());
    run.parameters_mut().copy_from_slice(&written);
    run.workspace_mut().freeze("0")?;
    run.fit(&data)?;
    assert_ne!(bits(run.result()), bits(run.parameters()));
    assert_eq!(bits(&run.result()[..3 * 8 + 8]), bits(&written[..3 * 8 + 8]));
    let (model, outputs) = (run.model()?, run.predict(&data)?);
    assert_eq!(bits(&model.predict(&data)?), bits(&outputs));
    Ok(())
}

#[test]
fn frozen_block_with_written_weights_is_evaluated_as_written() -> Result<(), Error> {
    for before in [false, true] {
        frozen_block_is_its_own_result(ScheduleFreeAdamW::new(0.01, 0.1), before)?;
        frozen_block_is_its_own_result((Adam::new(0.01), WeightAverage::new(0.9).as_result()), before)?;
        let debiased = WeightAverage::new(0.9).debias().as_result();
        frozen_block_is_its_own_result((Adam::new(0.01), debiased), before)?;
    }
    Ok(())
}

/// The first step of the optimizer begins at the parameters as they are: x₁ = z₁ = y − γ g/(√v + ε).
#[test]
fn schedule_free_begins_at_written_weights() -> Result<(), Error> {
    let blocks = Blocks::collect(|visit| visit(Block::new("w", 0, [2, 1], Role::Bias)));
    let mut written = Optimizer::new(ScheduleFreeAdamW::new(0.1, 0.0), &blocks, &[5e7, -3.0])?;
    let mut made = Optimizer::new(ScheduleFreeAdamW::new(0.1, 0.0), &blocks, &[0.1, 0.7])?;
    let (mut w, mut expected) = ([0.1, 0.7], [0.1, 0.7]);
    for g in [1.0, -0.5, 0.25] {
        written.step(&blocks, &mut w, &mut [g, 2.0 * g], &mut ())?;
        made.step(&blocks, &mut expected, &mut [g, 2.0 * g], &mut ())?;
    }
    assert_eq!(bits(&w), bits(&expected));
    assert_eq!(written.result(&blocks).map(bits), made.result(&blocks).map(bits));
    Ok(())
}

#[test]
fn loaded_parameters_are_the_result_at_once() -> Result<(), Error> {
    fn check<G: GradientTransform<f64>>(transform: G) -> Result<(), Error> {
        let [x, y, _] = numbers();
        let data = Dataset::rows(3, &x, Target::Values(&y))?;
        let mut run = trainer(transform, TrainConfig { epochs: 2, patience: None, ..SETTINGS });
        run.fit(&data)?;
        let loaded = Checkpoint::new(seeded_numbers::<f64>(3, run.parameters().len()));
        let _ = run.restore_parameters(&loaded)?;
        assert_eq!(
            [run.parameters(), run.result()].map(bits),
            [&loaded.parameters, &loaded.parameters].map(|w| bits(w))
        );
        Ok(())
    }
    check(ScheduleFreeAdamW::new(0.01, 0.1))?;
    check((Adam::new(0.01), WeightAverage::new(0.9).as_result()))
}

/// A run that a callback ended after its first epoch, which is the best so far.
fn begun<G: GradientTransform<f64>>(transform: G, data: &Dataset<'_, f64>) -> Run<G> {
    let mut run = trainer(transform, SETTINGS);
    let mut end = |_: &Epoch| ControlFlow::Break(());
    run.fit_with(data, FitOptions::new().validation(data).on_epoch(&mut end)).unwrap();
    assert!(!run.checkpoint().slices["best"].is_empty());
    run
}

/// The best values of a run that an optimizer with another state took over are forgotten: it is saved, and goes on.
#[test]
fn replaced_optimizer_begins_without_best_values() -> Result<(), Error> {
    let [x, y, _] = numbers();
    let data = Dataset::rows(3, &x, Target::Values(&y))?;
    for [before, after] in [[false, true], [true, false]] {
        let chain = |result: bool| {
            let average = WeightAverage::new(0.9);
            (Adam::new(0.01), if result { average.as_result() } else { average })
        };
        let mut run = begun(chain(before), &data);
        let w = run.parameters().to_vec();
        let blocks = run.workspace().blocks().clone();
        *run.optimizer_mut() = Optimizer::new(chain(after), &blocks, &w)?;
        let mut other = trainer(chain(after), SETTINGS);
        let _ = other.load_bytes(&run.to_bytes()?)?;
        let epochs = run.fit_with(&data, FitOptions::new().validation(&data))?;
        assert_eq!(epochs, other.fit_with(&data, FitOptions::new().validation(&data))?);
        let best = losses(&epochs).into_iter().fold(f64::INFINITY, f64::min);
        assert_eq!((epochs.len(), run.evaluate(&data)?.loss), (4, best));
    }
    Ok(())
}

type Any = Trainer<f64, Box<dyn Layer<f64>>, MeanSquaredError, Adam>;

/// A workspace of another network has other parameters: every call is an error, until the right one is back.
#[test]
fn workspace_of_another_network_is_refused() -> Result<(), Error> {
    let [x, y, _] = numbers();
    let data = Dataset::rows(3, &x, Target::Values(&y))?;
    let trainer = |hidden: usize| -> Result<Any, Error> {
        let network = Sequential::<f64>::input(3).linear(hidden).batch_norm().tanh().linear(4).linear(1).build()?;
        Trainer::new(network.boxed(), MeanSquaredError::new(), Adam::new(0.01), SETTINGS)
    };
    let (mut small, mut large) = (trainer(2)?, trainer(8)?);
    let end = |_: &Epoch| ControlFlow::Break(());
    small.fit_with(&data, FitOptions::new().validation(&data).on_epoch(end))?;
    std::mem::swap(small.workspace_mut(), large.workspace_mut());
    for run in [&mut small, &mut large] {
        let error = |error: Error| assert!(matches!(error, Error::Length { .. }), "{error}");
        let mut batch = Batch::new(&data, 8);
        error(run.fit_with(&data, FitOptions::new().validation(&data)).unwrap_err());
        error(run.step(&data, &mut batch, &[0, 1], &mut ()).unwrap_err());
        error(run.evaluate(&data).unwrap_err());
        error(run.metric(&data, |_, _, _| 0.0).unwrap_err());
        error(run.predict(&data).unwrap_err());
        assert!(run.to_bytes().is_err() && run.model().is_err());
        assert!(run.restore(&run.checkpoint()).is_err());
        assert!(run.averaged_parameters().is_none());
    }
    assert!(matches!(small.block("4.weight"), Err(Error::Length { .. })));
    std::mem::swap(small.workspace_mut(), large.workspace_mut());
    for run in [&mut small, &mut large] {
        let epochs = run.fit_with(&data, FitOptions::new().validation(&data))?;
        assert!(epochs.len() >= 4 && losses(&epochs).iter().all(|loss| loss.is_finite()));
        assert_eq!(run.block("4.weight")?.len(), 4);
    }
    Ok(())
}

/// The layout of the state in windows is that of the present network, also if another has as many parameters.
#[test]
fn windows_follow_a_replaced_workspace() -> Result<(), Error> {
    let (x, y) = (seeded_numbers::<f64>(1, 10), seeded_numbers::<f64>(2, 10));
    let data = Dataset::ragged(1, &[6, 4], &x, Target::Values(&y))?;
    let trainer = |network: Sequential<f64>, window: Option<usize>| -> Result<Any, Error> {
        let settings = TrainConfig { truncation: window.map(Truncation::new), patience: None, ..SETTINGS };
        Trainer::new(network.boxed(), MeanSquaredError::new(), Adam::new(0.01), settings)
    };
    // Both have 19 parameters; a sample has 3 values of state, and 2.
    let elman = || Sequential::<f64>::input(1).recurrent(3, Elman::new(Tanh)).linear(1).build().unwrap();
    let lstm = || Sequential::<f64>::input(1).lstm(1).linear(1).linear(1).linear(1).prelu().build().unwrap();
    let (mut run, mut other) = (trainer(elman(), Some(2))?, trainer(lstm(), Some(2))?);
    std::mem::swap(run.workspace_mut(), other.workspace_mut());
    for (run, network) in [(&mut run, lstm()), (&mut other, elman())] {
        let mut whole = trainer(network, None)?;
        whole.parameters_mut().copy_from_slice(run.parameters());
        assert_eq!(bits(&run.predict(&data)?), bits(&whole.predict(&data)?));
        assert!(run.fit(&data)?.iter().all(|epoch| epoch.loss.is_finite()));
    }
    Ok(())
}

/// Other parameters begin their own run: the best of the old ones does not come back.
#[test]
fn loaded_parameters_forget_the_best_of_an_interrupted_run() -> Result<(), Error> {
    let [x, y, first] = numbers();
    let (data, near) = (Dataset::rows(3, &x, Target::Values(&y))?, Dataset::rows(3, &x, Target::Values(&first))?);
    // The outputs at first are the targets of the first run: its losses are far below those of the other data.
    let mut run = begun(Adam::new(1e-4), &near);
    let loaded = trainer(Adam::new(1e-4), TrainConfig { seed: 7, ..SETTINGS }).checkpoint();
    let _ = run.restore_parameters(&loaded)?;
    assert!(run.checkpoint().slices["best"].is_empty());
    let mut seen = Seen::default();
    let epochs = run.fit_with(&data, FitOptions::new().validation(&data).monitor(&mut seen))?;
    assert_eq!(bits(&seen.first), bits(&loaded.parameters));
    let best = losses(&epochs).into_iter().fold(f64::INFINITY, f64::min);
    assert_eq!((epochs.len(), run.evaluate(&data)?.loss), (4, best));
    Ok(())
}

/// A fit without an epoch is an error that changes nothing, also while a run is interrupted within one.
#[test]
fn fit_without_epochs_keeps_the_best_weights() -> Result<(), Error> {
    let [x, y, _] = numbers();
    let data = Dataset::rows(3, &x, Target::Values(&y))?;
    let mut run = trainer(Adam::new(0.01), SETTINGS);
    // An epoch has three updates.
    let mut end = |step: &Step| if step.step < 5 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
    let epochs = run.fit_with(&data, FitOptions::new().validation(&data).on_step(&mut end))?;
    let (before, best) = (bits(run.parameters()), losses(&epochs)[0]);
    assert_eq!((epochs.len(), run.evaluate(&data)?.loss), (1, best));
    run.set_epochs(0);
    for _ in 0..2 {
        let refused = run.fit_with(&data, FitOptions::new().validation(&data));
        assert!(matches!(refused, Err(Error::Parameter { what: "epochs", .. })), "{refused:?}");
        assert_eq!((bits(run.parameters()), run.evaluate(&data)?.loss), (before.clone(), best));
    }
    Ok(())
}
