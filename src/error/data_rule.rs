use super::{Error, Figure};
use alloc::{boxed::Box, string::String};

/// A rule of data sets, with the value that breaks it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DataRule {
    /// Values that do not fill a whole number of rows or samples.
    #[error("{what}: {found} values are not a multiple of {unit} {size}; complete the last row, or correct the sizes")]
    NotMultiple {
        /// The name of the values, such as `inputs`.
        what: String,
        /// The number of values, which is not a multiple of `size`.
        found: usize,
        /// The meaning of `size`, such as `width` or `steps`.
        unit: &'static str,
        /// The number of which `found` must be a multiple.
        size: usize,
    },
    /// Data whose rows do not have the width of the network's input.
    #[error(
        "the data has rows of {found} values, but the network takes {expected}; give the data the width {expected}, or \
         begin the network with `Sequential::input({found})`"
    )]
    Width {
        /// The input width of the network.
        expected: usize,
        /// The width of the rows of the data.
        found: usize,
    },
    /// Rows of unequal width.
    #[error("row {row} has {found} values, but row 0 has {expected}; all rows must have the same width")]
    RowWidth {
        /// The first row whose width differs from that of row 0.
        row: usize,
        /// The width of row 0.
        expected: usize,
        /// The width of row `row`.
        found: usize,
    },
    /// Targets with one row per sample for a network with one output per time step, or the reverse.
    #[error("{}", target_rows(*per_step))]
    TargetRows {
        /// Whether the network has an output for each time step; otherwise it has one per sample.
        per_step: bool,
    },
    /// Targets of shape \[samples, steps\], which means one row per sample, for a network with one output per time
    /// step.
    #[error(
        "targets of shape [{samples}, {steps}] are one row of {steps} values a sample, but the network has an output \
         for each step; give them the shape [{samples}, {steps}, 1]"
    )]
    TargetShape {
        /// The number of samples.
        samples: usize,
        /// The number of time steps of a sample, which is also the number of its target values.
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
        /// The number of target values per row that the loss takes.
        expected: usize,
        /// The number of target values per row of the data.
        found: usize,
        /// Whether there is a row of targets for each time step; otherwise there is one per sample.
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
        /// The index of the sample with the label.
        sample: usize,
        /// The time step of the label; `None` for one label per sample.
        step: Option<usize>,
        /// The class label.
        label: usize,
        /// The number of outputs of the network.
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
        /// The index of the sample with the input.
        sample: usize,
        /// The time step of the input; `None` for samples without a time axis.
        step: Option<usize>,
        /// The column of the input in its row.
        column: usize,
        /// The number of valid indices, which start at 0.
        vocabulary: usize,
        /// The value of the input.
        found: f64,
    },
    /// An array whose number of axes is not allowed.
    #[error("{what} have {found} axes, but {needed} is needed; give an array of this shape")]
    ArrayAxes {
        /// The name of the array, such as `the inputs`.
        what: &'static str,
        /// The number of axes of the array.
        found: usize,
        /// The allowed shapes, as text for the message.
        needed: &'static str,
    },
    /// An array of targets whose number of samples or time steps differs from that of the inputs.
    #[error("the targets have {found} {axis}, but the inputs have {expected}; give targets of the same {axis}")]
    ArrayLength {
        /// The meaning of the axis whose lengths differ: `samples` or `steps`.
        axis: &'static str,
        /// The number of samples or time steps of the inputs.
        expected: usize,
        /// The number of samples or time steps of the targets.
        found: usize,
    },
    /// A data file that breaks a rule of the format as which it is read.
    #[error("{file}: {reason}")]
    FileFormat {
        /// The path of the file, followed by the name of the tensor if the file holds several.
        file: String,
        /// The rule of the format that the file breaks.
        reason: String,
    },
    /// A data file with numbers of a type that the call does not read.
    #[error("{file} has numbers of type {found}, but {expected} is needed; convert the file")]
    FileType {
        /// The path of the file, followed by the name of the tensor if the file holds several.
        file: String,
        /// The number types that the call reads, as text.
        expected: &'static str,
        /// The number type in the file.
        found: String,
    },
    /// A file of data that is shorter than its header says.
    #[error("{file} ends within sample {sample} of {samples} (0 to {}); write it again", samples.saturating_sub(1))]
    FileEnds {
        /// The path of the file, followed by the name of the tensor if the file holds several.
        file: String,
        /// The first sample of which values are missing.
        sample: usize,
        /// The number of samples according to the header.
        samples: usize,
    },
    /// A mask in which a time step follows padding.
    #[error("the mask of sample {sample} has padding before step {step}; put all steps first, then the padding")]
    MaskHole {
        /// The index of the sample whose mask it is.
        sample: usize,
        /// The time step that follows padding.
        step: usize,
    },
    /// A sequence that is longer than the padded sequences.
    #[error(
        "sample {sample} has {length} steps, but the padded sequences have {steps}; pad to the longest sequence, or \
         correct the length"
    )]
    PaddedLength {
        /// The index of the sample whose sequence is too long.
        sample: usize,
        /// The number of time steps of the sequence, above `steps`.
        length: usize,
        /// The number of time steps of each padded sequence.
        steps: usize,
    },
    /// A value that is NaN or infinite, in data that are given as rows.
    #[error("the value of row {row}, column {column} must be finite, found {found}; correct it, or leave the row out")]
    RowValue {
        /// The index of the row in the data, where each time step of each sample is one row.
        row: usize,
        /// The column in the row.
        column: usize,
        /// The value that is not finite.
        found: f64,
    },
    /// A value that overflows the number format when [`Standardize`](crate::dataset::Standardize) scales it, or scales
    /// it back.
    #[error(
        "the value of row {row}, column {column} is {} once scaled, above the range of the number format; choose \
         a wider format",
        Figure(*found)
    )]
    ScaledValue {
        /// The index of the row among all rows of the call, one sample after the other.
        row: usize,
        /// The column in the row.
        column: usize,
        /// The scaled value, before it is rounded to the number format.
        found: f64,
    },
    /// A target that the loss refuses.
    #[error(
        "the target of sample {sample}{}: {reason}; correct it, or choose a loss for such targets",
        step.map_or_else(String::new, |step| alloc::format!(", step {step}"))
    )]
    Target {
        /// The index of the sample with the target.
        sample: usize,
        /// The time step of the target; `None` for one target per sample.
        step: Option<usize>,
        /// The error of the loss.
        reason: Box<Error>,
    },
    /// Validation data that does not fit the network or the loss, or cannot be read.
    #[error("in the validation data: {reason}")]
    Validation {
        /// The error; if it names a sample, this is a sample of the validation data.
        reason: Box<Error>,
    },
    /// A series with fewer rows than one window and its target need.
    #[error("the series has {rows} rows, but a window and its target take {needed}; shorten the window")]
    SeriesTooShort {
        /// The number of rows in the series.
        rows: usize,
        /// The smallest sufficient number of rows: those of one window and its target.
        needed: usize,
    },
}

/// Returns the message of [`DataRule::TargetRows`].
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
