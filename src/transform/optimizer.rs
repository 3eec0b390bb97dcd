//! An optimizer: a transform with its state, which turns gradients into updates and adds these to the parameters.

use super::{
    GradientTransform, InPlace, Outcome, Stage, TransformSpec, Update, check_rate,
    stage::{check_chain, in_place},
};
use crate::{
    block::Blocks,
    error::{Error, require, require_length},
    kernel::{elementwise, thread_pool::threads},
    monitor::{Event, GradientMonitor},
    scalar::Scalar,
    size::filled,
};
use alloc::vec::Vec;

/// The largest number of updates that a saved run may have: `f64` holds every whole number up to it exactly.
pub const MOST_STEPS: u64 = 1 << 53;

/// A transform with its state and the number of updates made.
///
/// ```
/// use chainrule::{BatchShape, layer::{Sequential, initialize}, transform::{Optimizer, Sgd}, workspace::Workspace};
/// let network = Sequential::<f64>::input(1).linear(1).build()?;
/// let mut w = initialize(&network, 1)?;
/// let workspace = Workspace::new(&network, BatchShape::batch(1))?;
/// let mut optimizer = Optimizer::new(Sgd::new(0.5), workspace.blocks(), &w)?;
/// let before = w.clone();
/// let mut gradient = [2.0, -4.0]; // as `Workspace::backward` computes it
/// optimizer.step(workspace.blocks(), &mut w, &mut gradient, &mut ())?;
/// assert_eq!(w, [before[0] - 1.0, before[1] + 2.0]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone)]
pub struct Optimizer<T, G: ?Sized> {
    state: Vec<T>,
    steps: u64,
    guarded: bool,
    in_place: InPlace,
    /// The learning rate with which the transform was created, and the rate that was set last; `None` if none was
    /// set.
    rates: Option<[f64; 2]>,
    /// The transform or chain. It is the last field, so that a reference to an optimizer converts to one with
    /// `G = dyn GradientTransform<T>`.
    transform: G,
}

/// The number of parameters that an element-wise chain updates at once: \[with one thread, with several threads\]. It
/// is so small that these parameters, their gradient and their state stay in the cache from one transform of the
/// chain to the next.
const PIECE: [usize; 2] = [1 << 13, 1 << 16];

/// Shows the transform and the number of updates, not the state.
impl<T, G: core::fmt::Debug + ?Sized> core::fmt::Debug for Optimizer<T, G> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Optimizer")
            .field("transform", &&self.transform)
            .field("steps", &self.steps)
            .field("state", &self.state.len())
            .finish()
    }
}

impl<T: Scalar, G: GradientTransform<T>> Optimizer<T, G> {
    /// Checks `transform`, and creates the state that it needs for the parameters `w`.
    ///
    /// # Errors
    /// [`Error::Length`] if the length of `w` is not the number of parameters in `blocks`; [`Error::InvalidLayer`]
    /// for blocks that overlap, leave gaps, or share a name; the errors of [`GradientTransform::validate`].
    /// [`Error::Optimizers`] for a chain without an optimizer or with several; [`Error::ChainOrder`] for a chain that
    /// is not in the order of [`Stage`](super::Stage). [`Error::TooLarge`] if memory cannot hold the transform's
    /// state.
    pub fn new(mut transform: G, blocks: &Blocks, w: &[T]) -> Result<Self, Error> {
        let (state, guarded, in_place) = T::optimizer_state(&mut transform, blocks, w)?;
        Ok(Optimizer { state, steps: 0, guarded, in_place, rates: None, transform })
    }
}

/// Checks a transform. Returns its initial state, whether it contains a guard against non-finite gradients, and whether
/// it may update parameters during the backward pass.
pub(crate) fn initial_state<T: Scalar>(
    transform: &mut dyn GradientTransform<T>,
    blocks: &Blocks,
    w: &[T],
) -> Result<(Vec<T>, bool, InPlace), Error> {
    require_length("parameters", blocks.parameters(), w.len())?;
    blocks.check(w.len()).map_err(|rule| rule.at(""))?;
    transform.validate(blocks)?;
    let guarded = check_chain(transform)?;
    let mut state = filled("the state of the transform", transform.state_len(blocks), T::zero())?;
    transform.init_state(blocks, w, &mut state);
    Ok((state, guarded, checked_in_place(transform)))
}

/// Returns whether a chain may update parameters during the backward pass. A plain rate that is negative or not
/// finite in the format `T` also gives [`InPlace::No`].
fn checked_in_place<T: Scalar>(transform: &(impl GradientTransform<T> + ?Sized)) -> InPlace {
    match in_place(transform) {
        InPlace::Plain(rate) if check_rate::<T>(rate).is_err() => InPlace::No,
        in_place => in_place,
    }
}

impl<T: Scalar, G: GradientTransform<T> + ?Sized> Optimizer<T, G> {
    /// Turns `gradient` into an update and adds it to `w`. Returns [`Outcome::Skip`] if a transform skipped the
    /// update; then `w` is unchanged. On return the values of `gradient` are unspecified; a monitor receives the
    /// update.
    ///
    /// # Errors
    /// [`Error::Length`] if the length of `w` or `gradient` is not the number of parameters in `blocks`, or if the
    /// state that `blocks` need is not as long as for the blocks given to [`new`](Self::new). [`Error::InvalidLayer`]
    /// for blocks that overlap or leave gaps; the errors of [`GradientTransform::update`].
    pub fn step(
        &mut self,
        blocks: &Blocks,
        w: &mut [T],
        gradient: &mut [T],
        monitor: &mut dyn GradientMonitor<T>,
    ) -> Result<Outcome, Error> {
        self.step_with(blocks, w, gradient, monitor, false)
    }

    /// Makes an update like [`step`](Self::step). If `recorded`, clips compute [`GradientTransform::clipped_norm`].
    pub(crate) fn step_with(
        &mut self,
        blocks: &Blocks,
        w: &mut [T],
        gradient: &mut [T],
        monitor: &mut dyn GradientMonitor<T>,
        recorded: bool,
    ) -> Result<Outcome, Error> {
        require_length("parameters", blocks.parameters(), w.len())?;
        require_length("the gradient of the parameters", w.len(), gradient.len())?;
        self.check_state(blocks)?;
        for block in blocks.iter().filter(|block| block.frozen) {
            gradient[block.range.clone()].fill(T::zero());
        }
        // A clip that is recorded computes a norm of the whole gradient, so the update cannot be made in pieces.
        let mut whole = false;
        self.transform.members(&mut |member| whole |= recorded && member.stage == Stage::Clip);
        if self.in_place != InPlace::No && !monitor.is_active() && !whole {
            self.step_from(blocks, 0, w, gradient)?;
            self.steps += 1;
            return Ok(Outcome::Apply);
        }
        let (mut clip, is_active) = (None, monitor.is_active());
        let update = Update::new(blocks, w, gradient, &mut self.state, self.steps).recorded(recorded);
        let update = update.measuring(is_active.then_some(&mut clip));
        let outcome = self.transform.update(update)?;
        if outcome == Outcome::Skip {
            return Ok(outcome);
        }
        if is_active {
            if let Some(factor) = clip.or_else(|| self.transform.clip_factor()) {
                monitor.event(&Event::Clip(factor));
            }
            monitor.event(&Event::Update { blocks, w, update: gradient });
        }
        elementwise::update(w, gradient, |w, update| w + update);
        self.steps += 1;
        Ok(outcome)
    }

    /// Runs an element-wise chain on the parameters `w`, the first of which has index `start` in the network, and
    /// adds the update to them. `gradient`, the gradient of `w`, is overwritten. The update is not counted: call
    /// [`note_step`](Self::note_step) once for all parameters.
    pub(crate) fn step_from(
        &mut self,
        blocks: &Blocks,
        start: usize,
        w: &mut [T],
        gradient: &mut [T],
    ) -> Result<(), Error> {
        let (mut start, piece) = (start, PIECE[usize::from(threads() > 1)]);
        for (w, gradient) in w.chunks_mut(piece).zip(gradient.chunks_mut(piece)) {
            let update = Update::new(blocks, w, gradient, &mut self.state, self.steps).starting_at(start);
            self.transform.update(update)?;
            elementwise::update(w, gradient, |w, update| w + update);
            start += w.len();
        }
        Ok(())
    }

    /// Counts one update, made piece by piece in the backward pass.
    pub(crate) fn note_step(&mut self) {
        self.steps += 1;
    }

    /// Whether the chain has a transform of [`Stage::SkipNonFinite`](super::Stage::SkipNonFinite), which then decides
    /// whether gradients that are not finite are skipped.
    pub(crate) fn guarded(&self) -> bool {
        self.guarded
    }

    /// Passes a metric that should decrease, such as a validation loss, to the transform. Call it once after each
    /// epoch, as a trainer does.
    ///
    /// # Errors
    /// [`Error::Length`] if the transform needs a state of another length for `blocks`; [`Error::InvalidLayer`] for
    /// blocks that overlap or leave gaps.
    pub fn on_metric(&mut self, blocks: &Blocks, metric: f64) -> Result<(), Error> {
        self.check_state(blocks)?;
        self.transform.on_metric(blocks, metric, &mut self.state);
        Ok(())
    }

    /// Returns an error if blocks overlap or leave gaps, or if the transform needs a state for them that is not as
    /// long as [`state`](Self::state).
    pub(crate) fn check_state(&self, blocks: &Blocks) -> Result<(), Error> {
        blocks.check_ranges().map_err(|rule| rule.at(""))?;
        let what = "state of the transform (an optimizer takes the blocks that it was made for)";
        require_length(what, self.transform.state_len(blocks), self.state.len())
    }

    /// Returns the number of updates made; skipped ones do not count.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Returns the learning rate of the next update, including the factors of schedules. `None` if the transform has
    /// no learning rate, or if its state has another length for `blocks`.
    pub fn learning_rate(&self, blocks: &Blocks) -> Option<f64> {
        self.check_state(blocks).ok()?;
        self.transform.learning_rate(blocks, &self.state, self.steps)
    }

    /// Sets the learning rate of the chain's optimizer, before the factors of schedules, from the next update on. The
    /// state, such as averages and momenta, is kept.
    ///
    /// A [checkpoint](crate::trainer::Trainer::checkpoint) keeps the rate. [`Muon`](super::Muon) scales the rate of
    /// the blocks that AdamW updates by the same factor, unless it was created with a rate of 0.
    ///
    /// ```
    /// use chainrule::{Block, Blocks, Role, transform::{Optimizer, Schedule, Sgd}};
    /// let blocks = Blocks::collect(|visit| visit(Block::new("w", 0, [1, 1], Role::Weight)));
    /// let mut w = [1.0_f64];
    /// let mut optimizer = Optimizer::new((Sgd::new(0.5), Schedule::constant(0.5)), &blocks, &w)?;
    /// optimizer.set_learning_rate(0.25)?;
    /// optimizer.step(&blocks, &mut w, &mut [1.0], &mut ())?;
    /// assert_eq!(w, [1.0 - 0.25 * 0.5]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Parameter`] for a rate that is negative or not finite in the format `T`; [`Error::InvalidState`] for
    /// a chain without a rate that can be set, see [`GradientTransform::rate_mut`].
    pub fn set_learning_rate(&mut self, rate: f64) -> Result<(), Error> {
        check_rate::<T>(rate)?;
        let Some(present) = self.transform.rate_mut() else {
            return Err(Error::InvalidState {
                what: "a new learning rate",
                needs: "an optimizer with one rate, which `GradientTransform::rate_mut` returns",
            });
        };
        self.rates = Some([self.rates.map_or(*present, |[first, _]| first), rate]);
        *present = rate;
        self.in_place = checked_in_place(&self.transform);
        Ok(())
    }

    /// Returns the learning rate of the last call of [`set_learning_rate`](Self::set_learning_rate); `None` if there
    /// was no call.
    #[cfg(feature = "safetensors")]
    pub(crate) fn rate_set(&self) -> Option<f64> {
        self.rates.map(|[_, set]| set)
    }

    /// Whether the chain has a learning rate that can be set.
    #[cfg(feature = "safetensors")]
    pub(crate) fn has_rate(&mut self) -> bool {
        self.transform.rate_mut().is_some()
    }

    /// Restores the result of [`rate_set`](Self::rate_set): with `None`, the rate with which the transform was
    /// created.
    ///
    /// # Errors
    /// The errors of [`set_learning_rate`](Self::set_learning_rate).
    #[cfg(feature = "safetensors")]
    pub(crate) fn restore_rate(&mut self, rate: Option<f64>) -> Result<(), Error> {
        if let Some(rate) = rate.or(self.rates.map(|[first, _]| first)) {
            self.set_learning_rate(rate)?;
        }
        if rate.is_none() {
            self.rates = None;
        }
        Ok(())
    }

    /// Whether, and how, the chain may update some parameters before the gradient of the others is computed.
    pub(crate) fn in_place(&self) -> InPlace {
        self.in_place
    }

    /// Returns the transform.
    pub fn transform(&self) -> &G {
        &self.transform
    }

    /// Returns the state of the transform; for a chain, the states of its transforms, one after the other.
    pub fn state(&self) -> &[T] {
        &self.state
    }

    /// Returns the transforms of the chain as data, one entry for each transform.
    pub fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        self.transform.spec(blocks)
    }

    /// Restores a saved state and number of updates.
    ///
    /// # Errors
    /// [`Error::Length`] if `state` is not as long as [`state`](Self::state); [`Error::Parameter`] for `steps` above
    /// [`MOST_STEPS`].
    pub fn restore(&mut self, state: &[T], steps: u64) -> Result<(), Error> {
        require_length("optimizer state", self.state.len(), state.len())?;
        require(steps <= MOST_STEPS, "the number of updates", "at most 2^53", steps as f64)?;
        self.state.copy_from_slice(state);
        self.steps = steps;
        Ok(())
    }

    /// Tells the transform that the parameters `w` have replaced all former ones: averages of parameters start again
    /// at `w`. Does nothing if the state has another length for `blocks`.
    #[cfg(feature = "safetensors")]
    pub(crate) fn begin_at(&mut self, blocks: &Blocks, w: &[T]) {
        if self.check_state(blocks).is_ok() {
            self.transform.begin_at(blocks, w, &mut self.state);
        }
    }

    /// Resets the state to the initial state for the parameters `w`, and the number of updates to 0, if the state has
    /// a NaN, or has ±∞ in a transform that does not [allow ±∞](TransformSpec::infinite_state()).
    pub(crate) fn reset_unless_sound(&mut self, blocks: &Blocks, w: &[T]) {
        let mut rest = &self.state[..];
        let sound = self.spec(blocks).iter().all(|spec| {
            // The specification of a custom transform may state any length, even a wrong one.
            let (own, after) = rest.split_at(spec.state_len.min(rest.len()));
            rest = after;
            own.iter().all(|value| value.is_finite() || (spec.infinite_state && !value.is_nan()))
        });
        if !sound {
            self.state.fill(T::zero());
            self.transform.init_state(blocks, w, &mut self.state);
            self.steps = 0;
        }
    }

    /// Returns the moving averages of the weights, one value per parameter. `None` if the transform keeps none, or if
    /// its state has another length for `blocks`.
    pub fn averaged_weights(&self, blocks: &Blocks) -> Option<&[T]> {
        self.check_state(blocks).ok()?;
        self.transform.averaged_weights(blocks, &self.state)
    }

    /// Returns the weights that training results in if these are not the parameters, as with
    /// [`ScheduleFreeAdamW`](super::ScheduleFreeAdamW). Otherwise, and before the first update, returns `None`.
    pub fn result(&self, blocks: &Blocks) -> Option<&[T]> {
        self.check_state(blocks).ok().filter(|()| self.steps > 0)?;
        self.transform.result(blocks, &self.state)
    }

    /// Whether [`result`](Self::result) returns weights for `blocks` after the first update.
    pub(crate) fn has_result(&self, blocks: &Blocks) -> bool {
        self.check_state(blocks).is_ok() && self.transform.result(blocks, &self.state).is_some()
    }

    /// Returns the state of the transform, mutable.
    pub(crate) fn state_mut(&mut self) -> &mut [T] {
        &mut self.state
    }
}
