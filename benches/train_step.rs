//! One training step of eight workloads, timed like in other libraries: `-w W4 -d f32 -t 1 -b 2.5 -o sgd` prints one
//! JSON line. `-o` is sgd, momentum, nesterov, rmsprop, adagrad, adam or adamw. `-s 8` cuts the batch into shards, as
//! on several ranks.
//!
//! It uses the public interface and the default path of the trainer. Data and initial weights come from a counter-based
//! generator that the programs for other libraries also use. Equal losses show that all compute the same.

use chainrule::{
    Layer, Scalar,
    activation::{Relu, Tanh},
    dataset::{Batch, Dataset},
    distributed::DataParallel,
    layer::Sequential,
    loss::{CrossEntropy, Loss, MeanSquaredError, Target},
    recurrent::{Elman, Gru, Lstm},
    scalar,
    trainer::{TrainConfig, Trainer},
    transform::{Adagrad, Adam, AdamW, ClipNorm, GradientTransform, RmsProp, Sgd},
};
use std::time::Instant;

/// Values in [−1, 1): SplitMix64 on a counter, 24 bits each.
fn uniform(seed: u64, n: usize) -> Vec<f32> {
    let seed = seed.wrapping_mul(0xD134_2543_DE82_EF95);
    (1..=n as u64)
        .map(|i| {
            let mut z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            ((z >> 40) as f64 / 8_388_608.0 - 1.0) as f32
        })
        .collect()
}

fn scaled<T: Scalar>(seed: u64, n: usize, factor: f64) -> Vec<T> {
    uniform(seed, n).into_iter().map(|v| scalar(f64::from((f64::from(v) * factor) as f32))).collect()
}

struct Arguments {
    workload: String,
    dtype: String,
    threads: usize,
    budget: f64,
    optimizer: String,
    /// 0 for the plain step.
    shards: usize,
}

impl Arguments {
    /// The chain of transforms; recurrent workloads clip the gradient first.
    fn chain<T: Scalar>(&self, clips: bool) -> Box<dyn GradientTransform<T>> {
        let optimizer: Box<dyn GradientTransform<T>> = match self.optimizer.as_str() {
            "sgd" => Box::new(Sgd::new(0.01)),
            "momentum" => Box::new(Sgd::new(0.01).momentum(0.9)),
            "nesterov" => Box::new(Sgd::new(0.01).momentum(0.9).nesterov()),
            "rmsprop" => Box::new(RmsProp::new(1e-3)),
            "adagrad" => Box::new(Adagrad::new(1e-2)),
            "adam" => Box::new(Adam::new(1e-3)),
            "adamw" => Box::new(AdamW::new(1e-3, 0.01)),
            other => panic!("no optimizer {other}"),
        };
        if clips { Box::new((ClipNorm::new(1.0), optimizer)) } else { optimizer }
    }
}

fn arguments() -> Arguments {
    let (workload, dtype, optimizer) = ("W1".into(), "f32".into(), "sgd".into());
    let mut found = Arguments { workload, dtype, threads: 1, budget: 2.5, optimizer, shards: 0 };
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    for pair in words.chunks(2) {
        let [key, value] = pair else { panic!("{} needs a value", pair[0]) };
        match key.as_str() {
            "-w" => found.workload = value.clone(),
            "-d" => found.dtype = value.clone(),
            "-t" => found.threads = value.parse().expect("threads"),
            "-b" => found.budget = value.parse().expect("seconds"),
            "-o" => found.optimizer = value.clone(),
            "-s" => found.shards = value.parse().expect("shards"),
            _ => panic!("expected -w, -d, -t, -b, -o or -s, found {key}"),
        }
    }
    found
}

/// Calls `step(k)` for the requested time, after a warm-up, and prints the line.
fn time(arguments: &Arguments, mut step: impl FnMut(usize) -> f64) {
    let cycle = if arguments.workload == "W7" { 256 } else { 1 };
    let (mut losses, mut k) = (Vec::new(), 0);
    let start = Instant::now();
    while k < (if cycle > 1 { 2560 } else { 3 }) || start.elapsed().as_secs_f64() < 0.5 {
        losses.push(step(k));
        k += 1;
    }
    let (mut times, start) = (Vec::new(), Instant::now());
    while times.len() < 200_000 && (start.elapsed().as_secs_f64() < arguments.budget || times.len() < 7) {
        let one = Instant::now();
        losses.push(step(k));
        times.push(one.elapsed().as_secs_f64() * 1e6);
        k += 1;
    }
    times.sort_by(f64::total_cmp);
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    println!(
        "{{\"peer\":\"chainrule\",\"workload\":\"{}\",\"threads\":{},\"dtype\":\"{}\",\"optimizer\":\"{}\",\
         \"median_us\":{:.3},\"min_us\":{:.3},\
         \"steps\":{},\"loss_first\":{:.6e},\"loss_10\":{:.6e},\"loss_last\":{:.6e}}}",
        arguments.workload,
        arguments.threads,
        arguments.dtype,
        arguments.optimizer,
        times[times.len() / 2],
        times[0],
        times.len(),
        mean(&losses[..cycle]),
        mean(&losses[9 * cycle..10 * cycle]),
        mean(&losses[losses.len() - cycle..]),
    );
}

fn run<T, L, C, G>(arguments: &Arguments, mut trainer: Trainer<T, L, C, G>, data: &Dataset<'_, T>)
where
    T: Scalar,
    L: Layer<T>,
    C: Loss<T>,
    G: GradientTransform<T>,
{
    if arguments.shards > 0 {
        trainer.set_data_parallel(DataParallel::new(()).shards(arguments.shards)).expect("a power of two");
    }
    let size = trainer.settings().batch_size;
    let mut batch = Batch::new(data, size);
    let order: Vec<usize> = (0..data.samples()).collect();
    time(arguments, |k| {
        let first = k * size % order.len();
        trainer.step(data, &mut batch, &order[first..first + size], &mut ()).expect("a step").0
    });
}

fn mlp<T: Scalar>(arguments: &Arguments, dims: &[usize], relu: bool, classes: bool, batch: usize) {
    let mut builder = Sequential::<T>::input(dims[0]);
    let gain = if relu { 2f64.sqrt() } else { 1.0 };
    let mut w: Vec<T> = Vec::new();
    for (i, pair) in dims.windows(2).enumerate() {
        let (inputs, outputs) = (pair[0], pair[1]);
        builder = builder.linear(outputs);
        if i + 2 < dims.len() {
            builder = if relu { builder.activation(Relu) } else { builder.activation(Tanh) };
        }
        let fan = inputs as f64;
        w.extend(scaled::<T>(100 + 2 * i as u64, inputs * outputs, gain * (3.0 / fan).sqrt()));
        w.extend(scaled::<T>(101 + 2 * i as u64, outputs, 0.1 / fan.sqrt()));
    }
    let network = builder.build().expect("a network");
    let settings = TrainConfig { batch_size: batch, threads: arguments.threads, ..TrainConfig::default() };
    let chain = arguments.chain(false);
    if classes {
        let x = scaled::<T>(7, batch * dims[0], 1.7320508);
        let count = dims[dims.len() - 1];
        let label = |v: &f32| (((f64::from(*v) + 1.0) * 0.5 * count as f64) as usize).min(count - 1);
        let labels: Vec<usize> = uniform(8, batch).iter().map(label).collect();
        let data = Dataset::rows(dims[0], &x, Target::Classes(&labels)).expect("data");
        let mut trainer = Trainer::new(network, CrossEntropy::new(), chain, settings).expect("a trainer");
        trainer.parameters_mut().copy_from_slice(&w);
        run(arguments, trainer, &data);
    } else {
        let x = uniform(7, 512);
        let y: Vec<T> = x.chunks(2).map(|x| scalar(f64::from(x[0] * x[1] + 0.5 * x[0]))).collect();
        let x: Vec<T> = x.iter().map(|&v| scalar(f64::from(v))).collect();
        let data = Dataset::rows(2, &x, Target::Values(&y)).expect("data");
        let mut trainer = Trainer::new(network, MeanSquaredError::new(), chain, settings).expect("a trainer");
        trainer.parameters_mut().copy_from_slice(&w);
        run(arguments, trainer, &data);
    }
}

fn recurrent<T: Scalar>(arguments: &Arguments, cell: &str, steps: usize, batch: usize, inputs: usize, hidden: usize) {
    let builder = Sequential::<T>::input(inputs);
    let (builder, gates) = match cell {
        "tanh" => (builder.recurrent(hidden, Elman::new(Tanh)), 1),
        "lstm" => (builder.recurrent(hidden, Lstm::new()), 4),
        _ => (builder.recurrent(hidden, Gru::new()), 3),
    };
    let network = builder.last_step().linear(10).build().expect("a network");
    let factor = 1.0 / (hidden as f64).sqrt();
    let mut w = scaled::<T>(50, gates * hidden * inputs, factor);
    w.extend(scaled::<T>(51, gates * hidden * hidden, factor));
    // Other libraries have two biases. This crate has their sum, and a second bias for the candidate of a GRU.
    let (first, second) = (scaled::<T>(52, gates * hidden, factor), scaled::<T>(53, gates * hidden, factor));
    let summed = if gates == 3 { 2 * hidden } else { gates * hidden };
    w.extend(first.iter().zip(&second).enumerate().map(|(i, (&a, &b))| if i < summed { a + b } else { a }));
    w.extend(&second[summed..]);
    w.extend(scaled::<T>(54, 10 * hidden, factor));
    w.extend(scaled::<T>(55, 10, factor));
    let by_step = scaled::<T>(7, steps * batch * inputs, 1.7320508);
    let row = |sample: usize, step: usize| &by_step[(step * batch + sample) * inputs..][..inputs];
    let x: Vec<T> = (0..batch * steps).flat_map(|i| row(i / steps, i % steps)).copied().collect();
    let y = scaled::<T>(8, batch * 10, 1.0);
    let data = Dataset::sequences(inputs, steps, &x, Target::Values(&y)).expect("data");
    let settings = TrainConfig { batch_size: batch, threads: arguments.threads, ..TrainConfig::default() };
    let chain = arguments.chain(true);
    let mut trainer = Trainer::new(network, MeanSquaredError::new(), chain, settings).expect("a trainer");
    trainer.parameters_mut().copy_from_slice(&w);
    run(arguments, trainer, &data);
}

fn workload<T: Scalar>(arguments: &Arguments) {
    let deep = |layers: usize| [vec![64; layers + 1], vec![10]].concat();
    match arguments.workload.as_str() {
        "W1" => mlp::<T>(arguments, &[784, 512, 512, 10], true, true, 128),
        "W2" => mlp::<T>(arguments, &deep(50), false, true, 32),
        "W3" => recurrent::<T>(arguments, "tanh", 100, 32, 64, 128),
        "W4" => recurrent::<T>(arguments, "lstm", 100, 32, 64, 128),
        "W5" => recurrent::<T>(arguments, "lstm", 64, 64, 256, 512),
        "W6" => recurrent::<T>(arguments, "gru", 100, 32, 64, 128),
        "W7" => mlp::<T>(arguments, &[2, 16, 16, 1], false, false, 1),
        "W8" => mlp::<T>(arguments, &deep(1000), false, true, 32),
        other => panic!("no workload {other}"),
    }
}

fn main() {
    let arguments = arguments();
    match arguments.dtype.as_str() {
        "f64" => workload::<f64>(&arguments),
        _ => workload::<f32>(&arguments),
    }
}
