//! Something that can watch every factor of the chain rule as it is applied.

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

/// Something that can watch a pass. By type it can change nothing.
///
/// Every hook does nothing unless you write it. Over depth, `backward` is called for each link in
/// the order of the backward pass; over time (`step` is some step), for each factor of each step.
pub trait GradientMonitor<T: Scalar> {
    /// A watched pass begins. Called whether the monitor listens or not.
    fn begin_pass(&mut self) {}
    /// A further pass of the same update begins: the next part of an accumulated gradient. As [`begin_pass`](Self::begin_pass) unless
    /// you write it.
    fn begin_part(&mut self) {
        self.begin_pass();
    }
    /// Whether the events of this pass are wanted. Where not, nothing is gathered for them. The answer is to be the same from
    /// the beginning of a pass to its end, forward or backward: layers ask more than once.
    fn is_active(&self) -> bool {
        true
    }
    /// A link was applied: `y` from `x`. For an activation `x` is the pre-activation `z`.
    fn forward(&mut self, _at: &Link<'_>, _x: &[T], _y: &[T]) {}
    /// The gradient passed a link: `dx` from `dy`. For an injection, the gradient after from before.
    fn backward(&mut self, _at: &Link<'_>, _dy: &[T], _dx: &[T]) {}
    /// The loss of the step, before its update; a [`Trainer`](crate::trainer::Trainer) tells it.
    fn loss(&mut self, _loss: f64) {}
    /// Clipping multiplies the gradient of this step by that factor, at most 1.
    fn clip(&mut self, _factor: f64) {}
    /// A backward pass is complete: all parameters and their gradient. A [`Trainer`](crate::trainer::Trainer) calls it once
    /// an update, with the gradient of all its parts.
    ///
    /// # Panics
    /// A monitor may panic where `w` or `dw` does not have the parameters of `blocks`; workspaces and trainers pass slices
    /// that do.
    fn gradient(&mut self, _blocks: &Blocks, _w: &[T], _dw: &[T]) {}
    /// `update` is about to be added to the parameters.
    ///
    /// # Panics
    /// A monitor may panic where `w` or the update does not have the parameters of `blocks`; an optimizer passes slices
    /// that do.
    fn update(&mut self, _blocks: &Blocks, _w: &[T], _update: &[T]) {}
}
