//! Truncated backpropagation through time: the trainer's windows are a loop over a workspace, to the bit.

use crate::numbers::{bits, seeded_numbers};
use chainrule::{
    BatchShape, Error, Layer, LayerRule, Mode,
    activation::Tanh,
    dataset::Dataset,
    layer::{Backward, Dims, DropoutKey, Forward, MeanOverSteps, MemorySizes, Sequential, initialize},
    loss::{Loss, MeanSquaredError, Target},
    network::Builder,
    recurrent::{CheckpointInterval, Elman, Gru, Lstm},
    trainer::{FitOptions, TrainConfig, Trainer, Truncation},
    transform::{Adam, ClipNorm, Optimizer, Sgd},
    workspace::Workspace,
};

const WIDTH: usize = 3;

fn settings(truncation: Truncation) -> TrainConfig {
    let truncation = Some(truncation);
    TrainConfig { batch_size: 4, epochs: 3, seed: 5, shuffle: false, truncation, ..TrainConfig::default() }
}

fn stacked(b: Builder<f64>) -> Builder<f64> {
    b.lstm(4).dropout(0.3).checkpointed(CheckpointInterval::Steps(2), |b| b.gru(3).recurrent(5, Elman::new(Tanh)))
}

/// Widths of the pieces of the state of [`stacked`].
const PIECES: [usize; 6] = [4, 4, 3, 0, 5, 0];

fn network(layers: fn(Builder<f64>) -> Builder<f64>) -> Sequential<f64> {
    layers(Sequential::input(WIDTH)).linear(2).build().unwrap()
}

/// The rows of steps `first..end` of `samples`, time-major, from sample-major `values` of `width`.
fn rows(lengths: &[usize], samples: &[usize], [first, end]: [usize; 2], width: usize, values: &[f64]) -> Vec<f64> {
    let start = |sample: usize| lengths[..sample].iter().sum::<usize>();
    let mut rows = Vec::new();
    for step in first..end {
        for &sample in samples.iter().filter(|&&sample| step < lengths[sample]) {
            rows.extend_from_slice(&values[(start(sample) + step) * width..][..width]);
        }
    }
    rows
}

/// The parameters after the loop by hand, and the numbers of its updates and of its masked windows.
fn by_hand(truncation: Truncation, lengths: &[usize], x: &[f64], y: &[f64], weights: &[f64]) -> (Vec<u64>, [u64; 2]) {
    let network = network(stacked);
    let settings = settings(truncation);
    let mut w = initialize::<f64>(&network, settings.seed).unwrap();
    let mut workspace = Workspace::new(&network, BatchShape::sequences(4, truncation.window)).unwrap();
    let chain = (ClipNorm::new(0.5), Adam::new(0.01));
    let mut optimizer = Optimizer::new(chain, workspace.blocks(), &w).unwrap();
    let (mut counts, loss) = ([0; 2], MeanSquaredError::new());
    for _ in 0..settings.epochs {
        for batch in (0..lengths.len()).collect::<Vec<_>>().chunks(settings.batch_size) {
            let mut samples = batch.to_vec();
            samples.sort_by_key(|&sample| (std::cmp::Reverse(lengths[sample]), sample));
            let longest = lengths[samples[0]];
            workspace.clear_state();
            let mut ran = samples.len();
            for first in (0..longest).step_by(truncation.window) {
                let window = [first, (first + truncation.window).min(longest)];
                let of: Vec<usize> = samples.iter().map(|&s| lengths[s].min(window[1])).collect();
                let of: Vec<usize> = of.iter().filter(|&&end| end > first).map(|end| end - first).collect();
                if first > 0 && truncation.carry {
                    // The state of the samples that go on.
                    let (end, mut state, mut start) = (workspace.final_state().to_vec(), Vec::new(), 0);
                    for width in PIECES {
                        state.extend_from_slice(&end[start..][..of.len() * width]);
                        start += ran * width;
                    }
                    workspace.set_state(&state).unwrap();
                }
                ran = of.len();
                let shape = BatchShape::ragged(&of);
                let [x, y] = [(WIDTH, x), (2, y)].map(|(width, all)| rows(lengths, &samples, window, width, all));
                let weights = rows(lengths, &samples, window, 1, weights);
                let mut key = DropoutKey::new(settings.seed, optimizer.steps());
                key.first_step = first as u64;
                workspace.set_dropout_key(key);
                let output = workspace.forward(&w, &x, shape).unwrap();
                let is_masked = weights.iter().all(|&weight| weight == 0.0);
                counts[usize::from(is_masked)] += 1;
                if is_masked {
                    continue;
                }
                let target = Target::Values(&y);
                loss.evaluate(2, output.y, target, Some(&weights), output.dy).unwrap();
                workspace.backward(&w).unwrap();
                let (blocks, gradient) = workspace.blocks_and_gradient();
                optimizer.step(blocks, &mut w, gradient, &mut ()).unwrap();
            }
        }
    }
    (bits(&w), counts)
}

#[test]
fn windows_of_a_trainer_equal_a_loop_by_hand() {
    let ragged = [9, 4, 7, 1, 12, 3, 7];
    let equal = [10; 6];
    for (lengths, is_equal) in [(&ragged[..], false), (&equal[..], true)] {
        let all: usize = lengths.iter().sum();
        let (x, y): (Vec<f64>, Vec<f64>) = (seeded_numbers(1, all * WIDTH), seeded_numbers(2, all * 2));
        let mut weights: Vec<f64> =
            seeded_numbers::<f64>(3, all).into_iter().map(|weight| (weight * 2.0).max(0.0)).collect();
        // A window whose rows are all masked.
        if is_equal {
            (0..4).for_each(|sample| weights[sample * 10 + 3..sample * 10 + 6].fill(0.0));
        }
        let data = match is_equal {
            true => Dataset::sequences(WIDTH, lengths[0], &x, Target::Values(&y)).unwrap(),
            false => Dataset::ragged(WIDTH, lengths, &x, Target::Values(&y)).unwrap(),
        };
        let data = data.row_weights(&weights).unwrap();
        for truncation in [1, 3, 5, 100].map(Truncation::new).into_iter().chain([Truncation::new(3).without_carry()]) {
            let (expected, [updates, masked]) = by_hand(truncation, lengths, &x, &y, &weights);
            let mut settings = settings(truncation);
            for threads in [1, 2] {
                settings.threads = threads;
                let chain = (ClipNorm::new(0.5), Adam::new(0.01));
                let mut trainer = Trainer::new(network(stacked), MeanSquaredError::new(), chain, settings).unwrap();
                let epochs = trainer.fit(&data).unwrap();
                assert!(bits(trainer.parameters()) == expected, "{truncation:?}, {threads} threads, {lengths:?}");
                assert_eq!(epochs[2].steps, updates);
                assert_eq!(epochs.iter().map(|epoch| epoch.skipped).sum::<u64>(), masked);
                assert!(masked > 0 || !is_equal || truncation.window != 3);
                assert!(trainer.workspace().state().is_empty());
            }
        }
    }
}

/// Whole sequences in one window are training without windows; outputs and validation are those of whole sequences.
#[test]
fn windows_predict_and_validate_whole_sequences() {
    let lengths = [9, 4, 7, 1, 12];
    let all: usize = lengths.iter().sum();
    let (x, y): (Vec<f64>, Vec<f64>) = (seeded_numbers(1, all * WIDTH), seeded_numbers(2, all * 2));
    let data = Dataset::ragged(WIDTH, &lengths, &x, Target::Values(&y)).unwrap();
    let make = |truncation| {
        let settings = TrainConfig { batch_size: 2, epochs: 2, truncation, ..TrainConfig::default() };
        Trainer::new(network(stacked), MeanSquaredError::new(), Sgd::new(0.1), settings).unwrap()
    };
    let (mut whole, mut one, mut cut) = (make(None), make(Some(Truncation::new(12))), make(Some(Truncation::new(2))));
    let expected = whole.fit_with(&data, FitOptions::new().validation(&data)).unwrap();
    assert_eq!(one.fit_with(&data, FitOptions::new().validation(&data)).unwrap(), expected);
    cut.parameters_mut().copy_from_slice(whole.parameters());
    assert_eq!(cut.evaluate(&data).unwrap(), whole.evaluate(&data).unwrap());
    assert_eq!(bits(&cut.predict(&data).unwrap()), bits(&whole.predict(&data).unwrap()));
    let equal = Dataset::sequences(WIDTH, 11, &x[..3 * 11 * WIDTH], None).unwrap();
    assert_eq!(bits(&cut.predict(&equal).unwrap()), bits(&whole.predict(&equal).unwrap()));
    let error = |_: usize, y: &[f64], _: Target<'_, f64>| y.iter().sum::<f64>();
    assert_eq!(cut.metric(&data, error).unwrap(), whole.metric(&data, error).unwrap());
}

/// A run that was saved and loaded between two epochs has the bits of one without a break. An initial state that was
/// set holds for the first window of each batch, and afterwards.
#[cfg(feature = "safetensors")]
#[test]
fn windows_keep_the_initial_state_and_resume() {
    let (x, y): (Vec<f64>, Vec<f64>) = (seeded_numbers(1, 4 * 10 * WIDTH), seeded_numbers(2, 4 * 10 * 2));
    let data = Dataset::sequences(WIDTH, 10, &x, Target::Values(&y)).unwrap();
    let make = || {
        let network = Sequential::input(WIDTH).lstm(3).linear(2).build().unwrap();
        Trainer::new(network, MeanSquaredError::new(), Adam::new(0.01), settings(Truncation::new(4))).unwrap()
    };
    let state = seeded_numbers::<f64>(3, 4 * 6);
    let run = |trainer: &mut Trainer<_, _, _, _>, epochs| {
        trainer.set_epochs(epochs);
        trainer.fit(&data).unwrap();
    };
    let (mut whole, mut broken, mut resumed) = (make(), make(), make());
    for trainer in [&mut whole, &mut broken] {
        trainer.workspace_mut().set_state(&state).unwrap();
    }
    run(&mut whole, 3);
    run(&mut broken, 1);
    assert_eq!(bits(broken.workspace().state()), bits(&state));
    let _ = resumed.load_bytes(&broken.to_bytes().unwrap()).unwrap();
    run(&mut resumed, 3);
    assert_eq!(bits(whole.parameters()), bits(resumed.parameters()));
    let mut zero = make();
    run(&mut zero, 3);
    assert_ne!(bits(whole.parameters()), bits(zero.parameters()));
}

#[test]
fn windows_refuse_layers_that_need_other_steps() {
    let refused = |network: Sequential<f64>| {
        let made = Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), settings(Truncation::new(4)));
        let Err(Error::InvalidLayer { layer, rule: LayerRule::NotInWindows { kind, .. } }) = made else {
            panic!("{:?}", made.map(drop))
        };
        (layer, kind)
    };
    let input = || Sequential::<f64>::input(WIDTH);
    let named = |layer: &str, kind: &str| (layer.to_string(), kind.to_string());
    let both = input().linear(3).bidirectional(3, Lstm::new()).linear(2).build().unwrap();
    assert_eq!(refused(both), named("1.backward", "Reversed Recurrent Lstm"));
    assert_eq!(refused(input().lstm(4).last_step().build().unwrap()), named("1", "LastStep"));
    let mean = input().residual(|b| b.recurrent(3, Gru::new())).layer(MeanOverSteps::new(3)).build().unwrap();
    assert_eq!(refused(mean), named("1", "MeanOverSteps"));
    let inner = input().checkpointed(CheckpointInterval::SquareRoot, |b| b.lstm(2).last_step()).build().unwrap();
    assert_eq!(refused(inner), named("0.1", "LastStep"));

    let make = |settings| Trainer::new(network(|b| b.lstm(2)), MeanSquaredError::new(), Sgd::new(0.1), settings);
    let accumulated = TrainConfig { accumulation_steps: 2, ..settings(Truncation::new(4)) };
    assert!(matches!(make(accumulated), Err(Error::InvalidState { .. })));
    assert!(matches!(make(settings(Truncation::new(0))), Err(Error::Parameter { .. })));
}

/// The identity, which may state that it carries values from step to step.
#[derive(Debug)]
struct Passes {
    state: usize,
}

impl Layer<f64> for Passes {
    fn dims(&self) -> Dims {
        Dims::new(WIDTH, WIDTH, 0)
    }
    fn memory(&self, _shape: BatchShape<'_>, _mode: Mode) -> MemorySizes {
        MemorySizes::new(0, 0, self.state)
    }
    fn forward(&self, _w: &[f64], pass: Forward<'_, f64>) {
        pass.y.copy_from_slice(pass.x);
        pass.state.final_state.fill(0.0);
    }
    fn backward(&self, _w: &[f64], pass: Backward<'_, f64>) {
        pass.dx.unwrap_or_default().copy_from_slice(pass.dy);
    }
}

/// A custom layer without a state is as if it were not there. The state of one that has it cannot be cut to the samples
/// that reach the next window.
#[test]
fn windows_of_ragged_samples_refuse_a_custom_state() {
    let lengths = [5, 9, 2];
    let all: usize = lengths.iter().sum();
    let (x, y): (Vec<f64>, Vec<f64>) = (seeded_numbers(1, all * WIDTH), seeded_numbers(2, all * 2));
    let data = Dataset::ragged(WIDTH, &lengths, &x, Target::Values(&y)).unwrap();
    let fit = |first: Option<Passes>| {
        let mut network = Sequential::new(WIDTH);
        first.into_iter().try_for_each(|first| network.push(first)).unwrap();
        network.append(self::network(|b| b.lstm(3))).unwrap();
        let settings = settings(Truncation::new(4));
        let mut trainer = Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), settings).unwrap();
        trainer.fit(&data).map(|_| bits(trainer.parameters()))
    };
    assert_eq!(fit(Some(Passes { state: 0 })).unwrap(), fit(None).unwrap());
    match fit(Some(Passes { state: 1 })) {
        Err(Error::InvalidLayer { layer, rule: LayerRule::StateLayout { kind } }) => {
            assert_eq!((&*layer, &*kind), ("0", "Passes"));
        }
        other => panic!("{other:?}"),
    }
}
