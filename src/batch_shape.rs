//! The shape of a pass: its samples and time steps, and the position of their rows in a slice.

use crate::{
    error::{Error, require_length},
    size::{MOST, product, saturating_sum, sum},
};
use alloc::vec::Vec;
use core::ops::Range;

/// The number of samples of a batch and their time steps, for one forward or backward pass.
///
/// Rows are time-major: all samples at time step 0, then all samples at time step 1, and so on. A feedforward batch
/// has one time step.
///
/// In a ragged batch, sample `s` has `lengths[s]` time steps. Lengths do not increase, so the samples that have a row
/// at a time step are always the first ones. Step `t` has [`active(t)`](BatchShape::active) rows. There are no
/// padding rows.
///
/// ```
/// use chainrule::BatchShape;
/// let ragged = BatchShape::ragged(&[3, 1]);
/// assert_eq!(ragged.rows(), 4);
/// assert_eq!((ragged.step(0), ragged.step(1)), (0..2, 2..3));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchShape<'a> {
    /// The number of samples.
    pub batch: usize,
    /// The number of time steps of the longest sample.
    pub steps: usize,
    /// The number of time steps of each sample, longest first; `None` if every sample has `steps` of them.
    pub lengths: Option<&'a [usize]>,
}

impl<'a> BatchShape<'a> {
    /// `batch` samples of one time step each: a feedforward batch.
    pub const fn batch(batch: usize) -> Self {
        Self::sequences(batch, 1)
    }

    /// `batch` sequences of `steps` time steps each.
    pub const fn sequences(batch: usize, steps: usize) -> Self {
        BatchShape { batch, steps, lengths: None }
    }

    /// Sequences of unequal length, longest first: sample `s` has `lengths[s]` time steps, and `steps` is
    /// `lengths[0]`. The order is not checked here, but by [`check`](Self::check).
    pub fn ragged(lengths: &'a [usize]) -> Self {
        BatchShape { batch: lengths.len(), steps: lengths.first().copied().unwrap_or(0), lengths: Some(lengths) }
    }

    /// The number of rows of the pass, one for each sample and time step. It saturates at [`usize::MAX`], which
    /// [`check`](Self::check) refuses.
    #[inline]
    pub fn rows(&self) -> usize {
        match self.lengths {
            None => self.batch.saturating_mul(self.steps),
            Some(lengths) => sum_of(lengths),
        }
    }

    /// The number of samples that have a row at time step `step`, counted from 0: the samples of more than `step`
    /// time steps.
    #[inline]
    pub fn active(&self, step: usize) -> usize {
        match self.lengths {
            None if step < self.steps => self.batch,
            None => 0,
            Some(lengths) => lengths.partition_point(|&length| length > step),
        }
    }

    /// The range of the rows of time step `step`, counted from 0, among all rows of the pass; empty beyond the last
    /// step.
    #[inline]
    pub fn step(&self, step: usize) -> Range<usize> {
        let start = match self.lengths {
            None => self.batch.saturating_mul(step),
            Some(lengths) => saturating_sum(lengths.iter().map(|&length| length.min(step))),
        };
        start..start.saturating_add(self.active(step))
    }

    /// The number of time steps of `sample`, counted from 0. For an index beyond the last sample it is 0 in a ragged
    /// batch, and `steps` in a batch that is not ragged.
    #[inline]
    pub fn length(&self, sample: usize) -> usize {
        self.lengths.map_or(self.steps, |lengths| lengths.get(sample).copied().unwrap_or(0))
    }

    /// Returns the index, among the rows of the pass, of the row of `sample` at time step `step`, both counted from
    /// 0. It does not check that the sample has a row at this time step.
    pub fn row(&self, step: usize, sample: usize) -> usize {
        self.step(step).start.saturating_add(sample)
    }

    /// Returns the shape of the same samples with one time step each: the output shape of layers such as `LastStep`.
    pub fn collapsed(&self) -> BatchShape<'static> {
        BatchShape::batch(self.batch)
    }

    /// Returns the shape of the samples of more than `first` time steps, restricted to at most `steps` time steps
    /// from `first` on. `first` must not exceed the time steps of the batch. If the batch is ragged, `lengths` is
    /// overwritten with the lengths in this window. Within its capacity this does not allocate.
    pub(crate) fn window<'l>(&self, first: usize, steps: usize, lengths: &'l mut Vec<usize>) -> BatchShape<'l> {
        let steps = steps.min(self.steps - first);
        let Some(all) = self.lengths else { return BatchShape::sequences(self.batch, steps) };
        lengths.clear();
        lengths.extend(all.iter().take_while(|&&length| length > first).map(|&length| (length - first).min(steps)));
        BatchShape::ragged(lengths)
    }

    /// Checks that a pass can have this shape.
    ///
    /// # Errors
    /// [`Error::EmptyBatch`] without samples; [`Error::NoSteps`] for a sample without time steps;
    /// [`Error::LengthsNotDescending`] if lengths increase. [`Error::Length`] if `batch` or `steps` contradicts
    /// `lengths`; [`Error::TooLarge`] for more than `isize::MAX` rows.
    #[inline]
    pub fn check(&self) -> Result<(), Error> {
        let steps_are_alike = self.lengths.is_none() && self.batch > 0 && self.steps > 0;
        if steps_are_alike && self.rows() <= MOST { Ok(()) } else { self.check_each() }
    }

    fn check_each(&self) -> Result<(), Error> {
        if self.batch == 0 {
            return Err(Error::EmptyBatch);
        }
        if let Some(lengths) = self.lengths {
            // The fields are public, so they can contradict each other.
            require_length("the lengths of a ragged batch", self.batch, lengths.len())?;
            require_length("the steps of the longest sample", lengths[0], self.steps)?;
        }
        let lengths = self.lengths.unwrap_or(&[]);
        if let Some(sample) = lengths.windows(2).position(|pair| pair[0] < pair[1]) {
            return Err(Error::LengthsNotDescending {
                sample: sample + 1,
                length: lengths[sample + 1],
                before: lengths[sample],
            });
        }
        if self.steps == 0 || lengths.last() == Some(&0) {
            return Err(Error::NoSteps { sample: lengths.iter().position(|&length| length == 0).unwrap_or(0) });
        }
        match self.lengths {
            None => product("the rows of a pass (samples × steps)", &[self.batch, self.steps]),
            Some(lengths) => sum("the rows of a pass (all lengths added up)", lengths.iter().copied()),
        }
        .map(drop)
    }
}

/// Returns the number of rows of a ragged batch: the sum of the `lengths` of its samples. It is a cold function of
/// its own, since most batches are not ragged.
#[cold]
#[inline(never)]
fn sum_of(lengths: &[usize]) -> usize {
    saturating_sum(lengths.iter().copied())
}
