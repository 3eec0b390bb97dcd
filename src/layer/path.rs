//! The path of a layer in the network, which names the layer's links (factors of the chain rule).

use crate::{
    activation::AnyActivation,
    batch_shape::BatchShape,
    block::Gate,
    monitor::{Factor, Link},
};
use alloc::string::String;
use core::fmt::Debug;

/// The path of a layer in the network's table of link names. A link is one factor of the chain rule; a layer has one or
/// more.
#[derive(Clone, Copy, Debug)]
pub struct LinkPath<'a> {
    names: &'a [String],
    first: usize,
    on_main_path: bool,
}

impl<'a> LinkPath<'a> {
    /// Creates the path of a layer whose first link (factor of the chain rule) has the first of `names`, on the main
    /// path of the network. An empty table gives links without names.
    pub const fn new(names: &'a [String]) -> Self {
        LinkPath { names, first: 0, on_main_path: true }
    }

    /// Returns the path of a layer inside this one, whose links begin `offset` names later in the table of link names.
    #[must_use]
    pub const fn part(self, offset: usize) -> Self {
        LinkPath { first: self.first.saturating_add(offset), ..self }
    }

    /// Marks the layer as inside one of several parallel branches: its links (factors of the chain rule) are not on the
    /// main path from loss to input.
    #[must_use]
    pub const fn branch(self) -> Self {
        LinkPath { on_main_path: false, ..self }
    }

    /// Returns the index of this layer's first link in the table of link names. It differs from layer to layer, and
    /// keys the masks of dropout.
    pub const fn index(self) -> usize {
        self.first
    }

    /// Creates the layer's first link (factor of the chain rule), of the kind `factor`, as a monitor receives it in a
    /// pass over `shape`.
    pub fn link(self, factor: Factor, shape: BatchShape<'a>) -> Link<'a> {
        Link {
            name: self.names.get(self.first).map_or("", String::as_str),
            index: self.first,
            factor,
            step: None,
            gate: None,
            on_main_path: self.on_main_path,
            shape,
            parts_before: 0,
            parts_after: 0,
            activation: None,
        }
    }
}

impl<'a> Link<'a> {
    /// Sets the time step to which the link belongs.
    #[must_use]
    pub const fn at_step(self, step: usize) -> Self {
        Link { step: Some(step), ..self }
    }

    /// Sets the gate of the recurrent cell to which the link belongs.
    #[must_use]
    pub const fn gate(self, gate: Gate) -> Self {
        Link { gate: Some(gate), ..self }
    }

    /// Sets the activation of the link.
    #[must_use]
    pub const fn activation(self, activation: &'a dyn AnyActivation) -> Self {
        Link { activation: Some(activation), ..self }
    }
}
