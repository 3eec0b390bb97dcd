//! Rows of several steps, of which each thread has those of some samples.

use super::team::{Shared, each, part};
use crate::extent::Extent;
use core::{marker::PhantomData, ops::Range};

/// Where the rows of a step lie in a slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Each step has rows of its own, time-major.
    Every,
    /// So many steps take turns in `batch` rows each.
    Last(usize),
}

/// Rows of `width` values: at each step those of some samples, which nobody else has.
pub(crate) struct Slab<'a, T> {
    data: Shared<T>,
    width: usize,
    extent: Extent<'a>,
    kept: Kept,
    samples: Range<usize>,
    borrowed: PhantomData<&'a mut [T]>,
}

impl<'a, T> Slab<'a, T> {
    /// All of `data`.
    pub fn new(data: &'a mut [T], width: usize, extent: Extent<'a>, kept: Kept) -> Self {
        Slab { data: Shared::new(data), width, extent, kept, samples: 0..extent.batch, borrowed: PhantomData }
    }

    /// A row for each sample.
    pub fn of_samples(data: &'a mut [T], width: usize, extent: Extent<'a>) -> Self {
        Self::new(data, width, extent, Kept::Last(1))
    }

    /// How many of its samples run at `step`.
    pub fn active(&self, step: usize) -> usize {
        self.extent.active(step).clamp(self.samples.start, self.samples.end) - self.samples.start
    }

    /// Where its first row of `step` lies.
    fn first(&self, step: usize) -> usize {
        self.samples.start
            + match self.kept {
                Kept::Every => self.extent.step(step).start,
                Kept::Last(steps) => step % steps * self.extent.batch,
            }
    }

    /// The first `count` rows of its samples at `step`.
    fn rows(&self, step: usize, count: usize) -> Range<usize> {
        let first = self.first(step);
        assert!(count <= self.active(step) || self.kept == Kept::Last(1) && count <= self.samples.len());
        if count > 0 { first * self.width..(first + count) * self.width } else { 0..0 }
    }

    /// Its rows of `step`.
    pub fn now(&mut self, step: usize) -> &mut [T] {
        let rows = self.rows(step, self.active(step));
        // SAFETY: the rows of these samples are this slab's alone, and it is borrowed as a whole.
        unsafe { self.data.take(rows) }
    }

    /// The rows before `step` of the samples that still run then, and those of `step`.
    pub fn before_and_now(&mut self, step: usize) -> (&[T], &mut [T]) {
        let count = self.active(step);
        let (before, now) = (self.rows(step - 1, count), self.rows(step, count));
        assert!(before.end <= now.start || now.end <= before.start);
        // SAFETY: as in `now`; the two do not overlap.
        unsafe { (self.data.take(before), self.data.take(now)) }
    }

    /// The row of one of its samples.
    pub fn row(&mut self, sample: usize) -> &mut [T] {
        let row = self.samples.start + sample;
        assert!(sample < self.samples.len());
        // SAFETY: as in `now`.
        unsafe { self.data.take(row * self.width..(row + 1) * self.width) }
    }

    /// The samples it has.
    pub fn samples(&self) -> Range<usize> {
        self.samples.clone()
    }
}

/// Calls `run` for `count` parts of the samples, at multiples of `grain`, with the rows that each has of the slabs.
pub(crate) fn by_samples<'a, T: Send + Sync, const N: usize>(
    [batch, count, grain]: [usize; 3],
    slabs: [Slab<'a, T>; N],
    run: &(dyn Fn([Slab<'a, T>; N]) + Sync),
) {
    if count == 1 {
        return run(slabs);
    }
    each(count, &|thread| {
        let samples = part(thread, count, batch, grain);
        if !samples.is_empty() {
            run(slabs.each_ref().map(|slab| Slab {
                data: slab.data.again(),
                width: slab.width,
                extent: slab.extent,
                kept: slab.kept,
                samples: samples.clone(),
                borrowed: PhantomData,
            }));
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
    let share = scratch.len() / count;
    let (matrices, scratch) = (matrices.map(|(matrix, width)| (Shared::new(matrix), width)), Shared::new(scratch));
    each(count, &|i| {
        let own = part(i, count, rows, grain);
        if !own.is_empty() {
            // SAFETY: rows of the matrices and shares of the scratch are each one part's.
            let rows =
                matrices.each_ref().map(|(matrix, width)| unsafe { matrix.take(own.start * width..own.end * width) });
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
        let extent = Extent::ragged(&lengths);
        for count in 1..4 {
            let mut data: Vec<usize> = vec![0; extent.rows() * 2];
            let slab = Slab::new(&mut data, 2, extent, Kept::Every);
            by_samples([7, count, 2], [slab], &|[mut slab]| {
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
