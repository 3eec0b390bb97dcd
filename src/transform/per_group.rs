//! An optimizer for each group of blocks.

use super::{
    GradientTransform, Group, Member, Outcome, Schedule, Stage, TransformSpec, Update, both, chain::require_state,
    stage::check_chain,
};
use crate::{
    block::{Block, Blocks},
    error::{Error, require},
    kernel::reduce::norm,
    scalar::Scalar,
    size::{filled, saturating_sum},
};
use alloc::{boxed::Box, format, string::String, vec::Vec};
use core::fmt;

/// Gives each group of blocks a chain of its own: rate, decay, β, clipping, schedule, or another optimizer.
///
/// A block belongs to the first group that holds it; [`new`](Self::new) takes the chain for the other blocks. The chain
/// of a group has one optimizer, and receives the blocks of the group alone: [`ClipNorm`](super::ClipNorm) in it clips
/// by the norm of the group. Transforms around `PerGroup` act on all blocks: a clip before it, a
/// [`Schedule`](super::Schedule) after it. Averages and [`SkipNonFinite`](super::SkipNonFinite) are for all blocks, and
/// refused in a group. An update that the chain of one group skips is skipped as a whole: the other groups keep the
/// states that they had before it. A chain with groups inside groups of more than 16 levels is refused.
///
/// The learning rate that trainers report and [set](super::Optimizer::set_learning_rate) is that of the chain for the
/// other blocks. An update copies parameters and gradient once, and is not made layer by layer in the backward pass.
///
/// ```
/// use chainrule::{Role, layer::Sequential, loss::MeanSquaredError, trainer::{TrainConfig, Trainer}};
/// use chainrule::transform::{AdamW, ClipNorm, PerGroup, Schedule, Sgd};
/// let network = Sequential::<f32>::input(4).linear(8).tanh().linear(1).build()?;
/// let groups = PerGroup::new(AdamW::new(1e-3, 0.01))
///     .group("0", (ClipNorm::new(1.0), AdamW::new(1e-4, 0.1).adam(|adam| adam.betas(0.9, 0.95))))
///     .group(Role::Bias, Sgd::new(1e-2));
/// let chain = (groups, Schedule::cosine(1000, 0.0));
/// let trainer = Trainer::new(network, MeanSquaredError::new(), chain, TrainConfig::default())?;
/// # Ok::<(), chainrule::Error>(())
/// ```
pub struct PerGroup<T: Scalar> {
    /// First the blocks that no group holds, then the groups in the order in which they were added.
    parts: Vec<Part<T>>,
    /// All blocks, as given to `validate`.
    blocks: Blocks,
    /// Copies, made before an update, of the states of the groups before the last one whose chain may skip an update.
    /// If a chain skips it, the groups before that chain go back to these states.
    before: Vec<T>,
    clipped: Option<f64>,
}

/// Writes each group with its chain, without parameters and gradient.
impl<T: Scalar> fmt::Debug for PerGroup<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = |part: &Part<T>| part.group.as_ref().map_or(String::from("others"), |group| format!("{group}"));
        f.write_str("PerGroup ")?;
        f.debug_map().entries(self.parts.iter().map(|part| (group(part), &part.chain))).finish()
    }
}

/// The largest number of levels of nested [`PerGroup`]s.
const MOST_GROUPS: usize = 16;

/// Returns the number of levels of nested [`PerGroup`]s in `chain`, as its members report it.
fn groups_within<T: Scalar>(chain: &impl GradientTransform<T>) -> usize {
    let mut levels = 0;
    chain.members(&mut |member| levels = levels.max(member.groups));
    levels
}

/// Replaces a chain with [`MOST_GROUPS`] levels of nested groups. It is refused, so no chain becomes deeper: to drop
/// a chain of many levels would overflow the stack.
#[derive(Debug)]
struct TooDeep;

impl<T: Scalar> GradientTransform<T> for TooDeep {
    fn validate(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        Err(Error::InvalidState { what: "a `PerGroup` in the chain of another", needs: "at most 16 levels of them" })
    }

    fn stage(&self) -> Stage {
        Stage::Optimizer
    }

    fn members(&self, visit: &mut dyn FnMut(Member)) {
        visit(Member { groups: MOST_GROUPS, ..Member::of::<Self>(Stage::Optimizer) });
    }

    fn update(&mut self, _update: Update<'_, T>) -> Result<Outcome, Error> {
        GradientTransform::<T>::validate(self, &Blocks::default()).map(|()| Outcome::Skip)
    }
}

/// One group with its chain, and copies of its parameters and their gradient, one block after the other.
struct Part<T: Scalar> {
    /// The choice of blocks; `None` for the blocks that no group holds.
    group: Option<Group>,
    chain: Box<dyn GradientTransform<T>>,
    /// The indices of the blocks of the group among all blocks.
    indices: Vec<usize>,
    blocks: Blocks,
    w: Vec<T>,
    gradient: Vec<T>,
}

impl<T: Scalar> Part<T> {
    fn new(group: Option<Group>, chain: impl GradientTransform<T> + 'static) -> Self {
        let (indices, blocks, w, gradient) = Default::default();
        let chain: Box<dyn GradientTransform<T>> = match groups_within(&chain) < MOST_GROUPS {
            true => Box::new(chain),
            false => Box::new(TooDeep),
        };
        Part { group, chain, indices, blocks, w, gradient }
    }

    fn state_len(&self) -> usize {
        self.chain.state_len(&self.blocks)
    }

    /// Whether a transform of the chain may skip an update.
    fn may_skip(&self) -> bool {
        let mut found = false;
        self.chain.members(&mut |member| found |= member.may_skip);
        found
    }

    /// Returns two ranges for each block of the group: among the parameters of `all`, the blocks of the network, and
    /// among those of the group.
    fn ranges(&self, all: &Blocks) -> impl Iterator<Item = [core::ops::Range<usize>; 2]> {
        let of = all.iter().enumerate().filter(|(i, _)| self.indices.binary_search(i).is_ok());
        of.zip(&self.blocks).map(|((_, block), own)| [block.range.clone(), own.range.clone()])
    }
}

impl<T: Scalar> PerGroup<T> {
    /// Creates the transform without groups. `others` is the chain for the blocks that no group holds.
    pub fn new(others: impl GradientTransform<T> + 'static) -> Self {
        PerGroup {
            parts: [Part::new(None, others)].into(),
            blocks: Blocks::default(),
            before: Vec::new(),
            clipped: None,
        }
    }

    /// Adds a group of blocks with its `chain`. A block that an earlier group holds does not belong to it.
    #[must_use]
    pub fn group(mut self, group: impl Into<Group>, chain: impl GradientTransform<T> + 'static) -> Self {
        self.parts.push(Part::new(Some(group.into()), chain));
        self
    }

    /// Returns, for each block of `blocks`, the number of its group, counted from 1 in the order in which groups were
    /// added; 0 if no group holds the block.
    fn owners(&self, blocks: &Blocks) -> Vec<usize> {
        let holds = |part: &Part<T>, block: &Block<'_>| part.group.as_ref().is_some_and(|group| group.holds(block));
        blocks.iter().map(|block| self.parts.iter().position(|part| holds(part, block)).unwrap_or(0)).collect()
    }

    /// Calls `set` for the blocks without a group, then for each group. Its arguments are the group with its chain, a
    /// copy of the group's parameters from `w`, and the range of `state` of its chain.
    fn set_states(&self, blocks: &Blocks, w: &[T], mut state: &mut [T], set: impl Fn(&Part<T>, &[T], &mut [T])) {
        require_state(self.parts.iter().map(Part::state_len), state.len());
        for part in &self.parts {
            let (own, rest) = state.split_at_mut(part.state_len());
            let mut of_part = part.w.clone();
            part.ranges(blocks).for_each(|[all, own]| of_part[own].copy_from_slice(&w[all]));
            set(part, &of_part, own);
            state = rest;
        }
    }

    /// Calls `visit` for the blocks without a group, then for each group. Its arguments are the group with its chain,
    /// and the range of `state` of this chain.
    fn each_state(&mut self, mut state: &mut [T], mut visit: impl FnMut(&mut Part<T>, &mut [T])) {
        require_state(self.parts.iter().map(Part::state_len), state.len());
        for part in &mut self.parts {
            let (own, rest) = state.split_at_mut(part.state_len());
            visit(part, own);
            state = rest;
        }
    }
}

/// Returns the blocks whose indices are in `indices`, which is sorted. Their new ranges follow one another from 0.
fn chosen(blocks: &Blocks, indices: &[usize]) -> Blocks {
    let mut start = 0usize;
    Blocks::collect(|visit| {
        for (_, block) in blocks.iter().enumerate().filter(|(i, _)| indices.binary_search(i).is_ok()) {
            let end = start.saturating_add(block.range.len());
            visit(Block { range: start..end, ..block.clone() });
            start = end;
        }
    })
}

impl<T: Scalar> GradientTransform<T> for PerGroup<T> {
    /// Refuses a named group without blocks of its own, and a chain that is not valid for its blocks, lacks its one
    /// optimizer, is out of order, or has a [`SkipNonFinite`](super::SkipNonFinite) or an average.
    fn validate(&mut self, blocks: &Blocks) -> Result<(), Error> {
        let owners = self.owners(blocks);
        for (number, part) in self.parts.iter_mut().enumerate() {
            part.group.as_ref().map_or(Ok(()), |group| group.check(blocks))?;
            part.indices = (0..blocks.len()).filter(|&i| owners[i] == number).collect();
            let named = matches!(part.group, Some(Group::Under(_)));
            let (blocks_of_part, rule) = (part.indices.len(), "at least one that no group before it holds");
            require(!named || blocks_of_part > 0, "the number of blocks of a named group", rule, 0.0)?;
            part.blocks = chosen(blocks, &part.indices);
            part.chain.validate(&part.blocks)?;
            let mut guarded = check_chain(&*part.chain)?;
            part.chain.members(&mut |member| guarded |= member.stage == Stage::Average);
            if guarded {
                return Err(Error::InvalidState {
                    what: "a `SkipNonFinite` or an average in the chain of a group",
                    needs: "its place before or after `PerGroup`",
                });
            }
            part.w = filled("the parameters of a group", part.blocks.parameters(), T::zero())?;
            part.gradient = filled("the gradient of a group", part.blocks.parameters(), T::zero())?;
        }
        let earlier = self.parts.iter().rposition(Part::may_skip).unwrap_or(0);
        let values = saturating_sum(self.parts[..earlier].iter().map(Part::state_len));
        self.before = filled("copies of the states of groups", values, T::zero())?;
        self.blocks = blocks.clone();
        Ok(())
    }

    fn stage(&self) -> Stage {
        Stage::Optimizer
    }

    fn members(&self, visit: &mut dyn FnMut(Member)) {
        let (mut may_skip, mut groups) = (false, 0);
        let mut note = |member: Member| {
            may_skip |= member.may_skip;
            groups = groups.max(member.groups);
        };
        self.parts.iter().for_each(|part| part.chain.members(&mut note));
        visit(Member { may_skip, groups: groups + 1, ..Member::of::<Self>(Stage::Optimizer) });
    }

    /// The total length of the states of all chains: first that of the blocks without a group, then those of the
    /// groups.
    fn state_len(&self, blocks: &Blocks) -> usize {
        if self.blocks.same_layout(blocks) {
            return saturating_sum(self.parts.iter().map(Part::state_len));
        }
        let owners = self.owners(blocks);
        let of = |number: usize| (0..blocks.len()).filter(|&i| owners[i] == number).collect::<Vec<_>>();
        let parts = self.parts.iter().enumerate();
        saturating_sum(parts.map(|(number, part)| part.chain.state_len(&chosen(blocks, &of(number)))))
    }

    fn init_state(&self, blocks: &Blocks, w: &[T], state: &mut [T]) {
        self.set_states(blocks, w, state, |part, w, state| part.chain.init_state(&part.blocks, w, state));
    }

    fn begin_at(&self, blocks: &Blocks, w: &[T], state: &mut [T]) {
        self.set_states(blocks, w, state, |part, w, state| part.chain.begin_at(&part.blocks, w, state));
    }

    fn update(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        let Update { blocks, w, gradient, state, step, recorded, clip, .. } = update;
        let (measures, mut is_measured, mut norms) = (clip.is_some(), false, [0.0; 2]);
        blocks.check_layout("an update of blocks other than those of `PerGroup`", &self.blocks)?;
        let (mut outcome, mut clips, mut whole) = (Ok(Outcome::Apply), false, 0.0);
        // The number of values in the states of the groups whose chains applied the update.
        let mut applied = 0;
        let copied = self.before.len();
        self.before.copy_from_slice(&state[..copied]);
        self.each_state(&mut *state, |part, state| {
            if !matches!(outcome, Ok(Outcome::Apply)) {
                return;
            }
            part.blocks.freeze_like(part.indices.iter().filter_map(|&i| blocks.iter().nth(i)));
            let mut copies = (core::mem::take(&mut part.w), core::mem::take(&mut part.gradient));
            for [all, own] in part.ranges(blocks) {
                copies.0[own.clone()].copy_from_slice(&w[all.clone()]);
                copies.1[own].copy_from_slice(&gradient[all]);
            }
            (part.w, part.gradient) = copies;
            let before = if recorded || measures { norm(&part.gradient) } else { 0.0 };
            let mut own = None;
            let update = Update::new(&part.blocks, &part.w, &mut part.gradient, state, step).recorded(recorded);
            outcome = part.chain.update(update.measuring(measures.then_some(&mut own)));
            applied += if outcome == Ok(Outcome::Apply) { part.state_len() } else { 0 };
            is_measured |= own.is_some();
            let after = before * own.unwrap_or(1.0);
            norms = [libm::hypot(norms[0], before), libm::hypot(norms[1], after)];
            part.ranges(blocks).for_each(|[all, own]| gradient[all].copy_from_slice(&part.gradient[own]));
            let factor = part.chain.clip_factor();
            let clipped = part.chain.clipped_norm().or(factor.map(|factor| before * factor));
            clips |= clipped.is_some();
            whole = libm::hypot(whole, clipped.unwrap_or(before));
        });
        self.clipped = Some(whole).filter(|_| clips && recorded);
        if !matches!(outcome, Ok(Outcome::Apply)) {
            // The state of the chain that skipped may hold the number of its skipped updates.
            let earlier = applied.min(copied);
            state[..earlier].copy_from_slice(&self.before[..earlier]);
        } else if let Some(clip) = clip.filter(|_| is_measured) {
            *clip = both(*clip, Some(if norms[1] < norms[0] { norms[1] / norms[0] } else { 1.0 }));
        }
        outcome
    }

    fn on_metric(&mut self, _blocks: &Blocks, metric: f64, state: &mut [T]) {
        self.each_state(state, |part, state| part.chain.on_metric(&part.blocks, metric, state));
    }

    fn clipped_norm(&self) -> Option<f64> {
        self.clipped
    }

    fn learning_rate(&self, _blocks: &Blocks, state: &[T], step: u64) -> Option<f64> {
        let others = &self.parts[0];
        if others.indices.is_empty() {
            return None;
        }
        others.chain.learning_rate(&others.blocks, &state[..others.state_len()], step)
    }

    fn rate_mut(&mut self) -> Option<&mut f64> {
        // Without blocks the rate of the others changes nothing.
        if self.parts[0].indices.is_empty() { None } else { self.parts[0].chain.rate_mut() }
    }

    fn schedules(&mut self, visit: &mut dyn FnMut(&mut Schedule)) {
        self.parts.iter_mut().for_each(|part| part.chain.schedules(visit));
    }

    fn schedule_factor(&self, step: u64) -> f64 {
        self.parts.iter().map(|part| part.chain.schedule_factor(step)).sum()
    }

    fn rate_returns_until(&self) -> u64 {
        self.parts.iter().map(|part| part.chain.rate_returns_until()).max().unwrap_or(0)
    }

    /// The transforms of all chains, in the order of their states. The `kind` of each entry names its group, since
    /// the layout of the state depends on the groups.
    fn spec(&self, _blocks: &Blocks) -> Vec<TransformSpec> {
        let mut specs = Vec::new();
        for part in &self.parts {
            let of = part.group.as_ref().map_or(String::from("others"), |group| format!("{group}"));
            let named =
                |spec: TransformSpec| TransformSpec { kind: format!("PerGroup ({} of {of})", spec.kind), ..spec };
            specs.extend(part.chain.spec(&part.blocks).into_iter().map(named));
        }
        specs
    }
}
