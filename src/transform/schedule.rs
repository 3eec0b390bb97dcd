//! Learning-rate schedules.

use super::{GradientTransform, Outcome, TransformSpec, Update, check_rate, own_elementwise};
use crate::{
    arc::Arc,
    block::Blocks,
    error::{Error, require},
    scalar::{Scalar, scaled},
};
use alloc::{boxed::Box, format, string::String, vec, vec::Vec};
use core::{f64::consts::PI, fmt};

/// A factor on the learning rate that depends on the step. In a chain it follows the optimizer and multiplies its
/// update.
///
/// `(Sgd::new(0.8), Schedule::step(30, 0.5))` begins at 0.8 and halves the rate every 30 updates. [`then`](Self::then)
/// joins two schedules one after the other; two schedules in a chain multiply. A schedule counts applied updates, or
/// [epochs](Self::per_epoch). The factor is a function of that count alone, so a resumed run continues it.
///
/// ```
/// use chainrule::transform::Schedule;
/// let schedule = Schedule::warm_up(0.0, 100).then(100, Schedule::cosine(900, 0.0));
/// assert_eq!([0, 50, 100, 550].map(|step| schedule.factor(step)), [0.0, 0.5, 1.0, 0.5]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// The schedules that follow one another, sorted by their starts; the first starts at 0. There is at least one.
    parts: Vec<Part>,
}

/// One section of a schedule: a function of the update count, and the update from which it applies.
#[derive(Clone, Debug, PartialEq)]
struct Part {
    /// The update, counted from 0, from which this part is in force.
    start: u64,
    /// The number of updates in one unit of the count that `kind` receives: 1 for updates, more for epochs.
    updates: u64,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Constant(f64),
    Step { every: u64, factor: f64 },
    MultiStep { at: Vec<u64>, factor: f64 },
    Exponential { factor: f64 },
    Cosine { steps: u64, least: f64, restart: Option<u64> },
    Linear { from: f64, to: f64, steps: u64 },
    Polynomial { steps: u64, power: f64 },
    OneCycle { most: f64, steps: u64, warm: f64, first: f64, last: f64 },
    Cyclic { from: f64, to: f64, up: u64, down: u64, decay: f64 },
    Custom(Custom),
}

/// A factor as a custom function of the update, counted from 0.
#[derive(Clone)]
struct Custom(Arc<dyn Fn(u64) -> f64 + Send + Sync>);

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a function of the step")
    }
}

impl PartialEq for Custom {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Schedule {
    fn of(kind: Kind) -> Self {
        Schedule { parts: vec![Part { start: 0, updates: 1, kind }] }
    }

    /// Creates a schedule with the constant factor `factor`.
    pub fn constant(factor: f64) -> Self {
        Self::of(Kind::Constant(factor))
    }

    /// Creates a schedule with the factor `factor^⌊t/every⌋` at update t, counted from 0.
    pub fn step(every: u64, factor: f64) -> Self {
        Self::of(Kind::Step { every, factor })
    }

    /// Creates a schedule with the factor `factorᵏ` at update t, counted from 0, where k is the number of entries of
    /// `at` that are at most t.
    pub fn multi_step(at: &[u64], factor: f64) -> Self {
        Self::of(Kind::MultiStep { at: at.to_vec(), factor })
    }

    /// Creates a schedule with the factor `factorᵗ` at update t, counted from 0.
    pub fn exponential(factor: f64) -> Self {
        Self::of(Kind::Exponential { factor })
    }

    /// Creates a schedule that falls from 1 to `least` at update `steps` along a cosine. After that update the cosine
    /// rises again, as in PyTorch. Source: Loshchilov & Hutter 2017, eq. 5.
    pub fn cosine(steps: u64, least: f64) -> Self {
        Self::of(Kind::Cosine { steps, least, restart: None })
    }

    /// Creates a [`cosine`](Self::cosine) schedule that restarts at 1 when it reaches `least`, after `steps` updates.
    /// Each period is `times` as long as the one before.
    pub fn cosine_with_restarts(steps: u64, times: u64, least: f64) -> Self {
        Self::of(Kind::Cosine { steps, least, restart: Some(times) })
    }

    /// Creates a schedule that rises linearly from `from` to 1 at update `steps`, and stays 1.
    pub fn warm_up(from: f64, steps: u64) -> Self {
        Self::linear(from, 1.0, steps)
    }

    /// Creates a schedule that goes linearly from `from` to `to` at update `steps`, and stays `to`.
    pub fn linear(from: f64, to: f64, steps: u64) -> Self {
        Self::of(Kind::Linear { from, to, steps })
    }

    /// Creates a schedule with the factor `(1 − t/steps)^power` at update t, counted from 0. From `steps` on it is 0,
    /// or 1 for a power of 0.
    pub fn polynomial(steps: u64, power: f64) -> Self {
        Self::of(Kind::Polynomial { steps, power })
    }

    /// Creates a schedule that rises from `most`/25 to `most` over the first 30 % of `steps`, then falls to `most`/25e4
    /// at update `steps` − 1, along cosines, and stays there. `steps` is at least 4. Source: Smith & Topin 2019; the
    /// figures are PyTorch's, with `cycle_momentum=False`: a schedule leaves the momentum as it is.
    pub fn one_cycle(most: f64, steps: u64) -> Self {
        Self::one_cycle_with(most, steps, 0.3, [25.0, 1e4])
    }

    /// Creates a [`one_cycle`](Self::one_cycle) schedule with given parameters. It rises from `most/first` to `most`
    /// over the fraction `warm_up`, between 0 and 1, of `steps`, then falls to `most/first/last`.
    ///
    /// The divisors are positive. In PyTorch the parameters are `pct_start`, `div_factor` and `final_div_factor`.
    pub fn one_cycle_with(most: f64, steps: u64, warm_up: f64, [first, last]: [f64; 2]) -> Self {
        Self::of(Kind::OneCycle { most, steps, warm: warm_up, first, last })
    }

    /// Creates a triangular schedule: it rises linearly from `from` to `to` over `up` updates, falls to `from` over
    /// `down` updates, and begins again. Source: Smith 2017; PyTorch's `CyclicLR` with `cycle_momentum=False`.
    pub fn cyclic(from: f64, to: f64, up: u64, down: u64) -> Self {
        Self::cyclic_with_decay(from, to, up, down, 1.0)
    }

    /// Creates a [`cyclic`](Self::cyclic) schedule whose height, `to − from`, is multiplied by `decay` after each
    /// cycle. `decay` is between 0 and 1; Smith's `triangular2` has ½.
    pub fn cyclic_with_decay(from: f64, to: f64, up: u64, down: u64, decay: f64) -> Self {
        Self::of(Kind::Cyclic { from, to, up, down, decay })
    }

    /// Creates a schedule from a function of the update, counted from 0. A factor that is negative or not finite ends
    /// training with an error.
    pub fn custom(factor: impl Fn(u64) -> f64 + Send + Sync + 'static) -> Self {
        Self::of(Kind::Custom(Custom(Arc::from(Box::new(factor) as Box<dyn Fn(u64) -> f64 + Send + Sync>))))
    }

    /// Returns a schedule that has the factor of this one before update `at`, and from `at` on that of `next`, which
    /// counts its own updates from 0.
    ///
    /// `at` counts updates from the start of this schedule; a later [`per_epoch`](Self::per_epoch) makes it count
    /// epochs. PyTorch calls this `SequentialLR`.
    #[must_use]
    pub fn then(mut self, at: u64, next: Schedule) -> Self {
        self.parts.truncate(self.parts.partition_point(|part| part.start < at));
        // A start beyond all counts is never reached.
        let starts = |part: Part| part.start.checked_add(at).map(|start| Part { start, ..part });
        self.parts.extend(next.parts.into_iter().filter_map(starts));
        self
    }

    /// Counts epochs of `updates` updates in place of updates: the factor is that of the epoch, `⌊t/updates⌋` at
    /// update t, and stays the same within an epoch. Steps and starts given before this call count epochs.
    ///
    /// `updates` is the number of applied updates of an epoch: the number of its batches divided by
    /// [`accumulation_steps`](crate::trainer::TrainConfig::accumulation_steps), rounded up, or with a truncation the
    /// number of windows of its batches. It must not be 0. Skipped updates do not count.
    ///
    /// ```
    /// use chainrule::transform::Schedule;
    /// // 5 epochs of warm-up, update by update, then a cosine over 20 epochs that changes once an epoch of 40 updates.
    /// let schedule = Schedule::warm_up(0.0, 200).then(200, Schedule::cosine(20, 0.0).per_epoch(40));
    /// assert_eq!([100, 200, 239].map(|step| schedule.factor(step)), [0.5, 1.0, 1.0]);
    /// ```
    #[must_use]
    pub fn per_epoch(mut self, updates: u64) -> Self {
        for part in &mut self.parts {
            // ⌊⌊t/u⌋/v⌋ = ⌊t/(u v)⌋, and ⌊t/u⌋ < s if and only if t < s u.
            part.start = part.start.saturating_mul(updates);
            part.updates = part.updates.saturating_mul(updates);
        }
        self
    }

    /// Returns the factor at update `step`, counted from 0. A schedule over 0 updates, which an optimizer refuses, does
    /// not panic.
    pub fn factor(&self, step: u64) -> f64 {
        let part = self.parts.iter().rev().find(|part| part.start <= step);
        part.map_or(1.0, |part| part.kind.factor((step - part.start).checked_div(part.updates).unwrap_or(0)))
    }

    /// Whether the factor may change from update to update: false for a schedule of a single constant factor.
    pub(crate) fn varies(&self) -> bool {
        !matches!(&self.parts[..], [Part { kind: Kind::Constant(_), .. }])
    }

    /// Returns the update before which a part with restarts or cycles may raise the factor again: that at which the
    /// next part begins, or `u64::MAX` for the last part. 0 without such a part.
    fn returns_until(&self) -> u64 {
        let returns = |part: &Part| matches!(part.kind, Kind::Cosine { restart: Some(_), .. } | Kind::Cyclic { .. });
        let Some(last) = self.parts.iter().rposition(returns) else { return 0 };
        self.parts.get(last + 1).map_or(u64::MAX, |next| next.start)
    }

    pub(super) fn check<T: Scalar>(&self) -> Result<(), Error> {
        for part in &self.parts {
            require(part.updates > 0, "the updates of an epoch of a schedule", "at least 1", 0.0)?;
            part.kind.check::<T>()?;
        }
        Ok(())
    }
}

impl Kind {
    /// Returns the factor at `step`, the number of updates, or of epochs, since this schedule came into force.
    fn factor(&self, step: u64) -> f64 {
        let t = step as f64;
        match self {
            Kind::Constant(factor) => *factor,
            Kind::Step { every, factor } => libm::pow(*factor, step.checked_div(*every).unwrap_or(0) as f64),
            Kind::MultiStep { at, factor } => libm::pow(*factor, at.iter().filter(|&&at| step >= at).count() as f64),
            Kind::Exponential { factor } => libm::pow(*factor, t),
            Kind::Cosine { steps, least, restart: None } => {
                // Integers are reduced by the period without rounding.
                let at = steps.checked_mul(2).and_then(|period| step.checked_rem(period)).unwrap_or(step);
                cosine(1.0, *least, part(at as f64, *steps as f64))
            }
            Kind::Cosine { steps, least, restart: Some(times) } => {
                let (mut begun, mut length) = (0, *steps);
                if *times <= 1 {
                    begun = step - step.checked_rem(length).unwrap_or(0);
                }
                // The difference does not overflow: `begun` is at most `step`.
                while step - begun >= length.max(1) {
                    begun += length.max(1);
                    length = length.saturating_mul(*times).max(1);
                }
                cosine(1.0, *least, part((step - begun) as f64, length as f64))
            }
            Kind::Linear { from, to, steps } => from + (to - from) * part(t, *steps as f64).min(1.0),
            Kind::Polynomial { steps, power } => libm::pow(1.0 - part(t, *steps as f64).min(1.0), *power),
            Kind::OneCycle { most, steps, warm, first, last } => {
                // The peak and the end are factors of whole updates: as in PyTorch, the last update is total − 1.
                let (peak, end) = (warm * *steps as f64 - 1.0, *steps as f64 - 1.0);
                let (low, bottom) = (most / first, most / first / last);
                if t <= peak {
                    cosine(low, *most, part(t, peak))
                } else {
                    cosine(*most, bottom, part(t.min(end) - peak, end - peak))
                }
            }
            Kind::Cyclic { from, to, up, down, decay } => {
                // Within the first cycle of a period above `u64::MAX`, nothing is reduced.
                let period = up.checked_add(*down);
                let [cycle, at] = period.map_or([0, step], |period| {
                    [step.checked_div(period).unwrap_or(0), step.checked_rem(period).unwrap_or(0)]
                });
                let height = match at.checked_sub(*up) {
                    None | Some(0) => part(at as f64, *up as f64),
                    Some(falling) => 1.0 - part(falling as f64, *down as f64),
                };
                from + (to - from) * height * libm::pow(*decay, cycle as f64)
            }
            Kind::Custom(Custom(factor)) => factor(step),
        }
    }

    fn check<T: Scalar>(&self) -> Result<(), Error> {
        let at_least_one = |what, steps: u64| require(steps > 0, what, "at least 1", steps as f64);
        match self {
            Kind::Constant(factor) | Kind::Exponential { factor } => check_rate::<T>(*factor),
            Kind::Step { every, factor } => {
                at_least_one("the steps of a schedule", *every).and(check_rate::<T>(*factor))
            }
            Kind::MultiStep { factor, .. } => check_rate::<T>(*factor),
            Kind::Cosine { steps, least, restart } => {
                at_least_one("the restart factor of a schedule", restart.unwrap_or(1))?;
                at_least_one("the steps of a schedule", *steps).and(check_rate::<T>(*least))
            }
            Kind::Linear { from, to, steps } => {
                at_least_one("the steps of a schedule", *steps).and(check_rate::<T>(*from)).and(check_rate::<T>(*to))
            }
            Kind::Polynomial { steps, power } => {
                at_least_one("the steps of a schedule", *steps).and(check_rate::<T>(*power))
            }
            Kind::OneCycle { most, steps, warm, first, last } => {
                require(*steps >= 4, "the steps of one cycle", "at least 4", *steps as f64)?;
                require((0.0..=1.0).contains(warm), "the warm-up fraction of one cycle", "between 0 and 1", *warm)?;
                for divisor in [first, last] {
                    require(*divisor > 0.0, "a divisor of one cycle", "positive", *divisor)?;
                }
                [*most, most / first, most / first / last].into_iter().try_for_each(check_rate::<T>)
            }
            Kind::Cyclic { from, to, up, down, decay } => {
                at_least_one("the steps up of a cyclic schedule", *up)?;
                at_least_one("the steps down of a cyclic schedule", *down)?;
                require((0.0..=1.0).contains(decay), "the decay of a cyclic schedule", "between 0 and 1", *decay)?;
                check_rate::<T>(*from).and(check_rate::<T>(*to))
            }
            Kind::Custom(_) => Ok(()),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Kind::Constant(_) => "constant",
            Kind::Step { .. } => "step",
            Kind::MultiStep { .. } => "multi-step",
            Kind::Exponential { .. } => "exponential",
            Kind::Cosine { restart: None, .. } => "cosine",
            Kind::Cosine { restart: Some(_), .. } => "cosine with restarts",
            Kind::Linear { .. } => "linear",
            Kind::Polynomial { .. } => "polynomial",
            Kind::OneCycle { .. } => "one cycle",
            Kind::Cyclic { .. } => "cyclic",
            Kind::Custom(_) => "custom",
        }
    }
}

/// Returns `t/span`, or 1 if `span` is not positive.
fn part(t: f64, span: f64) -> f64 {
    if span > 0.0 { t / span } else { 1.0 }
}

/// Returns the value between `from` and `to` along half a cosine: `from` at `part` 0, `to` at `part` 1.
fn cosine(from: f64, to: f64, part: f64) -> f64 {
    to + (from - to) * 0.5 * (1.0 + libm::cos(PI * part))
}

impl Schedule {
    /// Implements [`GradientTransform::update`] for any scalar type.
    pub(crate) fn update_generic<T: Scalar>(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let factor = self.factor(update.step);
        check_rate::<T>(factor)?;
        update.gradient.iter_mut().for_each(|g| *g = scaled(factor, *g));
        Ok(Outcome::Apply)
    }
}

impl<T: Scalar> GradientTransform<T> for Schedule {
    own_elementwise!(Schedule, Schedule);

    fn validate(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        self.check::<T>()
    }

    fn learning_rate(&self, _blocks: &Blocks, _state: &[T], step: u64) -> Option<f64> {
        Some(self.factor(step))
    }

    fn schedules(&mut self, visit: &mut dyn FnMut(&mut Schedule)) {
        visit(self);
    }

    fn schedule_factor(&self, step: u64) -> f64 {
        self.factor(step)
    }

    fn rate_returns_until(&self) -> u64 {
        self.returns_until()
    }

    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        let mut names = String::new();
        for part in &self.parts {
            names.push_str(if names.is_empty() { "" } else { ", " });
            names.push_str(part.kind.name());
        }
        let spec = TransformSpec::new(&format!("Schedule ({names})"), GradientTransform::<T>::state_len(self, blocks));
        match &self.parts[..] {
            [Part { updates: 1, kind, .. }] => vec![spec.setting("settings", kind)],
            parts => vec![spec.setting("settings", parts)],
        }
    }
}
