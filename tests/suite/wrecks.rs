//! Runs that leave a wreck: dead, saturated or exploded parameters. The report names what the run did, and not what it
//! left behind.

use crate::harmless::{WIDTH, checked, normal, run, run_with, signs};
use chainrule::{
    BatchShape, Blocks, Error, Layer, Scalar,
    activation::{Gelu, Relu, Sigmoid, Tanh},
    dataset::Dataset,
    diagnosis::{Cause, Diagnosis, Report, check_parameters},
    initializer::{He, LeCun},
    layer::{Linear, Sequential, initialize},
    loss::{CrossEntropy, Loss, MeanSquaredError, Reduction, Target},
    monitor::Statistics,
    recurrent::Gru,
    theory::InputStatistics,
    trainer::{FitOptions, TrainConfig, Trainer},
    transform::{Adam, Adamax, GradientTransform, Schedule, Sgd},
};

fn rectifiers(activation: impl chainrule::activation::Activation + Copy) -> Result<Sequential<f32>, Error> {
    let mut network = Sequential::<f32>::input(WIDTH);
    for _ in 0..3 {
        network = network.layer(Linear::new(WIDTH, WIDTH).weights(He::normal())).activation(activation);
    }
    network.linear(2).build()
}

fn root(report: &Report) -> Option<Cause> {
    report.root().map(|root| root.cause)
}

/// A whole training, with all that a report can be told of it.
fn fit(
    network: &Sequential<f32>,
    data: &Dataset<'_, f32>,
    loss: &dyn Loss<f32>,
    chain: &dyn Fn() -> Box<dyn GradientTransform<f32>>,
    epochs: usize,
) -> Result<Report, Error> {
    let mut seen = Statistics::new();
    let settings = TrainConfig { epochs, ..TrainConfig::default() };
    let mut trainer = Trainer::new(network, loss, chain(), settings)?;
    // A value that is not finite ends a run, and is seen.
    let _ = trainer.fit_with(data, FitOptions::new().monitor(&mut seen));
    let (w, inputs) = (trainer.parameters(), InputStatistics::of_rows(data.inputs())?);
    let rows = BatchShape::batch(32);
    let diagnosis = Diagnosis::new(network, inputs)?.interventions(w, &data.inputs()[..32 * data.width()], rows)?;
    Ok(diagnosis.task(w, data, loss)?.transform(&*chain()).statistics(&seen).report())
}

/// A rate that grows until the units die: after that no step is long, and the loss may be near that of constant
/// outputs.
#[test]
fn units_that_a_growing_rate_kills_are_a_high_rate() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y = signs(&x);
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let momentum = |factor: f64| -> Box<dyn GradientTransform<f32>> {
        let ramp = Schedule::custom(move |step| factor.powf(f64::min(step as f64, 200.0)));
        Box::new((chainrule::transform::SkipNonFinite::new().limit(1_000_000), Sgd::new(0.02).momentum(0.9), ramp))
    };
    let adam = |factor: f64| -> Box<dyn GradientTransform<f32>> {
        Box::new((Adam::new(1e-3), Schedule::linear(1.0, factor, 200)))
    };
    let network = rectifiers(Gelu)?;
    let report = fit(&network, &data, &CrossEntropy::new(), &|| momentum(1.04), 30)?;
    assert_eq!(root(&report), Some(Cause::LearningRateTooHigh), "{report}");
    let sound = fit(&network, &data, &CrossEntropy::new(), &|| momentum(1.0), 30)?;
    assert!(sound.is_healthy(), "{sound}");
    let network = rectifiers(Relu)?;
    let report = fit(&network, &data, &CrossEntropy::new(), &|| adam(2000.0), 30)?;
    assert_eq!(root(&report), Some(Cause::LearningRateTooHigh), "{report}");
    Ok(())
}

/// Momentum makes the steps of any rate grow tenfold, which is no warm-up.
#[test]
fn momentum_hides_no_low_rate() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y = signs(&x);
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let network = rectifiers(Tanh)?;
    let of_rate = |rate: f64| {
        let chain = move || -> Box<dyn GradientTransform<f32>> { Box::new(Sgd::new(rate).momentum(0.9)) };
        fit(&network, &data, &CrossEntropy::new(), &chain, 25)
    };
    let slow = of_rate(5e-6)?;
    assert_eq!(root(&slow), Some(Cause::LearningRateTooLow), "{slow}");
    let usual = of_rate(0.05)?;
    assert!(usual.is_healthy(), "{usual}");
    Ok(())
}

/// An offset that all targets share makes all gradients alike, in batches drawn at random too.
#[test]
fn targets_with_an_offset_are_no_unmixed_batches() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y: Vec<f32> = x.chunks(WIDTH).map(|row| 700.0 + (row[0] - row[1]).tanh()).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Values(&y))?;
    let network = Sequential::<f32>::input(WIDTH).linear(24).activation(Tanh).linear(1).build()?;
    let chain = || -> Box<dyn GradientTransform<f32>> { Box::new(Adam::new(3e-3)) };
    let report = fit(&network, &data, &MeanSquaredError::new(), &chain, 30)?;
    assert_eq!(root(&report), Some(Cause::UnscaledTarget), "{report}");
    Ok(())
}

/// A squared error whose gradient has the wrong sign.
#[derive(Debug)]
pub(crate) struct Reversed;

impl<T: Scalar> Loss<T> for Reversed {
    fn evaluate(
        &self,
        width: usize,
        y: &[T],
        target: Target<'_, T>,
        weights: Option<&[T]>,
        dy: &mut [T],
    ) -> Result<T, Error> {
        let loss = MeanSquaredError::new().evaluate(width, y, target, weights, dy)?;
        dy.iter_mut().for_each(|dy| *dy = -*dy);
        Ok(loss)
    }
    fn reduction(&self) -> Reduction {
        Reduction::Mean
    }
}

/// What a climb leaves behind in the parameters is no cause of it, nor is the rate of updates up the gradient.
#[test]
fn gradient_of_the_wrong_sign_is_a_climb() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y: Vec<f32> = x.chunks(WIDTH).map(|row| row[0] - row[1]).collect();
    let data = Dataset::rows(WIDTH, &x, Target::Values(&y))?;
    let network = Sequential::<f32>::input(WIDTH).linear(24).activation(Tanh).linear(24).activation(Tanh).linear(1);
    let chain = || -> Box<dyn GradientTransform<f32>> { Box::new(Sgd::new(5e-3)) };
    let report = fit(&network.build()?, &data, &Reversed, &chain, 25)?;
    assert_eq!(root(&report), Some(Cause::NoCauseFound), "{report}");
    Ok(())
}

/// An ε far above the gradients sets the length of a step, which a hundred steps of 1e−4 show as one of 1e−5.
#[test]
fn large_epsilon_is_found_beside_steps_that_are_not_tiny() -> Result<(), Error> {
    let x = normal(256 * WIDTH);
    let y = signs(&x);
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let chain = || -> Box<dyn GradientTransform<f32>> { Box::new(Adam::new(5e-3).epsilon(3.0)) };
    let report = fit(&rectifiers(Tanh)?, &data, &CrossEntropy::new(), &chain, 25)?;
    assert_eq!(root(&report), Some(Cause::LearningRateTooLow), "{report}");
    Ok(())
}

/// Loaded weights of gates saturate them, and leave the budget as it is.
#[test]
fn loaded_weights_of_gated_and_recurrent_layers_are_found() -> Result<(), Error> {
    let of = |network: &Sequential<f32>, block: &str, shape: BatchShape<'_>, factor: f32| -> Result<Report, Error> {
        let (mut w, blocks) = (initialize(network, 1)?, Blocks::collect(|visit| Layer::<f32>::blocks(network, visit)));
        w[blocks.get(block)?.range.clone()].iter_mut().for_each(|w| *w *= factor);
        check_parameters(network, &w, &normal(64 * WIDTH), shape, None)
    };
    let gated = Sequential::<f32>::input(WIDTH).gated_linear(24, Sigmoid).gated_linear(24, Sigmoid);
    let gated = gated.gated_linear(24, Sigmoid).linear(4).build()?;
    let recurrent = Sequential::<f32>::input(WIDTH).recurrent(16, Gru::new()).recurrent(16, Gru::new()).last_step();
    let recurrent = recurrent.linear(4).build()?;
    for (network, layer, shape) in
        [(&gated, "1", BatchShape::batch(64)), (&recurrent, "1", BatchShape::sequences(8, 8))]
    {
        let report = of(network, &format!("{layer}.weight"), shape, 90.0)?;
        let found = report.faults().map(|it| (it.cause, &*it.layer)).collect::<Vec<_>>();
        assert!(found.contains(&(Cause::LargeWeights, layer)), "{report}");
        let sound = of(network, &format!("{layer}.weight"), shape, 1.0)?;
        assert!(sound.is_healthy(), "{sound}");
    }
    Ok(())
}

/// Inputs and slopes that are not far from the usual ones need a harm that is seen.
#[test]
fn inputs_of_eight_and_two_tanh_units_are_healthy() -> Result<(), Error> {
    let x: Vec<f32> = normal(64 * WIDTH).iter().map(|x| 8.0 * x).collect();
    let report = checked(&rectifiers(Relu)?, &x, BatchShape::batch(64))?;
    assert!(report.is_healthy(), "{report}");
    let he = |inputs, outputs| Linear::new(inputs, outputs).weights(He::normal().gain(2.0));
    let narrow =
        Sequential::<f32>::input(WIDTH).layer(he(WIDTH, 24)).activation(Relu).layer(he(24, 2)).activation(Tanh);
    let narrow = narrow.layer(Linear::new(2, 24).weights(LeCun::normal())).activation(Relu).linear(2).build()?;
    let report = checked(&narrow, &normal(64 * WIDTH), BatchShape::batch(64))?;
    assert!(report.is_healthy(), "{report}");
    let y = signs(&x);
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let report = run(&rectifiers(Relu)?, &data, &CrossEntropy::new(), Adam::new(1e-3), 60, |_, _| {})?;
    assert!(report.is_healthy(), "{report}");
    Ok(())
}

/// A first update twice as large as the weights replaces them, and a loss that then hardly falls shows it.
#[test]
fn first_update_larger_than_the_weights_is_a_high_rate() -> Result<(), Error> {
    let x: Vec<f32> = normal(512 * 10);
    let y: Vec<f32> = x.chunks(10).map(|x| (x[0] * x[1]).sin() + 0.5 * x[2] * x[2] - 0.5 + 0.7 * x[3]).collect();
    let (data, loss) = (Dataset::rows(10, &x, Target::Values(&y))?, MeanSquaredError::new());
    let network = Sequential::<f32>::input(10).linear(40).activation(Tanh).linear(40).activation(Tanh);
    let network = network.linear(1).build()?;
    for (rate, is_high) in [(2.0, true), (0.01, false)] {
        let report = run_with(&network, &data, &loss, Adamax::new(rate), 320, |_, _| {}, |it| it)?;
        assert_eq!(root(&report) == Some(Cause::LearningRateTooHigh), is_high, "{report}");
    }
    Ok(())
}
