//! The law that a loss is least at the target.

use super::{Case, Outputs, Suite};
use crate::{
    loss::Loss,
    scalar::{Scalar, to_f64},
    testing::{
        Law,
        law::{beyond, number},
    },
};
use alloc::{format, vec::Vec};

/// The allowed gradient at the target, and the allowed excess of the loss at the target over the loss beside it. The
/// unit is ε times the largest row weight, times the magnitude of the loss and its derivatives.
const MINIMUM: f64 = 64.0;

impl Suite<'_, '_> {
    pub(super) fn minimum<T: Scalar>(&mut self, loss: &dyn Loss<T>, name: &str, case: &Case) {
        let at = Case { y: case.values.clone(), ..case.clone() };
        let Some((least, dy)) = self.evaluated(loss, name, &at, 0.0) else { return };
        if !self.admits_all() {
            return self.minimum_among_valid(loss, name, &at, (least, dy));
        }
        let rounding = MINIMUM * to_f64(T::epsilon()) * self.unit * case.weight();
        if let Some(i) = dy.iter().position(|&dy| beyond(dy.abs(), rounding)) {
            let place = format!("{}, y = target: dy[{i}]", self.at(name, case));
            self.trial.breaks(Law::Minimum, place, "0", number(dy[i]), at.described());
        }
        for i in 0..at.y.len() {
            for by in [-1.0, -0.125, 0.125, 1.0] {
                let mut beside = at.clone();
                beside.y[i] += by;
                let Some((value, _)) = self.evaluated(loss, name, &beside, 0.0) else { return };
                if beyond(least, value + rounding) {
                    let place = format!("{}, y[{i}] {by} from its target", self.at(name, case));
                    let expected = format!("at least {}, the loss at the target", number(least));
                    self.trial.breaks(Law::Minimum, place, expected, number(value), beside.described());
                }
            }
        }
    }

    /// Tests that the loss at the target, `least` with the gradient `dy`, is at most that at other valid outputs.
    /// Nothing is tested if `least` or `dy` is not finite: the target may be no valid output.
    fn minimum_among_valid<T: Scalar>(
        &mut self,
        loss: &dyn Loss<T>,
        name: &str,
        at: &Case,
        (least, dy): (f64, Vec<f64>),
    ) {
        if !least.is_finite() || dy.iter().any(|dy| !dy.is_finite()) {
            return;
        }
        for stream in 50..54 {
            let other = self.draw([at.rows, at.width], Outputs::Usual, false, stream);
            let beside = Case { y: other.y, ..at.clone() };
            let Some((value, _)) = self.evaluated(loss, name, &beside, 0.0) else { return };
            if value + MINIMUM * to_f64(T::epsilon()) * self.unit * at.weight() < least {
                let expected = format!("at least {}, the loss at the target", number(least));
                let place = format!("{}, valid outputs", self.at(name, at));
                self.trial.breaks(Law::Minimum, place, expected, number(value), beside.described());
            }
        }
    }
}
