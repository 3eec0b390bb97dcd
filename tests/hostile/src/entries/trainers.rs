//! The loop, and checkpoints.

use super::{data::targets, entry, layers::json};
use crate::{
    Entry,
    case::{Case, Fault, Taste, ensure},
    liars::{LIES, Liar},
};
use chainrule::{
    BatchShape, Error, Layer,
    checkpoint::{Checkpoint, Values},
    dataset::{Batch, Dataset},
    distributed::{Communicator, DataParallel, Local},
    layer::{Linear, Sequential},
    loss::{BinaryCrossEntropy, CrossEntropy, Loss, MeanSquaredError, Target},
    monitor::Statistics,
    random::shuffle,
    recurrent::Gru,
    trainer::{Communication, Epoch, Evaluation, FitOptions, Spike, Step, TrainConfig, Trainer, Truncation},
    transform::{
        Adam, ClipNorm, GradientTransform, ReduceOnPlateau, RmsProp, Schedule, Sgd, SkipNonFinite, WeightAverage,
    },
};
use std::{ops::ControlFlow, time::Duration};

type Network = Box<dyn Layer<f32>>;
type Chain = Box<dyn GradientTransform<f32>>;
type Run = Trainer<f32, Network, MeanSquaredError, Chain>;

/// A chain in the usual order, and whether it has a guard.
fn chain(c: &mut Case) -> (Chain, bool) {
    match c.below(7) {
        0 => (Box::new(Sgd::new(0.1)), false),
        1 => (Box::new(Adam::new(0.01)), false),
        2 => (Box::new((SkipNonFinite::new(), ClipNorm::new(1.0), Adam::new(0.01))), true),
        3 => (Box::new((Adam::new(0.01), Schedule::cosine(10, 0.0), WeightAverage::new(0.9))), false),
        4 => (Box::new((RmsProp::new(0.01).momentum(0.9), ReduceOnPlateau::new(0.5, 1))), false),
        5 => (Box::new(Sgd::new(c.real())), false),
        _ => (Box::new(Sgd::new(0.01).momentum(0.9)), false),
    }
}

fn truncation(c: &mut Case) -> Truncation {
    let window = if c.once_in(4) { c.size() } else { c.few() };
    let truncation = Truncation::new(window);
    if c.flag() { truncation } else { truncation.without_carry() }
}

fn settings(c: &mut Case) -> TrainConfig {
    let count = |c: &mut Case, right| if c.once_in(4) { c.size() } else { right };
    let epochs = if c.once_in(6) { 0 } else { 2 };
    TrainConfig {
        batch_size: count(c, 2),
        accumulation_steps: count(c, 1),
        epochs,
        seed: c.word(),
        shuffle: c.flag(),
        shuffle_block: c.once_in(3).then(|| if c.flag() { c.size() } else { c.few() }),
        patience: c.once_in(4).then(|| c.few()),
        min_delta: if c.once_in(4) { c.real() } else { 0.0 },
        truncation: c.once_in(3).then(|| truncation(c)),
        threads: if c.once_in(6) { c.size() } else { 1 },
    }
}

fn trainer(c: &mut Case) -> Result<Run, Error> {
    let network = c.legal(3, 2).build()?;
    let (chain, _) = chain(c);
    Trainer::new(
        network,
        MeanSquaredError::new(),
        chain,
        TrainConfig { batch_size: 2, epochs: 2, ..TrainConfig::default() },
    )
}

/// A trainer that two calls make alike.
fn fixed() -> Result<Trainer<f32, Sequential<f32>, MeanSquaredError, (SkipNonFinite, Adam)>, Error> {
    let network = Sequential::input(3).linear(2).build()?;
    let settings = TrainConfig { batch_size: 2, epochs: 1, ..TrainConfig::default() };
    Trainer::new(network, MeanSquaredError::new(), (SkipNonFinite::new(), Adam::new(0.01)), settings)
}

fn folder() -> Result<tempfile::TempDir, Fault> {
    tempfile::tempdir().map_err(|error| Fault::Refused(error.to_string()))
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

const X: [f32; 24] = [0.5; 24];

fn finite(run: &Run) -> bool {
    run.parameters().iter().all(|w| w.is_finite())
}

pub fn entries() -> Vec<Entry> {
    vec![
        entry(10, &["trainer::TrainConfig {}", "trainer::Trainer::new"], &[], |c| {
            let settings = settings(c);
            let network: Network = c.legal(3, 2).build()?;
            let ((chain, guarded), spare) = (chain(c), c.flag());
            let made = Trainer::new(network, MeanSquaredError::new(), chain, settings);
            ensure(
                made.is_err() || settings.batch_size > 0 && settings.accumulation_steps > 0 && settings.threads > 0,
                || format!("{settings:?}"),
            )?;
            let mut run: Run = made?;
            let _ = format!("{run:?}");
            let values = c.values::<f32>(16, Taste::Mild);
            let data = Dataset::rows(3, &X, Target::Values(&values))?;
            let observers = if spare { FitOptions::new().validation(&data) } else { FitOptions::new() };
            let epochs = run.fit_with(&data, observers)?;
            ensure(epochs.len() <= settings.epochs, || format!("{} epochs", epochs.len()))?;
            ensure(guarded || finite(&run), || "the weights are not finite, and there is no guard".into())?;
            ensure(epochs.iter().all(|epoch| epoch.loss.is_finite()), || format!("{epochs:?}"))
        }),
        entry(
            12,
            &[
                "trainer::Trainer::fit",
                "trainer::Trainer::fit_with",
                "trainer::FitOptions::new",
                "trainer::FitOptions::monitor",
                "trainer::FitOptions::on_epoch",
                "trainer::FitOptions::validation",
            ],
            &[],
            |c| {
                let mut run = trainer(c)?;
                let (width, steps, samples) = (c.of(&[3_usize, 3, 3, 2]), c.of(&[1_usize, 2, 3]), c.few());
                let inputs: Vec<f32> = {
                    let taste = if c.once_in(3) { Taste::Hostile } else { Taste::Mild };
                    c.values(width * steps * samples, taste)
                };
                let rows = if c.flag() { samples } else { samples * steps };
                let targets = targets(c, rows);
                let mut data = Dataset::sequences(width, steps, &inputs, targets.target())?;
                let weights: Vec<f32> = (0..samples).map(|_| if c.flag() { 0.0 } else { 1.0 }).collect();
                if c.once_in(4) {
                    data = data.row_weights(&weights)?;
                }
                let stops = c.flag();
                let mut progress = |_: &Epoch| if stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
                let mut seen = Statistics::new();
                let mut observers = FitOptions::new();
                if c.flag() {
                    observers = observers.validation(&data);
                }
                if c.flag() {
                    observers = observers.monitor(&mut seen);
                }
                if c.flag() {
                    observers = observers.on_epoch(&mut progress);
                }
                let epochs = run.fit_with(&data, observers)?;
                let _ = format!("{epochs:?}");
                ensure(finite(&run), || "the weights are not finite".into())?;
                ensure(epochs.iter().all(|epoch| epoch.loss.is_finite()), || format!("{epochs:?}"))
            },
        ),
        entry(
            6,
            &[
                "trainer::Trainer::evaluate",
                "trainer::Trainer::metric",
                "trainer::Trainer::predict",
                "trainer::Trainer::predict_into",
            ],
            &[],
            |c| {
                let network: Network = c.legal(3, 2).build()?;
                let mut run = Trainer::new(network, CrossEntropy::new(), Sgd::new(0.1), TrainConfig::default())?;
                let x: Vec<f32> = c.slice(12);
                let classes: Vec<usize> =
                    (0..c.length(2)).map(|_| if c.once_in(4) { c.size() } else { c.below(2) }).collect();
                if c.flag() {
                    let data = Dataset::sequences(c.width(), c.width(), &x, None)?;
                    let y = run.predict(&data)?;
                    let mut again = vec![0.0; c.length(y.len())];
                    let done = run.predict_into(&data, &mut again);
                    let rows = data.samples() * data.steps();
                    ensure(y.len() == rows * 2 || y.len() == data.samples() * 2, || format!("{} outputs", y.len()))?;
                    return ensure(
                        done.is_err() || y.iter().zip(&again).all(|(a, b)| a.to_bits() == b.to_bits()),
                        || format!("{y:?} {again:?}"),
                    );
                }
                let data = Dataset::sequences(3, 2, &x, Target::Classes(&classes))?;
                let value = c.real();
                run.metric(&data, |_, _, _| value)?;
                let evaluation = run.evaluate(&data)?;
                let small = x.iter().all(|x| x.abs() < 1e3);
                ensure(!small || evaluation.loss.is_finite(), || format!("{evaluation:?}"))
            },
        ),
        entry(2, &["trainer::Trainer::set_learning_rate"], &[], |c| {
            let (mut run, rate) = (trainer(c)?, c.real());
            let set = run.set_learning_rate(rate);
            ensure(set.is_err() || rate >= 0.0 && rate.is_finite(), || format!("a rate of {rate} is accepted"))?;
            let values = c.values::<f32>(16, Taste::Mild);
            let data = Dataset::sequences(3, 2, &X, Target::Values(&values[..8]))?;
            run.step(&data, &mut Batch::new(&data, 2), &[0, 1], &mut ())?;
            Ok(set?)
        }),
        entry(6, &["trainer::Trainer::step", "trainer::Trainer::set_epochs"], &[], |c| {
            let mut run = trainer(c)?;
            run.set_epochs(c.size());
            let name = c.text();
            let _ = run.block(&name).map(<[f32]>::len);
            let values = c.values::<f32>(16, Taste::Mild);
            let data = Dataset::sequences(3, 2, &X, Target::Values(&values[..8]))?;
            let mut batch = Batch::new(&data, if c.once_in(3) { c.size() } else { 2 });
            for _ in 0..2 {
                let samples: Vec<usize> =
                    (0..c.few()).map(|_| if c.once_in(6) { c.size() } else { c.below(4) }).collect();
                let done = run.step(&data, &mut batch, &samples, &mut ());
                ensure(done.is_err() || !samples.is_empty() && samples.iter().all(|&sample| sample < 4), || {
                    format!("{samples:?}")
                })?;
            }
            if c.flag() {
                run.parameters_mut().fill(c.real() as f32);
            }
            run.step(&data, &mut batch, &[0, 1], &mut ())?;
            Ok(())
        }),
        entry(
            6,
            &[
                "distributed::Local::new",
                "distributed::Local::deadline",
                "distributed::Communicator::exchange",
                "distributed::Communicator::broadcast",
                "distributed::DataParallel::new",
                "distributed::DataParallel::shards",
                "trainer::Trainer::set_data_parallel",
            ],
            &[],
            |c| {
                let (size, deadline) = (c.few(), Duration::from_millis(c.below(3) as u64));
                let group = Local::<f32>::new(size)?;
                ensure(size == group.len(), || format!("{} ranks of {size}", group.len()))?;
                let kept = if c.flag() { 1 } else { size };
                let mut ranks: Vec<Local<f32>> =
                    group.into_iter().map(|rank| rank.deadline(deadline)).take(kept).collect();
                let first = ranks.swap_remove(0);
                // The others never answer, or have ended.
                let (peer, values) = (c.size(), c.values::<f32>(3, Taste::Hostile));
                let answered = first.exchange(peer, &values, &mut [0.0; 3]).is_ok();
                ensure(!answered, || format!("an answer of rank {peer}"))?;
                let told = first.broadcast(peer, &mut [0.0; 3]).is_ok();
                ensure(!told || size == 1 && peer == 0, || format!("a broadcast of rank {peer} of {size}"))?;
                let mut run = trainer(c)?;
                let shards = c.size();
                let parallel = DataParallel::new(first).shards(shards);
                run.set_data_parallel(if c.flag() { parallel.overlap() } else { parallel })?;
                ensure(shards.is_power_of_two() && shards >= size, || format!("{shards} shards, {size} ranks"))?;
                let values = c.values::<f32>(16, Taste::Mild);
                let trained = run.fit(&Dataset::rows(3, &X, Target::Values(&values))?);
                ensure(trained.is_err() || size == 1, || format!("{size} ranks trained alone"))?;
                trained.map(drop)?;
                ensure(finite(&run), || "the weights are not finite".into())
            },
        ),
        entry(6, &["trainer::Trainer::averaged_parameters"], &[], |c| {
            // Losses whose targets have a range, and layers that lie.
            let lie = c.of(LIES);
            if lie.panics() {
                return Ok(());
            }
            let mut network = Sequential::<f32>::input(3).linear(2).build()?;
            if c.flag() {
                network.push(Liar::new(2, lie, c))?;
            }
            let mut run = Trainer::new(
                network,
                BinaryCrossEntropy::new(),
                Sgd::new(0.1),
                TrainConfig { batch_size: 2, epochs: 1, ..TrainConfig::default() },
            )?;
            let values = {
                let n = c.length(8);
                let taste = c.taste();
                c.values::<f32>(n, taste)
            };
            let data = Dataset::rows(3, &X[..12], Target::Values(&values))?;
            let done = run.fit(&data);
            ensure(done.is_err() || values.iter().all(|t| (0.0..=1.0).contains(t)), || format!("targets {values:?}"))?;
            let _ = run.averaged_parameters().map(<[f32]>::len);
            done?;
            Ok(())
        }),
        entry(3, &["random::shuffle"], &[], |c| {
            let mut order: Vec<usize> = (0..c.few()).collect();
            let n = order.len();
            shuffle(&mut order, c.word(), c.word());
            order.sort_unstable();
            ensure(order.iter().copied().eq(0..n), || format!("{order:?}"))
        }),
        entry(1, &["trainer::Communication: Deserialize", "trainer::Spike: Deserialize"], &[], |c| {
            json(c, &Communication::default())?;
            json(c, &Spike::default())
        }),
        entry(2, &["trainer::FitOptions::on_step", "trainer::Step: Deserialize"], &[], |c| {
            let mut run = trainer(c)?;
            let values = c.values::<f32>(8, Taste::Mild);
            let data = Dataset::sequences(3, 2, &X, Target::Values(&values))?;
            let (stops, mut steps) = (c.word() % 5, Vec::new());
            let mut on_step = |step: &Step| {
                steps.push(*step);
                if step.step > stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            run.fit_with(&data, FitOptions::new().on_step(&mut on_step))?;
            let Some(step) = steps.last() else { return Ok(()) };
            json::<Step>(c, step)
        }),
        entry(6, &["trainer::Truncation {}", "trainer::Truncation::new"], &[], |c| {
            let (width, hidden) = (c.few().max(1), c.few().max(1));
            let network = match c.below(4) {
                0 => Sequential::input(width).lstm(hidden).last_step().build()?,
                1 => Sequential::input(width).bidirectional(hidden, Gru::new()).linear(1).build()?,
                _ => Sequential::input(width).lstm(hidden).dropout(0.5).gru(hidden).linear(1).build()?,
            };
            let truncation = truncation(c);
            let settings = TrainConfig { batch_size: 2, epochs: 1, truncation: Some(truncation), ..settings(c) };
            let chain = (SkipNonFinite::new(), Adam::new(0.01));
            let mut run = Trainer::new(network, MeanSquaredError::new(), chain, settings)?;
            ensure(truncation.window > 0, || "a window of 0 steps".into())?;
            let lengths: Vec<usize> = (0..3).map(|_| c.few().max(1)).collect();
            let rows = lengths.iter().sum::<usize>();
            let (x, y) = (c.values::<f32>(rows * width, Taste::Mild), c.values::<f32>(rows, Taste::Mild));
            let data = Dataset::ragged(width, &lengths, &x, Target::Values(&y))?;
            let epochs = run.fit(&data)?;
            let _ = (run.evaluate(&data)?, run.predict(&data)?);
            ensure(run.workspace().state().is_empty(), || "a state after the run".into())?;
            ensure(epochs.iter().all(|epoch| epoch.loss.is_finite()), || format!("{epochs:?}"))
        }),
        entry(4, &["trainer::TrainConfig: Deserialize", "trainer::Truncation: Deserialize"], &[], |c| {
            let truncation = Some(Truncation::new(c.few()));
            json::<TrainConfig>(c, &TrainConfig { truncation, ..TrainConfig::default() })
        }),
        entry(3, &["trainer::Epoch: Deserialize", "trainer::Evaluation: Deserialize"], &[], |c| {
            let mut run = trainer(c)?;
            let values = c.values::<f32>(8, Taste::Mild);
            let data = Dataset::sequences(3, 2, &X, Target::Values(&values))?;
            let epochs = run.fit(&data)?;
            let Some(epoch) = epochs.first() else { return Ok(()) };
            let text = serde_json::to_string(epoch).unwrap_or_default();
            let number = if c.flag() { "1e308".into() } else { format!("{:e}", c.real()) };
            let text = text.replacen("\"loss\":", &format!("\"loss\":{number},\"was\":"), 1);
            if let Ok(read) = serde_json::from_str::<Epoch>(&text) {
                let _ = format!("{read:?}");
            }
            json::<Epoch>(c, epoch)?;
            json::<Evaluation>(c, &run.evaluate(&data)?)
        }),
        entry(
            6,
            &[
                "checkpoint::Checkpoint::new",
                "checkpoint::Checkpoint::save",
                "checkpoint::Checkpoint::load",
                "checkpoint::Checkpoint::to_bytes",
                "checkpoint::Checkpoint::from_bytes",
            ],
            &[],
            |c| {
                let network = Linear::new(2, 2);
                let names = [
                    "a",
                    "best",
                    "carried",
                    "",
                    "__metadata__",
                    "weight",
                    "bias",
                    "optimizer.state",
                    "chainrule",
                    "a/b",
                    "ä",
                ];
                let mut checkpoint = Checkpoint::new(c.slice::<f32>(6));
                for _ in 0..c.few() {
                    let n = c.few();
                    checkpoint.slices.insert(c.of(&names).to_string(), c.slice::<f32>(n));
                    checkpoint.numbers.insert(c.of(&names).to_string(), c.word());
                }
                checkpoint.values = c.of(&[Values::Finite, Values::Any]);
                let values = c.of(&[Values::Finite, Values::Any]);
                let folder = folder()?;
                let name = c.text().replace('\0', "0");
                let path =
                    folder.path().join(if name.contains("..") || name.contains('/') { "x".into() } else { name });
                let read = if c.flag() {
                    checkpoint.save(&network, &path)?;
                    Checkpoint::<f32>::load(&network, &path, values)
                } else {
                    let bytes = checkpoint.to_bytes(&network)?;
                    Checkpoint::<f32>::from_bytes(&network, &bytes, values)
                };
                let finite = checkpoint.parameters.iter().all(|w| w.is_finite())
                    && checkpoint.slices.values().flatten().all(|x| x.is_finite());
                ensure(read.is_ok() || values == Values::Finite && !finite, || {
                    format!("saved, but not to be read: {:?}", read.as_ref().err())
                })?;
                let read = read?;
                ensure(bits(&read.parameters) == bits(&checkpoint.parameters), || "other parameters".into())?;
                ensure(read.numbers == checkpoint.numbers, || "other numbers".into())?;
                let same = read
                    .slices
                    .iter()
                    .map(|(name, x)| (name, bits(x)))
                    .eq(checkpoint.slices.iter().map(|(name, x)| (name, bits(x))));
                ensure(same, || "other slices".into())
            },
        ),
        entry(
            10,
            &["trainer::Trainer::save", "trainer::Trainer::load_bytes", "trainer::Trainer::load_parameters"],
            &[],
            |c| {
                let folder = folder()?;
                let path = folder.path().join("run");
                let mut run = fixed()?;
                let values = c.values::<f32>(16, Taste::Mild);
                let data = Dataset::rows(3, &X, Target::Values(&values))?;
                run.fit(&data)?;
                run.save(&path)?;
                let mut bytes = std::fs::read(&path).map_err(|error| Fault::Wrong(error.to_string()))?;
                for _ in 0..1 + c.below(3) {
                    let at = (c.next() % bytes.len() as u64) as usize;
                    match c.below(4) {
                        0 => bytes[at] ^= 1 << c.below(8),
                        1 => bytes[at] = c.of(b"0179\x00\xff\"{}[],"),
                        2 => bytes.truncate(at + 1),
                        _ => {
                            let n = c.few();
                            bytes.splice(at..at, vec![b'9'; n]);
                        }
                    }
                }
                std::fs::write(&path, bytes).map_err(|error| Fault::Wrong(error.to_string()))?;
                let mut other = fixed()?;
                let before = other.parameters().to_vec();
                let done = match c.below(3) {
                    0 => other.load(&path),
                    1 => other.load_bytes(&std::fs::read(&path).unwrap_or_default()),
                    _ => other.load_parameters(&path),
                };
                ensure(done.is_ok() || other.parameters() == before, || "an error changed the parameters".into())?;
                ensure(done.is_err() || other.parameters().iter().all(|w| w.is_finite()), || {
                    "parameters that are not finite".into()
                })?;
                let _ = (other.fit(&data), other.optimizer().steps());
                let _ = done?;
                Ok(())
            },
        ),
        entry(4, &["trainer::Trainer::load"], &[], |c| {
            let folder = folder()?;
            let path = folder.path().join("run");
            let settings = TrainConfig { batch_size: 2, epochs: 1, ..TrainConfig::default() };
            let network = || Sequential::<f32>::input(3).linear(2).build();
            let make = |kind: usize| -> Result<Trainer<f32, Sequential<f32>, MeanSquaredError, Chain>, Error> {
                let chain: Chain = match kind {
                    0 => Box::new(Adam::new(0.01)),
                    1 => Box::new(RmsProp::new(0.01).momentum(0.9)),
                    2 => Box::new((Adam::new(0.01), Schedule::constant(1.0))),
                    3 => Box::new(Sgd::new(0.1)),
                    _ => Box::new((SkipNonFinite::new(), Adam::new(0.01))),
                };
                Trainer::new(network()?, MeanSquaredError::new(), chain, settings)
            };
            let (one, two) = (c.below(5), c.below(5));
            make(one)?.save(&path)?;
            let done = make(two)?.load(&path);
            // Chains 0 and 2 differ in a member, 0 and 4 in another.
            ensure(done.is_err() || one == two, || format!("the state of chain {one} is taken by chain {two}"))?;
            let _ = done?;
            Ok(())
        }),
        entry(4, &["trainer::Trainer::restore", "trainer::Trainer::restore_parameters"], &[], |c| {
            let mut run = fixed()?;
            let mut checkpoint = run.checkpoint();
            if c.flag() {
                checkpoint.parameters = c.slice(8);
            }
            let (names, numbers): (Vec<String>, Vec<String>) =
                (checkpoint.slices.keys().cloned().collect(), checkpoint.numbers.keys().cloned().collect());
            if c.flag() && !names.is_empty() {
                let n = c.few() * 8;
                checkpoint.slices.insert(c.of(&names), c.slice(n));
            }
            if c.flag() && !numbers.is_empty() {
                checkpoint.numbers.insert(c.of(&numbers), c.word());
            }
            if c.once_in(4) && !numbers.is_empty() {
                checkpoint.numbers.remove(&c.of(&numbers));
            }
            let before = run.parameters().to_vec();
            if c.once_in(4) {
                // The state of another network, with as many parameters.
                let other = Sequential::input(3).linear(2).tanh().build()?;
                let chain = (SkipNonFinite::new(), Adam::new(0.01));
                checkpoint = Trainer::new(other, MeanSquaredError::new(), chain, *run.settings())?.checkpoint();
                let done = if c.flag() { run.restore(&checkpoint) } else { run.restore_parameters(&checkpoint) };
                return ensure(done.is_err(), || "the state of another network".into());
            }
            let done = if c.flag() { run.restore(&checkpoint) } else { run.restore_parameters(&checkpoint) };
            ensure(done.is_ok() || run.parameters() == before, || "an error changed the parameters".into())?;
            ensure(run.parameters().iter().all(|w| w.is_finite()), || "parameters that are not finite".into())?;
            let values = c.values::<f32>(16, Taste::Mild);
            let data = Dataset::rows(3, &X, Target::Values(&values))?;
            let _ = run.fit(&data);
            let _ = done?;
            Ok(())
        }),
    ]
}

const _: fn(&dyn Loss<f32>, BatchShape<'_>) = |_, _| {};
