//! Budgets of random networks: each share agrees with a second computation, and their sum with the true gradient.

use super::{
    network::{Case, Part, build, feedforward, recurrent},
    witness::{Expected, Witness, norm},
};
use chainrule::{
    GradientMonitor, Layer,
    layer::Mode,
    monitor::{Factor, GradientBudget, LinkBudget},
    testing::Dual,
    workspace::Workspace,
};
use proptest::prelude::*;

const TOLERANCE: f64 = 1e-12;

fn close(found: f64, expected: f64, scale: f64) -> bool {
    (found - expected).abs() <= TOLERANCE * expected.abs().max(scale)
}

fn compare(found: &[LinkBudget], expected: &[Expected]) {
    let of = |name: &str, factor: Factor, step: Option<usize>| format!("{name} {factor:?} {step:?}");
    let found_names: Vec<_> = found.iter().map(|link| of(&link.name, link.factor, link.step)).collect();
    let names: Vec<_> = expected.iter().map(|link| of(&link.name, link.factor, link.step)).collect();
    assert_eq!(found_names, names);
    for (found, expected) in found.iter().zip(expected) {
        assert!(close(found.norm_in.norm, expected.before, expected.scale), "{found:?} for {expected:?}");
        assert!(close(found.norm_out.norm, expected.after, expected.scale), "{found:?} for {expected:?}");
    }
}

/// The gradient of c · y with respect to each input value, by one forward pass of dual numbers per value.
pub fn by_duals(case: &Case, w: &[f64], x: &[f64], c: &[f64]) -> Vec<f64> {
    let network = build::<Dual<f64>>(case.input, &case.parts);
    let w: Vec<Dual<f64>> = w.iter().map(|&w| Dual::constant(w)).collect();
    let mut x: Vec<Dual<f64>> = x.iter().map(|&x| Dual::constant(x)).collect();
    let mut workspace = Workspace::for_inference(&network, case.shape()).unwrap();
    let mut gradient = Vec::new();
    for i in 0..x.len() {
        x[i].tangent = 1.0;
        let y = workspace.infer(&w, &x, case.shape()).unwrap();
        gradient.push(y.iter().zip(c).map(|(y, c)| y.tangent * c).sum());
        x[i].tangent = 0.0;
    }
    gradient
}

/// Random weights for a case, with standard deviations that decrease with the width.
pub fn weights(case: &Case, network: &impl Layer<f64>) -> Vec<f64> {
    case.values(1, network.dims().parameters, 0.9)
}

fn check(case: &Case) -> [usize; 2] {
    let network = build::<f64>(case.input, &case.parts);
    let shape = case.shape();
    let w = weights(case, &network);
    let x = case.values(2, shape.rows() * case.input, 1.5);
    let mut workspace = Workspace::new(&network, shape).unwrap();
    workspace.compute_input_gradient(true);
    let blocks = workspace.blocks().clone();
    let c = case.values(3, Layer::<f64>::output_shape(&network, shape).rows() * network.width(), 1.0);
    let mut witness = Witness::new(&blocks, &w, &c);
    let mut budget = GradientBudget::new();
    let mut both = (&mut witness, &mut budget);
    let monitor: &mut dyn GradientMonitor<f64> = &mut both;
    workspace.forward_with(&w, &x, shape, Mode::Train, monitor).unwrap().dy.copy_from_slice(&c);
    workspace.backward_with(&w, monitor).unwrap();

    // Each link is the factor it names, up to the rounding of its terms.
    assert!(witness.worst < TOLERANCE, "{} over depth", witness.worst);
    compare(budget.links(), &witness.depth);
    let plain: Vec<LinkBudget> =
        budget.steps().iter().filter(|link| !is_gated(&witness, &link.name)).cloned().collect();
    compare(&plain, &witness.time);

    // The last norm is that of the true gradient.
    let (first, dx) = (norm(&c), norm(workspace.input_gradient()));
    let truth = by_duals(case, &w, &x, &c);
    let largest = witness.magnitudes.iter().chain(&truth).fold(1e-3f64, |largest, v| largest.max(v.abs()));
    for (found, expected) in workspace.input_gradient().iter().zip(&truth) {
        assert!((found - expected).abs() <= TOLERANCE * largest, "{found} for {expected}");
    }
    let links = budget.links();
    assert!(close(links[0].norm_in.norm, first, 0.0));
    assert!(close(links.last().unwrap().norm_out.norm, dx, 0.0));
    assert!(close(dx, norm(&truth), norm(&witness.magnitudes)));
    for pair in links.windows(2) {
        assert!(close(pair[0].norm_out.norm, pair[1].norm_in.norm, 0.0), "{pair:?}");
    }

    // The sum of the shares is the decades of the true gradient.
    let shares = budget.shares();
    let total = shares.total();
    if dx == 0.0 {
        assert_eq!(total, f64::NEG_INFINITY);
    } else {
        assert!(
            (total - (dx / first).log10()).abs() <= TOLERANCE * (1.0 + total.abs()),
            "{shares:?} for {}",
            dx / first
        );
    }
    // If no norm is zero, each share is the plain sum of its links' decades.
    if links.iter().all(|link| link.norm_out.norm > 0.0) {
        for (factor, share) in [
            (Factor::Weights, shares.weights),
            (Factor::Activation, shares.activation),
            (Factor::Addition, shares.addition),
            (Factor::Other, shares.other),
        ] {
            let sum: f64 = links.iter().filter(|link| link.factor == factor).map(LinkBudget::decades).sum();
            assert!((share - sum).abs() <= TOLERANCE * (1.0 + total.abs()), "{factor:?}: {share} for {sum}");
        }
    }

    // Over time, each link starts with the norm with which the previous one ended. Samples that end earlier have state
    // 0.
    for layer in budget.recurrent_layers() {
        let steps: Vec<&LinkBudget> = budget.steps_of(layer).collect();
        for pair in steps.windows(2) {
            assert!(close(pair[1].norm_in.norm, pair[0].norm_out.norm, 0.0), "{pair:?}");
        }
        assert_eq!(budget.state_gradients(layer).len(), shape.steps);
    }

    // The table names every layer of the main path or over time.
    let table = budget.to_string();
    for (i, part) in case.parts.iter().enumerate() {
        let shown = table.lines().any(|line| line.starts_with(&format!("{i}")));
        assert!(
            shown || matches!(part, Part::Activation(_) | Part::LastStep | Part::Mean | Part::Residual(..)),
            "{i}\n{table}"
        );
    }
    assert!(!table.contains("NaN"), "{table}");
    assert_eq!(budget.blocks().len(), blocks.len());
    for (found, block) in budget.blocks().iter().zip(&blocks) {
        assert_eq!((found.name.as_str(), found.role), (&*block.name, block.role));
        assert!(close(found.parameters.norm, norm(&w[block.range.clone()]), 0.0));
        assert!(close(found.gradient.norm, norm(&workspace.gradient()[block.range.clone()]), 0.0));
    }
    witness.recomputed
}

fn is_gated(witness: &Witness<'_>, link: &str) -> bool {
    witness.gated.iter().any(|layer| link.strip_prefix(layer.as_str()).is_some_and(|rest| rest.starts_with('.')))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn budget_of_feedforward_and_residual_networks_agrees_with_the_witness(case in feedforward()) {
        let [activations, weights] = check(&case);
        prop_assert!(activations > 0 && weights > 1);
    }

    #[test]
    fn budget_of_recurrent_networks_agrees_with_the_witness(case in recurrent()) {
        let [_, weights] = check(&case);
        prop_assert!(weights > 1);
    }
}
