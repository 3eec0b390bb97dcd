//! Searches for a gradient that exceeds its certificate: there must be none.

use super::{
    measure::{cast, longest_input_gradient, longest_state_gradient},
    network::{Case, case, cell, node},
};
use crate::numbers::seeded_numbers;
use chainrule::{
    Scalar,
    recurrent::{CellKind, Gru, Lstm, Mgu},
    theory::Certificate,
    to_f64,
};
use proptest::prelude::*;

/// Inputs of several magnitudes, zeros, and rows of nearly equal values, where norms have the largest derivatives.
fn inputs(case: &Case, count: usize) -> Vec<Vec<f64>> {
    let values: Vec<f64> = seeded_numbers(case.seed ^ 5, count);
    let sized = |size: f64| values.iter().map(|value| size * value).collect::<Vec<f64>>();
    let equal = |spread: f64| {
        values.iter().enumerate().map(|(i, value)| values[i / case.input] + spread * value).collect::<Vec<f64>>()
    };
    vec![sized(0.0), sized(1e-3), sized(0.3), sized(1.0), sized(10.0), equal(0.0), equal(1e-3)]
}

/// The largest fraction of the bound that a gradient attains, and the bound.
fn share<T: Scalar>(case: &Case, climbs: u64) -> (f64, f64) {
    let (network, shape) = (node(case.input, &case.parts).build::<T>().unwrap(), case.shape());
    let size = 10f64.powf(case.size);
    let count = network.dims().parameters;
    let w: Vec<f64> = seeded_numbers::<f64>(case.seed, count).iter().map(|value| value * size).collect();
    let w = cast::<T>(&w);
    let bound = Certificate::new(&network, &w, shape).unwrap().bound().unwrap();
    let measure = |x: &[f64]| longest_input_gradient(&*network, &w, &cast::<T>(x), shape);
    let mut best = (f64::NEG_INFINITY, Vec::new());
    for x in inputs(case, shape.rows() * case.input) {
        let found = measure(&x);
        best = if found > best.0 { (found, x) } else { best };
    }
    // Hill climbing from the best input.
    for climb in 0..climbs {
        let by = 10f64.powi(-(climb as i32 % 4));
        let step: Vec<f64> = seeded_numbers(case.seed ^ (climb + 11), best.1.len());
        let x: Vec<f64> = best.1.iter().zip(step).map(|(x, step)| x + by * step).collect();
        let found = measure(&x);
        best = if found > best.0 { (found, x) } else { best };
    }
    (if best.0 == 0.0 { 0.0 } else { best.0 / bound }, bound)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn no_gradient_exceeds_its_certificate(case in case()) {
        let (share_64, bound) = share::<f64>(&case, 12);
        prop_assert!(share_64 <= 1.0 + 1e-12, "{} of {bound:e}", share_64);
        let (share_32, bound) = share::<f32>(&case, 2);
        // In `f32` a gradient can be beyond the range of the format.
        prop_assert!(share_32 <= 1.0 + 1e-5 || bound > 1e37, "f32: {} of {bound:e}", share_32);
    }

    #[test]
    fn no_gradient_through_a_state_exceeds_its_horizon(
        cell in cell(), hidden in 1..4usize, seed: u64, size in -1.0..1.5f64, steps in 1..8usize,
    ) {
        let network = node(2, &[super::network::Part::Recurrent(hidden, cell)]).build::<f64>().unwrap();
        let scaled = |seed, count, size: f64| -> Vec<f64> {
            seeded_numbers::<f64>(seed, count).iter().map(|v| v * size).collect()
        };
        let w = scaled(seed, network.dims().parameters, 10f64.powf(size));
        let certificate = Certificate::new(&network, &w, chainrule::BatchShape::sequences(1, steps)).unwrap();
        let bounds = certificate.horizons()[0].bounds.clone().unwrap();
        prop_assert_eq!(bounds.len(), steps + 1);
        for input in [0.0, 0.3, 3.0] {
            let x = scaled(seed ^ 3, steps * 2, input);
            for end in 1..=steps {
                for (back, bound) in bounds.iter().enumerate().take(end + 1).skip(1) {
                    let found = longest_state_gradient(&*network, &w, &x[..end * 2], back);
                    prop_assert!(found <= bound * (1.0 + 1e-12), "{found:e} > {bound:e}");
                }
            }
        }
    }
}

#[test]
fn certificate_of_cells_prints_the_attained_fraction() {
    use chainrule::recurrent::GruVariant::{ResetAfter, ResetBefore};
    let gru = |variant| CellKind::Gru(Gru::new().variant(variant));
    let cells = [CellKind::Lstm(Lstm::new()), gru(ResetAfter), gru(ResetBefore), CellKind::Mgu(Mgu::new())];
    for cell in cells.into_iter().chain([CellKind::Elman(super::network::activations()[2].clone())]) {
        for (steps, size) in [(1, -0.5), (5, -0.5), (20, -0.5), (5, 0.5)] {
            let case = Case {
                input: 3,
                parts: vec![super::network::Part::Recurrent(4, cell.clone())],
                lengths: vec![steps],
                seed: 4,
                size,
            };
            let (share, bound) = share::<f64>(&case, 40);
            println!("{cell:?}, {steps} steps, weights to {:.2}: {share:.1e} of {bound:.1e}", 10f64.powf(size));
            assert!(share <= 1.0 + 1e-12 && to_f64(share) > 0.0);
        }
    }
}

/// The largest fraction of the bound on the input gradient (or on the state gradient if `of_state`) that one unit
/// attains. Parameter `weight` starts far larger than the others. Hill climbing changes all parameters and inputs.
fn dominated(cell: &CellKind, weight: usize, of_state: bool, steps: usize) -> f64 {
    let network = node(1, &[super::network::Part::Recurrent(1, cell.clone())]).build::<f64>().unwrap();
    let count = network.dims().parameters;
    let shape = chainrule::BatchShape::sequences(1, steps);
    let share = |values: &[f64]| {
        let (w, x) = values.split_at(count);
        let certificate = Certificate::new(&network, w, shape).unwrap();
        let found = match of_state {
            true => longest_state_gradient(&*network, w, x, 1) / certificate.horizons()[0].bounds.as_ref().unwrap()[1],
            false => longest_input_gradient(&*network, w, x, shape) / certificate.bound().unwrap(),
        };
        if found.is_finite() { found } else { 0.0 }
    };
    let mut best = (0.0, Vec::new());
    for start in 0..4 {
        let mut values: Vec<f64> =
            seeded_numbers::<f64>(start, count + steps).iter().map(|value| 2.0 * value).collect();
        values[weight] = 40.0 * values[weight].signum();
        let mut found = share(&values);
        for climb in 0..120 {
            let size = 10f64.powi(-(climb % 3));
            let step: Vec<f64> = seeded_numbers(start ^ (climb as u64 * 7 + 100), values.len());
            let moved: Vec<f64> = values.iter().zip(step).map(|(value, step)| value + size * step).collect();
            let higher = share(&moved);
            (found, values) = if higher > found { (higher, moved) } else { (found, values) };
        }
        best = if found > best.0 { (found, values) } else { best };
    }
    best.0
}

#[test]
fn certificate_of_a_cell_with_one_large_weight_is_not_exceeded() {
    use chainrule::recurrent::GruVariant::{ResetAfter, ResetBefore};
    let gru = |variant| CellKind::Gru(Gru::new().variant(variant));
    let mgu = (CellKind::Mgu(Mgu::new()), 2);
    let gates = [(CellKind::Lstm(Lstm::new()), 4), (gru(ResetAfter), 3), (gru(ResetBefore), 3), mgu];
    for (cell, gates) in gates {
        for weight in 0..2 * gates {
            for (of_state, steps) in [(true, 2), (true, 3), (false, 1), (false, 2)] {
                let share = dominated(&cell, weight, of_state, steps);
                println!("{cell:?}, weight {weight}, state {of_state}, {steps} steps: {share:.3}");
                assert!(share <= 1.0 + 1e-12, "{cell:?}: weight {weight}, state {of_state}, {steps} steps: {share}");
            }
        }
    }
}
