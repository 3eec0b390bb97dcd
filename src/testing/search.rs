//! The supremum of a derivative over all numbers, by search.
//!
//! The grid resolves peaks of width 1e-3 up to ±10, and of width 1 up to ±10⁴. If φ rises more steeply between two
//! points than φ′ at both, the grid has missed a peak between them.

use super::probe::{Probe, slope};
use alloc::vec::Vec;

/// For each round of the search, the number of best intervals that enter it, and the number of golden sections that
/// shrink each. 60 sections shrink an interval to 1e-12 of its width. A smooth maximum is then exact to 1e-24 of its
/// height.
const ROUNDS: [(usize, usize); 3] = [(4096, 6), (256, 12), (24, 60)];
const GOLDEN: f64 = 0.618_033_988_749_894_9;
/// The largest number of bisections of an interval with a hidden peak: an interval over which the mean slope of φ
/// exceeds φ′ at both ends.
const HALVINGS: usize = 24;

/// The values of φ and φ′ at a number.
#[derive(Clone, Copy, Debug)]
struct Sample {
    z: f64,
    /// The binary logarithm of |z|.
    exponent: f64,
    value: f64,
    slope: f64,
}

impl Sample {
    fn new(activation: &dyn Probe, z: f64) -> Self {
        let [value, slope] = activation.double(z);
        Sample { z, exponent: libm::log2(z.abs()), value, slope }
    }
}

/// The maximum of ±φ′ that a search found: of φ′, or of −φ′ in a search for the minimum of φ′.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extreme {
    /// The largest value of ±φ′.
    pub value: f64,
    /// The argument of the largest value of ±φ′.
    pub at: f64,
    /// Whether ±φ′ is unbounded: it keeps growing towards ±∞, 0 or a pole.
    pub unbounded: bool,
}

/// φ and φ′ of an activation on a fine grid, in which extremes of φ′ are searched for.
pub(super) struct Search<'a> {
    activation: &'a dyn Probe,
    samples: Vec<Sample>,
}

impl<'a> Search<'a> {
    /// Samples φ and φ′ at the `points`, in increasing order, of [`dense`](super::argument::dense).
    pub fn new(activation: &'a dyn Probe, points: &[f64]) -> Self {
        Search { activation, samples: points.iter().map(|&z| Sample::new(activation, z)).collect() }
    }

    /// Searches for the supremum of `sign · φ′`, with a `sign` of 1 or −1.
    pub fn supremum(&self, sign: f64) -> Extreme {
        let f = |z: f64| sign * slope::<f64>(self.activation, z);
        let heights: Vec<f64> = self.samples.iter().map(|sample| finite(sign * sample.slope)).collect();
        let mut best = (f64::NEG_INFINITY, 0.0);
        for (sample, &height) in self.samples.iter().zip(&heights) {
            if height > best.0 {
                best = (height, sample.z);
            }
        }
        let mut candidates = self.peaks(&heights);
        candidates.extend(self.hidden(&heights, sign));
        for (most, sections) in ROUNDS {
            candidates.sort_by(|a, b| b.rank().total_cmp(&a.rank()));
            candidates.truncate(most);
            for candidate in &mut candidates {
                (0..sections).for_each(|_| candidate.section(&f));
                if candidate.best.0 > best.0 {
                    best = candidate.best;
                }
            }
        }
        Extreme { value: best.0, at: best.1, unbounded: self.runs_away(&heights) || is_pole(&f, best.1) }
    }

    /// Returns the intervals around the local maxima of `heights`, the values of ±φ′ at the samples. A sample whose
    /// neighbours are both equally high is left out.
    fn peaks(&self, heights: &[f64]) -> Vec<Bracket> {
        let at = |i: usize| heights.get(i).copied().unwrap_or(f64::NEG_INFINITY);
        let peak = |&i: &usize| {
            let beside = [at(i.wrapping_sub(1)), at(i + 1)];
            beside.iter().all(|&height| height <= heights[i]) && beside.iter().any(|&height| height < heights[i])
        };
        let last = heights.len() - 1;
        let bracket = |i: usize| {
            let (low, high) = (self.samples[i.saturating_sub(1)].z, self.samples[(i + 1).min(last)].z);
            Bracket::new(low, high, (heights[i], self.samples[i].z))
        };
        (0..heights.len()).filter(peak).map(bracket).collect()
    }

    /// Returns the intervals in which the samples miss a larger `sign · φ′`. There the mean slope of `sign · φ`
    /// between neighbouring samples exceeds `heights`, the values of `sign · φ′`, at both (mean value theorem).
    /// Bisection narrows each interval.
    fn hidden(&self, heights: &[f64], sign: f64) -> Vec<Bracket> {
        let mut found = Vec::new();
        for (pair, ends) in self.samples.windows(2).zip(heights.windows(2)) {
            let [mut a, mut b] = [pair[0], pair[1]];
            let steepness = |a: Sample, b: Sample| {
                let noise = 8.0 * f64::EPSILON * (a.value.abs() + b.value.abs());
                (sign * (b.value - a.value) - noise) / (b.z - a.z)
            };
            let height = steepness(a, b);
            if !(height.is_finite() && height > ends[0].max(ends[1])) {
                continue;
            }
            for _ in 0..HALVINGS {
                let middle = Sample::new(self.activation, 0.5 * a.z + 0.5 * b.z);
                let (left, right) = (steepness(a, middle), steepness(middle, b));
                // A φ′ as large as the mean slope of φ shows that the peak was found.
                if sign * middle.slope >= left.max(right) || middle.z <= a.z || middle.z >= b.z {
                    break;
                }
                if left >= right { b = middle } else { a = middle }
            }
            let middle = Sample::new(self.activation, 0.5 * a.z + 0.5 * b.z);
            let best = (finite(sign * middle.slope), middle.z);
            found.push(Bracket { least: height, ..Bracket::new(a.z, b.z, best) });
        }
        found
    }

    /// Whether the running maximum of `heights`, the values of ±φ′ at the samples, keeps growing: from ±1 outward,
    /// or inward to 0.
    fn runs_away(&self, heights: &[f64]) -> bool {
        [-1.0, 1.0].into_iter().any(|side| {
            [1.0, -1.0].into_iter().any(|direction| {
                // Binary exponents of |z| (outward) or of 1/|z| (inward), from |z| = 1 on.
                let climbed = || {
                    let seen = self.samples.iter().zip(heights).filter(|(sample, height)| {
                        side * sample.z > 0.0 && direction * sample.exponent >= 0.0 && height.is_finite()
                    });
                    seen.map(|(sample, &height)| (direction * sample.exponent, height))
                };
                let end = climbed().fold(0.0, |end: f64, (exponent, _)| end.max(exponent));
                let mut maxima = [f64::NEG_INFINITY; 33];
                for (exponent, height) in climbed() {
                    let part = libm::ceil(exponent / end * 32.0).clamp(0.0, 32.0) as usize;
                    maxima[part] = maxima[part].max(height);
                }
                (1..33).for_each(|i| maxima[i] = maxima[i].max(maxima[i - 1]));
                grows(&maxima)
            })
        })
    }
}

/// Returns `x`, or −∞ if `x` is not finite.
fn finite(x: f64) -> f64 {
    if x.is_finite() { x } else { f64::NEG_INFINITY }
}

/// Whether `f` keeps growing towards `at` from either side, down to the resolution of floats.
pub(super) fn is_pole(f: &dyn Fn(f64) -> f64, at: f64) -> bool {
    // Binary exponents of the distance from `at`, as a fraction of |at|. At 0 the distance is absolute, down to the
    // smallest normal numbers.
    const FROM: f64 = -8.0;
    let (unit, to) = if at == 0.0 { (1.0, -1022.0) } else { (at.abs(), -49.0) };
    let mut greatest = f64::NEG_INFINITY;
    let maxima = core::array::from_fn(|i| {
        let distance = unit * libm::exp2(FROM + (to - FROM) * i as f64 / 32.0);
        greatest = greatest.max(finite(f(at - distance))).max(finite(f(at + distance)));
        greatest
    });
    grows(&maxima)
}

/// Returns the magnitudes of `values`, the values of `f` at the `points`. A magnitude is replaced by 0 if it is not
/// finite, or within 1/1024 of a pole. There |f| may be arbitrarily large, so it is no unit for rounding errors
/// elsewhere. Poles are searched at 0 and at `breaks`, which are in increasing order.
pub(super) fn magnitudes(f: &dyn Fn(f64) -> f64, values: &[f64], points: &[f64], breaks: &[f64]) -> Vec<f64> {
    const BESIDE: f64 = 1.0 / 1024.0;
    let mut poles: Vec<f64> = breaks.iter().copied().chain([0.0]).filter(|&at| is_pole(&|z| f(z).abs(), at)).collect();
    poles.sort_unstable_by(f64::total_cmp);
    let beside = |z: f64| poles.get(poles.partition_point(|&pole| pole < z - BESIDE)).is_some_and(|&p| p <= z + BESIDE);
    let of = |(&z, value): (&f64, &f64)| if value.is_finite() && !beside(z) { value.abs() } else { 0.0 };
    points.iter().zip(values).map(of).collect()
}

/// Returns the largest of the `magnitudes` at the `points` from −1 to 1.
pub(super) fn central(magnitudes: &[f64], points: &[f64]) -> f64 {
    let inside = magnitudes.iter().zip(points).filter(|(_, z)| z.abs() <= 1.0);
    inside.fold(0.0, |most: f64, (&size, _)| most.max(size))
}

/// Whether running maxima at equally spaced exponents keep growing. They do if they grow up to the last, and over the
/// second half of the range by at least 0.9 times as much as over the second quarter. `ln ln z` keeps growing; `1 −
/// 1/ln z` does not.
fn grows(maxima: &[f64; 33]) -> bool {
    let [quarter, half, late, before, end] = [maxima[8], maxima[16], maxima[28], maxima[31], maxima[32]];
    let (second, first) = (end - half, half - quarter);
    let growing = second > 1e-3 * end && second >= 0.9 * first && end - late >= 0.1 * second;
    end > 0.0 && end > before && growing
}

/// An interval that contains a maximum of ±φ′, which golden-section search shrinks.
#[derive(Clone, Copy, Debug)]
struct Bracket {
    low: f64,
    high: f64,
    /// The two inner points as (value of ±φ′, argument), the left one first; `None` until they are computed.
    inner: Option<[(f64, f64); 2]>,
    /// The largest value of ±φ′ computed so far, and its argument.
    best: (f64, f64),
    /// A lower bound on the maximum of ±φ′ in the interval; −∞ if none is known.
    least: f64,
}

impl Bracket {
    fn new(low: f64, high: f64, best: (f64, f64)) -> Self {
        Bracket { low, high, inner: None, best, least: f64::NEG_INFINITY }
    }

    /// Returns the key by which intervals are sorted: a lower bound on the maximum of ±φ′ in the interval.
    fn rank(&self) -> f64 {
        self.best.0.max(self.least)
    }

    /// Shrinks the interval around the maximum of `f` by one golden section: drops the end of the interval next to
    /// the inner point with the lower `f`.
    fn section(&mut self, f: &dyn Fn(f64) -> f64) {
        let width = self.high - self.low;
        let at = |share: f64| {
            let z = self.low + share * width;
            (finite(f(z)), z)
        };
        let [left, right] = match self.inner {
            Some(inner) => inner,
            None => [at(1.0 - GOLDEN), at(GOLDEN)],
        };
        for inner in [left, right] {
            if inner.0 > self.best.0 {
                self.best = inner;
            }
        }
        if left.0 >= right.0 {
            self.high = right.1;
            let z = self.high - GOLDEN * (self.high - self.low);
            self.inner = Some([(finite(f(z)), z), left]);
        } else {
            self.low = left.1;
            let z = self.low + GOLDEN * (self.high - self.low);
            self.inner = Some([right, (finite(f(z)), z)]);
        }
    }
}
