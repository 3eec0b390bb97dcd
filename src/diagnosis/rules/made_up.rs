//! Whether updates may make up for a fault that is measured or predicted before the first of them.

use super::{depth::Depth, gates::carrying, links::Row};
use crate::{
    diagnosis::{Cause, Diagnosis, Severity},
    monitor::Factor,
};
use core::f64::consts::LN_10;

/// Returns the least number of updates in which an optimizer that divides by the size of the gradient makes up for
/// `decades` over `layers` layers.
///
/// Such an optimizer moves what each layer computes by the same share, whatever the gradient. The shares of L layers
/// add up in the outputs, so that a stable update moves each layer by at most 1/L. D decades take `L D ln 10` of
/// them.
fn updates_to_make_up(decades: f64, layers: usize) -> f64 {
    decades.abs() * LN_10 * layers.max(1) as f64
}

impl Diagnosis<'_> {
    /// Whether the run has updates.
    fn has_run(&self) -> bool {
        self.statistics.is_some_and(|statistics| statistics.run().updates() > 0)
    }

    /// Whether an optimizer that divides by the size of the gradient may make up for the size that `depth` shows, of
    /// a fault with this `cause`.
    ///
    /// The transforms of the run must not exclude such an optimizer. A gradient that explodes is only too large for
    /// it. For one that vanishes it may need four times [`patience`](crate::diagnosis::Thresholds::patience) updates.
    /// [After that](Self::makes_up) the run itself shows whether it made up for it: if it does not [stand at
    /// chance](Self::stands_at_chance).
    ///
    /// If the optimizer is not known, the fault must be [one of sizes alone](Self::is_of_sizes), and take at most
    /// `patience` updates: a run is not judged before.
    pub(super) fn may_make_up(&self, depth: &Depth, cause: Cause) -> bool {
        let patience = self.thresholds.patience as f64;
        let layers = |factor| depth.rows.iter().filter(|row| row.factor == factor).count();
        let layers = usize::max(layers(Factor::Activation), layers(Factor::Weights));
        let takes = if depth.total > 0.0 { 0.0 } else { updates_to_make_up(depth.total, layers) };
        match self.is_proportional {
            Some(true) => false,
            Some(false) if self.has_run() && !self.makes_up() => !self.stands_at_chance(),
            Some(false) => takes <= 4.0 * patience,
            None => !self.has_run() && takes <= patience && self.is_of_sizes(depth, cause),
        }
    }

    /// Whether weights, activations and branches of usual sizes, each by a little, make most of the decades of
    /// `depth`. One small layer among usual ones is no such fault: the biases behind it outweigh what it computes with
    /// the first update. Neither are large weights, beside which such updates are short, nor masks.
    fn is_of_sizes(&self, depth: &Depth, cause: Cause) -> bool {
        let is_own = |row: &&Row| row.factor != Factor::Other;
        let own: f64 = depth.rows.iter().filter(is_own).map(|row| row.decades).sum();
        let is_small = matches!(cause, Cause::SmallWeights | Cause::SaturatingActivation) && depth.total < 0.0;
        let is_loud = cause == Cause::LoudBranches && depth.total > 0.0;
        (is_small || is_loud) && own / depth.total >= self.thresholds.share
    }

    /// Whether an optimizer that divides by the size of the gradient may still need the losses of four times
    /// [`patience`](crate::diagnosis::Thresholds::patience) to make up for it.
    pub(in crate::diagnosis) fn makes_up(&self) -> bool {
        let losses = self.statistics.map_or(0, |statistics| statistics.run().recent_loss().count());
        self.is_proportional == Some(false) && losses < 4 * self.thresholds.patience
    }

    /// Returns the severity of a state gradient that vanishes over the span, by a rule that found `severity`. A
    /// warning is a note if a gate that is open carries the state of the layer: its own gradient comes from the near
    /// steps, and it may open further. It stays a warning in a run that [stands at
    /// chance](Self::stands_at_chance) although all updates together were larger than the parameters: many tasks begin
    /// on a plateau.
    pub(super) fn of_open_gate(&self, layer: &str, severity: Severity) -> Severity {
        let is_open = || carrying(self, layer).is_some_and(|(_, open)| open >= self.thresholds.shut_gate);
        let harms = || self.stands_at_chance() && self.way().is_some_and(|way| way > 0.0);
        if severity == Severity::Warning && is_open() && !harms() { Severity::Note } else { severity }
    }
}
