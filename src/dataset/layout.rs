//! The sizes of a data set, from which batches and buffers are planned.

use super::targets::Kind;

/// The sizes of a data set: samples, time steps, and the numbers of targets and row weights.
#[derive(Clone, Copy, Debug)]
pub struct Layout<'d> {
    pub(crate) width: usize,
    /// The number of time steps of the longest sample of the data set.
    pub(crate) steps: usize,
    pub(crate) lengths: Option<&'d [usize]>,
    /// The index of each sample's first row among the input rows (one per time step) of all samples; empty unless the
    /// data set is ragged (samples of unequal lengths).
    pub(super) starts: &'d [usize],
    /// At index i, the total number of input rows (one per time step) of the i + 1 longest samples; empty unless the
    /// data set is ragged (samples of unequal lengths).
    pub(super) longest_rows: &'d [usize],
    pub(crate) samples: usize,
    /// The number of input rows of the data set: the sum of the numbers of time steps of all samples.
    pub(crate) rows: usize,
    pub(super) kind: Kind,
    /// The total number of class labels or target values of all samples.
    pub(super) targets: usize,
    /// The number of row weights of the data set (one per target row); `None` if it has none.
    pub(super) weights: Option<usize>,
    /// Whether targets have one row per sample, not per time step; `None` if this is inferred from the number of
    /// targets.
    pub(super) per_sample: Option<bool>,
}

/// The sizes of a data set that a batch compares with those for which its buffers were created.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DataShape {
    samples: usize,
    pub(super) steps: usize,
    pub(super) width: usize,
    kind: Kind,
    /// Whether the samples have lengths (numbers of time steps) of their own, which may differ.
    pub(super) ragged: bool,
}

impl Layout<'_> {
    pub(crate) fn length_of(&self, sample: usize) -> usize {
        self.lengths.map_or(self.steps, |lengths| lengths[sample])
    }

    /// Returns the total number of input rows (one per time step) of the `samples` longest samples.
    pub(crate) fn most_rows(&self, samples: usize) -> usize {
        let samples = samples.min(self.samples);
        match self.lengths {
            None => samples.saturating_mul(self.steps),
            Some(_) => samples.checked_sub(1).and_then(|last| self.longest_rows.get(last)).copied().unwrap_or_default(),
        }
    }

    /// Whether the data has targets.
    pub(crate) fn has_targets(&self) -> bool {
        self.kind != Kind::None
    }

    /// Returns the number of target rows of the samples with the indices `samples`: one per time step if `per_step`,
    /// otherwise one per sample. Each has weight 1, unless a loss weights rows by their target values. `None` for
    /// data with row weights or class labels, and for a sample that the data does not have.
    pub(crate) fn rows_of_weight_1(&self, samples: &[usize], per_step: bool) -> Option<usize> {
        if self.weights.is_some() || self.kind != Kind::Values {
            return None;
        }
        let row = |&sample: &usize| (sample < self.samples).then(|| if per_step { self.length_of(sample) } else { 1 });
        samples.iter().map(row).sum()
    }

    /// Whether targets have one row per time step rather than one per sample. They do if their number fits the time
    /// steps, unless they were declared as one row per sample. False without targets.
    pub(super) fn targets_per_step(&self) -> bool {
        match (self.per_sample, self.kind) {
            (_, Kind::None) => false,
            (Some(per_sample), _) => !per_sample,
            (None, Kind::Classes) => self.targets == self.rows,
            (None, Kind::Values) => self.targets.is_multiple_of(self.rows),
        }
    }

    pub(super) fn shape(&self) -> DataShape {
        let ragged = self.lengths.is_some();
        DataShape { samples: self.samples, steps: self.steps, width: self.width, kind: self.kind, ragged }
    }

    /// Returns (sample, time step, column) of the value with index `bad` in an array of `count` values that holds all
    /// samples, such as the inputs or the targets. The array has one row per time step if `per_step`; otherwise it
    /// has one row per sample, and the time step is `None`. It is also `None` for samples of one time step.
    pub(super) fn place(&self, count: usize, bad: usize, per_step: bool) -> (usize, Option<usize>, usize) {
        let width = count / if per_step { self.rows } else { self.samples };
        let (row, column) = (bad / width, bad % width);
        match &self.lengths {
            _ if !per_step => (row, None, column),
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
}
