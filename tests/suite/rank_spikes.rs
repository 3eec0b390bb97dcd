//! The rank, the shard and the sample that a spike of the gradient comes from.

use crate::{
    ranks::{Messages, Recorded, Steps, assert_close, everything, mean_squared, on_ranks, settings},
    trainer::values,
};
use chainrule::{
    Error, RankRule,
    activation::Tanh,
    dataset::{Batch, Dataset},
    distributed::{Communicator, DataParallel},
    layer::Sequential,
    loss::{Loss, MeanSquaredError, Reduction, Target},
    monitor::Statistics,
    recurrent::Lstm,
    trainer::{FitOptions, Spike, Step, TrainConfig, Trainer},
    transform::{ClipNorm, GradientTransform, Sgd},
};
use std::{ops::ControlFlow, thread};

type Run = Trainer<f64, Sequential<f64>, MeanSquaredError, Box<dyn GradientTransform<f64>>>;

const SAMPLES: usize = 24;
/// The sample with targets of 100, that of the sixth shard of eight.
const FAR: usize = 16;

/// Samples of ordinary targets and weights, then as many, of which one has targets of 100, and some weigh nothing.
fn data(steps: usize) -> Dataset<'static, f64> {
    let (x, mut y) = (values(1, 2 * SAMPLES * steps * 3), values(2, 2 * SAMPLES * 2));
    y[(SAMPLES + FAR) * 2..][..2].fill(100.0);
    let weights: Vec<f64> = (0..2 * SAMPLES).map(|i| if i % 7 == 6 { 0.0 } else { 1.0 + (i % 3) as f64 }).collect();
    Dataset::sequences(3, steps, &x, Target::Values(&y)).unwrap().row_weights(&weights).unwrap().into_owned()
}

/// The same samples of 5 steps, cut to 1 to 5.
fn ragged() -> Dataset<'static, f64> {
    let whole = data(5);
    let lengths: Vec<usize> = (0..2 * SAMPLES).map(|i| 1 + i * 3 % 5).collect();
    let rows = whole.inputs().chunks(5 * 3).zip(&lengths).flat_map(|(sample, &length)| &sample[..3 * length]);
    let (x, y): (Vec<f64>, _) = (rows.copied().collect(), whole.targets().unwrap());
    Dataset::ragged(3, &lengths, &x, y).unwrap().into_owned()
}

type Network = fn() -> Sequential<f64>;

fn run(network: Network, parallel: Option<DataParallel<f64>>) -> Run {
    on_threads(1, network, parallel)
}

fn on_threads(threads: usize, network: Network, parallel: Option<DataParallel<f64>>) -> Run {
    let settings = TrainConfig { threads, ..settings(SAMPLES, 1, 1) };
    let plain = Box::new(Sgd::new(1e-3)) as Box<dyn GradientTransform<f64>>;
    let mut run = Trainer::new(network(), MeanSquaredError::new(), plain, settings).unwrap();
    parallel.into_iter().for_each(|parallel| run.set_data_parallel(parallel).unwrap());
    run
}

fn feedforward() -> Sequential<f64> {
    Sequential::input(3).linear(6).activation(Tanh).dropout(0.2).linear(2).build().unwrap()
}

/// Makes 30 ordinary updates, then one with the far sample. Returns the records, if the rank has a monitor.
fn train(run: &mut Run, data: &Dataset<'_, f64>, watches: bool) -> Vec<Step> {
    let (mut batch, mut steps) = (Batch::new(data, SAMPLES), Steps::default());
    for update in 0..31 {
        let first = if update == 30 { SAMPLES } else { 0 };
        let samples: Vec<usize> = (first..first + SAMPLES).collect();
        match watches {
            true => run.step(data, &mut batch, &samples, &mut steps).unwrap(),
            false => run.step(data, &mut batch, &samples, &mut ()).unwrap(),
        };
    }
    steps.0
}

/// Only one rank has a monitor: the others take part, and the record is that of one process.
#[test]
fn spike_names_rank_shard_and_sample() {
    let lstm: Network = || Sequential::input(3).recurrent(4, Lstm::new()).last_step().linear(2).build().unwrap();
    let dropout: Network = || {
        let layers = Sequential::input(3).recurrent(4, Lstm::new()).dropout(0.3).last_step().dropout(0.3);
        layers.linear(2).build().unwrap()
    };
    let networks: [(&str, Dataset<'static, f64>, Network); 4] = [
        ("feedforward with dropout", data(1), feedforward),
        ("LSTM", data(5), lstm),
        ("gated", data(1), || Sequential::input(3).gated_linear(4, Tanh).linear(2).build().unwrap()),
        // A pass has the longest sample first, and masks are keyed by its place there.
        ("ragged LSTM with dropout", ragged(), dropout),
    ];
    for (name, data, network) in networks {
        let mut unwatched = run(network, Some(DataParallel::new(())));
        train(&mut unwatched, &data, false);
        let of_one = |records: &[Step]| -> Spike {
            let spikes: Vec<Spike> = records.iter().filter_map(|step| step.spike).collect();
            assert_eq!(records.len(), 31);
            assert_eq!(records[30].spike, spikes.last().copied(), "{name}: {spikes:?}");
            records[30].spike.unwrap()
        };
        let mut alone = on_threads(2, network, Some(DataParallel::new(())));
        let expected = of_one(&train(&mut alone, &data, true));
        assert_eq!((expected.rank, expected.shard, expected.sample), (0, FAR / 3, Some(SAMPLES + FAR)), "{name}");
        assert_eq!(alone.parameters(), unwatched.parameters(), "{name}");
        for ranks in [2, 3, 4, 5, 8] {
            for watching in [0, ranks - 1] {
                let found = on_ranks(ranks, |rank| {
                    let watches = rank.rank() == watching;
                    let mut run = on_threads(1 + ranks % 2, network, Some(DataParallel::new(rank)));
                    (train(&mut run, &data, watches), run.parameters().to_vec())
                });
                assert!(found.iter().all(|(_, w)| *w == unwatched.parameters()), "{name}: {ranks} ranks");
                let spike = of_one(&found[watching].0);
                // The rank that has shard 5 of 8.
                let owner = (0..ranks).rfind(|rank| rank * 8 / ranks <= FAR / 3).unwrap();
                assert_eq!(spike.rank, owner, "{name}: {ranks} ranks");
                // The same bits otherwise.
                assert_eq!((spike.shard, spike.sample), (expected.shard, expected.sample));
                assert_eq!(spike.shard_fraction.to_bits(), expected.shard_fraction.to_bits());
                assert_eq!(spike.sample_fraction, expected.sample_fraction);
            }
        }
    }
}

/// ⟨g_part, g⟩/‖g‖² from gradients of updates by plain trainers.
#[test]
fn contributions_are_those_of_gradients_computed_apart() {
    let network = || Sequential::input(3).linear(6).activation(Tanh).linear(2).build().unwrap();
    let (data, weight) = (data(1), |i: usize| if i % 7 == 6 { 0.0 } else { 1.0 + (i % 3) as f64 });
    let all: Vec<usize> = (SAMPLES..2 * SAMPLES).collect();
    let mut watched = run(network, Some(DataParallel::new(())));
    let spike = train(&mut watched, &data, true)[30].spike.unwrap();
    // The parameters before the last update.
    let mut before = run(network, Some(DataParallel::new(())));
    let mut batch = Batch::new(&data, SAMPLES);
    for _ in 0..30 {
        before.step(&data, &mut batch, &(0..SAMPLES).collect::<Vec<_>>(), &mut ()).unwrap();
    }
    // The gradient of a weighted sum over samples, since an update subtracts the rate times that of their mean.
    let gradient = |samples: &[usize]| -> Vec<f64> {
        let mut apart = run(network, None);
        apart.parameters_mut().copy_from_slice(before.parameters());
        let mut seen = Gradient::default();
        apart.step(&data, &mut Batch::new(&data, SAMPLES), samples, &mut seen).unwrap();
        let sum: f64 = samples.iter().map(|&i| weight(i)).sum();
        seen.0.iter().map(|g| g * sum).collect()
    };
    let whole = gradient(&all);
    let square: f64 = whole.iter().map(|g| g * g).sum();
    let fraction = |part: &[usize]| gradient(part).iter().zip(&whole).map(|(a, b)| a * b).sum::<f64>() / square;
    let (shard, sample) = (spike.shard, spike.sample.unwrap());
    let found = [spike.shard_fraction, spike.sample_fraction.unwrap()];
    assert_close("contributions", &found, &[fraction(&all[3 * shard..3 * shard + 3]), fraction(&[sample])]);
    // They are the largest.
    assert!((0..8).all(|shard| fraction(&all[3 * shard..3 * shard + 3]) <= found[0] + 1e-9));
    assert!(all[3 * shard..][..3].iter().filter(|&&i| weight(i) > 0.0).all(|&i| fraction(&[i]) <= found[1] + 1e-9));
}

/// The last gradient.
#[derive(Default)]
struct Gradient(Vec<f64>);

impl chainrule::GradientMonitor<f64> for Gradient {
    fn event(&mut self, event: &chainrule::monitor::Event<'_, f64>) {
        if let chainrule::monitor::Event::Gradient { dw, .. } = event {
            self.0 = dw.to_vec();
        }
    }
}

#[test]
fn spike_of_coupled_samples_names_the_shard_alone() {
    let network = || Sequential::input(3).linear(6).batch_norm().activation(Tanh).linear(2).build().unwrap();
    let data = data(1);
    let mut plain = run(network, Some(DataParallel::new(())));
    train(&mut plain, &data, false);
    for ranks in [1, 4] {
        let found = on_ranks(ranks, |rank| {
            let mut run = run(network, Some(DataParallel::new(rank)));
            let steps = train(&mut run, &data, true);
            (steps[30].spike.unwrap(), run.parameters().to_vec(), run.workspace().buffers().to_vec())
        });
        for (spike, parameters, buffers) in found {
            assert_eq!((spike.shard, spike.rank, spike.sample), (FAR / 3, FAR / 3 * ranks / 8, None));
            assert!(spike.shard_fraction > 0.9 && spike.sample_fraction.is_none(), "{spike:?}");
            let percent = 100.0 * spike.shard_fraction;
            assert_eq!(spike.to_string(), format!("shard 5 on rank {} ({percent:.0} % of the gradient)", spike.rank));
            assert!(parameters == plain.parameters() && buffers == plain.workspace().buffers());
        }
    }
}

/// A gradient that is not finite with a finite loss, and a loss that is not finite: all skip the update, and name it.
#[test]
fn value_that_is_not_finite_in_a_skipped_update_names_rank_and_sample() {
    let mut x = values(1, 24);
    let y = values(2, 24);
    let record = |x: &[f64], y: &[f64], ranks: usize| {
        let data = Dataset::rows(1, x, Target::Values(y)).unwrap();
        let mut records = on_ranks(ranks, |rank| {
            let network = Sequential::input(1).linear(1).activation(Tanh).linear(1).build().unwrap();
            let settings = TrainConfig { shuffle: false, ..settings(24, 1, 1) };
            let mut run = Trainer::new(network, MeanSquaredError::new(), everything(), settings).unwrap();
            // y = 1e10 tanh(0 x): finite, with a gradient of 1e10 x.
            run.parameters_mut().copy_from_slice(&[0.0, 0.0, 1e10, 0.0]);
            run.set_data_parallel(DataParallel::new(rank)).unwrap();
            let (mut records, mut statistics) = (Vec::new(), Statistics::new());
            let mut on_step = |step: &Step| {
                records.push(*step);
                ControlFlow::Continue(())
            };
            let options = FitOptions::new().on_step(&mut on_step).monitor(&mut statistics);
            run.fit_with(&data, options).unwrap();
            assert_eq!(statistics.run().largest_spike(), records[0].spike);
            records[0]
        });
        let first = records.remove(0);
        assert!(records.iter().all(|record| record.spike == first.spike));
        first
    };
    let text = |step: &Step| step.spike.unwrap().to_string();
    // Sample 13 is in shard 4.
    for (ranks, owner) in [(1, 0), (2, 1), (3, 1), (8, 4)] {
        x[13] = 1e305;
        let step = record(&x, &y, ranks);
        assert!(step.loss.is_finite() && !step.gradient_norm.is_finite() && !step.applied, "{step:?}");
        assert_eq!(text(&step), format!("sample 13 on rank {owner} (not finite)"));
        x[13] = 0.5;
        let mut far = y.clone();
        far[22] = f64::MAX; // Its square is infinite.
        let step = record(&x, &far, ranks);
        assert!(!step.loss.is_finite() && !step.applied, "{step:?}");
        assert_eq!(text(&step), format!("sample 22 on rank {} (not finite)", ranks - 1));
        assert_eq!(step.spike.unwrap().shard, 7);
    }
}

/// The forward passes, and the links that they show.
#[derive(Default)]
struct Passes([usize; 2]);

impl chainrule::GradientMonitor<f64> for Passes {
    fn begin_pass(&mut self) {
        self.0[0] += 1;
    }

    fn forward(&mut self, _at: &chainrule::monitor::Link<'_>, _x: &[f64], _y: &[f64]) {
        self.0[1] += 1;
    }
}

/// The sample of a loss that is not finite is looked for without the monitor, in one process as on ranks.
#[test]
fn monitor_sees_an_update_that_is_not_finite_once() {
    let (x, mut y) = (values(1, 24), values(2, 24));
    y[13] = f64::MAX; // Its square is infinite.
    let data = Dataset::rows(1, &x, Target::Values(&y)).unwrap();
    for ranks in [1, 2] {
        let found = on_ranks(ranks, |rank| {
            let network = Sequential::input(1).linear(1).activation(Tanh).linear(1).build().unwrap();
            let mut run = Trainer::new(network, MeanSquaredError::new(), everything(), settings(24, 1, 1)).unwrap();
            run.set_data_parallel(DataParallel::new(rank)).unwrap();
            let mut seen = Passes::default();
            run.fit_with(&data, FitOptions::new().monitor(&mut seen)).unwrap();
            seen.0
        });
        assert!(found.iter().all(|&found| found == [1, 3]), "{ranks} ranks: {found:?}");
    }
}

/// The loss of a batch norm cannot be had of one sample alone. A target that is too large shows in its own row of the
/// outputs of all; an input that is too large spoils those of its whole shard, with its samples.
#[test]
fn loss_of_coupled_samples_that_is_not_finite_names_the_sample_or_the_shard() {
    let fit = |x: &[f64], y: &[f64], ranks: usize, per_step: bool| {
        let target = Target::Values(y);
        let data = if per_step { Dataset::sequences(3, 2, x, target) } else { Dataset::rows(3, x, target) }.unwrap();
        on_ranks(ranks, |rank| {
            let network = Sequential::input(3).linear(6).batch_norm().activation(Tanh).linear(2).build().unwrap();
            let settings = TrainConfig { shuffle: false, ..settings(24, 1, 1) };
            let mut run = Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), settings).unwrap();
            run.parameters_mut()[..18].fill(2.0);
            run.set_data_parallel(DataParallel::new(rank)).unwrap();
            run.fit(&data).unwrap_err()
        })
    };
    for (per_step, steps) in [(false, 1), (true, 2)] {
        let (mut x, mut y) = (values(1, 24 * 3 * steps), values(2, 24 * 2 * steps));
        for ranks in [1, 2, 4, 8] {
            y[13 * 2 * steps] = f64::MAX; // Its square is infinite.
            let expected = RankRule::NonFinite { rank: 4 * ranks / 8, sample: 13, step: 0 };
            let found = fit(&x, &y, ranks, per_step);
            assert!(found.iter().all(|error| *error == expected.clone().into()), "{ranks} ranks: {found:?}");
            y[13 * 2 * steps] = 0.5;
            x[13 * 3 * steps] = f64::MAX; // So is twice its value.
            let expected =
                RankRule::NonFiniteShard { rank: 4 * ranks / 8, shard: 4, samples: vec![12, 13, 14], step: 0 };
            assert!(expected.to_string().contains("(samples 12, 13, 14)"));
            let found = fit(&x, &y, ranks, per_step);
            assert!(found.iter().all(|error| *error == expected.clone().into()), "{ranks} ranks: {found:?}");
            x[13 * 3 * steps] = 0.5;
        }
    }
}

/// A squared error that is infinite for a marked target among several.
#[derive(Debug)]
struct Together;

impl Loss<f64> for Together {
    fn reduction(&self) -> Reduction {
        Reduction::Mean
    }

    fn evaluate(
        &self,
        width: usize,
        y: &[f64],
        target: Target<'_, f64>,
        weights: Option<&[f64]>,
        dy: &mut [f64],
    ) -> Result<f64, Error> {
        let loss = MeanSquaredError::new().evaluate(width, y, target, weights, dy)?;
        let is_marked = matches!(target, Target::Values(values) if values.contains(&7.0));
        Ok(if is_marked && y.len() > 1 { f64::INFINITY } else { loss })
    }
}

/// The losses of the first shard are infinite together, that of a later sample alone: one shard is named.
#[test]
fn shard_and_sample_that_are_not_finite_belong_together() {
    let (x, mut y) = (values(1, 24), values(2, 24));
    y[1] = 7.0;
    y[13] = f64::MAX;
    let data = Dataset::rows(1, &x, Target::Values(&y)).unwrap();
    for ranks in [1, 2, 3, 8] {
        let found = on_ranks(ranks, |rank| {
            let network = Sequential::input(1).linear(1).build().unwrap();
            let settings = TrainConfig { shuffle: false, ..settings(24, 1, 1) };
            let mut run = Trainer::new(network, Together, everything(), settings).unwrap();
            run.set_data_parallel(DataParallel::new(rank)).unwrap();
            let mut steps = Steps::default();
            run.fit_with(&data, FitOptions::new().monitor(&mut steps)).unwrap();
            steps.0[0].spike.unwrap()
        });
        for spike in found {
            assert_eq!((spike.rank, spike.shard, spike.sample), (0, 0, None), "{ranks} ranks");
        }
    }
}

/// Ranks exchange the same messages with a monitor and without, but for the updates with a spike.
#[test]
fn update_without_a_spike_has_no_further_message() {
    let data = data(1);
    let messages = |watches: bool| {
        on_ranks(2, |rank| {
            let messages = Messages::default();
            let rank = Recorded(rank, thread::current().id(), messages.clone());
            let mut run = run(feedforward, Some(DataParallel::new(rank)));
            let mut counts = Vec::new();
            let (mut batch, mut steps) = (Batch::new(&data, SAMPLES), Steps::default());
            for update in 0..31 {
                let first = if update == 30 { SAMPLES } else { 0 };
                let samples: Vec<usize> = (first..first + SAMPLES).collect();
                match watches {
                    true => run.step(&data, &mut batch, &samples, &mut steps).unwrap(),
                    false => run.step(&data, &mut batch, &samples, &mut ()).unwrap(),
                };
                counts.push(std::mem::take(&mut *messages.lock().unwrap()));
            }
            (counts, steps.0.iter().map(|step| step.spike.is_some()).collect::<Vec<_>>())
        })
        .remove(0)
    };
    let ((watched, spikes), (unwatched, _)) = (messages(true), messages(false));
    assert!(spikes[30] && spikes.iter().filter(|&&spike| !spike).count() >= 25);
    for (update, (watched, unwatched)) in watched.iter().zip(&unwatched).enumerate() {
        assert_eq!(watched == unwatched, !spikes[update], "update {update}");
    }
}

/// The records name as many spikes as the statistics count, and the statistics keep the largest.
#[test]
fn statistics_keep_the_origin_of_the_largest_spike() {
    let (x, mut y) = (values(3, 400 * 3), values(4, 400 * 2));
    (0..400).filter(|i| i % 41 == 40).for_each(|i| y[2 * i] = 3.0 + i as f64 / 50.0);
    let data = Dataset::rows(3, &x, Target::Values(&y)).unwrap();
    for ranks in [1, 3] {
        let found = on_ranks(ranks, |rank| {
            let settings = TrainConfig { batch_size: 8, epochs: 3, seed: 5, ..TrainConfig::default() };
            let mut run = Trainer::new(feedforward(), mean_squared(), Sgd::new(1e-3), settings).unwrap();
            run.set_data_parallel(DataParallel::new(rank)).unwrap();
            let mut seen = (Steps::default(), Statistics::new());
            run.fit_with(&data, FitOptions::new().monitor(&mut seen)).unwrap();
            let (Steps(steps), statistics) = seen;
            let spikes: Vec<&Step> = steps.iter().filter(|step| step.spike.is_some()).collect();
            assert!(spikes.len() > 2);
            assert_eq!(statistics.run().spikes(), spikes.len() as u64);
            let largest = spikes.iter().max_by(|a, b| a.gradient_norm.total_cmp(&b.gradient_norm)).unwrap();
            assert_eq!(statistics.run().largest_spike(), largest.spike);
            largest.spike.unwrap()
        });
        assert!(found.iter().all(|spike| *spike == found[0]));
        assert_eq!(found[0].sample.map(|sample| sample % 41), Some(40), "{found:?}");
    }
}

/// A finite loss with an infinite gradient, and no monitor: the error names the sample before the next update fails.
#[test]
fn gradient_that_is_not_finite_names_rank_and_sample_without_a_monitor() {
    let (mut x, mut y) = (vec![0.5; 24], vec![0.5; 24]);
    (x[5], y[5]) = (1e200, 1e150); // (0 − 1e150)² is finite, and 1e150 · 1e200 is not.
    let data = Dataset::rows(1, &x, Target::Values(&y)).unwrap();
    let plain = || Box::new(Sgd::new(0.1)) as Box<dyn GradientTransform<f64>>;
    let clipped = || Box::new((ClipNorm::new(1e300), Sgd::new(0.1))) as Box<dyn GradientTransform<f64>>;
    // Updates of one pass over all shards of a rank, and of a pass for each part of a shard.
    for (batch_size, accumulation_steps) in [(12, 1), (1, 12)] {
        for ranks in [1, 2, 3, 4, 8] {
            // One process updates plain descent in place, and never has the whole gradient.
            let chain = if ranks == 1 { clipped } else { plain };
            let found = on_ranks(ranks, |rank| {
                let network = Sequential::input(1).linear(1).build().unwrap();
                let settings = TrainConfig { shuffle: false, accumulation_steps, ..settings(batch_size, 1, 1) };
                let mut run = Trainer::new(network, MeanSquaredError::new(), chain(), settings).unwrap();
                run.parameters_mut().fill(0.0);
                run.set_data_parallel(DataParallel::new(rank)).unwrap();
                run.fit(&data).unwrap_err()
            });
            // Sample 5 of 12 is in shard 3 of 8.
            let rank = (0..ranks).rfind(|rank| rank * 8 / ranks <= 3).unwrap();
            let expected: Error = RankRule::NonFinite { rank, sample: 5, step: 0 }.into();
            assert!(found.iter().all(|error| *error == expected), "{ranks} ranks, {batch_size}: {found:?}");
        }
    }
}

/// Parameters that are not finite make each loss so. No shard and no sample is blamed for it.
#[test]
fn parameters_that_are_not_finite_are_named_and_no_sample() {
    let (x, y) = (values(1, 24), values(2, 24));
    let data = Dataset::rows(1, &x, Target::Values(&y)).unwrap();
    let all: Vec<usize> = (0..24).collect();
    for (batch_size, accumulation_steps) in [(24, 1), (1, 24)] {
        let settings = TrainConfig { accumulation_steps, ..settings(batch_size, 1, 1) };
        let network = || Sequential::input(1).linear(1).build().unwrap();
        for ranks in [1, 2, 3, 8] {
            let found = on_ranks(ranks, |rank| {
                let mut run = Trainer::new(network(), MeanSquaredError::new(), Sgd::new(0.1), settings).unwrap();
                run.parameters_mut()[1] = f64::INFINITY;
                run.set_data_parallel(DataParallel::new(rank)).unwrap();
                run.step(&data, &mut Batch::new(&data, batch_size), &all, &mut ()).unwrap_err()
            });
            let expected = Error::NonFiniteParameters { block: "0.bias".into(), since: 0, step: 0 };
            assert!(found.iter().all(|error| *error == expected), "{ranks} ranks: {found:?}");
            // A guard skips the update, whose record names no sample.
            let found = on_ranks(ranks, |rank| {
                let mut run = Trainer::new(network(), MeanSquaredError::new(), everything(), settings).unwrap();
                run.parameters_mut()[1] = f64::INFINITY;
                run.set_data_parallel(DataParallel::new(rank)).unwrap();
                let mut steps = Steps::default();
                run.step(&data, &mut Batch::new(&data, batch_size), &all, &mut steps).unwrap();
                (steps.0[0].applied, steps.0[0].spike)
            });
            assert!(found.iter().all(|found| *found == (false, None)), "{ranks} ranks: {found:?}");
        }
    }
}
