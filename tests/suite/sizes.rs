//! Hostile sizes through every entry that takes one: a value or a typed error, under a memory limit.
#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

use chainrule::{
    BatchShape, Block, Error, Gate, Layer, Role,
    activation::{Relu, Tanh},
    dataset::{Batch, Dataset},
    initializer::{Initializer, Zeros},
    layer::{
        ActivationLayer, Dims, LastStep, LayerNorm, LayerSpec, Linear, LinkPath, MeanOverSteps, Mode, PRelu, Residual,
        RmsNorm, Sequential, TrainableMask, initialize,
    },
    loss::{MeanSquaredError, Target},
    network::summary,
    recurrent::{Bidirectional, Elman, Gru, Lstm, Recurrent, Reversed},
    trainer::{TrainConfig, Trainer},
    transform::Sgd,
    workspace::Workspace,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::Command,
};

const MAX: usize = usize::MAX;
const SIZES: [usize; 9] = [0, 1, 2, MAX, MAX / 2, MAX / 2 + 1, MAX / 3 + 1, 1 << 31, 1 << 63];

/// Bytes of address space for the table, in KiB.
const LIMIT: &str = "2000000";

/// The kind of a result, as the table names it.
fn kind<T>(result: Result<T, Error>) -> &'static str {
    match result {
        Ok(_) => "Ok",
        Err(Error::TooLarge { .. }) => "TooLarge",
        Err(Error::Parameter { .. }) => "Parameter",
        Err(Error::EmptyBatch) => "EmptyBatch",
        Err(Error::NoSteps { .. }) => "NoSteps",
        Err(Error::Length { .. }) => "Length",
        Err(Error::InvalidData(_)) => "InvalidData",
        Err(Error::Empty { .. }) => "Empty",
        Err(Error::BeyondCapacity { .. }) => "BeyondCapacity",
        Err(Error::Threads { .. }) => "Threads",
        Err(Error::InvalidLayer { .. }) => "InvalidLayer",
        Err(_) => "another",
    }
}

struct Table(Vec<String>);

impl Table {
    /// Runs an entry, whose kind of result is one of `expected`.
    fn row(&mut self, name: &str, expected: &[&str], entry: impl FnOnce() -> &'static str) {
        let found = catch_unwind(AssertUnwindSafe(entry)).unwrap_or("a panic");
        if !expected.contains(&found) {
            self.0.push(format!("{name}: expected {}, found {found}", expected.join(" or ")));
        }
    }
}

/// Runs the test `name` of this module in a process with a memory limit; true in that process.
fn limited(name: &str) -> bool {
    const CHILD: &str = "CHAINRULE_SIZES_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let exe = std::env::current_exe().unwrap();
    let limit = format!("ulimit -v {LIMIT}; exec \"$0\" \"$@\"");
    let mut child = Command::new("sh");
    child.args(["-c", &limit]).arg(exe).args([&format!("sizes::{name}"), "--exact", "--nocapture"]).env(CHILD, "1");
    let output = child.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("1 passed"), "the test did not run: {}", text(&output.stdout));
    false
}

/// What a layer reports of itself saturates, and what makes memory for it refuses it.
fn layer(table: &mut Table, name: &str, layer: impl Layer<f64> + Clone + 'static) {
    let dims = layer.dims();
    let batch_shapes = [BatchShape::batch(1), BatchShape::sequences(3, MAX), BatchShape::sequences(MAX / 2, 2)];
    table.row(name, &["reports"], || {
        for shape in batch_shapes {
            for mode in [Mode::Train, Mode::Evaluate, Mode::Infer] {
                let _ = layer.memory(shape, mode);
            }
            let _ = (layer.output_shape(shape).rows(), layer.hints(), layer.gain_bound(&[], shape));
        }
        let mut end = 0;
        layer.blocks(&mut |block| end = block.range.end);
        assert_eq!(end, dims.parameters, "{name}: blocks end where the parameters do");
        let _ = (layer.spec().widths(), summary(&layer).to_string(), format!("{layer:?}"));
        "reports"
    });
    if dims.parameters > 1 << 40 {
        table.row(&format!("{name}: initialize"), &["TooLarge"], || kind(initialize::<f64>(&layer, 1)));
    }
    let hostile = [dims.input, dims.output, dims.parameters].into_iter().max().unwrap() > 1 << 40;
    let narrow = dims.input.min(dims.output) == 0;
    let expected: &[&str] = match (narrow, hostile) {
        (true, _) => &["Parameter"],
        (false, true) => &["TooLarge"],
        (false, false) => &["Ok", "TooLarge"],
    };
    let (mut first, mut second) = (Sequential::<f64>::new(dims.input), Sequential::<f64>::new(dims.input));
    let fits: &[&str] = if hostile { &["TooLarge", "Ok"] } else { expected };
    let fits = if narrow { expected } else { fits };
    table.row(&format!("{name}: push"), fits, || kind(first.push(layer.clone())));
    table.row(&format!("{name}: push, workspace"), expected, || {
        let pushed = second.push(layer.clone());
        kind(pushed.and_then(|()| Workspace::<f64, _>::new(second, BatchShape::batch(1))))
    });
    table.row(&format!("{name}: workspace"), expected, || kind(Workspace::<f64, _>::new(&layer, BatchShape::batch(1))));
    let inference: &[&str] = if hostile || narrow { expected } else { &["Ok", "TooLarge"] };
    table.row(&format!("{name}: inference"), inference, || {
        kind(Workspace::<f64, _>::for_inference(&layer, BatchShape::batch(1)))
    });
    for batch in [MAX, MAX / 2, 1 << 62] {
        let refused: &[&str] = if narrow { &["Parameter", "TooLarge"] } else { &["TooLarge"] };
        let shape = BatchShape::sequences(batch, 1);
        table.row(&format!("{name}: {batch}"), refused, || kind(Workspace::<f64, _>::new(&layer, shape)));
        table.row(&format!("{name}: {batch}"), refused, || kind(Workspace::<f64, _>::for_inference(&layer, shape)));
    }
}

#[test]
fn layers_of_hostile_sizes_saturate_and_are_refused() {
    if !limited("layers_of_hostile_sizes_saturate_and_are_refused") {
        return;
    }
    let mut table = Table(Vec::new());
    for a in SIZES {
        for b in SIZES {
            let name = |kind: &str| format!("{kind}({a}, {b})");
            layer(&mut table, &name("Linear"), Linear::new(a, b));
            layer(&mut table, &name("Linear without bias"), Linear::new(a, b).without_bias());
            layer(&mut table, &name("Elman"), Recurrent::new(a, b, Elman::new(Tanh)));
            layer(&mut table, &name("Lstm"), Recurrent::new(a, b, Lstm::new()));
            layer(&mut table, &name("Gru"), Recurrent::new(a, b, Gru::new()));
            let one = Recurrent::new(a, b, Lstm::new());
            if let Ok(reversed) = Reversed::new::<f64>(one.clone()) {
                layer(&mut table, &name("Reversed"), reversed);
            }
            if let Ok(both) = Bidirectional::new::<f64>(one.clone(), one) {
                layer(&mut table, &name("Bidirectional"), both);
            }
        }
        let name = |kind: &str| format!("{kind}({a})");
        layer(&mut table, &name("ActivationLayer"), ActivationLayer::new(a, Relu));
        layer(&mut table, &name("PRelu"), PRelu::new(a));
        layer(&mut table, &name("PRelu per unit"), PRelu::new(a).per_unit());
        layer(&mut table, &name("LayerNorm"), LayerNorm::new(a));
        layer(&mut table, &name("RmsNorm"), RmsNorm::new(a));
        layer(&mut table, &name("LastStep"), LastStep::new(a));
        layer(&mut table, &name("MeanOverSteps"), MeanOverSteps::new(a));
        if let Ok(residual) = Residual::<f64>::new(Linear::new(a, a)) {
            layer(&mut table, &name("Residual"), std::sync::Arc::new(residual));
        }
    }
    assert!(table.0.is_empty(), "{} of the table:\n{}", table.0.len(), table.0.join("\n"));
}

#[test]
fn hostile_sizes_give_a_value_or_a_typed_error() {
    if !limited("hostile_sizes_give_a_value_or_a_typed_error") {
        return;
    }
    let mut table = Table(Vec::new());
    batch_shapes(&mut table);
    data(&mut table);
    trainers(&mut table);
    threads(&mut table);
    networks(&mut table);
    assert!(table.0.is_empty(), "{} of the table:\n{}", table.0.len(), table.0.join("\n"));
}

#[test]
fn hostile_sizes_in_theory_give_a_value_or_a_typed_error() {
    if !limited("hostile_sizes_in_theory_give_a_value_or_a_typed_error") {
        return;
    }
    let mut table = Table(Vec::new());
    theories(&mut table);
    assert!(table.0.is_empty(), "{} of the table:\n{}", table.0.len(), table.0.join("\n"));
}

fn batch_shapes(table: &mut Table) {
    let cases = [
        (BatchShape::batch(0), "EmptyBatch"),
        (BatchShape::batch(1), "Ok"),
        (BatchShape::batch(MAX), "TooLarge"),
        (BatchShape::batch(MAX / 2), "Ok"),
        (BatchShape::sequences(2, 0), "NoSteps"),
        (BatchShape::sequences(2, 1 << 63), "TooLarge"),
        (BatchShape::sequences(1 << 63, 2), "TooLarge"),
        (BatchShape::sequences(1 << 32, 1 << 32), "TooLarge"),
        (BatchShape::sequences(1 << 31, 1 << 31), "Ok"),
        (BatchShape::ragged(&[]), "EmptyBatch"),
        (BatchShape::ragged(&[MAX, 1]), "TooLarge"),
        (BatchShape::ragged(&[MAX / 2, MAX / 2, 3]), "TooLarge"),
    ];
    for (shape, expected) in cases {
        table.row(&format!("{shape:?}"), &[expected], || kind(shape.check()));
        table.row(&format!("{shape:?}: methods"), &["reports"], || {
            for at in SIZES {
                let _ = (shape.rows(), shape.active(at), shape.step(at), shape.length(at), shape.row(at, at));
            }
            "reports"
        });
    }
    table.row("blocks", &["reports"], || {
        for a in SIZES {
            for b in SIZES {
                let block = Block::new("w", a, [b, a], Role::Weight);
                assert!(block.range.start <= block.range.end);
                let block = block.within("0", b);
                assert!(block.range.start <= block.range.end);
                let _ = (
                    LinkPath::new(&[]).part(a).part(b).index(),
                    TrainableMask::ALL.part(a).part(b).any(a),
                    Dims::new(a, b, a),
                );
            }
        }
        "reports"
    });
}

fn data(table: &mut Table) {
    let (inputs, targets) = ([0.5; 8], [0.5; 8]);
    let values = Target::Values(&targets[..4]);
    for a in SIZES {
        for b in SIZES {
            let possible = a >= 1 && b >= 1 && a.checked_mul(b).is_some_and(|each| 8 % each == 0);
            let expected: &[&str] = match (a, b) {
                (a, b) if possible && a * b <= 2 => &["Ok"],
                (0, _) | (_, 0) => &["Empty"],
                _ => &["TooLarge", "Length", "InvalidData", "Ok"],
            };
            let targets_of = if (a, b) == (1, 1) { Target::Values(&targets) } else { values };
            table.row(&format!("sequences({a}, {b})"), expected, || {
                let data = Dataset::sequences(a, b, &inputs, targets_of);
                if let Ok(data) = &data {
                    let mut batch = Batch::new(data, MAX);
                    batch.gather(data, &[0], false).unwrap();
                }
                kind(data)
            });
            let lengths = [a, b];
            table.row(&format!("ragged(0, [{a}, {b}])"), &["NoSteps", "Empty"], || {
                kind(Dataset::ragged(0, &lengths, &[], values))
            });
            let expected: &[&str] = if (a, b) == (1, 1) { &["Ok"] } else { &["NoSteps", "TooLarge", "Length"] };
            table.row(&format!("ragged(4, [{a}, {b}])"), expected, || {
                kind(Dataset::ragged(4, &lengths, &inputs, Target::Values(&targets[..2])))
            });
            table.row(&format!("ragged({a}, [1, 1])"), &["Ok", "TooLarge", "Length", "Empty"], || {
                kind(Dataset::ragged(a, &[1, 1], &inputs, Target::Values(&targets[..2])))
            });
        }
    }
    // One long sample among many short ones: the largest batch is the data, not samples × longest.
    let mut lengths = vec![1; 1 << 16];
    lengths[7] = 1 << 16;
    let inputs = vec![0.5; (1 << 16) - 1 + (1 << 16)];
    let targets = vec![0.5; 1 << 16];
    table.row("a long sample among short ones", &["Ok"], || {
        let data = Dataset::ragged(1, &lengths, &inputs, Target::Values(&targets)).unwrap();
        let mut batch = Batch::new(&data, MAX);
        let all: Vec<usize> = (0..1 << 16).collect();
        let gathered = batch.gather(&data, &all, false);
        assert_eq!(batch.x().len(), inputs.len());
        kind(gathered)
    });
}

/// A trainer of a line, and its losses.
fn fit(settings: TrainConfig) -> Result<Vec<f64>, Error> {
    let inputs: Vec<f64> = (0..12).map(|i| f64::from(i) / 8.0).collect();
    let targets: Vec<f64> = inputs.iter().map(|x| 3.0 * x - 1.0).collect();
    let data = Dataset::rows(1, &inputs, Target::Values(&targets))?;
    let network = Sequential::<f64>::input(1).linear(1).build()?;
    let mut trainer = Trainer::new(network, MeanSquaredError::new(), Sgd::new(0.1), settings)?;
    let epochs = trainer.fit(&data)?;
    trainer.evaluate(&data)?;
    trainer.metric(&data, |_, _, _| 1.0)?;
    trainer.predict(&data)?;
    let mut batch = Batch::new(&data, MAX);
    trainer.step(&data, &mut batch, &[0, 1, 2], &mut ())?;
    Ok(epochs.iter().map(|epoch| epoch.loss).collect())
}

fn trainers(table: &mut Table) {
    let plain = TrainConfig { batch_size: 12, epochs: 3, ..TrainConfig::default() };
    let whole = fit(plain).unwrap();
    for batch in [MAX, MAX / 2, 1 << 31, 1 << 63, 13, 4097] {
        for accumulate in [1, MAX, 1 << 63, 1 << 31] {
            table.row(&format!("batch {batch}, accumulate {accumulate}"), &["Ok"], || {
                let settings = TrainConfig { batch_size: batch, accumulation_steps: accumulate, ..plain };
                let losses = fit(settings);
                assert_eq!(losses.as_ref(), Ok(&whole), "a batch larger than the data is the data");
                kind(losses)
            });
        }
    }
    for accumulate in [MAX, 1 << 63, 1 << 31] {
        table.row(&format!("batch 4, accumulate {accumulate}"), &["Ok"], || {
            kind(fit(TrainConfig { batch_size: 4, accumulation_steps: accumulate, ..plain }))
        });
    }
    for (settings, expected) in [
        (TrainConfig { batch_size: 0, ..plain }, "Parameter"),
        (TrainConfig { accumulation_steps: 0, ..plain }, "Parameter"),
        (TrainConfig { patience: Some(0), ..plain }, "Parameter"),
        (TrainConfig { threads: 0, ..plain }, "Parameter"),
        (TrainConfig { threads: MAX, ..plain }, "TooLarge"),
        (TrainConfig { threads: MAX / 2, ..plain }, "TooLarge"),
        (TrainConfig { threads: 1 << 31, ..plain }, "TooLarge"),
    ] {
        table.row(&format!("{settings:?}"), &[expected], || kind(fit(settings)));
    }
}

fn threads(table: &mut Table) {
    let network = Sequential::<f64>::input(3).linear(2).build().unwrap();
    let w = initialize(&network, 1).unwrap();
    let mut workspace = Workspace::new(&network, BatchShape::batch(4)).unwrap();
    for (threads, expected) in [
        (2, &["Ok", "Threads"][..]),
        (0, &["Parameter"]),
        (MAX, &["TooLarge"]),
        (MAX / 2, &["TooLarge"]),
        (1 << 31, &["TooLarge"]),
        (4097, &["TooLarge"]),
        (1, &["Ok"]),
    ] {
        table.row(&format!("{threads} threads"), expected, || kind(workspace.set_threads(threads)));
        table.row(&format!("a pass after {threads} threads"), &["Ok"], || {
            kind(workspace.forward(&w, &[0.5; 12], BatchShape::batch(4)).map(drop))
        });
    }
    for shape in [BatchShape::batch(MAX), BatchShape::sequences(2, 1 << 63), BatchShape::ragged(&[MAX, MAX])] {
        table.row(&format!("{shape:?}: passes"), &["TooLarge"], || kind(workspace.forward(&w, &[], shape).map(drop)));
        table.row(&format!("{shape:?}: passes"), &["TooLarge"], || kind(workspace.infer(&w, &[], shape).map(drop)));
        table.row(&format!("{shape:?}: passes"), &["TooLarge"], || kind(workspace.input_mut(shape).map(drop)));
    }
}

fn networks(table: &mut Table) {
    for width in [MAX, MAX / 2, 1 << 31, 1 << 63] {
        table.row(&format!("builder of {width}"), &["TooLarge"], || {
            kind(Sequential::<f64>::input(width).linear(width).build())
        });
        table.row(&format!("builder to {width}"), &["TooLarge"], || {
            let network = Sequential::<f64>::input(4).linear(width).linear(4).build();
            kind(network.and_then(|network| initialize(&network, 1)))
        });
        table.row(&format!("builder of two to {width}"), &["TooLarge"], || {
            let network = Sequential::<f64>::input(4).bidirectional(width, Lstm::new()).build();
            kind(network.and_then(|network| initialize(&network, 1)))
        });
        table.row(&format!("node of {width}"), &["TooLarge"], || {
            let linear = LayerSpec::Linear(Linear::new(4, width).weights(Zeros));
            let node = LayerSpec::Sequential { input: 4, layers: vec![linear] };
            kind(node.build::<f64>().and_then(|network| initialize(&network, 1)))
        });
    }
    table.row("sums of widths", &["TooLarge"], || {
        let half = MAX / 32;
        let mut network = Sequential::<f64>::new(half);
        let pushed = (0..64).try_for_each(|_| network.push(ActivationLayer::new(half, Relu)));
        kind(pushed)
    });
}

fn theories(table: &mut Table) {
    use chainrule::{
        initializer::{Orthogonal, Shape, Sparse},
        linalg::{eigenvalues, spectral_norm_bound},
        mean_field::MeanField,
        random::generator,
        theory::{
            Certificate, InputStatistics, LyapunovSpectrum, Prediction, SingleInput, lyapunov_spectrum, state_jacobian,
        },
    };
    let recurrent = Sequential::<f64>::input(1).recurrent(2, Elman::new(Tanh)).last_step().build().unwrap();
    let line = Sequential::<f64>::input(1).linear(1).mean_over_steps().build().unwrap();
    let inputs = InputStatistics::new(1.0).unwrap();
    for (steps, expected) in [
        (0, "Parameter"),
        (1, "Ok"),
        (1 << 12, "Ok"),
        (1 << 20, "TooLarge"),
        (1 << 31, "TooLarge"),
        (MAX / 2, "TooLarge"),
        (MAX, "TooLarge"),
    ] {
        table.row(&format!("a sampled prediction of {steps} steps"), &[expected], || {
            kind(inputs.steps(steps).and_then(|inputs| Prediction::of(&recurrent, inputs)))
        });
        // The mean over the steps is sampled.
        table.row(&format!("a prediction of {steps} steps"), &[expected], || {
            kind(inputs.steps(steps).and_then(|inputs| Prediction::of(&line, inputs)))
        });
    }
    let w = initialize(&recurrent, 1).unwrap();
    for (shape, expected) in [
        (BatchShape::sequences(1, 1000), "Ok"),
        (BatchShape::sequences(1, 1 << 31), "TooLarge"),
        (BatchShape::sequences(1, MAX), "TooLarge"),
        (BatchShape::sequences(2, MAX / 2), "TooLarge"),
    ] {
        table
            .row(&format!("a certificate of {shape:?}"), &[expected], || kind(Certificate::new(&recurrent, &w, shape)));
    }
    for width in [MAX, MAX / 2, 1 << 40] {
        let he = chainrule::initializer::He::normal();
        let node = LayerSpec::Linear(Linear::new(1, width).weights(he).without_bias());
        table
            .row(&format!("one input through {width}"), &["TooLarge"], || kind(SingleInput::of_node(&node, inputs, 1)));
        table.row(&format!("a prediction of width {width}"), &["Ok"], || kind(Prediction::of_node(&node, inputs)));
        table.row(&format!("{width} nets"), &["TooLarge"], || kind(SingleInput::of(&line, inputs, width)));
    }
    table.row("no nets", &["Parameter"], || kind(SingleInput::of(&line, inputs, 0)));
    for (weight_variance, bias_variance, expected) in [(1.0, 0.1, "Ok"), (1.5, 0.1, "Ok"), (1.0, 0.0, "TooLarge")] {
        let field = MeanField::new(&Tanh, weight_variance, bias_variance).unwrap();
        for depth in [MAX, MAX / 2, 1 << 31] {
            let name = format!("{depth} layers of ({weight_variance}, {bias_variance})");
            table.row(&name, &[expected], || kind(field.decades(1.0, depth)));
        }
    }
    table.row("a mean field without layers", &["Ok"], || {
        let field = MeanField::new(&Tanh, 1.5, 0.1).unwrap();
        assert_eq!(field.decades(1.0, 0), Ok(0.0));
        // The closed form of the layers that are alike is the sum of them.
        let (some, more) = (field.decades(1.0, 70_000).unwrap(), field.decades(1.0, 140_000).unwrap());
        let each = field.layers(1.0).unwrap().nth(1000).unwrap().decades();
        assert!((more - some - 70_000.0 * each).abs() < 1e-6 * more.abs(), "{some} {more} {each}");
        "Ok"
    });
    for a in SIZES {
        for b in SIZES {
            let expected: &[&str] = match (a, b) {
                (0, _) | (_, 0) => &["Parameter"],
                (a, b) if b > a => &["Parameter"],
                (1 | 2, _) => &["Ok"],
                _ => &["TooLarge"],
            };
            table.row(&format!("LyapunovSpectrum::new({a}, {b})"), expected, || kind(LyapunovSpectrum::new(a, b)));
            table.row(&format!("shapes [{a}, {b}]"), &["reports"], || {
                let _ = (spectral_norm_bound(&[1.0], a, b), eigenvalues(&[1.0], a).is_ok());
                let _ = lyapunov_spectrum(&Recurrent::new(1, 2, Lstm::new()), &[0.1; 32], &[0.5; 4], a, b).is_ok();
                let shape = Shape::new(a, b, Role::Weight);
                for initializer in [Orthogonal::default().kind(), Sparse::std(1.0).non_zeros(b).kind()] {
                    let _ = (initializer.variance(shape), initializer.mean(shape), initializer.range(shape));
                    let _ = initializer.fill(shape, &mut generator(1), &mut [0.0; 2]);
                    let _ = initializer.fill_gates(
                        shape,
                        &[Gate::new("a"), Gate::new("b")],
                        &mut generator(1),
                        &mut [0.0; 2],
                    );
                }
                "reports"
            });
        }
        let wide = Recurrent::new(1, a, Lstm::new());
        let refused = &["Length", "Parameter", "TooLarge"];
        table.row(&format!("a trajectory of width {a}"), refused, || kind(state_jacobian(&wide, &[0.5], &[0.5], &[])));
    }
}

#[test]
#[cfg(feature = "proptest")]
fn strategies_of_hostile_limits_give_cases() {
    use chainrule::testing::strategies::{Limits, batch_shapes, cases, lengths, networks, widths};
    use proptest::{
        strategy::{Strategy, ValueTree},
        test_runner::TestRunner,
    };
    if !limited("strategies_of_hostile_limits_give_cases") {
        return;
    }
    let mut runner = TestRunner::deterministic();
    for a in SIZES {
        for b in SIZES {
            widths(a).new_tree(&mut runner).unwrap().current();
            lengths(a, b).new_tree(&mut runner).unwrap().current();
            batch_shapes(a, b).new_tree(&mut runner).unwrap().current();
        }
        let limits = Limits { layers: a, width: a, depth: 1, recurrent: false, batch: a, steps: a };
        networks(limits).new_tree(&mut runner).unwrap().current();
        let few = Limits { layers: 1, ..limits };
        cases::<f32>(few).new_tree(&mut runner).unwrap().current();
    }
}
