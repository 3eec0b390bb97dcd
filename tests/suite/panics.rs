//! A panic in a part of a user's own, on any thread, leaves a usable workspace and a trainer with all its threads.

use crate::{numbers::numbers, sources::sources};
use chainrule::{
    BatchShape, Error, GradientMonitor, Layer, Mode, Scalar,
    activation::{Activation, Tanh},
    dataset::{Batch, Dataset},
    distributed::DataParallel,
    layer::{Backward, Dims, DropoutKey, Forward, Hints, Sequential, initialize},
    loss::{Loss, MeanSquaredError, Reduction, Target},
    model::Model,
    monitor::Link,
    recurrent::{Elman, Recurrent},
    scalar,
    trainer::{TrainConfig, Trainer, Truncation},
    transform::{Adam, Sgd},
    workspace::Workspace,
};
use std::{
    any::Any,
    collections::HashSet,
    mem::forget,
    panic::{AssertUnwindSafe, catch_unwind, panic_any},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, ThreadId},
};

/// A payload whose `Drop` panics.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic!("a payload was dropped");
        }
    }
}

/// Not armed.
const NEVER: usize = usize::MAX;

/// Panics at a number of calls, and at all calls after it.
#[derive(Clone, Debug)]
struct Fuse(Arc<AtomicUsize>);

impl Default for Fuse {
    fn default() -> Self {
        Fuse(Arc::new(AtomicUsize::new(NEVER)))
    }
}

impl Fuse {
    fn burn(&self) {
        if self.0.load(Relaxed) == NEVER {
            return;
        }
        if self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_err() {
            panic_any(Bomb);
        }
    }

    /// What `call` panics with once `calls` calls are done. Nothing panics afterwards.
    fn blow<R>(&self, calls: usize, call: impl FnOnce() -> R) -> Box<dyn Any + Send> {
        self.0.store(calls, Relaxed);
        let result = catch_unwind(AssertUnwindSafe(call));
        self.0.store(NEVER, Relaxed);
        result.err().expect("a panic reaches the caller")
    }
}

/// `y = x`, with a fuse forward and one backward.
#[derive(Clone, Debug, Default)]
struct Identity {
    width: usize,
    forward: Fuse,
    backward: Fuse,
}

impl<T: Scalar> Layer<T> for Identity {
    fn dims(&self) -> Dims {
        Dims::new(self.width, self.width, 0)
    }

    fn hints(&self) -> Hints {
        Hints::NONE.ignores_x().ignores_y()
    }

    fn forward(&self, _w: &[T], pass: Forward<'_, T>) {
        self.forward.burn();
        pass.y.copy_from_slice(pass.x);
    }

    fn backward(&self, _w: &[T], pass: Backward<'_, T>) {
        self.backward.burn();
        if let Some(dx) = pass.dx {
            dx.copy_from_slice(pass.dy);
        }
    }
}

/// Half of z, with a fuse; it notes the threads that it runs on.
#[derive(Clone, Debug, Default)]
struct Half {
    value: Fuse,
    derivative: Fuse,
    threads: Arc<Mutex<HashSet<ThreadId>>>,
}

impl Activation for Half {
    fn value<T: Scalar>(&self, z: T) -> T {
        self.value.burn();
        self.threads.lock().unwrap().insert(thread::current().id());
        z * scalar(0.5)
    }

    fn derivative<T: Scalar>(&self, _z: T, _y: T) -> T {
        self.derivative.burn();
        scalar(0.5)
    }
}

/// Output, gradient and input gradient of a pass, the gradient by `accumulate` if asked for.
fn pass<L: Layer<f32>>(
    workspace: &mut Workspace<f32, L>,
    w: &[f32],
    shape: BatchShape<'_>,
    accumulates: bool,
) -> [Vec<f32>; 3] {
    let x = numbers(shape.rows() * workspace.network().dims().input);
    let output = workspace.forward(w, &x, shape).unwrap();
    let y = output.y.to_vec();
    output.dy.copy_from_slice(&numbers(y.len()));
    let gradient = if accumulates { workspace.accumulate(w) } else { workspace.backward(w) }.unwrap().to_vec();
    [y, gradient, workspace.input_gradient().to_vec()]
}

fn workspace<L: Layer<f32>>(network: L, shape: BatchShape<'_>, threads: usize) -> Workspace<f32, L> {
    let mut workspace = Workspace::new(network, shape).unwrap();
    workspace.set_threads(threads).unwrap();
    workspace.compute_input_gradient(true);
    workspace
}

/// After each panic the next pass gives the bits of a new workspace, on one thread and on several.
fn check(network: &Sequential<f32>, shape: BatchShape<'_>, fuses: [&Fuse; 2]) {
    let w = initialize(network, 3).unwrap();
    let expected = pass(&mut workspace(network, shape, 1), &w, shape, false);
    for threads in [1, 4] {
        let mut workspace = workspace(network, shape, threads);
        for (backward, fuse) in fuses.into_iter().enumerate() {
            for calls in [0, 1, 2, 0] {
                pass(&mut workspace, &w, shape, false);
                let panic = fuse.blow(calls, || -> () {
                    loop {
                        pass(&mut workspace, &w, shape, false);
                    }
                });
                assert!(panic.is::<Bomb>(), "the payload is that of the layer");
                forget(panic);
                let what = format!("{threads} threads, backward: {backward}, {calls} calls");
                let order = workspace.backward(&w).map(|_| ());
                assert!(matches!(order, Err(Error::InvalidState { .. })), "no backward pass after a panic: {what}");
                let emptied = workspace.gradient().is_empty();
                // What a backward pass that panicked left of the gradient is not added to.
                assert!(pass(&mut workspace, &w, shape, emptied) == expected, "{what}");
                assert!(pass(&mut workspace, &w, shape, false) == expected, "{what}");
            }
        }
    }
}

#[test]
fn layer_that_panics_leaves_a_usable_workspace() {
    let identity = Identity { width: 40, ..Identity::default() };
    let mut network = Sequential::<f32>::input(40);
    for i in 0..16 {
        network = network.linear(40).activation(Tanh);
        if i == 7 {
            network = network.layer(identity.clone());
        }
    }
    let network = network.linear(7).build().unwrap();
    check(&network, BatchShape::batch(96), [&identity.forward, &identity.backward]);
}

#[test]
fn activation_that_panics_in_a_cell_leaves_a_usable_workspace() {
    let half = Half::default();
    let recurrent = Recurrent::new(24, 64, Elman::new(half.clone()));
    let network = Sequential::<f32>::input(24).layer(recurrent).linear(5).build().unwrap();
    check(&network, BatchShape::sequences(64, 8), [&half.value, &half.derivative]);
}

#[test]
fn activation_that_panics_in_a_wide_layer_leaves_a_usable_workspace() {
    let half = Half::default();
    let network = Sequential::<f32>::input(40).linear(512).activation(half.clone()).linear(5).build().unwrap();
    check(&network, BatchShape::batch(128), [&half.value, &half.derivative]);
}

/// A monitor with a fuse in each event.
#[derive(Default)]
struct Watch {
    forward: Fuse,
    backward: Fuse,
}

impl GradientMonitor<f32> for Watch {
    fn forward(&mut self, _at: &Link<'_>, _x: &[f32], _y: &[f32]) {
        self.forward.burn();
    }

    fn backward(&mut self, _at: &Link<'_>, _dy: &[f32], _dx: &[f32]) {
        self.backward.burn();
    }
}

#[test]
fn monitor_that_panics_leaves_a_usable_workspace() {
    let network = Sequential::<f32>::input(24).recurrent(64, Elman::new(Tanh)).linear(5).build().unwrap();
    let (w, shape) = (initialize(&network, 3).unwrap(), BatchShape::sequences(64, 8));
    let expected = pass(&mut workspace(&network, shape, 1), &w, shape, false);
    for threads in [1, 4] {
        let (mut workspace, mut watch) = (workspace(&network, shape, threads), Watch::default());
        for (backward, fuse) in [(false, watch.forward.clone()), (true, watch.backward.clone())] {
            for calls in [0, 5] {
                forget(fuse.blow(calls, || {
                    let x = numbers(shape.rows() * 24);
                    let mode = chainrule::layer::Mode::Train;
                    workspace.forward_with(&w, &x, shape, mode, &mut watch).unwrap().dy.fill(1.0);
                    workspace.backward_with(&w, &mut watch).unwrap();
                }));
                // What a backward pass that panicked left of the gradient is not added to.
                assert!(pass(&mut workspace, &w, shape, backward) == expected, "{threads} threads, {calls} calls");
            }
        }
    }
}

/// A monitor that panics before the first layer of a pass.
struct Refuses;

impl GradientMonitor<f32> for Refuses {
    fn begin_pass(&mut self) {
        panic!("no pass");
    }
}

/// The saved values of one pass and the input of another give no gradient.
#[test]
fn pass_that_did_not_begin_is_followed_by_no_backward_pass() {
    let network = Sequential::<f32>::input(24).linear(8).activation(Tanh).linear(5).build().unwrap();
    let (w, shape) = (initialize(&network, 3).unwrap(), BatchShape::batch(16));
    let (mut workspace, x) = (workspace(&network, shape, 1), numbers(shape.rows() * 24));
    workspace.forward(&w, &x, shape).unwrap();
    let other: Vec<f32> = x.iter().map(|x| -2.0 * x).collect();
    let mode = chainrule::layer::Mode::Train;
    let begun =
        catch_unwind(AssertUnwindSafe(|| workspace.forward_with(&w, &other, shape, mode, &mut Refuses).map(drop)));
    assert!(begun.is_err());
    assert!(matches!(workspace.backward(&w), Err(Error::InvalidState { .. })));
}

/// A backward pass reads the state from which its forward pass began: another state needs another forward pass.
#[test]
fn state_that_was_set_is_followed_by_a_forward_pass() {
    let network = Sequential::<f32>::input(24).recurrent(8, Elman::new(Tanh)).linear(5).build().unwrap();
    let (w, shape) = (initialize(&network, 3).unwrap(), BatchShape::sequences(4, 3));
    let (mut workspace, x) = (workspace(&network, shape, 1), numbers(shape.rows() * 24));
    for of_one in [true, false] {
        workspace.set_state(&numbers(4 * 8)).unwrap();
        workspace.forward(&w, &x, shape).unwrap();
        if of_one {
            workspace.set_state(&[0.0; 8]).unwrap()
        } else {
            workspace.carry_state()
        }
        assert!(matches!(workspace.backward(&w), Err(Error::InvalidState { .. })));
    }
}

/// A pass that panicked has no final state: the state that was set stays.
#[test]
fn carried_state_of_a_pass_that_panicked_is_the_state_before_it() {
    let identity = Identity { width: 8, ..Identity::default() };
    let network = Sequential::<f32>::input(24).recurrent(8, Elman::new(Tanh)).layer(identity.clone()).build().unwrap();
    let (w, shape) = (initialize(&network, 3).unwrap(), BatchShape::sequences(4, 3));
    let (mut workspace, x, state) = (workspace(&network, shape, 1), numbers(shape.rows() * 24), numbers::<f32>(4 * 8));
    workspace.set_state(&state).unwrap();
    workspace.carry_state();
    assert_eq!(workspace.state(), state);
    forget(identity.forward.blow(0, || workspace.infer(&w, &x, shape).map(drop)));
    workspace.carry_state();
    assert_eq!(workspace.state(), state);
    workspace.infer(&w, &x, shape).unwrap();
    workspace.carry_state();
    assert_eq!(workspace.state(), workspace.final_state());
    assert_ne!(workspace.state(), state);
}

/// A step that a later layer of a stream does not finish is no step: the next one follows the last whole one.
#[test]
fn step_of_a_stream_that_panicked_is_made_again() {
    let identity = Identity { width: 4, ..Identity::default() };
    let network = Sequential::<f32>::input(3).recurrent(4, Elman::new(Tanh)).mean_over_steps().layer(identity.clone());
    let network = network.linear(2).build().unwrap();
    let w = initialize(&network, 3).unwrap();
    let (model, x) = (Model::new(network, w).unwrap(), numbers::<f32>(40 * 3));
    let (mut stream, mut whole) = (model.stream().unwrap(), model.stream().unwrap());
    for (step, x) in x.chunks(3).enumerate() {
        if step % 3 == 1 {
            forget(identity.forward.blow(0, || stream.step(x).map(drop)));
        }
        assert_eq!(stream.step(x).unwrap(), whole.step(x).unwrap(), "step {step}");
    }
}

type Setter = fn(&mut Workspace<f64, Sequential<f64>>) -> Result<(), Error>;

/// The methods of a workspace that change it without a pass.
const SETTERS: [(&str, Setter); 15] = [
    ("freeze", |workspace| workspace.freeze("0").and_then(|()| workspace.unfreeze("0"))),
    ("unfreeze", |workspace| workspace.unfreeze("0")),
    ("set_buffers", |workspace| {
        let buffers: Vec<f64> = workspace.buffers().iter().map(|value| value + 0.5).collect();
        workspace.set_buffers(&buffers)
    }),
    ("set_threads", |workspace| workspace.set_threads(3)),
    ("set_dropout_key", |workspace| {
        workspace.set_dropout_key(DropoutKey::new(9, 9));
        Ok(())
    }),
    ("set_state", |workspace| workspace.set_state(&[0.25; 4 * 6])),
    ("clear_state", |workspace| {
        workspace.clear_state();
        Ok(())
    }),
    ("carry_state", |workspace| {
        workspace.carry_state();
        Ok(())
    }),
    ("compute_input_gradient", |workspace| {
        workspace.compute_input_gradient(true);
        Ok(())
    }),
    ("compute_state_gradient", |workspace| {
        workspace.compute_state_gradient(true);
        Ok(())
    }),
    ("input_mut", |workspace| workspace.input_mut(BatchShape::sequences(4, 3)).map(|x| x.fill(0.5))),
    ("gradient_mut", |workspace| {
        workspace.gradient_mut().fill(7.0);
        Ok(())
    }),
    ("blocks_and_gradient", |workspace| {
        workspace.blocks_and_gradient().1.fill(7.0);
        Ok(())
    }),
    ("infer", |workspace| {
        let w = vec![0.125; workspace.blocks().parameters()];
        workspace.infer(&w, &[0.5; 4 * 3 * 5], BatchShape::sequences(4, 3)).map(drop)
    }),
    // The gradient of the final state belongs to the pass: it is set between the two passes.
    ("final_state_gradient_mut", |workspace| {
        workspace.final_state_gradient_mut().fill(0.0);
        Ok(())
    }),
];

/// What is set between the two passes does not enter the gradient: it is that of the forward pass, or asks for
/// another.
#[test]
fn setter_between_the_passes_leaves_the_gradient_or_asks_for_another_pass() {
    let network = || {
        let network = Sequential::<f64>::input(5).linear(6).batch_norm().dropout(0.5).linear(6).tanh();
        network.recurrent(6, Elman::new(Tanh)).dropout(0.25).linear(2).build().unwrap()
    };
    let (w, shape): (Vec<f64>, _) = (initialize(&network(), 3).unwrap(), BatchShape::sequences(4, 3));
    for mode in [Mode::Train, Mode::Evaluate] {
        for set in [false, true] {
            let run = |setter: Setter| -> Result<Vec<f64>, Error> {
                let mut workspace = Workspace::new(network(), shape)?;
                workspace.set_dropout_key(DropoutKey::new(1, 2));
                if set {
                    workspace.set_state(&numbers(4 * 6))?;
                }
                let x = numbers(shape.rows() * 5);
                let output = workspace.forward_with(&w, &x, shape, mode, &mut ())?;
                output.dy.copy_from_slice(&numbers(shape.rows() * 2));
                setter(&mut workspace)?;
                workspace.backward(&w).map(|gradient| gradient.to_vec())
            };
            let expected = run(|_| Ok(())).unwrap();
            for (name, setter) in SETTERS {
                match run(setter) {
                    Ok(gradient) => assert!(gradient == expected, "{name}, {mode:?}"),
                    Err(Error::InvalidState { what: "a backward pass", .. }) => {
                        assert!(["set_buffers", "set_state", "carry_state", "input_mut", "infer"].contains(&name));
                    }
                    Err(error) => panic!("{name}: {error}"),
                }
            }
        }
    }
}

/// The table of the setters names each public method that changes a workspace, but for the passes.
#[test]
fn setter_of_a_workspace_is_in_the_table() {
    let passes = ["forward", "forward_with", "forward_filled", "backward", "backward_with", "accumulate"];
    let passes = [&passes[..], &["accumulate_with", "descend"]].concat();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/workspace");
    let mut found = 0;
    for path in sources(&folder) {
        let text = std::fs::read_to_string(path).unwrap();
        for method in text.split("    pub fn ").skip(1) {
            let (name, rest) = method.split_once('(').unwrap();
            if !rest.trim_start().starts_with("&mut self") {
                continue;
            }
            let is_known = passes.contains(&name) || SETTERS.iter().any(|(setter, _)| *setter == name);
            assert!(is_known, "{name} is not in the table");
            found += 1;
        }
    }
    assert_eq!(found, passes.len() + SETTERS.len());
}

/// The mean squared error, with a fuse.
#[derive(Debug, Default)]
struct Fused(Fuse);

impl Loss<f32> for Fused {
    fn evaluate(
        &self,
        width: usize,
        y: &[f32],
        target: Target<'_, f32>,
        row_weights: Option<&[f32]>,
        dy: &mut [f32],
    ) -> Result<f32, Error> {
        self.0.burn();
        MeanSquaredError::new().evaluate(width, y, target, row_weights, dy)
    }

    fn reduction(&self) -> Reduction {
        Reduction::Mean
    }
}

#[test]
fn panic_in_a_step_leaves_the_trainer_its_threads() {
    for threads in [1, 4] {
        let (half, loss) = (Half::default(), Fuse::default());
        let recurrent = Recurrent::new(24, 64, Elman::new(half.clone()));
        let settings = TrainConfig { batch_size: 64, threads, ..TrainConfig::default() };
        let new = || {
            let network = Sequential::<f32>::input(24).layer(recurrent.clone()).last_step().linear(5).build().unwrap();
            Trainer::new(network, Fused(loss.clone()), Adam::new(0.01), settings).unwrap()
        };
        let (x, y) = (numbers(64 * 8 * 24), numbers(64 * 5));
        let data = Dataset::sequences(24, 8, &x, Target::Values(&y)).unwrap();
        let (mut batch, order) = (Batch::new(&data, 64), (0..64).collect::<Vec<_>>());
        let mut fresh = new();
        fresh.step(&data, &mut batch, &order, &mut ()).unwrap();
        for fuse in [&half.value, &half.derivative, &loss] {
            let mut trainer = new();
            forget(fuse.blow(0, || trainer.step(&data, &mut batch, &order, &mut ())));
            trainer.step(&data, &mut batch, &order, &mut ()).unwrap();
            assert!(trainer.parameters() == fresh.parameters(), "{threads} threads");
            half.threads.lock().unwrap().clear();
            // A worker may come too late for all parts of a step, but not for those of all steps.
            let used = (0..if threads > 1 { 2000 } else { 2 }).any(|_| {
                trainer.step(&data, &mut batch, &order, &mut ()).unwrap();
                half.threads.lock().unwrap().iter().any(|&id| id != thread::current().id())
            });
            assert_eq!(used, threads > 1, "{threads} threads");
        }
    }
}

/// A panic in the second shard or window of an update. The next update is that of a trainer that begins with the same
/// parameters.
#[test]
fn panic_in_a_part_of_an_update_leaves_shards_and_windows() {
    let (x, y) = (numbers(16 * 8 * 3), numbers(16 * 8 * 2));
    let data = Dataset::sequences(3, 8, &x, Target::Values(&y)).unwrap();
    let (mut batch, order) = (Batch::new(&data, 16), (0..16).collect::<Vec<_>>());
    for truncation in [None, Some(Truncation::new(3))] {
        let loss = Fuse::default();
        let settings = TrainConfig { batch_size: 16, truncation, ..TrainConfig::default() };
        let new = |parameters: Option<&[f32]>| {
            let network = Sequential::<f32>::input(3).recurrent(4, Elman::new(Tanh)).linear(2).build().unwrap();
            let mut trainer = Trainer::new(network, Fused(loss.clone()), Sgd::new(0.1), settings).unwrap();
            if truncation.is_none() {
                trainer.set_data_parallel(DataParallel::new(())).unwrap();
            }
            if let Some(parameters) = parameters {
                trainer.parameters_mut().copy_from_slice(parameters);
            }
            trainer
        };
        let mut trainer = new(None);
        forget(loss.blow(1, || trainer.step(&data, &mut batch, &order, &mut ())));
        assert_eq!(trainer.data_parallel().is_some(), truncation.is_none());
        let mut fresh = new(Some(trainer.parameters()));
        for trainer in [&mut trainer, &mut fresh] {
            trainer.step(&data, &mut batch, &order, &mut ()).unwrap();
        }
        assert!(trainer.parameters() == fresh.parameters(), "{truncation:?}");
    }
}

/// A panic in an evaluation, in its second window where it has windows, leaves the state that was set for training.
#[test]
fn panic_in_an_evaluation_leaves_the_state_that_was_set() {
    let (x, y) = (numbers(4 * 8 * 3), numbers(4 * 8 * 2));
    let data = Dataset::sequences(3, 8, &x, Target::Values(&y)).unwrap();
    for (truncation, calls) in [(None, 0), (Some(Truncation::new(3)), 1)] {
        let identity = Identity { width: 4, ..Identity::default() };
        let network = Sequential::<f32>::input(3).recurrent(4, Elman::new(Tanh)).layer(identity.clone()).linear(2);
        let settings = TrainConfig { batch_size: 4, truncation, ..TrainConfig::default() };
        let (network, loss) = (network.build().unwrap(), MeanSquaredError::new());
        let mut trainer = Trainer::new(network, loss, Sgd::new(0.1), settings).unwrap();
        let expected = trainer.evaluate(&data).unwrap();
        trainer.workspace_mut().set_state(&[0.5; 4 * 4]).unwrap();
        forget(identity.forward.blow(calls, || trainer.evaluate(&data)));
        assert_eq!(trainer.workspace_mut().state(), [0.5; 4 * 4], "{truncation:?}");
        assert_eq!(trainer.evaluate(&data).unwrap(), expected, "{truncation:?}");
        assert_eq!(trainer.workspace().state(), [0.5; 4 * 4], "{truncation:?}");
    }
}
