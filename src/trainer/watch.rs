//! How updates are recorded: the data from which the [`Step`] record of an update is made.

use super::{Communication, Spike, Step};
use crate::clock::Clock;

/// How the current updates are recorded: the data from which a [`Step`] record is made, and the last record.
#[derive(Clone, Copy, Default)]
pub(super) struct Watch {
    /// Whether each update gets a [`Step`] record, even if no monitor is active.
    pub always: bool,
    /// The time at which the update began; `None` if updates are not timed.
    pub started: Option<Clock>,
    /// The number of samples of the update.
    pub samples: usize,
    /// The bytes and the time of the update's messages between ranks; `None` on one rank.
    pub communication: Option<Communication>,
    /// The gradient norm of the update, if it was computed before the record of the update; otherwise `None`.
    pub norm: Option<f64>,
    /// The origin of a spike (an unusually large gradient) in the update; `None` if the gradient norm is no spike.
    pub spike: Option<Spike>,
    /// The number of updates made when a check last found all parameters finite. It is 0 before the first check, and
    /// after the optimizer was restored to an earlier number of updates.
    pub finite_after: u64,
    /// The record of the last update, until the callback receives it; `None` without a record.
    pub step: Option<Step>,
}

impl Watch {
    /// Sets how the next updates are recorded, in the fields `always` and `started`, and discards the record of the
    /// last update.
    pub fn begin(&mut self, always: bool, started: Option<Clock>) {
        (self.always, self.started, self.step) = (always, started, None);
    }
}
