//! A layer made of other layers, trained on the monthly sunspot numbers, and the one line that tests its laws.

use chainrule::layer::{Backward, Dims, Forward, MemorySizes, Mode, PartSizes, Structure};
use chainrule::{
    BatchShape,
    activation::Tanh,
    dataset::Dataset,
    layer::{Linear, Sequential},
    loss::{MeanSquaredError, Target},
};
use chainrule::{Error, Layer, Scalar};
use chainrule::{
    monitor::{Factor, GradientBudget},
    trainer::{FitOptions, TrainConfig, Trainer},
    transform::Adam,
};

/// Two layers on the same rows, their outputs added: `y = f(x) + g(x)`. Backward: `dx = f′ᵀ dy + g′ᵀ dy`.
///
/// For layers that keep the number of rows and have no state.
#[derive(Debug)]
struct Sum<T> {
    first: Box<dyn Layer<T>>,
    second: Box<dyn Layer<T>>,
    dims: Dims,
    /// Parameters, blocks and links of the first branch; those of the second follow.
    first_sizes: PartSizes,
}

impl<T: Scalar> Sum<T> {
    fn new(first: impl Layer<T> + 'static, second: impl Layer<T> + 'static) -> Result<Self, Error> {
        let [f, g] = [first.dims(), second.dims()];
        for (expected, found) in [(f.input, g.input), (f.output, g.output)] {
            if expected != found {
                return Err(Error::WidthMismatch {
                    layer: "the first branch".into(),
                    before: "the second branch has".into(),
                    expected,
                    found,
                });
            }
        }
        let shape = BatchShape::sequences(1, 2);
        for layer in [&first as &dyn Layer<T>, &second] {
            if layer.output_shape(shape) != shape || layer.memory(shape, Mode::Infer).state > 0 {
                return Err(Error::IncompatibleLayer {
                    what: "a sum",
                    needs: "branches that keep the steps, without state",
                });
            }
        }
        let dims = Dims::new(f.input, f.output, f.parameters + g.parameters);
        let first_sizes = PartSizes::of(&first);
        Ok(Sum { dims, first_sizes, first: Box::new(first), second: Box::new(second) })
    }
}

impl<T: Scalar> Layer<T> for Sum<T> {
    fn dims(&self) -> Dims {
        self.dims
    }
    /// Saved: what the branches save, then their outputs. Scratch: theirs, both outputs, and a gradient of the input.
    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        let [f, g] = [self.first.memory(shape, mode), self.second.memory(shape, mode)];
        let outputs = 2 * shape.rows() * self.dims.output;
        let saved = if mode.saves() { f.saved + g.saved + outputs } else { 0 };
        MemorySizes::new(saved, f.scratch.max(g.scratch) + outputs + shape.rows() * self.dims.input, 0)
    }
    /// Its own link, then the branches: blocks, first values and names of links follow from this.
    fn structure(&self) -> Structure<'_, T> {
        Structure::branches().part("first", &*self.first).part("second", &*self.second)
    }
    /// `‖∂y/∂x‖ ≤ ‖∂f/∂x‖ + ‖∂g/∂x‖`, rounded up.
    fn gain_bound(&self, w: &[T], shape: BatchShape<'_>) -> Option<f64> {
        let (f_w, g_w) = w.split_at(self.first_sizes.parameters);
        Some((self.first.gain_bound(f_w, shape)? + self.second.gain_bound(g_w, shape)?).next_up())
    }
    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        let Forward { x, y, saved, scratch, mut ctx, .. } = pass;
        let (f_w, g_w) = w.split_at(self.first_sizes.parameters);
        let (f_saved, saved) = saved.split_at_mut(self.first.memory(ctx.shape, ctx.mode).saved);
        let (g_saved, kept) = saved.split_at_mut(self.second.memory(ctx.shape, ctx.mode).saved);
        let (spare, scratch) = scratch.split_at_mut(2 * y.len());
        let (f_y, g_y) = if ctx.mode.saves() { kept } else { spare }.split_at_mut(y.len());
        self.first.forward(f_w, Forward::new(x, f_y, f_saved, scratch, ctx.branch(1)));
        self.second.forward(g_w, Forward::new(x, g_y, g_saved, scratch, ctx.branch(1 + self.first_sizes.links)));
        for (y, (&f, &g)) in y.iter_mut().zip(f_y.iter().zip(&*g_y)) {
            *y = f + g;
        }
        ctx.report_forward(Factor::Other, x, y);
    }
    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        let Backward { x, dy, mut dx, dw, saved, scratch, trainable, mut ctx, .. } = pass;
        let (f_w, g_w) = w.split_at(self.first_sizes.parameters);
        let (f_dw, g_dw) = dw.split_at_mut(self.first_sizes.parameters);
        let (f_saved, saved) = saved.split_at_mut(self.first.memory(ctx.shape, ctx.mode).saved);
        let (g_saved, kept) = saved.split_at_mut(self.second.memory(ctx.shape, ctx.mode).saved);
        let (f_y, g_y) = kept.split_at(dy.len());
        let (spare, scratch) = scratch.split_at_mut(x.len());
        let g_dx = dx.is_some().then_some(&mut *spare);

        let mut f = Backward::new(x, f_y, dy, dx.as_deref_mut(), f_dw, f_saved, scratch, ctx.branch(1));
        f.trainable = trainable;
        self.first.backward(f_w, f);
        let mut g = Backward::new(x, g_y, dy, g_dx, g_dw, g_saved, scratch, ctx.branch(1 + self.first_sizes.links));
        g.trainable = trainable.part(self.first_sizes.blocks);
        self.second.backward(g_w, g);

        let Some(dx) = dx else { return };
        for (dx, &g_dx) in dx.iter_mut().zip(&*spare) {
            *dx += g_dx;
        }
        ctx.report_backward(Factor::Other, dy, dx);
    }
}

/// A straight line beside a small network.
fn line_and_curve<T: Scalar>(inputs: usize, hidden: usize) -> Result<Sum<T>, Error> {
    let curve = Sequential::input(inputs).linear(hidden).activation(Tanh).linear(1).build()?;
    Sum::new(Linear::new(inputs, 1), curve)
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
