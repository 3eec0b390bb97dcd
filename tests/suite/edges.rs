//! Settings and answers at the edges of what is legal: right or refused.

use chainrule::{
    BatchShape, Blocks, Error, Layer, LayerRule, Scalar,
    activation::Tanh,
    dataset::{Batch, Dataset},
    layer::{Backward, Dims, Embedding, Forward, LayerNorm, Linear, RmsNorm, Sequential, initialize},
    loss::{Loss, MeanSquaredError, Reduction, Target},
    model::Model,
    recurrent::Lstm,
    to_f64,
    trainer::{TrainConfig, Trainer},
    transform::{
        Adadelta, Adagrad, Adam, AdamW, Adamax, ClipBlockNorm, ClipNorm, ClipValue, GradientTransform, Lion, Member,
        Muon, NAdam, Optimizer, ParameterGroups, Penalty, PerGroup, RAdam, ReduceOnPlateau, RmsProp, Schedule,
        ScheduleFreeAdamW, Sgd, SkipNonFinite, Stage, Update, WeightAverage,
    },
    workspace::Workspace,
};
use std::sync::Mutex;

/// Each optimizer that divides by a root plus ε.
fn with_epsilon<T: Scalar>(epsilon: f64) -> Vec<Box<dyn GradientTransform<T>>> {
    vec![
        Box::new(Adam::new(0.1).epsilon(epsilon)),
        Box::new(AdamW::new(0.1, 0.1).adam(|adam| adam.epsilon(epsilon))),
        Box::new(RmsProp::new(0.1).epsilon(epsilon)),
        Box::new(Adagrad::new(0.1).epsilon(epsilon)),
        Box::new(NAdam::new(0.1).epsilon(epsilon)),
        Box::new(RAdam::new(0.1).epsilon(epsilon)),
        Box::new(Adamax::new(0.1).epsilon(epsilon)),
        Box::new(Adadelta::new(0.1).epsilon(epsilon)),
        Box::new(ScheduleFreeAdamW::new(0.1, 0.0).epsilon(epsilon)),
    ]
}

fn epsilon_of_an_optimizer_is_checked<T: Scalar>(least: f64) {
    let layer = Linear::new(2, 2);
    let blocks = Blocks::collect(|visit| Layer::<T>::blocks(&layer, visit));
    for (epsilon, legal) in [
        (0.0, true),
        (least, true),
        (1e-8, true),
        (least.next_down(), false),
        (least / 1e7, false),
        (5e-324, false),
        (-1e-8, false),
        (f64::NAN, false),
        (f64::INFINITY, false),
    ] {
        for transform in with_epsilon::<T>(epsilon) {
            let name = format!("{transform:?}, ε = {epsilon:e}");
            let made = Optimizer::new(transform, &blocks, &[T::zero(); 6]);
            assert_eq!(made.is_ok(), legal, "{name}");
            assert!(matches!(made, Ok(_) | Err(Error::Parameter { .. })), "{name}");
        }
    }
}

#[test]
fn epsilon_of_an_optimizer_below_the_format_is_refused() {
    epsilon_of_an_optimizer_is_checked::<f32>(f64::from(f32::MIN_POSITIVE));
    epsilon_of_an_optimizer_is_checked::<f64>(f64::MIN_POSITIVE);
    // Narrow formats are computed in f64.
    #[cfg(feature = "half")]
    epsilon_of_an_optimizer_is_checked::<half::f16>(f64::MIN_POSITIVE);
}

#[test]
fn epsilon_of_a_norm_is_a_positive_normal_number() {
    for epsilon in [0.0, -1.0, 5e-324, f64::MIN_POSITIVE.next_down(), f64::NAN, f64::INFINITY] {
        assert!(
            LayerNorm::new(3).epsilon(epsilon).is_err() && RmsNorm::new(3).epsilon(epsilon).is_err(),
            "{epsilon:e}"
        );
    }
    // At the smallest ε a row of zeros has the derivative (I − 11ᵀ/n)/√ε.
    let network = LayerNorm::new(2).epsilon(f64::from(f32::MIN_POSITIVE)).unwrap().without_affine();
    let mut workspace = Workspace::<f32, _>::new(&network, BatchShape::batch(1)).unwrap();
    workspace.compute_input_gradient(true);
    workspace.forward(&[], &[0.0, 0.0], BatchShape::batch(1)).unwrap().dy.copy_from_slice(&[1.0, 0.0]);
    workspace.backward(&[]).unwrap();
    let expected = 0.5 / f64::from(f32::MIN_POSITIVE).sqrt();
    let found = f64::from(workspace.input_gradient()[0]);
    assert!((found / expected - 1.0).abs() < 1e-6, "{found:e} for {expected:e}");
}

#[test]
fn factor_of_a_schedule_is_a_number_for_any_steps() {
    const MAX: u64 = u64::MAX;
    let counts = [0, 1, 2, 3, 4, 5, 10, 1 << 53, MAX - 1, MAX];
    for n in counts {
        let mut schedules = vec![
            Schedule::cosine(n, 0.1),
            Schedule::warm_up(0.1, n),
            Schedule::linear(0.9, 0.2, n),
            Schedule::polynomial(n, 2.0),
            Schedule::polynomial(n, 0.0),
            Schedule::one_cycle(1.0, n),
            Schedule::step(n, 0.5),
            Schedule::multi_step(&[n, 0, MAX], 0.5),
            Schedule::exponential(0.5),
            Schedule::one_cycle_with(1.0, n, 0.5, [2.0, 3.0]),
            Schedule::cyclic(0.1, 1.0, n, n),
            Schedule::cyclic_with_decay(1.0, 0.0, n, MAX, 0.5),
            Schedule::cosine(n, 0.1).then(n, Schedule::cyclic(0.1, 1.0, n, 3)),
            Schedule::exponential(0.5).then(n, Schedule::cosine(4, 0.1)).per_epoch(n),
        ];
        schedules.extend(counts.map(|times| Schedule::cosine_with_restarts(n, times, 0.1)));
        for (schedule, step) in schedules.iter().flat_map(|schedule| counts.map(|step| (schedule, step))) {
            let factor = schedule.factor(step);
            assert!((0.0..=1.0).contains(&factor), "{schedule:?} at {step}: {factor}");
        }
    }
    // A schedule of no steps is over.
    let ends = [
        (Schedule::cosine(0, 0.1), 0.1),
        (Schedule::linear(0.9, 0.2, 0), 0.2),
        (Schedule::polynomial(0, 2.0), 0.0),
        (Schedule::one_cycle(1.0, 0), 1.0 / 25.0 / 1e4),
    ];
    for (schedule, end) in ends {
        assert!((schedule.factor(0) - end).abs() < 1e-12, "{schedule:?}: {}", schedule.factor(0));
    }
}

/// The mean squared error with answers of its own about the weight of its rows.
#[derive(Debug)]
struct Weighted(fn(usize) -> f64);

impl Loss<f64> for Weighted {
    fn evaluate(
        &self,
        width: usize,
        y: &[f64],
        target: Target<'_, f64>,
        row_weights: Option<&[f64]>,
        dy: &mut [f64],
    ) -> Result<f64, Error> {
        MeanSquaredError::new().evaluate(width, y, target, row_weights, dy)
    }

    fn reduction(&self) -> Reduction {
        Reduction::Mean
    }

    fn total_weight(&self, _width: usize, target: Target<'_, f64>, _row_weights: Option<&[f64]>) -> f64 {
        let Target::Values(values) = target else { return f64::NAN };
        (self.0)(values.len())
    }
}

#[test]
fn total_weight_that_is_negative_or_no_number_is_refused() {
    let (x, y) = ([0.5; 10], [1.0; 5]);
    let data = Dataset::rows(2, &x, Target::Values(&y)).unwrap();
    let wrong: [fn(usize) -> f64; 6] = [
        |_| -1.0,
        |_| f64::NAN,
        |_| f64::INFINITY,
        |_| f64::MAX,
        // Of the last part alone: the sum of all is positive.
        |rows| if rows == 1 { -1.0 } else { 4.0 },
        |rows| if rows == 1 { f64::NAN } else { 4.0 },
    ];
    for (i, weight) in wrong.into_iter().enumerate() {
        let settings = TrainConfig { batch_size: 2, accumulation_steps: 3, ..TrainConfig::default() };
        let network = Sequential::<f64>::input(2).linear(1).build().unwrap();
        let mut trainer = Trainer::new(network, Weighted(weight), Sgd::new(0.1), settings).unwrap();
        let (before, mut batch) = (trainer.parameters().to_vec(), Batch::new(&data, 2));
        let error = trainer.step(&data, &mut batch, &[0, 1, 2, 3, 4], &mut ()).map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::Parameter { .. }) && error.to_string().contains("weight"), "{i}: {error}");
        assert_eq!(trainer.parameters(), before, "{i}");
        if i != 3 {
            assert!(matches!(trainer.evaluate(&data), Err(Error::Parameter { .. })), "{i}");
        }
    }
}

/// `y = x`; in its passes it runs those of another network in a workspace of its own.
#[derive(Debug)]
struct Within {
    inner: Mutex<Workspace<f32, Sequential<f32>>>,
    w: Vec<f32>,
    found: Mutex<Vec<Vec<f32>>>,
    shape: BatchShape<'static>,
}

impl Within {
    fn run(&self) {
        let mut inner = self.inner.lock().unwrap();
        let x: Vec<f32> = (0..self.shape.rows() * 64).map(|i| (i as f32 * 0.37).sin()).collect();
        let output = inner.forward(&self.w, &x, self.shape).unwrap();
        output.dy.iter_mut().enumerate().for_each(|(i, dy)| *dy = (i as f32 * 0.73).cos());
        let y = output.y.to_vec();
        let gradient = inner.backward(&self.w).unwrap().to_vec();
        *self.found.lock().unwrap() = vec![y, gradient];
    }
}

impl Layer<f32> for Within {
    fn dims(&self) -> Dims {
        Dims::new(1, 1, 0)
    }
    fn forward(&self, _w: &[f32], pass: Forward<'_, f32>) {
        pass.y.copy_from_slice(pass.x);
        self.run();
    }
    fn backward(&self, _w: &[f32], pass: Backward<'_, f32>) {
        if let Some(dx) = pass.dx {
            dx.copy_from_slice(pass.dy);
        }
    }
}

/// Scratch is sized for the threads of its own workspace; a pass around it may have more.
#[test]
fn scratch_sized_for_one_thread_serves_a_pass_on_four() {
    let networks = [
        (Sequential::input(64).linear(512).activation(Tanh).linear(256).layer_norm(), BatchShape::batch(300)),
        (Sequential::input(64).recurrent(128, Lstm::new()).last_step().linear(7), BatchShape::sequences(48, 9)),
        (
            Sequential::input(64).gated_linear(256, Tanh).residual(|branch| branch.linear(256).tanh()).linear(3),
            BatchShape::sequences(48, 9),
        ),
    ];
    for (builder, shape) in networks {
        let network = builder.build().unwrap();
        let w = initialize(&network, 1).unwrap();
        let inner = Mutex::new(Workspace::new(network, shape).unwrap());
        let layer = Within { inner, w, found: Mutex::new(Vec::new()), shape };
        layer.run();
        let alone = core::mem::take(&mut *layer.found.lock().unwrap());
        let mut outer = Workspace::new(&layer, BatchShape::batch(1)).unwrap();
        outer.set_threads(4).unwrap();
        outer.forward(&[], &[1.0], BatchShape::batch(1)).unwrap();
        assert!(*layer.found.lock().unwrap() == alone, "{shape:?}");
    }
}

/// Each transform of the crate.
fn transforms() -> Vec<Box<dyn GradientTransform<f64>>> {
    vec![
        Box::new(Adadelta::new(0.1)),
        Box::new(Adagrad::new(0.1)),
        Box::new(Adam::new(0.1)),
        Box::new(AdamW::new(0.1, 0.1)),
        Box::new(Adamax::new(0.1)),
        Box::new(ClipBlockNorm::new(1.0)),
        Box::new(ClipNorm::new(1.0)),
        Box::new(ClipValue::new(1.0)),
        Box::new(Lion::new(0.1)),
        Box::new(Muon::new(0.1, AdamW::new(0.1, 0.0))),
        Box::new(NAdam::new(0.1)),
        Box::new(ParameterGroups::new()),
        Box::new(Penalty::elastic_net(0.1, 0.1)),
        Box::new(PerGroup::new(Sgd::new(0.1))),
        Box::new(RAdam::new(0.1)),
        Box::new(ReduceOnPlateau::new(0.5, 0)),
        Box::new(RmsProp::new(0.1)),
        Box::new(Schedule::step(2, 0.5)),
        Box::new(ScheduleFreeAdamW::new(0.1, 0.1)),
        Box::new(Sgd::new(0.1)),
        Box::new(SkipNonFinite::new()),
        Box::new(WeightAverage::new(0.9)),
    ]
}

#[test]
fn member_of_a_chain_has_the_name_of_its_spec() {
    let layer = Linear::new(2, 2);
    let blocks = Blocks::collect(|visit| Layer::<f64>::blocks(&layer, visit));
    let mut named = Vec::new();
    for transform in transforms() {
        let mut members: Vec<Member> = Vec::new();
        transform.members(&mut |member| members.push(member));
        let specs = transform.spec(&blocks);
        // One that is an optimizer and an average has two places in a chain.
        let places = if members[0].name == "ScheduleFreeAdamW" { 2 } else { 1 };
        assert_eq!((members.len(), specs.len()), (places, 1), "{transform:?}");
        // A schedule's kind names its curve, too.
        let kind = specs[0].kind.split(" (").next().unwrap();
        assert_eq!(members[0].name, kind, "{transform:?}");
        assert_eq!(members[0].stage, transform.stage(), "{transform:?}");
        let stage = match kind {
            "SkipNonFinite" => Stage::SkipNonFinite,
            "Penalty" => Stage::Regularization,
            "ClipBlockNorm" | "ClipNorm" | "ClipValue" => Stage::Clip,
            "ParameterGroups" | "ReduceOnPlateau" | "Schedule" => Stage::Schedule,
            "WeightAverage" => Stage::Average,
            _ => Stage::Optimizer,
        };
        assert_eq!(transform.stage(), stage, "{transform:?}");
        named.push(kind.to_string());
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/transform");
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for line in text.lines().filter(|line| line.starts_with("impl")) {
            let Some((_, name)) = line.split_once("GradientTransform<T> for ") else { continue };
            let name: String = name.chars().take_while(|c| c.is_alphanumeric()).collect();
            // `TooDeep` is no transform of its own: it refuses a chain.
            assert!(name.is_empty() || name == "TooDeep" || named.contains(&name), "the table has no {name}");
        }
    }
}

fn clipped_gradients_are_numbers<T: Scalar>() {
    let layer = Linear::new(2, 1);
    let blocks = Blocks::collect(|visit| Layer::<T>::blocks(&layer, visit));
    let (w, most) = ([T::one(); 3], to_f64(T::max_value()));
    let gradients = [[0.0; 3], [1.0, 0.0, -2.0], [1e-30, 0.0, 1e-38], [most, 0.0, -most], [most, 0.0, 1e-30]];
    for (limit, p) in [5e-324, 1e-309, 1e-40, 1e-6, 1.0, 1e38, 1e308, f64::MAX, f64::INFINITY]
        .into_iter()
        .flat_map(|limit| [5e-309, 0.5, 1.0, 2.0, 1e300, f64::INFINITY].map(|p| (limit, p)))
    {
        for (epsilon, gradient) in [0.0, 1e-6, 1e30].into_iter().flat_map(|epsilon| gradients.map(|g| (epsilon, g))) {
            let transforms: [Box<dyn GradientTransform<T>>; 2] =
                [Box::new(ClipNorm::new(limit).p(p).epsilon(epsilon)), Box::new(ClipBlockNorm::new(limit))];
            for mut transform in transforms {
                let mut g = gradient.map(chainrule::scalar::<T>);
                transform.update(Update::new(&blocks, &w, &mut g, &mut [], 0)).unwrap();
                let what = format!("{transform:?}: {gradient:?} becomes {g:?}");
                assert!(g.iter().all(|g| g.is_finite()) && g[1].is_zero(), "{what}");
                assert!(g.iter().all(|g| to_f64(*g).abs() <= limit * (1.0 + 1e-5) + f64::MIN_POSITIVE), "{what}");
            }
        }
    }
}

#[test]
fn gradient_clipped_at_the_edges_of_the_format_stays_finite() {
    clipped_gradients_are_numbers::<f32>();
    clipped_gradients_are_numbers::<f64>();
}

#[test]
fn embedding_without_vectors_is_refused() {
    let refused = |layer: Embedding| {
        let network = Sequential::<f32>::input(1).layer(layer).build()?;
        Workspace::new(&network, BatchShape::batch(1)).map(drop)
    };
    for layer in [Embedding::new(0, 3), Embedding::new(0, 3).columns(1)] {
        let error = refused(layer).unwrap_err();
        let Error::InvalidLayer { layer, rule: LayerRule::InvalidSetting { reason } } = &error else {
            panic!("{error}")
        };
        assert!(layer == "0" && matches!(**reason, Error::Parameter { .. }), "{error}");
    }
    assert!(refused(Embedding::new(1, 3)).is_ok());
}

#[test]
fn model_buffers_that_are_not_finite_are_refused() {
    let network = Sequential::<f32>::input(2).batch_norm().build().unwrap();
    let w = initialize(&network, 1).unwrap();
    for wrong in [f32::NAN, f32::INFINITY] {
        let model = Model::new(network.spec().build::<f32>().unwrap(), w.clone()).unwrap();
        let error = model.with_buffers(&[0.0, 0.0, 1.0, wrong]);
        assert!(matches!(error, Err(Error::NonFinite { what: "buffers", index: 3, .. })), "{error:?}");
    }
}

/// A variance below 0 would make the outputs of an imported norm NaN.
#[cfg(feature = "safetensors")]
#[test]
fn imported_variance_below_0_is_refused() {
    use chainrule::model::{ModuleNames, StateDict, export_state_dict, import_state_dict};
    let network = Sequential::<f64>::input(2).batch_norm().build().unwrap();
    let (mut w, mut buffers) = (initialize(&network, 1).unwrap(), vec![0.0, 0.0, 1.0, 1.0]);
    let names = ModuleNames::new();
    for (variance, legal) in [(0.5, true), (0.0, true), (-0.5, false)] {
        let state: StateDict = export_state_dict(&network, &w, &[0.0, 0.0, 1.0, variance], &names).unwrap();
        let imported = import_state_dict(&network, &mut w, &mut buffers, &state, &names);
        assert_eq!(imported.is_ok(), legal, "{imported:?}");
    }
    assert_eq!(buffers, [0.0, 0.0, 1.0, 0.0]);
}

#[test]
fn loss_behind_a_pointer_is_the_loss() {
    let (y, t) = ([0.5, -1.0, 2.0, 0.25], [0.25, 0.0]);
    let loss = chainrule::loss::GaussianNll::new();
    let boxed: Box<dyn Loss<f64>> = Box::new(loss);
    let evaluate = |loss: &dyn Loss<f64>| {
        let mut dy = [f64::NAN; 4];
        let value = loss.evaluate(4, &y, Target::Values(&t), Some(&[2.0]), &mut dy).unwrap();
        let weight = loss.total_weight(4, Target::Values(&t), Some(&[2.0]));
        (value, dy, weight, loss.reduction(), loss.target_width(4), loss.minimum_at_target())
    };
    assert_eq!(evaluate(&boxed), evaluate(&loss));
    assert_eq!(evaluate(&&*boxed), evaluate(&loss));
}
