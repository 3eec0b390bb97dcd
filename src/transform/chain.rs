//! Tuples of transforms: each member has its range of the state, and a member that skips the update ends the step.

use super::{GradientTransform, Member, Outcome, Schedule, Stage, TransformSpec, Update, both};
use crate::{block::Blocks, error::Error, kernel::reduce::norm, scalar::Scalar, size::saturating_sum};
use alloc::vec::Vec;

/// Returns the 2-norm of `gradient` after a clip divided by `before`, its 2-norm before the clip; at most 1. Returns
/// 1 if `before` is 0 or not finite.
fn ratio<T: Scalar>(before: f64, gradient: &[T]) -> f64 {
    let factor = norm(gradient) / before;
    if factor < 1.0 { factor } else { 1.0 }
}

/// Panics unless the lengths `of_members` of the members' states add up to `found`, the length of the whole state: if
/// the `state_len` of a transform changed, others would receive a wrong part of the state.
#[inline]
#[track_caller]
pub(super) fn require_state(of_members: impl IntoIterator<Item = usize>, found: usize) {
    let expected = saturating_sum(of_members);
    assert!(
        expected == found,
        "the state of a chain has {found} values, but its transforms need {expected}: `state_len` must return the same \
         number every time"
    );
}

/// Implements `GradientTransform` for a tuple of transforms, a chain. Each member has a range of the state, in order.
/// A member that returns `Outcome::Skip` ends the step. The arguments are the type parameter and the index of each
/// member.
macro_rules! chain {
    ($($member:ident $index:tt),+) => {
        impl<T: Scalar, $($member: GradientTransform<T>),+> GradientTransform<T> for ($($member,)+) {
            fn validate(&mut self, blocks: &Blocks) -> Result<(), Error> {
                $(self.$index.validate(blocks)?;)+
                Ok(())
            }
            fn members(&self, visit: &mut dyn FnMut(Member)) {
                $(self.$index.members(visit);)+
            }
            fn state_len(&self, blocks: &Blocks) -> usize {
                saturating_sum([$(self.$index.state_len(blocks)),+])
            }
            fn init_state(&self, blocks: &Blocks, w: &[T], state: &mut [T]) {
                let (rest, lengths) = (state, [$(self.$index.state_len(blocks)),+]);
                require_state(lengths, rest.len());
                $(let (own, rest) = rest.split_at_mut(lengths[$index]);
                self.$index.init_state(blocks, w, own);)+
                let _ = rest;
            }
            fn begin_at(&self, blocks: &Blocks, w: &[T], state: &mut [T]) {
                let (rest, lengths) = (state, [$(self.$index.state_len(blocks)),+]);
                require_state(lengths, rest.len());
                $(let (own, rest) = rest.split_at_mut(lengths[$index]);
                self.$index.begin_at(blocks, w, own);)+
                let _ = rest;
            }
            fn update(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
                let Update { blocks, w, gradient, state: rest, step, start, recorded, mut clip } = update;
                let lengths = [$(self.$index.state_len(blocks)),+];
                require_state(lengths, rest.len());
                $(let (own, rest) = rest.split_at_mut(lengths[$index]);
                let clips = clip.is_some() && self.$index.stage() == Stage::Clip;
                let before = if clips { norm(gradient) } else { 0.0 };
                // A chain within this one measures its own clips.
                let inner = clip.as_deref_mut().filter(|_| !clips);
                let update = Update { blocks, w, gradient, state: own, step, start, recorded, clip: inner };
                if self.$index.update(update)? == Outcome::Skip {
                    return Ok(Outcome::Skip);
                }
                if let Some(clip) = clip.as_deref_mut().filter(|_| clips) {
                    *clip = both(*clip, self.$index.clip_factor().or_else(|| Some(ratio(before, gradient))));
                })+
                let _ = clip;
                let _ = rest;
                Ok(Outcome::Apply)
            }
            fn on_metric(&mut self, blocks: &Blocks, metric: f64, state: &mut [T]) {
                let (rest, lengths) = (state, [$(self.$index.state_len(blocks)),+]);
                require_state(lengths, rest.len());
                $(let (own, rest) = rest.split_at_mut(lengths[$index]);
                self.$index.on_metric(blocks, metric, own);)+
                let _ = rest;
            }
            fn clip_factor(&self) -> Option<f64> {
                let factor = None;
                $(let factor = both(factor, self.$index.clip_factor());)+
                factor
            }
            fn clipped_norm(&self) -> Option<f64> {
                let norm = None;
                $(let norm = self.$index.clipped_norm().or(norm);)+
                norm
            }
            fn learning_rate(&self, blocks: &Blocks, state: &[T], step: u64) -> Option<f64> {
                let (rate, rest, lengths) = (None, state, [$(self.$index.state_len(blocks)),+]);
                require_state(lengths, rest.len());
                $(let (own, rest) = rest.split_at(lengths[$index]);
                let rate = both(rate, self.$index.learning_rate(blocks, own, step));)+
                let _ = rest;
                rate
            }
            fn rate_mut(&mut self) -> Option<&mut f64> {
                let rate = None;
                $(let rate = rate.or_else(|| self.$index.rate_mut());)+
                rate
            }
            fn schedules(&mut self, visit: &mut dyn FnMut(&mut Schedule)) {
                $(self.$index.schedules(visit);)+
            }
            fn schedule_factor(&self, step: u64) -> f64 {
                let factor = 1.0;
                $(let factor = factor * self.$index.schedule_factor(step);)+
                factor
            }
            fn rate_returns_until(&self) -> u64 {
                let until = 0;
                $(let until = Ord::max(until, self.$index.rate_returns_until());)+
                until
            }
            fn averaged_weights<'a>(&self, blocks: &Blocks, state: &'a [T]) -> Option<&'a [T]> {
                let (found, rest, lengths) = (None, state, [$(self.$index.state_len(blocks)),+]);
                require_state(lengths, rest.len());
                $(let (own, rest) = rest.split_at(lengths[$index]);
                let found = found.or_else(|| self.$index.averaged_weights(blocks, own));)+
                let _ = rest;
                found
            }
            fn result<'a>(&self, blocks: &Blocks, state: &'a [T]) -> Option<&'a [T]> {
                let (found, rest, lengths) = (None, state, [$(self.$index.state_len(blocks)),+]);
                require_state(lengths, rest.len());
                $(let (own, rest) = rest.split_at(lengths[$index]);
                let found = found.or_else(|| self.$index.result(blocks, own));)+
                let _ = rest;
                found
            }
            fn spec(&self, blocks: &Blocks) -> Vec<TransformSpec> {
                let mut specs = Vec::new();
                $(specs.extend(self.$index.spec(blocks));)+
                specs
            }
        }
    };
}

chain!(A 0);

chain!(A 0, B 1);

chain!(A 0, B 1, C 2);

chain!(A 0, B 1, C 2, D 3);

chain!(A 0, B 1, C 2, D 3, E 4);

chain!(A 0, B 1, C 2, D 3, E 4, F 5);

impl<T: Scalar> GradientTransform<T> for () {
    fn members(&self, _visit: &mut dyn FnMut(Member)) {}
    fn update(&mut self, _update: Update<'_, T>) -> Result<Outcome, Error> {
        Ok(Outcome::Apply)
    }
    fn spec(&self, _blocks: &Blocks) -> Vec<TransformSpec> {
        Vec::new()
    }
}
