//! The time of an exchange between two ranks by the number of values, over any communicator.

use crate::steps::median;
use chainrule::{Error, distributed::Communicator};
use std::time::Instant;

/// The time α of a message without content and β of a value of 4 bytes, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Wire {
    pub alpha: f64,
    pub beta: f64,
}

impl Wire {
    /// Fits `α + n β` to times of n values by least squares of the relative errors.
    fn fit(times: &[(f64, f64)]) -> Self {
        let (mut aa, mut ab, mut bb, mut a, mut b) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for &(n, time) in times {
            let (of_alpha, of_beta) = (1.0 / time, n / time);
            (aa, ab, bb) = (aa + of_alpha * of_alpha, ab + of_alpha * of_beta, bb + of_beta * of_beta);
            (a, b) = (a + of_alpha, b + of_beta);
        }
        let determinant = aa * bb - ab * ab;
        Wire { alpha: (a * bb - b * ab) / determinant, beta: (b * aa - a * ab) / determinant }
    }

    /// C(p) of docs/scale.md for `values` values on a power of two of ranks, without the time of additions.
    pub fn sum(&self, ranks: usize, values: f64) -> f64 {
        let p = ranks as f64;
        2.0 * p.log2() * self.alpha + 2.0 * (p - 1.0) / p * values * self.beta
    }
}

/// Times exchanges of 1 to 10⁶ values in both directions between ranks 0 and 1. Rank 0 prints the table of medians.
pub fn measure(ranks: &dyn Communicator<f32>) -> Result<Wire, Error> {
    let (rank, mut medians) = (ranks.rank(), Vec::new());
    if rank == 0 {
        println!("| values | µs | ns a value | exchanges |\n| --- | --- | --- | --- |");
    }
    for size in (0..=6).map(|power| 10_usize.pow(power)) {
        let (send, mut receive) = (vec![1.0; size], vec![0.0; size]);
        let mut times = Vec::new();
        for _ in 0..(40_000_000 / size).clamp(400, 4000) {
            let start = Instant::now();
            ranks.exchange(1 - rank, &send, &mut receive)?;
            times.push(start.elapsed().as_secs_f64());
        }
        let (median, count) = (median(&mut times), times.len());
        if rank == 0 {
            println!("| {size} | {:.2} | {:.3} | {count} |", 1e6 * median, 1e9 * median / size as f64);
        }
        medians.push((size as f64, median));
    }
    let wire = Wire::fit(&medians);
    if rank == 0 {
        println!("α = {:.2} µs, β = {:.3} ns", 1e6 * wire.alpha, 1e9 * wire.beta);
    }
    Ok(wire)
}
