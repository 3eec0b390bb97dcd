//! Gradients and metrics that are not finite, or at the ends of the range.

use super::Suite;
use crate::{
    scalar::{Scalar, scalar},
    testing::{Law, caught},
};
use alloc::format;

impl<T: Scalar> Suite<'_, '_, T> {
    /// Tests that a gradient with NaN, infinity, zero or a number at the ends of the range causes no panic; an error is
    /// allowed.
    pub(super) fn strange(&mut self) {
        for value in
            [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, f64::from(f32::MAX), f64::from(f32::MIN_POSITIVE)]
        {
            let Some(mut run) = self.fresh(None) else { return };
            let mut gradient = self.random(2, 1.0);
            gradient[1] = scalar(value);
            for step in 0..3 {
                if let Err(panic) = caught(|| run.step(&gradient, step)) {
                    let place = format!("{}, a gradient with {value}", self.name);
                    self.trial.breaks(Law::SurvivesAnything, place, "an update, or an error", panic, "");
                    return;
                }
            }
        }
    }

    /// Tests that a NaN or infinite metric, such as a validation loss, causes no panic, and that later updates are
    /// finite.
    pub(super) fn metrics(&mut self) {
        for metric in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let Some(mut run) = self.fresh(None) else { return };
            let gradient = self.random(2, 1.0);
            let steps = caught(|| {
                (0..3).try_for_each(|step| {
                    run.transform.on_metric(&run.blocks, metric, &mut run.state);
                    let update = run.step(&gradient, step).map_err(|error| format!("{error}"))?;
                    let strange = update.iter().find(|update| !update.is_finite());
                    strange.map_or(Ok(()), |update| Err(format!("{update:?}")))
                })
            });
            if let Err(found) = steps.and_then(|steps| steps) {
                let place = format!("{}, a metric of {metric}", self.name);
                self.trial.breaks(Law::SurvivesAnything, place, "a finite update", found, "");
                return;
            }
        }
    }
}
