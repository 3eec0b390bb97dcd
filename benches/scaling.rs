//! The time of a training step as a function of depth, width, steps and batch, on one thread.
//!
//! `cargo bench --bench scaling` prints for each size the minimum time of a step (forward, backward, SGD) over some
//! repeats. It also prints this time per multiplication, in picoseconds: a step has 3 · rows · weights of them, for
//! y, dx and dW. docs/performance.md explains the sizes at which the second figure rises.

use chainrule::{
    BatchShape, Error,
    activation::Tanh,
    layer::{ActivationLayer, Layer, Linear, Mode, Sequential, initialize},
    recurrent::Lstm,
    transform::{Optimizer, Sgd},
    workspace::Workspace,
};
use std::time::{Duration, Instant};

fn plain(width: usize, depth: usize) -> Result<Sequential<f32>, Error> {
    let mut network = Sequential::new(width);
    for _ in 0..depth {
        network.push(Linear::new(width, width))?;
        network.push(ActivationLayer::new(width, Tanh))?;
    }
    Ok(network)
}

/// The minimum time of a step, over at least three steps and a minimum total duration.
fn step(network: &Sequential<f32>, shape: BatchShape<'_>) -> Result<Duration, Error> {
    let mut w = initialize(network, 1)?;
    let x: Vec<f32> =
        (0..shape.rows() * network.dims().input).map(|i| ((i * 7919) % 1000) as f32 / 1000.0 - 0.5).collect();
    let mut workspace = Workspace::new(network, shape)?;
    let mut optimizer = Optimizer::new(Sgd::new(1e-6), workspace.blocks(), &w)?;
    let (mut least, begin, mut made) = (Duration::MAX, Instant::now(), 0);
    while made < 3 || begin.elapsed() < Duration::from_millis(400) {
        let start = Instant::now();
        let output = workspace.forward_with(&w, &x, shape, Mode::Train, &mut ())?;
        output.dy.copy_from_slice(output.y); // the gradient of ½‖y‖²
        workspace.backward(&w)?;
        let (blocks, gradient) = workspace.blocks_and_gradient();
        optimizer.step(blocks, &mut w, gradient, &mut ())?;
        least = least.min(start.elapsed());
        made += 1;
    }
    Ok(least)
}

fn report(what: &str, size: usize, network: &Sequential<f32>, shape: BatchShape<'_>) -> Result<(), Error> {
    let time = step(network, shape)?.as_secs_f64();
    let work = 3.0 * shape.rows() as f64 * network.dims().parameters as f64;
    println!("{what:<8} {size:>6} {:>12.1} µs {:>8.1} ps a multiplication", time * 1e6, time * 1e12 / work);
    Ok(())
}

fn main() -> Result<(), Error> {
    for depth in [10, 30, 100, 300, 1000, 3000] {
        report("depth", depth, &plain(64, depth)?, BatchShape::batch(32))?;
    }
    for width in [16, 32, 64, 128, 256, 512, 1024, 2048] {
        report("width", width, &plain(width, 4)?, BatchShape::batch(32))?;
    }
    let lstm = Sequential::<f32>::input(32).recurrent(64, Lstm::new()).build()?;
    for steps in [10, 100, 1000, 10_000] {
        report("steps", steps, &lstm, BatchShape::sequences(8, steps))?;
    }
    for batch in [1, 4, 16, 64, 256, 1024] {
        report("batch", batch, &plain(64, 4)?, BatchShape::batch(batch))?;
    }
    Ok(())
}
