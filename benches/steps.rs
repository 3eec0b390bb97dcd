//! Whole training steps with and without a monitor: `cargo bench --bench steps`.
//!
//! Small networks of each kind run in the default trainer. `cargo bench --bench monitor` measures the cost of a monitor
//! in a larger network, as paired ratios.

use chainrule::{
    GradientMonitor,
    activation::Tanh,
    dataset::{Batch, Dataset},
    layer::Sequential,
    loss::{MeanSquaredError, Target},
    monitor::{Every, GradientBudget, Statistics},
    recurrent::{Elman, Gru, Lstm},
    trainer::{TrainConfig, Trainer},
    transform::{Adam, ClipNorm},
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const BATCH: usize = 32;
const WIDTH: usize = 32;

fn steps(criterion: &mut Criterion, name: &str, network: Sequential<f32>, time: usize) {
    let x: Vec<f32> = (0..BATCH * time * WIDTH).map(|i| ((i * 7919) % 1000) as f32 / 1000.0 - 0.5).collect();
    let y: Vec<f32> = (0..BATCH).map(|i| i as f32 / BATCH as f32).collect();
    let data = Dataset::sequences(WIDTH, time, &x, Target::Values(&y)).expect("data");
    let settings = TrainConfig { batch_size: BATCH, ..TrainConfig::default() };
    let chain = (ClipNorm::new(1.0), Adam::new(1e-3));
    let mut trainer = Trainer::new(network, MeanSquaredError::new(), chain, settings).expect("a trainer");
    let samples: Vec<usize> = (0..BATCH).collect();
    let mut batch = Batch::new(&data, BATCH);
    let monitors: [(&str, Box<dyn GradientMonitor<f32>>); 4] = [
        ("()", Box::new(())),
        ("GradientBudget", Box::new(GradientBudget::new())),
        ("Statistics", Box::new(Statistics::new())),
        ("Every(10, Statistics)", Box::new(Every(10, Statistics::new()))),
    ];
    let mut group = criterion.benchmark_group(format!("step/{name}"));
    group.throughput(Throughput::Elements((BATCH * time) as u64));
    for (watched, mut monitor) in monitors {
        group.bench_function(BenchmarkId::from_parameter(watched), |bench| {
            bench.iter(|| trainer.step(&data, &mut batch, &samples, &mut *monitor).expect("a step").0)
        });
    }
}

fn all(criterion: &mut Criterion) {
    let input = || Sequential::<f32>::input(WIDTH);
    let deep = (0..10).fold(input(), |network, _| network.linear(WIDTH).activation(Tanh));
    steps(criterion, "10 x 32 tanh", deep.linear(1).build().expect("a network"), 1);
    let unrolled = [
        ("Elman", input().recurrent(WIDTH, Elman::new(Tanh))),
        ("LSTM", input().recurrent(WIDTH, Lstm::new())),
        ("GRU", input().recurrent(WIDTH, Gru::new())),
    ];
    for (name, network) in unrolled {
        let network = network.last_step().linear(1).build().expect("a network");
        steps(criterion, &format!("{name}, 32 units, 20 steps"), network, 20);
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
