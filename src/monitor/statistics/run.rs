//! Statistics of a whole run: loss, gradient norm, clipping.

use super::{
    RunningMoments,
    distance::{Distance, FITTED, part_of},
    jumps::Jumps,
    log_norm::{KEEP, LogNorm, WARM_UP},
    mixing::Mixing,
    non_finite::{NonFinite, NonFiniteOrigin},
    rates::Rates,
    recent_means::{RecentMeans, SETTLED},
};
use crate::{
    kernel::reduce::Survey,
    monitor::{
        Link,
        progress::{Spike, Step},
    },
    scalar::Scalar,
};
use num_traits::Float;

/// The statistics of a run as a whole: its losses, inputs, gradient norms, clipping and first non-finite value.
#[derive(Clone, Debug)]
pub struct RunStatistics {
    passes: u64,
    updates: u64,
    waiting: bool,
    skipped_in_a_row: u64,
    input: RunningMoments,
    /// The mean over passes of the root mean square of the input values that are not 0.
    present: f64,
    input_seen: bool,
    /// The root mean square, in the current pass, of the last output that a layer reported.
    output: f64,
    /// The number of values of the network's output y, and so of ∂L/∂y, in the current pass.
    values: usize,
    distance: Distance,
    pub(super) loss: RunningMoments,
    recent: RunningMoments,
    first_loss: Option<f64>,
    /// The exponential mean of the first ten losses; infinite before the tenth.
    settled_loss: f64,
    best_loss: f64,
    /// The lowest exponential mean of the losses so far, from the tenth loss on; infinite before.
    lowest_mean: f64,
    pub(super) recent_means: RecentMeans,
    worst_rise: f64,
    path: [f64; 2],
    decades: RunningMoments,
    log_norm: LogNorm,
    norm: f64,
    spikes: u64,
    /// Of the spikes with a known origin, the one with the largest gradient norm, and this norm.
    largest_spike: Option<(f64, Spike)>,
    jumps: Jumps,
    clips: RunningMoments,
    clipped: RunningMoments,
    non_finite: Option<NonFinite>,
    pub(super) mixing: Mixing,
    pub(super) rates: Rates,
}

impl Default for RunStatistics {
    fn default() -> Self {
        RunStatistics {
            passes: 0,
            updates: 0,
            waiting: false,
            skipped_in_a_row: 0,
            input: RunningMoments::default(),
            present: 0.0,
            input_seen: false,
            output: 0.0,
            values: 0,
            distance: Distance::default(),
            loss: RunningMoments::forgetting(KEEP),
            recent: RunningMoments::forgetting(0.8),
            first_loss: None,
            settled_loss: f64::INFINITY,
            best_loss: f64::INFINITY,
            lowest_mean: f64::INFINITY,
            recent_means: RecentMeans::default(),
            worst_rise: 0.0,
            path: [f64::NAN; 2],
            decades: RunningMoments::forgetting(KEEP),
            log_norm: LogNorm::default(),
            norm: 0.0,
            spikes: 0,
            largest_spike: None,
            jumps: Jumps::default(),
            clips: RunningMoments::forgetting(0.99),
            clipped: RunningMoments::forgetting(0.99),
            non_finite: None,
            mixing: Mixing::default(),
            rates: Rates::default(),
        }
    }
}

impl RunStatistics {
    pub(super) fn begin(&mut self) {
        if core::mem::replace(&mut self.waiting, false) {
            self.skipped_in_a_row += 1;
        }
        self.passes += 1;
        self.input_seen = false;
        self.distance.rows([1.0; 2]);
        self.path = [f64::NAN; 2];
    }

    /// Receives the norms of the gradient before and after a factor of the chain rule on the main path, in the order
    /// of the backward pass. The gradient before it has `values` values.
    pub(super) fn on_main_path(&mut self, before: f64, after: f64, values: usize) {
        let is_first = self.path[0].is_nan();
        self.values = if is_first { values } else { self.values };
        self.path = [if is_first { before } else { self.path[0] }, after];
    }

    /// Receives `dy`, the gradient with respect to the output of the link `at` on the main path, and its `norm`,
    /// before [`on_main_path`](Self::on_main_path) is called for this link. Only the first link of a pass, whose
    /// output is the network's, has an effect: the samples of `dy` are compared, unless their lengths differ.
    pub(super) fn see_loss_gradient<T: Scalar>(&mut self, at: &Link<'_>, dy: &[T], norm: f64) {
        if self.path[0].is_nan() && at.parts_before == 0 {
            self.mixing.push_batch(dy, at.shape, norm);
        }
    }

    /// Receives the root mean square of a layer's output; the last call in a pass is for the network's output.
    pub(super) fn see_output(&mut self, output: f64) {
        self.output = output;
    }

    pub(super) fn is_first_link(&self) -> bool {
        !self.input_seen
    }

    /// Receives norm and counts `of_x` of the network's input of `values` values. Only the first call in a pass counts.
    pub(super) fn see_input(&mut self, of_x: Survey, values: usize) {
        if !core::mem::replace(&mut self.input_seen, true) {
            let size = |values: usize| of_x.norm / Float::sqrt(values.max(1) as f64);
            self.input.push(size(values));
            let present = Some(size(values - of_x.zeros)).filter(|size| size.is_finite());
            self.present += present.map_or(0.0, |it| (it - self.present) / self.input.count().max(1) as f64);
        }
    }

    /// Receives the fractions of the row weight that [`Distance::rows`] describes.
    pub(super) fn rows(&mut self, fractions: [f64; 2]) {
        self.distance.rows(fractions);
    }

    pub(super) fn note(&mut self, non_finite: NonFinite) {
        self.non_finite = Some(non_finite);
    }

    pub(super) fn loss(&mut self, loss: f64) {
        if self.first_loss.is_none() {
            self.first_loss = Some(loss);
        }
        if self.path[0] > 0.0 {
            self.distance.loss(loss, self.path[0], self.output, self.values);
        }
        self.jumps.loss(loss);
        if self.recent.count() >= 5 && self.recent.mean() > 0.0 {
            self.worst_rise = self.worst_rise.max(loss / self.best_loss);
        }
        self.best_loss = self.best_loss.min(loss);
        self.loss.push(loss);
        self.recent.push(loss);
        if self.loss.count() >= SETTLED {
            self.lowest_mean = self.lowest_mean.min(self.loss.mean());
        }
        self.recent_means.push(loss, self.recent.mean(), self.recent.count());
        if self.recent.count() == SETTLED {
            self.settled_loss = self.recent.mean();
        }
    }

    pub(super) fn gradient(&mut self, norm: f64) {
        self.norm = norm;
        let [first, last] = self.path;
        if first > 0.0 {
            self.decades.push(libm::log10(last / first));
        }
        self.waiting = true;
        let unusual = self.log_norm.push(norm);
        self.spikes += u64::from(unusual.spike);
        if unusual.jump {
            let learned = self.first_loss.map_or(0.0, |first| first - self.loss.mean());
            self.jumps.jump(self.loss, learned);
        }
    }

    /// Receives the record of an update: ends the update, and keeps the origin of the largest spike. A gradient that
    /// is not finite counts as the largest.
    pub(super) fn step(&mut self, step: &Step) {
        // A rank without a pass in the next update then has no gradient of its own.
        self.path = [f64::NAN; 2];
        if let Some(rate) = step.learning_rate {
            self.rates.push(rate, self.is_at_its_lowest());
        }
        let norm = if step.gradient_norm.is_finite() { step.gradient_norm } else { f64::INFINITY };
        if let Some(spike) = step.spike.filter(|_| self.largest_spike.is_none_or(|(largest, _)| norm > largest)) {
            self.largest_spike = Some((norm, spike));
        }
    }

    pub(super) fn clip(&mut self, factor: f64) {
        self.clips.push(libm::log(factor));
        self.clipped.push(if factor < 1.0 { 1.0 } else { 0.0 });
    }

    pub(super) fn updated(&mut self) {
        self.updates += 1;
        (self.waiting, self.skipped_in_a_row) = (false, 0);
    }

    /// Returns the index of the current pass, from 0.
    pub(super) fn pass(&self) -> u64 {
        self.passes.saturating_sub(1)
    }
    /// The number of monitored passes.
    pub fn passes(&self) -> u64 {
        self.passes
    }
    /// Returns the number of updates in the monitored passes.
    pub fn updates(&self) -> u64 {
        self.updates
    }
    /// Returns the number of consecutive gradients, up to the last, that led to no update. A gradient is counted when
    /// the next pass begins.
    pub fn skipped_in_a_row(&self) -> u64 {
        self.skipped_in_a_row
    }
    /// Returns the moments, over passes, of the root mean square of the network's input.
    pub fn input(&self) -> RunningMoments {
        self.input
    }
    /// Returns the mean, over passes, of the root mean square of those values of the network's input that are not 0.
    /// Weights of inputs that are 0 have no gradient, so only the other values of sparse inputs count.
    pub(crate) fn present_input(&self) -> f64 {
        self.present
    }
    /// Returns the loss of the first monitored update; `None` before it.
    pub fn first_loss(&self) -> Option<f64> {
        self.first_loss
    }
    /// The lowest reported loss; infinite before the first.
    pub fn best_loss(&self) -> f64 {
        self.best_loss
    }
    /// Returns the exponential moments of the loss: about the last five passes count.
    pub fn recent_loss(&self) -> RunningMoments {
        self.recent
    }
    /// Returns the largest ratio of a loss to the lowest loss before it, from the sixth loss on; 0 before. A loss is
    /// left out unless the mean of about the last five losses before it is above 0.
    pub fn worst_rise(&self) -> f64 {
        self.worst_rise
    }
    /// Whether the loss has clearly fallen: its mean over about the last five passes is below the first loss by more
    /// than a third of the first loss's magnitude.
    pub fn has_fallen(&self) -> bool {
        self.first_loss.is_some_and(|first| self.recent.count() > 0 && self.recent.mean() < part_of(first, 2.0 / 3.0))
    }
    /// Whether the loss has risen again. Its mean over about 30 passes was below half of the first loss, and is now
    /// above the midpoint between the first loss and its own lowest value. The mean over about five passes was above
    /// that midpoint after each of the last ten losses. False for a loss that begins at 0 or below.
    pub fn has_relapsed(&self) -> bool {
        // A loss that begins at 0 or below has no zero from which a half of it is measured.
        self.first_loss.is_some_and(|first| first > 0.0 && self.has_risen_to(first, 0.5 * first))
    }
    /// The highest of the moving means (of about five losses) after each of the last ten losses; NaN before ten
    /// losses.
    pub(crate) fn highest_lately(&self) -> f64 {
        self.recent_means.highest()
    }
    /// Whether the mean of about 30 losses was below `learned`, and is now above the midpoint between `start` and its
    /// own lowest value. The mean of about five must have been above that midpoint after each of the last ten losses.
    pub(crate) fn has_risen_to(&self, start: f64, learned: f64) -> bool {
        let line = 0.5 * (start + self.lowest_mean);
        self.lowest_mean < learned && self.loss.mean() > line && self.recent_means.are_above(line)
    }
    /// Whether the loss stagnates, after at least 25 passes: the targets are not [fitted](Self::has_fitted), and the
    /// loss has not fallen by a tenth. It has fallen if the mean of about the last five losses is below the lower of
    /// two values, the first loss and the loss after 10 passes, by a tenth of that value's magnitude. A fall in the
    /// first passes does not count: outputs that ignore the input have it, too.
    pub fn stagnates(&self) -> bool {
        self.stands_still(|loss| part_of(loss, 0.9)) && !self.has_fitted()
    }
    /// Whether, after at least 25 losses, the mean of about the last five is above `part(r)`, r the lower of two
    /// values: the first loss, and the loss after 10 passes. True if that mean is NaN.
    pub(crate) fn stands_still(&self, part: impl Fn(f64) -> f64) -> bool {
        let lately = self.recent.mean();
        let flat = |first: f64| lately > part(first.min(self.settled_loss)) || lately.is_nan();
        self.recent.count() >= WARM_UP && self.first_loss.is_some_and(flat)
    }
    /// Whether the mean [distance](Self::distance) from the outputs to their targets is below 0.3; false before the
    /// first loss, and for a loss below 0, which shows no distance.
    pub fn has_fitted(&self) -> bool {
        self.distance().count() > 0 && (0.0..FITTED).contains(&self.distance().mean())
    }
    /// Returns the moments of d / r over losses, d the distance from the outputs to their targets, r the root mean
    /// square of the outputs; about the last five losses count. For a loss L and n values y of one pass, d is
    /// `2 L / (‖∂L/∂y‖ √n)`, weighted by its [rows](crate::monitor::Event::Rows). It is the root mean square residual
    /// of a squared error, and of the same order for other losses.
    pub fn distance(&self) -> RunningMoments {
        self.distance.moments()
    }
    /// Returns d and r of [`distance`](Self::distance) at the first loss; `None` before it.
    pub fn first_distance(&self) -> Option<[f64; 2]> {
        self.distance.first()
    }
    /// Returns the moments of ‖∂L/∂y‖ √n, with n outputs y, divided by its first value.
    pub(crate) fn output_gradient(&self) -> RunningMoments {
        self.distance.gradient()
    }
    /// Returns the mean of about five losses at the tenth loss (infinite before it), and of about the last 30 losses.
    pub(crate) fn settled_and_usual_loss(&self) -> [f64; 2] {
        [self.settled_loss, self.loss.mean()]
    }
    /// Whether the mean loss over about 30 passes is the lowest so far; false before ten losses.
    pub(crate) fn is_at_its_lowest(&self) -> bool {
        self.loss.count() >= SETTLED && self.loss.mean() <= self.lowest_mean
    }
    /// The norm of the last gradient of all parameters, before clipping; 0 before the first.
    pub fn gradient_norm(&self) -> f64 {
        self.norm
    }
    /// Returns the typical norm of g, the gradient of all parameters before clipping: e to the exponential mean of ln
    /// ‖g‖ over updates; 1 before the first. A norm above ten times the typical one enters as ten times it.
    pub fn typical_norm(&self) -> f64 {
        libm::exp(self.log_norm.moments().mean())
    }
    /// Returns the moments, over updates, of log10 of the factor by which the main path changes the norm of the
    /// gradient in the last pass of the update. The path leads from the network's output to the first weights, or to
    /// the input if its gradient was requested. A pass whose gradient becomes zero sets only the last value.
    pub fn decades(&self) -> RunningMoments {
        self.decades
    }
    /// Returns the moments of ln ‖g‖ over updates, g being the gradient of all parameters before clipping; about
    /// the last 30 count. A norm above ten times the [typical one](Self::typical_norm) before it enters them as ten
    /// times that.
    pub fn log_norm(&self) -> RunningMoments {
        self.log_norm.moments()
    }
    /// Returns the number of gradients g of all parameters, after the first 25, with ln ‖g‖ more than 2.5 standard
    /// deviations above its mean.
    pub fn spikes(&self) -> u64 {
        self.spikes
    }
    /// Returns the rank, shard and sample from which most of the largest spike comes, in
    /// [data-parallel](crate::distributed) training. `None` if no spike was recorded; an update whose gradient or loss
    /// is not finite counts as one.
    pub fn largest_spike(&self) -> Option<Spike> {
        self.largest_spike.map(|(_, spike)| spike)
    }
    /// Returns the number of jumps: gradients of all parameters, after the first 25, whose norm is more than ten times
    /// the [typical norm](Self::typical_norm).
    pub fn jumps(&self) -> u64 {
        self.jumps.count
    }
    /// Returns the number of [jumps](Self::jumps) after which the loss of three consecutive passes was far above its
    /// usual value, its mean over about 30 passes before. Far means higher by more than half of that value, by more
    /// than three standard deviations, and by more than a tenth of its decrease so far.
    pub fn harmful_jumps(&self) -> u64 {
        self.jumps.harmful
    }
    /// Whether the mean loss over about 30 passes is below the one before each [harmful jump](Self::harmful_jumps),
    /// and no jump is still being checked. False without harmful jumps.
    pub(crate) fn has_recovered_from_jumps(&self) -> bool {
        self.jumps.has_recovered_from_jumps(self.loss.mean())
    }
    /// Returns the typical factor by which clipping multiplies a gradient: e to the exponential mean of its logarithm
    /// over updates. `None` without clipping.
    pub fn clip_factor(&self) -> Option<f64> {
        (self.clips.count() > 0).then(|| libm::exp(self.clips.mean()))
    }
    /// Returns the fraction of updates whose gradient was clipped, later ones with more weight; 0 without clipping.
    pub fn clipped(&self) -> f64 {
        self.clipped.mean()
    }
    /// Returns the number of updates for which clipping reported its factor on the gradient, including the factor 1.
    pub fn clip_steps(&self) -> u64 {
        self.clips.count()
    }
    /// Returns the first non-finite value of the run, if there was one.
    pub fn non_finite(&self) -> Option<&NonFinite> {
        self.non_finite.as_ref()
    }
    /// Whether the run has recovered from its first non-finite value: at least three passes later the last loss and
    /// gradient are finite, and no update is being skipped. False if a parameter or an update had the value.
    pub(crate) fn has_recovered(&self) -> bool {
        // Parameters that are not finite may be read later.
        let is_kept = |origin| matches!(origin, NonFiniteOrigin::Update | NonFiniteOrigin::Parameters);
        let after = self.non_finite().is_some_and(|it| !is_kept(it.origin) && self.passes > it.pass + 3);
        after && self.skipped_in_a_row == 0 && self.recent.last().is_finite() && self.norm.is_finite()
    }
}
