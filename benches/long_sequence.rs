//! Memory of backpropagation through T = 10,000 steps of an LSTM 64 → 128, batch 8, without truncation.
//!
//! `cargo bench --bench long_sequence -- [STEPS]` trains two steps on a workspace. It prints the peak resident memory,
//! if the system reports it, and the smallest memory that must be kept: inputs, gates, cells and hidden states.

use chainrule::{
    BatchShape, Error,
    layer::{Mode, Sequential, initialize},
    loss::{Loss, MeanSquaredError, Target},
    recurrent::Lstm,
    workspace::Workspace,
};

const INPUT: usize = 64;
const HIDDEN: usize = 128;
const BATCH: usize = 8;

fn main() -> Result<(), Error> {
    let steps = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(10_000);
    let network = Sequential::<f32>::input(INPUT).recurrent(HIDDEN, Lstm::new()).last_step().linear(1).build()?;
    let mut w = initialize(&network, 1)?;
    let shape = BatchShape::sequences(BATCH, steps);
    let targets: Vec<f32> = (0..BATCH).map(|i| i as f32 / 8.0).collect();
    let mut workspace = Workspace::new(&network, shape)?;
    for _ in 0..2 {
        for (i, x) in workspace.input_mut(shape)?.iter_mut().enumerate() {
            *x = ((i * 7919) % 1000) as f32 / 1000.0 - 0.5;
        }
        let output = workspace.forward_filled(&w, shape, Mode::Train, &mut ())?;
        let loss = MeanSquaredError::new().evaluate(1, output.y, Target::Values(&targets), None, output.dy)?;
        let gradient = workspace.backward(&w)?;
        w.iter_mut().zip(&*gradient).for_each(|(w, g)| *w -= 0.01 * g);
        println!("loss {loss}");
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
