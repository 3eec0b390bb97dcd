//! A monitor of your own, in a training on the monthly sunspot numbers, and the one line that tests its laws.

use chainrule::{GradientMonitor, Scalar, monitor::Link, to_f64};
use chainrule::{
    activation::Sigmoid,
    dataset::Dataset,
    layer::Sequential,
    loss::{MeanSquaredError, Target},
    trainer::{FitOptions, TrainConfig, Trainer},
    transform::Adam,
};

/// The largest |∂L/∂x| at each link, over all passes.
#[derive(Clone, Debug, Default)]
struct Largest(Vec<(String, f64)>);

impl<T: Scalar> GradientMonitor<T> for Largest {
    fn backward(&mut self, at: &Link<'_>, _dy: &[T], dx: &[T]) {
        let size = dx.iter().fold(0.0, |most: f64, &dx| most.max(to_f64(dx).abs()));
        match self.0.iter_mut().find(|(name, _)| name == at.name) {
            Some((_, most)) => *most = most.max(size),
            None => self.0.push((at.name.into(), size)),
        }
    }
}

chainrule::monitor_laws!(largest_keeps_its_laws, Largest::default());

/// Months that a forecast sees.
const SEEN: usize = 24;

fn main() -> Result<(), chainrule::Error> {
    let series = include_str!("../data/sunspots-monthly.csv").lines().skip(1);
    let series: Vec<f32> = series.filter_map(|line| line.rsplit(',').next()?.parse::<f32>().ok()).collect();
    let x: Vec<f32> = series.windows(SEEN + 1).flat_map(|window| &window[..SEEN]).map(|spots| spots / 100.0).collect();
    let next: Vec<f32> = series[SEEN..].iter().map(|spots| spots / 100.0).collect();
    let mut builder = Sequential::input(SEEN);
    for _ in 0..6 {
        builder = builder.linear(16).activation(Sigmoid);
    }
    let settings = TrainConfig { epochs: 3, ..TrainConfig::default() };
    let mut trainer = Trainer::new(builder.linear(1).build()?, MeanSquaredError::new(), Adam::new(3e-3), settings)?;
    let mut largest = Largest::default();
    trainer.fit_with(&Dataset::rows(SEEN, &x, Target::Values(&next))?, FitOptions::new().monitor(&mut largest))?;
    println!("the largest gradient that left each link, from the loss to the input:");
    largest.0.iter().for_each(|(name, size)| println!("  {name:>3}  {size:.1e}"));
    Ok(())
}
