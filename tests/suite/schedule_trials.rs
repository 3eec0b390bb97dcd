//! Trials of runs whose schedule is at fault: the rate that a trial sees, and fixes that reach a constant sane rate.

use crate::{fixtures::normal, trials::finding};
use chainrule::{
    Error, Layer,
    dataset::Dataset,
    diagnosis::{Cause, Change, Diagnosis, Fix, FixContext, Trial, suggest_fixes},
    layer::{Sequential, initialize},
    loss::{MeanSquaredError, Target},
    monitor::Statistics,
    theory::InputStatistics,
    trainer::{FitOptions, TrainConfig, Trainer},
    transform::{Adam, GradientTransform, PerGroup, Schedule, Sgd},
};

const WIDTH: usize = 8;
const SAMPLES: usize = 256;
/// Epochs of 8 updates.
const EPOCHS: usize = 40;
const UPDATES: usize = 8 * EPOCHS;
/// A sane rate of Adam.
const RATE: f64 = 3e-3;

type Chain = Box<dyn GradientTransform<f32>>;

/// A smooth function of the inputs with a product in it, of variance near 1.
fn task() -> (Vec<f32>, Vec<f32>) {
    let x = normal(SAMPLES * WIDTH, 11);
    let y = x.chunks(WIDTH).map(|row| 0.6 * row[0] - 0.5 * row[1] + 0.5 * row[2] * row[3]).collect();
    (x, y)
}

fn network() -> Result<Sequential<f32>, Error> {
    Sequential::<f32>::input(WIDTH).linear(24).tanh().linear(1).build()
}

/// The fraction of the variance of the targets that a loss explains.
fn explained(y: &[f32], loss: f64) -> f64 {
    let mean = y.iter().map(|&y| f64::from(y)).sum::<f64>() / y.len() as f64;
    1.0 - loss / (y.iter().map(|&y| (f64::from(y) - mean).powi(2)).sum::<f64>() / y.len() as f64)
}

/// The fractions of variance explained by three runs: the first epochs with `sick`, the run with the fix that a trial
/// chooses, and the twin, which has the rate of the optimizer alone. `fault` is the cause that the first epochs must
/// show, and their number.
fn reached(fault: (Cause, usize), sick: &dyn Fn() -> Chain, seed: u64) -> Result<[f64; 3], Error> {
    let (x, y) = task();
    let (data, loss) = (Dataset::rows(WIDTH, &x, Target::Values(&y))?, MeanSquaredError::new());
    let settings = TrainConfig { epochs: EPOCHS, seed, ..TrainConfig::default() };
    let mut sane = Trainer::new(network()?, &loss, Adam::new(RATE), settings)?;
    sane.fit(&data)?;
    let begun = TrainConfig { epochs: fault.1, ..settings };
    let (mut seen, mut trainer) = (Statistics::new(), Trainer::new(network()?, &loss, sick(), begun)?);
    trainer.fit_with(&data, FitOptions::new().monitor(&mut seen))?;
    let (w, inputs) = (trainer.parameters().to_vec(), InputStatistics::of_rows(&x)?);
    let diagnosis = Diagnosis::new(trainer.network(), inputs)?.transform(&*sick());
    let report = diagnosis.task(&w, &data, &loss)?.statistics(&seen).report();
    let root = report.root().unwrap_or_else(|| panic!("{report}"));
    assert_eq!(root.cause, fault.0, "{report}");
    let described = Layer::<f32>::spec(trainer.network());
    let context = FixContext::new(&described, inputs, root).statistics(&seen);
    let applied = Trial::new(&data, &loss, &sick, UPDATES).behind(&context).apply_best(&context, &w, settings)?;
    assert!(applied.trial.steps <= UPDATES / 2, "{applied}");
    let mut run = applied.run.unwrap_or_else(|| panic!("{}", applied.trial));
    run.trainer.fit(&run.data)?;
    let reached = [trainer.evaluate(&data)?, run.trainer.evaluate(&run.data)?, sane.evaluate(&data)?];
    Ok(reached.map(|it| explained(&y, it.loss)))
}

/// The median over three seeds of the fixed run is that of the twin, and the premise holds: the sick one is behind.
fn reaches_twin(fault: (Cause, usize), sick: &dyn Fn() -> Chain) -> Result<(), Error> {
    let all = (0..3).map(|seed| reached(fault, sick, seed)).collect::<Result<Vec<_>, _>>()?;
    let [sick, fixed, twin] = [0, 1, 2].map(|which| {
        let mut of: Vec<f64> = all.iter().map(|it| it[which]).collect();
        of.sort_by(f64::total_cmp);
        of[1]
    });
    println!("median of the variance explained: sick {sick:.3}, fixed {fixed:.3}, twin {twin:.3}");
    assert!(twin > 0.6 && sick < twin - 0.3, "the premise: {all:?}");
    assert!(fixed > twin - 0.05, "{all:?}");
    Ok(())
}

#[test]
fn ramped_rate_is_held() -> Result<(), Error> {
    let ramped = || Box::new((Adam::new(RATE), Schedule::exponential(1.05))) as Chain;
    reaches_twin((Cause::LearningRateTooHigh, EPOCHS), &ramped)
}

/// The report is read a fifth of the cycle after its peak; at its end a rate near 0 brings the loss down again.
#[test]
fn one_cycle_with_a_peak_far_too_high_is_mended() -> Result<(), Error> {
    let cycle = || Box::new((Adam::new(RATE), Schedule::one_cycle(200.0, UPDATES as u64))) as Chain;
    reaches_twin((Cause::LearningRateTooHigh, EPOCHS / 2), &cycle)
}

#[test]
fn warm_up_beyond_the_run_is_held_at_its_end() -> Result<(), Error> {
    let warm = || Box::new((Adam::new(RATE), Schedule::warm_up(1e-6, 1_000_000))) as Chain;
    reaches_twin((Cause::LearningRateTooLow, EPOCHS), &warm)
}

/// Cosines and warm-ups of sane rates are not accused.
#[test]
fn sane_schedules_are_healthy() -> Result<(), Error> {
    let (x, y) = task();
    let (data, loss) = (Dataset::rows(WIDTH, &x, Target::Values(&y))?, MeanSquaredError::new());
    let all = UPDATES as u64;
    for schedule in [
        Schedule::constant(1.0),
        Schedule::cosine(all, 0.0),
        Schedule::warm_up(0.0, 30),
        Schedule::warm_up(0.0, 30).then(30, Schedule::cosine(all - 30, 0.0)),
        Schedule::one_cycle(2.0, all),
    ] {
        let chain = (Adam::new(3e-3), schedule);
        let settings = TrainConfig { epochs: EPOCHS, ..TrainConfig::default() };
        let (mut seen, mut trainer) = (Statistics::new(), Trainer::new(network()?, &loss, chain.clone(), settings)?);
        trainer.fit_with(&data, FitOptions::new().monitor(&mut seen))?;
        let diagnosis = Diagnosis::new(trainer.network(), InputStatistics::of_rows(&x)?)?.transform::<f32>(&chain);
        let report = diagnosis.task(trainer.parameters(), &data, &loss)?.statistics(&seen).report();
        assert!(report.is_healthy(), "{chain:?}: {report}");
    }
    Ok(())
}

/// A network, the parameters where its run began and after two epochs, and a fix whose change a test sets.
struct Trained {
    network: Sequential<f32>,
    began: Vec<f64>,
    w: Vec<f32>,
    fix: Fix,
}

fn trained(data: &Dataset<'_, f32>) -> Result<Trained, Error> {
    let settings = TrainConfig { epochs: 2, ..TrainConfig::default() };
    let (network, loss) = (network()?, MeanSquaredError::new());
    let mut trainer = Trainer::new(&network, &loss, Sgd::new(0.02), settings)?;
    let began = trainer.parameters().iter().map(|&w| f64::from(w)).collect();
    trainer.fit(data)?;
    let w = trainer.parameters().to_vec();
    let (finding, described) = (finding(Cause::DeadUnits)?, Layer::<f32>::spec(&network));
    let mut fix = suggest_fixes(&FixContext::new(&described, InputStatistics::new(1.0)?, &finding))?.swap_remove(0);
    // A fix that keeps the parameters.
    fix.accused.clear();
    Ok(Trained { network, began, w, fix })
}

/// A descent whose rate is 0 before `step`.
fn still_before(step: u64) -> Chain {
    Box::new((Sgd::new(0.05), Schedule::custom(move |at| f64::from(u8::from(at >= step)))))
}

/// Trained parameters have passed what a schedule begins with: a trial of them has the highest rate of the run in its
/// middle. Initial values see the first steps, unless a fix changes the rate.
#[test]
fn trainings_begin_half_their_steps_before_the_highest_rate() -> Result<(), Error> {
    let (x, y) = task();
    let (data, loss) = (Dataset::rows(WIDTH, &x, Target::Values(&y))?, MeanSquaredError::new());
    let Trained { network, began, w, fix } = trained(&data)?;
    let (spec, first) = (Layer::<f32>::spec(&network), began.iter().map(|&w| w as f32).collect::<Vec<f32>>());
    let baseline = |from: u64, length: usize, w: &[f32], change: &Change| -> Result<Vec<f64>, Error> {
        let (chain, mut fix) = (|| still_before(from), fix.clone());
        fix.change = change.clone();
        let trial = Trial::new(&data, &loss, &chain, length).steps(20, 60).first_parameters(&began).seeds(1);
        Ok(trial.run(&spec, w, &[fix])?.baseline.losses)
    };
    let (redraw, rate) = (Change::Redraw, Change::LearningRate(0.5));
    // A peak at the tenth step of twenty needs no move.
    let moved = baseline(10, 200, &w, &redraw)?;
    assert_eq!(baseline(100, 200, &w, &redraw)?, moved);
    assert_ne!(baseline(3, 200, &w, &redraw)?, moved);
    // The training ends with the run.
    assert_eq!(baseline(195, 200, &w, &redraw)?, baseline(15, 20, &w, &redraw)?);
    let still = baseline(1000, 200, &first, &redraw)?;
    assert_eq!(baseline(100, 200, &first, &redraw)?, still);
    assert_ne!(baseline(10, 200, &first, &redraw)?, still);
    assert_eq!(baseline(100, 200, &first, &rate)?, baseline(10, 200, &first, &redraw)?);
    Ok(())
}

/// Groups have schedules of their own, whose rates add up: a product would be 0 wherever one group stands still.
#[test]
fn peak_of_groups_is_where_their_rates_add_up_to_most() -> Result<(), Error> {
    let (x, y) = task();
    let (data, loss) = (Dataset::rows(WIDTH, &x, Target::Values(&y))?, MeanSquaredError::new());
    let Trained { network, began, w, mut fix } = trained(&data)?;
    fix.change = Change::Redraw;
    let baseline = |until: u64, from: u64| -> Result<Vec<f64>, Error> {
        let chain = || {
            let first = Schedule::custom(move |at| f64::from(u8::from(at < until)));
            let others = Schedule::custom(move |at| if at >= from { 2.0 } else { 0.0 });
            let groups = PerGroup::new((Sgd::new(0.05), others)).group("0", (Sgd::new(0.05), first));
            Box::new(groups) as Chain
        };
        let trial = Trial::new(&data, &loss, &chain, 200).steps(20, 60).first_parameters(&began).seeds(1);
        Ok(trial.run(&Layer::<f32>::spec(&network), &w, &[fix.clone()])?.baseline.losses)
    };
    let expected = baseline(0, 10)?;
    assert_eq!(baseline(50, 100)?, expected);
    assert_ne!(baseline(0, 3)?, expected);
    Ok(())
}

/// A tenth of the rate is sound in the first steps of the cycle, and unstable at its peak: it loses to a held rate.
#[test]
fn divided_rate_that_is_unstable_at_the_peak_loses() -> Result<(), Error> {
    let (x, y) = task();
    let (data, loss) = (Dataset::rows(WIDTH, &x, Target::Values(&y))?, MeanSquaredError::new());
    let Trained { network, began, w, fix } = trained(&data)?;
    let chain = || Box::new((Sgd::new(0.05), Schedule::one_cycle(200.0, UPDATES as u64))) as Chain;
    let [mut divided, mut held] = [fix.clone(), fix];
    (divided.change, held.change) = (Change::LearningRate(0.1), Change::HoldRate(1.0));
    let trial = Trial::new(&data, &loss, &chain, UPDATES).first_parameters(&began);
    let report = trial.run(&Layer::<f32>::spec(&network), &w, &[divided, held.clone()])?;
    assert_eq!(report.best(), Some(1), "{report}");
    let plain = || Box::new(Sgd::new(0.05)) as Chain;
    let plain = Trial::new(&data, &loss, &plain, UPDATES);
    let refused = plain.apply(&Layer::<f32>::spec(&network), &w, &held, TrainConfig::default());
    assert!(matches!(refused, Err(Error::InvalidState { needs, .. }) if needs.contains("`Schedule`")), "{refused:?}");
    Ok(())
}

/// The run of a held rate is that of the optimizer without a schedule, to the bit; a constant factor stays.
#[test]
fn held_rate_is_that_of_the_optimizer_alone() -> Result<(), Error> {
    let (x, y) = task();
    let (data, loss) = (Dataset::rows(WIDTH, &x, Target::Values(&y))?, MeanSquaredError::new());
    let Trained { network, w, mut fix, .. } = trained(&data)?;
    fix.change = Change::HoldRate(0.5);
    let chain = || {
        Box::new((Sgd::new(0.08), Schedule::constant(0.25), Schedule::cosine(9, 0.0), Schedule::step(2, 0.1))) as Chain
    };
    let settings = TrainConfig { epochs: 3, ..TrainConfig::default() };
    let trial = Trial::new(&data, &loss, &chain, UPDATES);
    let mut run = trial.apply(&Layer::<f32>::spec(&network), &w, &fix, settings)?;
    let mut alone = Trainer::new(&network, &loss, Sgd::new(0.01), settings)?;
    alone.parameters_mut().copy_from_slice(&w);
    alone.fit(&data)?;
    run.trainer.fit(&run.data)?;
    let differ = run.trainer.parameters().iter().zip(alone.parameters()).map(|(a, b)| (a - b).abs());
    assert!(differ.fold(0.0, f32::max) < 1e-5);
    Ok(())
}

/// Only a schedule that left the optimizer's rate, to the side of the fault, is held.
#[test]
fn rate_is_held_only_where_the_schedule_left_it() -> Result<(), Error> {
    let (x, y) = task();
    let (data, loss) = (Dataset::rows(WIDTH, &x, Target::Values(&y))?, MeanSquaredError::new());
    let network = network()?;
    let (described, w) = (Layer::<f32>::spec(&network), initialize(&network, 0)?);
    let proposed = |schedule: Schedule, cause: Cause| -> Result<Vec<f64>, Error> {
        let chain = || Box::new((Sgd::new(0.001), schedule.clone())) as Chain;
        let settings = TrainConfig { epochs: 10, ..TrainConfig::default() };
        let (mut seen, mut trainer) = (Statistics::new(), Trainer::new(&network, &loss, chain(), settings)?);
        trainer.fit_with(&data, FitOptions::new().monitor(&mut seen))?;
        let finding = finding(cause)?;
        let context = FixContext::new(&described, InputStatistics::of_rows(&x)?, &finding).statistics(&seen);
        let fixes = Trial::new(&data, &loss, &chain, 80).steps(1, 2).apply_best(&context, &w, settings)?.fixes;
        let factor = |fix: &Fix| if let Change::HoldRate(factor) = fix.change { Some(factor) } else { None };
        Ok(fixes.iter().filter_map(factor).collect())
    };
    let [high, low] = [Cause::LearningRateTooHigh, Cause::LearningRateTooLow];
    let ramp = || Schedule::exponential(1.02);
    assert!(proposed(ramp(), low)?.is_empty());
    // 80 updates up to 1.02⁷⁹ = 4.8, the loss of which falls throughout: there is no edge yet.
    assert_eq!(proposed(ramp(), high)?, [1.0]);
    let warm = || Schedule::warm_up(0.0, 1000);
    assert_eq!(proposed(warm(), low)?, [1.0]);
    for usual in [Schedule::constant(0.1), Schedule::cosine(80, 0.0), Schedule::warm_up(0.0, 20)] {
        assert!(proposed(usual.clone(), high)?.is_empty(), "{usual:?}");
        assert!(proposed(usual.clone(), low)?.is_empty(), "{usual:?}");
    }
    Ok(())
}
