//! Conclusions from the loss curve of a run: whether the loss fell, stands still, or shows that something was
//! learned.

use super::steps::matrices;
use crate::{
    diagnosis::{Diagnosis, difference::is_resumed, figures::number, task::LossBounds},
    monitor::{BlockStatistics, FITTED, RunStatistics, part_of},
};
use alloc::{format, string::String};

/// The fraction of an earlier loss above which a later loss has hardly fallen. Both are measured from the lowest loss
/// of any outputs, if that is known.
const STILL: f64 = 0.9;
/// A loss this number of standard errors below that of constant outputs is certainly below it: by chance, one run of
/// a thousand is.
const CERTAIN: f64 = 3.0;
/// The number of last losses over which [`falls`](Diagnosis::falls) measures the fall of the loss.
const LATELY: f64 = 10.0;

impl Diagnosis<'_> {
    /// Returns the lowest loss of constant outputs and that of any outputs, for the targets of the data. `None`
    /// unless [`task`](Self::task) measured them and the loss is a mean: a sum depends on the number of rows.
    fn bounds(&self) -> Option<&LossBounds> {
        self.task.as_ref()?.all.as_ref()
    }

    /// Returns the lowest loss of any outputs: 0 for a squared error, the entropy of the targets for a cross-entropy.
    /// `None` unless [`task`](Self::task) measured it and it is finite.
    fn floor(&self) -> Option<f64> {
        self.bounds()?.floor
    }

    /// Returns `floor + share · (loss − floor)`, with floor the lowest loss of any outputs. If that is not known or
    /// not below `loss`, returns the fraction `share` of `loss` itself, by [`part_of`].
    pub(super) fn part(&self, loss: f64, share: f64) -> f64 {
        self.bounds().map_or_else(|| part_of(loss, share), |bounds| bounds.part(loss, share))
    }

    /// Returns the loss of the best constant outputs. `None` if it was not measured, or if other losses cannot be
    /// compared with it: it is not above the lowest loss of any outputs, or, if that is not known, not above 0.
    pub(super) fn chance(&self) -> Option<f64> {
        self.bounds()?.chance()
    }

    /// Returns the loss from which a fall counts: the first loss, or that of the best constant outputs if it is lower.
    /// A fall to the loss of constant outputs needs no input, so it is not counted. For a [resumed](is_resumed) run
    /// the loss of constant outputs counts in any case: a run that begins below it has learned already. `None` without
    /// a reported loss.
    pub(super) fn start(&self) -> Option<f64> {
        let first = self.statistics?.run().first_loss()?;
        Some(match self.chance() {
            Some(chance) if is_resumed(self) => chance,
            Some(chance) => chance.min(first),
            None => first,
        })
    }

    /// Whether the loss has clearly [fallen](crate::diagnosis::Thresholds::fallen) from its [start](Self::start).
    pub(super) fn has_fallen(&self) -> bool {
        let recent = self.statistics.map(|statistics| statistics.run().recent_loss());
        recent.zip(self.start()).is_some_and(|(recent, start)| {
            recent.count() > 0 && recent.mean() < self.part(start, self.thresholds.fallen[0])
        })
    }

    /// Returns a phrase with the recent loss, and the loss below which it would have [fallen](Self::has_fallen).
    pub(super) fn not_fallen(&self) -> String {
        let run = self.statistics.map(|statistics| statistics.run());
        let (first, recent) =
            (run.and_then(|run| run.first_loss()), run.map_or(f64::NAN, |run| run.recent_loss().mean()));
        let start = self.start().unwrap_or(f64::NAN);
        let what =
            if Some(start) == first { "its first value" } else { "that of outputs that are the same for all inputs" };
        let above = match self.floor().filter(|floor| floor.abs() > 0.01 * start.abs()) {
            Some(floor) => format!(" above {}, the lowest of any outputs", number(floor)),
            None => String::new(),
        };
        format!(
            "the loss, lately {}, is not below {}, {:.0} % of {}, {what}{above}",
            number(recent),
            number(self.part(start, self.thresholds.fallen[0])),
            100.0 * self.thresholds.fallen[0],
            number(start)
        )
    }

    /// Whether the outputs are near their targets: their root mean square [distance](RunStatistics::distance) is
    /// below the fraction [`FITTED`] of the standard deviation of the outputs over rows. If that is not known, their
    /// root mean square is used instead. Outputs with a large mean can be near every target and yet be the same for
    /// all inputs.
    pub(super) fn has_fitted(&self) -> bool {
        let spread = self.task.as_ref().and_then(|task| task.spread).unwrap_or(1.0);
        let distance = self.statistics.map(|statistics| statistics.run().distance());
        distance.is_some_and(|it| it.count() > 0 && it.mean() >= 0.0 && it.mean() < FITTED * spread)
    }

    /// Whether the loss [stagnates](RunStatistics::stagnates), with its fall measured from the lowest loss of any
    /// outputs if that is known.
    pub(super) fn stagnates(&self) -> bool {
        let run = self.statistics.map(|statistics| statistics.run());
        run.is_some_and(|run| run.stands_still(|loss| self.part(loss, STILL)) && !self.has_fitted())
    }

    /// Whether the loss has risen again: most of its fall from its [start](Self::start) is lost. Before, it had
    /// fallen as [`has_fallen`](Self::has_fallen) requires or, if the loss of constant outputs is not known, to below
    /// half of the [first loss](RunStatistics::has_relapsed). False for a loss that starts at the lowest loss of any
    /// outputs or below (at 0 or below where that is not known): nothing was learned.
    pub(super) fn has_relapsed(&self) -> bool {
        let Some(run) = self.statistics.map(|statistics| statistics.run()) else { return false };
        match self.start().filter(|_| self.chance().is_some()) {
            Some(start) => {
                let falls_from = start > self.floor().unwrap_or(0.0);
                falls_from && run.has_risen_to(start, self.part(start, self.thresholds.fallen[0]))
            }
            None => run.has_relapsed(),
        }
    }

    /// Whether the loss is falling: its mean over about five losses is more than a tenth below the highest such mean
    /// after each of the last ten losses.
    pub(super) fn falls(&self, run: &RunStatistics) -> bool {
        run.recent_loss().mean() < self.part(run.highest_lately(), STILL)
    }

    /// Whether the loss falls to `line` within at most four times
    /// [`patience`](crate::diagnosis::Thresholds::patience) more [training steps](Self::steps_to), at the rate at
    /// which it fell since it was `from`.
    pub(super) fn nears(&self, [from, line]: [f64; 2], run: &RunStatistics) -> bool {
        self.steps_to([from, line], run) <= (4 * self.thresholds.patience) as f64
    }

    /// Whether the loss falls to `line` within as many more [training steps](Self::steps_to) as were made.
    pub(super) fn comes_down(&self, line: f64, run: &RunStatistics) -> bool {
        let first = run.first_loss().unwrap_or(f64::NAN);
        self.steps_to([first, line], run) <= run.recent_loss().count() as f64
    }

    /// Returns the number of further training steps in which the loss falls from its recent mean to `line`, by the
    /// same factor per step as on average since the start, where it was `from`. If it recently [falls](Self::falls)
    /// faster, the recent factor is used. Losses are measured from the lowest loss of any outputs, if that is known.
    /// Infinite for a loss that does not fall.
    fn steps_to(&self, [from, line]: [f64; 2], run: &RunStatistics) -> f64 {
        let floor = self.floor().unwrap_or(0.0);
        let [from, highest, recent, line] =
            [from, run.highest_lately(), run.recent_loss().mean(), line].map(|loss| loss - floor);
        let since = libm::log(from / recent) / run.recent_loss().count().max(1) as f64;
        let lately = if self.falls(run) { libm::log(highest / recent) / LATELY } else { 0.0 };
        let (way, pace) = (libm::log(recent / line), since.max(lately));
        match pace > 0.0 {
            _ if way <= 0.0 => 0.0,
            true => way / pace,
            false => f64::INFINITY,
        }
    }

    /// Returns log10 of the largest total of relative updates of a weight matrix. The total is the sum, over all
    /// updates, of the norm of an update over the norm of the parameters. A matrix that began at 0 counts by its size
    /// over that of the largest matrix. −∞ if none has moved; `None` without updates, or without a matrix.
    pub(super) fn way(&self) -> Option<f64> {
        self.statistics.filter(|statistics| statistics.run().updates() > 0)?;
        let size = matrices(self).map(BlockStatistics::parameters).fold(0.0, f64::max);
        let way = |block: &BlockStatistics| match block.began_at_zero() {
            true => libm::log10(block.parameters() / size),
            false => block.way()[1],
        };
        matrices(self).filter(|block| !block.frozen()).map(way).reduce(f64::max)
    }

    /// Whether all updates together, as [measured](Self::way) relative to the weights, are
    /// [short](crate::diagnosis::Thresholds::short_way), so that the parameters are nearly the initial ones. Such a
    /// run is no evidence of harm by the network, only of small updates.
    pub(super) fn has_hardly_moved(&self) -> bool {
        self.way().is_some_and(|way| way < self.thresholds.short_way[0])
    }

    /// Whether the parameters have moved too little to change the loss: all updates together, as
    /// [measured](Self::way) relative to the weights, are below the geometric mean of the two limits of
    /// [`short_way`](crate::diagnosis::Thresholds::short_way). Changes of the mean loss are then noise of the
    /// batches.
    pub(super) fn has_no_course(&self) -> bool {
        let [seen, certain] = self.thresholds.short_way;
        self.way().is_some_and(|way| way < 0.5 * (seen + certain))
    }

    /// Whether the loss falls steadily, after four times [`patience`](crate::diagnosis::Thresholds::patience) losses:
    /// its mean over about 30 losses is the lowest of the run, and below nine tenths of the mean loss after ten
    /// passes. Noise alone rarely has its lowest mean at the end of the run: such a fall is real, however small the
    /// updates.
    pub(super) fn falls_steadily(&self, run: &RunStatistics) -> bool {
        let [settled, usual] = run.settled_and_usual_loss();
        let judged = run.recent_loss().count() >= 4 * self.thresholds.patience && run.is_at_its_lowest();
        judged && usual < self.part(settled, STILL)
    }

    /// Whether the loss on the data is [certainly](CERTAIN) below that of outputs that are the same for every row, by
    /// the standard error of their difference over samples. How far below depends on the noise of the targets, which
    /// no network learns. False where it was not measured, and for parameters that have [hardly
    /// moved](Self::has_hardly_moved).
    pub(super) fn beats_constants(&self) -> bool {
        let below = self.task.as_ref().and_then(|task| task.errors_below);
        below.is_some_and(|below| below > CERTAIN) && !self.has_hardly_moved()
    }

    /// Whether the run shows that something was learned. A fresh network can begin somewhat below the loss of constant
    /// outputs: if its parameters have hardly moved, such a loss does not count. If the loss of constant outputs is
    /// not known, only a resumed run counts as one that has learned.
    pub(super) fn has_learned(&self, run: &RunStatistics) -> bool {
        if self.beats_constants() {
            return true;
        }
        let Some(chance) = self.chance() else { return is_resumed(self) };
        let far = self.part(chance, self.thresholds.fallen[1]);
        let is_fresh = || self.has_hardly_moved() && run.recent_loss().mean() > far && !is_resumed(self);
        !self.learns_nothing(run) && !is_fresh()
    }

    /// Whether the run has [enough](crate::diagnosis::Thresholds::patience) losses to be judged.
    pub(super) fn has_patience(&self) -> bool {
        self.statistics.is_some_and(|it| it.run().recent_loss().count() >= self.thresholds.patience)
    }

    /// Whether the run makes no progress: it has [learned nothing](Self::learns_nothing), and its loss
    /// [stagnates](Self::stagnates) or has arrived at that of constant outputs. A run whose loss is still falling to
    /// that of constant outputs is not stuck.
    ///
    /// A run that is [certainly below](Self::beats_constants) constant outputs has learned something. This excuses
    /// findings that claim that nothing was learned, and no finding about a part of the network: the last layer alone
    /// may learn that little. These are judged by [`stands_at_chance`](Self::stands_at_chance).
    pub(super) fn is_stuck(&self) -> bool {
        self.stands_at_chance() && !self.beats_constants()
    }

    /// Whether the loss is [near](Self::is_near_chance) that of constant outputs, and [stagnates](Self::stagnates) or
    /// has arrived there: as [`is_stuck`](Self::is_stuck), also of a loss that is certainly below it, but hardly.
    pub(super) fn stands_at_chance(&self) -> bool {
        let Some(run) = self.statistics.map(|statistics| statistics.run()) else { return false };
        let arrived = self.chance().is_some_and(|chance| chance > self.part(run.recent_loss().mean(), STILL));
        self.is_near_chance(run) && (self.stagnates() || arrived && !self.has_fitted())
    }

    /// Whether the mean of recent losses, after [`patience`](crate::diagnosis::Thresholds::patience) losses, is above
    /// the fraction [`learned`](crate::diagnosis::Thresholds::learned) of the loss of the best constant outputs. Both
    /// are measured from the lowest loss of any outputs, if that is known. If the
    /// [loss of constant outputs](Self::chance) is not known, whether the loss [stagnates](Self::stagnates).
    /// False if the loss is [certainly below](Self::beats_constants) that of constant outputs.
    pub(super) fn learns_nothing(&self, run: &RunStatistics) -> bool {
        !self.beats_constants() && self.is_near_chance(run)
    }

    /// As [`learns_nothing`](Self::learns_nothing), but also true of a loss that is certainly, though hardly, below
    /// that of constant outputs.
    pub(super) fn is_near_chance(&self, run: &RunStatistics) -> bool {
        let lines = &self.thresholds;
        match (&self.task, self.chance()) {
            (Some(_), Some(constant)) => {
                let judged = run.recent_loss().count() >= lines.patience;
                judged && run.recent_loss().mean() > self.part(constant, lines.learned)
            }
            (_, None) | (None, _) => self.stagnates(),
        }
    }
}
