//! Data sets: samples with targets, and batches of them.

#[cfg(feature = "ndarray")]
mod array;
mod batch;
#[cfg(feature = "std")]
mod file;
#[cfg(feature = "std")]
mod file_tensor;
mod interface;
mod layout;
mod nested;
mod select;
mod source;
mod standardize;
mod targets;
mod windows;

#[cfg(feature = "ndarray")]
pub use array::ArrayTarget;
pub use batch::Batch;
#[cfg(feature = "std")]
pub use file::{FileDataset, FileTargets};
#[cfg(feature = "std")]
pub use file_tensor::{FileNumber, FileTensor};
pub(crate) use interface::Interface;
pub(crate) use layout::Layout;
pub use nested::{encode_labels, mask_lengths, one_hot, unpad};
pub use source::Source;
pub(crate) use source::{ChosenRows, ChosenTargets};
pub use standardize::Standardize;
pub(crate) use standardize::varies;
pub use windows::Windows;

use crate::{
    error::{DataRule, Error, require_length, require_multiple},
    loss::Target,
    scalar::{Scalar, to_f64},
    size::{product, reserve, sum},
};
use alloc::{borrow::Cow, vec::Vec};
use core::fmt;
use targets::{Kind, Targets};

/// A data set in memory: samples, with or without targets, borrowed or owned.
///
/// ```
/// use chainrule::{dataset::Dataset, loss::Target};
/// let x = [5.1, 3.5, 4.9, 3.0, 6.2, 2.9]; // 3 samples of 2 values
/// let labelled = Dataset::rows(2, &x, Target::Classes(&[0, 0, 1]))?;
/// let new = Dataset::rows(2, &x, None)?; // for predictions
/// assert_eq!((labelled.samples(), new.width()), (3, 2));
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Shapes
/// All values are sample-major. Inputs: sample after sample, each \[its time steps, width\]. Targets: one row per
/// sample, or one row per time step of every sample, to match the rows of the network's output.
#[derive(Clone, PartialEq)]
pub struct Dataset<'a, T: Clone> {
    inputs: Cow<'a, [T]>,
    width: usize,
    steps: usize,
    lengths: Option<Cow<'a, [usize]>>,
    /// The index of each sample's first row among the input rows of all samples; empty unless lengths differ.
    starts: Vec<usize>,
    /// At index i, the number of input rows of the i + 1 longest samples together; empty unless lengths differ.
    longest_rows: Vec<usize>,
    samples: usize,
    rows: usize,
    targets: Targets<'a, T>,
    row_weights: Option<Cow<'a, [T]>>,
    /// Whether targets have one row per sample, if the number of targets also allows one per time step; `None` if
    /// this was not declared.
    per_sample: Option<bool>,
}

/// Writes the sizes of the data set, not the values.
impl<T: Clone> fmt::Debug for Dataset<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shape = f.debug_struct("Dataset");
        shape.field("samples", &self.samples).field("steps", &self.steps).field("width", &self.width);
        if self.lengths.is_some() {
            shape.field("rows", &self.rows);
        }
        let layout = self.layout();
        match (layout.kind, layout.targets) {
            (Kind::None, _) => shape.field("targets", &"none"),
            (Kind::Classes, classes) => shape.field("classes", &classes),
            (Kind::Values, values) if layout.targets_per_step() && self.rows > self.samples => {
                shape.field("target values per step", &(values / self.rows))
            }
            (Kind::Values, values) => shape.field("target values per sample", &(values / self.samples)),
        };
        shape.field("row_weights", &self.row_weights.is_some()).finish()
    }
}

impl<T: Clone> Dataset<'_, T> {
    /// Returns the sizes of the data set.
    pub(crate) fn layout(&self) -> Layout<'_> {
        Layout {
            width: self.width,
            steps: self.steps,
            lengths: self.lengths.as_deref(),
            starts: &self.starts,
            longest_rows: &self.longest_rows,
            samples: self.samples,
            rows: self.rows,
            kind: self.targets.kind(),
            targets: match &self.targets {
                Targets::None => 0,
                Targets::Classes(classes) => classes.len(),
                Targets::Values(values) => values.len(),
            },
            weights: self.row_weights.as_ref().map(|weights| weights.len()),
            per_sample: self.per_sample,
        }
    }
}

impl<'a, T: Scalar> Dataset<'a, T> {
    /// Creates a data set of samples without a time axis: each is one row of `width` values.
    ///
    /// # Errors
    /// The errors of [`sequences`](Self::sequences).
    pub fn rows(width: usize, inputs: &'a [T], targets: impl Into<Option<Target<'a, T>>>) -> Result<Self, Error> {
        Self::sequences(width, 1, inputs, targets)
    }

    /// Creates a data set of sequences of equal length. Each has `steps` time steps, which are rows of `width`
    /// values.
    ///
    /// # Errors
    /// [`Error::Empty`] for a `width` or `steps` of 0, and without inputs; [`DataRule::NotMultiple`] if the number of
    /// `inputs` is not a multiple of `width · steps`. [`Error::Length`] unless there is one target per sample or one
    /// per time step. [`Error::DataValue`], with sample, time step and column, for an input or a target that is not
    /// finite; give a missing target any finite value and a [row weight](Self::row_weights) of 0. [`Error::TooLarge`]
    /// if a sample has more values than memory can hold.
    pub fn sequences(
        width: usize,
        steps: usize,
        inputs: &'a [T],
        targets: impl Into<Option<Target<'a, T>>>,
    ) -> Result<Self, Error> {
        Self::equal(width, steps, Cow::Borrowed(inputs), targets.into().into(), None)
    }

    /// Creates a data set of sequences of equal length. `per_sample` states whether targets have one row per sample,
    /// not per step; with `None` the number of targets decides.
    fn equal(
        width: usize,
        steps: usize,
        inputs: Cow<'a, [T]>,
        targets: Targets<'a, T>,
        per_sample: Option<bool>,
    ) -> Result<Self, Error> {
        let each = product("a sample (width × steps)", &[width, steps])?;
        let samples = inputs.len().checked_div(each).ok_or(Error::Empty { what: "a sample" })?;
        require_multiple("inputs", inputs.len(), if steps == 1 { "width" } else { "width × steps =" }, each)?;
        Dataset {
            inputs,
            width,
            steps,
            lengths: None,
            starts: Vec::new(),
            longest_rows: Vec::new(),
            samples,
            rows: samples * steps,
            targets,
            row_weights: None,
            per_sample: per_sample.filter(|_| steps > 1),
        }
        .checked()
    }

    /// Creates a data set of sequences of unequal length, which may be in any order.
    ///
    /// # Errors
    /// [`Error::EmptyBatch`] without `lengths`; [`Error::NoSteps`] for a length of 0; [`Error::Empty`] for a `width`
    /// of 0. [`Error::Length`] if `inputs` do not have the rows that all `lengths` together require, or there is
    /// neither one target per sample nor one per time step. [`Error::DataValue`] for an input or a target that is not
    /// finite; [`Error::TooLarge`] for more rows or values than memory can hold.
    pub fn ragged(
        width: usize,
        lengths: &'a [usize],
        inputs: &'a [T],
        targets: impl Into<Option<Target<'a, T>>>,
    ) -> Result<Self, Error> {
        Self::unequal(width, Cow::Borrowed(lengths), Cow::Borrowed(inputs), targets.into().into())
    }

    fn unequal(
        width: usize,
        lengths: Cow<'a, [usize]>,
        inputs: Cow<'a, [T]>,
        targets: Targets<'a, T>,
    ) -> Result<Self, Error> {
        if let Some(sample) = lengths.iter().position(|&length| length == 0) {
            return Err(Error::NoSteps { sample });
        }
        if width == 0 {
            return Err(Error::Empty { what: "a sample" });
        }
        let rows = sum("the steps of all samples", lengths.iter().copied())?;
        let expected = product("the inputs (steps of all samples × width)", &[rows, width])?;
        require_length("inputs of all samples", expected, inputs.len())?;
        let (steps, samples) = (lengths.iter().copied().max().unwrap_or(0), lengths.len());
        let mut starts = reserve("the first rows of the samples", samples)?;
        starts.extend(lengths.iter().scan(0, |next, &length| Some(core::mem::replace(next, *next + length))));
        let mut longest_rows = reserve("the lengths of the samples", samples)?;
        longest_rows.extend_from_slice(&lengths);
        longest_rows.sort_unstable_by(|a: &usize, b| b.cmp(a));
        let mut rows_so_far = 0;
        longest_rows.iter_mut().for_each(|length| {
            rows_so_far += *length;
            *length = rows_so_far;
        });
        Dataset {
            inputs,
            width,
            steps,
            lengths: Some(lengths),
            starts,
            longest_rows,
            samples,
            rows,
            targets,
            row_weights: None,
            per_sample: None,
        }
        .checked()
    }

    fn checked(self) -> Result<Self, Error> {
        if self.samples == 0 {
            return Err(Error::EmptyBatch);
        }
        self.check_finite("an input", &self.inputs, true)?;
        let found = match &self.targets {
            Targets::None => return Ok(self),
            Targets::Classes(classes) => classes.len(),
            Targets::Values(values)
                if !values.is_empty()
                    && (values.len().is_multiple_of(self.samples) || values.len().is_multiple_of(self.rows)) =>
            {
                self.check_finite("a target", values, self.layout().targets_per_step())?;
                return Ok(self);
            }
            Targets::Values(values) => values.len(),
        };
        let expected = if found == self.rows { self.rows } else { self.samples };
        require_length("targets (one a sample, or one a step)", expected, found)?;
        Ok(self)
    }

    /// Sets the weight of each target row in the loss, one per sample or one per time step. The loss ignores rows of
    /// weight 0.
    ///
    /// # Errors
    /// [`Error::Length`] unless there is one weight per sample or one per time step; [`Error::DataValue`], with the
    /// sample, for a weight that is negative or not finite.
    pub fn row_weights(self, weights: &'a [T]) -> Result<Self, Error> {
        let expected = if weights.len() == self.rows { self.rows } else { self.samples };
        require_length("row weights (one a sample, or one a step)", expected, weights.len())?;
        if let Some(bad) = weights.iter().position(|weight| !(weight.is_finite() && *weight >= T::zero())) {
            let per_step = weights.len() == self.rows;
            let ((sample, step, _), found) = (self.layout().place(weights.len(), bad, per_step), to_f64(weights[bad]));
            let (what, expected) = ("a row weight", "finite and not negative");
            return Err(Error::DataValue { what, sample, step, column: None, expected, found });
        }
        Ok(Dataset { row_weights: Some(Cow::Borrowed(weights)), ..self })
    }

    /// Returns [`Error::DataValue`] for the first value that is NaN or infinite; `what` is the name of the values in
    /// the error. `values` have one row per step if `per_step`, otherwise one per sample.
    fn check_finite(&self, what: &'static str, values: &[T], per_step: bool) -> Result<(), Error> {
        let Some(bad) = first_non_finite(values) else { return Ok(()) };
        let ((sample, step, column), found) = (self.layout().place(values.len(), bad, per_step), to_f64(values[bad]));
        Err(Error::DataValue { what, sample, step, column: Some(column), expected: "finite", found })
    }

    /// Returns an owned data set with the same samples; borrowed values are copied.
    pub fn into_owned(self) -> Dataset<'static, T> {
        Dataset {
            inputs: Cow::Owned(self.inputs.into_owned()),
            width: self.width,
            steps: self.steps,
            lengths: self.lengths.map(|lengths| Cow::Owned(lengths.into_owned())),
            starts: self.starts,
            longest_rows: self.longest_rows,
            samples: self.samples,
            rows: self.rows,
            targets: self.targets.into_owned(),
            row_weights: self.row_weights.map(|weights| Cow::Owned(weights.into_owned())),
            per_sample: self.per_sample,
        }
    }

    /// Declares that targets have one row per sample. The call is needed only if lengths differ and the number of
    /// target values also allows one row per time step, which is the assumption without it.
    ///
    /// # Errors
    /// [`Error::Length`] unless each sample has the same number of target values.
    pub fn one_target_a_sample(self) -> Result<Self, Error> {
        let found = match &self.targets {
            Targets::None => self.samples,
            Targets::Classes(classes) => classes.len(),
            Targets::Values(values) if values.len().is_multiple_of(self.samples) => self.samples,
            Targets::Values(values) => values.len(),
        };
        require_length("targets (one a sample)", self.samples, found)?;
        Ok(Dataset { per_sample: Some(true), ..self })
    }

    /// Returns the number of samples.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Returns the number of values of an input row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Returns the number of time steps of the longest sample.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Returns the number of time steps of sample `sample`.
    ///
    /// # Panics
    /// If `sample` is not below [`samples`](Self::samples).
    pub fn length(&self, sample: usize) -> usize {
        assert!(sample < self.samples, "there is no sample {sample}: the data has {}", self.samples);
        self.length_of(sample)
    }

    fn length_of(&self, sample: usize) -> usize {
        self.lengths.as_ref().map_or(self.steps, |lengths| lengths[sample])
    }

    /// Returns all inputs, sample after sample, each \[its time steps, width\].
    pub fn inputs(&self) -> &[T] {
        &self.inputs
    }

    /// Returns all targets, in the order of the samples; `None` for data without targets.
    pub fn targets(&self) -> Option<Target<'_, T>> {
        self.targets.target()
    }

    /// Returns all values of the data as 64-bit words, for a hash: inputs, target values, row weights, lengths,
    /// classes.
    pub(crate) fn words(&self) -> impl Iterator<Item = u64> {
        let bits = |&value: &T| to_f64(value).to_bits();
        let (classes, values): (&[usize], &[T]) = match self.targets() {
            Some(Target::Classes(classes)) => (classes, &[]),
            Some(Target::Values(values)) => (&[], values),
            None => (&[], &[]),
        };
        let counts = self.lengths.iter().flat_map(|lengths| lengths.iter()).chain(classes).map(|&count| count as u64);
        let weights = self.row_weights.as_deref().unwrap_or_default();
        self.inputs.iter().chain(values).chain(weights).map(bits).chain(counts)
    }
}

/// Returns [`DataRule::RowValue`] if a value of `rows`, where each row has `width` values, is NaN or infinite.
pub(crate) fn refuse_non_finite<T: Scalar>(width: usize, rows: &[T]) -> Result<(), Error> {
    let Some(index) = first_non_finite(rows) else { return Ok(()) };
    let (row, column) = (index / width.max(1), index % width.max(1));
    Err(DataRule::RowValue { row, column, found: to_f64(rows[index]) }.into())
}

/// Returns the index of the first value that is NaN or infinite; `None` if all are finite.
pub(crate) fn first_non_finite<T: Scalar>(values: &[T]) -> Option<usize> {
    // A loop without an early exit is vectorized, and almost all chunks contain only finite values.
    let finite = |values: &[T]| values.iter().fold(true, |finite, value| finite & value.is_finite());
    let block = values.chunks(1024).position(|block| !finite(block))?;
    let offset = values[block * 1024..].iter().position(|value| !value.is_finite())?;
    Some(block * 1024 + offset)
}
