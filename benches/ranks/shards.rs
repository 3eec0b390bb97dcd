//! Steps in 8 shards on one rank beside plain steps, in pairs: the price of bits that do not depend on the ranks.

use crate::steps::{SMALLER_LSTM, Update, WORKLOADS, median};
use chainrule::{Error, distributed::DataParallel};
use std::time::{Duration, Instant};

/// Prints the table of docs/scale.md, and fails where the median of the ratios is above its bound.
pub fn table() -> Result<(), Error> {
    println!(
        "| network | plain, ms | in 8 shards, ms | ratio, median of pairs | at most |\n| --- | --- | --- | --- | --- |"
    );
    let [perceptron, lstm] = &WORKLOADS;
    for (workload, pairs, most) in [(perceptron, 600, 1.1), (&SMALLER_LSTM, 200, 1.05), (lstm, 24, 1.05)] {
        let mut times = [const { Vec::new() }; 3];
        workload.with_update(workload.batch, None, Duration::ZERO, |plain| {
            workload.with_update(workload.batch, Some(DataParallel::new(())), Duration::ZERO, |shards| {
                let time = |update: &mut Update<'_>| {
                    let start = Instant::now();
                    update()?;
                    Ok::<_, Error>(start.elapsed().as_secs_f64())
                };
                for pair in 0..pairs + 5 {
                    // The second of a pair may find warmer caches: each is first in turn.
                    let (one, other) = if pair % 2 == 0 {
                        let one = time(plain)?;
                        (one, time(shards)?)
                    } else {
                        let other = time(shards)?;
                        (time(plain)?, other)
                    };
                    if pair >= 5 {
                        times.iter_mut().zip([one, other, other / one]).for_each(|(to, time)| to.push(time));
                    }
                }
                Ok(())
            })
        })?;
        let [plain, shards, ratio] = times.each_mut().map(|times| median(times));
        println!("| {} | {:.2} | {:.2} | {ratio:.3} | {most} |", workload.name, 1e3 * plain, 1e3 * shards);
        assert!(ratio <= most, "{}: {ratio:.3} times the plain step", workload.name);
    }
    Ok(())
}
