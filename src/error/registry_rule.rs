use super::{Error, message::nearest_names};
use alloc::{boxed::Box, string::String, vec::Vec};

/// A rule of a [`Registry`](crate::network::Registry), with the value that breaks it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryRule {
    /// Two parts of one kind with one name.
    #[error("two parts have this name; each must have its own")]
    Twice,
    /// A description with a part that is not registered.
    #[error("{path} needs it, but it is not registered; add it to the registry{}", nearest_names(nearest))]
    Unknown {
        /// The path of the layer.
        path: String,
        /// The registered names that are most like it, nearest first.
        nearest: Vec<String>,
    },
    /// A part that its function did not build.
    #[error("{path} could not be built: {reason}")]
    Build {
        /// The path of the layer.
        path: String,
        /// The error of the function.
        reason: Box<Error>,
    },
    /// A part that is not the described one.
    #[error("{path} was built with {what} {found}, but its description has {expected}; build it from its settings")]
    Differs {
        /// The path of the layer.
        path: String,
        /// Name, dims or settings.
        what: &'static str,
        /// The value of the description.
        expected: String,
        /// The value of the part that was built.
        found: String,
    },
}
