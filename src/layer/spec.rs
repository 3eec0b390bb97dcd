//! A network as data: what it is made of, to be printed, compared, saved, changed and built again.

use super::{
    Dims, Layer, MAX_DEPTH,
    list::{ListedLayer, leaf_layers},
    spec_walk::HOLLOW,
};
use crate::{activation::ActivationKind, initializer::InitializerKind, recurrent::kind::CellKind, scalar::Scalar};
use alloc::{boxed::Box, string::String, vec, vec::Vec};
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

macro_rules! layer_spec {
    ($($file:ident: $name:ident;)*) => {
        /// A layer as data.
        ///
        /// A description may be nested as deeply as memory allows: it is copied, compared and dropped without
        /// recursion. What is nested more than [`MAX_DEPTH`] deep is not built, not saved, and printed by its depth
        /// alone.
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
            $(
                #[doc = concat!("[`", stringify!($name), "`](super::", stringify!($name), ").")]
                $name(super::$name),
            )*
            /// A layer of a user's own: its kind and widths.
            Custom {
                /// The name of its type.
                kind: String,
                /// Its widths.
                dims: Dims,
            },
        }

        impl LayerSpec {
            /// The layer, if it is one of the list.
            pub(crate) fn listed<T: Scalar>(&self) -> Option<Box<dyn Layer<T>>> {
                match self {
                    $(LayerSpec::$name(layer) => Some(layer.layer::<T>()),)*
                    _ => None,
                }
            }

            /// The name of a layer of the list, with the settings that must match when a checkpoint is loaded.
            pub(crate) fn listed_facts(&self) -> Option<(&'static str, Vec<(&'static str, String)>)> {
                match self {
                    $(LayerSpec::$name(layer) => Some((stringify!($name), layer.facts())),)*
                    _ => None,
                }
            }

            /// Layers of the list for rows of `width` values.
            #[cfg(feature = "proptest")]
            pub(crate) fn listed_examples(width: usize) -> Vec<LayerSpec> {
                let mut all = Vec::new();
                $(all.extend(super::$name::examples(width).into_iter().map(LayerSpec::$name));)*
                all
            }

            /// A copy of a layer of the list.
            fn listed_copy(&self) -> Option<LayerSpec> {
                match self {
                    $(LayerSpec::$name(layer) => Some(LayerSpec::$name(layer.clone())),)*
                    _ => None,
                }
            }

            /// Whether both are the same layer of the list.
            fn is_same_listed(&self, other: &LayerSpec) -> bool {
                match (self, other) {
                    $((LayerSpec::$name(a), LayerSpec::$name(b)) => a == b,)*
                    _ => false,
                }
            }

            /// A layer of the list, for its `Debug` text.
            fn listed_debug(&self) -> Option<&dyn Debug> {
                match self {
                    $(LayerSpec::$name(layer) => Some(layer),)*
                    _ => None,
                }
            }
        }
    };
}
leaf_layers!(layer_spec);

/// Values of a description's own, without those of its parts: copied, compared, printed.
macro_rules! leaves {
    ($($name:ident { $($field:ident),* },)*) => {
        impl LayerSpec {
            /// A copy, with an empty description in place of each part.
            pub(super) fn shallow(&self) -> LayerSpec {
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
                    listed => listed.listed_copy().unwrap_or(HOLLOW),
                }
            }

            /// Whether both are the same but for their parts.
            pub(super) fn is_alike(&self, other: &LayerSpec) -> bool {
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
                    (one, other) => one.is_same_listed(other),
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
                    listed => listed.listed_debug().map_or(Ok(()), |layer| layer.fmt(f)),
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
