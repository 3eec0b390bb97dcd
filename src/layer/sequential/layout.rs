//! Where the layers of a network have their parameters, rows and saved values.

use super::Sequential;
use crate::layer::{Layer, Mode, check::check_output_shape};
use crate::{
    batch_shape::BatchShape,
    scalar::Scalar,
    size::{saturating_product, saturating_sum},
};
use core::ops::Range;

/// Links that one link asks for: a norm, an activation, dropout and the next product.
const REACH: usize = 4;

/// Bytes of parameters that no level-2 cache holds beside what comes between them.
const FAR: usize = 4 << 20;

impl<T: Scalar> Sequential<T> {
    /// The width of the rows that come to link `i`.
    pub(super) fn width_before(&self, i: usize) -> usize {
        self.columns[i + 1] - self.columns[i]
    }

    /// The parameters of link `i`.
    pub(super) fn parameters(&self, i: usize) -> Range<usize> {
        self.starts[i]..self.starts[i + 1]
    }

    /// The rows that come to link `i`.
    pub(super) fn shape_before<'a>(&self, i: usize, shape: BatchShape<'a>) -> BatchShape<'a> {
        let before = self.changing.iter().take_while(|&&changing| changing < i);
        before.fold(shape, |shape, &changing| self.links[changing].layer.output_shape(shape))
    }

    /// The rows that link `i` makes of those that come to it.
    pub(super) fn shape_after<'a>(&self, i: usize, rows: BatchShape<'a>) -> BatchShape<'a> {
        if self.changing.contains(&i) { self.links[i].layer.output_shape(rows) } else { rows }
    }

    /// Values of the rows that come to those links, where none of them changes the rows.
    pub(super) fn values(&self, links: Range<usize>, rows: BatchShape<'_>) -> usize {
        rows.rows().saturating_mul(self.columns[links.end] - self.columns[links.start])
    }

    /// How many of them are kept for the way back.
    pub(super) fn kept(&self, links: Range<usize>, rows: BatchShape<'_>) -> usize {
        rows.rows().saturating_mul(self.kept[links.end] - self.kept[links.start])
    }

    /// What those links save, where all do so row by row.
    pub(super) fn saved(&self, links: Range<usize>, rows: BatchShape<'_>) -> usize {
        rows.rows().saturating_mul(self.saved[links.end] - self.saved[links.start])
    }

    /// How many values link `i` saves, and how many of state it carries.
    pub(super) fn own(&self, i: usize, rows: BatchShape<'_>, mode: Mode) -> [usize; 2] {
        let link = &self.links[i];
        if link.kept.by_row {
            return [if mode.saves() { self.saved(i..i + 1, rows) } else { 0 }, 0];
        }
        let memory = link.layer.memory(rows, mode);
        [memory.saved, saturating_product(&[memory.state, rows.batch])]
    }

    /// What is kept of the rows between links.
    pub(super) fn kept_in_all(&self, shape: BatchShape<'_>) -> usize {
        let links = self.links.len();
        match self.changing.is_empty() {
            true => self.kept(links.min(1)..links, shape),
            false => saturating_sum((1..links).map(|i| self.kept(i..i + 1, self.shape_before(i, shape)))),
        }
    }

    /// The largest number of values between two links.
    pub(super) fn widest(&self, shape: BatchShape<'_>) -> usize {
        if self.changing.is_empty() {
            return shape.rows().saturating_mul(self.widest);
        }
        let between = |i| self.shape_before(i, shape).rows().saturating_mul(self.width_before(i));
        (1..self.links.len()).map(between).max().unwrap_or(0)
    }

    /// Whether a pass finds most of its memory far away, and a link whose product takes its time asks for what the next
    /// ones need.
    pub(super) fn is_far(&self) -> bool {
        self.starts[self.links.len()].saturating_mul(size_of::<T>()) > FAR
    }

    /// Whether link `i` has a matrix of parameters: a norm has two values a column.
    pub(super) fn multiplies(&self, i: usize) -> bool {
        self.parameters(i).len() > self.width_before(i).saturating_mul(2)
    }

    /// The links after link `i` as far as the next that multiplies, but not far.
    pub(super) fn above(&self, i: usize) -> Range<usize> {
        let all = i + 1..self.links.len().min(i + 1 + REACH);
        all.start..all.clone().find(|&i| self.multiplies(i)).map_or(all.end, |i| i + 1)
    }

    /// The links before link `i` as far as the next that multiplies, but not far.
    pub(super) fn below(&self, i: usize) -> Range<usize> {
        let all = i.saturating_sub(REACH)..i;
        all.clone().rfind(|&i| self.multiplies(i)).unwrap_or(all.start)..i
    }

    /// The rows that link `i` makes of those that come to it in a pass.
    pub(super) fn change<'a>(&self, i: usize, rows: BatchShape<'a>) -> BatchShape<'a> {
        let after = self.links[i].layer.output_shape(rows);
        check_output_shape(rows, after).unwrap_or_else(|rule| panic!("layer {i} of a Sequential: {rule}"));
        after
    }
}
