//! Inputs that are identical, and the lowest loss of any function of them.

use super::{Rows, bounds};
use crate::{dataset::Dataset, error::Error, loss::Target, scalar::Scalar};
use alloc::{vec, vec::Vec};

/// Samples of which some have the same inputs.
#[derive(Clone, Debug)]
pub(in crate::diagnosis) struct Identical {
    /// The indices, in the data, of the samples with the inputs that occur most often.
    pub samples: Vec<usize>,
    /// The number of samples that were compared.
    pub compared: usize,
    /// The lowest loss of outputs that are the same for identical inputs.
    pub least: f64,
    /// The number of different inputs among the compared samples.
    pub distinct: usize,
    /// The number of different classes of the compared samples; `None` for targets that are values.
    pub classes: Option<usize>,
    /// Whether most of the compared samples without the most frequent inputs also share their inputs with another
    /// sample.
    pub repeats: bool,
    /// Whether the most frequent inputs are all 0, as in the empty rows of a sparse table.
    pub are_empty: bool,
}

impl Identical {
    /// Whether the inputs repeat, and there are fewer different inputs than classes, so that no function of the
    /// inputs can return all classes.
    pub fn is_confounded(&self) -> bool {
        self.repeats && self.classes.is_some_and(|classes| self.distinct < classes)
    }

    /// Whether the inputs may be equal by choice, such as the settings of an experiment or a redundant encoding. For
    /// targets that are values, this holds unless more than half of the samples have the same inputs.
    pub fn may_be_chosen(&self) -> bool {
        let has_few_alike = self.classes.is_none() && 2 * self.samples.len() <= self.compared;
        self.repeats && !self.is_confounded() || has_few_alike
    }
}

/// Returns, for each of `count` samples, the index of the first sample with the same inputs. `inputs` returns the
/// inputs of a sample, by its index.
fn groups<'x, T: PartialEq + 'x>(count: usize, inputs: impl Fn(usize) -> &'x [T]) -> Vec<usize> {
    let mut groups: Vec<usize> = Vec::new();
    for at in 0..count {
        let same = groups.iter().enumerate().find(|&(first, group)| first == *group && inputs(first) == inputs(at));
        groups.push(same.map_or(at, |(first, _)| first));
    }
    groups
}

/// Returns the samples with identical inputs among `samples`; `None` if there are none, for targets with one row per
/// time step, and for sequences of different lengths.
pub(super) fn find<T: Scalar>(
    data: &Dataset<'_, T>,
    samples: &[usize],
    rows: &Rows<'_, T>,
) -> Result<Option<Identical>, Error> {
    let (count, ragged) = (samples.len(), (0..data.samples()).any(|it| data.length(it) != data.steps()));
    if count < 2 || ragged || rows.count != count {
        return Ok(None);
    }
    let values = data.inputs().len() / data.samples();
    let inputs = |at: usize| &data.inputs()[samples[at] * values..][..values];
    let groups = groups(count, inputs);
    let mut sizes = vec![0; count];
    groups.iter().for_each(|&group| sizes[group] += 1);
    let distinct = sizes.iter().filter(|&&size| size > 0).count();
    let Some(most) = (0..count).rev().max_by_key(|&group| sizes[group]).filter(|_| distinct < count) else {
        return Ok(None);
    };
    let classes = match data.targets() {
        Some(Target::Classes(classes)) => {
            let mut own: Vec<usize> = samples.iter().map(|&sample| classes[sample]).collect();
            own.sort_unstable();
            own.dedup();
            Some(own.len())
        }
        _ => None,
    };
    let others = || groups.iter().filter(|&&group| group != most);
    let repeats = 2 * others().filter(|&&group| sizes[group] > 1).count() > others().count();
    let are_empty = inputs(most).iter().all(|&x| x == T::zero());
    let of_group = samples.iter().zip(&groups).filter(|&(_, &group)| group == most).map(|(&sample, _)| sample);
    let (samples, least) = (of_group.collect(), bounds::constant(rows, Some(&groups))?);
    Ok(Some(Identical { samples, compared: count, least, distinct, classes, repeats, are_empty }))
}
