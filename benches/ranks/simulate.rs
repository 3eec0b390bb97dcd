//! Ranks with virtual clocks. Each makes real updates, so that the schedule is that of the crate. A message carries the
//! clock of its sender, and takes `α + n β` from the later of the two clocks. Passes take a given time.

use crate::on_ranks;
use chainrule::{
    Error,
    dataset::{Batch, Dataset},
    distributed::{Communicator, DataParallel, Local},
    layer::Sequential,
    loss::{MeanSquaredError, Target},
    trainer::{TrainConfig, Trainer},
    transform::Sgd,
};
use std::sync::{Arc, Mutex, PoisonError};

/// The modelled run: 64 shards of 2 ms each, 1.6 million parameters, a network of 20 µs and 3.2 ns a value.
const SHARDS: usize = 64;
const SHARD: f64 = 2e-3;
const PARAMETERS: f64 = 1.6e6;
const ALPHA: f64 = 20e-6;
const BETA: f64 = 3.2e-9;
const STEPS: u64 = 40;

/// A rank of a group of threads whose messages move a virtual clock.
#[derive(Debug)]
struct Simulated {
    rank: Local<f64>,
    clock: Clock,
    /// Modelled seconds a value that is sent.
    beta: f64,
}

#[derive(Clone, Debug, Default)]
struct Clock(Arc<Mutex<f64>>);

impl Clock {
    fn seconds(&self) -> f64 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, seconds: f64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = seconds;
    }
}

impl Communicator<f64> for Simulated {
    fn rank(&self) -> usize {
        self.rank.rank()
    }

    fn size(&self) -> usize {
        self.rank.size()
    }

    fn exchange(&self, peer: usize, send: &[f64], receive: &mut [f64]) -> Result<(), Error> {
        let own = self.clock.seconds();
        let mut back = vec![0.0; receive.len() + 1];
        self.rank.exchange(peer, &[&[own], send].concat(), &mut back)?;
        receive.copy_from_slice(&back[1..]);
        self.clock.set(own.max(back[0]) + ALPHA + self.beta * send.len().max(receive.len()) as f64);
        Ok(())
    }
}

/// The delays of passes.
#[derive(Clone, Copy, Debug)]
enum Delays {
    None,
    /// The time of a rank's passes is normal, with this standard deviation relative to the mean.
    Normal(f64),
    /// With this probability the passes of a rank take five times as long.
    Rare(f64),
    /// Rank 0 takes so many times as long.
    Slow(f64),
}

/// A uniform number in (0, 1), of SplitMix64 (Steele, Lea & Flood 2014).
fn uniform(key: u64) -> f64 {
    let mut z = key.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64 + f64::MIN_POSITIVE
}

impl Delays {
    fn factor(self, rank: usize, step: u64) -> f64 {
        let key = 2 * (step * SHARDS as u64 + rank as u64);
        let (a, b) = (uniform(key), uniform(key + 1));
        match self {
            Delays::None => 1.0,
            Delays::Normal(deviation) => {
                (1.0 + deviation * (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()).max(0.0)
            }
            Delays::Rare(probability) => {
                if a < probability {
                    5.0
                } else {
                    1.0
                }
            }
            Delays::Slow(factor) => {
                if rank == 0 {
                    factor
                } else {
                    1.0
                }
            }
        }
    }
}

/// The simulated seconds of a step, the mean over all.
fn step(ranks: usize, delays: Delays) -> Result<f64, Error> {
    on_ranks(ranks, |rank| {
        let own = rank.rank();
        let network = Sequential::<f64>::input(8).linear(8).linear(1).build()?;
        let x: Vec<f64> = (0..8 * SHARDS).map(|i| uniform(i as u64)).collect();
        let data = Dataset::rows(8, &x, Target::Values(&x[..SHARDS]))?;
        let settings = TrainConfig { batch_size: SHARDS, ..TrainConfig::default() };
        let mut trainer = Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), settings)?;
        // A sum has the gradient, a loss and a mark of each shard, and two flags.
        let values = trainer.parameters().len() + 2 * SHARDS + 2;
        let clock = Clock::default();
        let simulated = Simulated { rank, clock: clock.clone(), beta: BETA * PARAMETERS / values as f64 };
        let parallel = DataParallel::new(simulated).shards(SHARDS);
        trainer.set_data_parallel(parallel)?;
        let (mut batch, samples) = (Batch::new(&data, SHARDS), (0..SHARDS).collect::<Vec<_>>());
        // The first step compares the ranks.
        trainer.step(&data, &mut batch, &samples, &mut ())?;
        clock.set(0.0);
        let shards = ((own + 1) * SHARDS / ranks - own * SHARDS / ranks) as f64;
        for step in 0..STEPS {
            clock.set(clock.seconds() + shards * SHARD * delays.factor(own, step));
            trainer.step(&data, &mut batch, &samples, &mut ())?;
        }
        Ok(clock.seconds() / STEPS as f64)
    })
}

/// C(p) of the model, without the time of additions.
fn communication(ranks: usize) -> f64 {
    let p = ranks as f64;
    match ranks {
        1 => 0.0,
        _ if ranks.is_power_of_two() => 2.0 * p.log2() * ALPHA + 2.0 * (p - 1.0) / p * PARAMETERS * BETA,
        _ => 2.0 * (2.0 * p).log2().ceil() * (ALPHA + PARAMETERS * BETA),
    }
}

/// Prints the table of docs/scale.md.
pub fn table() -> Result<(), Error> {
    let delays = [Delays::None, Delays::Normal(0.1), Delays::Rare(0.01), Delays::Slow(2.0)];
    println!("| ranks | model | simulated | σ = 10 % | 1 % five times as long | rank 0 twice as long |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for ranks in [1, 2, 4, 6, 8, 16, 32, 48, 64] {
        let model = SHARDS.div_ceil(ranks) as f64 * SHARD + communication(ranks);
        let mut line = format!("| {ranks} | {:.1} |", 1e3 * model);
        for delays in delays {
            line += &format!(" {:.1} |", 1e3 * step(ranks, delays)?);
        }
        println!("{line}");
    }
    Ok(())
}
