//! A layer made of other layers, trained on the monthly sunspot numbers, and the one line that tests its laws.

use chainrule::layer::{Backward, Dims, Forward, Linear, MemorySizes, Mode, Parts, Sequential, Structure};
use chainrule::{
    BatchShape,
    activation::Tanh,
    dataset::Dataset,
    loss::{MeanSquaredError, Target},
};
use chainrule::{Error, Layer, Scalar};
use chainrule::{
    monitor::{Factor, GradientBudget},
    trainer::{FitOptions, TrainConfig, Trainer},
    transform::Adam,
};

/// Two layers on the same rows, their outputs added: `y = f(x) + g(x)`. Backward: `dx = f′ᵀ dy + g′ᵀ dy`.
#[derive(Debug)]
struct Sum<T: Scalar>(Parts<T, 2>);

impl<T: Scalar> Layer<T> for Sum<T> {
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
    /// `‖∂y/∂x‖ ≤ ‖∂f/∂x‖ + ‖∂g/∂x‖`, rounded up.
    fn gain_bound(&self, w: &[T], shape: BatchShape<'_>) -> Option<f64> {
        self.0.gain_bounds(w, shape).map(|[f, g]| (f + g).next_up())
    }
    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        let (mut pass, [f, g]) = self.0.forward(w, pass);
        let (f, g) = (f.run(pass.x, &mut pass), g.run(pass.x, &mut pass));
        pass.y.iter_mut().zip(f.iter().zip(g)).for_each(|(y, (&f, &g))| *y = f + g);
        pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
    }
    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        let (mut pass, [f, g]) = self.0.backward(w, pass);
        let (f_dx, g_dx) = (f.run(pass.x, pass.dy, &mut pass), g.run(pass.x, pass.dy, &mut pass));
        let Some(dx) = pass.dx else { return };
        dx.iter_mut().zip(f_dx.iter().zip(g_dx)).for_each(|(dx, (&f, &g))| *dx = f + g);
        pass.ctx.report_backward(Factor::Other, pass.dy, dx);
    }
}

/// A straight line beside a small network.
fn line_and_curve<T: Scalar>(inputs: usize, hidden: usize) -> Result<Sum<T>, Error> {
    let curve = Sequential::input(inputs).linear(hidden).activation(Tanh).linear(1).build()?;
    let parts = Parts::branches([("first", Box::new(Linear::new(inputs, 1))), ("second", Box::new(curve))])?;
    Ok(Sum(parts.equal_widths()?))
}

chainrule::layer_laws!(sum_keeps_its_laws, line_and_curve(3, 2).unwrap());

/// Months that a forecast sees.
const SEEN: usize = 24;

fn main() -> Result<(), Error> {
    let series = include_str!("../data/sunspots-monthly.csv").lines().skip(1);
    let series: Vec<f32> = series.filter_map(|line| line.rsplit(',').next()?.parse::<f32>().ok()).collect();
    let x: Vec<f32> = series.windows(SEEN + 1).flat_map(|window| &window[..SEEN]).map(|spots| spots / 100.0).collect();
    let next: Vec<f32> = series[SEEN..].iter().map(|spots| spots / 100.0).collect();
    let network = Sequential::input(SEEN).linear(SEEN).layer(line_and_curve(SEEN, 16)?).build()?;
    let settings = TrainConfig { epochs: 10, ..TrainConfig::default() };
    let mut trainer = Trainer::new(network, MeanSquaredError::new(), Adam::new(3e-3), settings)?;
    let mut budget = GradientBudget::new();
    let data = Dataset::rows(SEEN, &x, Target::Values(&next))?;
    let epochs = trainer.fit_with(&data, FitOptions::new().monitor(&mut budget))?;
    let loss = epochs.last().map_or(f64::NAN, |epoch| epoch.loss);
    println!("root mean square error after {} epochs: {:.1} spots", epochs.len(), 100.0 * loss.sqrt());
    println!("the gradient of the last update, link by link:");
    for link in budget.links() {
        println!("  {:<12} {:+.2} decades", link.name, link.decades());
    }
    Ok(())
}
