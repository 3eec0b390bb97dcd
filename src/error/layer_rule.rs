use super::Error;
use alloc::{boxed::Box, string::String};

/// A rule of the contract of [`Layer`](crate::Layer) or [`Cell`](crate::recurrent::Cell) that an implementation or a
/// network breaks, with the offending value. It is the content of [`Error::InvalidLayer`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LayerRule {
    /// A network inside another, such as the branch of a residual layer, that has no layers.
    #[error("it has no layers; add at least 1")]
    NoLayers,
    /// A method of a layer or cell that returns two different values for the same arguments.
    #[error("`{method}` returns another value than before; it must return the same one every time")]
    Changed {
        /// The name of the method whose values differ, such as `output_shape`.
        method: &'static str,
    },
    /// A block (a named range of parameters) whose range ends below its start.
    #[error("block {block:?} has the range {start}..{end}; its end must not be below its start")]
    ReversedRange {
        /// The name of the block whose range is reversed.
        block: String,
        /// The start of the block's range, an index into the parameters of the layer.
        start: usize,
        /// The end of the block's range, which is below its start.
        end: usize,
    },
    /// A block (a named range of parameters) that overlaps the preceding block of its layer, or leaves a gap after
    /// it.
    #[error("block {block:?} starts at parameter {found}; it must start at {expected}, where the block before it ends")]
    BlockStart {
        /// The name of the block that starts at the wrong parameter.
        block: String,
        /// The index of the parameter at which the block must start: the end of the preceding block's range.
        expected: usize,
        /// The index of the parameter at which the block starts.
        found: usize,
    },
    /// Blocks (named ranges of parameters) whose total size is not the number that
    /// [`Layer::dims`](crate::Layer::dims) states.
    #[error("the blocks hold {found} parameters; `dims` counts {expected}, and the blocks must hold all of them")]
    BlockTotal {
        /// The number of parameters of the layer according to `Layer::dims`.
        expected: usize,
        /// The number of parameters in all blocks of the layer.
        found: usize,
    },
    /// A block (a named range of parameters) whose shape has a different number of values from its range.
    #[error("block {block:?} has {parameters} parameters; its shape {rows} × {columns} must have as many")]
    BlockShape {
        /// The name of the block whose shape and range differ.
        block: String,
        /// The number of rows in the block's shape.
        rows: usize,
        /// The number of columns in the block's shape.
        columns: usize,
        /// The number of parameters in the block's range, which is not `rows · columns`.
        parameters: usize,
    },
    /// A training pass with too few rows for a layer that normalizes over the rows of a batch.
    #[error(
        "it normalizes over the rows of a batch: training needs at least 2, found {found}; choose a batch size that \
         leaves no sample alone, or another norm"
    )]
    TooFewRows {
        /// The number of rows in the training pass, which is below 2.
        found: usize,
    },
    /// An embedding whose input, the indices, is computed by another layer.
    #[error("an Embedding reads indices, which another layer computes here; it must receive the network's input")]
    ComputedIndices,
    /// A layer that cannot process a sequence in segments of time steps, inside a
    /// [`Checkpointed`](crate::recurrent::Checkpointed) layer, which requires it.
    #[error(
        "it cannot run in segments of steps (a checkpointed layer holds recurrent layers that read from the start, \
         activations, dropout, and at the end a LastStep); put other layers before or after it"
    )]
    NotInSegments,
    /// A layer that cannot process a sequence one time step at a time.
    #[error("{kind} {reason}, so it cannot run a step at a time; predict whole sequences, or leave it out")]
    NotStreamable {
        /// The kind of the layer, such as `Bidirectional`.
        kind: String,
        /// Why the layer cannot process single time steps, as part of the message: `reads later steps`.
        reason: &'static str,
    },
    /// A layer that cannot train on windows cut from a sequence: it reads later time steps, or outputs one row for
    /// all of them.
    #[error("{kind} {reason}, so sequences cannot be cut into windows; leave it out, or train on whole sequences")]
    NotInWindows {
        /// The kind of the layer, such as `Bidirectional`.
        kind: String,
        /// Why the layer cannot train on windows of time steps, as part of the message: `reads later steps`.
        reason: &'static str,
    },
    /// A custom layer because of which the network outputs neither one row for each time step of the input nor one
    /// row per sample. A trainer, a model or a diagnosis cannot pair such outputs with targets.
    #[error(
        "the output of {kind} for samples of up to {steps} steps has neither the steps of each nor one step for each; \
         make it the shape of the input with its lengths, or one step, or run the network with a `Workspace`"
    )]
    OutputSteps {
        /// The kind of the custom layer that changes the number of time steps.
        kind: String,
        /// The number of time steps of the longest input sample for which the output has a wrong number.
        steps: usize,
    },
    /// A custom layer whose state cannot be divided into samples, as training on windows of sequences of unequal
    /// length requires.
    #[error("the state of {kind} cannot be divided into samples; train on sequences of equal length")]
    StateLayout {
        /// The kind of the custom layer whose state cannot be divided into samples.
        kind: String,
    },
    /// A parameter block, or a gate of one, whose name is empty.
    #[error("a {what} has no name; each must have one")]
    NoName {
        /// The kind of item without a name, as text: block or gate.
        what: &'static str,
    },
    /// A name that two parameter blocks, links (factors of the chain rule) or gates share.
    #[error("two {what}s are named {name:?}; each name must be used once")]
    NameTwice {
        /// The kind of the items with equal names, as text: block, gate, or link (a factor of the chain rule).
        what: &'static str,
        /// The name that two blocks, links or gates share.
        name: String,
    },
    /// A block of parameters whose number of rows is not a multiple of its number of gates.
    #[error("block {block:?} has {rows} rows; its {gates} gates must have equal numbers of them")]
    GateRows {
        /// The name of the block whose rows cannot be divided equally among its gates.
        block: String,
        /// The number of rows of the block, which is not a multiple of `gates`.
        rows: usize,
        /// The number of gates that share the rows of the block.
        gates: usize,
    },
    /// An output shape of a layer that no pass can have, such as one without time steps.
    #[error("`output_shape` must give rows that a pass can cover: {reason}")]
    InvalidOutputShape {
        /// The error that a pass over the invalid output shape would return.
        reason: Box<Error>,
    },
    /// A layer whose output shape has another number of samples than its input.
    #[error("`output_shape` gives {found} samples for {expected}; it must keep the batch")]
    BatchChanged {
        /// The number of samples in the shape of the layer's input.
        expected: usize,
        /// The number of samples in the shape of the layer's output, which differs from the input's.
        found: usize,
    },
    /// A memory size of a layer that decreases when the number of samples or time steps increases.
    #[error("`memory` asks for less {what} when batch or steps grow ({larger} after {smaller}); it must not shrink")]
    MemoryShrinks {
        /// The kind of memory whose size decreases, as text: saved values, scratch, output or state.
        what: &'static str,
        /// The size of the memory, in values, for fewer samples or time steps; it exceeds `larger`.
        smaller: usize,
        /// The size of the memory, in values, for more samples or time steps; it is below `smaller`.
        larger: usize,
    },
    /// A setting of a layer that the layer's constructors refuse, for example in a network that was read from a file.
    #[error("its settings must be in their ranges: {reason}")]
    InvalidSetting {
        /// The error that the layer's constructors return for the refused setting.
        reason: Box<Error>,
    },
    /// A layer whose `memory` method states different numbers of state values per sample for different passes.
    #[error(
        "`memory` has {found} values of state per sample in one pass and {expected} in another; it must be one number"
    )]
    StateVaries {
        /// The number of state values per sample that the layer's `memory` method states for a first pass.
        expected: usize,
        /// The number of state values per sample that `memory` states for another pass, unlike `expected`.
        found: usize,
    },
    /// A layer that saves values for the backward pass in inference mode, in which no backward pass follows.
    #[error("`memory` saves {saved} values in `Mode::Infer`; it must save none")]
    InferenceSaves {
        /// The number of values that the layer saves in `Mode::Infer`.
        saved: usize,
    },
    /// A layer without a link. A link is a factor of the chain rule, whose effect on the gradient a monitor measures.
    #[error("`structure` names no link; it must name at least the layer's own path")]
    NoLink,
    /// A network with too many levels of layers inside layers.
    #[error("layers are nested more than {limit} deep, and must not be; put several of them into one `Sequential`")]
    TooDeep {
        /// The largest allowed number of levels of layers inside layers, the network included.
        limit: usize,
    },
    /// A recurrent cell that declares no gates.
    #[error("the cell has no gates; it must have at least 1")]
    NoGates,
    /// A matrix product of a recurrent cell whose range of gates is empty or exceeds the gates of the cell.
    #[error("product {product} of the cell has gates {start}..{end}; it must have at least 1 of the {gates} there are")]
    ProductGates {
        /// The index, among the cell's matrix products, of the product with the wrong range of gates.
        product: usize,
        /// The index of the first gate that the product computes.
        start: usize,
        /// The index after the last gate that the product computes, above `gates` or not above `start`.
        end: usize,
        /// The number of gates in the cell.
        gates: usize,
    },
    /// Matrix products of a recurrent cell with [`keep_separate`](crate::recurrent::Product::keep_separate) whose
    /// ranges of gates do not follow each other in order and without gaps.
    #[error("separate product {product} of the cell starts at gate {found}; it must start at {expected}, in order")]
    SeparateGates {
        /// The index, among the cell's matrix products, of the product with the wrong first gate.
        product: usize,
        /// The index of the gate at which the product must start: the gate after the last one of the preceding
        /// product with `keep_separate`.
        expected: usize,
        /// The index of the first gate that the product computes, unlike `expected`.
        found: usize,
    },
    /// A matrix product at stage 0 of a cell that reads the output of an earlier stage. A cell runs each time step in
    /// stages, each after its matrix products, and no stage precedes stage 0.
    #[error(
        "product {product} of the cell has `Operand::StageOutput` at stage 0; it must be at a stage after \
         the one that writes it"
    )]
    StageOutputAtStart {
        /// The index, among the cell's matrix products, of the product that reads a stage output at stage 0.
        product: usize,
    },
    /// A stage after stage 0 without a matrix product, although a later stage has one. A stage is a part of a cell's
    /// time step that runs after its matrix products.
    #[error("stage {stage} of the cell has no product; each stage after the first must have at least 1")]
    StageWithoutProduct {
        /// The index of the stage that has no matrix product.
        stage: usize,
    },
    /// A recurrent cell whose number of gates, matrix products or values per unit is too large.
    #[error("`{method}` of the cell gives {found}; it must give at most {limit}")]
    CellSize {
        /// The name of the method of the cell that returns the too large number.
        method: &'static str,
        /// The number that the method of the cell returns, which is above `limit`.
        found: usize,
        /// The largest number that the method of the cell may return.
        limit: usize,
    },
}

impl LayerRule {
    /// Returns [`Error::InvalidLayer`] with this rule for the layer at `path`; an empty path is the whole network.
    pub(crate) fn at(self, path: &str) -> Error {
        Error::InvalidLayer { layer: if path.is_empty() { "network" } else { path }.into(), rule: self }
    }
}
