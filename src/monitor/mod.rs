//! Monitors: observers of every factor of the chain rule during a pass.

use crate::{block::Blocks, scalar::Scalar};
mod budget;
mod budget_table;
mod combine;
mod link;
mod norm;
#[cfg(feature = "serde")]
mod recorder;
mod statistics;
pub use budget::{BlockBudget, GradientBudget, LinkBudget, Shares};
pub use combine::Every;
pub use link::{Factor, Link};
pub use norm::NormStats;
#[cfg(feature = "serde")]
pub use recorder::Recorder;
pub use statistics::{
    BlockStatistics, GateStatistics, LinkStatistics, NonFinite, NonFiniteOrigin, RunStatistics, RunningMoments,
    StateStatistics, Statistics,
};

/// An observer of passes. Its arguments are shared slices, so that it cannot change a pass.
///
/// Every method has a default that does nothing. Over depth, `backward` is called once a link, in the order of the
/// backward pass. Over time, with `step` set, it is called for each factor of each step.
pub trait GradientMonitor<T: Scalar> {
    /// Called at the start of a pass, also if the monitor is not active.
    fn begin_pass(&mut self) {}
    /// Called at the start of a further pass of the same update: the next part of an accumulated gradient.
    ///
    /// The default calls [`begin_pass`](Self::begin_pass).
    fn begin_part(&mut self) {
        self.begin_pass();
    }
    /// Whether the monitor receives the events of this pass. If not, layers compute nothing for it.
    ///
    /// The answer must not change between the start of a forward or backward pass and its end.
    fn is_active(&self) -> bool {
        true
    }
    /// Receives the input `x` and the output `y` of a link. For an activation `x` is the pre-activation `z`.
    fn forward(&mut self, _at: &Link<'_>, _x: &[T], _y: &[T]) {}
    /// Receives the gradients with respect to the output, `dy`, and the input, `dx`, of a link.
    ///
    /// For an addition they are the gradients before and after it.
    fn backward(&mut self, _at: &Link<'_>, _dy: &[T], _dx: &[T]) {}
    /// Receives the loss of a step before its update, from a [`Trainer`](crate::trainer::Trainer).
    fn loss(&mut self, _loss: f64) {}
    /// Receives the factor, at most 1, by which clipping multiplies the gradient of this step.
    fn clip(&mut self, _factor: f64) {}
    /// Receives all parameters and their gradient after a backward pass.
    ///
    /// A [`Trainer`](crate::trainer::Trainer) calls it once an update, with the gradient of all its parts.
    ///
    /// # Panics
    /// A monitor may panic where `w` or `dw` does not have the parameters of `blocks`; workspaces and trainers pass
    /// slices that do.
    fn gradient(&mut self, _blocks: &Blocks, _w: &[T], _dw: &[T]) {}
    /// Receives the parameters and the update that is added to them next.
    ///
    /// # Panics
    /// A monitor may panic where `w` or the update does not have the parameters of `blocks`; an optimizer passes slices
    /// that do.
    fn update(&mut self, _blocks: &Blocks, _w: &[T], _update: &[T]) {}
}
