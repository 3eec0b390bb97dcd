//! The layers without parts whose type is also their description in a [`LayerSpec`](super::LayerSpec). A new one needs
//! a file, a line here, and a method of the builder.

/// Calls the macro `$then` with the list: a file and its types. Each type implements [`ListedLayer`].
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
        }
    };
}
pub(crate) use leaf_layers;

use crate::error::Error;
use alloc::{format, string::String, vec::Vec};
use core::fmt::Debug;

/// The name and the value of a setting.
pub(crate) type Fact = (&'static str, String);

/// Returns a setting with the `Debug` text of its value, for [`ListedLayer::facts`].
pub(super) fn fact(name: &'static str, value: impl Debug) -> Fact {
    (name, format!("{value:?}"))
}

/// A layer without parts that is its own description: a copy of it is the layer, for any scalar.
pub(crate) trait ListedLayer: Debug {
    /// Returns the settings that must match when a checkpoint is loaded, including widths. Initializers do not matter
    /// then.
    #[cfg_attr(not(feature = "safetensors"), allow(dead_code))]
    fn facts(&self) -> Vec<Fact>;

    /// Returns the settings that act only in training, each after its name, so that a checkpoint may have others. They
    /// are part of the layer's title.
    fn training_facts(&self) -> Vec<Fact> {
        Vec::new()
    }

    /// Returns the error of the constructors for settings that they refuse: a description may come from a file.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Returns layers for rows of `width` values that keep the steps, for random networks.
    #[cfg(feature = "proptest")]
    fn examples(_width: usize) -> Vec<Self>
    where
        Self: Sized,
    {
        Vec::new()
    }
}
