//! Sunspots: one month ahead, from a recurrent network with a loss at every step.

use crate::{
    pictures::{Curve, draw},
    progress,
};
use chainrule::{
    dataset::Dataset,
    layer::Sequential,
    loss::{MeanSquaredError, Target},
    recurrent::Gru,
    trainer::{FitOptions, TrainConfig, Trainer},
    transform::{Adam, ClipNorm, Schedule},
};
use std::{
    error::Error,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

/// Months that a forecast reads.
const WINDOW: usize = 48;
const HIDDEN: usize = 24;
const BATCH: usize = 32;

/// Runs this part; returns the names of its pictures.
pub fn report(months: &[f64], pictures: &Path, short: bool) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    println!("\n## 4. Sunspots, one month ahead\n");
    let held_out = months.len() - months.len() / 5;
    // The square root evens out the variance of the counts; the scale comes from the training part alone.
    let roots: Vec<f64> = months.iter().map(|count| count.sqrt()).collect();
    let known = &roots[..held_out];
    let mean = known.iter().sum::<f64>() / known.len() as f64;
    let deviation = (known.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / known.len() as f64).sqrt();
    let series: Vec<f32> = roots.iter().map(|v| ((v - mean) / deviation) as f32).collect();

    // Windows of months; the target of each step is the next month.
    let starts: Vec<usize> = (0..held_out - WINDOW).step_by(2).collect();
    let windows = |offset: usize| -> Vec<f32> {
        starts.iter().flat_map(|start| &series[start + offset..][..WINDOW]).copied().collect()
    };
    let (x, y) = (windows(0), windows(1));
    let data = Dataset::sequences(1, WINDOW, &x, Target::Values(&y))?;
    let network = Sequential::<f32>::input(1).recurrent(HIDDEN, Gru::new()).linear(1).build()?;
    let epochs = if short { 3 } else { 60 };
    let settings = TrainConfig { batch_size: BATCH, epochs, seed: 5, ..TrainConfig::default() };
    let updates = (epochs * starts.len().div_ceil(BATCH)) as u64;
    let transform = (ClipNorm::new(1.0), Adam::new(3e-3), Schedule::cosine(updates, 0.02));
    let mut trainer = Trainer::new(&network, MeanSquaredError::new(), transform, settings)?;
    let bar = progress::bar("sunspots", epochs);
    trainer.fit_with(
        &data,
        FitOptions::new().on_epoch(|_| {
            progress::advance(&bar);
            ControlFlow::Continue(())
        }),
    )?;

    // Each held-out month from the months before it.
    let mut forecast = Vec::new();
    for month in held_out..months.len() {
        let y = trainer.predict(&Dataset::sequences(1, WINDOW, &series[month - WINDOW..month], None)?)?;
        let root = f64::from(y[WINDOW - 1]) * deviation + mean;
        forecast.push(root.max(0.0).powi(2));
    }
    let truth = &months[held_out..];
    let persistence: Vec<f64> = months[held_out - 1..months.len() - 1].to_vec();
    let scaled: Vec<f64> = series.iter().map(|&v| f64::from(v)).collect();
    let coefficients = autoregression(&scaled[..held_out]);
    let linear: Vec<f64> = (held_out..months.len())
        .map(|month| {
            let past = scaled[month - WINDOW..month].iter().zip(&coefficients);
            let root = coefficients[WINDOW] + past.map(|(v, c)| v * c).sum::<f64>();
            (root * deviation + mean).max(0.0).powi(2)
        })
        .collect();

    println!(
        "{} months; the last {} are held out. Each forecast sees the {WINDOW} months before it. A GRU of {HIDDEN} units,\n\
         loss at every step, {epochs} epochs; errors in sunspot numbers.\n",
        months.len(),
        truth.len()
    );
    println!("{:<34} {:>8} {:>8}", "", "RMSE", "MAE");
    let rows = [("persistence", &persistence), ("linear autoregression", &linear), ("GRU", &forecast)];
    for (name, found) in rows {
        let errors = || found.iter().zip(truth).map(|(f, t)| f - t);
        let n = truth.len() as f64;
        let rmse = (errors().map(|e| e * e).sum::<f64>() / n).sqrt();
        println!("{name:<34} {rmse:>8.2} {:>8.2}", errors().map(f64::abs).sum::<f64>() / n);
    }
    let picture = pictures.join("forecast.svg");
    let last = truth.len().saturating_sub(150);
    let curve = |name: &str, values: &[f64]| Curve::of(name, values[last..].iter().copied());
    let curves = [curve("observed", truth), curve("GRU", &forecast), curve("linear autoregression", &linear)];
    draw(&picture, "Sunspots, one month ahead (the last 150 months)", "month", "sunspot number", &curves)?;
    Ok(vec![picture])
}

/// The linear forecast from [`WINDOW`] values, and a constant, of least squared error (ridge 1e-6): normal
/// equations, by Cholesky.
fn autoregression(series: &[f64]) -> Vec<f64> {
    let n = WINDOW + 1;
    let (mut a, mut b) = (vec![0.0; n * n], vec![0.0; n]);
    for end in WINDOW..series.len() {
        let row = |i: usize| if i < WINDOW { series[end - WINDOW + i] } else { 1.0 };
        for i in 0..n {
            b[i] += row(i) * series[end];
            for j in 0..=i {
                a[i * n + j] += row(i) * row(j);
            }
        }
    }
    for i in 0..n {
        a[i * n + i] += 1e-6;
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| a[i * n + k] * a[j * n + k]).sum();
            a[i * n + j] = if i == j { (a[i * n + i] - sum).sqrt() } else { (a[i * n + j] - sum) / a[j * n + j] };
        }
    }
    for i in 0..n {
        let sum: f64 = (0..i).map(|k| a[i * n + k] * b[k]).sum();
        b[i] = (b[i] - sum) / a[i * n + i];
    }
    for i in (0..n).rev() {
        let sum: f64 = (i + 1..n).map(|k| a[k * n + i] * b[k]).sum();
        b[i] = (b[i] - sum) / a[i * n + i];
    }
    b
}
