//! A loop over many short pieces of work, divided among threads that meet once at its end instead of after each piece.

use super::team::{Shared, each, part};
use core::ops::Range;

/// From which end the matrices of a chain are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the first.
    Up,
    /// From the last.
    Down,
}

/// Rows that a thread takes through a chain are a multiple of this: no tile of a product is cut.
pub(crate) const GRAIN: usize = 8;

/// Makes the matrices of a chain, row by row each of the one before: `make(k, rows, from, to, scratch)` makes those rows
/// of matrix k. Each of `parts` parts of the rows goes through the whole chain by itself.
///
/// # Shapes
/// Matrix k is \[rows, `columns[k + 1] − columns[k]`\]. The one that the way begins with is `given`; the others lie in
/// `made`, in the order in which they are made. Each part has an equal share of the scratch.
pub(crate) fn by_rows<T: Send + Sync>(
    [parts, rows]: [usize; 2],
    columns: &[usize],
    way: Way,
    given: &[T],
    made: &mut [T],
    scratch: &mut [T],
    make: impl Fn(usize, Range<usize>, &[T], &mut [T], &mut [T]) + Sync,
) {
    let last = columns.len() - 2;
    let place = |i: usize| if way == Way::Up { i } else { last - i };
    let width = |i: usize| columns[place(i) + 1] - columns[place(i)];
    let share = scratch.len() / parts;
    let (made, scratch) = (Shared::new(made), Shared::new(scratch));
    each(parts, &|p| {
        let own = part(p, parts, rows, GRAIN);
        if own.is_empty() {
            return;
        }
        // SAFETY: each share is one part's.
        let scratch = unsafe { scratch.take(p * share..(p + 1) * share) };
        let (mut from, mut start) = (&given[own.start * width(0)..own.end * width(0)], 0);
        for i in 1..=last {
            let width = width(i);
            // SAFETY: the matrices lie one after the other, and each row is one part's.
            let to = unsafe { made.take(start + own.start * width..start + own.end * width) };
            start += rows * width;
            make(place(i), own.clone(), from, &mut *to, &mut *scratch);
            from = to;
        }
    });
}

/// Calls `run(i, own, scratch)` for each stretch i of `data`, `starts[i]..starts[i + 1]` counted from the first start, in
/// `parts` parts of about as many values. Each part has an equal share of the scratch.
pub(crate) fn by_stretches<T: Send + Sync>(
    parts: usize,
    starts: &[usize],
    data: &mut [T],
    scratch: &mut [T],
    run: impl Fn(usize, &mut [T], &mut [T]) + Sync,
) {
    assert!(starts.is_sorted());
    let (first, share) = (starts[0], scratch.len() / parts);
    let all = (starts[starts.len() - 1] - first).max(1);
    let (data, scratch) = (Shared::new(data), Shared::new(scratch));
    each(parts, &|p| {
        // SAFETY: each share is one part's.
        let scratch = unsafe { scratch.take(p * share..(p + 1) * share) };
        for (i, pair) in starts.windows(2).enumerate() {
            let (start, end) = (pair[0] - first, pair[1] - first);
            // The part in which its middle lies.
            if ((start + end) / 2 * parts / all).min(parts - 1) == p {
                // SAFETY: the stretches follow one another, and each is one part's.
                run(i, unsafe { data.take(start..end) }, &mut *scratch);
            }
        }
    });
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::{super::team::Team, *};
    use std::{vec, vec::Vec};

    #[test]
    fn rows_go_through_the_chain_whoever_takes_them() {
        let columns = [0, 2, 5, 6, 10];
        let rows = 21;
        for way in [Way::Up, Way::Down] {
            let widths = if way == Way::Up { [2, 3, 1, 4] } else { [4, 1, 3, 2] };
            let given: Vec<usize> = (0..rows * widths[0]).map(|i| i / widths[0]).collect();
            for parts in 1..5 {
                let mut made = vec![0; rows * (widths[1] + widths[2] + widths[3])];
                Team::new(parts).unwrap().during(|| {
                    by_rows(
                        [parts, rows],
                        &columns,
                        way,
                        &given,
                        &mut made,
                        &mut [0; 9],
                        |k, own, from: &[usize], to: &mut [usize], scratch: &mut [usize]| {
                            assert_eq!(scratch.len(), 9 / parts);
                            let width = to.len() / own.len();
                            for (i, to) in to.iter_mut().enumerate() {
                                assert_eq!(from[i / width * (from.len() / own.len())] % 100, own.start + i / width);
                                *to += 100 * k + own.start + i / width;
                            }
                        },
                    );
                });
                let order = if way == Way::Up { [1, 2, 3] } else { [2, 1, 0] };
                let expected: Vec<usize> = (0..3)
                    .flat_map(|i| (0..rows * widths[i + 1]).map(move |e| 100 * order[i] + e / widths[i + 1]))
                    .collect();
                assert_eq!(made, expected, "{way:?}, {parts} parts");
            }
        }
    }

    #[test]
    fn each_stretch_is_run_once() {
        let starts = [7, 7, 10, 30, 31, 31];
        for parts in 1..5 {
            let mut data = vec![0; 24];
            Team::new(parts).unwrap().during(|| {
                by_stretches(parts, &starts, &mut data, &mut [0; 8], |i, own: &mut [usize], scratch| {
                    assert_eq!((own.len(), scratch.len()), (starts[i + 1] - starts[i], 8 / parts));
                    own.iter_mut().for_each(|value| *value += i);
                });
            });
            let expected: Vec<usize> = (0..24).map(|e| (1..4).rfind(|&i| starts[i] <= 7 + e).unwrap()).collect();
            assert_eq!(data, expected, "{parts} parts");
        }
    }
}
