//! Monitors that end a run.

use crate::numbers::{bits, seeded_numbers};
use chainrule::{
    Error, GradientMonitor, Scalar,
    dataset::Dataset,
    distributed::{Communicator, DataParallel, Local},
    layer::Sequential,
    loss::{MeanSquaredError, Target},
    monitor::{Event, Every},
    trainer::{FitOptions, Step, TrainConfig, Trainer},
    transform::Adam,
};
use std::ops::ControlFlow;

/// Asks to stop after some updates, or at once.
#[derive(Clone, Debug)]
struct Stop {
    after: u64,
    seen: u64,
    active: bool,
}

impl Stop {
    fn after(after: u64) -> Self {
        Stop { after, seen: 0, active: true }
    }
}

impl<T: Scalar> GradientMonitor<T> for Stop {
    fn is_active(&self) -> bool {
        self.active
    }
    fn event(&mut self, event: &Event<'_, T>) {
        self.seen += u64::from(matches!(event, Event::Step(_)));
    }
    fn should_stop(&self) -> bool {
        self.seen >= self.after
    }
}

type Run = Trainer<f64, Sequential<f64>, MeanSquaredError, Adam>;

fn trainer(patience: Option<usize>) -> Run {
    let network = Sequential::<f64>::input(3).linear(8).tanh().linear(1).build().unwrap();
    let settings = TrainConfig { batch_size: 8, epochs: 5, patience, ..TrainConfig::default() };
    Trainer::new(network, MeanSquaredError::new(), Adam::new(0.05), settings).unwrap()
}

#[test]
fn monitor_that_asks_ends_the_run_with_its_update() -> Result<(), Error> {
    let (x, y) = (seeded_numbers::<f64>(1, 22 * 3), seeded_numbers::<f64>(2, 22));
    let data = Dataset::rows(3, &x, Target::Values(&y))?;
    // The fourth update is the first of the second epoch.
    let mut stopped = trainer(None);
    let (mut monitor, options) = (Stop::after(4), FitOptions::new().validation(&data));
    let epochs = stopped.fit_with(&data, options.monitor(&mut monitor))?;
    assert!(stopped.stopped_early());
    let counts: Vec<_> = epochs.iter().map(|epoch| (epoch.epoch, epoch.steps, epoch.samples)).collect();
    assert_eq!(counts, [(1, 3, 22), (2, 4, 8)]);
    assert_eq!(epochs[1].validation.unwrap().loss, stopped.evaluate(&data)?.loss);
    // The parameters are those at which a callback ends the fit.
    let mut ended = trainer(None);
    let mut on_step = |step: &Step| if step.step == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    ended.fit_with(&data, FitOptions::new().on_step(&mut on_step))?;
    assert!(!ended.stopped_early());
    assert_eq!(bits(stopped.parameters()), bits(ended.parameters()));
    // A checkpoint keeps it; the next fit is another run, and a monitor that still asks ends it at once.
    let mut restored = trainer(None);
    assert!(restored.restore(&stopped.checkpoint())?.is_empty());
    assert!(restored.stopped_early());
    let next = stopped.fit(&data)?;
    assert_eq!((next.len(), next[0].epoch, stopped.stopped_early()), (5, 3, false));
    assert_eq!(restored.fit(&data)?, next);
    assert_eq!(restored.fit_with(&data, FitOptions::new().monitor(&mut monitor))?.len(), 1);
    // An inactive monitor is asked, too.
    let mut quiet = Stop { active: false, ..Stop::after(0) };
    let epochs = trainer(None).fit_with(&data, FitOptions::new().monitor(&mut quiet))?;
    assert_eq!((epochs.len(), epochs[0].samples), (1, 8));
    Ok(())
}

#[test]
fn run_that_a_monitor_stops_ends_with_the_best_parameters() -> Result<(), Error> {
    let (x, y) = (seeded_numbers::<f64>(1, 22 * 3), seeded_numbers::<f64>(2, 22));
    let data = Dataset::rows(3, &x, Target::Values(&y))?;
    let (mut run, mut monitor) = (trainer(Some(100)), Stop::after(5));
    // The outputs as they are at first, from which training leads away.
    let first = trainer(None).predict(&data)?;
    let worse = Dataset::rows(3, &x, Target::Values(&first))?;
    let epochs = run.fit_with(&data, FitOptions::new().validation(&worse).monitor(&mut monitor))?;
    let losses: Vec<f64> = epochs.iter().map(|epoch| epoch.validation.unwrap().loss).collect();
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(run.stopped_early() && losses.len() == 2 && best < losses[1], "{losses:?}");
    assert_eq!(run.evaluate(&worse)?.loss, best);
    Ok(())
}

#[test]
fn composed_monitor_asks_if_a_member_does() {
    let asks = |monitor: &dyn GradientMonitor<f64>| monitor.should_stop();
    for after in [0, 1] {
        let stop = Stop::after(after);
        let expected = after == 0;
        let boxed: Box<dyn GradientMonitor<f64>> = Box::new(stop.clone());
        for (how, found) in [
            ("alone", asks(&stop)),
            ("first", asks(&(stop.clone(), ()))),
            ("second", asks(&((), stop.clone()))),
            ("third", asks(&((), (), stop.clone()))),
            ("some", asks(&Some(stop.clone()))),
            ("list", asks(&vec![Stop::after(1), stop.clone()])),
            ("every", asks(&Every(7, stop.clone()))),
            ("boxed", asks(&boxed)),
            ("borrowed", asks(&&mut stop.clone())),
        ] {
            assert_eq!(found, expected, "{how}");
        }
    }
    assert!(!asks(&()) && !asks(&None::<Stop>));
}

/// One rank's monitor asks, all ranks end with the same update.
#[test]
fn monitor_of_one_rank_ends_the_run_of_all() {
    let (x, y) = (seeded_numbers::<f64>(1, 22 * 3), seeded_numbers::<f64>(2, 22));
    let data = Dataset::rows(3, &x, Target::Values(&y)).unwrap();
    let group = Local::new(3).unwrap();
    let run = |rank: Local<f64>| {
        let number = rank.rank();
        let mut run = trainer(None);
        run.set_data_parallel(DataParallel::new(rank)).unwrap();
        let mut stop = Stop::after(4);
        let options = if number == 1 { FitOptions::new().monitor(&mut stop) } else { FitOptions::new() };
        let epochs = run.fit_with(&data, options).unwrap();
        (epochs.len(), epochs[1].steps, run.stopped_early(), bits(run.parameters()))
    };
    let ends = std::thread::scope(|scope| {
        let threads: Vec<_> = group.into_iter().map(|rank| scope.spawn(|| run(rank))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(ends.iter().all(|end| *end == ends[0]));
    assert_eq!((ends[0].0, ends[0].1, ends[0].2), (2, 4, true));
}
