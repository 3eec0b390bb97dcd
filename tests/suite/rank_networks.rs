//! Random networks, and one whose passes are divided between threads: equal bits for any number of ranks.

use crate::{numbers::seeded_numbers, ranks::on_ranks_of};
use chainrule::{
    Activation, BatchShape, Builder, Layer, Scalar,
    dataset::Dataset,
    distributed::DataParallel,
    layer::{LayerSpec, Sequential},
    loss::{MeanSquaredError, Target},
    proptest::prelude::*,
    recurrent::Elman,
    scalar,
    testing::strategies::{Limits, networks},
    trainer::{TrainConfig, Trainer},
    transform::{ClipNorm, Sgd, SkipNonFinite},
};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    thread::{self, ThreadId},
};

/// Bits of parameters, buffers and losses.
fn result<T: Scalar, L: Layer<T>>(
    network: L,
    settings: TrainConfig,
    data: &Dataset<'_, T>,
    parallel: DataParallel<T>,
) -> Vec<u64> {
    let chain = (SkipNonFinite::new(), ClipNorm::new(0.5), Sgd::new(0.05));
    let mut run = Trainer::new(network, MeanSquaredError::new(), chain, settings).unwrap();
    run.set_data_parallel(parallel).unwrap();
    let epochs = run.fit(data).unwrap();
    let values = run.parameters().iter().chain(run.workspace().buffers());
    let values = values.map(|value| value.to_f64().unwrap().to_bits());
    values.chain(epochs.iter().map(|epoch| epoch.loss.to_bits())).collect()
}

/// How a network is trained: unequal lengths, some samples or steps without weight, batches of an update, most steps.
type Run = (bool, bool, usize, usize);

/// Trains a network for 20 updates on one process and on any number of ranks and threads.
fn has_the_bits_of_one_process<T: Scalar>(spec: &LayerSpec, (ragged, masked, accumulated, longest): Run) {
    const SAMPLES: usize = 40;
    let network = || spec.build::<T>().unwrap();
    let (dims, rows) = (network().dims(), |lengths: &[usize]| lengths.iter().sum::<usize>());
    let per_step = network().output_shape(BatchShape::sequences(1, 2)).steps == 2;
    let lengths: Vec<usize> = (0..SAMPLES).map(|i| if ragged { 1 + i * 5 % longest } else { longest }).collect();
    let x: Vec<T> = seeded_numbers(1, rows(&lengths) * dims.input);
    let y: Vec<T> = seeded_numbers(2, dims.output * if per_step { rows(&lengths) } else { SAMPLES });
    let data = Dataset::ragged(dims.input, &lengths, &x, Target::Values(&y)).unwrap();
    let data = if per_step || longest == 1 { data } else { data.one_target_a_sample().unwrap() };
    let count = if per_step { rows(&lengths) } else { SAMPLES };
    let weights: Vec<T> = (0..count).map(|i| scalar(if masked && i % 3 == 0 { 0.0 } else { 1.0 })).collect();
    let data = data.row_weights(&weights).unwrap();
    // 24 and 16 samples: shards of 3 and 2, so that a batch norm has rows.
    let settings = TrainConfig {
        batch_size: 24 / accumulated,
        accumulation_steps: accumulated,
        epochs: 10,
        seed: 5,
        ..TrainConfig::default()
    };
    let expected = result(network(), settings, &data, DataParallel::new(()));
    let pairs = [1, 2, 3, 4, 5, 8].into_iter().flat_map(|ranks| [(ranks, 1), (ranks, 2)]);
    for (ranks, threads) in pairs {
        let settings = TrainConfig { threads, ..settings };
        let run = |rank| result(network(), settings, &data, DataParallel::new(rank));
        for found in on_ranks_of::<T, _>(ranks, run) {
            assert!(found == expected, "{ranks} ranks, {threads} threads: {spec:?}");
        }
    }
}

fn drawn() -> impl Strategy<Value = LayerSpec> {
    networks(Limits { layers: 4, width: 5, depth: 1, ..Limits::default() })
}

fn drawn_run() -> impl Strategy<Value = Run> {
    (any::<bool>(), any::<bool>(), 1..3_usize, 1..5_usize)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_network_has_the_same_bits_on_any_number_of_ranks_in_f32(
        network in drawn(), run in drawn_run(),
    ) {
        has_the_bits_of_one_process::<f32>(&network, run);
    }

    #[test]
    fn random_network_has_the_same_bits_on_any_number_of_ranks_in_f64(
        network in drawn(), run in drawn_run(),
    ) {
        has_the_bits_of_one_process::<f64>(&network, run);
    }
}

/// z/2, which notes the threads that it runs on.
#[derive(Clone, Debug, Default)]
struct Noting(Arc<Mutex<HashSet<ThreadId>>>);

impl Activation for Noting {
    fn value<T: Scalar>(&self, z: T) -> T {
        self.0.lock().unwrap().insert(thread::current().id());
        z * scalar(0.5)
    }

    fn derivative<T: Scalar>(&self, _z: T, _y: T) -> T {
        scalar(0.5)
    }

    fn settings(&self) -> String {
        "notes threads".into()
    }
}

/// A network whose activation notes the threads that it runs on.
type Noted<T> = fn(Noting) -> Builder<T>;

/// Products of millions of multiplications an update, of which each rank and thread gets a part.
fn is_divided<T: Scalar>(layers: Noted<T>, data: &Dataset<'_, T>, batch_size: usize) {
    let noted = Noting::default();
    let network = || layers(noted.clone()).linear(2).build().unwrap();
    let settings = TrainConfig { batch_size, epochs: 2, seed: 5, ..TrainConfig::default() };
    let expected = result(network(), settings, data, DataParallel::new(()));
    let threads = || core::mem::take(&mut *noted.0.lock().unwrap()).len();
    assert_eq!(threads(), 1);
    for ranks in [1, 2, 3, 4] {
        let settings = TrainConfig { threads: 2, ..settings };
        let found = on_ranks_of::<T, _>(ranks, |rank| result(network(), settings, data, DataParallel::new(rank)));
        assert!(found.iter().all(|found| *found == expected), "{ranks} ranks");
    }
    threads();
    // Two threads of one rank share its passes, unless other work on the machine holds one up.
    let mut tries = (0..20).map(|_| {
        let settings = TrainConfig { threads: 2, ..settings };
        assert!(result(network(), settings, data, DataParallel::new(())) == expected);
        threads()
    });
    assert!(tries.any(|threads| threads == 2));
}

#[test]
fn passes_divided_between_ranks_and_threads_have_the_same_bits() {
    fn feedforward<T: Scalar>() {
        let (x, y): (Vec<T>, Vec<T>) = (seeded_numbers(1, 2048 * 64), seeded_numbers(2, 2048 * 2));
        let data = Dataset::rows(64, &x, Target::Values(&y)).unwrap();
        is_divided::<T>(|noted| Sequential::input(64).linear(256).activation(noted), &data, 1024);
    }
    feedforward::<f32>();
    feedforward::<f64>();
}

/// One pass over all shards of a rank, and one for each shard, of unequal lengths: threads divide the steps of both.
#[test]
fn steps_divided_between_ranks_and_threads_have_the_same_bits() {
    const SAMPLES: usize = 256;
    let (x, y): (Vec<f32>, Vec<f32>) = (seeded_numbers(1, SAMPLES * 20 * 64), seeded_numbers(2, SAMPLES * 2));
    let layers: Noted<f32> = |noted| Sequential::input(64).recurrent(128, Elman::new(noted)).lstm(96).last_step();
    let whole = Dataset::sequences(64, 20, &x, Target::Values(&y)).unwrap();
    is_divided(layers, &whole, 64);
    let lengths: Vec<usize> = (0..SAMPLES).map(|i| 8 + i * 5 % 13).collect();
    let rows: usize = lengths.iter().sum();
    let ragged = Dataset::ragged(64, &lengths, &x[..rows * 64], Target::Values(&y)).unwrap();
    is_divided(layers, &ragged.one_target_a_sample().unwrap(), SAMPLES);
}
