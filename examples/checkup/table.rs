//! A user's own table.

use crate::{data, progress};
use chainrule::{
    activation::Relu,
    dataset::{Batch, Dataset, Standardize},
    initializer::He,
    layer::{Linear, Sequential},
    loss::{CrossEntropy, Target},
    monitor::GradientBudget,
    network::summary,
    trainer::{FitOptions, TrainConfig, Trainer},
    transform::{Adam, ClipNorm, SkipNonFinite},
};
use std::{error::Error, ops::ControlFlow};

/// Trains a small network on the table, and reports on its gradients and its accuracy.
pub fn report(file: &str, label: &str, short: bool) -> Result<(), Box<dyn Error>> {
    let table = data::table(file, label)?;
    let (train, test) = table.split(1);
    println!("## {file}\n");
    println!(
        "{} rows of {} numbers, {} classes ({}); {} rows to test on.\n",
        table.labels.len(),
        table.width,
        table.classes.len(),
        table.classes.join(", "),
        test.labels.len()
    );
    let hidden = (4 * table.width).clamp(16, 128);
    let network = Sequential::<f32>::input(table.width)
        .layer(Linear::new(table.width, hidden).weights(He::normal()))
        .activation(Relu)
        .layer(Linear::new(hidden, hidden).weights(He::normal()))
        .activation(Relu)
        .linear(table.classes.len())
        .build()?;
    println!("{}", summary(&network));
    let epochs = if short { 5 } else { 60 };
    let settings = TrainConfig { epochs, seed: 1, patience: Some(10), ..TrainConfig::default() };
    let chain = (SkipNonFinite::new(), ClipNorm::new(5.0), Adam::new(1e-3));
    let mut trainer = Trainer::new(&network, CrossEntropy::new(), chain, settings)?;
    // Early stopping uses other rows than the report.
    let (train, watched) = train.split(2);
    let train_data = Dataset::rows(table.width, &train.inputs, Target::Classes(&train.labels))?;
    let watched_data = Dataset::rows(table.width, &watched.inputs, Target::Classes(&watched.labels))?;
    let test_data = Dataset::rows(table.width, &test.inputs, Target::Classes(&test.labels))?;
    // The scale is that of the training rows alone.
    let scale = Standardize::fit(&train_data)?;
    let [train_data, watched_data, test_data] = [train_data, watched_data, test_data].map(|data| scale.inputs(&data));
    let (train_data, watched_data, test_data) = (train_data?, watched_data?, test_data?);
    let mut budget = GradientBudget::new();
    let mut batch = Batch::new(&train_data, 32);
    let first: Vec<usize> = (0..train_data.samples().min(32)).collect();
    trainer.step(&train_data, &mut batch, &first, &mut budget)?;
    println!("At the first step:\n{budget}");
    let bar = progress::bar("training", epochs);
    let show = |_: &chainrule::trainer::Epoch| {
        progress::advance(&bar);
        ControlFlow::Continue(())
    };
    let done = trainer.fit_with(&train_data, FitOptions::new().validation(&watched_data).on_epoch(show))?;
    let found = trainer.evaluate(&test_data)?;
    let mut counts = vec![0usize; table.classes.len()];
    test.labels.iter().for_each(|&class| counts[class] += 1);
    let most = counts.iter().max().copied().unwrap_or(0) as f64 / test.labels.len() as f64;
    println!(
        "After {} epochs: test loss {:.3}, test accuracy {:.1} %; always the commonest class would be {:.1} %.",
        done.len(),
        found.loss,
        100.0 * found.accuracy.unwrap_or(0.0),
        100.0 * most
    );
    Ok(())
}
