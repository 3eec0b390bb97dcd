//! A weight for each class, and a class whose rows are ignored: settings that losses of classes share.

use super::{Rows, Sum, Target, Total, class_of, total_weight};
use crate::{
    error::{Error, require, require_length},
    scalar::{Scalar, is_narrow, scalar, to_f64},
};

/// The class weights and the ignored class of a loss whose targets are classes.
#[derive(Clone, Copy)]
pub(super) struct ClassWeights<'a> {
    /// The weight of each class in the loss; empty if all weights are 1.
    pub weights: &'a [f64],
    /// The class whose rows add no loss, gradient or weight; `None` if no class is ignored.
    pub ignored: Option<usize>,
}

impl ClassWeights<'_> {
    /// Returns the weight of `class` in the loss: 1 if no class weights are set.
    pub fn of<T: Scalar>(&self, class: usize) -> T {
        self.weights.get(class).map_or(T::one(), |&weight| scalar(weight))
    }

    /// Returns an error for a class weight that is negative, or not finite in the format `T`.
    pub fn check<T: Scalar>(&self) -> Result<(), Error> {
        check_weights::<T>("a class weight", self.weights)
    }

    /// Returns an error for class weights that are negative or not finite, or whose number is not `width`, the number
    /// of outputs.
    pub fn check_width(&self, width: usize) -> Result<(), Error> {
        self.check::<f64>()?;
        if self.weights.is_empty() { Ok(()) } else { require_length("class weights", width, self.weights.len()) }
    }

    /// Returns the sum of row weight times class weight over `rows`, whose classes are `classes`. Rows of weight 0 or
    /// of the ignored class are not read. Returns an error for a class of another row that is not below the number of
    /// outputs.
    pub fn total<T: Scalar>(&self, rows: &Rows<'_, T>, classes: &[usize]) -> Result<Total<T>, Error> {
        let mut total = Total::new();
        for (row, &class) in classes.iter().enumerate() {
            if rows.weight(row).is_zero() || self.ignored == Some(class) {
                continue;
            }
            let class = class_of(classes, row, rows.width)?;
            total.add(rows.weight(row) * self.of(class));
        }
        Ok(total)
    }

    /// Returns the sum of row weight times class weight as an `f64`, for [`Loss::total_weight`](super::Loss). For
    /// targets that are values, \[rows, `width`\], it is the sum of the row weights.
    pub fn total_weight<T: Scalar>(&self, width: usize, target: Target<'_, T>, row_weights: Option<&[T]>) -> f64 {
        let classes = match target {
            Target::Classes(classes) => classes,
            Target::Values(values) => return total_weight(values.len() / width.max(1), row_weights),
        };
        let mut kept = classes.iter().enumerate().filter(|(_, class)| self.ignored != Some(**class));
        if row_weights.is_none() && self.weights.is_empty() {
            return kept.count() as f64;
        }
        // Losses of narrow formats are computed in `f64`.
        let of_class =
            |class: usize| if is_narrow::<T>() { self.of::<f64>(class) } else { to_f64(self.of::<T>(class)) };
        let of_row =
            |row: usize| row_weights.and_then(|weights| weights.get(row)).map_or(1.0, |&weight| to_f64(weight));
        let sum = kept.by_ref().fold(Sum::new(), |mut sum, (row, &class)| {
            sum.add(of_row(row) * of_class(class));
            sum
        });
        sum.total()
    }
}

/// Returns an error for a weight that is negative, or not finite in the format `T`. `what` is the name of the weight
/// in the error.
pub(super) fn check_weights<T: Scalar>(what: &'static str, weights: &[f64]) -> Result<(), Error> {
    weights.iter().try_for_each(|&weight| {
        require(weight >= 0.0 && weight.is_finite(), what, "finite and not negative", weight)?;
        require(scalar::<T>(weight).is_finite(), what, "finite in the number format of the network", weight)
    })
}

/// Defines methods of a loss `$loss` that has the fields `weights` and `ignored`: the setter `class_weights`, and
/// `classes`, which returns both settings. With a second argument `ignored`, also the setter `ignore_class`.
macro_rules! class_weight_setters {
    ($loss:ident $(, $ignored:ident)?) => {
        impl $loss {
            /// Sets a weight for each class, one for each output of the network. The default is 1 for every class.
            ///
            /// # Errors
            /// [`Error::Empty`] without weights; [`Error::Parameter`] for a weight that is negative or not finite.
            pub fn class_weights(self, weights: &[f64]) -> Result<Self, Error> {
                if weights.is_empty() {
                    return Err(Error::Empty { what: "class weights" });
                }
                let changed = $loss { weights: weights.to_vec(), ..self };
                changed.classes().check::<f64>().map(|()| changed)
            }

            fn classes(&self) -> $crate::loss::class_weights::ClassWeights<'_> {
                let ignored = None $(.or(self.$ignored))?;
                $crate::loss::class_weights::ClassWeights { weights: &self.weights, ignored }
            }
        }

        $(
            impl $loss {
                /// Sets a class whose rows are ignored: they add no loss, gradient or weight. The network need not
                /// have an output for this class.
                #[must_use]
                pub fn ignore_class(self, class: usize) -> Self {
                    $loss { $ignored: Some(class), ..self }
                }
            }
        )?
    };
}
pub(super) use class_weight_setters;
