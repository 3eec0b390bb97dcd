//! Samples with their targets, and the batches made of them.

mod batch;

pub use batch::Batch;

use crate::{
    error::{Error, require_length},
    loss::Target,
    scalar::{Scalar, to_f64},
    size::{product, sum},
};

/// Samples with their targets, borrowed from wherever they lie.
///
/// # Shapes
/// inputs: sample after sample, each \[its steps, width\]; targets: one a sample, or one a step of every sample,
/// in the same order, as the network's output has rows.
#[derive(Clone, Copy, Debug)]
pub struct Dataset<'a, T> {
    inputs: &'a [T],
    width: usize,
    steps: usize,
    lengths: Option<&'a [usize]>,
    samples: usize,
    rows: usize,
    targets: Target<'a, T>,
    row_weights: Option<&'a [T]>,
}

impl<'a, T: Scalar> Dataset<'a, T> {
    /// Samples of one row of `width` values.
    ///
    /// # Errors
    /// Those of [`sequences`](Self::sequences).
    pub fn rows(width: usize, inputs: &'a [T], targets: Target<'a, T>) -> Result<Self, Error> {
        Self::sequences(width, 1, inputs, targets)
    }

    /// Sequences of `steps` rows of `width` values.
    ///
    /// # Errors
    /// [`Error::Empty`] for a `width` or `steps` of 0; [`Error::Length`] where `inputs` are empty or no whole number of
    /// samples. [`Error::Length`] too where `targets` are neither one a sample nor one a step. [`Error::DataValue`],
    /// with sample, step and column, for an input or a target that is not finite. A missing target is any finite value
    /// with a [row weight](Self::row_weights) of 0. [`Error::TooLarge`] where a sample has more values than memory can
    /// hold.
    pub fn sequences(width: usize, steps: usize, inputs: &'a [T], targets: Target<'a, T>) -> Result<Self, Error> {
        let each = product("a sample (width × steps)", &[width, steps])?;
        let samples = inputs.len().checked_div(each).ok_or(Error::Empty { what: "a sample" })?;
        require_length("inputs (whole samples)", samples.max(1) * each, inputs.len())?;
        Dataset { inputs, width, steps, lengths: None, samples, rows: samples * steps, targets, row_weights: None }
            .checked()
    }

    /// Sequences of unequal length, in any order.
    ///
    /// # Errors
    /// [`Error::EmptyBatch`] without `lengths`; [`Error::NoSteps`] for a length of 0; [`Error::Empty`] for a `width` of
    /// 0. [`Error::Length`] where `inputs` do not have the rows of all `lengths`, or `targets` are neither one a sample
    /// nor one a step. [`Error::DataValue`] for an input or a target that is not finite; [`Error::TooLarge`] for more
    /// rows or values than memory can hold.
    pub fn ragged(width: usize, lengths: &'a [usize], inputs: &'a [T], targets: Target<'a, T>) -> Result<Self, Error> {
        if let Some(sample) = lengths.iter().position(|&length| length == 0) {
            return Err(Error::NoSteps { sample });
        }
        if width == 0 {
            return Err(Error::Empty { what: "a sample" });
        }
        let rows = sum("the steps of all samples", lengths.iter().copied())?;
        require_length("inputs", product("the inputs (steps of all samples × width)", &[rows, width])?, inputs.len())?;
        let (steps, samples) = (lengths.iter().copied().max().unwrap_or(0), lengths.len());
        Dataset { inputs, width, steps, lengths: Some(lengths), samples, rows, targets, row_weights: None }.checked()
    }

    fn checked(self) -> Result<Self, Error> {
        if self.samples == 0 {
            return Err(Error::EmptyBatch);
        }
        self.check_finite("an input", self.inputs)?;
        let found = match self.targets {
            Target::Classes(classes) => classes.len(),
            Target::Values(values)
                if !values.is_empty()
                    && (values.len().is_multiple_of(self.samples) || values.len().is_multiple_of(self.rows)) =>
            {
                self.check_finite("a target", values)?;
                return Ok(self);
            }
            Target::Values(values) => values.len(),
        };
        let expected = if found == self.rows { self.rows } else { self.samples };
        require_length("targets (one a sample, or one a step)", expected, found)?;
        Ok(self)
    }

    /// Gives each target row a weight in the loss; one of weight 0 is not read at all.
    ///
    /// # Errors
    /// [`Error::Length`] unless there is one weight a sample or one a step; [`Error::DataValue`], with the sample, for
    /// one that is negative or not finite.
    pub fn row_weights(self, weights: &'a [T]) -> Result<Self, Error> {
        let expected = if weights.len() == self.rows { self.rows } else { self.samples };
        require_length("row weights (one a sample, or one a step)", expected, weights.len())?;
        if let Some(bad) = weights.iter().position(|weight| !(weight.is_finite() && *weight >= T::zero())) {
            let ((sample, step, _), found) = (self.place(weights.len(), bad), to_f64(weights[bad]));
            let (what, expected) = ("a row weight", "finite and not negative");
            return Err(Error::DataValue { what, sample, step, column: None, expected, found });
        }
        Ok(Dataset { row_weights: Some(weights), ..self })
    }

    fn check_finite(&self, what: &'static str, values: &[T]) -> Result<(), Error> {
        let Some(bad) = first_non_finite(values) else { return Ok(()) };
        let ((sample, step, column), found) = (self.place(values.len(), bad), to_f64(values[bad]));
        Err(Error::DataValue { what, sample, step, column: Some(column), expected: "finite", found })
    }

    /// The sample, step and column of one of `count` values, which are as many in each row or in each sample.
    fn place(&self, count: usize, bad: usize) -> (usize, Option<usize>, usize) {
        let by_row = count.is_multiple_of(self.rows);
        let width = count / if by_row { self.rows } else { self.samples };
        let (row, column) = (bad / width, bad % width);
        match self.lengths {
            _ if !by_row => (row, None, column),
            None => (row / self.steps, (self.steps > 1).then_some(row % self.steps), column),
            Some(lengths) => {
                let (mut sample, mut step) = (0, row);
                while step >= lengths[sample] {
                    step -= lengths[sample];
                    sample += 1;
                }
                (sample, Some(step), column)
            }
        }
    }

    /// All input values, sample after sample.
    pub(crate) fn inputs(&self) -> &'a [T] {
        self.inputs
    }

    /// All targets.
    pub(crate) fn targets(&self) -> Target<'a, T> {
        self.targets
    }

    /// The same samples with other inputs and targets of the same sizes.
    pub(crate) fn with<'b>(&self, inputs: &'b [T], targets: Target<'b, T>) -> Dataset<'b, T>
    where
        'a: 'b,
    {
        Dataset { inputs, targets, ..*self }
    }

    /// How many samples there are.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Values per input row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Steps of the longest sample.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The most rows that `samples` different samples have.
    pub(crate) fn most_rows(&self, samples: usize) -> usize {
        samples.min(self.samples).saturating_mul(self.steps).min(self.rows)
    }

    fn shape(&self) -> DataShape {
        let kind = match self.targets {
            Target::Classes(_) => Kind::Classes,
            Target::Values(_) => Kind::Values,
        };
        let lengths = self.lengths.map(|lengths| (lengths.as_ptr().addr(), lengths.len()));
        DataShape { samples: self.samples, steps: self.steps, width: self.width, kind, lengths }
    }

    fn length(&self, sample: usize) -> usize {
        self.lengths.map_or(self.steps, |lengths| lengths[sample])
    }
}

/// What tells the data of a batch from other data: sizes, and where the lengths lie.
#[derive(Clone, Copy, Debug, PartialEq)]
struct DataShape {
    samples: usize,
    steps: usize,
    width: usize,
    kind: Kind,
    lengths: Option<(usize, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Classes,
    Values,
}

/// The place of the first value that is NaN or infinite.
pub(crate) fn first_non_finite<T: Scalar>(values: &[T]) -> Option<usize> {
    // A loop without an exit is vectorized; most blocks hold nothing to find.
    let finite = |values: &[T]| values.iter().fold(true, |finite, value| finite & value.is_finite());
    let block = values.chunks(1024).position(|block| !finite(block))?;
    let offset = values[block * 1024..].iter().position(|value| !value.is_finite())?;
    Some(block * 1024 + offset)
}
