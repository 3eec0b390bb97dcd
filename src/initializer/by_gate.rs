//! A different initializer for each gate.

use super::{Initializer, InitializerKind, Shape};
use crate::error::Error;
use alloc::{
    boxed::Box,
    string::{String, ToString},
    vec::Vec,
};
use rand_core::Rng;

/// Chooses the initializer by the gate whose rows are filled.
///
/// ```
/// use chainrule::initializer::{ByGate, Constant, Zeros};
/// let bias = ByGate::new(Zeros).gate("forget", Constant(1.0));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ByGate {
    default: Box<InitializerKind>,
    gates: Vec<(String, InitializerKind)>,
}

impl ByGate {
    /// `default` for gates not named, and for blocks without gates.
    pub fn new(default: impl Initializer + 'static) -> Self {
        ByGate { default: Box::new(default.kind()), gates: Vec::new() }
    }

    /// `initializer` for that gate, in place of one given for it before.
    #[must_use]
    pub fn gate(mut self, name: &str, initializer: impl Initializer + 'static) -> Self {
        self.gates.retain(|(gate, _)| gate != name);
        self.gates.push((name.to_string(), initializer.kind()));
        self
    }

    /// The one that fills such a block.
    pub fn chosen(&self, shape: Shape) -> &InitializerKind {
        let named = shape.gate.and_then(|name| self.gates.iter().find(|(gate, _)| gate == name));
        named.map_or(&self.default, |(_, initializer)| initializer)
    }
}

impl Initializer for ByGate {
    fn fill(&self, shape: Shape, rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        self.chosen(shape).fill(shape, rng, values)
    }

    fn variance(&self, shape: Shape) -> Option<f64> {
        self.chosen(shape).variance(shape)
    }

    fn mean(&self, shape: Shape) -> Option<f64> {
        self.chosen(shape).mean(shape)
    }

    fn range(&self, shape: Shape) -> Option<[f64; 2]> {
        self.chosen(shape).range(shape)
    }

    fn orthogonal_gain(&self, shape: Shape) -> Option<f64> {
        self.chosen(shape).orthogonal_gain(shape)
    }

    fn kind(self) -> InitializerKind {
        InitializerKind::ByGate(self)
    }
}
