//! Batches: samples of a data set, copied into one buffer in the order of a pass.

use super::{
    Layout, Source,
    layout::DataShape,
    source::{ChosenRows, ChosenTargets},
    targets::Kind,
};
use crate::{
    batch_shape::BatchShape,
    error::{DataRule, Error, require_length},
    loss::Target,
    scalar::Scalar,
    size::{MOST, at_most, grow, product, reserve},
};
use alloc::vec::Vec;
use core::{fmt, ops::Range};

mod places;

/// A batch: inputs, targets and row weights of some samples of a data set. Its rows have the layout of a workspace:
/// time-major (the rows of all samples at one time step, then those at the next), the longest sample first.
///
/// The buffers are allocated once, for the largest number of samples.
///
/// ```
/// # use chainrule::dataset::{Batch, Dataset};
/// let data = Dataset::sequences(1, 2, &[1.0, 2.0, 10.0, 20.0], None)?; // two samples of two steps
/// let mut batch = Batch::new(&data, 2);
/// batch.gather(&data, &[1, 0], true)?;
/// assert_eq!(batch.x(), [10.0, 1.0, 20.0, 2.0]);
/// # Ok::<(), chainrule::Error>(())
/// ```
pub struct Batch<T> {
    x: Vec<T>,
    classes: Vec<usize>,
    values: Vec<T>,
    weights: Vec<T>,
    /// The number of time steps of each sample of the batch; empty unless the data set is ragged (samples of unequal
    /// lengths).
    lengths: Vec<usize>,
    samples: Vec<usize>,
    /// The index of the first input row of each sample of the batch, among the input rows of all samples of the data
    /// set. Empty unless the data set is ragged (samples of unequal lengths).
    starts: Vec<usize>,
    /// The range of time steps that a pass processes: all time steps of the longest sample, unless a window was
    /// selected.
    window: Range<usize>,
    /// The range of the batch's target rows (and row weights) that belong to the time steps in `window`.
    target_rows: Range<usize>,
    /// The number of values of a target row; 0 before samples and their targets are chosen.
    target_width: usize,
    /// The number of time steps of each sample within `window`; empty unless the data set is ragged (samples of
    /// unequal lengths).
    window_lengths: Vec<usize>,
    kind: Kind,
    weighted: bool,
    /// The sizes of the data set for which the batch was created.
    shape: DataShape,
}

/// Writes the shape of the batch, not the values.
impl<T> fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DataShape { steps, width, .. } = self.shape;
        let longest = self.lengths.first().copied().unwrap_or(steps);
        let target_rows = self.classes.len().max(self.values.len() / self.target_width.max(1));
        let mut shape = f.debug_struct("Batch");
        shape.field("samples", &self.samples.len()).field("steps", &longest).field("width", &width);
        shape.field("targets", &self.kind).field("target_rows", &target_rows);
        shape.field("row_weights", &self.weighted).finish()
    }
}

impl<T: Scalar> Batch<T> {
    /// Creates buffers for batches of up to `samples` samples of `data`, or of all samples if there are fewer.
    ///
    /// If the allocation of a buffer fails, [`gather`](Self::gather) returns the error.
    pub fn new(data: &dyn Source<T>, samples: usize) -> Self {
        let data = data.layout();
        let samples = samples.min(data.samples);
        let rows = data.most_rows(samples);
        // Targets have one row per sample or per time step; the longest samples have the most rows.
        let values = match data.kind {
            Kind::Values => (samples * (data.targets / data.samples)).max(rows * (data.targets / data.rows)),
            _ => 0,
        };
        let kind = data.kind;
        Batch {
            x: with_room(rows.saturating_mul(data.width)),
            classes: with_room(if kind == Kind::Classes { rows } else { 0 }),
            values: with_room(values),
            weights: with_room(if data.weights.is_some() { rows } else { 0 }),
            lengths: with_room(if data.lengths.is_some() { samples } else { 0 }),
            samples: with_room(samples),
            starts: with_room(if data.lengths.is_some() { samples } else { 0 }),
            window: 0..0,
            target_rows: 0..0,
            target_width: 0,
            window_lengths: with_room(if data.lengths.is_some() { samples } else { 0 }),
            kind,
            weighted: false,
            shape: data.shape(),
        }
    }

    /// Copies inputs, targets and row weights of the samples with indices `samples` from `data` to the batch.
    /// `per_step` is true if the network's output has a row for each time step of a sample.
    ///
    /// # Errors
    /// [`Error::InvalidState`] if the sizes of `data` are not those for which the batch was [made](Self::new):
    /// samples, time steps, width, kind of targets, equal or unequal lengths. [`Error::Sample`] for a sample that the
    /// data does not have. [`DataRule::TargetRows`] if there is one target row per sample and `per_step` is set, or
    /// the reverse; [`DataRule::TargetShape`] instead if that one row has as many values as the sample has time
    /// steps. [`Error::Length`] if there is one row weight per sample and `per_step` is set, or the reverse.
    /// [`Error::TooLarge`] if memory cannot hold the batch. For data in files: [`DataRule::FileEnds`],
    /// [`Error::DataValue`] for a value that is not finite, and [`Error::File`] if a file cannot be read.
    pub fn gather(&mut self, data: &dyn Source<T>, samples: &[usize], per_step: bool) -> Result<(), Error> {
        self.choose(data, samples, per_step)?;
        self.gather_chosen(data)
    }

    /// Copies only the inputs of the samples with indices `samples` to the batch, without targets and row weights.
    pub(crate) fn gather_inputs(&mut self, data: &dyn Source<T>, samples: &[usize]) -> Result<(), Error> {
        self.choose_samples(&data.layout(), samples)?;
        self.gather_chosen(data)
    }

    /// Copies the input rows of the samples that [`choose_samples`](Self::choose_samples) has stored from `data` to
    /// the batch.
    fn gather_chosen(&mut self, data: &dyn Source<T>) -> Result<(), Error> {
        let mut x = core::mem::take(&mut self.x);
        let written = self.input_values().and_then(|values| {
            grow("the input of a batch", &mut x, values)?;
            x.resize(values, T::zero());
            self.write_input(data, &mut x)
        });
        self.x = x;
        written
    }

    /// Sets the samples of the batch to `samples`, and copies their targets and row weights, one per time step if
    /// `per_step`, otherwise one per sample. The input is not copied: [`write_input`](Self::write_input) later writes
    /// it to the workspace.
    ///
    /// # Errors
    /// The errors of [`gather`](Self::gather).
    pub(crate) fn choose(&mut self, data: &dyn Source<T>, samples: &[usize], per_step: bool) -> Result<(), Error> {
        let layout = data.layout();
        self.choose_samples(&layout, samples)?;
        self.choose_targets(data, layout, per_step)
    }

    /// Sets the samples of the batch: stores the indices `samples` and their lengths, the longest sample first, and
    /// removes all former rows. The window becomes all time steps. Returns an error if the sizes of `data` are not
    /// those of the batch, or for a sample that `data` does not have.
    fn choose_samples(&mut self, data: &Layout<'_>, samples: &[usize]) -> Result<(), Error> {
        if self.shape != data.shape() {
            return Err(Error::InvalidState { what: "a batch of other data", needs: "`Batch::new` for that data" });
        }
        if let Some(&sample) = samples.iter().find(|&&sample| sample >= data.samples) {
            return Err(Error::Sample { sample, samples: data.samples });
        }
        self.samples.clear();
        grow("the samples of a batch", &mut self.samples, samples.len())?;
        self.samples.extend_from_slice(samples);
        if data.lengths.is_some() {
            self.lengths.clear();
            self.starts.clear();
            grow("the lengths of a batch", &mut self.lengths, samples.len())?;
            grow("the first rows of a batch", &mut self.starts, samples.len())?;
            // An unstable sort does not allocate; the sample index breaks ties, so the order is unique.
            self.samples.sort_unstable_by_key(|&sample| (core::cmp::Reverse(data.length_of(sample)), sample));
            self.lengths.extend(self.samples.iter().map(|&sample| data.length_of(sample)));
            self.starts.extend(self.samples.iter().filter_map(|&sample| data.starts.get(sample)));
        }
        self.window = 0..self.samples.first().map_or(0, |&sample| data.length_of(sample));
        (self.target_rows, self.target_width) = (0..0, 0);
        self.weighted = false;
        self.x.clear();
        self.classes.clear();
        self.values.clear();
        self.weights.clear();
        Ok(())
    }

    /// Limits the batch to a window of `steps` time steps from time step `first` on, or fewer at the end of the
    /// sequences. This limits shape, targets and row weights, and the input that [`write_input`](Self::write_input)
    /// writes afterwards. The network must have an output for each time step.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if memory cannot hold the lengths.
    pub(crate) fn select_steps(&mut self, first: usize, steps: usize) -> Result<(), Error> {
        self.window_lengths.clear();
        grow("the lengths of a batch", &mut self.window_lengths, self.lengths.len())?;
        let mut lengths = core::mem::take(&mut self.window_lengths);
        let (all, window) = (self.all(), self.all().window(first, steps, &mut lengths));
        let start = all.step(first).start;
        (self.target_rows, self.window) = (start..start + window.rows(), first..first + window.steps);
        self.window_lengths = lengths;
        Ok(())
    }

    /// Returns the index of the first time step of the window of a batch; 0 unless a window was selected.
    pub(crate) fn first_step(&self) -> usize {
        self.window.start
    }

    /// Returns the shape of the batch with all time steps of its samples, even those outside a selected window.
    fn all(&self) -> BatchShape<'_> {
        if self.shape.ragged {
            BatchShape::ragged(&self.lengths)
        } else {
            BatchShape::sequences(self.samples.len(), self.shape.steps)
        }
    }

    /// Copies targets and row weights of the batch's samples from `data`, whose sizes are in `layout`: one row per
    /// time step if `per_step`, otherwise one per sample. The errors are those of [`gather`](Self::gather) about
    /// targets and weights.
    fn choose_targets(&mut self, data: &dyn Source<T>, layout: Layout<'_>, per_step: bool) -> Result<(), Error> {
        let rows = if per_step { layout.rows } else { layout.samples };
        let width = match layout.kind {
            Kind::Values => layout.targets / rows,
            Kind::Classes => 1,
            Kind::None => 0,
        };
        // If all lengths are equal, targets per sample and per time step can have the same number of values, unless
        // it was declared which of the two they are.
        let other_rows = layout.rows != layout.samples
            && (layout.lengths.is_some() && layout.targets_per_step() != per_step
                || layout.per_sample == Some(per_step));
        if layout.has_targets() && (layout.targets != rows * width.max(1) || other_rows) {
            let (samples, steps) = (layout.samples, layout.steps);
            let is_step_each = layout.kind == Kind::Values && layout.lengths.is_none() && layout.targets == layout.rows;
            return Err(match per_step && is_step_each {
                true => DataRule::TargetShape { samples, steps }.into(),
                false => DataRule::TargetRows { per_step }.into(),
            });
        }
        if let Some(weights) = layout.weights {
            require_length("row weights", rows, weights)?;
        }
        self.weighted = layout.weights.is_some();
        let chosen = if per_step { self.checked_rows()? } else { self.samples.len() };
        let classes = if layout.kind == Kind::Classes { chosen } else { 0 };
        let values = if layout.kind == Kind::Values { chosen.saturating_mul(width) } else { 0 };
        let weights = if self.weighted { chosen } else { 0 };
        grow("the targets of a batch", &mut self.classes, classes)?;
        grow("the targets of a batch", &mut self.values, values)?;
        grow("the row weights of a batch", &mut self.weights, weights)?;
        self.classes.resize(classes, 0);
        self.values.resize(values, T::zero());
        self.weights.resize(weights, T::zero());
        (self.target_rows, self.target_width) = (0..chosen, width);
        let Batch { samples, lengths, starts, window, classes, values, weights, .. } = self;
        let rows = ChosenRows { samples, lengths, starts, longest: layout.steps, steps: 0..window.end };
        data.write_targets(&rows, per_step, ChosenTargets { classes, values, width, weights })
    }

    /// Copies the input rows of the batch's samples from `data` to `x`, time-major: the rows of the time steps within
    /// the selected window.
    ///
    /// # Errors
    /// [`Error::Length`] if the length of `x` differs, because the network's input width is not that of the data.
    pub(crate) fn write_input(&self, data: &dyn Source<T>, x: &mut [T]) -> Result<(), Error> {
        require_length("input", x.len(), self.rows().saturating_mul(self.shape.width))?;
        data.write_inputs(&self.chosen_rows(), x)
    }

    fn chosen_rows(&self) -> ChosenRows<'_> {
        let Batch { samples, lengths, starts, shape, window, .. } = self;
        ChosenRows { samples, lengths, starts, longest: shape.steps, steps: window.clone() }
    }

    fn rows(&self) -> usize {
        self.shape().rows()
    }

    fn checked_rows(&self) -> Result<usize, Error> {
        at_most("the rows of a batch", self.rows(), MOST)
    }

    /// Copies the output rows `y` of a pass over the batch to their positions in `all`, which holds the outputs of
    /// all samples in the order of the data set. Each row has `width` values. Outputs have one row per time step if
    /// `per_step`, otherwise one per sample.
    pub(crate) fn write_output(&self, per_step: bool, width: usize, y: &[T], all: &mut [T]) {
        let mut y = y.chunks(width.max(1));
        let copy = |row: usize| {
            if let Some(y) = y.next() {
                all[row * width..][..width].copy_from_slice(y);
            }
        };
        self.chosen_rows().each_target(per_step, copy);
    }

    /// Returns the number of input values of the batch within the selected window; an error if it overflows, or if
    /// memory cannot hold as many rows.
    fn input_values(&self) -> Result<usize, Error> {
        product("the input of a batch (rows × width)", &[self.checked_rows()?, self.shape.width])
    }

    /// Returns the input rows of the batch, time-major; empty after a training step, which writes them directly to
    /// the workspace.
    pub fn x(&self) -> &[T] {
        &self.x
    }

    /// Returns the shape of the input rows: the number of samples, and the time steps of each.
    pub fn shape(&self) -> BatchShape<'_> {
        match self.shape.ragged {
            true if self.window.len() == self.all().steps => BatchShape::ragged(&self.lengths),
            true => BatchShape::ragged(&self.window_lengths),
            false => BatchShape::sequences(self.samples.len(), self.window.len()),
        }
    }

    /// Returns the targets, in the order of the output rows; an empty [`Target::Values`] for data without targets.
    pub fn target(&self) -> Target<'_, T> {
        match self.kind {
            Kind::Classes => Target::Classes(&self.classes[self.target_rows.clone()]),
            Kind::Values | Kind::None => {
                let (Range { start, end }, width) = (self.target_rows.clone(), self.target_width);
                Target::Values(&self.values[start * width..end * width])
            }
        }
    }

    /// Returns the number of target rows of the batch within the selected window.
    pub(crate) fn target_rows(&self) -> usize {
        self.target_rows.len()
    }

    /// Returns the number of target rows, each of which has weight 1 in a loss that does not weight rows by their
    /// target values; `None` for data with row weights or class labels.
    pub(crate) fn rows_of_weight_1(&self) -> Option<usize> {
        (self.kind == Kind::Values && !self.weighted).then_some(self.target_rows.len())
    }

    /// Returns (targets, row weights) of the output rows in `rows`, counted from the first row of the selected
    /// window. The row weights are `None` for data without them.
    pub(crate) fn part(&self, rows: Range<usize>) -> (Target<'_, T>, Option<&[T]>) {
        let width = self.target_width;
        let target = match self.target() {
            Target::Classes(classes) => Target::Classes(&classes[rows.clone()]),
            Target::Values(values) => Target::Values(&values[rows.start * width..rows.end * width]),
        };
        (target, self.row_weights().map(|weights| &weights[rows]))
    }

    /// Returns the weight of each output row in the loss; `None` for data without row weights.
    pub fn row_weights(&self) -> Option<&[T]> {
        self.weighted.then(|| &self.weights[self.target_rows.clone()])
    }

    /// Returns the index in the data set of each sample of the batch. The order is that of the call to
    /// [`gather`](Self::gather). For a ragged data set the longest sample is first, and samples of equal length are
    /// in the order of their indices.
    pub fn samples(&self) -> &[usize] {
        &self.samples
    }
}

/// Returns an empty vector with capacity for `len` values, or without capacity if the allocation fails.
fn with_room<T>(len: usize) -> Vec<T> {
    reserve("a batch", len).unwrap_or_default()
}
