//! After construction a training step allocates nothing.

#![allow(unsafe_code)] // A global allocator cannot be written without.
use chainrule::{
    Extent, GradientMonitor,
    activation::Relu,
    data::{Batch, Data},
    layer::{Mode, Sequential},
    loss::{CrossEntropy, MeanSquared, Target},
    monitor::GradientBudget,
    recurrent::{Gru, Lstm},
    tape::Tape,
    trainer::{Settings, Trainer},
    transform::{Adam, ClipNorm, GradientTransform, Guard, Schedule, WeightAverage},
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    static ALLOCATIONS: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The system's allocator, counting on the threads that ask for it.
struct Counting;

fn count() {
    ALLOCATIONS.with(|count| count.set(count.get().map(|count| count + 1)));
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `run` allocates.
fn allocations(run: impl FnOnce()) -> usize {
    ALLOCATIONS.with(|count| count.set(Some(0)));
    run();
    ALLOCATIONS.with(|count| count.take().unwrap())
}

fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919) % 997) as f32 / 500.0 - 1.0).collect()
}

fn chain() -> impl GradientTransform<f32> {
    (Guard::new(), ClipNorm::new(1.0), Adam::new(1e-3), Schedule::cosine(100, 0.1), WeightAverage::new(0.9))
}

/// A step of some trainer.
type Step<'a> = dyn FnMut(&mut Batch<f32>, &[usize], &mut dyn GradientMonitor<f32>) + 'a;

/// Steps of a trainer over whole batches and the last partial one, with everything switched on.
fn steps_of_a_trainer(network: Sequential<f32>, data: &Data<'_, f32>, steps: usize, classes: bool) {
    let settings = Settings { batch: 8, accumulate: 2, ..Settings::default() };
    let mut budget = GradientBudget::new();
    let mut batch = Batch::new(data, 8);
    let order: Vec<usize> = (0..data.samples()).collect();
    let mut run = |step: &mut Step<'_>| {
        step(&mut batch, &order[..8], &mut budget);
        let counted = allocations(|| {
            for _ in 0..3 {
                step(&mut batch, &order[..8], &mut budget);
                step(&mut batch, &order[8..19], &mut budget);
                step(&mut batch, &order[19..20], &mut ());
            }
        });
        assert_eq!(counted, 0);
    };
    if classes {
        let mut trainer = Trainer::for_steps(network, CrossEntropy::new(), chain(), settings, steps).unwrap();
        run(&mut |batch, samples, monitor| {
            trainer.step(data, batch, samples, monitor).unwrap();
        });
    } else {
        let mut trainer = Trainer::for_steps(network, MeanSquared::new(), chain(), settings, steps).unwrap();
        run(&mut |batch, samples, monitor| {
            trainer.step(data, batch, samples, monitor).unwrap();
        });
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1u8; 100]))), 1);
}

#[test]
fn feedforward() {
    let x = numbers(20 * 6);
    let classes: Vec<usize> = (0..20).map(|i| i % 3).collect();
    let data = Data::rows(6, &x, Target::Classes(&classes)).unwrap();
    let network = Sequential::input(6)
        .linear(16)
        .layer_norm()
        .activation(Relu)
        .dropout(0.2)
        .residual(|branch| branch.linear(16).prelu())
        .linear(3)
        .build()
        .unwrap();
    steps_of_a_trainer(network, &data, 1, true);
}

#[test]
fn recurrent_with_a_loss_at_every_step() {
    let (x, y) = (numbers(20 * 9 * 2), numbers(20 * 9));
    let data = Data::sequences(2, 9, &x, Target::Values(&y)).unwrap();
    let network = Sequential::input(2).recurrent(5, Lstm).bidirectional(4, Gru::default()).linear(1).build().unwrap();
    steps_of_a_trainer(network, &data, 9, false);
}

#[test]
fn ragged() {
    let lengths: Vec<usize> = (0..20).map(|i| 1 + (i * 5) % 9).collect();
    let x = numbers(lengths.iter().sum::<usize>() * 2);
    let classes: Vec<usize> = (0..20).map(|i| i % 3).collect();
    let data = Data::ragged(2, &lengths, &x, Target::Classes(&classes)).unwrap();
    let network = Sequential::input(2).recurrent(5, Lstm).last_step().linear(3).build().unwrap();
    steps_of_a_trainer(network, &data, 9, true);
}

#[test]
fn passes_by_hand_for_any_extent() {
    let network = Sequential::<f32>::input(2).recurrent(5, Lstm).linear(3).build().unwrap();
    let w = chainrule::layer::initialize(&network, 1).unwrap();
    let mut tape = Tape::new(&network, Extent::sequences(6, 7)).unwrap();
    tape.want_input_gradient(true);
    tape.want_state_gradient(true);
    let x = numbers(6 * 7 * 2);
    let mut budget = GradientBudget::new();
    let mut pass = |budget: &mut GradientBudget| {
        for extent in [Extent::sequences(6, 7), Extent::sequences(1, 1), Extent::ragged(&[7, 3, 1])] {
            let x = &x[..extent.rows() * 2];
            tape.clear_state();
            tape.forward_with(&w, x, extent, Mode::Train, budget).unwrap().dy.fill(0.1);
            tape.backward_with(&w, budget).unwrap();
            tape.carry_state();
            tape.forward(&w, x, extent).unwrap();
            tape.infer(&w, x, extent).unwrap();
        }
    };
    pass(&mut budget);
    assert_eq!(allocations(|| pass(&mut budget)), 0);
}
