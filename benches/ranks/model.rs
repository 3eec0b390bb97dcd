//! The speed-up that the model of docs/scale.md gives, from passes measured here and a wire of given α and β.

use crate::{
    messages::Wire,
    steps::{SMALLER_LSTM, WORKLOADS, Workload},
};
use chainrule::{
    Error,
    activation::Relu,
    layer::{Layer, Sequential},
};
use std::time::Duration;

/// The ranks of the table.
const RANKS: [usize; 4] = [2, 8, 64, 1024];

/// The largest number of samples whose update is measured: the time of more is proportional to them.
const MEASURED: usize = 128;

const SMALL: Workload = Workload {
    name: "64-64-10",
    network: || Sequential::input(64).linear(64).activation(Relu).linear(10).build(),
    steps: 1,
    width: 64,
    batch: 128,
};

/// Prints the table of docs/scale.md for a wire. Speed-ups of at least half the ranks are marked.
pub fn table(wire: Wire) -> Result<(), Error> {
    let Wire { alpha, beta } = wire;
    println!("α = {:.1} µs, β = {:.2} ns; a * marks at least half the ranks", 1e6 * alpha, 1e9 * beta);
    println!("| network | batch | rows | 2 ranks | 8 | 64 | 1,024 |\n| --- | --- | --- | --- | --- | --- | --- |");
    let [perceptron, lstm] = &WORKLOADS;
    let rows: [(&Workload, &[usize]); 4] = [
        (perceptron, &[128, 1024, 16_384]),
        (lstm, &[64, 512, 4096]),
        (&SMALLER_LSTM, &[8, 128, 1024]),
        (&SMALL, &[128, 1024, 16_384]),
    ];
    for (workload, batches) in rows {
        let mut known: Vec<(usize, f64)> = Vec::new();
        // An update of `samples` samples, with its optimizer.
        let mut update = |samples: usize| {
            let measured = samples.min(if workload.steps > 1 { MEASURED / 4 } else { MEASURED });
            if let Some((_, time)) = known.iter().find(|(count, _)| *count == measured) {
                return Ok::<f64, Error>(time * samples as f64 / measured as f64);
            }
            let updates = if workload.steps > 1 { 7 } else { 101 };
            let [time, _] = workload.time(measured, None, Duration::ZERO, updates)?;
            known.push((measured, time));
            Ok(time * samples as f64 / measured as f64)
        };
        let values = Layer::<f32>::dims(&(workload.network)()?).parameters as f64;
        for &batch in batches {
            let alone = update(batch)?;
            let mut cells = String::new();
            for ranks in RANKS {
                if ranks > batch {
                    cells.push_str(" – |");
                    continue;
                }
                let speed = alone / (update(batch / ranks)? + wire.sum(ranks, values));
                let mark = if speed >= ranks as f64 / 2.0 { "*" } else { "" };
                let digits = if speed < 10.0 { 1 } else { 0 };
                cells.push_str(&format!(" {speed:.digits$}{mark} |"));
            }
            println!("| {} | {batch} | {} |{cells}", workload.name, batch * workload.steps);
        }
    }
    Ok(())
}
