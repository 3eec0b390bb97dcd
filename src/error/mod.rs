//! Errors as data: the subject, the rule it breaks, the value, and the remedy.

mod context;
mod data_rule;
mod layer_rule;
mod message;
mod rank_rule;
mod registry_rule;
mod require;

pub use data_rule::DataRule;
pub use layer_rule::LayerRule;
pub use rank_rule::RankRule;
pub use registry_rule::RegistryRule;
pub(crate) use require::{require, require_length, require_multiple};

use crate::type_name::without_paths;
use alloc::{boxed::Box, string::String, vec::Vec};
pub(crate) use message::Figure;
use message::{Product, checkpoint_remedy, layer_name, length_remedy, nearest_names, non_finite_remedy, target_remedy};

/// The reason for which an argument or a file is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A batch without samples.
    #[error("the batch has no samples; at least 1 is needed")]
    EmptyBatch,
    /// A sequence without time steps.
    #[error("sample {sample} has no steps; at least 1 is needed")]
    NoSteps {
        /// The index of the sample whose sequence is empty.
        sample: usize,
    },
    /// Lengths of a ragged batch that increase.
    #[error(
        "lengths must not increase: sample {sample} has {length} steps after one of {before}; sort the batch by \
         length, longest first"
    )]
    LengthsNotDescending {
        /// The sample that is longer than the one before it.
        sample: usize,
        /// The number of time steps of `sample`.
        length: usize,
        /// The number of time steps of the sample before it.
        before: usize,
    },
    /// A pass with more samples or longer sequences than the workspace can hold.
    #[error(
        "the pass has {batch} samples of up to {steps} steps, but the workspace holds {max_batch} of {max_steps}; make \
         the workspace for the largest pass, or divide the batch"
    )]
    BeyondCapacity {
        /// The number of samples of the pass.
        batch: usize,
        /// The number of time steps of the longest sample of the pass.
        steps: usize,
        /// The largest number of samples that the workspace can hold.
        max_batch: usize,
        /// The largest number of time steps per sample that the workspace can hold.
        max_steps: usize,
    },
    /// A size that does not fit in memory, or is above a stated limit.
    #[error("{what}: {} is too large, at most {limit} are possible; choose smaller sizes", Product(factors))]
    TooLarge {
        /// The name of what is too large.
        what: String,
        /// The factors whose product is the size.
        factors: Vec<usize>,
        /// The largest possible or allowed product of `factors`. Memory for a smaller one can still be refused.
        limit: usize,
    },
    /// A layer whose input width differs from the width of the values that it receives.
    #[error("{before} {found} values, but {} expects {expected}; make the two widths equal", layer_name(layer))]
    WidthMismatch {
        /// The layer's path in the network, or what else expects the width, such as `the skip of a residual`.
        layer: String,
        /// The source of the values, with its verb: `layer 0 outputs`.
        before: String,
        /// The number of values in each row that the layer expects.
        expected: usize,
        /// The number of values in each row that it receives.
        found: usize,
    },
    /// A layer or a cell whose methods break a rule of their contract.
    #[error("layer {layer}: {rule}")]
    InvalidLayer {
        /// The layer's path in the network; `network` for the whole network.
        layer: String,
        /// The rule, with the value that breaks it.
        rule: LayerRule,
    },
    /// A slice of the wrong length.
    #[error("{what}: expected {expected} values, found {found}; {}", length_remedy(what))]
    Length {
        /// The name of the slice.
        what: &'static str,
        /// The number of values that the slice must have.
        expected: usize,
        /// The number of values that the slice has.
        found: usize,
    },
    /// Data that breaks a rule of data sets, or does not fit the network.
    #[error(transparent)]
    InvalidData(#[from] DataRule),
    /// Ranks (trainers of one network) that cannot train together, or can no longer do so.
    #[error(transparent)]
    Ranks(#[from] RankRule),
    /// A hyper-parameter outside its range.
    #[error("{what} must be {expected}, found {}", Figure(*found))]
    Parameter {
        /// The name of the hyper-parameter.
        what: &'static str,
        /// The allowed range of the hyper-parameter.
        expected: &'static str,
        /// The value that was given.
        found: f64,
    },
    /// A class label for which the output has no column. A trainer returns [`DataRule::LabelOutOfRange`] instead.
    #[error(
        "row {row} has class {label}, but there are {classes} classes (0 to {}); correct the label, or widen the output",
        classes.saturating_sub(1)
    )]
    ClassOutOfRange {
        /// The index of the output row with the label.
        row: usize,
        /// The class label of the row.
        label: usize,
        /// The number of classes: one for each column of the output.
        classes: usize,
    },
    /// A sample index beyond the data.
    #[error("there is no sample {sample}: the data has {samples}; take one of 0 to {}", samples.saturating_sub(1))]
    Sample {
        /// The requested sample index.
        sample: usize,
        /// The number of samples of the data.
        samples: usize,
    },
    /// A value that must be finite and is not.
    #[error("{what}: value {index} is {found}, which is not finite; correct it, or leave it out")]
    NonFinite {
        /// The name of the slice.
        what: &'static str,
        /// The index of the value in the slice.
        index: usize,
        /// The value that is not finite.
        found: f64,
    },
    /// A value of a data set that is outside its range.
    #[error(
        "{what} of sample {sample}{} must be {expected}, found {}; correct it, or leave the sample out",
        message::step_and_column(*step, *column),
        Figure(*found)
    )]
    DataValue {
        /// The kind of value: an input, a target, a row weight.
        what: &'static str,
        /// The index of the sample with the value.
        sample: usize,
        /// The time step of the value; `None` for one row per sample.
        step: Option<usize>,
        /// The column in the row; `None` for row weights and classes.
        column: Option<usize>,
        /// The allowed range of the value.
        expected: &'static str,
        /// The value that is outside its range.
        found: f64,
    },
    /// Data whose rows all have weight 0 or an ignored class.
    #[error("no row of the {data} data counts: each has weight 0 or an ignored class; let at least 1 count")]
    NothingCounts {
        /// The use of the data: training, validation or evaluation.
        data: &'static str,
    },
    /// A parameter that is NaN or infinite.
    #[error("block {block} is not finite {}", non_finite_remedy(*since, *step))]
    NonFiniteParameters {
        /// The name of the first block with a value that is not finite.
        block: String,
        /// The update count at the last check that found all parameters finite, or at the start of the fit.
        since: u64,
        /// The update count at the check that found the value.
        step: u64,
    },
    /// An initial value beyond the range of the parameters' number format.
    #[error(
        "block {block}: initial value {index} is {}, beyond the number format; use an initializer of smaller deviation",
        Figure(*found)
    )]
    InitialValue {
        /// The name of the block of parameters.
        block: String,
        /// The index, within the block, of the value at fault.
        index: usize,
        /// The value that the initializer drew.
        found: f64,
    },
    /// Targets of a kind (classes or values) that the loss does not take.
    #[error("{loss} takes {expected}, found {found}; {}", target_remedy(loss, expected))]
    TargetKind {
        /// The name of the loss, or of another operation on targets.
        loss: &'static str,
        /// The kind of targets that is required.
        expected: &'static str,
        /// The kind of targets that was given.
        found: &'static str,
    },
    /// A network or data without elements.
    #[error("{what} is empty; give at least 1 element")]
    Empty {
        /// The name of what is empty, for the message.
        what: &'static str,
    },
    /// A name that is neither that of a block (a named range of parameters) nor the beginning of a block's path.
    #[error(
        "no block is named {name:?} or begins with it{}; take a name of `Workspace::blocks`",
        nearest_names(nearest)
    )]
    UnknownBlock {
        /// The name that matches no block.
        name: String,
        /// The names of blocks that are most like `name`, nearest first.
        nearest: Vec<String>,
    },
    /// A gradient that was not finite in too many consecutive optimizer steps.
    #[error(
        "the gradient was not finite in {steps} steps in a row, last in block {block}; lower the learning rate, clip \
         the gradient (ClipNorm), or ask a `Diagnosis` for the cause"
    )]
    NonFiniteGradient {
        /// The number of consecutive optimizer steps whose gradient was not finite.
        steps: u64,
        /// The first block of parameters whose gradient was not finite in the last of these steps.
        block: String,
    },
    /// A chain of gradient transforms (clipping, optimizer, schedule) without an optimizer, or with several.
    #[error(
        "the chain ({chain}) has {found} optimizers; it needs 1, such as Sgd or Adam (a custom one returns \
         Stage::Optimizer)"
    )]
    Optimizers {
        /// The number of optimizers in the chain.
        found: usize,
        /// The names of the transforms of the chain, in order.
        chain: String,
    },
    /// A chain of gradient transforms in a wrong order, for example with clipping after the optimizer.
    #[error(
        "the chain ({found}) is out of order (SkipNonFinite, regularization and clipping, optimizer, schedule, \
         average); write ({expected}), or accept another order by Unordered(..)"
    )]
    ChainOrder {
        /// The transforms that declare a stage (their position in a chain), in their current order.
        found: String,
        /// The names of the same transforms in the required order.
        expected: String,
    },
    /// A metric that is undefined on the given samples.
    #[error("{metric} is undefined: {reason}")]
    UndefinedMetric {
        /// The name of the metric.
        metric: &'static str,
        /// The property of the samples that makes the metric undefined.
        reason: String,
    },
    /// An operation in a state that does not allow it.
    #[error("{what} needs {needs}")]
    InvalidState {
        /// The operation that was refused.
        what: &'static str,
        /// The state that the operation requires, or the call that must come before it.
        needs: &'static str,
    },
    /// A layer or network that does not suit a container, a loss or a method of a model.
    #[error("{what} needs {needs}")]
    IncompatibleLayer {
        /// The container, loss or method that refuses the layer or network.
        what: &'static str,
        /// The kind of layer or network that is required.
        needs: &'static str,
    },
    /// A custom layer, cell, activation or initializer, which cannot be built from a layer spec without a registry.
    #[error(
        "{path} ({}) is a custom part; register it in a `network::Registry` (`build_with`, `load_registered`)",
        without_paths(kind)
    )]
    CustomPart {
        /// The path of the layer, cell or activation in the network; `an initializer` outside a network.
        path: String,
        /// The kind of the part, as the layer spec names it.
        kind: String,
    },
    /// A custom part, such as a layer, that a [`Registry`](crate::network::Registry) cannot build.
    #[error("registered {part} {name:?}: {rule}")]
    Registered {
        /// The kind of the part: layer, cell, activation or initializer.
        part: &'static str,
        /// The name under which the part is registered.
        name: String,
        /// The rule that the registered part breaks.
        rule: Box<RegistryRule>,
    },
    /// Settings from which a custom part cannot be built.
    #[error("settings: {reason}; correct the settings in the description")]
    Settings {
        /// The reason, such as the message of a JSON reader.
        reason: String,
    },
    /// A CPU level that is unknown or not supported by the machine, or that is set too late.
    #[error("CPU level {level:?}: {reason}")]
    CpuLevel {
        /// The requested level.
        level: String,
        /// The reason for the refusal of the level.
        reason: String,
    },
    /// Threads that the operating system could not start.
    #[error("{threads} threads: {reason}; ask for fewer")]
    Threads {
        /// The requested number of threads.
        threads: usize,
        /// The error of the operating system.
        reason: String,
    },
    /// A file that could not be read or written.
    #[error("{path}: {reason}")]
    File {
        /// The path of the file that could not be read or written.
        path: String,
        /// The error of the operating system.
        reason: String,
    },
    /// A tensor of a state dict that does not fit the network.
    #[error(
        "state dict, tensor {tensor}: expected {expected}, found {found}; build the network of the state dict, or map \
         names by `ModuleNames`"
    )]
    StateDict {
        /// The name of the tensor.
        tensor: String,
        /// The name, shape or type of the tensor that the network expects, as text.
        expected: String,
        /// The name, shape or type of the tensor in the state dict, as text.
        found: String,
    },
    /// A saved checkpoint or model whose network, scalar type or chain of transforms is not the current one.
    #[error("{block}: the saved file has {found}, but {expected} is expected here; {}", checkpoint_remedy(block))]
    Checkpoint {
        /// The block, layer, transform or number that differs.
        block: String,
        /// The kind, shape or length of `block` in the current run.
        expected: String,
        /// The kind, shape or length of `block` in the checkpoint.
        found: String,
    },
    /// A value that a checkpoint, a model or a state dict may not hold.
    #[error("{name}: in a file it must be {rule}, found {found}; {}", message::value_remedy(name))]
    CheckpointValue {
        /// The name of the number, block or slice with the value.
        name: String,
        /// The rule that the value breaks.
        rule: &'static str,
        /// The value in the file, as text.
        found: String,
    },
    /// Bytes that are not a complete file of a model, a run or a state dict: truncated, damaged or in another format.
    #[error("{origin} cannot be read: {reason}; use another copy of the file, or write it again")]
    CheckpointFormat {
        /// The path of the file, or `the data` for bytes.
        origin: String,
        /// The first rule of the format that does not hold.
        reason: String,
    },
    /// A complete file of a different kind from the one expected, such as a checkpoint instead of a model.
    #[error("{origin} is {found}, not {expected}; {remedy}")]
    FileKind {
        /// The path of the file, or `the data` for bytes.
        origin: String,
        /// The kind of the file, as text: what it holds.
        found: &'static str,
        /// The kind of file that the call reads, as text.
        expected: &'static str,
        /// The remedy: a call that reads a file of kind `found`, or that writes one of kind `expected`.
        remedy: &'static str,
    },
    /// A model or checkpoint file in a version of its format that this crate does not read.
    #[error(
        "{origin} has version {found} of its format, but this version of chainrule reads {expected}; read it with the \
         version of chainrule that wrote it"
    )]
    CheckpointVersion {
        /// The path of the file, or `the data` for bytes.
        origin: String,
        /// The format version of the file.
        found: String,
        /// The version that this crate reads.
        expected: u32,
    },
}
