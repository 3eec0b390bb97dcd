//! The hinge loss of classes.

use super::{
    InBoth, Loss, Reduction, Rows, class_of, in_double, own_evaluate, reduction_setter, require_classes, total_weight,
};
use crate::{
    error::{Error, require},
    scalar::{Scalar, is_narrow, scalar, to_f64},
};

/// Hinge loss of classes: `(1/K) Σ_{j≠c} max(0, m − y_c + y_j)^p` of each row, with K outputs and the class c.
///
/// p is 1, or 2 with [`squared`](Self::squared). Source: Weston & Watkins 1999; as PyTorch's `MultiMarginLoss`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MultiMargin {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    margin: f64,
    squared: bool,
    reduction: Reduction,
}

impl Default for MultiMargin {
    fn default() -> Self {
        MultiMargin { margin: 1.0, squared: false, reduction: Reduction::Mean }
    }
}

impl MultiMargin {
    /// Creates the loss with the mean over rows and the margin 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the margin m.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `margin` is positive and finite.
    pub fn margin(self, margin: f64) -> Result<Self, Error> {
        let changed = MultiMargin { margin, ..self };
        changed.check_margin().map(|()| changed)
    }

    /// Returns the error with which the setter refuses the margin.
    fn check_margin(&self) -> Result<(), Error> {
        let valid = self.margin > 0.0 && self.margin.is_finite();
        require(valid, "the margin of MultiMargin", "positive and finite", self.margin)
    }

    /// Squares each term `max(0, m − y_c + y_j)` of the loss.
    #[must_use]
    pub fn squared(self) -> Self {
        MultiMargin { squared: true, ..self }
    }
}

reduction_setter!(MultiMargin, "rows");

impl MultiMargin {
    /// Implements [`Loss::evaluate`] for any scalar type.
    pub(crate) fn evaluate_generic<T: Scalar>(&self, rows: Rows<'_, T>) -> Result<InBoth<T>, Error> {
        let width = rows.width;
        Loss::<T>::check_width(self, width)?;
        let classes = rows.classes("MultiMargin")?;
        let margin = scalar::<T>(self.margin);
        let term = if self.squared { self.margin * self.margin } else { self.margin };
        let loss = if self.reduction == Reduction::Sum { total_weight(rows.rows, rows.weights) * term } else { term };
        let expected = "such that twice the loss at equal outputs is finite in the number format of the network";
        let in_format = margin.is_finite() && loss <= 0.5 * to_f64(T::max_value());
        require(in_format, "the margin of MultiMargin", expected, self.margin)?;
        if is_narrow::<T>() {
            return in_double(rows, |rows| self.evaluate_generic(rows));
        }
        let share = rows.total(1).share(self.reduction)?;
        let outputs = scalar::<T>(width as f64);
        rows.evaluate(share, |row, weight, y, dy, mean| {
            let (class, mut own) = (class_of(classes, row, width)?, T::zero());
            dy.fill(T::zero());
            for (_, (&other, dy)) in y.iter().zip(&mut *dy).enumerate().filter(|(j, _)| *j != class) {
                let gap = (margin - y[class]) + other;
                if gap <= T::zero() {
                    continue;
                }
                let (value, slope) = if self.squared { (gap * gap, gap + gap) } else { (gap, T::one()) };
                // NaN is not below 0, and has no slope.
                let slope = if gap.is_nan() { gap } else { slope };
                mean.add(weight, value / outputs);
                *dy = share.of(weight, slope / outputs);
                own -= slope;
            }
            dy[class] = share.of(weight, own / outputs);
            Ok(())
        })
    }
}

impl<T: Scalar> Loss<T> for MultiMargin {
    own_evaluate!(MultiMargin);

    fn check_width(&self, width: usize) -> Result<(), Error> {
        require_classes("MultiMargin", width)?;
        self.check_margin()
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }
}
