//! The loop, and checkpoints.

use super::{data::targets, entries, layers::json};
use crate::{
    Entry,
    case::{Case, Taste, ensure},
    liars::{LIES, Liar},
};
use chainrule::{
    Blocks, Error, Extent, Layer,
    checkpoint::Checkpoint,
    data::{Batch, Data},
    layer::{Linear, Sequential},
    loss::{BinaryCrossEntropy, CrossEntropy, Loss, MeanSquared, Target},
    monitor::Statistics,
    trainer::{Epoch, Evaluation, Observers, Settings, Trainer, shuffle},
    transform::{Adam, ClipNorm, GradientTransform, Guard, Plateau, RmsProp, Schedule, Sgd, WeightAverage},
};
use std::ops::ControlFlow;

type Network = Box<dyn Layer<f32>>;
type Chain = Box<dyn GradientTransform<f32>>;
type Run = Trainer<f32, Network, MeanSquared, Chain>;

/// A chain in the usual order, and whether it has a guard.
fn chain(c: &mut Case) -> (Chain, bool) {
    match c.below(7) {
        0 => (Box::new(Sgd::new(0.1)), false),
        1 => (Box::new(Adam::new(0.01)), false),
        2 => (Box::new((Guard::new(), ClipNorm::new(1.0), Adam::new(0.01))), true),
        3 => (Box::new((Adam::new(0.01), Schedule::cosine(10, 0.0), WeightAverage::new(0.9))), false),
        4 => (Box::new((RmsProp::new(0.01).momentum(0.9), Plateau::new(0.5, 1))), false),
        5 => (Box::new(Sgd::new(c.real())), false),
        _ => (Box::new(Sgd::new(0.01).momentum(0.9)), false),
    }
}

fn settings(c: &mut Case) -> Settings {
    let count = |c: &mut Case, right| if c.once_in(4) { c.size() } else { right };
    let epochs = if c.once_in(6) { 0 } else { 2 };
    Settings {
        batch: count(c, 2),
        accumulate: count(c, 1),
        epochs,
        seed: c.word(),
        shuffle: c.flag(),
        patience: c.once_in(4).then(|| c.few()),
        threads: if c.once_in(6) { c.size() } else { 1 },
    }
}

fn trainer(c: &mut Case) -> Result<Run, Error> {
    let network = c.legal(3, 2).build()?;
    let (chain, _) = chain(c);
    Trainer::for_steps(network, MeanSquared::new(), chain, Settings { batch: 2, epochs: 2, ..Settings::default() }, 2)
}

/// A trainer that two calls make alike.
fn fixed() -> Result<Trainer<f32, Sequential<f32>, MeanSquared, (Guard, Adam)>, Error> {
    let network = Sequential::input(3).linear(2).build()?;
    let settings = Settings { batch: 2, epochs: 1, ..Settings::default() };
    Trainer::new(network, MeanSquared::new(), (Guard::new(), Adam::new(0.01)), settings)
}

const X: [f32; 24] = [0.5; 24];

fn finite(run: &Run) -> bool {
    run.parameters().iter().all(|w| w.is_finite())
}

pub fn entries() -> Vec<Entry> {
    entries![
        10 ["trainer::Settings {}", "trainer::Trainer::new"] => |c| {
            let settings = settings(c);
            let network: Network = c.legal(3, 2).build()?;
            let ((chain, guarded), spare) = (chain(c), c.flag());
            let made = Trainer::new(network, MeanSquared::new(), chain, settings);
            ensure(made.is_err() || settings.batch > 0 && settings.accumulate > 0 && settings.threads > 0, || format!("{settings:?}"))?;
            let mut run: Run = made?;
            let _ = format!("{run:?}");
            let values = c.values::<f32>(16, Taste::Mild);
            let data = Data::rows(3, &X, Target::Values(&values))?;
            let observers = if spare { Observers::new().validation(&data) } else { Observers::new() };
            let epochs = run.fit_with(&data, observers)?;
            ensure(epochs.len() <= settings.epochs, || format!("{} epochs", epochs.len()))?;
            ensure(guarded || finite(&run), || "the weights are not finite, and there is no guard".into())?;
            ensure(epochs.iter().all(|epoch| epoch.loss.is_finite()), || format!("{epochs:?}"))
        };
        5 ["trainer::Trainer::for_steps"] => |c| {
            let (settings, steps) = (settings(c), c.size());
            let network: Network = c.legal(3, 2).build()?;
            let (chain, _) = chain(c);
            let made = Trainer::for_steps(network, MeanSquared::new(), chain, settings, steps);
            ensure(made.is_err() || steps > 0, || "0 steps".into())?;
            let mut run: Run = made?;
            let values = c.values::<f32>(8, Taste::Mild);
            let data = Data::sequences(3, 2, &X, Target::Values(&values))?;
            run.fit(&data)?;
            Ok(())
        };
        12 ["trainer::Trainer::fit", "trainer::Trainer::fit_with", "trainer::Observers::new", "trainer::Observers::monitor",
            "trainer::Observers::progress", "trainer::Observers::validation"] => |c| {
            let mut run = trainer(c)?;
            let (width, steps, samples) = (c.of(&[3_usize, 3, 3, 2]), c.of(&[1_usize, 2, 3]), c.few());
            let inputs: Vec<f32> = { let taste = if c.once_in(3) { Taste::Hostile } else { Taste::Mild }; c.values(width * steps * samples, taste) };
            let rows = if c.flag() { samples } else { samples * steps };
            let targets = targets(c, rows);
            let mut data = Data::sequences(width, steps, &inputs, targets.target())?;
            let weights: Vec<f32> = (0..samples).map(|_| if c.flag() { 0.0 } else { 1.0 }).collect();
            if c.once_in(4) { data = data.row_weights(&weights)?; }
            let stops = c.flag();
            let mut progress = |_: &Epoch| if stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            let mut seen = Statistics::new();
            let mut observers = Observers::new();
            if c.flag() { observers = observers.validation(&data); }
            if c.flag() { observers = observers.monitor(&mut seen); }
            if c.flag() { observers = observers.progress(&mut progress); }
            let epochs = run.fit_with(&data, observers)?;
            let _ = format!("{epochs:?}");
            ensure(finite(&run), || "the weights are not finite".into())?;
            ensure(epochs.iter().all(|epoch| epoch.loss.is_finite()), || format!("{epochs:?}"))
        };
        6 ["trainer::Trainer::evaluate", "trainer::Trainer::metric", "trainer::Trainer::predict"] => |c| {
            let network: Network = c.legal(3, 2).build()?;
            let mut run = Trainer::for_steps(network, CrossEntropy::new(), Sgd::new(0.1), Settings::default(), 2)?;
            let x: Vec<f32> = c.slice(12);
            let classes: Vec<usize> = (0..c.length(2)).map(|_| if c.once_in(4) { c.size() } else { c.below(2) }).collect();
            if c.flag() {
                let rows = c.rows();
                let y = run.predict(&x, rows.extent())?;
                return ensure(Some(y.len() as u128) <= rows.truth().map(|rows| rows * 2), || format!("{} outputs", y.len()));
            }
            let data = Data::sequences(3, 2, &x, Target::Classes(&classes))?;
            let value = c.real();
            run.metric(&data, |_, _, _| value)?;
            let evaluation = run.evaluate(&data)?;
            let small = x.iter().all(|x| x.abs() < 1e3);
            ensure(!small || evaluation.loss.is_finite(), || format!("{evaluation:?}"))
        };
        6 ["trainer::Trainer::step", "trainer::Trainer::set_epochs", "trainer::Trainer::block"] => |c| {
            let mut run = trainer(c)?;
            run.set_epochs(c.size());
            let name = c.text();
            let _ = run.block(&name).map(<[f32]>::len);
            let values = c.values::<f32>(16, Taste::Mild);
            let data = Data::sequences(3, 2, &X, Target::Values(&values[..8]))?;
            let mut batch = Batch::new(&data, if c.once_in(3) { c.size() } else { 2 });
            for _ in 0..2 {
                let samples: Vec<usize> = (0..c.few()).map(|_| if c.once_in(6) { c.size() } else { c.below(4) }).collect();
                let done = run.step(&data, &mut batch, &samples, &mut ());
                ensure(done.is_err() || !samples.is_empty() && samples.iter().all(|&sample| sample < 4), || format!("{samples:?}"))?;
            }
            if c.flag() { run.parameters_mut().fill(c.real() as f32); }
            run.step(&data, &mut batch, &[0, 1], &mut ())?;
            Ok(())
        };
        6 ["trainer::Trainer::averaged_parameters"] => |c| {
            // Losses whose targets have a range, and layers that lie.
            let lie = c.of(LIES);
            if lie.panics() { return Ok(()); }
            let mut network = Sequential::<f32>::input(3).linear(2).build()?;
            if c.flag() { network.push(Liar::new(2, lie, c))?; }
            let mut run = Trainer::new(network, BinaryCrossEntropy::new(), Sgd::new(0.1), Settings { batch: 2, epochs: 1, ..Settings::default() })?;
            let values = { let n = c.length(8); let taste = c.taste(); c.values::<f32>(n, taste) };
            let data = Data::rows(3, &X[..12], Target::Values(&values))?;
            let done = run.fit(&data);
            ensure(done.is_err() || values.iter().all(|t| (0.0..=1.0).contains(t)), || format!("targets {values:?}"))?;
            let _ = run.averaged_parameters().map(<[f32]>::len);
            done?;
            Ok(())
        };
        3 ["trainer::shuffle"] => |c| {
            let mut order: Vec<usize> = (0..c.few()).collect();
            let n = order.len();
            shuffle(&mut order, c.word(), c.word());
            order.sort_unstable();
            ensure(order.iter().copied().eq(0..n), || format!("{order:?}"))
        };
        4 ["trainer::Settings: Deserialize"] => |c| json::<Settings>(c, &Settings::default());
        3 ["trainer::Epoch: Deserialize", "trainer::Evaluation: Deserialize"] => |c| {
            let mut run = trainer(c)?;
            let values = c.values::<f32>(8, Taste::Mild);
            let data = Data::sequences(3, 2, &X, Target::Values(&values))?;
            let epochs = run.fit(&data)?;
            let Some(epoch) = epochs.first() else { return Ok(()) };
            let text = serde_json::to_string(epoch).unwrap_or_default();
            let number = if c.flag() { "1e308".into() } else { format!("{:e}", c.real()) };
            let text = text.replacen("\"loss\":", &format!("\"loss\":{number},\"was\":"), 1);
            if let Ok(read) = serde_json::from_str::<Epoch>(&text) { let _ = format!("{read:?}"); }
            json::<Epoch>(c, epoch)?;
            json::<Evaluation>(c, &run.evaluate(&data)?)
        };
        5 ["checkpoint::Checkpoint {}", "checkpoint::Checkpoint::save", "checkpoint::Checkpoint::load", "checkpoint::Checkpoint::slice", "checkpoint::Checkpoint::number"]
            panics "a slice or number that was not asked for" => |c| {
            let network = Linear::new(2, 2);
            let blocks = Blocks::collect(|visit| Layer::<f32>::blocks(&network, visit));
            let names = ["a", "best", "carried", "", "__metadata__", "weight", "bias", "optimizer.state", "chainrule"];
            let parameters: Vec<f32> = c.slice(6);
            let n = c.few();
            let slices = vec![(c.of(&names), c.slice::<f32>(n)), (c.of(&names), c.slice::<f32>(3))];
            let numbers = vec![(c.of(&names), c.word()), (c.of(&names), c.word())];
            let checkpoint = Checkpoint { parameters, slices, numbers };
            let folder = tempfile::tempdir().map_err(|error| crate::case::Fault::Refused(error.to_string()))?;
            let name = c.text().replace('\0', "0");
            let path = folder.path().join(if name.contains("..") || name.contains('/') { "x".into() } else { name });
            checkpoint.save(&blocks, &path)?;
            let (slices, numbers): (Vec<_>, Vec<_>) =
                (checkpoint.slices.iter().map(|s| s.0).collect(), checkpoint.numbers.iter().map(|n| n.0).collect());
            let read = Checkpoint::<f32>::load(&blocks, &slices, &numbers, &path);
            ensure(read.is_ok(), || format!("saved, but not to be read: {:?}", read.as_ref().err()))?;
            let read = read?;
            ensure(read.parameters.iter().map(|w| w.to_bits()).eq(checkpoint.parameters.iter().map(|w| w.to_bits())), || "other parameters".into())?;
            let _ = (read.slice(slices[0]).len(), read.number(numbers[0]));
            let _ = (read.slice("nothing").len(), read.number("nothing"));
            Ok(())
        };
        10 ["trainer::Trainer::save", "trainer::Trainer::load"] => |c| {
            let folder = tempfile::tempdir().map_err(|error| crate::case::Fault::Refused(error.to_string()))?;
            let path = folder.path().join("run");
            let mut run = fixed()?;
            let values = c.values::<f32>(16, Taste::Mild);
            let data = Data::rows(3, &X, Target::Values(&values))?;
            run.fit(&data)?;
            run.save(&path)?;
            let mut bytes = std::fs::read(&path).map_err(|error| crate::case::Fault::Wrong(error.to_string()))?;
            for _ in 0..1 + c.below(3) {
                let at = (c.next() % bytes.len() as u64) as usize;
                match c.below(4) {
                    0 => bytes[at] ^= 1 << c.below(8),
                    1 => bytes[at] = c.of(b"0179\x00\xff\"{}[],"),
                    2 => bytes.truncate(at + 1),
                    _ => { let n = c.few(); bytes.splice(at..at, vec![b'9'; n]); }
                }
            }
            std::fs::write(&path, bytes).map_err(|error| crate::case::Fault::Wrong(error.to_string()))?;
            let mut other = fixed()?;
            let before = other.parameters().to_vec();
            let done = other.load(&path);
            ensure(done.is_ok() || other.parameters() == before, || "an error changed the parameters".into())?;
            ensure(done.is_err() || other.parameters().iter().all(|w| w.is_finite()), || "parameters that are not finite".into())?;
            let _ = (other.fit(&data), other.optimizer().steps());
            Ok(done?)
        };
        4 ["trainer::Trainer::load"] => |c| {
            let folder = tempfile::tempdir().map_err(|error| crate::case::Fault::Refused(error.to_string()))?;
            let path = folder.path().join("run");
            let settings = Settings { batch: 2, epochs: 1, ..Settings::default() };
            let network = || Sequential::<f32>::input(3).linear(2).build();
            let make = |kind: usize| -> Result<Trainer<f32, Sequential<f32>, MeanSquared, Chain>, Error> {
                let chain: Chain = match kind {
                    0 => Box::new(Adam::new(0.01)),
                    1 => Box::new(RmsProp::new(0.01).momentum(0.9)),
                    2 => Box::new((Adam::new(0.01), Schedule::constant(1.0))),
                    3 => Box::new(Sgd::new(0.1)),
                    _ => Box::new((Guard::new(), Adam::new(0.01))),
                };
                Trainer::new(network()?, MeanSquared::new(), chain, settings)
            };
            let (one, two) = (c.below(5), c.below(5));
            make(one)?.save(&path)?;
            let done = make(two)?.load(&path);
            ensure(done.is_err() || one == two, || format!("the state of chain {one} is taken by chain {two}"))?;
            Ok(done?)
        };
    ]
}

const _: fn(&dyn Loss<f32>, Extent<'_>) = |_, _| {};
