//! Laws of the settings, state length and learning rate that a transform reports, and of optimizer steps of large
//! index.

use super::{FEW, Suite, reports::alone};
use crate::{
    scalar::{Scalar, to_f64},
    testing::{
        Law,
        law::{beyond, number},
    },
    transform::{InPlace, in_place},
};
use alloc::format;

/// Indices of late optimizer steps, around the largest values of counters of 16 and 32 bits and beyond.
const LATE: [u64; 5] = [(1 << 16) - 1, 1 << 16, (1 << 32) - 1, 1 << 32, 1 << 40];

/// The relative error up to which an update equals the gradient, or its sign, times a learning rate.
const NEAR: f64 = 1e-3;

impl<T: Scalar> Suite<'_, '_, T> {
    /// Tests that the settings and the state length do not change in a run, that late optimizer steps have finite
    /// updates, and that the reported learning rate is the one in use.
    pub(super) fn told(&mut self) {
        self.steady();
        self.late();
        self.rate_in_use();
    }

    /// Tests that the settings and the length of the state, which a checkpoint holds, do not change in a run.
    fn steady(&mut self) {
        let Some(mut run) = self.fresh(None) else { return };
        let mut before = None;
        for steps in [0, FEW] {
            for step in 0..steps {
                if self.step(&mut run, &self.gradient(step), step).is_none() {
                    return;
                }
            }
            let told = || (format!("{:?}", run.transform.spec(&run.blocks)), run.transform.state_len(&run.blocks));
            let Some((spec, length)) = self.ask("spec", told) else { return };
            let Some((first, state)) = &before else {
                before = Some((spec, length));
                continue;
            };
            let place = |name: &str| format!("{}, after {steps} steps: {name}()", self.name);
            if length != *state {
                let (expected, found) = (format!("{state}"), format!("{length}"));
                return self.trial.breaks(Law::Resumes, place("state_len"), expected, found, "");
            } else if spec != *first {
                return self.trial.breaks(Law::Resumes, place("spec"), first.as_str(), spec, "");
            }
        }
    }

    /// Tests that optimizer steps with the indices [`LATE`], beyond the range of 16-bit and 32-bit counters, have
    /// finite updates.
    fn late(&mut self) {
        for late in LATE {
            let Some(mut run) = self.fresh(None) else { return };
            for step in [0, 1, 2, late] {
                if self.step(&mut run, &self.gradient(step), step).is_none() || self.trial.broken(Law::Extremes) {
                    return;
                }
            }
        }
    }

    /// Tests that the learning rate that one transform reports is the rate in use, where the first update shows it:
    /// the update is the gradient, or its sign, times the rate.
    fn rate_in_use(&mut self) {
        let Some(mut run) = self.fresh(None).filter(alone) else { return };
        let gradient = self.random(5, 1.0);
        let rate = self.ask("rate_mut", || run.transform.rate_mut().map(|rate| *rate)).flatten();
        let plain = match in_place(&*run.transform) {
            InPlace::Plain(rate) => Some(rate),
            _ => None,
        };
        let reported = self.ask("learning_rate", || run.transform.learning_rate(&run.blocks, &run.state, 0)).flatten();
        let (Some(rate), Some(reported)) = (plain.or(rate), reported) else { return };
        let Some(update) = self.step(&mut run, &gradient, 0) else { return };
        let shows = |unit: fn(f64) -> f64| {
            let mut pairs = update.iter().zip(&gradient).map(|(&u, &g)| (to_f64(u), rate * unit(to_f64(g))));
            pairs.all(|(u, expected)| (u + expected).abs() <= NEAR * expected.abs())
        };
        let in_use = rate > 0.0 && (shows(|g| g) || shows(f64::signum));
        if in_use && beyond((reported - rate).abs(), NEAR * rate) {
            self.untrue("learning_rate(), step 0", format!("{}, by the first update", number(rate)), reported);
        }
    }
}
