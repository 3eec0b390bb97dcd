//! Small programs of every kind on which a diagnosis once said something wrong, and what it has to say.

use crate::fixtures::root;
use chainrule::{
    BatchShape, Blocks, Error, Layer,
    activation::{Relu, Sigmoid, Tanh},
    dataset::{Batch, Dataset},
    diagnosis::{Alteration, Cause, Diagnosis, FixContext, Report, check_parameters, first_check, suggest_fixes},
    initializer::{ByGate, Constant, He, LeCun, Zeros},
    layer::{BranchScale, Dropout, Linear, Residual, Sequential, initialize},
    loss::{CrossEntropy, Loss, MeanSquaredError, Target},
    monitor::Statistics,
    random::{Normals, generator},
    recurrent::{Gru, Recurrent},
    theory::{InputStatistics, Prediction},
    trainer::{FitOptions, TrainConfig, Trainer},
    transform::{Adam, GradientTransform, Schedule, Sgd},
};

const WIDTH: usize = 16;
const ROWS: usize = 256;

/// Normal rows; the class is told by the signs of a sum and a difference.
fn data() -> (Vec<f32>, Vec<usize>) {
    let (mut rng, mut normals) = (generator(3), Normals::new());
    let x: Vec<f32> = (0..ROWS * WIDTH).map(|_| normals.next(&mut rng) as f32).collect();
    let y = x.chunks(WIDTH).map(|r| usize::from(r[0] + r[1] > 0.0) + 2 * usize::from(r[2] - r[3] > 0.0)).collect();
    (x, y)
}

/// A training with a monitor: the trainer afterwards and the report.
fn train<'a>(
    network: &'a Sequential<f32>,
    data: &Dataset<'_, f32>,
    x: &[f32],
    loss: impl Loss<f32> + 'a,
    transform: impl GradientTransform<f32> + 'a,
    epochs: usize,
    change: impl FnOnce(&mut [f32], &Blocks),
) -> Result<(f64, Report), Error> {
    let mut seen = Statistics::new();
    let settings = TrainConfig { epochs, ..TrainConfig::default() };
    let mut trainer = Trainer::new(network, loss, transform, settings)?;
    let blocks = trainer.workspace().blocks().clone();
    change(trainer.parameters_mut(), &blocks);
    trainer.fit_with(data, FitOptions::new().monitor(&mut seen))?;
    let reached = trainer.evaluate(data)?;
    let diagnosis = Diagnosis::new(network, InputStatistics::of_rows(x)?)?.statistics(&seen);
    let report = diagnosis.parameters(network, trainer.parameters(), BatchShape::batch(ROWS))?.report();
    Ok((reached.accuracy.unwrap_or(reached.loss), report))
}

fn unchanged(_: &mut [f32], _: &Blocks) {}

/// A: a norm whose gain is 0 ends the gradient; no fix keeps that gain.
#[test]
fn fix_of_accused_parameters_does_not_carry_them_over() -> Result<(), Error> {
    let network = Sequential::<f32>::input(WIDTH).linear(32).activation(Relu);
    let network = network.layer(Linear::new(32, 32).weights(LeCun::normal())).layer_norm().activation(Relu);
    let network = network.linear(4).build()?;
    let blocks = Blocks::collect(|visit| Layer::<f32>::blocks(&network, visit));
    let (mut w, (x, y)) = (initialize(&network, 1)?, data());
    w[blocks.get("3.gain")?.range.clone()].fill(0.0);
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let mut trainer = Trainer::new(&network, CrossEntropy::new(), Sgd::new(0.05), TrainConfig::default())?;
    trainer.parameters_mut().copy_from_slice(&w);
    let (mut seen, mut batch) = (Statistics::new(), Batch::new(&data, 32));
    trainer.step(&data, &mut batch, &(0..32).collect::<Vec<_>>(), &mut seen)?;
    let inputs = InputStatistics::of_rows(&x)?;
    let report = Diagnosis::new(&network, inputs)?.statistics(&seen).report();
    assert_eq!(root(&report), (Cause::Bottleneck, "3"), "{report}");
    let (described, mut tried) = (network.spec(), 0);
    for fix in suggest_fixes(&FixContext::new(&described, inputs, report.root().unwrap()))? {
        let Some(fixed) = fix.apply(&described, &w, 2)? else { continue };
        let blocks = Blocks::collect(|visit| fixed.network.blocks(visit));
        if let Ok(gain) = blocks.get("3.gain") {
            assert!(fixed.parameters[gain.range.clone()].iter().all(|&gain| gain == 1.0), "{fix}");
        }
        let after = fixed.check(&x[..32 * WIDTH], BatchShape::batch(32), None)?;
        assert!(after.is_healthy(), "{fix}: {after}");
        tried += 1;
    }
    assert!(tried > 0);
    Ok(())
}

/// B: the last weights begin at 0, and move with the first step.
#[test]
fn zero_output_layer_is_a_note() -> Result<(), Error> {
    let network = Sequential::<f32>::input(WIDTH).linear(32).activation(Relu).linear(32).activation(Relu);
    let network = network.layer(Linear::new(32, 4).weights(Zeros)).build()?;
    let (x, y) = data();
    let check = first_check(&network, &x, BatchShape::batch(ROWS), None, 0)?;
    assert!(check.is_healthy(), "{check}");
    let note = check.findings.iter().find(|finding| finding.cause == Cause::ConstantWeights);
    assert!(note.is_some_and(|note| note.layer == "4" && note.text.contains("first step")), "{check}");
    let forecast = Diagnosis::new(&network, InputStatistics::of_rows(&x)?)?.report();
    assert!(forecast.is_healthy(), "{forecast}");
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let (accuracy, report) = train(&network, &data, &x, CrossEntropy::new(), Adam::new(0.01), 20, unchanged)?;
    assert!(accuracy > 0.95 && report.is_healthy(), "{accuracy} {report}");
    Ok(())
}

/// C: units that ReLU switches off do not saturate.
#[test]
fn small_weights_before_relu_are_small_weights() -> Result<(), Error> {
    let mut network = Sequential::<f32>::input(30);
    for _ in 0..16 {
        network = network.linear(48).activation(Relu);
    }
    let network = network.linear(2).build()?;
    let x: Vec<f32> = data().0[..32 * 30].to_vec();
    let forecast = Diagnosis::new(&network, InputStatistics::of_rows(&x)?)?.report();
    assert_eq!(root(&forecast).0, Cause::SmallWeights, "{forecast}");
    let check = first_check(&network, &x, BatchShape::batch(32), None, 0)?;
    assert_eq!(root(&check).0, Cause::SmallWeights, "{check}");
    Ok(())
}

fn tanh_network() -> Result<Sequential<f32>, Error> {
    Sequential::<f32>::input(WIDTH).linear(32).activation(Tanh).linear(4).build()
}

/// D: inputs are judged by what the first weights make of them.
#[test]
fn tiny_inputs_are_unscaled_inputs() -> Result<(), Error> {
    let (network, (mut x, y)) = (tanh_network()?, data());
    x.iter_mut().for_each(|x| *x *= 1e-3);
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let (accuracy, report) = train(&network, &data, &x, CrossEntropy::new(), Sgd::new(0.1), 20, unchanged)?;
    assert!(accuracy < 0.6, "{accuracy}");
    assert_eq!(root(&report), (Cause::UnscaledInput, "0"), "{report}");
    // Weights that make up for it, and a norm that does, leave nothing to accuse.
    let large = Linear::new(WIDTH, 32).weights(LeCun::normal().gain(1e3));
    let scaled = Sequential::<f32>::input(WIDTH).layer(large).activation(Tanh).linear(4).build()?;
    let normed = Sequential::<f32>::input(WIDTH).layer_norm().linear(32).activation(Tanh).linear(4).build()?;
    for (network, by) in [(scaled, 1.0), (normed, 1e5)] {
        let x: Vec<f32> = x.iter().map(|x| by * x).collect();
        let check = first_check(&network, &x, BatchShape::batch(ROWS), None, 0)?;
        assert!(check.is_healthy(), "{check}");
    }
    Ok(())
}

/// E: branches of weight 0 carry nothing at first, and the skip all.
#[test]
fn zero_branches_are_predicted() -> Result<(), Error> {
    let mut network = Sequential::<f32>::input(WIDTH).linear(WIDTH);
    for _ in 0..2 {
        network = network.residual(|branch| {
            let width = branch.width();
            branch.layer_norm().linear(width).activation(Relu).layer(Linear::new(width, width).weights(Zeros))
        });
    }
    let network = network.layer_norm().linear(4).build()?;
    let prediction = Prediction::of(&network, InputStatistics::new(1.0)?)?;
    let predicted = prediction.decades_to_first_weights();
    assert!(predicted.is_some_and(|decades| decades.abs() < 1.0), "{predicted:?}\n{prediction}");
    let (x, _) = data();
    let check = first_check(&network, &x, BatchShape::batch(ROWS), None, 0)?;
    let [measured, predicted] = check.decades;
    assert!((measured.unwrap() - predicted.unwrap()).abs() < 0.3, "{check}");
    assert!(check.is_healthy(), "{check}");
    Ok(())
}

/// F: branches that are louder than their skips.
#[test]
fn branch_scale_above_one_is_loud_branches() -> Result<(), Error> {
    let mut network = Sequential::<f32>::input(WIDTH).linear(24);
    for _ in 0..20 {
        let branch = Sequential::<f32>::input(24).layer(Linear::new(24, 24).weights(He::normal())).activation(Relu);
        let branch = branch.layer(Linear::new(24, 24).weights(LeCun::normal())).build()?;
        network = network.layer(Residual::new(branch)?.scale(BranchScale::Fixed(1.5))?);
    }
    let (network, inputs) = (network.linear(4).build()?, InputStatistics::new(1.0)?);
    let report = Diagnosis::new(&network, inputs)?.report();
    assert_eq!(root(&report).0, Cause::LoudBranches, "{report}");
    let described = network.spec();
    let fixes = suggest_fixes(&FixContext::new(&described, inputs, report.root().unwrap()))?;
    assert!(fixes[0].name == "scaled branches" && fixes[0].is_enough(), "{}", fixes[0]);
    let fixed = fixes[0].apply(&described, &initialize(&network, 1)?, 2)?.unwrap();
    let after = fixed.check(&data().0, BatchShape::batch(ROWS), None)?;
    assert!(after.is_healthy(), "{after}");
    Ok(())
}

/// G: an update gate that keeps the state shuts the input out.
#[test]
fn gru_that_never_updates_is_a_closed_input_gate() -> Result<(), Error> {
    let cell = Recurrent::new(2, 20, Gru::new()).bias(ByGate::new(Zeros).gate("update", Constant(8.0)));
    let network = Sequential::<f32>::input(2).layer(cell).linear(2).build()?;
    let inputs = InputStatistics::new(1.0)?.steps(30)?;
    let forecast = Diagnosis::new(&network, inputs)?.span(2).report();
    let check = first_check(&network, &data().0[..16 * 60], BatchShape::sequences(16, 30), Some(2), 0)?;
    let described = network.spec();
    for report in [forecast, check] {
        assert_eq!(root(&report), (Cause::ClosedInputGate, "0"), "{report}");
        let fixes = suggest_fixes(&FixContext::new(&described, inputs, report.root().unwrap()).span(2))?;
        assert_eq!(fixes[0].name, "an open gate");
    }
    Ok(())
}

/// H: weights of 0 stay 0.
#[test]
fn zero_weights_are_constant_weights() -> Result<(), Error> {
    let zero = |inputs, outputs| Linear::new(inputs, outputs).weights(Zeros);
    let network = Sequential::<f32>::input(WIDTH).layer(zero(WIDTH, 32)).activation(Tanh).layer(zero(32, 32));
    let network = network.activation(Tanh).layer(zero(32, 4)).build()?;
    let check = first_check(&network, &data().0, BatchShape::batch(ROWS), None, 0)?;
    assert_eq!(root(&check).0, Cause::ConstantWeights, "{check}");
    assert!(!format!("{check}").contains("so far out"), "{check}");
    Ok(())
}

/// I: a value that is no number is named by its row and column.
#[test]
fn not_a_number_in_the_data_is_bad_data() -> Result<(), Error> {
    let (network, (mut x, y)) = (tanh_network()?, data());
    x[40 * WIDTH + 5] = f32::NAN;
    let refused = Dataset::rows(WIDTH, &x, Target::Classes(&y)).unwrap_err();
    assert!(matches!(refused, Error::DataValue { sample: 40, column: Some(5), .. }), "{refused}");
    let refused = first_check(&network, &x, BatchShape::batch(ROWS), None, 0).unwrap_err();
    assert!(matches!(refused, Error::DataValue { sample: 40, column: Some(5), .. }), "{refused}");
    // A loop of one's own hands it on.
    let (w, shape) = (initialize(&network, 1)?, BatchShape::batch(ROWS));
    let (mut workspace, mut seen) = (chainrule::workspace::Workspace::new(&network, shape)?, Statistics::new());
    workspace.forward_with(&w, &x, shape, chainrule::Mode::Train, &mut seen)?.dy.fill(1.0);
    workspace.backward_with(&w, &mut seen)?;
    let report = Diagnosis::new(&network, InputStatistics::new(1.0)?)?.statistics(&seen).report();
    assert_eq!(root(&report).0, Cause::BadData, "{report}");
    let text = &report.root().unwrap().text;
    assert!(text.contains("row 40") && text.contains("column 5"), "{text}");
    Ok(())
}

/// J: a schedule that has come to its end.
#[test]
fn schedule_that_has_ended_is_a_note() -> Result<(), Error> {
    let (network, (x, y)) = (tanh_network()?, data());
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let transform = (Adam::new(0.01), Schedule::polynomial(100, 1.0));
    let (accuracy, report) = train(&network, &data, &x, CrossEntropy::new(), transform, 13, unchanged)?;
    assert!(accuracy > 0.8 && report.is_healthy(), "{accuracy} {report}");
    let note = report.findings.iter().find(|finding| finding.cause == Cause::FrozenBlock);
    assert!(note.is_some_and(|note| note.text.contains("schedule")), "{report}");
    Ok(())
}

/// K: parameters are judged as they are, not as the description would draw them.
#[test]
fn loaded_large_weights_are_found_in_their_layer() -> Result<(), Error> {
    let network = Sequential::<f32>::input(WIDTH).linear(64).activation(Tanh).linear(48).activation(Tanh);
    let network = network.linear(32).activation(Tanh).linear(4).build()?;
    let (x, y) = data();
    let large = |w: &mut [f32], blocks: &Blocks| {
        w[blocks.get("2.weight").unwrap().range.clone()].iter_mut().for_each(|w| *w *= 50.0);
    };
    let data = Dataset::rows(WIDTH, &x, Target::Classes(&y))?;
    let (accuracy, report) = train(&network, &data, &x, CrossEntropy::new(), Sgd::new(0.05), 10, large)?;
    assert_eq!(root(&report).0, Cause::LargeWeights, "{accuracy} {report}");
    assert!(matches!(root(&report).1, "2" | "3"), "{report}");
    Ok(())
}

/// L: targets far from what the network gives.
#[test]
fn targets_of_ten_thousand_are_unscaled_targets() -> Result<(), Error> {
    let (x, _) = data();
    let y: Vec<f32> = x.chunks(WIDTH).map(|r| 1e4 * (r[0] * r[1] + 1.0)).collect();
    let network = Sequential::<f32>::input(WIDTH).linear(32).activation(Relu).linear(1).build()?;
    let data = Dataset::rows(WIDTH, &x, Target::Values(&y))?;
    let (_, report) = train(&network, &data, &x, MeanSquaredError::new(), Adam::new(5e-3), 20, unchanged)?;
    assert_eq!(root(&report).0, Cause::UnscaledTarget, "{report}");
    Ok(())
}

/// Gradients below the format are neither dead nor saturated units: f64 tells the cause.
#[test]
fn eighty_sigmoid_layers_in_f32_are_a_saturating_activation() -> Result<(), Error> {
    let mut network = Sequential::<f32>::input(WIDTH);
    for _ in 0..80 {
        network = network.linear(WIDTH).activation(Sigmoid);
    }
    let network = network.linear(4).build()?;
    let check = first_check(&network, &data().0[..32 * WIDTH], BatchShape::batch(32), None, 0)?;
    assert_eq!(root(&check).0, Cause::SaturatingActivation, "{check}");
    assert!(check.root().unwrap().decades.unwrap() < -30.0, "{check}");
    Ok(())
}

/// A mean over many steps shortens a gradient by √T, and no weights are to blame.
#[test]
fn budget_that_no_change_mends_has_no_cause() -> Result<(), Error> {
    let network = Sequential::<f32>::input(1).linear(2).mean_over_steps().linear(2).build()?;
    let x: Vec<f32> = (0..50_000).map(|i| 1.4 * (i as f32 * 2.399).sin()).collect();
    let check = first_check(&network, &x, BatchShape::sequences(1, x.len()), None, 0)?;
    let root = check.root().unwrap_or_else(|| panic!("{check}"));
    assert_eq!(root.cause, Cause::NoCauseFound, "{check}");
    assert!(root.because.starts_with("ruled out: with all weights at their critical gain"), "{check}");
    Ok(())
}

/// One of many layers that was changed after it was drawn is named, by an intervention on the parameters as they are.
#[test]
fn changed_layer_is_found_by_redrawing_it_alone() -> Result<(), Error> {
    let mut network = Sequential::<f32>::input(WIDTH);
    for _ in 0..8 {
        network = network.layer(Linear::new(WIDTH, WIDTH).weights(He::normal())).activation(Relu);
    }
    let network = network.linear(4).build()?;
    let blocks = Blocks::collect(|visit| Layer::<f32>::blocks(&network, visit));
    let x = &data().0[..64 * WIDTH];
    for (layer, factor) in [("10", 1e3), ("4", 1e4)] {
        let mut w = initialize(&network, 1)?;
        let weight = blocks.get(&format!("{layer}.weight"))?;
        w[weight.range.clone()].iter_mut().for_each(|w| *w *= factor);
        let check = check_parameters(&network, &w, x, BatchShape::batch(64), None)?;
        assert_eq!(root(&check), (Cause::LargeWeights, layer), "{check}");
        let intervention = check.root().unwrap().intervention.as_ref().unwrap();
        assert_eq!(intervention.alteration, Alteration::CriticalLayer(layer.into()));
        assert!(intervention.before > 2.0 && intervention.after.abs() < 1.5, "{intervention}");
    }
    Ok(())
}

/// Masks of rate p multiply the gradient of a layer by (1 − p)^−½ in the mean. No critical weights make up for it. A
/// check draws the masks, as the run does. The change that mends the budget is to draw none.
#[test]
fn many_masks_that_explode_the_gradient_are_heavy_dropout() -> Result<(), Error> {
    let network = |depth: usize, rate: f64| {
        let mut builder = Sequential::<f32>::input(WIDTH);
        for _ in 0..depth {
            let width = builder.width();
            builder = builder.layer(Linear::new(width, 64).weights(He::normal())).activation(Relu);
            builder = builder.layer(Dropout::new(64, rate)?);
        }
        builder.linear(4).build()
    };
    let (x, _) = data();
    let shape = BatchShape::batch(ROWS);
    let decades = |depth: usize, rate: f64| first_check(&network(depth, rate)?, &x, shape, None, 3);
    let (heavy, none) = (decades(14, 0.6)?, decades(14, 0.0)?);
    let [masked, plain] = [&heavy, &none].map(|report| report.decades[0].unwrap());
    // 14 times −½ log10(0.4), within the noise of the masks.
    let expected = -7.0 * 0.4_f64.log10();
    assert!((masked - plain - expected).abs() < 0.6, "{masked} − {plain} for {expected}");
    let root = heavy.root().unwrap_or_else(|| panic!("{heavy}"));
    assert_eq!(root.cause, Cause::DropoutTooHeavy, "{heavy}");
    assert!(root.because.contains("with all masks disabled: "), "{heavy}");
    assert!(none.is_healthy() && decades(3, 0.5)?.is_healthy(), "{none}");
    // Theory says the same before any pass.
    let forecast = Diagnosis::new(&network(14, 0.6)?, InputStatistics::of_rows(&x)?)?.report();
    assert_eq!(root_of(&forecast), Some(Cause::DropoutTooHeavy), "{forecast}");
    Ok(())
}

fn root_of(report: &Report) -> Option<Cause> {
    report.root().map(|root| root.cause)
}
