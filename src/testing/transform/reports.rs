//! The law that rates, factors, norms and averages that a transform reports agree with its updates.

use super::{EPOCH, FEW, Run, Suite};
use crate::{
    scalar::{Scalar, to_f64},
    testing::{
        Law, caught,
        law::{beyond, number},
    },
};
use alloc::{format, string::String, vec::Vec};

/// The allowed relative error of a reported number, in units of ε.
const ROUNDINGS: f64 = 1e3;

/// The optimizer steps at which the reported learning rate is read.
const READ: [u64; 4] = [0, 1, 10, 500];

/// Whether the transform of a run is a single one. In a chain, a member may report only its own effect.
pub(super) fn alone<T: Scalar>(run: &Run<T>) -> bool {
    let mut count = 0;
    run.transform.members(&mut |_| count += 1);
    count == 1
}

/// The name of the method that reports an average, and its answer.
type Average<T> = (&'static str, Option<Vec<T>>);

impl<T: Scalar> Suite<'_, '_, T> {
    /// Returns the name and the values of each average that the transform of a run reports: `averaged_weights`,
    /// `result`. `None` after a panic.
    fn averaged(&mut self, run: &Run<T>) -> Option<[Average<T>; 2]> {
        let Run { transform, blocks, state, .. } = run;
        let copied = |values: Option<&[T]>| values.map(<[T]>::to_vec);
        let averaged = self.ask("averaged_weights", || copied(transform.averaged_weights(blocks, state)))?;
        let result = self.ask("result", || copied(transform.result(blocks, state)))?;
        Some([("averaged_weights()", averaged), ("result()", result)])
    }

    /// Notes a violation: the number that the method named in `what` reports is `found`, but the updates show
    /// `expected`.
    pub(super) fn untrue(&mut self, what: &str, expected: String, found: f64) {
        let place = format!("{}, {what}", self.name);
        self.trial.breaks(Law::TrueReports, place, expected, number(found), "");
    }

    /// Tests that the learning rate in `rate_mut` is the one in use, for a transform that returns one. With a rate of
    /// 0, the gradient has less effect on the updates, or none. With half the rate, the reported `learning_rate` is
    /// not higher.
    pub(super) fn rates(&mut self) {
        let (gradient, mut effects, mut reported) = (self.random(5, 1.0), Vec::new(), Vec::new());
        for factor in [1.0, 0.5, 0.0] {
            let mut runs = Vec::new();
            for sign in [1.0, -1.0] {
                let Some(mut run) = self.fresh(None) else { return };
                let scaled = self.ask("rate_mut", || run.transform.rate_mut().map(|rate| *rate *= factor));
                let Some(Some(())) = scaled else { return };
                runs.push((run, gradient.iter().map(|&g| if sign < 0.0 { -g } else { g }).collect::<Vec<T>>()));
            }
            let run = &runs[0].0;
            let rates = || READ.map(|step| run.transform.learning_rate(&run.blocks, &run.state, step));
            let Some(rates) = self.ask("learning_rate", rates) else { return };
            reported.push(rates);
            let mut effect = 0.0;
            for step in 0..FEW {
                let mut updates = Vec::new();
                for (run, gradient) in &mut runs {
                    let Some(update) = self.step(run, gradient, step) else { return };
                    updates.push(update);
                }
                let pairs = updates[0].iter().zip(&updates[1]);
                effect += pairs.map(|(&a, &b)| (to_f64(a) - to_f64(b)).abs()).sum::<f64>();
            }
            effects.push(effect);
        }
        if effects[0] > 0.0 && effects[2] >= effects[0] {
            let expected = format!("less than {}, as with the rate", number(effects[0]));
            self.untrue("rate_mut() set to 0: the effect of the gradient on updates", expected, effects[2]);
        }
        // A bound of a schedule may keep the reported rate at half the rate, but then it also keeps the effect.
        let same = |step: usize| reported[1][step].is_some_and(|half| half != 0.0 && Some(half) == reported[0][step]);
        if effects[1] <= 0.75 * effects[0] && (0..READ.len()).all(same) {
            let found = reported[1][0].unwrap_or(0.0);
            let expected = "less than before, as half the effect on updates".into();
            self.untrue("half the rate by rate_mut(): learning_rate(), step 0", expected, found);
        }
        for ((step, &whole), &half) in READ.iter().zip(&reported[0]).zip(&reported[1]) {
            let Some((whole, half)) = whole.zip(half) else { continue };
            // A bound of a schedule may keep the rate.
            if beyond(half - whole, ROUNDINGS * to_f64(T::epsilon()) * whole.abs()) {
                let what = format!("half the rate by rate_mut(): learning_rate(), step {step}");
                self.untrue(&what, format!("at most {}", number(whole)), half);
            }
        }
    }

    /// Tests that reported averages have one value for each parameter, none outside the range of values that this
    /// parameter had.
    pub(super) fn averages(&mut self) {
        let Some(mut run) = self.fresh(None) else { return };
        let wide = |w: &[T]| w.iter().map(|&w| to_f64(w)).collect::<Vec<f64>>();
        let (mut least, mut most) = (wide(&run.w), wide(&run.w));
        for step in 0..FEW {
            if self.step(&mut run, &self.gradient(step), step).is_none() {
                return;
            }
            for (i, w) in wide(&run.w).into_iter().enumerate() {
                (least[i], most[i]) = (least[i].min(w), most[i].max(w));
            }
            let Some(averages) = self.averaged(&run) else { return };
            for (name, values) in averages {
                let Some(values) = values else { continue };
                let (count, what) = (least.len(), format!("step {step}: {name}"));
                if values.len() != count {
                    return self.untrue(&what, format!("{count} values"), values.len() as f64);
                }
                let outside = |&i: &usize| {
                    let allowed = ROUNDINGS * to_f64(T::epsilon()) * least[i].abs().max(most[i].abs());
                    let value = to_f64(values[i]);
                    !(value >= least[i] - allowed && value <= most[i] + allowed)
                };
                // Parameters that are not finite have no average.
                if let Some(i) = (0..count).filter(|&i| least[i].is_finite() && most[i].is_finite()).find(outside) {
                    let expected = format!("from {} to {}, the values so far", number(least[i]), number(most[i]));
                    return self.untrue(&format!("{what}[{i}]"), expected, to_f64(values[i]));
                }
            }
        }
    }

    /// Tests that averages equal the parameters at which [`begin_at`](crate::transform::GradientTransform::begin_at)
    /// restarts them.
    pub(super) fn begins(&mut self) {
        let Some(mut run) = self.fresh(None) else { return };
        for step in 0..FEW {
            if self.step(&mut run, &self.gradient(step), step).is_none() {
                return;
            }
        }
        run.w = self.random(9, 1.0);
        let begun = caught(|| run.transform.begin_at(&run.blocks, &run.w, &mut run.state));
        if let Err(panic) = begun {
            let place = format!("{}, begin_at()", self.name);
            return self.trial.breaks(Law::NoPanic, place, "an average that begins at these parameters", panic, "");
        }
        let Some(averages) = self.averaged(&run) else { return };
        for (name, values) in averages {
            let Some(values) = values else { continue };
            let off = |&i: &usize| {
                let [found, expected] = [values[i], run.w[i]].map(to_f64);
                beyond((found - expected).abs(), ROUNDINGS * to_f64(T::epsilon()) * expected.abs())
            };
            if let Some(i) = (0..values.len().min(run.w.len())).find(off) {
                let expected = format!("{:?}, at which it begins", run.w[i]);
                return self.untrue(&format!("begin_at(): {name}[{i}]"), expected, to_f64(values[i]));
            }
        }
    }

    /// Tests the reports of a promised clip that multiplied the norm of the gradient by `factor` in an optimizer
    /// step, with the result `norm`. For a clip that keeps the direction, promised as `law`, `clip_factor` must be
    /// `factor`; for other clips it is from 0 to 1. The clips of a chain are not tested.
    pub(super) fn clip_reports(&mut self, run: &Run<T>, law: Law, factor: f64, norm: f64) {
        if !alone(run) || !factor.is_finite() {
            return;
        }
        let allowed = ROUNDINGS * to_f64(T::epsilon());
        let Some(reported) = self.ask("clip_factor", || run.transform.clip_factor()) else { return };
        if let Some(found) = reported {
            let expected = if law == Law::KeepsDirection { factor } else { found.clamp(0.0, 1.0) };
            if beyond((found - expected).abs(), allowed * expected.abs()) {
                self.untrue("clip_factor()", format!("{}, by the update", number(expected)), found);
            }
        }
        let Some(reported) = self.ask("clipped_norm", || run.transform.clipped_norm()) else { return };
        if let Some(found) = reported.filter(|_| norm.is_finite())
            && beyond((found - norm).abs(), allowed * norm)
        {
            self.untrue("clipped_norm()", format!("{}, by the update", number(norm)), found);
        }
    }

    /// Returns the learning rate that a promised schedule reports for `step`. `None` for a chain, if it reports none,
    /// or if the transform receives a metric before this step, which may change the rate.
    pub(super) fn scheduled(&mut self, run: &Run<T>, step: u64) -> Option<f64> {
        if !alone(run) || step % EPOCH == EPOCH - 1 {
            return None;
        }
        self.ask("learning_rate", || run.transform.learning_rate(&run.blocks, &run.state, step)).flatten()
    }

    /// Tests that the learning rate `reported` by a promised schedule is the `factor` of the update at `step`.
    pub(super) fn schedule_report(&mut self, reported: Option<f64>, factor: f64, step: u64) {
        let Some(found) = reported else { return };
        if beyond((found - factor).abs(), ROUNDINGS * to_f64(T::epsilon()) * factor.abs() + 1e-37) {
            self.untrue(&format!("step {step}: learning_rate()"), format!("{}, by the update", number(factor)), found);
        }
    }
}
