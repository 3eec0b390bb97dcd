//! Creation of data sets from nested slices and from padded sequences; conversion of labels.

use super::{Dataset, targets::Targets};
use crate::{
    error::{DataRule, Error, require_length},
    loss::Target,
    scalar::Scalar,
    size::{product, reserve, sum},
};
use alloc::{borrow::Cow, collections::BTreeSet, format, string::String, vec::Vec};

impl<'a, T: Scalar> Dataset<'a, T> {
    /// Creates a data set of samples with one row each, for example from a `Vec<Vec<T>>` or a slice of arrays. The
    /// inputs are copied.
    ///
    /// ```
    /// use chainrule::{dataset::Dataset, loss::Target};
    /// let flowers = vec![vec![5.1, 3.5], vec![6.2, 2.9]];
    /// let data = Dataset::from_rows(&flowers, Target::Classes(&[0, 1]))?;
    /// assert_eq!((data.samples(), data.width()), (2, 2));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::EmptyBatch`] without rows; [`Error::Empty`] for rows without values. [`DataRule::RowWidth`] for a row
    /// whose width differs from that of the first row. The errors of [`rows`](Self::rows).
    pub fn from_rows<R: AsRef<[T]>>(rows: &[R], targets: impl Into<Option<Target<'a, T>>>) -> Result<Self, Error> {
        let expected = rows.first().ok_or(Error::EmptyBatch)?.as_ref().len();
        let other = rows.iter().position(|row| row.as_ref().len() != expected);
        if let Some(row) = other {
            return Err(DataRule::RowWidth { row, expected, found: rows[row].as_ref().len() }.into());
        }
        Self::equal(expected, 1, concat(rows)?, Targets::from(targets.into()), None)
    }

    /// Creates a data set from separate sequences, each \[its time steps, `width`\], whose lengths may be in any
    /// order. The inputs are copied.
    ///
    /// # Errors
    /// [`DataRule::NotMultiple`], with the sample, for a sequence whose number of values is not a multiple of
    /// `width`. The errors of [`ragged`](Self::ragged).
    pub fn from_sequences<S: AsRef<[T]>>(
        width: usize,
        samples: &[S],
        targets: impl Into<Option<Target<'a, T>>>,
    ) -> Result<Self, Error> {
        if width == 0 {
            return Err(Error::Empty { what: "a sample" });
        }
        let mut lengths = reserve("the lengths of the samples", samples.len())?;
        for (sample, values) in samples.iter().enumerate() {
            let found = values.as_ref().len();
            if !found.is_multiple_of(width) {
                let what = format!("sample {sample}");
                return Err(DataRule::NotMultiple { what, found, unit: "width", size: width }.into());
            }
            lengths.push(found / width);
        }
        Self::unequal(width, Cow::Owned(lengths), concat(samples)?, Targets::from(targets.into()))
    }
}

/// Concatenates `slices` to one owned vector; [`Error::TooLarge`] if memory cannot hold it.
fn concat<'a, T: Scalar, S: AsRef<[T]>>(slices: &[S]) -> Result<Cow<'a, [T]>, Error> {
    let len = sum("the values of all samples", slices.iter().map(|slice| slice.as_ref().len()))?;
    let mut all = reserve("the values of all samples", len)?;
    slices.iter().for_each(|slice| all.extend_from_slice(slice.as_ref()));
    Ok(Cow::Owned(all))
}

/// Returns the number of time steps of each sequence from the mask of padded sequences. The mask is \[samples,
/// `steps`\], true for time steps that are not padding.
///
/// # Errors
/// [`Error::Empty`] for 0 `steps` or an empty mask; [`DataRule::NotMultiple`] if the length of the mask is not a
/// multiple of `steps`. [`DataRule::MaskHole`] for a time step that follows padding; [`Error::NoSteps`] for a sample
/// that is all padding.
pub fn mask_lengths(steps: usize, mask: &[bool]) -> Result<Vec<usize>, Error> {
    if steps == 0 || mask.is_empty() {
        return Err(Error::Empty { what: "a mask" });
    }
    if !mask.len().is_multiple_of(steps) {
        return Err(
            DataRule::NotMultiple { what: "a mask".into(), found: mask.len(), unit: "steps", size: steps }.into()
        );
    }
    let mut lengths = reserve("the lengths of a mask", mask.len() / steps)?;
    for (sample, mask) in mask.chunks(steps).enumerate() {
        let length = mask.iter().take_while(|&&real| real).count();
        if let Some(after) = mask[length..].iter().position(|&real| real) {
            return Err(DataRule::MaskHole { sample, step: length + after }.into());
        }
        if length == 0 {
            return Err(Error::NoSteps { sample });
        }
        lengths.push(length);
    }
    Ok(lengths)
}

/// Removes the padding of sequences. Of `values`, \[samples, `steps`, any width\], it copies the first `lengths[s]`
/// rows of each sample s, one sample after the other. [`Dataset::ragged`] expects this layout, for inputs and for
/// targets per time step.
///
/// ```
/// use chainrule::dataset::{Dataset, mask_lengths, unpad};
/// let padded = [1.0, 2.0, 0.0, 3.0, 0.0, 0.0]; // 2 sequences, padded to 3 steps of 1 value
/// let lengths = mask_lengths(3, &[true, true, false, true, false, false])?;
/// let x = unpad(3, &lengths, &padded)?;
/// assert_eq!(x, [1.0, 2.0, 3.0]);
/// assert_eq!(Dataset::ragged(1, &lengths, &x, None)?.steps(), 2);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Errors
/// [`Error::EmptyBatch`] without `lengths`; [`DataRule::PaddedLength`] for a length above `steps`; [`Error::Length`]
/// unless `values` has the same number of values for each padded time step. [`Error::TooLarge`] if memory cannot hold
/// the result.
pub fn unpad<X: Copy>(steps: usize, lengths: &[usize], values: &[X]) -> Result<Vec<X>, Error> {
    if lengths.is_empty() {
        return Err(Error::EmptyBatch);
    }
    if let Some(sample) = lengths.iter().position(|&length| length > steps) {
        return Err(DataRule::PaddedLength { sample, length: lengths[sample], steps }.into());
    }
    let rows = product("padded rows (samples × steps)", &[lengths.len(), steps])?;
    let width = values.len().checked_div(rows).unwrap_or(0).max(1);
    require_length("padded values", product("padded values", &[rows, width])?, values.len())?;
    let mut all = reserve("values without padding", sum("values", lengths.iter().map(|&length| length * width))?)?;
    for (values, &length) in values.chunks((steps * width).max(1)).zip(lengths) {
        all.extend_from_slice(&values[..length * width]);
    }
    Ok(all)
}

/// Returns one-hot rows of class indices (`labels`): 1 in the column of the label, 0 in all other columns.
/// [`metrics::predicted_classes`] is the inverse.
///
/// ```
/// let rows = chainrule::dataset::one_hot::<f64>(3, &[0, 2])?;
/// assert_eq!(rows, [1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Shapes
/// The result is \[labels, `classes`\].
///
/// # Errors
/// [`Error::ClassOutOfRange`] for a label that is not below `classes`; [`Error::TooLarge`] if memory cannot hold the
/// rows.
///
/// [`metrics::predicted_classes`]: crate::metrics::predicted_classes
pub fn one_hot<T: Scalar>(classes: usize, labels: &[usize]) -> Result<Vec<T>, Error> {
    let values = product("one-hot rows (labels × classes)", &[labels.len(), classes])?;
    let mut rows = crate::size::filled("one-hot rows", values, T::zero())?;
    for (row, &label) in labels.iter().enumerate() {
        if label >= classes {
            return Err(Error::ClassOutOfRange { row, label, classes });
        }
        rows[row * classes + label] = T::one();
    }
    Ok(rows)
}

/// Converts text labels to class indices. Returns (the class index of each label, the sorted names of the classes).
/// Another call, with other labels, may give a class another index.
///
/// [`Model::name_classes`](crate::model::Model::name_classes) stores the names of the classes in a model.
///
/// # Shapes
/// The class indices are \[labels\], each below the number of names.
///
/// ```
/// use chainrule::dataset::encode_labels;
/// let (classes, names) = encode_labels(&["oak", "ash", "oak"]);
/// assert_eq!((&classes[..], &names[..]), (&[1, 0, 1][..], &["ash".to_string(), "oak".into()][..]));
/// ```
pub fn encode_labels(labels: &[impl AsRef<str>]) -> (Vec<usize>, Vec<String>) {
    let names: BTreeSet<&str> = labels.iter().map(AsRef::as_ref).collect();
    let names: Vec<String> = names.into_iter().map(String::from).collect();
    let class = |label: &str| names.partition_point(|name| name.as_str() < label);
    (labels.iter().map(|label| class(label.as_ref())).collect(), names)
}
