//! The common loop: the same bits for the same seed, accumulation, early stopping, freezing, averages.

use crate::numbers::bits;
use chainrule::{
    DataRule, Error, GradientMonitor,
    activation::{Relu, Tanh},
    dataset::{Batch, Dataset},
    layer::Sequential,
    loss::{CrossEntropy, Loss, MeanSquaredError, Reduction, Target},
    monitor::Event,
    random::shuffle,
    recurrent::{Gru, Lstm},
    trainer::{Epoch, FitOptions, Step, TrainConfig, Trainer},
    transform::{
        Adam, AdamW, ClipBlockNorm, ClipNorm, ClipValue, GradientTransform, Outcome, Penalty, PerGroup,
        ReduceOnPlateau, Schedule, ScheduleFreeAdamW, Sgd, SkipNonFinite, WeightAverage,
    },
};
use std::ops::ControlFlow;

/// `count` values between −1 and 1 without a pattern that a network could see.
pub fn values(salt: u64, count: usize) -> Vec<f64> {
    let mut state = salt;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn mlp() -> Sequential<f64> {
    Sequential::input(3).linear(8).activation(Tanh).linear(2).build().unwrap()
}

fn noisy() -> Sequential<f64> {
    Sequential::input(3).linear(8).activation(Relu).dropout(0.3).layer_norm().linear(2).build().unwrap()
}

/// Everything that has state.
fn transform() -> impl GradientTransform<f64> {
    (
        SkipNonFinite::new(),
        ClipNorm::new(1.0),
        Adam::new(1e-2),
        Schedule::cosine(100, 0.1),
        ReduceOnPlateau::new(0.5, 0),
        WeightAverage::new(0.9),
    )
}

struct Made {
    x: Vec<f64>,
    y: Vec<f64>,
}

/// 22 samples of 3 values and their 2 targets.
fn made() -> Made {
    Made { x: values(1, 22 * 3), y: values(2, 22 * 2) }
}

impl Made {
    fn data(&self) -> Dataset<'_, f64> {
        Dataset::rows(3, &self.x, Target::Values(&self.y)).unwrap()
    }
}

fn trainer<G: GradientTransform<f64>>(
    network: Sequential<f64>,
    transform: G,
    settings: TrainConfig,
) -> Trainer<f64, Sequential<f64>, MeanSquaredError, G> {
    Trainer::new(network, MeanSquaredError::new(), transform, settings).unwrap()
}

#[test]
fn same_seed_same_bits() {
    let made = made();
    let run = |seed| {
        let settings = TrainConfig { batch_size: 4, accumulation_steps: 2, epochs: 5, seed, ..TrainConfig::default() };
        let mut trainer = trainer(noisy(), transform(), settings);
        let epochs = trainer.fit(&made.data()).unwrap();
        let losses: Vec<u64> = epochs.iter().map(|epoch| epoch.loss.to_bits()).collect();
        (bits(trainer.parameters()), bits(trainer.optimizer().state()), losses)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).0, run(8).0);
}

#[test]
fn same_bits_over_sequences() {
    let lengths: Vec<usize> = (0..11).map(|i| 1 + i * 3 % 5).collect();
    let rows: usize = lengths.iter().sum();
    let (x, y) = (values(1, rows * 2), values(2, rows * 3));
    let data = Dataset::ragged(2, &lengths, &x, Target::Values(&y)).unwrap();
    let run = || {
        let network = Sequential::input(2).recurrent(4, Lstm::new()).dropout(0.2).recurrent(3, Gru::new());
        let settings = TrainConfig { batch_size: 4, epochs: 3, ..TrainConfig::default() };
        let network = network.build().unwrap();
        let mut trainer = Trainer::new(network, MeanSquaredError::new(), transform(), settings).unwrap();
        trainer.fit(&data).unwrap();
        bits(trainer.parameters())
    };
    assert_eq!(run(), run());
}

/// The gradients that a trainer reports.
#[derive(Default)]
pub struct Gradients(pub Vec<Vec<f64>>);

impl GradientMonitor<f64> for Gradients {
    fn event(&mut self, event: &Event<'_, f64>) {
        if let Event::Gradient { dw, .. } = event {
            self.0.push(dw.to_vec());
        }
    }
}

/// The gradient of one update from all samples, in batches of `batch`.
fn gradient<C: Loss<f64>>(network: Sequential<f64>, loss: C, data: &Dataset<'_, f64>, batch: usize) -> (f64, Vec<f64>) {
    let settings = TrainConfig { batch_size: batch, ..TrainConfig::default() };
    let mut trainer = Trainer::new(network, loss, Sgd::new(0.1), settings).unwrap();
    let mut buffers = Batch::new(data, batch);
    let order: Vec<usize> = (0..data.samples()).collect();
    let mut seen = Gradients::default();
    let (loss, outcome) = trainer.step(data, &mut buffers, &order, &mut seen).unwrap();
    assert_eq!((outcome, seen.0.len()), (Outcome::Apply, 1));
    (loss, seen.0.remove(0))
}

#[track_caller]
fn assert_close((loss, found): &(f64, Vec<f64>), (expected_loss, expected): &(f64, Vec<f64>)) {
    assert!((loss - expected_loss).abs() <= 1e-12 * expected_loss.abs(), "loss {loss} for {expected_loss}");
    let largest = expected.iter().fold(0.0f64, |largest, g| largest.max(g.abs()));
    assert!(largest > 0.0);
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-12 * largest, "{found} for {expected}");
    }
}

#[test]
fn four_batches_of_8_are_one_of_32() {
    let (x, y) = (values(1, 32 * 3), values(2, 32 * 2));
    let data = Dataset::rows(3, &x, Target::Values(&y)).unwrap();
    for loss in [MeanSquaredError::new(), MeanSquaredError::new().reduction(Reduction::Sum)] {
        assert_close(&gradient(mlp(), loss, &data, 8), &gradient(mlp(), loss, &data, 32));
        assert_close(&gradient(mlp(), loss, &data, 7), &gradient(mlp(), loss, &data, 32));
    }
    // Masks too are those of the large batch: they go by sample.
    assert_close(
        &gradient(noisy(), MeanSquaredError::new(), &data, 8),
        &gradient(noisy(), MeanSquaredError::new(), &data, 32),
    );
}

/// Where the mean is over rows or weights, parts count by those, not by their samples.
#[test]
fn parts_of_unequal_weight_are_one_batch() {
    let (x, y) = (values(1, 12 * 3), values(2, 12 * 2));
    let weights: Vec<f64> = (0..12).map(|i| (i % 5) as f64).collect();
    let data = Dataset::rows(3, &x, Target::Values(&y)).unwrap().row_weights(&weights).unwrap();
    assert_close(
        &gradient(mlp(), MeanSquaredError::new(), &data, 5),
        &gradient(mlp(), MeanSquaredError::new(), &data, 12),
    );
    let lengths = [5, 1, 2, 4, 4, 3, 1, 1, 2];
    let rows: usize = lengths.iter().sum();
    let (x, y) = (values(1, rows * 3), values(2, rows * 2));
    let data = Dataset::ragged(3, &lengths, &x, Target::Values(&y)).unwrap();
    let network = || Sequential::input(3).recurrent(4, Lstm::new()).linear(2).build().unwrap();
    assert_close(
        &gradient(network(), MeanSquaredError::new(), &data, 2),
        &gradient(network(), MeanSquaredError::new(), &data, 9),
    );
    let classes: Vec<usize> = (0..12).map(|i| i % 2).collect();
    let data = Dataset::rows(3, &x[..36], Target::Classes(&classes)).unwrap();
    let loss = || CrossEntropy::new().class_weights(&[1.0, 3.0]).unwrap();
    assert_close(&gradient(mlp(), loss(), &data, 5), &gradient(mlp(), loss(), &data, 12));
}

#[test]
fn last_batch_may_be_partial() {
    let made = made();
    let settings = TrainConfig { batch_size: 8, epochs: 1, shuffle: false, ..TrainConfig::default() };
    let mut fitted = trainer(mlp(), Sgd::new(0.1), settings);
    let epochs = fitted.fit(&made.data()).unwrap();
    assert_eq!((epochs.len(), epochs[0].steps, epochs[0].skipped), (1, 3, 0));
    let mut by_hand = trainer(mlp(), Sgd::new(0.1), settings);
    let mut batch = Batch::new(&made.data(), 8);
    let order: Vec<usize> = (0..22).collect();
    let mut sum = 0.0;
    for samples in [&order[..8], &order[8..16], &order[16..]] {
        sum += by_hand.step(&made.data(), &mut batch, samples, &mut ()).unwrap().0 * samples.len() as f64;
    }
    assert_eq!(bits(by_hand.parameters()), bits(fitted.parameters()));
    assert!((epochs[0].loss - sum / 22.0).abs() < 1e-15);
    // A batch larger than the data is all of it.
    let mut whole = trainer(mlp(), Sgd::new(0.1), TrainConfig { batch_size: 100, epochs: 2, ..TrainConfig::default() });
    assert_eq!(whole.fit(&made.data()).unwrap()[1].steps, 2);
    assert_eq!(by_hand.step(&made.data(), &mut batch, &[], &mut ()), Err(Error::EmptyBatch));
}

#[test]
fn validation_is_without_noise() {
    let made = made();
    let data = made.data();
    let settings = TrainConfig { batch_size: 8, epochs: 3, ..TrainConfig::default() };
    let mut trainer = trainer(noisy(), Adam::new(1e-2), settings);
    let mut seen: Vec<Epoch> = Vec::new();
    let mut progress = |epoch: &Epoch| {
        seen.push(*epoch);
        ControlFlow::Continue(())
    };
    let observers = FitOptions::new().validation(&data).on_epoch(&mut progress);
    let epochs = trainer.fit_with(&data, observers).unwrap();
    assert_eq!(epochs, seen);
    let evaluation = trainer.evaluate(&data).unwrap();
    assert_eq!(epochs[2].validation, Some(evaluation));
    assert_eq!(evaluation.accuracy, None);
    let y: Vec<f64> =
        made.x.chunks(3).flat_map(|x| trainer.predict(&Dataset::rows(3, x, None).unwrap()).unwrap()).collect();
    let error: f64 = y.iter().zip(&made.y).map(|(y, t)| (y - t).powi(2)).sum::<f64>() / 44.0;
    assert!((evaluation.loss - error).abs() < 1e-14, "{} for {error}", evaluation.loss);
}

#[test]
fn accuracy_of_classes() {
    let made = made();
    let classes: Vec<usize> = made.x.chunks(3).map(|x| usize::from(x[0] > 0.0)).collect();
    let data = Dataset::rows(3, &made.x, Target::Classes(&classes)).unwrap();
    let settings = TrainConfig { batch_size: 5, epochs: 200, ..TrainConfig::default() };
    let mut trainer = Trainer::new(mlp(), CrossEntropy::new(), Adam::new(1e-2), settings).unwrap();
    trainer.fit(&data).unwrap();
    assert_eq!(trainer.evaluate(&data).unwrap().accuracy, Some(1.0));
}

#[test]
fn early_stopping_brings_the_best_weights_back() {
    // Random targets: what fits the training data does worse and worse on the other.
    let (made, other) = (made(), Made { x: values(8, 30), y: values(12, 20) });
    let (data, other) = (made.data(), other.data());
    let settings = TrainConfig { batch_size: 8, epochs: 500, patience: Some(4), ..TrainConfig::default() };
    let mut stopped = trainer(mlp(), Adam::new(3e-2), settings);
    let epochs = stopped.fit_with(&data, FitOptions::new().validation(&other)).unwrap();
    let losses: Vec<f64> = epochs.iter().map(|epoch| epoch.validation.unwrap().loss).collect();
    let best = (0..losses.len()).min_by(|&a, &b| losses[a].total_cmp(&losses[b])).unwrap();
    assert!(epochs.len() < 500 && best > 0, "{losses:?}");
    assert_eq!(epochs.len(), best + 1 + 4);
    assert_eq!(stopped.evaluate(&other).unwrap().loss, losses[best]);
    let mut shorter = trainer(mlp(), Adam::new(3e-2), TrainConfig { epochs: best + 1, patience: None, ..settings });
    shorter.fit(&data).unwrap();
    assert_eq!(bits(shorter.parameters()), bits(stopped.parameters()));
    assert!(matches!(stopped.fit(&data), Err(Error::InvalidState { .. })), "there is nothing to stop early by");
}

#[test]
fn progress_may_stop() {
    let made = made();
    let mut trainer = trainer(mlp(), Sgd::new(0.1), TrainConfig { epochs: 10, ..TrainConfig::default() });
    let mut stop = |epoch: &Epoch| if epoch.epoch == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let epochs = trainer.fit_with(&made.data(), FitOptions::new().on_epoch(&mut stop)).unwrap();
    assert_eq!(epochs.len(), 3);
    let rest = trainer.fit(&made.data()).unwrap();
    assert_eq!((rest.len(), rest[0].epoch, rest[6].epoch), (7, 4, 10));
}

#[test]
fn frozen_blocks_stay() {
    let made = made();
    let moving = (Penalty::l2(0.1), AdamW::new(1e-2, 0.1), WeightAverage::new(0.9));
    let settings = TrainConfig { batch_size: 4, epochs: 3, ..TrainConfig::default() };
    let mut trainer = trainer(mlp(), moving, settings);
    // First some steps, so that there is momentum to go on with.
    trainer.fit(&made.data()).unwrap();
    for frozen in ["0", "2.weight", "2.bias"] {
        trainer.workspace_mut().freeze(frozen).unwrap();
        let blocks = trainer.workspace().blocks().clone();
        let before = trainer.parameters().to_vec();
        trainer.set_epochs(trainer.settings().epochs + 2);
        trainer.fit(&made.data()).unwrap();
        let names: Vec<&str> = blocks.iter().filter(|block| block.frozen).map(|block| &*block.name).collect();
        assert!(!names.is_empty());
        for block in &blocks {
            let (old, new) = (&before[block.range.clone()], trainer.block(&block.name).unwrap());
            assert_eq!(bits(old) == bits(new), block.frozen, "{} with {names:?} frozen", block.name);
            let gradient = &trainer.workspace().gradient()[block.range.clone()];
            assert_eq!(gradient.iter().all(|g| *g == 0.0), block.frozen, "{}", block.name);
        }
        trainer.workspace_mut().unfreeze(frozen).unwrap();
    }
    assert!(matches!(trainer.workspace_mut().freeze("7"), Err(Error::UnknownBlock { .. })));
}

#[test]
fn weight_average_is_the_exponential_mean() {
    let made = made();
    let data = made.data();
    let mut trainer = trainer(mlp(), (Sgd::new(0.1), WeightAverage::new(0.75)), TrainConfig::default());
    let mut average = trainer.parameters().to_vec();
    let mut batch = Batch::new(&data, 8);
    let order: Vec<usize> = (0..22).collect();
    for samples in order.chunks(8) {
        trainer.step(&data, &mut batch, samples, &mut ()).unwrap();
        average.iter_mut().zip(trainer.parameters()).for_each(|(a, w)| *a = 0.75 * *a + 0.25 * w);
    }
    let found = trainer.averaged_parameters().unwrap();
    assert!(found.iter().zip(&average).all(|(found, a)| (found - a).abs() < 1e-15));
    let plain = self::trainer(mlp(), Sgd::new(0.1), TrainConfig::default());
    assert_eq!(plain.averaged_parameters(), None);
}

#[test]
fn schedule_free_average_is_evaluated_kept_and_put_into_a_model() {
    average_is_evaluated_kept_and_put_into_a_model(ScheduleFreeAdamW::new(0.2, 0.0));
}

#[test]
fn weight_average_as_result_is_evaluated_kept_and_put_into_a_model() {
    average_is_evaluated_kept_and_put_into_a_model((Adam::new(0.05), WeightAverage::new(0.8).warm_up().as_result()));
}

fn average_is_evaluated_kept_and_put_into_a_model(transform: impl GradientTransform<f64>) {
    let made = made();
    let data = made.data();
    let (x, y) = (values(3, 10 * 3), values(4, 10 * 2));
    let other = Dataset::rows(3, &x, Target::Values(&y)).unwrap();
    let settings = TrainConfig { epochs: 60, batch_size: 8, patience: Some(5), ..TrainConfig::default() };
    let mut trainer = trainer(mlp(), transform, settings);
    assert_eq!(trainer.result(), trainer.parameters());
    let epochs = trainer.fit_with(&data, FitOptions::new().validation(&other)).unwrap();
    assert!(trainer.stopped_early());
    // What was validated is what is kept: to the bit, and by another network that is given the weights.
    let least = epochs.iter().map(|epoch| epoch.validation.unwrap().loss).fold(f64::INFINITY, f64::min);
    assert_eq!(trainer.evaluate(&other).unwrap().loss, least);
    let kept = trainer.result().to_vec();
    assert_eq!(trainer.averaged_parameters(), Some(&kept[..]));
    assert_ne!(trainer.parameters(), &kept[..]);
    let mut plain = self::trainer(mlp(), Sgd::new(0.1), settings);
    plain.parameters_mut().copy_from_slice(&kept);
    assert_eq!(plain.evaluate(&other).unwrap().loss, least);
    assert_eq!(trainer.predict(&other).unwrap(), plain.predict(&other).unwrap());
    assert_eq!(trainer.model().unwrap().parameters(), &kept[..]);
    assert_eq!(trainer.into_model().unwrap().parameters(), &kept[..]);
}

#[test]
fn orders_are_drawn_from_seed_and_epoch() {
    let draw = |seed, epoch| {
        let mut order: Vec<usize> = (0..50).collect();
        shuffle(&mut order, seed, epoch);
        order
    };
    assert_eq!(draw(1, 2), draw(1, 2));
    assert_ne!(draw(1, 2), draw(1, 3));
    assert_ne!(draw(1, 2), draw(2, 2));
    let mut sorted = draw(1, 2);
    sorted.sort_unstable();
    assert_eq!(sorted, (0..50).collect::<Vec<_>>());
}

#[test]
fn bad_settings_and_data_are_refused() {
    let make = |settings| Trainer::new(mlp(), MeanSquaredError::new(), Sgd::new(0.1), settings).map(|_| ());
    for settings in [
        TrainConfig { batch_size: 0, ..TrainConfig::default() },
        TrainConfig { accumulation_steps: 0, ..TrainConfig::default() },
        TrainConfig { patience: Some(0), ..TrainConfig::default() },
    ] {
        assert!(matches!(make(settings), Err(Error::Parameter { .. })), "{settings:?}");
    }
    let made = made();
    let mut trainer = trainer(mlp(), Sgd::new(0.1), TrainConfig::default());
    let narrow = Dataset::rows(2, &made.x, Target::Values(&made.x)).unwrap();
    assert!(matches!(trainer.fit(&narrow), Err(Error::InvalidData(DataRule::Width { .. }))));
    let data = Dataset::rows(3, &made.x, Target::Values(&made.x)).unwrap();
    assert!(
        matches!(trainer.fit(&data), Err(Error::InvalidData(DataRule::TargetWidth { .. }))),
        "three targets for two outputs"
    );
    assert!(matches!(Dataset::rows(3, &made.x[..4], Target::Values(&made.y)), Err(Error::InvalidData(_))));
    assert!(matches!(Dataset::rows(3, &made.x, Target::Classes(&[1; 3])), Err(Error::Length { .. })));
    assert_eq!(Dataset::ragged(3, &[2, 0], &made.x, Target::Values(&made.y)).err(), Some(Error::NoSteps { sample: 1 }));
    // Data of more steps than before is no error: memory is made for it.
    let long = Dataset::sequences(3, 2, &made.x, Target::Values(&made.y)).unwrap();
    assert!(trainer.fit(&long).is_ok());
}

#[cfg(feature = "serde")]
#[test]
fn recorder_writes_json_lines() {
    use chainrule::monitor::Recorder;
    let made = made();
    let network = Sequential::input(3).recurrent(4, Lstm::new()).residual(|branch| branch.linear(4)).linear(2);
    let mut trainer =
        trainer(network.build().unwrap(), Sgd::new(0.1), TrainConfig { epochs: 2, ..TrainConfig::default() });
    let mut recorder = Recorder::new(Vec::new());
    let monitor: &mut dyn GradientMonitor<f64> = &mut recorder;
    trainer.fit_with(&made.data(), FitOptions::new().monitor(monitor)).unwrap();
    let text = String::from_utf8(recorder.finish().unwrap()).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for event in ["forward", "backward", "gradient", "update"] {
        let first = lines.iter().find(|line| line["event"] == event).unwrap();
        assert!(first["before"]["norm"].is_f64() && first["pass"] == 1, "{first}");
    }
    assert_eq!(lines.last().unwrap()["pass"], 2);
    assert!(lines.iter().any(|line| line["gate"] == "forget" && line["step"] == 0));
    let blocks = chainrule::Layer::<f64>::dims(trainer.network()).parameters;
    let updates = lines.iter().filter(|line| line["event"] == "update" && line["pass"] == 2);
    assert_eq!(updates.map(|line| line["after"]["values"].as_u64().unwrap()).sum::<u64>(), blocks as u64);

    #[derive(Debug)]
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut recorder = Recorder::new(Full);
    let monitor: &mut dyn GradientMonitor<f64> = &mut recorder;
    trainer.set_epochs(3);
    trainer.fit_with(&made.data(), FitOptions::new().monitor(monitor)).unwrap();
    assert_eq!(recorder.finish().unwrap_err().kind(), std::io::ErrorKind::StorageFull);
}

/// The norm after clipping is that of the gradient by which plain descent moves, whatever clips and in whatever chain.
#[test]
fn clipped_norm_is_that_of_the_update_over_the_rate() {
    let made = made();
    let data = made.data();
    let chains: Vec<(Box<dyn GradientTransform<f64>>, bool)> = vec![
        (Box::new((ClipNorm::new(0.01), Sgd::new(0.5))), true),
        (Box::new((ClipNorm::new(0.01).p(f64::INFINITY), Sgd::new(0.5))), true),
        (Box::new((ClipBlockNorm::new(0.01), Sgd::new(0.5))), true),
        (Box::new((ClipValue::new(0.001), Sgd::new(0.5))), true),
        (Box::new((Penalty::l2(0.1), ClipValue::new(0.05), ClipNorm::new(0.02), Sgd::new(0.5))), true),
        (Box::new((ClipBlockNorm::new(0.02), Penalty::l2(0.0), ClipValue::new(0.001), Sgd::new(0.5))), true),
        (Box::new(PerGroup::new(Sgd::new(0.5)).group("0", (ClipBlockNorm::new(0.01), Sgd::new(0.5)))), true),
        (Box::new(PerGroup::new(Sgd::new(0.5))), false),
        (Box::new((Penalty::l2(0.1), Sgd::new(0.5))), false),
    ];
    for (chain, clips) in chains {
        let name = format!("{chain:?}");
        let mut trainer = trainer(mlp(), chain, TrainConfig { batch_size: 8, epochs: 1, ..TrainConfig::default() });
        let mut steps = Vec::new();
        let mut on_step = |step: &Step| {
            steps.push(*step);
            // One update, so that the parameters before and after it are known.
            std::ops::ControlFlow::Break(())
        };
        let before = trainer.parameters().to_vec();
        trainer.fit_with(&data, FitOptions::new().on_step(&mut on_step)).unwrap();
        let moved: f64 = before.iter().zip(trainer.parameters()).map(|(a, b)| ((a - b) / 0.5).powi(2)).sum();
        assert_eq!(steps[0].clipped_norm.is_some(), clips, "{name}");
        if let Some(norm) = steps[0].clipped_norm {
            assert!((norm / moved.sqrt() - 1.0).abs() < 1e-12, "{norm} for {} with {name}", moved.sqrt());
            assert!(norm < steps[0].gradient_norm);
        }
    }
}

/// Plain descent is part of the backward pass: it takes a set rate too.
#[test]
fn set_rate_of_zero_stops_plain_descent() {
    let made = made();
    let mut trainer = trainer(mlp(), Sgd::new(0.5), TrainConfig { epochs: 1, ..TrainConfig::default() });
    let before = trainer.parameters().to_vec();
    trainer.set_learning_rate(0.0).unwrap();
    trainer.fit(&made.data()).unwrap();
    assert_eq!(trainer.parameters(), before);
    trainer.set_learning_rate(0.5).unwrap();
    trainer.fit(&made.data()).unwrap();
    assert_ne!(trainer.parameters(), before);
}
