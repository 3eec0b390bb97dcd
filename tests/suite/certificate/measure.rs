//! The largest gains from output gradient to input gradient, measured by backward passes.

use crate::numbers::seeded_numbers;
use chainrule::{BatchShape, Layer, Scalar, scalar, to_f64, workspace::Workspace};

pub fn cast<T: Scalar>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&value| scalar(value)).collect()
}

pub fn norm(values: &[f64]) -> f64 {
    let largest = values.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    // A value that is not finite stays so, and fails the test.
    if largest == 0.0 || !values.iter().all(|value| value.is_finite()) {
        return values.iter().map(|value| value.abs()).sum();
    }
    largest * values.iter().map(|value| (value / largest).powi(2)).sum::<f64>().sqrt()
}

/// A lower bound on `‖J‖₂`: the largest `‖Jᵀd‖` over vectors d of norm 1, by power iteration.
///
/// `back` returns `Jᵀd`. Its results for unit vectors are the rows of J; one more call gives the result.
pub fn longest(outputs: usize, mut back: impl FnMut(&[f64]) -> Vec<f64>) -> f64 {
    let mut unit = vec![0.0; outputs];
    let rows: Vec<Vec<f64>> = (0..outputs)
        .map(|i| {
            unit.fill(0.0);
            unit[i] = 1.0;
            back(&unit)
        })
        .collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let worst = rows.iter().map(|row| norm(row)).fold(0.0, f64::max);
    if worst == 0.0 || !worst.is_finite() {
        return worst;
    }
    let rows: Vec<Vec<f64>> = rows.iter().map(|row| row.iter().map(|value| value / worst).collect()).collect();
    let mut d = seeded_numbers(7, outputs);
    for _ in 0..500 {
        let mut g = vec![0.0; rows[0].len()];
        for (row, d) in rows.iter().zip(&d) {
            g.iter_mut().zip(row).for_each(|(g, value)| *g += d * value);
        }
        let next: Vec<f64> = rows.iter().map(|row| dot(row, &g)).collect();
        let length = norm(&next);
        if length == 0.0 {
            break;
        }
        d = next.iter().map(|value| value / length).collect();
    }
    let length = norm(&d);
    norm(&back(&d)) / length
}

/// The largest factor of a gradient's norm from output to input, at the input `x`.
pub fn longest_input_gradient<T: Scalar>(network: &dyn Layer<T>, w: &[T], x: &[T], shape: BatchShape<'_>) -> f64 {
    let mut workspace = Workspace::new(network, shape).unwrap();
    workspace.compute_input_gradient(true);
    let outputs = network.output_shape(shape).rows() * network.dims().output;
    longest(outputs, |dy| {
        let output = workspace.forward(w, x, shape).unwrap();
        output.dy.copy_from_slice(&cast::<T>(dy));
        workspace.backward(w).unwrap();
        workspace.input_gradient().iter().map(|&value| to_f64(value)).collect()
    })
}

/// The largest factor of a gradient's norm from the final state to the state `back` steps before, for one sample that
/// starts from a zero state.
pub fn longest_state_gradient(network: &dyn Layer<f64>, w: &[f64], x: &[f64], back: usize) -> f64 {
    let inputs = network.dims().input;
    let (before, after) = x.split_at(x.len() - back * inputs);
    let shape = BatchShape::sequences(1, x.len() / inputs);
    let mut workspace = Workspace::new(network, shape).unwrap();
    workspace.compute_state_gradient(true);
    if !before.is_empty() {
        workspace.forward(w, before, BatchShape::sequences(1, before.len() / inputs)).unwrap();
        workspace.carry_state();
    }
    let states = network.memory(shape, chainrule::Mode::Train).state;
    longest(states, |d| {
        workspace.forward(w, after, BatchShape::sequences(1, back)).unwrap();
        workspace.final_state_gradient_mut().copy_from_slice(d);
        workspace.backward(w).unwrap();
        workspace.state_gradient().to_vec()
    })
}
