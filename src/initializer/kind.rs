//! Any initializer as data, which layers keep and save.

use super::{
    ByGate, Chrono, Constant, CriticalGain, Identity, Initializer, Normal, Orthogonal, Shape, Sparse, TruncatedNormal,
    Uniform, VarianceScaling, Zeros,
};
use crate::{arc::Arc, block::Gate, error::Error, type_name::in_full};
use alloc::string::String;
use core::fmt;
use rand_core::Rng;

macro_rules! kinds {
    ($($(#[$about:meta])* $name:ident,)*) => {
        /// Any initializer as data, as [`Initializer::kind`] returns it. It can be cloned, compared, printed and saved.
        #[derive(Clone)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[non_exhaustive]
        pub enum InitializerKind {
            $($(#[$about])* $name($name),)*
            /// A custom initializer, saved as its name and [`settings`](Initializer::settings). Two custom initializers
            /// are equal if name and settings are. A custom initializer read from a file returns [`Error::CustomPart`]
            /// until a [`Registry`](crate::network::Registry) builds it.
            #[cfg_attr(feature = "serde", serde(with = "saved"))]
            Custom(Arc<dyn Initializer>),
        }

        impl InitializerKind {
            fn as_initializer(&self) -> &dyn Initializer {
                match self {
                    $(InitializerKind::$name(initializer) => initializer,)*
                    InitializerKind::Custom(initializer) => &**initializer,
                }
            }
        }

        impl Initializer for InitializerKind {
            fn fill(&self, shape: Shape, rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
                self.as_initializer().fill(shape, rng, values)
            }

            fn fill_gates(
                &self,
                shape: Shape,
                gates: &[Gate],
                rng: &mut dyn Rng,
                values: &mut [f64],
            ) -> Result<(), Error> {
                self.as_initializer().fill_gates(shape, gates, rng, values)
            }

            fn variance(&self, shape: Shape) -> Option<f64> {
                self.as_initializer().variance(shape)
            }

            fn mean(&self, shape: Shape) -> Option<f64> {
                self.as_initializer().mean(shape)
            }

            fn range(&self, shape: Shape) -> Option<[f64; 2]> {
                self.as_initializer().range(shape)
            }

            fn orthogonal_gain(&self, shape: Shape) -> Option<f64> {
                self.as_initializer().orthogonal_gain(shape)
            }

            fn name(&self) -> &str {
                self.as_initializer().name()
            }

            fn settings(&self) -> String {
                self.as_initializer().settings()
            }

            fn kind(self) -> InitializerKind {
                self
            }
        }

        /// Writes the initializer as Rust source; a custom one by its name and [`settings`](Initializer::settings).
        impl fmt::Debug for InitializerKind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(InitializerKind::$name(initializer) => {
                        f.debug_tuple(stringify!($name)).field(initializer).finish()
                    })*
                    InitializerKind::Custom(own) => write!(f, "Custom({})", in_full(own.name(), &own.settings())),
                }
            }
        }

        impl PartialEq for InitializerKind {
            fn eq(&self, other: &Self) -> bool {
                match (self, other) {
                    $((InitializerKind::$name(a), InitializerKind::$name(b)) => a == b,)*
                    (InitializerKind::Custom(a), InitializerKind::Custom(b)) => {
                        (a.name(), a.settings()) == (b.name(), b.settings())
                    }
                    _ => false,
                }
            }
        }
    };
}

kinds! {
    /// [`Zeros`]: all entries are 0.
    Zeros,
    /// [`Constant`]: all entries have the same value.
    Constant,
    /// [`Uniform`]: independent entries, uniform between two bounds.
    Uniform,
    /// [`Normal`]: independent normal entries with a given mean and standard deviation.
    Normal,
    /// [`TruncatedNormal`]: independent normal entries, truncated on both sides.
    TruncatedNormal,
    /// [`VarianceScaling`]: independent entries with the standard deviation gain/√fan, where fan is a number of
    /// connections, as in Glorot, He and LeCun initialization.
    VarianceScaling,
    /// [`Orthogonal`]: a multiple of a random matrix with orthonormal rows or columns.
    Orthogonal,
    /// [`Identity`]: a multiple of the identity matrix.
    Identity,
    /// [`Sparse`]: a given number of nonzero entries in each row.
    Sparse,
    /// [`ByGate`]: an initializer for each gate of a recurrent cell.
    ByGate,
    /// [`CriticalGain`]: weights and biases with the variances of the critical point of an activation.
    CriticalGain,
    /// [`Chrono`]: gate biases for memory over a number of time steps.
    Chrono,
}

/// A custom initializer as read from a file: its name and settings. It fills nothing, but returns
/// [`Error::CustomPart`].
#[cfg(feature = "serde")]
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Unbuilt {
    name: String,
    settings: String,
}

#[cfg(feature = "serde")]
impl Initializer for Unbuilt {
    fn fill(&self, _shape: Shape, _rng: &mut dyn Rng, _values: &mut [f64]) -> Result<(), Error> {
        Err(Error::CustomPart { path: "an initializer".into(), kind: self.name.clone() })
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn settings(&self) -> String {
        self.settings.clone()
    }
}

/// The serialized form of a custom initializer: its name and settings.
#[cfg(feature = "serde")]
mod saved {
    use super::*;
    use alloc::boxed::Box;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(own: &Arc<dyn Initializer>, serializer: S) -> Result<S::Ok, S::Error> {
        Unbuilt { name: own.name().into(), settings: own.settings() }.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<dyn Initializer>, D::Error> {
        Ok(Arc::from(Box::new(Unbuilt::deserialize(deserializer)?) as Box<dyn Initializer>))
    }
}
