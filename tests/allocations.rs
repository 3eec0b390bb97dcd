//! After construction and one warm-up pass, a training step does not allocate once.

use chainrule::{
    Activation, BatchShape, Builder, GradientMonitor, Layer, Scalar,
    activation::{Gelu, Relu, Tanh},
    dataset::{Batch, Dataset},
    distributed::DataParallel,
    layer::{
        ActivationLayer, Backward, BranchScale, Dims, Forward, Linear, MemorySizes, Mode, Parts, Residual, Sequential,
        Structure,
    },
    loss::{CrossEntropy, Loss, MeanSquaredError, Target},
    monitor::{Event, Every, Factor, GradientBudget, Statistics},
    recurrent::{Bidirectional, CheckpointInterval, Elman, Gru, Lstm, Recurrent},
    scalar,
    trainer::{TrainConfig, Trainer, Truncation},
    transform::{Adam, ClipNorm, GradientTransform, Schedule, Sgd, SkipNonFinite, WeightAverage},
    workspace::Workspace,
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

thread_local! {
    /// Allocations of this thread since the counter was set to `Some`.
    static COUNT: Cell<Option<usize>> = const { Cell::new(None) };
    /// The largest allocation of this thread since it was set to 0, in bytes.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
    /// Whether [`Marking`] has run on this thread.
    static MARKED: Cell<bool> = const { Cell::new(false) };
}

/// Allocations of marked threads.
static OF_MARKED: AtomicUsize = AtomicUsize::new(0);

struct Counting;

fn count(bytes: usize) {
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(bytes)));
    // Where the thread is being torn down there is nothing to count any more.
    let _ = COUNT.try_with(|count| count.set(count.get().map(|count| count + 1)));
    let _ = MARKED.try_with(|marked| OF_MARKED.fetch_add(usize::from(marked.get()), Relaxed));
}

#[allow(unsafe_code)]
// SAFETY: every call goes unchanged to the system's allocator; the counter is a `Cell` that needs no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        unsafe { System.realloc(at, layout, size) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` returns, and how often it asked for memory.
fn allocations<R>(work: impl FnOnce() -> R) -> (R, usize) {
    COUNT.set(Some(0));
    let result = work();
    (result, COUNT.take().unwrap())
}

#[test]
fn counter_counts_each_allocation() {
    let (boxed, count) = allocations(|| vec![Box::new(1)]);
    assert_eq!((*boxed[0], count), (1, 2));
    assert_eq!(allocations(|| boxed.len()).1, 0);
    drop(boxed);
}

fn transform() -> impl GradientTransform<f32> {
    (SkipNonFinite::new(), ClipNorm::new(1.0), Adam::new(1e-2), Schedule::cosine(100, 0.1), WeightAverage::new(0.9))
}

fn values(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + 11) % 64) as f32 / 32.0 - 1.0).collect()
}

/// Batches of 4 samples, the last of fewer, watched and not, in one step and in accumulated ones, forward and
/// reverse: nothing may allocate after one step of each monitor.
fn check<L: Layer<f32>, C: Loss<f32>>(what: &str, network: L, loss: C, data: &Dataset<'_, f32>) {
    let settings = TrainConfig { batch_size: 4, accumulation_steps: 2, ..TrainConfig::default() };
    let mut trainer = Trainer::new(network, loss, transform(), settings).unwrap();
    let mut batch = Batch::new(data, 4);
    let order: Vec<usize> = (0..data.samples()).rev().collect();
    assert_ne!(order.len() % 4, 0, "the last batch is a partial one");
    let mut budget = GradientBudget::new();
    let mut rare = (Every(2, GradientBudget::new()), Statistics::new());
    // The warm-up is the smallest batch there is: no buffer may be made for what came first.
    trainer.step(data, &mut batch, &order[..1], &mut budget).unwrap();
    trainer.step(data, &mut batch, &order[..1], &mut rare).unwrap();
    let mut step = |samples: &[usize], monitor: &mut dyn GradientMonitor<f32>, watched: &str| {
        let (result, count) = allocations(|| trainer.step(data, &mut batch, samples, monitor));
        assert!(result.unwrap().0.is_finite());
        assert_eq!(count, 0, "{what}, {} samples, {watched}", samples.len());
    };
    for samples in order.chunks(4).chain(order.chunks(8)).chain([&order[..1], &order[..]]) {
        step(samples, &mut (), "not watched");
    }
    // A budget's rows are as many as the links of the longest pass: it warms up on that.
    trainer.step(data, &mut batch, &order[..4], &mut budget).unwrap();
    let longest = order.iter().copied().max_by_key(|&sample| length(data, sample)).unwrap();
    trainer.step(data, &mut batch, &[longest], &mut budget).unwrap();
    trainer.step(data, &mut batch, &[longest], &mut rare).unwrap();
    trainer.step(data, &mut batch, &[longest], &mut rare).unwrap();
    let mut step = |samples: &[usize], monitor: &mut dyn GradientMonitor<f32>, watched: &str| {
        let (result, count) = allocations(|| trainer.step(data, &mut batch, samples, monitor));
        assert!(result.unwrap().0.is_finite());
        assert_eq!(count, 0, "{what}, {} samples, {watched}", samples.len());
    };
    for samples in order.chunks(4).chain(order.chunks(8)).chain([&order[..1], &order[..]]) {
        step(samples, &mut budget, "watched by a budget");
        step(samples, &mut rare, "watched now and then");
    }
    assert!(!budget.blocks().is_empty());
}

/// The steps of a sample of [`ragged`](lengths) data, or of any other.
fn length(data: &Dataset<'_, f32>, sample: usize) -> usize {
    lengths(data.samples()).get(sample).copied().unwrap_or(0)
}

fn lengths(samples: usize) -> Vec<usize> {
    (0..samples).map(|i| 1 + (i * 5) % 7).collect()
}

/// `f(x) + g(x)`: a layer of layers by [`Parts`].
#[derive(Debug)]
struct Sum<T: Scalar>(Parts<T, 2>);

impl<T: Scalar> Layer<T> for Sum<T> {
    fn dims(&self) -> Dims {
        self.0.dims()
    }
    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        self.0.memory(shape, mode)
    }
    fn structure(&self) -> Structure<'_, T> {
        self.0.structure()
    }
    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        let (mut pass, [f, g]) = self.0.forward(w, pass);
        let (f, g) = (f.run(pass.x, &mut pass), g.run(pass.x, &mut pass));
        pass.y.iter_mut().zip(f.iter().zip(g)).for_each(|(y, (&f, &g))| *y = f + g);
        pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
    }
    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        let (mut pass, [f, g]) = self.0.backward(w, pass);
        let (f_dx, g_dx) = (f.run(pass.x, pass.dy, &mut pass), g.run(pass.x, pass.dy, &mut pass));
        let Some(dx) = pass.dx else { return };
        dx.iter_mut().zip(f_dx.iter().zip(g_dx)).for_each(|(dx, (&f, &g))| *dx = f + g);
        pass.ctx.report_backward(Factor::Other, pass.dy, dx);
    }
}

#[test]
fn feedforward() {
    let (x, classes) = (values(10 * 5), [0, 1, 2, 1, 0, 2, 2, 1, 0, 1]);
    let data = Dataset::rows(5, &x, Target::Classes(&classes)).unwrap();
    let network = Sequential::input(5).linear(9).activation(Relu).dropout(0.2).linear(7).layer_norm().prelu().linear(3);
    check("an MLP", network.build().unwrap(), CrossEntropy::new(), &data);
    let branch = Sequential::input(6).linear(4).activation(Gelu).linear(6).build().unwrap();
    let residual = Residual::new(branch).unwrap().scale(BranchScale::Learned(0.5)).unwrap();
    let network = Sequential::input(5).linear(6).rms_norm().layer(residual).activation(Tanh).linear(3);
    check("a residual network", network.build().unwrap(), CrossEntropy::new(), &data);
    let parts: [(_, Box<dyn Layer<f32>>); 2] =
        [("f", Box::new(Linear::new(6, 4))), ("g", Box::new(Sequential::input(6).linear(4).tanh().build().unwrap()))];
    let network = Sequential::input(5).linear(6).layer(Sum(Parts::branches(parts).unwrap())).linear(3);
    check("a layer of layers", network.build().unwrap(), CrossEntropy::new(), &data);
    let weighted = data.row_weights(&[1.0, 0.0, 2.0, 1.0, 1.0, 0.5, 1.0, 1.0, 3.0, 1.0]).unwrap();
    check("a linear map", Linear::new(5, 3), CrossEntropy::new(), &weighted);
}

#[test]
fn recurrent() {
    let (x, classes) = (values(10 * 7 * 3), [0, 1, 2, 1, 0, 2, 2, 1, 0, 1]);
    let data = Dataset::sequences(3, 7, &x, Target::Classes(&classes)).unwrap();
    let lstm = Sequential::input(3).recurrent(5, Lstm::new()).last_step().linear(3).build().unwrap();
    check("an LSTM", lstm, CrossEntropy::new(), &data);
    let stacked = Sequential::input(3).recurrent(5, Gru::new()).dropout(0.1).recurrent(4, Elman::<Tanh>::default());
    check("a stack", stacked.mean_over_steps().linear(3).build().unwrap(), CrossEntropy::new(), &data);
    let both = Sequential::input(3).bidirectional(5, Lstm::new()).last_step().linear(3).build().unwrap();
    check("both directions", both, CrossEntropy::new(), &data);
    let targets = values(10 * 7 * 2);
    let data = Dataset::sequences(3, 7, &x, Target::Values(&targets)).unwrap();
    let lstm = Sequential::input(3).recurrent(5, Lstm::new()).linear(2).build().unwrap();
    check("an LSTM with a loss at each step", lstm, MeanSquaredError::new(), &data);
}

/// 200 outputs of the last of 200 steps: the gradient of the loss of 32 samples has 51 kB, that of all rows 10 MB.
#[test]
fn evaluation_has_memory_for_the_outputs_that_exist() {
    let x = values(32 * 200);
    let data = Dataset::sequences(1, 200, &x, Target::Classes(&[3; 32])).unwrap();
    let network = Sequential::input(1).recurrent(4, Elman::new(Tanh)).last_step().linear(200).build().unwrap();
    let mut trainer = Trainer::new(network, CrossEntropy::new(), Sgd::new(0.1), TrainConfig::default()).unwrap();
    LARGEST.set(0);
    trainer.evaluate(&data).unwrap();
    assert!((51_200..2_000_000).contains(&LARGEST.get()), "{}", LARGEST.get());
}

#[test]
fn ragged() {
    let lengths = lengths(10);
    let rows: usize = lengths.iter().sum();
    let (x, classes) = (values(rows * 3), [0, 1, 2, 1, 0, 2, 2, 1, 0, 1]);
    let data = Dataset::ragged(3, &lengths, &x, Target::Classes(&classes)).unwrap();
    let lstm = || Sequential::input(3).recurrent(5, Lstm::new());
    check("a ragged LSTM", lstm().last_step().linear(3).build().unwrap(), CrossEntropy::new(), &data);
    let segments =
        Sequential::input(3).checkpointed(CheckpointInterval::SquareRoot, |b| b.recurrent(5, Lstm::new()).last_step());
    check("checkpointed ragged layers", segments.linear(3).build().unwrap(), CrossEntropy::new(), &data);
    let noisy = Sequential::input(3)
        .recurrent_with(5, Gru::new(), |layer| layer.recurrent_dropout(0.2)?.zoneout(0.1, 0.0))
        .last_step();
    check("a ragged GRU with noise", noisy.linear(3).build().unwrap(), CrossEntropy::new(), &data);
    let both = Sequential::input(3).bidirectional(4, Gru::new()).mean_over_steps().linear(3).build().unwrap();
    check("a ragged GRU in both directions", both, CrossEntropy::new(), &data);
    let per_step: Vec<usize> = (0..rows).map(|row| row % 3).collect();
    let data = Dataset::ragged(3, &lengths, &x, Target::Classes(&per_step)).unwrap();
    check("a ragged LSTM, a class a step", lstm().linear(3).build().unwrap(), CrossEntropy::new(), &data);
    let per_step = values(rows * 2);
    let data = Dataset::ragged(3, &lengths, &x, Target::Values(&per_step)).unwrap();
    check("a ragged LSTM, values a step", lstm().linear(2).build().unwrap(), MeanSquaredError::new(), &data);
}

#[test]
fn truncated() {
    let lengths = lengths(10);
    let rows: usize = lengths.iter().sum();
    let (x, y) = (values(rows * 3), values(rows * 2));
    let data = Dataset::ragged(3, &lengths, &x, Target::Values(&y)).unwrap();
    let network = Sequential::input(3).recurrent(5, Lstm::new()).linear(2).build().unwrap();
    let settings = TrainConfig { batch_size: 4, truncation: Some(Truncation::new(3)), ..TrainConfig::default() };
    let mut trainer = Trainer::new(network, MeanSquaredError::new(), transform(), settings).unwrap();
    let (mut batch, order) = (Batch::new(&data, 4), (0..10).collect::<Vec<usize>>());
    trainer.step(&data, &mut batch, &order[..1], &mut ()).unwrap();
    for samples in order.chunks(4).chain([&order[..]]) {
        let (result, count) = allocations(|| trainer.step(&data, &mut batch, samples, &mut ()));
        assert!(result.unwrap().0.is_finite());
        assert_eq!(count, 0, "{} samples", samples.len());
    }
    // An evaluation allocates as often for three batches in windows as for one.
    let counts = [4, 12].map(|samples| {
        let (x, y) = (values(samples * 7 * 3), values(samples * 7 * 2));
        let data = Dataset::sequences(3, 7, &x, Target::Values(&y)).unwrap();
        trainer.evaluate(&data).unwrap();
        allocations(|| trainer.evaluate(&data).map(drop).unwrap()).1
    });
    assert_eq!(counts[0], counts[1]);
}

/// Wider gradients later, so that histograms get more buckets: the buffers hold all of them from the start.
#[cfg(feature = "tensorboard")]
#[test]
fn event_file() {
    let (x, y) = (values(10 * 4 * 3), values(10 * 4));
    let data = Dataset::sequences(3, 4, &x, Target::Values(&y)).unwrap();
    let network = Sequential::input(3).recurrent(5, Lstm::new()).linear(1).build().unwrap();
    let settings = TrainConfig { batch_size: 4, accumulation_steps: 2, ..TrainConfig::default() };
    let mut trainer = Trainer::new(network, MeanSquaredError::new(), transform(), settings).unwrap();
    let (mut batch, order) = (Batch::new(&data, 4), (0..10).collect::<Vec<usize>>());
    let mut board = chainrule::monitor::TensorBoard::new(std::io::sink()).histograms_every(2);
    trainer.step(&data, &mut batch, &order[..1], &mut board).unwrap();
    for samples in [&order[..4], &order[4..8], &order[..8], &order[..], &order[..2]] {
        let (result, count) = allocations(|| trainer.step(&data, &mut batch, samples, &mut board));
        assert!(result.unwrap().0.is_finite());
        assert_eq!(count, 0, "{} samples", samples.len());
    }
    // Values that are not finite have a tag of their own.
    trainer.parameters_mut()[0] = f32::NAN;
    for _ in 0..2 {
        let (result, count) = allocations(|| trainer.step(&data, &mut batch, &order[..4], &mut board));
        assert!(result.unwrap().0.is_nan());
        assert_eq!(count, 0, "not finite");
    }
}

/// An activation that marks the threads it runs on.
#[derive(Clone, Debug)]
struct Marking;

impl Activation for Marking {
    fn value<T: Scalar>(&self, z: T) -> T {
        MARKED.set(true);
        z * scalar(0.5)
    }
    fn derivative<T: Scalar>(&self, _z: T, _y: T) -> T {
        scalar(0.5)
    }
}

/// Wide layers, that threads divide one by one, and deep narrow ones, that they go through together.
#[test]
fn several_threads() {
    let wide = |network: Builder<f32>| network.linear(300).activation(Marking).linear(300).activation(Relu).linear(40);
    let deep = |network| (0..30).fold(network, |network: Builder<f32>, _| network.linear(40).activation(Marking));
    let (x, y) = (values(64 * 40), values(64));
    let data = Dataset::rows(40, &x, Target::Values(&y)).unwrap();
    for (what, network) in [("wide", wide(Sequential::input(40))), ("deep", deep(Sequential::input(40)))] {
        let settings = TrainConfig { batch_size: 64, threads: 3, ..TrainConfig::default() };
        let mut trainer =
            Trainer::new(network.linear(1).build().unwrap(), MeanSquaredError::new(), transform(), settings).unwrap();
        let (mut batch, order) = (Batch::new(&data, 64), (0..64).collect::<Vec<usize>>());
        let mut step = |samples: &[usize]| trainer.step(&data, &mut batch, samples, &mut ()).unwrap();
        step(&order[..1]);
        for samples in [&order[..], &order[..40], &order[..], &order[..9]] {
            let before = OF_MARKED.load(Relaxed);
            step(samples);
            assert_eq!(OF_MARKED.load(Relaxed), before, "{what}, {} samples", samples.len());
        }
        let before = OF_MARKED.load(Relaxed);
        drop(std::hint::black_box(Box::new(1)));
        assert_eq!(OF_MARKED.load(Relaxed), before + 1, "this thread is marked, and counts");
        MARKED.set(false);
    }
}

#[test]
fn step_in_shards() {
    let rows = Sequential::input(3).linear(8);
    let steps = Sequential::input(3).recurrent(8, Lstm::new()).last_step();
    // A pass for each shard, and passes over several.
    for (length, builder) in [(1, rows.batch_norm()), (1, Sequential::input(3).linear(8)), (5, steps)] {
        let network = builder.activation(Tanh).linear(2).build().unwrap();
        let settings = TrainConfig { batch_size: 16, accumulation_steps: 2, ..TrainConfig::default() };
        let mut trainer = Trainer::new(network, MeanSquaredError::new(), transform(), settings).unwrap();
        trainer.set_data_parallel(DataParallel::new(()).shards(4)).unwrap();
        let (x, y) = (values(40 * length * 3), values(40 * 2));
        let data = Dataset::sequences(3, length, &x, Target::Values(&y)).unwrap();
        let (mut batch, order) = (Batch::new(&data, 16), (0..40).collect::<Vec<usize>>());
        let mut step = |samples: &[usize]| allocations(|| trainer.step(&data, &mut batch, samples, &mut ()).unwrap()).1;
        step(&order[..32]);
        assert_eq!([&order[..16], &order[..32], &order[..9]].map(&mut step), [0; 3]);
        // With records, for which spikes of the gradient are looked for.
        let mut records = Records(0);
        let step =
            |samples: &[usize]| allocations(|| trainer.step(&data, &mut batch, samples, &mut records).unwrap()).1;
        assert_eq!([&order[..16], &order[..32], &order[..9]].map(step), [0; 3]);
        assert_eq!(records.0, 3);
    }
}

/// Counts the records of updates.
struct Records(usize);

impl GradientMonitor<f32> for Records {
    fn event(&mut self, event: &Event<'_, f32>) {
        self.0 += usize::from(matches!(event, Event::Step(_)));
    }
}

/// By hand: passes of any size up to the capacity, from a carried state too, and inference.
#[test]
fn workspace_by_hand() {
    let network = Sequential::<f32>::input(3).recurrent(5, Lstm::new()).activation(Tanh).linear(2).build().unwrap();
    let w = chainrule::layer::initialize::<f32>(&network, 3).unwrap();
    let mut workspace = Workspace::new(&network, BatchShape::sequences(4, 6)).unwrap();
    let mut small = Workspace::for_inference(&network, BatchShape::sequences(4, 6)).unwrap();
    workspace.compute_input_gradient(true);
    workspace.compute_state_gradient(true);
    let x = values(4 * 6 * 3);
    let ragged = [6, 4, 4, 1];
    let batch_shapes = [
        BatchShape::sequences(1, 1),
        BatchShape::sequences(4, 6),
        BatchShape::sequences(3, 2),
        BatchShape::ragged(&ragged),
    ];
    let mut pass = |shape: BatchShape<'_>| {
        let x = &x[..shape.rows() * 3];
        let output = workspace.forward(&w, x, shape).unwrap();
        output.dy.fill(0.5);
        workspace.final_state_gradient_mut().fill(0.1);
        workspace.backward(&w).unwrap();
        workspace.carry_state();
        let output = workspace.forward(&w, x, shape).unwrap();
        output.dy.fill(0.5);
        workspace.accumulate(&w).unwrap();
        workspace.clear_state();
        workspace.infer(&w, x, shape).unwrap();
        small.infer(&w, x, shape).unwrap();
        small.carry_state();
        small.infer(&w, x, shape).unwrap();
        small.clear_state();
    };
    pass(batch_shapes[0]);
    for shape in batch_shapes {
        let ((), count) = allocations(|| pass(shape));
        assert_eq!(count, 0, "{shape:?}");
    }
}

#[test]
fn predict_one_sample() {
    let network = Sequential::input(4).layer(Linear::new(4, 8)).layer(ActivationLayer::new(8, Relu)).linear(2).build();
    let mut trainer =
        Trainer::new(network.unwrap(), MeanSquaredError::new(), Sgd::new(0.1), TrainConfig::default()).unwrap();
    let x = values(4);
    let data = Dataset::rows(4, &x, None).unwrap();
    let mut predict = || {
        let mut y = [0.0; 2];
        trainer.predict_into(&data, &mut y).unwrap();
        y[0]
    };
    let first = predict();
    assert_eq!(allocations(&mut predict), (first, 0));
    let recurrent = Recurrent::new(4, 3, Lstm::new());
    let both = Bidirectional::new::<f32>(recurrent.clone(), recurrent).unwrap();
    let mut trainer = Trainer::new(both, MeanSquaredError::new(), Sgd::new(0.1), TrainConfig::default()).unwrap();
    let mut predict = || {
        let mut y = [0.0; 6];
        trainer.predict_into(&data, &mut y).unwrap();
        y[0]
    };
    let first = predict();
    assert_eq!(allocations(&mut predict), (first, 0));
}
