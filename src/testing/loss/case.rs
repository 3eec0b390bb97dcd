//! Outputs and targets for the laws of a loss.

use crate::{
    error::Error,
    loss::{Loss, Target},
    random::{Normals, below, generator, uniform},
    scalar::{Scalar, scalar},
    testing::{caught, law::listed},
};
use alloc::{format, string::String, vec::Vec};

/// The kind of targets in a test case of a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Targets {
    /// A probability distribution in each row, which every loss of values accepts.
    Shares,
    /// Normal numbers.
    Signed,
    /// −1 and 1.
    Signs,
    /// Normal numbers times 1,000.
    Large,
    Zeros,
    /// 0 and 1, both of them.
    Binary,
    /// One 1 in each row, and zeros.
    OneHot,
    /// Whole numbers from 0 to 6.
    Counts,
    Classes,
}

impl Targets {
    pub(super) const ALL: [Targets; 9] = [
        Targets::Shares,
        Targets::Signed,
        Targets::Signs,
        Targets::Large,
        Targets::Zeros,
        Targets::Binary,
        Targets::OneHot,
        Targets::Counts,
        Targets::Classes,
    ];
}

/// The magnitude of the outputs in a test case of a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outputs {
    /// Normal numbers.
    Usual,
    /// Normal numbers times 30.
    Large,
    Zeros,
    /// Normal numbers, each times its own random factor, log-uniform from 0.01 to 10⁴.
    Mixed,
}

/// The arguments of a loss: outputs, their targets, and row weights.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub rows: usize,
    pub width: usize,
    /// The number of values in a row of targets.
    pub target_width: usize,
    pub y: Vec<f64>,
    /// Target values; not read if the targets are classes.
    pub values: Vec<f64>,
    pub labels: Option<Vec<usize>>,
    pub weights: Option<Vec<f64>>,
}

impl Case {
    /// Draws a random case with numbers that `f32` can represent. If `weighted`, rows have weights, and among more than
    /// two rows one has a large and one a small weight.
    #[inline]
    pub(super) fn draw(
        [rows, width]: [usize; 2],
        target_width: usize,
        targets: Targets,
        outputs: Outputs,
        weighted: bool,
        seed: u64,
    ) -> Self {
        let (mut rng, mut normals) = (generator(seed), Normals::new());
        let single = |value: f64| f64::from(value as f32);
        let y = (0..rows * width)
            .map(|_| {
                let size = match outputs {
                    Outputs::Usual => 1.0,
                    Outputs::Large => 30.0,
                    Outputs::Zeros => 0.0,
                    Outputs::Mixed => libm::pow(10.0, 6.0 * uniform(&mut rng) - 2.0),
                };
                single(size * normals.next(&mut rng))
            })
            .collect();
        let mut values = Vec::new();
        for _ in 0..rows {
            let row: Vec<f64> = (0..target_width).map(|_| 0.1 + uniform(&mut rng)).collect();
            let (sum, hot) = (row.iter().sum::<f64>(), below(&mut rng, target_width.max(1)));
            values.extend(row.into_iter().enumerate().map(|(i, value)| {
                single(match targets {
                    Targets::Shares | Targets::Classes => value / sum,
                    Targets::Signed => normals.next(&mut rng),
                    Targets::Signs => normals.next(&mut rng).signum(),
                    Targets::Large => 1e3 * normals.next(&mut rng),
                    Targets::Zeros => 0.0,
                    Targets::Binary => f64::from(value < 0.6),
                    Targets::OneHot => f64::from(i == hot),
                    Targets::Counts => libm::floor(6.3 * (value - 0.1)),
                })
            }));
        }
        let labels = (targets == Targets::Classes).then(|| {
            let mut labels: Vec<usize> = (0..rows).map(|_| below(&mut rng, width)).collect();
            // The labels include the first and the last class.
            labels[0] = if weighted { width - 1 } else { 0 };
            labels
        });
        let weights = weighted.then(|| {
            let mut weights: Vec<f64> = (0..rows).map(|_| single(0.1 + 2.0 * uniform(&mut rng))).collect();
            if rows > 2 {
                weights[1] *= 32.0;
                weights[rows - 1] /= 1024.0;
            }
            weights
        });
        Case { rows, width, target_width, y, values, labels, weights }
    }

    /// Returns the case with every other output replaced by its target, where a target has a value for it.
    pub(super) fn with_outputs_at_targets(&self) -> Self {
        let mut case = self.clone();
        if self.labels.is_none() && self.target_width >= self.width {
            for (row, y) in case.y.chunks_mut(self.width.max(1)).enumerate() {
                let target = &self.values[row * self.target_width..];
                y.iter_mut().zip(target).step_by(2).for_each(|(y, &target)| *y = target);
            }
        }
        case
    }

    /// Returns the case restricted to the given rows.
    #[inline]
    pub(super) fn part(&self, rows: core::ops::Range<usize>) -> Self {
        let of = |width: usize| rows.start * width..rows.end * width;
        Case {
            rows: rows.len(),
            width: self.width,
            target_width: self.target_width,
            y: self.y[of(self.width)].to_vec(),
            values: self.values[of(self.target_width)].to_vec(),
            labels: self.labels.as_ref().map(|labels| labels[rows.clone()].to_vec()),
            weights: self.weights.as_ref().map(|weights| weights[rows].to_vec()),
        }
    }

    /// Returns the largest magnitude of a row weight, at least 1.
    #[inline]
    pub(super) fn weight(&self) -> f64 {
        self.weights.iter().flatten().fold(1.0, |most: f64, weight| most.max(weight.abs()))
    }

    pub(super) fn target<'a, T>(&'a self, values: &'a [T]) -> Target<'a, T> {
        self.labels.as_ref().map_or(Target::Values(values), |labels| Target::Classes(labels))
    }

    /// Evaluates the loss in `T`, and overwrites `dy` with its gradient. The outer error is the text of a panic.
    pub(super) fn of<T: Scalar>(&self, loss: &dyn Loss<T>, dy: &mut [T]) -> Result<Result<T, Error>, String> {
        let convert = |values: &[f64]| values.iter().map(|&value| scalar(value)).collect::<Vec<T>>();
        self.lifted(loss, &convert(&self.y), dy)
    }

    /// Evaluates the loss on the outputs `y`, such as dual numbers, in place of those of the case, and overwrites `dy`
    /// with its gradient. The outer error is the text of a panic.
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
