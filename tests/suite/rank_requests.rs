//! Requests of one rank to all, which travel in the sum of the next update: to stop, and to compare the ranks again.

use crate::{
    numbers::bits,
    ranks::{Messages, Recorded, errors, mean_squared, on_ranks, settings},
    trainer::values,
};
use chainrule::{
    Error, GradientMonitor, LayerRule, RankRule,
    activation::Tanh,
    dataset::{Batch, Dataset},
    distributed::{Communicator, DataParallel, Local},
    layer::Sequential,
    loss::{Loss, Target},
    monitor::Event,
    recurrent::Lstm,
    trainer::{Epoch, FitOptions, Step, TrainConfig, Trainer},
    transform::{Adam, ClipNorm},
};
use std::{ops::ControlFlow, sync::Arc, thread};

type Run = Trainer<f64, Sequential<f64>, Box<dyn Loss<f64>>, (ClipNorm, Adam)>;

/// 40 samples in updates of 16: the last of an epoch has 8.
fn data() -> Dataset<'static, f64> {
    let (x, y) = (values(1, 40 * 3), values(2, 40 * 2));
    Dataset::rows(3, &x, Target::Values(&y)).unwrap().into_owned()
}

fn run(parallel: DataParallel<f64>) -> Run {
    let network = Sequential::input(3).linear(6).activation(Tanh).dropout(0.2).linear(2).build().unwrap();
    let chain = (ClipNorm::new(0.5), Adam::new(0.02));
    let mut run = Trainer::new(network, mean_squared(), chain, settings(16, 1, 4)).unwrap();
    run.set_data_parallel(parallel).unwrap();
    run
}

/// A monitor that stops the run after `at` updates, and counts them.
struct Stopping {
    at: usize,
    updates: usize,
}

impl GradientMonitor<f64> for Stopping {
    fn event(&mut self, event: &Event<'_, f64>) {
        self.updates += usize::from(matches!(event, Event::Step(_)));
    }

    fn should_stop(&self) -> bool {
        self.updates == self.at
    }
}

/// Two ranks, with a monitor on one: each update has the two messages of its sum, and its record counts them.
#[test]
fn monitored_update_of_a_fit_has_no_further_message() {
    let data = data();
    let found = on_ranks(2, |rank| {
        let (own, messages) = (rank.rank(), Messages::default());
        let mut run = run(DataParallel::new(Recorded(rank, thread::current().id(), messages.clone())));
        let (mut counts, mut bytes) = (Vec::new(), Vec::new());
        let mut on_step = |step: &Step| {
            counts.push(messages.lock().unwrap().len());
            bytes.push(step.communication.unwrap().sent);
            ControlFlow::Continue(())
        };
        let mut never = Stopping { at: usize::MAX, updates: 0 };
        let options = FitOptions::new().on_step(&mut on_step);
        run.fit_with(&data, if own == 1 { options.monitor(&mut never) } else { options }).unwrap();
        (counts, bytes, run.parameters().len() as u64)
    });
    for (counts, bytes, parameters) in found {
        // Updates of one epoch follow each other directly.
        for epoch in counts.chunks(3) {
            assert!(epoch.windows(2).all(|pair| pair[1] - pair[0] == 2), "{counts:?}");
        }
        // Half of the sum, there and back: 8 losses, 8 marks, 2 flags and the gradient.
        assert!(bytes.iter().all(|&sent| sent == 8 * (parameters + 18)), "{bytes:?}");
    }
}

/// Bits of parameters and losses, and the epochs: after a stop, and after the run that follows.
fn stopped(parallel: DataParallel<f64>, at: usize, by_callback: bool, asks: bool) -> (Vec<u64>, Vec<[usize; 2]>) {
    let (mut run, data) = (run(parallel), data());
    let (mut all, mut samples) = (Vec::new(), Vec::new());
    let mut note = |run: &Run, epochs: &[Epoch]| {
        all.extend(bits(run.parameters()));
        all.extend(bits(&epochs.iter().map(|epoch| epoch.loss).collect::<Vec<_>>()));
        samples.extend(epochs.iter().map(|epoch| [epoch.epoch, epoch.samples]));
        all.push(run.optimizer().steps());
        all.push(u64::from(run.stopped_early()));
    };
    let (mut monitor, mut updates) = (Stopping { at: if by_callback { usize::MAX } else { at }, updates: 0 }, 0);
    let mut on_step = |_: &Step| {
        updates += 1;
        if by_callback && updates == at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let options = match asks {
        true => FitOptions::new().monitor(&mut monitor).on_step(&mut on_step),
        false => FitOptions::new(),
    };
    let epochs = run.fit_with(&data, options).unwrap();
    note(&run, &epochs);
    let epochs = run.fit(&data).unwrap();
    note(&run, &epochs);
    (all, samples)
}

/// A monitor or a callback of one rank ends the updates of all where it would in one process.
#[test]
fn stop_of_one_rank_has_the_bits_of_one_process() {
    for (at, by_callback) in [1, 2, 3, 4, 6].into_iter().flat_map(|at| [(at, false), (at, true)]) {
        let expected = stopped(DataParallel::new(()), at, by_callback, true);
        for ranks in [2, 3, 4] {
            let found = on_ranks(ranks, |rank| {
                let asks = rank.rank() == 1;
                stopped(DataParallel::new(rank), at, by_callback, asks)
            });
            assert!(found.iter().all(|found| *found == expected), "{ranks} ranks, {at}, {by_callback}: {found:?}");
        }
    }
}

const SAMPLES: [usize; 8] = [3, 1, 4, 5, 9, 2, 6, 8];

fn step(run: &mut Run, data: &Dataset<'_, f64>) -> Result<(), Error> {
    run.step(data, &mut Batch::new(data, 8), &SAMPLES, &mut ()).map(drop)
}

/// All ranks set the rate; one alone borrows parameters, optimizer and workspace without a change.
#[test]
fn ranks_that_are_equal_after_a_change_go_on() {
    let train = |parallel, alone: bool| {
        let (mut run, data) = (run(parallel), data());
        step(&mut run, &data).unwrap();
        run.set_learning_rate(0.1).unwrap();
        step(&mut run, &data).unwrap();
        if alone {
            run.parameters_mut();
            run.optimizer_mut();
            run.workspace_mut();
        }
        step(&mut run, &data).unwrap();
        run.fit(&data).unwrap();
        bits(run.parameters())
    };
    let expected = train(DataParallel::new(()), false);
    for ranks in [2, 3, 5] {
        let found = on_ranks(ranks, |rank| {
            let alone = rank.rank() == 1;
            train(DataParallel::new(rank), alone)
        });
        assert!(found.iter().all(|found| *found == expected), "{ranks}");
    }
}

/// Early stopping has ended the run, and one rank reads its workspace: the next fit is another run, on all. Of a run
/// that goes on, that rank would continue from the best values, and the others from the last ones.
#[test]
fn workspace_that_one_rank_borrows_after_early_stopping_is_no_difference() {
    let train = |parallel, alone: bool, epochs: usize| {
        let network = Sequential::input(3).linear(6).activation(Tanh).linear(2).build().unwrap();
        // The first epoch is the best, and the third stops the run.
        let settings = TrainConfig { patience: Some(2), min_delta: 1e9, ..settings(16, 1, 10) };
        let mut run = Trainer::new(network, mean_squared(), Adam::new(0.1), settings)?;
        run.set_data_parallel(parallel)?;
        let (data, mut left) = (data(), epochs);
        let mut on_epoch = |_: &Epoch| {
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        run.fit_with(&data, FitOptions::new().validation(&data).on_epoch(&mut on_epoch))?;
        assert_eq!(run.stopped_early(), epochs > 2);
        if alone {
            run.workspace_mut();
        }
        run.fit_with(&data, FitOptions::new().validation(&data))?;
        Ok(bits(run.parameters()))
    };
    let on_three = |epochs| {
        on_ranks(3, |rank| {
            let alone = rank.rank() == 1;
            train(DataParallel::new(rank), alone, epochs)
        })
    };
    let expected: Result<_, Error> = train(DataParallel::new(()), false, 10);
    let found = on_three(10);
    assert!(expected.is_ok() && found.iter().all(|found| *found == expected), "{found:?}");
    for found in on_three(2) {
        assert!(matches!(found, Err(Error::Ranks(RankRule::Differs { rank: 1, .. }))), "{found:?}");
    }
}

/// A process has one rank of an MPI job, and may train several networks.
#[test]
fn shared_rank_serves_one_trainer_after_the_other() {
    let data = data();
    let train = |parallel| {
        let mut run = run(parallel);
        run.fit(&data).unwrap();
        bits(run.parameters())
    };
    let expected = train(DataParallel::new(()));
    let found = on_ranks(3, |rank| {
        let rank = Arc::new(rank);
        [(); 2].map(|()| train(DataParallel::new(rank.clone())))
    });
    assert!(found.iter().flatten().all(|found| *found == expected));
}

#[test]
fn change_of_one_rank_alone_is_named_on_all() {
    type Change = fn(&mut Run);
    let changes: [(&str, Change); 4] = [
        ("the chain of transforms", |run| run.set_learning_rate(0.5).unwrap()),
        ("the parameters", |run| run.parameters_mut()[3] += 1.0),
        ("the frozen blocks", |run| run.workspace_mut().freeze("0").unwrap()),
        ("the chain of transforms", |run| run.optimizer_mut().set_learning_rate(0.5).unwrap()),
    ];
    for (what, change) in changes {
        let found = errors(|rank| {
            let alone = rank.rank() == 2;
            let (mut run, data) = (run(DataParallel::new(rank)), data());
            step(&mut run, &data)?;
            if alone {
                change(&mut run);
            }
            step(&mut run, &data)
        });
        for error in found {
            let Error::Ranks(RankRule::Differs { what: named, rank: 2, .. }) = &error else {
                panic!("{what}: {error}")
            };
            assert_eq!(named, what);
        }
    }
}

/// The data of each rank differ in a sample that no update uses, and take the place of equal ones: only the first step
/// compares the data.
#[test]
fn change_between_steps_does_not_hash_the_data_again() {
    on_ranks(3, |rank| {
        let (own, mut data) = (rank.rank(), data());
        let mut run = run(DataParallel::new(rank));
        step(&mut run, &data).unwrap();
        let mut x = data.inputs().to_vec();
        x[30 * 3] += own as f64;
        data = Dataset::rows(3, &x, data.targets()).unwrap().into_owned();
        run.set_learning_rate(0.1).unwrap();
        step(&mut run, &data).unwrap();
    });
}

/// Other data of equal sizes, in another place in memory, is compared once.
#[test]
fn step_with_other_data_compares_it_once() {
    let other = |rank: usize| {
        let mut x = data().inputs().to_vec();
        x[30 * 3] += if rank == 2 { 1.0 } else { 2.0 };
        Dataset::rows(3, &x, data().targets()).unwrap().into_owned()
    };
    let found = errors(|rank| {
        let (own, first) = (rank.rank(), data());
        let mut run = run(DataParallel::new(rank));
        step(&mut run, &first)?;
        step(&mut run, &other(own))
    });
    for error in found {
        let Error::Ranks(RankRule::Differs { what, rank: 2, .. }) = &error else { panic!("{error}") };
        assert_eq!(what, "the values of the data");
    }
    // Only rank 1 changes its data, to equal ones: all compare it in the third update, and no later one has more
    // messages.
    let counts = on_ranks(3, |rank| {
        let (own, messages) = (rank.rank(), Messages::default());
        let mut run = run(DataParallel::new(Recorded(rank, thread::current().id(), messages.clone())));
        let all = [data(), data()];
        let count = |i: usize| {
            step(&mut run, &all[if own == 1 { i } else { 0 }]).unwrap();
            std::mem::take(&mut *messages.lock().unwrap()).len()
        };
        [0, 0, 1, 0, 1].map(count)
    });
    for [first, second, third, rest @ ..] in counts {
        assert!(first > second && third > second && rest == [second; 2], "{first} {second} {third} {rest:?}");
    }
}

/// A rank knows the last 8 data sets that were compared: of 9, the first is compared again.
#[test]
fn step_with_the_first_of_nine_data_sets_compares_it_again() {
    let counts = on_ranks(2, |rank| {
        let messages = Messages::default();
        let mut run = run(DataParallel::new(Recorded(rank, thread::current().id(), messages.clone())));
        let all: Vec<Dataset<'static, f64>> = (0..9).map(|_| data()).collect();
        let mut count = |i: usize| {
            step(&mut run, &all[i]).unwrap();
            std::mem::take(&mut *messages.lock().unwrap()).len()
        };
        for i in 0..9 {
            count(i);
        }
        [8, 1, 0, 2].map(count)
    });
    for [last, second, first, third] in counts {
        assert!(last == second && first > second && third == second, "{last} {second} {first} {third}");
    }
}

/// A state of one rank, for a network with state: the layout of samples would depend on the number of ranks.
#[test]
fn initial_state_that_is_set_is_refused_on_all_ranks() {
    let (x, y) = (values(1, 16 * 4 * 3), values(2, 16 * 2));
    let data = Dataset::sequences(3, 4, &x, Target::Values(&y)).unwrap();
    let train = |rank: Option<Local<f64>>, sets: bool| {
        let network = Sequential::input(3).recurrent(4, Lstm::new()).last_step().linear(2).build()?;
        let mut run = Trainer::new(network, mean_squared(), Adam::new(0.1), settings(16, 1, 1))?;
        run.set_data_parallel(rank.map_or_else(|| DataParallel::new(()), DataParallel::new))?;
        if sets {
            run.workspace_mut().set_state(&[0.5; 8 * 16])?;
        }
        run.fit(&data).map(drop)
    };
    let is_refused =
        |error: &Error| matches!(error, Error::InvalidState { needs, .. } if needs.contains("clear_state"));
    assert!(train(None, false).is_ok() && is_refused(&train(None, true).unwrap_err()));
    for (rank, error) in errors(|rank| {
        let sets = rank.rank() == 1;
        train(Some(rank), sets)
    })
    .iter()
    .enumerate()
    {
        match error {
            Error::Ranks(RankRule::Failed { rank: 1, reason }) if rank != 1 => {
                assert!(reason.contains("clear_state"), "{reason}");
            }
            error => assert!(rank == 1 && is_refused(error), "{rank}: {error}"),
        }
    }
}

/// Ten samples in eight shards, of which six have one sample.
#[test]
fn batch_norm_over_a_shard_of_one_row_names_the_shard() {
    let (x, y) = (values(1, 10 * 3), values(2, 10 * 2));
    let data = Dataset::rows(3, &x, Target::Values(&y)).unwrap();
    let make = |parallel: Option<DataParallel<f64>>, batch_size| {
        let network = Sequential::input(3).linear(4).batch_norm().linear(2).build()?;
        let settings = TrainConfig { shuffle: false, ..settings(batch_size, 1, 1) };
        let mut run = Trainer::new(network, mean_squared(), Adam::new(0.1), settings)?;
        parallel.map_or(Ok(()), |parallel| run.set_data_parallel(parallel))?;
        Ok::<_, Error>(run)
    };
    // Shard 0 has one sample, of 0..1; with two shards of five samples each trains.
    let expected = Error::from(RankRule::ShardRows { layer: "1".into(), shard: 0, shards: 8, samples: 1 });
    assert_eq!(make(Some(DataParallel::new(())), 10).unwrap().fit(&data).unwrap_err(), expected);
    assert!(expected.to_string().contains("shard 0 of 8 has 1 samples"), "{expected}");
    assert!(make(Some(DataParallel::new(()).shards(2)), 10).unwrap().fit(&data).is_ok());
    let alone = make(None, 9).unwrap().fit(&data).unwrap_err();
    assert!(matches!(alone, Error::InvalidLayer { rule: LayerRule::TooFewRows { .. }, .. }), "{alone}");
    for error in errors(|rank| make(Some(DataParallel::new(rank)), 10)?.fit(&data).map(drop)) {
        assert!(error == expected, "{error}");
    }
    // A step by hand, which nothing checks before: the rank with the shard has the error, the others its text.
    for error in errors(|rank| {
        let mut run = make(Some(DataParallel::new(rank)), 10)?;
        run.step(&data, &mut Batch::new(&data, 10), &(0..10).collect::<Vec<_>>(), &mut ()).map(drop)
    }) {
        assert!(error.to_string().contains("of 8 has 1 samples"), "{error}");
    }
}
