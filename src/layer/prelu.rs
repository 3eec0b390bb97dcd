//! PReLU: a leaky ReLU whose slope is a parameter.

use super::{
    AddsByShard, Backward, Dims, Forward, Hints, Layer, LayerSpec,
    list::{Fact, ListedLayer, fact},
};
use crate::{
    activation::LeakyRelu,
    batch_shape::BatchShape,
    block::{Block, Role},
    error::{Error, require},
    kernel::{
        register_block::{LANES, load_block},
        sums::{add_sums, sum_of},
    },
    linalg::Upper,
    scalar::{Scalar, scalar, to_f64},
};
use alloc::{vec, vec::Vec};
use rand_core::Rng;

/// ReLU with a learned slope a for negative values: `y = z` for `z > 0`, else `a z`.
///
/// Source: He et al. 2015, eq. 1; the initial slope is 0.25, as in the paper.
///
/// ```
/// use chainrule::{BatchShape, layer::PRelu, workspace::Workspace};
/// let mut workspace = Workspace::new(PRelu::new(2), BatchShape::batch(1))?;
/// assert_eq!(workspace.infer(&[0.25], &[-2.0, 3.0], BatchShape::batch(1))?, [-0.5, 3.0]);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Shapes
/// z, y: \[rows, width\]; block `slope`: \[1, 1\], or \[width, 1\] with a slope per unit.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PRelu {
    pub(crate) width: usize,
    per_unit: bool,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    pub(crate) initial: f64,
}

impl PRelu {
    /// Creates a layer for rows of `width` values with one slope for all units, initially 0.25.
    pub fn new(width: usize) -> Self {
        PRelu { width, per_unit: false, initial: 0.25 }
    }

    /// Uses a slope for each unit instead of one for all.
    #[must_use]
    pub fn per_unit(self) -> Self {
        PRelu { per_unit: true, ..self }
    }

    /// Sets the initial value of the slopes. The default is 0.25.
    ///
    /// # Errors
    /// [`Error::Parameter`] where `slope` is not finite.
    pub fn initial(self, slope: f64) -> Result<Self, Error> {
        let changed = PRelu { initial: slope, ..self };
        changed.check().map(|()| changed)
    }

    fn slopes(&self) -> usize {
        if self.per_unit { self.width } else { 1 }
    }

    fn slope<T: Scalar>(&self, w: &[T], unit: usize) -> T {
        if self.per_unit { w[unit] } else { w[0] }
    }

    /// Returns the activation with the current slope in the parameters `w`; `None` with a slope per unit, or for a
    /// slope that is not finite.
    fn activation<T: Scalar>(&self, w: &[T]) -> Option<LeakyRelu> {
        if self.per_unit { None } else { LeakyRelu::new(to_f64(w[0])).ok() }
    }
}

impl ListedLayer for PRelu {
    fn facts(&self) -> Vec<Fact> {
        vec![fact("width", self.width), fact("per unit", self.per_unit)]
    }

    fn check(&self) -> Result<(), Error> {
        require(self.initial.is_finite(), "PRelu slope", "finite", self.initial)
    }

    #[cfg(feature = "proptest")]
    fn examples(width: usize) -> Vec<Self> {
        let of = |initial, per_unit| PRelu { width, per_unit, initial };
        vec![of(0.25, false), of(-0.75, true), of(1.0, false)]
    }
}

impl<T: Scalar> Layer<T> for PRelu {
    crate::layer::own_box!(PRelu);

    fn dims(&self) -> Dims {
        Dims::new(self.width, self.width, self.slopes())
    }

    fn initialize(&self, w: &mut [T], _rng: &mut dyn Rng) -> Result<(), Error> {
        w.fill(scalar(self.initial));
        Ok(())
    }

    fn hints(&self) -> Hints {
        Hints::NONE.ignores_y().saved_per_row()
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        visit(Block::new("slope", 0, [self.slopes(), 1], Role::Gain));
    }

    /// Returns `max(1, |a|)` over the slopes a, an upper bound on the 2-norm of the Jacobian, which is diagonal with
    /// ones and slopes.
    fn gain_bound(&self, w: &[T], _shape: BatchShape<'_>) -> Option<f64> {
        Some(w.iter().fold(Upper::ONE, |most, &slope| most.max(Upper::of(to_f64(slope)))).get())
    }

    fn adds_by_shard(&self, shape: BatchShape<'_>) -> AddsByShard {
        AddsByShard(shape.steps == 1)
    }

    fn spec(&self) -> LayerSpec {
        LayerSpec::PRelu(self.clone())
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        pass.check("PRelu", self, w);
        for (x, y) in pass.x.chunks(self.width).zip(pass.y.chunks_mut(self.width)) {
            for (unit, (&z, y)) in x.iter().zip(y).enumerate() {
                *y = if z > T::zero() { z } else { self.slope(w, unit) * z };
            }
        }
        let activation = self.activation(w);
        pass.ctx.report_activation(activation.as_ref().map(|activation| activation as _), pass.x, pass.y);
    }

    fn backward(&self, w: &[T], mut pass: Backward<'_, T>) {
        pass.check("PRelu", self, w);
        if pass.trainable.block(0) {
            let d_slope = |z: T, g: T| if z > T::zero() { T::zero() } else { z * g };
            pass.ctx.add_by_shard(pass.dw, |rows, dw| {
                let values = rows.start * self.width..rows.end * self.width;
                let (x, dy) = (&pass.x[values.clone()], &pass.dy[values]);
                if !self.per_unit {
                    dw[0] += sum_of(x, dy, d_slope);
                    return;
                }
                add_sums(rows.len(), dw, |j| {
                    x.chunks(self.width).zip(dy.chunks(self.width)).map(move |(x, dy)| {
                        let (z, g) = (load_block::<_, LANES>(x, j), load_block::<_, LANES>(dy, j));
                        core::array::from_fn(|i| d_slope(z[i], g[i]))
                    })
                });
            });
        }
        let Some(dz) = pass.dx else { return };
        let rows = pass.x.chunks(self.width).zip(pass.dy.chunks(self.width));
        for ((x, dy), dz) in rows.zip(dz.chunks_mut(self.width)) {
            for (unit, ((&z, &g), dz)) in x.iter().zip(dy).zip(dz).enumerate() {
                *dz = if z > T::zero() { g } else { self.slope(w, unit) * g };
            }
        }
        let activation = self.activation(w);
        pass.ctx.report_activation_gradient(activation.as_ref().map(|activation| activation as _), pass.dy, dz);
    }
}
