//! Predictions for a data set: any way of giving the same samples gives the same bits.

use crate::numbers::{bits, seeded_numbers};
use chainrule::{
    BatchShape, Layer,
    dataset::Dataset,
    layer::LayerSpec,
    loss::MeanSquaredError,
    proptest::{
        prelude::*,
        test_runner::{TestCaseResult, TestRunner},
    },
    testing::strategies::{Limits, networks},
    trainer::{TrainConfig, Trainer},
    transform::Sgd,
    workspace::Workspace,
};

type AnyTrainer = Trainer<f64, Box<dyn Layer<f64>>, MeanSquaredError, Sgd>;

fn trainer(network: &LayerSpec, threads: usize) -> AnyTrainer {
    let settings = TrainConfig { threads, seed: 5, ..TrainConfig::default() };
    Trainer::new(network.build().unwrap(), MeanSquaredError::new(), Sgd::new(0.1), settings).unwrap()
}

/// Samples of unequal length, each \[steps, width\].
fn samples(width: usize, lengths: &[usize], seed: u64) -> Vec<Vec<f64>> {
    let values: Vec<f64> = seeded_numbers(seed, lengths.iter().sum::<usize>() * width);
    let mut rest = &values[..];
    lengths.iter().map(|&length| rest.split_off(..length * width).unwrap().to_vec()).collect()
}

/// The outputs that a workspace gives for each sample alone.
fn alone(trainer: &AnyTrainer, width: usize, samples: &[Vec<f64>]) -> Vec<Vec<u64>> {
    let longest = samples.iter().map(|sample| sample.len() / width).max().unwrap();
    let mut workspace = Workspace::for_inference(trainer.network(), BatchShape::sequences(1, longest)).unwrap();
    let one = |sample: &Vec<f64>| {
        let shape = BatchShape::sequences(1, sample.len() / width);
        bits(workspace.infer(trainer.parameters(), sample, shape).unwrap())
    };
    samples.iter().map(one).collect()
}

/// All ways of giving `picked` of the samples.
fn every_way(network: &LayerSpec, lengths: &[usize], picked: &[usize], seed: u64) -> TestCaseResult {
    let (width, mut plain) = (network.widths().0, trainer(network, 1));
    let samples = samples(width, lengths, seed);
    let alone = alone(&plain, width, &samples);
    let expected: Vec<u64> = picked.iter().flat_map(|&i| alone[i].clone()).collect();
    let chosen: Vec<&[f64]> = picked.iter().map(|&i| &*samples[i]).collect();
    let (flat, steps) = (chosen.concat(), picked.iter().map(|&i| lengths[i]).collect::<Vec<_>>());

    let ragged = Dataset::ragged(width, &steps, &flat, None).unwrap();
    prop_assert_eq!(&bits(&plain.predict(&ragged).unwrap()), &expected, "ragged");
    let mut buffer = vec![f64::NAN; expected.len()];
    plain.predict_into(&ragged, &mut buffer).unwrap();
    prop_assert_eq!(&bits(&buffer), &expected, "into a buffer");
    prop_assert_eq!(&bits(&trainer(network, 2).predict(&ragged).unwrap()), &expected, "on two threads");
    let owned = ragged.clone().into_owned();
    prop_assert_eq!(&bits(&plain.predict(&owned).unwrap()), &expected, "owned");
    if steps.iter().all(|&length| length == steps[0]) {
        let equal = Dataset::sequences(width, steps[0], &flat, None).unwrap();
        prop_assert_eq!(&bits(&plain.predict(&equal).unwrap()), &expected, "of equal length");
    }
    // A state that was carried before is no part of a prediction.
    if !plain.workspace().final_state().is_empty() {
        plain.workspace_mut().carry_state();
        prop_assert_eq!(&bits(&plain.predict(&ragged).unwrap()), &expected, "after a carried state");
    }
    Ok(())
}

#[test]
fn predict_samples_in_any_way_gives_the_same_bits() {
    let limits = Limits { width: 4, layers: 4, depth: 2, recurrent: true, ..Limits::default() };
    let lengths = prop::collection::vec(1_usize..6, 1..5);
    let given = (networks(limits), lengths, prop::collection::vec(any::<prop::sample::Index>(), 1..9), any::<u64>());
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
    let found = TestRunner::new(config).run(&given, |(network, lengths, picked, seed)| {
        let picked: Vec<usize> = picked.iter().map(|index| index.index(lengths.len())).collect();
        every_way(&network, &lengths, &picked, seed)
    });
    found.unwrap_or_else(|error| panic!("{error}"));
}

/// More samples than one piece of the data holds.
#[test]
fn predict_many_samples_in_pieces_gives_the_bits_of_each() {
    let network = chainrule::layer::Sequential::<f64>::input(2)
        .recurrent(3, chainrule::recurrent::Lstm::new())
        .layer_norm()
        .linear(2)
        .build()
        .unwrap();
    for picked in [700, 1025, 2049] {
        let picked: Vec<usize> = (0..picked).map(|i| i * 7 % 5).collect();
        for lengths in [[1, 1, 1, 1, 1], [3, 3, 3, 3, 3], [1, 4, 2, 4, 3], [1, 2000, 1, 1, 1]] {
            let few = if lengths[1] == 2000 { &picked[..9] } else { &picked };
            every_way(&network.spec(), &lengths, few, 3).unwrap();
        }
    }
}
