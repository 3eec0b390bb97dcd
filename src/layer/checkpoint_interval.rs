//! The number of time steps between the states that a checkpointed layer stores, as data.

#[cfg(doc)]
use crate::recurrent::Checkpointed;

/// The number of time steps between the states that [`Checkpointed`] keeps. It is rounded up to whole blocks: a block
/// is the consecutive time steps whose gradients a recurrent layer adds to one partial sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum CheckpointInterval {
    /// `⌊√T⌋` for a sequence of T steps, so that memory grows with √T (Chen et al. 2016, §4.1).
    SquareRoot,
    /// The given number of steps, at least 1.
    Steps(usize),
    /// For each pass, the largest power of two of time steps for which [`Checkpointed`] itself uses at most this
    /// number of bytes: states, the saved values and outputs of a segment, and gradients. If every interval uses
    /// more, one that uses the fewest bytes. The scratch of the layers inside, which hardly grows with the steps, is
    /// not counted.
    Bytes(usize),
}
