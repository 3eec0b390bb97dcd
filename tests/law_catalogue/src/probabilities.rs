//! Losses of probabilities, which are given by the outputs themselves: other numbers are no valid outputs.

use crate::{Entry, Verdict};
use chainrule::{
    Error, Scalar,
    loss::{Loss, Reduction, Target},
    scalar,
    testing::{Law, LossCases, Losses, loss_laws_with},
    to_f64,
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    // Right.
    CrossEntropy,
    Squared,
    Reversed,
    // Wrong.
    SecondTermForgotten,
    GradientOfLogits,
    PanicsInReduction,
}

use Kind::*;

impl Kind {
    /// Loss and slope of one probability.
    fn both<T: Scalar>(self, p: T, t: T) -> [T; 2] {
        let one = T::one();
        let times_log = |a: T, b: T| if a.is_zero() { T::zero() } else { a * b.ln() };
        let cross = -(times_log(t, p) + times_log(one - t, one - p));
        let slope = if p == t { T::zero() } else { (p - t) / (p * (one - p)) };
        match self {
            CrossEntropy => [cross, slope],
            Squared | PanicsInReduction => [(p - t) * (p - t), (p - t) * scalar(2.0)],
            // The entropy of p relative to t, for t from 0.05 to 0.95.
            Reversed => {
                let t = t * scalar(0.9) + scalar(0.05);
                let value = times_log(p, p / t) + times_log(one - p, (one - p) / (one - t));
                [value, (p / t).ln() - ((one - p) / (one - t)).ln()]
            }
            SecondTermForgotten => [cross, -(t / p)],
            GradientOfLogits => [cross, p - t],
        }
    }
}

impl<T: Scalar> Loss<T> for Kind {
    fn evaluate(
        &self,
        width: usize,
        y: &[T],
        target: Target<'_, T>,
        row_weights: Option<&[T]>,
        dy: &mut [T],
    ) -> Result<T, Error> {
        if width == 0 || y.is_empty() {
            return Err(Error::Empty { what: "the output" });
        }
        let Target::Values(values) = target else {
            return Err(Error::TargetKind { loss: "Kind", expected: "probabilities", found: "classes" });
        };
        let rows = y.len() / width;
        for (what, expected, found) in [
            ("output", rows * width, y.len()),
            ("gradient", y.len(), dy.len()),
            ("targets", y.len(), values.len()),
            ("row weights", rows, row_weights.map_or(rows, <[T]>::len)),
        ] {
            if expected != found {
                return Err(Error::Length { what, expected, found });
            }
        }
        if let Some(index) = row_weights.and_then(|weights| weights.iter().position(|weight| !weight.is_finite())) {
            return Err(Error::NonFinite { what: "row weights", index, found: f64::NAN });
        }
        let weight = |row: usize| row_weights.map_or(T::one(), |weights| weights[row]);
        let mut sum = T::zero();
        for row in 0..rows {
            for i in row * width..(row + 1) * width {
                if weight(row).is_zero() {
                    dy[i] = T::zero();
                    continue;
                }
                if !(values[i] >= T::zero() && values[i] <= T::one()) {
                    return Err(Error::NonFinite { what: "targets", index: i, found: to_f64(values[i]) });
                }
                let [value, slope] = self.both(y[i], values[i]);
                sum = sum + weight(row) * value;
                dy[i] = weight(row) * slope;
            }
        }
        Ok(sum)
    }

    fn reduction(&self) -> Reduction {
        assert!(*self != PanicsInReduction, "neither sum nor mean");
        Reduction::Sum
    }

    fn minimum_at_target(&self) -> bool {
        matches!(self, CrossEntropy | Squared)
    }

    fn total_weight(&self, width: usize, target: Target<'_, T>, row_weights: Option<&[T]>) -> f64 {
        let Target::Values(values) = target else { return 0.0 };
        let ones = vec![T::one(); values.len() / width.max(1)];
        row_weights.unwrap_or(&ones).iter().map(|&weight| to_f64(weight)).sum()
    }
}

pub fn entries() -> Vec<Entry> {
    let judge = |kind: Kind| -> Box<dyn Fn(u64) -> Verdict> {
        Box::new(move |seed| {
            let losses = Losses { single: &kind, double: &kind, dual: &kind };
            let outputs = |y: f64| 0.001 + 0.998 / (1.0 + (-y).exp());
            loss_laws_with(losses, LossCases { outputs: &outputs, ..LossCases::default() }, seed)
        })
    };
    let rights = [CrossEntropy, Squared, Reversed];
    let mut all: Vec<Entry> =
        rights.into_iter().map(|kind| Entry::right(format!("loss/of_probabilities_{kind:?}"), judge(kind))).collect();
    for (kind, law) in
        [(SecondTermForgotten, Law::Derivative), (GradientOfLogits, Law::Derivative), (PanicsInReduction, Law::NoPanic)]
    {
        all.push(Entry::wrong(format!("loss/of_probabilities_{kind:?}"), law, judge(kind)));
    }
    all
}
