//! Walks over a network as data, without recursion.

use super::{BranchScale, Kind, LastStep, LayerSpec, MAX_DEPTH, Merge, join};
use crate::{activation::ActivationKind, error::LayerRule};
use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

/// The placeholder for a layer inside another one that was moved out, or is yet to be copied.
pub(super) const HOLLOW: LayerSpec = LayerSpec::LastStep(LastStep::new(0));

impl Clone for LayerSpec {
    fn clone(&self) -> Self {
        let mut copy = self.shallow();
        let mut open: Vec<(&LayerSpec, &mut LayerSpec)> = self.children().zip(copy.children_mut()).collect();
        while let Some((from, to)) = open.pop() {
            *to = from.shallow();
            open.extend(from.children().zip(to.children_mut()));
        }
        copy
    }
}

impl PartialEq for LayerSpec {
    fn eq(&self, other: &Self) -> bool {
        let mut open = vec![(self, other)];
        while let Some((a, b)) = open.pop() {
            if !a.is_alike(b) {
                return false;
            }
            open.extend(a.children().zip(b.children()));
        }
        true
    }
}

/// Moves the layers inside out before they are dropped, so that dropping does not recurse.
impl Drop for LayerSpec {
    fn drop(&mut self) {
        if self.children().all(|part| part.children().next().is_none()) {
            return;
        }
        let mut open: Vec<LayerSpec> = self.children_mut().map(|part| core::mem::replace(part, HOLLOW)).collect();
        while let Some(mut node) = open.pop() {
            open.extend(node.children_mut().map(|part| core::mem::replace(part, HOLLOW)));
        }
    }
}

impl LayerSpec {
    /// Returns the path and the specification of the layer that computes the output of the network. In a
    /// [`LayerSpec::Sequential`] it is the last layer, or the last one inside that if it is a `Sequential` too. Any
    /// other layer, such as one with parallel branches, counts as one layer.
    pub(crate) fn last_layer(&self) -> (String, &LayerSpec) {
        let (mut path, mut last) = (String::new(), self);
        while let LayerSpec::Sequential { layers, .. } = last
            && let Some(part) = layers.last()
        {
            path = join(&path, &(layers.len() - 1).to_string());
            last = part;
        }
        (path, last)
    }

    /// Returns the specifications of the layers directly inside this one, in order.
    pub(crate) fn children(&self) -> impl DoubleEndedIterator<Item = &LayerSpec> {
        let (row, one, other): (&[LayerSpec], _, _) = match self {
            LayerSpec::Sequential { layers, .. }
            | LayerSpec::Checkpointed { layers, .. }
            | LayerSpec::Parallel { branches: layers, .. } => (layers, None, None),
            LayerSpec::Residual { branch: one, .. } | LayerSpec::Reversed(one) => (&[], Some(&**one), None),
            LayerSpec::Bidirectional { forward, backward } => (&[], Some(&**forward), Some(&**backward)),
            _ => (&[], None, None),
        };
        row.iter().chain(one).chain(other)
    }

    pub(crate) fn children_mut(&mut self) -> impl Iterator<Item = &mut LayerSpec> {
        let (row, one, other): (&mut [LayerSpec], _, _) = match self {
            LayerSpec::Sequential { layers, .. }
            | LayerSpec::Checkpointed { layers, .. }
            | LayerSpec::Parallel { branches: layers, .. } => (layers, None, None),
            LayerSpec::Residual { branch: one, .. } | LayerSpec::Reversed(one) => (&mut [], Some(&mut **one), None),
            LayerSpec::Bidirectional { forward, backward } => (&mut [], Some(&mut **forward), Some(&mut **backward)),
            _ => (&mut [], None, None),
        };
        row.iter_mut().chain(one).chain(other)
    }

    /// The number of levels of nested layers: 1 for a layer without parts.
    pub fn depth(&self) -> usize {
        let (mut depth, mut level) = (0, vec![self]);
        while !level.is_empty() {
            depth += 1;
            level = level.into_iter().flat_map(LayerSpec::children).collect();
        }
        depth
    }

    /// Whether a layer, cell or activation in it is a custom one. Such a part computes no second derivatives on dual
    /// numbers: that of an activation kept as data is 0.
    pub(crate) fn has_custom_part(&self) -> bool {
        let mut open = vec![self];
        while let Some(node) = open.pop() {
            let is_custom = match node {
                LayerSpec::Custom { .. } => true,
                LayerSpec::ActivationLayer { activation, .. } => matches!(activation, ActivationKind::Custom(_)),
                LayerSpec::Recurrent { cell, .. } => cell.custom_part().is_some(),
                other => {
                    let kinds = |kind: Kind<'_>| matches!(kind, Kind::Activation(ActivationKind::Custom(_)));
                    other.shallow().listed_kinds_mut().into_iter().any(kinds)
                }
            };
            if is_custom {
                return true;
            }
            open.extend(node.children());
        }
        false
    }

    /// Returns [`LayerRule::TooDeep`] for a specification with more than [`MAX_DEPTH`] levels of nested layers.
    pub(crate) fn check_depth(&self) -> Result<(), LayerRule> {
        if self.depth() > MAX_DEPTH { Err(LayerRule::TooDeep { limit: MAX_DEPTH }) } else { Ok(()) }
    }

    /// Returns the path and the specification of this layer and of all layers inside it, each layer before the layers
    /// inside it. The path of this layer is empty.
    pub(crate) fn parts(&self) -> Vec<(String, &LayerSpec)> {
        let (mut found, mut open) = (Vec::new(), vec![(String::new(), self)]);
        while let Some((path, node)) = open.pop() {
            let name = |i: usize| match node {
                LayerSpec::Sequential { .. } | LayerSpec::Checkpointed { .. } | LayerSpec::Parallel { .. } => {
                    join(&path, &i.to_string())
                }
                LayerSpec::Residual { .. } => join(&path, "branch"),
                LayerSpec::Bidirectional { .. } => join(&path, ["forward", "backward"][i]),
                _ => path.clone(),
            };
            let first = open.len();
            open.extend(node.children().enumerate().map(|(i, part)| (name(i), part)));
            open[first..].reverse();
            found.push((path, node));
        }
        found
    }

    /// Returns the numbers of values per input row and per output row; 0 where layers inside are missing.
    pub fn widths(&self) -> (usize, usize) {
        let mut first = self;
        let input = loop {
            match first {
                LayerSpec::Residual { branch: part, .. }
                | LayerSpec::Reversed(part)
                | LayerSpec::Bidirectional { forward: part, .. } => {
                    first = part;
                }
                LayerSpec::Checkpointed { layers: parts, .. } | LayerSpec::Parallel { branches: parts, .. } => {
                    match parts.first() {
                        Some(part) => first = part,
                        None => break 0,
                    }
                }
                LayerSpec::Sequential { input, .. } => break *input,
                leaf => break leaf.own_widths().0,
            }
        };
        // A bidirectional layer concatenates the outputs of both directions; a sum has the width of one branch.
        let (mut output, mut open) = (0usize, vec![self]);
        while let Some(node) = open.pop() {
            match node {
                LayerSpec::Sequential { input, layers } if layers.is_empty() => output = output.saturating_add(*input),
                LayerSpec::Sequential { layers, .. } | LayerSpec::Checkpointed { layers, .. } => {
                    open.extend(layers.last())
                }
                LayerSpec::Parallel { branches, merge: Merge::Sum } => open.extend(branches.first()),
                _ if node.children().next().is_some() => open.extend(node.children()),
                leaf => output = output.saturating_add(leaf.own_widths().1),
            }
        }
        (input, output)
    }

    /// Returns the numbers of values per input row and per output row of a layer without parts; 0 for other layers.
    fn own_widths(&self) -> (usize, usize) {
        match self {
            LayerSpec::ActivationLayer { width, .. } => (*width, *width),
            LayerSpec::Recurrent { inputs, hidden, .. } => (*inputs, *hidden),
            LayerSpec::Custom { dims, .. } => (dims.input, dims.output),
            listed => listed.listed_widths(),
        }
    }

    /// Whether the network has an embedding. If so, the inputs of the network count as indices, which have no scale.
    pub(crate) fn reads_indices(&self) -> bool {
        self.parts().iter().any(|(_, part)| matches!(part, LayerSpec::Embedding(_)))
    }

    /// Whether a layer of the network divides each column by its standard deviation over all rows of a batch.
    pub(crate) fn normalizes_over_rows(&self) -> bool {
        self.parts().iter().any(|(_, part)| matches!(part, LayerSpec::BatchNorm(_)))
    }

    /// Whether the layer is in the list `leaf_layers` (layers without parts that are their own specification) and has
    /// initializers among its settings, and so has weights.
    pub(crate) fn has_initializers(&self) -> bool {
        self.listed().is_some()
            && self.shallow().listed_kinds_mut().iter().any(|kind| matches!(kind, Kind::Initializer(_)))
    }

    /// Whether the layer divides its input by a standard deviation or root mean square.
    pub(crate) fn is_norm(&self) -> bool {
        use LayerSpec::{BatchNorm, GroupNorm, LayerNorm, RmsNorm};
        matches!(self, LayerNorm(_) | RmsNorm(_) | GroupNorm(_) | BatchNorm(_))
    }

    /// The kind of the layer in a few words, for tables and messages.
    pub(crate) fn title(&self) -> String {
        match self {
            LayerSpec::ActivationLayer { activation, .. } => activation.as_any().saved_name().into(),
            LayerSpec::Residual { scale: BranchScale::Fixed(scale), .. } => format!("Residual, scale {scale}"),
            LayerSpec::Residual { scale: BranchScale::Learned(first), .. } => {
                format!("Residual, learned scale from {first}")
            }
            LayerSpec::Sequential { .. } => "Sequential".into(),
            LayerSpec::Parallel { merge, .. } => format!("Parallel, {merge:?}"),
            LayerSpec::Checkpointed { interval, .. } => format!("Checkpointed, {interval:?}"),
            LayerSpec::Recurrent { cell, noise, .. } => noise
                .facts()
                .fold(format!("Recurrent {cell}"), |title, (name, rate)| title + &format!(", {name} {rate:?}")),
            LayerSpec::Reversed(first) => {
                let (mut layer, mut title) = (first, String::from("Reversed "));
                while let LayerSpec::Reversed(within) = &**layer {
                    (layer, title) = (within, title + "Reversed ");
                }
                title + &layer.title()
            }
            LayerSpec::Bidirectional { .. } => "Bidirectional".into(),
            LayerSpec::Custom { kind, .. } => short(kind).into(),
            listed => {
                let (name, facts) =
                    listed.listed().map_or(("", Vec::new()), |(name, layer)| (name, layer.training_facts()));
                facts.into_iter().fold(String::from(name), |title, (_, value)| title + " " + &value)
            }
        }
    }
}

/// Returns the name of a type without its module path. The arguments of a generic type are kept.
fn short(name: &str) -> &str {
    let end = name.find('<').unwrap_or(name.len());
    name[..end].rfind("::").map_or(name, |colons| &name[colons + 2..])
}
