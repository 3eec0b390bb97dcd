//! A network as data: its layers and their settings, to be printed, compared, saved, changed and built again.

use super::{
    BranchScale, Dims, Layer, MAX_DEPTH, Merge,
    checkpoint_interval::CheckpointInterval,
    list::{Kind, ListedLayer, leaf_layers},
    spec_walk::HOLLOW,
};
use crate::{
    activation::ActivationKind,
    cell::{CellKind, StateNoise},
    error::Error,
    initializer::InitializerKind,
    scalar::Scalar,
};
use alloc::{boxed::Box, string::String, vec, vec::Vec};
use core::fmt::{self, Debug, Formatter};

macro_rules! layer_spec {
    ($($file:ident: $($name:ident),+;)*) => {
        /// The specification of a layer as data: its kind and settings, and those of the layers inside it.
        ///
        /// A specification may be nested as deeply as memory allows: it is copied, compared and dropped without
        /// recursion. One of more than [`MAX_DEPTH`] levels cannot be built or saved; only its depth is printed. A
        /// model file may have any depth up to [`MAX_DEPTH`]. `serde_json::from_str` by itself refuses JSON of more
        /// than 128 open brackets, which is about 40 levels.
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[non_exhaustive]
        pub enum LayerSpec {
            /// An [`ActivationLayer`](super::ActivationLayer): an activation applied to each value.
            ActivationLayer {
                /// The number of values per row.
                width: usize,
                /// The activation φ that the layer applies to each value: `y = φ(z)`.
                activation: ActivationKind,
            },
            /// A [`Residual`](super::Residual): a branch beside a skip connection.
            Residual {
                /// The branch f beside the skip connection in `y = x + s · f(x)`.
                #[cfg_attr(feature = "serde", serde(with = "nested"))]
                branch: Box<LayerSpec>,
                /// The factor s on the branch in `y = x + s · f(x)`.
                scale: BranchScale,
            },
            /// A [`Sequential`](super::Sequential): layers in sequence.
            Sequential {
                /// The number of values per input row of the first layer.
                input: usize,
                /// The specifications of the layers in sequence, from input to output.
                #[cfg_attr(feature = "serde", serde(with = "nested"))]
                layers: Vec<LayerSpec>,
            },
            /// A [`Parallel`](super::Parallel): layers that read the same input.
            Parallel {
                /// The specifications of the layers that read the same input, in order.
                #[cfg_attr(feature = "serde", serde(with = "nested"))]
                branches: Vec<LayerSpec>,
                /// How the outputs of the parallel branches are combined: concatenated or summed.
                merge: Merge,
            },
            /// A [`Checkpointed`](crate::recurrent::Checkpointed): recurrent layers that the backward pass computes
            /// again, segment by segment.
            Checkpointed {
                /// The number of time steps between two stored states: a fixed number, √T for T steps, or the number
                /// that fits into a given number of bytes.
                interval: CheckpointInterval,
                /// The specifications of the checkpointed layers in sequence, from input to output.
                #[cfg_attr(feature = "serde", serde(with = "nested"))]
                layers: Vec<LayerSpec>,
            },
            /// A [`Recurrent`](crate::recurrent::Recurrent): a cell unrolled over time.
            Recurrent {
                /// The kind of the recurrent cell, with its settings.
                cell: CellKind,
                /// The number of values per input row of the recurrent layer.
                inputs: usize,
                /// The number of units: values per output row.
                hidden: usize,
                /// The initializer of the input weights W.
                weights: InitializerKind,
                /// The initializer of the recurrent weights U.
                recurrent: InitializerKind,
                /// The initializer of the biases; `None` for a recurrent layer without biases.
                bias: Option<InitializerKind>,
                /// The rates of recurrent dropout and zoneout.
                #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "StateNoise::is_none"))]
                noise: StateNoise,
            },
            /// A [`Reversed`](crate::recurrent::Reversed) around the layer of this specification: it reads each
            /// sequence from its end.
            Reversed(#[cfg_attr(feature = "serde", serde(with = "nested"))] Box<LayerSpec>),
            /// A [`Bidirectional`](crate::recurrent::Bidirectional): two layers that read a sequence from opposite
            /// ends.
            Bidirectional {
                /// The specification of the layer that reads each sequence from its start.
                #[cfg_attr(feature = "serde", serde(with = "nested"))]
                forward: Box<LayerSpec>,
                /// The specification of the layer that reads each sequence from its end.
                #[cfg_attr(feature = "serde", serde(with = "nested"))]
                backward: Box<LayerSpec>,
            },
            $($(
                #[doc = concat!("[`", stringify!($name), "`](super::", stringify!($name), ").")]
                $name(super::$name),
            )+)*
            /// A layer defined outside this crate.
            Custom {
                /// The name of the layer's type, without the scalar among its arguments. A
                /// [`Registry`](crate::network::Registry) holds the layer under this name without the module path.
                kind: String,
                /// The widths and the number of parameters of the layer.
                dims: Dims,
                /// The settings of the layer, as JSON or any other text. A registry builds the layer again from this
                /// text.
                #[cfg_attr(feature = "serde", serde(default))]
                settings: String,
            },
        }

        impl LayerSpec {
            /// Returns the name of the layer's type, and the layer, if it is in the list `leaf_layers` (layers without
            /// parts that are their own specification); `None` for other layers.
            pub(crate) fn listed(&self) -> Option<(&'static str, &dyn ListedLayer)> {
                match self {
                    $($(LayerSpec::$name(layer) => Some((stringify!($name), layer)),)+)*
                    _ => None,
                }
            }

            /// Returns the activations and initializers of a layer in the list `leaf_layers` (layers without parts that
            /// are their own specification); none for others.
            pub(crate) fn listed_kinds_mut(&mut self) -> Vec<Kind<'_>> {
                match self {
                    $($(LayerSpec::$name(layer) => layer.kinds_mut(),)+)*
                    _ => Vec::new(),
                }
            }

            /// Returns the numbers of values per input row and per output row of a layer in the list `leaf_layers`
            /// (layers without parts that are their own specification); 0 for others.
            pub(super) fn listed_widths(&self) -> (usize, usize) {
                let dims = match self {
                    $($(LayerSpec::$name(layer) => Layer::<f64>::dims(layer),)+)*
                    _ => return (0, 0),
                };
                (dims.input, dims.output)
            }

            /// Builds a layer in the list `leaf_layers` (layers without parts that are their own specification) for the
            /// scalar `T`; `None` for others.
            pub(crate) fn build_listed<T: Scalar>(&self) -> Option<Result<Box<dyn Layer<T>>, Error>> {
                Some(match self {
                    $($(LayerSpec::$name(layer) => layer.check().map(|()| layer.clone().boxed()),)+)*
                    _ => return None,
                })
            }

            /// Returns example layers for property tests, for rows of `width` values, of all types in the list
            /// `leaf_layers` (layers without parts that are their own specification).
            #[cfg(feature = "proptest")]
            pub(crate) fn listed_examples(width: usize) -> Vec<LayerSpec> {
                let mut all = Vec::new();
                $($(all.extend(super::$name::examples(width).into_iter().map(LayerSpec::$name));)+)*
                all
            }

            /// Returns a copy of a layer in the list `leaf_layers` (layers without parts that are their own
            /// specification); `None` for others.
            fn listed_copy(&self) -> Option<LayerSpec> {
                match self {
                    $($(LayerSpec::$name(layer) => Some(LayerSpec::$name(layer.clone())),)+)*
                    _ => None,
                }
            }

            /// Whether this layer and `other` are equal, and in the list `leaf_layers` (layers without parts that are
            /// their own specification).
            fn is_same_listed(&self, other: &LayerSpec) -> bool {
                match (self, other) {
                    $($((LayerSpec::$name(a), LayerSpec::$name(b)) => a == b,)+)*
                    _ => false,
                }
            }
        }
    };
}
leaf_layers!(layer_spec);

/// Defines how a layer specification is printed, and how one level of it is copied and compared, without the layers
/// inside. [`spec_walk`](super::spec_walk) walks over the levels.
macro_rules! leaves {
    ($($name:ident { $($field:ident),* },)*) => {
        impl LayerSpec {
            /// Returns a copy of the layer's own settings, with a placeholder in place of each layer inside.
            pub(crate) fn shallow(&self) -> LayerSpec {
                match self {
                    $(LayerSpec::$name { $($field),* } => LayerSpec::$name { $($field: $field.clone()),* },)*
                    LayerSpec::Residual { scale, .. } => LayerSpec::Residual { branch: Box::new(HOLLOW), scale: *scale },
                    LayerSpec::Sequential { input, layers } => {
                        LayerSpec::Sequential { input: *input, layers: vec![HOLLOW; layers.len()] }
                    }
                    LayerSpec::Parallel { branches, merge } => {
                        LayerSpec::Parallel { branches: vec![HOLLOW; branches.len()], merge: *merge }
                    }
                    LayerSpec::Checkpointed { interval, layers } => {
                        LayerSpec::Checkpointed { interval: *interval, layers: vec![HOLLOW; layers.len()] }
                    }
                    LayerSpec::Reversed(_) => LayerSpec::Reversed(Box::new(HOLLOW)),
                    LayerSpec::Bidirectional { .. } => {
                        LayerSpec::Bidirectional { forward: Box::new(HOLLOW), backward: Box::new(HOLLOW) }
                    }
                    listed => listed.listed_copy().unwrap_or(HOLLOW),
                }
            }

            /// Whether two layer specifications have the same kind, equal settings and equally many layers inside; the
            /// layers inside are not compared.
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
                    (LayerSpec::Parallel { branches: x, merge: a }, LayerSpec::Parallel { branches: y, merge: b }) => {
                        (a, x.len()) == (b, y.len())
                    }
                    (
                        LayerSpec::Checkpointed { interval: a, layers: x },
                        LayerSpec::Checkpointed { interval: b, layers: y },
                    ) => (a, x.len()) == (b, y.len()),
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
                    LayerSpec::Parallel { branches, merge } => {
                        f.debug_struct("Parallel").field("branches", branches).field("merge", merge).finish()
                    }
                    LayerSpec::Checkpointed { interval, layers } => {
                        f.debug_struct("Checkpointed").field("interval", interval).field("layers", layers).finish()
                    }
                    LayerSpec::Reversed(layer) => f.debug_tuple("Reversed").field(layer).finish(),
                    LayerSpec::Bidirectional { forward, backward } => {
                        f.debug_struct("Bidirectional").field("forward", forward).field("backward", backward).finish()
                    }
                    listed => listed.listed().map_or(Ok(()), |(_, layer)| layer.fmt(f)),
                }
            }
        }
    };
}

leaves! {
    ActivationLayer { width, activation },
    Recurrent { cell, inputs, hidden, weights, recurrent, bias, noise },
    Custom { kind, dims, settings },
}

/// Saves and reads the layers inside a layer specification, down to [`MAX_DEPTH`] levels. Without `std` the levels
/// are not counted: then only the file format limits the depth, as JSON does.
#[cfg(feature = "serde")]
mod nested {
    use crate::error::LayerRule;
    #[cfg(feature = "std")]
    use crate::layer::MAX_DEPTH;
    #[cfg(feature = "std")]
    use core::cell::Cell;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[cfg(feature = "std")]
    std::thread_local! {
        /// The number of levels of nested layers around the level that this thread is reading or writing.
        static OPEN: Cell<usize> = const { Cell::new(0) };
    }

    /// A guard that counts one level of nested layers, while a [`LayerSpec`] is read or written, until it is dropped.
    /// The count of a thread is limited, so that a deeply nested file is an error, not an overflow of the stack.
    struct Level;

    impl Level {
        fn open() -> Result<Self, LayerRule> {
            #[cfg(feature = "std")]
            if OPEN.get() + 1 >= MAX_DEPTH {
                return Err(LayerRule::TooDeep { limit: MAX_DEPTH });
            }
            #[cfg(feature = "std")]
            OPEN.set(OPEN.get() + 1);
            Ok(Level)
        }
    }

    #[cfg(feature = "std")]
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
