use super::Error;
use alloc::{boxed::Box, string::String};

/// A rule of the contract of [`Layer`](crate::Layer) or [`Cell`](crate::recurrent::Cell), with the value that breaks
/// it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LayerRule {
    /// A method that returns two values for the same arguments.
    #[error("`{method}` returns another value than before; it must return the same one every time")]
    Changed {
        /// The method.
        method: &'static str,
    },
    /// A block whose range is reversed.
    #[error("block {block:?} has the range {start}..{end}; its end must not be below its start")]
    ReversedRange {
        /// The block.
        block: String,
        /// The start of its range.
        start: usize,
        /// The end of its range.
        end: usize,
    },
    /// A block that overlaps the block before it, or leaves a gap.
    #[error("block {block:?} starts at parameter {found}; it must start at {expected}, where the block before it ends")]
    BlockStart {
        /// The block.
        block: String,
        /// The end of the block before it.
        expected: usize,
        /// The start of its range.
        found: usize,
    },
    /// Blocks that hold fewer or more parameters than `dims` counts.
    #[error("the blocks hold {found} parameters; `dims` counts {expected}, and the blocks must hold all of them")]
    BlockTotal {
        /// Parameters by `dims`.
        expected: usize,
        /// Parameters in blocks.
        found: usize,
    },
    /// A block whose shape has another number of values than its range.
    #[error("block {block:?} has {parameters} parameters; its shape {rows} × {columns} must have as many")]
    BlockShape {
        /// The block.
        block: String,
        /// Rows of the shape.
        rows: usize,
        /// Columns of the shape.
        columns: usize,
        /// Parameters of the range.
        parameters: usize,
    },
    /// A training pass over too few rows for a layer that normalizes over them.
    #[error(
        "it normalizes over the rows of a batch: training needs at least 2, found {found}; choose a batch size that \
         leaves no sample alone, or another norm"
    )]
    TooFewRows {
        /// Rows of the pass.
        found: usize,
    },
    /// An embedding whose indices are the output of another layer.
    #[error("an Embedding reads indices, which another layer computes here; it must receive the network's input")]
    ComputedIndices,
    /// A layer that cannot run in segments of steps.
    #[error(
        "it cannot run in segments of steps; a checkpointed layer holds recurrent layers that read from the start, \
         activations, dropout, and at the end a LastStep: put other layers before or after it"
    )]
    NotInSegments,
    /// Recurrent layers whose sums over time have blocks of different sizes, in one checkpointed layer.
    #[error(
        "its gradient is added in blocks of {found} rows, that of the layer before in blocks of {expected}; \
         checkpoint the two layers one by one"
    )]
    SegmentBlocks {
        /// Rows of a block of the layer before.
        expected: usize,
        /// Rows of a block of the layer.
        found: usize,
    },
    /// A layer that cannot run a step at a time.
    #[error("{kind} {reason}, so it cannot run a step at a time; predict whole sequences, or leave it out")]
    NotStreamable {
        /// The layer's kind.
        kind: String,
        /// What it reads.
        reason: &'static str,
    },
    /// A layer whose outputs need the steps of other windows.
    #[error("{kind} {reason}, so sequences cannot be cut into windows; leave it out, or train on whole sequences")]
    NotInWindows {
        /// The layer's kind.
        kind: String,
        /// What it reads or gives.
        reason: &'static str,
    },
    /// A custom layer with a state, in windows of sequences of unequal length.
    #[error("the state of {kind} cannot be divided into samples; train on sequences of equal length")]
    StateLayout {
        /// The layer's kind.
        kind: String,
    },
    /// A block or a link without a name.
    #[error("a {what} has no name; each must have one")]
    NoName {
        /// Block, link or gate.
        what: &'static str,
    },
    /// A name that two blocks, links or gates share.
    #[error("two {what}s are named {name:?}; each name must be used once")]
    NameTwice {
        /// Block, link or gate.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Gates that do not divide the rows of a block.
    #[error("block {block:?} has {rows} rows; its {gates} gates must have equal numbers of them")]
    GateRows {
        /// The block.
        block: String,
        /// Rows.
        rows: usize,
        /// Gates.
        gates: usize,
    },
    /// An output shape that no pass can cover.
    #[error("`output_shape` must give rows that a pass can cover: {reason}")]
    InvalidOutputShape {
        /// The reason.
        reason: Box<Error>,
    },
    /// An output shape of another batch.
    #[error("`output_shape` gives {found} samples for {expected}; it must keep the batch")]
    BatchChanged {
        /// Samples of the input.
        expected: usize,
        /// Samples of the output.
        found: usize,
    },
    /// A memory size that decreases when batch or steps increase.
    #[error("`memory` asks for less {what} when batch or steps grow ({larger} after {smaller}); it must not shrink")]
    MemoryShrinks {
        /// Saved values or scratch.
        what: &'static str,
        /// Values for the smaller pass.
        smaller: usize,
        /// Values for the larger pass.
        larger: usize,
    },
    /// A state per sample whose size depends on the pass.
    #[error(
        "`memory` has {found} values of state per sample in one pass and {expected} in another; it must be one number"
    )]
    StateVaries {
        /// Values in the first pass asked about.
        expected: usize,
        /// Values in another.
        found: usize,
    },
    /// Values saved in inference, which has no backward pass.
    #[error("`memory` saves {saved} values in `Mode::Infer`; it must save none")]
    InferenceSaves {
        /// Values.
        saved: usize,
    },
    /// A layer without a link.
    #[error("`structure` names no link; it must name at least the layer's own path")]
    NoLink,
    /// Layers nested too deeply.
    #[error("layers are nested more than {limit} deep, and must not be; put several of them into one `Sequential`")]
    TooDeep {
        /// The largest possible depth.
        limit: usize,
    },
    /// A cell without gates.
    #[error("the cell has no gates; it must have at least 1")]
    NoGates,
    /// A product of a cell whose range of gates is empty or exceeds the gates of the cell.
    #[error("product {product} of the cell has gates {start}..{end}; it must have at least 1 of the {gates} there are")]
    ProductGates {
        /// The product.
        product: usize,
        /// Its first gate.
        start: usize,
        /// The end of its gates.
        end: usize,
        /// Gates of the cell.
        gates: usize,
    },
    /// Separate products of a cell whose gates are not in order.
    #[error("separate product {product} of the cell starts at gate {found}; it must start at {expected}, in order")]
    SeparateGates {
        /// The product.
        product: usize,
        /// The gate after the separate product before it.
        expected: usize,
        /// Its first gate.
        found: usize,
    },
    /// A product of the first stage applied to the operand of a stage before it.
    #[error(
        "product {product} of the cell has `Operand::StageOutput` at stage 0; it must be at a stage after \
         the one that writes it"
    )]
    StageOutputAtStart {
        /// The product.
        product: usize,
    },
    /// A stage of a cell that no product precedes.
    #[error("stage {stage} of the cell has no product; each stage after the first must have at least 1")]
    StageWithoutProduct {
        /// The stage.
        stage: usize,
    },
    /// A number of gates, products or values per unit of a cell that is too large.
    #[error("`{method}` of the cell gives {found}; it must give at most {limit}")]
    CellSize {
        /// The method.
        method: &'static str,
        /// The number.
        found: usize,
        /// The largest possible number.
        limit: usize,
    },
}

impl LayerRule {
    /// The error that names the layer at `path`.
    pub(crate) fn at(self, path: &str) -> Error {
        Error::InvalidLayer { layer: if path.is_empty() { "network" } else { path }.into(), rule: self }
    }
}
