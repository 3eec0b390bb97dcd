//! The time of an exchange between two ranks by the number of values, over any communicator.

use chainrule::{Error, distributed::Communicator};
use std::time::Instant;

/// The time α of a message of one value, and the slope β from 10⁵ to 10⁶ values of 4 bytes, in seconds.
pub struct Wire {
    pub alpha: f64,
    pub beta: f64,
}

/// Times exchanges of 1 to 10⁶ values in both directions between ranks 0 and 1. Rank 0 prints the table of medians.
pub fn measure(ranks: &dyn Communicator<f32>) -> Result<Wire, Error> {
    let (rank, mut medians) = (ranks.rank(), Vec::new());
    for size in (0..=6).map(|power| 10_usize.pow(power)) {
        let (send, mut receive) = (vec![1.0; size], vec![0.0; size]);
        let mut times = Vec::new();
        for _ in 0..(4_000_000 / size).clamp(40, 4000) {
            let start = Instant::now();
            ranks.exchange(1 - rank, &send, &mut receive)?;
            times.push(start.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        let (median, count) = (times[times.len() / 2], times.len());
        if rank == 0 {
            println!("| {size} | {:.2} | {:.3} | {count} |", 1e6 * median, 1e9 * median / size as f64);
        }
        medians.push(median);
    }
    Ok(Wire { alpha: medians[0], beta: (medians[6] - medians[5]) / 9e5 })
}
