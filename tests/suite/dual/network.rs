//! A network of dual numbers: ⟨c, J v⟩ of its forward pass equals ⟨Jᵀ c, v⟩ of the backward pass.

use chainrule::{
    BatchShape, Layer, Scalar,
    activation::{Gelu, Mish},
    layer::{Sequential, initialize},
    recurrent::{Gru, Lstm},
    scalar,
    testing::Dual,
    workspace::Workspace,
};

fn network<T: Scalar>() -> Sequential<T> {
    let gated = Sequential::<T>::input(3).recurrent(5, Lstm::new()).layer_norm().bidirectional(3, Gru::new());
    let network = gated.residual(|branch| branch.linear(6).activation(Gelu).prelu()).mean_over_steps();
    network.linear(4).activation(Mish).linear(2).build().unwrap()
}

/// Deterministic values without a pattern.
fn values<T: Scalar>(count: usize, phase: f64) -> Vec<T> {
    (0..count).map(|i| scalar((i as f64 * 2.399 + phase).sin())).collect()
}

#[test]
fn forward_tangent_is_the_backward_gradient() {
    let (plain, dual) = (network::<f64>(), network::<Dual<f64>>());
    let shape = BatchShape::ragged(&[4, 2, 1]);
    let (w, x): (Vec<f64>, Vec<f64>) = (initialize(&plain, 7).unwrap(), values(shape.rows() * 3, 0.5));
    let (dw, dx): (Vec<f64>, Vec<f64>) = (values(w.len(), 1.0), values(x.len(), 2.0));
    let c: Vec<f64> = values(3 * 2, 3.0);

    let mut workspace = Workspace::new(&plain, shape).unwrap();
    workspace.compute_input_gradient(true);
    let output = workspace.forward(&w, &x, shape).unwrap();
    output.dy.copy_from_slice(&c);
    let y = output.y.to_vec();
    workspace.backward(&w).unwrap();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let backward = dot(workspace.gradient(), &dw) + dot(workspace.input_gradient(), &dx);

    let join = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(&a, &b)| Dual::new(a, b)).collect::<Vec<_>>();
    let mut workspace = Workspace::for_inference(&dual, shape).unwrap();
    let found = workspace.infer(&join(&w, &dw), &join(&x, &dx), shape).unwrap();
    let forward: f64 = found.iter().zip(&c).map(|(y, c)| y.tangent * c).sum();
    assert!(found.iter().zip(&y).all(|(dual, y)| (dual.value - y).abs() < 1e-14));
    assert!((forward - backward).abs() < 1e-13 * backward.abs().max(1.0), "{forward} for {backward}");
    assert_eq!(Layer::<f64>::dims(&plain), Layer::<Dual<f64>>::dims(&dual));
}
