//! Layers of a [`Sequential`] that threads go through together: each takes some samples through all of them.
//!
//! A layer of a deep narrow network is too short to be divided by itself. What such layers do to a sample depends on
//! nothing else, so threads need not meet before the end of a stretch of them. Backward keeps every dy of the stretch; the
//! sums over samples, dW, come after, for each layer as a whole and by one thread: the bits are those of one thread.

use super::{Backward, Forward, Layer, Mode, Rows, Sequential, Trained};
use crate::{
    extent::Extent,
    kernel::{
        chain::{GRAIN, Way, by_rows, by_stretches},
        product::PER_NANOSECOND,
        team::{parts, threads},
    },
    scalar::Scalar,
};
use core::ops::Range;

/// The most parameters of a layer in a stretch: with more the layer is worth dividing by itself, and what threads pack
/// twice weighs more.
const SMALL: usize = 1 << 15;

/// Values of dy that a stretch keeps backward: with x and W of the same layers they stay in a level-2 cache.
const KEPT: usize = 1 << 16;

/// Some links in a row, and for how many parts of the samples they are worth it.
pub(super) struct Stretch {
    pub(super) links: Range<usize>,
    parts: usize,
}

/// Whether a layer can be part of a stretch: all that it does to a row depends on that row alone, and it keeps nothing.
pub(super) fn is_plain<T: Scalar>(layer: &dyn Layer<T>) -> bool {
    let probe = Extent::batch(3);
    let needs = layer.needs(probe, Mode::Train);
    layer.rows() == Rows::Independent
        && layer.extent(probe) == probe
        && needs.saved + needs.carried == 0
        && layer.dims().parameters <= SMALL
}

impl<T: Scalar> Sequential<T> {
    /// Whether there can be stretches: rows are samples, and the work is worth more than one thread.
    pub(super) fn has_stretches(&self, extent: Extent<'_>) -> bool {
        extent.steps == 1 && self.parts(0..self.links.len(), extent) > 1
    }

    /// For how many parts of the rows those links are worth it.
    fn parts(&self, links: Range<usize>, rows: Extent<'_>) -> usize {
        // A value costs about as much as eight multiplications of a product.
        let parameters = self.starts[links.end] - self.starts[links.start];
        let work = rows.rows() * parameters + 8 * self.kept(links, rows);
        // One a thread: each packs the weights for itself.
        parts(rows.rows().div_ceil(GRAIN), work / PER_NANOSECOND, 1)
    }

    /// The stretch that begins with link `i`, if one is worth it. The last link is in none: its rows go elsewhere.
    pub(super) fn stretch_up(&self, i: usize, rows: Extent<'_>, scratch: usize) -> Option<Stretch> {
        let plain = self.links[i..self.links.len() - 1].iter().take_while(|link| link.plain).count();
        self.stretch(i..i + plain, rows, scratch)
    }

    /// The stretch that ends with the last of `links`, if one is worth it.
    pub(super) fn stretch_down(&self, links: Range<usize>, rows: Extent<'_>, scratch: usize) -> Option<Stretch> {
        let end = if links.end == self.links.len() { return None } else { links.end };
        let plain = self.links[links.start..end].iter().rev().take_while(|link| link.plain).count();
        let most = self.columns[end].saturating_sub(KEPT / rows.rows());
        let start = self.columns[..end].partition_point(|&column| column < most);
        self.stretch(start.max(end - plain)..end, rows, scratch)
    }

    fn stretch(&self, links: Range<usize>, rows: Extent<'_>, scratch: usize) -> Option<Stretch> {
        let parts = self.parts(links.clone(), rows);
        let fits = || KEPT + parts * self.share(links.clone(), rows) <= scratch;
        (parts > 1 && fits()).then_some(Stretch { links, parts })
    }

    /// Scratch of a part: what the neediest link needs, and a gradient that nobody wants.
    fn share(&self, links: Range<usize>, rows: Extent<'_>) -> usize {
        let plain = links.filter(|&i| self.links[i].plain);
        plain
            .map(|i| self.links[i].layer.needs(rows, Mode::Train).scratch + self.parameters(i).len())
            .max()
            .unwrap_or(0)
    }

    /// Scratch for stretches of a pass over `extent`, beside that of the links.
    pub(super) fn stretch_scratch(&self, extent: Extent<'_>, mode: Mode) -> usize {
        if !mode.saves() || !self.has_stretches(extent) {
            return 0;
        }
        KEPT + threads() * self.share(0..self.links.len(), extent)
    }

    /// The forward pass through a stretch, unwatched; `y` is to hold what comes out of each link.
    pub(super) fn forward_together(&self, w: &[T], stretch: &Stretch, pass: Forward<'_, T>) {
        let Forward { extent, mode, noise, x, y, scratch, at, .. } = pass;
        let Range { start, end } = stretch.links;
        let size = [stretch.parts, extent.rows()];
        by_rows(size, &self.columns[start..end + 2], Way::Up, x, y, scratch, |k, own, x, y, scratch| {
            let (i, mut nobody) = (start + k - 1, ());
            let link = &self.links[i];
            let (noise, at) = (noise.later(own.start), at.part(link.first_place));
            let pass = Forward::new(Extent::batch(own.len()), mode, x, y, &mut [], scratch, &mut nobody);
            link.layer.forward(&w[self.parameters(i)], Forward { noise, at, ..pass });
        });
    }

    /// The backward pass through a stretch, unwatched; `inner` are the rows that come to each link but the first, whose
    /// are `x`.
    pub(super) fn backward_together(&self, w: &[T], stretch: &Stretch, inner: &[T], pass: Backward<'_, T>) {
        let Backward { extent, mode, noise, x, y, dy, dx, dw, fresh, trained, scratch, at, .. } = pass;
        let (Range { start, end }, parts) = (stretch.links.clone(), stretch.parts);
        // Some of the rows that come to link i.
        let before = |i: usize, rows: &Range<usize>| {
            let all = match i {
                i if i == start => x,
                i if i == end => y,
                i => &inner[self.kept(start + 1..i, extent)..],
            };
            let width = self.width_before(i);
            &all[rows.start * width..rows.end * width]
        };
        let (kept, scratch) = scratch.split_at_mut(KEPT);
        // Nobody may ask for the gradient of what comes to the first link.
        let lowest = if dx.is_some() { start } else { start + 1 };
        let columns = &self.columns[lowest..end + 2];
        by_rows([parts, extent.rows()], columns, Way::Down, dy, kept, scratch, |k, own, dy, dx, scratch| {
            let (i, mut nobody) = (lowest + k, ());
            let link = &self.links[i];
            let (unwanted, scratch) = scratch.split_at_mut(self.parameters(i).len());
            let (rows, x, y) = (Extent::batch(own.len()), before(i, &own), before(i + 1, &own));
            let (noise, at, trained) = (noise.later(own.start), at.part(link.first_place), Trained::NONE);
            let fresh = link.layer.overwrites();
            let pass = Backward::new(rows, mode, x, y, &mut [], dy, Some(dx), unwanted, scratch, &mut nobody);
            link.layer.backward(&w[self.parameters(i)], Backward { noise, fresh, trained, at, ..pass });
        });
        // The gradient of what comes to link i.
        let kept = |i: usize| &kept[self.kept(i + 1..end, extent)..][..self.kept(i..i + 1, extent)];
        if let Some(dx) = dx {
            dx.copy_from_slice(kept(start));
        }
        let all = 0..extent.rows();
        by_stretches(parts, &self.starts[start..end + 1], dw, scratch, |k, dw, scratch| {
            let (i, mut nobody) = (start + k, ());
            let link = &self.links[i];
            let (x, y, dy) = (before(i, &all), before(i + 1, &all), if i + 1 == end { dy } else { kept(i + 1) });
            let overwrites = link.layer.overwrites();
            if fresh && !overwrites {
                dw.fill(T::zero());
            }
            let fresh = fresh && overwrites;
            let (trained, at) = (trained.part(link.first_block), at.part(link.first_place));
            let pass = Backward::new(extent, mode, x, y, &mut [], dy, None, dw, scratch, &mut nobody);
            link.layer.backward(&w[self.parameters(i)], Backward { noise, fresh, trained, at, ..pass });
        });
    }
}
