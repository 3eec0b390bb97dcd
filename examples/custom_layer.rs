//! A layer of your own, trained on the monthly sunspot numbers, and the one line that tests its laws.

use chainrule::layer::{Backward, Dims, Forward};
use chainrule::{Block, Error, Layer, Role, Scalar, monitor::Factor};
use chainrule::{
    activation::Tanh,
    dataset::Dataset,
    layer::Sequential,
    loss::{MeanSquaredError, Target},
};
use chainrule::{
    trainer::{TrainConfig, Trainer},
    transform::Adam,
};

/// A learned scale for each value: `y = (1 + s) ⊙ x`. Backward: `dx = (1 + s) ⊙ dy`, `ds = Σ dy ⊙ x` over rows.
#[derive(Debug)]
struct Scale(usize);

impl<T: Scalar> Layer<T> for Scale {
    fn dims(&self) -> Dims {
        Dims::new(self.0, self.0, self.0)
    }
    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        visit(Block::new("scale", 0, [self.0, 1], Role::Gain));
    }
    fn forward(&self, s: &[T], pass: Forward<'_, T>) {
        pass.y.iter_mut().zip(pass.x).enumerate().for_each(|(i, (y, &x))| *y = x + s[i % self.0] * x);
        pass.ctx.report_forward(Factor::Weights, pass.x, pass.y);
    }
    fn backward(&self, s: &[T], pass: Backward<'_, T>) {
        (0..pass.dy.len()).for_each(|i| pass.dw[i % self.0] += pass.dy[i] * pass.x[i]);
        let Some(dx) = pass.dx else { return };
        dx.iter_mut().zip(pass.dy).enumerate().for_each(|(i, (dx, &dy))| *dx = dy + s[i % self.0] * dy);
        pass.ctx.report_backward(Factor::Weights, pass.dy, dx);
    }
}

chainrule::layer_laws!(scale_keeps_its_laws, Scale(3));

/// Months that a forecast sees.
const SEEN: usize = 24;

fn main() -> Result<(), Error> {
    let series = include_str!("../data/sunspots-monthly.csv").lines().skip(1);
    let series: Vec<f32> = series.filter_map(|line| line.rsplit(',').next()?.parse::<f32>().ok()).collect();
    let x: Vec<f32> = series.windows(SEEN + 1).flat_map(|window| &window[..SEEN]).map(|spots| spots / 100.0).collect();
    let next: Vec<f32> = series[SEEN..].iter().map(|spots| spots / 100.0).collect();
    let network = Sequential::input(SEEN).layer(Scale(SEEN)).linear(16).activation(Tanh).linear(1).build()?;
    let settings = TrainConfig { epochs: 10, ..TrainConfig::default() };
    let mut trainer = Trainer::new(network, MeanSquaredError::new(), Adam::new(3e-3), settings)?;
    let epochs = trainer.fit(&Dataset::rows(SEEN, &x, Target::Values(&next))?)?;
    let loss = epochs.last().map_or(f64::NAN, |epoch| epoch.loss);
    println!("root mean square error after {} epochs: {:.1} spots", epochs.len(), 100.0 * loss.sqrt());
    let forecast = trainer.predict(&Dataset::rows(SEEN, &x[x.len() - SEEN..], None)?)?;
    println!("forecast of the last month: {:.1}, it was {:.1}", 100.0 * forecast[0], series[series.len() - 1]);
    println!("s of the last 3 months: {:.2?}", &trainer.parameters()[SEEN - 3..SEEN]);
    Ok(())
}
