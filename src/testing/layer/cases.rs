//! A layer in the scalars of its laws, and the cases in which they are tested.

use crate::{
    batch_shape::BatchShape,
    layer::Layer,
    testing::{Dual, Law},
};
use core::{convert::identity, fmt::Debug};

/// One layer in the three scalars that its laws need. In `f32` and `f64` it runs as in training. On dual numbers it
/// gives the derivative of its output in a direction.
///
/// [`layer_laws!`](crate::layer_laws) creates it from one expression. [`Layers::of`] creates it from a layer that is
/// generic over the scalar.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    /// The layer in `f32`.
    pub single: &'a dyn Layer<f32>,
    /// The layer in `f64`.
    pub double: &'a dyn Layer<f64>,
    /// The layer on dual numbers.
    pub dual: &'a dyn Layer<Dual<f64>>,
}

impl<'a> Layers<'a> {
    /// Uses a layer that implements [`Layer`] for all three scalars.
    pub fn of<L: Layer<f32> + Layer<f64> + Layer<Dual<f64>>>(layer: &'a L) -> Self {
        Layers { single: layer, double: layer, dual: layer }
    }
}

/// Options of [`layer_laws_with`](super::layer_laws_with). The default adds no batch shapes, accepts all numbers as
/// inputs and parameters, and tests all laws.
#[derive(Clone, Copy)]
pub struct LayerCases<'a> {
    /// Batch shapes at which the layer is tested, in addition to those of the suite.
    pub shapes: &'a [BatchShape<'a>],
    /// Converts a normal number to a valid input, such as an index. A valid input must be converted to itself.
    pub inputs: &'a dyn Fn(f64) -> f64,
    /// Converts an initial value of a parameter, changed by a random amount, to a valid value, such as a positive
    /// one.
    pub parameters: &'a dyn Fn(f64) -> f64,
    /// The laws that are not tested, such as [`Law::Adjoint`] for a layer whose gradient is a surrogate. The printed
    /// report names them.
    pub except: &'a [Law],
}

impl Default for LayerCases<'_> {
    fn default() -> Self {
        LayerCases { shapes: &[], inputs: &identity, parameters: &identity, except: &[] }
    }
}

impl Debug for LayerCases<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let LayerCases { shapes, except, .. } = self;
        f.debug_struct("LayerCases").field("shapes", shapes).field("except", except).finish_non_exhaustive()
    }
}
