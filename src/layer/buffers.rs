//! Buffers: values of a layer that persist from pass to pass beside its parameters, such as running statistics.

use super::{Layer, Mode, Shards};
use crate::{
    batch_shape::BatchShape,
    error::Error,
    scalar::Scalar,
    size::{filled, room},
};
#[cfg(feature = "safetensors")]
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

/// The buffers of a network. The buffers of a layer belong to its first link: link i has `starts[i]..starts[i + 1]`.
#[derive(Clone, Debug)]
pub(crate) struct Buffers<T> {
    values: Vec<T>,
    starts: Vec<usize>,
    /// Whether the pass may update the values: true in a forward pass of training.
    pub(super) updates: bool,
    /// Memory for the lengths of the samples within a segment of steps.
    pub(crate) lengths: Vec<usize>,
    /// The shards of the next backward pass.
    pub(crate) shards: Shards<T>,
}

impl<T: Scalar> Buffers<T> {
    /// Creates the buffers of `network` with their initial values.
    pub(crate) fn of(network: &dyn Layer<T>) -> Result<Self, Error> {
        let (what, mut starts, mut end) = ("the buffers of the network", Vec::from([0]), 0usize);
        visit(network, "", &mut |_, _, links, count| {
            end = end.saturating_add(count);
            starts.extend(core::iter::repeat_n(end, links));
        });
        let mut values = filled(what, room::<T>(what, &[end])?, T::zero())?;
        let mut rest = &mut values[..];
        visit(network, "", &mut |layer, _, _, count| {
            layer.initialize_buffers(rest.split_off_mut(..count.min(rest.len())).unwrap_or_default());
        });
        Ok(Buffers { values, starts, updates: false, lengths: Vec::new(), shards: Shards::new() })
    }
}

impl<T> Buffers<T> {
    /// Returns the buffers of all layers, in link order.
    pub(crate) fn values(&self) -> &[T] {
        &self.values
    }

    pub(crate) fn values_mut(&mut self) -> &mut [T] {
        &mut self.values
    }

    /// Returns the buffers for a pass, which may change their values if `updates` is set. It is never `None`: a context
    /// of a pass holds an option.
    pub(crate) fn for_pass(&mut self, updates: bool) -> Option<&mut Self> {
        self.updates = updates;
        Some(self)
    }

    fn range(&self, link: usize) -> Range<usize> {
        match self.starts.get(link..link.saturating_add(2)) {
            Some(&[start, end]) => start..end,
            _ => 0..0,
        }
    }

    pub(super) fn of_link(&self, link: usize) -> &[T] {
        &self.values[self.range(link)]
    }

    pub(super) fn of_link_mut(&mut self, link: usize) -> &mut [T] {
        let range = self.range(link);
        &mut self.values[range]
    }
}

/// The position of one layer's buffers among those of the network.
#[cfg(feature = "safetensors")]
pub(crate) struct BufferPlace {
    /// The path of the layer.
    pub(crate) path: String,
    /// The range of the layer's values in the buffers of the network.
    pub(crate) range: Range<usize>,
    pub(crate) is_batch_norm: bool,
}

/// Returns the positions of the buffers of each layer of `network` that has any, in their order.
#[cfg(feature = "safetensors")]
pub(crate) fn buffer_places<T: Scalar>(network: &dyn Layer<T>) -> Vec<BufferPlace> {
    let (mut places, mut end) = (Vec::new(), 0usize);
    visit(network, "", &mut |layer, path, _, count| {
        let range = end..end.saturating_add(count);
        end = range.end;
        if count > 0 {
            let is_batch_norm = matches!(layer.spec(), super::LayerSpec::BatchNorm(_));
            places.push(BufferPlace { path: path.into(), range, is_batch_norm });
        }
    });
    places
}

/// The function that [`visit`] calls with a layer, its path, and the numbers of its links and of its buffer values.
type Found<'f, T> = &'f mut dyn FnMut(&dyn Layer<T>, &str, usize, usize);

/// Visits each layer with links of its own, in link order: `layer` itself, at `path`, and the layers inside it.
///
/// Only layers without parts have buffers of their own: querying each layer with parts would take time quadratic in the
/// depth.
fn visit<T: Scalar>(layer: &dyn Layer<T>, path: &str, found: Found<'_, T>) {
    let structure = layer.structure();
    let is_whole = structure.parts().next().is_none();
    if structure.own_links() > 0 {
        let count = if is_whole { layer.memory(BatchShape::batch(1), Mode::Infer).buffers } else { 0 };
        found(layer, path, structure.own_links(), count);
    }
    structure.parts().for_each(|(name, part, _)| visit(part, &structure.below(path, name), found));
}
