//! A chain of matrices computed row by row, divided among threads that synchronize once at its end, not after each
//! matrix.

use super::parallel::{SharedSlice, parallel_for, part_range};
use core::ops::Range;

/// The end of a chain of matrices, such as the activations of consecutive layers, from which the matrices are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The first matrix is given, and each later one is computed from the one before it.
    Forward,
    /// The last matrix is given, and each earlier one is computed from the one after it.
    Backward,
}

/// The row ranges of threads in a chain begin at multiples of this number of rows, so no tile of a product is cut.
pub(crate) const GRAIN: usize = 8;

/// The widths of the n matrices of a chain, as prefix sums that may start at any number: matrix k has
/// `all[k + 1] − all[k]` columns. `all` and `stored` have n + 1 entries, `saved` has n.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Widths<'a> {
    /// Prefix sums of the widths, in columns, of all matrices.
    pub all: &'a [usize],
    /// Prefix sums of the widths of the stored matrices, in which a matrix that is not stored counts as 0 columns wide.
    pub stored: &'a [usize],
    /// Prefix sums of the numbers of saved values per row: step k, which lies between matrix k and matrix k + 1, saves
    /// `saved[k + 1] − saved[k]` values per row.
    pub saved: &'a [usize],
}

/// The memory of a chain of matrices: one end of the chain is given, and each other matrix is computed from the
/// neighbour that is nearer to that end.
#[derive(Debug)]
pub(crate) struct ChainBuffers<'a, T> {
    /// The stored matrices, one after the other in the order of computation, without the given one.
    pub stored: &'a mut [T],
    /// Two buffers that hold the matrices that are not stored, in turn. Each must be long enough for any of them.
    pub temporary: [&'a mut [T]; 2],
    /// The values that all steps save, in the order of the matrices. A step is the computation between two neighbouring
    /// matrices.
    pub saved: &'a mut [T],
}

/// The slices of one step of a chain of matrices, such as the activations of consecutive layers: from which some rows
/// of a matrix are computed, and to which they are written.
pub(crate) struct ChainStep<'a, T> {
    /// The indices of the rows to compute.
    pub rows: Range<usize>,
    /// The values of `rows` in the given or previously computed matrix, row after row.
    pub input: &'a [T],
    /// Out: the values of `rows` in the matrix that this step computes, row after row.
    pub output: &'a mut [T],
    /// The values that the step saves for `rows`, row after row: written in a forward chain, read in a backward
    /// chain.
    pub saved: &'a mut [T],
    /// The scratch for the computation of `rows`, which each matrix of the chain uses in turn.
    pub scratch: &'a mut [T],
}

/// Computes the matrices of a chain, each row by row from the previous one: `compute(k, step)` computes some rows of
/// matrix k. The rows are divided into `parts` ranges; one thread computes a range of rows through the whole chain.
///
/// # Shapes
/// Matrix k is \[rows, width k\]. `given` is matrix 0 in a forward chain, and the last one in a backward chain. Each
/// part has an equal share of `scratch`.
///
/// # Panics
/// If the widths decrease or are too few, or if `given` or a buffer does not hold its values.
pub(crate) fn parallel_chain<T: Send + Sync>(
    [parts, rows]: [usize; 2],
    widths: Widths<'_>,
    direction: Direction,
    given: &[T],
    buffers: ChainBuffers<'_, T>,
    scratch: &mut [T],
    compute: impl Fn(usize, ChainStep<'_, T>) + Sync,
) {
    assert!(widths.all.len() >= 2 && parts > 0, "a chain must have a matrix and a part");
    let last = widths.all.len() - 2;
    assert!(widths.stored.len() >= last + 2 && widths.saved.len() > last, "a chain must have all widths");
    let sorted = [widths.all, widths.stored, widths.saved].iter().all(|widths| widths.is_sorted());
    assert!(sorted, "prefix sums of widths must not decrease");
    // With this check, no index of a row overflows in any of the buffers.
    let longest = widths.all[last + 1].max(widths.saved[last]);
    assert!(rows.checked_mul(longest).is_some(), "the values of a chain must be as many as a usize can count");
    let matrix = |i: usize| if direction == Direction::Forward { i } else { last - i };
    let width = |i: usize| widths.all[matrix(i) + 1] - widths.all[matrix(i)];
    let is_stored = |i: usize| widths.stored[matrix(i) + 1] > widths.stored[matrix(i)];
    let share = scratch.len() / parts;
    let widest = buffers.temporary[0].len().min(buffers.temporary[1].len()) / rows.max(1);
    let (stored, saved) = (SharedSlice::new(buffers.stored), SharedSlice::new(buffers.saved));
    let (temporary, scratch) = (buffers.temporary.map(SharedSlice::new), SharedSlice::new(scratch));
    parallel_for(parts, &|p| {
        let own = part_range(p, parts, rows, GRAIN);
        if own.is_empty() {
            return;
        }
        // SAFETY: the shares are disjoint, and `parallel_for` gives each p to one call.
        let scratch = unsafe { scratch.slice_mut(p * share..(p + 1) * share) };
        let (mut input, mut start) = (&given[own.start * width(0)..own.end * width(0)], 0);
        for i in 1..=last {
            let width = width(i);
            let output = if is_stored(i) {
                start += rows * width;
                // SAFETY: the matrices lie one after the other, and `part_range` gives each row to one part.
                unsafe { stored.slice_mut(start - (rows - own.start) * width..start - (rows - own.end) * width) }
            } else {
                assert!(width <= widest, "a matrix that is not stored must fit into a temporary buffer");
                // SAFETY: each part has the places of its rows, each of them `widest` long, and `part_range` gives each
                // row to one part. The previous matrix lies in the other buffer or is stored; earlier ones are not used
                // again.
                unsafe { temporary[i % 2].slice_mut(own.start * widest..own.start * widest + own.len() * width) }
            };
            // The step between this matrix and the previous one.
            let step = matrix(i).min(matrix(i - 1));
            let (before, width) = (widths.saved[step] - widths.saved[0], widths.saved[step + 1] - widths.saved[step]);
            // SAFETY: the steps lie one after the other, since the prefix sums do not decrease, as asserted above.
            // `part_range` gives each row to one part.
            let saved = unsafe { saved.slice_mut(rows * before + own.start * width..rows * before + own.end * width) };
            let rows = own.clone();
            compute(matrix(i), ChainStep { rows, input, output: &mut *output, saved, scratch: &mut *scratch });
            input = output;
        }
    });
}

/// Calls `run(i, own, scratch)` with the values `own` of each segment i of `data`: from `starts[i]` to before
/// `starts[i + 1]`, both minus `starts[0]`. The segments are divided among `parts` parts of about equal numbers of
/// values. Each part has an equal share of `scratch`.
///
/// # Panics
/// If the starts decrease, or if `data` does not hold a segment.
pub(crate) fn parallel_segments<T: Send + Sync>(
    parts: usize,
    starts: &[usize],
    data: &mut [T],
    scratch: &mut [T],
    run: impl Fn(usize, &mut [T], &mut [T]) + Sync,
) {
    assert!(!starts.is_empty() && starts.is_sorted() && parts > 0, "segments must follow one another");
    let (first, share) = (starts[0], scratch.len() / parts);
    let all = (starts[starts.len() - 1] - first).max(1);
    let (data, scratch) = (SharedSlice::new(data), SharedSlice::new(scratch));
    parallel_for(parts, &|p| {
        // SAFETY: the shares are disjoint, and `parallel_for` gives each p to one call.
        let scratch = unsafe { scratch.slice_mut(p * share..(p + 1) * share) };
        for (i, pair) in starts.windows(2).enumerate() {
            let (start, end) = (pair[0] - first, pair[1] - first);
            // A segment belongs to the part that holds its middle.
            if ((start + end) / 2 * parts / all).min(parts - 1) == p {
                // SAFETY: the segments are disjoint, since the starts do not decrease, as asserted above. The condition
                // is true for one p.
                run(i, unsafe { data.slice_mut(start..end) }, &mut *scratch);
            }
        }
    });
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::{super::thread_pool::ThreadPool, *};
    use std::{format, vec, vec::Vec};

    #[test]
    fn parallel_chain_any_part_count_computes_the_same_rows() {
        const ROWS: usize = 21;
        let (all, saved_widths) = ([0, 2, 5, 6, 10], [4, 5, 5, 7]);
        let width = |k: usize| all[k + 1] - all[k];
        for (direction, dropped) in [Direction::Forward, Direction::Backward]
            .into_iter()
            .flat_map(|direction| [&[][..], &[1], &[2], &[1, 2]].map(|dropped| (direction, dropped)))
        {
            let (first, order) = if direction == Direction::Forward { (0, [1, 2, 3]) } else { (3, [2, 1, 0]) };
            let mut kept = vec![0];
            for k in 0..4 {
                kept.push(kept[k] + if dropped.contains(&k) { 0 } else { width(k) });
            }
            let widths = Widths { all: &all, stored: &kept, saved: &saved_widths };
            let given: Vec<usize> = (0..ROWS * width(first)).map(|i| i / width(first)).collect();
            for parts in 1..5 {
                let (mut made, mut seen) = (vec![0; ROWS * (kept[4] - width(first))], vec![0; ROWS * 3]);
                let (mut one, mut other) = (vec![7; ROWS * 4], vec![7; ROWS * 4]);
                ThreadPool::new(parts).unwrap().install(|| {
                    let temporary = [&mut one[..], &mut other[..]];
                    let memory = ChainBuffers { stored: &mut made, temporary, saved: &mut seen };
                    parallel_chain(
                        [parts, ROWS],
                        widths,
                        direction,
                        &given,
                        memory,
                        &mut [0; 9],
                        |k, step: ChainStep<'_, usize>| {
                            let ChainStep { rows: own, input: from, output: to, saved, scratch } = step;
                            assert_eq!((scratch.len(), to.len()), (9 / parts, own.len() * width(k)));
                            let widths = [width(k), from.len() / own.len(), saved.len() / own.len()];
                            for (i, to) in to.iter_mut().enumerate() {
                                assert_eq!(from[i / widths[0] * widths[1]] % 100, own.start + i / widths[0]);
                                *to = 100 * k + own.start + i / widths[0];
                            }
                            for (i, saved) in saved.iter_mut().enumerate() {
                                *saved += 100 * (k + 1) + own.start + i / widths[2];
                            }
                        },
                    );
                });
                let place = format!("{direction:?} without {dropped:?}, {parts} parts");
                let made_of = |k: usize| (0..ROWS * width(k)).map(move |e| 100 * k + e / width(k));
                let expected: Vec<usize> =
                    order.into_iter().filter(|k| !dropped.contains(k)).flat_map(made_of).collect();
                assert_eq!(made, expected, "{place}");
                // A step has the number of the matrix before it, which is the one computed in a backward chain.
                let above = if direction == Direction::Forward { 2 } else { 1 };
                let expected: Vec<usize> = [(0, 1), (2, 2)]
                    .into_iter()
                    .flat_map(|(step, width)| (0..ROWS * width).map(move |e| 100 * (step + above) + e / width))
                    .collect();
                assert_eq!(seen, expected, "{place}");
            }
        }
    }

    #[test]
    fn parallel_segments_any_part_count_runs_each_segment_once() {
        let starts = [7, 7, 10, 30, 31, 31];
        for parts in 1..5 {
            let mut data = vec![0; 24];
            ThreadPool::new(parts).unwrap().install(|| {
                parallel_segments(parts, &starts, &mut data, &mut [0; 8], |i, own: &mut [usize], scratch| {
                    assert_eq!((own.len(), scratch.len()), (starts[i + 1] - starts[i], 8 / parts));
                    own.iter_mut().for_each(|value| *value += i);
                });
            });
            let expected: Vec<usize> = (0..24).map(|e| (1..4).rfind(|&i| starts[i] <= 7 + e).unwrap()).collect();
            assert_eq!(data, expected, "{parts} parts");
        }
    }
}
