//! Bounds that a gradient attains, so that no smaller bound would be valid.

use super::measure::{longest_input_gradient, longest_state_gradient};
use crate::numbers::seeded_numbers;
use chainrule::{
    BatchShape, Layer, activation::*, initializer::Orthogonal, layer::*, network::summary, recurrent::*,
    theory::Certificate, workspace::Workspace,
};

/// Asserts `largest gain ≤ bound ≤ (1 + excess) · largest gain`, for the gain from output gradient to input
/// gradient.
#[track_caller]
fn assert_attained(network: &dyn Layer<f64>, w: &[f64], x: &[f64], shape: BatchShape<'_>, excess: f64) {
    let bound = Certificate::new(network, w, shape).unwrap().bound().unwrap();
    let found = longest_input_gradient(network, w, x, shape);
    let layers = summary(network);
    assert!(found <= bound * (1.0 + 1e-12), "{found:e} > {bound:e}:\n{layers}");
    assert!(bound <= found * (1.0 + excess), "{found:e} is only {} of {bound:e}:\n{layers}", found / bound);
}

fn orthogonal(n: usize, gain: f64, seed: u64) -> Vec<f64> {
    let layer = Linear::new(n, n).without_bias().weights(Orthogonal { gain });
    initialize(&layer, seed).unwrap()
}

#[test]
fn bound_of_each_layer_is_attained_at_some_input() {
    let one = BatchShape::batch(1);
    let w = seeded_numbers(3, 15 + 5);
    assert_attained(&Linear::new(3, 5), &w, &[0.0; 3], one, 1e-9);
    assert_attained(&PRelu::new(2), &[-1.7], &[-1.0, 1.0], one, 1e-12);
    assert_attained(&PRelu::new(2).per_unit(), &[0.5, 0.7], &[1.0, -1.0], one, 1e-12);
    assert_attained(&Dropout::new(8, 0.3).unwrap(), &[], &[1.0; 8], one, 1e-12);
    assert_attained(&LayerNorm::new(3), &[-2.0, -2.0, -2.0, 1.0, 1.0, 1.0], &[0.7; 3], one, 1e-9);
    assert_attained(&LayerNorm::new(2).without_affine(), &[], &[0.0; 2], one, 1e-9);
    assert_attained(&LayerNorm::new(1).without_affine(), &[], &[3.0], one, 0.0);
    assert_attained(&RmsNorm::new(3), &[0.5, -3.0, 1.0], &[0.0; 3], one, 1e-9);
    assert_attained(&LastStep::new(2), &[], &[1.0; 10], BatchShape::ragged(&[3, 2]), 1e-12);
    assert_attained(&MeanOverSteps::new(2), &[], &[1.0; 10], BatchShape::ragged(&[3, 2]), 1e-12);
    for scale in [0.7, -0.7] {
        let residual = Residual::new(Linear::new(2, 2).without_bias()).unwrap().scale(BranchScale::Fixed(scale));
        // A branch with its largest singular vector along the skip connection.
        let branch = [2.0 * scale.signum(), 0.0, 0.0, 1.0];
        assert_attained(&residual.unwrap(), &branch, &[1.0; 2], one, 1e-9);
    }
}

#[test]
fn bound_of_each_activation_is_attained_at_some_input() {
    for activation in super::network::activations() {
        let network = LayerSpec::ActivationLayer { width: 1, activation: activation.clone() }.build::<f64>().unwrap();
        let steepest = |a: f64, b: f64| {
            if activation.as_any().derivative_at(a).abs() > activation.as_any().derivative_at(b).abs() { a } else { b }
        };
        // A grid, points far beyond it for slopes attained at infinity, and both sides of each kink.
        let kinks = activation.as_any().kink_points().into_iter().flat_map(|kink| [kink.next_down(), kink.next_up()]);
        let grid = (-100_000..=100_000).map(|i| f64::from(i) / 1e4).chain([-1e3, 1e3]);
        let x = grid.chain(kinks).reduce(steepest).unwrap();
        assert_attained(&*network, &[], &[x], BatchShape::batch(1), 1e-7);
    }
}

#[test]
fn layer_whose_activation_jumps_has_an_infinite_bound() {
    let jumping: Vec<_> = ActivationKind::examples().into_iter().filter(|kind| !kind.jumps().is_empty()).collect();
    assert!(jumping.iter().any(|kind| kind.name() == "HardShrink"), "{jumping:?}");
    for activation in jumping {
        let network = LayerSpec::ActivationLayer { width: 1, activation: activation.clone() }.build::<f64>().unwrap();
        assert_eq!(network.gain_bound(&[], BatchShape::batch(1)), Some(f64::INFINITY));
        let recurrent = Recurrent::new(1, 1, Elman::new(activation));
        let w = chainrule::layer::initialize::<f64>(&recurrent, 1).unwrap();
        let certificate = Certificate::new(&recurrent, &w, BatchShape::sequences(1, 3)).unwrap();
        assert_eq!((certificate.bound(), certificate.vanishes(1e-4)), (Some(f64::INFINITY), Some(false)));
    }
}

#[test]
fn bound_after_pooling_is_for_the_pooled_shape() {
    let network = Sequential::<f64>::input(2).last_step().mean_over_steps().build().unwrap();
    assert_attained(&network, &[], &[1.0; 8], BatchShape::sequences(1, 4), 1e-12);
}

#[test]
fn bound_of_a_gru_input_is_attained_in_each_term() {
    // One unit from a state of ±1, which h approaches. W, U and b of the gates r, z, n, and b_u.
    let before =
        |w: [f64; 3], u: f64, b: [f64; 2]| (GruVariant::ResetBefore, vec![w, [0.0, 0.0, u], [0.0, b[0], b[1]]]);
    let after = |w: [f64; 3], u: f64, b: [f64; 2]| (GruVariant::ResetAfter, before(w, u, b).1);
    for ((reset, w), bias, h, expected) in [
        // The update gate moves h by the whole of n − h.
        (after([0.0, 40.0, 0.0], 0.0, [0.0, 20.0]), Some(0.0), -1.0, 20.0),
        (before([0.0, 40.0, 0.0], 0.0, [0.0, 20.0]), None, -1.0, 20.0),
        // The reset gate multiplies U h + b_u, or h.
        (after([40.0, 0.0, 0.0], 3.0, [-30.0, -2.5]), Some(2.0), 1.0, 50.0),
        (before([40.0, 0.0, 0.0], 3.0, [-30.0, -1.5]), None, 1.0, 30.0),
        (before([0.0, 0.0, 7.0], 3.0, [-30.0, -1.5]), None, 1.0, 7.0),
    ] {
        let network = Recurrent::new(1, 1, Gru::new().variant(reset));
        let w: Vec<f64> = w.into_iter().flatten().chain(bias).collect();
        let bound = Certificate::new(&network, &w, BatchShape::batch(1)).unwrap().bound().unwrap();
        let mut workspace = Workspace::new(&network, BatchShape::batch(1)).unwrap();
        workspace.compute_input_gradient(true);
        workspace.set_state(&[h]).unwrap();
        workspace.forward(&w, &[0.0], BatchShape::batch(1)).unwrap().dy[0] = 1.0;
        workspace.backward(&w).unwrap();
        let found = workspace.input_gradient()[0].abs();
        assert!((found / expected - 1.0).abs() < 1e-9, "{found} is not {expected}");
        assert!(found <= bound && bound <= found * (1.0 + 1e-9), "{reset:?}: {found} of {bound}");
    }
}

#[test]
fn bound_of_two_directions_is_attained() {
    let cell = || Recurrent::new(1, 1, Elman::new(Identity)).without_bias();
    let network = Bidirectional::new::<f64>(cell(), Reversed::new::<f64>(cell()).unwrap()).unwrap();
    // Both directions read the steps from the first to the last; their outputs 1·x and 2·x are concatenated.
    assert_attained(&network, &[1.0, 0.0, 2.0, 0.0], &[1.0; 3], BatchShape::sequences(1, 3), 1e-9);
}

#[test]
fn bound_of_aligned_layers_is_attained() {
    let (n, depth) = (5, 40);
    let unit = |seed: u64| {
        let v: Vec<f64> = seeded_numbers(seed, n);
        let length = v.iter().map(|v| v * v).sum::<f64>().sqrt();
        v.iter().map(|v| v / length).collect::<Vec<_>>()
    };
    for orthogonal_layers in [false, true] {
        for scale in [0.3, 1.0, 4.0] {
            let mut network = Sequential::<f64>::new(n);
            let mut w = Vec::new();
            for layer in 0..depth {
                network.push(Linear::new(n, n).without_bias()).unwrap();
                if orthogonal_layers {
                    w.extend(orthogonal(n, scale, layer));
                } else {
                    // s · u vᵀ, where v is the u of the previous layer.
                    let (u, v) = (unit(layer + 1), unit(layer));
                    w.extend(u.iter().flat_map(|u| v.iter().map(move |v| scale * u * v)));
                }
            }
            assert_attained(&network, &w, &[1.0; 5], BatchShape::batch(1), 1e-9);
            let found = longest_input_gradient(&network, &w, &[1.0; 5], BatchShape::batch(1));
            assert!((found / scale.powi(depth as i32) - 1.0).abs() < 1e-9);
        }
    }
}

#[test]
fn bound_at_any_depth_is_in_range_in_decades() {
    let (mut network, mut w) = (Sequential::<f64>::new(1), Vec::new());
    for layer in 0..2000 {
        network.push(Linear::new(1, 1).without_bias()).unwrap();
        w.push(if layer < 1000 { 1e-3 } else { 1e3 });
    }
    let certificate = |w: &[f64]| Certificate::new(&network, w, BatchShape::batch(1)).unwrap();
    let all = certificate(&w);
    assert!((all.bound().unwrap() - 1.0).abs() < 1e-9 && all.decades().unwrap().abs() < 1e-9);
    w[1000..].fill(1.0);
    let small = certificate(&w);
    assert!((small.decades().unwrap() + 3000.0).abs() < 1e-9);
    assert!(small.bound().unwrap() > 0.0 && small.bound().unwrap() < 1e-320);
    assert_eq!(small.vanishes(1e-300), Some(true));
    assert!(small.to_string().contains("shrinks at least 1.0e3000-fold"), "{small}");
    w.fill(1e3);
    let large = certificate(&w);
    assert!((large.decades().unwrap() - 6000.0).abs() < 1e-9);
    assert_eq!(large.bound(), Some(f64::INFINITY));
}

#[test]
fn horizon_of_a_linear_recurrence_is_attained() {
    let (n, steps) = (4, 60);
    for radius in [0.5, 0.8, 1.0, 1.1] {
        let layer = Recurrent::new(1, n, Elman::new(Identity)).without_bias();
        let mut w = seeded_numbers(1, n);
        w.extend(orthogonal(n, radius, 2));
        let certificate = Certificate::new(&layer, &w, BatchShape::sequences(1, steps)).unwrap();
        let horizon = &certificate.horizons()[0];
        let bounds = horizon.bounds.as_ref().unwrap();
        for back in [1, 2, 7, steps] {
            let found = longest_state_gradient(&layer, &w, &vec![0.1; steps], back);
            assert!(found <= bounds[back] * (1.0 + 1e-12) && bounds[back] <= found * (1.0 + 1e-9));
        }
        // 0.5^13 and 0.8^41 are the last powers above 1e-4.
        let beyond = [(0.5, Some(13)), (0.8, Some(41)), (1.0, None), (1.1, None)];
        let expected = beyond.iter().find(|(r, _)| *r == radius).unwrap().1;
        assert_eq!(horizon.vanishes_beyond(Certificate::VANISHED), expected, "{radius}");
    }
}

#[test]
fn bound_of_a_contracting_recurrence_over_any_length_is_finite() {
    // ∂h_t/∂x_t = 1: the Jacobian of all steps is a Toeplitz matrix with a norm just below 1/(1 − ρ).
    let layer = Recurrent::new(1, 1, Elman::new(Identity)).without_bias();
    let bound =
        |steps| Certificate::new(&layer, &[1.0, 0.9], BatchShape::sequences(1, steps)).unwrap().bound().unwrap();
    assert!(bound(10_000) < 10.0 * (1.0 + 1e-9) && bound(10_000) > 9.999);
    assert_attained(&layer, &[1.0, 0.9], &[0.0; 300], BatchShape::sequences(1, 300), 1e-2);
}
