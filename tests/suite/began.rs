//! A run is judged from where it began: the faults of its first parameters, and of parameters that were loaded.

use crate::harmless::{WIDTH, above_a_note, checked, normal, run, signs};
use chainrule::{
    BatchShape, Blocks, Error,
    activation::{Gelu, HardTanh, Relu, Sigmoid, Tanh},
    dataset::Dataset,
    diagnosis::{Cause, Diagnosis, Report, check_parameters},
    initializer::{He, LeCun, Normal, Uniform},
    layer::{BranchScale, Embedding, LayerNorm, Linear, Residual, Sequential, initialize},
    loss::{CrossEntropy, MeanSquaredError, Target},
    monitor::Statistics,
    theory::InputStatistics,
    trainer::{FitOptions, TrainConfig, Trainer},
    transform::{Adam, Sgd},
};

fn root(report: &Report) -> Option<Cause> {
    report.root().map(|root| root.cause)
}

fn unchanged(_: &mut [f32], _: &Blocks) {}

/// Returns a network of `depth` hidden layers of `linear` and the activation `wrap` adds.
fn stack(
    depth: usize,
    linear: impl Fn(usize) -> Linear,
    wrap: impl Fn(chainrule::network::Builder<f32>) -> chainrule::network::Builder<f32>,
) -> Result<Sequential<f32>, Error> {
    let mut network = Sequential::<f32>::input(WIDTH);
    for layer in 0..depth {
        network = wrap(network.layer(linear(if layer == 0 { WIDTH } else { 40 })));
    }
    network.layer(Linear::new(40, 2).weights(LeCun::normal())).build()
}

/// The copy is made of the parameters before the first update, and of no later ones.
#[test]
fn statistics_hold_the_parameters_before_the_first_update() -> Result<(), Error> {
    let x = normal(64 * WIDTH);
    let y = signs(&x);
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let network = stack(2, |inputs| Linear::new(inputs, 40), |network| network.activation(Tanh))?;
    for adam in [false, true] {
        let chain: Box<dyn chainrule::transform::GradientTransform<f32>> =
            if adam { Box::new(Adam::new(0.01)) } else { Box::new(Sgd::new(0.1)) };
        let settings = TrainConfig { epochs: 3, ..TrainConfig::default() };
        let mut trainer = Trainer::new(&network, CrossEntropy::new(), chain, settings)?;
        let first: Vec<f64> = trainer.parameters().iter().copied().map(f64::from).collect();
        let mut seen = Statistics::new();
        assert_eq!(seen.first_parameters(), None);
        trainer.fit_with(&data, FitOptions::new().monitor(&mut seen))?;
        assert_eq!(seen.first_parameters(), Some(&first[..]));
        // A run that goes on with new statistics begins where the other ended.
        let ended: Vec<f64> = trainer.parameters().iter().copied().map(f64::from).collect();
        let mut again = Statistics::new();
        trainer.fit_with(&data, FitOptions::new().monitor(&mut again))?;
        assert!(again.first_parameters() == Some(&ended[..]) && ended != first);
    }
    Ok(())
}

/// Small weights, large weights and sigmoids leave dead units and a collapsed representation: these are effects.
#[test]
fn root_of_a_held_up_run_is_the_fault_of_its_first_parameters() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y = signs(&x);
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let momentum = || Sgd::new(0.02).momentum(0.9);
    let he = |inputs| Linear::new(inputs, 40).weights(He::normal());
    let small = |inputs| Linear::new(inputs, 40).weights(Normal { mean: 0.0, std: 0.01 });
    let positive = |inputs| Linear::new(inputs, 40).weights(Uniform { low: 0.0, high: 1.0 });
    let relu = |network: chainrule::network::Builder<f32>| network.activation(Relu);
    let sigmoid = |network: chainrule::network::Builder<f32>| network.activation(Sigmoid);
    let lecun = |inputs| Linear::new(inputs, 40).weights(LeCun::normal());
    for (network, cause) in [
        (stack(7, small, relu)?, Cause::SmallWeights),
        (stack(5, positive, relu)?, Cause::LargeWeights),
        (stack(8, lecun, sigmoid)?, Cause::SaturatingActivation),
    ] {
        let report = run(&network, &data, &CrossEntropy::new(), momentum(), 160, unchanged)?;
        let first = report.root().unwrap_or_else(|| panic!("{report}"));
        assert_eq!((first.cause, first.since), (cause, Some(0)), "{report}");
        assert!(first.of_first_parameters && first.text.starts_with("since the first pass: "), "{report}");
        assert!(report.to_string().contains("on the first parameters"), "{report}");
    }
    let sound = run(&stack(4, he, relu)?, &data, &CrossEntropy::new(), momentum(), 160, unchanged)?;
    assert!(sound.is_healthy(), "{sound}");
    Ok(())
}

/// A gradient that explodes at first is no fault of a run that fitted its targets since.
#[test]
fn loud_start_that_was_overcome_is_no_fault() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y = signs(&x);
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let loud = |inputs| Linear::new(inputs, 40).weights(He::normal().gain(8.0));
    let network = stack(4, loud, |network| network.activation(Relu))?;
    assert_eq!(root(&checked(&network, &x[..64 * WIDTH], BatchShape::batch(64))?), Some(Cause::LargeWeights));
    let report = run(&network, &data, &CrossEntropy::new(), Adam::new(3e-3), 600, unchanged)?;
    assert!(report.findings.iter().all(|it| !it.of_first_parameters), "{report}");
    Ok(())
}

/// A gain far below 1 makes small inputs of the next layer, and a large ε too; the next norm divides by it again, so
/// the sum of the decades is sound. Where the loss falls all the same it is a note.
#[test]
fn norm_of_small_outputs_is_found_beside_a_sound_sum() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y = signs(&x);
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let norm = |network: chainrule::network::Builder<f32>| network.layer_norm().activation(Gelu);
    let network = stack(4, |inputs| Linear::new(inputs, 40).weights(He::normal()), norm)?;
    let gains = |w: &mut [f32], blocks: &Blocks| {
        let gains = blocks.iter().filter(|block| block.name.ends_with("gain"));
        gains.for_each(|block| w[block.range.clone()].fill(0.03));
    };
    let report = run(&network, &data, &CrossEntropy::new(), Sgd::new(0.005), 60, gains)?;
    let first = report.root().unwrap_or_else(|| panic!("{report}"));
    assert_eq!((first.cause, first.place()), (Cause::Bottleneck, "layers 1, 4, 7 and 10".into()), "{report}");
    let report = run(&network, &data, &CrossEntropy::new(), Adam::new(1e-2), 200, gains)?;
    assert!(!above_a_note(&report, Cause::Bottleneck), "{report}");
    let sound = run(&network, &data, &CrossEntropy::new(), Adam::new(1e-2), 200, unchanged)?;
    assert!(sound.findings.iter().all(|it| it.cause != Cause::Bottleneck), "{sound}");
    let wide = Sequential::<f32>::input(WIDTH).layer(Linear::new(WIDTH, 40).weights(He::normal())).layer_norm();
    let wide = wide.activation(Gelu).linear(40).layer(LayerNorm::new(40).epsilon(1e6)?).activation(Gelu);
    let wide = wide.linear(40).layer_norm().activation(Gelu).linear(2).build()?;
    let report = run(&wide, &data, &CrossEntropy::new(), Sgd::new(0.005), 60, unchanged)?;
    let first = report.root().unwrap_or_else(|| panic!("{report}"));
    assert_eq!((first.cause, &*first.layer), (Cause::Bottleneck, "4"), "{report}");
    assert!(first.because.contains('ε'), "{report}");
    Ok(())
}

/// A table of rows of size 300 is an input of size 300.
#[test]
fn table_of_large_rows_is_found_as_large_inputs_are() -> Result<(), Error> {
    let x: Vec<f32> = (0..256).map(|row| (row * 7 % 30) as f32).collect();
    let y: Vec<usize> = x.iter().map(|&x| usize::from(x < 15.0)).collect();
    let data = Dataset::rows(1, &x, Target::Classes(&y))?;
    for (std, is_large) in [(300.0, true), (1.0, false)] {
        let table = Embedding::new(30, 8).weights(Normal { mean: 0.0, std });
        let network = Sequential::<f32>::input(1).layer(table).linear(24).activation(Relu).linear(2).build()?;
        let report = check_parameters(&network, &initialize(&network, 1)?, &x[..64], BatchShape::batch(64), None)?;
        let found = report.faults().any(|it| it.cause == Cause::LargeWeights && it.place() == "layer 0");
        assert_eq!(found, is_large, "{report}");
        let report = run(&network, &data, &CrossEntropy::new(), Adam::new(1e-4), 60, unchanged)?;
        assert_eq!(root(&report) == Some(Cause::LargeWeights), is_large, "{report}");
    }
    Ok(())
}

/// Outputs that begin at 900 are those of their biases, whatever the run leaves behind in the layers before them.
#[test]
fn loaded_output_biases_are_large_weights_of_the_last_layer() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y: Vec<f32> = x.chunks(WIDTH).map(|row| row[0] * row[1]).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Values(&y))?;
    let network = stack(2, |inputs| Linear::new(inputs, 40), |network| network.activation(Tanh))?;
    let network = Sequential::<f32>::input(WIDTH).layer(network).linear(1).build()?;
    let load = |w: &mut [f32], blocks: &Blocks| w[blocks.get("1.bias").expect("a bias").range.clone()].fill(900.0);
    let report = run(&network, &data, &MeanSquaredError::new(), Adam::new(0.01), 200, load)?;
    let first = report.root().unwrap_or_else(|| panic!("{report}"));
    assert_eq!((first.cause, &*first.layer), (Cause::LargeWeights, "1"), "{report}");
    let report = run(&network, &data, &MeanSquaredError::new(), Adam::new(0.01), 200, unchanged)?;
    assert!(report.is_healthy(), "{report}");
    Ok(())
}

/// A model of targets around 500 goes on with targets around 480, of which a quarter of the variance can be learned:
/// its biases are large, and brought it near enough.
#[test]
fn biases_near_the_targets_hold_nothing_up() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    // The second column is not an input, but the noise of the targets.
    let y: Vec<f32> = x.chunks(WIDTH).map(|row| 480.0 + 0.5 * row[0] + 0.866 * row[1]).collect();
    let x: Vec<f32> = x.chunks(WIDTH).flat_map(|row| [&row[..1], &row[2..]].concat()).collect();
    let data = Dataset::rows(WIDTH - 1, &x, Target::Values(&y))?;
    let network = Sequential::<f32>::input(WIDTH - 1).linear(1).build()?;
    let load = |w: &mut [f32], blocks: &Blocks| w[blocks.get("0.bias").expect("a bias").range.clone()].fill(500.0);
    let report = run(&network, &data, &MeanSquaredError::new(), Sgd::new(0.05), 200, load)?;
    assert!(report.faults().all(|it| it.cause != Cause::LargeWeights), "{report}");
    Ok(())
}

/// Inputs of size 1 saturate a tanh that is clipped at 0.01, whatever the weights: they are not to blame.
#[test]
fn activation_that_is_flat_at_size_one_is_at_fault() -> Result<(), Error> {
    let x = normal(64 * WIDTH);
    for (limit, is_flat) in [(0.01, true), (1.0, false)] {
        let flat = HardTanh::new(-limit, limit)?;
        let network = stack(3, |it| Linear::new(it, 40).weights(He::normal()), |network| network.activation(flat))?;
        let report = checked(&network, &x, BatchShape::batch(64))?;
        assert_eq!(root(&report) == Some(Cause::SaturatingActivation), is_flat, "{report}");
        assert!(report.faults().all(|it| it.cause != Cause::LargeWeights), "{report}");
    }
    Ok(())
}

/// A trainer that refuses its parameters makes no pass: the statistics are empty, and hide nothing. A NaN that was
/// there before the first product is that parameter, and no overflow.
#[test]
fn parameter_that_is_not_a_number_is_named_with_empty_statistics_too() -> Result<(), Error> {
    let x = normal(64 * WIDTH);
    let network = stack(3, |inputs| Linear::new(inputs, 40), |network| network.activation(Relu))?;
    for (value, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "infinite")] {
        let mut w: Vec<f32> = initialize(&network, 1)?;
        let blocks = Blocks::collect(|visit| chainrule::Layer::<f32>::blocks(&network, visit));
        w[blocks.get("2.weight")?.range.start + 5] = value;
        let inputs = InputStatistics::of_rows(&x)?;
        let diagnosis = || Diagnosis::new(&network, inputs)?.interventions(&w, &x, BatchShape::batch(64));
        let seen = Statistics::new();
        let (with, without) = (diagnosis()?.statistics(&seen).report(), diagnosis()?.report());
        assert_eq!(with.to_string(), without.to_string());
        let first = with.root().unwrap_or_else(|| panic!("{with}"));
        assert_eq!((first.cause, first.place()), (Cause::NotANumber, "layer 2".into()), "{with}");
        assert!(first.text.contains(&format!("a parameter of 2.weight is {name}")), "{with}");
    }
    Ok(())
}

/// Additions report in the backward pass; the ranges have the order of the forward pass.
#[test]
fn loud_branches_are_named_in_the_order_of_the_forward_pass() -> Result<(), Error> {
    let x = normal(64 * WIDTH);
    let mut network = Sequential::<f32>::input(WIDTH).linear(32);
    for _ in 0..6 {
        let he = || Linear::new(32, 32).weights(He::normal());
        let branch = Sequential::<f32>::input(32).layer(he()).activation(Relu).layer(he()).build()?;
        network = network.layer(Residual::new(branch)?.scale(BranchScale::Fixed(3.0))?);
    }
    let report = checked(&network.linear(4).build()?, &x, BatchShape::batch(64))?;
    let found = report.faults().find(|it| it.cause == Cause::LoudBranches).unwrap_or_else(|| panic!("{report}"));
    assert_eq!(found.place(), "layers 1 to 6", "{report}");
    Ok(())
}

/// Years make pre-activations and a budget that standardized inputs mend: that is one fault.
#[test]
fn one_fault_is_counted_once() -> Result<(), Error> {
    let x: Vec<f32> = normal(256 * WIDTH).iter().map(|x| 2000.0 + 10.0 * x).collect();
    let y: Vec<usize> = x.chunks(WIDTH).map(|row| usize::from(row[0] > 2000.0)).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let network = stack(3, |inputs| Linear::new(inputs, 40).weights(LeCun::normal()), |it| it.activation(Tanh))?;
    let report = run(&network, &data, &CrossEntropy::new(), Sgd::new(0.02), 60, unchanged)?;
    let told: Vec<_> = report.faults().filter(|it| it.cause == Cause::UnscaledInput).collect();
    assert_eq!(told.len(), 1, "{report}");
    assert_eq!(root(&report), Some(Cause::UnscaledInput), "{report}");
    Ok(())
}
