//! A network as a table a person can read.

use super::{CellKind, Layer, Node};
use crate::{block::Blocks, scalar::Scalar};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

/// One part of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SummaryRow {
    /// Its place: `2`, `3.branch.0`.
    pub path: String,
    /// What it is.
    pub kind: String,
    /// Values per input row.
    pub input: usize,
    /// Values per output row.
    pub output: usize,
    /// Its parameters, those of its parts included.
    pub parameters: usize,
}

/// The parts of a network with their widths and parameters, to be printed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// The parts, each before the parts it is made of.
    pub rows: Vec<SummaryRow>,
    /// All parameters.
    pub parameters: usize,
}

/// The parts of `network` with their widths and parameters.
///
/// ```
/// use chainrule::layer::{Sequential, summary};
/// let network = Sequential::<f32>::input(3).linear(2).build()?;
/// assert_eq!(summary(&network).parameters, 8);
/// println!("{}", summary(&network));
/// # Ok::<(), chainrule::Error>(())
/// ```
pub fn summary<T: Scalar>(network: &(impl Layer<T> + ?Sized)) -> Summary {
    let blocks = Blocks::collect(|visit| network.blocks(visit));
    let mut rows = Vec::new();
    walk(&network.describe(), "", &blocks, &mut rows);
    Summary { rows, parameters: network.dims().parameters }
}

fn walk(node: &Node, path: &str, blocks: &Blocks, rows: &mut Vec<SummaryRow>) {
    let (input, output) = node.widths();
    if !(path.is_empty() && matches!(node, Node::Sequential { .. })) {
        let under = blocks.under(path).unwrap_or_default();
        let parameters = blocks.iter().enumerate().filter(|(i, _)| under.contains(i)).map(|(_, b)| b.range.len()).sum();
        rows.push(SummaryRow { path: path.into(), kind: node.title(), input, output, parameters });
    }
    walk_parts(node, path, blocks, rows);
}

fn walk_parts(node: &Node, path: &str, blocks: &Blocks, rows: &mut Vec<SummaryRow>) {
    let join = |part: &str| if path.is_empty() { part.to_string() } else { format!("{path}.{part}") };
    match node {
        Node::Sequential { layers, .. } => {
            for (i, layer) in layers.iter().enumerate() {
                walk(layer, &join(&i.to_string()), blocks, rows);
            }
        }
        Node::Residual { branch, .. } => walk(branch, &join("branch"), blocks, rows),
        // The layer within has no place of its own.
        Node::Reversed(layer) => walk_parts(layer, path, blocks, rows),
        Node::Bidirectional { forward, backward } => {
            walk(forward, &join("forward"), blocks, rows);
            walk(backward, &join("backward"), blocks, rows);
        }
        _ => {}
    }
}

impl Node {
    /// Values per input row and per output row.
    pub fn widths(&self) -> (usize, usize) {
        match self {
            Node::Linear { inputs, outputs, .. } => (*inputs, *outputs),
            Node::Pointwise { width, .. }
            | Node::PRelu { width, .. }
            | Node::LayerNorm { width, .. }
            | Node::RmsNorm { width, .. }
            | Node::Dropout { width, .. }
            | Node::LastStep { width }
            | Node::MeanOverSteps { width } => (*width, *width),
            Node::Residual { branch, .. } => branch.widths(),
            Node::Sequential { input, layers } => (*input, layers.last().map_or(*input, |last| last.widths().1)),
            Node::Recurrent { inputs, hidden, .. } => (*inputs, *hidden),
            Node::Reversed(layer) => layer.widths(),
            Node::Bidirectional { forward, backward } => (forward.widths().0, forward.widths().1 + backward.widths().1),
            Node::Opaque { dims, .. } => (dims.input, dims.output),
        }
    }

    /// What it is, in a word or two.
    pub(crate) fn title(&self) -> String {
        match self {
            Node::Linear { .. } => "Linear".into(),
            Node::Pointwise { activation, .. } => activation.name().into(),
            Node::PRelu { .. } => "PRelu".into(),
            Node::LayerNorm { .. } => "LayerNorm".into(),
            Node::RmsNorm { .. } => "RmsNorm".into(),
            Node::Dropout { rate, .. } => format!("Dropout {rate}"),
            Node::Residual { scale, .. } => format!("Residual, scale {scale:?}"),
            Node::Sequential { .. } => "Sequential".into(),
            Node::LastStep { .. } => "LastStep".into(),
            Node::MeanOverSteps { .. } => "MeanOverSteps".into(),
            Node::Recurrent { cell, .. } => match cell {
                CellKind::Elman(activation) => format!("Recurrent Elman {}", activation.name()),
                CellKind::Lstm => "Recurrent Lstm".into(),
                CellKind::Gru(reset) => format!("Recurrent Gru, {reset:?}"),
                CellKind::Opaque(name) => format!("Recurrent {}", short(name)),
            },
            Node::Reversed(layer) => format!("Reversed {}", layer.title()),
            Node::Bidirectional { .. } => "Bidirectional".into(),
            Node::Opaque { kind, .. } => short(kind).into(),
        }
    }
}

/// A type's name without its path.
fn short(name: &str) -> &str {
    let end = name.find('<').unwrap_or(name.len());
    name[..end].rfind("::").map_or(name, |colons| &name[colons + 2..])
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = |text: fn(&SummaryRow) -> usize, least| self.rows.iter().map(text).max().unwrap_or(0).max(least);
        let (path, kind) = (widest(|row| row.path.len(), 5), widest(|row| row.kind.len(), 4));
        writeln!(f, "{:<path$}  {:<kind$}  {:>15}  {:>10}", "layer", "kind", "widths", "parameters")?;
        for row in &self.rows {
            let widths = format!("{} → {}", row.input, row.output);
            writeln!(f, "{:<path$}  {:<kind$}  {widths:>15}  {:>10}", row.path, row.kind, row.parameters)?;
        }
        writeln!(f, "{:<path$}  {:<kind$}  {:>15}  {:>10}", "", "", "in all", self.parameters)
    }
}
