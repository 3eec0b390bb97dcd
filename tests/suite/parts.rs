//! Layers made of parts by [`Parts`]: they equal the same formulas without it, and a mistake in a formula breaks a
//! law.

use crate::numbers::bits;
use chainrule::{
    BatchShape, Error, Layer, Scalar,
    dataset::Dataset,
    layer::{Backward, Dims, Forward, Linear, MemorySizes, Merge, Mode, Parts, Sequential, Structure, initialize},
    layer_laws,
    loss::{MeanSquaredError, Target},
    monitor::Factor,
    recurrent::{Elman, Lstm, Recurrent},
    testing::{Dual, Law, Layers},
    trainer::{TrainConfig, Trainer, Truncation},
    transform::Adam,
    workspace::Workspace,
};

/// What a layer computes from its parts f and g.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Formula {
    /// `g(f(x))`, parts of a chain.
    Chain,
    /// `f(x) + g(x)`.
    Sum,
    /// `f(x) ⊙ g(f(x))`: the input of g has a gradient of its own.
    Gate,
    /// As `Sum`, with a mistake: the backward pass leaves out the gradient of g for x.
    SumWithoutSecondGradient,
    /// As `Gate`, with a mistake: f receives no gradient from g.
    GateWithoutInnerGradient,
    /// As `Sum`, with a mistake: the forward pass does not run g.
    SumOfOne,
}

#[derive(Debug)]
struct Composite<T: Scalar>(Parts<T, 2>, Formula);

use Formula::*;

impl<T: Scalar> Layer<T> for Composite<T> {
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
        let (mut pass, [f, g]) = self.0.forward(w, pass);
        let f = f.run(pass.x, &mut pass);
        if self.1 == SumOfOne {
            pass.y.copy_from_slice(f);
            return pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
        }
        let is_nested = matches!(self.1, Chain | Gate | GateWithoutInnerGradient);
        let g = g.run(if is_nested { f } else { pass.x }, &mut pass);
        let y = pass.y.iter_mut().zip(f.iter().zip(g));
        match self.1 {
            Chain => return,
            Gate | GateWithoutInnerGradient => y.for_each(|(y, (&f, &g))| *y = f * g),
            _ => y.for_each(|(y, (&f, &g))| *y = f + g),
        }
        pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
    }
    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        let (mut pass, [f, g]) = self.0.backward(w, pass);
        let (f_dx, g_dx): (&[T], &[T]) = match self.1 {
            Chain => {
                let dz = g.run(f.y, pass.dy, &mut pass);
                f.run(pass.x, dz, &mut pass);
                return;
            }
            Gate | GateWithoutInnerGradient => {
                let [f_dy, g_dy] = [pass.buffer(f.y.len()), pass.buffer(g.y.len())];
                f_dy.iter_mut().zip(g.y.iter().zip(pass.dy)).for_each(|(f_dy, (&g, &dy))| *f_dy = g * dy);
                g_dy.iter_mut().zip(f.y.iter().zip(pass.dy)).for_each(|(g_dy, (&f, &dy))| *g_dy = f * dy);
                let inner = g.run(f.y, g_dy, &mut pass);
                if self.1 == Gate {
                    f_dy.iter_mut().zip(inner).for_each(|(f_dy, &inner)| *f_dy += inner);
                }
                (f.run(pass.x, f_dy, &mut pass), &[])
            }
            _ => (f.run(pass.x, pass.dy, &mut pass), g.run(pass.x, pass.dy, &mut pass)),
        };
        let Some(dx) = pass.dx else { return };
        match self.1 {
            Sum => dx.iter_mut().zip(f_dx.iter().zip(g_dx)).for_each(|(dx, (&f, &g))| *dx = f + g),
            _ => dx.copy_from_slice(f_dx),
        }
        pass.ctx.report_backward(Factor::Other, pass.dy, dx);
    }
}

fn of<T: Scalar>(formula: Formula, f: impl Layer<T> + 'static, g: impl Layer<T> + 'static) -> Composite<T> {
    let parts = [("f", Box::new(f) as Box<dyn Layer<T>>), ("g", Box::new(g) as Box<dyn Layer<T>>)];
    let parts = if formula == Chain { Parts::chain(parts) } else { Parts::branches(parts) };
    Composite(parts.unwrap(), formula)
}

/// Two parts that save values, read their outputs, have a state, and change the number of steps.
fn last<T: Scalar>() -> Sequential<T> {
    Sequential::input(3).lstm(2).last_step().build().unwrap()
}

fn mean<T: Scalar>() -> Sequential<T> {
    Sequential::input(3).dropout(0.3).linear(2).tanh().mean_over_steps().build().unwrap()
}

fn normed<T: Scalar>() -> Sequential<T> {
    Sequential::input(2).batch_norm().linear(2).sigmoid().build().unwrap()
}

layer_laws!(chain_of_parts, of(Chain, Recurrent::new(3, 2, Lstm::new()), normed()));
layer_laws!(chain_of_fewer_steps, of(Chain, last(), Linear::new(2, 2)));
layer_laws!(sum_of_parts, of(Sum, last(), mean()));
layer_laws!(gate_of_parts, of(Gate, Linear::new(3, 2), normed()));
layer_laws!(gate_with_a_state, of(Gate, Recurrent::new(3, 2, Elman::new(chainrule::activation::Tanh)), normed()));

#[test]
fn mistake_in_a_formula_is_caught() {
    for (formula, law) in [
        (SumWithoutSecondGradient, Law::Adjoint),
        (GateWithoutInnerGradient, Law::Adjoint),
        (SumOfOne, Law::ReportsLinks),
    ] {
        fn composite<T: Scalar>(formula: Formula) -> Composite<T> {
            match formula {
                GateWithoutInnerGradient => of(formula, Linear::new(3, 2), Linear::new(2, 2)),
                _ => of(formula, Linear::new(3, 2), Linear::new(3, 2)),
            }
        }
        let (single, double) = (composite::<f32>(formula), composite::<f64>(formula));
        let dual = composite::<Dual<f64>>(formula);
        let found = chainrule::testing::layer_laws(Layers { single: &single, double: &double, dual: &dual }, 0);
        let found = found.expect_err("a mistake");
        assert!(found.of(law).is_some(), "{formula:?}: {found}");
    }
}

/// The output, the gradients of inputs and parameters, and the final state of a training pass.
fn pass(layer: &dyn Layer<f64>, x: &[f64], shape: BatchShape<'_>) -> [Vec<u64>; 4] {
    let w = initialize(layer, 3).unwrap();
    let mut workspace = Workspace::new(layer, shape).unwrap();
    workspace.compute_input_gradient(true);
    let output = workspace.forward_with(&w, x, shape, Mode::Train, &mut ()).unwrap();
    output.dy.iter_mut().enumerate().for_each(|(i, dy)| *dy = (i as f64).cos());
    let y = bits(output.y);
    workspace.backward(&w).unwrap();
    [y, bits(workspace.input_gradient()), bits(workspace.gradient()), bits(workspace.final_state())]
}

/// The layers of this crate that compute the same cut the slices of their passes by themselves.
#[test]
fn parts_equal_the_layers_of_this_crate_to_the_bit() {
    let shape = BatchShape::sequences(4, 5);
    let x: Vec<f64> = (0..4 * 5 * 3).map(|i| (i as f64).sin()).collect();
    let chain = Sequential::input(3).layer(Recurrent::new(3, 2, Lstm::new())).layer(normed()).build().unwrap();
    assert_eq!(pass(&of(Chain, Recurrent::new(3, 2, Lstm::new()), normed()), &x, shape), pass(&chain, &x, shape));
    let sum = chainrule::layer::Parallel::new(Merge::Sum, vec![Box::new(last()), Box::new(mean())]).unwrap();
    assert_eq!(pass(&of(Sum, last(), mean()), &x, shape), pass(&sum, &x, shape));
}

/// A run in windows carries the state of each part, and its files have the blocks of each.
#[test]
fn parts_train_as_the_chain_of_the_same_layers() {
    let x: Vec<f64> = (0..2 * 24).map(|i| (0.3 * i as f64).sin()).collect();
    let data = Dataset::sequences(1, 24, &x, Target::Values(&x)).unwrap();
    let run = |layer: Box<dyn Layer<f64>>| {
        let settings = TrainConfig { epochs: 3, truncation: Some(Truncation::new(6)), ..TrainConfig::default() };
        let network = Sequential::input(1).layer(layer).build().unwrap();
        let mut trainer = Trainer::new(network, MeanSquaredError::new(), Adam::new(0.05), settings).unwrap();
        trainer.fit(&data).unwrap();
        bits(trainer.parameters())
    };
    let (lstm, linear) = (|| Recurrent::new(1, 3, Lstm::new()), || Linear::new(3, 1));
    let plain = Sequential::input(1).layer(lstm()).layer(linear()).build().unwrap();
    assert_eq!(run(Box::new(of(Chain, lstm(), linear()))), run(Box::new(plain)));
}

#[test]
fn parts_that_do_not_fit_are_refused_with_their_names() {
    type Two = [(&'static str, Box<dyn Layer<f64>>); 2];
    let two = |f: Linear, g: Linear| -> Two { [("f", Box::new(f)), ("g", Box::new(g))] };
    let text = |found: Result<Parts<f64, 2>, Error>| found.unwrap_err().to_string();
    let chain = text(Parts::chain(two(Linear::new(3, 2), Linear::new(4, 1))));
    assert!(chain.contains("part f outputs 2 values, but part g expects 4"), "{chain}");
    let widths = Parts::branches(two(Linear::new(3, 2), Linear::new(3, 1))).unwrap().equal_widths();
    assert!(matches!(widths, Err(Error::WidthMismatch { expected: 2, found: 1, .. })));
    let inputs = Parts::branches(two(Linear::new(3, 2), Linear::new(4, 2))).unwrap().equal_widths();
    assert!(matches!(inputs, Err(Error::WidthMismatch { expected: 3, found: 4, .. })));
    assert!(matches!(Parts::<f64, 2>::chain(two(Linear::new(3, 0), Linear::new(0, 2))), Err(Error::Parameter { .. })));
    assert!(matches!(Parts::<f64, 0>::branches([]), Err(Error::Empty { .. })));
    let steps: Two = [("f", Box::new(last())), ("g", Box::new(Linear::new(3, 2)))];
    assert!(matches!(Parts::branches(steps), Err(Error::IncompatibleLayer { .. })));
}
