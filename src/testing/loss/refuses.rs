//! Invalid calls of a loss, and outputs with NaN or infinity.

use super::{Case, Outputs, Suite, Targets};
use crate::{
    loss::{Loss, Reduction},
    scalar::Scalar,
    testing::{
        Law,
        law::{beyond, number},
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

impl Suite<'_, '_> {
    #[inline]
    pub(super) fn refuses(&mut self, width: usize) {
        let case = self.draw([2, width], Outputs::Usual, true, 4);
        for (what, case, length) in self.bad_calls(&case) {
            let found = match case.of(self.losses.double, &mut vec![0.0; length]) {
                Ok(Err(_)) => continue,
                Ok(Ok(value)) => number(value),
                Err(panic) => panic,
            };
            let place = format!("{}, but {what}", self.at("f64", &case));
            self.trial.breaks(Law::Refuses, place, "an error", found, "");
        }
        // The loss may refuse targets of this kind in this draw, although it accepted them in earlier ones.
        let mut dy = vec![0.0; case.y.len()];
        if !matches!(case.of(self.losses.double, &mut dy), Ok(Ok(_))) {
            return;
        }
        self.not_a_number(&Case { y: vec![f64::NAN; case.y.len()], ..case.clone() }, "outputs of NaN");
        for (row, dy) in dy.chunks(width).enumerate() {
            // An output without a gradient may hold anything: that of another class, one of weight 0, an ignored row.
            let read: Vec<usize> = (0..width).filter(|&column| dy[column] != 0.0).collect();
            let [Some(&first), Some(&middle), Some(&last)] = [read.first(), read.get(read.len() / 2), read.last()]
            else {
                continue;
            };
            for column in [first, middle, last] {
                let mut nan = case.clone();
                let place = row * width + column;
                // A loss that selects outputs, such as that of the best of several, leaves out one that is far off.
                if !self.follows(&case, place) {
                    continue;
                }
                nan.y[place] = f64::NAN;
                self.not_a_number(&nan, &format!("NaN in column {column} of row {row}"));
            }
        }
    }

    /// Whether the loss has a gradient with respect to the output with index `place` even if this output is far from
    /// all other outputs.
    #[inline]
    fn follows(&self, case: &Case, place: usize) -> bool {
        [1e6, -1e6].into_iter().all(|far| {
            let (mut moved, mut dy) = (case.clone(), vec![0.0; case.y.len()]);
            moved.y[place] = far;
            self.admit(&mut moved.y);
            matches!(moved.of(self.losses.double, &mut dy), Ok(Ok(_))) && dy[place] != 0.0
        })
    }

    /// Tests that the loss of `nan`, a case with NaN among the outputs, described by `input`, is not finite.
    #[inline]
    fn not_a_number(&mut self, nan: &Case, input: &str) {
        let found = match nan.of(self.losses.double, &mut vec![0.0; nan.y.len()]) {
            Ok(Ok(value)) if !value.is_finite() => return,
            Ok(Ok(value)) => number(value),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic,
        };
        let place = format!("{}: the loss", self.at("f64", nan));
        self.trial.breaks(Law::NotANumber, place, "a loss that is not finite", found, input);
    }

    /// Tests that a row of `width` outputs of magnitude `size` gives no NaN in the loss or its gradient, in the
    /// scalar type `T`, which messages call `name`. Infinity is allowed only if the loss at half of these outputs
    /// exceeds `huge` in magnitude.
    pub(super) fn extremes<T: Scalar>(&mut self, loss: &dyn Loss<T>, name: &str, width: usize, size: f64, huge: f64) {
        for pattern in [[1.0, -1.0, 0.0], [1.0, 1.0, 1.0], [-1.0, -1.0, -1.0], [-1.0, 1.0, 1.0]] {
            let mut case = self.draw([1, width], Outputs::Usual, false, 3);
            case.y = pattern.iter().cycle().take(width).map(|sign| sign * size).collect();
            let mut half = Case { y: case.y.iter().map(|y| 0.5 * y).collect(), ..case.clone() };
            self.admit(&mut case.y);
            self.admit(&mut half.y);
            let Some((value, dy)) = self.evaluated(loss, name, &case, 0.0) else { return };
            let Some((half, _)) = self.evaluated(loss, name, &half, 0.0) else { return };
            let values = core::iter::once(value).chain(dy);
            for (i, found) in values.enumerate().filter(|(_, found)| !found.is_finite()) {
                if found.is_nan() || !beyond(half.abs(), huge) {
                    let what = if i == 0 { "the loss".into() } else { format!("dy[{}]", i - 1) };
                    let expected = format!("a finite value, as the loss at half of these outputs is {}", number(half));
                    let place = format!("{}: {what}", self.at(name, &case));
                    self.trial.breaks(Law::Extremes, place, expected, number(found), case.described());
                }
            }
        }
    }

    /// Returns invalid calls: what is wrong, the arguments, and the length of `dy`.
    #[inline]
    fn bad_calls(&self, case: &Case) -> Vec<(String, Case, usize)> {
        let (whole, width, classes) = (case.y.len(), case.width, self.targets == Targets::Classes);
        let mut wrong = Vec::new();
        for (length, rows) in [(whole - 1, 1), (whole + 1, 3)] {
            // With one value per row, an extra value is an extra row.
            wrong.push((format!("{length} outputs"), Case { y: vec![0.5; length], ..case.clone() }, length));
            wrong.push((format!("a gradient of {length}"), case.clone(), length));
            wrong.push((format!("{rows} row weights"), Case { weights: Some(vec![1.0; rows]), ..case.clone() }, whole));
            if classes {
                wrong.push((format!("{rows} classes"), Case { labels: Some(vec![0; rows]), ..case.clone() }, whole));
            } else {
                wrong.push((format!("{length} targets"), Case { values: vec![0.5; length], ..case.clone() }, whole));
            }
        }
        let none = Case {
            rows: 0,
            width,
            target_width: case.target_width,
            y: Vec::new(),
            values: Vec::new(),
            labels: classes.then(Vec::new),
            weights: Some(Vec::new()),
        };
        wrong.push(("a width of 0".into(), Case { width: 0, ..none.clone() }, 0));
        wrong.push(("no rows".into(), none, 0));
        wrong.push(("a width of 0 and outputs".into(), Case { width: 0, ..case.clone() }, whole));
        for strange in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let weights = Some(vec![1.0, strange]);
            wrong.push((format!("a row weight of {strange}"), Case { weights, ..case.clone() }, whole));
            if !classes {
                let mut values = case.values.clone();
                values[case.values.len() - 1] = strange;
                wrong.push((format!("a target of {strange}"), Case { values, ..case.clone() }, whole));
            }
        }
        if self.losses.double.reduction() == Reduction::Mean {
            // Classes may have weights of their own, with which a negative sum of row weights is a positive one.
            for weights in [[0.0, 0.0], [-1.0, -2.0]] {
                let what = format!("row weights of {weights:?}");
                wrong.push((what, Case { weights: Some(weights.to_vec()), ..case.clone() }, whole));
            }
        }
        if classes {
            let labels = Some(vec![0, width]);
            wrong.push((format!("class {width} of {width}"), Case { labels, ..case.clone() }, whole));
        }
        wrong
    }
}
