//! Ranks of which one fails alone, or has no work: all get a typed error at once, or the bits of one process.

use crate::{
    ranks::{Opaque, errors, everything, mean_squared, on_ranks, settings},
    trainer::values,
};
use chainrule::{
    DataRule, Error, RankRule,
    activation::Tanh,
    dataset::{Batch, Dataset},
    distributed::{Communicator, DataParallel},
    layer::Sequential,
    loss::{CrossEntropy, Loss, MeanSquaredError, Reduction, Target},
    trainer::{TrainConfig, Trainer},
    transform::{GradientTransform, Sgd},
};
use std::sync::atomic::{AtomicUsize, Ordering};

type Run = Trainer<f64, Sequential<f64>, Box<dyn Loss<f64>>, Box<dyn GradientTransform<f64>>>;

fn run(loss: Box<dyn Loss<f64>>, settings: TrainConfig, parallel: DataParallel<f64>) -> Run {
    let network = Sequential::input(3).linear(6).activation(Tanh).linear(2).build().unwrap();
    let mut run = Trainer::new(network, loss, everything(), settings).unwrap();
    run.set_data_parallel(parallel).unwrap();
    run
}

/// 32 samples with weights of 0 where `is_masked`, otherwise of 1 to 3.
fn masked(is_masked: impl Fn(usize) -> bool) -> Dataset<'static, f64> {
    let (x, y) = (values(1, 32 * 3), values(2, 32 * 2));
    let weights: Vec<f64> = (0..32).map(|i| if is_masked(i) { 0.0 } else { 1.0 + (i % 3) as f64 }).collect();
    Dataset::rows(3, &x, Target::Values(&y)).unwrap().row_weights(&weights).unwrap().into_owned()
}

/// All samples of a rank are masked, all of an update, or all but one: the bits of one process, and no wait.
#[test]
fn shards_ranks_and_updates_without_weight_have_the_bits_of_one_process() {
    // Updates are from 16 samples, in 8 shards. The kept samples are those of some shards, or of one update alone.
    for kept in [vec![0..4, 16..32], vec![0..4, 0..0], vec![16..32, 0..0], vec![12..16, 31..32], vec![7..8, 0..0]] {
        let data = masked(|i| !kept.iter().any(|range| range.contains(&i)));
        let settings = TrainConfig { shuffle: false, ..settings(16, 1, 4) };
        let train = |parallel| {
            let mut run = run(mean_squared(), settings, parallel);
            let epochs = run.fit(&data).unwrap();
            let losses = epochs.iter().map(|epoch| epoch.loss);
            let bits: Vec<u64> = run.parameters().iter().copied().chain(losses).map(f64::to_bits).collect();
            (bits, epochs[0].skipped, run.optimizer().steps())
        };
        let expected = train(DataParallel::new(()));
        for ranks in [2, 3, 4, 8] {
            let found = on_ranks(ranks, |rank| train(DataParallel::new(rank)));
            assert!(found.iter().all(|found| *found == expected), "{kept:?}, {ranks} ranks");
        }
    }
}

/// The samples of one rank have no weight, those of the others do: the rank must not go on alone.
#[test]
fn update_without_weight_on_one_rank_alone_is_refused_on_all() {
    let data = masked(|i| i < 16);
    let found = errors(|rank| {
        let first = if rank.rank() == 2 { 0 } else { 16 };
        let mut run = run(mean_squared(), settings(16, 1, 1), DataParallel::new(rank));
        run.step(&data, &mut Batch::new(&data, 16), &(first..first + 16).collect::<Vec<_>>(), &mut ()).map(drop)
    });
    for error in found {
        assert!(matches!(error, Error::Ranks(RankRule::Differs { rank: 2, .. })), "{error}");
    }
}

/// A loss whose rows weigh a function of their weight, which ranks do not compare.
struct Weighing(fn(f64) -> f64);

impl std::fmt::Debug for Weighing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Weighing")
    }
}

impl Loss<f64> for Weighing {
    fn reduction(&self) -> Reduction {
        Reduction::Mean
    }

    fn total_weight(&self, width: usize, target: Target<'_, f64>, weights: Option<&[f64]>) -> f64 {
        (self.0)(MeanSquaredError::new().total_weight(width, target, weights))
    }

    fn evaluate(
        &self,
        width: usize,
        y: &[f64],
        target: Target<'_, f64>,
        weights: Option<&[f64]>,
        dy: &mut [f64],
    ) -> Result<f64, Error> {
        MeanSquaredError::new().evaluate(width, y, target, weights, dy)
    }
}

/// Weights that one rank computes differently, or that only it refuses.
#[test]
fn weights_that_differ_on_one_rank_are_an_error_on_all() {
    let data = masked(|_| false);
    type Weight = fn(f64) -> f64;
    let wrong: [(Weight, bool); 4] =
        [(|_| 0.0, false), (|weight| 2.0 * weight, false), (|weight| -weight, true), (|_| f64::MAX, true)];
    for (weight, is_refused) in wrong {
        let found = errors(|rank| {
            let loss = Weighing(if rank.rank() == 1 { weight } else { |weight| weight });
            run(Box::new(loss), settings(16, 1, 1), DataParallel::new(rank)).fit(&data).map(drop)
        });
        for (rank, error) in found.iter().enumerate() {
            let is_right = match error {
                Error::Parameter { .. } => is_refused && rank == 1,
                Error::Ranks(RankRule::Failed { rank: 1, .. }) => is_refused && rank != 1,
                Error::Ranks(RankRule::Differs { rank: 1, .. }) => !is_refused,
                _ => false,
            };
            assert!(is_right, "rank {rank}: {error}");
        }
    }
}

/// Networks that look equal from outside. The embedding of rank 2 has a vocabulary of 2, that of the others of 9.
#[test]
fn inputs_that_one_rank_refuses_are_an_error_on_all() {
    let (x, classes): (Vec<f64>, Vec<usize>) = ((0..20).map(|i| f64::from(i % 9)).collect(), vec![1; 20]);
    let data = Dataset::rows(1, &x, Target::Classes(&classes)).unwrap();
    let found = errors(|rank| {
        let [vocabulary, width] = if rank.rank() == 2 { [2, 11] } else { [9, 4] };
        let network = Sequential::input(1).embedding(vocabulary, width).linear(2).build()?;
        let mut run = Trainer::new(Opaque(network), CrossEntropy::new(), Sgd::new(0.1), settings(20, 1, 1))?;
        run.parameters_mut().fill(0.1);
        run.set_data_parallel(DataParallel::new(rank))?;
        run.fit(&data).map(drop)
    });
    for (rank, error) in found.iter().enumerate() {
        match error {
            Error::InvalidData(DataRule::Index { vocabulary: 2, .. }) if rank == 2 => {}
            Error::Ranks(RankRule::Failed { rank: 2, reason }) if rank != 2 => {
                assert!(reason.contains("vocabulary"), "{reason}");
            }
            other => panic!("rank {rank}: {other}"),
        }
    }
}

/// A loss whose weights are counted, which counts the calls that read targets for weights.
#[derive(Debug)]
struct Counted<'a>(&'a AtomicUsize, bool);

impl Loss<f64> for Counted<'_> {
    fn reduction(&self) -> Reduction {
        Reduction::Mean
    }

    fn total_weight(&self, width: usize, target: Target<'_, f64>, weights: Option<&[f64]>) -> f64 {
        self.0.fetch_add(1, Ordering::Relaxed);
        MeanSquaredError::new().total_weight(width, target, weights)
    }

    fn weighs_target_values(&self) -> bool {
        self.1
    }

    fn evaluate(
        &self,
        width: usize,
        y: &[f64],
        target: Target<'_, f64>,
        weights: Option<&[f64]>,
        dy: &mut [f64],
    ) -> Result<f64, Error> {
        MeanSquaredError::new().evaluate(width, y, target, weights, dy)
    }
}

/// Rows that weigh 1 each are counted, not read, with the same bits; of data with row weights they are read.
#[test]
fn rows_without_weights_are_counted_and_not_read_for_their_weight() {
    let (x, y) = (values(1, 32 * 3), values(2, 32 * 2));
    let rows = Dataset::rows(3, &x, Target::Values(&y)).unwrap();
    let weighted = Dataset::rows(3, &x, Target::Values(&y)).unwrap().row_weights(&[1.0; 32]).unwrap();
    let train = |data: &Dataset<'_, f64>, weighs: bool, parallel: DataParallel<f64>| {
        let calls = AtomicUsize::new(0);
        let network = Sequential::input(3).linear(2).build().unwrap();
        let mut run = Trainer::new(network, Counted(&calls, weighs), everything(), settings(16, 1, 1)).unwrap();
        run.set_data_parallel(parallel).unwrap();
        let all: Vec<usize> = (0..16).collect();
        run.step(data, &mut Batch::new(data, 16), &all, &mut ()).unwrap();
        (run.parameters().to_vec(), calls.load(Ordering::Relaxed))
    };
    let (expected, calls) = train(&rows, true, DataParallel::new(()));
    assert_eq!(calls, 8);
    for ranks in [1, 2, 3] {
        for (data, weighs, calls) in [(&rows, false, 0), (&rows, true, 8), (&weighted, false, 8)] {
            let found = on_ranks(ranks, |rank| train(data, weighs, DataParallel::new(rank)));
            assert!(found.iter().all(|found| *found == (expected.clone(), calls)), "{ranks} ranks: {found:?}");
        }
    }
}
