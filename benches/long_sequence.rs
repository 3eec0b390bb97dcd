//! Memory of backpropagation through T = 10,000 steps of an LSTM 64 → 128, batch 8, without truncation.
//!
//! `cargo bench --bench long_sequence -- [STEPS] [full | last | each]` trains two steps on a workspace: on the full
//! pass, or on a checkpointed layer with a loss at the last step or at each. It prints the time of a step, the peak
//! resident memory, if the system reports it, and the smallest memory that the full pass must keep: inputs, gates,
//! cells and hidden states.

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
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let peak =
            status.lines().find(|line| line.starts_with("VmHWM")).and_then(|line| line.split_whitespace().nth(1));
        let kilobytes: f64 = peak.and_then(|peak| peak.parse().ok()).unwrap_or(f64::NAN);
        println!("peak of resident memory: {:.0} MB", kilobytes * 1.024e-3);
    }
    Ok(())
}
