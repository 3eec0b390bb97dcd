//! The backward passes of a chain of layers and of a recurrent layer, against loops that only follow the chain rule: no
//! kernel, no fused step, no buffer that is reused.

use crate::numbers::{numbers, seeded_numbers};
use chainrule::{
    BatchShape, Layer,
    activation::Tanh,
    layer::Sequential,
    recurrent::{Elman, Recurrent},
    workspace::Workspace,
};

/// `y = M x` for M \[y, x\], row-major.
fn apply(m: &[f64], x: &[f64]) -> Vec<f64> {
    m.chunks(x.len()).map(|row| row.iter().zip(x).map(|(m, x)| m * x).sum()).collect()
}

/// `x = Mᵀ y` for M \[y, x\], row-major.
fn apply_transposed(m: &[f64], y: &[f64]) -> Vec<f64> {
    let width = m.len() / y.len();
    (0..width).map(|j| (0..y.len()).map(|i| m[i * width + j] * y[i]).sum()).collect()
}

/// Adds `y xᵀ` to M \[y, x\].
fn add_outer(m: &mut [f64], y: &[f64], x: &[f64]) {
    y.iter().enumerate().for_each(|(i, y)| (0..x.len()).for_each(|j| m[i * x.len() + j] += y * x[j]));
}

fn add(to: &mut [f64], from: &[f64]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

/// The gradients of `network` at `dy`: with respect to the input, and to the parameters.
fn gradients(network: &dyn Layer<f64>, w: &[f64], x: &[f64], dy: &[f64], shape: BatchShape<'_>) -> [Vec<f64>; 2] {
    let mut workspace = Workspace::new(network, shape).unwrap();
    workspace.compute_input_gradient(true);
    workspace.forward(w, x, shape).unwrap().dy.copy_from_slice(dy);
    let dw = workspace.backward(w).unwrap().to_vec();
    [workspace.input_gradient().to_vec(), dw]
}

#[track_caller]
fn close(what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
    let close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1e-13 * size);
    assert!(close, "{what}: {found:?} is not {expected:?}");
}

/// `x_{i+1} = tanh(W_i x_i + b_i)`: `δ = dy ⊙ (1 − y²)`, `dW = δ xᵀ`, `db = δ`, `dx = Wᵀ δ`, layer after layer.
#[test]
fn backward_of_a_chain_agrees_with_loops() {
    let (widths, rows) = ([5, 7, 3, 4], 6);
    let mut builder = Sequential::input(widths[0]);
    for width in &widths[1..] {
        builder = builder.linear(*width).tanh();
    }
    let network = builder.build().unwrap();
    let w = seeded_numbers::<f64>(1, network.dims().parameters);
    let (x, dy) = (numbers::<f64>(rows * widths[0]), seeded_numbers::<f64>(2, rows * widths[3]));
    // The parameters of each layer: W, then b.
    let starts = [0, 7 * 5 + 7, 7 * 5 + 7 + 3 * 7 + 3];
    let (mut expected_dx, mut expected_dw) = (Vec::new(), vec![0.0; w.len()]);
    for row in 0..rows {
        let mut xs = vec![x[row * widths[0]..][..widths[0]].to_vec()];
        for i in 0..3 {
            let (weight, bias) = w[starts[i]..].split_at(widths[i] * widths[i + 1]);
            let mut z = apply(weight, &xs[i]);
            add(&mut z, &bias[..widths[i + 1]]);
            xs.push(z.iter().map(|z| z.tanh()).collect());
        }
        let mut d = dy[row * widths[3]..][..widths[3]].to_vec();
        for i in (0..3).rev() {
            let delta: Vec<f64> = d.iter().zip(&xs[i + 1]).map(|(d, y)| d * (1.0 - y * y)).collect();
            let weights = widths[i] * widths[i + 1];
            let (d_weight, rest) = expected_dw[starts[i]..].split_at_mut(weights);
            add_outer(d_weight, &delta, &xs[i]);
            add(&mut rest[..widths[i + 1]], &delta);
            d = apply_transposed(&w[starts[i]..][..weights], &delta);
        }
        expected_dx.extend(d);
    }
    let [dx, dw] = gradients(&network, &w, &x, &dy, BatchShape::batch(rows));
    close("dx", &dx, &expected_dx);
    close("dw", &dw, &expected_dw);
}

/// Backpropagation through time of `h_t = tanh(W x_t + U h_{t−1} + b)`: `δ_t = (dy_t + Uᵀ δ_{t+1}) ⊙ (1 − h_t²)`,
/// `dW = Σ δ_t x_tᵀ`, `dU = Σ δ_t h_{t−1}ᵀ`, `db = Σ δ_t`, `dx_t = Wᵀ δ_t`.
#[test]
fn backward_through_time_agrees_with_loops() {
    let (inputs, hidden) = (3, 5);
    let network = Recurrent::new(inputs, hidden, Elman::new(Tanh));
    let w = seeded_numbers::<f64>(3, Layer::<f64>::dims(&network).parameters);
    let (weight, rest) = w.split_at(hidden * inputs);
    let (recurrent, bias) = rest.split_at(hidden * hidden);
    for shape in [BatchShape::sequences(4, 6), BatchShape::ragged(&[6, 4, 4, 1])] {
        let x = numbers::<f64>(shape.rows() * inputs);
        let dy = seeded_numbers::<f64>(4, shape.rows() * hidden);
        let (mut expected_dx, mut expected_dw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
        let (d_weight, d_rest) = expected_dw.split_at_mut(weight.len());
        let (d_recurrent, d_bias) = d_rest.split_at_mut(recurrent.len());
        for sample in 0..shape.batch {
            let row = |t: usize| shape.row(t, sample);
            let mut h = vec![vec![0.0; hidden]];
            for t in 0..shape.length(sample) {
                let mut z = apply(weight, &x[row(t) * inputs..][..inputs]);
                add(&mut z, &apply(recurrent, &h[t]));
                add(&mut z, bias);
                h.push(z.iter().map(|z| z.tanh()).collect());
            }
            let mut from_later = vec![0.0; hidden];
            for t in (0..shape.length(sample)).rev() {
                let mut d = dy[row(t) * hidden..][..hidden].to_vec();
                add(&mut d, &from_later);
                let delta: Vec<f64> = d.iter().zip(&h[t + 1]).map(|(d, h)| d * (1.0 - h * h)).collect();
                add_outer(d_weight, &delta, &x[row(t) * inputs..][..inputs]);
                add_outer(d_recurrent, &delta, &h[t]);
                add(d_bias, &delta);
                expected_dx[row(t) * inputs..][..inputs].copy_from_slice(&apply_transposed(weight, &delta));
                from_later = apply_transposed(recurrent, &delta);
            }
        }
        let [dx, dw] = gradients(&network, &w, &x, &dy, shape);
        close("dx", &dx, &expected_dx);
        close("dw", &dw, &expected_dw);
    }
}
