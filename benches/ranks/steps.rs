//! Steps on 1, 2 and 4 ranks of this machine, one thread each, beside the model of docs/scale.md.

use crate::{messages, on_ranks};
use chainrule::{
    Error, GradientMonitor,
    activation::Relu,
    dataset::{Batch, Dataset},
    distributed::DataParallel,
    layer::Sequential,
    loss::{MeanSquaredError, Target},
    recurrent::Lstm,
    trainer::{TrainConfig, Trainer},
    transform::Sgd,
};
use std::{
    num::NonZero,
    thread,
    time::{Duration, Instant},
};

/// A monitor that only sleeps at the beginning of each pass.
struct Slow(Duration);

impl GradientMonitor<f32> for Slow {
    fn is_active(&self) -> bool {
        false
    }

    fn begin_pass(&mut self) {
        thread::sleep(self.0);
    }
}

struct Workload {
    name: &'static str,
    network: fn() -> Result<Sequential<f32>, Error>,
    steps: usize,
    width: usize,
    batch: usize,
}

const WORKLOADS: [Workload; 2] = [
    Workload {
        name: "784-512-512-10, batch 128",
        network: || {
            let builder = Sequential::input(784).linear(512).activation(Relu).linear(512).activation(Relu);
            builder.linear(10).build()
        },
        steps: 1,
        width: 784,
        batch: 128,
    },
    Workload {
        name: "LSTM 256-512, 64 steps, batch 64",
        network: || Sequential::input(256).recurrent(512, Lstm::new()).last_step().linear(10).build(),
        steps: 64,
        width: 256,
        batch: 64,
    },
];

impl Workload {
    /// The median seconds of a step from `batch` samples, on a rank or without ranks.
    fn step(&self, batch: usize, rank: Option<DataParallel<f32>>, sleep: Duration) -> Result<f64, Error> {
        let value = |i: usize| (i * 7919 % 1000) as f32 / 1000.0 - 0.5;
        let x: Vec<f32> = (0..batch * self.steps * self.width).map(value).collect();
        let data = Dataset::sequences(self.width, self.steps, &x, Target::Values(&x[..batch * 10]))?;
        let settings = TrainConfig { batch_size: batch, ..TrainConfig::default() };
        let mut trainer = Trainer::new((self.network)()?, MeanSquaredError::new(), Sgd::new(0.01), settings)?;
        if let Some(rank) = rank {
            trainer.set_data_parallel(rank)?;
        }
        let (mut batch, samples) = (Batch::new(&data, batch), (0..batch).collect::<Vec<_>>());
        let mut times = Vec::new();
        // All ranks make the same number of steps.
        for _ in 0..40 {
            let start = Instant::now();
            trainer.step(&data, &mut batch, &samples, &mut Slow(sleep))?;
            times.push(start.elapsed().as_secs_f64());
        }
        let times = &mut times[5..];
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    }
}

/// Prints the table of docs/scale.md.
pub fn compare() -> Result<(), Error> {
    let wire = on_ranks(2, |rank| messages::measure(&rank))?;
    let cores = thread::available_parallelism().map_or(1, NonZero::get) as f64;
    println!("| network | ranks | model, ms | measured, ms |\n| --- | --- | --- | --- |");
    for workload in WORKLOADS {
        let Workload { name, network, batch, .. } = &workload;
        let values = chainrule::layer::Layer::<f32>::dims(&network()?).parameters as f64;
        for ranks in [1, 2, 4] {
            let p = ranks as f64;
            // More ranks than cores share them.
            let pass = workload.step(batch / ranks, None, Duration::ZERO)? * (p / cores).max(1.0);
            let sum = 2.0 * p.log2() * wire.alpha + 2.0 * (p - 1.0) / p * values * wire.beta;
            let on = |slow: Duration| {
                on_ranks(ranks, |rank| {
                    let sleep = if chainrule::distributed::Communicator::<f32>::rank(&rank) == 1 {
                        slow
                    } else {
                        Duration::ZERO
                    };
                    workload.step(*batch, Some(DataParallel::new(rank)), sleep)
                })
            };
            println!("| {name} | {ranks} | {:.2} | {:.2} |", 1e3 * (pass + sum), 1e3 * on(Duration::ZERO)?);
            if ranks == 2 {
                let slow = 1e3 * (2.0 * pass + sum);
                println!(
                    "| the same, rank 1 sleeps a pass | 2 | {slow:.2} | {:.2} |",
                    1e3 * on(Duration::from_secs_f64(pass))?
                );
            }
        }
    }
    Ok(())
}
