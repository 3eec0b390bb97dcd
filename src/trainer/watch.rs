//! Whether and how updates are recorded.

use super::{Communication, Step};
use crate::clock::Clock;

/// Whether and how the current updates are recorded.
#[derive(Clone, Copy, Default)]
pub(super) struct Watch {
    /// Whether updates have a record without an active monitor, too.
    pub always: bool,
    /// When the update began; `None` if updates are not timed.
    pub started: Option<Clock>,
    /// The number of samples of the update.
    pub samples: usize,
    /// Its messages between ranks.
    pub communication: Option<Communication>,
    /// The record of the last update, until it is passed on.
    pub step: Option<Step>,
}

impl Watch {
    /// Sets how the next updates are recorded.
    pub fn begin(&mut self, always: bool, started: Option<Clock>) {
        (self.always, self.started, self.step) = (always, started, None);
    }
}
