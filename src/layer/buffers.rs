//! Buffers: values of a layer that persist from pass to pass beside its parameters, such as running statistics.

use super::{Layer, LayerSpec, Mode, Shards, running_statistics};
use crate::{
    batch_shape::BatchShape,
    error::{Error, require},
    math::wide::{Wide, slots, wide_value},
    scalar::{Scalar, is_narrow, to_f64},
    size::{filled, room},
};
#[cfg(feature = "safetensors")]
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

/// The buffers of a network: values of its layers that persist from pass to pass beside the parameters. A layer
/// whose first link (factor of the chain rule) has the index i owns `values[starts[i]..starts[i + 1]]`.
#[derive(Clone, Debug)]
pub(crate) struct Buffers<T> {
    values: Vec<T>,
    starts: Vec<usize>,
    /// The ranges of `values` that hold running statistics followed by their rounding errors, one range for each
    /// batch norm. Only number formats narrower than `f32` have such ranges.
    wide: Vec<Range<usize>>,
    /// Whether the pass may update the buffers: true in a forward pass of training.
    pub(super) updates: bool,
    /// Reused memory for the lengths of the samples in a segment of time steps. A pass takes it out and puts it
    /// back.
    pub(crate) lengths: Vec<usize>,
    /// The ranges of samples whose gradients the next backward pass sums separately; none for most passes.
    pub(crate) shards: Shards<T>,
}

impl<T: Scalar> Buffers<T> {
    /// Creates the buffers of `network` with their initial values.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more values than memory can hold.
    pub(crate) fn of(network: &dyn Layer<T>) -> Result<Self, Error> {
        let (what, mut starts, mut end) = ("the buffers of the network", Vec::from([0]), 0usize);
        let mut wide = Vec::new();
        visit(network, "", &mut |layer, _, links, count| {
            if is_narrow::<T>() && columns(layer, count).is_some() {
                wide.push(end..end.saturating_add(count));
            }
            end = end.saturating_add(count);
            starts.extend(core::iter::repeat_n(end, links));
        });
        let mut values = filled(what, room::<T>(what, &[end])?, T::zero())?;
        let mut rest = &mut values[..];
        visit(network, "", &mut |layer, _, _, count| {
            layer.initialize_buffers(rest.split_off_mut(..count.min(rest.len())).unwrap_or_default());
        });
        Ok(Buffers { values, starts, wide, updates: false, lengths: Vec::new(), shards: Shards::new() })
    }

    /// Returns the number of values in memory: those of the buffers plus those for the gradient sums of shards.
    pub(crate) fn count(&self) -> usize {
        self.values.len() + self.shards.values()
    }

    /// Replaces each value v by `of(v, o)`, with o the value at the same index in `others`: buffers of the same
    /// network, or differences of such buffers. `of_wide` is the same function in `f64`, for running statistics that
    /// are stored with more digits than the format has.
    pub(crate) fn combine(&mut self, others: &[T], of: impl Fn(T, T) -> T, of_wide: impl Fn(f64, f64) -> f64) {
        let (end, mut at) = (self.values.len(), 0);
        for wide in self.wide.iter().cloned().chain(core::iter::once(end..end)) {
            let values = self.values[at..wide.start].iter_mut().zip(&others[at..wide.start]);
            values.for_each(|(value, &other)| *value = of(*value, other));
            let (count, other) = (wide.len() / slots::<T>(), &others[wide.clone()]);
            at = wide.end;
            let mut own = Wide::new(&mut self.values[wide], count);
            (0..count).for_each(|i| own.set(i, of_wide(own.get(i), wide_value(other, count, i))));
        }
    }
}

impl<T> Buffers<T> {
    /// Returns the same buffers for a network to which `links` links (factors of the chain rule) without buffers were
    /// added at the front.
    pub(crate) fn after(mut self, links: usize) -> Self {
        self.starts.splice(0..0, core::iter::repeat_n(0, links));
        self
    }

    /// Returns the values of the buffers of all layers, in the order of the layers.
    pub(crate) fn values(&self) -> &[T] {
        &self.values
    }

    pub(crate) fn values_mut(&mut self) -> &mut [T] {
        &mut self.values
    }

    /// Returns the buffers for a pass; `updates` states whether it may change their values. The result is always
    /// `Some`, as the context of a pass holds an `Option`.
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

/// Refuses values of the buffers of `network` that are not finite, and running variances below 0. `values` must have
/// the length of these buffers.
///
/// # Errors
/// [`Error::NonFinite`] with the index of the value; [`Error::Parameter`] for a variance below 0.
pub(crate) fn check_buffers<T: Scalar>(network: &dyn Layer<T>, values: &[T]) -> Result<(), Error> {
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(Error::NonFinite { what: "buffers", index, found: to_f64(values[index]) });
    }
    let (mut rest, mut checked) = (values, Ok(()));
    visit(network, "", &mut |layer, _, _, count| {
        let (own, after) = rest.split_at(count.min(rest.len()));
        rest = after;
        if let Some(width) = columns(layer, own.len()).filter(|_| checked.is_ok()) {
            let variances = &own[width..running_statistics::count(width)];
            let least = variances.iter().fold(T::zero(), |least, &variance| least.min(variance));
            checked = require(least >= T::zero(), "a running variance of a batch norm", "at least 0", to_f64(least));
        }
    });
    checked
}

/// Returns the number of columns of `layer` if it is a batch norm, which has `count` buffer values; `None` for others.
fn columns<T: Scalar>(layer: &dyn Layer<T>, count: usize) -> Option<usize> {
    if count == 0 {
        return None;
    }
    match layer.spec() {
        LayerSpec::BatchNorm(ref norm) => {
            Some(norm.width).filter(|&width| running_statistics::buffers_of::<T>(width) == count)
        }
        _ => None,
    }
}

/// The position of the buffers of one layer (values that persist from pass to pass) among those of the network.
#[cfg(feature = "safetensors")]
pub(crate) struct BufferPlace {
    /// The path, in the network, of the layer that owns the buffers.
    pub(crate) path: String,
    /// The range of the layer's buffer values among those of the network.
    pub(crate) range: Range<usize>,
    /// The number of columns if the layer is a batch norm; `None` for another layer.
    pub(crate) columns: Option<usize>,
}

#[cfg(feature = "safetensors")]
impl BufferPlace {
    /// Returns the range of the values that a model file holds: all but the rounding errors of running statistics,
    /// whose number depends on the number format.
    pub(crate) fn stored(&self) -> Range<usize> {
        let start = self.range.start;
        self.columns.map_or(self.range.clone(), |columns| start..start + running_statistics::count(columns))
    }
}

/// Returns the positions of the buffers of each layer of `network` that has any, in the order of the layers.
#[cfg(feature = "safetensors")]
pub(crate) fn buffer_places<T: Scalar>(network: &dyn Layer<T>) -> Vec<BufferPlace> {
    let (mut places, mut end) = (Vec::new(), 0usize);
    visit(network, "", &mut |layer, path, _, count| {
        let range = end..end.saturating_add(count);
        end = range.end;
        if count > 0 {
            places.push(BufferPlace { path: path.into(), range, columns: columns(layer, count) });
        }
    });
    places
}

/// The function that [`visit`] calls with a layer, its path, the number of its own links (factors of the chain rule),
/// and the number of its buffer values.
type Found<'f, T> = &'f mut dyn FnMut(&dyn Layer<T>, &str, usize, usize);

/// Calls `found` for each layer that has links of its own (factors of the chain rule), in the order of the links:
/// `layer` itself, at `path`, and the layers inside it.
///
/// For a layer with parts the number of buffer values is 0: only layers without parts have buffers of their own.
/// Querying layers with parts too would take time quadratic in the depth of nesting.
fn visit<T: Scalar>(layer: &dyn Layer<T>, path: &str, found: Found<'_, T>) {
    let structure = layer.structure();
    let is_whole = structure.parts().next().is_none();
    if structure.own_links() > 0 {
        let count = if is_whole { layer.memory(BatchShape::batch(1), Mode::Infer).buffers } else { 0 };
        found(layer, path, structure.own_links(), count);
    }
    structure.parts().for_each(|(name, part, _)| visit(part, &structure.below(path, name), found));
}
