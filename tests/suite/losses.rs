//! Losses where rounding bites: large logits, confident predictions, the border of what counts, many rows.

#[cfg(feature = "half")]
use crate::fixtures::Squared;
use chainrule::{
    Error, Scalar,
    loss::{
        BinaryCrossEntropy, CosineDistance, CrossEntropy, DualLoss, Focal, GaussianNll, Huber, KlDivergence, Loss,
        MeanAbsoluteError, MeanSquaredError, MultiMargin, NegativeLogLikelihood, Pinball, PoissonNll, Reduction,
        RowLoss, Rows, SmoothL1, Target, ValueWeights, log_softmax, softmax,
    },
    loss_laws, scalar, to_f64,
};
#[cfg(feature = "half")]
use half::f16;
use proptest::prelude::*;

const EPS: f64 = f32::EPSILON as f64;

/// log softmax, softmax and 1 − softmax of a row, in f64, each from the sum of its own terms.
fn witness(y: &[f32]) -> Vec<[f64; 3]> {
    let share = |k: usize| {
        let others: f64 = (0..y.len()).filter(|&j| j != k).map(|j| (f64::from(y[j]) - f64::from(y[k])).exp()).sum();
        [-others.ln_1p(), 1.0 / (1.0 + others), 1.0 / (1.0 + others.recip())]
    };
    (0..y.len()).map(share).collect()
}

fn close(found: f32, expected: f64, multiple: f64) -> bool {
    // Below the normal numbers of f32 nothing is relative any more.
    (f64::from(found) - expected).abs() <= multiple * EPS * expected.abs() + f64::from(f32::MIN_POSITIVE)
}

/// f16 ends at 65504, and from 2048 on it skips whole numbers.
#[cfg(feature = "half")]
#[test]
fn total_weight_of_more_rows_than_f16_counts_is_exact() {
    const ROWS: usize = 100_001;
    let (half, quarter) = (f16::from_f64(0.5), f16::from_f64(0.25));
    let (values, classes, weights) = (vec![half; ROWS], vec![0; ROWS], vec![half; ROWS]);
    let (values, classes) = (Target::Values(&values), Target::Classes(&classes));
    let squared: &dyn Loss<f16> = &MeanSquaredError::new();
    assert_eq!(squared.total_weight(1, values, None), ROWS as f64);
    assert_eq!(squared.total_weight(1, values, Some(&weights)), 0.5 * ROWS as f64);
    let entropy = CrossEntropy::new().class_weights(&[quarter.to_f64(), 1.0]).unwrap();
    let entropy: &dyn Loss<f16> = &entropy;
    assert_eq!(entropy.total_weight(2, classes, None), 0.25 * ROWS as f64);
    assert_eq!(entropy.total_weight(2, classes, Some(&weights)), 0.125 * ROWS as f64);
    // A row is counted with at least 11 bits next to as many others.
    let mut rows = vec![f16::from_f64(1e-3); ROWS];
    rows[0] = f16::MAX;
    let sum = 65504.0 + (ROWS - 1) as f64 * f16::from_f64(1e-3).to_f64();
    assert_eq!(squared.total_weight(1, values, Some(&rows)), sum);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Each value within a few ε of itself, not of the largest logit. What is common to all logits costs nothing,
    /// and a prediction that is nearly certain still has its small loss and its small gradient.
    #[test]
    fn cross_entropy_keeps_its_digits(
        y in prop::collection::vec(-40i32..40, 2..6), common in -1000i32..1000, class in 0usize..6,
    ) {
        // Multiples of 1/8: their differences are exact in f32 at 1e4.
        let y: Vec<f32> = y.iter().map(|&y| (y + common * 80) as f32 / 8.0).collect();
        let (n, class) = (y.len(), class % y.len());
        let expected = witness(&y);
        let [mut dy, mut p, mut logs] = [(); 3].map(|()| vec![f32::NAN; n]);
        let loss = CrossEntropy::new().evaluate(n, &y, Target::Classes(&[class]), None, &mut dy).unwrap();
        softmax(n, &y, &mut p).unwrap();
        log_softmax(n, &y, &mut logs).unwrap();
        prop_assert!(close(loss, -expected[class][0], 16.0), "{y:?} {class}: {loss} is not {}", -expected[class][0]);
        for (k, [log, share, rest]) in expected.into_iter().enumerate() {
            let gradient = if k == class { -rest } else { share };
            prop_assert!(close(dy[k], gradient, 16.0), "{y:?} {class}, {k}: {} is not {gradient}", dy[k]);
            prop_assert!(close(p[k], share, 16.0), "{y:?}, {k}: {} is not {share}", p[k]);
            prop_assert!(close(logs[k], log, 16.0), "{y:?}, {k}: {} is not {log}", logs[k]);
        }
    }

    /// However the target is smoothed and weighted, the gradient of a row sums to zero.
    #[test]
    fn cross_entropy_gradient_of_a_row_sums_to_zero(
        y in prop::collection::vec(-30.0f64..30.0, 4), t in prop::collection::vec(0.0f64..1.0, 4), epsilon in 0.0f64..1.0,
    ) {
        let loss = CrossEntropy::new().label_smoothing(epsilon).unwrap().class_weights(&[0.5, 2.0, 1.0, 0.0]).unwrap();
        let mut dy = [f64::NAN; 4];
        loss.evaluate(4, &y, Target::Values(&t), None, &mut dy).unwrap();
        prop_assert!(dy.iter().sum::<f64>().abs() <= 1e-14, "{dy:?}");
    }
}

#[test]
fn cross_entropy_of_outputs_not_finite_is_not_finite() {
    let ce = CrossEntropy::new();
    for y in [[f64::NAN, 0.0], [0.0, f64::NAN], [f64::INFINITY, 0.0], [0.0, f64::INFINITY], [f64::NEG_INFINITY; 2]] {
        let loss = ce.evaluate(2, &y, Target::Classes(&[0]), None, &mut [0.0; 2]).unwrap();
        assert!(!loss.is_finite(), "{y:?}: {loss}");
    }
    // A class that is ruled out takes no part, as long as it is not the target.
    let mut dy = [f64::NAN; 3];
    let ruled_out = [0.0, f64::NEG_INFINITY, 0.0];
    let loss = ce.evaluate(3, &ruled_out, Target::Classes(&[0]), None, &mut dy).unwrap();
    assert!((loss - 2f64.ln()).abs() <= 1e-15 && dy == [-0.5, 0.0, 0.5], "{loss} {dy:?}");
}

#[test]
fn cross_entropy_with_a_negative_share_is_refused() {
    let (y, targets) = ([0.0; 4], [0.5, 0.5, 1.5, -0.5]);
    let refused = CrossEntropy::new().evaluate(2, &y, Target::Values(&targets), None, &mut [0.0; 4]);
    assert!(matches!(refused, Err(Error::Parameter { found: -0.5, .. })), "{refused:?}");
    // Not where the row is masked.
    let masked = Some([1.0, 0.0].as_slice());
    assert!(CrossEntropy::new().evaluate(2, &y, Target::Values(&targets), masked, &mut [0.0; 4]).is_ok());
}

/// PyTorch's mean over nothing is NaN; ours is an error, and the sum over nothing is 0.
#[test]
fn cross_entropy_with_every_row_ignored_has_no_mean() {
    let (y, target) = ([1.0, 2.0, 3.0, 4.0], Target::Classes(&[1, 1]));
    let ignoring = CrossEntropy::new().ignore_class(1);
    let mut dy = [f64::NAN; 4];
    assert!(matches!(ignoring.evaluate(2, &y, target, None, &mut dy), Err(Error::Parameter { .. })));
    let sum = ignoring.reduction(Reduction::Sum);
    assert_eq!((sum.evaluate(2, &y, target, None, &mut dy), dy), (Ok(0.0), [0.0; 4]));
}

/// The sum over many rows loses no digits: f32 with what addition loses carried along is as good as one rounding.
#[test]
fn loss_over_many_rows_keeps_its_digits() {
    let y: Vec<f32> = (0..300_000u64).map(|i| ((i * 7919) % 1000) as f32 / 999.0).collect();
    let (targets, wide) = (vec![0.1f32; y.len()], y.iter().map(|&y| f64::from(y)).collect::<Vec<_>>());
    let wide_targets = vec![f64::from(0.1f32); y.len()];
    let classes: Vec<usize> = (0..y.len() / 3).map(|row| row % 3).collect();
    let mut dy = (vec![0.0f32; y.len()], vec![0.0f64; y.len()]);
    for reduction in [Reduction::Mean, Reduction::Sum] {
        let ce = CrossEntropy::new().reduction(reduction);
        let squared = MeanSquaredError::new().reduction(reduction);
        let found = [
            ce.evaluate(3, &y, Target::Classes(&classes), None, &mut dy.0).unwrap(),
            squared.evaluate(3, &y, Target::Values(&targets), None, &mut dy.0).unwrap(),
        ];
        let expected = [
            ce.evaluate(3, &wide, Target::Classes(&classes), None, &mut dy.1).unwrap(),
            squared.evaluate(3, &wide, Target::Values(&wide_targets), None, &mut dy.1).unwrap(),
        ];
        for (found, expected) in found.into_iter().zip(expected) {
            assert!(close(found, expected, 2.0), "{reduction:?}: {found} is not {expected}");
        }
    }
}

/// The loss and the gradient by mean and variance of PyTorch's `GaussianNLLLoss`, by its formula.
fn gaussian([mean, v, t]: [f64; 3], epsilon: f64) -> [f64; 3] {
    let v = v.max(epsilon);
    let off = mean - t;
    [0.5 * (v.ln() + off * off / v), off / v, 0.5 * (1.0 / v - off * off / (v * v))]
}

fn gaussian_of<T: Scalar>(loss: &GaussianNll, y: &[f64], t: &[f64]) -> Result<(f64, Vec<f64>), Error> {
    let convert = |values: &[f64]| values.iter().map(|&value| scalar(value)).collect::<Vec<T>>();
    let mut dy = vec![T::nan(); y.len()];
    let value = loss.evaluate(y.len().min(4), &convert(y), Target::Values(&convert(t)), None, &mut dy)?;
    Ok((to_f64(value), dy.into_iter().map(to_f64).collect()))
}

/// Two rows of two means; one variance is below the floor of 1e-6.
#[test]
fn gaussian_likelihood_agrees_with_the_formula_of_pytorch() {
    let (means, logs, t) = ([0.5f64, -1.25, 3.0, 0.5625], [0.25f64, -2.0, 1.5, -20.0], [0.25, 1.5, -1.0, 0.5]);
    let y = [means[0], means[1], logs[0], logs[1], means[2], means[3], logs[2], logs[3]];
    for (full, constant) in [(false, 0.0), (true, 0.5 * core::f64::consts::TAU.ln())] {
        for (reduction, share) in [(Reduction::Mean, 0.25), (Reduction::Sum, 1.0)] {
            let loss = GaussianNll::new().reduction(reduction);
            let loss = if full { loss.full() } else { loss };
            let (mut sum, mut dy) = (0.0, [0.0; 8]);
            for i in 0..4 {
                let v = logs[i].exp();
                let [value, of_mean, of_variance] = gaussian([means[i], v, t[i]], 1e-6);
                sum += share * (value + constant);
                let at = i / 2 * 4 + i % 2;
                dy[at] = share * of_mean;
                // ∂v/∂s = v, and the maximum has no slope below the floor.
                dy[at + 2] = if v > 1e-6 { share * v * of_variance } else { 0.0 };
            }
            let (found, found_dy) = gaussian_of::<f64>(&loss, &y, &t).unwrap();
            assert!((found - sum).abs() <= 1e-12 * sum.abs(), "{loss:?}: {found} is not {sum}");
            let near = |a: &f64, b: &f64, of: f64| (a - b).abs() <= of * b.abs().max(1.0);
            assert!(found_dy.iter().zip(&dy).all(|(a, b)| near(a, b, 1e-12)), "{loss:?}: {found_dy:?} {dy:?}");
            // The variance of 2e-9 and its floor are below f16, their logarithms are not.
            #[cfg(feature = "half")]
            {
                let (found, found_dy) = gaussian_of::<f16>(&loss, &y, &t).unwrap();
                assert!(near(&found, &sum, 0.02), "{loss:?}: {found} is not {sum}");
                assert!(found_dy.iter().zip(&dy).all(|(a, b)| near(a, b, 0.02)), "{loss:?}: {found_dy:?} {dy:?}");
            }
        }
    }
}

#[test]
fn gaussian_likelihood_at_the_ends_is_its_limit() {
    let (floor, none) = (GaussianNll::new(), GaussianNll::new().epsilon(0.0).unwrap());
    let at = |loss: &GaussianNll, mean: f64, s: f64| gaussian_of::<f32>(loss, &[mean, s], &[1.0]).unwrap();
    // A right mean is rewarded without bound, unless there is a floor.
    assert_eq!(at(&none, 1.0, -200.0), (-100.0, vec![0.0, 0.5]));
    assert_eq!(at(&none, 1.0, f64::NEG_INFINITY), (f64::NEG_INFINITY, vec![0.0, 0.5]));
    let (value, dy) = at(&floor, 1.0, f64::NEG_INFINITY);
    assert!((value - 0.5 * 1e-6f64.ln()).abs() < 1e-6 && dy == [0.0, 0.0], "{value} {dy:?}");
    assert_eq!(at(&none, 2.0, f64::NEG_INFINITY).0, f64::INFINITY);
    assert_eq!(at(&none, 0.0, f64::NEG_INFINITY).0, f64::INFINITY);
    assert_eq!(at(&floor, f64::INFINITY, 0.0).0, f64::INFINITY);
    assert_eq!(at(&floor, 1.0, f64::INFINITY).0, f64::INFINITY);
    assert!(at(&floor, f64::NAN, 0.0).0.is_nan() && at(&floor, 1.0, f64::NAN).0.is_nan());
    for bad in [-1e-6, f64::NAN, f64::INFINITY] {
        assert!(matches!(floor.epsilon(bad), Err(Error::Parameter { .. })), "{bad}");
    }
    let odd = floor.evaluate(3, &[0.0; 3], Target::Values(&[0.0]), None, &mut [0.0; 3]);
    assert!(matches!(odd, Err(Error::Parameter { found: 3.0, .. })), "{odd:?}");
    let whole = floor.evaluate(2, &[0.0; 2], Target::Values(&[0.0; 2]), None, &mut [0.0; 2]);
    assert!(matches!(whole, Err(Error::Length { expected: 1, found: 2, .. })), "{whole:?}");
}

/// Each loss, and whether it takes classes.
fn losses<T: Scalar>(reduction: Reduction) -> Vec<(Box<dyn Loss<T>>, bool)> {
    let full = CrossEntropy::new().reduction(reduction).class_weights(&[0.5, 2.0, 1.5]).unwrap();
    let full = full.label_smoothing(0.2).unwrap();
    let positive = BinaryCrossEntropy::new().positive_weights(&[2.0, 0.5, 1.0]).unwrap();
    vec![
        (Box::new(MeanSquaredError::new().reduction(reduction)), false),
        (Box::new(MeanAbsoluteError::new().reduction(reduction)), false),
        (Box::new(Huber::new(0.7).unwrap().reduction(reduction)), false),
        (Box::new(SmoothL1::new(0.7).unwrap().reduction(reduction)), false),
        (Box::new(BinaryCrossEntropy::new().reduction(reduction)), false),
        (Box::new(positive.reduction(reduction)), false),
        (Box::new(CrossEntropy::new().reduction(reduction)), false),
        (Box::new(full.clone()), false),
        (Box::new(CrossEntropy::new().reduction(reduction)), true),
        (Box::new(full.clone()), true),
        (Box::new(full.ignore_class(1)), true),
    ]
}

fn huge_logits<T: Scalar>() {
    for reduction in [Reduction::Mean, Reduction::Sum] {
        for (loss, of_classes) in losses::<T>(reduction) {
            for [a, b, c] in [[1e4, -1e4, 0.0], [1e4; 3], [-1e4; 3], [-1e4, 1e4, 1e4]] {
                let y = [a, b, c].map(scalar::<T>);
                let values = [0.0, 1.0, 0.0].map(scalar::<T>);
                let target = if of_classes { Target::Classes(&[2]) } else { Target::Values(&values) };
                let mut dy = [T::nan(); 3];
                let value = loss.evaluate(3, &y, target, None, &mut dy).unwrap();
                assert!(value.is_finite() && dy.iter().all(|d| d.is_finite()), "{loss:?} {y:?}: {value:?} {dy:?}");
            }
        }
    }
}

#[test]
fn loss_at_huge_outputs_is_finite() {
    huge_logits::<f32>();
    huge_logits::<f64>();
}

/// Every loss, and whether its targets are values that the outputs can equal.
fn every_loss(reduction: Reduction) -> Vec<(Box<dyn Loss<f64>>, bool)> {
    vec![
        (Box::new(MeanSquaredError::new().reduction(reduction)), true),
        (Box::new(MeanAbsoluteError::new().reduction(reduction)), true),
        (Box::new(Huber::new(0.25).unwrap().reduction(reduction)), true),
        (Box::new(SmoothL1::new(0.25).unwrap().reduction(reduction)), true),
        (Box::new(Pinball::new(0.75).unwrap().reduction(reduction)), true),
        (Box::new(CosineDistance::new().reduction(reduction)), true),
        (Box::new(BinaryCrossEntropy::new().reduction(reduction)), true),
        (Box::new(CrossEntropy::new().reduction(reduction)), true),
        (Box::new(Focal::new(2.0).unwrap().reduction(reduction)), true),
        (Box::new(PoissonNll::new().reduction(reduction)), true),
        (Box::new(KlDivergence::new().reduction(reduction)), true),
        (Box::new(GaussianNll::new().reduction(reduction)), false),
        (Box::new(MultiMargin::new().reduction(reduction)), false),
        (Box::new(NegativeLogLikelihood::new().reduction(reduction)), false),
    ]
}

/// The facts of a loss are those of its values: its reduction, the width of its targets, the place of its minimum.
#[test]
fn loss_states_its_reduction_and_where_its_minimum_is() {
    for reduction in [Reduction::Mean, Reduction::Sum] {
        for (loss, of_values) in every_loss(reduction) {
            assert_eq!(loss.reduction(), reduction, "{loss:?}");
            let means = format!("{loss:?}").starts_with("GaussianNll");
            assert_eq!(loss.target_width(4), if means { 2 } else { 4 }, "{loss:?}");
            // 64 targets that are shares of 1, and outputs on all sides of each.
            let lowest = (0..64).all(|i| {
                let a = 0.1 + f64::from(i) / 80.0;
                let target = [a, 1.0 - a];
                let at = |y: [f64; 2]| loss.evaluate(2, &y, Target::Values(&target), None, &mut [0.0; 2]).unwrap();
                let near = [[0.05, 0.0], [0.0, 0.05], [-0.05, 0.0], [0.0, -0.05], [-0.05, 0.05], [0.05, -0.05]];
                of_values && near.iter().all(|d| at(target) <= at([target[0] + d[0], target[1] + d[1]]))
            });
            assert_eq!(loss.minimum_at_target(), lowest, "{loss:?}");
        }
    }
}

/// A trainer counts the rows of values instead of reading them, unless the loss weighs the values.
#[test]
fn loss_that_weighs_no_target_values_has_the_weight_of_their_rows() {
    for (loss, _) in every_loss(Reduction::Mean) {
        let values = vec![0.5; 3 * loss.target_width(4)];
        assert!(!loss.weighs_target_values(), "{loss:?}");
        assert_eq!(loss.total_weight(4, Target::Values(&values), None), 3.0, "{loss:?}");
    }
    assert!(Loss::<f64>::weighs_target_values(&ValueWeights::new(MeanSquaredError::new())));
}

#[test]
fn poisson_likelihood_of_no_event_at_rate_zero_is_zero() {
    let at = |y: f64, t: f64| {
        let mut dy = [f64::NAN];
        (PoissonNll::new().evaluate(1, &[y], Target::Values(&[t]), None, &mut dy).unwrap(), dy[0])
    };
    assert_eq!(at(f64::NEG_INFINITY, 0.0), (0.0, 0.0));
    assert_eq!(at(f64::NEG_INFINITY, 1.0), (f64::INFINITY, -1.0));
    let (value, dy) = at(f64::NAN, 0.0);
    assert!(value.is_nan() && dy.is_nan());
}

/// One weight for all outputs is that weight for each.
#[test]
fn one_positive_weight_holds_for_every_output() {
    let (y, t) = ([0.5, -1.0, 2.0, 0.0, 1.5, -0.25], [1.0, 1.0, 1.0, 0.0, 0.5, 1.0]);
    let run = |weights: &[f64]| {
        let mut dy = [f64::NAN; 6];
        let loss = BinaryCrossEntropy::new().positive_weights(weights).unwrap();
        (loss.evaluate(3, &y, Target::Values(&t), None, &mut dy).unwrap(), dy)
    };
    assert_eq!(run(&[2.5]), run(&[2.5; 3]));
    assert_ne!(run(&[2.5]), run(&[2.5, 1.0, 1.0]));
}

/// f32 ends at 3.4e38. A margin is accepted if twice the loss of equal outputs is below it: that of one row for a mean,
/// of all weighted rows for a sum.
#[test]
fn margin_whose_loss_is_beyond_the_format_is_refused() {
    let legal = |loss: &MultiMargin, margin: f64, weights: &[f32]| {
        let (y, classes) = (vec![0.0f32; 2 * weights.len()], vec![0; weights.len()]);
        let loss = loss.clone().margin(margin).unwrap();
        match loss.evaluate(2, &y, Target::Classes(&classes), Some(weights), &mut vec![0.0; y.len()]) {
            Ok(value) => {
                assert!(value.is_finite(), "{loss:?}: {value}");
                true
            }
            Err(Error::Parameter { found, .. }) => {
                assert_eq!(found, margin);
                false
            }
            Err(other) => panic!("{other}"),
        }
    };
    let (plain, squared) = (&MultiMargin::new(), &MultiMargin::new().squared());
    assert!(legal(plain, 1.6e38, &[1.0; 3]) && !legal(plain, 1.8e38, &[1.0; 3]));
    assert!(legal(squared, 1.2e19, &[1.0; 3]) && !legal(squared, 1.4e19, &[1.0; 3]));
    let [plain, squared] = &[plain, squared].map(|loss| loss.clone().reduction(Reduction::Sum));
    assert!(legal(plain, 0.8e38, &[1.0; 2]) && !legal(plain, 1e38, &[1.0; 2]));
    assert!(legal(plain, 3e38, &[0.25; 2]) && legal(squared, 0.9e19, &[1.0; 2]) && !legal(squared, 1e19, &[1.0; 2]));
    // A weight of the class is a factor of the loss.
    let heavy = &MultiMargin::new().class_weights(&[4.0, 1.0]).unwrap();
    assert!(legal(heavy, 0.4e38, &[1.0; 3]) && !legal(heavy, 0.45e38, &[1.0; 3]));
    // A margin that is no number of the format.
    assert!(!legal(plain, 1e300, &[1e-20]));
}

/// A squared error with one more target than outputs: the factor of the row.
#[derive(Clone, Copy, Debug)]
struct Factored;

impl RowLoss for Factored {
    fn row<T: Scalar>(&self, y: &[T], target: Target<'_, T>) -> T {
        let Target::Values([targets @ .., factor]) = target else { return T::nan() };
        y.iter().zip(targets).fold(T::zero(), |sum, (&y, &t)| sum + *factor * (y - t) * (y - t))
    }
    fn target_width(&self, width: usize) -> usize {
        width + 1
    }
}

/// Two rows of two outputs: the index among the targets of a value that is not finite, wherever it stands.
#[test]
fn target_that_is_not_finite_is_named_by_its_place() {
    let (weighted, dual) = (ValueWeights::new(MeanSquaredError::new()), DualLoss::new(Factored));
    assert_eq!(Loss::<f64>::target_width(&weighted, 2), 4);
    assert_eq!(Loss::<f64>::target_width(&dual, 2), 3);
    for (loss, width) in [(&weighted as &dyn Loss<f64>, 4), (&dual, 3)] {
        let targets = vec![1.0; 2 * width];
        let evaluate = |targets: &[f64]| loss.evaluate(2, &[0.5; 4], Target::Values(targets), None, &mut [0.0; 4]);
        assert_eq!(evaluate(&targets).unwrap(), if width == 4 { 0.25 } else { 0.5 });
        for place in 0..2 * width {
            let mut wrong = targets.clone();
            wrong[place] = f64::NAN;
            let found = evaluate(&wrong);
            assert!(matches!(found, Err(Error::NonFinite { index, .. }) if index == place), "{place}: {found:?}");
        }
    }
}

#[test]
fn weighted_loss_has_the_reduction_of_the_plain_one() {
    for reduction in [Reduction::Mean, Reduction::Sum] {
        let loss = ValueWeights::new(MeanSquaredError::new().reduction(reduction));
        assert_eq!(Loss::<f64>::reduction(&loss), reduction);
    }
}

/// f32 ends at 3.4e38.
#[test]
fn exponent_beyond_the_format_is_refused() {
    fn evaluate<T: Scalar>(exponent: f64) -> Result<T, Error> {
        let target = [scalar::<T>(0.5)];
        Focal::new(exponent)?.evaluate(1, &[T::zero()], Target::Values(&target), None, &mut [T::zero()])
    }
    assert!(matches!(evaluate::<f32>(1e39), Err(Error::Parameter { found: 1e39, .. })));
    assert!(evaluate::<f64>(1e39).is_ok() && evaluate::<f32>(1e38).is_ok());
}

/// The classes of a loss of one's own, as the crate's: a loss of rows by [`Rows`].
#[derive(Debug)]
struct OwnNll;

impl<T: Scalar> Loss<T> for OwnNll {
    fn evaluate(&self, n: usize, y: &[T], t: Target<'_, T>, w: Option<&[T]>, dy: &mut [T]) -> Result<T, Error> {
        Rows::new(n, y, t, w, dy)?.reduce_classes("OwnNll", Reduction::Mean, |y, class, dy| {
            dy.fill(T::zero());
            dy[class] = -T::one();
            Ok(-y[class])
        })
    }
    fn reduction(&self) -> Reduction {
        Reduction::Mean
    }
}

/// Half the squared distance of a row.
#[derive(Debug)]
struct OwnSquare(Reduction);

impl<T: Scalar> Loss<T> for OwnSquare {
    fn evaluate(&self, n: usize, y: &[T], t: Target<'_, T>, w: Option<&[T]>, dy: &mut [T]) -> Result<T, Error> {
        Rows::new(n, y, t, w, dy)?.reduce_values("OwnSquare", n, self.0, |y, t, dy| {
            dy.iter_mut().zip(y).zip(t).for_each(|((dy, &y), &t)| *dy = y - t);
            Ok(dy.iter().fold(T::zero(), |sum, &d| sum + scalar::<T>(0.5) * d * d))
        })
    }
    fn reduction(&self) -> Reduction {
        self.0
    }
    fn minimum_at_target(&self) -> bool {
        true
    }
}

loss_laws!(own_loss_of_classes_keeps_its_laws, OwnNll);
loss_laws!(own_mean_of_rows_keeps_its_laws, OwnSquare(Reduction::Mean));
loss_laws!(own_sum_of_rows_keeps_its_laws, OwnSquare(Reduction::Sum));

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The same sums and shares as the crate's own loss, to the bit, with row weights and masked rows.
    #[test]
    fn own_loss_has_the_bits_of_the_crate(
        y in prop::collection::vec(-9.0f32..0.0, 30), classes in prop::collection::vec(0usize..3, 10),
        weights in prop::collection::vec(prop_oneof![Just(0.0f32), 0.1f32..5.0], 9),
    ) {
        let weights: Vec<f32> = weights.into_iter().chain([1.0]).collect();
        let target = Target::Classes(&classes);
        for weights in [None, Some(&weights[..])] {
            let (mut own, mut given) = ([f32::NAN; 30], [f32::NAN; 30]);
            let found = OwnNll.evaluate(3, &y, target, weights, &mut own).unwrap();
            let expected = NegativeLogLikelihood::new().evaluate(3, &y, target, weights, &mut given).unwrap();
            prop_assert_eq!((found.to_bits(), own.map(f32::to_bits)), (expected.to_bits(), given.map(f32::to_bits)));
        }
    }
}

#[test]
fn own_loss_refuses_what_the_crate_refuses() {
    let (y, mut dy) = ([0.5; 4], [0.0; 4]);
    let values = [0.0, 0.0, f64::NAN, 0.0];
    let square = OwnSquare(Reduction::Mean);
    let found = square.evaluate(2, &y, Target::Values(&values), None, &mut dy);
    assert!(matches!(found, Err(Error::NonFinite { what: "targets", index: 2, .. })), "{found:?}");
    // Not in a masked row.
    assert!(square.evaluate(2, &y, Target::Values(&values), Some(&[1.0, 0.0]), &mut dy).is_ok());
    let found = square.evaluate(2, &y, Target::Classes(&[0, 1]), None, &mut dy);
    assert!(matches!(found, Err(Error::TargetKind { loss: "OwnSquare", .. })), "{found:?}");
    let found = OwnNll.evaluate(2, &y, Target::Classes(&[0, 2]), None, &mut dy);
    assert_eq!(found, Err(Error::ClassOutOfRange { row: 1, label: 2, classes: 2 }));
    let found = OwnNll.evaluate(1, &y, Target::Classes(&[0; 4]), None, &mut dy);
    assert!(matches!(found, Err(Error::IncompatibleLayer { what: "OwnNll", .. })), "{found:?}");
}

/// One row has the outputs `y` and the target `t`, 99 more have the loss 0; the mean is `expected`.
#[cfg(feature = "half")]
fn large_term_of_f16_has_a_mean<L: Loss<f16>>(loss: &L, [y, rest]: [&[f64]; 2], target: &[f64], expected: f64) {
    let rows = |first: &[f64], rest: &[f64]| -> Vec<f16> {
        first.iter().chain(std::iter::repeat_n(rest, 99).flatten()).map(|&value| f16::from_f64(value)).collect()
    };
    let (width, all) = (y.len(), rows(y, rest));
    let mut dy = vec![f16::ZERO; all.len()];
    // Without targets the class is the last one.
    let (classes, values) = (vec![width - 1; 100], rows(target, target));
    let targets = if target.is_empty() { Target::Classes(&classes) } else { Target::Values(&values) };
    let found = loss.evaluate(width, &all, targets, None, &mut dy).unwrap().to_f64();
    assert!((found - expected).abs() <= 1e-3 * expected, "{loss:?}: {found} for {expected}");
    assert!(dy.iter().all(|dy| dy.is_finite()), "{loss:?}: {dy:?}");
}

#[cfg(feature = "half")]
#[test]
fn mean_of_a_term_beyond_f16_is_finite() {
    use large_term_of_f16_has_a_mean as check;
    let (one, rest): (&[f64], &[f64]) = (&[300.0], &[0.0]);
    check(&MeanSquaredError::new(), [one, rest], &[0.0], 900.0);
    check(&Huber::new(1000.0).unwrap(), [one, rest], &[0.0], 450.0);
    check(&SmoothL1::new(1000.0).unwrap(), [one, rest], &[0.0], 0.45);
    check(&DualLoss::new(Squared), [one, rest], &[0.0], 900.0);
    check(&ValueWeights::new(MeanSquaredError::new()), [one, rest], &[0.0, 1.0], 900.0);
    // A weight of 500 on each side of the mean.
    check(&ValueWeights::new(MeanSquaredError::new()), [one, rest], &[0.0, 500.0], 900.0);
    check(&MeanAbsoluteError::new(), [&[6e4], rest], &[-6e4 + 32.0], (1.2e5 + 99.0 * 6e4 - 3200.0) / 100.0);
    check(&MultiMargin::new().squared(), [&[599.0, 0.0], &[0.0, 1.0]], &[], 1800.0);
    check(&KlDivergence::new(), [&[-6e4, 0.0], &[2f64.ln(), 0.0]], &[2.0, 0.0], 1200.0);
    check(&GaussianNll::new(), [&[300.0, 0.0], &[0.0, 0.0]], &[0.0], 450.0);
    check(&CrossEntropy::new(), [&[6e4, -6e4], &[0.0, 100.0]], &[], 1200.0);
    // e¹² = 162754.8, and 99 rates of 1.
    check(&PoissonNll::new(), [&[12.0], rest], &[0.0], 1628.537914);
}
