//! How many samples and steps a pass covers, and which rows of a slice they are.

use crate::{
    error::{Error, require_length},
    size::{product, saturating_sum, sum},
};
use core::ops::Range;

/// The samples and steps of one pass.
///
/// Rows are time-major: all samples of step 0, then all samples of step 1, and so on. A feedforward
/// batch is a sequence of one step. In a ragged batch sample `s` has `lengths[s]` steps; lengths do
/// not increase, so the samples still running at a step are always the first ones, and step `t` has
/// just [`active(t)`](BatchShape::active) rows. There are no padding rows: nothing is computed for them,
/// and nothing can leak out of them.
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
    /// Samples.
    pub batch: usize,
    /// Steps of the longest sample.
    pub steps: usize,
    /// Steps of each sample, longest first; `None` where all have `steps`.
    pub lengths: Option<&'a [usize]>,
}

impl<'a> BatchShape<'a> {
    /// `batch` samples of one step: a feedforward batch.
    pub const fn batch(batch: usize) -> Self {
        Self::sequences(batch, 1)
    }

    /// `batch` sequences of `steps` steps each.
    pub const fn sequences(batch: usize, steps: usize) -> Self {
        BatchShape { batch, steps, lengths: None }
    }

    /// Sequences of unequal length, longest first.
    pub fn ragged(lengths: &'a [usize]) -> Self {
        BatchShape { batch: lengths.len(), steps: lengths.first().copied().unwrap_or(0), lengths: Some(lengths) }
    }

    /// All rows of the pass; [`usize::MAX`] where they are more than that, which no pass can have.
    #[inline]
    pub fn rows(&self) -> usize {
        match self.lengths {
            None => self.batch.saturating_mul(self.steps),
            Some(lengths) => saturating_sum(lengths.iter().copied()),
        }
    }

    /// The samples that still run at `step`.
    #[inline]
    pub fn active(&self, step: usize) -> usize {
        match self.lengths {
            None if step < self.steps => self.batch,
            None => 0,
            Some(lengths) => lengths.partition_point(|&length| length > step),
        }
    }

    /// The rows of `step`.
    #[inline]
    pub fn step(&self, step: usize) -> Range<usize> {
        let start = match self.lengths {
            None => self.batch.saturating_mul(step),
            Some(lengths) => saturating_sum(lengths.iter().map(|&length| length.min(step))),
        };
        start..start.saturating_add(self.active(step))
    }

    /// The steps of `sample`; 0 for a sample beyond the lengths of a ragged batch.
    #[inline]
    pub fn length(&self, sample: usize) -> usize {
        self.lengths.map_or(self.steps, |lengths| lengths.get(sample).copied().unwrap_or(0))
    }

    /// The row of `sample` at `step`; the sample must still run there.
    pub fn row(&self, step: usize, sample: usize) -> usize {
        self.step(step).start.saturating_add(sample)
    }

    /// The one-step shape of the same samples, which layers such as `LastStep` produce.
    pub fn collapsed(&self) -> BatchShape<'static> {
        BatchShape::batch(self.batch)
    }

    /// Refuses what no pass can cover.
    ///
    /// # Errors
    /// [`Error::EmptyBatch`] without samples; [`Error::NoSteps`] for a sample without steps;
    /// [`Error::LengthsNotDescending`] where lengths increase. [`Error::Length`] where `batch` or `steps` is not that
    /// of `lengths`; [`Error::TooLarge`] for more rows than memory can hold.
    pub fn check(&self) -> Result<(), Error> {
        if self.batch == 0 {
            return Err(Error::EmptyBatch);
        }
        if let Some(lengths) = self.lengths {
            // The fields can be set by anybody.
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
