//! The learning rates of the last updates.

use super::RunStatistics;

/// The number of updates between two learning rates that are compared.
const WINDOW: usize = 10;

/// The learning rates that the trainer reported: those of the first update and of the last [`WINDOW`] updates.
#[derive(Clone, Debug)]
pub(super) struct Rates {
    recent: [f64; WINDOW],
    first: f64,
    last: f64,
    highest: f64,
    count: usize,
}

impl Default for Rates {
    fn default() -> Self {
        Rates { recent: [f64::NAN; WINDOW], first: f64::NAN, last: f64::NAN, highest: 0.0, count: 0 }
    }
}

impl Rates {
    /// Stores the learning rate of an update in place of the one [`WINDOW`] updates earlier.
    pub fn push(&mut self, rate: f64) {
        if self.count == 0 {
            self.first = rate;
        }
        self.recent[self.count % WINDOW] = rate;
        (self.last, self.highest, self.count) = (rate, self.highest.max(rate), self.count + 1);
    }

    /// Whether the last learning rate is the highest so far, and above the earliest of the last [`WINDOW`] rates.
    /// `None` before the second update.
    pub fn grow(&self) -> Option<bool> {
        let earliest = if self.count < WINDOW { self.first } else { self.recent[self.count % WINDOW] };
        (self.count > 1).then_some(self.last > earliest && self.last >= self.highest)
    }

    /// Returns the learning rates of the first and the last update; `None` before the first.
    pub fn ends(&self) -> Option<[f64; 2]> {
        (self.count > 0).then_some([self.first, self.last])
    }
}

impl RunStatistics {
    /// Whether the last learning rate is the highest so far, and above the earliest of the last ten; `None` before the
    /// second update, and if the trainer states no rates.
    pub(crate) fn rate_grows(&self) -> Option<bool> {
        self.rates.grow()
    }
    /// Returns the highest learning rate so far divided by the first; 1 if the trainer reports none.
    pub(crate) fn rate_rise(&self) -> f64 {
        let rise = self.rates.highest / self.rates.first;
        if rise >= 1.0 && rise.is_finite() { rise } else { 1.0 }
    }
    /// Returns the learning rates of the first and of the last update; `None` if the trainer states none.
    pub(crate) fn rates(&self) -> Option<[f64; 2]> {
        self.rates.ends()
    }
}
