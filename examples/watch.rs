//! A run that is watched: a bar on the terminal, an event file for TensorBoard, JSON lines, the report at the end, and
//! the pages of the run and of the report.
//!
//! `cargo run --release --features tensorboard,serde --example watch -- logs`, then `tensorboard --logdir logs`.

use chainrule::{
    dataset::{Standardize, Windows},
    diagnosis::Diagnosis,
    layer::Sequential,
    loss::MeanSquaredError,
    monitor::{Recorder, RunRecord, Statistics, TensorBoard},
    theory::InputStatistics,
    trainer::{FitOptions, Step, TrainConfig, Trainer},
    transform::{Adam, ClipNorm, Schedule},
};
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use std::{
    error::Error,
    fs::{self, File},
    io::{BufReader, BufWriter, Write, stderr},
    ops::ControlFlow,
    path::PathBuf,
};

/// Months that a forecast sees.
const SEEN: usize = 24;
const EPOCHS: usize = 8;

/// A bar of `updates` on standard error.
fn bar(updates: u64) -> Result<ProgressBar, Box<dyn Error>> {
    let style = ProgressStyle::with_template("[{bar:30}] {pos} of {len}, {msg}")?;
    Ok(ProgressBar::new(updates).with_style(style).with_finish(ProgressFinish::AndLeave))
}

/// Moves the bar to the update `step`. Where standard error is no terminal the bar is hidden, and each quarter is a
/// line.
fn show(bar: &ProgressBar, step: &Step) {
    let of = bar.length().unwrap_or(1).max(1);
    let quarters = |updates: u64| 4 * updates / of;
    let text = format!("epoch {}, loss {:.4}", step.epoch, step.loss);
    if bar.is_hidden() && quarters(step.step) > quarters(bar.position()) {
        // A failed write to standard error is no reason to stop.
        let _ = writeln!(stderr(), "update {} of {of}, {text}", step.step);
    }
    bar.set_position(step.step);
    bar.set_message(text);
}

fn main() -> Result<(), Box<dyn Error>> {
    let logs = std::env::args().nth(1).map_or_else(|| std::env::temp_dir().join("chainrule-watch"), PathBuf::from);
    fs::create_dir_all(&logs)?;
    let series = include_str!("../data/sunspots-monthly.csv").lines().skip(1);
    let series: Vec<f32> = series.filter_map(|line| line.rsplit(',').next()?.parse().ok()).collect();
    let data = Windows::new(SEEN).stride(6).every_step().of(1, &series)?;
    let (train, validation) = data.split_in_order(0.8)?;
    let (scale, targets) = (Standardize::fit(&train)?, Standardize::fit_targets(1, &train)?);
    let [train, validation] =
        [&train, &validation].map(|part| scale.inputs(part).and_then(|part| targets.targets(&part)));
    let (train, validation) = (train?, validation?);

    let settings = TrainConfig { epochs: EPOCHS, ..TrainConfig::default() };
    let updates = (EPOCHS * train.samples().div_ceil(settings.batch_size)) as u64;
    let chain = (ClipNorm::new(0.5), Adam::new(1e-2), Schedule::cosine(updates, 0.1));
    let network = Sequential::<f32>::input(1).lstm(16).linear(16).tanh().linear(16).tanh().linear(1).build()?;
    let mut trainer = Trainer::new(network, MeanSquaredError::new(), chain, settings)?;

    let board = TensorBoard::create(&logs)?.histograms_every(10);
    let lines = Recorder::new(BufWriter::new(File::create(logs.join("run.jsonl"))?));
    let mut monitors = (board, lines, Statistics::new());
    let bar = bar(updates)?;
    let options = FitOptions::new().validation(&validation).monitor(&mut monitors).on_step(|step| {
        show(&bar, step);
        ControlFlow::Continue(())
    });
    trainer.fit_with(&train, options)?;
    drop(bar);

    let (mut board, lines, statistics) = monitors;
    let inputs = InputStatistics::of_rows(train.inputs())?.steps(SEEN)?;
    let report = Diagnosis::new(trainer.network(), inputs)?.statistics(&statistics).report();
    println!("{report}");
    board.text("report", updates, &report);
    fs::write(logs.join("report.txt"), report.to_string())?;
    fs::write(logs.join("report.html"), report.to_html())?;
    board.finish()?;
    lines.finish()?;
    let run = RunRecord::read(BufReader::new(File::open(logs.join("run.jsonl"))?))?;
    fs::write(logs.join("run.html"), run.to_html(Some(&report)))?;
    Ok(())
}
