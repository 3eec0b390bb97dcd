//! Lyapunov exponents and state Jacobians, compared with exact results.

use chainrule::{
    BatchShape, Error, Layer,
    activation::{Identity, Tanh},
    initializer::{Initializer, Normal, Shape},
    layer::{Sequential, initialize},
    linalg::{eigenvalues, spectral_radius},
    random::generator,
    recurrent::{Elman, Gru, Lstm, Recurrent},
    theory::{LyapunovSpectrum, lyapunov_spectrum, state_jacobian},
    workspace::Workspace,
};
use chainrule::{Role, layer::Mode};

const N: usize = 32;

/// Newman 1986: exponents of products of matrices of independent N(0, 1/N) entries, here for N = 32 by digamma
/// functions.
#[test]
fn lyapunov_spectrum_of_random_matrices_has_newmans_exponents() {
    const SEEDS: usize = 20;
    let newman = [(0, -0.01579), (15, -0.34625), (31, -2.36805)];
    let entries = Normal { mean: 0.0, std: 1.0 / (N as f64).sqrt() };
    let mut found = vec![Vec::new(); newman.len()];
    for seed in 0..SEEDS {
        let (mut rng, mut jacobian) = (generator(seed as u64), vec![0.0; N * N]);
        let mut spectrum = LyapunovSpectrum::new(N, N).unwrap();
        for step in 0..440 {
            if step == 40 {
                spectrum.settle();
            }
            entries.fill(Shape::new(N, N, Role::Recurrent), &mut rng, &mut jacobian).unwrap();
            spectrum.push(&jacobian).unwrap();
        }
        assert_eq!(spectrum.steps(), 400);
        let exponents = spectrum.exponents();
        found.iter_mut().zip(newman).for_each(|(found, (i, _))| found.push(exponents[i]));
    }
    for ((i, expected), found) in newman.into_iter().zip(found) {
        let mean = found.iter().sum::<f64>() / SEEDS as f64;
        let variance = found.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (SEEDS - 1) as f64;
        let error = (variance / SEEDS as f64).sqrt();
        println!("λ_{}: {mean:.5} ± {error:.5}, Newman {expected}", i + 1);
        assert!((mean - expected).abs() <= 3.0 * error, "λ_{}: {mean} ± {error}, expected {expected}", i + 1);
        assert!(error < 0.01);
    }
}

/// For a linear cell λ_i = ln |eigenvalue i of U|, along a trajectory of the layer.
#[test]
fn lyapunov_spectrum_of_a_linear_cell_is_the_log_of_its_eigenvalues() {
    for seed in 0..3 {
        let cell = Recurrent::new(2, 6, Elman::new(Identity)).recurrent(Normal { mean: 0.0, std: 0.3 });
        let w: Vec<f64> = initialize(&cell, seed).unwrap();
        let recurrent = &w[12..48];
        let mut expected: Vec<f64> =
            eigenvalues(recurrent, 6).unwrap().unwrap().iter().map(|[re, im]| re.hypot(*im).ln()).collect();
        expected.sort_by(|a, b| b.total_cmp(a));
        assert!((spectral_radius(recurrent, 6).unwrap().ln() - expected[0]).abs() < 1e-12);
        let spectrum = lyapunov_spectrum(&cell, &w, &[0.1; 2 * 21_000], 1000, 6).unwrap();
        for (found, expected) in spectrum.exponents().iter().zip(&expected) {
            assert!((found - expected).abs() < 2e-4, "seed {seed}: {:?} for {expected:?}", spectrum.exponents());
        }
    }
}

/// Each column of the Jacobian agrees with a central difference of final states of the forward pass.
#[test]
fn state_jacobian_agrees_with_finite_differences() {
    fn check(name: &str, layer: &dyn Layer<f64>, inputs: usize, size: usize) {
        let w = initialize::<f64>(layer, 3).unwrap();
        let (x, state): (Vec<f64>, Vec<f64>) =
            ((0..inputs).map(|i| 0.3 - 0.2 * i as f64).collect(), (0..size).map(|i| (i as f64).sin() * 0.7).collect());
        let jacobian = state_jacobian(layer, &w, &x, &state).unwrap();
        let mut workspace = Workspace::new(layer, BatchShape::batch(1)).unwrap();
        let mut next = |state: &[f64]| {
            workspace.set_state(state).unwrap();
            workspace.forward_with(&w, &x, BatchShape::batch(1), Mode::Evaluate, &mut ()).unwrap();
            workspace.final_state().to_vec()
        };
        for j in 0..size {
            let (mut above, mut below) = (state.clone(), state.clone());
            (above[j], below[j]) = (state[j] + 1e-5, state[j] - 1e-5);
            let (above, below) = (next(&above), next(&below));
            for i in 0..size {
                let expected = (above[i] - below[i]) / 2e-5;
                assert!((jacobian[i * size + j] - expected).abs() < 1e-8, "{name}: [{i}, {j}]");
            }
        }
    }
    check("tanh", &Recurrent::new(2, 3, Elman::new(Tanh)), 2, 3);
    check("lstm", &Recurrent::new(2, 3, Lstm::new()), 2, 6);
    check("gru", &Recurrent::new(2, 3, Gru::new()), 2, 3);
    let stacked = Sequential::input(2).recurrent(3, Gru::new()).recurrent(2, Lstm::new()).linear(1).build().unwrap();
    check("stacked", &stacked, 2, 7);
}

/// An LSTM with forget gates near 1 has one exponent near 0 per unit. A tanh cell with small U has none.
#[test]
fn lyapunov_spectrum_of_open_gates_is_near_zero() {
    let lstm = Recurrent::new(1, 4, Lstm::new()).bias(chainrule::initializer::Constant(5.0));
    let w: Vec<f64> = initialize(&lstm, 1).unwrap();
    let kept = lyapunov_spectrum(&lstm, &w, &[0.0; 300], 100, 8).unwrap().exponents();
    assert!(kept[0] > -0.05 && kept[3] > -0.2 && kept[4] < -1.0, "{kept:?}");
    let rnn = Recurrent::new(1, 4, Elman::new(Tanh)).recurrent(Normal { mean: 0.0, std: 0.1 });
    let w: Vec<f64> = initialize(&rnn, 1).unwrap();
    let lost = lyapunov_spectrum(&rnn, &w, &[0.0; 300], 100, 4).unwrap().exponents();
    assert!(lost[0] < -1.0, "{lost:?}");
}

#[test]
fn lyapunov_exponent_of_a_zero_direction_is_minus_infinity() {
    let mut spectrum = LyapunovSpectrum::new(3, 3).unwrap();
    assert_eq!(spectrum.exponents(), [0.0; 3]);
    for _ in 0..50 {
        spectrum.push(&[2.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0]).unwrap();
    }
    let found = spectrum.exponents();
    assert!((found[0] - 3f64.ln()).abs() < 0.1 && (found[1] - 2f64.ln()).abs() < 0.1, "{found:?}");
    assert_eq!(found[2], f64::NEG_INFINITY);
    let mut large = LyapunovSpectrum::new(2, 2).unwrap();
    for _ in 0..10 {
        large.push(&[1e300, 0.0, 0.0, 1e-300]).unwrap();
    }
    assert!((large.exponents()[0] - 1e300f64.ln()).abs() < 1.0, "{:?}", large.exponents());
}

#[test]
fn lyapunov_spectrum_of_invalid_arguments_is_an_error() {
    let cell = Recurrent::new(2, 3, Elman::new(Tanh));
    let w: Vec<f64> = initialize(&cell, 0).unwrap();
    let refused = |found: Result<LyapunovSpectrum, Error>| assert!(found.is_err(), "{found:?}");
    refused(lyapunov_spectrum(&cell, &w[1..], &[0.0; 20], 1, 3));
    refused(lyapunov_spectrum(&cell, &w, &[0.0; 21], 1, 3));
    refused(lyapunov_spectrum(&cell, &w, &[0.0; 20], 10, 3));
    refused(lyapunov_spectrum(&cell, &w, &[0.0; 20], 1, 4));
    refused(lyapunov_spectrum(&cell, &w, &[0.0; 20], 1, 0));
    refused(lyapunov_spectrum(&cell, &vec![f64::NAN; w.len()], &[0.0; 20], 1, 3));
    refused(lyapunov_spectrum(&Sequential::input(2).linear(3).build().unwrap(), &[0.0; 9], &[0.0; 20], 1, 1));
    refused(LyapunovSpectrum::new(0, 0));
    assert!(LyapunovSpectrum::new(2, 1).unwrap().push(&[0.0; 3]).is_err());
    assert!(state_jacobian(&cell, &w, &[0.0; 2], &[0.0; 4]).is_err());
    assert!(state_jacobian(&cell, &w, &[0.0; 3], &[0.0; 3]).is_err());
    assert!(eigenvalues(&[1.0; 5], 2).is_err() && spectral_radius(&[1.0; 5], 2).is_err());
    assert_eq!(eigenvalues(&[1.0, f64::NAN, 0.0, 1.0], 2).unwrap(), None);
}

/// Multiples of an orthogonal matrix: each exponent is the logarithm of the factor, also where the entries of the
/// product with a direction overflow, or have few digits.
#[test]
fn lyapunov_spectrum_of_the_largest_and_smallest_entries_is_their_logarithm() {
    for entry in [1.7e308, 1e160, 3.0, 1e-160, 1e-310] {
        let mut spectrum = LyapunovSpectrum::new(2, 2).unwrap();
        for _ in 0..10 {
            spectrum.push(&[entry, entry, entry, -entry]).unwrap();
        }
        let expected = entry.ln() + 0.5 * 2f64.ln();
        for found in spectrum.exponents() {
            assert!((found - expected).abs() <= 1e-13 * expected.abs(), "{entry}: {found} for {expected}");
        }
    }
    // A direction that is lost is lost with large entries, too.
    let mut spectrum = LyapunovSpectrum::new(2, 2).unwrap();
    for _ in 0..10 {
        spectrum.push(&[1e308, 1e308, 1e308, 1e308]).unwrap();
    }
    let [first, second] = spectrum.exponents()[..] else { panic!() };
    assert!(first.is_finite() && second == f64::NEG_INFINITY, "{first} {second}");
}
