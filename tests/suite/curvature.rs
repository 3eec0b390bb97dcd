//! The curvature of losses against closed forms, finite differences and the edge of stability.

use chainrule::{
    Activation, BatchShape, Blocks, Error, Layer, Scalar,
    activation::{Gelu, Identity, Tanh},
    dataset::{Batch, Dataset},
    diagnosis::{Cause, Diagnosis, Report, Severity},
    initializer::LeCun,
    layer::{ActivationLayer, Dropout, DropoutKey, GatedLinear, Linear, Sequential, initialize},
    loss::{CrossEntropy, Loss, MeanSquaredError, Target},
    monitor::Statistics,
    random::{Normals, generator},
    recurrent::{Elman, Lstm, Recurrent},
    theory::{Hessian, InputStatistics, unit_sensitivities},
    trainer::{TrainConfig, Trainer},
    transform::Sgd,
    workspace::Workspace,
};

fn normal(seed: u64, count: usize) -> Vec<f64> {
    let (mut rng, mut normals) = (generator(seed), Normals::new());
    (0..count).map(|_| normals.next(&mut rng)).collect()
}

/// The gradient of a loss on a batch.
fn gradient(
    network: &dyn Layer<f64>,
    w: &[f64],
    x: &[f64],
    shape: BatchShape<'_>,
    loss: &dyn Loss<f64>,
    target: Target<'_, f64>,
) -> Vec<f64> {
    let mut workspace = Workspace::new(network, shape).unwrap();
    let width = network.dims().output;
    let output = workspace.forward(w, x, shape).unwrap();
    loss.evaluate(width, output.y, target, None, output.dy).unwrap();
    workspace.backward(w).unwrap().to_vec()
}

/// L = mean (w · x − t)²: H = 2/n XᵀX, whatever w and t are.
#[test]
fn hessian_of_a_quadratic_is_exact() -> Result<(), Error> {
    let (rows, width) = (12, 5);
    let network = Linear::new(width, 1).without_bias();
    let (x, w, t, v) = (normal(1, rows * width), normal(2, width), normal(3, rows), normal(4, width));
    let (loss, shape) = (MeanSquaredError::new(), BatchShape::batch(rows));
    let mut hessian = Hessian::new(&network, &w, &x, shape, &loss, Target::Values(&t))?;
    assert!(hessian.is_exact());
    let entry = |i: usize, j: usize| 2.0 / rows as f64 * x.chunks(width).map(|row| row[i] * row[j]).sum::<f64>();
    for (i, found) in hessian.times(&v)?.iter().enumerate() {
        let expected: f64 = (0..width).map(|j| entry(i, j) * v[j]).sum();
        assert!((found - expected).abs() < 1e-13, "{i}: {found} for {expected}");
    }
    // Powers of the matrix find the same eigenvalue.
    let mut power = v;
    for _ in 0..2000 {
        let next: Vec<f64> = (0..width).map(|i| (0..width).map(|j| entry(i, j) * power[j]).sum()).collect();
        let length = next.iter().map(|x| x * x).sum::<f64>().sqrt();
        power = next.iter().map(|x| x / length).collect();
    }
    let expected: f64 = (0..width).map(|i| power[i] * (0..width).map(|j| entry(i, j) * power[j]).sum::<f64>()).sum();
    let found = hessian.largest_eigenvalue(20)?;
    assert!((found / expected - 1.0).abs() < 1e-12, "{found} for {expected}");
    Ok(())
}

/// The eigenvalue of largest modulus is below 0; the largest is not it.
#[test]
fn largest_eigenvalue_is_not_that_of_largest_modulus() -> Result<(), Error> {
    // L = (w₁w₂x − t)²/1 at w = 0: H = [[0, −2tx], [−2tx, 0]], of eigenvalues ±2tx.
    let network = Sequential::<f64>::input(1).layer(Linear::new(1, 1).without_bias());
    let network = network.layer(Linear::new(1, 1).without_bias()).build()?;
    let loss = MeanSquaredError::new();
    let mut hessian = Hessian::new(&network, &[0.0, 0.0], &[3.0], BatchShape::batch(1), &loss, Target::Values(&[5.0]))?;
    assert_eq!(hessian.times(&[1.0, 0.0])?, [0.0, -30.0]);
    let found = hessian.largest_eigenvalue(5)?;
    assert!((found - 30.0).abs() < 1e-12, "{found}");
    Ok(())
}

/// Central differences of gradients, through time and with dropout.
#[test]
fn products_are_differences_of_gradients() -> Result<(), Error> {
    let network = Sequential::<f64>::input(3).recurrent(4, Lstm::new()).last_step().linear(6).activation(Gelu);
    let network = network.layer(Dropout::new(6, 0.3)?).layer_norm().linear(3).build()?;
    let (shape, loss, classes) = (BatchShape::sequences(4, 5), CrossEntropy::new(), [0, 2, 1, 1]);
    let (w, x) = (initialize(&network, 7)?, normal(8, 60));
    let v = normal(9, w.len());
    let target = Target::Classes(&classes);
    let found = Hessian::new(&network, &w, &x, shape, &loss, target)?.times(&v)?;
    let at = |h: f64| {
        let w: Vec<f64> = w.iter().zip(&v).map(|(w, v)| w + h * v).collect();
        gradient(&network, &w, &x, shape, &loss, target)
    };
    let (up, down) = (at(1e-6), at(-1e-6));
    for (i, found) in found.iter().enumerate() {
        let expected = (up[i] - down[i]) / 2e-6;
        assert!((found - expected).abs() < 1e-7, "{i}: {found} for {expected}");
    }
    Ok(())
}

#[test]
fn custom_part_falls_back_to_differences() -> Result<(), Error> {
    #[derive(Clone, Copy, Debug)]
    struct Own;
    impl Activation for Own {
        fn value<T: Scalar>(&self, z: T) -> T {
            z.tanh()
        }
        fn derivative<T: Scalar>(&self, _z: T, y: T) -> T {
            T::one() - y * y
        }
    }
    let network = |own: bool| {
        let builder = Sequential::<f64>::input(3).linear(4);
        let builder = if own { builder.activation(Own) } else { builder.activation(Tanh) };
        builder.linear(1).build()
    };
    let (own, known) = (network(true)?, network(false)?);
    let (w, x, t) = (initialize(&known, 1)?, normal(2, 15), normal(3, 5));
    let (loss, shape, v) = (MeanSquaredError::new(), BatchShape::batch(5), normal(4, w.len()));
    let mut differences = Hessian::new(&own, &w, &x, shape, &loss, Target::Values(&t))?;
    let mut exact = Hessian::new(&known, &w, &x, shape, &loss, Target::Values(&t))?;
    assert!(exact.is_exact() && !differences.is_exact());
    for (found, expected) in differences.times(&v)?.iter().zip(exact.times(&v)?) {
        assert!((found - expected).abs() < 1e-7, "{found} for {expected}");
    }
    // A gated layer keeps its activation as data, which has no second derivative on dual numbers.
    let (own, known) = (GatedLinear::new(3, 1, Own), GatedLinear::new(3, 1, Tanh));
    let (w, v) = (normal(5, Layer::<f64>::dims(&known).parameters), normal(6, Layer::<f64>::dims(&known).parameters));
    let mut differences = Hessian::new(&own, &w, &x, shape, &loss, Target::Values(&t))?;
    let mut exact_gated = Hessian::new(&known, &w, &x, shape, &loss, Target::Values(&t))?;
    assert!(exact_gated.is_exact() && !differences.is_exact());
    for (found, expected) in differences.times(&v)?.iter().zip(exact_gated.times(&v)?) {
        assert!((found - expected).abs() < 1e-6 * (1.0 + expected.abs()), "{found} for {expected}");
    }
    assert!(matches!(exact.times(&[1.0]), Err(Error::Length { .. })));
    assert!(matches!(exact.largest_eigenvalue(0), Err(Error::Parameter { .. })));
    Ok(())
}

/// η λ/2 after full-batch descent on ½ · mean square: at the edge of stability for large rates, below it for a small
/// one (Cohen et al. 2021).
#[test]
fn full_batch_descent_ends_at_the_edge_of_stability() -> Result<(), Error> {
    let sharpness = |seed: u64, rate: f64| -> Result<f64, Error> {
        let mut network = Sequential::new(4);
        for (inputs, outputs) in [(4, 24), (24, 24)] {
            network.push(Linear::new(inputs, outputs).weights(LeCun::normal()))?;
            network.push(ActivationLayer::new(outputs, Tanh))?;
        }
        network.push(Linear::new(24, 1).weights(LeCun::normal()))?;
        let (mut w, x) = (initialize(&network, seed)?, normal(seed + 100, 240));
        let t: Vec<f64> = x.chunks(4).map(|row| (2.0 * row[0]).sin() * row[1].cos()).collect();
        let (loss, shape) = (MeanSquaredError::new(), BatchShape::batch(60));
        let mut workspace = Workspace::new(&network, shape)?;
        for _ in 0..1200 {
            let output = workspace.forward(&w, &x, shape)?;
            loss.evaluate(1, output.y, Target::Values(&t), None, output.dy)?;
            workspace.descend(&mut w, 0.5 * rate)?;
        }
        let mut hessian = Hessian::new(&network, &w, &x, shape, &loss, Target::Values(&t))?;
        Ok(0.5 * rate * 0.5 * hessian.largest_eigenvalue(40)?)
    };
    for (rate, range) in [(0.3, 0.98..1.05), (0.6, 0.98..1.05), (0.1, 0.0..0.85)] {
        let mut found = (0..5).map(|seed| sharpness(seed, rate)).collect::<Result<Vec<f64>, Error>>()?;
        found.sort_by(f64::total_cmp);
        assert!(range.contains(&found[2]), "rate {rate}: {found:?}");
    }
    Ok(())
}

/// The squares of the response to an impulse add up to the mean square under white input of variance 1:
/// (1 + λ²)/(1 − λ²)³ of ∂h/∂λ, 1/(1 − λ²) of h (Zucchet & Orvieto 2024).
#[test]
fn sensitivity_of_a_linear_unit_is_the_closed_form() -> Result<(), Error> {
    let layer = Recurrent::new(1, 2, Elman::new(Identity)).without_bias();
    let mut impulse = vec![0.0; 4000];
    impulse[0] = 1.0;
    let units =
        unit_sensitivities::<f64>(&layer, &[1.0, 1.0, 0.9, 0.0, 0.0, 0.99], &impulse)?.expect("a recurrent layer");
    for (unit, (rate, expected)) in units.iter().zip([(0.9f64, 263.887), (0.99, 251_262.6)]) {
        let (state, sensitivity) = (unit.state.powi(2) * 4000.0, unit.sensitivity.powi(2) * 4000.0);
        assert!((state * (1.0 - rate * rate) - 1.0).abs() < 1e-9, "{rate}: {state}");
        assert!((sensitivity / expected - 1.0).abs() < 1e-6, "{rate}: {sensitivity} for {expected}");
    }
    // A gate that carries the state is open by its bias.
    let gated = Recurrent::new(1, 1, Lstm::new());
    let w = initialize(&gated, 1)?;
    let x = normal(5, 30);
    let at = |h: f64| -> Result<f64, Error> {
        let mut w: Vec<f64> = w.clone();
        let forget = Blocks::collect(|visit| Layer::<f64>::blocks(&gated, visit)).get("bias")?.range.start + 1;
        w[forget] += h;
        let mut workspace = Workspace::for_inference(&gated, BatchShape::sequences(1, 30))?;
        Ok(workspace.infer(&w, &x, BatchShape::sequences(1, 30))?[29])
    };
    let expected = ((at(1e-5)? - at(-1e-5)?) / 2e-5).abs();
    let found = unit_sensitivities(&gated, &w, &x)?.expect("a recurrent layer")[0];
    assert!(found.sensitivity > 0.1 * expected, "{found:?} {expected}");
    assert!(unit_sensitivities::<f64>(&Linear::new(1, 1), &[0.0; 2], &[1.0])?.is_none());
    Ok(())
}

/// A full-batch run of gradient descent on the mean square, with what was seen and the parameters at the end.
struct Descent {
    network: Sequential<f64>,
    x: Vec<f64>,
    t: Vec<f64>,
    first: Vec<f64>,
    w: Vec<f64>,
    seen: Statistics,
}

impl Descent {
    fn of(network: Sequential<f64>, x: Vec<f64>, t: Vec<f64>, sgd: Sgd, steps: usize) -> Result<Self, Error> {
        let data = Dataset::rows(network.dims().input, &x, Target::Values(&t))?;
        let config = TrainConfig { seed: 3, ..TrainConfig::default() };
        let mut trainer = Trainer::new(&network, MeanSquaredError::new(), sgd, config)?;
        let (mut seen, mut batch) = (Statistics::new(), Batch::new(&data, t.len()));
        let (first, all) = (trainer.parameters().to_vec(), (0..t.len()).collect::<Vec<_>>());
        for _ in 0..steps {
            if trainer.step(&data, &mut batch, &all, &mut seen).is_err() {
                break;
            }
        }
        let w = trainer.parameters().to_vec();
        drop((trainer, data));
        Ok(Descent { network, x, t, first, w, seen })
    }

    /// The report with the curvature at the parameters `w`.
    fn report(&self, w: &[f64], rate: f64, momentum: f64) -> Result<Report, Error> {
        let (loss, shape, target) = (MeanSquaredError::new(), BatchShape::batch(self.t.len()), Target::Values(&self.t));
        let mut hessian = Hessian::new(&self.network, w, &self.x, shape, &loss, target)?;
        let diagnosis = Diagnosis::new(&self.network, InputStatistics::of_rows(&self.x)?)?;
        Ok(diagnosis.statistics(&self.seen).curvature(&mut hessian, rate, momentum)?.report())
    }

    fn plain(&self) -> Result<Report, Error> {
        let diagnosis = Diagnosis::new(&self.network, InputStatistics::of_rows(&self.x)?)?;
        Ok(diagnosis.statistics(&self.seen).report())
    }
}

fn blames(report: &Report, cause: Cause) -> bool {
    report.root().is_some_and(|root| root.cause == cause)
}

/// A linear regression with the Hessian diag(1, 4, 9, 16): H = 2/n XᵀX for rows along the axes.
fn quadratic(rate: f64, momentum: f64, steps: usize) -> Result<Descent, Error> {
    let network = Sequential::<f64>::input(4).layer(Linear::new(4, 1).without_bias()).build()?;
    let mut x = vec![0.0; 16];
    (0..4).for_each(|i| x[5 * i] = 2.0_f64.sqrt() * (i + 1) as f64);
    Descent::of(network, x, vec![1.0, -2.0, 3.0, -4.0], Sgd::new(rate).momentum(momentum), steps)
}

/// On a quadratic, descent converges below 2 (1 + β)/λ and diverges above; λ is 16 here.
#[test]
fn rate_is_judged_by_the_edge_of_stability() -> Result<(), Error> {
    for momentum in [0.0, 0.5] {
        let edge = 2.0 * (1.0 + momentum) / 16.0;
        for (share, is_blamed) in [(0.3, false), (0.95, false), (1.5, true), (3.0, true)] {
            let run = quadratic(share * edge, momentum, 30)?;
            let report = run.report(&run.first, share * edge, momentum)?;
            assert_eq!(blames(&report, Cause::LearningRateTooHigh), is_blamed, "{share} {momentum}: {report}");
            let text = format!("{report}");
            assert!(text.contains("the largest curvature of the loss on 4 samples, λ, is 16"), "{text}");
            let [rate, largest] = [share * edge, edge].map(|rate| format!("{rate:.3}"));
            let told = format!("is {share} times the largest that is stable, ");
            assert!(!is_blamed || text.contains(&told), "{told} {rate} {largest}: {text}");
        }
    }
    Ok(())
}

/// A rate above the edge is a note as long as no loss has climbed.
#[test]
fn rate_above_the_edge_is_a_note_before_the_training() -> Result<(), Error> {
    let run = quadratic(0.5, 0.0, 0)?;
    let report = run.report(&run.first, 0.5, 0.0)?;
    assert!(report.is_healthy(), "{report}");
    let note = report.findings.iter().find(|finding| finding.cause == Cause::LearningRateTooHigh);
    assert!(note.is_some_and(|note| note.severity == Severity::Note && note.because.contains("ηλ/2 is 4")), "{report}");
    Ok(())
}

/// Progressive sharpening ends at the edge, where ηλ/2 is near 1: no fault, for it is the usual end of a training.
#[test]
fn training_at_the_edge_of_stability_is_healthy() -> Result<(), Error> {
    let network = Sequential::<f64>::input(4).linear(24).activation(Tanh).linear(24).activation(Tanh).linear(1);
    let x = normal(5, 240);
    let t = x.chunks(4).map(|row| (2.0 * row[0]).sin() * row[1].cos()).collect();
    let run = Descent::of(network.build()?, x, t, Sgd::new(0.2), 800)?;
    let report = run.report(&run.w, 0.2, 0.0)?;
    assert!(report.is_healthy(), "{report}");
    let phrase = report.examined.iter().find_map(|phrase| phrase.split_once("ηλ/2 is "));
    let edge: f64 = phrase.and_then(|(_, edge)| edge.parse().ok()).expect("a number");
    assert!((0.8..1.2).contains(&edge), "{edge}");
    Ok(())
}

/// A loss that stands still accuses the rate only if no direction was covered; the size of updates does not count.
#[test]
fn curvature_replaces_the_size_of_updates() -> Result<(), Error> {
    // Of 40 steps at ηλ = 1e-4 each, 0.4 % of the way: 1 − exp(−0.004).
    let slow = quadratic(1e-4 / 16.0, 0.0, 40)?;
    let report = slow.report(&slow.w, 1e-4 / 16.0, 0.0)?;
    assert!(blames(&report, Cause::LearningRateTooLow), "{report}");
    assert!(report.root().is_some_and(|root| root.text.contains(" 40 steps go 0.399 % of the way")), "{report}");
    // Weights near 0 move by many times their size, which is no harm of the rate: the targets are unlearnable.
    let network =
        Sequential::<f64>::input(4).layer(Linear::new(4, 1).weights(LeCun::normal().gain(0.01)).without_bias());
    let noise = Descent::of(network.build()?, normal(11, 240), normal(12, 60), Sgd::new(0.1), 4)?;
    for report in [noise.plain()?, noise.report(&noise.w, 0.1, 0.0)?] {
        assert!(!report.findings.iter().any(|finding| finding.cause == Cause::LearningRateTooHigh), "{report}");
    }
    Ok(())
}

#[test]
fn curvature_says_so_where_it_is_by_differences_and_refuses_large_batches() -> Result<(), Error> {
    #[derive(Clone, Copy, Debug)]
    struct Own;
    impl Activation for Own {
        fn value<T: Scalar>(&self, z: T) -> T {
            z
        }
        fn derivative<T: Scalar>(&self, _z: T, _y: T) -> T {
            T::one()
        }
    }
    let network = Sequential::<f64>::input(4).layer(Linear::new(4, 1).without_bias()).activation(Own).build()?;
    let known = quadratic(0.01, 0.0, 2)?;
    let run = Descent::of(network, known.x.clone(), known.t.clone(), Sgd::new(0.01), 2)?;
    let [exact, other] = [known.report(&known.w, 0.01, 0.0)?, run.report(&run.w, 0.01, 0.0)?];
    let said = |report: &Report| report.examined.iter().any(|phrase| phrase.contains("λ, is 16, by differences"));
    assert!(!said(&exact) && said(&other), "{exact}{other}");
    let (loss, x, t) = (MeanSquaredError::new(), normal(1, 260), normal(2, 65));
    let refuses = |rows: usize, rate: f64, momentum: f64| {
        let (x, target) = (&x[..4 * rows], Target::Values(&t[..rows]));
        let mut hessian = Hessian::new(&known.network, &known.w, x, BatchShape::batch(rows), &loss, target).unwrap();
        let diagnosis = Diagnosis::new(&known.network, InputStatistics::new(1.0).unwrap()).unwrap();
        matches!(diagnosis.curvature(&mut hessian, rate, momentum), Err(Error::Parameter { .. }))
    };
    assert!(refuses(65, 0.1, 0.0) && refuses(4, -0.1, 0.0) && refuses(4, f64::NAN, 0.0) && refuses(4, 0.1, 1.0));
    assert!(!refuses(64, 0.1, 0.9));
    Ok(())
}

/// Masks are the same in each product, and the statistics of a norm are those of the batch: a product is a function.
#[test]
fn products_with_dropout_and_norms_repeat_exactly() -> Result<(), Error> {
    let builder = Sequential::<f64>::input(3).linear(6).batch_norm().activation(Tanh).layer(Dropout::new(6, 0.4)?);
    let network = builder.linear(1).build()?;
    let (w, x, t, loss) = (initialize(&network, 1)?, normal(2, 24), normal(3, 8), MeanSquaredError::new());
    let mut hessian = Hessian::new(&network, &w, &x, BatchShape::batch(8), &loss, Target::Values(&t))?;
    hessian = hessian.dropout_key(DropoutKey::new(4, 0));
    let v = normal(4, w.len());
    let first = hessian.times(&v)?;
    hessian.largest_eigenvalue(10)?;
    assert_eq!(first, hessian.times(&v)?);
    Ok(())
}
