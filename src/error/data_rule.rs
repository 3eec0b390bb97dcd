use alloc::string::String;

/// A rule of data sets, with the value that breaks it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DataRule {
    /// Values that are no whole number of rows or samples.
    #[error("{what}: {found} values are not a multiple of {unit} {size}")]
    NotMultiple {
        /// The values.
        what: String,
        /// The number of values.
        found: usize,
        /// The meaning of `size`.
        unit: &'static str,
        /// Values of a row or sample.
        size: usize,
    },
    /// Data whose rows do not have the width of the network's input.
    #[error(
        "the data has rows of {found} values, but the network takes {expected}; give the data the width {expected}, or \
         begin the network with `Sequential::input({found})`"
    )]
    Width {
        /// Input width of the network.
        expected: usize,
        /// Width of the data.
        found: usize,
    },
    /// Rows of unequal width.
    #[error("row {row} has {found} values, but row 0 has {expected}; all rows must have the same width")]
    RowWidth {
        /// The first row of another width.
        row: usize,
        /// Width of row 0.
        expected: usize,
        /// Width of that row.
        found: usize,
    },
    /// Targets of one row a sample for a network with one output a step, or the reverse.
    #[error("{}", target_rows(*per_step))]
    TargetRows {
        /// Whether the network has an output for each step.
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
        /// The sample.
        sample: usize,
        /// The step, for sequences.
        step: Option<usize>,
        /// The label.
        label: usize,
        /// The number of outputs.
        classes: usize,
    },
    /// An input that is no index of an [`Embedding`](crate::layer::Embedding).
    #[error(
        "the input of sample {sample}{}, column {column} is {found}, but an Embedding takes whole numbers from 0 \
         to {}; correct the index, or enlarge the vocabulary",
        step.map_or_else(String::new, |step| alloc::format!(", step {step}")),
        vocabulary.saturating_sub(1)
    )]
    Index {
        /// The sample.
        sample: usize,
        /// The step, for sequences.
        step: Option<usize>,
        /// The column in the row.
        column: usize,
        /// The number of indices.
        vocabulary: usize,
        /// The value.
        found: f64,
    },
    /// A file of data in another format than the one it was read as.
    #[error("{file}: {reason}")]
    FileFormat {
        /// The path, and the tensor in a file of several.
        file: String,
        /// The rule of the format that the file breaks.
        reason: String,
    },
    /// A file of data with numbers of another type.
    #[error("{file} has numbers of type {found}, but {expected} is needed; convert the file")]
    FileType {
        /// The path, and the tensor in a file of several.
        file: String,
        /// The type of the data.
        expected: &'static str,
        /// The type in the file.
        found: String,
    },
    /// A file of data that is shorter than its header says.
    #[error("{file} ends within sample {sample} of {samples} (0 to {}); write it again", samples.saturating_sub(1))]
    FileEnds {
        /// The path, and the tensor in a file of several.
        file: String,
        /// The first sample that is not all there.
        sample: usize,
        /// The number of samples by the header.
        samples: usize,
    },
    /// A mask with padding before a step.
    #[error("the mask of sample {sample} has padding before step {step}; steps must come first, then padding")]
    MaskHole {
        /// The sample.
        sample: usize,
        /// The step that follows padding.
        step: usize,
    },
    /// A sequence that is longer than its padded memory.
    #[error("sample {sample} has {length} steps, but the padded sequences have {steps}")]
    PaddedLength {
        /// The sample.
        sample: usize,
        /// Its length.
        length: usize,
        /// Steps of each padded sequence.
        steps: usize,
    },
    /// A series without a window.
    #[error("the series has {rows} rows, but a window and its target take {needed}; shorten the window")]
    SeriesTooShort {
        /// Rows of the series.
        rows: usize,
        /// Rows of a window with its target.
        needed: usize,
    },
}

/// The message of [`DataRule::TargetRows`].
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
