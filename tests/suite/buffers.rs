//! Buffers: values of a layer that persist from pass to pass, updated by forward passes of training alone.

use crate::numbers::bits;
use chainrule::{
    BatchShape, Error, Layer, LayerRule, Scalar,
    activation::Tanh,
    dataset::Dataset,
    layer::{Backward, Dims, Forward, Linear, MemorySizes, Mode, Residual, Sequential, initialize},
    layer_laws,
    loss::{MeanSquaredError, Target},
    model::Model,
    monitor::Factor,
    recurrent::{Bidirectional, Elman, Recurrent},
    scalar,
    trainer::{FitOptions, TrainConfig, Trainer},
    transform::Sgd,
    workspace::Workspace,
};

/// `y = x − m`, then in training `m ← m + ¼ (mean of the rows of x − m)`; m begins at ½.
#[derive(Clone, Debug)]
pub struct Centre(pub usize);

impl<T: Scalar> Layer<T> for Centre {
    fn dims(&self) -> Dims {
        Dims::new(self.0, self.0, 0)
    }
    fn memory(&self, _shape: BatchShape<'_>, _mode: Mode) -> MemorySizes {
        MemorySizes::default().buffers(self.0)
    }
    fn initialize_buffers(&self, buffers: &mut [T]) {
        buffers.fill(scalar(0.5));
    }
    fn forward(&self, _w: &[T], mut pass: Forward<'_, T>) {
        let m = pass.ctx.buffers();
        pass.y.iter_mut().zip(pass.x).enumerate().for_each(|(i, (y, &x))| *y = x - m[i % self.0]);
        let share = scalar::<T>(0.25 / pass.ctx.shape.rows() as f64);
        if let Some(m) = pass.ctx.buffers_to_update() {
            pass.y.iter().enumerate().for_each(|(i, &y)| m[i % self.0] += share * y);
        }
        pass.ctx.report_forward(Factor::Other, pass.x, pass.y);
    }
    fn backward(&self, _w: &[T], pass: Backward<'_, T>) {
        let Some(dx) = pass.dx else { return };
        dx.copy_from_slice(pass.dy);
        pass.ctx.report_backward(Factor::Other, pass.dy, dx);
    }
}

layer_laws!(layer_with_buffers_keeps_the_laws, Centre(3));

#[test]
fn buffers_are_updated_in_training_alone() {
    let mut workspace = Workspace::new(Centre(2), BatchShape::batch(2)).unwrap();
    let (x, shape) = ([1.0, 2.0, 3.0, 6.0], BatchShape::batch(2));
    assert_eq!(workspace.buffers(), [0.5, 0.5]);
    for mode in [Mode::Evaluate, Mode::Infer] {
        workspace.forward_with(&[], &x, shape, mode, &mut ()).unwrap();
        assert_eq!(workspace.infer(&[], &x, shape).unwrap(), [0.5, 1.5, 2.5, 5.5]);
        assert_eq!(workspace.buffers(), [0.5, 0.5]);
    }
    // ½ + ¼ (2 − ½) and ½ + ¼ (4 − ½); a backward pass changes nothing.
    workspace.forward(&[], &x, shape).unwrap().dy.fill(1.0);
    workspace.backward(&[]).unwrap();
    assert_eq!(workspace.buffers(), [0.875, 1.375]);
    assert_eq!(workspace.infer(&[], &x, shape).unwrap(), [0.125, 0.625, 2.125, 4.625]);
    workspace.set_buffers(&[0.0, 1.0]).unwrap();
    assert_eq!(workspace.infer(&[], &x, shape).unwrap(), [1.0, 1.0, 3.0, 5.0]);
    assert!(matches!(workspace.set_buffers(&[0.0]), Err(Error::Length { expected: 2, found: 1, .. })));
}

/// Two buffers in a residual branch, one in each direction of a bidirectional layer, and one at the end.
fn nested() -> Sequential<f64> {
    let branch = Sequential::input(2).layer(Linear::new(2, 3)).layer(Centre(3)).linear(2).build().unwrap();
    let direction = || {
        let cell = Recurrent::new(2, 2, Elman::new(Tanh));
        Sequential::input(2).layer(Centre(2)).layer(cell).build().unwrap()
    };
    let both = Bidirectional::new::<f64>(direction(), direction()).unwrap();
    let network = Sequential::input(2).layer(Residual::new(branch).unwrap()).layer(both).layer(Centre(4));
    network.last_step().linear(1).build().unwrap()
}

#[test]
fn nested_layers_have_their_own_buffers() {
    let (network, shape) = (nested(), BatchShape::sequences(2, 3));
    let w = initialize(&network, 1).unwrap();
    let mut workspace = Workspace::new(&network, shape).unwrap();
    assert_eq!(workspace.buffers(), [0.5; 3 + 2 + 2 + 4]);
    let x: Vec<f64> = (0..shape.rows() * 2).map(|i| (i as f64).sin()).collect();
    workspace.forward(&w, &x, shape).unwrap();
    let after = workspace.buffers().to_vec();
    assert!(after.iter().all(|&m| m != 0.5), "{after:?}");
    // Both directions read the same rows, in another order.
    after[3..5].iter().zip(&after[5..7]).for_each(|(a, b)| assert!((a - b).abs() < 1e-15, "{after:?}"));
    // With threads, with a monitor, through a pointer: the same bits.
    for threads in [1, 3] {
        let mut other = Workspace::new(std::sync::Arc::new(nested()), shape).unwrap();
        other.set_threads(threads).unwrap();
        other.forward_with(&w, &x, shape, Mode::Train, &mut chainrule::monitor::GradientBudget::new()).unwrap();
        assert_eq!(bits(other.buffers()), bits(&after), "{threads} threads");
    }
}

#[test]
fn layer_whose_buffers_vary_is_refused() {
    #[derive(Debug)]
    struct Varies;
    impl<T: Scalar> Layer<T> for Varies {
        fn dims(&self) -> Dims {
            Dims::new(1, 1, 0)
        }
        fn memory(&self, shape: BatchShape<'_>, _mode: Mode) -> MemorySizes {
            MemorySizes::default().buffers(shape.batch)
        }
        fn forward(&self, _w: &[T], pass: Forward<'_, T>) {
            pass.y.copy_from_slice(pass.x);
        }
        fn backward(&self, _w: &[T], _pass: Backward<'_, T>) {}
    }
    let refused = Workspace::<f64, _>::new(Varies, BatchShape::batch(2)).unwrap_err();
    let Error::InvalidLayer { rule, .. } = &refused else { panic!("{refused}") };
    assert!(matches!(rule, LayerRule::Changed { method: "memory" }), "{refused}");
}

fn network() -> Sequential<f64> {
    Sequential::input(2).layer(Centre(2)).linear(3).batch_norm().tanh().layer(Centre(3)).linear(1).build().unwrap()
}

fn trainer(settings: TrainConfig) -> Trainer<f64, Sequential<f64>, MeanSquaredError, Sgd> {
    Trainer::new(network(), MeanSquaredError::new(), Sgd::new(0.05), settings).unwrap()
}

fn data() -> Dataset<'static, f64> {
    let x: Vec<f64> = (0..40).map(|i| (i as f64 * 0.7).cos() + 2.0).collect();
    let y: Vec<f64> = x.chunks(2).map(|row| row[0] * row[1]).collect();
    Dataset::rows(2, &x, Target::Values(&y)).unwrap().into_owned()
}

#[test]
fn model_and_trainer_hand_buffers_on() {
    let (data, settings) = (data(), TrainConfig { epochs: 2, batch_size: 5, ..TrainConfig::default() });
    let mut trainer = trainer(settings);
    trainer.fit(&data).unwrap();
    let buffers = trainer.workspace().buffers().to_vec();
    let untouched = Workspace::new(network(), BatchShape::batch(1)).unwrap().buffers().to_vec();
    assert_eq!(untouched, [0.5, 0.5, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5]);
    assert!(buffers.iter().zip(&untouched).all(|(m, untouched)| m != untouched), "{buffers:?}");
    let expected = bits(&trainer.predict(&data).unwrap());
    // A model without the trainer's buffers predicts from the initial ones.
    let plain = Model::new(network(), trainer.parameters().to_vec()).unwrap();
    assert_ne!(bits(&plain.predict(&data).unwrap()), expected);
    let model = trainer.into_model().unwrap();
    assert_eq!(bits(&model.predict(&data).unwrap()), expected);
    let bytes = model.to_bytes().unwrap();
    let read = Model::from_bytes_with(network(), &bytes).unwrap();
    assert_eq!(bits(&read.predict(&data).unwrap()), expected);
    assert!(Model::<f64>::from_bytes_with(network(), &plain.to_bytes().unwrap()).is_ok());
    let again = Trainer::from_model(read, MeanSquaredError::new(), Sgd::new(0.05), settings).unwrap();
    assert_eq!(bits(again.workspace().buffers()), bits(&buffers));
}

#[test]
fn checkpoint_and_early_stopping_restore_buffers() {
    let (data, settings) = (data(), TrainConfig { epochs: 4, batch_size: 5, ..TrainConfig::default() });
    let mut whole = trainer(settings);
    whole.fit(&data).unwrap();
    let mut first = trainer(TrainConfig { epochs: 2, ..settings });
    first.fit(&data).unwrap();
    let saved = first.to_bytes().unwrap();
    let mut second = trainer(settings);
    let _ = second.load_bytes(&saved).unwrap();
    second.fit(&data).unwrap();
    assert_eq!(bits(second.parameters()), bits(whole.parameters()));
    assert_eq!(bits(second.workspace().buffers()), bits(whole.workspace().buffers()));
    // After early stopping, the buffers are those of the best parameters.
    let mut stops = trainer(TrainConfig { epochs: 30, patience: Some(2), ..settings });
    let mut lowest = (f64::INFINITY, 0);
    let mut note = |epoch: &chainrule::trainer::Epoch| {
        let loss = epoch.validation.unwrap().loss;
        lowest = if loss < lowest.0 { (loss, epoch.epoch) } else { lowest };
        std::ops::ControlFlow::Continue(())
    };
    stops.fit_with(&data, FitOptions::default().validation(&data).on_epoch(&mut note)).unwrap();
    assert_eq!(stops.evaluate(&data).unwrap().loss, lowest.0, "epoch {}", lowest.1);
    let checkpoint = stops.checkpoint();
    let mut other = trainer(TrainConfig::default());
    let mut short = checkpoint.clone();
    short.slices.remove("buffers");
    assert!(matches!(other.restore(&short), Err(Error::Checkpoint { .. })));
    let _ = other.restore_parameters(&checkpoint).unwrap();
    assert_eq!(bits(other.workspace().buffers()), bits(stops.workspace().buffers()));
}

/// A variance below 0 or a value that is not finite has no way in.
#[test]
fn buffers_that_no_network_has_are_refused_wherever_they_enter() {
    let network = || Sequential::<f64>::input(1).layer(Centre(1)).batch_norm().linear(1).build().unwrap();
    let settings = TrainConfig::default();
    let new = || Trainer::new(network(), MeanSquaredError::new(), Sgd::new(0.1), settings).unwrap();
    // A mean of `Centre`, then mean and variance of the norm.
    for (wrong, legal) in [
        ([0.5, -1.0, 0.0], true),
        ([-0.5, -1.0, 2.0], true),
        ([0.5, -1.0, -1e-300], false),
        ([0.5, -1.0, f64::NAN], false),
        ([f64::INFINITY, 0.0, 1.0], false),
    ] {
        let mut run = new();
        let expected = |error: Error| match error {
            Error::NonFinite { what: "buffers", .. } => assert!(!wrong.iter().all(|value| value.is_finite())),
            Error::Parameter { what: "a running variance of a batch norm", found, .. } => assert_eq!(found, wrong[2]),
            other => panic!("{other}"),
        };
        let set = run.workspace_mut().set_buffers(&wrong);
        assert_eq!(set.is_ok(), legal, "{wrong:?}");
        assert_eq!(run.workspace().buffers(), if legal { &wrong } else { &[0.5, 0.0, 1.0] });
        let _ = set.map_err(expected);
        let model = Model::new(network(), run.parameters().to_vec()).unwrap().with_buffers(&wrong);
        assert_eq!(model.is_ok(), legal, "{wrong:?}");
        let _ = model.map_err(expected);
        let mut checkpoint = new().checkpoint();
        checkpoint.slices.insert("buffers".into(), wrong.to_vec());
        let mut other = new();
        for restored in [other.restore(&checkpoint), other.restore_parameters(&checkpoint)] {
            assert_eq!(restored.is_ok(), legal, "{wrong:?}");
            assert!(legal || matches!(restored, Err(Error::CheckpointValue { .. })), "{restored:?}");
        }
        assert_eq!(other.workspace().buffers(), if legal { &wrong } else { &[0.5, 0.0, 1.0] });
        checkpoint.values = chainrule::checkpoint::Values::Any;
        assert!(other.restore(&checkpoint).is_ok());
        assert_eq!(other.to_bytes().is_ok(), legal, "what cannot be loaded is not saved");
    }
}

/// A backward pass reads the buffers of its forward pass, or none.
#[test]
fn buffers_of_a_checkpoint_ask_for_a_new_forward_pass() {
    let network = Sequential::<f64>::input(1).batch_norm().build().unwrap();
    let mut run = Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), TrainConfig::default()).unwrap();
    let (checkpoint, w, shape) = (run.checkpoint(), run.parameters().to_vec(), BatchShape::batch(2));
    run.workspace_mut().forward_with(&w, &[1.0, 3.0], shape, Mode::Evaluate, &mut ()).unwrap();
    assert!(run.restore(&checkpoint).unwrap().is_empty());
    assert!(matches!(run.workspace_mut().backward(&w), Err(Error::InvalidState { .. })));
}
