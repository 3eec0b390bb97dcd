//! Laws of extremes: arguments at the end of the range, infinite ones and NaN.

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
    /// Whether φ and φ′ have a limit at `sign · ∞`; a sine has none. It asks whether both are monotone over 24
    /// points far inside the range of the format, where the argument of a sine does not overflow.
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

    /// Whether φ (`which` 0) or φ′ (1) has a pole at `z`, of the sign of `found`. Infinity is then the limit at `z`.
    #[inline]
    pub(super) fn is_pole(&self, which: usize, found: f64, z: f64) -> bool {
        z.is_finite() && is_pole(&|z| found.signum() * self.activation.double(z)[which], z)
    }

    pub(super) fn extremes<T: Precision>(&mut self, format: &Format) {
        let ends = [f64::NEG_INFINITY, f64::INFINITY]
            .map(|end| (value::<T>(self.activation, end), slope::<T>(self.activation, end)));
        let limits = [-1.0, 1.0].map(|sign| self.has_limit(sign, format));
        let tiny = to_f64(T::min_positive_value() * T::epsilon());
        let mut points = self.points.clone();
        points.retain(|&z| (format.value)(z) == z);
        points.extend([tiny, -tiny, f64::INFINITY, f64::NEG_INFINITY, format.max, -format.max]);
        for z in points {
            let side = usize::from(z > 0.0);
            let (end, has_limit) = (ends[side], limits[side]);
            if z.abs() > 1e-6 * format.max && !has_limit {
                continue;
            }
            let read = [value::<T>(self.activation, z), slope::<T>(self.activation, z)];
            let double = [value::<f64>(self.activation, z), slope::<f64>(self.activation, z)];
            for (i, what) in ["φ(z)", "φ′(z)"].into_iter().enumerate() {
                let (found, limit) = (read[i], [end.0, end.1][i]);
                let fits = double[i].abs() <= 1e-3 * format.max && z.is_finite();
                let infinite = found.is_infinite() && (fits || (has_limit && found != limit));
                // At a pole, infinity is the limit.
                let grows = |found: f64| is_pole(&|z| found.signum() * self.activation.double(z)[i], z);
                let bad = found.is_nan() || (infinite && (fits || !z.is_finite() || !grows(found)));
                if bad && !self.trial.broken(Law::Extremes) {
                    let expected = match limit {
                        _ if fits => (format.text)(double[i]),
                        limit if limit.is_nan() => String::from("a number"),
                        limit => format!("{limit:?}, or a finite number"),
                    };
                    let place = format!("{}, {what}", format.name);
                    let z = simplest(z, |z| {
                        let z = (format.value)(z);
                        let again =
                            if i == 0 { value::<T>(self.activation, z) } else { slope::<T>(self.activation, z) };
                        again.is_nan() && found.is_nan()
                    });
                    let input = format!("z = {}", (format.text)(z));
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
