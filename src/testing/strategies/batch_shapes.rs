//! Strategies that draw batch shapes: batches, sequences and ragged sequences.

use super::{Limits, widths};
use crate::batch_shape::BatchShape;
use alloc::vec::Vec;
use proptest::{
    collection::vec,
    prop_oneof,
    strategy::{BoxedStrategy, Strategy},
};

/// Lengths of 1 to `max_batch` sequences, each from 1 to `max_steps` time steps, longest first. The number of
/// sequences is at most the number of samples in [`Limits::MOST`].
pub fn lengths(max_batch: usize, max_steps: usize) -> BoxedStrategy<Vec<usize>> {
    // Each sequence is drawn as the difference to the next shorter one, so that lengths shrink towards each other.
    let longer = prop_oneof![0..=1usize, widths(max_steps).prop_map(|steps| steps - 1)];
    let added = move |longer: Vec<usize>| {
        let mut steps = 1usize;
        let mut lengths: Vec<usize> = Vec::new();
        for by in longer {
            steps = steps.saturating_add(by).min(max_steps.max(1));
            lengths.insert(0, steps);
        }
        lengths
    };
    vec(longer, 1..=max_batch.clamp(1, Limits::MOST.batch)).prop_map(added).boxed()
}

/// A [`BatchShape`] that owns its lengths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedBatchShape {
    /// The given number of samples, each of one time step.
    Batch(usize),
    /// Sequences of equal length.
    Sequences {
        /// The number of samples.
        batch: usize,
        /// The number of time steps of each sample.
        steps: usize,
    },
    /// Sequences of these lengths, longest first.
    Ragged(Vec<usize>),
}

impl OwnedBatchShape {
    /// Returns the shape.
    pub fn shape(&self) -> BatchShape<'_> {
        match self {
            OwnedBatchShape::Batch(batch) => BatchShape::batch(*batch),
            OwnedBatchShape::Sequences { batch, steps } => BatchShape::sequences(*batch, *steps),
            OwnedBatchShape::Ragged(lengths) => BatchShape::ragged(lengths),
        }
    }
}

impl<'a> From<&'a OwnedBatchShape> for BatchShape<'a> {
    fn from(owned: &'a OwnedBatchShape) -> Self {
        owned.shape()
    }
}

/// Batches, sequences and ragged sequences of up to `max_batch` samples and `max_steps` time steps.
pub fn batch_shapes(max_batch: usize, max_steps: usize) -> BoxedStrategy<OwnedBatchShape> {
    prop_oneof![
        widths(max_batch).prop_map(OwnedBatchShape::Batch),
        (widths(max_batch), widths(max_steps)).prop_map(|(batch, steps)| OwnedBatchShape::Sequences { batch, steps }),
        lengths(max_batch, max_steps).prop_map(OwnedBatchShape::Ragged),
    ]
    .boxed()
}
