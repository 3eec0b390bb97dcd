//! A layer, a recurrent cell, and a layer made of layers, in one network.

use chainrule::layer::{Backward, Dims, Forward, Linear, MemorySizes, Mode, Parts, Sequential, Structure};
use chainrule::recurrent::{Cell, CellBackward, CellForward};
use chainrule::{Activation, BatchShape, Block, Error, Gate, Layer, Role, Scalar, activation::Tanh, monitor::Factor};
use chainrule::{dataset::Windows, loss::MeanSquaredError};
use chainrule::{
    trainer::{TrainConfig, Trainer},
    transform::Adam,
};

/// `y = g ⊙ x`, one gain a column.
#[derive(Debug)]
struct Gain(usize);

impl<T: Scalar> Layer<T> for Gain {
    fn dims(&self) -> Dims {
        Dims::new(self.0, self.0, self.0)
    }
    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        visit(Block::new("gain", 0, [self.0, 1], Role::Gain));
    }
    fn forward(&self, g: &[T], pass: Forward<'_, T>) {
        pass.y.iter_mut().zip(pass.x).enumerate().for_each(|(i, (y, &x))| *y = g[i % self.0] * x);
        pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
    }
    fn backward(&self, g: &[T], pass: Backward<'_, T>) {
        pass.x.iter().zip(pass.dy).enumerate().for_each(|(i, (&x, &dy))| pass.dw[i % self.0] += dy * x);
        let Some(dx) = pass.dx else { return };
        dx.iter_mut().zip(pass.dy).enumerate().for_each(|(i, (dx, &dy))| *dx = g[i % self.0] * dy);
        pass.ctx.report_backward(Factor::Other, pass.dy, dx);
    }
}
chainrule::layer_laws!(gain_keeps_its_laws, Gain(3));

/// `h_t = (tanh(z_t) + h_{t−1})/2`.
#[derive(Clone, Debug)]
struct Leak;

impl Cell for Leak {
    fn gates(&self) -> &'static [Gate] {
        const { &[Gate::new("candidate")] }
    }
    fn forward<T: Scalar>(&self, _stage: usize, unit: CellForward<'_, T>) {
        let half = chainrule::scalar::<T>(0.5);
        (0..unit.h.len()).for_each(|j| unit.h[j] = Tanh.value(unit.z[j]) * half + unit.h_prev[j] * half);
    }
    fn backward<T: Scalar>(&self, _stage: usize, unit: CellBackward<'_, T>) {
        let half = chainrule::scalar::<T>(0.5);
        for j in 0..unit.h_prev.len() {
            let (z, dh) = (unit.z[j], unit.d_h[j] * half);
            unit.d_h_prev[j] += dh;
            unit.z[j] = dh * Tanh.derivative(z, Tanh.value(z));
        }
    }
}
chainrule::cell_laws!(leak_keeps_its_laws, Leak);

/// `y = rest(first(x))`.
#[derive(Debug)]
struct Two<T: Scalar>(Parts<T, 2>);

fn two<T: Scalar>(width: usize) -> Result<Two<T>, Error> {
    Ok(Two(Parts::chain([("first", Box::new(Gain(width))), ("rest", Box::new(Linear::new(width, 1)))])?))
}

impl<T: Scalar> Layer<T> for Two<T> {
    fn dims(&self) -> Dims {
        self.0.dims()
    }
    fn output_shape<'a>(&self, shape: BatchShape<'a>) -> BatchShape<'a> {
        self.0.output_shape(shape)
    }
    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        self.0.memory(shape, mode)
    }
    fn structure(&self) -> Structure<'_, T> {
        self.0.structure()
    }
    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        let (mut pass, [first, rest]) = self.0.forward(w, pass);
        let z = first.run(pass.x, &mut pass);
        rest.run(z, &mut pass);
    }
    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        let (mut pass, [first, rest]) = self.0.backward(w, pass);
        let dz = rest.run(first.y, pass.dy, &mut pass);
        first.run(pass.x, dz, &mut pass);
    }
}
chainrule::layer_laws!(two_keeps_its_laws, two(3).unwrap());

#[test]
fn network_of_own_parts_learns_a_series() -> Result<(), Error> {
    let wave: Vec<f32> = (0..200).map(|t| (t as f32 * 0.3).sin()).collect();
    let data = Windows::new(10).every_step().of(1, &wave)?;
    let network = Sequential::<f32>::input(1).recurrent(12, Leak).layer(two(12)?).build()?;
    let settings = TrainConfig { epochs: 20, ..TrainConfig::default() };
    let mut trainer = Trainer::new(network, MeanSquaredError::new(), Adam::new(0.02), settings)?;
    let epochs = trainer.fit(&data)?;
    assert!(epochs[19].loss < 0.3 * epochs[0].loss);
    Ok(())
}
