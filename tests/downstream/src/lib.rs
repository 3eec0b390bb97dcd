//! A crate that depends on chainrule: one implementation of each trait, each proved by one line.

use chainrule::{
    Activation, Block, Blocks, Bounds, Error, Gate, GradientMonitor, Layer, Role, Scalar,
    activation::{Sigmoid, Tanh},
    initializer::{Initializer, Shape},
    layer::{Backward, Dims, Forward},
    loss::{Loss, Reduction, Target},
    math,
    monitor::{Factor, Link},
    rand_core::Rng,
    random::uniform,
    recurrent::{Cell, CellBackward, CellForward},
    scalar, to_f64,
    transform::{GradientTransform, Outcome, Stage, Update},
};

/// `φ(z) = z / √(1 + z²)`.
#[derive(Clone, Debug)]
pub struct InverseSquareRoot;

impl Activation for InverseSquareRoot {
    fn value<T: Scalar>(&self, z: T) -> T {
        if z.is_infinite() { z.signum() } else { z / z.hypot(T::one()) }
    }
    fn derivative<T: Scalar>(&self, z: T, _y: T) -> T {
        let cosine = z.hypot(T::one()).recip();
        cosine * cosine * cosine
    }
    fn derivative_bounds(&self) -> Option<Bounds> {
        Some(Bounds::new(0.0, 1.0))
    }
}

/// `y = x ⊙ σ(s)`, a learned gate for each value.
#[derive(Clone, Debug)]
pub struct Valve(pub usize);

impl<T: Scalar> Layer<T> for Valve {
    fn dims(&self) -> Dims {
        Dims::new(self.0, self.0, self.0)
    }
    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        visit(Block::new("valve", 0, [self.0, 1], Role::Gain));
    }
    fn forward(&self, s: &[T], pass: Forward<'_, T>) {
        for (i, (y, &x)) in pass.y.iter_mut().zip(pass.x).enumerate() {
            *y = x * math::sigmoid(s[i % self.0]);
        }
        pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
    }
    fn backward(&self, s: &[T], pass: Backward<'_, T>) {
        for (i, (&dy, &x)) in pass.dy.iter().zip(pass.x).enumerate() {
            let s = s[i % self.0];
            pass.dw[i % self.0] += dy * x * Sigmoid.derivative(s, Sigmoid.value(s));
        }
        let Some(dx) = pass.dx else { return };
        for (i, (dx, &dy)) in dx.iter_mut().zip(pass.dy).enumerate() {
            *dx = dy * math::sigmoid(s[i % self.0]);
        }
        pass.ctx.report_backward(Factor::Other, pass.dy, dx);
    }
}

/// `h_t = h_{t−1} + σ(z_i) ⊙ (tanh(z_n) − h_{t−1})`.
#[derive(Clone, Debug)]
pub struct Update1;

impl Cell for Update1 {
    fn gates(&self) -> &'static [Gate] {
        const { &[Gate::new("input"), Gate::new("candidate")] }
    }
    fn forward<T: Scalar>(&self, _stage: usize, unit: CellForward<'_, T>) {
        let n = unit.h_prev.len();
        for j in 0..n {
            let (i, candidate) = (Sigmoid.value(unit.z[j]), Tanh.value(unit.z[n + j]));
            unit.h[j] = unit.h_prev[j] + i * (candidate - unit.h_prev[j]);
        }
    }
    fn backward<T: Scalar>(&self, _stage: usize, unit: CellBackward<'_, T>) {
        let n = unit.h_prev.len();
        for j in 0..n {
            let (z_i, z_n, dh) = (unit.z[j], unit.z[n + j], unit.d_h[j]);
            let (i, candidate) = (Sigmoid.value(z_i), Tanh.value(z_n));
            unit.d_h_prev[j] += dh * Sigmoid.value(-z_i);
            unit.z[j] = dh * (candidate - unit.h_prev[j]) * Sigmoid.derivative(z_i, i);
            unit.z[n + j] = dh * i * Tanh.derivative(z_n, candidate);
        }
    }
}

/// Plus or minus `1/√fan_in`, by the toss of a coin.
#[derive(Clone, Debug)]
pub struct Signs;

impl Initializer for Signs {
    fn fill(&self, shape: Shape, rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        if values.len() != shape.rows * shape.columns {
            let expected = shape.rows * shape.columns;
            return Err(Error::Length { what: "values of Signs", expected, found: values.len() });
        }
        let size = (shape.fan_in() as f64).sqrt().recip();
        values.iter_mut().for_each(|value| *value = if uniform(rng) < 0.5 { size } else { -size });
        Ok(())
    }
    fn variance(&self, shape: Shape) -> Option<f64> {
        Some((shape.fan_in() as f64).recip())
    }
}

/// `Σ ln cosh(y − t)`.
#[derive(Clone, Debug)]
pub struct LogCosh;

impl<T: Scalar> Loss<T> for LogCosh {
    fn evaluate(
        &self,
        width: usize,
        y: &[T],
        target: Target<'_, T>,
        row_weights: Option<&[T]>,
        dy: &mut [T],
    ) -> Result<T, Error> {
        let Target::Values(t) = target else {
            return Err(Error::TargetKind { loss: "LogCosh", expected: "values", found: "classes" });
        };
        let rows = y.len() / width.max(1);
        for (what, expected, found) in [
            ("output", rows * width, y.len()),
            ("targets", y.len(), t.len()),
            ("gradient of the output", y.len(), dy.len()),
            ("row weights", rows, row_weights.map_or(rows, <[T]>::len)),
        ] {
            if expected != found || rows == 0 {
                return Err(Error::Length { what, expected, found });
            }
        }
        let finite = |what, index, value: T| match value.is_finite() {
            true => Ok(value),
            false => Err(Error::NonFinite { what, index, found: value.to_f64().unwrap_or(f64::NAN) }),
        };
        let mut sum = T::zero();
        for row in 0..rows {
            let weight = finite("row weights", row, row_weights.map_or(T::one(), |weights| weights[row]))?;
            for i in row * width..(row + 1) * width {
                if weight.is_zero() {
                    dy[i] = T::zero();
                    continue;
                }
                let d = y[i] - finite("targets", i, t[i])?;
                // ln cosh d = |d| + ln(1 + e^(−2|d|)) − ln 2.
                let size = d.abs();
                sum += weight * (size + math::ln_1p(math::exp(-(size + size))) - scalar(std::f64::consts::LN_2));
                dy[i] = weight * math::tanh(d);
            }
        }
        Ok(sum)
    }
    fn reduction(&self) -> Reduction {
        Reduction::Sum
    }
}

/// Steps against the sign of the gradient: `−rate · sign(g)`.
#[derive(Clone, Debug)]
pub struct SignDescent(pub f64);

impl<T: Scalar> GradientTransform<T> for SignDescent {
    fn validate(&mut self, _blocks: &Blocks) -> Result<(), Error> {
        if self.0 >= 0.0 {
            return Ok(());
        }
        Err(Error::Parameter { what: "the rate of SignDescent", expected: "not negative", found: self.0 })
    }
    fn stage(&self) -> Stage {
        Stage::Optimizer
    }
    fn update(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        for block in update.blocks.iter().filter(|block| !block.frozen) {
            for g in &mut update.gradient[block.range.clone()] {
                *g = if g.is_zero() { *g } else { -g.signum() * scalar(self.0) };
            }
        }
        Ok(Outcome::Apply)
    }
}

/// The largest gradient that passed any link.
#[derive(Clone, Debug, Default)]
pub struct Largest(pub f64);

impl<T: Scalar> GradientMonitor<T> for Largest {
    fn backward(&mut self, _at: &Link<'_>, _dy: &[T], dx: &[T]) {
        self.0 = dx.iter().fold(self.0, |largest, &dx| largest.max(to_f64(dx).abs()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chainrule::{
        BatchShape,
        layer::{Sequential, initialize},
        proptest::prelude::*,
        testing::{Dual, strategies},
        workspace::Workspace,
    };

    chainrule::activation_laws!(activation, InverseSquareRoot);
    chainrule::layer_laws!(layer, Valve(3));
    chainrule::cell_laws!(cell, Update1);
    chainrule::initializer_laws!(initializer, Signs);
    chainrule::loss_laws!(loss, LogCosh);
    chainrule::transform_laws!(transform, SignDescent(0.1), [RestsAtZero]);
    chainrule::monitor_laws!(monitor, Largest::default());
    chainrule::layer_laws!(
        whole_network,
        Sequential::input(2)
            .linear(4)
            .activation(InverseSquareRoot)
            .layer(Valve(4))
            .recurrent(3, Update1)
            .build()
            .unwrap()
    );

    #[test]
    fn custom_loss_trains_a_custom_network() {
        let network = Sequential::<f64>::input(2).linear(8).activation(InverseSquareRoot).linear(1).build().unwrap();
        let mut w = initialize(&network, 3).unwrap();
        let mut workspace = Workspace::new(&network, BatchShape::batch(4)).unwrap();
        let (x, t) = ([0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0]);
        let mut losses = Vec::new();
        for _ in 0..500 {
            let output = workspace.forward(&w, &x, BatchShape::batch(4)).unwrap();
            losses.push(LogCosh.evaluate(1, output.y, Target::Values(&t), None, output.dy).unwrap());
            let gradient = workspace.backward(&w).unwrap();
            w.iter_mut().zip(gradient).for_each(|(w, g)| *w -= 0.3 * *g);
        }
        assert!(losses[499] < 0.1 * losses[0], "{} after {}", losses[499], losses[0]);
    }

    proptest! {
        #[test]
        fn derivative_is_that_of_the_value(z in strategies::finite::<f64>()) {
            let y = InverseSquareRoot.value(Dual::variable(z));
            prop_assert!((y.tangent - InverseSquareRoot.derivative(z, y.value)).abs() <= 1e-15);
        }
    }
}
