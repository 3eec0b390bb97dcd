//! Optimizers by hand: their equations, the layout of their state in every format, and the rates that they report.

use chainrule::{
    Block, Blocks, Error, LayerRule, Role, Scalar, scalar, to_f64,
    transform::{
        Adadelta, Adagrad, Adam, AdamW, Adamax, GradientTransform, Lion, Muon, NAdam, Optimizer, Outcome, RAdam,
        RmsProp, Schedule, ScheduleFreeAdamW, Sgd, Unordered, Update,
    },
};

/// A matrix of 2 × 2, then two biases.
fn blocks() -> Blocks {
    Blocks::collect(|visit| {
        visit(Block::new("weight", 0, [2, 2], Role::Weight));
        visit(Block::new("bias", 4, [2, 1], Role::Bias));
    })
}

/// Every optimizer with the rate 0.25; the number of values that its state has for each parameter, and beside them.
pub fn optimizers<T: Scalar>() -> Vec<(Box<dyn GradientTransform<T>>, [usize; 2])> {
    vec![
        (Box::new(Sgd::new(0.25)), [0, 0]),
        (Box::new(Sgd::new(0.25).momentum(0.9)), [1, 0]),
        (Box::new(RmsProp::new(0.25)), [1, 0]),
        (Box::new(RmsProp::new(0.25).momentum(0.9)), [2, 0]),
        (Box::new(RmsProp::new(0.25).centred().momentum(0.9)), [3, 0]),
        (Box::new(Adagrad::new(0.25)), [1, 0]),
        (Box::new(Adadelta::new(0.25)), [2, 0]),
        (Box::new(Adam::new(0.25)), [2, 0]),
        (Box::new(Adam::new(0.25).amsgrad()), [3, 0]),
        (Box::new(AdamW::new(0.25, 0.1)), [2, 0]),
        (Box::new(Adamax::new(0.25)), [2, 0]),
        (Box::new(RAdam::new(0.25)), [2, 0]),
        (Box::new(NAdam::new(0.25)), [2, 1]),
        (Box::new(Lion::new(0.25)), [1, 0]),
        (Box::new(Muon::new(0.25, AdamW::new(0.5, 0.0))), [2, 0]),
    ]
}

/// A value of the state takes `slots` values of a format.
fn state_has_the_values_of_the_equations<T: Scalar>(slots: usize) {
    let blocks = blocks();
    for (optimizer, [each, beside]) in optimizers::<T>() {
        let state = vec![T::zero(); optimizer.state_len(&blocks)];
        assert_eq!(state.len(), slots * (each * 6 + beside), "{optimizer:?}");
        for step in [0, 1, 7, 1000] {
            assert_eq!(optimizer.learning_rate(&blocks, &state, step), Some(0.25), "{optimizer:?}");
        }
    }
    // Adagrad's own decay, r/(1 + 3 · 0.5).
    let decaying = Adagrad::new(0.25).rate_decay(0.5);
    assert_eq!(GradientTransform::<T>::learning_rate(&decaying, &blocks, &[], 3), Some(0.1));
}

/// Every optimizer, schedule-free AdamW too, whose state has values beside those of the parameters.
fn all_optimizers<T: Scalar>() -> impl Iterator<Item = Box<dyn GradientTransform<T>>> {
    let free: Box<dyn GradientTransform<T>> = Box::new(free());
    optimizers().into_iter().map(|(optimizer, _)| optimizer).chain([free])
}

/// Updates with gradients of both signs keep the places of the state that are stated as not negative at 0 or above.
fn stated_places_stay_at_or_above_zero<T: Scalar>() {
    let (blocks, mut stated) = (blocks(), 0);
    for transform in all_optimizers::<T>() {
        let name = format!("{transform:?}");
        let mut w = [scalar::<T>(0.5); 6];
        let mut optimizer = Optimizer::new(transform, &blocks, &w).unwrap();
        for step in 0..30 {
            let mut gradient: [T; 6] = std::array::from_fn(|i| scalar(f64::from(step * 7 + 3 * i as i32) % 5.0 - 2.0));
            optimizer.step(&blocks, &mut w, &mut gradient, &mut ()).unwrap();
            for range in optimizer.spec(&blocks)[0].non_negative.clone() {
                let values = &optimizer.state()[range];
                assert!(values.iter().all(|&value| value >= T::zero()), "{name}: {values:?}");
                stated += 1;
            }
        }
    }
    assert!(stated >= 30 * 10, "{stated}");
}

#[test]
fn state_stated_as_not_negative_stays_so_in_every_format() {
    stated_places_stay_at_or_above_zero::<f32>();
    stated_places_stay_at_or_above_zero::<f64>();
    #[cfg(feature = "half")]
    stated_places_stay_at_or_above_zero::<half::f16>();
    #[cfg(feature = "half")]
    stated_places_stay_at_or_above_zero::<half::bf16>();
}

/// A value below 0 under a square root makes the next update NaN: each such place is stated.
#[test]
fn state_whose_negative_value_makes_nan_is_stated_as_not_negative() {
    let (blocks, mut found) = (blocks(), 0);
    let count = all_optimizers::<f64>().count();
    for (number, place) in (0..count).flat_map(|number| (0..30).map(move |place| (number, place))) {
        let transform = all_optimizers::<f64>().nth(number).unwrap();
        let name = format!("{transform:?}, place {place}");
        let (mut w, mut gradient) = ([0.5; 6], [1e-3; 6]);
        let mut optimizer = Optimizer::new(transform, &blocks, &w).unwrap();
        let mut state = optimizer.state().to_vec();
        let Some(value) = state.get_mut(place) else { continue };
        *value = -1.0;
        optimizer.restore(&state, 10).unwrap();
        optimizer.step(&blocks, &mut w, &mut gradient, &mut ()).unwrap();
        if w.iter().any(|w| w.is_nan()) {
            assert!(optimizer.spec(&blocks)[0].non_negative.iter().any(|range| range.contains(&place)), "{name}");
            found += 1;
        }
    }
    assert!(found >= 6 * 7, "{found} places");
}

#[test]
fn optimizer_in_every_format_reports_its_rate_and_has_the_state_of_its_equations() {
    state_has_the_values_of_the_equations::<f32>(1);
    state_has_the_values_of_the_equations::<f64>(1);
    #[cfg(feature = "half")]
    state_has_the_values_of_the_equations::<half::f16>(3);
    #[cfg(feature = "half")]
    state_has_the_values_of_the_equations::<half::bf16>(3);
}

/// The polynomial of Muon, five times.
pub fn quintic(mut s: f64) -> f64 {
    for _ in 0..5 {
        s = 3.4445 * s - 4.7750 * s.powi(3) + 2.0315 * s.powi(5);
    }
    s
}

/// With diagonal gradients every product is diagonal, and the singular values are those of u.
fn muon_is_its_equations<T: Scalar>(allowed: f64) {
    let (blocks, rate) = (blocks(), 0.0625);
    for (mu, nesterov, decay) in [(0.875, true, 0.5), (0.875, false, 0.25), (0.0, true, 0.0)] {
        let muon = Muon::new(rate, AdamW::new(0.5, 0.0)).momentum(mu).decay(decay);
        let muon = if nesterov { muon } else { muon.without_nesterov() };
        let mut w = [1.0, 0.5, -0.25, 2.0, 0.0, 0.0].map(scalar::<T>);
        let (mut optimizer, mut m) = (Optimizer::new(muon, &blocks, &w).unwrap(), [0.0; 2]);
        for g in [[1.0, -0.5], [-0.25, 0.5], [0.125, 2.0], [-3.0, 0.25]] {
            let before = w.map(to_f64);
            m = [0, 1].map(|i| mu * m[i] + (1.0 - mu) * g[i]);
            let u = if nesterov { [0, 1].map(|i| mu * m[i] + (1.0 - mu) * g[i]) } else { m };
            let norm = (u[0] * u[0] + u[1] * u[1]).sqrt();
            let steps = [quintic(u[0] / norm), 0.0, 0.0, quintic(u[1] / norm)];
            let mut gradient = [g[0], 0.0, 0.0, g[1], 0.0, 0.0].map(scalar::<T>);
            optimizer.step(&blocks, &mut w, &mut gradient, &mut ()).unwrap();
            for (i, step) in steps.into_iter().enumerate() {
                let expected = before[i] - rate * step - rate * decay * before[i];
                let found = to_f64(w[i]);
                assert!((found - expected).abs() <= allowed, "{mu} {decay}, entry {i}: {found} for {expected}");
            }
        }
        // Its scratch is no setting.
        assert_eq!(optimizer.transform(), &optimizer.transform().clone().momentum(mu));
        assert_ne!(optimizer.transform(), &optimizer.transform().clone().momentum(0.5));
    }
}

#[test]
fn muon_of_diagonal_gradients_is_its_equations_in_every_format() {
    muon_is_its_equations::<f64>(1e-13);
    muon_is_its_equations::<f32>(1e-6);
    #[cfg(feature = "half")]
    muon_is_its_equations::<half::f16>(2e-3);
    #[cfg(feature = "half")]
    muon_is_its_equations::<half::bf16>(2e-2);
}

/// The first update is −η g/(√(s₀ + g²) + ε), with s₀ the initial sum.
fn adagrad_begins_at_its_initial_sum<T: Scalar>(allowed: f64) {
    let (blocks, mut w) = (blocks(), [T::zero(); 6]);
    let mut optimizer = Optimizer::new(Adagrad::new(0.5).initial(9.0), &blocks, &w).unwrap();
    optimizer.step(&blocks, &mut w, &mut [4.0, -4.0, 0.0, 4.0, 4.0, -4.0].map(scalar), &mut ()).unwrap();
    for (w, expected) in w.map(to_f64).into_iter().zip([-0.4, 0.4, 0.0, -0.4, -0.4, 0.4]) {
        assert!((w - expected).abs() <= allowed, "{w} for {expected}");
    }
}

#[test]
fn adagrad_in_every_format_begins_at_its_initial_sum() {
    adagrad_begins_at_its_initial_sum::<f64>(1e-9);
    adagrad_begins_at_its_initial_sum::<f32>(1e-7);
    #[cfg(feature = "half")]
    adagrad_begins_at_its_initial_sum::<half::f16>(2e-4);
}

/// A momentum of steps of a thousand reaches 1e5, which f16 does not hold: the state has (1 − μ) b.
#[cfg(feature = "half")]
#[test]
fn rmsprop_in_half_precision_has_a_momentum_beyond_the_format() {
    fn last<T: Scalar>() -> f64 {
        let transform = RmsProp::new(1e-5).alpha(0.99999999).momentum(0.99);
        let (blocks, mut w) = (blocks(), [T::zero(); 6]);
        let mut optimizer = Optimizer::new(transform, &blocks, &w).unwrap();
        for _ in 0..100 {
            w = [T::zero(); 6];
            optimizer.step(&blocks, &mut w, &mut [T::one(); 6], &mut ()).unwrap();
        }
        -to_f64(w[0])
    }
    let (found, expected) = (last::<half::f16>(), last::<f64>());
    assert!(expected > 0.66, "the buffer is {}, within f16", expected / 1e-5);
    assert!((found / expected - 1.0).abs() < 2e-3, "{found} for {expected}");
}

fn free() -> ScheduleFreeAdamW {
    ScheduleFreeAdamW::new(0.125, 0.0).betas(0.75, 0.875)
}

/// x, its rounding error, z, v and √Σγ², one after the other. The first step has c = 1, so that x is z.
#[test]
fn schedule_free_state_has_the_documented_layout() {
    let (blocks, mut w) = (blocks(), [0.5; 6]);
    let mut optimizer = Optimizer::new(free(), &blocks, &w).unwrap();
    let g = [1.0, -2.0, 4.0, 0.5, 0.25, -1.0f64];
    optimizer.step(&blocks, &mut w, &mut g.clone(), &mut ()).unwrap();
    let state = optimizer.state();
    assert_eq!(state.len(), 26);
    assert!((state[24] - 0.125 * 0.125_f64.sqrt()).abs() < 1e-15, "{}", state[24]);
    assert_eq!(state[..6], state[12..18]);
    for (v, g) in state[18..24].iter().zip(g) {
        assert!((v - 0.125 * g * g).abs() <= 1e-15, "{v}");
    }
}

/// Algorithm 1 by hand, with a rate that is set on the way: c = γ²/Σγ² over the rates γ of all steps so far.
#[test]
fn schedule_free_weight_follows_a_rate_that_was_set() {
    let blocks = Blocks::collect(|visit| visit(Block::new("w", 0, [1, 1], Role::Weight)));
    let mut w = [1.0_f64];
    let mut optimizer = Optimizer::new(ScheduleFreeAdamW::new(0.01, 0.0).warm_up(5), &blocks, &w).unwrap();
    let (mut x, mut z, mut v, mut squares) = (1.0, 1.0, 0.0_f64, 0.0);
    for t in 1..=130_i32 {
        let rate = if t > 100 { 0.1 } else { 0.01 };
        optimizer.set_learning_rate(rate).unwrap();
        let y: f64 = 0.1 * z + 0.9 * x;
        assert!((w[0] - y).abs() < 1e-13, "step {t}: {} for {y}", w[0]);
        let g = y + f64::from(t).sin();
        v = 0.999 * v + 0.001 * g * g;
        let gamma = rate * (1.0 - 0.999_f64.powi(t)).sqrt() * (f64::from(t) / 5.0).min(1.0);
        squares += gamma * gamma;
        z -= gamma * g / (v.sqrt() + 1e-8);
        let c = gamma * gamma / squares;
        x = (1.0 - c) * x + c * z;
        optimizer.step(&blocks, &mut w, &mut [g], &mut ()).unwrap();
        assert!((optimizer.result(&blocks).unwrap()[0] - x).abs() < 1e-13, "step {t}");
    }
}

/// The result of a frozen block is the block.
#[test]
fn schedule_free_result_of_a_frozen_block_is_its_parameters() {
    let (mut blocks, mut w) = (blocks(), [0.5, 1.0, -1.0, 2.0, -0.125, 7.0]);
    blocks.freeze("bias").unwrap();
    let mut optimizer = Optimizer::new(free(), &blocks, &w).unwrap();
    for _ in 0..3 {
        optimizer.step(&blocks, &mut w, &mut [1.0; 6], &mut ()).unwrap();
    }
    assert_eq!(w[4..], [-0.125, 7.0]);
    assert_eq!(optimizer.result(&blocks).unwrap()[4..], [-0.125, 7.0]);
}

/// Two runs of the same gradients, of which one is moved by `shift` before the last of five steps, stay `shift` apart
/// in parameters and result. Weights and steps are of the size `size`.
fn shift_moves_parameters_and_result<T: Scalar>(size: f64, shift: f64, allowed: f64) {
    let blocks = blocks();
    let run = |shift: f64| {
        let mut w = [size, -size, 0.5 * size, size, 2.0 * size, size].map(scalar::<T>);
        let transform = ScheduleFreeAdamW::new(size / 64.0, 0.0).betas(0.75, 0.875);
        let mut optimizer = Optimizer::new(transform, &blocks, &w).unwrap();
        for step in 0..5 {
            if step == 4 {
                w.iter_mut().for_each(|w| *w += scalar(shift));
            }
            let gradient = [1.0, -2.0, step as f64, 0.5, 0.0, 3.0];
            optimizer.step(&blocks, &mut w, &mut gradient.map(scalar), &mut ()).unwrap();
        }
        let result: [T; 6] = core::array::from_fn(|i| optimizer.result(&blocks).unwrap()[i]);
        [w, result].map(|values| values.map(to_f64))
    };
    for (plain, moved) in run(0.0).into_iter().flatten().zip(run(shift).into_iter().flatten()) {
        let off = moved - plain - shift;
        assert!(off.abs() <= allowed, "size {size:e}, shift {shift:e}: off by {off:e}");
    }
}

#[test]
fn schedule_free_follows_parameters_that_were_set_at_every_size() {
    for size in [1e-6, 1.0, 1e6] {
        shift_moves_parameters_and_result::<f64>(size, 0.5 * size, 1e-14 * size);
        shift_moves_parameters_and_result::<f64>(size, 1e-7 * size, 1e-14 * size);
        shift_moves_parameters_and_result::<f32>(size, 0.5 * size, 1e-6 * size);
    }
    #[cfg(feature = "half")]
    shift_moves_parameters_and_result::<half::f16>(1.0, 0.5, 4e-3);
}

#[test]
fn custom_schedule_equals_its_copies_alone() {
    let (one, other) = (Schedule::custom(|_| 0.5), Schedule::custom(|_| 0.5));
    assert_eq!(one, one.clone());
    assert_ne!(one, other);
    assert_ne!(one, Schedule::constant(0.5));
}

/// A transform around another, whose name has an underscore and a path within its brackets.
#[derive(Debug)]
#[allow(non_camel_case_types)]
struct Passed_on<G>(G);

impl<T: Scalar, G: GradientTransform<T>> GradientTransform<T> for Passed_on<G> {
    fn update(&mut self, update: Update<'_, T>) -> Result<Outcome, Error> {
        self.0.update(update)
    }
}

#[test]
fn transform_without_spec_has_the_name_of_its_type_without_paths() {
    let spec = GradientTransform::<f64>::spec(&Passed_on(Passed_on(Sgd::new(0.1))), &blocks());
    assert_eq!(spec[0].title(), "Passed_on<Passed_on<Sgd>>");
}

/// The check of a chain is lifted whole: also for several optimizers.
#[test]
fn unordered_chain_may_have_several_optimizers() {
    let (blocks, mut w) = (blocks(), [0.0; 6]);
    assert!(Optimizer::new((Sgd::new(0.5), Sgd::new(0.5)), &blocks, &w).is_err());
    let both = Unordered((Sgd::new(0.5), Sgd::new(0.5)));
    let mut optimizer = Optimizer::new(both, &blocks, &w).unwrap();
    optimizer.step(&blocks, &mut w, &mut [1.0; 6], &mut ()).unwrap();
    // The second descends along the update of the first.
    assert_eq!(w, [0.25; 6]);
}

/// As many parameters in blocks of another shape.
#[test]
fn muon_refuses_blocks_of_another_shape() {
    let one = |shape| Blocks::collect(|visit| visit(Block::new("weight", 0, shape, Role::Weight)));
    for (made, other) in [([2, 32], [8, 8]), ([8, 8], [2, 32])] {
        let mut w = [0.5; 64];
        let muon = Muon::new(0.1, AdamW::new(0.1, 0.0));
        let mut optimizer = Optimizer::new(muon, &one(made), &w).unwrap();
        let refused = optimizer.step(&one(other), &mut w, &mut [1.0; 64], &mut ());
        assert!(matches!(refused, Err(Error::InvalidState { .. })), "{refused:?}");
        assert_eq!(w, [0.5; 64]);
        let mut frozen = one(made);
        frozen.freeze("weight").unwrap();
        assert!(optimizer.step(&frozen, &mut w, &mut [1.0; 64], &mut ()).is_ok());
    }
}

/// The update of RAdam after t equal gradients g. With `a = 1 − β₂` the second moment is `v = g²(1 − β₂ᵗ)`, so the
/// update is r. To first order in a, `ρ = t − a (t² − 1)/6`, from the series of β₂ᵗ; `ρ_∞ = 2/a − 1` is exact.
#[test]
fn radam_keeps_its_digits_for_beta_near_one() {
    let blocks = Blocks::collect(|visit| visit(Block::new("w", 0, [1, 1], Role::Bias)));
    for short in [1e-6, 1e-9, 1e-12, f64::EPSILON] {
        let beta = 1.0 - short;
        let (a, mut w) = (1.0 - beta, [0.0]);
        let transform = RAdam::new(1.0).betas(0.0, beta).epsilon(0.0);
        let mut optimizer = Optimizer::new(transform, &blocks, &w).unwrap();
        for t in 1..=200 {
            let before = w[0];
            optimizer.step(&blocks, &mut w, &mut [2.0], &mut ()).unwrap();
            let (found, t) = (before - w[0], f64::from(t));
            let (length, longest) = (t - a * (t * t - 1.0) / 6.0, 2.0 / a - 1.0);
            let r = (length - 4.0) * (length - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * length);
            let expected = if length > 5.0 { r.sqrt() } else { 2.0 };
            // The parameter is near 10, and the series ends at a² t³.
            let allowed = 1e-14 + expected * (1e-12 + 10.0 * a * a * t * t);
            assert!((found - expected).abs() <= allowed, "β₂ = 1 − {short:e}, t = {t}: {found:e} for {expected:e}");
        }
    }
}

/// `1 − βᵗ` for β near 1, in the first updates of Adam: equal gradients give updates of the rate.
#[test]
fn bias_correction_keeps_its_digits_for_beta_near_one() {
    let blocks = Blocks::collect(|visit| visit(Block::new("w", 0, [1, 1], Role::Bias)));
    for short in [1e-3, 1e-9, 1e-12, 1e-15] {
        let beta = 1.0 - short;
        let transforms: [Box<dyn GradientTransform<f64>>; 2] = [
            Box::new(Adam::new(1.0).betas(beta, beta).epsilon(0.0)),
            Box::new(Adamax::new(1.0).betas(beta, 0.5).epsilon(0.0)),
        ];
        for transform in transforms {
            let name = format!("{transform:?}");
            let (mut optimizer, mut w) = (Optimizer::new(transform, &blocks, &[0.0]).unwrap(), [0.0]);
            for t in 1..=50 {
                let before = w[0];
                optimizer.step(&blocks, &mut w, &mut [2.0], &mut ()).unwrap();
                assert!((before - w[0] - 1.0).abs() <= 1e-12, "{name}, t = {t}: {}", before - w[0]);
            }
        }
    }
}

/// A plateau in a narrow format sees falls of 5e-4, and counts beyond what the format counts.
#[cfg(feature = "half")]
#[test]
fn plateau_in_narrow_formats_compares_and_counts_as_in_single() {
    fn check<T: Scalar>() {
        let blocks = blocks();
        let factor = |optimizer: &Optimizer<T, _>| optimizer.learning_rate(&blocks).unwrap();
        let plateau = |patience| (Sgd::new(1.0), chainrule::transform::ReduceOnPlateau::new(0.5, patience));
        let mut falls = Optimizer::new(plateau(0), &blocks, &[T::zero(); 6]).unwrap();
        for metric in [1.0, 0.9995, 0.9990, 0.9985] {
            falls.on_metric(&blocks, metric).unwrap();
            assert_eq!(factor(&falls), 1.0, "{metric}");
        }
        falls.on_metric(&blocks, 0.9985).unwrap();
        assert_eq!(factor(&falls), 0.5);
        let mut counts = Optimizer::new(plateau(3000), &blocks, &[T::zero(); 6]).unwrap();
        (0..3001).for_each(|_| counts.on_metric(&blocks, 1.0).unwrap());
        assert_eq!(factor(&counts), 1.0);
        counts.on_metric(&blocks, 1.0).unwrap();
        assert_eq!(factor(&counts), 0.5);
        let mut w = [T::one(); 6];
        counts.step(&blocks, &mut w, &mut [T::one(); 6], &mut ()).unwrap();
        assert_eq!(w.map(to_f64), [0.5; 6]);
    }
    check::<f32>();
    check::<half::f16>();
    check::<half::bf16>();
}

/// Blocks at these ranges, as a vector each, named by their places.
fn at(ranges: &[[usize; 2]]) -> Blocks {
    Blocks::collect(|visit| {
        for (i, &[start, end]) in ranges.iter().enumerate() {
            let mut block = Block::new(["a", "b", "c"][i], start, [end.saturating_sub(start), 1], Role::Weight);
            block.range = start..end;
            visit(block);
        }
    })
}

/// An update of parameters in no block would add the raw gradient, and one of parameters in two blocks is twice scaled.
#[test]
fn optimizer_of_blocks_with_gaps_or_overlaps_is_refused() {
    let start = |rule: &LayerRule, place: usize| {
        let LayerRule::BlockStart { expected, .. } = rule else { return false };
        *expected == place
    };
    let lawful = at(&[[0, 2], [2, 6]]);
    type Expected<'a> = &'a dyn Fn(&LayerRule) -> bool;
    let cases: [(&[[usize; 2]], Expected<'_>); 6] = [
        (&[[0, 2], [4, 6]], &|rule| start(rule, 2)),
        (&[[0, 4], [2, 6]], &|rule| start(rule, 4)),
        (&[[4, 8], [0, 4], [8, 6]], &|rule| start(rule, 0)),
        (&[[2, 6]], &|rule| start(rule, 0)),
        (&[[0, 7], [7, 6]], &|rule| matches!(rule, LayerRule::ReversedRange { .. })),
        (&[[0, 6], [6, 6], [5, 6]], &|rule| start(rule, 6)),
    ];
    for (ranges, expected) in cases {
        let (blocks, mut w) = (at(ranges), [0.5f64; 6]);
        let refused = |error: Error| {
            let Error::InvalidLayer { rule, .. } = &error else { panic!("{ranges:?}: {error}") };
            assert!(expected(rule), "{ranges:?}: {error}");
        };
        for transform in [Box::new(Sgd::new(0.1)) as Box<dyn GradientTransform<f64>>, Box::new(Adam::new(0.1))] {
            refused(Optimizer::new(transform, &blocks, &w).unwrap_err());
        }
        let mut optimizer = Optimizer::new(Sgd::new(0.1), &lawful, &w).unwrap();
        refused(optimizer.step(&blocks, &mut w, &mut [1.0; 6], &mut ()).unwrap_err());
        refused(optimizer.on_metric(&blocks, 1.0).unwrap_err());
        assert_eq!((w, optimizer.steps()), ([0.5; 6], 0), "{ranges:?}");
    }
    // A shape of another size, and a name that two blocks share.
    let named = |[first, second]: [&str; 2], rows| {
        Blocks::collect(|visit| {
            visit(Block::new(first, 0, [2, 1], Role::Weight));
            let mut block = Block::new(second, 2, [rows, 1], Role::Weight);
            block.range = 2..6;
            visit(block);
        })
    };
    for blocks in [named(["a", "b"], 3), named(["a", "a"], 4), named(["a", ""], 4)] {
        let made = Optimizer::new(Sgd::new(0.1), &blocks, &[0.5f64; 6]);
        assert!(matches!(made, Err(Error::InvalidLayer { .. })), "{blocks:?}");
    }
}
