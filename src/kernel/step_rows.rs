//! The rows of several time steps, divided among threads by samples.

use super::{
    parallel::{SharedSlice, parallel_for, part_range},
    require,
};
use crate::batch_shape::BatchShape;
use core::ops::Range;

/// The layout of the rows of the time steps in a [`StepRows`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepStorage {
    /// Each time step has rows of its own, one step after the other.
    EveryStep,
    /// A ring buffer of the given number n of time steps: step t has the `batch` rows of slot t modulo n.
    Ring(usize),
}

/// A [`BatchShape`] whose fields are checked once and private from then on.
///
/// Invariant: time step t has one row for each sample longer than t, in sample order, from row
/// `Σ_s min(length(s), t)` on, s running over all samples. The total number of rows is `rows`, which does not
/// overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Steps<'a> {
    batch: usize,
    steps: usize,
    /// The length of each sample, longest first; `None` if all samples have `steps` steps.
    lengths: Option<&'a [usize]>,
    rows: usize,
}

impl<'a> Steps<'a> {
    /// Creates the steps of `shape`, whose fields it checks.
    ///
    /// # Panics
    /// If `shape` has no samples, its fields contradict each other, or a `usize` cannot count its rows.
    pub fn new(shape: BatchShape<'a>) -> Self {
        let BatchShape { batch, steps, lengths } = shape;
        assert!(batch > 0, "a pass over steps must have at least 1 sample");
        let rows = match lengths {
            None => batch.checked_mul(steps),
            Some(lengths) => {
                assert!(lengths.len() == batch, "a ragged batch of {batch} samples must have as many lengths");
                assert!(lengths[0] == steps, "the first sample of a ragged batch must have all {steps} steps");
                let falls = lengths.is_sorted_by(|before, after| before >= after);
                assert!(falls, "the lengths of a ragged batch must not increase: sort the samples, longest first");
                lengths.iter().try_fold(0usize, |rows, &length| rows.checked_add(length))
            }
        };
        let Some(rows) = rows else {
            panic!("{batch} samples of up to {steps} steps must have no more rows than a usize can count")
        };
        Steps { batch, steps, lengths, rows }
    }

    /// The number of samples that run at time step `step`: the first ones, and at most as many as at the previous
    /// step.
    fn active(&self, step: usize) -> usize {
        match self.lengths {
            None if step < self.steps => self.batch,
            None => 0,
            Some(lengths) => lengths.partition_point(|&length| length > step),
        }
    }

    /// The index, among all rows, of the first row of time step `step`: the end of the rows of the previous step.
    fn start(&self, step: usize) -> usize {
        match self.lengths {
            None => self.batch * step.min(self.steps),
            Some(lengths) => lengths.iter().map(|&length| length.min(step)).sum(),
        }
    }
}

/// A view of rows of `width` values: at each time step, the rows of a range of samples. Only [`parallel_samples`]
/// makes several `StepRows` of the same data, with ranges that do not overlap.
///
/// The constructor checks that all rows lie within the data, so no index of a row overflows.
pub(crate) struct StepRows<'a, T> {
    data: SharedSlice<'a, T>,
    width: usize,
    steps: Steps<'a>,
    storage: StepStorage,
    /// The samples of this view, a range of the samples of the batch.
    samples: Range<usize>,
}

impl<'a, T> StepRows<'a, T> {
    /// Creates the view of `data` as the rows, of `width` values each, of all samples of `steps`, in the layout
    /// `storage`.
    ///
    /// # Panics
    /// If `data` holds fewer rows than `storage` needs.
    pub fn new(data: &'a mut [T], width: usize, steps: Steps<'a>, storage: StepStorage) -> Self {
        let rows = match storage {
            StepStorage::EveryStep => steps.rows,
            StepStorage::Ring(count) => steps.batch.saturating_mul(count),
        };
        require("the rows of a recurrent layer's steps", [rows, width], width, data.len());
        StepRows { data: SharedSlice::new(data), width, steps, storage, samples: 0..steps.batch }
    }

    /// Creates the view of `data` as one row of `width` values for each sample of `steps`, shared by all time steps.
    ///
    /// # Panics
    /// If `data` holds fewer rows.
    pub fn per_sample(data: &'a mut [T], width: usize, steps: Steps<'a>) -> Self {
        Self::new(data, width, steps, StepStorage::Ring(1))
    }

    /// Returns the number of samples of this view that run at time step `step`.
    pub fn active(&self, step: usize) -> usize {
        self.steps.active(step).clamp(self.samples.start, self.samples.end) - self.samples.start
    }

    /// Returns the index, among all rows of the data, of the first row of this view's samples at time step `step`.
    fn first(&self, step: usize) -> usize {
        self.samples.start
            + match self.storage {
                StepStorage::EveryStep => self.steps.start(step),
                StepStorage::Ring(steps) => step % steps * self.steps.batch,
            }
    }

    /// Returns the indices in the data of the values of the first `count` samples of this view at time step `step`.
    /// Panics if fewer samples of the view run at `step`. If all steps share one row for each sample, it panics only
    /// if the view has fewer samples.
    fn rows(&self, step: usize, count: usize) -> Range<usize> {
        let first = self.first(step);
        let within = count <= self.active(step) || self.storage == StepStorage::Ring(1) && count <= self.samples.len();
        assert!(within, "a step must have the rows that are asked for");
        if count > 0 { first * self.width..(first + count) * self.width } else { 0..0 }
    }

    /// Returns the values, row after row, of the samples of this view that run at time step `step`.
    pub fn step_mut(&mut self, step: usize) -> &mut [T] {
        let rows = self.rows(step, self.active(step));
        // SAFETY: the rows of a step follow those of the previous one, one for each sample, by the invariant of
        // `Steps`. The rows of these samples belong to this `StepRows` alone, by `parallel_samples`, and `self` is
        // mutably borrowed for as long as the result.
        unsafe { self.data.slice_mut(rows) }
    }

    /// Returns the rows of the samples of this view that run at time step `step`: first those at the previous step,
    /// then those at `step`, which must be at least 1. Panics if the two steps share rows, as in a ring buffer of one
    /// step.
    pub fn previous_and_current(&mut self, step: usize) -> (&[T], &mut [T]) {
        let count = self.active(step);
        let (previous, current) = (self.rows(step - 1, count), self.rows(step, count));
        let apart = previous.end <= current.start || current.end <= previous.start;
        assert!(apart, "the rows of two steps must not overlap");
        // SAFETY: as in `step_mut`. The two ranges do not overlap, as asserted above.
        unsafe { (self.data.slice_mut(previous), self.data.slice_mut(current)) }
    }

    /// Returns the row of sample `sample` of this view, counted from the first sample of the view.
    ///
    /// # Panics
    /// If the storage has more than one row for each sample, or `sample` is not in the view.
    pub fn row(&mut self, sample: usize) -> &mut [T] {
        assert!(
            self.storage == StepStorage::Ring(1) && sample < self.samples.len(),
            "a row for each sample must have the row that is asked for"
        );
        let row = self.samples.start + sample;
        // SAFETY: row s belongs to sample s, as asserted above. The rest is as in `step_mut`.
        unsafe { self.data.slice_mut(row * self.width..(row + 1) * self.width) }
    }

    /// Returns the range of the samples of this view, counted in the whole batch.
    pub fn samples(&self) -> Range<usize> {
        self.samples.clone()
    }
}

/// Calls `run` for each of `count` ranges of the samples, cut at multiples of `grain`, with the rows of these samples
/// in each of `rows`. All `rows` must cover the same time steps. With a `count` above 1, panics unless each of
/// `rows` holds all samples.
pub(crate) fn parallel_samples<'a, T: Send + Sync, const N: usize>(
    [count, grain]: [usize; 2],
    rows: [StepRows<'a, T>; N],
    run: &(dyn Fn([StepRows<'a, T>; N]) + Sync),
) {
    if count == 1 {
        return run(rows);
    }
    let batch = rows[0].steps.batch;
    assert!(rows.iter().all(|rows| rows.samples == (0..batch)), "rows that are divided must have all samples");
    parallel_for(count, &|i| {
        // `part_range` gives each sample to one part, so the rows of two parts do not overlap.
        let samples = part_range(i, count, batch, grain);
        if !samples.is_empty() {
            run(rows.each_ref().map(|rows| StepRows {
                data: rows.data.duplicate(),
                samples: samples.clone(),
                ..*rows
            }));
        }
    });
}

/// Calls `run` for each of `count` ranges of the `rows` rows of some matrices, cut at multiples of `grain`.
/// `matrices` are pairs of a matrix and its width. Each call receives its range, its rows of every matrix, and an
/// equal part of the scratch. With a `count` above 1, panics if a matrix is too short.
pub(crate) fn parallel_rows<T: Send + Sync, const N: usize>(
    [count, rows, grain]: [usize; 3],
    matrices: [(&mut [T], usize); N],
    scratch: &mut [T],
    run: impl Fn(Range<usize>, [&mut [T]; N], &mut [T]) + Sync,
) {
    if count == 1 {
        return run(0..rows, matrices.map(|(matrix, _)| matrix), scratch);
    }
    for (matrix, width) in &matrices {
        require("a matrix whose rows are divided", [rows, *width], *width, matrix.len());
    }
    let share = scratch.len() / count;
    let matrices = matrices.map(|(matrix, width)| (SharedSlice::new(matrix), width));
    let scratch = SharedSlice::new(scratch);
    parallel_for(count, &|i| {
        let own = part_range(i, count, rows, grain);
        if !own.is_empty() {
            let values = |width: usize| own.start * width..own.end * width;
            // SAFETY: `part_range` gives each row to one part, and all rows lie within each matrix, as required above.
            let rows = matrices.each_ref().map(|(matrix, width)| unsafe { matrix.slice_mut(values(*width)) });
            // SAFETY: the parts of the scratch are disjoint, and `parallel_for` gives each i to one call.
            let scratch = unsafe { scratch.slice_mut(i * share..(i + 1) * share) };
            run(own, rows, scratch);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{vec, vec::Vec};

    #[test]
    fn parallel_rows_any_count_gives_each_part_its_rows_and_scratch() {
        for (count, rows) in [(1, 20), (3, 20), (4, 7), (7, 40)] {
            let (mut a, mut b, mut none, mut scratch) = (vec![0; rows], vec![0; 3 * rows], vec![], vec![0; 15]);
            let matrices = [(&mut a[..], 1), (&mut b, 3), (&mut none, 0)];
            parallel_rows([count, rows, 4], matrices, &mut scratch, |own, [a, b, none], scratch| {
                assert!(own.start.is_multiple_of(4) && (own.end == rows || own.end.is_multiple_of(4)));
                assert_eq!([a.len(), b.len(), none.len(), scratch.len()], [own.len(), 3 * own.len(), 0, 15 / count]);
                a.iter_mut().zip(own.clone()).for_each(|(a, row)| *a += row);
                b.chunks_mut(3).zip(own).for_each(|(b, row)| b.iter_mut().for_each(|b| *b += row));
                scratch.iter_mut().for_each(|value| *value += 1);
            });
            assert!(a.iter().enumerate().all(|(row, &a)| a == row), "{count} parts");
            assert!(b.chunks(3).enumerate().all(|(row, b)| b == [row; 3]), "{count} parts");
            assert!(scratch.iter().all(|&value| value <= 1), "{count} parts");
        }
    }

    #[test]
    fn parallel_samples_ragged_gives_each_part_its_samples() {
        let lengths = [5, 4, 4, 2, 1, 1, 1];
        let shape = BatchShape::ragged(&lengths);
        for count in 1..4 {
            let mut data: Vec<usize> = vec![0; shape.rows() * 2];
            let rows = StepRows::new(&mut data, 2, Steps::new(shape), StepStorage::EveryStep);
            parallel_samples([count, 2], [rows], &|[mut rows]| {
                for step in 0..5 {
                    let first = rows.samples().start;
                    assert_eq!(rows.step_mut(step).len(), 2 * rows.active(step));
                    for (i, row) in rows.step_mut(step).chunks_mut(2).enumerate() {
                        row[0] += 10 * step + first + i;
                    }
                    if step > 0 {
                        let (previous, current) = rows.previous_and_current(step);
                        for (previous, current) in previous.chunks(2).zip(current.chunks_mut(2)) {
                            current[1] = previous[0];
                        }
                    }
                }
            });
            for step in 0..5 {
                for (sample, row) in data[2 * shape.step(step).start..].chunks(2).take(shape.active(step)).enumerate() {
                    assert_eq!(row[0], 10 * step + sample);
                    assert_eq!(row[1], if step > 0 { 10 * (step - 1) + sample } else { 0 });
                }
            }
        }
    }
}
