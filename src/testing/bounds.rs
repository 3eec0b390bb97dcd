//! The bounds of a derivative, its kinks and the jumps of the value, by search.

use super::{
    argument::{REACH, between, dense, distance, rounded, simplest},
    probe::{Probe, slope, value},
    search::{Extreme, Search, central, magnitudes},
};
use crate::activation::{Activation, Bounds};
use alloc::vec::Vec;
use core::fmt;

/// The number of local maxima over the sampled points, the highest ones, that golden sections refine.
const CANDIDATES: usize = 24;
/// The number of golden sections that shrink the interval around a maximum: to 0.618⁴⁸ ≈ 1e-10 of its width, at
/// which a smooth maximum is exact to 1e-20.
const SECTIONS: usize = 48;
/// The smallest jump of a function that is searched for, relative to its largest magnitude nearby: some million
/// rounding errors.
const JUMP: f64 = 1e-9;
/// The number of decimals, in scientific notation, of a suggested bound that is not a short number. Rounded outward,
/// it is off by a relative 1e-8 at most.
const DIGITS: usize = 8;

/// Returns the largest value of `f` that was found, and its argument; (−∞, 0) if `f` is NaN at all points. The 24
/// highest local maxima over `points`, which must be sorted, are refined between their neighbours.
pub(super) fn greatest(f: &dyn Fn(f64) -> f64, points: &[f64]) -> (f64, f64) {
    let values: Vec<f64> = points.iter().map(|&z| f(z)).collect();
    let at = |i: usize| values.get(i).copied().unwrap_or(f64::NEG_INFINITY);
    let mut peaks: Vec<usize> = (0..values.len())
        .filter(|&i| !(values[i].is_nan() || at(i) < at(i.wrapping_sub(1)) || at(i) < at(i + 1)))
        .collect();
    peaks.sort_by(|&i, &j| values[j].total_cmp(&values[i]));
    // Of equal maxima, such as those of a plateau, one is kept.
    peaks.dedup_by_key(|i| values[*i].to_bits());
    let mut best = peaks.first().map_or((f64::NEG_INFINITY, 0.0), |&i| (values[i], points[i]));
    for &i in peaks.iter().take(CANDIDATES) {
        let (mut low, mut high) = (points[i.saturating_sub(1)], points[(i + 1).min(points.len() - 1)]);
        const GOLDEN: f64 = 0.618_033_988_749_894_9;
        for _ in 0..SECTIONS {
            let width = high - low;
            let (a, b) = (high - GOLDEN * width, low + GOLDEN * width);
            let (fa, fb) = (f(a), f(b));
            for found in [(fa, a), (fb, b)] {
                if found.0 > best.0 {
                    best = found;
                }
            }
            if fa >= fb { high = b } else { low = a }
        }
    }
    best
}

/// Returns the arguments within ±10⁴ at which `f` jumps between adjacent floats, each with the signed height of its
/// jump, in increasing order. They are found by bisection between neighbours of `points`. `breaks` are the arguments
/// at which `f` may have a pole. `points` and `breaks` must be sorted.
pub(super) fn jumps(f: &dyn Fn(f64) -> f64, points: &[f64], breaks: &[f64]) -> Vec<(f64, f64)> {
    let points: Vec<f64> = points.iter().copied().filter(|z| z.abs() <= REACH).collect();
    let values: Vec<f64> = points.iter().map(|&z| f(z)).collect();
    let size = central(&magnitudes(f, &values, &points, breaks), &points);
    let mut found: Vec<(f64, f64)> = Vec::new();
    for (pair, ends) in points.windows(2).zip(values.windows(2)) {
        let (mut a, mut b) = (pair[0], pair[1]);
        let (mut fa, mut fb) = (ends[0], ends[1]);
        let least = JUMP * size.max(fa.abs()).max(fb.abs()) + f64::MIN_POSITIVE;
        loop {
            let change = (fb - fa).abs();
            // Other laws test for NaN.
            if change.is_nan() || change <= least {
                break;
            }
            let middle = 0.5 * a + 0.5 * b;
            // Towards 0 the bisection stops at the smallest normal numbers.
            if middle <= a || middle >= b || b - a < 1e-280 {
                // A steep but smooth `f` changes about eight times as much over eight times the width.
                let width = 8.0 * (b - a);
                let beside = (fa - f(a - width)).abs() + (f(b + width) - fb).abs();
                let z = between(a, b);
                let near = |&(other, _): &(f64, f64)| (other - z).abs() <= distance(z, 16.0, f64::EPSILON);
                if change > 4.0 * beside && !found.iter().any(near) {
                    found.push((z, fb - fa));
                }
                break;
            }
            let f_middle = f(middle);
            // A jump lies in one of the halves; without one, `f` changes by the same amount in both.
            if ((f_middle - fa) - (fb - f_middle)).abs() <= 0.25 * least {
                break;
            }
            if (f_middle - fa).abs() >= (fb - f_middle).abs() {
                (b, fb) = (middle, f_middle);
            } else {
                (a, fa) = (middle, f_middle);
            }
        }
    }
    found
}

/// The bounds and kinks of the derivative φ′ of an activation φ, found by search. The [`Display`](fmt::Display)
/// text is the code that declares them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Measured {
    /// The smallest and the largest value of the derivative φ′; infinite if φ′ is unbounded.
    pub bounds: Bounds,
    /// The argument of the smallest derivative φ′; ±∞ if it is approached there.
    pub inf_at: f64,
    /// The argument of the largest derivative φ′; ±∞ if it is approached there.
    pub sup_at: f64,
    /// The arguments up to ±10⁴ at which the derivative φ′ jumps and the activation φ does not, in increasing
    /// order.
    pub kinks: Vec<f64>,
    /// The arguments up to ±10⁴ at which the activation φ jumps, in increasing order.
    pub jumps: Vec<f64>,
}

/// Searches for the bounds and kinks of φ′ and the jumps of φ in `f64`, which a custom activation declares.
///
/// The search finds peaks of φ′ at least 1e-3 wide within ±10, and 1 wide within ±10⁴, and other peaks if φ
/// rises noticeably over them. A bound is infinite if φ′ keeps growing towards ±∞, 0 or a pole. The result is not
/// a proof. `seed` jitters its points.
///
/// ```
/// use chainrule::{activation::Gelu, testing::measure_derivative};
/// println!("{}", measure_derivative(&Gelu, 0));
/// ```
///
/// ```text
/// // found by search, rounded outward: least at z = -1.414214, greatest at z = 1.414214
/// fn derivative_bounds(&self) -> Option<Bounds> { Some(Bounds::new(-0.128904146, 1.12890415)) }
/// ```
pub fn measure_derivative<A: Activation>(activation: &A, seed: u64) -> Measured {
    measured(activation, seed)
}

pub(super) fn measured(activation: &dyn Probe, seed: u64) -> Measured {
    let mut breaks = [activation.kink_points(), activation.jump_points()].concat();
    breaks.sort_unstable_by(f64::total_cmp);
    let points = dense(&breaks, seed);
    let search = Search::new(activation, &points);
    let f = |z| slope::<f64>(activation, z);
    let places = |f: &dyn Fn(f64) -> f64| {
        let mut places: Vec<f64> = jumps(f, &points, &breaks).into_iter().map(|(z, _)| z).collect();
        places.sort_unstable_by(f64::total_cmp);
        places
    };
    let jumps = places(&|z| value::<f64>(activation, z));
    let mut kinks = places(&f);
    kinks.retain(|&kink| !jumps.iter().any(|&jump| (jump - kink).abs() <= distance(kink, 16.0, f64::EPSILON)));
    let (sup, sup_at) = simple(&f, search.supremum(1.0));
    let (inf, inf_at) = simple(&|z| -f(z), search.supremum(-1.0));
    Measured { bounds: Bounds::new(0.0 - inf, sup), inf_at, sup_at, kinks, jumps }
}

/// Returns the supremum of `f`, which a search found as `value` at the argument `at`, and the simplest argument that
/// attains it: ±∞ if the supremum is approached there. Both are infinite if `f` is unbounded.
fn simple(f: &dyn Fn(f64) -> f64, Extreme { value, at, unbounded }: Extreme) -> (f64, f64) {
    if unbounded {
        return (f64::INFINITY, f64::INFINITY.copysign(at));
    }
    let met = |z: f64| f(z) >= value - 4.0 * f64::EPSILON * value.abs();
    let place = simplest(at, |z| z.abs() <= 10.0 && met(z));
    let limit = [f64::MAX, -f64::MAX].into_iter().find(|&far| met(far));
    match limit {
        Some(far) if !met(place) || place.abs() > 10.0 => (value, f64::INFINITY.copysign(far)),
        _ => (value, place),
    }
}

/// Returns `x` rounded to 9 significant digits: to nearest if that is `x` up to 4 ε · `size`, else towards `sign` ·
/// ∞. Returns 0 if |x| is at most 4 ε · `size`. `x` is one of the two bounds of φ′, and `size` is the larger
/// magnitude of those that are finite.
fn outward(x: f64, sign: f64, size: f64) -> f64 {
    if x.abs() <= 4.0 * f64::EPSILON * size {
        return 0.0;
    }
    let near = rounded(x, DIGITS);
    if !x.is_finite() || (near - x).abs() <= 4.0 * f64::EPSILON * size {
        return if near.is_nan() { x } else { near };
    }
    let step = libm::pow(10.0, libm::floor(libm::log10(x.abs())) - DIGITS as f64);
    if sign * (near - x) > 0.0 { near } else { rounded(near + sign * step, DIGITS) }
}

/// A float as Rust source.
struct Source(f64);

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            f64::INFINITY => f.write_str("f64::INFINITY"),
            f64::NEG_INFINITY => f.write_str("f64::NEG_INFINITY"),
            x => write!(f, "{x:?}"),
        }
    }
}

/// An argument in words: `at z =` a number, or the direction of a limit.
struct Place(f64);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_finite() {
            write!(f, "at z = {:?}", rounded(self.0, 6))
        } else {
            f.write_str(if self.0 > 0.0 { "towards ∞" } else { "towards −∞" })
        }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size =
            [self.bounds.inf, self.bounds.sup].iter().filter(|x| x.is_finite()).fold(0.0, |a: f64, x| a.max(x.abs()));
        let (inf, sup) = (outward(self.bounds.inf, -1.0, size), outward(self.bounds.sup, 1.0, size));
        let (least, most) = (Place(self.inf_at), Place(self.sup_at));
        writeln!(f, "// found by search, rounded outward: least {least}, greatest {most}")?;
        let (inf, sup) = (Source(inf), Source(sup));
        write!(f, "fn derivative_bounds(&self) -> Option<Bounds> {{ Some(Bounds::new({inf}, {sup})) }}")?;
        for (name, places) in [("kinks", &self.kinks), ("jumps", &self.jumps)] {
            if !places.is_empty() {
                write!(f, "\nfn {name}(&self) -> Vec<f64> {{ vec!{places:?} }}")?;
            }
        }
        Ok(())
    }
}
