//! Samples of a dataset, gathered into one batch.

use super::{DataShape, Dataset, targets::Kind};
use crate::{
    batch_shape::BatchShape,
    error::{DataRule, Error, require_length},
    kernel::{parallel::part_count, step_rows::parallel_rows},
    loss::Target,
    scalar::Scalar,
    size::{MOST, at_most, grow, product, reserve},
};
use alloc::vec::Vec;

/// A batch of samples in the layout of a workspace: time-major, the longest sample first.
///
/// Its buffers are allocated once, for the largest batch.
#[derive(Debug)]
pub struct Batch<T> {
    x: Vec<T>,
    classes: Vec<usize>,
    values: Vec<T>,
    weights: Vec<T>,
    /// The steps of each sample, of a ragged data set.
    lengths: Vec<usize>,
    samples: Vec<usize>,
    /// The first row of each sample of a ragged data set.
    starts: Vec<usize>,
    steps: usize,
    kind: Kind,
    weighted: bool,
    /// The shape of the data that the buffers are for.
    shape: DataShape,
}

impl<T: Scalar> Batch<T> {
    /// Buffers for batches of up to `samples` samples of `data`, or of all samples if there are fewer.
    ///
    /// If their allocation fails, [`gather`](Self::gather) returns the error.
    pub fn new(data: &Dataset<'_, T>, samples: usize) -> Self {
        let samples = samples.min(data.samples);
        let rows = data.most_rows(samples);
        // Targets are one row per sample or one per step; the longest samples have the most.
        let values = match data.targets() {
            Some(Target::Values(values)) => {
                (samples * (values.len() / data.samples)).max(rows * (values.len() / data.rows))
            }
            _ => 0,
        };
        let kind = data.targets.kind();
        Batch {
            x: with_room(rows.saturating_mul(data.width)),
            classes: with_room(if kind == Kind::Classes { rows } else { 0 }),
            values: with_room(values),
            weights: with_room(if data.row_weights.is_some() { rows } else { 0 }),
            lengths: with_room(if data.lengths.is_some() { samples } else { 0 }),
            samples: with_room(samples),
            starts: data.starts(),
            steps: 0,
            kind,
            weighted: false,
            shape: data.shape(),
        }
    }

    /// Gathers `samples` of `data`. `per_step` is true if the output has a row for each step of a sample.
    ///
    /// # Errors
    /// [`Error::InvalidState`] for `data` other than the batch was [made](Self::new) for; [`Error::Sample`] for a
    /// sample that it does not have. [`DataRule::TargetRows`] where its targets are one a sample and `per_step` is set,
    /// or the reverse; [`Error::Length`] for such row weights. [`Error::TooLarge`] where memory cannot hold the batch.
    pub fn gather(&mut self, data: &Dataset<'_, T>, samples: &[usize], per_step: bool) -> Result<(), Error> {
        self.choose(data, samples, per_step)?;
        self.gather_chosen(data)
    }

    /// [`gather`](Self::gather) for the inputs only.
    pub(crate) fn gather_inputs(&mut self, data: &Dataset<'_, T>, samples: &[usize]) -> Result<(), Error> {
        self.choose_samples(data, samples)?;
        self.gather_chosen(data)
    }

    /// Copies the input rows of the chosen samples.
    fn gather_chosen(&mut self, data: &Dataset<'_, T>) -> Result<(), Error> {
        let mut x = core::mem::take(&mut self.x);
        let written = self.input_values(data).and_then(|values| {
            grow("the input of a batch", &mut x, values)?;
            x.resize(values, T::zero());
            self.write_input(data, &mut x)
        });
        self.x = x;
        written
    }

    /// [`gather`](Self::gather) without the input, which [`write_input`](Self::write_input) writes to the workspace.
    ///
    /// # Errors
    /// Those of [`gather`](Self::gather).
    pub(crate) fn choose(&mut self, data: &Dataset<'_, T>, samples: &[usize], per_step: bool) -> Result<(), Error> {
        self.choose_samples(data, samples)?;
        self.choose_targets(data, per_step)
    }

    /// Chooses `samples`: stores them and their lengths in the order of the batch.
    fn choose_samples(&mut self, data: &Dataset<'_, T>, samples: &[usize]) -> Result<(), Error> {
        if self.shape != data.shape() {
            return Err(Error::InvalidState { what: "a batch of other data", needs: "a Batch::new for that data" });
        }
        if let Some(&sample) = samples.iter().find(|&&sample| sample >= data.samples) {
            return Err(Error::Sample { sample, samples: data.samples });
        }
        self.samples.clear();
        self.lengths.clear();
        grow("the samples of a batch", &mut self.samples, samples.len())?;
        self.samples.extend_from_slice(samples);
        if data.lengths.is_some() {
            grow("the lengths of a batch", &mut self.lengths, samples.len())?;
            // An unstable sort does not allocate; the sample index breaks ties, so the order is unique.
            self.samples.sort_unstable_by_key(|&sample| (core::cmp::Reverse(data.length_of(sample)), sample));
            self.lengths.extend(self.samples.iter().map(|&sample| data.length_of(sample)));
        }
        self.steps = self.samples.first().map_or(0, |&sample| data.length_of(sample));
        self.weighted = false;
        self.x.clear();
        self.classes.clear();
        self.values.clear();
        self.weights.clear();
        Ok(())
    }

    /// Copies targets and row weights of the chosen samples.
    fn choose_targets(&mut self, data: &Dataset<'_, T>, per_step: bool) -> Result<(), Error> {
        let rows = if per_step { data.rows } else { data.samples };
        let (targets, row_weights) = (data.targets(), data.row_weights.as_deref());
        let width = match targets {
            Some(Target::Values(values)) => values.len() / rows,
            _ => 1,
        };
        let found = match targets {
            Some(Target::Classes(classes)) => classes.len(),
            Some(Target::Values(values)) => values.len(),
            None => rows,
        };
        // If lengths are equal, targets per sample and per step can have the same number of values.
        let other_rows = data.lengths.is_some() && data.rows != data.samples && data.targets_per_step() != per_step;
        if found != rows * width.max(1) || targets.is_some() && other_rows {
            return Err(DataRule::TargetRows { per_step }.into());
        }
        if let Some(weights) = row_weights {
            require_length("row weights", rows, weights.len())?;
        }
        self.weighted = row_weights.is_some();
        let chosen = if per_step { self.checked_rows()? } else { self.samples.len() };
        match targets {
            Some(Target::Classes(_)) => grow("the targets of a batch", &mut self.classes, chosen)?,
            Some(Target::Values(_)) => grow("the targets of a batch", &mut self.values, chosen.saturating_mul(width))?,
            None => {}
        }
        grow("the row weights of a batch", &mut self.weights, if self.weighted { chosen } else { 0 })?;
        let Batch { samples, starts, classes, values: chosen, weights, .. } = self;
        let mut add = |target: usize| {
            match targets {
                Some(Target::Classes(all)) => classes.push(all[target]),
                Some(Target::Values(all)) => chosen.extend_from_slice(&all[target * width..][..width]),
                None => {}
            }
            if let Some(all) = row_weights {
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

    /// Writes the input rows of the chosen samples to `x`.
    ///
    /// # Errors
    /// [`Error::Length`] if `x` has another length: the network has another input width.
    pub(crate) fn write_input(&self, data: &Dataset<'_, T>, x: &mut [T]) -> Result<(), Error> {
        require_length("input", x.len(), self.input_values(data)?)?;
        let inputs = data.inputs();
        // About a nanosecond per value, since they are read from memory.
        let (rows, parts) = (self.rows(), part_count(self.rows(), x.len(), 2));
        parallel_rows([parts, rows, 1], [(x, data.width)], &mut [], |own, [x], _| {
            let (mut to, mut all) = (x.chunks_mut(data.width.max(1)), 0..rows);
            each_row(data, &self.samples, &self.starts, |row| {
                if all.next().is_some_and(|i| own.contains(&i))
                    && let Some(to) = to.next()
                {
                    to.copy_from_slice(&inputs[row * data.width..][..data.width]);
                }
            });
        });
        Ok(())
    }

    fn rows(&self) -> usize {
        self.shape().rows()
    }

    fn checked_rows(&self) -> Result<usize, Error> {
        at_most("the rows of a batch", self.rows(), MOST)
    }

    /// Copies the output rows of the chosen samples to their positions among the outputs of all samples.
    pub(crate) fn write_output(&self, data: &Dataset<'_, T>, per_step: bool, width: usize, y: &[T], all: &mut [T]) {
        let mut y = y.chunks(width.max(1));
        let mut copy = |row: usize| {
            if let Some(y) = y.next() {
                all[row * width..][..width].copy_from_slice(y);
            }
        };
        if per_step {
            each_row(data, &self.samples, &self.starts, copy);
        } else {
            self.samples.iter().for_each(|&sample| copy(sample));
        }
    }

    /// Translates an error about a row or a sample of the batch into one about a sample of `data`.
    pub(crate) fn in_data(&self, data: &Dataset<'_, T>, per_step: bool, mut error: Error) -> Error {
        if let Error::InvalidData(DataRule::Index { sample, .. }) = &mut error {
            *sample = self.samples.get(*sample).copied().unwrap_or(*sample);
        }
        let Error::ClassOutOfRange { row, .. } = error else { return error };
        let mut found = self.samples.get(row).copied();
        if per_step {
            let mut rows = 0..=row;
            each_row(data, &self.samples, &self.starts, |place| {
                if rows.next() == Some(row) {
                    found = Some(place);
                }
            });
        }
        data.name_sample(found.unwrap_or(row), per_step, error)
    }

    /// The number of input values of the chosen samples.
    fn input_values(&self, data: &Dataset<'_, T>) -> Result<usize, Error> {
        product("the input of a batch (rows × width)", &[self.checked_rows()?, data.width])
    }

    /// The input rows; empty after a training step, which writes them directly to the workspace.
    pub fn x(&self) -> &[T] {
        &self.x
    }

    /// The rows of the input.
    pub fn shape(&self) -> BatchShape<'_> {
        if self.shape.lengths.is_some() {
            BatchShape::ragged(&self.lengths)
        } else {
            BatchShape::sequences(self.samples.len(), self.steps)
        }
    }

    /// The targets, in the order of the output rows; empty for data without targets.
    pub fn target(&self) -> Target<'_, T> {
        match self.kind {
            Kind::Classes => Target::Classes(&self.classes),
            Kind::Values | Kind::None => Target::Values(&self.values),
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

/// An empty vector with capacity for `len` values, or without capacity if the allocation fails.
fn with_room<T>(len: usize) -> Vec<T> {
    reserve("a batch", len).unwrap_or_default()
}

/// Visits the rows of some samples in time-major order, the longest sample first.
fn each_row<T: Scalar>(data: &Dataset<'_, T>, samples: &[usize], starts: &[usize], mut visit: impl FnMut(usize)) {
    let steps = samples.first().map_or(0, |&sample| data.length_of(sample));
    for step in 0..steps {
        for &sample in samples.iter().take_while(|&&sample| step < data.length_of(sample)) {
            visit(starts.get(sample).copied().unwrap_or(sample * data.steps) + step);
        }
    }
}
