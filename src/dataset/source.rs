//! The source from which a trainer reads its samples: a data set in memory or in files.

use super::{Dataset, Layout, targets::Targets};
use crate::{
    error::{DataRule, Error},
    kernel::{
        parallel::{is_short, part_count},
        step_rows::parallel_rows,
    },
    scalar::{Scalar, to_f64},
};
use alloc::boxed::Box;
use core::{fmt::Debug, ops::Range};

/// The supertrait that seals [`Source`].
pub trait Sealed {}

/// Samples with their targets, which a [`Batch`](super::Batch) reads in parts: a [`Dataset`] in memory, or a
/// [`FileDataset`](super::FileDataset). With equal values, the two give a trainer the same batches, to the bit. The
/// trait is sealed.
///
/// ```
/// use chainrule::{dataset::{Batch, Dataset, Source}, loss::Target};
/// /// The targets of the first two samples of any data.
/// fn first_two(data: &dyn Source<f64>) -> Result<Vec<f64>, chainrule::Error> {
///     let mut batch = Batch::new(data, 2);
///     batch.gather(data, &[0, 1], false)?;
///     let Target::Values(values) = batch.target() else { unreachable!("the data has values") };
///     Ok(values.to_vec())
/// }
/// let data = Dataset::rows(1, &[0.0, 1.0, 2.0], Target::Values(&[1.0, 3.0, 5.0]))?;
/// assert_eq!(first_two(&data)?, [1.0, 3.0]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not data of such numbers",
    label = "not data of such numbers",
    note = "data is a `Dataset` in memory, or a `FileDataset` in files; this trait is sealed",
    note = "a `Result` gives its value by `?`, as in `Dataset::rows(2, &x, None)?`"
)]
pub trait Source<T: Scalar>: Sealed + Debug {
    /// Returns the sizes of the data: samples, time steps, and the numbers of targets and row weights.
    #[doc(hidden)]
    fn layout(&self) -> Layout<'_>;

    /// Returns 64-bit words by whose hash ranks (trainers that train one network together) compare their data. The
    /// words are all values of the data, or for data in files only its sizes.
    #[doc(hidden)]
    fn words(&self) -> Box<dyn Iterator<Item = u64> + '_>;

    /// Returns the identity of the data, by which a rank recognizes data that it has already compared with other
    /// ranks: \[address, samples, time steps, width, input rows, targets\].
    #[doc(hidden)]
    fn identity(&self) -> [usize; 6] {
        let Layout { samples, steps, width, rows, targets, .. } = self.layout();
        [core::ptr::from_ref(self).cast::<()>().addr(), samples, steps, width, rows, targets]
    }

    /// Returns the input rows (one per time step) of all samples, sample after sample; `None` for data in files.
    #[doc(hidden)]
    fn inputs_in_memory(&self) -> Option<&[T]> {
        None
    }

    /// Whether the data is read from files, so that each rank reads only the samples of its own shards.
    #[doc(hidden)]
    fn is_in_files(&self) -> bool {
        false
    }

    /// Returns an error if an input is not a valid index for the embedding that reads a network's input. `wrong`
    /// returns the position of the first value in a slice of inputs that is not a valid index. `vocabulary` is the
    /// number of valid indices; with `None`, for a network without such an embedding, all data is accepted. Inputs in
    /// a file are checked later, by the pass that reads them.
    #[doc(hidden)]
    fn check_indices(&self, vocabulary: Option<usize>, wrong: &dyn Fn(&[T]) -> Option<usize>) -> Result<(), Error>;

    /// Writes the input rows that `rows` selects to `x`, time-major: the rows of all selected samples at one time
    /// step, then those at the next.
    #[doc(hidden)]
    fn write_inputs(&self, rows: &ChosenRows<'_>, x: &mut [T]) -> Result<(), Error>;

    /// Writes the targets and row weights that `rows` selects to `to`: one row for each time step if `per_step`,
    /// otherwise one for each sample.
    #[doc(hidden)]
    fn write_targets(&self, rows: &ChosenRows<'_>, per_step: bool, to: ChosenTargets<'_, T>) -> Result<(), Error>;
}

/// The selection of rows for a batch: a range of time steps of the chosen samples, the longest sample first. The rows
/// are in time-major order: those of all samples at one time step, then those at the next.
#[derive(Clone, Debug)]
pub struct ChosenRows<'b> {
    /// The indices of the chosen samples, the longest first.
    pub(super) samples: &'b [usize],
    /// The number of time steps of each chosen sample; empty unless the data set is ragged (samples of unequal
    /// length).
    pub(super) lengths: &'b [usize],
    /// The index of the first input row of each chosen sample, among the input rows of all samples of the data set.
    /// Empty unless the data set is ragged (samples of unequal length).
    pub(super) starts: &'b [usize],
    /// The number of time steps of the longest sample of the data set.
    pub(super) longest: usize,
    /// The range of time steps whose rows are chosen, the same for all chosen samples.
    pub(super) steps: Range<usize>,
}

impl ChosenRows<'_> {
    /// Calls `visit` with the index of each chosen row among all input rows (one per time step) of the data set. The
    /// rows of all samples at the first time step precede those at the next time step, and so on.
    pub(super) fn each(&self, mut visit: impl FnMut(usize)) {
        for step in self.steps.clone() {
            if self.lengths.is_empty() {
                self.samples.iter().for_each(|sample| visit(sample * self.longest + step));
                continue;
            }
            let at_step = self.starts.iter().zip(self.lengths).take_while(|&(_, &length)| step < length);
            at_step.for_each(|(&start, _)| visit(start + step));
        }
    }

    /// Calls `visit` with the index of each target row: the rows that [`each`](Self::each) visits if `per_step`,
    /// otherwise one row for each chosen sample, with the sample's index.
    pub(super) fn each_target(&self, per_step: bool, visit: impl FnMut(usize)) {
        if per_step { self.each(visit) } else { self.samples.iter().copied().for_each(visit) }
    }
}

/// The buffers of a batch into which class labels, target values and row weights are written. The buffer of classes,
/// values or weights is empty if the data set has none.
#[derive(Debug)]
pub struct ChosenTargets<'b, T> {
    pub(super) classes: &'b mut [usize],
    pub(super) values: &'b mut [T],
    /// The number of values of a target row in `values`.
    pub(super) width: usize,
    pub(super) weights: &'b mut [T],
}

impl<T: Clone> Sealed for Dataset<'_, T> {}

impl<T: Scalar> Source<T> for Dataset<'_, T> {
    fn layout(&self) -> Layout<'_> {
        Dataset::layout(self)
    }

    fn inputs_in_memory(&self) -> Option<&[T]> {
        Some(&self.inputs)
    }

    fn words(&self) -> Box<dyn Iterator<Item = u64> + '_> {
        Box::new(Dataset::words(self))
    }

    fn check_indices(&self, vocabulary: Option<usize>, wrong: &dyn Fn(&[T]) -> Option<usize>) -> Result<(), Error> {
        let Some((vocabulary, bad)) = vocabulary.zip(wrong(&self.inputs)) else { return Ok(()) };
        let (sample, step, column) = Dataset::layout(self).place(self.inputs.len(), bad, true);
        Err(DataRule::Index { sample, step, column, vocabulary, found: to_f64(self.inputs[bad]) }.into())
    }

    fn write_inputs(&self, rows: &ChosenRows<'_>, x: &mut [T]) -> Result<(), Error> {
        T::dataset_inputs(self, rows, x)
    }

    fn write_targets(&self, rows: &ChosenRows<'_>, per_step: bool, to: ChosenTargets<'_, T>) -> Result<(), Error> {
        T::dataset_targets(self, rows, per_step, to)
    }
}

impl<T: Scalar> Dataset<'_, T> {
    /// Implements [`Source::write_inputs`]: copies the input rows that `rows` selects to `x`, time-major (all samples
    /// of a time step are adjacent).
    pub(crate) fn copy_inputs(&self, rows: &ChosenRows<'_>, x: &mut [T]) -> Result<(), Error> {
        let (inputs, width) = (self.inputs(), self.width);
        // Copying a value takes about a nanosecond, since it is read from main memory.
        let nanoseconds = x.len();
        let count = x.len() / width.max(1);
        let parts = if is_short(nanoseconds) { 1 } else { part_count(count, nanoseconds, 2) };
        if parts == 1 {
            copy_rows(rows, true, width, inputs, x);
            return Ok(());
        }
        parallel_rows([parts, count, 1], [(x, width)], &mut [], |own, [x], _| {
            let (mut to, mut all) = (x.chunks_mut(width.max(1)), 0..count);
            rows.each(|row| {
                if all.next().is_some_and(|i| own.contains(&i))
                    && let Some(to) = to.next()
                {
                    to.copy_from_slice(&inputs[row * width..][..width]);
                }
            });
        });
        Ok(())
    }

    /// Implements [`Source::write_targets`]: copies the targets and row weights that `rows` selects to `to`, one row
    /// for each time step if `per_step`, otherwise one for each sample.
    pub(crate) fn copy_targets(
        &self,
        rows: &ChosenRows<'_>,
        per_step: bool,
        to: ChosenTargets<'_, T>,
    ) -> Result<(), Error> {
        match &self.targets {
            Targets::None => {}
            Targets::Classes(all) => copy_rows(rows, per_step, 1, all, to.classes),
            Targets::Values(all) => copy_rows(rows, per_step, to.width, all, to.values),
        }
        if let Some(all) = &self.row_weights {
            copy_rows(rows, per_step, 1, all, to.weights);
        }
        Ok(())
    }
}

/// Copies the rows that `rows` selects, each of `width` values, from `all` to `to`: one row for each time step if
/// `per_step`, otherwise one for each sample.
fn copy_rows<V: Copy>(rows: &ChosenRows<'_>, per_step: bool, width: usize, all: &[V], to: &mut [V]) {
    let mut to = to.chunks_mut(width.max(1));
    rows.each_target(per_step, |row| {
        if let Some(to) = to.next() {
            to.copy_from_slice(&all[row * width..][..width]);
        }
    });
}
