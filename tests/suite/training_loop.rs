//! The training loop reports what happened: losses, skipped updates, ends of runs, errors with their place.

use super::trainer::{Gradients, values};
use crate::numbers::bits;
use chainrule::{
    Blocks, DataRule, Error, GradientMonitor, Scalar,
    activation::Tanh,
    dataset::{Batch, Dataset},
    layer::{Linear, Sequential},
    loss::{
        BinaryCrossEntropy, CrossEntropy, Focal, Huber, Loss, MeanSquaredError, MultiMargin, NegativeLogLikelihood,
        Reduction, SmoothL1, Target, ValueWeights,
    },
    metrics::accuracy,
    monitor::{Event, Every, Statistics},
    recurrent::Lstm,
    trainer::{Epoch, FitOptions, Step, TrainConfig, Trainer},
    transform::{
        Adagrad, Adam, AdamW, ClipBlockNorm, ClipNorm, ClipValue, GradientTransform, Optimizer, Outcome,
        ParameterGroups, Penalty, ReduceOnPlateau, RmsProp, Schedule, ScheduleFreeAdamW, Sgd, SkipNonFinite, Stage,
        Unordered, Update, WeightAverage,
    },
};
use std::ops::ControlFlow;

type Net = Sequential<f64>;

fn mlp() -> Net {
    Sequential::input(3).linear(8).activation(Tanh).linear(2).build().unwrap()
}

fn trainer<C: Loss<f64>, G: GradientTransform<f64>>(
    network: Net,
    loss: C,
    transform: G,
    settings: TrainConfig,
) -> Trainer<f64, Net, C, G> {
    Trainer::new(network, loss, transform, settings).unwrap()
}

fn ordered(batch: usize, epochs: usize) -> TrainConfig {
    TrainConfig { batch_size: batch, epochs, shuffle: false, ..TrainConfig::default() }
}

/// With a rate of 0 the loss of an epoch is that of the data, however it is divided and whatever is masked.
#[test]
fn epoch_loss_at_rate_zero_is_the_evaluation() {
    fn check<C: Loss<f64> + Clone>(network: fn() -> Net, loss: C, data: &Dataset<'_, f64>) {
        let mut whole = None;
        for (batch, accumulate) in [(100, 1), (1, 1), (4, 1), (5, 1), (2, 3), (5, 2)] {
            let settings =
                TrainConfig { batch_size: batch, accumulation_steps: accumulate, epochs: 1, ..TrainConfig::default() };
            let mut trainer = trainer(network(), loss.clone(), Sgd::new(0.0), settings);
            let expected = trainer.evaluate(data).unwrap().loss;
            let found = trainer.fit(data).unwrap()[0].loss;
            let whole = *whole.get_or_insert(expected);
            for (name, value) in [("evaluation", expected), ("epoch", found)] {
                assert!(
                    (value - whole).abs() <= 1e-12 * whole,
                    "{loss:?}, {batch}·{accumulate}: {name} {value}, {whole}"
                );
            }
        }
    }
    let (x, y) = (values(1, 22 * 3), values(2, 22 * 2));
    let weights: Vec<f64> = (0..22).map(|i| f64::from(i % 4) * 0.7).collect();
    let plain = Dataset::rows(3, &x, Target::Values(&y)).unwrap();
    let masked = plain.clone().row_weights(&weights).unwrap();
    for reduction in [Reduction::Mean, Reduction::Sum] {
        check(mlp, MeanSquaredError::new().reduction(reduction), &plain);
        check(mlp, MeanSquaredError::new().reduction(reduction), &masked);
        let classes: Vec<usize> = (0..22).map(|i| i % 3 % 2).collect();
        let loss = CrossEntropy::new().reduction(reduction);
        let data = Dataset::rows(3, &x, Target::Classes(&classes)).unwrap();
        check(mlp, loss.clone().class_weights(&[0.3, 2.0]).unwrap(), &data);
        check(mlp, loss.ignore_class(1), &data.row_weights(&weights).unwrap());
        let lengths = [5, 1, 2, 4, 4, 3, 1, 1, 1];
        let data = Dataset::ragged(3, &lengths, &x, Target::Values(&y)).unwrap();
        let network = || Sequential::input(3).recurrent(4, Lstm::new()).linear(2).build().unwrap();
        check(network, MeanSquaredError::new().reduction(reduction), &data);
    }
}

/// By hand: y = 0, so the losses are 1, 4, 9 and 16; the masked ones weigh nothing.
#[test]
fn epoch_loss_of_uneven_and_masked_batches_is_the_weighted_mean() {
    let network = || Sequential::input(1).layer(Linear::new(1, 1).without_bias()).build().unwrap();
    let (x, y) = ([0.0; 5], [1.0, 2.0, 3.0, 4.0, 100.0]);
    let data = Dataset::rows(1, &x, Target::Values(&y)).unwrap();
    let loss = |data: &Dataset<'_, f64>, batch| {
        trainer(network(), MeanSquaredError::new(), Sgd::new(0.1), ordered(batch, 1)).fit(data).unwrap()[0].loss
    };
    let weights = [2.0, 0.0, 1.0, 1.0, 0.0];
    let expected = (2.0 * 1.0 + 9.0 + 16.0) / 4.0;
    for batch in 1..6 {
        assert_eq!(loss(&data.clone().row_weights(&weights).unwrap(), batch), expected, "batches of {batch}");
    }
    assert_eq!(loss(&Dataset::rows(1, &x[..3], Target::Values(&y[..3])).unwrap(), 2), 14.0 / 3.0);
}

/// The third sample overflows: its gradient is infinite, and the guard skips its update.
#[test]
fn epoch_loss_leaves_out_skipped_updates() {
    let mut x = values(1, 8 * 3);
    let y = values(2, 8 * 2);
    x[6..9].fill(1e200);
    let data = Dataset::rows(3, &x, Target::Values(&y)).unwrap();
    let network = || Sequential::input(3).linear(2).build().unwrap();
    let mut guarded = trainer(network(), MeanSquaredError::new(), (SkipNonFinite::new(), Sgd::new(0.0)), ordered(1, 2));
    let epochs = guarded.fit(&data).unwrap();
    let (rest, targets) = ([&x[..6], &x[9..]].concat(), [&y[..4], &y[6..]].concat());
    let expected = guarded.evaluate(&Dataset::rows(3, &rest, Target::Values(&targets)).unwrap()).unwrap().loss;
    for epoch in &epochs {
        assert!((epoch.loss - expected).abs() <= 1e-14, "{} for {expected}", epoch.loss);
        assert_eq!((epoch.skipped, epoch.steps), (1, 7 * epoch.epoch as u64));
    }
    // None is applied: there is no loss, and the plateau is not moved.
    let huge = [1e200; 9];
    let data = Dataset::rows(3, &huge, Target::Values(&y[..6])).unwrap();
    let chain = (SkipNonFinite::new(), Sgd::new(0.1), ReduceOnPlateau::new(0.5, 0));
    let mut guarded = trainer(network(), MeanSquaredError::new(), chain, ordered(1, 3));
    let epochs = guarded.fit(&data).unwrap();
    assert!(epochs.iter().all(|epoch| epoch.loss.is_nan() && (epoch.skipped, epoch.steps) == (3, 0)), "{epochs:?}");
    assert_eq!(guarded.optimizer().state()[1], 1.0, "the factor of the plateau");
}

/// The gradient of a skipped update is no part of the mean norm of an epoch, and if all are skipped there is none.
#[test]
fn epoch_gradient_norm_leaves_out_skipped_updates() {
    let mut x = values(1, 8 * 3);
    let y = values(2, 8 * 2);
    x[6..9].fill(1e200);
    let fit = |x: &[f64], y: &[f64]| {
        let data = Dataset::rows(3, x, Target::Values(y)).unwrap();
        let chain = (SkipNonFinite::new(), ClipNorm::new(0.1), Sgd::new(0.0));
        let network = Sequential::input(3).linear(2).build().unwrap();
        let (mut run, mut norms) = (trainer(network, MeanSquaredError::new(), chain, ordered(1, 1)), Vec::new());
        let mut keep = |step: &Step| {
            norms.extend(step.applied.then(|| [step.gradient_norm, step.clipped_norm.unwrap()]));
            ControlFlow::Continue(())
        };
        let epochs = run.fit_with(&data, FitOptions::new().on_step(&mut keep)).unwrap();
        ([epochs[0].gradient_norm, epochs[0].clipped_norm], norms)
    };
    let (means, norms) = fit(&x, &y);
    for (i, mean) in means.into_iter().enumerate() {
        assert_eq!((mean, norms.len()), (Some(norms.iter().map(|norms| norms[i]).sum::<f64>() / 7.0), 7));
    }
    assert_eq!(fit(&[1e200; 9], &y[..6]), ([None, None], Vec::new()));
}

/// A callback of epochs receives the mean norms of all updates, also of a chain that updates in place; the parameters
/// are those of a fit without it, to the bit.
#[test]
fn epoch_callback_receives_the_norms_of_its_updates() {
    let (x, y) = (values(1, 8 * 3), values(2, 8 * 2));
    let data = Dataset::rows(3, &x, Target::Values(&y)).unwrap();
    fn check<G: GradientTransform<f64> + Clone>(data: &Dataset<'_, f64>, chain: G, clips: bool) {
        let run = || {
            let network = Sequential::input(3).linear(2).build().unwrap();
            trainer(network, MeanSquaredError::new(), chain.clone(), ordered(2, 2))
        };
        let (mut plain, mut seen, mut stepped, mut norms) = (run(), run(), run(), Vec::new());
        plain.fit(data).unwrap();
        let mut found = Vec::new();
        let mut on_epoch = |epoch: &Epoch| {
            found.push([epoch.gradient_norm, epoch.clipped_norm]);
            ControlFlow::Continue(())
        };
        seen.fit_with(data, FitOptions::new().on_epoch(&mut on_epoch)).unwrap();
        let mut on_step = |step: &Step| {
            norms.push([Some(step.gradient_norm), step.clipped_norm]);
            ControlFlow::Continue(())
        };
        stepped.fit_with(data, FitOptions::new().on_step(&mut on_step)).unwrap();
        let mean = |norms: &[[Option<f64>; 2]], i: usize| {
            norms.iter().map(|norms| norms[i]).sum::<Option<f64>>().map(|sum| sum / norms.len() as f64)
        };
        let expected: Vec<_> = norms.chunks(4).map(|norms| [0, 1].map(|i| mean(norms, i))).collect();
        assert_eq!((found, clips), (expected.clone(), expected[0][1].is_some()));
        assert_eq!(plain.parameters(), seen.parameters());
    }
    check(&data, (ClipNorm::new(0.1), Adam::new(0.01)), true);
    check(&data, Adam::new(0.01), false);
}

/// A batch in which nothing counts changes nothing: momentum and decay rest too.
#[test]
fn batch_without_counting_rows_is_skipped() {
    let (x, y) = (values(1, 12 * 3), values(2, 12 * 2));
    let weights: Vec<f64> = (0..12).map(|i| f64::from(u8::from(!(4..8).contains(&i)))).collect();
    let classes: Vec<usize> = (0..12).map(|i| if (4..8).contains(&i) { 7 } else { i % 2 }).collect();
    let (rest, targets) = ([&x[..12], &x[24..]].concat(), [&y[..8], &y[16..]].concat());
    let labels = [&classes[..4], &classes[8..]].concat();
    fn check<C: Loss<f64> + Clone>(loss: C, data: &Dataset<'_, f64>, rest: &Dataset<'_, f64>) {
        let make = || trainer(mlp(), loss.clone(), (Penalty::l2(0.1), AdamW::new(1e-2, 0.1)), ordered(4, 3));
        let (mut masked, mut short) = (make(), make());
        let (found, expected) = (masked.fit(data).unwrap(), short.fit(rest).unwrap());
        assert_eq!(bits(masked.parameters()), bits(short.parameters()), "{loss:?}");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!((found.loss, found.steps, found.skipped), (expected.loss, expected.steps, 1), "{loss:?}");
        }
        let mut batch = Batch::new(data, 4);
        let (loss, outcome) = masked.step(data, &mut batch, &[5, 6], &mut ()).unwrap();
        assert!(loss.is_nan() && outcome == Outcome::Skip);
    }
    for reduction in [Reduction::Mean, Reduction::Sum] {
        check(
            MeanSquaredError::new().reduction(reduction),
            &Dataset::rows(3, &x, Target::Values(&y)).unwrap().row_weights(&weights).unwrap(),
            &Dataset::rows(3, &rest, Target::Values(&targets)).unwrap(),
        );
        check(
            CrossEntropy::new().ignore_class(7).reduction(reduction),
            &Dataset::rows(3, &x, Target::Classes(&classes)).unwrap(),
            &Dataset::rows(3, &rest, Target::Classes(&labels)).unwrap(),
        );
    }
}

#[test]
fn data_without_counting_rows_is_refused() {
    let (x, y) = (values(1, 6 * 3), values(2, 6 * 2));
    let masked = Dataset::rows(3, &x, Target::Values(&y)).unwrap().row_weights(&[0.0; 6]).unwrap();
    let data = Dataset::rows(3, &x, Target::Values(&y)).unwrap();
    for reduction in [Reduction::Mean, Reduction::Sum] {
        let mut trainer = trainer(mlp(), MeanSquaredError::new().reduction(reduction), Sgd::new(0.1), ordered(4, 2));
        let before = bits(trainer.parameters());
        assert_eq!(trainer.fit(&masked), Err(Error::NothingCounts { data: "training" }));
        assert_eq!(trainer.evaluate(&masked), Err(Error::NothingCounts { data: "evaluation" }));
        assert_eq!(bits(trainer.parameters()), before);
        let observers = FitOptions::new().validation(&masked);
        assert_eq!(trainer.fit_with(&data, observers), Err(Error::NothingCounts { data: "validation" }));
    }
    let ignored = Dataset::rows(3, &x, Target::Classes(&[5; 6])).unwrap();
    let mut ignoring = trainer(mlp(), CrossEntropy::new().ignore_class(5), Sgd::new(0.1), ordered(4, 2));
    assert_eq!(ignoring.fit(&ignored), Err(Error::NothingCounts { data: "training" }));
    // Labels out of range count, and are refused with the sample's number.
    let labels = Dataset::rows(3, &x, Target::Classes(&[0, 1, 5, 5, 2, 0])).unwrap();
    assert_eq!(
        ignoring.fit(&labels),
        Err(Error::InvalidData(DataRule::LabelOutOfRange { sample: 4, step: None, label: 2, classes: 2 }))
    );
    let settings = TrainConfig { batch_size: 1, seed: 3, ..TrainConfig::default() };
    let mut shuffled = trainer(mlp(), CrossEntropy::new(), Sgd::new(0.1), settings);
    let labels = Dataset::rows(3, &x, Target::Classes(&[0, 1, 0, 0, 2, 0])).unwrap();
    let wrong = Error::InvalidData(DataRule::LabelOutOfRange { sample: 4, step: None, label: 2, classes: 2 });
    assert_eq!(shuffled.fit(&labels), Err(wrong.clone()));
    assert_eq!(shuffled.evaluate(&labels), Err(wrong));
    // One a step: row 4 of the targets.
    let lengths = [1, 2, 3];
    let steps = Dataset::ragged(3, &lengths, &x, Target::Classes(&[0, 1, 0, 0, 2, 0])).unwrap();
    let wrong = Error::InvalidData(DataRule::LabelOutOfRange { sample: 2, step: Some(1), label: 2, classes: 2 });
    assert_eq!(shuffled.fit(&steps), Err(wrong));
}

struct Noisy {
    x: Vec<f64>,
    y: Vec<f64>,
}

impl Noisy {
    /// Random targets: a network that fits them does worse and worse on others.
    fn new(salt: u64, samples: usize) -> Self {
        Noisy { x: values(salt, samples * 3), y: values(salt + 1, samples * 2) }
    }

    fn data(&self) -> Dataset<'_, f64> {
        Dataset::rows(3, &self.x, Target::Values(&self.y)).unwrap()
    }
}

fn with_patience(epochs: usize, patience: usize) -> TrainConfig {
    TrainConfig { batch_size: 8, epochs, patience: Some(patience), ..TrainConfig::default() }
}

fn losses(epochs: &[Epoch]) -> Vec<f64> {
    epochs.iter().map(|epoch| epoch.validation.unwrap().loss).collect()
}

fn lowest(losses: &[f64]) -> f64 {
    losses.iter().copied().fold(f64::INFINITY, f64::min)
}

#[test]
fn epochs_that_improve_by_less_than_min_delta_do_not_count() {
    let made = Noisy::new(1, 22);
    // Validated on itself the loss falls.
    let data = made.data();
    let fresh = |min_delta| {
        let config = TrainConfig { min_delta, ..with_patience(60, 4) };
        Trainer::new(mlp(), MeanSquaredError::new(), Adam::new(3e-2), config)
    };
    let mut trainer = fresh(1e9).unwrap();
    let found = losses(&trainer.fit_with(&data, FitOptions::new().validation(&data)).unwrap());
    assert!(trainer.stopped_early() && found.len() == 5 && lowest(&found) < found[0], "{found:?}");
    assert_eq!(trainer.evaluate(&data).unwrap().loss, found[0]);
    for wrong in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(fresh(wrong), Err(Error::Parameter { what: "min_delta", .. })));
    }
}

#[test]
fn best_parameters_return_at_the_end_of_every_run() {
    let (made, other) = (Noisy::new(1, 22), Noisy::new(8, 10));
    let (data, other) = (made.data(), other.data());
    let observers = || FitOptions::new().validation(&other);
    let fresh =
        |epochs, patience| trainer(mlp(), MeanSquaredError::new(), Adam::new(3e-2), with_patience(epochs, patience));
    let mut whole = fresh(60, 1000);
    let all = losses(&whole.fit_with(&data, observers()).unwrap());
    let best = lowest(&all);
    let at = all.iter().position(|&loss| loss == best).unwrap();
    assert!((1..50).contains(&at), "{all:?}");
    assert_eq!(whole.evaluate(&other).unwrap().loss, best, "the epochs ended first");
    assert!(!whole.stopped_early());
    // Patience.
    let mut stopped = fresh(60, 4);
    let found = losses(&stopped.fit_with(&data, observers()).unwrap());
    assert!(stopped.stopped_early() && found.len() < 60 && found == all[..found.len()]);
    assert_eq!(stopped.evaluate(&other).unwrap().loss, lowest(&found));
    // A callback that stops, and the rest of the run: the same bits as without the interruption.
    let mut interrupted = fresh(60, 1000);
    for (until, left) in [(at + 3, at + 3), (at + 9, 6)] {
        let stop =
            &mut |epoch: &Epoch| if epoch.epoch == until { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        assert_eq!(
            interrupted.fit_with(&data, FitOptions::new().validation(&other).on_epoch(stop)).unwrap().len(),
            left
        );
        assert_eq!(interrupted.evaluate(&other).unwrap().loss, best, "interrupted");
        assert!(!interrupted.stopped_early());
    }
    let rest = interrupted.fit_with(&data, observers()).unwrap();
    assert_eq!(losses(&rest), all[at + 9..]);
    assert_eq!(bits(interrupted.parameters()), bits(whole.parameters()));
    assert_eq!(bits(interrupted.optimizer().state()), bits(whole.optimizer().state()));
    // Parameters that are changed after the end are those that training continues from.
    let mut changed = fresh(at + 5, 1000);
    changed.fit_with(&data, observers()).unwrap();
    changed.parameters_mut().fill(0.25);
    changed.set_epochs(at + 6);
    changed.fit_with(&data, FitOptions::new().validation(&other)).unwrap();
    assert_eq!(changed.evaluate(&other).unwrap().loss, best, "the best are still kept");
    // An error ends a run too, here in the epoch after the best one.
    let mut rate = trainer(
        mlp(),
        MeanSquaredError::new(),
        (Sgd::new(0.05), Schedule::custom(|step| if step < 6 { 1.0 } else { 1e300 })),
        with_patience(9, 9),
    );
    let error = rate.fit_with(&data, observers()).unwrap_err();
    assert!(matches!(error, Error::NonFiniteParameters { .. }), "{error:?}");
    assert!(rate.parameters().iter().all(|w| w.is_finite()) && rate.evaluate(&other).is_ok());
    let mut failed = fresh(60, 1000);
    failed
        .fit_with(
            &data,
            FitOptions::new().validation(&other).on_epoch(|epoch| {
                if epoch.epoch == at + 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }),
        )
        .unwrap();
    let narrow = Dataset::rows(2, &made.y, Target::Values(&made.y)).unwrap();
    failed.fit_with(&narrow, observers()).unwrap_err();
    assert_eq!(failed.evaluate(&other).unwrap().loss, best);
    let rest = failed.fit_with(&data, observers()).unwrap();
    assert_eq!((losses(&rest), bits(failed.parameters())), (all[at + 4..].to_vec(), bits(whole.parameters())));
}

#[test]
fn second_fit_trains_again() {
    let (made, other) = (Noisy::new(1, 22), Noisy::new(8, 10));
    let (data, other) = (made.data(), other.data());
    let fresh = |epochs| {
        trainer(
            mlp(),
            MeanSquaredError::new(),
            Adam::new(1e-2),
            TrainConfig { batch_size: 8, epochs, ..TrainConfig::default() },
        )
    };
    let (mut twice, mut once) = (fresh(3), fresh(6));
    let (first, second) = (twice.fit(&data).unwrap(), twice.fit(&data).unwrap());
    assert_eq!([first, second].concat(), once.fit(&data).unwrap());
    assert_eq!(bits(twice.parameters()), bits(once.parameters()));
    assert_eq!(twice.fit(&data).unwrap().iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [7, 8, 9]);
    // After early stopping too, with new patience.
    let mut stopped = trainer(mlp(), MeanSquaredError::new(), Adam::new(3e-2), with_patience(500, 4));
    let first = stopped.fit_with(&data, FitOptions::new().validation(&other)).unwrap();
    assert!(stopped.stopped_early());
    let second = losses(&stopped.fit_with(&data, FitOptions::new().validation(&other)).unwrap());
    assert!(second.len() > 4 && stopped.stopped_early(), "{second:?} after {}", first.len());
    assert_eq!(stopped.evaluate(&other).unwrap().loss, lowest(&second));
}

#[cfg(feature = "safetensors")]
#[test]
fn early_stop_is_saved_and_loaded() {
    let (made, other) = (Noisy::new(1, 22), Noisy::new(8, 10));
    let (data, other) = (made.data(), other.data());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run");
    let fresh = |epochs| trainer(mlp(), MeanSquaredError::new(), Adam::new(3e-2), with_patience(epochs, 4));
    let mut stopped = fresh(500);
    stopped.fit_with(&data, FitOptions::new().validation(&other)).unwrap();
    stopped.save(&path).unwrap();
    let mut loaded = fresh(500);
    let _ = loaded.load(&path).unwrap();
    assert!(loaded.stopped_early());
    assert_eq!(bits(loaded.parameters()), bits(stopped.parameters()), "the best ones");
    let next = |trainer: &mut Trainer<f64, Net, MeanSquaredError, Adam>| {
        let epochs = trainer.fit_with(&data, FitOptions::new().validation(&other)).unwrap();
        (epochs, bits(trainer.parameters()))
    };
    assert_eq!(next(&mut loaded), next(&mut stopped), "the next run");
    // An interrupted second run is finished, not begun again.
    let mut whole = trainer(mlp(), MeanSquaredError::new(), Adam::new(1e-2), ordered(8, 5));
    whole.fit(&data).unwrap();
    let stop = &mut |epoch: &Epoch| if epoch.epoch == 7 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    whole.fit_with(&data, FitOptions::new().on_epoch(stop)).unwrap();
    whole.save(&path).unwrap();
    let mut loaded = trainer(mlp(), MeanSquaredError::new(), Adam::new(1e-2), ordered(8, 5));
    let _ = loaded.load(&path).unwrap();
    let rest = loaded.fit(&data).unwrap();
    assert_eq!(rest.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [8, 9, 10]);
    assert_eq!((rest, bits(loaded.parameters())), (whole.fit(&data).unwrap(), bits(whole.parameters())));
}

/// A transform of a user's own, of any stage.
#[derive(Clone, Debug)]
struct Own(Stage);

impl<T: Scalar> GradientTransform<T> for Own {
    fn validate(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        Ok(())
    }
    fn stage(&self) -> Stage {
        self.0
    }
    fn update(&mut self, _update: Update<'_, T>) -> Result<Outcome, Error> {
        Ok(Outcome::Apply)
    }
}

fn made(chain: impl GradientTransform<f64>) -> Result<(), Error> {
    let network: Net = Sequential::input(1).linear(1).build().unwrap();
    Trainer::new(network, MeanSquaredError::new(), chain, TrainConfig::default()).map(|_| ())
}

fn boxed<G: GradientTransform<f64> + 'static>(transform: G) -> Box<dyn GradientTransform<f64>> {
    Box::new(transform)
}

#[test]
fn chain_without_one_optimizer_is_refused() {
    for (chain, names) in [
        (boxed(()), ""),
        (boxed(ClipNorm::new(1.0)), "ClipNorm"),
        (
            boxed((SkipNonFinite::new(), Schedule::constant(1.0), WeightAverage::new(0.9))),
            "SkipNonFinite, Schedule, WeightAverage",
        ),
        (boxed(Own(Stage::Unstated)), "Own"),
        (boxed(Unordered((Penalty::l2(0.1), ParameterGroups::new()))), "Penalty, ParameterGroups"),
    ] {
        assert_eq!(made(chain), Err(Error::Optimizers { found: 0, chain: names.into() }));
    }
    for chain in [
        boxed((Sgd::new(0.1), Adam::new(0.1))),
        boxed((Sgd::new(0.1), Unordered(Adam::new(0.1)))),
        boxed((boxed(Sgd::new(0.1)), Own(Stage::Optimizer))),
    ] {
        assert!(matches!(made(chain), Err(Error::Optimizers { found: 2, .. })));
    }
    let text = made(ClipNorm::new(1.0)).unwrap_err().to_string();
    assert!(text.contains("ClipNorm") && text.contains("Sgd") && text.contains("Stage::Optimizer"), "{text}");
}

#[test]
fn chain_out_of_order_is_refused_with_the_right_order() {
    let order = |chain| match made(chain) {
        Err(Error::ChainOrder { found, expected }) => (found, expected),
        other => panic!("{other:?}"),
    };
    let sgd = || Sgd::new(0.1);
    for (chain, found, expected) in [
        (boxed((Schedule::constant(1.0), sgd())), "Schedule, Sgd", "Sgd, Schedule"),
        (boxed((sgd(), ClipNorm::new(1.0))), "Sgd, ClipNorm", "ClipNorm, Sgd"),
        (boxed((sgd(), Penalty::l2(0.1))), "Sgd, Penalty", "Penalty, Sgd"),
        (
            boxed((ClipValue::new(1.0), SkipNonFinite::new(), sgd())),
            "ClipValue, SkipNonFinite, Sgd",
            "SkipNonFinite, ClipValue, Sgd",
        ),
        (boxed((WeightAverage::new(0.9), sgd())), "WeightAverage, Sgd", "Sgd, WeightAverage"),
        (
            boxed((sgd(), WeightAverage::new(0.9), ReduceOnPlateau::new(0.5, 1))),
            "Sgd, WeightAverage, ReduceOnPlateau",
            "Sgd, ReduceOnPlateau, WeightAverage",
        ),
        (boxed((ParameterGroups::new(), sgd())), "ParameterGroups, Sgd", "Sgd, ParameterGroups"),
        // Tuples, boxes and transforms without a stage are no way around it.
        (
            boxed(((Schedule::constant(1.0), Own(Stage::Unstated)), (boxed((sgd(),)),))),
            "Schedule, Sgd",
            "Sgd, Schedule",
        ),
        (boxed((sgd(), Own(Stage::SkipNonFinite))), "Sgd, Own", "Own, Sgd"),
        // Between its steps and its average nothing can stand.
        (
            boxed((ScheduleFreeAdamW::new(0.1, 0.0), Schedule::constant(1.0))),
            "ScheduleFreeAdamW, its average, Schedule",
            "ScheduleFreeAdamW, Schedule, its average",
        ),
        (
            boxed((Schedule::constant(1.0), ScheduleFreeAdamW::new(0.1, 0.0))),
            "Schedule, ScheduleFreeAdamW, its average",
            "ScheduleFreeAdamW, Schedule, its average",
        ),
    ] {
        assert_eq!(order(chain), (found.into(), expected.into()));
    }
    let text = made((Schedule::constant(1.0), sgd())).unwrap_err().to_string();
    assert!(text.contains("(Sgd, Schedule)") && text.contains("Unordered"), "{text}");
}

#[test]
fn chain_in_order_or_unordered_is_accepted() {
    let sgd = || Sgd::new(0.1);
    for chain in [
        boxed(sgd()),
        boxed((
            SkipNonFinite::new(),
            Penalty::l2(0.1),
            ClipNorm::new(1.0),
            sgd(),
            Schedule::constant(1.0),
            WeightAverage::new(0.9),
        )),
        boxed((
            SkipNonFinite::new(),
            ClipNorm::new(1.0),
            Penalty::l2(0.1),
            sgd(),
            ParameterGroups::new(),
            ReduceOnPlateau::new(0.5, 1),
        )),
        boxed((ClipNorm::new(1.0), Penalty::l2(0.1), ClipValue::new(1.0), sgd())),
        boxed((sgd(), Schedule::warm_up(0.0, 5), Schedule::cosine(9, 0.0), (), WeightAverage::new(0.9))),
        boxed((Own(Stage::Unstated), sgd(), Own(Stage::Unstated))),
        boxed((ClipNorm::new(1.0), Own(Stage::Optimizer), Schedule::constant(1.0))),
        boxed(Unordered((Schedule::constant(1.0), sgd(), ClipValue::new(1.0)))),
        boxed((Unordered((sgd(), ClipValue::new(1.0))), Schedule::constant(1.0), WeightAverage::new(0.9))),
        boxed((sgd(), Unordered(ClipValue::new(1.0)), Schedule::constant(1.0))),
    ] {
        let text = format!("{chain:?}");
        assert_eq!(made(chain), Ok(()), "{text}");
    }
    // What it wraps is applied as it stands: the update is clipped.
    let blocks = Blocks::collect(|visit| visit(chainrule::Block::new("w", 0, [1, 2], chainrule::Role::Weight)));
    let mut optimizer = Optimizer::new(Unordered((Sgd::new(1.0), ClipValue::new(0.5))), &blocks, &[0.0; 2]).unwrap();
    let mut w = [0.0; 2];
    optimizer.step(&blocks, &mut w, &mut [4.0, -0.25], &mut ()).unwrap();
    assert_eq!(w, [-0.5, 0.25]);
}

chainrule::transform_laws!(unordered, Unordered((Adam::new(0.1), ClipValue::new(0.05), Schedule::step(2, 0.5))));

#[test]
fn data_that_is_not_finite_is_refused_with_its_place() {
    let place = |data: Result<Dataset<'_, f64>, Error>| match data {
        Err(Error::DataValue { what, sample, step, column, .. }) => (what, sample, step, column),
        other => panic!("{other:?}"),
    };
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let with = |count: usize, at: usize| {
            let mut values = vec![0.5; count];
            values[at] = bad;
            values
        };
        let (x, y) = (vec![0.5; 3000], vec![0.5; 2000]);
        let (bad_x, bad_y) = (with(3000, 2999), with(2000, 7));
        assert_eq!(place(Dataset::rows(3, &bad_x, Target::Values(&y))), ("an input", 999, None, Some(2)));
        assert_eq!(place(Dataset::rows(3, &x, Target::Values(&bad_y))), ("a target", 3, None, Some(1)));
        assert_eq!(place(Dataset::sequences(3, 4, &bad_x, Target::Values(&y))), ("an input", 249, Some(3), Some(2)));
        assert_eq!(place(Dataset::sequences(3, 4, &x, Target::Values(&bad_y))), ("a target", 0, Some(3), Some(1)));
        let bad_y = with(250 * 3, 7);
        assert_eq!(place(Dataset::sequences(3, 4, &x, Target::Values(&bad_y))), ("a target", 2, None, Some(1)));
        let lengths = [2, 1, 3];
        let (x, y) = (with(12, 7), vec![0.5; 6]);
        assert_eq!(place(Dataset::ragged(2, &lengths, &x, Target::Values(&y))), ("an input", 2, Some(0), Some(1)));
        let data = Dataset::rows(2, &y, Target::Classes(&[0, 1, 0])).unwrap();
        for bad in [bad, -1.0] {
            let weights = [1.0, bad, 1.0];
            assert_eq!(place(data.clone().row_weights(&weights)), ("a row weight", 1, None, None));
        }
        let steps = Dataset::sequences(2, 3, &y, Target::Values(&y)).unwrap();
        let text = steps.row_weights(&[1.0, 0.0, bad]).unwrap_err().to_string();
        assert!(text.starts_with("a row weight of sample 0, step 2 must be"), "{text}");
        let text = Dataset::ragged(2, &lengths, &x, Target::Values(&y)).unwrap_err().to_string();
        assert!(
            text.starts_with(&format!("an input of sample 2, step 0, column 1 must be finite, found {bad}")),
            "{text}"
        );
    }
}

#[test]
fn parameters_that_leave_the_range_end_the_run() {
    let (x, y) = (values(1, 8 * 3), values(2, 8 * 2));
    let data = Dataset::rows(3, &x, Target::Values(&y)).unwrap();
    let network = || Sequential::input(3).linear(2).linear(2).build().unwrap();
    for monitored in [false, true] {
        // By hand: the step after which a parameter is not finite.
        let settings = ordered(1, 50);
        let mut by_hand = trainer(network(), MeanSquaredError::new(), (SkipNonFinite::new(), Sgd::new(1e10)), settings);
        let mut batch = Batch::new(&data, 1);
        let mut expected = 0;
        while by_hand.step(&data, &mut batch, &[expected % 8], &mut ()).is_ok_and(|(_, made)| made == Outcome::Apply) {
            expected += 1;
        }
        assert!(expected > 2);
        let mut run = trainer(network(), MeanSquaredError::new(), Sgd::new(1e10), settings);
        let mut gradients = Gradients::default();
        let observers = if monitored { FitOptions::new().monitor(&mut gradients) } else { FitOptions::new() };
        let error = run.fit_with(&data, observers).unwrap_err();
        let (since, step) = (expected as u64, expected as u64 + 1);
        assert_eq!(error, Error::NonFiniteParameters { block: "0.weight".into(), since, step });
    }
    // A guard decides: so many skipped steps, then its own error.
    let mut guarded =
        trainer(network(), MeanSquaredError::new(), (SkipNonFinite::new(), Sgd::new(1e10)), ordered(1, 50));
    assert!(matches!(guarded.fit(&data), Err(Error::NonFiniteGradient { steps: 10, .. })));
    // An infinite bias before tanh, which no loss shows, before the first update.
    let mut hidden = trainer(mlp(), MeanSquaredError::new(), Sgd::new(1e-3), ordered(8, 5));
    let bias = hidden.workspace().blocks().get("0.bias").unwrap().range.clone();
    hidden.parameters_mut()[bias].fill(f64::INFINITY);
    assert_eq!(hidden.fit(&data), Err(Error::NonFiniteParameters { block: "0.bias".into(), since: 0, step: 0 }));
}

/// The first update makes a weight infinite, and tanh hides it from the loss. The error has updates of which one did
/// it.
#[test]
fn parameters_that_the_loss_does_not_show_are_named_with_a_few_updates() {
    for (samples, step) in [(1000, 64), (20, 20)] {
        let data = (vec![10.0; samples], vec![100.0; samples]);
        let data = Dataset::rows(1, &data.0, Target::Values(&data.1)).unwrap();
        let network = Sequential::input(1).linear(1).activation(Tanh).linear(1).build().unwrap();
        let mut run = trainer(network, MeanSquaredError::new(), Sgd::new(1e308), ordered(1, 1));
        run.parameters_mut().copy_from_slice(&[0.01, 0.0, 1.0, 0.0]);
        for block in ["0.bias", "2"] {
            run.workspace_mut().freeze(block).unwrap();
        }
        let error = run.fit(&data).unwrap_err();
        assert_eq!(error, Error::NonFiniteParameters { block: "0.weight".into(), since: 0, step });
        assert!(error.to_string().contains(&format!("after one of the updates 1 to {step};")), "{error}");
    }
}

/// A weight becomes infinite, which tanh hides from the loss, in a loop that borrows the parameters before each update.
/// Then so in one whose optimizer is restored to fewer updates. Both end at update 64.
#[test]
fn parameters_that_a_loop_borrows_are_checked_too() {
    let data: Dataset<'_, f64> = Dataset::rows(1, &[10.0], Target::Values(&[100.0])).unwrap();
    let run = |rate: f64| {
        let network = Sequential::input(1).linear(1).activation(Tanh).linear(1).build().unwrap();
        let mut run = trainer(network, MeanSquaredError::new(), Sgd::new(rate), ordered(1, 1));
        run.parameters_mut().copy_from_slice(&[0.01, 0.0, 1.0, 0.0]);
        for block in ["0.bias", "2"] {
            run.workspace_mut().freeze(block).unwrap();
        }
        run
    };
    let mut batch = Batch::new(&data, 1);
    let expected = Error::NonFiniteParameters { block: "0.weight".into(), since: 0, step: 64 };
    let mut borrowed = run(1e308);
    for _ in 1..64 {
        borrowed.parameters_mut();
        borrowed.step(&data, &mut batch, &[0], &mut ()).unwrap();
    }
    assert_eq!(borrowed.step(&data, &mut batch, &[0], &mut ()), Err(expected.clone()));
    let mut restored = run(0.0);
    for _ in 0..70 {
        restored.step(&data, &mut batch, &[0], &mut ()).unwrap();
    }
    let state = restored.optimizer().state().to_vec();
    restored.optimizer_mut().restore(&state, 20).unwrap();
    restored.parameters_mut()[0] = f64::INFINITY;
    for _ in 21..64 {
        restored.step(&data, &mut batch, &[0], &mut ()).unwrap();
    }
    assert_eq!(restored.step(&data, &mut batch, &[0], &mut ()), Err(expected));
}

/// Targets of the other kind are no rows without weight: a fit and an accumulated update name the kind.
#[test]
fn targets_of_another_kind_are_named() {
    let (x, y) = (values(1, 6 * 3), values(2, 6 * 2));
    let rows = Dataset::rows(3, &x, Target::Values(&y)).unwrap();
    let classes = Dataset::rows(3, &x, Target::Classes(&[1; 6])).unwrap();
    let of_classes = ["classes", "values"];
    let of_values = ["values", "classes"];
    let losses = [
        (Box::new(NegativeLogLikelihood::new()) as Box<dyn Loss<f64>>, &rows, of_classes),
        (Box::new(MultiMargin::new()), &rows, of_classes),
        (Box::new(Focal::new(2.0).unwrap()), &classes, of_values),
        (Box::new(ValueWeights::new(MeanSquaredError::new())), &classes, of_values),
    ];
    for (loss, data, kinds) in losses {
        let is_named =
            |error: &Error| matches!(error, Error::TargetKind { expected, found, .. } if [*expected, *found] == kinds);
        let mut run = trainer(mlp(), loss, Sgd::new(0.1), ordered(2, 1));
        let error = run.fit(data).unwrap_err();
        assert!(is_named(&error), "{error}");
        let error = run.step(data, &mut Batch::new(data, 2), &[0, 1, 2, 3, 4, 5], &mut ()).unwrap_err();
        assert!(is_named(&error), "{error}");
    }
}

#[test]
fn fit_without_epochs_is_refused() {
    let (x, y) = (values(1, 8 * 3), values(2, 8 * 2));
    let data = Dataset::rows(3, &x, Target::Values(&y)).unwrap();
    let refused = Error::Parameter { what: "epochs", expected: "at least 1", found: 0.0 };
    let mut run = trainer(mlp(), MeanSquaredError::new(), Sgd::new(0.1), ordered(8, 0));
    assert_eq!(run.fit(&data), Err(refused.clone()));
    run.set_epochs(2);
    assert_eq!(run.fit(&data).unwrap().len(), 2);
    run.set_epochs(0);
    assert_eq!(run.fit(&data), Err(refused));
}

/// Counts events, and keeps whether every update came with a gradient.
#[derive(Default)]
struct Counts {
    passes: usize,
    gradients: usize,
    updates: usize,
    losses: usize,
}

impl GradientMonitor<f64> for Counts {
    fn begin_pass(&mut self) {
        self.passes += 1;
    }
    fn event(&mut self, event: &Event<'_, f64>) {
        self.losses += usize::from(matches!(event, Event::Loss(_)));
        self.gradients += usize::from(matches!(event, Event::Gradient { .. }));
        self.updates += usize::from(matches!(event, Event::Update { .. }));
    }
}

#[test]
fn monitor_of_accumulated_updates_sees_each_gradient_once() {
    let (x, y) = (values(1, 22 * 3), values(2, 22 * 2));
    let data = Dataset::rows(3, &x, Target::Values(&y)).unwrap();
    let run = |batch, accumulate, monitor: &mut dyn GradientMonitor<f64>| {
        let settings = TrainConfig { batch_size: batch, accumulation_steps: accumulate, ..ordered(8, 2) };
        trainer(mlp(), MeanSquaredError::new(), Adam::new(0.01), settings)
            .fit_with(&data, FitOptions::new().monitor(monitor))
            .unwrap();
    };
    let (mut whole, mut parts) = (Gradients::default(), Gradients::default());
    run(8, 1, &mut whole);
    run(2, 4, &mut parts);
    assert_eq!((whole.0.len(), parts.0.len()), (6, 6));
    for (whole, parts) in whole.0.iter().zip(&parts.0) {
        assert!(whole.iter().zip(parts).all(|(a, b)| (a - b).abs() <= 1e-12), "{whole:?} {parts:?}");
    }
    for (every, expected) in [(1, 6), (2, 3), (3, 2), (4, 2), (0, 0)] {
        let mut counts = Every(every, Counts::default());
        run(2, 4, &mut counts);
        let Counts { gradients, updates, losses, .. } = counts.monitor;
        assert_eq!([gradients, updates, losses], [expected; 3], "every {every}");
    }
    let mut statistics = Statistics::new();
    run(2, 4, &mut statistics);
    assert_eq!(statistics.run().skipped_in_a_row(), 0, "no part is a skipped update");
}

/// A metric receives the rows that count in the order of the data, whatever the order of a batch.
#[test]
fn metric_receives_the_rows_of_one_sample_after_the_other() {
    let lengths = [1, 3, 2, 4];
    let (x, y) = (values(1, 10), values(2, 20));
    let mut weights = [1.0; 10];
    weights[2] = 0.0;
    weights[6..].fill(0.0);
    let data = Dataset::ragged(1, &lengths, &x, Target::Values(&y)).unwrap().row_weights(&weights).unwrap();
    let network = Sequential::input(1).lstm(3).linear(2).build().unwrap();
    let mut run = trainer(network, MeanSquaredError::new(), Sgd::new(0.1), ordered(3, 1));
    let counted: Vec<usize> = (0..10).filter(|&row| weights[row] > 0.0).collect();
    let of_rows = |all: &[f64]| counted.iter().flat_map(|&row| all[2 * row..][..2].to_vec()).collect::<Vec<_>>();
    let (outputs, targets) = (of_rows(&run.predict(&data).unwrap()), of_rows(&y));
    let (mut found, mut calls) = (Vec::new(), 0);
    let mean = run.metric(&data, |width, outputs, target| {
        let Target::Values(target) = target else { panic!("{target:?}") };
        assert_eq!(width, 2);
        found.extend(outputs.iter().copied().zip(target.iter().copied()));
        calls += 1;
        2.5
    });
    // The second batch, of the last sample alone, has no row that counts.
    assert_eq!((mean, calls), (Ok(2.5), 1));
    assert_eq!(found, outputs.into_iter().zip(targets).collect::<Vec<_>>());
    let classes = [0, 1, 1, 0, 1, 0, 0, 1, 1, 1];
    let labelled = Dataset::ragged(1, &lengths, &x, Target::Classes(&classes)).unwrap();
    let mut found = Vec::new();
    run.metric(&labelled, |_, _, target| {
        let Target::Classes(target) = target else { panic!("{target:?}") };
        found.extend_from_slice(target);
        0.0
    })
    .unwrap();
    assert_eq!(found, classes);
}

#[test]
fn binary_targets_outside_the_unit_interval_are_refused() {
    let (x, y) = (values(1, 6), [1.0, -1.0, 1.0, -1.0, 1.0, 1.0]);
    let data = Dataset::rows(1, &x, Target::Values(&y)).unwrap();
    let network = || Sequential::input(1).linear(1).build().unwrap();
    let mut run = trainer(network(), BinaryCrossEntropy::new(), Sgd::new(0.1), ordered(2, 5));
    let error = run.fit(&data).unwrap_err();
    assert!(matches!(error, Error::InvalidData(DataRule::Target { sample: 1, step: None, .. })), "{error:?}");
    let text = error.to_string();
    assert!(
        text.starts_with("the target of sample 1: a target of BinaryCrossEntropy must be between 0 and 1, found -1"),
        "{text}"
    );
    for (target, valid) in [(0.0, true), (1.0, true), (0.3, true), (-0.0, true), (1.0 + 1e-15, false), (-1e-300, false)]
    {
        let loss = BinaryCrossEntropy::new().evaluate(1, &[0.5], Target::Values(&[target]), None, &mut [0.0]);
        assert_eq!(loss.is_ok(), valid, "{target}: {loss:?}");
    }
    // Not where the row is masked.
    let masked = BinaryCrossEntropy::new().evaluate(
        1,
        &[0.5; 2],
        Target::Values(&[-1.0, 1.0]),
        Some(&[0.0, 1.0]),
        &mut [0.0; 2],
    );
    assert!(masked.is_ok());
}

/// The inverse of the sum must be a number, or the gradient is 0 or infinite without a word.
#[test]
fn row_weights_at_the_ends_of_the_format_are_refused() {
    let (y, target) = ([1.0, 2.0], Target::Values(&[0.0, 0.0]));
    for weights in [[f64::MAX; 2], [5e-324, 0.0], [0.0; 2], [-1.0, 0.5]] {
        for loss in
            [&MeanSquaredError::new() as &dyn Loss<f64>, &SmoothL1::new(1.0).unwrap(), &BinaryCrossEntropy::new()]
        {
            let found = loss.evaluate(1, &y, target, Some(&weights), &mut [0.0; 2]);
            assert!(matches!(found, Err(Error::Parameter { .. })), "{loss:?} {weights:?}: {found:?}");
        }
        let classes = Target::Classes(&[0, 0]);
        let found = CrossEntropy::new().evaluate(2, &[1.0; 4], classes, Some(&weights), &mut [0.0; 4]);
        assert!(matches!(found, Err(Error::Parameter { .. })), "{weights:?}: {found:?}");
    }
    // Values that are a number in f64 and none in f32.
    let (y, target) = ([1.0f32, 2.0], Target::Values(&[0.0f32, 0.0]));
    let (huge, tiny) = (1e300, 1e-300);
    for loss in [
        &Huber::new(tiny).unwrap() as &dyn Loss<f32>,
        &SmoothL1::new(huge).unwrap(),
        &BinaryCrossEntropy::new().positive_weights(&[huge]).unwrap().reduction(Reduction::Sum),
    ] {
        let found = loss.evaluate(1, &y, target, None, &mut [0.0; 2]);
        assert!(matches!(found, Err(Error::Parameter { .. })), "{loss:?}: {found:?}");
    }
    let weighted = CrossEntropy::new().class_weights(&[1.0, huge]).unwrap().reduction(Reduction::Sum);
    let found = weighted.evaluate(2, &y, Target::Classes(&[0]), None, &mut [0.0; 2]);
    assert!(matches!(found, Err(Error::Parameter { .. })), "{found:?}");
    assert!(
        matches!(accuracy(2, &[0.0; 5], &[0, 0]), Err(Error::InvalidData(DataRule::NotMultiple { .. }))),
        "half a row"
    );
    assert!(matches!(accuracy(0, &[0.0; 5], &[0, 0]), Err(Error::Empty { .. })));
}

/// A rate or an amount that the number format rounds to infinity.
#[test]
fn hyper_parameters_beyond_the_format_are_refused() {
    let blocks = Blocks::collect(|visit| visit(chainrule::Block::new("w", 0, [1, 2], chainrule::Role::Weight)));
    let huge = 1e300;
    let all: [Box<dyn GradientTransform<f32>>; 9] = [
        Box::new(Sgd::new(huge)),
        Box::new(Adam::new(huge)),
        Box::new(Adam::new(0.1).epsilon(huge)),
        Box::new(AdamW::new(0.1, huge)),
        Box::new(RmsProp::new(huge)),
        Box::new(Adagrad::new(0.1).initial(huge)),
        Box::new((Penalty::l1(huge), Sgd::new(0.1))),
        Box::new((Sgd::new(0.1), ParameterGroups::new().rate("w", huge))),
        Box::new((Sgd::new(0.1), Schedule::constant(huge))),
    ];
    for transform in all {
        let name = format!("{transform:?}");
        let found = Optimizer::new(transform, &blocks, &[0.0; 2]).map(|_| ());
        assert!(matches!(found, Err(Error::Parameter { found, .. }) if found == huge), "{name}: {found:?}");
    }
}

/// A limit that is 0 in the format would clip every gradient to 0.
#[test]
fn limits_below_the_format_are_refused() {
    fn refused<T: Scalar>(limit: f64, expected: bool) {
        let blocks = Blocks::collect(|visit| visit(chainrule::Block::new("w", 0, [1, 2], chainrule::Role::Weight)));
        let all: [Box<dyn GradientTransform<T>>; 3] = [
            Box::new((ClipValue::new(limit), Sgd::new(0.1))),
            Box::new((ClipNorm::new(limit), Sgd::new(0.1))),
            Box::new((ClipBlockNorm::new(limit), Sgd::new(0.1))),
        ];
        for transform in all {
            let name = format!("{transform:?}");
            let found = Optimizer::new(transform, &blocks, &[T::zero(); 2]).map(|_| ());
            let is_refused = matches!(found, Err(Error::Parameter { found, .. }) if found == limit);
            assert_eq!(is_refused, expected, "{name}: {found:?}");
        }
    }
    refused::<f32>(1e-46, true);
    refused::<f32>(2e-45, false);
    refused::<f64>(1e-46, false);
    #[cfg(feature = "half")]
    refused::<half::f16>(1e-8, true);
    #[cfg(feature = "half")]
    refused::<half::f16>(1e-7, false);
}
