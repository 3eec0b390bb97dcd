//! The layers that are their own description: a new one is its own file, a line here, and a method of the builder.

/// Calls the macro `$then` with the list: file and type of each layer. The type implements [`ListedLayer`].
macro_rules! leaf_layers {
    ($then:ident) => {
        $then! {
            gated_linear: GatedLinear;
            softmax: Softmax;
        }
    };
}
pub(super) use leaf_layers;

use super::Layer;
use crate::scalar::Scalar;
use alloc::{boxed::Box, string::String, vec::Vec};

/// A layer without parts that is its own description.
pub(crate) trait ListedLayer: Sized {
    /// The name and value of each setting that must match when a checkpoint is loaded, widths among them.
    fn facts(&self) -> Vec<(&'static str, String)>;

    /// The layer for the scalar `T`, checked like one from a constructor.
    fn layer<T: Scalar>(&self) -> Box<dyn Layer<T>>;

    /// Layers for rows of `width` values, of which random networks are made.
    #[cfg(feature = "proptest")]
    fn examples(width: usize) -> Vec<Self>;
}
