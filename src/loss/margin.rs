//! Hinge losses: for classes, and for values of 1 and −1.

use super::{
    InBoth, Loss, Reduction, Rows, class_of,
    class_weights::class_weight_setters,
    each_value::{EachValue, evaluate},
    in_double, own_evaluate, reduction_setter, require_classes, total_weight,
};
use crate::{
    error::{Error, require},
    scalar::{Scalar, is_narrow, scalar, to_f64},
};
use alloc::vec::Vec;

/// Hinge loss of classes (multi-class margin loss): `(w_c/K) Σ_{j≠c} max(0, m − y_c + y_j)^p` of each row, with K
/// outputs y, the class c and the margin m.
///
/// The exponent p is 1, or 2 with [`squared`](Self::squared). The class weight w_c is 1 by default; a mean over rows
/// divides by the row weights alone. Source: Weston & Watkins 1999; it equals PyTorch's `MultiMarginLoss`.
///
/// ```
/// use chainrule::loss::{Loss, MultiMargin, Target};
/// let (y, mut gradient) = ([0.5, 0.25, -1.0], [0.0; 3]); // a row of class 0: margins of 0.25 and 1.5
/// let loss = MultiMargin::new().evaluate(3, &y, Target::Classes(&[0]), None, &mut gradient)?;
/// assert_eq!((loss, gradient), (0.75 / 3.0, [-1.0 / 3.0, 1.0 / 3.0, 0.0]));
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MultiMargin {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    margin: f64,
    squared: bool,
    #[cfg_attr(feature = "serde", serde(default, with = "crate::number"))]
    weights: Vec<f64>,
    reduction: Reduction,
}

impl Default for MultiMargin {
    fn default() -> Self {
        MultiMargin { margin: 1.0, squared: false, weights: Vec::new(), reduction: Reduction::Mean }
    }
}

impl MultiMargin {
    /// Creates the loss with the margin 1, reduced to the mean over rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the margin m of the loss, the difference of outputs beyond which a wrong class adds no loss; the default
    /// is 1.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `margin` is positive and finite.
    pub fn margin(self, margin: f64) -> Result<Self, Error> {
        let changed = MultiMargin { margin, ..self };
        changed.check_margin().map(|()| changed)
    }

    /// Returns an error if the margin is not positive and finite, like the setter.
    fn check_margin(&self) -> Result<(), Error> {
        let valid = self.margin > 0.0 && self.margin.is_finite();
        require(valid, "the margin of MultiMargin", "positive and finite", self.margin)
    }

    /// Sets the exponent 2: squares each term `max(0, m − y_c + y_j)` of the loss, with the outputs y, the class c
    /// and the margin m.
    #[must_use]
    pub fn squared(self) -> Self {
        MultiMargin { squared: true, ..self }
    }
}

class_weight_setters!(MultiMargin);
reduction_setter!(MultiMargin, "rows");

impl MultiMargin {
    /// Implements [`Loss::evaluate`] for any scalar type: overwrites the gradient `dy` in `rows`, and returns the
    /// loss as (rounded to `T`, as an `f64`).
    pub(crate) fn evaluate_generic<T: Scalar>(&self, rows: Rows<'_, T>) -> Result<InBoth<T>, Error> {
        let width = rows.width;
        Loss::<T>::check_width(self, width)?;
        let classes = rows.classes("MultiMargin")?;
        let margin = scalar::<T>(self.margin);
        let term = if self.squared { self.margin * self.margin } else { self.margin };
        self.classes().check::<T>()?;
        let term = term * self.weights.iter().fold(1.0, |most, &weight| f64::max(most, weight));
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
            let of_class = self.classes().of::<T>(class);
            dy.fill(T::zero());
            for (_, (&other, dy)) in y.iter().zip(&mut *dy).enumerate().filter(|(j, _)| *j != class) {
                let gap = (margin - y[class]) + other;
                if gap <= T::zero() {
                    continue;
                }
                let (value, slope) = if self.squared { (gap * gap, gap + gap) } else { (gap, T::one()) };
                // A gap of NaN is not ≤ 0; its slope is NaN.
                let slope = if gap.is_nan() { gap } else { slope };
                // 0 · ∞ counts as 0, not as NaN.
                if !of_class.is_zero() || gap.is_nan() {
                    mean.add(weight, of_class * (value / outputs));
                }
                *dy = share.of(weight, of_class * (slope / outputs));
                own -= slope;
            }
            dy[class] = share.of(weight, of_class * (own / outputs));
            Ok(())
        })
    }
}

impl<T: Scalar> Loss<T> for MultiMargin {
    own_evaluate!(MultiMargin);

    fn check_width(&self, width: usize) -> Result<(), Error> {
        require_classes("MultiMargin", width)?;
        self.check_margin()?;
        self.classes().check_width(width)
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }
}

/// Hinge loss of each output y with target t, 1 or −1: `max(0, 1 − t y)`, by default the mean over all values.
///
/// At `t y = 1` its derivative is 0. It suits two classes and one output; for more classes see [`MultiMargin`].
/// Source: Cortes & Vapnik 1995; it equals `hinge_loss` of optax.
///
/// ```
/// use chainrule::loss::{Hinge, Loss, Target};
/// let (y, mut gradient) = ([0.5, -2.0], [0.0; 2]);
/// let loss = Hinge::new().evaluate(1, &y, Target::Values(&[1.0, -1.0]), None, &mut gradient)?;
/// assert_eq!((loss, gradient), ((0.5 + 0.0) / 2.0, [-0.5, 0.0]));
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Hinge {
    reduction: Reduction,
}

impl Hinge {
    /// Creates the loss, reduced to the mean over all values.
    pub fn new() -> Self {
        Self::default()
    }
}

reduction_setter!(Hinge, "values");

impl<T: Scalar> EachValue<T> for Hinge {
    const NAME: &'static str = "Hinge";

    #[inline(always)]
    fn of(&self, _column: usize, y: T, t: T) -> (T, T) {
        let gap = T::one() - t * y;
        if gap <= T::zero() {
            (T::zero(), T::zero())
        } else {
            // A gap of NaN is not ≤ 0; its slope is NaN.
            (gap, if gap.is_nan() { gap } else { -t })
        }
    }

    fn check_target(&self, t: T) -> Result<(), Error> {
        require(t.abs().is_one(), "a target of Hinge", "1 or −1", to_f64(t))
    }
}

impl Hinge {
    /// Implements [`Loss::evaluate`] for any scalar type: overwrites the gradient `dy` in `rows`, and returns the
    /// loss as (rounded to `T`, as an `f64`).
    pub(crate) fn evaluate_generic<T: Scalar>(&self, rows: Rows<'_, T>) -> Result<InBoth<T>, Error> {
        evaluate(self, self.reduction, rows)
    }
}

impl<T: Scalar> Loss<T> for Hinge {
    own_evaluate!(Hinge);

    fn reduction(&self) -> Reduction {
        self.reduction
    }
}
