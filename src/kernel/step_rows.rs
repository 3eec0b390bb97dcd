//! Rows of several steps, of which each thread has those of some samples.

use super::{
    require,
    thread_pool::{Shared, each, part},
};
use crate::batch_shape::BatchShape;
use core::ops::Range;

/// Where the rows of a step lie in a slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Each step has rows of its own, time-major.
    Every,
    /// So many steps take turns in `batch` rows each.
    Last(usize),
}

/// The samples and steps of a pass, of which the rows of a step are those of the first samples, one step after the other.
///
/// The fields of an [`BatchShape`] are public and can contradict each other. Those here are private and cannot: of `rows` rows,
/// step t has the rows from Σ min(length, t), as many as samples are longer than t.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Steps<'a> {
    batch: usize,
    steps: usize,
    /// Of each sample, longest first.
    lengths: Option<&'a [usize]>,
    rows: usize,
}

impl<'a> Steps<'a> {
    /// The steps of `extent`.
    ///
    /// # Panics
    /// For an extent without samples, whose fields contradict each other, or of more rows than a `usize` can count.
    pub fn new(extent: BatchShape<'a>) -> Self {
        let BatchShape { batch, steps, lengths } = extent;
        assert!(batch > 0, "a pass over steps must have at least 1 sample");
        let rows = match lengths {
            None => batch.checked_mul(steps),
            Some(lengths) => {
                assert!(lengths.len() == batch, "a ragged extent of {batch} samples must have as many lengths");
                assert!(lengths[0] == steps, "the first sample of a ragged extent must have all {steps} steps");
                let falls = lengths.is_sorted_by(|before, after| before >= after);
                assert!(falls, "the lengths of a ragged extent must not increase: sort the samples, longest first");
                lengths.iter().try_fold(0usize, |rows, &length| rows.checked_add(length))
            }
        };
        let Some(rows) = rows else {
            panic!("{batch} samples of up to {steps} steps have more rows than can be counted")
        };
        Steps { batch, steps, lengths, rows }
    }

    /// How many samples run at `step`: the first ones, and never more than at the step before.
    fn active(&self, step: usize) -> usize {
        match self.lengths {
            None if step < self.steps => self.batch,
            None => 0,
            Some(lengths) => lengths.partition_point(|&length| length > step),
        }
    }

    /// The first row of `step`, where those of the step before end.
    fn start(&self, step: usize) -> usize {
        match self.lengths {
            None => self.batch * step.min(self.steps),
            Some(lengths) => lengths.iter().map(|&length| length.min(step)).sum(),
        }
    }
}

/// Rows of `width` values: at each step those of some samples, which no other slab has.
///
/// Where it is made, all rows are found to lie within the data: no index of one wraps.
pub(crate) struct Slab<'a, T> {
    data: Shared<'a, T>,
    width: usize,
    steps: Steps<'a>,
    kept: Kept,
    /// A range within the samples of `steps`.
    samples: Range<usize>,
}

impl<'a, T> Slab<'a, T> {
    /// All of `data`.
    ///
    /// # Panics
    /// Where the data has fewer rows than are kept.
    pub fn new(data: &'a mut [T], width: usize, steps: Steps<'a>, kept: Kept) -> Self {
        let rows = match kept {
            Kept::Every => steps.rows,
            Kept::Last(count) => steps.batch.saturating_mul(count),
        };
        require("the rows of a recurrent layer's steps", [rows, width], width, data.len());
        Slab { data: Shared::new(data), width, steps, kept, samples: 0..steps.batch }
    }

    /// A row for each sample.
    ///
    /// # Panics
    /// Those of [`new`](Self::new).
    pub fn of_samples(data: &'a mut [T], width: usize, steps: Steps<'a>) -> Self {
        Self::new(data, width, steps, Kept::Last(1))
    }

    /// How many of its samples run at `step`.
    pub fn active(&self, step: usize) -> usize {
        self.steps.active(step).clamp(self.samples.start, self.samples.end) - self.samples.start
    }

    /// Where its first row of `step` lies.
    fn first(&self, step: usize) -> usize {
        self.samples.start
            + match self.kept {
                Kept::Every => self.steps.start(step),
                Kept::Last(steps) => step % steps * self.steps.batch,
            }
    }

    /// The first `count` rows of its samples at `step`.
    fn rows(&self, step: usize, count: usize) -> Range<usize> {
        let first = self.first(step);
        let within = count <= self.active(step) || self.kept == Kept::Last(1) && count <= self.samples.len();
        assert!(within, "a step must have the rows of a slab that are asked for");
        if count > 0 { first * self.width..(first + count) * self.width } else { 0..0 }
    }

    /// Its rows of `step`.
    pub fn now(&mut self, step: usize) -> &mut [T] {
        let rows = self.rows(step, self.active(step));
        // SAFETY: rows of a step follow those of the step before, one a sample, by the invariant of `Steps`; those of these
        // samples are this slab's alone, by `by_samples`. It is borrowed as a whole for as long as the result.
        unsafe { self.data.take(rows) }
    }

    /// The rows before `step` of the samples that still run then, and those of `step`.
    pub fn before_and_now(&mut self, step: usize) -> (&[T], &mut [T]) {
        let count = self.active(step);
        let (before, now) = (self.rows(step - 1, count), self.rows(step, count));
        let apart = before.end <= now.start || now.end <= before.start;
        assert!(apart, "the rows of two steps must not overlap");
        // SAFETY: as in `now`; the two do not overlap, as asserted above.
        unsafe { (self.data.take(before), self.data.take(now)) }
    }

    /// The row of one of its samples.
    pub fn row(&mut self, sample: usize) -> &mut [T] {
        assert!(
            self.kept == Kept::Last(1) && sample < self.samples.len(),
            "a slab of samples must have the row asked for"
        );
        let row = self.samples.start + sample;
        // SAFETY: row s is that of sample s, as asserted above; the rest as in `now`.
        unsafe { self.data.take(row * self.width..(row + 1) * self.width) }
    }

    /// The samples it has.
    pub fn samples(&self) -> Range<usize> {
        self.samples.clone()
    }
}

/// Calls `run` for `count` parts of the samples, at multiples of `grain`, with the rows that each has of the slabs, which are
/// over the same steps.
pub(crate) fn by_samples<'a, T: Send + Sync, const N: usize>(
    [count, grain]: [usize; 2],
    slabs: [Slab<'a, T>; N],
    run: &(dyn Fn([Slab<'a, T>; N]) + Sync),
) {
    if count == 1 {
        return run(slabs);
    }
    let batch = slabs[0].steps.batch;
    assert!(slabs.iter().all(|slab| slab.samples == (0..batch)), "slabs that are divided must have all samples");
    each(count, &|thread| {
        // `part` gives each sample to one part: what two of them have does not overlap.
        let samples = part(thread, count, batch, grain);
        if !samples.is_empty() {
            run(slabs.each_ref().map(|slab| Slab { data: slab.data.again(), samples: samples.clone(), ..*slab }));
        }
    });
}

/// Calls `run` for `count` parts of the rows of some matrices, given with their widths: with those rows of each and an equal share
/// of the scratch. They are cut at multiples of `grain`.
pub(crate) fn divide_rows<T: Send + Sync, const N: usize>(
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
    let (matrices, scratch) = (matrices.map(|(matrix, width)| (Shared::new(matrix), width)), Shared::new(scratch));
    each(count, &|i| {
        let own = part(i, count, rows, grain);
        if !own.is_empty() {
            // SAFETY: `part` gives each row to one part, and all rows lie within each matrix, as required above.
            let rows =
                matrices.each_ref().map(|(matrix, width)| unsafe { matrix.take(own.start * width..own.end * width) });
            // SAFETY: shares follow one another, and `each` gives each i to one call.
            let scratch = unsafe { scratch.take(i * share..(i + 1) * share) };
            run(own, rows, scratch);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{vec, vec::Vec};

    #[test]
    fn parts_have_their_rows_of_each_matrix() {
        for (count, rows) in [(1, 20), (3, 20), (4, 7), (7, 40)] {
            let (mut a, mut b, mut none, mut scratch) = (vec![0; rows], vec![0; 3 * rows], vec![], vec![0; 15]);
            let matrices = [(&mut a[..], 1), (&mut b, 3), (&mut none, 0)];
            divide_rows([count, rows, 4], matrices, &mut scratch, |own, [a, b, none], scratch| {
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
    fn parts_have_the_rows_of_their_samples() {
        let lengths = [5, 4, 4, 2, 1, 1, 1];
        let extent = BatchShape::ragged(&lengths);
        for count in 1..4 {
            let mut data: Vec<usize> = vec![0; extent.rows() * 2];
            let slab = Slab::new(&mut data, 2, Steps::new(extent), Kept::Every);
            by_samples([count, 2], [slab], &|[mut slab]| {
                for step in 0..5 {
                    let first = slab.samples().start;
                    assert_eq!(slab.now(step).len(), 2 * slab.active(step));
                    for (i, row) in slab.now(step).chunks_mut(2).enumerate() {
                        row[0] += 10 * step + first + i;
                    }
                    if step > 0 {
                        let (before, now) = slab.before_and_now(step);
                        for (before, now) in before.chunks(2).zip(now.chunks_mut(2)) {
                            now[1] = before[0];
                        }
                    }
                }
            });
            for step in 0..5 {
                for (sample, row) in data[2 * extent.step(step).start..].chunks(2).take(extent.active(step)).enumerate()
                {
                    assert_eq!(row[0], 10 * step + sample);
                    assert_eq!(row[1], if step > 0 { 10 * (step - 1) + sample } else { 0 });
                }
            }
        }
    }
}
