//! How updates are recorded.

use super::{Communication, Spike, Step};
use crate::clock::Clock;

/// How the current updates are recorded.
#[derive(Clone, Copy, Default)]
pub(super) struct Watch {
    /// Whether each update gets a [`Step`] record, even if no monitor is active.
    pub always: bool,
    /// When the update began; `None` if updates are not timed.
    pub started: Option<Clock>,
    /// The number of samples of the update.
    pub samples: usize,
    /// The bytes and the time of the update's messages between ranks; `None` on one rank.
    pub communication: Option<Communication>,
    /// The norm of the gradient of the update, if it is known before the record of the update is made.
    pub norm: Option<f64>,
    /// The origin of a spike of the gradient of the update; `None` if its norm is no spike.
    pub spike: Option<Spike>,
    /// The number of updates made when a check last found all parameters finite. It is 0 before the first check, and
    /// after the optimizer was restored to an earlier number of updates.
    pub finite_after: u64,
    /// The record of the last update, until the callback receives it.
    pub step: Option<Step>,
}

impl Watch {
    /// Sets how the next updates are recorded, in the fields `always` and `started`, and discards the record of the
    /// last update.
    pub fn begin(&mut self, always: bool, started: Option<Clock>) {
        (self.always, self.started, self.step) = (always, started, None);
    }
}
