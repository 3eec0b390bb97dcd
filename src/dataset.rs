//! Samples with their targets, and the batches made of them.

use crate::{
    batch_shape::BatchShape,
    error::{Error, require_length},
    kernel::{parallel::part_count, step_rows::parallel_rows},
    loss::Target,
    scalar::{Scalar, to_f64},
    size::{grow, product, reserve, sum},
};
use alloc::vec::Vec;

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

/// One batch, gathered from some samples and laid out as a workspace takes it: time-major, the longest sample first.
///
/// Its buffers are made once for the largest batch.
#[derive(Debug)]
pub struct Batch<T> {
    x: Vec<T>,
    classes: Vec<usize>,
    values: Vec<T>,
    weights: Vec<T>,
    lengths: Vec<usize>,
    samples: Vec<usize>,
    /// The first row of each sample of a ragged data set.
    starts: Vec<usize>,
    steps: usize,
    kind: Kind,
    weighted: bool,
    /// What the buffers were made for.
    shape: DataShape,
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

impl<T: Scalar> Batch<T> {
    /// Buffers for batches of up to `samples` samples of `data`; more than all samples are all samples.
    ///
    /// Where there is no memory for them, [`gather`](Self::gather) says so.
    pub fn new(data: &Dataset<'_, T>, samples: usize) -> Self {
        let samples = samples.min(data.samples);
        let rows = data.most_rows(samples);
        // Values may be one row a sample or one a step; the longest samples have the most.
        let (kind, values) = match data.targets {
            Target::Classes(_) => (Kind::Classes, 0),
            Target::Values(values) => {
                (Kind::Values, (samples * (values.len() / data.samples)).max(rows * (values.len() / data.rows)))
            }
        };
        let mut starts = Vec::new();
        if let Some(lengths) = data.lengths {
            starts.extend(lengths.iter().scan(0, |next, &length| {
                let start = *next;
                *next += length;
                Some(start)
            }));
        }
        Batch {
            x: with_room(rows.saturating_mul(data.width)),
            classes: with_room(if kind == Kind::Classes { rows } else { 0 }),
            values: with_room(values),
            weights: with_room(if data.row_weights.is_some() { rows } else { 0 }),
            lengths: with_room(samples),
            samples: with_room(samples),
            starts,
            steps: 0,
            kind,
            weighted: false,
            shape: data.shape(),
        }
    }

    /// Gathers `samples` of `data`; `per_step` says whether the output has a row for each step of a sample.
    ///
    /// # Errors
    /// [`Error::InvalidState`] for `data` other than the batch was [made](Self::new) for; [`Error::Sample`] for a sample that
    /// it does not have. [`Error::Length`] where its targets or row weights are one a sample and `per_step` is set, or
    /// the reverse. [`Error::TooLarge`] where memory cannot hold the batch.
    pub fn gather(&mut self, data: &Dataset<'_, T>, samples: &[usize], per_step: bool) -> Result<(), Error> {
        self.choose(data, samples, per_step)?;
        let mut x = core::mem::take(&mut self.x);
        let written = self.input_values(data).and_then(|values| {
            grow("the input of a batch", &mut x, values)?;
            x.resize(values, T::zero());
            self.write_input(data, &mut x)
        });
        self.x = x;
        written
    }

    /// [`gather`](Self::gather) without the input, which [`write_input`](Self::write_input) writes to where it is read.
    ///
    /// # Errors
    /// Those of [`gather`](Self::gather).
    pub(crate) fn choose(&mut self, data: &Dataset<'_, T>, samples: &[usize], per_step: bool) -> Result<(), Error> {
        if self.shape != data.shape() {
            return Err(Error::InvalidState { what: "a batch of other data", needs: "a Batch::new for that data" });
        }
        if let Some(&sample) = samples.iter().find(|&&sample| sample >= data.samples) {
            return Err(Error::Sample { sample, samples: data.samples });
        }
        self.samples.clear();
        self.lengths.clear();
        grow("the samples of a batch", &mut self.samples, samples.len())?;
        grow("the lengths of a batch", &mut self.lengths, samples.len())?;
        self.samples.extend_from_slice(samples);
        if data.lengths.is_some() {
            // The sort that does not allocate; the sample breaks ties, so that the order is one.
            self.samples.sort_unstable_by_key(|&sample| (core::cmp::Reverse(data.length(sample)), sample));
        }
        self.lengths.extend(self.samples.iter().map(|&sample| data.length(sample)));
        self.steps = self.lengths.first().copied().unwrap_or(0);
        let rows = if per_step { data.rows } else { data.samples };
        self.x.clear();
        self.classes.clear();
        self.values.clear();
        self.weights.clear();
        let width = match data.targets {
            Target::Classes(classes) => {
                require_length("targets", rows, classes.len())?;
                1
            }
            Target::Values(values) => {
                let width = values.len() / rows;
                require_length("targets", rows * width.max(1), values.len())?;
                width
            }
        };
        if let Some(weights) = data.row_weights {
            require_length("row weights", rows, weights.len())?;
        }
        self.weighted = data.row_weights.is_some();
        let chosen = if per_step { sum("the rows of a batch", self.lengths.iter().copied())? } else { samples.len() };
        match data.targets {
            Target::Classes(_) => grow("the targets of a batch", &mut self.classes, chosen)?,
            Target::Values(_) => grow("the targets of a batch", &mut self.values, chosen.saturating_mul(width))?,
        }
        grow("the row weights of a batch", &mut self.weights, if self.weighted { chosen } else { 0 })?;
        let Batch { samples, starts, classes, values: chosen, weights, .. } = self;
        let mut add = |target: usize| {
            match data.targets {
                Target::Classes(all) => classes.push(all[target]),
                Target::Values(all) => chosen.extend_from_slice(&all[target * width..][..width]),
            }
            if let Some(all) = data.row_weights {
                weights.push(all[target]);
            }
        };
        if per_step {
            each_row(data, samples, starts, add);
        } else {
            samples.iter().for_each(|&sample| add(sample));
        }
        Ok(())
    }

    /// Writes the input rows of the samples chosen last to `x`.
    ///
    /// # Errors
    /// [`Error::Length`] where it has other room: the network takes rows of another width.
    pub(crate) fn write_input(&self, data: &Dataset<'_, T>, x: &mut [T]) -> Result<(), Error> {
        require_length("input", x.len(), self.input_values(data)?)?;
        // A nanosecond a value: they come from far.
        let (rows, parts) = (self.rows(), part_count(self.rows(), x.len(), 2));
        parallel_rows([parts, rows, 1], [(x, data.width)], &mut [], |own, [x], _| {
            let (mut to, mut all) = (x.chunks_mut(data.width.max(1)), 0..rows);
            each_row(data, &self.samples, &self.starts, |row| {
                if all.next().is_some_and(|i| own.contains(&i))
                    && let Some(to) = to.next()
                {
                    to.copy_from_slice(&data.inputs[row * data.width..][..data.width]);
                }
            });
        });
        Ok(())
    }

    fn rows(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// An error of the loss about a row of this batch, as one about a row of the targets of `data`.
    pub(crate) fn in_data(&self, data: &Dataset<'_, T>, per_step: bool, error: Error) -> Error {
        let Error::ClassOutOfRange { row, label, classes } = error else { return error };
        let mut found = self.samples.get(row).copied();
        if per_step {
            let mut rows = 0..=row;
            each_row(data, &self.samples, &self.starts, |place| {
                if rows.next() == Some(row) {
                    found = Some(place);
                }
            });
        }
        Error::ClassOutOfRange { row: found.unwrap_or(row), label, classes }
    }

    /// Values of the input rows of the samples chosen last.
    fn input_values(&self, data: &Dataset<'_, T>) -> Result<usize, Error> {
        let rows = sum("the rows of a batch", self.lengths.iter().copied())?;
        product("the input of a batch (rows × width)", &[rows, data.width])
    }

    /// The input rows; none after a training step, which writes them straight to the workspace.
    pub fn x(&self) -> &[T] {
        &self.x
    }

    /// The rows of the input.
    pub fn extent(&self) -> BatchShape<'_> {
        if self.shape.lengths.is_some() {
            BatchShape::ragged(&self.lengths)
        } else {
            BatchShape::sequences(self.samples.len(), self.steps)
        }
    }

    /// The targets, in the order of the output rows.
    pub fn target(&self) -> Target<'_, T> {
        match self.kind {
            Kind::Classes => Target::Classes(&self.classes),
            Kind::Values => Target::Values(&self.values),
        }
    }

    /// The weights of the output rows.
    pub fn row_weights(&self) -> Option<&[T]> {
        self.weighted.then_some(&self.weights)
    }

    /// The samples, in the order of the batch.
    pub fn samples(&self) -> &[usize] {
        &self.samples
    }
}

/// An empty vector with room for `len` values, or with none where memory is short.
fn with_room<T>(len: usize) -> Vec<T> {
    reserve("a batch", len).unwrap_or_default()
}

/// Visits the rows of some samples as they lie in `data`, in time-major order; the longest sample comes first.
fn each_row<T: Scalar>(data: &Dataset<'_, T>, samples: &[usize], starts: &[usize], mut visit: impl FnMut(usize)) {
    let steps = samples.first().map_or(0, |&sample| data.length(sample));
    for step in 0..steps {
        for &sample in samples.iter().take_while(|&&sample| step < data.length(sample)) {
            visit(starts.get(sample).copied().unwrap_or(sample * data.steps) + step);
        }
    }
}

/// The place of the first value that is NaN or infinite.
pub(crate) fn first_non_finite<T: Scalar>(values: &[T]) -> Option<usize> {
    // A loop without an exit is vectorized; most blocks hold nothing to find.
    let finite = |values: &[T]| values.iter().fold(true, |finite, value| finite & value.is_finite());
    let block = values.chunks(1024).position(|block| !finite(block))?;
    let offset = values[block * 1024..].iter().position(|value| !value.is_finite())?;
    Some(block * 1024 + offset)
}
