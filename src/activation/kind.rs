//! An activation as data, and behind a pointer.

use super::{
    Activation, Bounds, Celu, Elu, Erf, Gelu, GeluTanh, HardSigmoid, HardSwish, HardTanh, Identity, LeakyRelu,
    LogSigmoid, Mish, Relu, Relu6, Selu, Sigmoid, Softplus, Softsign, Swish, Tanh,
};
use alloc::{format, sync::Arc, vec::Vec};
use core::fmt::Debug;

/// The face of an [`Activation`] that fits behind a pointer: everything, in `f64`.
///
/// Every activation has it. The methods of a `dyn AnyActivation` can be called without importing
/// the trait, and it is best left so: they bear the names of [`Activation`]'s.
pub trait AnyActivation: Debug + Send + Sync {
    /// The name of its type, without the path.
    fn name(&self) -> &'static str;
    /// `φ(z)`.
    fn value(&self, z: f64) -> f64;
    /// `φ′(z)`.
    fn derivative(&self, z: f64) -> f64;
    /// `[inf φ′, sup φ′]` over all real `z`, or `None` where it is not known.
    fn derivative_bounds(&self) -> Option<Bounds>;
    /// Where φ′ jumps, in increasing order.
    fn kinks(&self) -> Vec<f64>;
}

impl<A: Activation> AnyActivation for A {
    fn name(&self) -> &'static str {
        let path = core::any::type_name::<A>();
        let generics = path.find('<').unwrap_or(path.len());
        path[..generics].rfind("::").map_or(path, |colons| &path[colons + 2..])
    }
    fn value(&self, z: f64) -> f64 {
        Activation::value(self, z)
    }
    fn derivative(&self, z: f64) -> f64 {
        Activation::derivative(self, z, Activation::value(self, z))
    }
    fn derivative_bounds(&self) -> Option<Bounds> {
        Activation::derivative_bounds(self)
    }
    fn kinks(&self) -> Vec<f64> {
        Activation::kinks(self)
    }
}

macro_rules! kinds {
    ($($name:ident)+) => {
        /// An activation as data: one of ours with its parameters, or one of a user's own.
        ///
        /// ```
        /// use chainrule::activation::{Activation, ActivationKind, Tanh};
        /// let kind = Tanh.kind();
        /// assert_eq!(kind, ActivationKind::Tanh(Tanh));
        /// assert_eq!(kind.name(), "Tanh");
        /// assert_eq!(kind.derivative(0.0), 1.0);
        /// ```
        #[derive(Clone, Debug)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[non_exhaustive]
        pub enum ActivationKind {
            $(#[doc = concat!("[`", stringify!($name), "`](super::", stringify!($name), ").")] $name($name),)+
            /// One of a user's own. It cannot be written to a file.
            #[cfg_attr(feature = "serde", serde(skip_deserializing, serialize_with = "refuse"))]
            Custom(Arc<dyn AnyActivation>),
        }

        impl ActivationKind {
            /// The activation behind a pointer.
            pub fn as_any(&self) -> &dyn AnyActivation {
                match self {
                    $(ActivationKind::$name(activation) => activation,)+
                    ActivationKind::Custom(activation) => &**activation,
                }
            }
        }

        /// Activations of a user's own are equal if their names and `Debug` texts are.
        impl PartialEq for ActivationKind {
            fn eq(&self, other: &Self) -> bool {
                match (self, other) {
                    $((ActivationKind::$name(a), ActivationKind::$name(b)) => a == b,)+
                    (ActivationKind::Custom(a), ActivationKind::Custom(b)) => {
                        a.name() == b.name() && format!("{a:?}") == format!("{b:?}")
                    }
                    _ => false,
                }
            }
        }
    };
}

kinds! {
    Identity Sigmoid Tanh Relu LeakyRelu Relu6 Elu Celu Selu Gelu GeluTanh Swish Mish Softplus Softsign LogSigmoid
    HardTanh HardSigmoid HardSwish Erf
}

impl ActivationKind {
    /// The name of its type, without the path.
    pub fn name(&self) -> &'static str {
        self.as_any().name()
    }
    /// `φ(z)`.
    pub fn value(&self, z: f64) -> f64 {
        self.as_any().value(z)
    }
    /// `φ′(z)`.
    pub fn derivative(&self, z: f64) -> f64 {
        self.as_any().derivative(z)
    }
    /// `[inf φ′, sup φ′]` over all real `z`, or `None` where it is not known.
    pub fn derivative_bounds(&self) -> Option<Bounds> {
        self.as_any().derivative_bounds()
    }
    /// Where φ′ jumps, in increasing order.
    pub fn kinks(&self) -> Vec<f64> {
        self.as_any().kinks()
    }
}

#[cfg(feature = "serde")]
fn refuse<S: serde::Serializer>(activation: &Arc<dyn AnyActivation>, _: S) -> Result<S::Ok, S::Error> {
    use serde::ser::Error;
    let name = activation.name();
    Err(S::Error::custom(format!("{name} is an activation of your own: it cannot be written as data")))
}
