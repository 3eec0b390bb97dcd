//! The order of a chain of transforms, and its check.

use super::{GradientTransform, Outcome, Schedule, TransformSpec, Update};
use crate::{block::Blocks, error::Error, scalar::Scalar};
use alloc::{string::String, vec::Vec};
use core::any::type_name;

/// The position of a transform in a chain, in the order of the variants.
///
/// [`Optimizer::new`](super::Optimizer::new) refuses a chain in another order. Regularization and clipping may stand in
/// either order. A chain has one optimizer, and may have several transforms of each other stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Not stated: accepted at any position, and not counted as an optimizer.
    #[default]
    Unstated,
    /// Skips steps whose gradient is not finite.
    SkipNonFinite,
    /// Adds the gradient of a penalty.
    Regularization,
    /// Limits the norm or the values of the gradient.
    Clip,
    /// Turns the gradient into an update that descends.
    Optimizer,
    /// Multiplies the update: schedules, rates of blocks.
    Schedule,
    /// Averages the parameters after the update.
    Average,
}

impl Stage {
    /// Returns the position in a chain, from 0 for the first; equal for stages that may be in either order.
    fn rank(self) -> u8 {
        match self {
            Stage::Unstated | Stage::SkipNonFinite => 0,
            Stage::Regularization | Stage::Clip => 1,
            Stage::Optimizer => 2,
            Stage::Schedule => 3,
            Stage::Average => 4,
        }
    }
}

/// Whether a chain of gradient transforms may update the parameters of a layer as soon as their gradient is known.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum InPlace {
    /// The update depends on the whole gradient.
    No,
    /// The update of a parameter depends on its gradient, its value and its state alone.
    Elementwise,
    /// Every step is `w ← w − η g` and nothing else, with this rate η.
    Plain(f64),
}

/// One transform of a chain, as the check of the chain's order sees it.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Member {
    /// The name of the transform's type, without path and parameters.
    pub name: &'static str,
    /// The stage of the transform.
    pub stage: Stage,
    /// Whether the position of the transform in the chain is checked; false inside [`Unordered`].
    pub ordered: bool,
    /// Whether, and how, the transform may update some parameters before the gradient of others is known.
    pub in_place: InPlace,
    /// Whether the transform may return [`Outcome::Skip`].
    pub may_skip: bool,
    /// The number of levels of [`PerGroup`](super::PerGroup) in the transform: 0 for one without groups.
    pub groups: usize,
}

impl Member {
    /// Creates the chain member for the transform type `G`, at `stage`, with [`InPlace::No`]. It may skip an update.
    pub fn of<G: ?Sized>(stage: Stage) -> Self {
        let path = type_name::<G>().split('<').next().unwrap_or_default();
        let name = path.rsplit("::").next().unwrap_or_default();
        Member { name, stage, ordered: true, in_place: InPlace::No, may_skip: true, groups: 0 }
    }

    /// Creates the chain member for the transform type `G`, at `stage`, with [`InPlace::No`]. It never skips an update.
    pub(super) fn applied<G: ?Sized>(stage: Stage) -> Self {
        Member { may_skip: false, ..Self::of::<G>(stage) }
    }

    /// Creates the chain member for the transform type `G`, at `stage`, which updates each parameter by itself:
    /// [`InPlace::Elementwise`].
    pub(super) fn elementwise<G: ?Sized>(stage: Stage) -> Self {
        Member { in_place: InPlace::Elementwise, ..Self::applied::<G>(stage) }
    }
}

/// A chain that is accepted in any order, such as clipping of the update after the optimizer.
///
/// The rest of the chain must follow the order of [`Stage`]. An optimizer inside counts as the optimizer of the whole
/// chain.
///
/// ```
/// use chainrule::transform::{Adam, ClipValue, Schedule, Unordered};
/// let chain = (Unordered((Adam::new(1e-3), ClipValue::new(0.01))), Schedule::cosine(1000, 0.0));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Unordered<G>(pub G);

/// Defines the methods `stage`, `members` and `update` of an element-wise transform of this crate at the stage
/// `$stage`. `update` calls the hidden method `$name` of [`Scalar`](crate::Scalar), defined by
/// [`compiled`](crate::compiled).
macro_rules! own_elementwise {
    ($name:ident, $stage:ident) => {
        fn stage(&self) -> $crate::transform::Stage {
            $crate::transform::Stage::$stage
        }

        fn members(&self, visit: &mut dyn FnMut($crate::transform::Member)) {
            visit($crate::transform::Member::elementwise::<Self>($crate::transform::Stage::$stage));
        }

        fn update(
            &mut self,
            update: $crate::transform::Update<'_, T>,
        ) -> Result<$crate::transform::Outcome, $crate::error::Error> {
            T::$name(self, update)
        }
    };
}
pub(super) use own_elementwise;

/// Defines the methods `stage` and `members` of a transform of this crate that reads the whole gradient and never skips
/// an update, at the stage `$stage`.
macro_rules! own_applied {
    ($stage:ident) => {
        fn stage(&self) -> $crate::transform::Stage {
            $crate::transform::Stage::$stage
        }

        fn members(&self, visit: &mut dyn FnMut($crate::transform::Member)) {
            visit($crate::transform::Member::applied::<Self>($crate::transform::Stage::$stage));
        }
    };
}
pub(super) use own_applied;

/// Defines the methods `learning_rate` and `rate_mut` of an optimizer of this crate. `$rate` is the field that holds
/// its learning rate.
macro_rules! own_rate {
    ($self:ident => $rate:expr) => {
        fn learning_rate(&$self, _blocks: &$crate::block::Blocks, _state: &[T], _step: u64) -> Option<f64> {
            Some($rate)
        }

        fn rate_mut(&mut $self) -> Option<&mut f64> {
            Some(&mut $rate)
        }
    };
}
pub(super) use own_rate;

/// Implements `GradientTransform` for the wrapper `$type` by forwarding each method to `$inner`, the wrapped
/// transform. For each [`Member`] `$member` that `$inner` reports, the wrapper reports `$change`.
macro_rules! forwarded {
    ([$($generics:tt)*] $type:ty, $self:ident => $inner:expr, $member:ident => $change:expr) => {
        impl<T: Scalar, $($generics)*> GradientTransform<T> for $type {
            fn validate(&mut $self, blocks: &Blocks) -> Result<(), Error> {
                $inner.validate(blocks)
            }
            fn stage(&$self) -> Stage {
                $inner.stage()
            }
            fn members(&$self, visit: &mut dyn FnMut(Member)) {
                $inner.members(&mut |$member| visit($change));
            }
            fn state_len(&$self, blocks: &Blocks) -> usize {
                $inner.state_len(blocks)
            }
            fn init_state(&$self, blocks: &Blocks, w: &[T], state: &mut [T]) {
                $inner.init_state(blocks, w, state);
            }
            fn begin_at(&$self, blocks: &Blocks, w: &[T], state: &mut [T]) {
                $inner.begin_at(blocks, w, state);
            }
            fn update(&mut $self, update: Update<'_, T>) -> Result<Outcome, Error> {
                $inner.update(update)
            }
            fn on_metric(&mut $self, blocks: &Blocks, metric: f64, state: &mut [T]) {
                $inner.on_metric(blocks, metric, state);
            }
            fn clip_factor(&$self) -> Option<f64> {
                $inner.clip_factor()
            }
            fn learning_rate(&$self, blocks: &Blocks, state: &[T], step: u64) -> Option<f64> {
                $inner.learning_rate(blocks, state, step)
            }
            fn rate_mut(&mut $self) -> Option<&mut f64> {
                $inner.rate_mut()
            }
            fn schedules(&mut $self, visit: &mut dyn FnMut(&mut Schedule)) {
                $inner.schedules(visit);
            }
            fn schedule_factor(&$self, step: u64) -> f64 {
                $inner.schedule_factor(step)
            }
            fn rate_returns_until(&$self) -> u64 {
                $inner.rate_returns_until()
            }
            fn clipped_norm(&$self) -> Option<f64> {
                $inner.clipped_norm()
            }
            fn averaged_weights<'a>(&$self, blocks: &Blocks, state: &'a [T]) -> Option<&'a [T]> {
                $inner.averaged_weights(blocks, state)
            }
            fn result<'a>(&$self, blocks: &Blocks, state: &'a [T]) -> Option<&'a [T]> {
                $inner.result(blocks, state)
            }
            fn spec(&$self, blocks: &Blocks) -> Vec<TransformSpec> {
                $inner.spec(blocks)
            }
        }
    };
}

forwarded!([] alloc::boxed::Box<dyn GradientTransform<T>>, self => (**self), member => member);
forwarded!([G: GradientTransform<T>] Unordered<G>, self => self.0, member => Member { ordered: false, ..member });

/// Returns whether a chain may update the parameters of a layer as soon as their gradient is known. A chain of one
/// transform returns the value of that transform. For several transforms it is [`InPlace::No`] if one of them is,
/// otherwise [`InPlace::Elementwise`].
pub(crate) fn in_place<T: Scalar>(chain: &(impl GradientTransform<T> + ?Sized)) -> InPlace {
    let mut found = None;
    chain.members(&mut |member| {
        found = Some(match (found, member.in_place) {
            (None, first) => first,
            (Some(InPlace::No), _) | (_, InPlace::No) => InPlace::No,
            _ => InPlace::Elementwise,
        });
    });
    found.unwrap_or(InPlace::No)
}

/// Refuses a chain without an optimizer, with several, or out of order. Returns whether it has a transform of
/// [`Stage::SkipNonFinite`].
pub(super) fn check_chain<T: Scalar>(chain: &(impl GradientTransform<T> + ?Sized)) -> Result<bool, Error> {
    let mut members = Vec::new();
    chain.members(&mut |member| members.push(member));
    check_members(&members)
}

fn check_members(members: &[Member]) -> Result<bool, Error> {
    let names = |members: &[Member]| {
        let mut text = String::new();
        for member in members {
            text.push_str(if text.is_empty() { "" } else { ", " });
            text.push_str(member.name);
        }
        text
    };
    let optimizers = members.iter().filter(|member| member.stage == Stage::Optimizer);
    let (all, ordered) = (optimizers.clone().count(), optimizers.filter(|member| member.ordered).count());
    if all == 0 || (all > 1 && ordered > 0) {
        return Err(Error::Optimizers { found: all, chain: names(members) });
    }
    let placed = |member: &&Member| member.ordered && member.stage != Stage::Unstated;
    let found: Vec<Member> = members.iter().filter(placed).copied().collect();
    if !found.is_sorted_by_key(|member| member.stage.rank()) {
        let mut expected = found.clone();
        expected.sort_by_key(|member| member.stage.rank());
        return Err(Error::ChainOrder { found: names(&found), expected: names(&expected) });
    }
    Ok(members.iter().any(|member| member.stage == Stage::SkipNonFinite))
}
