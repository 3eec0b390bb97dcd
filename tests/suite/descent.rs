//! Steps taken in the backward pass: the bits of a backward pass and a step after it.

use crate::numbers::numbers;
use chainrule::{
    BatchShape, Error, GradientMonitor, Layer, Scalar,
    activation::{Gelu, Tanh},
    dataset::Dataset,
    layer::{DropoutKey, Linear, Mode, Sequential, initialize},
    loss::{MeanSquaredError, Target},
    recurrent::{Lstm, Recurrent},
    scalar,
    trainer::{FitOptions, TrainConfig, Trainer},
    transform::{Adam, AdamW, ClipValue, GradientTransform, Penalty, RmsProp, Schedule, Sgd},
    workspace::Workspace,
};

fn networks<T: Scalar>() -> Vec<(&'static str, Box<dyn Layer<T>>, &'static str)> {
    let branch = |inputs| Sequential::input(inputs).linear(inputs).activation(Gelu);
    let mut deep = Sequential::<T>::input(40);
    for i in 0..20 {
        deep = deep.linear(40 + i % 3).activation(Tanh).dropout(0.1).prelu().linear(40);
    }
    let mixed = Sequential::<T>::input(40).activation(Tanh).layer(branch(40).build().unwrap()).layer_norm();
    let mixed = mixed.residual(|network| network.linear(40).activation(Tanh)).linear(7);
    let mut inner = Sequential::<T>::input(40);
    for _ in 0..20 {
        inner = inner.activation(Tanh).linear(40);
    }
    let inside = Sequential::<T>::input(40).linear(40).layer(inner.build().unwrap()).activation(Tanh).linear(3);
    vec![
        ("an activation first in what is inside", Box::new(inside.build().unwrap()), "1"),
        ("deep and narrow", Box::new(deep.linear(3).build().unwrap()), "5.weight"),
        ("wide", Box::new(Sequential::<T>::input(40).linear(500).activation(Tanh).linear(300).build().unwrap()), "2"),
        ("others inside", Box::new(mixed.build().unwrap()), "1"),
        (
            "recurrent",
            Box::new(Sequential::<T>::input(40).recurrent(9, Lstm::new()).linear(2).build().unwrap()),
            "0.bias",
        ),
        ("no sequence of layers", Box::new(Recurrent::new(40, 6, Lstm::new())), "recurrent"),
        ("frozen whole", Box::new(Linear::new(40, 5)), ""),
    ]
}

fn descends<T: Scalar>(rows: &[usize]) {
    const RATE: f64 = 0.3;
    for ((name, network, frozen), &rows) in
        networks::<T>().iter().flat_map(|network| rows.iter().map(move |rows| (network, rows)))
    {
        let (shape, start) = (BatchShape::batch(rows), initialize(network, 4).unwrap());
        let (x, rate) = (numbers::<T>(rows * 40), scalar::<T>(RATE));
        for threads in [1, 3] {
            for freezes in [false, true] {
                let make = || {
                    let mut workspace = Workspace::new(network, BatchShape::batch(rows + 3)).unwrap();
                    workspace.set_threads(threads).unwrap();
                    workspace.set_dropout_key(DropoutKey::new(3, 1));
                    let names: Vec<String> = workspace.blocks().iter().map(|block| block.name.to_string()).collect();
                    for block in names.iter().filter(|block| freezes && block.starts_with(*frozen)) {
                        workspace.freeze(block).unwrap();
                    }
                    workspace
                };
                let forward = |workspace: &mut Workspace<T, _>, w: &[T]| {
                    let output = workspace.forward_with(w, &x, shape, Mode::Train, &mut ()).unwrap();
                    output.dy.copy_from_slice(&numbers(output.y.len()));
                };
                let (mut apart, mut together, mut w) = (make(), make(), start.clone());
                apart.compute_input_gradient(freezes);
                together.compute_input_gradient(freezes);
                let place = format!("{name}, {rows} rows, {threads} threads, frozen: {freezes}");
                for step in 0..4 {
                    if step == 3 && freezes {
                        for workspace in [&mut apart, &mut together] {
                            let names: Vec<String> =
                                workspace.blocks().iter().map(|block| block.name.to_string()).collect();
                            names.iter().for_each(|block| workspace.unfreeze(block).unwrap());
                        }
                    }
                    forward(&mut apart, &w);
                    let gradient = apart.backward(&w).unwrap();
                    let expected: Vec<T> = w.iter().zip(gradient).map(|(&w, &mut g)| w + -rate * g).collect();
                    assert!(freezes || expected != w, "{place}: something moves");
                    forward(&mut together, &w);
                    together.descend(&mut w, rate).unwrap();
                    assert!(w == expected, "{place}, step {step}");
                    assert!(together.gradient().is_empty());
                    assert!(together.input_gradient() == apart.input_gradient(), "{place}, step {step}");
                }
                // Nothing of the parameters that lie there is taken for a gradient.
                forward(&mut apart, &w);
                forward(&mut together, &w);
                assert!(together.accumulate(&w).unwrap() == apart.backward(&w).unwrap(), "{place}");
                assert!(together.gradient() == apart.gradient(), "{place}");
                forward(&mut together, &w);
                together.descend(&mut w, rate).unwrap();
                forward(&mut apart, &w);
                forward(&mut together, &w);
                assert!(together.backward(&w).unwrap() == apart.backward(&w).unwrap(), "{place}");
                forward(&mut together, &w);
                together.descend(&mut w, rate).unwrap();
                assert!(together.gradient_mut().iter().all(|g| g.is_zero()), "{place}");
                assert_eq!(together.gradient().len(), w.len());
            }
        }
    }
}

#[test]
fn descent_is_a_backward_pass_and_a_step() {
    // One row, some, and more than a product sums at once.
    descends::<f32>(&[1, 61, 300]);
    descends::<f64>(&[61]);
}

#[test]
fn refused_step_changes_nothing() {
    let network = Linear::new(2, 1);
    let (mut w, shape) = (vec![1.0, 2.0, 3.0], BatchShape::batch(1));
    let mut workspace = Workspace::new(&network, shape).unwrap();
    assert!(matches!(workspace.descend(&mut w, 0.1), Err(Error::InvalidState { .. })));
    workspace.forward(&w, &[1.0, 1.0], shape).unwrap().dy.fill(1.0);
    let mut short = [1.0, 2.0];
    assert!(matches!(workspace.descend(&mut short, 0.1), Err(Error::Length { expected: 3, found: 2, .. })));
    assert_eq!((&w[..], &short[..], workspace.gradient().len()), (&[1.0, 2.0, 3.0][..], &[1.0, 2.0][..], 3));
    for rate in [-0.1, f64::NAN, f64::INFINITY] {
        assert!(matches!(workspace.descend(&mut w, rate), Err(Error::Parameter { .. })));
    }
    // The pass is still there.
    workspace.descend(&mut w, 0.5).unwrap();
    assert_eq!(w, [0.5, 1.5, 2.5]);
}

/// With an active monitor the step follows the gradient, which the monitor reads.
#[test]
fn trainer_with_a_monitor_takes_the_same_steps() {
    struct ActiveMonitor;
    impl GradientMonitor<f32> for ActiveMonitor {}
    let (x, y) = (numbers::<f32>(70 * 40), numbers::<f32>(70 * 3));
    let data = Dataset::rows(40, &x, Target::Values(&y)).unwrap();
    let run = |watched: bool, accumulate: usize, threads: usize, frozen: Option<&str>| {
        let network = Sequential::<f32>::input(40).linear(50).activation(Tanh).dropout(0.2).linear(3).build().unwrap();
        let settings = TrainConfig {
            batch_size: 16,
            epochs: 3,
            accumulation_steps: accumulate,
            threads,
            ..TrainConfig::default()
        };
        let mut trainer = Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), settings).unwrap();
        frozen.into_iter().for_each(|block| trainer.workspace_mut().freeze(block).unwrap());
        let before = trainer.parameters().to_vec();
        let mut monitor = ActiveMonitor;
        let observers = if watched { FitOptions::new().monitor(&mut monitor) } else { FitOptions::new() };
        let epochs = trainer.fit_with(&data, observers).unwrap();
        assert_ne!(before, trainer.parameters());
        (epochs.iter().map(|epoch| (epoch.loss, epoch.steps)).collect::<Vec<_>>(), trainer.parameters().to_vec())
    };
    for (accumulate, threads, frozen) in [(1, 1, None), (2, 1, None), (1, 2, None), (1, 1, Some("0.bias"))] {
        let (watched, alone) = (run(true, accumulate, threads, frozen), run(false, accumulate, threads, frozen));
        assert!(watched == alone, "{accumulate} batches a step, {threads} threads, {frozen:?}");
        assert_eq!(alone.0[2].1, 3 * 70usize.div_ceil(16 * accumulate) as u64);
    }
}

type Chain = Box<dyn GradientTransform<f32>>;

/// A chain by its name, and how to make it.
type Named = (&'static str, fn() -> Chain);

/// Element-wise chains, with and without state and decay.
fn chains() -> Vec<Named> {
    vec![
        ("momentum", || Box::new(Sgd::new(0.1).momentum(0.9))),
        ("adam", || Box::new((ClipValue::new(0.5), Adam::new(1e-2).amsgrad()))),
        ("adamw", || Box::new((Penalty::l2(1e-2), AdamW::new(1e-2, 0.1), Schedule::cosine(9, 0.1)))),
        ("rmsprop", || Box::new(RmsProp::new(1e-2).centred().momentum(0.5))),
        ("two rates", || Box::new((Sgd::new(0.1), Schedule::cosine(9, 0.1)))),
    ]
}

#[test]
fn element_wise_chain_in_the_backward_pass_takes_the_steps_of_one_after_it() {
    struct ActiveMonitor;
    impl GradientMonitor<f32> for ActiveMonitor {}
    let x = numbers::<f32>(70 * 40);
    for ((name, network, _), (chain, make)) in
        networks::<f32>().iter().flat_map(|network| chains().into_iter().map(move |chain| (network, chain)))
    {
        let y = numbers::<f32>(70 * network.dims().output);
        let data = Dataset::rows(40, &x, Target::Values(&y)).unwrap();
        let run = |watched: bool, threads: usize| {
            let settings = TrainConfig { batch_size: 35, epochs: 2, threads, ..TrainConfig::default() };
            let mut trainer = Trainer::new(network, MeanSquaredError::new(), make(), settings).unwrap();
            let before = trainer.parameters().to_vec();
            let mut monitor = ActiveMonitor;
            let observers = if watched { FitOptions::new().monitor(&mut monitor) } else { FitOptions::new() };
            trainer.fit_with(&data, observers).unwrap();
            assert_ne!(before, trainer.parameters());
            (trainer.parameters().to_vec(), trainer.optimizer().state().to_vec(), trainer.optimizer().steps())
        };
        let expected = run(true, 1);
        for threads in [1, 3] {
            assert!(run(false, threads) == expected, "{name}, {chain}, {threads} threads");
        }
    }
}
