//! The layer that applies an activation to each value.

use super::{AddsByShard, Backward, Dims, Forward, Hints, Layer, LayerSpec, MemorySizes, Mode};
use crate::{
    activation::{Activation, AnyActivation},
    batch_shape::BatchShape,
    kernel::elementwise::{Formula, apply, map2},
    linalg::Upper,
    scalar::Scalar,
};
use alloc::boxed::Box;

/// An activation applied to each value: `y = φ(z)`, `dz = φ′(z) ⊙ dy`.
///
/// # Shapes
/// z, y: \[rows, width\].
#[derive(Clone, Debug, PartialEq)]
pub struct ActivationLayer<A> {
    width: usize,
    activation: A,
}

impl<A: Activation> ActivationLayer<A> {
    /// Creates a layer that applies `activation` to rows of `width` values.
    pub fn new(width: usize, activation: A) -> Self {
        ActivationLayer { width, activation }
    }
}

struct Value<A>(A);

impl<A: Activation> Clone for Value<A> {
    fn clone(&self) -> Self {
        Value(self.0.cloned())
    }
}

impl<A: Activation> Formula<1> for Value<A> {
    #[inline(always)]
    fn at<T: Scalar>(&self, z: T) -> [T; 1] {
        [self.0.value(z)]
    }
}

/// The formula that gives both the value φ(z) and the derivative φ′(z) of an activation. The compiler computes terms
/// that both have in common, such as an exponential, once.
struct Both<A>(A);

impl<A: Activation> Clone for Both<A> {
    fn clone(&self) -> Self {
        Both(self.0.cloned())
    }
}

impl<A: Activation> Formula<2> for Both<A> {
    #[inline(always)]
    fn at<T: Scalar>(&self, z: T) -> [T; 2] {
        let y = self.0.value(z);
        [y, self.0.derivative(z, y)]
    }
}

impl<T: Scalar, A: Activation> Layer<T> for ActivationLayer<A> {
    fn boxed(self) -> Box<dyn Layer<T>> {
        A::boxed_layer(self)
    }

    fn dims(&self) -> Dims {
        Dims::new(self.width, self.width, 0)
    }

    /// Saved, if a backward pass can follow: φ′(z), one number for each value of the input.
    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        MemorySizes::new(if mode.saves() { shape.rows().saturating_mul(self.width) } else { 0 }, 0, 0)
    }

    fn hints(&self) -> Hints {
        Hints::NONE.ignores_x().ignores_y().saved_per_row()
    }

    /// Returns an upper bound on `sup |φ′|`, φ the activation: the Jacobian is diagonal, with values of φ′. It
    /// is ∞ if φ jumps; `None` if the activation states no bound.
    fn gain_bound(&self, _w: &[T], _shape: BatchShape<'_>) -> Option<f64> {
        self.activation.lipschitz().map(|bound| Upper::of(bound).get())
    }

    fn adds_by_shard(&self, _shape: BatchShape<'_>) -> AddsByShard {
        AddsByShard(true)
    }

    fn spec(&self) -> LayerSpec {
        LayerSpec::ActivationLayer { width: self.width, activation: self.activation.kind() }
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        pass.check("ActivationLayer", self, w);
        match pass.ctx.mode.saves() {
            true => apply(pass.x, [pass.y, pass.saved], Both(self.activation.cloned())),
            false => apply(pass.x, [pass.y], Value(self.activation.cloned())),
        }
        pass.ctx.report_activation(Some(&self.activation), pass.x, pass.y);
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        pass.check("ActivationLayer", self, w);
        let Some(dz) = pass.dx else { return };
        map2(pass.saved, pass.dy, dz, |derivative, dy| derivative * dy);
        pass.ctx.report_activation_gradient(Some(&self.activation), pass.dy, dz);
    }
}
