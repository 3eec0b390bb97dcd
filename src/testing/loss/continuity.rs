//! The law that the value of a loss has no jump.

use super::{Case, Outputs, Suite};
use crate::{
    random::{generator, uniform},
    testing::{Law, law::number},
};
use alloc::{format, vec::Vec};

/// The least jump, relative to the magnitude of the loss and its derivatives: some million rounding errors.
const JUMP: f64 = 1e-9;

/// The number of intervals of a segment at first, and the most that are tried.
const INTERVALS: [usize; 2] = [16, 1024];

/// The smallest distance of the two ends of a segment of outputs from the targets, or from 0, in two series of
/// segments.
const REACHES: [f64; 2] = [4.0, 40.0];

/// The number of segments for each of [`REACHES`]: a single one may miss a jump that involves few of the outputs.
const SEGMENTS: u64 = 8;

/// A segment of outputs from `start` to `start` + `way`, and the case that is evaluated at its points.
struct Line {
    start: Vec<f64>,
    way: Vec<f64>,
    case: Case,
}

/// A part of a segment: its ends with the loss there, and the integral of the gradient along it.
#[derive(Clone, Copy)]
struct Part {
    ends: [(f64, f64); 2],
    integral: f64,
}

impl Suite<'_, '_> {
    /// Tests L(b) − L(a) = ∫ ⟨dy, ẏ⟩ along segments from one side of the targets to the other. Segments have the first
    /// and the fourth of `sizes` in turn. Nothing is tested if the gradient is wrong, or may be, since
    /// [`Law::Derivative`] is left out.
    #[inline]
    pub(super) fn continuity(&mut self, sizes: &[[usize; 2]]) {
        let tried = sizes.iter().take(1).chain(sizes.get(3));
        for (stream, &size) in (60..60 + SEGMENTS).zip(tried.cycle()) {
            for reach in REACHES {
                if self.trial.broken(Law::Derivative) || self.trial.excepts(Law::Derivative) {
                    return;
                }
                let mut line = self.line(size, reach, stream);
                if let Some(Part { ends: [(a, from), (b, to)], integral }) = self.jump(&mut line) {
                    self.read(&mut line, 0.5 * (a + b));
                    let place = format!("{}: the loss between neighbouring outputs", self.at("f64", &line.case));
                    let (expected, found) =
                        (format!("a rise of {}", number(integral)), format!("from {} to {}", number(from), number(to)));
                    return self.trial.breaks(Law::Continuity, place, expected, found, line.case.described());
                }
            }
        }
    }

    /// Draws a segment of outputs of this size, from one side of the targets to the other. If targets are classes, or
    /// do not have the width of the outputs, it goes from one side of 0 to the other.
    #[inline]
    fn line(&self, size: [usize; 2], reach: f64, stream: u64) -> Line {
        let case = self.draw(size, Outputs::Usual, false, stream);
        let mut rng = generator(self.seed.wrapping_add(stream));
        let targets = case.labels.is_none() && case.target_width == case.width;
        let [mut start, mut end] = [Vec::new(), Vec::new()];
        for i in 0..case.y.len() {
            let centre = if targets { case.values[i] } else { 0.0 };
            let side = if uniform(&mut rng) < 0.5 { -reach } else { reach };
            start.push(centre - side * (1.0 + uniform(&mut rng)));
            end.push(centre + side * (1.0 + uniform(&mut rng)));
        }
        self.admit(&mut start);
        self.admit(&mut end);
        let way = end.iter().zip(&start).map(|(end, start)| end - start).collect();
        Line { start, way, case }
    }

    /// Returns the loss at the fraction `share` of the segment, and its derivative along the segment. Both are NaN if
    /// the loss cannot be evaluated, for example at invalid outputs.
    #[inline]
    fn read(&mut self, line: &mut Line, share: f64) -> (f64, f64) {
        for ((y, start), way) in line.case.y.iter_mut().zip(&line.start).zip(&line.way) {
            *y = start + share * way;
        }
        let is_valid = |&y: &f64| ((self.admit)(y) - y).abs() <= 1e-6 * (1.0 + y.abs());
        if !line.case.y.iter().all(is_valid) {
            return (f64::NAN, f64::NAN);
        }
        let read = self.evaluated(self.losses.double, "f64", &line.case, 0.0);
        read.map_or((f64::NAN, f64::NAN), |(value, dy)| {
            (value, dy.iter().zip(&line.way).map(|(dy, way)| dy * way).sum())
        })
    }

    /// Returns the part of a segment between two `ends`, each given as a fraction of the segment and the loss there.
    /// The integral is computed by Gauss–Legendre quadrature with five points.
    #[inline]
    fn part(&mut self, line: &mut Line, ends: [(f64, f64); 2]) -> Part {
        let (middle, half) = (0.5 * ends[0].0 + 0.5 * ends[1].0, 0.5 * (ends[1].0 - ends[0].0));
        let mut integral = 0.0;
        for (at, weight) in [
            (-0.906_179_845_938_664, 0.236_926_885_056_189_08),
            (-0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
            (0.0, 0.568_888_888_888_888_9),
            (0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
            (0.906_179_845_938_664, 0.236_926_885_056_189_08),
        ] {
            integral += half * weight * self.read(line, middle + half * at).1;
        }
        Part { ends, integral }
    }

    /// Returns a part of the segment, as short as floats allow, over which the loss jumps. `None` if none is found.
    #[inline]
    fn jump(&mut self, line: &mut Line) -> Option<Part> {
        let [count, most] = INTERVALS;
        let ends: Vec<(f64, f64)> = (0..=count)
            .map(|i| {
                let share = i as f64 / count as f64;
                (share, self.read(line, share).0)
            })
            .collect();
        let mut open: Vec<Part> = ends.windows(2).map(|pair| self.part(line, [pair[0], pair[1]])).collect();
        let mut seen = 0;
        while let Some(part) = open.pop() {
            let Part { ends: [(a, from), (b, to)], integral } = part;
            let (off, allowed) = (to - from - integral, JUMP * (from.abs() + to.abs() + self.unit));
            seen += 1;
            // Other laws test for NaN. An infinite integral is that of a gradient that overflows.
            if !off.is_finite() || off.abs() <= allowed {
                continue;
            }
            if seen > most {
                return None;
            }
            let middle = 0.5 * a + 0.5 * b;
            if middle <= a || middle >= b {
                // The loss is steep but has no jump if it changes as much beside this interval.
                let width = 8.0 * (b - a);
                let beside = (from - self.read(line, a - width).0).abs() + (self.read(line, b + width).0 - to).abs();
                if (to - from).abs() > 4.0 * beside {
                    return Some(part);
                }
                continue;
            }
            let value = self.read(line, middle).0;
            let halves = [[(a, from), (middle, value)], [(middle, value), (b, to)]].map(|ends| self.part(line, ends));
            let errors = halves.map(|half| (half.ends[1].1 - half.ends[0].1 - half.integral).abs());
            let moved = (integral - halves[0].integral - halves[1].integral).abs();
            // The integral has converged, and both halves are off: the gradient is wrong.
            if moved <= 0.25 * allowed && errors[0].min(errors[1]) > 0.25 * off.abs() {
                return None;
            }
            open.extend(halves);
        }
        None
    }
}
