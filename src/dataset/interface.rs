//! What the data of a network mean to its users: their scales and names.

use super::Standardize;
use alloc::{string::String, vec::Vec};

/// The scales of a network's inputs and outputs, and the names of its input columns and classes. A model has one, and
/// so has the trainer that starts from a model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interface {
    /// The scale of the inputs; `None` for a network that reads the values of the data themselves.
    pub inputs: Option<Standardize>,
    /// The scale of the targets, which is undone in predictions; `None` for predictions as the network gives them.
    pub outputs: Option<Standardize>,
    /// The name of each input column; empty without names.
    pub columns: Vec<String>,
    /// The name of each class; empty without names.
    pub classes: Vec<String>,
}
