//! A loop over many short pieces of work, divided among threads that meet once at its end instead of after each piece.

use super::thread_pool::{Shared, each, part};
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

/// Widths, added up: that of matrix k is `[k + 1] − [k]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Widths<'a> {
    /// Of the matrices.
    pub all: &'a [usize],
    /// Of the same, where one that is not kept has none.
    pub kept: &'a [usize],
    /// Of what lies beside the step between matrix k and the next.
    pub beside: &'a [usize],
}

/// Memory of a chain.
#[derive(Debug)]
pub(crate) struct Made<'a, T> {
    /// The matrices that are kept, in the order in which they are made.
    pub kept: &'a mut [T],
    /// Room for two matrices that are not.
    pub passing: [&'a mut [T]; 2],
    /// What lies beside the steps, in the order of the matrices.
    pub beside: &'a mut [T],
}

/// Some of the rows, at one step of a chain.
pub(crate) struct Step<'a, T> {
    pub rows: Range<usize>,
    pub from: &'a [T],
    pub to: &'a mut [T],
    pub beside: &'a mut [T],
    pub scratch: &'a mut [T],
}

/// Makes the matrices of a chain, row by row each of the one before: `make(k, step)` makes some rows of matrix k. Each of
/// `parts` parts of the rows goes through the whole chain by itself.
///
/// # Shapes
/// Matrix k is \[rows, width k\]. The one that the way begins with is `given`. Each part has an equal share of the scratch.
pub(crate) fn by_rows<T: Send + Sync>(
    [parts, rows]: [usize; 2],
    widths: Widths<'_>,
    way: Way,
    given: &[T],
    made: Made<'_, T>,
    scratch: &mut [T],
    make: impl Fn(usize, Step<'_, T>) + Sync,
) {
    assert!(widths.all.len() >= 2 && parts > 0, "a chain must have a matrix and a part");
    let last = widths.all.len() - 2;
    assert!(widths.kept.len() >= last + 2 && widths.beside.len() > last, "a chain must have all widths");
    let sorted = [widths.all, widths.kept, widths.beside].iter().all(|widths| widths.is_sorted());
    assert!(sorted, "widths that are added up must not fall");
    // Then no place of a row in any of the memory wraps.
    let longest = widths.all[last + 1].max(widths.beside[last]);
    assert!(rows.checked_mul(longest).is_some(), "the values of a chain must be as many as a usize can count");
    let place = |i: usize| if way == Way::Up { i } else { last - i };
    let width = |i: usize| widths.all[place(i) + 1] - widths.all[place(i)];
    let is_kept = |i: usize| widths.kept[place(i) + 1] > widths.kept[place(i)];
    let share = scratch.len() / parts;
    let widest = made.passing[0].len().min(made.passing[1].len()) / rows.max(1);
    let (kept, beside, scratch) = (Shared::new(made.kept), Shared::new(made.beside), Shared::new(scratch));
    let passing = made.passing.map(Shared::new);
    each(parts, &|p| {
        let own = part(p, parts, rows, GRAIN);
        if own.is_empty() {
            return;
        }
        // SAFETY: shares follow one another, and `each` gives each p to one call.
        let scratch = unsafe { scratch.take(p * share..(p + 1) * share) };
        let (mut from, mut start) = (&given[own.start * width(0)..own.end * width(0)], 0);
        for i in 1..=last {
            let width = width(i);
            let to = if is_kept(i) {
                start += rows * width;
                // SAFETY: the matrices lie one after the other, and `part` gives each row to one part.
                unsafe { kept.take(start - (rows - own.start) * width..start - (rows - own.end) * width) }
            } else {
                assert!(width <= widest, "a matrix that is not kept must have room");
                // SAFETY: a part has the places of its rows, each with room for the widest, and `part` gives each row to one
                // part. The matrix before lies in the other half or elsewhere; those before that are not used again.
                unsafe { passing[i % 2].take(own.start * widest..own.start * widest + own.len() * width) }
            };
            // The step lies between the matrix made and the one before it.
            let step = place(i).min(place(i - 1));
            let (before, width) =
                (widths.beside[step] - widths.beside[0], widths.beside[step + 1] - widths.beside[step]);
            // SAFETY: steps lie one after the other, since widths do not fall, and `part` gives each row to one part.
            let beside = unsafe { beside.take(rows * before + own.start * width..rows * before + own.end * width) };
            make(place(i), Step { rows: own.clone(), from, to: &mut *to, beside, scratch: &mut *scratch });
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
    assert!(!starts.is_empty() && starts.is_sorted() && parts > 0, "stretches must follow one another");
    let (first, share) = (starts[0], scratch.len() / parts);
    let all = (starts[starts.len() - 1] - first).max(1);
    let (data, scratch) = (Shared::new(data), Shared::new(scratch));
    each(parts, &|p| {
        // SAFETY: shares follow one another, and `each` gives each p to one call.
        let scratch = unsafe { scratch.take(p * share..(p + 1) * share) };
        for (i, pair) in starts.windows(2).enumerate() {
            let (start, end) = (pair[0] - first, pair[1] - first);
            // The part in which its middle lies.
            if ((start + end) / 2 * parts / all).min(parts - 1) == p {
                // SAFETY: the stretches follow one another, since starts do not fall, and the condition above is true of one p.
                run(i, unsafe { data.take(start..end) }, &mut *scratch);
            }
        }
    });
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::{super::thread_pool::Team, *};
    use std::{format, vec, vec::Vec};

    #[test]
    fn rows_go_through_the_chain_whoever_takes_them() {
        const ROWS: usize = 21;
        let (all, beside) = ([0, 2, 5, 6, 10], [4, 5, 5, 7]);
        let width = |k: usize| all[k + 1] - all[k];
        for (way, dropped) in [Way::Up, Way::Down]
            .into_iter()
            .flat_map(|way| [&[][..], &[1], &[2], &[1, 2]].map(|dropped| (way, dropped)))
        {
            let (first, order) = if way == Way::Up { (0, [1, 2, 3]) } else { (3, [2, 1, 0]) };
            let mut kept = vec![0];
            for k in 0..4 {
                kept.push(kept[k] + if dropped.contains(&k) { 0 } else { width(k) });
            }
            let widths = Widths { all: &all, kept: &kept, beside: &beside };
            let given: Vec<usize> = (0..ROWS * width(first)).map(|i| i / width(first)).collect();
            for parts in 1..5 {
                let (mut made, mut seen) = (vec![0; ROWS * (kept[4] - width(first))], vec![0; ROWS * 3]);
                let (mut one, mut other) = (vec![7; ROWS * 4], vec![7; ROWS * 4]);
                Team::new(parts).unwrap().during(|| {
                    let passing = [&mut one[..], &mut other[..]];
                    let memory = Made { kept: &mut made, passing, beside: &mut seen };
                    by_rows([parts, ROWS], widths, way, &given, memory, &mut [0; 9], |k, step: Step<'_, usize>| {
                        let Step { rows: own, from, to, beside, scratch } = step;
                        assert_eq!((scratch.len(), to.len()), (9 / parts, own.len() * width(k)));
                        let widths = [width(k), from.len() / own.len(), beside.len() / own.len()];
                        for (i, to) in to.iter_mut().enumerate() {
                            assert_eq!(from[i / widths[0] * widths[1]] % 100, own.start + i / widths[0]);
                            *to = 100 * k + own.start + i / widths[0];
                        }
                        for (i, beside) in beside.iter_mut().enumerate() {
                            *beside += 100 * (k + 1) + own.start + i / widths[2];
                        }
                    });
                });
                let place = format!("{way:?} without {dropped:?}, {parts} parts");
                let made_of = |k: usize| (0..ROWS * width(k)).map(move |e| 100 * k + e / width(k));
                let expected: Vec<usize> =
                    order.into_iter().filter(|k| !dropped.contains(k)).flat_map(made_of).collect();
                assert_eq!(made, expected, "{place}");
                // A step has the number of the matrix below it: the one that is made on the way down.
                let above = if way == Way::Up { 2 } else { 1 };
                let expected: Vec<usize> = [(0, 1), (2, 2)]
                    .into_iter()
                    .flat_map(|(step, width)| (0..ROWS * width).map(move |e| 100 * (step + above) + e / width))
                    .collect();
                assert_eq!(seen, expected, "{place}");
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
