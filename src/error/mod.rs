//! The error type of the crate. An error states as data the subject, the rule it breaks, the value, and the remedy.

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

/// The error that functions of this crate return: why an argument, a file or a call was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A batch without samples.
    #[error("the batch has no samples; at least 1 is needed")]
    EmptyBatch,
    /// A sequence without time steps.
    #[error("sample {sample} has no steps; at least 1 is needed")]
    NoSteps {
        /// The index of the sample whose sequence has no time steps.
        sample: usize,
    },
    /// Lengths of a ragged batch (sequences of unequal length) that increase from one sample to the next.
    #[error(
        "lengths must not increase: sample {sample} has {length} steps after one of {before}; sort the batch by \
         length, longest first"
    )]
    LengthsNotDescending {
        /// The index of the sample that is longer than the sample before it.
        sample: usize,
        /// The number of time steps of sample `sample`, which is above `before`.
        length: usize,
        /// The number of time steps of the sample that precedes sample `sample`.
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
    /// A size of an array that does not fit in memory, or is above a stated limit.
    #[error("{what}: {} is too large, at most {limit} are possible; choose smaller sizes", Product(factors))]
    TooLarge {
        /// The name of the array or number whose size is too large.
        what: String,
        /// The factors whose product is the size that is too large.
        factors: Vec<usize>,
        /// The largest possible or allowed size, a product of `factors`. A smaller one can still exceed the memory.
        limit: usize,
    },
    /// A layer whose input width differs from the width of the values that it receives.
    #[error("{before} {found} values, but {} expects {expected}; make the two widths equal", layer_name(layer))]
    WidthMismatch {
        /// The path of the layer, or the name of another item that expects the width: `the skip of a residual`.
        layer: String,
        /// The source of the values that the layer receives, as subject and verb: `layer 0 outputs`.
        before: String,
        /// The number of values per row that the layer expects.
        expected: usize,
        /// The number of values per row that the layer receives.
        found: usize,
    },
    /// A layer or a cell whose methods break a rule of their contract.
    #[error("layer {layer}: {rule}")]
    InvalidLayer {
        /// The path of the layer at fault in the network; `network` for the whole network.
        layer: String,
        /// The rule of the layer contract that the layer breaks, with the offending value.
        rule: LayerRule,
    },
    /// A slice argument, such as parameters or targets, of the wrong length.
    #[error("{what}: expected {expected} values, found {found}; {}", length_remedy(what))]
    Length {
        /// The name of the slice whose length is wrong.
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
    /// A numeric argument, such as a learning rate, that is outside its allowed range.
    #[error("{what} must be {expected}, found {}", Figure(*found))]
    Parameter {
        /// The name of the argument that is outside its range.
        what: &'static str,
        /// The allowed range of the argument, as text: `at least 1`.
        expected: &'static str,
        /// The value of the argument, which is outside its range.
        found: f64,
    },
    /// A class label that is not below the number of output columns; from a trainer [`DataRule::LabelOutOfRange`].
    #[error(
        "row {row} has class {label}, but there are {classes} classes (0 to {}); correct the label, or widen the output",
        classes.saturating_sub(1)
    )]
    ClassOutOfRange {
        /// The index of the output row whose class label is too large.
        row: usize,
        /// The class label, which is not below `classes`.
        label: usize,
        /// The number of classes, which is the number of columns of the output.
        classes: usize,
    },
    /// A sample index that is not below the number of samples of the data.
    #[error("there is no sample {sample}: the data has {samples}; take one of 0 to {}", samples.saturating_sub(1))]
    Sample {
        /// The requested sample index, which is not below `samples`.
        sample: usize,
        /// The number of samples of the data.
        samples: usize,
    },
    /// A NaN or infinite value in a slice whose values must be finite.
    #[error("{what}: value {index} is {found}, which is not finite; correct it, or leave it out")]
    NonFinite {
        /// The name of the slice with the value that is not finite.
        what: &'static str,
        /// The index, in the slice, of the value that is not finite.
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
        /// The name of the value that is outside its range: an input, a target, a row weight.
        what: &'static str,
        /// The index of the sample with the value that is outside its range.
        sample: usize,
        /// The time step of the value that is outside its range; `None` for data with one row per sample.
        step: Option<usize>,
        /// The column, within its row, of the value that is outside its range; `None` for row weights and classes.
        column: Option<usize>,
        /// The allowed range of the value, as text.
        expected: &'static str,
        /// The value that is outside its range.
        found: f64,
    },
    /// Data of which no row enters the loss: all rows have weight 0 or an ignored class.
    #[error("no row of the {data} data counts: each has weight 0 or an ignored class; let at least 1 count")]
    NothingCounts {
        /// The purpose for which the data was given: training, validation or evaluation.
        data: &'static str,
    },
    /// A parameter of the network that has become NaN or infinite.
    #[error("block {block} is not finite {}", non_finite_remedy(*since, *step))]
    NonFiniteParameters {
        /// The name of the first parameter block that holds a value that is not finite.
        block: String,
        /// The number of updates after which a check last found all parameters finite; 0 before the first check.
        since: u64,
        /// The number of updates after which a parameter was found not finite.
        step: u64,
    },
    /// An initial parameter that overflows the number format of the parameters.
    #[error(
        "block {block}: initial value {index} is {}, beyond the number format; use an initializer of smaller deviation",
        Figure(*found)
    )]
    InitialValue {
        /// The name of the parameter block whose initial value overflows.
        block: String,
        /// The index, within the block, of the initial value that overflows.
        index: usize,
        /// The initial value that the initializer drew, before it is rounded to the number format.
        found: f64,
    },
    /// Targets of a kind (classes or values) that the loss or operation does not take.
    #[error("{loss} takes {expected}, found {found}; {}", target_remedy(loss, expected))]
    TargetKind {
        /// The name of the loss, or of another operation that reads targets.
        loss: &'static str,
        /// The kind of targets that the loss takes, as text.
        expected: &'static str,
        /// The kind of targets that was given, as text.
        found: &'static str,
    },
    /// A network without layers, or a slice or data set without values.
    #[error("{what} is empty; give at least 1 element")]
    Empty {
        /// The name of the empty item, such as `the network` or `the scores`, for the message.
        what: &'static str,
    },
    /// A name that is neither that of a block (a named range of parameters) nor the beginning of a block's path.
    #[error(
        "no block is named {name:?} or begins with it{}; take a name of `Workspace::blocks`",
        nearest_names(nearest)
    )]
    UnknownBlock {
        /// The name that matches no parameter block.
        name: String,
        /// The names of parameter blocks that are most similar to `name`, nearest first.
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
        /// The name of the first parameter block whose gradient was not finite in the last of the `steps` steps.
        block: String,
    },
    /// A chain of gradient transforms (clipping, optimizer, schedule) without an optimizer, or with several.
    #[error(
        "the chain ({chain}) has {found} optimizers; it needs 1, such as Sgd or Adam (a custom one returns \
         Stage::Optimizer)"
    )]
    Optimizers {
        /// The number of optimizers in the chain of gradient transforms, which is not 1.
        found: usize,
        /// The names of the gradient transforms of the chain, in order.
        chain: String,
    },
    /// A chain of gradient transforms in a wrong order, for example with clipping after the optimizer.
    #[error(
        "the chain ({found}) is out of order (SkipNonFinite, regularization and clipping, optimizer, schedule, \
         average); write ({expected}), or accept another order by Unordered(..)"
    )]
    ChainOrder {
        /// The names of the transforms that declare a stage (their position in a chain), in their current order.
        found: String,
        /// The names of the transforms that declare a stage, in the required order.
        expected: String,
    },
    /// A metric that is undefined on the given samples.
    #[error("{metric} is undefined: {reason}")]
    UndefinedMetric {
        /// The name of the metric that is undefined.
        metric: &'static str,
        /// The property of the samples that makes the metric undefined.
        reason: String,
    },
    /// An operation that the current state of its object does not allow.
    #[error("{what} needs {needs}")]
    InvalidState {
        /// The name of the operation that was refused.
        what: &'static str,
        /// The state that the operation requires, or the call that must come before it.
        needs: &'static str,
    },
    /// A layer or network that does not suit a container, a loss or a method of a model.
    #[error("{what} needs {needs}")]
    IncompatibleLayer {
        /// The name of the container, loss or method that refuses the layer or network.
        what: &'static str,
        /// The kind of layer or network that is required, as text.
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
        /// The kind of the custom layer, cell, activation or initializer, as the layer spec names it.
        kind: String,
    },
    /// A custom layer, cell, activation or initializer that a [`Registry`](crate::network::Registry) cannot build.
    #[error("registered {part} {name:?}: {rule}")]
    Registered {
        /// What the registry cannot build, as text: layer, cell, activation or initializer.
        part: &'static str,
        /// The name under which the custom part is registered.
        name: String,
        /// The rule of the registry that is broken.
        rule: Box<RegistryRule>,
    },
    /// Settings, as text, from which a custom layer, cell, activation or initializer cannot be built.
    #[error("settings: {reason}; correct the settings in the description")]
    Settings {
        /// Why the settings are refused, such as the message of a JSON reader.
        reason: String,
    },
    /// A CPU level (an instruction set) that is unknown or not supported by the machine, or that is set too late.
    #[error("CPU level {level:?}: {reason}")]
    CpuLevel {
        /// The name of the requested CPU level.
        level: String,
        /// Why the CPU level is refused.
        reason: String,
    },
    /// Threads that the operating system could not start.
    #[error("{threads} threads: {reason}; ask for fewer")]
    Threads {
        /// The number of threads that was requested.
        threads: usize,
        /// The message of the operating system about the threads.
        reason: String,
    },
    /// A file that could not be read or written.
    #[error("{path}: {reason}")]
    File {
        /// The path of the file that could not be read or written.
        path: String,
        /// The message of the operating system about the file.
        reason: String,
    },
    /// A tensor of a state dict (tensors by name) that does not fit the network.
    #[error(
        "state dict, tensor {tensor}: expected {expected}, found {found}; build the network of the state dict, or map \
         names by `ModuleNames`"
    )]
    StateDict {
        /// The name of the tensor that does not fit the network.
        tensor: String,
        /// The name, shape or type of the tensor that the network expects, as text.
        expected: String,
        /// The name, shape or type of the tensor in the state dict, as text.
        found: String,
    },
    /// A saved checkpoint or model that was made with another network, scalar type or chain of transforms.
    #[error("{block}: the saved file has {found}, but {expected} is expected here; {}", checkpoint_remedy(block))]
    Checkpoint {
        /// The name of the block, layer, transform or number that differs.
        block: String,
        /// The kind, shape or length that `block` has in the current run.
        expected: String,
        /// The kind, shape or length that `block` has in the saved file.
        found: String,
    },
    /// A value in a file of a checkpoint, a model or a state dict that is not allowed there.
    #[error("{name}: in a file it must be {rule}, found {found}; {}", message::value_remedy(name))]
    CheckpointValue {
        /// The name of the number, block or slice whose value is not allowed.
        name: String,
        /// The rule that the value in the file breaks, as text.
        rule: &'static str,
        /// The value in the file, as text.
        found: String,
    },
    /// Bytes that are not a complete file of a model, a run or a state dict: truncated, damaged or in another format.
    #[error("{origin} cannot be read: {reason}; use another copy of the file, or write it again")]
    CheckpointFormat {
        /// The path of the file with the error, or `the data` for bytes in memory.
        origin: String,
        /// The first rule of the file format that does not hold, as text.
        reason: String,
    },
    /// A complete file of a different kind from the one expected, such as a checkpoint instead of a model.
    #[error("{origin} is {found}, not {expected}; {remedy}")]
    FileKind {
        /// The path of the file of the wrong kind, or `the data` for bytes in memory.
        origin: String,
        /// The kind of the file that was given, as text: `a checkpoint`.
        found: &'static str,
        /// The kind of file that the called function reads, as text.
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
        /// The path of the file with the unknown version, or `the data` for bytes in memory.
        origin: String,
        /// The format version of the file, which this crate does not read.
        found: String,
        /// The format version that this crate reads.
        expected: u32,
    },
}
