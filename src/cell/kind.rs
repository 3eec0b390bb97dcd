//! A recurrent cell as data: its name and settings, without its type.

#[cfg(feature = "proptest")]
use super::*;
use super::{Cell, cells};
use crate::{
    activation::{Activation, ActivationKind, ActivationVisitor, Identity},
    block::Gate,
    type_name::without_paths,
};
use alloc::string::String;
#[cfg(feature = "proptest")]
use alloc::{vec, vec::Vec};
use core::fmt;

/// An operation that is generic over the type of cell; [`CellKind::visit`] calls it with a cell.
pub(crate) trait CellVisitor {
    type Output;
    fn visit(self, cell: impl Cell) -> Self::Output;
}

/// The form in which an activation becomes part of a layer or cell: as its own type, or behind a trait object.
pub(crate) trait ActivationDispatch {
    /// Calls `visitor` with `activation` in this form, and returns its result. `None`, without a call, for an
    /// activation that cannot have this form, such as a custom one as its own type.
    fn visit<V: ActivationVisitor>(&self, activation: &ActivationKind, visitor: V) -> Option<V::Output>;
}

macro_rules! kinds {
    (
        with_activation { $($generic_file:ident: $generic:ident;)* }
        plain { $($file:ident: $name:ident [$($example:expr),+];)* }
    ) => {
        /// A recurrent cell as data: one of this crate with its settings, or name and settings of a custom one.
        #[derive(Clone, Debug, PartialEq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[non_exhaustive]
        pub enum CellKind {
            $(#[doc = concat!("[`", stringify!($generic), "`](super::", stringify!($generic), ").")]
            $generic(ActivationKind),)*
            $(#[doc = concat!("[`", stringify!($name), "`](super::", stringify!($name), ").")]
            $name(super::$name),)*
            /// A cell defined outside this crate.
            Custom {
                /// The name of the cell's type, without the scalar among its arguments. A
                /// [`Registry`](crate::network::Registry) holds the cell under this name without the module path.
                name: String,
                /// The settings of the cell, as JSON or any other text. A registry builds the cell again from this
                /// text.
                settings: String,
            },
        }

        impl CellKind {
            /// Returns the gates of the cell; `None` for a custom cell, of which only name and settings are known.
            pub fn gates(&self) -> Option<&'static [Gate]> {
                match self {
                    $(CellKind::$generic(_) => Some(super::$generic::new(Identity).gates()),)*
                    $(CellKind::$name(cell) => Some(cell.gates()),)*
                    CellKind::Custom { .. } => None,
                }
            }

            /// Returns the activation φ of a cell that is generic over it, such as `Elman`: the output of such a cell
            /// is a value of φ. `None` for other cells.
            pub(crate) fn activation(&self) -> Option<&ActivationKind> {
                match self {
                    $(CellKind::$generic(activation) => Some(activation),)*
                    _ => None,
                }
            }

            /// Returns a mutable reference to the activation that [`activation`](Self::activation) returns, so that
            /// it can be replaced.
            pub(crate) fn activation_mut(&mut self) -> Option<&mut ActivationKind> {
                match self {
                    $(CellKind::$generic(activation) => Some(activation),)*
                    _ => None,
                }
            }

            /// Calls `visitor` with the typed cell. `dispatch` chooses the form of its activation: its own type, or a
            /// trait object. `None` for a custom cell, and for an activation that `dispatch` cannot build.
            pub(crate) fn visit<V: CellVisitor>(
                &self,
                dispatch: &impl ActivationDispatch,
                visitor: V,
            ) -> Option<V::Output> {
                match self {
                    $(CellKind::$generic(activation) => {
                        struct Of<V>(V);
                        impl<V: CellVisitor> ActivationVisitor for Of<V> {
                            type Output = V::Output;
                            fn visit(self, activation: impl Activation) -> V::Output {
                                self.0.visit(super::$generic::new(activation))
                            }
                        }
                        dispatch.visit(activation, Of(visitor))
                    })*
                    $(CellKind::$name(cell) => Some(visitor.visit(cell.clone())),)*
                    CellKind::Custom { .. } => None,
                }
            }

            /// Returns the name of a custom cell, or of the custom activation of a cell of this crate; `None` for other
            /// cells.
            pub(crate) fn custom_part(&self) -> Option<&str> {
                match self {
                    $(CellKind::$generic(ActivationKind::Custom(activation)) => Some(activation.saved_name()),)*
                    CellKind::Custom { name, .. } => Some(name),
                    _ => None,
                }
            }

            /// Returns, for property tests, one cell of each kind that is generic over its activation, with this
            /// `activation`.
            #[cfg(feature = "proptest")]
            pub(crate) fn with_activation(activation: &ActivationKind) -> Vec<CellKind> {
                vec![$(CellKind::$generic(activation.clone())),*]
            }

            /// Returns example cells, for property tests, of all kinds that are not generic over an activation;
            /// several of a kind that has settings.
            #[cfg(feature = "proptest")]
            pub(crate) fn plain() -> Vec<CellKind> {
                vec![$($(CellKind::$name($example)),+),*]
            }
        }

        /// Formats the cell as its name with its settings; a custom cell as its name alone, without module paths.
        impl fmt::Display for CellKind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&match self {
                    $(CellKind::$generic(activation) => {
                        alloc::format!("{} {}", stringify!($generic), activation.in_full())
                    })*
                    $(CellKind::$name(cell) => alloc::format!("{cell:?}"),)*
                    CellKind::Custom { name, .. } => without_paths(name),
                })
            }
        }
    };
}
cells!(kinds);
