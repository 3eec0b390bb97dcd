//! An evaluation on kinds that no threshold was chosen on: `clinic --field`.
//!
//! Each case is examined as a user would: a forecast, a check of the parameters as they are on one batch, then the
//! report at some steps of the training. The first finding above a note counts. The best of its fixes after trial is
//! trained in full.
//!
//! A sick case is *harmed* where it ends worse than its healthy twin, the same draw without the fault: by more than
//! 0.05 of accuracy or R², or with more than 1.1 times its loss. Each number is the median of [`TRAININGS`]
//! trainings, with other first weights, orders of samples and dropout masks. A fixed case *reaches the twin* where it
//! is not worse; it has one set of first parameters, those of the fix. Squared errors are in units of the variance of
//! the targets. A twin's loss below [`GRAIN`] counts as that, so that rounding decides nothing.

mod data;
pub mod harm;
mod kinds;
pub mod leave_out;
mod made;
pub mod prediction;
pub mod reports;

use crate::{Verdict, share};
use chainrule::{
    Blocks, Error, GradientMonitor, Layer,
    dataset::{Batch, Dataset, Standardize},
    diagnosis::{Cause, Change, Diagnosis, FixContext, Report, Trial, TrialReport, check_parameters, fix::survivors},
    layer::{LayerSpec, Sequential},
    loss::{CosineDistance, CrossEntropy, Huber, Loss, MeanSquaredError, PoissonNll, Target},
    monitor::Statistics,
    random::shuffle,
    theory::InputStatistics,
    trainer::{TrainConfig, Trainer},
    transform::{
        Adagrad, Adam, AdamW, ClipNorm, ClipValue, GradientTransform, ParameterGroups, Penalty, PerGroup, RmsProp,
        Schedule, Sgd, SkipNonFinite, Unordered, Update, WeightAverage,
    },
};
use data::{Data, Tables, Targets};
use kinds::{Case, Expected, Kind, Objective, Optimizer, Recipe};
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

/// Steps at which the report is read, beside the last.
const LOOKS: [usize; 11] = [1, 2, 3, 5, 10, 20, 40, 100, 300, 600, 1000];
/// Trainings of a case, of its twin and of its best fix; their median counts.
const TRAININGS: u64 = 3;
/// The loss below which rounding in `f32` decides: some units in the last place of outputs of size 10.
const GRAIN: f64 = 1e-6;

/// Whether the report is read after this step.
fn is_look(recipe: &Recipe, step: usize) -> bool {
    step == recipe.steps || step < recipe.steps && LOOKS.contains(&step)
}

/// Scales the updates of a block, and tells nothing of it, as a bug in an optimizer does.
#[derive(Debug)]
struct Held {
    block: &'static str,
    factor: f32,
}

impl GradientTransform<f32> for Held {
    fn validate(&mut self, blocks: &Blocks) -> Result<(), Error> {
        blocks.get(self.block).map(|_| ())
    }
    fn update(&mut self, update: Update<'_, f32>) -> Result<chainrule::transform::Outcome, Error> {
        let range = update.blocks.get(self.block)?.range.clone();
        update.gradient[range].iter_mut().for_each(|change| *change *= self.factor);
        Ok(chainrule::transform::Outcome::Apply)
    }
}

/// Reverses the sign of all updates, and tells nothing of it.
#[derive(Debug)]
struct Climbs;

impl GradientTransform<f32> for Climbs {
    fn update(&mut self, update: Update<'_, f32>) -> Result<chainrule::transform::Outcome, Error> {
        update.gradient.iter_mut().for_each(|change| *change = -*change);
        Ok(chainrule::transform::Outcome::Apply)
    }
}

/// The optimizer of a recipe with its weight decay.
fn optimizer(recipe: &Recipe, decay: Option<f64>) -> Box<dyn GradientTransform<f32>> {
    let optimizer: Box<dyn GradientTransform<f32>> = match recipe.optimizer {
        Optimizer::Sgd(rate) => Box::new(Sgd::new(rate)),
        Optimizer::Momentum(rate) => Box::new(Sgd::new(rate).momentum(0.9)),
        Optimizer::Adam(rate) => Box::new(Adam::new(rate)),
        Optimizer::AdamW(rate) => Box::new(AdamW::new(rate, decay.unwrap_or(0.01))),
        Optimizer::RmsProp(rate) => Box::new(RmsProp::new(rate)),
        Optimizer::Adagrad(rate) => Box::new(Adagrad::new(rate)),
    };
    match (decay, recipe.optimizer) {
        (Some(_), Optimizer::AdamW(_)) | (None, _) => optimizer,
        (Some(decay), _) => Box::new((Penalty::l2(decay), optimizer)),
    }
}

fn chain(recipe: &Recipe) -> Box<dyn GradientTransform<f32>> {
    let decayed: Box<dyn GradientTransform<f32>> = match recipe.decays {
        Some((layer, decay)) => {
            Box::new(PerGroup::new(optimizer(recipe, recipe.decay)).group(layer, optimizer(recipe, Some(decay))))
        }
        None => optimizer(recipe, recipe.decay),
    };
    let clipped: Box<dyn GradientTransform<f32>> = match recipe.clip {
        Some(limit) if recipe.clips_values => Box::new((ClipValue::new(limit), decayed)),
        Some(norm) => Box::new((ClipNorm::new(norm), decayed)),
        None => decayed,
    };
    let scheduled: Box<dyn GradientTransform<f32>> = match recipe.ends {
        Some(steps) => Box::new((clipped, Schedule::polynomial(steps, 1.0))),
        None => clipped,
    };
    let scheduled: Box<dyn GradientTransform<f32>> = match recipe.restarts {
        Some(steps) => Box::new((scheduled, Schedule::cosine_with_restarts(steps, 1, 0.0))),
        None => scheduled,
    };
    let scheduled: Box<dyn GradientTransform<f32>> = match recipe.groups {
        [] => scheduled,
        groups => {
            let of = |all: ParameterGroups, (layer, factor): &(&str, f64)| all.rate(*layer, *factor);
            Box::new((scheduled, groups.iter().fold(ParameterGroups::new(), of)))
        }
    };
    let warmed: Box<dyn GradientTransform<f32>> = match recipe.warms_up {
        Some(steps) => {
            Box::new((scheduled, Schedule::custom(move |step| f64::min((step + 1) as f64 / steps as f64, 1.0))))
        }
        None => scheduled,
    };
    let warmed: Box<dyn GradientTransform<f32>> = match recipe.ramps {
        Some(factor) => Box::new((warmed, Schedule::custom(move |step| factor.powf(f64::min(step as f64, 250.0))))),
        None => warmed,
    };
    let signed: Box<dyn GradientTransform<f32>> = if recipe.climbs { Box::new((warmed, Climbs)) } else { warmed };
    let still: Box<dyn GradientTransform<f32>> = match recipe.still {
        Some(block) => Box::new((signed, Held { block, factor: recipe.held_at })),
        None => signed,
    };
    let rated: Box<dyn GradientTransform<f32>> = match recipe.rate {
        1.0 => still,
        rate => Box::new(Unordered((still, Schedule::constant(rate)))),
    };
    let averaged: Box<dyn GradientTransform<f32>> = match recipe.average {
        Some(decay) => Box::new((rated, WeightAverage::new(decay).debias().as_result())),
        None => rated,
    };
    Box::new((SkipNonFinite::new().limit(1_000_000), averaged))
}

/// Cross-entropy of classes, mean squared error of values.
fn usual_loss(data: &Data) -> Box<dyn Loss<f32>> {
    match data.y {
        Targets::Classes(_) => Box::new(CrossEntropy::new()),
        Targets::Values(..) => Box::new(MeanSquaredError::new()),
    }
}

fn loss(case: &Case) -> Result<Box<dyn Loss<f32>>, Error> {
    Ok(match case.recipe.loss {
        Objective::Usual => usual_loss(&case.data),
        Objective::Smoothed(by) => Box::new(CrossEntropy::new().label_smoothing(by)?),
        Objective::Huber(delta) => Box::new(Huber::new(delta)?),
        Objective::Poisson => Box::new(PoissonNll::new().full()),
        Objective::Cosine => Box::new(CosineDistance::new()),
    })
}

fn dataset(data: &Data) -> Result<Dataset<'_, f32>, Error> {
    let samples = match &data.lengths {
        Some(lengths) => Dataset::ragged(data.width, lengths, &data.x, data.targets())?,
        None => Dataset::sequences(data.width, data.steps, &data.x, data.targets())?,
    };
    match &data.weights {
        Some(weights) => samples.row_weights(weights),
        None => Ok(samples),
    }
}

/// The first batch of a case as a user would check it.
fn first_batch(case: &Case, samples: &Dataset<'_, f32>) -> Result<Batch<f32>, Error> {
    let count = case.recipe.batch.min(samples.samples());
    let mut batch = Batch::new(samples, count);
    batch.gather(samples, &(0..count).collect::<Vec<_>>(), case.data.is_per_step())?;
    Ok(batch)
}

/// Loss and level of a training. The level is the accuracy, the variance explained or the mean cosine.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    loss: f64,
    level: f64,
}

impl Outcome {
    /// Of a run that broke.
    const BROKEN: Outcome = Outcome { loss: f64::INFINITY, level: 0.0 };

    /// The medians of loss and level of the trainings with these numbers.
    fn median(training: impl Fn(u64) -> Result<Outcome, Error>) -> Result<Self, Error> {
        let all = (0..TRAININGS).map(training).collect::<Result<Vec<_>, _>>()?;
        let middle = |of: fn(&Outcome) -> f64| {
            let mut values: Vec<f64> = all.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        Ok(Outcome { loss: middle(|outcome| outcome.loss), level: middle(|outcome| outcome.level) })
    }

    /// Whether this is worse than the outcome of the healthy twin.
    fn is_worse(self, twin: Outcome) -> bool {
        self.level < twin.level - 0.05 || self.loss > 1.1 * twin.loss.max(GRAIN)
    }
}

/// The variance of the targets, which a loss of squares is compared with.
fn variance(data: &Data) -> f64 {
    let Targets::Values(_, values) = &data.y else { return 1.0 };
    let mean = values.iter().map(|&y| f64::from(y)).sum::<f64>() / values.len() as f64;
    values.iter().map(|&y| (f64::from(y) - mean).powi(2)).sum::<f64>() / values.len() as f64
}

/// Trains; `look` is called after each monitored step. `training` is the seed of the order of samples and of masks.
fn train<M: GradientMonitor<f32>>(
    case: &Case,
    training: u64,
    monitor: &mut M,
    mut look: impl FnMut(&mut M, &[f32], usize) -> bool,
) -> Result<Outcome, Error> {
    let Case { network, w, data, recipe, .. } = case;
    let samples = dataset(data)?;
    let count = samples.samples();
    let config = TrainConfig { batch_size: recipe.batch.min(count), seed: training, ..TrainConfig::default() };
    let taken = (config.batch_size * recipe.accumulates).min(count);
    let mut trainer = Trainer::new(network, loss(case)?, chain(recipe), config)?;
    trainer.parameters_mut().copy_from_slice(w);
    for layer in recipe.frozen {
        trainer.workspace_mut().freeze(layer)?;
    }
    let (mut batch, mut order, mut epoch) = (Batch::new(&samples, config.batch_size), Vec::new(), 0);
    let mut broken = false;
    for step in 0..recipe.before + recipe.steps {
        if order.len() < taken {
            let share = if recipe.grows { (0.3 + 0.1 * epoch as f64).min(1.0) } else { 1.0 };
            order = (0..((share * count as f64) as usize).max(taken)).collect();
            match recipe.in_order {
                // Batches are taken from the end.
                true => order.reverse(),
                false => shuffle(&mut order, 1 + training, epoch),
            }
            epoch += 1;
        }
        let rest = order.split_off(order.len() - taken);
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
    let judged = case.judged.as_ref().unwrap_or(data);
    let reached = trainer.evaluate(&dataset(judged)?)?;
    if broken || !reached.loss.is_finite() {
        return Ok(Outcome::BROKEN);
    }
    let (loss, variance) = (reached.loss, variance(judged));
    Ok(match (reached.accuracy, recipe.loss, &judged.y) {
        (Some(level), ..) => Outcome { loss, level },
        (_, Objective::Cosine, _) => Outcome { loss, level: 1.0 - loss },
        (_, Objective::Usual, _) => Outcome { loss: loss / variance, level: 1.0 - loss / variance },
        (_, objective, Targets::Values(_, targets)) => {
            let value = |y: f32| if matches!(objective, Objective::Poisson) { y.exp() } else { y };
            let y = trainer.predict(&dataset(judged)?)?;
            let square = y.iter().zip(targets).map(|(&y, t)| f64::from(value(y) - t).powi(2)).sum::<f64>();
            Outcome { loss, level: 1.0 - square / y.len() as f64 / variance }
        }
        (None, _, Targets::Classes(_)) => Outcome { loss, level: f64::NAN },
    })
}

/// The first verdict, with its report, what was measured until then, and the parameters then.
struct Found {
    verdict: Verdict,
    report: Report,
    seen: Statistics,
    w: Vec<f32>,
}

/// Examines a case before and while it trains, up to the first fault.
fn examine(case: &Case) -> Result<Option<Found>, Error> {
    let before = |verdict, report| Found { verdict, report, seen: Statistics::new(), w: case.w.clone() };
    let inputs = InputStatistics::of_rows(&case.data.x)?.steps(case.data.steps)?;
    let run = chain(&case.recipe);
    let diagnose = || Ok::<_, Error>(Diagnosis::new(&case.network, inputs)?.span(case.span).transform(&*run));
    let (samples, loss) = (dataset(&case.data)?, loss(case)?);
    let forecast = diagnose()?.task(&case.w, &samples, &*loss)?.report();
    if let Some(root) = forecast.root() {
        return Ok(Some(before(Verdict::of(root, 0), forecast.clone())));
    }
    let batch = first_batch(case, &samples)?;
    let x = &case.data.x[..batch.x().len()];
    if case.recipe.before == 0 {
        let span = (case.data.steps > 1).then_some(case.span);
        let check = check_parameters(&case.network, &case.w, x, batch.shape(), span)?;
        if let Some(root) = check.root() {
            return Ok(Some(before(Verdict::of(root, 1), check.clone())));
        }
    }
    let (mut seen, mut found) = (Statistics::new(), None);
    train(case, 0, &mut seen, |seen, w, step| {
        if !is_look(&case.recipe, step) {
            return false;
        }
        let diagnosed = diagnose().and_then(|it| it.interventions(w, x, batch.shape()));
        let report = diagnosed.and_then(|it| Ok(it.task(w, &samples, &*loss)?.statistics(seen).report()));
        let Ok(report) = report else { return true };
        if let Some(root) = report.root() {
            found = Some((Verdict::of(root, step), report.clone(), w.to_vec()));
        }
        found.is_some()
    })?;
    Ok(found.map(|(verdict, report, w)| Found { verdict, report, seen, w }))
}

/// The network that `spec` describes.
fn rebuilt(spec: &LayerSpec) -> Result<Sequential<f32>, Error> {
    let mut network = Sequential::new(spec.widths().0);
    match spec {
        LayerSpec::Sequential { layers, .. } => {
            for layer in layers {
                network.push(layer.build::<f32>()?)?;
            }
        }
        layer => network.push(layer.build::<f32>()?)?,
    }
    Ok(network)
}

/// The recipe with a change of training; `None` where the change is not one of it.
fn changed(recipe: &Recipe, change: &Change) -> Option<Recipe> {
    let mut after = *recipe;
    match change {
        Change::ClipNorm(norm) => (after.clip, after.clips_values) = (Some(*norm), false),
        Change::LearningRate(factor) => after.rate *= factor,
        Change::HoldRate(factor) => {
            after.rate *= factor;
            (after.ends, after.restarts, after.warms_up, after.ramps) = (None, None, None, None);
        }
        Change::TrainBlock(_) => (after.still, after.groups) = (None, &[]),
        Change::WithoutDecay => (after.decay, after.decays) = (Some(0.0), None),
        Change::Shuffle => after.in_order = false,
        Change::LongerSchedule { runs, .. } => after.ends = recipe.ends.map(|_| runs * recipe.steps as u64),
        _ => return None,
    }
    Some(after)
}

/// The case with the fix that a trial chooses; `None` without one.
fn with_fix(case: &Case, found: &Found) -> Result<Option<(Case, TrialReport)>, Error> {
    let Some(finding) = found.report.root() else { return Ok(None) };
    let inputs = InputStatistics::of_rows(&case.data.x)?.steps(case.data.steps)?;
    let described = Layer::<f32>::spec(&case.network);
    let mut context = FixContext::new(&described, inputs, finding).span(case.span).statistics(&found.seen);
    if !case.data.has_indices {
        context = context.columns(Standardize::of(case.data.width, &case.data.x)?);
    }
    if let Targets::Values(width, values) = &case.data.y {
        context = context.targets(Standardize::of(*width, values)?);
    }
    let (samples, loss) = (dataset(&case.data)?, loss(case)?);
    let transform = || chain(&case.recipe);
    let settings = |change: &Change| changed(&case.recipe, change).map(|recipe| chain(&recipe));
    let trial = Trial::new(&samples, &*loss, &transform, case.recipe.steps).settings(&settings).behind(&context);
    let trial = trial.batch_size(case.recipe.batch);
    let trial = if case.recipe.in_order { trial.in_order() } else { trial };
    let config = TrainConfig { batch_size: case.recipe.batch, seed: 1, ..TrainConfig::default() };
    let applied = trial.apply_best(&context, &found.w, config)?;
    let (fixes, tried) = (applied.fixes, applied.trial);
    let (Some(run), Some(chosen)) = (applied.run, tried.choice().and_then(|choice| choice.fix)) else {
        return Ok(None);
    };
    let fix = &fixes[chosen];
    let mut data = Data { x: run.data.inputs().to_vec(), ..case.data.clone() };
    match (run.data.targets(), &mut data.y) {
        (Some(Target::Classes(classes)), Targets::Classes(y)) => *y = classes.to_vec(),
        (Some(Target::Values(values)), Targets::Values(_, y)) => *y = values.to_vec(),
        _ => {}
    }
    let (w, network) = (run.trainer.parameters().to_vec(), rebuilt(&run.trainer.network().spec())?);
    let judged = case.judged.clone();
    let mut after = Case { network, w, data, recipe: case.recipe, span: case.span, judged };
    if let (Change::Network(spec), Some(still)) = (&fix.change, case.recipe.still) {
        // The block may have another name in the fixed network.
        let blocks = Blocks::collect(|visit| Layer::<f32>::blocks(&case.network, visit));
        let range = &blocks.get(still)?.range;
        let kept = survivors(&described, spec)?.into_iter().find(|survivor| survivor.before == *range);
        after.recipe.still = kept.map(|survivor| &*survivor.name.leak());
    }
    after.recipe = changed(&after.recipe, &fix.change).unwrap_or(after.recipe);
    Ok(Some((after, tried)))
}

struct Record {
    kind: &'static Kind,
    seed: u64,
    verdict: Option<Verdict>,
    said: String,
    harmed: bool,
    /// Whether the fix brought the case to its twin's level; of a kind that no change of the run mends, whether none
    /// was proposed.
    cured: Option<bool>,
    /// Whether the twin, trained with other draws, is not worse than its first trainings: the share to expect of a
    /// perfect fix.
    repeats: bool,
    levels: String,
    /// What the trials of fixes said.
    trials: String,
    /// The faults that the first report names, that behind the first among them.
    causes: Vec<Cause>,
}

/// Trains a case without a monitor.
fn reach(case: &Case, training: u64) -> Result<Outcome, Error> {
    train(case, training, &mut (), |_, _, _| false)
}

/// The median outcome of a kind with a seed, with its fault or without.
fn reached(kind: &Kind, seed: u64, tables: &Tables, sick: bool) -> Result<Outcome, Error> {
    of_trainings(kind, seed, tables, sick, 0)
}

/// The median outcome of [`TRAININGS`] trainings, numbered from `first`.
fn of_trainings(kind: &Kind, seed: u64, tables: &Tables, sick: bool, first: u64) -> Result<Outcome, Error> {
    Outcome::median(|training| {
        let training = first + training;
        reach(&(kind.make)(tables, made::of_training(seed, training), sick)?, training)
    })
}

fn one(kind: &'static Kind, seed: u64, tables: &Tables) -> Result<Record, Error> {
    let case = (kind.make)(tables, seed, true)?;
    let mut found = examine(&case)?;
    let mut record = Record {
        kind,
        seed,
        said: found.as_ref().and_then(|found| Some(format!("{}", found.report.root()?))).unwrap_or_default(),
        verdict: found.as_ref().map(|found| found.verdict.clone()),
        harmed: false,
        cured: None,
        repeats: false,
        levels: String::new(),
        trials: String::new(),
        causes: Vec::new(),
    };
    let rounds = match kind.expected {
        Expected::Healthy => return Ok(record),
        Expected::Outside => 0,
        Expected::Sick(_) => 1,
        Expected::Two(_) => 2,
    };
    let [ill, twin] = [reached(kind, seed, tables, true)?, reached(kind, seed, tables, false)?];
    record.harmed = ill.is_worse(twin);
    if record.harmed && kind.is_curable && record.verdict.is_some() {
        record.repeats = !of_trainings(kind, seed, tables, false, TRAININGS)?.is_worse(twin);
    }
    let said = |outcome: Outcome| format!("{:.2} at a loss of {:.2e}", outcome.level, outcome.loss);
    record.levels = format!("sick {}, twin {}", said(ill), said(twin));
    let mut treated: Option<Case> = None;
    for round in 0..rounds {
        let Some(fault) = &found else { break };
        let report = &fault.report;
        if round > 0 {
            record.said += &format!("\nthen {}", report.root().map_or(String::new(), |root| format!("{root}")));
        }
        let Some((next, tried)) = with_fix(treated.as_ref().unwrap_or(&case), fault)? else { break };
        record.trials += &format!("{tried}\n");
        if round == 0 {
            let whole = report.clone().tried(tried);
            record.said = whole.faults().map(|fault| format!("{fault}\n")).collect();
            record.causes = whole.faults().map(|fault| fault.cause).collect();
        }
        found = if round + 1 < rounds { examine(&next)? } else { None };
        treated = Some(next);
    }
    if record.verdict.is_some() && rounds > 0 {
        let fixed = treated.as_ref().map(|fixed| Outcome::median(|training| reach(fixed, training))).transpose()?;
        record.cured = Some(match kind.is_curable {
            true => fixed.is_some_and(|fixed| !fixed.is_worse(twin)),
            false => fixed.is_none(),
        });
        record.levels += &format!(", fixed {}", fixed.map_or("none".into(), said));
    }
    Ok(record)
}

/// The results of `one` for `seeds` cases from `seed` on of each kind that `only` chooses, in any order, and what
/// failed.
fn of_each<R: Send>(
    seed: u64,
    seeds: u64,
    only: &str,
    one: fn(&'static Kind, u64, &Tables) -> Result<R, Error>,
) -> Result<(Vec<R>, Vec<String>), Box<dyn std::error::Error>> {
    let tables = Tables::read()?;
    let chosen = kinds::chosen(only);
    let all: Vec<(&'static Kind, u64)> = chosen.flat_map(|kind| (0..seeds).map(move |i| (kind, seed + i))).collect();
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
    // A poisoned lock has lost a record.
    let records = records.into_inner().map_err(|_| "a case panicked")?;
    Ok((records, failed.into_inner().map_err(|_| "a case panicked")?))
}

/// Runs `seeds` cases from `seed` on of each kind whose name contains `only`, and prints the table.
pub fn run(seed: u64, seeds: u64, only: &str, verbose: bool) -> Result<(), Box<dyn std::error::Error>> {
    let (mut records, failures) = of_each(seed, seeds, only, one)?;
    for failure in failures {
        println!("failed: {failure}");
    }
    records.sort_by_key(|record| (kinds::all().position(|kind| kind.name == record.kind.name), record.seed));
    for record in records.iter().filter(|_| verbose) {
        let step = record.verdict.as_ref().map_or(0, |verdict| verdict.step);
        println!(
            "{} seed {}: {} at step {step}; harmed {}, cured {:?} ({})",
            record.kind.name,
            record.seed,
            if record.verdict.is_some() { "accused" } else { "nothing said" },
            record.harmed,
            record.cured,
            record.levels
        );
        println!("{}\n{}", record.said, record.trials);
    }
    table(&records);
    Ok(())
}

fn table(records: &[Record]) {
    let of = |wanted: fn(&Expected) -> bool| records.iter().filter(move |record| wanted(&record.kind.expected));
    let healthy: Vec<&Record> = of(|expected| matches!(expected, Expected::Healthy)).collect();
    let sick: Vec<&Record> = of(|expected| matches!(expected, Expected::Sick(_))).collect();
    let two: Vec<&Record> = of(|expected| matches!(expected, Expected::Two(_))).collect();
    let outside: Vec<&Record> = of(|expected| matches!(expected, Expected::Outside)).collect();
    let accused = |records: &[&Record]| records.iter().filter(|record| record.verdict.is_some()).count();
    // A report that names no cause names no wrong one.
    let names = |record: &&&Record| record.verdict.as_ref().is_some_and(|it| it.cause != Some(Cause::NoCauseFound));
    let right = |record: &&&Record| match (&record.verdict, record.kind.expected) {
        (Some(verdict), Expected::Sick(causes) | Expected::Two(causes)) => verdict.is_right(causes),
        _ => false,
    };
    let harmed: Vec<&Record> = sick.iter().copied().filter(|record| record.harmed).collect();
    let [cured, refused] = [true, false].map(|is_curable| {
        let of = harmed.iter().filter(|record| record.kind.is_curable == is_curable);
        of.filter_map(|record| record.cured).collect::<Vec<bool>>()
    });
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
    let places = |of: fn(&Verdict, &[usize]) -> Option<bool>| -> Vec<bool> {
        sick.iter().filter_map(|record| of(record.verdict.as_ref()?, record.kind.layers)).collect()
    };
    let [near, ranges] = [places(Verdict::is_near), places(Verdict::is_range)];
    for (what, of) in [("layer within one", near), ("range within one at both ends", ranges)] {
        let right = of.iter().filter(|right| **right).count();
        println!("  {what}, of named with planted layers {} of {}", share(right, of.len()), of.len());
    }
    println!(
        "  best fix after trial reaches the twin, of harmed and named {}",
        share(cured.iter().filter(|c| **c).count(), cured.len())
    );
    let again: Vec<&&Record> = harmed.iter().filter(|it| it.kind.is_curable && it.verdict.is_some()).collect();
    println!(
        "    their twins with other first weights and orders of samples do so {}",
        share(again.iter().filter(|record| record.repeats).count(), again.len())
    );
    println!(
        "  no fix proposed where no change of the run mends the fault, of harmed and named {} of {}",
        share(refused.iter().filter(|refused| **refused).count(), refused.len()),
        refused.len()
    );
    let both: Vec<bool> = two.iter().filter(|record| record.harmed).map(|record| record.cured == Some(true)).collect();
    println!(
        "{} kinds with two faults, {} cases, {} of them harmed: the best fixes of two rounds reach the twin {}",
        kinds(&two),
        two.len(),
        both.len(),
        share(both.iter().filter(|cured| **cured).count(), both.len())
    );
    let both = |record: &&&Record| match record.kind.expected {
        Expected::Two(causes) => causes.iter().all(|cause| record.causes.contains(cause)),
        _ => false,
    };
    let tried = |records: &[&Record]| records.iter().filter(|record| !record.causes.is_empty()).count();
    let more = sick.iter().filter(|record| record.causes.len() > 1).count();
    println!(
        "  the first report names both {}; of kinds with one fault it names another {}",
        share(two.iter().filter(both).count(), two.len()),
        share(more, tried(&sick))
    );
    println!(
        "{} kinds outside, {} cases: a cause named {}",
        kinds(&outside),
        outside.len(),
        share(outside.iter().filter(names).count(), outside.len())
    );
    println!(
        "\n{:<46} {:>5} {:>6} {:>6} {:>6} {:>6}  causes named wrongly",
        "kind", "cases", "harmed", "named", "cause", "cured"
    );
    for kind in kinds::all() {
        let of: Vec<&Record> = records.iter().filter(|record| record.kind.name == kind.name).collect();
        if of.is_empty() {
            continue;
        }
        let count = |is: fn(&&&Record) -> bool| of.iter().filter(is).count();
        let wrong = of.iter().filter(|record| !right(record)).filter_map(|record| record.verdict.as_ref()?.cause);
        let mut wrong: Vec<&str> = wrong.map(Cause::name).collect();
        wrong.sort_unstable();
        println!(
            "{:<46} {:>5} {:>6} {:>6} {:>6} {:>6}  {}",
            kind.name,
            of.len(),
            count(|record| record.harmed),
            accused(&of),
            of.iter().filter(right).count(),
            count(|record| record.cured == Some(true)),
            wrong.join(", ")
        );
    }
}

fn kinds(records: &[&Record]) -> usize {
    let mut names: Vec<&str> = records.iter().map(|record| record.kind.name).collect();
    names.dedup();
    names.len()
}
