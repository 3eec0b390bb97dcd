//! Results have the same bits for any number of threads, with and without monitors, and a step allocates nothing.

use crate::numbers::numbers;
use chainrule::{
    BatchShape, Block, Builder, Error, GradientMonitor, Layer, Role, Scalar,
    activation::{Gelu, Relu, Tanh},
    dataset::{Batch, Dataset},
    layer::{
        ActivationLayer, Backward, Dims, DropoutKey, Forward, Hints, LayerNorm, Linear, MemorySizes, Mode, PRelu,
        Sequential, initialize,
    },
    loss::{MeanSquaredError, Target},
    monitor::GradientBudget,
    rand_core::Rng,
    recurrent::{Bidirectional, Elman, Gru, GruVariant, Lstm, Recurrent},
    scalar,
    trainer::{TrainConfig, Trainer},
    transform::{Adam, ClipNorm},
    workspace::Workspace,
};

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Output, input gradient and parameter gradient of a pass on some threads.
fn pass<T: Scalar>(network: &Sequential<T>, shape: BatchShape<'_>, threads: usize, watched: bool) -> [Vec<T>; 3] {
    let w = initialize(network, 3).unwrap();
    let mut workspace = Workspace::new(network, shape).unwrap();
    workspace.set_threads(threads).unwrap();
    workspace.compute_input_gradient(true);
    let mut budget = GradientBudget::new();
    let monitor: &mut dyn GradientMonitor<T> = if watched { &mut budget } else { &mut () };
    let x = numbers::<T>(shape.rows() * network.dims().input);
    let output = workspace.forward_with(&w, &x, shape, Mode::Train, monitor).unwrap();
    let y = output.y.to_vec();
    output.dy.copy_from_slice(&numbers(y.len()));
    let dw = workspace.backward_with(&w, monitor).unwrap().to_vec();
    [y, workspace.input_gradient().to_vec(), dw]
}

fn networks<T: Scalar>() -> Vec<(&'static str, Sequential<T>)> {
    let wide = || Sequential::input(97).linear(203);
    let both =
        Bidirectional::new::<T>(Recurrent::new(97, 65, Lstm::new()), Recurrent::new(97, 41, Elman::new(Tanh))).unwrap();
    vec![
        ("relu", wide().activation(Relu).linear(150).build().unwrap()),
        ("gelu", wide().activation(Gelu).layer_norm().linear(150).build().unwrap()),
        ("elman", Sequential::input(97).recurrent(130, Elman::new(Tanh)).linear(5).build().unwrap()),
        ("lstm", Sequential::input(97).recurrent(66, Lstm::new()).last_step().linear(5).build().unwrap()),
        ("gru", Sequential::input(97).recurrent(64, Gru::new()).build().unwrap()),
        (
            "gru, reset before",
            Sequential::input(97).recurrent(64, Gru::new().variant(GruVariant::ResetBefore)).build().unwrap(),
        ),
        ("both ways", Sequential::input(97).layer(both).build().unwrap()),
    ]
}

fn same_bits<T: Scalar>() {
    let lengths: Vec<usize> = (0..37).map(|i| 40 - i).collect();
    let batch_shapes = [BatchShape::sequences(37, 12), BatchShape::ragged(&lengths), BatchShape::batch(600)];
    for (name, network) in networks::<T>() {
        for shape in batch_shapes {
            let alone = pass(&network, shape, 1, false);
            for (threads, watched) in [(2, true), (3, false), (5, false)] {
                assert!(pass(&network, shape, threads, watched) == alone, "{name}, {threads} threads, {shape:?}");
            }
        }
    }
}

#[test]
fn network_on_any_number_of_threads_gives_the_same_bits_in_f32() {
    same_bits::<f32>();
}

#[test]
fn network_on_any_number_of_threads_gives_the_same_bits_in_f64() {
    same_bits::<f64>();
}

/// `y = s x` with one parameter. It adds to dw even if the gradient is not wanted. It records the smallest number of
/// rows of a call, forward and backward.
#[derive(Debug, Default)]
struct Scale {
    rows: [AtomicUsize; 2],
}

impl<T: Scalar> Layer<T> for Scale {
    fn dims(&self) -> Dims {
        Dims::new(40, 40, 1)
    }
    fn initialize(&self, w: &mut [T], _rng: &mut dyn Rng) -> Result<(), Error> {
        w.fill(scalar(1.25));
        Ok(())
    }
    fn blocks(&self, visit: &mut dyn FnMut(Block<'_>)) {
        visit(Block::new("scale", 0, [1, 1], Role::Gain));
    }
    fn forward(&self, w: &[T], pass: Forward<'_, T>) {
        self.rows[0].fetch_min(pass.ctx.shape.rows(), Relaxed);
        for (&x, y) in pass.x.iter().zip(pass.y) {
            *y = w[0] * x;
        }
    }
    fn backward(&self, w: &[T], pass: Backward<'_, T>) {
        self.rows[1].fetch_min(pass.ctx.shape.rows(), Relaxed);
        for (&x, &dy) in pass.x.iter().zip(pass.dy) {
            pass.dw[0] += x * dy;
        }
        for (dx, &dy) in pass.dx.unwrap_or_default().iter_mut().zip(pass.dy) {
            *dx = w[0] * dy;
        }
    }
}

/// Deep and narrow networks, whose spans of layers run in parallel over samples. They have every kind of layer that a
/// span can contain, and some that it cannot.
fn deep_and_narrow<T: Scalar>() {
    let scale: Arc<Scale> = Arc::default();
    let branch = |network: Builder<T>| (0..15).fold(network, |network, _| network.linear(40).activation(Gelu));
    let mut builder = Sequential::<T>::input(40);
    for i in 0..12 {
        builder = builder.linear(40 + i % 3).activation(Tanh).dropout(0.1).prelu().linear(40);
        builder = match i {
            2 | 3 => builder.layer_norm(),
            6 => builder.residual(branch),
            _ => builder.layer(scale.clone()),
        };
    }
    let network = builder.linear(7).build().unwrap();
    let w = initialize(&network, 5).unwrap();
    let x = numbers::<T>(61 * 40);
    let run = |threads: usize, capacity: BatchShape<'_>, batch: usize, wants: bool, frozen: &[&str]| {
        let mut workspace = Workspace::new(&network, capacity).unwrap();
        workspace.compute_input_gradient(wants);
        frozen.iter().for_each(|name| workspace.freeze(name).unwrap());
        let mut results = Vec::new();
        for step in 0..4 {
            // The number of threads may change between steps, and between the passes of a step.
            workspace.set_threads(if step == 2 { 1 } else { threads }).unwrap();
            workspace.set_dropout_key(DropoutKey::new(9, step).from_sample(100));
            let mode = if step == 1 { Mode::Evaluate } else { Mode::Train };
            let output = workspace.forward_with(&w, &x[..batch * 40], BatchShape::batch(batch), mode, &mut ()).unwrap();
            results.extend_from_slice(output.y);
            let dy = numbers(output.y.len());
            output.dy.copy_from_slice(&dy);
            if step == 3 {
                workspace.set_threads(2).unwrap();
            }
            let gradient = if step == 1 { workspace.accumulate(&w) } else { workspace.backward(&w) };
            results.extend_from_slice(gradient.unwrap());
            results.extend_from_slice(workspace.input_gradient());
        }
        results
    };
    let frozen: [&[&str]; 3] =
        [&[], &["0", "11.scale", "24", "64.weight"], &["0", "3", "4", "5", "6", "9", "10", "60"]];
    for (frozen, capacity) in
        frozen.into_iter().zip([BatchShape::batch(61), BatchShape::sequences(61, 2), BatchShape::batch(70)])
    {
        for (batch, wants) in [(61, true), (61, false), (40, false), (9, true), (1, false)] {
            let alone = run(1, capacity, batch, wants, frozen);
            assert!(alone.iter().all(|value| value.is_finite()));
            for threads in [2, 5] {
                scale.rows.iter().for_each(|rows| rows.store(usize::MAX, Relaxed));
                let together = run(threads, capacity, batch, wants, frozen);
                assert!(together == alone, "{threads} threads, {batch} samples, {frozen:?}");
                let parted = scale.rows.iter().all(|rows| rows.load(Relaxed) < batch);
                assert!(batch < 40 || parted, "{threads} threads went through the layers one by one");
            }
        }
    }
}

#[test]
fn deep_narrow_network_on_any_number_of_threads_gives_the_same_bits() {
    deep_and_narrow::<f32>();
    deep_and_narrow::<f64>();
}

#[test]
fn trainer_on_several_threads_gives_the_same_parameters() {
    let run = |threads: usize| {
        let network = Sequential::<f32>::input(64).recurrent(80, Lstm::new()).last_step().linear(3).build().unwrap();
        let (x, y) = (numbers(96 * 20 * 64), numbers(96 * 3));
        let data = Dataset::sequences(64, 20, &x, Target::Values(&y)).unwrap();
        let settings = TrainConfig { epochs: 2, threads, ..TrainConfig::default() };
        let chain = (ClipNorm::new(0.1), Adam::new(1e-3));
        let mut trainer = Trainer::new(network, MeanSquaredError::new(), chain, settings).unwrap();
        trainer.fit(&data).unwrap();
        trainer.parameters().to_vec()
    };
    let alone = run(1);
    assert!(run(2) == alone && run(4) == alone);
}

#[test]
fn zero_threads_are_an_error() {
    let network = || Sequential::<f32>::input(2).linear(1).build().unwrap();
    let mut workspace = Workspace::new(network(), BatchShape::batch(1)).unwrap();
    assert!(matches!(workspace.set_threads(0), Err(Error::Parameter { found: 0.0, .. })));
    let settings = TrainConfig { threads: 0, ..TrainConfig::default() };
    assert!(Trainer::new(network(), MeanSquaredError::new(), Adam::new(0.1), settings).is_err());
}

/// A trainer can be sent to another thread with its thread pool.
#[test]
fn trainer_sent_to_another_thread_runs_a_step() {
    let network = Sequential::<f32>::input(300).linear(300).build().unwrap();
    let settings = TrainConfig { threads: 2, batch_size: 64, ..TrainConfig::default() };
    let mut trainer = Trainer::new(network, MeanSquaredError::new(), Adam::new(0.1), settings).unwrap();
    let (x, y) = (numbers::<f32>(64 * 300), numbers::<f32>(64 * 300));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let data = Dataset::rows(300, &x, Target::Values(&y)).unwrap();
            let mut batch = Batch::new(&data, 64);
            let order: Vec<usize> = (0..64).collect();
            trainer.step(&data, &mut batch, &order, &mut ()).unwrap();
        });
    });
}

/// Multiplies by ½, and saves one ½ for each value, in training mode only.
#[derive(Debug)]
struct Halve(usize);

impl<T: Scalar> Layer<T> for Halve {
    fn dims(&self) -> Dims {
        Dims::new(self.0, self.0, 0)
    }

    fn memory(&self, shape: BatchShape<'_>, mode: Mode) -> MemorySizes {
        MemorySizes::new(if mode == Mode::Train { shape.rows() * self.0 } else { 0 }, 0, 0)
    }

    fn hints(&self) -> Hints {
        Hints::NONE.ignores_x().ignores_y().saved_per_row()
    }

    fn forward(&self, _w: &[T], pass: Forward<'_, T>) {
        pass.saved.fill(scalar(0.5));
        pass.y.iter_mut().zip(pass.x).for_each(|(y, &x)| *y = x * scalar(0.5));
    }

    fn backward(&self, _w: &[T], pass: Backward<'_, T>) {
        let Some(dx) = pass.dx else { return };
        assert_eq!(pass.saved.len(), if pass.ctx.mode == Mode::Train { dx.len() } else { 0 });
        for (i, (dx, &dy)) in dx.iter_mut().zip(pass.dy).enumerate() {
            *dx = dy * pass.saved.get(i).copied().unwrap_or(scalar(0.5));
        }
    }
}

#[test]
fn layer_that_saves_in_training_only_runs_on_threads() {
    let mut network = Sequential::<f32>::input(64);
    for _ in 0..30 {
        network = network.linear(64).activation(Tanh).layer(Halve(64));
    }
    let network = network.linear(3).build().unwrap();
    let (w, x, shape) = (initialize(&network, 1).unwrap(), numbers::<f32>(64 * 40), BatchShape::batch(40));
    let gradient = |mode: Mode, threads: usize| {
        let mut workspace = Workspace::new(&network, shape).unwrap();
        workspace.set_threads(threads).unwrap();
        workspace.forward_with(&w, &x, shape, mode, &mut ()).unwrap().dy.fill(1.0);
        workspace.backward(&w).unwrap().to_vec()
    };
    let alone = gradient(Mode::Train, 1);
    for (mode, threads) in [(Mode::Train, 2), (Mode::Train, 3), (Mode::Evaluate, 1), (Mode::Evaluate, 2)] {
        assert!(gradient(mode, threads) == alone, "{mode:?}, {threads} threads");
    }
}

/// Passes smaller than the workspace and frozen blocks, with a recurrent layer, for which each thread has its own
/// memory.
#[test]
fn pass_smaller_than_the_workspace_gives_the_same_bits() {
    let networks = networks::<f32>();
    for (name, network) in networks.iter().filter(|(name, _)| !["relu", "gelu"].contains(name)) {
        let w = initialize(network, 3).unwrap();
        let lengths: Vec<usize> = (0..33).map(|i| 30 - i / 2).collect();
        for frozen in [None, Some("weight"), Some("recurrent")] {
            let run = |threads: usize| {
                let mut workspace = Workspace::new(network, BatchShape::sequences(40, 30)).unwrap();
                workspace.set_threads(threads).unwrap();
                let blocks: Vec<String> = workspace.blocks().iter().map(|block| block.name.to_string()).collect();
                for block in blocks.iter().filter(|name| frozen.is_some_and(|part| name.ends_with(part))) {
                    workspace.freeze(block).unwrap();
                }
                let mut results = Vec::new();
                for shape in [
                    BatchShape::ragged(&lengths),
                    BatchShape::sequences(31, 9),
                    BatchShape::batch(40),
                    BatchShape::sequences(2, 30),
                ] {
                    let x = numbers::<f32>(shape.rows() * 97);
                    let output = workspace.forward(&w, &x, shape).unwrap();
                    let dy = numbers(output.y.len());
                    output.dy.copy_from_slice(&dy);
                    results.extend_from_slice(workspace.backward(&w).unwrap());
                }
                results
            };
            let alone = run(1);
            assert!(alone.iter().all(|value| value.is_finite()));
            for threads in [2, 7] {
                assert!(run(threads) == alone, "{name}, {threads} threads, frozen: {frozen:?}");
            }
        }
    }
}

/// A monitor that runs its own workspace without threads, within a step of a trainer with threads.
struct Beside {
    network: Sequential<f32>,
    workspace: Workspace<f32, Sequential<f32>>,
    gradients: Vec<Vec<f32>>,
}

impl GradientMonitor<f32> for Beside {
    fn event(&mut self, event: &chainrule::monitor::Event<'_, f32>) {
        if !matches!(event, chainrule::monitor::Event::Update { .. }) {
            return;
        }
        let (w, shape) = (initialize(&self.network, 3).unwrap(), BatchShape::sequences(32, 20));
        let x = numbers(shape.rows() * 64);
        self.workspace.forward(&w, &x, shape).unwrap().dy.fill(1.0);
        self.gradients.push(self.workspace.backward(&w).unwrap().to_vec());
    }
}

#[test]
fn workspace_without_threads_runs_within_a_threaded_step() {
    let network = || Sequential::<f32>::input(64).recurrent(80, Gru::new()).linear(300).linear(300).build().unwrap();
    let run = |threads: usize| {
        let workspace = Workspace::new(network(), BatchShape::sequences(32, 20)).unwrap();
        let mut beside = Beside { network: network(), workspace, gradients: Vec::new() };
        let settings = TrainConfig { batch_size: 4, threads, ..TrainConfig::default() };
        let small = Sequential::<f32>::input(64).linear(3).build().unwrap();
        let mut trainer = Trainer::new(small, MeanSquaredError::new(), Adam::new(0.1), settings).unwrap();
        let (x, y) = (numbers::<f32>(4 * 64), numbers::<f32>(4 * 3));
        let data = Dataset::rows(64, &x, Target::Values(&y)).unwrap();
        let mut batch = Batch::new(&data, 4);
        trainer.step(&data, &mut batch, &[0, 1, 2, 3], &mut beside).unwrap();
        assert_eq!(beside.gradients.len(), 1);
        beside.gradients
    };
    assert!(run(4) == run(1));
}

/// A network larger than the caches prefetches the parameters of the next layers. It gives the same bits as a sequence
/// of small networks, which do not prefetch.
#[test]
fn network_larger_than_the_caches_gives_the_same_bits() {
    let add = |network: &mut Sequential<f64>| {
        for i in 0..4 {
            network.push(Linear::new(128, 128)).unwrap();
            if i == 1 {
                network.push(LayerNorm::new(128)).unwrap();
            }
            network.push(ActivationLayer::new(128, Tanh)).unwrap();
            network.push(PRelu::new(128)).unwrap();
        }
    };
    let run = |nested: bool, threads: usize, frozen: bool| {
        let mut network = Sequential::<f64>::new(128);
        for _ in 0..9 {
            if nested {
                let mut part = Sequential::new(128);
                add(&mut part);
                network.push(part).unwrap();
            } else {
                add(&mut network);
            }
        }
        let w = initialize(&network, 5).unwrap();
        assert!(w.len() * 8 > 4 << 20);
        let mut workspace = Workspace::new(&network, BatchShape::batch(24)).unwrap();
        workspace.set_threads(threads).unwrap();
        if frozen && !nested {
            workspace.freeze("0").unwrap();
        }
        let x = numbers::<f64>(24 * 128);
        let output = workspace.forward(&w, &x, BatchShape::batch(24)).unwrap();
        let y = output.y.to_vec();
        output.dy.copy_from_slice(&numbers(y.len()));
        let gradient = workspace.backward(&w).unwrap()[if frozen { 128 * 129 } else { 0 }..].to_vec();
        [y, gradient]
    };
    let whole = run(false, 1, false);
    assert!(whole.iter().flatten().all(|value| value.is_finite()));
    assert!(run(true, 1, false) == whole, "as a row of smaller ones");
    assert!(run(false, 3, false) == whole, "on three threads");
    assert!(run(false, 2, true)[1] == whole[1][128 * 129..], "with a frozen layer");
}

#[test]
fn ragged_batch_on_any_number_of_threads_gives_the_same_parameters() {
    let lengths: Vec<usize> = (0..48).map(|i| 1 + i * 7 % 31).collect();
    let rows: usize = lengths.iter().sum();
    let run = |threads: usize| {
        let network = Sequential::<f32>::input(90).recurrent(5, Elman::new(Tanh)).last_step().build().unwrap();
        let (x, y) = (numbers(rows * 90), numbers(48 * 5));
        let data = Dataset::ragged(90, &lengths, &x, Target::Values(&y)).unwrap();
        let settings = TrainConfig { epochs: 2, batch_size: 40, threads, ..TrainConfig::default() };
        let mut trainer = Trainer::new(network, MeanSquaredError::new(), Adam::new(1e-2), settings).unwrap();
        trainer.fit(&data).unwrap();
        trainer.parameters().to_vec()
    };
    let alone = run(1);
    assert!(run(2) == alone && run(5) == alone);
}
