use super::{Error, Figure};
use alloc::{boxed::Box, string::String};

/// A rule for data sets that the given data breaks, with the offending value. It is the content of
/// [`Error::InvalidData`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DataRule {
    /// A slice of values whose length is not a whole number of rows or samples.
    #[error("{what}: {found} values are not a multiple of {unit} {size}; complete the last row, or correct the sizes")]
    NotMultiple {
        /// The name of the slice, such as `inputs`.
        what: String,
        /// The length of the slice, which is not a multiple of `size`.
        found: usize,
        /// The meaning of `size`, the required divisor of the slice's length: such as `width` or `steps`.
        unit: &'static str,
        /// The number of values of a row or sample, of which the slice's length `found` must be a multiple.
        size: usize,
    },
    /// Data whose rows do not have the width of the network's input.
    #[error(
        "the data has rows of {found} values, but the network takes {expected}; give the data the width {expected}, or \
         begin the network with `Sequential::input({found})`"
    )]
    Width {
        /// The input width of the network, which the rows of the data must have.
        expected: usize,
        /// The number of values in each row of the data.
        found: usize,
    },
    /// Data given as rows that have unequal numbers of values.
    #[error("row {row} has {found} values, but row 0 has {expected}; all rows must have the same width")]
    RowWidth {
        /// The index of the first row whose number of values differs from that of row 0.
        row: usize,
        /// The number of values in row 0, which all rows must have.
        expected: usize,
        /// The number of values in row `row`.
        found: usize,
    },
    /// Targets with one row per sample for a network with one output per time step, or the reverse.
    #[error("{}", target_rows(*per_step))]
    TargetRows {
        /// Whether the network has an output row for each time step; otherwise it has one per sample.
        per_step: bool,
    },
    /// Targets of shape \[samples, steps\], which means one row per sample, for a network with one output per time
    /// step.
    #[error(
        "targets of shape [{samples}, {steps}] are one row of {steps} values a sample, but the network has an output \
         for each step; give them the shape [{samples}, {steps}, 1], declare a target for each step, or end the network \
         with `last_step()`"
    )]
    TargetShape {
        /// The number of samples of the targets, their first axis.
        samples: usize,
        /// The number of time steps of a sample, which is also the length of the targets' second axis.
        steps: usize,
    },
    /// Targets whose rows do not have the number of values that the loss takes for the network's outputs.
    #[error(
        "the data has {found} target value{} a {}, but for the outputs of the network the loss takes {expected}; \
         correct the targets, or the number of outputs of the last layer",
        if *found == 1 { "" } else { "s" },
        if *per_step { "step" } else { "sample" }
    )]
    TargetWidth {
        /// The number of target values per row that the loss takes for the network's outputs.
        expected: usize,
        /// The number of target values per row in the data.
        found: usize,
        /// Whether the data has a row of targets for each time step; otherwise it has one per sample.
        per_step: bool,
    },
    /// A class label for which the network has no output.
    #[error(
        "sample {sample}{} has class {label}, but the network has {classes} outputs (classes 0 to {}); correct the \
         label, or widen the last layer",
        step.map_or_else(String::new, |step| alloc::format!(", step {step},")),
        classes.saturating_sub(1)
    )]
    LabelOutOfRange {
        /// The index of the sample whose class label is too large.
        sample: usize,
        /// The time step of the class label that is too large; `None` if each sample has one label.
        step: Option<usize>,
        /// The class label, which is not below `classes`.
        label: usize,
        /// The number of outputs of the network, one for each class.
        classes: usize,
    },
    /// An input that is not a valid index for an [`Embedding`](crate::layer::Embedding).
    #[error(
        "the input of sample {sample}{}, column {column} is {}, but an Embedding takes whole numbers from 0 \
         to {}; correct the index, or enlarge the vocabulary",
        step.map_or_else(String::new, |step| alloc::format!(", step {step}")),
        Figure(*found),
        vocabulary.saturating_sub(1)
    )]
    Index {
        /// The index of the sample whose input is not a valid embedding index.
        sample: usize,
        /// The time step of the input that is not a valid embedding index; `None` without a time axis.
        step: Option<usize>,
        /// The column, within its row, of the input that is not a valid embedding index.
        column: usize,
        /// The vocabulary size of the embedding: valid indices are 0 to `vocabulary - 1`.
        vocabulary: usize,
        /// The value of the input, which is not a valid embedding index.
        found: f64,
    },
    /// An array whose number of axes is not allowed.
    #[error("{what} have {found} axes, but {needed} is needed; give an array of this shape")]
    ArrayAxes {
        /// The name of the array with a wrong number of axes, such as `the inputs`.
        what: &'static str,
        /// The number of axes that the array has.
        found: usize,
        /// The allowed shapes of the array, as text for the message.
        needed: &'static str,
    },
    /// An array of targets whose number of samples or time steps differs from that of the inputs.
    #[error("the targets have {found} {axis}, but the inputs have {expected}; give targets of the same {axis}")]
    ArrayLength {
        /// The meaning of the axis whose lengths differ: `samples` or `steps`.
        axis: &'static str,
        /// The length of the axis `axis` of the inputs: their number of samples or time steps.
        expected: usize,
        /// The length of the axis `axis` of the targets: their number of samples or time steps.
        found: usize,
    },
    /// A data file that breaks a rule of the file format in which it is read.
    #[error("{file}: {reason}")]
    FileFormat {
        /// The path of the data file, followed by the name of the tensor if it holds several tensors.
        file: String,
        /// The rule of the file format that the file breaks, as text.
        reason: String,
    },
    /// A data file whose numbers have a type, such as `i64`, that the called reader does not support.
    #[error("{file} has numbers of type {found}, but {expected} is needed; convert the file")]
    FileType {
        /// The path of the data file, followed by the name of the tensor if it holds several tensors.
        file: String,
        /// The number types that the called reader supports, as text.
        expected: &'static str,
        /// The number type of the values in the file, as text.
        found: String,
    },
    /// A data file that ends before all the samples that its header states.
    #[error("{file} ends within sample {sample} of {samples} (0 to {}); write it again", samples.saturating_sub(1))]
    FileEnds {
        /// The path of the data file, followed by the name of the tensor if it holds several tensors.
        file: String,
        /// The index of the first sample of which the file lacks values.
        sample: usize,
        /// The number of samples that the header of the file states.
        samples: usize,
    },
    /// A mask of padded sequences in which a valid time step follows a padded one.
    #[error("the mask of sample {sample} has padding before step {step}; put all steps first, then the padding")]
    MaskHole {
        /// The index of the sample in whose mask a valid time step follows a padded one.
        sample: usize,
        /// The index of the valid time step that follows a padded one.
        step: usize,
    },
    /// A sequence whose stated length exceeds the number of time steps to which all sequences are padded.
    #[error(
        "sample {sample} has {length} steps, but the padded sequences have {steps}; pad to the longest sequence, or \
         correct the length"
    )]
    PaddedLength {
        /// The index of the sample whose sequence is too long.
        sample: usize,
        /// The stated number of time steps of the sequence, which is above `steps`.
        length: usize,
        /// The number of time steps to which each sequence is padded.
        steps: usize,
    },
    /// A NaN or infinite value in data that is given as rows.
    #[error("the value of row {row}, column {column} must be finite, found {found}; correct it, or leave the row out")]
    RowValue {
        /// The index of the row with the value in the data, where each time step of each sample is one row.
        row: usize,
        /// The column, within its row, of the value that is not finite.
        column: usize,
        /// The value that is not finite.
        found: f64,
    },
    /// A value that overflows the number format when [`Standardize`](crate::dataset::Standardize) scales it, or
    /// scales it back.
    #[error(
        "the value of row {row}, column {column} is {} once scaled, above the range of the number format; choose \
         a wider format",
        Figure(*found)
    )]
    ScaledValue {
        /// The index of the row with the value. All rows that the call scales are counted: all time steps of sample
        /// 0, then those of sample 1, and so on.
        row: usize,
        /// The column, within its row, of the value that overflows.
        column: usize,
        /// The scaled value, before it is rounded to the number format that it overflows.
        found: f64,
    },
    /// A target value or class that the loss function does not accept.
    #[error(
        "the target of sample {sample}{}: {reason}; correct it, or choose a loss for such targets",
        step.map_or_else(String::new, |step| alloc::format!(", step {step}"))
    )]
    Target {
        /// The index of the sample whose target the loss does not accept.
        sample: usize,
        /// The time step of the target that the loss does not accept; `None` for one target per sample.
        step: Option<usize>,
        /// The error that the loss function returned for the target.
        reason: Box<Error>,
    },
    /// Validation data that does not fit the network or the loss, or cannot be read.
    #[error("in the validation data: {reason}")]
    Validation {
        /// The error that the validation data caused; a sample that it names is one of the validation data.
        reason: Box<Error>,
    },
    /// A time series with fewer rows than one window of input rows and its target need.
    #[error("the series has {rows} rows, but a window and its target take {needed}; shorten the window")]
    SeriesTooShort {
        /// The number of rows (time steps) in the series.
        rows: usize,
        /// The smallest sufficient number of rows of the series: those of one window and its target.
        needed: usize,
    },
}

/// Returns the message of [`DataRule::TargetRows`]; `per_step` is whether the network has an output for each time
/// step.
fn target_rows(per_step: bool) -> &'static str {
    if per_step {
        "the network has an output for each step, but the data has one target a sample; give a target for each step, \
         or end the sequence with `last_step()` or `mean_over_steps()`"
    } else {
        "the network has one output a sample, but the data has a target for each step; give one target a sample (for \
         sequences of unequal length with `Dataset::one_target_a_sample`), or leave out `last_step()` and \
         `mean_over_steps()`"
    }
}
