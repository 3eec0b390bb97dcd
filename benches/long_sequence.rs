//! Memory of backpropagation through T = 10,000 steps of an LSTM 64 → 128, batch 8, without truncation.
//!
//! `cargo bench --bench long_sequence -- [STEPS] [full | last | each]` trains two steps on a workspace: on the full
//! pass, or on a checkpointed layer with a loss at the last step or at each. It prints the time of a step, the bytes of
//! the workspace, the growth of resident memory, and the smallest memory that the full pass must keep: inputs, gates,
//! cells and hidden states. It fails if resident memory grows by more than workspace and parameters, or if the
//! workspace is above the bar of a checkpointed layer.

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

fn main() -> Result<(), Error> {
    let steps = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(10_000);
    let has = |name: &str| std::env::args().any(|word| word == name);
    let (input, root) = (Sequential::<f32>::input(INPUT), CheckpointInterval::SquareRoot);
    let before = memory::peak();
    let network = match (has("last"), has("each")) {
        (true, _) => input.checkpointed(root, |b| b.recurrent(HIDDEN, Lstm::new()).last_step()),
        (_, true) => input.checkpointed(root, |b| b.recurrent(HIDDEN, Lstm::new())),
        _ => input.recurrent(HIDDEN, Lstm::new()).last_step(),
    };
    let network = network.linear(1).build()?;
    let mut w = initialize(&network, 1)?;
    let shape = BatchShape::sequences(BATCH, steps);
    let rows = if has("each") { steps * BATCH } else { BATCH };
    let targets: Vec<f32> = (0..rows).map(|i| (i % BATCH) as f32 / 8.0).collect();
    let mut workspace = Workspace::new(&network, shape)?;
    for _ in 0..2 {
        for (i, x) in workspace.input_mut(shape)?.iter_mut().enumerate() {
            *x = ((i * 7919) % 1000) as f32 / 1000.0 - 0.5;
        }
        let start = Instant::now();
        let output = workspace.forward_filled(&w, shape, Mode::Train, &mut ())?;
        let loss = MeanSquaredError::new().evaluate(1, output.y, Target::Values(&targets), None, output.dy)?;
        let gradient = workspace.backward(&w)?;
        w.iter_mut().zip(&*gradient).for_each(|(w, g)| *w -= 0.01 * g);
        println!("loss {loss}, {:.2} s", start.elapsed().as_secs_f64());
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
