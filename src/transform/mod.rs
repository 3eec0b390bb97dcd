//! Gradient transforms: clipping, penalties, optimizers, schedules.
//!
//! A tuple is a chain, applied from left to right:
//! `(SkipNonFinite::new(), ClipNorm::new(1.0), Adam::new(1e-3), Schedule::cosine(1000, 0.0))`.
//! [`Optimizer::new`] checks the order, which [`Stage`] states. [`Unordered`] accepts another order.

mod adadelta;
mod adagrad;
mod adam;
mod adam_settings;
mod adamax;
mod average;
mod chain;
mod check;
mod clip;
mod course;
mod each_parameter;
mod lion;
mod muon;
mod nadam;
mod optimizer;
mod parameter_groups;
mod penalty;
mod per_group;
mod plateau;
mod radam;
mod rmsprop;
mod schedule;
mod schedule_free;
mod sgd;
mod skip_non_finite;
pub(crate) mod spec;
mod stage;
mod wide;
use crate::{
    block::{Block, Blocks, Role},
    error::Error,
    scalar::Scalar,
    type_name::saved_name,
};
pub use adadelta::Adadelta;
pub use adagrad::Adagrad;
pub use adam::{Adam, AdamW};
pub use adamax::Adamax;
use alloc::{vec, vec::Vec};
pub use average::WeightAverage;
pub(crate) use check::check_rate;
use check::{check_amount, check_decay, check_epsilon, check_own_rate};
pub use clip::{ClipBlockNorm, ClipNorm, ClipValue};
use core::{
    fmt::{self, Debug},
    ops::Range,
};
pub use lion::Lion;
pub use muon::Muon;
pub use nadam::NAdam;
pub(crate) use optimizer::initial_state;
pub use optimizer::{MOST_STEPS, Optimizer};
pub use parameter_groups::{Group, ParameterGroups};
pub use penalty::Penalty;
pub use per_group::PerGroup;
pub use plateau::ReduceOnPlateau;
pub use radam::RAdam;
pub use rmsprop::RmsProp;
pub use schedule::Schedule;
pub use schedule_free::ScheduleFreeAdamW;
pub use sgd::Sgd;
pub use skip_non_finite::SkipNonFinite;
pub use spec::TransformSpec;
pub(crate) use stage::in_place;
#[doc(hidden)]
pub use stage::{InPlace, Member};
pub use stage::{Stage, Unordered};
use stage::{own_applied, own_elementwise, own_rate};

/// The arguments of one step of a transform.
#[non_exhaustive]
pub struct Update<'a, T: Scalar> {
    /// The blocks of the parameters: name, range and role. Frozen blocks must not be changed.
    pub blocks: &'a Blocks,
    /// The current values of the parameters.
    pub w: &'a [T],
    /// On entry the gradient, or in a chain the result of the transform before. On return the update, which is added
    /// to `w`.
    pub gradient: &'a mut [T],
    /// The transform's own state, of [`state_len`](GradientTransform::state_len) values.
    pub state: &'a mut [T],
    /// The number of updates applied before this one.
    pub step: u64,
    /// The index, in the whole network, of the first parameter of `w` and `gradient`. It is 0 for a transform that
    /// states [`InPlace::No`].
    start: usize,
    /// Whether a clipping transform shall compute the norm of the gradient after clipping.
    recorded: bool,
    /// Receives the product of the factors by which clipping changes the norm of the gradient; `None` if the caller
    /// does not need it.
    clip: Option<&'a mut Option<f64>>,
}

/// Writes counts in place of slices: the numbers of blocks, of gradient values and of state values. Also writes the
/// number of earlier updates.
impl<T: Scalar> fmt::Debug for Update<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut update = f.debug_struct("Update");
        update.field("blocks", &self.blocks.len()).field("values", &self.gradient.len());
        update.field("state", &self.state.len()).field("step", &self.step).finish()
    }
}

impl<'a, T: Scalar> Update<'a, T> {
    /// Creates the arguments of a step, for calls outside an [`Optimizer`].
    pub fn new(blocks: &'a Blocks, w: &'a [T], gradient: &'a mut [T], state: &'a mut [T], step: u64) -> Self {
        Update { blocks, w, gradient, state, step, start: 0, recorded: false, clip: None }
    }

    /// States that `w` and `gradient` begin at parameter `start` of the network. Blocks and state remain those of the
    /// whole network.
    pub(crate) fn starting_at(self, start: usize) -> Self {
        Update { start, ..self }
    }

    /// Sets whether clips compute the norm of the gradient that they leave, for [`GradientTransform::clipped_norm`].
    pub(crate) fn recorded(self, recorded: bool) -> Self {
        Update { recorded, ..self }
    }

    /// Sets the variable that receives the product of the factors by which all clips of the chain change the
    /// gradient's norm.
    pub(crate) fn measuring(self, clip: Option<&'a mut Option<f64>>) -> Self {
        Update { clip, ..self }
    }

    /// Returns the blocks that are not frozen, each with its range in `w` and `gradient`.
    fn trained(&self) -> impl Iterator<Item = (&'a Block<'static>, Range<usize>)> + use<'a, T> {
        let range = self.start..self.start + self.gradient.len();
        self.blocks.within(range).filter(|(block, _)| !block.frozen)
    }

    /// Returns the maximal ranges of `w` and `gradient` without frozen blocks, in order. If no block is frozen, it is
    /// one range.
    fn stretches(&self) -> impl Iterator<Item = Range<usize>> + use<'a, T> {
        let mut ranges = self.trained().map(|(_, range)| range).peekable();
        core::iter::from_fn(move || {
            let mut stretch = ranges.next()?;
            while let Some(next) = ranges.next_if(|next| next.start == stretch.end) {
                stretch.end = next.end;
            }
            Some(stretch)
        })
    }

    /// Returns the range of the state that belongs to `range` of `w` and `gradient`, if the state has one value per
    /// parameter.
    fn in_state(&self, range: Range<usize>) -> Range<usize> {
        self.start + range.start..self.start + range.end
    }

    /// Replaces the gradient g of each trainable parameter, and its value s in a state with one value per parameter:
    /// `(s, g) ← rule(g, s)`.
    #[inline(always)]
    fn map_with_state(self, rule: impl Fn(T, T) -> (T, T)) {
        for range in self.stretches() {
            let of = self.in_state(range.clone());
            for (g, s) in self.gradient[range].iter_mut().zip(&mut self.state[of]) {
                (*s, *g) = rule(*g, *s);
            }
        }
    }
}

/// Whether the update that a gradient transform returns is applied or discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The next transform receives the update. After the last transform it is added to the parameters.
    Apply,
    /// The update is discarded: later transforms do not receive it, and the parameters do not change.
    Skip,
}

/// A transform of a gradient into an update. A tuple of transforms is a chain, applied in order.
///
/// ```
/// use chainrule::{Error, Scalar, scalar, testing::{Transforms, transform_laws}};
/// use chainrule::transform::{GradientTransform, Outcome, Stage, Update};
/// /// Sign descent: `w ← w − η sign(g)`.
/// #[derive(Debug)]
/// struct SignDescent(f64);
/// impl<T: Scalar> GradientTransform<T> for SignDescent {
///     fn stage(&self) -> Stage {
///         Stage::Optimizer
///     }
///     fn update(&mut self, step: Update<'_, T>) -> Result<Outcome, Error> {
///         let eta = scalar::<T>(self.0);
///         step.gradient.iter_mut().filter(|g| !g.is_zero()).for_each(|g| *g = -eta * g.signum());
///         Ok(Outcome::Apply)
///     }
/// }
/// let make = Transforms {
///     single: &|| Box::new(SignDescent(0.1)),
///     double: &|| Box::new(SignDescent(0.1)),
///     like: None,
/// };
/// transform_laws(make, &[], 0).unwrap();
/// ```
///
/// # Required
/// `update` replaces the gradient by the update, in place. The gradient of a frozen block is zero, and so must be its
/// update.
///
/// # Optional
/// | method | default | override it if |
/// | --- | --- | --- |
/// | `validate` | accepts everything | there are hyper-parameters, or names of blocks |
/// | `stage` | [`Stage::Unstated`] | its position in a chain matters; an optimizer returns [`Stage::Optimizer`] |
/// | `state_len` | 0 | something is kept from step to step: all of it is one slice of values |
/// | `init_state` | all values of the state begin at zero | some begin at another value |
/// | `begin_at` | does nothing | its state holds weights, such as an average |
/// | `on_metric` | does nothing | it adapts to a validation loss |
/// | `clip_factor` | `None` | it clips by one factor, which monitors then receive as it is |
/// | `clipped_norm` | `None` | it clips, and not by one factor |
/// | `averaged_weights` | `None` | its state holds an average of the parameters |
/// | `result` | `None` | the weights to evaluate and to keep are not the parameters |
/// | `learning_rate` | `None` | it has a rate, or a factor on the rate |
/// | `rate_mut` | `None` | its rate can be set |
/// | `spec` | the name of the type | loading a checkpoint should report settings that differ |
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a transform or a chain of transforms",
    label = "not a transform or a chain of transforms",
    note = "a chain is a tuple: `(ClipNorm::new(1.0), Adam::new(1e-3))`",
    note = "a `Result` gives its value by `?`"
)]
pub trait GradientTransform<T: Scalar>: Debug {
    // Required.

    /// Replaces the gradient by the update, in place, or returns [`Outcome::Skip`] to discard it.
    ///
    /// # Errors
    /// An error ends the training: [`Error::NonFiniteGradient`] of a [`SkipNonFinite`] that reached its limit, or
    /// [`Error::Parameter`] of a [`Schedule`] whose factor `T` cannot hold.
    ///
    /// # Panics
    /// A transform may panic where `w` and `gradient` do not have the parameters of `blocks`, or `state` is shorter
    /// than [`state_len`](Self::state_len). [`Optimizer`] makes and checks them.
    fn update(&mut self, update: Update<'_, T>) -> Result<Outcome, Error>;

    // Settings and state.

    /// Checks the hyper-parameters and the names of blocks. The default accepts everything.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a hyper-parameter outside its range, or one that the format `T` cannot hold;
    /// [`Error::UnknownBlock`] for a block that does not exist.
    fn validate(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        Ok(())
    }

    /// The transform's position in a chain. A custom transform that turns gradients into descending updates returns
    /// [`Stage::Optimizer`]; without an optimizer a chain is refused.
    fn stage(&self) -> Stage {
        Stage::Unstated
    }

    /// Returns the number of values of state. The default is 0.
    fn state_len(&self, _blocks: &Blocks) -> usize {
        0
    }

    /// Initializes the state, which is zero on entry, before the first step. The default leaves it zero.
    ///
    /// # Panics
    /// As [`update`](Self::update).
    fn init_state(&self, _blocks: &Blocks, _w: &[T], _state: &mut [T]) {}

    // Optional facts: for averages, metrics, monitors, schedules and checkpoints.

    /// Sets the weights in the state, such as an average of the parameters, to `w`: all parameters were replaced, as
    /// by [`Trainer::load_parameters`](crate::trainer::Trainer::load_parameters). The default does nothing.
    ///
    /// # Panics
    /// As [`update`](Self::update).
    fn begin_at(&self, _blocks: &Blocks, _w: &[T], _state: &mut [T]) {}

    /// Receives a metric that should fall, once an epoch: a trainer's validation loss or, without validation data, its
    /// training loss. The default ignores it.
    ///
    /// # Panics
    /// As [`update`](Self::update).
    fn on_metric(&mut self, _blocks: &Blocks, _metric: f64, _state: &mut [T]) {}

    /// The factor, at most 1, by which clipping multiplied the gradient of the last step; of a chain, the product.
    /// Monitors receive it. With `None`, the default, the factor of a transform of [`Stage::Clip`] is measured: the
    /// gradient's norm after it over the norm before.
    fn clip_factor(&self) -> Option<f64> {
        None
    }

    /// The 2-norm of the gradient after the last clip of the chain, in the last step. `None`, the default, if it is
    /// not known. It does not follow from [`clip_factor`](Self::clip_factor) where a clip shortens some values or
    /// blocks alone, as [`ClipValue`].
    ///
    /// [`ClipNorm`], [`ClipBlockNorm`] and [`ClipValue`] compute it only in updates of which a callback or a monitor
    /// receives [`Step::clipped_norm`](crate::trainer::Step::clipped_norm).
    fn clipped_norm(&self) -> Option<f64> {
        None
    }

    /// Returns the moving average of the weights, one value per parameter, if `state` holds one; `None` by default.
    /// For a chain, that of its first transform that has one.
    ///
    /// # Panics
    /// As [`update`](Self::update).
    fn averaged_weights<'a>(&self, _blocks: &Blocks, _state: &'a [T]) -> Option<&'a [T]> {
        None
    }

    /// Returns the weights that training results in, if they are in `state` and not the parameters, as with
    /// [`ScheduleFreeAdamW`] and [`WeightAverage::as_result`]. Trainers evaluate them, predict by them and make models
    /// of them. `None`, the default, if the parameters are the result.
    ///
    /// # Panics
    /// As [`update`](Self::update).
    fn result<'a>(&self, _blocks: &Blocks, _state: &'a [T]) -> Option<&'a [T]> {
        None
    }

    /// Returns the learning rate of an optimizer at update `step`, counted from 0, or the factor of a schedule. The
    /// rate of a chain is the product over its transforms. `None`, the default, counts as 1. Factors that act on some
    /// blocks only are left out. An optimizer with momentum or a bias correction may report its effective rate.
    ///
    /// # Panics
    /// As [`update`](Self::update).
    fn learning_rate(&self, _blocks: &Blocks, _state: &[T], _step: u64) -> Option<f64> {
        None
    }

    /// Returns a mutable reference to the learning rate of an optimizer, without the factors of schedules, for
    /// [`Optimizer::set_learning_rate`]. Of a chain, that of the first transform that has one. `None`, the default,
    /// if there is no rate to set.
    fn rate_mut(&mut self) -> Option<&mut f64> {
        None
    }

    /// Passes each [`Schedule`] of a chain to `visit`. The default passes none.
    #[doc(hidden)]
    fn schedules(&mut self, _visit: &mut dyn FnMut(&mut Schedule)) {}

    /// Returns the factor of the schedules at update `step`: of a chain their product, of groups of blocks the sum
    /// over the groups. The default is 1.
    #[doc(hidden)]
    fn schedule_factor(&self, _step: u64) -> f64 {
        1.0
    }

    /// Returns the update before which a schedule with restarts or cycles may raise the rate again; `u64::MAX` if it
    /// goes on without end, and 0, the default, without such a schedule.
    #[doc(hidden)]
    fn rate_returns_until(&self) -> u64 {
        0
    }

    /// Returns the transform as data, with one entry for each transform of a chain. A checkpoint stores the entries;
    /// loading compares them with those of the present chain.
    ///
    /// The default identifies a transform by the name of its type, without `T` among its arguments, its position in
    /// the chain and the length of its state.
    fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
        vec![TransformSpec::unstated(&saved_name::<Self, T>(), self.state_len(blocks))]
    }

    /// Visits the transforms of a chain in order. A transform that is no chain visits itself. Sealed.
    #[doc(hidden)]
    fn members(&self, visit: &mut dyn FnMut(Member)) {
        visit(Member::of::<Self>(self.stage()));
    }
}

/// Returns the product of two optional factors. If one is `None`, it is the other factor.
fn both(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a * b),
        (a, b) => a.or(b),
    }
}

/// Returns the roles on which decay and penalties act by default: weights and recurrent weights, not biases or gains.
fn matrices() -> Vec<Role> {
    [Role::Weight, Role::Recurrent].into()
}

/// Returns `a/b`, or 0 if b is 0: a gradient of zero then gives no update, even without ε.
fn ratio<T: Scalar>(a: T, b: T) -> T {
    if b.is_zero() { T::zero() } else { a / b }
}
