//! A run saved and resumed goes on bit for bit; a file that is not whole or not ours is refused.

mod damage;
mod description;
mod file;
#[cfg(feature = "half")]
mod narrow;

use super::trainer::values;
use crate::numbers::bits;
use chainrule::{
    BatchShape, Error, Role,
    activation::{Relu, Tanh},
    checkpoint::{Checkpoint, Values},
    dataset::Dataset,
    layer::Sequential,
    loss::{MeanSquaredError, Target},
    recurrent::Lstm,
    trainer::{FitOptions, TrainConfig, Trainer},
    transform::{
        Adam, AdamW, ClipNorm, GradientTransform, Lion, PerGroup, ReduceOnPlateau, Schedule, ScheduleFreeAdamW, Sgd,
        SkipNonFinite, WeightAverage,
    },
};
use std::{fs, ops::ControlFlow, path::Path};

fn network(hidden: usize) -> Sequential<f64> {
    Sequential::input(3).linear(hidden).activation(Relu).dropout(0.3).layer_norm().linear(2).build().unwrap()
}

type Run<G> = Trainer<f64, Sequential<f64>, MeanSquaredError, G>;

fn trainer<G: GradientTransform<f64>>(hidden: usize, transform: G, settings: TrainConfig) -> Run<G> {
    Trainer::new(network(hidden), MeanSquaredError::new(), transform, settings).unwrap()
}

/// Everything of a run that can be seen.
fn seen<G: GradientTransform<f64>>(run: &Run<G>) -> (Vec<u64>, Vec<u64>, u64, Vec<u64>) {
    let average = run.averaged_parameters().map(bits).unwrap_or_default();
    (bits(run.parameters()), bits(run.optimizer().state()), run.optimizer().steps(), average)
}

fn resumes<G: GradientTransform<f64>>(transform: impl Fn() -> G, patience: Option<usize>) {
    let (x, y) = (values(1, 22 * 3), values(2, 22 * 2));
    let data = Dataset::rows(3, &x, Target::Values(&y)).unwrap();
    let (x, y) = (values(3, 10 * 3), values(4, 10 * 2));
    let other = Dataset::rows(3, &x, Target::Values(&y)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.safetensors");
    let settings =
        TrainConfig { batch_size: 4, accumulation_steps: 2, epochs: 40, seed: 5, patience, ..TrainConfig::default() };
    let observers = || FitOptions::new().validation(&other);
    let mut whole = trainer(8, transform(), settings);
    let epochs = whole.fit_with(&data, observers()).unwrap();
    assert_eq!(epochs.len() < 40, patience.is_some(), "early stopping stops early");
    for k in [0, 1, 7, epochs.len() - 1] {
        let mut first = trainer(8, transform(), TrainConfig { epochs: k, ..settings });
        if k > 0 {
            first.fit_with(&data, observers()).unwrap();
        }
        first.save(&path).unwrap();
        // The second has another seed, and has been elsewhere: nothing of that may remain.
        let mut second = trainer(8, transform(), TrainConfig { seed: 99, epochs: 2, ..settings });
        second.fit_with(&data, observers()).unwrap();
        let _ = second.load(&path).unwrap();
        assert_eq!(seen(&second), seen(&first));
        second.set_epochs(40);
        let rest = second.fit_with(&data, observers()).unwrap();
        assert_eq!(rest, epochs[k..], "resumed after {k}");
        assert_eq!(seen(&second), seen(&whole), "resumed after {k}");
        assert_eq!(second.settings().seed, 5);
    }
    // Saved after each epoch, by trainers that make at most 7 epochs each: the same run.
    fs::remove_file(&path).unwrap();
    let (mut found, mut is_finished) = (Vec::new(), false);
    while !is_finished {
        let mut run = trainer(8, transform(), settings);
        if path.exists() {
            assert!(run.load(&path).unwrap().is_empty());
        }
        for _ in 0..7 {
            if !run.is_finished() {
                found.extend(run.fit_with(&data, observers().on_epoch(|_| ControlFlow::Break(()))).unwrap());
                run.save(&path).unwrap();
            }
        }
        is_finished = run.is_finished();
        if is_finished {
            assert_eq!(seen(&run), seen(&whole), "saved after each epoch");
        }
    }
    assert_eq!(found, epochs);
    let files: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files, [path], "no partial file is left");
}

#[test]
fn adam_resumes() {
    let transform = || {
        let clip = (SkipNonFinite::new(), ClipNorm::new(1.0), Adam::new(1e-2));
        (clip, Schedule::cosine(60, 0.1), ReduceOnPlateau::new(0.5, 0), WeightAverage::new(0.9))
    };
    resumes(transform, None);
}

#[test]
fn momentum_resumes() {
    resumes(|| (Sgd::new(0.05).momentum(0.9), ReduceOnPlateau::new(0.7, 1)), None);
}

#[test]
fn early_stopping_resumes() {
    resumes(|| (Adam::new(5e-2), WeightAverage::new(0.5)), Some(6));
}

#[test]
fn schedule_free_resumes() {
    resumes(|| ScheduleFreeAdamW::new(5e-2, 1e-2).warm_up(30), None);
    // Its average overfits slowly: with a fast rate early stopping stops.
    resumes(|| (ClipNorm::new(1.0), ScheduleFreeAdamW::new(0.5, 0.0)), Some(6));
}

#[test]
fn joined_schedule_groups_and_an_average_as_result_resume() {
    resumes(
        || {
            let schedule = Schedule::warm_up(0.1, 6).then(6, Schedule::cyclic(0.2, 1.0, 3, 4).per_epoch(3));
            let clipped = (ClipNorm::new(0.5), AdamW::new(2e-2, 0.1));
            let groups =
                PerGroup::new(Sgd::new(0.05).momentum(0.9)).group("0", clipped).group(Role::Gain, Lion::new(1e-3));
            (groups, schedule, WeightAverage::new(0.9).debias().as_result())
        },
        None,
    );
    resumes(|| (Adam::new(5e-2), WeightAverage::new(0.5).warm_up().as_result()), Some(6));
}

/// A rate set between epochs is part of the run: resumed after it, the run is that without a break.
#[test]
fn set_learning_rate_resumes() {
    let (x, y) = (values(1, 22 * 3), values(2, 22 * 2));
    let data = Dataset::rows(3, &x, Target::Values(&y)).unwrap();
    let path = tempfile::tempdir().unwrap();
    let path = path.path().join("run");
    let settings = TrainConfig { batch_size: 4, epochs: 3, ..TrainConfig::default() };
    let fit_to = |run: &mut Run<_>, epochs| {
        run.set_epochs(epochs);
        run.fit(&data).unwrap();
    };
    let started = || {
        let mut run = trainer(8, (AdamW::new(0.02, 0.1), Schedule::exponential(0.99)), settings);
        run.fit(&data).unwrap();
        run
    };
    let set = || {
        let mut run = started();
        run.set_learning_rate(0.1).unwrap();
        run.set_learning_rate(0.005).unwrap();
        run
    };
    let (mut whole, mut first, mut unset) = (set(), set(), started());
    fit_to(&mut whole, 9);
    fit_to(&mut first, 5);
    fit_to(&mut unset, 9);
    assert_ne!(seen(&whole), seen(&unset));
    first.save(&path).unwrap();
    for before in [None, Some(0.3)] {
        let mut second = trainer(8, (AdamW::new(0.02, 0.1), Schedule::exponential(0.99)), settings);
        if let Some(rate) = before {
            second.set_learning_rate(rate).unwrap();
        }
        let differences = second.load(&path).unwrap();
        // Neither the rate of the constructor nor that of another call is a difference: the saved one holds.
        assert!(differences.iter().all(|difference| difference.name == "epochs"), "{differences:?}");
        fit_to(&mut second, 9);
        assert_eq!(seen(&second), seen(&whole));
    }
    // A run with the transform's own rate takes it back.
    let unset_first = started();
    unset_first.save(&path).unwrap();
    let mut second = set();
    let _ = second.load(&path).unwrap();
    fit_to(&mut second, 9);
    assert_eq!(seen(&second), seen(&unset));
    // A rate that is no rate is refused.
    let mut bad = set().checkpoint();
    for rate in [-1.0, f64::NAN, f64::INFINITY] {
        bad.numbers.insert("learning rate".into(), f64::to_bits(rate));
        let before = seen(&second);
        assert!(matches!(second.restore(&bad), Err(Error::CheckpointValue { .. })));
        assert_eq!(seen(&second), before);
    }
}

#[test]
fn carried_state_resumes_from_a_checkpoint() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run");
    let make = || {
        let network = Sequential::<f64>::input(2).recurrent(3, Lstm::new()).linear(1).build().unwrap();
        let mut run = Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), TrainConfig::default()).unwrap();
        // Makes room for two samples of four steps.
        run.predict(&Dataset::sequences(2, 4, &[0.0; 16], None).unwrap()).unwrap();
        run
    };
    let mut first = make();
    let shape = BatchShape::sequences(2, 4);
    let infer = |trainer: &mut Trainer<_, _, _, _>, x: &[f64]| {
        let w = trainer.parameters().to_vec();
        bits(trainer.workspace_mut().infer(&w, x, shape).unwrap())
    };
    infer(&mut first, &values(1, 16));
    first.workspace_mut().carry_state();
    first.save(&path).unwrap();
    let mut second = make();
    let _ = second.load(&path).unwrap();
    let next = values(2, 16);
    let expected = infer(&mut first, &next);
    assert_eq!(infer(&mut second, &next), expected);
    let fresh = make();
    fresh.save(&path).unwrap();
    let _ = second.load(&path).unwrap();
    assert!(second.workspace().state().is_empty());
}

/// A trainer of large batches has memory for one sample before it has the data.
#[test]
fn carried_state_of_a_large_batch_resumes() {
    let x = values(1, 20 * 4 * 2);
    let data = Dataset::sequences(2, 4, &x, Target::Values(&x[..20 * 4])).unwrap();
    let make = || {
        let network = Sequential::<f64>::input(2).recurrent(3, Lstm::new()).linear(1).build().unwrap();
        let settings = TrainConfig { batch_size: usize::MAX, epochs: 2, ..TrainConfig::default() };
        Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), settings).unwrap()
    };
    let mut first = make();
    first.fit(&data).unwrap();
    first.workspace_mut().carry_state();
    let bytes = first.to_bytes().unwrap();
    let mut second = make();
    let _ = second.load_bytes(&bytes).unwrap();
    assert_eq!(bits(second.workspace().state()), bits(first.workspace().state()));
    let losses = [&mut first, &mut second].map(|run| run.fit(&data).unwrap());
    assert_eq!(
        losses[0].iter().map(|epoch| epoch.loss).collect::<Vec<_>>(),
        losses[1].iter().map(|epoch| epoch.loss).collect::<Vec<_>>()
    );
    assert_eq!(bits(second.parameters()), bits(first.parameters()));
}

#[track_caller]
fn refused<G: GradientTransform<f64>>(run: &mut Run<G>, path: &Path) -> Error {
    let before = seen(run);
    let error = run.load(path).unwrap_err();
    assert_eq!(seen(run), before, "a failed load changes nothing");
    error
}

#[test]
fn load_broken_files_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run");
    let mut run = trainer(8, Adam::new(1e-2), TrainConfig::default());
    run.save(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    let damaged =
        |error: &Error| matches!(error, Error::CheckpointFormat { origin: named, .. } if named.ends_with("run"));
    for length in [0, 1, 7, 8, 9, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let error = refused(&mut run, &path);
        assert!(damaged(&error), "{length}: {error}");
    }
    fs::write(&path, b"x,y\n1,2\nthis is another kind of file altogether\n").unwrap();
    assert!(damaged(&refused(&mut run, &path)));
    let mut longer = whole.clone();
    longer.push(0);
    fs::write(&path, longer).unwrap();
    assert!(damaged(&refused(&mut run, &path)));
    fs::remove_file(&path).unwrap();
    assert!(matches!(refused(&mut run, &path), Error::File { path: named, .. } if named.ends_with("run")));
    assert!(matches!(refused(&mut run, directory.path()), Error::File { .. }));
}

#[test]
fn load_files_of_others_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run");
    let block = |error: Error| match error {
        Error::Checkpoint { block, expected, found } => {
            assert_ne!(expected, found);
            block
        }
        other => panic!("{other}"),
    };
    let mut run = trainer(8, Adam::new(1e-2), TrainConfig::default());
    // Of another program, and of a later version of this one.
    let empty = || Vec::<(String, safetensors::tensor::TensorView<'_>)>::new();
    fs::write(&path, safetensors::serialize(empty(), None).unwrap()).unwrap();
    assert!(matches!(refused(&mut run, &path), Error::FileKind { .. }));
    let later = std::collections::HashMap::from([("chainrule".into(), "3".into())]);
    fs::write(&path, safetensors::serialize(empty(), Some(later)).unwrap()).unwrap();
    let origin = path.display().to_string();
    assert_eq!(refused(&mut run, &path), Error::CheckpointVersion { origin, found: "3".into(), expected: 2 });
    // Of another shape.
    trainer(9, Adam::new(1e-2), TrainConfig::default()).save(&path).unwrap();
    assert_eq!(block(refused(&mut run, &path)), "layer 0");
    // Of another depth: one layer too few, one too many.
    let deeper = |depth: usize| {
        let network = (0..depth).fold(Sequential::<f64>::input(3), |network, _| network.linear(3)).build().unwrap();
        Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), TrainConfig::default()).unwrap()
    };
    deeper(2).save(&path).unwrap();
    assert_eq!(block(refused(&mut deeper(3), &path)), "network");
    assert_eq!(block(refused(&mut deeper(1), &path)), "network");
    // Of another scalar.
    let network = Sequential::<f32>::input(3).linear(3).build().unwrap();
    Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), TrainConfig::default()).unwrap().save(&path).unwrap();
    assert_eq!(block(refused(&mut deeper(1), &path)), "0.weight");
    // Of another optimizer.
    trainer(8, Sgd::new(0.1).momentum(0.9), TrainConfig::default()).save(&path).unwrap();
    assert_eq!(block(refused(&mut run, &path)), "transform 1");
}

#[test]
fn failed_write_leaves_the_old_file() {
    let directory = tempfile::tempdir().unwrap();
    let run = trainer(8, Adam::new(1e-2), TrainConfig::default());
    // A directory cannot be replaced by a file.
    let taken = directory.path().join("taken");
    fs::create_dir(&taken).unwrap();
    fs::write(taken.join("old"), b"old").unwrap();
    assert!(matches!(run.save(&taken), Err(Error::File { .. })));
    assert_eq!(fs::read(taken.join("old")).unwrap(), b"old");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no partial file is left");
    assert!(matches!(run.save(directory.path().join("nowhere/run")), Err(Error::File { .. })));
    assert!(matches!(run.save(""), Err(Error::File { .. })));
    // What cannot be saved is refused before the old file is touched.
    let path = directory.path().join("run");
    run.save(&path).unwrap();
    let old = fs::read(&path).unwrap();
    let short = Checkpoint::<f64>::new(vec![0.0]);
    assert!(matches!(short.save(run.network(), &path), Err(Error::Checkpoint { .. })));
    assert_eq!(fs::read(&path).unwrap(), old);
}

/// Slices and numbers by hand, values by their bits, in `f32` as in `f64`; other tools read the file.
#[test]
fn checkpoint_by_hand_keeps_all_bits() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("own");
    let network = Sequential::<f32>::input(2).linear(2).activation(Tanh).build().unwrap();
    let mut saved = Checkpoint::new(vec![f32::NAN, f32::NEG_INFINITY, -0.0, f32::MIN_POSITIVE / 2.0, 1.0, f32::MAX]);
    saved.slices.insert("mine".into(), vec![0.1, 0.2]);
    saved.slices.insert("nothing".into(), vec![]);
    saved.numbers.insert("n".into(), u64::MAX);
    saved.numbers.insert("x".into(), f64::NAN.to_bits());
    let not_finite = |error: Error| matches!(error, Error::CheckpointValue { name, .. } if name == "0.weight");
    assert!(not_finite(saved.save(&network, &path).unwrap_err()));
    assert!(!path.exists());
    saved.values = Values::Any;
    saved.save(&network, &path).unwrap();
    assert!(not_finite(Checkpoint::load(&network, &path, Values::Finite).unwrap_err()));
    let found = Checkpoint::load(&network, &path, Values::Any).unwrap();
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&found.parameters), bits(&saved.parameters));
    assert_eq!((&found.slices, &found.numbers), (&saved.slices, &saved.numbers));
    let file = fs::read(&path).unwrap();
    assert_eq!(found.to_bytes(&network).unwrap(), file, "equal checkpoints are equal bytes");
    let others = safetensors::SafeTensors::deserialize(&file).unwrap();
    let weight = others.tensor("0.weight").unwrap();
    assert_eq!((weight.dtype(), weight.shape()), (safetensors::Dtype::F32, &[2, 2][..]));
    let bytes: Vec<u8> = saved.parameters[..4].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(weight.data(), bytes);
}

/// A checkpoint in memory knows its network, as a file does.
#[test]
fn checkpoint_in_memory_of_another_network_is_refused() {
    type Net = Trainer<f64, Sequential<f64>, MeanSquaredError, Sgd>;
    let trainer = |network: Sequential<f64>| -> Net {
        Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), TrainConfig::default()).unwrap()
    };
    let tanh = trainer(Sequential::input(2).linear(4).tanh().linear(1).build().unwrap());
    let mut relu = trainer(Sequential::input(2).linear(4).relu().linear(1).build().unwrap());
    let refused = |error: Error| {
        let Error::Checkpoint { block, expected, found } = &error else { panic!("{error}") };
        assert_eq!((&block[..], &expected[..], &found[..]), ("layer 1", "Relu", "Tanh"));
    };
    let (before, saved) = (bits(relu.parameters()), tanh.checkpoint());
    refused(relu.restore(&saved).unwrap_err());
    refused(relu.restore_parameters(&saved).unwrap_err());
    refused(saved.to_bytes(relu.network()).unwrap_err());
    assert_eq!(bits(relu.parameters()), before);
    // A file that holds it is read again with the same result.
    let read =
        Checkpoint::from_bytes(tanh.network(), &saved.to_bytes(tanh.network()).unwrap(), Values::Finite).unwrap();
    assert!(read == saved);
    refused(relu.restore(&read).unwrap_err());
    // Parameters alone have no network.
    let _ = relu.restore_parameters(&Checkpoint::new(saved.parameters.clone())).unwrap();
    assert_eq!(bits(relu.parameters()), bits(&saved.parameters));
    // Settings of training may differ, and are told.
    let [one, mut other] =
        [0.3, 0.5].map(|rate| trainer(Sequential::input(2).linear(4).dropout(rate).linear(1).build().unwrap()));
    let told = other.restore(&one.checkpoint()).unwrap();
    assert_eq!(told.iter().map(|difference| &difference.name[..]).collect::<Vec<_>>(), ["layer 1 (Dropout), rate"]);
}

#[test]
fn parameters_that_are_not_finite_are_restored_only_if_asked_for() {
    let mut run = trainer(8, Adam::new(1e-2), TrainConfig::default());
    for bad in [f64::NAN, f64::INFINITY] {
        let mut diverged = trainer(8, Adam::new(1e-2), TrainConfig::default());
        diverged.parameters_mut()[30] = bad;
        let whole = diverged.checkpoint();
        let alone = Checkpoint::new(whole.parameters.clone());
        let before = seen(&run);
        for error in [run.restore(&whole), run.restore_parameters(&whole), run.restore_parameters(&alone)] {
            let Err(Error::CheckpointValue { name, .. }) = error else { panic!("{error:?}") };
            assert_eq!(name, "0.bias");
        }
        assert_eq!(seen(&run), before);
        for mut checkpoint in [whole, alone] {
            checkpoint.values = Values::Any;
            let _ = run.restore_parameters(&checkpoint).unwrap();
            assert_eq!(bits(run.parameters()), bits(diverged.parameters()));
        }
        run = trainer(8, Adam::new(1e-2), TrainConfig::default());
    }
}
