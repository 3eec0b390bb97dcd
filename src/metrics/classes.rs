//! Metrics of predictions of one class per row: accuracy, the confusion matrix, precision, recall, F1.

use super::{require_numbers, rows_of};
#[cfg(doc)]
use crate::error::DataRule;
use crate::{
    error::{Error, require_length},
    scalar::{Scalar, to_f64},
    size::{filled, product, reserve},
};
use alloc::{format, string::String, vec::Vec};
use core::fmt;

/// Returns the index of the largest value of a row, the first one of equal values; `None` if a value is NaN, which is
/// neither smaller nor larger than another.
fn largest<T: Scalar>(row: &[T]) -> Option<usize> {
    let best = row.iter().enumerate().try_fold(None::<(usize, f64)>, |best, (k, &y)| match (best, to_f64(y)) {
        (_, y) if y.is_nan() => None,
        (Some((_, most)), y) if y <= most => Some(best),
        (_, y) => Some(Some((k, y))),
    });
    best.flatten().map(|(k, _)| k)
}

/// Returns the predicted class of each row of outputs `y`, \[rows, `width`\]: the column of the row's largest value,
/// the first one of equal values.
///
/// ```
/// let outputs = [0.9, 0.1, 0.2, 0.8, 0.5, 0.5]; // 3 rows of 2 classes
/// assert_eq!(chainrule::metrics::predicted_classes(2, &outputs)?, [0, 1, 0]);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Errors
/// [`Error::Empty`] for no output or a `width` of 0; [`DataRule::NotMultiple`] if `y` does not fill whole rows;
/// [`Error::NonFinite`] for an output that is NaN.
pub fn predicted_classes<T: Scalar>(width: usize, y: &[T]) -> Result<Vec<usize>, Error> {
    let rows = rows_of(width, y.len())?;
    require_numbers("the output", y)?;
    let mut classes = reserve("the classes", rows)?;
    classes.extend(y.chunks(width).filter_map(largest));
    Ok(classes)
}

/// Returns the accuracy of outputs `y`, \[rows, `width`\]: the fraction of rows whose largest value is in the column
/// of their class. Of equal values the first one is the largest; a row with a NaN counts as wrong.
///
/// ```
/// let outputs = [0.9, 0.1, 0.2, 0.8, 0.5, 0.5]; // 3 rows of 2 classes
/// assert_eq!(chainrule::metrics::accuracy(2, &outputs, &[0, 1, 1])?, 2.0 / 3.0);
/// # Ok::<(), chainrule::Error>(())
/// ```
///
/// # Errors
/// [`Error::Empty`] for no output or a `width` of 0; [`DataRule::NotMultiple`] if `y` does not fill whole rows;
/// [`Error::Length`] unless there is one class per row. [`Error::ClassOutOfRange`] for a class that is not below
/// `width`.
pub fn accuracy<T: Scalar>(width: usize, y: &[T], classes: &[usize]) -> Result<f64, Error> {
    let rows = rows_of(width, y.len())?;
    require_length("classes (one a row)", rows, classes.len())?;
    let mut right = 0;
    for (row, (y, &class)) in y.chunks(width).zip(classes).enumerate() {
        if class >= width {
            return Err(Error::ClassOutOfRange { row, label: class, classes: width });
        }
        right += usize::from(largest(y) == Some(class));
    }
    Ok(right as f64 / rows as f64)
}

/// How precision, recall or F1 of the classes are averaged: the weight of each class in the mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Average {
    /// The same weight for each class that occurs among the true or the predicted classes.
    #[default]
    Macro,
    /// No weights: the measure is computed from the counts summed over all classes. If each sample has exactly one
    /// class, as in a [`ConfusionMatrix`], it equals the accuracy.
    Micro,
    /// The weight of a class is proportional to the number of samples with this true class.
    Weighted,
}

/// Confusion matrix: the number of samples for each pair of true class and predicted class.
///
/// For class k, TP is the number of samples of class k predicted as k, and FN the number of those predicted as
/// another class. FP is the number of samples of other classes predicted as k. Precision is TP/(TP + FP), recall
/// TP/(TP + FN), and F1 their harmonic mean 2 TP/(2 TP + FP + FN).
///
/// ```
/// use chainrule::metrics::ConfusionMatrix;
/// let matrix = ConfusionMatrix::new(2, &[0, 0, 0, 1], &[0, 0, 1, 1])?.name_classes(["cat", "dog"])?;
/// assert_eq!((matrix.precision(1), matrix.recall(0), matrix.f1(1)), (Some(0.5), Some(2.0 / 3.0), Some(2.0 / 3.0)));
/// println!("{matrix}"); // counts, then precision, recall, F1 and support of each class
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ConfusionMatrix {
    classes: usize,
    /// The number of samples for each pair of classes, row-major: \[true class, predicted class\].
    counts: Vec<u64>,
    /// The names of the classes; empty if they have none.
    names: Vec<String>,
}

/// A function that returns the precision, recall or F1 of one class as (numerator, denominator).
type Measure = fn(&ConfusionMatrix, usize) -> (u64, u64);

impl ConfusionMatrix {
    /// Creates the confusion matrix of `classes` classes: counts the samples for each pair of true and predicted
    /// class. `actual` and `predicted` have one class per sample, each below `classes`.
    ///
    /// # Errors
    /// [`Error::Empty`] without samples, or for 0 `classes`; [`Error::Length`] unless both slices are equally long;
    /// [`Error::ClassOutOfRange`] for a class that is not below `classes`. [`Error::TooLarge`] for more classes than
    /// memory can hold.
    pub fn new(classes: usize, actual: &[usize], predicted: &[usize]) -> Result<Self, Error> {
        if classes == 0 || actual.is_empty() {
            return Err(Error::Empty { what: "a confusion matrix" });
        }
        require_length("predicted classes (one a row)", actual.len(), predicted.len())?;
        let cells = product("a confusion matrix (classes × classes)", &[classes, classes])?;
        let mut counts = filled("a confusion matrix", cells, 0)?;
        for (row, (&actual, &predicted)) in actual.iter().zip(predicted).enumerate() {
            if let Some(&label) = [actual, predicted].iter().find(|&&label| label >= classes) {
                return Err(Error::ClassOutOfRange { row, label, classes });
            }
            counts[actual * classes + predicted] += 1;
        }
        Ok(ConfusionMatrix { classes, counts, names: Vec::new() })
    }

    /// Sets the names of the classes for the table that `Display` writes. The default is their numbers.
    ///
    /// # Errors
    /// [`Error::Length`] unless there is a name for each class.
    pub fn name_classes(self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, Error> {
        let names: Vec<String> = names.into_iter().map(|name| name.as_ref().into()).collect();
        require_length("names of classes", self.classes, names.len())?;
        Ok(ConfusionMatrix { names, ..self })
    }

    /// Returns the number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Returns the number of samples of the true class `actual` that were predicted as `predicted`; 0 if either is
    /// not below the number of classes.
    pub fn count(&self, actual: usize, predicted: usize) -> u64 {
        let known = actual < self.classes && predicted < self.classes;
        if known { self.counts[actual * self.classes + predicted] } else { 0 }
    }

    /// Returns the number of samples whose true class is `actual`; 0 if `actual` is not below the number of classes.
    pub fn support(&self, actual: usize) -> u64 {
        (0..self.classes).map(|predicted| self.count(actual, predicted)).sum()
    }

    /// Returns the number of samples that were predicted as class `predicted`.
    fn predicted(&self, predicted: usize) -> u64 {
        (0..self.classes).map(|actual| self.count(actual, predicted)).sum()
    }

    /// Returns the accuracy: the fraction of samples whose predicted class is their true class.
    pub fn accuracy(&self) -> f64 {
        let right: u64 = (0..self.classes).map(|class| self.count(class, class)).sum();
        right as f64 / self.counts.iter().sum::<u64>() as f64
    }

    /// Returns the precision TP/(TP + FP): the fraction of the samples predicted as `class` that have this class.
    /// `None` if no sample was predicted as `class`.
    pub fn precision(&self, class: usize) -> Option<f64> {
        ratio(self.precision_counts(class))
    }

    /// Returns the recall TP/(TP + FN): the fraction of the samples of `class` that were predicted as `class`. `None`
    /// if there is no such sample.
    pub fn recall(&self, class: usize) -> Option<f64> {
        ratio(self.recall_counts(class))
    }

    /// Returns F1 of `class`, the harmonic mean of its precision and recall: 2 TP/(2 TP + FP + FN). `None` if `class`
    /// occurs neither among the true classes nor among the predictions.
    pub fn f1(&self, class: usize) -> Option<f64> {
        ratio(self.f1_counts(class))
    }

    /// Returns the mean of the precisions of all classes, averaged as `average` states; an undefined precision counts
    /// as 0.
    pub fn mean_precision(&self, average: Average) -> f64 {
        self.mean(average, Self::precision_counts)
    }

    /// Returns the mean of the recalls of all classes, averaged as `average` states; an undefined recall counts as 0.
    pub fn mean_recall(&self, average: Average) -> f64 {
        self.mean(average, Self::recall_counts)
    }

    /// Returns the mean of the F1 of all classes, averaged as `average` states; an undefined F1 counts as 0.
    pub fn mean_f1(&self, average: Average) -> f64 {
        self.mean(average, Self::f1_counts)
    }

    fn precision_counts(&self, class: usize) -> (u64, u64) {
        (self.count(class, class), self.predicted(class))
    }

    fn recall_counts(&self, class: usize) -> (u64, u64) {
        (self.count(class, class), self.support(class))
    }

    fn f1_counts(&self, class: usize) -> (u64, u64) {
        (2 * self.count(class, class), self.support(class) + self.predicted(class))
    }

    fn mean(&self, average: Average, measure: Measure) -> f64 {
        let all = 0..self.classes;
        if average == Average::Micro {
            let sums = all.map(|class| measure(self, class)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
            return ratio(sums).unwrap_or(0.0);
        }
        let weight = |class: usize| match average {
            Average::Weighted => self.support(class),
            _ => u64::from(self.f1_counts(class).1 > 0),
        };
        let (mut sum, mut total) = (0.0, 0);
        for class in all {
            sum += weight(class) as f64 * ratio(measure(self, class)).unwrap_or(0.0);
            total += weight(class);
        }
        sum / total as f64
    }
}

fn ratio((part, whole): (u64, u64)) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Writes the counts as a table with a row for each true class and a column for each predicted class. Below it, for
/// each class, are precision, recall, F1 and support (the number of its samples). A measure that is not defined is
/// `-`.
impl fmt::Display for ConfusionMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |class: usize| self.names.get(class).cloned().unwrap_or_else(|| format!("{class}"));
        let wide = |text: &str| text.chars().count();
        let most = self.counts.iter().copied().max().unwrap_or(0);
        let names = (0..self.classes).map(|class| wide(&name(class))).max().unwrap_or(0);
        let (first, column) = (names.max(4), names.max(wide(&format!("{most}"))));
        write!(f, "{:>first$}", "true")?;
        (0..self.classes).try_for_each(|predicted| write!(f, "  {:>column$}", name(predicted)))?;
        for (actual, row) in self.counts.chunks(self.classes).enumerate() {
            write!(f, "\n{:>first$}", name(actual))?;
            row.iter().try_for_each(|count| write!(f, "  {count:>column$}"))?;
        }
        write!(f, "\n{:>first$}  precision  recall      f1  support", "")?;
        let text = |measure: Option<f64>| measure.map_or_else(|| "-".into(), |measure| format!("{measure:.4}"));
        (0..self.classes).try_for_each(|class| {
            let [precision, recall, f1] = [self.precision(class), self.recall(class), self.f1(class)].map(text);
            write!(f, "\n{:>first$}  {precision:>9}  {recall:>6}  {f1:>6}  {:>7}", name(class), self.support(class))
        })
    }
}

/// Writes the same table as `Display`.
impl fmt::Debug for ConfusionMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
