//! The laws of initializers.

mod draws;
mod gates;
mod moments;

use draws::is_random;
use gates::gates;
use moments::{Facts, between_gates, magnitudes, moments};

use super::{
    Evidence, Law, Violations, answers, caught, ignored, judged,
    law::{Trial, number, subject},
    steady,
};
use crate::{
    block::Role,
    error::Error,
    initializer::{Initializer, Shape},
    random::generator,
};
use alloc::{format, string::String, vec, vec::Vec};
use rand_core::Rng;

/// A `#[test]` that an initializer keeps its laws: [`initializer_laws`](crate::testing::initializer_laws).
///
/// ```
/// chainrule::initializer_laws!(he, chainrule::initializer::He::normal());
/// ```
#[macro_export]
macro_rules! initializer_laws {
    ($(#[$attribute:meta])* $name:ident, $initializer:expr $(,)?) => {
        $(#[$attribute])*
        #[test]
        fn $name() {
            $crate::testing::expect_lawful($crate::testing::initializer_laws(&$initializer, $crate::testing::seed()));
        }
    };
}

/// The blocks to fill, each with the number of entries from which its moments are estimated. Blocks that an
/// initializer refuses are left out.
const SHAPES: [(Shape, usize); 10] = [
    (Shape::new(1, 1, Role::Weight), SOME),
    (Shape::new(7, 1, Role::Bias), SOME),
    (Shape::new(5, 1, Role::Gain), SOME),
    (Shape::new(3, 5, Role::Weight), SOME),
    (Shape::new(1, 33, Role::Weight), SOME),
    (Shape::new(33, 1, Role::Weight), SOME),
    (Shape::new(64, 32, Role::Weight), MANY),
    (Shape::new(24, 48, Role::Weight), SOME),
    (Shape::new(130, 3, Role::Weight), SOME),
    (Shape::new(32, 32, Role::Recurrent), MANY),
];
/// The number of entries N from which moments of two of the larger blocks are estimated. The variance of normal
/// entries is then known to √(2/N) = 0.2 %, so a variance that is 2 % off is 10 standard errors away.
const MANY: usize = 524_288;
/// The number of entries from which moments of the other blocks are estimated: a variance that is 5 % off is 12
/// standard errors away.
const SOME: usize = 131_072;
/// The number of fills, from different seeds, that must all show a fault before it counts: two equal rows in each
/// fill, or the same values in all fills.
const FILLS: u64 = 8;

/// Tests the laws of an initializer on blocks of ten shapes, on one of 256 × 260, and on one to four stacked gates.
///
/// * Values are a function of the seed, to the bit; the former content of the slice has no influence. A slice of the
///   wrong length is refused.
/// * Values are random if the stated variance is not 0, or if none is stated and random numbers are drawn. Different
///   seeds then give different bits, and no two rows are copies of each other. Where no variance is stated, only
///   equal bits in all blocks, or copies in all rows of a block, break these laws. If a block states no variance and
///   no block is random, the printed report says so.
/// * The stated [`mean`](Initializer::mean), [`variance`](Initializer::variance), [`range`](Initializer::range) and
///   [`orthogonal_gain`](Initializer::orthogonal_gain) hold. Mean and variance are tested to 6.5 standard errors of
///   up to half a million entries; a moment that is farther off is estimated again from four times as many entries.
///   This accuses no right initializer in 10,000 seeds, and finds a variance that is 2 % off.
/// * Entries of a stated variance are uncorrelated: neighbours in a row, a column and both diagonals, all entries of
///   a row and of a column, and w_ij with w_ji. Equal magnitudes are no more frequent within one fill of the block
///   than between two fills.
/// * [`fill_gates`](Initializer::fill_gates) keeps all of this for each gate.
///
/// A moment that depends on a few entries is not tested, for example that of a log-normal distribution with σ = 1.5.
/// An initializer may refuse one to three gates by [`Error::Parameter`](crate::Error::Parameter), if it fills four.
///
/// # Errors
/// [`Violations`] with the laws that are broken, each with the first shape that breaks it.
pub fn initializer_laws(initializer: &dyn Initializer, seed: u64) -> Result<Evidence, Violations> {
    let told = || vec![("settings", initializer.settings())];
    let suite = |trial: &mut Trial| {
        let shape = SHAPES[0].0;
        let questions: [(&str, &dyn Fn()); 4] = [
            ("mean", &|| ignored(initializer.mean(shape))),
            ("variance", &|| ignored(initializer.variance(shape))),
            ("range", &|| ignored(initializer.range(shape))),
            ("orthogonal_gain", &|| ignored(initializer.orthogonal_gain(shape))),
        ];
        if answers(trial, "", &questions) {
            every_shape(initializer, seed, trial);
        }
    };
    judged(Trial::new(subject(initializer), seed), |trial| steady(trial, &told, suite))
}

/// Tests all laws of an initializer, on each block of [`SHAPES`] that it fills and on stacked gates.
fn every_shape(initializer: &dyn Initializer, seed: u64, trial: &mut Trial) {
    // For each block without a stated variance, whether other seeds give the same values.
    let (mut filled, mut unheeded) = (Vec::new(), Vec::new());
    for (shape, entries) in SHAPES {
        let Some(values) = fill(initializer, shape, seed, 0.0, trial) else { continue };
        let mut again = |seed, before, trial: &mut Trial| fill(initializer, shape, seed, before, trial);
        repeatable(&mut again, &described(shape), seed, &values, trial);
        lengths(&|rng, slice| initializer.fill(shape, rng, slice), &described(shape), values.len(), trial);
        if let Some(same) = distinct(initializer, shape, seed, &values, trial)
            && initializer.variance(shape).is_none()
        {
            unheeded.push((shape, same));
        }
        filled.push((shape, entries, values));
    }
    if filled.is_empty() && !trial.broken(Law::NoPanic) {
        trial.breaks(Law::Refuses, "blocks of usual shapes", "at least one that it fills", "it refuses all", "");
    }
    // A single block may ignore the seed by design, but not all blocks.
    if let Some((shape, _)) = unheeded.first().filter(|_| unheeded.iter().all(|(_, same)| *same)) {
        let expected = "other values, as random numbers are drawn";
        trial.breaks(Law::Seeded, format!("{}, another seed", described(*shape)), expected, "the same", "");
    }
    let unstated = |shape: &Shape| initializer.variance(*shape).is_none();
    if filled.iter().any(|(shape, ..)| unstated(shape))
        && !filled.iter().any(|(shape, ..)| is_random(initializer, *shape))
    {
        trial.notes("draws no random number and states no variance: seeds and copies are not tested");
    }
    // Moments mean nothing if the values are not a function of the seed.
    if trial.broken(Law::Seeded) || trial.broken(Law::Overwrites) {
        return;
    }
    for (shape, entries, values) in filled {
        range(initializer, shape, &described(shape), &values, trial);
        orthogonal(initializer, shape, &values, trial);
        let mut rng = generator(seed ^ MOMENTS);
        let mut next = |values: &mut [f64]| initializer.fill(shape, &mut rng, values).is_ok();
        let facts = Facts::of(initializer, shape, described(shape));
        moments(&mut next, &facts, entries, trial);
        magnitudes(&mut next, &facts, trial);
    }
    gates(initializer, seed, trial);
    large(initializer, seed, trial);
}

/// Tests that a block larger than all of [`SHAPES`] is filled as a whole: no entry keeps what was there before.
/// Where a variance is stated, the entries beyond the largest of these shapes have more than a hundredth of it, or
/// the largest has more than a tenth of the magnitude of the others. One of several fills must show it: a single one
/// may lack the few large entries of a heavy tail.
fn large(initializer: &dyn Initializer, seed: u64, trial: &mut Trial) {
    const LARGE: Shape = Shape::new(256, 260, Role::Weight);
    const NEAR: [usize; 2] = [130, 48];
    let Some(values) = fill(initializer, LARGE, seed, 7.25, trial) else { return };
    let Some(other) = fill(initializer, LARGE, seed, -7.25, trial) else { return };
    if let Some(i) = differ(&values, &other) {
        let place = format!("{}: [{i}], where there was −7.25", described(LARGE));
        return trial.breaks(Law::Overwrites, place, number(values[i]), number(other[i]), "");
    }
    range(initializer, LARGE, &described(LARGE), &values, trial);
    let (Some(variance), Some(mean)) = (initializer.variance(LARGE), initializer.mean(LARGE)) else { return };
    for (what, far) in [("rows", [NEAR[0], 0]), ("columns", [0, NEAR[1]])] {
        // The variance of the far entries, and the largest square of these and of the others.
        let squares = |values: &[f64]| {
            let (mut sum, mut count, mut most) = (0.0, 0.0, [0.0f64; 2]);
            for (i, value) in values.iter().enumerate() {
                let is_far = i / LARGE.columns >= far[0] && i % LARGE.columns >= far[1];
                let square = (value - mean) * (value - mean);
                most[usize::from(!is_far)] = most[usize::from(!is_far)].max(square);
                if is_far {
                    (sum, count) = (sum + square, count + 1.0);
                }
            }
            (sum / count, most)
        };
        let is_small = |(found, most): (f64, [f64; 2])| found < 0.01 * variance && most[0] < 0.01 * most[1];
        let found = squares(&values).0;
        if is_small(squares(&values))
            && (1..FILLS).all(|by| {
                fill(initializer, LARGE, seed.wrapping_add(by), 0.0, trial).is_some_and(|it| is_small(squares(&it)))
            })
        {
            let place = format!("{}: the last {what}", described(LARGE));
            trial.breaks(Law::Variance, place, format!("a variance of {}", number(variance)), number(found), "");
        }
    }
}

/// The number by which the seed is changed (XOR), so that the tests of moments use different random numbers from the
/// tests of single fills.
const MOMENTS: u64 = 0x006d_6f6d_656e_7473;

fn described(shape: Shape) -> String {
    format!("{:?} of {} × {}", shape.role, shape.rows, shape.columns)
}

/// Returns the initial values of a block, written to a slice that held `before` everywhere. `None` if the initializer
/// refuses the block; after a panic, a refusal of the slice's length, or a value that is not finite, each noted as a
/// violation.
fn fill(initializer: &dyn Initializer, shape: Shape, seed: u64, before: f64, trial: &mut Trial) -> Option<Vec<f64>> {
    let mut values = vec![before; shape.rows * shape.columns];
    match caught(|| initializer.fill(shape, &mut generator(seed), &mut values)) {
        Ok(Ok(())) => {}
        Ok(Err(Error::Length { what, expected, found })) => {
            let found = format!("{what}: expected {expected}, found {found}");
            trial.breaks(Law::Refuses, described(shape), "the right length is taken", found, "");
            return None;
        }
        Ok(Err(_)) => return None,
        Err(panic) => {
            trial.breaks(Law::NoPanic, described(shape), "values, or an error", panic, "");
            return None;
        }
    }
    // In a slice that held NaN, values that were not overwritten are found by a later comparison.
    if let Some(i) = values.iter().position(|value| !value.is_finite()).filter(|_| !before.is_nan()) {
        trial.breaks(Law::Extremes, format!("{}: [{i}]", described(shape)), "a number", number(values[i]), "");
        return None;
    }
    Some(values)
}

/// Fills a slice, whose entries all held the `f64`, with initial values of a block from the seed, the `u64`, and
/// returns it. `None` if the initializer refuses the block; violations are noted in the [`Trial`].
type Again<'a> = dyn FnMut(u64, f64, &mut Trial) -> Option<Vec<f64>> + 'a;

/// Returns the first index at which two fills differ in a bit; `None` if they are equal.
fn differ(a: &[f64], b: &[f64]) -> Option<usize> {
    a.iter().zip(b).position(|(a, b)| a.to_bits() != b.to_bits())
}

/// Tests that `again`, which fills the block anew, returns `values` to the bit for the same `seed`, and that the
/// former content of the slice has no influence. `place` is a prefix of the place that a violation reports.
fn repeatable(again: &mut Again<'_>, place: &str, seed: u64, values: &[f64], trial: &mut Trial) {
    for (law, before) in [(Law::Seeded, 0.0), (Law::Overwrites, f64::NAN), (Law::Overwrites, 7.25)] {
        let Some(other) = again(seed, before, trial) else {
            let found = "none of its own";
            return trial.breaks(law, place, format!("values where there was {before}"), found, "");
        };
        if let Some(i) = differ(values, &other) {
            let place = format!("{place}: [{i}], where there was {before}");
            trial.breaks(law, place, number(values[i]), number(other[i]), "");
        }
    }
}

/// A function that fills a slice with initial values from a random generator.
type Fill<'a> = dyn Fn(&mut dyn Rng, &mut [f64]) -> Result<(), Error> + 'a;

/// Tests that `fill` refuses slices that are one value shorter and one longer than `length`. `place` is a prefix of
/// the place that a violation reports.
fn lengths(fill: &Fill<'_>, place: &str, length: usize, trial: &mut Trial) {
    for length in [length - 1, length + 1] {
        let found = match caught(|| fill(&mut generator(0), &mut vec![0.0; length])) {
            Ok(Err(_)) => continue,
            Ok(Ok(())) => "values".into(),
            Err(panic) => panic,
        };
        trial.breaks(Law::Refuses, format!("{place}, a slice of {length}"), "an error", found, "");
    }
}

/// Tests that other seeds do not give `values`, the values for `seed`. Also tests that rows differ: a fault is a row
/// that is a copy of another in every fill or, if no variance is stated, rows that are all equal in every fill. Rows
/// of up to 16 entries are not compared. Returns whether other seeds give the same values, which is a violation if a
/// variance is stated. `None` for a block that is not random, or has up to 32 values.
fn distinct(initializer: &dyn Initializer, shape: Shape, seed: u64, values: &[f64], trial: &mut Trial) -> Option<bool> {
    if !is_random(initializer, shape) {
        return None;
    }
    let others: Vec<_> =
        (1..FILLS).filter_map(|by| fill(initializer, shape, seed.wrapping_add(by), 0.0, trial)).collect();
    // Values from a small set can agree by chance, in one fill but not in all.
    let same = (values.len() > 32).then(|| others.iter().all(|other| differ(values, other).is_none()));
    // A block of one number in each fill may lack the few other entries of a heavy tail.
    let is_constant = values.iter().all(|value| Some(value) == values.first());
    if same == Some(true) && !is_constant && initializer.variance(shape).is_some() {
        let expected = "other values, the variance being more than 0";
        trial.breaks(Law::Seeded, format!("{}, another seed", described(shape)), expected, "the same", "");
    }
    if shape.columns <= 16 {
        return same;
    }
    // Short rows can be equal by chance, and rows of zeros are equal.
    let full = |row: &&[f64]| row.iter().filter(|&&value| value != 0.0).count() > 16;
    let row = |values: &[f64], i: usize| values[i * shape.columns..][..shape.columns].to_vec();
    let copies = |values: &[f64], i: usize| {
        let row = row(values, i);
        full(&&row[..]) && values[..i * shape.columns].chunks(shape.columns).any(|other| other == row)
    };
    // Without a stated variance, some rows may be copies by design, for example those of the pixels of an image
    // block. But not all rows may be copies of one.
    let is_stated = initializer.variance(shape).is_some();
    let any = |values: &[f64]| {
        let first = (1..shape.rows).find(|&i| copies(values, i))?;
        (is_stated || (1..shape.rows).all(|i| copies(values, i))).then_some(first)
    };
    if let Some(i) = any(values).filter(|_| others.iter().all(|other| any(other).is_some())) {
        let place = format!("{}: row {i}", described(shape));
        trial.breaks(Law::Distinct, place, "a row of its own", "that of a row before", "");
    }
    same
}

/// Tests that every value is in the range that the initializer states for `shape`. `place` is a prefix of the place
/// that a violation reports.
fn range(initializer: &dyn Initializer, shape: Shape, place: &str, values: &[f64], trial: &mut Trial) {
    let range = initializer.range(shape).unwrap_or([f64::NEG_INFINITY, f64::INFINITY]);
    if let Some(i) = values.iter().position(|value| !(range[0]..=range[1]).contains(value)) {
        let expected = format!("from {} to {}", number(range[0]), number(range[1]));
        trial.breaks(Law::Range, format!("{place}: [{i}]"), expected, number(values[i]), "");
    }
}

/// Tests that the rows of `values` (the columns, if there are more rows) are orthogonal, with the magnitude of the
/// stated gain as norm. An initializer that states no gain is not tested.
fn orthogonal(initializer: &dyn Initializer, shape: Shape, values: &[f64], trial: &mut Trial) {
    let Some(gain) = initializer.orthogonal_gain(shape) else { return };
    // The allowed error grows with the number of terms of the sums, each of which is rounded.
    let allowed = 16.0 * f64::EPSILON * shape.rows.max(shape.columns) as f64;
    let by_row = shape.rows <= shape.columns;
    let (count, length) = if by_row { (shape.rows, shape.columns) } else { (shape.columns, shape.rows) };
    let at = |i: usize, k: usize| values[if by_row { i * shape.columns + k } else { k * shape.columns + i }];
    for i in 0..count {
        for j in 0..=i {
            let dot: f64 = (0..length).map(|k| at(i, k) * at(j, k)).sum();
            let expected = if i == j { gain * gain } else { 0.0 };
            let error = (dot - expected).abs() / (gain * gain).max(f64::MIN_POSITIVE);
            if !trial.measures(Law::Orthogonality, "f64", error, allowed) {
                let which = if by_row { "rows" } else { "columns" };
                let place = format!("{}: {which} {i} and {j}", described(shape));
                trial.breaks(Law::Orthogonality, place, number(expected), number(dot), "");
            }
        }
    }
}
