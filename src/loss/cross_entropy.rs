//! Cross-entropy losses, computed from logits; softmax and its logarithm.

use super::{
    InBoth, Loss, Reduction, Rows, Sum, Target, check_finite,
    class_weights::{check_weights, class_weight_setters},
    each_value::{EachValue, evaluate},
    in_double, own_evaluate, reduction_setter, require_classes,
};
use crate::{
    error::{Error, require, require_length},
    kernel::elementwise::map,
    math,
    scalar::{Scalar, is_narrow, scalar, to_f64},
};
use alloc::vec::Vec;

/// Cross-entropy of the softmax of logits y and targets t, with class weights w: `−Σ_k w_k t_k log softmax(y)_k`.
///
/// Targets are classes, or probabilities (not negative; they need not sum to 1). With label smoothing ε a class
/// target becomes `(1 − ε) t + ε/K`; the same applies to probabilities (Szegedy et al. 2016, §7). With
/// [`Reduction::Mean`] and class targets the sum is divided by the sum over rows of row weight times class weight of
/// the target, as in PyTorch. The loss is computed from differences to the largest logit. So logits of ±1e4 do not
/// overflow, and a nearly certain prediction keeps its small gradient.
///
/// ```
/// use chainrule::loss::{CrossEntropy, Loss, Target};
/// let (logits, mut gradient) = ([2.0_f64, 0.0, 0.0, 3.0], [0.0; 4]); // 2 rows of 2 classes
/// let loss = CrossEntropy::new().evaluate(2, &logits, Target::Classes(&[0, 0]), None, &mut gradient)?;
/// let of_row = |right: f64, other: f64| (1.0 + (other - right).exp()).ln();
/// assert!((loss - (of_row(2.0, 0.0) + of_row(0.0, 3.0)) / 2.0).abs() < 1e-12);
/// let rare = CrossEntropy::new().class_weights(&[1.0, 10.0])?.label_smoothing(0.1)?;
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CrossEntropy {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    smoothing: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    weights: Vec<f64>,
    ignored: Option<usize>,
    reduction: Reduction,
}

impl CrossEntropy {
    /// Creates the loss, reduced to the mean over rows, without label smoothing, class weights or an ignored class.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the fraction ε of the target that is spread over all classes; the default is 0.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless 0 ≤ ε ≤ 1.
    pub fn label_smoothing(self, epsilon: f64) -> Result<Self, Error> {
        let changed = CrossEntropy { smoothing: epsilon, ..self };
        changed.check_settings().map(|()| changed)
    }

    /// Returns an error if the label smoothing or a class weight is outside its range, like the setters of the loss.
    fn check_settings(&self) -> Result<(), Error> {
        let smoothing = self.smoothing;
        require((0.0..=1.0).contains(&smoothing), "label smoothing", "between 0 and 1", smoothing)?;
        self.classes().check::<f64>()
    }
}

class_weight_setters!(CrossEntropy, ignored);
reduction_setter!(CrossEntropy, "rows");

/// Intermediate values of the softmax of a row of logits y, from differences to the largest logit y_m. The
/// subtraction removes a common offset before `exp` is rounded. The total probability of the other classes is a sum,
/// not 1 minus the largest.
struct Row<T> {
    most: T,
    at: usize,
    /// The sum `Σ_{j≠m} exp(y_j − y_m)` over the logits y_j of the row except the largest, y_m.
    others: T,
}

impl<T: Scalar> Row<T> {
    /// Computes the softmax of a row from its logits `y`, and writes `exp(y_k − y_m)` for each k to `exponentials`,
    /// y_m being the largest logit.
    fn new(y: &[T], exponentials: &mut [T]) -> Self {
        let larger = |best: (usize, T), (k, &y): (usize, &T)| if y > best.1 || y.is_nan() { (k, y) } else { best };
        let (at, most) = y.iter().enumerate().fold((0, T::neg_infinity()), larger);
        map(y, exponentials, |y| math::exp(y - most));
        let mut others = Sum::new();
        exponentials.iter().enumerate().filter(|(k, _)| *k != at).for_each(|(_, &e)| others.add(e));
        Row { most, at, others: others.total() }
    }

    /// Returns `log softmax(y)_k`, the logarithm of the probability of class k, given `y`, the logit y_k.
    fn log(&self, y: T) -> T {
        (y - self.most) - math::ln_1p(self.others)
    }

    /// Returns `softmax(y)_k`, the probability of class k, given `exponential` = `exp(y_k − y_m)`, y_m being the
    /// largest logit.
    fn share(&self, exponential: T) -> T {
        exponential / (T::one() + self.others)
    }

    /// Returns `1 − softmax(y)_k`, the total probability of the classes other than k, given `share` = `softmax(y)_k`.
    fn rest(&self, k: usize, share: T) -> T {
        if k == self.at { self.others / (T::one() + self.others) } else { T::one() - share }
    }
}

impl CrossEntropy {
    /// Implements [`Loss::evaluate`] for any scalar type: overwrites the gradient `dy` in `rows`, and returns the
    /// loss as (rounded to `T`, as an `f64`).
    pub(crate) fn evaluate_generic<T: Scalar>(&self, rows: Rows<'_, T>) -> Result<InBoth<T>, Error> {
        let width = rows.width;
        Loss::<T>::check_width(self, width)?;
        self.classes().check::<T>()?;
        if is_narrow::<T>() {
            return in_double(rows, |rows| self.evaluate_generic(rows));
        }
        let (kept, spread) = (scalar::<T>(1.0 - self.smoothing), scalar::<T>(self.smoothing / width as f64));
        let target = rows.target;
        let counted = match target {
            Target::Classes(classes) => {
                require_length("targets", rows.rows, classes.len())?;
                self.classes().total(&rows, classes)?
            }
            Target::Values(values) => {
                require_length("targets", rows.y.len(), values.len())?;
                rows.total(1)
            }
        };
        let share = counted.share(self.reduction)?;
        rows.evaluate(share, |row, weight, y, dy, mean| {
            if matches!(target, Target::Classes(classes) if self.ignored == Some(classes[row])) {
                dy.fill(T::zero());
                return Ok(());
            }
            if let Target::Values(values) = target {
                let values = &values[row * width..][..width];
                check_finite("targets", row * width, values)?;
                for &value in values {
                    require(value >= T::zero(), "a target probability", "finite and not negative", to_f64(value))?;
                }
            }
            // The target of class k, smoothed and weighted.
            let wanted = |k: usize| {
                let plain = match target {
                    Target::Classes(classes) if classes[row] == k => T::one(),
                    Target::Classes(_) => T::zero(),
                    Target::Values(values) => values[row * width + k],
                };
                self.classes().of::<T>(k) * (kept * plain + spread)
            };
            let logits = Row::new(y, dy);
            let mut all = Sum::new();
            for (k, &y) in y.iter().enumerate() {
                let wanted = wanted(k);
                all.add(wanted);
                // 0 · ∞ counts as 0, not as NaN.
                if !wanted.is_zero() || y.is_nan() {
                    mean.add(weight * wanted, -logits.log(y));
                }
            }
            let all = all.total();
            for (k, dy) in dy.iter_mut().enumerate() {
                let (wanted, p) = (wanted(k), logits.share(*dy));
                // The gradient p_k Σ_j t_j − t_k, rearranged so that p_k near 1 is not subtracted from 1.
                *dy = share.of(weight, (all - wanted) * p - wanted * logits.rest(k, p));
            }
            Ok(())
        })
    }
}

impl<T: Scalar> Loss<T> for CrossEntropy {
    own_evaluate!(CrossEntropy);

    fn check_width(&self, width: usize) -> Result<(), Error> {
        require_classes("CrossEntropy", width)?;
        self.check_settings()?;
        self.classes().check_width(width)
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    /// Returns the divisor of a mean: the sum over rows of row weight times class weight. Rows of the ignored class
    /// have weight 0. For targets that are probabilities, it is the sum of the row weights.
    fn total_weight(&self, width: usize, target: Target<'_, T>, row_weights: Option<&[T]>) -> f64 {
        self.classes().total_weight(width, target, row_weights)
    }
}

/// Cross-entropy of the sigmoid of each logit y with target t: `−p t log σ(y) − (1 − t) log(1 − σ(y))`.
///
/// The positive weight p compensates for rare positives; there is one weight for all outputs, or one for each output.
/// Targets lie between 0 and 1; others, such as the labels −1 and 1, cause an error. The loss is computed through
/// softplus, so logits of ±1e4 do not overflow.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BinaryCrossEntropy {
    #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
    positive: Vec<f64>,
    reduction: Reduction,
}

impl BinaryCrossEntropy {
    /// Creates the loss, reduced to the mean over all values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the weight p of positive targets: one for all outputs, or one for each output. The default is 1.
    ///
    /// # Errors
    /// [`Error::Empty`] without weights; [`Error::Parameter`] for a weight that is negative or not finite.
    pub fn positive_weights(self, weights: &[f64]) -> Result<Self, Error> {
        if weights.is_empty() {
            return Err(Error::Empty { what: "positive weights" });
        }
        check_weights::<f64>("a positive weight", weights)?;
        Ok(BinaryCrossEntropy { positive: weights.to_vec(), ..self })
    }
}

reduction_setter!(BinaryCrossEntropy, "values");

impl<T: Scalar> EachValue<T> for BinaryCrossEntropy {
    const NAME: &'static str = "BinaryCrossEntropy";

    #[inline(always)]
    fn of(&self, column: usize, y: T, t: T) -> (T, T) {
        let positive = self.positive.get(if self.positive.len() > 1 { column } else { 0 });
        let positive = positive.map_or(T::one(), |&weight| scalar(weight)) * t;
        let negative = T::one() - t;
        // −log σ(y) is softplus(−y), and −log(1 − σ(y)) is softplus(y). 0 · ∞ counts as 0, not as NaN.
        let term = |factor: T, z: T| if factor.is_zero() { T::zero() } else { factor * math::softplus(z) };
        let value = if y.is_nan() { y } else { term(positive, -y) + term(negative, y) };
        (value, negative * math::sigmoid(y) - positive * math::sigmoid(-y))
    }

    fn check_target(&self, t: T) -> Result<(), Error> {
        let valid = t >= T::zero() && t <= T::one();
        require(valid, "a target of BinaryCrossEntropy", "between 0 and 1", to_f64(t))
    }

    fn check(&self, width: usize) -> Result<(), Error> {
        if self.positive.len() > 1 {
            require_length("positive weights", width, self.positive.len())?;
        }
        check_weights::<T>("a positive weight", &self.positive)
    }
}

impl BinaryCrossEntropy {
    /// Implements [`Loss::evaluate`] for any scalar type: overwrites the gradient `dy` in `rows`, and returns the
    /// loss as (rounded to `T`, as an `f64`).
    pub(crate) fn evaluate_generic<T: Scalar>(&self, rows: Rows<'_, T>) -> Result<InBoth<T>, Error> {
        evaluate(self, self.reduction, rows)
    }
}

impl<T: Scalar> Loss<T> for BinaryCrossEntropy {
    own_evaluate!(BinaryCrossEntropy);

    fn check_width(&self, width: usize) -> Result<(), Error> {
        EachValue::<T>::check(self, width)
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }
}

/// Writes the softmax probabilities of `logits` y, \[rows, `width`\], to `probabilities`, row by row: `softmax(y)_k =
/// exp(y_k)/Σ_j exp(y_j)`.
///
/// # Errors
/// [`Error::Empty`] for no logits or a `width` of 0; [`Error::Length`] if `logits` do not fill whole rows, or
/// `probabilities` has another length.
pub fn softmax<T: Scalar>(width: usize, logits: &[T], probabilities: &mut [T]) -> Result<(), Error> {
    Rows::new(width, logits, Target::Values(&[]), None, probabilities)?;
    for (y, p) in logits.chunks(width).zip(probabilities.chunks_mut(width)) {
        let row = Row::new(y, p);
        p.iter_mut().for_each(|p| *p = row.share(*p));
    }
    Ok(())
}

/// Writes the logarithms of the softmax probabilities of `logits` y, \[rows, `width`\], to `logs`, row by row: `log
/// softmax(y)_k = y_k − log Σ_j exp(y_j)`.
///
/// # Errors
/// [`Error::Empty`] for no logits or a `width` of 0; [`Error::Length`] if `logits` do not fill whole rows, or `logs`
/// has another length.
pub fn log_softmax<T: Scalar>(width: usize, logits: &[T], logs: &mut [T]) -> Result<(), Error> {
    Rows::new(width, logits, Target::Values(&[]), None, logs)?;
    for (y, log) in logits.chunks(width).zip(logs.chunks_mut(width)) {
        let row = Row::new(y, log);
        log.iter_mut().zip(y).for_each(|(log, &y)| *log = row.log(y));
    }
    Ok(())
}
