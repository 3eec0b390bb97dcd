//! An initializer with a different initializer for each gate of a recurrent cell.

use super::{Initializer, InitializerKind, Shape};
use crate::error::Error;
use alloc::{
    boxed::Box,
    string::{String, ToString},
    vec::Vec,
};
use rand_core::Rng;

/// An initializer that fills the rows of each gate of a recurrent cell with the initializer set for that gate.
///
/// One `ByGate` may serve several cells: an initializer for a gate that a cell does not have is not used. The method
/// [`Cell::gates`](crate::recurrent::Cell::gates) of a cell states the names of its gates.
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
    /// Creates an initializer that uses `default` for gates without an initializer of their own, and for blocks without
    /// gates. If `default` is itself a `ByGate`, the result is that initializer.
    pub fn new(default: impl Initializer + 'static) -> Self {
        match default.kind() {
            InitializerKind::ByGate(inner) => inner,
            default => ByGate { default: Box::new(default), gates: Vec::new() },
        }
    }

    /// Sets the initializer of the gate `name`, and replaces one that was set for it before. If `initializer` is itself
    /// a `ByGate`, its initializer for the gate `name` is used.
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

    /// Returns the initializer for a block of `shape`: the one that was set for the gate of the block, or the
    /// default.
    pub fn chosen(&self, shape: Shape) -> &InitializerKind {
        self.named(shape.gate.map(|gate| gate.name))
    }

    /// Returns the default initializer, then those of the gates, in the order in which they were last set.
    pub(crate) fn parts_mut(&mut self) -> impl Iterator<Item = &mut InitializerKind> {
        core::iter::once(&mut *self.default).chain(self.gates.iter_mut().map(|(_, initializer)| initializer))
    }

    fn named(&self, gate: Option<&str>) -> &InitializerKind {
        let named = gate.and_then(|name| self.gates.iter().find(|(gate, _)| gate == name));
        named.map_or(&self.default, |(_, initializer)| initializer)
    }
}

/// The deserialized form of a [`ByGate`], whose default initializer may itself be a `ByGate`.
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
