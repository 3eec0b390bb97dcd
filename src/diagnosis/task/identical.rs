//! Inputs that are identical, and the lowest loss of any function of them.

use super::{Rows, bounds};
use crate::{dataset::Dataset, error::Error, scalar::Scalar};
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
    /// The number of different inputs.
    pub distinct: usize,
    /// The number of columns of the inputs that vary.
    pub varying: usize,
    /// Whether most samples outside the largest group, too, share their inputs with another one.
    pub repeats: bool,
}

impl Identical {
    /// Whether there are fewer different inputs than columns that vary, so that the effects of these are confounded:
    /// inputs of few values that are chosen to tell them apart are more.
    pub fn is_confounded(&self) -> bool {
        self.repeats && self.distinct < self.varying
    }
}

/// Returns, for each of `count` samples, the first with the same inputs. `inputs` returns those of a sample.
fn groups<'x, T: PartialEq + 'x>(count: usize, inputs: impl Fn(usize) -> &'x [T]) -> Vec<usize> {
    let mut groups: Vec<usize> = Vec::new();
    for at in 0..count {
        let same = groups.iter().enumerate().find(|&(first, group)| first == *group && inputs(first) == inputs(at));
        groups.push(same.map_or(at, |(first, _)| first));
    }
    groups
}

/// Returns the samples with identical inputs among `samples`; `None` if there are none, for targets with one row per
/// step, and for ragged data.
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
    let varying = (0..values).filter(|&column| (1..count).any(|at| inputs(at)[column] != inputs(0)[column])).count();
    let others = || groups.iter().filter(|&&group| group != most);
    let repeats = 2 * others().filter(|&&group| sizes[group] > 1).count() > others().count();
    let of_group = samples.iter().zip(&groups).filter(|&(_, &group)| group == most).map(|(&sample, _)| sample);
    let (samples, least) = (of_group.collect(), bounds::constant(rows, Some(&groups))?);
    Ok(Some(Identical { samples, compared: count, least, distinct, varying, repeats }))
}
