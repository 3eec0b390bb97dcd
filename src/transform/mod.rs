//! Something that can turn a gradient into an update: clipping, penalties, optimisers, schedules.

use crate::{block::Blocks, error::Error, scalar::Scalar};
use core::fmt::Debug;

/// Everything of one step of a transform.
#[non_exhaustive]
pub struct Update<'a, T: Scalar> {
    /// What each stretch of the slices is; frozen blocks stay untouched.
    pub blocks: &'a Blocks,
    /// The parameters.
    pub w: &'a [T],
    /// The gradient coming in, the update going out: what is to be added to `w`.
    pub gradient: &'a mut [T],
    /// The transform's own memory.
    pub state: &'a mut [T],
    /// Updates applied before this one.
    pub step: u64,
}

/// What becomes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The update goes on to the next transform, and to the parameters after the last.
    Apply,
    /// The step is dropped: later transforms do not see it, the parameters stay.
    Skip,
}

/// Something that can turn a gradient into an update. Tuples chain, in order.
///
/// All memory of a transform is one slice, so that saving an optimiser is saving a slice.
pub trait GradientTransform<T: Scalar>: Debug {
    /// Checks the hyper-parameters and says how many values of state the transform needs.
    ///
    /// # Errors
    /// A hyper-parameter outside its range, a block that does not exist.
    fn prepare(&mut self, blocks: &Blocks) -> Result<usize, Error>;

    /// Fills the state before the first step; it comes zeroed.
    fn start(&self, _blocks: &Blocks, _w: &[T], _state: &mut [T]) {}

    /// Turns the gradient into an update, in place.
    ///
    /// # Errors
    /// A condition under which training cannot go on.
    fn apply(&mut self, update: Update<'_, T>) -> Result<Outcome, Error>;

    /// Sees a metric that should fall (a validation loss), once an epoch.
    fn observe(&mut self, _metric: f64, _state: &mut [T]) {}

    /// The moving average of the weights, where one is kept in `state`.
    fn averaged<'a>(&self, _state: &'a [T]) -> Option<&'a [T]> {
        None
    }
}
