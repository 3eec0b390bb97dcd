//! Event files for TensorBoard: read by a reader that knows nothing of the writer, and compared with the bytes of the
//! official one (`tests/reference/event_file.py`).

use chainrule::{
    Error, GradientMonitor, Scalar,
    dataset::Dataset,
    distributed::{DataParallel, Local},
    layer::Sequential,
    loss::{CrossEntropy, MeanSquaredError, Target},
    monitor::{Event, Every, Link, TensorBoard},
    to_f64,
    trainer::{Epoch, FitOptions, Step, TrainConfig, Trainer},
    transform::{ClipNorm, Schedule, Sgd},
};
use std::{collections::BTreeMap, io, ops::ControlFlow};

/// CRC32C by the definition: division by the reflected polynomial, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let bits = bytes.iter().flat_map(|byte| (0..8).map(move |bit| u32::from(byte >> bit & 1)));
    !bits.fold(!0, |crc: u32, bit| (crc >> 1) ^ if (crc ^ bit) & 1 == 1 { 0x82f6_3b78 } else { 0 })
}

/// The contents of the records of a file, each with both checksums right.
fn records(mut file: &[u8]) -> Vec<&[u8]> {
    fn take<'a>(file: &mut &'a [u8], count: usize) -> &'a [u8] {
        let (taken, rest) = file.split_at(count);
        *file = rest;
        taken
    }
    fn check(file: &mut &[u8], of: &[u8]) {
        let masked = u32::from_le_bytes(take(file, 4).try_into().unwrap());
        assert_eq!(masked.wrapping_sub(0xa282_ead8).rotate_left(15), crc32c(of));
    }
    let mut found = Vec::new();
    while !file.is_empty() {
        let length = take(&mut file, 8);
        check(&mut file, length);
        let content = take(&mut file, u64::from_le_bytes(length.try_into().unwrap()) as usize);
        check(&mut file, content);
        found.push(content);
    }
    found
}

/// One field of a protobuf message.
#[derive(Clone, Debug, PartialEq)]
enum Field<'a> {
    Integer(u64),
    Double(f64),
    Float(f32),
    Bytes(&'a [u8]),
}

/// The fields of a message by number, in the order of the bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
        }
        panic!("a varint of more than ten bytes")
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let size = |bytes: &mut &[u8]| match key & 7 {
            1 => 8,
            2 => varint(bytes) as usize,
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let field = match key & 7 {
            0 => Field::Integer(varint(&mut bytes)),
            kind => {
                let count = size(&mut bytes);
                let (value, rest) = bytes.split_at(count);
                bytes = rest;
                match kind {
                    1 => Field::Double(f64::from_le_bytes(value.try_into().unwrap())),
                    5 => Field::Float(f32::from_le_bytes(value.try_into().unwrap())),
                    _ => Field::Bytes(value),
                }
            }
        };
        found.push((key >> 3, field));
    }
    found
}

fn bytes<'a>(message: &[(u64, Field<'a>)], number: u64) -> Option<&'a [u8]> {
    message.iter().find_map(|(field, value)| match value {
        Field::Bytes(bytes) if *field == number => Some(*bytes),
        _ => None,
    })
}

/// A message field that is 0 where it is not written.
fn double(message: &[(u64, Field<'_>)], number: u64) -> f64 {
    let found = message.iter().find(|(field, _)| *field == number);
    found.map_or(0.0, |(_, value)| if let Field::Double(value) = value { *value } else { panic!("{value:?}") })
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Histogram {
    /// Least, largest, number, sum and sum of squares.
    moments: [f64; 5],
    limits: Vec<f64>,
    counts: Vec<f64>,
}

/// The values of a file: by tag, with their steps.
#[derive(Debug, Default)]
struct Run {
    scalars: BTreeMap<String, Vec<(u64, f32)>>,
    histograms: BTreeMap<String, Vec<(u64, Histogram)>>,
    texts: BTreeMap<String, String>,
}

fn read(file: &[u8]) -> Run {
    let mut run = Run::default();
    for (i, record) in records(file).into_iter().enumerate() {
        let event = fields(record);
        assert!(double(&event, 1) > 0.0, "no time");
        assert_eq!(bytes(&event, 3), (i == 0).then_some(&b"brain.Event:2"[..]));
        let Some(summary) = bytes(&event, 5) else { continue };
        let step = event.iter().find(|(field, _)| *field == 2);
        let step = step.map_or(0, |(_, step)| if let Field::Integer(step) = step { *step } else { panic!("{step:?}") });
        for (field, value) in fields(summary) {
            let (1, Field::Bytes(value)) = (field, value) else { panic!("field {field} of a summary") };
            let value = fields(value);
            let tag = String::from_utf8(bytes(&value, 1).unwrap().to_vec()).unwrap();
            if let Some((_, Field::Float(number))) = value.iter().find(|(field, _)| *field == 2) {
                run.scalars.entry(tag).or_default().push((step, *number));
            } else if let Some(histogram) = bytes(&value, 5) {
                let histogram = fields(histogram);
                let packed = |number| -> Vec<f64> {
                    let (values, []) = bytes(&histogram, number).unwrap().as_chunks::<8>() else { panic!("odd") };
                    values.iter().map(|&value| f64::from_le_bytes(value)).collect()
                };
                let moments = [1, 2, 3, 4, 5].map(|number| double(&histogram, number));
                let histogram = Histogram { moments, limits: packed(6), counts: packed(7) };
                run.histograms.entry(tag).or_default().push((step, histogram));
            } else {
                let plugin = fields(bytes(&fields(bytes(&value, 9).unwrap()), 1).unwrap());
                assert_eq!(bytes(&plugin, 1), Some(&b"text"[..]));
                let text = fields(bytes(&value, 8).unwrap());
                run.texts.insert(tag, String::from_utf8(bytes(&text, 8).unwrap().to_vec()).unwrap());
            }
        }
    }
    run
}

/// The values that the links of a training are given.
const VALUES: [f64; 10] = [0.5, -0.5, 0.0, 1.0, 1.2, -3.0, 0.0, 1e-3, 1e30, 1e-50];

#[test]
fn events_equal_those_of_the_official_writer() {
    let mut board = TensorBoard::new(Vec::new());
    board.scalar("zero", 0, 0.0);
    board.scalar("third", 300, 1.0 / 3.0);
    board.histogram("histogram", 2, &VALUES);
    board.text("report", 7, "two\nlines");
    let ours = board.finish().unwrap();
    let theirs = include_bytes!("../reference/event_file.tfevents");
    let timeless = |file: &[u8]| -> Vec<Vec<u8>> {
        // The time is the first field, a double. The first record also names its writer.
        records(file).iter().skip(1).map(|record| [&record[..1], &record[9..]].concat()).collect()
    };
    assert_eq!(timeless(&ours), timeless(theirs));
    // The reader of this file finds in both what was written.
    for run in [read(&ours), read(theirs)] {
        assert_eq!(run.scalars["third"], [(300, 1.0 / 3.0)]);
        assert_eq!(run.texts["report"], "    two\n    lines\n");
        assert_eq!(run.histograms["histogram"][0].1.moments[2], 10.0);
    }
}

#[test]
fn checksum_of_known_vectors_is_that_of_the_standard() {
    // RFC 3720, appendix B.4.
    assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}

/// The gradients that leave each link, by tag, update by update.
#[derive(Debug, Default)]
struct Gradients {
    updates: Vec<BTreeMap<String, Vec<f64>>>,
    same_update: bool,
    steps: Vec<Step>,
    epochs: Vec<Epoch>,
}

impl<T: Scalar> GradientMonitor<T> for Gradients {
    fn begin_pass(&mut self) {
        if !std::mem::take(&mut self.same_update) {
            self.updates.push(BTreeMap::new());
        }
    }
    fn backward(&mut self, at: &Link<'_>, _dy: &[T], dx: &[T]) {
        let tag = format!("gradient/{}/{}", format!("{:?}", at.factor).to_lowercase(), at.name);
        self.updates.last_mut().unwrap().entry(tag).or_default().extend(dx.iter().map(|&dx| to_f64(dx)));
    }
    fn event(&mut self, event: &Event<'_, T>) {
        match event {
            Event::NextPart => self.same_update = true,
            Event::Step(step) => self.steps.push(**step),
            Event::Epoch(epoch) => self.epochs.push(**epoch),
            _ => {}
        }
    }
}

#[test]
fn update_on_two_ranks_has_the_bytes_and_the_seconds_between_them() {
    let train = |rank| {
        let data = Dataset::rows(1, &[0.5, 1.0, 2.0, 3.0], Target::Values(&[1.0, 2.0, 3.0, 4.0])).unwrap();
        let network = Sequential::<f64>::input(1).linear(1).build().unwrap();
        let mut trainer =
            Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), TrainConfig::default()).unwrap();
        trainer.set_data_parallel(DataParallel::new(rank).shards(2)).unwrap();
        let mut seen = (Gradients::default(), TensorBoard::new(Vec::new()));
        let monitor: &mut dyn GradientMonitor<f64> = &mut seen;
        trainer.fit_with(&data, FitOptions::new().monitor(monitor)).unwrap();
        let run = read(&seen.1.finish().unwrap());
        assert!(!seen.0.steps.is_empty());
        for step in seen.0.steps {
            let found = step.communication.unwrap();
            let values = [found.sent as f64, found.received as f64, found.seconds];
            for (tag, value) in ["bytes_sent", "bytes_received", "communication_seconds"].into_iter().zip(values) {
                assert!(run.scalars[&format!("update/{tag}")].contains(&(step.step, value as f32)), "{tag}");
            }
        }
    };
    std::thread::scope(|scope| {
        Local::new(2).unwrap().into_iter().for_each(|rank| _ = scope.spawn(move || train(rank)))
    });
}

#[test]
fn values_of_a_run_equal_its_records() {
    let x: Vec<f64> = (0..7 * 4 * 2).map(|i| f64::from(i * 37 % 64) / 32.0 - 1.0).collect();
    let data = Dataset::sequences(2, 4, &x, Target::Classes(&[0, 1, 2, 0, 1, 2, 0])).unwrap();
    let network = Sequential::<f64>::input(2).lstm(3).residual(|b| b.linear(3).tanh()).last_step().linear(3);
    let settings = TrainConfig { batch_size: 2, accumulation_steps: 2, epochs: 3, ..TrainConfig::default() };
    let chain = (ClipNorm::new(0.1), Sgd::new(0.5), Schedule::cosine(6, 0.0));
    let mut trainer = Trainer::new(network.build().unwrap(), CrossEntropy::new(), chain, settings).unwrap();
    let mut seen = (Gradients::default(), TensorBoard::new(Vec::new()).histograms_every(2));
    let monitor: &mut dyn GradientMonitor<f64> = &mut seen;
    trainer.fit_with(&data, FitOptions::new().validation(&data).monitor(monitor)).unwrap();
    let (known, board) = seen;
    let run = read(&board.finish().unwrap());
    assert_eq!((known.steps.len(), known.epochs.len()), (6, 3));

    type Value<R> = fn(&R) -> Option<f64>;
    let of_steps: [(&str, Value<Step>); 5] = [
        ("update/loss", |step| Some(step.loss)),
        ("update/learning_rate", |step| step.learning_rate),
        ("update/gradient_norm", |step| Some(step.gradient_norm)),
        ("update/clipped_norm", |step| step.clipped_norm),
        ("update/samples_per_second", Step::samples_per_second),
    ];
    for (tag, value) in of_steps {
        let expected = known.steps.iter().map(|step| (step.step, value(step).expect(tag) as f32));
        assert_eq!(run.scalars[tag], expected.collect::<Vec<_>>(), "{tag}");
    }
    let of_epochs: [(&str, Value<Epoch>); 7] = [
        ("epoch/learning_rate", |epoch| epoch.learning_rate),
        ("epoch/gradient_norm", |epoch| epoch.gradient_norm),
        ("epoch/clipped_norm", |epoch| epoch.clipped_norm),
        ("epoch/samples_per_second", Epoch::samples_per_second),
        ("epoch/loss", |epoch| Some(epoch.loss)),
        ("validation/loss", |epoch| Some(epoch.validation?.loss)),
        ("validation/accuracy", |epoch| epoch.validation?.accuracy),
    ];
    for (tag, value) in of_epochs {
        let expected = known.epochs.iter().map(|epoch| (epoch.steps, value(epoch).expect(tag) as f32));
        assert_eq!(run.scalars[tag], expected.collect::<Vec<_>>(), "{tag}");
    }
    assert_eq!(run.scalars.len(), 12);

    let tags = known.updates[0].iter().filter(|(_, values)| !values.is_empty());
    assert_eq!(run.histograms.len(), tags.count());
    assert!(run.histograms.contains_key("gradient/weights/0.recurrent"), "{:?}", run.histograms.keys());
    for (tag, histograms) in &run.histograms {
        // Of the updates 1, 3 and 5.
        assert_eq!(histograms.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [1, 3, 5]);
        for (step, histogram) in histograms {
            let values = &known.updates[*step as usize - 1][tag];
            let Histogram { moments: [least, largest, count, sum, squares], limits, counts } = histogram;
            assert_eq!(*least, values.iter().copied().fold(f64::INFINITY, f64::min));
            assert_eq!(*largest, values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
            assert_eq!(*count, values.len() as f64);
            assert_eq!(*sum, values.iter().sum::<f64>());
            assert_eq!(*squares, values.iter().map(|value| value * value).sum::<f64>());
            let mut below = f64::NEG_INFINITY;
            for (&limit, &count) in limits.iter().zip(counts) {
                let inside = values.iter().filter(|&&value| below <= value && value < limit);
                assert_eq!(inside.count() as f64, count, "{tag}, below {limit}");
                below = limit;
            }
            assert!(largest < &below, "every value lies below the last limit");
        }
    }
}

#[test]
fn buckets_hold_values_of_any_size() {
    let mut values: Vec<f64> =
        (-170..=135).flat_map(|e| [1.0, 1.1, 1.25, 1.5, 1.99].map(|m| m * 2f64.powi(e))).collect();
    values.extend([0.0, f64::MAX / 2.0, f64::MIN_POSITIVE, 5e-324]);
    values.extend(values.clone().iter().map(|value| -value));
    let mut board = TensorBoard::new(Vec::new());
    board.histogram("all", 0, &values);
    board.histogram("odd", 0, &[f64::NAN, 1.0, f64::INFINITY]);
    board.histogram::<f64>("none", 0, &[]);
    let run = read(&board.finish().unwrap());
    let Histogram { limits, counts, .. } = &run.histograms["all"][0].1;
    assert!(limits.is_sorted_by(|a, b| a < b));
    let mut below = f64::NEG_INFINITY;
    for (&limit, &count) in limits.iter().zip(counts) {
        assert_eq!(values.iter().filter(|&&value| below <= value && value < limit).count() as f64, count);
        // A bucket away from 0 and the ends is a quarter of an octave at most.
        let inner = count > 0.0 && below.is_finite() && limit < 2f64.powi(128) && below > -(2f64.powi(128));
        assert!(!inner || below * limit <= 0.0 || (0.79..=1.26).contains(&(limit / below)), "{below} to {limit}");
        below = limit;
    }
    assert_eq!(run.histograms["odd"][0].1.moments[2], 1.0);
    assert_eq!(run.scalars["non_finite/odd"], [(0, 2.0)]);
    assert!(!run.histograms.contains_key("none"));
}

/// A writer that holds so many bytes.
#[derive(Debug)]
struct Full(usize);

impl io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn line() -> Trainer<f64, Sequential<f64>, MeanSquaredError, Sgd> {
    let network = Sequential::<f64>::input(1).linear(1).build().unwrap();
    Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), TrainConfig::default()).unwrap()
}

const X: [f64; 3] = [0.0, 1.0, 2.0];

#[test]
fn failed_writer_costs_no_run() {
    let data = Dataset::rows(1, &X, Target::Values(&[1.0, 3.0, 5.0])).unwrap();
    let mut plain = line();
    let epochs = plain.fit(&data).unwrap();
    for room in [0, 100, 700] {
        let (mut board, mut trainer) = (TensorBoard::new(Full(room)), line());
        let monitor: &mut dyn GradientMonitor<f64> = &mut board;
        assert_eq!(trainer.fit_with(&data, FitOptions::new().monitor(monitor)).unwrap(), epochs);
        assert_eq!(trainer.parameters(), plain.parameters());
        let error = board.finish().unwrap_err();
        assert!(matches!(&error, Error::File { reason, .. } if reason.contains("storage")), "{error}");
    }
}

#[test]
fn files_of_one_folder_are_several() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("a/b");
    for value in [1.0, 2.0] {
        let mut board = TensorBoard::create(&run).unwrap();
        board.scalar("value", 1, value);
        board.finish().unwrap();
    }
    let files: Vec<_> = std::fs::read_dir(&run).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 2);
    let mut values: Vec<f32> =
        files.iter().map(|file| read(&std::fs::read(file).unwrap()).scalars["value"][0].1).collect();
    values.sort_by(f32::total_cmp);
    assert_eq!(values, [1.0, 2.0]);
    // A folder that is a file.
    let error = TensorBoard::create(&files[0]).unwrap_err();
    assert!(matches!(&error, Error::File { path, .. } if *path == files[0].display().to_string()), "{error}");
}

#[test]
fn callback_of_a_step_ends_the_run_and_the_epoch_is_begun_again() {
    let data = Dataset::rows(1, &X, Target::Values(&[1.0, 3.0, 5.0])).unwrap();
    let network = Sequential::<f64>::input(1).linear(1).build().unwrap();
    let settings = TrainConfig { batch_size: 1, epochs: 2, ..TrainConfig::default() };
    let chain = (ClipNorm::new(0.1), Sgd::new(0.1));
    let mut trainer = Trainer::new(network, MeanSquaredError::new(), chain, settings).unwrap();
    let (mut steps, mut board) = (Vec::<Step>::new(), Every(2, TensorBoard::new(Vec::new())));
    let mut on_step = |step: &Step| {
        steps.push(*step);
        if step.step == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let monitor: &mut dyn GradientMonitor<f64> = &mut board;
    let epochs = trainer.fit_with(&data, FitOptions::new().monitor(monitor).on_step(&mut on_step)).unwrap();
    assert_eq!((epochs.len(), epochs[0].samples, epochs[0].learning_rate), (1, 3, Some(0.1)));
    assert!(epochs[0].seconds.is_some_and(|seconds| seconds >= 0.0));
    assert_eq!(
        steps.iter().map(|step| (step.step, step.epoch, step.samples)).collect::<Vec<_>>(),
        [(1, 1, 1), (2, 1, 1), (3, 1, 1), (4, 2, 1)]
    );
    for step in &steps {
        let (norm, clipped) = (step.gradient_norm, step.clipped_norm.unwrap());
        assert!(step.applied && (clipped - norm.min(0.1)).abs() < 1e-15, "{norm} {clipped}");
    }
    // Monitored every second update, and at each epoch.
    let run = read(&board.monitor.finish().unwrap());
    assert_eq!(run.scalars["update/loss"].iter().map(|(step, _)| *step).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(run.scalars["epoch/loss"].len(), 1);
    // The second epoch from its start, then done.
    let rest = trainer.fit(&data).unwrap();
    assert_eq!((rest.len(), rest[0].epoch, rest[0].steps), (1, 2, 7));
}
