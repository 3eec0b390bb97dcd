//! Data-parallel training: the same bits for any number of ranks, the update of the whole batch, and faults of ranks.

use crate::{parity::reference, trainer::values};
use chainrule::{
    BatchShape, Builder, Error, GradientMonitor, RankRule, Scalar,
    activation::{Sigmoid, Tanh},
    dataset::{Batch, Dataset},
    distributed::{Communicator, DataParallel, Local},
    layer::{Backward, BranchScale, Dims, Forward, Layer, MemorySizes, Merge, Mode, Residual, Sequential, Structure},
    loss::{CrossEntropy, Loss, MeanSquaredError, Reduction, Target},
    monitor::{Event, GradientBudget, Statistics},
    network::Branches,
    recurrent::{CheckpointInterval, Gru, Lstm, Recurrent},
    scalar,
    trainer::{FitOptions, Step, TrainConfig, Trainer},
    transform::{Adam, ClipNorm, GradientTransform, Outcome, Schedule, Sgd, SkipNonFinite, WeightAverage},
};
use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

type Run<T = f64> = Trainer<T, Sequential<T>, Box<dyn Loss<T>>, Box<dyn GradientTransform<T>>>;

/// The rank of a group, or a process alone.
type Rank<T = f64> = Option<Local<T>>;

/// A training to repeat on any number of ranks.
struct Case<T: Scalar = f64> {
    name: &'static str,
    network: fn() -> Result<Sequential<T>, Error>,
    loss: fn() -> Box<dyn Loss<T>>,
    transform: fn() -> Box<dyn GradientTransform<T>>,
    data: fn() -> Dataset<'static, T>,
    settings: TrainConfig,
}

impl<T: Scalar> Case<T> {
    fn trainer(&self, settings: TrainConfig) -> Run<T> {
        Trainer::new((self.network)().unwrap(), (self.loss)(), (self.transform)(), settings).unwrap()
    }

    fn on(&self, rank: Rank<T>, threads: usize) -> Run<T> {
        let mut run = self.trainer(TrainConfig { threads, ..self.settings });
        run.set_data_parallel(parallel(rank)).unwrap();
        run
    }
}

fn parallel<T: Scalar>(rank: Rank<T>) -> DataParallel<T> {
    match rank {
        Some(rank) => DataParallel::new(rank),
        None => DataParallel::new(()),
    }
}

pub(crate) fn mean_squared<T: Scalar>() -> Box<dyn Loss<T>> {
    Box::new(MeanSquaredError::new())
}

pub(crate) fn everything<T: Scalar>() -> Box<dyn GradientTransform<T>> {
    let chain = (SkipNonFinite::new(), ClipNorm::new(0.5), Adam::new(1e-2), Schedule::cosine(20, 0.1));
    Box::new((chain, WeightAverage::new(0.9)))
}

fn plain<T: Scalar>() -> Box<dyn GradientTransform<T>> {
    Box::new(Sgd::new(0.1))
}

/// The same numbers in any format.
fn numbers<T: Scalar>(salt: u64, count: usize) -> Vec<T> {
    values(salt, count).into_iter().map(scalar).collect()
}

/// 30 samples of 3 values and their 2 targets; every fourth sample has no weight.
fn rows<T: Scalar>() -> Dataset<'static, T> {
    let (x, y): (Vec<T>, Vec<T>) = (numbers(1, 30 * 3), numbers(2, 30 * 2));
    let weights: Vec<T> = (0..30).map(|i| scalar(if i % 4 == 0 { 0.0 } else { 1.0 + (i % 3) as f64 })).collect();
    let data = Dataset::rows(3, &x, Target::Values(&y)).unwrap();
    data.row_weights(&weights).unwrap().into_owned()
}

fn lengths() -> Vec<usize> {
    (0..16).map(|i| 1 + i * 5 % 7).collect()
}

/// 16 sequences of 1 to 7 steps with a class each.
fn ragged<T: Scalar>() -> Dataset<'static, T> {
    let lengths = lengths();
    let x: Vec<T> = numbers(3, 2 * lengths.iter().sum::<usize>());
    let classes: Vec<usize> = (0..16).map(|i| i % 3).collect();
    Dataset::ragged(2, &lengths, &x, Target::Classes(&classes)).unwrap().into_owned()
}

/// The same with two targets a step, of which some have no weight.
fn ragged_steps<T: Scalar>() -> Dataset<'static, T> {
    let lengths = lengths();
    let steps = lengths.iter().sum::<usize>();
    let (x, y): (Vec<T>, Vec<T>) = (numbers(4, 2 * steps), numbers(5, 2 * steps));
    let weights: Vec<T> = (0..steps).map(|i| scalar(if i % 5 < 2 { 0.0 } else { 1.0 })).collect();
    let data = Dataset::ragged(2, &lengths, &x, Target::Values(&y)).unwrap();
    data.row_weights(&weights).unwrap().into_owned()
}

pub(crate) fn settings(batch_size: usize, accumulation_steps: usize, epochs: usize) -> TrainConfig {
    TrainConfig { batch_size, accumulation_steps, epochs, seed: 7, ..TrainConfig::default() }
}

/// Each makes 20 updates or more, the last of an epoch from fewer samples.
fn cases<T: Scalar>() -> [Case<T>; 6] {
    [
        Case {
            name: "feedforward, dropout, masked",
            network: || Sequential::input(3).linear(8).activation(Tanh).dropout(0.3).layer_norm().linear(2).build(),
            loss: mean_squared,
            transform: everything,
            data: rows,
            settings: settings(12, 1, 7),
        },
        Case {
            name: "ragged LSTM, fewer samples than shards",
            network: || Sequential::input(2).recurrent(5, Lstm::new()).dropout(0.2).last_step().linear(3).build(),
            loss: || Box::new(CrossEntropy::new()),
            transform: everything,
            data: ragged,
            settings: settings(7, 1, 7),
        },
        Case {
            name: "ragged GRU, accumulated, masked steps",
            network: || Sequential::input(2).recurrent(4, Gru::new()).linear(2).build(),
            loss: mean_squared,
            transform: plain,
            data: ragged_steps,
            settings: settings(5, 2, 10),
        },
        Case {
            name: "embedding, gated, both directions, accumulated steps",
            network: || {
                let builder =
                    Sequential::input(1).embedding(9, 4).gated_linear(4, Sigmoid).bidirectional(3, Gru::new());
                builder.linear(2).build()
            },
            loss: mean_squared,
            transform: everything,
            data: || {
                let (x, y) = ((0..26 * 5).map(|i| scalar((i * 7 % 9) as f64)), numbers::<T>(8, 26 * 5 * 2));
                Dataset::sequences(1, 5, &x.collect::<Vec<T>>(), Target::Values(&y)).unwrap().into_owned()
            },
            settings: settings(9, 2, 10),
        },
        Case {
            name: "checkpointed",
            network: || {
                let recurrent = |builder: Builder<T>| builder.lstm(4).recurrent(3, Gru::new());
                Sequential::input(2).checkpointed(CheckpointInterval::Steps(2), recurrent).last_step().linear(3).build()
            },
            loss: || Box::new(CrossEntropy::new()),
            transform: plain,
            data: ragged,
            settings: settings(9, 1, 10),
        },
        Case {
            name: "batch norm",
            network: || Sequential::input(3).linear(6).batch_norm().activation(Tanh).linear(2).build(),
            loss: mean_squared,
            transform: plain,
            data: || {
                let (x, y): (Vec<T>, Vec<T>) = (numbers(1, 44 * 3), numbers(2, 44 * 2));
                Dataset::rows(3, &x, Target::Values(&y)).unwrap().into_owned()
            },
            settings: settings(24, 1, 10),
        },
    ]
}

/// Networks of which one pass adds the gradient of several shards.
fn cases_by_shard<T: Scalar>() -> [Case<T>; 4] {
    fn data<T: Scalar>(samples: usize, width: usize, steps: usize) -> Dataset<'static, T> {
        let (x, y): (Vec<T>, Vec<T>) = (numbers(6, samples * steps * width), numbers(7, samples * 2));
        Dataset::sequences(width, steps, &x, Target::Values(&y)).unwrap().into_owned()
    }
    [
        Case {
            name: "LSTM and GRU of one length, dropout of the state",
            network: || {
                let gru = |layer: Recurrent<Gru>| layer.recurrent_dropout(0.3).unwrap().zoneout(0.1, 0.0).unwrap();
                let builder = Sequential::input(3).recurrent(8, Lstm::new()).dropout(0.2);
                builder.layer(gru(Recurrent::new(8, 5, Gru::new()))).last_step().linear(2).build()
            },
            loss: mean_squared,
            transform: everything,
            data: || data(36, 3, 9),
            settings: settings(20, 1, 10),
        },
        Case {
            name: "norms, PReLU, residual, branches",
            network: || {
                let builder = Sequential::input(3).linear(4).layer_norm().prelu();
                let builder = builder.residual(|branch| branch.linear(4).activation(Tanh));
                let scaled = Sequential::input(4).group_norm(2).linear(4).build()?;
                let builder = builder.layer(Residual::new(scaled)?.scale(BranchScale::Learned(0.5))?);
                let sum = |branches: Branches<T>| branches.branch(|b| b.linear(4)).branch(|b| b.rms_norm());
                builder.parallel(Merge::Sum, sum).softmax().linear(2).build()
            },
            loss: mean_squared,
            transform: plain,
            data: || data(44, 3, 1),
            settings: settings(24, 1, 10),
        },
        Case {
            name: "accumulated",
            network: || Sequential::input(3).linear(8).activation(Tanh).dropout(0.3).linear(2).build(),
            loss: mean_squared,
            transform: everything,
            data: || data(44, 3, 1),
            settings: settings(12, 2, 10),
        },
        Case {
            name: "shards of many rows",
            network: || Sequential::input(3).linear(20).activation(Tanh).linear(2).build(),
            loss: mean_squared,
            transform: plain,
            data: || data(700, 3, 1),
            settings: settings(700, 1, 20),
        },
    ]
}

/// A layer of another crate, which data-parallel training passes shard by shard.
pub(crate) struct Opaque(pub(crate) Sequential<f64>);

impl std::fmt::Debug for Opaque {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opaque")
    }
}

impl Layer<f64> for Opaque {
    fn dims(&self) -> Dims {
        self.0.dims()
    }

    fn structure(&self) -> Structure<'_, f64> {
        Structure::chain().part("0", &self.0)
    }

    fn output_shape<'a>(&self, shape: BatchShape<'a>) -> BatchShape<'a> {
        self.0.output_shape(shape)
    }

    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        self.0.memory(shape, mode)
    }

    fn forward(&self, w: &[f64], pass: Forward<'_, f64>) {
        self.0.forward(w, pass);
    }

    fn backward(&self, w: &[f64], pass: Backward<'_, f64>) {
        self.0.backward(w, pass);
    }
}

/// Trains in shards twice: by passes over several, where the layers can, and by a pass for each.
fn has_the_bits_of_a_pass_for_each_shard(case: &Case, shards: &[usize]) {
    let data = (case.data)();
    let settings = TrainConfig { epochs: 2, ..case.settings };
    for &shards in shards {
        let parallel = || DataParallel::new(()).shards(shards);
        let mut run = case.trainer(settings);
        run.set_data_parallel(parallel()).unwrap();
        let found = result(&mut run, &data).unwrap();
        let layer = Opaque((case.network)().unwrap());
        let mut run = Trainer::new(layer, (case.loss)(), (case.transform)(), settings).unwrap();
        run.set_data_parallel(parallel()).unwrap();
        let losses = run.fit(&data).unwrap().into_iter().map(|epoch| epoch.loss);
        let values = run.parameters().iter().chain(run.averaged_parameters().unwrap_or_default());
        let expected: Vec<u64> = values.copied().chain(losses).map(f64::to_bits).collect();
        assert!(found == expected, "{}: {shards} shards", case.name);
    }
}

#[test]
fn pass_over_several_shards_has_the_bits_of_a_pass_for_each() {
    cases_by_shard().iter().for_each(|case| has_the_bits_of_a_pass_for_each_shard(case, &[1, 2, 4, 8, 64]));
}

/// 16 sequences of 40 steps, of which the first layers see each step: a shard of 8 has more rows than a block of sums.
#[test]
fn pass_over_shards_of_sequences_has_the_bits_of_a_pass_for_each() {
    type Network = fn() -> Result<Sequential<f64>, Error>;
    let networks: [(&str, Network); 6] = [
        ("linear", || Sequential::input(2).linear(2).last_step().build()),
        ("PReLU", || Sequential::input(2).prelu().last_step().build()),
        ("residual", || Sequential::input(2).residual(|branch| branch.linear(2)).last_step().build()),
        ("scaled residual", || {
            let branch = Sequential::input(2).activation(Tanh).build()?;
            Sequential::input(2).layer(Residual::new(branch)?.scale(BranchScale::Learned(0.5))?).last_step().build()
        }),
        ("LSTM", || Sequential::input(2).recurrent(2, Lstm::new()).last_step().build()),
        ("GRU, then linear", || Sequential::input(2).recurrent(3, Gru::new()).last_step().linear(2).build()),
    ];
    for (name, network) in networks {
        let data = || {
            let (x, y) = (values(6, 16 * 40 * 2), values(7, 16 * 2));
            Dataset::sequences(2, 40, &x, Target::Values(&y)).unwrap().into_owned()
        };
        let case = Case { name, network, loss: mean_squared, transform: plain, data, settings: settings(16, 1, 2) };
        has_the_bits_of_a_pass_for_each_shard(&case, &[2, 4]);
    }
}

/// Calls `run` with each rank of a group on its own thread.
pub(crate) fn on_ranks<R: Send>(ranks: usize, run: impl Fn(Local<f64>) -> R + Sync) -> Vec<R> {
    on_ranks_of(ranks, run)
}

/// The same, for ranks that send values of type `T`.
pub(crate) fn on_ranks_of<T: Scalar, R: Send>(ranks: usize, run: impl Fn(Local<T>) -> R + Sync) -> Vec<R> {
    let group = Local::new(ranks).unwrap();
    thread::scope(|scope| {
        let threads: Vec<_> = group.into_iter().map(|rank| scope.spawn(|| run(rank))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// The bits of parameters, averages, buffers and losses.
fn result<T: Scalar>(run: &mut Run<T>, data: &Dataset<'_, T>) -> Result<Vec<u64>, Error> {
    let epochs = run.fit(data)?;
    let values = run.parameters().iter().chain(run.averaged_parameters().unwrap_or_default());
    let values = values.chain(run.workspace().buffers()).map(|value| value.to_f64().unwrap());
    Ok(values.chain(epochs.iter().map(|epoch| epoch.loss)).map(f64::to_bits).collect())
}

#[test]
fn training_any_number_of_ranks_and_threads_has_the_same_bits() {
    any_number_of_ranks_has_the_same_bits::<f64>();
    any_number_of_ranks_has_the_same_bits::<f32>();
}

fn any_number_of_ranks_has_the_same_bits<T: Scalar>() {
    for case in cases::<T>().into_iter().chain(cases_by_shard()) {
        let data = (case.data)();
        let mut alone = case.on(None, 1);
        let expected = result(&mut alone, &data).unwrap();
        assert!(alone.optimizer().steps() >= 20, "{}: {} updates", case.name, alone.optimizer().steps());
        // Another tree gives other bits, so the test would see it.
        let mut other = case.trainer(case.settings);
        other.set_data_parallel(DataParallel::new(()).shards(4)).unwrap();
        assert!(result(&mut other, &data).unwrap() != expected, "{}: the order of sums has no effect", case.name);
        for (ranks, threads) in [1, 2, 3, 4, 5, 8].into_iter().flat_map(|ranks| [(ranks, 1), (ranks, 2)]) {
            let run = |rank| result(&mut case.on(Some(rank), threads), &data).unwrap();
            for (rank, found) in on_ranks_of(ranks, run).into_iter().enumerate() {
                assert!(found == expected, "{}: rank {rank} of {ranks}, {threads} threads", case.name);
            }
        }
    }
}

#[test]
fn training_any_number_of_shards_and_ranks_has_the_same_bits() {
    let case = &cases()[0];
    let (data, settings) = ((case.data)(), TrainConfig { epochs: 2, ..case.settings });
    let train = |rank: Rank, shards| {
        let mut run = case.trainer(settings);
        run.set_data_parallel(parallel(rank).shards(shards)).unwrap();
        result(&mut run, &data).unwrap()
    };
    for (shards, ranks) in [(2, &[2][..]), (4, &[3]), (8, &[6, 7]), (16, &[3, 11, 16]), (32, &[5, 13])] {
        let expected = train(None, shards);
        for &ranks in ranks {
            let found = on_ranks(ranks, |rank| train(Some(rank), shards));
            assert!(found.iter().all(|rank| *rank == expected), "{ranks} ranks, {shards} shards");
        }
    }
}

#[test]
fn one_shard_without_accumulation_has_the_bits_of_plain_training() {
    for case in cases::<f64>().into_iter().filter(|case| case.settings.accumulation_steps == 1) {
        let data = (case.data)();
        let expected = result(&mut case.trainer(case.settings), &data).unwrap();
        let mut run = case.trainer(case.settings);
        run.set_data_parallel(DataParallel::new(()).shards(1)).unwrap();
        assert!(result(&mut run, &data).unwrap() == expected, "{}", case.name);
    }
}

/// The difference of the parameters that one update from `samples` makes.
fn change(run: &mut Run, data: &Dataset<'_, f64>, samples: &[usize]) -> (Vec<f64>, f64) {
    let before = run.parameters().to_vec();
    let (loss, outcome) = run.step(data, &mut Batch::new(data, samples.len()), samples, &mut ()).unwrap();
    assert_eq!(outcome, Outcome::Apply);
    (run.parameters().iter().zip(before).map(|(after, before)| after - before).collect(), loss)
}

pub(crate) fn assert_close(name: &str, found: &[f64], expected: &[f64]) {
    let largest = expected.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-12 * largest, "{name}: {found} for {expected}");
    }
}

#[test]
fn update_in_shards_is_that_of_the_whole_batch() {
    let samples: Vec<usize> = (0..16).rev().collect();
    let [rows, mut ragged, steps, ..] = cases();
    // Without dropout, which is drawn in the order of the lengths.
    ragged.network = || Sequential::input(2).recurrent(5, Lstm::new()).last_step().linear(3).build();
    for case in [rows, ragged, steps] {
        let (data, settings) = ((case.data)(), TrainConfig { batch_size: 16, ..case.settings });
        let case = Case { transform: plain, ..case };
        let (expected, loss) = change(&mut case.trainer(settings), &data, &samples);
        let mut run = case.trainer(settings);
        run.set_data_parallel(parallel(None)).unwrap();
        let (found, of_shards) = change(&mut run, &data, &samples);
        assert_close(case.name, &found, &expected);
        assert_close(case.name, &[of_shards], &[loss]);
    }
}

#[test]
fn mean_of_means_is_the_mean_of_the_updates_of_the_shards() {
    let (case, data) = (&cases()[0], rows());
    let case = Case {
        network: || Sequential::input(3).linear(4).activation(Tanh).linear(2).build(),
        transform: plain,
        ..*case
    };
    let settings = TrainConfig { batch_size: 30, ..case.settings };
    let samples: Vec<usize> = (0..30).collect();
    // Four processes of PyTorch's DistributedDataParallel: each the mean of its own samples, then the mean of those.
    let shards = [0..7, 7..15, 15..22, 22..30].map(|own| change(&mut case.trainer(settings), &data, &samples[own]));
    let expected: Vec<f64> =
        (0..shards[0].0.len()).map(|i| shards.iter().map(|(change, _)| change[i]).sum::<f64>() / 4.0).collect();
    for ranks in [1, 2, 4] {
        let run = |rank| {
            let mut run = case.trainer(settings);
            run.set_data_parallel(DataParallel::new(rank).shards(4).mean_of_means()).unwrap();
            change(&mut run, &data, &samples)
        };
        for (found, loss) in on_ranks(ranks, run) {
            assert_close("mean of means", &found, &expected);
            assert_close("its loss", &[loss], &[shards.iter().map(|(_, loss)| loss).sum::<f64>() / 4.0]);
        }
    }
}

/// PyTorch's own DistributedDataParallel, with the network and the numbers of tests/reference/data_parallel.py.
#[test]
fn mean_of_means_has_the_values_of_four_processes_of_pytorch() {
    let numbers = |count: usize, seed: usize| -> Vec<f64> {
        (0..count).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f64 / 1001.0 - 1.0).collect()
    };
    let weights: Vec<f64> = (0..30).map(|i| if i % 4 == 0 { 0.0 } else { 1.0 + (i % 3) as f64 }).collect();
    let (x, y, samples) = (numbers(30 * 3, 1), numbers(30 * 2, 2), (0..30).collect::<Vec<_>>());
    let data = Dataset::rows(3, &x, Target::Values(&y)).unwrap().row_weights(&weights).unwrap();
    let case = reference::cases("data_parallel").remove(0);
    for ranks in [1, 2, 4] {
        let found = on_ranks(ranks, |rank| {
            let network = Sequential::input(3).linear(4).activation(Tanh).linear(2).build().unwrap();
            let settings = TrainConfig { batch_size: 30, ..TrainConfig::default() };
            let mut run = Trainer::new(network, mean_squared(), plain(), settings).unwrap();
            let parameters = [12, 4, 8, 2].into_iter().enumerate().flat_map(|(i, count)| numbers(count, 10 + i));
            run.parameters_mut().copy_from_slice(&parameters.collect::<Vec<_>>());
            run.set_data_parallel(DataParallel::new(rank).shards(4).mean_of_means()).unwrap();
            let mut batch = Batch::new(&data, 30);
            let losses: Vec<f64> = (0..3).map(|_| run.step(&data, &mut batch, &samples, &mut ()).unwrap().0).collect();
            (losses, run.parameters().to_vec())
        });
        for (losses, parameters) in found {
            assert_close("losses", &losses, &reference::values(&case["losses"]));
            assert_close("parameters", &parameters, &reference::values(&case["parameters"]));
        }
    }
}

#[test]
fn run_saved_at_four_ranks_continues_at_two_to_the_bit() {
    let case = &cases()[1];
    let data = (case.data)();
    let whole = result(&mut case.on(None, 1), &data).unwrap();
    let parameters = case.trainer(case.settings).parameters().len();
    let first = TrainConfig { epochs: 3, ..case.settings };
    let saved = on_ranks(4, |rank| {
        let mut run = case.trainer(first);
        run.set_data_parallel(DataParallel::new(rank)).unwrap();
        run.fit(&data).unwrap();
        run.checkpoint()
    });
    assert!(saved.iter().all(|rank| *rank == saved[0]));
    let continued = on_ranks(2, |rank| {
        let mut run = case.on(Some(rank), 1);
        let _ = run.restore(&saved[0]).unwrap();
        result(&mut run, &data).unwrap()
    });
    assert!(continued.iter().all(|rank| rank[..parameters] == whole[..parameters]));
}

/// The gradients and losses of all updates, and the number of parts.
#[derive(Default)]
struct Global(Vec<u64>, usize);

impl GradientMonitor<f64> for Global {
    fn begin_pass(&mut self) {
        self.1 += 1;
    }

    fn event(&mut self, event: &Event<'_, f64>) {
        match event {
            Event::Gradient { dw, .. } => self.0.extend(dw.iter().map(|value| value.to_bits())),
            Event::Loss(loss) => self.0.push(loss.to_bits()),
            _ => {}
        }
    }
}

#[test]
fn monitor_of_each_rank_sees_the_gradient_of_all() {
    let case = &cases()[0];
    let data = (case.data)();
    let watch = |rank: Rank| {
        let mut global = Global::default();
        case.on(rank, 1).fit_with(&data, FitOptions::new().monitor(&mut global)).unwrap();
        global
    };
    let Global(expected, _) = watch(None);
    let parameters = case.trainer(case.settings).parameters().len();
    assert_eq!(expected.len(), 21 * (parameters + 1));
    let ranks = on_ranks(4, |rank| watch(Some(rank)));
    assert!(ranks.iter().all(|rank| rank.0 == expected));
    // Each rank sees its own passes.
    assert!(ranks.iter().all(|rank| rank.1 > 0));
}

/// One update of equal samples: the root mean square of their residuals, in one pass, in parts and on each rank,
/// whatever the samples weigh.
#[test]
fn statistics_of_parts_and_ranks_have_the_distance_of_the_whole_update() {
    let weights: [fn(usize) -> f64; 4] = [
        |_| 1.0,
        |i| if i % 4 == 0 { 0.0 } else { 1.0 },
        |i| if (25..30).contains(&i) { 0.0 } else { 1.0 + (i % 3) as f64 },
        |i| if i % 8 < 4 { 0.0 } else { 0.5 },
    ];
    weights.into_iter().for_each(distance_of_the_whole_update);
}

fn distance_of_the_whole_update(weight: fn(usize) -> f64) {
    let (x, y) = ([0.3, -0.8, 0.5].repeat(32), [0.9, -0.4].repeat(32));
    let weights: Vec<f64> = (0..32).map(weight).collect();
    let data = Dataset::rows(3, &x, Target::Values(&y)).unwrap().row_weights(&weights).unwrap();
    let first = |batch_size, accumulation_steps, parallel: Option<DataParallel<f64>>| {
        let network = Sequential::input(3).linear(4).activation(Tanh).linear(2).build().unwrap();
        let settings = settings(batch_size, accumulation_steps, 1);
        let mut run = Trainer::new(network, mean_squared(), plain(), settings).unwrap();
        parallel.into_iter().for_each(|parallel| run.set_data_parallel(parallel).unwrap());
        let (output, mut monitors) = (run.predict(&data).unwrap(), (Statistics::new(), GradientBudget::new()));
        run.fit_with(&data, FitOptions::new().monitor(&mut monitors)).unwrap();
        let (statistics, budget) = monitors;
        // A rank without a row that counts has no gradient of its own.
        let Some([distance, size]) = statistics.run().first_distance() else { return 0.0 };
        assert_eq!(statistics.run().distance().count(), 1);
        assert_close("the moments", &[statistics.run().distance().mean()], &[distance / size]);
        let square: f64 = output.iter().zip(&y).map(|(output, y)| (output - y) * (output - y)).sum();
        assert_close("the distance", &[distance], &[(square / 64.0).sqrt()]);
        budget.of_update().unwrap()
    };
    assert_eq!(first(32, 1, None), 1.0);
    assert!(first(32, 1, Some(DataParallel::new(()))) <= 1.0);
    assert!(first(8, 4, None) < 1.0 && first(4, 8, Some(DataParallel::new(()).shards(4))) < 1.0);
    first(32, 1, Some(DataParallel::new(()).mean_of_means()));
    for ranks in [2, 3, 8] {
        on_ranks(ranks, |rank| first(32, 1, Some(DataParallel::new(rank).mean_of_means())));
        let fractions = on_ranks(ranks, |rank| first(32, 1, Some(DataParallel::new(rank))));
        // Of the last pass of each rank; a rank has one for each shard where some weigh nothing.
        assert!(fractions.iter().sum::<f64>() <= 1.0 + 1e-12 && fractions.iter().any(|&part| part > 0.0));
    }
}

/// The records of all updates.
#[derive(Default)]
pub(crate) struct Steps(pub(crate) Vec<Step>);

impl GradientMonitor<f64> for Steps {
    fn event(&mut self, event: &Event<'_, f64>) {
        if let Event::Step(step) = event {
            self.0.push(**step);
        }
    }
}

#[test]
fn record_of_an_update_has_the_bytes_and_the_time_between_ranks() {
    let case = &cases()[0];
    let data = (case.data)();
    let watch = |rank: Rank| {
        let mut steps = Steps::default();
        let mut run = case.on(rank, 1);
        run.fit_with(&data, FitOptions::new().monitor(&mut steps)).unwrap();
        (steps.0, run.parameters().len() + 18)
    };
    assert!(watch(None).0.iter().all(|step| step.communication.is_none()));
    // Halving exchanges (p − 1)/p of the values, and as many on the way back.
    for ranks in [2, 4] {
        for (steps, len) in on_ranks(ranks, |rank| watch(Some(rank))) {
            for step in steps {
                let found = step.communication.unwrap();
                let bytes = 2 * 8 * (len * (ranks - 1) / ranks) as u64;
                // Halves of an odd number differ by one value.
                let near = |found: u64| found.abs_diff(bytes) <= 8 * 4;
                assert!(near(found.sent) && near(found.received), "{ranks} ranks, {len} values: {found:?}");
                assert!((0.0..step.seconds.unwrap()).contains(&found.seconds), "{found:?}");
            }
        }
    }
    // The first of three ranks sends the total alone; the last, with shards 5 to 7, receives it alone.
    let [first, _, last] = <[_; 3]>::try_from(on_ranks(3, |rank| watch(Some(rank)))).unwrap();
    let bytes = 8 * first.1 as u64;
    assert_eq!(first.0[0].communication.unwrap().sent, bytes);
    assert_eq!(last.0[0].communication.unwrap().received, bytes);
}

/// The errors of four ranks, of which `make` gets the number.
pub(crate) fn errors(make: impl Fn(Local<f64>) -> Result<(), Error> + Sync) -> Vec<Error> {
    let start = std::time::Instant::now();
    let errors = on_ranks(4, |rank| make(rank).unwrap_err());
    assert!(start.elapsed() < Duration::from_secs(10));
    errors
}

#[test]
fn ranks_that_differ_are_refused_on_all_ranks() {
    let case = &cases()[0];
    let (data, shorter) =
        (rows(), { Dataset::rows(3, &values(1, 27), Target::Values(&values(2, 18))).unwrap().into_owned() });
    let narrow = || Sequential::input(3).linear(4).linear(2).build().unwrap();
    for (fault, what) in [
        "batch_size",
        "the data",
        "the values of the data",
        "the number of parameters",
        "seed",
        "the number of updates",
        "shards",
    ]
    .into_iter()
    .enumerate()
    {
        let found = errors(|rank| {
            let wrong = rank.rank() == 2;
            let is = |number: usize| wrong && fault == number;
            let mut settings = case.settings;
            settings.batch_size -= usize::from(is(0));
            settings.seed += u64::from(is(4));
            let network = if is(3) { narrow() } else { (case.network)().unwrap() };
            let mut run = Trainer::new(network, (case.loss)(), (case.transform)(), settings).unwrap();
            if is(5) {
                run.step(&data, &mut Batch::new(&data, 2), &[1, 2], &mut ()).unwrap();
            }
            run.set_data_parallel(DataParallel::new(rank).shards(if is(6) { 4 } else { 8 }))?;
            let other = if is(1) { shorter.clone() } else { Dataset::rows(3, data.inputs(), data.targets()).unwrap() };
            run.fit(if is(1) || is(2) { &other } else { &data }).map(drop)
        });
        for error in found {
            let Error::Ranks(RankRule::Differs { what: named, rank: 2, .. }) = &error else {
                panic!("{what}: {error}")
            };
            assert!(named == what || fault == 2, "{what}: {error}");
        }
    }
}

/// A rank of another build of the same version, with other results.
#[derive(Debug)]
struct OtherBuild(Local<f64>);

impl Communicator<f64> for OtherBuild {
    fn rank(&self) -> usize {
        self.0.rank()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn exchange(&self, peer: usize, send: &[f64], receive: &mut [f64]) -> Result<(), Error> {
        self.0.exchange(peer, send, receive)
    }

    /// A text is sent as one value for each byte.
    fn broadcast(&self, root: usize, values: &mut [f64]) -> Result<(), Error> {
        let number = values.windows(9).position(|at| at.iter().map(|&byte| byte as u8).eq(*b"(results "));
        if let (true, Some(at)) = (root == self.rank(), number) {
            values[at + 9] += 1.0;
        }
        self.0.broadcast(root, values)
    }
}

#[test]
fn rank_of_another_build_of_the_version_is_refused_on_all_ranks() {
    let (case, data) = (&cases()[0], rows());
    let found = errors(|rank| {
        let mut run = case.trainer(case.settings);
        run.set_data_parallel(match rank.rank() {
            2 => DataParallel::new(OtherBuild(rank)),
            _ => DataParallel::new(rank),
        })?;
        run.fit(&data).map(drop)
    });
    for error in found {
        let Error::Ranks(RankRule::Differs { what, rank: 2, .. }) = &error else { panic!("{error}") };
        assert_eq!(what, "the version of chainrule");
    }
}

#[test]
fn rank_that_ends_or_panics_ends_the_others() {
    let case = &cases()[0];
    let data = (case.data)();
    for (panics, ranks) in [(false, 4), (true, 4), (true, 5)] {
        let found = on_ranks(ranks, |rank| {
            let own = rank.rank();
            let train = || {
                let mut run = case.on(Some(rank), 1);
                let mut batch = Batch::new(&data, 12);
                for step in 0..5 {
                    match own == 2 && step == 2 {
                        true if panics => std::panic::resume_unwind(Box::new("on purpose")),
                        true => return Ok(()),
                        false => run.step(&data, &mut batch, &[1, 2, 3, 5, 6, 7, 9], &mut ())?,
                    };
                }
                Ok(())
            };
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(train))
        });
        for (rank, result) in found.into_iter().enumerate() {
            match result {
                Ok(Ok(())) => assert!(rank == 2 && !panics),
                Err(_) => assert!(rank == 2 && panics),
                Ok(Err(Error::Ranks(RankRule::Ended { rank: ended, panicked }))) => {
                    assert_eq!(panicked, panics && ended == 2, "rank {rank}, {ended}");
                }
                Ok(Err(other)) => panic!("rank {rank}: {other}"),
            }
        }
    }
}

#[test]
fn silent_rank_is_a_deadline_on_the_others() {
    let case = &cases::<f64>()[0];
    let data = (case.data)();
    let group = Local::new(2).unwrap();
    let [first, _silent] = <[_; 2]>::try_from(group).unwrap();
    let mut run = case.on(Some(first.deadline(Duration::from_millis(50))), 1);
    let error = run.fit(&data).unwrap_err();
    assert!(matches!(error, Error::Ranks(RankRule::Deadline { rank: 1, .. })), "{error}");
}

#[test]
fn updates_from_samples_that_differ_are_refused_on_all_ranks() {
    for case in [&cases()[0], &cases()[1], &cases_by_shard()[2]] {
        let data = (case.data)();
        let found = errors(|rank| {
            let other = rank.rank() == 2;
            let mut run = case.on(Some(rank), 1);
            let mut batch = Batch::new(&data, 4);
            run.step(&data, &mut batch, &[1, 2, 3, 5], &mut ())?;
            run.step(&data, &mut batch, if other { &[6, 2, 3, 5] } else { &[7, 2, 3, 5] }, &mut ()).map(drop)
        });
        for error in found {
            let Error::Ranks(RankRule::Differs { what, rank: 2, .. }) = &error else { panic!("{error}") };
            assert_eq!(what, "the samples or weights of the update");
        }
    }
}

/// A loss that fails on one rank, in its third evaluation.
struct Failing(bool, std::sync::atomic::AtomicUsize);

impl std::fmt::Debug for Failing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Failing")
    }
}

impl Loss<f64> for Failing {
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
        if self.0 && self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 2 {
            return Err(Error::Empty { what: "on purpose" });
        }
        MeanSquaredError::new().evaluate(width, y, target, weights, dy)
    }
}

#[test]
fn error_of_one_rank_is_told_to_all() {
    let case = &cases()[0];
    let data = (case.data)();
    let found = errors(|rank| {
        let loss: Box<dyn Loss<f64>> = Box::new(Failing(rank.rank() == 1, 0.into()));
        let mut run = Trainer::new((case.network)()?, loss, (case.transform)(), case.settings)?;
        run.set_data_parallel(DataParallel::new(rank))?;
        run.fit(&data).map(drop)
    });
    for (rank, error) in found.iter().enumerate() {
        match error {
            Error::Empty { what: "on purpose" } => assert_eq!(rank, 1),
            Error::Ranks(RankRule::Failed { rank: 1, reason }) => assert!(reason.contains("on purpose"), "{reason}"),
            other => panic!("rank {rank}: {other}"),
        }
    }
}

#[test]
fn loss_that_is_not_finite_names_rank_and_sample_and_is_skipped_by_all() {
    let case = &cases()[0];
    let mut x = values(1, 30 * 3);
    x[22 * 3] = 1e300; // Its square is infinite.
    let y = values(2, 30 * 2);
    let data = Dataset::rows(3, &x, Target::Values(&y)).unwrap();
    let settings = TrainConfig { batch_size: 30, shuffle: false, ..case.settings };
    let network = || Sequential::<f64>::input(3).linear(2).build();
    let found = errors(|rank| {
        let mut run = Trainer::new(network()?, (case.loss)(), plain(), settings)?;
        run.set_data_parallel(DataParallel::new(rank))?;
        run.fit(&data).map(drop)
    });
    for error in found {
        assert_eq!(error, RankRule::NonFinite { rank: 3, sample: 22, step: 0 }.into());
    }
    let skipped = on_ranks(4, |rank| {
        let mut run = Trainer::new(network().unwrap(), (case.loss)(), everything(), settings).unwrap();
        run.set_data_parallel(DataParallel::new(rank)).unwrap();
        let (_, outcome) = run.step(&data, &mut Batch::new(&data, 30), &(0..30).collect::<Vec<_>>(), &mut ()).unwrap();
        (outcome, run.parameters().to_vec())
    });
    assert!(skipped.iter().all(|rank| *rank == (Outcome::Skip, skipped[0].1.clone())));
}

/// A network whose gradient has three parts that travel by themselves.
fn wide() -> Case {
    Case {
        name: "three parts",
        network: || {
            let builder = Sequential::input(8).linear(256).activation(Tanh).dropout(0.2).linear(256).activation(Tanh);
            builder.linear(256).linear(2).build()
        },
        loss: mean_squared,
        transform: everything,
        data: || {
            let (x, y) = (values(1, 20 * 8), values(2, 20 * 2));
            Dataset::rows(8, &x, Target::Values(&y)).unwrap().into_owned()
        },
        settings: settings(16, 1, 2),
    }
}

/// A rank that records the length of each message, and whether another thread than that of the rank sends it.
#[derive(Debug)]
pub(crate) struct Recorded(pub(crate) Local<f64>, pub(crate) thread::ThreadId, pub(crate) Messages);

/// The length of each message, and whether another thread sent it.
pub(crate) type Messages = Arc<Mutex<Vec<(usize, bool)>>>;

impl Communicator<f64> for Recorded {
    fn rank(&self) -> usize {
        self.0.rank()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn exchange(&self, peer: usize, send: &[f64], receive: &mut [f64]) -> Result<(), Error> {
        let beside = thread::current().id() != self.1;
        self.2.lock().unwrap().push((send.len(), beside));
        self.0.exchange(peer, send, receive)
    }
}

#[test]
fn gradient_travels_in_parts_beside_the_pass_with_the_same_bits() {
    let case = wide();
    let data = (case.data)();
    let on = |rank, threads| {
        let mut run = case.trainer(TrainConfig { threads, ..case.settings });
        run.set_data_parallel(parallel(rank).overlap()).unwrap();
        run
    };
    let expected = result(&mut case.on(None, 1), &data).unwrap();
    for (ranks, threads) in [(2, 1), (2, 2), (3, 1), (4, 2), (8, 1)] {
        let found = on_ranks(ranks, |rank| result(&mut on(Some(rank), threads), &data).unwrap());
        assert!(found.iter().all(|found| *found == expected), "{ranks} ranks, {threads} threads");
    }
    // A rank with a monitor, and one with frozen blocks on all: the parts are the same.
    let watched = on_ranks(2, |rank| {
        let (own, mut steps) = (rank.rank(), Steps::default());
        let mut run = on(Some(rank), 1);
        let options = FitOptions::new();
        run.fit_with(&data, if own == 1 { options.monitor(&mut steps) } else { options }).unwrap();
        run.parameters().iter().map(|value| value.to_bits()).collect::<Vec<_>>()
    });
    assert!(watched.iter().all(|found| *found == expected[..found.len()]));
    let frozen = |rank| {
        let mut run = on(rank, 1);
        run.workspace_mut().freeze("3").unwrap();
        result(&mut run, &data).unwrap()
    };
    let expected = frozen(None);
    assert!(on_ranks(2, |rank| frozen(Some(rank))).iter().all(|found| *found == expected));
}

#[test]
fn parts_of_later_layers_travel_on_a_thread_beside_the_pass() {
    let case = wide();
    let data = (case.data)();
    let messages = on_ranks(2, |rank| {
        let messages = Arc::new(Mutex::new(Vec::new()));
        let mut run = case.trainer(case.settings);
        let rank = Recorded(rank, thread::current().id(), messages.clone());
        run.set_data_parallel(DataParallel::new(rank).overlap()).unwrap();
        let (mut batch, samples) = (Batch::new(&data, 16), (0..16).collect::<Vec<_>>());
        run.step(&data, &mut batch, &samples, &mut ()).unwrap();
        messages.lock().unwrap().clear(); // The comparison of the ranks.
        run.step(&data, &mut batch, &samples, &mut ()).unwrap();
        messages.lock().unwrap().clone()
    });
    let [first, losses] = [8 * 256 + 256, 18];
    let [square, last] = [256 * 256 + 256, 256 * 2 + 2];
    let expected = [(square + last, true), (square, true), (losses + first, false)];
    for found in messages {
        let sums: Vec<_> = found.chunks(2).map(|halves| (halves[0].0 + halves[1].0, halves[0].1)).collect();
        assert_eq!(sums, expected);
    }
}

#[test]
fn error_and_loss_that_is_not_finite_beside_parts_are_told_to_all() {
    let case = wide();
    let (x, y) = (values(1, 32 * 8), values(2, 32 * 2));
    let data = Dataset::rows(8, &x, Target::Values(&y)).unwrap();
    // The loss fails in the first update, and in the second, whose sums begin with the totals of the first. Each rank
    // has two shards.
    for (calls, failing) in [(2, 1), (0, 1), (2, 0), (0, 3)] {
        let found = errors(|rank| {
            let loss: Box<dyn Loss<f64>> = Box::new(Failing(rank.rank() == failing, calls.into()));
            let mut run = Trainer::new((case.network)()?, loss, (case.transform)(), case.settings)?;
            run.set_data_parallel(DataParallel::new(rank).overlap())?;
            run.fit(&data).map(drop)
        });
        for (rank, error) in found.iter().enumerate() {
            match error {
                Error::Empty { what: "on purpose" } if rank == failing => {}
                Error::Ranks(RankRule::Failed { rank: told, .. }) if rank != failing && *told == failing => {}
                _ => panic!("rank {rank}, where {failing} fails: {error}"),
            }
        }
    }
    let (x, mut y) = (values(1, 20 * 8), values(2, 20 * 2));
    y[13 * 2] = f64::MAX; // Its square is infinite.
    let data = Dataset::rows(8, &x, Target::Values(&y)).unwrap();
    let settings = TrainConfig { batch_size: 20, shuffle: false, ..case.settings };
    let found = errors(|rank| {
        let mut run = Trainer::new((case.network)()?, (case.loss)(), plain(), settings)?;
        run.set_data_parallel(DataParallel::new(rank).overlap())?;
        run.fit(&data).map(drop)
    });
    for error in found {
        assert_eq!(error, RankRule::NonFinite { rank: 2, sample: 13, step: 0 }.into());
    }
}

#[test]
fn rank_that_ends_beside_a_pass_ends_the_others() {
    let case = wide();
    let data = (case.data)();
    let found = on_ranks(2, |rank| {
        let own = rank.rank();
        let messages = Arc::new(Mutex::new(Vec::new()));
        let mut run = case.trainer(case.settings);
        let rank = Recorded(rank.deadline(Duration::from_secs(20)), thread::current().id(), messages.clone());
        run.set_data_parallel(DataParallel::new(rank).overlap()).unwrap();
        let (mut batch, samples) = (Batch::new(&data, 16), (0..16).collect::<Vec<_>>());
        run.step(&data, &mut batch, &samples, &mut ()).unwrap();
        if own == 0 {
            return None;
        }
        messages.lock().unwrap().clear();
        let error = run.step(&data, &mut batch, &samples, &mut ()).unwrap_err();
        let messages = messages.lock().unwrap().clone();
        Some((error, messages))
    });
    let (error, messages) = found[1].clone().unwrap();
    assert_eq!(error, RankRule::Ended { rank: 0, panicked: false }.into());
    assert_eq!(messages.iter().map(|message| message.1).collect::<Vec<_>>(), [true]);
}

#[test]
fn callback_of_one_rank_stops_all() {
    let case = &cases()[0];
    let data = (case.data)();
    let epochs = on_ranks(3, |rank| {
        let own = rank.rank();
        let mut stop = |epoch: &chainrule::trainer::Epoch| match own == 1 && epoch.epoch == 2 {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        case.on(Some(rank), 1).fit_with(&data, FitOptions::new().on_epoch(&mut stop)).unwrap().len()
    });
    assert_eq!(epochs, [2, 2, 2]);
}

#[test]
fn shards_and_ranks_that_do_not_fit_are_refused() {
    let case = &cases::<f64>()[0];
    let set = |parallel| case.trainer(case.settings).set_data_parallel(parallel).unwrap_err();
    let ranks = || Local::new(5).unwrap().remove(0);
    assert_eq!(set(DataParallel::new(ranks()).shards(4)), RankRule::TooMany { ranks: 5, shards: 4 }.into());
    for shards in [0, 3, 12, usize::MAX] {
        assert!(matches!(set(DataParallel::new(()).shards(shards)), Error::Parameter { .. }), "{shards}");
    }
    assert!(matches!(set(DataParallel::new(()).shards(1 << 20)), Error::TooLarge { .. }));
    assert!(Local::<f64>::new(0).is_err() && Local::<f64>::new(1000).is_err());
}

#[test]
fn broadcast_and_barrier_reach_every_rank() {
    for ranks in 1..=9 {
        for root in 0..ranks {
            let found = on_ranks(ranks, |rank| {
                let mut values = [if rank.rank() == root { 3.5 } else { 0.0 }; 3];
                rank.broadcast(root, &mut values).unwrap();
                rank.barrier().unwrap();
                values
            });
            assert!(found.iter().all(|values| *values == [3.5; 3]), "{root} of {ranks}");
        }
    }
    let messages = on_ranks(2, |rank| rank.exchange(1 - rank.rank(), &[1.0], &mut [0.0; 2]).unwrap_err());
    assert_eq!(messages[0], RankRule::Message { rank: 1, expected: 2, found: 1 }.into());
    assert!(Local::<f64>::new(2).unwrap()[0].exchange(0, &[], &mut []).is_err());
}
