//! Constructors of [`Error`], and functions that add to an error where it occurred: the path of an outer layer, or a
//! file.

use super::{Error, LayerRule};
use alloc::format;

/// The value of `what` in [`Error::Empty`] for a network without layers.
const NETWORK: &str = "the network";

impl Error {
    /// Creates [`Error::Settings`] from the message of another error, such as that of a JSON reader.
    pub fn settings(reason: impl core::fmt::Display) -> Self {
        Error::Settings { reason: format!("{reason}") }
    }

    /// Returns the error of a network without layers: [`Error::Empty`].
    pub(crate) const fn no_layers() -> Self {
        Error::Empty { what: NETWORK }
    }

    /// Turns an error of an inner network into that of the layer at `path` that contains it. [`Error::InvalidLayer`]
    /// and [`Error::WidthMismatch`] get `path.` before the paths of their layers. The error of a network without
    /// layers becomes [`LayerRule::NoLayers`] of the layer at `path`. Returns other errors unchanged.
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

    /// Sets the field `origin` of an error about the content of a file to the path of the file. Returns other errors
    /// unchanged.
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
