//! An activation as a layer, and PReLU, whose slope is learned.

use super::{Backward, Dims, Forward, Layer, LayerSpec, MemorySizes, Mode, Reads};
use crate::{
    activation::{Activation, LeakyRelu},
    batch_shape::BatchShape,
    block::{Block, Role},
    error::{Error, require},
    kernel::{
        elementwise::{Formula, apply, map2},
        register_block::{LANES, load_block},
        sums::{add_sums, sum_of},
    },
    linalg::Upper,
    monitor::Factor,
    scalar::{Scalar, scalar, to_f64},
};
use rand_core::Rng;

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
    /// `activation` on rows of `width` values.
    pub fn new(width: usize, activation: A) -> Self {
        ActivationLayer { width, activation }
    }
}

#[derive(Clone)]
struct Value<A>(A);

impl<A: Activation> Formula<1> for Value<A> {
    #[inline(always)]
    fn at<T: Scalar>(&self, z: T) -> [T; 1] {
        [self.0.value(z)]
    }
}

/// Value and derivative: what both are made of, such as an exponential, is computed once.
#[derive(Clone)]
struct Both<A>(A);

impl<A: Activation> Formula<2> for Both<A> {
    #[inline(always)]
    fn at<T: Scalar>(&self, z: T) -> [T; 2] {
        let y = self.0.value(z);
        [y, self.0.derivative(z, y)]
    }
}

impl<T: Scalar, A: Activation> Layer<T> for ActivationLayer<A> {
    fn dims(&self) -> Dims {
        Dims::new(self.width, self.width, 0)
    }

    /// Saved: φ′(z).
    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        MemorySizes::new(if mode.saves() { shape.rows().saturating_mul(self.width) } else { 0 }, 0, 0)
    }

    fn reads(&self) -> Reads {
        Reads::NEITHER
    }

    fn saves_by_row(&self) -> bool {
        true
    }

    /// `sup |φ′|`: the Jacobian is the diagonal of φ′.
    fn gain_bound(&self, _w: &[T], _shape: BatchShape<'_>) -> Option<f64> {
        self.activation.derivative_bounds().map(|bounds| Upper::of(bounds.magnitude()).get())
    }

    fn spec(&self) -> LayerSpec {
        LayerSpec::ActivationLayer { width: self.width, activation: self.activation.kind() }
    }

    fn forward(&self, _w: &[T], pass: Forward<'_, T>) {
        match pass.mode.saves() {
            true => apply(pass.x, [pass.y, pass.saved], Both(self.activation.clone())),
            false => apply(pass.x, [pass.y], Value(self.activation.clone())),
        }
        if pass.monitor.is_active() {
            let link = pass.at.link(Factor::Activation, pass.shape).activation(&self.activation);
            pass.monitor.forward(&link, pass.x, pass.y);
        }
    }

    fn backward(&self, _w: &[T], pass: Backward<'_, T>) {
        let Some(dz) = pass.dx else { return };
        map2(pass.saved, pass.dy, dz, |derivative, dy| derivative * dy);
        if pass.monitor.is_active() {
            let link = pass.at.link(Factor::Activation, pass.shape).activation(&self.activation);
            pass.monitor.backward(&link, pass.dy, dz);
        }
    }
}

/// ReLU with a learned slope for negative values: `y = z` for `z > 0`, else `a z`.
///
/// Source: He et al. 2015, eq. 1; the slope begins at 0.25, as there.
///
/// # Shapes
/// z, y: \[rows, width\]; block `slope`: \[1, 1\], or \[width, 1\] with a slope per unit.
#[derive(Clone, Debug, PartialEq)]
pub struct PRelu {
    width: usize,
    per_unit: bool,
    initial: f64,
}

impl PRelu {
    /// One slope for all units.
    pub fn new(width: usize) -> Self {
        PRelu { width, per_unit: false, initial: 0.25 }
    }

    /// A slope per unit.
    #[must_use]
    pub fn per_unit(self) -> Self {
        PRelu { per_unit: true, ..self }
    }

    /// Sets the slope to begin with.
    ///
    /// # Errors
    /// [`Error::Parameter`] where `slope` is not finite.
    pub fn initial(self, slope: f64) -> Result<Self, Error> {
        require(slope.is_finite(), "PRelu slope", "finite", slope)?;
        Ok(PRelu { initial: slope, ..self })
    }

    fn slopes(&self) -> usize {
        if self.per_unit { self.width } else { 1 }
    }

    fn slope<T: Scalar>(&self, w: &[T], unit: usize) -> T {
        if self.per_unit { w[unit] } else { w[0] }
    }

    /// The activation that the shared slope makes now.
    fn activation<T: Scalar>(&self, w: &[T]) -> Option<LeakyRelu> {
        if self.per_unit { None } else { LeakyRelu::new(to_f64(w[0])).ok() }
    }
}

impl<T: Scalar> Layer<T> for PRelu {
    fn dims(&self) -> Dims {
        Dims::new(self.width, self.width, self.slopes())
    }

    fn initialize(&self, w: &mut [T], _rng: &mut dyn Rng) -> Result<(), Error> {
        w.fill(scalar(self.initial));
        Ok(())
    }

    fn reads(&self) -> Reads {
        Reads::INPUT
    }

    fn saves_by_row(&self) -> bool {
        true
    }

    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        visit(Block::new("slope", 0, [self.slopes(), 1], Role::Gain));
    }

    /// `max(1, |a|)`: the Jacobian is a diagonal of ones and slopes.
    fn gain_bound(&self, w: &[T], _shape: BatchShape<'_>) -> Option<f64> {
        Some(w.iter().fold(Upper::ONE, |most, &slope| most.max(Upper::of(to_f64(slope)))).get())
    }

    fn spec(&self) -> LayerSpec {
        LayerSpec::PRelu { width: self.width, per_unit: self.per_unit, initial: self.initial }
    }

    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        for (x, y) in pass.x.chunks(self.width).zip(pass.y.chunks_mut(self.width)) {
            for (unit, (&z, y)) in x.iter().zip(y).enumerate() {
                *y = if z > T::zero() { z } else { self.slope(w, unit) * z };
            }
        }
        if pass.monitor.is_active() {
            let activation = self.activation(w);
            let mut link = pass.at.link(Factor::Activation, pass.shape);
            if let Some(activation) = &activation {
                link = link.activation(activation);
            }
            pass.monitor.forward(&link, pass.x, pass.y);
        }
    }

    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        if pass.trainable.block(0) {
            let d_slope = |z: T, g: T| if z > T::zero() { T::zero() } else { z * g };
            if self.per_unit {
                let rows = || pass.x.chunks(self.width).zip(pass.dy.chunks(self.width));
                add_sums(pass.shape.rows(), pass.dw, |j| {
                    rows().map(move |(x, dy)| {
                        let (z, g) = (load_block::<_, LANES>(x, j), load_block::<_, LANES>(dy, j));
                        core::array::from_fn(|i| d_slope(z[i], g[i]))
                    })
                });
            } else {
                pass.dw[0] += sum_of(pass.x, pass.dy, d_slope);
            }
        }
        let Some(dz) = pass.dx else { return };
        let rows = pass.x.chunks(self.width).zip(pass.dy.chunks(self.width));
        for ((x, dy), dz) in rows.zip(dz.chunks_mut(self.width)) {
            for (unit, ((&z, &g), dz)) in x.iter().zip(dy).zip(dz).enumerate() {
                *dz = if z > T::zero() { g } else { self.slope(w, unit) * g };
            }
        }
        if pass.monitor.is_active() {
            let activation = self.activation(w);
            let mut link = pass.at.link(Factor::Activation, pass.shape);
            if let Some(activation) = &activation {
                link = link.activation(activation);
            }
            pass.monitor.backward(&link, pass.dy, dz);
        }
    }
}
