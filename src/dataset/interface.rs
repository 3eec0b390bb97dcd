//! The scales and names of the inputs and outputs of a network.

use super::Standardize;
use alloc::{string::String, vec::Vec};

/// The standardizations of a network's inputs and outputs, and the names of its input columns and classes. A model
/// has an `Interface`, and so has a trainer that starts from a model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interface {
    /// The standardization that the model applies to inputs before the network; `None` if the network reads inputs as
    /// given.
    pub inputs: Option<Standardize>,
    /// The standardization of the training targets, which the model inverts on the outputs of the network; `None` if
    /// the model returns outputs as computed.
    pub outputs: Option<Standardize>,
    /// The name of each input column; empty if the columns have no names.
    pub columns: Vec<String>,
    /// The name of each class; empty if the classes have no names.
    pub classes: Vec<String>,
}
