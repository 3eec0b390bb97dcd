//! A network as data: what it is made of, to be printed, compared, saved, changed and built again.

use super::Dims;
use crate::{activation::ActivationKind, initializer::InitializerKind};
use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec::Vec,
};

/// The factor on a residual branch.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum BranchScale {
    /// A constant. `1/√L` keeps L ReLU blocks in hand (Hayou et al. 2021).
    Fixed(f64),
    /// A parameter that begins at this value. 0 is ReZero (Bachlechner et al. 2021).
    Learned(f64),
}

/// Where the reset gate of a GRU acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Reset {
    /// On the product: `n = tanh(W_n x + b_n + r ⊙ (U_n h + b_u))`. PyTorch's and cuDNN's.
    #[default]
    AfterProduct,
    /// On the state: `n = tanh(W_n x + b_n + U_n (r ⊙ h))`. The paper's.
    BeforeProduct,
}

/// A recurrent cell as data.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum CellKind {
    /// The plain cell.
    Elman(ActivationKind),
    /// Long short-term memory.
    Lstm,
    /// The gated recurrent unit.
    Gru(Reset),
    /// A cell of a user's own: the name of its type.
    Opaque(String),
}

/// A layer as data.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Node {
    /// [`Linear`](super::Linear).
    Linear {
        /// Values per input row.
        inputs: usize,
        /// Values per output row.
        outputs: usize,
        /// Initializer of the weights.
        weights: InitializerKind,
        /// Initializer of the bias, where there is one.
        bias: Option<InitializerKind>,
    },
    /// [`Pointwise`](super::Pointwise).
    Pointwise {
        /// Values per row.
        width: usize,
        /// The activation.
        activation: ActivationKind,
    },
    /// [`PRelu`](super::PRelu).
    PRelu {
        /// Values per row.
        width: usize,
        /// Whether each unit has its own slope.
        per_unit: bool,
        /// The slope to begin with.
        initial: f64,
    },
    /// [`LayerNorm`](super::LayerNorm).
    LayerNorm {
        /// Values per row.
        width: usize,
        /// ε.
        epsilon: f64,
        /// Whether gain and bias are learned.
        affine: bool,
    },
    /// [`RmsNorm`](super::RmsNorm).
    RmsNorm {
        /// Values per row.
        width: usize,
        /// ε.
        epsilon: f64,
        /// Whether a gain is learned.
        affine: bool,
    },
    /// [`Dropout`](super::Dropout).
    Dropout {
        /// Values per row.
        width: usize,
        /// Probability of a zero.
        rate: f64,
    },
    /// [`Residual`](super::Residual).
    Residual {
        /// The branch beside the skip.
        branch: Box<Node>,
        /// The factor on it.
        scale: BranchScale,
    },
    /// [`Sequential`](super::Sequential).
    Sequential {
        /// Values per input row.
        input: usize,
        /// The layers in order.
        layers: Vec<Node>,
    },
    /// [`LastStep`](super::LastStep).
    LastStep {
        /// Values per row.
        width: usize,
    },
    /// [`MeanOverSteps`](super::MeanOverSteps).
    MeanOverSteps {
        /// Values per row.
        width: usize,
    },
    /// [`Recurrent`](crate::recurrent::Recurrent).
    Recurrent {
        /// The cell.
        cell: CellKind,
        /// Values per input row.
        inputs: usize,
        /// Units.
        hidden: usize,
        /// Initializer of W.
        weights: InitializerKind,
        /// Initializer of U.
        recurrent: InitializerKind,
        /// Initializer of the biases, where there are any.
        bias: Option<InitializerKind>,
    },
    /// [`Reversed`](crate::recurrent::Reversed).
    Reversed(Box<Node>),
    /// [`Bidirectional`](crate::recurrent::Bidirectional).
    Bidirectional {
        /// The layer that reads from the start.
        forward: Box<Node>,
        /// The layer that reads from the end.
        backward: Box<Node>,
    },
    /// A layer of a user's own: its kind and widths.
    Opaque {
        /// The name of its type.
        kind: String,
        /// Its widths.
        dims: Dims,
    },
}

impl Node {
    /// This node and every part of it with its path, in order, the whole before its parts.
    pub(crate) fn parts(&self) -> Vec<(String, &Node)> {
        fn walk<'a>(node: &'a Node, path: String, found: &mut Vec<(String, &'a Node)>) {
            let join = |part: &str| if path.is_empty() { part.to_string() } else { format!("{path}.{part}") };
            found.push((path.clone(), node));
            match node {
                Node::Sequential { layers, .. } => {
                    layers.iter().enumerate().for_each(|(i, layer)| walk(layer, join(&i.to_string()), found));
                }
                Node::Residual { branch, .. } => walk(branch, join("branch"), found),
                Node::Reversed(layer) => walk(layer, path, found),
                Node::Bidirectional { forward, backward } => {
                    walk(forward, join("forward"), found);
                    walk(backward, join("backward"), found);
                }
                _ => {}
            }
        }
        let mut found = Vec::new();
        walk(self, String::new(), &mut found);
        found
    }

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
            Node::Bidirectional { forward, backward } => {
                (forward.widths().0, forward.widths().1.saturating_add(backward.widths().1))
            }
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
