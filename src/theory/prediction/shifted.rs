//! An activation applied to pre-activations with nonzero mean.

use crate::activation::{AnyActivation, Bounds};
use alloc::vec::Vec;

/// φ(z + by): the activation φ of pre-activations of mean `by`, as a function of the deviation z from the mean.
#[derive(Debug)]
pub(super) struct Shifted<'a> {
    pub activation: &'a dyn AnyActivation,
    pub by: f64,
}

impl AnyActivation for Shifted<'_> {
    fn name(&self) -> &'static str {
        self.activation.name()
    }
    fn value_at(&self, z: f64) -> f64 {
        self.activation.value_at(z + self.by)
    }
    fn derivative_at(&self, z: f64) -> f64 {
        self.activation.derivative_at(z + self.by)
    }
    fn bounds(&self) -> Option<Bounds> {
        self.activation.bounds()
    }
    fn kink_points(&self) -> Vec<f64> {
        self.activation.kink_points().into_iter().map(|kink| kink - self.by).collect()
    }
    fn jump_points(&self) -> Vec<f64> {
        self.activation.jump_points().into_iter().map(|jump| jump - self.by).collect()
    }
    fn odd(&self) -> bool {
        false
    }
}
