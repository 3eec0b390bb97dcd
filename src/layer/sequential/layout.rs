//! The positions of the layers' parameters, rows and saved values in the buffers of a network.

use super::{Entry, Sequential};
use crate::layer::{Layer, Mode, check::check_output_shape};
use crate::{
    batch_shape::BatchShape,
    scalar::Scalar,
    size::{saturating_product, saturating_sum},
};
use core::ops::Range;

/// The largest number of layers whose memory one layer prefetches: for example a norm, an activation, dropout and the
/// next product.
const REACH: usize = 4;

/// The size, in bytes, beyond which the parameters of a network do not stay in a level-2 cache from pass to pass.
const FAR: usize = 4 << 20;

impl<T: Scalar> Sequential<T> {
    /// The input width of layer `i`.
    pub(super) fn width_before(&self, i: usize) -> usize {
        self.columns[i + 1] - self.columns[i]
    }

    /// The range of the parameters of layer `i` among those of the network.
    pub(super) fn parameters(&self, i: usize) -> Range<usize> {
        self.layers[i].parameters.clone()
    }

    /// The batch shape of the input of layer `i`, for a network input of `shape`.
    pub(super) fn shape_before<'a>(&self, i: usize, shape: BatchShape<'a>) -> BatchShape<'a> {
        let before = self.changing.iter().take_while(|&&changing| changing < i);
        before.fold(shape, |shape, &changing| self.layers[changing].layer.output_shape(shape))
    }

    /// The batch shape of the output of layer `i`, for a layer input of the shape `rows`.
    pub(super) fn shape_after<'a>(&self, i: usize, rows: BatchShape<'a>) -> BatchShape<'a> {
        if self.changing.contains(&i) { self.layers[i].layer.output_shape(rows) } else { rows }
    }

    /// Returns the number of input values of the layers `layers`, summed over the layers, for `rows` rows. None of
    /// the layers may change the number of rows.
    #[inline]
    pub(super) fn values(&self, layers: Range<usize>, rows: usize) -> usize {
        rows.saturating_mul(self.columns[layers.end] - self.columns[layers.start])
    }

    /// Returns the number of input values of the layers `layers`, summed over the layers, that are kept for the
    /// backward pass over `rows` rows. None of the layers may change the number of rows.
    #[inline]
    pub(super) fn kept(&self, layers: Range<usize>, rows: usize) -> usize {
        rows.saturating_mul(self.kept[layers.end] - self.kept[layers.start])
    }

    /// Returns the number of values that the layers `layers` save together for `rows` rows. Each of them must save a
    /// fixed number of values per row.
    #[inline]
    pub(super) fn saved(&self, layers: Range<usize>, rows: usize) -> usize {
        rows.saturating_mul(self.saved[layers.end] - self.saved[layers.start])
    }

    /// Returns, for the layer `link` in a pass over `shape`, which has `rows` rows, in `mode`: the number of values
    /// that it saves, then the number of its state values for all samples.
    #[inline]
    pub(super) fn own(link: &Entry<T>, shape: BatchShape<'_>, rows: usize, mode: Mode) -> [usize; 2] {
        if link.kept.by_row {
            return [if mode.saves() { rows.saturating_mul(link.saved_width) } else { 0 }, 0];
        }
        let memory = link.layer.memory(shape, mode);
        [memory.saved, saturating_product(&[memory.state, shape.batch])]
    }

    /// Returns the number of values between layers (outputs of one layer, inputs of the next) that are kept for the
    /// backward pass, for a network input of `shape`.
    #[inline(always)]
    pub(super) fn kept_in_all(&self, shape: BatchShape<'_>) -> usize {
        let count = self.layers.len();
        match self.changing.is_empty() {
            true => self.kept(count.min(1)..count, shape.rows()),
            false => self.kept_by_layer(shape),
        }
    }

    /// Returns the same number as [`kept_in_all`](Self::kept_in_all), summed layer by layer: needed if layers change
    /// the number of rows.
    #[inline(never)]
    fn kept_by_layer(&self, shape: BatchShape<'_>) -> usize {
        saturating_sum((1..self.layers.len()).map(|i| self.kept(i..i + 1, self.shape_before(i, shape).rows())))
    }

    /// Returns the largest number of values between two layers (the output of one, the input of the next), for a
    /// network input of `shape`.
    #[inline(always)]
    pub(super) fn widest(&self, shape: BatchShape<'_>) -> usize {
        match self.changing.is_empty() {
            true => shape.rows().saturating_mul(self.widest),
            false => self.widest_by_layer(shape),
        }
    }

    /// Computes [`widest`](Self::widest) if layers change the number of rows.
    #[inline(never)]
    fn widest_by_layer(&self, shape: BatchShape<'_>) -> usize {
        let between = |i| self.shape_before(i, shape).rows().saturating_mul(self.width_before(i));
        (1..self.layers.len()).map(between).max().unwrap_or(0)
    }

    /// Returns the lengths, in values, of the two buffers for rows between layers, for a network input of `shape`. The
    /// second is 0 for up to two layers: then only one gradient lies between layers, and the caller provides the
    /// others.
    #[inline]
    pub(super) fn buffers_between(&self, shape: BatchShape<'_>) -> [usize; 2] {
        let widest = self.widest(shape);
        [widest, if self.layers.len() > 2 { widest } else { 0 }]
    }

    /// Whether the parameters of the network exceed a level-2 cache, so that a layer with a large matrix product
    /// prefetches the memory of the next layers.
    pub(super) fn is_far(&self) -> bool {
        self.starts[self.layers.len()].saturating_mul(size_of::<T>()) > FAR
    }

    /// Whether layer `i` has a matrix of parameters: more parameters than a norm, which has two per input column.
    pub(super) fn multiplies(&self, i: usize) -> bool {
        self.parameters(i).len() > self.width_before(i).saturating_mul(2)
    }

    /// Returns the indices of the layers directly after layer `i`, up to and including the nearest layer with a
    /// matrix of parameters, but at most [`REACH`] indices.
    pub(super) fn above(&self, i: usize) -> Range<usize> {
        let all = i + 1..self.layers.len().min(i + 1 + REACH);
        all.start..all.clone().find(|&i| self.multiplies(i)).map_or(all.end, |i| i + 1)
    }

    /// Returns the indices of the layers directly before layer `i`, back to and including the nearest layer with a
    /// matrix of parameters, but at most [`REACH`] indices.
    pub(super) fn below(&self, i: usize) -> Range<usize> {
        let all = i.saturating_sub(REACH)..i;
        all.clone().rfind(|&i| self.multiplies(i)).unwrap_or(all.start)..i
    }

    /// Returns the batch shape of the output of layer `i` in a pass, for a layer input of the shape `rows`. Panics if
    /// the shape of the output is not valid.
    pub(super) fn change<'a>(&self, i: usize, rows: BatchShape<'a>) -> BatchShape<'a> {
        let after = self.layers[i].layer.output_shape(rows);
        check_output_shape(rows, after).unwrap_or_else(|rule| panic!("layer {i} of a Sequential: {rule}"));
        after
    }
}
