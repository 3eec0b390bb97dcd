//! Memory of backpropagation through T = 10,000 steps of an LSTM 64 → 128, batch 8, without truncation.
//!
//! `cargo bench --bench long_sequence -- [STEPS] [full | last | each | pairs]` trains two steps on a workspace: on the
//! full pass, or on a checkpointed layer with a loss at the last step or at each. It prints the time of a step, the
//! bytes of the workspace, the growth of resident memory, and the smallest memory that the full pass must keep: inputs,
//! gates, cells and hidden states. It fails if resident memory grows by more than workspace and parameters, or if the
//! workspace is above the bar of a checkpointed layer. `pairs` times steps of the full pass and of the checkpointed one
//! in turn, and fails if the median of their ratios is above 1.4.

mod memory;

use chainrule::{
    BatchShape, Error,
    layer::{Mode, Sequential, initialize},
    loss::{Loss, MeanSquaredError, Target},
    recurrent::{CheckpointInterval, Lstm},
    workspace::Workspace,
};
use std::time::Instant;

const INPUT: usize = 64;
const HIDDEN: usize = 128;
const BATCH: usize = 8;

/// Makes a training step on a workspace with this input, and returns the loss and the seconds without the input's.
fn step(
    workspace: &mut Workspace<f32, &Sequential<f32>>,
    w: &mut [f32],
    shape: BatchShape<'_>,
    targets: &[f32],
) -> Result<(f32, f64), Error> {
    for (i, x) in workspace.input_mut(shape)?.iter_mut().enumerate() {
        *x = ((i * 7919) % 1000) as f32 / 1000.0 - 0.5;
    }
    let start = Instant::now();
    let output = workspace.forward_filled(w, shape, Mode::Train, &mut ())?;
    let loss = MeanSquaredError::new().evaluate(1, output.y, Target::Values(targets), None, output.dy)?;
    let gradient = workspace.backward(w)?;
    w.iter_mut().zip(&*gradient).for_each(|(w, g)| *w -= 0.01 * g);
    Ok((loss, start.elapsed().as_secs_f64()))
}

/// Times steps of the full pass and of the checkpointed one in turn.
fn pairs(full: &Sequential<f32>, checkpointed: &Sequential<f32>, shape: BatchShape<'_>) -> Result<(), Error> {
    let targets: Vec<f32> = (0..BATCH).map(|i| i as f32 / 8.0).collect();
    let (mut w, mut v) = (initialize(full, 1)?, initialize(checkpointed, 1)?);
    let (mut one, mut other) = (Workspace::new(full, shape)?, Workspace::new(checkpointed, shape)?);
    let mut ratios = Vec::new();
    for pair in 0..12 {
        let (loss, whole) = step(&mut one, &mut w, shape, &targets)?;
        let (same, parts) = step(&mut other, &mut v, shape, &targets)?;
        assert_eq!(loss.to_bits(), same.to_bits(), "another loss than that of the full pass");
        if pair > 0 {
            ratios.push(parts / whole);
        }
    }
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ratios.len() / 2];
    println!("checkpointed: {ratio:.2} times the full pass, median of {}; at most 1.4", ratios.len());
    assert!(ratio <= 1.4, "slower than the bar");
    Ok(())
}

fn main() -> Result<(), Error> {
    let steps = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(10_000);
    let has = |name: &str| std::env::args().any(|word| word == name);
    let (input, root) = (|| Sequential::<f32>::input(INPUT), CheckpointInterval::SquareRoot);
    let before = memory::peak();
    let full = || input().recurrent(HIDDEN, Lstm::new()).last_step().linear(1).build();
    let last = || {
        let segments = input().checkpointed(root, |b| b.recurrent(HIDDEN, Lstm::new()).last_step());
        segments.linear(1).build()
    };
    let shape = BatchShape::sequences(BATCH, steps);
    if has("pairs") {
        return pairs(&full()?, &last()?, shape);
    }
    let network = match (has("last"), has("each")) {
        (true, _) => last()?,
        (_, true) => input().checkpointed(root, |b| b.recurrent(HIDDEN, Lstm::new())).linear(1).build()?,
        _ => full()?,
    };
    let mut w = initialize(&network, 1)?;
    let rows = if has("each") { steps * BATCH } else { BATCH };
    let targets: Vec<f32> = (0..rows).map(|i| (i % BATCH) as f32 / 8.0).collect();
    let mut workspace = Workspace::new(&network, shape)?;
    for _ in 0..2 {
        let (loss, seconds) = step(&mut workspace, &mut w, shape, &targets)?;
        println!("loss {loss}, {seconds:.2} s");
    }
    let kept = 4 * steps * BATCH * (INPUT + 4 * HIDDEN + 2 * HIDDEN);
    println!("inputs, gates, cells and hidden states: {:.0} MB", kept as f64 / 1e6);
    let most = match (has("last"), has("each"), steps) {
        (true, _, ..=10_000) => 30e6,
        (_, true, ..=10_000) => 110e6,
        (true, _, ..=100_000) => 300e6,
        _ => f64::INFINITY,
    };
    let bytes = workspace.bytes() as f64;
    println!("workspace: {:.1} MB, of at most {:.0} MB", bytes / 1e6, most / 1e6);
    assert!(bytes <= most, "a larger workspace than the bar");
    // Beside the workspace: parameters, targets, code that is read from disk, and pages of the allocator.
    memory::check(before, bytes + 4.0 * (w.len() + targets.len()) as f64 + 4e6);
    Ok(())
}
