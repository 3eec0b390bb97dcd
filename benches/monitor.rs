//! The cost of a monitor: a training step of 784-512-512-10, batch 128, with and without monitors, in paired ratios.
//!
//! `cargo bench --bench monitor` prints, for each monitor, the median and the quartiles of a ratio over 15 rounds: the
//! time of the steps with the monitor over the time of the steps without, in the same round.

use chainrule::{
    Error, GradientMonitor,
    activation::Relu,
    dataset::{Batch, Dataset},
    layer::Sequential,
    loss::{CrossEntropy, Target},
    monitor::{Every, GradientBudget, Statistics},
    trainer::{TrainConfig, Trainer},
    transform::Sgd,
};
use std::time::Instant;

const BATCH: usize = 128;
const ROUNDS: usize = 15;
/// Steps of a round, a multiple of the period 10 of `Every`.
const STEPS: usize = 40;

fn main() -> Result<(), Error> {
    let network = Sequential::<f32>::input(784).linear(512).activation(Relu).linear(512).activation(Relu).linear(10);
    let network = network.build()?;
    let x: Vec<f32> = (0..BATCH * 784).map(|i| ((i * 7919) % 1000) as f32 / 1000.0).collect();
    let y: Vec<usize> = (0..BATCH).map(|i| i % 10).collect();
    let data = Dataset::rows(784, &x, Target::Classes(&y))?;
    let settings = TrainConfig { batch_size: BATCH, ..TrainConfig::default() };
    let samples: Vec<usize> = (0..BATCH).collect();
    let mut monitors: Vec<(&str, Box<dyn GradientMonitor<f32>>)> = vec![
        ("()", Box::new(())),
        ("() again", Box::new(())),
        ("Every(10, Statistics)", Box::new(Every(10, Statistics::new()))),
        ("Statistics", Box::new(Statistics::new())),
        ("Every(10, GradientBudget)", Box::new(Every(10, GradientBudget::new()))),
        ("GradientBudget", Box::new(GradientBudget::new())),
    ];
    let mut trainer = Trainer::new(&network, CrossEntropy::new(), Sgd::new(0.01), settings)?;
    let mut batch = Batch::new(&data, BATCH);
    let mut ratios = vec![Vec::new(); monitors.len()];
    for round in 0..=ROUNDS {
        let mut unwatched = 0.0;
        for (i, (_, monitor)) in monitors.iter_mut().enumerate() {
            let start = Instant::now();
            for _ in 0..STEPS {
                trainer.step(&data, &mut batch, &samples, &mut **monitor)?;
            }
            let seconds = start.elapsed().as_secs_f64();
            unwatched = if i == 0 { seconds } else { unwatched };
            // The first round warms up.
            if round > 0 {
                ratios[i].push(seconds / unwatched);
            }
        }
    }
    for ((name, _), ratios) in monitors.iter().zip(&mut ratios).skip(1) {
        ratios.sort_by(f64::total_cmp);
        println!("{name:<26} {:.3}  [{:.3}, {:.3}]", ratios[ROUNDS / 2], ratios[ROUNDS / 4], ratios[3 * ROUNDS / 4]);
    }
    Ok(())
}
