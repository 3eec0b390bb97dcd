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
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(from = "Saved"))]
pub struct ByGate {
    default: Box<InitializerKind>,
    gates: Vec<(String, InitializerKind)>,
}

impl ByGate {
    /// `default` for gates not named, and for blocks without gates. Another `ByGate` is taken over: none lies in another.
    pub fn new(default: impl Initializer + 'static) -> Self {
        match default.kind() {
            InitializerKind::ByGate(inner) => inner,
            default => ByGate { default: Box::new(default), gates: Vec::new() },
        }
    }

    /// `initializer` for that gate, in place of one given for it before.
    #[must_use]
    pub fn gate(mut self, name: &str, initializer: impl Initializer + 'static) -> Self {
        let initializer = match initializer.kind() {
            InitializerKind::ByGate(inner) => inner.named(Some(name)).clone(),
            other => other,
        };
        self.gates.retain(|(gate, _)| gate != name);
        self.gates.push((name.to_string(), initializer));
        self
    }

    /// The one that fills such a block.
    pub fn chosen(&self, shape: Shape) -> &InitializerKind {
        self.named(shape.gate)
    }

    fn named(&self, gate: Option<&str>) -> &InitializerKind {
        let named = gate.and_then(|name| self.gates.iter().find(|(gate, _)| gate == name));
        named.map_or(&self.default, |(_, initializer)| initializer)
    }
}

/// One as it is saved, where another may lie in it.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
struct Saved {
    default: Box<InitializerKind>,
    gates: Vec<(String, InitializerKind)>,
}

#[cfg(feature = "serde")]
impl From<Saved> for ByGate {
    fn from(Saved { default, gates }: Saved) -> Self {
        gates.into_iter().fold(ByGate::new(*default), |by_gate, (name, initializer)| by_gate.gate(&name, initializer))
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
