//! Several monitors combined into one, and a monitor that is active in some passes only.

use super::{Event, GradientMonitor, Link};
use crate::scalar::Scalar;
use alloc::{boxed::Box, vec::Vec};

impl<T: Scalar> GradientMonitor<T> for () {
    fn is_active(&self) -> bool {
        false
    }
}

/// Implements a monitor that forwards every call to its active members. The start of a pass, `Event::NextPart` and
/// `Event::Epoch` go to all members. Each member can stop a run. `$any` states whether the function `$is` returns true
/// for a member, and `$each` calls the function `$visit` for every member.
macro_rules! composite {
    ([$($generics:tt)*] $type:ty, $self:ident, any($is:ident): $any:expr, each($visit:ident): $each:expr) => {
        impl<T: Scalar, $($generics)*> GradientMonitor<T> for $type {
            fn begin_pass(&mut $self) {
                let $visit = &mut |member: &mut dyn GradientMonitor<T>| member.begin_pass();
                $each
            }
            fn is_active(&$self) -> bool {
                let $is = |member: &dyn GradientMonitor<T>| member.is_active();
                $any
            }
            fn should_stop(&$self) -> bool {
                let $is = |member: &dyn GradientMonitor<T>| member.should_stop();
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
            fn event(&mut $self, event: &Event<'_, T>) {
                let $visit = &mut |member: &mut dyn GradientMonitor<T>| {
                    if matches!(event, Event::NextPart | Event::Epoch(_)) || member.is_active() {
                        member.event(event);
                    }
                };
                $each
            }
        }
    };
}

composite!([A: GradientMonitor<T>, B: GradientMonitor<T>] (A, B), self,
    any(is): is(&self.0) || is(&self.1),
    each(visit): { visit(&mut self.0); visit(&mut self.1) });

composite!([A: GradientMonitor<T>, B: GradientMonitor<T>, C: GradientMonitor<T>] (A, B, C), self,
any(is): is(&self.0) || is(&self.1) || is(&self.2),
each(visit): {
    visit(&mut self.0);
    visit(&mut self.1);
    visit(&mut self.2)
});

composite!([M: GradientMonitor<T>] Option<M>, self,
    any(is): self.as_ref().is_some_and(|member| is(member)),
    each(visit): self.iter_mut().for_each(|member| visit(member as &mut dyn GradientMonitor<T>)));

composite!([M: GradientMonitor<T>] Vec<M>, self,
    any(is): self.iter().any(|member| is(member)),
    each(visit): self.iter_mut().for_each(|member| visit(member as &mut dyn GradientMonitor<T>)));

composite!([M: GradientMonitor<T>] &mut M, self,
    any(is): is(&**self),
    each(visit): visit(*self));

composite!([] Box<dyn GradientMonitor<T>>, self,
    any(is): is(&**self),
    each(visit): visit(&mut **self));

/// A monitor that is active in the first of every `n` passes only. The other passes have no monitoring cost.
///
/// In a [`Trainer`](crate::trainer::Trainer) `Every` counts updates, not the passes of an accumulated gradient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Every<M> {
    every: u64,
    passes: u64,
    /// Whether the next pass belongs to the same update as the last one.
    same_update: bool,
    /// The monitor that is active in the first of every `n` passes.
    pub monitor: M,
}

/// Makes `monitor` active in the first of every `n` passes; never for `n` = 0.
#[allow(non_snake_case)]
pub fn Every<M>(n: u64, monitor: M) -> Every<M> {
    Every { every: n, passes: 0, same_update: false, monitor }
}

impl<T: Scalar, M: GradientMonitor<T>> GradientMonitor<T> for Every<M> {
    fn begin_pass(&mut self) {
        self.passes += u64::from(!core::mem::take(&mut self.same_update));
        if self.due() {
            self.monitor.begin_pass();
        }
    }
    fn is_active(&self) -> bool {
        self.due() && self.monitor.is_active()
    }
    fn should_stop(&self) -> bool {
        self.monitor.should_stop()
    }
    fn forward(&mut self, at: &Link<'_>, x: &[T], y: &[T]) {
        self.monitor.forward(at, x, y);
    }
    fn backward(&mut self, at: &Link<'_>, dy: &[T], dx: &[T]) {
        self.monitor.backward(at, dy, dx);
    }
    fn event(&mut self, event: &Event<'_, T>) {
        self.same_update |= matches!(event, Event::NextPart);
        if self.due() || matches!(event, Event::Epoch(_)) {
            self.monitor.event(event);
        }
    }
}

impl<M> Every<M> {
    fn due(&self) -> bool {
        self.passes.checked_sub(1).and_then(|before| before.checked_rem(self.every)) == Some(0)
    }
}
