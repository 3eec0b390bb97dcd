//! A histogram with four buckets between consecutive powers of two, over the whole range of `f32`.

use crate::scalar::{Scalar, to_f64};
use alloc::{vec, vec::Vec};
use core::ops::Range;

/// The number of low bits of an `f64` that do not affect the number of its bucket. There are four buckets between two
/// powers of two: magnitudes `[2^e (1 + q/4), 2^e (1 + (q+1)/4))` have the bucket number `4 (e + 1023) + q`. It
/// consists of the exponent and the first two bits of the fraction.
const DIGITS: u32 = 50;
/// The number of the bucket that begins at 2^−160, below all numbers of `f32`. Smaller magnitudes are counted with 0.
const LEAST: u64 = (1023 - 160) * 4;
/// The number of the bucket that begins at 2^128, above all numbers of `f32`. It counts all magnitudes of at least
/// 2^128.
const LARGEST: u64 = (1023 + 128) * 4;
/// The index of the bucket of 0. Buckets of negative values have lower indices, and buckets of positive values higher
/// ones.
const ZERO: usize = (LARGEST - LEAST + 1) as usize;
/// The number of buckets of negative values, zero and positive values.
pub(super) const BUCKETS: usize = 2 * ZERO + 1;

/// Returns the least magnitude in the bucket with the number `bucket`.
fn least(bucket: u64) -> f64 {
    f64::from_bits(bucket << DIGITS)
}

/// Returns the index, from 0 to `BUCKETS − 1`, of the bucket of a finite value.
fn place(value: f64) -> usize {
    let magnitude = value.abs().to_bits();
    // The limits of negative buckets belong to the bucket nearer to 0.
    let bucket = if value < 0.0 { magnitude - 1 } else { magnitude } >> DIGITS;
    match bucket {
        ..LEAST => ZERO,
        _ => {
            let distance = (bucket.min(LARGEST) - LEAST + 1) as usize;
            if value < 0.0 { ZERO - distance } else { ZERO + distance }
        }
    }
}

/// Returns the upper limit of the bucket with the index `place`: below 0 for negative values, `f64::MAX` for the last
/// bucket.
fn limit(place: usize) -> f64 {
    match place {
        ..ZERO => -least(LEAST + (ZERO - 1 - place) as u64),
        _ if place == BUCKETS - 1 => f64::MAX,
        _ => least(LEAST + (place - ZERO) as u64),
    }
}

/// The finite values counted by bucket, their extremes and sums, and the number of values that are not finite.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    pub min: f64,
    pub max: f64,
    pub values: u64,
    pub sum: f64,
    pub sum_of_squares: f64,
    pub non_finite: u64,
    counts: Vec<u64>,
    /// A range of bucket indices outside which all counts are 0.
    used: Range<usize>,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self::with(vec![0; BUCKETS])
    }

    /// Creates a histogram without values. `counts` must be zeros, one for each bucket.
    fn with(counts: Vec<u64>) -> Self {
        Histogram {
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            values: 0,
            sum: 0.0,
            sum_of_squares: 0.0,
            non_finite: 0,
            used: counts.len()..0,
            counts,
        }
    }

    pub(super) fn clear(&mut self) {
        let mut counts = core::mem::take(&mut self.counts);
        if self.values > 0 {
            counts[self.used.clone()].fill(0);
        }
        *self = Self::with(counts);
    }

    pub(super) fn add<T: Scalar>(&mut self, values: &[T]) {
        for value in values.iter().map(|&value| to_f64(value)) {
            if !value.is_finite() {
                self.non_finite += 1;
                continue;
            }
            let place = place(value);
            self.counts[place] += 1;
            self.used = self.used.start.min(place)..self.used.end.max(place + 1);
            (self.min, self.max) = (self.min.min(value), self.max.max(value));
            self.values += 1;
            self.sum += value;
            self.sum_of_squares += value * value;
        }
    }

    /// Replaces `limits` and `counts` by the upper limits and the counts of the buckets, in increasing order.
    /// Consecutive empty buckets become one.
    pub(super) fn buckets(&self, limits: &mut Vec<f64>, counts: &mut Vec<f64>) {
        limits.clear();
        counts.clear();
        if self.values > 0 {
            // An empty bucket, whose upper limit is the lower limit of the bucket with the least value.
            limits.push(if self.used.start == 0 { f64::MIN } else { limit(self.used.start - 1) });
            counts.push(0.0);
        }
        for place in self.used.clone() {
            let count = self.counts[place] as f64;
            if count == 0.0 && counts.last() == Some(&0.0) {
                limits.pop();
            } else {
                counts.push(count);
            }
            limits.push(limit(place));
        }
    }
}
