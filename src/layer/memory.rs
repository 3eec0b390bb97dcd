//! Sizes of the buffers that a layer asks for.

use core::fmt::Debug;

/// Memory a layer needs for a pass, in values. It must not shrink when batch or steps grow.
///
/// A network needs more scratch for several threads, which a layer of yours with others inside does not see: let it hand on
/// all that its own part leaves of the scratch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemorySizes {
    /// Answers from the forward to the backward pass; 0 for [`Mode::Infer`](super::Mode::Infer).
    pub saved: usize,
    /// Free for use within one call, forward or backward.
    pub scratch: usize,
    /// State per sample that goes from window to window (h, c).
    pub state: usize,
}

impl MemorySizes {
    /// Memory of those sizes.
    pub const fn new(saved: usize, scratch: usize, state: usize) -> Self {
        MemorySizes { saved, scratch, state }
    }
}
