//! A recurrent cell of your own, trained on the monthly sunspot numbers, and the one line that tests its laws.

use chainrule::activation::{Activation, Sigmoid, Tanh};
use chainrule::recurrent::{Cell, CellBackward, CellForward};
use chainrule::{Error, Gate, Scalar};
use chainrule::{
    dataset::Dataset,
    layer::Sequential,
    loss::{MeanSquaredError, Target},
};
use chainrule::{
    trainer::{TrainConfig, Trainer},
    transform::{Adam, ClipNorm},
};

/// A unit with one gate: `h_t = f ⊙ h_{t−1} + (1 − f) ⊙ n`, `f = σ(z_f)`, `n = tanh(z_n)`.
#[derive(Clone, Debug)]
struct Minimal;

impl Cell for Minimal {
    fn gates(&self) -> &'static [Gate] {
        const { &[Gate::carrying_state("forget"), Gate::new("candidate")] }
    }
    fn forward<T: Scalar>(&self, _stage: usize, unit: CellForward<'_, T>) {
        let units = unit.h_prev.len();
        for j in 0..units {
            let f = Sigmoid.value(unit.z[j]);
            unit.h[j] = f * unit.h_prev[j] + (T::one() - f) * Tanh.value(unit.z[units + j]);
        }
    }
    fn backward<T: Scalar>(&self, _stage: usize, unit: CellBackward<'_, T>) {
        let units = unit.h_prev.len();
        for j in 0..units {
            let (z_f, z_n, dh) = (unit.z[j], unit.z[units + j], unit.d_h[j]);
            let (f, n) = (Sigmoid.value(z_f), Tanh.value(z_n));
            unit.d_h_prev[j] += dh * f;
            unit.z[j] = dh * (unit.h_prev[j] - n) * Sigmoid.derivative(z_f, f);
            unit.z[units + j] = dh * (T::one() - f) * Tanh.derivative(z_n, n);
        }
    }
}

chainrule::cell_laws!(minimal_keeps_its_laws, Minimal);

/// Months of a sequence.
const MONTHS: usize = 24;

fn main() -> Result<(), Error> {
    let series = include_str!("../data/sunspots-monthly.csv").lines().skip(1);
    let series: Vec<f32> = series.filter_map(|line| line.rsplit(',').next()?.parse::<f32>().ok()).collect();
    let series: Vec<f32> = series.iter().map(|spots| spots / 100.0).collect();
    let starts = || (0..series.len() - MONTHS).step_by(6);
    let x: Vec<f32> = starts().flat_map(|start| series[start..start + MONTHS].to_vec()).collect();
    let next: Vec<f32> = starts().flat_map(|start| series[start + 1..=start + MONTHS].to_vec()).collect();
    let data = Dataset::sequences(1, MONTHS, &x, Target::Values(&next))?; // the next month at every month
    let network = Sequential::input(1).recurrent(16, Minimal).linear(1).build()?;
    let settings = TrainConfig { epochs: 10, ..TrainConfig::default() };
    let chain = (ClipNorm::new(1.0), Adam::new(1e-2));
    let mut trainer = Trainer::new(network, MeanSquaredError::new(), chain, settings)?;
    let epochs = trainer.fit(&data)?;
    let loss = epochs.last().map_or(f64::NAN, |epoch| epoch.loss);
    println!("root mean square error after {} epochs: {:.1} spots", epochs.len(), 100.0 * loss.sqrt());
    let forecast = trainer.predict(&Dataset::sequences(1, MONTHS, &series[series.len() - MONTHS..], None)?)?;
    println!("forecast of the month after the last: {:.1} spots", 100.0 * forecast[MONTHS - 1]);
    Ok(())
}
