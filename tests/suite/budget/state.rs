//! Over time, the gradient of the whole state, (h, c) for an LSTM, is the true gradient.

use super::{
    network::{Case, Part, build},
    promises::weights,
    witness::norm,
};
use chainrule::{
    BatchShape, GradientMonitor,
    layer::Mode,
    monitor::{Factor, GradientBudget},
    testing::Dual,
    workspace::Workspace,
};
use proptest::prelude::*;

/// At each step t > 0, compares the norm of the gradient from later steps with dual numbers in the state at that step.
fn check(case: &Case) {
    let (batch, steps) = (case.lengths.len(), case.lengths[0]);
    let shape = BatchShape::sequences(batch, steps);
    let network = build::<f64>(case.input, &case.parts);
    let duals = build::<Dual<f64>>(case.input, &case.parts);
    let w = weights(case, &network);
    let x = case.values(2, shape.rows() * case.input, 1.5);
    let c = case.values(3, shape.rows() * network.width(), 1.0);
    let mut workspace = Workspace::new(&network, shape).unwrap();
    let mut budget = GradientBudget::new();
    let monitor: &mut dyn GradientMonitor<f64> = &mut budget;
    workspace.forward_with(&w, &x, shape, Mode::Train, monitor).unwrap().dy.copy_from_slice(&c);
    workspace.backward_with(&w, monitor).unwrap();

    let dual_w: Vec<Dual<f64>> = w.iter().map(|&w| Dual::constant(w)).collect();
    let dual_x: Vec<Dual<f64>> = x.iter().map(|&x| Dual::constant(x)).collect();
    let mut prefix = Workspace::for_inference(&network, shape).unwrap();
    let mut suffix = Workspace::for_inference(&duals, shape).unwrap();
    for t in 1..steps {
        prefix.infer(&w, &x[..t * batch * case.input], BatchShape::sequences(batch, t)).unwrap();
        let mut state: Vec<Dual<f64>> = prefix.final_state().iter().map(|&s| Dual::constant(s)).collect();
        let mut gradient = Vec::new();
        for i in 0..state.len() {
            state[i].tangent = 1.0;
            suffix.set_state(&state).unwrap();
            let rest = BatchShape::sequences(batch, steps - t);
            let y = suffix.infer(&dual_w, &dual_x[t * batch * case.input..], rest).unwrap();
            let tail = &c[t * batch * network.width()..];
            gradient.push(y.iter().zip(tail).map(|(y, c)| y.tangent * c).sum::<f64>());
            state[i].tangent = 0.0;
        }
        // The gradient of the loss at step t − 1 is added in that step's addition link.
        let link =
            budget.steps_of("0").find(|link| link.factor == Factor::Addition && link.step == Some(t - 1)).unwrap();
        let (found, expected) = (link.norm_in.norm, norm(&gradient));
        assert!((found - expected).abs() <= 1e-12 * expected.max(1e-2), "step {t}: {found} for {expected}");
        // The state gradient after that link includes this loss term in h, because the output is the hidden state.
        let hidden = batch * network.width();
        let own = &c[(t - 1) * hidden..t * hidden];
        gradient.iter_mut().zip(own).for_each(|(state, loss)| *state += loss);
        let (found, expected) = (budget.state_gradients("0")[t - 1], norm(&gradient));
        assert!((found - expected).abs() <= 1e-12 * expected.max(1e-2), "step {t}: {found} for {expected}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn state_gradients_of_all_cells_agree_with_dual_numbers(input in 2..=4usize, hidden in 2..=5usize, cell in 0..=4usize, batch in 1..=3usize, steps in 2..=6usize, seed: u64) {
        check(&Case { input, parts: vec![Part::Recurrent(hidden, cell)], lengths: vec![steps; batch], seed });
    }
}
