//! Figures of docs/scale.md between threads; mpi/examples/ranks.rs has those between processes.
//!
//! `cargo bench --bench ranks -- messages` measures α and β between two threads. `-- steps` compares 1, 2 and 4 ranks
//! of one machine, and a slowed rank, with the model. `-- overlap` lets parts of the gradient travel beside the pass.
//! `-- simulate` runs 64 ranks with virtual clocks. `-- shards` compares steps in 8 shards with plain ones, in pairs.
//! `-- model 20 3.2` prints the speed-up of up to 1,024 ranks for α in µs and β in ns, from passes measured here.

mod messages;
mod model;
mod overlap;
mod shards;
mod simulate;
mod steps;

use chainrule::{
    Error,
    distributed::{Communicator, DataParallel, Local},
};
use std::{sync::Arc, thread, time::Duration};

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
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.first().map(String::as_str) {
        Some("messages") => on_ranks(2, |rank| messages::measure(&rank)).map(drop),
        Some("steps") => {
            let wire = on_ranks(2, |rank| messages::measure(&rank))?;
            steps::compare(wire, |workload, ranks, sleep| {
                on_ranks(ranks, |rank| {
                    let sleep = if Communicator::<f32>::rank(&rank) == 1 { sleep } else { Duration::ZERO };
                    Ok(workload.time(workload.batch, Some(DataParallel::new(rank)), sleep, steps::UPDATES)?[0])
                })
            })
        }
        Some("overlap") => on_ranks(2, |rank| overlap::table(Arc::new(rank))),
        Some("simulate") => simulate::table(),
        Some("shards") => shards::table(),
        Some("model") => {
            let number = |i: usize, default: f64| words.get(i).map_or(Some(default), |word| word.parse().ok());
            let (Some(alpha), Some(beta)) = (number(1, 20.0), number(2, 3.2)) else {
                println!("expected α in µs and β in ns");
                return Ok(());
            };
            model::table(messages::Wire { alpha: 1e-6 * alpha, beta: 1e-9 * beta })
        }
        _ => {
            println!("expected messages, steps, overlap, simulate, shards or model");
            Ok(())
        }
    }
}
