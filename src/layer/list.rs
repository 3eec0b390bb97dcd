//! The layers without parts, which a [`LayerSpec`](super::LayerSpec) stores as they are. A new layer needs a file, an
//! entry in this list, and a method of the builder.

/// Calls the macro `$then` with the list: for each file of the module `layer`, its name and its layer types. Each type
/// implements [`ListedLayer`].
macro_rules! leaf_layers {
    ($then:ident) => {
        $then! {
            linear: Linear;
            prelu: PRelu;
            norm: LayerNorm, RmsNorm, GroupNorm;
            batch_norm: BatchNorm;
            embedding: Embedding;
            dropout: Dropout;
            pool: LastStep, MeanOverSteps;
            gated_linear: GatedLinear;
            softmax: Softmax;
            log_softmax: LogSoftmax;
        }
    };
}
pub(crate) use leaf_layers;

use crate::{activation::ActivationKind, error::Error, initializer::InitializerKind};
use alloc::{format, string::String, vec::Vec};
use core::fmt::Debug;

/// The name of a layer's setting, and its value as text.
pub(crate) type Fact = (&'static str, String);

/// Returns a setting with the `Debug` text of its value, for [`ListedLayer::facts`].
pub(super) fn fact(name: &'static str, value: impl Debug) -> Fact {
    (name, format!("{value:?}"))
}

/// An activation or initializer of a layer, as data that a [`Registry`](crate::network::Registry) can replace.
pub(crate) enum Kind<'a> {
    Activation(&'a mut ActivationKind),
    Initializer(&'a mut InitializerKind),
}

/// A layer without parts that is its own layer specification: a [`LayerSpec`](super::LayerSpec) holds a copy of it.
/// The same value is the layer for every scalar type.
pub(crate) trait ListedLayer: Debug {
    /// Returns the settings, including widths, that must equal those of a checkpoint from which the layer is restored.
    /// Initializers are not among them.
    #[cfg_attr(not(feature = "safetensors"), allow(dead_code))]
    fn facts(&self) -> Vec<Fact>;

    /// Returns the settings that act only in training. A checkpoint from which the layer is restored may have other
    /// values. Summaries and messages show the values after the name of the layer.
    fn training_facts(&self) -> Vec<Fact> {
        Vec::new()
    }

    /// Checks the settings of this layer: returns the error with which its constructors refuse them. A file may hold
    /// any settings, so this method is called whenever the layer becomes part of a network. The default allows all.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Returns the activations and initializers among the settings, which may be custom. The default is none.
    fn kinds_mut(&mut self) -> Vec<Kind<'_>> {
        Vec::new()
    }

    /// Returns layers for rows of `width` values, from which property tests build random networks. They must keep
    /// the number of time steps. The default is none.
    #[cfg(feature = "proptest")]
    fn examples(_width: usize) -> Vec<Self>
    where
        Self: Sized,
    {
        Vec::new()
    }
}
