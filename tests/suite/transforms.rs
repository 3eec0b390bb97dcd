//! Transforms in chains, on blocks, and where a division or a rounding could write NaN.

use crate::{
    fixtures::roles,
    optimizers::{optimizers, quintic},
};
use chainrule::{
    Block, Blocks, Error, Gate, Layer, Role, Scalar,
    layer::Sequential,
    scalar, to_f64,
    transform::{
        Adagrad, Adam, AdamW, ClipBlockNorm, ClipNorm, ClipValue, GradientTransform, Lion, Muon, NAdam, Optimizer,
        Outcome, ParameterGroups, Penalty, PerGroup, ReduceOnPlateau, RmsProp, Schedule, ScheduleFreeAdamW, Sgd,
        SkipNonFinite, Stage, Unordered, Update, WeightAverage,
    },
};
#[cfg(feature = "half")]
use half::f16;
use proptest::prelude::*;

/// The parameters after each of some steps with these gradients.
fn run<T: Scalar>(transform: impl GradientTransform<T>, w: [f64; 6], gradients: &[[f64; 6]]) -> Vec<[T; 6]> {
    let (blocks, mut w) = (roles(), w.map(scalar::<T>));
    let mut optimizer = Optimizer::new(transform, &blocks, &w).unwrap();
    let step = |g: &[f64; 6]| {
        optimizer.step(&blocks, &mut w, &mut g.map(scalar::<T>), &mut ()).unwrap();
        w
    };
    gradients.iter().map(step).collect()
}

fn optimisers_without_epsilon<T: Scalar>() -> Vec<Box<dyn GradientTransform<T>>> {
    vec![
        Box::new(Adam::new(0.1).epsilon(0.0)),
        Box::new(Adam::new(0.1).epsilon(0.0).amsgrad()),
        Box::new(AdamW::new(0.1, 0.0).adam(|adam| adam.epsilon(0.0))),
        Box::new(RmsProp::new(0.1).epsilon(0.0)),
        Box::new(RmsProp::new(0.1).epsilon(0.0).centred().momentum(0.5)),
        Box::new(Adagrad::new(0.1).epsilon(0.0)),
    ]
}

/// The unit that is dead has gradient 0, and 0/0 must not reach its weights.
fn rests_at_zero<T: Scalar>() {
    for transform in optimisers_without_epsilon::<T>() {
        let name = format!("{transform:?}");
        let gradient = [0.0, 1.0, 0.0, -1.0, 0.0, 1.0];
        for w in run(transform, [1.0; 6], &[gradient; 3]) {
            let w = w.map(to_f64);
            assert!(w.iter().all(|w| w.is_finite()), "{name}: {w:?}");
            assert_eq!([w[0], w[2], w[4]], [1.0; 3], "{name}");
        }
    }
}

#[test]
fn optimizer_without_epsilon_at_zero_gradient_rests() {
    rests_at_zero::<f32>();
    rests_at_zero::<f64>();
}

/// The variance of a gradient that hardly varies is 0 up to rounding, which may take it below.
#[test]
fn optimizer_with_other_blocks_is_a_length_error() {
    let blocks = roles();
    let network = Sequential::<f32>::input(2).linear(1).build().unwrap();
    let other = Blocks::collect(|visit| network.blocks(visit));
    let mut optimizer = Optimizer::new((Adam::new(0.1), WeightAverage::new(0.5)), &blocks, &[0.5_f32; 6]).unwrap();
    let (mut w, mut gradient) = ([0.5_f32; 3], [1.0_f32; 3]);
    // Two moments and the average with its remainder: four values a parameter.
    let refused = |error: Error| assert!(matches!(error, Error::Length { expected: 12, found: 24, .. }), "{error}");
    refused(optimizer.step(&other, &mut w, &mut gradient, &mut ()).unwrap_err());
    refused(optimizer.on_metric(&other, 1.0).unwrap_err());
    assert_eq!((w, optimizer.steps(), optimizer.averaged_weights(&other)), ([0.5; 3], 0, None));
    optimizer.step(&blocks, &mut [0.5; 6], &mut [1.0; 6], &mut ()).unwrap();
}

#[test]
fn rmsprop_names_all_its_settings() {
    let named = |rms: RmsProp| {
        let spec = GradientTransform::<f32>::spec(&rms, &roles()).remove(0);
        spec.settings.into_iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
    };
    let plain = "rate 0.1, alpha 0.99, epsilon 1e-8, momentum 0.0, centred";
    assert_eq!(named(RmsProp::new(0.1)), format!("{plain} false"));
    assert_eq!(named(RmsProp::new(0.1).centred()), format!("{plain} true"));
}

#[test]
fn centred_rmsprop_at_a_steady_gradient_is_finite() {
    let gradient = [1.0, 0.1, 3.3, 1e-3, 7.7, 0.9];
    for epsilon in [1e-8, 1e-3] {
        let rmsprop = || RmsProp::new(1e-3).alpha(0.9).epsilon(epsilon).centred();
        for w in run::<f32>(rmsprop(), [0.0; 6], &[gradient; 2000]) {
            assert!(w.iter().all(|w| w.is_finite()), "{w:?}");
        }
        for w in run::<f64>(rmsprop(), [0.0; 6], &[gradient; 2000]) {
            assert!(w.iter().all(|w| w.is_finite()), "{w:?}");
        }
    }
}

/// Squares that overflow f64, or vanish in it, are still part of a norm.
#[test]
fn clip_norm_where_squares_overflow_is_exact() {
    for scale in [1e200, 1e154, 1e-100, 1e-160, 1e-200, 1e-300] {
        for p in [0.5, 2.0, 3.0] {
            let norm = scale * 2f64.powf(1.0 / p);
            let blocks = roles();
            let mut optimizer =
                Optimizer::new((ClipNorm::new(norm / 8.0).p(p), Sgd::new(1.0)), &blocks, &[0.0; 6]).unwrap();
            let (mut w, mut gradient) = ([0.0; 6], [0.0, -scale, 0.0, 0.0, scale, 0.0]);
            optimizer.step(&blocks, &mut w, &mut gradient, &mut ()).unwrap();
            let found = optimizer.transform().0.norm().unwrap();
            assert!((found / norm - 1.0).abs() <= 1e-14, "p {p}: {found:e} is not {norm:e}");
            assert!((w[1] * 8.0 / scale - 1.0).abs() <= 1e-14 && w[4] == -w[1], "p {p}, {scale:e}: {w:?}");
        }
    }
}

/// A factor below the normal numbers of f32 has few digits left; the gradient it makes must have all of them.
#[test]
fn clip_norm_by_a_tiny_factor_keeps_its_digits() {
    let [large, most] = [1e38, 1e-4];
    let gradient = [large, -large, large, 0.0, 0.0, large];
    for clip in [ClipNorm::new(most), ClipNorm::new(most).p(f64::INFINITY)] {
        let each = if clip == ClipNorm::new(most) { most / 2.0 } else { most };
        let found = run::<f32>((clip, Sgd::new(1.0)), [0.0; 6], &[gradient])[0].map(to_f64);
        for (found, g) in found.into_iter().zip(gradient) {
            let expected = -each * g / large;
            assert!((found - expected).abs() <= 4.0 * f64::from(f32::EPSILON) * each, "{found} is not {expected}");
        }
    }
}

/// The rate after each metric.
fn rates<T: Scalar>(plateau: ReduceOnPlateau, metrics: &[f64]) -> Vec<f64> {
    let blocks = roles();
    let mut optimizer = Optimizer::new((Sgd::new(1.0), plateau), &blocks, &[T::zero(); 6]).unwrap();
    let rate = |&metric: &f64| {
        optimizer.on_metric(&blocks, metric).unwrap();
        let mut w = [T::zero(); 6];
        optimizer.step(&blocks, &mut w, &mut [T::one(); 6], &mut ()).unwrap();
        -to_f64(w[0])
    };
    metrics.iter().map(rate).collect()
}

#[test]
fn plateau_in_every_format_counts_the_same() {
    let plateau = ReduceOnPlateau::new(0.5, 1).threshold(0.0);
    // 0.1 is more in f32 than in f64.
    for metric in [0.1, 0.3, 0.7, 1e-3] {
        let expected = [1.0, 1.0, 0.5, 0.5, 0.25];
        assert_eq!(rates::<f64>(plateau.clone(), &[metric; 5]), expected);
        assert_eq!(rates::<f32>(plateau.clone(), &[metric; 5]), expected);
    }
    // A metric that is not finite is neither a fall nor counted.
    for strange in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let metrics = [strange, 1.0, strange, 1.0, strange, 1.0, strange, 0.5];
        assert_eq!(rates::<f64>(plateau.clone(), &metrics), [1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5], "{strange}");
        assert_eq!(rates::<f64>(plateau.clone(), &[strange; 9]), [1.0; 9], "{strange}");
    }
}

/// A metric beyond the format of the parameters falls and stays as any other.
#[test]
fn plateau_keeps_a_metric_beyond_its_format() {
    let plateau = || ReduceOnPlateau::new(0.5, 1).threshold(0.0);
    let expected = [1.0, 1.0, 1.0, 0.5, 0.5, 0.25];
    for size in [1e38, 1e300, -1e300] {
        let falls = if size > 0.0 { 0.5 } else { 2.0 };
        let metrics: Vec<f64> = [1.0, falls, falls, falls, falls, falls].map(|factor| factor * size).to_vec();
        assert_eq!(rates::<f32>(plateau(), &metrics), expected, "{size}");
        assert_eq!(rates::<f64>(plateau(), &metrics), expected, "{size}");
        #[cfg(feature = "half")]
        assert_eq!(rates::<half::f16>(plateau(), &metrics), expected, "{size}");
    }
    // The best metric may round to −∞.
    let least = [f64::MAX, -f64::MAX, -f64::MAX, -f64::MAX, -f64::MAX];
    assert_eq!(rates::<f32>(plateau(), &least), expected[..5]);
    #[cfg(feature = "half")]
    for metric in [65_504.0, 65_520.0, 1e5, 1e-9, 0.1, 3e38] {
        let expected = [1.0, 1.0, 0.5, 0.5, 0.25];
        assert_eq!(rates::<half::f16>(plateau(), &[metric; 5]), expected, "{metric}");
        assert_eq!(rates::<half::bf16>(plateau(), &[metric; 5]), expected, "{metric}");
    }
}

/// A state from a file is no more than its length: a factor outside its range is refused, since −1 would ascend.
#[test]
fn plateau_restored_with_a_factor_outside_its_range_is_refused() {
    let blocks = roles();
    for bad in [-1.0, 1.5, f64::NAN, f64::INFINITY] {
        let mut optimizer = Optimizer::new((Sgd::new(1.0), ReduceOnPlateau::new(0.5, 1)), &blocks, &[0.0; 6]).unwrap();
        let mut state = optimizer.state().to_vec();
        state[0] = bad;
        optimizer.restore(&state, 3).unwrap();
        let mut w = [0.0; 6];
        let refused = optimizer.step(&blocks, &mut w, &mut [1.0; 6], &mut ());
        assert!(matches!(refused, Err(Error::Parameter { .. })), "{bad}: {refused:?}");
        assert_eq!(w, [0.0; 6]);
    }
}

/// A transform whose `state_len` is right when asked the first time, and too large or too small by one afterwards.
#[derive(Clone, Debug)]
struct Changing {
    asked: std::sync::Arc<std::sync::atomic::AtomicUsize>,
    after: usize,
    by: isize,
}

impl GradientTransform<f64> for Changing {
    fn stage(&self) -> Stage {
        Stage::Regularization
    }
    fn state_len(&self, _blocks: &Blocks) -> usize {
        let asked = self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if asked < self.after { 3 } else { 3usize.saturating_add_signed(self.by) }
    }
    fn update(&mut self, _update: Update<'_, f64>) -> Result<Outcome, Error> {
        Ok(Outcome::Apply)
    }
}

/// The state of Adam is never that of another transform: an update gives right numbers, an error, or a panic.
#[test]
fn state_length_that_changes_gives_no_transform_the_state_of_another() {
    let blocks = roles();
    let trained = |first: Option<Changing>| {
        let w = [0.5; 6];
        let chain: Box<dyn GradientTransform<f64>> = match first {
            Some(first) => Box::new((first, Adam::new(0.1))),
            None => Box::new(Adam::new(0.1)),
        };
        let mut optimizer = Optimizer::new(chain, &blocks, &w).map_err(|error| error.to_string())?;
        let mut run = || {
            let mut w = w;
            for i in 0..4 {
                optimizer.step(&blocks, &mut w, &mut [1.0, -2.0, 0.5, 0.0, i as f64, 3.0], &mut ())?;
            }
            Ok::<_, Error>(w)
        };
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(&mut run)) {
            Ok(done) => done.map_err(|error| error.to_string()),
            Err(panic) => Err(panic.downcast_ref::<String>().cloned().unwrap_or_default()),
        }
    };
    let right = trained(None).unwrap();
    let mut panics = 0;
    for (after, by) in (0..16).flat_map(|after| [(after, 1), (after, -1), (after, isize::MAX)]) {
        let found = std::panic::catch_unwind(|| trained(Some(Changing { asked: Default::default(), after, by })));
        match found {
            Ok(Ok(w)) => assert_eq!(w, right, "{after} {by}"),
            Ok(Err(text)) => panics += usize::from(text.contains("`state_len` must return the same number")),
            // The first state is made by a chain that changes its mind.
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                assert!(text.contains("`state_len` must return the same number"), "{text}");
                panics += 1;
            }
        }
    }
    assert!(panics > 0);
}

/// Blocks of more parameters than memory has are an error or nothing, not an overflow.
#[test]
fn transforms_of_blocks_that_no_memory_holds_need_a_state_that_saturates() {
    let huge = Blocks::collect(|visit| visit(Block::new("w", 0, [usize::MAX, 1], Role::Weight)));
    fn check<T: Scalar>(huge: &Blocks) {
        let all: Vec<Box<dyn GradientTransform<T>>> = vec![
            Box::new(Adam::new(0.1).amsgrad()),
            Box::new(AdamW::new(0.1, 0.0)),
            Box::new(RmsProp::new(0.1).momentum(0.5).centred()),
            Box::new(Sgd::new(0.1).momentum(0.5)),
            Box::new(ScheduleFreeAdamW::new(0.1, 0.0)),
            Box::new(Muon::new(0.1, AdamW::new(0.1, 0.0))),
            Box::new((NAdam::new(0.1), WeightAverage::new(0.5))),
            Box::new((Lion::new(0.1), Adagrad::new(0.1))),
            Box::new(PerGroup::new(Adam::new(0.1)).group(Role::Bias, Adam::new(0.1))),
        ];
        for transform in all {
            let needed = transform.state_len(huge);
            // Two values and more for each parameter; one value for each in a format of at least 32 bits.
            assert_eq!(needed, usize::MAX, "{transform:?}");
        }
    }
    check::<f64>(&huge);
    #[cfg(feature = "half")]
    check::<half::f16>(&huge);
    let mut optimizer = Optimizer::new((Adam::new(0.1), ReduceOnPlateau::new(0.5, 1)), &roles(), &[0.0; 6]).unwrap();
    assert!(matches!(optimizer.on_metric(&huge, 1.0), Err(Error::Length { .. })));
    assert_eq!((optimizer.learning_rate(&huge), optimizer.averaged_weights(&huge)), (None, None));
}

/// The margin is relative to |best|: −1.05 is a fall by 5 % from −1, and −1.0001 is not one by 1 %.
#[test]
fn plateau_of_a_negative_metric_fires() {
    let plateau = || ReduceOnPlateau::new(0.5, 1).threshold(0.01);
    assert_eq!(rates::<f64>(plateau(), &[-1.0; 5]), [1.0, 1.0, 0.5, 0.5, 0.25]);
    assert_eq!(rates::<f64>(plateau(), &[-1.0, -1.0001, -1.0002, -1.05, -1.05]), [1.0, 1.0, 0.5, 0.5, 0.5]);
    let falling: Vec<f64> = (0..20).map(|epoch| 1.0 - 0.2 * f64::from(epoch)).collect();
    assert_eq!(rates::<f64>(plateau(), &falling), [1.0; 20], "from 1 down to −2.8");
    assert_eq!(rates::<f64>(plateau(), &[0.0; 3]), [1.0, 1.0, 0.5]);
}

#[test]
fn plateau_that_raises_the_rate_is_refused() {
    for bad in [1.5, f64::NAN, f64::INFINITY, -1.0] {
        let plateau = ReduceOnPlateau::new(0.5, 1).least(bad);
        let refused = Optimizer::new(plateau, &roles(), &[0.0; 6]).map(|_| ());
        assert!(matches!(refused, Err(Error::Parameter { .. })), "{bad}: {refused:?}");
    }
}

/// Flat, nested and boxed, with memory in every other member: the same bits.
#[test]
fn chain_flat_nested_or_boxed_gives_the_same_bits() {
    let gradients: Vec<[f64; 6]> = (0..8).map(|i| [1.0, -2.0, 0.3, 4.0, 0.0, i as f64]).collect();
    let w = [0.5, 1.0, -1.0, 2.0, -0.1, 1.0];
    let clip = || (SkipNonFinite::new(), ClipNorm::new(2.0));
    let (sgd, decay) = (|| Sgd::new(0.1).momentum(0.9), || Schedule::exponential(0.8));
    let penalty = || Penalty::l2(0.1);
    let flat = run::<f64>(
        (SkipNonFinite::new(), ClipNorm::new(2.0), penalty(), sgd(), decay(), WeightAverage::new(0.5)),
        w,
        &gradients,
    );
    assert_eq!(
        flat,
        run::<f64>((clip(), (penalty(), sgd()), (), ((decay(),), WeightAverage::new(0.5))), w, &gradients)
    );
    let boxed: Box<dyn GradientTransform<f64>> = Box::new((clip(), penalty()));
    assert_eq!(flat, run::<f64>((boxed, sgd(), decay()), w, &gradients));
    // By hand.
    let (mut v, mut m) = (w, [0.0; 6]);
    for (t, (g, found)) in gradients.iter().zip(&flat).enumerate() {
        let norm = g.iter().map(|g| g * g).sum::<f64>().sqrt();
        for i in 0..6 {
            let penalty = if i < 4 { 0.1 * v[i] } else { 0.0 };
            m[i] = 0.9 * m[i] + g[i] * (2.0 / norm).min(1.0) + penalty;
            v[i] -= 0.1 * 0.8f64.powi(t as i32) * m[i];
            assert!((v[i] - found[i]).abs() <= 1e-14, "step {t}, {i}: {} is not {}", found[i], v[i]);
        }
    }
}

/// After a skipped step nothing has changed: neither weights, nor memory behind the guard, nor the count.
#[test]
fn skipped_step_leaves_no_trace() {
    let blocks = roles();
    let chain = || (SkipNonFinite::new(), Adam::new(0.1), Schedule::step(1, 0.5), WeightAverage::new(0.5));
    let good = |i: f64| [1.0, -2.0, i, 0.5, 0.1, 3.0];
    let [mut w, mut plain] = [[1.0; 6]; 2];
    let mut guarded = Optimizer::new(chain(), &blocks, &w).unwrap();
    let mut other = Optimizer::new(chain(), &blocks, &plain).unwrap();
    for i in 0..4 {
        for bad in [f64::NAN, f64::INFINITY] {
            let mut gradient = good(f64::from(i));
            gradient[i as usize] = bad;
            assert_eq!(guarded.step(&blocks, &mut w, &mut gradient, &mut ()), Ok(Outcome::Skip));
            assert_eq!(w, plain);
        }
        guarded.step(&blocks, &mut w, &mut good(f64::from(i)), &mut ()).unwrap();
        other.step(&blocks, &mut plain, &mut good(f64::from(i)), &mut ()).unwrap();
    }
    assert_eq!((w, guarded.steps(), guarded.state()), (plain, 4, other.state()));
    assert_eq!(guarded.averaged_weights(&blocks), other.averaged_weights(&blocks));
    assert_eq!(guarded.transform().0.skipped(), 8);
}

#[test]
fn penalty_and_decay_change_only_their_roles() {
    let w = [2.0, -3.0, 1.0, 0.0, 5.0, -7.0];
    let after = |transform: Box<dyn GradientTransform<f64>>| run::<f64>(transform, w, &[[0.0; 6]])[0];
    assert_eq!(after(Box::new((Penalty::l2(0.5), Sgd::new(1.0)))), [1.0, -1.5, 0.5, 0.0, 5.0, -7.0]);
    assert_eq!(after(Box::new((Penalty::l1(0.5), Sgd::new(1.0)))), [1.5, -2.5, 0.5, 0.0, 5.0, -7.0]);
    assert_eq!(after(Box::new((Penalty::elastic_net(0.5, 0.5), Sgd::new(1.0)))), [0.5, -1.0, 0.0, 0.0, 5.0, -7.0]);
    let biases = Penalty::l2(0.5).roles(&[Role::Bias, Role::Gain]);
    assert_eq!(after(Box::new((biases, Sgd::new(1.0)))), [2.0, -3.0, 1.0, 0.0, 2.5, -3.5]);
    assert_eq!(after(Box::new(AdamW::new(0.5, 0.5))), [1.5, -2.25, 0.75, 0.0, 5.0, -7.0]);
    assert_eq!(after(Box::new(AdamW::new(0.5, 0.5).roles(&[Role::Gain]))), [2.0, -3.0, 1.0, 0.0, 5.0, -5.25]);
}

#[test]
fn parameter_groups_within_each_other_multiply() {
    let rates = ParameterGroups::new().rate("a", 2.0).rate("a.bias", 0.25).rate("b.gain", 0.0);
    assert_eq!(run::<f64>((Sgd::new(1.0), rates), [0.0; 6], &[[1.0; 6]])[0], [-2.0, -2.0, -2.0, -2.0, -0.5, 0.0]);
}

#[test]
fn schedule_free_reports_the_rate_of_its_warm_up() {
    let blocks = roles();
    // The warm-up is linear, t/4 at update t, counted from 1. The second moment is corrected by √(1 − β₂ᵗ).
    let free = ScheduleFreeAdamW::new(0.25, 0.0).warm_up(4);
    for (step, factor) in [(0, 0.25), (1, 0.5), (3, 1.0), (50, 1.0)] {
        let expected = 0.25 * factor * (1.0 - 0.999f64.powi(step + 1)).sqrt();
        let rate = GradientTransform::<f64>::learning_rate(&free, &blocks, &[], step as u64).unwrap();
        assert!((rate / expected - 1.0).abs() < 1e-12, "{step}");
    }
}

/// To halve the rate after two steps is to halve the update, which is exact.
#[test]
fn rate_set_between_steps_scales_the_updates_after_it() {
    let half_from = |step: u64| Schedule::custom(move |t| if t < step { 1.0 } else { 0.5 });
    let mut own: Vec<_> = optimizers::<f64>().into_iter().map(|(optimizer, _)| optimizer).collect();
    let mut scheduled: Vec<_> = optimizers::<f64>().into_iter().map(|(optimizer, _)| optimizer).collect();
    for list in [&mut own, &mut scheduled] {
        list.push(Box::new((Unordered((Adagrad::new(0.25), ())), ParameterGroups::new().rate("a", 2.0))));
        list.push(Box::new(PerGroup::new(Adam::new(0.25)).group(Role::Bias, Sgd::new(0.0))));
    }
    let blocks = roles();
    for (optimizer, scheduled) in own.into_iter().zip(scheduled) {
        let [mut w, mut expected] = [[1.0, -2.0, 0.5, 3.0, 0.25, -1.0]; 2];
        let mut set = Optimizer::new(optimizer, &blocks, &w).unwrap();
        let mut scheduled = Optimizer::new((scheduled, half_from(2)), &blocks, &w).unwrap();
        for t in 0..5 {
            if t == 2 {
                set.set_learning_rate(0.5).unwrap();
                set.set_learning_rate(0.125).unwrap();
            }
            let gradient = [0.5, -1.0, f64::from(t), 0.125, 1.0, -0.5];
            set.step(&blocks, &mut w, &mut gradient.clone(), &mut ()).unwrap();
            scheduled.step(&blocks, &mut expected, &mut gradient.clone(), &mut ()).unwrap();
            assert_eq!(w, expected, "{set:?} after {t}");
        }
        assert_eq!(set.learning_rate(&blocks), scheduled.learning_rate(&blocks), "{set:?}");
        for bad in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(set.set_learning_rate(bad), Err(Error::Parameter { .. })), "{bad}");
        }
    }
    let mut custom = Optimizer::<f64, _>::new((Unstated, Schedule::constant(0.5)), &blocks, &[0.0; 6]).unwrap();
    assert!(matches!(custom.set_learning_rate(0.1), Err(Error::InvalidState { .. })));
}

#[test]
fn learning_rate_of_a_chain_is_the_product_of_its_factors() {
    let (blocks, mut w) = (roles(), [0.0; 6]);
    let chain = (ClipNorm::new(1.0), Adam::new(0.5), Schedule::step(2, 0.1), ReduceOnPlateau::new(0.25, 0));
    let mut optimizer = Optimizer::new(chain, &blocks, &w).unwrap();
    for expected in [0.5, 0.5, 0.05, 0.05, 0.005] {
        assert!((optimizer.learning_rate(&blocks).unwrap() - expected).abs() <= 1e-15);
        optimizer.step(&blocks, &mut w, &mut [1.0; 6], &mut ()).unwrap();
    }
    // Two epochs without a better metric: a quarter.
    optimizer.on_metric(&blocks, 1.0).unwrap();
    optimizer.on_metric(&blocks, 1.0).unwrap();
    assert!((optimizer.learning_rate(&blocks).unwrap() - 0.00125).abs() <= 1e-15);
    let adagrad = Optimizer::new(Adagrad::new(0.5).rate_decay(1.0), &blocks, &w).unwrap();
    assert_eq!(adagrad.learning_rate(&blocks), Some(0.5));
    let custom = Optimizer::<f64, _>::new(Unstated, &blocks, &w).unwrap();
    assert_eq!(custom.learning_rate(&blocks), None);
}

#[test]
fn lion_moves_each_parameter_by_the_rate() {
    // m = 0.01 g after the first step, and the second direction is 0.9 m + 0.1 g: signs by hand.
    let chain = || Lion::new(0.5).betas(0.9, 0.99).decay(0.1);
    let steps = run::<f64>(chain(), [1.0; 6], &[[2.0, -3.0, 0.0, 1.0, 1.0, 1.0], [-0.1, 1.0, 0.0, -1.0, -0.05, -0.1]]);
    // Matrices decay by 0.05 w, biases and gains do not.
    let first = [0.45, 1.45, 0.95, 0.45, 0.5, 0.5];
    // 0.9 · 0.01 · g₁ + 0.1 g₂: 0.008, 0.073, 0, −0.091, 0.004, −0.001.
    let expected = [0.45 * 0.95 - 0.5, 1.45 * 0.95 - 0.5, 0.95 * 0.95, 0.45 * 0.95 + 0.5, 0.0, 1.0];
    for (found, expected) in steps.iter().flatten().zip(first.into_iter().chain(expected)) {
        assert!((found - expected).abs() <= 1e-15, "{steps:?}");
    }
}

#[test]
fn muon_maps_singular_values_by_its_polynomial() {
    for (s, expected) in [(0.05, 0.75812), (0.5, 0.76544), (1.0, 0.69644)] {
        assert!((quintic(s) - expected).abs() < 5e-6, "{s}: {}", quintic(s));
    }
    // Rotations of 3 and of 2 dimensions around a diagonal, so that the singular values are known.
    let (c, s) = (0.6, 0.8);
    let (u, v) = ([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]], [[c, s], [-s, c]]);
    let product = |values: [f64; 2]| -> Vec<f64> {
        (0..6).map(|i| (0..2).map(|k| u[i / 2][k] * values[k] * v[i % 2][k]).sum()).collect()
    };
    let values = [3.0, 0.7f64];
    let norm = (values[0] * values[0] + values[1] * values[1]).sqrt();
    let expected = product(values.map(|s| quintic(s / norm)));
    let tall = Blocks::collect(|visit| visit(Block::new("weight", 0, [3, 2], Role::Weight)));
    let wide = Blocks::collect(|visit| visit(Block::new("weight", 0, [2, 3], Role::Weight)));
    let transposed = |x: &[f64]| -> Vec<f64> { (0..6).map(|i| x[i % 3 * 2 + i / 3]).collect() };
    let muon = || Muon::new(1.0, AdamW::new(0.1, 0.0)).momentum(0.0).decay(0.0);
    for (blocks, gradient, expected, factor) in [
        (&tall, product(values), expected.clone(), 1.5f64.sqrt()),
        (&wide, transposed(&product(values)), transposed(&expected), 1.0),
    ] {
        let mut w = vec![0.0; 6];
        let mut optimizer = Optimizer::new(muon(), blocks, &w).unwrap();
        optimizer.step(blocks, &mut w, &mut gradient.clone(), &mut ()).unwrap();
        for (w, expected) in w.iter().zip(&expected) {
            assert!((w + factor * expected).abs() <= 1e-14, "{w} {expected}");
        }
    }
    assert!(Optimizer::new(Muon::new(0.1, AdamW::new(0.1, 0.0).adam(Adam::amsgrad)), &tall, &[0.0; 6]).is_err());
}

#[test]
fn muon_leaves_tables_and_other_blocks_to_adamw_and_splits_gates() {
    const GATES: &[Gate] = &[Gate::new("a"), Gate::new("b")];
    let blocks = Blocks::collect(|visit| {
        visit(Block::new("weight", 0, [4, 2], Role::Weight).gates(GATES));
        visit(Block::new("bias", 8, [2, 1], Role::Bias));
        visit(Block::new("words.weight", 10, [3, 2], Role::Weight).table());
    });
    let one = Blocks::collect(|visit| visit(Block::new("weight", 0, [2, 2], Role::Weight)));
    let others = Blocks::collect(|visit| {
        visit(Block::new("bias", 0, [2, 1], Role::Bias));
        visit(Block::new("words.weight", 2, [3, 2], Role::Weight));
    });
    let g = [1.0, -2.0, 0.5, 3.0, 10.0, 0.1, -4.0, 2.0, 0.3, -0.2, 5.0, 1.0, 0.0, 0.0, -3.0, 0.25];
    let step = |blocks: &Blocks, transform: Box<dyn GradientTransform<f64>>, g: &[f64]| -> Vec<f64> {
        let mut w = vec![0.5; g.len()];
        let mut optimizer = Optimizer::new(transform, blocks, &w).unwrap();
        for _ in 0..3 {
            optimizer.step(blocks, &mut w, &mut g.to_vec(), &mut ()).unwrap();
        }
        w
    };
    let muon = || Box::new(Muon::new(0.1, AdamW::new(0.01, 0.2)));
    let whole = step(&blocks, muon(), &g);
    assert_eq!(whole[..4], step(&one, muon(), &g[..4]));
    assert_eq!(whole[4..8], step(&one, muon(), &g[4..8]));
    let adamw = step(&others, Box::new(AdamW::new(0.01, 0.2)), &g[8..]);
    assert!(whole[8..].iter().zip(&adamw).all(|(muon, adamw)| (muon - adamw).abs() <= 1e-16), "{whole:?} {adamw:?}");
    let table = |network: &Sequential<f64>| {
        let blocks = Blocks::collect(|visit| network.blocks(visit));
        blocks.iter().map(|block| block.table).collect::<Vec<_>>()
    };
    assert_eq!(table(&Sequential::input(1).embedding(5, 2).linear(1).build().unwrap()), [true, false, false]);
}

/// Algorithm 1 of the paper in `f64`, with Σγ² as it stands there: y and x after each step.
fn schedule_free(w: [f64; 6], gradients: impl Fn(usize, &[f64; 6]) -> [f64; 6], steps: usize) -> Vec<[[f64; 6]; 2]> {
    let (mut y, mut z, mut x, mut v, mut sum) = (w, w, w, [0.0; 6], 0.0);
    let mut all = Vec::new();
    for t in 1..=steps {
        let g = gradients(t, &y);
        let gamma = 0.05 * (1.0 - 0.99f64.powi(t as i32)).sqrt() * (t as f64 / 20.0).min(1.0);
        sum += gamma * gamma;
        let c = gamma * gamma / sum;
        for i in 0..6 {
            v[i] = 0.99 * v[i] + (1.0 - 0.99) * g[i] * g[i];
            let decay = if i < 4 { 0.1 } else { 0.0 };
            z[i] = z[i] - gamma * g[i] / (v[i].sqrt() + 1e-8) - gamma * decay * y[i];
            x[i] = (1.0 - c) * x[i] + c * z[i];
            y[i] = (1.0 - 0.9) * z[i] + 0.9 * x[i];
        }
        all.push([y, x]);
    }
    all
}

fn schedule_free_is_its_algorithm<T: Scalar>(allowed: f64) {
    let start = [0.5, 1.0, -1.0, 2.0, -0.125, 1.0];
    // Of a convex loss and noise that depends on the step alone.
    let gradient = |t: usize, y: &[f64; 6]| core::array::from_fn(|i| y[i] - 0.25 + ((t * (i + 3)) as f64).sin());
    let expected = schedule_free(start, gradient, 1000);
    let (blocks, mut w) = (roles(), start.map(scalar::<T>));
    let transform = ScheduleFreeAdamW::new(0.05, 0.1).betas(0.9, 0.99).warm_up(20);
    let mut optimizer = Optimizer::new(transform, &blocks, &w).unwrap();
    assert_eq!(optimizer.result(&blocks), None, "before the first step");
    for (t, [_, x]) in expected.iter().enumerate() {
        // The gradient where the exact run is, or rounding would send the runs apart.
        let at = if t == 0 { start } else { expected[t - 1][0] };
        optimizer.step(&blocks, &mut w, &mut gradient(t + 1, &at).map(scalar::<T>), &mut ()).unwrap();
        let found = [w.map(to_f64), core::array::from_fn(|i| to_f64(optimizer.result(&blocks).unwrap()[i]))];
        for (found, expected) in found.iter().flatten().zip([&expected[t][0], x].into_iter().flatten()) {
            assert!((found - expected).abs() <= allowed, "step {t}: {found} is not {expected}");
        }
    }
    assert_eq!(optimizer.averaged_weights(&blocks), optimizer.result(&blocks));
}

#[test]
fn schedule_free_over_a_thousand_steps_is_its_algorithm() {
    schedule_free_is_its_algorithm::<f64>(1e-12);
    schedule_free_is_its_algorithm::<f32>(2e-5);
    // Half a unit of f16 below 2 is 5e-4, and its gradients are rounded.
    #[cfg(feature = "half")]
    schedule_free_is_its_algorithm::<f16>(2e-3);
}

/// Steps that f16 cannot add to a weight of 1 are not lost.
#[cfg(feature = "half")]
#[test]
fn schedule_free_in_half_precision_does_not_stall() {
    let (blocks, mut w) = (roles(), [f16::ONE; 6]);
    let transform = ScheduleFreeAdamW::new(1e-5, 0.0).betas(0.9, 0.0);
    let mut optimizer = Optimizer::new(transform, &blocks, &w).unwrap();
    for _ in 0..10_000 {
        optimizer.step(&blocks, &mut w, &mut [f16::ONE; 6], &mut ()).unwrap();
    }
    // z falls by 0.1, and the mean of a line is its middle.
    let x = optimizer.result(&blocks).unwrap()[0].to_f64();
    assert!((x - 0.95).abs() < 2e-3 && (w[0].to_f64() - 0.945).abs() < 2e-3, "{x} {}", w[0]);
}

#[test]
fn schedule_free_takes_parameters_that_were_set() {
    let (blocks, mut w, mut moved) = (roles(), [0.5; 6], [0.5; 6]);
    let made = |w: &[f64; 6]| Optimizer::new(ScheduleFreeAdamW::new(0.1, 0.0), &blocks, w).unwrap();
    let (mut optimizer, mut other) = (made(&w), made(&moved));
    for step in 0..20 {
        if step == 10 {
            moved.iter_mut().for_each(|w| *w += 3.0);
        }
        let gradient = [1.0, -2.0, step as f64, 0.5, 0.0, 3.0];
        optimizer.step(&blocks, &mut w, &mut gradient.clone(), &mut ()).unwrap();
        other.step(&blocks, &mut moved, &mut gradient.clone(), &mut ()).unwrap();
    }
    let result = |optimizer: &Optimizer<f64, _>| optimizer.result(&blocks).unwrap().to_vec();
    for (a, b) in w.iter().chain(&result(&optimizer)).zip(moved.iter().chain(&result(&other))) {
        assert!((a + 3.0 - b).abs() < 1e-14, "{a} {b}");
    }
}

/// An optimizer that states no rate.
#[derive(Debug)]
struct Unstated;

impl<T: Scalar> GradientTransform<T> for Unstated {
    fn stage(&self) -> Stage {
        Stage::Optimizer
    }
    fn update(&mut self, _update: Update<'_, T>) -> Result<Outcome, Error> {
        Ok(Outcome::Apply)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn clip_block_norm_clips_each_block_alone(g in prop::array::uniform6(-10.0f64..10.0), most in 0.1f64..10.0) {
        let found = run::<f64>((ClipBlockNorm::new(most), Sgd::new(1.0)), [0.0; 6], &[g])[0];
        for range in [0..2, 2..4, 4..5, 5..6] {
            let norm = g[range.clone()].iter().map(|g| g * g).sum::<f64>().sqrt();
            let factor = (most / norm).min(1.0);
            for i in range {
                prop_assert!((found[i] + g[i] * factor).abs() <= 1e-14 * g[i].abs(), "{i}: {} of {}", found[i], g[i]);
            }
        }
    }

    /// Adding a schedule in front or behind another multiplies their factors.
    #[test]
    fn schedules_in_a_chain_multiply(steps in 1u64..20, factor in 0.1f64..1.0, at in 0u64..40) {
        let gradients = vec![[1.0; 6]; at as usize + 1];
        let (warm, cosine) = (Schedule::warm_up(factor, steps), Schedule::cosine(steps, factor));
        let rate = warm.factor(at) * cosine.factor(at);
        let trace = run::<f64>((Sgd::new(1.0), warm, cosine), [0.0; 6], &gradients);
        let before = if at == 0 { 0.0 } else { trace[at as usize - 1][0] };
        prop_assert!((before - trace[at as usize][0] - rate).abs() <= 1e-13);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn clip_norm_of_any_power_bounds_the_norm(g in prop::collection::vec(-1e3f64..1e3, 6), most in 1e-3f64..1e3, p in 0.5f64..20.0) {
        for p in [p, 1.0, 2.0, f64::INFINITY] {
            let clip = |g: &[f64]| transformed(ClipNorm::new(most).p(p), g);
            let norm = |g: &[f64]| {
                let largest = g.iter().fold(0.0f64, |m, g| m.max(g.abs()));
                if p.is_infinite() || largest == 0.0 { return largest; }
                largest * g.iter().map(|g| (g.abs() / largest).powf(p)).sum::<f64>().powf(1.0 / p)
            };
            let once = clip(&g);
            let (before, after) = (norm(&g), norm(&once));
            prop_assert!(after <= most * (1.0 + 1e-12) || after <= before, "{after} > {most}");
            prop_assert!(after <= before && (after - before.min(most)).abs() <= 1e-12 * most.max(after));
            for (&g, &c) in g.iter().zip(&once) {
                prop_assert!((c - g * (after / before.max(1e-300))).abs() <= 1e-12 * g.abs());
            }
            let twice = clip(&once);
            prop_assert!(once.iter().zip(&twice).all(|(a, b)| (a - b).abs() <= 4.0 * f64::EPSILON * a.abs()));
        }
    }

    /// Joined schedules, joins of joins and epochs, by their definition.
    #[test]
    fn schedule_that_follows_counts_from_its_start(t in 0u64..200, at in 0u64..60, next in 0u64..60, updates in 1u64..7) {
        let (warm, cosine) = (Schedule::warm_up(0.1, 20), Schedule::cosine_with_restarts(15, 2, 0.1).per_epoch(2));
        let cyclic = Schedule::cyclic_with_decay(0.2, 0.9, 4, 3, 0.75);
        let joined = |a: &dyn Fn(u64) -> f64, at: u64, b: &dyn Fn(u64) -> f64, t: u64| if t < at { a(t) } else { b(t - at) };
        let (a, b, c) = (|t| warm.factor(t), |t| cosine.factor(t), |t| cyclic.factor(t));
        let first = warm.clone().then(at, cosine.clone());
        prop_assert_eq!(first.factor(t), joined(&a, at, &b, t));
        prop_assert_eq!(first.clone().per_epoch(updates).factor(t), first.factor(t / updates));
        let left = first.clone().then(next, cyclic.clone());
        prop_assert_eq!(left.factor(t), joined(&|t| first.factor(t), next, &c, t));
        let right = cyclic.clone().then(next, first.clone()).per_epoch(updates).then(at, warm.clone());
        let inner = |t: u64| joined(&c, next, &|t| first.factor(t), t / updates);
        prop_assert_eq!(right.factor(t), joined(&inner, at, &a, t));
    }

    #[test]
    fn schedule_at_any_step_is_not_negative(step: u64, small in 0u64..500, steps in 4u64..200, times: u64, least in 0.0f64..2.0) {
        for step in [step, small, u64::MAX] {
            for schedule in [
                Schedule::constant(least),
                Schedule::step(steps, 0.5),
                Schedule::multi_step(&[3, steps], 0.1),
                Schedule::exponential(0.99),
                Schedule::cosine(steps, least),
                Schedule::cosine_with_restarts(steps, times.max(1), least),
                Schedule::cosine_with_restarts(steps, 1, least),
                Schedule::cosine_with_restarts(steps, 2, least),
                Schedule::warm_up(least, steps),
                Schedule::linear(1.0, least, steps),
                Schedule::polynomial(steps, least),
                Schedule::one_cycle(least, steps),
                Schedule::one_cycle_with(least, steps, (small % 11) as f64 / 10.0, [3.0, 7.0]),
                Schedule::cyclic(least, 0.5, steps, small.max(1)),
                Schedule::cyclic_with_decay(0.5, least, times.max(1), steps, 0.5).per_epoch(steps),
            ] {
                let factor = schedule.factor(step);
                prop_assert!(factor >= 0.0 && factor.is_finite(), "{schedule:?} at {step}: {factor}");
            }
        }
    }
}

fn transformed<T: Scalar>(mut transform: impl GradientTransform<T>, g: &[T]) -> Vec<T> {
    let blocks = roles();
    transform.validate(&blocks).unwrap();
    let (mut g, w) = (g.to_vec(), [T::zero(); 6]);
    let mut state = vec![T::zero(); transform.state_len(&blocks)];
    transform.init_state(&blocks, &w, &mut state);
    transform.update(Update::new(&blocks, &w, &mut g, &mut state, 0)).unwrap();
    g
}

#[test]
fn clip_norm_at_the_ends_of_the_range_is_exact() {
    for p in [1.0, 2.0, 3.0, f64::INFINITY] {
        let found = transformed(ClipNorm::new(1.0).p(p), &[1e30f32, -1e30, 0.0, 0.0, 0.0, 0.0]);
        let each = if p.is_infinite() { 1.0 } else { 2.0f64.powf(-1.0 / p) };
        assert!((f64::from(found[0]) - each).abs() < 1e-6 && found[1] == -found[0], "{p}: {found:?}");
        assert_eq!(found[2..], [0.0; 4]);
        for bad in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let g = [1.0, bad, -2.0, 0.0, 3.0, 4.0];
            let found = transformed(ClipNorm::new(0.5).p(p), &g);
            assert_eq!(found.map_bits(), g.map_bits(), "{p}");
        }
    }
    // A large p comes to the largest value.
    let g = [3.0f64, -4.0, 1.0, 0.0, 0.0, 0.0];
    let [large, infinite] = [1e4, f64::INFINITY].map(|p| transformed(ClipNorm::new(1.0).p(p), &g));
    assert!(large.iter().zip(&infinite).all(|(a, b)| (a - b).abs() < 1e-3));
    assert_eq!(infinite[1], -1.0);
}

trait Bits {
    fn map_bits(&self) -> Vec<u32>;
}
impl Bits for [f32] {
    fn map_bits(&self) -> Vec<u32> {
        self.iter().map(|v| v.to_bits()).collect()
    }
}

/// Transforms that move whatever has a gradient.
fn transforms() -> Vec<Box<dyn GradientTransform<f64>>> {
    vec![
        Box::new(Sgd::new(0.1).momentum(0.9).nesterov()),
        Box::new(Adam::new(0.1)),
        Box::new(Adam::new(0.1).amsgrad()),
        Box::new(RmsProp::new(0.1).momentum(0.5).centred()),
        Box::new(Adagrad::new(0.1)),
        Box::new((SkipNonFinite::new(), ClipNorm::new(1.0), Sgd::new(0.1))),
        Box::new((ClipValue::new(1.0), ClipBlockNorm::new(1.0), Sgd::new(0.1), Schedule::step(2, 0.5))),
        Box::new((Sgd::new(0.1), ParameterGroups::new().rate("a", 3.0).rate("b", 0.5), WeightAverage::new(0.9))),
        Box::new((Adam::new(0.1), ReduceOnPlateau::new(0.5, 0))),
        Box::new((Penalty::elastic_net(0.1, 0.1), Sgd::new(0.1))),
        Box::new(AdamW::new(0.1, 0.1)),
        Box::new(ScheduleFreeAdamW::new(0.1, 0.1)),
    ]
}

#[test]
fn frozen_block_under_any_transform_stays() {
    for transform in transforms() {
        let mut blocks = roles();
        blocks.freeze("b").unwrap();
        blocks.freeze("a.bias").unwrap();
        let frozen = 4..6;
        let start = [1.0, -2.0, 3.0, 0.5, 0.0, 7.0];
        let mut w = start;
        let mut optimizer = Optimizer::new(transform, &blocks, &w).unwrap();
        for step in 0..5 {
            // Even a gradient that the caller wrote there.
            optimizer.step(&blocks, &mut w, &mut [1.0 + step as f64; 6], &mut ()).unwrap();
            optimizer.on_metric(&blocks, 1.0).unwrap();
        }
        assert_eq!(w[frozen.clone()], start[frozen.clone()], "{optimizer:?}");
        assert!((0..6).filter(|i| !frozen.contains(i)).all(|i| w[i] != start[i]), "{optimizer:?}: {w:?}");
    }
}

/// The rates of a cycle are 1/first, 1 and 1/(first last) of the highest: all must be numbers.
#[test]
fn one_cycle_beyond_the_format_is_refused() {
    let accepts = |most: f64, divisors: [f64; 2]| {
        let chain = (Sgd::new(1.0), Schedule::one_cycle_with(most, 10, 0.3, divisors));
        Optimizer::new(chain, &roles(), &[0.0_f64; 6]).is_ok()
    };
    assert!(accepts(1.0, [25.0, 1e4]) && accepts(1e200, [1e200, 1.0]) && accepts(1e200, [1e200, 1e200]));
    assert!(!accepts(1.0, [1.0, 1e-320]) && !accepts(1e200, [1e-100, 1e-100]) && !accepts(1e300, [1e-100, 1e200]));
}

#[test]
fn schedule_free_takes_a_new_rate() {
    let blocks = roles();
    let mut optimizer = Optimizer::new(ScheduleFreeAdamW::new(0.1, 0.0), &blocks, &[0.5_f64; 6]).unwrap();
    let before = optimizer.learning_rate(&blocks).unwrap();
    optimizer.set_learning_rate(0.3).unwrap();
    let after = optimizer.learning_rate(&blocks).unwrap();
    assert!((after / before - 3.0).abs() < 1e-12, "{before} {after}");
}

/// PyTorch's `ReduceLROnPlateau` by hand: patience 1, factor ½, cooldown 1, threshold 10 %.
#[test]
fn plateau_after_its_patience_halves_the_rate() {
    let blocks = roles();
    let chain = (Sgd::new(1.0), ReduceOnPlateau::new(0.5, 1).threshold(0.1).cooldown(1).least(0.2));
    let mut optimizer = Optimizer::new(chain, &blocks, &[0.0; 6]).unwrap();
    let mut rate = |metric: f64| {
        optimizer.on_metric(&blocks, metric).unwrap();
        let mut w = [0.0; 6];
        optimizer.step(&blocks, &mut w, &mut [1.0; 6], &mut ()).unwrap();
        -w[0]
    };
    // Falls; does not fall by 10 %; a second time: halved; cooling; bad; bad: halved; cooling; bad; bad: the least.
    let found: Vec<f64> = [1.0, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95].into_iter().map(&mut rate).collect();
    assert_eq!(found, [1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2]);
}

#[test]
fn weight_average_over_steps_follows_the_weights() {
    let blocks = roles();
    let mut w = [1.0; 6];
    let mut optimizer = Optimizer::new((Sgd::new(1.0), WeightAverage::new(0.75)), &blocks, &w).unwrap();
    let mut expected = 1.0;
    for _ in 0..4 {
        optimizer.step(&blocks, &mut w, &mut [0.5; 6], &mut ()).unwrap();
        expected = 0.75 * expected + 0.25 * w[0];
        assert_eq!(optimizer.averaged_weights(&blocks).unwrap(), [expected; 6]);
    }
}

/// The equations of the documentation, in `f64`: the average from 0 over 1 − dᵗ, the decay min(d, (1 + t)/(10 + t)).
fn averages_forget_the_start<T: Scalar>(allowed: f64) {
    let (blocks, decay) = (roles(), 0.97);
    let gradients: Vec<[f64; 6]> =
        (0..400).map(|t| core::array::from_fn(|i| 0.25 * ((t * (i + 2)) as f64).sin() - 0.01)).collect();
    for (warm, average) in [(true, WeightAverage::new(decay).warm_up()), (false, WeightAverage::new(decay).debias())] {
        let mut w = [0.5, 1.0, -1.0, 2.0, -0.125, 1.0].map(scalar::<T>);
        let (mut a, mut seen) = ([0.0; 6], w.map(to_f64));
        let mut optimizer = Optimizer::new((Sgd::new(0.125), average), &blocks, &w).unwrap();
        assert_eq!(optimizer.averaged_weights(&blocks), Some(&w[..]));
        for (t, g) in gradients.iter().enumerate() {
            optimizer.step(&blocks, &mut w, &mut g.map(scalar::<T>), &mut ()).unwrap();
            let d = if warm { decay.min((1.0 + t as f64) / (10.0 + t as f64)) } else { decay };
            let scale = if warm { 1.0 } else { 1.0 - decay.powi(t as i32 + 1) };
            for i in 0..6 {
                if warm {
                    seen[i] = d * seen[i] + (1.0 - d) * to_f64(w[i]);
                } else {
                    a[i] = d * a[i] + (1.0 - d) * to_f64(w[i]);
                    seen[i] = a[i] / scale;
                }
                let found = to_f64(optimizer.averaged_weights(&blocks).unwrap()[i]);
                assert!((found - seen[i]).abs() <= allowed * seen[i].abs().max(1.0), "{t}: {found} for {}", seen[i]);
            }
        }
        assert_eq!(optimizer.result(&blocks), None);
    }
}

#[test]
fn weight_average_with_warm_up_or_debias_follows_its_equation() {
    averages_forget_the_start::<f64>(1e-13);
    averages_forget_the_start::<f32>(4.0 * f32::EPSILON as f64);
    #[cfg(feature = "half")]
    averages_forget_the_start::<f16>(2.0 * to_f64(f16::EPSILON));
}

/// A trainer may load parameters after its chain was made.
#[test]
fn average_begins_at_the_weights_before_the_first_update() {
    let (blocks, mut w) = (roles(), [0.0; 6]);
    let mut optimizer = Optimizer::new((Sgd::new(1.0), WeightAverage::new(0.5)), &blocks, &w).unwrap();
    w = [4.0; 6];
    optimizer.step(&blocks, &mut w, &mut [2.0; 6], &mut ()).unwrap();
    // Half way from 4 to 2.
    assert_eq!(optimizer.averaged_weights(&blocks).unwrap(), [3.0; 6]);
}

#[test]
fn group_without_blocks_is_refused_or_has_no_rate() {
    let (blocks, w) = (roles(), [0.0; 6]);
    let hidden = PerGroup::new(Sgd::new(0.1)).group("", Sgd::new(0.2)).group("a", Sgd::new(0.3));
    assert!(matches!(Optimizer::new(hidden, &blocks, &w), Err(Error::Parameter { .. })));
    // All blocks are in the group: the rate of the others would change nothing.
    let whole = PerGroup::new(Sgd::new(0.1)).group("", Sgd::new(0.2));
    let mut optimizer = Optimizer::new(whole, &blocks, &w).unwrap();
    assert_eq!(optimizer.learning_rate(&blocks), None);
    assert!(matches!(optimizer.set_learning_rate(0.5), Err(Error::InvalidState { .. })));
}

/// A period is reduced in integers: far out the factors are those of the first periods, to the bit.
#[test]
fn periodic_schedules_are_exact_at_any_update() {
    let far = u64::MAX - u64::MAX % 200;
    let cosine = Schedule::cosine(100, 0.1);
    let cyclic = Schedule::cyclic(0.1, 1.0, 30, 10);
    for at in 0..=15 {
        assert_eq!(cosine.factor(far + at).to_bits(), cosine.factor(at).to_bits(), "{at}");
        assert_eq!(cyclic.factor(far + at).to_bits(), cyclic.factor(at).to_bits(), "{at}");
    }
    assert_eq!(Schedule::cosine(100, 0.0).factor(200_000_000_000_050), 0.5);
    // A period of up to 2⁶⁵ updates: the rise ends at the last update that can be counted.
    let long = Schedule::cyclic(0.1, 1.0, u64::MAX, u64::MAX);
    assert_eq!([0, u64::MAX].map(|at| long.factor(at)), [0.1, 1.0]);
    assert!((Schedule::cosine(u64::MAX, 0.0).factor(u64::MAX / 2) - 0.5).abs() < 1e-15);
}

/// A rate is refused where the update of the largest gradient of the format is 0.
#[test]
fn rate_that_changes_no_parameter_is_refused() {
    fn made<T: Scalar>(rate: f64) -> Result<(), Error> {
        Optimizer::new(Sgd::new(rate), &roles(), &[T::zero(); 6]).map(|_| ())
    }
    let refused = |made| matches!(made, Err(Error::Parameter { what: "the learning rate", .. }));
    assert!(refused(made::<f32>(1e-300)));
    assert_eq!([made::<f32>(1e-40), made::<f32>(0.0), made::<f64>(1e-300)], [Ok(()), Ok(()), Ok(())]);
    #[cfg(feature = "half")]
    assert!(refused(made::<f16>(1e-300)) && made::<f16>(1e-9).is_ok());
}
