//! Figures of docs/scale.md between threads; mpi/examples/ranks.rs has those between processes.
//!
//! `cargo bench --bench ranks -- messages` measures α and β between two threads. `-- steps` compares 1, 2 and 4 ranks
//! of one machine, and a slowed rank, with the model. `-- overlap` lets parts of the gradient travel beside the pass.
//! `-- simulate` runs 64 ranks with virtual clocks.

mod messages;
mod overlap;
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
    match std::env::args().skip(1).find(|word| word != "--bench").as_deref() {
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
        _ => {
            println!("expected messages, steps, overlap or simulate");
            Ok(())
        }
    }
}
