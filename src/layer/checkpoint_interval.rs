//! How often a checkpointed layer keeps its state, as data.

#[cfg(doc)]
use crate::recurrent::Checkpointed;

/// The number of steps between the states that [`Checkpointed`] keeps. It is rounded up to a multiple of the number of
/// steps whose gradients form one partial sum, in the layer inside with the most such steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum CheckpointInterval {
    /// `⌊√T⌋` for a sequence of T steps, so that memory grows with √T (Chen et al. 2016, §4.1).
    SquareRoot,
    /// The given number of steps, at least 1.
    Steps(usize),
    /// For each pass, the largest power of two of steps with which [`Checkpointed`] itself takes at most so many
    /// bytes: states, the saved values and outputs of a segment, and gradients. Where no interval takes so few, it is
    /// one that takes the fewest. The scratch of the layers inside, which hardly grows with the steps, is not counted.
    Bytes(usize),
}
