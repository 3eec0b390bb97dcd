use super::{Error, message::nearest_names};
use alloc::{boxed::Box, string::String, vec::Vec};

/// A rule of a [`Registry`](crate::network::Registry) of custom parts (layers, cells, activations, initializers) that
/// is broken, with the offending value. It is part of [`Error::Registered`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryRule {
    /// Two registered parts of the same kind (layer, cell, activation or initializer) with the same name.
    #[error("two parts have this name; give each its own")]
    Twice,
    /// A layer spec (a network as data) with a custom layer, cell, activation or initializer that is not registered.
    #[error("{path} needs it, but it is not registered; add it to the registry{}", nearest_names(nearest))]
    Unknown {
        /// The layer that has the unregistered part, as text: `layer 2`, or `the network`.
        path: String,
        /// The registered names that are most similar to the name in the layer spec, nearest first.
        nearest: Vec<String>,
    },
    /// A custom layer, cell, activation or initializer whose registered function returned an error.
    #[error("{path} could not be built: {reason}")]
    Build {
        /// The layer whose custom part could not be built, as text: `layer 2`, or `the network`.
        path: String,
        /// The error that the registered function returned.
        reason: Box<Error>,
    },
    /// A custom part (layer, cell, activation or initializer) that was built with another name, `dims` or settings
    /// than its layer spec has.
    #[error(
        "{path} was built with {what} {found}, but its description has {expected}; make the registered function build \
         it from the settings that it receives"
    )]
    Differs {
        /// The layer whose custom part differs from its layer spec, as text: `layer 2`, or `the network`.
        path: String,
        /// The property of the custom part that differs: name, dims or settings.
        what: &'static str,
        /// The value of the differing property in the layer spec, as text.
        expected: String,
        /// The value of the differing property in the part that the registered function built, as text.
        found: String,
    },
}
