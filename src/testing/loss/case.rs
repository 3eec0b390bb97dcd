//! Outputs with targets for the laws of a loss.

use crate::{
    error::Error,
    loss::{Loss, Target},
    random::{Normals, below, generator, uniform},
    scalar::{Scalar, scalar},
    testing::{caught, law::listed},
};
use alloc::{format, string::String, vec::Vec};

/// Outputs and what they should have been.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub rows: usize,
    pub width: usize,
    pub y: Vec<f64>,
    /// One distribution a row: every loss takes them.
    pub values: Vec<f64>,
    pub labels: Option<Vec<usize>>,
    pub weights: Option<Vec<f64>>,
}

impl Case {
    /// All numbers are representable in `f32`.
    #[inline]
    pub(super) fn draw(rows: usize, width: usize, classes: bool, weighted: bool, seed: u64) -> Self {
        let (mut rng, mut normals) = (generator(seed), Normals::new());
        let single = |value: f64| f64::from(value as f32);
        let y = (0..rows * width).map(|_| single(normals.next(&mut rng))).collect();
        let mut values = Vec::new();
        for _ in 0..rows {
            let row: Vec<f64> = (0..width).map(|_| 0.1 + uniform(&mut rng)).collect();
            let sum: f64 = row.iter().sum();
            values.extend(row.iter().map(|value| single(value / sum)));
        }
        let labels = classes.then(|| (0..rows).map(|_| below(&mut rng, width)).collect());
        let weights = weighted.then(|| (0..rows).map(|_| single(0.1 + 2.0 * uniform(&mut rng))).collect());
        Case { rows, width, y, values, labels, weights }
    }

    /// Some of the rows.
    #[inline]
    pub(super) fn part(&self, rows: core::ops::Range<usize>) -> Self {
        let values = rows.start * self.width..rows.end * self.width;
        Case {
            rows: rows.len(),
            width: self.width,
            y: self.y[values.clone()].to_vec(),
            values: self.values[values].to_vec(),
            labels: self.labels.as_ref().map(|labels| labels[rows.clone()].to_vec()),
            weights: self.weights.as_ref().map(|weights| weights[rows].to_vec()),
        }
    }

    pub(super) fn target<'a, T>(&'a self, values: &'a [T]) -> Target<'a, T> {
        self.labels.as_ref().map_or(Target::Values(values), |labels| Target::Classes(labels))
    }

    /// The loss, with the text of a panic if there is one.
    pub(super) fn of<T: Scalar>(&self, loss: &dyn Loss<T>, dy: &mut [T]) -> Result<Result<T, Error>, String> {
        let convert = |values: &[f64]| values.iter().map(|&value| scalar(value)).collect::<Vec<T>>();
        self.lifted(loss, &convert(&self.y), dy)
    }

    /// The loss of outputs that are not plain numbers.
    pub(super) fn lifted<T: Scalar>(
        &self,
        loss: &dyn Loss<T>,
        y: &[T],
        dy: &mut [T],
    ) -> Result<Result<T, Error>, String> {
        let convert = |values: &[f64]| values.iter().map(|&value| scalar(value)).collect::<Vec<T>>();
        let (values, weights) = (convert(&self.values), self.weights.as_ref().map(|weights| convert(weights)));
        caught(|| loss.evaluate(self.width, y, self.target(&values), weights.as_deref(), dy))
    }

    #[inline]
    pub fn described(&self) -> String {
        let Case { y, values, labels, weights, .. } = self;
        let target = labels
            .as_ref()
            .map_or_else(|| format!("targets {}", listed(values)), |labels| format!("classes {labels:?}"));
        let weights = weights.as_ref().map_or_else(String::new, |weights| format!(", row weights {weights:?}"));
        format!("y = {}, {target}{weights}", listed(y))
    }
}
