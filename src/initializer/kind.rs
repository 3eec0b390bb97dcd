//! Any initializer as data, which layers keep and save.

use super::{
    ByGate, Chrono, Constant, CriticalGain, Identity, Initializer, Normal, Orthogonal, Shape, Sparse, TruncatedNormal,
    Uniform, VarianceScaling, Zeros,
};
use crate::{arc::Arc, block::Gate, error::Error};
use alloc::format;
use rand_core::Rng;

macro_rules! kinds {
    ($($(#[$about:meta])* $name:ident,)*) => {
        /// Any initializer as data, by [`Initializer::kind`]. It can be cloned, compared and printed, and saved unless
        /// it is custom.
        #[derive(Clone, Debug)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[non_exhaustive]
        pub enum InitializerKind {
            $($(#[$about])* $name($name),)*
            /// A custom initializer. Two are equal if their `Debug` texts are equal. It cannot be saved.
            #[cfg_attr(feature = "serde", serde(skip_deserializing, serialize_with = "refuse"))]
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

            fn kind(self) -> InitializerKind {
                self
            }
        }

        impl PartialEq for InitializerKind {
            fn eq(&self, other: &Self) -> bool {
                match (self, other) {
                    $((InitializerKind::$name(a), InitializerKind::$name(b)) => a == b,)*
                    (InitializerKind::Custom(a), InitializerKind::Custom(b)) => format!("{a:?}") == format!("{b:?}"),
                    _ => false,
                }
            }
        }
    };
}

kinds! {
    /// All zeros.
    Zeros,
    /// One value everywhere.
    Constant,
    /// Uniform between two bounds.
    Uniform,
    /// Normal of a given mean and standard deviation.
    Normal,
    /// Normal, truncated on both sides.
    TruncatedNormal,
    /// Scaled by the fan: Glorot, He, LeCun.
    VarianceScaling,
    /// Orthonormal rows or columns.
    Orthogonal,
    /// A multiple of the identity.
    Identity,
    /// Few inputs per unit.
    Sparse,
    /// An initializer for each gate.
    ByGate,
    /// The critical point of an activation.
    CriticalGain,
    /// Gate biases for memory over a number of steps.
    Chrono,
}

/// The error of saving a custom initializer, which could not be read again.
#[cfg(feature = "serde")]
fn refuse<S: serde::Serializer>(initializer: &Arc<dyn Initializer>, _: S) -> Result<S::Ok, S::Error> {
    Err(serde::ser::Error::custom(format!("{initializer:?} is a custom initializer: it cannot be saved")))
}
