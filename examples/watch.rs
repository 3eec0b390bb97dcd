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
use std::{
    error::Error,
    fs::{self, File},
    io::{BufReader, BufWriter, IsTerminal, Write, stderr},
    ops::ControlFlow,
    path::PathBuf,
};

/// Months that a forecast sees.
const SEEN: usize = 24;
const EPOCHS: usize = 8;

/// One line of standard error: a bar that grows on a terminal, a plain line at each quarter elsewhere.
fn show(step: &Step, of: u64) {
    let (mut out, done) = (stderr().lock(), step.step.min(of));
    let numbers = format!("epoch {}, update {done} of {of}, loss {:.4}", step.epoch, step.loss);
    // A failed write to standard error is no reason to stop.
    let _ = if out.is_terminal() {
        let full = (30 * done / of) as usize;
        write!(out, "\r\x1b[K[{}{}] {numbers}", "#".repeat(full), " ".repeat(30 - full))
            .and_then(|()| if done == of { writeln!(out) } else { out.flush() })
    } else if (4 * done).is_multiple_of(of) || 4 * done / of > 4 * (done - 1) / of {
        writeln!(out, "{numbers}")
    } else {
        Ok(())
    };
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
    let mut on_step = |step: &Step| {
        show(step, updates);
        ControlFlow::Continue(())
    };
    let options = FitOptions::new().validation(&validation).monitor(&mut monitors).on_step(&mut on_step);
    trainer.fit_with(&train, options)?;

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
