//! The mask that states which parameter blocks of a layer are trainable.

use core::fmt::Debug;

/// A mask that states which parameter blocks of a layer are trainable, in the order of
/// [`Layer::blocks`](super::Layer::blocks).
#[derive(Clone, Copy, Debug, Default)]
pub struct TrainableMask<'a> {
    flags: &'a [bool],
    first: usize,
    /// Whether blocks without a flag of their own are frozen; otherwise they are trainable.
    none: bool,
}

impl<'a> TrainableMask<'a> {
    /// The mask under which all blocks are trainable.
    pub const ALL: TrainableMask<'static> = TrainableMask { flags: &[], first: 0, none: false };

    /// The mask under which no block is trainable.
    pub(crate) const NONE: TrainableMask<'static> = TrainableMask { flags: &[], first: 0, none: true };

    /// Creates the mask with one flag per block, `true` for a trainable block. With an empty slice all blocks are
    /// trainable.
    pub const fn new(flags: &'a [bool]) -> Self {
        TrainableMask { flags, first: 0, none: false }
    }

    /// Whether block `i` of the layer is trainable.
    pub fn block(self, i: usize) -> bool {
        self.flags.get(self.first.saturating_add(i)).copied().unwrap_or(!self.none)
    }

    /// Returns the mask of a layer inside this one, whose blocks begin at index `first` of this layer's blocks.
    #[must_use]
    pub const fn part(self, first: usize) -> Self {
        TrainableMask { first: self.first.saturating_add(first), ..self }
    }

    /// Whether any of the first `count` blocks is trainable.
    pub fn any(self, count: usize) -> bool {
        // All blocks beyond the flags are equally trainable or frozen.
        (0..count.min(self.flags.len().saturating_add(1))).any(|i| self.block(i))
    }
}
