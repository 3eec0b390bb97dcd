//! Updates on two ranks whose gradient travels after the pass, and in parts beside it, in turn.

use crate::steps::{Update, WORKLOADS, median};
use chainrule::{
    Error,
    distributed::{Communicator, DataParallel},
};
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// A rank whose messages take `beta` seconds a value or longer. It sleeps for the rest, as while a network card sends.
#[derive(Debug)]
struct Slowed {
    rank: Arc<dyn Communicator<f32>>,
    beta: f64,
}

impl Communicator<f32> for Slowed {
    fn rank(&self) -> usize {
        self.rank.rank()
    }

    fn size(&self) -> usize {
        self.rank.size()
    }

    fn exchange(&self, peer: usize, send: &[f32], receive: &mut [f32]) -> Result<(), Error> {
        let (start, least) = (Instant::now(), Duration::from_secs_f64(self.beta * receive.len() as f64));
        self.rank.exchange(peer, send, receive)?;
        thread::sleep(least.saturating_sub(start.elapsed()));
        Ok(())
    }
}

/// Prints the table of docs/scale.md, on rank 0 of two.
pub fn table(rank: Arc<dyn Communicator<f32>>) -> Result<(), Error> {
    if rank.rank() == 0 {
        println!("| network | least β, ns | after the pass, ms | beside it, ms | ratio, median of pairs |");
        println!("| --- | --- | --- | --- | --- |");
    }
    for (workload, pairs) in WORKLOADS.iter().zip([300, 12]) {
        for beta in [0.0, 3.2e-9, 32e-9] {
            let on = || DataParallel::new(Slowed { rank: rank.clone(), beta });
            let mut times = [const { Vec::new() }; 3];
            workload.with_update(workload.batch, Some(on()), Duration::ZERO, |after| {
                workload.with_update(workload.batch, Some(on().overlap()), Duration::ZERO, |beside| {
                    let time = |update: &mut Update<'_>| {
                        rank.barrier()?;
                        let start = Instant::now();
                        update()?;
                        Ok::<_, Error>(start.elapsed().as_secs_f64())
                    };
                    for pair in 0..pairs + 5 {
                        let (after, beside) = (time(after)?, time(beside)?);
                        if pair >= 5 {
                            times.iter_mut().zip([after, beside, beside / after]).for_each(|(to, time)| to.push(time));
                        }
                    }
                    Ok(())
                })
            })?;
            if rank.rank() == 0 {
                let ([after, beside, ratio], name) = (times.each_mut().map(|times| median(times)), workload.name);
                let (beta, after, beside) = (1e9 * beta, 1e3 * after, 1e3 * beside);
                println!("| {name} | {beta:.1} | {after:.2} | {beside:.2} | {ratio:.2} |");
            }
        }
    }
    Ok(())
}
