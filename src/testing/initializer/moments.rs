//! Moments of entries over many fills: mean, variance, covariance of entries.

use crate::{
    block::Gate,
    initializer::{Initializer, Shape},
    testing::{
        Law,
        law::{Trial, beyond, number},
    },
};
use alloc::{borrow::ToOwned, format, string::String, vec, vec::Vec};
use num_traits::Float;

/// The allowed error of a moment in standard errors. One in 10¹⁰ normal errors is larger. Since the standard error
/// is itself an estimate from at least 100 fills, the fraction becomes one in 10⁸. So 10,000 seeds of 100
/// initializers give no false alarm.
const SIGNIFICANCE: f64 = 6.5;

/// A distance in standard errors that only an estimate without an error has: all entries may be one number, as the few
/// others of a heavy tail are missing.
const EXACT: f64 = 1e6;

/// The skewness beyond which an estimate is not tested: such an estimate depends on a few entries, and its error is
/// not normally distributed.
const SKEWED: f64 = 0.15;

/// The number of fills whose magnitudes are compared.
const COMPARED: usize = 32;

/// The mean and the variance that an initializer states for a block; `None` for one that it does not state.
pub(super) struct Facts {
    shape: Shape,
    place: String,
    mean: Option<f64>,
    variance: Option<f64>,
    /// Whether rows or columns are orthogonal: small blocks then have equal magnitudes.
    orthogonal: bool,
}

impl Facts {
    pub(super) fn of(initializer: &dyn Initializer, shape: Shape, place: String) -> Self {
        let orthogonal = initializer.orthogonal_gain(shape).is_some();
        Facts { shape, place, mean: initializer.mean(shape), variance: initializer.variance(shape), orthogonal }
    }
}

/// The statistics of one fill, computed after a centre is subtracted from its entries: mean value, mean square, and
/// mean products of pairs. Each has the law that it tests and its name in a message.
const STATISTICS: [(Law, &str); 9] = [
    (Law::Mean, "a mean of"),
    (Law::Variance, "a variance of"),
    (Law::Uncorrelated, "neighbours in a row: a covariance of"),
    (Law::Uncorrelated, "neighbours in a column: a covariance of"),
    (Law::Uncorrelated, "entries of a row: a covariance of"),
    (Law::Uncorrelated, "entries of a column: a covariance of"),
    (Law::Uncorrelated, "w_ij and w_ji: a covariance of"),
    (Law::Uncorrelated, "neighbours along a diagonal: a covariance of"),
    (Law::Uncorrelated, "neighbours across a diagonal: a covariance of"),
];

/// Returns the [`STATISTICS`] of a fill of `rows` × `columns` row-major `values`, from which the centre is already
/// subtracted; 0 for a statistic without pairs.
fn averages(values: &[f64], rows: usize, columns: usize) -> [f64; STATISTICS.len()] {
    let mut sums = [0.0; STATISTICS.len()];
    let mut below = vec![0.0; columns];
    let mut square = 0.0;
    for row in values.chunks(columns) {
        let (mut sum, mut own) = (0.0, 0.0);
        for &value in row {
            sum += value;
            own += value * value;
        }
        sums[0] += sum;
        square += own;
        sums[2] += row.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>();
        sums[4] += sum * sum - own;
        below.iter_mut().zip(row).for_each(|(below, value)| *below += value);
    }
    sums[1] = square;
    sums[3] = values.iter().zip(values.iter().skip(columns)).map(|(above, below)| above * below).sum();
    for (above, row) in values.chunks(columns).zip(values.chunks(columns).skip(1)) {
        sums[7] += above.iter().zip(&row[1..]).map(|(a, b)| a * b).sum::<f64>();
        sums[8] += above[1..].iter().zip(row).map(|(a, b)| a * b).sum::<f64>();
    }
    sums[5] = below.iter().map(|sum| sum * sum).sum::<f64>() - square;
    if rows == columns {
        for i in 0..rows {
            sums[6] += (0..i).map(|j| values[i * columns + j] * values[j * columns + i]).sum::<f64>();
        }
    }
    sums.iter_mut().zip(counts(rows, columns)).for_each(|(sum, count)| *sum /= count.max(1) as f64);
    sums
}

/// Returns the number of terms of each of the [`STATISTICS`] in a fill of `rows` × `columns` entries.
fn counts(rows: usize, columns: usize) -> [usize; STATISTICS.len()] {
    let pairs = |count: usize| count * count.saturating_sub(1);
    let transposed = if rows == columns { pairs(rows) / 2 } else { 0 };
    let all = rows * columns;
    let slanted = (rows - 1) * (columns - 1);
    let [by_row, by_column] = [rows * pairs(columns), columns * pairs(rows)];
    [all, all, all - rows, all - columns, by_row, by_column, transposed, slanted, slanted]
}

/// Compares the mean, variance and covariances of at least `entries` entries with those that `facts` states. `next`
/// fills the block with new values. It returns false if it cannot, which ends the test.
///
/// If a moment is far off, all moments are estimated again, from new and more entries, and once more if all entries
/// were one number. One sample may lack the few large entries of a heavy tail, but a wrong scale shows in every sample.
pub(super) fn moments(next: &mut dyn FnMut(&mut [f64]) -> bool, facts: &Facts, entries: usize, trial: &mut Trial) {
    if facts.mean.is_none() && facts.variance.is_none() {
        return;
    }
    let fills = entries.div_ceil(facts.shape.rows * facts.shape.columns);
    let Some(first) = compare(next, facts, fills) else { return };
    let mut moments = first;
    for (least, again) in [(SIGNIFICANCE, AGAIN), (EXACT, 8 * AGAIN)] {
        if moments.iter().any(|moment| beyond(moment.off, least) && !trial.broken(moment.law)) {
            let Some(others) = compare(next, facts, again * fills) else { return };
            moments = others;
        }
    }
    for Moment { law, place, stated, found, off } in moments {
        if !trial.measures(law, "f64", off, SIGNIFICANCE) {
            trial.breaks(law, place, stated, found, "");
        }
    }
}

/// Tests that equal magnitudes, those of 0 left out, are as frequent within a fill by `next` as between two fills. It
/// finds a random number that is used for several entries with random signs, which have no covariance. Blocks without
/// a stated variance of more than 0 are not tested, nor are orthogonal ones.
pub(super) fn magnitudes(next: &mut dyn FnMut(&mut [f64]) -> bool, facts: &Facts, trial: &mut Trial) {
    let Facts { shape: Shape { rows, columns, .. }, ref place, variance, orthogonal, .. } = *facts;
    if orthogonal || variance.is_none_or(|variance| variance == 0.0) {
        return;
    }
    let mut values = vec![0.0; rows * columns];
    let (mut before, mut within, mut between, mut pairs) = (Vec::new(), 0.0, 0.0, [0.0; 2]);
    for _ in 0..COMPARED {
        if !next(&mut values) {
            return;
        }
        let mut sizes: Vec<f64> = values.iter().map(|value| value.abs()).filter(|&size| size != 0.0).collect();
        sizes.sort_unstable_by(f64::total_cmp);
        let count = sizes.len() as f64;
        for equal in sizes.chunk_by(|a, b| a == b) {
            let same = equal.len() as f64;
            within += 0.5 * same * (same - 1.0);
            let first = before.partition_point(|&size| size < equal[0]);
            between += same * before[first..].iter().take_while(|&&size| size == equal[0]).count() as f64;
        }
        pairs[0] += 0.5 * count * (count - 1.0);
        pairs[1] += count * before.len() as f64;
        before = sizes;
    }
    let expected = if pairs[1] == 0.0 { 0.0 } else { between / pairs[1] * pairs[0] };
    // By chance a few more are equal.
    if within > 2.0 * expected + 16.0 {
        let expected = format!("about {} in {COMPARED} fills, as many as between two fills", number(expected));
        let place = format!("{place}: pairs of entries of equal magnitude");
        trial.breaks(Law::Uncorrelated, place, expected, number(within), "");
    }
}

/// Tests that the entries of gates stacked in the rows of a block are uncorrelated: each entry of one gate with the
/// entry at the same place in another gate. `shape` is that of a gate, and `fills` holds one block after the other.
/// Gates without a stated variance of more than 0 are not tested, nor is a negative covariance with a gate that
/// carries the state, which may be intended.
pub(super) fn between_gates(
    fills: &[f64],
    initializer: &dyn Initializer,
    (shape, gates): (Shape, &[Gate]),
    place: &str,
    trial: &mut Trial,
) {
    let facts: Vec<Facts> =
        gates.iter().map(|gate| Facts::of(initializer, shape.gate(*gate), place.to_owned())).collect();
    let random = |i: usize| facts[i].variance.is_some_and(|variance| variance > 0.0) && facts[i].mean.is_some();
    let size = shape.rows * shape.columns;
    let pairs: Vec<(usize, usize)> = {
        let all = (0..gates.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
        all.filter(|&(i, j)| random(i) && random(j)).collect()
    };
    let mut averages = vec![Vec::new(); pairs.len()];
    for values in fills.chunks(size * gates.len()) {
        for (averages, &(i, j)) in averages.iter_mut().zip(&pairs) {
            let centred = |gate: usize| {
                let mean = facts[gate].mean.unwrap_or(0.0);
                values[gate * size..][..size].iter().map(move |value| value - mean)
            };
            averages.push(centred(i).zip(centred(j)).map(|(a, b)| a * b).sum::<f64>() / size as f64);
        }
    }
    for (averages, &(i, j)) in averages.iter().zip(&pairs) {
        let Estimate { mean, error, skewness } = Estimate::of(averages);
        // A gate may be the opposite of the one that carries the state, by design (Tallec & Ollivier 2018).
        if mean < 0.0 && [i, j].iter().any(|&gate| gates[gate].carries_state) {
            continue;
        }
        let scale = Float::sqrt(facts[i].variance.unwrap_or(0.0) * facts[j].variance.unwrap_or(0.0));
        let off = mean.abs() / (error + 1e-9 * scale + f64::MIN_POSITIVE);
        if skewness <= SKEWED && !trial.measures(Law::Uncorrelated, "f64", off, SIGNIFICANCE) {
            let (expected, found) =
                (String::from("a covariance of 0"), format!("{} ± {}", number(mean), number(error)));
            let names = [gates[i].name, gates[j].name];
            trial.breaks(Law::Uncorrelated, format!("{place}, the same entry of gates {names:?}"), expected, found, "");
        }
    }
}

/// The number of fills of a second estimate, as a multiple of those of the first.
const AGAIN: usize = 4;

/// An estimated moment, and the one that the initializer states.
struct Moment {
    law: Law,
    place: String,
    stated: String,
    found: String,
    /// The magnitude of the difference between the estimated and the stated moment, in standard errors of the estimate.
    off: f64,
}

/// Estimates the moments of the block that `facts` describes from `fills` fills by `next`. `None` if `next` fails.
fn compare(next: &mut dyn FnMut(&mut [f64]) -> bool, facts: &Facts, fills: usize) -> Option<Vec<Moment>> {
    let Facts { shape: Shape { rows, columns, .. }, ref place, mean, variance, .. } = *facts;
    let each = rows * columns;
    let mut values = vec![0.0; each];
    let mut all: [Vec<f64>; STATISTICS.len()] = core::array::from_fn(|_| Vec::with_capacity(fills));
    // Without a stated mean, values are taken relative to the mean of the first fill, and the result is corrected for
    // this.
    let mut about = mean;
    for _ in 0..fills {
        if !next(&mut values) {
            return None;
        }
        let centre = *about.get_or_insert_with(|| values.iter().sum::<f64>() / each as f64);
        values.iter_mut().for_each(|value| *value -= centre);
        all.iter_mut().zip(averages(&values, rows, columns)).for_each(|(all, average)| all.push(average));
    }
    let estimates = all.map(|averages| Estimate::of(&averages));
    let [shift, square, ..] = estimates;
    let size = square.mean.max(variance.unwrap_or(0.0));
    let mut moments = Vec::new();
    for (((law, what), estimate), count) in STATISTICS.into_iter().zip(estimates).zip(counts(rows, columns)) {
        let stated = match law {
            Law::Mean => mean,
            Law::Variance => variance,
            _ => variance.filter(|&variance| variance > 0.0).map(|_| 0.0),
        };
        let Some(stated) = stated else { continue };
        let (found, error, scale) = match law {
            Law::Mean => (stated + shift.mean, shift.error, Float::sqrt(size).max(stated.abs())),
            _ if mean.is_some() => (estimate.mean, estimate.error, size),
            _ => {
                let error = estimate.error + 2.0 * shift.mean.abs() * shift.error;
                (estimate.mean - shift.mean * shift.mean, error, size)
            }
        };
        if estimate.skewness > SKEWED || count == 0 {
            continue;
        }
        // An estimate whose samples are all equal is exact to rounding.
        let off = (found - stated).abs() / (error + 1e-9 * scale + f64::MIN_POSITIVE);
        let found = format!("{} ± {}, {off:.1} standard errors away", number(found), number(error));
        let (place, stated) = (format!("{place}, {} entries", fills * each), format!("{what} {}", number(stated)));
        moments.push(Moment { law, place, stated, found, off });
    }
    Some(moments)
}

/// The mean of independent values, with its accuracy.
#[derive(Clone, Copy)]
struct Estimate {
    mean: f64,
    /// The standard error of the estimate.
    error: f64,
    /// The skewness of the estimate's error, from the sample: near 1 if one value dominates.
    skewness: f64,
}

impl Estimate {
    fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let moment = |power: i32| values.iter().map(|value| Float::powi(value - mean, power)).sum::<f64>();
        let square = moment(2);
        let skewness = moment(3).abs() / (square * Float::sqrt(square)).max(f64::MIN_POSITIVE);
        Estimate { mean, error: Float::sqrt(square / (count - 1.0) / count), skewness }
    }
}
