//! Steps on 1, 2 and 4 ranks of this machine, one thread each, beside the model of docs/scale.md.

use crate::messages::Wire;
use chainrule::{
    Error, GradientMonitor,
    activation::Relu,
    dataset::{Batch, Dataset},
    distributed::DataParallel,
    layer::Sequential,
    loss::{MeanSquaredError, Target},
    recurrent::Lstm,
    trainer::{TrainConfig, Trainer},
    transform::{ClipNorm, Sgd},
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

pub struct Workload {
    pub name: &'static str,
    pub network: fn() -> Result<Sequential<f32>, Error>,
    pub steps: usize,
    pub width: usize,
    pub batch: usize,
}

pub const WORKLOADS: [Workload; 2] = [
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
    // The same step as in mpi/beside_torch.py.
    Workload {
        name: "LSTM 256-512, 64 steps, batch 64",
        network: || Sequential::input(256).recurrent(512, Lstm::new()).last_step().linear(10).build(),
        steps: 64,
        width: 256,
        batch: 64,
    },
];

/// The workload W4 of the bench train_step.
#[allow(dead_code, reason = "mpi/examples/ranks.rs has no use for it")]
pub const SMALLER_LSTM: Workload = Workload {
    name: "LSTM 64-128, 100 steps, batch 32",
    network: || Sequential::input(64).recurrent(128, Lstm::new()).last_step().linear(10).build(),
    steps: 100,
    width: 64,
    batch: 32,
};

/// Makes one update, and returns its loss.
pub type Update<'a> = dyn FnMut() -> Result<f64, Error> + 'a;

impl Workload {
    /// Calls `run` with a function that makes an update from `batch` samples, on a rank or without ranks.
    pub fn with_update<R>(
        &self,
        batch: usize,
        rank: Option<DataParallel<f32>>,
        sleep: Duration,
        run: impl FnOnce(&mut Update<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let value = |i: usize| (i * 7919 % 1000) as f32 / 1000.0 - 0.5;
        let x: Vec<f32> = (0..batch * self.steps * self.width).map(value).collect();
        let data = Dataset::sequences(self.width, self.steps, &x, Target::Values(&x[..batch * 10]))?;
        let settings = TrainConfig { batch_size: batch, ..TrainConfig::default() };
        let chain = (ClipNorm::new(1.0), Sgd::new(0.01));
        let mut trainer = Trainer::new((self.network)()?, MeanSquaredError::new(), chain, settings)?;
        trainer.parameters_mut().iter_mut().enumerate().for_each(|(i, w)| *w = value(i) / 16.0);
        if let Some(rank) = rank {
            trainer.set_data_parallel(rank)?;
        }
        let (mut batch, samples) = (Batch::new(&data, batch), (0..batch).collect::<Vec<_>>());
        run(&mut || Ok(trainer.step(&data, &mut batch, &samples, &mut Slow(sleep))?.0))
    }

    /// Times `updates` updates after five others. All ranks must ask for the same number. Returns the median seconds,
    /// and the loss of the first update.
    pub fn time(
        &self,
        batch: usize,
        rank: Option<DataParallel<f32>>,
        sleep: Duration,
        updates: usize,
    ) -> Result<[f64; 2], Error> {
        self.with_update(batch, rank, sleep, |update| {
            let loss = update()?;
            (1..5).try_for_each(|_| update().map(drop))?;
            let mut times = Vec::new();
            for _ in 0..updates {
                let start = Instant::now();
                update()?;
                times.push(start.elapsed().as_secs_f64());
            }
            Ok([median(&mut times), loss])
        })
    }
}

/// Returns the median of times.
pub fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Prints a table of docs/scale.md. `on` returns the seconds of an update on so many ranks, of which rank 1 sleeps.
pub fn compare<E: From<Error>>(wire: Wire, on: impl Fn(&Workload, usize, Duration) -> Result<f64, E>) -> Result<(), E> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get) as f64;
    println!("| network | ranks | model, ms | measured, ms |\n| --- | --- | --- | --- |");
    for workload in &WORKLOADS {
        let name = workload.name;
        let values = chainrule::layer::Layer::<f32>::dims(&(workload.network)()?).parameters as f64;
        for ranks in [1, 2, 4] {
            // More ranks than cores share them.
            let shared = (ranks as f64 / cores).max(1.0);
            let pass = shared * workload.time(workload.batch / ranks, None, Duration::ZERO, UPDATES)?[0];
            let (sum, found) = (wire.sum(ranks, values), on(workload, ranks, Duration::ZERO)?);
            println!("| {name} | {ranks} | {:.2} | {:.2} |", 1e3 * (pass + sum), 1e3 * found);
            if ranks == 2 {
                let (model, found) = (2.0 * pass + sum, on(workload, 2, Duration::from_secs_f64(pass))?);
                println!("| the same, rank 1 sleeps a pass | 2 | {:.2} | {:.2} |", 1e3 * model, 1e3 * found);
            }
        }
    }
    Ok(())
}

/// The updates of a median.
pub const UPDATES: usize = 35;
