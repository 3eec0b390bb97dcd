//! What can go wrong, as data.

mod layer_rule;

pub use layer_rule::LayerRule;

use alloc::{format, string::String, vec::Vec};
use core::fmt::{self, Display, Formatter};

/// Why something a user handed over was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A batch without samples.
    #[error("the batch has no samples; at least 1 is needed")]
    EmptyBatch,
    /// A sequence without steps.
    #[error("sample {sample} has no steps; at least 1 is needed")]
    NoSteps {
        /// The sample.
        sample: usize,
    },
    /// Lengths of a ragged batch that increase.
    #[error(
        "lengths must not increase: sample {sample} has {length} steps after one of {before}; sort the batch by length, longest first"
    )]
    LengthsNotDescending {
        /// The sample that is longer than the one before it.
        sample: usize,
        /// Its length.
        length: usize,
        /// The length before it.
        before: usize,
    },
    /// A pass larger than the workspace was made for.
    #[error("the pass has {batch} samples of up to {steps} steps, the workspace holds {max_batch} of {max_steps}")]
    BeyondCapacity {
        /// Samples asked for.
        batch: usize,
        /// Steps asked for.
        steps: usize,
        /// Samples the workspace holds.
        max_batch: usize,
        /// Steps the workspace holds.
        max_steps: usize,
    },
    /// A size that does not fit in memory, or is above a stated limit.
    #[error("{what}: {} is too large, at most {limit} are possible; choose smaller sizes", Product(factors))]
    TooLarge {
        /// What has the size.
        what: String,
        /// The factors of the size.
        factors: Vec<usize>,
        /// The largest size that may be possible; the allocator can refuse less.
        limit: usize,
    },
    /// A layer whose input width is not the output width before it.
    #[error("layer {layer} takes {expected} inputs, but {found} come")]
    WidthMismatch {
        /// The layer's place in the network.
        layer: String,
        /// What it takes.
        expected: usize,
        /// What comes.
        found: usize,
    },
    /// A layer or a cell whose answers break a rule of its contract.
    #[error("layer {layer}: {rule}")]
    InvalidLayer {
        /// The layer's path in the network; `network` for the whole.
        layer: String,
        /// The rule, and what breaks it.
        rule: LayerRule,
    },
    /// A slice of the wrong length.
    #[error("{what}: expected {expected} values, found {found}")]
    Length {
        /// The slice.
        what: &'static str,
        /// Expected length.
        expected: usize,
        /// Length found.
        found: usize,
    },
    /// A hyper-parameter outside its range.
    #[error("{what} must be {expected}, found {found}")]
    Parameter {
        /// Which one.
        what: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it was.
        found: f64,
    },
    /// A class label that the network has no output for. A trainer counts the rows of its data's targets: the row is the
    /// sample where each has one target.
    #[error("row {row}: class {label}, but there are {classes} classes (0 to {})", classes.saturating_sub(1))]
    ClassOutOfRange {
        /// The row.
        row: usize,
        /// Its label.
        label: usize,
        /// How many classes there are.
        classes: usize,
    },
    /// A sample that the data does not have.
    #[error("sample {sample}, but there are {samples} (0 to {})", samples.saturating_sub(1))]
    Sample {
        /// The sample.
        sample: usize,
        /// How many there are.
        samples: usize,
    },
    /// A value that must be finite and is not.
    #[error("{what}: value {index} is {found}; it must be finite")]
    NonFinite {
        /// The slice.
        what: &'static str,
        /// Where.
        index: usize,
        /// The value.
        found: f64,
    },
    /// A value of a data set that is outside its range.
    #[error(
        "{what} of sample {sample}{}{} must be {expected}, found {found}",
        step.map_or_else(String::new, |step| format!(", step {step}")),
        column.map_or_else(String::new, |column| format!(", column {column}"))
    )]
    DataValue {
        /// What the value is: an input, a target, a row weight.
        what: &'static str,
        /// The sample.
        sample: usize,
        /// The step, for sequences.
        step: Option<usize>,
        /// The place in the row.
        column: Option<usize>,
        /// The range.
        expected: &'static str,
        /// The value.
        found: f64,
    },
    /// Data of which no row counts.
    #[error("no row of the {data} data counts: each has weight 0 or an ignored class; let at least 1 count")]
    NothingCounts {
        /// Which data: of training, validation or evaluation.
        data: &'static str,
    },
    /// A parameter that is NaN or infinite.
    #[error(
        "block {block} is not finite after update {step}; lower the learning rate, clip the gradient or begin the chain with \
         SkipNonFinite"
    )]
    NonFiniteParameters {
        /// The first block with such a value.
        block: String,
        /// The updates made when it was found.
        step: u64,
    },
    /// An initial value beyond the range of the parameters' number format.
    #[error(
        "block {block}: initial value {index} is {found}, which the number format cannot hold; use an initializer of smaller spread"
    )]
    InitialValue {
        /// The block of parameters.
        block: String,
        /// The value's index in the block.
        index: usize,
        /// The value, as the initializer drew it.
        found: f64,
    },
    /// Targets of a kind the loss does not take.
    #[error("{loss} takes {expected}, found {found}")]
    TargetKind {
        /// The loss.
        loss: &'static str,
        /// What it takes.
        expected: &'static str,
        /// What came.
        found: &'static str,
    },
    /// Something without a single thing in it.
    #[error("{what} is empty")]
    Empty {
        /// What is empty.
        what: &'static str,
    },
    /// A block name, or the start of one, that no block has.
    #[error("no block is named {name:?} or begins with it")]
    UnknownBlock {
        /// The name.
        name: String,
    },
    /// A gradient that was not finite for too many steps in a row.
    #[error("the gradient was not finite in {steps} steps in a row; last in block {block}")]
    NonFiniteGradient {
        /// How many steps.
        steps: u64,
        /// The first block with such a value.
        block: String,
    },
    /// A chain of transforms without an optimizer, or with several.
    #[error(
        "the chain ({chain}) has {found} optimizers; it needs 1, such as Sgd or Adam (your own returns Stage::Optimizer)"
    )]
    Optimizers {
        /// How many it has.
        found: usize,
        /// Its transforms.
        chain: String,
    },
    /// A chain of transforms out of order.
    #[error(
        "the chain ({found}) is out of order: write ({expected}); the order is guard, regularization and clipping, optimizer, \
         schedule, average, and Unordered(..) accepts another one"
    )]
    ChainOrder {
        /// The transforms that state their stage, as they stand.
        found: String,
        /// The same in the right order.
        expected: String,
    },
    /// An operation in a state that does not allow it.
    #[error("{what} needs {needs} first")]
    InvalidState {
        /// The operation.
        what: &'static str,
        /// The state or step that it requires.
        needs: &'static str,
    },
    /// A container of a layer that does not fit it.
    #[error("{what} needs {needs}")]
    IncompatibleLayer {
        /// The container.
        what: &'static str,
        /// The layer that it requires.
        needs: &'static str,
    },
    /// A part of a network that has no description the crate can build.
    #[error("{path} ({kind}) is a layer of your own: it cannot be built from its description")]
    Opaque {
        /// Its place.
        path: String,
        /// Its kind.
        kind: String,
    },
    /// A CPU level that is unknown, that the machine lacks, or that comes too late.
    #[error("CPU level {level:?}: {reason}")]
    CpuLevel {
        /// The level, as it was asked for.
        level: String,
        /// Why it is refused.
        reason: String,
    },
    /// Threads that the system would not start.
    #[error("{threads} threads: {reason}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the system said.
        reason: String,
    },
    /// A file that could not be read or written.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// A checkpoint of another network, scalar type or chain of transforms.
    #[error(
        "checkpoint, {block}: expected {expected}, found {found}; use the network, scalar type and transforms of the \
         saved run"
    )]
    Checkpoint {
        /// The block, layer, transform or number that differs.
        block: String,
        /// Its form in the present run.
        expected: String,
        /// Its form in the checkpoint.
        found: String,
    },
    /// A value that a checkpoint may not hold.
    #[error("checkpoint, {name}: it must be {rule}, found {found}")]
    CheckpointValue {
        /// Name of the value.
        name: String,
        /// The rule that it breaks.
        rule: &'static str,
        /// The value.
        found: String,
    },
    /// Bytes that are not a whole checkpoint: truncated, damaged or in another format.
    #[error("{origin} is not a whole checkpoint: {reason}; use another copy of the file")]
    CheckpointFormat {
        /// The file, or `the bytes`.
        origin: String,
        /// The first rule of the format that does not hold.
        reason: String,
    },
    /// A checkpoint of another version of the format.
    #[error(
        "the file has checkpoint format {found}, but this version of chainrule reads {expected}; use the one that wrote it"
    )]
    CheckpointVersion {
        /// Version of the file; `none` if another program wrote it.
        found: String,
        /// The version that this crate reads.
        expected: u32,
    },
}

impl Error {
    /// The same error of a layer in the part `path`.
    pub(crate) fn within(self, path: &str) -> Self {
        match self {
            Error::InvalidLayer { layer, rule } => Error::InvalidLayer { layer: format!("{path}.{layer}"), rule },
            other => other,
        }
    }
}

/// Factors, as text.
struct Product<'a>(&'a [usize]);

impl Display for Product<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, factor) in self.0.iter().enumerate() {
            write!(f, "{}{factor}", if i > 0 { " × " } else { "" })?;
        }
        Ok(())
    }
}

/// Refuses `found` unless `valid`: the one way a hyper-parameter is checked.
pub(crate) fn require(valid: bool, what: &'static str, expected: &'static str, found: f64) -> Result<(), Error> {
    if valid { Ok(()) } else { Err(Error::Parameter { what, expected, found }) }
}

/// Refuses a slice of the wrong length.
pub(crate) fn require_length(what: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::Length { what, expected, found }) }
}
