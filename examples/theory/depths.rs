//! The trainable depth at each weight variance, beside 6ξ_c (Schoenholz et al. 2017, Fig. 5).

use crate::{classifier, data::Table};
use chainrule::{
    activation::Tanh,
    dataset::{Batch, Dataset},
    initializer::{CriticalGain, Initializer},
    loss::{CrossEntropy, Target},
    mean_field::MeanField,
    random::shuffle,
    trainer::{TrainConfig, Trainer},
    transform::Adam,
};
use plotters::prelude::*;
use std::{error::Error, path::Path};

const BIAS_VARIANCE: f64 = 0.05;
const WIDTH: usize = 64;
const BATCH: usize = 32;

/// The mean loss of the last steps, divided by the loss of a guess; 1 means that nothing was learned.
fn loss_after(
    steps: usize,
    weight_variance: f64,
    depth: usize,
    data: &Dataset<'_, f32>,
) -> Result<f64, chainrule::Error> {
    let weights = CriticalGain { weight_variance, bias_variance: BIAS_VARIANCE, orthogonal: false }.kind();
    let network = classifier([WIDTH, depth], &weights, &weights)?;
    let settings = TrainConfig { batch_size: BATCH, seed: 1, threads: 2, ..TrainConfig::default() };
    let mut trainer = Trainer::new(&network, CrossEntropy::new(), Adam::new(1e-4), settings)?;
    let (mut batch, mut order) = (Batch::new(data, BATCH), (0..data.samples()).collect::<Vec<_>>());
    shuffle(&mut order, 1, 0);
    let (mut sum, last) = (0.0, steps.min(20));
    for step in 0..steps {
        let first = step * BATCH % (order.len() - BATCH);
        let (loss, _) = trainer.step(data, &mut batch, &order[first..first + BATCH], &mut ())?;
        sum += if step >= steps - last { loss } else { 0.0 };
    }
    Ok(sum / last as f64 / 10f64.ln())
}

/// Trains a grid of networks, and draws their losses under the theoretical curve.
pub fn report(train: &Table, picture: &Path, short: bool) -> Result<(), Box<dyn Error>> {
    let (columns, depths, steps) =
        if short { (2, vec![5, 20], 10) } else { (13, (1..=10).map(|depth| 10 * depth).collect(), 300) };
    println!(
        "\n## 6. Trainable depth: tanh, σb² = {BIAS_VARIANCE}, loss of {steps} steps of Adam over that of a guess\n"
    );
    let data = Dataset::rows(WIDTH, &train.inputs, Target::Classes(&train.labels))?;
    let variances: Vec<f64> = (0..columns).map(|i| 1.0 + 3.0 * i as f64 / (columns - 1) as f64).collect();
    print!("{:<12}", "depth \\ σw²");
    variances.iter().for_each(|variance| print!(" {variance:>6.2}"));
    println!();
    let mut cells = Vec::new();
    for &depth in depths.iter().rev() {
        print!("{depth:<12}");
        for &variance in &variances {
            let loss = loss_after(steps, variance, depth, &data)?;
            print!(" {loss:>6.2}");
            cells.push((variance, depth as f64, loss));
        }
        println!();
    }
    let trainable = |variance: f64| -> Result<f64, chainrule::Error> {
        let scales = MeanField::new(&Tanh, variance, BIAS_VARIANCE)?.depth_scales();
        Ok(scales.map_or(f64::NAN, |scales| scales.trainable_depth()))
    };
    print!("{:<12}", "6ξ_c");
    for &variance in &variances {
        print!(" {:>6.0}", trainable(variance)?);
    }
    println!();
    let agree = |&(variance, depth, loss): &(f64, f64, f64)| Ok((depth < trainable(variance)?) == (loss < 0.75));
    let right: Vec<bool> = cells.iter().map(agree).collect::<Result<_, chainrule::Error>>()?;
    let right = right.iter().filter(|right| **right).count();
    println!("\nlearned (below 0.75) where depth < 6ξ_c, and not elsewhere: {right} of {} networks.", cells.len());

    let area = SVGBackend::new(picture, (820, 560)).into_drawing_area();
    area.fill(&WHITE)?;
    let (dx, dy) = (1.5 / (columns - 1) as f64, 45.0 / (depths.len() - 1) as f64);
    let mut chart = ChartBuilder::on(&area)
        .caption("Trainable depth: bright has learned, dark has not. White line: 6ξ_c.", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(52)
        .build_cartesian_2d(1.0 - dx..4.0 + dx, 10.0 - dy..100.0 + dy)?;
    chart.configure_mesh().disable_mesh().x_desc("σw²").y_desc("depth").draw()?;
    chart.draw_series(cells.iter().map(|&(variance, depth, loss)| {
        let learned = 1.0 - loss.clamp(0.0, 1.0);
        let colour =
            RGBColor((40.0 + 215.0 * learned) as u8, (20.0 + 170.0 * learned) as u8, (60.0 - 30.0 * learned) as u8);
        Rectangle::new([(variance - dx, depth - dy), (variance + dx, depth + dy)], colour.filled())
    }))?;
    let curve = (0..=300).map(|i| 1.0 + f64::from(i) / 100.0);
    let curve: Vec<_> =
        curve.map(|variance| Ok((variance, trainable(variance)?))).collect::<Result<_, chainrule::Error>>()?;
    for side in curve.split(|(_, depth)| !depth.is_finite() || *depth > 100.0 + dy) {
        chart.draw_series(LineSeries::new(side.iter().copied(), WHITE.stroke_width(3)))?;
    }
    area.present()?;
    println!("drawn: {}", picture.display());
    Ok(())
}
