//! The mask of trainable blocks.

use core::fmt::Debug;

/// Which of a layer's blocks are trained, in the order of [`Layer::blocks`](super::Layer::blocks).
#[derive(Clone, Copy, Debug, Default)]
pub struct TrainableMask<'a> {
    flags: &'a [bool],
    first: usize,
    /// Whether those without a flag are left out.
    none: bool,
}

impl<'a> TrainableMask<'a> {
    /// All blocks.
    pub const ALL: TrainableMask<'static> = TrainableMask { flags: &[], first: 0, none: false };

    /// No block.
    pub(crate) const NONE: TrainableMask<'static> = TrainableMask { flags: &[], first: 0, none: true };

    /// One flag a block; none at all means all are trained.
    pub const fn new(flags: &'a [bool]) -> Self {
        TrainableMask { flags, first: 0, none: false }
    }

    /// Whether block `i` is trained.
    pub fn block(self, i: usize) -> bool {
        self.flags.get(self.first.saturating_add(i)).copied().unwrap_or(!self.none)
    }

    /// The flags of a part whose blocks begin at `first`.
    #[must_use]
    pub const fn part(self, first: usize) -> Self {
        TrainableMask { first: self.first.saturating_add(first), ..self }
    }

    /// Whether any of the first `count` blocks is trained.
    pub fn any(self, count: usize) -> bool {
        // Beyond the flags all are alike.
        (0..count.min(self.flags.len().saturating_add(1))).any(|i| self.block(i))
    }
}
