//! A network as data: what it is made of, to be printed, compared, saved, changed and built again.

use super::{Dims, MAX_DEPTH, join};
use crate::{activation::ActivationKind, error::LayerRule, initializer::InitializerKind};
use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::fmt::{self, Debug, Formatter};

/// The factor on a residual branch.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum BranchScale {
    /// A constant. `1/√L` keeps L ReLU blocks in hand (Hayou et al. 2021).
    Fixed(#[cfg_attr(feature = "serde", serde(with = "crate::number"))] f64),
    /// A parameter that begins at this value. 0 is ReZero (Bachlechner et al. 2021).
    Learned(#[cfg_attr(feature = "serde", serde(with = "crate::number"))] f64),
}

/// Where the reset gate of a GRU acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum GruVariant {
    /// On the product: `n = tanh(W_n x + b_n + r ⊙ (U_n h + b_u))`. PyTorch's and cuDNN's.
    #[default]
    ResetAfter,
    /// On the state: `n = tanh(W_n x + b_n + U_n (r ⊙ h))`. The paper's.
    ResetBefore,
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
    Gru(GruVariant),
    /// A cell of a user's own: the name of its type.
    Custom(String),
}

/// A layer as data.
///
/// A description may be nested as deeply as memory allows: it is copied, compared and dropped without recursion. What is
/// nested more than [`MAX_DEPTH`] deep is not built, not saved, and printed by its depth alone.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum LayerSpec {
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
    /// [`ActivationLayer`](super::ActivationLayer).
    ActivationLayer {
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
        #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
        initial: f64,
    },
    /// [`LayerNorm`](super::LayerNorm).
    LayerNorm {
        /// Values per row.
        width: usize,
        /// ε.
        #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
        epsilon: f64,
        /// Whether gain and bias are learned.
        affine: bool,
    },
    /// [`RmsNorm`](super::RmsNorm).
    RmsNorm {
        /// Values per row.
        width: usize,
        /// ε.
        #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
        epsilon: f64,
        /// Whether a gain is learned.
        affine: bool,
    },
    /// [`Dropout`](super::Dropout).
    Dropout {
        /// Values per row.
        width: usize,
        /// Probability of a zero.
        #[cfg_attr(feature = "serde", serde(with = "crate::number"))]
        rate: f64,
    },
    /// [`Residual`](super::Residual).
    Residual {
        /// The branch beside the skip.
        #[cfg_attr(feature = "serde", serde(with = "nested"))]
        branch: Box<LayerSpec>,
        /// The factor on it.
        scale: BranchScale,
    },
    /// [`Sequential`](super::Sequential).
    Sequential {
        /// Values per input row.
        input: usize,
        /// The layers in order.
        #[cfg_attr(feature = "serde", serde(with = "nested"))]
        layers: Vec<LayerSpec>,
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
    Reversed(#[cfg_attr(feature = "serde", serde(with = "nested"))] Box<LayerSpec>),
    /// [`Bidirectional`](crate::recurrent::Bidirectional).
    Bidirectional {
        /// The layer that reads from the start.
        #[cfg_attr(feature = "serde", serde(with = "nested"))]
        forward: Box<LayerSpec>,
        /// The layer that reads from the end.
        #[cfg_attr(feature = "serde", serde(with = "nested"))]
        backward: Box<LayerSpec>,
    },
    /// A layer of a user's own: its kind and widths.
    Custom {
        /// The name of its type.
        kind: String,
        /// Its widths.
        dims: Dims,
    },
}

/// Values of a description's own, without those of its parts: copied, compared, printed.
macro_rules! leaves {
    ($($name:ident { $($field:ident),* },)*) => {
        impl LayerSpec {
            /// A copy, with an empty description in place of each part.
            fn shallow(&self) -> LayerSpec {
                match self {
                    $(LayerSpec::$name { $($field),* } => LayerSpec::$name { $($field: $field.clone()),* },)*
                    LayerSpec::Residual { scale, .. } => LayerSpec::Residual { branch: Box::new(HOLLOW), scale: *scale },
                    LayerSpec::Sequential { input, layers } => {
                        LayerSpec::Sequential { input: *input, layers: vec![HOLLOW; layers.len()] }
                    }
                    LayerSpec::Reversed(_) => LayerSpec::Reversed(Box::new(HOLLOW)),
                    LayerSpec::Bidirectional { .. } => {
                        LayerSpec::Bidirectional { forward: Box::new(HOLLOW), backward: Box::new(HOLLOW) }
                    }
                }
            }

            /// Whether both are the same but for their parts.
            fn is_alike(&self, other: &LayerSpec) -> bool {
                match (self, other) {
                    $((LayerSpec::$name { $($field),* }, other) => {
                        let mine = ($($field,)*);
                        matches!(other, LayerSpec::$name { $($field),* } if mine == ($($field,)*))
                    })*
                    (LayerSpec::Residual { scale: a, .. }, LayerSpec::Residual { scale: b, .. }) => a == b,
                    (LayerSpec::Sequential { input: a, layers: x }, LayerSpec::Sequential { input: b, layers: y }) => {
                        (a, x.len()) == (b, y.len())
                    }
                    (LayerSpec::Reversed(_), LayerSpec::Reversed(_)) => true,
                    (LayerSpec::Bidirectional { .. }, LayerSpec::Bidirectional { .. }) => true,
                    _ => false,
                }
            }
        }

        impl Debug for LayerSpec {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                let depth = self.depth();
                if depth > MAX_DEPTH {
                    return f.debug_struct("LayerSpec").field("depth", &depth).finish_non_exhaustive();
                }
                match self {
                    $(LayerSpec::$name { $($field),* } => {
                        f.debug_struct(stringify!($name))$(.field(stringify!($field), $field))*.finish()
                    })*
                    LayerSpec::Residual { branch, scale } => {
                        f.debug_struct("Residual").field("branch", branch).field("scale", scale).finish()
                    }
                    LayerSpec::Sequential { input, layers } => {
                        f.debug_struct("Sequential").field("input", input).field("layers", layers).finish()
                    }
                    LayerSpec::Reversed(layer) => f.debug_tuple("Reversed").field(layer).finish(),
                    LayerSpec::Bidirectional { forward, backward } => {
                        f.debug_struct("Bidirectional").field("forward", forward).field("backward", backward).finish()
                    }
                }
            }
        }
    };
}

leaves! {
    Linear { inputs, outputs, weights, bias },
    ActivationLayer { width, activation },
    PRelu { width, per_unit, initial },
    LayerNorm { width, epsilon, affine },
    RmsNorm { width, epsilon, affine },
    Dropout { width, rate },
    LastStep { width },
    MeanOverSteps { width },
    Recurrent { cell, inputs, hidden, weights, recurrent, bias },
    Custom { kind, dims },
}

/// What stands in for a part that is taken out.
const HOLLOW: LayerSpec = LayerSpec::LastStep { width: 0 };

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

/// Takes parts of parts out before they are dropped, so that depth costs no stack.
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
    /// The parts, in order.
    fn children(&self) -> impl DoubleEndedIterator<Item = &LayerSpec> {
        let (row, one, other): (&[LayerSpec], _, _) = match self {
            LayerSpec::Sequential { layers, .. } => (layers, None, None),
            LayerSpec::Residual { branch: one, .. } | LayerSpec::Reversed(one) => (&[], Some(&**one), None),
            LayerSpec::Bidirectional { forward, backward } => (&[], Some(&**forward), Some(&**backward)),
            _ => (&[], None, None),
        };
        row.iter().chain(one).chain(other)
    }

    fn children_mut(&mut self) -> impl Iterator<Item = &mut LayerSpec> {
        let (row, one, other): (&mut [LayerSpec], _, _) = match self {
            LayerSpec::Sequential { layers, .. } => (layers, None, None),
            LayerSpec::Residual { branch: one, .. } | LayerSpec::Reversed(one) => (&mut [], Some(&mut **one), None),
            LayerSpec::Bidirectional { forward, backward } => (&mut [], Some(&mut **forward), Some(&mut **backward)),
            _ => (&mut [], None, None),
        };
        row.iter_mut().chain(one).chain(other)
    }

    /// Levels of layers within layers: 1 for a layer without others inside.
    pub fn depth(&self) -> usize {
        let (mut depth, mut level) = (0, vec![self]);
        while !level.is_empty() {
            depth += 1;
            level = level.into_iter().flat_map(LayerSpec::children).collect();
        }
        depth
    }

    /// Refuses what is nested too deeply to be walked.
    pub(crate) fn check_depth(&self) -> Result<(), LayerRule> {
        if self.depth() > MAX_DEPTH { Err(LayerRule::TooDeep { limit: MAX_DEPTH }) } else { Ok(()) }
    }

    /// This node and every part of it with its path, in order, the whole before its parts.
    pub(crate) fn parts(&self) -> Vec<(String, &LayerSpec)> {
        let (mut found, mut open) = (Vec::new(), vec![(String::new(), self)]);
        while let Some((path, node)) = open.pop() {
            let name = |i: usize| match node {
                LayerSpec::Sequential { .. } => join(&path, &i.to_string()),
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

    /// Values per input row and per output row.
    pub fn widths(&self) -> (usize, usize) {
        let mut first = self;
        let input = loop {
            match first {
                LayerSpec::Residual { branch: part, .. }
                | LayerSpec::Reversed(part)
                | LayerSpec::Bidirectional { forward: part, .. } => {
                    first = part;
                }
                LayerSpec::Sequential { input, .. } => break *input,
                leaf => break leaf.own_widths().0,
            }
        };
        // The outputs of both directions stand side by side.
        let (mut output, mut open) = (0usize, vec![self]);
        while let Some(node) = open.pop() {
            match node {
                LayerSpec::Sequential { input, layers } if layers.is_empty() => output = output.saturating_add(*input),
                LayerSpec::Sequential { layers, .. } => open.extend(layers.last()),
                _ if node.children().next().is_some() => open.extend(node.children()),
                leaf => output = output.saturating_add(leaf.own_widths().1),
            }
        }
        (input, output)
    }

    /// Values per input row and per output row of a layer without parts.
    fn own_widths(&self) -> (usize, usize) {
        match self {
            LayerSpec::Linear { inputs, outputs, .. } => (*inputs, *outputs),
            LayerSpec::ActivationLayer { width, .. }
            | LayerSpec::PRelu { width, .. }
            | LayerSpec::LayerNorm { width, .. }
            | LayerSpec::RmsNorm { width, .. }
            | LayerSpec::Dropout { width, .. }
            | LayerSpec::LastStep { width }
            | LayerSpec::MeanOverSteps { width } => (*width, *width),
            LayerSpec::Recurrent { inputs, hidden, .. } => (*inputs, *hidden),
            LayerSpec::Custom { dims, .. } => (dims.input, dims.output),
            LayerSpec::Residual { .. }
            | LayerSpec::Sequential { .. }
            | LayerSpec::Reversed(_)
            | LayerSpec::Bidirectional { .. } => (0, 0),
        }
    }

    /// What it is, in a word or two.
    pub(crate) fn title(&self) -> String {
        match self {
            LayerSpec::Linear { .. } => "Linear".into(),
            LayerSpec::ActivationLayer { activation, .. } => activation.name().into(),
            LayerSpec::PRelu { .. } => "PRelu".into(),
            LayerSpec::LayerNorm { .. } => "LayerNorm".into(),
            LayerSpec::RmsNorm { .. } => "RmsNorm".into(),
            LayerSpec::Dropout { rate, .. } => format!("Dropout {rate}"),
            LayerSpec::Residual { scale, .. } => format!("Residual, scale {scale:?}"),
            LayerSpec::Sequential { .. } => "Sequential".into(),
            LayerSpec::LastStep { .. } => "LastStep".into(),
            LayerSpec::MeanOverSteps { .. } => "MeanOverSteps".into(),
            LayerSpec::Recurrent { cell, .. } => match cell {
                CellKind::Elman(activation) => format!("Recurrent Elman {}", activation.name()),
                CellKind::Lstm => "Recurrent Lstm".into(),
                CellKind::Gru(reset) => format!("Recurrent Gru, {reset:?}"),
                CellKind::Custom(name) => format!("Recurrent {}", short(name)),
            },
            LayerSpec::Reversed(first) => {
                let (mut layer, mut title) = (first, String::from("Reversed "));
                while let LayerSpec::Reversed(within) = &**layer {
                    (layer, title) = (within, title + "Reversed ");
                }
                title + &layer.title()
            }
            LayerSpec::Bidirectional { .. } => "Bidirectional".into(),
            LayerSpec::Custom { kind, .. } => short(kind).into(),
        }
    }
}

/// A type's name without its path.
fn short(name: &str) -> &str {
    let end = name.find('<').unwrap_or(name.len());
    name[..end].rfind("::").map_or(name, |colons| &name[colons + 2..])
}

/// Parts of a description, saved and read no deeper than [`MAX_DEPTH`].
#[cfg(feature = "serde")]
mod nested {
    use crate::{error::LayerRule, layer::MAX_DEPTH};
    use core::cell::Cell;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    std::thread_local! {
        /// How many descriptions are open around the one at hand.
        static OPEN: Cell<usize> = const { Cell::new(0) };
    }

    /// One level more, until it is dropped.
    struct Level;

    impl Level {
        fn open() -> Result<Self, LayerRule> {
            if OPEN.get() + 1 >= MAX_DEPTH {
                return Err(LayerRule::TooDeep { limit: MAX_DEPTH });
            }
            OPEN.set(OPEN.get() + 1);
            Ok(Level)
        }
    }

    impl Drop for Level {
        fn drop(&mut self) {
            OPEN.set(OPEN.get() - 1);
        }
    }

    pub fn serialize<S: Serializer>(parts: &impl Serialize, serializer: S) -> Result<S::Ok, S::Error> {
        let _level = Level::open().map_err(serde::ser::Error::custom)?;
        parts.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>, N: Deserialize<'de>>(deserializer: D) -> Result<N, D::Error> {
        let _level = Level::open().map_err(serde::de::Error::custom)?;
        N::deserialize(deserializer)
    }
}
