//! Laws of rows: rows of weight zero, a batch evaluated in two parts, row weights.

use super::{Case, ROUNDINGS, Suite, Targets};
use crate::{
    kernel::reduce::norm,
    loss::{Loss, Reduction},
    scalar::{Scalar, scalar, to_f64},
    testing::{
        Law,
        law::{beyond, differ, number},
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

/// Returns the smallest positive normal number of `T`; smaller numbers have fewer digits.
fn least<T: Scalar>() -> f64 {
    to_f64(T::min_positive_value())
}

impl Suite<'_, '_> {
    /// Adds a row of weight zero that holds NaN before the rows of `case`, and one after them. Tests that neither the
    /// loss nor the other gradients change by more than `allowed`, relative to their size, and that the gradients of
    /// the added rows are 0. Messages call the scalar type `name`.
    pub(super) fn masked<T: Scalar>(&mut self, loss: &dyn Loss<T>, name: &str, allowed: f64, case: &Case) {
        let width = case.width;
        let weights = case.weights.clone().unwrap_or_else(|| vec![1.0; case.rows]);
        let alone = Case { weights: Some(weights.clone()), ..case.clone() };
        let nan = vec![f64::NAN; width.max(case.target_width)];
        let (nan, no_target) = (&nan[..width], &nan[..case.target_width]);
        let among = Case {
            rows: case.rows + 2,
            width,
            target_width: case.target_width,
            y: [nan, &case.y, nan].concat(),
            values: [no_target, &case.values, no_target].concat(),
            labels: case.labels.as_ref().map(|labels| [&[usize::MAX][..], labels, &[width]].concat()),
            weights: Some([&[0.0][..], &weights, &[0.0]].concat()),
        };
        let Some((expected, dy)) = self.evaluated(loss, name, &alone, 0.0) else { return };
        let mut found = vec![scalar::<T>(f64::NAN); among.y.len()];
        let value = match among.of(loss, &mut found) {
            Ok(Ok(value)) => to_f64(value),
            other => {
                let said = match other {
                    Ok(Err(error)) => error.to_string(),
                    Err(panic) => panic,
                    Ok(Ok(_)) => String::new(),
                };
                let place = format!("{} and two of weight 0 that hold NaN", self.at(name, case));
                return self.trial.breaks(Law::Masked, place, "a loss", said, among.described());
            }
        };
        let found: Vec<f64> = found.into_iter().map(to_f64).collect();
        let (inner, most) = (&found[width..][..dy.len()], allowed * norm(&dy) + least::<T>());
        let right = !self.trial.broken(Law::Derivative);
        let off = (0..dy.len()).find(|&i| right && differ(inner[i], dy[i], most));
        let place = |what: &str| format!("{} and two of weight 0 that hold NaN: {what}", self.at(name, case));
        // Where terms of both signs cancel, rounding errors are those of the terms.
        let terms = self.unit * case.weight() * case.y.len() as f64;
        let rounding = allowed * (1.0 + expected.abs()) + ROUNDINGS * to_f64(T::epsilon()) * terms;
        let broken = if differ(value, expected, rounding) {
            Some((place("the loss"), expected, value))
        } else if let Some(i) = off {
            Some((place("a row that counts"), dy[i], inner[i]))
        } else {
            let zero = |i: &usize| *i < width || *i >= width + dy.len();
            let i = (0..found.len()).filter(zero).find(|&i| found[i] != 0.0);
            i.map(|i| (place("the gradient of a masked row"), 0.0, found[i]))
        };
        if let Some((place, expected, found)) = broken {
            self.trial.breaks(Law::Masked, place, number(expected), number(found), among.described());
        }
    }

    pub(super) fn reduction<T: Scalar>(
        &mut self,
        loss: &dyn Loss<T>,
        name: &str,
        allowed: f64,
        case: &Case,
        value: f64,
        dy: &[f64],
    ) {
        let total_weight = |part: &Case| {
            let convert = |values: &[f64]| values.iter().map(|&value| scalar(value)).collect::<Vec<T>>();
            let (values, weights) = (convert(&part.values), part.weights.as_ref().map(|weights| convert(weights)));
            loss.total_weight(part.width, part.target(&values), weights.as_deref())
        };
        let parts = [case.part(0..1), case.part(1..case.rows)];
        let share = |part: &Case| match loss.reduction() {
            Reduction::Sum => 1.0,
            Reduction::Mean => total_weight(part) / total_weight(case),
        };
        let (mut sum, mut gradient) = (0.0, Vec::new());
        for part in &parts {
            let Some((value, dy)) = self.evaluated(loss, name, part, 0.0) else { return };
            sum += value * share(part);
            gradient.extend(dy.iter().map(|dy| dy * share(part)));
        }
        let how = format!("{:?}", loss.reduction());
        // Where terms of both signs cancel, rounding errors are those of the terms.
        let terms = self.unit * case.weight() * case.y.len() as f64;
        let rounding = |value: f64| allowed * (1.0 + value.abs()) + ROUNDINGS * to_f64(T::epsilon()) * terms;
        // Without weights, each row counts as with a weight of 1.
        let [plain, ones] =
            [None, Some(vec![1.0; case.rows])].map(|weights| total_weight(&Case { weights, ..case.clone() }));
        if beyond((plain - ones).abs(), allowed * ones) {
            let place = format!("{}: total_weight(), without row weights", self.at(name, case));
            self.trial.breaks(Law::Reduction, place, format!("{ones}, as with weights of 1"), number(plain), "");
        }
        if self.targets != Targets::Classes && !loss.weighs_target_values() && plain != case.rows as f64 {
            let place = format!("{}: total_weight(), without row weights", self.at(name, case));
            let expected = format!("{}, the number of rows, as weighs_target_values() is false", case.rows);
            self.trial.breaks(Law::Reduction, place, expected, number(plain), "");
        }
        // A row of weight 2 counts as two equal rows.
        let once = vec![1.0; case.rows + 1];
        let repeated = Case {
            rows: case.rows + 1,
            y: [&case.y[..case.width], &case.y].concat(),
            values: [&case.values[..case.target_width], &case.values].concat(),
            labels: case.labels.as_ref().map(|labels| [&labels[..1], labels].concat()),
            weights: Some(once.clone()),
            ..case.clone()
        };
        let weighed = Case { weights: Some([&[2.0], &once[2..]].concat()), ..case.clone() };
        let Some((expected, _)) = self.evaluated(loss, name, &repeated, 0.0) else { return };
        let Some((found, _)) = self.evaluated(loss, name, &weighed, 0.0) else { return };
        if differ(expected, found, rounding(expected)) {
            let place = format!("{}, {how}: a row of weight 2 against the row twice", self.at(name, case));
            self.trial.breaks(Law::Reduction, place, number(expected), number(found), weighed.described());
        }
        if differ(sum, value, rounding(value)) {
            let place = format!("{}, {how}: the loss, from the first row and the rest", self.at(name, case));
            self.trial.breaks(Law::Reduction, place, number(value), number(sum), case.described());
        }
        let most = allowed * norm(dy) + least::<T>();
        let right = !self.trial.broken(Law::Derivative);
        let off = (0..dy.len()).find(|&i| right && differ(gradient[i], dy[i], most));
        if let Some(i) = off {
            let place = format!("{}, {how}: dy[{i}], from the first row and the rest", self.at(name, case));
            self.trial.breaks(Law::Reduction, place, number(dy[i]), number(gradient[i]), case.described());
        }
    }
}
