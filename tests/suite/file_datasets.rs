//! Data sets in files: the bits of the same data in memory, and typed errors.

use crate::numbers::{bits, seeded_numbers};
use chainrule::{
    DataRule, Error, RankRule,
    dataset::{Batch, Dataset, FileDataset, FileTargets, FileTensor, Source},
    distributed::{Communicator, DataParallel, Local},
    layer::Sequential,
    loss::{CrossEntropy, Loss, MeanSquaredError, Target},
    trainer::{Epoch, FitOptions, TrainConfig, Trainer, Truncation},
    transform::Adam,
};
use std::{fs, ops::ControlFlow, path::PathBuf, thread};

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("chainrule-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// A file of numpy's format, version 1.
    fn npy(&self, name: &str, descr: &str, shape: &[usize], values: &[u8]) -> PathBuf {
        let shape: String = shape.iter().map(|size| format!("{size}, ")).collect();
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(values);
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn floats(&self, name: &str, shape: &[usize], values: &[f64]) -> FileTensor<f64> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        FileTensor::npy(self.npy(name, "<f8", shape, &bytes)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const SAMPLES: usize = 23;
const STEPS: usize = 6;

/// The parameters after a training, and what it reported.
fn trained<C: Loss<f64>>(loss: C, settings: TrainConfig, data: &dyn Source<f64>) -> (Vec<u64>, Vec<Epoch>, u64) {
    let network = Sequential::input(3).lstm(4).dropout(0.2).linear(2).build().unwrap();
    let mut trainer = Trainer::new(network, loss, Adam::new(0.01), settings).unwrap();
    let epochs = trainer.fit_with(data, FitOptions::new().validation(data)).unwrap();
    let metric = trainer.metric(data, |_, y, _| y.iter().sum()).unwrap();
    (bits(trainer.parameters()), epochs, metric.to_bits())
}

/// Shuffled, in blocks and in order; with accumulation, in windows of steps, with row weights; values and classes.
#[test]
fn file_datasets_train_to_the_bits_of_memory() {
    let folder = Folder::new("bits");
    let rows = SAMPLES * STEPS;
    let (x, y): (Vec<f64>, Vec<f64>) = (seeded_numbers(1, rows * 3), seeded_numbers(2, rows * 2));
    let weights: Vec<f64> = seeded_numbers::<f64>(3, rows).into_iter().map(|weight| weight.max(0.0)).collect();
    let classes: Vec<usize> = (0..rows).map(|row| row * 7 % 5 % 2).collect();
    let class_bytes: Vec<u8> = classes.iter().flat_map(|&class| (class as i16).to_le_bytes()).collect();
    let inputs = || folder.floats("x.npy", &[SAMPLES, STEPS, 3], &x);
    let memory = Dataset::sequences(3, STEPS, &x, Target::Values(&y)).unwrap().row_weights(&weights).unwrap();
    let values = FileTargets::Values(folder.floats("y.npy", &[SAMPLES, STEPS, 2], &y));
    let file = FileDataset::new(inputs(), values).unwrap();
    let file = file.row_weights(folder.floats("w.npy", &[SAMPLES, STEPS], &weights)).unwrap();
    let labelled = Dataset::sequences(3, STEPS, &x, Target::Classes(&classes)).unwrap();
    let labels = FileTensor::npy(folder.npy("c.npy", "<i2", &[SAMPLES, STEPS], &class_bytes)).unwrap();
    let labelled_file = FileDataset::new(inputs(), FileTargets::Classes(labels)).unwrap();

    let usual = TrainConfig { batch_size: 4, epochs: 2, seed: 9, ..TrainConfig::default() };
    let mut all = Vec::new();
    for settings in [
        usual,
        TrainConfig { shuffle_block: Some(5), ..usual },
        TrainConfig { shuffle_block: Some(SAMPLES), accumulation_steps: 2, threads: 2, ..usual },
        TrainConfig { shuffle: false, truncation: Some(Truncation::new(4)), ..usual },
        TrainConfig { shuffle_block: Some(1), truncation: Some(Truncation::new(2)), ..usual },
    ] {
        let found = trained(MeanSquaredError::new(), settings, &file);
        assert!(found == trained(MeanSquaredError::new(), settings, &memory), "{settings:?}");
        assert!(
            trained(CrossEntropy::new(), settings, &labelled_file) == trained(CrossEntropy::new(), settings, &labelled)
        );
        all.push(found);
    }
    // Another order is another training; one block of all samples is none.
    assert_ne!(all[0].0, all[1].0);
    let one_block = TrainConfig { shuffle_block: Some(SAMPLES), ..usual };
    assert!(trained(MeanSquaredError::new(), one_block, &memory) == all[0]);
}

/// Each epoch visits every sample once, and a block at a time.
#[test]
fn shuffled_blocks_keep_their_samples_together() {
    let (x, y): (Vec<f64>, Vec<f64>) = ((0..20).map(f64::from).collect(), vec![0.0; 20]);
    let data = Dataset::rows(1, &x, Target::Values(&y)).unwrap();
    let settings = TrainConfig { batch_size: 1, epochs: 2, shuffle_block: Some(6), ..TrainConfig::default() };
    let network = Sequential::input(1).linear(1).build().unwrap();
    let mut trainer = Trainer::new(network, MeanSquaredError::new(), Adam::new(0.01), settings).unwrap();
    let mut seen = Inputs(Vec::new());
    trainer.fit_with(&data, FitOptions::new().monitor(&mut seen)).unwrap();
    let epochs: Vec<Vec<usize>> = seen.0.chunks(20).map(<[usize]>::to_vec).collect();
    assert_ne!(epochs[0], epochs[1]);
    for epoch in epochs {
        let mut all = epoch.clone();
        all.sort_unstable();
        assert_eq!(all, (0..20).collect::<Vec<_>>());
        let mut blocks: Vec<usize> = epoch.iter().map(|sample| sample / 6).collect();
        blocks.dedup();
        assert_eq!(blocks.len(), 4, "{epoch:?}");
        assert_ne!(epoch, all);
    }
}

/// The inputs of all passes.
struct Inputs(Vec<usize>);

impl chainrule::GradientMonitor<f64> for Inputs {
    fn forward(&mut self, _at: &chainrule::monitor::Link<'_>, x: &[f64], _y: &[f64]) {
        self.0.extend(x.iter().map(|&x| x as usize));
    }
}

fn refused<V: std::fmt::Debug>(made: Result<V, Error>) -> DataRule {
    match made {
        Err(Error::InvalidData(rule)) => rule,
        other => panic!("{other:?}"),
    }
}

#[test]
fn file_tensors_refuse_files_that_are_not_theirs() {
    let folder = Folder::new("refused");
    let bytes: Vec<u8> = (0..12).flat_map(|i: u32| (i as f32).to_le_bytes()).collect();
    let path = folder.npy("good.npy", "<f4", &[4, 3], &bytes);
    assert_eq!(FileTensor::<f32>::npy(&path).unwrap().shape(), [4, 3]);
    let wrong = refused(FileTensor::<f64>::npy(&path));
    assert!(matches!(&wrong, DataRule::FileType { expected: "float64", found, .. } if found == "<f4"), "{wrong}");
    for descr in [">f4", "<i4", "<f2", "|b1", "<U3", "f4", ""] {
        let rule = refused(FileTensor::<f32>::npy(folder.npy("type.npy", descr, &[4, 3], &bytes)));
        assert!(matches!(rule, DataRule::FileType { .. } | DataRule::FileFormat { .. }), "{descr}");
    }
    let short = refused(FileTensor::<f32>::npy(folder.npy("short.npy", "<f4", &[4, 3], &bytes[..30])));
    assert!(matches!(short, DataRule::FileEnds { sample: 2, samples: 4, .. }), "{short}");
    let whole = fs::read(&path).unwrap();
    for end in 0..whole.len() - bytes.len() {
        let cut = folder.0.join("cut.npy");
        fs::write(&cut, &whole[..end]).unwrap();
        assert!(matches!(refused(FileTensor::<f32>::npy(cut)), DataRule::FileFormat { .. }), "{end}");
    }
    let text = String::from_utf8_lossy(&whole).replace("False", "True ");
    let fortran = folder.0.join("fortran.npy");
    fs::write(&fortran, text.as_bytes()).unwrap();
    assert!(FileTensor::<f32>::npy(fortran).is_err());
    let huge = folder.npy("huge.npy", "<f4", &[usize::MAX / 2, 3], &bytes);
    assert!(matches!(FileTensor::<f32>::npy(huge), Err(Error::TooLarge { .. })));
    assert!(matches!(FileTensor::<f32>::npy(folder.npy("none.npy", "<f4", &[0, 3], &[])), Err(Error::EmptyBatch)));
    assert!(matches!(FileTensor::<f32>::npy(folder.npy("thin.npy", "<f4", &[4, 0], &[])), Err(Error::Empty { .. })));
    assert!(matches!(FileTensor::<f32>::npy(folder.0.join("missing.npy")), Err(Error::File { .. })));
    assert!(matches!(FileTensor::<f32>::npy(&folder.0), Err(Error::File { .. })));
    let made = |targets: &[usize]| {
        let values = vec![0.0; targets.iter().product()];
        let targets = FileTargets::Values(folder.floats("t.npy", targets, &values));
        FileDataset::new(folder.floats("i.npy", &[4, 3], &[0.0; 12]), targets).map(drop)
    };
    assert!(made(&[4]).is_ok() && made(&[4, 2]).is_ok());
    assert!(matches!(made(&[5, 2]), Err(Error::Length { .. })));
}

/// Values that are found bad when they are read, and a file that was cut after it was opened.
#[test]
fn file_datasets_name_the_sample_that_cannot_be_read() {
    let folder = Folder::new("samples");
    let network = || Sequential::input(2).linear(1).build().unwrap();
    let settings = TrainConfig { batch_size: 3, epochs: 1, shuffle: false, ..TrainConfig::default() };
    let fit = |data: &FileDataset<f64>| {
        let mut trainer = Trainer::new(network(), MeanSquaredError::new(), Adam::new(0.1), settings).unwrap();
        trainer.fit(data).map(drop)
    };
    let (mut x, mut y) = (vec![0.5; 14], vec![0.5; 7]);
    let data = |x: &[f64], y: &[f64]| {
        let targets = FileTargets::Values(folder.floats("y.npy", &[7], y));
        FileDataset::new(folder.floats("x.npy", &[7, 2], x), targets).unwrap()
    };
    fit(&data(&x, &y)).unwrap();
    x[9] = f64::INFINITY;
    let error = fit(&data(&x, &y)).unwrap_err();
    assert!(matches!(error, Error::DataValue { what: "an input", sample: 4, column: Some(1), .. }), "{error}");
    x[9] = 0.5;
    y[5] = f64::NAN;
    let error = fit(&data(&x, &y)).unwrap_err();
    assert!(matches!(error, Error::DataValue { what: "a target", sample: 5, .. }), "{error}");
    y[5] = 0.5;
    let cut = data(&x, &y);
    let file = fs::OpenOptions::new().write(true).open(folder.0.join("x.npy")).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length - 3 * 16).unwrap();
    let error = refused(fit(&cut));
    assert!(matches!(error, DataRule::FileEnds { sample: 4, samples: 7, .. }), "{error}");

    let classes: Vec<u8> = [0, 1, 0, -1].into_iter().flat_map(|class: i64| class.to_le_bytes()).collect();
    let labels = FileTensor::npy(folder.npy("c.npy", "<i8", &[4], &classes)).unwrap();
    let data = FileDataset::new(folder.floats("x.npy", &[4, 2], &[0.5; 8]), FileTargets::Classes(labels)).unwrap();
    let mut batch = Batch::new(&data, 4);
    batch.gather(&data, &[0, 1, 2], false).unwrap();
    let error = batch.gather(&data, &[3], false).unwrap_err();
    assert!(matches!(error, Error::DataValue { what: "a class", sample: 3, found: -1.0, .. }), "{error}");
}

/// Files in which only the samples of a rank's own shards are finite: each rank reads its own part of the data alone.
#[test]
fn rank_reads_only_the_samples_of_its_own_shards() {
    let folder = Folder::new("parts");
    const SAMPLES: usize = 40;
    let (x, y): (Vec<f64>, Vec<f64>) = (seeded_numbers(1, SAMPLES * 3), seeded_numbers(2, SAMPLES * 2));
    let weights: Vec<f64> = seeded_numbers::<f64>(3, SAMPLES).into_iter().map(|weight| weight.max(0.0)).collect();
    // In updates of 16, 16 and 8 samples: shards of two samples, and of one.
    let settings = TrainConfig { batch_size: 16, epochs: 2, shuffle: false, ..TrainConfig::default() };
    let train = |data: &dyn Source<f64>, parallel: DataParallel<f64>| {
        let network = Sequential::input(3).linear(4).dropout(0.2).linear(2).build().unwrap();
        let mut trainer = Trainer::new(network, MeanSquaredError::new(), Adam::new(0.01), settings).unwrap();
        trainer.set_data_parallel(parallel).unwrap();
        let losses: Vec<f64> = trainer.fit(data).unwrap().iter().map(|epoch| epoch.loss).collect();
        (bits(trainer.parameters()), bits(&losses))
    };
    let memory = Dataset::rows(3, &x, Target::Values(&y)).unwrap().row_weights(&weights).unwrap();
    let expected = train(&memory, DataParallel::new(()));
    let shard = |sample: usize| if sample < 32 { sample % 16 / 2 } else { sample - 32 };
    for ranks in [1, 2, 3, 4, 8] {
        let found = thread::scope(|scope| {
            let on = |rank: Local<f64>| {
                let own = rank.rank();
                let of_own = own * 8 / ranks..(own + 1) * 8 / ranks;
                let file = |kind: &str, width: usize, values: &[f64]| {
                    let rows = values.chunks(width).enumerate();
                    let rows = rows
                        .map(|(i, row)| if of_own.contains(&shard(i)) { row.to_vec() } else { vec![f64::NAN; width] });
                    folder.floats(&format!("{kind}{own}.npy"), &[SAMPLES, width], &rows.collect::<Vec<_>>().concat())
                };
                let data = FileDataset::new(file("x", 3, &x), FileTargets::Values(file("y", 2, &y))).unwrap();
                train(&data.row_weights(file("w", 1, &weights)).unwrap(), DataParallel::new(rank))
            };
            let threads: Vec<_> =
                Local::new(ranks).unwrap().into_iter().map(|rank| scope.spawn(move || on(rank))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(found.iter().all(|found| *found == expected), "{ranks} ranks");
    }
}

/// Outputs for samples in files have the bits of those for samples in memory: of one step, and of several.
#[test]
fn predictions_for_files_are_those_for_memory() {
    let folder = Folder::new("predictions");
    let x: Vec<f64> = seeded_numbers(1, 300 * 7 * 3);
    for (shape, ends) in [(&[2100, 3][..], false), (&[300, 7, 3], false), (&[300, 7, 3], true)] {
        let (samples, steps) = (shape[0], if shape.len() == 3 { 7 } else { 1 });
        let targets = FileTargets::Values(folder.floats("y.npy", &[samples], &vec![0.0; samples]));
        let file = FileDataset::new(folder.floats("x.npy", shape, &x), targets).unwrap();
        let memory = Dataset::sequences(3, steps, &x, None).unwrap();
        let network = Sequential::input(3).lstm(4);
        let network = if ends { network.last_step() } else { network }.linear(2).build().unwrap();
        let settings = TrainConfig::default();
        let mut trainer = Trainer::new(network, MeanSquaredError::new(), Adam::new(0.1), settings).unwrap();
        let expected = trainer.predict(&memory).unwrap();
        assert_eq!(expected.len(), 2 * samples * if ends { 1 } else { steps });
        assert!(bits(&trainer.predict(&file).unwrap()) == bits(&expected));
        let mut y = vec![0.0; expected.len()];
        trainer.predict_into(&file, &mut y).unwrap();
        assert!(bits(&y) == bits(&expected));
        assert!(trainer.predict_into(&file, &mut y[1..]).is_err());
    }
}

/// Targets with as many values for a sample as it has steps: the number of dimensions tells what they are.
#[test]
fn dimensions_of_file_targets_tell_samples_from_steps() {
    let folder = Folder::new("dimensions");
    let x: Vec<f64> = seeded_numbers(1, 5 * 4);
    let data = |shape: &[usize]| {
        let targets = FileTargets::Values(folder.floats("y.npy", shape, &vec![0.5; shape.iter().product()]));
        FileDataset::new(folder.floats("x.npy", &[5, 4, 1], &x), targets)
    };
    let gather = |shape: &[usize], per_step| {
        let data = data(shape).unwrap();
        let mut batch = Batch::new(&data, 5);
        batch.gather(&data, &[0, 3], per_step).map(|()| match batch.target() {
            Target::Values(values) => values.len(),
            _ => 0,
        })
    };
    // One row of four outputs, and four rows of one.
    let rules = [DataRule::TargetShape { samples: 5, steps: 4 }, DataRule::TargetRows { per_step: false }];
    assert!(rules[0].to_string().contains("shape [5, 4, 1]"));
    for ((shape, per_step), rule) in [(&[5, 4][..], false), (&[5, 4, 1], true)].into_iter().zip(rules) {
        assert_eq!(gather(shape, per_step).unwrap(), 8);
        assert_eq!(refused(gather(shape, !per_step)), rule);
    }
    // One row a sample, with an axis for it: no target a step.
    assert_eq!(gather(&[5, 1, 3], false).unwrap(), 6);
    assert_eq!(refused(gather(&[5, 1, 3], true)), DataRule::TargetRows { per_step: true });
    // Another number of values a sample is no value a step.
    assert_eq!(refused(gather(&[5, 8], true)), DataRule::TargetRows { per_step: true });
    assert!(matches!(data(&[5, 3, 1]), Err(Error::Length { expected: 4, found: 3, .. })));
    assert!(matches!(refused(data(&[5, 4, 1, 1])), DataRule::FileFormat { .. }));
}

/// Samples of 160,000 bytes and 70,000 classes, which are read in pieces, and parts of them.
#[test]
fn large_samples_are_read_in_pieces() {
    let folder = Folder::new("pieces");
    const STEPS: usize = 70_000;
    let x: Vec<f64> = seeded_numbers(1, 3 * 20_000);
    let y: Vec<f64> = seeded_numbers(2, 3);
    let file = FileDataset::new(
        folder.floats("x.npy", &[3, 20_000], &x),
        FileTargets::Values(folder.floats("y.npy", &[3], &y)),
    )
    .unwrap();
    let mut batch = Batch::new(&file, 3);
    batch.gather(&file, &[2, 0], false).unwrap();
    assert!(batch.x() == [&x[2 * 20_000..], &x[..20_000]].concat());

    let classes: Vec<usize> = (0..2 * STEPS).map(|i| i * 7919 % 251).collect();
    let mut bytes: Vec<u8> = classes.iter().map(|&class| class as u8).collect();
    let steps: Vec<f64> = seeded_numbers(3, 2 * STEPS);
    let inputs = || folder.floats("s.npy", &[2, STEPS, 1], &steps);
    let labels = |bytes: &[u8]| FileTensor::npy(folder.npy("c.npy", "|u1", &[2, STEPS], bytes)).unwrap();
    let file = FileDataset::new(inputs(), FileTargets::Classes(labels(&bytes))).unwrap();
    let memory = Dataset::sequences(1, STEPS, &steps, Target::Classes(&classes)).unwrap();
    let (mut found, mut expected) = (Batch::new(&file, 2), Batch::new(&memory, 2));
    found.gather(&file, &[1, 0], true).unwrap();
    expected.gather(&memory, &[1, 0], true).unwrap();
    assert!(found.x() == expected.x() && found.target() == expected.target());

    // A value of the second piece that is not finite, and a class of it that is not a class.
    let mut wild = x.clone();
    wild[20_000 + 8_193] = f64::NAN;
    let file = FileDataset::new(
        folder.floats("x.npy", &[3, 20_000], &wild),
        FileTargets::Values(folder.floats("y.npy", &[3], &y)),
    )
    .unwrap();
    let error = Batch::new(&file, 3).gather(&file, &[1], false).unwrap_err();
    assert!(matches!(error, Error::DataValue { sample: 1, column: Some(8_193), .. }), "{error}");
    bytes.iter_mut().for_each(|byte| *byte &= 127);
    bytes[STEPS + 65_537] = 255; // −1
    let labels = FileTensor::npy(folder.npy("c.npy", "|i1", &[2, STEPS], &bytes)).unwrap();
    let file = FileDataset::new(inputs(), FileTargets::Classes(labels)).unwrap();
    let error = Batch::new(&file, 2).gather(&file, &[1], true).unwrap_err();
    let expected = ("a class", 1, Some(65_537), -1.0);
    let Error::DataValue { what, sample, step, found, .. } = error else { panic!("{error}") };
    assert_eq!((what, sample, step, found), expected);
}

/// Three ranks of which one has a file of targets that ends early, or a file of weights: an error on all, and no wait.
#[test]
fn file_that_differs_on_one_rank_is_an_error_on_all() {
    let folder = Folder::new("ranks");
    let settings = TrainConfig { batch_size: 8, epochs: 1, shuffle: false, ..TrainConfig::default() };
    for faulty in 0..3 {
        for cut in [true, false] {
            let train = |rank: Local<f64>| {
                let own = rank.rank();
                let name = |kind: &str| format!("{kind}{own}.npy");
                let targets = FileTargets::Values(folder.floats(&name("y"), &[14], &[0.5; 14]));
                let data = FileDataset::new(folder.floats(&name("x"), &[14, 2], &[0.5; 28]), targets).unwrap();
                let weights = || folder.floats(&name("w"), &[14], &[1.0; 14]);
                let data = if own == faulty && !cut { data.row_weights(weights()).unwrap() } else { data };
                if own == faulty && cut {
                    let file = fs::OpenOptions::new().write(true).open(folder.0.join(name("y"))).unwrap();
                    file.set_len(file.metadata().unwrap().len() - 8 * 8).unwrap();
                }
                let network = Sequential::input(2).linear(1).build().unwrap();
                let mut trainer = Trainer::new(network, MeanSquaredError::new(), Adam::new(0.1), settings).unwrap();
                trainer.set_data_parallel(DataParallel::new(rank)).unwrap();
                trainer.fit(&data).unwrap_err()
            };
            let errors = on_three_ranks(train);
            for (rank, error) in errors.iter().enumerate() {
                match error {
                    // The first sample of its own shards among those that are missing.
                    Error::InvalidData(DataRule::FileEnds { sample, .. }) => {
                        assert!(cut && rank == faulty && *sample == [8, 9, 6][rank], "{sample} of {rank}");
                    }
                    Error::Ranks(RankRule::Failed { rank: failed, .. }) => assert!(cut && *failed == faulty),
                    Error::Ranks(RankRule::Differs { .. }) => assert!(!cut),
                    other => panic!("rank {rank} of which {faulty} fails: {other}"),
                }
            }
        }
    }
}

/// The errors of three ranks, within 10 s.
fn on_three_ranks(make: impl Fn(Local<f64>) -> Error + Sync) -> Vec<Error> {
    let start = std::time::Instant::now();
    let errors = thread::scope(|scope| {
        let ranks = Local::new(3).unwrap().into_iter();
        let threads: Vec<_> = ranks.map(|rank| scope.spawn(|| make(rank))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(start.elapsed().as_secs() < 10);
    errors
}

/// A rank whose file of validation ends early, or has other values; a file of training of which a rank cannot read a
/// sample of an update without weight on the others.
#[test]
fn file_that_fails_in_validation_or_without_weight_is_an_error_on_all() {
    let folder = Folder::new("validation");
    let settings = TrainConfig { batch_size: 8, epochs: 2, shuffle: false, ..TrainConfig::default() };
    let cut = |name: String, values: u64| {
        let file = fs::OpenOptions::new().write(true).open(folder.0.join(name)).unwrap();
        file.set_len(file.metadata().unwrap().len() - 8 * values).unwrap();
    };
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Fault {
        Short,
        Other,
        Weightless,
    }
    for (fault, faulty) in
        [Fault::Short, Fault::Other, Fault::Weightless].into_iter().flat_map(|fault| [(fault, 0), (fault, 2)])
    {
        let errors = on_three_ranks(|rank| {
            let own = rank.rank();
            let is = |kind| own == faulty && fault == kind;
            let data = |kind: &str, target: f64, weight: f64| {
                let file = |name: &str, shape: &[usize], value: f64| {
                    folder.floats(&format!("{kind}{name}{own}.npy"), shape, &vec![value; shape.iter().product()])
                };
                let targets = FileTargets::Values(file("y", &[16], target));
                let data = FileDataset::new(file("x", &[16, 2], 0.5), targets).unwrap();
                data.row_weights(file("w", &[16], weight)).unwrap()
            };
            let train = data("t", 0.5, if fault == Fault::Weightless { 0.0 } else { 1.0 });
            let held_out = data("v", if is(Fault::Other) { 0.25 } else { 0.5 }, 1.0);
            if is(Fault::Short) {
                cut(format!("vy{own}.npy"), 2);
            }
            if is(Fault::Weightless) {
                cut(format!("ty{own}.npy"), 16);
            }
            let network = Sequential::input(2).linear(1).build().unwrap();
            let mut trainer = Trainer::new(network, MeanSquaredError::new(), Adam::new(0.1), settings).unwrap();
            trainer.set_data_parallel(DataParallel::new(rank)).unwrap();
            trainer.fit_with(&train, FitOptions::new().validation(&held_out)).unwrap_err()
        });
        for (rank, error) in errors.iter().enumerate() {
            let is_end = |error: &Error| matches!(error, Error::InvalidData(DataRule::FileEnds { .. }));
            let is_right = match error {
                Error::InvalidData(DataRule::Validation { reason }) => {
                    fault == Fault::Short && rank == faulty && is_end(reason)
                }
                error if is_end(error) => fault == Fault::Weightless && rank == faulty,
                Error::Ranks(RankRule::Failed { rank: failed, reason }) => {
                    fault != Fault::Other && rank != faulty && *failed == faulty && reason.contains("sample")
                }
                Error::Ranks(RankRule::Differs { what, .. }) => {
                    fault == Fault::Other && what == "the loss of the validation"
                }
                _ => false,
            };
            assert!(is_right, "{fault:?}: rank {rank} of which {faulty} fails: {error}");
        }
    }
}

/// A rank that stops the run, and one that cannot read its part of the update after that: one process never reads it.
#[test]
fn file_that_fails_in_an_update_after_a_stop_is_no_error() {
    let folder = Folder::new("stop");
    let settings = TrainConfig { batch_size: 8, epochs: 2, shuffle: false, ..TrainConfig::default() };
    // A value of sample 12, in the second update, that is not finite: in the inputs or in the targets.
    for (in_inputs, ranks, by_callback) in [(true, 2, true), (false, 2, true), (true, 3, false), (false, 3, false)] {
        let train = |parallel: DataParallel<f64>, own: usize, fails: bool| {
            let (mut x, mut y) = (vec![0.5; 32], vec![0.25; 16]);
            if fails {
                if in_inputs { x[24] = f64::NAN } else { y[12] = f64::NAN }
            }
            let name = |kind: &str| format!("{kind}{own}.npy");
            let targets = FileTargets::Values(folder.floats(&name("y"), &[16], &y));
            let data = FileDataset::new(folder.floats(&name("x"), &[16, 2], &x), targets).unwrap();
            let network = Sequential::input(2).linear(1).build().unwrap();
            let mut trainer = Trainer::new(network, MeanSquaredError::new(), Adam::new(0.1), settings).unwrap();
            trainer.set_data_parallel(parallel).unwrap();
            let asks = own == 0;
            let mut on_step = |_: &chainrule::trainer::Step| match asks && by_callback {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            };
            let mut monitor = Stopping(asks && !by_callback, false);
            let options = FitOptions::new().on_step(&mut on_step).monitor(&mut monitor);
            let epochs = trainer.fit_with(&data, options).unwrap();
            let samples: Vec<usize> = epochs.iter().map(|epoch| epoch.samples).collect();
            (bits(trainer.parameters()), trainer.optimizer().steps(), samples, trainer.stopped_early())
        };
        let expected = train(DataParallel::new(()), 0, false);
        assert_eq!(expected.1, 1);
        let found = thread::scope(|scope| {
            let ranks = Local::new(ranks).unwrap().into_iter();
            let threads: Vec<_> = ranks.map(|rank| scope.spawn(|| train_on(rank, train))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(found.iter().all(|found| *found == expected), "{in_inputs}, {ranks}: {found:?}");
    }
}

fn train_on<R>(rank: Local<f64>, train: impl Fn(DataParallel<f64>, usize, bool) -> R) -> R {
    let (own, last) = (Communicator::rank(&rank), Communicator::size(&rank) - 1);
    train(DataParallel::new(rank), own, own == last)
}

/// A monitor that stops after the first update, if it asks.
struct Stopping(bool, bool);

impl chainrule::GradientMonitor<f64> for Stopping {
    fn event(&mut self, event: &chainrule::monitor::Event<'_, f64>) {
        self.1 |= matches!(event, chainrule::monitor::Event::Step(_));
    }

    fn should_stop(&self) -> bool {
        self.0 && self.1
    }
}

#[cfg(feature = "safetensors")]
#[test]
fn file_tensors_read_safetensors() {
    let folder = Folder::new("safetensors");
    let values: Vec<f32> = (0..6).map(|i| i as f32).collect();
    let write = |header: &str, bytes: &[u8]| {
        let path = folder.0.join("data.safetensors");
        let mut all = (header.len() as u64).to_le_bytes().to_vec();
        all.extend(header.as_bytes());
        all.extend(bytes);
        fs::write(&path, all).unwrap();
        path
    };
    let mut bytes: Vec<u8> = vec![1, 0, 1];
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    let header = r#"{"__metadata__":{"a":"b"},"y":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},
        "x":{"dtype":"F32","shape":[3,2],"data_offsets":[3,27]}}"#;
    let path = write(header, &bytes);
    let (x, y) = (FileTensor::safetensors(&path, "x").unwrap(), FileTensor::safetensors(&path, "y").unwrap());
    let data = FileDataset::<f32>::new(x, FileTargets::Classes(y)).unwrap();
    let mut batch = Batch::new(&data, 3);
    batch.gather(&data, &[2, 0], false).unwrap();
    assert_eq!(batch.x(), [4.0, 5.0, 0.0, 1.0]);
    assert_eq!(batch.target(), Target::Classes(&[1, 1]));
    assert!(matches!(refused(FileTensor::<f32>::safetensors(&path, "z")), DataRule::FileFormat { .. }));
    assert!(matches!(refused(FileTensor::<f64>::safetensors(&path, "x")), DataRule::FileType { .. }));
    let short = write(header, &bytes[..20]);
    assert!(matches!(refused(FileTensor::<f32>::safetensors(short, "x")), DataRule::FileEnds { sample: 2, .. }));
    for header in ["", "{", "[]", r#"{"x":{"dtype":"F32","shape":[3],"data_offsets":[3,2]}}"#] {
        let rule = refused(FileTensor::<f32>::safetensors(write(header, &bytes), "x"));
        assert!(matches!(rule, DataRule::FileFormat { .. }), "{header}: {rule}");
    }
}
