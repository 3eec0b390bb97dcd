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
    /// The rate of the last update whose loss brought the mean loss to its lowest value, and the highest rate since;
    /// both NaN before the first such update.
    since_lowest: [f64; 2],
    count: usize,
}

impl Default for Rates {
    fn default() -> Self {
        let [first, last, since] = [f64::NAN; 3];
        Rates { recent: [f64::NAN; WINDOW], first, last, highest: 0.0, since_lowest: [since; 2], count: 0 }
    }
}

impl Rates {
    /// Stores the learning rate of an update in place of the one [`WINDOW`] updates earlier. `is_lowest` is whether
    /// the loss of the update brought the mean loss to its lowest value.
    pub fn push(&mut self, rate: f64, is_lowest: bool) {
        if self.count == 0 {
            self.first = rate;
        }
        let [at_lowest, since] = self.since_lowest;
        self.since_lowest = if is_lowest { [rate; 2] } else { [at_lowest, since.max(rate)] };
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
    /// Returns the highest learning rate; `None` if the trainer states none.
    pub(crate) fn highest_rate(&self) -> Option<f64> {
        self.rates.ends().map(|_| self.rates.highest)
    }
    /// Returns the learning rate at which the mean of about 30 losses was last at its lowest, and the highest rate
    /// since; `None` before ten losses, and if the trainer states no rates.
    pub(crate) fn rates_since_lowest_loss(&self) -> Option<[f64; 2]> {
        Some(self.rates.since_lowest).filter(|[at_lowest, _]| !at_lowest.is_nan())
    }
    /// Returns the learning rates of the first and of the last update; `None` if the trainer states none.
    pub(crate) fn rates(&self) -> Option<[f64; 2]> {
        self.rates.ends()
    }
}
