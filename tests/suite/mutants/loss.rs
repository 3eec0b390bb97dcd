//! Wrong losses: copies of the squared error and of cross-entropy, with one mistake each.

use super::{all_caught, caught};
use chainrule::{
    Error, Scalar,
    loss::{Loss, Reduction, Target},
    scalar,
    testing::{Law, Losses, loss_laws},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Sign,
    FactorTwoMissing,
    GradientPerRowValuePerElement,
    Added,
    MaskIgnored,
    MaskedRowMultipliedByZero,
    MaskLeavesGradient,
    WeightsSquaredInTheMean,
    WeightsForgottenInGradient,
    MeanOverRowsCounted,
    MinimumElsewhere,
    GradientAtTarget,
    LengthsNotChecked,
    WrongWeightsPanic,
    SoftmaxOverflows,
    SmoothingLeftOutOfGradient,
    SoftmaxOfTheRowBefore,
    LabelNotChecked,
}

/// Squared error of values, cross-entropy of classes; the weighted mean.
#[derive(Clone, Copy, Debug)]
struct Wrong(Fault);

impl Wrong {
    fn is(&self, fault: Fault) -> bool {
        self.0 == fault
    }
}

impl<T: Scalar> Loss<T> for Wrong {
    fn evaluate(
        &self,
        width: usize,
        y: &[T],
        target: Target<'_, T>,
        row_weights: Option<&[T]>,
        dy: &mut [T],
    ) -> Result<T, Error> {
        if width == 0 || y.is_empty() {
            return Err(Error::Empty { what: "the output" });
        }
        let rows = y.len() / width;
        let targets = match target {
            Target::Classes(classes) => classes.len() * width,
            Target::Values(values) => values.len(),
            _ => return Err(Error::TargetKind { loss: "Wrong", expected: "values", found: "others" }),
        };
        let weights = row_weights.map_or(rows, <[T]>::len);
        let fits = rows * width == y.len() && targets == y.len() && dy.len() == y.len();
        if !self.is(Fault::LengthsNotChecked) && (!fits || (weights != rows && !self.is(Fault::WrongWeightsPanic))) {
            return Err(Error::Length { what: "rows", expected: rows, found: weights });
        }
        let weight = |row: usize| row_weights.map_or(T::one(), |weights| weights[row]);
        let total = (0..rows).fold(T::zero(), |sum, row| sum + weight(row));
        let strange = |values: &[T]| values.iter().position(|value| !value.is_finite());
        if let Some(index) = row_weights.and_then(strange) {
            return Err(Error::NonFinite { what: "row weights", index, found: f64::NAN });
        }
        if total <= T::zero() {
            return Err(Error::Parameter { what: "the sum of the weights", expected: "positive", found: 0.0 });
        }
        let (two, smooth) = (scalar::<T>(2.0), scalar::<T>(0.1));
        let mut sum = T::zero();
        for row in 0..rows {
            let weight = weight(row);
            let (y, dy) = (&y[row * width..][..width], &mut dy[row * width..][..width]);
            if weight.is_zero() && !self.is(Fault::MaskIgnored) && !self.is(Fault::MaskedRowMultipliedByZero) {
                if !self.is(Fault::MaskLeavesGradient) {
                    dy.fill(T::zero());
                }
                continue;
            }
            let weight = if self.is(Fault::MaskIgnored) { T::one() } else { weight };
            let share = match self.0 {
                Fault::WeightsSquaredInTheMean => weight * weight / total,
                Fault::MeanOverRowsCounted => weight / scalar(rows as f64 + 1.0),
                _ => weight / total,
            };
            let slope_share = match self.0 {
                Fault::WeightsForgottenInGradient => total.recip(),
                Fault::GradientPerRowValuePerElement => share * scalar(width as f64),
                _ => share,
            };
            let each = scalar::<T>(width as f64).recip();
            match target {
                Target::Values(values) => {
                    if let Some(index) = strange(&values[row * width..][..width]) {
                        return Err(Error::NonFinite { what: "targets", index, found: f64::NAN });
                    }
                    for (i, (&y, dy)) in y.iter().zip(dy).enumerate() {
                        let d = y - values[row * width + i];
                        let moved = if self.is(Fault::MinimumElsewhere) { d - smooth } else { d };
                        sum += share * each * moved * moved;
                        let slope = match self.0 {
                            Fault::Sign => -(two * moved),
                            Fault::FactorTwoMissing => moved,
                            Fault::GradientAtTarget if d.is_zero() => T::one(),
                            _ => two * moved,
                        };
                        let slope = slope_share * each * slope;
                        *dy = if self.is(Fault::Added) { *dy + slope } else { slope };
                    }
                }
                Target::Classes(classes) => {
                    let class = classes[row];
                    if class >= width && !self.is(Fault::LabelNotChecked) {
                        return Err(Error::ClassOutOfRange { row, label: class, classes: width });
                    }
                    let class = class.min(width - 1);
                    let overflows = self.is(Fault::SoftmaxOverflows);
                    let most = if overflows { T::zero() } else { y.iter().fold(y[0], |most, &y| most.max(y)) };
                    let norm = y.iter().fold(T::zero(), |sum, &y| sum + (y - most).exp());
                    for (i, (&y, dy)) in y.iter().zip(dy).enumerate() {
                        let hot = if i == class { T::one() } else { T::zero() };
                        let wanted = hot * (T::one() - smooth) + smooth * each;
                        sum += share * wanted * (norm.ln() - (y - most));
                        let wanted = if self.is(Fault::SmoothingLeftOutOfGradient) { hot } else { wanted };
                        let shifted = self.is(Fault::SoftmaxOfTheRowBefore) && row > 0;
                        let norm = if shifted { norm + norm } else { norm };
                        *dy = slope_share * ((y - most).exp() / norm - wanted);
                    }
                }
                _ => {}
            }
        }
        Ok(sum)
    }

    fn reduction(&self) -> Reduction {
        Reduction::Mean
    }

    fn minimum_at_target(&self) -> bool {
        true
    }
}

#[test]
fn mutants_of_losses() {
    let verdict = |loss: &Wrong| loss_laws(Losses { single: loss, double: loss, dual: loss }, 0);
    verdict(&Wrong(Fault::None)).expect("without a mistake there is nothing to accuse");
    let all = [
        (Fault::Sign, Law::Derivative),
        (Fault::FactorTwoMissing, Law::Derivative),
        (Fault::GradientPerRowValuePerElement, Law::Derivative),
        (Fault::Added, Law::Overwrites),
        (Fault::MaskIgnored, Law::Reduction),
        (Fault::MaskedRowMultipliedByZero, Law::Masked),
        (Fault::MaskLeavesGradient, Law::Masked),
        (Fault::WeightsSquaredInTheMean, Law::Reduction),
        (Fault::WeightsForgottenInGradient, Law::Derivative),
        (Fault::MeanOverRowsCounted, Law::Reduction),
        (Fault::MinimumElsewhere, Law::Minimum),
        (Fault::GradientAtTarget, Law::Minimum),
        (Fault::LengthsNotChecked, Law::Refuses),
        (Fault::WrongWeightsPanic, Law::Refuses),
        (Fault::SoftmaxOverflows, Law::Extremes),
        (Fault::SmoothingLeftOutOfGradient, Law::Derivative),
        (Fault::SoftmaxOfTheRowBefore, Law::Derivative),
        (Fault::LabelNotChecked, Law::Refuses),
    ];
    all_caught("losses", all.map(|(fault, law)| caught(&format!("{fault:?}"), law, verdict(&Wrong(fault)))));
}
