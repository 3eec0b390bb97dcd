//! The laws of initializers.

use super::{
    Evidence, Law, Violations, caught,
    law::{Trial, number, subject},
};
use crate::{
    block::Role,
    error::Error,
    initializer::{Initializer, Shape},
    random::generator,
};
use alloc::{format, string::String, vec, vec::Vec};
use num_traits::Float;

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

/// Blocks to fill: those that an initializer refuses are left out.
const SHAPES: [Shape; 6] = [
    Shape::new(1, 1, Role::Weight),
    Shape::new(7, 1, Role::Bias),
    Shape::new(3, 5, Role::Weight),
    Shape::new(64, 32, Role::Weight),
    Shape::new(24, 48, Role::Weight),
    Shape::new(32, 32, Role::Recurrent),
];
/// Blocks whose moments are measured.
const MEASURED: [usize; 2] = [3, 5];
/// Standard errors by which a moment may be off. Of normal errors one in 10¹⁰ is that large; the standard error itself
/// is measured, over at least 200 fills, which makes it one in 10⁹: no alarm in 10,000 seeds of 100 initializers.
const SIGNIFICANCE: f64 = 6.5;
/// Entries drawn. The variance of normal entries is then known to √(2/N) = 0.2 %, so that one that is 2 % off is
/// 10 standard errors away, and missed once in 10,000 times at most; of flatter distributions to less.
const ENTRIES: usize = 524_288;

/// Tries the laws of an initializer, on blocks of several shapes.
///
/// The seed decides every bit; earlier values of the slice have no influence. Where the variance is not zero, another
/// seed gives other bits, and no two rows are equal. A slice of the wrong length is refused. The stated
/// [`mean`](Initializer::mean), [`variance`](Initializer::variance), [`range`](Initializer::range) and
/// [`orthogonal_gain`](Initializer::orthogonal_gain) holds: mean and variance to 6.5 standard errors of half a
/// million entries, which accuses no right initializer in 10,000 seeds and finds a variance that is 2 % off.
///
/// # Errors
/// [`Violations`] with the laws that are broken, each with the first shape that shows it.
pub fn initializer_laws(initializer: &dyn Initializer, seed: u64) -> Result<Evidence, Violations> {
    let mut trial = Trial::new(subject(initializer), seed);
    let mut filled = 0;
    for (i, &shape) in SHAPES.iter().enumerate() {
        let Some(values) = fill(initializer, shape, seed, 0.0, &mut trial) else { continue };
        filled += 1;
        repeatable(initializer, shape, seed, &values, &mut trial);
        stated(initializer, shape, &values, &mut trial);
        if MEASURED.contains(&i) {
            moments(initializer, shape, seed, &mut trial);
        }
    }
    if filled == 0 && !trial.broken(Law::StaysInside) {
        trial.breaks(Law::Refuses, "blocks of usual shapes", "at least one that it fills", "it refuses all", "");
    }
    trial.verdict()
}

fn described(shape: Shape) -> String {
    format!("{:?} of {} × {}", shape.role, shape.rows, shape.columns)
}

/// A block; `None` where the initializer refuses it.
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
            trial.breaks(Law::StaysInside, described(shape), "values, or an error", panic, "");
            return None;
        }
    }
    if let Some(i) = values.iter().position(|value| !value.is_finite()) {
        trial.breaks(Law::Extremes, format!("{}: [{i}]", described(shape)), "a number", number(values[i]), "");
        return None;
    }
    Some(values)
}

fn repeatable(initializer: &dyn Initializer, shape: Shape, seed: u64, values: &[f64], trial: &mut Trial) {
    let differs = |other: &[f64]| values.iter().zip(other).position(|(a, b)| a.to_bits() != b.to_bits());
    for (law, before) in [(Law::Seeded, 0.0), (Law::Overwrites, f64::NAN), (Law::Overwrites, 7.25)] {
        let Some(again) = fill(initializer, shape, seed, before, trial) else {
            let found = "none of its own";
            return trial.breaks(law, described(shape), format!("values where there was {before}"), found, "");
        };
        if let Some(i) = differs(&again) {
            let place = format!("{}: [{i}], where there was {before}", described(shape));
            trial.breaks(law, place, number(values[i]), number(again[i]), "");
        }
    }
    for length in [values.len() - 1, values.len() + 1] {
        let mut slice = vec![0.0; length];
        let place = format!("{}, a slice of {length}", described(shape));
        match caught(|| initializer.fill(shape, &mut generator(seed), &mut slice)) {
            Ok(Err(_)) => {}
            Ok(Ok(())) => trial.breaks(Law::Refuses, place, "an error", "values", ""),
            Err(panic) => trial.breaks(Law::Refuses, place, "an error", panic, ""),
        }
    }
    if initializer.variance(shape).is_none_or(|variance| variance == 0.0) {
        return;
    }
    // Values from a small set can agree by chance, in one fill but not in three.
    let others: Vec<_> = (1..4).filter_map(|by| fill(initializer, shape, seed.wrapping_add(by), 0.0, trial)).collect();
    if values.len() > 32 && others.iter().all(|other| differs(other).is_none()) {
        let expected = "other values, the variance being more than 0";
        trial.breaks(Law::Seeded, format!("{}, another seed", described(shape)), expected, "the same", "");
    }
    let rows = |values: &[f64]| {
        let row = |i: usize| &values[i * shape.columns..][..shape.columns];
        (1..shape.rows).find(|&i| (0..i).any(|j| row(i) == row(j)))
    };
    if let (true, Some(i)) =
        (shape.columns > 16, rows(values).filter(|_| others.iter().all(|other| rows(other).is_some())))
    {
        let place = format!("{}: row {i}", described(shape));
        trial.breaks(Law::Distinct, place, "a row of its own", "that of a row before", "");
    }
}

/// What holds of every block.
fn stated(initializer: &dyn Initializer, shape: Shape, values: &[f64], trial: &mut Trial) {
    let range = initializer.range(shape).unwrap_or([f64::NEG_INFINITY, f64::INFINITY]);
    if let Some(i) = values.iter().position(|value| !(range[0]..=range[1]).contains(value)) {
        let place = format!("{}: [{i}]", described(shape));
        let expected = format!("from {} to {}", number(range[0]), number(range[1]));
        trial.breaks(Law::Range, place, expected, number(values[i]), "");
    }
    if let Some(gain) = initializer.orthogonal_gain(shape) {
        // Sums of so many terms, each rounded.
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
}

/// Mean and variance of many fills.
fn moments(initializer: &dyn Initializer, shape: Shape, seed: u64, trial: &mut Trial) {
    let each = shape.rows * shape.columns;
    let fills = ENTRIES.div_ceil(each);
    let mut means = Vec::with_capacity(fills);
    let mut squares = Vec::with_capacity(fills);
    let (mean, variance) = (initializer.mean(shape), initializer.variance(shape));
    if mean.is_none() && variance.is_none() {
        return;
    }
    let mut values = vec![0.0; each];
    let mut rng = generator(seed ^ 0x006d_6f6d_656e_7473);
    // Where no mean is stated, squares are taken about that of the first fill, and corrected.
    let mut about = mean;
    for _ in 0..fills {
        if initializer.fill(shape, &mut rng, &mut values).is_err() {
            return;
        }
        let average = |f: &dyn Fn(f64) -> f64| values.iter().map(|&value| f(value)).sum::<f64>() / each as f64;
        let centre = *about.get_or_insert_with(|| average(&|value| value));
        means.push(average(&|value| value - centre));
        squares.push(average(&|value| (value - centre) * (value - centre)));
    }
    let (shift, shift_error) = estimate(&means);
    let (square, square_error) = estimate(&squares);
    let mut judge = |law: Law, what: &str, stated: f64, found: f64, error: f64, scale: f64| {
        // What has no spread is known to rounding.
        let off = (found - stated).abs() / (error + 1e-9 * scale + f64::MIN_POSITIVE);
        if !trial.measures(law, "f64", off, SIGNIFICANCE) {
            let place = format!("{}, {} entries", described(shape), fills * each);
            let found = format!("{} ± {}, {off:.1} standard errors away", number(found), number(error));
            trial.breaks(law, place, format!("{what} {}", number(stated)), found, "");
        }
    };
    let scale = Float::sqrt(square);
    if let Some(mean) = mean {
        judge(Law::Mean, "a mean of", mean, mean + shift, shift_error, scale.max(mean.abs()));
    }
    if let Some(variance) = variance {
        let (found, error) = match mean {
            Some(_) => (square, square_error),
            None => (square - shift * shift, square_error + 2.0 * shift.abs() * shift_error),
        };
        judge(Law::Variance, "a variance of", variance, found, error, square.max(variance));
    }
}

/// The mean of independent values, and its standard error.
fn estimate(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let square = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>();
    (mean, Float::sqrt(square / (count - 1.0) / count))
}
