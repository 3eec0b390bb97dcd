//! The layout of a recurrent state: pieces of \[batch, width\], layer after layer.

use super::{Layer, LayerSpec, Mode};
use crate::{
    batch_shape::BatchShape,
    error::{Error, LayerRule},
    scalar::Scalar,
};
use alloc::vec::Vec;

/// The widths of the pieces of a recurrent state, in order, layer after layer. Each piece, such as the h of one layer,
/// is \[batch, width\].
#[derive(Clone, Debug, Default)]
pub(crate) struct StateLayout(Vec<usize>);

impl StateLayout {
    /// Returns the layout of the state of `network`. Each recurrent layer has two pieces: h, and the rest of its
    /// state.
    ///
    /// # Errors
    /// [`LayerRule::StateLayout`], with the layer, for a custom layer with a state, whose layout is not known.
    pub(crate) fn of<T: Scalar>(network: &dyn Layer<T>) -> Result<Self, Error> {
        let mut layout = StateLayout::default();
        layout.add(network, "").map(|()| layout)
    }

    /// Creates the layout of pieces of these `widths`.
    pub(crate) fn pieces(widths: &[usize]) -> Self {
        StateLayout(widths.to_vec())
    }

    /// Returns the state of sample number `sample` of a batch, one piece (such as the h of a layer) after the other.
    /// `from` is the state of the whole batch.
    pub(crate) fn of_sample<T: Copy>(&self, from: &[T], sample: usize) -> Vec<T> {
        let (batch, mut start, mut own) = (from.len() / self.0.iter().sum::<usize>().max(1), 0, Vec::new());
        for width in &self.0 {
            own.extend_from_slice(&from[start + width * sample..][..*width]);
            start += width * batch;
        }
        own
    }

    fn add<T: Scalar>(&mut self, layer: &dyn Layer<T>, path: &str) -> Result<(), Error> {
        let state = layer.memory(BatchShape::batch(1), Mode::Infer).state;
        match layer.spec() {
            _ if state == 0 => Ok(()),
            LayerSpec::Custom { .. } => Err(LayerRule::StateLayout { kind: layer.spec().title() }.at(path)),
            LayerSpec::Recurrent { hidden, .. } => {
                self.0.extend([hidden, state.saturating_sub(hidden)]);
                Ok(())
            }
            _ => {
                let structure = layer.structure();
                structure.parts().try_for_each(|(name, part, _)| self.add(part, &structure.below(path, name)))
            }
        }
    }

    /// Appends to `to` the state of the first `samples` samples of a batch, one piece (such as the h of a layer)
    /// after the other. `from` is the state of the whole batch. If the batch has fewer samples, all are copied.
    pub(crate) fn gather<T: Copy>(&self, from: &[T], samples: usize, to: &mut Vec<T>) {
        let (batch, mut start) = (from.len() / self.0.iter().sum::<usize>().max(1), 0);
        for width in &self.0 {
            to.extend_from_slice(&from[start..][..width * samples.min(batch)]);
            start += width * batch;
        }
    }
}
