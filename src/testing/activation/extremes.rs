//! Laws of activations at extreme arguments: at the ends of the range of the format, infinite ones and NaN.

use super::{Format, Suite};
use crate::{
    scalar::to_f64,
    testing::{
        Law,
        argument::simplest,
        probe::{Precision, slope, value},
        search::is_pole,
    },
};
use alloc::{format, string::String, vec::Vec};

impl Suite<'_, '_> {
    /// Whether φ and φ′ have a limit at `sign · ∞` (a sine has none): both are monotone over 24 points far inside
    /// the range of the format, where the argument of a sine does not overflow.
    #[inline]
    fn has_limit(&self, sign: f64, format: &Format) -> bool {
        let far = (2..26).map(|i| self.activation.double(sign * libm::sqrt(format.max) / f64::from(i)));
        let (values, slopes): (Vec<f64>, Vec<f64>) = far.map(|[value, slope]| (value, slope)).unzip();
        let settles = |ys: &[f64]| {
            let size = ys.iter().fold(0.0, |size: f64, y| size.max(y.abs()));
            let steps = || ys.windows(2).map(|pair| pair[1] - pair[0]);
            !(steps().any(|step| step > 1e-9 * size) && steps().any(|step| step < -1e-9 * size))
        };
        settles(&values) && settles(&slopes)
    }

    /// Returns the last argument of a finite φ (`which` 0) or φ′ (1) between `from`, where it is finite, and `to`,
    /// where it is infinite. `None` if its values just before the infinity are large, as before an overflow: infinity
    /// among small values is a mistake.
    #[inline]
    fn breaks_off<T: Precision>(&self, which: usize, from: f64, to: f64, format: &Format) -> Option<f64> {
        let read = |z: f64| T::read(self.activation, (format.value)(z))[which].abs();
        let (mut finite, mut infinite) = (from, to);
        // The loop ends earlier, at adjacent floats.
        for _ in 0..2_100 {
            let middle = 0.5 * finite + 0.5 * infinite;
            if (format.value)(middle) == (format.value)(finite) || (format.value)(middle) == (format.value)(infinite) {
                break;
            }
            if read(middle).is_infinite() { infinite = middle } else { finite = middle }
        }
        // Several arguments are read, since an oscillating function may be 0 at one of them.
        let before = (1..=16).map(|i| read(finite - (infinite - from) * f64::from(i * i) * 1e-4));
        let size = before.chain([read(finite)]).filter(|size| size.is_finite()).fold(0.0, f64::max);
        (size <= libm::sqrt(format.max)).then_some(finite)
    }

    /// Whether φ (`which` 0) or φ′ (1) has a pole at `z`, of the sign of `found`. Infinity is then the limit at `z`.
    #[inline]
    pub(super) fn is_pole(&self, which: usize, found: f64, z: f64) -> bool {
        z.is_finite() && is_pole(&|z| found.signum() * self.activation.double(z)[which], z)
    }

    pub(super) fn extremes<T: Precision>(&mut self, format: &Format) {
        let ends = [f64::NEG_INFINITY, f64::INFINITY].map(|end| T::read(self.activation, end));
        let limits = [-1.0, 1.0].map(|sign| self.has_limit(sign, format));
        let tiny = to_f64(T::min_positive_value() * T::epsilon());
        let mut points = self.points.clone();
        points.retain(|&z| (format.value)(z) == z);
        points.extend([tiny, -tiny, f64::INFINITY, f64::NEG_INFINITY, format.max, -format.max]);
        // Arguments are tried from 0 outwards, so that an overflow comes after finite values.
        points.sort_unstable_by(|a, b| a.abs().total_cmp(&b.abs()));
        // NaN is searched for first, as the clearer fault.
        for nan in [true, false] {
            // For z ≤ 0 (first) and z > 0, the last arguments at which φ and φ′ were finite.
            let mut inner = [[0.0; 2]; 2];
            // For the first infinite value after these, the last argument with a finite value, unless it is an
            // overflow. The inner `None` means overflow, the outer one not yet computed.
            let mut last = [[None; 2]; 2];
            for &z in &points {
                let side = usize::from(z > 0.0);
                if z.abs() > 1e-6 * format.max && !limits[side] {
                    continue;
                }
                let (read, double) = (T::read(self.activation, z), self.activation.double(z));
                for (i, what) in ["φ(z)", "φ′(z)"].into_iter().enumerate() {
                    let (found, limit) = (read[i], ends[side][i]);
                    if self.trial.broken(Law::Extremes) {
                        return;
                    }
                    if found.is_finite() {
                        (inner[side][i], last[side][i]) = (z, None);
                        continue;
                    }
                    let fits = double[i].abs() <= 1e-3 * format.max && z.is_finite();
                    let last = &mut last[side][i];
                    let from = inner[side][i];
                    let mut last = || *last.get_or_insert_with(|| self.breaks_off::<T>(i, from, z, format));
                    let mut infinite = || {
                        let at_the_end = found == limit && format.doubles_overflow(z);
                        !at_the_end && (fits || (limits[side] && found != limit) || (z.is_finite() && last().is_some()))
                    };
                    // At a pole, infinity is the limit.
                    let bad = if nan { found.is_nan() } else { infinite() && (fits || !self.is_pole(i, found, z)) };
                    if !bad {
                        continue;
                    }
                    let expected = match limit {
                        _ if fits => (format.text)(double[i]),
                        limit if limit.is_nan() => String::from("a number"),
                        limit if found == limit => {
                            let before = (format.value)(last().unwrap_or(from));
                            let value = (format.text)(T::read(self.activation, before)[i]);
                            format!("a number of the size of {value}, that at z = {}", (format.text)(before))
                        }
                        limit => format!("{limit:?}, or a finite number"),
                    };
                    let place = format!("{}, {what}", format.name);
                    let fails = |z: f64| found.is_nan() && T::read(self.activation, (format.value)(z))[i].is_nan();
                    let input = format!("z = {}", (format.text)((format.value)(simplest(z, fails))));
                    self.trial.breaks(Law::Extremes, place, expected, (format.text)(found), input);
                }
            }
        }
    }

    pub(super) fn not_a_number<T: Precision>(&mut self, format: &Format) {
        for (what, found) in
            [("φ(NaN)", value::<T>(self.activation, f64::NAN)), ("φ′(NaN)", slope::<T>(self.activation, f64::NAN))]
        {
            if !found.is_nan() {
                self.trial.breaks(
                    Law::NotANumber,
                    format!("{}, {what}", format.name),
                    "NaN",
                    (format.text)(found),
                    "z = NaN",
                );
            }
        }
    }
}
