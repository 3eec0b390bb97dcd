//! Laws that a transform can promise: those of clips, optimizers and schedules.

use super::{FEW, STEPS, Suite, told::PROBED};
use crate::{
    kernel::reduce::norm,
    scalar::{Scalar, to_f64},
    testing::{
        Law,
        law::{beyond, listed},
    },
};
use alloc::{format, string::String, vec, vec::Vec};

/// Optimizer steps at which the factor of a schedule is tested, in addition to the first [`STEPS`].
const SCHEDULED: [u64; 3] = [10_000, PROBED, 1 << 32];

/// Standard deviations of the gradients that are clipped. Many are above 1, since a clip with too large rounding
/// errors of the norm breaks a law at some of them only.
const CLIPPED: [f64; 16] = [0.0, 1e-6, 0.01, 0.3, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0, 1e3, 1e4, 1e6, 1e9, 1e15, 1e30];

impl<T: Scalar> Suite<'_, '_, T> {
    pub(super) fn clips(&mut self, law: Law) {
        let ulp = to_f64(T::epsilon());
        for size in CLIPPED {
            let Some(mut run) = self.fresh(None) else { return };
            let gradient = self.random(3, size);
            run.recorded = true;
            let Some(once) = self.step(&mut run, &gradient, 0) else { return };
            let wide = |values: &[T]| values.iter().map(|&value| to_f64(value)).collect::<Vec<f64>>();
            let (before, after) = (wide(&gradient), wide(&once));
            if size != 0.0 {
                self.clip_reports(&run, law, norm(&after) / norm(&before), norm(&after));
            }
            let broken = match law {
                Law::ReducesNorm => (0..before.len())
                    .find(|&i| beyond(after[i].abs(), before[i].abs() * (1.0 + 4.0 * ulp)))
                    .map(|i| (format!("[{i}]"), format!("at most {:e}", before[i].abs()), format!("{:e}", after[i]))),
                Law::KeepsDirection if norm(&after) == 0.0 && norm(&before) > 0.0 => {
                    Some((String::from("all values"), format!("{}, scaled down", listed(&before)), String::from("0")))
                }
                Law::KeepsDirection => {
                    let factor = if size == 0.0 { 1.0 } else { norm(&after) / norm(&before) };
                    (0..before.len())
                        .find(|&i| {
                            beyond((after[i] - factor * before[i]).abs(), 16.0 * ulp * (factor * before[i]).abs())
                        })
                        .map(|i| {
                            (
                                format!("[{i}]"),
                                format!("{:e}, as the others", factor * before[i]),
                                format!("{:e}", after[i]),
                            )
                        })
                }
                _ => {
                    let Some(mut run) = self.fresh(None) else { return };
                    let Some(twice) = self.step(&mut run, &once, 0) else { return };
                    let twice = wide(&twice);
                    (0..before.len())
                        .find(|&i| beyond((twice[i] - after[i]).abs(), 4.0 * ulp * after[i].abs()))
                        .map(|i| (format!("[{i}], twice"), format!("{:e}", after[i]), format!("{:e}", twice[i])))
                }
            };
            if let Some((what, expected, found)) = broken {
                let place = format!("{}, a gradient of norm {:e}: {what}", self.name, norm(&before));
                self.trial.breaks(law, place, expected, found, format!("gradient {}", listed(&before)));
                return;
            }
        }
    }

    pub(super) fn rests(&mut self) {
        let Some(mut run) = self.fresh(None) else { return };
        let zero = vec![T::zero(); run.w.len()];
        for step in 0..FEW {
            let Some(update) = self.step(&mut run, &zero, step) else { return };
            if let Some(i) = update.iter().position(|update| !update.is_zero()) {
                let place = format!("{}, step {step}: [{i}]", self.name);
                self.trial.breaks(Law::RestsAtZero, place, "0", format!("{:?}", update[i]), "a gradient of zero");
                return;
            }
        }
    }

    pub(super) fn scales(&mut self) {
        let Some(mut run) = self.fresh(None) else { return };
        let ulp = to_f64(T::epsilon());
        let gradient = self.random(4, 1.0);
        for step in (0..STEPS).chain(SCHEDULED) {
            if step > PROBED && self.takes_longer(PROBED) {
                return;
            }
            let reported = self.scheduled(&run, step);
            let update = if step < STEPS {
                self.step(&mut run, &gradient, step)
            } else {
                self.late_step(&mut run, &gradient, step)
            };
            let Some(update) = update else { return };
            let factor = to_f64(update[0]) / to_f64(gradient[0]);
            self.schedule_report(reported, factor, step);
            let off = |i: usize| (to_f64(update[i]) - factor * to_f64(gradient[i])).abs();
            let allowed = |i: usize| 8.0 * ulp * (factor * to_f64(gradient[i])).abs() + 1e-37;
            let broken = if !(factor >= 0.0 && factor.is_finite()) {
                Some((String::from("a factor that is finite and not negative"), format!("{factor}")))
            } else {
                let i = (0..update.len()).find(|&i| beyond(off(i), allowed(i)));
                i.map(|i| {
                    (format!("{factor} times each value"), format!("[{i}] {:?} from {:?}", update[i], gradient[i]))
                })
            };
            if let Some((expected, found)) = broken {
                self.trial.breaks(Law::Scales, format!("{}, step {step}", self.name), expected, found, "");
                return;
            }
        }
    }
}
