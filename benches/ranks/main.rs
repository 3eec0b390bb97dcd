//! Figures of docs/scale.md. `cargo bench --bench ranks -- messages` measures α and β between two threads;
//! `-- steps` compares 1, 2 and 4 ranks of one machine, and a slowed rank, with the model; `-- simulate` runs 64 ranks
//! with virtual clocks.

mod messages;
mod simulate;
mod steps;

use chainrule::{Error, distributed::Local};
use std::thread;

/// Calls `run` with each rank of a group on its own thread, and returns the result of rank 0.
fn on_ranks<T: Copy + Send, R: Send>(
    ranks: usize,
    run: impl Fn(Local<T>) -> Result<R, Error> + Sync,
) -> Result<R, Error> {
    let group = Local::new(ranks)?;
    thread::scope(|scope| {
        let threads: Vec<_> = group.into_iter().map(|rank| scope.spawn(|| run(rank))).collect();
        let results: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("a rank panicked")).collect();
        results.into_iter().next().expect("a group has a rank")
    })
}

fn main() -> Result<(), Error> {
    match std::env::args().skip(1).find(|word| word != "--bench").as_deref() {
        Some("messages") => {
            println!("| values | µs | ns a value | exchanges |\n| --- | --- | --- | --- |");
            let wire = on_ranks(2, |rank| messages::measure(&rank))?;
            println!("α = {:.2} µs, β = {:.3} ns", 1e6 * wire.alpha, 1e9 * wire.beta);
            Ok(())
        }
        Some("steps") => steps::compare(),
        Some("simulate") => simulate::table(),
        _ => {
            println!("expected messages, steps or simulate");
            Ok(())
        }
    }
}
