//! Constructors of errors, and functions that add their origin: the path of an outer layer, or a file.

use super::{Error, LayerRule};
use alloc::format;

/// The name of a network in [`Error::Empty`].
const NETWORK: &str = "the network";

impl Error {
    /// Returns [`Error::Settings`] with the message of another error, such as that of a JSON reader.
    pub fn settings(reason: impl core::fmt::Display) -> Self {
        Error::Settings { reason: format!("{reason}") }
    }

    /// Returns the error of a network without layers.
    pub(crate) const fn no_layers() -> Self {
        Error::Empty { what: NETWORK }
    }

    /// Returns an [`Error::InvalidLayer`] or [`Error::WidthMismatch`] with `path.` before the paths of its layers. The
    /// error of a network without layers becomes [`LayerRule::NoLayers`] of the layer at `path`. Returns other errors
    /// unchanged.
    pub(crate) fn within(self, path: &str) -> Self {
        match self {
            Error::InvalidLayer { layer, rule } => Error::InvalidLayer { layer: format!("{path}.{layer}"), rule },
            Error::WidthMismatch { layer, before, expected, found } if !layer.contains(' ') => {
                let before = match before.strip_prefix("layer ") {
                    Some(rest) => format!("layer {path}.{rest}"),
                    None => before,
                };
                Error::WidthMismatch { layer: format!("{path}.{layer}"), before, expected, found }
            }
            Error::Empty { what: NETWORK } => LayerRule::NoLayers.at(path),
            other => other,
        }
    }

    /// Sets the origin of an error about the content of a file to `path`. Returns other errors unchanged.
    #[cfg(all(feature = "safetensors", feature = "std"))]
    pub(crate) fn of_file(mut self, path: &std::path::Path) -> Self {
        if let Error::CheckpointFormat { origin, .. }
        | Error::FileKind { origin, .. }
        | Error::CheckpointVersion { origin, .. } = &mut self
        {
            *origin = format!("{}", path.display());
        }
        self
    }
}
