//! A permutation test of whether targets depend on inputs.

use crate::{
    dataset::{Dataset, Standardize},
    loss::Target,
    random::shuffle,
    scalar::{Scalar, to_f64},
};
use alloc::{vec, vec::Vec};

/// The number of random permutations of the targets in the test. The smallest possible p-value is 1/200.
const PERMUTATIONS: u64 = 199;

/// The largest number of samples in the test. If there are more, evenly spaced samples are taken.
const TESTED: usize = 128;

/// Returns the p-value of the hypothesis that the targets of `samples` do not depend on their inputs. `None` for data
/// without targets, sequences of different lengths, fewer than ten samples, or inputs that cannot be standardized.
///
/// The statistic is the distance covariance `Σ A_ij B_ij` of double-centred distances A of inputs, in columns of
/// variance 1, and B of targets (Székely & Rizzo 2007). For many samples it is 0 only if inputs and targets are
/// independent, so it finds any dependence. Under the hypothesis all permutations of the targets are equally likely.
pub(super) fn p_value<T: Scalar>(data: &Dataset<'_, T>, samples: &[usize]) -> Option<f64> {
    let samples: Vec<usize> = samples.iter().copied().step_by(samples.len().div_ceil(TESTED).max(1)).collect();
    let (all, count) = (data.samples(), samples.len());
    let (values, target) = (data.inputs().len() / all, data.targets()?);
    let ragged = (0..all).any(|sample| data.length(sample) != data.steps());
    if ragged || count < 10 {
        return None;
    }
    let columns = Standardize::of(data.width(), data.inputs()).ok()?;
    let mut x: Vec<f64> = Vec::new();
    for &sample in &samples {
        x.extend(data.inputs()[sample * values..][..values].iter().map(|&x| to_f64(x)));
    }
    columns.apply(&mut x).ok()?;
    let of_inputs = centred(count, |a, b| {
        let [a, b] = [a, b].map(|sample| &x[sample * values..][..values]);
        a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
    });
    let of_targets = centred(count, |a, b| apart(target, all, [samples[a], samples[b]]));
    let covariance = |order: &[usize]| -> f64 {
        let row = |i: usize| {
            let other = &of_targets[order[i] * count..][..count];
            of_inputs[i * count..][..count].iter().zip(order).map(|(a, &j)| a * other[j]).sum::<f64>()
        };
        (0..count).map(row).sum()
    };
    let mut order: Vec<usize> = (0..count).collect();
    let found = covariance(&order);
    let mut as_large = 1;
    for permutation in 0..PERMUTATIONS {
        shuffle(&mut order, 0, permutation);
        as_large += u64::from(covariance(&order) >= found);
    }
    Some(as_large as f64 / (PERMUTATIONS + 1) as f64)
}

/// Whether all samples of `data`, two or more, have the same targets.
pub(super) fn is_constant<T: Scalar>(data: &Dataset<'_, T>) -> bool {
    match data.targets().filter(|_| data.samples() > 1) {
        Some(Target::Classes(classes)) => classes.iter().all(|class| *class == classes[0]),
        Some(Target::Values(values)) => {
            let width = values.len() / data.samples();
            values.chunks(width.max(1)).all(|row| *row == values[..width])
        }
        None => false,
    }
}

/// Returns the double-centred matrix of distances between `count` samples: each distance minus the means of its row
/// and of its column, plus the mean of all distances. `square` gives the squared distance of two samples.
fn centred(count: usize, square: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let mut all = vec![0.0; count * count];
    for (i, row) in all.chunks_mut(count).enumerate() {
        row.iter_mut().enumerate().for_each(|(j, value)| *value = libm::sqrt(square(i, j)));
    }
    let means: Vec<f64> = all.chunks(count).map(|row| row.iter().sum::<f64>() / count as f64).collect();
    let mean = means.iter().sum::<f64>() / count as f64;
    for (row, of_row) in all.chunks_mut(count).zip(&means) {
        row.iter_mut().zip(&means).for_each(|(value, of_column)| *value += mean - of_row - of_column);
    }
    all
}

/// Returns the squared distance between the targets of the samples `a` and `b`: 0 or 1 for classes. `samples` is the
/// number of samples that `target` has.
fn apart<T: Scalar>(target: Target<'_, T>, samples: usize, [a, b]: [usize; 2]) -> f64 {
    match target {
        Target::Classes(classes) => f64::from(u8::from(classes[a] != classes[b])),
        Target::Values(values) => {
            let width = values.len() / samples.max(1);
            let row = |sample: usize| &values[sample * width..][..width];
            let square = |(&a, &b): (&T, &T)| (to_f64(a) - to_f64(b)) * (to_f64(a) - to_f64(b));
            row(a).iter().zip(row(b)).map(square).sum()
        }
    }
}
