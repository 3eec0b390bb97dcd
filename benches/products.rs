//! The products of a linear layer, forward and backward, at shapes that occur in training:
//! `cargo bench --bench products`.
//!
//! Throughput counts multiplications: 1e9 elements per second are 2 GFLOP/s. The time includes packing the weights,
//! adding the bias and summing its gradient.

use chainrule::{
    BatchShape, Scalar,
    layer::{Layer, Linear, Mode, initialize},
    scalar,
    workspace::Workspace,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// \[rows, inputs, outputs\] of a tiny network, deep narrow ones, a step of a recurrent layer, an MLP and a wide layer.
const SHAPES: [[usize; 3]; 6] =
    [[1, 16, 16], [32, 64, 64], [32, 128, 512], [128, 784, 512], [128, 512, 512], [32, 2048, 2048]];

fn products<T: Scalar>(criterion: &mut Criterion, name: &str) {
    let mut group = criterion.benchmark_group(format!("linear/{name}"));
    for [rows, inputs, outputs] in SHAPES {
        let network = Linear::new(inputs, outputs);
        let w = initialize::<T>(&network, 1).expect("weights");
        let x: Vec<T> = (0..rows * inputs).map(|i| scalar((i * 7919 % 1000) as f64 / 1000.0 - 0.5)).collect();
        let shape = BatchShape::batch(rows);
        let mut workspace = Workspace::new(&network as &dyn Layer<T>, shape).expect("a workspace");
        workspace.compute_input_gradient(true);
        let size = format!("{rows}x{inputs}x{outputs}");
        group.throughput(Throughput::Elements((rows * inputs * outputs) as u64));
        group.bench_function(BenchmarkId::new("forward", &size), |bench| {
            bench.iter(|| workspace.infer(&w, &x, shape).expect("a pass").len())
        });
        group.throughput(Throughput::Elements((3 * rows * inputs * outputs) as u64));
        group.bench_function(BenchmarkId::new("forward, dW, dx", &size), |bench| {
            bench.iter(|| {
                let output = workspace.forward_with(&w, &x, shape, Mode::Train, &mut ()).expect("a pass");
                output.dy.copy_from_slice(output.y);
                workspace.backward(&w).expect("a pass").len()
            })
        });
    }
}

fn all(criterion: &mut Criterion) {
    products::<f32>(criterion, "f32");
    products::<f64>(criterion, "f64");
}

criterion_group!(benches, all);
criterion_main!(benches);
