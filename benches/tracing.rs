//! The cost of spans and events: a fit of a small network with subscribers of several levels, in paired ratios.
//!
//! `cargo bench --features tracing --bench tracing` prints, for each subscriber, the median and the quartiles of a
//! ratio over 15 rounds: the time of the fit with it over the time without, in the same round. Without the feature it
//! prints the time of an update alone, to compare both builds.

use chainrule::{
    Error,
    dataset::Dataset,
    layer::Sequential,
    loss::{MeanSquaredError, Target},
    trainer::{TrainConfig, Trainer},
    transform::Adam,
};
use std::time::Instant;

const SAMPLES: usize = 64_000;
const BATCH: usize = 32;
const ROUNDS: usize = 15;

/// Takes spans and events up to a level, and does nothing with them.
#[cfg(feature = "tracing")]
struct UpTo(Option<tracing::Level>);

#[cfg(feature = "tracing")]
impl tracing::Subscriber for UpTo {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        self.0.is_some_and(|level| *metadata.level() <= level)
    }
    fn new_span(&self, _span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _span: &tracing::span::Id, _values: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _span: &tracing::span::Id, _follows: &tracing::span::Id) {}
    fn event(&self, _event: &tracing::Event<'_>) {}
    fn enter(&self, _span: &tracing::span::Id) {}
    fn exit(&self, _span: &tracing::span::Id) {}
}

fn main() -> Result<(), Error> {
    let network = Sequential::<f32>::input(8).linear(16).tanh().linear(1).build()?;
    let x: Vec<f32> = (0..SAMPLES * 8).map(|i| ((i * 7919) % 1000) as f32 / 1000.0).collect();
    let data = Dataset::rows(8, &x, Target::Values(&x[..SAMPLES]))?;
    let settings = TrainConfig { batch_size: BATCH, epochs: 1, ..TrainConfig::default() };
    let mut trainer = Trainer::new(&network, MeanSquaredError::new(), Adam::new(1e-3), settings)?;
    let mut fit = || -> Result<f64, Error> {
        let start = Instant::now();
        trainer.fit(&data)?;
        Ok(start.elapsed().as_secs_f64() * 1e6 / (SAMPLES / BATCH) as f64)
    };
    #[cfg(feature = "tracing")]
    let levels = [None, Some(tracing::Level::INFO), Some(tracing::Level::DEBUG)];
    #[cfg(not(feature = "tracing"))]
    let levels = [(); 0];
    let mut times = vec![Vec::new(); levels.len() + 2];
    for round in 0..=ROUNDS {
        let mut row = vec![fit()?, fit()?];
        #[cfg(feature = "tracing")]
        for level in levels {
            row.push(tracing::subscriber::with_default(UpTo(level), &mut fit)?);
        }
        // The first round warms up.
        if round > 0 {
            times.iter_mut().zip(row).for_each(|(times, time)| times.push(time));
        }
    }
    let plain = times[0].clone();
    let middle = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        [values[ROUNDS / 2], values[ROUNDS / 4], values[3 * ROUNDS / 4]]
    };
    println!("{:<22} {:.3} µs an update", "no subscriber", middle(plain.clone())[0]);
    for (name, times) in ["no subscriber, again", "off", "INFO", "DEBUG"].iter().zip(&times[1..]) {
        let [median, low, high] = middle(times.iter().zip(&plain).map(|(time, plain)| time / plain).collect());
        println!("{name:<22} {median:.3}  [{low:.3}, {high:.3}]");
    }
    Ok(())
}
