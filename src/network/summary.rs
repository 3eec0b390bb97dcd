//! The summary of a network: a table of its layers, which is also its `Debug` text.

use crate::layer::{Layer, LayerSpec, Parallel, Residual, Sequential, assert_depth};
use crate::{block::Blocks, recurrent::Checkpointed, scalar::Scalar};
use alloc::{collections::BTreeMap, format, string::String, vec::Vec};
use core::fmt;

/// One row of a [`Summary`]: a layer of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SummaryRow {
    /// The path of the layer in the network: `2`, `3.branch.0`.
    pub path: String,
    /// The kind of the layer in a few words, with some of its settings, such as `Dropout 0.5`.
    pub kind: String,
    /// The number of values in each input row of the layer.
    pub input: usize,
    /// The number of values in each output row of the layer.
    pub output: usize,
    /// The number of parameters of the layer, including those of the layers inside it.
    pub parameters: usize,
}

/// The summary of a network: its layers with their widths and numbers of parameters, displayed as a table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// The rows of the table: one for each layer, followed by those of the layers inside it.
    pub rows: Vec<SummaryRow>,
    /// The number of parameters of the whole network.
    pub parameters: usize,
}

/// Returns the summary of `network`: its layers with their widths and numbers of parameters.
///
/// # Panics
/// If layers are nested more than [`MAX_DEPTH`](crate::layer::MAX_DEPTH) deep.
///
/// ```
/// use chainrule::{layer::Sequential, network::summary};
/// let network = Sequential::<f32>::input(3).linear(2).build()?;
/// assert_eq!(summary(&network).parameters, 8);
/// println!("{}", summary(&network));
/// # Ok::<(), chainrule::Error>(())
/// ```
pub fn summary<T: Scalar>(network: &(impl Layer<T> + ?Sized)) -> Summary {
    assert_depth(&network);
    let blocks = Blocks::collect(|visit| network.blocks(visit));
    // Adds the number of parameters of each block to its layer and to every layer around it.
    let mut counts = BTreeMap::<&str, usize>::new();
    for block in &blocks {
        let dots = block.name.match_indices('.').map(|(dot, _)| &block.name[..dot]);
        dots.chain([&*block.name, ""]).for_each(|path| *counts.entry(path).or_default() += block.range.len());
    }
    let (described, mut rows) = (network.spec(), Vec::<SummaryRow>::new());
    for (path, node) in described.parts() {
        let is_whole = path.is_empty() && matches!(node, LayerSpec::Sequential { .. });
        // The layer inside a `Reversed` has the same path as the `Reversed` itself, and gets no row of its own.
        if is_whole || rows.last().is_some_and(|above| above.path == path) {
            continue;
        }
        let parameters = counts.get(&*path).copied().unwrap_or(0);
        let (input, output) = node.widths();
        rows.push(SummaryRow { path, kind: node.title(), input, output, parameters });
    }
    Summary { rows, parameters: network.dims().parameters }
}

/// Implements `Debug` for layers that contain layers, such as [`Sequential`], by the text of their [`summary`].
macro_rules! debug_is_summary {
    ($($container:ident)+) => {
        $(
            /// Writes the summary of the layer: the layers inside it, with their widths and numbers of parameters.
            impl<T: Scalar> fmt::Debug for $container<T> {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    fmt::Display::fmt(&summary(self), f)
                }
            }
        )+
    };
}
debug_is_summary!(Sequential Parallel Residual Checkpointed);

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
