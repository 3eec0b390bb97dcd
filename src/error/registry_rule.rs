use super::{Error, message::nearest_names};
use alloc::{boxed::Box, string::String, vec::Vec};

/// A rule of a [`Registry`](crate::network::Registry), with the value that breaks it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryRule {
    /// Two registered parts of the same kind (layer, cell, activation or initializer) with the same name.
    #[error("two parts have this name; give each its own")]
    Twice,
    /// A layer spec with a custom part (layer, cell, activation or initializer) that is not registered.
    #[error("{path} needs it, but it is not registered; add it to the registry{}", nearest_names(nearest))]
    Unknown {
        /// The layer that has the part, as text: `layer 2`, or `the network`.
        path: String,
        /// The registered names that are most like the name of the part, nearest first.
        nearest: Vec<String>,
    },
    /// A custom part whose registered function returned an error.
    #[error("{path} could not be built: {reason}")]
    Build {
        /// The layer that has the part, as text: `layer 2`, or `the network`.
        path: String,
        /// The error that the function returned.
        reason: Box<Error>,
    },
    /// A custom part whose name, `dims` or settings, as its registered function built it, differ from the layer spec.
    #[error(
        "{path} was built with {what} {found}, but its description has {expected}; make the registered function build \
         it from the settings that it receives"
    )]
    Differs {
        /// The layer that has the part, as text: `layer 2`, or `the network`.
        path: String,
        /// The property that differs: name, dims or settings.
        what: &'static str,
        /// The value of the property in the layer spec, as text.
        expected: String,
        /// The value of the property of the part that was built, as text.
        found: String,
    },
}
