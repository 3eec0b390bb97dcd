//! Parameter blocks: the named ranges of the flat parameter buffer.

use crate::{
    error::{Error, LayerRule},
    size::saturating_product,
};
use alloc::{
    borrow::Cow,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::ops::Range;

/// The purpose of the parameters of a block, a named range of the parameters of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Role {
    /// A weight matrix on the input of a layer, or the table of an embedding.
    Weight,
    /// A weight matrix that multiplies the state of the previous time step.
    Recurrent,
    /// A bias.
    Bias,
    /// A multiplier: the gain of a norm, the scale of a branch, the slope of a PReLU.
    Gain,
}

/// A gate of a recurrent cell, or one of the two linear maps of a [`GatedLinear`](crate::layer::GatedLinear) layer. A
/// gate has one row for each unit in the weights, in the recurrent weights and in the biases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Gate {
    /// Name, unique in the cell or layer, such as `forget`.
    pub name: &'static str,
    /// Whether the state of the previous time step is multiplied by the gate, as by the forget gate of an LSTM or the
    /// update gate of a GRU. If such a gate is 0, the state and its gradient vanish.
    pub carries_state: bool,
}

impl Gate {
    /// Creates a gate that does not multiply the state of the previous time step, for example the input gate of an
    /// LSTM.
    pub const fn new(name: &'static str) -> Self {
        Gate { name, carries_state: false }
    }

    /// Creates a gate that multiplies the state of the previous time step, for example the forget gate of an LSTM.
    pub const fn carrying_state(name: &'static str) -> Self {
        Gate { name, carries_state: true }
    }
}

/// Writes the name of the gate.
impl core::fmt::Display for Gate {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name)
    }
}

/// A named range of the parameters of a network, such as one weight matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Block<'a> {
    /// Name, unique in the network, such as `0.weight` or `2.branch.0.bias`.
    pub name: Cow<'a, str>,
    /// Range in the flat buffer of all parameters.
    pub range: Range<usize>,
    /// Shape, row-major: a weight is \[outputs, inputs\], a bias is \[outputs, 1\].
    pub shape: [usize; 2],
    /// The purpose of the block's parameters: weight, recurrent weight, bias or gain.
    pub role: Role,
    /// The gates stacked in the block's rows, in order, each with the same number of rows; empty for a block without
    /// gates.
    pub gates: &'static [Gate],
    /// Whether the block is a lookup table: a layer copies rows of the block, and never multiplies a vector by it.
    pub table: bool,
    /// Whether the block is frozen: training skips its gradient and keeps its values.
    pub frozen: bool,
}

impl<'a> Block<'a> {
    /// Creates the block `name` of `shape` \[rows, columns\] that begins at index `start` of the flat buffer of all
    /// parameters. It has no gates, and is neither a lookup table nor frozen.
    pub fn new(name: &'a str, start: usize, shape: [usize; 2], role: Role) -> Self {
        Block {
            name: Cow::Borrowed(name),
            range: start..start.saturating_add(saturating_product(&shape)),
            shape,
            role,
            gates: &[],
            table: false,
            frozen: false,
        }
    }

    /// Sets the gates stacked in the block's rows.
    #[must_use]
    pub fn gates(mut self, gates: &'static [Gate]) -> Self {
        self.gates = gates;
        self
    }

    /// Whether the block's name is `prefix` or begins with `prefix` and a dot: prefix `2` covers `2.weight`, not
    /// `20.weight`. An empty prefix covers all blocks.
    pub(crate) fn is_under(&self, prefix: &str) -> bool {
        let rest = self.name.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || prefix.is_empty())
    }

    /// Marks the block as a lookup table, whose rows a layer copies, for example the table of an
    /// [`Embedding`](crate::layer::Embedding). [`Muon`](crate::transform::Muon) does not orthogonalize such a block.
    #[must_use]
    pub fn table(self) -> Self {
        Block { table: true, ..self }
    }

    /// Returns the block as part of a larger network, with `prefix` and a dot before its name and its range moved by
    /// `offset`.
    #[must_use]
    pub fn within(self, prefix: &str, offset: usize) -> Block<'static> {
        Block {
            name: Cow::Owned(format!("{prefix}.{}", self.name)),
            range: self.range.start.saturating_add(offset)..self.range.end.saturating_add(offset),
            shape: self.shape,
            role: self.role,
            gates: self.gates,
            table: self.table,
            frozen: self.frozen,
        }
    }
}

/// The parameter blocks of a network, in the order of the flat buffer of all parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocks {
    blocks: Vec<Block<'static>>,
}

impl Blocks {
    /// Collects the blocks that `visit_all` passes one by one to its argument, as
    /// [`Layer::blocks`](crate::Layer::blocks) does.
    pub fn collect(visit_all: impl FnOnce(&mut dyn FnMut(Block<'_>))) -> Self {
        let mut blocks = Vec::new();
        visit_all(&mut |block| blocks.push(own(block)));
        Blocks { blocks }
    }

    /// All blocks in order.
    pub fn iter(&self) -> core::slice::Iter<'_, Block<'static>> {
        self.blocks.iter()
    }

    /// The number of blocks.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether there are no blocks, that is, whether the network has no parameters.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The total number of parameters.
    pub fn parameters(&self) -> usize {
        self.blocks.last().map_or(0, |block| block.range.end)
    }

    /// Returns an error unless the blocks cover the parameters from 0 on, in order, without gap or overlap, and each
    /// shape has as many entries as its block has parameters. It allocates only for an error.
    pub(crate) fn check_ranges(&self) -> Result<(), LayerRule> {
        let mut expected = 0;
        for block in &self.blocks {
            let (name, start, end) = (|| block.name.to_string(), block.range.start, block.range.end);
            if end < start {
                return Err(LayerRule::ReversedRange { block: name(), start, end });
            }
            if start != expected {
                return Err(LayerRule::BlockStart { block: name(), expected, found: start });
            }
            let [rows, columns] = block.shape;
            if saturating_product(&block.shape) != end - start {
                return Err(LayerRule::BlockShape { block: name(), rows, columns, parameters: end - start });
            }
            expected = end;
        }
        Ok(())
    }

    /// Returns an error unless the blocks cover exactly `parameters` parameters in order, and each shape has as many
    /// entries as its block. The number of gates must divide the rows. Names must be unique and not empty.
    pub(crate) fn check(&self, parameters: usize) -> Result<(), LayerRule> {
        self.check_ranges()?;
        let gates = |block: &&Block<'_>| block.gates.is_empty() || block.shape[0].is_multiple_of(block.gates.len());
        if let Some(block) = self.iter().find(|block| !gates(block)) {
            let (rows, gates) = (block.shape[0], block.gates.len());
            return Err(LayerRule::GateRows { block: block.name.to_string(), rows, gates });
        }
        if self.parameters() != parameters {
            return Err(LayerRule::BlockTotal { expected: parameters, found: self.parameters() });
        }
        if self.iter().any(|block| block.name.is_empty()) {
            return Err(LayerRule::NoName { what: "block" });
        }
        unique("block", self.iter().map(|block| &*block.name))
    }

    /// The block named `name`.
    ///
    /// # Errors
    /// [`Error::UnknownBlock`] if no block has exactly this name.
    pub fn get(&self, name: &str) -> Result<&Block<'static>, Error> {
        self.blocks.iter().find(|block| block.name == name).ok_or_else(|| self.unknown(name))
    }

    /// The block that holds the parameter at `index` of the flat buffer; `None` beyond the last parameter.
    pub fn at(&self, index: usize) -> Option<&Block<'static>> {
        self.blocks.get(self.blocks.partition_point(|block| block.range.end <= index))
    }

    /// The blocks with parameters in `range`, each with the indices of those parameters, counted from the start of
    /// `range`.
    pub(crate) fn within(&self, range: Range<usize>) -> impl Iterator<Item = (&Block<'static>, Range<usize>)> {
        let first = self.blocks.partition_point(|block| block.range.end <= range.start);
        let blocks = self.blocks[first..].iter().take_while(move |block| block.range.start < range.end);
        blocks.map(move |block| {
            let Range { start, end } = block.range;
            (block, start.max(range.start) - range.start..end.min(range.end) - range.start)
        })
    }

    /// The indices, in increasing order, of the blocks whose name is `prefix` or begins with `prefix` and a dot (`2`
    /// covers `2.weight`, not `20.weight`). An empty prefix covers all blocks.
    ///
    /// # Errors
    /// [`Error::UnknownBlock`] if the prefix covers no block.
    pub fn under(&self, prefix: &str) -> Result<Vec<usize>, Error> {
        let found: Vec<usize> = (0..self.len()).filter(|&i| self.blocks[i].is_under(prefix)).collect();
        if found.is_empty() { Err(self.unknown(prefix)) } else { Ok(found) }
    }

    /// Returns the error for a `name` that no block has. It lists up to three block names with the smallest edit
    /// distance to `name`.
    fn unknown(&self, name: &str) -> Error {
        let nearest = nearest(name, self.blocks.iter().map(|block| &*block.name));
        Error::UnknownBlock { name: name.into(), nearest: nearest.into_iter().map(String::from).collect() }
    }

    /// Whether `other` has the same blocks in the same order; blocks that differ only in being frozen count as the
    /// same.
    pub(crate) fn same_layout(&self, other: &Blocks) -> bool {
        let same = |a: &Block<'_>, b: &Block<'_>| {
            (&a.range, a.shape, a.role, a.table) == (&b.range, b.shape, b.role, b.table)
                && a.name == b.name
                && a.gates == b.gates
        };
        self.len() == other.len() && self.iter().zip(other).all(|(a, b)| same(a, b))
    }

    /// Returns [`Error::InvalidState`] unless the blocks equal `made`, the blocks with which an optimizer was
    /// created. Blocks that differ only in being frozen count as equal. `what` names in the error what was attempted.
    pub(crate) fn check_layout(&self, what: &'static str, made: &Blocks) -> Result<(), Error> {
        if self.same_layout(made) {
            return Ok(());
        }
        Err(Error::InvalidState { what, needs: "the blocks that the optimizer was made for" })
    }

    /// Freezes each block if the block at the same position in `blocks` is frozen, and otherwise unfreezes it. Blocks
    /// beyond the end of `blocks` do not change.
    pub(crate) fn freeze_like<'a>(&mut self, blocks: impl Iterator<Item = &'a Block<'static>>) {
        self.blocks.iter_mut().zip(blocks).for_each(|(block, like)| block.frozen = like.frozen);
    }

    /// Freezes the blocks whose name is `prefix` or begins with `prefix` and a dot: training keeps their values.
    ///
    /// # Errors
    /// [`Error::UnknownBlock`] if the prefix covers no block.
    pub fn freeze(&mut self, prefix: &str) -> Result<(), Error> {
        self.set_frozen(prefix, true)
    }

    /// Unfreezes the blocks whose name is `prefix` or begins with `prefix` and a dot.
    ///
    /// # Errors
    /// [`Error::UnknownBlock`] if the prefix covers no block.
    pub fn unfreeze(&mut self, prefix: &str) -> Result<(), Error> {
        self.set_frozen(prefix, false)
    }

    fn set_frozen(&mut self, prefix: &str, frozen: bool) -> Result<(), Error> {
        for i in self.under(prefix)? {
            self.blocks[i].frozen = frozen;
        }
        Ok(())
    }
}

impl<'a> IntoIterator for &'a Blocks {
    type Item = &'a Block<'static>;
    type IntoIter = core::slice::Iter<'a, Block<'static>>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Returns an error if two of `names` are equal. The error calls the named items by `what`, such as "block".
pub(crate) fn unique<'a>(what: &'static str, names: impl Iterator<Item = &'a str>) -> Result<(), LayerRule> {
    let mut sorted: Vec<&str> = names.collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(LayerRule::NameTwice { what, name: pair[0].to_string() }),
        None => Ok(()),
    }
}

/// Returns the three of `names` (or all, if there are fewer) with the smallest edit distance to `name`, nearest
/// first. Names at equal distance keep their order.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.collect();
    names.sort_by_cached_key(|candidate| edits(name, candidate));
    names.truncate(3);
    names
}

/// Returns the edit distance from `a` to `b`: the least number of characters to insert, delete or replace (Levenshtein
/// 1966).
///
/// Only the first 64 characters of each are compared.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().take(64).enumerate() {
        let mut diagonal = core::mem::replace(&mut row[0], i + 1);
        for (j, &b) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

fn own(block: Block<'_>) -> Block<'static> {
    Block {
        name: Cow::Owned(block.name.into_owned()),
        range: block.range,
        shape: block.shape,
        role: block.role,
        gates: block.gates,
        table: block.table,
        frozen: block.frozen,
    }
}
