//! Batches, sequences and ragged sequences.

use super::{Limits, widths};
use crate::batch_shape::BatchShape;
use alloc::vec::Vec;
use proptest::{
    collection::vec,
    prop_oneof,
    strategy::{BoxedStrategy, Strategy},
};

/// Lengths of 1 to `max_batch` sequences, each from 1 to `max_steps`, longest first; of no more sequences than
/// [`Limits::MOST`] has samples.
pub fn lengths(max_batch: usize, max_steps: usize) -> BoxedStrategy<Vec<usize>> {
    let sorted = |mut lengths: Vec<usize>| {
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        lengths
    };
    vec(widths(max_steps), 1..=max_batch.clamp(1, Limits::MOST.batch)).prop_map(sorted).boxed()
}

/// An [`BatchShape`] that owns its lengths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedExtent {
    /// As many samples of one step.
    Batch(usize),
    /// Sequences of equal length.
    Sequences {
        /// Samples.
        batch: usize,
        /// Steps of each.
        steps: usize,
    },
    /// Sequences of these lengths, longest first.
    Ragged(Vec<usize>),
}

impl OwnedExtent {
    /// The extent.
    pub fn extent(&self) -> BatchShape<'_> {
        match self {
            OwnedExtent::Batch(batch) => BatchShape::batch(*batch),
            OwnedExtent::Sequences { batch, steps } => BatchShape::sequences(*batch, *steps),
            OwnedExtent::Ragged(lengths) => BatchShape::ragged(lengths),
        }
    }
}

impl<'a> From<&'a OwnedExtent> for BatchShape<'a> {
    fn from(owned: &'a OwnedExtent) -> Self {
        owned.extent()
    }
}

/// Batches, sequences and ragged sequences of up to so many samples and steps.
pub fn extents(max_batch: usize, max_steps: usize) -> BoxedStrategy<OwnedExtent> {
    prop_oneof![
        widths(max_batch).prop_map(OwnedExtent::Batch),
        (widths(max_batch), widths(max_steps)).prop_map(|(batch, steps)| OwnedExtent::Sequences { batch, steps }),
        lengths(max_batch, max_steps).prop_map(OwnedExtent::Ragged),
    ]
    .boxed()
}
