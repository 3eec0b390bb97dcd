//! Something that can watch every factor of the chain rule as it is applied.

use crate::{activation::AnyActivation, batch_shape::BatchShape, block::Blocks, scalar::Scalar};

mod budget;
#[cfg(feature = "serde")]
mod recorder;
mod statistics;

pub use budget::{BlockBudget, GradientBudget, LinkBudget, NormStats, Shares};
#[cfg(feature = "serde")]
pub use recorder::Recorder;
pub use statistics::{
    BlockStatistics, GateStatistics, LinkStatistics, NonFinite, NonFiniteOrigin, RunStatistics, RunningMoments,
    StateStatistics, Statistics,
};

use alloc::boxed::Box;
use alloc::vec::Vec;

/// Which factor of the chain rule a link applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Factor {
    /// The product with the weights, `Wᵀ d`.
    Weights,
    /// The product with the activation's derivative, `φ′(z) ⊙ g`.
    Activation,
    /// Gradient added where paths meet: a skip, a loss at each step.
    Addition,
    /// The rest: normalisation, pooling, dropout, the whole of a recurrent layer seen over depth.
    Other,
}

/// One link of the chain: where it is, which factor it applies, and at which step.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Link<'a> {
    /// Its name, made once: `3`, `3.residual.1`, `0.recurrent`.
    pub name: &'a str,
    /// Its place in the network's table of names.
    pub index: usize,
    /// The factor it applies.
    pub factor: Factor,
    /// The step of a recurrent layer; `None` for a link of depth.
    pub step: Option<usize>,
    /// The gate of a gated cell.
    pub gate: Option<&'static str>,
    /// Whether it is on the one path from loss to input; links inside parallel branches are not.
    pub on_main_path: bool,
    /// The rows of the pass.
    pub extent: BatchShape<'a>,
    /// The activation, where the factor is one.
    pub activation: Option<&'a dyn AnyActivation>,
}

impl core::fmt::Debug for Link<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Link")
            .field("name", &self.name)
            .field("factor", &self.factor)
            .field("step", &self.step)
            .field("gate", &self.gate)
            .field("on_main_path", &self.on_main_path)
            .finish_non_exhaustive()
    }
}

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

impl<T: Scalar> GradientMonitor<T> for () {
    fn is_active(&self) -> bool {
        false
    }
}

/// Passes every event on to those of `members` that listen.
macro_rules! composite {
    ([$($generics:tt)*] $type:ty, $self:ident, any: $any:expr, each($visit:ident): $each:expr) => {
        impl<T: Scalar, $($generics)*> GradientMonitor<T> for $type {
            fn begin_pass(&mut $self) {
                let $visit = &mut |member: &mut dyn GradientMonitor<T>| member.begin_pass();
                $each
            }
            fn begin_part(&mut $self) {
                let $visit = &mut |member: &mut dyn GradientMonitor<T>| member.begin_part();
                $each
            }
            fn is_active(&$self) -> bool {
                $any
            }
            fn forward(&mut $self, at: &Link<'_>, x: &[T], y: &[T]) {
                let $visit = &mut |member: &mut dyn GradientMonitor<T>| {
                    if member.is_active() {
                        member.forward(at, x, y);
                    }
                };
                $each
            }
            fn backward(&mut $self, at: &Link<'_>, dy: &[T], dx: &[T]) {
                let $visit = &mut |member: &mut dyn GradientMonitor<T>| {
                    if member.is_active() {
                        member.backward(at, dy, dx);
                    }
                };
                $each
            }
            fn loss(&mut $self, loss: f64) {
                let $visit = &mut |member: &mut dyn GradientMonitor<T>| {
                    if member.is_active() {
                        member.loss(loss);
                    }
                };
                $each
            }
            fn clip(&mut $self, factor: f64) {
                let $visit = &mut |member: &mut dyn GradientMonitor<T>| {
                    if member.is_active() {
                        member.clip(factor);
                    }
                };
                $each
            }
            fn gradient(&mut $self, blocks: &Blocks, w: &[T], dw: &[T]) {
                let $visit = &mut |member: &mut dyn GradientMonitor<T>| {
                    if member.is_active() {
                        member.gradient(blocks, w, dw);
                    }
                };
                $each
            }
            fn update(&mut $self, blocks: &Blocks, w: &[T], update: &[T]) {
                let $visit = &mut |member: &mut dyn GradientMonitor<T>| {
                    if member.is_active() {
                        member.update(blocks, w, update);
                    }
                };
                $each
            }
        }
    };
}

composite!([A: GradientMonitor<T>, B: GradientMonitor<T>] (A, B), self,
    any: self.0.is_active() || self.1.is_active(),
    each(visit): { visit(&mut self.0); visit(&mut self.1) });
composite!([A: GradientMonitor<T>, B: GradientMonitor<T>, C: GradientMonitor<T>] (A, B, C), self,
any: self.0.is_active() || self.1.is_active() || self.2.is_active(),
each(visit): {
    visit(&mut self.0);
    visit(&mut self.1);
    visit(&mut self.2)
});
composite!([M: GradientMonitor<T>] Option<M>, self,
    any: self.as_ref().is_some_and(|member| member.is_active()),
    each(visit): self.iter_mut().for_each(|member| visit(member as &mut dyn GradientMonitor<T>)));
composite!([M: GradientMonitor<T>] Vec<M>, self,
    any: self.iter().any(|member| member.is_active()),
    each(visit): self.iter_mut().for_each(|member| visit(member as &mut dyn GradientMonitor<T>)));
composite!([M: GradientMonitor<T>] &mut M, self,
    any: (**self).is_active(),
    each(visit): visit(*self));
composite!([] Box<dyn GradientMonitor<T>>, self,
    any: (**self).is_active(),
    each(visit): visit(&mut **self));

/// A monitor that is called in every `n`-th pass only; the others cost nothing. In a
/// [`Trainer`](crate::trainer::Trainer) it counts updates, not the parts of an accumulated one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Every<M> {
    every: u64,
    passes: u64,
    /// The monitor.
    pub monitor: M,
}

/// `monitor`, called in the first of every `n` passes; `n` = 0 is never.
#[allow(non_snake_case)]
pub fn Every<M>(n: u64, monitor: M) -> Every<M> {
    Every { every: n, passes: 0, monitor }
}

impl<T: Scalar, M: GradientMonitor<T>> GradientMonitor<T> for Every<M> {
    fn begin_pass(&mut self) {
        self.passes += 1;
        if self.due() {
            self.monitor.begin_pass();
        }
    }
    fn begin_part(&mut self) {
        if self.due() {
            self.monitor.begin_part();
        }
    }
    fn is_active(&self) -> bool {
        self.due() && self.monitor.is_active()
    }
    fn forward(&mut self, at: &Link<'_>, x: &[T], y: &[T]) {
        self.monitor.forward(at, x, y);
    }
    fn backward(&mut self, at: &Link<'_>, dy: &[T], dx: &[T]) {
        self.monitor.backward(at, dy, dx);
    }
    fn loss(&mut self, loss: f64) {
        self.monitor.loss(loss);
    }
    fn clip(&mut self, factor: f64) {
        self.monitor.clip(factor);
    }
    fn gradient(&mut self, blocks: &Blocks, w: &[T], dw: &[T]) {
        self.monitor.gradient(blocks, w, dw);
    }
    fn update(&mut self, blocks: &Blocks, w: &[T], update: &[T]) {
        self.monitor.update(blocks, w, update);
    }
}

impl<M> Every<M> {
    fn due(&self) -> bool {
        self.passes.checked_sub(1).and_then(|before| before.checked_rem(self.every)) == Some(0)
    }
}
