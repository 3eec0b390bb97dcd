//! Faults of size that updates make up for, each beside one that they do not.

use crate::harmless::{WIDTH, above_a_note, normal, run_with, signs};
use chainrule::{
    BatchShape, Error,
    activation::{Relu, Sigmoid, Tanh},
    dataset::Dataset,
    diagnosis::{Cause, Diagnosis, Report, Severity, first_check},
    initializer::{Constant, Glorot, He, LeCun, Normal},
    layer::{BranchScale, Embedding, Linear, Residual, Sequential},
    loss::{CrossEntropy, Target},
    recurrent::{Gru, Recurrent},
    theory::InputStatistics,
    transform::{Adam, AdamW, GradientTransform, Penalty, PerGroup, Sgd},
};

fn sigmoids(depth: usize) -> Result<Sequential<f32>, Error> {
    let mut network = Sequential::<f32>::input(WIDTH);
    for _ in 0..depth {
        let width = network.width();
        network = network.layer(Linear::new(width, 40).weights(Glorot::uniform())).activation(Sigmoid);
    }
    network.linear(2).build()
}

fn bare_blocks(blocks: usize) -> Result<Sequential<f32>, Error> {
    let mut network = Sequential::<f32>::input(WIDTH).linear(32);
    for _ in 0..blocks {
        let branch = Sequential::<f32>::input(32).layer(Linear::new(32, 32).weights(He::normal())).activation(Relu);
        let branch = branch.layer(Linear::new(32, 32).weights(LeCun::normal())).build()?;
        network = network.layer(Residual::new(branch)?.scale(BranchScale::Fixed(1.0))?);
    }
    network.linear(2).build()
}

fn small(depth: usize) -> Result<Sequential<f32>, Error> {
    let mut network = Sequential::<f32>::input(WIDTH);
    for _ in 0..depth {
        let width = network.width();
        let weights = Normal { mean: 0.0, std: 0.02 };
        network = network.layer(Linear::new(width, 48).weights(weights)).activation(Relu);
    }
    network.layer(Linear::new(48, 2).weights(Normal { mean: 0.0, std: 0.02 })).build()
}

fn forecast(network: &Sequential<f32>, run: &impl GradientTransform<f32>) -> Result<Report, Error> {
    Ok(Diagnosis::new(network, InputStatistics::new(1.0)?)?.transform(run).report())
}

/// A gradient that vanishes by two decades over few layers, or explodes, is harmless for an optimizer that divides by
/// its size. A check that knows no optimizer accuses it for no more than a note; for gradient descent it is a fault.
#[test]
fn size_that_an_optimizer_divides_out_is_a_note() -> Result<(), Error> {
    let x = normal(64 * WIDTH);
    let check = |network: &Sequential<f32>| first_check(network, &x, BatchShape::batch(64), None, 1);
    let kinds = [
        (sigmoids(4)?, sigmoids(9)?, Cause::SaturatingActivation),
        (bare_blocks(14)?, bare_blocks(30)?, Cause::LoudBranches),
        (small(2)?, small(4)?, Cause::SmallWeights),
    ];
    for (mild, severe, cause) in kinds {
        let report = check(&mild)?;
        let note = report.findings.iter().any(|it| it.cause == cause && it.severity == Severity::Note);
        assert!(report.is_healthy() && note, "{report}");
        assert!(forecast(&mild, &Adam::new(1e-3))?.is_healthy());
        let by_descent = forecast(&mild, &Sgd::new(0.1))?;
        assert!(above_a_note(&by_descent, cause), "{by_descent}");
        for report in [check(&severe)?, forecast(&severe, &Adam::new(1e-3))?] {
            assert!(above_a_note(&report, cause), "{report}");
        }
    }
    Ok(())
}

/// In the first updates of a run, too, and in one that learns.
#[test]
fn run_whose_optimizer_divides_the_size_out_is_healthy() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y = signs(&x);
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let network = sigmoids(4)?;
    for steps in [1, 40, 120] {
        let (loss, chain) = (CrossEntropy::new(), || Adam::new(1e-2));
        let report = run_with(&network, &data, &loss, chain(), steps, |_, _| {}, |it| it.transform::<f32>(&chain()))?;
        assert!(report.is_healthy(), "{steps}: {report}");
        let chain = || Sgd::new(1e-2);
        let report = run_with(&network, &data, &loss, chain(), steps, |_, _| {}, |it| it.transform::<f32>(&chain()))?;
        assert!(above_a_note(&report, Cause::SaturatingActivation), "{steps}: {report}");
    }
    Ok(())
}

/// A gate that is half open keeps the gradients of near steps, and may open further; a shut one does not.
#[test]
fn open_gate_over_a_short_span_is_a_note() -> Result<(), Error> {
    let x = normal(32 * 20 * 2);
    let of = |update: f64| {
        let bias = chainrule::initializer::ByGate::new(Constant(0.0)).gate("update", Constant(update));
        let cell = Recurrent::new(2, 20, Gru::new()).bias(bias);
        Sequential::<f32>::input(2).layer(cell).last_step().linear(1).build()
    };
    let check = |update| first_check(&of(update)?, &x, BatchShape::sequences(32, 20), Some(18), 1);
    let open = check(0.0)?;
    let note = open.findings.iter().any(|it| it.cause == Cause::ClosedForgetGate && it.severity == Severity::Note);
    assert!(open.is_healthy() && note, "{open}");
    let shut = check(-4.0)?;
    assert!(above_a_note(&shut, Cause::ClosedForgetGate), "{shut}");
    Ok(())
}

/// One bias that was set by hand changes no size that a forecast rests on; loaded weights do.
#[test]
fn bias_set_by_hand_leaves_a_forecast_as_it_is() -> Result<(), Error> {
    let network = sigmoids(5)?;
    let forecast = |block: &str, change: &dyn Fn(&mut f32)| {
        let mut w = chainrule::layer::initialize(&network, 1)?;
        let blocks = chainrule::Blocks::collect(|visit| chainrule::Layer::<f32>::blocks(&network, visit));
        w[blocks.get(block)?.range.clone()].iter_mut().for_each(change);
        let diagnosis = Diagnosis::new(&network, InputStatistics::new(1.0)?)?.transform::<f32>(&Sgd::new(0.1));
        Ok::<_, Error>(diagnosis.parameters(&network, &w, BatchShape::batch(8))?.report())
    };
    let by_hand = forecast("10.bias", &|bias| *bias = 0.5)?;
    assert!(above_a_note(&by_hand, Cause::SaturatingActivation), "{by_hand}");
    let loaded = forecast("4.weight", &|weight| *weight *= 3.0)?;
    assert!(loaded.is_healthy(), "{loaded}");
    Ok(())
}

/// Rows of a table as small as 1e-3 hardly move by gradient descent, and soon grow by updates of the usual size.
#[test]
fn small_table_is_a_fault_of_gradient_descent_alone() -> Result<(), Error> {
    let tokens: Vec<f32> = (0..256).map(|i| (i * 7 % 16) as f32).collect();
    let y: Vec<usize> = tokens.iter().map(|&token| (token as usize * 5 + 3) % 16).collect();
    let data = Dataset::rows(1, &tokens, Target::Classes(&y))?;
    let of = |std| {
        let table = Embedding::new(16, 12).weights(Normal { mean: 0.0, std });
        Sequential::<f32>::input(1).layer(table).linear(24).activation(Tanh).linear(16).build()
    };
    let told = |std, adam: bool| {
        let network = of(std)?;
        let chain = || match adam {
            true => Box::new(Adam::new(1e-2)) as Box<dyn GradientTransform<f32>>,
            false => Box::new(Sgd::new(0.1)),
        };
        let loss = CrossEntropy::new();
        run_with(&network, &data, &loss, chain(), 3, |_, _| {}, |it| it.transform::<f32>(&*chain()))
    };
    let report = told(1e-3, false)?;
    assert!(above_a_note(&report, Cause::SmallWeights), "{report}");
    for (std, adam) in [(1e-3, true), (1.0, false), (1.0, true)] {
        let report = told(std, adam)?;
        assert!(report.is_healthy(), "{std} {adam}: {report}");
    }
    Ok(())
}

/// A run on noisy labels that is certainly below constant outputs, but hardly: the last layer alone can learn that
/// little, so it is no excuse of inputs that hardly take part. Inputs of size 1 do.
#[test]
fn little_that_was_learned_excuses_no_part_of_the_network() -> Result<(), Error> {
    let x = normal(1024 * WIDTH);
    let noise: Vec<f32> = crate::numbers::normals(1024, 12);
    let y: Vec<usize> = signs(&x).iter().zip(&noise).map(|(y, it)| if *it > 0.43 { 1 - y } else { *y }).collect();
    let network = Sequential::<f32>::input(WIDTH).layer(Linear::new(WIDTH, 32).weights(LeCun::normal()));
    let network = network.activation(Tanh).layer(Linear::new(32, 2).weights(LeCun::normal())).build()?;
    for (size, is_told) in [(0.08, true), (1.0, false)] {
        let x: Vec<f32> = x.iter().map(|x| size * x).collect();
        let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
        let report = run_with(&network, &data, &CrossEntropy::new(), Sgd::new(0.5), 300, |_, _| {}, |it| it)?;
        assert_eq!(above_a_note(&report, Cause::UnscaledInput), is_told, "{size}: {report}");
    }
    Ok(())
}

/// A matrix that decay holds small, though the gradient makes it larger; a decay of the usual size holds none.
#[test]
fn weights_that_decay_holds_small_are_named() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y = signs(&x);
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let of = |inputs, outputs| Linear::new(inputs, outputs).weights(LeCun::normal());
    let network = Sequential::<f32>::input(WIDTH).layer(of(WIDTH, 32)).activation(Tanh).layer(of(32, 32));
    let network = network.activation(Tanh).layer(of(32, 2)).build()?;
    let one = |decay: f64| {
        let part = (Penalty::l2(decay), Sgd::new(0.05));
        PerGroup::<f32>::new(Sgd::new(0.05)).group("2", part)
    };
    let loss = CrossEntropy::new();
    let matrix = run_with(&network, &data, &loss, one(1.0), 200, |_, _| {}, |it| it)?;
    let root = matrix.root().unwrap_or_else(|| panic!("{matrix}"));
    assert_eq!((root.cause, root.place()), (Cause::DecayTooStrong, "layer 2".into()), "{matrix}");
    for usual in [
        run_with(&network, &data, &loss, AdamW::new(3e-3, 0.1), 200, |_, _| {}, |it| it)?,
        run_with(&network, &data, &loss, one(1e-3), 200, |_, _| {}, |it| it)?,
    ] {
        assert!(usual.is_healthy(), "{usual}");
    }
    Ok(())
}
