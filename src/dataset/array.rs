//! Creation of data sets from arrays of the crate `ndarray`.

use super::{Dataset, targets::Targets};
use crate::{
    error::{DataRule, Error},
    scalar::Scalar,
    size::{product, reserve},
};
use alloc::{borrow::Cow, vec::Vec};
use ndarray::{ArrayView, ArrayViewD, Dimension};

/// The targets of a data set as an array, for [`Dataset::from_array`].
#[derive(Clone, Debug)]
pub struct ArrayTarget<'a, T>(Kind<'a, T>);

#[derive(Clone, Debug)]
enum Kind<'a, T> {
    Classes(ArrayViewD<'a, usize>),
    Values(ArrayViewD<'a, T>),
}

impl<'a, T> ArrayTarget<'a, T> {
    /// Creates targets that are class indices, of shape \[samples\], or \[samples, steps\] for one class at each time
    /// step.
    pub fn classes<D: Dimension>(classes: ArrayView<'a, usize, D>) -> Self {
        ArrayTarget(Kind::Classes(classes.into_dyn()))
    }

    /// Creates targets that are numbers, of shape \[samples\] for an output of width 1, \[samples, outputs\], or
    /// \[samples, steps, outputs\].
    pub fn values<D: Dimension>(values: ArrayView<'a, T, D>) -> Self {
        ArrayTarget(Kind::Values(values.into_dyn()))
    }
}

impl<'a, T: Scalar> Dataset<'a, T> {
    /// Creates a data set from an array of the crate `ndarray`: \[samples, width\] for samples of one row, \[samples,
    /// steps, width\] for sequences of equal length. Values in standard layout (row-major, without gaps) are
    /// borrowed. The values of other views, such as transposed or sliced ones, are copied in the order of the axes.
    ///
    /// ```
    /// use chainrule::dataset::{ArrayTarget, Dataset};
    /// use chainrule::ndarray::{array, s};
    /// let table = array![[5.1, 3.5, 0.0], [6.2, 2.9, 1.0]]; // two inputs, then the target
    /// let data = Dataset::from_array(
    ///     table.slice(s![.., ..2]),
    ///     ArrayTarget::values(table.slice(s![.., 2])),
    /// )?;
    /// assert_eq!((data.samples(), data.width()), (2, 2));
    ///
    /// let series = array![[[0.1], [0.2], [0.3]]]; // 1 sample of 3 steps
    /// let labels = array![4];
    /// let data = Dataset::from_array(series.view(), ArrayTarget::classes(labels.view()))?;
    /// assert_eq!((data.samples(), data.steps()), (1, 3));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`DataRule::ArrayAxes`] for inputs or targets with an unsupported number of axes; [`DataRule::ArrayLength`] if
    /// targets have another number of samples or time steps than the inputs. [`Error::EmptyBatch`] without samples;
    /// [`Error::TooLarge`] for a copy that memory cannot hold. The errors of [`sequences`](Self::sequences).
    pub fn from_array<'i: 'a, 't: 'a, D: Dimension>(
        inputs: ArrayView<'i, T, D>,
        targets: impl Into<Option<ArrayTarget<'t, T>>>,
    ) -> Result<Self, Error> {
        let (samples, steps, width) = match *inputs.shape() {
            [samples, width] => (samples, 1, width),
            [samples, steps, width] => (samples, steps, width),
            _ => return Err(axes("the inputs", inputs.ndim(), "[samples, width] or [samples, steps, width]")),
        };
        if samples == 0 {
            return Err(Error::EmptyBatch);
        }
        let (targets, per_sample) = match targets.into().map(|targets| targets.0) {
            None => (Targets::None, None),
            Some(Kind::Classes(classes)) => {
                let per_sample = match *classes.shape() {
                    [of] => fits(&[of], &[samples]).map(|()| true)?,
                    [of, at] => fits(&[of, at], &[samples, steps]).map(|()| false)?,
                    _ => return Err(axes("the classes", classes.ndim(), "[samples] or [samples, steps]")),
                };
                (Targets::Classes(ordered(classes)?), Some(per_sample))
            }
            Some(Kind::Values(values)) => {
                let per_sample = match *values.shape() {
                    [of] | [of, _] => fits(&[of], &[samples]).map(|()| true)?,
                    [of, at, _] => fits(&[of, at], &[samples, steps]).map(|()| false)?,
                    _ => {
                        let needed = "[samples], [samples, outputs] or [samples, steps, outputs]";
                        return Err(axes("the target values", values.ndim(), needed));
                    }
                };
                (Targets::Values(ordered(values)?), Some(per_sample))
            }
        };
        Self::equal(width, steps, ordered(inputs)?, targets, per_sample)
    }
}

/// Returns the values of `array` in row-major order (the last axis varies fastest); borrowed if they are stored in
/// this order, otherwise copied.
fn ordered<'a, T: Clone, D: Dimension>(array: ArrayView<'a, T, D>) -> Result<Cow<'a, [T]>, Error> {
    if let Some(values) = array.to_slice() {
        return Ok(Cow::Borrowed(values));
    }
    let mut values: Vec<T> = reserve("the values of an array", product("an array", array.shape())?)?;
    values.extend(array.iter().cloned());
    Ok(Cow::Owned(values))
}

fn axes(what: &'static str, found: usize, needed: &'static str) -> Error {
    DataRule::ArrayAxes { what, found, needed }.into()
}

/// Returns an error if targets have another number of samples or time steps than the inputs. `found` are the lengths
/// of the first axes of the targets, `expected` those of the inputs: the number of samples, then that of time steps.
fn fits(found: &[usize], expected: &[usize]) -> Result<(), Error> {
    for (axis, (&found, &expected)) in ["samples", "steps"].into_iter().zip(found.iter().zip(expected)) {
        if found != expected {
            return Err(DataRule::ArrayLength { axis, expected, found }.into());
        }
    }
    Ok(())
}
