//! Strategies that draw losses, and outputs with targets.

use super::{numbers::within, widths};
use crate::{
    error::Error,
    loss::{BinaryCrossEntropy, CrossEntropy, Huber, Loss, MeanAbsoluteError, MeanSquaredError, Reduction, Target},
    scalar::{Scalar, scalar},
};
use alloc::{boxed::Box, vec, vec::Vec};
use proptest::{
    collection::vec,
    option, prop_oneof,
    strategy::{BoxedStrategy, Just, Strategy, Union},
};

/// The kind of targets that a loss accepts, which a strategy draws for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TargetKind {
    /// One class per row.
    Classes,
    /// Any values, drawn within ±10.
    Values,
    /// Values from 0 to 1.
    Unit,
    /// −1 and 1.
    Signs,
    /// A probability distribution in each row.
    Shares,
    /// Whole numbers from 0 to 20.
    Counts,
    /// 0 and 1, any number of ones in a row.
    Binary,
    /// One 1 in each row, and zeros.
    OneHot,
}

/// A [`Target`] that owns its values.
#[derive(Clone, Debug, PartialEq)]
pub enum OwnedTarget<T> {
    /// One class per row.
    Classes(Vec<usize>),
    /// Target values, as for a squared error: \[rows, target width\].
    Values(Vec<T>),
}

impl<T> OwnedTarget<T> {
    /// Returns the target.
    pub fn target(&self) -> Target<'_, T> {
        match self {
            OwnedTarget::Classes(classes) => Target::Classes(classes),
            OwnedTarget::Values(values) => Target::Values(values),
        }
    }
}

/// The arguments of a loss.
#[derive(Clone, Debug, PartialEq)]
pub struct LossCase<T> {
    /// The number of outputs per row.
    pub width: usize,
    /// The outputs: \[rows, width\].
    pub y: Vec<T>,
    /// The targets of the outputs.
    pub target: OwnedTarget<T>,
    /// The weights of the rows, positive; `None` for a weight of 1 each.
    pub row_weights: Option<Vec<T>>,
}

impl<T: Scalar> LossCase<T> {
    /// Computes the loss, and its gradient with respect to the outputs.
    ///
    /// # Errors
    /// The errors of [`Loss::evaluate`].
    pub fn evaluate(&self, loss: &(impl Loss<T> + ?Sized)) -> Result<(T, Vec<T>), Error> {
        let mut dy = vec![T::nan(); self.y.len()];
        let value = loss.evaluate(self.width, &self.y, self.target.target(), self.row_weights.as_deref(), &mut dy)?;
        Ok((value, dy))
    }
}

/// Outputs within ±10 with targets of a kind, for a custom loss: up to 3 rows of up to 5 values, with and without row
/// weights. For classes, probability distributions and one-hot rows, a row has at least 2 values. A failure shrinks
/// to one row of one or two values, then to small numbers.
pub fn loss_cases<T: Scalar>(kind: TargetKind) -> BoxedStrategy<LossCase<T>> {
    loss_cases_of_width(kind, |width| width)
}

/// As [`loss_cases`], for a loss whose outputs have another width than its targets. `output_width` returns that of a
/// row of outputs, from the number of target values in a row, or from the number of classes.
///
/// ```
/// use chainrule::testing::strategies::{TargetKind, loss_cases_of_width};
/// // A mean and a logarithm of a variance for each target, as for `GaussianNll`.
/// let cases = loss_cases_of_width::<f64>(TargetKind::Values, |targets| 2 * targets);
/// ```
pub fn loss_cases_of_width<T: Scalar>(
    kind: TargetKind,
    output_width: fn(usize) -> usize,
) -> BoxedStrategy<LossCase<T>> {
    // A prime number of values, used cyclically, so that sizes shrink while the values do not change.
    const VALUES: usize = 17;
    let weights = option::of(vec((1..=300u16).prop_map(|hundredths| 0.01 * f64::from(hundredths)), 3));
    let least = if matches!(kind, TargetKind::Classes | TargetKind::Shares | TargetKind::OneHot) { 2 } else { 1 };
    (widths(3), least..=5usize, weights, vec((within(10.0), within(1.0), 0..1000usize), VALUES))
        .prop_map(move |(rows, width, weights, values)| {
            let drawn = || values.iter().cycle().take(rows * width);
            let of = |f: &dyn Fn(f64) -> f64| drawn().map(|value| scalar(f(value.1))).collect::<Vec<T>>();
            let target = match kind {
                TargetKind::Classes => {
                    OwnedTarget::Classes(values.iter().take(rows).map(|value| value.2 % width).collect())
                }
                TargetKind::Values => OwnedTarget::Values(of(&|value| 10.0 * value)),
                TargetKind::Unit => OwnedTarget::Values(of(&f64::abs)),
                TargetKind::Signs => OwnedTarget::Values(of(&f64::signum)),
                TargetKind::Counts => OwnedTarget::Values(of(&|value| libm::floor(20.0 * value.abs()))),
                TargetKind::Binary => OwnedTarget::Values(of(&|value| f64::from(value > 0.0))),
                TargetKind::OneHot => {
                    let hot = |row: usize| values[row % VALUES].2 % width;
                    let ones = (0..rows * width).map(|i| scalar(f64::from(i % width == hot(i / width))));
                    OwnedTarget::Values(ones.collect())
                }
                TargetKind::Shares => {
                    let positive: Vec<f64> = drawn().map(|value| 0.01 + value.1.abs()).collect();
                    let share = |row: &[f64]| {
                        let sum: f64 = row.iter().sum();
                        row.iter().map(|value| scalar(value / sum)).collect::<Vec<T>>()
                    };
                    OwnedTarget::Values(positive.chunks(width).flat_map(share).collect())
                }
            };
            let row_weights = weights.as_ref().map(|all| all.iter().take(rows).map(|&weight| scalar(weight)).collect());
            let width = output_width(width);
            let y = values.iter().cycle().take(rows * width).map(|value| scalar(value.0)).collect();
            LossCase { width, y, target, row_weights }
        })
        .boxed()
}

/// Some losses of the crate, as mean and as sum, with valid outputs and targets: squared and absolute error, Huber,
/// binary cross-entropy and cross-entropy. A failure shrinks to the squared error.
pub fn losses<T: Scalar>() -> BoxedStrategy<(Box<dyn Loss<T>>, LossCase<T>)> {
    let reduction = || Union::new([Reduction::Mean, Reduction::Sum].map(Just));
    let width = || (1..=300u16).prop_map(|hundredths| 0.01 * f64::from(hundredths));
    let smoothing = || (0..=90u16).prop_map(|hundredths| 0.01 * f64::from(hundredths));
    let entropy = |kind| {
        (reduction(), smoothing(), loss_cases(kind)).prop_map(|(reduction, smoothing, case)| {
            // `label_smoothing` accepts every value of the range.
            let loss = CrossEntropy::new().label_smoothing(smoothing).unwrap_or_default();
            (Box::new(loss.reduction(reduction)) as Box<dyn Loss<T>>, case)
        })
    };
    prop_oneof![
        (reduction(), loss_cases(TargetKind::Values)).prop_map(|(reduction, case)| {
            (Box::new(MeanSquaredError::new().reduction(reduction)) as Box<dyn Loss<T>>, case)
        }),
        (reduction(), loss_cases(TargetKind::Values)).prop_map(|(reduction, case)| {
            (Box::new(MeanAbsoluteError::new().reduction(reduction)) as Box<dyn Loss<T>>, case)
        }),
        (reduction(), width(), loss_cases(TargetKind::Values)).prop_map(|(reduction, width, case)| {
            (Box::new(Huber::new(width).unwrap_or_default().reduction(reduction)) as Box<dyn Loss<T>>, case)
        }),
        (reduction(), loss_cases(TargetKind::Unit)).prop_map(|(reduction, case)| {
            (Box::new(BinaryCrossEntropy::new().reduction(reduction)) as Box<dyn Loss<T>>, case)
        }),
        entropy(TargetKind::Shares),
        entropy(TargetKind::Classes),
    ]
    .boxed()
}
