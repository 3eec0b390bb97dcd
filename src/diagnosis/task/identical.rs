//! Inputs that are identical: the lowest loss of any function of them.

use super::{Rows, bounds};
use crate::{dataset::Dataset, error::Error, scalar::Scalar};
use alloc::{vec, vec::Vec};

/// A set of samples with the same inputs, more than half of those compared.
#[derive(Clone, Debug)]
pub(in crate::diagnosis) struct Identical {
    /// The indices, in the data, of the samples that have the same inputs.
    pub samples: Vec<usize>,
    /// The number of samples that were compared.
    pub compared: usize,
    /// The lowest loss of outputs that are the same for identical inputs.
    pub least: f64,
    /// Whether most of the other samples, too, share their inputs with another one.
    pub repeats: bool,
}

/// Returns the largest group of `samples` with identical inputs, if it has more than half of them. `None` for targets
/// with one row per step, ragged data, and fewer than two samples.
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
    // The first sample with the same inputs.
    let mut groups: Vec<usize> = Vec::new();
    for at in 0..count {
        let same = groups.iter().enumerate().find(|&(first, group)| first == *group && inputs(first) == inputs(at));
        groups.push(same.map_or(at, |(first, _)| first));
    }
    let mut sizes = vec![0; count];
    groups.iter().for_each(|&group| sizes[group] += 1);
    let Some(most) = (0..count).max_by_key(|&group| sizes[group]).filter(|&most| 2 * sizes[most] > count) else {
        return Ok(None);
    };
    let least = bounds::constant(rows, Some(&groups))?;
    let others = || groups.iter().filter(|&&group| group != most);
    let repeats = 2 * others().filter(|&&group| sizes[group] > 1).count() > others().count();
    let of_group = samples.iter().zip(&groups).filter(|&(_, &group)| group == most);
    Ok(Some(Identical { samples: of_group.map(|(&sample, _)| sample).collect(), compared: count, least, repeats }))
}
