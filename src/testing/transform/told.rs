//! Laws of the settings, state length and learning rate that a transform reports, and of optimizer steps of large
//! index.

use super::{FEW, Run, Suite, reports::alone};
use crate::{
    clock::Clock,
    kernel::reduce::norm,
    scalar::{Scalar, to_f64},
    testing::{
        Law, caught,
        law::{beyond, number},
    },
    transform::{InPlace, Stage, in_place},
};
use alloc::{format, vec::Vec};

/// Steps beyond the count of 16 bits, and that of 32 bits.
const LATE: [[u64; 2]; 2] = [[(1 << 16) - 1, 1 << 16], [(1 << 32) - 1, 1 << 32]];

/// A step at which a loop over steps takes much longer than at the first.
pub(super) const PROBED: u64 = 1 << 20;

/// Whether a transform is a clip, by its stage.
fn is_clip<T: Scalar>(run: &Run<T>) -> bool {
    let mut found = false;
    run.transform.members(&mut |member| found |= member.stage == Stage::Clip);
    found
}

/// The relative error up to which an update equals the gradient, or its sign, times a learning rate.
const NEAR: f64 = 1e-3;

impl<T: Scalar> Suite<'_, '_, T> {
    /// Tests that the settings and the state length do not change in a run, that late optimizer steps have finite
    /// updates, and that the reported learning rate is the one in use.
    pub(super) fn told(&mut self) {
        self.steady();
        self.rate_in_use();
        self.clip_in_use();
        self.late();
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

    /// Tests that steps beyond the counts of 16 and 32 bits have finite updates. An error may end the run before. A
    /// transform that takes longer for later steps, as one with a loop over steps does, has no steps beyond 32 bits.
    fn late(&mut self) {
        for late in LATE {
            if late[0] > PROBED && self.takes_longer(PROBED) {
                return;
            }
            for late in late {
                let Some(mut run) = self.fresh(None) else { return };
                for step in [0, 1, 2] {
                    if self.step(&mut run, &self.gradient(step), step).is_none() {
                        return;
                    }
                }
                self.late_step(&mut run, &self.gradient(late), late);
                if self.trial.broken(Law::Extremes) || self.trial.broken(Law::NoPanic) {
                    return;
                }
            }
        }
    }

    /// Runs a late step, and returns its update. `None` after an error, which may end the run, and after a panic,
    /// which is noted. An update that is not finite is noted, too.
    pub(super) fn late_step(&mut self, run: &mut Run<T>, gradient: &[T], late: u64) -> Option<Vec<T>> {
        let place = format!("{}, update(), step {late}", self.name);
        let usual = run.w.iter().all(|&w| to_f64(w).abs() < 1e18);
        match caught(|| run.step(gradient, late)) {
            Ok(Err(_)) => None,
            Ok(Ok(update)) => {
                if let Some(strange) = update.iter().find(|update| usual && !update.is_finite()) {
                    self.trial.breaks(Law::Extremes, place, "a finite number", format!("{strange:?}"), "");
                }
                Some(update)
            }
            Err(panic) => {
                self.trial.breaks(Law::NoPanic, place, "an update", panic, "");
                None
            }
        }
    }

    /// Whether the update at step `late` takes longer than those at steps 1 and 2, by a loop over steps. The shortest
    /// time of three runs counts. Without a clock it may take longer.
    pub(super) fn takes_longer(&mut self, late: u64) -> bool {
        const LONG: f64 = 25e-6;
        let mut shortest = [f64::INFINITY; 2];
        for _ in 0..3 {
            let Some(mut run) = self.fresh(None) else { return true };
            for (i, step) in [(0, 1), (0, 2), (1, late)] {
                let gradient = self.gradient(step);
                let Some(clock) = Clock::now() else { return true };
                if !matches!(caught(|| run.step(&gradient, step)), Ok(Ok(_))) {
                    return false;
                }
                shortest[i] = shortest[i].min(clock.seconds());
            }
        }
        shortest[1] > 2.0 * shortest[0] + LONG
    }

    /// Tests that the learning rate that one transform reports is the rate in use, where all updates show it: each is
    /// the gradient, or its sign, times the rate. A rate with momentum or a bias correction may be the effective one.
    fn rate_in_use(&mut self) {
        let Some(mut run) = self.fresh(None).filter(alone) else { return };
        let rate = self.ask("rate_mut", || run.transform.rate_mut().map(|rate| *rate)).flatten();
        let plain = match in_place(&*run.transform) {
            InPlace::Plain(rate) => Some(rate),
            _ => None,
        };
        let Some(rate) = plain.or(rate).filter(|&rate| rate > 0.0) else { return };
        let mut off = None;
        for step in 0..FEW {
            let ask = || run.transform.learning_rate(&run.blocks, &run.state, step);
            let Some(Some(reported)) = self.ask("learning_rate", ask) else { return };
            if beyond((reported - rate).abs(), NEAR * rate) {
                off = off.or(Some((step, reported)));
            }
            let gradient = self.gradient(step);
            let Some(update) = self.step(&mut run, &gradient, step) else { return };
            let shows = |unit: fn(f64) -> f64| {
                let mut pairs = update.iter().zip(&gradient).map(|(&u, &g)| (to_f64(u), rate * unit(to_f64(g))));
                pairs.all(|(u, expected)| (u + expected).abs() <= NEAR * expected.abs())
            };
            if !shows(|g| g) && !shows(|g| if g == 0.0 { 0.0 } else { g.signum() }) {
                return;
            }
        }
        if let Some((step, reported)) = off {
            let expected = format!("{}, by each of {FEW} updates", number(rate));
            self.untrue(&format!("learning_rate(), step {step}"), expected, reported);
        }
    }

    /// Tests that the factor and the norm that one clip reports are those of its update, where this is the gradient
    /// times one positive number.
    fn clip_in_use(&mut self) {
        for size in [0.01, 1.0, 100.0] {
            let Some(mut run) = self.fresh(None).filter(|run| alone(run) && is_clip(run)) else { return };
            run.recorded = true;
            let gradient = self.random(3, size);
            let Some(update) = self.step(&mut run, &gradient, 0) else { return };
            let wide = |values: &[T]| values.iter().map(|&value| to_f64(value)).collect::<Vec<f64>>();
            let (before, after) = (wide(&gradient), wide(&update));
            let factor = norm(&after) / norm(&before);
            let is_scaled = |(b, a): (&f64, &f64)| (a - factor * b).abs() <= NEAR * (factor * b).abs();
            if factor > 0.0 && factor <= 1.0 + NEAR && before.iter().zip(&after).all(is_scaled) {
                self.clip_reports(&run, Law::KeepsDirection, factor, norm(&after));
            }
        }
    }
}
