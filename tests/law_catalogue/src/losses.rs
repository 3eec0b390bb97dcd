//! Losses: formulas of a row in a frame that masks, weighs and reduces, and mistakes in either.

use crate::{Entry, Verdict};
use chainrule::{
    Error, Scalar,
    loss::{Loss, Reduction, Target},
    scalar,
    testing::{Law, Losses, loss_laws},
    to_f64,
};
use std::sync::atomic::{AtomicU64, Ordering};

/// The loss of a row, and its gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    // Right ones, of values.
    Squared,
    SquaredByColumn,
    SquaredSum,
    LogCosh,
    Charbonnier,
    Cauchy,
    Welsch,
    Tukey,
    Cubic,
    Power,
    Pinball,
    Expectile,
    EpsilonInsensitive,
    Wing,
    Poisson,
    GaussianNll,
    SoftMargin,
    SquaredHinge,
    Exponential,
    Cosine,
    KullbackLeibler,
    Logistic,
    Brier,
    Huge,
    Tiny,
    Ranking,
    // Right ones, of classes.
    SmoothedEntropy,
    Focal,
    MultiMargin,
    GeneralizedEntropy,
    // Wrong ones.
    TargetWithoutSign,
    NoTargetNoGradient,
    GradientClamped,
    GradientClampedAtHundred,
    OutputsOfHundredsHalved,
    DifferenceQuotient,
    ThroughDoubleBeyondTwo,
    NothingPredictedNothingLearned,
    FromEighthColumnHalf,
    FromSixteenthColumnHalf,
    LastOfThirtyThree,
    EvenWidthsDoubled,
    LinearTailSlopeOne,
    TargetCapped,
    NegativeTargetsFlipped,
    ValueNotANumberSwallowed,
    ZeroTargetLeavesGradient,
    ZeroTargetsDivide,
    RootOfZero,
    RelativeToOutput,
    EntropyClipped,
    EntropyClassEight,
    EntropyClassSixteen,
    EntropySmoothedForThree,
    EntropyFirstClassOfMany,
    EntropyGradientFlushed,
    EntropyOfNextClass,
    EntropyStabilized,
    EntropyWithoutSoftmax,
    HuberOfTwoWidths,
    HingeWithoutMargin,
    LogisticClipped,
    LogisticTwoSided,
    PoissonClamped,
    DependsOnCalls,
}

/// What is wrong with the frame.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Frame {
    Right,
    Sum,
    Halved,
    EmptyAccepted,
    WidthZeroPanics,
    NotANumberTargetAccepted,
    InfiniteTargetAccepted,
    NotANumberWeightAccepted,
    InfiniteWeightAccepted,
    NoWeightAccepted,
    OtherKindAccepted,
    OtherKindPanics,
    WeightsCapped,
    SmallWeightsMasked,
    ManyRowsSummed,
    NinthRowUnweighed,
    TotalIgnoresWeights,
    TotalCountsMasked,
    SumSaysMean,
    NotANumberOutputRefused,
    NotANumberRowSkipped,
    MaskedTargetChecked,
    SingleOnly,
    DoubleOnly,
    GradientPerRow,
    GradientUnweighted,
    WeightsSquaredInGradient,
    GradientAdded,
    GradientOfLastRowOnly,
    FirstClassForAll,
    SingleValueDoubled,
    SingleValueUnweighted,
    DoubleValueShifted,
}

#[derive(Clone, Copy, Debug)]
struct Built {
    form: Form,
    frame: Frame,
    classes: bool,
    minimum: bool,
}

static CALLS: AtomicU64 = AtomicU64::new(0);

fn softmax<T: Scalar>(y: &[T], clip: Option<f64>) -> (Vec<T>, Vec<T>) {
    let most = y.iter().fold(y[0], |most, &y| most.max(y));
    let sum = y.iter().fold(T::zero(), |sum, &y| sum + (y - most).exp());
    let logs: Vec<T> = y.iter().map(|&y| y - most - sum.ln()).collect();
    let shares = logs.iter().map(|log| log.exp()).collect();
    let logs = logs.into_iter().map(|log| clip.map_or(log, |clip| log.max(scalar(clip)))).collect();
    (logs, shares)
}

/// log(1 + exp z), σ(z).
fn softplus<T: Scalar>(z: T) -> (T, T) {
    let tail = (-z.abs()).exp();
    let value = z.max(T::zero()) + tail.ln_1p();
    let share = if z > T::zero() { (T::one() + tail).recip() } else { tail / (T::one() + tail) };
    (value, share)
}

/// A loss that is a sum over columns: value and slope of one.
fn column<T: Scalar>(form: Form, i: usize, width: usize, y: T, t: T) -> (T, T) {
    use Form::*;
    let number = |x: f64| scalar::<T>(x);
    let (zero, one, two) = (T::zero(), T::one(), number(2.0));
    let d = y - t;
    let sign = if d > zero {
        one
    } else if d < zero {
        -one
    } else {
        zero
    };
    let squared = (d * d, two * d);
    match form {
        SquaredByColumn => (d * d * number(1.0 + i as f64), two * d * number(1.0 + i as f64)),
        LogCosh => {
            let (value, share) = softplus(-(two * d.abs()));
            (d.abs() + value - number(core::f64::consts::LN_2), sign * (one - two * share))
        }
        Charbonnier => {
            let root = (d * d + number(1e-6)).sqrt();
            (root, d / root)
        }
        Cauchy => ((d * d).ln_1p(), two * d / (one + d * d)),
        Welsch => {
            let e = (-(d * d) / two).exp();
            (one - e, d * e)
        }
        Tukey => {
            let c = number(2.0);
            let rest = one - (d / c) * (d / c);
            if d.abs() > c {
                (c * c / number(6.0), zero)
            } else {
                (c * c / number(6.0) * (one - rest * rest * rest), d * rest * rest)
            }
        }
        Cubic => (d.abs() * d * d, number(3.0) * d * d.abs()),
        Power => (d.abs().powf(number(1.5)), number(1.5) * sign * d.abs().sqrt()),
        Pinball => {
            if d > zero {
                (number(0.1) * d, number(0.1))
            } else {
                (number(-0.9) * d, if d < zero { number(-0.9) } else { zero })
            }
        }
        Expectile => {
            let a = number(if d > zero { 0.2 } else { 0.8 });
            (a * d * d, two * a * d)
        }
        EpsilonInsensitive => {
            let excess = d.abs() - number(0.25);
            if excess > zero {
                (excess, sign)
            } else if excess.is_nan() {
                (excess, excess)
            } else {
                (zero, zero)
            }
        }
        Wing => {
            let (w, e) = (number(2.0), number(0.5));
            let c = w - w * (one + w / e).ln();
            if d.abs() < w { (w * (d.abs() / e).ln_1p(), sign * w / (e + d.abs())) } else { (d.abs() - c, sign) }
        }
        Poisson => {
            let e = y.exp();
            (e - t * y, e - t)
        }
        SoftMargin => {
            let (value, share) = softplus(-t * y);
            (value, -t * share)
        }
        SquaredHinge => {
            let short = one - t * y;
            if short > zero || short.is_nan() { (short * short, -(two * t * short)) } else { (zero, zero) }
        }
        Exponential => {
            let e = (-t * y).exp();
            (e, if t.is_zero() { zero } else { -t * e })
        }
        Logistic => {
            let (value, share) = softplus(y);
            (value - t * y, share - t)
        }
        Huge => (number(1e6) * d * d, number(2e6) * d),
        Tiny => (number(1e-9) * d * d, number(2e-9) * d),
        // Mistakes.
        TargetWithoutSign => (d * d, two * (y - t.abs())),
        NoTargetNoGradient => (d * d, if t.is_zero() { zero } else { two * d }),
        GradientClamped => (d * d, (two * d).max(number(-10.0)).min(number(10.0))),
        OutputsOfHundredsHalved => {
            let within = y.abs() > number(150.0) && y.abs() < number(1000.0);
            (d * d, if within { d } else { two * d })
        }
        DifferenceQuotient => {
            let (h, single) = (number(1e-7), to_f64(T::epsilon()) > 1e-10);
            (d * d, if single { two * d } else { ((d + h) * (d + h) - d * d) / h })
        }
        ThroughDoubleBeyondTwo if d.abs() > two => (number(to_f64(d * d)), two * d),
        ThroughDoubleBeyondTwo => (d * d, two * d),
        GradientClampedAtHundred => (d * d, (two * d).max(number(-100.0)).min(number(100.0))),
        NothingPredictedNothingLearned => (d * d, if y.is_zero() { zero } else { two * d }),
        FromEighthColumnHalf => (d * d, if i >= 8 { d } else { two * d }),
        FromSixteenthColumnHalf => (d * d, if i >= 16 { d } else { two * d }),
        LastOfThirtyThree => (d * d, if i >= 32 { zero } else { two * d }),
        EvenWidthsDoubled => (d * d, if width > 2 && width.is_multiple_of(2) { two * two * d } else { two * d }),
        LinearTailSlopeOne => {
            if d.abs() > number(5.0) {
                (number(10.0) * d.abs() - number(25.0), sign)
            } else {
                squared
            }
        }
        HuberOfTwoWidths => {
            if d.abs() < one {
                (d * d / two, d)
            } else {
                // Clamped at another width than the value's.
                (d.abs() - number(0.5), d.max(number(-1.5)).min(number(1.5)))
            }
        }
        HingeWithoutMargin => {
            let short = one - t * y;
            (short.max(zero) + (y - y), if t * y < zero { -t } else { zero })
        }
        TargetCapped => {
            let capped = t.min(number(100.0));
            (d * d, two * (y - capped))
        }
        NegativeTargetsFlipped => (d * d, if t < zero { -(two * d) } else { two * d }),
        ValueNotANumberSwallowed => (d.abs().max(zero) * d.abs().max(zero), if d.is_nan() { zero } else { two * d }),
        RootOfZero => {
            let root = (d * d).sqrt();
            (root, d / root)
        }
        RelativeToOutput => {
            let r = d / y;
            (r * r, two * r * t / (y * y))
        }
        LogisticClipped => {
            let (value, share) = softplus(y.max(number(-8.0)).min(number(8.0)));
            (value - t * y, share - t)
        }
        LogisticTwoSided => {
            let (value, share) = softplus(y);
            (value - t * y, share - t.max(zero).min(one))
        }
        PoissonClamped => {
            let e = y.min(number(20.0)).exp();
            (e - t * y, e - t)
        }
        _ => squared,
    }
}

/// Value of a row; `dy` is written.
fn row<T: Scalar>(form: Form, y: &[T], t: &[T], class: usize, dy: &mut [T]) -> T {
    use Form::*;
    let number = |x: f64| scalar::<T>(x);
    let (zero, one, two) = (T::zero(), T::one(), number(2.0));
    let n = y.len();
    match form {
        SquaredSum => {
            let d = y.iter().zip(t).fold(zero, |sum, (&y, &t)| sum + y - t);
            dy.fill(two * d);
            d * d
        }
        GaussianNll => {
            // Mean and logarithm of the variance, in pairs; an odd one is a plain square.
            let mut sum = zero;
            for i in (0..n).step_by(2) {
                if i + 1 == n {
                    let d = y[i] - t[i];
                    dy[i] = d;
                    sum += d * d / two;
                    break;
                }
                let (d, s) = (y[i] - t[i], y[i + 1]);
                let e = (-s).exp();
                dy[i] = d * e;
                dy[i + 1] = (one - d * d * e) / two;
                sum += (s + d * d * e) / two;
            }
            sum
        }
        Cosine => {
            let floor = number(1e-8);
            let dot = y.iter().zip(t).fold(zero, |sum, (&y, &t)| sum + y * t);
            let [ny, nt] = [y, t].map(|v| v.iter().fold(zero, |sum, &v| sum + v * v).sqrt());
            let nt = nt.max(floor);
            let scale = ny.max(floor);
            for i in 0..n {
                let radial = if ny > floor { dot * y[i] / (scale * scale) } else { zero };
                dy[i] = -((t[i] - radial) / (scale * nt));
            }
            one - dot / (scale * nt)
        }
        KullbackLeibler => {
            let (logs, shares) = softmax(y, None);
            let total = t.iter().fold(zero, |sum, &t| sum + t);
            let mut sum = zero;
            for i in 0..n {
                dy[i] = total * shares[i] - t[i];
                if t[i] > zero {
                    sum += t[i] * (t[i].ln() - logs[i]);
                }
            }
            if total.is_zero() && y.iter().any(|y| y.is_nan()) { T::nan() } else { sum }
        }
        Brier => {
            let (_, p) = softmax(y, None);
            let each: Vec<T> = p.iter().zip(t).map(|(&p, &t)| two * (p - t)).collect();
            let mean = each.iter().zip(&p).fold(zero, |sum, (&d, &p)| sum + d * p);
            for i in 0..n {
                dy[i] = p[i] * (each[i] - mean);
            }
            p.iter().zip(t).fold(zero, |sum, (&p, &t)| sum + (p - t) * (p - t))
        }
        Ranking => {
            // log(1 + exp(y_j − y_i)) for each pair with t_i > t_j.
            dy.fill(zero);
            let mut sum = y.iter().fold(zero, |sum, &y| sum + y * zero);
            for i in 0..n {
                for j in 0..n {
                    if t[i] > t[j] {
                        let (value, share) = softplus(y[j] - y[i]);
                        sum += value;
                        dy[j] += share;
                        dy[i] = dy[i] - share;
                    }
                }
            }
            sum
        }
        SmoothedEntropy
        | EntropyClipped
        | EntropyClassEight
        | EntropyClassSixteen
        | EntropySmoothedForThree
        | EntropyFirstClassOfMany
        | EntropyOfNextClass
        | EntropyStabilized
        | EntropyWithoutSoftmax
        | EntropyGradientFlushed => {
            let (logs, shares) = softmax(y, (form == EntropyClipped).then_some(-16.0));
            let smooth = number(0.1);
            let classes = if form == EntropySmoothedForThree { 3.0 } else { n as f64 };
            let mut sum = zero;
            for i in 0..n {
                let hot = if i == class { one } else { zero };
                let wanted = hot * (one - smooth) + smooth / number(n as f64);
                sum = sum - wanted * if form == EntropyStabilized { (shares[i] + number(1e-6)).ln() } else { logs[i] };
                let wanted = hot * (one - smooth) + smooth / number(classes);
                let wanted = match form {
                    EntropyClassEight if class >= 8 => hot,
                    EntropyClassSixteen if class >= 16 => hot,
                    EntropyOfNextClass => {
                        let hot = if i == (class + 1) % n { one } else { zero };
                        hot * (one - smooth) + smooth / number(n as f64)
                    }
                    EntropyFirstClassOfMany if class == 0 && n > 6 => hot,
                    _ => wanted,
                };
                dy[i] = shares[i] - wanted;
                if form == EntropyWithoutSoftmax {
                    dy[i] = y[i] - wanted;
                }
                if form == EntropyGradientFlushed && shares[i] < number(1e-4) {
                    dy[i] = -wanted;
                }
            }
            sum
        }
        Focal => {
            // −(1 − p)² log p
            let (logs, p) = softmax(y, None);
            let (log, p_class) = (logs[class], p[class]);
            let rest = (0..n).filter(|&i| i != class).fold(zero, |sum, i| sum + p[i]);
            let slope = two * rest * p_class * log - rest * rest;
            for i in 0..n {
                let toward = if i == class { rest } else { -p[i] };
                dy[i] = slope * toward;
            }
            -(rest * rest * log)
        }
        MultiMargin => {
            dy.fill(zero);
            let mut sum = y.iter().fold(zero, |sum, &y| sum + y * zero);
            for i in (0..n).filter(|&i| i != class) {
                let excess = one + y[i] - y[class];
                if excess > zero {
                    sum += excess;
                    dy[i] = one;
                    dy[class] = dy[class] - one;
                }
            }
            sum
        }
        GeneralizedEntropy => {
            // (1 − p^q)/q, q = 0.7
            let q = number(0.7);
            let (_, p) = softmax(y, None);
            let power = p[class].powf(q);
            for i in 0..n {
                let toward = if i == class { one - p[class] } else { -p[i] };
                dy[i] = -(power * toward);
            }
            (one - power) / q
        }
        ZeroTargetsDivide => {
            let size = t.iter().fold(zero, |sum, &t| sum + t.abs());
            let mut sum = zero;
            for i in 0..n {
                let d = y[i] - t[i];
                dy[i] = two * d / size;
                sum += d * d / size;
            }
            sum
        }
        _ => {
            let mut sum = zero;
            for i in 0..n {
                let (value, slope) = column(form, i, n, y[i], t[i]);
                sum += value;
                if !(form == ZeroTargetLeavesGradient && t[i].is_zero()) {
                    dy[i] = slope;
                }
            }
            if form == DependsOnCalls {
                sum += number(1e-9 * CALLS.fetch_add(1, Ordering::Relaxed) as f64);
            }
            sum
        }
    }
}

impl<T: Scalar> Loss<T> for Built {
    fn evaluate(
        &self,
        width: usize,
        y: &[T],
        target: Target<'_, T>,
        row_weights: Option<&[T]>,
        dy: &mut [T],
    ) -> Result<T, Error> {
        let frame = self.frame;
        if width == 0 && frame != Frame::WidthZeroPanics || (y.is_empty() && frame != Frame::EmptyAccepted) {
            return Err(Error::Empty { what: "the output" });
        }
        let rows = y.len() / width;
        let length = |what, expected, found| {
            if expected == found { Ok(()) } else { Err(Error::Length { what, expected, found }) }
        };
        length("output", rows * width, y.len())?;
        length("gradient", y.len(), dy.len())?;
        let refused = Err(Error::TargetKind { loss: "Built", expected: "another kind", found: "this kind" });
        let zeros = [0].repeat(rows);
        let (values, classes): (&[T], &[usize]) = match target {
            Target::Values(values) if !self.classes => (values, &zeros),
            Target::Classes(classes) if self.classes => (y, classes),
            _ if frame == Frame::OtherKindAccepted => (y, &zeros),
            Target::Values(values) if frame == Frame::OtherKindPanics => (values, &[]),
            Target::Classes(classes) if frame == Frame::OtherKindPanics => (&[], classes),
            _ => return refused,
        };
        if frame != Frame::OtherKindPanics {
            length("targets", y.len(), values.len())?;
            length("classes", rows, classes.len())?;
        }
        if let Some(weights) = row_weights {
            length("row weights", rows, weights.len())?;
            for (index, weight) in weights.iter().enumerate() {
                let accepted = weight.is_finite()
                    || (weight.is_nan() && frame == Frame::NotANumberWeightAccepted)
                    || (weight.is_infinite() && frame == Frame::InfiniteWeightAccepted);
                if !accepted {
                    return Err(Error::NonFinite { what: "row weights", index, found: to_f64(*weight) });
                }
            }
        }
        let weight = |row: usize| {
            let weight = row_weights.map_or(T::one(), |weights| weights[row]);
            match frame {
                Frame::WeightsCapped => weight.min(scalar(5.0)),
                Frame::SmallWeightsMasked if weight < scalar(0.01) => T::zero(),
                Frame::NinthRowUnweighed if row == 8 => T::one(),
                _ => weight,
            }
        };
        let total = (0..rows).fold(T::zero(), |sum, row| sum + weight(row));
        let mean = !matches!(frame, Frame::Sum | Frame::SumSaysMean | Frame::NotANumberWeightAccepted)
            && !(frame == Frame::ManyRowsSummed && rows > 16);
        let empty = rows == 0 && frame == Frame::EmptyAccepted;
        if mean && !(total > T::zero()) && frame != Frame::NoWeightAccepted && !empty {
            let found = to_f64(total);
            return Err(Error::Parameter { what: "the sum of the row weights", expected: "positive", found });
        }
        let mut sum = T::zero();
        for r in 0..rows {
            let weight = weight(r);
            let range = r * width..(r + 1) * width;
            let (y, t, dy) = (&y[range.clone()], &values[range.clone()], &mut dy[range.clone()]);
            if weight.is_zero() && !(frame == Frame::MaskedTargetChecked && t.iter().any(|t| t.is_nan())) {
                dy.fill(T::zero());
                continue;
            }
            let bad = t.iter().position(|t| {
                !(t.is_finite()
                    || (t.is_nan() && frame == Frame::NotANumberTargetAccepted)
                    || (t.is_infinite() && frame == Frame::InfiniteTargetAccepted))
            });
            if let (Some(i), false) = (bad, self.classes) {
                return Err(Error::NonFinite { what: "targets", index: range.start + i, found: to_f64(t[i]) });
            }
            if self.classes && classes[r] >= width {
                return Err(Error::ClassOutOfRange { row: r, label: classes[r], classes: width });
            }
            if matches!(self.form, Form::KullbackLeibler) && t.iter().any(|&t| t < T::zero()) {
                return Err(Error::Parameter { what: "a share", expected: "not negative", found: -1.0 });
            }
            if y.iter().any(|y| y.is_nan()) {
                match frame {
                    Frame::NotANumberOutputRefused => return Err(Error::Empty { what: "numbers" }),
                    Frame::NotANumberRowSkipped => {
                        dy.fill(T::zero());
                        continue;
                    }
                    _ => {}
                }
            }
            let mut share = if mean { weight / total } else { weight };
            if frame == Frame::Halved {
                share = share * scalar(0.5);
            }
            let class = if frame == Frame::FirstClassForAll { classes[0] } else { classes[r] };
            let before = dy.to_vec();
            sum += share * row(self.form, y, t, class, dy);
            let wrong_here = match frame {
                Frame::SingleOnly => T::epsilon() > scalar(1e-10),
                Frame::DoubleOnly => T::epsilon() < scalar(1e-10),
                _ => false,
            };
            let slope = match frame {
                _ if wrong_here => share * scalar(1.01),
                // The value is a mean over weights, the gradient one over rows.
                Frame::GradientPerRow => weight / scalar(rows as f64),
                Frame::GradientUnweighted => T::one() / total,
                Frame::WeightsSquaredInGradient => share * weight,
                Frame::GradientOfLastRowOnly if r + 1 < rows => T::zero(),
                _ => share,
            };
            dy.iter_mut().for_each(|dy| *dy *= slope);
            if frame == Frame::GradientAdded {
                dy.iter_mut().zip(before).for_each(|(dy, before)| *dy += before);
            }
        }
        let (single, double) = (T::epsilon() > scalar(1e-10), size_of::<T>() == size_of::<f64>());
        Ok(match frame {
            Frame::SingleValueDoubled if single => sum * scalar(2.0),
            Frame::SingleValueUnweighted if single => sum * total / scalar(rows as f64),
            Frame::DoubleValueShifted if double => sum * scalar(1.0001),
            _ => sum,
        })
    }

    fn reduction(&self) -> Reduction {
        if matches!(self.frame, Frame::Sum | Frame::NotANumberWeightAccepted) {
            Reduction::Sum
        } else {
            Reduction::Mean
        }
    }

    fn minimum_at_target(&self) -> bool {
        self.minimum
    }

    fn total_weight(&self, width: usize, target: Target<'_, T>, row_weights: Option<&[T]>) -> f64 {
        let rows = match target {
            Target::Classes(classes) => classes.len(),
            Target::Values(values) => values.len() / width.max(1),
            _ => 0,
        };
        let ones = [T::one()].repeat(rows);
        let weights = row_weights.filter(|_| self.frame != Frame::TotalIgnoresWeights).unwrap_or(&ones);
        let counted = |weight: T| if self.frame == Frame::TotalCountsMasked { weight.max(T::one()) } else { weight };
        weights.iter().map(|&weight| to_f64(counted(weight))).sum()
    }
}

fn judge(built: Built) -> impl Fn(u64) -> Verdict {
    move |seed| loss_laws(Losses { single: &built, double: &built, dual: &built }, seed)
}

pub fn entries() -> Vec<Entry> {
    let values = |form, frame, minimum| Built { form, frame, classes: false, minimum };
    let classes = |form, frame| Built { form, frame, classes: true, minimum: false };
    let mut all = Vec::new();
    {
        use Form::*;
        for form in
            [Squared, SquaredByColumn, LogCosh, Charbonnier, Cauchy, Welsch, Tukey, Cubic, Power, Wing, Huge, Tiny]
        {
            all.push(Entry::right(format!("loss/{form:?}"), judge(values(form, Frame::Right, true))));
        }
        for form in [SquaredSum, Pinball, Expectile, EpsilonInsensitive, Poisson, GaussianNll, SoftMargin, SquaredHinge]
        {
            all.push(Entry::right(format!("loss/{form:?}"), judge(values(form, Frame::Right, false))));
        }
        for form in [Exponential, Cosine, KullbackLeibler, Logistic, Brier, Ranking] {
            all.push(Entry::right(format!("loss/{form:?}"), judge(values(form, Frame::Sum, false))));
        }
        for form in [SmoothedEntropy, Focal, MultiMargin, GeneralizedEntropy] {
            all.push(Entry::right(format!("loss/{form:?}"), judge(classes(form, Frame::Right))));
            all.push(Entry::right(format!("loss/{form:?}_summed"), judge(classes(form, Frame::Sum))));
        }
        let halved = values(Squared, Frame::Halved, true);
        all.push(Entry::right("loss/half_squared", judge(halved)));
        for (form, law) in [
            (TargetWithoutSign, Law::Derivative),
            (NoTargetNoGradient, Law::Derivative),
            (GradientClamped, Law::Derivative),
            (GradientClampedAtHundred, Law::Derivative),
            (OutputsOfHundredsHalved, Law::Derivative),
            (DifferenceQuotient, Law::Derivative),
            (ThroughDoubleBeyondTwo, Law::Derivative),
            (NothingPredictedNothingLearned, Law::Derivative),
            (FromEighthColumnHalf, Law::Derivative),
            (FromSixteenthColumnHalf, Law::Derivative),
            (LastOfThirtyThree, Law::Derivative),
            (EvenWidthsDoubled, Law::Derivative),
            (LinearTailSlopeOne, Law::Derivative),
            (TargetCapped, Law::Derivative),
            (HuberOfTwoWidths, Law::Derivative),
            (HingeWithoutMargin, Law::Derivative),
            (NegativeTargetsFlipped, Law::Derivative),
            (ValueNotANumberSwallowed, Law::NotANumber),
            (ZeroTargetLeavesGradient, Law::Overwrites),
            (ZeroTargetsDivide, Law::Extremes),
            (RootOfZero, Law::Extremes),
            (RelativeToOutput, Law::Extremes),
            (LogisticClipped, Law::Derivative),
            (LogisticTwoSided, Law::Derivative),
            (PoissonClamped, Law::Derivative),
            (DependsOnCalls, Law::Repeatable),
        ] {
            all.push(Entry::wrong(format!("loss/{form:?}"), law, judge(values(form, Frame::Right, false))));
        }
        for form in [
            EntropyClipped,
            EntropyClassEight,
            EntropyClassSixteen,
            EntropySmoothedForThree,
            EntropyFirstClassOfMany,
            EntropyGradientFlushed,
            EntropyOfNextClass,
            EntropyStabilized,
            EntropyWithoutSoftmax,
        ] {
            all.push(Entry::wrong(format!("loss/{form:?}"), Law::Derivative, judge(classes(form, Frame::Right))));
        }
    }
    {
        use Frame::*;
        for (frame, law) in [
            (EmptyAccepted, Law::Refuses),
            (WidthZeroPanics, Law::Refuses),
            (NotANumberTargetAccepted, Law::Refuses),
            (InfiniteTargetAccepted, Law::Refuses),
            (NotANumberWeightAccepted, Law::Refuses),
            (InfiniteWeightAccepted, Law::Refuses),
            (NoWeightAccepted, Law::Refuses),
            (OtherKindAccepted, Law::Refuses),
            (OtherKindPanics, Law::NoPanic),
            (WeightsCapped, Law::Reduction),
            (SmallWeightsMasked, Law::Reduction),
            (ManyRowsSummed, Law::Reduction),
            (NinthRowUnweighed, Law::Reduction),
            (TotalIgnoresWeights, Law::Reduction),
            (TotalCountsMasked, Law::Reduction),
            (SumSaysMean, Law::Reduction),
            (NotANumberOutputRefused, Law::NotANumber),
            (NotANumberRowSkipped, Law::NotANumber),
            (MaskedTargetChecked, Law::Masked),
            (SingleOnly, Law::Derivative),
            (DoubleOnly, Law::Derivative),
            (GradientPerRow, Law::Derivative),
            (GradientUnweighted, Law::Derivative),
            (WeightsSquaredInGradient, Law::Derivative),
            (GradientAdded, Law::Overwrites),
            (GradientOfLastRowOnly, Law::Derivative),
        ] {
            all.push(Entry::wrong(format!("loss/{frame:?}"), law, judge(values(Form::Squared, frame, true))));
        }
        for (frame, law) in [
            (SingleValueDoubled, Law::Precision),
            (SingleValueUnweighted, Law::Precision),
            (DoubleValueShifted, Law::GenericBody),
        ] {
            all.push(Entry::wrong(format!("loss/{frame:?}"), law, judge(values(Form::Squared, frame, true))));
        }
        let first = classes(Form::Focal, FirstClassForAll);
        all.push(Entry::wrong("loss/FirstClassForAll", Law::Reduction, judge(first)));
    }
    all
}
