//! The curvature of losses against closed forms, finite differences and the edge of stability.

use chainrule::{
    Activation, BatchShape, Blocks, Error, Layer, Scalar,
    activation::{Gelu, Identity, Tanh},
    initializer::LeCun,
    layer::{ActivationLayer, Dropout, Linear, Sequential, initialize},
    loss::{CrossEntropy, Loss, MeanSquaredError, Target},
    random::{Normals, generator},
    recurrent::{Elman, Lstm, Recurrent},
    theory::{Hessian, unit_sensitivities},
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
    assert!(matches!(exact.times(&v[1..]), Err(Error::Length { .. })));
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
