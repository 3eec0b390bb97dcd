//! Invalid calls of a loss, and outputs with NaN or infinity.

use super::{Case, Outputs, Suite, Targets};
use crate::{
    loss::Reduction,
    testing::{Law, law::number},
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
        // Targets of this kind may be refused in other draws than those tried before.
        if !matches!(case.of(self.losses.double, &mut vec![0.0; case.y.len()]), Ok(Ok(_))) {
            return;
        }
        let nan = Case { y: vec![f64::NAN; case.y.len()], ..case };
        let found = match nan.of(self.losses.double, &mut vec![0.0; nan.y.len()]) {
            Ok(Ok(value)) if !value.is_finite() => return,
            Ok(Ok(value)) => number(value),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic,
        };
        let place = format!("{}: the loss", self.at("f64", &nan));
        self.trial.breaks(Law::NotANumber, place, "a loss that is not finite", found, "outputs of NaN");
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
