//! A network as data: what it is made of, to be printed, compared, changed and built again.

use super::Dims;
use alloc::{string::String, vec::Vec};

/// A layer as data.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Node {
    /// Layers one after the other.
    Sequential(Vec<Node>),
    /// A layer of a user's own: its kind and widths.
    Opaque {
        /// The name of its type.
        kind: String,
        /// Its widths.
        dims: Dims,
    },
}
