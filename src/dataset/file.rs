//! Data sets in files, read batch by batch.

use super::{
    FileNumber, FileTensor, Layout, first_non_finite,
    source::{ChosenRows, ChosenTargets, Sealed, Source},
    targets::Kind,
};
use crate::{
    error::{DataRule, Error, require_length},
    scalar::{Scalar, to_f64},
    size::{grow, product},
};
use alloc::{boxed::Box, vec::Vec};
use core::fmt;
use std::sync::{Mutex, PoisonError};

/// The targets of a [`FileDataset`]: classes or values, one row for each sample, or one for each time step of each
/// sample.
#[derive(Debug)]
pub enum FileTargets<T> {
    /// Targets that are class indices: \[samples\], or \[samples, steps\] for one class for each time step.
    Classes(FileTensor<usize>),
    /// Targets that are numbers: \[samples\] for an output of width 1, \[samples, outputs\], or \[samples, steps,
    /// outputs\] for one row for each time step.
    Values(FileTensor<T>),
}

/// Samples in files: a data set that a trainer reads batch by batch, so that memory does not grow with the number of
/// samples.
///
/// The batches have the same bits as those of a [`Dataset`](super::Dataset) with the same values in memory. A value
/// that is not finite causes an error when it is read. Shuffle file data in groups of consecutive samples, with
/// [`TrainConfig::shuffle_block`](crate::trainer::TrainConfig::shuffle_block): then samples that are near each other
/// in the file are read together, and the sample order needs no memory for each sample. On several
/// [ranks](crate::distributed) each rank opens the same files, and reads only the samples of its own shards.
///
/// # Shapes
/// Inputs: \[samples\] for a width of 1, \[samples, width\], or \[samples, steps, width\].
///
/// ```no_run
/// use chainrule::dataset::{FileDataset, FileTargets, FileTensor};
/// let data = FileDataset::<f32>::new(
///     FileTensor::npy("x.npy")?,
///     FileTargets::Classes(FileTensor::npy("labels.npy")?),
/// )?;
/// # Ok::<(), chainrule::Error>(())
/// ```
pub struct FileDataset<T> {
    inputs: FileTensor<T>,
    targets: FileTargets<T>,
    row_weights: Option<FileTensor<T>>,
    steps: usize,
    width: usize,
    /// Buffers for the values of one sample: each sample is read from the file into them, and then copied to the
    /// batch.
    sample: Mutex<Buffers<T>>,
}

#[derive(Default)]
struct Buffers<T> {
    values: Vec<T>,
    classes: Vec<usize>,
}

/// Writes the names and shapes of the tensors in files, not the values.
impl<T: fmt::Debug> fmt::Debug for FileDataset<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileDataset")
            .field("inputs", &self.inputs)
            .field("targets", &self.targets)
            .field("row_weights", &self.row_weights)
            .finish_non_exhaustive()
    }
}

impl<T: Scalar + FileNumber> FileDataset<T> {
    /// Creates a data set from `inputs`, whose first axis is the samples, with their `targets`.
    ///
    /// # Errors
    /// [`DataRule::FileFormat`] for inputs or target values of more than three dimensions; [`Error::Length`] unless
    /// there is one target per sample or one per time step. [`Error::TooLarge`] if `usize` cannot count the time
    /// steps.
    pub fn new(inputs: FileTensor<T>, targets: FileTargets<T>) -> Result<Self, Error> {
        let (samples, steps, width) = match *inputs.shape() {
            [samples] => (samples, 1, 1),
            [samples, width] => (samples, 1, width),
            [samples, steps, width] => (samples, steps, width),
            _ => {
                let (file, reason) = (inputs.name().into(), "inputs have at most 3 dimensions".into());
                return Err(DataRule::FileFormat { file, reason }.into());
            }
        };
        product("the steps of all samples", &[samples, steps])?;
        let (found, each) = match &targets {
            FileTargets::Classes(classes) => (classes.shape()[0], classes.each()),
            FileTargets::Values(values) => match *values.shape() {
                [found] | [found, _] => (found, 1),
                [found, each, _] => (found, each),
                _ => {
                    let (file, reason) = (values.name().into(), "targets have at most 3 dimensions".into());
                    return Err(DataRule::FileFormat { file, reason }.into());
                }
            },
        };
        require_length("targets (one a sample, or one a step)", samples, found)?;
        if each != 1 && each != steps {
            return Err(Error::Length {
                what: "targets of a sample (one, or one a step)",
                expected: steps,
                found: each,
            });
        }
        let sample = Mutex::new(Buffers { values: Vec::new(), classes: Vec::new() });
        Ok(FileDataset { inputs, targets, row_weights: None, steps, width, sample })
    }

    /// Sets the weight of each target row in the loss, \[samples\] or \[samples, steps\]. The loss ignores rows of
    /// weight 0.
    ///
    /// # Errors
    /// [`Error::Length`] unless there is one weight per sample or one per time step.
    pub fn row_weights(self, weights: FileTensor<T>) -> Result<Self, Error> {
        require_length("row weights", self.samples(), weights.shape()[0])?;
        let each = weights.each();
        if each != 1 && each != self.steps {
            return Err(Error::Length { what: "row weights of a sample", expected: self.steps, found: each });
        }
        Ok(FileDataset { row_weights: Some(weights), ..self })
    }

    /// Returns the number of samples.
    pub fn samples(&self) -> usize {
        self.inputs.shape()[0]
    }

    /// Returns the number of values of an input row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Returns the number of time steps of each sample.
    pub fn steps(&self) -> usize {
        self.steps
    }
}

impl<T> Sealed for FileDataset<T> {}

impl<T: Scalar + FileNumber> Source<T> for FileDataset<T> {
    fn layout(&self) -> Layout<'_> {
        let samples = self.samples();
        let (kind, each) = match &self.targets {
            FileTargets::Classes(classes) => (Kind::Classes, classes.each()),
            FileTargets::Values(values) => (Kind::Values, values.each()),
        };
        Layout {
            width: self.width,
            steps: self.steps,
            lengths: None,
            starts: &[],
            longest_rows: &[],
            samples,
            rows: samples * self.steps,
            kind,
            targets: samples.saturating_mul(each),
            weights: self.row_weights.as_ref().map(|weights| samples * weights.each()),
            per_sample: match &self.targets {
                FileTargets::Classes(_) => None,
                // If samples have one time step, targets per sample and per time step are the same.
                FileTargets::Values(values) => Some(values.shape().len() < 3 || values.shape()[1] < self.steps),
            },
        }
    }

    fn words(&self) -> Box<dyn Iterator<Item = u64> + '_> {
        let Layout { width, steps, samples, targets, kind, weights, .. } = self.layout();
        let (kind, weights) = (kind as usize, weights.map_or(0, |weights| weights.saturating_add(1)));
        Box::new([width, steps, samples, targets, kind, weights].into_iter().map(|size| size as u64))
    }

    fn is_in_files(&self) -> bool {
        true
    }

    fn check_indices(&self, _vocabulary: Option<usize>, _wrong: &dyn Fn(&[T]) -> Option<usize>) -> Result<(), Error> {
        Ok(())
    }

    fn write_inputs(&self, rows: &ChosenRows<'_>, x: &mut [T]) -> Result<(), Error> {
        let (width, first, samples) = (self.width, rows.steps.start, rows.samples);
        self.each_sample(samples, rows.steps.len(), width, x, |sample, values| {
            self.inputs.read("an input", sample, first * width, values)?;
            check_sample("an input", values, [sample, first, width], self.steps)
        })
    }

    fn write_targets(&self, rows: &ChosenRows<'_>, per_step: bool, to: ChosenTargets<'_, T>) -> Result<(), Error> {
        let (samples, steps) = (rows.samples, if per_step { self.steps } else { 1 });
        match &self.targets {
            FileTargets::Classes(all) => {
                let mut buffers = self.sample.lock().unwrap_or_else(PoisonError::into_inner);
                let read = |sample, classes: &mut [usize]| all.read("a class", sample, 0, classes);
                scatter(&mut buffers.classes, samples, steps, 1, to.classes, read)?;
            }
            FileTargets::Values(all) => {
                let width = to.width;
                self.each_sample(samples, steps, width, to.values, |sample, values| {
                    all.read("a target", sample, 0, values)?;
                    check_sample("a target", values, [sample, 0, width], steps)
                })?;
            }
        }
        let Some(all) = &self.row_weights else { return Ok(()) };
        self.each_sample(samples, steps, 1, to.weights, |sample, weights| {
            all.read("a row weight", sample, 0, weights)?;
            let Some(bad) = weights.iter().position(|weight| !(weight.is_finite() && *weight >= T::zero())) else {
                return Ok(());
            };
            let (step, expected) = ((steps > 1).then_some(bad), "finite and not negative");
            let found = to_f64(weights[bad]);
            Err(Error::DataValue { what: "a row weight", sample, step, column: None, expected, found })
        })
    }
}

impl<T: Scalar + FileNumber> FileDataset<T> {
    /// Calls `read` for each of the samples with the indices `samples`, with its index and a buffer to be filled with
    /// `steps` rows of `width` values. Then copies these rows to their positions in `to`, whose rows are time-major
    /// (all samples of a time step are adjacent).
    fn each_sample(
        &self,
        samples: &[usize],
        steps: usize,
        width: usize,
        to: &mut [T],
        read: impl Fn(usize, &mut [T]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut buffers = self.sample.lock().unwrap_or_else(PoisonError::into_inner);
        scatter(&mut buffers.values, samples, steps, width, to, read)
    }
}

/// Calls `read` for each of the samples with the indices `samples`, with its index and the first `steps · width`
/// values of `buffer`, which is enlarged if it has fewer. Then copies these `steps` rows of `width` values to their
/// positions in `to`, whose rows are time-major (all samples of a time step are adjacent).
fn scatter<V: FileNumber>(
    buffer: &mut Vec<V>,
    samples: &[usize],
    steps: usize,
    width: usize,
    to: &mut [V],
    read: impl Fn(usize, &mut [V]) -> Result<(), Error>,
) -> Result<(), Error> {
    if width == 0 || to.is_empty() {
        return Ok(());
    }
    let values = steps * width;
    grow("the values of a sample", buffer, values.saturating_sub(buffer.len()))?;
    buffer.resize(values.max(buffer.len()), V::ZERO);
    for (place, &sample) in samples.iter().enumerate() {
        let values = &mut buffer[..values];
        read(sample, values)?;
        for (step, row) in values.chunks_exact(width).enumerate() {
            to[(step * samples.len() + place) * width..][..width].copy_from_slice(row);
        }
    }
    Ok(())
}

/// Returns [`Error::DataValue`] for a value that is NaN or infinite; `what` is the name of the values in the error.
/// `values` are consecutive rows of sample number `sample`, each of `width` values, of which the first is time step
/// `first`. `steps` is the number of time steps of a sample.
fn check_sample<T: Scalar>(
    what: &'static str,
    values: &[T],
    [sample, first, width]: [usize; 3],
    steps: usize,
) -> Result<(), Error> {
    let Some(bad) = first_non_finite(values) else { return Ok(()) };
    let (step, column) = ((steps > 1).then_some(first + bad / width.max(1)), Some(bad % width.max(1)));
    Err(Error::DataValue { what, sample, step, column, expected: "finite", found: to_f64(values[bad]) })
}
