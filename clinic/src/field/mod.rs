//! An evaluation on kinds that no threshold was chosen on: `clinic --field`.
//!
//! Each case is examined as a user would: a forecast, a check of the parameters as they are on one batch, then the
//! report at some steps of the training. The first finding above a note counts. A sick case is harmed where it ends
//! worse than its twin; its fixes are tried, and the best is trained in full.

mod data;
mod kinds;

use crate::{Verdict, share};
use chainrule::{
    Error, GradientMonitor, Layer,
    dataset::{Batch, Dataset, Standardize},
    diagnosis::{Change, Diagnosis, FixContext, FixedNetwork, Report, Trial, check_parameters, suggest_fixes},
    layer::Sequential,
    loss::{CrossEntropy, Loss, MeanSquaredError},
    monitor::Statistics,
    random::shuffle,
    theory::InputStatistics,
    trainer::{TrainConfig, Trainer},
    transform::{
        Adam, AdamW, ClipNorm, GradientTransform, ParameterGroups, RmsProp, Schedule, Sgd, SkipNonFinite, Unordered,
    },
};
use data::{Data, Tables, Targets};
use kinds::{Case, Expected, KINDS, Kind, Optimizer, Recipe};
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

const BATCH: usize = 32;
/// Steps of a training.
const STEPS: usize = 300;
/// Steps at which the report is read.
const LOOKS: [usize; 9] = [1, 2, 3, 5, 10, 20, 40, 100, 300];

fn chain(recipe: &Recipe) -> Box<dyn GradientTransform<f32>> {
    let optimizer: Box<dyn GradientTransform<f32>> = match recipe.optimizer {
        Optimizer::Sgd(rate) => Box::new(Sgd::new(rate)),
        Optimizer::Momentum(rate) => Box::new(Sgd::new(rate).momentum(0.9)),
        Optimizer::Adam(rate) => Box::new(Adam::new(rate)),
        Optimizer::AdamW(rate) => Box::new(AdamW::new(rate, 0.01)),
        Optimizer::RmsProp(rate) => Box::new(RmsProp::new(rate)),
    };
    let clipped: Box<dyn GradientTransform<f32>> = match recipe.clip {
        Some(norm) => Box::new((ClipNorm::new(norm), optimizer)),
        None => optimizer,
    };
    let scheduled: Box<dyn GradientTransform<f32>> = match recipe.ends {
        Some(steps) => Box::new((clipped, Schedule::polynomial(steps, 1.0))),
        None => clipped,
    };
    let still: Box<dyn GradientTransform<f32>> = match recipe.still {
        Some(block) => Box::new((scheduled, ParameterGroups::new().rate(block, 0.0))),
        None => scheduled,
    };
    Box::new((SkipNonFinite::new().limit(1_000_000), still))
}

fn loss(data: &Data) -> Box<dyn Loss<f32>> {
    match data.y {
        Targets::Classes(_) => Box::new(CrossEntropy::new()),
        Targets::Values(..) => Box::new(MeanSquaredError::new()),
    }
}

/// A loss in a box.
#[derive(Debug)]
struct Boxed(Box<dyn Loss<f32>>);

impl Loss<f32> for Boxed {
    fn evaluate(
        &self,
        width: usize,
        y: &[f32],
        target: chainrule::loss::Target<'_, f32>,
        row_weights: Option<&[f32]>,
        dy: &mut [f32],
    ) -> Result<f32, Error> {
        self.0.evaluate(width, y, target, row_weights, dy)
    }
    fn reduction(&self) -> chainrule::loss::Reduction {
        self.0.reduction()
    }
    fn total_weight(&self, width: usize, target: chainrule::loss::Target<'_, f32>, row_weights: Option<&[f32]>) -> f64 {
        self.0.total_weight(width, target, row_weights)
    }
}

fn dataset(data: &Data) -> Result<Dataset<'_, f32>, Error> {
    Dataset::sequences(data.width, data.steps, &data.x, data.targets())
}

/// Loss and level (accuracy, or variance explained) of a training.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    loss: f64,
    level: f64,
}

/// The variance of the targets, which a loss of squares is compared with.
fn variance(data: &Data) -> f64 {
    let Targets::Values(_, values) = &data.y else { return 1.0 };
    let mean = values.iter().map(|&y| f64::from(y)).sum::<f64>() / values.len() as f64;
    values.iter().map(|&y| (f64::from(y) - mean).powi(2)).sum::<f64>() / values.len() as f64
}

/// Trains; `look` is called after each monitored step.
fn train<L: Layer<f32>, M: GradientMonitor<f32>>(
    network: L,
    w: &[f32],
    data: &Data,
    transform: Box<dyn GradientTransform<f32>>,
    recipe: &Recipe,
    monitor: &mut M,
    mut look: impl FnMut(&mut M, &[f32], usize) -> bool,
) -> Result<Outcome, Error> {
    let samples = dataset(data)?;
    let config = TrainConfig { batch_size: BATCH, ..TrainConfig::default() };
    let mut trainer = Trainer::new(network, Boxed(loss(data)), transform, config)?;
    trainer.parameters_mut().copy_from_slice(w);
    let (mut batch, mut order, mut epoch) = (Batch::new(&samples, BATCH), Vec::new(), 0);
    let mut broken = false;
    for step in 0..recipe.before + STEPS {
        if order.len() < BATCH {
            order = (0..samples.samples()).collect();
            match (&data.y, recipe.sorted) {
                (Targets::Classes(classes), true) => order.sort_by_key(|&sample: &usize| classes[sample]),
                _ => shuffle(&mut order, 1, epoch),
            }
            epoch += 1;
        }
        let rest = order.split_off(order.len() - BATCH);
        if step < recipe.before {
            trainer.step(&samples, &mut batch, &rest, &mut ())?;
            continue;
        }
        match trainer.step(&samples, &mut batch, &rest, &mut *monitor) {
            Ok((loss, _)) => broken = !loss.is_finite(),
            Err(Error::NonFiniteParameters { .. }) => broken = true,
            Err(error) => return Err(error),
        }
        if look(monitor, trainer.parameters(), step - recipe.before + 1) {
            break;
        }
    }
    let reached = trainer.evaluate(&samples)?;
    if broken || !reached.loss.is_finite() {
        return Ok(Outcome { loss: f64::INFINITY, level: 0.0 });
    }
    Ok(Outcome { loss: reached.loss, level: reached.accuracy.unwrap_or(1.0 - reached.loss / variance(data)) })
}

fn worse(outcome: Outcome, twin: Outcome) -> bool {
    outcome.level < twin.level - 0.05 || outcome.loss > 1.1 * twin.loss && outcome.level < twin.level - 0.01
}

/// The first verdict, with its report.
fn examine(case: &Case) -> Result<Option<(Verdict, Report, Statistics)>, Error> {
    let inputs = InputStatistics::of_rows(&case.data.x)?.steps(case.data.steps)?;
    let diagnose = || Ok::<_, Error>(Diagnosis::new(&case.network, inputs)?.span(case.span));
    let forecast = diagnose()?.report();
    if let Some(root) = forecast.root() {
        return Ok(Some((Verdict::of(root, 0), forecast.clone(), Statistics::new())));
    }
    let samples = dataset(&case.data)?;
    let mut batch = Batch::new(&samples, BATCH);
    batch.gather(&samples, &(0..BATCH).collect::<Vec<_>>(), false)?;
    if case.recipe.before == 0 {
        let span = (case.data.steps > 1).then_some(case.span);
        let check = check_parameters(&case.network, &case.w, batch.x(), batch.shape(), span)?;
        if let Some(root) = check.root() {
            return Ok(Some((Verdict::of(root, 1), check.clone(), Statistics::new())));
        }
    }
    let (mut seen, mut found) = (Statistics::new(), None);
    train(&case.network, &case.w, &case.data, chain(&case.recipe), &case.recipe, &mut seen, |seen, w, step| {
        if !LOOKS.contains(&step) {
            return false;
        }
        let report = diagnose()
            .and_then(|diagnosis| Ok(diagnosis.interventions(w, batch.x(), batch.shape())?.statistics(seen).report()));
        let Ok(report) = report else { return true };
        if let Some(root) = report.root() {
            found = Some((Verdict::of(root, step), report.clone()));
        }
        found.is_some()
    })?;
    Ok(found.map(|(verdict, report)| (verdict, report, seen)))
}

/// Tries the fixes and trains with the best; the first, where none helped.
fn fix(case: &Case, report: &Report, seen: &Statistics) -> Result<Option<Outcome>, Error> {
    let Some(finding) = report.root() else { return Ok(None) };
    let inputs = InputStatistics::of_rows(&case.data.x)?.steps(case.data.steps)?;
    let described = Layer::<f32>::spec(&case.network);
    let mut context = FixContext::new(&described, inputs, finding).span(case.span);
    context = context.columns(Standardize::of(case.data.width, &case.data.x)?);
    if let Targets::Values(width, values) = &case.data.y {
        context = context.targets(Standardize::of(*width, values)?);
    }
    let norm = seen.run().typical_norm();
    if seen.run().passes() > 0 && norm.is_finite() && norm > 0.0 {
        context = context.typical_norm(norm);
    }
    let fixes = suggest_fixes(&context)?;
    let (samples, loss) = (dataset(&case.data)?, loss(&case.data));
    let transform = || chain(&case.recipe);
    let trial = Trial::new(&samples, &*loss, &transform, STEPS).steps(40, 40 * 2 * 6).seeds(2);
    let tried = trial.run(&described, &case.w, &fixes)?;
    let Some(best) = tried.best().or((!fixes.is_empty()).then_some(0)) else { return Ok(None) };
    let (mut data, mut recipe) = (case.data.clone(), case.recipe);
    let mut transform = chain(&recipe);
    let fixed: Option<FixedNetwork<f32>> = fixes[best].apply(&described, &case.w, 1)?;
    match &fixes[best].change {
        Change::ClipNorm(norm) => {
            recipe.clip = Some(*norm);
            transform = chain(&recipe);
        }
        Change::LearningRate(factor) => transform = Box::new(Unordered((transform, Schedule::constant(*factor)))),
        Change::Standardize(columns) => columns.apply(&mut data.x)?,
        Change::StandardizeTargets(columns) => {
            if let Targets::Values(_, values) = &mut data.y {
                columns.apply(values)?;
            }
        }
        Change::Unfreeze(_) => {
            recipe.still = None;
            transform = chain(&recipe);
        }
        Change::Lsuv(lsuv) => {
            let mut w = case.w.clone();
            let mut batch = Batch::new(&samples, BATCH);
            batch.gather(&samples, &(0..BATCH).collect::<Vec<_>>(), false)?;
            if lsuv.apply(&case.network, &mut w, batch.x(), batch.shape()).is_err() {
                return Ok(None);
            }
            return train(&case.network, &w, &data, transform, &recipe, &mut (), |_, _, _| false).map(Some);
        }
        _ => {}
    }
    match fixed {
        Some(fixed) => {
            let mut network = Sequential::<f32>::new(data.width);
            network.push(fixed.network)?;
            train(network, &fixed.parameters, &data, transform, &recipe, &mut (), |_, _, _| false).map(Some)
        }
        None => train(&case.network, &case.w, &data, transform, &recipe, &mut (), |_, _, _| false).map(Some),
    }
}

struct Record {
    kind: &'static Kind,
    seed: u64,
    verdict: Option<Verdict>,
    said: String,
    harmed: bool,
    cured: Option<bool>,
    levels: String,
}

fn one(kind: &'static Kind, seed: u64, tables: &Tables) -> Result<Record, Error> {
    let case = (kind.make)(tables, seed, true)?;
    let found = examine(&case)?;
    let mut record = Record {
        kind,
        seed,
        said: found.as_ref().and_then(|found| Some(format!("{}", found.1.root()?))).unwrap_or_default(),
        verdict: found.as_ref().map(|found| found.0.clone()),
        harmed: false,
        cured: None,
        levels: String::new(),
    };
    if matches!(kind.expected, Expected::Healthy) {
        return Ok(record);
    }
    let run = |case: &Case| {
        let transform = chain(&case.recipe);
        train(&case.network, &case.w, &case.data, transform, &case.recipe, &mut (), |_, _, _| false)
    };
    let (ill, twin) = (run(&case)?, run(&(kind.make)(tables, seed, false)?)?);
    record.harmed = worse(ill, twin);
    if let (Some((_, report, seen)), Expected::Sick(_)) = (&found, kind.expected) {
        let fixed = fix(&case, report, seen)?;
        record.cured = Some(fixed.is_some_and(|fixed| !worse(fixed, twin)));
        record.levels = format!("sick {:.2}, twin {:.2}, fixed {:.2?}", ill.level, twin.level, fixed.map(|f| f.level));
    } else {
        record.levels = format!("sick {:.2}, twin {:.2}", ill.level, twin.level);
    }
    Ok(record)
}

/// Runs `seeds` cases of each kind from `seed` on, and prints the table.
pub fn run(seed: u64, seeds: u64, verbose: bool) -> Result<(), Box<dyn std::error::Error>> {
    let tables = Tables::read()?;
    let all: Vec<(&'static Kind, u64)> =
        KINDS.iter().flat_map(|kind| (0..seeds).map(move |i| (kind, seed + i))).collect();
    let (next, records, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(&(kind, seed)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match one(kind, seed, &tables) {
                        Ok(record) => records.lock().unwrap_or_else(|lock| lock.into_inner()).push(record),
                        Err(error) => failed
                            .lock()
                            .unwrap_or_else(|lock| lock.into_inner())
                            .push(format!("{} seed {seed}: {error}", kind.name)),
                    }
                }
            });
        }
    });
    for failure in failed.into_inner()? {
        println!("failed: {failure}");
    }
    let mut records = records.into_inner()?;
    records.sort_by_key(|record| (KINDS.iter().position(|kind| kind.name == record.kind.name), record.seed));
    for record in records.iter().filter(|_| verbose) {
        let (step, layer) = record.verdict.as_ref().map_or((0, ""), |verdict| (verdict.step, &verdict.layer));
        println!(
            "{} seed {}: {} at step {step}, layer {layer}; harmed {}, cured {:?} ({})",
            record.kind.name,
            record.seed,
            if record.verdict.is_some() { "accused" } else { "nothing said" },
            record.harmed,
            record.cured,
            record.levels
        );
        println!("{}", record.said);
    }
    table(&records);
    Ok(())
}

fn table(records: &[Record]) {
    let of = |wanted: fn(&Expected) -> bool| records.iter().filter(move |record| wanted(&record.kind.expected));
    let healthy: Vec<&Record> = of(|expected| matches!(expected, Expected::Healthy)).collect();
    let sick: Vec<&Record> = of(|expected| matches!(expected, Expected::Sick(_))).collect();
    let outside: Vec<&Record> = of(|expected| matches!(expected, Expected::Outside)).collect();
    let accused = |records: &[&Record]| records.iter().filter(|record| record.verdict.is_some()).count();
    let right = |record: &&&Record| match (&record.verdict, record.kind.expected) {
        (Some(verdict), Expected::Sick(causes)) => verdict.is_right(causes),
        _ => false,
    };
    let harmed: Vec<&Record> = sick.iter().copied().filter(|record| record.harmed).collect();
    let cured: Vec<bool> = harmed.iter().filter_map(|record| record.cured).collect();
    println!(
        "{} healthy kinds, {} cases: accused {}",
        kinds(&healthy),
        healthy.len(),
        share(accused(&healthy), healthy.len())
    );
    println!("{} sick kinds, {} cases, {} of them harmed", kinds(&sick), sick.len(), harmed.len());
    println!(
        "  recall of all {}, of harmed {}",
        share(accused(&sick), sick.len()),
        share(accused(&harmed), harmed.len())
    );
    println!("  cause right, of all {}", share(sick.iter().filter(right).count(), sick.len()));
    println!(
        "  best fix after trial reaches the twin, of harmed and named {}",
        share(cured.iter().filter(|c| **c).count(), cured.len())
    );
    println!(
        "{} kinds outside, {} cases: named {}",
        kinds(&outside),
        outside.len(),
        share(accused(&outside), outside.len())
    );
    println!("\n{:<36} {:>5} {:>6} {:>6} {:>6} {:>6}", "kind", "cases", "harmed", "named", "cause", "cured");
    for kind in KINDS {
        let of: Vec<&Record> = records.iter().filter(|record| record.kind.name == kind.name).collect();
        let count = |is: fn(&&&Record) -> bool| of.iter().filter(is).count();
        println!(
            "{:<36} {:>5} {:>6} {:>6} {:>6} {:>6}",
            kind.name,
            of.len(),
            count(|record| record.harmed),
            accused(&of),
            of.iter().filter(right).count(),
            count(|record| record.cured == Some(true))
        );
    }
}

fn kinds(records: &[&Record]) -> usize {
    let mut names: Vec<&str> = records.iter().map(|record| record.kind.name).collect();
    names.dedup();
    names.len()
}
