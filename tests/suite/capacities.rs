//! A trainer has memory for its passes, not for a pass of the most samples and the most steps of any.

use crate::numbers::{bits, seeded_numbers};
use chainrule::{
    BatchShape, Error,
    dataset::{Batch, Dataset},
    distributed::{DataParallel, Local},
    layer::Sequential,
    loss::{MeanSquaredError, Target},
    trainer::{TrainConfig, Trainer},
    transform::Sgd,
    workspace::Workspace,
};
use std::thread;

fn network() -> Sequential<f64> {
    Sequential::input(3).lstm(4).last_step().linear(2).build().unwrap()
}

fn trainer(batch_size: usize) -> Trainer<f64, Sequential<f64>, MeanSquaredError, Sgd> {
    let settings = TrainConfig { batch_size, epochs: 1, ..TrainConfig::default() };
    Trainer::new(network(), MeanSquaredError::new(), Sgd::new(0.1), settings).unwrap()
}

/// The bytes of a workspace for one pass.
fn of_pass(samples: usize, steps: usize) -> usize {
    Workspace::<f64, _>::new(network(), BatchShape::sequences(samples, steps)).unwrap().bytes()
}

fn sequences(samples: usize, steps: usize) -> Dataset<'static, f64> {
    let (x, y): (Vec<f64>, Vec<f64>) = (seeded_numbers(1, samples * steps * 3), seeded_numbers(2, samples * 2));
    Dataset::sequences(3, steps, &x, Target::Values(&y)).unwrap().into_owned()
}

/// One long sequence, although a batch may have 32, then many short ones: 32 long ones never run.
#[test]
fn memory_is_that_of_the_passes_that_run() {
    let mut run = trainer(32);
    run.fit(&sequences(1, 3000)).unwrap();
    let expected = of_pass(1, 3000) + of_pass(32, 1);
    assert!(run.workspace().bytes() <= expected, "{} above {expected}", run.workspace().bytes());
    let short = sequences(300, 8);
    let y = run.predict(&short).unwrap();
    let expected = expected + of_pass(128, 8);
    assert!(run.workspace().bytes() <= expected, "{} above {expected}", run.workspace().bytes());
    let mut small = trainer(32);
    small.parameters_mut().copy_from_slice(run.parameters());
    assert_eq!(bits(&y), bits(&small.predict(&short).unwrap()));
    // Its passes are those before, and no larger ones.
    let (w, shape) = (run.parameters().to_vec(), BatchShape::sequences(2, 3000));
    let refused = run.workspace_mut().infer(&w, &vec![0.0; 2 * 3000 * 3], shape).map(drop);
    assert_eq!(refused, Err(Error::BeyondCapacity { batch: 2, steps: 3000, max_batch: 1, max_steps: 3000 }));
    run.fit(&sequences(1, 3000)).unwrap();
}

/// One of 32 samples is long: the rows of a batch are those of its samples. The bits are those of more memory.
#[test]
fn memory_of_ragged_batches_is_that_of_their_rows() {
    let lengths: Vec<usize> = (0..50).map(|i| if i == 30 { 1000 } else { 5 + i % 7 }).collect();
    let x: Vec<f64> = seeded_numbers(3, 3 * lengths.iter().sum::<usize>());
    let y: Vec<f64> = seeded_numbers(4, 50 * 2);
    let data = Dataset::ragged(3, &lengths, &x, Target::Values(&y)).unwrap();
    let mut run = trainer(32);
    let epochs = run.fit(&data).unwrap();
    let evaluation = run.evaluate(&data).unwrap();
    // No batch has more than 1,000 rows of one sample, and 11 of each of the others.
    let expected = of_pass(1, 1000 + 31 * 11) + of_pass(32, 11);
    assert!(run.workspace().bytes() <= expected, "{} above {expected}", run.workspace().bytes());
    let mut large = trainer(32);
    large.evaluate(&sequences(32, 1000)).unwrap();
    assert!(large.workspace().bytes() > 5 * expected);
    assert_eq!(large.fit(&data).unwrap(), epochs);
    assert_eq!(bits(large.parameters()), bits(run.parameters()));
    assert_eq!(large.evaluate(&data).unwrap(), evaluation);
}

/// A rank has memory for its own shards.
#[test]
fn memory_of_a_rank_is_that_of_its_own_passes() {
    let data = sequences(32, 50);
    let bytes: Vec<usize> = thread::scope(|scope| {
        let of = |rank| {
            let mut run = trainer(32);
            run.set_data_parallel(DataParallel::new(rank)).unwrap();
            run.fit(&data).unwrap();
            run.workspace().bytes()
        };
        let threads: Vec<_> = Local::new(4).unwrap().into_iter().map(|rank| scope.spawn(move || of(rank))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let expected = of_pass(8, 50) + of_pass(32, 1);
    assert!(bytes.iter().all(|&bytes| bytes <= expected), "{bytes:?} above {expected}");
}

/// An evaluation begins from a state of zero, as a prediction does, whatever state the next training starts from.
#[test]
fn evaluation_begins_from_a_state_of_zero() {
    let (data, mut run) = (sequences(4, 6), trainer(4));
    run.step(&data, &mut Batch::new(&data, 4), &[0, 1, 2, 3], &mut ()).unwrap();
    let expected = run.evaluate(&data).unwrap();
    run.workspace_mut().set_state(&[0.7; 4 * 8]).unwrap();
    assert_eq!(run.evaluate(&data).unwrap(), expected);
    assert_eq!(run.workspace().state(), [0.7; 4 * 8]);
}

/// A workspace for inference has no memory for an input that a backward pass reads.
#[test]
fn evaluation_runs_in_a_workspace_for_inference() {
    let (data, mut run) = (sequences(5, 6), trainer(4));
    let found = |run: &mut Trainer<f64, _, _, _>| {
        let metric = run.metric(&data, |_, y, _| y.iter().sum::<f64>()).unwrap();
        (run.evaluate(&data).unwrap(), metric)
    };
    let expected = found(&mut run);
    *run.workspace_mut() = Workspace::for_inference(network(), BatchShape::sequences(1, 1)).unwrap();
    assert_eq!(found(&mut run), expected);
}
