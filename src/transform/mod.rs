//! Gradient transforms: clipping, penalties, optimizers, schedules.
//!
//! A tuple is a chain, applied from left to right:
//! `(SkipNonFinite::new(), ClipNorm::new(1.0), Adam::new(1e-3), Schedule::cosine(1000, 0.0))`.
//! [`Optimizer::new`] checks the order, which [`Stage`] states. [`Unordered`] accepts another order.

mod adagrad;
mod adam;
mod average;
mod chain;
mod clip;
mod optimizer;
mod parameter_groups;
mod penalty;
mod rmsprop;
mod schedule;
mod sgd;
mod skip_non_finite;
pub(crate) mod spec;
mod stage;
mod wide;
use crate::{
    block::{Block, Blocks, Role},
    error::{Error, require},
    kernel::elementwise,
    scalar::{Scalar, scalar},
};
pub use adagrad::Adagrad;
pub use adam::{Adam, AdamW};
use alloc::{vec, vec::Vec};
pub use average::WeightAverage;
pub use clip::{ClipBlockNorm, ClipNorm, ClipValue};
use core::{fmt::Debug, ops::Range};
pub use optimizer::{MOST_STEPS, Optimizer};
pub use parameter_groups::ParameterGroups;
pub use penalty::Penalty;
pub use rmsprop::RmsProp;
pub use schedule::{ReduceOnPlateau, Schedule};
pub use sgd::Sgd;
pub use skip_non_finite::SkipNonFinite;
pub use spec::TransformSpec;
pub use stage::{Member, Stage, Unordered};

/// The arguments of one step of a transform.
#[non_exhaustive]
pub struct Update<'a, T: Scalar> {
    /// What each stretch of the slices is; frozen blocks stay untouched.
    pub blocks: &'a Blocks,
    /// The parameters.
    pub w: &'a [T],
    /// On entry the gradient, on return the update that is added to `w`.
    pub gradient: &'a mut [T],
    /// The state of the transform.
    pub state: &'a mut [T],
    /// Updates applied before this one.
    pub step: u64,
}

impl<'a, T: Scalar> Update<'a, T> {
    /// A step by hand.
    pub fn new(blocks: &'a Blocks, w: &'a [T], gradient: &'a mut [T], state: &'a mut [T], step: u64) -> Self {
        Update { blocks, w, gradient, state, step }
    }
}

/// The arguments of a step that also changes the parameters.
#[non_exhaustive]
pub struct Descent<'a, T: Scalar> {
    /// What each stretch of the slices is; frozen blocks stay untouched.
    pub blocks: &'a Blocks,
    /// The parameters, which the step is added to.
    pub w: &'a mut [T],
    /// The gradient. Its values on return are unspecified.
    pub gradient: &'a mut [T],
    /// The state of the transform.
    pub state: &'a mut [T],
    /// Updates applied before this one.
    pub step: u64,
}

impl<'a, T: Scalar> Descent<'a, T> {
    /// A step by hand.
    pub fn new(blocks: &'a Blocks, w: &'a mut [T], gradient: &'a mut [T], state: &'a mut [T], step: u64) -> Self {
        Descent { blocks, w, gradient, state, step }
    }

    /// Takes the step in two passes: the gradient becomes an update, which is added to the parameters.
    ///
    /// # Errors
    /// The error of `update`; `w` then stays as it was.
    ///
    /// # Panics
    /// Where `w` and `gradient` have different lengths.
    pub fn by(self, update: impl FnOnce(Update<'_, T>) -> Result<Outcome, Error>) -> Result<Outcome, Error> {
        let Descent { blocks, w, gradient, state, step } = self;
        let outcome = update(Update { blocks, w, gradient, state, step })?;
        if outcome == Outcome::Apply {
            elementwise::update(w, gradient, |w, update| w + update);
        }
        Ok(outcome)
    }
}

/// The outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The update goes on to the next transform, and to the parameters after the last.
    Apply,
    /// The step is dropped: later transforms do not see it, the parameters stay.
    Skip,
}

/// A transform of a gradient into an update. A tuple of transforms is a chain, applied in order.
///
/// The state of a transform is one slice, so that saving an optimizer is saving a slice. The gradient of a frozen block
/// is zero, and so is its update.
pub trait GradientTransform<T: Scalar>: Debug {
    /// Checks the hyper-parameters and the names of blocks.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a hyper-parameter outside its range, or one that the format `T` cannot hold;
    /// [`Error::UnknownBlock`] for a block that does not exist.
    fn validate(&mut self, blocks: &Blocks) -> Result<(), Error>;

    /// The transform's place in a chain. A transform of your own that turns gradients into descending updates returns
    /// [`Stage::Optimizer`]; without an optimizer a chain is refused.
    fn stage(&self) -> Stage {
        Stage::Unstated
    }

    /// Visits the transforms of a chain in order: this one. A wrapper visits those of what it wraps.
    fn members(&self, visit: &mut dyn FnMut(Member)) {
        visit(Member::of::<Self>(self.stage()));
    }

    /// The number of values of state.
    fn state_len(&self, _blocks: &Blocks) -> usize {
        0
    }

    /// Initializes the state, which is zero on entry, before the first step.
    ///
    /// # Panics
    /// As [`update`](Self::update).
    fn init_state(&self, _blocks: &Blocks, _w: &[T], _state: &mut [T]) {}

    /// Replaces the gradient by the update, in place.
    ///
    /// # Errors
    /// An error ends the training: [`Error::NonFiniteGradient`] of a [`SkipNonFinite`] that ran out of patience, or
    /// [`Error::Parameter`] of a [`Schedule`] whose factor `T` cannot hold.
    ///
    /// # Panics
    /// A transform may panic where `w` and `gradient` do not have the parameters of `blocks`, or `state` is shorter
    /// than [`state_len`](Self::state_len). [`Optimizer`] makes and checks them.
    fn update(&mut self, update: Update<'_, T>) -> Result<Outcome, Error>;

    /// [`update`](Self::update), and the update added to the parameters, which may take one pass for both.
    ///
    /// # Errors
    /// Those of [`update`](Self::update).
    ///
    /// # Panics
    /// As [`update`](Self::update).
    fn descend(&mut self, step: Descent<'_, T>) -> Result<Outcome, Error> {
        step.by(|update| self.update(update))
    }

    /// The rate η, finite and not negative, where every step is `w ← w − η g` and nothing else: then a trainer may take
    /// it layer by layer, while the gradient is made.
    fn plain_rate(&self) -> Option<f64> {
        None
    }

    /// Receives a metric that should fall, such as a validation loss, once an epoch.
    ///
    /// # Panics
    /// As [`update`](Self::update).
    fn on_metric(&mut self, _blocks: &Blocks, _metric: f64, _state: &mut [T]) {}

    /// The factor, at most 1, by which clipping multiplied the gradient of the last step; `None` without clipping.
    fn clip_factor(&self) -> Option<f64> {
        None
    }

    /// The moving average of the weights, if `state` holds one.
    ///
    /// # Panics
    /// As [`update`](Self::update).
    fn averaged_weights<'a>(&self, _blocks: &Blocks, _state: &'a [T]) -> Option<&'a [T]> {
        None
    }

    /// The transform as data, one entry for each transform of a chain: a checkpoint is compared with it.
    ///
    /// A transform without this method is known by the name of its type, its position and the length of its state.
    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        vec![TransformSpec::unstated(core::any::type_name::<Self>(), self.state_len(blocks))]
    }
}

/// The blocks that are trained.
fn trained(blocks: &Blocks) -> impl Iterator<Item = &Block<'static>> {
    blocks.iter().filter(|block| !block.frozen)
}

/// The stretches of the flat buffer that are trained, each as long as it can be: one, where nothing is frozen.
fn stretches(blocks: &Blocks) -> impl Iterator<Item = Range<usize>> {
    let mut ranges = trained(blocks).map(|block| block.range.clone()).peekable();
    core::iter::from_fn(move || {
        let mut stretch = ranges.next()?;
        while let Some(next) = ranges.next_if(|next| next.start == stretch.end) {
            stretch.end = next.end;
        }
        Some(stretch)
    })
}

/// The roles that decay and penalties act on unless told otherwise: matrices, not biases or gains.
fn matrices() -> Vec<Role> {
    [Role::Weight, Role::Recurrent].into()
}

/// `a/b`, and 0 where b is: a gradient of zero moves nothing, also where an optimiser has no ε.
fn ratio<T: Scalar>(a: T, b: T) -> T {
    if b.is_zero() { T::zero() } else { a / b }
}

/// Refuses a learning rate that is negative or not finite in the format `T`.
pub(crate) fn check_rate<T: Scalar>(rate: f64) -> Result<(), Error> {
    check_amount::<T>("the learning rate", rate)
}

/// Refuses a decay of a moving average outside [0, 1).
fn check_decay(what: &'static str, decay: f64) -> Result<(), Error> {
    require((0.0..1.0).contains(&decay), what, "at least 0 and below 1", decay)
}

/// Refuses a value that is negative or not finite in the format `T`.
fn check_amount<T: Scalar>(what: &'static str, amount: f64) -> Result<(), Error> {
    require(amount >= 0.0 && amount.is_finite(), what, "finite and not negative", amount)?;
    require(scalar::<T>(amount).is_finite(), what, "finite in the number format of the network", amount)
}
