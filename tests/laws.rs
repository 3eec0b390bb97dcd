//! Laws of losses and transforms, over random input.

use chainrule::{
    Block, Blocks, Role,
    loss::{BinaryCrossEntropy, CrossEntropy, Huber, Loss, MeanAbsolute, MeanSquared, Reduction, SmoothL1, Target},
    transform::{
        Adagrad, Adam, AdamW, BlockRates, ClipBlockNorm, ClipNorm, ClipValue, GradientTransform, Guard, Optimizer,
        Outcome, Penalty, Plateau, RmsProp, Schedule, Sgd, Update, WeightAverage,
    },
};
use proptest::prelude::*;

const WIDTH: usize = 3;

/// Every loss with targets it takes, in both reductions.
fn losses() -> Vec<(Box<dyn Loss<f64>>, bool)> {
    let mut all: Vec<(Box<dyn Loss<f64>>, bool)> = Vec::new();
    for reduction in [Reduction::Mean, Reduction::Sum] {
        let entropy = || CrossEntropy::new().reduction(reduction);
        all.push((Box::new(MeanSquared::new().reduction(reduction)), false));
        all.push((Box::new(MeanAbsolute::new().reduction(reduction)), false));
        all.push((Box::new(Huber::new(0.7).unwrap().reduction(reduction)), false));
        all.push((Box::new(SmoothL1::new(0.7).unwrap().reduction(reduction)), false));
        all.push((Box::new(BinaryCrossEntropy::new().reduction(reduction)), false));
        let rare = BinaryCrossEntropy::new().positive_weights(&[2.0, 1.0, 0.5]).unwrap();
        all.push((Box::new(rare.reduction(reduction)), false));
        all.push((Box::new(entropy()), true));
        all.push((Box::new(entropy()), false));
        let smoothed = entropy().label_smoothing(0.2).unwrap().class_weights(&[0.5, 1.0, 2.0]).unwrap();
        all.push((Box::new(smoothed), true));
        all.push((Box::new(entropy().ignore_class(1)), true));
    }
    all
}

proptest! {
    /// Central differences of a smooth loss are off by h² |f‴|/6 and rounding ε |f|/h: below 1e-7 at h = 1e-5.
    #[test]
    fn the_gradient_of_a_loss_is_its_derivative(
        y in prop::collection::vec(-3.0f64..3.0, 4 * WIDTH),
        values in prop::collection::vec(0.05f64..0.95, 4 * WIDTH),
        weights in prop::collection::vec(0.1f64..2.0, 4),
        direction in prop::collection::vec(-1.0f64..1.0, 4 * WIDTH),
    ) {
        let classes = [0, 1, 2, 0];
        for (loss, by_class) in losses() {
            let target = if by_class { Target::Classes(&classes) } else { Target::Values(&values) };
            let at = |h: f64, dy: &mut [f64]| {
                let y: Vec<f64> = y.iter().zip(&direction).map(|(y, d)| y + h * d).collect();
                loss.evaluate(WIDTH, &y, target, Some(&weights), dy).unwrap()
            };
            let mut dy = vec![f64::NAN; y.len()];
            at(0.0, &mut dy);
            // Not across a kink of |d|.
            let kinked = y.iter().zip(&values).any(|(y, t)| (y - t).abs() < 1e-4);
            if kinked {
                continue;
            }
            let h = 1e-5;
            let mut spare = dy.clone();
            let slope = (at(h, &mut spare) - at(-h, &mut spare)) / (2.0 * h);
            let exact: f64 = dy.iter().zip(&direction).map(|(g, d)| g * d).sum();
            prop_assert!((slope - exact).abs() < 1e-6, "{loss:?}: {exact} but {slope}");
        }
    }

    /// A row of weight 0 changes nothing, whatever stands in it.
    #[test]
    fn masked_rows_are_not_read(
        y in prop::collection::vec(-3.0f64..3.0, 3 * WIDTH),
        values in prop::collection::vec(0.05f64..0.95, 3 * WIDTH),
    ) {
        let masked = |values: &[f64]| [&values[..WIDTH], &[f64::NAN; WIDTH], &values[WIDTH..]].concat();
        let (wide_y, wide_values) = (masked(&y), masked(&values));
        for (loss, by_class) in losses() {
            let (few, many) = ([0, 1, 2], [0, usize::MAX, 1, 2]);
            let (target, wide) = match by_class {
                true => (Target::Classes(&few[..]), Target::Classes(&many[..])),
                false => (Target::Values(&values[..]), Target::Values(&wide_values[..])),
            };
            let (mut dy, mut wide_dy) = (vec![0.0; y.len()], vec![f64::NAN; wide_y.len()]);
            let plain = loss.evaluate(WIDTH, &y, target, Some(&[1.0, 0.5, 2.0]), &mut dy).unwrap();
            let found = loss.evaluate(WIDTH, &wide_y, wide, Some(&[1.0, 0.0, 0.5, 2.0]), &mut wide_dy).unwrap();
            prop_assert_eq!(plain, found);
            prop_assert_eq!(&wide_dy[WIDTH..2 * WIDTH], &[0.0; WIDTH]);
            prop_assert_eq!([&wide_dy[..WIDTH], &wide_dy[2 * WIDTH..]].concat(), dy);
        }
    }

    #[test]
    fn clipping_shortens_keeps_the_direction_and_is_done_once(
        gradient in prop::collection::vec(-1e3f64..1e3, 6),
        most in 1e-3f64..1e3,
        p in prop_oneof![0.5f64..4.0, Just(f64::INFINITY)],
    ) {
        let norm = |g: &[f64], p: f64| match p.is_infinite() {
            true => g.iter().fold(0.0f64, |m, v| m.max(v.abs())),
            false => g.iter().map(|v| v.abs().powf(p)).sum::<f64>().powf(1.0 / p),
        };
        let mut clip = ClipNorm::new(most).p(p);
        let mut once = gradient.clone();
        apply(&mut clip, &mut once);
        let (before, after) = (norm(&gradient, p), norm(&once, p));
        prop_assert!((clip.norm().unwrap() / before.max(1e-300) - 1.0).abs() < 1e-12 || before == 0.0);
        prop_assert!(after <= most.min(before) * (1.0 + 1e-12), "{after} after {before}, at most {most}");
        let factor = after / before.max(1e-300);
        for (once, g) in once.iter().zip(&gradient) {
            prop_assert!((once - factor * g).abs() <= 1e-12 * before, "{once} is not {factor} · {g}");
        }
        let mut twice = once.clone();
        apply(&mut clip, &mut twice);
        prop_assert!(twice.iter().zip(&once).all(|(a, b)| (a - b).abs() <= 1e-12 * b.abs()));
    }

    #[test]
    fn schedules_are_finite_and_not_negative(step in 0u64..10_000, steps in 4u64..500, factor in 0.0f64..2.0) {
        for schedule in [
            Schedule::constant(factor),
            Schedule::step(steps, factor.min(1.0)),
            Schedule::multi_step(&[steps, 2 * steps], factor.min(1.0)),
            Schedule::exponential(factor.min(1.0)),
            Schedule::cosine(steps, 0.1),
            Schedule::cosine_with_restarts(steps, 2, 0.0),
            Schedule::warm_up(0.1, steps),
            Schedule::polynomial(steps, factor),
            Schedule::one_cycle(1.0, steps),
        ] {
            let rate = schedule.factor(step);
            prop_assert!(rate.is_finite() && rate >= -1e-17, "{schedule:?} at {step}: {rate}");
        }
    }

    /// With no gradient nothing moves, and a frozen block never does.
    #[test]
    fn optimisers_rest_at_zero_gradient_and_leave_frozen_blocks_alone(
        w in prop::collection::vec(-2.0f64..2.0, 6),
        gradient in prop::collection::vec(-2.0f64..2.0, 6),
    ) {
        let mut blocks = blocks();
        for transform in optimisers() {
            let name = format!("{transform:?}");
            let mut resting = Optimizer::new(transform, &blocks, &w).unwrap();
            let mut moved = w.clone();
            for _ in 0..3 {
                resting.step(&blocks, &mut moved, &mut [0.0; 6], &mut ()).unwrap();
            }
            prop_assert_eq!(&moved, &w, "{}", name);
        }
        blocks.freeze("1").unwrap();
        let decaying: Vec<Box<dyn GradientTransform<f64>>> = vec![
            Box::new((Penalty::elastic_net(0.1, 0.1), Sgd::new(0.1).momentum(0.9))),
            Box::new(AdamW::new(0.1, 0.5)),
            Box::new((ClipNorm::new(0.1), Adam::new(0.1), WeightAverage::new(0.5))),
            Box::new((ClipBlockNorm::new(0.1), ClipValue::new(0.05), RmsProp::new(0.1).centred().momentum(0.5))),
            Box::new((Guard::new(), Adagrad::new(0.1), BlockRates::new().rate("1", 3.0), Plateau::new(0.5, 1))),
        ];
        for transform in decaying {
            let name = format!("{transform:?}");
            let mut optimizer = Optimizer::new(transform, &blocks, &w).unwrap();
            let mut moved = w.clone();
            for _ in 0..3 {
                optimizer.step(&blocks, &mut moved, &mut gradient.clone(), &mut ()).unwrap();
            }
            prop_assert_eq!(&moved[3..], &w[3..], "{}", name);
        }
    }
}

fn blocks() -> Blocks {
    Blocks::collect(|visit| {
        visit(Block::new("0.weight", 0, [3, 1], Role::Weight));
        visit(Block::new("1.weight", 3, [3, 1], Role::Weight));
    })
}

fn apply(transform: &mut dyn GradientTransform<f64>, gradient: &mut [f64]) -> Outcome {
    transform.prepare(&blocks()).unwrap();
    transform.apply(Update::new(&blocks(), &[0.0; 6], gradient, &mut [], 0)).unwrap()
}

fn optimisers() -> Vec<Box<dyn GradientTransform<f64>>> {
    vec![
        Box::new(Sgd::new(0.1)),
        Box::new(Sgd::new(0.1).momentum(0.9).nesterov()),
        Box::new(Adam::new(0.1)),
        Box::new(Adam::new(0.1).amsgrad()),
        Box::new(AdamW::new(0.1, 0.0)),
        Box::new(RmsProp::new(0.1).centred().momentum(0.5)),
        Box::new(Adagrad::new(0.1)),
        Box::new((ClipNorm::new(1.0), Adam::new(0.1), Schedule::cosine(5, 0.0))),
    ]
}

#[test]
fn losses_stay_finite_at_logits_of_ten_thousand() {
    for (loss, by_class) in losses() {
        let y = [1e4, -1e4, 0.0, -1e4, 1e4, 1e4];
        let values = [0.0, 1.0, 0.5, 1.0, 0.0, 1.0];
        let target = if by_class { Target::Classes(&[2, 0]) } else { Target::Values(&values) };
        let mut dy = [f64::NAN; 6];
        let value = loss.evaluate(WIDTH, &y, target, None, &mut dy).unwrap();
        assert!(value.is_finite() && dy.iter().all(|g| g.is_finite()), "{loss:?}: {value}, {dy:?}");
    }
    let (mut dy, values) = ([f32::NAN; 3], [0.0f32, 1.0, 0.0]);
    for loss in [&CrossEntropy::new() as &dyn Loss<f32>, &BinaryCrossEntropy::new()] {
        let value = loss.evaluate(3, &[1e4, -1e4, 0.0], Target::Values(&values), None, &mut dy).unwrap();
        assert!(value > 3e3 && value.is_finite() && dy.iter().all(|g| g.is_finite()), "{loss:?}: {value}, {dy:?}");
    }
}

#[test]
fn a_norm_does_not_overflow_and_a_bad_one_writes_no_nan() {
    let blocks = Blocks::collect(|visit| visit(Block::new("weight", 0, [2, 1], Role::Weight)));
    let clip = |gradient: [f32; 2], p: f64| {
        let (mut clip, mut gradient) = (ClipNorm::new(1.0).p(p), gradient);
        clip.apply(Update::new(&blocks, &[0.0; 2], &mut gradient, &mut [], 0)).unwrap();
        (gradient, clip.norm().unwrap())
    };
    for p in [1.0, 2.0, 3.0] {
        let (clipped, norm) = clip([3e30, 4e30], p);
        assert!(norm.is_finite() && norm > 4e30 && clipped[0] > 0.3 && clipped[1] <= 1.0, "{p}: {clipped:?}");
        let (kept, norm) = clip([3e-30, 4e-30], p);
        assert!(norm > 3e-30 && norm < 1e-29 && kept == [3e-30, 4e-30], "{p}: {norm}");
    }
    assert_eq!(clip([f32::INFINITY, 1.0], 2.0), ([f32::INFINITY, 1.0], f64::INFINITY));
    let (untouched, norm) = clip([f32::NAN, 1.0], 2.0);
    assert!(untouched[0].is_nan() && untouched[1] == 1.0 && norm.is_nan());
}

/// PyTorch's `ReduceLROnPlateau` by hand: patience 1, factor ½, cooldown 1, threshold 10 %.
#[test]
fn a_plateau_halves_the_rate_after_the_patience() {
    let blocks = blocks();
    let chain = (Sgd::new(1.0), Plateau::new(0.5, 1).threshold(0.1).cooldown(1).least(0.2));
    let mut optimizer = Optimizer::new(chain, &blocks, &[0.0; 6]).unwrap();
    let mut rate = |metric: f64| {
        optimizer.observe(&blocks, metric);
        let mut w = [0.0; 6];
        optimizer.step(&blocks, &mut w, &mut [1.0; 6], &mut ()).unwrap();
        -w[0]
    };
    // Falls; does not fall by 10 %; a second time: halved; cooling; bad; bad: halved; cooling; bad; bad: the least.
    let found: Vec<f64> = [1.0, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95].into_iter().map(&mut rate).collect();
    assert_eq!(found, [1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2]);
}

#[test]
fn a_weight_average_follows_the_weights() {
    let blocks = blocks();
    let mut w = [1.0; 6];
    let mut optimizer = Optimizer::new((Sgd::new(1.0), WeightAverage::new(0.75)), &blocks, &w).unwrap();
    let mut expected = 1.0;
    for _ in 0..4 {
        optimizer.step(&blocks, &mut w, &mut [0.5; 6], &mut ()).unwrap();
        expected = 0.75 * expected + 0.25 * w[0];
        assert_eq!(optimizer.averaged(&blocks).unwrap(), [expected; 6]);
    }
}
