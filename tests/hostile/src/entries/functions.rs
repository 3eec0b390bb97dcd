//! Math and losses.

use super::entry;
use crate::{
    Entry,
    case::{Case, Taste, Verdict, ensure},
};
use chainrule::{
    Error,
    loss::{
        BinaryCrossEntropy, CosineDistance, CrossEntropy, DualLoss, Focal, GaussianNll, Hinge, Huber, KlDivergence,
        Loss, MeanAbsoluteError, MeanSquaredError, MultiMargin, NegativeLogLikelihood, Pinball, PoissonNll, Reduction,
        RowLoss, Rows, SmoothL1, Target, ValueWeights, log_softmax, softmax,
    },
    math,
    metrics::{
        Average, ConfusionMatrix, accuracy, label_accuracy, mae, predicted_classes, r2, rmse, roc_auc, subset_accuracy,
        unmasked,
    },
    scalar, to_f64,
};

pub fn entries() -> Vec<Entry> {
    vec![
        entry(
            4,
            &[
                "math::exp",
                "math::exp_m1",
                "math::ln",
                "math::ln_1p",
                "math::erf",
                "math::erfc",
                "math::gaussian",
                "math::normal_cdf",
                "math::normal_density",
                "math::sigmoid",
                "math::softplus",
                "math::tanh",
                "scalar",
                "to_f64",
            ],
            &[],
            |c| {
                let x = c.real();
                let _ = (scalar::<f32>(x), to_f64(x as f32));
                let total = [
                    ("exp", math::exp(x)),
                    ("exp_m1", math::exp_m1(x)),
                    ("erf", math::erf(x)),
                    ("erfc", math::erfc(x)),
                    ("gaussian", math::gaussian(x)),
                    ("normal_cdf", math::normal_cdf(x)),
                    ("normal_density", math::normal_density(x)),
                    ("sigmoid", math::sigmoid(x)),
                    ("softplus", math::softplus(x)),
                    ("tanh", math::tanh(x)),
                    ("erf f32", math::erf(x as f32).into()),
                    ("tanh f32", math::tanh(x as f32).into()),
                    ("exp f32", math::exp(x as f32).into()),
                    ("softplus f32", math::softplus(x as f32).into()),
                    ("sigmoid f32", math::sigmoid(x as f32).into()),
                ];
                for (name, y) in total {
                    ensure(x.is_nan() == f64::is_nan(y), || format!("{name}({x:e}) is {y:e}"))?;
                }
                for (name, y, below) in [("ln", math::ln(x), x < 0.0), ("ln_1p", math::ln_1p(x), x < -1.0)] {
                    ensure(y.is_nan() == (x.is_nan() || below), || format!("{name}({x:e}) is {y:e}"))?;
                }
                Ok(())
            },
        ),
        entry(
            4,
            &[
                "loss::MeanSquaredError::new",
                "loss::MeanSquaredError::reduction",
                "loss::MeanSquaredError: Loss",
                "loss::Target {}",
            ],
            &[],
            |c| {
                let r = reduction(c);
                lost(c, Ok(MeanSquaredError::new().reduction(r)), true)
            },
        ),
        entry(
            3,
            &["loss::MeanAbsoluteError::new", "loss::MeanAbsoluteError::reduction", "loss::MeanAbsoluteError: Loss"],
            &[],
            |c| {
                let r = reduction(c);
                lost(c, Ok(MeanAbsoluteError::new().reduction(r)), true)
            },
        ),
        entry(4, &["loss::ValueWeights::new", "loss::ValueWeights: Loss"], &[], |c| {
            let (r, delta) = (reduction(c), c.about(1.0));
            match c.below(3) {
                0 => value_weights(c, &ValueWeights::new(MeanSquaredError::new().reduction(r))),
                1 => value_weights(c, &ValueWeights::new(BinaryCrossEntropy::new().reduction(r))),
                _ => value_weights(c, &ValueWeights::new(Huber::new(delta)?.reduction(r))),
            }
        }),
        entry(
            4,
            &[
                "loss::DualLoss::new",
                "loss::DualLoss::reduction",
                "loss::DualLoss: Loss",
                "loss::RowLoss::row",
                "loss::RowLoss::target_width",
            ],
            &[],
            |c| {
                let (r, classes) = (reduction(c), c.flag());
                lost(c, Ok(DualLoss::new(Squares { classes }).reduction(r)), true)
            },
        ),
        entry(4, &["loss::Huber::new", "loss::Huber::reduction", "loss::Huber: Loss"], &[], |c| {
            let (r, d) = (reduction(c), c.real());
            lost(c, Huber::new(d).map(|l| l.reduction(r)), d > 0.0 && d.is_finite())
        }),
        entry(4, &["loss::SmoothL1::new", "loss::SmoothL1::reduction", "loss::SmoothL1: Loss"], &[], |c| {
            let (r, d) = (reduction(c), c.real());
            lost(c, SmoothL1::new(d).map(|l| l.reduction(r)), d > 0.0 && d.is_finite())
        }),
        entry(4, &["loss::Pinball::new", "loss::Pinball::reduction", "loss::Pinball: Loss"], &[], |c| {
            let (r, q) = (reduction(c), c.real());
            lost(c, Pinball::new(q).map(|l| l.reduction(r)), q > 0.0 && q < 1.0)
        }),
        entry(
            4,
            &["loss::Focal::new", "loss::Focal::alpha", "loss::Focal::reduction", "loss::Focal: Loss"],
            &[],
            |c| {
                let (r, gamma, alpha) = (reduction(c), c.about(2.0), c.about(0.25));
                let made = Focal::new(gamma).map(|l| l.reduction(r));
                let made = if c.flag() { made.and_then(|l| l.alpha(alpha)) } else { made };
                lost(c, made, gamma >= 0.0 && gamma.is_finite())
            },
        ),
        entry(
            4,
            &[
                "loss::GaussianNll::new",
                "loss::GaussianNll::epsilon",
                "loss::GaussianNll::reduction",
                "loss::GaussianNll: Loss",
                "loss::Loss::target_width",
            ],
            &[],
            |c| {
                let (r, epsilon) = (reduction(c), c.about(1e-6));
                let loss = GaussianNll::new().reduction(r);
                let loss = if c.flag() { loss.full() } else { loss };
                let made = loss.epsilon(epsilon);
                // Below such a floor the truth may be beyond the format.
                if (0.0..1e-6).contains(&epsilon) {
                    return made.map(|_| ()).map_err(Into::into);
                }
                lost(c, made, epsilon >= 0.0 && epsilon.is_finite())
            },
        ),
        entry(
            4,
            &[
                "loss::PoissonNll::new",
                "loss::PoissonNll::reduction",
                "loss::PoissonNll: Loss",
                "loss::CosineDistance::new",
                "loss::CosineDistance::reduction",
                "loss::CosineDistance: Loss",
                "loss::KlDivergence::new",
                "loss::KlDivergence::reduction",
                "loss::KlDivergence: Loss",
                "loss::Hinge::new",
                "loss::Hinge::reduction",
                "loss::Hinge: Loss",
            ],
            &[],
            |c| {
                let r = reduction(c);
                match c.below(5) {
                    0 => lost(c, Ok(PoissonNll::new().reduction(r)), true),
                    1 => lost(c, Ok(PoissonNll::new().full().reduction(r)), true),
                    2 => lost(c, Ok(CosineDistance::new().reduction(r)), true),
                    3 => lost(c, Ok(KlDivergence::new().reduction(r)), true),
                    _ => lost(c, Ok(Hinge::new().reduction(r)), true),
                }
            },
        ),
        entry(
            3,
            &[
                "loss::MultiMargin::new",
                "loss::MultiMargin::class_weights",
                "loss::MultiMargin::margin",
                "loss::MultiMargin::reduction",
                "loss::MultiMargin: Loss",
            ],
            &[],
            |c| {
                let (r, m) = (reduction(c), c.about(1.0));
                let loss = MultiMargin::new().reduction(r);
                let loss = if c.flag() { loss.squared() } else { loss };
                let weights: Vec<f64> = c.slice(3);
                let loss = if c.flag() { loss.class_weights(&weights)? } else { loss };
                lost(c, loss.margin(m), m > 0.0 && m.is_finite())
            },
        ),
        entry(
            3,
            &[
                "loss::NegativeLogLikelihood::new",
                "loss::NegativeLogLikelihood::class_weights",
                "loss::NegativeLogLikelihood::ignore_class",
                "loss::NegativeLogLikelihood::reduction",
                "loss::NegativeLogLikelihood: Loss",
            ],
            &[],
            |c| {
                let mut loss = NegativeLogLikelihood::new().reduction(reduction(c));
                if c.flag() {
                    loss = loss.ignore_class(c.size());
                }
                let weights: Vec<f64> = c.slice(2);
                let valid = !weights.is_empty() && weights.iter().all(|w| *w >= 0.0 && w.is_finite());
                lost(c, loss.class_weights(&weights), valid)
            },
        ),
        entry(
            6,
            &[
                "loss::CrossEntropy::new",
                "loss::CrossEntropy::class_weights",
                "loss::CrossEntropy::ignore_class",
                "loss::CrossEntropy::label_smoothing",
                "loss::CrossEntropy::reduction",
                "loss::CrossEntropy: Loss",
                "loss::Loss::check_width",
                "loss::Loss::evaluate",
                "loss::Loss::total_weight",
            ],
            &[],
            |c| {
                let mut loss = CrossEntropy::new().reduction(reduction(c));
                if c.flag() {
                    let epsilon = c.real();
                    let made = loss.label_smoothing(epsilon);
                    ensure(made.is_err() || (0.0..=1.0).contains(&epsilon), || format!("label smoothing {epsilon:e}"))?;
                    loss = made?;
                }
                if c.flag() {
                    let weights: Vec<f64> = c.slice(4);
                    loss = loss.class_weights(&weights)?;
                }
                if c.flag() {
                    loss = loss.ignore_class(c.size());
                }
                let width = c.size();
                let taken = Loss::<f32>::check_width(&loss, width).is_ok();
                ensure(!taken || width != 1, || "cross-entropy of one output".into())?;
                lost(c, Ok(loss), true)
            },
        ),
        entry(
            5,
            &[
                "loss::BinaryCrossEntropy::new",
                "loss::BinaryCrossEntropy::positive_weights",
                "loss::BinaryCrossEntropy::reduction",
                "loss::BinaryCrossEntropy: Loss",
            ],
            &[],
            |c| {
                let mut loss = BinaryCrossEntropy::new().reduction(reduction(c));
                if c.flag() {
                    let weights: Vec<f64> = c.slice(3);
                    loss = loss.positive_weights(&weights)?;
                }
                lost(c, Ok(loss), true)
            },
        ),
        entry(4, &["loss::Rows::new", "loss::Rows::reduce_values", "loss::Rows::reduce_classes"], &[], |c| {
            let (width, r, taste) = (c.width(), reduction(c), c.taste());
            let length = if c.once_in(3) { c.few() } else { width.saturating_mul(2).min(64) };
            let y = c.values::<f64>(length, taste);
            let (weights, mut dy) = (c.slice::<f64>(2), vec![0.0; y.len()]);
            let weights = c.flag().then_some(&weights[..]);
            if c.flag() {
                let classes = [c.size(), c.size()];
                let rows = Rows::new(width, &y, Target::Classes(&classes), weights, &mut dy)?;
                rows.reduce_classes("a hostile loss", r, |y, class, dy| {
                    dy.fill(0.0);
                    dy[class] = 1.0;
                    Ok(y[class])
                })?;
            } else {
                let (in_row, targets) = (c.size(), c.slice::<f64>(4));
                let rows = Rows::new(width, &y, Target::Values(&targets), weights, &mut dy)?;
                rows.reduce_values("a hostile loss", in_row, r, |y, t, dy| {
                    dy.fill(1.0);
                    Ok(y[0] + t.first().copied().unwrap_or_default())
                })?;
            }
            ensure(width > 0 && y.len().is_multiple_of(width), || format!("{} outputs of {width}", y.len()))
        }),
        entry(3, &["loss::softmax", "loss::log_softmax"], &[], |c| {
            let width = c.width();
            let (logits, taste) = (c.slice::<f32>(width.saturating_mul(3)), c.taste());
            let mut out = c.values::<f32>(logits.len(), taste);
            let done = if c.flag() { softmax(width, &logits, &mut out) } else { log_softmax(width, &logits, &mut out) };
            ensure(done.is_err() || width > 0 && logits.len().is_multiple_of(width), || {
                format!("{} values of width {width}", logits.len())
            })?;
            Ok(done?)
        }),
        entry(2, &["metrics::accuracy"], &[], |c| {
            let width = c.width();
            let y = c.slice::<f64>(width.saturating_mul(2));
            let classes: Vec<usize> = (0..c.length(2)).map(|_| if c.once_in(3) { c.size() } else { c.few() }).collect();
            let share = accuracy(width, &y, &classes)?;
            ensure((0.0..=1.0).contains(&share), || format!("accuracy {share}"))
        }),
        entry(2, &["metrics::unmasked"], &[], |c| {
            let width = c.width();
            let y = c.slice::<f32>(width.saturating_mul(2));
            let weights: Vec<f64> = (0..c.length(2)).map(|_| if c.once_in(3) { c.real() } else { 0.0 }).collect();
            let kept = unmasked(width, &y, &weights)?;
            let counted = weights.iter().filter(|weight| **weight != 0.0).count();
            ensure(kept.len() == counted * width, || format!("{kept:?} of width {width}"))
        }),
        entry(2, &["metrics::predicted_classes"], &[], |c| {
            let width = c.width();
            let y = c.slice::<f32>(width.saturating_mul(2));
            let classes = predicted_classes(width, &y)?;
            ensure(classes.len() * width == y.len() && classes.iter().all(|&class| class < width), || {
                format!("{classes:?} of width {width}")
            })
        }),
        entry(
            4,
            &[
                "metrics::ConfusionMatrix::new",
                "metrics::ConfusionMatrix::count",
                "metrics::ConfusionMatrix::support",
                "metrics::ConfusionMatrix::precision",
                "metrics::ConfusionMatrix::recall",
                "metrics::ConfusionMatrix::f1",
                "metrics::ConfusionMatrix::mean_precision",
                "metrics::ConfusionMatrix::mean_recall",
                "metrics::ConfusionMatrix::mean_f1",
                "metrics::ConfusionMatrix::name_classes",
            ],
            &[],
            |c| {
                let classes = if c.once_in(3) { c.size() } else { c.few() };
                let some = |c: &mut Case| -> Vec<usize> {
                    (0..c.length(4)).map(|_| if c.once_in(8) { c.size() } else { c.below(3) }).collect()
                };
                let (actual, predicted) = (some(c), some(c));
                let matrix = ConfusionMatrix::new(classes, &actual, &predicted)?;
                let (row, column) = (c.size(), c.size());
                ensure(matrix.count(row, column) <= actual.len() as u64, || format!("{matrix:?}"))?;
                let _ = (matrix.support(c.few()), matrix.to_string());
                let named = matrix.clone().name_classes((0..c.few()).map(|class| format!("{class}")));
                // The counts and the measures are tables, each with a heading and a line for each class.
                let lines = named.map(|named| named.to_string().lines().count());
                ensure(lines.is_err() || lines? == 2 * (classes + 1), || format!("{matrix:?}"))?;
                let of_class = [matrix.precision(row), matrix.recall(row), matrix.f1(row)];
                let average = c.of(&[Average::Macro, Average::Micro, Average::Weighted]);
                let means = [matrix.mean_precision(average), matrix.mean_recall(average), matrix.mean_f1(average)];
                let all = of_class.into_iter().flatten().chain(means).chain([matrix.accuracy()]);
                all.into_iter().try_for_each(|share| ensure((0.0..=1.0).contains(&share), || format!("{share}")))
            },
        ),
        entry(2, &["metrics::subset_accuracy", "metrics::label_accuracy"], &[], |c| {
            let (width, threshold) = (c.width(), c.real());
            let y = c.slice::<f64>(width.saturating_mul(2));
            let targets: Vec<f64> =
                (0..c.length(y.len())).map(|_| if c.once_in(20) { c.real() } else { c.below(2) as f64 }).collect();
            let shares = [subset_accuracy(width, &y, &targets, threshold)?, label_accuracy(&y, &targets, threshold)?];
            ensure(shares.iter().all(|share| (0.0..=1.0).contains(share)), || format!("{shares:?}"))
        }),
        entry(2, &["metrics::roc_auc"], &[], |c| {
            let scores = c.slice::<f32>(6);
            let positive: Vec<bool> = (0..c.length(scores.len())).map(|_| c.flag()).collect();
            let area = roc_auc(&scores, &positive)?;
            ensure((0.0..=1.0).contains(&area), || format!("{area}"))
        }),
        entry(3, &["metrics::rmse", "metrics::mae", "metrics::r2"], &[], |c| {
            let width = c.width();
            let y = c.slice::<f64>(width.saturating_mul(3));
            let targets = c.slice::<f64>(y.len());
            if c.flag() {
                let share = r2(width, &y, &targets)?;
                return ensure(share <= 1.0, || format!("{share}"));
            }
            let distance = if c.flag() { rmse(width, &y, &targets)? } else { mae(width, &y, &targets)? };
            ensure(distance >= 0.0 && distance.is_finite(), || format!("{distance}"))
        }),
    ]
}

fn reduction(c: &mut Case) -> Reduction {
    if c.flag() { Reduction::Mean } else { Reduction::Sum }
}

fn lost<L: Loss<f64> + Loss<f32>>(c: &mut Case, made: Result<L, Error>, legal: bool) -> Verdict {
    ensure(legal || made.is_err(), || "a parameter outside its range is accepted".into())?;
    let loss = made?;
    let _ = format!("{loss:?}");
    if c.flag() { evaluated::<f64, L>(c, &loss) } else { evaluated::<f32, L>(c, &loss) }
}

/// The squares of a row, or of the first outputs of a class.
#[derive(Debug)]
struct Squares {
    classes: bool,
}

impl RowLoss for Squares {
    fn row<T: chainrule::Scalar>(&self, y: &[T], target: Target<'_, T>) -> T {
        let square = |sum: T, d: T| sum + d * d;
        match target {
            Target::Values(t) => y.iter().zip(t).map(|(&y, &t)| y - t).fold(T::zero(), square),
            Target::Classes(classes) => y[..=classes[0]].iter().copied().fold(T::zero(), square),
            _ => T::nan(),
        }
    }
    fn takes_classes(&self) -> bool {
        self.classes
    }
    fn target_width(&self, width: usize) -> usize {
        width
    }
}

/// Weights of values are accepted only where they are numbers and not negative; a value of weight 0 has no gradient.
fn value_weights(c: &mut Case, loss: &dyn Loss<f64>) -> Verdict {
    let (width, rows) = (c.width(), c.few());
    let right = rows.saturating_mul(width);
    let (y, mut dy) = (c.slice::<f64>(right), c.values::<f64>(right, Taste::Hostile));
    let mut targets = c.values::<f64>(right.saturating_mul(2), Taste::Mild);
    for target in &mut targets {
        *target = if c.once_in(20) { c.real() } else { target.abs() };
    }
    let length = if c.once_in(6) { c.length(targets.len()).min(targets.len()) } else { targets.len() };
    let target = Target::Values(&targets[..length]);
    let _ = loss.total_weight(width, target, None);
    loss.evaluate(width, &y, target, None, &mut dy)?;
    for (row, dy) in targets.chunks(2 * width).zip(dy.chunks(width)) {
        for (v, dy) in row[width..].iter().zip(dy) {
            ensure(*v >= 0.0 && v.is_finite(), || format!("a weight of {v} is accepted"))?;
            ensure(*v != 0.0 || *dy == 0.0, || format!("a gradient of {dy} with weight 0"))?;
        }
    }
    Ok(())
}

fn evaluated<T: chainrule::Scalar, L: Loss<T>>(c: &mut Case, loss: &L) -> Verdict {
    let (width, rows) = (c.width(), c.few());
    let right = rows.saturating_mul(width);
    let mild = c.flag();
    let y: Vec<T> = if mild { c.values(right, Taste::Mild) } else { c.slice(right) };
    let n = c.length(y.len());
    let mut dy = c.values::<T>(n, Taste::Hostile);
    let classes: Vec<usize> = (0..c.length(rows)).map(|_| if c.once_in(4) { c.size() } else { c.few() }).collect();
    let values: Vec<T> = c.slice(rows.saturating_mul(loss.target_width(width)));
    let target = if c.flag() { Target::Classes(&classes) } else { Target::Values(&values) };
    let weights = c.once_in(3).then(|| c.slice::<T>(rows));
    let _ = loss.total_weight(width, target, weights.as_deref());
    let value = loss.evaluate(width, &y, target, weights.as_deref(), &mut dy)?;
    let whole = width > 0 && y.len().is_multiple_of(width) && !y.is_empty() && dy.len() == y.len();
    ensure(whole, || format!("{} outputs of width {width}, {} gradients", y.len(), dy.len()))?;
    let small = |values: &[T]| values.iter().all(|x| to_f64(*x).abs() <= 1e6 && x.is_finite());
    let calm = small(&y) && weights.as_deref().is_none_or(|w| small(w) && w.iter().all(|w| *w >= T::zero()));
    let calm = calm && (matches!(target, Target::Classes(_)) || small(&values));
    if let Target::Values(values) = target {
        let read = weights.is_none();
        ensure(!read || values.iter().all(|value| value.is_finite()), || {
            "a target that is not finite is accepted".into()
        })?;
    }
    ensure(!calm || value.is_finite(), || format!("a loss of {value:?}"))?;
    ensure(!calm || dy.iter().all(|dy| dy.is_finite()), || format!("a gradient of {dy:?}"))
}
