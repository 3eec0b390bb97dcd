//! The decades (powers of ten) by which each link changes the gradient's norm, over the passes of a run, in bounded
//! memory.

use super::Factor;
#[cfg(doc)]
use super::LinkBudget;
use alloc::{string::String, vec::Vec};
use core::fmt;

/// The largest number of items that a [`Thinning`] keeps.
pub(super) const KEPT: usize = 128;

/// Decides which items of a sequence of unknown length to keep: every k-th, k = 1 at first. At [`KEPT`] items every
/// other one is dropped, and k is doubled. So 64 to 128 items of a long sequence are kept, at equal distances.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Thinning {
    seen: u64,
    doublings: u32,
}

impl Thinning {
    /// Counts the next item, and returns whether to keep it. `kept` is the number of items kept before. If it is
    /// [`KEPT`] and another is to be kept, `halve` is called, which must drop every other one.
    pub(super) fn keeps(&mut self, kept: usize, halve: impl FnOnce()) -> bool {
        let number = self.seen;
        self.seen += 1;
        if !number.is_multiple_of(1 << self.doublings) {
            return false;
        }
        if kept == KEPT {
            // The number of this item is KEPT · k, a multiple of 2k.
            halve();
            self.doublings += 1;
        }
        true
    }
}

/// Drops every other item: the first stays, the second is dropped.
pub(super) fn halve<V>(items: &mut Vec<V>) {
    let mut keep = false;
    items.retain(|_| {
        keep = !keep;
        keep
    });
}

/// The decades (powers of ten) by which each link (factor of the chain rule) of the main path changes the norm of the
/// gradient, over the passes of a run, in bounded memory.
///
/// Every k-th pass is kept, k = 1 at first. At 128 passes every other one is dropped and k is doubled, so that 64 to
/// 128 passes of a long run are kept, at equal distances. It allocates only for a link that was not reported before.
#[derive(Clone, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BudgetHistory {
    /// The number of each kept pass. [`Statistics`](super::Statistics) counts monitored passes, from 1. In a
    /// [`RunRecord`](crate::monitor::RunRecord) it is the number of the update.
    pub numbers: Vec<u64>,
    /// The links (factors of the chain rule) of the main path, in the order in which they were first reported, which
    /// is from loss to input.
    pub links: Vec<LinkHistory>,
    #[cfg_attr(feature = "serde", serde(skip))]
    thinning: Thinning,
    /// Whether the current pass is kept; `None` before its first call of [`push`](Self::push).
    #[cfg_attr(feature = "serde", serde(skip))]
    open: Option<bool>,
    /// The index in `links` at which the search for the next link starts.
    #[cfg_attr(feature = "serde", serde(skip))]
    next: usize,
}

/// Writes the numbers of passes and links, and the first and the last pass.
impl fmt::Debug for BudgetHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut history = f.debug_struct("BudgetHistory");
        history.field("passes", &self.numbers.len()).field("links", &self.links.len());
        history.field("first", &self.numbers.first()).field("last", &self.numbers.last()).finish()
    }
}

/// The decades (powers of ten) by which one link, a factor of the chain rule, changes the gradient's norm, over the
/// passes that a [`BudgetHistory`] keeps.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LinkHistory {
    /// The name of the link (factor of the chain rule): the path of its layer, `3`, or this path and a part,
    /// `0.recurrent`.
    pub name: String,
    /// The factor of the chain rule that the link applies.
    pub factor: Factor,
    /// log10 of the link's factor on the gradient's norm ([`LinkBudget::decades`]) in each kept pass. `None` for a
    /// pass in which the link was not reported, or both norms were zero.
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub decades: Vec<Option<f64>>,
}

impl BudgetHistory {
    /// Returns, for each kept pass, the sum of the decades of all links: log10 of the factor by which the main path
    /// changes the gradient's norm. `None` for a pass in which every link had a gradient of zero.
    pub fn totals(&self) -> Vec<Option<f64>> {
        let total = |pass: usize| {
            let decades = self.links.iter().filter_map(|link| link.decades.get(pass).copied().flatten());
            decades.fold(None, |sum: Option<f64>, decades| Some(sum.unwrap_or(0.0) + decades))
        };
        (0..self.numbers.len()).map(total).collect()
    }

    /// Ends the current pass: the next call of [`push`](Self::push) begins a new one.
    pub(super) fn end(&mut self) {
        self.open = None;
    }

    /// Adds a link (factor of the chain rule) of the main path, with the norms of the gradient before and after it in
    /// the backward pass. The first call after [`end`](Self::end) begins a pass with the number `number`; later calls
    /// ignore `number`.
    pub(super) fn push(&mut self, number: u64, name: &str, factor: Factor, [before, after]: [f64; 2]) {
        if self.open.is_none() {
            self.begin(number);
        }
        let count = self.links.len();
        let is = |link: &LinkHistory| link.factor == factor && link.name == name;
        let start = self.next.min(count);
        let found = (start..count).chain(0..start).find(|&i| is(&self.links[i]));
        let place = found.unwrap_or_else(|| self.append(name.into(), factor, Vec::with_capacity(KEPT)));
        self.push_at(place, number, [before, after]);
    }

    /// Appends a link that was not reported before, and returns its index in `links`. `decades`, an empty vector,
    /// becomes the list of its decades, with `None` for each earlier pass.
    pub(super) fn append(&mut self, name: String, factor: Factor, mut decades: Vec<Option<f64>>) -> usize {
        decades.resize(self.numbers.len(), None);
        self.links.push(LinkHistory { name, factor, decades });
        self.links.len() - 1
    }

    /// Adds the link with the index `place` in [`links`](Self::links), as [`push`](Self::push) adds a link by name.
    /// `before` and `after` are the norms of the gradient before and after it in the backward pass.
    pub(super) fn push_at(&mut self, place: usize, number: u64, [before, after]: [f64; 2]) {
        if self.open.is_none() {
            self.begin(number);
        }
        self.next = place + 1;
        if self.open == Some(true)
            && (before != 0.0 || after != 0.0)
            && let Some(last) = self.links[place].decades.last_mut()
        {
            *last = Some(libm::log10(after / before));
        }
    }

    fn begin(&mut self, number: u64) {
        if self.numbers.capacity() == 0 {
            self.numbers.reserve_exact(KEPT);
        }
        let BudgetHistory { numbers, links, thinning, .. } = self;
        let keeps = thinning.keeps(numbers.len(), || {
            halve(numbers);
            links.iter_mut().for_each(|link| halve(&mut link.decades));
        });
        (self.open, self.next) = (Some(keeps), 0);
        if keeps {
            self.numbers.push(number);
            self.links.iter_mut().for_each(|link| link.decades.push(None));
        }
    }
}
