//! Outputs that are not numbers, or infinite although the value fits the format.

use super::{Asked, Given, Inputs, Results, Suite, run};
use crate::{
    scalar::{Scalar, to_f64},
    testing::{Law, law::number},
};
use alloc::format;

/// The magnitude that an output in `f64` must have at some inputs before it may be infinite at inputs of larger
/// magnitude.
const HUGE: f64 = 1e50;
/// The factor by which inputs are reduced, again and again, to find the largest ones with a finite output.
const REDUCTION: f64 = 0.9;
/// The largest number of reductions of inputs, to about 1e-18 of them.
const REDUCTIONS: usize = 400;
/// The fraction of the largest number of `f32` up to which a value must be finite in `f32`.
const FITS: f64 = 0.25;

impl Suite<'_, '_> {
    /// Whether the output of a pass in the scalar type called `name` has no NaN. A NaN is noted as a violation;
    /// infinity is allowed for a value beyond the format.
    #[inline]
    pub(super) fn are_numbers<T: Scalar>(&mut self, results: &Results<T>, name: &str, asked: &Asked<'_>) -> bool {
        let strange = results.y.iter().position(|y| y.is_nan());
        if let Some(i) = strange {
            let Inputs { size, alike, .. } = self.inputs;
            let rows = if alike { ", rows of equal values" } else { "" };
            let place = format!("{}, inputs × {size}{rows}: y[{i}]", self.at(name, asked.shape));
            self.trial.breaks(Law::Extremes, place, "a number", "NaN", "");
        }
        strange.is_none()
    }

    /// Whether all outputs of a pass are finite in both formats. Infinity in `f32` is a violation if the value in
    /// `f64` fits the format. Infinity in `f64` is a violation if the same output is finite at smaller inputs, and
    /// its magnitude at the largest of these is below 1e50: then a term overflows, not the result.
    #[inline]
    pub(super) fn are_finite(
        &mut self,
        double: &Results<f64>,
        single: &Results<f32>,
        given: &Given<f64>,
        asked: &Asked<'_>,
    ) -> bool {
        let size = self.inputs.size;
        let fits = |i: &usize| single.y[*i].is_infinite() && double.y[*i].abs() < FITS * f64::from(f32::MAX);
        if let Some(i) = (0..double.y.len()).find(fits) {
            let place = format!("{}, inputs × {size}: y[{i}]", self.at("f32", asked.shape));
            let expected = format!("{}, as in f64", number(double.y[i]));
            self.trial.breaks(Law::Extremes, place, expected, number(single.y[i].into()), "");
        } else if let Some(i) = double.y.iter().position(|y| y.is_infinite())
            && let Some(last) = self.last_finite(given, asked, i).filter(|last| last.abs() < HUGE)
        {
            let place = format!("{}, inputs × {size}: y[{i}]", self.at("f64", asked.shape));
            let expected = format!("a finite value, as it is {} at inputs just below", number(last));
            self.trial.breaks(Law::Extremes, place, expected, number(double.y[i]), "");
        }
        double.y.iter().all(|y| y.is_finite()) && single.y.iter().all(|y| y.is_finite())
    }

    /// Returns output `i` in `f64` at the largest reduced inputs at which it is finite; `None` if it is finite at
    /// none of them.
    #[inline]
    fn last_finite(&self, given: &Given<f64>, asked: &Asked<'_>, i: usize) -> Option<f64> {
        let (mut given, asked) = (given.clone(), Asked { backward: false, ..*asked });
        (0..REDUCTIONS).find_map(|_| {
            given.x.iter_mut().for_each(|x| *x = (self.admit)(REDUCTION * *x));
            let y = to_f64(*run(self.layers.double, &given, &asked).ok()?.y.get(i)?);
            y.is_finite().then_some(y)
        })
    }
}
