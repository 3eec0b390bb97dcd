//! Arguments at which activations are tested, and the simplification of a failing argument.

use crate::random::{generator, uniform};
use alloc::{format, vec::Vec};
use rand_core::Rng;

/// The half-width of the central interval, in which test arguments are dense.
const CENTRE: i32 = 8;
/// The number of test arguments per unit in the central interval: 512 in all.
const PER_UNIT: i32 = 32;
/// The number of octaves beyond the central interval, from 2³ to 2^13.25 ≈ 9742, with [`PER_OCTAVE`] arguments each.
/// Kinks are not searched for farther out, where an oscillating function jumps between adjacent floats.
const OCTAVES: f64 = 10.25;
/// The number of test arguments per octave beyond the central interval.
const PER_OCTAVE: f64 = 8.0;
/// The spacing of arguments beyond ±2^13.25 and within ±1/32, in octaves: one argument per decade.
const DECADE: f64 = core::f64::consts::LOG2_10;
/// The magnitude of the arguments up to which kinks and jumps are searched for.
pub(super) const REACH: f64 = 1e4;
/// The number of arguments with random bits, almost all of them huge or tiny.
const RANDOM: usize = 64;
/// The unit of the distances of test arguments from a kink at 0, on both sides: a normal number in `f32`.
const BESIDE_ZERO: f64 = 1e-30;

/// Returns the distance of `ulps` units in the last place at `kink`: `|kink| · ulps · epsilon`, with the machine
/// epsilon of the number format. At 0 a unit is 1e-30.
pub(super) fn distance(kink: f64, ulps: f64, epsilon: f64) -> f64 {
    if kink == 0.0 { BESIDE_ZERO * ulps } else { kink.abs() * ulps * epsilon }
}

/// Returns finite test arguments of an activation in increasing order: 32 per unit within ±8, 8 per octave from there
/// to 10⁴, and one per decade at larger magnitudes and below 1/32. Values on and beside the `kinks` are added; of more
/// than 512 kinks, evenly spaced ones are chosen. `seed` jitters the arguments. Every second jittered one is exact in
/// `f32`.
pub(super) fn arguments(kinks: &[f64], seed: u64) -> Vec<f64> {
    let mut rng = generator(seed);
    let mut all: Vec<f64> = (-CENTRE * PER_UNIT..CENTRE * PER_UNIT)
        .map(|i| (f64::from(i) + uniform(&mut rng)) / f64::from(PER_UNIT))
        .collect();
    for sign in [-1.0, 1.0] {
        let mut spread = |first: f64, step: f64, last: f64| {
            let count = ((last - first) / step) as usize;
            for i in 0..count {
                all.push(sign * libm::exp2(first + (i as f64 + uniform(&mut rng)) * step));
            }
        };
        spread(3.0, 1.0 / PER_OCTAVE, 3.0 + OCTAVES);
        spread(3.0 + OCTAVES, DECADE, 1024.0);
        spread(-5.0, -DECADE, -1074.0);
    }
    all.extend((0..RANDOM).map(|_| f64::from_bits(rng.next_u64())));
    for z in all.iter_mut().step_by(2) {
        let single = f64::from(*z as f32);
        if single.is_finite() && single != 0.0 {
            *z = single;
        }
    }
    for magnitude in [REACH, f64::MIN_POSITIVE, f64::MAX, f32::MIN_POSITIVE.into(), f32::MAX.into()] {
        all.extend([magnitude, -magnitude]);
    }
    // Arguments at which implementations often switch formulas, and arguments on both sides of them.
    for turn in (0..=40).map(|i| 0.5 * f64::from(i)).chain([88.0, 709.0]) {
        let (single, step) = (turn as f32, f64::from(f32::EPSILON));
        let beside = [turn, turn.next_down(), turn.next_up(), f64::from(single) * (1.0 - step), turn * (1.0 + step)];
        all.extend(beside.into_iter().flat_map(|z| [z, -z]));
    }
    // The largest number of kinks for which arguments on and beside them are added.
    const MOST: usize = 512;
    for &kink in kinks.iter().step_by(kinks.len().div_ceil(MOST).max(1)) {
        let single = f64::from(kink as f32);
        all.extend([kink, single]);
        for ulps in [16.0, 32.0] {
            all.extend([-1.0, 1.0].map(|side| kink + side * distance(kink, ulps, f64::EPSILON)));
            all.extend(
                [-1.0, 1.0].map(|side| f64::from((single + side * distance(kink, ulps, f32::EPSILON.into())) as f32)),
            );
        }
    }
    sorted(all)
}

/// Returns the finite values of `all`, without duplicates, in increasing order.
fn sorted(mut all: Vec<f64>) -> Vec<f64> {
    all.retain(|z| z.is_finite());
    all.sort_unstable_by(f64::total_cmp);
    all.dedup_by_key(|z| z.to_bits());
    all
}

/// Returns finite test arguments in increasing order: those of [`arguments`], and a grid that is fine enough to show
/// narrow intervals in which an activation is wrong. `seed` shifts each of the three parts of the grid by a random
/// fraction of its spacing. The spacing is just below 1/1024 up to ±10, and just below 1 up to ±10⁴: an irrational
/// number, so that no function of round period has the same phase at all points. Beyond ±10 each point is exact in
/// `f32`, and every second one elsewhere.
pub(super) fn dense(kinks: &[f64], seed: u64) -> Vec<f64> {
    let mut all = arguments(kinks, seed);
    all.extend(fine(seed));
    sorted(all)
}

/// Returns the points of the grid of [`dense`], in increasing order.
fn fine(seed: u64) -> Vec<f64> {
    const SHARE: f64 = 1.4 * core::f64::consts::FRAC_1_SQRT_2;
    let mut rng = generator(seed);
    let mut all = Vec::new();
    let parts = [(-REACH, -10.0, SHARE, 1), (-10.0, 10.0, SHARE / 1024.0, 2), (10.0, REACH, SHARE, 1)];
    for (first, last, step, exact) in parts {
        let (count, offset) = (((last - first) / step) as usize, uniform(&mut rng));
        let point = |i: usize| first + (i as f64 + offset) * step;
        all.extend((0..count).map(|i| if i.is_multiple_of(exact) { f64::from(point(i) as f32) } else { point(i) }));
    }
    all
}

/// Small round magnitudes, the simplest first.
const ROUND: [f64; 27] = [
    0.0, 1.0, 2.0, 3.0, 0.5, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 100.0, 0.1, 0.01,
    1e-3, 200.0, 500.0, 1e3, 1e4, 1e10, 1e30,
];

/// Returns the simplest argument for which `fails` is true: a round number, else `z` rounded to as few digits as
/// possible. Returns `z` itself if `fails` is true for none of them.
pub(super) fn simplest(z: f64, fails: impl Fn(f64) -> bool) -> f64 {
    let round = ROUND.into_iter().flat_map(|magnitude| [magnitude, 0.0 - magnitude]);
    round.chain((0..16).map(|digits| rounded(z, digits))).find(|&z| fails(z)).unwrap_or(z)
}

/// Returns a number from `a` to `b`, ends included, with few significant digits: 0 if it lies there, else `a`, `b` or
/// the middle, rounded to as few digits as stay inside.
pub(super) fn between(a: f64, b: f64) -> f64 {
    let middle = 0.5 * a + 0.5 * b;
    if a <= 0.0 && b >= 0.0 {
        return 0.0;
    }
    (0..17)
        .flat_map(|digits| [a, b, middle].map(|z| rounded(z, digits)))
        .find(|z| (a..=b).contains(z))
        .unwrap_or(middle)
}

/// Returns `z` rounded to `digits` decimals of its scientific notation: `digits + 1` significant digits.
pub(super) fn rounded(z: f64, digits: usize) -> f64 {
    format!("{z:.digits$e}").parse().unwrap_or(z)
}
