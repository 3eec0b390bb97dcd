//! Biases that were large before the first update, each beside biases that do no harm.

use crate::harmless::{WIDTH, above_a_note, normal, run};
use chainrule::{
    BatchShape, Blocks, Error, Layer,
    activation::{Activation, Gelu, Relu, Sigmoid, Tanh},
    dataset::Dataset,
    diagnosis::{Cause, Report, Severity, check_parameters},
    initializer::He,
    layer::{Linear, Sequential, initialize},
    loss::{MeanSquaredError, Target},
    transform::{Adam, Sgd},
};

/// Whether large weights of the layer are reported, and no other fault comes before them.
fn names(report: &Report, layer: &str) -> bool {
    report.root().is_some_and(|root| root.cause == Cause::LargeWeights && root.layer == layer)
}

fn with_bias(network: &Sequential<f32>, block: &str, bias: impl Fn(usize) -> f32) -> Result<Vec<f32>, Error> {
    let (mut w, blocks) = (initialize(network, 1)?, Blocks::collect(|visit| Layer::<f32>::blocks(network, visit)));
    let range = blocks.get(block)?.range.clone();
    w[range].iter_mut().enumerate().for_each(|(unit, w)| *w = bias(unit));
    Ok(w)
}

fn hidden(activation: impl Activation + Copy, norm: bool) -> Result<Sequential<f32>, Error> {
    let he = |inputs, outputs| Linear::new(inputs, outputs).weights(He::normal());
    let network = Sequential::<f32>::input(WIDTH).layer(he(WIDTH, 32)).activation(activation).layer(he(32, 32));
    let network = if norm { network.layer_norm() } else { network };
    network.activation(activation).layer(he(32, 32)).activation(activation).linear(3).build()
}

/// Biases of 50 make inputs of the next layer that hardly differ from row to row, and leave half of its units off. A
/// norm takes them out.
#[test]
fn large_biases_before_an_unbounded_activation_are_named() -> Result<(), Error> {
    let x = normal(64 * WIDTH);
    for (kind, network) in [("ReLU", hidden(Relu, false)?), ("GELU", hidden(Gelu, false)?)] {
        let check = |size: f32| {
            let w = with_bias(&network, "2.bias", |_| size)?;
            check_parameters(&network, &w, &x, BatchShape::batch(64), None)
        };
        let report = check(50.0)?;
        assert!(names(&report, "2"), "{kind}: {report}");
        assert!(!above_a_note(&report, Cause::DeadUnits), "{kind}: {report}");
        let usual = check(0.5)?;
        assert!(usual.is_healthy(), "{kind}: {usual}");
    }
    let normed = hidden(Relu, true)?;
    let report = check_parameters(&normed, &with_bias(&normed, "2.bias", |_| 50.0)?, &x, BatchShape::batch(64), None)?;
    assert!(!above_a_note(&report, Cause::LargeWeights), "{report}");
    Ok(())
}

/// Biases of ±20 before the activation of the outputs leave no gradient, and no optimizer makes up for that. Where all
/// targets are at a bound, outputs there are right.
#[test]
fn large_biases_before_bounded_outputs_are_named() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let signs = |unit: usize| if unit.is_multiple_of(2) { 20.0 } else { -20.0 };
    let targets: Vec<f32> = x.iter().map(|x| 0.5 + 0.4 * (0.5 * x).clamp(-1.0, 1.0)).collect();
    let right: Vec<f32> = (0..x.len()).map(|i| f32::from(u8::from(i % 2 == 0))).collect();
    let sigmoid = Sequential::<f32>::input(WIDTH).linear(24).tanh().linear(WIDTH).activation(Sigmoid).build()?;
    let tanh = Sequential::<f32>::input(WIDTH).linear(24).activation(Relu).linear(WIDTH).activation(Tanh).build()?;
    let loss = MeanSquaredError::new();
    let told = |network: &Sequential<f32>, y: &[f32], steps: usize, adam: bool, is_large: bool| {
        let data = Dataset::rows(WIDTH, &x, Target::Values(y))?;
        let w = with_bias(network, "2.bias", signs)?;
        let change = |all: &mut [f32], _: &Blocks| {
            if is_large {
                all.copy_from_slice(&w);
            }
        };
        match adam {
            true => run(network, &data, &loss, Adam::new(3e-3), steps, change),
            false => run(network, &data, &loss, Sgd::new(0.1), steps, change),
        }
    };
    for steps in [1, 40] {
        for (network, adam) in [(&sigmoid, true), (&tanh, false)] {
            let report = told(network, &targets, steps, adam, true)?;
            assert!(names(&report, "2"), "{steps}: {report}");
            let usual = told(network, &targets, steps, true, false)?;
            assert!(!above_a_note(&usual, Cause::LargeWeights), "{steps}: {usual}");
        }
        let report = told(&sigmoid, &right, steps, true, true)?;
        assert!(!above_a_note(&report, Cause::LargeWeights), "{steps}: {report}");
    }
    Ok(())
}

/// Weights a hundred times too large before GELU pass their size on, and vanish the gradient where it is flat: large
/// weights, and no bottleneck.
#[test]
fn large_first_weights_before_a_smooth_rectifier_are_named() -> Result<(), Error> {
    let x = normal(64 * WIDTH);
    let of = |gain: f64| {
        let first = Linear::new(WIDTH, 32).weights(He::normal().gain(gain));
        let network = Sequential::<f32>::input(WIDTH).layer(first).activation(Gelu);
        network.layer(Linear::new(32, 32).weights(He::normal())).activation(Gelu).linear(3).build()
    };
    let check = |gain| {
        let network = of(gain)?;
        check_parameters(&network, &initialize(&network, 1)?, &x, BatchShape::batch(64), None)
    };
    let report = check(140.0)?;
    assert!(names(&report, "0"), "{report}");
    assert!(
        report.findings.iter().all(|it| it.cause != Cause::Bottleneck || it.severity == Severity::Note),
        "{report}"
    );
    let usual = check(1.4)?;
    assert!(usual.is_healthy(), "{usual}");
    Ok(())
}
